//! Claims: which delivery of a key is sent.
//!
//! At most one contender wins a claim, whatever the interleaving, and a contender that runs alone wins (see
//! `store/splitter.rs`). It is possible that nobody wins: then, and when the winner is slow or dead, the other contenders
//! are stored as contended copies, and the drain, of which only one runs at a time, decides.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::keys::{self, Register};
use super::record::{OutcomeRecord, Settled};
use super::splitter::{Entered, Splitter};
use super::unwritable;
use crate::callback::{CallbackRecord, State};
use crate::delivery::{Delivery, Key, KeyClaim, StoredError, Work};
use crate::json;
use crate::ports::{Clock, KeyValue, StoreError};
use crate::reference::{RunRef, Topic};
use crate::time::{Retention, Timestamp};

/// A winner has to begin its send within this time, or it has lost after all: it may have been suspended for longer than
/// the other contenders wait.
pub const SEND_WITHIN: Duration = Duration::from_secs(5);

/// A contender that wrote `race` this recently is assumed to be still entering. Waiting for it avoids that both lose. Only
/// a performance heuristic.
const ENTERING: Duration = Duration::from_millis(500);

/// The first and the longest pause between two looks at another's claim; each pause is twice the one before.
const POLL_INTERVAL: [Duration; 2] = [Duration::from_millis(5), Duration::from_millis(160)];

/// The claims of idempotency keys, and the records of those that are settled.
#[derive(Debug)]
pub struct Claims<'a, H> {
    pub(super) host: &'a H,
    pub(super) retention: Retention,
}

impl<'a, H> Claims<'a, H> {
    /// The claims in a host's store, which keeps records for `retention`.
    pub fn new(host: &'a H, retention: Retention) -> Self {
        Self { host, retention }
    }
}

/// The result of a claim.
#[derive(Debug)]
pub enum Claim {
    /// The delivery is to be sent.
    Won(Won),
    /// An earlier delivery of the key was accepted.
    Settled(Settled),
    /// Another contender may hold the key, may have died holding it, or nobody won. These can't be told apart.
    Contended {
        /// The retention window of the claim.
        window: u64,
    },
}

/// A claim that was won.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Won {
    /// The retention window of the claim.
    pub window: u64,
    /// The time by which the send has to begin.
    pub until: Timestamp,
}

/// The value of `race` and of a closed `door`.
#[derive(Debug, Serialize, Deserialize)]
struct Contender {
    v: u32,
    /// The contender's name.
    by: String,
    /// When it was written.
    at: Timestamp,
    /// In the door of a callback: the callback, so that it is stored before it is sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    callback: Option<CallbackRecord>,
}

impl Contender {
    const VERSION: u32 = 1;

    /// `None` if the value is damaged, or of a later version.
    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        json::read(bytes).ok().filter(|contender: &Self| contender.v == Self::VERSION)
    }

    fn to_bytes(&self) -> Result<Vec<u8>, StoreError> {
        serde_json::to_vec(self).map_err(unwritable)
    }

    /// Whether it may still be on its way from `race` to `door`.
    fn is_entering(race: &[u8], now: Timestamp) -> bool {
        Self::from_bytes(race).is_some_and(|contender| now.since(contender.at) < ENTERING)
    }
}

/// What waiting for another's claim came to.
enum Waited {
    Settled(Settled),
    /// Nobody holds the key.
    Free,
    TimedOut,
}

