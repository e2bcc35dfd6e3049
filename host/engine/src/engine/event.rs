//! Events for tasks that wait, or will wait, for a topic.

use http::StatusCode;

use super::bodies::Event;
use crate::Model;
use crate::catalogue::TaskType;
use crate::crash::Step;
use crate::fault::Fault;
use crate::json::Json;
use crate::run::{RunResult, Status, TaskRun};
use crate::work::agenda::Job;

/// The fate of an event for a task that doesn't wait.
enum Fate {
    /// It takes effect when the task comes to wait.
    Kept,
    /// The engine writes its own copy over it.
    Lost,
    /// The engine's copy and the event overwrite each other: the task is back in the state in which the event found it.
    Reset { at: u64 },
}

impl Model {
    /// Delivers an event to the tasks of a run that have its topic. Without such a task it has no effect.
    pub(crate) fn event(&mut self, id: &str, event: &Event) -> Result<(), Fault> {
        let waits = self.record(id)?.tasks.iter().filter(|task| task.kind == TaskType::EventWait);
        let waits: Vec<_> = waits.cloned().collect();
        if waits.is_empty() {
            return Ok(());
        }
        let topic = Json::from(event.topic.as_ref().ok_or(Fault::Crash)?);
        let of_topic = waits.into_iter().filter(|task| task.param("topic") == Some(&topic));
        let (waiting, others): (Vec<_>, Vec<_>) = of_topic.partition(|task| task.status == Status::Waiting);
        if waiting.is_empty() && others.is_empty() {
            return Ok(());
        }
        let results = event.results.as_ref().ok_or(Fault::Crash)?;
        for task in others {
            self.approve_early(task, event, results)?;
        }
        for task in waiting {
            self.schedule_end(task, event, results)?;
        }
        Ok(())
    }

    /// Saves the event with a task that doesn't wait, which may have ended.
    fn approve_early(&mut self, task: TaskRun, event: &Event, results: &[RunResult]) -> Result<(), Fault> {
        let approve = |task: &mut TaskRun| {
            let status = Json::from(event.status.map(Status::name));
            task.annotations.insert("boomerang.io/status".to_owned(), status);
            task.pre_approved = true;
            task.results.extend_from_slice(results);
        };
        let mut approved = task;
        approve(&mut approved);
        match self.fate(&approved.id) {
            // Such an event is slow enough for the engine's copy to have it too.
            Fate::Kept => self.agenda.flights(&approved.id).for_each(|flight| approve(&mut flight.task)),
            Fate::Lost => {}
            Fate::Reset { at } => self.agenda.add(at, Job::Restore(Box::new(approved.clone()))),
        }
        self.save_task(approved)?;
        self.reach(Step::EventSaved)
    }

    fn fate(&mut self, task: &str) -> Fate {
        let now = self.now;
        let Some((window_until, lands)) =
            self.agenda.flights(task).map(|flight| (flight.window_until, flight.lands)).next()
        else {
            return Fate::Kept;
        };
        let timing = &self.settings.timing;
        if now >= window_until || !self.chance.percent(timing.lost_percent) {
            Fate::Kept
        } else if self.chance.percent(timing.reset_percent) {
            Fate::Reset { at: lands.saturating_add(1) }
        } else {
            Fate::Lost
        }
    }

    /// Ends a task that waits, after the response. A second event before that does the same with its own copy.
    fn schedule_end(&mut self, mut task: TaskRun, event: &Event, results: &[RunResult]) -> Result<(), Fault> {
        for result in results {
            match task.results.iter_mut().find(|known| known.name == result.name) {
                Some(known) => known.value = result.value.clone(),
                None => task.results.push(result.clone()),
            }
        }
        task.status = match event.status.unwrap_or(Status::Succeeded) {
            status @ (Status::Succeeded | Status::Failed | Status::Invalid) => status,
            _ => {
                let message = "Invalid Status provided as part of a TaskRun end request. Allowed Status: 'succeeded', \
                               'failed', 'invalid'.";
                return Err(Fault::refused(StatusCode::BAD_REQUEST, 1505, "TASKRUN_INVALID_END_STATUS", message));
            }
        };
        self.schedule(self.settings.timing.end, Job::End(Box::new(task)));
        Ok(())
    }
}
