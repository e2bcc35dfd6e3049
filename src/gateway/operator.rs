//! What an operator asks: which deliveries are stored, one of them, send it again, forget it; which callbacks a run got.

use super::Gateway;
use super::bring::Brought;
use super::conclude::{Concluded, noted};
use super::keys::{self, Fault};
use crate::callback::{CallbackRecord, run_hash};
use crate::claim::{Mark, lease};
use crate::delivery::{Claimed, Delivery, DeliveryId, Key, Register};
use crate::ports::{Host, KeyValue, StoreError};
use crate::reference::{RunRef, Topic};

/// Where a stored delivery is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stored {
    /// It is tried again.
    Pending,
    /// It is kept.
    Dead,
}

/// One page of deliveries.
#[derive(Debug)]
pub struct Page {
    /// In the order of their arrival; `None` for one that can't be read.
    pub deliveries: Vec<(DeliveryId, Option<Delivery<'static>>)>,
    /// The last of them, if more follow.
    pub next: Option<DeliveryId>,
}

/// Why nothing is done with a delivery.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OperatorError {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// It isn't stored.
    #[error("no such delivery is stored: it was delivered, dropped or deleted, or never came")]
    Unknown,
    /// It can't be read.
    #[error("the delivery can't be read: it is damaged, or written by a later version")]
    Damaged,
    /// It is on its way to the engine just now.
    #[error("it is on its way to the engine, and nobody knows yet what comes of it")]
    UnderWay,
}

/// What came of sending it again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Redelivered {
    /// The engine has it.
    Delivered,
    /// The same was delivered before, so it is gone.
    Dropped,
    /// It will be tried again; why not now.
    Pending(Option<String>),
    /// The engine refused it; why.
    Dead(String),
}

impl Stored {
    /// As it is shown.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Dead => "dead",
        }
    }

    pub(super) fn key(self, id: DeliveryId) -> String {
        match self {
            Self::Pending => keys::pending(id),
            Self::Dead => keys::dead(id),
        }
    }

    fn prefix(self) -> &'static str {
        match self {
            Self::Pending => keys::PENDING,
            Self::Dead => keys::DEAD,
        }
    }
}

/// What an operator has to mend, so that the engine takes anything. For `/readyz`; also says whether the store answers.
pub async fn fault(store: &impl KeyValue) -> Result<Option<Fault>, StoreError> {
    Fault::known(store).await
}

