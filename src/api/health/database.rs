//! The check of the database at `/readyz`. Its results are for the operator: they never contain a text of the server, or
//! a part of the URL.

use crate::ports::{Sql, SqlConnection, SqlError, SqlRow, SqlValue};
use crate::secret::Secret;
use crate::store::postgres::{NOTES, PROBE, READY, SCHEMA_VERSION};

/// Settings that every version of the server has: version, encoding, whether it is a standby, whether it refuses writes,
/// and whether it limits statements and their waits for locks. The limits may come from the URL's `options`, the role or
/// the database.
const SETTINGS: &str = "SELECT current_setting('server_version_num')::int8, current_setting('server_encoding'), \
    pg_is_in_recovery(), current_setting('transaction_read_only') = 'on', \
    current_setting('statement_timeout') <> '0', current_setting('lock_timeout') <> '0'";

/// PostgreSQL 13.0, the oldest version that the statements need.
const MIN_VERSION: i64 = 13_00_00;

/// The least time between two writes of [`PROBE`], in ms, however often `/readyz` is called.
const PROBE_INTERVAL: i64 = 60_000;

/// Checks that the database can be used, and returns a warning if it could block requests without a limit. `keeps`
/// says whether the payloads of delivered starts are kept. The error names what is wrong.
pub(super) async fn check(sql: &impl Sql, url: &Secret, keeps: bool) -> Result<Option<String>, String> {
    let failed = |error: SqlError| format!("{error}: {}", advice(error));
    let connection = sql.connect(url).await.map_err(failed)?;
    let query =
        async |statement, parameters: &[SqlValue]| connection.query(statement, parameters).await.map_err(failed);
    let limits = settings(&query(SETTINGS, &[]).await?)?;
    schema(&query(READY.sql, &[SqlValue::Bool(false)]).await?)?;
    version(&query(NOTES.sql, &[SqlValue::Text(r#"["schema"]"#.to_owned())]).await?)?;
    if keeps {
        kept(&query(READY.sql, &[SqlValue::Bool(true)]).await?)?;
    }
    connection.execute(PROBE.sql, &[SqlValue::Int(PROBE_INTERVAL)]).await.map_err(failed)?;
    Ok(warning(url, limits))
}

/// Whether the server limits statements, and their waits for locks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Limits {
    statement: bool,
    lock: bool,
}

/// Checks the rows of [`SETTINGS`].
fn settings(rows: &[SqlRow]) -> Result<Limits, String> {
    use SqlValue::{Bool, Int, Text};
    let (version, encoding, is_standby, is_read_only, limits) = match rows.first().map(Vec::as_slice) {
        Some([Int(version), Text(encoding), Bool(is_standby), Bool(is_read_only), Bool(statement), Bool(lock)]) => {
            (*version, encoding, *is_standby, *is_read_only, Limits { statement: *statement, lock: *lock })
        }
        _ => return Err("the server does not answer like PostgreSQL: check `database_url`".to_owned()),
    };
    if version < MIN_VERSION {
        return Err(format!("the server has version {}: use PostgreSQL 13 or later", version / 1_00_00));
    }
    if encoding != "UTF8" {
        return Err(format!("the database has the encoding {encoding}: create it with ENCODING 'UTF8'"));
    }
    if is_standby {
        return Err("the server is a standby, which refuses writes: `database_url` has to name the primary".to_owned());
    }
    if is_read_only {
        return Err("the server refuses writes: `default_transaction_read_only` is on for this server, database or \
                    role"
            .to_owned());
    }
    Ok(limits)
}

/// Checks the row of [`READY`].
fn schema(rows: &[SqlRow]) -> Result<(), String> {
    match rows.first().map(Vec::as_slice) {
        Some([SqlValue::Bool(true), SqlValue::Null]) => Ok(()),
        Some([SqlValue::Bool(true), SqlValue::Text(lacks)]) => {
            Err(format!("the role of `database_url` lacks privileges: GRANT {lacks}"))
        }
        _ => Err(format!(
            "the database has no schema for Sluice, or not the whole of it, on the role's `search_path`: run schema.sql, \
             version {SCHEMA_VERSION}"
        )),
    }
}

/// Checks the row of [`READY`] with the table of kept payloads, when the rest of the schema is there.
fn kept(rows: &[SqlRow]) -> Result<(), String> {
    match rows.first().and_then(|row| row.first()) {
        Some(SqlValue::Bool(true)) => schema(rows),
        _ => Err("`keep_hours` in `settings` needs the table sluice_kept, which the schema of an earlier release lacks: run \
                  schema.sql again, and grant the role its privileges"
            .to_owned()),
    }
}

/// Checks the row of [`NOTES`] with the version of the schema.
fn version(rows: &[SqlRow]) -> Result<(), String> {
    let found = match rows.first().and_then(|row| row.get(1)) {
        Some(SqlValue::Text(version)) if version == SCHEMA_VERSION => return Ok(()),
        // Versions are numbers; a longer text is something else, and isn't shown.
        Some(SqlValue::Text(version))
            if (1..=8).contains(&version.len()) && version.bytes().all(|b| b.is_ascii_digit()) =>
        {
            version
        }
        _ => "unknown",
    };
    Err(format!("the database has the schema of another version, {found}: this Sluice needs version {SCHEMA_VERSION}"))
}

/// A warning that names the limits which are missing: without them, a server that is gone, slow or locked blocks
/// requests for a long time.
fn warning(url: &Secret, limits: Limits) -> Option<String> {
    let is_set = |name: &str| parameter(url, name).is_some_and(|value| value.bytes().any(|b| b != b'0'));
    let has_keepalives = is_set("keepalives_idle") && parameter(url, "keepalives").is_none_or(|value| value != "0");
    let missing = [
        ("connect_timeout", is_set("connect_timeout")),
        ("keepalives_idle", has_keepalives),
        ("tcp_user_timeout", is_set("tcp_user_timeout")),
        ("statement_timeout", limits.statement),
        ("lock_timeout", limits.lock),
    ];
    let missing: Vec<_> = missing.into_iter().filter(|(_, is_set)| !is_set).map(|(name, _)| name).collect();
    (!missing.is_empty()).then(|| {
        let missing = missing.join(", ");
        format!(
            "`database_url` sets no {missing}: requests may wait without a limit for a database that doesn't answer"
        )
    })
}

/// The last value of a parameter in the URL, as it is written there.
fn parameter<'a>(url: &'a Secret, name: &str) -> Option<&'a str> {
    // A password may contain a question mark.
    let rest = url.expose().split_once('@').map_or(url.expose(), |(_, rest)| rest);
    let (_, parameters) = rest.split_once('?')?;
    parameters.split('&').filter_map(|pair| pair.split_once('=')).rfind(|(key, _)| *key == name).map(|(_, value)| value)
}

/// What an operator should check.
fn advice(error: SqlError) -> &'static str {
    match error {
        SqlError::Denied => {
            "`database_host` has to be the host and port of `database_url`, such as postgres://HOST:5432; `sslmode` may \
             only be disable, prefer or require; `statement_timeout` and `lock_timeout` go into `options`"
        }
        SqlError::Unreachable => "check that it runs at the host and port of `database_url`, and has connections left",
        SqlError::TimedOut => "check host and port in `database_url`, and the network between",
        SqlError::Tls => {
            "the certificate has to be trusted by the system that runs Spin, and name the host of `database_url`; a \
             server without TLS needs `sslmode=disable`"
        }
        SqlError::Login => "check user and password in `database_url`, and the server's pg_hba.conf",
        SqlError::NoDatabase => "create it, or correct the last part of `database_url`",
        SqlError::Full => "free some space on the disk of the server",
        SqlError::Refused | SqlError::Broken => "see the server's log",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(value: &str) -> SqlValue {
        SqlValue::Text(value.to_owned())
    }

    #[test]
    fn server_has_to_be_recent_and_in_utf8_and_writable() {
        let check = |version, encoding, is_standby, is_read_only| {
            let limits = [SqlValue::Bool(true), SqlValue::Bool(false)];
            let mut row = vec![SqlValue::Int(version), text(encoding)];
            row.extend([SqlValue::Bool(is_standby), SqlValue::Bool(is_read_only)].into_iter().chain(limits));
            settings(&[row])
        };
        assert_eq!(check(13_00_00, "UTF8", false, false), Ok(Limits { statement: true, lock: false }));
        assert!(check(12_00_22, "UTF8", false, false).is_err_and(|problem| problem.contains("version 12")));
        assert!(check(15_00_18, "SQL_ASCII", false, false).is_err_and(|problem| problem.contains("SQL_ASCII")));
        assert!(check(15_00_18, "UTF8", true, true).is_err_and(|problem| problem.contains("a standby")));
        assert!(check(15_00_18, "UTF8", false, true).is_err_and(|problem| problem.contains("read_only` is on")));
        assert!(settings(&[vec![SqlValue::Null]]).is_err() && settings(&[]).is_err());
    }

    #[test]
    fn schema_has_to_be_whole_and_of_this_version() {
        assert_eq!(schema(&[vec![SqlValue::Bool(true), SqlValue::Null]]), Ok(()));
        assert_eq!(kept(&[vec![SqlValue::Bool(true), SqlValue::Null]]), Ok(()));
        assert!(kept(&[vec![SqlValue::Bool(false), SqlValue::Null]]).is_err_and(|it| it.contains("sluice_kept")));
        assert!(
            kept(&[vec![SqlValue::Bool(true), text("DELETE ON sluice_kept")]]).is_err_and(|it| it.contains("GRANT"))
        );
        let lacks = schema(&[vec![SqlValue::Bool(true), text("DELETE ON sluice_run")]]);
        assert!(lacks.is_err_and(|problem| problem.contains("GRANT DELETE ON sluice_run")));
        assert!(schema(&[vec![SqlValue::Bool(false), SqlValue::Null]]).is_err() && schema(&[]).is_err());

        let note = |value: &str| version(&[vec![text("schema"), text(value), SqlValue::Int(1)]]);
        assert_eq!(note(SCHEMA_VERSION), Ok(()));
        assert!(note("22").is_err_and(|problem| problem.contains("version, 22")));
        for other in ["s3cret", "", "123456789"] {
            assert!(note(other).is_err_and(|problem| problem.contains("version, unknown")), "{other}");
        }
        assert!(version(&[]).is_err());
    }

    #[test]
    fn warning_names_each_limit_that_is_missing() {
        let all = "connect_timeout=5&keepalives_idle=30&tcp_user_timeout=30";
        let check = |query: &str, statement, lock| {
            let url = Secret::new(&format!("postgres://u:s3cret?connect_timeout=9@db/sluice?sslmode=disable&{query}"));
            warning(&url, Limits { statement, lock })
        };
        assert_eq!(check(all, true, true), None);
        for (query, statement, lock, missing) in [
            ("", false, false, "connect_timeout, keepalives_idle, tcp_user_timeout, statement_timeout, lock_timeout"),
            (&all.replace("connect", "xonnect"), true, true, "connect_timeout"),
            (&all.replace("=5", "=0"), true, true, "connect_timeout"),
            (&all.replace("idle", "interval"), true, true, "keepalives_idle"),
            (&format!("{all}&keepalives=0"), true, true, "keepalives_idle"),
            (&all.replace("tcp", "udp"), true, true, "tcp_user_timeout"),
            (all, false, true, "statement_timeout"),
            (all, true, false, "lock_timeout"),
        ] {
            let warning = check(query, statement, lock).unwrap();
            assert!(warning.contains(&format!("sets no {missing}:")) && !warning.contains("s3cret"), "{warning}");
        }
    }
}
