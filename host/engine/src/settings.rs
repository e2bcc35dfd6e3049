//! The constants of an installation and of its machine.

use serde::{Deserialize, Serialize};

use crate::json::Json;

/// The constants of a model. The defaults are those of the recorded installation, except that the database is MongoDB.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// The source of all random choices: ids, times and losses.
    pub seed: u64,
    /// The times that the engine's steps take.
    pub timing: Timing,
    /// The engine's database.
    pub database: Database,
    /// The agent that starts runs and executes tasks, if there is one. The recorded installation had none.
    pub agent: Option<Agent>,
    /// The values that Flow adds to a run.
    pub flow: FlowSettings,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            seed: 1,
            timing: Timing::default(),
            database: Database::default(),
            agent: None,
            flow: FlowSettings::default(),
        }
    }
}

/// The least and the most milliseconds that something takes. The seed chooses between them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Span(pub u64, pub u64);

/// The times that the engine's steps take, in milliseconds.
///
/// A *hand-over* begins when the engine reads the tasks of a run: at a start, and whenever a task has ended. It lasts
/// until the next task waits or runs. Meanwhile the engine saves its own copy of that task three times. An event in the
/// first part of the hand-over, the *window*, is overwritten by the copy: it is answered 200 and lost.
///
/// With the defaults, 20 to 40 % of the events that are sent 0 to 500 ms after the response to a start are lost. All of
/// these are sent in the first 145 ms. The recordings have 17 and 20 of 60, in the first 141 ms.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Timing {
    /// From the beginning of a hand-over until the next task waits.
    pub hand_over: Span,
    /// The window at the beginning of a hand-over.
    pub window: Span,
    /// The share of events in a window that are lost, in per cent.
    pub lost_percent: u64,
    /// The share of lost events that also set the task back to the state in which they found it, where it stays, in per
    /// cent.
    pub reset_percent: u64,
    /// From the response to an event until the task is saved as ended. Two events within this time both end the task.
    pub end: u64,
    /// From a task's end until the next hand-over, or the end of the run.
    pub next: u64,
}

impl Default for Timing {
    fn default() -> Self {
        Timing {
            hand_over: Span(260, 300),
            window: Span(115, 145),
            lost_percent: 100,
            reset_percent: 15,
            end: 20,
            next: 30,
        }
    }
}

impl Timing {
    /// A tenth of the recorded times, for demonstrations: everything still happens in its order, windows included.
    #[must_use]
    pub fn fast() -> Timing {
        Timing { hand_over: Span(26, 30), window: Span(11, 14), end: 2, next: 3, ..Timing::default() }
    }

    /// No windows, and no time at all, for tests in which time doesn't matter.
    #[must_use]
    pub fn quick() -> Timing {
        Timing { hand_over: Span(0, 0), window: Span(0, 0), lost_percent: 0, reset_percent: 0, end: 0, next: 0 }
    }
}

/// The agent: it takes runs and tasks that are ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Agent {
    /// The time until the agent takes something that is ready, in milliseconds.
    pub poll_ms: u64,
}

/// The database below the engine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Database {
    /// Takes up to 100 levels of nesting.
    #[default]
    MongoDb,
    /// FerretDB 1.24, with which the exchanges were recorded: takes no member name that is empty or begins with `$`.
    FerretDb,
}

impl Database {
    /// The levels of a document above the value of a param or result: the document, the list, and the entry.
    const OUTER_LEVELS: usize = 3;
    /// The largest document.
    const MAX_BYTES: usize = 16 << 20;

    /// Whether a value of a param or result can be saved. Otherwise the engine answers 500.
    pub(crate) fn accepts(self, value: &Json) -> bool {
        if matches!(value, Json::Text(text) if text.len() < 1 << 20) {
            return true;
        }
        let is_valid = match self {
            Database::MongoDb => value.depth() + Self::OUTER_LEVELS <= 100,
            Database::FerretDb => !value.any_name(|name| name.is_empty() || name.starts_with('$')),
        };
        is_valid && value.to_string().len() <= Self::MAX_BYTES
    }
}

/// The values that Flow adds to the runs of a team.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct FlowSettings {
    /// The image of tasks that have none.
    pub default_image: String,
    /// When a task's pod is deleted.
    pub task_deletion: String,
    /// The time that a task may take, in minutes.
    pub task_timeout: String,
    /// The time that a run may take, in minutes.
    pub max_duration: i64,
    /// Whether tasks log more.
    pub debug: bool,
    /// Flow's own address, as params of the context have it.
    pub host: String,
}

impl Default for FlowSettings {
    fn default() -> Self {
        FlowSettings {
            default_image: "boomerangio/worker-flow:2.11.15".to_owned(),
            task_deletion: "Never".to_owned(),
            task_timeout: "90".to_owned(),
            max_duration: 300,
            debug: true,
            host: "localhost:7700".to_owned(),
        }
    }
}
