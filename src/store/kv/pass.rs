//! The outbox over the keys of deliveries, and the passes of the drain under its lease.

use std::collections::VecDeque;
use std::time::Duration;

use super::KeyValueStore;
use super::keys::{self, KeyList};
use super::lease::{Lease, Scan};
use crate::delivery::{Delivery, DeliveryId, StoredError, Work};
use crate::json;
use crate::ports::{Clock, KeyValue, Rng, StoreError};
use crate::store::page::contains;
use crate::store::{
    Begin, Begun, DeliveryState, Effect, EngineFault, Faults, Found, MAX_SCANNED, Operated, Outbox, Page, PassNote,
    Settled, Status, Taken, Twice, codec_error,
};
use crate::time::Timestamp;

/// The interval between scans of the keys without a notification.
const SCAN_INTERVAL: Duration = Duration::from_secs(15 * 60);
/// How long after a pass with a notification the keys are scanned again. On a store with stale reads, a request may
/// have found a notification that the pass had already deleted.
const SETTLE_TIME: Duration = Duration::from_secs(30);

/// A pass of the drain, which holds the lease.
#[derive(Debug)]
pub struct Pass {
    lease: Lease,
    /// Whether a notification has led to it.
    notified: bool,
    list: KeyList,
    /// The deliveries that the pass has not read yet.
    ids: VecDeque<DeliveryId>,
    /// A delivery that was read, and can't be sent yet.
    next: Option<Delivery<'static>>,
    next_due: Option<Timestamp>,
    /// Number of pending deliveries.
    pending: usize,
}

