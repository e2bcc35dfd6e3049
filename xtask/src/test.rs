//! The steps that CI runs, in order.

use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use clap::ValueEnum;
use xtask::component;
use xtask::shell::{apt_install, cargo, command, has, install, install_from_npm, run as run_command, succeeds, target};

use crate::engines::Engine;
use crate::{engines, postgres, prose, site, tool};

/// A step, in the order in which they run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Step {
    /// Formatting
    Fmt,
    /// Workflows; spelling and style of documents, comments and messages
    Prose,
    /// Lints
    Clippy,
    /// API documentation without warnings
    Doc,
    /// The documentation's site, with its links
    Site,
    /// Licenses, sources and banned crates
    Deny,
    /// The component
    Component,
    /// Unit, integration and end-to-end tests
    Test,
    /// End-to-end tests that depend on the store, over Redis
    Redis,
    /// The statements of the PostgreSQL backend, and the end-to-end tests, on real servers
    Postgres,
    /// Real workflow engines behind a proxy with faults
    Engines,
    /// Third-party clients, the commands of the documents, a browser
    Interop,
}

/// Runs one step, or all of them until one fails.
pub(crate) fn run(only: Option<Step>) -> Result<()> {
    let start = Instant::now();
    for step in Step::value_variants().iter().filter(|step| only.is_none_or(|only| only == **step)) {
        let name = format!("{step:?}").to_lowercase();
        // The time is printed at the start of each step rather than at its end, because CI looks for a test runner's
        // summary at the end of the output.
        println!("== {name}, after {:.0} s", start.elapsed().as_secs_f32());
        step.run().with_context(|| format!("step {name} failed"))?;
    }
    Ok(())
}

impl Step {
    fn run(self) -> Result<()> {
        match self {
            Step::Fmt => run_command(&mut cargo(["fmt", "--all", "--check"])),
            Step::Prose => prose::check(),
            Step::Clippy => {
                let denied = ["--", "-D", "warnings"];
                run_command(cargo(["clippy", "--workspace", "--all-targets", "--locked"]).args(denied))?;
                // Two separate workspaces.
                for (manifest, directory) in [("bench/limit/Cargo.toml", "limit"), (site::MANIFEST, "site-tool")] {
                    let mut clippy = cargo(["clippy", "--all-targets", "--locked", "--manifest-path", manifest]);
                    run_command(clippy.arg("--target-dir").arg(target().join(directory)).args(denied))?;
                }
                Ok(())
            }
            Step::Doc => {
                let mut doc = cargo(["doc", "--workspace", "--no-deps", "--locked", "--document-private-items"]);
                run_command(doc.env("RUSTDOCFLAGS", "-Dwarnings"))
            }
            Step::Site => {
                site::test()?;
                site::build()
            }
            Step::Deny => deny(),
            Step::Component => component::build(),
            Step::Test => run_command(cargo(["test", "--workspace", "--locked"]).env("INSTA_UPDATE", "no")),
            Step::Redis => redis(),
            Step::Postgres => postgres(),
            Step::Engines => real_engines(),
            Step::Interop => interop(),
        }
    }
}

/// The programs of Redis, each with the Debian package that contains it.
const REDIS: [(&str, &str); 2] = [("redis-server", "redis-server"), ("redis-cli", "redis-tools")];

/// End-to-end tests whose result depends on the store.
const STORE_TESTS: [&str; 7] =
    ["callbacks::", "double_click::", "fault_matrix::", "good_paths::", "kill::", "orphans::", "outage::"];

/// Runs [`STORE_TESTS`] again over a real Redis, and the tests that need one.
fn redis() -> Result<()> {
    // The package may start a Redis service. The tests don't use it: each starts its own server.
    install(&REDIS)?;
    end_to_end_over("redis", "redis::")
}

/// Runs [`STORE_TESTS`] over a store, and the tests that need it (`--include-ignored`). The other end-to-end tests don't
/// use the store, or use the host's counters and fault injection of the key-value store.
fn end_to_end_over(store: &str, own: &str) -> Result<()> {
    let mut test = cargo(["test", "--workspace", "--locked", "--test", "e2e", "--", "--include-ignored"]);
    run_command(test.args(STORE_TESTS).arg(own).env("SLUICE_E2E_STORE", store))
}

/// Runs the tests that need PostgreSQL: `tests/postgres` on a server of the step, the end-to-end tests on their own.
fn postgres() -> Result<()> {
    install_postgresql()?;
    install(&[("openssl", "openssl")])?;
    let server = postgres::Server::start()?;
    let mut test = cargo(["test", "--workspace", "--locked", "--test", "postgres", "--", "--include-ignored"]);
    run_command(test.env("SLUICE_TEST_POSTGRES", server.url()))?;
    drop(server);
    end_to_end_over("postgres", "postgres::")
}

