//! The error of a text that is no table of routes.

use super::MAX_TABLE;
use crate::json::{InvalidValue, JsonError};

/// The reason why a text is not a table of routes. Repeats no value of the table.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TableError {
    /// The text is longer than [`MAX_TABLE`].
    #[error("it is longer than {MAX_TABLE} bytes")]
    TooLong,
    /// The text is not JSON.
    #[error("{0}")]
    Json(JsonError),
    /// A value in the table breaks a rule.
    #[error(transparent)]
    Value(#[from] InvalidValue),
}

#[cfg(test)]
mod tests;
