//! Checked access to the JSON of a table. Each error names the place of a value, but never repeats the value: one in
//! the wrong place might be a secret.

use std::collections::BTreeSet;
use std::fmt::Display;

use serde_json::value::RawValue;

use super::MAX_TABLE;
use crate::json::{self, JsonError, JsonType, Pointer};

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
    #[error("{} {rule}", if pointer.is_empty() { "it".to_owned() } else { format!("`{pointer}`") })]
    Rule {
        /// The place of the value: a JSON Pointer (RFC 6901), empty for the whole table.
        pointer: String,
        /// The rule. Completes the sentence that begins with the place.
        rule: String,
    },
}

/// A reader of values at one place in the table.
#[derive(Clone, Debug)]
pub(super) struct TableReader {
    /// The place: a JSON Pointer (RFC 6901).
    pointer: String,
}

impl TableReader {
    /// The reader for the whole table.
    pub(super) fn root() -> Self {
        Self { pointer: String::new() }
    }

    /// The reader for a member or element of this place. Errors repeat `step`, so it must be an index or a known name.
    pub(super) fn at(&self, step: impl Display) -> Self {
        Self { pointer: format!("{}/{}", self.pointer, Pointer::escape(&step.to_string())) }
    }

    /// The error for a value that breaks a rule.
    pub(super) fn error(&self, rule: impl Into<String>) -> TableError {
        TableError::Rule { pointer: self.pointer.clone(), rule: rule.into() }
    }

    /// The error for a string that is not Unicode text.
    pub(super) fn unpaired_surrogate(&self) -> TableError {
        self.error("must not contain an unpaired surrogate")
    }

    /// The error for a value of another type.
    fn wrong_type(&self, expected: JsonType, raw: &RawValue) -> TableError {
        self.error(format!("must be {expected}, but is {}", json::type_of(raw)))
    }

    /// The elements of an array.
    pub(super) fn elements<'a>(&self, raw: &'a RawValue) -> Result<Vec<&'a RawValue>, TableError> {
        json::elements(raw).ok_or_else(|| self.wrong_type(JsonType::Array, raw))
    }

    /// The members of an object. A duplicate name is an error.
    pub(super) fn members<'a>(&self, raw: &'a RawValue) -> Result<Vec<(String, &'a RawValue)>, TableError> {
        let members = json::members(raw).ok_or_else(|| self.wrong_type(JsonType::Object, raw))?;
        let mut seen = BTreeSet::new();
        let named = members.into_iter().zip(1_usize..).map(|((name, value), n)| {
            let Some(name) = json::text(name) else {
                return Err(self.error(format!("has a name with an unpaired surrogate (member {n})")));
            };
            if !seen.insert(name.clone()) {
                return Err(self.error(format!("has a duplicate name (member {n})")));
            }
            Ok((name, value))
        });
        named.collect()
    }

    /// The members of an object with these names, in their order. A member with another name is an error.
    pub(super) fn known_members<'a, const N: usize>(
        &self,
        raw: &'a RawValue,
        names: [&'static str; N],
    ) -> Result<[Option<&'a RawValue>; N], TableError> {
        let mut found = [None; N];
        for ((name, value), n) in self.members(raw)?.into_iter().zip(1_usize..) {
            let slot = names.iter().position(|known| *known == name).and_then(|at| found.get_mut(at));
            let unknown = || self.error(format!("has an unknown name (member {n}): known are {}", code_list(&names)));
            *slot.ok_or_else(unknown)? = Some(value);
        }
        Ok(found)
    }

    /// A boolean.
    pub(super) fn boolean(&self, raw: &RawValue) -> Result<bool, TableError> {
        match json::type_of(raw) {
            JsonType::Boolean => Ok(raw.get() == "true"),
            _ => Err(self.wrong_type(JsonType::Boolean, raw)),
        }
    }

    /// A string that is not empty.
    pub(super) fn text(&self, raw: &RawValue) -> Result<String, TableError> {
        if json::type_of(raw) != JsonType::String {
            return Err(self.wrong_type(JsonType::String, raw));
        }
        match json::text(raw) {
            Some(text) if text.is_empty() => Err(self.error("must not be empty")),
            Some(text) => Ok(text),
            None => Err(self.unpaired_surrogate()),
        }
    }
}

/// Formats names as a list of code: `a`, `b`, `c`.
pub(super) fn code_list(names: &[&str]) -> String {
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests;
