//! Store, engine and clock as one contender sees them, each operation a step that a scheduler grants.

use std::borrow::Cow;
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::collections::hash_map::DefaultHasher;
use std::hash::Hash;
use std::task::Poll;
use std::time::Duration;

use http::{Request, Response};
use serde_json::Value;
use sluice::config;
use sluice::delivery::DeliveryId;
use sluice::gateway::Gateway;
use sluice::ports::{Clock, Http, KeyValue, Rng, SendError, StoreError, Timeouts, VariableError, Variables};
use sluice::time::{ArrivalTime, Timestamp};

/// Every sleep takes at least this, so that who waits for another looks twice, and then no more.
const SLEEP: u64 = 10_000;
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Step {
    Store,
    /// What makes no difference to any other contender.
    Private,
    /// The engine gets the request, and acts.
    Act,
    /// Its answer arrives.
    Answer,
    Sleep,
}

/// Store and engine, shared by all.
#[derive(Default)]
pub struct Shared {
    pub store: RefCell<BTreeMap<String, Vec<u8>>>,
    /// The body of each request that the engine acted on.
    pub acted: RefCell<Vec<String>>,
    pub later: Cell<u64>,
    pub variables: BTreeMap<&'static str, String>,
}

/// One contender's way to it.
pub struct View<'s> {
    shared: &'s Shared,
    /// The step that it may take next; without a scheduler it takes any.
    pub granted: Cell<Option<Step>>,
    scheduled: bool,
    pub waiting: RefCell<Vec<Step>>,
    pub seen: RefCell<DefaultHasher>,
    pub slept: Cell<u64>,
    entropy: Cell<u64>,
    start: u64,
    /// The id of its delivery.
    name: String,
    /// Some contender drains: then the hint makes a difference, and what is pending.
    pub drained: bool,
    /// It can't reach the engine.
    pub cut_off: bool,
}

impl<'s> View<'s> {
    pub fn new(shared: &'s Shared, who: usize, scheduled: bool, start: u64) -> Self {
        let entropy = 1 + 1_000 * who as u64;
        Self {
            shared,
            granted: Cell::new(None),
            scheduled,
            waiting: RefCell::default(),
            seen: RefCell::default(),
            slept: Cell::new(0),
            entropy: Cell::new(entropy),
            start,
            name: DeliveryId::new(Timestamp(start).into(), entropy).to_string(),
            drained: false,
            cut_off: false,
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

    /// What kind of step it is to ask the store for a key, or to write it.
    fn at(&self, key: &str) -> Step {
        let of_drain = ["sluice/pending/", "sluice/hint"].iter().any(|prefix| key.starts_with(prefix));
        if of_drain && !self.drained { Step::Private } else { Step::Store }
    }

    fn saw<T: Hash>(&self, what: T) -> T {
        what.hash(&mut *self.seen.borrow_mut());
        what
    }

    pub fn gateway(&self) -> Gateway<'_, Self> {
        Gateway::new(self, config::settings(self).unwrap())
    }
}

impl KeyValue for View<'_> {
    async fn get(&self, key: &str) -> Result<Option<Vec<u8>>, StoreError> {
        self.step(Step::Store).await;
        let value = self.shared.store.borrow().get(key).cloned();
        // Who else wrote door or flag makes no difference to anyone; when, and whether it was oneself, does.
        match value.as_deref().and_then(|value| serde_json::from_slice::<Value>(value).ok()) {
            Some(mark) if mark["by"].is_string() && mark["callback"].is_null() => {
                let own = mark["by"].as_str().filter(|by| by.starts_with(&self.name));
                self.saw((mark["at"].as_u64(), own));
            }
            _ => _ = self.saw(&value),
        }
        Ok(value)
    }

    async fn set(&self, key: &str, value: &[u8]) -> Result<(), StoreError> {
        self.step(self.at(key)).await;
        self.shared.store.borrow_mut().insert(key.to_owned(), value.to_vec());
        Ok(())
    }

    async fn delete(&self, key: &str) -> Result<(), StoreError> {
        self.step(Step::Store).await;
        self.shared.store.borrow_mut().remove(key);
        Ok(())
    }

    async fn exists(&self, key: &str) -> Result<bool, StoreError> {
        self.step(self.at(key)).await;
        let there = self.shared.store.borrow().contains_key(key);
        Ok(if self.at(key) == Step::Private { there } else { self.saw(there) })
    }

    async fn keys(&self) -> Result<Vec<String>, StoreError> {
        self.step(Step::Store).await;
        Ok(self.saw(self.shared.store.borrow().keys().cloned().collect::<Vec<_>>()))
    }
}

impl Http for View<'_> {
    async fn send(&self, request: Request<Vec<u8>>, _: Timeouts) -> Result<Response<Vec<u8>>, SendError> {
        if self.cut_off {
            return Err(SendError::NotSent("refused"));
        }
        self.step(Step::Act).await;
        let answer = self.shared.act(request);
        self.step(Step::Answer).await;
        Ok(Response::new(self.saw(answer).into_bytes()))
    }
}

impl Shared {
    /// What the engine does with a request, and says.
    fn act(&self, request: Request<Vec<u8>>) -> String {
        let mut acted = self.acted.borrow_mut();
        if let Some(query) = request.uri().query().filter(|query| query.starts_with("labels=")) {
            let mark = query.split("delivery%3D").nth(1).unwrap().split('&').next().unwrap();
            let found = acted.iter().find(|body| body.contains(mark));
            let run = format!(r#"{{"id":"run","labels":{{"sluice.dev/delivery":"{mark}"}}}}"#);
            return format!(r#"{{"content":[{}]}}"#, found.map_or("", |_| run.as_str()));
        }
        acted.push(String::from_utf8(request.into_body()).unwrap());
        r#"{"id":"run"}"#.to_owned()
    }
}

impl Clock for View<'_> {
    fn arrival_time(&self) -> ArrivalTime {
        Timestamp(self.start + self.slept.get() + self.shared.later.get()).into()
    }

    async fn sleep(&self, duration: Duration) {
        self.step(Step::Sleep).await;
        self.slept.set(self.slept.get() + SLEEP.max(u64::try_from(duration.as_millis()).unwrap()));
    }
}

impl Rng for View<'_> {
    fn random(&self) -> u64 {
        self.entropy.replace(self.entropy.get() + 2)
    }
}

impl Variables for View<'_> {
    fn variable(&self, name: &str) -> Result<Option<Cow<'_, str>>, VariableError> {
        Ok(self.shared.variables.get(name).map(|value| Cow::Borrowed(value.as_str())))
    }
}
