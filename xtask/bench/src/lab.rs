//! The measured applications and their environment: an optimised host, an engine, and a process for each target.

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use xtask::component;
use xtask::shell::{apt_install, cargo, command, install, run, target};

use super::process::{Process, Request, free_port};
use super::rows::Body;

/// The programs of a run, each with the Debian package that contains it.
const TOOLS: [(&str, &str); 3] = [("wrk", "wrk"), ("sqlite3", "sqlite3"), ("redis-server", "redis-server")];

/// The manifest of `bench/limit`.
const LIMIT: &str = "bench/limit/spin.toml";

/// Sets `engine_url` to an engine that is down: port 1 is privileged and unused.
pub(super) const ENGINE_DOWN: (&str, &str) = ("engine_url", "http://127.0.0.1:1");

/// The operator's token.
pub(super) const OPERATOR_TOKEN: &str = "benchmark";
/// GitHub's secret for signed webhooks.
pub(super) const SECRET: &str = "It's a Secret to Everybody";

/// The environment of a run.
pub(super) struct Lab {
    /// Directory of stores and logs. It is on a disk, because the cost of writes is measured.
    pub(super) directory: PathBuf,
    host: PathBuf,
    engine: String,
    _engine: Process,
}

/// A running application.
pub(super) struct Target {
    pub(super) url: String,
    pub(super) state: PathBuf,
    pub(super) process: Process,
    /// The Redis server of its store, if it has one.
    _redis: Option<Process>,
}

/// A measured application.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Application {
    /// The reference component, `bench/limit`.
    Limit,
    /// The reference component, compiled and linked with Sluice's flags.
    LimitLinked,
    Sluice,
}

impl Lab {
    /// Builds host and applications, and starts the engine.
    pub(super) fn open(host: Option<&Path>) -> Result<Lab> {
        install(&TOOLS)?;
        let nginx = nginx()?;
        component::build()?;
        component::build_limit()?;
        let target = std::path::absolute(target())?;
        let host = host.map_or_else(|| optimised_host(&target), |host| Ok(host.to_owned()))?;
        let directory = target.join("bench");
        if directory.exists() {
            fs::remove_dir_all(&directory)?;
        }
        fs::create_dir_all(&directory)?;
        for body in Body::ALL {
            fs::write(body.file(&directory), body.content())?;
        }
        let limit = fs::read_to_string(LIMIT)?;
        let linked = limit.replace("../../target/limit/", &target.join("limit-linked/").to_string_lossy());
        ensure!(linked != limit, "{LIMIT} names another path of its component");
        fs::write(directory.join("limit-linked.toml"), linked)?;
        let port = free_port()?;
        let conf = directory.join("engine.conf");
        let text = fs::read_to_string("bench/engine.conf")?;
        let text = text.replace("DIRECTORY", &directory.to_string_lossy()).replace("PORT", &port.to_string());
        fs::write(&conf, text)?;
        let engine = format!("http://127.0.0.1:{port}");
        let mut start = command(nginx, ["-c"]);
        start.arg(&conf).arg("-p").arg(&directory);
        let mut process = Process::start(&start, &directory.join("engine.log"))?;
        let query = format!("{engine}/api/v1/workflowrun/query");
        process.wait_until_ready(&Request { url: &query, ..Request::default() }, Instant::now())?;
        Ok(Lab { directory, host, engine, _engine: process })
    }

    /// Starts an application whose store and log are named `name`, with more variables.
    pub(super) fn start(&self, application: Application, name: &str, variables: &[(&str, &str)]) -> Result<Target> {
        let state = self.directory.join(name);
        let (command, url) = self.command(application, &state, &self.engine, variables)?;
        let process = self.start_process(application, name, &command, &url)?;
        Ok(Target { url, state, process, _redis: None })
    }

