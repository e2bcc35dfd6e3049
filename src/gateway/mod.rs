//! The use cases, generic over the ports, so that they run in Spin and in a test alike: take a delivery ([`Gateway::accept`])
//! or several ([`Gateway::accept_all`]), bring what is pending ([`Gateway::drain`]), and what an operator asks ([`operator`]).

mod accept;
mod batch;
mod bring;
mod conclude;
mod drain;
mod failure;
mod keys;
pub mod operator;
mod overview;
mod search;
mod send;
mod sweep;

use std::future::Future;
use std::pin::Pin;

use http::StatusCode;

use crate::config::Settings;
use crate::delivery::DeliveryId;
use crate::time::Timestamp;

pub use drain::{Drained, Stopped};
pub use failure::Failure;
pub use keys::Fault;
pub use overview::{Overview, overview};
pub use search::{Found, MOST_LOOKED_AT};

/// The way to the engine, and past the store.
#[derive(Debug)]
pub struct Gateway<'a, O> {
    /// All that is asked of outside.
    pub host: &'a O,
    /// The settings.
    pub settings: Settings,
}

impl<O> Clone for Gateway<'_, O> {
    fn clone(&self) -> Self {
        Self { host: self.host, settings: self.settings.clone() }
    }
}

/// What came of a delivery that a sender brought.
#[must_use = "what is stored is to be told of by its hint"]
pub struct Outcome<'a> {
    /// Its id; of a duplicate that of the first.
    pub id: String,
    /// What the engine said, where it said something.
    pub engine_status: Option<StatusCode>,
    /// For the sender.
    pub result: Result<Accepted, Failure>,
    /// What an operator should know, though it changes nothing for the sender.
    pub warnings: Vec<String>,
    /// What is left to do once the sender has its answer.
    pub rest: Option<Rest<'a>>,
    /// To be told before the sender is answered: something is pending.
    hint: Option<keys::Hint>,
}

/// What a sender may rely on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Accepted {
    /// The engine has it, and gave this body.
    Delivered(Vec<u8>),
    /// It is stored.
    Pending,
    /// The same was taken before; then the engine gave this body, or it is stored.
    Duplicate(Option<Vec<u8>>),
}

/// Work after the answer. It dies with the process, so all that it would lose is stored before.
pub type Rest<'a> = Pin<Box<dyn Future<Output = Report> + 'a>>;

/// What came of work that no sender waits for. For the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// When it was over.
    pub at: Timestamp,
    /// The delivery.
    pub id: DeliveryId,
    /// Where it stands.
    pub state: &'static str,
    /// Why it isn't delivered.
    pub failure: Option<String>,
    /// What else an operator should know.
    pub warnings: Vec<String>,
}
