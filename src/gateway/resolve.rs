//! Resolves the task that a callback is for: looks at the run, claims the task, sends the callback, and looks until the
//! task has ended. The decisions are in `delivery/resolve.rs`; `callback.rs` is the side of the sender, and
//! `task_claim.rs` has the claims.

use std::future::Future;
use std::pin::pin;
use std::time::Duration;

use futures_util::future::{Either, select};
use http::StatusCode;

use super::Gateway;
use super::look::PassNotes;
use super::send::Sending;
use super::task_claim::Claimed;
use crate::callback::Callback;
use crate::delivery::{Delivery, Limits, Outcome, Step, Verdict, Work};
use crate::engine::Confirm;
use crate::ports::{Host, StoreError};
use crate::store::{Claims as _, Outbox as _, Settled};
use crate::time::Timestamp;

/// How long a drain looks for the effect of a callback that it has sent, before it leaves that to the next pass.
const DRAIN_CONFIRMS: Duration = Duration::from_secs(1);
/// The age from which a look that other callbacks of the pass have made is too old to send on.
const LOOK_IS_OLD: Duration = Duration::from_secs(1);
/// The first pause between two looks for the effect of a callback.
pub(super) const FIRST_PAUSE: Duration = Duration::from_millis(20);
/// The longest pause between two looks for the effect of a callback.
pub(super) const LONGEST_PAUSE: Duration = Duration::from_millis(320);

