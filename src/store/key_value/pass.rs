//! The outbox over the keys of deliveries, and the passes of the drain under its lease.
//!
//! A pass lists the keys, upgrades them, carries out an operator's requests, attempts the deliveries that are due, and sweeps.
//!
//! Nobody but the holder of the lease changes a stored delivery, apart from the instance that is sending it for the
//! first time. An operator's request takes the lease, or leaves a mark for its holder ([`Ask`]).

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use super::form::Form;
use super::lease::{Lease, Scan};
use super::names::{self, KeyList};
use super::outbox::{Ask, Asked};
use super::state::KeyValueStore;
use super::upgrade::{Upgrade, Upgraded};
use crate::delivery::width::Due;
use crate::delivery::{Delivery, DeliveryId, DrainLease, Filter, StoredError, Work};
use crate::json;
use crate::ports::{Clock, KeyValue, Rng, StoreError};
use crate::store::{
    Begin, Begun, DeliveryState, Doubted, Effect, EngineFault, Faults, Found, HeldQueue, MAX_SCANNED, Offer, Operated,
    Outbox, Page, PassNote, Repair, Repaired, Sample, Selection, Settled, Status, StoreHealth, Twice, WidthNotes,
    codec_error,
};
use crate::time::{MAX_CLOCK_SKEW, Timestamp};

/// How long queues are left alone during a move before a pass looks again whether they can go on.
const HELD_FOR: Duration = Duration::from_secs(5);

/// A pass of the drain, which holds the lease.
#[derive(Debug)]
pub struct Pass {
    pub(super) lease: Lease,
    /// Whether a notification has led to it.
    notified: bool,
    list: KeyList,
    /// The deliveries that the pass has not read yet.
    ids: VecDeque<DeliveryId>,
    /// Deliveries that were read and are about to be sent.
    read: BTreeMap<DeliveryId, Delivery<'static>>,
    /// The deliveries that were offered and not opened: when each is due, and its queue.
    offered: BTreeMap<DeliveryId, (Timestamp, Option<String>)>,
    /// The first delivery of each queue.
    heads: BTreeMap<String, DeliveryId>,
    /// Deliveries that have joined the end of their queues again, and when. They are offered after all others.
    requeued: Vec<(Timestamp, Due)>,
    /// Whether a delivery was found that can't be decoded.
    is_unreadable: bool,
    /// The pending deliveries that were listed.
    listed: Vec<DeliveryId>,
    /// Number of dead letters that were listed.
    dead: usize,
    /// Those of the pending ones that are gone, although the pass has not attempted them.
    gone: Vec<DeliveryId>,
    /// Number of keys that the sweep has left.
    left: Option<usize>,
    /// Number of pending deliveries.
    pending: usize,
    /// When an operator has put the deliveries in doubt that were pending then.
    doubted_at: Option<Timestamp>,
    /// The earliest time at which something else is due: an operator's request, or an upgrade that waits.
    next_due: Option<Timestamp>,
    /// Whether the next pass has something to do at once.
    pub(super) more: bool,
    /// Whether deliveries in queues are left to a later pass.
    holds_queues: bool,
}

impl Pass {
    /// A pass that has not listed the keys.
    pub(super) fn without_list(lease: Lease, notified: bool) -> Self {
        Self {
            lease,
            notified,
            list: KeyList(Vec::new()),
            ids: VecDeque::new(),
            read: BTreeMap::new(),
            offered: BTreeMap::new(),
            heads: BTreeMap::new(),
            requeued: Vec::new(),
            is_unreadable: false,
            listed: Vec::new(),
            dead: 0,
            gone: Vec::new(),
            left: None,
            pending: 0,
            doubted_at: None,
            next_due: None,
            more: false,
            holds_queues: false,
        }
    }

    /// Leaves deliveries in queues to a later pass: others that come before them are still being moved here.
    pub(in crate::store) fn hold_queues(&mut self) {
        self.holds_queues = true;
    }

