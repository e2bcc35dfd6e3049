//! The names of all keys in the key-value store.
//!
//! | Key | Value |
//! |---|---|
//! | `sluice/pending/{id}` | a delivery that will be attempted |
//! | `sluice/dead/{id}` | a dead letter |
//! | `sluice/done/{window}/{hash}` | the outcome of a start with an idempotency key |
//! | `sluice/callback/{window}/{run}/{topic}/early` | the callback that is kept until the run waits for the topic |
//! | `sluice/callback/{window}/{run}/{topic}/{task}` | the callback that was accepted for a task run |
//! | `sluice/callback/{window}/{run}/{topic}` | the callback that release 0.1 accepted for a run and topic |
//! | `sluice/run/{window}/{run}` | how a run is looked at, if its scope isn't the default one or the engine does not show it |
//! | `sluice/door/{window}/{hash}`, `sluice/flag/{window}/{hash}` | the splitter of a claim: `race` and `door` |
//! | `sluice/lease-door`, `sluice/lease` | the splitter of the drain's lease: `race` and `door` |
//! | `sluice/hint` | the drain notification |
//! | `sluice/fault` | the configuration fault that an operator has to fix |
//! | `sluice/width` | the width of the drain |
//! | `sluice/refusal` | the last refusal of a fresh delivery by the engine |
//! | `sluice/twice` | the last delivery that has two runs |
//!
//! All keys begin with `sluice/`, because on some stores the label is not a namespace, and have at most 255 bytes.
//! `{window}` is the number of a retention window: the sweep recognizes an expired key by its name.
//!
//! The stored names of the splitters' registers predate the names in the code: `race` is stored as `door`, and `door`
//! as `flag`; in the lease, as `lease-door` and `lease`. They don't change, because instances of two versions share a
//! store during an upgrade.

use crate::callback::run_hash;
use crate::delivery::{DeliveryId, Key};
use crate::reference::RunRef;

const PENDING: &str = "sluice/pending/";
const DEAD: &str = "sluice/dead/";

/// The drain notification.
pub(super) const NOTIFICATION: &str = "sluice/hint";
/// The configuration fault.
pub(super) const FAULT: &str = "sluice/fault";
/// The note about the width of the drain.
pub(super) const WIDTH: &str = "sluice/width";
/// The last refusal of a fresh delivery.
pub(super) const REFUSAL: &str = "sluice/refusal";
/// The delivery that has two runs.
pub(super) const TWICE: &str = "sluice/twice";
/// The door of the lease's splitter, which holds the lease.
pub(super) const LEASE: &str = "sluice/lease";
/// The race of the lease's splitter.
pub(super) const LEASE_RACE: &str = "sluice/lease-door";

/// What the names of outcomes begin with, before the window.
pub(super) const OUTCOMES: [&str; 2] = ["sluice/done/", "sluice/callback/"];
/// What the names of closed doors begin with.
pub(super) const DOORS: &str = "sluice/flag/";
/// What the names of the records of runs begin with.
pub(super) const RUNS: &str = "sluice/run/";

/// The segment after `sluice/` in the keys that belong to a retention window.
const WINDOWED: [&str; 5] = ["done", "callback", "flag", "door", "run"];

/// A register of an idempotency key. Each retention window has its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Register {
    /// The splitter's `race`: the name of the last contender.
    Race,
    /// The splitter's `door`: present once a contender has entered. For a callback it holds the callback.
    Door,
    /// The record of the outcome.
    Record,
}

impl Register {
    /// The register's key in the store.
    pub(super) fn of(self, key: &Key, window: u64) -> String {
        let name = match self {
            Self::Race => "door",
            Self::Door => "flag",
            Self::Record if key.is_callback() => "callback",
            Self::Record => "done",
        };
        format!("sluice/{name}/{window}/{}", key.hash())
    }
}

/// The key prefix that all of a run's callback records share in a window.
pub(super) fn callbacks_prefix(run: &RunRef, window: u64) -> String {
    format!("sluice/callback/{window}/{}/", run_hash(run))
}

/// The key prefix of the doors that the claims of a run's callbacks have closed in a window.
pub(super) fn callback_doors_prefix(run: &RunRef, window: u64) -> String {
    format!("sluice/flag/{window}/{}/", run_hash(run))
}

/// The key of the record of the run with this hash.
pub(super) fn run(run: &str, window: u64) -> String {
    format!("sluice/run/{window}/{run}")
}

pub(super) fn pending(id: DeliveryId) -> String {
    format!("{PENDING}{id}")
}

pub(super) fn dead(id: DeliveryId) -> String {
    format!("{DEAD}{id}")
}

