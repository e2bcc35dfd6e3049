//! The drain's lease: one drain runs at a time.
//!
//! The lease is a splitter whose door opens by itself when the lease ends, so a drain that dies doesn't block others
//! for good. Each stored delivery says whether such a drain may have sent it (`Delivery::sent`).

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::keys::{LEASE, LEASE_RACE};
use super::outbox::Records;
use super::splitter::{Entered, Splitter};
use crate::delivery::DeliveryId;
use crate::json;
use crate::ports::{Clock, KeyValue, Rng, StoreError};
use crate::store::codec_error;
use crate::time::Timestamp;

/// The stored form of a lease: versioned JSON.
#[derive(Debug, Serialize, Deserialize)]
struct StoredLease {
    v: u32,
    token: String,
    /// The end of the lease; the epoch once it is released.
    until: Timestamp,
    /// [`Scan::at`].
    scanned: Timestamp,
    /// [`Scan::summary`].
    #[serde(rename = "note", default, skip_serializing_if = "Option::is_none")]
    summary: Option<Box<RawValue>>,
    /// [`Scan::again`].
    #[serde(default)]
    again: bool,
}

/// The last scan of the keys. It is stored with the lease, so recording it costs no write of its own.
#[derive(Clone, Debug)]
pub(super) struct Scan {
    /// When it ended; the epoch if there was none.
    pub(super) at: Timestamp,
    /// The summary that the drain wrote, as JSON.
    pub(super) summary: Option<Box<RawValue>>,
    /// Whether the keys have to be scanned again soon. Also true if the last holder has not released the lease.
    pub(super) again: bool,
}

impl StoredLease {
    /// Decodes a lease; `None`, as if it were free, if the value is damaged or of a later version.
    fn read(bytes: &[u8]) -> Option<Self> {
        json::read(bytes).ok().filter(|lease: &Self| lease.v == 1)
    }

    /// Returns the last scan and the end of the lease. The end is the epoch if the lease is released.
    fn decode(bytes: Option<&[u8]>) -> (Scan, Timestamp) {
        let epoch = Timestamp(0);
        match bytes.and_then(Self::read) {
            Some(Self { until, scanned: at, summary, again, .. }) => {
                (Scan { at, summary, again: again || until > epoch }, until)
            }
            None => (Scan { at: epoch, summary: None, again: false }, epoch),
        }
    }
}

/// A lease that is held.
#[derive(Debug)]
pub(in crate::store) struct Lease {
    token: String,
    /// The end of the lease. No other drain can acquire it before.
    pub(super) until: Timestamp,
    /// The last scan of the keys, which is stored with the lease when that is released.
    pub(super) scan: Scan,
}

impl Scan {
    /// Reads the last scan and the end of the lease. Needs no settings: it is shown even if those are wrong.
    pub(super) async fn last(store: &impl KeyValue) -> Result<(Self, Timestamp), StoreError> {
        Ok(StoredLease::decode(store.get(LEASE).await?.as_deref()))
    }
}

impl<H: KeyValue + Clock + Rng> Records<'_, H> {
    /// Acquires the lease for `length`. Returns `None` if another drain holds it or contends for it.
    pub(super) async fn acquire_lease(&self, length: Duration) -> Result<Option<Lease>, StoreError> {
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
        let is_closed = |door: &[u8]| StoredLease::decode(Some(door)).1 > now;
        Ok(matches!(splitter.enter(self.host, is_closed).await?, Entered::Won).then_some(lease))
    }

    /// Releases the lease and stores its scan. Does nothing if the lease has ended: another drain may hold it by now.
    pub(super) async fn release_lease(&self, lease: Lease) -> Result<(), StoreError> {
        if self.host.now() >= lease.until {
            return Ok(());
        }
        self.host.set(LEASE, &lease.encode(Timestamp(0))?).await
    }
}

impl Lease {
    fn encode(&self, until: Timestamp) -> Result<Vec<u8>, StoreError> {
        let Scan { at: scanned, summary, again } = self.scan.clone();
        let lease = StoredLease { v: 1, token: self.token.clone(), until, scanned, summary, again };
        serde_json::to_vec(&lease).map_err(codec_error)
    }
}
