//! The members of a profile as types. `docs/engines/README.md` documents each.

use serde::Deserialize;
use serde_json::value::RawValue;

use super::Operation;
use super::preflight::PreflightForm;
use super::profile::{ProfileError, read};
use crate::delivery::RunState;

/// The form of a constant's value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum SettingForm {
    /// A path that precedes each path of the profile, such as `/flow`.
    Path,
    /// One path segment.
    Segment,
    /// An array of path segments.
    Segments,
    /// Any text that isn't empty.
    Text,
}

/// The constants that have the scopes of references, such as teams.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Scope<'a> {
    /// The constant with the scope of a reference that names none.
    pub(super) setting: &'a str,
    /// The constant with the other scopes that a reference may name.
    pub(super) more: &'a str,
}

/// The limits of the engine.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct EngineLimits {
    /// The largest payload in bytes.
    #[serde(default)]
    pub(super) max_body_bytes: Option<usize>,
}

/// What follows a start whose effect is unknown.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Doubt {
    /// The run is looked up by its label.
    Find,
}

/// The request that starts a run.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct StartForm<'a> {
    #[serde(borrow)]
    pub(super) request: Template<'a>,
    pub(super) proof: StartProof,
}

/// The body that proves a start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum StartProof {
    /// A run that the engine runs, has run, or that somebody has cancelled.
    Run,
}

/// The lookup of a delivery's runs by their label.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct FindForm<'a> {
    #[serde(borrow)]
    pub(super) request: Template<'a>,
    /// The place of the list of runs.
    pub(super) list: &'a str,
    /// The place of the label in a run.
    pub(super) label: &'a str,
}

/// An operation that is no more than its request.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RequestForm<'a> {
    #[serde(borrow)]
    pub(super) request: Template<'a>,
}

/// The request that resumes a run.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ResumeForm<'a> {
    #[serde(borrow)]
    pub(super) request: Template<'a>,
    /// The request for a callback without a payload, if it differs.
    #[serde(borrow, default)]
    pub(super) without_payload: Option<Template<'a>>,
    pub(super) proof: ResumeProof,
}

/// The body that proves a resume.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum ResumeProof {
    /// Empty, or any JSON.
    JsonOrEmpty,
}

/// The requests for the definitions of a workflow and of a task, and what a preflight reads in the responses.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct DescribeForm<'a> {
    #[serde(borrow)]
    pub(super) workflow: Template<'a>,
    #[serde(borrow)]
    pub(super) task: Template<'a>,
    /// `None` if it isn't known how the engine treats a workflow.
    #[serde(borrow, default)]
    preflight: Option<&'a RawValue>,
}

impl<'a> DescribeForm<'a> {
    pub(super) fn preflight(&self) -> Result<Option<PreflightForm<'a>>, ProfileError> {
        self.preflight.map(read).transpose()
    }
}

/// A request with holes.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Template<'a> {
    pub(super) method: &'a str,
    pub(super) path: &'a str,
    /// An object of texts.
    #[serde(borrow, default)]
    pub(super) query: Option<&'a RawValue>,
    #[serde(borrow, default)]
    pub(super) body: Option<&'a RawValue>,
}

/// The places of a run's parts, and the meaning of its status.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RunForm<'a> {
    pub(super) id: &'a str,
    pub(super) status: &'a str,
    pub(super) phase: &'a str,
    pub(super) trigger: &'a str,
    /// The triggers of runs that another run has started. They carry the label of that run.
    #[serde(borrow)]
    pub(super) child_triggers: Vec<&'a str>,
    #[serde(borrow)]
    pub(super) workflow_id: WorkflowId<'a>,
    /// The place of the workflow's name, if a run has it.
    #[serde(default)]
    pub(super) workflow_name: Option<&'a str>,
    #[serde(borrow)]
    pub(super) states: Vec<StateRule<'a, RunState>>,
}

/// The id of a run's workflow.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct WorkflowId<'a> {
    /// Its place in a run.
    pub(super) at: &'a str,
    /// Number of hexadecimal digits of each id. A reference of this form is an id and no name.
    pub(super) hex: usize,
}

impl WorkflowId<'_> {
    /// Returns whether a text has the form of an id.
    pub(super) fn is_id(&self, text: &str) -> bool {
        text.len() == self.hex && text.bytes().all(|b| b.is_ascii_hexdigit())
    }
}

/// The places of a task's parts, and the meaning of its status.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TasksForm<'a> {
    /// The place of the list of tasks in a run.
    pub(super) list: &'a str,
    pub(super) id: &'a str,
    #[serde(rename = "type")]
    pub(super) kind: &'a str,
    /// The type of a task that waits for a topic.
    pub(super) waits: &'a str,
    #[serde(borrow)]
    pub(super) topic: TopicForm<'a>,
    pub(super) status: &'a str,
    #[serde(borrow)]
    pub(super) states: Vec<StateRule<'a, WaitStateName>>,
}

/// The topic of a task: the value of a named element of a list.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TopicForm<'a> {
    /// The place of the list in a task.
    pub(super) list: &'a str,
    /// The place of the name in an element.
    pub(super) name: &'a str,
    /// The name of the element with the topic.
    pub(super) equals: &'a str,
    /// The place of the topic in that element.
    pub(super) value: &'a str,
    /// A text that only a topic contains which is still made of params.
    pub(super) unresolved: &'a str,
}

/// The state that a status means, in any phase or in one of these.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct StateRule<'a, S> {
    #[serde(borrow)]
    pub(super) status: Vec<&'a str>,
    #[serde(borrow, default)]
    pub(super) phase: Vec<&'a str>,
    pub(super) state: S,
}

/// The name of a [`WaitState`](crate::delivery::WaitState).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum WaitStateName {
    Ahead,
    Waiting,
    Succeeded,
    Failed,
    EndedOtherwise,
}

/// One rule for responses that aren't a 2xx. All its conditions have to hold.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Rule<'a> {
    /// The operations that it applies to; all of them if there are none.
    #[serde(default)]
    pub(super) operations: Vec<Operation>,
    /// Statuses and ranges, separated by commas: `404`, `400-499,500`.
    pub(super) status: &'a str,
    /// The place where the body has the text `equals`.
    #[serde(default)]
    pub(super) at: Option<&'a str>,
    #[serde(default)]
    pub(super) equals: Option<&'a str>,
    /// The body is an object that has something at each of these places.
    #[serde(borrow, default)]
    pub(super) has: Vec<&'a str>,
    /// The body is empty, or an object that has nothing at these places.
    #[serde(borrow, default)]
    pub(super) lacks: Vec<&'a str>,
    pub(super) verdict: RuleVerdict,
    /// For `unclear`: whether the engine itself has answered, and no longer acts on the request.
    #[serde(default)]
    pub(super) concluded: bool,
    /// A remark for the history of the delivery. Completes the sentence "the engine answered 500, …".
    #[serde(default)]
    pub(super) note: Option<&'a str>,
}

/// The verdict of a rule; [`Verdict`](crate::delivery::Verdict) has the meanings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum RuleVerdict {
    Rejected,
    UnknownRun,
    Retry,
    Unclear,
    Misconfigured,
}
