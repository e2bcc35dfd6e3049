//! Rows that depend on the store, over SQLite and over Redis.

use anyhow::Result;

use super::Plan;
use super::lab::Lab;
use super::load::{Sample, interleaved};
use super::report::{Section, Table};
use super::requests::{CONNECTIONS, Targets, connections_label};
use super::rows::{CALLBACK, DUPLICATE, Destination, EVENT, Row, STORED, STORED_REDIS};
use super::stats::Spread;

/// Each row over SQLite, and the same over Redis.
const MEASURED: [[Row; 2]; 4] = [
    [EVENT, EVENT.on_redis("keyed event, first time, on Redis")],
    [DUPLICATE, DUPLICATE.on_redis("keyed event, duplicate, on Redis")],
    [CALLBACK, CALLBACK.on_redis("callback, on Redis")],
    [STORED, STORED_REDIS],
];

pub(super) fn measure(lab: &Lab, plan: &Plan) -> Result<Section> {
    let targets = Targets::start(
        lab,
        &[Destination::Sluice, Destination::EngineDown, Destination::Redis, Destination::RedisEngineDown],
    )?;
    let rows = MEASURED.as_flattened();
    let loads = rows.iter().map(|row| Ok(row.load(targets.of(row)?, &lab.directory))).collect::<Result<Vec<_>>>()?;

    let mut section = Section::new("SQLite and Redis");
    for connections in CONNECTIONS {
        let samples = interleaved(&loads, connections, plan)?;
        let mut table =
            Table::new(connections_label(connections), &["Request", "requests/s", "vs SQLite", "p50 ms", "p99 ms"]);
        let rates = |samples: &[Sample]| samples.iter().map(Sample::rate).collect::<Vec<_>>();
        for (pair, samples) in MEASURED.iter().zip(samples.chunks(2)) {
            let [sqlite, _] = samples else { continue };
            for (row, own) in pair.iter().zip(samples) {
                let median = |time: fn(&Sample) -> f64| Spread::of(own.iter().map(time)).median;
                table.rows.push(vec![
                    row.name.to_owned(),
                    format!("{:.0}", Spread::of(rates(own))),
                    format!("{:.2}", Spread::ratio(rates(own), rates(sqlite))),
                    format!("{:.3}", median(|sample| sample.p50_ms)),
                    format!("{:.3}", median(|sample| sample.p99_ms)),
                ]);
            }
        }
        section.tables.push(table);
    }
    Ok(section)
}
