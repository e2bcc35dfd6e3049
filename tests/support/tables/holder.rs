//! What a holder does with its delivery, and `PROMISE`.

use std::collections::BTreeSet;

use sluice::ports::SqlRow;

use super::{Call, Delivery, Refused, State, Tables};
use crate::values;

/// An element of the list of `SETTLE`.
#[derive(serde::Deserialize)]
struct End {
    key: String,
    token: Option<String>,
    body: Option<String>,
    keep: Option<i64>,
}

impl Tables {
    pub(super) fn promise(&mut self, call: &Call<'_>) -> Result<Vec<SqlRow>, Refused> {
        let (key, id): (String, String) = (call.get(1), call.get(2));
        if !self.deliveries.get(&key).is_some_and(|row| row.id == id && row.is_pending()) {
            return Ok(Vec::new());
        }
        let row = self.update(&key, |row| row.accepted = true)?;
        Ok(vec![values![row.key]])
    }

    pub(super) fn release(&mut self, call: &Call<'_>) -> Result<Vec<SqlRow>, Refused> {
        let (key, token): (String, Option<String>) = (call.get(1), call.get(2));
        if !self.deliveries.get(&key).is_some_and(|row| row.is_held_by(token.as_deref()) && !row.accepted) {
            return Ok(Vec::new());
        }
        self.remove(&key);
        Ok(vec![values![key]])
    }

    pub(super) fn settle(&mut self, call: &Call<'_>) -> Result<Vec<SqlRow>, Refused> {
        let mut ended = BTreeSet::new();
        for End { key, token, body, keep } in call.list(1)? {
            let Some(keep) = keep.filter(|keep| *keep >= 0) else { continue };
            if !self.is_held(&key, token.as_deref()) {
                continue;
            }
            if keep == 0 {
                self.remove(&key);
            } else {
                self.update(&key, |row| {
                    row.state = State::Delivered;
                    row.body = body.map(String::into_bytes);
                    row.delivery = row.of_callback().map(<[u8]>::to_vec);
                    row.accepted = true;
                    row.token = None;
                    row.maybe_sent = false;
                    row.due = None;
                    row.changed = call.now;
                    row.expires = Some(call.now + keep);
                })?;
            }
            ended.insert(key);
        }
        Ok(ended.into_iter().rev().map(|key| values![key]).collect())
    }

    pub(super) fn reschedule(&mut self, call: &Call<'_>) -> Result<Vec<SqlRow>, Refused> {
        self.update_held(call, |row| {
            row.delivery = call.get(3);
            row.accepted = true;
            row.token = None;
            row.maybe_sent &= !call.get::<bool>(5);
            row.due = Some(call.now + call.get::<i64>(4));
        })
    }

    pub(super) fn renew(&mut self, call: &Call<'_>) -> Result<Vec<SqlRow>, Refused> {
        self.update_held(call, |row| {
            row.delivery = call.get::<Option<_>>(3).or(row.delivery.take());
            row.due = Some(call.now + call.get::<i64>(4));
        })
    }

    pub(super) fn dead_letter(&mut self, call: &Call<'_>) -> Result<Vec<SqlRow>, Refused> {
        let keep: Option<i64> = call.get(4);
        self.update_held(call, |row| {
            if keep.is_none() {
                row.key.clone_from(&row.id);
            }
            row.state = State::Dead;
            row.delivery = call.get(3);
            row.accepted = true;
            row.token = None;
            row.maybe_sent &= !call.get::<bool>(5);
            row.due = None;
            row.changed = call.now;
            row.expires = keep.map(|keep| call.now + keep);
        })
    }

    /// Changes the delivery whose key is `$1` and whose token is `$2`. Returns its key, or no row.
    fn update_held(&mut self, call: &Call<'_>, change: impl FnOnce(&mut Delivery)) -> Result<Vec<SqlRow>, Refused> {
        let (key, token): (String, Option<String>) = (call.get(1), call.get(2));
        if !self.is_held(&key, token.as_deref()) {
            return Ok(Vec::new());
        }
        let row = self.update(&key, change)?;
        Ok(vec![values![row.key]])
    }
}
