//! The claims of callbacks: for the task that waits, and before that is known, for run and topic.

use std::time::Duration;

use super::Gateway;
use super::accept::LOSER_GRACE;
use super::resolve::{FIRST_PAUSE, LONGEST_PAUSE, Progress};
use crate::callback::Status;
use crate::delivery::{Delivery, DeliveryId, Key, TaskWait, Verdict, Work};
use crate::ports::{Host, StoreError};
use crate::store::{Claim, Claims as _, SEND_WITHIN, Settled};
use crate::time::Timestamp;

/// The result of a claim of a callback.
pub(super) enum Claimed {
    /// The callback has the key.
    Mine,
    /// Another callback was there first.
    Settled(Settled),
    /// Another callback may be on its way. The id is that of [`Claim::Contended`].
    Contended(Option<DeliveryId>),
    /// Another instance has taken this callback over.
    Late,
    /// The callback of an earlier holder, whose lease has run out.
    Taken(Box<Delivery<'static>>),
}

impl From<Claim> for Claimed {
    fn from(claim: Claim) -> Self {
        match claim {
            Claim::Won => Self::Mine,
            Claim::Settled(settled) => Self::Settled(settled),
            Claim::Contended(holder) => Self::Contended(holder),
            Claim::Late => Self::Late,
            Claim::Taken(taken) => Self::Taken(taken),
        }
    }
}

impl<'a, H: Host> Gateway<'a, H> {
    /// Claims run and topic for a callback whose task isn't known yet, before it is stored.
    pub(super) async fn claim_early(
        &self,
        delivery: &mut Delivery<'_>,
        patience: Duration,
    ) -> Result<Claimed, StoreError> {
        let Work::Resolve(callback) = &delivery.work else { return Ok(Claimed::Mine) };
        let early = Key::early(callback);
        Ok(self.store().claim_early(delivery, early, patience.max(LOSER_GRACE)).await?.into())
    }

    /// Claims a task for a callback. If the claim isn't won, the callback counts as sent, since that of the winner may
    /// have been.
    pub(super) async fn claim_task(
        &self,
        delivery: &mut Delivery<'_>,
        task: String,
        patience: Duration,
    ) -> Result<Claimed, StoreError> {
        let Work::Resolve(callback) = &delivery.work else { return Ok(Claimed::Mine) };
        let (key, early) = (Key::task(callback, &task), Key::early(callback));
        delivery.wait = Some(TaskWait::new(task));
        let patience = patience.saturating_add(LOSER_GRACE);
        let claim = self.store().claim_task(delivery, key, early, patience).await?;
        let in_time = delivery.hold.may_send(self.host.monotonic());
        if let (Claim::Won, false, Some(claim)) = (&claim, in_time, &mut delivery.claim) {
            claim.contended = true;
        }
        let is_contended = delivery.claim.as_ref().is_some_and(|claim| claim.contended);
        if is_contended && delivery.sent.is_none() {
            // The latest time at which the winner may have sent its callback.
            delivery.begin_attempt(self.now().plus(SEND_WITHIN), &self.settings.limits);
        }
        if !is_contended && !matches!(claim, Claim::Won) {
            // It doesn't hold the task: it is not sent before it has claimed it again.
            delivery.wait = None;
        }
        Ok(if in_time { claim.into() } else { Claimed::Contended(None) })
    }

    /// Decides about a callback whose task has ended before it was sent: it repeats the callback that ended the task,
    /// or comes too late.
    pub(super) async fn after_end(
        &self,
        delivery: &mut Delivery<'_>,
        task: &str,
        status: Option<Status>,
        until: Timestamp,
    ) -> Result<Progress<'a>, StoreError> {
        let Work::Resolve(callback) = &delivery.work else { return Ok(Progress::Kept) };
        let (digest, own_status) = (callback.digest(), callback.status);
        let key = Key::task(callback, task);
        let keys = [key.clone(), Key::callback(callback)];
        let too_late = Progress::Failed(Verdict::AlreadyResolved { status });
        let mut pause = FIRST_PAUSE;
        loop {
            match self.store().first_record(&delivery.work, &keys).await? {
                // The record is this callback's own, and only shows that it holds the claim. If it was not sent, another
                // one may have been, from which it has taken the claim over.
                Some((0, settled)) if settled.id() == delivery.id => {
                    let holder = if delivery.sent.is_some() { self.store().holder(&key).await? } else { None };
                    let other = holder.filter(|it| it.record.id != delivery.id && status == Some(it.record.status));
                    if let Some(other) = other {
                        return self.store().settle_holder(&key, other).await.map(Progress::Settled);
                    }
                    return Ok(if status == Some(own_status) { Progress::Delivered } else { too_late });
                }
                Some((0, settled)) => return Ok(Progress::Settled(settled)),
                // A record of release 0.1, which did not know the task.
                Some((_, settled)) if settled.is_delivered() && settled.digest() == digest => {
                    return Ok(Progress::Settled(settled));
                }
                _ => {}
            }
            let holder = self.store().holder(&key).await?;
            let Some(holder) = holder.filter(|it| status == Some(own_status) && it.record.digest == digest) else {
                return Ok(too_late);
            };
            // By then, a contender that is alive has recorded its outcome, or that its callback is pending.
            let longest_wait = self.settings.wait.saturating_add(SEND_WITHIN);
            if holder.age > longest_wait {
                return self.store().settle_holder(&key, holder).await.map(Progress::Settled);
            }
            if self.now().plus(pause) >= until {
                return Ok(Progress::Settled(Settled::Callback(holder.delivered())));
            }
            self.host.sleep(pause).await;
            pause = pause.saturating_mul(2).min(LONGEST_PAUSE);
        }
    }
}
