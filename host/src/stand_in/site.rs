//! The model with a clock, and with a database that may outlive the process.

use std::collections::{BTreeSet, VecDeque};
use std::io;
use std::path::Path;
#[cfg(test)]
use std::sync::{Arc, atomic::AtomicU64};
use std::time::{SystemTime, UNIX_EPOCH};

use hyper::{Request, Response};

use super::NoWait;
use super::journal::{Entry, EntryRef, Journal};
use super::model::{Catalogue, Json, Model, NoAnswer, Process, Record, Services, Settings, Status, Step, Timing};
use super::workflows::{self, Named};

/// The source of the time.
#[derive(Clone, Debug)]
pub(super) enum Clock {
    System,
    /// Milliseconds since 1970, set by a test.
    #[cfg(test)]
    Manual(Arc<AtomicU64>),
}

impl Clock {
    /// Milliseconds since 1970.
    pub(super) fn now(&self) -> u64 {
        match self {
            Clock::System => {
                let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
                u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
            }
            #[cfg(test)]
            Clock::Manual(now) => now.load(std::sync::atomic::Ordering::SeqCst),
        }
    }
}

/// The bytes of requests whose runs are kept.
const MAX_BYTES: usize = 64 << 20;

/// An installation.
#[derive(Debug)]
pub(super) struct Site {
    model: Model,
    pub(super) clock: Clock,
    pub(super) any_workflow: bool,
    journal: Option<Journal>,
    /// Whether the death of a service is the death of this process.
    aborts: bool,
    /// How many runs are kept; all if there is no number.
    pub(super) capacity: Option<usize>,
    /// The sizes of the requests for the latest runs.
    sizes: VecDeque<usize>,
    /// Their sum.
    bytes: usize,
    deleted: usize,
}

impl Site {
    pub(super) fn new(services: Services, catalogue: Catalogue, settings: Settings, clock: Clock) -> Site {
        Site {
            model: Model::new(services, catalogue, settings),
            clock,
            any_workflow: false,
            journal: None,
            aborts: false,
            capacity: None,
            sizes: VecDeque::new(),
            bytes: 0,
            deleted: 0,
        }
    }

    /// Continues with the database in a file. Random choices differ from those of earlier starts, so ids do too.
    pub(super) fn open(&mut self, file: &Path) -> io::Result<()> {
        let (mut journal, entries) = Journal::open(file)?;
        let mut starts = 0;
        let mut runs = Vec::new();
        for entry in entries {
            match entry {
                Entry::Start(number) => starts = number,
                Entry::Workflow(workflow) => self.set_workflow(workflow),
                Entry::Run(record) => runs.push(record),
            }
        }
        self.model.reseed(starts);
        journal.write(&EntryRef::Start(starts.saturating_add(1)))?;
        self.journal = Some(journal);
        self.model.log_writes();
        self.model.restore(self.clock.now(), runs);
        Ok(())
    }

    /// Closes the file. A request that is still being delayed is no longer saved.
    pub(super) fn close(&mut self) {
        self.journal = None;
    }

    fn set_workflow(&mut self, workflow: super::model::Workflow) {
        let workflows = &mut self.model.catalogue().workflows;
        match workflows.iter_mut().find(|known| known.id == workflow.id) {
            Some(known) => *known = workflow,
            None => workflows.push(workflow),
        }
    }

    /// Answers a request. Of these workflows, the services know nothing.
    pub(super) fn serve(
        &mut self,
        request: Request<Vec<u8>>,
        unknown: &BTreeSet<String>,
    ) -> io::Result<Result<Response<Vec<u8>>, NoAnswer>> {
        let now = self.clock.now();
        self.model.advance(now);
        let named = Named::of(request.uri().path());
        let is_unknown = named.as_ref().is_some_and(|named| unknown.contains(&named.reference));
        if self.any_workflow
            && !is_unknown
            && let Some(named) = &named
            && let Some(workflow) = workflows::create(self.model.catalogue(), named)
            && let Some(journal) = &mut self.journal
        {
            journal.write(&EntryRef::Workflow(workflow))?;
        }
        if request.uri().path().ends_with("/submit") {
            self.make_room(request.body().len());
        }
        let response = match named.filter(|_| is_unknown) {
            Some(named) => self.without(&named, |model| model.serve(now, request)),
            None => self.model.serve(now, request),
        };
        self.save()?;
        Ok(response)
    }

