//! The move to and from another store.

use std::time::Duration;

use super::KeyValueStore;
use super::claims::Contender;
use super::keys::{self, DOORS, KeyList, OUTCOMES, Present, RUNS, Register, is_expired};
use super::lease::Lease;
use crate::callback::CallbackRecord;
use crate::delivery::{Delivery, DeliveryId, Hold, Key, Outcome, StoredError, Work};
use crate::ports::{Clock, KeyValue, Rng, StoreError};
use crate::store::record::callback_record;
use crate::store::transfer::{
    Cursor, Found, Imported, Kind, Record, Source, Standing, Target, delivery_of, mark_maybe_sent, superseded_reason,
};
use crate::store::{DeliveryState, OutcomeRecord, RunRecord, SEND_WITHIN, Settled, codec_error};
use crate::time::Timestamp;

impl KeyList {
    /// All records to move, in order.
    fn records(&self) -> Vec<Cursor> {
        let of_ids = |kind, ids: Vec<DeliveryId>| ids.into_iter().map(move |id| Cursor { kind, name: id.to_string() });
        let of_keys = |kind, prefix: &'static str| {
            let names = self.0.iter().filter_map(move |key| key.strip_prefix(prefix));
            names.map(move |name| Cursor { kind, name: name.to_owned() })
        };
        let mut records: Vec<Cursor> = of_ids(Kind::Pending, self.pending())
            .chain(of_ids(Kind::Dead, self.dead()))
            .chain(OUTCOMES.into_iter().flat_map(|prefix| of_keys(Kind::Remembered, prefix)))
            .chain(of_keys(Kind::Claim, DOORS))
            .chain(of_keys(Kind::Run, RUNS))
            .collect();
        records.sort_unstable();
        records
    }
}

/// The window and the hash in the name of a record.
fn windowed(name: &str) -> Result<(u64, &str), StoreError> {
    let parts = name.split_once('/').and_then(|(window, hash)| Some((window.parse().ok()?, hash)));
    parts.ok_or_else(|| codec_error(StoredError))
}

