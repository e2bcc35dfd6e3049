//! Real engines: `up --engine NAME` installs one, and starts it with the workflows of the tests.
//!
//! A [`Recipe`] says how; there is one in each module. The server, the worker and the data are those of `up` alone: free
//! ports on the loopback interface, and a directory that each start empties.

mod airflow;
mod prefect;
mod restate;
mod temporal;

use std::fs::{self, File};
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anstream::eprintln;
use anyhow::{Context, Result, bail};
use indicatif::ProgressBar;
use serde_json::Value;
use xtask::shell::target;

use super::address;
use super::build::{done, spinner};
use super::children::{Children, Event, Interrupted};
use super::style::plain;
use crate::engines::{Engine, TESTS};

/// How long a server or a worker may take until it is ready. Airflow needs a minute on a busy machine.
const PATIENCE: Duration = Duration::from_secs(300);

/// Number of lines of a log that an error shows.
const TAIL: usize = 20;

/// Where an engine is, and what it may use.
struct Place {
    /// Where it is installed.
    installed: PathBuf,
    /// Its data and logs.
    data: PathBuf,
    /// The workflows of the tests.
    workflows: PathBuf,
}

/// How an engine is started, and what Sluice has to know of it.
struct Recipe {
    stages: Vec<Stage>,
    running: Running,
    /// Looks up the workflows, until the engine knows them.
    workflows: Box<dyn Fn() -> Option<Workflows>>,
}

/// One step of a start.
enum Stage {
    /// A command that ends.
    Run(Command),
    /// A process that runs until `up` ends. The next stage begins once the check succeeds.
    Start { name: &'static str, command: Command, is_ready: Box<dyn Fn() -> bool> },
}

impl Stage {
    fn start(name: &'static str, command: Command, is_ready: impl Fn() -> bool + 'static) -> Self {
        Self::Start { name, command, is_ready: Box::new(is_ready) }
    }
}

/// An engine that runs.
pub(super) struct Started {
    pub(super) running: Running,
    pub(super) workflows: Workflows,
    /// Keeps another `up` from its data.
    _lock: File,
}

/// What Sluice has to know of a running engine.
pub(super) struct Running {
    /// The engine's name for people.
    pub(super) title: &'static str,
    /// The base URL of its API.
    pub(super) url: String,
    /// The address of its own page, and a remark on it.
    pub(super) page: (String, &'static str),
    /// The variable `engine_token`; empty if it needs none.
    pub(super) token: &'static str,
    /// The member `engine` of `settings`.
    pub(super) constants: Value,
}

/// References of two workflows, as senders name them.
pub(super) struct Workflows {
    /// It records its input.
    pub(super) records: String,
    /// It waits for the topic `approval`.
    pub(super) waits: String,
}

impl Workflows {
    /// The workflows of an engine that knows them by these names from the start.
    fn named(records: &'static str, waits: &'static str) -> Box<dyn Fn() -> Option<Workflows>> {
        Box::new(|| Some(Workflows { records: records.to_owned(), waits: waits.to_owned() }))
    }
}

/// Free ports on the loopback interface, all different.
fn free_ports<const N: usize>() -> Result<[u16; N]> {
    let mut ports = [0; N];
    // Each one is held until all are found.
    let mut held = Vec::new();
    for port in &mut ports {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        *port = listener.local_addr()?.port();
        held.push(listener);
    }
    Ok(ports)
}

/// The URL of a port on the loopback interface.
fn local(port: u16) -> String {
    address::url((Ipv4Addr::LOCALHOST, port).into())
}

/// Installs and starts an engine and its worker.
pub(super) fn start(engine: Engine, children: &mut Children) -> Result<Started> {
    let bar = spinner(engine.name(), "installing; the first time takes minutes");
    if bar.is_hidden() {
        eprintln!("  - {:16} installing and starting", engine.name());
    }
    let start = Instant::now();
    let started = Start { children, bar: &bar }.run(engine);
    match &started {
        Ok(_) => done(&bar, start.elapsed()),
        Err(_) => bar.finish_and_clear(),
    }
    started
}

/// Empties the directory for data and logs of an engine, which one `up` uses at a time.
fn empty_data(engine: Engine) -> Result<(PathBuf, File)> {
    let (all, name) = (std::path::absolute(target())?.join("engines/data"), engine.name());
    let data = all.join(name);
    fs::create_dir_all(&all)?;
    let lock = File::create(all.join(format!("{name}.lock")))?;
    if lock.try_lock().is_err() {
        bail!("another `cargo xtask up --engine {name}` is running: stop it first");
    }
    if data.exists() {
        fs::remove_dir_all(&data).with_context(|| format!("can't empty {}", data.display()))?;
    }
    fs::create_dir(&data)?;
    Ok((data, lock))
}

/// A start that is under way.
struct Start<'a> {
    children: &'a mut Children,
    bar: &'a ProgressBar,
}

impl Start<'_> {
    fn run(mut self, engine: Engine) -> Result<Started> {
        let (data, lock) = empty_data(engine)?;
        let log = data.join("install.log");
        let installed = engine.install(|command| self.finish(command, &log))?;
        let place = Place { installed, data, workflows: std::path::absolute(TESTS)?.join("workflows") };
        let Recipe { stages, running, workflows } = match engine {
            Engine::Airflow => airflow::recipe(&place),
            Engine::Prefect => prefect::recipe(&place),
            Engine::Restate => restate::recipe(&place),
            Engine::Temporal => temporal::recipe(&place),
        }?;
        let log = self.carry_out(stages, &place.data)?;
        self.bar.set_message("waiting for its workflows");
        let workflows = self.wait("the engine", &log, workflows)?;
        Ok(Started { running, workflows, _lock: lock })
    }

