//! Checked access to JSON that the operator writes: settings, sources and routes. Each error names the place of a
//! value, but never repeats the value: one in the wrong place might be a secret.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::fmt;

use serde_json::value::RawValue;

use super::{JsonType, Pointer, nearest};

/// A value that breaks a rule. Repeats no value of the text.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{} {rule}", if pointer.is_empty() { "it".to_owned() } else { format!("`{pointer}`") })]
pub struct InvalidValue {
    /// The place of the value: a JSON Pointer (RFC 6901), empty for the whole text.
    pub pointer: String,
    /// The rule. Completes the sentence that begins with the place.
    pub rule: String,
}

/// A reader of values at one place in a text. The place is spelled out only for an error.
#[derive(Clone, Copy, Debug, Default)]
pub struct Reader<'p> {
    /// The place of the surrounding value, and the step from there; `None` for the whole text.
    place: Option<(&'p Reader<'p>, Step<'p>)>,
}

/// A step to a member or an element.
#[derive(Clone, Copy, Debug)]
pub enum Step<'p> {
    /// The member with this name.
    Member(&'p str),
    /// The element with this index.
    Element(usize),
}

impl<'p> From<&'p str> for Step<'p> {
    fn from(name: &'p str) -> Self {
        Self::Member(name)
    }
}

impl From<usize> for Step<'_> {
    fn from(index: usize) -> Self {
        Self::Element(index)
    }
}

impl<'p> Reader<'p> {
    /// The reader for the whole text.
    pub fn root() -> Self {
        Self::default()
    }

    /// The reader for a member or element of this place. Errors repeat `step`, so it must be an index or a known name.
    pub fn at<'s>(&'s self, step: impl Into<Step<'s>>) -> Reader<'s> {
        Reader { place: Some((self, step.into())) }
    }

    /// The error for a value that breaks a rule.
    pub fn error(&self, rule: impl Into<String>) -> InvalidValue {
        InvalidValue { pointer: self.to_string(), rule: rule.into() }
    }

    /// The error for a string that is not Unicode text.
    pub fn unpaired_surrogate(&self) -> InvalidValue {
        self.error("must not contain an unpaired surrogate")
    }

    /// The error for a value of another type. `rule` says what it must be: "must be a boolean".
    pub fn wrong_type(&self, rule: impl fmt::Display, raw: &RawValue) -> InvalidValue {
        self.error(format!("{rule}, but is {}", super::type_of(raw)))
    }

