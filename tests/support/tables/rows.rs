//! The rows of the tables, their constraints, and the indexes that the statements use.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::Refused;

/// A row of `sluice_delivery`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Delivery {
    pub key: String,
    pub label: String,
    pub id: String,
    pub state: State,
    pub digest: String,
    pub reference: String,
    pub topic: Option<String>,
    pub queue: Option<String>,
    pub seq: Option<i64>,
    pub delivery: Option<Vec<u8>>,
    pub body: Option<Vec<u8>>,
    pub accepted: bool,
    pub token: Option<String>,
    pub maybe_sent: bool,
    pub due: Option<i64>,
    pub received: i64,
    pub changed: i64,
    pub expires: Option<i64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum State {
    Pending,
    Dead,
    Delivered,
}

impl State {
    pub fn name(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Dead => "dead",
            Self::Delivered => "delivered",
        }
    }
}

/// A row of `sluice_run`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Run {
    pub run: String,
    pub scope: Option<String>,
    pub unseen: bool,
    pub expires: i64,
}

/// A row of `sluice_note`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Note {
    pub name: String,
    pub value: String,
    pub since: i64,
    pub changed: i64,
}

/// A row of `sluice_kept`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Kept {
    pub id: String,
    pub reference: String,
    pub source: Option<String>,
    pub delivery: String,
    pub expires: i64,
}

impl Kept {
    pub fn to_json(&self) -> Value {
        json!({
            "id": self.id, "reference": self.reference, "source": self.source, "delivery": self.delivery,
            "expires": self.expires
        })
    }
}

impl Delivery {
    pub fn is_pending(&self) -> bool {
        self.state == State::Pending
    }

    /// Whether this token, which may be NULL, is that of the holder.
    pub fn is_held_by(&self, token: Option<&str>) -> bool {
        self.token.is_some() && self.token.as_deref() == token
    }

    /// Whether it has a holder whose lease has not run out.
    pub fn is_under_way(&self, now: i64) -> bool {
        self.token.is_some() && self.due.is_some_and(|due| due > now)
    }

    /// Whether it is pending and due.
    pub fn is_due(&self, now: i64) -> bool {
        self.due.is_some_and(|due| due <= now)
    }

    /// Whether its time as a remembered delivery, or as the holder of a key, is over.
    pub fn has_expired(&self, now: i64) -> bool {
        self.expires.is_some_and(|expires| expires <= now)
    }

    /// Whether it is not delivered, or has not expired.
    pub fn is_remembered(&self, now: i64) -> bool {
        self.state != State::Delivered || !self.has_expired(now)
    }

    /// The payload, for those columns that only a callback has.
    pub fn of_callback(&self) -> Option<&[u8]> {
        self.topic.as_ref().and(self.delivery.as_deref())
    }

    /// The constraints of the table.
    fn check(&self) -> Result<(), Refused> {
        let pending = self.is_pending();
        let holds = pending == self.due.is_some()
            && (!pending || self.key == self.label)
            && (pending || self.token.is_none())
            && (self.state != State::Delivered || self.expires.is_some())
            && (self.delivery.is_some() || (self.state == State::Delivered && self.topic.is_none()))
            && self.queue.is_some() == self.seq.is_some();
        if holds { Ok(()) } else { Err(Refused("a constraint of sluice_delivery")) }
    }

    /// The row as PostgreSQL's `to_jsonb` writes it.
    pub fn to_json(&self) -> Value {
        let hex =
            |bytes: &Vec<u8>| format!("\\x{}", bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>());
        json!({
            "key": self.key, "label": self.label, "id": self.id, "state": self.state.name(), "digest": self.digest,
            "reference": self.reference, "topic": self.topic, "queue": self.queue, "seq": self.seq,
            "delivery": self.delivery.as_ref().map(hex), "body": self.body.as_ref().map(hex),
            "accepted": self.accepted, "token": self.token, "maybe_sent": self.maybe_sent, "due": self.due,
            "received": self.received, "changed": self.changed, "expires": self.expires,
        })
    }
}

impl Run {
    pub fn to_json(&self) -> Value {
        json!({ "run": self.run, "scope": self.scope, "unseen": self.unseen, "expires": self.expires })
    }
}

impl Note {
    pub fn to_json(&self) -> Value {
        json!({ "name": self.name, "value": self.value, "since": self.since, "changed": self.changed })
    }
}

/// An entry of an index of the schema, which ends with the key of its row.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Entry {
    /// Pending without a queue, by `due`.
    Due(i64, String),
    /// Pending in a queue, by `queue` and `seq`.
    Queue(String, i64, String),
    /// Pending and dead, by `state` and `id`.
    Stored(State, String, String),
    /// Callbacks, by `reference` and `id`.
    Callback(String, String, String),
    /// Delivered and dead, by `expires`.
    Expires(State, i64, String),
}

