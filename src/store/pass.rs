//! Passes of the drain, and the state that they leave behind.

use std::collections::BTreeSet;

use serde_json::value::RawValue;

use super::fault::Faults;
use crate::delivery::width::Due;
use crate::delivery::{Delivery, DeliveryId};
use crate::time::Timestamp;

/// The beginning of a pass.
#[derive(Debug)]
pub enum Begun<P> {
    /// Nothing is due, as far as the store can tell without a pass.
    Idle {
        /// Number of deliveries that the last pass has left.
        pending: usize,
        /// The earliest time at which one of them is due.
        due: Option<Timestamp>,
    },
    /// Another drain is at work, and the store permits only one.
    Leased,
    /// The pass.
    Pass(P),
}

impl<P> Begun<P> {
    /// Converts the pass.
    pub(super) fn map<Q>(self, convert: impl FnOnce(P) -> Q) -> Begun<Q> {
        match self {
            Self::Idle { pending, due } => Begun::Idle { pending, due },
            Self::Leased => Begun::Leased,
            Self::Pass(pass) => Begun::Pass(convert(pass)),
        }
    }
}

/// Pending deliveries for a pass.
#[derive(Debug, Default)]
pub struct Offer {
    /// The deliveries, due or not.
    pub deliveries: Vec<Due>,
    /// The ids of deliveries that can't be decoded.
    pub unreadable: Vec<DeliveryId>,
    /// Whether the store may have more.
    pub more: bool,
}

/// The texts that passes share about the width of the drain.
#[derive(Clone, Debug, Default)]
pub struct WidthNotes {
    /// [`Note`](crate::delivery::width::Note).
    pub note: Option<String>,
    /// The last [`Refusal`](crate::delivery::width::Refusal).
    pub refusal: Option<String>,
}

/// What a pass leaves behind.
#[derive(Clone, Debug, Default)]
pub struct PassNote {
    /// The summary of the pass, as JSON.
    pub summary: Option<Box<RawValue>>,
    /// Whether deliveries are pending.
    pub pending: bool,
    /// The earliest time at which a delivery that the pass has seen is due.
    pub next_due: Option<Timestamp>,
    /// The time at which there may be an alert.
    pub alert_due: Option<Timestamp>,
    /// The queues whose first delivery the pass has left pending, so that the next one must wait.
    pub held: Vec<String>,
    /// The deliveries that the pass has attempted and that are no longer pending.
    pub ended: BTreeSet<DeliveryId>,
    /// Number of those that the engine accepted.
    pub delivered: u64,
    /// Number of those that became dead letters.
    pub failed: u64,
}

/// The state of the outbox at a glance.
#[derive(Debug)]
pub struct Status {
    /// Number of pending deliveries.
    pub pending: usize,
    /// Number of dead letters.
    pub dead: usize,
    /// The id of the oldest pending delivery.
    pub oldest: Option<DeliveryId>,
    /// That delivery, if it can be decoded.
    pub oldest_delivery: Option<Delivery<'static>>,
    /// What an operator has to see.
    pub faults: Faults,
}

/// What an operator has to know about a store itself. Nothing of PostgreSQL.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StoreHealth {
    /// Why this version of Sluice can't use the store at all.
    pub unusable: Option<String>,
    /// Whether nothing new can be stored.
    pub full: bool,
    /// Since when each event is still known, if the store has dropped outcomes before their retention was over.
    pub known_since: Option<Timestamp>,
    /// The rest of an upgrade of the stored form.
    pub upgrade: Option<String>,
}
