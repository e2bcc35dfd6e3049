//! The drain's lease: one drain at a time. A splitter whose flag goes down by itself when the time is over, so a drain
//! that dies stops none for ever; what it left in doubt is told by the deliveries themselves.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::splitter::{Entered, Splitter};
use crate::delivery::DeliveryId;
use crate::json;
use crate::ports::{Clock, Store, StoreError};
use crate::time::Timestamp;

/// The flag: who has the lease.
const LEASE: &str = "sluice/lease";
/// The door.
const DOOR: &str = "sluice/lease-door";

#[derive(Debug, Serialize, Deserialize)]
struct Value {
    v: u32,
    token: String,
    until: Timestamp,
    scanned: Timestamp,
}

impl Value {
    /// One that can't be read is nobody's.
    fn read(bytes: &[u8]) -> Option<Self> {
        json::read(bytes).ok().filter(|value: &Self| value.v == 1)
    }
}

/// A lease that is held.
#[derive(Debug)]
pub struct Lease {
    token: String,
    /// Until then nobody else has it.
    pub until: Timestamp,
    /// When the keys were last scanned; set it when that is done.
    pub scanned: Timestamp,
}

/// When the keys were last scanned; the epoch if never.
pub async fn last_scan(store: &impl Store) -> Result<Timestamp, StoreError> {
    Ok(store.get(LEASE).await?.as_deref().and_then(Value::read).map_or(Timestamp(0), |value| value.scanned))
}

/// Takes the lease for so long; `None` if another has it.
pub async fn acquire(outside: &(impl Store + Clock), length: Duration) -> Result<Option<Lease>, StoreError> {
    let now = outside.now();
    let is_held = |bytes: &[u8]| Value::read(bytes).is_some_and(|value| value.until > now);
    let there = outside.get(LEASE).await?;
    if there.as_deref().is_some_and(is_held) {
        return Ok(None);
    }
    let scanned = there.as_deref().and_then(Value::read).map_or(Timestamp(0), |value| value.scanned);
    let token = DeliveryId::new(now, outside.entropy()).to_string();
    let lease = Lease { token, until: now.plus(length), scanned };
    let splitter = Splitter {
        door: DOOR,
        flag: LEASE,
        before: None,
        at_door: lease.token.as_bytes(),
        at_flag: &lease.value(lease.until)?,
    };
    Ok(matches!(splitter.enter(outside, is_held).await?, Entered::Won).then_some(lease))
}

impl Lease {
    /// Gives it back; one whose time is over is another's already.
    pub async fn release(self, outside: &(impl Store + Clock)) -> Result<(), StoreError> {
        if outside.now() >= self.until {
            return Ok(());
        }
        outside.set(LEASE, &self.value(Timestamp(0))?).await
    }

    fn value(&self, until: Timestamp) -> Result<Vec<u8>, StoreError> {
        let value = Value { v: 1, token: self.token.clone(), until, scanned: self.scanned };
        serde_json::to_vec(&value).map_err(|error| StoreError(error.to_string()))
    }
}