impl<H: KeyValue + Clock + Rng> KeyValueStore<'_, H> {
    /// What the store knows of a key, for a delivery that another store is about to claim it for. Costs 4 reads for an
    /// unknown key.
    pub(in crate::store) async fn standing(
        &self,
        work: &Work<'_>,
        key: &Key,
        own: DeliveryId,
    ) -> Result<Standing, StoreError> {
        match self.claims().record_of(work, key).await? {
            Some(settled) if settled.id() == own => return Ok(Standing::Unknown),
            Some(settled) => return Ok(Standing::Settled(settled)),
            None => {}
        }
        for window in self.claims().retention_of(key).lookup(self.host.now()) {
            if self.host.exists(&Register::Door.of(key, window)).await? {
                return Ok(Standing::Claimed);
            }
        }
        Ok(Standing::Unknown)
    }

    /// Acquires the lease of the drain for a move; `None` if a drain is at work.
    pub(in crate::store) async fn lease(&self, length: Duration) -> Result<Option<Lease>, StoreError> {
        self.deliveries().acquire_lease(length).await
    }

    /// Releases the lease.
    pub(in crate::store) async fn end_lease(&self, lease: Lease) -> Result<(), StoreError> {
        self.deliveries().release_lease(lease).await
    }

    fn has_expired(&self, key: &str) -> bool {
        let (now, [starts, callbacks]) = (self.host.now(), self.retention);
        is_expired(key, Present { starts: starts.window(now), callbacks: callbacks.window(now) })
    }

    async fn export_pending(&self, id: DeliveryId) -> Result<Found, StoreError> {
        let mut delivery = match self.deliveries().load(DeliveryState::Pending, id).await? {
            None => return Ok(Found::Gone),
            Some(Err(StoredError)) => return Ok(Found::Fixed),
            Some(Ok(delivery)) => delivery,
        };
        if delivery.is_in_flight(self.host.now(), &self.limits) {
            return Ok(Found::Fixed);
        }
        let settled = match self.claims().settled(&delivery).await? {
            Some(Err(StoredError)) => return Ok(Found::Fixed),
            Some(Ok(settled)) if !settled.is_pending(&delivery) => settled,
            _ => return Ok(Found::Record(Record::Pending(Box::new(delivery)))),
        };
        let digest = delivery.claim.as_ref().map(|claim| claim.key.digest().to_owned()).unwrap_or_default();
        if matches!(settled.outcome(&digest), Outcome::Duplicate { .. }) {
            return Ok(Found::Superfluous);
        }
        delivery.close(superseded_reason(&delivery), self.host.now());
        Ok(Found::Record(Record::Dead(Box::new(delivery), None)))
    }

    async fn export_dead(&self, id: DeliveryId) -> Result<Found, StoreError> {
        let delivery = match self.deliveries().load(DeliveryState::Dead, id).await? {
            None => return Ok(Found::Gone),
            Some(Err(StoredError)) => return Ok(Found::Fixed),
            Some(Ok(delivery)) => delivery,
        };
        let holds = match self.claims().own_record(&delivery).await? {
            Some(Ok(Settled::Start(record))) if record.id == id => Some(record.at),
            _ => None,
        };
        Ok(Found::Record(Record::Dead(Box::new(delivery), holds)))
    }

    async fn export_outcome(&self, name: &str) -> Result<Found, StoreError> {
        let (window, hash) = windowed(name)?;
        let key = Key::restore(hash.to_owned(), String::new());
        let stored = Register::Record.of(&key, window);
        if self.has_expired(&stored) {
            return Ok(Found::Superfluous);
        }
        let Some(bytes) = self.host.get(&stored).await? else { return Ok(Found::Gone) };
        let (settled, at) = if key.is_callback() {
            let Ok(record) = CallbackRecord::from_bytes(&bytes) else { return Ok(Found::Fixed) };
            let at = record.sent.unwrap_or(record.received);
            (Settled::Callback(record), at)
        } else {
            let Ok(record) = OutcomeRecord::from_bytes(&bytes) else { return Ok(Found::Fixed) };
            let at = record.at;
            (Settled::Start(record), at)
        };
        if !settled.is_delivered() {
            // The record of a delivery that is stored goes with it.
            for name in [keys::pending(settled.id()), keys::dead(settled.id())] {
                if self.host.exists(&name).await? {
                    return Ok(Found::Fixed);
                }
            }
            return Ok(Found::Superfluous);
        }
        let key = Key::restore(hash.to_owned(), settled.digest().to_owned());
        Ok(Found::Record(Record::Remembered(key, Box::new(settled), at)))
    }

    /// A claim without an outcome: that of a callback has the callback itself.
    async fn export_claim(&self, name: &str) -> Result<Found, StoreError> {
        let (window, hash) = windowed(name)?;
        let key = Key::restore(hash.to_owned(), String::new());
        let door = Register::Door.of(&key, window);
        if self.has_expired(&door) {
            return Ok(Found::Superfluous);
        }
        let Some(bytes) = self.host.get(&door).await? else { return Ok(Found::Gone) };
        if self.host.exists(&Register::Record.of(&key, window)).await? {
            return Ok(Found::Fixed);
        }
        let holder = Contender::from_bytes(&bytes);
        let Some(Contender { at, callback: Some(record), .. }) = holder else { return Ok(Found::Fixed) };
        if self.host.now().since(at) < self.limits.engine_timeout.saturating_add(SEND_WITHIN) {
            return Ok(Found::Fixed);
        }
        let key = Key::restore(hash.to_owned(), record.digest.clone());
        Ok(Found::Record(Record::Pending(Box::new(delivery_of(record, key)))))
    }

    async fn export_run(&self, name: &str) -> Result<Found, StoreError> {
        let stored = format!("{RUNS}{name}");
        if self.has_expired(&stored) {
            return Ok(Found::Superfluous);
        }
        let Some(bytes) = self.host.get(&stored).await? else { return Ok(Found::Gone) };
        let (_, run) = windowed(name)?;
        Ok(match RunRecord::from_bytes(&bytes) {
            Some(record) => Found::Record(Record::Run(run.to_owned(), record)),
            None => Found::Fixed,
        })
    }

    /// Writes the outcome of a key, and closes its door: a later claim finds both. Returns another delivery's outcome if
    /// there is one.
    async fn record_outcome(&self, key: &Key, window: u64, outcome: &Settled) -> Result<Option<Imported>, StoreError> {
        let work_of = |bytes: &[u8]| match outcome {
            Settled::Start(_) => OutcomeRecord::from_bytes(bytes).map(Settled::Start),
            Settled::Callback(_) => CallbackRecord::from_bytes(bytes).map(Settled::Callback).map_err(|_| StoredError),
        };
        for window in self.claims().retention_of(key).lookup(self.host.now()) {
            if let Some(bytes) = self.host.get(&Register::Record.of(key, window)).await? {
                let known = work_of(&bytes).map_err(codec_error)?;
                if known.id() != outcome.id() {
                    let is_same = known.digest() == outcome.digest();
                    return Ok(Some(Imported::Held { is_same, is_accepted: true }));
                }
                if known.is_delivered() && !outcome.is_delivered() {
                    return Ok(Some(Imported::Done));
                }
            }
        }
        let bytes = match outcome {
            Settled::Start(record) => record.to_bytes().map_err(codec_error)?,
            Settled::Callback(record) => record.to_bytes().map_err(codec_error)?,
        };
        self.host.set(&Register::Record.of(key, window), &bytes).await?;
        let closed = Contender::imported(outcome.id(), self.host.now()).to_bytes()?;
        self.host.set(&Register::Door.of(key, window), &closed).await?;
        Ok(None)
    }

    async fn import_pending(&self, delivery: &Delivery<'static>) -> Result<Imported, StoreError> {
        if self.is_stored(delivery.id).await? {
            return Ok(Imported::Done);
        }
        let now = self.host.now();
        let mut delivery = Delivery { hold: Hold::default(), ..delivery.clone() };
        mark_maybe_sent(&mut delivery, now);
        if let Some(claim) = &mut delivery.claim {
            claim.window = self.claims().retention_of(&claim.key).window(now);
            let (key, window) = (claim.key.clone(), claim.window);
            let outcome = match &delivery.work {
                Work::Start(_) => Settled::Start(OutcomeRecord::pending(delivery.id, key.digest(), now)),
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
            claim.window = self.claims().retention_of(&claim.key).window(at);
            let outcome = Settled::Start(OutcomeRecord::pending(delivery.id, claim.key.digest(), at));
            if let Some(known) = self.record_outcome(&claim.key, claim.window, &outcome).await? {
                return Ok(known);
            }
        }
        self.deliveries().dead_letter(&delivery).await?;
        Ok(Imported::Done)
    }

    async fn is_stored(&self, id: DeliveryId) -> Result<bool, StoreError> {
        Ok(self.host.exists(&keys::pending(id)).await? || self.host.exists(&keys::dead(id)).await?)
    }

    /// Deletes the claim and the outcome of a key.
    async fn forget_key_of(&self, key: &Key, window: u64) -> Result<(), StoreError> {
        for register in [Register::Record, Register::Door, Register::Race] {
            self.host.delete(&register.of(key, window)).await?;
        }
        Ok(())
    }
}

