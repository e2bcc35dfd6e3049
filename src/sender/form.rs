//! Bodies that are forms, as JSON objects: Slack's slash commands and interactive messages, and what else posts a form.

use percent_encoding::percent_decode;
use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::value::RawValue;

use crate::json::{self, JsonError};

/// How many fields a form may have: a slash command has about 15, a message of Twilio's 30.
pub const MAX_FIELDS: usize = 1_000;

/// Why a body is no form that can be passed on. Carries no payload.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FormError {
    /// A replacement character would stand for what was sent.
    #[error("the form is not UTF-8 once it is decoded")]
    NotUtf8,
    /// There is not one field.
    #[error("the form is empty")]
    Empty,
    /// More fields than [`MAX_FIELDS`].
    #[error("the form has more than {MAX_FIELDS} fields")]
    TooMany,
    /// `payload` must be a JSON object.
    #[error("the form's `payload` must be a JSON object, but {0}")]
    Payload(JsonError),
}

/// `application/x-www-form-urlencoded`, whatever its parameters.
pub fn is_form(content_type: &str) -> bool {
    let essence = content_type.split(';').next().unwrap_or_default();
    essence.trim().eq_ignore_ascii_case("application/x-www-form-urlencoded")
}

/// The value of a field of a form; the first, where there are several.
pub(super) fn field(body: &[u8], name: &str) -> Option<String> {
    fields(body).ok()?.into_iter().find(|(had, _)| had == name).map(|(_, value)| value)
}

/// The names and values of a form, in order.
pub(super) fn fields(body: &[u8]) -> Result<Vec<(String, String)>, FormError> {
    // `form_urlencoded` puts U+FFFD for what isn't UTF-8. The separators are ASCII: all is UTF-8 if each field is.
    percent_decode(body).decode_utf8().map_err(|_| FormError::NotUtf8)?;
    let fields: Vec<_> = form_urlencoded::parse(body).into_owned().take(MAX_FIELDS.saturating_add(1)).collect();
    match fields.len() {
        0..=MAX_FIELDS => Ok(fields),
        _ => Err(FormError::TooMany),
    }
}

/// A form as one JSON object. If its one field is `payload` (Slack's interactive messages, GitHub's and Gitea's form
/// hooks), that is the object, to the byte; else each field is a member, a string, in order. A name that is there more
/// than once becomes an array.
pub fn object(body: &[u8]) -> Result<Box<RawValue>, FormError> {
    let fields = fields(body)?;
    if let [(name, payload)] = fields.as_slice()
        && name == "payload"
    {
        return json::object(payload.as_bytes()).map(ToOwned::to_owned).map_err(FormError::Payload);
    }
    if fields.is_empty() {
        return Err(FormError::Empty);
    }
    let mut members: Vec<(String, Vec<String>)> = Vec::new();
    for (name, value) in fields {
        match members.iter_mut().find(|(member, _)| *member == name) {
            Some((_, values)) => values.push(value),
            None => members.push((name, vec![value])),
        }
    }
    serde_json::value::to_raw_value(&Members(members))
        .map_err(|e| FormError::Payload(JsonError::Syntax { reason: e.to_string() }))
}

/// The members in the order in which each name came first.
struct Members(Vec<(String, Vec<String>)>);

impl Serialize for Members {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (name, values) in &self.0 {
            match values.as_slice() {
                [value] => map.serialize_entry(name, value)?,
                values => map.serialize_entry(name, values)?,
            }
        }
        map.end()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_slash_command_becomes_an_object_in_order() {
        let body = b"token=t&command=%2Fwebhook-collect&text=a+b%20%22c%22%0A&text=%F0%9F%98%80&empty=&bare";
        assert_eq!(
            object(body).unwrap().get(),
            r#"{"token":"t","command":"/webhook-collect","text":["a b \"c\"\n","😀"],"empty":"","bare":""}"#
        );
    }

    #[test]
    fn an_interactive_payload_is_that_object_to_the_byte() {
        let json = r#"{"n":12345678901234567890,"a":1,"a" : 2,"e":1E400}"#;
        let body = format!("payload={}", form_urlencoded::byte_serialize(json.as_bytes()).collect::<String>());
        assert_eq!(object(body.as_bytes()).unwrap().get(), json);
        let error = object(b"payload=%5B%5D").unwrap_err().to_string();
        assert_eq!(error, "the form's `payload` must be a JSON object, but it is an array, and must be a JSON object");
        // Two fields: the command named `payload` is a field like any other.
        assert_eq!(object(b"payload=%5B%5D&a=b").unwrap().get(), r#"{"payload":"[]","a":"b"}"#);
    }

    #[test]
    fn what_would_change_is_refused() {
        for body in [&b"a=%ff"[..], b"a=\xff", b"a=%C3&%A9=b", b"%C3%28"] {
            assert_eq!(object(body).unwrap_err(), FormError::NotUtf8);
        }
        assert_eq!(object(b"").unwrap_err(), FormError::Empty);
        assert_eq!(object("a&".repeat(MAX_FIELDS + 1).as_bytes()).unwrap_err(), FormError::TooMany);
    }

    #[test]
    fn a_form_is_known_by_its_type() {
        for (content_type, form) in [
            ("application/x-www-form-urlencoded", true),
            ("Application/X-WWW-Form-Urlencoded ; charset=utf-8", true),
            ("application/json", false),
            ("", false),
        ] {
            assert_eq!(is_form(content_type), form, "{content_type}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_an_object_or_refused(body in proptest::collection::vec(any::<u8>(), 0..60), text in "[a-z=&%+0-9]{0,40}") {
            for body in [body.as_slice(), text.as_bytes()] {
                if let Ok(object) = object(body) {
                    prop_assert!(json::object(object.get().as_bytes()).is_ok());
                }
            }
        }

        #[test]
        fn fields_come_back(fields in proptest::collection::vec(("\\PC{1,8}", "\\PC{0,20}"), 1..8)) {
            let body = form_urlencoded::Serializer::new(String::new()).extend_pairs(&fields).finish();
            prop_assert_eq!(super::fields(body.as_bytes()).unwrap(), fields);
        }
    }
}
