//! Kept payloads of delivered starts, in a table of their own.

use std::time::Duration;

use serde::Serialize;

use super::session::{json, milliseconds, number, text};
use super::{KEEP, KEPT, PostgresStore, SHOW_KEPT};
use crate::delivery::{Delivery, DeliveryId, Key, StoredError};
use crate::ports::{Clock, Rng, Sql, StoreError};
use crate::reference::WorkflowRef;
use crate::store::archive::{Archive, Kept};
use crate::store::{Claim, MAX_SCANNED, codec_error};

/// The size from which on one statement keeps no further payload, in bytes.
const KEPT_AT_ONCE: usize = 1024 * 1024;

/// Comes after all ids.
const NO_END: &str = "~";

/// A row that `KEEP` inserts.
#[derive(Serialize)]
struct KeptRow<'a> {
    id: String,
    reference: &'a str,
    source: Option<&'a str>,
    delivery: String,
}

impl<H: Sql + Clock + Rng> Archive for PostgresStore<'_, H> {
    async fn keep_payloads(&self, delivered: &[&Delivery<'_>]) -> Result<(), StoreError> {
        let (mut rows, mut size) = (Vec::new(), 0_usize);
        for (n, delivery) in delivered.iter().enumerate() {
            let bytes = delivery.to_bytes().map_err(codec_error)?;
            size = size.saturating_add(bytes.len());
            rows.push(KeptRow {
                id: delivery.id.to_string(),
                reference: delivery.work.reference(),
                source: delivery.work.source(),
                delivery: String::from_utf8(bytes).map_err(codec_error)?,
            });
            if size >= KEPT_AT_ONCE || n.saturating_add(1) == delivered.len() {
                self.query(KEEP, &[json(&rows)?, milliseconds(self.keep)]).await?;
                (rows, size) = (Vec::new(), 0);
            }
        }
        Ok(())
    }

    async fn kept(&self, after: Option<DeliveryId>, before: Option<DeliveryId>) -> Result<Vec<Kept>, StoreError> {
        let after = after.map(|id| id.to_string()).unwrap_or_default();
        let before = before.map_or_else(|| NO_END.to_owned(), |id| id.to_string());
        let mut kept = Vec::new();
        for mut columns in self.query(KEPT, &[text(after), text(before), number(MAX_SCANNED)]).await? {
            let id = columns.id()?;
            let workflow = WorkflowRef::parse(&columns.text()?).map_err(codec_error)?;
            kept.push(Kept { id, workflow, source: columns.optional_text()? });
        }
        Ok(kept)
    }

    async fn show_kept(&self, id: DeliveryId) -> Result<Option<Result<Delivery<'static>, StoredError>>, StoreError> {
        let mut rows = self.query(SHOW_KEPT, &[text(id.to_string())]).await?;
        let Some(columns) = rows.first_mut() else { return Ok(None) };
        Ok(Some(Delivery::from_bytes(columns.text()?.as_bytes())))
    }

    async fn replay(&self, delivery: &mut Delivery<'_>, key: Key) -> Result<bool, StoreError> {
        Ok(matches!(self.claim_row(delivery, key, None, false, Duration::ZERO).await?, Claim::Won))
    }
}
