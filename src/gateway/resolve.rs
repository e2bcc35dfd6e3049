//! Resolves the task that a callback is for: looks at the run, claims the task, sends the callback, and looks until the
//! task has ended. The decisions are in `delivery/resolve.rs`.

use std::future::Future;
use std::pin::pin;
use std::time::Duration;

use futures_util::future::{Either, select};
use http::{HeaderMap, StatusCode};

use super::accept::LOSER_GRACE;
use super::look::PassNotes;
use super::send::Sending;
use super::{Background, Gateway, Receipt, Report};
use crate::callback::{Callback, Status};
use crate::delivery::{Delivery, DeliveryId, Key, KeyClaim, Limits, Outcome, Step, TaskWait, Verdict, Work};
use crate::ports::{Host, StoreError};
use crate::store::{Claim, SEND_WITHIN, Settled, Won};
use crate::time::Timestamp;

/// How long a drain looks for the effect of a callback that it has sent, before it leaves that to the next pass.
const DRAIN_CONFIRMS: Duration = Duration::from_secs(1);
/// The age from which a look that other callbacks of the pass have made is too old to send on.
const LOOK_IS_OLD: Duration = Duration::from_secs(1);
/// The first pause between two looks for the effect of a callback.
const FIRST_PAUSE: Duration = Duration::from_millis(20);
/// The longest pause between two looks for the effect of a callback.
const LONGEST_PAUSE: Duration = Duration::from_millis(320);

/// How far a callback got.
enum Progress<'a> {
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
    /// The time is over, perhaps while it is being sent.
    Late(Option<Sending<'a>>),
}

/// The pursuer of a callback.
#[derive(Clone, Copy)]
enum Pursuer<'p> {
    /// Its sender, who waits until this time. It is not stored.
    Sender(Timestamp),
    /// The drain, whose pass has these notes. It is stored, and each attempt is stored before it begins.
    Drain(&'p PassNotes),
}

