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

mod workflow;

use serde::{Deserialize, Serialize};

pub use workflow::{Activity, Condition, Dependency, TaskType, Trigger, Triggers, Workflow, WorkflowTask};

use crate::json::{Json, Object};

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
        Catalogue::from_json(include_str!("../../catalogue.json")).unwrap_or_default()
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

    /// The type, in the engine's notation.
    #[must_use]
    pub fn kind(&self) -> &str {
        self.text("type")
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