    /// The earliest time at which a delivery is due that was offered and not opened. `held` are the queues whose first
    /// delivery the pass has attempted and left pending.
    fn next_due(&self, held: &[String]) -> Option<Timestamp> {
        let may_start = |id: &DeliveryId, queue: &String| match self.heads.get(queue) {
            Some(head) if self.offered.contains_key(head) => head == id,
            _ => !held.contains(queue),
        };
        let offered = self.offered.iter();
        let due = offered.filter(|(id, (_, queue))| queue.as_ref().is_none_or(|queue| may_start(id, queue)));
        due.map(|(_, (due, _))| *due).min()
    }

    /// The sample of the pass, which ends now.
    fn sample(&self, note: &PassNote, now: Timestamp) -> Sample {
        let is_left = |id: &&DeliveryId| !note.ended.contains(id) && !self.gone.contains(id);
        let oldest = self.listed.iter().find(is_left);
        let count = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
        Sample {
            at: now,
            pending: count(self.pending),
            dead: count(self.dead).saturating_add(note.failed),
            oldest: oldest.map(|id| id.at()),
            keys: Some(count(self.left.unwrap_or(self.list.0.len()))),
            delivered: note.delivered,
            failed: note.failed,
        }
    }

    /// The lease, for a delivery that is sent under it.
    fn hold(&self) -> DrainLease {
        DrainLease { token: self.lease.token.clone(), until: self.lease.until }
    }
}

