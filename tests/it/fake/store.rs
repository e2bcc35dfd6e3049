//! An in-memory store that counts its operations, and fails, takes its time or returns what is no longer there on
//! request.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::Value;
use sluice::ports::{Clock, KeyValue, StoreError};

use super::{Operation, World};

#[derive(Default)]
pub struct FakeStore {
    pub entries: RefCell<BTreeMap<String, Vec<u8>>>,
    /// Operations since the last [`FakeStore::take_cost`] or [`FakeStore::fail`], such as `get sluice:lease`.
    pub operations: RefCell<Vec<String>>,
    fault: Cell<StoreFault>,
    /// If set, operations take time, and reads may be stale.
    pub lag: Cell<Option<Lag>>,
    /// All values that the keys had, with the times at which they were written. Only kept if reads may be stale.
    history: RefCell<BTreeMap<String, Versions>>,
    chance: Cell<u64>,
}

/// The values of a key, each with the time at which it was written; `None` if it was deleted.
type Versions = Vec<(u64, Option<Vec<u8>>)>;

/// The store's times, in milliseconds. Each is drawn from zero to the value, both included.
#[derive(Clone, Copy, Debug)]
pub struct Lag {
    /// The time before an operation takes effect, and again until it returns.
    pub operation: u64,
    /// How far back a read may see. Each read goes to another replica, not even one's own writes are certain.
    pub stale: u64,
}

/// The operations that fail, numbered from 0 since [`FakeStore::fail`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum StoreFault {
    #[default]
    None,
    /// Only this operation.
    Once(usize),
    /// This operation and all after it.
    From(usize),
}

impl StoreFault {
    /// Each of the operations failing once, and with all that follow.
    pub fn each(operations: usize) -> impl Iterator<Item = Self> {
        (0..operations).flat_map(|nth| [Self::Once(nth), Self::From(nth)])
    }
}

impl FakeStore {
    /// Restarts the count of operations and sets which fail.
    pub fn fail(&self, fault: StoreFault) {
        self.operations.borrow_mut().clear();
        self.fault.set(fault);
    }

    pub fn recover(&self) {
        self.fault.set(StoreFault::None);
    }

    /// The keys with this prefix, without it.
    pub fn keys(&self, prefix: &str) -> Vec<String> {
        self.entries.borrow().keys().filter_map(|key| key.strip_prefix(prefix).map(str::to_owned)).collect()
    }

    /// The number of keys for which this holds.
    pub fn count(&self, is_counted: impl Fn(&str) -> bool) -> usize {
        self.entries.borrow().keys().filter(|key| is_counted(key)).count()
    }

    /// The value of the only key with this prefix.
    #[track_caller]
    pub fn only_record(&self, prefix: &str) -> Value {
        let entries = self.entries.borrow();
        let found: Vec<_> = entries.iter().filter(|(key, _)| key.starts_with(prefix)).collect();
        assert_eq!(found.len(), 1, "keys with {prefix} among {:?}", entries.keys());
        serde_json::from_slice(found[0].1).unwrap()
    }

    pub fn put(&self, key: impl Into<String>, value: &[u8]) {
        self.entries.borrow_mut().insert(key.into(), value.to_vec());
    }

    /// The number of the first operation that starts with this text, such as `delete sluice:pending:`.
    #[track_caller]
    pub fn position(&self, operation: &str) -> usize {
        let operations = self.operations.borrow();
        let position = operations.iter().position(|done| done.starts_with(operation));
        position.unwrap_or_else(|| panic!("no operation {operation} in {operations:?}"))
    }

    /// The number of operations since the last call; restarts the count.
    pub fn take_cost(&self) -> Cost {
        let mut cost = Cost::default();
        for operation in self.operations.borrow_mut().drain(..) {
            match operation.split(' ').next().unwrap() {
                "get" | "exists" => cost.reads += 1,
                "set" | "delete" => cost.writes += 1,
                _ => cost.scans += 1,
            }
        }
        cost
    }