    /// The elements of an array.
    pub fn elements<'a>(&self, raw: &'a RawValue) -> Result<Vec<&'a RawValue>, InvalidValue> {
        super::elements(raw).ok_or_else(|| self.wrong_type("must be an array", raw))
    }

    /// The members of an object. A duplicate name is an error.
    pub fn members<'a>(&self, raw: &'a RawValue) -> Result<Vec<(Cow<'a, str>, &'a RawValue)>, InvalidValue> {
        let members = self.named_members(raw)?;
        let mut seen = BTreeSet::new();
        match members.iter().position(|(name, _)| !seen.insert(name)) {
            Some(at) => Err(self.duplicate(at)),
            None => Ok(members),
        }
    }

    /// The members of an object with these names, in their order. A duplicate name is an error; so is another name,
    /// whose error proposes the nearest of the known ones.
    pub fn known_members<'a, const N: usize>(
        &self,
        raw: &'a RawValue,
        names: [&'static str; N],
    ) -> Result<[Option<&'a RawValue>; N], InvalidValue> {
        let mut found = [None; N];
        for (at, (name, value)) in self.named_members(raw)?.into_iter().enumerate() {
            let slot = names.iter().position(|known| *known == name).and_then(|slot| found.get_mut(slot));
            match slot.ok_or_else(|| self.unknown(&name, at, &names))? {
                Some(_) => return Err(self.duplicate(at)),
                slot => *slot = Some(value),
            }
        }
        Ok(found)
    }

    /// The members of an object, duplicates included.
    fn named_members<'a>(&self, raw: &'a RawValue) -> Result<Vec<(Cow<'a, str>, &'a RawValue)>, InvalidValue> {
        let members = super::members(raw).ok_or_else(|| self.wrong_type("must be an object", raw))?;
        let named = members.into_iter().zip(1_usize..).map(|((name, value), n)| {
            let surrogate = || self.error(format!("has a name with an unpaired surrogate (member {n})"));
            super::borrowed_text(name).map(|name| (name, value)).ok_or_else(surrogate)
        });
        named.collect()
    }

    /// The error for the member at an index whose name another member has.
    pub fn duplicate(&self, at: usize) -> InvalidValue {
        self.error(format!("has a duplicate name (member {})", at.saturating_add(1)))
    }

    /// The error for the member at an index whose name is none of `known`. Repeats the name only if it is near to one
    /// of them: a name in the wrong place might be a secret, too.
    pub fn unknown(&self, name: &str, at: usize, known: &[&str]) -> InvalidValue {
        match nearest(name, known.iter().copied()) {
            Some(near) => self.error(format!("has an unknown name `{name}`: did you mean `{near}`?")),
            None => {
                let n = at.saturating_add(1);
                self.error(format!("has an unknown name (member {n}): known are {}", code_list(known)))
            }
        }
    }

    /// A boolean.
    pub fn boolean(&self, raw: &RawValue) -> Result<bool, InvalidValue> {
        match super::type_of(raw) {
            JsonType::Boolean => Ok(raw.get() == "true"),
            _ => Err(self.wrong_type("must be a boolean", raw)),
        }
    }

    /// A string that is not empty.
    pub fn text<'a>(&self, raw: &'a RawValue) -> Result<Cow<'a, str>, InvalidValue> {
        if super::type_of(raw) != JsonType::String {
            return Err(self.wrong_type("must be a string", raw));
        }
        match super::borrowed_text(raw) {
            Some(text) if text.is_empty() => Err(self.error("must not be empty")),
            Some(text) => Ok(text),
            None => Err(self.unpaired_surrogate()),
        }
    }
}

/// The place, as a JSON Pointer.
impl fmt::Display for Reader<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.place {
            None => Ok(()),
            Some((parent, Step::Member(name))) => write!(f, "{parent}/{}", Pointer::escape(name)),
            Some((parent, Step::Element(index))) => write!(f, "{parent}/{index}"),
        }
    }
}

/// Formats names as a list of code: `a`, `b`, `c`.
pub fn code_list(names: &[&str]) -> String {
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raw(json: &str) -> &RawValue {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn error_names_the_place_of_the_value() {
        let root = Reader::root();
        let (element, member) = (root.at(2), "a/b~c");
        assert_eq!(element.at(member).error("is wrong").to_string(), "`/2/a~1b~0c` is wrong");
        assert_eq!(root.error("is wrong").to_string(), "it is wrong");
        assert_eq!(element.boolean(raw("1")).unwrap_err().to_string(), "`/2` must be a boolean, but is a number");
    }

    #[test]
    fn unknown_name_is_repeated_only_if_it_is_near_to_a_known_one() {
        let names = ["secrets", "tokens"];
        let error = |json| Reader::root().known_members(raw(json), names).unwrap_err().to_string();
        assert_eq!(error(r#"{"tokens":1,"secret":1}"#), "it has an unknown name `secret`: did you mean `secrets`?");
        assert_eq!(
            error(r#"{"tokens":1,"hunter2":1}"#),
            "it has an unknown name (member 2): known are `secrets`, `tokens`"
        );
        assert_eq!(error(r#"{"tokens":1,"t\u006fkens":1}"#), "it has a duplicate name (member 2)");
        assert_eq!(error(r#"{"\ud800":1}"#), "it has a name with an unpaired surrogate (member 1)");
        assert_eq!(error("[]"), "it must be an object, but is an array");
    }

    #[test]
    fn text_is_borrowed_unless_it_has_escapes() {
        assert!(matches!(Reader::root().text(raw(r#""é😀""#)).unwrap(), Cow::Borrowed("é😀")));
        assert_eq!(Reader::root().text(raw(r#""\u00e9""#)).unwrap(), "é");
        for (json, rule) in [
            (r#""""#, "must not be empty"),
            (r#""\ud800""#, "must not contain an unpaired surrogate"),
            ("null", "must be a string, but is null"),
        ] {
            assert_eq!(Reader::root().text(raw(json)).unwrap_err().rule, rule, "{json}");
        }
    }
}
