//! Accepts a callback from a sender: resolves it while the sender waits, and stores it unless that is done in time.

use std::time::Duration;

use http::HeaderMap;

use super::accept::LOSER_GRACE;
use super::resolve::{FIRST_PAUSE, Progress, Pursuer, digest};
use super::send::Sending;
use super::task_claim::Claimed;
use super::{Background, Gateway, Receipt, Report};
use crate::callback::Callback;
use crate::delivery::{Delivery, DeliveryId, Key, Outcome, Step, Verdict, Work};
use crate::engine::Confirm;
use crate::ports::{Host, StoreError};
use crate::store::{Claims as _, Joined, Outbox as _};

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
        receipt.drains |= wait.is_zero();
        let is_contended = delivery.claim.as_ref().is_some_and(|claim| claim.contended);
        let is_sent = matches!(receipt.outcome, Outcome::Pending { .. }) && delivery.sent.is_some() && !is_contended;
        // Without looks, nothing but the engine's answer shows an effect.
        if is_sent && (sending.is_some() || self.settings.engine.confirm() == Confirm::Look) {
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
                receipt.warn(self.store().settle(delivery, &[]).await);
                return receipt;
            }
            Progress::Settled(settled) => {
                let mut receipt = Receipt::new(settled.id(), settled.outcome(&digest(delivery)));
                receipt.warn(self.store().remove(delivery).await);
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
            Progress::Taken(taken) => return self.leave_to_drain(*taken).await,
            Progress::Kept | Progress::GivenUp | Progress::Stopped(_) | Progress::Late(_) => None,
        };
        if delivery.claim.is_none() {
            match self.claim_early(delivery, LOSER_GRACE).await {
                Ok(Claimed::Mine) => {}
                Ok(Claimed::Settled(settled)) => return Receipt::new(settled.id(), settled.outcome(&digest(delivery))),
                Ok(Claimed::Contended(holder)) => return self.join_early(delivery, holder).await,
                Ok(Claimed::Late) => return Receipt::new(delivery.id, Outcome::Pending { last }),
                Ok(Claimed::Taken(taken)) => return self.leave_to_drain(*taken).await,
                Err(error) => return self.callback_not_stored(delivery, last, &error).await,
            }
        }
        // A callback that was sent is confirmed in the background.
        let is_sending = delivery.sent.is_some() && delivery.claim.as_ref().is_some_and(|claim| !claim.contended);
        match self.store_pending(delivery, last.as_ref(), is_sending).await {
            Ok(receipt) => receipt,
            Err(error) => self.callback_not_stored(delivery, last, &error).await,
        }
    }

    /// Stores a callback that is early beside the one that holds run and topic.
    async fn join_early(&self, delivery: &mut Delivery<'_>, holder: Option<DeliveryId>) -> Receipt<'a> {
        let Work::Resolve(callback) = &delivery.work else { return Receipt::new(delivery.id, Outcome::TakenOver) };
        let early = Key::early(callback);
        match self.store().join(delivery, &early, holder).await {
            Ok(Joined::Stored) => Receipt::new(delivery.id, Outcome::Pending { last: None }),
            Ok(Joined::Promised(first)) => Receipt::new(first, Outcome::Duplicate { body: None }),
            Ok(Joined::Free | Joined::Refused) => Receipt::new(delivery.id, Outcome::NotStored { verdict: None }),
            Err(error) => self.callback_not_stored(delivery, None, &error).await,
        }
    }

    /// Releases the claims of a rejected callback: its sender may send it again.
    async fn callback_rejected(&self, delivery: &Delivery<'_>, outcome: Outcome) -> Receipt<'a> {
        let mut receipt = Receipt::new(delivery.id, outcome);
        receipt.warn(self.store().release(delivery).await);
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
            receipt.warn(self.store().abandon(delivery).await);
        } else {
            receipt.warn(self.store().release(delivery).await);
        }
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
        let progress = match self.effect(delivery, sent.verdict).await {
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
            let found = gateway.effect(&delivery, verdict).await;
            let mut report = Report {
                at: gateway.now(),
                id: delivery.id,
                outcome: Outcome::Pending { last: None },
                warnings: Vec::new(),
            };
            // If this instance was suspended for too long, a drain may have attempted the callback since.
            let recorded = match found.filter(|_| delivery.is_in_flight(gateway.now(), &gateway.settings.limits)) {
                Some(verdict) => gateway.record_outcome(&mut delivery, verdict).await.map(|outcome| {
                    report.outcome = outcome;
                }),
                None => gateway.store().give_back(&mut delivery).await.map(drop),
            };
            // After an error, the callback stays as it was stored: the drain looks at its run.
            report.warnings.extend(recorded.err().map(|error| error.to_string()));
            report.warnings.extend(gateway.note_death(&delivery, &report.outcome).await);
            report
        })
    }

    /// Returns the verdict on a callback that the engine has answered. If it has taken the callback, looks until that has
    /// had an effect; `None` if it has none before the engine can't act on it any more.
    async fn effect(&self, delivery: &Delivery<'_>, answer: Verdict) -> Option<Verdict> {
        let is_taken = matches!(answer, Verdict::Accepted { .. } | Verdict::Existing { .. });
        if !is_taken || self.settings.engine.confirm() == Confirm::Answer {
            return Some(answer);
        }
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
}
