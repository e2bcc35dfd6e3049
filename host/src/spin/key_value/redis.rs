//! A store in Redis, as Spin lays it out: a key is a plain string under its own name, so that a store's label is no
//! namespace, and to list the keys is `KEYS *`, which lists all of the database.

use std::sync::Arc;

use anyhow::{Result, anyhow};
use redis::aio::ConnectionManager;
use redis::{AsyncCommands, Client, RedisError};
use tokio::sync::OnceCell;

/// A database of a Redis server. Its connection is made when a store is first opened, and made again when it breaks.
#[derive(Clone)]
pub(crate) struct Redis {
    client: Client,
    connection: Arc<OnceCell<ConnectionManager>>,
}

impl Redis {
    pub(crate) fn new(url: &str) -> Result<Redis> {
        // Not with the URL in it: that has the password.
        let client = Client::open(url).map_err(|_| anyhow!("its url is not one of Redis"))?;
        Ok(Redis { client, connection: Arc::default() })
    }

    /// Fails while there is no server.
    pub(crate) async fn open(&self) -> Result<ConnectionManager> {
        // Spin's own settings: no time-outs, and six tries to come back.
        let connection = self.connection.get_or_try_init(|| self.client.get_connection_manager()).await;
        connection.cloned().map_err(told)
    }

    pub(crate) async fn get(&self, key: &str) -> Result<Option<Vec<u8>>> {
        self.open().await?.get(key).await.map_err(told)
    }

    pub(crate) async fn set(&self, key: &str, value: Vec<u8>) -> Result<()> {
        self.open().await?.set(key, value).await.map_err(told)
    }

    pub(crate) async fn delete(&self, key: &str) -> Result<()> {
        self.open().await?.del(key).await.map_err(told)
    }

    pub(crate) async fn exists(&self, key: &str) -> Result<bool> {
        self.open().await?.exists(key).await.map_err(told)
    }

    pub(crate) async fn keys(&self) -> Result<Vec<String>> {
        self.open().await?.keys("*").await.map_err(told)
    }
}

/// In Spin too a component is told the error as it is for debugging.
fn told(error: RedisError) -> anyhow::Error {
    anyhow!("{error:?}")
}
