//! Workflow runs and their waits. Names and order of the fields are the engine's.

use std::collections::BTreeMap;

use chrono::{DateTime, SecondsFormat, Utc};
use serde::{Deserialize, Serialize, Serializer};
use serde_json::value::RawValue;

/// The status of a run, or of a task that waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs, reason = "the engine's terms")]
pub enum Status {
    Ready,
    Running,
    Waiting,
    Succeeded,
    Failed,
}

/// The phase of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs, reason = "the engine's terms")]
pub enum Phase {
    Pending,
    Running,
    Completed,
}

/// A parameter. Its value keeps the bytes of the request.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the engine's terms")]
pub struct Param {
    pub name: String,
    pub value: Box<RawValue>,
}

/// A result. Its value keeps the bytes of the request.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the engine's terms")]
pub struct RunResult {
    pub name: String,
    #[serde(default)]
    pub description: Option<String>,
    pub value: Box<RawValue>,
}

/// A task that waits for a topic. The engine lists it among the tasks of the run, the stand-in on its own paths only.
#[derive(Clone, Debug, Serialize)]
pub struct Wait {
    /// The topic.
    pub topic: String,
    /// `Waiting` until it is resolved, then `Succeeded` or `Failed`.
    pub status: Status,
    /// Whether the topic arrived before the task waited for it.
    pub early: bool,
    /// The results that arrived with the topic.
    pub results: Vec<RunResult>,
}

/// The engine's WorkflowRun.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
#[allow(missing_docs, reason = "the engine's terms")]
pub struct Run {
    pub id: String,
    #[serde(serialize_with = "date")]
    pub creation_date: DateTime<Utc>,
    pub status: Status,
    pub phase: Phase,
    #[serde(serialize_with = "optional_date", skip_serializing_if = "Option::is_none")]
    pub start_time: Option<DateTime<Utc>>,
    pub duration: i64,
    pub workflow_ref: String,
    pub workflow_revision_ref: String,
    pub labels: BTreeMap<String, String>,
    pub annotations: BTreeMap<String, String>,
    pub params: Vec<Param>,
    pub workflow_version: u32,
    pub trigger: String,
    pub results: Vec<RunResult>,
    pub workspaces: [(); 0],
    pub awaiting_approval: bool,
    /// The tasks that wait or waited for a topic.
    #[serde(skip)]
    pub waits: Vec<Wait>,
    /// Topics that arrived before any task waited for them. They resolve each later wait.
    #[serde(skip)]
    pub early: BTreeMap<String, (Status, Vec<RunResult>)>,
}

/// The body of a submit request. Unlike the engine, the stand-in requires `trigger` and `params`, which Sluice always
/// sends.
#[derive(Debug, Deserialize)]
pub(super) struct Submit {
    pub(super) trigger: Trigger,
    pub(super) params: Vec<Param>,
    #[serde(default)]
    pub(super) labels: BTreeMap<String, String>,
    #[serde(default)]
    pub(super) annotations: BTreeMap<String, String>,
}

impl Submit {
    /// A manual submit without params.
    pub(super) fn manual() -> Submit {
        Submit { trigger: Trigger::Manual, params: Vec::new(), labels: BTreeMap::new(), annotations: BTreeMap::new() }
    }
}

/// The cause of a run.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Trigger {
    Manual,
    Schedule,
    Webhook,
    Event,
    Github,
    Engine,
    Task,
}

impl Trigger {
    fn name(self) -> &'static str {
        match self {
            Trigger::Manual => "manual",
            Trigger::Schedule => "schedule",
            Trigger::Webhook => "webhook",
            Trigger::Event => "event",
            Trigger::Github => "github",
            Trigger::Engine => "engine",
            Trigger::Task => "task",
        }
    }
}

/// The body of an event request for a run.
#[derive(Debug, Deserialize)]
pub(super) struct Event {
    pub(super) topic: String,
    #[serde(default = "succeeded")]
    pub(super) status: Status,
    #[serde(default)]
    pub(super) results: Vec<RunResult>,
}

fn succeeded() -> Status {
    Status::Succeeded
}

impl Run {
    pub(super) fn new(id: String, workflow: String, submit: Submit, start: bool, now: DateTime<Utc>) -> Run {
        let mut annotations = submit.annotations;
        annotations.insert("boomerang.io/generation".into(), "4".into());
        annotations.insert("boomerang.io/kind".into(), "WorkflowRun".into());
        if start {
            annotations.insert("boomerang.io/submit-with-start".into(), "true".into());
        }
        Run {
            id,
            creation_date: now,
            status: if start { Status::Running } else { Status::Ready },
            phase: if start { Phase::Running } else { Phase::Pending },
            start_time: start.then_some(now),
            duration: 0,
            workflow_revision_ref: format!("{workflow}-1"),
            workflow_ref: workflow,
            labels: submit.labels,
            annotations,
            params: submit.params,
            workflow_version: 1,
            trigger: submit.trigger.name().into(),
            results: Vec::new(),
            workspaces: [],
            awaiting_approval: false,
            waits: Vec::new(),
            early: BTreeMap::new(),
        }
    }

    /// Adds a task that waits for the topic. It is resolved at once if the topic has arrived already.
    pub(super) fn wait(&mut self, topic: String, now: DateTime<Utc>) {
        let (early, status, results) = match self.early.get(&topic) {
            Some((status, results)) => (true, *status, results.clone()),
            None => (false, Status::Waiting, Vec::new()),
        };
        self.waits.push(Wait { topic, status, early, results });
        self.start_time.get_or_insert(now);
        self.update_status(now);
    }

    /// Resolves every task that waits for the topic. If no task ever did, keeps the topic for later waits.
    pub(super) fn resolve(&mut self, event: Event, now: DateTime<Utc>) {
        let mut is_known = false;
        for wait in self.waits.iter_mut().filter(|wait| wait.topic == event.topic) {
            is_known = true;
            if wait.status == Status::Waiting {
                wait.status = event.status;
                wait.results.clone_from(&event.results);
            }
        }
        if !is_known {
            self.early.insert(event.topic, (event.status, event.results));
        }
        self.update_status(now);
    }

    /// Derives status and phase from the waits: a run waits while one of its tasks does, and is completed after that.
    fn update_status(&mut self, now: DateTime<Utc>) {
        let has = |status| self.waits.iter().any(|wait| wait.status == status);
        (self.status, self.phase) = if has(Status::Waiting) {
            (Status::Waiting, Phase::Running)
        } else if self.waits.is_empty() {
            return;
        } else if has(Status::Failed) {
            (Status::Failed, Phase::Completed)
        } else {
            (Status::Succeeded, Phase::Completed)
        };
        if let (Phase::Completed, Some(started)) = (self.phase, self.start_time) {
            self.duration = (now - started).num_milliseconds();
        }
    }
}

/// Formats a date like the engine.
pub(super) fn timestamp(date: DateTime<Utc>) -> String {
    date.to_rfc3339_opts(SecondsFormat::Millis, false)
}

fn date<S: Serializer>(date: &DateTime<Utc>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&timestamp(*date))
}

fn optional_date<S: Serializer>(date: &Option<DateTime<Utc>>, serializer: S) -> Result<S::Ok, S::Error> {
    date.map(timestamp).serialize(serializer)
}
