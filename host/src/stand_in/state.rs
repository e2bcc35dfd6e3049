//! The stand-in's state: requests, the script and the services. Its size is bounded, because load tests may run for
//! hours.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use hyper::{HeaderMap, Method};
use tokio::sync::Notify;

use super::NoWait;
use super::script::{RequestKind, Rules};
use super::site::Site;

/// A request to the services.
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

impl RecordedRequest {
    /// The kind of the request; `None` for any other path or method.
    pub fn kind(&self) -> Option<RequestKind> {
        RequestKind::of(&self.method, &self.path)
    }
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
pub(super) struct State {
    inner: Mutex<Inner>,
    /// Wakes the worker when it has something to do earlier than it knows.
    earlier: Notify,
}

/// The locked state.
#[derive(Debug)]
pub(super) struct Inner {
    pub(super) rules: Rules,
    pub(super) requests: Recent<RecordedRequest>,
    pub(super) site: Site,
}

impl State {
    /// Keeps the latest `capacity` requests.
    pub(super) fn new(rules: Rules, capacity: usize, site: Site) -> State {
        let inner = Inner { rules, requests: Recent::new(capacity), site };
        State { inner: Mutex::new(inner), earlier: Notify::new() }
    }

    /// Locks the state, ignoring poisoning: no panic leaves it inconsistent.
    pub(super) fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets the worker look for work.
    pub(super) fn wake(&self) {
        self.earlier.notify_one();
    }
}

/// The loop that advances the services to their next event. A request advances them to its own time as well.
pub(super) async fn work(state: Arc<State>) {
    /// Without work, until the next notification.
    const LONG: Duration = Duration::from_secs(3600);
    loop {
        let pause = {
            let site = &mut state.lock().site;
            // The next request reports an error of the file.
            let _ = site.work();
            let now = site.clock.now();
            site.next_work_at().map_or(LONG, |at| Duration::from_millis(at.saturating_sub(now)))
        };
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = state.earlier.notified() => {}
        }
    }
}

impl Inner {
    pub(super) fn record(&mut self, request: RecordedRequest) {
        let size = request.body.len();
        self.requests.push(request, size);
    }

    /// Starts a run that waits for a topic, and returns its id.
    pub(super) fn wait(&mut self, workflow: &str, topic: &str) -> Result<String, NoWait> {
        if self.rules.unknown_workflows.contains(workflow) {
            return Err(NoWait::UnknownWorkflow);
        }
        self.site.wait(workflow, topic)
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

    /// Adds an item, and evicts old ones if it has to.
    fn push(&mut self, item: T, size: usize) {
        self.items.push_back((item, size));
        self.bytes += size;
        self.total += 1;
        while self.items.len() > self.capacity || (self.bytes > MAX_BYTES && self.items.len() > 1) {
            self.bytes -= self.items.pop_front().map_or(0, |(_, size)| size);
        }
    }

    /// The items, oldest first.
    pub(super) fn iter(&self) -> impl DoubleEndedIterator<Item = &T> {
        self.items.iter().map(|(item, _)| item)
    }

    /// Removes the items. The total stays.
    pub(super) fn clear(&mut self) {
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
}
