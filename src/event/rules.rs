//! Rules for the names and values of attributes (CloudEvents 1.0.2, "Context Attributes").
//!
//! Three rules are relaxed, since strict ones would reject events that all other consumers accept:
//! - URIs may contain non-ASCII characters (IRIs, RFC 3987), since the SDKs of several languages don't encode them;
//! - `dataschema` may have a fragment: RFC 3986 excludes it from `absolute-URI`, but JSON Schema uses it;
//! - an empty `subject` counts as absent.

use fluent_uri::IriRef;
use serde_json::value::RawValue;

use super::attributes::text;
use super::{EventError, MediaType, SpecVersion, timestamp};
use crate::json::{self, JsonType};

/// Maximum number of characters of a name or an id that an error repeats.
const MAX_SHOWN: usize = 64;

const NAME: &str = "is not an attribute: names consist of the letters a to z and digits \
                    (CloudEvents 1.0.2, Attribute Naming Convention)";
const STRING: &str =
    "must be valid Unicode without control characters and noncharacters (CloudEvents 1.0.2, Type System)";
const JSON_STRING: &str = "must be a string (JSON Event Format 1.0.2, section 2.2)";
const JSON_SCALAR: &str =
    "must be a string, a boolean or an integer: only `data` may be other JSON (JSON Event Format 1.0.2, section 2.2)";
const INTEGER: &str = "must be an integer from -2147483648 to 2147483647, without a fraction or an exponent \
                       (CloudEvents 1.0.2, Type System; JSON Event Format 1.0.2, section 2.2)";
const SOURCE: &str = "must be a URI-reference (CloudEvents 1.0.2, source; RFC 3986, section 4.1)";
const DATA_SCHEMA: &str = "must be an absolute URI (CloudEvents 1.0.2, dataschema; RFC 3986, section 4.3)";
const SCHEMA_URL: &str = "must be a URI-reference (CloudEvents 0.3, schemaurl; RFC 3986, section 4.1)";
const TIME: &str = "must be a date-time such as 2018-04-05T17:31:00Z (CloudEvents 1.0.2, time; RFC 3339, section 5.6)";
const TIME_ZONE: &str = "has no time zone: append `Z` if it is in UTC, or an offset such as `+02:00` \
                         (CloudEvents 1.0.2, time; RFC 3339, section 5.6)";
const DATA_CONTENT_TYPE: &str = "must be a media type (CloudEvents 1.0.2, datacontenttype; RFC 2046)";

/// A name or an id as an error repeats it: at most 64 characters, and `…` if there are more.
pub fn truncated(text: &str) -> String {
    match text.char_indices().nth(MAX_SHOWN) {
        None => text.to_owned(),
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
    }
}

/// The error for an attribute that violates `rule`.
pub(super) fn invalid(attribute: &str, rule: &'static str) -> EventError {
    EventError::Invalid { attribute: truncated(attribute), rule }
}

/// Checks the name of an attribute.
pub(super) fn check_name(name: &str) -> Result<(), EventError> {
    if is_attribute_name(name) { Ok(()) } else { Err(invalid(name, NAME)) }
}

/// Whether an attribute may have this name (CloudEvents 1.0.2, "Attribute Naming Convention").
pub fn is_attribute_name(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
}

/// Checks the value of an attribute in its canonical string form.
pub(super) fn check_text(version: SpecVersion, name: &str, value: &str) -> Result<(), EventError> {
    use SpecVersion::{V0_3, V1_0};
    let rule = match (name, version) {
        _ if !is_string(value) => STRING,
        ("source", _) if !is_uri_reference(value) => SOURCE,
        ("dataschema", V1_0) if !is_uri(value) => DATA_SCHEMA,
        ("schemaurl", V0_3) if !is_uri_reference(value) => SCHEMA_URL,
        ("time", _) if timestamp::lacks_zone(value) => TIME_ZONE,
        ("time", _) if !timestamp::is_date_time(value) => TIME,
        ("datacontenttype", _) if MediaType::parse(value).is_none() => DATA_CONTENT_TYPE,
        _ => return Ok(()),
    };
    Err(invalid(name, rule))
}

