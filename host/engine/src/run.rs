//! Runs and their tasks, as the engine's database has them.

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};

use crate::catalogue::{Dependency, TaskType};
use crate::json::{Json, Object};
use crate::params::Param;

/// The status of a run or a task, `RunStatus` in the engine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs, reason = "the engine's terms")]
pub enum Status {
    #[default]
    NotStarted,
    Ready,
    Running,
    Waiting,
    Succeeded,
    Failed,
    Invalid,
    Skipped,
    Cancelled,
    TimedOut,
}

impl Status {
    const ALL: [Status; 10] = [
        Status::NotStarted,
        Status::Ready,
        Status::Running,
        Status::Waiting,
        Status::Succeeded,
        Status::Failed,
        Status::Invalid,
        Status::Skipped,
        Status::Cancelled,
        Status::TimedOut,
    ];

    /// The engine's name for it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Status::NotStarted => "notstarted",
            Status::Ready => "ready",
            Status::Running => "running",
            Status::Waiting => "waiting",
            Status::Succeeded => "succeeded",
            Status::Failed => "failed",
            Status::Invalid => "invalid",
            Status::Skipped => "skipped",
            Status::Cancelled => "cancelled",
            Status::TimedOut => "timedout",
        }
    }

    /// The status of a name, whose case has to match.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Status> {
        Status::ALL.into_iter().find(|status| status.name() == name)
    }
}

/// The phase of a run or a task, `RunPhase` in the engine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs, reason = "the engine's terms")]
pub enum Phase {
    #[default]
    Pending,
    /// Taken by an agent.
    Queued,
    Running,
    Completed,
    Finalized,
}

impl Phase {
    pub(crate) const ALL: [Phase; 5] =
        [Phase::Pending, Phase::Queued, Phase::Running, Phase::Completed, Phase::Finalized];

    /// The engine's name for it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Phase::Pending => "pending",
            Phase::Queued => "queued",
            Phase::Running => "running",
            Phase::Completed => "completed",
            Phase::Finalized => "finalized",
        }
    }

    /// Whether a run in this phase is over.
    pub(crate) fn is_over(self) -> bool {
        matches!(self, Phase::Completed | Phase::Finalized)
    }

    /// Whether a run in this phase can be started.
    pub(crate) fn is_startable(self) -> bool {
        matches!(self, Phase::Pending | Phase::Queued)
    }
}

/// A result of a task or a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the engine's terms")]
pub struct RunResult {
    pub name: Option<String>,
    #[serde(default)]
    pub description: Option<String>,
    #[serde(default)]
    pub value: Json,
}

/// A run of a workflow, `WorkflowRunEntity` in the engine. Times are in milliseconds since 1970.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the engine's terms")]
pub struct Run {
    pub id: String,
    pub labels: IndexMap<String, Option<String>>,
    pub annotations: Object,
    pub creation_date: u64,
    pub start_time: Option<u64>,
    pub duration: u64,
    pub timeout: Option<i64>,
    pub retries: Option<i64>,
    pub debug: Option<bool>,
    pub status: Status,
    pub phase: Phase,
    pub status_message: Option<String>,
    pub workflow_ref: String,
    pub workflow_version: i64,
    pub workflow_revision_ref: String,
    pub trigger: String,
    pub params: Vec<Param>,
    pub results: Vec<RunResult>,
    pub workspaces: Vec<Json>,
}

/// A task of a run, `TaskRunEntity` in the engine. Times are in milliseconds since 1970.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the engine's terms")]
pub struct TaskRun {
    pub id: String,
    pub kind: TaskType,
    pub name: String,
    pub labels: IndexMap<String, Option<String>>,
    pub annotations: Object,
    pub creation_date: u64,
    pub start_time: Option<u64>,
    pub duration: u64,
    pub timeout: Option<i64>,
    pub params: Vec<Param>,
    pub results: Vec<RunResult>,
    /// `TaskRunSpec`, as it is shown.
    pub spec: Object,
    pub status: Status,
    pub phase: Phase,
    pub status_message: Option<String>,
    /// An event came before the task waited.
    pub pre_approved: bool,
    pub dependencies: Vec<Dependency>,
    pub task_ref: Option<String>,
    pub task_version: Option<i64>,
    pub workflow_ref: String,
    pub workflow_revision_ref: String,
    pub workflow_run_ref: String,
}

impl TaskRun {
    /// The value of a param.
    #[must_use]
    pub fn param(&self, name: &str) -> Option<&Json> {
        self.params.iter().find(|param| param.name == name).map(|param| &param.value)
    }

    /// Marks the task as ended, or moves it on.
    pub(crate) fn set(&mut self, status: Status, phase: Phase) {
        self.status = status;
        self.phase = phase;
    }

    /// Sets how long the task has run; a task that never ran has no duration.
    pub(crate) fn set_duration(&mut self, now: u64) {
        self.duration = self.start_time.map_or(0, |start| now.saturating_sub(start));
    }
}

/// A run with everything that belongs to it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// The run.
    pub run: Run,
    /// Its tasks in the order in which the engine created them.
    pub tasks: Vec<TaskRun>,
    /// The team that Flow ties the run to; none for a run that was submitted at the engine.
    pub team: Option<String>,
}

impl Record {
    /// A task by name.
    #[must_use]
    pub fn task(&self, name: &str) -> Option<&TaskRun> {
        self.tasks.iter().find(|task| task.name == name)
    }

    /// Writes a whole task, whatever is there.
    pub(crate) fn save(&mut self, task: TaskRun) {
        match self.tasks.iter_mut().find(|saved| saved.id == task.id) {
            Some(saved) => *saved = task,
            None => self.tasks.push(task),
        }
    }
}
