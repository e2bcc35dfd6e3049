//! An in-memory store that counts its operations and fails on request.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;

use serde_json::Value;
use sluice::ports::{KeyValue, StoreError};

use super::World;

#[derive(Default)]
pub struct FakeStore {
    pub entries: RefCell<BTreeMap<String, Vec<u8>>>,
    /// Operations since the last [`FakeStore::take_cost`] or [`FakeStore::fail`], such as `get sluice/lease`.
    pub operations: RefCell<Vec<String>>,
    fault: Cell<StoreFault>,
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

    /// The number of the first operation that starts with this text, such as `delete sluice/pending/`.
    #[track_caller]
    pub fn position(&self, operation: &str) -> usize {
        let operations = self.operations.borrow();
        let position = operations.iter().position(|done| done.starts_with(operation));
        position.unwrap_or_else(|| panic!("no operation {operation} in {operations:?}"))
    }

    /// Deletes everything but the claims of keys: the state that claimants leave which stopped right after claiming.
    pub fn keep_claims(&self) {
        let is_claim = |key: &str| key.starts_with("sluice/flag/") || key.starts_with("sluice/door/");
        self.entries.borrow_mut().retain(|key, _| is_claim(key));
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

    fn record(&self, operation: &str, key: &str) -> Result<(), StoreError> {
        assert!((key.starts_with("sluice/") && key.len() <= 255) || operation == "keys", "invalid key {key}");
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

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cost {
    pub reads: usize,
    pub writes: usize,
    /// Lists of all keys.
    pub scans: usize,
}

impl KeyValue for World {
    async fn get(&self, key: &str) -> Result<Option<Vec<u8>>, StoreError> {
        self.store.record("get", key)?;
        Ok(self.store.entries.borrow().get(key).cloned())
    }

    async fn set(&self, key: &str, value: &[u8]) -> Result<(), StoreError> {
        self.store.record("set", key)?;
        self.store.put(key, value);
        Ok(())
    }

    async fn delete(&self, key: &str) -> Result<(), StoreError> {
        self.store.record("delete", key)?;
        self.store.entries.borrow_mut().remove(key);
        Ok(())
    }

    async fn exists(&self, key: &str) -> Result<bool, StoreError> {
        self.store.record("exists", key)?;
        Ok(self.store.entries.borrow().contains_key(key))
    }

    async fn keys(&self) -> Result<Vec<String>, StoreError> {
        self.store.record("keys", "")?;
        // Reversed: callers may not rely on any order.
        Ok(self.store.entries.borrow().keys().rev().cloned().collect())
    }
}
