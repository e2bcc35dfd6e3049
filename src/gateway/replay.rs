//! Keeping the payloads of delivered starts, and replaying them as new runs.

use std::time::Duration;

use http::HeaderMap;

use super::Gateway;
use crate::delivery::{Delivery, DeliveryId, Filter, Key, Start, Work};
use crate::ports::{Host, StoreError};
use crate::reference::WorkflowRef;
use crate::store::{Archive as _, Kept, MAX_SCANNED, Outbox as _};
use crate::time::ArrivalTime;

/// Number of kept starts that a dry run shows.
const MAX_SHOWN: usize = 20;

/// A replay of delivered starts.
#[derive(Clone, Debug)]
pub struct Replay {
    /// The starts that are replayed.
    pub filter: Filter,
    /// The name of the replay: under one name, a start is replayed once.
    pub name: String,
    /// The workflow that is started instead of that of the start.
    pub to: Option<WorkflowRef>,
    /// The id after which it begins.
    pub after: Option<DeliveryId>,
    /// The greatest number of starts.
    pub limit: usize,
    /// Whether starts are only counted.
    pub is_dry_run: bool,
    /// The trace context of the new deliveries.
    pub trace: HeaderMap,
}

/// The result of a replay, or of its dry run.
#[derive(Debug, Default)]
pub struct Replayed {
    /// Number of starts that match.
    pub count: usize,
    /// How many of these are new deliveries now, pending and due.
    pub replayed: usize,
    /// How many were replayed under this name before.
    pub repeated: usize,
    /// How many can't be decoded, or have just been deleted.
    pub unreadable: usize,
    /// The first starts, if it is a dry run, at most 20.
    pub first: Vec<Kept>,
    /// The id after which the next request continues, if there was no time for all, or they are more than the limit.
    pub next: Option<DeliveryId>,
}

impl<H: Host> Gateway<'_, H> {
    /// Whether the payloads of delivered starts are kept.
    pub fn keeps_payloads(&self) -> bool {
        !self.settings.keep.is_zero()
    }

    /// Keeps the payloads of deliveries that the engine has accepted, as far as they are starts; that of a replay is the
    /// payload of its original, which is kept. Returns a warning if that fails.
    pub(super) async fn keep_payloads(&self, delivered: &[&Delivery<'_>]) -> Option<String> {
        if !self.keeps_payloads() {
            return None;
        }
        let is_original = |delivery: &&&Delivery<'_>| match &delivery.work {
            Work::Start(start) => start.replay_of.is_none(),
            Work::Resolve(_) => false,
        };
        let starts: Vec<_> = delivered.iter().filter(is_original).copied().collect();
        let first = starts.first()?.id;
        let kept = self.store().keep_payloads(&starts).await;
        kept.err().map(|error| match starts.len() {
            1 => format!("the payload of delivery {first} was not kept: {error}"),
            count => format!("the payloads of {count} deliveries, the first one {first}, were not kept: {error}"),
        })
    }

    /// Replays delivered starts that match, in order of arrival, for at most `budget`: as new deliveries, pending and due
    /// now. None is sent: the drain does that, as many at a time as its width permits.
    pub async fn replay(&self, replay: &Replay, budget: Duration) -> Result<Replayed, StoreError> {
        let end = self.host.monotonic().saturating_add(budget);
        let mut replayed = Replayed::default();
        let ended = self.replay_until(replay, end, &mut replayed).await;
        if replayed.replayed > 0 {
            self.store().notify().await?;
        }
        ended.map(|()| replayed)
    }

    async fn replay_until(&self, replay: &Replay, end: Duration, replayed: &mut Replayed) -> Result<(), StoreError> {
        let (from, before) = replay.filter.ids();
        let mut after = replay.after.max(from.map(before_all));
        loop {
            let page = self.store().kept(after, before).await?;
            let is_last = page.len() < MAX_SCANNED;
            for kept in page {
                if self.host.monotonic() >= end {
                    replayed.next = after.or(Some(before_all(kept.id)));
                    return Ok(());
                }
                if replay.filter.matches_delivered(kept.id, &kept.workflow, kept.source.as_deref()) {
                    if replayed.count >= replay.limit {
                        replayed.next = after.or(Some(before_all(kept.id)));
                        return Ok(());
                    }
                    replayed.count = replayed.count.saturating_add(1);
                    after = Some(kept.id);
                    if !replay.is_dry_run {
                        self.replay_one(replay, kept.id, replayed).await?;
                    } else if replayed.first.len() < MAX_SHOWN {
                        replayed.first.push(kept);
                    }
                } else {
                    after = Some(kept.id);
                }
            }
            if is_last {
                return Ok(());
            }
        }
    }

    /// Stores a new delivery with the payload of a start.
    async fn replay_one(&self, replay: &Replay, id: DeliveryId, replayed: &mut Replayed) -> Result<(), StoreError> {
        let Some(Ok(Delivery { work: Work::Start(start), .. })) = self.store().show_kept(id).await? else {
            replayed.unreadable = replayed.unreadable.saturating_add(1);
            return Ok(());
        };
        let workflow = replay.to.clone().unwrap_or_else(|| start.workflow.clone());
        let key = Key::replay(&replay.name, id, workflow.as_str());
        let start = Start { workflow, replay_of: Some(id), ..start };
        let arrival = self.host.arrival_time();
        let new = DeliveryId::new(arrival, self.host.random());
        let mut delivery = Delivery::new(new, Work::Start(start), replay.trace.clone(), arrival.at);
        let counted = if self.store().replay(&mut delivery, key).await? {
            &mut replayed.replayed
        } else {
            &mut replayed.repeated
        };
        *counted = counted.saturating_add(1);
        Ok(())
    }
}

/// An id before that of a delivery, and after those of all that arrived in earlier milliseconds.
fn before_all(id: DeliveryId) -> DeliveryId {
    DeliveryId::new(ArrivalTime::from(id.at().minus(Duration::from_millis(1))).last_nanosecond(), u64::MAX)
}
