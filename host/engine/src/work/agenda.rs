//! The pending work of the engine's threads, which is in memory only.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::run::TaskRun;
use crate::stall::{Rest, Ticket};

/// A task on its way from one thread to the next. The engine read the copy when the hand-over began, and saves it three
/// times, over all changes to the task in the meantime.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Flight {
    pub(crate) task: TaskRun,
    /// The beginning of the hand-over.
    pub(crate) opened: u64,
    /// The end of the window in which an event is overwritten.
    pub(crate) window_until: u64,
    /// The time at which the task waits or runs.
    pub(crate) lands: u64,
}

impl Flight {
    /// A time in between, in per cent of the way.
    pub(crate) fn at(&self, percent: u64) -> u64 {
        self.opened.saturating_add(self.lands.saturating_sub(self.opened).saturating_mul(percent) / 100)
    }
}

/// One step of a thread.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) enum Job {
    /// The run becomes `running`, then its first tasks are queued.
    Begin { run: String, flights: Vec<Flight> },
    /// The task becomes `ready`, or is skipped.
    Queue(Box<Flight>),
    /// The task becomes `running`.
    Execute(Box<Flight>),
    /// The task becomes `waiting`.
    Wait(Box<Flight>),
    /// A late event saves the task as it found it.
    Restore(Box<TaskRun>),
    /// The task is saved as ended.
    End(Box<TaskRun>),
    /// The tasks after it are queued, or the run ends.
    Next(Box<TaskRun>),
    /// The time of the task is over.
    TimeOutTask { run: String, task: String },
    /// The time of the run is over.
    TimeOutRun(String),
    /// The agent takes the run.
    TakeRun(String),
    /// The agent takes the task.
    TakeTask { run: String, task: String },
    /// The agent ends the task.
    FinishTask { run: String, task: String },
    /// A request goes on.
    GoOn(Ticket, Rest),
}

/// Jobs in the order of their times; those of one time in the order in which they were added.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Agenda {
    #[serde(with = "entries")]
    jobs: BTreeMap<(u64, u64), Job>,
    added: u64,
}

impl Agenda {
    pub(crate) fn add(&mut self, at: u64, job: Job) {
        self.added += 1;
        self.jobs.insert((at, self.added), job);
    }

    /// The next job that is due, and its time.
    pub(crate) fn take(&mut self, now: u64) -> Option<(u64, Job)> {
        let entry = self.jobs.first_entry().filter(|entry| entry.key().0 <= now)?;
        let ((at, _), job) = entry.remove_entry();
        Some((at, job))
    }

    pub(crate) fn next_at(&self) -> Option<u64> {
        self.jobs.first_key_value().map(|((at, _), _)| *at)
    }

    pub(crate) fn clear(&mut self) {
        self.jobs.clear();
    }

    /// The copies that are under way of a task.
    pub(crate) fn flights(&mut self, task: &str) -> impl Iterator<Item = &mut Flight> {
        let of_job = |job| match job {
            &mut Job::Begin { ref mut flights, .. } => flights.iter_mut().collect::<Vec<_>>(),
            Job::Queue(flight) | Job::Execute(flight) | Job::Wait(flight) => vec![flight.as_mut()],
            _ => Vec::new(),
        };
        self.jobs.values_mut().flat_map(of_job).filter(move |flight| flight.task.id == task)
    }
}

/// JSON has no maps whose keys are pairs.
mod entries {
    use super::{BTreeMap, Deserialize, Job, Serialize};
    use serde::{Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(jobs: &BTreeMap<(u64, u64), Job>, serializer: S) -> Result<S::Ok, S::Error> {
        jobs.iter().collect::<Vec<_>>().serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<BTreeMap<(u64, u64), Job>, D::Error> {
        Vec::deserialize(deserializer).map(|jobs| jobs.into_iter().collect())
    }
}
