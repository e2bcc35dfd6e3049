//! A binary event that is taken is, in the JSON format, a structured event that says the same, with its body in it.

use data_encoding::BASE64;
use http::header::CONTENT_TYPE;
use sluice::event::{self, MediaType, Mode, SpecVersion};
use sluice::json;

use super::support::{member, request, trimmed};

pub fn law(data: &[u8]) {
    let (headers, body) = request(data);
    let content_type = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).and_then(MediaType::parse);
    if Mode::of(content_type.as_ref(), &headers) != Some(Mode::Binary) {
        return;
    }
    let Ok(event) = event::read_binary(content_type.as_ref(), &headers, body) else { return };
    let whole = event::read_structured(event.json.get().as_bytes()).expect("a structured event");
    assert_eq!(whole.json.get(), event.json.get());
    assert_eq!((whole.version, &whole.id, &whole.source), (event.version, &event.id, &event.source));
    assert_eq!((&whole.kind, &whole.subject), (&event.kind, &event.subject));

    let is_old = event.version == SpecVersion::V0_3;
    for (name, value) in &headers {
        let Some(name) = name.as_str().strip_prefix("ce-") else { continue };
        let Some(value) = value.to_str().ok().and_then(plain) else { continue };
        if !(is_old && name == "datacontentencoding") {
            // An empty subject is none.
            assert_eq!(member(&event.json, name).unwrap_or_default(), value, "{name}");
        }
    }
    let content_type = content_type.as_ref();
    let sent = content_type.map(|content_type| content_type.as_str().replace('\t', " "));
    assert_eq!(member(&event.json, "datacontenttype"), sent);

    let data = event.data.as_deref();
    assert_eq!(data.map(|data| data.get()), whole.data.as_deref().map(|data| data.get()));
    assert_eq!(data.map(|data| data.get()), event::data(&event.json).map(|data| data.get()));
    let is_base64 = member(&event.json, if is_old { "datacontentencoding" } else { "data_base64" }).is_some();
    match data {
        None => assert!(body.is_empty()),
        Some(data) if is_base64 => {
            let text = json::text(data).expect("a string");
            // The body of 0.3 may be base64 itself.
            assert!(text == BASE64.encode(body) || is_old && text.as_bytes() == body);
            assert!(is_old || !content_type.is_some_and(MediaType::is_json));
        }
        Some(data) if content_type.is_some_and(MediaType::is_json) => assert_eq!(data.get().as_bytes(), trimmed(body)),
        Some(data) => assert_eq!(json::text(data).expect("a string").as_bytes(), body),
    }
}

/// The text of a header without escapes: a quoted string (RFC 9110, section 5.6.4), or as it stands.
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
