//! The outside, faked: a store in memory, a scripted engine, a clock that is set.

mod engine;

use std::borrow::Cow;
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use http::{Request, Response};
use serde_json::Value;
use sluice::api::{self, Handled};
use sluice::ports::{Body, BodyError, Clock, KeyValue, Rng, SendError, StoreError, Timeouts, VariableError, Variables};
use sluice::time::{ArrivalTime, Timestamp};

/// 2026-11-24T08:30:00Z.
pub const NOW: u64 = 1_795_509_000_000;
pub const RUN: &str = r#"{"id":"5f1c9c8e2f8b9a0001a1b2c3","status":"notstarted","phase":"pending"}"#;
pub const EVENT: &str = r#"{"specversion":"1.0","id":"1","source":"/s","type":"t"}"#;
pub const JSON: (&str, &str) = ("content-type", "application/json");
pub const ASYNC: (&str, &str) = ("prefer", "respond-async");
pub const OPERATOR: (&str, &str) = ("authorization", "Bearer op3rator");

type Scripted = Result<Response<Vec<u8>>, SendError>;

pub struct World {
    pub now: Cell<u64>,
    /// When someone who sleeps wants to be woken.
    timers: RefCell<BTreeSet<u64>>,
    /// The next bits that no one can guess.
    pub entropy: Cell<u64>,
    pub variables: RefCell<BTreeMap<&'static str, String>>,
    pub store: RefCell<BTreeMap<String, Vec<u8>>>,
    /// What the store was asked, in order: `get key`.
    pub operations: RefCell<Vec<String>>,
    /// The operation that fails, by its number from 0.
    pub failing_operation: Cell<Option<usize>>,
    /// All after it fail as well.
    pub outage: Cell<bool>,
    pub sent: RefCell<Vec<Sent>>,
    /// Each takes so many milliseconds.
    pub answers: RefCell<VecDeque<(u64, Scripted)>>,
    /// Once nothing is scripted any more, the engine is well: it makes runs, and finds them by their label.
    pub well: Cell<bool>,
    /// How long it then takes to act.
    pub takes: Cell<u64>,
    /// It acts, and its answer is lost.
    pub cuts: Cell<bool>,
    /// Once nothing is scripted any more, nobody reaches it.
    pub down: Cell<bool>,
    pub runs: RefCell<Vec<Value>>,
    /// What was said after answers.
    pub lines: RefCell<Vec<Value>>,
}

/// What the engine got, and what the store held at that moment.
pub struct Sent {
    pub request: Request<Vec<u8>>,
    pub timeouts: Timeouts,
    pub store: BTreeMap<String, Vec<u8>>,
    /// When it came, and when it was answered.
    pub at: u64,
    pub until: Cell<Option<u64>>,
}

impl World {
    pub fn new() -> Self {
        // The defaults of spin.toml itself: the manifest is a part of what is tested.
        let manifest = include_str!("../../spin.toml");
        let table = manifest.split("[variables]").nth(1).unwrap().split("\n[").next().unwrap();
        let variables = table.lines().filter_map(|line| {
            let (name, value) = line.split_once(" = { default = \"")?;
            Some((name, value.split_once('"').unwrap().0.to_owned()))
        });
        Self {
            now: Cell::new(NOW),
            timers: RefCell::default(),
            entropy: Cell::new(7),
            variables: RefCell::new(variables.collect()),
            store: RefCell::default(),
            operations: RefCell::default(),
            failing_operation: Cell::new(None),
            sent: RefCell::default(),
            answers: RefCell::default(),
            outage: Cell::new(false),
            well: Cell::new(false),
            takes: Cell::new(0),
            cuts: Cell::new(false),
            down: Cell::new(false),
            runs: RefCell::default(),
            lines: RefCell::default(),
        }
    }

    /// One whose operator has a token.
    pub fn operated() -> Self {
        Self::new().with("operator_token", "op3rator")
    }

    pub fn with(self, variable: &'static str, value: &str) -> Self {
        self.variables.borrow_mut().insert(variable, value.to_owned());
        self
    }

    pub fn pass(&self, ms: u64) {
        self.now.set(self.now.get() + ms);
    }

