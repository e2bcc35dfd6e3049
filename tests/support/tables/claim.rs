//! `CLAIM` and `MOVE`.

use sluice::ports::SqlRow;

use super::{Call, Delivery, Refused, State, Tables};
use crate::values;

impl Delivery {
    /// A row of `CLAIM` or `MOVE`.
    fn with_standing(&self, standing: &str, delivery: Option<&[u8]>, now: i64) -> SqlRow {
        values![
            standing,
            self.key,
            self.id,
            self.state.name(),
            self.digest,
            self.accepted,
            self.changed,
            self.due,
            delivery,
            self.body,
            now
        ]
    }
}

impl Tables {
    pub(super) fn claim(&mut self, call: &Call<'_>) -> Result<Vec<SqlRow>, Refused> {
        let now = call.now;
        let (key, id, token): (String, String, Option<String>) = (call.get(1), call.get(2), call.get(3));
        let (digest, queue, other): (String, Option<String>, Option<String>) = (call.get(4), call.get(7), call.get(11));
        let is_free = |held: &Delivery| {
            held.is_held_by(token.as_deref())
                || (held.state == State::Delivered && held.has_expired(now))
                || (held.is_pending()
                    && held.token.is_some()
                    && held.is_due(now)
                    && held.digest == digest
                    && token.is_some())
        };
        let own = self.deliveries.get(&key);
        let held = match own {
            Some(held) => Some(held).filter(|held| !is_free(held)),
            None => {
                other.and_then(|other| self.deliveries.get(&other)).filter(|held| held.is_pending() && held.id != id)
            }
        };
        if let Some(held) = held {
            let standing = if token.is_none() && held.id == id { "won" } else { "held" };
            return Ok(vec![held.with_standing(standing, held.of_callback(), now)]);
        }
        let is_known = own.is_some();
        let fresh = Delivery {
            label: key.clone(),
            key: key.clone(),
            id,
            state: State::Pending,
            digest,
            reference: call.get(5),
            topic: call.get(6),
            seq: queue.is_some().then(|| self.next_seq()),
            queue,
            delivery: call.get(8),
            body: None,
            accepted: call.get(10),
            token,
            maybe_sent: false,
            due: Some(now + call.get::<i64>(9)),
            received: now,
            changed: now,
            expires: None,
        };
        let row = if is_known {
            self.update(&key, |row| {
                *row = match row.state {
                    State::Delivered => fresh,
                    State::Pending | State::Dead => Delivery {
                        id: row.id.clone(),
                        reference: row.reference.clone(),
                        topic: row.topic.clone(),
                        queue: row.queue.clone(),
                        seq: row.seq,
                        delivery: row.delivery.clone(),
                        accepted: row.accepted || fresh.accepted,
                        maybe_sent: row.maybe_sent || row.token != fresh.token,
                        received: row.received,
                        ..fresh
                    },
                };
            })?
        } else {
            self.insert(fresh.clone())?;
            fresh
        };
        let standing = if row.maybe_sent { "taken" } else { "won" };
        Ok(vec![row.with_standing(standing, row.delivery.as_deref().filter(|_| row.maybe_sent), now)])
    }

    pub(super) fn move_claim(&mut self, call: &Call<'_>) -> Result<Vec<SqlRow>, Refused> {
        let (key, token, task): (String, Option<String>, String) = (call.get(1), call.get(2), call.get(3));
        if let Some(held) = self.deliveries.get(&task) {
            let standing = if held.is_held_by(token.as_deref()) { "won" } else { "held" };
            return Ok(vec![held.with_standing(standing, held.delivery.as_deref(), call.now)]);
        }
        if !self.is_held(&key, token.as_deref()) {
            return Ok(Vec::new());
        }
        let row = self.update(&key, |row| {
            row.key.clone_from(&task);
            row.label = task;
            row.delivery = call.get(4);
            row.due = Some(call.now + call.get::<i64>(5));
        })?;
        Ok(vec![row.with_standing("won", None, call.now)])
    }

    /// Whether the delivery with this key has this holder.
    pub(super) fn is_held(&self, key: &str, token: Option<&str>) -> bool {
        self.deliveries.get(key).is_some_and(|row| row.is_held_by(token))
    }
}
