//! The binary mode: the attributes are `ce-` headers, the body is the data (HTTP Protocol Binding 1.0.2, section 3.1).

use std::borrow::Cow;

use http::{HeaderMap, HeaderValue};
use percent_encoding::percent_decode_str;
use serde::Serialize;
use serde::ser::{SerializeMap, Serializer};
use serde_json::value::RawValue;

use super::{Event, EventError, MediaType, required};
use crate::json;

/// What the body is in the JSON format (JSON Event Format 1.0.2, section 3.1).
enum Data<'a> {
    Absent,
    Json(&'a RawValue),
    Text(&'a str),
    Base64(String),
}

pub(super) fn read<'a>(
    content_type: Option<&MediaType>,
    headers: &HeaderMap,
    body: &'a [u8],
) -> Result<Event<'a>, EventError> {
    let mut attributes = attributes(headers)?;
    let mut take = |name: &str| {
        let at = attributes.iter().position(|(attribute, _)| attribute == name)?;
        Some(attributes.swap_remove(at).1)
    };
    let [id, source, kind] = required(|name| Ok(take(name)))?;
    let subject = take("subject").filter(|subject| !subject.is_empty());
    if take("datacontenttype").is_some() {
        let rule = "is the Content-Type header in binary mode (HTTP Protocol Binding 1.0.2, section 3.1.1)";
        return Err(EventError::Invalid { attribute: "datacontenttype".to_owned(), rule });
    }
    attributes.sort();

    let data = data(content_type, body)?;
    let whole = Whole {
        id: &id,
        source: &source,
        kind: &kind,
        subject: subject.as_deref(),
        attributes,
        content_type,
        data: &data,
    };
    // Strings and checked JSON always serialize.
    let json = serde_json::value::to_raw_value(&whole)
        .map_err(|e| EventError::Body(json::JsonError::Syntax { reason: e.to_string() }))?;
    let data = match data {
        Data::Absent => None,
        Data::Json(raw) => Some(Cow::Borrowed(raw)),
        Data::Text(text) => serde_json::value::to_raw_value(text).ok().map(Cow::Owned),
        Data::Base64(text) => serde_json::value::to_raw_value(&text).ok().map(Cow::Owned),
    };
    Ok(Event { id, source, kind, subject, json: Cow::Owned(json), data })
}

fn data<'a>(content_type: Option<&MediaType>, body: &'a [u8]) -> Result<Data<'a>, EventError> {
    if body.is_empty() {
        return Ok(Data::Absent);
    }
    // No content type: bytes of an unknown kind (RFC 9110, section 8.3).
    let Some(content_type) = content_type else { return Ok(base64(body)) };
    if content_type.is_json() {
        return json::value(body).map(Data::Json).map_err(EventError::Data);
    }
    if content_type.is_binary() || !content_type.is_utf8() {
        return Ok(base64(body));
    }
    Ok(std::str::from_utf8(body).map_or_else(|_| base64(body), Data::Text))
}

fn base64<'a>(body: &[u8]) -> Data<'a> {
    Data::Base64(data_encoding::BASE64.encode(body))
}

/// The `ce-` headers, decoded, in no order.
fn attributes(headers: &HeaderMap) -> Result<Vec<(String, String)>, EventError> {
    let mut attributes: Vec<(String, String)> = Vec::new();
    for (name, value) in headers {
        let Some(attribute) = name.as_str().strip_prefix("ce-") else { continue };
        if attributes.iter().any(|(seen, _)| seen == attribute) {
            return Err(EventError::Repeated { attribute: attribute.to_owned() });
        }
        if matches!(attribute, "data" | "data_base64") {
            let rule =
                "is no attribute: in binary mode the data is the body (HTTP Protocol Binding 1.0.2, section 3.1.2)";
            return Err(EventError::Invalid { attribute: attribute.to_owned(), rule });
        }
        let value = decode(value).map_err(|rule| EventError::Invalid { attribute: attribute.to_owned(), rule })?;
        attributes.push((attribute.to_owned(), value));
    }
    Ok(attributes)
}

