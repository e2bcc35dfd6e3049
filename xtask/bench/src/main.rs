//! Benchmarks of Sluice relative to the limit of the same host, written to docs/benchmarks.md.
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

mod drain;
mod goal;
mod growth;
mod lab;
mod load;
mod machine;
mod peers;
mod postgres;
mod process;
mod redis;
mod report;
mod requests;
mod rows;
mod start;
mod stats;
mod store;

use anyhow::Result;
use clap::{Parser, ValueEnum};
use xtask::shell;

use report::Report;

/// A part of the benchmark.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Part {
    /// Each kind of request, relative to the limit
    Requests,
    /// The same on stores with many keys
    Growth,
    /// Time per delivery of a drain
    Drain,
    /// Requests that use the store, on SQLite and on Redis
    Redis,
    /// Size, memory, time to the first response
    Start,
    /// PostgreSQL, with millions of remembered events; only with --growth or --only
    Postgres,
    /// Comparable programs; only with --peers or --only
    Peers,
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
    /// Two rounds and small stores: a smoke test without usable figures
    #[arg(long)]
    quick: bool,
    /// Measures only this part
    #[arg(long)]
    only: Option<Part>,
    /// Measures only PostgreSQL, with 10 million remembered events, or 100,000 with --quick
    #[arg(long, conflicts_with = "only")]
    growth: bool,
    /// Instead of that, sends 5 keyed events a second for so many days of the database's time
    #[arg(long, requires = "growth")]
    days: Option<u32>,
    /// Also measures Debian's webhook, and Restate from npm
    #[arg(long)]
    peers: bool,
    /// Uses this sluice-host instead of building an optimised one
    #[arg(long)]
    host: Option<std::path::PathBuf>,
}

/// The extent of a run: its rounds, the seconds of each, and whether stores are small.
struct Plan {
    rounds: usize,
    seconds: u64,
    quick: bool,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    std::env::set_current_dir(shell::root())?;
    let quick = arguments.quick;
    let (rounds, seconds) = if quick { (2, 2) } else { (arguments.rounds.max(1), arguments.seconds.max(1)) };
    let plan = Plan { rounds, seconds, quick };
    let lab = lab::Lab::open(arguments.host.as_deref())?;
    let mut report = Report::new(&plan)?;
    let only = if arguments.growth { Some(Part::Postgres) } else { arguments.only };
    let is_selected = |part| match only {
        Some(only) => only == part,
        None => part != Part::Postgres && (part != Part::Peers || arguments.peers),
    };
    for part in Part::value_variants().iter().copied().filter(|part| is_selected(*part)) {
        let name = part.to_possible_value().map(|name| name.get_name().to_owned()).unwrap_or_default();
        println!("== {name}");
        let section = match part {
            Part::Requests => requests::measure(&lab, &plan),
            Part::Growth => growth::measure(&lab, &plan),
            Part::Drain => drain::measure(&lab, &plan),
            Part::Redis => redis::measure(&lab, &plan),
            Part::Start => start::measure(&lab, &plan),
            Part::Postgres => match arguments.days {
                Some(days) => postgres::days(&lab, days),
                None => postgres::measure(&lab, &plan),
            },
            Part::Peers => peers::measure(&lab, &plan),
        }?;
        println!("{section}");
        report.add(section);
    }
    let is_complete = !quick && only.is_none();
    report.write(is_complete)
}
