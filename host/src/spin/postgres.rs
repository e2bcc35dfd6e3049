//! `fermyon:spin/postgres`: a pool for each address, as in Spin 3.4 and later. Errors have Spin's texts, which a
//! component reads. Calls of components are counted, and tests can inject faults.

mod values;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use anyhow::{Context, Result};
use deadpool_postgres::{Manager, ManagerConfig, Object, Pool, RecyclingMethod};
use rustls::{ClientConfig, RootCertStore};
use tokio_postgres::config::{Host, SslMode};
use tokio_postgres::{Config, NoTls};
use tokio_postgres_rustls::MakeRustlsConnect;

use self::values::{column, parameter, value};
use crate::spin::allowed_hosts::AllowedHosts;
use crate::spin::guest::rdbms_types::{Error, ParameterValue, RowSet};
use crate::spin::logs::{Logs, lock};

/// Connections of a pool, as in Spin. A request waits for a free one without a limit.
const POOL_SIZE: usize = 64;

/// A call of a component.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "named like the functions of the interface")]
pub enum Call<'a> {
    Open,
    /// The statement's text.
    Execute(&'a str),
    /// The statement's text.
    Query(&'a str),
}

/// An injected fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// `open` finds that the server refuses connections. A statement is not sent, because the connection breaks.
    Before,
    /// The connection breaks after the statement has had its effect, so the component gets an error instead of the
    /// result. For `open`, the same as [`Fault::Before`].
    After,
}

/// Numbers of calls of components, and of connections that they have open.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Calls of `open` that passed the allow-list, including failed ones and those that wait for a connection.
    pub opens: u64,
    /// Statements, including failed ones.
    pub statements: u64,
    /// Connections that are open now.
    pub open: u64,
    /// The most connections that were open at a time.
    pub most_open: u64,
    /// Times that an instance began an outbound HTTP call, or began to read the body of a response, while it had a
    /// connection open.
    pub calls_while_open: u64,
}

