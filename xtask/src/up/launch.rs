//! Builds and starts the programs of a [`Plan`], and waits until Sluice answers.

use std::io::Result as IoResult;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anstream::eprintln;
use anyhow::{Result, bail};
use xtask::component::{self, Profile};
use xtask::shell::{cargo, command, target};

use super::build::{build as run_builds, done, spinner};
use super::children::{Children, Event, Interrupted, Source};
use super::engines::{Running, Started, Workflows};
use super::plan::Plan;
use super::ready::{self, Health};
use super::style::{DIM, WARNING, paint};
use super::variables::in_environment;
use super::welcome::{self, ExampleNames};
use super::{address, engine, manifest};

/// The directory of the key-value store, which a host would put beside the manifest.
const STATE: &str = ".spin";

/// The directory of the profile `quick`.
const QUICK: &str = "quick";

/// Builds the component, and beside it the native host or the stand-in engine.
pub(super) fn build(plan: &Plan, children: &mut Children) -> Result<()> {
    // It prints commands if it installs packages.
    let mut builds = vec![("component", component::compiler(plan.profile)?.command)];
    if let Some((name, arguments)) = program(plan) {
        let mut cargo = cargo([]);
        cargo.args(arguments.split(' '));
        builds.push((name, cargo));
    }
    run_builds(children, builds)?;
    if plan.profile == Profile::Release {
        component::finish()?;
    }
    Ok(())
}

/// The program that is built beside the component, and the arguments of cargo for it.
fn program(plan: &Plan) -> Option<(&'static str, &'static str)> {
    match (plan.on_spin, plan.profile) {
        (false, Profile::Up) => {
            Some(("native host", "build --locked --profile quick -p sluice-host --bin sluice-host"))
        }
        // Together with the tests, cargo unifies the same features as in `cargo xtask test`, and compiles wasmtime only
        // once.
        (false, Profile::Release) => Some(("native host", "build --locked --workspace --bin sluice-host --test e2e")),
        (true, _) => plan.stand_in.map(|_| {
            let quick = "build --locked --profile quick -p sluice-host --no-default-features --bin stand-in";
            ("stand-in engine", quick)
        }),
    }
}

/// Starts Sluice, and the stand-in engine where the host doesn't include it.
pub(super) fn start(plan: &Plan, children: &mut Children) -> Result<()> {
    let (name, mut sluice) = if plan.on_spin {
        ("spin", command("spin", ["up"]))
    } else {
        let directory = if plan.profile == Profile::Up { QUICK } else { "debug" };
        ("the native host", Command::new(built(directory, "sluice-host")?))
    };
    sluice.arg("--from").arg(manifest::write(plan.profile)?).args(["--listen", &plan.listen.to_string()]);
    sluice.arg("--state-dir").arg(plan.state_dir.as_deref().unwrap_or(Path::new(STATE)));
    // In the environment, which all versions of Spin read, and which other users of the machine can't.
    sluice.env(in_environment("engine_url"), &plan.engine);
    sluice.envs(plan.variables.iter().map(|(name, value)| (in_environment(name), value)));
    match plan.stand_in {
        Some(addr) if plan.on_spin => {
            let mut stand_in = Command::new(built(QUICK, "stand-in")?);
            stand_in.arg("--listen").arg(addr.to_string()).args(&plan.stand_in_options);
            children.start("the stand-in engine", &mut stand_in)?;
        }
        Some(addr) => drop(sluice.arg(format!("--stand-in={addr}")).args(&plan.stand_in_options)),
        None => {}
    }
    children.start(name, &mut sluice)
}

/// The path of a program in this workspace, whose profile has this directory.
fn built(profile: &str, name: &str) -> IoResult<PathBuf> {
    Ok(std::path::absolute(target())?.join(profile).join(name))
}

/// Waits until Sluice answers, then prints addresses, problems and examples.
pub(super) fn wait(plan: &Plan, children: &mut Children) -> Result<()> {
    let start = Instant::now();
    let bar = spinner("start", "waiting for /readyz");
    let sluice = address::url(plan.listen);
    let mut output = Vec::new();
    // Set once, because each call of `example_names` starts a run.
    let mut known = None;
    let health = loop {
        known = known.or_else(|| example_names(plan));
        if known.is_some()
            && let Some(health) = ready::query(&sluice)
        {
            break health;
        }
        match children.next_within(Duration::from_millis(100)) {
            None => {}
            Some(Event::Line { source, line, .. }) => output.push((source, line)),
            Some(Event::Exited { name, status }) => {
                bar.finish_and_clear();
                output.iter().for_each(|(_, line)| eprintln!("{line}"));
                bail!("{name} did not start: {status}");
            }
            Some(Event::Interrupt) => {
                bar.finish_and_clear();
                children.end();
                bail!(Interrupted);
            }
        }
    };
    // Before the start is done, because the first run of a worker takes a while.
    let names = match &plan.started {
        Some(Started { workflows: Workflows { records, waits }, .. }) => {
            let is_ready = matches!(health, Health::Ready(_));
            ExampleNames::real(records, is_ready.then(|| ready::started_run(&sluice, waits)).flatten())
        }
        None => known.unwrap_or_else(ExampleNames::placeholders),
    };
    done(&bar, start.elapsed());
    // The host writes only its addresses to standard output, and these are printed below.
    for (_, line) in output.iter().filter(|(source, _)| *source == Source::Stderr) {
        eprintln!("{}", paint(DIM, line));
    }
    eprintln!("\n{}", summary(plan, &sluice, &health, &names));
    Ok(())
}

/// Names for the examples; `None` while the stand-in engine doesn't answer.
fn example_names(plan: &Plan) -> Option<ExampleNames> {
    match plan.stand_in {
        Some(_) => {
            let run = ready::waiting_run(&plan.engine)?;
            Some(run.map_or_else(ExampleNames::placeholders, ExampleNames::stand_in))
        }
        None => Some(ExampleNames::placeholders()),
    }
}

/// The addresses of Sluice and its engine.
fn addresses(plan: &Plan, sluice: &str) -> String {
    let engine = match &plan.started {
        Some(Started { running: Running { title, page: (page, remark), .. }, .. }) => {
            [welcome::address(title, &plan.engine, ""), welcome::address(&format!("{title}'s page"), page, remark)]
                .concat()
        }
        None if plan.stand_in.is_some() => welcome::address("Stand-in engine", &plan.engine, "shows the runs"),
        None => welcome::address("Engine", &plan.engine, ""),
    };
    [welcome::address("Sluice", sluice, ""), engine].concat()
}

/// The text that is shown once Sluice answers: addresses, warnings, errors and examples.
fn summary(plan: &Plan, sluice: &str, health: &Health, names: &ExampleNames) -> String {
    let warnings: String =
        plan.warnings.iter().map(|text| format!("{} {text}\n", paint(WARNING, "warning:"))).collect();
    // Each start has another example event, which is therefore no duplicate.
    let id = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
    let hint = match plan.stand_in {
        Some(_) => format!("For a real engine in place of the stand-in: --engine {}.\n", engine::names()),
        None => String::new(),
    };
    let parts = [
        addresses(plan, sluice),
        warnings,
        health.message(),
        welcome::examples(sluice, names, id),
        format!("{}\n", paint(DIM, format_args!("{hint}Requests are logged below; Ctrl-C stops Sluice."))),
    ];
    parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("\n")
}
