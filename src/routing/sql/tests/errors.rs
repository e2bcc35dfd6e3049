//! Texts that are no expression.

use super::*;

#[test]
fn error_names_line_and_column() {
    use ErrorKind::{MissingFunction, Parse};
    let attribute = "expected the name of an attribute: letters and digits; for the event's data, use `DATA('/…')`";
    let value = "expected a value";
    let rest = "expected an operator or the end";
    let pointer = "expected a string with a JSON Pointer that starts with `/`";
    let function = "unknown function, or wrong number of arguments";
    for (text, line, column, kind, problem) in [
        ("", 1, 1, Parse, value),
        (" \n", 2, 1, Parse, value),
        ("a =", 1, 4, Parse, value),
        ("a AND\n  b = ", 2, 7, Parse, value),
        ("a\n\n= é", 3, 3, Parse, "unexpected character"),
        ("'é' = é", 1, 7, Parse, "unexpected character"),
        ("a == b", 1, 4, Parse, value),
        ("a ! b", 1, 3, Parse, "unexpected character"),
        ("a; b", 1, 2, Parse, "unexpected character"),
        ("a b", 1, 3, Parse, rest),
        ("(a))", 1, 4, Parse, rest),
        ("(a", 1, 3, Parse, "expected `,` or `)`"),
        ("ABC(", 1, 5, Parse, value),
        ("CONCAT('a' 'b')", 1, 12, Parse, "expected `,` or `)`"),
        ("CONCAT('a',)", 1, 12, Parse, value),
        ("'abc", 1, 1, Parse, "string without a closing quote"),
        ("a = 'abc\\'", 1, 5, Parse, "string without a closing quote"),
        ("'it''s'", 1, 1, Parse, "two quotes in a row: in a string, write a backslash before a quote"),
        ("a = 2147483648", 1, 5, Parse, "integer outside the range of 32 bits"),
        ("a = -2147483649", 1, 5, Parse, "integer outside the range of 32 bits"),
        ("- 2147483648", 1, 3, Parse, "integer outside the range of 32 bits"),
        ("+a", 1, 1, Parse, value),
        ("+ 1", 1, 1, Parse, value),
        ("a NOT = b", 1, 7, Parse, "expected `LIKE` or `IN` after `NOT`"),
        ("a LIKE b", 1, 8, Parse, "expected a string: `LIKE` takes a literal pattern"),
        ("a LIKE ('b')", 1, 8, Parse, "expected a string: `LIKE` takes a literal pattern"),
        ("a IN 'b'", 1, 6, Parse, "expected `(`"),
        ("a IN ()", 1, 7, Parse, value),
        ("EXISTS 'a'", 1, 8, Parse, attribute),
        ("EXISTS data", 1, 8, Parse, attribute),
        ("1 = data", 1, 5, Parse, attribute),
        ("my_ext = 1", 1, 1, Parse, attribute),
        ("and = 1", 1, 1, Parse, value),
        ("DATA(a)", 1, 6, Parse, pointer),
        ("DATA('a')", 1, 6, Parse, pointer),
        ("DATA('/a~2')", 1, 6, Parse, pointer),
        ("DATA()", 1, 6, Parse, pointer),
        ("DATA('/a', 1)", 1, 10, Parse, "expected `,` or `)`"),
        ("1 = FOO(1)", 1, 5, MissingFunction, function),
        ("CONCAT_WS()", 1, 1, MissingFunction, function),
        ("LEFT('a')", 1, 1, MissingFunction, function),
        ("SUBSTRING('a', 1, 1, 1)", 1, 1, MissingFunction, function),
    ] {
        let error = parse(text).expect_err(text);
        assert_eq!((error.line, error.column, error.kind()), (line, column, kind), "{text}: {error}");
        assert_eq!(error.to_string(), format!("has an error at line {line}, column {column}: {problem}"), "{text}");
    }
    let long = format!("a = '{}'", "é".repeat(MAX_LENGTH));
    assert_eq!(parse(&long).unwrap_err().to_string(), "has an error at line 1, column 2051: more than 4096 bytes");
}

#[test]
fn webhook_has_three_attributes() {
    for (text, expected) in [
        ("sender = 'github' AND Type = 'push' AND EXISTS SOURCE AND DATA_EXISTS('/a')", None),
        ("type = 'push' AND subject = 'a'", Some((1, 19))),
        ("EXISTS id", Some((1, 8))),
    ] {
        let error = parser::parse(text, InputKind::Webhook).err();
        let names =
            "expected the name of an attribute: `sender`, `source` or `type`; for the payload, use `DATA('/…')`";
        assert!(error.as_ref().is_none_or(|error| error.to_string().ends_with(names)), "{error:?}");
        assert_eq!(error.map(|error| (error.line, error.column)), expected, "{text}");
    }
}
