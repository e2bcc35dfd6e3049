//! The requests of an operator: listing, showing, redelivering and deleting stored deliveries, and showing the
//! callbacks of a run.

use std::time::Duration;

use super::look::PassNotes;
use super::{ATTEMPT_MARGIN, Gateway};
use crate::callback::{Callback, CallbackRecord, State, Status};
use crate::delivery::{Delivery, DeliveryId, Filter, Key, Outcome, StoredError, Wait, Work};
use crate::engine::Confirm;
use crate::ports::{Host, StoreError};
use crate::reference::{RunRef, Topic};
use crate::store::{
    CallbackPage, Claims as _, DeliveryState, Doubted, Effect, Found, Operated, Outbox as _, Page, Repair, Repaired,
    Selection, Settled,
};

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
    /// Lists at most `limit` deliveries after `after` that match a filter, in order of arrival. Reads at most
    /// [`MAX_SCANNED`](super::MAX_SCANNED), so a page may be short and have a next one.
    pub async fn list(
        &self,
        state: DeliveryState,
        filter: &Filter,
        limit: usize,
        after: Option<DeliveryId>,
    ) -> Result<Page, StoreError> {
        self.store().list(state, filter, limit, after).await
    }

    /// [`list`](Self::list), with the number of all deliveries.
    pub async fn search(
        &self,
        state: DeliveryState,
        filter: &Filter,
        limit: usize,
        after: Option<DeliveryId>,
    ) -> Result<Found, StoreError> {
        self.store().search(state, filter, limit, after).await
    }

    /// Redelivers or deletes all deliveries of a selection, or counts them, for at most `budget`. A redelivery doesn't
    /// send: the deliveries are pending and due now, and the drain sends as many at a time as its width permits.
    pub async fn repair(
        &self,
        repair: Repair,
        selection: &Selection,
        budget: Duration,
    ) -> Result<Repaired, StoreError> {
        let end = self.host.monotonic().saturating_add(budget);
        self.store().repair(repair, selection, end, budget.saturating_add(ATTEMPT_MARGIN)).await
    }

    /// Reads a stored delivery.
    pub async fn show(&self, id: DeliveryId) -> Result<(DeliveryState, Delivery<'static>), OperatorError> {
        let (state, delivery) = self.store().show(id).await?.ok_or(OperatorError::Unknown)?;
        Ok((state, delivery?))
    }

    /// Attempts a delivery now, with its age and attempts reset. If a drain is at work that has to do it, the result is
    /// [`Outcome::Pending`] without a verdict. So it is for one in a queue, which waits for its turn there; a dead letter
    /// joins the end.
    pub async fn redeliver(&self, id: DeliveryId) -> Result<Outcome, OperatorError> {
        let taken = self.store().take_one(id, self.attempt_length()).await?;
        if let Operated::Superseded { is_repeat } = taken {
            let reused = Outcome::KeyReused { at: self.now() };
            return Ok(if is_repeat { Outcome::Duplicate { body: None } } else { reused });
        }
        let Some((mut delivery, pass)) = done(taken)? else { return Ok(Outcome::Pending { last: None }) };
        if delivery.work.queue().is_some() {
            let effect = self.store().reschedule(&mut delivery).await?;
            self.store().end_one(pass).await?;
            return Ok(if effect == Effect::Late { Outcome::TakenOver } else { Outcome::Pending { last: None } });
        }
        let outcome = self.attempt(&mut delivery, &PassNotes::default()).await;
        self.store().end_one(pass).await?;
        Ok(outcome?)
    }

    /// Deletes a delivery and forgets its key: the same delivery is accepted again as if it were new. Returns whether it
    /// is deleted; if not, a drain is at work that has to do it.
    pub async fn delete(&self, id: DeliveryId) -> Result<bool, OperatorError> {
        Ok(done(self.store().delete(id, self.attempt_length()).await?)?.is_some())
    }

    /// Treats the deliveries after `after` that are pending now as maybe sent: an operator says that the store may have
    /// lost what became of them, after a fail-over or a restore. Takes at most `budget`.
    pub async fn doubt(&self, after: Option<DeliveryId>, budget: Duration) -> Result<Doubted, StoreError> {
        self.store().doubt(after, self.host.monotonic().saturating_add(budget)).await
    }

    /// Returns the last callback that was accepted for a run and topic.
    pub async fn callback(&self, run: &RunRef, topic: &Topic) -> Result<Option<CallbackRecord>, OperatorError> {
        let page = self.store().callbacks(run, Some(topic), usize::MAX, None).await??;
        Ok(page.records.into_iter().next_back())
    }

    /// Returns a page of the accepted callbacks of a run: at least `limit`, unless these are all.
    pub async fn callbacks(
        &self,
        run: &RunRef,
        limit: usize,
        after: Option<&str>,
    ) -> Result<CallbackPage, OperatorError> {
        Ok(self.store().callbacks(run, None, limit, after).await??)
    }

    /// Returns whether a callback is still open: the engine is asked whether its run waits for it.
    pub async fn answer(&self, callback: &Callback<'_>) -> Result<Answer, OperatorError> {
        let work = Work::Resolve(callback.clone());
        let (early, first_release) = (Key::early(callback), Key::callback(callback));
        let wait = self.wait(callback).await;
        let wait_is_unknown = wait.is_none();
        let (task, ended) = match wait {
            Some(Wait::UnknownTopic) => return Ok(Answer::UnknownTopic),
            Some(Wait::RunEnded) => return Ok(Answer::Decided(None)),
            Some(Wait::Waiting { task }) => (Some(task), None),
            Some(Wait::Ended { task, status }) => (Some(task), Some(status)),
            Some(Wait::Ahead) | None => (None, None),
        };
        // Without looks, the topic stands for the task.
        let by_answer = self.settings.engine.confirm() == Confirm::Answer;
        let task = task.or_else(|| by_answer.then(|| callback.topic.as_str().to_owned()));
        let task = task.map(|task| Key::task(callback, &task));
        let early = Some(early).filter(|_| ended.is_none());
        let first_release = Some(first_release).filter(|_| ended.is_some() || wait_is_unknown);
        let keys: Vec<Key> = task.into_iter().chain(early).chain(first_release).collect();
        if let Some((position, Settled::Callback(record))) = self.store().first_record(&work, &keys).await?
            && (record.state == State::Delivered || !keys.get(position).is_some_and(Key::is_of_first_release))
        {
            return Ok(Answer::Recorded(record));
        }
        Ok(ended.map_or(Answer::Open, Answer::Decided))
    }
}

/// Returns the result of an operation that was carried out; `None` if a drain carries it out.
fn done<T>(operated: Operated<T>) -> Result<Option<T>, OperatorError> {
    match operated {
        Operated::Done(done) => Ok(Some(done)),
        Operated::Deferred | Operated::Superseded { .. } => Ok(None),
        Operated::InFlight => Err(OperatorError::InFlight),
        Operated::Unknown => Err(OperatorError::Unknown),
        Operated::Damaged => Err(OperatorError::Damaged),
    }
}
