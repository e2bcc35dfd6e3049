//! Accepts a delivery from a sender: claims its key, sends it, and stores it unless the engine accepts or rejects it in
//! time.

use std::pin::pin;
use std::time::Duration;

use futures_util::future::{Either, select};
use http::{HeaderMap, StatusCode};

use super::send::{Sending, Sent};
use super::{Gateway, Receipt, Report, Unsettled, on_heap};
use crate::delivery::width::Refusal;
use crate::delivery::{Delivery, DeliveryId, Key, Outcome, Verdict, Work};
use crate::engine::Doubt;
use crate::ports::{Host, StoreError};
use crate::store::{Claim, Claims as _, Effect, Joined, Outbox as _, SEND_WITHIN};

/// How much longer a loser of a claim waits than a winner: it sees the record that a winner stores at the end of its
/// own wait.
pub(super) const LOSER_GRACE: Duration = Duration::from_millis(250);

/// How often a key is claimed while the contenders that hold it go away.
const MAX_CLAIMS: usize = 3;

impl<'a, H: Host> Gateway<'a, H> {
    /// Accepts a delivery. The sender waits at most `wait` for the engine; if that is zero, the delivery is stored
    /// before it is sent.
    pub async fn accept(&self, work: Work<'_>, key: Option<Key>, trace: HeaderMap, wait: Duration) -> Receipt<'a> {
        let mut receipt = self.accept_one(work, key, trace, wait).await;
        self.notify_drain(std::slice::from_mut(&mut receipt)).await;
        receipt
    }

    /// Accepts a delivery without notifying the drain.
    pub(super) async fn accept_one(
        &self,
        work: Work<'_>,
        key: Option<Key>,
        trace: HeaderMap,
        wait: Duration,
    ) -> Receipt<'a> {
        let work = match work {
            Work::Resolve(callback) => return on_heap(|| self.accept_callback(callback, trace, wait)).await,
            start @ Work::Start(_) => start,
        };
        if work.queue().is_some() {
            let mut receipt = on_heap(|| self.enqueue(work, key, trace)).await;
            receipt.drains = true;
            return receipt;
        }
        let mut delivery = match self.admit(work, key, trace, wait).await {
            Ok(delivery) => delivery,
            Err(receipt) => return receipt,
        };
        if wait.is_zero() {
            return on_heap(|| self.store_then_send(delivery)).await;
        }
        delivery.begin_attempt(self.now(), &self.settings.limits);
        let sending = self.send(&delivery);
        match select(sending, pin!(self.host.sleep(wait))).await {
            Either::Left((sent, _)) => self.conclude_in_time(delivery, sent).await,
            Either::Right(((), sending)) => on_heap(|| self.store_while_sending(delivery, sending)).await,
        }
    }

