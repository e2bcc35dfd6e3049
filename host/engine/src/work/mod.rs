//! The engine's asynchronous work on a run, with copies of tasks that overwrite each other.

pub(crate) mod agenda;
mod agent;
pub(crate) mod graph;
mod tasks;
mod timeouts;

use agenda::{Flight, Job};

use crate::Model;
use crate::catalogue::TaskType;
use crate::crash::Step;
use crate::fault::Fault;
use crate::run::{Phase, Run, Status, TaskRun};

impl Model {
    /// Does the work that is due by `now_ms`, in milliseconds since 1970. An earlier time than before changes nothing.
    pub fn advance(&mut self, now_ms: u64) {
        while let Some((at, job)) = self.agenda.take(now_ms.max(self.now)) {
            self.now = self.now.max(at);
            // An engine that has died has no jobs left. Any other fault ends the thread, as in the engine.
            let _ = self.work(job);
            self.end_write();
        }
        self.now = self.now.max(now_ms);
    }

    /// The time at which the model will next change by itself.
    #[must_use]
    pub fn next_event_at(&self) -> Option<u64> {
        self.agenda.next_at()
    }

    fn work(&mut self, job: Job) -> Result<(), Fault> {
        match job {
            Job::Begin { run, flights } => self.begin(&run, flights),
            Job::Queue(flight) => self.queue_task(*flight),
            Job::Execute(flight) => self.execute(*flight),
            Job::Wait(flight) => self.wait(*flight),
            Job::Restore(task) => self.save_task(*task),
            Job::End(task) => self.end_task(*task),
            Job::Next(task) => self.next_tasks(&task),
            Job::TimeOutTask { run, task } => self.time_out_task(&run, &task),
            Job::TimeOutRun(run) => self.time_out_run(&run, None),
            Job::TakeRun(run) => self.take_run(&run),
            Job::TakeTask { run, task } => self.take_task(&run, &task),
            Job::FinishTask { run, task } => self.finish_task(&run, &task),
            Job::GoOn(ticket, rest) => {
                self.go_on(ticket, rest);
                Ok(())
            }
        }
    }

    /// Schedules a job, this many milliseconds from now.
    pub(crate) fn schedule(&mut self, after: u64, job: Job) {
        self.agenda.add(self.now.saturating_add(after), job);
    }

    /// Schedules the beginning of a run. The engine reads the tasks now, and not again.
    pub(crate) fn schedule_begin(&mut self, run: &str) {
        let tasks = self.tasks(run).to_vec();
        let start = tasks.iter().find(|task| task.kind == TaskType::Start).map(|start| start.name.as_str());
        let next: Vec<_> = start.into_iter().flat_map(|start| graph::dependants(&tasks, start)).cloned().collect();
        let flights: Vec<_> = next.into_iter().map(|task| self.flight(task)).collect();
        let at = flights.first().map_or(self.now, |flight| flight.at(20));
        self.agenda.add(at, Job::Begin { run: run.to_owned(), flights });
    }

    /// A hand-over that begins now.
    fn flight(&mut self, task: TaskRun) -> Flight {
        let lands = self.now.saturating_add(self.chance.within(self.settings.timing.hand_over));
        let window_until = self.now.saturating_add(self.chance.within(self.settings.timing.window));
        Flight { task, opened: self.now, window_until: window_until.min(lands), lands }
    }

    /// Ends the tasks of a run that is over. Tasks that it doesn't have yet are created first, to be skipped.
    pub(crate) fn drop_tasks(&mut self, run: &Run) -> Result<(), Fault> {
        self.create_tasks(run)?;
        let now = self.now;
        let after = self.settings.timing.end;
        for task in self.tasks(&run.id).to_vec() {
            match task.phase {
                Phase::Running => self.schedule(after, Job::End(Box::new(task))),
                Phase::Pending => {
                    let flight = Flight { task, opened: now, window_until: now, lands: now };
                    self.schedule(after, Job::Queue(Box::new(flight)));
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn begin(&mut self, id: &str, flights: Vec<Flight>) -> Result<(), Fault> {
        let now = self.now;
        let record = self.record_mut(id)?;
        // Another start was quicker.
        if !record.run.phase.is_startable() {
            return Ok(());
        }
        record.run.start_time = Some(now);
        record.run.status = Status::Running;
        record.run.phase = Phase::Running;
        let run = record.run.clone();
        self.schedule_run_timeout(&run);
        self.reach(Step::RunStarted)?;
        for flight in flights.into_iter().filter(|flight| flight.task.kind != TaskType::End) {
            self.agenda.add(flight.at(40), Job::Queue(Box::new(flight)));
        }
        Ok(())
    }

    /// After a task has ended: queues the tasks after it, or ends the run.
    fn next_tasks(&mut self, ended: &TaskRun) -> Result<(), Fault> {
        let id = ended.workflow_run_ref.as_str();
        let tasks = self.tasks(id).to_vec();
        for next in graph::dependants(&tasks, &ended.name) {
            let is_due = graph::is_due(&tasks, next);
            if next.kind == TaskType::End && is_due {
                return self.finish_run(id);
            }
            if next.kind != TaskType::End && is_due {
                let flight = self.flight(next.clone());
                self.agenda.add(flight.at(40), Job::Queue(Box::new(flight)));
            }
        }
        Ok(())
    }

    fn finish_run(&mut self, id: &str) -> Result<(), Fault> {
        let now = self.now;
        let ends: Vec<_> = self.tasks(id).iter().filter(|task| task.kind == TaskType::End).cloned().collect();
        for mut end in ends {
            end.set(Status::Succeeded, Phase::Completed);
            self.save_task(end)?;
        }
        self.reach(Step::EndSaved)?;
        let record = self.record_mut(id)?;
        let is_complete = graph::is_valid(&record.tasks);
        record.run.status = if is_complete { Status::Succeeded } else { Status::Failed };
        record.run.phase = Phase::Completed;
        record.run.duration = record.run.start_time.map_or(0, |start| now.saturating_sub(start));
        Ok(())
    }
}
