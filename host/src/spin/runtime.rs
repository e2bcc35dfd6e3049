//! The host: compiles the components of a manifest, and serves them on a port.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail, ensure};
use tokio::time::Instant;

use crate::serve::Server;
use crate::spin::allowed_hosts::{AllowList, AllowedHosts};
use crate::spin::component;
use crate::spin::costs::{self, Costs};
use crate::spin::crossings::{self, Crossings};
use crate::spin::guest::Grants;
use crate::spin::key_value::{Backend, KeyValue};
use crate::spin::logs::{LogFiles, Logs};
use crate::spin::manifest::{self, Manifest};
use crate::spin::outbound::{Hooks, Outbound};
use crate::spin::postgres::{CallGuard, Postgres, Session};
use crate::spin::route::Route;
use crate::spin::runtime_config::RuntimeConfig;
use crate::spin::trigger::{Component, Trigger};
use crate::spin::variables::Variables;

/// Configures and starts a [`Host`].
#[derive(Debug)]
pub struct Builder {
    manifest: PathBuf,
    variables: BTreeMap<String, String>,
    listen: SocketAddr,
    state_dir: Option<PathBuf>,
    runtime_config: Option<PathBuf>,
    component: Option<PathBuf>,
    logs: Logs,
    grace: Duration,
    forbid_calls_while_open: bool,
    crossings: Option<crossings::Log>,
    costs: Costs,
}

impl Builder {
    /// Sets the manifest; `spin.toml` by default.
    pub fn manifest(mut self, path: impl Into<PathBuf>) -> Builder {
        self.manifest = path.into();
        self
    }

    /// Sets a variable. This overrides the environment (`SPIN_VARIABLE_NAME`), which overrides the manifest's default.
    pub fn variable(mut self, name: impl Into<String>, value: impl Into<String>) -> Builder {
        self.variables.insert(name.into(), value.into());
        self
    }

    /// Sets the address to listen on; a free port of 127.0.0.1 by default.
    pub fn listen(mut self, addr: SocketAddr) -> Builder {
        self.listen = addr;
        self
    }

    /// Sets the directory of the key-value file; `.spin` beside the manifest by default.
    pub fn state_dir(mut self, path: impl Into<PathBuf>) -> Builder {
        self.state_dir = Some(path.into());
        self
    }

    /// Sets the file with Spin's runtime configuration; none by default.
    pub fn runtime_config(mut self, path: impl Into<PathBuf>) -> Builder {
        self.runtime_config = Some(path.into());
        self
    }

    /// Runs this Wasm file instead of the manifest's `source`. The manifest must have exactly one component.
    pub fn component(mut self, path: impl Into<PathBuf>) -> Builder {
        self.component = Some(path.into());
        self
    }

    /// Panics when the [`Host`] is dropped if an instance has held a connection to a database over an outbound call
    /// ([`calls_while_open`](crate::spin::postgres::Counts::calls_while_open)).
    pub fn forbid_calls_while_open(mut self) -> Builder {
        self.forbid_calls_while_open = true;
        self
    }

    /// Makes requests cost what they cost in Spin; by default, the host has none of these costs.
    /// [`Costs::spans`] is for the whole process, and stays.
    pub fn costs(mut self, costs: Costs) -> Builder {
        self.costs = costs;
        self
    }

    /// Counts the calls of each instance into the host ([`Host::take_crossings`]).
    pub fn count_crossings(mut self) -> Builder {
        self.crossings = Some(crossings::Log::default());
        self
    }

    /// Sets the destination of log lines; the terminal by default.
    pub fn logs(mut self, logs: Logs) -> Builder {
        self.logs = logs;
        self
    }

    /// Sets how long a stop waits for requests in flight; 30 s by default.
    pub fn grace(mut self, grace: Duration) -> Builder {
        self.grace = grace;
        self
    }

