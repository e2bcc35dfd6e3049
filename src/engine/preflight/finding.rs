//! Findings: what an operator has to know, or to change, before senders use a workflow.

use std::collections::BTreeMap;

use http::StatusCode;
use serde::Serialize;

use super::PreflightForm;
use super::description::{ContainerTask, Description, Template, TemplateRef, TopicWait, TriggerSwitch};
use crate::delivery::{Trigger, Verdict};

/// How severe a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// Nothing has to be changed.
    Ok,
    /// Some deliveries fail, or arrive otherwise than they were sent.
    Warning,
    /// Deliveries fail until this is changed.
    Error,
}

/// The kind of the thing that a finding is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Subject {
    /// The engine.
    Engine,
    /// The workflow.
    Workflow,
    /// A trigger.
    Trigger,
    /// A param.
    Param,
    /// A task.
    Task,
    /// A topic.
    Topic,
}

/// One finding.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// How severe it is.
    pub level: Level,
    /// The kind of the thing that it is about.
    pub about: Subject,
    /// The name of that trigger, param or task, or the topic.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The finding, in one or two sentences.
    pub text: String,
    /// What to change: one or two sentences. `None` if nothing has to be changed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remedy: Option<String>,
}

impl Finding {
    fn new(level: Level, about: Subject, name: impl Into<Option<String>>, text: impl Into<String>) -> Self {
        Self { level, about, name: name.into(), text: text.into(), remedy: None }
    }

    fn remedy(mut self, remedy: impl Into<String>) -> Self {
        self.remedy = Some(remedy.into());
        self
    }
}

/// A task's template, as far as the engine shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TemplateState {
    /// The engine described it.
    Known(Template),
    /// The engine doesn't know it.
    Unknown,
    /// It was not read, for this reason.
    NotRead(String),
}

impl PreflightForm<'_> {
    /// Returns the findings about a workflow. `has_default_image` says whether the operator has set an image for tasks
    /// that have none.
    pub(super) fn findings(
        &self,
        description: &Description,
        templates: &BTreeMap<TemplateRef, TemplateState>,
        has_default_image: bool,
    ) -> Vec<Finding> {
        let mut findings = vec![activity(description.active)];
        findings.extend(self.triggers(&description.triggers));
        findings.extend(params(description));
        findings.extend(self.images(&description.container_tasks, templates, has_default_image));
        findings.extend(description.waits.iter().map(topic));
        findings
    }

    fn triggers(&self, triggers: &[TriggerSwitch]) -> Vec<Finding> {
        if !self.triggers.checked {
            return unchecked_triggers(triggers).into_iter().collect();
        }
        let none_is_on = !triggers.iter().any(|trigger| trigger.enabled);
        let off = if none_is_on { Level::Error } else { Level::Warning };
        let about_one = |trigger: &TriggerSwitch| {
            let (input, switch) = (inputs(trigger.trigger), &trigger.switch);
            let name = Some(name(trigger.trigger).to_owned());
            if !trigger.enabled {
                let text = format!("The trigger `{switch}` is off: the engine rejects {input} for this workflow.");
                let remedy = format!("Turn on the trigger `{switch}` if senders start this workflow by {input}.");
                return Finding::new(off, Subject::Trigger, name, text).remedy(remedy);
            }
            if trigger.has_conditions && self.triggers.conditions_checked.contains(&trigger.trigger) {
                let text = format!("The trigger `{switch}` has conditions: {input} that don't meet them start no run.");
                let remedy = "Remove the conditions, and put them into the `filter` of a route.";
                return Finding::new(Level::Warning, Subject::Trigger, name, text).remedy(remedy);
            }
            let text = format!("The trigger `{switch}` is on: {input} start this workflow.");
            Finding::new(Level::Ok, Subject::Trigger, name, text)
        };
        triggers.iter().map(about_one).collect()
    }

    fn images(
        &self,
        tasks: &[ContainerTask],
        templates: &BTreeMap<TemplateRef, TemplateState>,
        has_default_image: bool,
    ) -> Vec<Finding> {
        if self.images.given {
            let text = "The engine gives an image to each task that has none.";
            let finding = (!tasks.is_empty()).then(|| Finding::new(Level::Ok, Subject::Task, None, text));
            return finding.into_iter().collect();
        }
        let about_one = |task: &ContainerTask| {
            let (name, state) = (&task.name, templates.get(&task.template));
            let finding = |level, text: String| Finding::new(level, Subject::Task, Some(name.clone()), text);
            match state {
                Some(TemplateState::Known(Template { active: Some(false), .. })) => {
                    let text =
                        format!("The template of the task `{name}` is not active: no run of this workflow starts.");
                    finding(Level::Error, text).remedy("Activate the template, or give the task another one.")
                }
                Some(TemplateState::Known(Template { image: Some(_), .. })) => {
                    finding(Level::Ok, format!("The task `{name}` has an image."))
                }
                Some(TemplateState::Known(_)) if has_default_image => {
                    let text = format!("The task `{name}` has no image of its own, and gets `default_image`.");
                    finding(Level::Ok, text)
                }
                Some(TemplateState::Known(_)) => {
                    let text = format!(
                        "The task `{name}` has no image: the engine answers 500, and no run of this workflow starts."
                    );
                    finding(Level::Error, text).remedy(self.images.remedy)
                }
                Some(TemplateState::Unknown) => {
                    let text =
                        format!("The engine has no template for the task `{name}`: no run of this workflow starts.");
                    finding(Level::Error, text)
                        .remedy("Give the task a template that exists, in a version that exists.")
                }
                Some(TemplateState::NotRead(reason)) => {
                    let text = format!("It is not known whether the task `{name}` has an image: {reason}.");
                    finding(Level::Warning, text).remedy("Ask again, or look at the task's template in the engine.")
                }
                None => {
                    let text = format!(
                        "It is not known whether the task `{name}` has an image: the workflow has too many tasks."
                    );
                    finding(Level::Warning, text).remedy("Look at the task's template in the engine.")
                }
            }
        };
        tasks.iter().map(about_one).collect()
    }
}

