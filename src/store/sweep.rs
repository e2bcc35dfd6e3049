//! The sweep: deletes keys that are older than the retention, by their names alone.

use super::claims::Claims;
use super::keys::{KeyList, is_expired};
use crate::ports::{Clock, KeyValue, StoreError};
use crate::time::Timestamp;

/// The most keys that one pass deletes; each is a write.
const MAX_DELETED: usize = 1_000;

impl<H: KeyValue + Clock> Claims<'_, H> {
    /// Deletes expired keys until `end`. The next pass deletes what is left.
    pub async fn sweep(&self, list: &KeyList, end: Timestamp) -> Result<(), StoreError> {
        let present = self.retention.window(self.host.now());
        for key in list.0.iter().filter(|key| is_expired(key, present)).take(MAX_DELETED) {
            if self.host.now() >= end {
                break;
            }
            self.host.delete(key).await?;
        }
        Ok(())
    }
}
