//! The move from one store to another, while deliveries come in.
//!
//! The instances that use the source have stopped. Those that use the target look into the source before each claim
//! (`choice.rs`). A step holds the drain's lease of the key-value store, source or target, so no other move is at work.
//! It writes a record to the target, then removes it from the source, so a crash at any point loses nothing and a key is
//! always known to at least one of the two. Steps are repeated safely: a record that is there already stays as it is.
//!
//! A step whose end is unknown is repeated, although the target may have delivered the delivery since. So a pending
//! delivery is marked in the source before it is imported: the next time that it is moved, it counts as maybe sent, and
//! its run is looked up before it is sent. In a key-value store, the delivery itself is marked; in PostgreSQL, its row is
//! taken as a drain takes it.
//!
//! Pending deliveries are moved first, in order of arrival, then dead letters, and then the outcomes. Until the source
//! has no pending one left, the drains of the target leave queues alone, so their deliveries are sent in order.

use std::fmt;
use std::time::Duration;

use http::HeaderMap;
use serde::Serialize;

use super::{RunRecord, Settled};
use crate::callback::CallbackRecord;
use crate::delivery::{Delivery, DeliveryId, Key, KeyClaim, Row, TaskWait, Work};
use crate::ports::{Clock, StoreError};
use crate::time::Timestamp;

/// A kind of record, in the order in which they are moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    /// A pending delivery, by its id.
    Pending,
    /// A dead letter, by its id.
    Dead,
    /// The outcome of a key.
    Remembered,
    /// A claim without an outcome, whose instance has died.
    Claim,
    /// The record of a run.
    Run,
}

impl Kind {
    pub(super) const ALL: [Self; 5] = [Self::Pending, Self::Dead, Self::Remembered, Self::Claim, Self::Run];

    fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Dead => "dead",
            Self::Remembered => "remembered",
            Self::Claim => "claim",
            Self::Run => "run",
        }
    }
}

/// The place of a record in the order in which they are moved.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cursor {
    pub(super) kind: Kind,
    /// The record's name, by which its store knows it.
    pub(super) name: String,
}

impl Cursor {
    /// The place before all records.
    pub(super) fn start() -> Self {
        Self { kind: Kind::Pending, name: String::new() }
    }

    /// Parses the text of a cursor.
    pub fn parse(text: &str) -> Option<Self> {
        let (kind, name) = text.split_once(':')?;
        let kind = Kind::ALL.into_iter().find(|known| known.as_str() == kind)?;
        Some(Self { kind, name: name.to_owned() })
    }

    /// The id of a pending delivery or a dead letter.
    pub(super) fn id(&self) -> Option<DeliveryId> {
        DeliveryId::parse(&self.name)
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.kind.as_str(), self.name)
    }
}

/// A record in the form in which it is moved.
#[derive(Debug)]
pub(super) enum Record {
    /// A pending delivery, with its row if the source is a database.
    Pending(Box<Delivery<'static>>),
    /// A dead letter, and the time since which it holds its key; `None` if it doesn't.
    Dead(Box<Delivery<'static>>, Option<Timestamp>),
    /// The outcome of a key that is delivered, and when it was recorded.
    Remembered(Key, Box<Settled>, Timestamp),
    /// The record of a run, by the [hash](crate::callback::run_id_hash) of its id.
    Run(String, RunRecord),
}

/// What the source has under a name.
#[derive(Debug)]
pub(super) enum Found {
    /// Nothing any more.
    Gone,
    /// A record that has expired, or that another one has made superfluous.
    Superfluous,
    /// A record that can't be moved now: it is damaged or in flight, or a claim without a delivery.
    Fixed,
    /// A record to move.
    Record(Record),
}

/// The result of an import.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Imported {
    /// It is in the target, by this import or an earlier one.
    Done,
    /// Another delivery has its key.
    Held {
        /// Whether that one has the same content.
        is_same: bool,
        /// Whether it is kept until it is delivered, or was delivered.
        is_accepted: bool,
    },
}

/// What the source knows of a key, while its content is moved.
#[derive(Debug)]
pub(super) enum Standing {
    /// Nothing.
    Unknown,
    /// An instance has claimed it and died: its delivery may have been sent.
    Claimed,
    /// An earlier delivery has it.
    Settled(Settled),
}

/// A store whose content is moved away.
pub(super) trait Source {
    /// Lists at most `limit` records after a place.
    async fn records(&self, after: Option<&Cursor>, limit: usize) -> Result<Vec<Cursor>, StoreError>;

    /// Reads a record.
    async fn export(&self, at: &Cursor) -> Result<Found, StoreError>;

    /// Removes a record that was moved, and what belongs to it. `row` is that of a pending delivery.
    async fn forget(&self, at: &Cursor, row: Option<&Row>) -> Result<(), StoreError>;