impl<H: KeyValue + Clock + Rng> KeyValueStore<'_, H> {
    /// Whether the lease has ended under which a delivery was taken: another drain may have it by now.
    fn is_late(&self, delivery: &Delivery<'_>) -> bool {
        delivery.hold.lease.as_ref().is_some_and(|lease| lease.until <= self.host.now())
    }

    /// Lists the keys under the lease, upgrades them until `end`, and carries out an operator's requests.
    pub(super) async fn open_pass(&self, pass: &mut Pass, end: Timestamp) -> Result<(), StoreError> {
        let deliveries = self.deliveries();
        if pass.notified {
            deliveries.clear_notification().await?;
        }
        pass.list = deliveries.list().await?;
        match self.claims.upgrade(&pass.list, self.size.doors, end).await? {
            Upgraded::Done => {}
            Upgraded::Left(_) => {
                pass.more = true;
                pass.list = deliveries.list().await?;
            }
            Upgraded::Waits(until) => pass.next_due = Some(until),
        }
        deliveries.undo_half_moves(&pass.list).await?;
        let asked = pass.list.asked();
        for id in &asked {
            if self.host.now() >= end {
                pass.more = true;
                break;
            }
            if let Some(waits) = self.answer(*id).await? {
                pass.next_due = pass.next_due.into_iter().chain([waits]).min();
            }
        }
        if !asked.is_empty() {
            pass.list = deliveries.list().await?;
        }
        pass.listed = pass.list.pending();
        pass.ids = pass.listed.clone().into();
        pass.pending = pass.ids.len();
        pass.dead = pass.list.dead().len();
        if pass.list.0.iter().any(|name| name == names::DOUBT) {
            pass.doubted_at = deliveries.doubted_at().await?;
            if let Some(at) = pass.doubted_at
                && !pass.ids.iter().any(|id| was_pending(*id, at))
            {
                self.host.delete(names::DOUBT).await?;
            }
        }
        Ok(())
    }

    /// Notes that a delivery may have been sent, if an operator has put it in doubt. It is in doubt until it is settled, so
    /// it is looked up before each attempt.
    ///
    /// A callback whose task isn't known was not sent, and its run is looked at in any case.
    pub(super) fn put_in_doubt(&self, delivery: &mut Delivery<'_>, doubted_at: Option<Timestamp>) {
        let is_early = matches!(delivery.work, Work::Resolve(_)) && delivery.wait.is_none() && !delivery.unseen;
        let Some(at) = doubted_at.filter(|at| was_pending(delivery.id, *at) && !is_early) else { return };
        if delivery.sent.is_none_or(|sent| sent < at) {
            delivery.sent = Some(at);
            delivery.concluded = false;
            delivery.next_attempt = delivery.next_attempt.max(self.limits.engine_deadline(at));
        }
        if let Some(wait) = &mut delivery.wait {
            wait.sends = wait.sends.max(1);
        }
    }

    /// Carries out what an operator has asked for a delivery. While that is in flight, returns until when it is.
    async fn answer(&self, id: DeliveryId) -> Result<Option<Timestamp>, StoreError> {
        let deliveries = self.deliveries();
        let Some(Asked { ask, .. }) = deliveries.asked(id).await? else { return Ok(None) };
        match (self.show(id).await?, ask) {
            (Some((_, Ok(delivery))), _) if delivery.is_in_flight(self.host.now(), &self.limits) => {
                return Ok(Some(delivery.next_attempt));
            }
            (Some((_, Ok(delivery))), Ask::Delete) => self.delete_now(id, Some(&delivery)).await?,
            (Some((_, Err(StoredError))), Ask::Delete) => self.delete_now(id, None).await?,
            (Some((state, Ok(mut delivery))), Ask::Redeliver) => self.renew(state, &mut delivery).await?,
            (Some((_, Err(StoredError))), Ask::Redeliver) | (None, _) => {}
        }
        deliveries.answer_ask(id).await?;
        Ok(None)
    }

    /// Stores a delivery as pending, with its age and attempts reset.
    pub(super) async fn renew(&self, state: DeliveryState, delivery: &mut Delivery<'_>) -> Result<(), StoreError> {
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
        self.deliveries().put(delivery).await?;
        self.promise(delivery).await?;
        // Also for a pending delivery: it is still dead as well if an earlier redelivery failed here.
        self.deliveries().remove(DeliveryState::Dead, delivery.id).await
    }

    /// Deletes a delivery. Its key is released if it can be decoded.
    pub(super) async fn delete_now(&self, id: DeliveryId, delivery: Option<&Delivery<'_>>) -> Result<(), StoreError> {
        if let Some(delivery) = delivery {
            if let Some(Ok(settled)) = self.claims.own_record(delivery).await?
                && settled.id() == id
            {
                self.claims.release(delivery).await?;
            }
            self.claims.release_early(delivery).await?;
        }
        self.deliveries().remove(DeliveryState::Pending, id).await?;
        self.deliveries().remove(DeliveryState::Dead, id).await
    }

    /// Leaves an operator's request to the drain that holds the lease.
    async fn defer<T>(&self, id: DeliveryId, ask: Ask) -> Result<Operated<T>, StoreError> {
        match (self.show(id).await?, ask) {
            (None, _) => return Ok(Operated::Unknown),
            (Some((_, Err(StoredError))), Ask::Redeliver) => return Ok(Operated::Damaged),
            (Some((_, Ok(delivery))), _) if delivery.is_in_flight(self.host.now(), &self.limits) => {
                return Ok(Operated::InFlight);
            }
            _ => {}
        }
        self.deliveries().ask(id, ask).await?;
        Ok(Operated::Deferred)
    }

    /// Takes a delivery under the lease.
    async fn take_under_lease(&self, id: DeliveryId) -> Result<Operated<Delivery<'static>>, StoreError> {
        let (state, mut delivery) = match self.show(id).await? {
            None => return Ok(Operated::Unknown),
            Some((_, Err(StoredError))) => return Ok(Operated::Damaged),
            Some((state, Ok(delivery))) => (state, delivery),
        };
        self.put_in_doubt(&mut delivery, self.deliveries().doubted_at().await?);
        if delivery.is_in_flight(self.host.now(), &self.limits) {
            return Ok(Operated::InFlight);
        }
        self.renew(state, &mut delivery).await?;
        // The last request counts.
        self.deliveries().answer_ask(id).await?;
        self.notify().await?;
        Ok(Operated::Done(delivery))
    }

    /// The state of the store, with the note of the last scan. Lists all keys of a store that no drain of this version has
    /// seen to its end.
    async fn health(&self, scan: &Scan) -> Result<StoreHealth, StoreError> {
        let form = match Form::readable(self.host).await? {
            Ok(form) => form,
            Err(unusable) => return Ok(StoreHealth { unusable: Some(unusable), ..StoreHealth::default() }),
        };
        let upgrade = if form.as_ref().is_some_and(|form| form.moved) {
            None
        } else {
            Upgrade::plan(&self.deliveries().list().await?).map(|plan| plan.to_string())
        };
        let full = form.is_some_and(|form| form.full);
        Ok(StoreHealth { unusable: None, full, known_since: scan.known_since, upgrade })
    }

    /// Finds at most `limit` deliveries in a list of keys, and reads at most [`MAX_SCANNED`].
    async fn find(
        &self,
        list: &KeyList,
        state: DeliveryState,
        filter: &Filter,
        limit: usize,
        after: Option<DeliveryId>,
    ) -> Result<Page, StoreError> {
        let mut ids = ids_of(list, state);
        ids.retain(|id| after.is_none_or(|after| *id > after) && filter.has_time_of(*id));
        let mut page = Page { deliveries: Vec::new(), scanned: 0, next: None };
        let mut last = None;
        for id in ids.iter().copied() {
            if page.deliveries.len() >= limit || page.scanned >= MAX_SCANNED {
                break;
            }
            (page.scanned, last) = (page.scanned.saturating_add(1), Some(id));
            let is_wanted = |delivery: &Result<Delivery<'_>, _>| {
                delivery.as_ref().map_or(!filter.reads_records(), |delivery| filter.matches(delivery))
            };
            // Leaves out a delivery that was removed meanwhile.
            let loaded = self.deliveries().load(state, id).await?.filter(is_wanted);
            page.deliveries.extend(loaded.map(|delivery| (id, delivery)));
        }
        page.next = last.filter(|_| page.scanned < ids.len());
        Ok(page)
    }

    /// Deletes a delivery under the lease.
    async fn delete_under_lease(&self, id: DeliveryId) -> Result<Operated<()>, StoreError> {
        match self.show(id).await? {
            None => return Ok(Operated::Unknown),
            Some((_, Ok(delivery))) if delivery.is_in_flight(self.host.now(), &self.limits) => {
                return Ok(Operated::InFlight);
            }
            Some((_, Ok(delivery))) => self.delete_now(id, Some(&delivery)).await?,
            // A record that can't be decoded can be deleted all the same.
            Some((_, Err(StoredError))) => self.delete_now(id, None).await?,
        }
        Ok(Operated::Done(()))
    }
}

