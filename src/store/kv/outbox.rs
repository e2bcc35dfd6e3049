//! The outbox: pending deliveries and dead letters.

use super::keys::{self, KeyList};
use crate::delivery::{Delivery, DeliveryId, StoredError};
use crate::ports::{KeyValue, StoreError};
use crate::store::{DeliveryState, codec_error};

/// The key of a delivery in a state.
fn key(state: DeliveryState, id: DeliveryId) -> String {
    match state {
        DeliveryState::Pending => keys::pending(id),
        DeliveryState::Dead => keys::dead(id),
    }
}

/// The stored deliveries, the drain notification, and the drain's lease.
#[derive(Debug)]
pub(super) struct Records<'a, H> {
    pub(super) host: &'a H,
}

impl<'a, H> Records<'a, H> {
    /// The outbox in a host's store.
    pub(super) fn new(host: &'a H) -> Self {
        Self { host }
    }
}

impl<H: KeyValue> Records<'_, H> {
    /// Writes a pending delivery.
    pub(super) async fn put(&self, delivery: &Delivery<'_>) -> Result<(), StoreError> {
        self.write(DeliveryState::Pending, delivery).await
    }

    /// Moves a pending delivery to the dead letters. A crash between the two writes leaves it both pending and dead;
    /// see [`undo_half_moves`](Self::undo_half_moves).
    pub(super) async fn dead_letter(&self, delivery: &Delivery<'_>) -> Result<(), StoreError> {
        self.write(DeliveryState::Dead, delivery).await?;
        self.remove(DeliveryState::Pending, delivery.id).await
    }

    async fn write(&self, state: DeliveryState, delivery: &Delivery<'_>) -> Result<(), StoreError> {
        let bytes = delivery.to_bytes().map_err(codec_error)?;
        self.host.set(&key(state, delivery.id), &bytes).await
    }

    /// Reads a delivery; `None` if it isn't stored in this state. The inner error is a record that can't be decoded.
    pub(super) async fn load(
        &self,
        state: DeliveryState,
        id: DeliveryId,
    ) -> Result<Option<Result<Delivery<'static>, StoredError>>, StoreError> {
        Ok(self.host.get(&key(state, id)).await?.map(|bytes| Delivery::from_bytes(&bytes)))
    }

    /// Removes a delivery.
    pub(super) async fn remove(&self, state: DeliveryState, id: DeliveryId) -> Result<(), StoreError> {
        self.host.delete(&key(state, id)).await
    }

    /// Lists all keys of the store. The caller runs no other operation at the same time: some stores don't allow it.
    pub(super) async fn list(&self) -> Result<KeyList, StoreError> {
        self.host.keys().await.map(KeyList)
    }

    /// Deletes the dead letter of each delivery that a crash has left both pending and dead. The drain attempts it
    /// again.
    pub(super) async fn undo_half_moves(&self, list: &KeyList) -> Result<(), StoreError> {
        for id in list.half_moved() {
            self.remove(DeliveryState::Dead, id).await?;
        }
        Ok(())
    }
}
