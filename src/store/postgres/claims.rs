//! Claims: a claim is the row of its delivery.

use std::time::Duration;

use super::session::{Columns, held, json, mark_maybe_sent, milliseconds, number, optional, text};
use super::{
    CALLBACKS, CLAIM, FIND, MOVE, PROMISE, PostgresStore, RECORD_RUN, RESCHEDULE, RUN, kept_for, lease_length,
    send_until,
};
use crate::callback::{CallbackRecord, State, run_id_hash};
use crate::delivery::{Delivery, DeliveryId, Hold, Key, KeyClaim, Row, StoredError, Work};
use crate::ports::{Clock, Rng, Sql, SqlValue, StoreError};
use crate::reference::{RunRef, Topic};
use crate::store::record::callback_record;
use crate::store::{
    CallbackPage, Claim, Claims, Effect, Holder, Joined, OutcomeRecord, RunRecord, Settled, codec_error,
};
use crate::time::Timestamp;

/// The first and the longest pause between two claims of a key that another instance holds. Each pause is twice as long
/// as the one before.
const PAUSES: [Duration; 2] = [Duration::from_millis(10), Duration::from_millis(160)];

/// The delivery that holds a key.
pub(super) struct Known {
    key: String,
    pub(super) id: DeliveryId,
    pub(super) state: String,
    pub(super) digest: String,
    accepted: bool,
    pub(super) changed: Timestamp,
    pub(super) delivery: Option<Vec<u8>>,
    body: Option<Vec<u8>>,
    now: Timestamp,
}

impl Known {
    /// Reads the columns after `standing` in the rows of `CLAIM` and `MOVE`.
    fn of_claim(columns: &mut Columns) -> Result<Self, StoreError> {
        Ok(Self {
            key: columns.text()?,
            id: columns.id()?,
            state: columns.text()?,
            digest: columns.text()?,
            accepted: columns.bool()?,
            changed: columns.time()?,
            delivery: columns.skip().bytes()?,
            body: columns.bytes()?,
            now: columns.time()?,
        })
    }

    /// Reads a row of `FIND`.
    fn of_find(columns: &mut Columns) -> Result<Self, StoreError> {
        Ok(Self {
            key: columns.text()?,
            id: columns.id()?,
            state: columns.text()?,
            digest: columns.text()?,
            accepted: columns.bool()?,
            changed: columns.time()?,
            body: columns.skip().bytes()?,
            delivery: columns.bytes()?,
            now: columns.time()?,
        })
    }

    /// Whether nobody has a 2xx for it yet: it is being sent for the first time, or its instance has died.
    pub(super) fn is_under_way(&self) -> bool {
        self.state == "pending" && !self.accepted
    }

    /// Its record, as another delivery of the key sees it.
    pub(super) fn settled(self, work: &Work<'_>) -> Result<Settled, StoreError> {
        let is_delivered = self.state == "delivered";
        match work {
            Work::Start(_) if is_delivered => Ok(self.outcome()),
            Work::Start(_) => Ok(Settled::Start(OutcomeRecord::pending(self.id, &self.named(), self.changed))),
            Work::Resolve(_) => self.record().map(|record| {
                let state = if is_delivered { State::Delivered } else { State::Pending };
                Settled::Callback(CallbackRecord { state, ..record })
            }),
        }
    }

    /// The outcome of a start that is delivered.
    pub(super) fn outcome(self) -> Settled {
        let body = self.body.as_deref().unwrap_or_default();
        Settled::Start(OutcomeRecord::delivered(self.id, &self.named(), body, self.changed))
    }

    /// The key.
    pub(super) fn named(&self) -> Key {
        Key::restore(self.key.clone(), self.digest.clone())
    }

    /// The record of its callback, as pending.
    pub(super) fn record(&self) -> Result<CallbackRecord, StoreError> {
        let delivery = Delivery::from_bytes(self.delivery.as_deref().unwrap_or_default()).map_err(codec_error)?;
        match &delivery.work {
            Work::Resolve(callback) => Ok(callback_record(&delivery, callback)),
            Work::Start(_) => Err(codec_error(StoredError)),
        }
    }
}

