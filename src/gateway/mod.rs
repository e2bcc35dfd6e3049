//! The use cases, generic over the host: accepting a delivery ([`Gateway::accept`]) or several
//! ([`Gateway::accept_all`]), draining the outbox ([`Gateway::drain`]), the requests of an operator
//! ([`operator`]), the public keys of senders ([`keys`]), and the notes about sources ([`sources`]).
//!
//! ```text
//! sender ──▶ accept ──▶ claim ────────────▶ send ──▶ engine
//!               │                             ▲
//!               └────▶ outbox ──▶ drain ──▶ attempt
//! ```
//!
//! The gateway knows no HTTP of its callers: `api` turns a [`Receipt`] into a response.

mod accept;
mod alert;
mod attempt;
mod batch;
mod callback;
mod drain;
pub mod keys;
mod look;
mod move_store;
pub mod operator;
mod overview;
mod preflight;
mod replay;
mod resolve;
mod send;
pub mod sources;
mod task_claim;

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use http::{Request, StatusCode};

use crate::config::{Config, Settings};
use crate::delivery::width::Refusal;
use crate::delivery::{Delivery, DeliveryId, Limits, Outcome};
use crate::engine::RequestError;
use crate::ports::{Clock, StoreError, Variables};
use crate::store::{Store, StoreSize};
use crate::time::{Retention, Timestamp};
use send::Caller;

pub use crate::store::{Found, Kept, MAX_SAMPLES, MAX_SCANNED, Repair, Repaired, Sample, Selection, Skipped};
pub use drain::{DrainSummary, Eagerness, Stopped};
pub use overview::{Overview, last_drain, overview, samples};
pub use preflight::MAX_TEMPLATES;
pub use replay::{Replay, Replayed};

/// How much longer an attempt may take than its requests to the engine.
const ATTEMPT_MARGIN: Duration = Duration::from_secs(5);

/// Delivers to the engine, through the outbox where needed.
#[derive(Debug)]
pub struct Gateway<'a, H> {
    host: &'a H,
    settings: Settings<'a>,
    store: Store<'a, H>,
    caller: Caller<'a, H>,
}

impl<H> Clone for Gateway<'_, H> {
    fn clone(&self) -> Self {
        Self { caller: self.caller.clone(), ..Self::new(self.host, self.settings.clone()) }
    }
}

impl<'a, H> Gateway<'a, H> {
    /// A gateway on a host.
    pub fn new(host: &'a H, settings: Settings<'a>) -> Self {
        let retention = [settings.retention, settings.callback_retention()];
        let store = Store::new(host, settings.database_url.clone(), retention, settings.limits, settings.store)
            .with_previous(settings.move_from.clone())
            .keeping(settings.keep);
        let caller = Caller::new(host, settings.engine.clone(), settings.timeouts);
        Self { host, settings, store, caller }
    }

    /// The settings.
    pub fn settings(&self) -> &Settings<'a> {
        &self.settings
    }

    /// Builds the request that a delivery is sent as.
    pub fn request(&self, delivery: &Delivery<'_>) -> Result<Request<Vec<u8>>, RequestError> {
        self.settings.engine.request(delivery)
    }

    /// How long one attempt may take: a lookup, the attempt itself, and a margin.
    fn attempt_length(&self) -> Duration {
        self.settings.timeouts.total.saturating_mul(2).saturating_add(ATTEMPT_MARGIN)
    }

    /// Returns the id of the run in a response body of the engine.
    pub fn run_id(&self, body: &[u8]) -> Option<String> {
        self.settings.engine.run_id(body)
    }

    /// The store. It remembers its form for the request.
    fn store(&self) -> &Store<'a, H> {
        &self.store
    }
}

/// The store of a host whose other settings may be wrong, to read what doesn't depend on them.
pub(crate) fn store_of<H: Variables>(host: &H) -> Store<'_, H> {
    let url = Config::new(host).database_url().ok().flatten();
    Store::new(host, url, [Retention::default(); 2], Limits::default(), StoreSize::default())
}

impl<H: Clock> Gateway<'_, H> {
    /// Returns the host's time.
    pub fn now(&self) -> Timestamp {
        self.host.now()
    }
}

/// Moves a future to the heap. It is made in the frame of this function: made in that of its caller, it would take room on
/// the stack for as long as it runs, which is part of the memory that the host resets after each request.
#[inline(never)]
pub(crate) fn on_heap<'f, F: Future + 'f>(make: impl FnOnce() -> F) -> Pin<Box<dyn Future<Output = F::Output> + 'f>> {
    Box::pin(make())
}

/// The result of accepting a delivery.
pub struct Receipt<'a> {
    /// The id of the delivery; for a duplicate, of the first delivery of its key.
    pub id: DeliveryId,
    /// The engine's status, if it responded while the sender waited.
    pub engine_status: Option<StatusCode>,
    /// The outcome of the delivery so far.
    pub outcome: Outcome,
    /// Faults that change nothing for the sender, for the log.
    pub warnings: Vec<String>,
    /// The work that remains once the sender has its response.
    pub background: Option<Background<'a>>,
    /// The delivery whose outcome is still to be written ([`Gateway::settle_late`]).
    pub unsettled: Option<Unsettled>,
    /// Whether a drain has to follow the response, for a callback whose sender doesn't wait.
    pub drains: bool,
    /// The engine's refusal of a fresh delivery, to be written after the response
    /// ([`Gateway::tell_refusal`]).
    pub refusal: Option<Refusal>,
}

impl Receipt<'_> {
    fn new(id: DeliveryId, outcome: Outcome) -> Self {
        Self {
            id,
            engine_status: None,
            outcome,
            warnings: Vec::new(),
            background: None,
            unsettled: None,
            drains: false,
            refusal: None,
        }
    }

    /// The receipt of a delivery that can't be accepted because the store failed.
    fn store_failed(id: DeliveryId, error: &StoreError) -> Self {
        let mut receipt = Self::new(id, Outcome::NotStored { verdict: None });
        receipt.warnings.push(error.to_string());
        receipt
    }

    /// Adds a warning if an operation failed without which the outcome stands.
    fn warn<T>(&mut self, result: Result<T, StoreError>) {
        self.warnings.extend(result.err().map(|error| error.to_string()));
    }
}

/// A start that the engine has accepted, whose key has no outcome yet. Until it has one, repeats wait for it.
#[derive(Debug)]
pub struct Unsettled {
    delivery: Delivery<'static>,
    /// The engine's response.
    body: Vec<u8>,
}

/// Work that runs after the response. It ends with the instance, so everything that must not be lost is stored before.
pub type Background<'a> = Pin<Box<dyn Future<Output = Report> + 'a>>;

/// The outcome of a delivery after its sender got a response, for the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// When the attempt ended.
    pub at: Timestamp,
    /// The id of the delivery.
    pub id: DeliveryId,
    /// The outcome.
    pub outcome: Outcome,
    /// Faults that don't change the outcome.
    pub warnings: Vec<String>,
}
