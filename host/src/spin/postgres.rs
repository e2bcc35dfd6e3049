//! `fermyon:spin/postgres`: a pool for each address, as in Spin 3.4 and later. Errors have Spin's texts, which a
//! component reads.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use anyhow::{Context, Result, anyhow};
use deadpool_postgres::{Manager, ManagerConfig, Object, Pool, RecyclingMethod};
use rustls::{ClientConfig, RootCertStore};
use tokio_postgres::config::{Host, SslMode};
use tokio_postgres::types::private::BytesMut;
use tokio_postgres::types::{IsNull, ToSql, Type};
use tokio_postgres::{Config, NoTls, Row};
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::spin::allowed_hosts::AllowedHosts;
use crate::spin::guest::rdbms_types::{Column, DbDataType, DbValue, Error, ParameterValue, RowSet};
use crate::spin::logs::lock;

/// Connections of a pool, as in Spin. A request waits for a free one without a limit.
const POOL_SIZE: usize = 64;

/// The connections of a host, by address. Spin keeps the pools of at most 16 addresses; this host keeps all.
#[derive(Clone, Default)]
pub(crate) struct Postgres(Arc<Mutex<BTreeMap<String, Pool>>>);

impl Postgres {
    /// Takes a connection from the pool of an address.
    pub(crate) async fn open(&self, address: &str, allowed: &AllowedHosts) -> Result<Connection, Error> {
        if !is_allowed(address, allowed) {
            // The text of Spin up to 3.5, password included. Later versions name host and port only. A component has to
            // keep it to itself in either case.
            return Err(Error::ConnectionFailed(format!("address {address} is not permitted")));
        }
        self.connect(address).await.map_err(|error| Error::ConnectionFailed(format!("{error:?}")))
    }

    async fn connect(&self, address: &str) -> Result<Connection> {
        let known = lock(&self.0).get(address).cloned();
        let pool = match known {
            Some(pool) => pool,
            None => {
                let pool = create_pool(address).context("establishing PostgreSQL connection pool")?;
                lock(&self.0).entry(address.to_owned()).or_insert(pool).clone()
            }
        };
        Ok(Connection(pool.get().await?))
    }
}

/// Whether the allow-list has each host of an address. Unlike Spin, this host refuses an address with `hostaddr`, which
/// Spin doesn't check.
fn is_allowed(address: &str, allowed: &AllowedHosts) -> bool {
    let Ok(config) = address.parse::<Config>() else {
        return false;
    };
    let ports = config.get_ports();
    config.get_hostaddrs().is_empty()
        && config.get_hosts().iter().enumerate().all(|(at, host)| match host {
            Host::Tcp(name) => allowed.allows_server("postgres", name, ports.get(at).or(ports.first()).copied()),
            Host::Unix(_) => false,
        })
}

fn create_pool(address: &str) -> Result<Pool> {
    let config = address.parse::<Config>().context("parsing Postgres connection string")?;
    // `Clean` resets the session when a connection is taken, but rolls nothing back.
    let settings = ManagerConfig { recycling_method: RecyclingMethod::Clean };
    let manager = match config.get_ssl_mode() {
        SslMode::Disable => Manager::from_config(config, NoTls, settings),
        _ => Manager::from_config(config, MakeRustlsConnect::new(tls()?), settings),
    };
    Pool::builder(manager).max_size(POOL_SIZE).build().context("building Postgres connection pool")
}

/// Verifies the server's certificate with the certificates that the system trusts, or with those of `SSL_CERT_FILE`.
fn tls() -> Result<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    Ok(config.with_root_certificates(roots).with_no_client_auth())
}

/// A connection that is returned to its pool on drop.
#[allow(unreachable_pub, reason = "the generated code re-exports it")]
pub struct Connection(Object);

impl Connection {
    pub(crate) async fn execute(&self, statement: &str, parameters: &[ParameterValue]) -> Result<u64, Error> {
        let values = parameters.iter().map(parameter).collect::<Result<Vec<_>>>();
        let values = values.map_err(|error| Error::ValueConversionFailed(format!("{error:?}")))?;
        self.0.execute(statement, &values).await.map_err(query_failed)
    }

