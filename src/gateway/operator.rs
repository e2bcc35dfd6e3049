//! The requests of an operator: listing, showing, redelivering and deleting stored deliveries, and showing the
//! callbacks of a run.

use std::time::Duration;

use super::Gateway;
use super::look::PassNotes;
use crate::callback::{Callback, CallbackRecord, State, Status};
use crate::delivery::{Delivery, DeliveryId, Key, Outcome, StoredError, Wait, Work};
use crate::ports::{Host, StoreError};
use crate::reference::{RunRef, Topic};
use crate::store::{DeliveryState, Settled};

/// A page of deliveries.
#[derive(Debug)]
pub struct Page {
    /// In order of arrival; the error is a record that can't be decoded.
    pub deliveries: Vec<(DeliveryId, Result<Delivery<'static>, StoredError>)>,
    /// The id of the page's last delivery, after which the next page begins; `None` on the last page.
    pub next: Option<DeliveryId>,
}

/// Why an operator's request fails.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OperatorError {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The delivery isn't stored.
    #[error("no such delivery is stored: it was delivered, dropped or deleted, or never accepted")]
    Unknown,
    /// The record can't be decoded.
    #[error("the record can't be read: it is damaged, or written by a later version")]
    Damaged,
    /// The delivery is in flight.
    #[error("the delivery is being sent to the engine, and its outcome is not known yet")]
    InFlight,
}

/// Whether a callback is still open.
#[derive(Debug)]
pub enum Answer {
    /// The run waits for it, or may.
    Open,
    /// A callback was accepted for it.
    Recorded(CallbackRecord),
    /// The task that waited for it has ended, with the status of an event or otherwise, or the run has.
    Decided(Option<Status>),
    /// No task of the run has its topic.
    UnknownTopic,
}

impl From<StoredError> for OperatorError {
    fn from(_: StoredError) -> Self {
        Self::Damaged
    }
}

impl<H: Host> Gateway<'_, H> {
    /// Lists at most `limit` deliveries after `after`, in order of arrival.
    pub async fn list(
        &self,
        state: DeliveryState,
        limit: usize,
        after: Option<DeliveryId>,
    ) -> Result<Page, StoreError> {
        let list = self.outbox().list().await?;
        let mut ids = match state {
            DeliveryState::Pending => list.pending(),
            DeliveryState::Dead => list.dead(),
        };
        ids.retain(|id| after.is_none_or(|after| *id > after));
        let more = ids.len() > limit;
        ids.truncate(limit);
        let mut deliveries = Vec::new();
        for id in &ids {
            // Leaves out a delivery that was removed meanwhile.
            if let Some(delivery) = self.outbox().load(state, *id).await? {
                deliveries.push((*id, delivery));
            }
        }
        Ok(Page { deliveries, next: ids.last().copied().filter(|_| more) })
    }

    /// Reads a stored delivery.
    pub async fn show(&self, id: DeliveryId) -> Result<(DeliveryState, Delivery<'static>), OperatorError> {
        for state in [DeliveryState::Pending, DeliveryState::Dead] {
            if let Some(delivery) = self.outbox().load(state, id).await? {
                return Ok((state, delivery?));
            }
        }
        Err(OperatorError::Unknown)
    }

    /// Attempts a delivery now, with its age and attempts reset. If a drain holds the lease, the delivery is left to
    /// it, and the result is [`Outcome::Pending`] without a verdict.
    pub async fn redeliver(&self, id: DeliveryId) -> Result<Outcome, OperatorError> {
        let (state, mut delivery) = self.show(id).await?;
        self.check_not_in_flight(&delivery)?;
        delivery.renew(self.now(), &self.settings.limits);
        if state == DeliveryState::Dead
            && let Some(claim) = &mut delivery.claim
        {
            // Another delivery may have claimed its key meanwhile.
            claim.contended = true;
        }
        let mut receipt = self.store_pending(&delivery, None).await?;
        self.notify_drain(std::slice::from_mut(&mut receipt)).await;
        // Also for a pending delivery: it is still dead as well if an earlier redelivery failed here.
        self.outbox().remove(DeliveryState::Dead, id).await?;
        let Some(lease) = self.outbox().acquire_lease(self.lease_length(Duration::ZERO)).await? else {
            return Ok(Outcome::Pending { last: None });
        };
        let outcome = self.attempt(delivery, &PassNotes::default()).await;
        self.outbox().release_lease(lease).await?;
        Ok(outcome?)
    }

    /// Deletes a delivery and forgets its key: the same delivery is accepted again as if it were new.
    pub async fn delete(&self, id: DeliveryId) -> Result<(), OperatorError> {
        let (_, delivery) = match self.show(id).await {
            // A record that can't be decoded can be deleted all the same.
            Err(OperatorError::Damaged) => return Ok(self.erase(id).await?),
            other => other?,
        };
        self.check_not_in_flight(&delivery)?;
        if let Some(Ok(settled)) = self.claims().own_record(&delivery).await?
            && settled.id() == id
        {
            self.claims().forget_key(&delivery).await?;
        }
        Ok(self.erase(id).await?)
    }

    async fn erase(&self, id: DeliveryId) -> Result<(), StoreError> {
        self.outbox().remove(DeliveryState::Pending, id).await?;
        self.outbox().remove(DeliveryState::Dead, id).await
    }

    fn check_not_in_flight(&self, delivery: &Delivery<'_>) -> Result<(), OperatorError> {
        if delivery.is_in_flight(self.now(), &self.settings.limits) {
            return Err(OperatorError::InFlight);
        }
        Ok(())
    }

    /// Returns the last callback that was accepted for a run and topic.
    pub async fn callback(&self, run: &RunRef, topic: &Topic) -> Result<Option<CallbackRecord>, OperatorError> {
        Ok(self.callbacks(run).await?.into_iter().rfind(|record| record.topic == *topic))
    }

    /// Returns whether a callback is still open: the engine is asked whether its run waits for it.
    pub async fn answer(&self, callback: &Callback<'_>) -> Result<Answer, OperatorError> {
        let work = Work::Resolve(callback.clone());
        let (early, first_release) = (Key::early(callback), Key::callback(callback));
        let wait = self.wait(&callback.run, &callback.topic).await;
        let wait_is_unknown = wait.is_none();
        let (task, ended) = match wait {
            Some(Wait::UnknownTopic) => return Ok(Answer::UnknownTopic),
            Some(Wait::RunEnded) => return Ok(Answer::Decided(None)),
            Some(Wait::Waiting { task }) => (Some(task), None),
            Some(Wait::Ended { task, status }) => (Some(task), Some(status)),
            Some(Wait::Ahead) | None => (None, None),
        };
        if let Some(task) = task
            && let Some(Settled::Callback(record)) = self.claims().record_of(&work, &Key::task(callback, &task)).await?
        {
            return Ok(Answer::Recorded(record));
        }
        if ended.is_none()
            && let Some(Settled::Callback(record)) = self.claims().record_of(&work, &early).await?
        {
            return Ok(Answer::Recorded(record));
        }
        if (ended.is_some() || wait_is_unknown)
            && let Some(Settled::Callback(record)) = self.claims().record_of(&work, &first_release).await?
            && record.state == State::Delivered
        {
            return Ok(Answer::Recorded(record));
        }
        Ok(ended.map_or(Answer::Open, Answer::Decided))
    }

    /// Returns all accepted callbacks of a run, in order of arrival.
    pub async fn callbacks(&self, run: &RunRef) -> Result<Vec<CallbackRecord>, OperatorError> {
        Ok(self.claims().callbacks(run).await??)
    }
}
