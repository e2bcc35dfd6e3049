//! The binary content mode: the attributes are `ce-` headers, and the body is the data (HTTP Protocol Binding 1.0.2,
//! section 3.1).

use std::borrow::Cow;
use std::collections::BTreeMap;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue};
use percent_encoding::percent_decode_str;
use serde::Serialize;
use serde::ser::{SerializeMap, Serializer};
use serde_json::value::RawValue;

use super::rules::{check_name, check_text, invalid, is_uri_reference};
use super::structured::{check_encoding, is_base64_mime};
use super::{Event, EventError, MediaType, SpecVersion, required};
use crate::json::{self, Unchecked};

/// The data in the JSON format (JSON Event Format 1.0.2, section 3.1).
enum Data<'a> {
    Absent,
    Json(&'a RawValue),
    Text(&'a str),
    Base64(Cow<'a, str>),
}

/// Reads an event from the headers and the body.
pub(super) fn read<'a>(
    content_type: Option<&MediaType>,
    headers: &HeaderMap,
    body: impl Into<Unchecked<'a>>,
) -> Result<Event<'a>, EventError> {
    if content_type.is_none() && headers.get(CONTENT_TYPE).is_some_and(|value| !value.is_empty()) {
        let rule = "must be a media type: it is the Content-Type header (HTTP Protocol Binding 1.0.2, section 2.1)";
        return Err(invalid("datacontenttype", rule));
    }
    let mut attributes = attributes(headers)?;
    let (version, [id, source, kind]) = required(|name| Ok(attributes.remove(name)))?;
    let subject = attributes.remove("subject").filter(|subject| !subject.is_empty());
    for (name, value) in [("id", &id), ("source", &source), ("type", &kind)] {
        check_text(version, name, value)?;
    }
    if let Some(subject) = &subject {
        check_text(version, "subject", subject)?;
    }
    for (name, value) in &attributes {
        check_name(name)?;
        check_text(version, name, value)?;
    }
    let encoding = match version {
        SpecVersion::V1_0 => None,
        SpecVersion::V0_3 => attributes.remove("datacontentencoding"),
    };
    let data = match encoding.as_deref().map(check_encoding).transpose()? {
        Some(()) => encoded(content_type, body.into())?,
        None => plain(content_type, body.into())?,
    };
    let whole = Whole {
        version,
        id: &id,
        source: &source,
        kind: &kind,
        subject: subject.as_deref(),
        attributes,
        content_type,
        data: &data,
    };
    // Never fails: strings and checked JSON always serialize.
    let json = serde_json::value::to_raw_value(&whole)
        .map_err(|e| EventError::Body(json::JsonError::Syntax { reason: e.to_string() }))?;
    let data = match data {
        Data::Absent => None,
        Data::Json(raw) => Some(Cow::Borrowed(raw)),
        Data::Text(text) => serde_json::value::to_raw_value(text).ok().map(Cow::Owned),
        Data::Base64(text) => serde_json::value::to_raw_value(&text).ok().map(Cow::Owned),
    };
    Ok(Event { version, id, source, kind, subject, json: Cow::Owned(json), data })
}

/// The data by its content type: JSON, UTF-8 text, or else base64. A byte order mark is no part of JSON or text.
fn plain<'a>(content_type: Option<&MediaType>, unchecked: Unchecked<'a>) -> Result<Data<'a>, EventError> {
    let body = unchecked.bytes();
    if body.is_empty() {
        return Ok(Data::Absent);
    }
    // Without a content type, the body is bytes of an unknown type (RFC 9110, section 8.3).
    let Some(content_type) = content_type else { return Ok(base64(body)) };
    if content_type.is_json() {
        // The data becomes a member of the event.
        return json::inner(unchecked).map(Data::Json).map_err(EventError::Data);
    }
    if content_type.is_binary() || !content_type.is_utf8() {
        return Ok(base64(body));
    }
    Ok(std::str::from_utf8(body).map_or_else(|_| base64(body), |text| Data::Text(json::without_mark(text))))
}

