//! Key-value stores. Operations of components are counted, and tests can inject faults.

mod redis;
mod sqlite;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use anyhow::{Context, Result};

pub(crate) use self::redis::Redis;
pub(crate) use self::sqlite::Sqlite;
use crate::spin::logs::lock;

/// The kind of an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "named like the functions of the interface")]
pub enum OperationKind {
    Open,
    Get,
    Set,
    Delete,
    Exists,
    GetKeys,
}

/// An operation that a component requests.
#[derive(Clone, Copy, Debug)]
pub struct Operation<'a> {
    /// The kind of operation.
    pub kind: OperationKind,
    /// The store's label.
    pub store: &'a str,
    /// The key, except for `open` and `get-keys`.
    pub key: Option<&'a str>,
}

/// Numbers of operations that components requested, including failed ones.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs, reason = "named like the functions of the interface")]
pub struct Counts {
    pub opens: u64,
    pub gets: u64,
    pub sets: u64,
    pub deletes: u64,
    pub exists: u64,
    pub get_keys: u64,
}

/// Returns the error with which an operation fails, or `None` to let it pass.
type FaultHook = dyn Fn(Operation<'_>) -> Option<String> + Send + Sync;

/// The storage behind a store.
#[derive(Clone)]
pub(crate) enum Backend {
    Sqlite(Sqlite),
    Redis(Redis),
}

/// The stores of a host.
///
/// Operations of components are counted, and a fault hook can make them fail. Calls to the methods below are not
/// counted and bypass the hook.
#[derive(Clone)]
pub struct KeyValue {
    /// By label.
    stores: Arc<BTreeMap<String, Backend>>,
    counts: Arc<Mutex<Counts>>,
    fault: Arc<Mutex<Option<Box<FaultHook>>>>,
}

impl KeyValue {
    pub(crate) fn new(stores: BTreeMap<String, Backend>) -> KeyValue {
        KeyValue { stores: Arc::new(stores), counts: Arc::default(), fault: Arc::default() }
    }

    /// Whether a store with this label exists.
    pub(crate) fn has(&self, store: &str) -> bool {
        self.stores.contains_key(store)
    }

    /// The counts since the start or the last reset.
    pub fn counts(&self) -> Counts {
        *lock(&self.counts)
    }

    /// Resets the counts to zero.
    pub fn reset_counts(&self) {
        *lock(&self.counts) = Counts::default();
    }

    /// Installs a fault hook: an operation for which it returns an error fails with that error and has no effect.
    pub fn inject_faults(&self, hook: impl Fn(Operation<'_>) -> Option<String> + Send + Sync + 'static) {
        *lock(&self.fault) = Some(Box::new(hook));
    }

    /// Removes the fault hook.
    pub fn clear_faults(&self) {
        *lock(&self.fault) = None;
    }

    /// Counts an operation of a component, and returns the error that the fault hook injects.
    pub(crate) fn begin(&self, operation: Operation<'_>) -> Result<(), String> {
        let mut counts = lock(&self.counts);
        *match operation.kind {
            OperationKind::Open => &mut counts.opens,
            OperationKind::Get => &mut counts.gets,
            OperationKind::Set => &mut counts.sets,
            OperationKind::Delete => &mut counts.deletes,
            OperationKind::Exists => &mut counts.exists,
            OperationKind::GetKeys => &mut counts.get_keys,
        } += 1;
        drop(counts);
        let reason = lock(&self.fault).as_ref().and_then(|fault| fault(operation));
        reason.map_or(Ok(()), Err)
    }

    /// Opens a store. This fails if Redis is unreachable.
    pub(crate) async fn open(&self, store: &str) -> Result<()> {
        match self.backend(store)? {
            Backend::Sqlite(sqlite) => sqlite.open_store().await,
            Backend::Redis(redis) => redis.open().await.map(drop),
        }
    }

    /// The value of a key; `None` if the key doesn't exist.
    pub async fn get(&self, store: &str, key: &str) -> Result<Option<Vec<u8>>> {
        match self.backend(store)? {
            Backend::Sqlite(sqlite) => sqlite.get(store, key).await,
            Backend::Redis(redis) => redis.get(key).await,
        }
    }

    /// Sets a key's value.
    pub async fn set(&self, store: &str, key: &str, value: Vec<u8>) -> Result<()> {
        match self.backend(store)? {
            Backend::Sqlite(sqlite) => sqlite.set(store, key, value).await,
            Backend::Redis(redis) => redis.set(key, value).await,
        }
    }

    /// Removes a key if it exists.
    pub async fn delete(&self, store: &str, key: &str) -> Result<()> {
        match self.backend(store)? {
            Backend::Sqlite(sqlite) => sqlite.delete(store, key).await,
            Backend::Redis(redis) => redis.delete(key).await,
        }
    }

    /// Whether a key exists.
    pub async fn exists(&self, store: &str, key: &str) -> Result<bool> {
        match self.backend(store)? {
            Backend::Sqlite(sqlite) => Ok(sqlite.get(store, key).await?.is_some()),
            Backend::Redis(redis) => redis.exists(key).await,
        }
    }

    /// All keys of a store.
    pub async fn keys(&self, store: &str) -> Result<Vec<String>> {
        match self.backend(store)? {
            Backend::Sqlite(sqlite) => sqlite.keys(store).await,
            Backend::Redis(redis) => redis.keys().await,
        }
    }

    fn backend(&self, store: &str) -> Result<&Backend> {
        self.stores.get(store).with_context(|| format!("unknown key-value store {store:?}"))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    /// Opens two stores in one file.
    fn open(directory: &std::path::Path) -> KeyValue {
        let sqlite = Sqlite::open(Some(&directory.join("sub/data.db"))).unwrap();
        let stores = ["default", "other"].map(|label| (label.to_owned(), Backend::Sqlite(sqlite.clone())));
        KeyValue::new(stores.into())
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn values_survive_a_restart() {
        let directory = tempfile::tempdir().unwrap();
        let first = open(directory.path());
        first.set("default", "a", b"1".to_vec()).await.unwrap();
        first.set("default", "a", b"2".to_vec()).await.unwrap();
        first.set("default", "b", Vec::new()).await.unwrap();
        first.set("other", "c", Vec::new()).await.unwrap();
        first.delete("default", "b").await.unwrap();
        first.delete("default", "b").await.unwrap();
        drop(first);

        let second = open(directory.path());
        assert_eq!(second.get("default", "a").await.unwrap(), Some(b"2".to_vec()));
        assert_eq!(second.get("default", "b").await.unwrap(), None);
        assert_eq!(second.keys("default").await.unwrap(), ["a"]);
        assert_eq!((second.exists("default", "a").await.unwrap(), second.has("third")), (true, false));
        assert!(second.get("third", "a").await.is_err());
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn operations_are_counted_and_fail_on_demand() {
        let directory = tempfile::tempdir().unwrap();
        let store = open(directory.path());
        let set = |key| store.begin(Operation { kind: OperationKind::Set, store: "default", key: Some(key) });
        store.inject_faults(|operation| (operation.key == Some("bad")).then(|| "disk full".to_owned()));
        assert_eq!(set("good"), Ok(()));
        assert_eq!(set("bad"), Err("disk full".to_owned()));
        assert_eq!(store.counts(), Counts { sets: 2, ..Counts::default() });
        store.clear_faults();
        store.reset_counts();
        assert_eq!(set("bad"), Ok(()));
        assert_eq!(store.counts().sets, 1);
    }
}