/// Returns the finding about a workflow that the engine doesn't know.
pub(super) fn unknown(workflow: &str, status: StatusCode, code: Option<&str>, remedy: &str) -> Finding {
    let because = code.map(|code| format!(", {code}")).unwrap_or_default();
    let text = format!("The engine has no workflow `{workflow}`: it answered {}{because}.", status.as_u16());
    Finding::new(Level::Error, Subject::Workflow, None, text).remedy(remedy)
}

/// Returns the finding about a workflow that the engine knows, and that this profile can't read.
pub(super) fn unread() -> Finding {
    let text = "The engine has this workflow. Sluice can't check its triggers, params and tasks on this engine.";
    Finding::new(Level::Warning, Subject::Workflow, None, text).remedy("Look at the workflow in the engine.")
}

/// Returns the finding about a workflow of an engine whose profile doesn't say how to ask for it.
pub fn undescribed(engine: &str) -> Finding {
    let text = format!("Sluice can't ask the engine `{engine}` about workflows.");
    Finding::new(Level::Warning, Subject::Workflow, None, text).remedy("Look at the workflow in the engine.")
}

/// Returns the finding about an engine that did not describe the workflow. `status` is the engine's, if it answered.
pub fn unavailable(verdict: &Verdict, status: Option<StatusCode>) -> Finding {
    let remedy = match (verdict, status.map(|status| status.as_u16())) {
        (_, Some(401 | 403)) => "Set `engine_token` to a token that may read workflows.",
        (Verdict::Unreachable { .. }, _) => {
            "Check `engine_url`, and that the engine runs and can be reached from here."
        }
        (Verdict::Misconfigured { .. }, None) => "Check `engine_url`: the host calls no other address.",
        (_, Some(200..=299 | 300..=399 | 404 | 405)) => {
            "Check `engine_url`, `engine`, and the path in `engine` in `settings`: something else answers at this address."
        }
        _ => "Ask again. If the answer stays the same, see the engine's log.",
    };
    Finding::new(Level::Error, Subject::Engine, None, sentence(&verdict.to_string())).remedy(remedy)
}