impl<H: KeyValue + Clock + Rng> Source for KeyValueStore<'_, H> {
    /// Lists all keys of the store.
    async fn records(&self, after: Option<&Cursor>, limit: usize) -> Result<Vec<Cursor>, StoreError> {
        let mut records = self.deliveries().list().await?.records();
        records.retain(|at| after.is_none_or(|after| at > after));
        records.truncate(limit);
        Ok(records)
    }

    async fn export(&self, at: &Cursor) -> Result<Found, StoreError> {
        match (at.kind, at.id()) {
            (Kind::Pending, Some(id)) => self.export_pending(id).await,
            (Kind::Dead, Some(id)) => self.export_dead(id).await,
            (Kind::Pending | Kind::Dead, None) => Ok(Found::Gone),
            (Kind::Remembered, _) => self.export_outcome(&at.name).await,
            (Kind::Claim, _) => self.export_claim(&at.name).await,
            (Kind::Run, _) => self.export_run(&at.name).await,
        }
    }

    async fn forget(&self, at: &Cursor) -> Result<(), StoreError> {
        if let (Kind::Pending | Kind::Dead, Some(id)) = (at.kind, at.id()) {
            // In this order: as long as the delivery is there, it is moved again, and then what belongs to it.
            for state in [DeliveryState::Pending, DeliveryState::Dead] {
                if let Some(Ok(delivery)) = self.deliveries().load(state, id).await? {
                    self.claims().release_early(&delivery).await?;
                    if let (Some(claim), Some(Ok(own))) = (&delivery.claim, self.claims().own_record(&delivery).await?)
                        && own.id() == id
                        && !own.is_delivered()
                    {
                        self.forget_key_of(&claim.key, claim.window).await?;
                    }
                }
                self.deliveries().remove(state, id).await?;
            }
            return Ok(());
        }
        match at.kind {
            Kind::Run => self.host.delete(&format!("{RUNS}{}", at.name)).await,
            _ => {
                let (window, hash) = windowed(&at.name)?;
                self.forget_key_of(&Key::restore(hash.to_owned(), String::new()), window).await
            }
        }
    }
}

impl<H: KeyValue + Clock + Rng> Target for KeyValueStore<'_, H> {
    async fn import(&self, record: &Record) -> Result<Imported, StoreError> {
        match record {
            Record::Pending(delivery) => self.import_pending(delivery).await,
            Record::Dead(delivery, holds) => self.import_dead(delivery, *holds).await,
            Record::Remembered(key, settled, at) => {
                let retention = self.claims().retention_of(key);
                let window = retention.window(*at);
                if !retention.lookup(self.host.now()).contains(&window) {
                    return Ok(Imported::Done);
                }
                Ok(self.record_outcome(key, window, settled).await?.unwrap_or(Imported::Done))
            }
            Record::Run(run, record) => {
                if self.claims().run_named(run).await?.is_none() {
                    self.claims().record_run_named(run, record).await?;
                }
                Ok(Imported::Done)
            }
        }
    }
}
