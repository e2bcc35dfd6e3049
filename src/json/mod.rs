//! JSON that passes through byte for byte: checked and bounded in depth, never rebuilt. Numbers keep their digits,
//! members keep their order, and duplicate names stay. A [`Reader`] checks what the operator writes.

mod buffer;
mod checked;
mod nearest;
mod pointer;
mod reader;
mod scan;
mod token;
mod tree;

use std::borrow::Cow;
use std::{fmt, iter};

use serde::de::{Deserialize, Deserializer, Error};
use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::value::RawValue;

use checked::Parts;

pub use buffer::{Buffer, Unchecked};
pub use checked::{member, records};
pub use nearest::nearest;
pub use pointer::Pointer;
pub use reader::{InvalidValue, Reader, Step, code_list};
pub use tree::Tree;

/// Maximum nesting depth of arrays and objects. A parser that receives the payload may use stack for each level. 128 is
/// also `serde_json`'s own limit; the deepest payload of a known sender has about ten levels.
pub const MAX_DEPTH: usize = 128;

/// The reason why some bytes are not the expected JSON. Contains no part of the payload.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JsonError {
    /// No text, or only white space.
    #[error("it is empty")]
    Empty,
    /// Not UTF-8, which JSON exchanged between systems must be (RFC 8259, section 8.1).
    #[error("it is not UTF-8 (byte {at})")]
    NotUtf8 {
        /// Offset of the first invalid byte.
        at: usize,
    },
    /// Not UTF-8 but another encoding of Unicode, by its byte order mark or by the zero bytes in it.
    #[error("it is in {encoding}, and must be in UTF-8")]
    Encoding {
        /// The name of the encoding.
        encoding: &'static str,
    },
    /// Not the grammar of RFC 8259.
    #[error("it is not valid JSON: {reason}")]
    Syntax {
        /// The parser's message, with line and column.
        reason: String,
    },
    /// Nested deeper than the limit: [`MAX_DEPTH`], or one less for [`inner`].
    #[error("it is nested deeper than {max} levels")]
    TooDeep {
        /// The limit.
        max: usize,
    },
    /// Valid JSON, but not an object.
    #[error("it is {found}, and must be a JSON object")]
    NotObject {
        /// The type of the value.
        found: JsonType,
    },
}

/// The type of a JSON value (RFC 8259, section 3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JsonType {
    /// `{…}`
    Object,
    /// `[…]`
    Array,
    /// `"…"`
    String,
    /// Any number.
    Number,
    /// `true` or `false`.
    Boolean,
    /// `null`
    Null,
}

impl JsonType {
    /// The type of a value by its first byte.
    fn of(json: &str) -> Self {
        match json.as_bytes().first() {
            Some(b'{') => Self::Object,
            Some(b'[') => Self::Array,
            Some(b'"') => Self::String,
            Some(b't' | b'f') => Self::Boolean,
            Some(b'n') => Self::Null,
            _ => Self::Number,
        }
    }

    /// The type's name with an article, for messages: "an object".
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Object => "an object",
            Self::Array => "an array",
            Self::String => "a string",
            Self::Number => "a number",
            Self::Boolean => "a boolean",
            Self::Null => "null",
        }
    }
}

impl fmt::Display for JsonType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Parses a stored record or a setting. It always parses text: `serde_json`'s reader of byte slices would be compiled
/// in addition, for each type.
pub fn read<'de, T: Deserialize<'de>>(bytes: &'de [u8]) -> Result<T, serde_json::Error> {
    serde_json::from_str(std::str::from_utf8(bytes).map_err(serde_json::Error::custom)?)
}

/// A JSON object with a single member: `SingleMember("name", 1)` serializes as `{"name":1}`. With `#[serde(flatten)]`,
/// the member is written directly into the surrounding object.
#[derive(Debug)]
pub struct SingleMember<'a, T>(pub &'a str, pub T);

impl<T: Serialize> Serialize for SingleMember<'_, T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(1))?;
        map.serialize_entry(self.0, &self.1)?;
        map.end()
    }
}

/// The byte order mark in UTF-8.
pub const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// The text without the byte order mark at its start, which a parser may ignore (RFC 8259, section 8.1).
pub fn without_mark(text: &str) -> &str {
    text.strip_prefix('\u{feff}').unwrap_or(text)
}

/// [`without_mark`], for bytes that are not known to be UTF-8.
pub fn bytes_without_mark(bytes: &[u8]) -> &[u8] {
    bytes.strip_prefix(BYTE_ORDER_MARK).unwrap_or(bytes)
}

