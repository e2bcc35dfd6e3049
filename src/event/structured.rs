//! The structured content mode: the body is the event in the JSON format (1.0.2, and 0.3 where it differs).

use std::borrow::Cow;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::value::RawValue;

use super::attributes::{Attributes, text};
use super::{Event, EventError, SpecVersion, required, rules};
use crate::json::{self, JsonError, JsonType, Unchecked};

/// Reads an event from a body.
pub(super) fn read<'b>(body: impl Into<Unchecked<'b>>) -> Result<Event<'b>, EventError> {
    event(json::object(body).map_err(|error| match error {
        JsonError::NotObject { found: JsonType::Array } => EventError::Batch,
        error => EventError::Body(error),
    })?)
}

/// Reads an event from a checked JSON object.
pub(super) fn event(whole: &RawValue) -> Result<Event<'_>, EventError> {
    let members = Attributes::of(whole);
    let string = |name: &'static str| {
        let Some(value) = members.non_null(name)? else { return Ok(None) };
        // The version isn't known yet, but both versions have the same rules for these attributes.
        rules::check_value(SpecVersion::V1_0, name, value)?;
        Ok(text(value).map(Cow::into_owned))
    };
    // Required attributes come first: the error for an object that isn't an event names a missing attribute rather than
    // some member with an invalid name.
    let (version, [id, source, kind]) = required(string)?;
    for (name, value) in members.members() {
        // Duplicates of any name are rejected: filters and workflows must see the same value.
        members.one(name)?;
        if !matches!(name, "data" | "data_base64") {
            rules::check_name(name)?;
            rules::check_value(version, name, value)?;
        }
    }
    let subject = members.get("subject").map(Cow::into_owned);
    let data = checked_data(version, &members)?.map(Cow::Borrowed);
    Ok(Event { version, id, source, kind, subject, json: Cow::Borrowed(whole), data })
}

/// The data of an event that was checked when it was read.
pub(super) fn data(whole: &RawValue) -> Option<&RawValue> {
    let members = Attributes::of(whole);
    members.one("data").ok().flatten().or_else(|| members.non_null("data_base64").ok().flatten())
}

/// The data, checked by the rules of JSON Event Format 1.0.2, section 3.1.
///
/// In 0.3, `datacontentencoding` applies only to data that is a string, and `data_base64` is accepted as well, since
/// the JavaScript SDK sends it.
fn checked_data<'a>(version: SpecVersion, members: &Attributes<'a>) -> Result<Option<&'a RawValue>, EventError> {
    match (members.one("data")?, members.non_null("data_base64")?) {
        (Some(_), Some(_)) => Err(rules::invalid(
            "data_base64",
            "must not occur together with `data` (JSON Event Format 1.0.2, section 3.1)",
        )),
        (None, Some(encoded)) if text(encoded).is_some_and(|text| is_base64(&text)) => Ok(Some(encoded)),
        (None, Some(_)) => {
            Err(rules::invalid("data_base64", "must be a string in base64 (JSON Event Format 1.0.2, section 3.1)"))
        }
        (Some(data), None) if version == SpecVersion::V0_3 && json::type_of(data) == JsonType::String => {
            if let Some(encoding) = members.get("datacontentencoding") {
                check_encoding(&encoding)?;
                if !text(data).is_some_and(|text| is_base64_mime(&text)) {
                    let rule =
                        "must be in base64, as `datacontentencoding` says (CloudEvents 0.3, datacontentencoding)";
                    return Err(rules::invalid("data", rule));
                }
            }
            Ok(Some(data))
        }
        (data, None) => Ok(data),
    }
}

/// Checks the value of `datacontentencoding`. Base64 is the only encoding that 0.3 defines.
pub(super) fn check_encoding(encoding: &str) -> Result<(), EventError> {
    if encoding.eq_ignore_ascii_case("base64") {
        Ok(())
    } else {
        Err(rules::invalid("datacontentencoding", "must be \"base64\" (CloudEvents 0.3, datacontentencoding)"))
    }
}

/// Whether the text is base64 (RFC 4648, section 4) with padding.
pub(super) fn is_base64(text: &str) -> bool {
    BASE64_STANDARD.decode(text).is_ok()
}

/// Whether the text is base64 with padding, possibly split into lines (RFC 2045, section 6.8).
pub(super) fn is_base64_mime(text: &str) -> bool {
    let is_break = |c| matches!(c, '\r' | '\n');
    if text.contains(is_break) { is_base64(&text.replace(is_break, "")) } else { is_base64(text) }
}
