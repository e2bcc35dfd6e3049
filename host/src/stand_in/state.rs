//! The stand-in's state: requests, runs and the script. Its size is bounded, because load tests may run for hours.

use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasher, RandomState};
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use chrono::{DateTime, Utc};
use hyper::{HeaderMap, Method};

use super::runs::{Event, Run, Submit};
use super::script::Rules;

/// An engine request that the stand-in received.
#[derive(Clone, Debug)]
#[allow(missing_docs, reason = "named like the parts of a request")]
pub struct RecordedRequest {
    /// Time of its arrival.
    pub at: DateTime<Utc>,
    pub method: Method,
    pub path: String,
    pub query: Option<String>,
    pub headers: HeaderMap,
    pub body: Bytes,
}

/// Totals, including requests and runs that are no longer kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "named like the lists")]
pub struct Counts {
    pub requests: u64,
    pub runs: u64,
}

/// The state, shared by all requests.
#[derive(Debug)]
pub(super) struct State(Mutex<Inner>);

/// The locked state.
#[derive(Debug)]
pub(super) struct Inner {
    pub(super) rules: Rules,
    pub(super) requests: Recent<RecordedRequest>,
    /// In the order of their ids.
    pub(super) runs: Recent<Run>,
    /// The ids of the kept runs, oldest first, by name and value of a label.
    runs_by_label: HashMap<(String, String), VecDeque<String>>,
    /// The first 14 hexadecimal digits of each run's id: the time at which the stand-in started, in seconds, and a
    /// random number.
    prefix: String,
}

/// The error for a workflow or a run that the engine doesn't know.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum UnknownReference {
    Workflow,
    Run,
}

impl State {
    /// Keeps the latest `capacity` requests, and as many runs.
    pub(super) fn new(rules: Rules, capacity: usize) -> State {
        let random = RandomState::new().hash_one(0) & 0xff_ffff;
        let prefix = format!("{:08x}{random:06x}", Utc::now().timestamp());
        let (requests, runs) = (Recent::new(capacity), Recent::new(capacity));
        State(Mutex::new(Inner { rules, requests, runs, runs_by_label: HashMap::new(), prefix }))
    }

    /// Locks the state, ignoring poisoning: no panic leaves it inconsistent.
    pub(super) fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    pub(super) fn record(&mut self, request: RecordedRequest) {
        let size = request.body.len();
        self.requests.push(request, size);
    }

    /// Adds a run from a request body of `size` bytes.
    pub(super) fn submit(
        &mut self,
        workflow: String,
        submit: Submit,
        start: bool,
        size: usize,
    ) -> Result<Run, UnknownReference> {
        if self.rules.unknown_workflows.contains(&workflow) {
            return Err(UnknownReference::Workflow);
        }
        let run = Run::new(self.next_id(), workflow, submit, start, Utc::now());
        self.keep(run.clone(), size);
        Ok(run)
    }

    pub(super) fn resolve(&mut self, run: &str, event: Event) -> Result<(), UnknownReference> {
        self.run(run)?.resolve(event, Utc::now());
        Ok(())
    }

    /// Adds a run that waits for the topic, and returns its id.
    pub(super) fn wait(&mut self, workflow: String, topic: String) -> String {
        let now = Utc::now();
        let id = self.next_id();
        let mut run = Run::new(id.clone(), workflow, Submit::manual(), true, now);
        run.wait(topic, now);
        self.keep(run, 0);
        id
    }

    /// Adds a wait to a run.
    pub(super) fn wait_on(&mut self, run: &str, topic: String) -> Result<(), UnknownReference> {
        self.run(run)?.wait(topic, Utc::now());
        Ok(())
    }

    pub(super) fn clear(&mut self) {
        self.requests.clear();
        self.runs.clear();
        self.runs_by_label.clear();
    }

    /// The runs that have all of these labels, oldest first; all runs if there are no labels.
    pub(super) fn with_labels(&self, labels: &[(String, String)]) -> Vec<&Run> {
        let Some(first) = labels.first() else { return self.runs.iter().collect() };
        let ids = self.runs_by_label.get(first).into_iter().flatten();
        let runs = ids.filter_map(|id| Some(&self.runs.items[self.position(id)?].0));
        runs.filter(|run| labels.iter().all(|(name, value)| run.labels.get(name) == Some(value))).collect()
    }

