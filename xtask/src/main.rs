//! Sluice's development tasks: `cargo xtask`.
//!
//! | Task | Modules |
//! |---|---|
//! | `build` | `component` compiles, and makes the result smaller with the program in `xtask/shrink` |
//! | `up` | `up` |
//! | `test` | `test`, and `prose` for its step of that name |
//! | `release` | `release`, and `sbom` for the bill of materials |
//! | `fuzz` | `fuzz` |
//! | `bench` | the program in `xtask/bench` |
//! | `site` | `site`, and the program in `xtask/site` |
//!
//! All of them run other programs with `shell`, and install them with `tool`, `python` and `engines`.

mod engines;
mod fuzz;
mod postgres;
mod prose;
mod python;
mod release;
mod sbom;
mod site;
mod test;
mod tool;
mod up;

use std::ffi::OsString;
use std::process::ExitCode;

use anstyle::{AnsiColor, Style};
use clap::{Parser, Subcommand};
use xtask::component;
use xtask::shell::{self, cargo};

const RED: Style = AnsiColor::Red.on_default();

/// Sluice's development tasks.
#[derive(Parser)]
#[command(bin_name = "cargo xtask", arg_required_else_help = true)]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Builds the component, target/wasm32-wasip1/release/sluice.wasm
    Build,
    /// Runs Sluice with a stand-in or a real engine, on Spin if it is installed
    Up(up::Arguments),
    /// Runs the checks and tests of CI
    Test {
        /// Runs only this step
        #[arg(long)]
        step: Option<test::Step>,
    },
    /// Makes the files of a release: the component, its manifest, bill of materials and checksums
    Release(release::Arguments),
    /// Fuzzes the properties in fuzz/properties with libFuzzer
    Fuzz(fuzz::Arguments),
    /// Measures Sluice against the limit of the same host, and writes docs/benchmarks.md
    #[command(disable_help_flag = true)]
    Bench {
        /// Arguments of the benchmark
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<OsString>,
    },
    /// Builds the documentation's site in target/site
    Site,
}

fn main() -> ExitCode {
    match run(Arguments::parse().task) {
        Ok(code) => code,
        Err(error) => {
            // The last line of the output is the error with its whole chain of causes.
            anstream::eprintln!("{RED}error:{RED:#} {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(task: Task) -> anyhow::Result<ExitCode> {
    std::env::set_current_dir(shell::root())?;
    match task {
        Task::Build => component::build()?,
        Task::Up(arguments) => return up::start(&arguments),
        Task::Test { step } => test::run(step)?,
        Task::Release(arguments) => release::make(&arguments)?,
        Task::Fuzz(arguments) => fuzz::run(&arguments)?,
        Task::Bench { arguments } => {
            let bench = ["run", "-q", "--locked", "--profile", "quick", "--package", "sluice-bench", "--"];
            shell::run(cargo(bench).args(arguments))?;
        }
        Task::Site => site::build()?,
    }
    Ok(ExitCode::SUCCESS)
}
