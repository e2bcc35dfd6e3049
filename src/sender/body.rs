//! The forms of a known sender's body, and the events in it.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::form::{self, FormError};
use crate::json::{self, JsonError, JsonType, Unchecked};

/// Maximum number of events in one body.
pub const MAX_ITEMS: usize = 1_000;

/// The forms of a sender's body, beyond a JSON object in `application/json` or a type that ends in `+json`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BodyRules {
    /// Other media types under which the sender posts JSON: `text/plain`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub types: Vec<String>,
    /// The meaning of a JSON array.
    pub array: ArrayRule,
    /// Whether the sender posts a JSON object on each line (NDJSON), which is a batch.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub lines: bool,
    /// Whether the sender posts forms.
    pub form: FormRule,
}

/// The meaning of a JSON array.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ArrayRule {
    /// The sender posts no arrays.
    #[default]
    Refuse,
    /// Each element, an object, is an event.
    Batch,
    /// The whole array is one event: `{"items":[…]}`.
    Items,
}

/// The meaning of a form.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FormRule {
    /// The sender posts no forms.
    #[default]
    Refuse,
    /// The fields are the event ([`form::object`]).
    Fields,
    /// The field with this name contains the event, a JSON object. All other fields are left out.
    Field(String),
}

/// The reason why a body is none of its sender's. Carries no part of the body.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BodyError {
    /// The media type is none of the sender's.
    #[error("the content type must be `application/json`{others}")]
    Type {
        /// The sender's other types, as a half-sentence.
        others: String,
    },
    /// The body is not JSON of the expected type.
    #[error("the body must be a JSON object{or}, but {error}")]
    Json {
        /// What else it may be, as a half-sentence.
        or: &'static str,
        /// The parser's error.
        error: JsonError,
    },
    /// An event of a batch is not a JSON object.
    #[error("event {index} must be a JSON object, but {error}")]
    Item {
        /// The index of the event, from 0.
        index: usize,
        /// The parser's error.
        error: JsonError,
    },
    /// The batch has more than [`MAX_ITEMS`] events.
    #[error("the body has more than {MAX_ITEMS} events")]
    TooMany,
    /// The batch has no event.
    #[error("the body has no event")]
    Empty,
    /// The form has no field with the event, or several.
    #[error("the form must have the field `{name}` once")]
    Field {
        /// Name of the field.
        name: String,
    },
    /// The form can't be passed on.
    #[error(transparent)]
    Form(#[from] FormError),
}

/// The events in a body, which are borrowed from it unless they are made of a form or an array.
#[derive(Clone, Debug)]
pub enum Events<'b> {
    /// One event, a JSON object.
    One(Cow<'b, RawValue>),
    /// At least one event, each a JSON object.
    Batch(Vec<Cow<'b, RawValue>>),
}

impl BodyRules {
    /// Reads the events in a body. A byte order mark before JSON is left out (RFC 8259, section 8.1).
    pub fn events<'b>(&self, content_type: &str, body: impl Into<Unchecked<'b>>) -> Result<Events<'b>, BodyError> {
        let body: Unchecked<'b> = body.into();
        if form::is_form(content_type) && self.form != FormRule::Refuse {
            return self.form_event(body.bytes()).map(|event| Events::One(Cow::Owned(event)));
        }
        let essence = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        let is_lines = self.lines
            && ["application/x-ndjson", "application/ndjson", "application/jsonl"].contains(&essence.as_str());
        let is_json = essence == "application/json" || essence.strip_suffix("+json").is_some_and(|it| it.contains('/'));
        if !is_json && !is_lines && !self.types.iter().any(|own| own.eq_ignore_ascii_case(&essence)) {
            let others = self.types.iter().map(|own| format!(" or `{own}`")).collect();
            return Err(BodyError::Type { others });
        }
        let lines = json::bytes_without_mark(body.bytes());
        match json::value(body) {
            Ok(value) if json::type_of(value) == JsonType::Object => Ok(Events::One(Cow::Borrowed(value))),
            Ok(value) if json::type_of(value) == JsonType::Array && self.array == ArrayRule::Batch => {
                batch(json::elements(value).unwrap_or_default().into_iter().map(|event| event.get().as_bytes()))
            }
            Ok(value) if json::type_of(value) == JsonType::Array && self.array == ArrayRule::Items => {
                let event = format!(r#"{{"items":{}}}"#, value.get());
                json::object(event.as_bytes())
                    .map(|event| Events::One(Cow::Owned(event.to_owned())))
                    .map_err(|error| self.json(error))
            }
            Ok(value) => Err(self.json(JsonError::NotObject { found: json::type_of(value) })),
            // Several objects, one on each line, are no JSON value.
            Err(_) if self.lines && !lines.trim_ascii().is_empty() => {
                batch(lines.split(|byte| *byte == b'\n').filter(|line| !line.trim_ascii().is_empty()))
            }
            Err(error) => Err(self.json(error)),
        }
    }

    fn form_event(&self, body: &[u8]) -> Result<Box<RawValue>, BodyError> {
        let FormRule::Field(name) = &self.form else { return Ok(form::object(body)?) };
        let fields = form::event_fields(body)?;
        let mut values = fields.iter().filter(|(own, _)| own == name).map(|(_, value)| value);
        match (values.next(), values.next()) {
            (Some(value), None) => {
                Ok(json::object(value.as_bytes()).map(ToOwned::to_owned).map_err(|error| self.json(error))?)
            }
            _ => Err(BodyError::Field { name: name.clone() }),
        }
    }

    fn json(&self, error: JsonError) -> BodyError {
        let or = match (self.array, self.lines) {
            (ArrayRule::Refuse, false) => "",
            (ArrayRule::Refuse, true) => ", or one on each line",
            (_, false) => " or an array",
            (_, true) => ", an array, or an object on each line",
        };
        BodyError::Json { or, error }
    }
}

