//! The retry schedule: when a delivery is attempted again, and when it becomes a dead letter.
//!
//! ```text
//!                    ┌──────────────────────────────────────────────┐
//!                    ▼                                              │ Unreachable, Retry, Unclear, Misconfigured,
//!  new ─▶ due ─▶ begin_attempt ─▶ in flight ─▶ conclude_attempt ────┤ UnknownRun while the run may still appear
//!                                                  │                ▼
//!                 Accepted ─▶ Delivered ◀──────────┤              Pending (due again at `next_attempt`)
//!                 Rejected ─▶ Rejected  ◀──────────┤
//!           limit reached ─▶ Dead      ◀──────────┘
//! ```

use std::time::Duration;

use super::{Delivery, FailedAttempt, MAX_HISTORY, Outcome, Verdict, Work};
use crate::time::Timestamp;

/// Upper bound of the first back-off.
pub const BACKOFF_FIRST: Duration = Duration::from_secs(5);
/// Upper bound of every back-off. Only the engine's `Retry-After` may extend it.
pub const BACKOFF_CAP: Duration = Duration::from_secs(15 * 60);
/// Lower bound of every back-off.
const BACKOFF_MIN: Duration = Duration::from_secs(1);
/// The longest `Retry-After` of the engine that is honoured.
pub const RETRY_AFTER_CAP: Duration = Duration::from_secs(60 * 60);
/// The shortest time after which a state that may still change is looked at again.
const PATIENCE_MIN: Duration = Duration::from_millis(100);
/// The longest one.
const PATIENCE_MAX: Duration = Duration::from_secs(60);
/// Margin for the difference between Sluice's clock and the engine's when an attempt times out.
const CLOCK_MARGIN: Duration = Duration::from_secs(1);

/// The limits within which a delivery is attempted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// `retry_max_hours`: the age at which a delivery becomes a dead letter.
    pub max_age: Duration,
    /// `retry_max_attempts`: the number of attempts that reach the engine before a delivery becomes a dead letter.
    pub max_attempts: u32,
    /// `callback_early_ms`: how long a callback's run may be unknown to the engine.
    pub callback_early: Duration,
    /// `callback_wait_hours`: how long a callback is kept for a run that doesn't wait for its topic yet.
    pub callback_wait: Duration,
    /// `engine_timeout_ms`: how long after it is sent the engine may act on a request.
    pub engine_timeout: Duration,
    /// `orphan_after_ms`: how long after it is sent the engine may queue the run of a submit that it did not answer.
    pub orphan_after: Duration,
}

impl Limits {
    /// The time from which the engine no longer acts on a request that was sent at `sent`.
    pub fn engine_deadline(&self, sent: Timestamp) -> Timestamp {
        sent.plus(self.engine_timeout).plus(CLOCK_MARGIN)
    }
}