impl<O: Host> Gateway<'_, O> {
    /// Deliveries in the order of their arrival, at most `limit`, those after `after`.
    pub async fn list(&self, stored: Stored, limit: usize, after: Option<DeliveryId>) -> Result<Page, StoreError> {
        let keys = self.host.keys().await?;
        let mut ids = keys::ids(&keys, stored.prefix());
        ids.retain(|id| after.is_none_or(|after| *id > after));
        let more = ids.len() > limit;
        ids.truncate(limit);
        let mut deliveries = Vec::new();
        for id in &ids {
            // One that went meanwhile is left out.
            if let Some(delivery) = self.load(&stored.key(*id)).await? {
                deliveries.push((*id, delivery));
            }
        }
        Ok(Page { deliveries, next: ids.last().copied().filter(|_| more) })
    }

    /// A stored delivery.
    pub async fn show(&self, id: DeliveryId) -> Result<(Stored, Delivery<'static>), OperatorError> {
        for stored in [Stored::Pending, Stored::Dead] {
            if let Some(delivery) = self.load(&stored.key(id)).await? {
                return Ok((stored, delivery.ok_or(OperatorError::Damaged)?));
            }
        }
        Err(OperatorError::Unknown)
    }

    /// Sends it again, now; the limits of its life count anew.
    pub async fn redeliver(&self, id: DeliveryId) -> Result<Redelivered, OperatorError> {
        let (place, mut delivery) = self.show(id).await?;
        self.not_under_way(&delivery)?;
        delivery.renew(self.now(), &self.settings.limits);
        if place == Stored::Dead
            && let Some(claimed) = &mut delivery.key
        {
            // Its key may be another's by now.
            claimed.copy = true;
        }
        let mut stored = self.store(&delivery, None).await?;
        self.hint(std::slice::from_mut(&mut stored)).await;
        // One that is pending may be dead as well, where this failed before.
        self.host.delete(&keys::dead(id)).await?;
        let Some(lease) = lease::acquire(self.host, self.lease(std::time::Duration::ZERO)).await? else {
            return Ok(Redelivered::Pending(Some("a drain is at work, which will bring it".to_owned())));
        };
        let brought = self.bring(delivery).await;
        lease.release(self.host).await?;
        Ok(match brought? {
            Brought::Concluded(Concluded::Delivered) => Redelivered::Delivered,
            Brought::Dropped => Redelivered::Dropped,
            Brought::Concluded(Concluded::Pending(failure)) | Brought::Unanswered(failure) => {
                Redelivered::Pending(Some(failure.to_string()))
            }
            Brought::Concluded(Concluded::Rejected(failure) | Concluded::Dead(failure)) => {
                Redelivered::Dead(failure.to_string())
            }
            Brought::Unreadable => Redelivered::Pending(Some("the record of its key can't be read".to_owned())),
            // Its life counts anew, so this doesn't happen.
            Brought::Expired => Redelivered::Dead("it was tried for too long".to_owned()),
            Brought::Conflicting => Redelivered::Dead("another of its key was accepted first".to_owned()),
        })
    }

    /// Forgets it, and its key: the same may come again as if for the first time.
    pub async fn delete(&self, id: DeliveryId) -> Result<(), OperatorError> {
        let (_, delivery) = match self.show(id).await {
            // What can't be read can be deleted all the same.
            Err(OperatorError::Damaged) => return Ok(self.erase(id).await?),
            other => other?,
        };
        self.not_under_way(&delivery)?;
        if let Some(Claimed { key, window, .. }) = &delivery.key
            && let Some(done) = self.host.get(&key.register(Register::Done, *window)).await?
            && noted(&delivery.work, &done).is_some_and(|noted| noted.id == id.to_string())
        {
            self.free(&delivery).await?;
        }
        Ok(self.erase(id).await?)
    }

    async fn erase(&self, id: DeliveryId) -> Result<(), StoreError> {
        self.host.delete(&keys::pending(id)).await?;
        self.host.delete(&keys::dead(id)).await
    }

    fn not_under_way(&self, delivery: &Delivery<'_>) -> Result<(), OperatorError> {
        match delivery.is_under_way(self.now(), &self.settings.limits) {
            true => Err(OperatorError::UnderWay),
            false => Ok(()),
        }
    }

    /// The callback of a run and a topic that was accepted; one that is just being sent is in the flag.
    pub async fn recall(&self, run: &RunRef, topic: &Topic) -> Result<Option<CallbackRecord>, OperatorError> {
        let key = Key::of_callbacks(run, topic);
        for window in self.settings.retention.lookup(self.now()) {
            if let Some(bytes) = self.host.get(&key.register(Register::Done, window)).await? {
                return Ok(Some(CallbackRecord::from_bytes(&bytes).map_err(|_| OperatorError::Damaged)?));
            }
            if let Some(flag) = self.host.get(&key.register(Register::Flag, window)).await?
                && let Some(record) = Mark::from_bytes(&flag).and_then(|mark| mark.callback)
            {
                return Ok(Some(record));
            }
        }
        Ok(None)
    }

    /// All callbacks of a run that were accepted, in the order in which they came.
    pub async fn recall_all(&self, run: &RunRef) -> Result<Vec<CallbackRecord>, OperatorError> {
        let keys = self.host.keys().await?;
        let mut records = Vec::new();
        for window in self.settings.retention.lookup(self.now()) {
            let prefix = format!("sluice/callback/{window}/{}/", run_hash(run));
            for key in keys.iter().filter(|key| key.starts_with(&prefix)) {
                if let Some(bytes) = self.host.get(key).await? {
                    records.push(CallbackRecord::from_bytes(&bytes).map_err(|_| OperatorError::Damaged)?);
                }
            }
        }
        records.sort_by_key(|record| (record.received, record.id));
        Ok(records)
    }
}
