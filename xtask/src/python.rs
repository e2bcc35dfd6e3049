//! Python virtual environments.

use std::ffi::OsStr;
use std::path::Path;
use std::process::Command;

use anyhow::{Result, bail};
use xtask::shell::{apt_install, command, run, succeeds};

/// Creates an empty virtual environment, which replaces an existing one.
pub(crate) fn create_venv(directory: &Path) -> Result<()> {
    let mut create = command("python3", ["-m", "venv", "--clear"]);
    create.arg(directory);
    // Debian packages the `venv` module separately.
    let is_created = succeeds(&mut create) || (apt_install(&["python3-venv"]) && succeeds(&mut create));
    if !is_created {
        bail!("python3 can't create a virtual environment; on Debian, `apt-get install python3-venv`");
    }
    Ok(())
}

/// Installs packages with pip into a virtual environment.
pub(crate) fn install(venv: &Path, arguments: &[impl AsRef<OsStr>]) -> Result<()> {
    run(&mut pip(venv, arguments))
}

/// The command that installs packages into a virtual environment.
pub(crate) fn pip(venv: &Path, arguments: &[impl AsRef<OsStr>]) -> Command {
    let mut pip = command(venv.join("bin/python"), ["-m", "pip", "install", "-q"]);
    pip.args(arguments);
    pip
}
