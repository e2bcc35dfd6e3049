//! Time per delivery of a drain, for several numbers of pending deliveries.

use std::fs;
use std::time::{Duration, Instant};

use anyhow::{Result, bail, ensure};

use super::Plan;
use super::goal::{Goal, Threshold};
use super::lab::{Application, Lab};
use super::report::{Section, Table};
use super::stats::Spread;
use super::store::{Content, drain, fill, one_pending, pending};

/// Maximum estimated duration of one measurement in minutes. A longer one is skipped.
const MAX_MINUTES: f64 = 10.0;

/// Numbers of pending deliveries, each with the number of its rounds.
fn sizes(plan: &Plan) -> [(u64, usize); 3] {
    if plan.quick { [(100, 2), (1_000, 2), (2_000, 1)] } else { [(1_000, 3), (10_000, 3), (100_000, 1)] }
}

pub(super) fn measure(lab: &Lab, plan: &Plan) -> Result<Section> {
    let template = one_pending(lab)?;
    let sizes = sizes(plan);
    let mut times = vec![Vec::new(); sizes.len()];
    let max_rounds = sizes.iter().map(|(_, rounds)| *rounds).max().unwrap_or_default();
    // The most milliseconds that a delivery has taken so far.
    let mut slowest = 0.0_f64;
    for round in 0..max_rounds {
        for ((count, rounds), times) in sizes.iter().zip(&mut times) {
            let minutes = slowest * *count as f64 / 60e3;
            if round < *rounds && minutes > MAX_MINUTES {
                println!("   {count} pending: skipped, since it would take {minutes:.0} minutes");
            } else if round < *rounds {
                println!("   {count} pending, round {} of {rounds}", round + 1);
                let state = lab.directory.join("drain");
                fill(&template, &state, Content::Pending, *count)?;
                let milliseconds = time(lab, *count)?.as_secs_f64() * 1e3 / *count as f64;
                times.push(milliseconds);
                slowest = slowest.max(milliseconds);
                ensure!(pending(&state)? == 0, "drained deliveries are still pending");
                fs::remove_dir_all(&state)?;
            }
        }
    }
    let mut section = Section::new("Drain");
    let mut table = Table::new("", &["Pending", "Rounds", "ms per delivery", "Deliveries/s"]);
    for ((count, _), times) in sizes.iter().zip(&times) {
        if times.is_empty() {
            table.rows.push(vec![count.to_string(), "skipped, since it would take too long".to_owned()]);
            continue;
        }
        let milliseconds = Spread::of(times.iter().copied());
        let rate = 1e3 / milliseconds.median;
        let rounds = times.len().to_string();
        table.rows.push(vec![count.to_string(), rounds, format!("{milliseconds:.3}"), format!("{rate:.0}")]);
    }
    section.tables.push(table);
    let measured = |at: usize| times.get(at).filter(|times| !times.is_empty());
    let median = |at: usize| measured(at).map(|times| Spread::of(times.iter().copied()).median);
    let growth = median(2).zip(median(0)).map(|(many, few)| many / few);
    let [(few, _), _, (many, _)] = sizes;
    let name = format!("drain: time per delivery with {many} pending, relative to {few}");
    section.goals.push(Goal::new(name, Threshold::AtMost(1.2), growth));
    Ok(section)
}

/// Time from the start of the first pass to the end of the last one.
fn time(lab: &Lab, count: u64) -> Result<Duration> {
    let target = lab.start(Application::Sluice, "drain", &[])?;
    let start = Instant::now();
    let mut delivered = 0;
    loop {
        let drained = drain(&target)?;
        delivered += drained.delivered;
        match (drained.pending, drained.stopped.as_deref()) {
            (Some(0), None) if delivered == count => return Ok(start.elapsed()),
            // A pass ends after 25 seconds.
            (Some(1..), Some("budget")) if drained.delivered > 0 => {}
            _ => bail!("the drain delivered {delivered} of {count}; its last answer: {drained:?}"),
        }
    }
}
