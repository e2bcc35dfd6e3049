//! The splitter: a wait-free object over two atomic registers that at most one contender wins.
//!
//! L. Lamport, "A Fast Mutual Exclusion Algorithm" (1987), has it as the fast path, with registers `x` and `y`; J. Aspnes,
//! "Notes on Theory of Distributed Systems", calls them `race` and `door`:
//!
//! ```text
//! race ← my name
//! if the door is closed: lose
//! close the door
//! if race = my name: win, else lose
//! ```
//!
//! At most one wins. Let A and B both win, and let A write `race` first. A has read its own name in `race`, so before B
//! wrote it; and before that A had closed the door. B reads the door after it has written `race`, so B finds it closed and
//! loses. A contender that runs alone wins. If several run at once, it is possible that all lose.
//!
//! The winner may open the door again when it is done; then everything starts over. `tests/it/interleavings.rs` explores
//! all orders of two and three contenders.

use crate::ports::{KeyValue, StoreError};

/// One contender. The name must never have been in `race` before.
pub(super) struct Splitter<'a> {
    /// The key of the register that holds the name of the last contender.
    pub(super) race: &'a str,
    /// The key of the register that is present while the door is closed.
    pub(super) door: &'a str,
    /// The key of another door that has to be open.
    pub(super) earlier_door: Option<&'a str>,
    /// The contender's name, as written to `race`.
    pub(super) name: &'a [u8],
    /// The value that closes the door.
    pub(super) closed: &'a [u8],
}

/// The result for one contender.
pub(super) enum Entered {
    Won,
    Lost,
    /// The earlier door is closed.
    Earlier,
}

impl Splitter<'_> {
    /// Contends. `is_closed` decides whether the value of the door still counts.
    pub(super) async fn enter(
        &self,
        store: &impl KeyValue,
        is_closed: impl Fn(&[u8]) -> bool,
    ) -> Result<Entered, StoreError> {
        store.set(self.race, self.name).await?;
        if store.get(self.door).await?.is_some_and(|door| is_closed(&door)) {
            return Ok(Entered::Lost);
        }
        if let Some(earlier) = self.earlier_door
            && store.exists(earlier).await?
        {
            return Ok(Entered::Earlier);
        }
        store.set(self.door, self.closed).await?;
        match store.get(self.race).await? {
            Some(race) if race == self.name => Ok(Entered::Won),
            _ => Ok(Entered::Lost),
        }
    }
}
