//! The agent: another process, which polls the engine for runs and tasks that are ready.

use super::agenda::Job;
use crate::Model;
use crate::crash::Step;
use crate::fault::Fault;
use crate::run::{Phase, Status, TaskRun};

impl Model {
    /// Lets the agent find everything that is ready, for a start of the engine.
    pub(crate) fn schedule_agent(&mut self) {
        let runs: Vec<_> = self.runs.values().filter(|record| !record.run.phase.is_over()).cloned().collect();
        for record in runs {
            self.schedule_run(&record.run.id);
            for task in &record.tasks {
                self.schedule_task(task);
                if task.kind.needs_agent() && task.status == Status::Running {
                    self.schedule_finish(task);
                }
            }
        }
    }

    /// Lets the agent take a run, if it is ready by then.
    pub(crate) fn schedule_run(&mut self, run: &str) {
        if let Some(agent) = self.settings.agent {
            self.schedule(agent.poll_ms, Job::TakeRun(run.to_owned()));
        }
    }

    /// Lets the agent take a task of a type that is for agents, if it is ready by then.
    pub(crate) fn schedule_task(&mut self, task: &TaskRun) {
        if let Some(agent) = self.settings.agent.filter(|_| task.kind.needs_agent()) {
            let job = Job::TakeTask { run: task.workflow_run_ref.clone(), task: task.id.clone() };
            self.schedule(agent.poll_ms, job);
        }
    }

    pub(crate) fn take_run(&mut self, id: &str) -> Result<(), Fault> {
        let run = &mut self.record_mut(id)?.run;
        if run.status == Status::Ready && run.phase == Phase::Pending {
            run.phase = Phase::Queued;
            self.schedule_begin(id);
        }
        Ok(())
    }

    /// The agent starts the task, unless the run has ended: then it ends too.
    pub(crate) fn take_task(&mut self, run: &str, task: &str) -> Result<(), Fault> {
        let Some(mut task) = self.tasks(run).iter().find(|known| known.id == task).cloned() else { return Ok(()) };
        if task.status != Status::Ready || task.phase != Phase::Pending {
            return Ok(());
        }
        if self.record(run)?.run.phase.is_over() {
            return self.end_task(task);
        }
        task.start_time = Some(self.now);
        task.set(Status::Running, Phase::Running);
        self.save_task(task.clone())?;
        self.reach(Step::TaskRunning)?;
        self.schedule_task_timeout(&task);
        self.schedule_finish(&task);
        Ok(())
    }

    fn schedule_finish(&mut self, task: &TaskRun) {
        let Some(duration) = self.template(task).map(|(duration, _)| duration) else { return };
        let job = Job::FinishTask { run: task.workflow_run_ref.clone(), task: task.id.clone() };
        self.schedule(duration, job);
    }

    pub(crate) fn finish_task(&mut self, run: &str, task: &str) -> Result<(), Fault> {
        let Some(mut task) = self.tasks(run).iter().find(|known| known.id == task).cloned() else { return Ok(()) };
        let fails = self.template(&task).is_some_and(|(_, fails)| fails);
        task.status = if fails { Status::Failed } else { Status::Succeeded };
        self.end_task(task)
    }

    /// How long an agent takes for a task, and whether it fails.
    fn template(&self, task: &TaskRun) -> Option<(u64, bool)> {
        let workflow = self.catalogue.workflow(&task.workflow_ref)?;
        let template = workflow.tasks.iter().find(|known| known.name == task.name)?;
        Some((template.duration_ms, template.fails))
    }
}
