//! The store that the settings choose.

use std::time::Duration;

use super::kv::{self, KeyValueStore};
use super::postgres::{self, PostgresStore};
use super::transfer::{Cursor, Standing, Transferred, transfer};
use super::{
    Begin, Begun, CallbackPage, Claim, Claims, DeliveryState, Effect, Faults, Found, Holder, Joined, Offer, Operated,
    Outbox, Page, PassNote, RunRecord, Settled, Status, WidthNotes,
};
use crate::delivery::{Delivery, DeliveryId, Key, Limits, StoredError, Work};
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
pub enum StorePass {
    /// Over a key-value store.
    KeyValue(kv::Pass),
    /// Over PostgreSQL.
    Postgres(postgres::Pass),
}

impl<'a, H> Store<'a, H> {
    /// The store of a host, with the retention of starts and of callbacks: PostgreSQL if there is a URL, otherwise the
    /// key-value store.
    pub fn new(host: &'a H, database_url: Option<Secret>, retention: [Retention; 2], limits: Limits) -> Self {
        let current = match database_url {
            Some(url) => Kind::Postgres(PostgresStore::new(host, url, retention, limits)),
            None => Kind::KeyValue(KeyValueStore::new(host, retention, limits)),
        };
        Self { host, current, previous: None, retention, limits }
    }

    /// Names the store in use before, if its content is being moved.
    pub fn with_previous(self, move_from: Option<MoveFrom>) -> Self {
        let (host, retention, limits) = (self.host, self.retention, self.limits);
        let previous = move_from.map(|from| match from {
            MoveFrom::KeyValue => Kind::KeyValue(KeyValueStore::new(host, retention, limits)),
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
    /// longest time that this may take. `None` if a drain of that store is at work, or another move.
    pub async fn transfer(
        &self,
        after: Option<&Cursor>,
        limit: usize,
        end: Duration,
        length: Duration,
    ) -> Result<Option<Transferred>, StoreError> {
        match (&self.previous, &self.current) {
            (Some(Kind::KeyValue(source)), Kind::Postgres(target)) => {
                let Some(lease) = source.lease(length).await? else { return Ok(None) };
                let moved = transfer(self.host, source, target, after, limit, end).await;
                let released = source.end_lease(lease).await;
                let moved = moved?;
                released?;
                Ok(Some(moved))
            }
            (Some(Kind::Postgres(source)), Kind::KeyValue(target)) => {
                let moved = transfer(self.host, source, target, after, limit, end).await?;
                target.notify().await?;
                Ok(Some(moved))
            }
            _ => Ok(Some(Transferred::default())),
        }
    }
}

impl<H: KeyValue + Sql + Clock + Rng> Claims for Store<'_, H> {
    async fn claim(&self, delivery: &mut Delivery<'_>, key: Key, patience: Duration) -> Result<Claim, StoreError> {
        let standing = self.before(delivery, &key).await?;
        if let Standing::Settled(settled) = standing {
            return Ok(Claim::Settled(settled));
        }
        let claim = on!(self, store => store.claim(delivery, key, patience))?;
        if let (Standing::Claimed, Claim::Won, Some(claim)) = (standing, &claim, &mut delivery.claim) {
            // Another delivery of the key may have been sent: this one is stored, and its run is looked up first.
            claim.contended = true;
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
        // The first page has all that is not moved yet.
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

    async fn superseded(&self, delivery: &Delivery<'_>) -> Result<Option<Result<Settled, StoredError>>, StoreError> {
        on!(self, store => store.superseded(delivery))
    }

    async fn notify(&self) -> Result<(), StoreError> {
        on!(self, store => store.notify())
    }

    async fn begin_pass(&self, length: Duration) -> Result<Begun<StorePass>, StoreError> {
        match &self.current {
            Kind::KeyValue(store) => Ok(store.begin_pass(length).await?.map(StorePass::KeyValue)),
            Kind::Postgres(store) => Ok(store.begin_pass(length).await?.map(StorePass::Postgres)),
        }
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

    fn offers_again(&self) -> bool {
        match &self.current {
            Kind::KeyValue(store) => store.offers_again(),
            Kind::Postgres(store) => store.offers_again(),
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

    async fn sweep(&self, pass: &mut StorePass, end: Duration) -> Result<bool, StoreError> {
        on_pass!(self, pass, store => store.sweep(pass, end), else Err(other_store()))
    }

    async fn pending(&self, pass: &mut StorePass, concluded: usize) -> Result<usize, StoreError> {
        on_pass!(self, pass, store => store.pending(pass, concluded), else Err(other_store()))
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

    async fn list(&self, state: DeliveryState, limit: usize, after: Option<DeliveryId>) -> Result<Page, StoreError> {
        on!(self, store => store.list(state, limit, after))
    }

    async fn search(
        &self,
        state: DeliveryState,
        text: &str,
        limit: usize,
        after: Option<DeliveryId>,
    ) -> Result<Found, StoreError> {
        on!(self, store => store.search(state, text, limit, after))
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

    async fn delete(&self, id: DeliveryId) -> Result<Operated<()>, StoreError> {
        on!(self, store => store.delete(id))
    }

    async fn status(&self) -> Result<Status, StoreError> {
        on!(self, store => store.status())
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

    async fn record_twice(&self, delivery: DeliveryId, runs: Vec<String>) -> Result<(), StoreError> {
        on!(self, store => store.record_twice(delivery, runs))
    }
}

/// The error of a pass over another kind of store, which no caller has.
fn other_store() -> StoreError {
    StoreError("the pass belongs to another store".to_owned())
}
