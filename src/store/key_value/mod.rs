//! The state in a key-value store without compare-and-swap.
//!
//! - [`Claims`](claim::Claims): which delivery of an idempotency key is sent, and its outcome. One key remains of each.
//! - [`Outbox`](outbox::Outbox): pending deliveries and dead letters, the drain notification, an operator's requests,
//!   and the drain's [`Lease`](lease::Lease).
//! - [`Form`](form::Form): the version of the stored form.
//! - [`Claims::sweep`](claim::Claims::sweep): what a pass deletes, and what it drops at `max_keys`.
//! - [`Upgrade`](upgrade::Upgrade): what earlier releases have stored, moved step by step.
//! - [`Leased`](export::Leased): the move to and from another store.
//!
//! `names.rs` names every key and describes its value; `old_names.rs` those of earlier releases.
//!
//! # Model
//!
//! A key is an atomic register. A writer may crash or stall at any step, and a write that failed may still happen.
//! That at most one contender is chosen for a key depends on no clock. These bounds are assumed elsewhere:
//!
//! - [`SEND_WITHIN`](super::SEND_WITHIN): a chosen contender begins to send within this time, or counts as a loser.
//! - [`LONGEST_STALL`]: no request stops for longer between two of its operations and then goes on.
//! - [`MAX_CLOCK_SKEW`](crate::time::MAX_CLOCK_SKEW): the clocks of two hosts differ by at most this.

mod archive;
mod ceiling;
mod claim;
mod export;
mod form;
mod history;
mod lease;
mod names;
mod old_names;
mod outbox;
mod outcome;
mod pass;
mod registers;
mod repair;
mod source_note;
mod state;
mod sweep;
#[cfg(test)]
mod tests;
mod upgrade;

use std::time::Duration;

#[cfg(test)]
use self::{
    claim::{Claim, Claims},
    form::Form,
    lease::{Lease, Scan},
    outbox::{Ask, Outbox},
    sweep::Swept,
    upgrade::{Upgrade, Upgraded},
};
pub(super) use export::Prepared;
pub(super) use pass::Pass;
pub(super) use state::KeyValueStore;

/// The longest time for which a request may stop between two of its operations, and then go on.
const LONGEST_STALL: Duration = Duration::from_secs(5 * 60);
