//! The names of all keys in the key-value store.
//!
//! | Name | Value |
//! |---|---|
//! | `sluice:pending:{id}` | a delivery that will be attempted |
//! | `sluice:dead:{id}` | a dead letter |
//! | `sluice:asked:{id}` | what an operator has asked for a delivery |
//! | `sluice:done:{window}:{h}` | the outcome of a start with an idempotency key |
//! | `sluice:callback:{window}:{h}` | the callback that was accepted; `{h}` is `{run}:{topic}:{task}`, or `early` for the task |
//! | `sluice:run:{window}:{run}` | how a run is looked at, if its scope isn't the default one or the engine does not show it |
//! | `sluice:mark:{window}:{h}` | the `door` of a claim's splitter |
//! | `sluice:won:{window}:{h}` | the contender that has won the splitter; of a callback, with the callback |
//! | `sluice:void:{window}:{h}` | present once a loser has declared the round to be over |
//! | `sluice:race:{slot}` | the `race` of the splitters of all keys with this slot |
//! | `sluice:lease`, `sluice:lease-race`, `sluice:lease-door` | the drain's lease, and the splitter before it |
//! | `sluice:notify` | the drain notification |
//! | `sluice:fault` | the configuration fault that an operator has to fix |
//! | `sluice:twice` | the last delivery that has two runs |
//! | `sluice:width`, `sluice:refusal` | the note about the drain's width, and the engine's last refusal |
//! | `sluice:alert` | the note about alerts |
//! | `sluice:queues` | the queues whose first delivery waits for its next attempt |
//! | `sluice:doubt` | the time until which pending deliveries may have been sent, as an operator says |
//! | `sluice:note:{kind}:{h}` | a note about a source or its keys; `{h}` is 32 hexadecimal digits of its name's SHA-256 |
//! | `sluice:history` | the samples of the last passes, and the names of the notes about sources |
//! | `sluice:form` | the version of the stored form, and what a claim has to know about the store |
//!
//! All names begin with `sluice:`, because on some stores the label is not a namespace. They consist of letters, digits,
//! `:`, `-` and `.`, which every store permits, and have at most 255 bytes.
//!
//! `{h}` is the key's hash, of which each part is cut to its first half: 26 characters of base32, or 32 hexadecimal
//! digits, and so at least 128 bits; `{run}` likewise. The whole hash of a start is in the outcome, and that of a run in
//! its record, because other stores have no short ones (`export.rs`). `mark`, `won` and `void` of a later round end in
//! `.{round}`, and those of a later term in `.{round}.{term}` (`claim.rs`). `{window}` is the number of a retention
//! window: the sweep recognizes an expired key by its name.

use std::fmt::{self, Write as _};

use crate::delivery::{DeliveryId, Key};

/// What all names begin with.
const PREFIX: &str = "sluice:";

/// The drain notification.
pub(super) const NOTIFICATION: &str = "sluice:notify";
/// The configuration fault.
pub(super) const FAULT: &str = "sluice:fault";
/// The delivery that has two runs.
pub(super) const TWICE: &str = "sluice:twice";
/// The note about the drain's width.
pub(super) const WIDTH: &str = "sluice:width";
/// The engine's last refusal of a fresh delivery.
pub(super) const REFUSAL: &str = "sluice:refusal";
/// The note about alerts.
pub(super) const ALERT: &str = "sluice:alert";
/// The queues that are held.
pub(super) const QUEUES: &str = "sluice:queues";
/// The time until which pending deliveries may have been sent.
pub(super) const DOUBT: &str = "sluice:doubt";
/// The samples of the last passes.
pub(super) const HISTORY: &str = "sluice:history";
/// The version of the stored form.
pub(super) const FORM: &str = "sluice:form";
/// The drain's lease.
pub(super) const LEASE: &str = "sluice:lease";
/// The `race` of the lease's splitter.
pub(super) const LEASE_RACE: &str = "sluice:lease-race";
/// The `door` of the lease's splitter.
pub(super) const LEASE_DOOR: &str = "sluice:lease-door";

/// What the names of outcomes begin with.
pub(super) const OUTCOMES: [&str; 2] = ["sluice:done:", "sluice:callback:"];
/// What the names of the winners of claims begin with.
pub(super) const WINNERS: &str = "sluice:won:";
/// What the names of the records of runs begin with.
pub(super) const RUNS: &str = "sluice:run:";

