//! The state that outlives a request, over a key-value store without compare-and-swap.
//!
//! - [`Claims`]: which delivery of an idempotency key is sent, and its outcome.
//! - [`Outbox`]: pending deliveries and dead letters, the drain notification, and the drain's [`Lease`].
//! - [`EngineFault`]: a configuration fault that an operator has to fix.
//! - [`postgres`]: the same state in PostgreSQL: schema and statements, not connected yet.
//!
//! `keys.rs` names every key of the store and describes its value. No other layer names a key, or depends on how a
//! claim is decided: a store with compare-and-swap would replace `claims.rs`, `lease.rs` and `splitter.rs`.

mod claims;
mod fault;
mod keys;
mod lease;
mod notification;
mod outbox;
pub mod postgres;
mod record;
mod run;
mod splitter;
mod sweep;

use std::fmt;

use crate::ports::StoreError;

pub use claims::{Claim, Claims, Holder, SEND_WITHIN, Won};
pub use fault::{EngineFault, Twice};
pub use keys::KeyList;
pub use lease::{Lease, Scan};
pub use outbox::{DeliveryState, Outbox};
pub use record::{OutcomeRecord, Settled};
pub use run::RunRecord;

/// Reports a value that can't be encoded or decoded as a failure of the store.
fn codec_error(error: impl fmt::Display) -> StoreError {
    StoreError(error.to_string())
}
