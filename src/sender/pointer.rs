//! What a JSON Pointer (RFC 6901) finds in a body: through objects only, since no sender keeps its id in an array.

use serde_json::value::RawValue;

use crate::json::{self, JsonType};

/// The text of a string, a number or a boolean; `None` where there is none, or the body isn't JSON. Of two members of one
/// name the last counts, as with most parsers.
pub(super) fn find(body: &[u8], pointer: &str) -> Option<String> {
    let found = walk(json::value(body).ok()?, pointer)?;
    match json::type_of(found) {
        JsonType::String => json::text(found).filter(|text| !text.is_empty()),
        JsonType::Number | JsonType::Boolean => Some(found.get().to_owned()),
        _ => None,
    }
}

/// The value itself, as it was sent.
pub(super) fn walk<'a>(value: &'a RawValue, pointer: &str) -> Option<&'a RawValue> {
    pointer.split('/').skip(1).try_fold(value, |value, step| json::member(value, &json::pointer_step(step)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scalars_are_found_through_objects() {
        let body = br#"{"a":{"b":"x"},"n":12,"t":true,"e":"","o":{},"a/b":"s","~":"t","l":["x"],"d":1,"d":2}"#;
        for (pointer, found) in [
            ("/a/b", Some("x")),
            ("/n", Some("12")),
            ("/t", Some("true")),
            ("/a~1b", Some("s")),
            ("/~0", Some("t")),
            ("/d", Some("2")),
            ("/e", None),
            ("/o", None),
            ("/a/c", None),
            ("/l/0", None),
            ("/", None),
        ] {
            assert_eq!(find(body, pointer).as_deref(), found, "{pointer}");
        }
        assert_eq!(find(b"a=b", "/a"), None);
        assert_eq!(find(b"\xff", "/a"), None);
    }
}
