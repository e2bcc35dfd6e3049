//! The preflight of a workflow: what the engine says of it, and what an operator should change.

mod description;
mod finding;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use http::{Request, Response, StatusCode};
use serde::Deserialize;

use super::{Engine, ProfileError, RequestError, malformed};
use crate::delivery::{Trigger, Verdict};
use crate::reference::WorkflowRef;
use crate::time::Timestamp;

pub use description::{ContainerTask, DeclaredParam, Description, Template, TemplateRef, TopicWait, TriggerSwitch};
pub use finding::{Finding, Level, Subject, TemplateState, unavailable, undescribed};

/// The part of a profile that a preflight needs: the places in the JSON of a workflow and of a task's template, and how
/// the engine treats them. A place is a JSON Pointer; within a list, it starts at the element.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PreflightForm<'a> {
    #[serde(borrow)]
    unknown: UnknownForm<'a>,
    /// Whether the workflow may run.
    active: Flag<'a>,
    params: ParamsForm<'a>,
    triggers: TriggersForm<'a>,
    tasks: WorkflowTasksForm<'a>,
    images: ImagesForm<'a>,
}

/// A text that stands for "yes".
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Flag<'a> {
    at: &'a str,
    equals: &'a str,
}

/// The engine's error codes for what it doesn't know. A 404 means the same.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct UnknownForm<'a> {
    workflow: &'a str,
    /// For an unknown template, or an unknown version of one.
    task: &'a str,
    /// The remedy for an unknown workflow.
    remedy: &'a str,
}

/// The params that a workflow declares.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ParamsForm<'a> {
    list: &'a str,
    name: &'a str,
    #[serde(rename = "type")]
    kind: &'a str,
    /// The type whose values stay JSON.
    json: &'a str,
}

/// The triggers of a workflow.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct TriggersForm<'a> {
    at: &'a str,
    enabled: &'a str,
    conditions: &'a str,
    switches: SwitchesForm<'a>,
    /// Whether the engine rejects a run whose trigger is off.
    checked: bool,
    /// The triggers whose conditions the engine compares with the payload.
    conditions_checked: Vec<Trigger>,
}

/// The engine's names of the switches for the triggers of a run.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct SwitchesForm<'a> {
    webhook: &'a str,
    event: &'a str,
    github: &'a str,
}

/// The tasks of a workflow. Their types and topics are where those of a run's tasks are.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct WorkflowTasksForm<'a> {
    list: &'a str,
    name: &'a str,
    /// The reference of a task's template.
    task: &'a str,
    version: &'a str,
}

/// The images of tasks.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ImagesForm<'a> {
    /// The types of the tasks that need an image.
    #[serde(borrow)]
    types: Vec<&'a str>,
    /// The place of the image in a template.
    at: &'a str,
    /// Whether a template may be used.
    active: Flag<'a>,
    /// Whether the engine itself gives an image to tasks that have none.
    given: bool,
    /// The constant with the image that Sluice gives to such tasks.
    #[serde(default)]
    default: Option<&'a str>,
    /// The remedy for a task without an image.
    #[serde(default)]
    remedy: &'a str,
}

/// The engine's answer about a workflow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Described {
    /// The workflow.
    Known(Description),
    /// The engine doesn't know it.
    Unknown {
        /// The engine's status.
        status: StatusCode,
        /// The engine's error code.
        code: Option<String>,
    },
    /// The engine knows it, but the profile doesn't say how to read it.
    Unread,
}

impl Engine<'_> {
    /// Reads the response to [`describe`](Self::describe). A verdict says why the workflow can't be read.
    pub fn read_workflow(&self, response: Response<Vec<u8>>, now: Timestamp) -> Result<Described, Verdict> {
        let form = self.preflight_form().map_err(malformed)?;
        let status = response.status();
        let body = match (self.read_description(response, now), &form) {
            (Ok(body), _) => body,
            (Err(Verdict::Rejected { status, code }), form)
                if is_unknown(status, code.as_deref(), form.as_ref().map(|form| form.unknown.workflow)) =>
            {
                return Ok(Described::Unknown { status, code });
            }
            (Err(verdict), _) => return Err(verdict),
        };
        let tasks = self.document().tasks().map_err(malformed)?;
        let (Some(form), Some(tasks)) = (form, tasks) else { return Ok(Described::Unread) };
        form.workflow(&tasks, &body).map(Described::Known).ok_or_else(|| unexpected(status))
    }

    fn preflight_form(&self) -> Result<Option<PreflightForm<'_>>, ProfileError> {
        let form = self.document().describe()?;
        form.map_or(Ok(None), |form| form.preflight())
    }

    /// Builds the request for the template of one of a workflow's tasks.
    pub fn describe_template(
        &self,
        workflow: &WorkflowRef,
        template: &TemplateRef,
    ) -> Result<Request<Vec<u8>>, RequestError> {
        self.describe_task(&template.reference, template.version, self.scope_of(workflow).as_deref())
    }

    /// Reads the response to [`describe_template`](Self::describe_template). A verdict says why the template can't be
    /// read.
    pub fn read_template(&self, response: Response<Vec<u8>>, now: Timestamp) -> Result<TemplateState, Verdict> {
        let form = self.preflight_form().map_err(malformed)?;
        let status = response.status();
        match self.read_description(response, now) {
            Ok(body) => {
                let template = form.and_then(|form| form.template(&body));
                template.map(TemplateState::Known).ok_or_else(|| unexpected(status))
            }
            Err(Verdict::Rejected { status, code })
                if is_unknown(status, code.as_deref(), form.map(|form| form.unknown.task)) =>
            {
                Ok(TemplateState::Unknown)
            }
            Err(verdict) => Err(verdict),
        }
    }

    /// Returns the templates whose images matter: those of all tasks in containers, unless the engine itself gives an
    /// image.
    pub fn templates(&self, described: &Described) -> Result<BTreeSet<TemplateRef>, Verdict> {
        let form = self.preflight_form().map_err(malformed)?;
        Ok(match (described, form) {
            (Described::Known(workflow), Some(form)) if !form.images.given => {
                workflow.container_tasks.iter().map(|task| task.template.clone()).collect()
            }
            _ => BTreeSet::new(),
        })
    }

    /// Returns the findings about a workflow.
    pub fn findings(
        &self,
        workflow: &WorkflowRef,
        described: &Described,
        templates: &BTreeMap<TemplateRef, TemplateState>,
    ) -> Result<Vec<Finding>, Verdict> {
        let form = self.preflight_form().map_err(malformed)?;
        Ok(match (described, form) {
            (Described::Known(description), Some(form)) => {
                let has_default_image = form.images.default.is_some_and(|name| self.constants.get(name).is_some());
                form.findings(description, templates, has_default_image)
            }
            (Described::Unknown { status, code }, form) => {
                let remedy = form.map_or("Check the name or id of the workflow.", |form| form.unknown.remedy);
                vec![finding::unknown(workflow.as_str(), *status, code.as_deref(), remedy)]
            }
            _ => vec![finding::unread()],
        })
    }
}

fn is_unknown(status: StatusCode, code: Option<&str>, expected: Option<&str>) -> bool {
    status == StatusCode::NOT_FOUND || (code.is_some() && code == expected)
}

fn unexpected(status: StatusCode) -> Verdict {
    let reason = format!("the engine answered {}, but not with the expected body", status.as_u16());
    Verdict::Unclear { reason, after: None, concluded: false }
}
