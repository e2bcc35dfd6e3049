//! How things stand, for an operator who looks in.

use super::Drained;
use super::keys::{self, Fault};
use crate::claim::lease;
use crate::delivery::{Delivery, DeliveryId};
use crate::ports::{KeyValue, StoreError};
use crate::time::Timestamp;

/// How things stand.
#[derive(Clone, Debug)]
pub struct Overview {
    /// How many deliveries are tried again.
    pub pending: usize,
    /// How many are kept.
    pub dead: usize,
    /// The one that has waited for the longest.
    pub oldest: Option<DeliveryId>,
    /// Why that one was not delivered.
    pub failure: Option<String>,
    /// What an operator has to mend, so that the engine takes anything.
    pub fault: Option<Fault>,
    /// The last drain that looked at the keys, and what it did, if that can be read.
    pub drained: Option<(Timestamp, Option<Drained>)>,
}

/// Asks the store alone: one list of the keys, and 2 reads or 3. Needs no settings, so that it helps to find what is wrong
/// with them.
pub async fn overview(store: &impl KeyValue) -> Result<Overview, StoreError> {
    let [pending, dead] = keys::stored(&store.keys().await?);
    let oldest = pending.first().copied();
    let failure = match oldest {
        Some(oldest) => store.get(&keys::pending(oldest)).await?.and_then(|bytes| failure(&bytes)),
        None => None,
    };
    let (scan, _) = lease::look(store).await?;
    let drained = scan.note.and_then(|note| serde_json::from_str(note.get()).ok());
    Ok(Overview {
        pending: pending.len(),
        dead: dead.len(),
        oldest,
        failure,
        fault: super::operator::fault(store).await?,
        drained: (scan.at > Timestamp(0)).then_some((scan.at, drained)),
    })
}

fn failure(stored: &[u8]) -> Option<String> {
    Delivery::from_bytes(stored).ok()?.last_failure().map(str::to_owned)
}