/// The name of a pending delivery.
pub(super) fn pending(id: DeliveryId) -> String {
    format!("{PREFIX}pending:{id}")
}

/// The name of a dead letter.
pub(super) fn dead(id: DeliveryId) -> String {
    format!("{PREFIX}dead:{id}")
}

/// The name of an operator's request for a delivery.
pub(super) fn asked(id: DeliveryId) -> String {
    format!("{PREFIX}asked:{id}")
}

/// The name of a register of the table of races.
pub(super) fn race(slot: u64) -> String {
    format!("{PREFIX}race:{slot}")
}

/// The name of the record of the run with this hash.
pub(super) fn run(run: &str, window: u64) -> String {
    run_of(&short(run), window)
}

/// The name of the record of the run with this short hash.
pub(super) fn run_of(short: &str, window: u64) -> String {
    format!("{PREFIX}run:{window}:{short}")
}

/// The name of a note about a source.
pub(super) fn source_note(stored_name: &str) -> String {
    format!("{PREFIX}note:{stored_name}")
}

/// A key's hash in names: each part cut to its first half, with `:` between them. The part `early` stays whole.
pub(super) fn short(hash: &str) -> String {
    let mut short = String::with_capacity(hash.len());
    for part in hash.split('/') {
        if !short.is_empty() {
            short.push(':');
        }
        let half = if part.len() < 52 { part.len() } else { part.len().div_ceil(2) };
        short.push_str(part.get(..half).unwrap_or(part));
    }
    short
}

/// The name of a key's outcome.
pub(super) fn outcome(key: &Key, window: u64) -> String {
    outcome_of(&short(key.hash()), window)
}

/// The name of the outcome of the key with this short hash.
pub(super) fn outcome_of(short: &str, window: u64) -> String {
    let kind = if short.contains(':') { "callback" } else { "done" };
    format!("{PREFIX}{kind}:{window}:{short}")
}

/// What the names of the outcomes of a run's callbacks in a window begin with; the argument is the hash of the run.
pub(super) fn callbacks_of(run_hash: &str, window: u64) -> String {
    format!("{PREFIX}callback:{window}:{}:", short(run_hash))
}

/// What the names of the winners of the claims of a run's callbacks in a window begin with.
pub(super) fn winners_of(run_hash: &str, window: u64) -> String {
    format!("{PREFIX}won:{window}:{}:", short(run_hash))
}

/// A round of a key's claim.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Round {
    /// The retention window.
    pub(super) window: u64,
    /// The short hash of the key.
    pub(super) short: String,
    /// The term: empty at first, and another text after each release.
    pub(super) term: String,
    /// The number of the round in its term, from 0.
    pub(super) number: u32,
}

/// A register of a round.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Register {
    /// The splitter's `door`.
    Mark,
    /// The contender that has won the splitter.
    Won,
    /// Whether a loser has declared the round to be over.
    Void,
}

