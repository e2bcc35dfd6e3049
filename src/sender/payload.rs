//! Values in a JSON body, found by JSON Pointer.

use serde_json::value::RawValue;

use crate::json::{self, JsonType, Pointer};

/// The text of a string, a number or a boolean at a JSON Pointer. `None` if there is no such value, it is an empty
/// string, or the body is not JSON.
pub(super) fn text_at(body: &[u8], pointer: &str) -> Option<String> {
    any_text_at(body, pointer).filter(|text| !text.is_empty())
}

/// Like [`text_at`], but the text may be empty.
pub(super) fn any_text_at(body: &[u8], pointer: &str) -> Option<String> {
    text_of(value_at(json::value(body).ok()?, pointer)?)
}

/// The text of a claim: a string, a number or a boolean. The name is no pointer: claims of OpenID have URLs as names.
pub(super) fn claim(claims: &RawValue, name: &str) -> Option<String> {
    text_of(json::member(claims, name)?)
}

/// The text of a string, a number or a boolean.
pub(super) fn text_of(value: &RawValue) -> Option<String> {
    match json::type_of(value) {
        JsonType::String => json::text(value),
        JsonType::Number | JsonType::Boolean => Some(value.get().to_owned()),
        _ => None,
    }
}

/// The value at a JSON Pointer, as it was received.
pub(super) fn value_at<'a>(body: &'a RawValue, pointer: &str) -> Option<&'a RawValue> {
    Pointer::parse(pointer)?.find(body)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_at_finds_scalars() {
        let body = br#"{"a":{"b":"x"},"n":12,"t":true,"e":"","o":{},"a/b":"s","~":"t","l":["x"],"d":1,"d":2}"#;
        for (pointer, expected) in [
            ("/a/b", Some("x")),
            ("/n", Some("12")),
            ("/t", Some("true")),
            ("/a~1b", Some("s")),
            ("/~0", Some("t")),
            ("/d", Some("2")),
            ("/e", None),
            ("/o", None),
            ("/a/c", None),
            ("/l/0", Some("x")),
            ("/l/1", None),
            ("/", None),
        ] {
            assert_eq!(text_at(body, pointer).as_deref(), expected, "{pointer}");
        }
        assert_eq!(text_at(b"a=b", "/a"), None);
        assert_eq!(text_at(b"\xff", "/a"), None);
    }
}
