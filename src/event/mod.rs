//! CloudEvents as a consumer over HTTP: the structured, the binary and the batched content mode (HTTP Protocol Binding
//! 1.0.2, section 3) → [`Event`]. 1.0, and 0.3 where it differs only in names; each passes on as the version that it is.
//! `docs/cloudevents.md` goes through the specifications rule by rule.

mod attributes;
mod batch;
mod binary;
mod media;
mod rules;
mod structured;
#[cfg(test)]
mod tests;
mod timestamp;

use std::borrow::Cow;

use http::HeaderMap;
use serde_json::value::RawValue;

use crate::json::JsonError;
use crate::reference::{ReferenceError, WorkflowRef};

pub use attributes::Attributes;
pub use batch::{BatchError, InvalidEvent};
pub use media::MediaType;
pub use rules::{is_attribute_name, shown};

/// A CloudEvent with what Sluice acts on, and the whole of it.
#[derive(Debug)]
pub struct Event<'a> {
    /// `specversion`.
    pub version: SpecVersion,
    /// `id`: with `source` it names the event.
    pub id: String,
    /// `source`, a URI-reference.
    pub source: String,
    /// `type`.
    pub kind: String,
    /// `subject`, where there is one.
    pub subject: Option<String>,
    /// The whole event in the JSON format; in structured mode as it was sent, to the byte.
    pub json: Cow<'a, RawValue>,
    /// `data`, or the text of `data_base64`; as it was sent, to the byte.
    pub data: Option<Cow<'a, RawValue>>,
}

/// The version of the specification that an event says it follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SpecVersion {
    /// 1.0, and its patches.
    V1_0,
    /// 0.3: `schemaurl` for `dataschema`, and `datacontentencoding` beside `data` for `data_base64`.
    V0_3,
}

impl SpecVersion {
    /// As `specversion` has it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::V1_0 => "1.0",
            Self::V0_3 => "0.3",
        }
    }
}

impl Event<'_> {
    /// All attributes by name, extensions too, in their canonical string form. Reads the event: ask once for many.
    pub fn attributes(&self) -> Attributes<'_> {
        Attributes::of(&self.json)
    }

    /// One attribute by name: see [`Attributes::get`].
    pub fn attribute(&self, name: &str) -> Option<Cow<'_, str>> {
        self.attributes().get(name)
    }

    /// The workflow that the subject names: its first segment, so `/wf/topic` → `wf`.
    pub fn workflow(&self) -> Option<Result<WorkflowRef, ReferenceError>> {
        let subject = self.subject.as_deref()?;
        Some(WorkflowRef::parse(subject.split('/').find(|segment| !segment.is_empty()).unwrap_or_default()))
    }
}

/// Why a request is not a CloudEvent. Carries no payload.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EventError {
    /// The body isn't what the content mode asks for.
    #[error("the body must be a CloudEvent in the JSON format, but {0}")]
    Body(JsonError),
    /// The body was announced as JSON and isn't.
    #[error("the body must be JSON, as its content type says, but {0}")]
    Data(JsonError),
    /// A required attribute isn't there, or is empty (CloudEvents 1.0.2, "Required Attributes").
    #[error("the attribute `{attribute}` is required, and must not be empty")]
    Missing {
        /// Its name.
        attribute: &'static str,
    },
    /// An attribute is there more than once, so that two readers could see two events.
    #[error("the attribute `{attribute}` is there more than once")]
    Repeated {
        /// Its name.
        attribute: String,
    },
    /// An attribute's value breaks a rule.
    #[error("the attribute `{attribute}` {rule}")]
    Invalid {
        /// Its name.
        attribute: String,
        /// What it must be, and where that is written.
        rule: &'static str,
    },
}

impl EventError {
    /// What to mend, as a problem's `field` names it.
    pub fn field(&self) -> String {
        match self {
            Self::Body(_) | Self::Data(_) => "body".to_owned(),
            Self::Missing { attribute } => (*attribute).to_owned(),
            Self::Repeated { attribute } | Self::Invalid { attribute, .. } => attribute.clone(),
        }
    }
}

/// How an event travels (HTTP Protocol Binding 1.0.2, section 1.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// The body is the event in the JSON format.
    Structured,
    /// The attributes are `ce-` headers, the body is the data.
    Binary,
    /// The body is an array of events in the JSON format.
    Batch,
}

impl Mode {
    /// The content mode of a request; `None` if no rule reads its content type.
    ///
    /// `application/cloudevents+json` is structured, `application/cloudevents-batch+json` a batch. The contract also lists plain `application/json`, which is the
    /// structured form unless `ce-` headers say that the body is only the data. Anything else is binary if these
    /// headers are there.
    pub fn of(content_type: Option<&MediaType>, headers: &HeaderMap) -> Option<Self> {
        let attributes = ["ce-specversion", "ce-id", "ce-source", "ce-type"].iter().any(|h| headers.contains_key(*h));
        match content_type {
            Some(t) if t.is("application", "cloudevents", Some("json")) => t.is_utf8().then_some(Self::Structured),
            Some(t) if t.is("application", "cloudevents-batch", Some("json")) => t.is_utf8().then_some(Self::Batch),
            // Formats such as Avro or XML.
            Some(t) if t.starts_with("application", "cloudevents") => None,
            Some(t) if t.is_json() && !t.is_utf8() => None,
            _ if attributes => Some(Self::Binary),
            Some(t) if t.is("application", "json", None) => Some(Self::Structured),
            _ => None,
        }
    }
}

/// Reads the event of [`Mode::Structured`].
pub fn read_structured(body: &[u8]) -> Result<Event<'_>, EventError> {
    structured::read(body)
}

/// Reads the event of [`Mode::Binary`]; the content type as [`Mode::of`] had it.
pub fn read_binary<'a>(
    content_type: Option<&MediaType>,
    headers: &HeaderMap,
    body: &'a [u8],
) -> Result<Event<'a>, EventError> {
    binary::read(content_type, headers, body)
}

/// Reads the events of [`Mode::Batch`], none or more: all of them are valid, or none is returned.
pub fn read_batch(body: &[u8]) -> Result<Vec<Event<'_>>, BatchError> {
    batch::read(body)
}

/// The `data` of an event in the JSON format, or the text of its `data_base64`: what [`Event::data`] is when it is read.
pub fn data(whole: &RawValue) -> Option<&RawValue> {
    structured::data(whole)
}

const SPEC_VERSION: &str = "must be \"1.0\" or \"0.3\" (CloudEvents 1.0.2, specversion)";

/// The attributes that every event has, by name: a `specversion` that is known, `id`, `source`, `type`.
fn required(
    mut find: impl FnMut(&'static str) -> Result<Option<String>, EventError>,
) -> Result<(SpecVersion, [String; 3]), EventError> {
    let mut attribute =
        |name| find(name)?.filter(|value| !value.is_empty()).ok_or(EventError::Missing { attribute: name });
    let version = match attribute("specversion")?.as_str() {
        "1.0" => SpecVersion::V1_0,
        "0.3" => SpecVersion::V0_3,
        _ => return Err(rules::invalid("specversion", SPEC_VERSION)),
    };
    Ok((version, [attribute("id")?, attribute("source")?, attribute("type")?]))
}
