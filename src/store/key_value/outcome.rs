//! The outcomes of claims: the record of a settled key, and its release.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::claim::Claims;
use super::names::{self, Name, Register, Round, short};
use super::old_names;
use super::registers::Contender;
use crate::callback::{CallbackRecord, State, run_hash, run_id_hash, topic_hash};
use crate::delivery::{Delivery, DeliveryId, Key, KeyClaim, StoredError, Work};
use crate::json;
use crate::ports::{Clock, KeyValue, Rng, StoreError};
use crate::reference::{RunRef, Topic};
use crate::store::record::callback_record;
use crate::store::{CallbackPage, Holder, OutcomeRecord, RunRecord, SEND_WITHIN, Settled, codec_error};
use crate::time::Timestamp;

/// The longest value that is read as a release. Each is shorter, and most records are longer.
const MAX_RELEASED: usize = 128;

/// The value of the outcome of a key that was released: its next claim is made in this term.
#[derive(Debug, Serialize, Deserialize)]
struct Released {
    v: u32,
    /// The term: 16 hexadecimal digits.
    released: String,
    /// When it was released.
    at: Timestamp,
}

/// What a window knows of a key.
#[derive(Debug)]
pub(super) enum Known {
    Settled(Settled),
    /// It may be claimed in this term: empty if it was never released.
    Open {
        term: String,
    },
}

impl Known {
    /// Decodes an outcome of the kind that `work` has.
    fn from_bytes(work: &Work<'_>, bytes: &[u8]) -> Result<Self, StoredError> {
        match released(bytes) {
            Some(term) => Ok(Self::Open { term }),
            None => Settled::from_bytes(work, bytes).map(Self::Settled),
        }
    }
}

/// The term of a key that was released; `None` for any other outcome.
pub(super) fn released(bytes: &[u8]) -> Option<String> {
    let released: Released = json::read(bytes).ok().filter(|_| bytes.len() <= MAX_RELEASED)?;
    (released.v == 1).then_some(released.released)
}

/// What the sweep has to know of an outcome.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Trace {
    /// When it was recorded.
    pub(super) at: Timestamp,
    /// The term, if the key was released.
    pub(super) term: Option<String>,
    /// The delivery that is not delivered yet, as far as the outcome knows.
    pub(super) pending: Option<DeliveryId>,
}

impl Trace {
    /// Reads an outcome of either kind; `None` if it can't be decoded.
    pub(super) fn from_bytes(bytes: &[u8], is_callback: bool) -> Option<Self> {
        if bytes.len() <= MAX_RELEASED
            && let Ok(Released { v: 1, released, at }) = json::read(bytes)
        {
            return Some(Self { at, term: Some(released), pending: None });
        }
        if is_callback {
            let record = CallbackRecord::from_bytes(bytes).ok()?;
            let pending = (record.state == State::Pending).then_some(record.id);
            return Some(Self { at: record.sent.unwrap_or(record.received), term: None, pending });
        }
        let record = OutcomeRecord::from_bytes(bytes).ok()?;
        let pending = (!record.is_delivered()).then_some(record.id);
        Some(Self { at: record.at, term: None, pending })
    }
}

