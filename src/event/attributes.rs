//! The attributes of an event by name, out of its JSON format.

use std::borrow::Cow;

use serde_json::value::RawValue;

use super::{EventError, rules};
use crate::json;

/// The attributes of an event. They are read once, so that many filters can ask for them.
#[derive(Debug)]
pub struct Attributes<'a> {
    /// By name; of one name in the order in which they were sent.
    members: Vec<(Cow<'a, str>, &'a RawValue)>,
}

impl<'a> Attributes<'a> {
    /// Of an event in the JSON format: the members of its object, `data` too.
    pub fn of(whole: &'a RawValue) -> Self {
        let members = json::members(whole).unwrap_or_default().into_iter();
        // A name that isn't valid Unicode stays in its spelling, quotes and all: no attribute's name.
        let mut members: Vec<_> =
            members.map(|(name, value)| (text(name).unwrap_or(Cow::Borrowed(name.get())), value)).collect();
        members.sort_by(|(a, _), (b, _)| a.cmp(b));
        Self { members }
    }

    /// An attribute of the specification or an extension in its canonical string form (CloudEvents 1.0.2, Type System):
    /// `true`, `5`, text as it is; an extension of 0.3 that is an object is its JSON. `None` if it is absent, `null`, or
    /// an empty `subject`.
    ///
    /// An attribute has the name that it was sent by: an event of 0.3 has `schemaurl`, not `dataschema`.
    pub fn get(&self, name: &str) -> Option<Cow<'a, str>> {
        if matches!(name, "data" | "data_base64") {
            return None;
        }
        let value = self.present(name).ok()??;
        let text = match json::type_of(value) {
            "a string" => text(value)?,
            "a number" if value.get() == "-0" => Cow::Borrowed("0"),
            _ => Cow::Borrowed(value.get()),
        };
        Some(text).filter(|text| name != "subject" || !text.is_empty())
    }

    /// The names and values of all members in the order of the names.
    pub(super) fn members(&self) -> impl Iterator<Item = (&str, &'a RawValue)> {
        self.members.iter().map(|(name, value)| (&**name, *value))
    }

    /// A member that may be there once, so that no two readers see two events.
    pub(super) fn one(&self, name: &str) -> Result<Option<&'a RawValue>, EventError> {
        let from = self.members.partition_point(|(had, _)| &**had < name);
        let mut values = self.members.iter().skip(from).take_while(|(had, _)| had == name).map(|(_, value)| *value);
        let value = values.next();
        match values.next() {
            None => Ok(value),
            Some(_) => Err(EventError::Repeated { attribute: rules::shown(name) }),
        }
    }

    /// The same; `null` is as absent (JSON Event Format 1.0.2, section 2.2).
    pub(super) fn present(&self, name: &str) -> Result<Option<&'a RawValue>, EventError> {
        Ok(self.one(name)?.filter(|value| json::type_of(value) != "null"))
    }
}

/// The text of a JSON string, borrowed where it has no escapes; `None` as [`json::text`].
pub(super) fn text(raw: &RawValue) -> Option<Cow<'_, str>> {
    let inner = raw.get().strip_prefix('"')?.strip_suffix('"')?;
    if inner.contains('\\') { json::text(raw).map(Cow::Owned) } else { Some(Cow::Borrowed(inner)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_attribute_has_its_canonical_form() {
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
        assert!(matches!(attributes.get("time"), Some(Cow::Borrowed(_))), "nothing is copied that has no escapes");
        assert!(matches!(attributes.one("d"), Err(EventError::Repeated { .. })));
    }
}
