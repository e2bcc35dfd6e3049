//! The drain's lease: one drain runs at a time.
//!
//! The lease is a register that only the winner of a splitter writes, after it has looked at the lease once more. The
//! door of that splitter opens by itself after [`DOOR_CLOSED`], so a contender that dies blocks others for as long, and
//! one that loses never touches the lease. A drain that dies blocks others until its lease ends.
//!
//! Time decides when the door and the lease are open again, so the splitter alone can't rule out two drains: one may stall
//! right before it writes the lease, until another has written its own. Therefore a drain looks at the lease right before
//! each send ([`Outbox::holds`]), and each stored delivery says whether it may have been sent (`Delivery::sent`).
//!
//! A time that is further ahead than the clocks permit counts as none: a host whose clock was a day ahead stops nothing.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::names::{LEASE, LEASE_DOOR, LEASE_RACE};
use super::outbox::Outbox;
use crate::delivery::DeliveryId;
use crate::json;
use crate::ports::{Clock, KeyValue, Rng, StoreError};
use crate::store::codec_error;
use crate::time::{MAX_CLOCK_SKEW, Timestamp};

/// The longest lease. One that ends later than this and [`MAX_CLOCK_SKEW`] from now was written by a clock that was
/// wrong.
pub const LONGEST_LEASE: Duration = Duration::from_secs(15 * 60);

/// How long the door of the splitter stays closed.
const DOOR_CLOSED: Duration = Duration::from_secs(10);

/// A contender that has needed longer than this since it closed the door counts as a loser: the door may open again.
const ENTER_WITHIN: Duration = Duration::from_secs(5);

/// The interval between scans of the keys without a notification.
const SCAN_INTERVAL: Duration = Duration::from_secs(15 * 60);

/// How long after a pass with a notification the keys are scanned again. On a store with stale reads, a request may
/// have found a notification that the pass had already deleted.
const SETTLE_TIME: Duration = Duration::from_secs(30);

/// The stored form of a lease: versioned JSON.
#[derive(Debug, Serialize, Deserialize)]
struct StoredLease {
    v: u32,
    token: String,
    /// The end of the lease; the epoch once it is released.
    until: Timestamp,
    scan: Scan,
}

/// The value of the door.
#[derive(Debug, Serialize, Deserialize)]
struct Door {
    token: String,
    /// When it was closed.
    at: Timestamp,
}

/// The note of the last scan of the keys. It is stored with the lease, so recording it costs no write of its own.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Scan {
    /// When it ended; the epoch if there was none.
    pub at: Timestamp,
    /// The summary that the drain wrote, as JSON.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub summary: Option<Box<RawValue>>,
    /// Whether the keys have to be scanned again soon. Also true if the last holder has not released the lease.
    #[serde(default)]
    pub again: bool,
    /// Whether the pass has left work for the next one: to deliver, to sweep, or to upgrade.
    #[serde(default)]
    pub more: bool,
    /// The earliest time at which something that was left is due; `None` if nothing is pending.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_due: Option<Timestamp>,
    /// Since when each event is still known, if the store has dropped outcomes before their retention was over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub known_since: Option<Timestamp>,
    /// The width of the drain, as JSON.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub width: Option<Box<RawValue>>,
    /// The name of the last outcome that was looked at to be dropped (`ceiling.rs`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) cursor: Option<String>,
}

impl Default for Scan {
    fn default() -> Self {
        Self {
            at: Timestamp(0),
            summary: None,
            again: false,
            more: false,
            next_due: None,
            known_since: None,
            width: None,
            cursor: None,
        }
    }
}

/// A lease that is held.
#[derive(Debug)]
pub struct Lease {
    token: String,
    /// The end of the lease. No other drain can acquire it before.
    pub until: Timestamp,
    /// The note of the last scan, which is stored with the lease when that is released.
    pub scan: Scan,
}

impl StoredLease {
    const VERSION: u32 = 1;

    /// Decodes a lease; `None`, as if it were free, if the value is damaged or of a later version.
    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        json::read(bytes).ok().filter(|lease: &Self| lease.v == Self::VERSION)
    }
}

