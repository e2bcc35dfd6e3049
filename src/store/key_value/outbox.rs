//! The outbox: pending deliveries and dead letters, the drain notification, and what an operator has asked for.

use serde::{Deserialize, Serialize};

use super::names::{self, KeyList};
use crate::delivery::{Delivery, DeliveryId, StoredError};
use crate::json;
use crate::ports::{Clock, KeyValue, StoreError};
use crate::store::DeliveryState;
use crate::store::codec_error;
use crate::time::Timestamp;

/// The name of a delivery in this state.
fn name(state: DeliveryState, id: DeliveryId) -> String {
    match state {
        DeliveryState::Pending => names::pending(id),
        DeliveryState::Dead => names::dead(id),
    }
}

/// An operator's request for a stored delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Ask {
    /// Delete it.
    Delete,
    /// Attempt it again, with its age and attempts reset.
    Redeliver,
}

/// The value of an operator's request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Asked {
    v: u32,
    /// The request.
    pub(super) ask: Ask,
    /// When.
    pub(super) at: Timestamp,
}

/// The value of the mark that an operator has put all deliveries in doubt.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Doubt {
    v: u32,
    /// When. A delivery that was pending then may have been sent until then.
    at: Timestamp,
}

/// The stored deliveries, the drain notification, the drain's lease, and an operator's requests.
#[derive(Debug)]
pub(super) struct Outbox<'a, H> {
    pub(super) host: &'a H,
}

impl<'a, H> Outbox<'a, H> {
    /// The outbox in a host's store.
    pub(super) fn new(host: &'a H) -> Self {
        Self { host }
    }
}

impl<H: KeyValue> Outbox<'_, H> {
    /// Writes a pending delivery. Costs 1 write.
    pub(super) async fn put(&self, delivery: &Delivery<'_>) -> Result<(), StoreError> {
        self.write(DeliveryState::Pending, delivery).await
    }

    /// Moves a pending delivery to the dead letters. A crash between the two writes leaves it both pending and dead;
    /// see [`undo_half_moves`](Self::undo_half_moves). Costs 2 writes.
    pub(super) async fn dead_letter(&self, delivery: &Delivery<'_>) -> Result<(), StoreError> {
        self.write(DeliveryState::Dead, delivery).await?;
        self.remove(DeliveryState::Pending, delivery.id).await
    }

    async fn write(&self, state: DeliveryState, delivery: &Delivery<'_>) -> Result<(), StoreError> {
        let bytes = delivery.to_bytes().map_err(codec_error)?;
        self.host.set(&name(state, delivery.id), &bytes).await
    }

    /// Reads a delivery; `None` if it isn't stored in this state. The inner error is a record that can't be decoded.
    /// Costs 1 read.
    pub(super) async fn load(
        &self,
        state: DeliveryState,
        id: DeliveryId,
    ) -> Result<Option<Result<Delivery<'static>, StoredError>>, StoreError> {
        Ok(self.host.get(&name(state, id)).await?.map(|bytes| Delivery::from_bytes(&bytes)))
    }

    /// Removes a delivery. Costs 1 write.
    pub(super) async fn remove(&self, state: DeliveryState, id: DeliveryId) -> Result<(), StoreError> {
        self.host.delete(&name(state, id)).await
    }

    /// Lists all keys of the store. The caller runs no other operation at the same time: some stores don't allow it.
    pub(super) async fn list(&self) -> Result<KeyList, StoreError> {
        self.host.keys().await.map(KeyList)
    }

    /// Deletes the dead letter of each delivery that a crash has left both pending and dead. The drain attempts it
    /// again. Costs 1 write for each.
    pub(super) async fn undo_half_moves(&self, list: &KeyList) -> Result<(), StoreError> {
        for id in list.half_moved() {
            self.remove(DeliveryState::Dead, id).await?;
        }
        Ok(())
    }

    /// Notifies the drain that a delivery was stored. Costs one read, and a write if the notification is missing. If
    /// the read fails, writes the notification and returns the error of the read.
    pub(super) async fn ensure_notified(&self) -> Result<(), StoreError> {
        let notified = self.is_notified().await;
        if !matches!(notified, Ok(true)) {
            self.notify().await?;
        }
        notified.map(drop)
    }

    /// Whether the notification exists: a delivery may be pending. Costs 1 read.
    pub(super) async fn is_notified(&self) -> Result<bool, StoreError> {
        self.host.exists(names::NOTIFICATION).await
    }

    /// Writes the notification. Costs 1 write.
    pub(super) async fn notify(&self) -> Result<(), StoreError> {
        self.host.set(names::NOTIFICATION, br#"{"v":1}"#).await
    }

    /// Deletes the notification. Has to be called before the keys are listed, never after. Costs 1 write.
    pub(super) async fn clear_notification(&self) -> Result<(), StoreError> {
        self.host.delete(names::NOTIFICATION).await
    }

    /// Reads what an operator has asked for a delivery; `None` if nothing, or something that this version doesn't know.
    /// A drain reads it right before each send. Costs 1 read.
    pub(super) async fn asked(&self, id: DeliveryId) -> Result<Option<Asked>, StoreError> {
        let asked = self.host.get(&names::asked(id)).await?.and_then(|bytes| json::read(&bytes).ok());
        Ok(asked.filter(|asked: &Asked| asked.v == 1))
    }

    /// Removes an operator's request that was acted on. Costs 1 write.
    pub(super) async fn answer_ask(&self, id: DeliveryId) -> Result<(), StoreError> {
        self.host.delete(&names::asked(id)).await
    }
}

impl<H: KeyValue + Clock> Outbox<'_, H> {
    /// Records what an operator asks for a delivery, and notifies the drain. The last request counts. It is acted on by
    /// the holder of the lease: nobody else changes a stored delivery. Costs 1 read, and 1 or 2 writes.
    pub(super) async fn ask(&self, id: DeliveryId, ask: Ask) -> Result<(), StoreError> {
        let asked = Asked { v: 1, ask, at: self.host.now() };
        self.host.set(&names::asked(id), &serde_json::to_vec(&asked).map_err(codec_error)?).await?;
        self.ensure_notified().await
    }

    /// Puts the deliveries in doubt that are pending now, and notifies the drain. Costs 1 read, and 1 or 2 writes.
    pub(super) async fn doubt(&self) -> Result<(), StoreError> {
        let doubt = Doubt { v: 1, at: self.host.now() };
        self.host.set(names::DOUBT, &serde_json::to_vec(&doubt).map_err(codec_error)?).await?;
        self.ensure_notified().await
    }

    /// Reads when an operator has last put the deliveries in doubt that were pending then. Costs 1 read.
    pub(super) async fn doubted_at(&self) -> Result<Option<Timestamp>, StoreError> {
        let doubt = self.host.get(names::DOUBT).await?.and_then(|bytes| json::read(&bytes).ok());
        Ok(doubt.filter(|doubt: &Doubt| doubt.v == 1).map(|doubt| doubt.at))
    }
}
