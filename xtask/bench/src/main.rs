//! Benchmarks of Sluice relative to the limit of the same host or Spin, written to docs/benchmarks.md.
//!
//! The limit is `bench/limit`, a component that does only the unavoidable work. A [`lab::Lab`] runs both in processes
//! of their own. Each part of the benchmark sends its [`rows::Row`]s to them as [`load::Load`], and returns a
//! [`report::Section`] of tables and goals:
//!
//! ```text
//!  Row ──▶ Load ──wrk──▶ Target ──HTTP──▶ engine (nginx)
//!            │
//!            └──▶ Sample ──▶ Spread ──▶ Table, Goal ──▶ Section ──▶ Report
//! ```

mod check;
mod configured;
mod goal;
mod lab;
mod load;
mod machine;
mod process;
mod report;
mod requests;
mod rows;
mod runner;
mod size;
mod stats;

use std::path::PathBuf;

use anyhow::Result;
use clap::{Parser, ValueEnum};
use xtask::shell;

use report::Report;

/// A part of the benchmark.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Part {
    /// Each kind of request, relative to the reference component; all goals
    Requests,
    /// Size of the component, and what it may cost
    Size,
}

/// Measures Sluice relative to the limit of the same host, and writes docs/benchmarks.md.
#[derive(Parser)]
#[command(bin_name = "cargo xtask bench")]
struct Arguments {
    /// Number of measurements of each figure
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Seconds per measurement
    #[arg(long, default_value_t = 2)]
    seconds: u64,
    /// Two rounds of one second: a smoke test without usable figures
    #[arg(long)]
    quick: bool,
    /// Measures only this part
    #[arg(long)]
    only: Option<Part>,
    /// Measures on this Spin instead of the host in host/
    #[arg(long, value_name = "PATH")]
    spin: Option<PathBuf>,
    /// Uses this sluice-host instead of building an optimised one
    #[arg(long, value_name = "PATH", conflicts_with = "spin")]
    host: Option<PathBuf>,
}

/// The extent of a run: its rounds, and the seconds of each.
struct Plan {
    rounds: usize,
    seconds: u64,
    quick: bool,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    std::env::set_current_dir(shell::root())?;
    let quick = arguments.quick;
    let (rounds, seconds) = if quick { (2, 1) } else { (arguments.rounds.max(1), arguments.seconds.max(1)) };
    let plan = Plan { rounds, seconds, quick };
    let lab = lab::Lab::open(&arguments)?;
    let mut report = Report::new(&lab, &plan)?;
    for part in Part::value_variants().iter().filter(|part| arguments.only.is_none_or(|only| only == **part)) {
        let section = match part {
            Part::Requests => requests::measure(&lab, &plan),
            Part::Size => size::measure(&lab, &plan),
        }?;
        println!("{section}");
        report.add(section);
    }
    report.write(!quick && arguments.only.is_none())
}
