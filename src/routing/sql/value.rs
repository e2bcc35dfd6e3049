//! Values, their types, and the conversions between them.

use std::borrow::Cow;

use serde_json::value::RawValue;

use super::error::ErrorKind;
use crate::json::{self, JsonType};

/// The type of a value (CESQL 1.0, section 3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Type {
    /// `true` or `false`.
    Boolean,
    /// A whole number of 32 bits.
    Integer,
    /// Unicode text.
    String,
}

/// A value. Strings are borrowed from the expression or from the input where possible.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value<'v> {
    /// `true` or `false`.
    Boolean(bool),
    /// A whole number of 32 bits.
    Integer(i32),
    /// Unicode text.
    String(Cow<'v, str>),
}

impl<'v> Value<'v> {
    /// The zero value of a type (section 3.1).
    pub(super) fn zero(kind: Type) -> Self {
        match kind {
            Type::Boolean => Self::Boolean(false),
            Type::Integer => Self::Integer(0),
            Type::String => Self::String(Cow::Borrowed("")),
        }
    }

    /// The value of an attribute: a boolean or an integer of 32 bits as such, any other as a string (section 3.2).
    pub(super) fn of_attribute(raw: &'v RawValue) -> Option<Self> {
        match json::type_of(raw) {
            JsonType::String => json::borrowed_text(raw).map(Self::String),
            _ => Some(scalar(raw).unwrap_or(Self::String(Cow::Borrowed(raw.get())))),
        }
    }

    /// The value of a part of the data: a string, a boolean, or an integer of 32 bits that is written without a
    /// fraction and an exponent. `None` for any other JSON.
    pub(super) fn of_data(raw: &'v RawValue) -> Option<Self> {
        match json::type_of(raw) {
            JsonType::String => json::borrowed_text(raw).map(Self::String),
            _ => scalar(raw),
        }
    }

    /// The type.
    pub fn type_of(&self) -> Type {
        match self {
            Self::Boolean(_) => Type::Boolean,
            Self::Integer(_) => Type::Integer,
            Self::String(_) => Type::String,
        }
    }

    /// Converts the value to a type (section 3.7).
    pub(super) fn cast(self, kind: Type) -> Result<Self, ErrorKind> {
        match kind {
            Type::Boolean => self.boolean().map(Self::Boolean),
            Type::Integer => self.integer().map(Self::Integer),
            Type::String => Ok(Self::String(self.string())),
        }
    }

    /// Converts the value to a boolean. Of strings, only `true` and `false` are ones, in any case.
    pub(super) fn boolean(&self) -> Result<bool, ErrorKind> {
        match self {
            Self::Boolean(value) => Ok(*value),
            Self::Integer(value) => Ok(*value != 0),
            Self::String(text) if text.eq_ignore_ascii_case("true") => Ok(true),
            Self::String(text) if text.eq_ignore_ascii_case("false") => Ok(false),
            Self::String(_) => Err(ErrorKind::Cast),
        }
    }

    /// Converts the value to an integer. A string has digits, with at most one sign before them.
    pub(super) fn integer(&self) -> Result<i32, ErrorKind> {
        match self {
            Self::Boolean(value) => Ok(i32::from(*value)),
            Self::Integer(value) => Ok(*value),
            Self::String(text) => text.parse().map_err(|_| ErrorKind::Cast),
        }
    }

    /// Converts the value to a string.
    pub(super) fn string(self) -> Cow<'v, str> {
        match self {
            Self::Boolean(value) => Cow::Borrowed(if value { "true" } else { "false" }),
            Self::Integer(value) => Cow::Owned(value.to_string()),
            Self::String(text) => text,
        }
    }
}

/// A JSON boolean, or a JSON integer of 32 bits.
fn scalar<'v>(raw: &RawValue) -> Option<Value<'v>> {
    match json::type_of(raw) {
        JsonType::Boolean => Some(Value::Boolean(raw.get() == "true")),
        JsonType::Number => raw.get().parse().ok().map(Value::Integer),
        _ => None,
    }
}
