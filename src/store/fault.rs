//! Faults that an operator has to see: a configuration fault, and a delivery that has two runs.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::outbox::Outbox;
use super::{codec_error, keys};
use crate::delivery::DeliveryId;
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

/// A delivery that has two runs: one that was cancelled because the engine had not started it, and started all the same,
/// and the one that replaced it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Twice {
    /// When that was found.
    pub at: Timestamp,
    /// The delivery.
    pub delivery: DeliveryId,
    /// The engine's ids of the runs.
    pub runs: Vec<String>,
}

impl Twice {
    /// How long it is shown.
    const SHOWN: Duration = Duration::from_secs(24 * 60 * 60);

    /// Reads the last one, if it is not older than 24 hours.
    pub async fn read(host: &(impl KeyValue + Clock)) -> Result<Option<Self>, StoreError> {
        let twice: Option<Self> = host.get(keys::TWICE).await?.and_then(|bytes| json::read(&bytes).ok());
        Ok(twice.filter(|twice| host.now().since(twice.at) < Self::SHOWN))
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

    /// Records that a delivery has two runs.
    pub async fn record_twice(&self, delivery: DeliveryId, runs: Vec<String>) -> Result<(), StoreError> {
        let twice = Twice { at: self.host.now(), delivery, runs };
        self.host.set(keys::TWICE, &serde_json::to_vec(&twice).map_err(codec_error)?).await
    }

    /// Removes the fault, once the engine accepts deliveries again or none is pending.
    pub async fn clear_fault(&self) -> Result<(), StoreError> {
        if self.host.exists(keys::FAULT).await? {
            self.host.delete(keys::FAULT).await?;
        }
        Ok(())
    }
}
