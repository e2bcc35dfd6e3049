//! Key-value stores in SQLite, in Spin's table: one row per store label and key.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result};
use rusqlite::{Connection, OptionalExtension};

/// A database, in a file or in memory, that holds any number of stores.
#[derive(Clone)]
pub(crate) struct Sqlite(Arc<Mutex<Connection>>);

impl Sqlite {
    /// Opens a file, creating it and its directory if necessary; `None` opens a database in memory.
    pub(crate) fn open(file: Option<&Path>) -> Result<Sqlite> {
        let connection = match file {
            None => Connection::open_in_memory(),
            Some(file) => {
                if let Some(directory) = file.parent() {
                    std::fs::create_dir_all(directory)
                        .with_context(|| format!("can't create the directory {}", directory.display()))?;
                }
                Connection::open(file)
            }
        };
        // As in Spin, `journal_mode` and `synchronous` keep SQLite's defaults: a value is on disk when `set` returns.
        let connection = connection
            .and_then(|connection| {
                connection.execute(
                    "CREATE TABLE IF NOT EXISTS spin_key_value (store TEXT NOT NULL, key TEXT NOT NULL, \
                     value BLOB NOT NULL, PRIMARY KEY (store, key))",
                    (),
                )?;
                Ok(connection)
            })
            .with_context(|| {
                format!("can't open the key-value store {}", file.unwrap_or(Path::new("in memory")).display())
            })?;
        Ok(Sqlite(Arc::new(Mutex::new(connection))))
    }

    /// Opens a store, which always succeeds, and blocks as in Spin's `crates/key-value-spin`, `KeyValueSqlite::get`.
    pub(crate) async fn open_store(&self) -> Result<()> {
        tokio::task::block_in_place(|| Ok(()))
    }

    pub(crate) async fn get(&self, store: &str, key: &str) -> Result<Option<Vec<u8>>> {
        self.run(|connection| {
            connection
                .prepare_cached("SELECT value FROM spin_key_value WHERE store = ?1 AND key = ?2")?
                .query_row((store, key), |row| row.get(0))
                .optional()
        })
    }

    pub(crate) async fn set(&self, store: &str, key: &str, value: Vec<u8>) -> Result<()> {
        self.run(|connection| {
            connection
                .prepare_cached(
                    "INSERT INTO spin_key_value (store, key, value) VALUES (?1, ?2, ?3) \
                     ON CONFLICT (store, key) DO UPDATE SET value = excluded.value",
                )?
                .execute((store, key, value))
        })
        .map(drop)
    }

    pub(crate) async fn delete(&self, store: &str, key: &str) -> Result<()> {
        self.run(|connection| {
            connection.prepare_cached("DELETE FROM spin_key_value WHERE store = ?1 AND key = ?2")?.execute((store, key))
        })
        .map(drop)
    }

    pub(crate) async fn keys(&self, store: &str) -> Result<Vec<String>> {
        self.run(|connection| {
            connection
                .prepare_cached("SELECT key FROM spin_key_value WHERE store = ?1")?
                .query_map((store,), |row| row.get(0))?
                .collect()
        })
    }

    /// Runs a blocking query. As in Spin, the runtime moves the thread's other tasks to another thread meanwhile.
    fn run<T>(&self, query: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> Result<T> {
        tokio::task::block_in_place(|| Ok(query(&self.0.lock().unwrap_or_else(PoisonError::into_inner))?))
    }
}
