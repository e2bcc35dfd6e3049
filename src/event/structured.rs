//! The structured mode: the body is the event in the JSON format (JSON Event Format 1.0.2).

use std::borrow::Cow;

use serde_json::value::RawValue;

use super::{Event, EventError, required};
use crate::json;

pub(super) fn read(body: &[u8]) -> Result<Event<'_>, EventError> {
    let whole = json::object(body).map_err(EventError::Body)?;
    let members = Members::of(whole);
    let [id, source, kind] = required(|name| members.string(name))?;
    let subject = members.string("subject")?;
    members.string("datacontenttype")?;
    let data = match (members.one("data")?, members.present("data_base64")?) {
        (Some(_), Some(_)) => {
            let rule = "must not stand beside `data` (JSON Event Format 1.0.2, section 3.1)";
            return Err(EventError::Invalid { attribute: "data_base64".to_owned(), rule });
        }
        (None, Some(encoded)) => {
            base64(encoded)?;
            Some(encoded)
        }
        (data, None) => data,
    };
    Ok(Event { id, source, kind, subject, json: Cow::Borrowed(whole), data: data.map(Cow::Borrowed) })
}

/// The data of an event that was read before.
pub(super) fn data(whole: &RawValue) -> Option<&RawValue> {
    let members = Members::of(whole);
    members.one("data").ok().flatten().or_else(|| members.present("data_base64").ok().flatten())
}

/// The members of the event by name.
struct Members<'a>(Vec<(String, &'a RawValue)>);

impl<'a> Members<'a> {
    fn of(whole: &'a RawValue) -> Self {
        let members = json::members(whole).unwrap_or_default().into_iter();
        // A name that isn't valid Unicode is none that is read here.
        Self(members.filter_map(|(name, value)| Some((json::text(name)?, value))).collect())
    }

    /// A member that may be there once, so that no two readers see two events.
    fn one(&self, name: &str) -> Result<Option<&'a RawValue>, EventError> {
        let mut values = self.0.iter().filter(|(had, _)| had == name).map(|(_, value)| *value);
        let value = values.next();
        match values.next() {
            None => Ok(value),
            Some(_) => Err(EventError::Repeated { attribute: name.to_owned() }),
        }
    }

    /// The same; `null` is as absent (JSON Event Format 1.0.2, section 2.2).
    fn present(&self, name: &str) -> Result<Option<&'a RawValue>, EventError> {
        Ok(self.one(name)?.filter(|value| json::type_of(value) != "null"))
    }

    /// An attribute whose type is a string.
    fn string(&self, name: &str) -> Result<Option<String>, EventError> {
        let Some(value) = self.present(name)? else { return Ok(None) };
        let rule = "must be a string of valid Unicode (JSON Event Format 1.0.2, section 2.2)";
        json::text(value).map(Some).ok_or(EventError::Invalid { attribute: name.to_owned(), rule })
    }
}

fn base64(encoded: &RawValue) -> Result<(), EventError> {
    json::text(encoded).and_then(|text| data_encoding::BASE64.decode(text.as_bytes()).ok()).map(|_| ()).ok_or(
        EventError::Invalid {
            attribute: "data_base64".to_owned(),
            rule: "must be a string in base64 (JSON Event Format 1.0.2, section 3.1)",
        },
    )
}