/// The data of an event of 0.3 with `ce-datacontentencoding: base64`. Some senders put the base64 text into the body;
/// others send the decoded bytes, since the binding says that the body is the data (0.3, section 3.1.2).
///
/// If the content type is JSON and the body is valid JSON, the encoding "MUST be ignored". Otherwise, a body that is
/// valid base64 is taken as base64 text, and any other body as if it had no encoding.
fn encoded<'a>(content_type: Option<&MediaType>, body: Unchecked<'a>) -> Result<Data<'a>, EventError> {
    let plain = plain(content_type, body);
    match &plain {
        Ok(Data::Absent | Data::Json(_)) => plain,
        _ => match std::str::from_utf8(body.bytes()) {
            Ok(text) if is_base64_mime(text) => Ok(Data::Base64(Cow::Borrowed(text))),
            _ => plain,
        },
    }
}

/// Bytes, encoded for the JSON format.
fn base64<'a>(body: &[u8]) -> Data<'a> {
    Data::Base64(Cow::Owned(BASE64_STANDARD.encode(body)))
}

/// The decoded `ce-` headers by attribute name.
fn attributes(headers: &HeaderMap) -> Result<BTreeMap<String, String>, EventError> {
    let mut attributes = BTreeMap::new();
    let is_v0_3 = headers.get("ce-specversion").is_some_and(|value| decode(false, value).is_ok_and(|v| v == "0.3"));
    for (name, value) in headers {
        let Some(name) = name.as_str().strip_prefix("ce-") else { continue };
        let rule = match name {
            "datacontenttype" => {
                "must be sent as the Content-Type header in binary mode (HTTP Protocol Binding 1.0.2, section 3.1.1)"
            }
            "data" | "data_base64" => {
                "is not an attribute: in binary mode the data is the body (HTTP Protocol Binding 1.0.2, section 3.1.2)"
            }
            _ => "",
        };
        if !rule.is_empty() {
            return Err(invalid(name, rule));
        }
        let is_uri = name == "source" || name == if is_v0_3 { "schemaurl" } else { "dataschema" };
        let value = decode(is_uri, value).map_err(|rule| invalid(name, rule))?;
        if attributes.insert(name.to_owned(), value).is_some() {
            return Err(EventError::Repeated { attribute: name.to_owned() });
        }
    }
    Ok(attributes)
}

/// Decodes a header value (section 3.1.3.2): unescapes a quoted string, then percent-decodes once.
///
/// Values of 0.3 are decoded in the same way, although that version allows unencoded spaces and quotes. The Go SDK
/// doesn't encode at all: its URI `/a%20b` would become `/a b`, which is not a URI. A URI that decoding would make
/// invalid is therefore taken as it was sent.
fn decode(is_uri: bool, value: &HeaderValue) -> Result<String, &'static str> {
    let text = std::str::from_utf8(value.as_bytes())
        .map_err(|_| "must be UTF-8 (HTTP Protocol Binding 1.0.2, section 3.1.3.2)")?;
    let text = unquoted(text).map_or(Cow::Borrowed(text), Cow::Owned);
    let decoded = percent_decode_str(&text)
        .decode_utf8()
        .map_err(|_| "must be valid UTF-8 once percent-decoded (HTTP Protocol Binding 1.0.2, section 3.1.3.2)")?;
    if decoded.chars().any(char::is_control) {
        return Err("must not contain control characters (CloudEvents 1.0.2, Type System)");
    }
    let as_sent = is_uri && !is_uri_reference(&decoded) && is_uri_reference(&text);
    Ok(if as_sent { text.into_owned() } else { decoded.into_owned() })
}

/// The text of a `quoted-string` (RFC 9110, section 5.6.4); `None` if the value isn't one.
fn unquoted(text: &str) -> Option<String> {
    let quoted = text.strip_prefix('"')?.strip_suffix('"')?;
    let mut plain = String::with_capacity(quoted.len());
    let mut chars = quoted.chars();
    while let Some(c) = chars.next() {
        match c {
            '"' => return None,
            '\\' => plain.push(chars.next()?),
            _ => plain.push(c),
        }
    }
    Some(plain)
}

