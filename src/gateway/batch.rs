//! Accepts several deliveries of one request: the events of a batch, or the workflows that one event starts.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use futures_util::future::select_all;
use http::HeaderMap;

use super::{Gateway, Receipt};
use crate::delivery::{DeliveryId, Key, Outcome, Work};
use crate::ports::Host;

/// Maximum number of deliveries of one request that are in flight.
const MAX_IN_FLIGHT: usize = 8;

/// The time after which a request takes no more of its deliveries. Platforms end a request after 30 s: one that is cut
/// off has no response, and its sender would not know what was accepted.
const TAKEN_WITHIN: Duration = Duration::from_secs(20);

/// A delivery that is being accepted: its index and its receipt.
type InFlight<'w, 'a> = Pin<Box<dyn Future<Output = (usize, Receipt<'a>)> + 'w>>;

impl<'a, H: Host> Gateway<'a, H> {
    /// Accepts deliveries, up to eight at a time, so their order at the engine is undefined. Those on `ordered` routes are
    /// stored one after the other, in the order of `works`. So are the receipts. The sender waits at most `wait` in total
    /// for the engine: a delivery whose turn comes later is stored for the drain. After `TAKEN_WITHIN`, none is taken any
    /// more.
    pub async fn accept_all<'w>(
        &'w self,
        works: Vec<(Work<'w>, Option<Key>)>,
        trace: &HeaderMap,
        wait: Duration,
    ) -> Vec<Receipt<'a>> {
        let (end, last) = (self.now().plus(wait), self.host.monotonic().saturating_add(TAKEN_WITHIN));
        let mut in_flight: Vec<InFlight<'w, 'a>> = Vec::new();
        let mut receipts: Vec<Option<Receipt<'a>>> = works.iter().map(|_| None).collect();
        let mut last_ordered = None;
        for (index, (work, key)) in works.into_iter().enumerate() {
            if work.queue().is_some()
                && let Some(before) = last_ordered.replace(index)
            {
                while receipts.get(before).is_some_and(Option::is_none) {
                    finish_one(&mut in_flight, &mut receipts).await;
                }
            }
            if in_flight.len() >= MAX_IN_FLIGHT {
                finish_one(&mut in_flight, &mut receipts).await;
            }
            let (left, trace) = (end.since(self.now()), trace.clone());
            in_flight.push(Box::pin(async move {
                let mut receipt = if self.host.monotonic() >= last {
                    Receipt::new(DeliveryId::new(self.host.arrival_time(), self.host.random()), Outcome::NotTaken)
                } else if left.is_zero() {
                    self.enqueue(work, key, trace).await
                } else {
                    self.accept_one(work, key, trace, left).await
                };
                // The response may be seconds away, and repeats would wait for it.
                if let Some(unsettled) = receipt.unsettled.take() {
                    receipt
                        .warnings
                        .extend(self.settle_late(&unsettled).await.into_iter().flat_map(|late| late.warnings));
                }
                (index, receipt)
            }));
        }
        while !in_flight.is_empty() {
            finish_one(&mut in_flight, &mut receipts).await;
        }
        let mut receipts: Vec<_> = receipts.into_iter().flatten().collect();
        self.notify_drain(&mut receipts).await;
        receipts
    }
}

/// Waits for one of the deliveries in flight, and puts its receipt in place.
async fn finish_one<'a>(in_flight: &mut Vec<InFlight<'_, 'a>>, receipts: &mut [Option<Receipt<'a>>]) {
    let ((index, receipt), position, _) = select_all(in_flight.iter_mut()).await;
    drop(in_flight.remove(position));
    if let Some(slot) = receipts.get_mut(index) {
        *slot = Some(receipt);
    }
}
