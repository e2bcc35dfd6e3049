//! The store that the settings choose.

use std::time::Duration;

use super::archive::{Archive, Kept};
use super::key_value::{self, KeyValueStore, Prepared};
use super::postgres::{self, PostgresStore};
use super::transfer::{Cursor, Standing, Transferred, transfer};
use super::{
    Begin, Begun, CallbackPage, Claim, Claims, DeliveryState, Doubted, Effect, Faults, Found, HeldQueue, Holder,
    Joined, NoteKind, Offer, Operated, Outbox, Page, PassNote, Repair, Repaired, RunRecord, Sample, Selection, Settled,
    SourceNotes, Status, StoreSize, WidthNotes,
};
use crate::delivery::{Delivery, DeliveryId, Filter, Key, Limits, StoredError, Work};
use crate::ports::{Clock, KeyValue, Rng, Sql, StoreError};
use crate::reference::{RunRef, Topic};
use crate::secret::Secret;
use crate::time::Retention;

/// The store whose content is moved to the one in use.
#[derive(Clone, Debug)]
pub enum MoveFrom {
    /// The key-value store, to PostgreSQL.
    KeyValue,
    /// The database of this URL, to the key-value store.
    Postgres(Secret),
}

/// A store, and the one in use before, whose content is being moved.
#[derive(Debug)]
pub struct Store<'a, H> {
    host: &'a H,
    current: Kind<'a, H>,
    /// Each claim looks into it first: what it knows is not in `current` yet.
    previous: Option<Kind<'a, H>>,
    retention: [Retention; 2],
    limits: Limits,
    size: StoreSize,
}

/// One of the kinds of stores that there are.
#[derive(Debug)]
enum Kind<'a, H> {
    /// A key-value store.
    KeyValue(KeyValueStore<'a, H>),
    /// PostgreSQL.
    Postgres(PostgresStore<'a, H>),
}

/// A pass of the drain.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "a request has one at a time")]
pub enum StorePass {
    /// Over a key-value store.
    KeyValue(key_value::Pass),
    /// Over PostgreSQL.
    Postgres(postgres::Pass),
}

impl StorePass {
    /// Leaves deliveries in queues to a later pass.
    fn hold_queues(&mut self) {
        match self {
            Self::KeyValue(pass) => pass.hold_queues(),
            Self::Postgres(pass) => pass.hold_queues(),
        }
    }
}

impl<'a, H> Store<'a, H> {
    /// The store of a host, with the retention of starts and of callbacks: PostgreSQL if there is a URL, otherwise the
    /// key-value store, of this size.
    pub fn new(
        host: &'a H,
        database_url: Option<Secret>,
        retention: [Retention; 2],
        limits: Limits,
        size: StoreSize,
    ) -> Self {
        let current = match database_url {
            Some(url) => Kind::Postgres(PostgresStore::new(host, url, retention, limits)),
            None => Kind::KeyValue(KeyValueStore::new(host, retention, limits, size)),
        };
        Self { host, current, previous: None, retention, limits, size }
    }

    /// Keeps the payloads of delivered starts for this long, if that is in a database.
    pub fn keeping(mut self, keep: Duration) -> Self {
        if let Kind::Postgres(store) = self.current {
            self.current = Kind::Postgres(store.keeping(keep));
        }
        self
    }

    /// Names the store in use before, if its content is being moved.
    pub fn with_previous(self, move_from: Option<MoveFrom>) -> Self {
        let Self { host, retention, limits, size, .. } = self;
        let previous = move_from.map(|from| match from {
            MoveFrom::KeyValue => Kind::KeyValue(KeyValueStore::new(host, retention, limits, size)),
            MoveFrom::Postgres(url) => Kind::Postgres(PostgresStore::new(host, url, retention, limits)),
        });
        Self { previous, ..self }
    }
}

/// Calls a method of the store that this is.
macro_rules! on {
    ($self:ident, $store:ident => $call:expr) => {
        match &$self.current {
            Kind::KeyValue($store) => $call.await,
            Kind::Postgres($store) => $call.await,
        }
    };
}

/// Calls a method of the store in use before, if there is one.
macro_rules! on_previous {
    ($self:ident, $store:ident => $call:expr, else $otherwise:expr) => {
        match &$self.previous {
            Some(Kind::KeyValue($store)) => $call.await?,
            Some(Kind::Postgres($store)) => $call.await?,
            None => $otherwise,
        }
    };
}

impl<H: KeyValue + Sql + Clock + Rng> Store<'_, H> {
    /// What the store in use before knows of a key. Read before anything else: what isn't there is in this store, or
    /// nowhere.
    async fn before(&self, delivery: &Delivery<'_>, key: &Key) -> Result<Standing, StoreError> {
        let standing =
            on_previous!(self, store => store.standing(&delivery.work, key, delivery.id), else Standing::Unknown);
        if matches!(standing, Standing::Unknown) {
            return Ok(standing);
        }
        // It may have been moved since, and have gone on here.
        let here = on!(self, store => store.first_record(&delivery.work, std::slice::from_ref(key)))?;
        Ok(here.map_or(standing, |(_, here)| Standing::Settled(here)))
    }

    /// Moves at most `limit` records of the store in use before, until `end` by the monotonic clock. `length` is the
    /// longest time that this may take. `None` if a drain of the key-value store is at work, or another move.
    pub async fn transfer(
        &self,
        after: Option<&Cursor>,
        limit: usize,
        end: Duration,
        length: Duration,
    ) -> Result<Option<Transferred>, StoreError> {
        match (&self.previous, &self.current) {
            (Some(Kind::KeyValue(source)), Kind::Postgres(target)) => {
                let Some(mut source) = source.lease(length).await? else { return Ok(None) };
                let moved = match source.prepare(end).await {
                    Ok(Prepared::Ready) => transfer(self.host, &source, target, after, limit, end).await.map(Some),
                    Ok(Prepared::Upgrading) => {
                        let next = Some(after.cloned().unwrap_or_else(Cursor::start));
                        Ok(Some(Transferred { next, ..Transferred::default() }))
                    }
                    Ok(Prepared::Busy) => Ok(None),
                    Err(error) => Err(error),
                };
                let released = source.release().await;
                let moved = moved?;
                released.map(|()| moved)
            }
            (Some(Kind::Postgres(source)), Kind::KeyValue(target)) => {
                let Some(leased) = target.lease(length).await? else { return Ok(None) };
                let moved = transfer(self.host, source, &leased, after, limit, end).await;
                let notified = target.notify().await;
                let released = leased.release().await;
                let moved = moved?;
                notified.and(released).map(|()| Some(moved))
            }
            _ => Ok(Some(Transferred::default())),
        }
    }
}

