//! Selected rows on stores with many keys, relative to an empty store.

use std::time::Instant;

use anyhow::{Result, bail};

use super::Plan;
use super::goal::{Goal, Threshold};
use super::lab::{Application, ENGINE_DOWN, Lab, Target};
use super::load::{Sample, interleaved};
use super::report::{Section, Table};
use super::requests::{CONNECTIONS, connections_label};
use super::rows::{CALLBACK, DUPLICATE, Destination, EVENT, PLAIN, Row, STORED, first_event};
use super::stats::Spread;
use super::store::{Content, drain, fill, one_keyed};

const MEASURED: [Row; 5] = [PLAIN, EVENT, DUPLICATE, CALLBACK, STORED];

/// Numbers of keys, of which the first is the reference.
fn sizes(plan: &Plan) -> [u64; 3] {
    if plan.quick { [0, 1_000, 10_000] } else { [0, 10_000, 1_000_000] }
}

/// Two Sluices, each with a store of the same number of keys.
struct FilledTargets {
    /// The Sluice whose engine is up.
    engine_up: Target,
    /// The Sluice whose engine is down.
    engine_down: Target,
    /// Milliseconds of a drain pass that lists all keys and finds nothing pending.
    scan: f64,
}

pub(super) fn measure(lab: &Lab, plan: &Plan) -> Result<Section> {
    let template = one_keyed(lab)?;
    let sizes = sizes(plan);
    let mut filled = Vec::new();
    for count in sizes {
        println!("   creating stores of {count} keys");
        let create = |name: &str| fill(&template, &lab.directory.join(name), Content::Keyed, count);
        let (up, down) = (format!("grown-{count}"), format!("grown-{count}-engine-down"));
        create(&up)?;
        create(&down)?;
        let engine_up = lab.start(Application::Sluice, &up, &[])?;
        let engine_down = lab.start(Application::Sluice, &down, &[ENGINE_DOWN])?;
        // The drain records its scan of the keys, so no measured request triggers another one.
        let start = Instant::now();
        let drained = drain(&engine_up)?;
        let scan = start.elapsed().as_secs_f64() * 1e3;
        if drained.pending != Some(0) {
            bail!("a drain of {count} keys answered {drained:?}");
        }
        first_event(&engine_up)?;
        filled.push(FilledTargets { engine_up, engine_down, scan });
    }

    let mut section = Section::new("Growth");
    let mut scans = Table::new("Drain pass with nothing pending", &["Keys", "ms"]);
    scans.rows.extend(
        sizes.iter().zip(&filled).map(|(count, targets)| vec![count.to_string(), format!("{:.0}", targets.scan)]),
    );
    let mut worst: Option<(f64, String)> = None;
    for connections in CONNECTIONS {
        let load = |row: &Row, targets: &FilledTargets| {
            let is_down = row.to == Destination::EngineDown;
            row.load(if is_down { &targets.engine_down } else { &targets.engine_up }, &lab.directory)
        };
        let loads: Vec<_> =
            MEASURED.iter().flat_map(|row| filled.iter().map(move |targets| load(row, targets))).collect();
        let samples = interleaved(&loads, connections, plan)?;
        let [none, some, many] = sizes;
        let headers = [
            "Request".to_owned(),
            format!("requests/s, {none} keys"),
            format!("{some} keys, relative"),
            format!("{many} keys, relative"),
        ];
        let headers: Vec<&str> = headers.iter().map(String::as_str).collect();
        let mut table = Table::new(connections_label(connections), &headers);
        for (row, samples) in MEASURED.iter().zip(samples.chunks(sizes.len())) {
            let rates: Vec<Vec<f64>> = samples.iter().map(|rounds| rounds.iter().map(Sample::rate).collect()).collect();
            let [none, some, many] = rates.as_slice() else { continue };
            let share = |of: &[f64]| Spread::ratio(of.iter().copied(), none.iter().copied());
            let (some, many) = (share(some), share(many));
            let none = Spread::of(none.iter().copied());
            if worst.as_ref().is_none_or(|(worst, _)| many.median < *worst) {
                worst = Some((many.median, format!("{}, {}", row.name, connections_label(connections))));
            }
            table.rows.push(vec![
                row.name.to_owned(),
                format!("{none:.0}"),
                format!("{some:.2}"),
                format!("{many:.2}"),
            ]);
        }
        section.tables.push(table);
    }
    section.tables.push(scans);
    let (measured, row) = worst.unzip();
    let row = row.unwrap_or_default();
    let name = format!("slowest row with {} keys ({row}), relative to an empty store", sizes[2]);
    section.goals.push(Goal::new(name, Threshold::AtLeast(0.95), measured));
    Ok(section)
}
