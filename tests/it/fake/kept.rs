//! The contents of a world's store of either kind, and its faults.

use std::cell::Cell;
use std::time::Duration;

use serde_json::Value;
use sluice::ports::SqlError;
use sluice::store::postgres::lease_length;

use super::{At, Cost, Fault, Lag, StoreFault, World};
use crate::tables::{Delivery as Row, State};

/// The prefixes of keys in the key-value store.
pub const PENDING: &str = "sluice:pending:";
pub const DEAD: &str = "sluice:dead:";
/// The notification of the drain, in the key-value store.
pub const NOTIFICATION: &str = "sluice:notify";
/// The form of the key-value store, once nothing of an earlier release is left.
pub const STORE_FORM: &str = "sluice:form";
pub const MOVED: &[u8] = br#"{"v":1,"doors":4096,"moved":true,"full":false,"left":0}"#;
/// The records of outcomes, in the key-value store.
const RECORDS: [&str; 2] = ["sluice:done:", "sluice:callback:"];
/// The claims, in the key-value store.
const CLAIMS: [&str; 4] = ["sluice:won:", "sluice:mark:", "sluice:void:", "sluice:race:"];

/// The entries of the table of doors, in the key-value store. Today's store has none: each event has a door of its own,
/// which counts as a key.
const DOORS: [&str; 1] = ["sluice:race:"];

/// A kind of store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoreKind {
    KeyValue,
    Postgres,
}

thread_local! {
    /// The store of [`World::new`].
    static CHOSEN: Cell<Option<StoreKind>> = const { Cell::new(None) };
}

impl StoreKind {
    /// From now on [`World::new`] has this kind of store, in this thread.
    pub fn choose(self) {
        CHOSEN.set(Some(self));
    }

    /// The store that the test of this thread runs on.
    #[track_caller]
    pub fn chosen() -> Self {
        CHOSEN.get().expect("the test names its store: `#[on_each_store]`, or `StoreKind::KeyValue.choose()`")
    }
}

impl World {
    pub fn kind(&self) -> StoreKind {
        if self.database.is_some() { StoreKind::Postgres } else { StoreKind::KeyValue }
    }

    /// The stored deliveries of a state, in order of arrival: id and stored form.
    fn stored(&self, state: State) -> Vec<(String, Vec<u8>)> {
        let Some(database) = &self.database else {
            let prefix = if state == State::Dead { DEAD } else { PENDING };
            let entries = self.store.entries.borrow();
            let stored = entries.iter().filter_map(|(key, value)| Some((key.strip_prefix(prefix)?, value)));
            return stored.map(|(id, value)| (id.to_owned(), value.clone())).collect();
        };
        let tables = database.tables();
        let rows = tables.deliveries().iter().filter(|row| row.state == state);
        let mut stored: Vec<_> = rows.map(|row| (row.id.clone(), row.delivery.clone().unwrap())).collect();
        stored.sort();
        stored
    }

    /// The ids of pending deliveries, in order of arrival. In a database, one that is being sent for the first time is
    /// among them.
    pub fn pending(&self) -> Vec<String> {
        self.stored(State::Pending).into_iter().map(|(id, _)| id).collect()
    }

    /// The ids of dead letters, in order of arrival.
    pub fn dead(&self) -> Vec<String> {
        self.stored(State::Dead).into_iter().map(|(id, _)| id).collect()
    }

    /// The stored forms of all pending deliveries.
    pub fn pending_records(&self) -> Vec<Value> {
        self.stored(State::Pending).iter().map(|(_, record)| serde_json::from_slice(record).unwrap()).collect()
    }

    /// The stored form of the only pending delivery.
    #[track_caller]
    pub fn only_pending(&self) -> Value {
        let [(_, record)] = &self.stored(State::Pending)[..] else { panic!("pending: {:?}", self.pending()) };
        serde_json::from_slice(record).unwrap()
    }

    /// The stored forms of all dead letters, as one text.
    pub fn dead_letters(&self) -> String {
        self.stored(State::Dead).iter().map(|(_, letter)| String::from_utf8_lossy(letter).into_owned()).collect()
    }

    /// The time at which the first of what is pending is due.
    pub fn due(&self) -> Option<u64> {
        if let Some(database) = &self.database {
            let tables = database.tables();
            let due = tables.deliveries().iter().filter_map(|row| row.due).min();
            return due.map(|due| u64::try_from(due - database.ahead.get()).unwrap());
        }
        self.pending_records().iter().map(|record| record["next"].as_u64().unwrap()).min()
    }

