//! `GET /healthz` and `GET /readyz`.

use http::{Response, StatusCode};
use serde::Serialize;

use super::problem::{Kind, Problem};
use super::{RequestContext, respond};
use crate::ports::{Host, Sql, SqlConnection, SqlError, SqlValue};
use crate::secret::Secret;
use crate::store::{Faults, Outbox as _};
use crate::{config, gateway};

/// `GET /healthz`: always succeeds, without using the store or the engine.
pub(super) fn alive() -> Response<Vec<u8>> {
    respond::json_bytes(StatusCode::OK, br#"{"status":"alive"}"#.to_vec())
}

/// `GET /readyz`: checks all variables, the store, and the database if there is one. Also reports the [`Faults`] that
/// an operator has to see.
pub(super) async fn ready(context: &mut RequestContext<'_, '_, impl Host>) -> Result<Response<Vec<u8>>, Problem> {
    let errors = config::check(context.host);
    if let Some(first) = errors.first() {
        let detail: Vec<String> = errors.iter().map(ToString::to_string).collect();
        return Err(Problem::new(Kind::Configuration, detail.join("; "))
            .field(first.variable)
            .member("errors", &errors));
    }
    if let Some(url) = config::database_url(context.host)? {
        database(context.host, &url).await.map_err(|detail| {
            context.log.warning(format!("the database: {detail}"));
            Problem::new(Kind::StoreUnavailable, detail).field("database_url")
        })?;
    }
    let faults = gateway::store_of(context.host).faults().await.map_err(|error| {
        context.log.warning(error.to_string());
        let detail = "the store did not answer: check `key_value_stores` in spin.toml and its runtime configuration";
        Problem::new(Kind::StoreUnavailable, detail)
    })?;
    let Faults { engine: fault, twice } = faults;
    if fault.is_none() && twice.is_none() {
        return Ok(respond::json_bytes(StatusCode::OK, br#"{"status":"ready"}"#.to_vec()));
    }

    // The status is still 200: deliveries are stored in the meantime. With a 503, a load balancer would reject them.
    #[derive(Serialize)]
    struct Degraded<'a> {
        status: &'static str,
        #[serde(skip_serializing_if = "Option::is_none")]
        engine: Option<Engine<'a>>,
        #[serde(skip_serializing_if = "Option::is_none")]
        twice: Option<RunTwice<'a>>,
    }
    /// A delivery that has two runs.
    #[derive(Serialize)]
    struct RunTwice<'a> {
        delivery: String,
        runs: &'a [String],
        at: String,
    }
    #[derive(Serialize)]
    struct Engine<'a> {
        fault: &'a str,
        since: String,
        check: [&'static str; 2],
    }
    let engine = fault.as_ref().map(|fault| Engine {
        fault: &fault.reason,
        since: fault.at.rfc3339(),
        check: ["engine_url", "engine_token"],
    });
    let twice = twice.as_ref().map(|twice| RunTwice {
        delivery: twice.delivery.to_string(),
        runs: &twice.runs,
        at: twice.at.rfc3339(),
    });
    Ok(respond::json(StatusCode::OK, &Degraded { status: "degraded", engine, twice }))
}

/// Checks that the database can be used. The error is for the operator, and names what is wrong.
async fn database(sql: &impl Sql, url: &Secret) -> Result<(), String> {
    /// Settings that every version has.
    const SELECT: &str = "SELECT current_setting('server_version_num')::int8, current_setting('server_encoding')";
    let rows = async { sql.connect(url).await?.query(SELECT, &[]).await };
    let rows = rows.await.map_err(|error| format!("{error}: {}", advice(error)))?;
    match rows.as_slice() {
        [row] => suitable(row),
        _ => Err(format!("{}: {}", SqlError::Broken, advice(SqlError::Broken))),
    }
}

/// Checks the version and the encoding of a server.
fn suitable(row: &[SqlValue]) -> Result<(), String> {
    /// PostgreSQL 13.0, the oldest version that the statements need.
    const MIN_VERSION: i64 = 13_00_00;
    let [SqlValue::Int(version), SqlValue::Text(encoding)] = row else {
        return Err("the server does not answer like PostgreSQL: check `database_url`".to_owned());
    };
    if *version < MIN_VERSION {
        return Err(format!("the server has version {}: use PostgreSQL 13 or later", version / 1_00_00));
    }
    if encoding != "UTF8" {
        return Err(format!("the database has the encoding {encoding}: create it with ENCODING 'UTF8'"));
    }
    Ok(())
}

/// What an operator should check.
fn advice(error: SqlError) -> &'static str {
    match error {
        SqlError::Denied => {
            "`database_host` has to be the host and port of `database_url`, such as postgres://HOST:5432, and `sslmode` \
             may only be disable, prefer or require"
        }
        SqlError::Unreachable => "check that it runs at the host and port of `database_url`, and has connections left",
        SqlError::TimedOut => "check host and port in `database_url`, and the network between",
        SqlError::Tls => {
            "the certificate has to be trusted by the system that runs Spin, and name the host of `database_url`; a \
             server without TLS needs `sslmode=disable`"
        }
        SqlError::Login => "check user and password in `database_url`, and the server's pg_hba.conf",
        SqlError::NoDatabase => "create it, or correct the last part of `database_url`",
        SqlError::Refused | SqlError::Broken => "see the server's log",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn server_has_to_be_recent_and_in_utf8() {
        let check = |version, encoding: &str| suitable(&[SqlValue::Int(version), SqlValue::Text(encoding.to_owned())]);
        assert_eq!(check(13_00_00, "UTF8"), Ok(()));
        assert!(check(12_00_22, "UTF8").is_err_and(|problem| problem.contains("version 12")));
        assert!(check(15_00_18, "SQL_ASCII").is_err_and(|problem| problem.contains("SQL_ASCII")));
        assert!(suitable(&[SqlValue::Null]).is_err());
    }
}
