//! What an engine says of a workflow and of its tasks' templates, read from JSON by the places in the profile.

use serde_json::Value;

use super::{Flag, PreflightForm};
use crate::delivery::Trigger;
use crate::engine::form::TasksForm;
use crate::json;

/// A workflow, as the engine describes it. A list is empty if the engine's answer lacks it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Description {
    /// Whether the workflow may run; `None` if the engine doesn't say.
    pub active: Option<bool>,
    /// The triggers that the engine names, one for each way in which a sender starts a run.
    pub triggers: Vec<TriggerSwitch>,
    /// The params that the workflow declares, in the engine's order.
    pub params: Vec<DeclaredParam>,
    /// The tasks that run in a container and need an image for it.
    pub container_tasks: Vec<ContainerTask>,
    /// The tasks that wait for a callback.
    pub waits: Vec<TopicWait>,
}

/// The switch of a trigger.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TriggerSwitch {
    /// The trigger of the run.
    pub trigger: Trigger,
    /// The engine's name of the switch, which can be another trigger's.
    pub switch: String,
    /// Whether it is on.
    pub enabled: bool,
    /// Whether the engine compares the payload with conditions.
    pub has_conditions: bool,
}

/// A declared param.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeclaredParam {
    /// Its name.
    pub name: String,
    /// Its type, if it has one.
    pub kind: Option<String>,
    /// Whether values of this type stay JSON.
    pub is_json: bool,
}

/// A task that runs in a container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContainerTask {
    /// Its name in the workflow.
    pub name: String,
    /// Its template.
    pub template: TemplateRef,
}

/// A task's template in one version.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct TemplateRef {
    /// The template's id or name, as the engine refers to it. Empty if the engine doesn't know the template.
    pub reference: String,
    /// The version; `None` for the latest.
    pub version: Option<u64>,
}

/// A task that waits for a callback.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicWait {
    /// Its name in the workflow.
    pub task: String,
    /// Its topic; `None` if it has none.
    pub topic: Option<String>,
    /// Whether the topic is known only once the engine has put in the run's params.
    pub has_references: bool,
}

/// A task's template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    /// The image of its container.
    pub image: Option<String>,
    /// Whether it may be used; `None` if the engine doesn't say.
    pub active: Option<bool>,
}

impl PreflightForm<'_> {
    /// Reads a workflow. `tasks` has the form of a run's tasks, which its tasks have too, as far as they have the same
    /// members. Returns `None` if the body is no JSON object with a list of tasks.
    pub(super) fn workflow(&self, form: &TasksForm<'_>, body: &[u8]) -> Option<Description> {
        let workflow: Value = json::read(body).ok()?;
        let tasks = workflow.pointer(self.tasks.list)?.as_array()?;
        Some(Description {
            active: self.active.read(&workflow),
            triggers: self.trigger_switches(&workflow),
            params: list(&workflow, self.params.list).iter().filter_map(|param| self.param(param)).collect(),
            container_tasks: tasks.iter().filter_map(|task| self.container_task(form, task)).collect(),
            waits: tasks.iter().filter_map(|task| self.wait(form, task)).collect(),
        })
    }

    /// Reads a task's template. Returns `None` if the body is no JSON object with a place for an image.
    pub(super) fn template(&self, body: &[u8]) -> Option<Template> {
        let template: Value = json::read(body).ok()?;
        let (parent, _) = self.images.at.rsplit_once('/')?;
        template.pointer(parent)?.as_object()?;
        let image = text(&template, self.images.at);
        Some(Template { image: image.map(str::to_owned), active: self.images.active.read(&template) })
    }

    fn trigger_switches(&self, workflow: &Value) -> Vec<TriggerSwitch> {
        let form = &self.triggers;
        let Some(triggers) = workflow.pointer(form.at).and_then(Value::as_object) else { return Vec::new() };
        let read = |(trigger, name): (Trigger, &str)| {
            let switch = triggers.get(name)?;
            Some(TriggerSwitch {
                trigger,
                switch: name.to_owned(),
                enabled: switch.pointer(form.enabled)?.as_bool()?,
                has_conditions: !list(switch, form.conditions).is_empty(),
            })
        };
        let switches = &form.switches;
        let all = [
            (Trigger::Webhook, switches.webhook),
            (Trigger::Event, switches.event),
            (Trigger::Github, switches.github),
        ];
        all.into_iter().filter_map(read).collect()
    }

    fn param(&self, param: &Value) -> Option<DeclaredParam> {
        let kind = text(param, self.params.kind);
        Some(DeclaredParam {
            name: text(param, self.params.name)?.to_owned(),
            kind: kind.map(str::to_owned),
            is_json: kind == Some(self.params.json),
        })
    }

    fn container_task(&self, form: &TasksForm<'_>, task: &Value) -> Option<ContainerTask> {
        let kind = text(task, &form.kind)?;
        self.images.types.contains(&kind).then(|| ContainerTask {
            name: self.task_name(task),
            template: TemplateRef {
                reference: text(task, self.tasks.task).unwrap_or_default().to_owned(),
                version: task.pointer(self.tasks.version).and_then(Value::as_u64),
            },
        })
    }

    fn wait(&self, form: &TasksForm<'_>, task: &Value) -> Option<TopicWait> {
        let place = &form.topic;
        (text(task, &form.kind)? == &*form.waits).then(|| {
            let topic = match (&place.at, &place.list, &place.name, &place.value) {
                (Some(at), ..) => text(task, at),
                (None, Some(at), Some(name), Some(value)) => {
                    let is_topic = |param: &&Value| text(param, name) == place.equals.as_deref();
                    list(task, at).iter().find(is_topic).and_then(|param| text(param, value))
                }
                _ => None,
            };
            TopicWait {
                task: self.task_name(task),
                topic: topic.map(str::to_owned),
                has_references: topic
                    .zip(place.unresolved.as_deref())
                    .is_some_and(|(topic, mark)| topic.contains(mark)),
            }
        })
    }

    fn task_name(&self, task: &Value) -> String {
        text(task, self.tasks.name).unwrap_or_default().to_owned()
    }
}

impl Flag<'_> {
    fn read(&self, value: &Value) -> Option<bool> {
        text(value, self.at).map(|found| found == self.equals)
    }
}

/// Returns a text that is not empty.
fn text<'a>(value: &'a Value, at: &str) -> Option<&'a str> {
    value.pointer(at)?.as_str().filter(|text| !text.is_empty())
}

/// Returns the elements of a list; none if there is no list.
fn list<'a>(value: &'a Value, at: &str) -> &'a [Value] {
    value.pointer(at).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}