impl Scan {
    /// Reads the note of the last scan and the end of the lease, which is the epoch if no drain holds it. Needs no
    /// settings: it is shown even if those are wrong. Costs 1 read.
    pub async fn last(host: &(impl KeyValue + Clock)) -> Result<(Self, Timestamp), StoreError> {
        let lease = host.get(LEASE).await?.and_then(|bytes| StoredLease::from_bytes(&bytes));
        let Some(StoredLease { until, mut scan, .. }) = lease else { return Ok((Self::default(), Timestamp(0))) };
        let now = host.now();
        scan.again |= until > Timestamp(0);
        if scan.at > now.plus(MAX_CLOCK_SKEW) {
            scan.at = Timestamp(0);
        }
        let is_sane = until <= now.plus(LONGEST_LEASE).plus(MAX_CLOCK_SKEW);
        Ok((scan, if is_sane { until } else { Timestamp(0) }))
    }

    /// Whether a pass has something to do without a notification: something that was left is due or was never looked
    /// at, or the time for a scan has come.
    pub fn is_due(&self, now: Timestamp) -> bool {
        let since = now.since(self.at);
        self.more
            || self.next_due.is_some_and(|due| due <= now)
            || since >= if self.again { SETTLE_TIME } else { SCAN_INTERVAL }
    }
}

impl<H: KeyValue + Clock + Rng> Outbox<'_, H> {
    /// Acquires the lease for `length`, at most [`LONGEST_LEASE`]. Returns `None` if another drain holds it or contends
    /// for it. Costs 4 reads and 3 writes; 1 read if another drain holds it.
    pub async fn acquire_lease(&self, length: Duration) -> Result<Option<Lease>, StoreError> {
        let arrival = self.host.arrival_time();
        let now = arrival.at;
        if Scan::last(self.host).await?.1 > now {
            return Ok(None);
        }
        let token = DeliveryId::new(arrival, self.host.random()).to_string();
        self.host.set(LEASE_RACE, token.as_bytes()).await?;
        let door: Option<Door> = self.host.get(LEASE_DOOR).await?.and_then(|bytes| json::read(&bytes).ok());
        let is_closed = |door: Door| door.at <= now.plus(MAX_CLOCK_SKEW) && now.since(door.at) < DOOR_CLOSED;
        if door.is_some_and(is_closed) {
            return Ok(None);
        }
        let door = Door { token: token.clone(), at: now };
        self.host.set(LEASE_DOOR, &serde_json::to_vec(&door).map_err(codec_error)?).await?;
        if self.host.get(LEASE_RACE).await?.as_deref() != Some(token.as_bytes()) {
            return Ok(None);
        }
        // Once more: another drain may have had it meanwhile. Its note is the last one.
        let (scan, until) = Scan::last(self.host).await?;
        let begun = self.host.now();
        if until > begun || begun.since(now) >= ENTER_WITHIN {
            return Ok(None);
        }
        let lease = Lease { token, until: begun.plus(length.min(LONGEST_LEASE)), scan };
        self.host.set(LEASE, &lease.encode(lease.until)?).await?;
        Ok(Some(lease))
    }

    /// Whether a lease is still held: not ended, and not overwritten by another drain. Read right before each send.
    /// Costs 1 read.
    pub async fn holds(&self, lease: &Lease) -> Result<bool, StoreError> {
        let stored = self.host.get(LEASE).await?.and_then(|bytes| StoredLease::from_bytes(&bytes));
        Ok(self.host.now() < lease.until && stored.is_some_and(|stored| stored.token == lease.token))
    }

    /// Releases the lease and stores its note. Does nothing if it isn't held any more: another drain may hold it by now.
    /// Costs 1 read and 1 write.
    pub async fn release_lease(&self, lease: Lease) -> Result<(), StoreError> {
        if !self.holds(&lease).await? {
            return Ok(());
        }
        self.host.set(LEASE, &lease.encode(Timestamp(0))?).await
    }
}

impl Lease {
    fn encode(&self, until: Timestamp) -> Result<Vec<u8>, StoreError> {
        let lease = StoredLease { v: StoredLease::VERSION, token: self.token.clone(), until, scan: self.scan.clone() };
        serde_json::to_vec(&lease).map_err(codec_error)
    }
}
