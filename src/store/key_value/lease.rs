//! The drain's lease: one drain runs at a time.
//!
//! The lease is a register that only the winner of a splitter writes, after it has looked at the lease once more. The
//! door of that splitter opens with the release of the lease whose holder has closed it, and by itself after
//! [`DOOR_CLOSED`], so a contender that dies blocks others for as long, and
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
use crate::store::{Sample, codec_error};
use crate::time::{MAX_CLOCK_SKEW, Timestamp};

/// The longest lease. One that ends later than this and [`MAX_CLOCK_SKEW`] from now was written by a clock that was
/// wrong.
pub(super) const LONGEST_LEASE: Duration = Duration::from_secs(15 * 60);

/// How long the door of the splitter stays closed.
const DOOR_CLOSED: Duration = Duration::from_secs(10);

/// A contender that has needed longer than this since it closed the door counts as a loser: the door may open again.
const ENTER_WITHIN: Duration = Duration::from_secs(5);

/// The interval between scans of the keys without a notification.
pub(super) const SCAN_INTERVAL: Duration = Duration::from_secs(15 * 60);

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
pub(super) struct Scan {
    /// When it ended; the epoch if there was none.
    pub(super) at: Timestamp,
    /// The summary that the drain wrote, as JSON.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) summary: Option<Box<RawValue>>,
    /// Whether the keys have to be scanned again soon. Also true if the last holder has not released the lease.
    #[serde(default)]
    pub(super) again: bool,
    /// Whether the pass has left work for the next one: to deliver, to sweep, or to upgrade.
    #[serde(default)]
    pub(super) more: bool,
    /// The earliest time at which something that was left is due; `None` if nothing is pending.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) next_due: Option<Timestamp>,
    /// When the keys have to be swept again, if registers of claims are left.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) next_sweep: Option<Timestamp>,
    /// Since when each event is still known, if the store has dropped outcomes before their retention was over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) known_since: Option<Timestamp>,
    /// Number of pending deliveries that were left.
    #[serde(default)]
    pub(super) pending: u64,
    /// The name of the last outcome that was looked at to be dropped (`ceiling.rs`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) cursor: Option<String>,
    /// When the notes about sources were swept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) notes_swept: Option<Timestamp>,
    /// The last sample.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) sample: Option<Sample>,
}

impl Default for Scan {
    fn default() -> Self {
        Self {
            at: Timestamp(0),
            summary: None,
            again: false,
            more: false,
            next_due: None,
            next_sweep: None,
            known_since: None,
            pending: 0,
            cursor: None,
            notes_swept: None,
            sample: None,
        }
    }
}

/// A lease that is held.
#[derive(Debug)]
pub(super) struct Lease {
    pub(super) token: String,
    /// The end of the lease. No other drain can acquire it before.
    pub(super) until: Timestamp,
    /// The note of the last scan, which is stored with the lease when that is released.
    pub(super) scan: Scan,
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
    pub(super) async fn last(host: &(impl KeyValue + Clock)) -> Result<(Self, Timestamp), StoreError> {
        let lease = host.get(LEASE).await?.and_then(|bytes| StoredLease::from_bytes(&bytes));
        Ok(Self::of(lease, host.now()))
    }

    /// The note of a lease, and its end.
    fn of(lease: Option<StoredLease>, now: Timestamp) -> (Self, Timestamp) {
        let Some(StoredLease { until, mut scan, .. }) = lease else { return (Self::default(), Timestamp(0)) };
        scan.again |= until > Timestamp(0);
        if scan.at > now.plus(MAX_CLOCK_SKEW) {
            scan.at = Timestamp(0);
        }
        let is_sane = until <= now.plus(LONGEST_LEASE).plus(MAX_CLOCK_SKEW);
        (scan, if is_sane { until } else { Timestamp(0) })
    }

    /// Whether a pass has something to do without a notification: something that was left is due or was never looked
    /// at, or the time for a scan has come.
    pub(super) fn is_due(&self, now: Timestamp) -> bool {
        let since = now.since(self.at);
        self.more
            || self.next_due.into_iter().chain(self.next_sweep).any(|due| due <= now)
            || since >= if self.again { SETTLE_TIME } else { SCAN_INTERVAL }
    }
}

impl<H: KeyValue + Clock + Rng> Outbox<'_, H> {
    /// Acquires the lease for `length`, at most [`LONGEST_LEASE`]. Returns `None` if another drain holds it or contends
    /// for it. Costs 4 reads and 3 writes; 1 read if another drain holds it.
    pub(super) async fn acquire_lease(&self, length: Duration) -> Result<Option<Lease>, StoreError> {
        let arrival = self.host.arrival_time();
        let now = arrival.at;
        let last = self.host.get(LEASE).await?.and_then(|bytes| StoredLease::from_bytes(&bytes));
        // Its holder is done, so the door that it has closed is open again.
        let released = last.as_ref().filter(|last| last.until == Timestamp(0)).map(|last| last.token.clone());
        if Scan::of(last, now).1 > now {
            return Ok(None);
        }
        let token = DeliveryId::new(arrival, self.host.random()).to_string();
        self.host.set(LEASE_RACE, token.as_bytes()).await?;
        let door: Option<Door> = self.host.get(LEASE_DOOR).await?.and_then(|bytes| json::read(&bytes).ok());
        let is_closed = |door: Door| {
            let is_recent = door.at <= now.plus(MAX_CLOCK_SKEW) && now.since(door.at) < DOOR_CLOSED;
            is_recent && released.as_ref() != Some(&door.token)
        };
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
    pub(super) async fn holds(&self, lease: &Lease) -> Result<bool, StoreError> {
        self.holds_until(&lease.token, lease.until).await
    }

    /// Whether the lease with this token and end is still held. Costs 1 read.
    pub(super) async fn holds_until(&self, token: &str, until: Timestamp) -> Result<bool, StoreError> {
        let stored = self.host.get(LEASE).await?.and_then(|bytes| StoredLease::from_bytes(&bytes));
        Ok(self.host.now() < until && stored.is_some_and(|stored| stored.token == token))
    }

    /// Releases the lease and stores its note. Does nothing if it isn't held any more: another drain may hold it by now.
    /// Costs 1 read and 1 write.
    pub(super) async fn release_lease(&self, lease: Lease) -> Result<(), StoreError> {
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
