//! Runs the fuzz targets of `fuzz/` for a number of executions each (`fuzz/README.md`).

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use xtask::shell::{command, output, succeeds, target};

use crate::tool;

const VERSION: &str = "0.13.2";
/// Maximum input length in bytes, as in `tests/it/fuzz_properties.rs`.
const MAX_LEN: usize = 512;

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Runs only this target
    #[arg(long)]
    target: Option<String>,
    /// Executions of each target
    #[arg(long, default_value_t = 10_000_000)]
    executions: u64,
}

/// The final statistics of libFuzzer.
#[derive(Default)]
struct Outcome {
    executions: u64,
    seconds: u64,
    crashes: u32,
}

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    // Without a sanitizer any toolchain works, but cargo-fuzz itself is tested with nightly only.
    let has_nightly = succeeds(&mut command("rustc", ["+nightly", "--version"]));
    println!("fuzz: on {}", if has_nightly { "nightly" } else { "the active toolchain: nightly isn't installed" });
    let program = tool::from_crates_io("cargo-fuzz", VERSION)?;
    let cargo_fuzz = || {
        let mut command = command(&program, []);
        if has_nightly {
            // The cargo that runs this program has set its own toolchain.
            command.env("RUSTUP_TOOLCHAIN", "nightly");
        }
        command
    };
    let targets = output(cargo_fuzz().args(["list", "--fuzz-dir", "fuzz"]))?;
    let is_selected = |name: &&str| arguments.target.as_deref().is_none_or(|only| only == *name);
    let targets: Vec<&str> = targets.lines().filter(is_selected).collect();
    if targets.is_empty() {
        bail!("no such target; fuzz/targets has them");
    }

    let mut table = Vec::new();
    for name in targets {
        println!("== {name}");
        let outcome = fuzz(cargo_fuzz(), name, arguments.executions)?;
        table.push((name, outcome));
    }
    println!("\n| Target | Executions | Seconds | Crashes |\n|---|---|---|---|");
    for (name, Outcome { executions, seconds, crashes }) in &table {
        println!("| `{name}` | {executions} | {seconds} | {crashes} |");
    }
    if table.iter().any(|(_, outcome)| outcome.crashes > 0) {
        bail!("a property doesn't hold: fuzz/artifacts has the input");
    }
    Ok(())
}

/// Fuzzes one target. Its corpus is kept in the target directory and extended by the next run.
fn fuzz(mut command: Command, name: &str, executions: u64) -> Result<Outcome> {
    let target = std::path::absolute(target())?;
    let corpus = target.join("fuzz-corpus").join(name);
    fs::create_dir_all(&corpus)?;
    // An address sanitizer would only find faults of unsafe code, which Sluice denies.
    command.args(["run", "--fuzz-dir", "fuzz", "--sanitizer", "none", "--target-dir"]).arg(target.join("fuzz"));
    command.arg(name).arg(corpus).arg(format!("fuzz/seeds/{name}")).arg("--");
    command.args([format!("-runs={executions}"), format!("-max_len={MAX_LEN}")]);
    command.args(["-print_final_stats=1", "-timeout=10"]);
    let mut child = command.stderr(Stdio::piped()).spawn().context("can't run cargo-fuzz")?;

    let mut outcome = Outcome::default();
    for line in BufReader::new(child.stderr.take().context("no output")?).split(b'\n') {
        let line = line?;
        let line = String::from_utf8_lossy(&line);
        // Lines about new inputs are omitted, because there are too many.
        if !line.contains("NEW  ") && !line.contains("REDUCE") {
            eprintln!("{line}");
        }
        outcome.read(&line);
    }
    if !child.wait()?.success() {
        if outcome.executions == 0 {
            bail!("{name} can't be run");
        }
        outcome.crashes = outcome.crashes.max(1);
    }
    Ok(outcome)
}

impl Outcome {
    /// Extracts a figure from a line of libFuzzer, if it has one.
    fn read(&mut self, line: &str) {
        let number = |text: &str| text.trim().parse().unwrap_or_default();
        if let Some(executed) = line.strip_prefix("stat::number_of_executed_units:") {
            self.executions = number(executed);
        } else if let Some(seconds) = line.strip_prefix("Done ").and_then(|rest| rest.split(" in ").nth(1)) {
            self.seconds = number(seconds.split(' ').next().unwrap_or_default());
        } else if line.starts_with("SUMMARY: libFuzzer:") {
            self.crashes = self.crashes.saturating_add(1);
        }
    }
}
