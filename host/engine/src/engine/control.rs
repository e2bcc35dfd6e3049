//! Start, retry, cancel and finalize, also of runs that were saved and never queued.

use http::StatusCode;

use super::bodies::Submission;
use super::show;
use crate::Model;
use crate::crash::Step;
use crate::fault::Fault;
use crate::json::Json;
use crate::params;
use crate::run::{Phase, Run, Status};
use crate::stall::Rest;

impl Model {
    /// Starts a run, as an agent does. The response shows the run as it was, because the work begins later.
    ///
    /// A run without tasks starts too, and runs until it is cancelled.
    pub(crate) fn start(&mut self, id: &str, more: Option<&Submission>) -> Result<Json, Fault> {
        let mut run = self.record(id)?.run.clone();
        if let Some(more) = more {
            run.labels.extend(more.labels.clone().ok_or(Fault::Crash)?);
            run.annotations.extend(more.annotations.clone().ok_or(Fault::Crash)?);
            params::merge(&mut run.params, more.named_params()?);
            run.workspaces.extend(more.workspaces.clone().ok_or(Fault::Crash)?);
            self.save_run(&run)?;
        }
        if !run.phase.is_startable() {
            let phase = run.phase.name();
            let message = format!(
                "Invalid WorkflowRun request. WorkflowRun is not in the correct phase. Current: {phase}, Needed: \
                 pending or queued."
            );
            return Err(Fault::refused(StatusCode::BAD_REQUEST, 1304, "WORKFLOWRUN_INVALID_PHASE", message));
        }
        self.schedule_begin(id);
        Ok(show::run(&self.record(id)?.run, None, None))
    }

    /// Makes a new run of an old one, with its labels and params. The old one stays as it is.
    pub(crate) fn retry(&mut self, id: &str, start: bool, count: i64) -> Result<Json, Fault> {
        let mut run = self.record(id)?.run.clone();
        run.id = self.chance.id(self.now);
        run.creation_date = self.now;
        run.start_time = None;
        run.duration = 0;
        run.status = Status::NotStarted;
        run.phase = Phase::Pending;
        run.status_message = None;
        run.annotations.insert("boomerang.io/retry-count".to_owned(), Json::Int(count));
        run.annotations.shift_remove("boomerang.io/timeout-cause");
        if !run.annotations.contains_key("boomerang.io/retry-of") {
            run.annotations.insert("boomerang.io/retry-of".to_owned(), id.into());
            run.labels.insert("boomerang.io/retry-of".to_owned(), Some(id.to_owned()));
        }
        self.create(run, start)
    }

    /// Cancels a run in any phase. Tasks that it doesn't have yet are created first, to be skipped. If that fails, the
    /// response is 500 although the run is cancelled.
    pub(crate) fn cancel(&mut self, id: &str) -> Result<Json, Fault> {
        let now = self.now;
        let run = &mut self.record_mut(id)?.run;
        run.duration = run.start_time.map_or(0, |start| now.saturating_sub(start));
        run.status = Status::Cancelled;
        run.phase = Phase::Completed;
        run.status_message = Some("The WorkflowRun was requested to be cancelled.".to_owned());
        let run = run.clone();
        let cancelled = self.reach(Step::RunCancelled);
        self.or_stall(cancelled, || Rest::Drop(Box::new(run.clone())))?;
        self.drop_all(run)
    }

    /// The end of a cancel.
    pub(crate) fn drop_all(&mut self, run: Run) -> Result<Json, Fault> {
        let dropped = self.drop_tasks(&run);
        self.or_stall(dropped, || Rest::Drop(Box::new(run.clone())))?;
        Ok(show::run(&run, None, None))
    }

    pub(crate) fn finalize(&mut self, id: &str) -> Result<Json, Fault> {
        let run = &mut self.record_mut(id)?.run;
        run.phase = Phase::Finalized;
        Ok(show::run(run, None, None))
    }
}
