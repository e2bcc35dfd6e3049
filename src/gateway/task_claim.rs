//! The claims of callbacks: for the task that waits, and before that is known, for run and topic.

use std::time::Duration;

use super::Gateway;
use super::accept::LOSER_GRACE;
use super::resolve::{FIRST_PAUSE, LONGEST_PAUSE, Progress};
use crate::callback::Status;
use crate::delivery::{Delivery, Key, KeyClaim, TaskWait, Verdict, Work};
use crate::ports::{Host, StoreError};
use crate::store::{Claim, SEND_WITHIN, Settled, Won};
use crate::time::Timestamp;

impl<'a, H: Host> Gateway<'a, H> {
    /// Claims run and topic for a callback whose task isn't known yet. Returns the callback that was there first.
    pub(super) async fn claim_early(
        &self,
        delivery: &mut Delivery<'_>,
        patience: Duration,
    ) -> Result<Option<Settled>, StoreError> {
        let Work::Resolve(callback) = &delivery.work else { return Ok(None) };
        let key = Key::early(callback);
        let (window, contended) = match self.claims().claim(delivery, &key, patience.max(LOSER_GRACE)).await? {
            Claim::Settled(settled) => return Ok(Some(settled)),
            Claim::Won(Won { window, .. }) => (window, false),
            Claim::Contended { window } => (window, true),
        };
        delivery.early_window = (!contended).then_some(window);
        delivery.claim = Some(KeyClaim { key, window, contended });
        Ok(None)
    }

    /// Claims a task for a callback. Returns the callback that was there first. If the claim isn't won, the callback
    /// counts as sent, since that of the winner may have been.
    pub(super) async fn claim_task(
        &self,
        delivery: &mut Delivery<'_>,
        task: String,
        patience: Duration,
    ) -> Result<Option<Settled>, StoreError> {
        let Work::Resolve(callback) = &delivery.work else { return Ok(None) };
        let (key, early) = (Key::task(callback, &task), Key::early(callback));
        if delivery.early_window.is_none()
            && let Some(first) = self.claims().record_of(&delivery.work, &early).await?
            && first.id() != delivery.id
        {
            return Ok(Some(first));
        }
        delivery.wait = Some(TaskWait::new(task));
        let patience = patience.saturating_add(LOSER_GRACE);
        let (window, contended) = match self.claims().claim(delivery, &key, patience).await? {
            Claim::Settled(settled) if settled.id() != delivery.id => return Ok(Some(settled)),
            Claim::Settled(_) => (self.settings.callback_retention().window(self.now()), true),
            Claim::Won(Won { window, until }) => (window, self.now() >= until),
            Claim::Contended { window } => (window, true),
        };
        delivery.claim = Some(KeyClaim { key, window, contended });
        if contended && delivery.sent.is_none() {
            // The latest time at which the winner may have sent its callback.
            delivery.begin_attempt(self.now().plus(SEND_WITHIN), &self.settings.limits);
        }
        Ok(None)
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
        let (key, first_release) = (Key::task(callback, task), Key::callback(callback));
        let too_late = Progress::Failed(Verdict::AlreadyResolved { status });
        let mut pause = FIRST_PAUSE;
        loop {
            if let Some(settled) = self.claims().record_of(&delivery.work, &key).await? {
                if settled.id() != delivery.id {
                    return Ok(Progress::Settled(settled));
                }
                // The record is this callback's own, and only shows that it holds the claim.
                return Ok(if status == Some(own_status) { Progress::Delivered } else { too_late });
            }
            // A record of release 0.1, which did not know the task.
            if let Some(settled) = self.claims().record_of(&delivery.work, &first_release).await?
                && settled.is_delivered()
                && settled.digest() == digest
            {
                return Ok(Progress::Settled(settled));
            }
            let holder = self.claims().holder(&key).await?;
            let Some(holder) = holder.filter(|it| status == Some(own_status) && it.record.digest == digest) else {
                return Ok(too_late);
            };
            // By then, a contender that is alive has recorded its outcome, or that its callback is pending.
            let longest_wait = self.settings.wait.saturating_add(SEND_WITHIN);
            if self.now().since(holder.at) > longest_wait {
                return self.claims().settle_holder(&key, holder).await.map(Progress::Settled);
            }
            if self.now().plus(pause) >= until {
                return Ok(Progress::Settled(Settled::Callback(holder.delivered())));
            }
            self.host.sleep(pause).await;
            pause = pause.saturating_mul(2).min(LONGEST_PAUSE);
        }
    }
}
