//! The state of one request's instance, and the host's implementation of the interfaces that it imports.

use std::collections::BTreeMap;
use std::sync::Arc;

use tracing::instrument;
use wasmtime::component::{Resource, ResourceTable};
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};
use wasmtime_wasi_http::{WasiHttpCtx, WasiHttpCtxView, WasiHttpView};

pub(crate) use self::bindings::fermyon::spin::rdbms_types;
use self::bindings::fermyon::spin::{key_value, postgres, variables as wit_variables};
use crate::spin::key_value::{KeyValue, Operation, OperationKind};
use crate::spin::logs::{LogFiles, Logs, Source};
use crate::spin::outbound::Hooks;
use crate::spin::postgres::{Connection, Postgres, Session};
use crate::spin::variables::{self, Template, Variables};

#[allow(missing_docs, unreachable_pub, clippy::unwrap_used, reason = "generated")]
mod bindings {
    wasmtime::component::bindgen!({
        path: "wit",
        world: "imports",
        imports: { default: async | trappable | tracing },
        with: {
            "fermyon:spin/key-value.store": crate::spin::guest::Store,
            "fermyon:spin/postgres.connection": crate::spin::postgres::Connection,
        },
    });
}

pub(crate) use bindings::Imports;

/// Maximum number of open stores per request, as in Spin.
const MAX_OPEN_STORES: usize = 256;

/// Maximum number of open database connections per request, as in Spin.
const MAX_OPEN_CONNECTIONS: usize = 1024;

/// An open store, identified by its label.
#[allow(unreachable_pub, reason = "the generated code re-exports it")]
pub struct Store(Arc<str>);

/// The resources that the manifest grants a component.
pub(crate) struct Grants {
    /// The component's id in the manifest.
    pub(crate) id: String,
    pub(crate) variables: Arc<Variables>,
    /// The component's variables, by name.
    pub(crate) templates: BTreeMap<String, Template>,
    /// The labels of the stores that the component may open.
    pub(crate) stores: Vec<String>,
    pub(crate) key_value: KeyValue,
    pub(crate) postgres: Postgres,
    pub(crate) hooks: Hooks,
    pub(crate) logs: Logs,
    /// The component's log files, if it has any.
    pub(crate) log_files: Option<LogFiles>,
}

/// The state of one instance.
pub(crate) struct Guest {
    grants: Arc<Grants>,
    hooks: Hooks,
    wasi: WasiCtx,
    http: WasiHttpCtx,
    table: ResourceTable,
    stores: ResourceTable,
    connections: ResourceTable,
}

impl Guest {
    /// The state of a new instance. An error means that a log file can't be opened.
    pub(crate) fn new(grants: Arc<Grants>) -> std::io::Result<Guest> {
        let stream = |source| {
            let file = grants.log_files.as_ref().map(|files| files.open(source)).transpose()?;
            std::io::Result::Ok(grants.logs.stream(source, file))
        };
        let wasi = WasiCtx::builder().stdout(stream(Source::Stdout)?).stderr(stream(Source::Stderr)?).build();
        let mut stores = ResourceTable::new();
        stores.set_max_capacity(MAX_OPEN_STORES);
        let mut connections = ResourceTable::new();
        connections.set_max_capacity(MAX_OPEN_CONNECTIONS);
        let session = Session::new(grants.postgres.clone(), grants.logs.clone());
        Ok(Guest {
            hooks: Hooks { session, allowed: grants.hooks.allowed.of_instance(), ..grants.hooks.clone() },
            grants,
            wasi,
            http: WasiHttpCtx::new(),
            table: ResourceTable::new(),
            stores,
            connections,
        })
    }

    /// Counts the operation and returns the store's label, or the error that the fault hook injects.
    fn begin(
        &self,
        store: &Resource<Store>,
        kind: OperationKind,
        key: Option<&str>,
    ) -> wasmtime::Result<Result<Arc<str>, key_value::Error>> {
        let store = self.stores.get(store)?.0.clone();
        let begun = self.grants.key_value.begin(Operation { kind, store: &store, key });
        Ok(begun.map(|()| store).map_err(key_value::Error::Other))
    }
}

impl WasiView for Guest {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.table }
    }
}

impl WasiHttpView for Guest {
    fn http(&mut self) -> WasiHttpCtxView<'_> {
        WasiHttpCtxView { hooks: &mut self.hooks, table: &mut self.table, ctx: &mut self.http }
    }
}

impl wit_variables::Host for Guest {
    #[instrument(name = "spin_variables.get", skip(self), fields(otel.kind = "client"))]
    async fn get(&mut self, name: String) -> wasmtime::Result<Result<String, wit_variables::Error>> {
        Ok(self.grants.variable(&name).map_err(|error| match error {
            variables::Error::InvalidName(reason) => wit_variables::Error::InvalidName(reason),
            variables::Error::Undefined(reason) => wit_variables::Error::Undefined(reason),
            variables::Error::Provider(reason) => wit_variables::Error::Provider(reason),
            variables::Error::InvalidTemplate(_) => wit_variables::Error::Other(error.to_string()),
        }))
    }
}

impl Grants {
    fn variable(&self, name: &str) -> Result<String, variables::Error> {
        variables::check_name(name)?;
        let template = self
            .templates
            .get(name)
            .ok_or_else(|| variables::Error::Undefined(format!("no variable for {:?}.{name:?}", self.id)))?;
        self.variables.resolve(template)
    }
}

