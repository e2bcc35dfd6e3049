//! Resolves the task that a callback is for: looks at the run, claims the task, sends the callback, and looks until the
//! task has ended. The decisions are in `delivery/resolve.rs`.

use std::pin::pin;
use std::time::Duration;

use futures_util::future::{Either, select};
use http::{HeaderMap, StatusCode};

use super::accept::LOSER_GRACE;
use super::look::Looks;
use super::{Background, Gateway, Receipt, Report};
use crate::callback::{Callback, Status};
use crate::delivery::{Delivery, DeliveryId, Key, KeyClaim, Limits, Outcome, RunView, Step, TaskWait, Verdict, Work};
use crate::ports::{Host, StoreError};
use crate::store::{Claim, SEND_WITHIN, Settled, Won};
use crate::time::Timestamp;

/// How long a drain looks for the effect of a callback that it has sent, before it leaves that to the next pass.
const DRAIN_CONFIRMS: Duration = Duration::from_secs(1);
/// The first pause between two looks for the effect of a callback.
const FIRST_PAUSE: Duration = Duration::from_millis(20);
/// The longest pause between two looks for the effect of a callback.
const LONGEST_PAUSE: Duration = Duration::from_millis(320);

/// How far a callback got.
enum Progress {
    /// Its task has ended with its status.
    Delivered,
    /// Another callback has the task, or comes first.
    Settled(Settled),
    /// The engine did not show the run.
    NotSeen(Verdict),
    /// The attempt has failed, or the callback is early, or can't resolve anything.
    Failed(Verdict),
    /// It was sent, or another callback may have been, and the effect isn't known yet. It is due again.
    Kept,
    /// It was sent as often as permitted.
    GivenUp,
}

/// Until when a callback is pursued.
#[derive(Clone, Copy)]
struct Until {
    /// While its run doesn't wait for the topic.
    early: Timestamp,
    /// While the effect of an attempt isn't known.
    sent: Timestamp,
}

