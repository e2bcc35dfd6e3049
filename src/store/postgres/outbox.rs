//! The outbox: the rows of pending deliveries and dead letters. Any number of drains take from it side by side.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::Serialize;
use serde_json::value::RawValue;

use super::session::{Columns, held, json, mark_maybe_sent, milliseconds, number, optional, text};
use super::{
    CLAIM, CLEAR_NOTE, COUNTS, DEAD_LETTER, DELETE, DOUBT, LIST, NOTES, PROMISE, PostgresStore, RELEASE, RENEW,
    REPLACE_NOTE, RESCHEDULE, SETTLE, SHOW, SWEEP, SWEEP_KEPT, SWEEP_KEYS, SWEEP_RUNS, Statement, TAKE, TAKE_HEADS,
    TAKE_ONE, WRITE_NOTE, half, kept_for, lease_length, send_until,
};
use crate::delivery::width::Due;
use crate::delivery::{Delivery, DeliveryId, Filter, Hold, Row, StoredError, Work};
use crate::json as read_json;
use crate::ports::{Clock, Rng, Sql, SqlValue, StoreError};
use crate::store::record::bounded;
use crate::store::sample::{self, Sample};
use crate::store::{
    Begin, Begun, Claims as _, DeliveryState, Doubted, Effect, EngineFault, Faults, Found, HeldQueue, Offer, Operated,
    Outbox, Page, PassNote, Repair, Repaired, Selection, Settled, Status, Twice, WidthNotes, codec_error,
};
use crate::time::Timestamp;

/// Up to this number, pending deliveries and dead letters are counted.
const MAX_COUNTED: usize = 100_000;
/// Number of rows that one statement of the sweep deletes.
const SWEPT_AT_ONCE: usize = 1_000;
/// Number of deliveries that one statement puts in doubt.
const DOUBTED_AT_ONCE: usize = 1_000;
/// How long a drain leaves a delivery alone that can't be decoded.
const UNREADABLE_PAUSE: Duration = Duration::from_secs(15 * 60);

/// The name of the note about alerts.
const ALERT: &str = "alert";

/// A pass of a drain.
#[derive(Debug)]
pub struct Pass {
    /// The token of all rows that the pass takes.
    token: String,
    /// Deliveries that the pass has taken and not opened.
    taken: BTreeMap<DeliveryId, Delivery<'static>>,
    /// Whether the first deliveries of queues are taken before those without a queue. The two take turns, so neither
    /// waits for the end of the other.
    heads_first: bool,
    /// Whether deliveries in queues are left to a later pass.
    holds_queues: bool,
    /// The number of pending deliveries and of dead letters, and the oldest pending one, once they were counted.
    counts: (usize, usize, Option<DeliveryId>),
}

impl Pass {
    /// Leaves deliveries in queues to a later pass: others that come before them are still being moved here.
    pub(in crate::store) fn hold_queues(&mut self) {
        self.holds_queues = true;
    }
}

/// A row that `SETTLE` settles.
#[derive(Serialize)]
struct Ended<'e> {
    key: &'e str,
    token: &'e str,
    body: Option<String>,
    /// For how long it is remembered, in milliseconds.
    keep: u64,
}

/// The note of the last pass.
#[derive(Serialize, serde::Deserialize)]
struct DrainNote {
    at: Timestamp,
    summary: Option<Box<RawValue>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    sample: Option<Sample>,
}

