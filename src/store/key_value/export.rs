//! The move to and from another store.
//!
//! A step holds the drain's lease: nobody sends a stored delivery meanwhile, and there is no other move. The names of
//! outcomes have a part of the key's hash only, so their values have the whole one.

use std::time::Duration;

use super::form::Form;
use super::names::{self, KeyList, Name, OUTCOMES, RUNS, Register, Round, WINNERS, short};
use super::outcome::{Known, released};
use super::pass::Pass;
use super::registers::Contender;
use super::state::KeyValueStore;
use crate::callback::CallbackRecord;
use crate::delivery::{Delivery, DeliveryId, Hold, Key, Outcome, Row, StoredError, Work};
use crate::ports::{Clock, KeyValue, Rng, StoreError};
use crate::store::record::callback_record;
use crate::store::transfer::{
    Cursor, Found, Imported, Kind, Record, Source, Standing, Target, delivery_of, mark_maybe_sent,
};
use crate::store::{DeliveryState, OutcomeRecord, RunRecord, SEND_WITHIN, Settled, codec_error};
use crate::time::Timestamp;

/// The store under the drain's lease, for a step of a move.
#[derive(Debug)]
pub(in crate::store) struct Leased<'s, 'a, H> {
    store: &'s KeyValueStore<'a, H>,
    pass: Pass,
}

/// Whether a step can begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::store) enum Prepared {
    /// It can.
    Ready,
    /// Keys of an earlier release are left: the next call goes on with them.
    Upgrading,
    /// A drain of an earlier release may still be running.
    Busy,
}

impl KeyList {
    /// All records to move, in order.
    fn records(&self) -> Vec<Cursor> {
        let of_ids = |kind, ids: Vec<DeliveryId>| ids.into_iter().map(move |id| Cursor { kind, name: id.to_string() });
        let of_names = |kind, prefix: &'static str| {
            let names = self.0.iter().filter_map(move |name| name.strip_prefix(prefix));
            names.map(move |name| Cursor { kind, name: name.to_owned() })
        };
        let mut records: Vec<Cursor> = of_ids(Kind::Pending, self.pending())
            .chain(of_ids(Kind::Dead, self.dead()))
            .chain(OUTCOMES.into_iter().flat_map(|prefix| of_names(Kind::Remembered, prefix)))
            .chain(of_names(Kind::Claim, WINNERS))
            .chain(of_names(Kind::Run, RUNS))
            .collect();
        records.sort_unstable();
        records
    }
}

/// The window and the short hash in the rest of a name.
fn windowed(name: &str) -> Result<(u64, &str), StoreError> {
    let parts = name.split_once(':').and_then(|(window, short)| Some((window.parse().ok()?, short)));
    parts.ok_or_else(|| codec_error(StoredError))
}

/// The key of a callback's record, among those that a callback may have, by its short hash.
fn key_of(record: &CallbackRecord, wanted: &str) -> Option<Key> {
    let callback = record.callback();
    let task = record.task.as_ref().map(|task| Key::task(&callback, task));
    let keys = task.into_iter().chain([Key::early(&callback), Key::callback(&callback)]);
    keys.into_iter().find(|key| short(key.hash()) == wanted)
}

impl<'a, H: KeyValue + Clock + Rng> KeyValueStore<'a, H> {
    /// What the store knows of a key, for a delivery that another store is about to claim it for. Costs 5 reads for an
    /// unknown key.
    pub(in crate::store) async fn standing(
        &self,
        work: &Work<'_>,
        key: &Key,
        own: DeliveryId,
    ) -> Result<Standing, StoreError> {
        let windows = self.claims.retention_of(key).lookup(self.host.now());
        let mut rounds = Vec::new();
        for window in windows {
            match self.claims.known(work, key, window).await? {
                Known::Settled(settled) if settled.id() == own => return Ok(Standing::Unknown),
                Known::Settled(settled) => return Ok(Standing::Settled(settled)),
                Known::Open { term } => rounds.push(Round { window, short: short(key.hash()), term, number: 0 }),
            }
        }
        for round in rounds {
            if self.host.exists(&Register::Mark.of(&round)).await?
                && self.claims.winner(round).await?.is_some_and(|(_, winner)| !winner.is_of(own))
            {
                return Ok(Standing::Claimed);
            }
        }
        let is_claimed =
            !self.claims.form().await?.moved && self.claims.is_claimed_before_upgrade(key, windows).await?;
        Ok(if is_claimed { Standing::Claimed } else { Standing::Unknown })
    }

