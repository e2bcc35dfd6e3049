//! Faults that an operator has to see: a configuration fault, and a delivery that has two runs.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::pass::StoreHealth;
use super::sample::Sample;
use crate::delivery::DeliveryId;
use crate::time::Timestamp;

/// A configuration fault that an operator has to fix before the engine accepts anything: the engine's address, path or
/// token is wrong, or the host forbids the call.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EngineFault {
    /// When a fault was first recorded. A fault with another reason keeps this time.
    pub at: Timestamp,
    /// Why the last attempt failed, such as `the engine answered 401`.
    pub reason: String,
}

/// A delivery that has two runs: one that was cancelled because the engine had not started it, and started all the same,
/// and the one that replaced it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Twice {
    /// When that was found.
    pub at: Timestamp,
    /// The delivery.
    pub delivery: DeliveryId,
    /// The engine's ids of the runs.
    pub runs: Vec<String>,
}

impl Twice {
    /// How long it is shown.
    const SHOWN: Duration = Duration::from_secs(24 * 60 * 60);

    /// Whether it is not older than 24 hours.
    pub(super) fn is_shown(&self, now: Timestamp) -> bool {
        now.since(self.at) < Self::SHOWN
    }
}

/// A queue whose first delivery waits for its next attempt, and holds back those behind it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeldQueue {
    /// The queue.
    pub queue: String,
    /// The workflow of the delivery.
    pub workflow: String,
    /// The delivery.
    pub delivery: DeliveryId,
    /// When a pass of the drain has first left it so.
    pub since: Timestamp,
    /// Why its last attempt failed.
    pub failure: Option<String>,
}

/// The faults that are recorded, the last pass of the drain, and the state of the store.
#[derive(Clone, Debug, Default)]
pub struct Faults {
    /// The configuration fault.
    pub engine: Option<EngineFault>,
    /// The last delivery that has two runs.
    pub twice: Option<Twice>,
    /// The queues that are held.
    pub queues: Vec<HeldQueue>,
    /// The end of the last complete pass of the drain, and its summary as JSON.
    pub drained: Option<(Timestamp, Option<Box<RawValue>>)>,
    /// The sample of that pass; `None` if it was one of an earlier release.
    pub sample: Option<Sample>,
    /// What an operator has to know about the store itself.
    pub store: StoreHealth,
}