    /// Starts the host.
    pub async fn start(self) -> Result<Host> {
        let (listen, grace, logs, crossings) = (self.listen, self.grace, self.logs.clone(), self.crossings.clone());
        let forbid_calls_while_open = self.forbid_calls_while_open;
        // Compiling the components takes seconds.
        let (trigger, key_value, outbound, postgres) = tokio::task::spawn_blocking(|| self.prepare()).await??;
        let trigger = Arc::new(trigger);
        let shared = trigger.clone();
        let handler = move |request, client| {
            let trigger = shared.clone();
            async move { trigger.handle(request, client).await }
        };
        // Without TCP_NODELAY, as in Spin's `crates/trigger-http`, `HttpServer::serve_http`.
        let server = Server::start(listen, false, handler).await.map_err(|error| match error.kind() {
            ErrorKind::AddrInUse => {
                anyhow!("{listen} is already in use: choose another address with --listen")
            }
            _ => anyhow!("can't listen on {listen}: {error}"),
        })?;
        let call_guard = forbid_calls_while_open.then(|| CallGuard(postgres.clone()));
        Ok(Host { server, trigger, key_value, outbound, postgres, logs, grace, crossings, _call_guard: call_guard })
    }

    fn prepare(self) -> Result<(Trigger, KeyValue, Outbound, Postgres)> {
        let (manifest, warnings) = Manifest::load(&self.manifest)?;
        for warning in warnings {
            self.logs.host_message(format_args!("warning: {warning}"));
        }
        let config = self.config()?;
        // As in Spin, `--variable` comes before the runtime configuration, and this before the environment.
        let mut given = config.variables();
        given.extend(self.variables.clone());
        let mut variables = Variables::new(&manifest.variables, given.clone())?;
        if self.costs.variables {
            variables.look_up_each_time(given);
        }
        let variables = Arc::new(variables);
        if self.costs.spans {
            costs::subscribe();
        }
        let base = self.manifest.parent().unwrap_or(Path::new(""));
        let key_value = KeyValue::new(self.stores(config, base)?);
        let outbound = Outbound::new();
        let postgres = Postgres::default();
        ensure!(
            self.component.is_none() || manifest.component.len() == 1,
            "the manifest has several components, so it isn't clear which source to replace"
        );

        let grants = |id: &str, declared: &manifest::Component| -> Result<Grants> {
            let (allowed, warning) = AllowedHosts::new(&declared.allowed_outbound_hosts, &variables)?;
            if let Some(warning) = warning {
                self.logs.host_message(format_args!("warning: {warning}"));
            }
            let allowed = if self.costs.variables {
                AllowList::Lazy {
                    entries: declared.allowed_outbound_hosts.clone().into(),
                    variables: variables.clone(),
                    parsed: Arc::default(),
                }
            } else {
                AllowList::Parsed(Arc::new(allowed))
            };
            let log_files = self.costs.log_files.then(|| LogFiles::new(&self.state(base).join("logs"), id));
            for label in &declared.key_value_stores {
                ensure!(key_value.has(label), "unknown key-value store {label:?}: define it in the runtime config");
            }
            let mut templates = BTreeMap::new();
            for (name, template) in &declared.variables {
                crate::spin::variables::check_name(name)?;
                let template = variables.template(template).with_context(|| format!("in the variable {name}"))?;
                templates.insert(name.clone(), template);
            }
            Ok(Grants {
                id: id.to_owned(),
                variables: variables.clone(),
                templates,
                stores: declared.key_value_stores.clone(),
                key_value: key_value.clone(),
                postgres: postgres.clone(),
                hooks: Hooks {
                    outbound: outbound.clone(),
                    allowed,
                    logs: self.logs.clone(),
                    session: Session::default(),
                },
                logs: self.logs.clone(),
                log_files: log_files.transpose().context("can't create the directory of logs")?,
            })
        };
        let mut components = BTreeMap::new();
        for (id, declared) in &manifest.component {
            let in_component = || format!("in the component {id}");
            let grants = Arc::new(grants(id, declared).with_context(in_component)?);
            let source = self.component.clone().unwrap_or_else(|| base.join(&declared.source));
            let pre = component::prepare(&read(&source)?, self.costs)
                .with_context(|| format!("{} can't be run", source.display()))?;
            components.insert(id, Arc::new(Component { pre, grants, costs: self.costs }));
        }

        let mut routes: Vec<(Route, _)> = Vec::new();
        for trigger in &manifest.trigger.http {
            let route = Route::parse(&trigger.route)?;
            if routes.iter().any(|(other, _)| other.raw() == route.raw()) {
                bail!("the route {} is defined twice", route.raw());
            }
            let component = components.get(&trigger.component).context("the route's component is missing")?;
            routes.push((route, component.clone()));
        }
        Ok((Trigger::new(routes, self.logs.clone(), self.crossings.clone()), key_value, outbound, postgres))
    }

