//! A key-value store in Redis, with Spin's layout: each key is a plain string of the same name. The store's label is
//! not a namespace, and listing the keys is `KEYS *`, which lists the whole database.

use std::sync::Arc;

use anyhow::{Result, anyhow};
use redis::aio::ConnectionManager;
use redis::{AsyncCommands, Client, RedisError};
use tokio::sync::OnceCell;

/// A database of a Redis server. It connects when a store is first opened, and reconnects when the connection breaks.
#[derive(Clone)]
pub(crate) struct Redis {
    client: Client,
    connection: Arc<OnceCell<ConnectionManager>>,
}

impl Redis {
    pub(crate) fn new(url: &str) -> Result<Redis> {
        // The URL may contain the password, so the error must not show it.
        let client = Client::open(url).map_err(|_| anyhow!("the url isn't a Redis URL"))?;
        Ok(Redis { client, connection: Arc::default() })
    }

    /// Connects on first use; fails if the server is unreachable.
    pub(crate) async fn open(&self) -> Result<ConnectionManager> {
        // Spin's settings: no timeouts, and six attempts to reconnect.
        let connection = self.connection.get_or_try_init(|| self.client.get_connection_manager()).await;
        connection.cloned().map_err(debug_error)
    }

    pub(crate) async fn get(&self, key: &str) -> Result<Option<Vec<u8>>> {
        self.open().await?.get(key).await.map_err(debug_error)
    }

    pub(crate) async fn set(&self, key: &str, value: Vec<u8>) -> Result<()> {
        self.open().await?.set(key, value).await.map_err(debug_error)
    }

    pub(crate) async fn delete(&self, key: &str) -> Result<()> {
        self.open().await?.del(key).await.map_err(debug_error)
    }

    pub(crate) async fn exists(&self, key: &str) -> Result<bool> {
        self.open().await?.exists(key).await.map_err(debug_error)
    }

    pub(crate) async fn keys(&self) -> Result<Vec<String>> {
        self.open().await?.keys("*").await.map_err(debug_error)
    }
}

/// The error in its debug format, which is what Spin returns to a component.
fn debug_error(error: RedisError) -> anyhow::Error {
    anyhow!("{error:?}")
}
