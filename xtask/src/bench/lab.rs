//! What is measured, and where: the host built for speed, an engine, and a process for each target.

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result, ensure};

use super::process::{Process, Request, free_port};
use super::rows::Body;
use crate::component;
use crate::shell::{apt_install, cargo, command, install, run, target};

const TOOLS: [(&str, &str); 3] = [("wrk", "wrk"), ("sqlite3", "sqlite3"), ("redis-server", "redis-server")];

/// The limit's manifest.
const LIMIT: &str = "bench/limit/spin.toml";

/// For an engine that is down. Nobody listens on this port: it is below those that are free to take.
pub(super) const DOWN: (&str, &str) = ("engine_url", "http://127.0.0.1:1");

pub(super) const OPERATOR: &str = "benchmark";
/// The secret of the signed row.
pub(super) const SECRET: &str = "It's a Secret to Everybody";

pub(super) struct Lab {
    /// On a real disk, since writes are what is measured.
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
    /// Its Redis, if it has one.
    _redis: Option<Process>,
}

/// An application of ours.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Application {
    Limit,
    /// The same, compiled and linked as Sluice.
    LimitLinked,
    Sluice,
}

impl Lab {
    /// Builds all, and starts the engine.
    pub(super) fn open(host: Option<&Path>) -> Result<Lab> {
        install(&TOOLS)?;
        let nginx = nginx()?;
        component::build()?;
        component::build_limit()?;
        let target = std::path::absolute(target())?;
        let host = host.map_or_else(|| fast_host(&target), |host| Ok(host.to_owned()))?;
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
        ensure!(linked != limit, "{LIMIT} has its component elsewhere");
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
        process.answers(&Request { url: &query, ..Request::default() }, Instant::now())?;
        Ok(Lab { directory, host, engine, _engine: process })
    }

    /// The limit, or Sluice with these variables besides.
    pub(super) fn start(&self, application: Application, name: &str, variables: &[(&str, &str)]) -> Result<Target> {
        let state = self.directory.join(name);
        let (command, url) = self.command(application, &state, &self.engine, variables)?;
        let process = self.answering(application, name, &command, &url)?;
        Ok(Target { url, state, process, _redis: None })
    }

    /// Sluice over a Redis of its own, which is set up as deploy/ says: what is written is on disk before the answer.
    pub(super) fn start_on_redis(&self, name: &str, variables: &[(&str, &str)]) -> Result<Target> {
        let state = self.directory.join(name);
        fs::create_dir_all(&state)?;
        let port = free_port()?.to_string();
        let mut start = command("redis-server", ["--port", &port, "--bind", "127.0.0.1", "--save", "", "--dir"]);
        start.arg(&state).args(["--appendonly", "yes", "--appendfsync", "always", "--maxmemory-policy", "noeviction"]);
        let mut redis = Process::start(&start, &self.directory.join(format!("{name}-redis.log")))?;
        redis.listens(&port)?;
        let config = state.join("runtime-config.toml");
        fs::write(
            &config,
            format!("[key_value_store.default]\ntype = \"redis\"\nurl = \"redis://127.0.0.1:{port}\"\n"),
        )?;

        let (mut command, url) = self.command(Application::Sluice, &state, &self.engine, variables)?;
        command.arg("--runtime-config-file").arg(config);
        let process = self.answering(Application::Sluice, name, &command, &url)?;
        Ok(Target { url, state, process, _redis: Some(redis) })
    }

    /// Starts it, and waits until it answers.
    fn answering(&self, application: Application, name: &str, command: &Command, url: &str) -> Result<Process> {
        let mut process = Process::start(command, &self.directory.join(format!("{name}.log")))?;
        application.answers(&mut process, url, Instant::now())?;
        Ok(process)
    }

    /// The host's command, and where it will listen.
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
        // What wasmtime compiles is kept beside all else of the run.
        command.arg(state).env("XDG_CACHE_HOME", self.directory.join("cache"));
        command.arg("--variable").arg(format!("engine_url={engine}"));
        if application == Application::Sluice {
            command.arg("--variable").arg(format!("operator_token={OPERATOR}"));
        }
        // Of two of one name the later counts.
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

    /// Where wasmtime keeps what it has compiled.
    pub(super) fn cache(&self) -> PathBuf {
        self.directory.join("cache")
    }

    pub(super) fn engine(&self) -> &str {
        &self.engine
    }
}

impl Application {
    /// Waits until it answers; says how long that took.
    pub(super) fn answers(self, process: &mut Process, url: &str, since: Instant) -> Result<std::time::Duration> {
        let url = match self {
            Application::Limit | Application::LimitLinked => format!("{url}/hello"),
            Application::Sluice => format!("{url}/healthz"),
        };
        process.answers(&Request { url: &url, ..Request::default() }, since)
    }
}

/// With the profile `bench`, which cargo keeps where `release` is.
fn fast_host(target: &Path) -> Result<PathBuf> {
    println!("bench: the host, for speed; the first time takes minutes");
    run(&mut cargo(["build", "-q", "--profile", "bench", "--workspace", "--bin", "sluice-host", "--locked"]))?;
    Ok(target.join("release/sluice-host"))
}

/// Debian has it in /usr/sbin.
fn nginx() -> Result<PathBuf> {
    let known = || {
        let places = [Path::new("/usr/sbin/nginx"), Path::new("/usr/bin/nginx")];
        places.into_iter().find(|place| place.is_file()).map(Path::to_owned)
    };
    if known().is_none() {
        apt_install(&["nginx"]);
    }
    known().context("nginx is not there; on Debian, `apt-get install nginx`")
}

/// An engine that takes connections and never says a word.
pub(super) fn silent() -> Result<(TcpListener, String)> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let url = format!("http://{}", listener.local_addr()?);
    Ok((listener, url))
}
