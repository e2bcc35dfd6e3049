//! Operations on all deliveries that match a filter.
//!
//! [`SEARCH`](super::SEARCH) finds a page of them. Each is then changed by itself, with the statements of an operator's
//! request for one delivery: [`TAKE_ONE`](super::TAKE_ONE) and [`RESCHEDULE`](super::RESCHEDULE), or
//! [`DELETE`](super::DELETE). So a key that another delivery has taken meanwhile, and the lease of a holder, are
//! respected by the same rules, and a crash leaves at most one delivery taken: a drain takes it over once its lease has
//! run out.

use std::time::Duration;

use super::PostgresStore;
use crate::delivery::{Delivery, DeliveryId, StoredError};
use crate::ports::{Clock, Rng, Sql, StoreError};
use crate::store::repair::{Repair, Repaired, Selection};
use crate::store::{DeliveryState, Effect, Operated, Outbox as _};

/// Number of deliveries that one statement reads.
const READ_AT_ONCE: usize = 50;

impl<H: Sql + Clock + Rng> PostgresStore<'_, H> {
    /// Carries out an operation until `end` by the monotonic clock.
    pub(super) async fn repair_all(
        &self,
        repair: Repair,
        selection: &Selection,
        end: Duration,
    ) -> Result<Repaired, StoreError> {
        let Selection { state, filter, limit, .. } = selection;
        let mut repaired = Repaired::default();
        let mut after = selection.after;
        // Each request gets on by one delivery.
        let is_over = |after: Option<DeliveryId>| after != selection.after && self.host.monotonic() >= end;
        loop {
            let room = limit.saturating_sub(repaired.count).min(READ_AT_ONCE);
            if room == 0 || is_over(after) {
                repaired.next = after;
                return Ok(repaired);
            }
            let page = self.find_page(*state, filter, room, after).await?;
            for (id, delivery) in page.deliveries {
                if is_over(after) {
                    repaired.next = after;
                    return Ok(repaired);
                }
                self.repair_one(repair, *state, id, delivery, &mut repaired).await?;
                after = Some(id);
            }
            let Some(next) = page.next else { return Ok(repaired) };
            after = Some(next);
        }
    }

    async fn repair_one(
        &self,
        repair: Repair,
        state: DeliveryState,
        id: DeliveryId,
        delivery: Result<Delivery<'static>, StoredError>,
        repaired: &mut Repaired,
    ) -> Result<(), StoreError> {
        let is_in_flight = |delivery: &Delivery<'_>| delivery.is_in_flight(self.host.now(), &self.limits);
        let operated = match repair {
            Repair::DryRun if delivery.as_ref().is_ok_and(is_in_flight) => Operated::InFlight,
            Repair::DryRun => Operated::Done(()),
            Repair::Redeliver if delivery.is_err() => Operated::Damaged,
            Repair::Redeliver => {
                let taken = match state {
                    DeliveryState::Dead => self.take_now(id, true).await?,
                    // It may be dead by now.
                    DeliveryState::Pending => self.take_one(id, Duration::ZERO).await?.map(|(delivery, _)| delivery),
                };
                match taken {
                    Operated::Done(mut delivery) => match self.reschedule(&mut delivery).await? {
                        Effect::Done => Operated::Done(()),
                        Effect::Late => Operated::InFlight,
                    },
                    other => other.map(drop),
                }
            }
            Repair::Delete => self.delete(id, Duration::ZERO).await?,
        };
        let skipped = &mut repaired.skipped;
        let reason = match operated {
            Operated::Done(()) | Operated::Deferred => {
                repaired.add(id, delivery, repair);
                return Ok(());
            }
            Operated::Unknown => return Ok(()),
            Operated::InFlight => &mut skipped.under_way,
            Operated::Superseded { is_repeat: true } => &mut skipped.repeated,
            Operated::Superseded { is_repeat: false } => &mut skipped.superseded,
            Operated::Damaged => &mut skipped.unreadable,
        };
        *reason = reason.saturating_add(1);
        Ok(())
    }
}
