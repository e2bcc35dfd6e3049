//! A host in memory with simulated time, for examples and experiments, and as a starting point for another host.
//!
//! Nothing is durable, and two [`Memory`] hosts share nothing.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::time::Duration;

use http::{Request, Response};

use super::{
    Body, BodyError, Clock, Http, KeyValue, Rng, SendError, Sql, SqlError, StoreError, Timeouts, VariableError,
    Variables,
};
use crate::secret::Secret;
use crate::time::{ArrivalTime, Timestamp};

/// A host in memory: a store, an engine that can't be reached, a simulated clock, random bits from a counter, and a
/// table of variables.
///
/// To reach an engine, wrap it in a type that implements [`Http`] itself and forwards all other calls.
#[derive(Debug, Default)]
pub struct Memory {
    store: RefCell<BTreeMap<String, Vec<u8>>>,
    /// Nanoseconds since the Unix epoch.
    nanoseconds: Cell<u64>,
    random_calls: Cell<u64>,
    variables: BTreeMap<String, String>,
}

impl Memory {
    /// A host at the Unix epoch, with these variables.
    pub fn new<'v>(variables: impl IntoIterator<Item = (&'v str, &'v str)>) -> Self {
        let variables = variables.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        Self { variables, ..Self::default() }
    }
}

impl KeyValue for Memory {
    async fn get(&self, key: &str) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.store.borrow().get(key).cloned())
    }

    async fn set(&self, key: &str, value: &[u8]) -> Result<(), StoreError> {
        self.store.borrow_mut().insert(key.to_owned(), value.to_vec());
        Ok(())
    }

    async fn delete(&self, key: &str) -> Result<(), StoreError> {
        self.store.borrow_mut().remove(key);
        Ok(())
    }

    async fn exists(&self, key: &str) -> Result<bool, StoreError> {
        Ok(self.store.borrow().contains_key(key))
    }

    async fn keys(&self) -> Result<Vec<String>, StoreError> {
        Ok(self.store.borrow().keys().cloned().collect())
    }
}

/// No network: no database can be reached.
impl Sql for Memory {
    type Connection = Infallible;

    async fn connect(&self, _: &Secret) -> Result<Infallible, SqlError> {
        Err(SqlError::Unreachable)
    }
}

/// No network: every request fails before it is sent.
impl Http for Memory {
    async fn send(&self, _: Request<Vec<u8>>, _: Timeouts) -> Result<Response<Vec<u8>>, SendError> {
        Err(SendError::NotSent("this host has no network"))
    }
}

impl Clock for Memory {
    /// Each reading is a nanosecond later than the one before.
    fn arrival_time(&self) -> ArrivalTime {
        self.nanoseconds.set(self.nanoseconds.get().saturating_add(1));
        ArrivalTime::since_epoch(Duration::from_nanos(self.nanoseconds.get()))
    }

    fn now(&self) -> Timestamp {
        ArrivalTime::since_epoch(Duration::from_nanos(self.nanoseconds.get())).at
    }

    fn monotonic(&self) -> Duration {
        Duration::from_nanos(self.nanoseconds.get())
    }

    /// Advances the clock and returns at once.
    async fn sleep(&self, duration: Duration) {
        let slept = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        self.nanoseconds.set(self.nanoseconds.get().saturating_add(slept));
    }
}

/// A counter: its values are unique within one host, but predictable.
impl Rng for Memory {
    fn random(&self) -> u64 {
        self.random_calls.replace(self.random_calls.get().wrapping_add(1))
    }
}

impl Variables for Memory {
    fn variable(&self, name: &str) -> Result<Option<&str>, VariableError> {
        Ok(self.variables.get(name).map(String::as_str))
    }
}

/// A body that is already in memory, as a single chunk.
#[derive(Clone, Debug, Default)]
pub struct WholeBody(Option<Vec<u8>>);

impl WholeBody {
    /// A body of these bytes.
    pub fn new(bytes: impl Into<Vec<u8>>) -> Self {
        Self(Some(bytes.into()))
    }
}

impl Body for WholeBody {
    async fn chunk(&mut self) -> Option<Result<Vec<u8>, BodyError>> {
        self.0.take().map(Ok)
    }
}