/// Checks a JSON value and its depth. Returns its text without the white space around it and without a byte order mark.
pub fn value<'b>(text: impl Into<Unchecked<'b>>) -> Result<&'b RawValue, JsonError> {
    text.into().value(MAX_DEPTH)
}

/// Like [`value`], but allows one level less than [`MAX_DEPTH`], for values that become members of an object.
pub fn inner<'b>(text: impl Into<Unchecked<'b>>) -> Result<&'b RawValue, JsonError> {
    text.into().value(MAX_DEPTH.saturating_sub(1))
}

/// Checks a JSON object and its depth, as [`value`] does.
pub fn object<'b>(text: impl Into<Unchecked<'b>>) -> Result<&'b RawValue, JsonError> {
    let raw = value(text)?;
    match type_of(raw) {
        JsonType::Object => Ok(raw),
        found => Err(JsonError::NotObject { found }),
    }
}

/// Checks a JSON value of at most `max` levels, for the reason why it is refused.
fn checked_by_parser(bytes: &[u8], max: usize) -> Result<&RawValue, JsonError> {
    let text = std::str::from_utf8(bytes).map_err(|e| not_utf8(bytes, e.valid_up_to()))?;
    let text = without_mark(text);
    if text.trim().is_empty() {
        return Err(JsonError::Empty);
    }
    // A zero byte is never JSON, but is valid UTF-8.
    let invalid = |error| encoding(bytes).map_or_else(|| syntax(error), |encoding| JsonError::Encoding { encoding });
    let raw: &RawValue = serde_json::from_str(text).map_err(invalid)?;
    if depth(raw.get()) > max { Err(JsonError::TooDeep { max }) } else { Ok(raw) }
}

/// A part of a document that is read when it is needed: JSON that was checked, by the build or as a part of a larger text.
#[derive(Clone, Copy, Debug)]
pub struct Part<'a>(&'a str);

impl<'a> Part<'a> {
    /// A part that the build has checked.
    pub const fn of_build(json: &'a str) -> Self {
        Self(json)
    }

    /// The JSON.
    pub fn get(self) -> &'a str {
        self.0
    }

    /// The value.
    pub fn value(self) -> &'a RawValue {
        checked::raw_value(self.0).unwrap_or(RawValue::NULL)
    }

    /// Reads it as a type, like [`form`].
    pub fn form<T: Deserialize<'a>>(self) -> Result<T, InvalidValue> {
        checked::form(self.0)
    }
}

impl<'a> From<&'a RawValue> for Part<'a> {
    fn from(value: &'a RawValue) -> Self {
        Self(value.get())
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Part<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        <&RawValue>::deserialize(deserializer).map(Self::from)
    }
}

/// Reads a checked value as a type. The rules in errors are those of `serde`, such as "unknown field `x`".
pub fn form<'de, T: Deserialize<'de>>(raw: &'de RawValue) -> Result<T, InvalidValue> {
    checked::form(raw.get())
}

/// The values of an object's members, in the order of their known names.
pub type Record<'a, const N: usize> = [Option<&'a RawValue>; N];

/// The members of an object in their original order and spelling, duplicates included. Names are JSON string tokens
/// with quotes and escapes. `None` for a value of another type.
pub fn members(raw: &RawValue) -> Option<Vec<(&RawValue, &RawValue)>> {
    let mut parts = (type_of(raw) == JsonType::Object).then(|| Parts::of(raw))?;
    Some(iter::from_fn(|| parts.next().zip(parts.next())).collect())
}

/// The elements of an array in their original spelling. `None` for a value of another type.
pub fn elements(raw: &RawValue) -> Option<Vec<&RawValue>> {
    each_element(raw).map(Iterator::collect)
}

/// Like [`elements`], one by one.
pub fn each_element(raw: &RawValue) -> Option<impl Iterator<Item = &RawValue>> {
    (type_of(raw) == JsonType::Array).then(|| Parts::of(raw))
}

/// The text of a JSON string. `None` for a value of another type, or if an escape is an unpaired surrogate.
pub fn text(raw: &RawValue) -> Option<String> {
    borrowed_text(raw).map(Cow::into_owned)
}

/// Like [`text`], but borrows a text without escapes.
pub fn borrowed_text(raw: &RawValue) -> Option<Cow<'_, str>> {
    unescaped(raw.get())
}

