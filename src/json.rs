//! JSON that passes through byte-faithful: checked, bounded in depth, never rebuilt. No number is rounded, no key is
//! reordered, and two keys of one name stay two.

use serde::de::{Deserialize, Deserializer, Error, MapAccess, Visitor};
use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::value::RawValue;

/// How deep arrays and objects may nest. What parses JSON after us counts on its stack; 128 is also `serde_json`'s own
/// limit, and the deepest payload of a known sender has about ten levels.
pub const MAX_DEPTH: usize = 128;

/// Why some bytes are not the JSON that was asked for. Carries no part of the payload.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JsonError {
    /// There is nothing but white space.
    #[error("it is empty")]
    Empty,
    /// RFC 8259, section 8.1: JSON between systems is UTF-8.
    #[error("it is not UTF-8 (byte {at})")]
    NotUtf8 {
        /// Offset of the first byte that is not UTF-8.
        at: usize,
    },
    /// RFC 8259's grammar is broken.
    #[error("it is not valid JSON: {reason}")]
    Syntax {
        /// What the parser says, with line and column.
        reason: String,
    },
    /// Nested deeper than [`MAX_DEPTH`], with what it is put into.
    #[error("it nests deeper than {max} levels")]
    TooDeep {
        /// How many levels it may have.
        max: usize,
    },
    /// Valid JSON, but another type than an object.
    #[error("it is {found}, and must be a JSON object")]
    NotObject {
        /// The type that it is.
        found: &'static str,
    },
}

/// Reads what we wrote, or a setting. As text: a reader of bytes beside it would be compiled for each type once more.
pub fn read<'de, T: Deserialize<'de>>(bytes: &'de [u8]) -> Result<T, serde_json::Error> {
    serde_json::from_str(std::str::from_utf8(bytes).map_err(serde_json::Error::custom)?)
}

/// An object of one member.
#[derive(Debug)]
pub struct SingleMember<'a, T>(pub &'a str, pub T);

impl<T: Serialize> Serialize for SingleMember<'_, T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(1))?;
        map.serialize_entry(self.0, &self.1)?;
        map.end()
    }
}

/// One JSON value, checked and bounded; what is returned is the input without the white space around it.
pub fn value(bytes: &[u8]) -> Result<&RawValue, JsonError> {
    bounded(bytes, MAX_DEPTH)
}

/// The same for what will be a member's value of an object that is bounded too.
pub fn inner(bytes: &[u8]) -> Result<&RawValue, JsonError> {
    bounded(bytes, MAX_DEPTH.saturating_sub(1))
}

fn bounded(bytes: &[u8], max: usize) -> Result<&RawValue, JsonError> {
    let text = std::str::from_utf8(bytes).map_err(|e| JsonError::NotUtf8 { at: e.valid_up_to() })?;
    if text.trim().is_empty() {
        return Err(JsonError::Empty);
    }
    let raw: &RawValue = serde_json::from_str(text).map_err(syntax)?;
    // Most have so few brackets that they can't be too deep.
    let open = raw.get().bytes().filter(|byte| matches!(byte, b'{' | b'[')).take(max.saturating_add(1)).count();
    if open > max && depth(raw.get()) > max {
        return Err(JsonError::TooDeep { max });
    }
    Ok(raw)
}

/// One JSON object, checked and bounded.
pub fn object(bytes: &[u8]) -> Result<&RawValue, JsonError> {
    let raw = value(bytes)?;
    match type_of(raw) {
        "an object" => Ok(raw),
        found => Err(JsonError::NotObject { found }),
    }
}

/// The members of an object in the order and spelling in which they were sent, doubles included; names are JSON string
/// tokens, quotes and escapes and all. `None` if it is not an object.
pub fn members(raw: &RawValue) -> Option<Vec<(&RawValue, &RawValue)>> {
    struct Members;
    impl<'de> Visitor<'de> for Members {
        type Value = Vec<(&'de RawValue, &'de RawValue)>;

        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("an object")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            let mut members = Vec::new();
            while let Some(member) = map.next_entry()? {
                members.push(member);
            }
            Ok(members)
        }
    }
    serde_json::Deserializer::from_str(raw.get()).deserialize_map(Members).ok()
}

/// The elements of an array as they were sent; `None` if it is not an array.
pub fn elements(raw: &RawValue) -> Option<Vec<&RawValue>> {
    serde_json::from_str(raw.get()).ok()
}

/// The member of this name. Of two the last counts, as with most parsers.
pub fn member<'a>(raw: &'a RawValue, name: &str) -> Option<&'a RawValue> {
    let members = members(raw)?;
    members.into_iter().rev().find(|(member, _)| text(member).is_some_and(|member| member == name)).map(|(_, v)| v)
}

