//! The CloudEvents SQL Expression Language 1.0 (CESQL), the filter dialect `sql`. An [`Expression`] is evaluated on an
//! event or a webhook.
//!
//! ```text
//! text ──Lexer──▶ Token ──parser──▶ Part ──evaluate, with an Input──▶ Value
//! ```
//!
//! The specification leaves a few results open. They are as in the SDKs for Go and Java:
//!
//! - `AND`, `OR` and `XOR` have one precedence and group from the right, as in the specification's grammar.
//! - Arithmetic wraps around.
//! - A backslash escapes only a quote, and in a pattern of `LIKE` only `%` and `_`. Elsewhere it is a character.
//!
//! Two functions are an extension of Sluice: `DATA('/pointer')` is the value that a JSON Pointer finds in the payload,
//! and `DATA_EXISTS('/pointer')` whether there is one. Their argument is a literal, so it is checked when the
//! expression is parsed.
//!
//! `tests/it/cesql.rs` runs the conformance cases of the specification.

mod error;
mod evaluation;
mod expression;
mod function;
mod lexer;
mod like;
mod parser;
#[cfg(test)]
mod tests;
mod value;

use super::input::{Input, InputKind};
use expression::Part;

pub use error::{ErrorKind, ExpressionError};
pub use value::{Type, Value};

/// Maximum length of an expression, in bytes.
pub const MAX_LENGTH: usize = 4_096;
/// Maximum number of operators, parentheses and calls in an expression. Bounds the depth to which they nest.
pub const MAX_OPERATIONS: usize = 128;
/// Maximum length of the result of `CONCAT` and `CONCAT_WS`, in bytes. A longer one is an error of the function.
pub const MAX_CONCATENATION: usize = 262_144;

/// An expression.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expression(Part);

/// The result of an evaluation: always a value, and the error that ended it, if there was one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Evaluation<'v> {
    /// The value. After an error, the zero value of its type, unless the specification names another.
    pub value: Value<'v>,
    /// The error.
    pub error: Option<ErrorKind>,
}

impl Expression {
    /// Parses an expression over events or over webhooks. Attributes that a webhook doesn't have are an error.
    pub fn parse(text: &str, kind: InputKind) -> Result<Self, ExpressionError> {
        parser::parse(text, kind).map(Self)
    }

    /// The type of its values; `None` if it depends on the input.
    pub fn type_of(&self) -> Option<Type> {
        self.0.type_of()
    }

    /// Evaluates the expression on an input.
    pub fn evaluate<'v, 'a: 'v>(&'v self, input: &Input<'a>) -> Evaluation<'v> {
        match self.0.evaluate(input) {
            Ok(value) => Evaluation { value, error: None },
            Err(failure) => {
                let zero = || Value::zero(self.type_of().unwrap_or(Type::Boolean));
                Evaluation { value: failure.value.unwrap_or_else(zero), error: Some(failure.kind) }
            }
        }
    }

    /// Returns whether the expression, as a filter, matches an input: its value is `true`, and there is no error
    /// (Subscriptions API, section 3.2.4.1.1).
    pub fn matches(&self, input: &Input<'_>) -> bool {
        matches!(self.evaluate(input), Evaluation { value: Value::Boolean(true), error: None })
    }
}
