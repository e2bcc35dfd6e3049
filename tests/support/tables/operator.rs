//! What an operator reads and does, the look-ups by key and by run, and the two small tables.

use std::collections::BTreeSet;

use sluice::ports::SqlRow;

use super::{Call, Delivery, Note, Refused, Run, State, Tables, Write};
use crate::values;

/// The state that `LIST` and `SEARCH` name. Delivered rows are never listed.
fn stored(state: &str) -> Option<State> {
    [State::Pending, State::Dead].into_iter().find(|stored| stored.name() == state)
}

impl Tables {
    pub(super) fn delete(&mut self, call: &Call<'_>) -> Result<Vec<SqlRow>, Refused> {
        let id: String = call.get(1);
        let rows = self.deliveries.stored_as(&id);
        let keys: Vec<_> =
            rows.filter(|row| row.token.is_none() || row.is_due(call.now)).map(|row| row.key.clone()).collect();
        keys.iter().for_each(|key| self.remove(key));
        Ok(keys.iter().map(|key| values![key]).collect())
    }

    pub(super) fn doubt(&mut self, call: &Call<'_>) -> Result<Vec<SqlRow>, Refused> {
        let after: String = call.get(1);
        let pending = self.deliveries.stored_after(State::Pending, &after);
        let keys: Vec<_> = pending.take(call.limit(2)?).map(|row| row.key.clone()).collect();
        let left_alone_until = call.now + call.get::<i64>(3);
        let doubt = |key: &String| {
            let row = self.update(key, |row| {
                row.maybe_sent = true;
                row.due = row.due.max(Some(left_alone_until));
            })?;
            Ok(values![row.id])
        };
        keys.iter().rev().map(doubt).collect()
    }

    pub(super) fn show(&self, call: &Call<'_>) -> Result<Vec<SqlRow>, Refused> {
        let now = call.now;
        let show = |row: &Delivery| {
            values![
                row.key,
                row.label,
                row.state.name(),
                row.delivery,
                row.maybe_sent,
                row.due,
                row.is_under_way(now),
                now
            ]
        };
        Ok(self.deliveries.stored_as(&call.get::<String>(1)).map(show).collect())
    }

    pub(super) fn list(&self, call: &Call<'_>) -> Result<Vec<SqlRow>, Refused> {
        let (state, after): (String, String) = (call.get(1), call.get(2));
        let limit = call.limit(3)?;
        let Some(state) = stored(&state) else { return Ok(Vec::new()) };
        let rows = self.deliveries.stored_after(state, &after).take(limit);
        let list = |row: &Delivery| values![row.id, row.delivery, row.maybe_sent, row.due, row.is_under_way(call.now)];
        Ok(rows.map(list).collect())
    }

    pub(super) fn search(&self, call: &Call<'_>) -> Result<Vec<SqlRow>, Refused> {
        let (state, after, text): (String, String, String) = (call.get(1), call.get(2), call.get(3));
        let (scanned, returned) = (call.limit(4)?, call.limit(5)?);
        let (before, start): (String, Option<String>) = (call.get(6), call.get(7));
        let rows = stored(&state).map(|state| self.deliveries.stored_after(state, &after));
        let page: Vec<_> = rows.into_iter().flatten().take_while(|row| row.id < before).take(scanned).collect();
        let count = i64::try_from(page.len()).unwrap();
        let last = page.last().map(|row| row.id.as_str());
        let contains = |column: &String| column.to_ascii_lowercase().contains(&text);
        let matches = |(_, row): &(i64, &&Delivery)| {
            let has_text = contains(&row.reference) || row.topic.as_ref().is_some_and(contains);
            has_text && start.as_ref().is_none_or(|start| row.topic.is_none() && row.reference.starts_with(start))
        };
        let found: Vec<_> = (1..).zip(&page).filter(matches).take(returned).collect();
        if found.is_empty() {
            return Ok(vec![values![count, last, None::<i64>, None::<&str>, None::<&[u8]>]]);
        }
        Ok(found.into_iter().map(|(place, row)| values![count, last, place, row.id, row.delivery]).collect())
    }

    pub(super) fn find(&self, call: &Call<'_>) -> Result<Vec<SqlRow>, Refused> {
        let keys: BTreeSet<String> = call.list(1)?.into_iter().collect();
        let rows = keys.iter().rev().filter_map(|key| self.deliveries.get(key));
        let find = |row: &Delivery| {
            values![
                row.key,
                row.id,
                row.state.name(),
                row.digest,
                row.accepted,
                row.changed,
                row.due,
                row.body,
                row.of_callback(),
                call.now
            ]
        };
        Ok(rows.filter(|row| row.is_remembered(call.now)).map(find).collect())
    }

