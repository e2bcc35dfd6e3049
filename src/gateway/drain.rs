//! Brings what is pending to the engine, oldest first, until nothing is left or the time is up.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use futures_util::future::select_all;
use serde::{Deserialize, Serialize};

use super::Gateway;
use super::bring::Brought;
use super::conclude::Concluded;
use super::failure::Failure;
use super::keys::{self, Fault};
use crate::claim::lease::{self, Scan};
use crate::delivery::DeliveryId;
use crate::ports::{Host, StoreError};
use crate::time::Timestamp;

/// How many are under way at a time; two for one workflow or run never are.
pub(super) const WIDTH: usize = 8;
/// So many in a row that the engine puts off, and it is left alone until the next pass.
const PUT_OFF: usize = 8;
/// Without a hint the keys are scanned after this time.
const RESCAN: Duration = Duration::from_secs(15 * 60);
/// After this time they are scanned once more, when the hint was taken: on a store whose reads may be behind, a delivery may
/// have seen the hint that was gone already.
const SETTLED: Duration = Duration::from_secs(30);
/// How long a pass may go on after its budget and the last attempt's time.
const MARGIN: Duration = Duration::from_secs(5);

/// What a pass did.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Drained {
    /// The engine has them now.
    pub delivered: u64,
    /// The engine refused them; they are kept as dead.
    pub rejected: u64,
    /// Tried for too long or too often; they are kept.
    pub dead: u64,
    /// The same was delivered before.
    pub dropped: u64,
    /// Still pending; not known if another drain is at work.
    pub pending: Option<u64>,
    /// Why it ended before all had their turn.
    pub stopped: Option<Stopped>,
    /// For the log.
    #[serde(skip)]
    pub warnings: Vec<String>,
}

impl Drained {
    /// There was nothing to do, or another did it.
    pub fn is_idle(&self) -> bool {
        let moved = [self.delivered, self.rejected, self.dead, self.dropped];
        moved.iter().all(|count| *count == 0) && self.pending.unwrap_or(0) == 0 && self.warnings.is_empty()
    }
}

/// Why a pass ended early.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Stopped {
    /// The engine can't be reached, or puts everything off.
    Unreachable,
    /// The time was up.
    Budget,
    /// Another drain is at work.
    Leased,
}

/// A delivery on its way to the engine.
struct UnderWay<'d> {
    id: DeliveryId,
    reference: String,
    brought: Pin<Box<dyn Future<Output = Result<Brought, StoreError>> + 'd>>,
}

