//! JSON that is parsed for JSONPath, with the original text of each value.

use std::collections::BTreeMap;

use jsonpath_rfc9535::JsonPath;
use serde_json::value::RawValue;
use serde_json::{Map, Number, Value};

use crate::json::{self, JsonType};

/// A parsed value, and the text of each of its parts. A path is evaluated on the parsed value, where numbers compare as
/// numbers. Its results are the text as it was received, in which no number is rounded.
pub(super) struct JsonDocument<'a> {
    /// Boxed: the addresses in `texts` must stay the same when the document is moved.
    value: Box<Value>,
    /// The text of each part, by the part's address.
    texts: BTreeMap<usize, &'a RawValue>,
}

impl<'a> JsonDocument<'a> {
    /// Parses a value.
    pub(super) fn new(raw: &'a RawValue) -> Self {
        let value = Box::new(parse(raw));
        let mut texts = BTreeMap::new();
        collect_texts(&value, raw, &mut texts);
        Self { value, texts }
    }

    /// The values that a path selects, in the path's order, as they were received.
    pub(super) fn select(&self, path: &JsonPath) -> impl Iterator<Item = &'a RawValue> {
        path.query_values(&self.value).into_iter().filter_map(|value| self.texts.get(&address(value)).copied())
    }
}

fn address(value: &Value) -> usize {
    std::ptr::from_ref(value).addr()
}

/// Parses any valid JSON, including values that `serde_json::Value` rejects: a number out of range becomes `f64::MAX`
/// or `f64::MIN`, and a string with an unpaired surrogate becomes its JSON text.
fn parse(raw: &RawValue) -> Value {
    match json::type_of(raw) {
        JsonType::Object => {
            let mut object = Map::new();
            for (name, value) in members(raw) {
                object.insert(name, parse(value));
            }
            Value::Object(object)
        }
        JsonType::Array => Value::Array(json::elements(raw).unwrap_or_default().into_iter().map(parse).collect()),
        JsonType::String => Value::String(json::text(raw).unwrap_or_else(|| raw.get().to_owned())),
        JsonType::Boolean => Value::Bool(raw.get() == "true"),
        JsonType::Null => Value::Null,
        JsonType::Number => number(raw.get()).map_or(Value::Null, Value::Number),
    }
}

fn number(text: &str) -> Option<Number> {
    let limit = if text.starts_with('-') { f64::MIN } else { f64::MAX };
    text.parse().ok().or_else(|| Number::from_f64(limit))
}

/// The members of an object. Of several members with the same name, the last one counts, as in most parsers.
fn members(raw: &RawValue) -> BTreeMap<String, &RawValue> {
    let mut members = BTreeMap::new();
    for (name, value) in json::members(raw).unwrap_or_default() {
        members.insert(json::text(name).unwrap_or_else(|| name.get().to_owned()), value);
    }
    members
}

/// Collects the text of a value and of its parts.
fn collect_texts<'a>(value: &Value, raw: &'a RawValue, texts: &mut BTreeMap<usize, &'a RawValue>) {
    texts.insert(address(value), raw);
    match value {
        Value::Object(object) => {
            for (name, raw) in members(raw) {
                if let Some(value) = object.get(&name) {
                    collect_texts(value, raw, texts);
                }
            }
        }
        Value::Array(elements) => {
            for (value, raw) in elements.iter().zip(json::elements(raw).unwrap_or_default()) {
                collect_texts(value, raw, texts);
            }
        }
        _ => {}
    }
}
