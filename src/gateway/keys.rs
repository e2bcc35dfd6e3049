//! The keys of deliveries, the hint, and what is at fault.

use serde::{Deserialize, Serialize};

use crate::delivery::DeliveryId;
use crate::json;
use crate::ports::{KeyValue, StoreError};
use crate::time::Timestamp;

/// Deliveries that are to be tried again.
pub(super) const PENDING: &str = "sluice/pending/";
/// Deliveries that are kept for an operator.
pub(super) const DEAD: &str = "sluice/dead/";
/// There while something may be pending. Whoever stores a delivery looks for it afterwards, and puts it there if it is not; the
/// drain takes it away before it lists the keys. So a delivery whose hint was there, or was put there, is in a list that
/// follows (`tests/it/interleavings.rs`).
const HINT: &str = "sluice/hint";
/// What an operator has to mend.
const FAULT: &str = "sluice/fault";

pub(super) fn pending(id: DeliveryId) -> String {
    format!("{PENDING}{id}")
}

pub(super) fn dead(id: DeliveryId) -> String {
    format!("{DEAD}{id}")
}

/// The ids under a prefix, in the order of their arrival.
pub(super) fn ids(keys: &[String], prefix: &str) -> Vec<DeliveryId> {
    let mut ids: Vec<_> = keys.iter().filter_map(|key| DeliveryId::parse(key.strip_prefix(prefix)?)).collect();
    ids.sort_unstable();
    ids
}

/// The ids that are pending, and those that are dead. Whoever moves one and dies leaves both: then it is pending.
pub(super) fn stored(keys: &[String]) -> [Vec<DeliveryId>; 2] {
    let (pending, mut dead) = (ids(keys, PENDING), ids(keys, DEAD));
    dead.retain(|id| pending.binary_search(id).is_err());
    [pending, dead]
}

/// What the drain is told of what is stored.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Hint {
    /// Our configuration is at fault, as far as this delivery shows.
    pub fault: Option<Fault>,
}

/// The engine takes nothing, for a reason that is set here.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fault {
    /// Since when, at least.
    pub at: Timestamp,
    /// What it is.
    pub reason: String,
}

impl Hint {
    /// To be told after the delivery is stored. Where the hint is there already it costs no write.
    pub(super) async fn tell(self, store: &impl KeyValue) -> Result<(), StoreError> {
        let hinted = is_hinted(store).await;
        if !matches!(hinted, Ok(true)) {
            put_hint(store).await?;
        }
        if let Some(fault) = self.fault {
            fault.note(store).await?;
        }
        hinted.map(drop)
    }
}

/// May something be pending?
pub(super) async fn is_hinted(store: &impl KeyValue) -> Result<bool, StoreError> {
    store.exists(HINT).await
}

/// Something may be pending.
pub(super) async fn put_hint(store: &impl KeyValue) -> Result<(), StoreError> {
    store.set(HINT, br#"{"v":1}"#).await
}

/// To be taken before the keys are listed, never after: what was stored while it was there is in the list.
pub(super) async fn take_hint(store: &impl KeyValue) -> Result<(), StoreError> {
    store.delete(HINT).await
}

impl Fault {
    /// The one that is known; one that can't be read is none.
    pub(super) async fn known(store: &impl KeyValue) -> Result<Option<Self>, StoreError> {
        Ok(store.get(FAULT).await?.and_then(|bytes| json::read(&bytes).ok()))
    }

    /// Notes it; where one is known already it goes on, for another reason maybe.
    pub(super) async fn note(mut self, store: &impl KeyValue) -> Result<(), StoreError> {
        if let Some(known) = Self::known(store).await? {
            if known.reason == self.reason {
                return Ok(());
            }
            self.at = known.at;
        }
        let bytes = serde_json::to_vec(&self).map_err(|error| StoreError(error.to_string()))?;
        store.set(FAULT, &bytes).await
    }

    /// It is mended, or gone.
    pub(super) async fn forget(store: &impl KeyValue) -> Result<(), StoreError> {
        if store.exists(FAULT).await? {
            store.delete(FAULT).await?;
        }
        Ok(())
    }
}
