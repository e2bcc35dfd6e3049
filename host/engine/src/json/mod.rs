//! JSON as the Java services see it.
//!
//! [`serde_json::Value`] can't show how a payload changes on its way through the engine. [`Json`] keeps the order of
//! members and integers of any length, writes doubles as Java does, and takes up to 1,000 levels of nesting.

mod java;
mod parse;
mod serde;
mod write;

use indexmap::IndexMap;

/// The members of an object, in the order in which they came: Java's `LinkedHashMap`.
pub type Object = IndexMap<String, Json>;

/// A JSON value with Java's types.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Json {
    /// `null`.
    #[default]
    Null,
    /// A Boolean.
    Bool(bool),
    /// An integer that fits Java's `long`.
    Int(i64),
    /// The digits of a longer integer, Java's `BigInteger`.
    Big(String),
    /// A number with a fraction or an exponent: Java's `Double`, so it may have lost digits.
    Double(f64),
    /// A string.
    Text(String),
    /// An array.
    Array(Vec<Json>),
    /// An object.
    Object(Object),
}

/// Builds a [`Json`] object from `"name": value` pairs, whose values are anything that converts to [`Json`].
macro_rules! object {
    ($($name:literal: $value:expr),* $(,)?) => {
        $crate::json::Json::Object(
            [$(($name.to_owned(), $crate::json::Json::from($value))),*].into_iter().collect(),
        )
    };
}
pub(crate) use object;

impl Json {
    /// Parses a document as Jackson does with its defaults: strict JSON, but anything may follow the value.
    ///
    /// # Errors
    ///
    /// If the document isn't UTF-8, isn't JSON, is nested deeper than 1,000 levels, or has a number of more than 1,000
    /// characters.
    pub fn parse(document: &[u8]) -> Result<Json, Malformed> {
        parse::parse(document)
    }

    /// A member of an object.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Json> {
        self.as_object()?.get(name)
    }

    /// The text of a string.
    #[must_use]
    pub fn as_text(&self) -> Option<&str> {
        match self {
            Json::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The members of an object.
    #[must_use]
    pub fn as_object(&self) -> Option<&Object> {
        match self {
            Json::Object(members) => Some(members),
            _ => None,
        }
    }

    /// The elements of an array.
    #[must_use]
    pub fn as_array(&self) -> Option<&[Json]> {
        match self {
            Json::Array(elements) => Some(elements),
            _ => None,
        }
    }

    /// Whether this is `null`.
    #[must_use]
    pub fn is_null(&self) -> bool {
        *self == Json::Null
    }

    /// Java's `toString()` of the value: `{ref=A-1, amount=12}`.
    #[must_use]
    pub fn to_java(&self) -> String {
        java::text(self)
    }

    /// The value after it was stored: an integer that doesn't fit a `long` has become a string.
    #[must_use]
    pub(crate) fn stored(self) -> Json {
        match self {
            Json::Big(digits) => Json::Text(digits),
            Json::Array(elements) => Json::Array(elements.into_iter().map(Json::stored).collect()),
            Json::Object(members) => {
                Json::Object(members.into_iter().map(|(name, value)| (name, value.stored())).collect())
            }
            other => other,
        }
    }

    /// The object without its own members that are `null`, which the services leave out.
    #[must_use]
    pub(crate) fn without_nulls(mut self) -> Json {
        if let Json::Object(members) = &mut self {
            members.retain(|_, value| !value.is_null());
        }
        self
    }

    /// How many arrays and objects are nested in the deepest place; 0 for a scalar.
    pub(crate) fn depth(&self) -> usize {
        match self {
            Json::Array(elements) => 1 + elements.iter().map(Json::depth).max().unwrap_or(0),
            Json::Object(members) => 1 + members.values().map(Json::depth).max().unwrap_or(0),
            _ => 0,
        }
    }

    /// Whether a member name anywhere in the value has the property.
    pub(crate) fn any_name(&self, property: fn(&str) -> bool) -> bool {
        match self {
            Json::Array(elements) => elements.iter().any(|element| element.any_name(property)),
            Json::Object(members) => members.iter().any(|(name, value)| property(name) || value.any_name(property)),
            _ => false,
        }
    }
}

/// A document that isn't JSON, or is more than Jackson accepts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("malformed JSON at byte {at}")]
pub struct Malformed {
    /// Where reading stopped.
    pub at: usize,
}

impl From<&str> for Json {
    fn from(text: &str) -> Self {
        Json::Text(text.to_owned())
    }
}

impl From<&String> for Json {
    fn from(text: &String) -> Self {
        Json::Text(text.clone())
    }
}

impl From<String> for Json {
    fn from(text: String) -> Self {
        Json::Text(text)
    }
}

impl From<bool> for Json {
    fn from(value: bool) -> Self {
        Json::Bool(value)
    }
}

impl From<i64> for Json {
    fn from(value: i64) -> Self {
        Json::Int(value)
    }
}

impl From<u64> for Json {
    fn from(value: u64) -> Self {
        i64::try_from(value).map_or_else(|_| Json::Big(value.to_string()), Json::Int)
    }
}

impl From<usize> for Json {
    fn from(value: usize) -> Self {
        Json::from(value as u64)
    }
}

impl From<Object> for Json {
    fn from(members: Object) -> Self {
        Json::Object(members)
    }
}

impl From<&Object> for Json {
    fn from(members: &Object) -> Self {
        Json::Object(members.clone())
    }
}

impl<T: Into<Json>> From<Vec<T>> for Json {
    fn from(elements: Vec<T>) -> Self {
        Json::Array(elements.into_iter().map(Into::into).collect())
    }
}

impl<T: Into<Json>> From<Option<T>> for Json {
    fn from(value: Option<T>) -> Self {
        value.map_or(Json::Null, Into::into)
    }
}

#[cfg(test)]
mod tests;
