//! The bodies of a profile's requests: JSON with holes.
//!
//! A hole is the object `{"$": "name"}`; it becomes a JSON value, which keeps the sender's spelling. A member or element
//! whose hole has no value is omitted, and so is an object or array that would be left empty.

use serde::Deserialize;
use serde::ser::{Serialize, Serializer};
use serde_json::value::RawValue;

use super::RequestError;
use super::form::{Lazy, List, Text};
use super::names::base64;
use super::request::{Hole, Holes, expand, holes_of};
use crate::json::{self, Part};

/// The form of a value in a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Filter {
    /// A JSON value becomes a JSON string with its text.
    Text,
    /// A string with the base64 of the JSON's bytes, or of a text's bytes.
    Base64,
    /// A text in lower case.
    Lower,
    /// Like [`Text`](Self::Text), with only plain characters in its strings: braces, `$` and characters that are not
    /// printable ASCII are escaped. It is the same JSON to a parser, and no template to an engine that renders those.
    Inert,
}

/// A hole in a body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct BodyHole<'t> {
    pub(super) name: Text<'t>,
    pub(super) filter: Option<Filter>,
    /// The JSON that is written if the hole has no value.
    pub(super) otherwise: Option<&'t str>,
}

/// A value in a body.
#[derive(Clone, Debug)]
pub(super) enum Node<'t> {
    /// JSON that is neither an array nor an object.
    Scalar(&'t str),
    /// `{"$": NAME}`, perhaps with `as` and `or`.
    Hole(BodyHole<'t>),
    /// `{"$text": TEXT}`.
    Text(Text<'t>),
    /// `{"$json": BODY}`: the text of a body.
    Json(Lazy<'t, Node<'t>>),
    Array(List<'t, Node<'t>>),
    /// The members, with their names as JSON.
    Object(List<'t, (&'t str, Node<'t>)>),
}

impl<'t> Node<'t> {
    /// Reads a value.
    pub(super) fn read(part: Part<'t>) -> Result<Self, RequestError> {
        Self::of(part.value())
    }

    /// Reads an object as its members, even if they have the names of a hole's.
    pub(super) fn read_members(part: Part<'t>) -> Result<Self, RequestError> {
        Self::of_members(json::members(part.value()).ok_or(RequestError)?)
    }

    fn of(value: &'t RawValue) -> Result<Self, RequestError> {
        if let Some(elements) = json::elements(value) {
            return elements.into_iter().map(Self::of).collect::<Result<_, _>>().map(|all| Self::Array(List::Own(all)));
        }
        let Some(members) = json::members(value) else { return Ok(Self::Scalar(value.get())) };
        let named = |wanted: &str| members.iter().find(|(name, _)| name.get() == wanted).map(|(_, value)| *value);
        if let Some(hole) = named("\"$\"") {
            let name = Text::of(hole).ok_or(RequestError)?;
            let filter = named("\"as\"").map(json::form).transpose().map_err(|_| RequestError)?;
            let otherwise = named("\"or\"").map(RawValue::get);
            let expected = 1_usize.saturating_add(filter.is_some().into()).saturating_add(otherwise.is_some().into());
            return if members.len() == expected {
                Ok(Self::Hole(BodyHole { name, filter, otherwise }))
            } else {
                Err(RequestError)
            };
        }
        match (named("\"$text\""), named("\"$json\""), members.len()) {
            (Some(text), None, 1) => Text::of(text).map(Self::Text).ok_or(RequestError),
            (None, Some(body), 1) => Ok(Self::Json(Lazy::Json(body.into()))),
            (None, None, _) => Self::of_members(members),
            _ => Err(RequestError),
        }
    }

    fn of_members(members: Vec<(&'t RawValue, &'t RawValue)>) -> Result<Self, RequestError> {
        let members = members.into_iter().map(|(name, value)| Self::of(value).map(|value| (name.get(), value)));
        members.collect::<Result<_, _>>().map(|all| Self::Object(List::Own(all)))
    }

    /// The names of the holes; an error if one is malformed.
    pub(super) fn holes(&self) -> Result<Vec<String>, RequestError> {
        Ok(match self {
            Self::Scalar(_) => Vec::new(),
            Self::Hole(hole) => vec![hole.name.to_string()],
            Self::Text(text) => holes_of(text).ok_or(RequestError)?.into_iter().map(str::to_owned).collect(),
            Self::Json(body) => body.get(Self::read)?.holes()?,
            Self::Array(elements) => elements.iter().map(Self::holes).collect::<Result<Vec<_>, _>>()?.concat(),
            Self::Object(members) => {
                members.iter().map(|(_, value)| value.holes()).collect::<Result<Vec<_>, _>>()?.concat()
            }
        })
    }

    /// Writes the value. Returns false if it has none, and is omitted.
    pub(super) fn fill(&self, holes: &Holes<'_, '_>, out: &mut Vec<u8>) -> Result<bool, RequestError> {
        match self {
            Self::Scalar(json) => {
                out.extend_from_slice(json.as_bytes());
                Ok(true)
            }
            Self::Hole(hole) => fill_hole(hole, holes, out),
            Self::Text(text) => write(&expand(text, holes, |_, text| Ok(text.to_owned()))?, out),
            Self::Json(body) => {
                let json = body.get(Self::read)?.filled(holes)?;
                json.as_ref().map_or(Ok(false), |json| write(json, out))
            }
            Self::Array(elements) => fill_all(elements.iter().map(|value| (None, value)), (b'[', b']'), holes, out),
            Self::Object(members) => {
                let members = members.iter().map(|(name, value)| (Some(*name), value));
                fill_all(members, (b'{', b'}'), holes, out)
            }
        }
    }

    /// The JSON that it stands for; `None` if it has no value.
    fn filled(&self, holes: &Holes<'_, '_>) -> Result<Option<String>, RequestError> {
        let mut json = Vec::new();
        let has_value = self.fill(holes, &mut json)?;
        let json = String::from_utf8(json).map_err(|_| RequestError)?;
        Ok(has_value.then_some(json))
    }

    /// Writes the bytes of one hole. Returns whether they are JSON.
    pub(super) fn fill_raw(&self, holes: &Holes<'_, '_>, out: &mut Vec<u8>) -> Result<bool, RequestError> {
        let Self::Hole(hole) = self else { return Err(RequestError) };
        match holes(&hole.name) {
            None => Ok(false),
            Some(Hole::Text(text)) => {
                out.extend_from_slice(text.as_bytes());
                Ok(false)
            }
            Some(value) => {
                value.write_json(out)?;
                Ok(true)
            }
        }
    }

    /// Encodes a flat object as a form. JSON becomes its text.
    pub(super) fn urlencoded(&self, holes: &Holes<'_, '_>) -> Result<Vec<u8>, RequestError> {
        let Self::Object(members) = self else { return Err(RequestError) };
        let mut form = form_urlencoded::Serializer::new(String::new());
        for (name, value) in members.iter() {
            let Some(value) = value.filled(holes)? else { continue };
            let name: String = serde_json::from_str(name).map_err(|_| RequestError)?;
            form.append_pair(&name, &serde_json::from_str::<String>(&value).unwrap_or(value));
        }
        Ok(form.finish().into_bytes())
    }
}

/// Writes an array or an object. It is omitted if it has values and none of them is written.
fn fill_all<'n, 't: 'n>(
    values: impl Iterator<Item = (Option<&'t str>, &'n Node<'t>)>,
    (open, close): (u8, u8),
    holes: &Holes<'_, '_>,
    out: &mut Vec<u8>,
) -> Result<bool, RequestError> {
    let start = out.len();
    let (mut has_values, mut is_first) = (false, true);
    out.push(open);
    for (name, value) in values {
        has_values = true;
        let end = out.len();
        if !is_first {
            out.push(b',');
        }
        if let Some(name) = name {
            out.extend_from_slice(name.as_bytes());
            out.push(b':');
        }
        if value.fill(holes, out)? {
            is_first = false;
        } else {
            out.truncate(end);
        }
    }
    if is_first && has_values {
        out.truncate(start);
        return Ok(false);
    }
    out.push(close);
    Ok(true)
}

fn fill_hole(hole: &BodyHole<'_>, holes: &Holes<'_, '_>, out: &mut Vec<u8>) -> Result<bool, RequestError> {
    let Some(value) = holes(&hole.name) else {
        let otherwise = hole.otherwise.map(|json| out.extend_from_slice(json.as_bytes()));
        return Ok(otherwise.is_some());
    };
    match (hole.filter, value) {
        (None | Some(Filter::Text), Hole::Text(text)) => write(&text, out),
        (Some(Filter::Lower), Hole::Text(text)) => write(&text.to_lowercase(), out),
        (Some(Filter::Base64), Hole::Text(text)) => write(&base64(text.as_bytes()), out),
        (None, value) => {
            value.write_json(out)?;
            Ok(true)
        }
        (Some(Filter::Text), Hole::Json(value)) => write(&value.get(), out),
        (Some(Filter::Base64), Hole::Json(value)) => write(&base64(value.get()), out),
        (Some(Filter::Text), value) => write(&value.json()?, out),
        (Some(Filter::Base64), value) => write(&base64(value.json()?), out),
        (Some(Filter::Inert), value) => write(&inert(&value.json()?), out),
        (Some(Filter::Lower), _) => Err(RequestError),
    }
}

/// Escapes the characters in a JSON text's strings that are braces, `$`, or not printable ASCII.
pub(super) fn inert(json: &str) -> String {
    let mut escaped = String::with_capacity(json.len());
    let (mut in_string, mut after_backslash) = (false, false);
    for c in json.chars() {
        let is_plain = matches!(c, ' '..='~') && !matches!(c, '{' | '}' | '$');
        if in_string && !is_plain && !after_backslash {
            for unit in c.encode_utf16(&mut [0; 2]) {
                escaped.push_str(&format!("\\u{unit:04x}"));
            }
            continue;
        }
        if c == '"' && !after_backslash {
            in_string = !in_string;
        }
        after_backslash = in_string && c == '\\' && !after_backslash;
        escaped.push(c);
    }
    escaped
}

impl Hole<'_> {
    fn write_json(&self, out: &mut Vec<u8>) -> Result<(), RequestError> {
        match self {
            Self::Text(text) => drop(write(text, out)?),
            Self::Json(value) => out.extend_from_slice(value.get().as_bytes()),
            Self::Built(json) => out.extend_from_slice(json.as_bytes()),
            Self::Number(number) => out.extend_from_slice(number.as_bytes()),
            Self::Params(params) => drop(write(params, out)?),
            Self::Object(members) => {
                let mut object = serde_json::Serializer::new(out);
                object.collect_map(members.iter().copied()).map_err(|_| RequestError)?;
            }
        }
        Ok(())
    }

    fn json(&self) -> Result<String, RequestError> {
        let mut json = Vec::new();
        self.write_json(&mut json)?;
        String::from_utf8(json).map_err(|_| RequestError)
    }
}

fn write(value: &impl Serialize, out: &mut Vec<u8>) -> Result<bool, RequestError> {
    serde_json::to_writer(out, value).map_err(|_| RequestError)?;
    Ok(true)
}
