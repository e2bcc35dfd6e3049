//! The use cases, generic over the host: accept a delivery ([`Gateway::accept`]) or several ([`Gateway::accept_all`]), drain
//! the outbox ([`Gateway::drain`]), and what an operator asks for ([`operator`]).
//!
//! ```text
//! sender ──▶ accept ──claim──▶ attempt ──▶ engine
//!               │                 ▲
//!               └──▶ outbox ──▶ drain
//! ```

mod accept;
mod attempt;
mod batch;
mod drain;
pub mod operator;
mod overview;
mod search;
mod send;

use std::future::Future;
use std::pin::Pin;

use http::{Request, StatusCode};

use crate::config::Settings;
use crate::delivery::{Delivery, DeliveryId, Outcome};
use crate::engine::RequestError;
use crate::ports::{Clock, StoreError};
use crate::store::{Claims, Outbox};
use crate::time::Timestamp;

pub use drain::{DrainSummary, Stopped};
pub use overview::{Overview, overview};
pub use search::{Found, MAX_SCANNED};

/// Delivers to the engine, through the outbox where needed.
#[derive(Debug)]
pub struct Gateway<'a, H> {
    host: &'a H,
    settings: Settings,
}

impl<H> Clone for Gateway<'_, H> {
    fn clone(&self) -> Self {
        Self { host: self.host, settings: self.settings.clone() }
    }
}

impl<'a, H> Gateway<'a, H> {
    /// A gateway on a host.
    pub fn new(host: &'a H, settings: Settings) -> Self {
        Self { host, settings }
    }

    /// Its settings.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// The request that a delivery is sent as.
    pub fn request(&self, delivery: &Delivery<'_>) -> Result<Request<Vec<u8>>, RequestError> {
        self.settings.engine.request(delivery)
    }

    /// The id of the run in a response of the engine.
    pub fn run_id(&self, body: &[u8]) -> Option<String> {
        self.settings.engine.profile.run_id(body)
    }

    fn claims(&self) -> Claims<'a, H> {
        Claims::new(self.host, self.settings.retention)
    }

    fn outbox(&self) -> Outbox<'a, H> {
        Outbox::new(self.host)
    }
}

impl<H: Clock> Gateway<'_, H> {
    /// The host's time.
    pub fn now(&self) -> Timestamp {
        self.host.now()
    }
}

/// What a sender gets for its delivery.
pub struct Receipt<'a> {
    /// The delivery; for a duplicate, the first delivery of its key.
    pub id: DeliveryId,
    /// The engine's status, if it responded while the sender waited.
    pub engine_status: Option<StatusCode>,
    /// What became of the delivery so far.
    pub outcome: Outcome,
    /// What an operator should know, and what changes nothing for the sender.
    pub warnings: Vec<String>,
    /// Work that is left once the sender has its answer.
    pub background: Option<Background<'a>>,
}

impl Receipt<'_> {
    fn new(id: DeliveryId, outcome: Outcome) -> Self {
        Self { id, engine_status: None, outcome, warnings: Vec::new(), background: None }
    }

    /// The receipt of a delivery that the store failed for.
    fn store_failed(id: DeliveryId, error: &StoreError) -> Self {
        let mut receipt = Self::new(id, Outcome::NotStored { verdict: None });
        receipt.warnings.push(error.to_string());
        receipt
    }

    fn warn(&mut self, result: Result<(), StoreError>) {
        self.warnings.extend(result.err().map(|error| error.to_string()));
    }
}

/// Work after the answer. It dies with the instance, so everything that would be lost is stored before.
pub type Background<'a> = Pin<Box<dyn Future<Output = Report> + 'a>>;

/// What became of a delivery after its sender was answered, for the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// When the attempt ended.
    pub at: Timestamp,
    /// The delivery.
    pub id: DeliveryId,
    /// What became of it.
    pub outcome: Outcome,
    /// What else an operator should know.
    pub warnings: Vec<String>,
}
