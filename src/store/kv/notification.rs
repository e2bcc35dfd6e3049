//! The drain notification: a key that exists while a delivery may be pending.
//!
//! A request that stores a delivery checks the notification afterwards, and writes it if it is missing. The drain
//! deletes it *before* it lists the keys. Whether a request finds the notification or writes it, the delivery is
//! therefore in a list that a drain makes later (`tests/it/interleavings.rs`).

use super::keys;
use super::outbox::Records;
use crate::ports::{KeyValue, StoreError};

impl<H: KeyValue> Records<'_, H> {
    /// Notifies the drain that a delivery was stored. Costs one read, and a write if the notification is missing. If
    /// the read fails, writes the notification and returns the error of the read.
    pub(super) async fn ensure_notified(&self) -> Result<(), StoreError> {
        let notified = self.is_notified().await;
        if !matches!(notified, Ok(true)) {
            self.notify().await?;
        }
        notified.map(drop)
    }

    /// Whether the notification exists: a delivery may be pending.
    pub(super) async fn is_notified(&self) -> Result<bool, StoreError> {
        self.host.exists(keys::NOTIFICATION).await
    }

    /// Writes the notification.
    pub(super) async fn notify(&self) -> Result<(), StoreError> {
        self.host.set(keys::NOTIFICATION, br#"{"v":1}"#).await
    }

    /// Deletes the notification. Has to be called before the keys are listed, never after.
    pub(super) async fn clear_notification(&self) -> Result<(), StoreError> {
        self.host.delete(keys::NOTIFICATION).await
    }
}
