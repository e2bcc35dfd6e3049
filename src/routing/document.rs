//! JSON as JSONPath wants it, and the way back to the bytes of what a path found.

use std::collections::BTreeMap;

use jsonpath_rfc9535::JsonPath;
use serde_json::value::RawValue;
use serde_json::{Map, Number, Value};

use crate::json::{self, JsonType};

/// A parsed value that knows the bytes of each part of it. A path compares what was parsed, so that numbers are numbers;
/// what it gives is the bytes, so that none is rounded.
pub(super) struct Document<'a> {
    /// In a box, so that it stays where it is when the document is moved.
    value: Box<Value>,
    /// By the address of each part of the value.
    bytes: BTreeMap<usize, &'a RawValue>,
}

impl<'a> Document<'a> {
    pub(super) fn new(raw: &'a RawValue) -> Self {
        let value = Box::new(parsed(raw));
        let mut bytes = BTreeMap::new();
        locate(&value, raw, &mut bytes);
        Self { value, bytes }
    }

    /// What a path finds, in the path's order, each as it was sent.
    pub(super) fn find(&self, path: &JsonPath) -> impl Iterator<Item = &'a RawValue> {
        path.query_values(&self.value).into_iter().filter_map(|found| self.bytes.get(&address(found)).copied())
    }
}

fn address(value: &Value) -> usize {
    std::ptr::from_ref(value).addr()
}

/// Unlike `serde_json`'s own way this reads all that is JSON: a number without end is the last one that there is, and half
/// a surrogate pair is its own spelling.
fn parsed(raw: &RawValue) -> Value {
    match json::type_of(raw) {
        JsonType::Object => {
            let mut object = Map::new();
            for (name, value) in members(raw) {
                object.insert(name, parsed(value));
            }
            Value::Object(object)
        }
        JsonType::Array => Value::Array(json::elements(raw).unwrap_or_default().into_iter().map(parsed).collect()),
        JsonType::String => Value::String(json::text(raw).unwrap_or_else(|| raw.get().to_owned())),
        JsonType::Boolean => Value::Bool(raw.get() == "true"),
        JsonType::Null => Value::Null,
        JsonType::Number => number(raw.get()).map_or(Value::Null, Value::Number),
    }
}

fn number(text: &str) -> Option<Number> {
    let last = if text.starts_with('-') { f64::MIN } else { f64::MAX };
    text.parse().ok().or_else(|| Number::from_f64(last))
}

/// The members of an object. Of two of one name the last counts, as with most parsers.
fn members(raw: &RawValue) -> BTreeMap<String, &RawValue> {
    let mut members = BTreeMap::new();
    for (name, value) in json::members(raw).unwrap_or_default() {
        members.insert(json::text(name).unwrap_or_else(|| name.get().to_owned()), value);
    }
    members
}

fn locate<'a>(value: &Value, raw: &'a RawValue, bytes: &mut BTreeMap<usize, &'a RawValue>) {
    bytes.insert(address(value), raw);
    match value {
        Value::Object(parts) => {
            for (name, raw) in members(raw) {
                if let Some(value) = parts.get(&name) {
                    locate(value, raw, bytes);
                }
            }
        }
        Value::Array(parts) => {
            for (value, raw) in parts.iter().zip(json::elements(raw).unwrap_or_default()) {
                locate(value, raw, bytes);
            }
        }
        _ => {}
    }
}
