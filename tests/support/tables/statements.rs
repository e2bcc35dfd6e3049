//! The texts of the statements, their parameters and their columns.

use std::collections::HashMap;
use std::sync::LazyLock;

use serde::de::DeserializeOwned;
use serde_json::Value;
use sluice::ports::SqlValue;
use sluice::store::postgres::{self, STATEMENTS, Statement};

use super::{FromValue, Refused};

/// The columns of `CLAIM` and `MOVE`.
const STANDING: &[&str] =
    &["standing", "key", "id", "state", "digest", "accepted", "changed", "due", "delivery", "body", "now"];
/// The columns of the statements that take deliveries.
const TAKEN: &[&str] = &["key", "id", "delivery", "maybe_sent", "accepted", "due", "now"];

/// A statement with its parameters, and the time at which it runs.
pub(super) struct Call<'a> {
    pub(super) statement: Statement,
    pub(super) parameters: &'a [SqlValue],
    pub(super) now: i64,
}

impl Call<'_> {
    /// The parameter `$n`.
    #[track_caller]
    pub(super) fn get<T: FromValue>(&self, n: usize) -> T {
        let value = &self.parameters[n - 1];
        T::from_value(value).unwrap_or_else(|| panic!("{}: ${n} has another type: {value:?}", self.statement.name))
    }

    /// The parameter `$n` as the greatest number of rows.
    pub(super) fn limit(&self, n: usize) -> Result<usize, Refused> {
        usize::try_from(self.get::<i64>(n)).map_err(|_| Refused("LIMIT must not be negative"))
    }

    /// The parameter `$n` as a JSON list.
    pub(super) fn list<T: DeserializeOwned>(&self, n: usize) -> Result<Vec<T>, Refused> {
        let value: Value = serde_json::from_str(&self.get::<String>(n)).map_err(|_| Refused("invalid JSON"))?;
        if has_nul(&value) {
            return Err(Refused("jsonb can't store U+0000"));
        }
        serde_json::from_value(value).map_err(|_| Refused("the JSON is not a list of these values"))
    }
}

fn has_nul(value: &Value) -> bool {
    match value {
        Value::String(text) => text.contains('\0'),
        Value::Array(list) => list.iter().any(has_nul),
        Value::Object(object) => object.iter().any(|(name, value)| name.contains('\0') || has_nul(value)),
        _ => false,
    }
}

/// The statement with this text, and the number of its parameters.
pub fn statement(text: &str) -> Option<(Statement, usize)> {
    static STATEMENT: LazyLock<HashMap<&str, (Statement, usize)>> = LazyLock::new(|| {
        let number = |rest: &str| rest.split(|c: char| !c.is_ascii_digit()).next().unwrap_or_default().parse().ok();
        let arity = |sql: &str| sql.split('$').skip(1).filter_map(number).max().unwrap_or_default();
        STATEMENTS.iter().map(|statement| (statement.sql, (*statement, arity(statement.sql)))).collect()
    });
    STATEMENT.get(text).copied()
}

/// The names of a statement's columns.
pub fn columns(statement: Statement) -> &'static [&'static str] {
    match statement {
        postgres::CLAIM | postgres::MOVE => STANDING,
        postgres::TAKE | postgres::TAKE_HEADS | postgres::TAKE_ONE => TAKEN,
        postgres::PROMISE
        | postgres::RELEASE
        | postgres::SETTLE
        | postgres::RESCHEDULE
        | postgres::RENEW
        | postgres::DEAD_LETTER
        | postgres::PROBE
        | postgres::DELETE => &["key"],
        postgres::SHOW => &["key", "label", "state", "delivery", "maybe_sent", "due", "under_way", "now"],
        postgres::LIST => &["id", "delivery", "maybe_sent", "due", "under_way"],
        postgres::SEARCH => &["scanned", "last", "place", "id", "delivery"],
        postgres::FIND => &["key", "id", "state", "digest", "accepted", "changed", "due", "body", "delivery", "now"],
        postgres::CALLBACKS => &["id", "key", "state", "delivery", "received", "changed"],
        postgres::COUNTS => &["pending", "dead", "oldest", "due", "now"],
        postgres::DOUBT => &["id"],
        postgres::SWEEP => &["swept", "has_kept"],
        postgres::SWEEP_KEYS | postgres::SWEEP_RUNS | postgres::SWEEP_NOTES | postgres::SWEEP_KEPT => &["swept"],
        postgres::KEPT => &["id", "reference", "source"],
        postgres::SHOW_KEPT => &["delivery"],
        postgres::REPLACE_NOTE => &["name"],
        postgres::RUN => &["scope", "unseen"],
        postgres::NOTES => &["name", "value", "since", "changed", "now"],
        postgres::SOURCE_NOTES => &["name", "value", "changed", "now"],
        postgres::READY => &["has_schema", "lacks"],
        postgres::IMPORT => &["standing", "id", "state", "digest", "accepted"],
        postgres::REMEMBERED => &["key"],
        postgres::RUNS => &["run"],
        postgres::RECORD_RUN | postgres::WRITE_NOTE | postgres::CLEAR_NOTE | postgres::KEEP => &[],
        Statement { name, .. } => panic!("the model doesn't know the statement {name}"),
    }
}
