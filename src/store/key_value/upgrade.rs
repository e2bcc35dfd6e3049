//! The upgrade of a store that an earlier release has written: each key is moved to its name of today.
//!
//! A drain does it, under the lease, in steps that end when its time is up. Each step writes the new key and then
//! deletes the old one, so a crash at any point loses nothing, and the step is safe to repeat: a new key that is there
//! already stays as it is. A delivery is attempted only once its old key is gone ([`KeyList::pending`]). Until no old
//! key is left, claims look at both names of an outcome, and at the flags of the earlier release.
//!
//! Instances of the earlier release have to be stopped first: they know nothing of the new names.

use std::fmt;
use std::time::Duration;

use serde::Deserialize;

use super::claim::Claims;
use super::form::Form;
use super::lease::LONGEST_LEASE;
use super::names::{KeyList, Name, Register, Round, outcome_of};
use super::old_names::{self, Fate};
use crate::json;
use crate::ports::{Clock, KeyValue, Rng, StoreError};
use crate::store::{OutcomeRecord, RunRecord};
use crate::time::{MAX_CLOCK_SKEW, Timestamp};

/// The work of an upgrade, as counted in a list of keys. Its text is for the log and for `/readyz`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Upgrade {
    /// Number of deliveries, pending or dead.
    pub(super) deliveries: u64,
    /// Number of outcomes, callbacks, records of runs, and other values.
    pub(super) values: u64,
    /// Number of claims that are kept if their keys have no outcome.
    pub(super) claims: u64,
    /// Number of keys that are not needed any more.
    pub(super) dropped: u64,
}

/// The result of one pass of an upgrade.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Upgraded {
    /// No key of an earlier release is left.
    Done,
    /// Keys are left: the next pass should follow at once.
    Left(Upgrade),
    /// A drain of the earlier release may still be running, until this time.
    Waits(Timestamp),
}

impl Upgrade {
    /// Counts what an upgrade has to do; `None` if nothing.
    pub(super) fn plan(list: &KeyList) -> Option<Self> {
        let mut plan = Self::default();
        for fate in list.0.iter().filter_map(|name| old_names::fate(name)) {
            let count = match fate {
                Fate::Delivery(_) => &mut plan.deliveries,
                Fate::Moved(..) => &mut plan.values,
                Fate::Flag(..) => &mut plan.claims,
                Fate::Dropped => &mut plan.dropped,
            };
            *count = count.saturating_add(1);
        }
        (plan.total() > 0).then_some(plan)
    }

    /// Number of all keys.
    pub(super) fn total(&self) -> u64 {
        [self.deliveries, self.values, self.claims, self.dropped]
            .iter()
            .fold(0, |sum, count| sum.saturating_add(*count))
    }
}

impl fmt::Display for Upgrade {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { deliveries, values, claims, dropped } = self;
        write!(
            f,
            "the store was written by an earlier release: {deliveries} deliveries, {values} records and {claims} claims get their names of today, and {dropped} keys that are not needed are deleted"
        )
    }
}

/// An outcome of a start or the record of a run, with the whole hash; `None` if it can't be decoded.
fn with_hash(value: &[u8], hash: &str) -> Option<Vec<u8>> {
    if let Ok(record) = OutcomeRecord::from_bytes(value) {
        return record.with_hash(hash).to_bytes().ok();
    }
    serde_json::to_vec(&RunRecord::from_bytes(value)?.with_hash(hash)).ok()
}

impl<H: KeyValue + Clock + Rng> Claims<'_, H> {
    /// Moves keys of an earlier release until `end`: what has to be delivered first, then what is remembered. The
    /// caller holds the lease, and lists the keys under it. In a store without such keys, records that there are none.
    ///
    /// Costs at most 2 reads and 2 writes for each key, 3 writes for a claim without an outcome, and 2 reads and 1 write
    /// besides. 1 read if the upgrade was completed before.
    pub(super) async fn upgrade(&self, list: &KeyList, doors: u32, end: Timestamp) -> Result<Upgraded, StoreError> {
        let stored = Form::stored(self.host).await?;
        if stored.as_ref().is_some_and(|form| form.moved) {
            return Ok(Upgraded::Done);
        }
        let form = match &stored {
            Some(form) => form.clone(),
            None => Form::read(self.host, doors).await?,
        };
        let mut steps: Vec<(Fate, &str)> =
            list.0.iter().filter_map(|name| Some((old_names::fate(name)?, name.as_str()))).collect();
        if steps.is_empty() {
            Form { moved: true, left: 0, ..form }.write(self.host, stored.as_ref()).await?;
            return Ok(Upgraded::Done);
        }
        if let Some(until) = self.old_lease().await? {
            return Ok(Upgraded::Waits(until));
        }
        steps.sort_unstable();
        let mut left = Upgrade::plan(list).unwrap_or_default();
        for (fate, name) in steps {
            if self.host.now() >= end {
                break;
            }
            self.move_key(&fate, name).await?;
            let count = match fate {
                Fate::Delivery(_) => &mut left.deliveries,
                Fate::Moved(..) => &mut left.values,
                Fate::Flag(..) => &mut left.claims,
                Fate::Dropped => &mut left.dropped,
            };
            *count = count.saturating_sub(1);
        }
        Form { left: left.total(), ..form }.write(self.host, stored.as_ref()).await?;
        Ok(Upgraded::Left(left))
    }

    async fn move_key(&self, fate: &Fate, name: &str) -> Result<(), StoreError> {
        match fate {
            Fate::Delivery(today) | Fate::Moved(today, _) => {
                let is_moot = self.present().is_expired(&Name::parse(today)) || self.host.exists(today).await?;
                if !is_moot && let Some(value) = self.host.get(name).await? {
                    let hash = if let Fate::Moved(_, hash) = fate { hash.as_ref() } else { None };
                    self.host.set(today, &hash.and_then(|hash| with_hash(&value, hash)).unwrap_or(value)).await?;
                }
            }
            // All outcomes were moved before. Without one, its contender may have sent its delivery.
            Fate::Flag(window, short) => {
                let round = Round { window: *window, short: short.clone(), term: String::new(), number: 0 };
                let is_expired = self.present().is_expired(&Name::Claim(*window, short, ""));
                if !is_expired
                    && !self.host.exists(&outcome_of(short, *window)).await?
                    && let Some(value) = self.host.get(name).await?
                {
                    self.host.set(&Register::Won.of(&round), &value).await?;
                    self.host.set(&Register::Mark.of(&round), &value).await?;
                }
            }
            Fate::Dropped => {}
        }
        self.host.delete(name).await
    }

    /// The end of the lease of a drain of the earlier release; `None` if it can't be running.
    async fn old_lease(&self) -> Result<Option<Timestamp>, StoreError> {
        #[derive(Deserialize)]
        struct Lease {
            until: Timestamp,
        }
        let lease = self.host.get(old_names::LEASE).await?.and_then(|bytes| json::read::<Lease>(&bytes).ok());
        let now = self.host.now();
        let longest: Duration = LONGEST_LEASE.saturating_add(MAX_CLOCK_SKEW);
        Ok(lease.map(|lease| lease.until).filter(|until| *until > now && *until <= now.plus(longest)))
    }
}
