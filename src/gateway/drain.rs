//! The drain: attempts pending deliveries, oldest first, until none is due or its time budget is used up.
//!
//! ```text
//! begin the pass ─▶ take what is due ─▶ attempt it ─▶ sweep ─▶ end the pass
//! ```

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use futures_util::future::select_all;
use serde::{Deserialize, Serialize};

use super::Gateway;
use super::look::PassNotes;
use crate::delivery::{Delivery, DeliveryId, Outcome, Verdict};
use crate::ports::{Host, StoreError};
use crate::store::{Begun, Outbox as _, PassNote, StorePass};

/// Maximum number of deliveries in flight. A drain never attempts two with the same reference at a time.
pub(super) const MAX_IN_FLIGHT: usize = 8;
/// The number of failed attempts in a row after which a pass ends.
const MAX_FAILURES: usize = 8;

/// The result of one pass of the drain.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DrainSummary {
    /// Number of deliveries that the engine accepted.
    pub delivered: u64,
    /// Number of deliveries that were rejected, and became dead letters.
    pub rejected: u64,
    /// Number of deliveries that reached a limit of their retries, and became dead letters.
    pub dead: u64,
    /// Number of duplicates that were removed.
    pub dropped: u64,
    /// Number of deliveries that are still pending; `None` if another drain holds the lease.
    pub pending: Option<u64>,
    /// Why the pass ended before every delivery had its turn; `None` if it didn't.
    pub stopped: Option<Stopped>,
    /// Faults that did not end the pass, for the log.
    #[serde(skip)]
    pub warnings: Vec<String>,
}

impl DrainSummary {
    /// Whether there was nothing to do.
    pub fn is_idle(&self) -> bool {
        let moved = [self.delivered, self.rejected, self.dead, self.dropped];
        moved.iter().all(|count| *count == 0) && self.pending.unwrap_or(0) == 0 && self.warnings.is_empty()
    }
}

/// Why a pass ended early.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Stopped {
    /// The engine can't be reached, or failed too often in a row.
    Unreachable,
    /// The time budget was used up.
    Budget,
    /// Another drain holds the lease.
    Leased,
}

impl<H: Host> Gateway<'_, H> {
    /// Runs one pass, if anything may be due. Begins no attempt after `budget`.
    pub async fn drain(&self, budget: Duration) -> Result<DrainSummary, StoreError> {
        let store = self.store();
        let mut opened = match store.begin_pass(budget.saturating_add(self.attempt_length())).await? {
            Begun::Idle => return Ok(DrainSummary { pending: Some(0), ..DrainSummary::default() }),
            Begun::Leased => return Ok(DrainSummary { stopped: Some(Stopped::Leased), ..DrainSummary::default() }),
            Begun::Pass(opened) => opened,
        };
        let (mut summary, mut note) = match self.pass(&mut opened, budget).await {
            Ok(ended) => ended,
            Err(error) => {
                store.abort_pass(opened).await;
                return Err(error);
            }
        };
        note.summary = serde_json::value::to_raw_value(&summary).ok();
        let ended = store.end_pass(opened, note).await;
        summary.warnings.extend(ended.err().map(|error| error.to_string()));
        Ok(summary)
    }

    async fn pass(&self, opened: &mut StorePass, budget: Duration) -> Result<(DrainSummary, PassNote), StoreError> {
        let store = self.store();
        let end = self.host.monotonic().saturating_add(budget);
        let mut pass = Pass::default();
        let result = self.attempt_all(opened, end, &mut pass).await;
        let Pass { mut summary, fault, .. } = pass;
        result?;
        let concluded = [summary.delivered, summary.rejected, summary.dead, summary.dropped].iter().sum::<u64>();
        let pending = store.pending(opened, usize::try_from(concluded).unwrap_or(usize::MAX)).await?;
        summary.pending = Some(u64::try_from(pending).unwrap_or(u64::MAX));
        match fault {
            Some(reason) => store.record_fault(&reason).await?,
            // The engine accepts deliveries, or none is pending.
            None if pending == 0 || summary.delivered > 0 => store.clear_fault().await?,
            None => {}
        }
        let swept = store.sweep(opened, end).await;
        summary.warnings.extend(swept.err().map(|error| format!("an expired key was not deleted: {error}")));
        Ok((summary, PassNote { again: pending > 0, ..PassNote::default() }))
    }

    async fn attempt_all(&self, opened: &mut StorePass, end: Duration, pass: &mut Pass) -> Result<(), StoreError> {
        let notes = PassNotes::default();
        let mut in_flight: Vec<InFlight<'_>> = Vec::new();
        let mut failed = None;
        let mut more = true;
        while more || !in_flight.is_empty() {
            if self.host.monotonic() >= end && more {
                pass.summary.stopped.get_or_insert(Stopped::Budget);
            }
            let may_begin = more && pass.summary.stopped.is_none() && failed.is_none();
            // Until the engine has answered, only one attempt is in flight.
            let limit = if pass.reached { MAX_IN_FLIGHT } else { 1 };
            let room = limit.saturating_sub(in_flight.len());
            let before = in_flight.len();
            if may_begin && room > 0 {
                let may_take = |delivery: &Delivery<'_>| {
                    in_flight.iter().all(|other| other.reference != delivery.work.reference())
                };
                match self.store().take(opened, room, &[], &may_take).await {
                    Ok(taken) => {
                        more = taken.more;
                        let unreadable = |id| format!("the pending delivery {id} can't be read");
                        pass.summary.warnings.extend(taken.unreadable.into_iter().map(unreadable));
                        for delivery in taken.deliveries {
                            let (id, reference) = (delivery.id, delivery.work.reference().to_owned());
                            let attempt = Box::pin(self.attempt(delivery, &notes));
                            in_flight.push(InFlight { id, reference, attempt });
                        }
                    }
                    Err(error) => failed = Some(error),
                }
            }
            if in_flight.is_empty() {
                if !may_begin || in_flight.len() == before {
                    break;
                }
            } else if let Err(error) = pass.finish_one(&mut in_flight).await {
                failed.get_or_insert(error);
            }
        }
        drop(in_flight);
        pass.summary.warnings.extend(notes.into_warnings());
        failed.map_or(Ok(()), Err)
    }
}

