//! The state in a key-value store without compare-and-swap.
//!
//! - [`Claims`]: which delivery of an idempotency key is sent, and its outcome. One key remains of each.
//! - [`Outbox`]: pending deliveries and dead letters, the drain notification, an operator's requests, and the drain's
//!   [`Lease`].
//! - [`Form`]: the version of what is stored.
//! - [`Claims::sweep`]: what a pass deletes, and what it drops at `max_keys`.
//! - [`Upgrade`]: what earlier releases have stored, moved step by step.
//!
//! `names.rs` names every key and describes its value; `old_names.rs` those of earlier releases.
//!
//! # Model
//!
//! A key is an atomic register. A writer may crash or stall at any step, and a write that failed may still happen.
//! That at most one contender is chosen for a key depends on no clock. These bounds are assumed elsewhere:
//!
//! - [`SEND_WITHIN`]: a chosen contender begins to send within this time, or counts as a loser.
//! - [`LONGEST_STALL`]: no request stops for longer between two of its operations and then goes on.
//! - [`MAX_CLOCK_SKEW`](crate::time::MAX_CLOCK_SKEW): the clocks of two hosts differ by at most this.

mod ceiling;
mod claim;
mod form;
mod lease;
mod names;
mod old_names;
mod outbox;
mod outcome;
mod registers;
mod sweep;
#[cfg(test)]
mod tests;
mod upgrade;

use std::time::Duration;

pub use claim::{Claim, Claims, SEND_WITHIN, Won};
pub use form::Form;
pub use lease::{LONGEST_LEASE, Lease, Scan};
pub use names::KeyList;
pub use outbox::{Ask, Asked, Outbox};
pub use outcome::Holder;
pub use sweep::Swept;
pub use upgrade::{Upgrade, Upgraded};

/// The longest time for which a request may stop between two of its operations, and then go on.
pub const LONGEST_STALL: Duration = Duration::from_secs(5 * 60);