    pub(super) fn callbacks(&self, call: &Call<'_>) -> Result<Vec<SqlRow>, Refused> {
        let (run, topic, after): (String, Option<String>, String) = (call.get(1), call.get(2), call.get(3));
        let is_listed = |row: &&Delivery| {
            let is_of_topic = topic.is_none() || row.topic == topic;
            is_of_topic && row.id > after && row.state != State::Dead && row.is_remembered(call.now)
        };
        let rows = self.deliveries.callbacks(&run).filter(is_listed).take(call.limit(4)?);
        let list = |row: &Delivery| values![row.id, row.key, row.state.name(), row.delivery, row.received, row.changed];
        Ok(rows.map(list).collect())
    }

    pub(super) fn counts(&self, call: &Call<'_>) -> Result<Vec<SqlRow>, Refused> {
        let limit = call.limit(1)?;
        let count = |state| i64::try_from(self.deliveries.stored_after(state, "").take(limit).count()).unwrap();
        let oldest = self.deliveries.stored_after(State::Pending, "").next().map(|row| row.id.as_str());
        let due = self.deliveries.next_due().and_then(|row| row.due);
        Ok(vec![values![count(State::Pending), count(State::Dead), oldest, due, call.now]])
    }

    pub(super) fn record_run(&mut self, call: &Call<'_>) -> Result<Vec<SqlRow>, Refused> {
        let expires = call.now + call.get::<i64>(4);
        self.write_run(Run { run: call.get(1), scope: call.get(2), unseen: call.get(3), expires });
        Ok(Vec::new())
    }

    pub(super) fn read_run(&self, call: &Call<'_>) -> Result<Vec<SqlRow>, Refused> {
        let run = self.runs.get(&call.get::<String>(1)).filter(|run| run.expires > call.now);
        Ok(run.map(|run| values![run.scope, run.unseen]).into_iter().collect())
    }

    pub(super) fn write_note(&mut self, call: &Call<'_>) -> Result<Vec<SqlRow>, Refused> {
        let (name, value): (String, String) = (call.get(1), call.get(2));
        let old = self.notes.get(&name);
        if old.is_none_or(|old| old.value != value) {
            let since = old.map_or(call.now, |old| old.since);
            self.write(Note { name, value, since, changed: call.now });
        }
        Ok(Vec::new())
    }

    pub(super) fn replace_note(&mut self, call: &Call<'_>) -> Result<Vec<SqlRow>, Refused> {
        let (name, value, before): (String, String, Option<String>) = (call.get(1), call.get(2), call.get(3));
        let old = self.notes.get(&name);
        let is_written = match old {
            None => before.is_none(),
            Some(old) => Some(&old.value) == before.as_ref() || old.value == value,
        };
        if !is_written {
            return Ok(Vec::new());
        }
        let since = old.map_or(call.now, |old| old.since);
        let row = values![name];
        self.write(Note { name, value, since, changed: call.now });
        Ok(vec![row])
    }

    pub(super) fn clear_note(&mut self, call: &Call<'_>) -> Result<Vec<SqlRow>, Refused> {
        if let Some(old) = self.notes.remove(&call.get::<String>(1)) {
            self.writes.push(Write::Note(Some(old), None));
        }
        Ok(Vec::new())
    }

    pub(super) fn source_notes(&self, call: &Call<'_>) -> Result<Vec<SqlRow>, Refused> {
        let notes = self.notes.range("source:".to_owned().."source:~".to_owned()).take(call.limit(1)?);
        Ok(notes.map(|(_, note)| values![note.name, note.value, note.changed, call.now]).collect())
    }

    pub(super) fn sweep_notes(&mut self, call: &Call<'_>) -> Result<Vec<SqlRow>, Refused> {
        let before = call.now - call.get::<i64>(2);
        let notes = self.notes.range("source:".to_owned().."source:~".to_owned());
        let over = notes.filter(|(_, note)| note.changed <= before).take(call.limit(1)?);
        let over: Vec<String> = over.map(|(name, _)| name.clone()).collect();
        for name in &over {
            let old = self.notes.remove(name);
            self.writes.push(Write::Note(old, None));
        }
        Ok(vec![values![i64::try_from(over.len()).unwrap()]])
    }

    pub(super) fn read_notes(&self, call: &Call<'_>) -> Result<Vec<SqlRow>, Refused> {
        let names: BTreeSet<String> = call.list(1)?.into_iter().collect();
        let notes = names.iter().rev().filter_map(|name| self.notes.get(name));
        Ok(notes.map(|note| values![note.name, note.value, note.since, note.changed, call.now]).collect())
    }
}
