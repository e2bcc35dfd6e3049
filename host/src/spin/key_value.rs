//! Key-value stores in SQLite: Spin's own table, in Spin's own place.

use std::path::Path;
use std::sync::{Arc, Mutex};

use anyhow::{Context, Result};
use rusqlite::{Connection, OptionalExtension};

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

/// The stores of a host: counted, and made to fail on demand. What a test does here itself is neither.
#[derive(Clone)]
pub struct KeyValue {
    connection: Arc<tokio::sync::Mutex<Connection>>,
    counts: Arc<Mutex<Counts>>,
    fault: Arc<Mutex<Option<Box<Fault>>>>,
}

impl KeyValue {
    /// Opens `sqlite_key_value.db` in the directory, which it makes if need be.
    pub(crate) fn open(directory: &Path) -> Result<KeyValue> {
        let file = directory.join("sqlite_key_value.db");
        std::fs::create_dir_all(directory)
            .with_context(|| format!("can't make the directory {}", directory.display()))?;
        // SQLite's own journal and synchronous are kept, as in Spin: what is set is on disk when `set` returns.
        let connection = Connection::open(&file)
            .and_then(|connection| {
                connection.execute(
                    "CREATE TABLE IF NOT EXISTS spin_key_value (store TEXT NOT NULL, key TEXT NOT NULL, \
                     value BLOB NOT NULL, PRIMARY KEY (store, key))",
                    (),
                )?;
                Ok(connection)
            })
            .with_context(|| format!("can't open the key-value store {}", file.display()))?;
        Ok(KeyValue {
            connection: Arc::new(tokio::sync::Mutex::new(connection)),
            counts: Arc::default(),
            fault: Arc::default(),
        })
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

    /// The value of a key.
    pub async fn get(&self, store: &str, key: &str) -> Result<Option<Vec<u8>>> {
        let (store, key) = (store.to_owned(), key.to_owned());
        self.run(move |connection| {
            connection
                .prepare_cached("SELECT value FROM spin_key_value WHERE store = ?1 AND key = ?2")?
                .query_row((store, key), |row| row.get(0))
                .optional()
        })
        .await
    }

    /// Sets a key's value.
    pub async fn set(&self, store: &str, key: &str, value: Vec<u8>) -> Result<()> {
        let (store, key) = (store.to_owned(), key.to_owned());
        self.run(move |connection| {
            connection
                .prepare_cached(
                    "INSERT INTO spin_key_value (store, key, value) VALUES (?1, ?2, ?3) \
                     ON CONFLICT (store, key) DO UPDATE SET value = excluded.value",
                )?
                .execute((store, key, value))
        })
        .await
        .map(drop)
    }

    /// Removes a key, if it is there.
    pub async fn delete(&self, store: &str, key: &str) -> Result<()> {
        let (store, key) = (store.to_owned(), key.to_owned());
        self.run(move |connection| {
            connection.prepare_cached("DELETE FROM spin_key_value WHERE store = ?1 AND key = ?2")?.execute((store, key))
        })
        .await
        .map(drop)
    }

    /// All keys of a store.
    pub async fn keys(&self, store: &str) -> Result<Vec<String>> {
        let store = store.to_owned();
        self.run(move |connection| {
            connection
                .prepare_cached("SELECT key FROM spin_key_value WHERE store = ?1")?
                .query_map((store,), |row| row.get(0))?
                .collect()
        })
        .await
    }

    /// SQLite blocks, so it has a thread of its own; the lock is awaited first, so that it takes one thread only.
    async fn run<T: Send + 'static>(
        &self,
        act: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T> {
        let connection = self.connection.clone().lock_owned().await;
        Ok(tokio::task::spawn_blocking(move || act(&connection)).await??)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_set_is_there_after_a_restart() {
        let directory = tempfile::tempdir().unwrap();
        let first = KeyValue::open(directory.path()).unwrap();
        first.set("default", "a", b"1".to_vec()).await.unwrap();
        first.set("default", "a", b"2".to_vec()).await.unwrap();
        first.set("default", "b", Vec::new()).await.unwrap();
        first.set("other", "c", Vec::new()).await.unwrap();
        first.delete("default", "b").await.unwrap();
        first.delete("default", "b").await.unwrap();
        drop(first);

        let second = KeyValue::open(directory.path()).unwrap();
        assert_eq!(second.get("default", "a").await.unwrap(), Some(b"2".to_vec()));
        assert_eq!(second.get("default", "b").await.unwrap(), None);
        assert_eq!(second.keys("default").await.unwrap(), ["a"]);
    }

    #[tokio::test]
    async fn operations_are_counted_and_fail_on_demand() {
        let directory = tempfile::tempdir().unwrap();
        let store = KeyValue::open(directory.path()).unwrap();
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
