//! An accepted binary event becomes, in the JSON format, an equal structured event that contains the body.

use data_encoding::BASE64;
use http::header::CONTENT_TYPE;
use sluice::event::{self, MediaType, Mode, SpecVersion};
use sluice::json;

use super::support::{member, request, trimmed};

pub fn check(data: &[u8]) {
    let (headers, body) = request(data);
    let content_type = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).and_then(MediaType::parse);
    if Mode::of(content_type.as_ref(), &headers) != Some(Mode::Binary) {
        return;
    }
    let Ok(event) = event::read_binary(content_type.as_ref(), &headers, body) else { return };
    let structured = event::read_structured(event.json.get().as_bytes()).expect("a structured event");
    assert_eq!(structured.json.get(), event.json.get());
    assert_eq!((structured.version, &structured.id, &structured.source), (event.version, &event.id, &event.source));
    assert_eq!((&structured.kind, &structured.subject), (&event.kind, &event.subject));

    let is_old = event.version == SpecVersion::V0_3;
    for (name, value) in &headers {
        let Some(name) = name.as_str().strip_prefix("ce-") else { continue };
        let Some(value) = value.to_str().ok().and_then(plain) else { continue };
        if !(is_old && name == "datacontentencoding") {
            // An empty subject counts as absent.
            assert_eq!(member(&event.json, name).unwrap_or_default(), value, "{name}");
        }
    }
    let content_type = content_type.as_ref();
    let sent = content_type.map(|content_type| content_type.as_str().replace('\t', " "));
    assert_eq!(member(&event.json, "datacontenttype"), sent);

    let data = event.data.as_deref();
    assert_eq!(data.map(|data| data.get()), structured.data.as_deref().map(|data| data.get()));
    assert_eq!(data.map(|data| data.get()), event::data(&event.json).map(|data| data.get()));
    let is_base64 = member(&event.json, if is_old { "datacontentencoding" } else { "data_base64" }).is_some();
    match data {
        None => assert!(body.is_empty()),
        Some(data) if is_base64 => {
            let text = json::text(data).expect("a string");
            // In version 0.3 the body itself may be base64.
            assert!(text == BASE64.encode(body) || is_old && text.as_bytes() == body);
            assert!(is_old || !content_type.is_some_and(MediaType::is_json));
        }
        Some(data) if content_type.is_some_and(MediaType::is_json) => assert_eq!(data.get().as_bytes(), trimmed(body)),
        Some(data) => assert_eq!(json::text(data).expect("a string").as_bytes(), body),
    }
}

/// The value of a header without percent-encoding: an unquoted string (RFC 9110, section 5.6.4), or the value itself.
fn plain(value: &str) -> Option<String> {
    if value.contains('%') {
        return None;
    }
    let Some(quoted) = value.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) else {
        return Some(value.to_owned());
    };
    let mut escaped = false;
    let mut text = String::new();
    for c in quoted.chars() {
        if c == '"' && !escaped {
            return Some(value.to_owned());
        }
        escaped = c == '\\' && !escaped;
        if !escaped {
            text.push(c);
        }
    }
    Some(if escaped { value.to_owned() } else { text })
}
