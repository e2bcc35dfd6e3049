//! Operations on all deliveries that match a filter.
//!
//! As for one delivery, the operation takes the drain's lease and changes each delivery by itself, or leaves a mark for
//! the drain that holds the lease. A crash between two deliveries leaves the first ones changed and the others as they
//! were; within one, it leaves the delivery both pending and dead, and it counts as pending.

use std::collections::BTreeSet;
use std::time::Duration;

use super::lease::Lease;
use super::names::KeyList;
use super::outbox::Ask;
use super::pass::ids_of;
use super::state::KeyValueStore;
use crate::delivery::{Delivery, DeliveryId, StoredError};
use crate::ports::{Clock, KeyValue, Rng, StoreError};
use crate::store::repair::{Repair, Repaired, Selection};
use crate::store::{DeliveryState, Outbox as _};
use crate::time::Timestamp;

/// What the operation knows of the store.
struct Repairs {
    repair: Repair,
    /// The lease; without it, marks are left.
    lease: Option<Lease>,
    /// When an operator has put the deliveries in doubt that were pending then.
    doubted_at: Option<Timestamp>,
    /// The deliveries for which there is a mark.
    asked: BTreeSet<DeliveryId>,
}

impl<H: KeyValue + Clock + Rng> KeyValueStore<'_, H> {
    /// Carries out an operation until `end` by the monotonic clock. `length` is the longest time that it may take.
    pub(super) async fn repair_all(
        &self,
        repair: Repair,
        selection: &Selection,
        end: Duration,
        length: Duration,
    ) -> Result<Repaired, StoreError> {
        let deliveries = self.deliveries();
        if repair == Repair::DryRun {
            let list = deliveries.list().await?;
            let repairs = Repairs { repair, lease: None, doubted_at: None, asked: BTreeSet::new() };
            return self.repair_each(&repairs, &list, selection, end).await;
        }
        let lease = deliveries.acquire_lease(length).await?;
        let mut repairs = Repairs { repair, lease, doubted_at: None, asked: BTreeSet::new() };
        let repaired = self.repair_under_lease(&mut repairs, selection, end).await;
        // Also after an error: some may be pending by now.
        let notified = self.notify().await;
        if let Some(lease) = repairs.lease {
            deliveries.release_lease(lease).await?;
        }
        let repaired = repaired?;
        notified.map(|()| repaired)
    }

    async fn repair_under_lease(
        &self,
        repairs: &mut Repairs,
        selection: &Selection,
        end: Duration,
    ) -> Result<Repaired, StoreError> {
        let deliveries = self.deliveries();
        // If this instance dies, the next drain finds what is pending by then.
        self.notify().await?;
        repairs.doubted_at = deliveries.doubted_at().await?;
        let list = deliveries.list().await?;
        repairs.asked = list.asked().into_iter().collect();
        self.repair_each(repairs, &list, selection, end).await
    }

    async fn repair_each(
        &self,
        repairs: &Repairs,
        list: &KeyList,
        selection: &Selection,
        end: Duration,
    ) -> Result<Repaired, StoreError> {
        let Selection { state, filter, after, limit } = selection;
        let mut ids = ids_of(list, *state);
        ids.retain(|id| after.is_none_or(|after| *id > after) && filter.has_time_of(*id));
        let mut repaired = Repaired::default();
        let mut last = *after;
        for id in ids {
            // Each request gets on by one delivery.
            if last != *after && (repaired.count >= *limit || self.host.monotonic() >= end) {
                repaired.next = last;
                break;
            }
            last = Some(id);
            let Some(loaded) = self.deliveries().load(*state, id).await? else { continue };
            let is_wanted = loaded.as_ref().map_or(!filter.reads_records(), |delivery| filter.matches(delivery));
            if is_wanted {
                self.repair_one(repairs, *state, id, loaded, &mut repaired).await?;
            }
        }
        Ok(repaired)
    }

    async fn repair_one(
        &self,
        repairs: &Repairs,
        state: DeliveryState,
        id: DeliveryId,
        loaded: Result<Delivery<'static>, StoredError>,
        repaired: &mut Repaired,
    ) -> Result<(), StoreError> {
        let Repairs { repair, lease, doubted_at, asked } = repairs;
        let now = self.host.now();
        let skipped = &mut repaired.skipped;
        match (&loaded, repair) {
            (Ok(delivery), _) if delivery.is_in_flight(now, &self.limits) => {
                skipped.under_way = skipped.under_way.saturating_add(1);
                return Ok(());
            }
            (Err(StoredError), Repair::Redeliver) => {
                skipped.unreadable = skipped.unreadable.saturating_add(1);
                return Ok(());
            }
            _ => {}
        }
        let ask = match repair {
            Repair::DryRun => {
                repaired.add(id, loaded, *repair);
                return Ok(());
            }
            Repair::Redeliver => Ask::Redeliver,
            Repair::Delete => Ask::Delete,
        };
        let deliveries = self.deliveries();
        let Some(lease) = lease else {
            deliveries.ask(id, ask).await?;
            repaired.deferred = repaired.deferred.saturating_add(1);
            repaired.add(id, loaded, *repair);
            return Ok(());
        };
        if !deliveries.holds(lease).await? {
            return Err(StoreError("the lease of the drain has ended during an operation: send it again".to_owned()));
        }
        match (loaded, ask) {
            (Ok(mut delivery), Ask::Redeliver) => {
                self.put_in_doubt(&mut delivery, *doubted_at);
                self.renew(state, &mut delivery).await?;
                repaired.add(id, Ok(delivery), *repair);
            }
            (loaded, _) => {
                self.delete_now(id, loaded.as_ref().ok()).await?;
                repaired.add(id, loaded, *repair);
            }
        }
        if asked.contains(&id) {
            // The last request counts.
            deliveries.answer_ask(id).await?;
        }
        Ok(())
    }
}