impl<H: Sql + Clock + Rng> PostgresStore<'_, H> {
    pub(super) fn lease(&self) -> Duration {
        lease_length(self.limits.engine_timeout)
    }

    /// The time, by the monotonic clock, until which the holder of a row may begin to send, if the statement that gave
    /// it the lease was begun at `begun`.
    pub(super) fn until(&self, begun: Duration) -> Duration {
        send_until(begun, self.lease())
    }

    /// Runs a statement that changes the row that this instance holds.
    async fn change(&self, statement: Statement, row: &Row, rest: &[SqlValue]) -> Result<Effect, StoreError> {
        let mut parameters = vec![text(&row.key), text(&row.token)];
        parameters.extend_from_slice(rest);
        Ok(effect(&self.query(statement, &parameters).await?))
    }

    /// Ends the hold of a row that stays in the outbox. If the statement broke and its first run had its effect, the
    /// repetition finds no row with this token, but the delivery is there.
    pub(super) async fn put_back(
        &self,
        statement: Statement,
        id: DeliveryId,
        row: &Row,
        [delivery, time]: [SqlValue; 2],
    ) -> Result<Effect, StoreError> {
        let known = SqlValue::Bool(row.maybe_sent);
        let answer = self.answer(statement, &[text(&row.key), text(&row.token), delivery, time, known]).await?;
        let is_there = answer.rows.is_empty() && answer.is_repeated && self.show(id).await?.is_some();
        Ok(if is_there { Effect::Done } else { effect(&answer.rows) })
    }

    /// Stores a delivery that has no row: one without a key.
    async fn insert(&self, delivery: &mut Delivery<'_>, is_sending: bool) -> Result<Effect, StoreError> {
        let (id, token) = (delivery.id.to_string(), is_sending.then(|| self.token()));
        let due = if is_sending { self.lease() } else { delivery.next_attempt.since(self.host.now()) };
        let begun = self.host.monotonic();
        let parameters = [
            text(&id),
            text(&id),
            token.as_ref().map_or(SqlValue::Null, text),
            text(""),
            text(delivery.work.reference()),
            SqlValue::Null,
            optional(delivery.work.queue()),
            SqlValue::Bytes(stored(delivery)?),
            milliseconds(due),
            SqlValue::Bool(true),
            SqlValue::Null,
        ];
        let rows = self.query(CLAIM, &parameters).await?;
        let row = token.map(|token| Row { key: id, token, maybe_sent: false });
        let until = row.is_some().then(|| self.until(begun));
        delivery.hold = Hold { is_stored: true, until, row, ..Hold::default() };
        Ok(effect(&rows))
    }

    /// The entry of a delivery in the list of `SETTLE`; `None` if it has no row.
    fn ended<'e>(&self, delivery: &'e Delivery<'_>, body: &[u8]) -> Option<Ended<'e>> {
        let row = delivery.hold.row.as_ref()?;
        let (retention, run) = match &delivery.work {
            Work::Start(_) => (self.retention, bounded(body)),
            Work::Resolve(_) => (self.callback_retention, None),
        };
        let keep = delivery.claim.as_ref().map(|_| kept_for(retention)).unwrap_or_default();
        let keep = u64::try_from(keep.as_millis()).unwrap_or(u64::MAX);
        Some(Ended { key: &row.key, token: &row.token, body: run.map(|run| run.get().to_owned()), keep })
    }

    /// Reads a delivery that was taken, and the size of its stored form: columns `key`, `id`, `delivery`, `maybe_sent`.
    pub(super) async fn taken(
        &self,
        columns: &mut Columns,
        token: &str,
        until: Duration,
    ) -> Result<Result<(Delivery<'static>, usize), DeliveryId>, StoreError> {
        let mut row = Row { key: columns.text()?, token: token.to_owned(), maybe_sent: false };
        let id = columns.id()?;
        let bytes = columns.bytes()?.unwrap_or_default();
        let maybe_sent = columns.bool()?;
        let Ok(delivery) = Delivery::from_bytes(&bytes) else {
            // An operator can delete it only while nobody holds it.
            let _: Effect =
                self.put_back(RESCHEDULE, id, &row, [SqlValue::Bytes(bytes), milliseconds(UNREADABLE_PAUSE)]).await?;
            return Ok(Err(id));
        };
        row.maybe_sent = maybe_sent;
        let mut delivery = held(delivery, row, until);
        if maybe_sent {
            mark_maybe_sent(&mut delivery, self.host.now(), self.lease());
        }
        Ok(Ok((delivery, bytes.len())))
    }

    async fn notes(&self, names: &[&str]) -> Result<Vec<(String, String, Timestamp)>, StoreError> {
        let rows = self.query(NOTES, &[json(&names)?]).await?;
        rows.into_iter().map(|mut row| Ok((row.text()?, row.text()?, row.time()?))).collect()
    }

    async fn write_note(&self, name: &str, value: SqlValue) -> Result<(), StoreError> {
        self.query(WRITE_NOTE, &[text(name), value]).await.map(drop)
    }

    /// The last sample, and the ring of those before it.
    async fn sampled(&self) -> Result<(Option<Sample>, Vec<Sample>), StoreError> {
        let (mut last, mut ring) = (None, Vec::new());
        for (name, value, _) in self.notes(&["drain", "samples"]).await? {
            if name == "drain" {
                last = read_json::read(value.as_bytes()).ok().and_then(|note: DrainNote| note.sample);
            } else {
                ring = read_json::read(value.as_bytes()).unwrap_or_default();
            }
        }
        Ok((last, ring))
    }

    async fn counts(&self) -> Result<(usize, usize, Option<DeliveryId>), StoreError> {
        let mut rows = self.query(COUNTS, &[number(MAX_COUNTED)]).await?;
        let Some(columns) = rows.first_mut() else { return Ok((0, 0, None)) };
        let (pending, dead) = (columns.number()?, columns.number()?);
        Ok((pending, dead, columns.optional_text()?.as_deref().and_then(DeliveryId::parse)))
    }
}

