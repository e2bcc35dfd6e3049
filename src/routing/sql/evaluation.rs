//! The evaluation of an expression. It ends with the first error (CESQL 1.0, section 4.1, "fail fast").

use std::borrow::Cow;

use super::error::ErrorKind;
use super::expression::{Operator, Part};
use super::like;
use super::value::{Type, Value};
use crate::json::{self, JsonType};
use crate::routing::input::{Input, Operand};

/// The end of an evaluation by an error.
pub(super) struct Failure<'v> {
    pub(super) kind: ErrorKind,
    /// The value of the part that failed, if it isn't the zero value of its type.
    pub(super) value: Option<Value<'v>>,
}

impl From<ErrorKind> for Failure<'_> {
    fn from(kind: ErrorKind) -> Self {
        Self { kind, value: None }
    }
}

impl Part {
    /// Evaluates the part on an input.
    pub(super) fn evaluate<'v, 'a: 'v>(&'v self, input: &Input<'a>) -> Result<Value<'v>, Failure<'v>> {
        Ok(match self {
            Self::Boolean(value) => Value::Boolean(*value),
            Self::Integer(value) => Value::Integer(*value),
            Self::String(text) => Value::String(Cow::Borrowed(text)),
            Self::Value(operand) => value(operand, input).ok_or(ErrorKind::MissingAttribute)?,
            Self::Exists(operand) => Value::Boolean(exists(operand, input)),
            Self::Not(part) => match part.value(input)? {
                // The case "Invalid int cast" of the TCK.
                Value::Integer(_) => return Err(Failure { kind: ErrorKind::Cast, value: Some(Value::Boolean(true)) }),
                value => Value::Boolean(!value.boolean()?),
            },
            Self::Negate(part) => Value::Integer(part.value(input)?.integer()?.wrapping_neg()),
            Self::Binary(operator, operands) => binary(*operator, operands, input)?,
            Self::Like(part, pattern) => Value::Boolean(like::matches(&part.value(input)?.string(), pattern)),
            Self::In(part, set) => Value::Boolean(is_in(&part.value(input)?, set, input)?),
            Self::Call(function, arguments) => {
                let arguments = arguments.iter().map(|argument| argument.value(input)).collect::<Result<_, _>>()?;
                return function.call(arguments);
            }
        })
    }

    /// Evaluates a part of another one, whose value doesn't matter if it fails.
    fn value<'v, 'a: 'v>(&'v self, input: &Input<'a>) -> Result<Value<'v>, ErrorKind> {
        self.evaluate(input).map_err(|failure| failure.kind)
    }
}

/// The value of an attribute, or of a part of the data.
fn value<'a>(operand: &Operand, input: &Input<'a>) -> Option<Value<'a>> {
    match (operand, input.json(operand)) {
        (Operand::Pointer(_), json) => Value::of_data(json?),
        (Operand::Attribute(_), Some(json)) => Value::of_attribute(json),
        (Operand::Attribute(_), None) => input.text(operand).map(Value::String),
    }
}

/// Returns whether an attribute exists, or a part of the data that isn't `null`.
fn exists(operand: &Operand, input: &Input<'_>) -> bool {
    match operand {
        Operand::Pointer(_) => input.json(operand).is_some_and(|json| json::type_of(json) != JsonType::Null),
        Operand::Attribute(_) => input.text(operand).is_some(),
    }
}

fn binary<'v, 'a: 'v>(
    operator: Operator,
    [left, right]: &'v [Part; 2],
    input: &Input<'a>,
) -> Result<Value<'v>, ErrorKind> {
    let left = left.value(input)?;
    // The right operand is evaluated only if the left one doesn't decide (section 3.6).
    match operator {
        Operator::And if !left.boolean()? => return Ok(Value::Boolean(false)),
        Operator::Or if left.boolean()? => return Ok(Value::Boolean(true)),
        _ => {}
    }
    let right = right.value(input)?;
    Ok(match operator {
        Operator::And | Operator::Or => Value::Boolean(right.boolean()?),
        Operator::Xor => Value::Boolean(left.boolean()? != right.boolean()?),
        // The type of the right operand selects the operator, which converts the left one (section 3.7).
        Operator::Equal => Value::Boolean(left.cast(right.type_of())? == right),
        Operator::NotEqual => Value::Boolean(left.cast(right.type_of())? != right),
        Operator::Less => Value::Boolean(left.integer()? < right.integer()?),
        Operator::LessOrEqual => Value::Boolean(left.integer()? <= right.integer()?),
        Operator::Greater => Value::Boolean(left.integer()? > right.integer()?),
        Operator::GreaterOrEqual => Value::Boolean(left.integer()? >= right.integer()?),
        Operator::Plus | Operator::Minus | Operator::Times | Operator::Divide | Operator::Modulo => {
            Value::Integer(arithmetic(operator, left.integer()?, right.integer()?)?)
        }
    })
}

/// The result of an arithmetic operator. One outside the range of integers wraps around, as in the SDKs for Go and
/// Java: the specification doesn't define it.
fn arithmetic(operator: Operator, left: i32, right: i32) -> Result<i32, ErrorKind> {
    match operator {
        Operator::Plus => Ok(left.wrapping_add(right)),
        Operator::Minus => Ok(left.wrapping_sub(right)),
        Operator::Times => Ok(left.wrapping_mul(right)),
        _ if right == 0 => Err(ErrorKind::Math),
        // Only -2147483648 / -1 is out of range.
        Operator::Divide => Ok(left.checked_div(right).unwrap_or(left)),
        _ => Ok(left.checked_rem(right).unwrap_or(0)),
    }
}

/// Returns whether a value equals an element, which is converted to its type (section 3.4.5).
fn is_in(value: &Value<'_>, set: &[Part], input: &Input<'_>) -> Result<bool, ErrorKind> {
    let kind: Type = value.type_of();
    for element in set {
        if element.value(input)?.cast(kind)? == *value {
            return Ok(true);
        }
    }
    Ok(false)
}
