//! Precedence, conversions, functions, and data, beyond the cases of the specification; errors with their places.

use proptest::prelude::*;

use super::expression::{Operator, Part};
use super::function::FUNCTIONS;
use super::*;
use crate::json::Pointer;
use crate::routing::input::Operand;

mod errors;
mod results;

fn parse(text: &str) -> Result<Part, ExpressionError> {
    parser::parse(text, InputKind::Event)
}

/// A part with parentheses around each part of it.
fn print(part: &Part) -> String {
    let quoted = |text: &str| format!("'{}'", text.replace('\'', "\\'"));
    let list = |parts: &[Part]| parts.iter().map(print).collect::<Vec<_>>().join(", ");
    match part {
        Part::Boolean(value) => value.to_string(),
        Part::Integer(value) => value.to_string(),
        Part::String(text) => quoted(text),
        Part::Value(Operand::Attribute(name)) => name.clone(),
        Part::Value(Operand::Pointer(_)) => "DATA('/a')".to_owned(),
        Part::Exists(Operand::Attribute(name)) => format!("EXISTS {name}"),
        Part::Exists(Operand::Pointer(_)) => "DATA_EXISTS('/a')".to_owned(),
        Part::Not(part) => format!("(NOT {})", print(part)),
        Part::Negate(part) => format!("(- {})", print(part)),
        Part::Binary(operator, operands) => {
            format!("({} {} {})", print(&operands[0]), symbol(*operator), print(&operands[1]))
        }
        Part::Like(part, pattern) => format!("({} LIKE {})", print(part), quoted(pattern)),
        Part::In(part, set) => format!("({} IN ({}))", print(part), list(set)),
        Part::Call(function, arguments) => {
            let name = FUNCTIONS.into_iter().find(|(_, _, known)| known == function).unwrap().0;
            format!("{name}({})", list(arguments))
        }
    }
}

fn symbol(operator: Operator) -> &'static str {
    match operator {
        Operator::And => "AND",
        Operator::Or => "OR",
        Operator::Xor => "XOR",
        Operator::Equal => "=",
        Operator::NotEqual => "!=",
        Operator::Less => "<",
        Operator::LessOrEqual => "<=",
        Operator::Greater => ">",
        Operator::GreaterOrEqual => ">=",
        Operator::Plus => "+",
        Operator::Minus => "-",
        Operator::Times => "*",
        Operator::Divide => "/",
        Operator::Modulo => "%",
    }
}

