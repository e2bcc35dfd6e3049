//! The values that a reference may name.

use std::collections::BTreeMap;

use super::path::reduce;
use super::{Json, Param};
use crate::json::Object;
use crate::run::{Run, TaskRun};

const SCOPES: [&str; 4] = ["global", "team", "workflow", "context"];

/// The values that a run, or a task of it, can refer to. Later layers hide earlier ones: global, team, workflow, task,
/// context.
pub(crate) struct Layers<'a> {
    flat: BTreeMap<String, Json>,
    tasks: &'a [TaskRun],
}

impl<'a> Layers<'a> {
    /// The layers of a run, or of one of its tasks. `tasks` are those whose results can be referred to.
    pub(crate) fn new(run: &Run, task: Option<&TaskRun>, tasks: &'a [TaskRun]) -> Layers<'a> {
        let mut layers = Layers { flat: BTreeMap::new(), tasks };
        let annotation = |name: &str| run.annotations.get(name).and_then(Json::as_object);
        layers.add(Some("global"), members(annotation("boomerang.io/global-params")));
        layers.add(Some("team"), members(annotation("boomerang.io/team-params")));
        layers.add(Some("workflow"), named(&run.params));
        layers.add(None, named(task.map_or(&[], |task| &task.params)));
        layers.add(Some("context"), members(annotation("boomerang.io/context-params")));
        layers.add(Some("context"), members(Some(&context(run, task))));
        layers
    }

    fn add<'v>(&mut self, scope: Option<&str>, values: impl Iterator<Item = (&'v str, &'v Json)>) {
        for (name, value) in values.filter(|(_, value)| !value.is_null()) {
            if let Some(scope) = scope {
                self.flat.insert(format!("{scope}.params.{name}"), value.clone());
            }
            self.flat.insert(format!("params.{name}"), value.clone());
        }
    }

    /// The value under a whole name.
    pub(super) fn get(&self, name: &str) -> Option<&Json> {
        self.flat.get(name)
    }

    /// The value of a reference. `original` is the param in which it stands.
    pub(super) fn find(&self, reference: &str, original: &Json) -> Option<Json> {
        let mut segments: Vec<&str> = reference.split('.').collect();
        while segments.last().is_some_and(|segment| segment.is_empty()) {
            segments.pop();
        }
        match segments[..] {
            ["params", _] => self.flat.get(reference).cloned(),
            ["params", _, _, ..] => self.reduced(reference, 2),
            [scope, "params", _] if SCOPES.contains(&scope) => self.flat.get(reference).cloned(),
            [scope, "params", _, _, ..] if SCOPES.contains(&scope) => self.reduced(reference, 3),
            ["tasks", task, "results", result, ref rest @ ..] => {
                let value = self.result(task, result)?;
                if rest.is_empty() {
                    return Some(value.clone()).filter(|value| !value.is_null());
                }
                // A path that leads nowhere finds the param itself.
                Some(reduce(value, after(reference, 4)).unwrap_or_else(|| original.clone()))
            }
            _ => None,
        }
    }

    fn reduced(&self, reference: &str, segments: usize) -> Option<Json> {
        let path = after(reference, segments);
        let name = reference.strip_suffix(path)?.strip_suffix('.')?;
        reduce(self.flat.get(name)?, path)
    }

    fn result(&self, task: &str, name: &str) -> Option<&Json> {
        let task = self.tasks.iter().find(|run| run.name == task)?;
        task.results.iter().find(|result| result.name.as_deref() == Some(name)).map(|result| &result.value)
    }
}

/// The params of the context that the engine itself knows; Flow adds others.
pub(crate) fn context(run: &Run, task: Option<&TaskRun>) -> Object {
    let mut context = Object::new();
    context.insert("workflowrun-trigger".to_owned(), Json::from(&run.trigger));
    context.insert("workflowrun-initiator".to_owned(), Json::from(""));
    context.insert("workflowrun-ref".to_owned(), Json::from(&run.id));
    if let Some(task) = task {
        context.insert("taskrun-ref".to_owned(), Json::from(&task.id));
        context.insert("taskrun-name".to_owned(), Json::from(&task.name));
        context.insert("taskrun-type".to_owned(), Json::from(task.kind.name()));
    }
    context
}

fn members(object: Option<&Object>) -> impl Iterator<Item = (&str, &Json)> {
    object.into_iter().flatten().map(|(name, value)| (name.as_str(), value))
}

fn named(params: &[Param]) -> impl Iterator<Item = (&str, &Json)> {
    params.iter().map(|param| (param.name.as_str(), &param.value))
}

/// The text behind this number of dots.
fn after(reference: &str, segments: usize) -> &str {
    reference.splitn(segments + 1, '.').last().unwrap_or_default()
}
