//! Sluice's chores.

mod bench;
mod component;
mod fuzz;
mod shell;
mod shrink;
mod test;
mod tool;
mod up;

use std::process::ExitCode;

use anstyle::{AnsiColor, Style};
use clap::{Parser, Subcommand};

const RED: Style = AnsiColor::Red.on_default();

/// Sluice's chores.
#[derive(Parser)]
#[command(bin_name = "cargo xtask", arg_required_else_help = true)]
struct Arguments {
    #[command(subcommand)]
    chore: Chore,
}

#[derive(Subcommand)]
enum Chore {
    /// Builds the component, target/wasm32-wasip1/release/sluice.wasm
    Build,
    /// Runs Sluice with a stand-in engine, on Spin where it is installed
    Up(up::Arguments),
    /// Runs all that CI runs
    Test {
        /// This step alone
        #[arg(long)]
        step: Option<test::Step>,
    },
    /// Fuzzes: each law of fuzz/laws, with what libFuzzer makes
    Fuzz(fuzz::Arguments),
    /// Measures Sluice against what the same host can do, and writes docs/benchmarks.md
    Bench(bench::Arguments),
}

fn main() -> ExitCode {
    match run(Arguments::parse().chore) {
        Ok(code) => code,
        Err(error) => {
            // In one line, and the last one: what failed, then why.
            anstream::eprintln!("{RED}error:{RED:#} {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(chore: Chore) -> anyhow::Result<ExitCode> {
    std::env::set_current_dir(shell::root())?;
    match chore {
        Chore::Build => component::build()?,
        Chore::Up(arguments) => return up::start(&arguments),
        Chore::Test { step } => test::run(step)?,
        Chore::Fuzz(arguments) => fuzz::run(&arguments)?,
        Chore::Bench(arguments) => bench::run(&arguments)?,
    }
    Ok(ExitCode::SUCCESS)
}
