//! Running a statement, and reading its rows.

use std::time::Duration;

use serde::Serialize;

use super::{Statement, half};
use crate::delivery::{Delivery, DeliveryId, Hold, Row, Work};
use crate::ports::{Sql, SqlConnection as _, SqlError, SqlRow, SqlValue, StoreError};
use crate::secret::Secret;
use crate::store::codec_error;
use crate::time::Timestamp;

/// What the server has answered to a statement.
pub(super) struct Answer {
    pub(super) rows: Vec<Columns>,
    /// Whether the statement broke once and was repeated. The first run may have had its effect.
    pub(super) is_repeated: bool,
}

/// Runs a statement on a connection of its own, which is returned at once: none is held over a call to the engine.
///
/// A statement that broke is repeated once, on another connection. The server may have been restarted, and the pool
/// then still has connections to the one before.
pub(super) async fn run(
    sql: &impl Sql,
    url: &Secret,
    statement: Statement,
    parameters: &[SqlValue],
) -> Result<Answer, StoreError> {
    let once = async || sql.connect(url).await?.query(statement.sql, parameters).await;
    let (rows, is_repeated) = match once().await {
        Err(SqlError::Broken) => (once().await, true),
        rows => (rows, false),
    };
    let rows = rows.map_err(|error| StoreError(format!("PostgreSQL, statement {}: {error}", statement.name)))?;
    Ok(Answer { rows: rows.into_iter().map(Columns::new).collect(), is_repeated })
}

/// A text.
pub(super) fn text(text: impl Into<String>) -> SqlValue {
    SqlValue::Text(text.into())
}

/// A text, or `NULL`.
pub(super) fn optional(text: Option<&str>) -> SqlValue {
    text.map_or(SqlValue::Null, |text| SqlValue::Text(text.to_owned()))
}

/// A number of milliseconds.
pub(super) fn milliseconds(duration: Duration) -> SqlValue {
    SqlValue::Int(i64::try_from(duration.as_millis()).unwrap_or(i64::MAX))
}

/// A number of rows.
pub(super) fn number(number: usize) -> SqlValue {
    SqlValue::Int(i64::try_from(number).unwrap_or(i64::MAX))
}

/// A list or an object, as JSON.
pub(super) fn json(value: &impl Serialize) -> Result<SqlValue, StoreError> {
    serde_json::to_string(value).map(SqlValue::Text).map_err(codec_error)
}

/// The columns of a row, which are read from left to right.
pub(super) struct Columns(std::vec::IntoIter<SqlValue>);

impl Columns {
    fn new(row: SqlRow) -> Self {
        Self(row.into_iter())
    }

    fn value(&mut self) -> SqlValue {
        self.0.next().unwrap_or(SqlValue::Null)
    }

    /// Leaves out a column.
    pub(super) fn skip(&mut self) -> &mut Self {
        self.value();
        self
    }

    pub(super) fn optional_text(&mut self) -> Result<Option<String>, StoreError> {
        match self.value() {
            SqlValue::Text(text) => Ok(Some(text)),
            SqlValue::Null => Ok(None),
            _ => Err(unexpected()),
        }
    }

    pub(super) fn text(&mut self) -> Result<String, StoreError> {
        self.optional_text()?.ok_or_else(unexpected)
    }

    pub(super) fn optional_int(&mut self) -> Result<Option<i64>, StoreError> {
        match self.value() {
            SqlValue::Int(int) => Ok(Some(int)),
            SqlValue::Null => Ok(None),
            _ => Err(unexpected()),
        }
    }

    pub(super) fn number(&mut self) -> Result<usize, StoreError> {
        usize::try_from(self.optional_int()?.unwrap_or_default()).map_err(codec_error)
    }

    pub(super) fn time(&mut self) -> Result<Timestamp, StoreError> {
        u64::try_from(self.optional_int()?.unwrap_or_default()).map(Timestamp).map_err(codec_error)
    }

    pub(super) fn bytes(&mut self) -> Result<Option<Vec<u8>>, StoreError> {
        match self.value() {
            SqlValue::Bytes(bytes) => Ok(Some(bytes)),
            SqlValue::Null => Ok(None),
            _ => Err(unexpected()),
        }
    }

    pub(super) fn bool(&mut self) -> Result<bool, StoreError> {
        match self.value() {
            SqlValue::Bool(bool) => Ok(bool),
            _ => Err(unexpected()),
        }
    }

    pub(super) fn id(&mut self) -> Result<DeliveryId, StoreError> {
        DeliveryId::parse(&self.text()?).ok_or_else(unexpected)
    }
}

fn unexpected() -> StoreError {
    StoreError("PostgreSQL: a row has other columns than the statement".to_owned())
}

/// A delivery of a row, which this instance holds until a time of its monotonic clock.
pub(super) fn held(mut delivery: Delivery<'static>, row: Row, until: Duration) -> Delivery<'static> {
    delivery.hold = Hold { is_stored: true, until: Some(until), row: Some(row), ..Hold::default() };
    delivery
}

/// Notes that a delivery may have been sent: the lease of an earlier holder, of this length, has run out by `now`, or an
/// operator has put it in doubt.
///
/// A holder begins to send in the first half of its lease, and `DOUBT` leaves a delivery alone for half a lease. So the
/// request was sent at the latest half a lease ago, and the engine no longer acts on it, except that it may still queue
/// the run of a submit that it did not answer ([`Limits::orphan_after`](crate::delivery::Limits::orphan_after)).
///
/// A callback without a task was not sent: its row would have the key of the task, or say that it is sent without a look.
pub(super) fn mark_maybe_sent(delivery: &mut Delivery<'_>, now: Timestamp, lease: Duration) {
    if matches!(delivery.work, Work::Resolve(_)) && delivery.wait.is_none() && !delivery.unseen {
        return;
    }
    delivery.sent = Some(now.minus(half(lease)));
    delivery.concluded = false;
    delivery.next_attempt = now;
    if let Some(wait) = &mut delivery.wait {
        wait.sends = wait.sends.max(1);
    }
}
