//! The measured applications and their environment: an optimised host, an engine, and a process for each target.

use std::collections::BTreeMap;
use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use xtask::component;
use xtask::shell::{apt_install, cargo, command, install, run, target};

use super::Arguments;
use super::process::{Process, Request, free_address};
use super::rows::Body;
use super::runner::Runner;

/// The environment of a run.
pub(super) struct Lab {
    /// Directory of stores and logs. It is on a disk, because the cost of writes is measured.
    pub(super) directory: PathBuf,
    pub(super) runner: Runner,
    engine: String,
    _engine: Process,
}

/// A running application.
pub(super) struct Target {
    pub(super) url: String,
    pub(super) process: Process,
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
    pub(super) fn open(arguments: &Arguments) -> Result<Lab> {
        install(&[("wrk", "wrk")])?;
        let nginx = nginx()?;
        component::build()?;
        component::build_limit()?;
        let target = std::path::absolute(target())?;
        let runner = match (&arguments.spin, &arguments.host) {
            (Some(spin), _) => Runner::Spin(spin.clone()),
            (None, Some(host)) => Runner::Host(host.clone()),
            (None, None) => Runner::Host(optimised_host(&target)?),
        };
        let directory = target.join("bench");
        if directory.exists() {
            fs::remove_dir_all(&directory)?;
        }
        fs::create_dir_all(&directory)?;
        for body in Body::ALL {
            fs::write(body.file(&directory), body.content())?;
        }
        for application in [Application::Limit, Application::LimitLinked, Application::Sluice] {
            application.write_manifest(&directory)?;
        }
        let listen = free_address()?;
        let conf = directory.join("engine.conf");
        let text = fs::read_to_string("bench/engine.conf")?;
        let text = text.replace("DIRECTORY", &directory.to_string_lossy()).replace("ADDRESS", &listen.to_string());
        fs::write(&conf, text)?;
        let engine = format!("http://{listen}");
        let mut start = command(nginx, ["-c"]);
        start.arg(&conf).arg("-p").arg(&directory);
        let mut process = Process::start(&start, &directory.join("engine.log"))?;
        let run = format!("{engine}/api/v1/workflow/w");
        process.wait_until_ready(&Request { url: &run, ..Request::default() }, Instant::now())?;
        Ok(Lab { directory, runner, engine, _engine: process })
    }

    /// Starts an application whose store and log are named `name`, with more variables.
    pub(super) fn start(&self, application: Application, name: &str, variables: &[(&str, &str)]) -> Result<Target> {
        let (command, url) = self.command(application, name, variables)?;
        let mut process = Process::start(&command, &self.directory.join(format!("{name}.log")))?;
        application.wait_until_ready(&mut process, &url, Instant::now())?;
        Ok(Target { url, process })
    }

    /// The command that runs an application over the store `name`, and its URL.
    pub(super) fn command(
        &self,
        application: Application,
        name: &str,
        variables: &[(&str, &str)],
    ) -> Result<(Command, String)> {
        let listen = free_address()?;
        let manifest = application.manifest(&self.directory);
        let mut values = defaults(&manifest)?;
        let given = [&[("engine_url", self.engine.as_str())], variables].concat();
        values.extend(given.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        let mut command = self.runner.command(&manifest, listen, &self.directory.join(name), &values);
        // wasmtime's cache of compiled components.
        command.env("XDG_CACHE_HOME", self.cache());
        Ok((command, format!("http://{listen}")))
    }

    /// The directory of wasmtime's cache.
    pub(super) fn cache(&self) -> PathBuf {
        self.directory.join("cache")
    }
}

impl Application {
    /// Its Wasm file.
    pub(super) fn wasm(self) -> PathBuf {
        target().join(match self {
            Application::Limit => "limit/wasm32-wasip1/release/limit.wasm",
            Application::LimitLinked => "limit-linked/wasm32-wasip1/release/limit.wasm",
            Application::Sluice => "wasm32-wasip1/release/sluice.wasm",
        })
    }

    fn manifest(self, directory: &Path) -> PathBuf {
        directory.join(match self {
            Application::Limit => "limit.toml",
            Application::LimitLinked => "limit-linked.toml",
            Application::Sluice => "sluice.toml",
        })
    }

    /// Copies its manifest into a directory, with the path of its Wasm file there.
    fn write_manifest(self, directory: &Path) -> Result<()> {
        let original = if self == Application::Sluice { "spin.toml" } else { "bench/limit/spin.toml" };
        let wasm = std::path::absolute(self.wasm())?;
        let text = fs::read_to_string(original).context(original)?;
        let is_source = |line: &&str| line.starts_with("source = ");
        ensure!(text.lines().filter(is_source).count() == 1, "{original} has not exactly one component");
        let lines =
            text.lines().map(|line| if is_source(&line) { format!("source = {wasm:?}") } else { line.to_owned() });
        Ok(fs::write(self.manifest(directory), lines.collect::<Vec<_>>().join("\n"))?)
    }

    /// The path of a request that causes no work.
    pub(super) fn empty_path(self) -> &'static str {
        if self == Application::Sluice { "/healthz" } else { "/" }
    }

    /// Waits until the application responds, and returns the time since `since`.
    pub(super) fn wait_until_ready(self, process: &mut Process, url: &str, since: Instant) -> Result<Duration> {
        let url = format!("{url}{}", self.empty_path());
        process.wait_until_ready(&Request { url: &url, ..Request::default() }, since)
    }
}

/// The variables of a manifest that have a default, with it.
fn defaults(manifest: &Path) -> Result<BTreeMap<String, String>> {
    let manifest: toml::Table = fs::read_to_string(manifest)?.parse()?;
    let variables = manifest.get("variables").and_then(|variables| variables.as_table()).into_iter().flatten();
    let default = |value: &toml::Value| Some(value.get("default")?.as_str()?.to_owned());
    Ok(variables.filter_map(|(name, value)| Some((name.clone(), default(value)?))).collect())
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
