//! The outbox: pending deliveries and dead letters.

use super::codec_error;
use super::keys::{self, KeyList};
use crate::delivery::{Delivery, DeliveryId, StoredError};
use crate::ports::{KeyValue, StoreError};

/// The state of a stored delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeliveryState {
    /// The drain will attempt it.
    Pending,
    /// It is a dead letter: kept for an operator, and no longer attempted.
    Dead,
}

impl DeliveryState {
    /// The state's name in the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Dead => "dead",
        }
    }

    fn key(self, id: DeliveryId) -> String {
        match self {
            Self::Pending => keys::pending(id),
            Self::Dead => keys::dead(id),
        }
    }
}

/// The stored deliveries, the drain notification, the drain's lease, and the configuration fault.
#[derive(Debug)]
pub struct Outbox<'a, H> {
    pub(super) host: &'a H,
}

impl<'a, H> Outbox<'a, H> {
    /// The outbox in a host's store.
    pub fn new(host: &'a H) -> Self {
        Self { host }
    }
}

impl<H: KeyValue> Outbox<'_, H> {
    /// Writes a pending delivery.
    pub async fn put(&self, delivery: &Delivery<'_>) -> Result<(), StoreError> {
        self.write(DeliveryState::Pending, delivery).await
    }

    /// Moves a pending delivery to the dead letters. A crash between the two writes leaves it both pending and dead;
    /// see [`undo_half_moves`](Self::undo_half_moves).
    pub async fn dead_letter(&self, delivery: &Delivery<'_>) -> Result<(), StoreError> {
        self.write(DeliveryState::Dead, delivery).await?;
        self.remove(DeliveryState::Pending, delivery.id).await
    }

    async fn write(&self, state: DeliveryState, delivery: &Delivery<'_>) -> Result<(), StoreError> {
        let bytes = delivery.to_bytes().map_err(codec_error)?;
        self.host.set(&state.key(delivery.id), &bytes).await
    }

    /// Reads a delivery; `None` if it isn't stored in this state. The inner error is a record that can't be decoded.
    pub async fn load(
        &self,
        state: DeliveryState,
        id: DeliveryId,
    ) -> Result<Option<Result<Delivery<'static>, StoredError>>, StoreError> {
        Ok(self.host.get(&state.key(id)).await?.map(|bytes| Delivery::from_bytes(&bytes)))
    }

    /// Removes a delivery.
    pub async fn remove(&self, state: DeliveryState, id: DeliveryId) -> Result<(), StoreError> {
        self.host.delete(&state.key(id)).await
    }

    /// Lists all keys of the store. The caller runs no other operation at the same time: some stores don't allow it.
    pub async fn list(&self) -> Result<KeyList, StoreError> {
        self.host.keys().await.map(KeyList)
    }

    /// Deletes the dead letter of each delivery that a crash has left both pending and dead. The drain attempts it
    /// again.
    pub async fn undo_half_moves(&self, list: &KeyList) -> Result<(), StoreError> {
        for id in list.half_moved() {
            self.remove(DeliveryState::Dead, id).await?;
        }
        Ok(())
    }
}
