//! The sweep: deletes what no claim reads any more.
//!
//! 1. The keys of expired retention windows, which it recognizes by their names.
//! 2. Of a key that was delivered more than a minute ago, the registers of the claim: one key remains. Of a start that
//!    has been pending for [`LONGEST_STALL`], the same, and of a key that was released as long ago, those of earlier
//!    terms.
//! 3. An operator's requests for deliveries that are no longer stored.
//! 4. Once a day, notes about sources that were not written for 30 days (`source_note.rs`).
//! 5. At the ceiling, the oldest outcomes (`ceiling.rs`).

use std::time::Duration;

use super::LONGEST_STALL;
use super::claim::Claims;
use super::form::Form;
use super::lease::{SCAN_INTERVAL, Scan};
use super::names::{self, KeyList, Name};
use super::outcome::Trace;
use crate::ports::{Clock, KeyValue, Rng, StoreError};
use crate::time::Timestamp;

/// How long after the delivery of a key the registers of its claim are kept. They may go at any time: a contender that
/// is still under way finds the outcome once it has won. Until then they answer a contender sooner.
const FINAL_AGE: Duration = Duration::from_secs(60);

/// The time between two sweeps, for each key that is left: as long as a slow store takes to list them, a hundred times
/// over.
const INTERVAL_PER_KEY: Duration = Duration::from_millis(6);
/// The shortest time between two sweeps.
const SHORTEST_INTERVAL: Duration = Duration::from_secs(60);

/// The result of a sweep.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Swept {
    /// Number of keys that were deleted.
    pub(super) deleted: u64,
    /// Number of outcomes among them that were dropped before their retention was over.
    pub(super) dropped: u64,
    /// Whether time was up before everything was deleted: the next pass should follow at once.
    pub(super) more: bool,
    /// Number of keys that are left.
    pub(super) left: usize,
    /// Whether registers of claims are among them.
    pub(super) claims: bool,
    /// Whether the keys that are never dropped have reached the ceiling.
    pub(super) full: bool,
}

/// The current retention windows, by which the sweep recognizes expired keys.
#[derive(Clone, Copy, Debug)]
pub(super) struct Present {
    /// The window of the keys of starts, and of the callbacks of release 0.1.
    starts: u64,
    /// The window of the keys of callbacks and runs.
    callbacks: u64,
}

impl Present {
    /// The present window of the key with this short hash.
    pub(super) fn of(self, short: &str) -> u64 {
        if short.matches(':').count() > 1 { self.callbacks } else { self.starts }
    }

    /// The window of a name and the present one; `None` if the name is of no window.
    fn windows(self, name: &Name<'_>) -> Option<(u64, u64)> {
        match name {
            Name::Outcome(window, short) | Name::Claim(window, short, _) => Some((*window, self.of(short))),
            Name::Run(window) => Some((*window, self.callbacks)),
            _ => None,
        }
    }

    /// Whether a name belongs to a window that no lookup reads, not even by a clock that is slightly ahead. A window
    /// far in the future was numbered under a shorter retention.
    pub(super) fn is_expired(self, name: &Name<'_>) -> bool {
        self.windows(name)
            .is_some_and(|(window, present)| window.saturating_add(1) < present || window > present.saturating_add(1))
    }

    /// Whether a name belongs to a window before the present one.
    pub(super) fn is_previous(self, name: &Name<'_>) -> bool {
        self.windows(name).is_some_and(|(window, present)| window < present)
    }
}

