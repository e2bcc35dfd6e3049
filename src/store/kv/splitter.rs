//! The splitter: a wait-free object over two atomic registers that at most one contender wins.
//!
//! It is the fast path of L. Lamport, "A Fast Mutual Exclusion Algorithm" (1987), where the registers are `x` and `y`.
//! J. Aspnes, "Notes on Theory of Distributed Systems", calls them `race` and `door`:
//!
//! ```text
//! race ← my name
//! if the door is closed: lose
//! close the door
//! if race = my name: win, else lose
//! ```
//!
//! At most one contender wins. Suppose that A and B both win, and that A writes `race` first. A later reads its own
//! name from `race`, so B has not written `race` yet, and A has already closed the door. B reads the door after it has
//! written `race`, so it finds the door closed and loses: a contradiction. A contender that runs alone wins. If several
//! run at once, it is possible that all lose.
//!
//! When the winner is done, it may open the door again; then the next claim starts from the beginning.
//! `tests/it/interleavings.rs` explores all orders of two and three contenders.

use crate::ports::{KeyValue, StoreError};

/// One contender.
pub(super) struct Splitter<'a> {
    /// The key of the register that holds the name of the last contender.
    pub(super) race: &'a str,
    /// The key of the register that is present while the door is closed.
    pub(super) door: &'a str,
    /// The key of another door that has to be open too: the door of the previous retention window.
    pub(super) earlier_door: Option<&'a str>,
    /// The contender's name, as written to `race`. It must never have been there before.
    pub(super) name: &'a [u8],
    /// The value that closes the door.
    pub(super) closed: &'a [u8],
}

/// The result for one contender.
pub(super) enum Entered {
    Won,
    Lost,
    EarlierDoorClosed,
}

impl Splitter<'_> {
    /// Runs the algorithm for this contender: at most 3 reads and 2 writes. `is_closed` decides whether a value of the
    /// door still closes it.
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
            return Ok(Entered::EarlierDoorClosed);
        }
        store.set(self.door, self.closed).await?;
        match store.get(self.race).await? {
            Some(race) if race == self.name => Ok(Entered::Won),
            _ => Ok(Entered::Lost),
        }
    }
}