    /// The number of deliveries whose outcome is remembered: of those that were delivered, and in a key-value store of
    /// those that are pending and have a key.
    pub fn remembered(&self) -> usize {
        match &self.database {
            Some(database) => database.tables().deliveries().iter().filter(|row| row.state == State::Delivered).count(),
            None => self.records().len(),
        }
    }

    /// The names of the records of outcomes in the key-value store, without those of keys that were released.
    fn records(&self) -> Vec<String> {
        let entries = self.store.entries.borrow();
        let records = entries.iter().filter(|(key, _)| RECORDS.iter().any(|prefix| key.starts_with(prefix)));
        let is_released = |value: &[u8]| value.starts_with(br#"{"v":1,"released":"#);
        records.filter(|(_, value)| !is_released(value)).map(|(key, _)| key.clone()).collect()
    }

    /// The number of rows of deliveries, or of keys but for the doors, on which requests with one key meet.
    pub fn size(&self) -> usize {
        match &self.database {
            Some(database) => database.tables().deliveries().len(),
            None => self.store.count(|key| !DOORS.iter().any(|prefix| key.starts_with(prefix))),
        }
    }

    /// The number of keys of doors, in the key-value store.
    pub fn doors(&self) -> usize {
        self.store.count(|key| DOORS.iter().any(|prefix| key.starts_with(prefix)))
    }

    /// The number of keys that are claimed. The key of a dead letter is free if that has forgotten it.
    pub fn claimed(&self) -> usize {
        match &self.database {
            Some(database) => {
                let tables = database.tables();
                let is_claim = |row: &&Row| row.key == row.label && (row.state != State::Dead || row.expires.is_some());
                tables.deliveries().iter().filter(|row| row.key != row.id).filter(is_claim).count()
            }
            None => {
                let entries = self.store.entries.borrow();
                let won = entries.iter().filter_map(|(key, value)| Some((key.strip_prefix(CLAIMS[0])?, value)));
                let is_held = |(key, value): &(&str, &Vec<u8>)| {
                    let (key, term) = key.split_once('.').unwrap_or((key, ""));
                    let term = term.split_once('.').map_or("", |(_, term)| term);
                    let outcome = RECORDS.iter().find_map(|prefix| entries.get(&format!("{prefix}{key}")));
                    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
                    // A key that was released goes on in another term.
                    let present = outcome.map(|outcome| text(outcome)).filter(|outcome| outcome.contains("released"));
                    let is_present = present.is_none_or(|present| !term.is_empty() && present.contains(term));
                    is_present && !text(value).contains(r#""withdrawn":true"#)
                };
                won.filter(is_held).count()
            }
        }
    }

    /// Whether nothing is left of any delivery.
    pub fn is_empty(&self) -> bool {
        match &self.database {
            Some(database) => database.tables().deliveries().iter().next().is_none(),
            None => {
                let all = [PENDING, DEAD, NOTIFICATION];
                let is_empty = all.into_iter().all(|prefix| self.store.keys(prefix).is_empty());
                is_empty && self.records().is_empty() && self.claimed() == 0
            }
        }
    }

    /// The stored forms and records of all deliveries, as one text for each.
    pub fn everything(&self) -> Vec<String> {
        match &self.database {
            Some(database) => {
                let tables = database.tables();
                let texts = tables.deliveries().iter().flat_map(|row| [&row.delivery, &row.body]).flatten();
                texts.map(|text| String::from_utf8_lossy(text).into_owned()).collect()
            }
            None => {
                let entries = self.store.entries.borrow();
                entries.iter().map(|(key, value)| format!("{key} {}", String::from_utf8_lossy(value))).collect()
            }
        }
    }

    /// The notes about sources: name and value, sorted.
    pub fn source_notes(&self) -> Vec<(String, String)> {
        let named = |name: &str, prefix, value: &str| Some((name.strip_prefix(prefix)?.to_owned(), value.to_owned()));
        match &self.database {
            Some(database) => {
                database.tables().notes().filter_map(|note| named(&note.name, "source:", &note.value)).collect()
            }
            None => {
                let entries = self.store.entries.borrow();
                let text = |value: &[u8]| String::from_utf8_lossy(value).into_owned();
                entries.iter().filter_map(|(key, value)| named(key, "sluice:note:", &text(value))).collect()
            }
        }
    }

    /// Deletes everything but the claims of keys: the state that claimants leave which stopped right after claiming.
    pub fn keep_claims(&self) {
        let Some(database) = &self.database else {
            let is_claim = |key: &str| key == STORE_FORM || CLAIMS.iter().any(|prefix| key.starts_with(prefix));
            return self.store.entries.borrow_mut().retain(|key, _| is_claim(key));
        };
        let claims = database.claims();
        database.replace_rows(|row| claims.get(&row.key).cloned());
    }

    /// Stores a note of the gateway.
    pub fn put_note(&self, name: &str, value: &str) {
        match &self.database {
            Some(database) => database.put_note(name, value),
            None => self.store.put(format!("sluice:{name}"), value.as_bytes()),
        }
    }

    /// Forgets everything.
    pub fn forget(&self) {
        match &self.database {
            Some(database) => database.replace_rows(|_| None),
            None => self.store.entries.borrow_mut().retain(|key, _| key == STORE_FORM),
        }
    }

    /// The stored form of a pending delivery.
    pub fn pending_record(&self, id: &str) -> Vec<u8> {
        self.stored(State::Pending).into_iter().find(|(pending, _)| pending == id).expect("a pending delivery").1
    }

    /// Asserts what was done since the count was restarted: operations of the key-value store, or statements.
    #[track_caller]
    pub fn assert_cost(&self, cost: Cost, statements: &[&str]) {
        match &self.database {
            Some(database) => assert_eq!(database.take_statements(), statements),
            None => assert_eq!(self.store.take_cost(), cost),
        }
    }

    /// Changes all stored forms to what can't be decoded.
    pub fn damage_all(&self) {
        let damaged = || b"{\"v\":9}".to_vec();
        match &self.database {
            Some(database) => database.replace_rows(|row| Some(Row { delivery: Some(damaged()), ..row })),
            None => {
                let mut entries = self.store.entries.borrow_mut();
                entries.iter_mut().filter(|(key, _)| *key != STORE_FORM).for_each(|(_, value)| *value = damaged());
            }
        }
    }

    /// Changes what has an id, or is about to have it, to something that can't be decoded.
    pub fn damage(&self, id: &str) {
        self.put_pending(id, b"{\"v\":9}");
    }

    /// Stores a pending delivery which is due, or replaces it.
    pub fn put_pending(&self, id: &str, record: &[u8]) {
        let Some(database) = &self.database else { return self.store.put(format!("{PENDING}{id}"), record) };
        database.put_pending(id, record);
    }

    /// Whether the store, and the database, were not asked for anything since the count was restarted.
    pub fn is_store_unused(&self) -> bool {
        self.operations() == 0
    }

    /// The number of operations, or of statements, since [`World::fail_store`] or [`World::restart_count`].
    pub fn operations(&self) -> usize {
        match &self.database {
            Some(database) => database.connects(),
            None => self.store.operations.borrow().len(),
        }
    }

    /// Restarts the count of operations. Those that fail stay.
    pub fn restart_count(&self) {
        self.store.operations.borrow_mut().clear();
        if let Some(database) = &self.database {
            database.take_calls();
        }
    }

    /// Lets operations fail without an effect. In a database, no connection is made for a statement that fails.
    pub fn fail_store(&self, fault: StoreFault) {
        let Some(database) = &self.database else { return self.store.fail(fault) };
        // Each statement has a connection of its own.
        let faults = match fault {
            StoreFault::None => vec![],
            StoreFault::Once(nth) => vec![At::Connect(nth)],
            StoreFault::From(nth) => vec![At::ConnectFrom(nth)],
        };
        database.fail(&faults.into_iter().map(|at| (at, Fault::Refuse(SqlError::Unreachable))).collect::<Vec<_>>());
    }

    /// From now on nothing goes wrong with the store.
    pub fn recover_store(&self) {
        self.store.recover();
        if let Some(database) = &self.database {
            database.recover();
        }
    }

    /// The text of an error of the store, as the log has it.
    pub fn store_error(&self) -> &'static str {
        if self.database.is_some() { "PostgreSQL" } else { "disk full" }
    }

    /// The response to a repeat whose key is contended. In a key-value store, the repeat is stored as a copy; in
    /// PostgreSQL, it is joined to the first one.
    pub fn contended(&self) -> (u16, Option<&'static str>) {
        (202, Some(if self.database.is_some() { "duplicate" } else { "pending" }))
    }

    /// The time after which a drain takes over what an instance has left behind that has just begun to send, in
    /// milliseconds.
    pub fn takes_over_after(&self) -> u64 {
        let lease = lease_length(Duration::from_secs(10));
        if self.database.is_some() { u64::try_from(lease.as_millis()).unwrap() } else { 16_000 }
    }

    /// Gives the store a latency.
    pub fn set_lag(&self, lag: Option<Lag>) {
        match &self.database {
            Some(database) => database.lag.set(lag.map_or(0, |lag| lag.operation)),
            None => self.store.lag.set(lag),
        }
    }
}
