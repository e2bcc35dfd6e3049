//! The errors of expressions.

use super::{MAX_LENGTH, MAX_OPERATIONS};
use crate::routing::InputKind;

/// The kind of an error (CESQL 1.0, section 3.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// The text is no expression.
    Parse,
    /// Division by zero, or a result outside the range of integers.
    Math,
    /// A value can't be converted to the type that an operator or function takes.
    Cast,
    /// The event has no such attribute, or its data no such value.
    MissingAttribute,
    /// There is no such function with this number of arguments.
    MissingFunction,
    /// A function doesn't take the value of an argument.
    FunctionEvaluation,
}

/// The reason why a text is no expression. Completes the sentence that begins with the place of the text, and repeats no
/// part of it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("has an error at line {line}, column {column}: {problem}")]
pub struct ExpressionError {
    /// The line, from 1.
    pub line: usize,
    /// The column, from 1, in characters.
    pub column: usize,
    problem: Problem,
}

impl ExpressionError {
    /// The error at an offset in the text, in bytes.
    pub(super) fn new(text: &str, offset: usize, problem: Problem) -> Self {
        let before = text.get(..text.floor_char_boundary(offset)).unwrap_or(text);
        let (lines, last) =
            before.rsplit_once('\n').map_or((0, before), |(lines, last)| (lines.split('\n').count(), last));
        Self { line: lines.saturating_add(1), column: last.chars().count().saturating_add(1), problem }
    }

    /// The kind of the error: [`ErrorKind::MissingFunction`], or [`ErrorKind::Parse`].
    pub fn kind(&self) -> ErrorKind {
        match self.problem {
            Problem::Function => ErrorKind::MissingFunction,
            _ => ErrorKind::Parse,
        }
    }
}

/// The rule that a text breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Problem {
    #[error("more than {MAX_LENGTH} bytes")]
    Length,
    #[error("more than {MAX_OPERATIONS} operators, parentheses and calls")]
    Operations,
    #[error("unexpected character")]
    Character,
    #[error("string without a closing quote")]
    Unclosed,
    #[error("two quotes in a row: in a string, write a backslash before a quote")]
    DoubledQuote,
    #[error("integer outside the range of 32 bits")]
    Integer,
    #[error("expected a value")]
    Operand,
    #[error("expected an operator or the end")]
    Operator,
    #[error("expected `LIKE` or `IN` after `NOT`")]
    Negated,
    #[error("expected a string: `LIKE` takes a literal pattern")]
    Pattern,
    #[error("expected `(`")]
    Open,
    #[error("expected `,` or `)`")]
    Close,
    #[error("expected the name of an attribute: {}", names(*.0))]
    Attribute(InputKind),
    #[error("unknown function, or wrong number of arguments")]
    Function,
    #[error("expected a string with a JSON Pointer that starts with `/`")]
    Pointer,
}

/// The names of attributes.
fn names(kind: InputKind) -> &'static str {
    match kind {
        InputKind::Event => "letters and digits; for the event's data, use `DATA('/…')`",
        InputKind::Webhook => "`sender`, `source` or `type`; for the payload, use `DATA('/…')`",
    }
}
