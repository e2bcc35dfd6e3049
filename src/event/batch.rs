//! The batched content mode: the body is a JSON array of events (JSON Event Format 1.0.2, section 4; HTTP Protocol
//! Binding 1.0.2, section 3.3).

use serde_json::value::RawValue;

use super::attributes::{Attributes, text};
use super::{Event, EventError, rules, structured};
use crate::json::{self, JsonError, JsonType, Unchecked};

/// The reason why a body is not a valid batch. Of the payload, it repeats only the ids and attribute names of invalid
/// events.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BatchError {
    /// The body is not JSON.
    #[error("the body must be a JSON array of CloudEvents, but {0}")]
    Body(JsonError),
    /// The body is JSON, but not an array.
    #[error(
        "the body must be a JSON array of CloudEvents, but it is {found}: send one event as `application/cloudevents+json`"
    )]
    NotArray {
        /// The type of the body.
        found: JsonType,
    },
    /// An element of the array is not an object.
    #[error("the body must be a JSON array of CloudEvents, but its element {index} is {found}")]
    NotObject {
        /// The index of the first such element, from 0.
        index: usize,
        /// The type of the element.
        found: JsonType,
    },
    /// Some events are invalid: all of them, in order.
    #[error("{} of the events in the batch are invalid", .0.len())]
    Events(Vec<InvalidEvent>),
}

/// An invalid event of a batch.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("event {index}: {error}")]
pub struct InvalidEvent {
    /// Its index in the batch, from 0.
    pub index: usize,
    /// Its id, if that can be read; truncated if it is long.
    pub id: Option<String>,
    /// The reason why it is invalid.
    pub error: EventError,
}

/// Reads all events of a batch.
pub(super) fn read<'b>(body: impl Into<Unchecked<'b>>) -> Result<Vec<Event<'b>>, BatchError> {
    let whole = json::value(body).map_err(BatchError::Body)?;
    let elements: Vec<&RawValue> =
        json::elements(whole).ok_or_else(|| BatchError::NotArray { found: json::type_of(whole) })?;
    let not_object = elements.iter().enumerate().find(|(_, element)| json::type_of(element) != JsonType::Object);
    if let Some((index, element)) = not_object {
        return Err(BatchError::NotObject { index, found: json::type_of(element) });
    }
    let (mut events, mut invalid) = (Vec::<Event<'_>>::with_capacity(elements.len()), Vec::new());
    for (index, element) in elements.into_iter().enumerate() {
        let event = structured::event(element).and_then(|event| match events.first() {
            Some(first) if first.version != event.version => Err(rules::invalid("specversion", ONE_VERSION)),
            _ => Ok(event),
        });
        match event {
            Ok(event) => events.push(event),
            Err(error) => invalid.push(InvalidEvent { index, id: id(element), error }),
        }
    }
    if invalid.is_empty() { Ok(events) } else { Err(BatchError::Events(invalid)) }
}

const ONE_VERSION: &str = "must be the same for all events of a batch (HTTP Protocol Binding 1.0.2, section 3.3.2)";

/// The id of an event that may be invalid, for an error.
fn id(element: &RawValue) -> Option<String> {
    let id = text(Attributes::of(element).non_null("id").ok()??)?;
    rules::is_string(&id).then(|| rules::truncated(&id))
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: &str = r#"{"specversion":"1.0","id":"a","source":"/s","type":"t","data":{ "n":1e3 }}"#;

    fn invalid(body: &str) -> Vec<(usize, Option<String>, String)> {
        match read(body.as_bytes()).unwrap_err() {
            BatchError::Events(events) => events.into_iter().map(|e| (e.index, e.id, e.error.field())).collect(),
            other => panic!("{other}"),
        }
    }

    #[test]
    fn event_keeps_the_bytes_of_its_element() {
        assert!(read(b" [ ] ").unwrap().is_empty());
        let b = A.replace("\"a\"", "\"b\"").replace("1.0\"", "1.0\"  ");
        let body = format!("[ {A},\n{b} ,{A}]");
        let events = read(body.as_bytes()).unwrap();
        let bytes: Vec<_> = events.iter().map(|event| event.json.get()).collect();
        assert_eq!(bytes, [A, &b, A], "a batch may contain an event twice: the gateway detects the duplicate");
        assert_eq!(events[1].data.as_deref().unwrap().get(), "{ \"n\":1e3 }");
    }

    #[test]
    fn body_other_than_an_array_of_objects_is_rejected() {
        assert!(matches!(read(b"").unwrap_err(), BatchError::Body(JsonError::Empty)));
        assert!(matches!(read(b"[{]").unwrap_err(), BatchError::Body(JsonError::Syntax { .. })));
        assert_eq!(read(A.as_bytes()).unwrap_err(), BatchError::NotArray { found: JsonType::Object });
        assert_eq!(read(b"null").unwrap_err(), BatchError::NotArray { found: JsonType::Null });
        for (element, found) in
            [("1", JsonType::Number), ("null", JsonType::Null), ("[]", JsonType::Array), ("\"\"", JsonType::String)]
        {
            let body = format!("[{A},{{}},{element},2]");
            assert_eq!(read(body.as_bytes()).unwrap_err(), BatchError::NotObject { index: 2, found }, "{element}");
        }
    }

    #[test]
    fn all_invalid_events_are_named() {
        let mut elements: Vec<_> = (0..500).map(|n| A.replace("\"a\"", &format!("\"{n}\""))).collect();
        elements[7] = elements[7].replace("/s", "");
        elements[42] = elements[42].replace("\"42\"", "42");
        elements[499] = elements[499].replace("\"type\"", "\"Type\"");
        let body = format!("[{}]", elements.join(","));
        assert_eq!(
            invalid(&body),
            [
                (7, Some("7".to_owned()), "source".to_owned()),
                (42, None, "id".to_owned()),
                (499, Some("499".to_owned()), "type".to_owned())
            ]
        );
        let long = format!("[{}]", A.replace("\"a\"", &format!("\"{}\"", "é".repeat(10_000))).replace("1.0", "2.0"));
        let id = invalid(&long)[0].1.clone().unwrap();
        assert!(id.starts_with('é') && id.ends_with('…') && id.len() < 200, "{id}");
        assert_eq!(invalid(&format!("[{}]", A.replace("\"a\"", "\"\\n\"")))[0].1, None);
    }

    #[test]
    fn all_events_have_the_version_of_the_first() {
        let old = A.replace("1.0", "0.3");
        assert_eq!(read(format!("[{old},{old}]").as_bytes()).unwrap().len(), 2);
        assert_eq!(invalid(&format!("[{old},{A},{old},{A}]")).iter().map(|(at, ..)| *at).collect::<Vec<_>>(), [1, 3]);
    }
}