/// Section 3.6, and the grammar for `AND`, `OR` and `XOR`.
#[test]
fn operators_group_by_precedence() {
    for (text, expected) in [
        ("a + b * c", "(a + (b * c))"),
        ("a * b + c", "((a * b) + c)"),
        ("a - b - c", "((a - b) - c)"),
        ("a / b % c", "((a / b) % c)"),
        ("a < b = c", "((a < b) = c)"),
        ("a = b + c AND d", "((a = (b + c)) AND d)"),
        ("a AND b OR c", "(a AND (b OR c))"),
        ("a OR b AND c", "(a OR (b AND c))"),
        ("a XOR b XOR c", "(a XOR (b XOR c))"),
        ("NOT a = b", "((NOT a) = b)"),
        ("NOT a LIKE 'b'", "((NOT a) LIKE 'b')"),
        ("a NOT LIKE 'b'", "(NOT (a LIKE 'b'))"),
        ("a NOT IN (b)", "(NOT (a IN (b)))"),
        ("NOT NOT EXISTS a", "(NOT (NOT EXISTS a))"),
        ("-a * b", "((- a) * b)"),
        ("- a LIKE 'b'", "((- a) LIKE 'b')"),
        ("a + b LIKE 'c'", "(a + (b LIKE 'c'))"),
        ("a = b IN (c, d + 1) AND e", "((a = (b IN (c, (d + 1)))) AND e)"),
        ("a IN (b) LIKE 'c'", "((a IN (b)) LIKE 'c')"),
        ("(a OR b) AND c", "((a OR b) AND c)"),
        // A sign belongs to the digits that it directly precedes, where a value is expected.
        ("4-1", "(4 - 1)"),
        ("4 -1", "(4 - 1)"),
        ("4 - -1", "(4 - -1)"),
        ("+4 + +1", "(4 + 1)"),
        ("- 1", "(- 1)"),
        ("--1", "(- -1)"),
        ("-2147483648", "-2147483648"),
        // Case, white space, quotes.
        ("\tSource\r\nlike\n'x'", "(source LIKE 'x')"),
        ("length(\"it's\")", "LENGTH('it\\'s')"),
        (r#"'a\'b\"c\\'"#, r#"'a\'b\"c\\'"#),
        ("1abc = 007", "(1abc = 7)"),
        ("data('/a') AND Data_Exists(\"/a\")", "(DATA('/a') AND DATA_EXISTS('/a'))"),
    ] {
        assert_eq!(parse(text).map(|part| print(&part)).as_deref(), Ok(expected), "{text}");
    }
}

/// The longest and deepest expressions are parsed, printed, evaluated and dropped on a small stack.
#[test]
fn depth_is_bounded() {
    let nested = |levels| {
        [("(", "", ")"), ("NOT ", "", ""), ("- ", "", ""), ("LENGTH(", "", ")"), ("a IN (", "", ")")]
            .map(|(open, _, close)| format!("{}1{}", open.repeat(levels), close.repeat(levels)))
    };
    let chained = |links| ["+", "=", "OR", "XOR"].map(|symbol| format!("0{}", format!(" {symbol} 0").repeat(links)));
    let check = move || {
        let input: &serde_json::value::RawValue = serde_json::from_str(r#"{"a":"1"}"#).unwrap();
        for text in nested(MAX_OPERATIONS).into_iter().chain(chained(MAX_OPERATIONS)) {
            let expression =
                Expression::parse(&text, InputKind::Event).unwrap_or_else(|error| panic!("{text}: {error}"));
            expression.evaluate(&Input::event(input, None));
        }
        for text in nested(MAX_OPERATIONS + 1).into_iter().chain(chained(MAX_OPERATIONS + 1)) {
            let error = parse(&text).unwrap_err().to_string();
            assert!(error.ends_with("more than 128 operators, parentheses and calls"), "{text}: {error}");
        }
    };
    std::thread::Builder::new().stack_size(256 * 1024).spawn(check).unwrap().join().unwrap();
    assert!(parse(&format!("'{}'", "x".repeat(MAX_LENGTH - 2))).is_ok());
    assert!(parse(&"(".repeat(MAX_LENGTH)).is_err());
}

/// Texts of tokens, most of which are no expression.
fn any_tokens() -> impl Strategy<Value = String> {
    const TOKENS: [&str; 40] = [
        "AND",
        "or",
        "XOR",
        "NOT",
        "LIKE",
        "EXISTS",
        "IN",
        "true",
        "FALSE",
        "(",
        ")",
        ",",
        "+",
        "-",
        "*",
        "/",
        "%",
        "=",
        "!=",
        "<>",
        "<=",
        ">=",
        "<",
        ">",
        "a",
        "type",
        "data",
        "LENGTH",
        "CONCAT",
        "DATA",
        "'/a'",
        "'%_'",
        "\"x\\\"y\"",
        "0",
        "7",
        "2147483648",
        "-2147483648",
        "é",
        "'",
        "SUBSTRING",
    ];
    let token = prop::sample::select(TOKENS.to_vec());
    prop::collection::vec((token, prop::sample::select(vec!["", " ", "\n"])), 0..24)
        .prop_map(|tokens| tokens.into_iter().flat_map(|(token, space)| [token, space]).collect())
}

/// Expressions of any operators, without parentheses that decide how they group.
fn any_expression() -> impl Strategy<Value = String> {
    let leaf = prop::sample::select(vec![
        "a",
        "EXISTS b",
        "1",
        "-1",
        "0",
        "true",
        "'x'",
        "'7'",
        "\"%\"",
        "DATA('/a')",
        "DATA_EXISTS('/a')",
        "''",
    ]);
    leaf.prop_map(str::to_owned).prop_recursive(5, 24, 4, |inner| {
        let operators = prop::sample::select(vec!["AND", "OR", "XOR", "=", "!=", "<", ">=", "+", "-", "*", "/", "%"]);
        let functions = prop::sample::select(FUNCTIONS.to_vec());
        prop_oneof![
            4 => (inner.clone(), operators, inner.clone()).prop_map(|(a, operator, b)| format!("{a} {operator} {b}")),
            1 => inner.clone().prop_map(|a| format!("NOT {a}")),
            1 => inner.clone().prop_map(|a| format!("- {a}")),
            1 => inner.clone().prop_map(|a| format!("({a})")),
            1 => inner.clone().prop_map(|a| format!("{a} LIKE '%_7'")),
            1 => (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("{a} NOT IN ({b}, 'x')")),
            2 => (functions, prop::collection::vec(inner, 3)).prop_map(|((name, counts, _), arguments)| {
                let count = (*counts.start()).clamp(1, 3);
                format!("{name}({})", arguments[..count].join(", "))
            }),
        ]
    })
}

proptest! {
    #[test]
    fn any_text_is_parsed_or_refused_at_a_place_in_it(text in prop_oneof![any_tokens(), any::<String>()]) {
        match parse(&text) {
            Ok(part) => prop_assert_eq!(parse(&print(&part)), Ok(normalised(part))),
            Err(error) => {
                let line = text.split('\n').nth(error.line.saturating_sub(1));
                prop_assert!(line.is_some_and(|line| error.column <= line.chars().count().saturating_add(1)), "{}: {}", text, error);
            }
        }
    }

    #[test]
    fn printed_expression_has_the_same_parts_and_the_same_value(text in any_expression(), a in "[17x]{0,2}") {
        let part = parse(&text).unwrap();
        prop_assert_eq!(&parse(&print(&part)).unwrap(), &part);
        let event = format!(r#"{{"a":"{a}"}}"#);
        let event: &serde_json::value::RawValue = serde_json::from_str(&event).unwrap();
        let expression = Expression(part);
        let evaluation = expression.evaluate(&Input::event(event, Some(event)));
        if let Some(expected) = expression.type_of() {
            prop_assert_eq!(evaluation.value.type_of(), expected, "{}", text);
        }
    }
}

/// The part as it is printed: each pointer is `/a`.
fn normalised(part: Part) -> Part {
    let each = |parts: Vec<Part>| parts.into_iter().map(normalised).collect();
    let boxed = |part: Box<Part>| Box::new(normalised(*part));
    let operand = |operand| match operand {
        Operand::Pointer(_) => Operand::Pointer(Pointer::parse("/a").unwrap()),
        attribute @ Operand::Attribute(_) => attribute,
    };
    match part {
        Part::Value(value) => Part::Value(operand(value)),
        Part::Exists(value) => Part::Exists(operand(value)),
        Part::Not(part) => Part::Not(boxed(part)),
        Part::Negate(part) => Part::Negate(boxed(part)),
        Part::Binary(operator, operands) => Part::Binary(operator, Box::new(operands.map(normalised))),
        Part::Like(part, pattern) => Part::Like(boxed(part), pattern),
        Part::In(part, set) => Part::In(boxed(part), each(set)),
        Part::Call(function, arguments) => Part::Call(function, each(arguments)),
        literal => literal,
    }
}