    fn keep(&mut self, run: Run, size: usize) {
        for label in run.labels.clone() {
            self.runs_by_label.entry(label).or_default().push_back(run.id.clone());
        }
        for evicted in self.runs.push(run, size) {
            for label in evicted.labels {
                // An evicted run is the oldest of all, so its id is the first one of each of its labels.
                if let Some(ids) = self.runs_by_label.get_mut(&label)
                    && ids.pop_front().is_some()
                    && ids.is_empty()
                {
                    self.runs_by_label.remove(&label);
                }
            }
        }
    }

    fn next_id(&self) -> String {
        format!("{}{:010x}", self.prefix, self.runs.total)
    }

    fn run(&mut self, id: &str) -> Result<&mut Run, UnknownReference> {
        let position = self.position(id).ok_or(UnknownReference::Run)?;
        Ok(&mut self.runs.items[position].0)
    }

    fn position(&self, id: &str) -> Option<usize> {
        self.runs.items.binary_search_by(|(run, _)| run.id.as_str().cmp(id)).ok()
    }
}

/// The latest items, bounded in number and in bytes.
#[derive(Debug)]
pub(super) struct Recent<T> {
    /// Each with its size in bytes, oldest first.
    items: VecDeque<(T, usize)>,
    capacity: usize,
    bytes: usize,
    /// Number of items ever added.
    pub(super) total: u64,
}

/// The default capacity.
pub(super) const MAX_ITEMS: usize = 10_000;
/// Maximum total size of the items in bytes. The latest item is kept even if it is larger.
const MAX_BYTES: usize = 64 << 20;

impl<T> Recent<T> {
    fn new(capacity: usize) -> Recent<T> {
        Recent { items: VecDeque::new(), capacity, bytes: 0, total: 0 }
    }

    /// Adds an item and returns the evicted ones, oldest first.
    fn push(&mut self, item: T, size: usize) -> Vec<T> {
        self.items.push_back((item, size));
        self.bytes += size;
        self.total += 1;
        let mut evicted = Vec::new();
        while self.items.len() > self.capacity || (self.bytes > MAX_BYTES && self.items.len() > 1) {
            if let Some((item, size)) = self.items.pop_front() {
                self.bytes -= size;
                evicted.push(item);
            }
        }
        evicted
    }

    /// The items, oldest first.
    pub(super) fn iter(&self) -> impl DoubleEndedIterator<Item = &T> {
        self.items.iter().map(|(item, _)| item)
    }

    /// Removes the items. The total stays, because run ids are derived from it.
    fn clear(&mut self) {
        self.items.clear();
        self.bytes = 0;
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    #[test]
    fn old_items_are_evicted_but_counted() {
        let mut recent = Recent::new(MAX_ITEMS);
        for n in 0..MAX_ITEMS + 5 {
            recent.push(n, 1);
        }
        assert_eq!(recent.iter().next(), Some(&5));
        assert_eq!(recent.items.len(), MAX_ITEMS);
        recent.push(1, MAX_BYTES);
        recent.push(2, MAX_BYTES);
        assert_eq!(recent.iter().collect::<Vec<_>>(), [&2]);
        assert_eq!(recent.total, MAX_ITEMS as u64 + 7);
    }

    #[test]
    fn labels_find_only_runs_that_are_kept() {
        let state = State::new(Rules::default(), 2);
        let mut state = state.lock();
        for value in ["a", "b", "a", "a"] {
            let submit = Submit { labels: [("l".to_owned(), value.to_owned())].into(), ..Submit::manual() };
            state.submit("w".to_owned(), submit, true, 0).unwrap();
        }
        let found = |value: &str| state.with_labels(&[("l".to_owned(), value.to_owned())]).len();
        assert_eq!((found("a"), found("b"), state.with_labels(&[]).len()), (2, 0, 2));
        assert_eq!(state.runs_by_label.len(), 1);
    }
}
