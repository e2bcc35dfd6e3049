//! A database in PostgreSQL.

use crate::secret::Secret;

/// A server of PostgreSQL, through the host's connections.
///
/// # Contract
///
/// - [`connect`](Self::connect) may take a connection from a pool that the whole host shares, and waits for one without
///   a limit. So a connection is dropped, which returns it, before anything slow is done: it is never held over a call
///   to the engine.
/// - A call blocks the instance until the server has answered: timers of this instance stand still meanwhile. Only the
///   URL's own parameters limit the time: `connect_timeout` that of the TCP connection alone, `tcp_user_timeout` and
///   `keepalives_idle` that of a server which is gone, and `statement_timeout` and `lock_timeout` in `options` that of a
///   statement. Nothing limits the wait for a server that is there but doesn't answer.
pub trait Sql {
    /// An open connection. Dropping it returns it to the host's pool.
    type Connection: SqlConnection;

    /// Opens a connection to the database of this URL. After an error, nothing has been executed.
    async fn connect(&self, url: &Secret) -> Result<Self::Connection, SqlError>;
}

/// An open connection to a database.
///
/// # Contract
///
/// - Each call is one statement, which commits on its own. There is no `BEGIN`: the pool may give a connection to the
///   next request without a rollback.
/// - Any error leaves the effect of the statement unknown: it may have happened, or may still happen. Callers have to
///   be correct in either case, and each statement has to be safe to repeat. The kind of the error is for the log and
///   for `/readyz`; nothing may depend on it.
/// - Parameters are `$1`, `$2` and so on. Parameters and columns have the types of [`SqlValue`]; a statement casts
///   everything else (`count(*)::int8`, `$1::text::jsonb`).
pub trait SqlConnection {
    /// Executes a statement and returns the number of rows that it has changed.
    async fn execute(&self, statement: &str, parameters: &[SqlValue]) -> Result<u64, SqlError>;
    /// Executes a statement and returns its rows.
    async fn query(&self, statement: &str, parameters: &[SqlValue]) -> Result<Vec<SqlRow>, SqlError>;
}

/// The columns of a row, in the order of the statement.
pub type SqlRow = Vec<SqlValue>;

/// A parameter or a column.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SqlValue {
    /// `NULL`, of any type.
    Null,
    /// An `int8`.
    Int(i64),
    /// A `text`, without U+0000, which PostgreSQL can't store.
    Text(String),
    /// A `bytea`.
    Bytes(Vec<u8>),
    /// A `bool`.
    Bool(bool),
}

/// The kind of a failed call. It has no text of the database or of the host: that may contain the URL with its
/// password, or a payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SqlError {
    /// The host refuses to connect to this URL.
    #[error("the host does not allow the connection")]
    Denied,
    /// The server can't be reached, or takes no connection now.
    #[error("there is no connection to the server")]
    Unreachable,
    /// The TCP connection was not established within `connect_timeout`.
    #[error("the server did not answer in time")]
    TimedOut,
    /// TLS failed: usually the server's certificate is not trusted.
    #[error("no TLS connection to the server is possible")]
    Tls,
    /// The server refuses the user or the password.
    #[error("the server refuses the user or the password")]
    Login,
    /// The server has no such database.
    #[error("the server has no such database")]
    NoDatabase,
    /// The server has answered a statement with an error, for instance because it took too long.
    #[error("the server has refused a statement")]
    Refused,
    /// The server has no space left for what a statement writes.
    #[error("the server has no space left")]
    Full,
    /// The connection broke, or the result was not understood.
    #[error("the connection broke, so the effect of a statement is unknown")]
    Broken,
}

/// The connection of a host that can't open one.
impl SqlConnection for std::convert::Infallible {
    async fn execute(&self, _: &str, _: &[SqlValue]) -> Result<u64, SqlError> {
        match *self {}
    }

    async fn query(&self, _: &str, _: &[SqlValue]) -> Result<Vec<SqlRow>, SqlError> {
        match *self {}
    }
}