impl<O: Host> Gateway<'_, O> {
    /// One pass: it starts no attempt after `budget`.
    pub async fn drain(&self, budget: Duration) -> Result<Drained, StoreError> {
        let leased = Drained { stopped: Some(Stopped::Leased), ..Drained::default() };
        let hinted = keys::is_hinted(self.host).await?;
        if !hinted {
            let (scan, held) = lease::look(self.host).await?;
            if held > self.now() {
                return Ok(leased);
            }
            let rest = if scan.again { SETTLED } else { RESCAN };
            if self.now().since(scan.at) < rest {
                return Ok(Drained { pending: Some(0), ..Drained::default() });
            }
        }
        let Some(mut lease) = lease::acquire(self.host, self.lease(budget)).await? else {
            return Ok(leased);
        };
        let mut drained = match self.pass(budget, hinted).await {
            Ok(drained) => drained,
            Err(error) => {
                // The hint was taken for nothing. If it can't be put back the lease is left to expire: then it is as if
                // the drain had died, and the keys are scanned again.
                if !hinted || keys::put_hint(self.host).await.is_ok() {
                    // If this fails too, it expires as well.
                    let _: Result<(), StoreError> = lease.release(self.host).await;
                }
                return Err(error);
            }
        };
        let note = serde_json::value::to_raw_value(&drained).ok();
        lease.scan = Scan { at: self.now(), note, again: hinted };
        let released = lease.release(self.host).await;
        drained.warnings.extend(released.err().map(|error| error.to_string()));
        Ok(drained)
    }

    /// As long as what is done under it may take.
    pub(super) fn lease(&self, budget: Duration) -> Duration {
        // A question and an attempt.
        budget.saturating_add(self.settings.engine.timeouts.total.saturating_mul(2)).saturating_add(MARGIN)
    }

    async fn pass(&self, budget: Duration, hinted: bool) -> Result<Drained, StoreError> {
        let end = self.now().plus(budget);
        if hinted {
            keys::take_hint(self.host).await?;
        }
        // All keys before any other operation: on some stores nothing else may happen while they are listed.
        let keys = self.host.keys().await?;
        let ids = keys::ids(&keys, keys::PENDING);
        // Whoever moved one and died left both. It isn't dead then: what there is to find out is found out again.
        for id in keys::ids(&keys, keys::DEAD) {
            if ids.binary_search(&id).is_ok() {
                self.host.delete(&keys::dead(id)).await?;
            }
        }
        let mut pass = Pass { drained: Drained::default(), gone: 0, put_off: 0, reached: false, fault: None };
        let result = self.bring_all(&ids, end, &mut pass).await;
        let Pass { mut drained, gone, fault, .. } = pass;
        result?;
        let settled = [drained.delivered, drained.rejected, drained.dead, drained.dropped, gone].iter().sum::<u64>();
        let pending = u64::try_from(ids.len()).unwrap_or(u64::MAX).saturating_sub(settled);
        drained.pending = Some(pending);
        if pending > 0 {
            keys::put_hint(self.host).await?;
        }
        match fault {
            Some(reason) => Fault { at: self.now(), reason }.note(self.host).await?,
            // What the engine takes again is no longer at fault.
            None if pending == 0 || drained.delivered > 0 => Fault::forget(self.host).await?,
            None => {}
        }
        drained.warnings.extend(self.sweep(&keys, end).await?);
        Ok(drained)
    }

    async fn bring_all(&self, ids: &[DeliveryId], end: Timestamp, pass: &mut Pass) -> Result<(), StoreError> {
        let mut under_way: Vec<UnderWay<'_>> = Vec::new();
        let mut failed = None;
        for id in ids {
            if self.now() >= end {
                pass.drained.stopped = Some(Stopped::Budget);
            }
            if pass.drained.stopped.is_some() || failed.is_some() {
                break;
            }
            let delivery = match self.load(&keys::pending(*id)).await {
                Ok(Some(delivery)) => delivery,
                Ok(None) => {
                    pass.gone = pass.gone.saturating_add(1);
                    continue;
                }
                Err(error) => {
                    failed = Some(error);
                    break;
                }
            };
            let Some(delivery) = delivery else {
                pass.drained.warnings.push(format!("the pending delivery {id} can't be read"));
                continue;
            };
            if delivery.next_attempt > self.now() && !self.is_over(&delivery) {
                continue;
            }
            let reference = delivery.work.reference().to_owned();
            // Until the engine is known to be there, one goes ahead of all.
            let width = if pass.reached { WIDTH } else { 1 };
            while failed.is_none()
                && (under_way.len() >= width || under_way.iter().any(|other| other.reference == reference))
            {
                failed = pass.take(&mut under_way).await.err();
            }
            // That may have taken long.
            if self.now() >= end {
                pass.drained.stopped.get_or_insert(Stopped::Budget);
            }
            if failed.is_none() && pass.drained.stopped.is_none() {
                under_way.push(UnderWay { id: *id, reference, brought: Box::pin(self.bring(delivery)) });
            }
        }
        while !under_way.is_empty() {
            if let Err(error) = pass.take(&mut under_way).await {
                failed.get_or_insert(error);
            }
        }
        failed.map_or(Ok(()), Err)
    }
}

/// A pass on its way.
struct Pass {
    drained: Drained,
    /// Were listed, and are gone.
    gone: u64,
    /// How many in a row the engine put off.
    put_off: usize,
    /// The engine has answered.
    reached: bool,
    fault: Option<String>,
}

impl Pass {
    /// Waits for one of those under way, and counts what became of it.
    async fn take(&mut self, under_way: &mut Vec<UnderWay<'_>>) -> Result<(), StoreError> {
        let (brought, at, _) = select_all(under_way.iter_mut().map(|one| &mut one.brought)).await;
        let id = under_way.remove(at).id;
        let count = match brought? {
            Brought::Concluded(Concluded::Delivered) => &mut self.drained.delivered,
            Brought::Concluded(Concluded::Rejected(_)) | Brought::Conflicting => &mut self.drained.rejected,
            Brought::Concluded(Concluded::Dead(failure)) => {
                self.heard(&failure);
                self.drained.dead = self.drained.dead.saturating_add(1);
                return Ok(());
            }
            Brought::Expired => {
                self.drained.dead = self.drained.dead.saturating_add(1);
                return Ok(());
            }
            Brought::Unreadable => {
                self.drained.warnings.push(format!("the record of the key of delivery {id} can't be read"));
                return Ok(());
            }
            Brought::Dropped => {
                self.drained.dropped = self.drained.dropped.saturating_add(1);
                return Ok(());
            }
            Brought::Concluded(Concluded::Pending(failure)) | Brought::Unanswered(failure) => {
                self.heard(&failure);
                return Ok(());
            }
        };
        *count = count.saturating_add(1);
        (self.reached, self.put_off) = (true, 0);
        Ok(())
    }

    /// The engine took nothing: is it worth to go on?
    fn heard(&mut self, failure: &Failure) {
        match failure {
            Failure::Unreachable { .. } => self.drained.stopped = Some(Stopped::Unreachable),
            Failure::UnknownRun { .. } => (self.reached, self.put_off) = (true, 0),
            _ => {
                (self.reached, self.put_off) = (true, self.put_off.saturating_add(1));
                if self.put_off >= PUT_OFF {
                    self.drained.stopped = Some(Stopped::Unreachable);
                }
            }
        }
        if let Some(reason) = failure.fault() {
            self.fault = Some(reason.to_owned());
        }
    }
}
