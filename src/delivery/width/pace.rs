//! How fast the backlog shrinks, and how long it will take.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::time::Timestamp;

/// The time in which the weight of a concluded delivery falls to 1/e. Longer than the interval between two passes of
/// the shipped callers, which is a minute.
const MEMORY: Duration = Duration::from_secs(120);
/// No pace is told before this time has been measured.
const MEASURED_MIN: Duration = Duration::from_secs(1);
/// A pace below this, in deliveries a second, is none.
const PACE_MIN: f64 = 0.001;

/// The pace of the drain, as a moving average with exponential weights, and the number of pending deliveries.
///
/// Each delivery that leaves the backlog adds 1/`MEMORY` to the pace, whichever pass has concluded it, so passes that
/// run side by side add up. The time between passes counts: the pace is that of the clock on the wall.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Pace {
    /// Deliveries a second at `at`, still without the correction for a short measurement.
    rate: f64,
    /// When the measurement began.
    since: Timestamp,
    /// When deliveries were last added.
    at: Timestamp,
    /// The last count of pending deliveries, and its time.
    pending: Option<(u64, Timestamp)>,
}

impl Pace {
    /// A measurement that begins at `now`.
    pub fn new(now: Timestamp) -> Self {
        Self { rate: 0.0, since: now, at: now, pending: None }
    }

    /// Adds the deliveries that have left the backlog since the last call: delivered, rejected, dead, or removed.
    pub fn add(&mut self, concluded: u64, now: Timestamp) {
        // The clock of the pass that wrote it may be ahead, and a stored number may be anything.
        (self.at, self.since) = (self.at.min(now), self.since.min(now));
        let rate = self.decayed(now);
        let is_over = now.since(self.since) > MEMORY.saturating_mul(5) && rate < PACE_MIN;
        if is_over || !rate.is_finite() || rate < 0.0 {
            *self = Self { pending: self.pending, ..Self::new(now) };
        } else {
            (self.rate, self.at) = (rate, now);
        }
        self.rate += Duration::from_secs(concluded).div_duration_f64(MEMORY);
    }

    /// Records that `pending` deliveries are in the backlog at `now`.
    pub fn count(&mut self, pending: u64, now: Timestamp) {
        self.pending = Some((pending, now));
    }

    /// Takes over the pace of a stored measurement, and the later count of pending deliveries.
    pub(super) fn merge(&mut self, stored: &Self) {
        let counted = |pace: &Self| pace.pending.map(|(_, at)| at);
        let pending = if counted(stored) > counted(self) { stored.pending } else { self.pending };
        *self = Self { pending, ..*stored };
    }

    /// Number of deliveries that leave the backlog in a second; `None` if it isn't known, or nothing does.
    pub fn per_second(&self, now: Timestamp) -> Option<f64> {
        let measured = now.since(self.since);
        if measured < MEASURED_MIN {
            return None;
        }
        // A measurement that has just begun has not yet seen all the weight.
        let weight = 1.0 - (-measured.div_duration_f64(MEMORY)).exp();
        Some(self.decayed(now) / weight).filter(|pace| pace.is_finite() && *pace >= PACE_MIN)
    }

    /// The last count of pending deliveries; `None` if there was none.
    pub fn pending(&self) -> Option<u64> {
        self.pending.map(|(pending, _)| pending)
    }

    /// How long the backlog will take at the present pace; `None` if it isn't known, or the backlog doesn't shrink.
    pub fn remaining(&self, now: Timestamp) -> Option<Duration> {
        let (pending, _) = self.pending?;
        if pending == 0 {
            return Some(Duration::ZERO);
        }
        Duration::try_from_secs_f64(Duration::from_secs(pending).as_secs_f64() / self.per_second(now)?).ok()
    }

    fn decayed(&self, now: Timestamp) -> f64 {
        self.rate * (-now.since(self.at).div_duration_f64(MEMORY)).exp()
    }
}