impl<H: KeyValue + Sql + Clock + Rng> Claims for Store<'_, H> {
    async fn claim(&self, delivery: &mut Delivery<'_>, key: Key, patience: Duration) -> Result<Claim, StoreError> {
        let standing = self.before(delivery, &key).await?;
        let is_claimed = match standing {
            Standing::Settled(settled) => return Ok(Claim::Settled(settled)),
            Standing::Claimed => true,
            Standing::Unknown => false,
        };
        if is_claimed {
            // Another delivery of the key may have been sent: this one is stored, and its run is looked up first.
            delivery.begin_attempt(self.host.now(), &self.limits);
        }
        let claim = on!(self, store => store.claim(delivery, key, patience))?;
        if is_claimed && matches!(claim, Claim::Won) && delivery.work.queue().is_none() {
            delivery.hold.until = Some(Duration::ZERO);
        }
        Ok(claim)
    }

    async fn claim_early(
        &self,
        delivery: &mut Delivery<'_>,
        early: Key,
        patience: Duration,
    ) -> Result<Claim, StoreError> {
        match self.before(delivery, &early).await? {
            Standing::Settled(settled) => Ok(Claim::Settled(settled)),
            Standing::Claimed => Ok(Claim::Contended(None)),
            Standing::Unknown => on!(self, store => store.claim_early(delivery, early, patience)),
        }
    }

    async fn claim_task(
        &self,
        delivery: &mut Delivery<'_>,
        task: Key,
        early: Key,
        patience: Duration,
    ) -> Result<Claim, StoreError> {
        for key in [&early, &task] {
            match self.before(delivery, key).await? {
                Standing::Settled(settled) => return Ok(Claim::Settled(settled)),
                Standing::Claimed => return Ok(Claim::Contended(None)),
                Standing::Unknown => {}
            }
        }
        on!(self, store => store.claim_task(delivery, task, early, patience))
    }

    async fn join(
        &self,
        delivery: &mut Delivery<'_>,
        key: &Key,
        holder: Option<DeliveryId>,
    ) -> Result<Joined, StoreError> {
        on!(self, store => store.join(delivery, key, holder))
    }

    async fn first_record(&self, work: &Work<'_>, keys: &[Key]) -> Result<Option<(usize, Settled)>, StoreError> {
        let before = on_previous!(self, store => store.first_record(work, keys), else None);
        let here = on!(self, store => store.first_record(work, keys))?;
        Ok(match (before, here) {
            (Some(before), Some(here)) if before.0 < here.0 => Some(before),
            (before, here) => here.or(before),
        })
    }

    async fn holder(&self, key: &Key) -> Result<Option<Holder>, StoreError> {
        let before = on_previous!(self, store => store.holder(key), else None);
        let here = on!(self, store => store.holder(key))?;
        Ok(here.or(before))
    }

    async fn settle_holder(&self, key: &Key, holder: Holder) -> Result<Settled, StoreError> {
        on!(self, store => store.settle_holder(key, holder))
    }

    async fn callbacks(
        &self,
        run: &RunRef,
        topic: Option<&Topic>,
        limit: usize,
        after: Option<&str>,
    ) -> Result<Result<CallbackPage, StoredError>, StoreError> {
        let before = match after {
            None => {
                on_previous!(self, store => store.callbacks(run, topic, usize::MAX, None), else Ok(CallbackPage::default()))
            }
            Some(_) => Ok(CallbackPage::default()),
        };
        let here = on!(self, store => store.callbacks(run, topic, limit, after))?;
        let (Ok(before), Ok(mut page)) = (before, here) else { return Ok(Err(StoredError)) };
        // The first page has those that are not moved yet.
        for record in before.records {
            if page.records.iter().all(|here| here.id != record.id) {
                page.records.push(record);
            }
        }
        page.records.sort_by_key(|record| (record.received, record.id));
        Ok(Ok(page))
    }

    async fn run(&self, run: &str) -> Result<Option<RunRecord>, StoreError> {
        let before = on_previous!(self, store => store.run(run), else None);
        Ok(on!(self, store => store.run(run))?.or(before))
    }

    async fn record_run(&self, run: &str, record: &RunRecord) -> Result<(), StoreError> {
        on!(self, store => store.record_run(run, record))
    }
}

