//! The drain's lease: one drain at a time. A splitter whose flag goes down by itself when the time is over, so a drain
//! that dies stops none for ever; what it left in doubt is told by the deliveries themselves.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::splitter::{Entered, Splitter};
use crate::delivery::DeliveryId;
use crate::json;
use crate::ports::{Clock, KeyValue, Rng, StoreError};
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
    #[serde(default, skip_serializing_if = "Option::is_none")]
    note: Option<Box<RawValue>>,
    #[serde(default)]
    again: bool,
}

/// The last scan of the keys. It is stored with the lease, so that to note it costs no write.
#[derive(Clone, Debug)]
pub struct Scan {
    /// When; the epoch if never.
    pub at: Timestamp,
    /// What came of it, in the words of who scanned.
    pub note: Option<Box<RawValue>>,
    /// The keys are to be scanned once more. So it is as well where whoever had the lease didn't give it back.
    pub again: bool,
}

impl Value {
    /// One that can't be read is nobody's.
    fn read(bytes: &[u8]) -> Option<Self> {
        json::read(bytes).ok().filter(|value: &Self| value.v == 1)
    }

    /// The scan that is noted, and until when the lease is held; whoever gives it back makes that the epoch.
    fn look(bytes: Option<&[u8]>) -> (Scan, Timestamp) {
        let epoch = Timestamp(0);
        match bytes.and_then(Self::read) {
            Some(Self { until, scanned: at, note, again, .. }) => {
                (Scan { at, note, again: again || until > epoch }, until)
            }
            None => (Scan { at: epoch, note: None, again: false }, epoch),
        }
    }
}

/// A lease that is held.
#[derive(Debug)]
pub struct Lease {
    token: String,
    /// Until then nobody else has it.
    pub until: Timestamp,
    /// The last scan of the keys; set it when another is done.
    pub scan: Scan,
}

/// The last scan of the keys, and until when the lease is held.
pub async fn look(store: &impl KeyValue) -> Result<(Scan, Timestamp), StoreError> {
    Ok(Value::look(store.get(LEASE).await?.as_deref()))
}

/// Takes the lease for so long; `None` if another has it.
pub async fn acquire(host: &(impl KeyValue + Clock + Rng), length: Duration) -> Result<Option<Lease>, StoreError> {
    let instant = host.arrival_time();
    let now = instant.at;
    let (scan, held) = look(host).await?;
    if held > now {
        return Ok(None);
    }
    let token = DeliveryId::new(instant, host.random()).to_string();
    let lease = Lease { token, until: now.plus(length), scan };
    let splitter = Splitter {
        door: DOOR,
        flag: LEASE,
        before: None,
        at_door: lease.token.as_bytes(),
        at_flag: &lease.value(lease.until)?,
    };
    Ok(matches!(splitter.enter(host, |bytes| Value::look(Some(bytes)).1 > now).await?, Entered::Won).then_some(lease))
}

impl Lease {
    /// Gives it back; one whose time is over is another's already.
    pub async fn release(self, host: &(impl KeyValue + Clock)) -> Result<(), StoreError> {
        if host.now() >= self.until {
            return Ok(());
        }
        host.set(LEASE, &self.value(Timestamp(0))?).await
    }

    fn value(&self, until: Timestamp) -> Result<Vec<u8>, StoreError> {
        let Scan { at: scanned, note, again } = self.scan.clone();
        let value = Value { v: 1, token: self.token.clone(), until, scanned, note, again };
        serde_json::to_vec(&value).map_err(|error| StoreError(error.to_string()))
    }
}