    pub(crate) async fn query(&self, statement: &str, parameters: &[ParameterValue]) -> Result<RowSet, Error> {
        let values = parameters.iter().map(parameter).collect::<Result<Vec<_>>>();
        let values = values.map_err(|error| Error::BadParameter(format!("{error:?}")))?;
        let rows = self.0.query(statement, &values).await.map_err(query_failed)?;
        // As in Spin, an empty result has no columns.
        let columns = rows.first().map(|row| row.columns().iter().map(column).collect()).unwrap_or_default();
        let rows = rows.iter().map(|row| (0..row.len()).map(|at| value(row, at)).collect()).collect::<Result<_, _>>();
        Ok(RowSet { columns, rows: rows.map_err(query_failed)? })
    }
}

fn query_failed(error: tokio_postgres::Error) -> Error {
    Error::QueryFailed(format!("{error:?}"))
}

fn parameter(value: &ParameterValue) -> Result<&(dyn ToSql + Sync)> {
    Ok(match value {
        ParameterValue::Boolean(value) => value,
        ParameterValue::Int8(value) => value,
        ParameterValue::Int16(value) => value,
        ParameterValue::Int32(value) => value,
        ParameterValue::Int64(value) => value,
        ParameterValue::Floating32(value) => value,
        ParameterValue::Floating64(value) => value,
        ParameterValue::Str(value) => value,
        ParameterValue::Binary(value) => value,
        ParameterValue::DbNull => &Null,
        ParameterValue::Uint8(_)
        | ParameterValue::Uint16(_)
        | ParameterValue::Uint32(_)
        | ParameterValue::Uint64(_) => return Err(anyhow!("Postgres does not support unsigned integers")),
    })
}

/// A `NULL` of any type.
#[derive(Debug)]
struct Null;

impl ToSql for Null {
    fn to_sql(&self, _: &Type, _: &mut BytesMut) -> Result<IsNull, Box<dyn std::error::Error + Sync + Send>> {
        Ok(IsNull::Yes)
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    tokio_postgres::types::to_sql_checked!();
}

fn column(column: &tokio_postgres::Column) -> Column {
    let data_type = match *column.type_() {
        Type::BOOL => DbDataType::Boolean,
        Type::BYTEA => DbDataType::Binary,
        Type::FLOAT4 => DbDataType::Floating32,
        Type::FLOAT8 => DbDataType::Floating64,
        Type::INT2 => DbDataType::Int16,
        Type::INT4 => DbDataType::Int32,
        Type::INT8 => DbDataType::Int64,
        Type::TEXT | Type::VARCHAR | Type::BPCHAR => DbDataType::Str,
        _ => DbDataType::Other,
    };
    Column { name: column.name().to_owned(), data_type }
}

fn value(row: &Row, at: usize) -> Result<DbValue, tokio_postgres::Error> {
    let value = match *row.columns()[at].type_() {
        Type::BOOL => row.try_get::<_, Option<_>>(at)?.map(DbValue::Boolean),
        Type::BYTEA => row.try_get::<_, Option<_>>(at)?.map(DbValue::Binary),
        Type::FLOAT4 => row.try_get::<_, Option<_>>(at)?.map(DbValue::Floating32),
        Type::FLOAT8 => row.try_get::<_, Option<_>>(at)?.map(DbValue::Floating64),
        Type::INT2 => row.try_get::<_, Option<_>>(at)?.map(DbValue::Int16),
        Type::INT4 => row.try_get::<_, Option<_>>(at)?.map(DbValue::Int32),
        Type::INT8 => row.try_get::<_, Option<_>>(at)?.map(DbValue::Int64),
        Type::TEXT | Type::VARCHAR | Type::BPCHAR => row.try_get::<_, Option<_>>(at)?.map(DbValue::Str),
        _ => Some(DbValue::Unsupported),
    };
    Ok(value.unwrap_or(DbValue::DbNull))
}