    /// Whether a delivery is pending that can be decoded. Lists all keys of the store.
    pub(in crate::store) async fn has_pending(&self) -> Result<bool, StoreError> {
        let list = self.deliveries().list().await?;
        if list.has_unmoved() {
            return Ok(true);
        }
        for id in list.pending() {
            if let Some(Ok(_)) = self.deliveries().load(DeliveryState::Pending, id).await? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Acquires the lease of the drain for a step of a move; `None` if a drain is at work, or another move.
    pub(in crate::store) async fn lease(&self, length: Duration) -> Result<Option<Leased<'_, 'a, H>>, StoreError> {
        let lease = self.deliveries().acquire_lease(length).await?;
        Ok(lease.map(|lease| Leased { store: self, pass: Pass::without_list(lease, false) }))
    }

    /// Whether a name with this beginning and this rest belongs to a retention window that is over.
    fn has_expired(&self, name: &str) -> bool {
        self.claims.present().is_expired(&Name::parse(name))
    }

    /// A delivery that was not sent is marked first as maybe sent. If the step is repeated, the other store may have
    /// delivered it meanwhile.
    async fn export_pending(&self, id: DeliveryId) -> Result<Found, StoreError> {
        let mut delivery = match self.deliveries().load(DeliveryState::Pending, id).await? {
            None => return Ok(Found::Gone),
            Some(Err(StoredError)) => return Ok(Found::Fixed),
            Some(Ok(delivery)) => delivery,
        };
        let now = self.host.now();
        if delivery.is_in_flight(now, &self.limits) {
            return Ok(Found::Fixed);
        }
        let settled = match self.claims.settled(&delivery).await? {
            Some(Err(StoredError)) => return Ok(Found::Fixed),
            Some(Ok(settled)) if !settled.is_pending(&delivery) => settled,
            _ => {
                if !delivery.is_ambiguous() {
                    let mut marked = delivery.clone();
                    mark_maybe_sent(&mut marked, now);
                    self.deliveries().put(&marked).await?;
                }
                return Ok(Found::Record(Record::Pending(Box::new(delivery))));
            }
        };
        let digest = delivery.claim.as_ref().map(|claim| claim.key.digest().to_owned()).unwrap_or_default();
        if matches!(settled.outcome(&digest), Outcome::Duplicate { .. }) {
            return Ok(Found::Superfluous);
        }
        delivery.close(delivery.work.superseded_reason(), now);
        Ok(Found::Record(Record::Dead(Box::new(delivery), None)))
    }

    async fn export_dead(&self, id: DeliveryId) -> Result<Found, StoreError> {
        let delivery = match self.deliveries().load(DeliveryState::Dead, id).await? {
            None => return Ok(Found::Gone),
            Some(Err(StoredError)) => return Ok(Found::Fixed),
            Some(Ok(delivery)) => delivery,
        };
        let holds = match self.claims.own_record(&delivery).await? {
            Some(Ok(Settled::Start(record))) if record.id == id => Some(record.at),
            _ => None,
        };
        Ok(Found::Record(Record::Dead(Box::new(delivery), holds)))
    }

    async fn export_outcome(&self, name: &str) -> Result<Found, StoreError> {
        let (window, short) = windowed(name)?;
        let stored = names::outcome_of(short, window);
        if self.has_expired(&stored) {
            return Ok(Found::Superfluous);
        }
        let Some(bytes) = self.host.get(&stored).await? else { return Ok(Found::Gone) };
        // A key that was released is not remembered. The term stays: it tells which claims are over.
        if released(&bytes).is_some() {
            return Ok(Found::Gone);
        }
        let (key, settled, at) = if short.contains(':') {
            let Ok(record) = CallbackRecord::from_bytes(&bytes) else { return Ok(Found::Fixed) };
            let at = record.sent.unwrap_or(record.received);
            (key_of(&record, short), Settled::Callback(record), at)
        } else {
            let Ok(record) = OutcomeRecord::from_bytes(&bytes) else { return Ok(Found::Fixed) };
            let key = record.hash.clone().map(|hash| Key::restore(hash, record.digest.clone()));
            let at = record.at;
            (key, Settled::Start(record), at)
        };
        if !settled.is_delivered() {
            // The record of a delivery that is stored goes with it.
            let is_stored = self.is_stored(settled.id()).await?;
            return Ok(if is_stored { Found::Fixed } else { Found::Superfluous });
        }
        Ok(key.map_or(Found::Fixed, |key| Found::Record(Record::Remembered(key, Box::new(settled), at))))
    }

    /// The claim of a contender that was chosen and has recorded no outcome. That of a callback has the callback itself.
    async fn export_claim(&self, name: &str) -> Result<Found, StoreError> {
        let won = format!("{WINNERS}{name}");
        let Name::Claim(window, short, term) = Name::parse(&won) else { return Ok(Found::Gone) };
        if self.has_expired(&won) {
            return Ok(Found::Superfluous);
        }
        let outcome = self.host.get(&names::outcome_of(short, window)).await?;
        match outcome.map(|outcome| released(&outcome)) {
            None if term.is_empty() => {}
            Some(Some(present)) if present == term => {}
            // Settled, or of an earlier term.
            _ => return Ok(Found::Gone),
        }
        let Some(bytes) = self.host.get(&won).await? else { return Ok(Found::Gone) };
        let Some(winner) = Contender::from_bytes(&bytes) else { return Ok(Found::Fixed) };
        if winner.withdrawn {
            return Ok(Found::Gone);
        }
        let Some(record) = winner.callback else { return Ok(Found::Fixed) };
        let Some(key) = key_of(&record, short) else { return Ok(Found::Fixed) };
        let mut delivery = delivery_of(record, key);
        if let Some(wait) = &mut delivery.wait {
            // Its instance has died, perhaps after it had sent it.
            wait.sends = wait.sends.max(1);
            delivery.begin_attempt(winner.at.plus(SEND_WITHIN), &self.limits);
        }
        let is_in_flight = delivery.is_in_flight(self.host.now(), &self.limits);
        Ok(if is_in_flight { Found::Fixed } else { Found::Record(Record::Pending(Box::new(delivery))) })
    }

    async fn export_run(&self, name: &str) -> Result<Found, StoreError> {
        let stored = format!("{RUNS}{name}");
        if self.has_expired(&stored) {
            return Ok(Found::Superfluous);
        }
        let Some(bytes) = self.host.get(&stored).await? else { return Ok(Found::Gone) };
        Ok(match RunRecord::from_bytes(&bytes) {
            Some(RunRecord { hash: Some(run), scope, unseen, .. }) => {
                Found::Record(Record::Run(run, RunRecord::new(scope, unseen)))
            }
            _ => Found::Fixed,
        })
    }

    /// Writes the outcome of a key: a later claim finds it. Returns another delivery's outcome if there is one.
    async fn record_outcome(&self, key: &Key, window: u64, outcome: &Settled) -> Result<Option<Imported>, StoreError> {
        for window in self.claims.retention_of(key).lookup(self.host.now()) {
            let Some(bytes) = self.claims.outcome(key, window).await? else { continue };
            if released(&bytes).is_some() {
                continue;
            }
            let known = Settled::read(matches!(outcome, Settled::Callback(_)), &bytes).map_err(codec_error)?;
            if known.id() != outcome.id() {
                let is_same = known.digest() == outcome.digest();
                return Ok(Some(Imported::Held { is_same, is_accepted: true }));
            }
            if known.is_delivered() {
                return Ok(Some(Imported::Done));
            }
        }
        let bytes = outcome.to_bytes().map_err(codec_error)?;
        self.host.set(&names::outcome(key, window), &bytes).await?;
        Ok(None)
    }

    async fn import_pending(&self, delivery: &Delivery<'static>) -> Result<Imported, StoreError> {
        if self.is_stored(delivery.id).await? {
            return Ok(Imported::Done);
        }
        let now = self.host.now();
        let mut delivery = Delivery { hold: Hold::default(), early_window: None, ..delivery.clone() };
        if let Some(claim) = &mut delivery.claim {
            claim.window = self.claims.retention_of(&claim.key).window(now);
            let (key, window) = (claim.key.clone(), claim.window);
            let outcome = match &delivery.work {
                Work::Start(_) => Settled::Start(OutcomeRecord::pending(delivery.id, &key, now)),
                Work::Resolve(callback) => {
                    let is_early = key.hash() == Key::early(callback).hash();
                    delivery.early_window = is_early.then_some(window);
                    Settled::Callback(callback_record(&delivery, callback))
                }
            };
            if let Some(known) = self.record_outcome(&key, window, &outcome).await? {
                return Ok(known);
            }
        }
        // Last: once it is there, an import is over.
        self.deliveries().put(&delivery).await?;
        Ok(Imported::Done)
    }

    async fn import_dead(
        &self,
        delivery: &Delivery<'static>,
        holds: Option<Timestamp>,
    ) -> Result<Imported, StoreError> {
        if self.is_stored(delivery.id).await? {
            return Ok(Imported::Done);
        }
        let mut delivery = delivery.clone();
        if let (Work::Start(_), Some(claim), Some(at)) = (&delivery.work, &mut delivery.claim, holds) {
            let retention = self.claims.retention_of(&claim.key);
            claim.window = retention.window(at);
            if retention.lookup(self.host.now()).contains(&claim.window) {
                let outcome = Settled::Start(OutcomeRecord::pending(delivery.id, &claim.key, at));
                if let Some(known) = self.record_outcome(&claim.key, claim.window, &outcome).await? {
                    return Ok(known);
                }
            }
        }
        self.deliveries().dead_letter(&delivery).await?;
        Ok(Imported::Done)
    }

    async fn import_remembered(&self, key: &Key, settled: &Settled, at: Timestamp) -> Result<Imported, StoreError> {
        let retention = self.claims.retention_of(key);
        let window = retention.window(at);
        if !retention.lookup(self.host.now()).contains(&window) {
            return Ok(Imported::Done);
        }
        Ok(self.record_outcome(key, window, settled).await?.unwrap_or(Imported::Done))
    }

    async fn is_stored(&self, id: DeliveryId) -> Result<bool, StoreError> {
        Ok(self.host.exists(&names::pending(id)).await? || self.host.exists(&names::dead(id)).await?)
    }

    /// Deletes the claim and the outcome of a key, in this order: while the outcome is there, no claim counts.
    async fn forget_key(&self, short: &str, window: u64) -> Result<(), StoreError> {
        let outcome = names::outcome_of(short, window);
        let term = self.host.get(&outcome).await?.as_deref().and_then(released);
        let mut round = Round { window, short: short.to_owned(), term: term.clone().unwrap_or_default(), number: 0 };
        while self.host.exists(&Register::Mark.of(&round)).await? {
            for register in [Register::Won, Register::Void, Register::Mark] {
                self.host.delete(&register.of(&round)).await?;
            }
            round.number = round.number.saturating_add(1);
        }
        if term.is_none() {
            self.host.delete(&outcome).await?;
        }
        Ok(())
    }

    /// Removes a delivery and what belongs to it, in this order: as long as the delivery is there, it is moved again.
    async fn forget_stored(&self, id: DeliveryId) -> Result<(), StoreError> {
        for state in [DeliveryState::Dead, DeliveryState::Pending] {
            if let Some(Ok(delivery)) = self.deliveries().load(state, id).await? {
                self.claims.release_early(&delivery).await?;
                let own = match self.claims.own_record(&delivery).await? {
                    Some(Ok(record)) => record.id() == id && !record.is_delivered(),
                    Some(Err(StoredError)) => false,
                    // The contender that was chosen instead has died. Its key is known to the other store.
                    None => state == DeliveryState::Pending,
                };
                if let (Some(claim), true) = (&delivery.claim, own) {
                    self.forget_key(&short(claim.key.hash()), claim.window).await?;
                }
            }
            self.deliveries().remove(state, id).await?;
        }
        Ok(())
    }
}

impl<H: KeyValue + Clock + Rng> Leased<'_, '_, H> {
    /// Upgrades a store of an earlier release until `end`, and carries out an operator's requests.
    pub(in crate::store) async fn prepare(&mut self, end: Duration) -> Result<Prepared, StoreError> {
        let host = self.store.host;
        let end = host.now().plus(end.saturating_sub(host.monotonic()));
        self.store.open_pass(&mut self.pass, end).await?;
        let is_moved = Form::stored(host).await?.is_some_and(|form| form.moved);
        Ok(match (is_moved, self.pass.more) {
            (true, _) => Prepared::Ready,
            (false, true) => Prepared::Upgrading,
            (false, false) => Prepared::Busy,
        })
    }

    /// Releases the lease. The next drain begins a pass.
    pub(in crate::store) async fn release(mut self) -> Result<(), StoreError> {
        self.pass.lease.scan.more = true;
        self.store.deliveries().release_lease(self.pass.lease).await
    }

    /// Returns an error if the lease is not held any more: a drain or another move may be at work.
    async fn check_lease(&self) -> Result<(), StoreError> {
        if self.store.deliveries().holds(&self.pass.lease).await? {
            return Ok(());
        }
        Err(StoreError("the lease of the key-value store has ended during a move: call it again".to_owned()))
    }
}

impl<H: KeyValue + Clock + Rng> Source for Leased<'_, '_, H> {
    /// Lists all keys of the store.
    async fn records(&self, after: Option<&Cursor>, limit: usize) -> Result<Vec<Cursor>, StoreError> {
        let mut records = self.store.deliveries().list().await?.records();
        records.retain(|at| after.is_none_or(|after| at > after));
        records.truncate(limit);
        Ok(records)
    }

    async fn export(&self, at: &Cursor) -> Result<Found, StoreError> {
        self.check_lease().await?;
        match (at.kind, at.id()) {
            (Kind::Pending, Some(id)) => self.store.export_pending(id).await,
            (Kind::Dead, Some(id)) => self.store.export_dead(id).await,
            (Kind::Pending | Kind::Dead, None) => Ok(Found::Gone),
            (Kind::Remembered, _) => self.store.export_outcome(&at.name).await,
            (Kind::Claim, _) => self.store.export_claim(&at.name).await,
            (Kind::Run, _) => self.store.export_run(&at.name).await,
        }
    }

    async fn forget(&self, at: &Cursor, _: Option<&Row>) -> Result<(), StoreError> {
        match at.kind {
            Kind::Pending | Kind::Dead => match at.id() {
                Some(id) => self.store.forget_stored(id).await,
                None => Ok(()),
            },
            Kind::Remembered => {
                let (window, short) = windowed(&at.name)?;
                self.store.forget_key(short, window).await
            }
            Kind::Claim => {
                let won = format!("{WINNERS}{}", at.name);
                if let Name::Claim(window, short, _) = Name::parse(&won) {
                    self.store.forget_key(short, window).await?;
                }
                self.store.host.delete(&won).await
            }
            Kind::Run => self.store.host.delete(&format!("{RUNS}{}", at.name)).await,
        }
    }

    /// Nothing to do: it is pending, as it was.
    async fn leave(&self, _: &Delivery<'static>, _: &Row) -> Result<(), StoreError> {
        Ok(())
    }
}

impl<H: KeyValue + Clock + Rng> Target for Leased<'_, '_, H> {
    async fn import(&self, record: &Record) -> Result<Imported, StoreError> {
        self.check_lease().await?;
        let store = self.store;
        match record {
            Record::Pending(delivery) => store.import_pending(delivery).await,
            Record::Dead(delivery, holds) => store.import_dead(delivery, *holds).await,
            Record::Remembered(key, settled, at) => store.import_remembered(key, settled, *at).await,
            Record::Run(run, record) => {
                if store.claims.run_named(run).await?.is_none() {
                    store.claims.record_run_named(run, record).await?;
                }
                Ok(Imported::Done)
            }
        }
    }
}