impl Register {
    const ALL: [(Self, &'static str); 3] = [(Self::Mark, "mark"), (Self::Won, "won"), (Self::Void, "void")];

    /// The register's name in a round.
    pub(super) fn of(self, round: &Round) -> String {
        let kind = match self {
            Self::Mark => "mark",
            Self::Won => "won",
            Self::Void => "void",
        };
        let Round { window, short, term, number } = round;
        let mut name = format!("{PREFIX}{kind}:{window}:{short}");
        // Writing to a string never fails.
        let _: fmt::Result = match (term.as_str(), number) {
            ("", 0) => Ok(()),
            ("", number) => write!(name, ".{number}"),
            (term, number) => write!(name, ".{number}.{term}"),
        };
        name
    }
}

/// A name, as the sweep sees it.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Name<'n> {
    Pending(DeliveryId),
    Dead(DeliveryId),
    Asked(DeliveryId),
    /// An outcome: the window and the short hash.
    Outcome(u64, &'n str),
    /// The record of a run.
    Run(u64),
    /// A register of a claim: window, short hash and term.
    Claim(u64, &'n str, &'n str),
    /// A note about a source: the kind and the hash.
    SourceNote(&'n str),
    /// A race, or a name that occurs once.
    Fixed,
    /// Not a name of this version.
    Other,
}

impl<'n> Name<'n> {
    /// Reads a name.
    pub(super) fn parse(name: &'n str) -> Self {
        Self::of(name).unwrap_or(Self::Other)
    }

    fn of(name: &'n str) -> Option<Self> {
        let name = name.strip_prefix(PREFIX)?;
        let Some((kind, rest)) = name.split_once(':') else { return Some(Self::Fixed) };
        let windowed = || {
            let (window, rest) = rest.split_once(':')?;
            Some((window.parse::<u64>().ok()?, rest))
        };
        Some(match kind {
            "pending" => Self::Pending(DeliveryId::parse(rest)?),
            "dead" => Self::Dead(DeliveryId::parse(rest)?),
            "asked" => Self::Asked(DeliveryId::parse(rest)?),
            "race" => Self::Fixed,
            "done" | "callback" => {
                let (window, short) = windowed()?;
                Self::Outcome(window, short)
            }
            "run" => Self::Run(windowed()?.0),
            "note" => Self::SourceNote(rest),
            _ if Register::ALL.iter().any(|(_, name)| *name == kind) => {
                let (window, rest) = windowed()?;
                let (short, suffix) = rest.split_once('.').unwrap_or((rest, ""));
                let term = suffix.split_once('.').map_or("", |(_, term)| term);
                Self::Claim(window, short, term)
            }
            _ => return None,
        })
    }
}

/// A list of all keys of the store.
#[derive(Debug)]
pub(super) struct KeyList(pub(super) Vec<String>);

impl KeyList {
    /// The ids of pending deliveries, in order of arrival. Without those that an upgrade has not quite moved yet.
    pub(super) fn pending(&self) -> Vec<DeliveryId> {
        let unmoved = self.unmoved();
        let mut ids = self.ids(|name| if let Name::Pending(id) = name { Some(id) } else { None });
        ids.retain(|id| unmoved.binary_search(id).is_err());
        ids
    }

    /// The ids of dead letters, in order of arrival. A delivery that a crash has left both pending and dead counts as
    /// pending.
    pub(super) fn dead(&self) -> Vec<DeliveryId> {
        let pending = self.all_pending();
        let mut ids = self.all_dead();
        ids.retain(|id| pending.binary_search(id).is_err());
        ids
    }

    /// The ids of deliveries for which an operator has asked something.
    pub(super) fn asked(&self) -> Vec<DeliveryId> {
        self.ids(|name| if let Name::Asked(id) = name { Some(id) } else { None })
    }

    /// The ids of deliveries that a crash has left both pending and dead.
    pub(super) fn half_moved(&self) -> Vec<DeliveryId> {
        let pending = self.all_pending();
        let mut ids = self.all_dead();
        ids.retain(|id| pending.binary_search(id).is_ok());
        ids
    }

    /// The ids of all deliveries that are pending or dead, sorted.
    pub(super) fn stored(&self) -> Vec<DeliveryId> {
        self.ids(|name| match name {
            Name::Pending(id) | Name::Dead(id) => Some(id),
            _ => None,
        })
    }

    /// Whether pending deliveries have the names of an earlier release.
    pub(super) fn has_unmoved(&self) -> bool {
        !self.unmoved().is_empty()
    }

    /// The ids of pending deliveries that have the name of an earlier release.
    fn unmoved(&self) -> Vec<DeliveryId> {
        let mut ids: Vec<_> = self.0.iter().filter_map(|name| super::old_names::pending(name)).collect();
        ids.sort_unstable();
        ids
    }

    fn all_pending(&self) -> Vec<DeliveryId> {
        self.ids(|name| if let Name::Pending(id) = name { Some(id) } else { None })
    }

    fn all_dead(&self) -> Vec<DeliveryId> {
        self.ids(|name| if let Name::Dead(id) = name { Some(id) } else { None })
    }

    fn ids(&self, of: impl Fn(Name<'_>) -> Option<DeliveryId>) -> Vec<DeliveryId> {
        let mut ids: Vec<_> = self.0.iter().filter_map(|name| of(Name::parse(name))).collect();
        ids.sort_unstable();
        ids.dedup();
        ids
    }
}
