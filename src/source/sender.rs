//! The sender of a source: all that this layer asks of presets and descriptors.

use std::borrow::Cow;
use std::fmt;

use http::header::AUTHORIZATION;
use serde_json::Value;
use serde_json::value::RawValue;

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
    pub(super) fn definition(self, demands: TokenDemands<'_>) -> Result<Sender, SenderError> {
        let sender = match self {
            Self::Preset(preset) => Sender::of(preset),
            Self::Descriptor(raw) => Sender::parse(raw.get())?,
        };
        Ok(sender.with_token_rules(&demands.audiences(), &demands.issuers(), demands.key_url().as_deref()))
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

    /// The preset that it is, or that its descriptor is like.
    fn base(self) -> Option<&'static Preset> {
        match self {
            Self::Preset(preset) => Some(preset),
            Self::Descriptor(raw) => Preset::by_name(&json::member(raw, "like").and_then(json::borrowed_text)?),
        }
    }

    /// Whether a request that looks like one from this preset may be from this sender.
    pub(super) fn resembles(self, preset: &Preset) -> bool {
        self.base().is_some_and(|own| own.name == preset.name || own.like == Some(preset.name))
    }

    /// Whether the sender signs its requests, or sends a secret in them.
    pub(super) fn signs(self) -> bool {
        match self {
            Self::Preset(preset) => preset.signs,
            Self::Descriptor(_) => true,
        }
    }

    /// The headers of the sender that a request has, whose headers have these names; `None` if it has none of them.
    pub(super) fn marks(self, headers: &[&str]) -> Option<Marks> {
        let marks = |name: &str| {
            let found = headers.iter().find(|header| header.eq_ignore_ascii_case(name))?;
            Some(if *found == AUTHORIZATION.as_str() { Marks::Shared } else { Marks::Own })
        };
        let own = match self {
            Self::Preset(_) => Vec::new(),
            Self::Descriptor(raw) => own_marks(raw),
        };
        if own.is_empty() {
            return self.base()?.marks.iter().copied().filter_map(marks).min();
        }
        own.iter().filter_map(|name| marks(name)).min()
    }

    /// Whether the sender's keys are fetched from where its definition says, so that the source needs no secret.
    pub(super) fn has_own_keys(self) -> bool {
        let names_keys = matches!(self, Self::Descriptor(raw) if json::member(raw, "keys").is_some());
        names_keys || self.base().is_some_and(|preset| preset.signs && preset.secret.is_none())
    }

    /// Whether the sender hands its secret over, so that a source may have none yet.
    pub(super) fn hands_over(self) -> bool {
        let keeps = |raw: &RawValue| {
            let questions = json::member(raw, "questions").and_then(json::elements).unwrap_or_default();
            questions.into_iter().any(|question| json::member(question, "keep").is_some())
        };
        matches!(self, Self::Descriptor(raw) if keeps(raw)) || self.base().is_some_and(|preset| preset.hands_over)
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
    fn audiences(self) -> Vec<String> {
        self.audience.map(texts).unwrap_or_default()
    }

    fn issuers(self) -> Vec<String> {
        self.issuer.map(texts).unwrap_or_default()
    }
}

/// A text, or the texts of an array.
fn texts(raw: &RawValue) -> Vec<String> {
    match json::elements(raw) {
        Some(elements) => elements.into_iter().filter_map(json::text).collect(),
        None => json::text(raw).into_iter().collect(),
    }
}

/// The headers by which a descriptor says that its sender is known: its marks, or those of its signatures.
fn own_marks(raw: &RawValue) -> Vec<Cow<'_, str>> {
    let headers = |raw| json::member(raw, "headers").and_then(json::elements).unwrap_or_default();
    let listed = match json::member(raw, "marks").and_then(json::elements) {
        Some(marks) => marks,
        None => match json::member(raw, "schemes").and_then(json::elements) {
            Some(schemes) => schemes.into_iter().flat_map(headers).collect(),
            None => headers(raw),
        },
    };
    listed.into_iter().filter_map(json::borrowed_text).collect()
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
