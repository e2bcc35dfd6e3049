//! `cargo xtask up`: runs Sluice with an engine. Only the log is written to standard output.
//!
//! ```text
//!  Arguments ──▶ plan ──▶ launch::build ──▶ engines::start ──▶ launch::start ──▶ launch::wait ──▶ follow
//!               (checks)     (cargo)        (a real engine)     (children)        (/readyz)       (log)
//! ```

mod address;
mod build;
mod children;
mod engine;
mod engines;
mod launch;
mod log;
mod manifest;
mod plan;
mod progress;
mod ready;
mod sources;
mod style;
mod variables;
mod welcome;

use std::io::{Error, ErrorKind, Write};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use anstream::eprintln;
use anyhow::Result;

use children::{Children, Event, Interrupted, Source};
use log::Entry;
use plan::Plan;
use style::{DIM, paint};

#[derive(Clone, clap::Args)]
pub(crate) struct Arguments {
    /// Runs on the native host even if Spin is installed
    #[arg(long)]
    host: bool,
    /// Runs the component that `cargo xtask build` builds for production: smaller, faster, and slower to build
    #[arg(long)]
    release: bool,
    /// Port on 127.0.0.1 to listen on; 0 selects a free one
    #[arg(long, value_name = "PORT", default_value_t = 3000)]
    port: u16,
    /// Address to listen on, such as 0.0.0.0:3000
    #[arg(long, value_name = "ADDR", conflicts_with = "port")]
    listen: Option<SocketAddr>,
    /// A real engine to install and start: temporal, airflow, restate or prefect; or the base URL of your own one
    /// [default: a stand-in engine is started]
    #[arg(long, value_name = "NAME|URL", value_parser = engine::parse)]
    engine: Option<engine::Choice>,
    /// Sets a variable of spin.toml; can be repeated
    #[arg(long = "var", value_name = "NAME=VALUE", value_parser = variables::parse)]
    variables: Vec<(String, String)>,
    /// Adds a source that may deliver: `github=SECRET` for a known sender, `partner=token:TOKEN` for any other; can be
    /// repeated
    #[arg(long = "source", value_name = "NAME=SECRET", value_parser = sources::parse)]
    sources: Vec<sources::Source>,
    /// Directory of the key-value store [default: .spin]
    #[arg(long, value_name = "DIR")]
    state_dir: Option<PathBuf>,
    /// Shows the component's log unchanged, in JSON
    #[arg(long, visible_alias = "json")]
    raw: bool,
    /// Options of the stand-in engine, after `--`; see `stand-in --help` [default: --any-workflow]
    #[arg(last = true, value_name = "STAND-IN OPTIONS", conflicts_with = "engine")]
    stand_in: Vec<String>,
}

pub(crate) fn start(arguments: &Arguments) -> Result<ExitCode> {
    match run(arguments) {
        Ok(()) => Ok(ExitCode::SUCCESS),
        // The exit code with which shells report Ctrl-C.
        Err(error) if error.is::<Interrupted>() => Ok(ExitCode::from(130)),
        Err(error) => Err(error),
    }
}

fn run(arguments: &Arguments) -> Result<()> {
    let mut plan = Plan::new(arguments)?;
    let mut children = Children::new()?;
    eprintln!("{}", plan.header());
    launch::build(&plan, &mut children)?;
    if let Some(engine) = plan.real {
        let started = engines::start(engine, &mut children)?;
        plan.set_engine(engine, started);
    }
    launch::start(&plan, &mut children)?;
    launch::wait(&plan, &mut children)?;
    follow(&mut children, arguments.raw)
}

/// Shows the log until all children have ended. The end of one child ends the others.
fn follow(children: &mut Children, raw: bool) -> Result<()> {
    let (mut out, mut err) = (anstream::stdout(), anstream::stderr());
    if !raw {
        writeln!(out, "{}", log::header())?;
    }
    let (mut is_own_probe, mut is_ending, mut failure) = (true, false, None);
    while let Some(event) = children.next() {
        // A closed standard output, as in `up | head`, ends everything. A closed standard error doesn't.
        let shown = match event {
            Event::Line { source, line, .. } => match Entry::parse(&line) {
                // The first probe is the one of `launch::wait`.
                Some(entry) if is_own_probe && entry.is_probe() => {
                    is_own_probe = false;
                    Ok(())
                }
                Some(_) if raw => writeln!(out, "{line}"),
                Some(entry) => writeln!(out, "{entry}"),
                None if source == Source::Stdout && is_greeting(&line) => Ok(()),
                None => writeln!(err, "{line}").or(Ok(())),
            },
            Event::Interrupt if is_ending => {
                children.kill();
                Ok(())
            }
            Event::Interrupt => {
                is_ending = true;
                children.interrupt();
                writeln!(err, "{}", paint(DIM, "Stopping after the current requests; Ctrl-C stops at once.")).or(Ok(()))
            }
            Event::Exited { name, status } if !is_ending => Err(Error::other(format!("{name} ended: {status}"))),
            Event::Exited { .. } => Ok(()),
        };
        if let Err(error) = shown
            && !is_ending
        {
            is_ending = true;
            failure = (error.kind() != ErrorKind::BrokenPipe).then_some(error);
            children.interrupt();
        }
    }
    failure.map_or(Ok(()), |failure| Err(failure.into()))
}

/// Whether this is a host's own line about its address, which has been shown already.
fn is_greeting(line: &str) -> bool {
    ["Serving http", "Stand-in engine: http"].iter().any(|greeting| line.starts_with(greeting))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;
    use xtask::shell::command;

    #[test]
    fn end_of_one_child_ends_all() {
        let mut children = Children::new().unwrap();
        children.start("the engine", &mut command("sleep", ["60"])).unwrap();
        children.start("spin", &mut command("sh", ["-c", "exit 3"])).unwrap();
        let error = follow(&mut children, true).unwrap_err().to_string();
        assert_eq!(error, "spin ended: exit status: 3");
        assert!(children.next().is_none());
    }
}
