//! Crashes of the two processes.
//!
//! The engine writes a run in several steps, and resumes none of them after a crash: asynchronous work is only in
//! memory. [`Model::die_at`] crashes a process right after one of these writes. The request has no response then, and
//! the run is in the state in which the real engine leaves it. [`Model::kill`] crashes a process between two requests.

use serde::{Deserialize, Serialize};

use crate::Model;
use crate::fault::Fault;
use crate::run::Phase;
use crate::stall::Ticket;

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
    /// The run of a submit or retry is saved, `notstarted` and without tasks. The engine never queues it.
    RunSaved,
    /// This number of tasks is saved too, but the run is still `notstarted`.
    TasksSaved(usize),
    /// The run is `ready`, but not started: an agent starts it, and without one it stays.
    RunQueued,
    /// The run is `running`, but no task of it was queued. It runs until it is cancelled.
    RunStarted,
    /// A task is `ready`. An agent takes it if it is for an agent, and no other task goes on.
    TaskReady,
    /// A task is `running`. An agent ends it if it is for an agent, and no other task goes on.
    TaskRunning,
    /// A task is `waiting`. An event still ends it.
    TaskWaiting,
    /// An event for a task that doesn't wait yet is saved. Only the response is lost.
    EventSaved,
    /// A task has ended, but the next one was not queued. The run runs until it is cancelled.
    TaskEnded,
    /// The task `end` has ended, but the run is still `running`.
    EndSaved,
    /// A run is `cancelled`, but its tasks are as they were.
    RunCancelled,
    /// Flow has the engine's response to a submit, but has not tied the run to the team. Flow dies, the engine doesn't.
    RunSubmitted,
    /// Flow has tied the run to the team. Only the response is lost. Flow dies, the engine doesn't.
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

/// The reason why a request has no response.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoAnswer {
    /// The process isn't running: the connection is refused.
    #[error("the process isn't running")]
    Refused,
    /// The process died before it responded: the connection is cut.
    #[error("the process died before it responded")]
    Cut,
    /// The request stalls; see [`Model::stall_at`]. [`Model::late`] has its response later.
    #[error("the request stalls")]
    Stalled(Ticket),
}

/// The processes that are dead, and the next crash.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Deaths {
    next: Option<Step>,
    engine: bool,
    flow: bool,
}

impl Model {
    /// Crashes the process the next time that it has done this write.
    pub fn die_at(&mut self, step: Step) {
        self.deaths.next = Some(step);
    }

    /// Crashes a process now. Asynchronous work of the engine is lost.
    pub fn kill(&mut self, process: Process) {
        match process {
            Process::Engine => {
                self.deaths.engine = true;
                self.agenda.clear();
                self.stalls.cut();
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

    /// Starts the processes that are dead. Nothing that was in memory goes on, but an agent finds what is ready, and
    /// the time-outs of runs are kept in the database.
    pub fn restart(&mut self) {
        let was_dead = self.deaths.engine;
        self.deaths.engine = false;
        self.deaths.flow = false;
        if was_dead {
            let running = self.runs.values().map(|record| &record.run).filter(|run| run.phase == Phase::Running);
            for run in running.cloned().collect::<Vec<_>>() {
                self.schedule_run_timeout(&run);
            }
            self.schedule_agent();
        }
    }

    /// Marks a write as done: the place where the process dies if [`Model::die_at`] says so.
    pub(crate) fn reach(&mut self, step: Step) -> Result<(), Fault> {
        self.end_write();
        if let Some(ticket) = self.stalls.at(step) {
            return Err(Fault::Stalled(ticket));
        }
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
