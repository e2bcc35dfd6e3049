//! The configuration fault: why no attempt succeeds until an operator corrects the configuration.

use serde::{Deserialize, Serialize};

use super::outbox::Outbox;
use super::{codec_error, keys};
use crate::json;
use crate::ports::{Clock, KeyValue, StoreError};
use crate::time::Timestamp;

/// A configuration fault that an operator has to fix before the engine accepts anything: the engine's address, path or
/// token is wrong, or the host forbids the call.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EngineFault {
    /// When a fault was first recorded. A fault with another reason keeps this time.
    pub at: Timestamp,
    /// Why the last attempt failed, such as `the engine answered 401`.
    pub reason: String,
}

impl EngineFault {
    /// Reads the fault; `None` if its record can't be decoded. Needs no settings: it is shown even if those are wrong.
    pub async fn read(store: &impl KeyValue) -> Result<Option<Self>, StoreError> {
        Ok(store.get(keys::FAULT).await?.and_then(|bytes| json::read(&bytes).ok()))
    }
}

impl<H: KeyValue + Clock> Outbox<'_, H> {
    /// Records a fault. If one is recorded already, its time is kept.
    pub async fn record_fault(&self, reason: &str) -> Result<(), StoreError> {
        let mut fault = EngineFault { at: self.host.now(), reason: reason.to_owned() };
        if let Some(known) = EngineFault::read(self.host).await? {
            if known.reason == fault.reason {
                return Ok(());
            }
            fault.at = known.at;
        }
        let bytes = serde_json::to_vec(&fault).map_err(codec_error)?;
        self.host.set(keys::FAULT, &bytes).await
    }

    /// Removes the fault, once the engine accepts deliveries again or none is pending.
    pub async fn clear_fault(&self) -> Result<(), StoreError> {
        if self.host.exists(keys::FAULT).await? {
            self.host.delete(keys::FAULT).await?;
        }
        Ok(())
    }
}
