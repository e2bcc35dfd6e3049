//! The host as one contender sees it: each operation is a step that a scheduler grants.

use std::borrow::Cow;
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::collections::hash_map::DefaultHasher;
use std::convert::Infallible;
use std::hash::Hash;
use std::task::Poll;
use std::time::Duration;

use http::{Request, Response};
use serde_json::{Value, json};
use sluice::config;
use sluice::delivery::DeliveryId;
use sluice::gateway::Gateway;
use sluice::ports::{
    Clock, Http, KeyValue, Rng, SendError, Sql, SqlError, StoreError, Timeouts, VariableError, Variables,
};
use sluice::secret::Secret;
use sluice::time::{ArrivalTime, Timestamp};

use crate::fake::{looked_at, summary};

/// The least duration of a sleep, in milliseconds.
///
/// It is longer than any wait of a contender for another, so such a wait looks at the claim twice. This bounds the number
/// of states.
const SLEEP: u64 = 10_000;

/// A step of a contender.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Step {
    /// A store operation.
    Store,
    /// A store operation that no other contender can observe.
    Private,
    /// The engine receives a request and acts.
    Act,
    /// The engine's response arrives.
    Answer,
    /// The engine shows a run. It reads nothing that a step on the store changes, so its two halves are one step.
    Look,
    Sleep,
}

/// Store and engine, shared by all contenders.
#[derive(Default)]
pub struct Shared {
    pub store: RefCell<BTreeMap<String, Vec<u8>>>,
    /// The body of each request that the engine acted on.
    pub acted: RefCell<Vec<String>>,
    /// How the task ended that the callbacks are for: the status, and the number in the payload.
    pub ended: RefCell<Option<(String, u64)>>,
    /// The number of events that were received and not answered.
    pub open: Cell<usize>,
    /// Milliseconds since the contenders started, while the schedule is over.
    pub later: Cell<u64>,
    pub variables: BTreeMap<String, String>,
}

/// The host of one contender.
pub struct View<'s> {
    shared: &'s Shared,
    /// The step that may be taken next.
    pub granted: Cell<Option<Step>>,
    /// Without a scheduler every step is taken at once.
    scheduled: bool,
    /// The steps for which the contender waits.
    pub waiting: RefCell<Vec<Step>>,
    /// A hash of all observations.
    pub seen: RefCell<DefaultHasher>,
    /// The total duration of the sleeps, in milliseconds.
    pub slept: Cell<u64>,
    random: Cell<u64>,
    /// The time of arrival.
    start: u64,
    /// The id of the contender's delivery.
    pub name: String,
    /// Some contender drains, so pending records and the notification can be observed.
    pub observes_drain: bool,
    /// The engine can't be reached.
    pub unreachable: bool,
}

impl<'s> View<'s> {
    pub fn new(shared: &'s Shared, nth: usize, scheduled: bool, start: u64) -> Self {
        let random = 1 + 1_000 * nth as u64;
        Self {
            shared,
            granted: Cell::new(None),
            scheduled,
            waiting: RefCell::default(),
            seen: RefCell::default(),
            slept: Cell::new(0),
            random: Cell::new(random),
            start,
            name: DeliveryId::new(Timestamp(start).into(), random).to_string(),
            observes_drain: false,
            unreachable: false,
        }
    }

    async fn step(&self, step: Step) {
        std::future::poll_fn(|_| {
            if !self.scheduled || self.granted.get() == Some(step) {
                self.granted.set(None);
                return Poll::Ready(());
            }
            self.waiting.borrow_mut().push(step);
            Poll::Pending
        })
        .await;
        step.hash(&mut *self.seen.borrow_mut());
    }

    /// The kind of step of an operation on a key.
    fn step_of(&self, key: &str) -> Step {
        let of_drain = ["sluice/pending/", "sluice/hint"].iter().any(|prefix| key.starts_with(prefix));
        if of_drain && !self.observes_drain { Step::Private } else { Step::Store }
    }

    fn observe<T: Hash>(&self, what: T) -> T {
        what.hash(&mut *self.seen.borrow_mut());
        what
    }

    pub fn gateway(&self) -> Gateway<'_, Self> {
        Gateway::new(self, config::settings(self).unwrap())
    }
}

/// No database can be reached.
impl Sql for View<'_> {
    type Connection = Infallible;

    async fn connect(&self, _: &Secret) -> Result<Infallible, SqlError> {
        Err(SqlError::Unreachable)
    }
}