impl<'a, H: Host> Gateway<'a, H> {
    /// Accepts a callback. The sender waits at most `wait` for the engine; if that is zero, the callback is stored for
    /// the drain.
    pub(super) async fn accept_callback(&self, callback: Callback<'_>, trace: HeaderMap, wait: Duration) -> Receipt<'a> {
        let arrival = self.host.arrival_time();
        let id = DeliveryId::new(arrival, self.host.random());
        let mut delivery = Delivery::new(id, Work::Resolve(callback), trace, arrival.at);
        let mut engine_status = None;
        let until = arrival.at.plus(wait);
        let result = if wait.is_zero() {
            Ok(None)
        } else {
            let until = Until { early: until, sent: until };
            let progress = pin!(self.progress(&mut delivery, until, None, &mut engine_status));
            match select(progress, pin!(self.host.sleep(wait))).await {
                Either::Left((progress, _)) => progress.map(Some),
                // An attempt that is interrupted here may have had an effect, as one whose answer was lost.
                Either::Right(_) => Ok(None),
            }
        };
        let mut receipt = match result {
            Ok(progress) => self.conclude_callback(&mut delivery, progress).await,
            Err(error) => self.callback_not_stored(&delivery, None, &error).await,
        };
        receipt.engine_status = engine_status;
        receipt.drains = wait.is_zero();
        if matches!(receipt.outcome, Outcome::Pending { .. }) && delivery.sent.is_some() {
            receipt.background = Some(self.confirm_in_background(delivery.into_owned()));
        }
        receipt
    }

    /// Concludes a callback while its sender waits.
    async fn conclude_callback(&self, delivery: &mut Delivery<'_>, progress: Option<Progress>) -> Receipt<'a> {
        let limits = self.settings.limits;
        let last = match progress {
            Some(Progress::Delivered) => {
                let mut receipt = Receipt::new(delivery.id, Outcome::Delivered { body: Vec::new() });
                receipt.warn(self.claims().record_delivered(delivery, &[]).await);
                receipt.warn(self.claims().release_early(delivery).await);
                return receipt;
            }
            Some(Progress::Settled(settled)) => {
                let mut receipt = Receipt::new(settled.id(), settled.outcome(&digest(delivery)));
                receipt.warn(self.claims().release_early(delivery).await);
                return receipt;
            }
            Some(progress @ (Progress::Failed(_) | Progress::NotSeen(_))) => {
                match progress.conclude(delivery, self.now(), &limits) {
                    rejected @ Outcome::Rejected { .. } => return self.callback_rejected(delivery, rejected).await,
                    // A callback that has used up its attempts is stored as pending too: the drain moves it to the
                    // dead letters.
                    outcome => outcome.failure().cloned(),
                }
            }
            Some(Progress::Kept | Progress::GivenUp) | None => None,
        };
        if delivery.claim.is_none() {
            match self.claim_early(delivery, LOSER_GRACE).await {
                Ok(None) => {}
                Ok(Some(settled)) => return Receipt::new(settled.id(), settled.outcome(&digest(delivery))),
                Err(error) => return self.callback_not_stored(delivery, last, &error).await,
            }
        }
        match self.store_pending(delivery, last.as_ref()).await {
            Ok(receipt) => receipt,
            Err(error) => self.callback_not_stored(delivery, last, &error).await,
        }
    }

    /// Releases the claims of a rejected callback: its sender may send it again.
    async fn callback_rejected(&self, delivery: &Delivery<'_>, outcome: Outcome) -> Receipt<'a> {
        let mut receipt = Receipt::new(delivery.id, outcome);
        receipt.warn(self.claims().release(delivery).await);
        receipt.warn(self.claims().release_early(delivery).await);
        receipt
    }

    /// Concludes a callback that could not be stored. If it was sent, its claim is kept: a later callback for the task
    /// is only sent once looks show that this one had no effect.
    async fn callback_not_stored(
        &self,
        delivery: &Delivery<'_>,
        verdict: Option<Verdict>,
        error: &StoreError,
    ) -> Receipt<'a> {
        let mut receipt = Receipt::store_failed(delivery.id, error);
        if delivery.sent.is_some() {
            let reason = "its effect is not known yet".to_owned();
            let verdict = verdict.unwrap_or(Verdict::Unclear { reason, after: None, concluded: false });
            receipt.outcome = Outcome::NotStored { verdict: Some(verdict) };
        } else {
            receipt.warn(self.claims().release(delivery).await);
        }
        receipt.warn(self.claims().release_early(delivery).await);
        receipt
    }

    /// Looks for the effect of a callback that was sent and stored, once its sender has a response. A drain leaves the
    /// callback alone meanwhile.
    fn confirm_in_background(&self, delivery: Delivery<'static>) -> Background<'a> {
        let (gateway, mut delivery) = (self.clone(), delivery);
        Box::pin(async move {
            let limits = gateway.settings.limits;
            let mut pause = FIRST_PAUSE;
            let mut warnings = Vec::new();
            let mut outcome = Outcome::Pending { last: None };
            while delivery.is_in_flight(gateway.now().plus(pause), &limits) {
                gateway.host.sleep(pause).await;
                pause = pause.saturating_mul(2).min(gateway.settings.timeouts.total);
                let Ok(view) = gateway.look(&delivery).await else { continue };
                if !delivery.is_in_flight(gateway.now(), &limits) {
                    break;
                }
                let progress = match delivery.clone().after_look(&view, gateway.now(), &limits) {
                    Some(Step::Delivered) => Verdict::Accepted { body: Vec::new() },
                    Some(Step::Close(verdict)) => verdict,
                    _ => continue,
                };
                match gateway.record_outcome(&mut delivery, progress).await {
                    Ok(recorded) => outcome = recorded,
                    // The callback stays as it was stored: the drain looks at its run.
                    Err(error) => warnings.push(error.to_string()),
                }
                break;
            }
            Report { at: gateway.now(), id: delivery.id, outcome, warnings }
        })
    }

    /// Attempts a stored callback that is due. Only the holder of the lease may do so.
    pub(super) async fn attempt_callback(
        &self,
        mut delivery: Delivery<'static>,
        looks: &Looks,
    ) -> Result<Outcome, StoreError> {
        let now = self.now();
        let until = Until { early: now, sent: now.plus(DRAIN_CONFIRMS) };
        let progress = self.progress(&mut delivery, until, Some(looks), &mut None).await?;
        let limits = self.settings.limits;
        match progress {
            Progress::Delivered => self.record_outcome(&mut delivery, Verdict::Accepted { body: Vec::new() }).await,
            Progress::Settled(settled) => {
                let outcome = settled.outcome(&digest(&delivery));
                self.settle_superseded(&mut delivery, outcome).await
            }
            Progress::NotSeen(unknown @ Verdict::UnknownRun { .. }) if self.is_unseen(&delivery).await? => {
                self.send_unseen(&mut delivery, unknown).await
            }
            progress @ (Progress::Failed(_) | Progress::NotSeen(_)) => {
                let outcome = progress.conclude(&mut delivery, self.now(), &limits);
                self.store_outcome(&delivery, outcome).await
            }
            Progress::Kept => {
                self.outbox().put(&delivery).await?;
                Ok(Outcome::Pending { last: None })
            }
            Progress::GivenUp => {
                delivery.close("it was sent three times, and the task still waits", self.now());
                self.store_outcome(&delivery, Outcome::Dead { last: None }).await
            }
        }
    }

    /// Whether a callback's run is known to exist although the engine does not show it, and it is time to send the
    /// callback without a look.
    async fn is_unseen(&self, delivery: &Delivery<'_>) -> Result<bool, StoreError> {
        let Work::Resolve(Callback { run, .. }) = &delivery.work else { return Ok(false) };
        if delivery.unseen || self.now().since(delivery.since) < self.settings.limits.callback_early {
            return Ok(false);
        }
        Ok(self.claims().run(run.as_str()).await?.is_some_and(|record| record.unseen))
    }

    /// Sends a callback without a look, once. The engine's answer is all that will be known of it.
    async fn send_unseen(&self, delivery: &mut Delivery<'_>, unknown: Verdict) -> Result<Outcome, StoreError> {
        delivery.unseen = true;
        delivery.begin_attempt(self.now(), &self.settings.limits);
        self.outbox().put(delivery).await?;
        let verdict = match self.send(delivery).await.verdict {
            Verdict::Unclear { .. } => unknown,
            verdict => verdict,
        };
        self.record_outcome(delivery, verdict).await
    }

    /// Pursues a callback until its effect is known, or the time is over. With `looks`, it is stored: each attempt is
    /// stored before it begins.
    async fn progress(
        &self,
        delivery: &mut Delivery<'_>,
        until: Until,
        looks: Option<&Looks>,
        engine_status: &mut Option<StatusCode>,
    ) -> Result<Progress, StoreError> {
        let limits = self.settings.limits;
        let mut shared = looks;
        let mut pause = FIRST_PAUSE;
        loop {
            let view = match self.look_once(delivery, shared.take(), looks).await {
                Ok(view) => view,
                Err(verdict) => return Ok(Progress::NotSeen(verdict)),
            };
            let now = self.now();
            let Some(step) = delivery.after_look(&view, now, &limits) else { return Ok(Progress::Kept) };
            match step {
                Step::Delivered => return Ok(Progress::Delivered),
                Step::Close(verdict) => return Ok(Progress::Failed(verdict)),
                Step::GiveUp => return Ok(Progress::GivenUp),
                Step::Ended { task, status } => return self.after_end(delivery, &task, status).await,
                Step::NotWaiting => {
                    if delivery.claim.is_none()
                        && let Some(settled) = self.claim_early(delivery, until.early.since(now)).await?
                    {
                        return Ok(Progress::Settled(settled));
                    }
                    let again = delivery.patience(self.now());
                    if self.now().plus(again) >= until.early {
                        return Ok(Progress::Failed(Verdict::NotWaiting));
                    }
                    self.host.sleep(again).await;
                    continue;
                }
                Step::LookAgain { at } => {
                    let next = if looks.is_some() { at } else { at.min(now.plus(pause)) };
                    if next >= until.sent {
                        delivery.postpone(at);
                        return Ok(Progress::Kept);
                    }
                    self.host.sleep(next.since(now)).await;
                    pause = pause.saturating_mul(2).min(LONGEST_PAUSE);
                    continue;
                }
                Step::Claim { task } => {
                    if let Some(settled) = self.claim_task(delivery, task, until.sent.since(now)).await? {
                        return Ok(Progress::Settled(settled));
                    }
                    if delivery.sent.is_some() {
                        return Ok(Progress::Kept);
                    }
                }
                Step::Send => {}
            }
            delivery.begin_send(self.now(), &limits);
            if looks.is_some() {
                self.outbox().put(delivery).await?;
                self.claims().record_pending(delivery).await?;
            }
            let sent = self.send(delivery).await;
            *engine_status = sent.engine_status;
            if !matches!(sent.verdict, Verdict::Accepted { .. } | Verdict::Existing { .. }) {
                return Ok(Progress::Failed(sent.verdict));
            }
        }
    }

    /// Looks at a callback's run, or takes the pass's last look at it from `shared`. Keeps the look in `looks`.
    async fn look_once(
        &self,
        delivery: &Delivery<'_>,
        shared: Option<&Looks>,
        looks: Option<&Looks>,
    ) -> Result<RunView, Verdict> {
        let Work::Resolve(Callback { run, .. }) = &delivery.work else { return Err(Verdict::UnknownTopic) };
        if let Some(view) = shared.and_then(|looks| looks.last(run)) {
            return Ok(view);
        }
        let view = self.look(delivery).await?;
        if let Some(looks) = looks {
            looks.keep(run, &view);
        }
        Ok(view)
    }

    /// Claims run and topic for a callback whose task isn't known yet. Returns the callback that was there first.
    async fn claim_early(
        &self,
        delivery: &mut Delivery<'_>,
        patience: Duration,
    ) -> Result<Option<Settled>, StoreError> {
        let Work::Resolve(callback) = &delivery.work else { return Ok(None) };
        let key = Key::callback(callback);
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
    async fn claim_task(
        &self,
        delivery: &mut Delivery<'_>,
        task: String,
        patience: Duration,
    ) -> Result<Option<Settled>, StoreError> {
        let Work::Resolve(callback) = &delivery.work else { return Ok(None) };
        let (key, early) = (Key::task(callback, &task), Key::callback(callback));
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
    async fn after_end(
        &self,
        delivery: &mut Delivery<'_>,
        task: &str,
        status: Option<Status>,
    ) -> Result<Progress, StoreError> {
        let Work::Resolve(callback) = &delivery.work else { return Ok(Progress::Kept) };
        let (digest, own_status) = (callback.digest(), callback.status);
        let (key, early) = (Key::task(callback, task), Key::callback(callback));
        if let Some(settled) = self.claims().record_of(&delivery.work, &key).await? {
            let is_own = settled.id() == delivery.id;
            return Ok(if is_own { Progress::Delivered } else { Progress::Settled(settled) });
        }
        // A record of an earlier release, which did not know the task.
        if let Some(settled) = self.claims().delivered_early(&delivery.work, &early).await?
            && settled.digest() == digest
        {
            return Ok(Progress::Settled(settled));
        }
        // The contender that holds the task may have died after it sent its callback.
        let holder = self.claims().holder(&key).await?;
        if status == Some(own_status) && holder.is_some_and(|holder| holder.digest == digest) {
            let window = self.settings.callback_retention().window(self.now());
            delivery.claim = Some(KeyClaim { key, window, contended: true });
            delivery.wait = Some(TaskWait::new(task.to_owned()));
            return Ok(Progress::Delivered);
        }
        Ok(Progress::Failed(Verdict::AlreadyResolved { status }))
    }
}

impl Progress {
    /// Concludes a failed look or attempt. A failed look changes nothing about an earlier attempt whose effect isn't
    /// known.
    fn conclude(self, delivery: &mut Delivery<'_>, now: Timestamp, limits: &Limits) -> Outcome {
        match self {
            Self::NotSeen(verdict) if delivery.sent.is_some() => delivery.conclude_lookup(verdict, now, limits),
            Self::NotSeen(verdict) | Self::Failed(verdict) => delivery.conclude_attempt(verdict, now, limits),
            Self::Delivered | Self::Settled(_) | Self::Kept | Self::GivenUp => Outcome::Pending { last: None },
        }
    }
}

fn digest(delivery: &Delivery<'_>) -> String {
    match &delivery.work {
        Work::Start(_) => String::new(),
        Work::Resolve(callback) => callback.digest(),
    }
}
