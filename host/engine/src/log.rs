//! The writes to the database, for an installation whose database outlives its process.

use crate::Model;
use crate::crash::Process;
use crate::run::Record;

/// The writes that nobody has taken yet.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Log {
    is_on: bool,
    /// The run of the write that is being made.
    begun: Option<String>,
    made: Vec<Record>,
}

impl Model {
    /// Logs the writes to the database from now on, for [`Model::take_writes`].
    pub fn log_writes(&mut self) {
        self.log.is_on = true;
    }

    /// The writes since the last call, in their order. Each is a run as it was after the write.
    ///
    /// A process that saves them one by one may be killed at any time: the saved writes are those that the real engine's
    /// database would have. The deletions of [`Model::forget`] aren't logged.
    pub fn take_writes(&mut self) -> Vec<Record> {
        std::mem::take(&mut self.log.made)
    }

    /// Starts both processes over a database that has these runs, as [`Model::restart`] does after a crash.
    pub fn restore(&mut self, now_ms: u64, runs: impl IntoIterator<Item = Record>) {
        self.runs.extend(runs.into_iter().map(|record| (record.run.id.clone(), record)));
        self.now = self.now.max(now_ms);
        self.kill(Process::Engine);
        self.restart();
    }

    /// Begins a write to a run, which ends the one before.
    pub(crate) fn begin_write(&mut self, run: &str) {
        if self.log.is_on {
            self.end_write();
            self.log.begun = Some(run.to_owned());
        }
    }

    pub(crate) fn end_write(&mut self) {
        let written = self.log.begun.take().and_then(|run| self.runs.get(&run));
        self.log.made.extend(written.cloned());
    }
}
