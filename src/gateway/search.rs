//! Looks through stored deliveries, a bounded number at a time: a store has no other index than its keys.

use super::operator::Stored;
use super::{Gateway, keys};
use crate::delivery::{Delivery, DeliveryId, Work};
use crate::ports::{Host, StoreError};

/// Most records that are read at a time.
pub const MOST_LOOKED_AT: usize = 500;

/// What was found.
#[derive(Debug)]
pub struct Found {
    /// In the order of their arrival; `None` for one that can't be read.
    pub deliveries: Vec<(DeliveryId, Option<Delivery<'static>>)>,
    /// How many were looked at.
    pub looked_at: usize,
    /// From where to look on, if more follow.
    pub next: Option<DeliveryId>,
    /// How many are pending, and how many dead.
    pub counts: [usize; 2],
}

impl<O: Host> Gateway<'_, O> {
    /// Deliveries after `after` whose workflow, run or topic has `text` in it, at most `limit`; the case of ASCII letters
    /// doesn't matter. An empty text finds all.
    pub async fn search(
        &self,
        stored: Stored,
        text: &str,
        limit: usize,
        after: Option<DeliveryId>,
    ) -> Result<Found, StoreError> {
        let [pending, dead] = keys::stored(&self.host.keys().await?);
        let counts = [pending.len(), dead.len()];
        let mut ids = match stored {
            Stored::Pending => pending,
            Stored::Dead => dead,
        };
        ids.retain(|id| after.is_none_or(|after| *id > after));

        let wanted = text.to_ascii_lowercase();
        let (mut deliveries, mut looked_at, mut last) = (Vec::new(), 0_usize, None);
        for id in ids.iter().copied() {
            if deliveries.len() >= limit || looked_at >= MOST_LOOKED_AT {
                break;
            }
            (looked_at, last) = (looked_at.saturating_add(1), Some(id));
            match self.load(&stored.key(id)).await? {
                Some(Some(delivery)) if names(&delivery, &wanted) => deliveries.push((id, Some(delivery))),
                Some(None) if wanted.is_empty() => deliveries.push((id, None)),
                // Another, or one that went meanwhile.
                _ => {}
            }
        }
        Ok(Found { deliveries, looked_at, next: last.filter(|_| looked_at < ids.len()), counts })
    }
}

fn names(delivery: &Delivery<'_>, wanted: &str) -> bool {
    let topic = match &delivery.work {
        Work::Start(_) => "",
        Work::Resolve(callback) => callback.topic.as_str(),
    };
    [delivery.work.reference(), topic].iter().any(|name| name.to_ascii_lowercase().contains(wanted))
}
