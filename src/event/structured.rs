//! The structured mode: the body is the event in the JSON format (JSON Event Format 1.0.2; 0.3's is read where it differs).

use std::borrow::Cow;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::value::RawValue;

use super::attributes::{Attributes, text};
use super::{Event, EventError, SpecVersion, required, rules};
use crate::json;

pub(super) fn read(body: &[u8]) -> Result<Event<'_>, EventError> {
    event(json::object(body).map_err(EventError::Body)?)
}

/// An event, which is a checked JSON object.
pub(super) fn event(whole: &RawValue) -> Result<Event<'_>, EventError> {
    let members = Attributes::of(whole);
    let string = |name: &'static str| {
        let Some(value) = members.present(name)? else { return Ok(None) };
        // The version is not known yet; what these are doesn't hang on it.
        rules::check_value(SpecVersion::V1_0, name, value)?;
        Ok(text(value).map(Cow::into_owned))
    };
    // First what makes it an event at all, so that an object of another kind is told that, and not of some member's name.
    let (version, [id, source, kind]) = required(string)?;
    for (name, value) in members.members() {
        // Of any name, for what a filter sees and what a workflow sees must be one.
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

/// The data of an event that was read before.
pub(super) fn data(whole: &RawValue) -> Option<&RawValue> {
    let members = Attributes::of(whole);
    members.one("data").ok().flatten().or_else(|| members.present("data_base64").ok().flatten())
}

/// JSON Event Format 1.0.2, section 3.1. `data_base64` is taken in 0.3 too: the JavaScript SDK sends it there.
fn checked_data<'a>(version: SpecVersion, members: &Attributes<'a>) -> Result<Option<&'a RawValue>, EventError> {
    match (members.one("data")?, members.present("data_base64")?) {
        (Some(_), Some(_)) => {
            Err(rules::invalid("data_base64", "must not stand beside `data` (JSON Event Format 1.0.2, section 3.1)"))
        }
        (None, Some(encoded)) if text(encoded).is_some_and(|text| is_base64(&text)) => Ok(Some(encoded)),
        (None, Some(_)) => {
            Err(rules::invalid("data_base64", "must be a string in base64 (JSON Event Format 1.0.2, section 3.1)"))
        }
        (Some(data), None) if version == SpecVersion::V0_3 && json::type_of(data) == "a string" => {
            if let Some(encoding) = members.get("datacontentencoding") {
                is_encoding(&encoding)?;
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

/// 0.3 knows one encoding; it counts for data that is a string only, and says nothing for any other.
pub(super) fn is_encoding(encoding: &str) -> Result<(), EventError> {
    match encoding.eq_ignore_ascii_case("base64") {
        true => Ok(()),
        false => {
            Err(rules::invalid("datacontentencoding", "must be \"base64\" (CloudEvents 0.3, datacontentencoding)"))
        }
    }
}

/// One text in base64, with its padding at its end.
pub(super) fn is_base64(text: &str) -> bool {
    BASE64_STANDARD.decode(text).is_ok()
}

/// The same in lines (RFC 2045, section 6.8).
pub(super) fn is_base64_mime(text: &str) -> bool {
    let is_break = |c| matches!(c, '\r' | '\n');
    if text.contains(is_break) { is_base64(&text.replace(is_break, "")) } else { is_base64(text) }
}
