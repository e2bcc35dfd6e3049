//! Time-outs of tasks and runs, in minutes. Flow gives every task 90 and every run 300; the engine by itself gives
//! none.

use super::agenda::Job;
use crate::Model;
use crate::fault::Fault;
use crate::json::Json;
use crate::run::{Phase, Run, Status, TaskRun};

const CAUSE: &str = "boomerang.io/timeout-cause";

impl Model {
    /// Ends the task when its time is over. This is in memory only.
    pub(crate) fn schedule_task_timeout(&mut self, task: &TaskRun) {
        if let Some(minutes) = task.timeout.filter(|minutes| *minutes != 0) {
            let job = Job::TimeOutTask { run: task.workflow_run_ref.clone(), task: task.id.clone() };
            self.schedule(ms(minutes), job);
        }
    }

    /// Ends the run five seconds after its time is over. This survives a crash of the engine.
    pub(crate) fn schedule_run_timeout(&mut self, run: &Run) {
        if let (Some(minutes @ 1..), Some(start)) = (run.timeout, run.start_time) {
            let at = start.saturating_add(ms(minutes)).saturating_add(5_000);
            self.agenda.add(at.max(self.now), Job::TimeOutRun(run.id.clone()));
        }
    }

    pub(crate) fn time_out_task(&mut self, run: &str, task: &str) -> Result<(), Fault> {
        let Some(task) = self.tasks(run).iter().find(|known| known.id == task) else { return Ok(()) };
        if task.phase != Phase::Running {
            return Ok(());
        }
        self.end_task(TaskRun { status: Status::TimedOut, ..task.clone() })
    }

    /// After a task has ended: whether its time, or that of its run, is over. Then the run ends, and no task follows.
    pub(crate) fn is_timed_out(&mut self, mut task: TaskRun) -> Result<bool, Fault> {
        let id = task.workflow_run_ref.clone();
        let run = &self.record(&id)?.run;
        if is_over(run.timeout, run.start_time, self.now)? {
            self.time_out_run(&id, Some("WorkflowRun"))?;
            return Ok(true);
        }
        // The time of a task that never began, which was skipped, is a null pointer if it has a time-out.
        if task.status != Status::TimedOut && !is_over(task.timeout, task.start_time, self.now)? {
            return Ok(false);
        }
        let minutes = task.timeout.unwrap_or_default();
        let message = format!("The TaskRun exceeded the timeout. Timeout was set to {minutes} minutes");
        task.status_message = Some(message);
        task.set_duration(self.now);
        task.set(Status::TimedOut, Phase::Completed);
        self.save_task(task)?;
        self.time_out_run(&id, Some("TaskRun"))?;
        Ok(true)
    }

    /// Ends a run that is running, and retries it if it is to be retried.
    pub(crate) fn time_out_run(&mut self, id: &str, cause: Option<&str>) -> Result<(), Fault> {
        let now = self.now;
        let run = &mut self.record_mut(id)?.run;
        if run.phase != Phase::Running {
            return Ok(());
        }
        let known = run.annotations.get(CAUSE).and_then(Json::as_text);
        let cause = cause.or(known).unwrap_or("WorkflowRun").to_owned();
        let minutes = run.timeout.map_or_else(|| "null".to_owned(), |minutes| minutes.to_string());
        run.status_message = Some(match cause.as_str() {
            "TaskRun" => "A TaskRun exceeded it's timeout.".to_owned(),
            _ => format!("The WorkflowRun exceeded the timeout. Timeout was set to {minutes} minutes"),
        });
        run.annotations.insert(CAUSE.to_owned(), Json::Text(cause));
        run.duration = run.start_time.map_or(0, |start| now.saturating_sub(start));
        run.status = Status::TimedOut;
        run.phase = Phase::Completed;
        let run = run.clone();
        self.drop_tasks(&run)?;
        let count = match run.annotations.get("boomerang.io/retry-count") {
            Some(Json::Int(count)) => *count,
            _ => 0,
        };
        if run.retries.is_some_and(|retries| retries != -1 && count < retries) {
            let start = run.annotations.contains_key("boomerang.io/submit-with-start");
            self.retry(id, start, count.saturating_add(1))?;
        }
        Ok(())
    }
}

fn is_over(minutes: Option<i64>, start: Option<u64>, now: u64) -> Result<bool, Fault> {
    let Some(minutes) = minutes.filter(|minutes| *minutes != 0) else { return Ok(false) };
    let start = start.ok_or(Fault::Crash)?;
    Ok(now.saturating_sub(start) >= ms(minutes))
}

/// A time-out below zero is over at once.
fn ms(minutes: i64) -> u64 {
    u64::try_from(minutes).unwrap_or_default().saturating_mul(60_000)
}
