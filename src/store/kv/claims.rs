//! Claims: which delivery of an idempotency key is sent.
//!
//! At most one contender wins a claim, in any interleaving, and a contender that runs alone wins (`store/splitter.rs`).
//! If several run at once, it is possible that all of them lose.
//!
//! ```text
//! claim ──▶ Won        the delivery is sent; its outcome is recorded, or the key released
//!       ├─▶ Settled    an earlier delivery has a record: the sender gets its outcome
//!       └─▶ Contended  all contenders lost, or the winner is slow or dead: the delivery is stored for the drain
//! ```
//!
//! Only one drain runs at a time, so it can decide which contended delivery is sent.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::keys::{self, Register};
use super::splitter::{Entered, Splitter};
use crate::callback::{CallbackRecord, State, run_id_hash, topic_hash};
use crate::delivery::{Delivery, DeliveryId, Key, KeyClaim, StoredError, Work};
use crate::json;
use crate::ports::{Clock, KeyValue, StoreError};
use crate::reference::{RunRef, Topic};
use crate::store::record::callback_record;
use crate::store::{CallbackPage, Holder, OutcomeRecord, RunRecord, SEND_WITHIN, Settled, codec_error};
use crate::time::{Retention, Timestamp};

/// How long a contender that has written `race` is assumed to be still entering. Waiting for it makes it less likely
/// that both lose; that at most one wins doesn't depend on it.
const ENTERING_TIME: Duration = Duration::from_millis(500);

/// The first and the longest pause between two reads of another contender's claim. Each pause is twice as long as the
/// one before.
const POLL_PAUSES: [Duration; 2] = [Duration::from_millis(5), Duration::from_millis(160)];

/// The claims of idempotency keys, and the records of those that are settled.
#[derive(Debug)]
pub(super) struct KeyClaims<'a, H> {
    pub(super) host: &'a H,
    pub(super) retention: Retention,
    pub(super) callback_retention: Retention,
}

impl<'a, H> KeyClaims<'a, H> {
    /// The claims in a host's store, which keeps records for `retention`.
    pub(super) fn new(host: &'a H, retention: Retention) -> Self {
        Self { host, retention, callback_retention: retention }
    }

    /// Keeps the records of callbacks for another time.
    pub(super) fn with_callback_retention(self, callback_retention: Retention) -> Self {
        Self { callback_retention, ..self }
    }

    /// The retention of a key's record.
    pub(super) fn retention_of(&self, key: &Key) -> Retention {
        let is_of_callback = key.is_callback() && !key.is_of_first_release();
        if is_of_callback { self.callback_retention } else { self.retention }
    }
}

/// The result of a claim.
#[derive(Debug)]
pub(super) enum Contest {
    /// The delivery has to be sent now.
    Won(Won),
    /// An earlier delivery of the key was accepted; this is its record.
    Settled(Settled),
    /// Another contender holds the key or has died holding it, or all contenders lost. The store can't tell these cases
    /// apart.
    Contended {
        /// The retention window of the claim.
        window: u64,
    },
}

/// A claim that was won.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Won {
    /// The retention window of the claim.
    pub(super) window: u64,
    /// The time by which sending has to begin, by the monotonic clock.
    pub(super) until: Duration,
}

/// The value of `race` and of a closed `door`.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Contender {
    v: u32,
    /// The contender's name.
    by: String,
    /// When it was written.
    pub(super) at: Timestamp,
    /// In the door of a callback's claim: the callback, which is thereby stored before it is sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) callback: Option<CallbackRecord>,
}

impl Contender {
    const VERSION: u32 = 1;

