//! The sender of a source: all that this layer asks of presets and descriptors.

use std::fmt;

use http::HeaderMap;
use http::header::AUTHORIZATION;
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

use super::TokenDemands;
use crate::json::{self, InvalidValue, JsonType, Reader, nearest};
use crate::sender::{CUSTOM, PRESETS, Preset, Sender, SenderError};

/// The sender of a source.
#[derive(Clone, Copy)]
pub enum SourceSender<'a> {
    /// A known sender.
    Preset(&'static Preset),
    /// The descriptor of another one, as JSON. It is parsed when a request is to be verified with it.
    Descriptor(&'a RawValue),
}

/// The headers by which a request shows its sender.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Marks {
    /// A header of the sender.
    Own,
    /// Only `Authorization`, which a token may be in, too.
    Shared,
}

/// The name of the preset with this name or alias.
pub(super) fn preset_named(name: &str) -> Option<&'static str> {
    Preset::by_name(name).map(|preset| preset.name)
}

impl<'a> SourceSender<'a> {
    pub(super) fn parse(raw: &'a RawValue, reader: &Reader<'_>) -> Result<Self, InvalidValue> {
        match json::type_of(raw) {
            JsonType::Object => Ok(Self::Descriptor(raw)),
            JsonType::String => {
                let name = reader.text(raw)?;
                Preset::by_name(&name).map(Self::Preset).ok_or_else(|| {
                    match nearest(&name, PRESETS.iter().flat_map(Preset::names)) {
                        Some(near) => reader.error(format!("is an unknown sender `{name}`: did you mean `{near}`?")),
                        None => reader.error("must be a sender that docs/senders.md lists, or a descriptor"),
                    }
                })
            }
            _ => Err(reader.wrong_type("must be the name of a sender, or a descriptor", raw)),
        }
    }

    /// Like [`parse`](Self::parse), without an error.
    pub(super) fn read(raw: &'a RawValue) -> Option<Self> {
        Self::parse(raw, &Reader::root()).ok()
    }

    /// The sender's schemes, questions and bodies, with the demands of the source on a JSON Web Token.
    pub(super) fn definition(self, rules: TokenDemands<'_>) -> Result<Sender, SenderError> {
        let demands = rules.members();
        let over = |value: Value| match value {
            Value::Object(mut members) => {
                for (name, demand) in demands.clone() {
                    merge(members.entry(name).or_insert(Value::Null), demand);
                }
                Value::Object(members)
            }
            other => other,
        };
        match self {
            Self::Preset(preset) if demands.is_empty() => Ok(Sender::of(preset)),
            Self::Preset(preset) => Sender::from_value(over(json!({ "like": preset.name }))),
            Self::Descriptor(raw) if demands.is_empty() => Sender::parse(raw.get()),
            Self::Descriptor(raw) => {
                let value = serde_json::from_str(raw.get()).map_err(|error| SenderError::Json(error.to_string()))?;
                Sender::from_value(over(value))
            }
        }
    }

    /// The preset's name, or [`CUSTOM`] for a descriptor.
    pub fn name(self) -> &'static str {
        self.preset_name().unwrap_or(CUSTOM)
    }

    /// The preset's name; `None` for a descriptor.
    pub fn preset_name(self) -> Option<&'static str> {
        match self {
            Self::Preset(preset) => Some(preset.name),
            Self::Descriptor(_) => None,
        }
    }

    /// Whether the sender signs its requests, or sends a secret in them.
    pub(super) fn signs(self) -> bool {
        match self {
            Self::Preset(preset) => preset.signs,
            Self::Descriptor(_) => true,
        }
    }

    /// The headers of the sender that a request has; `None` if it has none of them.
    pub(super) fn marks(self, headers: &HeaderMap) -> Option<Marks> {
        let marks = |name: &str| {
            let is_shared = name.eq_ignore_ascii_case(AUTHORIZATION.as_str());
            headers.contains_key(name).then_some(if is_shared { Marks::Shared } else { Marks::Own })
        };
        match self {
            Self::Preset(preset) => preset.marks.iter().copied().filter_map(marks).min(),
            Self::Descriptor(raw) => {
                let names = json::member(raw, "headers").and_then(json::elements).unwrap_or_default();
                names.into_iter().filter_map(json::borrowed_text).filter_map(|name| marks(&name)).min()
            }
        }
    }

    /// The rank among senders whose headers are all there: descriptors first, since the operator names their headers,
    /// and then presets in the order of detection.
    pub(super) fn rank(self) -> usize {
        match self {
            Self::Descriptor(_) => 0,
            Self::Preset(own) => {
                PRESETS.iter().position(|preset| preset.name == own.name).map_or(usize::MAX, |at| at.saturating_add(1))
            }
        }
    }
}

impl TokenDemands<'_> {
    /// The demands as members of a scheme: `jwt` and `keys`.
    fn members(self) -> Map<String, Value> {
        let list = |raw: &RawValue| match serde_json::from_str(raw.get()) {
            Ok(Value::Array(list)) => Value::Array(list),
            Ok(one) => json!([one]),
            Err(_) => Value::Null,
        };
        let mut claims = Map::new();
        claims.extend(self.audience.map(|raw| ("audiences".to_owned(), list(raw))));
        claims.extend(self.issuer.map(|raw| ("issuers".to_owned(), list(raw))));
        let mut members = Map::new();
        if !claims.is_empty() {
            members.insert("jwt".to_owned(), Value::Object(claims));
        }
        members.extend(self.key_url().map(|url| ("keys".to_owned(), json!({ "jwks": url }))));
        members
    }
}

/// Replaces the members of an object by those of another one.
fn merge(base: &mut Value, over: Value) {
    match (base, over) {
        (Value::Object(base), Value::Object(over)) => base.extend(over),
        (base, over) => *base = over,
    }
}

/// Redacted: a value in the wrong place might be a secret.
impl fmt::Debug for SourceSender<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Preset(preset) => write!(f, "Preset({})", preset.name),
            Self::Descriptor(_) => f.write_str("Descriptor(…)"),
        }
    }
}

/// Two sources have one sender if they have the same preset, or descriptors with the same value.
impl PartialEq for SourceSender<'_> {
    fn eq(&self, other: &Self) -> bool {
        let value = |raw: &RawValue| serde_json::from_str::<Value>(raw.get()).ok();
        match (self, other) {
            (Self::Preset(one), Self::Preset(other)) => one.name == other.name,
            (Self::Descriptor(one), Self::Descriptor(other)) => {
                one.get() == other.get() || value(one).is_some_and(|one| value(other) == Some(one))
            }
            _ => false,
        }
    }
}
