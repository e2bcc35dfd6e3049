//! A value into which many lookups lead: each object and array in it is read at most once.

use std::borrow::Cow;
use std::cell::OnceCell;

use serde_json::value::RawValue;

use super::{borrowed_text, elements, members};

/// A JSON value as it was received. Its parts are found when one of them is asked for.
pub struct Tree<'a> {
    value: &'a RawValue,
    parts: OnceCell<Box<Parts<'a>>>,
}

enum Parts<'a> {
    /// Sorted by name; of members with the same name, the last one comes last.
    Object(Vec<(Cow<'a, str>, Tree<'a>)>),
    Array(Vec<Tree<'a>>),
    None,
}

impl<'a> Tree<'a> {
    /// The tree of a value.
    pub fn new(value: &'a RawValue) -> Self {
        Self { value, parts: OnceCell::new() }
    }

    /// The value.
    pub fn value(&self) -> &'a RawValue {
        self.value
    }

    /// The value of the member with this name. If the name is repeated, the last one wins, as in most parsers. `None` if
    /// there is no such member, or if the value isn't an object.
    pub fn member(&self, name: &str) -> Option<&Self> {
        match self.parts() {
            Parts::Object(members) => {
                let last = members.partition_point(|(own, _)| **own <= *name).checked_sub(1)?;
                members.get(last).filter(|(own, _)| own == name).map(|(_, value)| value)
            }
            Parts::Array(_) | Parts::None => None,
        }
    }

    /// The elements of an array; `None` for a value of another type.
    pub fn elements(&self) -> Option<&[Self]> {
        match self.parts() {
            Parts::Array(elements) => Some(elements),
            Parts::Object(_) | Parts::None => None,
        }
    }

    fn parts(&self) -> &Parts<'a> {
        self.parts.get_or_init(|| Box::new(Parts::of(self.value)))
    }
}

impl<'a> Parts<'a> {
    fn of(value: &'a RawValue) -> Self {
        if let Some(elements) = elements(value) {
            return Self::Array(elements.into_iter().map(Tree::new).collect());
        }
        let Some(members) = members(value) else { return Self::None };
        // No text is equal to a name with an unpaired surrogate.
        let named = members.into_iter().filter_map(|(name, value)| Some((borrowed_text(name)?, Tree::new(value))));
        let mut named: Vec<_> = named.collect();
        named.sort_by(|(one, _), (other, _)| one.cmp(other));
        Self::Object(named)
    }
}
