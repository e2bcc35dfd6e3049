//! Load by wrk, in rounds.

use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use super::Plan;
use super::process::rest;
use crate::shell::{command, output};

/// Between two measurements.
const PAUSE: Duration = Duration::from_millis(100);

/// Who is slower than that in seconds can't be measured.
const LONGEST: u64 = 30;

/// One kind of request to one target.
#[derive(Clone, Default)]
pub(super) struct Load {
    pub(super) name: String,
    pub(super) url: String,
    pub(super) body: Option<PathBuf>,
    pub(super) headers: Vec<(&'static str, String)>,
    /// What every answer must have.
    pub(super) status: &'static str,
    pub(super) outcome: Option<&'static str>,
    /// The word UNIQUE is another one in each request.
    pub(super) unique: bool,
    /// What is to rest after it, before anything else is measured.
    pub(super) programs: Vec<u32>,
}

/// What wrk measured in one round.
#[derive(Clone, Copy, Debug, Deserialize)]
pub(super) struct Sample {
    pub(super) requests: u64,
    pub(super) seconds: f64,
    pub(super) p50_ms: f64,
    pub(super) p99_ms: f64,
}

/// What bench/load/load.lua says.
#[derive(Deserialize)]
struct Said {
    #[serde(flatten)]
    sample: Sample,
    /// Connections that broke, and requests that took too long.
    broken: u64,
    /// Answers other than the one that was expected.
    wrong: u64,
    example: String,
}

impl Sample {
    pub(super) fn rate(&self) -> f64 {
        self.requests as f64 / self.seconds
    }
}

/// Measures all in turn, round by round, each warmed up once: of each load a sample a round.
pub(super) fn interleaved(loads: &[Load], connections: u32, plan: &Plan) -> Result<Vec<Vec<Sample>>> {
    for load in loads {
        load.run(connections, 1)?;
    }
    let mut samples = vec![Vec::new(); loads.len()];
    for round in 1..=plan.rounds {
        println!("   connections: {connections}, round {round} of {}", plan.rounds);
        for (load, samples) in loads.iter().zip(&mut samples) {
            samples.push(load.enough(connections, plan.seconds)?);
        }
    }
    Ok(samples)
}

impl Load {
    /// So many seconds, or as many more as it takes to have seen each connection twice: a disk may be slow.
    fn enough(&self, connections: u32, mut seconds: u64) -> Result<Sample> {
        loop {
            let sample = self.run(connections, seconds)?;
            if sample.requests >= 2 * u64::from(connections) {
                return Ok(sample);
            }
            if seconds > LONGEST {
                bail!("{}, {connections} connections: {} requests in {seconds} s", self.name, sample.requests);
            }
            seconds *= 2;
        }
    }

    /// An error if any answer isn't the one that is expected: a benchmark of errors is worth nothing.
    fn run(&self, connections: u32, seconds: u64) -> Result<Sample> {
        let text = output(&mut self.command(connections, seconds))?;
        let line = text.lines().rev().find(|line| line.starts_with('{')).context("wrk has no word from load.lua")?;
        // What was cut off at the end may still be at work.
        sleep(PAUSE);
        rest(&self.programs)?;
        let Said { sample, broken, wrong, example } = serde_json::from_str(line)?;
        if broken > 0 || wrong > 0 {
            let Load { name, .. } = self;
            let of = sample.requests;
            bail!("{name}, {connections} connections: {broken} broken and {wrong} wrong of {of}, as `{example}`");
        }
        Ok(sample)
    }

    fn command(&self, connections: u32, seconds: u64) -> Command {
        static RUNS: AtomicU64 = AtomicU64::new(0);
        let mut wrk = command("wrk", ["-t", "1", "--timeout", "20s", "-s", "bench/load/load.lua"]);
        wrk.args([format!("-c{connections}"), format!("-d{seconds}s"), self.url.clone(), "--".to_owned()]);
        wrk.arg(format!("status={}", self.status));
        if let Some(body) = &self.body {
            wrk.arg(format!("body={}", body.display()));
        }
        for (name, value) in &self.headers {
            wrk.arg(format!("header={name}: {value}"));
        }
        if let Some(outcome) = self.outcome {
            wrk.arg(format!("outcome={outcome}"));
        }
        if self.unique {
            wrk.arg(format!("unique={}-", RUNS.fetch_add(1, Ordering::Relaxed)));
        }
        wrk
    }
}