fn batch<'a>(events: impl Iterator<Item = &'a [u8]>) -> Result<Events<'a>, BodyError> {
    let events: Vec<_> = events.take(MAX_ITEMS.saturating_add(1)).collect();
    if events.len() > MAX_ITEMS {
        return Err(BodyError::TooMany);
    }
    let event =
        |(index, event)| json::object(event).map(Cow::Borrowed).map_err(|error| BodyError::Item { index, error });
    let events: Vec<_> = events.into_iter().enumerate().map(event).collect::<Result<_, _>>()?;
    if events.is_empty() { Err(BodyError::Empty) } else { Ok(Events::Batch(events)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn events(rules: &str, content_type: &str, body: &str) -> Result<Vec<String>, String> {
        let rules: BodyRules = serde_json::from_str(rules).unwrap();
        match rules.events(content_type, body.as_bytes()) {
            Ok(Events::One(event)) => Ok(vec![event.get().to_owned()]),
            Ok(Events::Batch(events)) => Ok(events.iter().map(|event| format!("+{}", event.get())).collect()),
            Err(error) => Err(error.to_string()),
        }
    }

    #[test]
    fn events_are_found_in_each_form() {
        for (rules, content_type, body, expected) in [
            ("{}", "application/json; charset=utf-8", "\u{feff} {\"a\":1} ", &["{\"a\":1}"][..]),
            ("{}", "application/vnd.contentful.management.v1+json", "{}", &["{}"]),
            (r#"{"types":["text/plain"]}"#, "Text/Plain; charset=UTF-8", "{}", &["{}"]),
            (r#"{"array":"batch"}"#, "application/json", "[{\"a\":1E400}, {}]", &["+{\"a\":1E400}", "+{}"]),
            (r#"{"array":"batch"}"#, "application/json", "{}", &["{}"]),
            (r#"{"array":"items"}"#, "application/json", "[1, {}]", &["{\"items\":[1, {}]}"]),
            (r#"{"lines":true}"#, "application/x-ndjson", "{}\r\n{\"a\":1}\n\n", &["+{}", "+{\"a\":1}"]),
            (r#"{"form":{"field":"payload"}}"#, "application/x-www-form-urlencoded", "payload=%7B%7D&x=1", &["{}"]),
            (r#"{"form":"fields"}"#, "application/x-www-form-urlencoded", "a=1", &["{\"a\":\"1\"}"]),
        ] {
            assert_eq!(events(rules, content_type, body).unwrap(), expected, "{rules} {body}");
        }
    }

    #[test]
    fn body_of_another_form_is_rejected() {
        let many = format!("[{}]", vec!["{}"; MAX_ITEMS + 1].join(","));
        for (rules, content_type, body, expected) in [
            ("{}", "text/plain", "{}", "must be `application/json`"),
            ("{}", "", "{}", "must be `application/json`"),
            ("{}", "+json", "{}", "must be `application/json`"),
            (r#"{"types":["text/plain"]}"#, "text/html", "{}", "`application/json` or `text/plain`"),
            ("{}", "application/json", "[]", "must be a JSON object, but it is an array"),
            ("{}", "application/json", "{}\n{}", "not valid JSON"),
            ("{}", "application/x-ndjson", "{}\n{}", "must be `application/json`"),
            (r#"{"array":"batch"}"#, "application/json", "[]", "no event"),
            (r#"{"array":"batch"}"#, "application/json", "[{},1]", "event 1 must be a JSON object, but it is a number"),
            (r#"{"array":"batch"}"#, "application/json", &many, "more than 1000 events"),
            (r#"{"array":"batch"}"#, "application/json", "1", "a JSON object or an array, but it is a number"),
            (r#"{"lines":true}"#, "application/json", "{}\n[]", "event 1 must be a JSON object, but it is an array"),
            (r#"{"lines":true}"#, "application/json", " \n", "or one on each line, but it is empty"),
            (r#"{"form":{"field":"p"}}"#, "application/x-www-form-urlencoded", "p=%7B%7D&p=%7B%7D", "field `p` once"),
            (r#"{"form":{"field":"p"}}"#, "application/x-www-form-urlencoded", "p=1", "but it is a number"),
            ("{}", "application/x-www-form-urlencoded", "a=1", "must be `application/json`"),
        ] {
            let error = events(rules, content_type, body).unwrap_err();
            assert!(error.contains(expected), "{rules} {body}: {error}");
        }
    }
}
