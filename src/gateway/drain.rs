//! The drain: attempts pending deliveries, oldest first, until none is due or its time budget is used up.
//!
//! ```text
//! acquire the lease ─▶ delete the notification ─▶ list the keys ─▶ attempt what is due ─▶ sweep ─▶ release the lease
//! ```

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use futures_util::future::select_all;
use serde::{Deserialize, Serialize};

use super::Gateway;
use super::look::PassNotes;
use crate::delivery::{DeliveryId, Outcome, Verdict};
use crate::ports::{Host, StoreError};
use crate::store::{DeliveryState, Scan};
use crate::time::Timestamp;

/// Maximum number of deliveries in flight. A drain never attempts two with the same reference at a time.
pub(super) const MAX_IN_FLIGHT: usize = 8;
/// The number of failed attempts in a row after which a pass ends.
const MAX_FAILURES: usize = 8;
/// The interval between scans of the keys without a notification.
const SCAN_INTERVAL: Duration = Duration::from_secs(15 * 60);
/// How long after a pass with a notification the keys are scanned again. On a store with stale reads, a request may
/// have found a notification that the pass had already deleted.
const SETTLE_TIME: Duration = Duration::from_secs(30);
/// How much longer the lease lasts than a pass and its last attempt can take.
const LEASE_MARGIN: Duration = Duration::from_secs(5);

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
    /// Runs one pass, if there is a notification or the time for a scan has come. Begins no attempt after `budget`.
    pub async fn drain(&self, budget: Duration) -> Result<DrainSummary, StoreError> {
        let outbox = self.outbox();
        let leased = DrainSummary { stopped: Some(Stopped::Leased), ..DrainSummary::default() };
        let notified = outbox.is_notified().await?;
        if !notified {
            let (scan, lease_end) = Scan::last(self.host).await?;
            if lease_end > self.now() {
                return Ok(leased);
            }
            let interval = if scan.again { SETTLE_TIME } else { SCAN_INTERVAL };
            if self.now().since(scan.at) < interval {
                return Ok(DrainSummary { pending: Some(0), ..DrainSummary::default() });
            }
        }
        let Some(mut lease) = outbox.acquire_lease(self.lease_length(budget)).await? else {
            return Ok(leased);
        };
        let mut summary = match self.pass(budget, notified).await {
            Ok(summary) => summary,
            Err(error) => {
                // The notification may be deleted, with deliveries still pending. If it can't be restored, the lease is
                // left to expire, as if this drain had died; the keys are then scanned again.
                if !notified || outbox.notify().await.is_ok() {
                    // If this fails, the lease expires too.
                    let _: Result<(), StoreError> = outbox.release_lease(lease).await;
                }
                return Err(error);
            }
        };
        let recorded = serde_json::value::to_raw_value(&summary).ok();
        lease.scan = Scan { at: self.now(), summary: recorded, again: notified };
        let released = outbox.release_lease(lease).await;
        summary.warnings.extend(released.err().map(|error| error.to_string()));
        Ok(summary)
    }

    /// The length of the lease for a pass: its budget, a lookup and an attempt that began at its end, and a margin.
    pub(super) fn lease_length(&self, budget: Duration) -> Duration {
        budget.saturating_add(self.settings.timeouts.total.saturating_mul(2)).saturating_add(LEASE_MARGIN)
    }

    async fn pass(&self, budget: Duration, notified: bool) -> Result<DrainSummary, StoreError> {
        let outbox = self.outbox();
        let end = self.now().plus(budget);
        if notified {
            outbox.clear_notification().await?;
        }
        let list = outbox.list().await?;
        let ids = list.pending();
        outbox.undo_half_moves(&list).await?;
        let mut pass = Pass::default();
        let result = self.attempt_all(&ids, end, &mut pass).await;
        let Pass { mut summary, removed, fault, .. } = pass;
        result?;
        let concluded =
            [summary.delivered, summary.rejected, summary.dead, summary.dropped, removed].iter().sum::<u64>();
        let pending = u64::try_from(ids.len()).unwrap_or(u64::MAX).saturating_sub(concluded);
        summary.pending = Some(pending);
        if pending > 0 {
            outbox.notify().await?;
        }
        match fault {
            Some(reason) => outbox.record_fault(&reason).await?,
            // The engine accepts deliveries, or none is pending.
            None if pending == 0 || summary.delivered > 0 => outbox.clear_fault().await?,
            None => {}
        }
        let swept = self.claims().sweep(&list, end).await;
        summary.warnings.extend(swept.err().map(|error| format!("an expired key was not deleted: {error}")));
        Ok(summary)
    }

    async fn attempt_all(&self, ids: &[DeliveryId], end: Timestamp, pass: &mut Pass) -> Result<(), StoreError> {
        let notes = PassNotes::default();
        let mut in_flight: Vec<InFlight<'_>> = Vec::new();
        let mut failed = None;
        for id in ids {
            if self.now() >= end {
                pass.summary.stopped = Some(Stopped::Budget);
            }
            if pass.summary.stopped.is_some() || failed.is_some() {
                break;
            }
            let delivery = match self.outbox().load(DeliveryState::Pending, *id).await {
                Ok(Some(Ok(delivery))) => delivery,
                Ok(Some(Err(_))) => {
                    pass.summary.warnings.push(format!("the pending delivery {id} can't be read"));
                    continue;
                }
                Ok(None) => {
                    pass.removed = pass.removed.saturating_add(1);
                    continue;
                }
                Err(error) => {
                    failed = Some(error);
                    break;
                }
            };
            let is_exhausted = delivery.is_exhausted(self.now(), &self.settings.limits);
            if delivery.next_attempt > self.now() && !is_exhausted {
                continue;
            }
            let reference = delivery.work.reference().to_owned();
            // Until the engine has answered, only one attempt is in flight.
            let limit = if pass.reached { MAX_IN_FLIGHT } else { 1 };
            while failed.is_none()
                && (in_flight.len() >= limit || in_flight.iter().any(|other| other.reference == reference))
            {
                failed = pass.finish_one(&mut in_flight).await.err();
            }
            // Waiting for other attempts may have taken long.
            if self.now() >= end {
                pass.summary.stopped.get_or_insert(Stopped::Budget);
            }
            if failed.is_none() && pass.summary.stopped.is_none() {
                in_flight.push(InFlight { id: *id, reference, attempt: Box::pin(self.attempt(delivery, &notes)) });
            }
        }
        while !in_flight.is_empty() {
            if let Err(error) = pass.finish_one(&mut in_flight).await {
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
    /// Number of deliveries that were removed after the keys were listed.
    removed: u64,
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
            Outcome::Pending { .. } | Outcome::NotStored { .. } => &mut 0,
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
