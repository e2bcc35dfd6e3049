//! Third-party tools in fixed versions, installed under `target/tools`. Each function returns the path of the program.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use xtask::shell::{cargo, command, has, output, run, target};

use crate::python;

/// A tool from crates.io, compiled by cargo.
pub(crate) fn from_crates_io(name: &str, version: &str) -> Result<PathBuf> {
    let tools = tools()?;
    let program = tools.join("bin").join(name);
    if !is_version(&program, version) {
        println!("installing {name} {version}; the first time takes minutes");
        run(cargo(["install", "-q", name, "--locked", "--version", version, "--root"]).arg(&tools))?;
    }
    Ok(program)
}

/// A tool from PyPI, whose wheel contains the compiled program.
pub(crate) fn from_pypi(name: &str, version: &str) -> Result<PathBuf> {
    let environment = tools()?.join(name);
    let program = environment.join("bin").join(name);
    if !is_version(&program, version) {
        println!("installing {name} {version}");
        python::create_venv(&environment)?;
        python::install(&environment, &[&format!("{name}=={version}")])?;
    }
    Ok(program)
}

/// A tool written in Go, compiled from the Go module proxy, unless the `PATH` has this version. The `requirements` for
/// compiling it are named in the error.
pub(crate) fn from_go(name: &str, package: &str, version: &str, requirements: &str) -> Result<PathBuf> {
    if has(name) && is_version(Path::new(name), version) {
        return Ok(name.into());
    }
    let bin = tools()?.join("bin");
    let program = bin.join(name);
    if !is_version(&program, version) {
        let missing = || format!("{name} {version} is missing: install it, or {requirements} to compile it");
        if !has("go") {
            bail!(missing());
        }
        println!("installing {name} {version}; the first time takes a minute or two");
        let mut install = command("go", ["install"]);
        install.arg(format!("-ldflags=-s -w -X main.version={version}")).arg(format!("{package}@v{version}"));
        // Without debug information, which cgo generates by default, C parsers compile in half the time.
        run(install.env("GOBIN", &bin).env("CGO_CFLAGS", "-O1")).with_context(missing)?;
    }
    Ok(program)
}

fn tools() -> Result<PathBuf> {
    Ok(std::path::absolute(target())?.join("tools"))
}

/// Whether the program exists and reports this version.
fn is_version(program: &Path, version: &str) -> bool {
    let reported = output(&mut command(program, ["--version"])).unwrap_or_default();
    // The first line ends with the version, such as `vale version 3.21.0` or `v1.7.12`.
    let last = reported.lines().next().and_then(|line| line.split(' ').next_back()).unwrap_or_default();
    last.strip_prefix('v').unwrap_or(last) == version
}
