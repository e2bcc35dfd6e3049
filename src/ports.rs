//! All that the core asks of outside. Rooms above are generic over these traits; in Spin the shell implements them, in
//! tests a fake does. They are asynchronous whatever a host offers, so that a shell for WASIp3 needs no change above.
#![allow(async_fn_in_trait, reason = "one thread a component instance: no future needs to be Send")]

use std::borrow::Cow;
use std::time::Duration;

use http::{Request, Response};

use crate::time::{Instant, Timestamp};

/// The key-value store: the four operations that are safe on every host, and the list of keys.
pub trait Store {
    /// The value of a key.
    async fn get(&self, key: &str) -> Result<Option<Vec<u8>>, StoreError>;
    /// Writes a value; it is on disk when this returns, where the store is on a disk.
    async fn set(&self, key: &str, value: &[u8]) -> Result<(), StoreError>;
    /// Removes a key; one that isn't there is removed as well.
    async fn delete(&self, key: &str) -> Result<(), StoreError>;
    /// Is there such a key?
    async fn exists(&self, key: &str) -> Result<bool, StoreError>;
    /// All keys, in no order: a scan of the whole store, so never on a sender's way.
    async fn keys(&self) -> Result<Vec<String>, StoreError>;
}

/// The store didn't do it. The reason is for the log, not for a sender.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the key-value store failed: {0}")]
pub struct StoreError(pub String);

/// How long an outbound call may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// Until the connection stands.
    pub connect: Duration,
    /// The whole attempt, from the first look-up to the last byte of the answer; the first byte has no more time.
    pub total: Duration,
}

/// The outbound call to the engine.
pub trait Engine {
    /// Sends one request and reads its whole answer, of at most [`crate::engine::MAX_ANSWER_BYTES`] bytes.
    async fn send(&self, request: Request<Vec<u8>>, timeouts: Timeouts) -> Result<Response<Vec<u8>>, SendError>;
}

/// No whole answer came.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    /// The engine has not seen the request.
    #[error("the engine can't be reached: {0}")]
    NotSent(&'static str),
    /// Our own configuration forbids the call.
    #[error("the engine must not be called: {0}")]
    Denied(&'static str),
    /// The engine may have seen the request, and acted.
    #[error("the engine gave no whole answer: {0}")]
    NoAnswer(&'static str),
}

/// What can't be computed.
pub trait Clock {
    /// The wall clock.
    fn instant(&self) -> Instant;
    /// The same, to the millisecond.
    fn now(&self) -> Timestamp {
        self.instant().at
    }
    /// Waits so long.
    async fn sleep(&self, duration: Duration);
    /// Random bits that no one can guess.
    fn entropy(&self) -> u64;
}

/// The application's variables.
pub trait Variables {
    /// The value; `None` if the manifest has no such variable.
    fn variable(&self, name: &str) -> Result<Option<Cow<'_, str>>, VariableError>;
}

/// A provider of variables didn't answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the variable can't be read: {0}")]
pub struct VariableError(pub String);

/// All of it.
pub trait Outside: Store + Engine + Clock + Variables {}

impl<T: Store + Engine + Clock + Variables> Outside for T {}

/// The body of a request, piece by piece, so that it is bounded before it is held.
pub trait Body {
    /// The next piece; `None` at the end.
    async fn chunk(&mut self) -> Option<Result<Vec<u8>, BodyError>>;
}

/// The sender went away before the end of its body.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the body ended early")]
pub struct BodyError;
