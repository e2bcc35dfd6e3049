//! Real workflow engines, for the step `engines` of the tests and for `up`: in the versions that `tests/engines` pins,
//! from PyPI or npm, installed under `target/engines`.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;
use clap::ValueEnum;
use xtask::shell::{create_if_changed, install, install_from_npm, target};

use crate::python;

/// The directory with the tests of engines, their pinned packages and their workflows.
pub(crate) const TESTS: &str = "tests/engines";

/// An engine that can be installed from a package registry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Engine {
    Temporal,
    Airflow,
    Restate,
    Prefect,
}

impl Engine {
    /// Its name, which is also the name of its profile.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Temporal => "temporal",
            Self::Airflow => "airflow",
            Self::Restate => "restate",
            Self::Prefect => "prefect",
        }
    }

    /// Its directory, an absolute path: a virtual environment of Python, or a package of npm with `node_modules`.
    pub(crate) fn directory(self) -> Result<PathBuf> {
        Ok(std::path::absolute(target())?.join("engines").join(self.name()))
    }

    /// Ensures that the program that installs it is there: `python3` or `npm`.
    pub(crate) fn require_installer(self) -> Result<()> {
        let program = if self == Self::Restate { "npm" } else { "python3" };
        install(&[(program, program)])
    }

    /// Installs it, unless it was installed from the same pinned packages before. Returns its directory.
    ///
    /// `run` runs the command that takes minutes.
    pub(crate) fn install(self, run: impl FnOnce(&mut Command) -> Result<()>) -> Result<PathBuf> {
        self.require_installer()?;
        let directory = self.directory()?;
        match self {
            Self::Temporal | Self::Airflow | Self::Prefect => {
                let requirements = Path::new(TESTS).join(format!("requirements-{}.txt", self.name()));
                install_from_pypi(&directory, &requirements, run)?;
            }
            Self::Restate => install_from_npm(&directory, Path::new(TESTS), run)?,
        }
        Ok(directory)
    }
}

/// Creates a virtual environment with pinned packages, unless it was created from the same ones before.
pub(crate) fn install_from_pypi(
    venv: &Path,
    requirements: &Path,
    run: impl FnOnce(&mut Command) -> Result<()>,
) -> Result<()> {
    create_if_changed(venv, &[requirements.to_owned()], || {
        python::create_venv(venv)?;
        run(&mut python::pip(venv, &[OsStr::new("-r"), requirements.as_os_str()]))
    })
}