impl<H: KeyValue + Clock + Rng> Outbox for KeyValueStore<'_, H> {
    type Pass = Pass;

    async fn keep(&self, delivery: &mut Delivery<'_>, _: bool) -> Result<Effect, StoreError> {
        self.check_room(delivery).await?;
        self.deliveries().put(delivery).await?;
        delivery.hold.is_stored = true;
        Ok(Effect::Done)
    }

    async fn promise(&self, delivery: &Delivery<'_>) -> Result<(), StoreError> {
        if delivery.claim.as_ref().is_some_and(|claim| !claim.contended) {
            self.claims.record_pending(delivery).await?;
        }
        Ok(())
    }

    async fn save(&self, delivery: &mut Delivery<'_>) -> Result<Effect, StoreError> {
        if self.is_late(delivery) {
            return Ok(Effect::Late);
        }
        self.claims.record_pending(delivery).await?;
        self.deliveries().put(delivery).await?;
        Ok(Effect::Done)
    }

    /// Looks at what an operator has asked for and at the lease, and stores the delivery as sent. Only these writes stand
    /// between that and the send.
    async fn begin(&self, delivery: &mut Delivery<'_>) -> Result<Begin, StoreError> {
        let deliveries = self.deliveries();
        let asked = deliveries.asked(delivery.id).await?;
        if let Some(lease) = &delivery.hold.lease
            && !deliveries.holds_until(&lease.token, lease.until).await?
        {
            return Ok(Begin::Late);
        }
        match asked.map(|asked| asked.ask) {
            Some(Ask::Delete) => {
                self.delete_now(delivery.id, Some(delivery)).await?;
                deliveries.answer_ask(delivery.id).await?;
                return Ok(Begin::Deleted);
            }
            Some(Ask::Redeliver) => delivery.renew(self.host.now(), &self.limits),
            None => {}
        }
        deliveries.put(delivery).await?;
        if asked.is_some() {
            deliveries.answer_ask(delivery.id).await?;
        }
        if matches!(delivery.work, Work::Resolve(_)) && !delivery.unseen {
            self.claims.record_pending(delivery).await?;
        }
        Ok(Begin::Go)
    }

    async fn settle(&self, delivery: &Delivery<'_>, body: &[u8]) -> Result<Effect, StoreError> {
        // In this order: a drain that finds the delivery still pending finds the record as well.
        self.claims.record_delivered(delivery, body).await?;
        self.claims.release_early(delivery).await?;
        if delivery.hold.is_stored {
            self.deliveries().remove(DeliveryState::Pending, delivery.id).await?;
        }
        Ok(Effect::Done)
    }

    async fn reschedule(&self, delivery: &mut Delivery<'_>) -> Result<Effect, StoreError> {
        if self.is_late(delivery) {
            return Ok(Effect::Late);
        }
        self.deliveries().put(delivery).await?;
        Ok(Effect::Done)
    }

    async fn bury(&self, delivery: &Delivery<'_>, forgets_key: bool) -> Result<Effect, StoreError> {
        if self.is_late(delivery) {
            return Ok(Effect::Late);
        }
        self.deliveries().dead_letter(delivery).await?;
        if forgets_key {
            self.claims.release(delivery).await?;
        }
        self.claims.release_early(delivery).await?;
        Ok(Effect::Done)
    }

    async fn release(&self, delivery: &Delivery<'_>) -> Result<Effect, StoreError> {
        self.claims.release(delivery).await?;
        self.claims.release_early(delivery).await?;
        Ok(Effect::Done)
    }

    async fn abandon(&self, delivery: &Delivery<'_>) -> Result<Effect, StoreError> {
        self.claims.release_early(delivery).await?;
        Ok(Effect::Done)
    }

    async fn remove(&self, delivery: &Delivery<'_>) -> Result<Effect, StoreError> {
        if delivery.hold.is_stored {
            self.deliveries().remove(DeliveryState::Pending, delivery.id).await?;
        }
        self.claims.release_early(delivery).await?;
        Ok(Effect::Done)
    }

    async fn superseded(
        &self,
        delivery: &mut Delivery<'_>,
    ) -> Result<Option<Result<Settled, StoredError>>, StoreError> {
        let settled = self.claims.settled(delivery).await?;
        if let Some(settled) = settled.filter(|settled| !settled.as_ref().is_ok_and(|it| it.is_pending(delivery))) {
            return Ok(Some(settled));
        }
        // A callback takes the key over right before it is sent: once it has a record, it counts as the first one.
        if matches!(delivery.work, Work::Start(_)) {
            self.take_over(delivery).await?;
        }
        Ok(None)
    }

    async fn take_over(&self, delivery: &mut Delivery<'_>) -> Result<(), StoreError> {
        if let Some(until) = self.claims.take_over(delivery).await?
            && delivery.sent.is_none_or(|sent| sent < until)
        {
            delivery.begin_attempt(until, &self.limits);
        }
        Ok(())
    }

    async fn notify(&self) -> Result<(), StoreError> {
        self.deliveries().ensure_notified().await
    }

    async fn begin_pass(&self, length: Duration) -> Result<Begun<Pass>, StoreError> {
        let deliveries = self.deliveries();
        let notified = deliveries.is_notified().await?;
        if !notified {
            let (scan, lease_end) = Scan::last(self.host).await?;
            let now = self.host.now();
            if lease_end > now {
                return Ok(Begun::Leased);
            }
            if !scan.is_due(now) {
                let pending = usize::try_from(scan.pending).unwrap_or(usize::MAX);
                return Ok(Begun::Idle { pending, due: scan.next_due });
            }
        }
        let Some(lease) = deliveries.acquire_lease(length).await? else {
            return Ok(Begun::Leased);
        };
        let mut pass = Pass::without_list(lease, notified);
        let end = self.host.now().plus(length.checked_div(2).unwrap_or_default());
        match self.open_pass(&mut pass, end).await {
            Ok(()) => Ok(Begun::Pass(pass)),
            Err(error) => {
                self.abort_pass(pass).await;
                Err(error)
            }
        }
    }

    async fn offer(&self, pass: &mut Pass, room: usize, busy: &[String]) -> Result<Offer, StoreError> {
        let mut offer = Offer { more: true, ..Offer::default() };
        let mut can_start = 0_usize;
        while can_start < room {
            let Some(id) = pass.ids.pop_front() else {
                pass.requeued.sort_by_key(|(since, due)| (*since, due.id));
                for (_, due) in std::mem::take(&mut pass.requeued) {
                    if let Some((_, Some(queue))) = pass.offered.get(&due.id) {
                        pass.heads.entry(queue.clone()).or_insert(due.id);
                    }
                    offer.deliveries.push(due);
                }
                offer.more = false;
                break;
            };
            let Some(bytes) = self.host.get(&names::pending(id)).await? else {
                // It was removed after the keys were listed.
                pass.pending = pass.pending.saturating_sub(1);
                pass.gone.push(id);
                continue;
            };
            let Ok(mut delivery) = Delivery::from_bytes(&bytes) else {
                pass.is_unreadable = true;
                offer.unreadable.push(id);
                continue;
            };
            delivery.hold.lease = Some(pass.hold());
            self.put_in_doubt(&mut delivery, pass.doubted_at);
            let now = self.host.now();
            let mut due = Due::of(&delivery, bytes.len());
            if delivery.is_exhausted(now, &self.limits) {
                due.due = now;
            }
            let expires = delivery.expires(&self.limits);
            let earliest = expires.map_or(due.due, |expires| due.due.min(expires));
            let queue = delivery.work.queue().map(str::to_owned);
            if pass.holds_queues && queue.is_some() {
                let again = now.plus(HELD_FOR);
                pass.next_due = Some(pass.next_due.map_or(again, |due| due.min(again)));
                continue;
            }
            pass.offered.insert(id, (earliest, queue.clone()));
            if delivery.requeued.is_some() {
                pass.requeued.push((delivery.queued_since(), due));
                continue;
            }
            // One behind another one of its queue can't start.
            let is_first = queue.is_none_or(|queue| *pass.heads.entry(queue).or_insert(id) == id);
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
        pass.offered.remove(&id);
        if let Some(delivery) = pass.read.remove(&id) {
            return Ok(Some(Ok(delivery)));
        }
        let mut loaded = self.deliveries().load(DeliveryState::Pending, id).await?;
        match &mut loaded {
            Some(Ok(delivery)) => {
                delivery.hold.lease = Some(pass.hold());
                self.put_in_doubt(delivery, pass.doubted_at);
            }
            Some(Err(StoredError)) => pass.is_unreadable = true,
            None => {}
        }
        Ok(loaded)
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
        let note = text(self.host.get(names::WIDTH).await?);
        Ok(WidthNotes { note, refusal: text(self.host.get(names::REFUSAL).await?) })
    }

    async fn write_width(&self, note: &str) -> Result<(), StoreError> {
        self.host.set(names::WIDTH, note.as_bytes()).await
    }

    async fn write_refusal(&self, refusal: &str) -> Result<(), StoreError> {
        self.host.set(names::REFUSAL, refusal.as_bytes()).await
    }

    async fn alert_note(&self) -> Result<Option<String>, StoreError> {
        Ok(self.host.get(names::ALERT).await?.and_then(|bytes| String::from_utf8(bytes).ok()))
    }

    /// Writes it in any case: passes have the lease, so only a delivery that dies after its response can write it at the
    /// same moment, and one of the two is lost then.
    async fn replace_alert_note(&self, _: Option<&str>, note: &str) -> Result<bool, StoreError> {
        self.host.set(names::ALERT, note.as_bytes()).await?;
        Ok(true)
    }

    async fn sweep(&self, pass: &mut Pass, end: Duration) -> Result<bool, StoreError> {
        let end = self.host.now().plus(end.saturating_sub(self.host.monotonic()));
        pass.lease.scan.more = false;
        let swept = self.claims.sweep(&pass.list, self.size.max_keys, &mut pass.lease.scan, end).await;
        // Also after an error: what is left is swept by the next pass.
        pass.more |= swept.as_ref().map_or(true, |swept| swept.more);
        pass.left = swept.as_ref().ok().map(|swept| swept.left);
        swept.map(|_| pass.more)
    }

    async fn pending(&self, pass: &mut Pass, concluded: usize) -> Result<usize, StoreError> {
        pass.pending = pass.pending.saturating_sub(concluded);
        Ok(pass.pending)
    }

    fn sample(&self, pass: &Pass, note: &PassNote) -> Sample {
        pass.sample(note, self.host.now())
    }

    async fn end_pass(&self, pass: Pass, note: PassNote) -> Result<(), StoreError> {
        let offered = pass.next_due(&note.held);
        let sample = pass.sample(&note, self.host.now());
        let Pass { mut lease, notified, list, ids, is_unreadable, pending, next_due, more, .. } = pass;
        let next_due = offered.into_iter().chain(next_due).chain(note.next_due).min();
        // A delivery whose next attempt is not known is looked at by the next pass, unless that can't be decoded.
        let is_unknown = note.pending && next_due.is_none() && !is_unreadable;
        lease.scan.more = more || !ids.is_empty() || is_unknown;
        (lease.scan.at, lease.scan.summary) = (self.host.now(), note.summary);
        let next_due = next_due.into_iter().chain(note.alert_due).min();
        (lease.scan.again, lease.scan.next_due) = (notified, next_due);
        lease.scan.pending = u64::try_from(pending).unwrap_or(u64::MAX);
        let sampled = self.add_sample(&mut lease.scan, sample, &list).await;
        self.deliveries().release_lease(lease).await?;
        sampled
    }

    /// Nothing to do: it is due at `next_attempt`, as it was stored.
    async fn give_back(&self, _: &mut Delivery<'_>) -> Result<Effect, StoreError> {
        Ok(Effect::Done)
    }

    async fn abort_pass(&self, mut pass: Pass) {
        // The notification may be deleted, with deliveries still pending. If it can't be restored, the lease is left to
        // expire, as if this drain had died; the keys are then scanned again.
        if !pass.notified || self.deliveries().notify().await.is_ok() {
            pass.lease.scan.more = true;
            // If this fails, the lease expires too.
            let _: Result<(), StoreError> = self.deliveries().release_lease(pass.lease).await;
        }
    }

    async fn list(
        &self,
        state: DeliveryState,
        filter: &Filter,
        limit: usize,
        after: Option<DeliveryId>,
    ) -> Result<Page, StoreError> {
        let list = self.deliveries().list().await?;
        self.find(&list, state, filter, limit, after).await
    }

    async fn search(
        &self,
        state: DeliveryState,
        filter: &Filter,
        limit: usize,
        after: Option<DeliveryId>,
    ) -> Result<Found, StoreError> {
        let list = self.deliveries().list().await?;
        let page = self.find(&list, state, filter, limit, after).await?;
        Ok(Found { page, pending: list.pending().len(), dead: list.dead().len() })
    }

    async fn repair(
        &self,
        repair: Repair,
        selection: &Selection,
        end: Duration,
        length: Duration,
    ) -> Result<Repaired, StoreError> {
        self.repair_all(repair, selection, end, length).await
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
        if self.show(id).await?.is_none() {
            return Ok(Operated::Unknown);
        }
        let Some(lease) = self.deliveries().acquire_lease(length).await? else {
            return self.defer(id, Ask::Redeliver).await;
        };
        let pass = Pass::without_list(lease, false);
        match self.take_under_lease(id).await {
            Ok(Operated::Done(mut delivery)) => {
                delivery.hold.lease = Some(pass.hold());
                Ok(Operated::Done((delivery, Some(pass))))
            }
            ended => {
                self.end_one(Some(pass)).await?;
                Ok(ended?.map(|delivery| (delivery, None)))
            }
        }
    }

    async fn end_one(&self, pass: Option<Pass>) -> Result<(), StoreError> {
        match pass {
            Some(pass) => self.deliveries().release_lease(pass.lease).await,
            None => Ok(()),
        }
    }

    async fn delete(&self, id: DeliveryId, length: Duration) -> Result<Operated<()>, StoreError> {
        if self.show(id).await?.is_none() {
            return Ok(Operated::Unknown);
        }
        let Some(lease) = self.deliveries().acquire_lease(length).await? else {
            return self.defer(id, Ask::Delete).await;
        };
        let deleted = self.delete_under_lease(id).await;
        self.deliveries().release_lease(lease).await?;
        deleted
    }

    /// Leaves a mark, which a pass reads before it reads a delivery. All are in doubt, also those before `after`.
    async fn doubt(&self, _: Option<DeliveryId>, _: Duration) -> Result<Doubted, StoreError> {
        self.deliveries().doubt().await?;
        let (_, lease_end) = Scan::last(self.host).await?;
        let count = self.deliveries().list().await?.pending().len();
        Ok(Doubted { count, next: None, is_deferred: lease_end > self.host.now() })
    }

    async fn status(&self) -> Result<Status, StoreError> {
        let list = self.deliveries().list().await?;
        let pending = list.pending();
        let oldest = pending.first().copied();
        let oldest_delivery = match oldest {
            Some(oldest) => self.deliveries().load(DeliveryState::Pending, oldest).await?.and_then(Result::ok),
            None => None,
        };
        Ok(Status {
            pending: pending.len(),
            dead: list.dead().len(),
            oldest,
            oldest_delivery,
            faults: self.faults().await?,
        })
    }

    async fn samples(&self) -> Result<Vec<Sample>, StoreError> {
        self.all_samples().await
    }

    async fn faults(&self) -> Result<Faults, StoreError> {
        let engine = self.host.get(names::FAULT).await?.and_then(|bytes| json::read(&bytes).ok());
        let twice: Option<Twice> = self.host.get(names::TWICE).await?.and_then(|bytes| json::read(&bytes).ok());
        let mut queues = self.held_queues().await?;
        for held in std::mem::take(&mut queues) {
            if self.host.exists(&names::pending(held.delivery)).await? {
                queues.push(held);
            }
        }
        let (scan, _) = Scan::last(self.host).await?;
        let store = self.health(&scan).await?;
        let drained = (scan.at > Timestamp(0)).then_some((scan.at, scan.summary));
        Ok(Faults {
            engine,
            twice: twice.filter(|twice| twice.is_shown(self.host.now())),
            queues,
            drained,
            sample: scan.sample,
            store,
        })
    }

    async fn held_queues(&self) -> Result<Vec<HeldQueue>, StoreError> {
        let bytes = self.host.get(names::QUEUES).await?;
        Ok(bytes.and_then(|bytes| json::read(&bytes).ok()).unwrap_or_default())
    }

    async fn write_held_queues(&self, queues: &[HeldQueue]) -> Result<(), StoreError> {
        if queues.is_empty() {
            return self.host.delete(names::QUEUES).await;
        }
        self.host.set(names::QUEUES, &serde_json::to_vec(queues).map_err(codec_error)?).await
    }

    async fn record_fault(&self, reason: &str) -> Result<(), StoreError> {
        let mut fault = EngineFault { at: self.host.now(), reason: reason.to_owned() };
        let known: Option<EngineFault> = self.host.get(names::FAULT).await?.and_then(|bytes| json::read(&bytes).ok());
        if let Some(known) = known {
            if known.reason == fault.reason {
                return Ok(());
            }
            fault.at = known.at;
        }
        self.host.set(names::FAULT, &serde_json::to_vec(&fault).map_err(codec_error)?).await
    }

    async fn clear_fault(&self) -> Result<(), StoreError> {
        if self.host.exists(names::FAULT).await? {
            self.host.delete(names::FAULT).await?;
        }
        Ok(())
    }

    async fn record_twice(&self, delivery: DeliveryId, runs: Vec<String>) -> Result<(), StoreError> {
        let twice = Twice { at: self.host.now(), delivery, runs };
        self.host.set(names::TWICE, &serde_json::to_vec(&twice).map_err(codec_error)?).await
    }
}

/// Whether a delivery that is pending now was pending at a time, by the clock of any host.
fn was_pending(id: DeliveryId, at: Timestamp) -> bool {
    id.at() <= at.plus(MAX_CLOCK_SKEW)
}

/// The ids of the deliveries in a state, in order of arrival.
pub(super) fn ids_of(list: &KeyList, state: DeliveryState) -> Vec<DeliveryId> {
    match state {
        DeliveryState::Pending => list.pending(),
        DeliveryState::Dead => list.dead(),
    }
}
