//! Workflows: their triggers, params, tasks, and the graph of these.

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};

use crate::json::Object;
use crate::params::Param;

/// A workflow in its latest version.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Workflow {
    /// 24 hexadecimal digits.
    pub id: String,
    /// The name, unique in the team.
    pub name: String,
    /// The name on pages. By default, `name`.
    #[serde(default)]
    pub display_name: Option<String>,
    /// The team that owns the workflow. Flow finds no workflow that has none.
    #[serde(default)]
    pub team: Option<String>,
    /// Whether it may run.
    #[serde(default)]
    pub status: Activity,
    /// The version.
    #[serde(default = "one")]
    pub version: i64,
    /// The id of the version. By default, `id`.
    #[serde(default)]
    pub revision: Option<String>,
    /// The time of its creation, in the engine's notation.
    #[serde(default = "beginning")]
    pub creation_date: String,
    /// The description.
    #[serde(default)]
    pub description: Option<String>,
    /// Labels that each run gets.
    #[serde(default)]
    pub labels: IndexMap<String, Option<String>>,
    /// The time that a run may take, in minutes.
    #[serde(default)]
    pub timeout: Option<i64>,
    /// The triggers that may start it.
    #[serde(default)]
    pub triggers: Triggers,
    /// The params that it declares: `name`, `type` and `default` count.
    #[serde(default)]
    pub params: Vec<Object>,
    /// The tasks.
    pub tasks: Vec<WorkflowTask>,
}

impl Workflow {
    pub(crate) fn revision(&self) -> &str {
        self.revision.as_deref().unwrap_or(&self.id)
    }
}

fn one() -> i64 {
    1
}

fn beginning() -> String {
    "2026-01-01T00:00:00.000+00:00".to_owned()
}

/// Whether a workflow or task may be used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs, reason = "the engine's terms")]
pub enum Activity {
    #[default]
    Active,
    Inactive,
}

/// The triggers of a workflow. Flow checks them, the engine doesn't.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[allow(missing_docs, reason = "the engine's terms")]
pub struct Triggers {
    pub manual: Trigger,
    pub schedule: Trigger,
    pub webhook: Trigger,
    pub event: Trigger,
    pub github: Trigger,
}

impl Default for Triggers {
    fn default() -> Self {
        let off = Trigger { enabled: false };
        Triggers { manual: Trigger { enabled: true }, schedule: off, webhook: off, event: off, github: off }
    }
}

/// One trigger of a workflow. Conditions aren't modelled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "the engine's terms")]
pub struct Trigger {
    pub enabled: bool,
}

/// The types of tasks that the model knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs, reason = "the engine's terms")]
pub enum TaskType {
    Start,
    End,
    Template,
    Script,
    Custom,
    Generic,
    EventWait,
    Sleep,
    SetWfProperty,
}

impl TaskType {
    /// The engine's name for it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            TaskType::Start => "start",
            TaskType::End => "end",
            TaskType::Template => "template",
            TaskType::Script => "script",
            TaskType::Custom => "custom",
            TaskType::Generic => "generic",
            TaskType::EventWait => "eventwait",
            TaskType::Sleep => "sleep",
            TaskType::SetWfProperty => "setwfproperty",
        }
    }

    /// Whether an agent runs such a task, not the engine.
    pub(crate) fn needs_agent(self) -> bool {
        matches!(self, TaskType::Template | TaskType::Script | TaskType::Custom | TaskType::Generic)
    }

    /// Whether the engine gives such a task an image if its template has none.
    pub(crate) fn needs_image(self) -> bool {
        matches!(self, TaskType::Template | TaskType::Script)
    }

    /// Whether it is the start or the end of the graph, which have no template.
    pub(crate) fn is_marker(self) -> bool {
        matches!(self, TaskType::Start | TaskType::End)
    }
}

/// A task of a workflow.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct WorkflowTask {
    /// The name, unique in the workflow.
    pub name: String,
    /// The type.
    #[serde(rename = "type")]
    pub kind: TaskType,
    /// The id of its template; none for `start` and `end`.
    #[serde(default)]
    pub task_ref: Option<String>,
    /// The tasks before it. By default, the task before it in the list.
    #[serde(default)]
    pub dependencies: Option<Vec<Dependency>>,
    /// Its params.
    #[serde(default)]
    pub params: Vec<Param>,
    /// The time that it may take, in minutes.
    #[serde(default)]
    pub timeout: Option<i64>,
    /// The time that an agent takes for it, in milliseconds. Not a member of the engine's API.
    #[serde(default)]
    pub duration_ms: u64,
    /// Whether it fails when an agent runs it. Not a member of the engine's API.
    #[serde(default)]
    pub fails: bool,
}

/// An edge of a workflow's graph.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Dependency {
    /// The name of the task before.
    pub task_ref: String,
    /// The condition on how that task ends.
    #[serde(default)]
    pub execution_condition: Condition,
}

/// The condition under which a task runs: how the task before it has to end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs, reason = "the engine's terms")]
pub enum Condition {
    #[default]
    Always,
    Success,
    Failure,
}
