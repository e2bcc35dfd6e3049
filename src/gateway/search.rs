//! Searches stored deliveries, a bounded number at a time: the only index of the store is its keys.

use super::Gateway;
use crate::delivery::{Delivery, DeliveryId, StoredError, Work};
use crate::ports::{Host, StoreError};
use crate::store::DeliveryState;

/// The most records that one search reads.
pub const MAX_SCANNED: usize = 500;

/// The result of a search.
#[derive(Debug)]
pub struct Found {
    /// In order of arrival; the error is a record that can't be read.
    pub deliveries: Vec<(DeliveryId, Result<Delivery<'static>, StoredError>)>,
    /// Number of records that were read.
    pub scanned: usize,
    /// The id after which to continue, if more follow.
    pub next: Option<DeliveryId>,
    /// Number of pending deliveries.
    pub pending: usize,
    /// Number of dead letters.
    pub dead: usize,
}

impl<H: Host> Gateway<'_, H> {
    /// Finds deliveries after `after` whose workflow, run or topic contains `text`, without regard to ASCII case; at most
    /// `limit`. An empty text finds all.
    pub async fn search(
        &self,
        state: DeliveryState,
        text: &str,
        limit: usize,
        after: Option<DeliveryId>,
    ) -> Result<Found, StoreError> {
        let list = self.outbox().list().await?;
        let (pending, dead) = (list.pending(), list.dead());
        let mut found =
            Found { deliveries: Vec::new(), scanned: 0, next: None, pending: pending.len(), dead: dead.len() };
        let mut ids = match state {
            DeliveryState::Pending => pending,
            DeliveryState::Dead => dead,
        };
        ids.retain(|id| after.is_none_or(|after| *id > after));

        let wanted = text.to_ascii_lowercase();
        let mut last = None;
        for id in ids.iter().copied() {
            if found.deliveries.len() >= limit || found.scanned >= MAX_SCANNED {
                break;
            }
            (found.scanned, last) = (found.scanned.saturating_add(1), Some(id));
            let is_wanted = |delivery: &Result<Delivery<'_>, _>| {
                delivery.as_ref().map_or(wanted.is_empty(), |delivery| names(delivery, &wanted))
            };
            // One that was removed meanwhile is left out.
            found.deliveries.extend(self.outbox().load(state, id).await?.filter(is_wanted).map(|one| (id, one)));
        }
        found.next = last.filter(|_| found.scanned < ids.len());
        Ok(found)
    }
}

fn names(delivery: &Delivery<'_>, wanted: &str) -> bool {
    let topic = match &delivery.work {
        Work::Start(_) => "",
        Work::Resolve(callback) => callback.topic.as_str(),
    };
    [delivery.work.reference(), topic].iter().any(|name| name.to_ascii_lowercase().contains(wanted))
}
