//! PostgreSQL, through `fermyon:spin/postgres@2.0.0`. Each call blocks the instance until the server has answered.

use spin_sdk::pg;

use super::wait::note_wait;
use crate::ports::{SqlConnection, SqlError, SqlRow, SqlValue};

/// A connection, which Spin 3.4 and later take from a pool of 64. Dropping it returns it.
pub(super) struct Connection(pg::Connection);

impl Connection {
    pub(super) fn open(url: &str) -> Result<Self, SqlError> {
        pg::Connection::open(url).map(Self).map_err(|error| not_connected(&error))
    }
}

impl SqlConnection for Connection {
    async fn execute(&self, statement: &str, parameters: &[SqlValue]) -> Result<u64, SqlError> {
        note_wait();
        self.0.execute(statement, &parameters.iter().map(parameter).collect::<Vec<_>>()).map_err(|error| broken(&error))
    }

    async fn query(&self, statement: &str, parameters: &[SqlValue]) -> Result<Vec<SqlRow>, SqlError> {
        let parameters: Vec<_> = parameters.iter().map(parameter).collect();
        note_wait();
        let set = self.0.query(statement, &parameters).map_err(|error| broken(&error))?;
        set.rows.into_iter().map(|row| row.into_iter().map(value).collect()).collect()
    }
}

fn parameter(value: &SqlValue) -> pg::ParameterValue {
    match value {
        SqlValue::Null => pg::ParameterValue::DbNull,
        SqlValue::Int(int) => pg::ParameterValue::Int64(*int),
        SqlValue::Text(text) => pg::ParameterValue::Str(text.clone()),
        SqlValue::Bytes(bytes) => pg::ParameterValue::Binary(bytes.clone()),
        SqlValue::Bool(bool) => pg::ParameterValue::Boolean(*bool),
    }
}

/// Converts a column. A statement that returns another type is an error of ours; it may have had its effect.
fn value(value: pg::DbValue) -> Result<SqlValue, SqlError> {
    match value {
        pg::DbValue::DbNull => Ok(SqlValue::Null),
        pg::DbValue::Int64(int) => Ok(SqlValue::Int(int)),
        pg::DbValue::Str(text) => Ok(SqlValue::Text(text)),
        pg::DbValue::Binary(bytes) => Ok(SqlValue::Bytes(bytes)),
        pg::DbValue::Boolean(bool) => Ok(SqlValue::Bool(bool)),
        _ => Err(SqlError::Broken),
    }
}

/// The kind of a failed connection. Spin reports only a text: its own, or that of `tokio-postgres` with the server's
/// message, which is in English unless the server's `lc_messages` differs. The text itself is dropped: up to Spin 3.5,
/// it contains the whole URL if the address is not allowed.
fn not_connected(error: &pg::PgError) -> SqlError {
    let text = match error {
        // Spin reports an invalid allow-list, such as one with an empty entry, as `Other`.
        pg::PgError::ConnectionFailed(text) => text,
        _ => return SqlError::Denied,
    };
    let contains = |any: &[&str]| any.iter().any(|part| text.contains(part));
    if contains(&["is not permitted", "invalid connection string", "invalid configuration", "Unix sockets"]) {
        SqlError::Denied
    } else if contains(&["error performing TLS handshake"]) {
        SqlError::Tls
    } else if contains(&["FATAL: database "]) {
        SqlError::NoDatabase
    } else if contains(&["authentication", "FATAL: role ", "pg_hba.conf"]) {
        SqlError::Login
    } else if contains(&["timed out", "timeout"]) {
        SqlError::TimedOut
    } else {
        SqlError::Unreachable
    }
}

/// The kind of a failed statement. Spin reports the error of `tokio-postgres` in its debug format. If the statement fails
/// only when its rows are read, Spin 3.6 reports its display format, which has no code, and Spin 4 wraps it.
fn broken(error: &pg::PgError) -> SqlError {
    let text = match error {
        pg::PgError::QueryFailed(text) => text,
        _ => return SqlError::Broken,
    };
    let contains = |any: &[&str]| any.iter().any(|part| text.contains(part));
    let is_answer = contains(&["Error { kind: Db,"]) || text.starts_with("db error");
    // An error that ends the session, such as that of a server which stops.
    let is_last = contains(&["parsed_severity: Some(Fatal)", "parsed_severity: Some(Panic)", "db error: FATAL"]);
    if !is_answer || is_last {
        SqlError::Broken
    } else if contains(&["SqlState(E53100)", "No space left on device"]) {
        SqlError::Full
    } else {
        SqlError::Refused
    }
}
