//! The store's claims: those of `claim.rs` and `outcome.rs`, for a delivery that says which key it has.

use std::time::Duration;

use super::claim::{Claim as Contest, Claims as KeyClaims, Won};
use super::outbox::Outbox as Records;
use crate::delivery::{Delivery, DeliveryId, Key, KeyClaim, Limits, StoredError, Work};
use crate::ports::{Clock, KeyValue, Rng, StoreError};
use crate::reference::{RunRef, Topic};
use crate::store::{CallbackPage, Claim, Claims, Holder, Joined, RunRecord, SEND_WITHIN, Settled, StoreSize};
use crate::time::Retention;

/// A key-value store. Made for one request or one pass, because it remembers the form of the store.
#[derive(Debug)]
pub(in crate::store) struct KeyValueStore<'a, H> {
    pub(super) host: &'a H,
    pub(super) claims: KeyClaims<'a, H>,
    pub(super) size: StoreSize,
    pub(super) limits: Limits,
    pub(super) callback_retention: Retention,
}

impl<'a, H> KeyValueStore<'a, H> {
    /// A host's store, with the retention of starts and of callbacks.
    pub(in crate::store) fn new(
        host: &'a H,
        [starts, callbacks]: [Retention; 2],
        limits: Limits,
        size: StoreSize,
    ) -> Self {
        let claims = KeyClaims::new(host, starts, size.doors).with_callback_retention(callbacks);
        Self { host, claims, size, limits, callback_retention: callbacks }
    }

    pub(super) fn deliveries(&self) -> Records<'a, H> {
        Records::new(self.host)
    }
}

impl<H: KeyValue + Clock + Rng> KeyValueStore<'_, H> {
    async fn contend(&self, delivery: &mut Delivery<'_>, key: Key, patience: Duration) -> Result<Claim, StoreError> {
        let (claim, window) = match self.claims.claim(delivery, &key, patience).await? {
            Contest::Settled(settled) => return Ok(Claim::Settled(settled)),
            Contest::Won(Won { window, until }) => {
                delivery.hold.until = Some(until);
                (Claim::Won, window)
            }
            Contest::Contended { window } => (Claim::Contended(None), window),
        };
        let contended = matches!(claim, Claim::Contended(_));
        delivery.claim = Some(KeyClaim { key, window, contended });
        Ok(claim)
    }

    /// Returns an error if a delivery without a key can't be stored, because the store is full. One with a key was
    /// checked when it claimed that.
    pub(super) async fn check_room(&self, delivery: &Delivery<'_>) -> Result<(), StoreError> {
        if delivery.claim.is_some() || delivery.hold.is_stored {
            return Ok(());
        }
        self.claims.form().await?.check_room()
    }
}

impl<H: KeyValue + Clock + Rng> Claims for KeyValueStore<'_, H> {
    async fn claim(&self, delivery: &mut Delivery<'_>, key: Key, patience: Duration) -> Result<Claim, StoreError> {
        self.contend(delivery, key, patience).await
    }

    async fn claim_early(
        &self,
        delivery: &mut Delivery<'_>,
        early: Key,
        patience: Duration,
    ) -> Result<Claim, StoreError> {
        let claim = self.contend(delivery, early, patience).await?;
        if matches!(claim, Claim::Won) {
            delivery.early_window = delivery.claim.as_ref().map(|claim| claim.window);
        }
        Ok(claim)
    }

    async fn claim_task(
        &self,
        delivery: &mut Delivery<'_>,
        task: Key,
        early: Key,
        patience: Duration,
    ) -> Result<Claim, StoreError> {
        if delivery.early_window.is_none()
            && let Some(first) = self.claims.record_of(&delivery.work, &early).await?
            && first.id() != delivery.id
        {
            return Ok(Claim::Settled(first));
        }
        match self.contend(delivery, task.clone(), patience).await? {
            // It holds the task already.
            Claim::Settled(settled) if settled.id() == delivery.id => {
                let window = self.callback_retention.window(self.host.now());
                delivery.claim = Some(KeyClaim { key: task, window, contended: true });
                Ok(Claim::Contended(None))
            }
            claim => Ok(claim),
        }
    }

    async fn join(&self, delivery: &mut Delivery<'_>, _: &Key, _: Option<DeliveryId>) -> Result<Joined, StoreError> {
        if let Some(claim) = &mut delivery.claim {
            claim.contended = true;
        }
        let is_early = matches!(delivery.work, Work::Resolve(_)) && delivery.wait.is_none();
        if !is_early {
            // Marked as sent at the latest time at which the winner may have sent its own delivery.
            delivery.begin_attempt(self.host.now().plus(SEND_WITHIN), &self.limits);
        }
        self.deliveries().put(delivery).await?;
        delivery.hold.is_stored = true;
        Ok(Joined::Stored)
    }

    async fn first_record(&self, work: &Work<'_>, keys: &[Key]) -> Result<Option<(usize, Settled)>, StoreError> {
        for (position, key) in keys.iter().enumerate() {
            if let Some(settled) = self.claims.record_of(work, key).await? {
                return Ok(Some((position, settled)));
            }
        }
        Ok(None)
    }

    async fn holder(&self, key: &Key) -> Result<Option<Holder>, StoreError> {
        self.claims.holder(key).await
    }

    async fn settle_holder(&self, key: &Key, holder: Holder) -> Result<Settled, StoreError> {
        self.claims.settle_holder(key, holder).await
    }

    async fn callbacks(
        &self,
        run: &RunRef,
        topic: Option<&Topic>,
        limit: usize,
        after: Option<&str>,
    ) -> Result<Result<CallbackPage, StoredError>, StoreError> {
        self.claims.callbacks(run, topic, limit, after).await
    }

    async fn run(&self, run: &str) -> Result<Option<RunRecord>, StoreError> {
        self.claims.run(run).await
    }

    async fn record_run(&self, run: &str, record: &RunRecord) -> Result<(), StoreError> {
        self.claims.record_run(run, record).await
    }
}
