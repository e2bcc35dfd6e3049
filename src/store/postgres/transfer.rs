//! The move to and from another store.
//!
//! A pending delivery is taken before it is moved, as a drain takes it, so nobody else has it meanwhile. If the instance
//! dies, the lease runs out, and the delivery counts as maybe sent.
//!
//! Remembered rows stay in the source as well: nothing reads them there once they were moved, and the tables are dropped
//! in the end.

use super::session::{json, milliseconds, number, optional, text};
use super::{DELETE, IMPORT, LIST, PostgresStore, REMEMBERED, RESCHEDULE, RUNS, SETTLE, SHOW, TAKE_ONE, kept_for};
use crate::callback::{CallbackRecord, State};
use crate::delivery::{Delivery, DeliveryId, Filter, Key, Row, Work};
use crate::ports::{Clock, Rng, Sql, SqlValue, StoreError};
use crate::store::transfer::{Cursor, Found, Imported, Kind, Record, Source, Standing, Target, delivery_of};
use crate::store::{DeliveryState, Outbox as _, Settled, codec_error};
use crate::time::Timestamp;

/// Number of pending deliveries that are read at once.
const PAGE: usize = 100;

/// How often an import is run whose key another contender changes at the same time.
const MAX_IMPORTS: usize = 10;

/// The row of a delivery to import.
struct Imports<'a> {
    /// The key of the delivery, if it has one.
    claimed: Option<&'a Key>,
    /// Whether the row holds it.
    holds: bool,
    id: DeliveryId,
    state: &'static str,
    reference: &'a str,
    topic: Option<&'a str>,
    /// The queue, and the place in it.
    queue: Option<(&'a str, i64)>,
    delivery: Option<Vec<u8>>,
    body: Option<Vec<u8>>,
    due: Option<Timestamp>,
    received: Timestamp,
    changed: Timestamp,
    expires: Option<Timestamp>,
}

/// The place of a delivery in its queue. It is negative, so before all that the sequence gives, and in order of arrival:
/// from -2^63 on, 48 bits of milliseconds and 15 bits of what follows in the id.
fn place(delivery: &Delivery<'_>) -> i64 {
    let milliseconds = delivery.queued_since().0 & ((1 << 48) - 1);
    let within = if delivery.requeued.is_some() { (1 << 15) - 1 } else { u64::from(delivery.id.within_millisecond()) };
    i64::MIN.saturating_add_unsigned((milliseconds << 15) | within)
}

fn time(time: Timestamp) -> SqlValue {
    SqlValue::Int(i64::try_from(time.0).unwrap_or(i64::MAX))
}

impl<H: Sql + Clock + Rng> PostgresStore<'_, H> {
    /// Whether a delivery is pending that can be decoded. Costs one statement for every hundred that can't.
    pub(in crate::store) async fn has_pending(&self) -> Result<bool, StoreError> {
        let mut after = None;
        loop {
            let page = self.list(DeliveryState::Pending, &Filter::default(), PAGE, after).await?;
            if page.deliveries.iter().any(|(_, delivery)| delivery.is_ok()) {
                return Ok(true);
            }
            if page.next.is_none() {
                return Ok(false);
            }
            after = page.next;
        }
    }

    /// What the store knows of a key, for a delivery that another store is about to claim it for. Costs one statement.
    pub(in crate::store) async fn standing(
        &self,
        work: &Work<'_>,
        key: &Key,
        own: DeliveryId,
    ) -> Result<Standing, StoreError> {
        let known = self.find(std::slice::from_ref(key)).await?.into_iter().next();
        Ok(match known.filter(|known| known.id != own) {
            None => Standing::Unknown,
            Some(known) if known.is_under_way() => Standing::Claimed,
            Some(known) => Standing::Settled(known.settled(work)?),
        })
    }
}