/// Returns the fault of a call, or `None` to let it pass.
type FaultHook = dyn Fn(Call<'_>) -> Option<Fault> + Send + Sync;

/// The connections of a host to PostgreSQL. Calls of components are counted, and a fault hook can make them fail.
#[derive(Clone, Default)]
pub struct Postgres {
    /// By address. Spin keeps the pools of at most 16 addresses; this host keeps all.
    pools: Arc<Mutex<BTreeMap<String, Pool>>>,
    counts: Arc<Mutex<Counts>>,
    fault: Arc<Mutex<Option<Box<FaultHook>>>>,
}

impl Postgres {
    /// The counts since the start or the last reset.
    pub fn counts(&self) -> Counts {
        *lock(&self.counts)
    }

    /// Resets the counts, except those of connections that are open now and of calls while one was open.
    pub fn reset_counts(&self) {
        self.count(|counts| {
            let Counts { open, calls_while_open, .. } = *counts;
            *counts = Counts { open, most_open: open, calls_while_open, ..Counts::default() };
        });
    }

    /// Installs a fault hook: a call for which it returns a fault fails accordingly.
    pub fn inject_faults(&self, hook: impl Fn(Call<'_>) -> Option<Fault> + Send + Sync + 'static) {
        *lock(&self.fault) = Some(Box::new(hook));
    }

    /// Removes the fault hook.
    pub fn clear_faults(&self) {
        *lock(&self.fault) = None;
    }

    fn count(&self, change: impl FnOnce(&mut Counts)) {
        change(&mut lock(&self.counts));
    }

    fn fault(&self, call: Call<'_>) -> Option<Fault> {
        lock(&self.fault).as_ref().and_then(|fault| fault(call))
    }

    /// Takes a connection from the pool of an address.
    async fn open(&self, address: &str, allowed: &AllowedHosts) -> Result<Object, Error> {
        if !is_allowed(address, allowed) {
            // The text of Spin up to 3.5, password included. Later versions name host and port only. A component has to
            // keep it to itself in either case.
            return Err(Error::ConnectionFailed(format!("address {address} is not permitted")));
        }
        self.count(|counts| counts.opens += 1);
        if self.fault(Call::Open).is_some() {
            let text = "Error occurred while creating a new object: error connecting to server: Connection refused \
                        (os error 111)";
            return Err(Error::ConnectionFailed(text.to_owned()));
        }
        self.connect(address).await.map_err(|error| Error::ConnectionFailed(format!("{error:?}")))
    }

    async fn connect(&self, address: &str) -> Result<Object> {
        let known = lock(&self.pools).get(address).cloned();
        let pool = match known {
            Some(pool) => pool,
            None => {
                let pool = create_pool(address).context("establishing PostgreSQL connection pool")?;
                lock(&self.pools).entry(address.to_owned()).or_insert(pool).clone()
            }
        };
        Ok(pool.get().await?)
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

/// Panics on drop, in the thread of the test that drops the host, if an instance has held a connection over an outbound
/// call.
pub(crate) struct CallGuard(pub(crate) Postgres);

impl Drop for CallGuard {
    fn drop(&mut self) {
        let calls = self.0.counts().calls_while_open;
        assert!(calls == 0 || std::thread::panicking(), "a connection was held over {calls} outbound calls");
    }
}

/// The connections of one instance.
#[derive(Clone, Default)]
pub(crate) struct Session {
    postgres: Postgres,
    /// Number of connections that the instance has open.
    open: Arc<AtomicU64>,
    logs: Logs,
}

impl Session {
    pub(crate) fn new(postgres: Postgres, logs: Logs) -> Session {
        Session { postgres, open: Arc::default(), logs }
    }

    /// Opens a connection for the instance, from the pool of the address.
    pub(crate) async fn open(&self, address: &str, allowed: &AllowedHosts) -> Result<Connection, Error> {
        Ok(self.connection(Some(self.postgres.open(address, allowed).await?)))
    }

    fn connection(&self, object: Option<Object>) -> Connection {
        self.open.fetch_add(1, Ordering::SeqCst);
        self.postgres.count(|counts| {
            counts.open += 1;
            counts.most_open = counts.most_open.max(counts.open);
        });
        Connection { object, session: self.clone() }
    }

    /// A connection without a server, on which every statement fails.
    #[cfg(test)]
    pub(crate) fn connection_to_nothing(&self) -> Connection {
        self.connection(None)
    }

    /// Notes that the instance begins an outbound call, or to read the response of one.
    pub(crate) fn note_outbound_call(&self) {
        if self.open.load(Ordering::SeqCst) > 0 {
            self.postgres.count(|counts| counts.calls_while_open += 1);
            self.logs.host_message("warning: an outbound call begins while a connection to a database is open");
        }
    }
}

/// A connection of an instance, which is returned to its pool on drop.
#[allow(unreachable_pub, reason = "the generated code re-exports it")]
pub struct Connection {
    /// `None` once an injected fault has broken it.
    object: Option<Object>,
    session: Session,
}

impl Connection {
    pub(crate) async fn execute(&mut self, statement: &str, parameters: &[ParameterValue]) -> Result<u64, Error> {
        let fault = self.begin(Call::Execute(statement))?;
        let values = parameters.iter().map(parameter).collect::<Result<Vec<_>>>();
        let values = values.map_err(|error| Error::ValueConversionFailed(format!("{error:?}")))?;
        let result = self.object()?.execute(statement, &values).await.map_err(query_failed);
        self.end(fault)?;
        result
    }

    pub(crate) async fn query(&mut self, statement: &str, parameters: &[ParameterValue]) -> Result<RowSet, Error> {
        let fault = self.begin(Call::Query(statement))?;
        let values = parameters.iter().map(parameter).collect::<Result<Vec<_>>>();
        let values = values.map_err(|error| Error::BadParameter(format!("{error:?}")))?;
        let result = self.object()?.query(statement, &values).await.map_err(query_failed);
        self.end(fault)?;
        let rows = result?;
        // As in Spin, an empty result has no columns.
        let columns = rows.first().map(|row| row.columns().iter().map(column).collect()).unwrap_or_default();
        let rows = rows.iter().map(|row| (0..row.len()).map(|at| value(row, at)).collect()).collect::<Result<_, _>>();
        Ok(RowSet { columns, rows: rows.map_err(query_failed)? })
    }

    fn object(&self) -> Result<&Object, Error> {
        self.object.as_ref().ok_or_else(closed)
    }

    /// Counts a statement. If a fault is injected before it, the connection breaks; one after it is returned.
    fn begin(&mut self, call: Call<'_>) -> Result<Option<Fault>, Error> {
        self.session.postgres.count(|counts| counts.statements += 1);
        match self.session.postgres.fault(call) {
            Some(Fault::Before) => Err(self.break_off()),
            fault => Ok(fault),
        }
    }

    /// Breaks the connection if a fault is injected after the statement.
    fn end(&mut self, fault: Option<Fault>) -> Result<(), Error> {
        fault.map_or(Ok(()), |_| Err(self.break_off()))
    }

    /// Closes the connection instead of returning it to its pool.
    fn break_off(&mut self) -> Error {
        drop(self.object.take().map(Object::take));
        closed()
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        // Returned first, so that the count is never less than the number of connections in use by instances.
        drop(self.object.take());
        self.session.open.fetch_sub(1, Ordering::SeqCst);
        self.session.postgres.count(|counts| counts.open -= 1);
    }
}

fn query_failed(error: tokio_postgres::Error) -> Error {
    Error::QueryFailed(format!("{error:?}"))
}

/// The error of a statement on a connection that has broken, with the text of `tokio-postgres`.
fn closed() -> Error {
    Error::QueryFailed("Error { kind: Closed, cause: None }".to_owned())
}

#[cfg(test)]
mod tests;
