//! The input of routes: an event or a webhook.

use std::borrow::Cow;
use std::cell::OnceCell;
use std::fmt;

use serde_json::value::RawValue;

use super::document::JsonDocument;
use crate::delivery::Trigger;
use crate::event::Attributes;
use crate::json::{self, JsonType, Pointer, Tree};

/// The kind of input that a route matches: `from` in the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InputKind {
    /// CloudEvents.
    Event,
    /// Webhooks.
    Webhook,
}

/// A reference to the value that a filter compares.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Operand {
    /// A context attribute of an event; `sender`, `source` or `type` of a webhook.
    Attribute(String),
    /// A part of the payload, which is the `data` of an event.
    Pointer(Pointer),
}

/// An event or a webhook to be routed.
pub struct Input<'a> {
    /// The name of the source in the configuration; `None` for a request without limits.
    source: Option<&'a str>,
    content: Content<'a>,
    /// The root of JSONPaths: the whole event, or the payload of a webhook.
    root: Tree<'a>,
    /// The root, parsed on first use.
    document: OnceCell<JsonDocument<'a>>,
}

enum Content<'a> {
    Event {
        /// Read on first use.
        attributes: OnceCell<Attributes<'a>>,
        data: Option<Tree<'a>>,
    },
    Webhook {
        sender: Option<&'a str>,
        event_type: Option<&'a str>,
    },
}

impl<'a> Input<'a> {
    /// Creates the input for an event, from the whole event in the JSON format and its `data`.
    pub fn event(event: &'a RawValue, data: Option<&'a RawValue>) -> Self {
        let content = Content::Event { attributes: OnceCell::new(), data: data.map(Tree::new) };
        Self::new(content, event)
    }

    /// Creates the input for a webhook, from the sender's name, the event's type ([`crate::sender::event_type`]) and
    /// the payload.
    pub fn webhook(sender: Option<&'a str>, event_type: Option<&'a str>, payload: &'a RawValue) -> Self {
        Self::new(Content::Webhook { sender, event_type }, payload)
    }

    fn new(content: Content<'a>, root: &'a RawValue) -> Self {
        Self { source: None, content, root: Tree::new(root), document: OnceCell::new() }
    }

    /// The input of a source, by its name.
    pub fn of_source(self, source: Option<&'a str>) -> Self {
        Self { source, ..self }
    }

    /// The kind of this input.
    pub fn kind(&self) -> InputKind {
        match self.content {
            Content::Event { .. } => InputKind::Event,
            Content::Webhook { .. } => InputKind::Webhook,
        }
    }

    /// The sender of a webhook, if it is known. `None` for an event.
    pub fn sender(&self) -> Option<&'a str> {
        match self.content {
            Content::Event { .. } => None,
            Content::Webhook { sender, .. } => sender,
        }
    }

    /// The name of the source; `None` for a request without limits.
    pub fn source(&self) -> Option<&'a str> {
        self.source
    }

    /// The trigger of the runs that routes start for this input.
    pub(super) fn trigger(&self) -> Trigger {
        match (self.kind(), self.sender()) {
            (InputKind::Event, _) => Trigger::Event,
            (InputKind::Webhook, Some("github")) => Trigger::Github,
            (InputKind::Webhook, _) => Trigger::Webhook,
        }
    }

    /// The root of JSONPaths: the whole event, or the payload of a webhook.
    pub(super) fn root(&self) -> &Tree<'a> {
        &self.root
    }

    /// The root, parsed.
    pub(super) fn document(&self) -> &JsonDocument<'a> {
        self.document.get_or_init(|| JsonDocument::new(self.root.value()))
    }

    /// The JSON of an operand: an attribute of an event, or a part of the payload. `None` if it is missing, or an
    /// attribute of a webhook, which is no JSON.
    pub(super) fn json(&self, operand: &Operand) -> Option<&'a RawValue> {
        match (operand, &self.content) {
            (Operand::Attribute(name), Content::Event { attributes, .. }) => {
                attributes.get_or_init(|| Attributes::of(self.root.value())).json(name)
            }
            (Operand::Attribute(_), Content::Webhook { .. }) => None,
            (Operand::Pointer(pointer), Content::Event { data, .. }) => Some(pointer.find_in(data.as_ref()?)?.value()),
            (Operand::Pointer(pointer), Content::Webhook { .. }) => Some(pointer.find_in(&self.root)?.value()),
        }
    }

    /// The text of an operand: an attribute in its canonical string form, or a scalar in the payload. `None` if the
    /// operand is missing, or an object or array.
    pub(super) fn text(&self, operand: &Operand) -> Option<Cow<'a, str>> {
        match (operand, &self.content) {
            (Operand::Attribute(name), Content::Event { attributes, .. }) => {
                attributes.get_or_init(|| Attributes::of(self.root.value())).get(name)
            }
            (Operand::Attribute(name), Content::Webhook { sender, event_type }) => match name.as_str() {
                "sender" => sender.map(Cow::Borrowed),
                "source" => self.source.map(Cow::Borrowed),
                _ => event_type.map(Cow::Borrowed),
            },
            (Operand::Pointer(_), _) => scalar(self.json(operand)?),
        }
    }
}

/// The text of a string, or the JSON of a number, a boolean or null. `None` for an object or array.
fn scalar(raw: &RawValue) -> Option<Cow<'_, str>> {
    match json::type_of(raw) {
        JsonType::String => json::borrowed_text(raw),
        JsonType::Object | JsonType::Array => None,
        _ => Some(Cow::Borrowed(raw.get())),
    }
}

/// Shows no payload.
impl fmt::Debug for Input<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Input").field("kind", &self.kind()).field("sender", &self.sender()).finish_non_exhaustive()
    }
}
