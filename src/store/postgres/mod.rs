//! The state in PostgreSQL: the schema, the statements, and their use.
//!
//! A claim *is* the row of its delivery. The row has the payload, the lease and the token of its holder; it is inserted
//! before the delivery is sent, and its key is the primary key. So there is never a second delivery of a key, neither
//! under way nor as a copy that waits.
//!
//! # The life of a row
//!
//! ```text
//!                                  ┌── renew, move, promise ──┐
//!                                  ▼                          │
//!  claim ───────────────────▶ under way ──────────────────────┘
//!    │                         ▲   │ │ │ └─ settle ─────▶ delivered ─── sweep ──▶ (gone)
//!    │ only stored             │   │ │ │                      └─ claim, once expired ──▶ under way, as a new one
//!    ▼                         │   │ │ └─ release ─────▶ (gone)
//!  waiting ── take, take_one ──┤   │ └─ dead_letter ───▶ dead ─── take_one ──▶ under way
//!    ▲                         │   │                      ├─ sweep_keys ──▶ dead, its key is free
//!    └─────────────────────────┼───┘ reschedule           └─ delete ──▶ (gone)
//!                              │
//!               lease runs out ┴ claim, take, take_one: by another holder, as *maybe sent*
//! ```
//!
//! | | `state` | `token` | `due` | `delivery` | `key` | `expires` |
//! |---|---|---|---|---|---|---|
//! | under way | pending | the holder's | end of the lease | yes | its own | – |
//! | lease ran out | pending | the late holder's | past | yes | its own | – |
//! | waiting | pending | – | the next attempt | yes | its own | – |
//! | dead | dead | – | – | yes | its own, or its id | when its key is freed |
//! | delivered | delivered | – | – | only a callback's | its own | when it is deleted |
//!
//! A delivery without a key has its id instead, and its row is deleted when it is delivered. One whose engine answers
//! in time has no row at all.
//!
//! # Rules
//!
//! - Each statement is one transaction by itself. There is no `BEGIN`, because Spin's pool doesn't roll back a
//!   connection that it takes back. A statement that broke may have had its effect, and is safe to repeat. No rule
//!   rests on the code of an error.
//! - Only the holder changes a row: `WHERE token = mine`. No row means that the lease ran out and another holder has
//!   the delivery: the late one logs that, and touches nothing more. [`PROMISE`] and [`DOUBT`] alone need no token.
//!   [`PROMISE`] only adds that a sender has a 2xx, so that [`RELEASE`] doesn't delete the row.
//! - A holder begins to send only in the first half of its lease ([`Hold::may_send`](crate::delivery::Hold::may_send)),
//!   by a monotonic clock that was started before the statement. The engine has dealt with what was sent by the time the
//!   lease ends, and the next holder can rely on what the engine shows.
//! - A holder that takes over a lease looks before it sends: `maybe_sent`. [`RESCHEDULE`] clears this, because the
//!   delivery that it stores says itself whether it may have been sent. [`DOUBT`] sets it without a token, for an
//!   operator. If it comes while the row is held, the holder hasn't known of it, and [`RESCHEDULE`] keeps it.
//! - Time is the database's. `sluice_now()` is in conditions, and `sluice_clock()` in what is written; durations are
//!   parameters. A statement that waits for another transaction thereby still gives a whole lease.
//! - Parameters and results are `int8`, `text`, `bytea` and `bool`, the types that `fermyon:spin/postgres@2.0.0` has
//!   besides those that Sluice doesn't need. Lists are JSON in a text.
//!
//! # Statements
//!
//! | Path of a request | Statements while its sender waits |
//! |---|---|
//! | without a key, the engine answers in time | – |
//! | without a key, stored | [`CLAIM`] of its id, without a token |
//! | on an `ordered` route | [`CLAIM`], without a token |
//! | first of a key | [`CLAIM`]; after the response, [`SETTLE`] |
//! | first of a key, refused by the engine | [`CLAIM`], [`RELEASE`]; if another sender has a 2xx for it, [`DEAD_LETTER`] too |
//! | first of a key, to be attempted later | [`CLAIM`], [`RESCHEDULE`] |
//! | first of a key, the engine is slow | [`CLAIM`], [`PROMISE`]; after the response, [`SETTLE`] or another end |
//! | `respond-async` | [`CLAIM`], [`PROMISE`]; after the response, [`SETTLE`] or another end |
//! | repeated | [`CLAIM`] |
//! | repeated while the first one is under way | [`CLAIM`] with pauses until there is an outcome; in the end [`PROMISE`] |
//! | callback, a task waits | [`CLAIM`] of the task, [`SETTLE`] |
//! | callback, no task waits yet | [`CLAIM`] of run and topic, without a token, once its sender has waited long enough |
//! | callback that repeats another, or comes too late | [`FIND`] |
//!
//! For a source, the note of its last verified request is read after the response, and written once a minute.
//!
//! A drain runs [`TAKE_HEADS`] and [`TAKE`] for as many rows as its width has free, sends without a connection, and
//! settles those that have ended with one [`SETTLE`]. Any number of drains do so side by side: no lease but those of the
//! rows, no notification. A callback that is early is moved to its task with [`MOVE`].
//!
//! # Indexes
//!
//! A remembered row is in two indexes, so a table of millions of them costs a drain nothing. The statements name the
//! states as constants where a partial index depends on them, so a prepared plan can use it as well.
//!
//! | Index | Rows | Used by |
//! |---|---|---|
//! | primary key, `key` | all | [`CLAIM`], [`PROMISE`], [`RELEASE`], [`SETTLE`], [`RESCHEDULE`], [`RENEW`], [`MOVE`], [`DEAD_LETTER`], [`FIND`], [`IMPORT`], [`REMEMBERED`]; the second step of [`TAKE`] and the sweeps |
//! | `due` | pending, without a queue | [`TAKE`], [`COUNTS`] |
//! | `queue, seq` | pending, in a queue | [`TAKE_HEADS`] |
//! | `state, id` | pending, dead | [`TAKE_ONE`], [`DELETE`], [`SHOW`], [`LIST`], [`SEARCH`], [`COUNTS`], [`DOUBT`], [`IMPORT`] |
//! | `reference, id` | callbacks | [`CALLBACKS`] |
//! | `expires` | delivered; dead with a key | [`SWEEP`], [`SWEEP_KEYS`] |
//!
//! # Kept payloads
//!
//! While `keep_hours` is set, each start that is delivered has a row in a table of its own ([`KEEP`]), written before its
//! sender has the response, or before [`SETTLE`] if that follows the response: until then, the row of the claim has the
//! payload, and the drain that takes it over keeps it. That is one statement more, apart from [`SETTLE`], since an error of
//! it must not keep a delivery from being settled. Without the setting, no statement but [`SWEEP`] names the table, so a
//! database without it goes on working. Pages of [`KEPT`] are read by the primary key, and filtered by the component: a
//! second index would cost each start more than a rare replay gains.
//!
//! # A callback
//!
//! A callback holds one key at a time: that of run and topic while no look has named its task, then that of the task.
//! So two callbacks of one task are never under way, nor two early ones of one run and topic. A claim of a task names
//! the key of run and topic as well (`$11`): a callback that is pending there came first. [`MOVE`] gives up the first
//! key as it takes the second, so the next callback may be early for another round of a loop.
//!
//! The columns `topic` and `delivery` stay when a callback is delivered, to answer conflicts and to list the callbacks
//! of a run.

