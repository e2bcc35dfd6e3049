//! Params that a route adds: a JSONPath (RFC 9535), or a value as it stands in the table.

use std::borrow::Cow;

use jsonpath_rfc9535::{Error, JsonPath, SingularSegment};
use serde_json::value::RawValue;

use super::MAX_PARAM_BYTES;
use super::input::Input;
use super::reader::{Reader, TableError};
use crate::json::{self, JsonType};

/// The longest path, in bytes.
const MAX_PATH: usize = 1_024;

/// The params of a route would be too large to be stored.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the param `{param}` would make the params of its route larger than {MAX_PARAM_BYTES} bytes")]
pub struct TooLarge {
    /// Which one it is that no longer fits.
    pub param: String,
}

/// Where the value of a param comes from.
#[derive(Clone, Debug)]
pub(super) enum Param {
    /// From the event, or the payload.
    Path(JsonPath),
    /// From the table.
    Literal(Box<RawValue>),
}

impl Param {
    /// A string that starts with `$` is a path, `{"value": …}` stands for what is in it, and anything else for itself.
    pub(super) fn parse(raw: &RawValue, reader: &Reader) -> Result<Self, TableError> {
        if json::type_of(raw) == JsonType::String {
            let text = json::text(raw).ok_or_else(|| reader.wrong("must be text: it has half a surrogate pair"))?;
            if text.len() > MAX_PATH && text.starts_with('$') {
                return Err(reader.wrong(format!("must be a JSONPath of at most {MAX_PATH} bytes")));
            }
            if text.starts_with('$') {
                return JsonPath::parse(&text).map(Self::Path).map_err(|error| reader.wrong(rule(&error)));
            }
        }
        let value = match json::members(raw).unwrap_or_default().as_slice() {
            [(name, value)] if json::text(name).is_some_and(|name| name == "value") => value,
            _ => raw,
        };
        Ok(Self::Literal(value.to_owned()))
    }

    /// Its value, if there is one: of a path that can find only one thing that thing, of any other an array. `Err` if it is
    /// longer than `most` bytes.
    pub(super) fn value<'a>(&'a self, input: &Input<'a>, most: usize) -> Result<Option<Cow<'a, RawValue>>, ()> {
        let value = match self {
            Self::Literal(value) => Some(Cow::Borrowed(&**value)),
            Self::Path(path) => match path.singular_steps() {
                Some(steps) => steps.iter().try_fold(input.whole(), step).map(Cow::Borrowed),
                None => Some(Cow::Owned(array(input.document().find(path), most)?)),
            },
        };
        match value {
            Some(value) if value.get().len() > most => Err(()),
            value => Ok(value),
        }
    }
}

/// RFC 9535, sections 2.3.1.2 and 2.3.3.2; over the bytes, so that nothing has to be parsed for it.
fn step<'a>(value: &'a RawValue, step: &SingularSegment) -> Option<&'a RawValue> {
    match step {
        SingularSegment::Name(name) => json::member(value, name),
        SingularSegment::Index(index) => {
            let elements = json::elements(value)?;
            let at = match usize::try_from(index.get()) {
                Ok(at) => at,
                Err(_) => elements.len().checked_sub(usize::try_from(index.get().unsigned_abs()).ok()?)?,
            };
            elements.get(at).copied()
        }
    }
}

fn array<'a>(found: impl Iterator<Item = &'a RawValue>, most: usize) -> Result<Box<RawValue>, ()> {
    let mut json = String::from("[");
    for value in found {
        if json.len() > 1 {
            json.push(',');
        }
        json.push_str(value.get());
        if json.len() > most {
            return Err(());
        }
    }
    json.push(']');
    RawValue::from_string(json).map_err(|_| ())
}

/// Without the parser's own words, which repeat what they found: what starts with `$` may be a password's hash.
fn rule(error: &Error) -> String {
    let what = match error {
        Error::Syntax { position, .. } => format!("it can't be read from byte {position} on"),
        Error::NestingTooDeep { .. } => "it nests too deep".to_owned(),
        Error::IntegerOutOfRange { .. } => "an integer in it is out of range".to_owned(),
        _ => "a function in it isn't known, or is used wrongly: there are `length`, `count` and `value`".to_owned(),
    };
    format!("must be a JSONPath (RFC 9535), since it starts with `$`, but {what}; a text is {{\"value\":\"$…\"}}")
}

#[cfg(test)]
mod tests;