impl<H: Sql + Clock + Rng> PostgresStore<'_, H> {
    /// Claims a key by the row of its delivery. `also` is a key whose pending delivery comes first. Without `holds`, the
    /// delivery is only stored.
    pub(super) async fn claim_row(
        &self,
        delivery: &mut Delivery<'_>,
        key: Key,
        also: Option<&Key>,
        holds: bool,
        patience: Duration,
    ) -> Result<Claim, StoreError> {
        let before = delivery.claim.replace(KeyClaim { key: key.clone(), window: 0, contended: false });
        let lease = lease_length(self.limits.engine_timeout);
        let token = holds.then(|| self.token());
        let due = if holds { lease } else { delivery.next_attempt.since(self.host.now()) };
        let topic = delivery.work.topic();
        let parameters = [
            text(key.hash()),
            text(delivery.id.to_string()),
            optional(token.as_deref()),
            text(key.digest()),
            text(delivery.work.reference()),
            optional(topic),
            optional(delivery.work.queue()),
            SqlValue::Bytes(delivery.to_bytes().map_err(codec_error)?),
            milliseconds(due),
            SqlValue::Bool(!holds),
            optional(also.map(Key::hash)),
        ];
        let started = self.host.monotonic();
        let [mut pause, longest] = PAUSES;
        let claim = loop {
            let begun = self.host.monotonic();
            let mut under_way = None;
            // No row: another contender has changed the key meanwhile.
            if let Some(columns) = self.query(CLAIM, &parameters).await?.first_mut() {
                let standing = columns.text()?;
                let known = Known::of_claim(columns)?;
                let until = send_until(begun, lease);
                let maybe_sent = standing == "taken";
                let row = token.clone().map(|token| Row { key: known.key.clone(), token, maybe_sent });
                match (standing.as_str(), row) {
                    ("won", row) => {
                        let until = row.is_some().then_some(until);
                        delivery.hold = Hold { is_stored: !holds, until, row, ..Hold::default() };
                        return Ok(Claim::Won);
                    }
                    ("taken", Some(row)) => {
                        let taken = Delivery::from_bytes(known.delivery.as_deref().unwrap_or_default());
                        let mut taken = held(taken.map_err(codec_error)?, row, until);
                        mark_maybe_sent(&mut taken, self.host.now(), lease);
                        break Claim::Taken(Box::new(taken));
                    }
                    _ if known.is_under_way() => under_way = Some((known.digest == key.digest()).then_some(known.id)),
                    _ => break Claim::Settled(known.settled(&delivery.work)?),
                }
            }
            let left = patience.saturating_sub(self.host.monotonic().saturating_sub(started));
            if left.is_zero() {
                break Claim::Contended(under_way.flatten());
            }
            self.host.sleep(pause.min(left)).await;
            pause = pause.saturating_mul(2).min(longest);
        };
        delivery.claim = before;
        Ok(claim)
    }

    /// Moves the row of a callback to the key of the task that waits for it.
    async fn move_row(&self, delivery: &mut Delivery<'_>, row: Row, task: Key) -> Result<Claim, StoreError> {
        let before = delivery.claim.replace(KeyClaim { key: task.clone(), window: 0, contended: false });
        let lease = lease_length(self.limits.engine_timeout);
        let begun = self.host.monotonic();
        let bytes = SqlValue::Bytes(delivery.to_bytes().map_err(codec_error)?);
        let parameters = [text(&row.key), text(&row.token), text(task.hash()), bytes, milliseconds(lease)];
        let mut rows = self.query(MOVE, &parameters).await?;
        let Some(columns) = rows.first_mut() else { return Ok(Claim::Late) };
        if columns.text()? == "won" {
            delivery.hold.until = Some(send_until(begun, lease));
            delivery.hold.row = Some(Row { key: task.hash().to_owned(), ..row });
            return Ok(Claim::Won);
        }
        delivery.claim = before;
        let known = Known::of_claim(columns)?;
        // One that is pending may still be refused, and the task would wait on.
        if known.state == "pending" {
            Ok(Claim::Contended(None))
        } else {
            known.settled(&delivery.work).map(Claim::Settled)
        }
    }

    /// Reads the record of the run with this hash.
    pub(super) async fn run_named(&self, run: &str) -> Result<Option<RunRecord>, StoreError> {
        let mut rows = self.query(RUN, &[text(run)]).await?;
        let Some(columns) = rows.first_mut() else { return Ok(None) };
        Ok(Some(RunRecord::new(columns.optional_text()?, columns.bool()?)))
    }

    /// Writes the record of the run with this hash.
    pub(super) async fn record_run_named(&self, run: &str, record: &RunRecord) -> Result<(), StoreError> {
        let keep = milliseconds(kept_for(self.callback_retention));
        let parameters = [text(run), optional(record.scope.as_deref()), SqlValue::Bool(record.unseen), keep];
        self.query(RECORD_RUN, &parameters).await.map(drop)
    }

    pub(super) async fn find(&self, keys: &[Key]) -> Result<Vec<Known>, StoreError> {
        let names: Vec<&str> = keys.iter().map(Key::hash).collect();
        self.query(FIND, &[json(&names)?]).await?.iter_mut().map(Known::of_find).collect()
    }
}