mod archive;
mod claims;
mod outbox;
mod repair;
mod search;
mod session;
mod source_note;
mod transfer;

use std::time::Duration;

use crate::delivery::{DeliveryId, Limits};
use crate::ports::{Clock, Rng, Sql, SqlValue, StoreError};
use crate::secret::Secret;
use crate::time::{MAX_CLOCK_SKEW, Retention};

pub use self::outbox::Pass;

/// A database in PostgreSQL.
#[derive(Debug)]
pub struct PostgresStore<'a, H> {
    host: &'a H,
    url: Secret,
    /// How long a start is remembered.
    retention: Retention,
    /// How long a callback is remembered.
    callback_retention: Retention,
    limits: Limits,
    /// How long the payloads of delivered starts are kept.
    keep: Duration,
}

impl<'a, H> PostgresStore<'a, H> {
    /// The database of this URL, with the retention of starts and of callbacks.
    pub(super) fn new(host: &'a H, url: Secret, retention: [Retention; 2], limits: Limits) -> Self {
        let [retention, callback_retention] = retention;
        Self { host, url, retention, callback_retention, limits, keep: Duration::ZERO }
    }

    /// The same, with the time for which the payloads of delivered starts are kept.
    pub(super) fn keeping(self, keep: Duration) -> Self {
        Self { keep, ..self }
    }
}