    /// Calls the model while the catalogue lacks a workflow. All of the model's work has to be done by now.
    fn without<T>(&mut self, named: &Named, call: impl FnOnce(&mut Model) -> T) -> T {
        let workflows = &mut self.model.catalogue().workflows;
        let taken = workflows.iter().position(|workflow| named.is(workflow)).map(|at| (at, workflows.remove(at)));
        let result = call(&mut self.model);
        if let Some((at, workflow)) = taken {
            self.model.catalogue().workflows.insert(at, workflow);
        }
        result
    }

    /// Does the work that is due.
    pub(super) fn work(&mut self) -> io::Result<()> {
        self.model.advance(self.clock.now());
        self.save()
    }

    /// The time of the work that comes next.
    pub(super) fn next_work_at(&self) -> Option<u64> {
        self.model.next_event_at()
    }

    /// Saves what the model has written, and aborts the process if a service has died and is to take it along.
    fn save(&mut self) -> io::Result<()> {
        if let Some(journal) = &mut self.journal {
            for record in self.model.take_writes() {
                journal.write(&EntryRef::Run(&record))?;
            }
        }
        if self.aborts && [Process::Engine, Process::Flow].into_iter().any(|process| self.model.is_dead(process)) {
            std::process::abort();
        }
        Ok(())
    }

    /// Deletes runs that are over if another one, whose request has this size, makes too many.
    fn make_room(&mut self, size: usize) {
        let Some(capacity) = self.capacity else { return };
        self.sizes.push_back(size);
        self.bytes += size;
        while self.sizes.len() > capacity.max(1) || (self.bytes > MAX_BYTES && self.sizes.len() > 1) {
            self.bytes -= self.sizes.pop_front().unwrap_or_default();
        }
        let (runs, keep) = (self.model.runs().count(), self.sizes.len());
        if runs > keep.saturating_add(keep / 8) {
            self.model.forget(keep);
            self.deleted += runs.saturating_sub(self.model.runs().count());
        }
    }

    /// Starts a run and lets it come to wait for a topic.
    pub(super) fn wait(&mut self, reference: &str, topic: &str) -> Result<String, NoWait> {
        let now = self.clock.now();
        let may_create = self.any_workflow;
        let (workflow, changed) = workflows::waiting(self.model.catalogue(), reference, topic, may_create)?;
        if let (Some(workflow), Some(journal)) = (changed, &mut self.journal) {
            journal.write(&EntryRef::Workflow(&workflow)).map_err(|_| NoWait::NotReached)?;
        }
        self.make_room(0);
        self.model.advance(now);
        let timing = std::mem::replace(&mut self.model.settings().timing, Timing::quick());
        let run = self.model.start_by_hand(now, &workflow);
        self.model.advance(now);
        self.model.settings().timing = timing;
        self.save().map_err(|_| NoWait::NotReached)?;
        let run = run.ok_or(NoWait::NotReached)?;
        let topic = Json::from(topic);
        let tasks = self.model.run(&run).map_or(&[][..], |record| &record.tasks);
        let waits = tasks.iter().any(|task| task.status == Status::Waiting && task.param("topic") == Some(&topic));
        if waits { Ok(run) } else { Err(NoWait::NotReached) }
    }

    pub(super) fn die_at(&mut self, step: Step, aborts: bool) {
        self.aborts = aborts;
        self.model.die_at(step);
    }

    pub(super) fn kill(&mut self, process: Process, aborts: bool) {
        self.aborts = aborts;
        self.model.kill(process);
        // An error is that of a write, of which there is none.
        let _ = self.save();
    }

    pub(super) fn restart(&mut self) {
        self.model.advance(self.clock.now());
        self.model.restart();
    }

    /// The runs, the oldest first, after the work that is due.
    pub(super) fn runs(&mut self) -> impl DoubleEndedIterator<Item = &Record> {
        // The next request reports an error of the file.
        let _ = self.work();
        self.model.runs()
    }

    /// A run by id, after the work that is due.
    pub(super) fn run(&mut self, id: &str) -> Option<&Record> {
        // The next request reports an error of the file.
        let _ = self.work();
        self.model.run(id)
    }

    /// A run as the engine shows it.
    pub(super) fn look(&self, id: &str) -> Option<Json> {
        self.model.look(id)
    }

    /// The number of runs so far.
    pub(super) fn total(&self) -> u64 {
        self.model.runs().count().saturating_add(self.deleted) as u64
    }
}