    /// Carries out the stages. Returns the last log.
    fn carry_out(&mut self, stages: Vec<Stage>, data: &Path) -> Result<PathBuf> {
        let mut log = PathBuf::new();
        for stage in stages {
            match stage {
                Stage::Run(mut command) => {
                    self.bar.set_message("preparing its data");
                    log = data.join("prepare.log");
                    self.finish(&mut command, &log)?;
                }
                Stage::Start { name, mut command, is_ready } => {
                    self.bar.set_message(format!("starting {name}"));
                    // `Airflow's scheduler` has the log `scheduler.log`.
                    log = data.join(format!("{}.log", name.rsplit(' ').next().unwrap_or(name)));
                    self.children.start_service(name, &mut command, &File::create(&log)?)?;
                    self.wait(name, &log, || is_ready().then_some(()))?;
                }
            }
        }
        Ok(log)
    }

    /// Runs a command to its end.
    fn finish(&mut self, command: &mut Command, log: &Path) -> Result<()> {
        const NAME: &str = "a command";
        self.children.start_service(NAME, command, &File::options().create(true).append(true).open(log)?)?;
        loop {
            match self.children.next() {
                Some(Event::Exited { name: NAME, status }) if status.success() => return Ok(()),
                Some(Event::Exited { name, status }) => bail!("{name} ended: {status}{}", tail(log)),
                Some(Event::Interrupt) => return self.interrupted(),
                Some(Event::Line { .. }) => {}
                None => bail!(Interrupted),
            }
        }
    }

    /// Waits until a check succeeds while all processes run.
    fn wait<T>(&mut self, name: &str, log: &Path, check: impl Fn() -> Option<T>) -> Result<T> {
        let start = Instant::now();
        loop {
            if let Some(found) = check() {
                return Ok(found);
            }
            match self.children.next_within(Duration::from_millis(100)) {
                Some(Event::Exited { name: ended, status }) if ended == name => {
                    bail!("{name} did not start: {status}{}", tail(log))
                }
                Some(Event::Exited { name, status }) => bail!("{name} ended: {status}"),
                Some(Event::Interrupt) => self.interrupted()?,
                _ if start.elapsed() > PATIENCE => {
                    bail!("{name} was not ready after {} s{}", PATIENCE.as_secs(), tail(log))
                }
                _ => {}
            }
        }
    }

    fn interrupted(&mut self) -> Result<()> {
        self.bar.finish_and_clear();
        self.children.end();
        bail!(Interrupted)
    }
}

/// The end of a log, for an error.
fn tail(log: &Path) -> String {
    let text = fs::read(log).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default();
    let lines: Vec<_> = text.lines().map(plain).collect();
    let last = lines.get(lines.len().saturating_sub(TAIL)..).unwrap_or_default();
    format!(". The end of {}:\n{}", log.display(), last.join("\n"))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use std::cell::Cell;

    use super::*;
    use xtask::shell::command;

    /// Carries out stages with data of their own. Returns the text of the last log, or the error.
    fn carry_out(name: &str, stages: Vec<Stage>) -> Result<String, String> {
        let data = std::env::temp_dir().join(format!("sluice-xtask-{name}-{}", std::process::id()));
        fs::create_dir(&data).unwrap();
        let mut children = Children::new().unwrap();
        let log = Start { children: &mut children, bar: &ProgressBar::hidden() }.carry_out(stages, &data);
        let result = log.map(|log| fs::read_to_string(log).unwrap()).map_err(|error| error.to_string());
        children.end();
        fs::remove_dir_all(&data).unwrap();
        result.map_err(|error| error.replace(data.to_str().unwrap(), "DATA"))
    }

    fn sh(script: &str) -> Command {
        command("sh", ["-c", script])
    }

    #[test]
    fn stages_follow_each_other() {
        let asked = Cell::new(0);
        let is_ready = move || asked.replace(asked.get() + 1) == 3;
        let server = sh("echo up; exec sleep 60");
        let stages = vec![Stage::Run(sh("true")), Stage::start("A's server", server, is_ready)];
        assert_eq!(carry_out("stages", stages).unwrap(), "up\n");
    }

    #[test]
    fn error_has_the_end_of_the_log() {
        let broken = "for i in $(seq 30); do echo line $i; done; exit 3";
        let expected = |name: &str, log: &str| {
            let lines: Vec<_> = (11..=30).map(|i| format!("line {i}")).collect();
            format!("{name}: exit status: 3. The end of DATA/{log}.log:\n{}", lines.join("\n"))
        };
        let command = carry_out("command", vec![Stage::Run(sh(broken))]).unwrap_err();
        assert_eq!(command, expected("a command ended", "prepare"));
        let stages = vec![
            Stage::start("A's server", sh("exec sleep 60"), || true),
            Stage::start("A's worker", sh(broken), || false),
        ];
        assert_eq!(carry_out("worker", stages).unwrap_err(), expected("A's worker did not start", "worker"));
        let stages = vec![
            Stage::start("A's server", sh("sleep 0.2; exit 4"), || true),
            Stage::start("A's worker", sh("exec sleep 60"), || false),
        ];
        assert_eq!(carry_out("server", stages).unwrap_err(), "A's server ended: exit status: 4");
    }

    #[test]
    fn ports_are_different() {
        let mut ports = free_ports::<20>().unwrap().to_vec();
        ports.sort_unstable();
        ports.dedup();
        assert_eq!(ports.len(), 20);
    }
}
