//! Sluice with an engine to try it on. Standard output has the log alone; all else is on standard error.

mod address;
mod build;
mod children;
mod engine;
mod launch;
mod log;
mod plan;
mod progress;
mod ready;
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
use style::{QUIET, paint};

#[derive(Clone, clap::Args)]
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
    launch::build(&plan, &mut children)?;
    launch::start(&plan, &mut children)?;
    launch::wait(&plan, &mut children)?;
    follow(&mut children, arguments.raw)
}

/// Shows the log until all have ended.
fn follow(children: &mut Children, raw: bool) -> Result<()> {
    let (mut out, mut err) = (anstream::stdout(), anstream::stderr());
    if !raw {
        writeln!(out, "{}", log::head())?;
    }
    let (mut is_ours, mut is_ending, mut failure) = (true, false, None);
    while let Some(event) = children.next() {
        // Words that nobody hears stop nothing; a log that nobody reads ends all, as in `up | head`.
        let shown = match event {
            Event::Said { source, line } => match Entry::parse(&line) {
                // The first one is what we asked ourselves.
                Some(entry) if is_ours && entry.is_probe() => {
                    is_ours = false;
                    Ok(())
                }
                Some(_) if raw => writeln!(out, "{line}"),
                Some(entry) => writeln!(out, "{entry}"),
                None if source == Source::Stdout && is_greeting(&line) => Ok(()),
                None => writeln!(err, "{line}").or(Ok(())),
            },
            Event::Stop if is_ending => {
                children.kill();
                Ok(())
            }
            Event::Stop => {
                is_ending = true;
                children.interrupt();
                writeln!(err, "{}", paint(QUIET, "Ending, once what is at work is done; Ctrl-C ends it now."))
                    .or(Ok(()))
            }
            Event::Ended { name, status } if !is_ending => Err(Error::other(format!("{name} ended: {status}"))),
            Event::Ended { .. } => Ok(()),
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

/// What a host says of where it is, which we have said.
fn is_greeting(line: &str) -> bool {
    ["Serving http", "Stand-in engine: http"].iter().any(|greeting| line.starts_with(greeting))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;
    use crate::shell::command;

    #[test]
    fn when_one_ends_all_end() {
        let mut children = Children::new().unwrap();
        children.start("the engine", &mut command("sleep", ["60"])).unwrap();
        children.start("spin", &mut command("sh", ["-c", "exit 3"])).unwrap();
        let error = follow(&mut children, true).unwrap_err().to_string();
        assert_eq!(error, "spin ended: exit status: 3");
        assert!(children.next().is_none());
    }
}
