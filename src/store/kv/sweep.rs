//! The sweep: deletes the keys of expired retention windows, which it recognizes by their names.

use std::time::Duration;

use super::claims::KeyClaims;
use super::keys::{KeyList, Present, is_expired};
use crate::ports::{Clock, KeyValue, StoreError};

/// Maximum number of keys that one pass deletes. Each deletion is a write.
const MAX_DELETED: usize = 1_000;

impl<H: KeyValue + Clock> KeyClaims<'_, H> {
    /// Deletes expired keys until `end`, by the monotonic clock, at most 1,000. The next pass continues with the rest.
    pub(super) async fn sweep(&self, list: &KeyList, end: Duration) -> Result<(), StoreError> {
        let now = self.host.now();
        let present = Present { starts: self.retention.window(now), callbacks: self.callback_retention.window(now) };
        for key in list.0.iter().filter(|key| is_expired(key, present)).take(MAX_DELETED) {
            if self.host.monotonic() >= end {
                break;
            }
            self.host.delete(key).await?;
        }
        Ok(())
    }
}
