//! Form bodies, converted to JSON objects: Slack's slash commands and interactive messages, and other senders that post
//! forms.

use percent_encoding::percent_decode;
use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::value::RawValue;

use crate::json::{self, JsonError};

/// Maximum number of fields in a form. A slash command has about 15, and a message from Twilio about 30.
pub const MAX_FORM_FIELDS: usize = 1_000;

/// The reason why a form can't be passed on. Carries no part of the form.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FormError {
    /// The form is not UTF-8 after percent-decoding. With replacement characters, its meaning would change.
    #[error("the form is not UTF-8 once it is decoded")]
    NotUtf8,
    /// The form has no field.
    #[error("the form is empty")]
    Empty,
    /// The form has more than [`MAX_FORM_FIELDS`] fields.
    #[error("the form has more than {MAX_FORM_FIELDS} fields")]
    TooMany,
    /// The form is JSON, which was sent with the content type of a form.
    #[error("the body is JSON, not a form: send it with the Content-Type `application/json`")]
    Json,
    /// The only field is `payload`, and it is not a JSON object.
    #[error("the form's `payload` must be a JSON object, but {0}")]
    Payload(JsonError),
}

/// Returns whether the content type is `application/x-www-form-urlencoded`, with any parameters.
pub fn is_form(content_type: &str) -> bool {
    let essence = content_type.split(';').next().unwrap_or_default();
    essence.trim().eq_ignore_ascii_case("application/x-www-form-urlencoded")
}

/// The names and values of a form, in order.
pub(super) fn fields(body: &[u8]) -> Result<Vec<(String, String)>, FormError> {
    // `form_urlencoded` would replace invalid UTF-8 with U+FFFD. The separators are ASCII, so the decoded body is UTF-8
    // if and only if each field is.
    percent_decode(body).decode_utf8().map_err(|_| FormError::NotUtf8)?;
    let fields: Vec<_> = form_urlencoded::parse(body).into_owned().take(MAX_FORM_FIELDS.saturating_add(1)).collect();
    if fields.len() > MAX_FORM_FIELDS {
        return Err(FormError::TooMany);
    }
    Ok(fields)
}

/// The names and values of a form that is an event, in order and without a byte order mark.
///
/// A body that is JSON is an error. As a form it would have a single field, whose name is the whole text, or fields that
/// begin and end at each `=` and `&` in it.
pub(super) fn event_fields(body: &[u8]) -> Result<Vec<(String, String)>, FormError> {
    let mut fields = fields(body)?;
    let Some((name, value)) = fields.first_mut() else { return Err(FormError::Empty) };
    if let Some(unmarked) = name.strip_prefix('\u{feff}') {
        *name = unmarked.to_owned();
    }
    let begins = |c| name.trim_start().starts_with(c);
    let is_alone = value.is_empty() && !body.contains(&b'=');
    let is_json = || percent_decode(body).decode_utf8().is_ok_and(|text| json::value(text.as_bytes()).is_ok());
    if (begins('{') || begins('[')) && (is_alone || json::value(body).is_ok() || is_json()) {
        return Err(FormError::Json);
    }
    Ok(fields)
}