impl<H: Sql + Clock + Rng> Claims for PostgresStore<'_, H> {
    async fn claim(&self, delivery: &mut Delivery<'_>, key: Key, patience: Duration) -> Result<Claim, StoreError> {
        // A start in a queue is sent by a drain alone.
        let holds = delivery.work.queue().is_none();
        self.claim_row(delivery, key, None, holds, patience).await
    }

    async fn claim_early(
        &self,
        delivery: &mut Delivery<'_>,
        early: Key,
        patience: Duration,
    ) -> Result<Claim, StoreError> {
        // Its sender has waited for the task in vain, so it is stored at once.
        self.claim_row(delivery, early, None, false, patience).await
    }

    async fn claim_task(
        &self,
        delivery: &mut Delivery<'_>,
        task: Key,
        early: Key,
        patience: Duration,
    ) -> Result<Claim, StoreError> {
        match delivery.hold.row.clone() {
            Some(row) => self.move_row(delivery, row, task).await,
            None => self.claim_row(delivery, task, Some(&early), true, patience).await,
        }
    }

    async fn join(
        &self,
        delivery: &mut Delivery<'_>,
        key: &Key,
        holder: Option<DeliveryId>,
    ) -> Result<Joined, StoreError> {
        if let Some(row) = delivery.hold.row.clone() {
            // This instance has won, too late to send.
            let bytes = SqlValue::Bytes(delivery.to_bytes().map_err(codec_error)?);
            let effect = self.put_back(RESCHEDULE, delivery.id, &row, [bytes, SqlValue::Int(0)]).await?;
            return Ok(if effect == Effect::Done { Joined::Stored } else { Joined::Free });
        }
        let Some(holder) = holder else { return Ok(Joined::Refused) };
        let rows = self.query(PROMISE, &[text(key.hash()), text(holder.to_string())]).await?;
        Ok(if rows.is_empty() { Joined::Free } else { Joined::Promised(holder) })
    }

    async fn first_record(&self, work: &Work<'_>, keys: &[Key]) -> Result<Option<(usize, Settled)>, StoreError> {
        let mut found = self.find(keys).await?;
        for (position, key) in keys.iter().enumerate() {
            let known = found.iter().position(|known| known.key == key.hash() && !known.is_under_way());
            if let Some(known) = known {
                return Ok(Some((position, found.swap_remove(known).settled(work)?)));
            }
        }
        Ok(None)
    }

    async fn holder(&self, key: &Key) -> Result<Option<Holder>, StoreError> {
        // It may have been settled since the records were read: its record is read again then.
        let mut found = self.find(std::slice::from_ref(key)).await?;
        let Some(known) = found.pop().filter(|known| known.state != "dead") else { return Ok(None) };
        Ok(Some(Holder { age: known.now.since(known.changed), window: 0, record: known.record()? }))
    }

    /// Writes nothing: the holder's own instance or a drain settles its row.
    async fn settle_holder(&self, _: &Key, holder: Holder) -> Result<Settled, StoreError> {
        Ok(Settled::Callback(holder.delivered()))
    }

    async fn callbacks(
        &self,
        run: &RunRef,
        topic: Option<&Topic>,
        limit: usize,
        after: Option<&str>,
    ) -> Result<Result<CallbackPage, StoredError>, StoreError> {
        let topic = optional(topic.map(Topic::as_str));
        let parameters = [text(run.as_str()), topic, text(after.unwrap_or_default()), number(limit.saturating_add(1))];
        let mut page = CallbackPage::default();
        let mut rows = self.query(CALLBACKS, &parameters).await?;
        if rows.len() > limit {
            rows.truncate(limit);
            page.next = Some(String::new());
        }
        for columns in &mut rows {
            let id = columns.id()?;
            let state = columns.skip().text()?;
            let Ok(delivery) = Delivery::from_bytes(&columns.bytes()?.unwrap_or_default()) else {
                return Ok(Err(StoredError));
            };
            let Work::Resolve(callback) = &delivery.work else { return Ok(Err(StoredError)) };
            let state = if state == "delivered" { State::Delivered } else { State::Pending };
            page.records.push(CallbackRecord { state, ..callback_record(&delivery, callback) });
            page.next = page.next.map(|_| id.to_string());
        }
        Ok(Ok(page))
    }

    async fn run(&self, run: &str) -> Result<Option<RunRecord>, StoreError> {
        self.run_named(&run_id_hash(run)).await
    }

    async fn record_run(&self, run: &str, record: &RunRecord) -> Result<(), StoreError> {
        self.record_run_named(&run_id_hash(run), record).await
    }
}
