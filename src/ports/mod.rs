//! What the gateway needs from its host, as traits.
//!
//! The layers above are generic over these traits, so that the same code runs in Spin (`src/spin`), in the tests
//! (`tests/it/fake.rs`) and in memory ([`memory`]). All methods that may wait are `async`, whatever a host offers today:
//! a shell for WASI 0.3 changes nothing above this module.
//!
//! Each trait says what an implementation has to guarantee, and what it costs if it doesn't.
#![allow(async_fn_in_trait, reason = "a component instance has one thread: no future needs to be Send")]

pub mod memory;

use std::borrow::Cow;
use std::time::Duration;

use http::{Request, Response};

use crate::time::{ArrivalTime, Timestamp};

/// A key-value store: the operations that every Spin store offers, without compare-and-swap.
///
/// # Contract
///
/// - A single key behaves as an atomic register: operations on it take effect one after another, in an order that agrees
///   with real time. If reads may be stale, two claims of one key can both win, and one event can start two runs.
/// - [`set`](Self::set) returns only once the value survives a crash of the host. If it returns earlier, a delivery that
///   was answered `202 Accepted` can be lost.
/// - An error leaves the effect of a write unknown: it may happen later. Every caller has to be right in both cases.
///
/// Keys have at most 255 bytes, values at most 1 MB.
pub trait KeyValue {
    /// Returns the value of a key.
    async fn get(&self, key: &str) -> Result<Option<Vec<u8>>, StoreError>;
    /// Writes a value.
    async fn set(&self, key: &str, value: &[u8]) -> Result<(), StoreError>;
    /// Removes a key. Removing a key that doesn't exist succeeds.
    async fn delete(&self, key: &str) -> Result<(), StoreError>;
    /// Returns whether a key exists.
    async fn exists(&self, key: &str) -> Result<bool, StoreError>;
    /// Returns all keys, in no particular order.
    ///
    /// This reads the whole store, so it is never called while a sender waits. A key that was written before the call
    /// has to be in the list: a pending delivery that is missing waits for the next scan, up to 15 minutes.
    async fn keys(&self) -> Result<Vec<String>, StoreError>;
}

/// An operation of the store failed. The reason is for the log, never for a sender.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the key-value store failed: {0}")]
pub struct StoreError(pub String);

/// Time limits of an outbound call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// Until the connection is established.
    pub connect: Duration,
    /// The whole attempt, from name resolution to the last byte of the response. It also bounds the time to the first
    /// byte.
    pub total: Duration,
}

/// Outbound HTTP, to the engine.
///
/// # Contract
///
/// [`SendError::NotSent`] is a promise that the server has not seen a byte of the request: the request is sent again
/// without asking the engine. An implementation that returns it for a request that may have arrived starts runs twice.
/// When in doubt, return [`SendError::NoAnswer`].
pub trait Http {
    /// Sends one request and reads its whole response, of at most [`crate::engine::MAX_ANSWER_BYTES`] bytes.
    async fn send(&self, request: Request<Vec<u8>>, timeouts: Timeouts) -> Result<Response<Vec<u8>>, SendError>;
}

/// Why no complete response arrived: the transport's part in what became of a delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    /// The engine has not seen the request.
    #[error("the engine can't be reached: {0}")]
    NotSent(&'static str),
    /// The host's configuration forbids the call.
    #[error("the host does not allow the call to the engine: {0}")]
    Denied(&'static str),
    /// The engine may have seen the request and acted on it.
    #[error("the engine sent no complete response: {0}")]
    NoAnswer(&'static str),
}

/// Time and sleeping.
///
/// # Contract
///
/// The clocks of all hosts that share a store agree within [`crate::time::MAX_CLOCK_SKEW`]. Claims stay exclusive with
/// any clock, but leases end early or late, and back-off is wrong by as much.
pub trait Clock {
    /// Returns the wall-clock time, with nanoseconds. Two calls one after another should differ: the nanoseconds keep
    /// deliveries of one sender in order.
    fn arrival_time(&self) -> ArrivalTime;
    /// Returns the wall-clock time in milliseconds.
    fn now(&self) -> Timestamp {
        self.arrival_time().at
    }
    /// Waits.
    async fn sleep(&self, duration: Duration);
}

/// A cryptographically secure random number generator.
///
/// # Contract
///
/// No two calls on any host return the same bits, but by chance. Repeated bits give two deliveries one id, and two
/// claimants one name: then both may win.
pub trait Rng {
    /// Returns 64 random bits.
    fn random(&self) -> u64;
}

/// The application's variables.
///
/// # Contract
///
/// A variable that can't be read is an error, never an empty text: an empty secret switches its check off.
pub trait Variables {
    /// Returns a variable's value; `None` if the manifest doesn't declare it.
    fn variable(&self, name: &str) -> Result<Option<Cow<'_, str>>, VariableError>;
}

/// The provider of a variable did not answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the variable can't be read: {0}")]
pub struct VariableError(pub String);

/// Everything the gateway needs from its host.
pub trait Host: KeyValue + Http + Clock + Rng + Variables {}

impl<T: KeyValue + Http + Clock + Rng + Variables> Host for T {}

/// The body of a request, in pieces, so that its size is checked before it is in memory.
pub trait Body {
    /// Returns the next piece; `None` at the end.
    async fn chunk(&mut self) -> Option<Result<Vec<u8>, BodyError>>;
}

/// The sender closed the connection before the end of its body.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the body ended early")]
pub struct BodyError;
