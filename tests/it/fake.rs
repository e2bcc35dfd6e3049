//! A simulated host for native tests: an in-memory store or database, a scripted engine and a manual clock.

mod clock;
mod engine;
mod kept;
mod log_lines;
mod model;
mod plan;
mod requests;
mod sites;
mod sql;
mod store;

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;
use std::future::Future;
use std::pin::pin;
use std::rc::Rc;
use std::sync::{LazyLock, Mutex};
use std::task::{Context, Poll, Waker};

use http::Request;
use serde_json::{Value, json};
use sluice::api::{self, Handled};
use sluice::ports::{Body, Rng, VariableError, Variables};

pub use clock::{FakeClock, HOUR, MINUTE, NOW};
pub use engine::{Behaviour, EngineResult, FakeEngine, Received, answer, label, looked_at, summary};
pub use kept::{DEAD, MOVED, NOTIFICATION, PENDING, STORE_FORM, StoreKind};
pub use log_lines::logged;
pub use model::{Profile, RealEngine, Workflow};
pub use plan::{Action, Operation, Plan};
pub use requests::{Chunks, Reply, request};
pub use sites::Sites;
pub use sql::{At, Connection, Database, FailOver, Fault};
pub use store::{Cost, FakeStore, Lag, StoreFault};

use store::draw;

use crate::tables::Write;

/// A run as the engine returns it.
pub const RUN: &str = r#"{"id":"5f1c9c8e2f8b9a0001a1b2c3","status":"ready","phase":"pending"}"#;
/// The smallest valid CloudEvent.
pub const EVENT: &str = r#"{"specversion":"1.0","id":"1","source":"/s","type":"t"}"#;
pub const JSON: (&str, &str) = ("content-type", "application/json");
pub const FORM: (&str, &str) = ("content-type", "application/x-www-form-urlencoded");
/// The `Accept` header of a browser.
pub const BROWSER: (&str, &str) = ("accept", "text/html,application/xhtml+xml,*/*;q=0.8");
/// Asks for a 202 before the engine is called.
pub const ASYNC: (&str, &str) = ("prefer", "respond-async");
/// The credentials that [`World::with_operator`] accepts.
pub const OPERATOR: (&str, &str) = ("authorization", "Bearer op3rator");

pub const WEBHOOK_URI: &str = "/api/v2/webhook?ref=w";
pub const EVENT_URI: &str = "/api/v2/event?ref=w";
pub const CALLBACK_URI: &str = "/api/v2/callback?ref=r&topic=t";
pub const DRAIN_URI: &str = "/api/v2/deliveries/drain";
pub const DOUBT_URI: &str = "/api/v2/deliveries/doubt";
/// A delivery id that no test stores.
pub const UNKNOWN_ID: &str = "01M85MNVRRNF3YKJSMZYXYD1X7";
/// A valid request to each ingress route: URI and body.
pub const INGRESS: [(&str, &str); 3] = [(WEBHOOK_URI, "{}"), (EVENT_URI, EVENT), (CALLBACK_URI, "{}")];

/// The middle of the name of a note of refused requests.
const REFUSED: &str = ":note:refused:";

/// The value of a variable that its provider fails to resolve.
pub const PROVIDER_FAILS: &str = "(provider fails)";

/// The defaults of `spin.toml`: the shipped manifest is part of what is tested.
static DEFAULTS: LazyLock<BTreeMap<String, &str>> = LazyLock::new(|| {
    let manifest: toml::Table = include_str!("../../spin.toml").parse().unwrap();
    let variables = manifest["variables"].as_table().unwrap();
    variables.iter().map(|(name, spec)| (name.clone(), interned(spec["default"].as_str().unwrap()))).collect()
});

/// A text that lives as long as the tests, as [`Variables`] lends it. Each text is leaked once.
pub fn interned(text: &str) -> &'static str {
    static TEXTS: Mutex<BTreeSet<&str>> = Mutex::new(BTreeSet::new());
    let mut texts = TEXTS.lock().unwrap();
    texts.get(text).copied().unwrap_or_else(|| {
        let text: &str = text.to_owned().leak();
        texts.insert(text);
        text
    })
}

/// Everything outside the component: clock, store, engine, variables and randomness.
pub struct World {
    pub clock: Rc<FakeClock>,
    pub store: FakeStore,
    /// A PostgreSQL server, if there is one.
    pub database: Option<Rc<Database>>,
    pub engine: FakeEngine,
    /// Sites besides the engine.
    pub sites: Sites,
    /// The model of the engine, which takes the place of [`World::engine`] if there is one.
    pub real: Option<Rc<RealEngine>>,
    /// What happens after one of the gateway's operations.
    pub plan: Rc<Plan>,
    pub variables: RefCell<BTreeMap<String, &'static str>>,
    /// The next value of [`Rng::random`].
    pub random: Cell<u64>,
    /// Lines logged after responses, oldest first.
    pub log: RefCell<Vec<Value>>,
}

