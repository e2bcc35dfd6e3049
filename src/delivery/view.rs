//! The engine's view of a run: its state, and its tasks that wait for a topic.

use serde::Deserialize;

use crate::callback::Status;
use crate::reference::Topic;

/// The state of a run at the engine. A profile names it in kebab case.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RunState {
    /// It is saved and not queued. The engine may still queue it, or never will: only time tells.
    NotStarted,
    /// It is queued or runs.
    Active,
    /// It ran and has ended.
    Ended,
    /// It was cancelled.
    Cancelled,
    /// The engine can't run it, and never will.
    Invalid,
}

impl RunState {
    /// Whether the engine runs it or has run it.
    pub fn is_started(self) -> bool {
        matches!(self, Self::Active | Self::Ended)
    }

    /// Whether its tasks never change again.
    pub fn is_final(self) -> bool {
        matches!(self, Self::Ended | Self::Cancelled | Self::Invalid)
    }
}

/// A run that a lookup by label found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FoundRun {
    /// The engine's id of the run.
    pub id: String,
    /// Its state.
    pub state: RunState,
    /// The run, as the engine spells it.
    pub body: Vec<u8>,
}

/// A run with its tasks that wait for a topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunView {
    /// The state of the run.
    pub state: RunState,
    /// Whether the engine has created the run's tasks.
    pub has_tasks: bool,
    /// The tasks that wait for a topic, in the engine's order.
    pub waits: Vec<WaitTask>,
    /// Its workflow.
    pub workflow: RunWorkflow,
}

/// The workflow of a run, as far as the engine shows it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RunWorkflow {
    /// The id.
    pub id: Option<String>,
    /// The name.
    pub name: Option<String>,
}

/// A task that waits for a topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WaitTask {
    /// The engine's id of the task run.
    pub id: String,
    /// The topic; `None` while it is made of params that aren't resolved.
    pub topic: Option<String>,
    /// Its state.
    pub state: WaitState,
}

/// The state of a task that waits for a topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WaitState {
    /// The run has not reached it.
    Ahead,
    /// It waits: an event for its topic ends it.
    Waiting,
    /// It has ended, with the status of an event; `None` if it ended otherwise.
    Ended(Option<Status>),
}

/// The answer to the question whether a run waits for a topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wait {
    /// A task waits for it.
    Waiting {
        /// The task run.
        task: String,
    },
    /// No task waits for it yet, but one may.
    Ahead,
    /// The last task that waited for it has ended.
    Ended {
        /// The task run.
        task: String,
        /// The status of the event that ended it; `None` if it ended otherwise.
        status: Option<Status>,
    },
    /// The run has ended, and no task of it ever waited for the topic.
    RunEnded,
    /// No task of the run has this topic, nor one that is made of params.
    UnknownTopic,
}

impl RunView {
    /// Whether the run waits for a topic. Of several tasks with the topic, one that waits counts, then one
    /// that is ahead, then the last one that has ended.
    pub fn wait(&self, topic: &Topic) -> Wait {
        let mine = || self.waits.iter().filter(|task| task.topic.as_deref() == Some(topic.as_str()));
        let ended = mine().rev().find_map(|task| match task.state {
            WaitState::Ended(status) => Some(Wait::Ended { task: task.id.clone(), status }),
            _ => None,
        });
        if self.state.is_final() {
            return ended.unwrap_or(Wait::RunEnded);
        }
        if let Some(task) = mine().find(|task| task.state == WaitState::Waiting) {
            return Wait::Waiting { task: task.id.clone() };
        }
        let is_ahead = |topic: Option<&str>| {
            self.waits.iter().any(|task| task.state == WaitState::Ahead && task.topic.as_deref() == topic)
        };
        if is_ahead(Some(topic.as_str())) {
            return Wait::Ahead;
        }
        match ended {
            Some(ended) => ended,
            // Tasks are created when the run is queued.
            None if !self.has_tasks || is_ahead(None) => Wait::Ahead,
            None => Wait::UnknownTopic,
        }
    }

    /// The state of one of its tasks.
    pub fn task(&self, id: &str) -> Option<WaitState> {
        self.waits.iter().find(|task| task.id == id).map(|task| task.state)
    }
}

#[cfg(test)]
mod tests;
