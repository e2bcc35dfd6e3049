//! The interfaces of the host, as traits.
//!
//! The layers above are generic over these traits: the same code runs in Spin (`src/spin`), in the tests
//! (`tests/it/fake.rs`) and in memory ([`memory`]). Every method that may wait is `async`, even where today's host
//! offers only a blocking call, so a shell for WASI 0.3 changes nothing above this layer.
//!
//! Each trait documents what an implementation has to guarantee, and what breaks if it doesn't.
#![allow(async_fn_in_trait, reason = "a component instance has one thread: no future needs to be Send")]

pub mod memory;
mod sql;

use std::time::Duration;

use http::header::CONTENT_LENGTH;
use http::{HeaderMap, Request, Response};

use crate::time::{ArrivalTime, Timestamp};

pub use sql::{Sql, SqlConnection, SqlError, SqlRow, SqlValue};

/// A key-value store: the operations that every Spin store offers, without compare-and-swap.
///
/// # Contract
///
/// - A single key behaves as an atomic register: operations on it take effect one after another, in an order that
///   agrees with real time. If reads may be stale, two claims of one key can both win, and one event can start two
///   runs.
/// - [`set`](Self::set) returns only once the value survives a crash of the host. If it returns earlier, a delivery
///   that was answered `202 Accepted` can be lost.
/// - An error leaves the effect of a write unknown: it may still happen, even later. Callers have to be correct in
///   either case.
///
/// Keys have at most 255 bytes. With the default `max_body_bytes`, values are at most 1 MB.
pub trait KeyValue {
    /// Returns the value of a key.
    async fn get(&self, key: &str) -> Result<Option<Vec<u8>>, StoreError>;
    /// Writes the value of a key.
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

/// A failed operation of the store. The reason is for the log, and never sent to a sender.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the store failed: {0}")]
pub struct StoreError(pub String);

/// Time limits of an outbound call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// The time limit for establishing the connection.
    pub connect: Duration,
    /// The time limit for the whole call, from name resolution to the last byte of the response. It also limits the
    /// time to the first byte.
    pub total: Duration,
}

/// Outbound HTTP, to the engine.
///
/// # Contract
///
/// [`SendError::NotSent`] promises that the engine has not seen a byte of the request: it is sent again without looking
/// up its run first. If an implementation returns it for a request that may have arrived, a run can start twice. Unless
/// it is certain, it has to return [`SendError::NoResponse`].
pub trait Http {
    /// Sends one request and reads its whole response, of at most [`crate::engine::MAX_RESPONSE_BYTES`] bytes.
    async fn send(&self, request: Request<Vec<u8>>, timeouts: Timeouts) -> Result<Response<Vec<u8>>, SendError>;
}

/// The reason why no complete response arrived, as the transport reports it. The text adds a cause, for the log.
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
    NoResponse(&'static str),
}

/// Time and sleeping.
///
/// # Contract
///
/// The clocks of all hosts that share a store agree within [`crate::time::MAX_CLOCK_SKEW`]. With a larger difference,
/// two claims of one key can both win near the boundary of two retention windows. By any difference, the lease ends too
/// early or too late, and back-off is too short or too long.
pub trait Clock {
    /// Returns the wall-clock time, with nanoseconds. Successive calls should return different values: the nanoseconds
    /// keep deliveries of one sender in order.
    fn arrival_time(&self) -> ArrivalTime;
    /// Returns the wall-clock time in milliseconds.
    fn now(&self) -> Timestamp {
        self.arrival_time().at
    }
    /// Returns the time since some point that is fixed while the instance lives. It never goes backwards, and nobody sets
    /// it.
    fn monotonic(&self) -> Duration;
    /// Waits for `duration`.
    async fn sleep(&self, duration: Duration);
}

/// A cryptographically secure random number generator.
///
/// # Contract
///
/// The bits of any two calls, on any hosts, are independent. A generator that repeats itself can give two deliveries
/// the same id, and two contenders for a key the same name: then both may win.
pub trait Rng {
    /// Returns 64 random bits.
    fn random(&self) -> u64;
}

/// The application's variables.
///
/// # Contract
///
/// A variable that can't be read is an error, never an empty text: an empty secret disables the check that uses it.
pub trait Variables {
    /// Returns a variable's value; `None` if the manifest doesn't declare it.
    fn variable(&self, name: &str) -> Result<Option<&str>, VariableError>;
}

/// The error of a variable whose provider did not answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the variable can't be read: {0}")]
pub struct VariableError(pub String);

/// Everything the gateway needs from its host.
pub trait Host: KeyValue + Sql + Http + Clock + Rng + Variables {}

impl<T: KeyValue + Sql + Http + Clock + Rng + Variables> Host for T {}

/// The body of a request, read in chunks: its size is checked before all of it is in memory.
pub trait Body {
    /// Returns the next chunk; `None` at the end.
    async fn chunk(&mut self) -> Option<Result<Vec<u8>, BodyError>>;
}

/// The length in `Content-Length`, if there is a valid one.
pub fn content_length(headers: &HeaderMap) -> Option<u64> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// The error of a body whose sender closed the connection before its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the body ended early")]
pub struct BodyError;
