//! External commands: functions that create, run and install them.
//!
//! Commands are plain [`Command`]s, because `up` and `bench` spawn and watch some of them on their own. A crate such as
//! `xshell` would only replace [`run`] and [`output`].

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

/// The repository's root.
pub fn root() -> &'static Path {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    package.parent().unwrap_or(package)
}

/// Cargo's target directory, relative to the root unless `CARGO_TARGET_DIR` is absolute.
pub fn target() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| "target".into(), PathBuf::from)
}

/// A command with its first arguments.
pub fn command<const N: usize>(program: impl Into<OsString>, arguments: [&str; N]) -> Command {
    let mut command = Command::new(program.into());
    command.args(arguments);
    command
}

/// The cargo that runs this program.
pub fn cargo<const N: usize>(arguments: [&str; N]) -> Command {
    cargo_at(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()), arguments)
}

/// A cargo, without the environment variables that describe this package. Some build scripts run again when these
/// change, so `cargo xtask test` and `cargo test` would recompile each other's crates.
pub fn cargo_at<const N: usize>(program: impl Into<OsString>, arguments: [&str; N]) -> Command {
    let mut cargo = command(program, arguments);
    for (name, _) in std::env::vars_os() {
        if ["CARGO_MANIFEST_", "CARGO_PKG_"].iter().any(|prefix| name.to_string_lossy().starts_with(prefix)) {
            cargo.env_remove(name);
        }
    }
    cargo
}

/// Runs a command to its end. It is an error if the command doesn't exit with 0.
pub fn run(command: &mut Command) -> Result<()> {
    let name = name(command);
    let status = command.status().with_context(|| format!("can't run {name}"))?;
    if !status.success() {
        bail!("{name}: {status}");
    }
    Ok(())
}

/// Runs a command without input or output, and returns whether it exits with 0.
pub fn succeeds(command: &mut Command) -> bool {
    let command = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

/// Runs a command and returns its standard output, trimmed.
pub fn output(command: &mut Command) -> Result<String> {
    let name = name(command);
    let output = command.stderr(Stdio::inherit()).output().with_context(|| format!("can't run {name}"))?;
    if !output.status.success() {
        bail!("{name}: {}", output.status);
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// Whether a program is on the `PATH`.
pub fn has(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|directory| directory.join(program).is_file())
}

/// Announces a command that changes the machine outside the repository.
pub fn announce(command: &Command) {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    let words: Vec<_> = words.map(|word| word.to_string_lossy()).collect();
    eprintln!("running `{}`", words.join(" "));
}

/// Installs Debian packages, if this is Debian and the user is root. Returns whether the packages were installed.
pub fn apt_install(packages: &[&str]) -> bool {
    let is_root = output(&mut command("id", ["-u"])).is_ok_and(|id| id == "0");
    if !is_root || !has("apt-get") {
        return false;
    }
    let mut install = command("apt-get", ["install", "-qq", "-y"]);
    install.env("DEBIAN_FRONTEND", "noninteractive").args(packages);
    [command("apt-get", ["update", "-qq"]), install].iter_mut().all(|command| {
        announce(command);
        succeeds(command)
    })
}

/// Ensures that programs are installed. Each is given with the Debian package that contains it.
pub fn install(programs: &[(&str, &str)]) -> Result<()> {
    for (program, package) in programs {
        if !has(program) && !apt_install(&[package]) {
            bail!("{program} is missing; on Debian, `apt-get install {package}`");
        }
    }
    Ok(())
}

/// The file in which [`create_if_changed`] keeps the content that it has created the directory from.
pub fn stamp(directory: &Path) -> PathBuf {
    directory.join("made-from")
}

/// Creates a directory from source files, unless it was created from the same content before.
pub fn create_if_changed(directory: &Path, sources: &[PathBuf], create: impl FnOnce() -> Result<()>) -> Result<()> {
    let mut content = Vec::new();
    for file in sources {
        content.extend(fs::read(file).with_context(|| format!("can't read {}", file.display()))?);
    }
    let stamp = stamp(directory);
    if fs::read(&stamp).is_ok_and(|old| old == content) {
        return Ok(());
    }
    create()?;
    Ok(fs::write(stamp, content)?)
}

/// Installs the packages that a `package-lock.json` pins, unless the same ones were installed before.
pub fn install_from_npm(
    directory: &Path,
    manifests: &Path,
    run: impl FnOnce(&mut Command) -> Result<()>,
) -> Result<()> {
    let manifests = ["package.json", "package-lock.json"].map(|name| manifests.join(name));
    create_if_changed(directory, &manifests, || {
        fs::create_dir_all(directory)?;
        for manifest in &manifests {
            fs::copy(manifest, directory.join(manifest.file_name().unwrap_or_default()))?;
        }
        run(command("npm", ["ci", "--no-audit", "--no-fund"]).current_dir(directory))
    })
}

/// The program and its first arguments, for error messages.
fn name(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args()).take(4);
    words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
}
