//! The names of the releases 0.1 and 0.2, of which an upgrade moves the values (`upgrade.rs`).
//!
//! They begin with `sluice/`. A claim had a `door` (the splitter's race) and a `flag` (its door) in each window. The
//! value of a flag is that of `won` today, with the callback.

use super::names::short;
use crate::delivery::{DeliveryId, Key};

/// What all names begin with.
const PREFIX: &str = "sluice/";
/// The lease, which the last holder sets to the epoch.
pub(super) const LEASE: &str = "sluice/lease";

/// Names that occur once, with what they are called today.
const FIXED: [(&str, &str); 3] =
    [("hint", super::names::NOTIFICATION), ("fault", super::names::FAULT), ("twice", super::names::TWICE)];

/// The name of a key's outcome.
pub(super) fn outcome(key: &Key, window: u64) -> String {
    let kind = if key.is_callback() { "callback" } else { "done" };
    format!("{PREFIX}{kind}/{window}/{}", key.hash())
}

/// The name of a key's flag.
pub(super) fn flag(key: &Key, window: u64) -> String {
    format!("{PREFIX}flag/{window}/{}", key.hash())
}

/// The name of the record of the run with this hash.
pub(super) fn run(run: &str, window: u64) -> String {
    format!("{PREFIX}run/{window}/{run}")
}

/// The delivery that is pending under this name.
pub(super) fn pending(name: &str) -> Option<DeliveryId> {
    DeliveryId::parse(name.strip_prefix(PREFIX)?.strip_prefix("pending/")?)
}

/// What becomes of a key with an old name. In the order in which an upgrade moves them: what has to be delivered first.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Fate {
    /// A delivery, pending or dead, which gets this name.
    Delivery(String),
    /// A value that gets this name: an outcome, the record of a run, the notification, a fault. Today's name of the
    /// outcome of a start, and of the record of a run, has a part of the hash only: the value gets the whole one.
    Moved(String, Option<String>),
    /// The flag of a key, by window and short hash. It is kept unless the key has an outcome.
    Flag(u64, String),
    /// A race or a lease, which nothing reads any more.
    Dropped,
}

/// What becomes of a key with this name; `None` if the name isn't an old one.
pub(super) fn fate(name: &str) -> Option<Fate> {
    let rest = name.strip_prefix(PREFIX)?;
    if let Some((_, today)) = FIXED.iter().find(|(old, _)| *old == rest) {
        return Some(Fate::Moved((*today).to_owned(), None));
    }
    let (kind, rest) = rest.split_once('/').unwrap_or((rest, ""));
    let windowed = || {
        let (window, hash) = rest.split_once('/')?;
        Some((window.parse::<u64>().ok()?, hash))
    };
    Some(match (kind, DeliveryId::parse(rest), windowed()) {
        ("pending", Some(id), _) => Fate::Delivery(super::names::pending(id)),
        ("dead", Some(id), _) => Fate::Delivery(super::names::dead(id)),
        ("done" | "callback", _, Some((window, hash))) => {
            Fate::Moved(super::names::outcome_of(&short(hash), window), (kind == "done").then(|| hash.to_owned()))
        }
        ("run", _, Some((window, hash))) => {
            Fate::Moved(super::names::run_of(&short(hash), window), Some(hash.to_owned()))
        }
        ("flag", _, Some((window, hash))) => Fate::Flag(window, short(hash)),
        ("door", ..) | ("lease" | "lease-door", ..) => Fate::Dropped,
        _ => return None,
    })
}
