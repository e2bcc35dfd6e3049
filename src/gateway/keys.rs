//! The keys of deliveries, and the hint.

use serde::{Deserialize, Serialize};

use crate::delivery::DeliveryId;
use crate::json;
use crate::ports::{Store, StoreError};
use crate::time::Timestamp;

/// Deliveries that are to be tried again.
pub(super) const PENDING: &str = "sluice/pending/";
/// Deliveries that are kept for an operator.
pub(super) const DEAD: &str = "sluice/dead/";
/// There while something may be pending.
const HINT: &str = "sluice/hint";

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

/// Something may be pending; and what an operator has to mend, where that is why.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Hint {
    v: u32,
    /// The delivery that was stored last: whoever clears the hint sees that another came.
    id: String,
    /// Our configuration is at fault, as far as anyone could see last.
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
    pub(super) fn new(id: DeliveryId, fault: Option<Fault>) -> Self {
        Self { v: 1, id: id.to_string(), fault }
    }

    pub(super) async fn write(&self, store: &impl Store) -> Result<(), StoreError> {
        let bytes = serde_json::to_vec(self).map_err(|error| StoreError(error.to_string()))?;
        store.set(HINT, &bytes).await
    }
}

/// The hint as it is stored; what can't be read is a hint as well.
pub(super) async fn hint(store: &impl Store) -> Result<Option<Vec<u8>>, StoreError> {
    store.get(HINT).await
}

/// Reads a stored hint.
pub(super) fn read_hint(bytes: &[u8]) -> Option<Hint> {
    json::read(bytes).ok()
}

/// Nothing is pending.
pub(super) async fn clear_hint(store: &impl Store) -> Result<(), StoreError> {
    store.delete(HINT).await
}
