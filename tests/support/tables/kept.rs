//! The payloads of delivered starts.

use std::collections::BTreeMap;

use sluice::ports::SqlRow;

use super::{Call, Kept, Refused, Tables, Write};
use crate::values;

/// An element of the list that `KEEP` takes.
#[derive(serde::Deserialize)]
struct Element {
    id: String,
    reference: String,
    source: Option<String>,
    delivery: String,
}

impl Tables {
    /// The table, unless the schema lacks it.
    fn kept_rows(&self) -> Result<&BTreeMap<String, Kept>, Refused> {
        if self.has_kept { Ok(&self.kept) } else { Err(Refused("there is no table sluice_kept")) }
    }

    pub(super) fn keep(&mut self, call: &Call<'_>) -> Result<Vec<SqlRow>, Refused> {
        let elements: Vec<Element> = call.list(1)?;
        let expires = call.now + call.get::<i64>(2);
        for Element { id, reference, source, delivery } in elements {
            if !self.kept_rows()?.contains_key(&id) {
                let row = Kept { id, reference, source, delivery, expires };
                self.kept.insert(row.id.clone(), row.clone());
                self.writes.push(Write::Kept(None, Some(row)));
            }
        }
        Ok(Vec::new())
    }

    pub(super) fn list_kept(&self, call: &Call<'_>) -> Result<Vec<SqlRow>, Refused> {
        let (after, before): (String, String) = (call.get(1), call.get(2));
        let rows = self.kept_rows()?.values().filter(|row| row.id > after && row.id < before && row.expires > call.now);
        Ok(rows.take(call.limit(3)?).map(|row| values![row.id, row.reference, row.source]).collect())
    }

    pub(super) fn show_kept(&self, call: &Call<'_>) -> Result<Vec<SqlRow>, Refused> {
        let row = self.kept_rows()?.get(&call.get::<String>(1)).filter(|row| row.expires > call.now);
        Ok(row.map(|row| values![row.delivery]).into_iter().collect())
    }

    pub(super) fn sweep_kept(&mut self, call: &Call<'_>) -> Result<Vec<SqlRow>, Refused> {
        let mut expired: Vec<_> = self.kept_rows()?.values().filter(|row| row.expires <= call.now).collect();
        expired.sort_by_key(|row| (row.expires, !self.preferred.contains(&row.id)));
        let ids: Vec<_> = expired.into_iter().take(call.limit(1)?).map(|row| row.id.clone()).collect();
        for id in &ids {
            let row = self.kept.remove(id);
            self.writes.push(Write::Kept(row, None));
        }
        Ok(vec![values![i64::try_from(ids.len()).unwrap()]])
    }
}
