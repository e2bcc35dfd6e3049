//! Params of runs and tasks: how the engine resolves references such as `$(params.data.ref)` in them.
//!
//! This follows the engine's `ParameterManager`, with all its effects on payloads:
//!
//! - A param of no declared type becomes Java's text of its value, `{ref=A-1, amount=12}`.
//! - A reference that the engine knows is replaced in the JSON *text* of the param. A quotation mark in the value cuts
//!   the param off. A control character in the value, or a reference to itself, makes the param `null`.
//! - A param that is declared as `json` keeps its structure, but a reference anywhere inside replaces the whole param.

mod layers;
mod path;
mod substitute;

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

pub(crate) use layers::{Layers, context};

use crate::fault::Fault;
use crate::json::Json;

/// How the engine treats the value of a param.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Replaced by its text.
    String,
    /// A list whose elements are resolved one by one.
    Array,
    /// Kept as it is, or replaced as a whole.
    Object,
}

impl Kind {
    /// The kind of a declared type, or none for a type that the engine doesn't know.
    pub(crate) fn of_declared(declared: &str) -> Option<Kind> {
        const TEXTS: [&str; 13] = [
            "text",
            "textarea",
            "email",
            "number",
            "url",
            "boolean",
            "password",
            "select",
            "texteditor",
            "texteditor::javascript",
            "texteditor::text",
            "texteditor::shell",
            "texteditor::yaml",
        ];
        match declared {
            "json" => Some(Kind::Object),
            "multiselect" => Some(Kind::Array),
            _ => TEXTS.contains(&declared).then_some(Kind::String),
        }
    }
}

/// A param of a run or a task.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Param {
    /// Its name.
    pub name: String,
    /// Its value.
    #[serde(default)]
    pub value: Json,
    /// Its kind if it is declared.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<Kind>,
}

impl Param {
    pub(crate) fn new(name: &str, value: impl Into<Json>) -> Param {
        Param { name: name.to_owned(), value: value.into(), kind: None }
    }
}

/// Sets the values of params that exist, which keep their kinds, and appends the others.
pub(crate) fn merge(params: &mut Vec<Param>, more: impl IntoIterator<Item = Param>) {
    // A large event has tens of thousands of params.
    let mut places = HashMap::new();
    for (place, param) in params.iter().enumerate() {
        places.entry(param.name.clone()).or_insert(place);
    }
    for param in more {
        match places.get(&param.name).and_then(|place| params.get_mut(*place)) {
            Some(known) => known.value = param.value,
            None => {
                places.insert(param.name.clone(), params.len());
                params.push(param);
            }
        }
    }
}

/// Resolves the references in each of the params, all with the values from before.
pub(crate) fn resolve(params: &[Param], layers: &Layers<'_>) -> Result<Vec<Param>, Fault> {
    params.iter().map(|param| Ok(Param { value: resolve_one(param, layers)?, ..param.clone() })).collect()
}

fn resolve_one(param: &Param, layers: &Layers<'_>) -> Result<Json, Fault> {
    match (param.kind, &param.value) {
        (None | Some(Kind::String), Json::Null) => Ok(Json::from("")),
        (None | Some(Kind::String), value) => Ok(resolve_text(&value.to_java(), layers)),
        (Some(Kind::Array), Json::Array(elements)) => {
            let resolved = elements.iter().map(|element| match element {
                Json::Text(text) => Ok(resolve_text(text, layers)),
                Json::Null => Ok(Json::Null),
                // A cast that fails.
                _ => Err(Fault::Crash),
            });
            resolved.collect::<Result<_, _>>().map(Json::Array)
        }
        (Some(Kind::Array), value) => Ok(value.clone()),
        (Some(Kind::Object), value) => Ok(resolve_object(value, layers)),
    }
}

/// Replaces the whole value by that of the first reference that has one.
fn resolve_object(value: &Json, layers: &Layers<'_>) -> Json {
    let text = value.to_java();
    references(&text).find_map(|reference| layers.find(reference, value)).unwrap_or_else(|| value.clone())
}

fn resolve_text(text: &str, layers: &Layers<'_>) -> Json {
    let original = Json::from(text);
    let found: Vec<_> = references(text)
        .filter_map(|reference| layers.find(reference, &original).map(|value| (reference, value)))
        .collect();
    if found.is_empty() {
        return original;
    }
    let lookup = |name: &str| {
        let found = found.iter().rev().find(|(reference, _)| *reference == name).map(|(_, value)| value);
        found.or_else(|| layers.get(name)).map(Json::to_java)
    };
    let replaced = substitute::substitute(&original.to_string(), &lookup);
    replaced.and_then(|text| Json::parse(text.as_bytes()).ok()).unwrap_or_default()
}

/// The references of a text: at least one character of one line between `$(` and the next `)`.
fn references(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        loop {
            let (_, after) = rest.split_once("$(")?;
            let is_line_end = |char| matches!(char, '\n' | '\r' | '\u{85}' | '\u{2028}' | '\u{2029}');
            let end = after.char_indices().skip(1).find(|(_, char)| *char == ')' || is_line_end(*char));
            let begins_with_line_end = after.starts_with(is_line_end);
            rest = after;
            if let Some((end, ')')) = end.filter(|_| !begins_with_line_end) {
                let (reference, after) = after.split_at(end);
                rest = after;
                return Some(reference);
            }
        }
    })
}

#[cfg(test)]
mod tests;