/// Calls a method of the store that this is, with its own kind of pass.
macro_rules! on_pass {
    ($self:ident, $pass:ident, $store:ident => $call:expr, else $otherwise:expr) => {
        match (&$self.current, $pass) {
            (Kind::KeyValue($store), StorePass::KeyValue($pass)) => $call.await,
            (Kind::Postgres($store), StorePass::Postgres($pass)) => $call.await,
            _ => $otherwise,
        }
    };
}

impl<H: KeyValue + Sql + Clock + Rng> Outbox for Store<'_, H> {
    type Pass = StorePass;

    async fn keep(&self, delivery: &mut Delivery<'_>, is_sending: bool) -> Result<Effect, StoreError> {
        on!(self, store => store.keep(delivery, is_sending))
    }

    async fn promise(&self, delivery: &Delivery<'_>) -> Result<(), StoreError> {
        on!(self, store => store.promise(delivery))
    }

    async fn save(&self, delivery: &mut Delivery<'_>) -> Result<Effect, StoreError> {
        on!(self, store => store.save(delivery))
    }

    async fn begin(&self, delivery: &mut Delivery<'_>) -> Result<Begin, StoreError> {
        on!(self, store => store.begin(delivery))
    }

    async fn settle(&self, delivery: &Delivery<'_>, body: &[u8]) -> Result<Effect, StoreError> {
        on!(self, store => store.settle(delivery, body))
    }

    async fn reschedule(&self, delivery: &mut Delivery<'_>) -> Result<Effect, StoreError> {
        on!(self, store => store.reschedule(delivery))
    }

    async fn bury(&self, delivery: &Delivery<'_>, forgets_key: bool) -> Result<Effect, StoreError> {
        on!(self, store => store.bury(delivery, forgets_key))
    }

    async fn release(&self, delivery: &Delivery<'_>) -> Result<Effect, StoreError> {
        on!(self, store => store.release(delivery))
    }

    async fn abandon(&self, delivery: &Delivery<'_>) -> Result<Effect, StoreError> {
        on!(self, store => store.abandon(delivery))
    }

    async fn remove(&self, delivery: &Delivery<'_>) -> Result<Effect, StoreError> {
        on!(self, store => store.remove(delivery))
    }

    async fn superseded(
        &self,
        delivery: &mut Delivery<'_>,
    ) -> Result<Option<Result<Settled, StoredError>>, StoreError> {
        on!(self, store => store.superseded(delivery))
    }

    async fn take_over(&self, delivery: &mut Delivery<'_>) -> Result<(), StoreError> {
        on!(self, store => store.take_over(delivery))
    }

    async fn notify(&self) -> Result<(), StoreError> {
        on!(self, store => store.notify())
    }

    async fn begin_pass(&self, length: Duration) -> Result<Begun<StorePass>, StoreError> {
        // Before the pass reads anything: a delivery that is no longer there is in this store by then.
        let holds_queues = on_previous!(self, store => store.has_pending(), else false);
        let begun = match &self.current {
            Kind::KeyValue(store) => store.begin_pass(length).await?.map(StorePass::KeyValue),
            Kind::Postgres(store) => store.begin_pass(length).await?.map(StorePass::Postgres),
        };
        Ok(begun.map(|mut pass| {
            if holds_queues {
                pass.hold_queues();
            }
            pass
        }))
    }

    async fn offer(&self, pass: &mut StorePass, room: usize, busy: &[String]) -> Result<Offer, StoreError> {
        on_pass!(self, pass, store => store.offer(pass, room, busy), else Err(other_store()))
    }

    async fn open(
        &self,
        pass: &mut StorePass,
        id: DeliveryId,
    ) -> Result<Option<Result<Delivery<'static>, StoredError>>, StoreError> {
        on_pass!(self, pass, store => store.open(pass, id), else Err(other_store()))
    }

    async fn give_back_all(&self, pass: &mut StorePass, ids: Vec<DeliveryId>) -> Result<(), StoreError> {
        on_pass!(self, pass, store => store.give_back_all(pass, ids), else Err(other_store()))
    }

    fn has_other_passes(&self) -> bool {
        match &self.current {
            Kind::KeyValue(store) => store.has_other_passes(),
            Kind::Postgres(store) => store.has_other_passes(),
        }
    }

    async fn settle_all(&self, settled: &[(&Delivery<'_>, &[u8])]) -> Result<Vec<Effect>, StoreError> {
        on!(self, store => store.settle_all(settled))
    }

    async fn width_notes(&self) -> Result<WidthNotes, StoreError> {
        on!(self, store => store.width_notes())
    }

    async fn write_width(&self, note: &str) -> Result<(), StoreError> {
        on!(self, store => store.write_width(note))
    }

    async fn write_refusal(&self, refusal: &str) -> Result<(), StoreError> {
        on!(self, store => store.write_refusal(refusal))
    }

    async fn alert_note(&self) -> Result<Option<String>, StoreError> {
        on!(self, store => store.alert_note())
    }

    async fn replace_alert_note(&self, before: Option<&str>, note: &str) -> Result<bool, StoreError> {
        on!(self, store => store.replace_alert_note(before, note))
    }

    async fn sweep(&self, pass: &mut StorePass, end: Duration) -> Result<bool, StoreError> {
        on_pass!(self, pass, store => store.sweep(pass, end), else Err(other_store()))
    }

    async fn pending(&self, pass: &mut StorePass, concluded: usize) -> Result<usize, StoreError> {
        on_pass!(self, pass, store => store.pending(pass, concluded), else Err(other_store()))
    }

    fn sample(&self, pass: &StorePass, note: &PassNote) -> Sample {
        match (&self.current, pass) {
            (Kind::KeyValue(store), StorePass::KeyValue(pass)) => store.sample(pass, note),
            (Kind::Postgres(store), StorePass::Postgres(pass)) => store.sample(pass, note),
            _ => Sample::default(),
        }
    }

    async fn end_pass(&self, pass: StorePass, note: PassNote) -> Result<(), StoreError> {
        on_pass!(self, pass, store => store.end_pass(pass, note), else Err(other_store()))
    }

    async fn give_back(&self, delivery: &mut Delivery<'_>) -> Result<Effect, StoreError> {
        on!(self, store => store.give_back(delivery))
    }

    async fn abort_pass(&self, pass: StorePass) {
        on_pass!(self, pass, store => store.abort_pass(pass), else {});
    }

    async fn list(
        &self,
        state: DeliveryState,
        filter: &Filter,
        limit: usize,
        after: Option<DeliveryId>,
    ) -> Result<Page, StoreError> {
        on!(self, store => store.list(state, filter, limit, after))
    }

    async fn search(
        &self,
        state: DeliveryState,
        filter: &Filter,
        limit: usize,
        after: Option<DeliveryId>,
    ) -> Result<Found, StoreError> {
        on!(self, store => store.search(state, filter, limit, after))
    }

    async fn repair(
        &self,
        repair: Repair,
        selection: &Selection,
        end: Duration,
        length: Duration,
    ) -> Result<Repaired, StoreError> {
        on!(self, store => store.repair(repair, selection, end, length))
    }

    async fn show(
        &self,
        id: DeliveryId,
    ) -> Result<Option<(DeliveryState, Result<Delivery<'static>, StoredError>)>, StoreError> {
        on!(self, store => store.show(id))
    }

    async fn take_one(
        &self,
        id: DeliveryId,
        length: Duration,
    ) -> Result<Operated<(Delivery<'static>, Option<StorePass>)>, StoreError> {
        let key_value = |(delivery, pass): (_, Option<_>)| (delivery, pass.map(StorePass::KeyValue));
        let postgres = |(delivery, pass): (_, Option<_>)| (delivery, pass.map(StorePass::Postgres));
        match &self.current {
            Kind::KeyValue(store) => Ok(store.take_one(id, length).await?.map(key_value)),
            Kind::Postgres(store) => Ok(store.take_one(id, length).await?.map(postgres)),
        }
    }

    async fn end_one(&self, pass: Option<StorePass>) -> Result<(), StoreError> {
        match (&self.current, pass) {
            (Kind::KeyValue(store), Some(StorePass::KeyValue(pass))) => store.end_one(Some(pass)).await,
            _ => Ok(()),
        }
    }

    async fn delete(&self, id: DeliveryId, length: Duration) -> Result<Operated<()>, StoreError> {
        on!(self, store => store.delete(id, length))
    }

    async fn doubt(&self, after: Option<DeliveryId>, end: Duration) -> Result<Doubted, StoreError> {
        on!(self, store => store.doubt(after, end))
    }

    async fn status(&self) -> Result<Status, StoreError> {
        on!(self, store => store.status())
    }

    async fn samples(&self) -> Result<Vec<Sample>, StoreError> {
        on!(self, store => store.samples())
    }

    async fn faults(&self) -> Result<Faults, StoreError> {
        on!(self, store => store.faults())
    }

    async fn record_fault(&self, reason: &str) -> Result<(), StoreError> {
        on!(self, store => store.record_fault(reason))
    }

    async fn clear_fault(&self) -> Result<(), StoreError> {
        on!(self, store => store.clear_fault())
    }

    async fn held_queues(&self) -> Result<Vec<HeldQueue>, StoreError> {
        on!(self, store => store.held_queues())
    }

    async fn write_held_queues(&self, queues: &[HeldQueue]) -> Result<(), StoreError> {
        on!(self, store => store.write_held_queues(queues))
    }

    async fn record_twice(&self, delivery: DeliveryId, runs: Vec<String>) -> Result<(), StoreError> {
        on!(self, store => store.record_twice(delivery, runs))
    }
}

impl<H: KeyValue + Sql + Clock + Rng> Archive for Store<'_, H> {
    async fn keep_payloads(&self, delivered: &[&Delivery<'_>]) -> Result<(), StoreError> {
        on!(self, store => store.keep_payloads(delivered))
    }

    async fn kept(&self, after: Option<DeliveryId>, before: Option<DeliveryId>) -> Result<Vec<Kept>, StoreError> {
        on!(self, store => store.kept(after, before))
    }

    async fn show_kept(&self, id: DeliveryId) -> Result<Option<Result<Delivery<'static>, StoredError>>, StoreError> {
        on!(self, store => store.show_kept(id))
    }

    async fn replay(&self, delivery: &mut Delivery<'_>, key: Key) -> Result<bool, StoreError> {
        on!(self, store => store.replay(delivery, key))
    }
}

impl<H: KeyValue + Sql + Clock + Rng> SourceNotes for Store<'_, H> {
    async fn source_note(&self, kind: NoteKind, name: &str) -> Result<Option<String>, StoreError> {
        on!(self, store => store.source_note(kind, name))
    }

    async fn write_source_note(&self, kind: NoteKind, name: &str, note: &str) -> Result<(), StoreError> {
        on!(self, store => store.write_source_note(kind, name, note))
    }

    async fn source_notes(&self, limit: usize) -> Result<Vec<(NoteKind, String)>, StoreError> {
        on!(self, store => store.source_notes(limit))
    }

    async fn seen_source_notes(&self, limit: usize) -> Result<Vec<(NoteKind, String)>, StoreError> {
        on!(self, store => store.seen_source_notes(limit))
    }
}

/// The error of a pass over another kind of store, which no caller has.
fn other_store() -> StoreError {
    StoreError("the pass belongs to another store".to_owned())
}
