//! Sluice with an engine to try it on. Standard output has the log alone; all else is on standard error.

mod address;
mod build;
mod children;
mod engine;
mod log;
mod progress;
mod ready;
mod style;
mod variables;
mod welcome;

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anstream::{eprintln, println};
use anyhow::{Result, bail};

use crate::component;
use crate::shell::{cargo, command, has, output, target};
use children::{Children, Event, Interrupted, Source};
use log::Entry;
use style::{QUIET, STRONG, WARN, paint};
use welcome::Names;

const MANIFEST: &str = "spin.toml";

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Runs on the native host even where Spin is installed
    #[arg(long)]
    host: bool,
    /// The port of 127.0.0.1 where Sluice listens; 0 is any that is free
    #[arg(long, value_name = "PORT", default_value_t = 3000)]
    port: u16,
    /// The whole address where Sluice listens, such as 0.0.0.0:3000
    #[arg(long, value_name = "ADDR", conflicts_with = "port")]
    listen: Option<SocketAddr>,
    /// The base URL of an engine; without it, a stand-in is started
    #[arg(long, value_name = "URL", value_parser = engine::base)]
    engine: Option<String>,
    /// A variable of spin.toml; may be given several times
    #[arg(long = "var", visible_alias = "variable", value_name = "NAME=VALUE", value_parser = variables::parse)]
    variables: Vec<(String, String)>,
    /// Where the key-value data is [default: .spin]
    #[arg(long, value_name = "DIR")]
    state_dir: Option<PathBuf>,
    /// Shows the log as the component writes it, in JSON
    #[arg(long, visible_alias = "json")]
    raw: bool,
}

pub(crate) fn start(arguments: &Arguments) -> Result<ExitCode> {
    match run(arguments) {
        Ok(()) => Ok(ExitCode::SUCCESS),
        // What a shell says of Ctrl-C.
        Err(error) if error.is::<Interrupted>() => Ok(ExitCode::from(130)),
        Err(error) => Err(error),
    }
}

fn run(arguments: &Arguments) -> Result<()> {
    let plan = Plan::new(arguments)?;
    let mut children = Children::new()?;
    eprintln!("{}", plan.header());
    plan.build(&mut children)?;
    plan.start(&mut children)?;
    let said = plan.wait(&mut children)?;
    eprintln!("{said}");
    follow(&mut children, arguments.raw)
}

/// What is to be done, checked before any of it is.
struct Plan<'a> {
    arguments: &'a Arguments,
    on_spin: bool,
    listen: SocketAddr,
    /// The engine's URL.
    engine: String,
    /// Where the engine listens, if it is the stand-in.
    stand_in: Option<SocketAddr>,
    /// What is odd, and may be meant.
    warnings: Vec<String>,
}

impl<'a> Plan<'a> {
    fn new(arguments: &'a Arguments) -> Result<Self> {
        let declared = variables::declared(Path::new(MANIFEST))?;
        variables::check(arguments.variables.iter().map(|(name, _)| name.as_str()), &declared)?;
        let environment = std::env::vars_os().filter_map(|(name, _)| name.into_string().ok());
        let mut warnings = variables::unread(environment, &declared);

        let listen = arguments.listen.unwrap_or_else(|| (Ipv4Addr::LOCALHOST, arguments.port).into());
        let listen = address::free(listen)?;
        let given = arguments.variables.iter().find(|(name, _)| name == "engine_url").map(|(_, url)| url.clone());
        if given.is_some() && arguments.engine.is_some() {
            bail!("--engine sets engine_url, so give one of both");
        }
        let given = given.or_else(|| std::env::var(variables::in_environment("engine_url")).ok());
        let (engine, stand_in) = match arguments.engine.clone().or(given) {
            Some(engine) => (engine, None),
            None => {
                let stand_in = address::stand_in()?;
                warnings.extend(address::moved(stand_in));
                (address::url(stand_in), Some(stand_in))
            }
        };
        if stand_in.is_none()
            && let Some(why) = engine::unreachable(&engine)
        {
            warnings.push(format!("no engine at {engine}: {why}. What comes is stored, and brought later"));
        }
        Ok(Plan { arguments, on_spin: !arguments.host && has("spin"), listen, engine, stand_in, warnings })
    }

    fn header(&self) -> String {
        let on = match self.on_spin {
            // `spin 3.4.0 (0f3b5b5 2025-09-01)`
            true => match output(&mut command("spin", ["--version"])) {
                Ok(version) => {
                    format!("on {}", version.split(" (").next().unwrap_or_default().replacen("spin", "Spin", 1))
                }
                Err(_) => "on Spin".to_owned(),
            },
            false if self.arguments.host => "on the native host".to_owned(),
            false => "on the native host, as there is no spin on the PATH".to_owned(),
        };
        format!("{} {on}", paint(STRONG, concat!("Sluice ", env!("CARGO_PKG_VERSION"))))
    }

