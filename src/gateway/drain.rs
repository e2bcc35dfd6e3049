//! Brings what is pending to the engine, oldest first, until nothing is left or the time is up.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use futures_util::future::select_all;
use serde::Serialize;

use super::conclude::{Concluded, fault, noted};
use super::keys::{self, Hint};
use super::{Failure, Gate};
use crate::claim::{Mark, lease};
use crate::delivery::{Claimed, Delivery, DeliveryId, Key, Register, Setback, Work};
use crate::ports::{Outside, StoreError};
use crate::time::Timestamp;

/// How many are under way at a time; two for one workflow or run never are.
const WIDTH: usize = 8;
/// So many in a row that the engine puts off, and it is left alone until the next pass.
const PUT_OFF: usize = 8;
/// Without a hint the keys are scanned after this time.
const RESCAN: Duration = Duration::from_secs(15 * 60);
/// How long a pass may go on after its budget and the last attempt's time.
const MARGIN: Duration = Duration::from_secs(5);

/// What a pass did.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
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
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Stopped {
    /// The engine can't be reached, or puts everything off.
    Unreachable,
    /// The time was up.
    Budget,
    /// Another drain is at work.
    Leased,
}

/// What became of one.
pub(super) enum Brought {
    Concluded(Concluded),
    /// It had been tried for too long or too often, and is kept; the engine was not asked.
    Expired,
    /// Another of its key is delivered, or on its way.
    Dropped,
    /// Another callback was accepted first, or the key was used for something else.
    Conflicting,
    /// What is noted for its key can't be read, so nobody knows; it stays as it is.
    Unreadable,
    /// The engine was asked for it, and didn't say.
    Unanswered(Failure),
}

/// A delivery on its way to the engine.
struct UnderWay<'d> {
    id: DeliveryId,
    reference: String,
    brought: Pin<Box<dyn Future<Output = Result<Brought, StoreError>> + 'd>>,
}