/// Removes the members of a drain's response that say when to call it again: `again`, `due` and `backlog`.
pub fn counts(mut drained: Value) -> Value {
    let members = drained.as_object_mut().unwrap();
    for name in ["again", "due", "backlog"] {
        assert!(members.remove(name).is_some(), "{name}");
    }
    drained
}

impl World {
    /// The shipped configuration, an empty store of the kind that the test runs on, and an engine without any scripted
    /// response.
    #[track_caller]
    pub fn new() -> Self {
        Self::on(StoreKind::chosen())
    }

    /// [`World::new`] with a key-value store, for what only it has.
    pub fn key_value() -> Self {
        Self::on(StoreKind::KeyValue)
    }

    /// [`World::new`] with a store of this kind.
    pub fn on(kind: StoreKind) -> Self {
        let world = Self {
            clock: Rc::new(FakeClock::new()),
            store: FakeStore::default(),
            database: None,
            engine: FakeEngine::default(),
            sites: Sites::default(),
            real: None,
            plan: Rc::default(),
            variables: RefCell::new(DEFAULTS.clone()),
            random: Cell::new(7),
            log: RefCell::default(),
        };
        // As a drain leaves it: nothing of an earlier release is there.
        world.store.put(STORE_FORM, MOVED);
        if kind == StoreKind::Postgres { world.with_database() } else { world }
    }

    /// A world with an operator token, as [`OPERATOR`] presents it.
    #[track_caller]
    pub fn with_operator() -> Self {
        Self::new().with_operator_token()
    }

    /// Adds the operator token.
    pub fn with_operator_token(self) -> Self {
        self.with("operator_token", "op3rator")
    }

    /// Sets a variable.
    pub fn with(self, variable: &str, value: &str) -> Self {
        self.set(variable, value);
        self
    }

    /// Sets a member of `settings`. `null` removes it.
    pub fn setting(self, name: &str, value: impl Into<Value>) -> Self {
        self.set_setting(name, value);
        self
    }

    /// Appends a source to `sources`.
    pub fn source(self, source: impl Into<Value>) -> Self {
        let mut sources: Vec<Value> = self.json_of("sources").unwrap_or_default();
        sources.push(source.into());
        self.set("sources", &json!(sources).to_string());
        self
    }

    /// Appends a source that has the name of its sender, and these secrets.
    pub fn source_of(self, sender: &str, secrets: impl Into<Value>) -> Self {
        self.source(json!({"name": sender, "sender": sender, "secrets": secrets.into()}))
    }

    /// Sets a variable of a host that is running.
    pub fn set(&self, variable: &str, value: &str) {
        self.variables.borrow_mut().insert(variable.to_owned(), interned(value));
    }

    /// Sets a member of `settings` of a host that is running. `null` removes it.
    pub fn set_setting(&self, name: &str, value: impl Into<Value>) {
        let mut settings: serde_json::Map<String, Value> = self.json_of("settings").unwrap_or_default();
        match value.into() {
            Value::Null => settings.remove(name),
            value => settings.insert(name.to_owned(), value),
        };
        self.set("settings", &Value::Object(settings).to_string());
    }

    /// The JSON in a variable; `None` if it is empty.
    fn json_of<T: serde::de::DeserializeOwned>(&self, variable: &str) -> Option<T> {
        let text = self.variables.borrow()[variable];
        (!text.is_empty()).then(|| serde_json::from_str(text).unwrap())
    }

    pub fn now(&self) -> u64 {
        self.clock.now()
    }

    /// Moves the clock forward.
    pub fn advance(&self, ms: u64) {
        self.clock.set(self.now() + ms);
    }

    /// Runs a future in simulated time: whenever it can't progress, the clock jumps to the next timer.
    pub fn run<T>(&self, future: impl Future<Output = T>) -> T {
        self.run_or_crash(future).expect("no crash is planned")
    }