/// A delivery that is being attempted.
struct InFlight<'d> {
    id: DeliveryId,
    reference: String,
    attempt: Pin<Box<dyn Future<Output = Result<Outcome, StoreError>> + 'd>>,
}

/// A pass in progress.
#[derive(Default)]
struct Pass {
    summary: DrainSummary,
    /// Number of failed attempts in a row.
    failures: usize,
    /// Whether the engine has answered.
    reached: bool,
    /// The configuration fault that an attempt found.
    fault: Option<String>,
}

impl Pass {
    /// Waits for one of the deliveries in flight, and counts its outcome.
    async fn finish_one(&mut self, in_flight: &mut Vec<InFlight<'_>>) -> Result<(), StoreError> {
        let (outcome, position, _) = select_all(in_flight.iter_mut().map(|delivery| &mut delivery.attempt)).await;
        let id = in_flight.remove(position).id;
        let outcome = outcome?;
        let count = match &outcome {
            Outcome::Delivered { .. } => &mut self.summary.delivered,
            Outcome::Rejected { .. } | Outcome::Conflict { .. } | Outcome::KeyReused { .. } => {
                &mut self.summary.rejected
            }
            Outcome::Dead { .. } => &mut self.summary.dead,
            Outcome::Duplicate { .. } => &mut self.summary.dropped,
            Outcome::Pending { .. } | Outcome::NotStored { .. } | Outcome::NotTaken => &mut 0,
            Outcome::TakenOver => {
                self.summary.warnings.push(format!("another instance has taken delivery {id} over"));
                &mut 0
            }
            Outcome::Unreadable => {
                self.summary.warnings.push(format!("the record of the key of delivery {id} can't be read"));
                &mut 0
            }
        };
        *count = count.saturating_add(1);
        if let Outcome::Dead { last: Some(verdict) } = &outcome {
            self.summary.warnings.push(format!("delivery {id} became a dead letter: {verdict}"));
        }
        match &outcome {
            Outcome::Delivered { .. }
            | Outcome::Rejected { .. }
            | Outcome::Conflict { .. }
            | Outcome::KeyReused { .. } => (self.reached, self.failures) = (true, 0),
            Outcome::Pending { last: Some(verdict) } | Outcome::Dead { last: Some(verdict) } => {
                self.count_failure(verdict)
            }
            _ => {}
        }
        Ok(())
    }

    /// Counts a failed attempt, and ends the pass if the engine can't be reached or has failed too often in a row.
    fn count_failure(&mut self, verdict: &Verdict) {
        match verdict {
            Verdict::Unreachable { .. } => self.summary.stopped = Some(Stopped::Unreachable),
            Verdict::UnknownRun { .. } | Verdict::NotWaiting => (self.reached, self.failures) = (true, 0),
            _ => {
                (self.reached, self.failures) = (true, self.failures.saturating_add(1));
                if self.failures >= MAX_FAILURES {
                    self.summary.stopped = Some(Stopped::Unreachable);
                }
            }
        }
        if let Some(reason) = verdict.fault() {
            self.fault = Some(reason.to_owned());
        }
    }
}
