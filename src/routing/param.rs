//! The params that a route adds: a JSONPath (RFC 9535), or a literal value.

use std::borrow::Cow;

use jsonpath_rfc9535::{Error, JsonPath, SingularSegment};
use serde_json::value::RawValue;

use super::MAX_PARAM_BYTES;
use super::input::Input;
use crate::json::{self, InvalidValue, JsonType, Reader, Tree};

/// Maximum length of a path, in bytes.
const MAX_PATH: usize = 1_024;

/// The error if the params of a route are longer than [`MAX_PARAM_BYTES`] in total.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("with the param `{param}`, the params of the route are larger than {MAX_PARAM_BYTES} bytes")]
pub struct ParamsTooLarge {
    /// The first param that no longer fits.
    pub param: String,
}

/// The error if a value is longer than the bytes left for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the value is too large")]
pub(super) struct ValueTooLarge;

/// The definition of a param's value.
#[derive(Clone, Debug)]
pub(super) enum ParamSpec {
    /// A path into the whole event, or into the webhook's payload.
    Path(JsonPath),
    /// A value from the table.
    Literal(Box<RawValue>),
}

impl ParamSpec {
    /// Parses a definition. A string that starts with `$` is a path, `{"value": …}` stands for the literal in it, and
    /// any other value is a literal itself.
    pub(super) fn parse(raw: &RawValue, reader: &Reader<'_>) -> Result<Self, InvalidValue> {
        if json::type_of(raw) == JsonType::String {
            let text = json::text(raw).ok_or_else(|| reader.unpaired_surrogate())?;
            if text.len() > MAX_PATH && text.starts_with('$') {
                return Err(reader.error(format!("must be a JSONPath of at most {MAX_PATH} bytes")));
            }
            if text.starts_with('$') {
                return JsonPath::parse(&text).map(Self::Path).map_err(|error| reader.error(path_rule(&error)));
            }
        }
        let literal = match json::members(raw).unwrap_or_default().as_slice() {
            [(name, value)] if json::text(name).is_some_and(|name| name == "value") => value,
            _ => raw,
        };
        Ok(Self::Literal(literal.to_owned()))
    }

    /// Evaluates the definition. A path that can select only one value yields that value, or `None` if it does not
    /// exist; any other path yields an array of all values that it selects. `max` is the maximum length in bytes.
    pub(super) fn value<'a>(
        &'a self,
        input: &Input<'a>,
        max: usize,
    ) -> Result<Option<Cow<'a, RawValue>>, ValueTooLarge> {
        let value = match self {
            Self::Literal(value) => Some(Cow::Borrowed(&**value)),
            Self::Path(path) => match path.singular_steps() {
                Some(steps) => steps.iter().try_fold(input.root(), step).map(|found| Cow::Borrowed(found.value())),
                None => array(input.document().select(path), max)?.map(Cow::Owned),
            },
        };
        match value {
            Some(value) if value.get().len() > max => Err(ValueTooLarge),
            value => Ok(value),
        }
    }
}

/// Takes one step of a path that can select only one value (RFC 9535, sections 2.3.1.2 and 2.3.3.2). Works on the text,
/// without a [`JsonDocument`](super::document::JsonDocument).
fn step<'t, 'a>(tree: &'t Tree<'a>, step: &SingularSegment) -> Option<&'t Tree<'a>> {
    match step {
        SingularSegment::Name(name) => tree.member(name),
        SingularSegment::Index(index) => {
            let elements = tree.elements()?;
            let at = match usize::try_from(index.get()) {
                Ok(at) => at,
                Err(_) => elements.len().checked_sub(usize::try_from(index.get().unsigned_abs()).ok()?)?,
            };
            elements.get(at)
        }
    }
}

/// Builds an array of values. Stops as soon as the array is longer than `max`. The result is never `None`, since an
/// array of valid JSON is valid JSON.
fn array<'a>(values: impl Iterator<Item = &'a RawValue>, max: usize) -> Result<Option<Box<RawValue>>, ValueTooLarge> {
    let mut json = String::from("[");
    for value in values {
        if json.len() > 1 {
            json.push(',');
        }
        json.push_str(value.get());
        if json.len() > max {
            return Err(ValueTooLarge);
        }
    }
    json.push(']');
    Ok(RawValue::from_string(json).ok())
}

/// The rule that an invalid path breaks. Omits the parser's own message, which repeats parts of the text: a text that
/// starts with `$` may be the hash of a password.
fn path_rule(error: &Error) -> String {
    let problem = match error {
        Error::Syntax { position, .. } => format!("it has a syntax error at byte {position}"),
        Error::NestingTooDeep { .. } => "it is nested too deeply".to_owned(),
        Error::IntegerOutOfRange { .. } => "an integer in it is out of range".to_owned(),
        _ => "it uses an unknown function, or one in a wrong way: known are `length`, `count` and `value`".to_owned(),
    };
    format!(
        "starts with `$`, so it must be a JSONPath (RFC 9535), but {problem}; for a literal text, write \
         {{\"value\":\"$…\"}}"
    )
}

#[cfg(test)]
mod tests;
