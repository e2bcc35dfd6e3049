//! The configuration fault that the engine reported: its address, path or token is configured wrongly here.

use serde::{Deserialize, Serialize};

use super::outbox::Outbox;
use super::{keys, unwritable};
use crate::json;
use crate::ports::{Clock, KeyValue, StoreError};
use crate::time::Timestamp;

/// A reason for which the engine takes nothing, and which an operator has to fix.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EngineFault {
    /// Since when, at least.
    pub at: Timestamp,
    /// What the engine answered.
    pub reason: String,
}

impl EngineFault {
    /// Reads the fault; a record that can't be read counts as none. Needs no settings, because it helps to fix them.
    pub async fn read(store: &impl KeyValue) -> Result<Option<Self>, StoreError> {
        Ok(store.get(keys::FAULT).await?.and_then(|bytes| json::read(&bytes).ok()))
    }
}

impl<H: KeyValue + Clock> Outbox<'_, H> {
    /// Records a fault. If one is recorded already, its time stays.
    pub async fn record_fault(&self, reason: &str) -> Result<(), StoreError> {
        let mut fault = EngineFault { at: self.host.now(), reason: reason.to_owned() };
        if let Some(known) = EngineFault::read(self.host).await? {
            if known.reason == fault.reason {
                return Ok(());
            }
            fault.at = known.at;
        }
        let bytes = serde_json::to_vec(&fault).map_err(unwritable)?;
        self.host.set(keys::FAULT, &bytes).await
    }

    /// Removes the fault, because the engine takes deliveries again or none is left.
    pub async fn clear_fault(&self) -> Result<(), StoreError> {
        if self.host.exists(keys::FAULT).await? {
            self.host.delete(keys::FAULT).await?;
        }
        Ok(())
    }
}
