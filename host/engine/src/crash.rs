//! Deaths of the two processes.
//!
//! The engine writes a run in several steps, and resumes none of them after a crash: asynchronous work is only in memory.
//! [`Model::die_at`] lets the model die right after one of these writes, which leaves the state that the real engine
//! leaves; the request has no answer then. [`Model::kill`] kills a process between two requests.

use serde::{Deserialize, Serialize};

use crate::Model;
use crate::fault::Fault;

/// One of the two processes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "plain terms")]
pub enum Process {
    Engine,
    Flow,
}

/// A write after which a process can die.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Step {
    /// A submit or a retry: the run is saved, `notstarted` and without tasks. The engine never queues it.
    RunSaved,
    /// So many tasks are saved too, but the run is still `notstarted`.
    TasksSaved(usize),
    /// The run is `ready`, but not started: an agent starts it, and without one it stays.
    RunQueued,
    /// The run is `running`, but no task of it was queued. It runs until it is cancelled.
    RunStarted,
    /// A task is `ready`. An agent takes it if it is for an agent, and no other task goes on.
    TaskReady,
    /// A task is `running`. An agent ends it if it is for an agent, and no other task goes on.
    TaskRunning,
    /// A task waits for its event, and goes on when it comes.
    TaskWaiting,
    /// An event for a task that doesn't wait yet is saved; only its answer is lost.
    EventSaved,
    /// A task has ended, but the next one was not queued. The run runs until it is cancelled.
    TaskEnded,
    /// The task `end` has ended, but the run is still `running`.
    EndSaved,
    /// A run is `cancelled`, but its tasks are as they were.
    RunCancelled,
    /// Flow has the engine's answer to a submit, but has not tied the run to the team. Flow dies, the engine doesn't.
    RunSubmitted,
    /// Flow has tied the run to the team; only its answer is lost. Flow dies, the engine doesn't.
    RunTied,
}

impl Step {
    /// The process whose write it is.
    #[must_use]
    pub fn process(self) -> Process {
        match self {
            Step::RunSubmitted | Step::RunTied => Process::Flow,
            _ => Process::Engine,
        }
    }
}

/// Why a request has no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoAnswer {
    /// The process isn't running: the connection is refused.
    #[error("the process isn't running")]
    Refused,
    /// The process died before it answered: the connection is cut.
    #[error("the process died before it answered")]
    Cut,
}

/// What the model knows of deaths.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Deaths {
    next: Option<Step>,
    engine: bool,
    flow: bool,
}

impl Model {
    /// Lets the process die the next time that it has done this write.
    pub fn die_at(&mut self, step: Step) {
        self.deaths.next = Some(step);
    }

    /// Kills a process now. Asynchronous work of the engine is lost.
    pub fn kill(&mut self, process: Process) {
        match process {
            Process::Engine => {
                self.deaths.engine = true;
                self.agenda.clear();
            }
            Process::Flow => self.deaths.flow = true,
        }
    }

    /// Whether a process is dead.
    #[must_use]
    pub fn is_dead(&self, process: Process) -> bool {
        match process {
            Process::Engine => self.deaths.engine,
            Process::Flow => self.deaths.flow,
        }
    }

    /// Starts the processes that are dead. Nothing that was in memory goes on, but an agent finds what is ready.
    pub fn restart(&mut self) {
        let was_dead = self.deaths.engine;
        self.deaths.engine = false;
        self.deaths.flow = false;
        if was_dead {
            self.schedule_agent();
        }
    }

    /// Reports a write, after which the process may die.
    pub(crate) fn reach(&mut self, step: Step) -> Result<(), Fault> {
        if self.deaths.next != Some(step) {
            return Ok(());
        }
        self.deaths.next = None;
        self.kill(step.process());
        Err(Fault::Died(step.process()))
    }

    /// An error if the engine is dead, for calls of Flow.
    pub(crate) fn check_engine(&self) -> Result<(), Fault> {
        if self.deaths.engine { Err(Fault::Died(Process::Engine)) } else { Ok(()) }
    }
}
