//! The text of `settings`: a JSON object with what seldom changes. Each request parses it, and reads only the members
//! that it needs.

use std::borrow::Cow;

use serde_json::value::RawValue;

use super::forms::{Form, Member};
use super::members::MEMBERS;
use super::moved::{MOVED, Place};
use crate::json::{self, InvalidValue, JsonError, Reader, nearest};

/// Maximum length of `settings`, in bytes.
const MAX_TEXT: usize = 65_536;

/// The object, whose values are not read yet.
#[derive(Default)]
pub struct Document<'a> {
    members: Vec<(Cow<'a, str>, &'a RawValue)>,
}

/// Redacted: a value may be a secret.
impl std::fmt::Debug for Document<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Document(…)")
    }
}

/// The reason why a text can't be read at all. Repeats no value of the text.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DocumentError {
    /// The text is longer than 65,536 bytes.
    #[error("is longer than {MAX_TEXT} bytes")]
    TooLong,
    /// The text is not JSON.
    #[error("is no JSON object: {0}")]
    Json(JsonError),
    /// The text is not an object, or has a member twice.
    #[error("is no JSON object: {0}")]
    Value(#[from] InvalidValue),
}

impl<'a> Document<'a> {
    /// Parses the object. An empty text sets nothing. A byte order mark is left out.
    pub fn parse(text: &'a str) -> Result<Self, DocumentError> {
        if json::without_mark(text).trim().is_empty() {
            return Ok(Self::default());
        }
        if text.len() > MAX_TEXT {
            return Err(DocumentError::TooLong);
        }
        let raw = json::value(text.as_bytes()).map_err(DocumentError::Json)?;
        Ok(Self { members: Reader::root().members(raw)? })
    }

    /// Returns the value of a member, or its default.
    ///
    /// A member that is not set is an error if an unknown one is near to its name: `callback_gte` must not mean that
    /// `callback_get` has its default.
    pub fn get<F: Form<'a>>(&self, member: &Member<F>) -> Result<F::Value, InvalidValue> {
        let root = Reader::root();
        if let Some((_, raw)) = self.members.iter().find(|(name, _)| *name == member.name) {
            return member.form.read(raw, &root.at(member.name));
        }
        match self.unknown().find(|(_, name)| meant(name) == Some(member.name)) {
            Some((at, name)) => Err(unknown(name, at)),
            None => Ok(member.form.default_value()),
        }
    }

    /// Returns whether a member is set.
    pub fn has<F>(&self, member: &Member<F>) -> bool {
        self.members.iter().any(|(name, _)| *name == member.name)
    }

    /// Returns all errors in the object.
    pub fn errors(&self) -> Vec<InvalidValue> {
        let root = Reader::root();
        let invalid = self.members.iter().filter_map(|(name, raw)| {
            let member = MEMBERS.iter().find(|member| member.name() == name)?;
            member.check(raw, &root.at(member.name())).err()
        });
        self.unknown().map(|(at, name)| unknown(name, at)).chain(invalid).collect()
    }

    /// The members whose names are not known, each with its index.
    fn unknown(&self) -> impl Iterator<Item = (usize, &str)> {
        let names = self.members.iter().map(|(name, _)| &**name).enumerate();
        names.filter(|(_, name)| MEMBERS.iter().all(|member| member.name() != *name))
    }
}

fn names() -> impl Iterator<Item = &'static str> {
    MEMBERS.iter().map(|member| member.name())
}

/// The member that an unknown name was probably meant to be.
fn meant(name: &str) -> Option<&'static str> {
    match MOVED.iter().find(|moved| moved.variable == name).map(|moved| moved.to) {
        Some(Place::Settings(member)) => Some(member),
        Some(_) => None,
        None => nearest(name, names()),
    }
}

/// The error for an unknown member at an index.
fn unknown(name: &str, at: usize) -> InvalidValue {
    let reader = Reader::root();
    match MOVED.iter().find(|moved| moved.variable == name) {
        Some(moved) => reader.error(format!("has an unknown name `{name}`: use {}", moved.to)),
        None => reader.unknown(name, at, &names().collect::<Vec<_>>()),
    }
}

#[cfg(test)]
mod tests;