/// The whole event in the JSON format.
struct Whole<'a, 'd> {
    version: SpecVersion,
    id: &'a str,
    source: &'a str,
    kind: &'a str,
    subject: Option<&'a str>,
    attributes: BTreeMap<String, String>,
    content_type: Option<&'a MediaType>,
    data: &'a Data<'d>,
}

impl Serialize for Whole<'_, '_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("specversion", self.version.as_str())?;
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
            // A header may contain tabs, but an attribute must not.
            map.serialize_entry("datacontenttype", &content_type.as_str().replace('\t', " "))?;
        }
        match self.data {
            Data::Absent => {}
            Data::Json(raw) => map.serialize_entry("data", raw)?,
            Data::Text(text) => map.serialize_entry("data", text)?,
            Data::Base64(text) if self.version == SpecVersion::V0_3 => {
                map.serialize_entry("datacontentencoding", "base64")?;
                map.serialize_entry("data", text)?;
            }
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
        fn value_encoded_by_the_specification_round_trips(value in "\\PC{0,40}") {
            // Section 3.1.3.2 encodes spaces, double quotes, percent signs, and all characters except printable ASCII.
            const ENCODED: &AsciiSet = &percent_encoding::CONTROLS.add(b' ').add(b'"').add(b'%');
            let header = percent_encoding::utf8_percent_encode(&value, ENCODED).to_string();
            prop_assert_eq!(decode(false, &HeaderValue::from_str(&header).unwrap()), Ok(value));
        }

        #[test]
        fn any_header_value_is_decoded_or_rejected(bytes in proptest::collection::vec(0x20_u8..=0xff, 0..40)) {
            if let Ok(header) = HeaderValue::from_bytes(&bytes)
                && let Ok(value) = decode(false, &header)
            {
                prop_assert!(!value.chars().any(char::is_control));
            }
        }
    }

    #[test]
    fn accepted_event_is_no_deeper_than_a_structured_one_may_be() {
        let headers = [("ce-specversion", "1.0"), ("ce-id", "1"), ("ce-source", "/s"), ("ce-type", "t")];
        let headers = headers.into_iter().map(|(n, v)| (n.parse().unwrap(), HeaderValue::from_static(v))).collect();
        let media_type = MediaType::parse("application/json");
        let nested = |levels: usize| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
        let body = nested(json::MAX_DEPTH - 1);
        let event = read(media_type.as_ref(), &headers, body.as_bytes()).unwrap();
        assert!(super::super::structured::read(event.json.get().as_bytes()).is_ok());
        let body = nested(json::MAX_DEPTH);
        let error = read(media_type.as_ref(), &headers, body.as_bytes()).unwrap_err();
        assert_eq!(error, EventError::Data(json::JsonError::TooDeep { max: json::MAX_DEPTH - 1 }));
    }

    #[test]
    fn header_values_are_unquoted_then_percent_decoded_once() {
        for (header, value) in [
            ("Euro%20%E2%82%AC%20%F0%9F%98%80", "Euro € 😀"),
            ("%e2%82%ac", "€"),
            ("\"a \\\"b\\\" \\\\c\"", "a \"b\" \\c"),
            ("\"%2520\"", "%20"),
            ("\"\"", ""),
            ("\"a\\\"", "\"a\\\""),
            ("\"a\" or \"b\"", "\"a\" or \"b\""),
            ("\\\"a", "\\\"a"),
            ("%zz%2", "%zz%2"),
            ("a+b", "a+b"),
            ("é", "é"),
            ("100%", "100%"),
            ("plain", "plain"),
            ("\"", "\""),
        ] {
            assert_eq!(decode(false, &HeaderValue::from_bytes(header.as_bytes()).unwrap()).unwrap(), value, "{header}");
        }
        for header in ["%C0%A0", "%ff", "%00", "a%0Ab"] {
            assert!(decode(false, &HeaderValue::from_str(header).unwrap()).is_err(), "{header}");
        }
        assert!(decode(false, &HeaderValue::from_bytes(b"a\xff").unwrap()).is_err(), "bytes that are not UTF-8");
    }
}