    /// Runs a future in simulated time: when all wait, the clock goes on to the next who is to be woken.
    pub fn run<T>(&self, future: impl Future<Output = T>) -> T {
        let mut future = pin!(future);
        loop {
            if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
                self.timers.borrow_mut().clear();
                return output;
            }
            let next = self.timers.borrow_mut().pop_first().expect("all wait for nothing");
            self.now.set(self.now.get().max(next));
        }
    }

    /// Answers a request, and does what is left to do after the answer.
    pub fn send(&self, request: Request<impl Body>) -> Reply {
        self.run(async {
            let (reply, background) = self.answer(request).await;
            self.finish(background).await;
            reply
        })
    }

    pub async fn answer<'a>(&'a self, request: Request<impl Body>) -> (Reply, Option<api::Background<'a>>) {
        let Handled { response, log, background } = api::handle(self, request).await;
        (Reply { response, log: serde_json::from_str(&log.to_json(1.5)).unwrap() }, background)
    }

    pub async fn finish(&self, background: Option<api::Background<'_>>) {
        if let Some(background) = background {
            let lines = background.await;
            self.lines.borrow_mut().extend(lines.iter().map(|line| serde_json::from_str::<Value>(line).unwrap()));
        }
    }

    pub fn post(&self, uri: &str, headers: &[(&str, &str)], body: impl AsRef<[u8]>) -> Reply {
        self.send(request("POST", uri, headers, body))
    }

    pub fn json(&self, uri: &str, body: impl AsRef<[u8]>) -> Reply {
        self.post(uri, &[JSON], body)
    }

    pub fn get(&self, uri: &str) -> Reply {
        self.send(request("GET", uri, &[], ""))
    }

    /// As the operator.
    pub fn operate(&self, method: &str, uri: &str) -> Reply {
        self.send(request(method, uri, &[OPERATOR], ""))
    }

    /// One pass of the drain: what it says.
    pub fn drain(&self) -> Value {
        let reply = self.operate("POST", "/api/v2/deliveries/drain");
        assert_eq!(reply.status(), 200, "{}", reply.text());
        reply.json()
    }

    /// The keys that begin so, without that.
    pub fn keys(&self, prefix: &str) -> Vec<String> {
        self.store.borrow().keys().filter_map(|key| key.strip_prefix(prefix).map(str::to_owned)).collect()
    }

    /// The only value whose key begins so.
    pub fn only_stored(&self, prefix: &str) -> Value {
        let store = self.store.borrow();
        let found: Vec<_> = store.iter().filter(|(key, _)| key.starts_with(prefix)).collect();
        assert_eq!(found.len(), 1, "{:?}", store.keys());
        serde_json::from_slice(found[0].1).unwrap()
    }

    /// How often the store was asked so since the last time.
    pub fn cost(&self) -> Cost {
        let mut cost = Cost::default();
        for operation in self.operations.borrow_mut().drain(..) {
            match operation.split(' ').next().unwrap() {
                "get" | "exists" => cost.reads += 1,
                "set" | "delete" => cost.writes += 1,
                _ => cost.scans += 1,
            }
        }
        cost
    }

    pub fn assert_untouched(&self) {
        assert!(self.sent.borrow().is_empty(), "the engine got a request");
        let writes: Vec<_> = self.operations.borrow().iter().filter(|op| !op.starts_with("get")).cloned().collect();
        assert!(writes.is_empty(), "the store was written: {writes:?}");
    }

    fn operation(&self, what: &str, key: &str) -> Result<(), StoreError> {
        assert!((key.starts_with("sluice/") && key.len() <= 255) || what == "keys", "{key}");
        let mut operations = self.operations.borrow_mut();
        operations.push(format!("{what} {key}"));
        let now = operations.len() - 1;
        match self.failing_operation.get() {
            Some(failing) if now == failing || (now > failing && self.outage.get()) => {
                Err(StoreError("disk full at /secret/path".to_owned()))
            }
            _ => Ok(()),
        }
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cost {
    pub reads: usize,
    pub writes: usize,
    pub scans: usize,
}

pub fn request(method: &str, uri: &str, headers: &[(&str, &str)], body: impl AsRef<[u8]>) -> Request<Chunks> {
    let mut request = Request::builder().method(method).uri(uri);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(Chunks::of(body.as_ref())).unwrap()
}

pub struct Reply {
    pub response: Response<Vec<u8>>,
    pub log: Value,
}

impl Reply {
    pub fn status(&self) -> u16 {
        self.response.status().as_u16()
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.response.headers().get(name).map(|value| value.to_str().unwrap())
    }

    pub fn text(&self) -> &str {
        std::str::from_utf8(self.response.body()).unwrap()
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(self.response.body()).unwrap()
    }

    /// Status, `sluice-outcome`.
    pub fn outcome(&self) -> (u16, Option<&str>) {
        (self.status(), self.header("sluice-outcome"))
    }

    /// Checks that it is a whole problem of RFC 9457, and gives it.
    #[track_caller]
    pub fn problem(&self, status: u16, slug: &str) -> Value {
        assert_eq!(self.status(), status, "{}", self.text());
        assert_eq!(self.header("content-type"), Some("application/problem+json"));
        let problem: Value = serde_json::from_slice(self.response.body()).unwrap();
        assert_eq!(problem["type"], format!("https://sluice.dev/problems/{slug}"), "{problem}");
        assert_eq!(problem["status"], status);
        for member in ["title", "detail", "retry"] {
            assert!(problem[member].as_str().is_some_and(|text| !text.is_empty()), "{member} in {problem}");
        }
        assert_eq!(self.log["problem"], slug);
        assert_eq!(self.log["status"], status);
        problem
    }
}

/// A body in pieces; `None` breaks it off.
pub struct Chunks(pub VecDeque<Option<Vec<u8>>>);

impl Chunks {
    pub fn of(body: &[u8]) -> Self {
        // Small enough that every body of more than a few bytes comes in several.
        Self(body.chunks(7_000).map(|chunk| Some(chunk.to_vec())).collect())
    }
}

impl Body for Chunks {
    async fn chunk(&mut self) -> Option<Result<Vec<u8>, BodyError>> {
        self.0.pop_front().map(|chunk| chunk.ok_or(BodyError))
    }
}

impl KeyValue for World {
    async fn get(&self, key: &str) -> Result<Option<Vec<u8>>, StoreError> {
        self.operation("get", key)?;
        Ok(self.store.borrow().get(key).cloned())
    }

    async fn set(&self, key: &str, value: &[u8]) -> Result<(), StoreError> {
        self.operation("set", key)?;
        self.store.borrow_mut().insert(key.to_owned(), value.to_vec());
        Ok(())
    }

    async fn delete(&self, key: &str) -> Result<(), StoreError> {
        self.operation("delete", key)?;
        self.store.borrow_mut().remove(key);
        Ok(())
    }

    async fn exists(&self, key: &str) -> Result<bool, StoreError> {
        self.operation("exists", key)?;
        Ok(self.store.borrow().contains_key(key))
    }

    async fn keys(&self) -> Result<Vec<String>, StoreError> {
        self.operation("keys", "")?;
        // In no order.
        Ok(self.store.borrow().keys().rev().cloned().collect())
    }
}

impl Clock for World {
    fn arrival_time(&self) -> ArrivalTime {
        Timestamp(self.now.get()).into()
    }

    async fn sleep(&self, duration: Duration) {
        let until = self.now.get() + u64::try_from(duration.as_millis()).unwrap();
        std::future::poll_fn(|_| {
            if self.now.get() >= until {
                return Poll::Ready(());
            }
            self.timers.borrow_mut().insert(until);
            Poll::Pending
        })
        .await;
    }
}

impl Rng for World {
    fn random(&self) -> u64 {
        // Odd, so that no answer is sampled by chance.
        self.entropy.replace(self.entropy.get() + 2)
    }
}

impl Variables for World {
    fn variable(&self, name: &str) -> Result<Option<Cow<'_, str>>, VariableError> {
        match self.variables.borrow().get(name).map(String::as_str) {
            Some("(provider fails)") => Err(VariableError("vault at https://vault token s3cret".to_owned())),
            value => Ok(value.map(|value| Cow::Owned(value.to_owned()))),
        }
    }
}
