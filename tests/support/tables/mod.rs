//! An in-memory model of the PostgreSQL backend: its tables, and each statement as a function over them.
//!
//! A statement runs alone and at once, so the model has the semantics of the SQL without its races. `tests/postgres`
//! holds it to that: the laws run on it and on a real server, and a random differential test compares all rows and all
//! answers. Where the SQL leaves the order of rows open, the model returns them in reverse.

mod claim;
mod drain;
mod holder;
mod kept;
mod operator;
mod rows;
mod statements;
mod transfer;
mod values;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use sluice::ports::{SqlRow, SqlValue};
use sluice::store::postgres::{self, SCHEMA_VERSION, Statement};

pub use rows::{Deliveries, Delivery, Kept, Note, Run, State};
pub use statements::{columns, statement};
pub use values::{FromValue, ToValue};

use crate::values;
use statements::Call;

/// The commits that the journal keeps.
const JOURNAL: usize = 10_000;

/// The server's answer if a statement breaks a constraint or has an invalid parameter. Nothing has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refused(pub &'static str);

impl Refused {
    /// Whether it is because of an invalid parameter, not of a constraint.
    pub fn is_of_parameter(self) -> bool {
        !self.0.contains("sluice_delivery")
    }
}

/// The result of a statement.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    pub rows: Vec<SqlRow>,
    /// The number that `execute` returns.
    pub affected: u64,
    /// Whether it has written a row.
    pub wrote: bool,
}

/// A statement that has changed rows.
#[derive(Clone, Debug)]
pub struct Commit {
    pub at: i64,
    pub statement: &'static str,
    pub writes: Vec<Write>,
}

/// A change of one row: before and after.
#[derive(Clone, Debug)]
#[allow(clippy::large_enum_variant, reason = "almost all are of deliveries")]
pub enum Write {
    Delivery(Option<Delivery>, Option<Delivery>),
    Run(Option<Run>, Option<Run>),
    Note(Option<Note>, Option<Note>),
    Kept(Option<Kept>, Option<Kept>),
}

/// The tables.
#[derive(Clone, Debug)]
pub struct Tables {
    deliveries: Deliveries,
    runs: BTreeMap<String, Run>,
    notes: BTreeMap<String, Note>,
    kept: BTreeMap<String, Kept>,
    /// Whether the schema has the table of kept payloads.
    has_kept: bool,
    /// The last value of `sluice_seq`. Neither an error nor a fail-over sets it back.
    sequence: i64,
    /// The last commits, the oldest first.
    journal: VecDeque<Commit>,
    /// What the statement that runs has written.
    writes: Vec<Write>,
    /// The keys that come first among rows which are due, or expire, at the same time.
    preferred: BTreeSet<String>,
}

impl Tables {
    /// The tables that the schema creates at this time.
    pub fn new(now: i64) -> Self {
        let schema = Note { name: "schema".into(), value: SCHEMA_VERSION.into(), since: now, changed: now };
        Self {
            deliveries: Deliveries::default(),
            runs: BTreeMap::new(),
            notes: BTreeMap::from([(schema.name.clone(), schema)]),
            kept: BTreeMap::new(),
            has_kept: true,
            sequence: 0,
            journal: VecDeque::new(),
            writes: Vec::new(),
            preferred: BTreeSet::new(),
        }
    }

    pub fn deliveries(&self) -> &Deliveries {
        &self.deliveries
    }

    pub fn runs(&self) -> impl Iterator<Item = &Run> {
        self.runs.values()
    }

    pub fn notes(&self) -> impl Iterator<Item = &Note> {
        self.notes.values()
    }

    pub fn kept(&self) -> impl Iterator<Item = &Kept> {
        self.kept.values()
    }

    /// Takes the table of kept payloads away, as in the schema of an earlier release.
    pub fn drop_kept(&mut self) {
        (self.kept, self.has_kept) = (BTreeMap::new(), false);
    }