impl<H: Sql + Clock + Rng> PostgresStore<'_, H> {
    /// Runs a statement, and returns its rows.
    async fn query(&self, statement: Statement, parameters: &[SqlValue]) -> Result<Vec<session::Columns>, StoreError> {
        Ok(self.answer(statement, parameters).await?.rows)
    }

    async fn answer(&self, statement: Statement, parameters: &[SqlValue]) -> Result<session::Answer, StoreError> {
        session::run(self.host, &self.url, statement, parameters).await
    }

    /// A new token, which nobody else has.
    fn token(&self) -> String {
        DeliveryId::new(self.host.arrival_time(), self.host.random()).to_string()
    }
}

/// The version of the schema that these statements need: the value of the note `schema`.
pub const SCHEMA_VERSION: &str = "1";

/// The schema, for psql.
pub const SCHEMA: &str = include_str!("schema.sql");

/// A statement. Its file describes its parameters and its rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Statement {
    /// The name of its file, without `.sql`.
    pub name: &'static str,
    /// Its text.
    pub sql: &'static str,
}

macro_rules! statements {
    ($($(#[$doc:meta])* $constant:ident = $name:literal;)*) => {
        $($(#[$doc])* pub const $constant: Statement =
            Statement { name: $name, sql: include_str!(concat!($name, ".sql")) };)*

        /// All statements.
        pub const STATEMENTS: &[Statement] = &[$($constant),*];
    };
}

statements! {
    /// Claims a key, takes over a delivery whose lease has run out, or stores a delivery.
    CLAIM = "claim";
    /// Notes that a sender has a 2xx for a delivery that is under way.
    PROMISE = "promise";
    /// Deletes a delivery for which nobody has a 2xx.
    RELEASE = "release";
    /// Settles deliveries that the engine has accepted.
    SETTLE = "settle";
    /// Puts a delivery back for a later attempt.
    RESCHEDULE = "reschedule";
    /// Begins the lease of a delivery anew.
    RENEW = "renew";
    /// Moves the claim of a callback to the task that waits for it.
    MOVE = "move";
    /// Makes a delivery a dead letter.
    DEAD_LETTER = "dead_letter";
    /// Takes deliveries that are due.
    TAKE = "take";
    /// Takes the first delivery of each queue, if it is due.
    TAKE_HEADS = "take_heads";
    /// Takes one delivery, for an operator.
    TAKE_ONE = "take_one";
    /// Deletes a delivery, for an operator.
    DELETE = "delete";
    /// Reads a pending delivery or a dead letter.
    SHOW = "show";
    /// Lists pending deliveries or dead letters.
    LIST = "list";
    /// Finds pending deliveries or dead letters by a text, their time and their workflow.
    SEARCH = "search";
    /// Reads the deliveries that hold any of some keys.
    FIND = "find";
    /// Reads the callbacks of a run.
    CALLBACKS = "callbacks";
    /// Counts pending deliveries and dead letters.
    COUNTS = "counts";
    /// Treats pending deliveries as maybe sent.
    DOUBT = "doubt";
    /// Deletes remembered deliveries that have expired.
    SWEEP = "sweep";
    /// Frees the keys of dead letters whose time has come.
    SWEEP_KEYS = "sweep_keys";
    /// Deletes records of runs that have expired.
    SWEEP_RUNS = "sweep_runs";
    /// Writes the record of a run.
    RECORD_RUN = "record_run";
    /// Reads the record of a run.
    RUN = "run";
    /// Writes a note.
    WRITE_NOTE = "write_note";
    /// Writes a note that nobody has changed meanwhile.
    REPLACE_NOTE = "replace_note";
    /// Deletes a note.
    CLEAR_NOTE = "clear_note";
    /// Reads notes.
    NOTES = "notes";
    /// Reads notes about sources.
    SOURCE_NOTES = "source_notes";
    /// Deletes notes about sources that were not written for a long time.
    SWEEP_NOTES = "sweep_notes";
    /// Whether the schema exists, and which privileges are missing.
    READY = "ready";
    /// Writes a row to see whether there is room for one.
    PROBE = "probe";
    /// Keeps the payloads of delivered starts.
    KEEP = "keep";
    /// Lists starts whose payloads are kept.
    KEPT = "kept";
    /// Reads a start whose payload is kept.
    SHOW_KEPT = "show_kept";
    /// Deletes kept payloads whose time is over.
    SWEEP_KEPT = "sweep_kept";
    /// Imports a delivery from another store.
    IMPORT = "import";
    /// Lists the keys of remembered deliveries.
    REMEMBERED = "remembered";
    /// Lists the runs that have a record.
    RUNS = "runs";
}

/// How much longer half a lease is than a look and a send may take.
const LEASE_MARGIN: Duration = Duration::from_secs(5);

/// The length of a lease, if the engine may act on a request for `engine_timeout` after it was sent. In its first half,
/// a holder may look and begin to send; the second half is long enough for what it has sent.
pub fn lease_length(engine_timeout: Duration) -> Duration {
    engine_timeout.saturating_mul(2).saturating_add(LEASE_MARGIN).saturating_mul(2)
}

/// How long a settled row is kept: a minute longer than it has to be, since the hosts' clocks are not the database's.
fn kept_for(retention: Retention) -> Duration {
    retention.length().saturating_add(MAX_CLOCK_SKEW)
}

/// The time, by the holder's monotonic clock, before which it has to begin to send, if it began the statement that gave it
/// the lease at `begun`.
fn send_until(begun: Duration, lease: Duration) -> Duration {
    begun.saturating_add(half(lease))
}

/// Half a lease. A request of an earlier holder is at least as old when the lease ends.
fn half(lease: Duration) -> Duration {
    lease.checked_div(2).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::delivery::Hold;

    #[test]
    fn send_at_the_last_moment_is_over_when_the_lease_ends() {
        for ms in [0, 1, 999, 10_000, 60_000] {
            let timeout = Duration::from_millis(ms);
            let lease = lease_length(timeout);
            assert_eq!(lease, 2 * (2 * timeout + Duration::from_secs(5)));
            let hold = Hold { until: Some(send_until(Duration::ZERO, lease)), ..Hold::default() };
            let last = lease / 2 - Duration::from_nanos(1);
            assert!(hold.may_send(last) && !hold.may_send(lease / 2));
            assert!(last + timeout + Duration::from_secs(1) < lease, "the engine still acts after {lease:?}");
        }
    }

    #[test]
    fn statement_is_one_transaction_by_itself() {
        for Statement { name, sql } in STATEMENTS {
            let code: Vec<_> = sql.lines().filter(|line| !line.trim_start().starts_with("--")).collect();
            let code = code.join("\n");
            assert!(sql.starts_with("-- "), "{name} is not described");
            for word in ["BEGIN", "COMMIT", "clock_timestamp", "now()", " IN (SELECT", ";"] {
                assert!(!code.replace("sluice_now()", "").contains(word), "{name} has {word}");
            }
        }
    }

    #[test]
    fn schema_has_the_version_of_the_statements() {
        assert!(SCHEMA.contains(&format!("VALUES ('schema', '{SCHEMA_VERSION}'")));
        assert!(SCHEMA.starts_with("-- The schema of Sluice's PostgreSQL backend, version 1."));
    }
}