/// Section 3.1.3.2: first a quoted string is unescaped, then one round of percent-decoding.
fn decode(value: &HeaderValue) -> Result<String, &'static str> {
    let text = std::str::from_utf8(value.as_bytes())
        .map_err(|_| "must be UTF-8 (HTTP Protocol Binding 1.0.2, section 3.1.3.2)")?;
    let text = match text.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) {
        Some(quoted) => Cow::Owned(unescape(quoted)),
        None => Cow::Borrowed(text),
    };
    let decoded = percent_decode_str(&text)
        .decode_utf8()
        .map_err(|_| "must be valid UTF-8 once percent-decoded (HTTP Protocol Binding 1.0.2, section 3.1.3.2)")?;
    match decoded.chars().any(char::is_control) {
        true => Err("must not have control characters (CloudEvents 1.0.2, Type System)"),
        false => Ok(decoded.into_owned()),
    }
}

/// `quoted-pair` of RFC 9110, section 5.6.4.
fn unescape(quoted: &str) -> String {
    let mut plain = String::with_capacity(quoted.len());
    let mut chars = quoted.chars();
    while let Some(c) = chars.next() {
        plain.push(if c == '\\' { chars.next().unwrap_or('\\') } else { c });
    }
    plain
}

/// The whole event in the JSON format.
struct Whole<'a, 'd> {
    id: &'a str,
    source: &'a str,
    kind: &'a str,
    subject: Option<&'a str>,
    attributes: Vec<(String, String)>,
    content_type: Option<&'a MediaType>,
    data: &'a Data<'d>,
}

impl Serialize for Whole<'_, '_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("specversion", "1.0")?;
        map.serialize_entry("id", self.id)?;
        map.serialize_entry("source", self.source)?;
        map.serialize_entry("type", self.kind)?;
        if let Some(subject) = self.subject {
            map.serialize_entry("subject", subject)?;
        }
        for (name, value) in &self.attributes {
            map.serialize_entry(name, value)?;
        }
        if let Some(content_type) = self.content_type {
            map.serialize_entry("datacontenttype", content_type.as_str())?;
        }
        match self.data {
            Data::Absent => {}
            Data::Json(raw) => map.serialize_entry("data", raw)?,
            Data::Text(text) => map.serialize_entry("data", text)?,
            Data::Base64(text) => map.serialize_entry("data_base64", text)?,
        }
        map.end()
    }
}

#[cfg(test)]
mod tests {
    use percent_encoding::AsciiSet;
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_the_specification_encodes_comes_back(value in "\\PC{0,40}") {
            // Section 3.1.3.2: space, double quote, percent, and all but printable ASCII are encoded.
            const ENCODED: &AsciiSet = &percent_encoding::CONTROLS.add(b' ').add(b'"').add(b'%');
            let header = percent_encoding::utf8_percent_encode(&value, ENCODED).to_string();
            prop_assert_eq!(decode(&HeaderValue::from_str(&header).unwrap()), Ok(value));
        }

        #[test]
        fn any_header_is_read_or_refused(bytes in proptest::collection::vec(0x20_u8..=0xff, 0..40)) {
            if let Ok(header) = HeaderValue::from_bytes(&bytes)
                && let Ok(value) = decode(&header)
            {
                prop_assert!(!value.chars().any(char::is_control));
            }
        }
    }

    #[test]
    fn header_values_are_unquoted_then_percent_decoded_once() {
        for (header, value) in [
            ("Euro%20%E2%82%AC%20%F0%9F%98%80", "Euro € 😀"),
            ("%e2%82%ac", "€"),
            ("\"a \\\"b\\\" \\\\c\"", "a \"b\" \\c"),
            ("\"%2520\"", "%20"),
            ("100%", "100%"),
            ("plain", "plain"),
            ("\"", "\""),
        ] {
            assert_eq!(decode(&HeaderValue::from_str(header).unwrap()).unwrap(), value, "{header}");
        }
        for header in ["%C0%A0", "%ff", "%00", "a%0Ab"] {
            assert!(decode(&HeaderValue::from_str(header).unwrap()).is_err(), "{header}");
        }
    }
}
