//! The drain notification: present while a delivery may be pending.
//!
//! A sender's request that stores a delivery checks it afterwards, and writes it if it is gone. The drain takes it away
//! *before* it lists the keys. So a delivery whose notification was there, or was written, is in a list that follows
//! (`tests/it/interleavings.rs`).

use super::keys;
use super::outbox::Outbox;
use crate::ports::{KeyValue, StoreError};

impl<H: KeyValue> Outbox<'_, H> {
    /// Notifies the drain, after a delivery was stored. Costs no write if the notification is there already. If that can't
    /// be told, it is written, and the error is returned.
    pub async fn ensure_notified(&self) -> Result<(), StoreError> {
        let notified = self.is_notified().await;
        if !matches!(notified, Ok(true)) {
            self.notify().await?;
        }
        notified.map(drop)
    }

    /// Whether a delivery may be pending.
    pub async fn is_notified(&self) -> Result<bool, StoreError> {
        self.host.exists(keys::NOTIFICATION).await
    }

    /// Writes the notification.
    pub async fn notify(&self) -> Result<(), StoreError> {
        self.host.set(keys::NOTIFICATION, br#"{"v":1}"#).await
    }

    /// Takes the notification away. Has to be called before the keys are listed, never after.
    pub async fn take_notification(&self) -> Result<(), StoreError> {
        self.host.delete(keys::NOTIFICATION).await
    }
}
