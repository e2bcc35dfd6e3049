//! The drain's lease: one drain runs at a time.
//!
//! It is a splitter whose door opens by itself when the lease ends, so a drain that dies never blocks others for good.
//! Each delivery itself says whether that drain may have sent it.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::keys::{LEASE, LEASE_RACE};
use super::outbox::Outbox;
use super::splitter::{Entered, Splitter};
use super::unwritable;
use crate::delivery::DeliveryId;
use crate::json;
use crate::ports::{Clock, KeyValue, Rng, StoreError};
use crate::time::Timestamp;

/// The stored form.
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

/// The last scan of the keys. It is stored with the lease, so recording it costs no write of its own.
#[derive(Clone, Debug)]
pub struct Scan {
    /// When it ended; the epoch if there was none.
    pub at: Timestamp,
    /// Its summary, as the drain wrote it.
    pub note: Option<Box<RawValue>>,
    /// Whether the keys have to be scanned once more soon. Also true if the last holder didn't release the lease.
    pub again: bool,
}

impl Value {
    /// A lease that can't be read is held by nobody.
    fn read(bytes: &[u8]) -> Option<Self> {
        json::read(bytes).ok().filter(|value: &Self| value.v == 1)
    }

    /// The last scan, and the end of the lease: the epoch if it was released.
    fn decode(bytes: Option<&[u8]>) -> (Scan, Timestamp) {
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
    /// The end of the lease. Until then nobody else gets it.
    pub until: Timestamp,
    /// The last scan of the keys, stored when the lease is released.
    pub scan: Scan,
}

impl Scan {
    /// Reads the last scan, and the end of the lease. Needs no settings, because it helps to fix them.
    pub async fn last(store: &impl KeyValue) -> Result<(Self, Timestamp), StoreError> {
        Ok(Value::decode(store.get(LEASE).await?.as_deref()))
    }
}

impl<H: KeyValue + Clock + Rng> Outbox<'_, H> {
    /// Takes the lease for `length`; `None` if another drain holds it.
    pub async fn acquire_lease(&self, length: Duration) -> Result<Option<Lease>, StoreError> {
        let arrival = self.host.arrival_time();
        let now = arrival.at;
        let (scan, end) = Scan::last(self.host).await?;
        if end > now {
            return Ok(None);
        }
        let token = DeliveryId::new(arrival, self.host.random()).to_string();
        let lease = Lease { token, until: now.plus(length), scan };
        let splitter = Splitter {
            race: LEASE_RACE,
            door: LEASE,
            earlier_door: None,
            name: lease.token.as_bytes(),
            closed: &lease.encode(lease.until)?,
        };
        let is_closed = |door: &[u8]| Value::decode(Some(door)).1 > now;
        Ok(matches!(splitter.enter(self.host, is_closed).await?, Entered::Won).then_some(lease))
    }

    /// Releases the lease. One that has ended belongs to another drain already.
    pub async fn release_lease(&self, lease: Lease) -> Result<(), StoreError> {
        if self.host.now() >= lease.until {
            return Ok(());
        }
        self.host.set(LEASE, &lease.encode(Timestamp(0))?).await
    }
}

impl Lease {
    fn encode(&self, until: Timestamp) -> Result<Vec<u8>, StoreError> {
        let Scan { at: scanned, note, again } = self.scan.clone();
        let value = Value { v: 1, token: self.token.clone(), until, scanned, note, again };
        serde_json::to_vec(&value).map_err(unwritable)
    }
}
