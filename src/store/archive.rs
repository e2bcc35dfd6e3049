//! Delivered starts whose payloads are kept (`keep_hours`), so that an operator can replay them.

use crate::delivery::{Delivery, DeliveryId, Key, StoredError};
use crate::ports::StoreError;
use crate::reference::WorkflowRef;

/// A delivered start whose payload is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    /// The delivery. Its id says when it was received.
    pub id: DeliveryId,
    /// The workflow.
    pub workflow: WorkflowRef,
    /// The name of the source; `None` for one without limits.
    pub source: Option<String>,
}

/// Keeps the payloads of delivered starts. A key-value store has none.
///
/// # Laws
///
/// - A start that [`keep_payloads`](Self::keep_payloads) has kept is listed until its time is over, and by nobody
///   after that.
/// - Of all replays under one key, one is stored for as long as the key is remembered.
pub trait Archive {
    /// Keeps the payloads of delivered starts for `keep_hours`. One that is kept already stays as it is.
    async fn keep_payloads(&self, delivered: &[&Delivery<'_>]) -> Result<(), StoreError>;

    /// Lists kept starts after the first id and before the second one, in order of arrival: at most
    /// [`MAX_SCANNED`](super::MAX_SCANNED).
    async fn kept(&self, after: Option<DeliveryId>, before: Option<DeliveryId>) -> Result<Vec<Kept>, StoreError>;

    /// Reads a kept start as it was delivered. The inner error is a record that can't be decoded.
    async fn show_kept(&self, id: DeliveryId) -> Result<Option<Result<Delivery<'static>, StoredError>>, StoreError>;

    /// Stores a new delivery as pending under a key, unless the store knows the key. Returns whether it is stored.
    async fn replay(&self, delivery: &mut Delivery<'_>, key: Key) -> Result<bool, StoreError>;
}
