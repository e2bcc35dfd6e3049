//! The machine and the programs of a measurement.

use std::fs;

use anyhow::Result;
use xtask::shell::{command, output};

use super::runner::Runner;

/// The properties that the figures depend on, as pairs of name and value.
pub(super) fn describe(runner: &Runner) -> Result<Vec<(&'static str, String)>> {
    let processor = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = processor.lines().find_map(|line| line.strip_prefix("model name")?.split(": ").nth(1));
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let memory = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let kilobytes: Option<u64> =
        memory.lines().find_map(|line| line.strip_prefix("MemTotal:")?.trim().strip_suffix(" kB")?.parse().ok());
    let commit = output(&mut command("git", ["describe", "--always", "--dirty", "--abbrev=12"]))?;
    let version = |program: &str, flag: &str| {
        let output = command(program, [flag]).output();
        let output = output.map(|output| [output.stdout, output.stderr].concat()).unwrap_or_default();
        String::from_utf8_lossy(&output).lines().next().unwrap_or_default().to_owned()
    };
    let wrk = version("wrk", "--version");
    Ok(vec![
        ("Processor", format!("{}, {cores} cores", model.unwrap_or("unknown"))),
        ("Memory", format!("{} GB", kilobytes.unwrap_or_default() / 1_000_000)),
        ("Kernel", output(&mut command("uname", ["-sr"]))?),
        ("Disk", output(&mut command("findmnt", ["-n", "-o", "FSTYPE,OPTIONS", "-T", "target"])).unwrap_or_default()),
        ("Load", wrk.split(" Copyright").next().unwrap_or_default().to_owned()),
        ("Engine", version("/usr/sbin/nginx", "-v")),
        ("Host", runner.describe()?),
        ("Commit", commit),
        ("Date", output(&mut command("date", ["-u", "+%F"]))?),
    ])
}
