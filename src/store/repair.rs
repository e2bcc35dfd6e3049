//! Operations on all deliveries that match a filter, for an operator.

use crate::delivery::{Delivery, DeliveryId, Filter, StoredError};
use crate::store::DeliveryState;

/// Number of deliveries that a dry run shows.
pub const MAX_SHOWN: usize = 20;

/// The operation on the deliveries that are selected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Repair {
    /// Nothing: they are counted.
    DryRun,
    /// They become pending and are due now, with their age and attempts reset. None is sent: the drain does that.
    Redeliver,
    /// They are deleted, and their keys are free again.
    Delete,
}

/// The deliveries that an operation is for.
#[derive(Clone, Debug)]
pub struct Selection {
    /// Their state.
    pub state: DeliveryState,
    /// The filter that they match.
    pub filter: Filter,
    /// The id after which it begins.
    pub after: Option<DeliveryId>,
    /// Their greatest number. Those that are skipped don't count.
    pub limit: usize,
}

/// The result of an operation on all deliveries of a selection.
#[derive(Debug, Default)]
pub struct Repaired {
    /// Number of deliveries that were changed; of a dry run, of those that would be.
    pub count: usize,
    /// How many of these are left to the drain, which is at work and does it in its next pass.
    pub deferred: usize,
    /// Deliveries that match and were not changed.
    pub skipped: Skipped,
    /// The first deliveries, if it is a dry run, at most [`MAX_SHOWN`]; the error is a record that can't be decoded.
    pub first: Vec<(DeliveryId, Result<Delivery<'static>, StoredError>)>,
    /// The id after which the next request continues, if there was no time for all, or they are more than the limit.
    pub next: Option<DeliveryId>,
}

/// Number of deliveries that were not changed, by reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Skipped {
    /// They are being sent.
    pub under_way: usize,
    /// Another delivery has their key by now.
    pub superseded: usize,
    /// The same delivery has their key by now. They were removed, because it was accepted.
    pub repeated: usize,
    /// Their records can't be decoded. They can be deleted.
    pub unreadable: usize,
}

impl Repaired {
    /// Notes a delivery that is changed, or would be.
    pub(super) fn add(&mut self, id: DeliveryId, delivery: Result<Delivery<'static>, StoredError>, repair: Repair) {
        self.count = self.count.saturating_add(1);
        if repair == Repair::DryRun && self.first.len() < MAX_SHOWN {
            self.first.push((id, delivery));
        }
    }
}

impl Skipped {
    /// The number of all.
    pub fn total(&self) -> usize {
        let Self { under_way, superseded, repeated, unreadable } = self;
        [under_way, superseded, repeated, unreadable].into_iter().fold(0, |sum, count| sum.saturating_add(*count))
    }
}
