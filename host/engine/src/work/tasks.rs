//! A task's way from `ready` to its end, `TaskExecutionService` in the engine.
//!
//! Every step saves the whole copy of the task that it holds.

use super::agenda::{Flight, Job};
use super::graph;
use crate::Model;
use crate::catalogue::TaskType;
use crate::crash::Step;
use crate::fault::Fault;
use crate::json::Json;
use crate::params::{self, Layers};
use crate::run::{Phase, Run, RunResult, Status, TaskRun};

impl Model {
    /// The task becomes `ready`, with its params resolved.
    pub(crate) fn queue_task(&mut self, mut flight: Flight) -> Result<(), Fault> {
        let task = &mut flight.task;
        if task.phase != Phase::Pending {
            return Ok(());
        }
        let record = self.record(&task.workflow_run_ref)?;
        if record.run.phase.is_over() {
            let reason = "TaskRun was never queued, setting TaskRun as Skipped.";
            return self.drop_task(flight.task, Status::Skipped, reason);
        }
        if !graph::can_run(&record.tasks, task) {
            task.status = Status::Skipped;
            self.agenda.add(self.now, Job::End(Box::new(flight.task)));
            return Ok(());
        }
        task.params = params::resolve(&task.params, &Layers::new(&record.run, Some(task), &record.tasks))?;
        task.set(Status::Ready, Phase::Pending);
        self.save_task(flight.task.clone())?;
        self.reach(Step::TaskReady)?;
        if flight.task.kind.needs_agent() {
            self.schedule_task(&flight.task);
        } else {
            self.agenda.add(flight.at(70), Job::Execute(Box::new(flight)));
        }
        Ok(())
    }

    /// The task becomes `running`, and does what the engine does itself.
    pub(crate) fn execute(&mut self, mut flight: Flight) -> Result<(), Fault> {
        let task = &mut flight.task;
        task.start_time = Some(self.now);
        task.set(Status::Running, Phase::Running);
        self.save_task(task.clone())?;
        self.reach(Step::TaskRunning)?;
        let takes = match task.kind {
            TaskType::EventWait => {
                self.agenda.add(flight.lands, Job::Wait(Box::new(flight)));
                return Ok(());
            }
            // Not a number: an exception, and the task runs on.
            TaskType::Sleep => {
                let duration = task.param("duration").map(Json::to_java).unwrap_or_default();
                let duration: i64 = duration.parse().map_err(|_| Fault::Crash)?;
                u64::try_from(duration).map_err(|_| Fault::Crash)?
            }
            TaskType::SetWfProperty => {
                let result =
                    RunResult { name: text(task, "output")?, description: None, value: text(task, "value")?.into() };
                self.record_mut(&flight.task.workflow_run_ref)?.run.results.push(result);
                0
            }
            // An agent ends these.
            _ => return Ok(()),
        };
        flight.task.status = Status::Succeeded;
        self.schedule(self.settings.timing.end.saturating_add(takes), Job::End(Box::new(flight.task)));
        Ok(())
    }

    /// The task becomes `waiting`, unless an event came before.
    pub(crate) fn wait(&mut self, flight: Flight) -> Result<(), Fault> {
        let mut task = flight.task;
        task.status = Status::Waiting;
        self.save_task(task.clone())?;
        self.reach(Step::TaskWaiting)?;
        if task.pre_approved {
            let status = task.annotations.get("boomerang.io/status").and_then(Json::as_text);
            task.status = status.and_then(Status::from_name).unwrap_or(Status::Succeeded);
            self.schedule(self.settings.timing.end, Job::End(Box::new(task)));
        } else {
            self.schedule_task_timeout(&task);
        }
        Ok(())
    }

    /// The task ends with the status and results of the copy. Only the copy tells whether it had ended before.
    pub(crate) fn end_task(&mut self, mut task: TaskRun) -> Result<(), Fault> {
        if task.phase == Phase::Completed {
            return Ok(());
        }
        task.set_duration(self.now);
        if self.record(&task.workflow_run_ref)?.run.phase.is_over() {
            let reason = "Setting TaskRun as Cancelled. TaskRun may still run to completion.";
            return self.drop_task(task, Status::Cancelled, reason);
        }
        task.phase = Phase::Completed;
        self.save_task(task.clone())?;
        self.reach(Step::TaskEnded)?;
        if self.is_timed_out(task.clone())? {
            return Ok(());
        }
        self.schedule(self.settings.timing.next, Job::Next(Box::new(task)));
        Ok(())
    }

    /// Ends a task of a run that is over.
    fn drop_task(&mut self, mut task: TaskRun, status: Status, reason: &str) -> Result<(), Fault> {
        let Run { id, status: run_status, .. } = &self.record(&task.workflow_run_ref)?.run;
        let message = format!("[{id}] WorkflowRun has been marked as {}. {reason}", run_status.name());
        task.status_message = Some(message);
        task.set_duration(self.now);
        task.set(status, Phase::Completed);
        self.save_task(task)
    }

    /// Writes a task over whatever the database has of it.
    pub(crate) fn save_task(&mut self, mut task: TaskRun) -> Result<(), Fault> {
        let database = self.settings.database;
        let params = task.params.iter().map(|param| &param.value);
        if !params.chain(task.results.iter().map(|result| &result.value)).all(|value| database.accepts(value)) {
            return Err(Fault::Crash);
        }
        for param in &mut task.params {
            param.value = std::mem::take(&mut param.value).stored();
        }
        for result in &mut task.results {
            result.value = std::mem::take(&mut result.value).stored();
        }
        self.record_mut(&task.workflow_run_ref)?.save(task);
        Ok(())
    }
}

/// A param that has to be there, and has to be a string or `null`.
fn text(task: &TaskRun, name: &str) -> Result<Option<String>, Fault> {
    match task.param(name) {
        Some(Json::Text(text)) => Ok(Some(text.clone())),
        Some(Json::Null) => Ok(None),
        _ => Err(Fault::Crash),
    }
}