    /// The last commits, the oldest first: at most 10,000.
    pub fn journal(&self) -> impl DoubleEndedIterator<Item = &Commit> {
        self.journal.iter()
    }

    /// Sets the version of the schema, as another release would.
    pub fn set_schema_version(&mut self, version: &str) {
        self.notes.get_mut("schema").expect("the note of the schema").value = version.to_owned();
    }

    /// Adds a delivery as if it had been there before. It is in no commit.
    pub fn add(&mut self, row: Delivery) -> Result<(), Refused> {
        self.deliveries.insert(row)
    }

    /// Replaces each delivery by what `change` makes of it; with `None` it is gone. That is in no commit.
    pub fn replace(&mut self, change: impl Fn(Delivery) -> Option<Delivery>) {
        let changed: Vec<_> = self.deliveries.iter().cloned().filter_map(change).collect();
        self.deliveries = Deliveries::default();
        for row in changed {
            self.deliveries.insert(row).expect("a row that breaks no constraint");
        }
    }

    /// Chooses among rows that are due, or expire, at the same time, where the SQL leaves the choice open: rows with
    /// these keys come first.
    pub fn prefer(&mut self, keys: BTreeSet<String>) {
        self.preferred = keys;
    }

    /// A fail-over that loses the last `count` commits.
    pub fn lose_last(&mut self, count: usize) {
        for _ in 0..count {
            let commit = self.journal.pop_back().expect("the journal has so many commits");
            self.undo(commit.writes);
        }
    }

    /// Runs a statement of [`postgres::STATEMENTS`]. The time is that of `sluice_now()` and of `sluice_clock()`.
    ///
    /// Panics if there is no such statement, or the parameters have other types.
    pub fn run(&mut self, text: &str, parameters: &[SqlValue], now: i64) -> Result<Outcome, Refused> {
        let (statement, arity) = statement(text).unwrap_or_else(|| panic!("the model has no statement\n{text}"));
        assert_eq!(parameters.len(), arity, "parameters of {}", statement.name);
        if parameters.iter().any(|value| matches!(value, SqlValue::Text(text) if text.contains('\0'))) {
            return Err(Refused("a text with U+0000"));
        }
        let rows = self.rows_of(&Call { statement, parameters, now });
        let writes = std::mem::take(&mut self.writes);
        let rows = match rows {
            Ok(rows) => rows,
            Err(refused) => {
                self.undo(writes);
                return Err(refused);
            }
        };
        let columns = columns(statement);
        assert!(rows.iter().all(|row| row.len() == columns.len()), "{}: {rows:?}", statement.name);
        let affected = if columns.is_empty() { writes.len() } else { rows.len() };
        let wrote = !writes.is_empty();
        if wrote {
            self.journal.push_back(Commit { at: now, statement: statement.name, writes });
            if self.journal.len() > JOURNAL {
                self.journal.pop_front();
            }
        }
        Ok(Outcome { rows, affected: affected as u64, wrote })
    }

