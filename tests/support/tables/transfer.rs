//! `IMPORT`, `REMEMBERED` and `RUNS`.

use sluice::ports::SqlRow;

use super::{Call, Delivery, Refused, State, Tables};
use crate::values;

impl Tables {
    pub(super) fn import(&mut self, call: &Call<'_>) -> Result<Vec<SqlRow>, Refused> {
        let now = call.now;
        let (key, id, state): (String, String, String) = (call.get(1), call.get(3), call.get(4));
        let state = [State::Pending, State::Dead, State::Delivered].into_iter().find(|known| known.name() == state);
        let state = state.ok_or(Refused("a constraint of sluice_delivery"))?;
        let row =
            |standing: &str, row: &Delivery| values![standing, row.id, row.state.name(), row.digest, row.accepted];
        let same: Vec<_> = self.deliveries.stored_as(&id).map(|same| row("there", same)).collect();
        if !same.is_empty() {
            return Ok(same);
        }
        let own = self.deliveries.get(&key);
        if let Some(held) = own.filter(|held| held.is_remembered(now)) {
            return Ok(vec![row(if held.id == id { "there" } else { "held" }, held)]);
        }
        let fresh = Delivery {
            key: key.clone(),
            label: call.get(2),
            id,
            state,
            digest: call.get(5),
            reference: call.get(6),
            topic: call.get(7),
            queue: call.get(14),
            seq: call.get(15),
            delivery: call.get(8),
            body: call.get(9),
            accepted: true,
            token: None,
            maybe_sent: false,
            due: call.get::<Option<i64>>(10).map(|ms| now + ms),
            received: call.get(11),
            changed: call.get(12),
            expires: call.get(13),
        };
        let new = row("new", &fresh);
        if own.is_some() {
            self.update(&key, |row| *row = fresh)?;
        } else {
            self.insert(fresh)?;
        }
        Ok(vec![new])
    }

    pub(super) fn remembered(&self, call: &Call<'_>) -> Result<Vec<SqlRow>, Refused> {
        let after: String = call.get(1);
        let rows = self.deliveries.iter();
        let rows = rows.filter(|row| {
            row.key > after && row.key != ":probe" && row.state == State::Delivered && !row.has_expired(call.now)
        });
        Ok(rows.take(call.limit(2)?).map(|row| values![row.key]).collect())
    }

    pub(super) fn list_runs(&self, call: &Call<'_>) -> Result<Vec<SqlRow>, Refused> {
        let after: String = call.get(1);
        let runs = self.runs.values().filter(|run| run.run > after && run.expires > call.now);
        Ok(runs.take(call.limit(2)?).map(|run| values![run.run]).collect())
    }
}