    /// Runs a future in simulated time; `None` if the gateway crashes meanwhile.
    pub fn run_or_crash<T>(&self, future: impl Future<Output = T>) -> Option<T> {
        let mut future = pin!(future);
        loop {
            if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
                return Some(output);
            }
            if self.plan.has_crashed() {
                return None;
            }
            let next = self.next_event().expect("a pending future has a timer");
            self.clock.reach(next);
            self.work_of_engine();
        }
    }

    /// Handles a request, then completes the work that is left after the response.
    pub fn send(&self, request: Request<impl Body>) -> Reply {
        self.run(self.serve(request))
    }

    /// Handles a request, then completes the work that is left after the response, as the shell does: for requests that
    /// run side by side. Another one may wait for that work.
    pub async fn serve(&self, request: Request<impl Body>) -> Reply {
        let (reply, background) = self.handle(request).await;
        self.finish(background).await;
        reply
    }

    /// Handles a request up to the response; the work that is left has to be passed to [`World::finish`].
    pub async fn handle<'a>(&'a self, request: Request<impl Body>) -> (Reply, Option<api::Background<'a>>) {
        let Handled { response, log, background } = api::handle(self, request).await;
        (Reply { response, log: logged(&log.to_json(1.5)) }, background)
    }

    /// Completes the work that is left after a response, and collects its log lines.
    pub async fn finish(&self, background: Option<api::Background<'_>>) {
        if let Some(background) = background {
            let lines = background.await;
            self.log.borrow_mut().extend(lines.iter().map(|line| logged(line)));
        }
    }

    pub fn post(&self, uri: &str, headers: &[(&str, &str)], body: impl AsRef<[u8]>) -> Reply {
        self.send(request("POST", uri, headers, body))
    }

    pub fn post_json(&self, uri: &str, body: impl AsRef<[u8]>) -> Reply {
        self.post(uri, &[JSON], body)
    }

    pub fn get(&self, uri: &str) -> Reply {
        self.send(request("GET", uri, &[], ""))
    }

    /// Sends a request with the operator's token.
    pub fn as_operator(&self, method: &str, uri: &str) -> Reply {
        self.send(request(method, uri, &[OPERATOR], ""))
    }

    /// Runs one pass of the drain and returns its summary.
    #[track_caller]
    ///
    /// Without the members that say when to call it again: `again`, `due` and `backlog`.
    pub fn drain(&self) -> Value {
        counts(self.drain_whole())
    }

    /// Requests a drain, and returns its whole response.
    pub fn drain_whole(&self) -> Value {
        let reply = self.as_operator("POST", DRAIN_URI);
        assert_eq!(reply.status(), 200, "{}", reply.text());
        reply.json()
    }

    /// Asserts that the engine got no request, and the store no write but notes of refused requests.
    #[track_caller]
    pub fn assert_untouched(&self) {
        assert!(self.engine.received.borrow().is_empty(), "the engine got a request");
        let operations = self.store.operations.borrow();
        let is_write = |operation: &&String| !operation.starts_with("get") && !operation.contains(REFUSED);
        let writes: Vec<_> = operations.iter().filter(is_write).collect();
        assert!(writes.is_empty(), "the store was written: {writes:?}");
        let writes = self.database.as_ref().map_or(Vec::new(), |database| {
            let tables = database.tables();
            let writes = tables.journal().flat_map(|commit| &commit.writes).cloned();
            writes
                .filter(|write| !matches!(write, Write::Note(_, Some(note)) if note.name.contains("refused")))
                .collect()
        });
        assert!(writes.is_empty(), "the database was written: {writes:?}");
    }

    /// Handles a request up to the response. Asserts that neither the store nor the engine was used for it. What comes
    /// after the response, the note of a refusal, is then completed.
    #[track_caller]
    pub fn send_unused(&self, request: Request<impl Body>) -> Reply {
        let (reply, background) = self.run(self.handle(request));
        assert!(self.engine.received.borrow().is_empty(), "the engine got a request");
        assert!(self.is_store_unused(), "the store was used");
        self.run(self.finish(background));
        reply
    }
}

impl Rng for World {
    fn random(&self) -> u64 {
        // Always odd from the initial value on: a sampled drain needs a multiple of 16.
        self.random.replace(self.random.get() + 2)
    }
}

impl Variables for World {
    fn variable(&self, name: &str) -> Result<Option<&str>, VariableError> {
        match self.variables.borrow().get(name) {
            Some(&PROVIDER_FAILS) => Err(VariableError("vault at https://vault token s3cret".to_owned())),
            value => Ok(value.copied()),
        }
    }
}

/// Names the table row under test, if a panic unwinds through this guard.
///
/// It covers every assertion of the row, those in helpers included.
#[must_use]
pub struct Row(String);

/// Starts a table row; the guard has to live until the row's end.
pub fn row(name: impl Display) -> Row {
    Row(name.to_string())
}

impl Drop for Row {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("in row: {}", self.0);
        }
    }
}
