//! The documentation's site: the program in `xtask/site` makes it from `docs/`.

use anyhow::Result;
use xtask::shell::{cargo, run, target};

/// The program's manifest. It is a separate workspace.
pub(crate) const MANIFEST: &str = "xtask/site/Cargo.toml";

/// Builds the site in `target/site`.
pub(crate) fn build() -> Result<()> {
    run(in_workspace("run").arg("--").arg(target().join("site")))
}

/// Runs the program's own tests.
pub(crate) fn test() -> Result<()> {
    run(&mut in_workspace("test"))
}

/// A command of cargo in the program's workspace.
fn in_workspace(name: &str) -> std::process::Command {
    let mut command = cargo([name, "-q", "--locked", "--manifest-path", MANIFEST, "--target-dir"]);
    command.arg(target().join("site-tool"));
    command
}