impl<H: KeyValue + Clock + Rng> Outbox for KeyValueStore<'_, H> {
    type Pass = Pass;

    async fn keep(&self, delivery: &mut Delivery<'_>, _: bool) -> Result<Effect, StoreError> {
        self.deliveries().put(delivery).await?;
        delivery.hold.is_stored = true;
        Ok(Effect::Done)
    }

    async fn promise(&self, delivery: &Delivery<'_>) -> Result<(), StoreError> {
        if delivery.claim.as_ref().is_some_and(|claim| !claim.contended) {
            self.claims().record_pending(delivery).await?;
        }
        Ok(())
    }

    async fn save(&self, delivery: &mut Delivery<'_>) -> Result<Effect, StoreError> {
        self.claims().record_pending(delivery).await?;
        self.deliveries().put(delivery).await?;
        Ok(Effect::Done)
    }

    async fn begin(&self, delivery: &mut Delivery<'_>) -> Result<Begin, StoreError> {
        self.deliveries().put(delivery).await?;
        if matches!(delivery.work, Work::Resolve(_)) && !delivery.unseen {
            self.claims().record_pending(delivery).await?;
        }
        Ok(Begin::Go)
    }

    async fn settle(&self, delivery: &Delivery<'_>, body: &[u8]) -> Result<Effect, StoreError> {
        // In this order: a drain that finds the delivery still pending finds the record as well.
        self.claims().record_delivered(delivery, body).await?;
        self.claims().release_early(delivery).await?;
        if delivery.hold.is_stored {
            self.deliveries().remove(DeliveryState::Pending, delivery.id).await?;
        }
        Ok(Effect::Done)
    }

    async fn reschedule(&self, delivery: &mut Delivery<'_>) -> Result<Effect, StoreError> {
        self.deliveries().put(delivery).await?;
        Ok(Effect::Done)
    }

    async fn bury(&self, delivery: &Delivery<'_>, forgets_key: bool) -> Result<Effect, StoreError> {
        self.deliveries().dead_letter(delivery).await?;
        if forgets_key {
            match &delivery.work {
                Work::Resolve(_) => self.claims().forget_callback(delivery).await?,
                Work::Start(_) => self.claims().forget_key(delivery).await?,
            }
        }
        self.claims().release_early(delivery).await?;
        Ok(Effect::Done)
    }

    async fn release(&self, delivery: &Delivery<'_>) -> Result<Effect, StoreError> {
        self.claims().release(delivery).await?;
        self.claims().release_early(delivery).await?;
        Ok(Effect::Done)
    }

    async fn abandon(&self, delivery: &Delivery<'_>) -> Result<Effect, StoreError> {
        self.claims().release_early(delivery).await?;
        Ok(Effect::Done)
    }

    async fn remove(&self, delivery: &Delivery<'_>) -> Result<Effect, StoreError> {
        if delivery.hold.is_stored {
            self.deliveries().remove(DeliveryState::Pending, delivery.id).await?;
        }
        self.claims().release_early(delivery).await?;
        Ok(Effect::Done)
    }

    async fn superseded(&self, delivery: &Delivery<'_>) -> Result<Option<Result<Settled, StoredError>>, StoreError> {
        let settled = self.claims().settled(delivery).await?;
        Ok(settled.filter(|settled| !settled.as_ref().is_ok_and(|settled| settled.is_pending(delivery))))
    }

    async fn notify(&self) -> Result<(), StoreError> {
        self.deliveries().ensure_notified().await
    }

    async fn begin_pass(&self, length: Duration) -> Result<Begun<Pass>, StoreError> {
        let deliveries = self.deliveries();
        let notified = deliveries.is_notified().await?;
        if !notified {
            let (scan, lease_end) = Scan::last(self.host).await?;
            if lease_end > self.host.now() {
                return Ok(Begun::Leased);
            }
            let interval = if scan.again { SETTLE_TIME } else { SCAN_INTERVAL };
            if self.host.now().since(scan.at) < interval {
                return Ok(Begun::Idle);
            }
        }
        let Some(lease) = deliveries.acquire_lease(length).await? else {
            return Ok(Begun::Leased);
        };
        let list = async {
            if notified {
                deliveries.clear_notification().await?;
            }
            let list = deliveries.list().await?;
            deliveries.undo_half_moves(&list).await?;
            Ok(list)
        };
        match list.await {
            Ok(list) => {
                let ids: VecDeque<_> = list.pending().into();
                let pending = ids.len();
                Ok(Begun::Pass(Pass { lease, notified, list, ids, next: None, next_due: None, pending }))
            }
            Err(error) => {
                let nothing = KeyList(Vec::new());
                let (ids, next, next_due) = (VecDeque::new(), None, None);
                self.abort_pass(Pass { lease, notified, list: nothing, ids, next, next_due, pending: 0 }).await;
                Err(error)
            }
        }
    }

    async fn take(
        &self,
        pass: &mut Pass,
        room: usize,
        _: &[String],
        may_take: &dyn Fn(&Delivery<'_>) -> bool,
    ) -> Result<Taken, StoreError> {
        let mut taken = Taken::default();
        while taken.deliveries.len() < room {
            let delivery = match pass.next.take() {
                Some(delivery) => delivery,
                None => match self.next_due(pass, &mut taken).await? {
                    Some(delivery) => delivery,
                    None => return Ok(taken),
                },
            };
            let is_apart = taken.deliveries.iter().all(|other| other.work.reference() != delivery.work.reference());
            if !is_apart || !may_take(&delivery) {
                pass.next = Some(delivery);
                break;
            }
            taken.deliveries.push(delivery);
        }
        taken.more = true;
        Ok(taken)
    }

    async fn sweep(&self, pass: &mut Pass, end: Duration) -> Result<bool, StoreError> {
        self.claims().sweep(&pass.list, end).await?;
        Ok(false)
    }

    async fn pending(&self, pass: &mut Pass, concluded: usize) -> Result<usize, StoreError> {
        Ok(pass.pending.saturating_sub(concluded))
    }

    async fn end_pass(&self, pass: Pass, note: PassNote) -> Result<(), StoreError> {
        if note.again {
            self.deliveries().notify().await?;
        }
        let Pass { mut lease, notified, .. } = pass;
        lease.scan = Scan { at: self.host.now(), summary: note.summary, again: notified };
        self.deliveries().release_lease(lease).await
    }

    /// Nothing to do: it is due at `next_attempt`, as it was stored.
    async fn give_back(&self, _: &mut Delivery<'_>) -> Result<Effect, StoreError> {
        Ok(Effect::Done)
    }

    async fn abort_pass(&self, pass: Pass) {
        // The notification may be deleted, with deliveries still pending. If it can't be restored, the lease is left to
        // expire, as if this drain had died; the keys are then scanned again.
        if !pass.notified || self.deliveries().notify().await.is_ok() {
            // If this fails, the lease expires too.
            let _: Result<(), StoreError> = self.deliveries().release_lease(pass.lease).await;
        }
    }

    async fn list(&self, state: DeliveryState, limit: usize, after: Option<DeliveryId>) -> Result<Page, StoreError> {
        let list = self.deliveries().list().await?;
        let mut ids = ids_of(&list, state);
        ids.retain(|id| after.is_none_or(|after| *id > after));
        let more = ids.len() > limit;
        ids.truncate(limit);
        let mut deliveries = Vec::new();
        for id in &ids {
            // Leaves out a delivery that was removed meanwhile.
            if let Some(delivery) = self.deliveries().load(state, *id).await? {
                deliveries.push((*id, delivery));
            }
        }
        Ok(Page { deliveries, next: ids.last().copied().filter(|_| more) })
    }

    async fn search(
        &self,
        state: DeliveryState,
        text: &str,
        limit: usize,
        after: Option<DeliveryId>,
    ) -> Result<Found, StoreError> {
        let list = self.deliveries().list().await?;
        let (pending, dead) = (list.pending().len(), list.dead().len());
        let mut found = Found { deliveries: Vec::new(), scanned: 0, next: None, pending, dead };
        let mut ids = ids_of(&list, state);
        ids.retain(|id| after.is_none_or(|after| *id > after));

        let wanted = text.to_ascii_lowercase();
        let mut last = None;
        for id in ids.iter().copied() {
            if found.deliveries.len() >= limit || found.scanned >= MAX_SCANNED {
                break;
            }
            (found.scanned, last) = (found.scanned.saturating_add(1), Some(id));
            let is_wanted = |delivery: &Result<Delivery<'_>, _>| {
                delivery.as_ref().map_or(wanted.is_empty(), |delivery| contains(delivery, &wanted))
            };
            // Leaves out a delivery that was removed meanwhile.
            let loaded = self.deliveries().load(state, id).await?.filter(is_wanted);
            found.deliveries.extend(loaded.map(|delivery| (id, delivery)));
        }
        found.next = last.filter(|_| found.scanned < ids.len());
        Ok(found)
    }

    async fn show(
        &self,
        id: DeliveryId,
    ) -> Result<Option<(DeliveryState, Result<Delivery<'static>, StoredError>)>, StoreError> {
        for state in [DeliveryState::Pending, DeliveryState::Dead] {
            if let Some(delivery) = self.deliveries().load(state, id).await? {
                return Ok(Some((state, delivery)));
            }
        }
        Ok(None)
    }

    async fn take_one(
        &self,
        id: DeliveryId,
        length: Duration,
    ) -> Result<Operated<(Delivery<'static>, Option<Pass>)>, StoreError> {
        let (state, mut delivery) = match self.show(id).await? {
            None => return Ok(Operated::Unknown),
            Some((_, Err(StoredError))) => return Ok(Operated::Damaged),
            Some((state, Ok(delivery))) => (state, delivery),
        };
        if delivery.is_in_flight(self.host.now(), &self.limits) {
            return Ok(Operated::InFlight);
        }
        delivery.renew(self.host.now(), &self.limits);
        if state == DeliveryState::Dead
            && let Some(claim) = &mut delivery.claim
        {
            // Another delivery may have claimed its key meanwhile.
            claim.contended = true;
        }
        self.deliveries().put(&delivery).await?;
        self.promise(&delivery).await?;
        self.notify().await?;
        // Also for a pending delivery: it is still dead as well if an earlier redelivery failed here.
        self.deliveries().remove(DeliveryState::Dead, id).await?;
        Ok(match self.deliveries().acquire_lease(length).await? {
            None => Operated::Deferred,
            Some(lease) => {
                let list = KeyList(Vec::new());
                let (ids, next, next_due) = (VecDeque::new(), None, None);
                let pass = Pass { lease, notified: false, list, ids, next, next_due, pending: 0 };
                Operated::Done((delivery, Some(pass)))
            }
        })
    }

    async fn end_one(&self, pass: Option<Pass>) -> Result<(), StoreError> {
        match pass {
            Some(pass) => self.deliveries().release_lease(pass.lease).await,
            None => Ok(()),
        }
    }

    async fn delete(&self, id: DeliveryId) -> Result<Operated<()>, StoreError> {
        match self.show(id).await? {
            None => return Ok(Operated::Unknown),
            Some((_, Ok(delivery))) if delivery.is_in_flight(self.host.now(), &self.limits) => {
                return Ok(Operated::InFlight);
            }
            Some((_, Ok(delivery))) => {
                if let Some(Ok(settled)) = self.claims().own_record(&delivery).await?
                    && settled.id() == id
                {
                    self.claims().forget_key(&delivery).await?;
                }
            }
            // A record that can't be decoded can be deleted all the same.
            Some((_, Err(StoredError))) => {}
        }
        self.deliveries().remove(DeliveryState::Pending, id).await?;
        self.deliveries().remove(DeliveryState::Dead, id).await?;
        Ok(Operated::Done(()))
    }

    async fn status(&self) -> Result<Status, StoreError> {
        let list = self.deliveries().list().await?;
        let pending = list.pending();
        let oldest = pending.first().copied();
        let oldest_delivery = match oldest {
            Some(oldest) => self.deliveries().load(DeliveryState::Pending, oldest).await?.and_then(Result::ok),
            None => None,
        };
        let (scan, _) = Scan::last(self.host).await?;
        Ok(Status {
            pending: pending.len(),
            dead: list.dead().len(),
            oldest,
            oldest_delivery,
            faults: self.faults().await?,
            drained: (scan.at > Timestamp(0)).then_some((scan.at, scan.summary)),
        })
    }

    async fn faults(&self) -> Result<Faults, StoreError> {
        let engine = self.host.get(keys::FAULT).await?.and_then(|bytes| json::read(&bytes).ok());
        let twice: Option<Twice> = self.host.get(keys::TWICE).await?.and_then(|bytes| json::read(&bytes).ok());
        Ok(Faults { engine, twice: twice.filter(|twice| twice.is_shown(self.host.now())) })
    }

    async fn record_fault(&self, reason: &str) -> Result<(), StoreError> {
        let mut fault = EngineFault { at: self.host.now(), reason: reason.to_owned() };
        let known: Option<EngineFault> = self.host.get(keys::FAULT).await?.and_then(|bytes| json::read(&bytes).ok());
        if let Some(known) = known {
            if known.reason == fault.reason {
                return Ok(());
            }
            fault.at = known.at;
        }
        self.host.set(keys::FAULT, &serde_json::to_vec(&fault).map_err(codec_error)?).await
    }

    async fn clear_fault(&self) -> Result<(), StoreError> {
        if self.host.exists(keys::FAULT).await? {
            self.host.delete(keys::FAULT).await?;
        }
        Ok(())
    }

    async fn record_twice(&self, delivery: DeliveryId, runs: Vec<String>) -> Result<(), StoreError> {
        let twice = Twice { at: self.host.now(), delivery, runs };
        self.host.set(keys::TWICE, &serde_json::to_vec(&twice).map_err(codec_error)?).await
    }
}

impl<H: KeyValue + Clock + Rng> KeyValueStore<'_, H> {
    /// Reads the next delivery of a pass that is due.
    async fn next_due(&self, pass: &mut Pass, taken: &mut Taken) -> Result<Option<Delivery<'static>>, StoreError> {
        while let Some(id) = pass.ids.pop_front() {
            let delivery = match self.deliveries().load(DeliveryState::Pending, id).await? {
                Some(Ok(delivery)) => delivery,
                Some(Err(StoredError)) => {
                    taken.unreadable.push(id);
                    continue;
                }
                // It was removed after the keys were listed.
                None => {
                    pass.pending = pass.pending.saturating_sub(1);
                    continue;
                }
            };
            let now = self.host.now();
            if delivery.next_attempt <= now || delivery.is_exhausted(now, &self.limits) {
                return Ok(Some(delivery));
            }
            pass.next_due = pass.next_due.into_iter().chain([delivery.next_attempt]).min();
        }
        Ok(None)
    }
}

fn ids_of(list: &KeyList, state: DeliveryState) -> Vec<DeliveryId> {
    match state {
        DeliveryState::Pending => list.pending(),
        DeliveryState::Dead => list.dead(),
    }
}
