//! The life of a delivery that the engine has not accepted: when it is tried again, and when that ends.

use std::time::Duration;

use super::{Attempt, Delivery, HISTORY, Work};
use crate::time::Timestamp;

/// The first wait is at most this.
pub const BACKOFF_FIRST: Duration = Duration::from_secs(5);
/// No wait is longer, save by the engine's own wish.
pub const BACKOFF_CAP: Duration = Duration::from_secs(15 * 60);
/// No wait is shorter.
const BACKOFF_LEAST: Duration = Duration::from_secs(1);
/// The longest `Retry-After` of the engine that is obeyed.
pub const RETRY_AFTER_CAP: Duration = Duration::from_secs(60 * 60);
/// Between our clock and the engine's, when its time to act is over.
const MARGIN: Duration = Duration::from_secs(1);

/// How long a delivery is tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// `retry_max_hours`: older is dead.
    pub max_age: Duration,
    /// `retry_max_attempts`: so many that the engine heard, and it is dead.
    pub max_attempts: u32,
    /// `callback_early_ms`: how long a callback's run may be unknown.
    pub early: Duration,
    /// `engine_timeout_ms`: how long the engine may still act on what it was sent.
    pub engine_timeout: Duration,
}

/// Why an attempt failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Setback {
    /// The engine has not seen it.
    Unreachable,
    /// Not now, and the engine has not acted.
    Later(Option<Duration>),
    /// The engine may have acted.
    Unclear(Option<Duration>),
    /// Our own configuration is at fault.
    Misconfigured,
    /// The engine doesn't know the run, which may only have been told of too early.
    UnknownRun,
    /// The engine never will.
    Refused,
}

/// What becomes of a delivery after an attempt that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// It is tried again, see [`Delivery::next_attempt`].
    Pending,
    /// The engine refused it.
    Rejected,
    /// It was tried for too long, or too often.
    Dead,
}

impl Limits {
    /// When the engine can no longer act on what was sent at `sent`.
    pub fn settled(&self, sent: Timestamp) -> Timestamp {
        sent.plus(self.engine_timeout).plus(MARGIN)
    }
}

impl Delivery<'_> {
    /// It is sent now, and nobody knows yet what comes of it: whoever finds it so has to wait, then ask the engine.
    pub fn begin(&mut self, now: Timestamp, limits: &Limits) {
        self.sent = Some(now);
        self.next_attempt = limits.settled(now);
    }

    /// An attempt that began with [`begin`](Self::begin), or a question to the engine, failed `now`.
    pub fn fail(&mut self, setback: Setback, failure: &str, now: Timestamp, limits: &Limits) -> Next {
        self.attempts = self.attempts.saturating_add(1);
        self.history.push(Attempt { at: now, failure: failure.to_owned() });
        if self.history.len() > HISTORY {
            self.history.remove(0);
        }
        if setback == Setback::Unreachable {
            // The next one to ask tells for all, so that none loses its turn by an engine that is down.
            self.sent = None;
            self.next_attempt = now;
            return Next::Pending;
        }

        self.heard = self.heard.saturating_add(1);
        let backoff = now.plus(self.backoff());
        let wished = |wish: Option<Duration>| now.plus(wish.unwrap_or_default().min(RETRY_AFTER_CAP));
        self.next_attempt = match setback {
            Setback::Later(wish) => backoff.max(wished(wish)),
            Setback::Unclear(wish) => {
                let settled = self.sent.map_or(now, |sent| limits.settled(sent));
                backoff.max(wished(wish)).max(settled)
            }
            _ => backoff,
        };
        if !matches!(setback, Setback::Unclear(_)) {
            self.sent = None;
        }
        let may_come = matches!(self.work, Work::Resolve(_)) && now.since(self.since) < limits.early;
        match setback {
            Setback::Refused => Next::Rejected,
            Setback::UnknownRun if !may_come => Next::Rejected,
            _ if self.heard >= limits.max_attempts || self.is_expired(now, limits) => Next::Dead,
            _ => Next::Pending,
        }
    }

    /// Was it sent, and may the engine still act on that? Until then it is whose who sent it.
    pub fn is_under_way(&self, now: Timestamp, limits: &Limits) -> bool {
        self.sent.is_some_and(|sent| now < limits.settled(sent))
    }

    /// Was it tried for too long?
    pub fn is_expired(&self, now: Timestamp, limits: &Limits) -> bool {
        now.since(self.since) >= limits.max_age
    }

    /// An operator wants it sent again: its limits count from now. What was sent before stays in doubt.
    pub fn renew(&mut self, now: Timestamp, limits: &Limits) {
        self.since = now;
        self.heard = 0;
        self.next_attempt = self.sent.map_or(now, |sent| limits.settled(sent).max(now));
    }

    /// Exponential, with full jitter: anything from nothing (but [`BACKOFF_LEAST`]) to the bound that doubles with each
    /// attempt that the engine heard.
    fn backoff(&self) -> Duration {
        let doubled = 1_u32.checked_shl(self.heard.saturating_sub(1)).unwrap_or(u32::MAX);
        let bound = BACKOFF_FIRST.saturating_mul(doubled).min(BACKOFF_CAP);
        let bound = u64::try_from(bound.as_millis()).unwrap_or(u64::MAX).max(1);
        let jittered = self.id.spread(self.heard).checked_rem(bound).unwrap_or_default();
        Duration::from_millis(jittered).max(BACKOFF_LEAST)
    }
}

#[cfg(test)]
mod tests;