/// Ensures that PostgreSQL is installed. Debian doesn't put the server on the `PATH`. The package may start a server,
/// which the tests don't use. The certificate of `ssl-cert` is a dependency of the package.
fn install_postgresql() -> Result<()> {
    if !Path::new("/usr/lib/postgresql").is_dir() && !apt_install(&["postgresql"]) {
        bail!("PostgreSQL is missing; on Debian, `apt-get install postgresql`");
    }
    Ok(())
}

/// Runs `tests/engines`: the running component in front of real workflow engines.
///
/// Four engines at a time are tested side by side, since most of the time passes in waiting.
fn real_engines() -> Result<()> {
    // Airflow keeps its data there.
    install_postgresql()?;
    let target = std::path::absolute(target())?;
    for engine in Engine::value_variants() {
        let start = Instant::now();
        engine.install(run_command)?;
        println!("{}: installed, after {:.0} s", engine.name(), start.elapsed().as_secs_f32());
    }
    let tests = Path::new(engines::TESTS);
    let venv = target.join("engines/tests");
    engines::install_from_pypi(&venv, &tests.join("requirements.txt"), run_command)?;

    compile_host()?;
    run_command(
        command(venv.join("bin/python"), ["-m", "pytest", "-n", "4", "--no-loadscope-reorder", engines::TESTS])
            .env("SLUICE_HOST_BIN", target.join("debug/sluice-host"))
            .env("SLUICE_ENGINES_DIR", target.join("engines")),
    )
}

/// Compiles the programs that tests in Python run. The command is the same as in the step `test`: with `-p`, cargo
/// would unify other features and compile wasmtime again.
fn compile_host() -> Result<()> {
    run_command(&mut cargo(["test", "-q", "--workspace", "--locked", "--no-run"]))
}

/// Runs `tests/interop`: third-party clients against the running component.
fn interop() -> Result<()> {
    let tests = Path::new("tests/interop");
    let target = std::path::absolute(target())?;
    let venv = target.join("interop");
    engines::install_from_pypi(&venv, &tests.join("requirements.txt"), run_command)?;
    let npm = target.join("interop-npm");
    install_from_npm(&npm, tests, run_command)?;

    // Programs that the documents call; a browser and its driver, for the console and callback links; and servers for
    // which deploy/ has a configuration.
    install(&[("curl", "curl"), ("openssl", "openssl")])?;
    install(&[("chromium", "chromium"), ("chromedriver", "chromium-driver")])?;
    install(&[("nginx", "nginx-light"), ("systemd-analyze", "systemd")])?;
    install(&REDIS)?;
    let prometheus = target.join("prometheus");
    unpack_prometheus(&prometheus)?;

    compile_host()?;
    run_command(
        command(venv.join("bin/python"), ["-m", "pytest", "tests/interop"])
            .env("SLUICE_XTASK", std::env::current_exe()?)
            .env("SLUICE_PROMETHEUS", prometheus.join("usr/bin"))
            .env("SLUICE_HOST_BIN", target.join("debug/sluice-host"))
            .env("SLUICE_NODE_MODULES", npm.join("node_modules")),
    )
}

/// Ensures that Prometheus is there: installed, or else Debian's, unpacked into a directory. It is not installed, because
/// the package starts a server, and recommends one that exports the state of the machine.
fn unpack_prometheus(directory: &Path) -> Result<()> {
    if directory.join("usr/bin/promtool").exists() || (has("prometheus") && has("promtool")) {
        return Ok(());
    }
    std::fs::create_dir_all(directory)?;
    let mut download = command("apt-get", ["download", "-qq", "prometheus"]);
    let download = download.current_dir(directory);
    // Debian's container images have no lists of packages.
    let update = &mut command("apt-get", ["update", "-qq"]);
    let is_there = succeeds(download) || (succeeds(update) && succeeds(download));
    if !is_there {
        bail!("prometheus is missing; on Debian, `apt-get install prometheus`");
    }
    let files = std::fs::read_dir(directory)?.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?;
    let package = files.iter().find(|path| path.extension().is_some_and(|extension| extension == "deb"));
    let package = package.context("apt-get has downloaded no package")?;
    run_command(command("dpkg-deb", ["--extract"]).arg(package).arg(directory))
}

/// Checks licenses, sources and banned crates. Advisories are left out, because they need the network at each run, and
/// change independently of the code. Both workspaces have the configuration at the root.
fn deny() -> Result<()> {
    let deny = tool::from_crates_io("cargo-deny", "0.20.2")?;
    for manifest in ["Cargo.toml", site::MANIFEST] {
        let check = ["--manifest-path", manifest, "check", "bans", "licenses", "sources"];
        run_command(&mut command(&deny, check))?;
    }
    Ok(())
}
