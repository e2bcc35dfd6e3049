//! What a drain takes and sweeps.

use std::cmp::Reverse;
use std::collections::BTreeSet;

use sluice::ports::SqlRow;

use super::{Call, Delivery, Refused, Run, State, Tables, Write};
use crate::values;

impl Delivery {
    /// A row of the statements that take deliveries.
    fn as_taken(&self, now: i64) -> SqlRow {
        values![self.key, self.id, self.delivery, self.maybe_sent, self.accepted, self.due, now]
    }
}

impl Tables {
    pub(super) fn take(&mut self, call: &Call<'_>) -> Result<Vec<SqlRow>, Refused> {
        let without: BTreeSet<String> = call.list(4)?.into_iter().collect();
        let due = self.deliveries.due(call.now).filter(|row| !without.contains(&row.reference));
        let keys = self.first(due, call.limit(3)?, |row| row.due);
        self.take_all(keys, call)
    }

    pub(super) fn take_heads(&mut self, call: &Call<'_>) -> Result<Vec<SqlRow>, Refused> {
        let next = |head: &&Delivery| self.deliveries.head_after(head.queue.as_deref());
        let mut due: Vec<_> = std::iter::successors(self.deliveries.head_after(None), next)
            .filter(|head| head.is_due(call.now))
            .collect();
        due.sort_by_key(|head| head.due);
        let keys = self.first(due.into_iter(), call.limit(3)?, |row| row.due);
        self.take_all(keys, call)
    }

    /// The keys of the first rows. Those that are preferred come first among rows of one time.
    fn first<'a>(
        &self,
        rows: impl Iterator<Item = &'a Delivery>,
        limit: usize,
        time: fn(&Delivery) -> Option<i64>,
    ) -> Vec<String> {
        if self.preferred.is_empty() {
            return rows.take(limit).map(|row| row.key.clone()).collect();
        }
        let mut rows: Vec<_> = rows.collect();
        rows.sort_by_key(|row| (time(row), !self.preferred.contains(&row.key)));
        rows.into_iter().take(limit).map(|row| row.key.clone()).collect()
    }

    fn take_all(&mut self, mut keys: Vec<String>, call: &Call<'_>) -> Result<Vec<SqlRow>, Refused> {
        keys.sort_by_cached_key(|key| Reverse(key.clone()));
        let take = |key: String| {
            let row = self.update(&key, |row| {
                row.maybe_sent |= row.token.is_some();
                row.token = call.get(1);
                row.due = Some(call.now + call.get::<i64>(2));
            })?;
            Ok(row.as_taken(call.now))
        };
        keys.into_iter().map(take).collect()
    }

    pub(super) fn take_one(&mut self, call: &Call<'_>) -> Result<Vec<SqlRow>, Refused> {
        let (id, token): (String, String) = (call.get(1), call.get(2));
        let is_free = |row: &&Delivery| {
            let has_no_other_holder = row.token.is_none() || row.is_held_by(Some(&token)) || row.is_due(call.now);
            has_no_other_holder && (row.key == row.label || self.deliveries.get(&row.label).is_none())
        };
        let rows = self.deliveries.stored_as(&id).filter(is_free);
        let rows: Vec<_> = rows.map(|row| (row.key.clone(), row.state == State::Dead && row.queue.is_some())).collect();
        let mut taken = Vec::new();
        for (key, goes_last) in rows {
            let seq = goes_last.then(|| self.next_seq());
            let row = self.update(&key, |row| {
                row.key.clone_from(&row.label);
                row.maybe_sent |= row.token.as_ref().is_some_and(|held| *held != token);
                row.state = State::Pending;
                row.seq = seq.or(row.seq);
                row.accepted = true;
                row.token = Some(token.clone());
                row.due = Some(call.now + call.get::<i64>(3));
                row.changed = call.now;
                row.expires = None;
            })?;
            taken.push(row.as_taken(call.now));
        }
        Ok(taken)
    }

    pub(super) fn sweep(&mut self, call: &Call<'_>) -> Result<Vec<SqlRow>, Refused> {
        let expired = self.deliveries.expired(State::Delivered, call.now);
        let keys = self.first(expired, call.limit(1)?, |row| row.expires);
        keys.iter().for_each(|key| self.remove(key));
        Ok(vec![values![i64::try_from(keys.len()).unwrap(), self.has_kept]])
    }

    pub(super) fn sweep_keys(&mut self, call: &Call<'_>) -> Result<Vec<SqlRow>, Refused> {
        let expired = self.deliveries.expired(State::Dead, call.now);
        let keys = self.first(expired, call.limit(1)?, |row| row.expires);
        for key in &keys {
            self.update(key, |row| {
                row.key.clone_from(&row.id);
                row.expires = None;
            })?;
        }
        Ok(swept(&keys))
    }

    pub(super) fn sweep_runs(&mut self, call: &Call<'_>) -> Result<Vec<SqlRow>, Refused> {
        let mut expired: Vec<_> = self.runs.values().filter(|run| run.expires <= call.now).collect();
        expired.sort_by_key(|run| (run.expires, !self.preferred.contains(&run.run)));
        let runs: Vec<_> = expired.into_iter().take(call.limit(1)?).map(|run: &Run| run.run.clone()).collect();
        for run in &runs {
            let row = self.runs.remove(run);
            self.writes.push(Write::Run(row, None));
        }
        Ok(swept(&runs))
    }
}

fn swept(keys: &[String]) -> Vec<SqlRow> {
    vec![values![i64::try_from(keys.len()).unwrap()]]
}
