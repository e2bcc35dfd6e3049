//! Values and errors.

use serde_json::value::RawValue;

use super::*;

const EVENT: &str = r#"{"specversion":"1.0","id":"1","source":"/s","type":"t","subject":"","bool":true,"int":-5,"zero":-0,
    "big":2147483648,"text":"7","time":"2018-04-05T17:31:00Z","gone":null}"#;
const DATA: &str = r#"{"s":"é","t":true,"n":3,"min":-2147483648,"big":2147483648,"f":3.0,"e":1e2,"z":null,"o":{},"l":["x",1],
    "empty":""}"#;

fn raw(json: &str) -> &RawValue {
    serde_json::from_str(json).unwrap()
}

/// The value of an expression on the event, as it is printed, or its error.
fn result(text: &str) -> String {
    let expression = Expression::parse(text, InputKind::Event).unwrap_or_else(|error| panic!("{text}: {error}"));
    let evaluation = expression.evaluate(&Input::event(raw(EVENT), Some(raw(DATA))));
    let value = match evaluation.value {
        Value::Boolean(value) => value.to_string(),
        Value::Integer(value) => value.to_string(),
        Value::String(text) => format!("'{text}'"),
    };
    evaluation.error.map_or(value.clone(), |error| format!("{value}, {error:?}"))
}

/// Section 3.7: each operator with a left operand of each type, and a right operand of each type.
#[test]
fn operands_are_converted_to_the_types_of_the_operator() {
    const CAST: &str = "false, Cast";
    const NONE: &str = "0, Cast";
    let operands = ["true", "2", "'2'", "'TRUE'", "'x'"];
    for (operator, expected) in [
        // The right operand selects the type.
        (
            "=",
            [
                ["true", "false", "false", "false", "false"],
                ["true", "true", "true", "false", "false"],
                [CAST, "true", "true", "false", "false"],
                ["true", CAST, "false", "true", "false"],
                [CAST, CAST, "false", "false", "true"],
            ],
        ),
        (
            "!=",
            [
                ["false", "true", "true", "true", "true"],
                ["false", "false", "false", "true", "true"],
                [CAST, "false", "false", "true", "true"],
                ["false", CAST, "true", "false", "true"],
                [CAST, CAST, "true", "true", "false"],
            ],
        ),
        (
            "<",
            [
                ["false", "true", "true", CAST, CAST],
                ["false", "false", "false", CAST, CAST],
                ["false", "false", "false", CAST, CAST],
                [CAST; 5],
                [CAST; 5],
            ],
        ),
        (
            ">=",
            [
                ["true", "false", "false", CAST, CAST],
                ["true", "true", "true", CAST, CAST],
                ["true", "true", "true", CAST, CAST],
                [CAST; 5],
                [CAST; 5],
            ],
        ),
        (
            "+",
            [
                ["2", "3", "3", NONE, NONE],
                ["3", "4", "4", NONE, NONE],
                ["3", "4", "4", NONE, NONE],
                [NONE; 5],
                [NONE; 5],
            ],
        ),
        (
            "AND",
            [
                ["true", "true", CAST, "true", CAST],
                ["true", "true", CAST, "true", CAST],
                [CAST; 5],
                ["true", "true", CAST, "true", CAST],
                [CAST; 5],
            ],
        ),
        ("OR", [["true"; 5], ["true"; 5], [CAST; 5], ["true"; 5], [CAST; 5]]),
        (
            "XOR",
            [
                ["false", "false", CAST, "false", CAST],
                ["false", "false", CAST, "false", CAST],
                [CAST; 5],
                ["false", "false", CAST, "false", CAST],
                [CAST; 5],
            ],
        ),
        // The left operand selects the type.
        (
            "IN",
            [
                ["true", "true", CAST, "true", CAST],
                ["false", "true", "true", CAST, CAST],
                ["false", "true", "true", "false", "false"],
                ["false", "false", "false", "true", "false"],
                ["false", "false", "false", "false", "true"],
            ],
        ),
    ] {
        for (left, row) in operands.iter().zip(expected) {
            for (right, expected) in operands.iter().zip(row) {
                let text = if operator == "IN" {
                    format!("{left} IN ({right})")
                } else {
                    format!("{left} {operator} {right}")
                };
                assert_eq!(result(&text), expected, "{text}");
            }
        }
    }
}

