//! A CloudEvents consumer over HTTP: reads the structured, binary and batched content modes (HTTP Protocol Binding
//! 1.0.2, section 3) into [`Event`]s.
//!
//! ```text
//!                     ┌─▶ read_structured ─┐
//! request ──Mode::of──┼─▶ read_binary ─────┼─▶ Event
//!                     └─▶ read_batch ──────┘
//! ```
//!
//! Supports versions 1.0 and 0.3. An event is passed on in the version in which it was sent. `docs/cloudevents.md`
//! lists the rules of the specifications one by one.
//!
//! Pure. Names [`json`], and [`reference`](mod@crate::reference) for the workflow in a subject.

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

use crate::json::{self, JsonError, Unchecked};
use crate::reference::{ReferenceError, WorkflowRef};

pub use attributes::Attributes;
pub use batch::{BatchError, InvalidEvent};
pub use media::{MediaType, MediaTypeError};
pub use rules::{is_attribute_name, truncated};

/// A CloudEvent: the attributes that Sluice acts on, and the whole event.
#[derive(Debug)]
pub struct Event<'a> {
    /// `specversion`.
    pub version: SpecVersion,
    /// `id`, which identifies the event together with `source`.
    pub id: String,
    /// `source`, a URI-reference.
    pub source: String,
    /// `type`.
    pub kind: String,
    /// `subject`, if present and not empty.
    pub subject: Option<String>,
    /// The whole event in the JSON format. In structured and batched mode, byte for byte as it was sent.
    pub json: Cow<'a, RawValue>,
    /// The JSON value of `data` or `data_base64`, byte for byte as it was sent. In binary mode, data that isn't JSON
    /// becomes a string: UTF-8 text as it is, other bytes in base64.
    pub data: Option<Cow<'a, RawValue>>,
}

/// The version of the specification that an event follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SpecVersion {
    /// 1.0, including its patch releases.
    V1_0,
    /// 0.3, with `schemaurl` instead of `dataschema`, and `datacontentencoding` with `data` instead of `data_base64`.
    V0_3,
}

impl SpecVersion {
    /// The value of `specversion`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::V1_0 => "1.0",
            Self::V0_3 => "0.3",
        }
    }
}

impl Event<'_> {
    /// All attributes by name, extensions included, in their canonical string form. Parses the whole event: to read
    /// several attributes, call this once.
    pub fn attributes(&self) -> Attributes<'_> {
        Attributes::of(&self.json)
    }

    /// One attribute by name; see [`Attributes::get`].
    pub fn attribute(&self, name: &str) -> Option<Cow<'_, str>> {
        self.attributes().get(name)
    }

    /// The workflow named by the first segment of the subject: `wf` for `/wf/topic`. `None` without a subject.
    pub fn workflow(&self) -> Option<Result<WorkflowRef, ReferenceError>> {
        let subject = self.subject.as_deref()?;
        Some(WorkflowRef::parse(subject.split('/').find(|segment| !segment.is_empty()).unwrap_or_default()))
    }
}

/// The reason why a request is not a valid CloudEvent. Of the payload, it repeats only attribute names.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EventError {
    /// The body is not the JSON object that the content mode requires.
    #[error("the body must be a CloudEvent in the JSON format, but {0}")]
    Body(JsonError),
    /// The body is an array of events, but its content type is that of one event.
    #[error(
        "the body must be one CloudEvent, but it is an array: send a batch as `application/cloudevents-batch+json`"
    )]
    Batch,
    /// The data is not JSON, although its content type says so.
    #[error("the body must be JSON, as its content type says, but {0}")]
    Data(JsonError),
    /// A required attribute is absent or empty (CloudEvents 1.0.2, "Required Attributes").
    #[error("the attribute `{attribute}` is required, and must not be empty")]
    Missing {
        /// The name of the attribute.
        attribute: &'static str,
    },
    /// An attribute occurs more than once: two readers could see different values.
    #[error("the attribute `{attribute}` occurs more than once")]
    Repeated {
        /// The name of the attribute.
        attribute: String,
    },
    /// The name or the value of an attribute violates a rule.
    #[error("the attribute `{attribute}` {rule}")]
    Invalid {
        /// The name of the attribute.
        attribute: String,
        /// The rule and its source. Completes the sentence "the attribute …".
        rule: &'static str,
    },
}