    fn rows_of(&mut self, call: &Call<'_>) -> Result<Vec<SqlRow>, Refused> {
        match call.statement {
            postgres::CLAIM => self.claim(call),
            postgres::MOVE => self.move_claim(call),
            postgres::PROMISE => self.promise(call),
            postgres::RELEASE => self.release(call),
            postgres::SETTLE => self.settle(call),
            postgres::RESCHEDULE => self.reschedule(call),
            postgres::RENEW => self.renew(call),
            postgres::DEAD_LETTER => self.dead_letter(call),
            postgres::TAKE => self.take(call),
            postgres::TAKE_HEADS => self.take_heads(call),
            postgres::SWEEP => self.sweep(call),
            postgres::SWEEP_KEYS => self.sweep_keys(call),
            postgres::SWEEP_RUNS => self.sweep_runs(call),
            postgres::TAKE_ONE => self.take_one(call),
            postgres::DELETE => self.delete(call),
            postgres::DOUBT => self.doubt(call),
            postgres::SHOW => self.show(call),
            postgres::LIST => self.list(call),
            postgres::SEARCH => self.search(call),
            postgres::FIND => self.find(call),
            postgres::CALLBACKS => self.callbacks(call),
            postgres::COUNTS => self.counts(call),
            postgres::RECORD_RUN => self.record_run(call),
            postgres::RUN => self.read_run(call),
            postgres::KEEP => self.keep(call),
            postgres::KEPT => self.list_kept(call),
            postgres::SHOW_KEPT => self.show_kept(call),
            postgres::SWEEP_KEPT => self.sweep_kept(call),
            postgres::REPLACE_NOTE => self.replace_note(call),
            postgres::WRITE_NOTE => self.write_note(call),
            postgres::CLEAR_NOTE => self.clear_note(call),
            postgres::NOTES => self.read_notes(call),
            postgres::SOURCE_NOTES => self.source_notes(call),
            postgres::SWEEP_NOTES => self.sweep_notes(call),
            postgres::IMPORT => self.import(call),
            postgres::REMEMBERED => self.remembered(call),
            postgres::RUNS => self.list_runs(call),
            postgres::READY => Ok(vec![values![self.has_kept || !call.get::<bool>(1), None::<String>]]),
            // The model always has room.
            postgres::PROBE => Ok(Vec::new()),
            Statement { name, .. } => panic!("the model doesn't know the statement {name}"),
        }
    }

    /// The next value of `sluice_seq`.
    fn next_seq(&mut self) -> i64 {
        self.sequence += 1;
        self.sequence
    }

    /// Adds a delivery.
    fn insert(&mut self, row: Delivery) -> Result<(), Refused> {
        self.deliveries.insert(row.clone())?;
        self.writes.push(Write::Delivery(None, Some(row)));
        Ok(())
    }

    /// Deletes the delivery with this key.
    fn remove(&mut self, key: &str) {
        let row = self.deliveries.remove(key).expect("a row with this key");
        self.writes.push(Write::Delivery(Some(row), None));
    }

    /// Changes the delivery with this key, and returns it as it is then.
    fn update(&mut self, key: &str, change: impl FnOnce(&mut Delivery)) -> Result<Delivery, Refused> {
        let old = self.deliveries.remove(key).expect("a row with this key");
        let mut row = old.clone();
        change(&mut row);
        if let Err(refused) = self.deliveries.insert(row.clone()) {
            self.deliveries.insert(old).expect("the row as it was");
            return Err(refused);
        }
        self.writes.push(Write::Delivery(Some(old), Some(row.clone())));
        Ok(row)
    }

    fn write_run(&mut self, row: Run) {
        let old = self.runs.insert(row.run.clone(), row.clone());
        self.writes.push(Write::Run(old, Some(row)));
    }

    fn write(&mut self, row: Note) {
        let old = self.notes.insert(row.name.clone(), row.clone());
        self.writes.push(Write::Note(old, Some(row)));
    }

    fn undo(&mut self, writes: Vec<Write>) {
        for write in writes.into_iter().rev() {
            match write {
                Write::Delivery(old, new) => {
                    if let Some(new) = new {
                        self.deliveries.remove(&new.key).expect("a row that was written");
                    }
                    if let Some(old) = old {
                        self.deliveries.insert(old).expect("the row as it was");
                    }
                }
                Write::Run(old, new) => {
                    new.map(|new| self.runs.remove(&new.run));
                    old.map(|old| self.runs.insert(old.run.clone(), old));
                }
                Write::Kept(old, new) => {
                    new.map(|new| self.kept.remove(&new.id));
                    old.map(|old| self.kept.insert(old.id.clone(), old));
                }
                Write::Note(old, new) => {
                    new.map(|new| self.notes.remove(&new.name));
                    old.map(|old| self.notes.insert(old.name.clone(), old));
                }
            }
        }
    }
}