/// Checks the value of an attribute in the JSON format. `null` counts as absent.
pub(super) fn check_value(version: SpecVersion, name: &str, value: &RawValue) -> Result<(), EventError> {
    let rule = match json::type_of(value) {
        JsonType::Null => return Ok(()),
        JsonType::String => match text(value) {
            Some(text) => return check_text(version, name, &text),
            None => STRING,
        },
        _ if is_known(version, name) => JSON_STRING,
        // 0.3: "This specification places no restriction on the type or semantics of the extension attributes."
        _ if version == SpecVersion::V0_3 => return Ok(()),
        JsonType::Boolean => return Ok(()),
        JsonType::Number if value.get().parse::<i32>().is_ok() => return Ok(()),
        JsonType::Number => INTEGER,
        JsonType::Object | JsonType::Array => JSON_SCALAR,
    };
    Err(invalid(name, rule))
}

/// Whether the specification itself defines this attribute. In the JSON format, all of these are strings.
fn is_known(version: SpecVersion, name: &str) -> bool {
    match name {
        "specversion" | "id" | "source" | "type" | "subject" | "time" | "datacontenttype" => true,
        "dataschema" => version == SpecVersion::V1_0,
        "schemaurl" | "datacontentencoding" => version == SpecVersion::V0_3,
        _ => false,
    }
}

/// Whether the text is of the type String (CloudEvents 1.0.2, Type System). Surrogates can't occur in a `str`.
pub(super) fn is_string(text: &str) -> bool {
    let nonchar = |c: char| matches!(c, '\u{fdd0}'..='\u{fdef}') || u32::from(c) & 0xfffe == 0xfffe;
    !text.chars().any(|c| c.is_control() || nonchar(c))
}

/// Whether the text is a URI-reference, possibly with non-ASCII characters.
pub(super) fn is_uri_reference(text: &str) -> bool {
    IriRef::parse(text).is_ok()
}