    fn build(&self, children: &mut Children) -> Result<()> {
        let bar = build::spinner("component", "looking for a compiler");
        let compiler = component::compiler().inspect_err(|_| bar.finish_and_clear())?;
        build::build(children, &bar, compiler.command)?;
        if !self.on_spin {
            // With the tests, so that cargo chooses the features that it chooses for `cargo xtask test`: wasmtime is
            // compiled for minutes, once.
            let host = ["build", "--workspace", "--locked", "--bin", "sluice-host", "--test", "e2e"];
            build::build(children, &build::spinner("native host", ""), cargo(host))?;
        } else if self.stand_in.is_some() {
            let stand_in = ["build", "--locked", "-p", "sluice-host", "--no-default-features", "--bin", "stand-in"];
            build::build(children, &build::spinner("stand-in engine", ""), cargo(stand_in))?;
        }
        Ok(())
    }

    fn start(&self, children: &mut Children) -> Result<()> {
        let built = |name: &str| std::path::absolute(target()).map(|target| target.join("debug").join(name));
        let mut sluice = match self.on_spin {
            true => command("spin", ["up"]),
            false => Command::new(built("sluice-host")?),
        };
        sluice.args(["--from", MANIFEST, "--listen", &self.listen.to_string()]);
        sluice.arg("--variable").arg(format!("engine_url={}", self.engine));
        for (name, value) in self.arguments.variables.iter().filter(|(name, _)| name != "engine_url") {
            sluice.arg("--variable").arg(format!("{name}={value}"));
        }
        if let Some(directory) = &self.arguments.state_dir {
            sluice.arg("--state-dir").arg(directory);
        }
        match self.stand_in {
            Some(addr) if self.on_spin => {
                let mut stand_in = Command::new(built("stand-in")?);
                children.start("the stand-in engine", stand_in.arg("--listen").arg(addr.to_string()))?;
            }
            Some(addr) => drop(sluice.arg(format!("--stand-in={addr}"))),
            None => {}
        }
        children.start(if self.on_spin { "spin" } else { "the native host" }, &mut sluice)
    }

    /// Waits until Sluice answers, and gives what is to be told of it.
    fn wait(&self, children: &mut Children) -> Result<String> {
        let start = Instant::now();
        let bar = build::spinner("start", "waiting for /readyz");
        let sluice = address::url(self.listen);
        let mut before = Vec::new();
        let (health, names) = loop {
            let names = match self.stand_in {
                Some(_) => ready::waiting_run(&self.engine).map(Names::of_stand_in),
                None => Some(Names::to_fill_in()),
            };
            if let Some(names) = names
                && let Some(health) = ready::ask(&sluice)
            {
                break (health, names);
            }
            match children.next_within(Duration::from_millis(100)) {
                None => {}
                Some(Event::Said { source, line }) => before.push((source, line)),
                Some(Event::Ended { name, status }) => {
                    bar.finish_and_clear();
                    before.iter().for_each(|(_, line)| eprintln!("{line}"));
                    bail!("{name} did not start: {status}");
                }
                Some(Event::Stop) => {
                    bar.finish_and_clear();
                    children.end();
                    bail!(Interrupted);
                }
            }
        };
        bar.finish_and_clear();
        build::done("start", Some(start.elapsed()));
        // What a host says on standard output as it starts, we say ourselves.
        for (_, line) in before.iter().filter(|(source, _)| *source == Source::Stderr) {
            eprintln!("{}", paint(QUIET, line));
        }
        let mut told = vec![format!("\n{}", welcome::places(&sluice, &self.engine, self.stand_in.is_some()))];
        let warnings: Vec<_> =
            self.warnings.iter().map(|text| format!("{} {text}\n", paint(WARN, "warning:"))).collect();
        told.extend([warnings.concat(), health.told()].into_iter().filter(|text| !text.is_empty()));
        let id = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
        told.push(welcome::to_try(&sluice, &names, id));
        told.push(paint(QUIET, "The log of what comes in; Ctrl-C ends all.\n"));
        Ok(told.join("\n"))
    }
}

/// Shows the log until all have ended.
fn follow(children: &mut Children, raw: bool) -> Result<()> {
    if !raw {
        println!("{}", log::head());
    }
    let (mut is_ours, mut is_ending, mut failure) = (true, false, None);
    while let Some(event) = children.next() {
        match event {
            Event::Said { source, line } => match Entry::parse(&line) {
                // The first one is what we asked ourselves.
                Some(entry) if is_ours && entry.is_probe() => is_ours = false,
                Some(_) if raw => println!("{line}"),
                Some(entry) => println!("{entry}"),
                None if source == Source::Stdout && is_greeting(&line) => {}
                None => eprintln!("{line}"),
            },
            Event::Stop if is_ending => children.kill(),
            Event::Stop => {
                is_ending = true;
                eprintln!("{}", paint(QUIET, "Ending, once what is at work is done; Ctrl-C ends it now."));
                children.interrupt();
            }
            Event::Ended { name, status } if !is_ending => {
                is_ending = true;
                failure = Some(format!("{name} ended: {status}"));
                children.interrupt();
            }
            Event::Ended { .. } => {}
        }
    }
    match failure {
        Some(failure) => bail!(failure),
        None => Ok(()),
    }
}

/// What a host says of where it is, which we have said.
fn is_greeting(line: &str) -> bool {
    ["Serving http", "Stand-in engine: http"].iter().any(|greeting| line.starts_with(greeting))
}
