//! One width: additive increase, multiplicative decrease.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::delivery::RETRY_AFTER_CAP;
use crate::time::{MAX_CLOCK_SKEW, Timestamp};

/// The first pause after a refusal at width 1. Each further one doubles it.
pub const PAUSE_FIRST: Duration = Duration::from_secs(1);
/// The longest pause that is not the engine's `Retry-After`.
pub const PAUSE_CAP: Duration = Duration::from_secs(30);

/// The number of requests that may be in flight at a time, for the engine or for one workflow. Grows and shrinks like
/// the congestion window of TCP (RFC 5681, section 3.1).
///
/// All passes share it. Of two copies, the one with more decreases is the later one, and with as many, the larger one
/// ([`merge`](Self::merge)). No clock is compared.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Width {
    /// The width: at least 1.
    pub(super) size: u32,
    /// Number of successes since the last linear step.
    #[serde(default, skip_serializing_if = "is_default")]
    gained: u32,
    /// The width up to which each success adds one; `None` until the first decrease.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    slow_until: Option<u32>,
    /// Number of decreases so far.
    #[serde(default, skip_serializing_if = "is_default")]
    pub(super) decreases: u64,
    /// Whether a request has failed since the last success.
    #[serde(default, skip_serializing_if = "is_default")]
    failing: bool,
    /// The length of the last pause after a refusal at width 1, in milliseconds; 0 after a success.
    #[serde(default, skip_serializing_if = "is_default")]
    backoff: u64,
    /// The end of the pause; the epoch if there is none.
    #[serde(default = "epoch", skip_serializing_if = "is_epoch")]
    paused_until: Timestamp,
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

fn epoch() -> Timestamp {
    Timestamp(0)
}

fn is_epoch(at: &Timestamp) -> bool {
    *at == epoch()
}

impl Width {
    /// A width of this size that has never been refused.
    pub(super) fn new(size: u32) -> Self {
        Self {
            size: size.max(1),
            gained: 0,
            slow_until: None,
            decreases: 0,
            failing: false,
            backoff: 0,
            paused_until: epoch(),
        }
    }

    /// Records a success. The width grows only if it was `used`: by the number of passes while in slow start, since
    /// each of them sees only its share of the successes; otherwise by one for each `share` of successes.
    pub(super) fn succeed(&mut self, used: bool, share: u32, passes: u32, max: u32) {
        (self.failing, self.backoff) = (false, 0);
        if !used || self.size >= max {
            return;
        }
        let slow_until = self.slow_until.unwrap_or(u32::MAX);
        if self.size < slow_until {
            self.size = self.size.saturating_add(passes).min(slow_until).min(max);
            return;
        }
        self.gained = self.gained.saturating_add(1);
        if self.gained >= share {
            (self.gained, self.size) = (0, self.size.saturating_add(1).min(max));
        }
    }

    /// Halves the number of requests that were in flight. If that was one, a pause begins.
    pub(super) fn refuse(&mut self, in_flight: u32, now: Timestamp) {
        let in_flight = in_flight.clamp(1, self.size.max(1));
        if !self.failing {
            // A row of failures says nothing new about the width that the engine keeps up with.
            self.slow_until = Some((self.size / 2).max(1));
        }
        (self.gained, self.failing) = (0, true);
        self.decreases = self.decreases.saturating_add(1);
        self.size = (in_flight / 2).max(1);
        if in_flight == 1 {
            let pause = Duration::from_millis(self.backoff.saturating_mul(2)).clamp(PAUSE_FIRST, PAUSE_CAP);
            self.backoff = u64::try_from(pause.as_millis()).unwrap_or(u64::MAX);
            self.pause(now.plus(pause));
        }
    }

    /// Lets nothing start before `until`.
    pub(super) fn pause(&mut self, until: Timestamp) {
        self.paused_until = self.paused_until.max(until);
    }

    /// Ends the pause.
    pub(super) fn resume(&mut self) {
        self.paused_until = epoch();
    }

    /// The end of the pause; `None` unless it is paused at `now`.
    pub(super) fn paused(&self, now: Timestamp) -> Option<Timestamp> {
        Some(self.paused_until).filter(|until| *until > now)
    }

    /// Takes over what another pass has stored. Returns whether that includes a decrease.
    pub(super) fn merge(&mut self, other: &Self) -> bool {
        let paused_until = self.paused_until.max(other.paused_until);
        let age = |width: &Self| (width.decreases, width.size, width.gained, !width.failing);
        let is_decreased = other.decreases > self.decreases;
        if age(other) > age(self) {
            *self = other.clone();
        }
        self.paused_until = paused_until;
        is_decreased
    }

    /// Removes what can't be: a size out of range, and a pause longer than any that Sluice begins, as written by a host
    /// with another clock.
    pub(super) fn sanitize(&mut self, max: u32, now: Timestamp) {
        self.size = self.size.clamp(1, max);
        if self.paused_until > now.plus(RETRY_AFTER_CAP).plus(MAX_CLOCK_SKEW) {
            self.paused_until = epoch();
        }
    }

    /// Begins again at 1 after an idle time, with a slow start up to the earlier size.
    pub(super) fn rest(&mut self) {
        self.slow_until = Some(self.slow_until.map_or(self.size, |slow_until| slow_until.max(self.size)));
        (self.size, self.gained, self.failing, self.backoff) = (1, 0, false, 0);
    }
}