impl<H: Sql + Clock + Rng> PostgresStore<'_, H> {
    /// Reads a row of `SHOW` in this state.
    async fn export_stored(&self, id: DeliveryId, wanted: DeliveryState) -> Result<Found, StoreError> {
        for mut columns in self.query(SHOW, &[text(id.to_string())]).await? {
            let (key, label, state) = (columns.text()?, columns.text()?, columns.text()?);
            if state != wanted.as_str() {
                continue;
            }
            let bytes = columns.bytes()?.unwrap_or_default();
            let Ok(delivery) = Delivery::from_bytes(&bytes) else { return Ok(Found::Fixed) };
            if wanted == DeliveryState::Pending {
                return self.take_to_move(id).await;
            }
            let holds = match &delivery.claim {
                Some(claim) if key == label => {
                    self.find(std::slice::from_ref(&claim.key)).await?.first().map(|known| known.changed)
                }
                _ => None,
            };
            return Ok(Found::Record(Record::Dead(Box::new(delivery), holds)));
        }
        Ok(Found::Gone)
    }

    /// Takes a pending delivery, unless somebody holds it.
    async fn take_to_move(&self, id: DeliveryId) -> Result<Found, StoreError> {
        let (token, begun) = (self.token(), self.host.monotonic());
        let parameters = [text(id.to_string()), text(&token), milliseconds(self.lease())];
        let mut rows = self.query(TAKE_ONE, &parameters).await?;
        let Some(columns) = rows.first_mut() else { return Ok(Found::Fixed) };
        let Ok((delivery, _)) = self.taken(columns, &token, self.until(begun)).await? else { return Ok(Found::Fixed) };
        if let Some(row) = delivery.hold.row.clone().filter(|_| delivery.is_in_flight(self.host.now(), &self.limits)) {
            self.leave(&delivery, &row).await?;
            return Ok(Found::Fixed);
        }
        Ok(Found::Record(Record::Pending(Box::new(delivery))))
    }

    async fn export_remembered(&self, key: &str) -> Result<Found, StoreError> {
        let named = Key::restore(key.to_owned(), String::new());
        let Some(known) = self.find(std::slice::from_ref(&named)).await?.into_iter().next() else {
            return Ok(Found::Gone);
        };
        if known.state != "delivered" {
            return Ok(Found::Gone);
        }
        let (key, at) = (known.named(), known.changed);
        let settled = if known.delivery.is_some() {
            match known.record() {
                Ok(record) => Settled::Callback(CallbackRecord { state: State::Delivered, ..record }),
                Err(_) => return Ok(Found::Fixed),
            }
        } else {
            known.outcome()
        };
        Ok(Found::Record(Record::Remembered(key, Box::new(settled), at)))
    }

    /// Inserts a row. One without its key has its id instead, and its label shows the key.
    async fn insert_row(&self, row: Imports<'_>) -> Result<Imported, StoreError> {
        let id = row.id.to_string();
        let label = row.claimed.map_or(id.as_str(), Key::hash);
        let digest = row.claimed.map_or("", Key::digest);
        let now = self.host.now();
        let parameters = [
            text(if row.holds { label } else { id.as_str() }),
            text(label),
            text(&id),
            text(row.state),
            text(digest),
            text(row.reference),
            optional(row.topic),
            row.delivery.map_or(SqlValue::Null, SqlValue::Bytes),
            row.body.map_or(SqlValue::Null, SqlValue::Bytes),
            row.due.map_or(SqlValue::Null, |due| milliseconds(due.since(now))),
            time(row.received),
            time(row.changed),
            row.expires.map_or(SqlValue::Null, time),
            optional(row.queue.map(|(queue, _)| queue)),
            row.queue.map_or(SqlValue::Null, |(_, place)| SqlValue::Int(place)),
        ];
        for _ in 0..MAX_IMPORTS {
            let mut rows = self.query(IMPORT, &parameters).await?;
            // No row: another contender has changed the key meanwhile.
            let Some(columns) = rows.first_mut() else { continue };
            let (standing, state) = (columns.text()?, columns.skip().text()?);
            let (is_same, accepted) = (columns.text()? == digest, columns.bool()?);
            return Ok(match standing.as_str() {
                "held" => Imported::Held { is_same, is_accepted: accepted || state != "pending" },
                _ => Imported::Done,
            });
        }
        Err(StoreError("PostgreSQL, statement import: the key changes all the time".to_owned()))
    }

    async fn import_stored(
        &self,
        delivery: &Delivery<'static>,
        state: DeliveryState,
        holds: Option<Timestamp>,
    ) -> Result<Imported, StoreError> {
        let now = self.host.now();
        let mut delivery = Delivery { early_window: None, ..delivery.clone() };
        if let Some(claim) = &mut delivery.claim {
            claim.window = 0;
        }
        let is_pending = state == DeliveryState::Pending;
        let expires = holds.filter(|_| !is_pending).map(|at| at.plus(kept_for(self.retention)));
        let expires = expires.filter(|expires| *expires > now);
        self.insert_row(Imports {
            claimed: delivery.claim.as_ref().map(|claim| &claim.key),
            holds: is_pending || expires.is_some() || delivery.claim.is_none(),
            id: delivery.id,
            state: state.as_str(),
            reference: delivery.work.reference(),
            topic: delivery.work.topic(),
            queue: delivery.work.queue().map(|queue| (queue, place(&delivery))),
            delivery: Some(delivery.to_bytes().map_err(codec_error)?),
            body: None,
            due: is_pending.then_some(delivery.next_attempt),
            received: delivery.received,
            changed: holds.unwrap_or(now),
            expires,
        })
        .await
    }

    async fn import_remembered(&self, key: &Key, settled: &Settled, at: Timestamp) -> Result<Imported, StoreError> {
        let is_start = matches!(settled, Settled::Start(_));
        let expires = at.plus(kept_for(if is_start { self.retention } else { self.callback_retention }));
        if expires <= self.host.now() {
            return Ok(Imported::Done);
        }
        let delivery = match settled {
            Settled::Start(_) => None,
            Settled::Callback(record) => Some(delivery_of(record.clone(), key.clone())),
        };
        let body = match settled {
            Settled::Start(record) => record.body.as_ref().map(|body| body.get().as_bytes().to_vec()),
            Settled::Callback(_) => None,
        };
        self.insert_row(Imports {
            claimed: Some(key),
            holds: true,
            id: settled.id(),
            state: "delivered",
            reference: delivery.as_ref().map_or("", |delivery| delivery.work.reference()),
            topic: delivery.as_ref().and_then(|delivery| delivery.work.topic()),
            queue: None,
            delivery: delivery.as_ref().map(|it| it.to_bytes().map_err(codec_error)).transpose()?,
            body,
            due: None,
            received: delivery.as_ref().map_or(at, |delivery| delivery.received),
            changed: at,
            expires: Some(expires),
        })
        .await
    }

    /// Lists names of one kind.
    async fn names(&self, kind: Kind, after: &str, limit: usize) -> Result<Vec<Cursor>, StoreError> {
        let state = |state: DeliveryState| text(state.as_str());
        let (statement, parameters) = match kind {
            Kind::Pending => (LIST, vec![state(DeliveryState::Pending), text(after), number(limit)]),
            Kind::Dead => (LIST, vec![state(DeliveryState::Dead), text(after), number(limit)]),
            Kind::Remembered => (REMEMBERED, vec![text(after), number(limit)]),
            // A claim without an outcome is a pending row.
            Kind::Claim => return Ok(Vec::new()),
            Kind::Run => (RUNS, vec![text(after), number(limit)]),
        };
        let mut rows = self.query(statement, &parameters).await?;
        let mut names: Vec<Cursor> = Vec::new();
        for columns in &mut rows {
            names.push(Cursor { kind, name: columns.text()? });
        }
        names.sort_unstable();
        Ok(names)
    }
}