impl<H: Sql + Clock + Rng> Outbox for PostgresStore<'_, H> {
    type Pass = Pass;

    async fn keep(&self, delivery: &mut Delivery<'_>, is_sending: bool) -> Result<Effect, StoreError> {
        let Some(row) = delivery.hold.row.clone() else {
            // A callback was stored by the claim of run and topic.
            return if delivery.hold.is_stored { Ok(Effect::Done) } else { self.insert(delivery, is_sending).await };
        };
        if is_sending {
            let parameters = [text(row.key), text(delivery.id.to_string())];
            return Ok(effect(&self.query(PROMISE, &parameters).await?));
        }
        self.reschedule(delivery).await
    }

    /// Nothing to do: the row says so.
    async fn promise(&self, _: &Delivery<'_>) -> Result<(), StoreError> {
        Ok(())
    }

    async fn save(&self, delivery: &mut Delivery<'_>) -> Result<Effect, StoreError> {
        let Some(row) = delivery.hold.row.clone() else { return Ok(Effect::Late) };
        let begun = self.host.monotonic();
        let bytes = SqlValue::Bytes(stored(delivery)?);
        let renewed = self.change(RENEW, &row, &[bytes, milliseconds(self.lease())]).await?;
        delivery.hold.until = Some(self.until(begun));
        Ok(renewed)
    }

    /// Needs no statement in the first half of the lease: whoever takes the delivery over knows that it may have been
    /// sent.
    async fn begin(&self, delivery: &mut Delivery<'_>) -> Result<Begin, StoreError> {
        if delivery.hold.may_send(self.host.monotonic()) && !delivery.unseen {
            return Ok(Begin::Go);
        }
        Ok(match self.save(delivery).await? {
            Effect::Done if delivery.hold.may_send(self.host.monotonic()) => Begin::Go,
            _ => Begin::Late,
        })
    }

    async fn settle(&self, delivery: &Delivery<'_>, body: &[u8]) -> Result<Effect, StoreError> {
        let effects = self.settle_all(&[(delivery, body)]).await?;
        Ok(effects.into_iter().next().unwrap_or(Effect::Late))
    }

    async fn reschedule(&self, delivery: &mut Delivery<'_>) -> Result<Effect, StoreError> {
        let Some(row) = delivery.hold.row.take() else { return Ok(Effect::Done) };
        let wait = milliseconds(delivery.next_attempt.since(self.host.now()));
        let bytes = SqlValue::Bytes(stored(delivery)?);
        delivery.hold.is_stored = true;
        self.put_back(RESCHEDULE, delivery.id, &row, [bytes, wait]).await
    }

    async fn bury(&self, delivery: &Delivery<'_>, forgets_key: bool) -> Result<Effect, StoreError> {
        let Some(row) = &delivery.hold.row else { return Ok(Effect::Late) };
        let keep = if forgets_key { SqlValue::Null } else { milliseconds(kept_for(self.retention)) };
        self.put_back(DEAD_LETTER, delivery.id, row, [SqlValue::Bytes(stored(delivery)?), keep]).await
    }

    async fn release(&self, delivery: &Delivery<'_>) -> Result<Effect, StoreError> {
        let Some(row) = &delivery.hold.row else { return Ok(Effect::Done) };
        match self.change(RELEASE, row, &[]).await? {
            Effect::Done => Ok(Effect::Done),
            // Another sender has a 2xx for it.
            Effect::Late => self.bury(delivery, true).await,
        }
    }

    /// Nothing to do: once the lease has run out, a drain looks what it did.
    async fn abandon(&self, _: &Delivery<'_>) -> Result<Effect, StoreError> {
        Ok(Effect::Done)
    }

    async fn remove(&self, delivery: &Delivery<'_>) -> Result<Effect, StoreError> {
        let Some(row) = &delivery.hold.row else { return Ok(Effect::Done) };
        let ended = serde_json::json!([{ "key": row.key, "token": row.token, "body": null, "keep": 0 }]);
        Ok(effect(&self.query(SETTLE, &[json(&ended)?]).await?))
    }

    /// Never: a key has one row.
    async fn superseded(&self, _: &mut Delivery<'_>) -> Result<Option<Result<Settled, StoredError>>, StoreError> {
        Ok(None)
    }

    /// Nobody: the holder of a row is the only one that sends.
    async fn take_over(&self, _: &mut Delivery<'_>) -> Result<(), StoreError> {
        Ok(())
    }

    /// Nothing to do: a drain finds what is due by an index.
    async fn notify(&self) -> Result<(), StoreError> {
        Ok(())
    }

    async fn begin_pass(&self, _: Duration) -> Result<Begun<Pass>, StoreError> {
        Ok(Begun::Pass(Pass {
            token: self.token(),
            taken: BTreeMap::new(),
            heads_first: true,
            holds_queues: false,
            counts: (0, 0, None),
        }))
    }

    async fn offer(&self, pass: &mut Pass, room: usize, busy: &[String]) -> Result<Offer, StoreError> {
        let begun = self.host.monotonic();
        let common = |room| [text(&pass.token), milliseconds(self.lease()), number(room)];
        let mut rows = Vec::new();
        for takes_heads in [pass.heads_first, !pass.heads_first] {
            let left = room.saturating_sub(rows.len());
            if left == 0 {
                break;
            }
            if takes_heads && pass.holds_queues {
                continue;
            }
            rows.extend(if takes_heads {
                self.query(TAKE_HEADS, &common(left)).await?
            } else {
                let [token, lease, room] = common(left);
                self.query(TAKE, &[token, lease, room, json(&busy)?]).await?
            });
        }
        pass.heads_first = !pass.heads_first;
        // Deliveries of a busy reference may be due as well.
        let mut offer = Offer { more: rows.len() == room || !busy.is_empty(), ..Offer::default() };
        for mut columns in rows {
            match self.taken(&mut columns, &pass.token, self.until(begun)).await? {
                Err(id) => offer.unreadable.push(id),
                Ok((delivery, bytes)) => {
                    // It is due, whatever the clock of this host says.
                    offer.deliveries.push(Due { due: self.host.now(), ..Due::of(&delivery, bytes) });
                    pass.taken.insert(delivery.id, delivery);
                }
            }
        }
        Ok(offer)
    }

    async fn open(
        &self,
        pass: &mut Pass,
        id: DeliveryId,
    ) -> Result<Option<Result<Delivery<'static>, StoredError>>, StoreError> {
        Ok(pass.taken.remove(&id).map(Ok))
    }

    async fn give_back_all(&self, pass: &mut Pass, ids: Vec<DeliveryId>) -> Result<(), StoreError> {
        for id in ids {
            if let Some(mut delivery) = pass.taken.remove(&id) {
                let _: Effect = self.reschedule(&mut delivery).await?;
            }
        }
        Ok(())
    }

    fn has_other_passes(&self) -> bool {
        true
    }

    async fn settle_all(&self, settled: &[(&Delivery<'_>, &[u8])]) -> Result<Vec<Effect>, StoreError> {
        let mut ended = Vec::new();
        for (delivery, body) in settled {
            ended.extend(self.ended(delivery, body));
        }
        let mut keys: BTreeSet<String> = BTreeSet::new();
        let mut is_repeated = false;
        if !ended.is_empty() {
            let answer = self.answer(SETTLE, &[json(&ended)?]).await?;
            is_repeated = answer.is_repeated;
            for mut columns in answer.rows {
                keys.insert(columns.text()?);
            }
        }
        // If the statement broke and its first run had its effect, the repetition finds no row with this token. Nobody
        // else ends the hold before the lease is over.
        let had_effect = |delivery: &Delivery<'_>| is_repeated && delivery.hold.may_send(self.host.monotonic());
        let effect = |(delivery, _): &(&Delivery<'_>, &[u8])| match &delivery.hold.row {
            Some(row) if !keys.contains(&row.key) && !had_effect(delivery) => Effect::Late,
            _ => Effect::Done,
        };
        Ok(settled.iter().map(effect).collect())
    }

    async fn width_notes(&self) -> Result<WidthNotes, StoreError> {
        let mut notes = WidthNotes::default();
        for (name, value, _) in self.notes(&["width", "refusal"]).await? {
            *if name == "width" { &mut notes.note } else { &mut notes.refusal } = Some(value);
        }
        Ok(notes)
    }

    async fn write_width(&self, note: &str) -> Result<(), StoreError> {
        self.write_note("width", text(note)).await
    }

    async fn write_refusal(&self, refusal: &str) -> Result<(), StoreError> {
        self.write_note("refusal", text(refusal)).await
    }

    async fn alert_note(&self) -> Result<Option<String>, StoreError> {
        Ok(self.notes(&[ALERT]).await?.pop().map(|(_, value, _)| value))
    }

    async fn replace_alert_note(&self, before: Option<&str>, note: &str) -> Result<bool, StoreError> {
        Ok(!self.query(REPLACE_NOTE, &[text(ALERT), text(note), optional(before)]).await?.is_empty())
    }

    async fn sweep(&self, _: &mut Pass, end: Duration) -> Result<bool, StoreError> {
        let mut has_kept = false;
        for statement in [SWEEP, SWEEP_KEYS, SWEEP_RUNS, SWEEP_KEPT] {
            if statement == SWEEP_KEPT && !has_kept {
                continue;
            }
            loop {
                if self.host.monotonic() >= end {
                    return Ok(true);
                }
                let mut rows = self.query(statement, &[number(SWEPT_AT_ONCE)]).await?;
                let swept = rows.first_mut().map(Columns::number).transpose()?.unwrap_or_default();
                if statement == SWEEP {
                    has_kept = rows.first_mut().map(Columns::bool).transpose()?.unwrap_or_default();
                }
                if swept < SWEPT_AT_ONCE {
                    break;
                }
            }
        }
        if self.host.monotonic() >= end {
            return Ok(true);
        }
        Ok(self.sweep_source_notes(SWEPT_AT_ONCE).await? >= SWEPT_AT_ONCE)
    }

    async fn pending(&self, pass: &mut Pass, _: usize) -> Result<usize, StoreError> {
        pass.counts = self.counts().await?;
        Ok(pass.counts.0)
    }

    fn sample(&self, pass: &Pass, note: &PassNote) -> Sample {
        let (pending, dead, oldest) = pass.counts;
        let count = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
        Sample {
            at: self.host.now(),
            pending: count(pending),
            dead: count(dead),
            oldest: oldest.map(|id| id.at()),
            keys: None,
            delivered: note.delivered,
            failed: note.failed,
        }
    }

    /// Passes that end at the same moment may miss each other's counts in the sample.
    async fn end_pass(&self, pass: Pass, note: PassNote) -> Result<(), StoreError> {
        let (now, sample) = (self.host.now(), self.sample(&pass, &note));
        let (last, mut ring) = self.sampled().await?;
        let (sample, complete) = sample.follow(last);
        if let Some(complete) = complete {
            sample::push(&mut ring, complete, now);
            self.write_note("samples", json(&ring)?).await?;
        }
        let note = DrainNote { at: now, summary: note.summary, sample: Some(sample) };
        self.write_note("drain", json(&note)?).await
    }

    async fn give_back(&self, delivery: &mut Delivery<'_>) -> Result<Effect, StoreError> {
        self.reschedule(delivery).await
    }

    /// Nothing to do: what the pass has taken is due again once its lease has run out.
    async fn abort_pass(&self, _: Pass) {}

    async fn list(
        &self,
        state: DeliveryState,
        filter: &Filter,
        limit: usize,
        after: Option<DeliveryId>,
    ) -> Result<Page, StoreError> {
        if !filter.is_empty() {
            return self.find_page(state, filter, limit, after).await;
        }
        let after = after.map(|id| id.to_string()).unwrap_or_default();
        let mut rows = self.query(LIST, &[text(state.as_str()), text(after), number(limit.saturating_add(1))]).await?;
        let more = rows.len() > limit;
        rows.truncate(limit);
        let mut deliveries = Vec::new();
        for columns in &mut rows {
            deliveries.push((columns.id()?, Delivery::from_bytes(&columns.bytes()?.unwrap_or_default())));
        }
        let next = deliveries.last().map(|(id, _)| *id).filter(|_| more);
        Ok(Page { scanned: deliveries.len(), deliveries, next })
    }

    async fn search(
        &self,
        state: DeliveryState,
        filter: &Filter,
        limit: usize,
        after: Option<DeliveryId>,
    ) -> Result<Found, StoreError> {
        let page = self.list(state, filter, limit, after).await?;
        let (pending, dead, _) = self.counts().await?;
        Ok(Found { page, pending, dead })
    }

    async fn repair(
        &self,
        repair: Repair,
        selection: &Selection,
        end: Duration,
        _: Duration,
    ) -> Result<Repaired, StoreError> {
        self.repair_all(repair, selection, end).await
    }

    async fn show(
        &self,
        id: DeliveryId,
    ) -> Result<Option<(DeliveryState, Result<Delivery<'static>, StoredError>)>, StoreError> {
        let mut rows = self.query(SHOW, &[text(id.to_string())]).await?;
        let Some(columns) = rows.first_mut() else { return Ok(None) };
        let state = columns.skip().skip().text()?;
        let state = if state == "dead" { DeliveryState::Dead } else { DeliveryState::Pending };
        Ok(Some((state, Delivery::from_bytes(&columns.bytes()?.unwrap_or_default()))))
    }

    async fn take_one(
        &self,
        id: DeliveryId,
        _: Duration,
    ) -> Result<Operated<(Delivery<'static>, Option<Pass>)>, StoreError> {
        let was_dead = match self.show(id).await? {
            Some((_, Err(StoredError))) => return Ok(Operated::Damaged),
            Some((state, Ok(_))) => state == DeliveryState::Dead,
            None => return Ok(Operated::Unknown),
        };
        Ok(self.take_now(id, was_dead).await?.map(|delivery| (delivery, None)))
    }

    async fn end_one(&self, _: Option<Pass>) -> Result<(), StoreError> {
        Ok(())
    }

    async fn delete(&self, id: DeliveryId, _: Duration) -> Result<Operated<()>, StoreError> {
        if let Some((_, Ok(delivery))) = self.show(id).await?
            && delivery.is_in_flight(self.host.now(), &self.limits)
        {
            return Ok(Operated::InFlight);
        }
        match effect(&self.query(DELETE, &[text(id.to_string())]).await?) {
            Effect::Done => Ok(Operated::Done(())),
            Effect::Late => self.why_not(id).await,
        }
    }

    async fn doubt(&self, after: Option<DeliveryId>, end: Duration) -> Result<Doubted, StoreError> {
        let mut doubted = Doubted { count: 0, next: after, is_deferred: false };
        loop {
            let after = doubted.next.map(|id| id.to_string()).unwrap_or_default();
            let parameters = [text(after), number(DOUBTED_AT_ONCE), milliseconds(half(self.lease()))];
            let mut rows = self.query(DOUBT, &parameters).await?;
            doubted.count = doubted.count.saturating_add(rows.len());
            for columns in &mut rows {
                doubted.next = doubted.next.max(Some(columns.id()?));
            }
            if rows.len() < DOUBTED_AT_ONCE {
                doubted.next = None;
                return Ok(doubted);
            }
            if self.host.monotonic() >= end {
                return Ok(doubted);
            }
        }
    }

    async fn status(&self) -> Result<Status, StoreError> {
        let (pending, dead, oldest) = self.counts().await?;
        let oldest_delivery = match oldest {
            Some(oldest) => self.show(oldest).await?.and_then(|(_, delivery)| delivery.ok()),
            None => None,
        };
        Ok(Status { pending, dead, oldest, oldest_delivery, faults: self.faults().await? })
    }

    async fn samples(&self) -> Result<Vec<Sample>, StoreError> {
        let (last, ring) = self.sampled().await?;
        Ok(sample::joined(ring, last))
    }

    async fn faults(&self) -> Result<Faults, StoreError> {
        let mut faults = Faults::default();
        for (name, value, since) in self.notes(&["fault", "twice", "queues", "drain"]).await? {
            match name.as_str() {
                "queues" => faults.queues = read_json::read(value.as_bytes()).unwrap_or_default(),
                "drain" => {
                    let note: Option<DrainNote> = read_json::read(value.as_bytes()).ok();
                    faults.sample = note.as_ref().and_then(|note| note.sample);
                    faults.drained = note.map(|note| (note.at, note.summary));
                }
                "fault" => faults.engine = Some(EngineFault { at: since, reason: value }),
                _ => faults.twice = read_json::read(value.as_bytes()).ok(),
            }
        }
        for held in std::mem::take(&mut faults.queues) {
            if matches!(self.show(held.delivery).await?, Some((DeliveryState::Pending, _))) {
                faults.queues.push(held);
            }
        }
        let now = self.host.now();
        faults.twice = faults.twice.filter(|twice: &Twice| twice.is_shown(now));
        Ok(faults)
    }

    async fn record_fault(&self, reason: &str) -> Result<(), StoreError> {
        self.write_note("fault", text(reason)).await
    }

    async fn clear_fault(&self) -> Result<(), StoreError> {
        self.query(CLEAR_NOTE, &[text("fault")]).await.map(drop)
    }

    async fn held_queues(&self) -> Result<Vec<HeldQueue>, StoreError> {
        let note = self.notes(&["queues"]).await?.pop();
        Ok(note.and_then(|(_, value, _)| read_json::read(value.as_bytes()).ok()).unwrap_or_default())
    }

    async fn write_held_queues(&self, queues: &[HeldQueue]) -> Result<(), StoreError> {
        if queues.is_empty() {
            return self.query(CLEAR_NOTE, &[text("queues")]).await.map(drop);
        }
        self.write_note("queues", json(&queues)?).await
    }

    async fn record_twice(&self, delivery: DeliveryId, runs: Vec<String>) -> Result<(), StoreError> {
        let twice = Twice { at: self.host.now(), delivery, runs };
        self.write_note("twice", json(&twice)?).await
    }
}

impl<H: Sql + Clock + Rng> PostgresStore<'_, H> {
    /// Takes a delivery that is pending, or was dead a moment ago, with its age and attempts reset.
    pub(super) async fn take_now(
        &self,
        id: DeliveryId,
        was_dead: bool,
    ) -> Result<Operated<Delivery<'static>>, StoreError> {
        let (token, begun) = (self.token(), self.host.monotonic());
        let mut rows = self.query(TAKE_ONE, &[text(id.to_string()), text(&token), milliseconds(self.lease())]).await?;
        if let Some(columns) = rows.first_mut() {
            return Ok(match self.taken(columns, &token, self.until(begun)).await? {
                Err(_) => Operated::Damaged,
                Ok((mut delivery, _)) if delivery.is_in_flight(self.host.now(), &self.limits) => {
                    let _: Effect = self.reschedule(&mut delivery).await?;
                    Operated::InFlight
                }
                Ok((mut delivery, _)) => {
                    delivery.renew(self.host.now(), &self.limits);
                    if was_dead && delivery.work.queue().is_some() {
                        delivery.requeued = Some(self.host.now());
                    }
                    if was_dead && let (Work::Start(_), Some(claim)) = (&delivery.work, &mut delivery.claim) {
                        // While it was dead, another delivery may have had its key: its run is looked up first.
                        claim.contended = true;
                    }
                    Operated::Done(delivery)
                }
            });
        }
        self.why_not(id).await
    }

    /// Why an operation of an operator had no effect. If another delivery with the same content has the key of a dead
    /// letter, that is deleted.
    async fn why_not<T>(&self, id: DeliveryId) -> Result<Operated<T>, StoreError> {
        let mut rows = self.query(SHOW, &[text(id.to_string())]).await?;
        let Some(columns) = rows.first_mut() else { return Ok(Operated::Unknown) };
        let label = columns.skip().text()?;
        let delivery = Delivery::from_bytes(&columns.skip().bytes()?.unwrap_or_default());
        let is_under_way = columns.skip().skip().bool()?;
        if is_under_way {
            return Ok(Operated::InFlight);
        }
        let Ok(delivery) = delivery else { return Ok(Operated::Damaged) };
        let same = delivery.claim.as_ref().is_some_and(|claim| claim.key.hash() == label);
        let first = match &delivery.claim {
            Some(claim) if same => self.first_record(&delivery.work, std::slice::from_ref(&claim.key)).await?,
            _ => None,
        };
        let is_repeat = first.is_some_and(|(_, first)| {
            delivery.claim.as_ref().is_some_and(|claim| first.digest() == claim.key.digest())
        });
        if is_repeat {
            self.query(DELETE, &[text(id.to_string())]).await?;
        }
        Ok(Operated::Superseded { is_repeat })
    }
}

/// Whether a statement that returns the rows it has changed had an effect.
fn effect(rows: &[Columns]) -> Effect {
    if rows.is_empty() { Effect::Late } else { Effect::Done }
}

/// The stored form of a delivery.
fn stored(delivery: &Delivery<'_>) -> Result<Vec<u8>, StoreError> {
    delivery.to_bytes().map_err(codec_error)
}
