//! The stand-in's memory: what came, what runs. Bounded, so that it can be put under load for hours.

use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasher, RandomState};
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use chrono::{DateTime, Utc};
use hyper::{HeaderMap, Method};

use super::runs::{Event, Run, Submit};
use super::script::Orders;

/// An engine request as it came.
#[derive(Clone, Debug)]
#[allow(missing_docs, reason = "they say it")]
pub struct Recorded {
    pub at: DateTime<Utc>,
    pub method: Method,
    pub path: String,
    pub query: Option<String>,
    pub headers: HeaderMap,
    pub body: Bytes,
}

/// How many there have been, also those that are no longer kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "they say it")]
pub struct Counts {
    pub requests: u64,
    pub runs: u64,
}

#[derive(Debug)]
pub(super) struct State(Mutex<Inner>);

#[derive(Debug)]
pub(super) struct Inner {
    pub(super) orders: Orders,
    pub(super) requests: Kept<Recorded>,
    /// In the order of their ids.
    pub(super) runs: Kept<Run>,
    /// The ids of the runs that are kept, by name and value of a label.
    labelled: HashMap<(String, String), VecDeque<String>>,
    /// The first 14 digits of each id: the start's second and a random number.
    prefix: String,
}

/// Why a request isn't acted on.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    UnknownWorkflow,
    UnknownRun,
}

impl State {
    /// Keeps so many requests and so many runs.
    pub(super) fn new(orders: Orders, keep: usize) -> State {
        let random = RandomState::new().hash_one(0) & 0xff_ffff;
        let prefix = format!("{:08x}{random:06x}", Utc::now().timestamp());
        let (requests, runs) = (Kept::new(keep), Kept::new(keep));
        State(Mutex::new(Inner { orders, requests, runs, labelled: HashMap::new(), prefix }))
    }

    /// A panic elsewhere leaves nothing half done that matters here.
    pub(super) fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    pub(super) fn record(&mut self, request: Recorded) {
        let size = request.body.len();
        self.requests.push(request, size);
    }

    /// A new run, made of `size` bytes.
    pub(super) fn submit(
        &mut self,
        workflow: String,
        submit: Submit,
        start: bool,
        size: usize,
    ) -> Result<Run, Refusal> {
        if self.orders.unknown_workflows.contains(&workflow) {
            return Err(Refusal::UnknownWorkflow);
        }
        let run = Run::new(self.next_id(), workflow, submit, start, Utc::now());
        self.keep(run.clone(), size);
        Ok(run)
    }

    pub(super) fn resolve(&mut self, run: &str, event: Event) -> Result<(), Refusal> {
        self.run(run)?.resolve(event, Utc::now());
        Ok(())
    }

    /// A new run that waits for the topic.
    pub(super) fn wait(&mut self, workflow: String, topic: String) -> String {
        let now = Utc::now();
        let id = self.next_id();
        let mut run = Run::new(id.clone(), workflow, Submit::by_hand(), true, now);
        run.wait(topic, now);
        self.keep(run, 0);
        id
    }

    /// One more wait in a run.
    pub(super) fn wait_on(&mut self, run: &str, topic: String) -> Result<(), Refusal> {
        self.run(run)?.wait(topic, Utc::now());
        Ok(())
    }

    pub(super) fn clear(&mut self) {
        self.requests.clear();
        self.runs.clear();
        self.labelled.clear();
    }

    /// The runs that carry all of these labels, oldest first; without labels all runs.
    pub(super) fn labelled(&self, labels: &[(String, String)]) -> Vec<&Run> {
        let Some(first) = labels.first() else { return self.runs.iter().collect() };
        let ids = self.labelled.get(first).into_iter().flatten();
        let runs = ids.filter_map(|id| Some(&self.runs.items[self.position(id)?].0));
        runs.filter(|run| labels.iter().all(|(name, value)| run.labels.get(name) == Some(value))).collect()
    }

    fn keep(&mut self, run: Run, size: usize) {
        for label in run.labels.clone() {
            self.labelled.entry(label).or_default().push_back(run.id.clone());
        }
        for gone in self.runs.push(run, size) {
            for label in gone.labels {
                // It is the oldest of all, so the first of each label.
                if let Some(ids) = self.labelled.get_mut(&label)
                    && ids.pop_front().is_some()
                    && ids.is_empty()
                {
                    self.labelled.remove(&label);
                }
            }
        }
    }

    fn next_id(&self) -> String {
        format!("{}{:010x}", self.prefix, self.runs.total)
    }

    fn run(&mut self, id: &str) -> Result<&mut Run, Refusal> {
        let at = self.position(id).ok_or(Refusal::UnknownRun)?;
        Ok(&mut self.runs.items[at].0)
    }

    fn position(&self, id: &str) -> Option<usize> {
        self.runs.items.binary_search_by(|(run, _)| run.id.as_str().cmp(id)).ok()
    }
}

/// The last items: bounded in number and in bytes.
#[derive(Debug)]
pub(super) struct Kept<T> {
    items: VecDeque<(T, usize)>,
    most: usize,
    bytes: usize,
    pub(super) total: u64,
}

/// How many items are kept if nothing is said.
pub(super) const MAX_ITEMS: usize = 10_000;
const MAX_BYTES: usize = 64 << 20;

impl<T> Kept<T> {
    fn new(most: usize) -> Kept<T> {
        Kept { items: VecDeque::new(), most, bytes: 0, total: 0 }
    }

    /// Adds an item, and gives those that are no longer kept, oldest first.
    fn push(&mut self, item: T, size: usize) -> Vec<T> {
        self.items.push_back((item, size));
        self.bytes += size;
        self.total += 1;
        let mut gone = Vec::new();
        while self.items.len() > self.most || (self.bytes > MAX_BYTES && self.items.len() > 1) {
            if let Some((item, size)) = self.items.pop_front() {
                self.bytes -= size;
                gone.push(item);
            }
        }
        gone
    }

    /// Oldest first.
    pub(super) fn iter(&self) -> impl DoubleEndedIterator<Item = &T> {
        self.items.iter().map(|(item, _)| item)
    }

    /// Forgets the items; the count goes on, for ids are made of it.
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
    fn the_last_are_kept_and_all_are_counted() {
        let mut kept = Kept::new(MAX_ITEMS);
        for n in 0..MAX_ITEMS + 5 {
            kept.push(n, 1);
        }
        assert_eq!(kept.iter().next(), Some(&5));
        assert_eq!(kept.items.len(), MAX_ITEMS);
        kept.push(1, MAX_BYTES);
        kept.push(2, MAX_BYTES);
        assert_eq!(kept.iter().collect::<Vec<_>>(), [&2]);
        assert_eq!(kept.total, MAX_ITEMS as u64 + 7);
    }

    #[test]
    fn of_a_label_only_the_runs_that_are_kept_are_found() {
        let state = State::new(Orders::default(), 2);
        let mut state = state.lock();
        for value in ["a", "b", "a", "a"] {
            let submit = Submit { labels: [("l".to_owned(), value.to_owned())].into(), ..Submit::by_hand() };
            state.submit("w".to_owned(), submit, true, 0).unwrap();
        }
        let found = |value: &str| state.labelled(&[("l".to_owned(), value.to_owned())]).len();
        assert_eq!((found("a"), found("b"), state.labelled(&[]).len()), (2, 0, 2));
        assert_eq!(state.labelled.len(), 1);
    }
}