impl<'a, H: Host> Gateway<'a, H> {
    /// Accepts a callback. The sender waits at most `wait` for the engine; if that is zero, the callback is stored for
    /// the drain.
    pub(super) async fn accept_callback(
        &self,
        callback: Callback<'_>,
        trace: HeaderMap,
        wait: Duration,
    ) -> Receipt<'a> {
        let arrival = self.host.arrival_time();
        let id = DeliveryId::new(arrival, self.host.random());
        let mut delivery = Delivery::new(id, Work::Resolve(callback), trace, arrival.at);
        let mut engine_status = None;
        let progress = if wait.is_zero() {
            Ok(Progress::Late(None))
        } else {
            self.progress(&mut delivery, Pursuer::Sender(arrival.at.plus(wait)), &mut engine_status).await
        };
        let mut sending = None;
        let mut receipt = match progress {
            Ok(Progress::Late(late)) => {
                sending = late;
                self.conclude_callback(&mut delivery, Progress::Kept).await
            }
            Ok(progress) => self.conclude_callback(&mut delivery, progress).await,
            Err(error) => self.callback_not_stored(&delivery, None, &error).await,
        };
        if let Outcome::NotStored { .. } = receipt.outcome
            && let Some(sending) = sending.take()
        {
            // Without the store nothing can be promised, so the sender has to wait for the engine.
            receipt = self.deliver_without_store(&mut delivery, sending, receipt).await;
        }
        receipt.engine_status = engine_status.or(receipt.engine_status);
        receipt.drains = wait.is_zero();
        let is_contended = delivery.claim.as_ref().is_some_and(|claim| claim.contended);
        if matches!(receipt.outcome, Outcome::Pending { .. }) && delivery.sent.is_some() && !is_contended {
            receipt.background = Some(self.confirm_in_background(delivery.into_owned(), sending));
        }
        receipt
    }

    /// Concludes a callback while its sender waits.
    async fn conclude_callback(&self, delivery: &mut Delivery<'_>, progress: Progress<'a>) -> Receipt<'a> {
        let limits = self.settings.limits;
        let last = match progress {
            Progress::Delivered => {
                let mut receipt = Receipt::new(delivery.id, Outcome::Delivered { body: Vec::new() });
                receipt.warn(self.claims().record_delivered(delivery, &[]).await);
                receipt.warn(self.claims().release_early(delivery).await);
                return receipt;
            }
            Progress::Settled(settled) => {
                let mut receipt = Receipt::new(settled.id(), settled.outcome(&digest(delivery)));
                receipt.warn(self.claims().release_early(delivery).await);
                return receipt;
            }
            progress @ (Progress::Failed(_) | Progress::NotSeen(_)) => {
                match progress.conclude(delivery, self.now(), &limits) {
                    rejected @ Outcome::Rejected { .. } => return self.callback_rejected(delivery, rejected).await,
                    // A callback that has used up its attempts is stored as pending too: the drain moves it to the
                    // dead letters.
                    outcome => outcome.failure().cloned(),
                }
            }
            Progress::Kept | Progress::GivenUp | Progress::Late(_) => None,
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

    /// Completes an attempt of a callback that can't be stored, and looks for its effect.
    async fn deliver_without_store(
        &self,
        delivery: &mut Delivery<'_>,
        sending: Sending<'a>,
        failed: Receipt<'a>,
    ) -> Receipt<'a> {
        let sent = sending.await;
        let verdict = match sent.verdict {
            Verdict::Accepted { .. } | Verdict::Existing { .. } => self.await_effect(delivery).await,
            verdict => Some(verdict),
        };
        let progress = match verdict {
            Some(Verdict::Accepted { .. }) => Progress::Delivered,
            Some(verdict @ (Verdict::Rejected { .. } | Verdict::AlreadyResolved { .. })) => Progress::Failed(verdict),
            _ => return failed,
        };
        let mut receipt = self.conclude_callback(delivery, progress).await;
        receipt.engine_status = sent.engine_status;
        receipt.warnings.extend(failed.warnings);
        receipt
    }

    /// Completes an attempt and looks for its effect, once the sender has a response. The callback is stored, and a
    /// drain leaves it alone meanwhile.
    fn confirm_in_background(&self, delivery: Delivery<'static>, sending: Option<Sending<'a>>) -> Background<'a> {
        let (gateway, mut delivery) = (self.clone(), delivery);
        Box::pin(async move {
            let verdict = match sending {
                Some(sending) => sending.await.verdict,
                None => Verdict::Accepted { body: Vec::new() },
            };
            let found = match verdict {
                Verdict::Accepted { .. } | Verdict::Existing { .. } => gateway.await_effect(&delivery).await,
                verdict => Some(verdict),
            };
            let mut report = Report {
                at: gateway.now(),
                id: delivery.id,
                outcome: Outcome::Pending { last: None },
                warnings: Vec::new(),
            };
            // If this instance was suspended for too long, a drain may have attempted the callback since.
            if let Some(verdict) = found.filter(|_| delivery.is_in_flight(gateway.now(), &gateway.settings.limits)) {
                match gateway.record_outcome(&mut delivery, verdict).await {
                    Ok(outcome) => report.outcome = outcome,
                    // The callback stays as it was stored: the drain looks at its run.
                    Err(error) => report.warnings.push(error.to_string()),
                }
            }
            report
        })
    }

    /// Looks until a callback that was sent has had an effect, or the engine can't act on it any more.
    async fn await_effect(&self, delivery: &Delivery<'_>) -> Option<Verdict> {
        let limits = self.settings.limits;
        let mut pause = FIRST_PAUSE;
        while delivery.is_in_flight(self.now().plus(pause), &limits) {
            self.host.sleep(pause).await;
            pause = pause.saturating_mul(2);
            let Ok(view) = self.look(delivery).await else { continue };
            match delivery.clone().after_look(&view, self.now(), &limits) {
                Some(Step::Delivered) => return Some(Verdict::Accepted { body: Vec::new() }),
                Some(Step::Close(verdict)) => return Some(verdict),
                _ => {}
            }
        }
        None
    }

    /// Attempts a stored callback that is due. Only the holder of the lease may do so.
    pub(super) async fn attempt_callback(
        &self,
        mut delivery: Delivery<'static>,
        notes: &PassNotes,
    ) -> Result<Outcome, StoreError> {
        let progress = self.progress(&mut delivery, Pursuer::Drain(notes), &mut None).await?;
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
            Progress::Kept | Progress::Late(_) => {
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

    /// Pursues a callback until its effect is known, or the pursuer has no more time.
    async fn progress(
        &self,
        delivery: &mut Delivery<'_>,
        pursuer: Pursuer<'_>,
        engine_status: &mut Option<StatusCode>,
    ) -> Result<Progress<'a>, StoreError> {
        let limits = self.settings.limits;
        let (until, notes) = match pursuer {
            Pursuer::Sender(until) => (until, None),
            Pursuer::Drain(notes) => (self.now().plus(DRAIN_CONFIRMS), Some(notes)),
        };
        let mut shared = notes.and_then(|notes| notes.last_look(delivery));
        let mut pause = FIRST_PAUSE;
        let mut failed = None;
        loop {
            let (is_shared, seen) = (shared.is_some(), self.now());
            let (seen, view) = match shared.take() {
                Some(shared) => shared,
                None => match self.in_time(pursuer, Box::pin(self.look(delivery))).await {
                    Ok(Ok(view)) => (seen, view),
                    Ok(Err(verdict)) => {
                        return Ok(failed.map_or(Progress::NotSeen(verdict), Progress::Failed));
                    }
                    Err(_) => return Ok(failed.map_or(Progress::Late(None), Progress::Failed)),
                },
            };
            if let Some(notes) = notes {
                notes.keep_look(delivery, seen, &view);
            }
            let now = self.now();
            let Some(step) = delivery.after_look(&view, seen, &limits) else { return Ok(Progress::Kept) };
            if is_shared && matches!(step, Step::Claim { .. } | Step::Send) && now.since(seen) >= LOOK_IS_OLD {
                continue;
            }
            match (step, failed.take()) {
                (Step::Delivered, _) => return Ok(Progress::Delivered),
                (Step::Close(verdict), _) => return Ok(Progress::Failed(verdict)),
                (_, Some(verdict)) => return Ok(Progress::Failed(verdict)),
                (Step::GiveUp, _) => return Ok(Progress::GivenUp),
                (Step::Ended { task, status }, _) => return self.after_end(delivery, &task, status, until).await,
                (Step::NotWaiting, _) => {
                    if delivery.claim.is_none()
                        && let Some(settled) = self.claim_early(delivery, until.since(now)).await?
                    {
                        return Ok(Progress::Settled(settled));
                    }
                    let again = delivery.patience(self.now());
                    if notes.is_some() || self.now().plus(again) >= until {
                        return Ok(Progress::Failed(Verdict::NotWaiting));
                    }
                    self.host.sleep(again).await;
                    continue;
                }
                (Step::LookAgain { at }, _) => {
                    let next = at.min(now.plus(pause));
                    if next >= until {
                        delivery.postpone(at);
                        return Ok(Progress::Kept);
                    }
                    self.host.sleep(next.since(now)).await;
                    pause = pause.saturating_mul(2).min(LONGEST_PAUSE);
                    continue;
                }
                (Step::Claim { task }, _) => {
                    if let Some(settled) = self.claim_task(delivery, task, until.since(now)).await? {
                        return Ok(Progress::Settled(settled));
                    }
                    if delivery.sent.is_some() {
                        return Ok(Progress::Kept);
                    }
                }
                (Step::Send, _) => {}
            }
            delivery.begin_send(self.now(), &limits);
            if notes.is_some() {
                self.outbox().put(delivery).await?;
                self.claims().record_pending(delivery).await?;
            }
            let sent = match self.in_time(pursuer, self.send(delivery)).await {
                Ok(sent) => sent,
                Err(sending) => return Ok(Progress::Late(Some(sending))),
            };
            *engine_status = sent.engine_status;
            match sent.verdict {
                Verdict::Accepted { .. } | Verdict::Existing { .. } => {}
                // It may have had an effect, which a look shows.
                verdict @ Verdict::Unclear { .. } => failed = Some(verdict),
                verdict => return Ok(Progress::Failed(verdict)),
            }
        }
    }

    /// Completes a future, or returns it once the sender has waited long enough.
    async fn in_time<F: Future + Unpin>(&self, pursuer: Pursuer<'_>, future: F) -> Result<F::Output, F> {
        let Pursuer::Sender(until) = pursuer else { return Ok(future.await) };
        match select(future, pin!(self.host.sleep(until.since(self.now())))).await {
            Either::Left((output, _)) => Ok(output),
            Either::Right(((), future)) => Err(future),
        }
    }

    /// Claims run and topic for a callback whose task isn't known yet. Returns the callback that was there first.
    async fn claim_early(
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
    async fn claim_task(
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
    async fn after_end(
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
                // Its own claim doesn't tell who has ended the task.
                return Ok(if status == Some(own_status) { Progress::Delivered } else { too_late });
            }
            // A record of release 0.1, which did not know the task.
            if let Some(settled) = self.claims().delivered_in_first_release(&delivery.work, &first_release).await?
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

impl Progress<'_> {
    /// Concludes a failed look or attempt. A failed look changes nothing about an earlier attempt whose effect isn't
    /// known.
    fn conclude(self, delivery: &mut Delivery<'_>, now: Timestamp, limits: &Limits) -> Outcome {
        match self {
            Self::NotSeen(verdict) if delivery.sent.is_some() => delivery.conclude_lookup(verdict, now, limits),
            Self::NotSeen(verdict) | Self::Failed(verdict) => delivery.conclude_attempt(verdict, now, limits),
            Self::Delivered | Self::Settled(_) | Self::Kept | Self::GivenUp | Self::Late(_) => {
                Outcome::Pending { last: None }
            }
        }
    }
}

fn digest(delivery: &Delivery<'_>) -> String {
    match &delivery.work {
        Work::Start(_) => String::new(),
        Work::Resolve(callback) => callback.digest(),
    }
}