impl Entry {
    fn of(row: &Delivery) -> impl Iterator<Item = Self> {
        let key = || row.key.clone();
        let due = row.due.filter(|_| row.queue.is_none()).map(|due| Self::Due(due, key()));
        let queue = row.queue.clone().filter(|_| row.is_pending()).zip(row.seq);
        let queue = queue.map(|(queue, seq)| Self::Queue(queue, seq, key()));
        let stored = (row.state != State::Delivered).then(|| Self::Stored(row.state, row.id.clone(), key()));
        let callback = row.topic.as_ref().map(|_| Self::Callback(row.reference.clone(), row.id.clone(), key()));
        let expires = row.expires.map(|expires| Self::Expires(row.state, expires, key()));
        [due, queue, stored, callback, expires].into_iter().flatten()
    }

    fn key(&self) -> &str {
        let (Self::Due(_, key)
        | Self::Queue(_, _, key)
        | Self::Stored(_, _, key)
        | Self::Callback(_, _, key)
        | Self::Expires(_, _, key)) = self;
        key
    }
}

/// The rows of `sluice_delivery` by their keys, with their indexes.
#[derive(Clone, Debug, Default)]
pub struct Deliveries {
    rows: BTreeMap<String, Delivery>,
    indexes: BTreeSet<Entry>,
}

impl Deliveries {
    pub fn get(&self, key: &str) -> Option<&Delivery> {
        self.rows.get(key)
    }

    /// All rows, by key.
    pub fn iter(&self) -> impl Iterator<Item = &Delivery> {
        self.rows.values()
    }

    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Adds a row, unless a constraint is against it.
    pub(super) fn insert(&mut self, row: Delivery) -> Result<(), Refused> {
        row.check()?;
        if self.rows.contains_key(&row.key) {
            return Err(Refused("the primary key of sluice_delivery"));
        }
        self.indexes.extend(Entry::of(&row));
        self.rows.insert(row.key.clone(), row);
        Ok(())
    }

    pub(super) fn remove(&mut self, key: &str) -> Option<Delivery> {
        let row = self.rows.remove(key)?;
        for entry in Entry::of(&row) {
            self.indexes.remove(&entry);
        }
        Some(row)
    }

    fn range(&self, from: Entry, to: Entry) -> impl Iterator<Item = &Delivery> {
        self.indexes.range(from..to).map(|entry| &self.rows[entry.key()])
    }

    /// Pending rows without a queue that are due at this time, the longest due first.
    pub(super) fn due(&self, now: i64) -> impl Iterator<Item = &Delivery> {
        self.range(Entry::Due(i64::MIN, String::new()), Entry::Due(now + 1, String::new()))
    }

    /// The first pending row without a queue by the time at which it is due.
    pub(super) fn next_due(&self) -> Option<&Delivery> {
        self.due(i64::MAX - 1).next()
    }

    /// The first pending row of the next queue after this one, by name.
    pub(super) fn head_after(&self, queue: Option<&str>) -> Option<&Delivery> {
        let from = queue.map_or_else(String::new, after);
        let mut rows = self.range(Entry::Queue(from, i64::MIN, String::new()), Entry::stored(State::Pending, ""));
        rows.next()
    }

    /// Pending or dead rows whose id comes after this one, in the order of their ids.
    pub(super) fn stored_after(&self, state: State, id: &str) -> impl Iterator<Item = &Delivery> {
        let from = Entry::stored(state, &after(id));
        self.indexes.range(from..).map_while(move |entry| match entry {
            Entry::Stored(of, _, key) if *of == state => Some(&self.rows[key]),
            _ => None,
        })
    }

    /// Pending and dead rows with this id.
    pub(super) fn stored_as(&self, id: &str) -> impl Iterator<Item = &Delivery> {
        let of = |state| self.range(Entry::stored(state, id), Entry::stored(state, &after(id)));
        of(State::Dead).chain(of(State::Pending))
    }

    /// Callbacks of a run, in the order of their ids.
    pub(super) fn callbacks(&self, run: &str) -> impl Iterator<Item = &Delivery> {
        let bound = |run| Entry::Callback(run, String::new(), String::new());
        self.range(bound(run.to_owned()), bound(after(run)))
    }

    /// Rows of this state that have expired, the first ones first.
    pub(super) fn expired(&self, state: State, now: i64) -> impl Iterator<Item = &Delivery> {
        self.range(Entry::Expires(state, i64::MIN, String::new()), Entry::Expires(state, now + 1, String::new()))
    }
}

impl Entry {
    fn stored(state: State, id: &str) -> Self {
        Self::Stored(state, id.to_owned(), String::new())
    }
}

/// The least text after this one.
fn after(text: &str) -> String {
    format!("{text}\0")
}