/// Converts a form to a JSON object. If `payload` is the only field (Slack's interactive messages, form hooks of GitHub
/// and Gitea), its value is that object, byte for byte. Otherwise each field becomes a member whose value is a string,
/// in order; fields with the same name become one member whose value is an array of strings.
pub fn object(body: &[u8]) -> Result<Box<RawValue>, FormError> {
    let fields = event_fields(body)?;
    if let [(name, payload)] = fields.as_slice()
        && name == "payload"
    {
        return json::object(payload.as_bytes()).map(ToOwned::to_owned).map_err(FormError::Payload);
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

/// The values of each name, in the order in which the names first occur.
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
    fn slash_command_becomes_object_in_order() {
        let body = b"token=t&command=%2Fwebhook-collect&text=a+b%20%22c%22%0A&text=%F0%9F%98%80&empty=&bare";
        assert_eq!(
            object(body).unwrap().get(),
            r#"{"token":"t","command":"/webhook-collect","text":["a b \"c\"\n","😀"],"empty":"","bare":""}"#
        );
    }

    #[test]
    fn payload_field_alone_is_the_object_byte_for_byte() {
        let json = r#"{"n":12345678901234567890,"a":1,"a" : 2,"e":1E400}"#;
        let body = format!("payload={}", form_urlencoded::byte_serialize(json.as_bytes()).collect::<String>());
        assert_eq!(object(body.as_bytes()).unwrap().get(), json);
        let error = object(b"payload=%5B%5D").unwrap_err().to_string();
        assert_eq!(error, "the form's `payload` must be a JSON object, but it is an array, and must be a JSON object");
        // Beside another field, `payload` is a field like any other.
        assert_eq!(object(b"payload=%5B%5D&a=b").unwrap().get(), r#"{"payload":"[]","a":"b"}"#);
    }

    #[test]
    fn form_that_would_change_is_rejected() {
        for body in [&b"a=%ff"[..], b"a=\xff", b"a=%C3&%A9=b", b"%C3%28"] {
            assert_eq!(object(body).unwrap_err(), FormError::NotUtf8, "{}", body.escape_ascii());
        }
        assert_eq!(object(b"").unwrap_err(), FormError::Empty);
        assert_eq!(object("a&".repeat(MAX_FORM_FIELDS + 1).as_bytes()).unwrap_err(), FormError::TooMany);
    }

    #[test]
    fn json_under_the_type_of_a_form_is_named() {
        for body in [
            r#"{"a":1}"#,
            r#" {"a":"b=c&d=e"} "#,
            "{\n  \"a\": 1\n}\n",
            "\u{feff}{\"a\":1}",
            "[1,2]",
            "%7B%22a%22%3A1%7D",
            "%7B%22a%22%3A%22b%3Dc%22%7D",
            r#"{"a":"100%"}"#,
            "{\"a\":",
            r#"{"a":1}&"#,
        ] {
            assert_eq!(object(body.as_bytes()).unwrap_err(), FormError::Json, "{body}");
        }
        for (body, json) in [
            ("%7Ba%7D=1", r#"{"{a}":"1"}"#),
            ("[0]=a&[1]=b", r#"{"[0]":"a","[1]":"b"}"#),
            ("a=%7B%7D", r#"{"a":"{}"}"#),
            ("a={}", r#"{"a":"{}"}"#),
            ("a&{}", r#"{"a":"","{}":""}"#),
            ("1", r#"{"1":""}"#),
        ] {
            assert_eq!(object(body.as_bytes()).unwrap().get(), json, "{body}");
        }
    }

    #[test]
    fn byte_order_mark_is_no_part_of_a_name_or_payload() {
        for body in ["\u{feff}a=1&b=2", "%EF%BB%BFa=1&b=2", "%ef%bb%bfa=1&b=2", "\u{feff}%61=1&b=2", "\u{feff}&a=1&b=2"]
        {
            let expected = if body.contains('&') && body.starts_with("\u{feff}&") {
                r#"{"":"","a":"1","b":"2"}"#
            } else {
                r#"{"a":"1","b":"2"}"#
            };
            assert_eq!(object(body.as_bytes()).unwrap().get(), expected, "{body:?}");
        }
        for body in ["\u{feff}payload=%7B%7D", "payload=%EF%BB%BF%7B%7D", "%EF%BB%BFpayload=\u{feff}{}"] {
            assert_eq!(object(body.as_bytes()).unwrap().get(), "{}", "{body:?}");
        }
        // The signature covers the mark.
        assert_eq!(fields("\u{feff}a=1".as_bytes()).unwrap(), [("\u{feff}a".to_owned(), "1".to_owned())]);
    }

    #[test]
    fn form_is_recognized_by_its_content_type() {
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
        fn any_body_becomes_an_object_or_an_error(body in proptest::collection::vec(any::<u8>(), 0..60), text in "[a-z=&%+0-9]{0,40}") {
            for body in [body.as_slice(), text.as_bytes()] {
                if let Ok(object) = object(body) {
                    prop_assert!(json::object(object.get().as_bytes()).is_ok());
                }
            }
        }

        #[test]
        fn fields_round_trip(fields in proptest::collection::vec(("\\PC{1,8}", "\\PC{0,20}"), 1..8)) {
            let body = form_urlencoded::Serializer::new(String::new()).extend_pairs(&fields).finish();
            prop_assert_eq!(super::fields(body.as_bytes()).unwrap(), fields);
        }
    }
}
