//! The outside, faked: a store in memory, a scripted engine, a clock that is set.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, VecDeque};

use futures_executor::block_on;
use http::{Request, Response};
use serde_json::Value;
use sluice::api::{self, Answer};
use sluice::ports::{Body, BodyError, Clock, Engine, SendError, Store, StoreError, Timeouts, VariableError, Variables};
use sluice::time::Timestamp;

/// 2026-11-24T08:30:00Z.
pub const NOW: u64 = 1_795_509_000_000;
pub const RUN: &str = r#"{"id":"5f1c9c8e2f8b9a0001a1b2c3","status":"notstarted","phase":"pending"}"#;

type Scripted = Result<Response<Vec<u8>>, SendError>;

pub struct World {
    pub now: Cell<u64>,
    pub variables: RefCell<BTreeMap<&'static str, String>>,
    pub store: RefCell<BTreeMap<String, Vec<u8>>>,
    /// What the store was asked, in order: `get key`.
    pub operations: RefCell<Vec<String>>,
    /// The operation that fails, by its number from 0.
    pub failing_operation: Cell<Option<usize>>,
    pub sent: RefCell<Vec<Sent>>,
    pub answers: RefCell<VecDeque<Scripted>>,
}

/// What the engine got, and what the store held at that moment.
pub struct Sent {
    pub request: Request<Vec<u8>>,
    pub timeouts: Timeouts,
    pub store: BTreeMap<String, Vec<u8>>,
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
            variables: RefCell::new(variables.collect()),
            store: RefCell::default(),
            operations: RefCell::default(),
            failing_operation: Cell::new(None),
            sent: RefCell::default(),
            answers: RefCell::default(),
        }
    }

    pub fn with(self, variable: &'static str, value: &str) -> Self {
        self.variables.borrow_mut().insert(variable, value.to_owned());
        self
    }

    /// The engine's next answer.
    pub fn answers(self, status: u16, body: &str) -> Self {
        self.scripted(Ok(Response::builder().status(status).body(body.as_bytes().to_vec()).unwrap()))
    }

    pub fn scripted(self, answer: Scripted) -> Self {
        self.answers.borrow_mut().push_back(answer);
        self
    }

    pub fn send(&self, request: Request<impl Body>) -> Reply {
        let Answer { response, log } = block_on(api::handle(self, request));
        Reply { response, log: serde_json::from_str(&log.to_json(1.5)).unwrap() }
    }

    pub fn post(&self, uri: &str, headers: &[(&str, &str)], body: impl AsRef<[u8]>) -> Reply {
        self.send(request("POST", uri, headers, body))
    }

    pub fn json(&self, uri: &str, body: impl AsRef<[u8]>) -> Reply {
        self.post(uri, &[("content-type", "application/json")], body)
    }

    pub fn get(&self, uri: &str) -> Reply {
        self.send(request("GET", uri, &[], ""))
    }

    /// The only request that the engine got: method, URL, body.
    pub fn only_sent(&self) -> (String, String, String) {
        let sent = self.sent.borrow();
        assert_eq!(sent.len(), 1, "requests to the engine");
        let request = &sent[0].request;
        let body = String::from_utf8(request.body().clone()).unwrap();
        (request.method().to_string(), request.uri().to_string(), body)
    }

    pub fn assert_untouched(&self) {
        assert!(self.sent.borrow().is_empty(), "the engine got a request");
        let writes: Vec<_> = self.operations.borrow().iter().filter(|op| !op.starts_with("get")).cloned().collect();
        assert!(writes.is_empty(), "the store was written: {writes:?}");
    }

    fn operation(&self, what: &str, key: &str) -> Result<(), StoreError> {
        assert!(key.starts_with("sluice/") && key.len() <= 255, "{key}");
        let mut operations = self.operations.borrow_mut();
        operations.push(format!("{what} {key}"));
        match self.failing_operation.get() == Some(operations.len() - 1) {
            true => Err(StoreError("disk full at /secret/path".to_owned())),
            false => Ok(()),
        }
    }
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

impl Store for World {
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
}

impl Engine for World {
    async fn send(&self, request: Request<Vec<u8>>, timeouts: Timeouts) -> Scripted {
        self.sent.borrow_mut().push(Sent { request, timeouts, store: self.store.borrow().clone() });
        self.answers.borrow_mut().pop_front().expect("an answer is scripted for each request")
    }
}

impl Clock for World {
    fn now(&self) -> Timestamp {
        Timestamp(self.now.get())
    }

    fn entropy(&self) -> u128 {
        7
    }
}

impl Variables for World {
    fn variable(&self, name: &str) -> Result<Option<String>, VariableError> {
        match self.variables.borrow().get(name).map(String::as_str) {
            Some("(provider fails)") => Err(VariableError("vault at https://vault token s3cret".to_owned())),
            value => Ok(value.map(str::to_owned)),
        }
    }
}