impl KeyValue for View<'_> {
    async fn get(&self, key: &str) -> Result<Option<Vec<u8>>, StoreError> {
        self.step(Step::Store).await;
        let value = self.shared.store.borrow().get(key).cloned();
        // Of a claim, a contender uses the time and whether it wrote it itself, but not which other contender did.
        match value.as_deref().and_then(|value| serde_json::from_slice::<Value>(value).ok()) {
            Some(claim) if claim["by"].is_string() && claim["callback"].is_null() => {
                let own = claim["by"].as_str().filter(|by| by.starts_with(&self.name));
                self.observe((claim["at"].as_u64(), own));
            }
            _ => _ = self.observe(&value),
        }
        Ok(value)
    }

    async fn set(&self, key: &str, value: &[u8]) -> Result<(), StoreError> {
        self.step(self.step_of(key)).await;
        self.shared.store.borrow_mut().insert(key.to_owned(), value.to_vec());
        Ok(())
    }

    async fn delete(&self, key: &str) -> Result<(), StoreError> {
        self.step(Step::Store).await;
        self.shared.store.borrow_mut().remove(key);
        Ok(())
    }

    async fn exists(&self, key: &str) -> Result<bool, StoreError> {
        self.step(self.step_of(key)).await;
        let there = self.shared.store.borrow().contains_key(key);
        Ok(if self.step_of(key) == Step::Private { there } else { self.observe(there) })
    }

    async fn keys(&self) -> Result<Vec<String>, StoreError> {
        self.step(Step::Store).await;
        Ok(self.observe(self.shared.store.borrow().keys().cloned().collect::<Vec<_>>()))
    }
}

impl Http for View<'_> {
    async fn send(&self, request: Request<Vec<u8>>, _: Timeouts) -> Result<Response<Vec<u8>>, SendError> {
        if self.unreachable {
            return Err(SendError::NotSent("refused"));
        }
        if looked_at(&request).is_some() {
            self.step(Step::Look).await;
            return Ok(Response::new(self.observe(self.shared.show()).into_bytes()));
        }
        self.step(Step::Act).await;
        let is_event = request.method() == "PUT";
        let answer = self.shared.act(request);
        self.step(Step::Answer).await;
        if is_event {
            self.shared.open.set(self.shared.open.get().saturating_sub(1));
        }
        Ok(Response::new(self.observe(answer).into_bytes()))
    }
}

impl Shared {
    /// Acts on a request as the engine would, and returns the response.
    fn act(&self, request: Request<Vec<u8>>) -> String {
        let mut acted = self.acted.borrow_mut();
        if let Some(label) = summary(&request).strip_prefix("find ") {
            let found = acted.iter().find(|body| body.contains(label));
            let run = format!(r#"{{"id":"run","status":"ready","labels":{{"sluice.dev/delivery":"{label}"}}}}"#);
            return format!(r#"{{"content":[{}]}}"#, found.map_or("", |_| run.as_str()));
        }
        let body = String::from_utf8(request.into_body()).unwrap();
        let event: Value = serde_json::from_str(&body).unwrap();
        acted.push(body);
        if let (Some(status), Some(n)) = (event["status"].as_str(), event["results"][0]["value"]["n"].as_u64()) {
            // Of two events at once the engine accepts both, and the last one stays.
            let is_open = self.open.replace(self.open.get() + 1) > 0;
            let mut ended = self.ended.borrow_mut();
            if ended.is_none() || is_open {
                *ended = Some((status.to_owned(), n));
            }
            return String::new();
        }
        r#"{"id":"run","status":"ready"}"#.to_owned()
    }
}

impl Shared {
    /// The run that the callbacks are for, with the task that waits for their topic.
    fn show(&self) -> String {
        let ended = self.ended.borrow();
        let status = ended.as_ref().map_or("waiting", |(status, _)| status);
        let params = json!([{ "name": "topic", "value": "t" }]);
        let task = json!({ "id": "task", "type": "eventwait", "status": status, "params": params });
        json!({ "id": "r", "status": "running", "phase": "running", "tasks": [task] }).to_string()
    }
}

impl Clock for View<'_> {
    fn arrival_time(&self) -> ArrivalTime {
        Timestamp(self.start + self.slept.get() + self.shared.later.get()).into()
    }

    fn monotonic(&self) -> Duration {
        Duration::from_millis(self.now().0)
    }

    async fn sleep(&self, duration: Duration) {
        self.step(Step::Sleep).await;
        self.slept.set(self.slept.get() + SLEEP.max(u64::try_from(duration.as_millis()).unwrap()));
    }
}

impl Rng for View<'_> {
    fn random(&self) -> u64 {
        self.random.replace(self.random.get() + 2)
    }
}

impl Variables for View<'_> {
    fn variable(&self, name: &str) -> Result<Option<Cow<'_, str>>, VariableError> {
        Ok(self.shared.variables.get(name).map(|value| Cow::Borrowed(value.as_str())))
    }
}