impl<O: Outside> Gate<'_, O> {
    /// One pass: it starts no attempt after `budget`.
    pub async fn drain(&self, budget: Duration) -> Result<Drained, StoreError> {
        let hint = keys::hint(self.outside).await?;
        if hint.is_none() && self.now().since(lease::last_scan(self.outside).await?) < RESCAN {
            return Ok(Drained { pending: Some(0), ..Drained::default() });
        }
        let Some(mut lease) = lease::acquire(self.outside, self.lease(budget)).await? else {
            return Ok(Drained { stopped: Some(Stopped::Leased), ..Drained::default() });
        };
        let drained = self.pass(budget, hint).await;
        if drained.is_ok() {
            lease.scanned = self.now();
        }
        let released = lease.release(self.outside).await;
        let mut drained = drained?;
        drained.warnings.extend(released.err().map(|error| error.to_string()));
        Ok(drained)
    }

    /// As long as what is done under it may take.
    pub(super) fn lease(&self, budget: Duration) -> Duration {
        // A question and an attempt.
        budget.saturating_add(self.settings.engine.timeouts.total.saturating_mul(2)).saturating_add(MARGIN)
    }

    async fn pass(&self, budget: Duration, hint: Option<Vec<u8>>) -> Result<Drained, StoreError> {
        let end = self.now().plus(budget);
        // All keys before any other operation: on some stores nothing else may happen while they are listed.
        let keys = self.outside.keys().await?;
        let ids = keys::ids(&keys, keys::PENDING);
        // Whoever moved one and died left both. It isn't dead then: what there is to find out is found out again.
        for id in keys::ids(&keys, keys::DEAD) {
            if ids.binary_search(&id).is_ok() {
                self.outside.delete(&keys::dead(id)).await?;
            }
        }
        let mut pass = Pass { drained: Drained::default(), gone: 0, put_off: 0, reached: false, fault: None };
        let result = self.bring_all(&ids, end, &mut pass).await;
        let Pass { mut drained, gone, fault, .. } = pass;
        result?;
        let settled = [drained.delivered, drained.rejected, drained.dead, drained.dropped, gone].iter().sum::<u64>();
        let pending = u64::try_from(ids.len()).unwrap_or(u64::MAX).saturating_sub(settled);
        drained.pending = Some(pending);
        let has_none = hint.is_none() && fault.is_none();
        self.renew_hint(hint, pending, drained.delivered > 0, fault).await?;
        // It was stored, and its hint was not: the next pass is to find it without being lucky.
        if has_none
            && pending > 0
            && let Some(last) = ids.last()
        {
            Hint::new(*last, None).write(self.outside).await?;
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

    /// A stored delivery: outer `None` if it isn't there, inner if it can't be read.
    pub(super) async fn load(&self, key: &str) -> Result<Option<Option<Delivery<'static>>>, StoreError> {
        Ok(self.outside.get(key).await?.map(|bytes| Delivery::from_bytes(&bytes).ok()))
    }

    fn is_over(&self, delivery: &Delivery<'_>) -> bool {
        let limits = &self.settings.limits;
        // What may have been acted on is asked for before it is given up.
        let in_doubt = delivery.sent.is_some_and(|sent| self.now() < limits.settled(sent));
        !in_doubt && (delivery.is_expired(self.now(), limits) || delivery.heard >= limits.max_attempts)
    }

    /// One delivery that is due. For the holder of the lease alone.
    pub(super) async fn bring(&self, mut delivery: Delivery<'static>) -> Result<Brought, StoreError> {
        if let Some(taken) = self.taken(&mut delivery).await? {
            return Ok(taken);
        }
        if matches!(delivery.work, Work::Start(_)) && delivery.is_ambiguous() {
            match self.find(&delivery).await {
                Ok(Some(run)) => return self.conclude(&mut delivery, Ok(run)).await.map(Brought::Concluded),
                Ok(None) => {}
                Err(failure) => return self.postpone(&mut delivery, failure).await,
            }
        }
        if self.is_over(&delivery) {
            self.bury(&delivery).await?;
            return Ok(Brought::Expired);
        }
        // Stored before it is sent: if we die on the way, the next drain asks before it sends again.
        delivery.begin(self.now(), &self.settings.limits);
        self.write_pending(&delivery).await?;
        let sent = self.call(&delivery).await;
        self.conclude(&mut delivery, sent.result).await.map(Brought::Concluded)
    }

    /// Has another of its key been delivered, or is it on its way? Then this one is one too many.
    async fn taken(&self, delivery: &mut Delivery<'static>) -> Result<Option<Brought>, StoreError> {
        let Some(Claimed { key, window, .. }) = &delivery.key else { return Ok(None) };
        let mut windows = vec![*window];
        windows.extend(self.settings.retention.lookup(self.now()).iter().filter(|other| *other != window));
        for window in windows {
            let Some(done) = self.outside.get(&key.register(Register::Done, window)).await? else { continue };
            let Some(first) = noted(&delivery.work, &done) else { return Ok(Some(Brought::Unreadable)) };
            if first.id == delivery.id.to_string() && !first.delivered {
                return Ok(None);
            }
            if first.digest == key.digest() {
                self.outside.delete(&keys::pending(delivery.id)).await?;
                return Ok(Some(Brought::Dropped));
            }
            return self.conflicting(delivery).await.map(Some);
        }
        self.adopt(delivery).await
    }

    /// A winner that died may have sent its callback, which is in the flag. Then that one is the first, and is brought
    /// (again) before a copy that says something else is told so.
    async fn adopt(&self, delivery: &mut Delivery<'static>) -> Result<Option<Brought>, StoreError> {
        let (Work::Resolve(_), Some(Claimed { key, window, copy: true })) = (&delivery.work, &delivery.key) else {
            return Ok(None);
        };
        let flag = self.outside.get(&key.register(Register::Flag, *window)).await?;
        let record = flag.as_deref().and_then(Mark::from_bytes).and_then(|mark| mark.callback);
        let Some((id, callback)) = record.as_ref().and_then(|record| {
            let other = record.digest != key.digest();
            other.then(|| Some((DeliveryId::parse(&record.id)?, record.callback()?))).flatten()
        }) else {
            return Ok(None);
        };
        let first_key = Key::callback(&callback);
        let received = record.as_ref().map_or(delivery.received, |record| record.received);
        let mut first = Delivery::new(id, Work::Resolve(callback), delivery.trace.clone(), received);
        first.key = Some(Claimed { key: first_key, window: *window, copy: true });
        match self.call(&first).await.result {
            Ok(body) => {
                self.note_delivered(&first, &body, self.now()).await?;
                self.conflicting(delivery).await.map(Some)
            }
            Err(Failure::Rejected { .. }) => Ok(None),
            Err(failure) => self.postpone(delivery, failure).await.map(Some),
        }
    }

    async fn conflicting(&self, delivery: &mut Delivery<'static>) -> Result<Brought, StoreError> {
        let reason = match &delivery.work {
            Work::Resolve(_) => "another callback for this run and topic was accepted first",
            Work::Start(_) => "the idempotency key was used with another payload first",
        };
        delivery.fail(Setback::Refused, reason, self.now(), &self.settings.limits);
        self.bury(delivery).await?;
        Ok(Brought::Conflicting)
    }

    /// The engine was asked and didn't say: the delivery stays in doubt.
    async fn postpone(&self, delivery: &mut Delivery<'static>, failure: Failure) -> Result<Brought, StoreError> {
        let doubt = delivery.sent;
        delivery.fail(failure.setback(), &format!("asked for its run, {failure}"), self.now(), &self.settings.limits);
        delivery.sent = doubt;
        if self.is_over(delivery) {
            self.bury(delivery).await?;
            return Ok(Brought::Concluded(Concluded::Dead(failure)));
        }
        self.write_pending(delivery).await?;
        Ok(Brought::Unanswered(failure))
    }

    /// Clears the hint if nothing is pending and no other came meanwhile; else notes what is at fault.
    async fn renew_hint(
        &self,
        before: Option<Vec<u8>>,
        pending: u64,
        delivered: bool,
        fault: Option<(DeliveryId, keys::Fault)>,
    ) -> Result<(), StoreError> {
        if let Some((id, mut fault)) = fault {
            let known = before.as_deref().and_then(keys::read_hint).and_then(|hint| hint.fault);
            fault.at = known.map_or(self.now(), |known| known.at);
            return Hint::new(id, Some(fault)).write(self.outside).await;
        }
        if pending == 0 {
            let unchanged = before.is_some() && keys::hint(self.outside).await? == before;
            return if unchanged { keys::clear_hint(self.outside).await } else { Ok(()) };
        }
        match before.as_deref().and_then(keys::read_hint) {
            // What the engine takes again is no longer at fault.
            Some(mut hint) if hint.fault.is_some() && delivered => {
                hint.fault = None;
                hint.write(self.outside).await
            }
            _ => Ok(()),
        }
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
    fault: Option<(DeliveryId, keys::Fault)>,
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
                self.heard(id, &failure);
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
                self.heard(id, &failure);
                return Ok(());
            }
        };
        *count = count.saturating_add(1);
        (self.reached, self.put_off) = (true, 0);
        Ok(())
    }

    /// The engine took nothing: is it worth to go on?
    fn heard(&mut self, id: DeliveryId, failure: &Failure) {
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
        if let Some(fault) = fault(Some(failure), Timestamp(0)) {
            self.fault = Some((id, fault));
        }
    }
}
