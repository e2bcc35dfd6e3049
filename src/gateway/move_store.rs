//! The move of what the store in use before has, to the one in use.

use std::time::Duration;

use super::Gateway;
use crate::ports::{Host, StoreError};
use crate::store::{Cursor, Transferred};

/// How much longer than its time a call may take: for the record that it is moving.
const MARGIN: Duration = Duration::from_secs(30);

impl<H: Host> Gateway<'_, H> {
    /// Whether a move is configured.
    pub fn is_moving(&self) -> bool {
        self.settings.move_from.is_some()
    }

    /// Moves at most `limit` records after a place, within `budget`. `None` if a drain of the key-value store is at work,
    /// or another move.
    pub async fn move_store(
        &self,
        after: Option<&Cursor>,
        limit: usize,
        budget: Duration,
    ) -> Result<Option<Transferred>, StoreError> {
        let end = self.host.monotonic().saturating_add(budget);
        self.store().transfer(after, limit, end, budget.saturating_add(MARGIN)).await
    }
}