    /// Starts Sluice over its own Redis, configured as in deploy/: writes are on disk before they are acknowledged.
    pub(super) fn start_on_redis(&self, name: &str, variables: &[(&str, &str)]) -> Result<Target> {
        let state = self.directory.join(name);
        fs::create_dir_all(&state)?;
        let port = free_port()?.to_string();
        let mut start = command("redis-server", ["--port", &port, "--bind", "127.0.0.1", "--save", "", "--dir"]);
        start.arg(&state).args(["--appendonly", "yes", "--appendfsync", "always", "--maxmemory-policy", "noeviction"]);
        let mut redis = Process::start(&start, &self.directory.join(format!("{name}-redis.log")))?;
        redis.wait_until_listening(&port)?;
        let config = state.join("runtime-config.toml");
        fs::write(
            &config,
            format!("[key_value_store.default]\ntype = \"redis\"\nurl = \"redis://127.0.0.1:{port}\"\n"),
        )?;

        let (mut command, url) = self.command(Application::Sluice, &state, &self.engine, variables)?;
        command.arg("--runtime-config-file").arg(config);
        let process = self.start_process(Application::Sluice, name, &command, &url)?;
        Ok(Target { url, state, process, _redis: Some(redis) })
    }

    /// Starts the process of an application, and waits until it responds.
    fn start_process(&self, application: Application, name: &str, command: &Command, url: &str) -> Result<Process> {
        let mut process = Process::start(command, &self.directory.join(format!("{name}.log")))?;
        application.wait_until_ready(&mut process, url, Instant::now())?;
        Ok(process)
    }

    /// The command that runs an application, and its URL.
    pub(super) fn command(
        &self,
        application: Application,
        state: &Path,
        engine: &str,
        variables: &[(&str, &str)],
    ) -> Result<(Command, String)> {
        let listen = format!("127.0.0.1:{}", free_port()?);
        let mut command = command(&self.host, ["--from"]);
        command.arg(self.manifest(application)).args(["--listen", &listen, "--state-dir"]);
        // wasmtime's cache of compiled components.
        command.arg(state).env("XDG_CACHE_HOME", self.directory.join("cache"));
        command.arg("--variable").arg(format!("engine_url={engine}"));
        if application == Application::Sluice {
            command.arg("--variable").arg(format!("operator_token={OPERATOR_TOKEN}"));
        }
        // A later value overrides an earlier one.
        for (name, value) in variables {
            command.arg("--variable").arg(format!("{name}={value}"));
        }
        Ok((command, format!("http://{listen}")))
    }

    fn manifest(&self, application: Application) -> PathBuf {
        match application {
            Application::Limit => LIMIT.into(),
            Application::LimitLinked => self.directory.join("limit-linked.toml"),
            Application::Sluice => "spin.toml".into(),
        }
    }

    /// The directory of wasmtime's cache.
    pub(super) fn cache(&self) -> PathBuf {
        self.directory.join("cache")
    }

    pub(super) fn engine(&self) -> &str {
        &self.engine
    }
}

impl Application {
    /// Waits until the application responds, and returns the time since `since`.
    pub(super) fn wait_until_ready(
        self,
        process: &mut Process,
        url: &str,
        since: Instant,
    ) -> Result<std::time::Duration> {
        let url = match self {
            Application::Limit | Application::LimitLinked => format!("{url}/hello"),
            Application::Sluice => format!("{url}/healthz"),
        };
        process.wait_until_ready(&Request { url: &url, ..Request::default() }, since)
    }
}

/// Builds the host with the profile `bench`, whose output directory is that of `release`.
fn optimised_host(target: &Path) -> Result<PathBuf> {
    println!("bench: building an optimised host; the first time takes minutes");
    run(&mut cargo(["build", "-q", "--profile", "bench", "--workspace", "--bin", "sluice-host", "--locked"]))?;
    Ok(target.join("release/sluice-host"))
}

/// The path of nginx, which Debian installs outside the `PATH` of users.
fn nginx() -> Result<PathBuf> {
    let installed = || {
        let paths = [Path::new("/usr/sbin/nginx"), Path::new("/usr/bin/nginx")];
        paths.into_iter().find(|path| path.is_file()).map(Path::to_owned)
    };
    if installed().is_none() {
        apt_install(&["nginx"]);
    }
    installed().context("nginx is missing; on Debian, `apt-get install nginx`")
}

/// An engine that accepts connections and never responds.
pub(super) fn silent_engine() -> Result<(TcpListener, String)> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let url = format!("http://{}", listener.local_addr()?);
    Ok((listener, url))
}
