//! The rows once more, on stores that have much in them.

use std::time::Instant;

use anyhow::{Result, bail};

use super::Plan;
use super::bar::{Bar, Wanted};
use super::lab::{Application, DOWN, Lab, Target};
use super::load::{Sample, interleaved};
use super::report::{Section, Table};
use super::requests::{CONNECTIONS, words};
use super::rows::{CALLBACK, DUPLICATE, EVENT, PLAIN, Row, STORED, To, first_event};
use super::stats::Spread;
use super::store::{Much, drain, fill, one_keyed};

const MEASURED: [Row; 5] = [PLAIN, EVENT, DUPLICATE, CALLBACK, STORED];

fn sizes(plan: &Plan) -> [u64; 3] {
    if plan.quick { [0, 1_000, 10_000] } else { [0, 10_000, 1_000_000] }
}

/// A store of a size, with a Sluice whose engine is there, and one whose isn't.
struct Grown {
    with: Target,
    alone: Target,
    /// Milliseconds of a pass that lists all keys and has nothing to bring.
    scan: f64,
}

pub(super) fn measure(lab: &Lab, plan: &Plan) -> Result<Section> {
    let template = one_keyed(lab)?;
    let sizes = sizes(plan);
    let mut grown = Vec::new();
    for count in sizes {
        println!("   making stores of {count} keys");
        let make = |name: &str| fill(&template, &lab.directory.join(name), Much::Keyed, count);
        let (with, alone) = (format!("grown-{count}"), format!("grown-{count}-alone"));
        make(&with)?;
        make(&alone)?;
        let (with, alone) =
            (lab.start(Application::Sluice, &with, &[])?, lab.start(Application::Sluice, &alone, &[DOWN])?);
        // It notes that all keys were looked at, so that no request is followed by that.
        let start = Instant::now();
        let drained = drain(&with)?;
        let scan = start.elapsed().as_secs_f64() * 1e3;
        if drained.pending != Some(0) {
            bail!("a drain of {count} keys said {drained:?}");
        }
        first_event(&with)?;
        grown.push(Grown { with, alone, scan });
    }

    let mut section = Section::new("Growth");
    let mut scans = Table::new("A pass of the drain that finds nothing", &["Keys", "ms"]);
    scans
        .rows
        .extend(sizes.iter().zip(&grown).map(|(count, grown)| vec![count.to_string(), format!("{:.0}", grown.scan)]));
    let mut worst: Option<(f64, String)> = None;
    for connections in CONNECTIONS {
        let of = |row: &Row, grown: &Grown| {
            row.load(if row.to == To::Alone { &grown.alone } else { &grown.with }, &lab.directory)
        };
        let loads: Vec<_> = MEASURED.iter().flat_map(|row| grown.iter().map(move |grown| of(row, grown))).collect();
        let samples = interleaved(&loads, connections, plan)?;
        let [none, some, many] = sizes;
        let heads = [
            "Request".to_owned(),
            format!("requests/s, {none} keys"),
            format!("of it, {some}"),
            format!("of it, {many}"),
        ];
        let heads: Vec<&str> = heads.iter().map(String::as_str).collect();
        let mut table = Table::new(words(connections), &heads);
        for (row, samples) in MEASURED.iter().zip(samples.chunks(sizes.len())) {
            let rates: Vec<Vec<f64>> = samples.iter().map(|rounds| rounds.iter().map(Sample::rate).collect()).collect();
            let [none, some, many] = rates.as_slice() else { continue };
            let share = |of: &[f64]| Spread::ratio(of.iter().copied(), none.iter().copied());
            let (some, many) = (share(some), share(many));
            let none = Spread::of(none.iter().copied());
            if worst.as_ref().is_none_or(|(worst, _)| many.median < *worst) {
                worst = Some((many.median, format!("{}, {}", row.name, words(connections))));
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
    let (got, which) = worst.unzip();
    let what = format!("{} keys: the slowest row ({}), of the empty store", sizes[2], which.unwrap_or_default());
    section.bars.push(Bar::new(what, Wanted::AtLeast(0.95), got));
    Ok(section)
}
