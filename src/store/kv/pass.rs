//! The outbox over the keys of deliveries, and the passes of the drain under its lease.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use super::KeyValueStore;
use super::keys::{self, KeyList};
use super::lease::{Lease, Scan};
use crate::delivery::width::Due;
use crate::delivery::{Delivery, DeliveryId, StoredError, Work};
use crate::json;
use crate::ports::{Clock, KeyValue, Rng, StoreError};
use crate::store::page::contains;
use crate::store::{
    Begin, Begun, DeliveryState, Effect, EngineFault, Faults, Found, HeldQueue, MAX_SCANNED, Offer, Operated, Outbox,
    Page, PassNote, Settled, Status, Twice, WidthNotes, codec_error,
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
    /// Deliveries that were read and are about to be sent.
    read: BTreeMap<DeliveryId, Delivery<'static>>,
    /// The queues of which a delivery was read.
    queues: BTreeSet<String>,
    /// Deliveries that have joined the end of their queues again. They are offered after all others.
    requeued: Vec<Due>,
    /// Number of pending deliveries.
    pending: usize,
}

impl Pass {
    /// A pass that has not listed the keys.
    fn without_list(lease: Lease, notified: bool) -> Self {
        let (list, ids, read) = (KeyList(Vec::new()), VecDeque::new(), BTreeMap::new());
        Self { lease, notified, list, ids, read, queues: BTreeSet::new(), requeued: Vec::new(), pending: 0 }
    }
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
                Ok(Begun::Pass(Pass { list, ids, pending, ..Pass::without_list(lease, notified) }))
            }
            Err(error) => {
                self.abort_pass(Pass::without_list(lease, notified)).await;
                Err(error)
            }
        }
    }

    async fn offer(&self, pass: &mut Pass, room: usize, busy: &[String]) -> Result<Offer, StoreError> {
        let mut offer = Offer { more: true, ..Offer::default() };
        let mut can_start = 0_usize;
        while can_start < room {
            let Some(id) = pass.ids.pop_front() else {
                offer.deliveries.append(&mut pass.requeued);
                offer.more = false;
                break;
            };
            let Some(bytes) = self.host.get(&keys::pending(id)).await? else {
                // It was removed after the keys were listed.
                pass.pending = pass.pending.saturating_sub(1);
                continue;
            };
            let Ok(delivery) = Delivery::from_bytes(&bytes) else {
                offer.unreadable.push(id);
                continue;
            };
            let now = self.host.now();
            let mut due = Due::of(&delivery, bytes.len());
            if delivery.is_exhausted(now, &self.limits) {
                due.due = now;
            }
            if delivery.requeued.is_some() {
                pass.requeued.push(due);
                continue;
            }
            // One behind another one of its queue can't start.
            let is_first = delivery.work.queue().is_none_or(|queue| pass.queues.insert(queue.to_owned()));
            if is_first && due.due <= now && busy.iter().all(|reference| reference != delivery.work.reference()) {
                can_start = can_start.saturating_add(1);
                pass.read.insert(id, delivery);
            }
            offer.deliveries.push(due);
        }
        Ok(offer)
    }

    async fn open(
        &self,
        pass: &mut Pass,
        id: DeliveryId,
    ) -> Result<Option<Result<Delivery<'static>, StoredError>>, StoreError> {
        if let Some(delivery) = pass.read.remove(&id) {
            return Ok(Some(Ok(delivery)));
        }
        self.deliveries().load(DeliveryState::Pending, id).await
    }

    async fn give_back_all(&self, _: &mut Pass, _: Vec<DeliveryId>) -> Result<(), StoreError> {
        Ok(())
    }

    fn has_other_passes(&self) -> bool {
        false
    }

    async fn settle_all(&self, settled: &[(&Delivery<'_>, &[u8])]) -> Result<Vec<Effect>, StoreError> {
        let mut effects = Vec::new();
        for (delivery, body) in settled {
            effects.push(self.settle(delivery, body).await?);
        }
        Ok(effects)
    }

    async fn width_notes(&self) -> Result<WidthNotes, StoreError> {
        let text = |bytes: Option<Vec<u8>>| bytes.and_then(|bytes| String::from_utf8(bytes).ok());
        let note = text(self.host.get(keys::WIDTH).await?);
        Ok(WidthNotes { note, refusal: text(self.host.get(keys::REFUSAL).await?) })
    }

    async fn write_width(&self, note: &str) -> Result<(), StoreError> {
        self.host.set(keys::WIDTH, note.as_bytes()).await
    }

    async fn write_refusal(&self, refusal: &str) -> Result<(), StoreError> {
        self.host.set(keys::REFUSAL, refusal.as_bytes()).await
    }

    async fn sweep(&self, pass: &mut Pass, end: Duration) -> Result<bool, StoreError> {
        self.claims().sweep(&pass.list, end).await?;
        Ok(false)
    }

    async fn pending(&self, pass: &mut Pass, concluded: usize) -> Result<usize, StoreError> {
        Ok(pass.pending.saturating_sub(concluded))
    }

    async fn end_pass(&self, pass: Pass, note: PassNote) -> Result<(), StoreError> {
        if note.pending {
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
        if state == DeliveryState::Dead && delivery.work.queue().is_some() {
            delivery.requeued = Some(self.host.now());
        }
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
            Some(lease) => Operated::Done((delivery, Some(Pass::without_list(lease, false)))),
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
        let mut queues = self.held_queues().await?;
        for held in std::mem::take(&mut queues) {
            if self.host.exists(&keys::pending(held.delivery)).await? {
                queues.push(held);
            }
        }
        Ok(Faults { engine, twice: twice.filter(|twice| twice.is_shown(self.host.now())), queues })
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

    async fn held_queues(&self) -> Result<Vec<HeldQueue>, StoreError> {
        let bytes = self.host.get(keys::QUEUES).await?;
        Ok(bytes.and_then(|bytes| json::read(&bytes).ok()).unwrap_or_default())
    }

    async fn write_held_queues(&self, queues: &[HeldQueue]) -> Result<(), StoreError> {
        if queues.is_empty() {
            return self.host.delete(keys::QUEUES).await;
        }
        self.host.set(keys::QUEUES, &serde_json::to_vec(queues).map_err(codec_error)?).await
    }

    async fn record_twice(&self, delivery: DeliveryId, runs: Vec<String>) -> Result<(), StoreError> {
        let twice = Twice { at: self.host.now(), delivery, runs };
        self.host.set(keys::TWICE, &serde_json::to_vec(&twice).map_err(codec_error)?).await
    }
}

fn ids_of(list: &KeyList, state: DeliveryState) -> Vec<DeliveryId> {
    match state {
        DeliveryState::Pending => list.pending(),
        DeliveryState::Dead => list.dead(),
    }
}