impl<H: KeyValue + Clock + Rng> Claims<'_, H> {
    /// The present windows.
    pub(super) fn present(&self) -> Present {
        let now = self.host.now();
        Present { starts: self.retention.window(now), callbacks: self.callback_retention.window(now) }
    }

    /// Deletes what no claim reads any more, until `end`, and keeps the number of keys at `max_keys`. The caller holds
    /// the lease, and lists the keys under it; the note of its scan gets `more`, and since when each event is known.
    ///
    /// Costs 1 write for each key that is deleted, 1 read for each settled key whose claim's registers are still there,
    /// and what `ceiling.rs` and `source_note.rs` say; at most 1 read and 1 write besides.
    pub(super) async fn sweep(
        &self,
        list: &KeyList,
        max_keys: usize,
        scan: &mut Scan,
        end: Timestamp,
    ) -> Result<Swept, StoreError> {
        let mut swept = Swept::default();
        let present = self.present();
        let stored = list.stored();
        let mut left: Vec<&str> = Vec::with_capacity(list.0.len());
        for name in &list.0 {
            let parsed = Name::parse(name);
            let is_moot = matches!(parsed, Name::Asked(id) if stored.binary_search(&id).is_err());
            if (is_moot || present.is_expired(&parsed)) && self.delete(name, &mut swept, end).await? {
                continue;
            }
            left.push(name);
        }
        self.sweep_claims(&mut left, &mut swept, end).await?;
        self.sweep_source_notes(&mut left, scan, &mut swept, end).await?;
        self.keep_ceiling(&mut left, &stored, max_keys, scan, &mut swept, end).await?;
        swept.left = left.len();
        swept.full = stored.len() >= max_keys;
        scan.more |= swept.more;
        let interval = INTERVAL_PER_KEY.saturating_mul(u32::try_from(swept.left).unwrap_or(u32::MAX));
        let interval = interval.clamp(SHORTEST_INTERVAL, SCAN_INTERVAL);
        scan.next_sweep = swept.claims.then(|| self.host.now().plus(interval));
        if let Some(form) = Form::stored(self.host).await? {
            Form { full: swept.full, ..form.clone() }.write(self.host, Some(&form)).await?;
        }
        Ok(swept)
    }

    /// Deletes a key; returns whether it did, which is not the case once time is up.
    pub(super) async fn delete(&self, name: &str, swept: &mut Swept, end: Timestamp) -> Result<bool, StoreError> {
        if self.host.now() >= end {
            swept.more = true;
            return Ok(false);
        }
        self.host.delete(name).await?;
        swept.deleted = swept.deleted.saturating_add(1);
        Ok(true)
    }

    /// Deletes the registers of claims whose keys were settled or released long enough ago. A contender that is still
    /// under way there finds the outcome once it has won.
    async fn sweep_claims(&self, left: &mut Vec<&str>, swept: &mut Swept, end: Timestamp) -> Result<(), StoreError> {
        if !left.iter().any(|name| matches!(Name::parse(name), Name::Claim(..))) {
            return Ok(());
        }
        // By name, so the registers of one key that are of one kind follow each other.
        left.sort_unstable();
        let mut last: Option<(u64, &str, Vec<Trace>)> = None;
        let mut deleted = Vec::new();
        for (nth, name) in left.iter().enumerate() {
            let Name::Claim(window, short, term) = Name::parse(name) else { continue };
            if self.host.now() >= end {
                swept.more = true;
                break;
            }
            if last.as_ref().is_none_or(|(of, key, _)| (*of, *key) != (window, short)) {
                let mut traces = Vec::new();
                for window in [Some(window), window.checked_sub(1)].into_iter().flatten() {
                    let outcome = names::outcome_of(short, window);
                    if left.binary_search(&outcome.as_str()).is_ok()
                        && let Some(bytes) = self.host.get(&outcome).await?
                        && let Some(trace) = Trace::from_bytes(&bytes, short.contains(':'))
                        && (traces.is_empty() || trace.term.is_none())
                    {
                        traces.push(trace);
                        break;
                    }
                }
                last = Some((window, short, traces));
            }
            let now = self.host.now();
            let is_over = |trace: &Trace| {
                let age = match (trace.pending, &trace.term) {
                    // The winner may be all that tells who has ended its task.
                    (Some(_), _) if short.contains(':') => return false,
                    (Some(_), _) | (None, Some(_)) => LONGEST_STALL,
                    (None, None) => FINAL_AGE,
                };
                now.since(trace.at) >= age && trace.term.as_ref().is_none_or(|present| present != term)
            };
            let is_deletable = last.as_ref().is_some_and(|(.., traces)| traces.iter().any(is_over));
            if is_deletable && self.delete(name, swept, end).await? {
                deleted.push(nth);
            } else {
                swept.claims = true;
            }
        }
        remove_at(left, &deleted);
        Ok(())
    }
}

/// Removes the names at these positions, which are sorted.
pub(super) fn remove_at(names: &mut Vec<&str>, positions: &[usize]) {
    let mut position = 0_usize;
    names.retain(|_| {
        let is_removed = positions.binary_search(&position).is_ok();
        position = position.saturating_add(1);
        !is_removed
    });
}