impl<H: KeyValue + Clock> Claims<'_, H> {
    /// Claims a key for a delivery, and waits up to `patience` for the outcome of another contender.
    ///
    /// Costs 4 reads and 2 writes for a key that nobody has claimed, and 2 reads for one that is settled.
    pub async fn claim(&self, delivery: &Delivery<'_>, key: &Key, patience: Duration) -> Result<Claim, StoreError> {
        let started = self.host.now();
        let mut round = 0_u32;
        loop {
            // The splitter needs a name that was never used before.
            let name = format!("{}/{round}", delivery.id);
            let window = match self.contend(delivery, key, name).await? {
                Claim::Contended { window } => window,
                claim => return Ok(claim),
            };
            match self.await_outcome(delivery, key, window, patience, started.plus(patience)).await? {
                Waited::Free => round = round.saturating_add(1),
                Waited::TimedOut => return Ok(Claim::Contended { window }),
                Waited::Settled(settled) => return Ok(Claim::Settled(settled)),
            }
        }
    }

    async fn contend(&self, delivery: &Delivery<'_>, key: &Key, name: String) -> Result<Claim, StoreError> {
        let now = self.host.now();
        let [present, previous] = self.retention.lookup(now);
        let race = Register::Race.of(key, present);
        // Read right before it is written, so that a contender which would be overwritten is seen.
        if let Some(last) = self.host.get(&race).await? {
            for window in [present, previous] {
                if let Some(settled) = self.read_record(&delivery.work, key, window).await? {
                    return Ok(Claim::Settled(settled));
                }
            }
            if Contender::is_entering(&last, now) {
                return Ok(Claim::Contended { window: present });
            }
        }
        let mut contender = Contender { v: Contender::VERSION, by: name, at: now, callback: None };
        let name = contender.to_bytes()?;
        contender.callback = match &delivery.work {
            Work::Start(_) => None,
            Work::Resolve(callback) => Some(CallbackRecord::pending(delivery.id, callback, delivery.received)),
        };
        let splitter = Splitter {
            race: &race,
            door: &Register::Door.of(key, present),
            earlier_door: Some(&Register::Door.of(key, previous)),
            name: &name,
            closed: &contender.to_bytes()?,
        };
        match splitter.enter(self.host, |_| true).await? {
            Entered::Earlier => {
                let settled = self.read_record(&delivery.work, key, previous).await?;
                Ok(settled.map_or(Claim::Contended { window: previous }, Claim::Settled))
            }
            Entered::Lost => Ok(Claim::Contended { window: present }),
            Entered::Won => {
                // Near the boundary of two windows another contender may have entered in the other one. Each looks at the
                // other's door after it has closed its own, so at least one of two sees the other.
                if let Some(neighbour) = self.retention.neighbour(now)
                    && self.host.exists(&Register::Door.of(key, neighbour)).await?
                {
                    return Ok(Claim::Contended { window: neighbour.min(present) });
                }
                Ok(Claim::Won(Won { window: present, until: now.plus(SEND_WITHIN) }))
            }
        }
    }

    async fn await_outcome(
        &self,
        delivery: &Delivery<'_>,
        key: &Key,
        window: u64,
        patience: Duration,
        until: Timestamp,
    ) -> Result<Waited, StoreError> {
        let [mut pause, longest] = POLL_INTERVAL;
        loop {
            if let Some(settled) = self.read_record(&delivery.work, key, window).await? {
                return Ok(Waited::Settled(settled));
            }
            let now = self.host.now();
            match self.host.get(&Register::Door.of(key, window)).await? {
                Some(door) => {
                    // A winner that is alive has recorded its outcome by then, or that it is pending.
                    let longest_wait = patience.saturating_add(SEND_WITHIN);
                    if Contender::from_bytes(&door).is_none_or(|winner| now.since(winner.at) > longest_wait) {
                        return Ok(Waited::TimedOut);
                    }
                }
                // The winner was rejected and has released the key, or the last contender never closed the door.
                None => {
                    let race = self.host.get(&Register::Race.of(key, window)).await?;
                    if !race.is_some_and(|race| Contender::is_entering(&race, now)) {
                        return Ok(Waited::Free);
                    }
                }
            }
            let left = until.since(now);
            if left.is_zero() {
                return Ok(Waited::TimedOut);
            }
            self.host.sleep(pause.min(left)).await;
            pause = pause.saturating_mul(2).min(longest);
        }
    }

    /// Reads a record while a claim is made: one that can't be read is a failure of the store.
    async fn read_record(&self, work: &Work<'_>, key: &Key, window: u64) -> Result<Option<Settled>, StoreError> {
        let bytes = self.host.get(&Register::Record.of(key, window)).await?;
        bytes.map(|bytes| Settled::from_bytes(work, &bytes).map_err(unwritable)).transpose()
    }

    /// Looks for the record of a stored delivery's key, in its own window and in those that are looked up now. The inner
    /// error is a record that can't be read.
    pub async fn settled(&self, delivery: &Delivery<'_>) -> Result<Option<Result<Settled, StoredError>>, StoreError> {
        let Some(KeyClaim { key, window, .. }) = &delivery.claim else { return Ok(None) };
        let others = self.retention.lookup(self.host.now()).into_iter().filter(|other| other != window);
        for window in std::iter::once(*window).chain(others) {
            if let Some(bytes) = self.host.get(&Register::Record.of(key, window)).await? {
                return Ok(Some(Settled::from_bytes(&delivery.work, &bytes)));
            }
        }
        Ok(None)
    }

    /// Reads the record of a stored delivery's key in the window of its claim. The inner error is a record that can't be
    /// read.
    pub async fn own_record(
        &self,
        delivery: &Delivery<'_>,
    ) -> Result<Option<Result<Settled, StoredError>>, StoreError> {
        let Some(KeyClaim { key, window, .. }) = &delivery.claim else { return Ok(None) };
        let bytes = self.host.get(&Register::Record.of(key, *window)).await?;
        Ok(bytes.map(|bytes| Settled::from_bytes(&delivery.work, &bytes)))
    }

    /// The callback of a winner that died after it closed the door, if it differs from this contended one. It may have
    /// been sent, so it has to be delivered before this one is answered.
    pub async fn first_callback(&self, delivery: &Delivery<'_>) -> Result<Option<Delivery<'static>>, StoreError> {
        let (Work::Resolve(_), Some(KeyClaim { key, window, contended: true })) = (&delivery.work, &delivery.claim)
        else {
            return Ok(None);
        };
        let door = self.host.get(&Register::Door.of(key, *window)).await?;
        let record = door.as_deref().and_then(Contender::from_bytes).and_then(|winner| winner.callback);
        let Some(record) = record.filter(|record| record.digest != key.digest()) else { return Ok(None) };
        let callback = record.callback();
        let key = Key::callback(&callback);
        let mut first = Delivery::new(record.id, Work::Resolve(callback), delivery.trace.clone(), record.received);
        first.claim = Some(KeyClaim { key, window: *window, contended: true });
        Ok(Some(first))
    }

    /// Records that a delivery is pending, to answer duplicates.
    pub async fn record_pending(&self, delivery: &Delivery<'_>) -> Result<(), StoreError> {
        self.record(delivery, |key| match &delivery.work {
            Work::Start(_) => OutcomeRecord::pending(delivery.id, key.digest(), self.host.now()).to_bytes(),
            Work::Resolve(callback) => {
                CallbackRecord::pending(delivery.id, callback, delivery.received).to_bytes().map_err(|_| StoredError)
            }
        })
        .await
    }

    /// Records that a delivery is delivered, with the engine's response.
    pub async fn record_delivered(&self, delivery: &Delivery<'_>, body: &[u8]) -> Result<(), StoreError> {
        self.record(delivery, |key| match &delivery.work {
            Work::Start(_) => OutcomeRecord::delivered(delivery.id, key.digest(), body, self.host.now()).to_bytes(),
            Work::Resolve(callback) => {
                let mut record = CallbackRecord::pending(delivery.id, callback, delivery.received);
                record.state = State::Delivered;
                record.to_bytes().map_err(|_| StoredError)
            }
        })
        .await
    }

    async fn record(
        &self,
        delivery: &Delivery<'_>,
        bytes: impl FnOnce(&Key) -> Result<Vec<u8>, StoredError>,
    ) -> Result<(), StoreError> {
        let Some(KeyClaim { key, window, .. }) = &delivery.claim else { return Ok(()) };
        let bytes = bytes(key).map_err(unwritable)?;
        self.host.set(&Register::Record.of(key, *window), &bytes).await
    }

    /// Releases a claim that came to nothing and of which nothing is stored. Only the winner may do so.
    pub async fn release(&self, delivery: &Delivery<'_>) -> Result<(), StoreError> {
        let Some(KeyClaim { key, window, .. }) = &delivery.claim else { return Ok(()) };
        self.host.delete(&Register::Door.of(key, *window)).await
    }

    /// Forgets the record of a delivery's key and releases it: the same delivery may come again as if it were new.
    pub async fn forget_key(&self, delivery: &Delivery<'_>) -> Result<(), StoreError> {
        let Some(KeyClaim { key, window, .. }) = &delivery.claim else { return Ok(()) };
        self.host.delete(&Register::Record.of(key, *window)).await?;
        self.release(delivery).await
    }

    /// The callback that was accepted for a run and topic. The inner error is a record that can't be read.
    pub async fn callback(
        &self,
        run: &RunRef,
        topic: &Topic,
    ) -> Result<Option<Result<CallbackRecord, StoredError>>, StoreError> {
        let key = Key::of_callbacks(run, topic);
        for window in self.retention.lookup(self.host.now()) {
            if let Some(bytes) = self.host.get(&Register::Record.of(&key, window)).await? {
                return Ok(Some(CallbackRecord::from_bytes(&bytes).map_err(|_| StoredError)));
            }
            // One that is being sent right now.
            if let Some(door) = self.host.get(&Register::Door.of(&key, window)).await?
                && let Some(record) = Contender::from_bytes(&door).and_then(|winner| winner.callback)
            {
                return Ok(Some(Ok(record)));
            }
        }
        Ok(None)
    }

    /// All callbacks of a run that were accepted, in order of arrival. Lists all keys of the store.
    pub async fn callbacks(&self, run: &RunRef) -> Result<Result<Vec<CallbackRecord>, StoredError>, StoreError> {
        let names = self.host.keys().await?;
        let mut records = Vec::new();
        for window in self.retention.lookup(self.host.now()) {
            let prefix = keys::callbacks(run, window);
            for name in names.iter().filter(|name| name.starts_with(&prefix)) {
                match self.host.get(name).await?.map(|bytes| CallbackRecord::from_bytes(&bytes)) {
                    Some(Ok(record)) => records.push(record),
                    Some(Err(_)) => return Ok(Err(StoredError)),
                    None => {}
                }
            }
        }
        records.sort_by_key(|record| (record.received, record.id));
        Ok(Ok(records))
    }
}