    fn write(&self, key: &str, value: Option<&[u8]>, now: u64) {
        if self.lag.get().is_some_and(|lag| lag.stale > 0) {
            let mut history = self.history.borrow_mut();
            history.entry(key.to_owned()).or_default().push((now, value.map(<[u8]>::to_vec)));
        }
        match value {
            Some(value) => self.put(key, value),
            None => _ = self.entries.borrow_mut().remove(key),
        }
    }

    fn read(&self, key: &str, now: u64) -> Option<Vec<u8>> {
        let stale = self.lag.get().map_or(0, |lag| lag.stale);
        if stale == 0 {
            return self.entries.borrow().get(key).cloned();
        }
        let seen = now - draw(&self.chance, stale);
        let history = self.history.borrow();
        history.get(key)?.iter().rev().find(|(at, _)| *at <= seen)?.1.clone()
    }

    fn record(&self, operation: &str, key: &str) -> Result<(), StoreError> {
        assert!(
            ((key.starts_with("sluice:") || key.starts_with("sluice/")) && key.len() <= 255) || operation == "keys",
            "invalid key {key}"
        );
        let mut operations = self.operations.borrow_mut();
        let nth = operations.len();
        operations.push(format!("{operation} {key}"));
        let fails = match self.fault.get() {
            StoreFault::None => false,
            StoreFault::Once(failing) => nth == failing,
            StoreFault::From(failing) => nth >= failing,
        };
        if fails { Err(StoreError("disk full at /secret/path".to_owned())) } else { Ok(()) }
    }
}

/// A number from 0 to `most`, by a fixed seed (SplitMix64).
pub(super) fn draw(chance: &Cell<u64>, most: u64) -> u64 {
    chance.set(chance.get().wrapping_add(0x9E37_79B9_7F4A_7C15));
    let mixed = (chance.get() ^ (chance.get() >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    (mixed ^ (mixed >> 31)) % (most + 1)
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cost {
    pub reads: usize,
    pub writes: usize,
    /// Lists of all keys.
    pub scans: usize,
}

impl World {
    /// Half of the time that an operation of the store takes.
    async fn store_works(&self) {
        if let Some(lag) = self.store.lag.get() {
            let ms = draw(&self.store.chance, lag.operation);
            if ms > 0 {
                self.sleep(Duration::from_millis(ms)).await;
            }
        }
    }
}

impl KeyValue for World {
    async fn get(&self, key: &str) -> Result<Option<Vec<u8>>, StoreError> {
        self.store_works().await;
        self.store.record("get", key)?;
        let value = self.store.read(key, self.now());
        self.store_works().await;
        Ok(value)
    }

    async fn set(&self, key: &str, value: &[u8]) -> Result<(), StoreError> {
        self.store_works().await;
        self.store.record("set", key)?;
        self.store.write(key, Some(value), self.now());
        self.has_done(Operation::Write).await;
        self.store_works().await;
        Ok(())
    }

    async fn delete(&self, key: &str) -> Result<(), StoreError> {
        self.store_works().await;
        self.store.record("delete", key)?;
        self.store.write(key, None, self.now());
        self.has_done(Operation::Write).await;
        self.store_works().await;
        Ok(())
    }

    async fn exists(&self, key: &str) -> Result<bool, StoreError> {
        self.store_works().await;
        self.store.record("exists", key)?;
        let there = self.store.read(key, self.now()).is_some();
        self.store_works().await;
        Ok(there)
    }

    async fn keys(&self) -> Result<Vec<String>, StoreError> {
        self.store_works().await;
        self.store.record("keys", "")?;
        // Reversed: callers may not rely on any order.
        let keys: Vec<_> = self.store.entries.borrow().keys().rev().cloned().collect();
        self.store_works().await;
        Ok(keys)
    }
}
