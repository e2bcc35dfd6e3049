//! The host as one contender sees it: each operation is a step that a scheduler grants.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::collections::hash_map::DefaultHasher;
use std::hash::Hash;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use http::{Request, Response};
use serde_json::{Value, json};
use sluice::config::Config;
use sluice::delivery::DeliveryId;
use sluice::gateway::Gateway;
use sluice::ports::{
    Clock, Http, KeyValue, Rng, SendError, Sql, SqlConnection, SqlError, SqlRow, SqlValue, StoreError, Timeouts,
    VariableError, Variables,
};
use sluice::secret::Secret;
use sluice::time::{ArrivalTime, Timestamp};

use crate::fake::{DEAD, NOTIFICATION, PENDING, STORE_FORM, looked_at, summary};
use crate::tables::{self, Outcome, State, Tables, statement};

/// The least duration of a sleep, in milliseconds.
///
/// It is longer than any wait of a contender for another, so such a wait looks at the claim twice. This bounds the number
/// of states.
const SLEEP: u64 = 10_000;

/// The doors of the claims, in the key-value store.
const DOOR: &str = "sluice:won:";

/// The samples of the drain, which no case looks at.
const HISTORY: &str = "sluice:history";

/// What only a drain reads. Nobody writes the form in the course of a case.
const OF_DRAIN: [&str; 3] = ["sluice:width", "sluice:refusal", "sluice:asked:"];

/// How long the engine may take to act on a request, and to answer it, in milliseconds.
const ACTS_WITHIN: u64 = 11_000;
const ANSWERS_WITHIN: u64 = 10_000;

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
    pub variables: BTreeMap<String, &'static str>,
    /// The database, which takes the place of `store` if there is one, and its clock.
    pub tables: Option<RefCell<Tables>>,
    pub time: Cell<u64>,
}

/// The steps of one contender.
#[derive(Default)]
pub struct Steps {
    /// The step that may be taken next, and its position among those for which the contender waits.
    granted: Cell<Option<(Step, usize)>>,
    /// The number of steps that were polled since [`Steps::grant`].
    polled: Cell<usize>,
    /// Without a scheduler every step is taken at once.
    scheduled: bool,
    /// The steps for which the contender waits.
    pub waiting: RefCell<Vec<Step>>,
    /// A hash of all observations.
    pub seen: RefCell<DefaultHasher>,
}

impl Steps {
    /// Permits a step, or none, before the contender is polled.
    pub fn grant(&self, granted: Option<(Step, usize)>) {
        self.waiting.borrow_mut().clear();
        self.polled.set(0);
        self.granted.set(granted);
    }

    async fn step(&self, step: Step) {
        std::future::poll_fn(|context| {
            let position = self.polled.replace(self.polled.get() + 1);
            if !self.scheduled || self.granted.get() == Some((step, position)) {
                self.granted.set(None);
                return Poll::Ready(());
            }
            self.waiting.borrow_mut().push(step);
            // A drain polls only those of its attempts that were woken.
            context.waker().wake_by_ref();
            Poll::Pending
        })
        .await;
        step.hash(&mut *self.seen.borrow_mut());
    }
}

/// The host of one contender.
pub struct View<'s> {
    pub shared: &'s Shared,
    pub steps: Rc<Steps>,
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
            steps: Rc::new(Steps { scheduled, ..Steps::default() }),
            slept: Cell::new(0),
            random: Cell::new(random),
            start,
            name: DeliveryId::new(Timestamp(start).into(), random).to_string(),
            observes_drain: false,
            unreachable: false,
        }
    }

    async fn step(&self, step: Step) {
        self.steps.step(step).await;
    }

    /// The time. With a database, there is one clock for all: it goes on whenever a contender has slept.
    fn time(&self) -> u64 {
        let own = self.start + self.slept.get() + self.shared.later.get();
        if self.shared.tables.is_none() {
            return own;
        }
        self.shared.time.set(self.shared.time.get().max(own));
        self.shared.time.get()
    }

    /// The kind of step of an operation on a key.
    fn step_of(&self, key: &str) -> Step {
        if key == STORE_FORM || key == HISTORY {
            return Step::Private;
        }
        let of_drain = [PENDING, NOTIFICATION].iter().chain(&OF_DRAIN).any(|prefix| key.starts_with(prefix));
        if of_drain && !self.observes_drain { Step::Private } else { Step::Store }
    }

    fn observe<T: Hash>(&self, what: T) -> T {
        what.hash(&mut *self.steps.seen.borrow_mut());
        what
    }

    pub fn gateway(&self) -> Gateway<'_, Self> {
        Gateway::new(self, Config::new(self).settings().unwrap())
    }
}

/// Without tables, no database can be reached.
impl<'s> Sql for View<'s> {
    type Connection = Connection<'s>;

    async fn connect(&self, _: &Secret) -> Result<Connection<'s>, SqlError> {
        match &self.shared.tables {
            Some(tables) => Ok(Connection { tables, time: &self.shared.time, steps: self.steps.clone() }),
            None => Err(SqlError::Unreachable),
        }
    }
}

/// A connection to the model of the database: each statement is a step.
pub struct Connection<'s> {
    tables: &'s RefCell<Tables>,
    time: &'s Cell<u64>,
    steps: Rc<Steps>,
}

