//! Writes a start as a CloudEvent in the binary content mode (HTTP Protocol Binding 1.0.2, section 3.1).

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use http::HeaderMap;
use http::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use serde_json::value::RawValue;

use super::RequestError;
use super::request::data;
use crate::delivery::{Payload, Start};
use crate::json::{self, JsonType};

/// The start of the source of an event that a webhook becomes; the name of the source follows.
const WEBHOOK_SOURCE: &str = "/sluice";
/// The type of an event that a webhook becomes.
const WEBHOOK_TYPE: &str = "dev.sluice.webhook";

/// The characters that are percent-encoded in the value of a header (section 3.1.3.2). Characters outside ASCII are
/// encoded as well.
const VALUE: &AsciiSet = &CONTROLS.add(b' ').add(b'"').add(b'%');

/// Writes the attributes of an event into headers, and returns its data. A webhook becomes an event with this id.
pub(super) fn write(start: &Start<'_>, id: &str, headers: &mut HeaderMap) -> Result<Vec<u8>, RequestError> {
    let whole = match &start.payload {
        Payload::Webhook(whole) => {
            let source = format!("{WEBHOOK_SOURCE}/{}", start.source.as_deref().unwrap_or_default());
            for (name, value) in [("specversion", "1.0"), ("id", id), ("source", &source), ("type", WEBHOOK_TYPE)] {
                insert(headers, name, value)?;
            }
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
            return Ok(whole.get().as_bytes().to_vec());
        }
        Payload::Event { whole, .. } => whole,
    };
    let mut content_type = None;
    let mut encoded = None;
    for (name, value) in json::members(whole).ok_or(RequestError)? {
        let name = json::text(name).ok_or(RequestError)?;
        let text = || json::text(value).unwrap_or_else(|| value.get().to_owned());
        match (name.as_str(), json::type_of(value)) {
            ("data", _) | (_, JsonType::Null) => {}
            ("data_base64", _) => encoded = Some(text()),
            ("datacontenttype", _) => content_type = Some(text()),
            _ => insert(headers, &name, &text())?,
        }
    }
    let value = data(start);
    let is_json = content_type.as_deref().is_none_or(|content_type| content_type.contains("json"));
    let body = match encoded {
        Some(encoded) => BASE64_STANDARD.decode(encoded).map_err(|_| RequestError)?,
        None => bytes(value, is_json),
    };
    let content_type = content_type.unwrap_or_else(|| "application/json".to_owned());
    headers.insert(CONTENT_TYPE, content_type.parse().map_err(|_| RequestError)?);
    Ok(body)
}

/// The bytes of `data`: JSON in the sender's spelling, or the text that it is.
fn bytes(data: &RawValue, is_json: bool) -> Vec<u8> {
    let text = if is_json { None } else { json::text(data) };
    text.unwrap_or_else(|| data.get().to_owned()).into_bytes()
}

fn insert(headers: &mut HeaderMap, attribute: &str, value: &str) -> Result<(), RequestError> {
    let name: HeaderName = format!("ce-{attribute}").parse().map_err(|_| RequestError)?;
    let value = utf8_percent_encode(value, VALUE).to_string();
    headers.insert(name, value.parse().map_err(|_| RequestError)?);
    Ok(())
}
