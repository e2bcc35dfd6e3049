//! The structured mode: the body is the event in the JSON format (JSON Event Format 1.0.2).

use std::borrow::Cow;

use serde_json::value::RawValue;

use super::{Event, EventError, required};
use crate::json;

/// The members that Sluice reads; each may be there once, so that no two readers see two events.
const READ: [&str; 8] = ["specversion", "id", "source", "type", "subject", "datacontenttype", "data", "data_base64"];

pub(super) fn read(body: &[u8]) -> Result<Event<'_>, EventError> {
    let whole = json::object(body).map_err(EventError::Body)?;
    let mut found: [Option<&RawValue>; READ.len()] = [None; READ.len()];
    for (name, value) in json::members(whole).unwrap_or_default() {
        let Some(name) = json::text(name) else { continue };
        let Some(slot) = READ.iter().position(|read| *read == name).and_then(|at| found.get_mut(at)) else { continue };
        if slot.replace(value).is_some() {
            return Err(EventError::Repeated { attribute: name });
        }
    }
    let [specversion, id, source, kind, subject, datacontenttype, data, data_base64] = found;

    let mut attributes = [None, None, None, None];
    for (slot, (name, value)) in attributes.iter_mut().zip(READ.into_iter().zip([specversion, id, source, kind])) {
        *slot = string(name, value)?;
    }
    let [id, source, kind] = required(|name| {
        let at = READ.iter().position(|read| *read == name)?;
        attributes.get_mut(at)?.take()
    })?;
    let subject = string("subject", subject)?;
    string("datacontenttype", datacontenttype)?;

    let data = match (data, data_base64.filter(|value| json::type_of(value) != "null")) {
        (Some(_), Some(_)) => {
            let rule = "must not stand beside `data` (JSON Event Format 1.0.2, section 3.1)";
            return Err(EventError::Invalid { attribute: "data_base64".to_owned(), rule });
        }
        (None, Some(encoded)) => {
            base64(encoded)?;
            Some(encoded)
        }
        (data, None) => data,
    };
    Ok(Event { id, source, kind, subject, json: Cow::Borrowed(whole), data: data.map(Cow::Borrowed) })
}

/// An attribute whose type is a string; `null` is the same as absent (JSON Event Format 1.0.2, section 2.2).
fn string(name: &'static str, value: Option<&RawValue>) -> Result<Option<String>, EventError> {
    let Some(value) = value.filter(|value| json::type_of(value) != "null") else { return Ok(None) };
    match json::text(value) {
        Some(text) => Ok(Some(text)),
        None => {
            let rule = "must be a string of valid Unicode (JSON Event Format 1.0.2, section 2.2)";
            Err(EventError::Invalid { attribute: name.to_owned(), rule })
        }
    }
}

fn base64(encoded: &RawValue) -> Result<(), EventError> {
    json::text(encoded).and_then(|text| data_encoding::BASE64.decode(text.as_bytes()).ok()).map(|_| ()).ok_or(
        EventError::Invalid {
            attribute: "data_base64".to_owned(),
            rule: "must be a string in base64 (JSON Event Format 1.0.2, section 3.1)",
        },
    )
}