impl<H: Sql + Clock + Rng> Source for PostgresStore<'_, H> {
    async fn records(&self, after: Option<&Cursor>, limit: usize) -> Result<Vec<Cursor>, StoreError> {
        let mut records = Vec::new();
        for kind in Kind::ALL {
            let room = limit.saturating_sub(records.len());
            let begin = match after {
                Some(after) if after.kind > kind => continue,
                Some(after) if after.kind == kind => after.name.as_str(),
                _ => "",
            };
            if room > 0 {
                records.extend(self.names(kind, begin, room).await?);
            }
        }
        Ok(records)
    }

    async fn export(&self, at: &Cursor) -> Result<Found, StoreError> {
        match (at.kind, at.id()) {
            (Kind::Pending, Some(id)) => self.export_stored(id, DeliveryState::Pending).await,
            (Kind::Dead, Some(id)) => self.export_stored(id, DeliveryState::Dead).await,
            (Kind::Pending | Kind::Dead, None) | (Kind::Claim, _) => Ok(Found::Gone),
            (Kind::Remembered, _) => self.export_remembered(&at.name).await,
            (Kind::Run, _) => {
                let record = self.run_named(&at.name).await?;
                Ok(record.map_or(Found::Gone, |record| Found::Record(Record::Run(at.name.clone(), record))))
            }
        }
    }

    async fn forget(&self, at: &Cursor, row: Option<&Row>) -> Result<(), StoreError> {
        match (at.kind, row) {
            (Kind::Pending, Some(row)) => {
                let ended = serde_json::json!([{ "key": row.key, "token": row.token, "body": null, "keep": 0 }]);
                self.query(SETTLE, &[json(&ended)?]).await.map(drop)
            }
            (Kind::Pending | Kind::Dead, _) => self.query(DELETE, &[text(&at.name)]).await.map(drop),
            (Kind::Remembered | Kind::Claim | Kind::Run, _) => Ok(()),
        }
    }

    async fn leave(&self, delivery: &Delivery<'static>, row: &Row) -> Result<(), StoreError> {
        let bytes = SqlValue::Bytes(delivery.to_bytes().map_err(codec_error)?);
        let wait = milliseconds(delivery.next_attempt.since(self.host.now()));
        self.put_back(RESCHEDULE, delivery.id, row, [bytes, wait]).await.map(drop)
    }
}

impl<H: Sql + Clock + Rng> Target for PostgresStore<'_, H> {
    async fn import(&self, record: &Record) -> Result<Imported, StoreError> {
        match record {
            Record::Pending(delivery) => self.import_stored(delivery, DeliveryState::Pending, None).await,
            Record::Dead(delivery, holds) => self.import_stored(delivery, DeliveryState::Dead, *holds).await,
            Record::Remembered(key, settled, at) => self.import_remembered(key, settled, *at).await,
            Record::Run(run, record) => {
                if self.run_named(run).await?.is_none() {
                    self.record_run_named(run, record).await?;
                }
                Ok(Imported::Done)
            }
        }
    }
}