/// Whether the text is a URI with a scheme, possibly with non-ASCII characters and a fragment.
fn is_uri(text: &str) -> bool {
    IriRef::parse(text).is_ok_and(|reference| reference.has_scheme())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_consist_of_lower_case_letters_and_digits() {
        for good in ["a", "0", "comexampleextension1", "traceparent", &"a".repeat(200)] {
            assert!(check_name(good).is_ok(), "{good}");
        }
        for bad in ["", "A", "my_ext", "my-ext", "my.ext", "é", "a b", "\"\\ud800\"", "data_base64"] {
            assert!(check_name(bad).is_err(), "{bad}");
        }
        let long = check_name(&"é".repeat(1_000)).unwrap_err().field();
        assert_eq!(long.chars().count(), MAX_SHOWN + 1, "a long name is truncated");
    }

    #[test]
    fn values_are_checked_by_the_type_of_their_attribute() {
        use SpecVersion::{V0_3, V1_0};
        for (version, name, value, good) in [
            (V1_0, "source", "/s", true),
            (V1_0, "source", "1-555-123-4567", true),
            (V1_0, "source", "urn:uuid:6e8bc430-9c3a-11d9-9669-0800200c9a66", true),
            (V1_0, "source", "mailto:cncf-wg-serverless@lists.cncf.io", true),
            (V1_0, "source", "https://[::1]:80/a?b#c", true),
            (V1_0, "source", "/größe/東京/😀", true),
            (V1_0, "source", "/a b", false),
            (V1_0, "source", "/100%", false),
            (V1_0, "source", "https://[::1", false),
            (V1_0, "source", ":a", false),
            (V1_0, "source", "<a>", false),
            (V1_0, "dataschema", "https://example.com/schema.json#/definitions/a", true),
            (V1_0, "dataschema", "urn:x:y", true),
            (V1_0, "dataschema", "https://exämple.com/ß", true),
            (V1_0, "dataschema", "/schema.json", false),
            (V1_0, "dataschema", "//a/b:c", false),
            (V1_0, "dataschema", "?a:b", false),
            (V1_0, "dataschema", "1a:b", false),
            (V1_0, "dataschema", "", false),
            (V0_3, "dataschema", "/schema.json", true),
            (V0_3, "schemaurl", "/schema.json", true),
            (V0_3, "schemaurl", "a b", false),
            (V1_0, "schemaurl", "a b", true),
            (V1_0, "time", "2018-04-05T17:31:00Z", true),
            (V1_0, "time", "2018-04-05 17:31:00Z", false),
            (V1_0, "time", "", false),
            (V1_0, "datacontenttype", "text/plain; charset=\"utf-8\"", true),
            (V1_0, "datacontenttype", "json", false),
            (V1_0, "datacontenttype", "", false),
            (V1_0, "subject", "", true),
            (V1_0, "myext", "", true),
            (V1_0, "myext", "\u{7f}", false),
            (V1_0, "myext", "\u{85}", false),
            (V1_0, "myext", "\n", false),
            (V1_0, "myext", "\u{fffe}", false),
            (V1_0, "myext", "\u{10ffff}", false),
            (V1_0, "myext", "\u{fdd0}", false),
            (V1_0, "myext", "\u{fffd} \u{e000} \u{1f600}", true),
        ] {
            let result = check_text(version, name, value);
            assert_eq!(result.is_ok(), good, "{name} {value:?}");
            if let Err(error) = result {
                assert_eq!(error.field(), name, "{value:?}");
                assert!(error.to_string().contains("CloudEvents "), "{error}");
            }
        }
    }

    #[test]
    fn time_without_zone_is_named() {
        for (value, names_zone) in [
            ("2018-04-05T17:31:00", true),
            ("2018-04-05T17:31:00.123456", true),
            ("2018-04-05t17:31:00", true),
            ("2018-04-05 17:31:00", true),
            ("2018-04-05 17:31:00.5", true),
            ("2018-04-05", false),
            ("2018-04-05T17:31", false),
            ("2018-04-05T17:31:00+0200", false),
            ("2018-13-05T17:31:00", false),
            ("2018-04-05 17:31:00Z", false),
        ] {
            for version in [SpecVersion::V1_0, SpecVersion::V0_3] {
                let error = check_text(version, "time", value).unwrap_err().to_string();
                assert_eq!(error.contains("has no time zone: append `Z`"), names_zone, "{value}: {error}");
            }
        }
    }

    #[test]
    fn json_types_are_checked_by_attribute() {
        use SpecVersion::{V0_3, V1_0};
        for (version, name, value, good) in [
            (V1_0, "x", "true", true),
            (V1_0, "x", "5", true),
            (V1_0, "x", "-0", true),
            (V1_0, "x", "2147483647", true),
            (V1_0, "x", "-2147483648", true),
            (V1_0, "x", "2147483648", false),
            (V1_0, "x", "-2147483649", false),
            (V1_0, "x", "1.0", false),
            (V1_0, "x", "1e5", false),
            (V1_0, "x", "{}", false),
            (V1_0, "x", "[1]", false),
            (V1_0, "x", "null", true),
            (V1_0, "x", r#""\ud83d\ude00""#, true),
            (V1_0, "x", r#""\udead""#, false),
            (V1_0, "x", r#""\u0000""#, false),
            (V1_0, "id", "5", false),
            (V1_0, "time", "1522949460", false),
            (V1_0, "schemaurl", "5", true),
            (V0_3, "x", r#"{"othervalue":5.5}"#, true),
            (V0_3, "x", "[1e5]", true),
            (V0_3, "x", r#""\udead""#, false),
            (V0_3, "schemaurl", "5", false),
        ] {
            let raw: &RawValue = serde_json::from_str(value).unwrap();
            assert_eq!(check_value(version, name, raw).is_ok(), good, "{name} {value}");
        }
    }
}
