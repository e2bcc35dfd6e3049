//! The contents of a Boomerang installation, as data: workflows, tasks, tokens and users.
//!
//! Workflows and tasks have the form of the engine's own API, with every member optional that has a default. A
//! catalogue is JSON:
//!
//! ```json
//! {
//!   "workflows": [{
//!     "id": "6b08ce3a2bb126dc8dc5a8a6", "name": "waits", "team": "acme",
//!     "triggers": { "webhook": { "enabled": true } },
//!     "params": [{ "name": "data", "type": "json" }],
//!     "tasks": [
//!       { "name": "start", "type": "start" },
//!       { "name": "approve", "type": "eventwait", "taskRef": "5f7dcf1ce1d3ce8d52ea45d4",
//!         "params": [{ "name": "topic", "value": "approval" }] },
//!       { "name": "end", "type": "end" }
//!     ]
//!   }],
//!   "tasks": [{ "id": "5f7dcf1ce1d3ce8d52ea45d4", "name": "wait-for-event", "type": "eventwait" }],
//!   "tokens": [{ "token": "bft_secret", "team": "acme", "permissions": ["workflow/action"] }],
//!   "users": [{ "email": "ada@example.com", "password": "secret", "teams": ["acme"] }]
//! }
//! ```

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};

use crate::json::{Json, Object};
use crate::params::Param;

/// The contents of an installation before the first request.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Catalogue {
    /// The workflows.
    pub workflows: Vec<Workflow>,
    /// The tasks that workflows refer to.
    pub tasks: Vec<Task>,
    /// The tokens that Flow takes.
    pub tokens: Vec<Token>,
    /// The users that Flow knows.
    pub users: Vec<User>,
}

impl Catalogue {
    /// Reads a catalogue from JSON.
    ///
    /// # Errors
    ///
    /// If the text isn't JSON, or isn't a catalogue.
    pub fn from_json(text: &str) -> Result<Catalogue, serde_json::Error> {
        serde_json::from_str(text)
    }

    /// The catalogue of the recorded exchanges, `catalogue.json`: the workflows `waits`, `naplit`, `late`, `shell`,
    /// `image` and `setter` of team `acme`, the stock tasks that they use, two tokens of the team, and a user.
    #[must_use]
    pub fn recorded() -> Catalogue {
        // The file is part of the crate, and a test reads it.
        Catalogue::from_json(include_str!("../catalogue.json")).unwrap_or_default()
    }

    /// A workflow by id.
    #[must_use]
    pub fn workflow(&self, id: &str) -> Option<&Workflow> {
        self.workflows.iter().find(|workflow| workflow.id == id)
    }

    /// A task by id.
    #[must_use]
    pub fn task(&self, id: &str) -> Option<&Task> {
        self.tasks.iter().find(|task| task.id() == id)
    }
}

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

/// A task template, in the form of `GET /api/v1/task/{ref}`. `id`, `name` and `type` are required.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Object")]
pub struct Task(Object);

impl TryFrom<Object> for Task {
    type Error = &'static str;

    fn try_from(members: Object) -> Result<Self, Self::Error> {
        let has = |name: &str| members.get(name).and_then(Json::as_text).is_some();
        if has("id") && has("name") && has("type") {
            Ok(Task(members))
        } else {
            Err("a task has an id, a name and a type")
        }
    }
}

impl Task {
    fn text(&self, name: &str) -> &str {
        self.0.get(name).and_then(Json::as_text).unwrap_or_default()
    }

    /// The id.
    #[must_use]
    pub fn id(&self) -> &str {
        self.text("id")
    }

    /// The name.
    #[must_use]
    pub fn name(&self) -> &str {
        self.text("name")
    }

    pub(crate) fn is_inactive(&self) -> bool {
        self.text("status") == "inactive"
    }

    pub(crate) fn version(&self) -> i64 {
        match self.0.get("version") {
            Some(Json::Int(version)) => *version,
            _ => 1,
        }
    }

    /// A member of `spec`; `null` if there is none.
    pub(crate) fn spec(&self, name: &str) -> Json {
        self.0.get("spec").and_then(|spec| spec.get(name)).cloned().unwrap_or_default()
    }

    /// The task as the API shows it.
    pub(crate) fn members(&self) -> &Object {
        &self.0
    }
}

/// A token of Flow's API.
///
/// Flow 4.0.0 checks permissions, logs what is missing, and goes on, so they have no effect here either.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Token {
    /// `bf`, a letter, `_`, and the secret.
    pub token: String,
    /// The team that it belongs to. A token without a team is global.
    #[serde(default)]
    pub team: Option<String>,
    /// The permissions.
    #[serde(default)]
    pub permissions: Vec<String>,
}

/// A user who signs in with the password of the installation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "plain terms")]
pub struct User {
    pub email: String,
    pub password: String,
    pub teams: Vec<String>,
}