impl<H: KeyValue + Clock + Rng> Claims<'_, H> {
    /// Reads the outcome of a key in one window: 1 read, and that of the form if it wasn't read before. During an
    /// upgrade up to 3: one that is moved has both names for a moment, and the new one counts.
    pub(super) async fn outcome(&self, key: &Key, window: u64) -> Result<Option<Vec<u8>>, StoreError> {
        // In this order: an outcome that is moved after the form was read is found under its old name or, at last, under
        // its new one.
        let moved = self.form().await?.moved;
        let name = names::outcome(key, window);
        let found = self.host.get(&name).await?;
        if found.is_some() || moved {
            return Ok(found);
        }
        match self.host.get(&old_names::outcome(key, window)).await? {
            Some(found) => Ok(Some(found)),
            None => self.host.get(&name).await,
        }
    }

    /// Reads the state of a key in one window. An outcome that can't be decoded is a failure of the store: nothing
    /// else tells whether the key may be claimed.
    pub(super) async fn known(&self, work: &Work<'_>, key: &Key, window: u64) -> Result<Known, StoreError> {
        match self.outcome(key, window).await? {
            None => Ok(Known::Open { term: String::new() }),
            Some(bytes) => Known::from_bytes(work, &bytes).map_err(codec_error),
        }
    }

    /// Reads the record of a key in the current and the previous window: at most 3 reads.
    pub(super) async fn record_of(&self, work: &Work<'_>, key: &Key) -> Result<Option<Settled>, StoreError> {
        for window in self.retention_of(key).lookup(self.host.now()) {
            if let Known::Settled(settled) = self.known(work, key, window).await? {
                return Ok(Some(settled));
            }
        }
        Ok(None)
    }

    /// Looks up the record of a stored delivery's key: in the window of its claim, then in the current and the previous
    /// window. The inner error is a record that can't be decoded. Costs at most 4 reads.
    pub(super) async fn settled(
        &self,
        delivery: &Delivery<'_>,
    ) -> Result<Option<Result<Settled, StoredError>>, StoreError> {
        let Some(KeyClaim { key, window, .. }) = &delivery.claim else { return Ok(None) };
        let others = self.retention_of(key).lookup(self.host.now()).into_iter().filter(|other| other != window);
        for window in std::iter::once(*window).chain(others) {
            let Some(settled) = self.record_in(delivery, key, window).await? else { continue };
            // Release 0.1 did not know the task: once its callback is delivered, the run may wait for the topic again.
            if !key.is_of_first_release() || !settled.as_ref().is_ok_and(Settled::is_delivered) {
                return Ok(Some(settled));
            }
        }
        Ok(None)
    }

    /// Reads the record of a stored delivery's key in the window of its claim only: at most 2 reads. The inner error is
    /// a record that can't be decoded.
    pub(super) async fn own_record(
        &self,
        delivery: &Delivery<'_>,
    ) -> Result<Option<Result<Settled, StoredError>>, StoreError> {
        let Some(KeyClaim { key, window, .. }) = &delivery.claim else { return Ok(None) };
        self.record_in(delivery, key, *window).await
    }

    async fn record_in(
        &self,
        delivery: &Delivery<'_>,
        key: &Key,
        window: u64,
    ) -> Result<Option<Result<Settled, StoredError>>, StoreError> {
        Ok(match self.outcome(key, window).await?.map(|bytes| Known::from_bytes(&delivery.work, &bytes)) {
            None | Some(Ok(Known::Open { .. })) => None,
            Some(Ok(Known::Settled(settled))) => Some(Ok(settled)),
            Some(Err(error)) => Some(Err(error)),
        })
    }

    /// Records that a delivery is pending, to answer duplicates. Costs 1 write.
    pub(super) async fn record_pending(&self, delivery: &Delivery<'_>) -> Result<(), StoreError> {
        self.record(delivery, |key| match &delivery.work {
            Work::Start(_) => OutcomeRecord::pending(delivery.id, key, self.host.now()).to_bytes(),
            Work::Resolve(callback) => callback_record(delivery, callback).to_bytes().map_err(|_| StoredError),
        })
        .await
    }

    /// Records that a delivery was delivered, with the engine's response as `body`. Costs 1 write.
    pub(super) async fn record_delivered(&self, delivery: &Delivery<'_>, body: &[u8]) -> Result<(), StoreError> {
        self.record(delivery, |key| match &delivery.work {
            Work::Start(_) => OutcomeRecord::delivered(delivery.id, key, body, self.host.now()).to_bytes(),
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
        self.host.set(&names::outcome(key, *window), &bytes).await
    }

    /// Shuts out all other contenders before a drain sends a delivery whose claim was not won. Returns the latest time
    /// at which one that was chosen before may begin to send; `None` if there is none. Until the engine is done with
    /// that one, the delivery must not be sent.
    ///
    /// The caller holds the lease, and has found no record of the key but the delivery's own. Afterwards the delivery is
    /// recorded as pending, so nobody is chosen any more, and another stored delivery of the key is a duplicate. One
    /// that was chosen before that is found by its `won`. Costs 6 reads and 1 write for a key without a claim,
    /// and that of the form if it wasn't read before.
    pub(super) async fn take_over(&self, delivery: &Delivery<'_>) -> Result<Option<Timestamp>, StoreError> {
        let Some(KeyClaim { key, window, contended: true }) = &delivery.claim else { return Ok(None) };
        let others = self.retention_of(key).lookup(self.host.now()).into_iter().filter(|other| other != window);
        let mut open = Vec::new();
        for window in std::iter::once(*window).chain(others) {
            let term = match self.outcome(key, window).await?.map(|bytes| Known::from_bytes(&delivery.work, &bytes)) {
                Some(Ok(Known::Open { term })) => term,
                _ => String::new(),
            };
            open.push(Round { window, short: short(key.hash()), term, number: 0 });
        }
        self.record_pending(delivery).await?;
        let mut latest = None;
        for round in open {
            if let Some((_, winner)) = self.winner(round).await? {
                latest = latest.max(Some(winner.at.plus(SEND_WITHIN)));
            }
        }
        Ok(latest)
    }

    /// Finds the contender that was chosen in the term of a round, or may still be. Costs 2 reads for each round.
    pub(super) async fn winner(&self, mut round: Round) -> Result<Option<(Round, Contender)>, StoreError> {
        loop {
            match self.contender(&Register::Won.of(&round)).await? {
                Some(winner) if !winner.withdrawn => return Ok(Some((round, winner))),
                _ if !self.host.exists(&Register::Mark.of(&round)).await? => return Ok(None),
                _ => round.number = round.number.saturating_add(1),
            }
        }
    }

    /// Releases the key of a delivery: it can be claimed again. For a chosen contender whose delivery was neither
    /// accepted nor stored, and for a stored delivery that is given up. Does nothing if another delivery has the key by
    /// now.
    ///
    /// The release is one write, so it can't be seen half done. Costs 2 reads and 2 writes, and the read of the form if it
    /// wasn't read before.
    pub(super) async fn release(&self, delivery: &Delivery<'_>) -> Result<(), StoreError> {
        let Some(KeyClaim { key, window, .. }) = &delivery.claim else { return Ok(()) };
        self.release_key(delivery, key, *window).await
    }

    /// Releases the claim of run and topic that a callback has held since before its task was known. Does nothing if it
    /// holds none, or if another callback holds it by now. One that was sent without a look keeps its claim: no task has
    /// its record.
    pub(super) async fn release_early(&self, delivery: &Delivery<'_>) -> Result<(), StoreError> {
        let early = delivery.early_window.filter(|_| !delivery.unseen);
        let (Some(window), Work::Resolve(callback)) = (early, &delivery.work) else { return Ok(()) };
        self.release_key(delivery, &Key::early(callback), window).await
    }

    async fn release_key(&self, delivery: &Delivery<'_>, key: &Key, window: u64) -> Result<(), StoreError> {
        let winner = match self.known(&delivery.work, key, window).await? {
            Known::Settled(settled) if settled.id() != delivery.id => return Ok(()),
            // The record says no more in which term it was claimed, which is hardly ever another than the first.
            Known::Settled(_) => {
                let round = Round { window, short: short(key.hash()), term: String::new(), number: 0 };
                self.winner(round).await?.filter(|(_, winner)| winner.is_of(delivery.id))
            }
            Known::Open { term } => {
                let round = Round { window, short: short(key.hash()), term, number: 0 };
                let Some(winner) = self.winner(round).await?.filter(|(_, winner)| winner.is_of(delivery.id)) else {
                    return Ok(());
                };
                Some(winner)
            }
        };
        let released = format!("{:016x}", self.host.random());
        let released = Released { v: 1, released, at: self.host.now() };
        let bytes = serde_json::to_vec(&released).map_err(codec_error)?;
        self.host.set(&names::outcome(key, window), &bytes).await?;
        // Nobody has sent this key's callback, as far as a later term is concerned.
        if let Some((round, winner)) = winner {
            self.host.set(&Register::Won.of(&round), &winner.withdrawn().to_bytes()?).await?;
        }
        Ok(())
    }

    /// Returns the callback of the contender that holds a key. Costs at most 6 reads.
    pub(super) async fn holder(&self, key: &Key) -> Result<Option<Holder>, StoreError> {
        for window in self.retention_of(key).lookup(self.host.now()) {
            let outcome = self.outcome(key, window).await?;
            let term = outcome.as_deref().and_then(released).unwrap_or_default();
            let round = Round { window, short: short(key.hash()), term, number: 0 };
            if let Some((_, winner)) = self.winner(round).await?
                && let Some(record) = winner.callback
            {
                return Ok(Some(Holder { age: self.host.now().since(winner.at), window, record }));
            }
        }
        Ok(None)
    }

    /// Records that the callback of a key's holder was delivered. Costs 1 write.
    pub(super) async fn settle_holder(&self, key: &Key, holder: Holder) -> Result<Settled, StoreError> {
        let settled = holder.delivered();
        let bytes = settled.to_bytes().map_err(codec_error)?;
        self.host.set(&names::outcome(key, holder.window), &bytes).await?;
        Ok(Settled::Callback(settled))
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
        // The outcomes of each topic, and then the winners of its claims.
        let mut topics: BTreeMap<&str, [Vec<&str>; 2]> = BTreeMap::new();
        for window in windows {
            let prefixes = [names::callbacks_of(&run_hash(run), window), names::winners_of(&run_hash(run), window)];
            for (nth, prefix) in prefixes.iter().enumerate() {
                for name in &all {
                    if let Some(rest) = name.strip_prefix(prefix.as_str()) {
                        let topic = rest.split(':').next().unwrap_or_default();
                        let [outcomes, winners] = topics.entry(topic).or_default();
                        if nth == 0 { outcomes.push(name) } else { winners.push(name) }
                    }
                }
            }
        }
        let wanted = topic.map(|topic| short(&topic_hash(topic)));
        let (mut page, mut last) = (CallbackPage::default(), None);
        for (topic, names) in topics {
            if wanted.as_ref().is_some_and(|wanted| wanted != topic) || after.is_some_and(|after| topic <= after) {
                continue;
            }
            if page.records.len() >= limit {
                page.next = last.map(str::to_owned);
                break;
            }
            last = Some(topic);
            match self.callbacks_of_topic(names).await? {
                Ok(records) => page.records.extend(records),
                Err(error) => return Ok(Err(error)),
            }
        }
        page.records.sort_by_key(|record| (record.received, record.id));
        Ok(Ok(page))
    }

    /// Reads the callbacks of a topic from their outcomes and from the winners of their claims.
    async fn callbacks_of_topic(
        &self,
        [outcomes, winners]: [Vec<&str>; 2],
    ) -> Result<Result<Vec<CallbackRecord>, StoredError>, StoreError> {
        let (mut records, mut terms) = (Vec::new(), BTreeMap::new());
        for name in outcomes {
            let Some(bytes) = self.host.get(name).await? else { continue };
            let term = released(&bytes);
            let is_released = term.is_some();
            if let Name::Outcome(window, short) = Name::parse(name) {
                terms.insert((window, short), term);
            }
            if is_released {
                continue;
            }
            match CallbackRecord::from_bytes(&bytes) {
                Ok(record) => records.push((0, record)),
                Err(_) => return Ok(Err(StoredError)),
            }
        }
        for name in winners {
            // Without a record, a callback is being sent right now, or its instance has died.
            let Name::Claim(window, short, term) = Name::parse(name) else { continue };
            // With a record, it is that callback's winner, or one of an earlier term.
            if terms.get(&(window, short)).is_some_and(|present| present.as_deref() != Some(term)) {
                continue;
            }
            let winner = self.contender(name).await?.filter(|winner| !winner.withdrawn);
            records.extend(winner.and_then(|winner| winner.callback).map(|record| (1, record)));
        }
        // A callback that was early has a second record, for its task. That one tells more.
        records.sort_by_key(|(kind, record)| (record.id, *kind, record.task.is_none()));
        records.dedup_by_key(|(_, record)| record.id);
        Ok(Ok(records.into_iter().map(|(_, record)| record).collect()))
    }

    /// Reads the record of a run; `None` if it has none, or one that can't be decoded. Costs at most 2 reads.
    pub(super) async fn run(&self, run: &str) -> Result<Option<RunRecord>, StoreError> {
        self.run_named(&run_id_hash(run)).await
    }

    /// Reads the record of the run with this hash.
    pub(super) async fn run_named(&self, run: &str) -> Result<Option<RunRecord>, StoreError> {
        let moved = self.form().await?.moved;
        for window in self.callback_retention.lookup(self.host.now()) {
            let name = names::run(run, window);
            let mut found = self.host.get(&name).await?;
            if found.is_none() && !moved {
                found = self.host.get(&old_names::run(run, window)).await?;
            }
            if found.is_none() && !moved {
                found = self.host.get(&name).await?;
            }
            if let Some(bytes) = found {
                return Ok(RunRecord::from_bytes(&bytes));
            }
        }
        Ok(None)
    }

    /// Writes the record of a run. Costs 1 write.
    pub(super) async fn record_run(&self, run: &str, record: &RunRecord) -> Result<(), StoreError> {
        self.record_run_named(&run_id_hash(run), record).await
    }

    /// Writes the record of the run with this hash.
    pub(super) async fn record_run_named(&self, run: &str, record: &RunRecord) -> Result<(), StoreError> {
        let bytes = serde_json::to_vec(&record.clone().with_hash(run)).map_err(codec_error)?;
        let window = self.callback_retention.window(self.host.now());
        self.host.set(&names::run(run, window), &bytes).await
    }
}
