//! CloudEvents 1.0 as a consumer over HTTP: the structured and the binary content mode
//! (HTTP Protocol Binding 1.0.2, section 3) → [`Event`].

mod binary;
mod media;
mod structured;

use std::borrow::Cow;

use http::HeaderMap;
use serde_json::value::RawValue;

use crate::json::JsonError;
use crate::reference::{ReferenceError, WorkflowRef};

pub use media::MediaType;

/// A CloudEvent with what Sluice acts on, and the whole of it.
#[derive(Debug)]
pub struct Event<'a> {
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

impl Event<'_> {
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
}

impl Mode {
    /// The content mode of a request; `None` if no rule reads its content type.
    ///
    /// `application/cloudevents+json` is structured. The contract also lists plain `application/json`, which is the
    /// structured form unless `ce-` headers say that the body is only the data. Anything else is binary if these
    /// headers are there.
    pub fn of(content_type: Option<&MediaType>, headers: &HeaderMap) -> Option<Self> {
        let attributes = ["ce-specversion", "ce-id", "ce-source", "ce-type"].iter().any(|h| headers.contains_key(*h));
        match content_type {
            Some(t) if t.is("application", "cloudevents", Some("json")) => t.is_utf8().then_some(Self::Structured),
            // Batches, and formats such as Avro or XML.
            Some(t) if t.starts_with("application", "cloudevents") => None,
            Some(t) if t.is_json() && !t.is_utf8() => None,
            _ if attributes => Some(Self::Binary),
            Some(t) if t.is("application", "json", None) => Some(Self::Structured),
            _ => None,
        }
    }
}

/// Reads an event in the mode that [`Mode::of`] found.
pub fn read<'a>(
    mode: Mode,
    content_type: Option<&MediaType>,
    headers: &HeaderMap,
    body: &'a [u8],
) -> Result<Event<'a>, EventError> {
    match mode {
        Mode::Structured => structured::read(body),
        Mode::Binary => binary::read(content_type, headers, body),
    }
}

/// The `data` of an event in the JSON format, or the text of its `data_base64`: what [`Event::data`] is when it is read.
pub fn data(whole: &RawValue) -> Option<&RawValue> {
    structured::data(whole)
}

const SPEC_VERSION: &str = "must be \"1.0\" (CloudEvents 1.0.2, specversion)";

/// The attributes that every event has, by name: `id`, `source`, `type`, and a `specversion` that is known.
fn required(
    mut find: impl FnMut(&'static str) -> Result<Option<String>, EventError>,
) -> Result<[String; 3], EventError> {
    let mut attribute =
        |name| find(name)?.filter(|value| !value.is_empty()).ok_or(EventError::Missing { attribute: name });
    if attribute("specversion")? != "1.0" {
        return Err(EventError::Invalid { attribute: "specversion".to_owned(), rule: SPEC_VERSION });
    }
    Ok([attribute("id")?, attribute("source")?, attribute("type")?])
}
