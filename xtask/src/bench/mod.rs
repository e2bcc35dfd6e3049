//! How fast Sluice is, as a share of what the same host can do: docs/benchmarks.md is what it writes.

mod bar;
mod drain;
mod growth;
mod lab;
mod load;
mod machine;
mod peers;
mod process;
mod redis;
mod report;
mod requests;
mod rows;
mod start;
mod stats;
mod store;

use anyhow::Result;
use clap::ValueEnum;

use report::Report;

/// A part of the benchmark.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Part {
    /// Each kind of request against the limit
    Requests,
    /// The same on stores with many keys
    Growth,
    /// Time for each delivery of a drain
    Drain,
    /// What is stored, on SQLite and on Redis
    Redis,
    /// Size, memory, time to the first answer
    Start,
    /// Other programs for the same work; only with --peers or by name
    Peers,
}

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// How often each cell is measured
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Seconds of each measurement
    #[arg(long, default_value_t = 2)]
    seconds: u64,
    /// Two rounds, small stores: shows that it works, and no more
    #[arg(long)]
    quick: bool,
    /// This part alone
    #[arg(long)]
    only: Option<Part>,
    /// Other programs as well: Debian's webhook, and Restate from npm
    #[arg(long)]
    peers: bool,
    /// A sluice-host that is there, instead of one built for speed
    #[arg(long)]
    host: Option<std::path::PathBuf>,
}

/// How much is measured.
pub(crate) struct Plan {
    rounds: usize,
    seconds: u64,
    quick: bool,
}

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let quick = arguments.quick;
    let (rounds, seconds) = if quick { (2, 2) } else { (arguments.rounds.max(1), arguments.seconds.max(1)) };
    let plan = Plan { rounds, seconds, quick };
    let lab = lab::Lab::open(arguments.host.as_deref())?;
    let mut report = Report::new(&plan)?;
    let asked = |part| match arguments.only {
        Some(only) => only == part,
        None => part != Part::Peers || arguments.peers,
    };
    for part in Part::value_variants().iter().copied().filter(|part| asked(*part)) {
        let name = part.to_possible_value().map(|name| name.get_name().to_owned()).unwrap_or_default();
        println!("== {name}");
        let section = match part {
            Part::Requests => requests::measure(&lab, &plan),
            Part::Growth => growth::measure(&lab, &plan),
            Part::Drain => drain::measure(&lab, &plan),
            Part::Redis => redis::measure(&lab, &plan),
            Part::Start => start::measure(&lab, &plan),
            Part::Peers => peers::measure(&lab, &plan),
        }?;
        println!("{section}");
        report.add(section);
    }
    let whole = !quick && arguments.only.is_none();
    report.write(whole)
}