impl EventError {
    /// The part of the request to correct, for the `field` of a problem.
    pub fn field(&self) -> String {
        match self {
            Self::Body(_) | Self::Batch | Self::Data(_) => "body".to_owned(),
            Self::Missing { attribute } => (*attribute).to_owned(),
            Self::Repeated { attribute } | Self::Invalid { attribute, .. } => attribute.clone(),
        }
    }
}

/// The content mode of an event (HTTP Protocol Binding 1.0.2, section 1.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// The body is the event in the JSON format.
    Structured,
    /// The attributes are `ce-` headers, and the body is the data.
    Binary,
    /// The body is an array of events in the JSON format.
    Batch,
}

impl Mode {
    /// Determines the content mode of a request. `None` if its content type is not supported.
    ///
    /// `application/cloudevents+json` is structured, and `application/cloudevents-batch+json` is a batch. Any other
    /// content type with `ce-` headers is binary. Plain `application/json` without these headers is structured, as the
    /// API contract requires, or a batch ([`with_body`](Self::with_body)).
    pub fn of(content_type: Option<&MediaType>, headers: &HeaderMap) -> Option<Self> {
        let attributes = ["ce-specversion", "ce-id", "ce-source", "ce-type"].iter().any(|h| headers.contains_key(*h));
        match content_type {
            Some(t) if t.is("application", "cloudevents", Some("json")) => t.is_utf8().then_some(Self::Structured),
            Some(t) if t.is("application", "cloudevents-batch", Some("json")) => t.is_utf8().then_some(Self::Batch),
            // Other event formats, such as Avro or XML.
            Some(t) if t.starts_with("application", "cloudevents") => None,
            Some(t) if t.is_json() && !t.is_utf8() => None,
            _ if attributes => Some(Self::Binary),
            Some(t) if t.is("application", "json", None) => Some(Self::Structured),
            _ => None,
        }
    }

    /// The mode, once the body is known: an array in plain `application/json` is a batch. The content type says nothing
    /// of events, and an array is never one event.
    pub fn with_body(self, content_type: Option<&MediaType>, body: &[u8]) -> Self {
        let is_plain = content_type.is_some_and(|t| t.is("application", "json", None));
        let body = json::bytes_without_mark(body);
        match self {
            Self::Structured if is_plain && body.trim_ascii_start().starts_with(b"[") => Self::Batch,
            mode => mode,
        }
    }
}

/// Reads an event in [`Mode::Structured`].
pub fn read_structured<'b>(body: impl Into<Unchecked<'b>>) -> Result<Event<'b>, EventError> {
    structured::read(body)
}

/// Reads an event in [`Mode::Binary`]. `content_type` is the one given to [`Mode::of`].
pub fn read_binary<'a>(
    content_type: Option<&MediaType>,
    headers: &HeaderMap,
    body: impl Into<Unchecked<'a>>,
) -> Result<Event<'a>, EventError> {
    binary::read(content_type, headers, body)
}

/// Reads the events in [`Mode::Batch`], zero or more. Returns them only if all of them are valid.
pub fn read_batch<'b>(body: impl Into<Unchecked<'b>>) -> Result<Vec<Event<'b>>, BatchError> {
    batch::read(body)
}

/// The value of [`Event::data`], from an event in the JSON format ([`Event::json`]) that was checked when it was read.
pub fn data(whole: &RawValue) -> Option<&RawValue> {
    structured::data(whole)
}

const SPEC_VERSION: &str = "must be \"1.0\" or \"0.3\" (CloudEvents 1.0.2, specversion)";

/// The required attributes: the version, then `id`, `source` and `type`. `find` looks up an attribute by name.
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
