//! Reading the table: each error says where, and repeats no value, since one in the wrong place might be a secret.

use std::collections::BTreeSet;
use std::fmt::Display;

use serde_json::value::RawValue;

use super::MAX_TABLE;
use crate::json::{self, JsonError, JsonType, Pointer};

/// Why a text is no table of routes. Repeats no value of it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TableError {
    /// More bytes than [`MAX_TABLE`].
    #[error("it is longer than {MAX_TABLE} bytes")]
    TooLong,
    /// Not JSON.
    #[error("{0}")]
    Json(JsonError),
    /// Something in it breaks a rule.
    #[error("{} {rule}", if place.is_empty() { "it".to_owned() } else { format!("`{place}`") })]
    Rule {
        /// Where: a JSON Pointer (RFC 6901).
        place: String,
        /// What it must be. Completes the sentence.
        rule: String,
    },
}

/// A place in the table: a JSON Pointer (RFC 6901).
#[derive(Clone, Debug)]
pub(super) struct Reader(String);

impl Reader {
    /// The whole.
    pub(super) fn root() -> Self {
        Self(String::new())
    }

    /// A place in this one. A name goes into errors, so give only one that is known to be a name.
    pub(super) fn at(&self, step: impl Display) -> Self {
        Self(format!("{}/{}", self.0, Pointer::escape(&step.to_string())))
    }

    /// What stands here breaks a rule.
    pub(super) fn wrong(&self, rule: impl Into<String>) -> TableError {
        TableError::Rule { place: self.0.clone(), rule: rule.into() }
    }

    /// What stands here has another type.
    pub(super) fn must_be(&self, wanted: &str, raw: &RawValue) -> TableError {
        self.wrong(format!("must be {wanted}, and is {}", json::type_of(raw)))
    }

    /// The elements of an array.
    pub(super) fn elements<'a>(&self, raw: &'a RawValue) -> Result<Vec<&'a RawValue>, TableError> {
        json::elements(raw).ok_or_else(|| self.must_be("an array", raw))
    }

    /// The members of an object, each name once.
    pub(super) fn members<'a>(&self, raw: &'a RawValue) -> Result<Vec<(String, &'a RawValue)>, TableError> {
        let members = json::members(raw).ok_or_else(|| self.must_be("an object", raw))?;
        let mut seen = BTreeSet::new();
        let named = members.into_iter().zip(1_usize..).map(|((name, value), n)| {
            let name = json::text(name).ok_or_else(|| self.wrong(format!("has a name that is no text: member {n}")))?;
            match seen.insert(name.clone()) {
                true => Ok((name, value)),
                false => Err(self.wrong(format!("has two members of one name: member {n} is the second"))),
            }
        });
        named.collect()
    }

    /// The members of an object that has no others than these.
    pub(super) fn known<'a, const N: usize>(
        &self,
        raw: &'a RawValue,
        names: [&'static str; N],
    ) -> Result<[Option<&'a RawValue>; N], TableError> {
        let mut found = [None; N];
        for ((name, value), n) in self.members(raw)?.into_iter().zip(1_usize..) {
            let slot = names.iter().position(|known| *known == name).and_then(|at| found.get_mut(at));
            let unknown = || self.wrong(format!("may have {}, and no other: member {n}", list(&names)));
            *slot.ok_or_else(unknown)? = Some(value);
        }
        Ok(found)
    }

    /// A text that is not empty.
    pub(super) fn text(&self, raw: &RawValue) -> Result<String, TableError> {
        if json::type_of(raw) != JsonType::String {
            return Err(self.must_be("a string", raw));
        }
        match json::text(raw) {
            Some(text) if text.is_empty() => Err(self.wrong("must not be empty")),
            Some(text) => Ok(text),
            None => Err(self.wrong("must be text: it has half a surrogate pair")),
        }
    }
}

/// `a`, `b`, `c`.
pub(super) fn list(names: &[&str]) -> String {
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests;