/// How far a callback got.
pub(super) enum Progress<'a> {
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
    /// Another instance has taken it over, or an operator has deleted it.
    Stopped(Outcome),
    /// The callback of an earlier holder of the task, which is due now.
    Taken(Box<Delivery<'static>>),
    /// The time is over, perhaps while it is being sent.
    Late(Option<Sending<'a>>),
}

/// The pursuer of a callback.
#[derive(Clone, Copy)]
pub(super) enum Pursuer<'p> {
    /// The sender, until this time. The callback is not stored.
    Sender(Timestamp),
    /// The drain, in a pass with these notes. The callback is stored, and so is each attempt before it begins.
    Drain(&'p PassNotes),
}

impl<'a, H: Host> Gateway<'a, H> {
    /// Attempts a stored callback that is due. Only the holder of the lease may do so.
    pub(super) async fn attempt_callback(
        &self,
        delivery: &mut Delivery<'static>,
        notes: &PassNotes,
    ) -> Result<Outcome, StoreError> {
        let progress = self.progress(delivery, Pursuer::Drain(notes), &mut None).await?;
        let limits = self.settings.limits;
        match progress {
            Progress::Delivered => self.record_outcome(delivery, Verdict::Accepted { body: Vec::new() }).await,
            Progress::Settled(settled) => {
                let outcome = settled.outcome(&digest(delivery));
                self.settle_superseded(delivery, outcome).await
            }
            Progress::NotSeen(unknown @ Verdict::UnknownRun { .. }) if self.is_unseen(delivery).await? => {
                self.send_unseen(delivery, unknown).await
            }
            progress @ (Progress::Failed(_) | Progress::NotSeen(_)) => {
                let outcome = progress.conclude(delivery, self.now(), &limits);
                self.store_outcome(delivery, outcome).await
            }
            Progress::Kept | Progress::Late(_) => self.store_outcome(delivery, Outcome::Pending { last: None }).await,
            Progress::Taken(taken) => {
                // The earlier holder's callback comes first.
                self.leave_to_drain(*taken).await;
                self.store_outcome(delivery, Outcome::Pending { last: None }).await
            }
            Progress::Stopped(outcome) => Ok(outcome),
            Progress::GivenUp => {
                delivery.close("it was sent three times, and the task still waits", self.now());
                self.store_outcome(delivery, Outcome::Dead { last: None }).await
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
        Ok(self.store().run(run.as_str()).await?.is_some_and(|record| record.unseen))
    }

    /// Sends a callback without a look, once. The engine's answer is all that will be known of it.
    async fn send_unseen(&self, delivery: &mut Delivery<'_>, unknown: Verdict) -> Result<Outcome, StoreError> {
        delivery.unseen = true;
        delivery.begin_attempt(self.now(), &self.settings.limits);
        if let Some(stopped) = self.store().begin(delivery).await?.stopped() {
            return Ok(stopped);
        }
        let sent = self.send(delivery).await;
        let verdict = match sent.verdict {
            Verdict::Unclear { .. } => unknown,
            verdict => verdict,
        };
        self.record_outcome(delivery, verdict).await
    }

    /// Pursues a callback until its effect is known, or the pursuer has no more time.
    pub(super) async fn progress(
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
        let engine = &self.settings.engine;
        if engine.confirm() == Confirm::Answer {
            return self.progress_by_answer(delivery, pursuer, until, engine_status).await;
        }
        let look_key = || engine.look_key(delivery.work.reference(), delivery.work.topic().unwrap_or_default());
        let notes = notes.map(|notes| (notes, look_key()));
        let mut shared = notes.as_ref().and_then(|(notes, key)| notes.last_look(key));
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
            if let Some((notes, key)) = &notes {
                notes.keep_look(key.clone(), seen, &view);
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
                        delivery.next_attempt = at;
                        return Ok(Progress::Kept);
                    }
                    self.host.sleep(next.since(now)).await;
                    pause = pause.saturating_mul(2).min(LONGEST_PAUSE);
                    continue;
                }
                (Step::Claim { task }, _) => {
                    if let Some(progress) = self.claim_for(delivery, task, until.since(now)).await? {
                        return Ok(progress);
                    }
                }
                (Step::Send, _) => {}
            }
            let verdict = match self.send_in_time(delivery, pursuer, engine_status).await? {
                Ok(verdict) => verdict,
                Err(progress) => return Ok(progress),
            };
            match verdict {
                Verdict::Accepted { .. } | Verdict::Existing { .. } => {}
                // An earlier send may have had this effect, which a look shows.
                Verdict::NotWaiting | Verdict::AlreadyResolved { .. } if delivery.was_sent_before() => {}
                Verdict::NotWaiting => {
                    delivery.withdraw_send();
                    return Ok(Progress::Failed(Verdict::NotWaiting));
                }
                // It may have had an effect, which a look shows.
                verdict @ Verdict::Unclear { .. } => failed = Some(verdict),
                verdict => return Ok(Progress::Failed(verdict)),
            }
        }
    }

    /// Pursues a callback at an engine that keeps early callbacks and knows repeated ones, so that its answer is proof.
    async fn progress_by_answer(
        &self,
        delivery: &mut Delivery<'_>,
        pursuer: Pursuer<'_>,
        until: Timestamp,
        engine_status: &mut Option<StatusCode>,
    ) -> Result<Progress<'a>, StoreError> {
        // There are no tasks to tell apart: the topic stands for the task.
        let topic = delivery.work.topic().unwrap_or_default().to_owned();
        // One that was sent may have ended the run itself.
        if !delivery.was_sent() {
            let looked = self.in_time(pursuer, Box::pin(self.look_before(delivery, &topic))).await;
            match looked.map_err(drop) {
                Ok(Ok(())) => {}
                // Perhaps by an equal callback, or by another one.
                Ok(Err(Verdict::AlreadyResolved { .. })) => return self.after_end(delivery, &topic, None, until).await,
                Ok(Err(verdict)) => return Ok(Progress::Failed(verdict)),
                Err(()) => return Ok(Progress::Late(None)),
            }
        }
        if delivery.wait.is_none()
            && let Some(progress) = self.claim_for(delivery, topic, until.since(self.now())).await?
        {
            return Ok(progress);
        }
        Ok(match self.send_in_time(delivery, pursuer, engine_status).await? {
            Ok(Verdict::Accepted { .. } | Verdict::Existing { .. }) => Progress::Delivered,
            // By itself, before its answer was lost.
            Ok(Verdict::AlreadyResolved { .. }) if delivery.was_sent_before() => Progress::Delivered,
            Ok(Verdict::NotWaiting) => {
                delivery.withdraw_send();
                Progress::Failed(Verdict::NotWaiting)
            }
            Ok(verdict) => Progress::Failed(verdict),
            Err(progress) => progress,
        })
    }

    /// Claims a task for a callback. Returns how far the callback got, unless it has to be sent now.
    async fn claim_for(
        &self,
        delivery: &mut Delivery<'_>,
        task: String,
        patience: Duration,
    ) -> Result<Option<Progress<'a>>, StoreError> {
        Ok(match self.claim_task(delivery, task, patience).await? {
            Claimed::Mine if delivery.sent.is_none() => None,
            Claimed::Mine => Some(Progress::Kept),
            Claimed::Contended(_) => {
                // Without `sent`, the other one may still be refused: it is looked at again later.
                let later = self.now().plus(delivery.patience(self.now()));
                delivery.next_attempt = delivery.next_attempt.max(later);
                Some(Progress::Kept)
            }
            Claimed::Late => Some(Progress::Stopped(Outcome::TakenOver)),
            Claimed::Settled(settled) => Some(Progress::Settled(settled)),
            Claimed::Taken(taken) => Some(Progress::Taken(taken)),
        })
    }

    /// Sends a callback that has its task, and returns the engine's verdict, or how far the callback got without one.
    async fn send_in_time(
        &self,
        delivery: &mut Delivery<'_>,
        pursuer: Pursuer<'_>,
        engine_status: &mut Option<StatusCode>,
    ) -> Result<Result<Verdict, Progress<'a>>, StoreError> {
        let limits = self.settings.limits;
        let notes = match pursuer {
            Pursuer::Sender(_) => None,
            Pursuer::Drain(notes) => Some(notes),
        };
        if notes.is_some() {
            self.store().take_over(delivery).await?;
            if delivery.is_in_flight(self.now(), &limits) {
                return Ok(Err(Progress::Kept));
            }
        }
        delivery.begin_send(self.now(), &limits);
        if notes.is_some()
            && let Some(stopped) = self.store().begin(delivery).await?.stopped()
        {
            return Ok(Err(Progress::Stopped(stopped)));
        }
        let sent = match self.in_time(pursuer, self.send(delivery)).await {
            Ok(sent) => sent,
            Err(sending) => return Ok(Err(Progress::Late(Some(sending)))),
        };
        *engine_status = sent.engine_status;
        if let Some(notes) = notes {
            notes.answered(delivery, &sent, &limits);
        }
        Ok(Ok(sent.verdict))
    }

    /// Completes a future, or returns it once the sender has waited long enough.
    async fn in_time<F: Future + Unpin>(&self, pursuer: Pursuer<'_>, future: F) -> Result<F::Output, F> {
        let Pursuer::Sender(until) = pursuer else { return Ok(future.await) };
        match select(future, pin!(self.host.sleep(until.since(self.now())))).await {
            Either::Left((output, _)) => Ok(output),
            Either::Right(((), future)) => Err(future),
        }
    }
}

impl Progress<'_> {
    /// Concludes a failed look or attempt. A failed look changes nothing about an earlier attempt whose effect isn't
    /// known.
    pub(super) fn conclude(self, delivery: &mut Delivery<'_>, now: Timestamp, limits: &Limits) -> Outcome {
        match self {
            Self::NotSeen(verdict) if delivery.sent.is_some() => delivery.conclude_lookup(verdict, now, limits),
            Self::NotSeen(verdict) | Self::Failed(verdict) => delivery.conclude_attempt(verdict, now, limits),
            Self::Stopped(outcome) => outcome,
            Self::Delivered | Self::Settled(_) | Self::Kept | Self::GivenUp | Self::Taken(_) | Self::Late(_) => {
                Outcome::Pending { last: None }
            }
        }
    }
}

/// Returns the digest of a callback; empty for a start.
pub(super) fn digest(delivery: &Delivery<'_>) -> String {
    match &delivery.work {
        Work::Start(_) => String::new(),
        Work::Resolve(callback) => callback.digest(),
    }
}