impl Connection<'_> {
    async fn run(&self, text: &str, parameters: &[SqlValue]) -> Outcome {
        let name = statement(text).expect("a statement of the gateway").0.name;
        // No claim depends on them.
        let is_private =
            ["counts", "notes", "write_note", "clear_note", "sweep", "sweep_keys", "sweep_runs"].contains(&name);
        self.steps.step(if is_private { Step::Private } else { Step::Store }).await;
        let outcome = self.tables.borrow_mut().run(text, parameters, self.time.get().cast_signed()).unwrap();
        if !is_private {
            format!("{:?} {}", outcome.rows, outcome.affected).hash(&mut *self.steps.seen.borrow_mut());
        }
        outcome
    }
}

impl SqlConnection for Connection<'_> {
    async fn execute(&self, statement: &str, parameters: &[SqlValue]) -> Result<u64, SqlError> {
        Ok(self.run(statement, parameters).await.affected)
    }

    async fn query(&self, statement: &str, parameters: &[SqlValue]) -> Result<Vec<SqlRow>, SqlError> {
        Ok(self.run(statement, parameters).await.rows)
    }
}

impl KeyValue for View<'_> {
    async fn get(&self, key: &str) -> Result<Option<Vec<u8>>, StoreError> {
        self.step(self.step_of(key)).await;
        let value = self.shared.store.borrow().get(key).cloned();
        // Of a claim, a contender uses the time, the round, and whether it wrote it itself, but not which other contender
        // did.
        match value.as_deref().and_then(|value| serde_json::from_slice::<Value>(value).ok()) {
            Some(claim) if claim["by"].is_string() && claim["callback"].is_null() => {
                let own = claim["by"].as_str().filter(|by| by.starts_with(&self.name));
                self.observe((claim["at"].as_u64(), claim["mark"].as_str(), claim["withdrawn"].as_bool(), own));
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
        let sent = self.time();
        // In a database, a lease relies on this.
        let is_late = |limit| self.shared.tables.is_some() && self.time() > sent + limit;
        self.step(Step::Act).await;
        if is_late(ACTS_WITHIN) {
            return Err(SendError::NoResponse("lost"));
        }
        let is_event = request.method() == "PUT";
        let answer = self.shared.act(request);
        self.step(Step::Answer).await;
        if is_event {
            self.shared.open.set(self.shared.open.get().saturating_sub(1));
        }
        if is_late(ANSWERS_WITHIN) {
            return Err(SendError::NoResponse("no answer in time"));
        }
        Ok(Response::new(self.observe(answer).into_bytes()))
    }
}

impl Shared {
    /// The contents of the store.
    pub fn contents(&self) -> Contents {
        let Some(tables) = &self.tables else { return Contents::KeyValue(self.store.borrow().clone()) };
        Contents::Postgres(Box::new(tables.borrow().clone()), self.time.get())
    }

    pub fn restore(&self, contents: Contents) {
        match contents {
            Contents::KeyValue(store) => *self.store.borrow_mut() = store,
            Contents::Postgres(tables, time) => {
                *self.tables.as_ref().unwrap().borrow_mut() = *tables;
                self.time.set(time);
            }
        }
    }

    /// Whether a claim of a key-value store may be taken for that of a contender.
    pub fn holds(&self, name: &str) -> bool {
        let store = self.store.borrow();
        let mut doors = store.iter().filter(|(key, _)| key.starts_with(DOOR));
        doors.any(|(_, door)| String::from_utf8_lossy(door).contains(&format!(r#""id":"{name}""#)))
    }

    /// The stored form of a dead letter.
    pub fn dead_letter(&self, name: &str) -> Option<Value> {
        let Some(tables) = &self.tables else {
            return Some(serde_json::from_slice(self.store.borrow().get(&format!("{DEAD}{name}"))?).unwrap());
        };
        let tables = tables.borrow();
        let row = tables.deliveries().iter().find(|row| row.state == State::Dead && row.id == name)?;
        Some(serde_json::from_slice(row.delivery.as_ref()?).unwrap())
    }
}

/// The contents of a store, and the time of its clock.
#[derive(Clone, Debug)]
pub enum Contents {
    KeyValue(BTreeMap<String, Vec<u8>>),
    Postgres(Box<Tables>, u64),
}

impl Hash for Contents {
    fn hash<H: std::hash::Hasher>(&self, hasher: &mut H) {
        match self {
            Self::KeyValue(store) => store.hash(hasher),
            Self::Postgres(tables, time) => {
                time.hash(hasher);
                tables.deliveries().iter().for_each(|row: &tables::Delivery| row.hash(hasher));
            }
        }
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
        Timestamp(self.time()).into()
    }

    fn monotonic(&self) -> Duration {
        Duration::from_millis(self.now().0)
    }

    async fn sleep(&self, duration: Duration) {
        self.step(Step::Sleep).await;
        self.slept.set(self.slept.get() + SLEEP.max(u64::try_from(duration.as_millis()).unwrap()));
        self.time();
    }
}

impl Rng for View<'_> {
    fn random(&self) -> u64 {
        self.random.replace(self.random.get() + 2)
    }
}

impl Variables for View<'_> {
    fn variable(&self, name: &str) -> Result<Option<&str>, VariableError> {
        Ok(self.shared.variables.get(name).copied())
    }
}
