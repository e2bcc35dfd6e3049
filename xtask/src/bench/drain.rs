//! How long a drain takes for each delivery, however many there are.

use std::fs;
use std::time::{Duration, Instant};

use anyhow::{Result, bail, ensure};

use super::Plan;
use super::bar::{Bar, Wanted};
use super::lab::{Application, Lab};
use super::report::{Section, Table};
use super::stats::Spread;
use super::store::{Much, drain, fill, one_pending, pending};

/// What takes longer is left out.
const MINUTES: f64 = 10.0;

/// How many are pending, and how often that is drained.
fn sizes(plan: &Plan) -> [(u64, usize); 3] {
    if plan.quick { [(100, 2), (1_000, 2), (2_000, 1)] } else { [(1_000, 3), (10_000, 3), (100_000, 1)] }
}

pub(super) fn measure(lab: &Lab, plan: &Plan) -> Result<Section> {
    let template = one_pending(lab)?;
    let sizes = sizes(plan);
    let mut times = vec![Vec::new(); sizes.len()];
    let rounds = sizes.iter().map(|(_, times)| *times).max().unwrap_or_default();
    // Milliseconds for each.
    let mut slowest = 0.0_f64;
    for round in 0..rounds {
        for ((count, often), times) in sizes.iter().zip(&mut times) {
            let minutes = slowest * *count as f64 / 60e3;
            if round < *often && minutes > MINUTES {
                println!("   {count} pending: left out, as it would take {minutes:.0} minutes");
            } else if round < *often {
                println!("   {count} pending, round {} of {often}", round + 1);
                let state = lab.directory.join("drain");
                fill(&template, &state, Much::Pending, *count)?;
                let each = time(lab, *count)?.as_secs_f64() * 1e3 / *count as f64;
                times.push(each);
                slowest = slowest.max(each);
                ensure!(pending(&state)? == 0, "what was drained is still there");
                fs::remove_dir_all(&state)?;
            }
        }
    }
    let mut section = Section::new("Drain");
    let mut table = Table::new("", &["Pending", "drained", "ms for each delivery", "deliveries/s"]);
    for ((count, _), times) in sizes.iter().zip(&times) {
        let often = times.len();
        if often == 0 {
            table.rows.push(vec![count.to_string(), "left out, as it would take too long".to_owned()]);
            continue;
        }
        let each = Spread::of(times.iter().copied());
        let rate = 1e3 / each.median;
        table.rows.push(vec![count.to_string(), format!("{often} times"), format!("{each:.3}"), format!("{rate:.0}")]);
    }
    section.tables.push(table);
    let measured = |at: usize| times.get(at).filter(|times| !times.is_empty());
    let median = |at: usize| measured(at).map(|times| Spread::of(times.iter().copied()).median);
    let growth = median(2).zip(median(0)).map(|(many, few)| many / few);
    let [(few, _), _, (many, _)] = sizes;
    let what = format!("drain: time for each of {many}, of that for each of {few}");
    section.bars.push(Bar::new(what, Wanted::AtMost(1.2), growth));
    Ok(section)
}

/// From the first pass to the last.
fn time(lab: &Lab, count: u64) -> Result<Duration> {
    let target = lab.start(Application::Sluice, "drain", &[])?;
    let start = Instant::now();
    let mut delivered = 0;
    loop {
        let drained = drain(&target)?;
        delivered += drained.delivered;
        match (drained.pending, drained.stopped.as_deref()) {
            (Some(0), None) if delivered == count => return Ok(start.elapsed()),
            // A pass has 25 seconds.
            (Some(1..), Some("budget")) if drained.delivered > 0 => {}
            _ => bail!("of {count} the drain delivered {delivered}, and said {drained:?}"),
        }
    }
}
