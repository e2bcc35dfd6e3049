//! Runs that the engine has saved and may never queue.
//!
//! A submit saves the run before it queues it. If the engine fails or dies between the two, the run stays
//! [`NotStarted`](RunState::NotStarted), and its workflow is never run. A new submit is safe only once the old run
//! can't be queued any more:
//!
//! ```text
//! found, not started ─(the engine has had its time)─▶ cancel ─▶ cancelled ─(engine_timeout)─▶ cancelled ─▶ submit again
//!         │                                                        │                            │
//!         └────────────────── ready, running or ended: this is the delivery's run ◀─────────────┘
//! ```

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::schedule::patience;
use super::{Delivery, FoundRun, Limits, RunState};
use crate::time::Timestamp;

/// How long after a submit a run may still be queued, if the engine itself has answered the submit.
const CONCLUDED_GRACE: Duration = Duration::from_secs(5);
/// Maximum number of times that the cancellation of a run is requested.
const MAX_CANCELS: u32 = 3;
/// Maximum number of runs of a delivery that are replaced by a new submit.
const MAX_REPLACED: usize = 1;

/// A run of a delivery that is being cancelled, or was.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Orphan {
    /// The engine's id of the run.
    pub run: String,
    /// When its cancellation was first requested.
    pub at: Timestamp,
    /// How often its cancellation was requested.
    pub cancels: u32,
    /// The first lookup that showed it cancelled, without one since that showed another state.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cancelled: Option<Timestamp>,
    /// Whether it can't be queued any more: a new submit is permitted.
    #[serde(default)]
    pub replaced: bool,
}

impl Orphan {
    /// A run whose cancellation was not requested yet.
    fn new(run: &FoundRun, now: Timestamp) -> Self {
        Self { run: run.id.clone(), at: now, cancels: 0, cancelled: None, replaced: false }
    }
}

/// The meaning of the runs that a lookup has found for a delivery.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// The delivery has no run that runs or may run: it may be submitted.
    Nothing,
    /// This run is the delivery's.
    Run {
        /// The run, as the engine spells it.
        body: Vec<u8>,
        /// Runs of the delivery that run besides it, although they were cancelled.
        besides: Vec<String>,
    },
    /// A run is saved and not queued yet, or its cancellation isn't certain yet.
    Doubt,
    /// The cancellation of this run has to be requested.
    Cancel {
        /// The engine's id of the run.
        run: String,
    },
    /// The engine can't start the workflow, or a run can't be cancelled.
    Hopeless {
        /// Why, with the ids of the runs.
        reason: String,
    },
}

impl Delivery<'_> {
    /// Judges the runs that a lookup at `now` has found, oldest first, and notes what it shows of runs that were
    /// cancelled. For [`Found::Doubt`], the delivery is due again when the next lookup can decide more.
    pub fn judge(&mut self, runs: &[FoundRun], now: Timestamp, limits: &Limits) -> Found {
        let is_ours = |orphans: &[Orphan], run: &FoundRun| orphans.iter().any(|orphan| orphan.run == run.id);
        let started: Vec<&FoundRun> = runs.iter().filter(|run| run.state.is_started()).collect();
        // A run that somebody else has cancelled is that person's decision.
        let decided = |run: &&FoundRun| run.state == RunState::Cancelled && !is_ours(&self.orphans, run);
        let first = started.iter().find(|run| !is_ours(&self.orphans, run)).or_else(|| started.first()).copied();
        if let Some(run) = first.or_else(|| runs.iter().find(decided)) {
            let besides = started.iter().filter(|other| other.id != run.id).map(|other| other.id.clone()).collect();
            return Found::Run { body: run.body.clone(), besides };
        }
        for run in runs {
            match self.judge_one(run, now, limits) {
                Found::Nothing => {}
                found => return found,
            }
        }
        Found::Nothing
    }

    fn judge_one(&mut self, run: &FoundRun, now: Timestamp, limits: &Limits) -> Found {
        let since = self.since;
        let replaced = self.orphans.iter().filter(|orphan| orphan.replaced && orphan.at >= since).count();
        let known = self.orphans.iter_mut().find(|orphan| orphan.run == run.id);
        match (run.state, known) {
            (RunState::Invalid | RunState::Cancelled, Some(Orphan { replaced: true, .. })) => Found::Nothing,
            (RunState::Cancelled, Some(orphan)) => {
                let first = *orphan.cancelled.get_or_insert(now);
                let certain = first.plus(limits.engine_timeout);
                if now < certain {
                    self.next_attempt = certain;
                    return Found::Doubt;
                }
                orphan.replaced = true;
                Found::Nothing
            }
            (RunState::Invalid, known) => {
                let is_hopeless = replaced >= MAX_REPLACED;
                match known {
                    Some(orphan) => orphan.replaced = true,
                    None => self.orphans.push(Orphan { replaced: true, ..Orphan::new(run, now) }),
                }
                if is_hopeless { self.hopeless() } else { Found::Nothing }
            }
            (RunState::NotStarted, None) => {
                let until = self.doubt_until(limits);
                if now < until {
                    self.next_attempt = until.min(now.plus(patience(now, self.sent.unwrap_or(self.received))));
                    return Found::Doubt;
                }
                let cancels = u32::from(replaced < MAX_REPLACED);
                self.orphans.push(Orphan { cancels, ..Orphan::new(run, now) });
                if replaced >= MAX_REPLACED {
                    return self.hopeless();
                }
                self.next_attempt = now;
                Found::Cancel { run: run.id.clone() }
            }
            (RunState::NotStarted, Some(orphan)) => {
                orphan.cancelled = None;
                orphan.replaced = false;
                if orphan.cancels >= MAX_CANCELS {
                    let reason = format!(
                        "run {} was saved and not started, and can't be cancelled: cancel it at the engine, then \
                         redeliver this delivery",
                        run.id
                    );
                    return Found::Hopeless { reason };
                }
                orphan.cancels = orphan.cancels.saturating_add(1);
                self.next_attempt = now;
                Found::Cancel { run: run.id.clone() }
            }
            (RunState::Cancelled | RunState::Active | RunState::Ended, _) => Found::Nothing,
        }
    }

    /// The time from which a run that isn't started counts as one that the engine has given up.
    fn doubt_until(&self, limits: &Limits) -> Timestamp {
        let Some(sent) = self.sent else { return self.received };
        sent.plus(if self.concluded { CONCLUDED_GRACE } else { limits.orphan_after })
    }

    /// The engine can't start the workflow: it has started neither the first run nor the one that replaced it.
    fn hopeless(&self) -> Found {
        let runs: Vec<&str> = self.orphans.iter().map(|orphan| orphan.run.as_str()).collect();
        Found::Hopeless { reason: not_started(&runs.join(", ")) }
    }
}

fn not_started(runs: &str) -> String {
    format!(
        "the engine saved the runs {runs} and started none of them: check that each task of the workflow has an image, \
         then redeliver this delivery"
    )
}

#[cfg(test)]
mod tests;
