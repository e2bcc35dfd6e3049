//! Search in stored deliveries. One search reads a bounded number of records, because the store has no index of them.

use super::Gateway;
use crate::delivery::{Delivery, DeliveryId, StoredError, Work};
use crate::ports::{Host, StoreError};
use crate::store::DeliveryState;

/// Maximum number of records that one search reads.
pub const MAX_SCANNED: usize = 500;

/// The result of a search.
#[derive(Debug)]
pub struct Found {
    /// In order of arrival; the error is a record that can't be read.
    pub deliveries: Vec<(DeliveryId, Result<Delivery<'static>, StoredError>)>,
    /// Number of records that the search has read.
    pub scanned: usize,
    /// The id after which the next search continues; `None` if all records were read.
    pub next: Option<DeliveryId>,
    /// Number of all pending deliveries.
    pub pending: usize,
    /// Number of all dead letters.
    pub dead: usize,
}

impl<H: Host> Gateway<'_, H> {
    /// Finds at most `limit` deliveries after `after` whose workflow, run or topic contains `text`, ignoring ASCII
    /// case. An empty text finds all, including records that can't be decoded.
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
                delivery.as_ref().map_or(wanted.is_empty(), |delivery| contains(delivery, &wanted))
            };
            // Leaves out a delivery that was removed meanwhile.
            let loaded = self.outbox().load(state, id).await?.filter(is_wanted);
            found.deliveries.extend(loaded.map(|delivery| (id, delivery)));
        }
        found.next = last.filter(|_| found.scanned < ids.len());
        Ok(found)
    }
}

/// Whether the workflow, run or topic of a delivery contains `wanted`, which is in lower case.
fn contains(delivery: &Delivery<'_>, wanted: &str) -> bool {
    let topic = match &delivery.work {
        Work::Start(_) => "",
        Work::Resolve(callback) => callback.topic.as_str(),
    };
    [delivery.work.reference(), topic].iter().any(|name| name.to_ascii_lowercase().contains(wanted))
}