/// A list of all keys of the store.
#[derive(Debug)]
pub(super) struct KeyList(pub(super) Vec<String>);

impl KeyList {
    /// The ids of pending deliveries, in order of arrival.
    pub(super) fn pending(&self) -> Vec<DeliveryId> {
        self.ids(PENDING)
    }

    /// The ids of dead letters, in order of arrival. A delivery that a crash has left both pending and dead counts as
    /// pending.
    pub(super) fn dead(&self) -> Vec<DeliveryId> {
        let pending = self.pending();
        self.ids(DEAD).into_iter().filter(|id| pending.binary_search(id).is_err()).collect()
    }

    /// The ids of deliveries that a crash has left both pending and dead.
    pub(super) fn half_moved(&self) -> Vec<DeliveryId> {
        let pending = self.pending();
        self.ids(DEAD).into_iter().filter(|id| pending.binary_search(id).is_ok()).collect()
    }

    fn ids(&self, prefix: &str) -> Vec<DeliveryId> {
        let mut ids: Vec<_> = self.0.iter().filter_map(|key| DeliveryId::parse(key.strip_prefix(prefix)?)).collect();
        ids.sort_unstable();
        ids
    }
}

/// The current retention windows, by which the sweep recognizes expired keys.
#[derive(Clone, Copy, Debug)]
pub(super) struct Present {
    /// The window of the keys of starts, and of the callbacks of release 0.1.
    pub(super) starts: u64,
    /// The window of the keys of callbacks and runs.
    pub(super) callbacks: u64,
}

/// Whether a key belongs to a window that no lookup reads, not even by a clock that is slightly ahead. A window far in
/// the future was numbered under a shorter retention.
pub(super) fn is_expired(key: &str, present: Present) -> bool {
    let window = key.strip_prefix("sluice/").and_then(|rest| {
        let (kind, rest) = rest.split_once('/')?;
        let (window, name) = rest.split_once('/')?;
        let is_of_callback = kind == "run" || name.matches('/').count() > 1;
        let present = if is_of_callback { present.callbacks } else { present.starts };
        WINDOWED.contains(&kind).then(|| Some((window.parse::<u64>().ok()?, present)))?
    });
    window.is_some_and(|(window, present)| window.saturating_add(1) < present || window > present.saturating_add(1))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::callback::{Callback, Status};
    use crate::reference::Topic;

    const PRESENT: Present = Present { starts: 10, callbacks: 10 };

    #[test]
    fn only_keys_of_old_windows_are_expired() {
        for kind in WINDOWED {
            for (window, expired) in [(0, true), (7, true), (8, true), (9, false), (10, false), (11, false), (12, true)]
            {
                assert_eq!(is_expired(&format!("sluice/{kind}/{window}/ABC"), PRESENT), expired, "{kind} {window}");
            }
        }
        for key in [
            "sluice/pending/01M8",
            "sluice/dead/7/x",
            NOTIFICATION,
            "other/done/1/x",
            "sluice/done/x/y",
            "sluice/done/1",
        ] {
            assert!(!is_expired(key, PRESENT), "{key}");
        }
    }

    #[test]
    fn keys_of_callbacks_have_windows_of_their_own() {
        let present = Present { starts: 30, callbacks: 10 };
        for (key, expired) in [
            ("sluice/done/10/A", true),
            ("sluice/flag/30/A", false),
            ("sluice/flag/10/run/topic/early", false),
            ("sluice/callback/30/run/topic/task", true),
            ("sluice/callback/10/run/topic/task", false),
            ("sluice/callback/30/run/topic", false),
            ("sluice/callback/10/run/topic", true),
            ("sluice/run/10/A", false),
        ] {
            assert_eq!(is_expired(key, present), expired, "{key}");
        }
    }

    proptest! {
        #[test]
        fn every_key_fits_every_store(
            run in "[a-zA-Z0-9é]{1,100}",
            topic in "\\PC{1,200}",
            window in any::<u64>(),
        ) {
            if let (Ok(run), Ok(topic)) = (RunRef::parse(&run), Topic::parse(&topic)) {
                let prefix = callbacks_prefix(&run, window);
                let callback = Callback { run, topic, status: Status::Failed, payload: None };
                for key in [Key::early(&callback), Key::callback(&callback), Key::task(&callback, "6b08d2747a45f52ffbc67b6c")] {
                    for register in [Register::Race, Register::Door, Register::Record] {
                        let name = register.of(&key, window);
                        prop_assert!(name.len() <= 255 && name.starts_with("sluice/") && name.is_ascii());
                    }
                    prop_assert!(Register::Record.of(&key, window).starts_with(&prefix));
                }
            }
        }
    }
}