/// A step of a JSON Pointer without its escapes (RFC 6901, section 4): `~1` first, or `~01` would become a slash.
pub fn pointer_step(escaped: &str) -> String {
    escaped.replace("~1", "/").replace("~0", "~")
}

/// The text of a JSON string; `None` for another type, or where an escape stands for half a surrogate pair.
pub fn text(raw: &RawValue) -> Option<String> {
    serde_json::from_str(raw.get()).ok()
}

/// What type a checked value has, with its article, as messages say it.
pub fn type_of(raw: &RawValue) -> &'static str {
    match raw.get().as_bytes().first() {
        Some(b'{') => "an object",
        Some(b'[') => "an array",
        Some(b'"') => "a string",
        Some(b't' | b'f') => "a boolean",
        Some(b'n') => "null",
        _ => "a number",
    }
}

fn syntax(error: serde_json::Error) -> JsonError {
    JsonError::Syntax { reason: error.to_string() }
}

/// The depth of valid JSON.
fn depth(json: &str) -> usize {
    let (mut deepest, mut depth) = (0_usize, 0_usize);
    let mut bytes = json.bytes();
    while let Some(byte) = bytes.next() {
        match byte {
            b'{' | b'[' => {
                depth = depth.saturating_add(1);
                deepest = deepest.max(depth);
            }
            b'}' | b']' => depth = depth.saturating_sub(1),
            b'"' => loop {
                match bytes.next() {
                    Some(b'\\') => _ = bytes.next(),
                    Some(b'"') | None => break,
                    Some(_) => {}
                }
            },
            _ => {}
        }
    }
    deepest
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nested(levels: usize) -> String {
        format!("{}{}", "[".repeat(levels), "]".repeat(levels))
    }

    #[test]
    fn nothing_is_rebuilt() {
        let odd = r#"{"n":12345678901234567890,"f":1.417566161e9,"d":1,"d":2,"é\u00e9":"\ud83d\ude00😀", "z": 1E400 }"#;
        assert_eq!(object(format!("\n {odd}\t").as_bytes()).unwrap().get(), odd);
    }

    #[test]
    fn depth_is_bounded_and_strings_do_not_count() {
        assert!(value(nested(MAX_DEPTH).as_bytes()).is_ok());
        let error = JsonError::TooDeep { max: MAX_DEPTH };
        assert_eq!(value(nested(MAX_DEPTH + 1).as_bytes()).unwrap_err(), error);
        assert_eq!(value(nested(100_000).as_bytes()).unwrap_err(), error);
        assert!(inner(nested(MAX_DEPTH - 1).as_bytes()).is_ok());
        assert_eq!(inner(nested(MAX_DEPTH).as_bytes()).unwrap_err(), JsonError::TooDeep { max: MAX_DEPTH - 1 });
        assert_eq!(depth(r#"{"[[[\"[[[":"]]]\\"}"#), 1);
    }

    #[test]
    fn what_is_wrong_is_named() {
        assert_eq!(value(b" \n").unwrap_err(), JsonError::Empty);
        assert_eq!(value(b"{\"a\":\"\xff\"}").unwrap_err(), JsonError::NotUtf8 { at: 6 });
        assert!(matches!(value(b"{\"a\":}").unwrap_err(), JsonError::Syntax { reason } if reason.contains("column 6")));
        for (json, found) in
            [("[1]", "an array"), ("\"a\"", "a string"), ("true", "a boolean"), ("null", "null"), ("-1", "a number")]
        {
            assert_eq!(object(json.as_bytes()).unwrap_err(), JsonError::NotObject { found });
        }
    }

    #[test]
    fn members_keep_order_spelling_and_doubles() {
        let raw = object(br#"{"b":1,"a" : [ 1 ],"b":2,"\u0061":3,"\ud800":4}"#).unwrap();
        let members: Vec<_> = members(raw).unwrap().into_iter().map(|(k, v)| (k.get(), v.get())).collect();
        assert_eq!(
            members,
            [("\"b\"", "1"), ("\"a\"", "[ 1 ]"), ("\"b\"", "2"), ("\"\\u0061\"", "3"), ("\"\\ud800\"", "4")]
        );
        assert_eq!(member(raw, "a").map(RawValue::get), Some("3"));
        assert_eq!(member(raw, "c").map(RawValue::get), None);
    }

    #[test]
    fn elements_keep_order_and_spelling() {
        let raw = value(b"[1E400 , {\"a\":1,\"a\":2}, []]").unwrap();
        let elements: Vec<_> = elements(raw).unwrap().into_iter().map(RawValue::get).collect();
        assert_eq!(elements, ["1E400", "{\"a\":1,\"a\":2}", "[]"]);
        assert!(super::elements(value(b"{}").unwrap()).is_none() && member(raw, "0").is_none());
    }
}