    fn state(&self, base: &Path) -> PathBuf {
        self.state_dir.clone().unwrap_or_else(|| base.join(".spin"))
    }

    fn config(&self) -> Result<RuntimeConfig> {
        let Some(path) = &self.runtime_config else { return Ok(RuntimeConfig::default()) };
        let (config, warnings) = RuntimeConfig::load(path)?;
        for warning in warnings {
            self.logs.host_message(format_args!("warning: {warning}"));
        }
        Ok(config)
    }

    fn stores(&self, config: RuntimeConfig, base: &Path) -> Result<BTreeMap<String, Backend>> {
        let directory = self.runtime_config.as_deref().map_or(base, |path| path.parent().unwrap_or(Path::new("")));
        config.stores(directory, &self.state(base))
    }
}

fn read(source: &Path) -> Result<Vec<u8>> {
    std::fs::read(source).map_err(|error| match error.kind() {
        ErrorKind::NotFound => anyhow!("{} doesn't exist: build it with `cargo xtask build`", source.display()),
        _ => anyhow!("can't read {}: {error}", source.display()),
    })
}

/// A running host. Dropping it stops it at once; [`Host::stop`] lets requests in flight finish.
pub struct Host {
    server: Server,
    trigger: Arc<Trigger>,
    key_value: KeyValue,
    outbound: Outbound,
    postgres: Postgres,
    logs: Logs,
    grace: Duration,
    crossings: Option<crossings::Log>,
    _call_guard: Option<CallGuard>,
}

impl std::fmt::Debug for Host {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Host").field("addr", &self.addr()).finish_non_exhaustive()
    }
}

impl Host {
    /// A builder with the default settings.
    pub fn builder() -> Builder {
        Builder {
            manifest: PathBuf::from("spin.toml"),
            variables: BTreeMap::new(),
            listen: (Ipv4Addr::LOCALHOST, 0).into(),
            state_dir: None,
            runtime_config: None,
            component: None,
            logs: Logs::terminal(),
            grace: Duration::from_secs(30),
            forbid_calls_while_open: false,
            crossings: None,
            costs: Costs::default(),
        }
    }

    /// The address it listens on.
    pub fn addr(&self) -> SocketAddr {
        self.server.addr()
    }

    /// The base URL, without a trailing slash.
    pub fn url(&self) -> String {
        format!("http://{}", self.addr())
    }

    /// The key-value stores, with their counts and fault injection.
    pub fn key_value(&self) -> &KeyValue {
        &self.key_value
    }

    /// The outbound calls, with their count and fault injection.
    pub fn outbound(&self) -> &Outbound {
        &self.outbound
    }

    /// The connections to PostgreSQL, with their counts and fault injection.
    pub fn postgres(&self) -> &Postgres {
        &self.postgres
    }

    /// Takes the crossings of the instances that have ended since the last call; none unless
    /// [`Builder::count_crossings`] was called.
    pub fn take_crossings(&self) -> Vec<Crossings> {
        self.crossings.as_ref().map(crossings::Log::take).unwrap_or_default()
    }

    /// The log output of the host and its components.
    pub fn logs(&self) -> &Logs {
        &self.logs
    }

    /// Stops accepting connections, and waits for requests in flight for at most the grace period. This includes work
    /// that a component does after its response.
    pub async fn stop(self) {
        let grace = self.grace;
        self.stop_within(grace).await;
    }

    /// Stops like a crash: requests in flight are aborted.
    pub async fn kill(self) {
        self.stop_within(Duration::ZERO).await;
    }

    async fn stop_within(self, grace: Duration) {
        let deadline = Instant::now() + grace;
        self.server.stop(grace).await;
        self.trigger.stop(deadline.saturating_duration_since(Instant::now())).await;
    }
}

#[cfg(test)]
mod tests;
