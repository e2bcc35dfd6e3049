//! What is kept between requests, over a store without compare-and-swap.
//!
//! - [`Claims`]: which delivery of an idempotency key is sent, and what became of it.
//! - [`Outbox`]: pending deliveries and dead letters, the drain notification, and the drain's [`Lease`].
//! - [`EngineFault`]: a configuration fault that an operator has to fix.
//!
//! All names of keys are in `keys.rs`; nothing above this layer knows them, or how a claim is decided. A store with
//! compare-and-swap would replace `claims.rs` and `lease.rs`.

mod claims;
mod fault;
mod keys;
mod lease;
mod notification;
mod outbox;
mod record;
mod splitter;
mod sweep;

use std::fmt;

use crate::ports::StoreError;

pub use claims::{Claim, Claims, SEND_WITHIN, Won};
pub use fault::EngineFault;
pub use keys::KeyList;
pub use lease::{Lease, Scan};
pub use outbox::{DeliveryState, Outbox};
pub use record::{MAX_BODY, OutcomeRecord, Settled};

/// A record that can't be encoded or decoded is a failure of the store to its caller.
fn unwritable(error: impl fmt::Display) -> StoreError {
    StoreError(error.to_string())
}
