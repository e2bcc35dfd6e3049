//! How things stand, for an operator who looks in.

use super::Drained;
use super::keys::{self, Fault};
use crate::claim::lease;
use crate::delivery::DeliveryId;
use crate::ports::{Store, StoreError};
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
    /// What an operator has to mend, so that the engine takes anything.
    pub fault: Option<Fault>,
    /// The last drain that looked at the keys, and what it did, if that can be read.
    pub drained: Option<(Timestamp, Option<Drained>)>,
}

/// Asks the store alone: one list of the keys, and 2 reads. Needs no settings, so that it helps to find what is wrong
/// with them.
pub async fn overview(store: &impl Store) -> Result<Overview, StoreError> {
    let [pending, dead] = keys::stored(&store.keys().await?);
    let scan = lease::last_scan(store).await?;
    let drained = scan.note.and_then(|note| serde_json::from_str(note.get()).ok());
    Ok(Overview {
        pending: pending.len(),
        dead: dead.len(),
        oldest: pending.first().copied(),
        fault: super::operator::fault(store).await?,
        drained: (scan.at > Timestamp(0)).then_some((scan.at, drained)),
    })
}
