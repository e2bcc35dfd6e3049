//! Attributes of an event by name, read from its JSON format.

use std::borrow::Cow;

use serde_json::value::RawValue;

use super::{EventError, rules};
use crate::json::{self, JsonType};

/// The attributes of an event, parsed once for any number of lookups.
#[derive(Debug)]
pub struct Attributes<'a> {
    /// Sorted by name; duplicates keep their order.
    members: Vec<(Cow<'a, str>, &'a RawValue)>,
}

impl<'a> Attributes<'a> {
    /// Parses an event in the JSON format: the members of its object, `data` included.
    pub fn of(whole: &'a RawValue) -> Self {
        let members = json::members(whole).unwrap_or_default().into_iter();
        // A name that isn't valid Unicode keeps its JSON spelling with quotes, which is never an attribute's name.
        let mut members: Vec<_> =
            members.map(|(name, value)| (text(name).unwrap_or(Cow::Borrowed(name.get())), value)).collect();
        members.sort_by(|(a, _), (b, _)| a.cmp(b));
        Self { members }
    }

    /// An attribute of the specification or an extension in its canonical string form (CloudEvents 1.0.2, Type System):
    /// `true`, `5`, or the text itself. Extensions of 0.3 that are objects or arrays are returned as JSON. `None` if
    /// the attribute is absent, `null`, or an empty `subject`.
    ///
    /// Attributes are found by the name under which they were sent: an event of 0.3 has `schemaurl`, not `dataschema`.
    pub fn get(&self, name: &str) -> Option<Cow<'a, str>> {
        let value = self.json(name)?;
        match json::type_of(value) {
            JsonType::String => text(value),
            JsonType::Number if value.get() == "-0" => Some(Cow::Borrowed("0")),
            _ => Some(Cow::Borrowed(value.get())),
        }
    }

    /// The JSON of an attribute. `None` in the same cases as for [`get`](Self::get).
    pub fn json(&self, name: &str) -> Option<&'a RawValue> {
        if matches!(name, "data" | "data_base64") {
            return None;
        }
        self.non_null(name).ok()?.filter(|value| name != "subject" || value.get() != r#""""#)
    }

    /// The names and values of all members, sorted by name.
    pub(super) fn members(&self) -> impl Iterator<Item = (&str, &'a RawValue)> {
        self.members.iter().map(|(name, value)| (&**name, *value))
    }

    /// The member with this name. A second one is an error, since readers differ in which of them they take.
    pub(super) fn one(&self, name: &str) -> Result<Option<&'a RawValue>, EventError> {
        let from = self.members.partition_point(|(member, _)| &**member < name);
        let same = self.members.iter().skip(from).take_while(|(member, _)| member == name);
        let mut values = same.map(|(_, value)| *value);
        let value = values.next();
        match values.next() {
            None => Ok(value),
            Some(_) => Err(EventError::Repeated { attribute: rules::truncated(name) }),
        }
    }

    /// Like [`one`](Self::one), but `null` counts as absent (JSON Event Format 1.0.2, section 2.2).
    pub(super) fn non_null(&self, name: &str) -> Result<Option<&'a RawValue>, EventError> {
        Ok(self.one(name)?.filter(|value| json::type_of(value) != JsonType::Null))
    }
}

/// The text of a JSON string, borrowed if it has no escapes. `None` in the same cases as for [`json::text`].
pub(super) fn text(raw: &RawValue) -> Option<Cow<'_, str>> {
    let inner = raw.get().strip_prefix('"')?.strip_suffix('"')?;
    if inner.contains('\\') { json::text(raw).map(Cow::Owned) } else { Some(Cow::Borrowed(inner)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_have_their_canonical_string_form() {
        let whole = r#"{"specversion":"0.3","id":"\u00e9","subject":"","n":-0,"m":-12,"b":false,"u":null,
            "map":{"othervalue": 5},"time":"2018-04-05T17:31:00Z","data":1,"data_base64":"","d":"1","d":"2"}"#;
        let attributes = Attributes::of(serde_json::from_str(whole).unwrap());
        for (name, value) in [
            ("specversion", Some("0.3")),
            ("id", Some("é")),
            ("n", Some("0")),
            ("m", Some("-12")),
            ("b", Some("false")),
            ("map", Some(r#"{"othervalue": 5}"#)),
            ("time", Some("2018-04-05T17:31:00Z")),
            ("subject", None),
            ("u", None),
            ("absent", None),
            ("", None),
            ("data", None),
            ("data_base64", None),
        ] {
            assert_eq!(attributes.get(name).as_deref(), value, "{name}");
        }
        assert!(matches!(attributes.get("time"), Some(Cow::Borrowed(_))), "text without escapes is borrowed");
        assert!(matches!(attributes.one("d"), Err(EventError::Repeated { .. })));
    }
}