    /// Decodes a value; `None` if it is damaged or of a later version.
    pub(super) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        json::read(bytes).ok().filter(|contender: &Self| contender.v == Self::VERSION)
    }

    /// The contender of a delivery that was moved here.
    pub(super) fn imported(id: DeliveryId, at: Timestamp) -> Self {
        Self { v: Self::VERSION, by: id.to_string(), at, callback: None }
    }

    pub(super) fn to_bytes(&self) -> Result<Vec<u8>, StoreError> {
        serde_json::to_vec(self).map_err(codec_error)
    }

    /// Whether the contender that wrote this value of `race` may not have reached `door` yet.
    fn is_entering(race: &[u8], now: Timestamp) -> bool {
        Self::from_bytes(race).is_some_and(|contender| now.since(contender.at) < ENTERING_TIME)
    }
}

/// The result of waiting for another contender.
enum Waited {
    Settled(Settled),
    /// No contender holds the key.
    Free,
    TimedOut,
}

impl<H: KeyValue + Clock> KeyClaims<'_, H> {
    /// Claims a key for a delivery. If another contender holds the key, waits up to `patience` for its outcome.
    ///
    /// Costs 4 reads and 2 writes for a key without a claim, and 2 reads for one that was settled in the current
    /// window.
    pub(super) async fn claim(
        &self,
        delivery: &Delivery<'_>,
        key: &Key,
        patience: Duration,
    ) -> Result<Contest, StoreError> {
        let started = self.host.now();
        let mut round = 0_u32;
        loop {
            // The splitter needs a name that was never used before, also not by this delivery in an earlier attempt.
            let begun = self.host.arrival_time();
            let name = format!("{}/{}.{:06}/{round}", delivery.id, begun.at.0, begun.nanoseconds);
            let window = match self.contend(delivery, key, name).await? {
                Contest::Contended { window } => window,
                decided => return Ok(decided),
            };
            match self.await_outcome(delivery, key, window, patience, started.plus(patience)).await? {
                Waited::Free => round = round.saturating_add(1),
                Waited::TimedOut => return Ok(Contest::Contended { window }),
                Waited::Settled(settled) => return Ok(Contest::Settled(settled)),
            }
        }
    }

    async fn contend(&self, delivery: &Delivery<'_>, key: &Key, name: String) -> Result<Contest, StoreError> {
        let (now, begun) = (self.host.now(), self.host.monotonic());
        let retention = self.retention_of(key);
        let [present, previous] = retention.lookup(now);
        let race = Register::Race.of(key, present);
        // Read right before it is written, to notice a contender whose name would be overwritten.
        if let Some(last) = self.host.get(&race).await? {
            for window in [present, previous] {
                if let Some(settled) = self.read_record(&delivery.work, key, window).await? {
                    return Ok(Contest::Settled(settled));
                }
            }
            if Contender::is_entering(&last, now) {
                return Ok(Contest::Contended { window: present });
            }
        }
        let mut contender = Contender { v: Contender::VERSION, by: name, at: now, callback: None };
        let name = contender.to_bytes()?;
        contender.callback = match &delivery.work {
            Work::Start(_) => None,
            Work::Resolve(callback) => Some(callback_record(delivery, callback)),
        };
        let splitter = Splitter {
            race: &race,
            door: &Register::Door.of(key, present),
            earlier_door: Some(&Register::Door.of(key, previous)),
            name: &name,
            closed: &contender.to_bytes()?,
        };
        match splitter.enter(self.host, |_| true).await? {
            Entered::EarlierDoorClosed => {
                let settled = self.read_record(&delivery.work, key, previous).await?;
                Ok(settled.map_or(Contest::Contended { window: previous }, Contest::Settled))
            }
            Entered::Lost => Ok(Contest::Contended { window: present }),
            Entered::Won => {
                // Near the boundary of two windows, another contender may have entered in the other window. Each checks
                // the other's door after it has closed its own, so at least one of the two finds the other.
                if let Some(neighbour) = retention.neighbour(now)
                    && self.host.exists(&Register::Door.of(key, neighbour)).await?
                {
                    return Ok(Contest::Contended { window: neighbour.min(present) });
                }
                Ok(Contest::Won(Won { window: present, until: begun.saturating_add(SEND_WITHIN) }))
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
        let [mut pause, longest] = POLL_PAUSES;
        loop {
            if let Some(settled) = self.read_record(&delivery.work, key, window).await? {
                return Ok(Waited::Settled(settled));
            }
            let now = self.host.now();
            match self.host.get(&Register::Door.of(key, window)).await? {
                Some(door) => {
                    // By then, a winner that is alive has recorded its outcome, or that its delivery is pending.
                    let longest_wait = patience.saturating_add(SEND_WITHIN);
                    if Contender::from_bytes(&door).is_none_or(|winner| now.since(winner.at) > longest_wait) {
                        return Ok(Waited::TimedOut);
                    }
                }
                // The winner was rejected and has released the key, or the last contender has not closed the door.
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

    /// Reads the record of a key in one window. One that can't be decoded is a failure of the store: nothing else tells
    /// whether the key may be claimed.
    async fn read_record(&self, work: &Work<'_>, key: &Key, window: u64) -> Result<Option<Settled>, StoreError> {
        let bytes = self.host.get(&Register::Record.of(key, window)).await?;
        bytes.map(|bytes| Settled::from_bytes(work, &bytes).map_err(codec_error)).transpose()
    }

    /// Reads the record of a key in the current and the previous window.
    pub(super) async fn record_of(&self, work: &Work<'_>, key: &Key) -> Result<Option<Settled>, StoreError> {
        for window in self.retention_of(key).lookup(self.host.now()) {
            if let Some(settled) = self.read_record(work, key, window).await? {
                return Ok(Some(settled));
            }
        }
        Ok(None)
    }

    /// Returns the callback of the contender that holds a key.
    pub(super) async fn holder(&self, key: &Key) -> Result<Option<Holder>, StoreError> {
        for window in self.retention_of(key).lookup(self.host.now()) {
            let door = self.host.get(&Register::Door.of(key, window)).await?;
            if let Some(Contender { at, callback: Some(record), .. }) = door.as_deref().and_then(Contender::from_bytes)
            {
                return Ok(Some(Holder { age: self.host.now().since(at), window, record }));
            }
        }
        Ok(None)
    }

    /// Records that the callback of a key's holder was delivered.
    pub(super) async fn settle_holder(&self, key: &Key, holder: Holder) -> Result<Settled, StoreError> {
        let settled = holder.delivered();
        let bytes = settled.to_bytes().map_err(codec_error)?;
        self.host.set(&Register::Record.of(key, holder.window), &bytes).await?;
        Ok(Settled::Callback(settled))
    }

    /// Looks up the record of a stored delivery's key: in the window of its claim, then in the current and the previous
    /// window. The inner error is a record that can't be decoded.
    pub(super) async fn settled(
        &self,
        delivery: &Delivery<'_>,
    ) -> Result<Option<Result<Settled, StoredError>>, StoreError> {
        let Some(KeyClaim { key, window, .. }) = &delivery.claim else { return Ok(None) };
        let others = self.retention_of(key).lookup(self.host.now()).into_iter().filter(|other| other != window);
        for window in std::iter::once(*window).chain(others) {
            if let Some(bytes) = self.host.get(&Register::Record.of(key, window)).await? {
                let settled = Settled::from_bytes(&delivery.work, &bytes);
                // Release 0.1 did not know the task: once its callback is delivered, the run may wait for the topic again.
                if !key.is_of_first_release() || !settled.as_ref().is_ok_and(Settled::is_delivered) {
                    return Ok(Some(settled));
                }
            }
        }
        Ok(None)
    }

    /// Reads the record of a stored delivery's key in the window of its claim only. The inner error is a record that
    /// can't be decoded.
    pub(super) async fn own_record(
        &self,
        delivery: &Delivery<'_>,
    ) -> Result<Option<Result<Settled, StoredError>>, StoreError> {
        let Some(KeyClaim { key, window, .. }) = &delivery.claim else { return Ok(None) };
        let bytes = self.host.get(&Register::Record.of(key, *window)).await?;
        Ok(bytes.map(|bytes| Settled::from_bytes(&delivery.work, &bytes)))
    }

    /// Records that a delivery is pending, to answer duplicates.
    pub(super) async fn record_pending(&self, delivery: &Delivery<'_>) -> Result<(), StoreError> {
        self.record(delivery, |key| match &delivery.work {
            Work::Start(_) => OutcomeRecord::pending(delivery.id, key.digest(), self.host.now()).to_bytes(),
            Work::Resolve(callback) => callback_record(delivery, callback).to_bytes().map_err(|_| StoredError),
        })
        .await
    }

    /// Records that a delivery was delivered, with the engine's response as `body`.
    pub(super) async fn record_delivered(&self, delivery: &Delivery<'_>, body: &[u8]) -> Result<(), StoreError> {
        self.record(delivery, |key| match &delivery.work {
            Work::Start(_) => OutcomeRecord::delivered(delivery.id, key.digest(), body, self.host.now()).to_bytes(),
            Work::Resolve(callback) => {
                let mut record = callback_record(delivery, callback);
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
        let bytes = bytes(key).map_err(codec_error)?;
        self.host.set(&Register::Record.of(key, *window), &bytes).await
    }

    /// Opens the door of a delivery's claim: the key can be claimed again. For a winner whose delivery was neither
    /// accepted nor stored, and for [`forget_key`](Self::forget_key).
    pub(super) async fn release(&self, delivery: &Delivery<'_>) -> Result<(), StoreError> {
        let Some(KeyClaim { key, window, .. }) = &delivery.claim else { return Ok(()) };
        self.host.delete(&Register::Door.of(key, *window)).await
    }

    /// Releases the claim of run and topic that a callback has held since before its task was known. Does nothing if it
    /// holds none, or if another callback holds it by now. One that was sent without a look keeps its claim: no task has
    /// its record.
    pub(super) async fn release_early(&self, delivery: &Delivery<'_>) -> Result<(), StoreError> {
        let early = delivery.early_window.filter(|_| !delivery.unseen);
        let (Some(window), Work::Resolve(callback)) = (early, &delivery.work) else { return Ok(()) };
        let key = Key::early(callback);
        let record = self.host.get(&Register::Record.of(&key, window)).await?;
        let record = record.and_then(|bytes| CallbackRecord::from_bytes(&bytes).ok());
        if record.is_some_and(|record| record.id != delivery.id) {
            return Ok(());
        }
        self.host.delete(&Register::Record.of(&key, window)).await?;
        self.host.delete(&Register::Door.of(&key, window)).await
    }

    /// Deletes the record of a delivery's key and releases the key: the same delivery is accepted again as if it were
    /// new.
    pub(super) async fn forget_key(&self, delivery: &Delivery<'_>) -> Result<(), StoreError> {
        let Some(KeyClaim { key, window, .. }) = &delivery.claim else { return Ok(()) };
        self.host.delete(&Register::Record.of(key, *window)).await?;
        self.release(delivery).await
    }

    /// Deletes a callback's own record, and releases its claim if it has won that.
    pub(super) async fn forget_callback(&self, delivery: &Delivery<'_>) -> Result<(), StoreError> {
        let Some(KeyClaim { key, window, contended }) = &delivery.claim else { return Ok(()) };
        if let Some(Ok(settled)) = self.own_record(delivery).await?
            && settled.id() == delivery.id
        {
            self.host.delete(&Register::Record.of(key, *window)).await?;
        }
        if *contended { Ok(()) } else { self.release(delivery).await }
    }

    /// Reads the record of a run.
    pub(super) async fn run(&self, run: &str) -> Result<Option<RunRecord>, StoreError> {
        self.run_named(&run_id_hash(run)).await
    }

    /// Reads the record of the run with this hash.
    pub(super) async fn run_named(&self, run: &str) -> Result<Option<RunRecord>, StoreError> {
        for window in self.callback_retention.lookup(self.host.now()) {
            if let Some(bytes) = self.host.get(&keys::run(run, window)).await? {
                return Ok(RunRecord::from_bytes(&bytes));
            }
        }
        Ok(None)
    }

    /// Writes the record of a run.
    pub(super) async fn record_run(&self, run: &str, record: &RunRecord) -> Result<(), StoreError> {
        self.record_run_named(&run_id_hash(run), record).await
    }

    /// Writes the record of the run with this hash.
    pub(super) async fn record_run_named(&self, run: &str, record: &RunRecord) -> Result<(), StoreError> {
        let bytes = serde_json::to_vec(record).map_err(codec_error)?;
        let window = self.callback_retention.window(self.host.now());
        self.host.set(&keys::run(run, window), &bytes).await
    }

    /// Returns callbacks of a run that were accepted or are being sent: at most `limit`, and some more for the last
    /// topic, in order of arrival. `after` is [`CallbackPage::next`] of the page before. Lists all keys of the store. The
    /// inner error is a record that can't be decoded.
    pub(super) async fn callbacks(
        &self,
        run: &RunRef,
        topic: Option<&Topic>,
        limit: usize,
        after: Option<&str>,
    ) -> Result<Result<CallbackPage, StoredError>, StoreError> {
        let all = self.host.keys().await?;
        let now = self.host.now();
        let mut windows = [self.callback_retention.lookup(now), self.retention.lookup(now)].concat();
        windows.sort_unstable();
        windows.dedup();
        // The records and doors of each topic.
        let mut topics: BTreeMap<&str, Vec<(&String, bool)>> = BTreeMap::new();
        for window in windows {
            let prefixes = [keys::callbacks_prefix(run, window), keys::callback_doors_prefix(run, window)];
            for (prefix, is_door) in prefixes.iter().zip([false, true]) {
                for key in &all {
                    if let Some(rest) = key.strip_prefix(prefix.as_str()) {
                        let topic = rest.split('/').next().unwrap_or_default();
                        topics.entry(topic).or_default().push((key, is_door));
                    }
                }
            }
        }
        let wanted = topic.map(topic_hash);
        let (mut page, mut last) = (CallbackPage::default(), None);
        for (topic, keys) in topics {
            if wanted.as_ref().is_some_and(|wanted| wanted != topic) || after.is_some_and(|after| topic <= after) {
                continue;
            }
            if page.records.len() >= limit {
                page.next = last.map(str::to_owned);
                break;
            }
            last = Some(topic);
            match self.callbacks_of_topic(keys).await? {
                Ok(records) => page.records.extend(records),
                Err(error) => return Ok(Err(error)),
            }
        }
        page.records.sort_by_key(|record| (record.received, record.id));
        Ok(Ok(page))
    }

    /// Reads the callbacks of a topic from their records and doors.
    async fn callbacks_of_topic(
        &self,
        keys: Vec<(&String, bool)>,
    ) -> Result<Result<Vec<CallbackRecord>, StoredError>, StoreError> {
        let mut records = Vec::new();
        for (key, is_door) in keys {
            let Some(bytes) = self.host.get(key).await? else { continue };
            if is_door {
                // Without a record, a callback is being sent right now, or its instance has died.
                records.extend(Contender::from_bytes(&bytes).and_then(|holder| holder.callback).map(|it| (1, it)));
            } else {
                match CallbackRecord::from_bytes(&bytes) {
                    Ok(record) => records.push((0, record)),
                    Err(_) => return Ok(Err(StoredError)),
                }
            }
        }
        // A callback that was early has a second record, for its task. That one tells more.
        records.sort_by_key(|(door, record)| (record.id, *door, record.task.is_none()));
        records.dedup_by_key(|(_, record)| record.id);
        Ok(Ok(records.into_iter().map(|(_, record)| record).collect()))
    }
}