    /// Leaves a pending delivery with this row where it is.
    async fn leave(&self, delivery: &Delivery<'static>, row: &Row) -> Result<(), StoreError>;
}

/// A store to which the content of another one is moved.
pub(super) trait Target {
    /// Writes a record, unless it is there already.
    async fn import(&self, record: &Record) -> Result<Imported, StoreError>;
}

/// What was moved.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Transferred {
    /// Number of pending deliveries.
    pub pending: u64,
    /// Number of dead letters.
    pub dead: u64,
    /// Number of outcomes.
    pub remembered: u64,
    /// Number of records of runs.
    pub runs: u64,
    /// Number of records that had expired, or that were superfluous.
    pub dropped: u64,
    /// Number of records that were left where they are.
    pub left: u64,
    /// Where the next call begins; `None` at the end.
    #[serde(skip)]
    pub next: Option<Cursor>,
}

/// Moves at most `limit` records after a place, until `end` by the monotonic clock.
pub(super) async fn transfer(
    clock: &impl Clock,
    source: &impl Source,
    target: &impl Target,
    after: Option<&Cursor>,
    limit: usize,
    end: Duration,
) -> Result<Transferred, StoreError> {
    let records = source.records(after, limit).await?;
    let mut moved = Transferred::default();
    let is_page_full = records.len() >= limit;
    for (done, at) in records.iter().enumerate() {
        if done > 0 && clock.monotonic() >= end {
            return Ok(moved);
        }
        let count = match source.export(at).await? {
            Found::Gone => None,
            Found::Superfluous => {
                source.forget(at, None).await?;
                Some(&mut moved.dropped)
            }
            Found::Fixed => Some(&mut moved.left),
            Found::Record(record) => Some(match move_record(clock, source, target, at, record).await? {
                Step::Moved(Kind::Pending | Kind::Claim) => &mut moved.pending,
                Step::Moved(Kind::Dead) => &mut moved.dead,
                Step::Moved(Kind::Remembered) => &mut moved.remembered,
                Step::Moved(Kind::Run) => &mut moved.runs,
                Step::Dropped => &mut moved.dropped,
                Step::Left => &mut moved.left,
            }),
        };
        if let Some(count) = count {
            *count = count.saturating_add(1);
        }
        let is_last = done.saturating_add(1) == records.len();
        moved.next = (!is_last || is_page_full).then(|| at.clone());
    }
    Ok(moved)
}

/// The result of the move of one record.
enum Step {
    Moved(Kind),
    Dropped,
    Left,
}

async fn move_record(
    clock: &impl Clock,
    source: &impl Source,
    target: &impl Target,
    at: &Cursor,
    mut record: Record,
) -> Result<Step, StoreError> {
    let imported = target.import(&record).await?;
    let row = if let Record::Pending(delivery) = &mut record { delivery.hold.row.take() } else { None };
    let step = match (imported, record) {
        (Imported::Done, Record::Pending(_)) => Step::Moved(Kind::Pending),
        (Imported::Done, Record::Dead(..)) => Step::Moved(Kind::Dead),
        (Imported::Done, Record::Remembered(..)) => Step::Moved(Kind::Remembered),
        (Imported::Done, Record::Run(..)) => Step::Moved(Kind::Run),
        // The holder of the key may still be refused, and this one is the next then.
        (Imported::Held { is_accepted: false, .. }, Record::Pending(delivery)) => {
            if let Some(row) = &row {
                source.leave(&delivery, row).await?;
            }
            return Ok(Step::Left);
        }
        (Imported::Held { is_accepted: false, .. }, Record::Remembered(..)) => return Ok(Step::Left),
        (Imported::Held { is_same: true, .. }, Record::Pending(_)) => Step::Dropped,
        (Imported::Held { .. }, Record::Remembered(..) | Record::Run(..)) => Step::Dropped,
        (Imported::Held { is_same: false, .. }, Record::Pending(mut delivery)) => {
            delivery.close(delivery.work.superseded_reason(), clock.now());
            target.import(&Record::Dead(delivery, None)).await?;
            Step::Moved(Kind::Dead)
        }
        (Imported::Held { .. }, Record::Dead(delivery, _)) => {
            target.import(&Record::Dead(delivery, None)).await?;
            Step::Moved(Kind::Dead)
        }
    };
    source.forget(at, row.as_ref()).await?;
    Ok(step)
}

/// Notes that a delivery may have been sent by now, and that the engine no longer acts on it: a store removes one only
/// once an attempt has ended. Its next attempt stays as it is. A callback without a task is not sent.
pub(super) fn mark_maybe_sent(delivery: &mut Delivery<'_>, now: Timestamp) {
    if matches!(delivery.work, Work::Resolve(_)) && delivery.wait.is_none() {
        return;
    }
    (delivery.sent, delivery.concluded) = (Some(now), true);
    if let Some(wait) = &mut delivery.wait {
        wait.sends = wait.sends.max(1);
    }
}

/// The delivery of a callback whose record has this key.
pub(super) fn delivery_of(record: CallbackRecord, key: Key) -> Delivery<'static> {
    let work = Work::Resolve(record.callback());
    let mut delivery = Delivery::new(record.id, work, HeaderMap::new(), record.received);
    delivery.claim = Some(KeyClaim { key, window: 0, contended: false });
    delivery.wait = record.task.map(TaskWait::new);
    (delivery.sent, delivery.unseen) = (record.sent, record.unseen);
    delivery
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cursor_is_read_as_it_is_written() {
        for kind in Kind::ALL {
            let cursor = Cursor { kind, name: "7/a:b".to_owned() };
            assert_eq!(Cursor::parse(&cursor.to_string()), Some(cursor));
        }
        for text in ["", "pending", "other:x"] {
            assert_eq!(Cursor::parse(text), None, "{text}");
        }
    }
}
