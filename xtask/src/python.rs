//! Python virtual environments.

use std::ffi::OsStr;
use std::path::Path;

use anyhow::{Result, bail};

use crate::shell::{apt_install, command, quiet, run};

/// Creates an empty virtual environment, and removes an existing one.
pub(crate) fn create_venv(directory: &Path) -> Result<()> {
    let mut create = command("python3", ["-m", "venv", "--clear"]);
    create.arg(directory);
    // Debian packages the `venv` module separately.
    let is_created = quiet(&mut create) || (apt_install(&["python3-venv"]) && quiet(&mut create));
    if !is_created {
        bail!("python3 can't create a virtual environment; on Debian, `apt-get install python3-venv`");
    }
    Ok(())
}

/// Installs packages with pip into a virtual environment.
pub(crate) fn install(venv: &Path, arguments: &[impl AsRef<OsStr>]) -> Result<()> {
    run(command(venv.join("bin/python"), ["-m", "pip", "install", "-q"]).args(arguments))
}
