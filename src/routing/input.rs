//! What routes look at: an event, or a webhook.

use std::borrow::Cow;
use std::cell::OnceCell;
use std::fmt;

use serde_json::value::RawValue;

use super::document::Document;
use crate::delivery::Trigger;
use crate::event::Attributes;
use crate::json::{self, JsonType, Pointer};

/// What a route is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Incoming {
    /// CloudEvents.
    Event,
    /// Webhooks.
    Webhook,
}

/// What a filter compares.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Operand {
    /// A context attribute of an event; `sender` or `type` of a webhook.
    Attribute(String),
    /// A part of the payload.
    Pointer(Pointer),
}

/// An event or a webhook, as routes see it.
pub struct Input<'a> {
    source: Source<'a>,
    /// Made when the first path asks for it.
    document: OnceCell<Document<'a>>,
}

enum Source<'a> {
    /// Its attributes are read when the first filter asks for one.
    Event {
        attributes: OnceCell<Attributes<'a>>,
        whole: &'a RawValue,
        data: Option<&'a RawValue>,
    },
    Webhook {
        sender: Option<&'a str>,
        kind: Option<&'a str>,
        payload: &'a RawValue,
    },
}

impl<'a> Input<'a> {
    /// An event: the whole of it in the JSON format, and its `data`.
    pub fn event(whole: &'a RawValue, data: Option<&'a RawValue>) -> Self {
        Self { source: Source::Event { attributes: OnceCell::new(), whole, data }, document: OnceCell::new() }
    }

    /// A webhook: its sender's name, the event's type ([`crate::sender::kind`]), and its payload.
    pub fn webhook(sender: Option<&'a str>, kind: Option<&'a str>, payload: &'a RawValue) -> Self {
        Self { source: Source::Webhook { sender, kind, payload }, document: OnceCell::new() }
    }

    /// Which of the two.
    pub fn incoming(&self) -> Incoming {
        match self.source {
            Source::Event { .. } => Incoming::Event,
            Source::Webhook { .. } => Incoming::Webhook,
        }
    }

    /// The webhook's sender.
    pub fn sender(&self) -> Option<&'a str> {
        match self.source {
            Source::Event { .. } => None,
            Source::Webhook { sender, .. } => sender,
        }
    }

    /// What makes a run start that a route asked for.
    pub(super) fn trigger(&self) -> Trigger {
        match (self.incoming(), self.sender()) {
            (Incoming::Event, _) => Trigger::Event,
            (Incoming::Webhook, Some("github")) => Trigger::Github,
            (Incoming::Webhook, _) => Trigger::Webhook,
        }
    }

    /// What a path starts from: the whole event, or the payload.
    pub(super) fn whole(&self) -> &'a RawValue {
        match self.source {
            Source::Event { whole, .. } => whole,
            Source::Webhook { payload, .. } => payload,
        }
    }

    /// The same, parsed.
    pub(super) fn document(&self) -> &Document<'a> {
        self.document.get_or_init(|| Document::new(self.whole()))
    }

    /// What a filter compares, as text; `None` if there is no such thing, or if it has none, as an object.
    pub(super) fn text(&self, name: &Operand) -> Option<Cow<'a, str>> {
        match (name, &self.source) {
            (Operand::Attribute(name), Source::Event { attributes, whole, .. }) => {
                attributes.get_or_init(|| Attributes::of(whole)).get(name)
            }
            (Operand::Attribute(name), Source::Webhook { sender, kind, .. }) => match name.as_str() {
                "sender" => sender.map(Cow::Borrowed),
                _ => kind.map(Cow::Borrowed),
            },
            (Operand::Pointer(pointer), Source::Event { data, .. }) => scalar(pointer.find((*data)?)?),
            (Operand::Pointer(pointer), Source::Webhook { payload, .. }) => scalar(pointer.find(payload)?),
        }
    }
}

/// The text of a string; of a number, a boolean and null their JSON.
fn scalar(raw: &RawValue) -> Option<Cow<'_, str>> {
    match json::type_of(raw) {
        JsonType::String => json::text(raw).map(Cow::Owned),
        JsonType::Object | JsonType::Array => None,
        _ => Some(Cow::Borrowed(raw.get())),
    }
}

/// Shows no payload.
impl fmt::Debug for Input<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Input").field("from", &self.incoming()).field("sender", &self.sender()).finish_non_exhaustive()
    }
}