impl Delivery<'_> {
    /// Records that an attempt begins. Until it is concluded, its effect is unknown: another instance that finds the
    /// delivery has to wait until [`Limits::engine_deadline`], and then, for a start, to look up the run.
    pub fn begin_attempt(&mut self, now: Timestamp, limits: &Limits) {
        self.sent = Some(now);
        self.concluded = false;
        self.next_attempt = limits.engine_deadline(now);
    }

    /// Concludes an attempt, and schedules the next one if it failed.
    pub fn conclude_attempt(&mut self, verdict: Verdict, now: Timestamp, limits: &Limits) -> Outcome {
        let reason = match &verdict {
            Verdict::AlreadyResolved { status: Some(status) } if self.was_sent() => {
                format!("overruled: it was sent, but the task ended with status {}", status.as_str())
            }
            verdict => verdict.to_string(),
        };
        self.conclude(verdict, reason, now, limits)
    }

    /// Whether this delivery itself may have been sent. Until a contender of a claim is sent, only another one may have
    /// been.
    pub fn was_sent(&self) -> bool {
        self.sent.is_some() && self.wait.as_ref().is_none_or(|wait| wait.sends > 0)
    }

    /// Concludes a lookup of the delivery's run that failed: whether the run exists stays unknown.
    ///
    /// The result is [`Outcome::Pending`] or [`Outcome::Dead`].
    pub fn conclude_lookup(&mut self, verdict: Verdict, now: Timestamp, limits: &Limits) -> Outcome {
        let (sent, concluded, wait) = (self.sent, self.concluded, self.wait.clone());
        let reason = format!("the lookup of its run failed: {verdict}");
        self.conclude(verdict.clone(), reason, now, limits);
        (self.sent, self.concluded, self.wait) = (sent, concluded, wait);
        let last = Some(verdict);
        if self.is_exhausted(now, limits) { Outcome::Dead { last } } else { Outcome::Pending { last } }
    }

    /// Closes a delivery that is not attempted again, for a reason other than the engine's verdict.
    pub fn close(&mut self, reason: &str, now: Timestamp) {
        self.record_failure(reason.to_owned(), now);
        self.sent = None;
    }

    fn conclude(&mut self, verdict: Verdict, reason: String, now: Timestamp, limits: &Limits) -> Outcome {
        match verdict {
            Verdict::Accepted { body } => return Outcome::Delivered { body },
            Verdict::Existing { body } => return Outcome::Delivered { body: body.unwrap_or_default() },
            Verdict::NotWaiting => return self.conclude_early(now, limits),
            _ => {}
        }
        self.record_failure(reason, now);
        if matches!(verdict, Verdict::Unreachable { .. }) {
            if let Some(wait) = self.wait.as_mut().filter(|_| self.sent.is_some()) {
                wait.sends = wait.sends.saturating_sub(1);
            }
            // Due at once, to keep its turn: a pass of the drain ends at the first attempt that can't reach the engine.
            self.sent = None;
            self.next_attempt = now;
            return Outcome::Pending { last: Some(verdict) };
        }

        self.engine_attempts = self.engine_attempts.saturating_add(1);
        let backoff = now.plus(self.backoff());
        let requested = |after: Option<Duration>| now.plus(after.unwrap_or_default().min(RETRY_AFTER_CAP));
        self.next_attempt = match &verdict {
            Verdict::Retry { after, .. } => backoff.max(requested(*after)),
            Verdict::Unclear { after, concluded, .. } => {
                self.concluded = *concluded;
                let deadline = self.sent.filter(|_| !concluded).map_or(now, |sent| limits.engine_deadline(sent));
                backoff.max(requested(*after)).max(deadline)
            }
            _ => backoff,
        };
        let was_sent = self.sent.is_some();
        if !matches!(verdict, Verdict::Unclear { .. }) {
            self.sent = None;
            if let Some(wait) = self.wait.as_mut().filter(|_| was_sent) {
                wait.sends = wait.sends.saturating_sub(1);
            }
        }
        let may_appear = matches!(self.work, Work::Resolve(_)) && now.since(self.since) < limits.callback_early;
        match verdict {
            Verdict::Rejected { .. } | Verdict::AlreadyResolved { .. } | Verdict::UnknownTopic => {
                Outcome::Rejected { verdict }
            }
            Verdict::UnknownRun { .. } if !may_appear => Outcome::Rejected { verdict },
            last if self.engine_attempts >= limits.max_attempts || self.is_expired(now, limits) => {
                Outcome::Dead { last: Some(last) }
            }
            last => Outcome::Pending { last: Some(last) },
        }
    }

    /// Keeps a callback whose run doesn't wait for it yet. The engine is well, so this is no attempt, and the time that
    /// `retry_max_hours` limits begins anew.
    fn conclude_early(&mut self, now: Timestamp, limits: &Limits) -> Outcome {
        let early = *self.early_since.get_or_insert(now);
        self.since = now;
        self.next_attempt = now.plus(patience(now, early));
        if now.since(early) < limits.callback_wait {
            return Outcome::Pending { last: Some(Verdict::NotWaiting) };
        }
        self.early_since = None;
        self.record_failure("the run did not wait for the topic within callback_wait_hours".to_owned(), now);
        Outcome::Dead { last: Some(Verdict::NotWaiting) }
    }

    /// How long a callback whose run doesn't wait for it yet is left alone.
    pub fn patience(&self, now: Timestamp) -> Duration {
        patience(now, self.early_since.unwrap_or(self.received))
    }

    /// Adds a failed attempt to the history.
    fn record_failure(&mut self, failure: String, now: Timestamp) {
        self.attempts = self.attempts.saturating_add(1);
        self.history.push(FailedAttempt { at: now, failure });
        if self.history.len() > MAX_HISTORY {
            self.history.remove(0);
        }
    }

    /// Whether it was sent and the engine may still act on it. While it is in flight, only the instance that sent it
    /// may conclude it.
    pub fn is_in_flight(&self, now: Timestamp, limits: &Limits) -> bool {
        !self.concluded && self.sent.is_some_and(|sent| now < limits.engine_deadline(sent))
    }

    /// Whether it is too old to be attempted.
    pub fn is_expired(&self, now: Timestamp, limits: &Limits) -> bool {
        now.since(self.since) >= limits.max_age
    }

    /// When it becomes too old to be attempted; `None` if it is early, and is kept for another time.
    pub fn expires(&self, limits: &Limits) -> Option<Timestamp> {
        self.early_since.is_none().then(|| self.since.plus(limits.max_age))
    }

    /// Whether it has reached one of its limits, and becomes a dead letter. Never while it is in flight, because the
    /// engine may still accept it. One that is early expires only once `callback_wait_hours` are over as well.
    pub fn is_exhausted(&self, now: Timestamp, limits: &Limits) -> bool {
        let is_kept = self.early_since.is_some_and(|early| now.since(early) < limits.callback_wait);
        let is_expired = self.is_expired(now, limits) && !is_kept;
        !self.is_in_flight(now, limits) && (is_expired || self.engine_attempts >= limits.max_attempts)
    }

    /// Whether the last look has shown that its run doesn't wait for it yet.
    pub fn is_early(&self) -> bool {
        // A look that shows this sets both to its time.
        self.early_since.is_some() && self.history.last().is_none_or(|failed| failed.at < self.since)
    }

    /// Resets its age and `engine_attempts`, because an operator redelivers it. An attempt whose effect is unknown
    /// stays ambiguous.
    pub fn renew(&mut self, now: Timestamp, limits: &Limits) {
        self.since = now;
        self.engine_attempts = 0;
        self.early_since = None;
        if let Some(wait) = &mut self.wait {
            // A send whose effect is unknown still counts.
            wait.sends = if self.sent.is_some() { wait.sends.min(1) } else { 0 };
        }
        for orphan in &mut self.orphans {
            orphan.cancels = 0;
        }
        self.next_attempt = self.sent.map_or(now, |sent| limits.engine_deadline(sent).max(now));
    }

    /// Exponential back-off with full jitter: from [`BACKOFF_MIN`] to a bound that doubles with each attempt that
    /// reached the engine.
    fn backoff(&self) -> Duration {
        let doubled = 1_u32.checked_shl(self.engine_attempts.saturating_sub(1)).unwrap_or(u32::MAX);
        let bound = BACKOFF_FIRST.saturating_mul(doubled).min(BACKOFF_CAP);
        let bound = u64::try_from(bound.as_millis()).unwrap_or(u64::MAX).max(1);
        let jittered = self.id.jitter(self.engine_attempts).checked_rem(bound).unwrap_or_default();
        Duration::from_millis(jittered).max(BACKOFF_MIN)
    }
}

/// How long a state that may still change is left alone: a tenth of its age, from 100 ms to 60 s.
pub(super) fn patience(now: Timestamp, since: Timestamp) -> Duration {
    now.since(since).checked_div(10).unwrap_or_default().clamp(PATIENCE_MIN, PATIENCE_MAX)
}

#[cfg(test)]
mod tests;
