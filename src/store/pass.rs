//! Passes of the drain, and the state that they leave behind.

use serde_json::value::RawValue;

use super::fault::Faults;
use crate::delivery::{Delivery, DeliveryId};
use crate::time::Timestamp;

/// The beginning of a pass.
#[derive(Debug)]
pub enum Begun<P> {
    /// Nothing is due, as far as the store can tell without a pass.
    Idle,
    /// Another drain is at work, and the store permits only one.
    Leased,
    /// The pass.
    Pass(P),
}

impl<P> Begun<P> {
    /// Converts the pass.
    pub(super) fn map<Q>(self, convert: impl FnOnce(P) -> Q) -> Begun<Q> {
        match self {
            Self::Idle => Begun::Idle,
            Self::Leased => Begun::Leased,
            Self::Pass(pass) => Begun::Pass(convert(pass)),
        }
    }
}

/// Deliveries that a pass has taken.
#[derive(Debug, Default)]
pub struct Taken {
    /// The deliveries, the longest due first. This instance holds them.
    pub deliveries: Vec<Delivery<'static>>,
    /// The ids of deliveries that can't be decoded.
    pub unreadable: Vec<DeliveryId>,
    /// Whether deliveries may be due that could not be taken now, because others are in flight.
    pub more: bool,
}

/// What a pass leaves behind.
#[derive(Clone, Debug, Default)]
pub struct PassNote {
    /// The summary of the pass, as JSON.
    pub summary: Option<Box<RawValue>>,
    /// Whether deliveries may be due already.
    pub again: bool,
    /// The earliest time at which a delivery that the pass has seen is due.
    pub next_due: Option<Timestamp>,
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
    /// The end of the last complete pass of the drain, and its summary.
    pub drained: Option<(Timestamp, Option<Box<RawValue>>)>,
}
