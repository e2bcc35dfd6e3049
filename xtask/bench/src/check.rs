//! The speed of the check of a body, in the reference component.

use anyhow::Result;

use super::Plan;
use super::lab::{Lab, Target};
use super::load::{Pace, Sample, interleaved};
use super::report::Table;
use super::rows::{CHECK, CHECKS, Row};
use super::stats::Spread;

/// Measures the time of a check, from the difference between requests with and without several of them.
pub(super) fn measure(lab: &Lab, target: &Target, plan: &Plan) -> Result<Table> {
    let load = |row: &Row| row.load(target, &lab.directory);
    let loads: Vec<_> = CHECK.as_flattened().iter().map(load).collect();
    let samples = interleaved(&loads, Pace::Connections(1), plan)?;
    let title = "One check of UTF-8, JSON and depth, in the reference component";
    let mut table = Table::new(title, &["Body", "ms", "GB/s"]);
    for ([_, row], samples) in CHECK.iter().zip(samples.chunks(2)) {
        let [without, with] = samples else { continue };
        let times =
            with.iter().zip(without).map(|(with, without): (&Sample, &Sample)| (with.p50_ms - without.p50_ms) / CHECKS);
        let times: Vec<f64> = times.collect();
        let bytes = row.body.content().len() as f64;
        let speeds = times.iter().map(|ms| bytes / ms / 1e6);
        table.rows.push(vec![
            row.name.to_owned(),
            format!("{:.3}", Spread::of(times.iter().copied())),
            format!("{:.3}", Spread::of(speeds)),
        ]);
    }
    Ok(table)
}
