//! The built-in functions (CESQL 1.0, section 3.5), and the three that convert a value to a type (section 3.7).

use std::borrow::Cow;
use std::ops::RangeInclusive;

use super::error::ErrorKind;
use super::evaluation::Failure;
use super::value::{Type, Value};
use super::{MAX_CONCATENATION, MAX_LENGTH};

/// A function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Function {
    Abs,
    Bool,
    Concat,
    ConcatWs,
    Int,
    Left,
    Length,
    Lower,
    Right,
    String,
    Substring,
    Trim,
    Upper,
}

/// No call has more arguments: each takes a byte of the expression.
const ANY: usize = MAX_LENGTH;

/// The functions by name, with the number of their arguments.
pub(super) const FUNCTIONS: [(&str, RangeInclusive<usize>, Function); 13] = [
    ("ABS", 1..=1, Function::Abs),
    ("BOOL", 1..=1, Function::Bool),
    ("CONCAT", 0..=ANY, Function::Concat),
    ("CONCAT_WS", 1..=ANY, Function::ConcatWs),
    ("INT", 1..=1, Function::Int),
    ("LEFT", 2..=2, Function::Left),
    ("LENGTH", 1..=1, Function::Length),
    ("LOWER", 1..=1, Function::Lower),
    ("RIGHT", 2..=2, Function::Right),
    ("STRING", 1..=1, Function::String),
    ("SUBSTRING", 2..=3, Function::Substring),
    ("TRIM", 1..=1, Function::Trim),
    ("UPPER", 1..=1, Function::Upper),
];

impl Function {
    /// The function with this name, in any case, and this number of arguments.
    pub(super) fn find(name: &str, arguments: usize) -> Option<Self> {
        let mut functions = FUNCTIONS.into_iter();
        let is_found = |known: &str, counts: &RangeInclusive<usize>| {
            known.eq_ignore_ascii_case(name) && counts.contains(&arguments)
        };
        functions.find(|(known, counts, _)| is_found(known, counts)).map(|(_, _, function)| function)
    }

    /// The type of its results.
    pub(super) fn type_of(self) -> Type {
        match self {
            Self::Bool => Type::Boolean,
            Self::Abs | Self::Int | Self::Length => Type::Integer,
            Self::Concat
            | Self::ConcatWs
            | Self::Left
            | Self::Lower
            | Self::Right
            | Self::String
            | Self::Substring
            | Self::Trim
            | Self::Upper => Type::String,
        }
    }

    /// The type of an argument.
    fn type_of_argument(self, at: usize) -> Type {
        match (self, at) {
            (Self::Abs | Self::Int, _) | (Self::Left | Self::Right | Self::Substring, 1..) => Type::Integer,
            (Self::Bool, _) => Type::Boolean,
            _ => Type::String,
        }
    }

    /// Calls the function with arguments of any type.
    pub(super) fn call<'v>(self, arguments: Vec<Value<'v>>) -> Result<Value<'v>, Failure<'v>> {
        let cast = |(at, argument): (usize, Value<'v>)| argument.cast(self.type_of_argument(at));
        let arguments: Vec<_> = arguments.into_iter().enumerate().map(cast).collect::<Result<_, _>>()?;
        match (self, arguments.as_slice()) {
            (Self::Abs, [Value::Integer(value)]) => absolute(*value),
            (Self::Bool | Self::Int | Self::String, [value]) => Ok(value.clone()),
            (Self::Concat, parts) => concatenation("", parts),
            (Self::ConcatWs, [Value::String(separator), parts @ ..]) => concatenation(separator, parts),
            (Self::Length, [Value::String(text)]) => Ok(Value::Integer(length(text))),
            (Self::Lower, [Value::String(text)]) => Ok(owned(text.to_lowercase())),
            (Self::Upper, [Value::String(text)]) => Ok(owned(text.to_uppercase())),
            (Self::Trim, [Value::String(text)]) => Ok(owned(text.trim())),
            (Self::Left, [Value::String(text), Value::Integer(count)]) => match usize::try_from(*count) {
                Ok(count) => Ok(owned(split(text, count).0)),
                Err(_) => Err(invalid(Value::String(text.clone()))),
            },
            (Self::Right, [Value::String(text), Value::Integer(count)]) => match usize::try_from(*count) {
                Ok(count) => Ok(owned(split(text, text.chars().count().saturating_sub(count)).1)),
                Err(_) => Err(invalid(Value::String(text.clone()))),
            },
            (Self::Substring, [Value::String(text), Value::Integer(from)]) => substring(text, *from, i32::MAX),
            (Self::Substring, [Value::String(text), Value::Integer(from), Value::Integer(count)]) => {
                substring(text, *from, *count)
            }
            // The parser accepts only calls whose arguments fit.
            _ => Err(invalid(Value::zero(self.type_of()))),
        }
    }
}

/// The failure of a function that doesn't take the value of an argument.
fn invalid(value: Value<'_>) -> Failure<'_> {
    Failure { kind: ErrorKind::FunctionEvaluation, value: Some(value) }
}

fn owned<'v>(text: impl Into<String>) -> Value<'v> {
    Value::String(Cow::Owned(text.into()))
}

fn absolute<'v>(value: i32) -> Result<Value<'v>, Failure<'v>> {
    let overflow = Failure { kind: ErrorKind::Math, value: Some(Value::Integer(i32::MAX)) };
    value.checked_abs().map(Value::Integer).ok_or(overflow)
}

/// The number of characters.
fn length(text: &str) -> i32 {
    i32::try_from(text.chars().count()).unwrap_or(i32::MAX)
}

fn concatenation<'v>(separator: &str, parts: &[Value<'_>]) -> Result<Value<'v>, Failure<'v>> {
    let mut text = String::new();
    for (at, part) in parts.iter().enumerate() {
        if at > 0 {
            text.push_str(separator);
        }
        if let Value::String(part) = part {
            text.push_str(part);
        }
        if text.len() > MAX_CONCATENATION {
            return Err(invalid(Value::zero(Type::String)));
        }
    }
    Ok(owned(text))
}

/// The first characters of a text, and the others.
fn split(text: &str, count: usize) -> (&str, &str) {
    let at = text.char_indices().nth(count).map_or(text.len(), |(at, _)| at);
    text.split_at_checked(at).unwrap_or((text, ""))
}

/// The characters from a position on. Positions start at 1; a negative one is counted from the end, and from 0 on there
/// are none.
fn substring<'v>(text: &str, from: i32, count: i32) -> Result<Value<'v>, Failure<'v>> {
    let length = length(text);
    if from > length || from < length.saturating_neg() {
        return Err(invalid(Value::zero(Type::String)));
    }
    let Ok(count) = usize::try_from(count) else { return Err(invalid(Value::zero(Type::String))) };
    let skipped = match from {
        0 => return Ok(Value::zero(Type::String)),
        1.. => from.saturating_sub(1),
        _ => length.saturating_add(from),
    };
    let (_, rest) = split(text, usize::try_from(skipped).unwrap_or(usize::MAX));
    Ok(owned(split(rest, count).0))
}