/// Like [`borrowed_text`], for the JSON of a checked value.
fn unescaped(json: &str) -> Option<Cow<'_, str>> {
    let [b'"', inner @ .., b'"'] = json.as_bytes() else { return None };
    if inner.contains(&b'\\') {
        return serde_json::from_str(json).ok().map(Cow::Owned);
    }
    json.get(1..=inner.len()).map(Cow::Borrowed)
}

/// Whether a string of a checked value has an escape that is an unpaired surrogate, such as `\ud83d` alone. It is JSON
/// by the grammar, but no Unicode text (RFC 8259, section 8.2).
pub fn has_unpaired_surrogate(raw: &RawValue) -> bool {
    let mut rest = raw.get();
    let mut high = false;
    while let Some((before, after)) = rest.split_once('\\') {
        let unit = after.strip_prefix('u').and_then(|digits| u16::from_str_radix(digits.get(..4)?, 16).ok());
        let is_low = matches!(unit, Some(0xdc00..=0xdfff));
        if (high && !(is_low && before.is_empty())) || (!high && is_low) {
            return true;
        }
        high = matches!(unit, Some(0xd800..=0xdbff));
        rest = after.get(if unit.is_some() { 5 } else { 1 }..).unwrap_or_default();
    }
    high
}

/// The type of a checked value.
pub fn type_of(raw: &RawValue) -> JsonType {
    JsonType::of(raw.get())
}

fn not_utf8(bytes: &[u8], at: usize) -> JsonError {
    encoding(bytes).map_or(JsonError::NotUtf8 { at }, |encoding| JsonError::Encoding { encoding })
}

/// The encoding of a text that is neither JSON in UTF-8 nor empty: by its byte order mark, or by the zero bytes among
/// the first four, since JSON text begins with an ASCII character (RFC 4627, section 3). `None` if it may be UTF-8.
fn encoding(bytes: &[u8]) -> Option<&'static str> {
    match *bytes {
        [0xff, 0xfe, 0, 0, ..] => Some("UTF-32 (little-endian)"),
        [0, 0, 0xfe, 0xff, ..] => Some("UTF-32 (big-endian)"),
        [0xff, 0xfe, ..] => Some("UTF-16 (little-endian)"),
        [0xfe, 0xff, ..] => Some("UTF-16 (big-endian)"),
        [1..=0xff, 0, 0, 0, ..] => Some("UTF-32 (little-endian), without a byte order mark"),
        [0, 0, 0, 1..=0xff, ..] => Some("UTF-32 (big-endian), without a byte order mark"),
        [1..=0xff, 0, ..] => Some("UTF-16 (little-endian), without a byte order mark"),
        [0, 1..=0xff, ..] => Some("UTF-16 (big-endian), without a byte order mark"),
        _ => None,
    }
}

fn syntax(error: serde_json::Error) -> JsonError {
    JsonError::Syntax { reason: error.to_string() }
}

