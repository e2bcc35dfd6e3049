//! From a plan to a Sluice that answers.

use std::io::Result as IoResult;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anstream::eprintln;
use anyhow::{Result, bail};

use super::address;
use super::build::{build as run_build, done, spinner};
use super::children::{Children, Event, Interrupted, Source};
use super::plan::{MANIFEST, Plan};
use super::ready::{self, Health};
use super::style::{QUIET, WARN, paint};
use super::welcome::{self, Names};
use crate::component;
use crate::shell::{cargo, command, target};

/// Builds what is to run.
pub(super) fn build(plan: &Plan, children: &mut Children) -> Result<()> {
    let bar = spinner("component", "looking for a compiler");
    let compiler = component::compiler().inspect_err(|_| bar.finish_and_clear())?;
    let took = run_build(children, &bar, compiler.command)?;
    bar.set_message("making it small");
    let size = component::finish().inspect_err(|_| bar.finish_and_clear())?;
    done(&bar, took, &format!(", {size}"));
    if !plan.on_spin {
        // With the tests, so that cargo chooses the features that it chooses for `cargo xtask test`: wasmtime is compiled
        // for minutes, once.
        let host = ["build", "--workspace", "--locked", "--bin", "sluice-host", "--test", "e2e"];
        let bar = spinner("native host", "");
        done(&bar, run_build(children, &bar, cargo(host))?, "");
    } else if plan.stand_in.is_some() {
        let stand_in = ["build", "--locked", "-p", "sluice-host", "--no-default-features", "--bin", "stand-in"];
        let bar = spinner("stand-in engine", "");
        done(&bar, run_build(children, &bar, cargo(stand_in))?, "");
    }
    Ok(())
}

/// Starts it.
pub(super) fn start(plan: &Plan, children: &mut Children) -> Result<()> {
    let (name, mut sluice) = match plan.on_spin {
        true => ("spin", command("spin", ["up"])),
        false => ("the native host", Command::new(built("sluice-host")?)),
    };
    sluice.args(["--from", MANIFEST, "--listen", &plan.listen.to_string()]);
    sluice.arg("--variable").arg(format!("engine_url={}", plan.engine));
    for (name, value) in &plan.variables {
        sluice.arg("--variable").arg(format!("{name}={value}"));
    }
    if let Some(directory) = &plan.state_dir {
        sluice.arg("--state-dir").arg(directory);
    }
    match plan.stand_in {
        Some(addr) if plan.on_spin => {
            let mut stand_in = Command::new(built("stand-in")?);
            children.start("the stand-in engine", stand_in.arg("--listen").arg(addr.to_string()))?;
        }
        Some(addr) => drop(sluice.arg(format!("--stand-in={addr}"))),
        None => {}
    }
    children.start(name, &mut sluice)
}

fn built(name: &str) -> IoResult<PathBuf> {
    Ok(std::path::absolute(target())?.join("debug").join(name))
}

/// Waits until Sluice answers, and tells what there is.
pub(super) fn wait(plan: &Plan, children: &mut Children) -> Result<()> {
    let start = Instant::now();
    let bar = spinner("start", "waiting for /readyz");
    let sluice = address::url(plan.listen);
    let mut before = Vec::new();
    // Once it is there it isn't asked again: each time makes a run.
    let mut known = None;
    let health = loop {
        known = known.or_else(|| names(plan));
        if known.is_some()
            && let Some(health) = ready::ask(&sluice)
        {
            break health;
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
    done(&bar, Some(start.elapsed()), "");
    // What a host says on standard output as it starts, we say ourselves.
    for (_, line) in before.iter().filter(|(source, _)| *source == Source::Stderr) {
        eprintln!("{}", paint(QUIET, line));
    }
    eprintln!("\n{}", told(plan, &sluice, &health, &known.unwrap_or_else(Names::to_fill_in)));
    Ok(())
}

/// The names to use; `None` while the stand-in doesn't answer.
fn names(plan: &Plan) -> Option<Names> {
    match plan.stand_in {
        Some(_) => ready::waiting_run(&plan.engine).map(Names::of_stand_in),
        None => Some(Names::to_fill_in()),
    }
}

fn told(plan: &Plan, sluice: &str, health: &Health, names: &Names) -> String {
    let warnings: String = plan.warnings.iter().map(|text| format!("{} {text}\n", paint(WARN, "warning:"))).collect();
    // A new event at each start.
    let id = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
    let parts = [
        welcome::places(sluice, &plan.engine, plan.stand_in.is_some()),
        warnings,
        health.told(),
        welcome::to_try(sluice, names, id),
        format!("{}\n", paint(QUIET, "The log of what comes in; Ctrl-C ends all.")),
    ];
    parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("\n")
}
