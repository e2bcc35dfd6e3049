//! An expression has the same value and the same error in parentheses and between blanks, its value has the type that it
//! announces, and the error of a text that is none names a place in the text.

use serde_json::value::RawValue;
use sluice::routing::sql::{Expression, ExpressionError};
use sluice::routing::{Input, InputKind};

const EVENT: &str = r#"{"specversion":"1.0","id":"1","source":"/s","type":"com.example","number":"7","flag":"true"}"#;
const DATA: &str = r#"{"n":-5,"text":"a_b%c","list":[true,null,{"x":12.5}]}"#;

/// The text of an expression.
pub fn check(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let raw = |json| serde_json::from_str::<&RawValue>(json).expect("JSON");
    let input = Input::event(raw(EVENT), Some(raw(DATA)));
    let parse = |text: &str| Expression::parse(text, InputKind::Event);
    let expression = match parse(text) {
        Ok(expression) => expression,
        Err(error) => return assert_is_in(text, &error),
    };

    let evaluation = expression.evaluate(&input);
    assert!(expression.type_of().is_none_or(|announced| announced == evaluation.value.type_of()));
    let wrapped = format!("\r\n( {text}\t)  ");
    // It may exceed the maximum length or number of operations.
    let Ok(wrapped) = parse(&wrapped) else { return };
    let other = wrapped.evaluate(&input);
    assert_eq!((&other.value, other.error), (&evaluation.value, evaluation.error));
    assert_eq!(wrapped.type_of(), expression.type_of());
}

/// The place of an error is in the text, or right after it.
fn assert_is_in(text: &str, error: &ExpressionError) {
    let line = error.line.checked_sub(1).and_then(|line| text.split('\n').nth(line));
    let columns = line.map(|line| line.chars().count() + 1);
    assert!(columns.is_some_and(|columns| (1..=columns).contains(&error.column)), "{error}");
}
