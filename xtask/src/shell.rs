//! Commands, and the little that they need.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

/// The repository's root.
pub(crate) fn root() -> &'static Path {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here)
}

/// Where cargo builds, seen from the root.
pub(crate) fn target() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| "target".into(), PathBuf::from)
}

/// A command of these words.
pub(crate) fn command<const N: usize>(program: impl Into<OsString>, arguments: [&str; N]) -> Command {
    let mut command = Command::new(program.into());
    command.args(arguments);
    command
}

/// The cargo that runs us.
pub(crate) fn cargo<const N: usize>(arguments: [&str; N]) -> Command {
    cargo_at(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()), arguments)
}

/// A cargo. What ours told us of ourselves it isn't told: there are build scripts that run again for it, so that
/// `cargo xtask test` and `cargo test` would build each other's crates again.
pub(crate) fn cargo_at<const N: usize>(program: impl Into<OsString>, arguments: [&str; N]) -> Command {
    let mut cargo = command(program, arguments);
    for (name, _) in std::env::vars_os() {
        if ["CARGO_MANIFEST_", "CARGO_PKG_"].iter().any(|about| name.to_string_lossy().starts_with(about)) {
            cargo.env_remove(name);
        }
    }
    cargo
}

/// Runs it; an error if it fails.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let name = name(command);
    let status = command.status().with_context(|| format!("can't run {name}"))?;
    if !status.success() {
        bail!("{name}: {status}");
    }
    Ok(())
}

/// Runs it without a word; true if it went well.
pub(crate) fn quiet(command: &mut Command) -> bool {
    let command = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

/// What it writes to standard output.
pub(crate) fn output(command: &mut Command) -> Result<String> {
    let name = name(command);
    let output = command.stderr(Stdio::inherit()).output().with_context(|| format!("can't run {name}"))?;
    if !output.status.success() {
        bail!("{name}: {}", output.status);
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// Whether a program is on the PATH.
pub(crate) fn has(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|directory| directory.join(program).is_file())
}

/// Installs Debian packages where we may; true if they are there afterwards.
pub(crate) fn apt_install(packages: &[&str]) -> bool {
    let root = output(&mut command("id", ["-u"])).is_ok_and(|id| id == "0");
    let mut install = command("apt-get", ["install", "-qq", "-y"]);
    install.env("DEBIAN_FRONTEND", "noninteractive").args(packages);
    root && has("apt-get") && quiet(&mut command("apt-get", ["update", "-qq"])) && quiet(&mut install)
}

/// Makes sure that there are these programs, each with the Debian package that has it.
pub(crate) fn install(programs: &[(&str, &str)]) -> Result<()> {
    for (program, package) in programs {
        if !has(program) && !apt_install(&[package]) {
            bail!("{program} is not there; on Debian, `apt-get install {package}`");
        }
    }
    Ok(())
}

/// Makes a directory from files, unless it was made from the same before.
pub(crate) fn once(made: &Path, from: &[PathBuf], make: impl FnOnce() -> Result<()>) -> Result<()> {
    let mut content = Vec::new();
    for file in from {
        content.extend(fs::read(file).with_context(|| format!("can't read {}", file.display()))?);
    }
    let stamp = made.join("made-from");
    if fs::read(&stamp).is_ok_and(|old| old == content) {
        return Ok(());
    }
    make()?;
    Ok(fs::write(stamp, content)?)
}

fn name(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args()).take(4);
    words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
}
