//! All that CI runs, in order.

use std::fs;
use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use clap::ValueEnum;

use crate::component;
use crate::shell::{apt_install, cargo, command, install, once, quiet, run as run_command, target};
use crate::tool::tool;

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Step {
    Fmt,
    Clippy,
    Doc,
    Deny,
    Component,
    Test,
    Redis,
    Interop,
}

pub(crate) fn run(only: Option<Step>) -> Result<()> {
    let start = Instant::now();
    for step in Step::value_variants().iter().filter(|step| only.is_none_or(|only| only == **step)) {
        let name = format!("{step:?}").to_lowercase();
        // When each began says how long they took, and leaves the last words to the last runner.
        println!("== {name}, after {:.0} s", start.elapsed().as_secs_f32());
        step.run().with_context(|| format!("step {name} failed"))?;
    }
    Ok(())
}

impl Step {
    fn run(self) -> Result<()> {
        match self {
            Step::Fmt => run_command(&mut cargo(["fmt", "--all", "--check"])),
            Step::Clippy => {
                let denied = ["--", "-D", "warnings"];
                run_command(cargo(["clippy", "--workspace", "--all-targets", "--locked"]).args(denied))?;
                // A workspace of its own.
                let mut limit = cargo(["clippy", "--manifest-path", "bench/limit/Cargo.toml", "--locked"]);
                run_command(limit.arg("--target-dir").arg(target().join("limit")).args(denied))
            }
            Step::Doc => {
                run_command(cargo(["doc", "--workspace", "--no-deps", "--locked"]).env("RUSTDOCFLAGS", "-Dwarnings"))
            }
            Step::Component => component::build(),
            Step::Test => run_command(&mut cargo(["test", "--workspace", "--locked"])),
            Step::Redis => redis(),
            Step::Interop => interop(),
            Step::Deny => deny(),
        }
    }
}

const REDIS: [(&str, &str); 2] = [("redis-server", "redis-server"), ("redis-cli", "redis-tools")];

/// End-to-end tests for which it matters where the store is.
const STORE_MATTERS: [&str; 6] = ["double_click::", "fault_matrix::", "good_paths::", "kill::", "outage::", "redis::"];

/// Those once more, over a real Redis, and those that want one (`--include-ignored`). The others look at no store, or
/// at what is the same for each: what the host counts, and its faults.
fn redis() -> Result<()> {
    // A service of it may come with the package: each test starts a server of its own, and lets that one alone.
    install(&REDIS)?;
    let mut test = cargo(["test", "--workspace", "--locked", "--test", "e2e", "--", "--include-ignored"]);
    run_command(test.args(STORE_MATTERS).env("SLUICE_E2E_STORE", "redis"))
}

/// Real clients against the running component.
fn interop() -> Result<()> {
    let tests = Path::new("tests/interop");
    let target = std::path::absolute(target())?;
    let venv = target.join("interop");
    let python = venv.join("bin/python");
    let requirements = tests.join("requirements.txt");
    once(&venv, std::slice::from_ref(&requirements), || {
        let mut make = command("python3", ["-m", "venv", "--clear"]);
        make.arg(&venv);
        // Debian's python3 comes without what a venv needs.
        let made = quiet(&mut make) || (apt_install(&["python3-venv"]) && quiet(&mut make));
        if !made {
            bail!("python3 can't make a venv; on Debian, `apt-get install python3-venv`");
        }
        run_command(command(&python, ["-m", "pip", "install", "-q", "-r"]).arg(&requirements))
    })?;

    let npm = target.join("interop-npm");
    let manifests = ["package.json", "package-lock.json"].map(|name| tests.join(name));
    once(&npm, &manifests, || {
        fs::create_dir_all(&npm)?;
        for manifest in &manifests {
            fs::copy(manifest, npm.join(manifest.file_name().unwrap_or_default()))?;
        }
        run_command(command("npm", ["ci", "--no-audit", "--no-fund"]).current_dir(&npm))
    })?;

    // What the commands of the documents call; a browser that answers callback links, and what drives it; what deploy/
    // speaks of.
    install(&[("curl", "curl"), ("openssl", "openssl")])?;
    install(&[("chromium", "chromium"), ("chromedriver", "chromium-driver")])?;
    install(&[("nginx", "nginx-light"), ("systemd-analyze", "systemd")])?;
    install(&REDIS)?;

    // As the step before builds it: with `-p` cargo would choose other features, and build wasmtime again.
    run_command(&mut cargo(["test", "-q", "--workspace", "--locked", "--no-run"]))?;
    run_command(
        command(&python, ["-m", "pytest", "tests/interop"])
            .env("SLUICE_XTASK", std::env::current_exe()?)
            .env("SLUICE_HOST_BIN", target.join("debug/sluice-host"))
            .env("SLUICE_NODE_MODULES", npm.join("node_modules")),
    )
}

/// Licences, sources and banned crates. Advisories want the network at each run, and are no matter of a change.
fn deny() -> Result<()> {
    let deny = tool("cargo-deny", "0.20.2")?;
    run_command(&mut command(&deny, ["check", "bans", "licenses", "sources"]))
}
