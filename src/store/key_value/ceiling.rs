//! The ceiling: above `max_keys`, the sweep drops the oldest outcomes, so a list of all keys always fits.
//!
//! Outcomes of the previous window go before those of the present one. Within a window, names are in the order of
//! hashes, and only the value knows its age. So the sweep estimates an age from a sample, walks on from where it stopped
//! the last time, and drops older outcomes. If few of many have to go, it takes the age of the oldest tenth: it would have
//! to read nearly all outcomes to find the very oldest, and so it reads about ten for each that it drops.
//!
//! Deliveries that are pending or dead are never dropped, nor are their outcomes. Nor is an outcome younger than
//! [`LONGEST_STALL`]: contenders of its claim may still be under way. For the same reason, a release is only dropped if
//! its term has no register.

use super::LONGEST_STALL;
use super::claim::Claims;
use super::lease::Scan;
use super::names::{Name, Register, Round};
use super::outcome::Trace;
use super::sweep::{Swept, remove_at};
use crate::delivery::DeliveryId;
use crate::ports::{Clock, KeyValue, Rng, StoreError};
use crate::time::{MAX_CLOCK_SKEW, Timestamp};

/// The number of outcomes in a sample.
const SAMPLE: usize = 256;

/// At least one in this many is old enough to be dropped.
const SHARE: usize = 10;

impl<H: KeyValue + Clock + Rng> Claims<'_, H> {
    /// Drops the oldest outcomes until at most `max_keys` keys are left. Costs up to 256 reads, and then about 10 reads
    /// and 1 write for each outcome that is dropped; nothing below the ceiling.
    pub(super) async fn keep_ceiling(
        &self,
        left: &mut Vec<&str>,
        stored: &[DeliveryId],
        max_keys: usize,
        scan: &mut Scan,
        swept: &mut Swept,
        end: Timestamp,
    ) -> Result<(), StoreError> {
        let mut excess = left.len().saturating_sub(max_keys);
        if excess == 0 {
            scan.cursor = None;
            return Ok(());
        }
        left.sort_unstable();
        let present = self.present();
        let is_outcome = |name: &Name<'_>| matches!(name, Name::Outcome(..) | Name::Run(_));
        let mut gone = Vec::new();
        for previous in [true, false] {
            let mut candidates: Vec<usize> = Vec::new();
            for (nth, name) in left.iter().enumerate() {
                let name = Name::parse(name);
                if is_outcome(&name) && present.is_previous(&name) == previous {
                    candidates.push(nth);
                }
            }
            let all_go = previous && candidates.len() <= excess;
            let newest = self.host.now().0.saturating_sub(u64::try_from(LONGEST_STALL.as_millis()).unwrap_or(u64::MAX));
            let before = if all_go {
                Timestamp(newest)
            } else {
                self.threshold(left, &candidates, excess).await?.min(Timestamp(newest))
            };
            let begin = scan.cursor.as_deref().map_or(0, |cursor| {
                candidates.partition_point(|nth| left.get(*nth).is_some_and(|name| *name <= cursor))
            });
            let (first, last) = candidates.split_at_checked(begin).unwrap_or((&candidates, &[]));
            for nth in last.iter().chain(first) {
                let Some(name) = left.get(*nth).filter(|_| excess > 0) else { break };
                if self.host.now() >= end {
                    swept.more = true;
                    break;
                }
                scan.cursor = Some((*name).to_owned());
                if let Some(at) = self.droppable(name, stored, before).await?
                    && self.delete(name, swept, end).await?
                {
                    swept.dropped = swept.dropped.saturating_add(1);
                    excess = excess.saturating_sub(1);
                    gone.push(*nth);
                    let known_since = if all_go { at.plus(std::time::Duration::from_millis(1)) } else { before };
                    scan.known_since = scan.known_since.max(Some(known_since));
                }
            }
            if excess == 0 || swept.more {
                break;
            }
        }
        gone.sort_unstable();
        remove_at(left, &gone);
        Ok(())
    }

    /// Estimates the time before which the oldest of these outcomes were recorded: more than have to go, and at least a
    /// tenth.
    async fn threshold(&self, left: &[&str], candidates: &[usize], excess: usize) -> Result<Timestamp, StoreError> {
        // Half as much again, since it is an estimate.
        let share = excess.saturating_add(excess.div_ceil(2)).max(candidates.len().div_ceil(SHARE));
        let step = candidates.len().div_ceil(SAMPLE).max(1);
        let mut times = Vec::with_capacity(SAMPLE);
        for nth in candidates.iter().step_by(step) {
            let Some(name) = left.get(*nth) else { continue };
            times.extend(self.recorded_at(name).await?);
        }
        times.sort_unstable();
        let position = times.len().saturating_mul(share).checked_div(candidates.len()).unwrap_or_default();
        // The first that stays, of this share of the sample.
        Ok(times.get(position).or(times.last()).map_or(Timestamp(0), |at| at.plus(std::time::Duration::from_millis(1))))
    }

    async fn recorded_at(&self, name: &str) -> Result<Option<Timestamp>, StoreError> {
        Ok(self.trace(name).await?.map(|trace| trace.at))
    }

    /// Reads an outcome. The record of a run tells no time, and is as old as its window.
    async fn trace(&self, name: &str) -> Result<Option<Trace>, StoreError> {
        match Name::parse(name) {
            Name::Outcome(_, short) => {
                let bytes = self.host.get(name).await?;
                Ok(bytes.and_then(|bytes| Trace::from_bytes(&bytes, short.contains(':'))))
            }
            Name::Run(window) => {
                let length = u64::try_from(self.callback_retention.length().as_millis()).unwrap_or(u64::MAX);
                Ok(Some(Trace { at: Timestamp(window.saturating_mul(length)), term: None, pending: None }))
            }
            _ => Ok(None),
        }
    }

    /// Returns when an outcome was recorded, if it may be dropped: it is older than `before`, and nothing that is stored
    /// or under way depends on it. One that can't be decoded stays.
    async fn droppable(
        &self,
        name: &str,
        stored: &[DeliveryId],
        before: Timestamp,
    ) -> Result<Option<Timestamp>, StoreError> {
        let Some(trace) = self.trace(name).await? else { return Ok(None) };
        let is_old = trace.at < before || trace.at > self.host.now().plus(MAX_CLOCK_SKEW);
        if !is_old || trace.pending.is_some_and(|id| stored.binary_search(&id).is_ok()) {
            return Ok(None);
        }
        if let (Some(term), Name::Outcome(window, short)) = (trace.term, Name::parse(name)) {
            let round = Round { window, short: short.to_owned(), term, number: 0 };
            if self.host.exists(&Register::Mark.of(&round)).await? {
                return Ok(None);
            }
        }
        Ok(Some(trace.at))
    }
}
