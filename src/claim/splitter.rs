//! Lamport's splitter (L. Lamport, "A Fast Mutual Exclusion Algorithm", 1987): two registers, of which the store only has
//! to read and write one at a time in some order.
//!
//! Why at most one wins: let A and B both win, and A write the door first. A has read its own name there, so before B
//! wrote it; and before that A had put the flag up. B reads the flag after it has written the door, so it is up, and B
//! has lost. `tests/it/interleavings.rs` walks all orders of two and three.
//!
//! The winner may take the flag down when it is done; then it all begins anew.

use crate::ports::{KeyValue, StoreError};

/// One who wants to come in. The name in `at_door` must never have been there before.
pub(super) struct Splitter<'a> {
    pub(super) door: &'a str,
    pub(super) flag: &'a str,
    /// Another flag that must be down.
    pub(super) before: Option<&'a str>,
    pub(super) at_door: &'a [u8],
    pub(super) at_flag: &'a [u8],
}

/// Did it come in?
pub(super) enum Entered {
    Won,
    Lost,
    /// The flag before this one is up.
    Before,
}

impl Splitter<'_> {
    /// `is_up` says whether a flag that is there counts.
    pub(super) async fn enter(
        &self,
        store: &impl KeyValue,
        is_up: impl Fn(&[u8]) -> bool,
    ) -> Result<Entered, StoreError> {
        store.set(self.door, self.at_door).await?;
        if store.get(self.flag).await?.is_some_and(|flag| is_up(&flag)) {
            return Ok(Entered::Lost);
        }
        if let Some(before) = self.before
            && store.exists(before).await?
        {
            return Ok(Entered::Before);
        }
        store.set(self.flag, self.at_flag).await?;
        match store.get(self.door).await? {
            Some(door) if door == self.at_door => Ok(Entered::Won),
            _ => Ok(Entered::Lost),
        }
    }
}
