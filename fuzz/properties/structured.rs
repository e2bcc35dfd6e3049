//! An accepted structured event is preserved byte for byte, and equals the same event in binary mode.

use std::collections::BTreeSet;

use data_encoding::BASE64;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderName, HeaderValue};
use serde_json::value::RawValue;
use sluice::event::{self, Event, MediaType, Mode, SpecVersion};
use sluice::json::{self, JsonType};

use super::support::{member, trimmed};

pub fn check(data: &[u8]) {
    let Ok(event) = event::read_structured(data) else { return };
    assert_eq!(event.json.get().as_bytes(), trimmed(data));
    assert!(!event.id.is_empty() && !event.source.is_empty() && !event.kind.is_empty());
    let members: Vec<_> = attributes(&event).collect();
    let names: BTreeSet<_> = members.iter().map(|(name, _)| name).collect();
    assert_eq!(names.len(), members.len(), "a repeated attribute is ambiguous");
    let data_of_event = event.data.as_deref().map(|data| data.get());
    assert_eq!(event::data(&event.json).map(|data| data.get()), data_of_event);

    let Some((headers, body)) = to_binary(&event) else { return };
    let content_type = headers.get(CONTENT_TYPE).map(|value| MediaType::parse(value.to_str().unwrap()).unwrap());
    assert_eq!(Mode::of(content_type.as_ref(), &headers), Some(Mode::Binary));
    let binary = event::read_binary(content_type.as_ref(), &headers, &body).expect("a binary event");
    assert_eq!((binary.version, &binary.id, &binary.source), (event.version, &event.id, &event.source));
    assert_eq!((&binary.kind, &binary.subject), (&event.kind, &event.subject));
    for (name, _) in members.iter().filter(|(name, _)| name != "datacontenttype") {
        assert_eq!(binary.attribute(name), event.attribute(name), "{name}");
    }
    let data_of_binary = binary.data.as_deref().map(|data| data.get());
    if body.is_empty() {
        assert!(data_of_binary.is_none());
    } else if content_type.is_some_and(|content_type| content_type.is_json()) {
        assert_eq!(data_of_binary, data_of_event);
    } else {
        // The text is equal, its escapes may differ.
        let text = |event: &Event<'_>| json::text(event.data.as_deref().unwrap()).unwrap();
        assert_eq!((text(&binary), text(&event)), (BASE64.encode(&body), BASE64.encode(&body)));
    }
}

/// The event in binary mode; `None` if that mode can't express it.
fn to_binary(event: &Event<'_>) -> Option<(HeaderMap, Vec<u8>)> {
    let mut headers = HeaderMap::new();
    for (name, value) in attributes(event).filter(|(name, _)| name != "datacontenttype") {
        let value = match json::type_of(value) {
            JsonType::Null => continue,
            JsonType::String => json::text(value).unwrap(),
            JsonType::Number if value.get() == "-0" => "0".to_owned(),
            JsonType::Number | JsonType::Boolean => value.get().to_owned(),
            _ => return None,
        };
        // In binary mode this attribute would describe the body.
        if event.version == SpecVersion::V0_3 && name == "datacontentencoding" {
            return None;
        }
        let name = HeaderName::try_from(format!("ce-{name}")).unwrap();
        headers.append(name, HeaderValue::from_str(&escaped(&value)).unwrap());
    }
    let (content_type, body) = match (&event.data, member(&event.json, "data_base64")) {
        (None, _) => return Some((headers, Vec::new())),
        (Some(_), Some(text)) => ("application/octet-stream", BASE64.decode(text.as_bytes()).unwrap()),
        (Some(data), None) => ("application/json", data.get().as_bytes().to_vec()),
    };
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    Some((headers, body))
}

/// All members except the data.
fn attributes<'a>(event: &'a Event<'_>) -> impl Iterator<Item = (String, &'a RawValue)> {
    let members = json::members(&event.json).unwrap().into_iter();
    members
        .map(|(name, value)| (json::text(name).expect("a name"), value))
        .filter(|(name, _)| !matches!(name.as_str(), "data" | "data_base64"))
}

/// HTTP Protocol Binding 1.0.2, section 3.1.3.2: space, double quote, percent, and all but printable ASCII.
fn escaped(value: &str) -> String {
    let escape = |byte| match byte {
        b'"' | b'%' | ..=b' ' | b'\x7f'.. => format!("%{byte:02X}"),
        _ => char::from(byte).to_string(),
    };
    value.bytes().map(escape).collect()
}