#[test]
fn results_that_the_specification_leaves_open_are_those_of_the_sdks() {
    for (text, expected) in [
        // Go and Java: integers wrap around.
        ("2147483647 + 1", "-2147483648"),
        ("-2147483648 - 1", "2147483647"),
        ("65536 * 65536", "0"),
        ("-(-2147483648)", "-2147483648"),
        ("-2147483648 / -1", "-2147483648"),
        ("-2147483648 % -1", "0"),
        ("-5 / 3", "-1"),
        ("-5 % 3", "-2"),
        ("5 % -3", "2"),
        // Go: the first error ends the evaluation.
        ("1 IN ('a', 1)", "false, Cast"),
        ("1 IN (1, 'a')", "true"),
        ("missing IN ('a')", "false, MissingAttribute"),
        ("type NOT IN (missing)", "false, MissingAttribute"),
        ("LENGTH(missing)", "0, MissingAttribute"),
        ("LENGTH(LEFT('abc', -1))", "0, FunctionEvaluation"),
        ("CONCAT(type, 1 / 0)", "'', Math"),
        ("INT('+7')", "7"),
        ("INT(' 7')", "0, Cast"),
        ("INT('2147483648')", "0, Cast"),
        ("INT('')", "0, Cast"),
        ("BOOL('')", "false, Cast"),
        // A backslash is a character, except before the string's quote, and before a wildcard.
        (r"'\n\\'", r"'\n\\'"),
        (r"'a\b' LIKE 'a\b'", "true"),
        (r"'a\\%' LIKE 'a\\%'", "false"),
        (r"'a\%' LIKE 'a\\%'", "true"),
        (r#""a'b" LIKE 'a\'b'"#, "true"),
        // Errors of the right operand of a decided `AND` or `OR` don't count.
        ("true OR missing", "true"),
        ("missing OR true", "false, MissingAttribute"),
        ("false XOR missing", "false, MissingAttribute"),
        ("type = 't' OR missing = 1 AND false", "true"),
        // The case of the TCK is about 10; all integers are alike.
        ("NOT 0", "true, Cast"),
        ("NOT NOT 10", "false, Cast"),
        ("NOT 'x'", "false, Cast"),
    ] {
        assert_eq!(result(text), expected, "{text}");
    }
}

#[test]
fn functions_count_characters() {
    for (text, expected) in [
        ("LENGTH('a😀é')", "3"),
        ("LEFT('😀é', 1)", "'😀'"),
        ("LEFT('é', 2147483647)", "'é'"),
        ("RIGHT('a😀é', 2)", "'😀é'"),
        ("RIGHT('é', 0)", "''"),
        ("SUBSTRING('a😀é', 2)", "'😀é'"),
        ("SUBSTRING('a😀é', -2, 1)", "'😀'"),
        ("SUBSTRING('abc', 3, 2147483647)", "'c'"),
        ("SUBSTRING('abc', 2, 0)", "''"),
        ("SUBSTRING('abc', 2, -1)", "'', FunctionEvaluation"),
        ("SUBSTRING('abc', -2147483648)", "'', FunctionEvaluation"),
        ("SUBSTRING('', 1)", "'', FunctionEvaluation"),
        ("SUBSTRING('', 0)", "''"),
        ("UPPER('straße')", "'STRASSE'"),
        ("LOWER('ÀÉ')", "'àé'"),
        ("TRIM('\u{a0}\u{2003} a\u{0} \n')", "'a\u{0}'"),
        ("CONCAT(1, true, 'x')", "'1truex'"),
        ("CONCAT_WS(0, 1, 2)", "'102'"),
        ("LEFT(12345, '2')", "'12'"),
        ("STRING(-2147483648)", "'-2147483648'"),
        ("LENGTH(STRING(12)) = 2", "true"),
    ] {
        assert_eq!(result(text), expected, "{text}");
    }
}

#[test]
fn attributes_and_data_have_the_types_of_their_json() {
    for (text, expected) in [
        ("bool", "true"),
        ("int", "-5"),
        ("zero", "0"),
        // An attribute of another type is a string.
        ("big", "'2147483648'"),
        ("text", "'7'"),
        ("TEXT + int", "2"),
        ("time", "'2018-04-05T17:31:00Z'"),
        ("gone", "false, MissingAttribute"),
        ("subject", "false, MissingAttribute"),
        ("EXISTS gone", "false"),
        ("EXISTS subject", "false"),
        ("EXISTS int", "true"),
        // Data of another type is missing.
        ("DATA('/s')", "'é'"),
        ("DATA('/t')", "true"),
        ("DATA('/n') + 1", "4"),
        ("DATA('/min')", "-2147483648"),
        ("DATA('/big')", "false, MissingAttribute"),
        ("DATA('/f')", "false, MissingAttribute"),
        ("DATA('/e')", "false, MissingAttribute"),
        ("DATA('/z')", "false, MissingAttribute"),
        ("DATA('/o')", "false, MissingAttribute"),
        ("DATA('/l')", "false, MissingAttribute"),
        ("DATA('/l/0')", "'x'"),
        ("DATA('/l/2')", "false, MissingAttribute"),
        ("DATA('/empty') = ''", "true"),
        ("DATA('/none') = ''", "false, MissingAttribute"),
        ("DATA_EXISTS('/o')", "true"),
        ("DATA_EXISTS('/f')", "true"),
        ("DATA_EXISTS('/z')", "false"),
        ("DATA_EXISTS('/none')", "false"),
        ("NOT DATA_EXISTS('/none') OR DATA('/none') = 1", "true"),
    ] {
        assert_eq!(result(text), expected, "{text}");
    }
    let expression = Expression::parse("DATA_EXISTS('/a')", InputKind::Event).unwrap();
    assert!(!expression.matches(&Input::event(raw(EVENT), None)), "an event without data");
}

#[test]
fn concatenation_has_a_limit() {
    for (size, expected) in
        [(MAX_CONCATENATION / 2, None), (MAX_CONCATENATION / 2 + 1, Some(ErrorKind::FunctionEvaluation))]
    {
        let data = format!(r#"{{"a":"{}"}}"#, "x".repeat(size));
        let expression = Expression::parse("CONCAT(DATA('/a'), DATA('/a'))", InputKind::Webhook).unwrap();
        assert_eq!(expression.evaluate(&Input::webhook(None, None, raw(&data))).error, expected, "{size}");
    }
}

#[test]
fn only_true_without_an_error_matches() {
    let input = Input::event(raw(EVENT), None);
    for (text, expected) in [
        ("bool", true),
        ("BOOL(text = 7)", true),
        ("text", false),
        ("int", false),
        ("NOT int", false),
        ("missing = 1", false),
        ("missing != 1", false),
    ] {
        assert_eq!(Expression::parse(text, InputKind::Event).unwrap().matches(&input), expected, "{text}");
    }
}

/// Whether a pattern without escapes matches, by its definition.
fn is_like(text: &[char], pattern: &[char]) -> bool {
    match (pattern, text) {
        ([], _) => text.is_empty(),
        (['%', rest @ ..], _) => (0..=text.len()).any(|skipped| is_like(&text[skipped..], rest)),
        ([one, rest @ ..], [first, others @ ..]) => (*one == '_' || one == first) && is_like(others, rest),
        (_, []) => false,
    }
}

proptest! {
    #[test]
    fn like_matches_as_defined(text in "[abé\n]{0,9}", pattern in "[abé%_]{0,7}") {
        let characters = |text: &str| text.chars().collect::<Vec<_>>();
        let expected = is_like(&characters(&text), &characters(&pattern));
        prop_assert_eq!(like::matches(&text, &pattern), expected);
    }
}