fn activity(active: Option<bool>) -> Finding {
    match active {
        Some(false) => {
            let text = "The workflow is not active: the engine rejects each run.";
            Finding::new(Level::Error, Subject::Workflow, None, text).remedy("Activate the workflow in the engine.")
        }
        Some(true) => {
            Finding::new(Level::Ok, Subject::Workflow, None, "The engine has this workflow, and it is active.")
        }
        None => Finding::new(Level::Ok, Subject::Workflow, None, "The engine has this workflow."),
    }
}

/// Returns the finding about triggers that the engine doesn't check.
fn unchecked_triggers(triggers: &[TriggerSwitch]) -> Option<Finding> {
    let off: Vec<_> =
        triggers.iter().filter(|trigger| !trigger.enabled).map(|trigger| trigger.switch.as_str()).collect();
    let mut names: Vec<String> = off.iter().map(|name| format!("`{name}`")).collect();
    names.dedup();
    if triggers.is_empty() {
        return None;
    }
    let text = match names.as_slice() {
        [] => "All triggers of senders are on.".to_owned(),
        [one] => format!(
            "The trigger {one} is off, but this API of the engine doesn't check it: each delivery starts a run."
        ),
        more => format!(
            "The triggers {} are off, but this API of the engine doesn't check them: each delivery starts a run.",
            more.join(" and ")
        ),
    };
    Some(Finding::new(Level::Ok, Subject::Trigger, None, text))
}

/// Returns the findings about the params in which a payload arrives: `data`, and `event` unless the workflow takes no
/// events.
fn params(description: &Description) -> Vec<Finding> {
    let takes_events = description.triggers.iter().all(|trigger| trigger.trigger != Trigger::Event || trigger.enabled);
    let names = if takes_events { &["data", "event"][..] } else { &["data"] };
    let about_one = |name: &&str| {
        let declared = description.params.iter().find(|param| param.name == **name);
        let finding = |level, text: String| Finding::new(level, Subject::Param, Some((*name).to_owned()), text);
        let what = match declared {
            Some(param) if param.is_json => {
                return finding(Level::Ok, format!("The param `{name}` is declared as `json`: JSON stays JSON."));
            }
            Some(param) => match &param.kind {
                Some(kind) => format!("is declared as `{kind}`"),
                None => "is declared without a type".to_owned(),
            },
            None => "is not declared".to_owned(),
        };
        let text = format!(
            "The param `{name}` {what}: an object arrives as a text such as `{{a=1}}`, and a text with `$(` in it wipes the whole param."
        );
        finding(Level::Warning, text)
            .remedy(format!("Declare the param `{name}` with the type `json` in the workflow."))
    };
    names.iter().map(about_one).collect()
}

fn topic(wait: &TopicWait) -> Finding {
    let TopicWait { task, topic, has_references } = wait;
    let Some(topic) = topic else {
        let text = format!("The task `{task}` waits for a callback, but has no topic: no callback reaches it.");
        return Finding::new(Level::Error, Subject::Topic, None, text).remedy("Give the task a topic.");
    };
    if !has_references {
        let text = format!("The task `{task}` waits for the topic `{topic}`.");
        return Finding::new(Level::Ok, Subject::Topic, topic.clone(), text);
    }
    let text = format!(
        "The topic of the task `{task}` is made of params: `{topic}`. It is known only once the run has come to this task."
    );
    let remedy = "Let callbacks name the topic with the params' values in it, or give the task a fixed topic.";
    Finding::new(Level::Warning, Subject::Topic, topic.clone(), text).remedy(remedy)
}

fn name(trigger: Trigger) -> &'static str {
    match trigger {
        Trigger::Webhook => "webhook",
        Trigger::Event => "event",
        Trigger::Github => "github",
    }
}

fn inputs(trigger: Trigger) -> &'static str {
    match trigger {
        Trigger::Webhook => "webhooks",
        Trigger::Event => "events",
        Trigger::Github => "routed webhooks of GitHub",
    }
}

/// Makes a sentence of a reason: an initial capital letter, and a period.
fn sentence(reason: &str) -> String {
    let mut chars = reason.chars();
    let first = chars.next().map(|first| first.to_uppercase().to_string()).unwrap_or_default();
    format!("{first}{}.", chars.as_str())
}
