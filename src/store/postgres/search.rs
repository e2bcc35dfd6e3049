//! Finding deliveries by a filter.
//!
//! [`SEARCH`] applies what columns tell: the time, the text, and the beginning of the workflow. The rest is in the stored
//! form of a delivery, which is compared here.

use super::session::{number, optional, text};
use super::{PostgresStore, SEARCH};
use crate::delivery::{Delivery, DeliveryId, Filter, StoredError};
use crate::ports::{Clock, Rng, Sql, SqlValue, StoreError};
use crate::store::{DeliveryState, MAX_SCANNED, Page};

/// Number of deliveries that one statement returns if some of them may not match.
const READ_AT_ONCE: usize = 50;

/// A row that matches: its place among those that were read, its id and its delivery.
type Match = (usize, DeliveryId, Result<Delivery<'static>, StoredError>);

/// What comes after all ids.
const END: &str = "~";

impl<H: Sql + Clock + Rng> PostgresStore<'_, H> {
    /// Finds at most `limit` deliveries after `after`, and reads at most [`MAX_SCANNED`].
    pub(super) async fn find_page(
        &self,
        state: DeliveryState,
        filter: &Filter,
        limit: usize,
        after: Option<DeliveryId>,
    ) -> Result<Page, StoreError> {
        let (first, end) = filter.ids();
        // Without its last character, the text comes right before the first id.
        let before_first = first.map(|id| {
            let mut text = id.to_string();
            text.pop();
            text
        });
        let mut after = after.map(|id| id.to_string()).max(before_first).unwrap_or_default();
        let is_exact = filter.source.is_none() && filter.failure.is_none() && filter.workflow.is_none();
        let mut page = Page { deliveries: Vec::new(), scanned: 0, next: None };
        loop {
            let room = limit.saturating_sub(page.deliveries.len());
            let scans = MAX_SCANNED.saturating_sub(page.scanned);
            if room == 0 || scans == 0 {
                page.next = DeliveryId::parse(&after);
                return Ok(page);
            }
            let returned = if is_exact { room } else { READ_AT_ONCE };
            let parameters = [
                text(state.as_str()),
                text(&after),
                text(filter.text.as_deref().unwrap_or_default().to_ascii_lowercase()),
                number(scans),
                number(returned),
                text(end.map_or_else(|| END.to_owned(), |end| end.to_string())),
                workflow_start(filter),
            ];
            let (in_all, last, matches) = self.search_once(&parameters).await?;
            let is_cut = matches.len() >= returned;
            let mut scanned = 0;
            for (place, id, delivery) in matches {
                if page.deliveries.len() >= limit {
                    page.scanned = page.scanned.saturating_add(scanned);
                    page.next = DeliveryId::parse(&after);
                    return Ok(page);
                }
                (scanned, after) = (place, id.to_string());
                if delivery.as_ref().map_or(!filter.reads_records(), |delivery| filter.matches(delivery)) {
                    page.deliveries.push((id, delivery));
                }
            }
            if !is_cut {
                (scanned, after) = (in_all, last.unwrap_or(after));
            }
            page.scanned = page.scanned.saturating_add(scanned);
            if !is_cut && in_all < scans {
                return Ok(page);
            }
        }
    }

    /// Runs [`SEARCH`]: the number of rows that it has read, the id of the last one, and the matches, each with its
    /// place among the rows.
    async fn search_once(&self, parameters: &[SqlValue]) -> Result<(usize, Option<String>, Vec<Match>), StoreError> {
        let mut rows = self.query(SEARCH, parameters).await?;
        let (mut scanned, mut last, mut matches) = (0, None, Vec::new());
        for columns in &mut rows {
            scanned = columns.number()?;
            last = columns.optional_text()?;
            let place = columns.number()?;
            if let Some(id) = columns.optional_text()?.as_deref().and_then(DeliveryId::parse) {
                matches.push((place, id, Delivery::from_bytes(&columns.bytes()?.unwrap_or_default())));
            }
        }
        Ok((scanned, last, matches))
    }
}

/// What the workflow of a start begins with; `NULL` if callbacks match as well.
fn workflow_start(filter: &Filter) -> SqlValue {
    let pattern = filter.workflow.as_ref().map(ToString::to_string);
    let start = pattern.as_deref().map(|pattern| pattern.trim_end_matches('*'));
    optional(start.or_else(|| filter.source.as_ref().map(|_| "")))
}
