//! Comparing a recorded value with one of the model.

use sluice_engine_model::{Catalogue, Json};

/// Replaces the values that differ from one installation to the next: ids of runs and tasks, times, durations above
/// zero.
pub fn normalise(value: &Json, catalogue: &Catalogue) -> Json {
    match value {
        Json::Text(text) => Json::Text(normalise_text(text, catalogue)),
        Json::Array(elements) => Json::Array(elements.iter().map(|one| normalise(one, catalogue)).collect()),
        Json::Object(members) => Json::Object(
            members
                .iter()
                .map(|(name, value)| match (name.as_str(), value) {
                    ("duration", Json::Int(1..)) => (name.clone(), Json::Text("DURATION".to_owned())),
                    _ => (name.clone(), normalise(value, catalogue)),
                })
                .collect(),
        ),
        other => other.clone(),
    }
}

pub fn normalise_text(text: &str, catalogue: &Catalogue) -> String {
    if is_date(text) {
        return "DATE".to_owned();
    }
    let mut out = String::new();
    let mut rest = text;
    while let Some(char) = rest.chars().next() {
        let id = rest.get(..24).filter(|id| id.bytes().all(|byte| byte.is_ascii_hexdigit()));
        let (taken, replaced) = match id {
            Some(id) if is_known(id, catalogue) => (24, id),
            Some(_) => (24, "ID"),
            None => (char.len_utf8(), &rest[..char.len_utf8()]),
        };
        out.push_str(replaced);
        rest = &rest[taken..];
    }
    out
}

fn is_known(id: &str, catalogue: &Catalogue) -> bool {
    let is_revision = |revision: &Option<String>| revision.as_deref() == Some(id);
    catalogue.workflow(id).is_some()
        || catalogue.task(id).is_some()
        || catalogue.workflows.iter().any(|workflow| is_revision(&workflow.revision))
        || id == "f".repeat(24)
}

/// `2026-11-27T00:35:49.143+00:00`.
fn is_date(text: &str) -> bool {
    let is_digit = |pattern: u8, byte: u8| if pattern == b'0' { byte.is_ascii_digit() } else { pattern == byte };
    let pattern = b"0000-00-00T00:00:00.000+00:00";
    text.len() == pattern.len() && pattern.iter().zip(text.bytes()).all(|(pattern, byte)| is_digit(*pattern, byte))
}

/// Whether a value is the recorded one. Of a long text or a deep object, only the beginning is recorded.
pub fn equals(recorded: &Json, value: &Json) -> bool {
    match (recorded, value) {
        (Json::Text(text), value) if text == "… (deeper)" => matches!(value, Json::Object(_)),
        (Json::Text(text), Json::Text(value)) if text.ends_with(" characters)") => {
            let (beginning, length) = text.split_once("… (").unwrap();
            let length: usize = length.strip_suffix(" characters)").unwrap().parse().unwrap();
            value.starts_with(beginning) && value.chars().count() == length
        }
        (Json::Array(recorded), Json::Array(values)) => {
            recorded.len() == values.len() && recorded.iter().zip(values).all(|(one, other)| equals(one, other))
        }
        (Json::Object(recorded), Json::Object(values)) => {
            recorded.len() == values.len()
                && recorded.iter().all(|(name, one)| values.get(name).is_some_and(|other| equals(one, other)))
        }
        _ => recorded == value,
    }
}

/// Whether a look shows everything that is recorded of it. Tasks are found by name.
pub fn shows(recorded: &Json, value: &Json) -> bool {
    match (recorded, value) {
        (Json::Object(recorded), value) => recorded.iter().all(|(name, one)| match (name.as_str(), value.get(name)) {
            ("tasks", Some(tasks)) => shows_tasks(one.as_array().unwrap(), tasks.as_array().unwrap()),
            // A look leaves out what is null.
            (_, other) => shows(one, other.unwrap_or(&Json::Null)),
        }),
        _ => equals(recorded, value),
    }
}

fn shows_tasks(recorded: &[Json], tasks: &[Json]) -> bool {
    let is_whole = recorded.is_empty() || recorded.iter().any(|task| task.get("name") == Some(&Json::from("start")));
    let shows_task = |one: &Json| tasks.iter().any(|task| task.get("name") == one.get("name") && shows(one, task));
    (!is_whole || recorded.len() == tasks.len()) && recorded.iter().all(shows_task)
}
