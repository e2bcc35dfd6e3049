//! Attempts a stored delivery. Only the holder of the lease may do so.

use super::Gateway;
use crate::delivery::{Delivery, Outcome, Verdict, Work};
use crate::ports::{Host, StoreError};
use crate::store::DeliveryState;

impl<H: Host> Gateway<'_, H> {
    /// Attempts a delivery that is due.
    ///
    /// [`Outcome::Pending`] includes the verdict of the attempt, or of the lookup of its run. If another delivery has
    /// settled the key, the delivery isn't sent: a duplicate is removed ([`Outcome::Duplicate`]), and one with other
    /// content is moved to the dead letters ([`Outcome::Conflict`], [`Outcome::KeyReused`]).
    pub(super) async fn attempt(&self, mut delivery: Delivery<'static>) -> Result<Outcome, StoreError> {
        if let Some(outcome) = self.superseded(&mut delivery).await? {
            return Ok(outcome);
        }
        if matches!(delivery.work, Work::Start(_)) && delivery.is_ambiguous() {
            match self.find_run(&delivery).await {
                Ok(Some(run)) => return self.record_outcome(&mut delivery, Verdict::Accepted { body: run }).await,
                Ok(None) => {}
                Err(verdict) => return self.postpone(&mut delivery, verdict).await,
            }
        }
        if delivery.is_exhausted(self.now(), &self.settings.limits) {
            self.outbox().dead_letter(&delivery).await?;
            return Ok(Outcome::Dead { last: None });
        }
        // Stored before it is sent: if this instance dies meanwhile, the next drain looks up the run first.
        delivery.begin_attempt(self.now(), &self.settings.limits);
        self.outbox().put(&delivery).await?;
        let sent = self.send(&delivery).await;
        self.record_outcome(&mut delivery, sent.verdict).await
    }

    /// Checks the key of a delivery. Returns an outcome if the delivery must not be sent now, because another delivery
    /// has settled the key, or may have.
    async fn superseded(&self, delivery: &mut Delivery<'static>) -> Result<Option<Outcome>, StoreError> {
        let Some(claim) = &delivery.claim else { return Ok(None) };
        let settled = match self.claims().settled(delivery).await? {
            None => return self.finish_first_callback(delivery).await,
            Some(Err(_)) => return Ok(Some(Outcome::Unreadable)),
            Some(Ok(settled)) if settled.is_pending(delivery) => return Ok(None),
            Some(Ok(settled)) => settled,
        };
        match settled.outcome(claim.key.digest()) {
            duplicate @ Outcome::Duplicate { .. } => {
                self.outbox().remove(DeliveryState::Pending, delivery.id).await?;
                Ok(Some(duplicate))
            }
            conflict => self.contradicted(delivery, conflict).await.map(Some),
        }
    }

    /// Delivers the callback of a winner that may have died after it sent that callback, if it differs from this
    /// contended one. It was first, so this one is closed once the first is delivered, perhaps for the second time.
    async fn finish_first_callback(&self, delivery: &mut Delivery<'static>) -> Result<Option<Outcome>, StoreError> {
        let Some(first) = self.claims().first_callback(delivery).await? else { return Ok(None) };
        let Work::Resolve(callback) = &first.work else { return Ok(None) };
        match self.send(&first).await.verdict {
            Verdict::Accepted { body } => {
                self.claims().record_delivered(&first, &body).await?;
                let conflict = Outcome::Conflict { status: callback.status, received: first.received };
                self.contradicted(delivery, conflict).await.map(Some)
            }
            Verdict::Rejected { .. } => Ok(None),
            verdict => self.postpone(delivery, verdict).await.map(Some),
        }
    }

    /// Closes a delivery whose content differs from the one that settled its key. It becomes a dead letter instead of
    /// being removed, because its sender got a 202.
    async fn contradicted(&self, delivery: &mut Delivery<'static>, outcome: Outcome) -> Result<Outcome, StoreError> {
        let reason = match &delivery.work {
            Work::Resolve(_) => "another callback for this run and topic was accepted first",
            Work::Start(_) => "the idempotency key was used with another payload first",
        };
        delivery.close(reason, self.now());
        self.outbox().dead_letter(delivery).await?;
        Ok(outcome)
    }

    /// Concludes a lookup that failed, and stores the outcome.
    async fn postpone(&self, delivery: &mut Delivery<'static>, verdict: Verdict) -> Result<Outcome, StoreError> {
        let outcome = delivery.conclude_lookup(verdict, self.now(), &self.settings.limits);
        match &outcome {
            Outcome::Dead { .. } => self.outbox().dead_letter(delivery).await?,
            _ => self.outbox().put(delivery).await?,
        }
        Ok(outcome)
    }
}