    /// Accepts a delivery by storing it for the drain, which is not notified. All starts on an `ordered` route are
    /// accepted like this: a send of its own could overtake those that are stored.
    pub(super) async fn enqueue(&self, work: Work<'_>, key: Option<Key>, trace: HeaderMap) -> Receipt<'a> {
        let mut delivery = match self.admit(work, key, trace, Duration::ZERO).await {
            Ok(delivery) => delivery,
            Err(receipt) => return receipt,
        };
        match self.store_pending(&mut delivery, None, false).await {
            Ok(receipt) => receipt,
            Err(error) => self.abandon(&delivery, &error).await,
        }
    }

    /// Notifies the drain once for all deliveries that these receipts report as stored, and records a configuration
    /// fault. If the notification fails, a scan finds the deliveries later.
    pub(super) async fn notify_drain(&self, receipts: &mut [Receipt<'_>]) {
        let is_stored = |receipt: &Receipt<'_>| matches!(receipt.outcome, Outcome::Pending { .. });
        let fault = receipts.iter().find_map(|receipt| receipt.outcome.failure()?.fault()).map(str::to_owned);
        let Some(first) = receipts.iter_mut().find(|receipt| is_stored(receipt)) else { return };
        first.warn(self.store().notify().await);
        if let Some(reason) = fault {
            first.warn(self.store().record_fault(&reason).await);
        }
    }

    /// Creates a delivery and claims its key. Returns the delivery if it has to be sent, otherwise the sender's
    /// receipt.
    async fn admit<'w>(
        &self,
        work: Work<'w>,
        key: Option<Key>,
        trace: HeaderMap,
        wait: Duration,
    ) -> Result<Delivery<'w>, Receipt<'a>> {
        let arrival = self.host.arrival_time();
        let id = DeliveryId::new(arrival, self.host.random());
        let mut delivery = Delivery::new(id, work, trace, arrival.at);
        let Some(key) = key else { return Ok(delivery) };
        for _ in 0..MAX_CLAIMS {
            let patience = wait.saturating_add(LOSER_GRACE);
            match self.store().claim(&mut delivery, key.clone(), patience).await {
                Err(error) => return Err(Receipt::store_failed(id, &error)),
                Ok(Claim::Settled(settled)) => {
                    return Err(Receipt::new(settled.id(), settled.outcome(key.digest())));
                }
                Ok(Claim::Won) if delivery.hold.may_send(self.host.monotonic()) => return Ok(delivery),
                Ok(claim @ (Claim::Won | Claim::Late | Claim::Contended(_))) => {
                    let holder = if let Claim::Contended(holder) = claim { holder } else { None };
                    match self.store().join(&mut delivery, &key, holder).await {
                        Err(error) => return Err(Receipt::store_failed(id, &error)),
                        Ok(Joined::Stored) => return Err(Receipt::new(id, Outcome::Pending { last: None })),
                        Ok(Joined::Promised(first)) => {
                            return Err(Receipt::new(first, Outcome::Duplicate { body: None }));
                        }
                        Ok(Joined::Refused) => break,
                        Ok(Joined::Free) => {}
                    }
                }
                Ok(Claim::Taken(taken)) => return Err(self.leave_to_drain(*taken).await),
            }
        }
        Err(Receipt::new(id, Outcome::NotStored { verdict: None }))
    }

    /// Leaves a delivery to the drain that another instance has left behind. It may have been sent, so its run is
    /// looked up first.
    pub(super) async fn leave_to_drain(&self, mut taken: Delivery<'static>) -> Receipt<'a> {
        taken.next_attempt = self.now();
        match self.store().reschedule(&mut taken).await {
            Ok(Effect::Done | Effect::Late) => {
                let mut receipt = Receipt::new(taken.id, Outcome::Duplicate { body: None });
                receipt.drains = true;
                receipt
            }
            Err(error) => Receipt::store_failed(taken.id, &error),
        }
    }

    /// Concludes an attempt that ended while its sender waited.
    async fn conclude_in_time(&self, mut delivery: Delivery<'_>, sent: Sent) -> Receipt<'a> {
        let mut receipt = match delivery.conclude_attempt(sent.verdict, self.now(), &self.settings.limits) {
            Outcome::Delivered { body } if self.may_settle_late(&delivery, &body) => {
                let mut receipt = Receipt::new(delivery.id, Outcome::Delivered { body: body.clone() });
                // Of the payload, only a copy that is kept is made.
                let delivery = if self.keeps_payloads() { delivery } else { delivery.without_payload() };
                receipt.unsettled = Some(Unsettled { delivery: delivery.into_owned(), body });
                return Receipt { engine_status: sent.engine_status, ..receipt };
            }
            Outcome::Delivered { body } => self.delivered(&delivery, body).await,
            rejected @ Outcome::Rejected { .. } => self.rejected(&delivery, rejected).await,
            // A delivery that has used up its attempts is stored as pending too: the drain moves it to the dead
            // letters.
            outcome => {
                let verdict = outcome.failure().cloned();
                match self.store_pending(&mut delivery, verdict.as_ref(), false).await {
                    Ok(receipt) => receipt,
                    Err(error) => self.not_stored(&delivery, verdict, &error).await,
                }
            }
        };
        receipt.engine_status = sent.engine_status;
        receipt.refusal = match (&receipt.outcome, sent.engine_status) {
            (Outcome::Pending { .. }, Some(StatusCode::TOO_MANY_REQUESTS)) => {
                Some(Refusal { at: self.now(), workflow: Some(delivery.work.reference().to_owned()) })
            }
            (Outcome::Pending { .. }, Some(StatusCode::SERVICE_UNAVAILABLE)) => {
                Some(Refusal { at: self.now(), workflow: None })
            }
            _ => None,
        };
        receipt
    }

    /// Stores a delivery whose sender has waited long enough. The sender gets its response while the attempt goes on.
    async fn store_while_sending(&self, mut delivery: Delivery<'_>, sending: Sending<'a>) -> Receipt<'a> {
        let error = match self.store_pending(&mut delivery, None, true).await {
            Ok(receipt) => return self.in_background(delivery, sending, receipt),
            Err(error) => error,
        };
        // Without the store nothing can be promised, so the sender has to wait for the engine.
        let sent = sending.await;
        let mut receipt = match delivery.conclude_attempt(sent.verdict, self.now(), &self.settings.limits) {
            Outcome::Delivered { body } => {
                let mut receipt = self.delivered(&delivery, body).await;
                receipt.warnings.push(error.to_string());
                receipt
            }
            outcome => match outcome.failure().cloned() {
                Some(verdict @ Verdict::Rejected { .. }) => {
                    let mut receipt = self.rejected(&delivery, Outcome::Rejected { verdict }).await;
                    receipt.warnings.push(error.to_string());
                    receipt
                }
                verdict => self.not_stored(&delivery, verdict, &error).await,
            },
        };
        receipt.engine_status = sent.engine_status;
        receipt
    }

    /// Stores a delivery before it is sent, for a sender that doesn't wait (`respond-async`, RFC 7240, section 4.1).
    async fn store_then_send(&self, mut delivery: Delivery<'_>) -> Receipt<'a> {
        // The attempt begins only once the sender has read its response, which may take long. The drain relies on this:
        // the delivery isn't sent after `latest`.
        let latest = self.now().plus(SEND_WITHIN);
        delivery.begin_attempt(latest, &self.settings.limits);
        let (host, sending) = (self.host, self.send(&delivery));
        let sending = Box::pin(async move {
            if host.now() < latest {
                return sending.await;
            }
            let reason = "the sender read its response too slowly, so the delivery is left to the drain".to_owned();
            Sent { engine_status: None, verdict: Verdict::Unreachable { reason } }
        });
        match self.store_pending(&mut delivery, None, true).await {
            Ok(receipt) => self.in_background(delivery, sending, receipt),
            Err(error) => self.abandon(&delivery, &error).await,
        }
    }

    /// Adds the rest of an attempt to its receipt, as background work.
    fn in_background(&self, delivery: Delivery<'_>, sending: Sending<'a>, mut receipt: Receipt<'a>) -> Receipt<'a> {
        let (gateway, mut delivery) = (self.clone(), delivery.into_owned());
        receipt.background = Some(Box::pin(async move {
            let sent = sending.await;
            gateway.conclude_in_background(&mut delivery, sent).await
        }));
        receipt
    }

    /// Concludes an attempt that went on after the sender got its response.
    async fn conclude_in_background(&self, delivery: &mut Delivery<'_>, sent: Sent) -> Report {
        let pending = Outcome::Pending { last: None };
        let is_accepted = matches!(sent.verdict, Verdict::Accepted { .. });
        if !is_accepted && !delivery.is_in_flight(self.now(), &self.settings.limits) {
            // This instance was suspended for too long. A drain may have attempted the delivery since, and removed it.
            return Report { at: self.now(), id: delivery.id, outcome: pending, warnings: Vec::new() };
        }
        let unkept = if is_accepted { self.keep_payloads(&[delivery]).await } else { None };
        let (outcome, mut warnings) = match self.record_outcome(delivery, sent.verdict).await {
            Ok(outcome) => (outcome, Vec::new()),
            // The delivery stays as it was stored: the drain looks up its run.
            Err(error) => (pending, vec![error.to_string()]),
        };
        warnings.extend(unkept);
        warnings.extend(self.note_death(delivery, &outcome).await);
        if let Some(reason) = outcome.failure().and_then(Verdict::fault) {
            warnings.extend(self.store().record_fault(reason).await.err().map(|error| error.to_string()));
        }
        Report { at: self.now(), id: delivery.id, outcome, warnings }
    }

    /// Stores a delivery as pending. `is_sending` says that this instance is sending it, or is about to. Returns an
    /// error only if that write fails; other failures are warnings.
    pub(super) async fn store_pending<'r>(
        &self,
        delivery: &mut Delivery<'_>,
        last: Option<&Verdict>,
        is_sending: bool,
    ) -> Result<Receipt<'r>, StoreError> {
        if self.store().keep(delivery, is_sending).await? == Effect::Late {
            return Err(StoreError("another instance has taken the delivery over".to_owned()));
        }
        let mut receipt = Receipt::new(delivery.id, Outcome::Pending { last: last.cloned() });
        receipt.warn(self.store().promise(delivery).await);
        if let Some(fault) = last.and_then(Verdict::fault) {
            receipt.warnings.push(format!("{fault}: check engine_url and engine_token"));
        }
        Ok(receipt)
    }

    /// Whether the outcome of a start that the engine has accepted may be written after the response. If this instance
    /// dies in between, the next delivery of the key, or the drain that takes over its row, finds the run or sends the
    /// start again with the same mark, which is made of the key. Nothing would restore the scope of its run.
    fn may_settle_late(&self, delivery: &Delivery<'_>, body: &[u8]) -> bool {
        matches!(self.settings.engine.profile.doubt(), Doubt::Find | Doubt::Resend)
            && delivery.claim.is_some()
            && self.other_scope(delivery, body).is_none()
    }

    /// Records a delivery that the engine has accepted.
    async fn delivered(&self, delivery: &Delivery<'_>, body: Vec<u8>) -> Receipt<'a> {
        let warnings = self.settle(delivery, &body).await;
        Receipt { warnings, ..Receipt::new(delivery.id, Outcome::Delivered { body }) }
    }

    /// Records a start that the engine has accepted, after its sender got its response. Returns a report for the log if
    /// that fails.
    pub async fn settle_late(&self, unsettled: &Unsettled) -> Option<Report> {
        let Unsettled { delivery, body } = unsettled;
        let warnings = self.settle(delivery, body).await;
        if warnings.is_empty() {
            return None;
        }
        Some(Report { at: self.now(), id: delivery.id, outcome: Outcome::Delivered { body: Vec::new() }, warnings })
    }

    /// Writes what the store has of a delivery that the engine has accepted. Returns warnings.
    async fn settle(&self, delivery: &Delivery<'_>, body: &[u8]) -> Vec<String> {
        // Before the key is settled: a repeat by the sender would find it settled, and keep nothing.
        let mut warnings: Vec<_> = self.keep_payloads(&[delivery]).await.into_iter().collect();
        warnings.extend(self.store().settle(delivery, body).await.err().map(|error| error.to_string()));
        warnings.extend(self.record_scope(delivery, body).await.err().map(|error| error.to_string()));
        warnings
    }

    /// Releases the key of a rejected delivery: its sender may send it again.
    async fn rejected(&self, delivery: &Delivery<'_>, outcome: Outcome) -> Receipt<'a> {
        let mut receipt = Receipt::new(delivery.id, outcome);
        receipt.warn(self.store().release(delivery).await);
        receipt
    }

    /// Releases the key of a delivery that isn't stored and on which the engine has not acted. Otherwise, a retry by
    /// the sender would be answered as a duplicate of a delivery that was never accepted.
    async fn abandon(&self, delivery: &Delivery<'_>, error: &StoreError) -> Receipt<'a> {
        let mut receipt = Receipt::store_failed(delivery.id, error);
        receipt.warn(self.store().release(delivery).await);
        receipt
    }

    /// Concludes a delivery that neither the engine nor the store has accepted. If the engine may have acted, its key
    /// is not released: a retry by the sender is then stored as contended, and the drain looks up its run first.
    async fn not_stored(&self, delivery: &Delivery<'_>, verdict: Option<Verdict>, error: &StoreError) -> Receipt<'a> {
        match verdict {
            Some(unclear @ Verdict::Unclear { .. }) => {
                let mut receipt = Receipt::store_failed(delivery.id, error);
                receipt.outcome = Outcome::NotStored { verdict: Some(unclear) };
                receipt
            }
            _ => self.abandon(delivery, error).await,
        }
    }
}