/// The outer error traps the guest; the inner one is returned to it.
type StoreResult<T> = wasmtime::Result<Result<T, key_value::Error>>;

fn store_result<T>(result: anyhow::Result<T>) -> StoreResult<T> {
    Ok(result.map_err(|error| key_value::Error::Other(format!("{error:#}"))))
}

impl key_value::Host for Guest {}

impl key_value::HostStore for Guest {
    #[instrument(name = "spin_key_value.open", skip_all, fields(otel.kind = "client", kv.backend = label))]
    async fn open(&mut self, label: String) -> StoreResult<Resource<Store>> {
        let operation = Operation { kind: OperationKind::Open, store: &label, key: None };
        if let Err(reason) = self.grants.key_value.begin(operation) {
            return Ok(Err(key_value::Error::Other(reason)));
        }
        if !self.grants.stores.contains(&label) {
            return Ok(Err(key_value::Error::AccessDenied));
        }
        if let Err(error) = store_result(self.grants.key_value.open(&label).await)? {
            return Ok(Err(error));
        }
        Ok(self.stores.push(Store(label.into())).map_err(|_| key_value::Error::StoreTableFull))
    }

    #[instrument(name = "spin_key_value.get", skip_all, fields(otel.kind = "client"))]
    async fn get(&mut self, store: Resource<Store>, key: String) -> StoreResult<Option<Vec<u8>>> {
        match self.begin(&store, OperationKind::Get, Some(&key))? {
            Ok(store) => store_result(self.grants.key_value.get(&store, &key).await),
            Err(error) => Ok(Err(error)),
        }
    }

    #[instrument(name = "spin_key_value.set", skip_all, fields(otel.kind = "client"))]
    async fn set(&mut self, store: Resource<Store>, key: String, value: Vec<u8>) -> StoreResult<()> {
        match self.begin(&store, OperationKind::Set, Some(&key))? {
            Ok(store) => store_result(self.grants.key_value.set(&store, &key, value).await),
            Err(error) => Ok(Err(error)),
        }
    }

    #[instrument(name = "spin_key_value.delete", skip_all, fields(otel.kind = "client"))]
    async fn delete(&mut self, store: Resource<Store>, key: String) -> StoreResult<()> {
        match self.begin(&store, OperationKind::Delete, Some(&key))? {
            Ok(store) => store_result(self.grants.key_value.delete(&store, &key).await),
            Err(error) => Ok(Err(error)),
        }
    }

    #[instrument(name = "spin_key_value.exists", skip_all, fields(otel.kind = "client"))]
    async fn exists(&mut self, store: Resource<Store>, key: String) -> StoreResult<bool> {
        match self.begin(&store, OperationKind::Exists, Some(&key))? {
            Ok(store) => store_result(self.grants.key_value.exists(&store, &key).await),
            Err(error) => Ok(Err(error)),
        }
    }

    #[instrument(name = "spin_key_value.get_keys", skip_all, fields(otel.kind = "client"))]
    async fn get_keys(&mut self, store: Resource<Store>) -> StoreResult<Vec<String>> {
        match self.begin(&store, OperationKind::GetKeys, None)? {
            Ok(store) => store_result(self.grants.key_value.keys(&store).await),
            Err(error) => Ok(Err(error)),
        }
    }

    async fn drop(&mut self, store: Resource<Store>) -> wasmtime::Result<()> {
        self.stores.delete(store)?;
        Ok(())
    }
}

type SqlResult<T> = wasmtime::Result<Result<T, rdbms_types::Error>>;

impl rdbms_types::Host for Guest {}

impl postgres::Host for Guest {}

impl postgres::HostConnection for Guest {
    #[instrument(name = "spin_outbound_pg.open", skip_all, fields(otel.kind = "client", db.system = "postgresql"))]
    async fn open(&mut self, address: String) -> SqlResult<Resource<Connection>> {
        let connection = match self.hooks.session.open(&address, self.hooks.allowed.get()).await {
            Ok(connection) => connection,
            Err(error) => return Ok(Err(error)),
        };
        let full = |_| rdbms_types::Error::ConnectionFailed("too many connections".to_owned());
        Ok(self.connections.push(connection).map_err(full))
    }

    #[instrument(name = "spin_outbound_pg.query", skip_all, fields(otel.kind = "client", db.system = "postgresql", otel.name = statement))]
    async fn query(
        &mut self,
        connection: Resource<Connection>,
        statement: String,
        parameters: Vec<rdbms_types::ParameterValue>,
    ) -> SqlResult<rdbms_types::RowSet> {
        Ok(self.connections.get_mut(&connection)?.query(&statement, &parameters).await)
    }

    #[instrument(name = "spin_outbound_pg.execute", skip_all, fields(otel.kind = "client", db.system = "postgresql", otel.name = statement))]
    async fn execute(
        &mut self,
        connection: Resource<Connection>,
        statement: String,
        parameters: Vec<rdbms_types::ParameterValue>,
    ) -> SqlResult<u64> {
        Ok(self.connections.get_mut(&connection)?.execute(&statement, &parameters).await)
    }

    async fn drop(&mut self, connection: Resource<Connection>) -> wasmtime::Result<()> {
        self.connections.delete(connection)?;
        Ok(())
    }
}
