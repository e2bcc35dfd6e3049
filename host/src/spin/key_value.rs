//! Key-value stores: what a host's components ask of them, counted, and made to fail on demand.

mod redis;
mod sqlite;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use anyhow::{Context, Result};

pub(crate) use self::redis::Redis;
pub(crate) use self::sqlite::Sqlite;
use crate::spin::logs::lock;

/// What a component asks of a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "they are the interface's own names")]
pub enum Kind {
    Open,
    Get,
    Set,
    Delete,
    Exists,
    GetKeys,
}

/// One operation of a component, before it is done.
#[derive(Clone, Copy, Debug)]
pub struct Operation<'a> {
    /// What is done.
    pub kind: Kind,
    /// The store's label.
    pub store: &'a str,
    /// The key, where there is one.
    pub key: Option<&'a str>,
}

/// How many operations components asked for, failed ones too.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs, reason = "they are the interface's own names")]
pub struct Counts {
    pub opens: u64,
    pub gets: u64,
    pub sets: u64,
    pub deletes: u64,
    pub exists: u64,
    pub get_keys: u64,
}

type Fault = dyn Fn(Operation<'_>) -> Option<String> + Send + Sync;

/// Where a store's data is.
#[derive(Clone)]
pub(crate) enum Backend {
    Sqlite(Sqlite),
    Redis(Redis),
}

/// The stores of a host: counted, and made to fail on demand. What a test does here itself is neither.
#[derive(Clone)]
pub struct KeyValue {
    /// By label.
    stores: Arc<BTreeMap<String, Backend>>,
    counts: Arc<Mutex<Counts>>,
    fault: Arc<Mutex<Option<Box<Fault>>>>,
}

impl KeyValue {
    pub(crate) fn new(stores: BTreeMap<String, Backend>) -> KeyValue {
        KeyValue { stores: Arc::new(stores), counts: Arc::default(), fault: Arc::default() }
    }

    /// Whether there is a store of this label.
    pub(crate) fn has(&self, store: &str) -> bool {
        self.stores.contains_key(store)
    }

    /// The counts since the start or the last reset.
    pub fn snapshot(&self) -> Counts {
        *lock(&self.counts)
    }

    /// Counts from zero again.
    pub fn reset(&self) {
        *lock(&self.counts) = Counts::default();
    }

    /// From now on an operation for which the hook has a reason fails by it, and nothing is done.
    pub fn fail(&self, hook: impl Fn(Operation<'_>) -> Option<String> + Send + Sync + 'static) {
        *lock(&self.fault) = Some(Box::new(hook));
    }

    /// No operation fails any more by the hook.
    pub fn heal(&self) {
        *lock(&self.fault) = None;
    }

    /// A component asks for an operation.
    pub(crate) fn admit(&self, operation: Operation<'_>) -> Result<(), String> {
        let mut counts = lock(&self.counts);
        *match operation.kind {
            Kind::Open => &mut counts.opens,
            Kind::Get => &mut counts.gets,
            Kind::Set => &mut counts.sets,
            Kind::Delete => &mut counts.deletes,
            Kind::Exists => &mut counts.exists,
            Kind::GetKeys => &mut counts.get_keys,
        } += 1;
        drop(counts);
        let reason = lock(&self.fault).as_ref().and_then(|fault| fault(operation));
        reason.map_or(Ok(()), Err)
    }

    /// Makes sure that a store can be reached, as far as opening it tells.
    pub(crate) async fn open(&self, store: &str) -> Result<()> {
        match self.backend(store)? {
            Backend::Sqlite(_) => Ok(()),
            Backend::Redis(redis) => redis.open().await.map(drop),
        }
    }

    /// The value of a key.
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

    /// Removes a key, if it is there.
    pub async fn delete(&self, store: &str, key: &str) -> Result<()> {
        match self.backend(store)? {
            Backend::Sqlite(sqlite) => sqlite.delete(store, key).await,
            Backend::Redis(redis) => redis.delete(key).await,
        }
    }

    /// Whether a key has a value.
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
        self.stores.get(store).with_context(|| format!("there is no key-value store {store:?}"))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    /// Two stores in a file.
    fn open(directory: &std::path::Path) -> KeyValue {
        let sqlite = Sqlite::open(Some(&directory.join("sub/data.db"))).unwrap();
        let stores = ["default", "other"].map(|label| (label.to_owned(), Backend::Sqlite(sqlite.clone())));
        KeyValue::new(stores.into())
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn what_is_set_is_there_after_a_restart() {
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
        let set = |key| store.admit(Operation { kind: Kind::Set, store: "default", key: Some(key) });
        store.fail(|operation| (operation.key == Some("bad")).then(|| "disk full".to_owned()));
        assert_eq!(set("good"), Ok(()));
        assert_eq!(set("bad"), Err("disk full".to_owned()));
        assert_eq!(store.snapshot(), Counts { sets: 2, ..Counts::default() });
        store.heal();
        store.reset();
        assert_eq!(set("bad"), Ok(()));
        assert_eq!(store.snapshot().sets, 1);
    }
}
