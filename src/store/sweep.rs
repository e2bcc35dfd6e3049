//! The sweep: deletes the keys of expired retention windows, which it recognizes by their names.

use super::claims::Claims;
use super::keys::{KeyList, Present, is_expired};
use crate::ports::{Clock, KeyValue, StoreError};
use crate::time::Timestamp;

/// Maximum number of keys that one pass deletes. Each deletion is a write.
const MAX_DELETED: usize = 1_000;

impl<H: KeyValue + Clock> Claims<'_, H> {
    /// Deletes expired keys until `end`, at most 1,000. The next pass continues with the rest.
    pub async fn sweep(&self, list: &KeyList, end: Timestamp) -> Result<(), StoreError> {
        let now = self.host.now();
        let present = Present { starts: self.retention.window(now), callbacks: self.callback_retention.window(now) };
        for key in list.0.iter().filter(|key| is_expired(key, present)).take(MAX_DELETED) {
            if self.host.now() >= end {
                break;
            }
            self.host.delete(key).await?;
        }
        Ok(())
    }
}