/// The nesting depth of valid JSON.
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

    pub(super) fn nested(levels: usize) -> String {
        format!("{}{}", "[".repeat(levels), "]".repeat(levels))
    }

    #[test]
    fn unpaired_surrogate_is_found() {
        for (text, expected) in [
            (r#""\ud83d\ude00""#, false),
            (r#"{"a":"\\ud83d","b":[1,"\n\u0041"]}"#, false),
            (r#""\ud83d""#, true),
            (r#""\ude00""#, true),
            (r#""\ud83dx\ude00""#, true),
            (r#""\ud83d\n""#, true),
            (r#""\ud83d\ud83d\ude00""#, true),
            (r#"{"\uDC00":1}"#, true),
            (r#"["\ud83d","\ude00"]"#, true),
        ] {
            assert_eq!(has_unpaired_surrogate(value(text.as_bytes()).unwrap()), expected, "{text}");
        }
    }

    #[test]
    fn payload_passes_unchanged() {
        let odd = r#"{"n":12345678901234567890,"f":1.417566161e9,"d":1,"d":2,"é\u00e9":"\ud83d\ude00😀", "z": 1E400 }"#;
        assert_eq!(object(format!("\n {odd}\t").as_bytes()).unwrap().get(), odd);
    }

    #[test]
    fn depth_is_bounded_and_ignores_strings() {
        assert!(value(nested(MAX_DEPTH).as_bytes()).is_ok());
        let error = JsonError::TooDeep { max: MAX_DEPTH };
        assert_eq!(value(nested(MAX_DEPTH + 1).as_bytes()).unwrap_err(), error);
        assert_eq!(value(nested(100_000).as_bytes()).unwrap_err(), error);
        assert!(inner(nested(MAX_DEPTH - 1).as_bytes()).is_ok());
        assert_eq!(inner(nested(MAX_DEPTH).as_bytes()).unwrap_err(), JsonError::TooDeep { max: MAX_DEPTH - 1 });
        assert_eq!(depth(r#"{"[[[\"[[[":"]]]\\"}"#), 1);
    }

    #[test]
    fn invalid_bytes_are_rejected_with_their_reason() {
        assert_eq!(value(b" \n").unwrap_err(), JsonError::Empty);
        assert_eq!(value(b"{\"a\":\"\xff\"}").unwrap_err(), JsonError::NotUtf8 { at: 6 });
        assert!(matches!(value(b"{\"a\":}").unwrap_err(), JsonError::Syntax { reason } if reason.contains("column 6")));
        for (json, found, name) in [
            ("[1]", JsonType::Array, "an array"),
            ("\"a\"", JsonType::String, "a string"),
            ("true", JsonType::Boolean, "a boolean"),
            ("false", JsonType::Boolean, "a boolean"),
            ("null", JsonType::Null, "null"),
            ("-1", JsonType::Number, "a number"),
        ] {
            let error = object(json.as_bytes()).unwrap_err();
            assert_eq!(error, JsonError::NotObject { found }, "{json}");
            assert_eq!(error.to_string(), format!("it is {name}, and must be a JSON object"), "{json}");
        }
    }

    #[test]
    fn byte_order_mark_is_left_out() {
        let marked = |text: &str| format!("\u{feff}{text}");
        for text in ["{}", " {\"a\":1E400} ", "[\"\u{feff}\"]", "\r\n\t1", "null"] {
            assert_eq!(value(marked(text).as_bytes()).unwrap().get(), text.trim(), "{text:?}");
            assert_eq!(inner(marked(text).as_bytes()).unwrap().get(), text.trim(), "{text:?}");
        }
        assert_eq!(object(marked("{\"a\":1}").as_bytes()).unwrap().get(), "{\"a\":1}");
        for empty in ["", " ", "\n"] {
            assert_eq!(value(marked(empty).as_bytes()).unwrap_err(), JsonError::Empty, "{empty:?}");
        }
        // Only at the start is it a mark.
        for text in ["{\u{feff}}", " \u{feff}{}", "{}\u{feff}", "\u{feff}\u{feff}{}"] {
            assert!(matches!(value(text.as_bytes()).unwrap_err(), JsonError::Syntax { .. }), "{text:?}");
        }
        let column = value(marked("{\"a\":}").as_bytes()).unwrap_err().to_string();
        assert!(column.ends_with("column 6"), "{column}");
    }

    #[test]
    fn other_encodings_of_unicode_are_named() {
        let units = |big: bool, wide: bool, text: &str| {
            let bytes = |c: u32| match (big, wide) {
                (true, true) => c.to_be_bytes().to_vec(),
                (false, true) => c.to_le_bytes().to_vec(),
                (true, false) => u16::try_from(c).unwrap().to_be_bytes().to_vec(),
                (false, false) => u16::try_from(c).unwrap().to_le_bytes().to_vec(),
            };
            text.chars().flat_map(|c| bytes(u32::from(c))).collect::<Vec<_>>()
        };
        for text in ["{\"a\":1}", "[1]", "{}", "{\"a\":\"é\"}", "\"a\""] {
            for (big, wide, name) in [
                (false, false, "UTF-16 (little-endian)"),
                (true, false, "UTF-16 (big-endian)"),
                (false, true, "UTF-32 (little-endian)"),
                (true, true, "UTF-32 (big-endian)"),
            ] {
                let error = value(&units(big, wide, &format!("\u{feff}{text}"))).unwrap_err().to_string();
                assert_eq!(error, format!("it is in {name}, and must be in UTF-8"), "{text}");
                let error = value(&units(big, wide, text)).unwrap_err().to_string();
                assert!(error.starts_with(&format!("it is in {name}, without a byte order mark")), "{text}: {error}");
            }
        }
        for (bytes, error) in [
            (&b"{\"a\":\"\xff\"}"[..], "it is not UTF-8 (byte 6)"),
            (b"\xe9", "it is not UTF-8 (byte 0)"),
            (b"\xef\xbb", "it is not UTF-8 (byte 0)"),
        ] {
            assert_eq!(value(bytes).unwrap_err().to_string(), error);
        }
        assert!(matches!(value(b"{\"a\":\0}").unwrap_err(), JsonError::Syntax { .. }));
    }

    #[test]
    fn members_keep_order_spelling_and_duplicates() {
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
