//! Each kind of request, relative to the limit of the same host.

use std::collections::BTreeMap;
use std::fs;

use anyhow::Result;

use super::Plan;
use super::goal::{Goal, Threshold};
use super::lab::{Application, ENGINE_DOWN, Lab, SECRET, Target};
use super::load::{Sample, interleaved};
use super::report::{Section, Table};
use super::rows::{
    BARE, CALLBACK, CALLS, DUPLICATE, Destination, EVENT, HELLO, LINKED, PLAIN, PLAIN_64, PLAIN_512, Row, SIGNED,
    STORED, STORES, first_event,
};
use super::stats::Spread;

pub(super) const CONNECTIONS: [u32; 2] = [1, 32];

/// A number of connections with its unit.
pub(super) fn connections_label(connections: u32) -> String {
    format!("{connections} connection{}", if connections == 1 { "" } else { "s" })
}

/// Each row, with the `bare` row that it is compared with, and the reference row with as many writes, if any.
const MEASURED: [(Row, Row, Option<Row>); 15] = [
    (HELLO, BARE[0], None),
    (BARE[0], BARE[0], None),
    (LINKED, BARE[0], None),
    (PLAIN, BARE[0], None),
    (SIGNED, BARE[0], None),
    (EVENT, BARE[0], Some(CALLS)),
    (CALLS, BARE[0], None),
    (CALLBACK, BARE[0], Some(CALLS)),
    (DUPLICATE, BARE[0], None),
    (STORED, BARE[0], Some(STORES)),
    (STORES, BARE[0], None),
    (BARE[1], BARE[1], None),
    (PLAIN_64, BARE[1], None),
    (BARE[2], BARE[2], None),
    (PLAIN_512, BARE[2], None),
];

/// The samples of each row, by the row's name.
type Samples = BTreeMap<String, Vec<Sample>>;

/// A running target for each destination of requests.
pub(super) struct Targets(BTreeMap<Destination, Target>);

impl Targets {
    pub(super) fn start(lab: &Lab, destinations: &[Destination]) -> Result<Targets> {
        let start = |to: &Destination| {
            let name = match to {
                Destination::Limit => "limit",
                Destination::LimitLinked => "limit-linked",
                Destination::Sluice => "sluice",
                Destination::Signed => "signed",
                Destination::EngineDown => "engine-down",
                Destination::Redis => "redis",
                Destination::RedisEngineDown => "redis-engine-down",
            };
            // Another part of the run may have left a store.
            let state = lab.directory.join(name);
            if state.exists() {
                fs::remove_dir_all(state)?;
            }
            let target = match to {
                Destination::Limit => lab.start(Application::Limit, name, &[]),
                Destination::LimitLinked => lab.start(Application::LimitLinked, name, &[]),
                Destination::Sluice => lab.start(Application::Sluice, name, &[]),
                Destination::Signed => {
                    let sources = format!(r#"[{{"name":"github","sender":"github","secrets":["{SECRET}"]}}]"#);
                    lab.start(Application::Sluice, name, &[("sources", &sources)])
                }
                Destination::EngineDown => lab.start(Application::Sluice, name, &[ENGINE_DOWN]),
                Destination::Redis => lab.start_on_redis(name, &[]),
                Destination::RedisEngineDown => lab.start_on_redis(name, &[ENGINE_DOWN]),
            }?;
            if matches!(to, Destination::Sluice | Destination::Redis) {
                first_event(&target)?;
            }
            Ok((*to, target))
        };
        Ok(Targets(destinations.iter().map(start).collect::<Result<_>>()?))
    }

    /// The target of a row's requests.
    pub(super) fn of(&self, row: &Row) -> Result<&Target> {
        self.0.get(&row.to).ok_or_else(|| anyhow::anyhow!("no target was started for {}", row.name))
    }
}

pub(super) fn measure(lab: &Lab, plan: &Plan) -> Result<Section> {
    let targets = Targets::start(
        lab,
        &[
            Destination::Limit,
            Destination::LimitLinked,
            Destination::Sluice,
            Destination::Signed,
            Destination::EngineDown,
        ],
    )?;
    let load = |(row, ..): &(Row, Row, Option<Row>)| Ok(row.load(targets.of(row)?, &lab.directory));
    let loads = MEASURED.iter().map(load).collect::<Result<Vec<_>>>()?;

    let mut section = Section::new("Requests");
    for connections in CONNECTIONS {
        let samples = interleaved(&loads, connections, plan)?;
        let samples: Samples = loads.iter().map(|load| load.name.clone()).zip(samples).collect();
        section.tables.push(table(connections, &samples));
        section.goals.extend(goals(connections, &samples));
    }
    Ok(section)
}

/// A row's rate relative to another row's.
fn share(samples: &Samples, row: &Row, of: &Row) -> Spread {
    let rates = |row: &Row| samples.get(row.name).into_iter().flatten().map(Sample::rate);
    Spread::ratio(rates(row), rates(of))
}

/// The time that a row takes in addition to another row's.
fn added(samples: &Samples, row: &Row, to: &Row, time: fn(&Sample) -> f64) -> Spread {
    let times = |row: &Row| samples.get(row.name).into_iter().flatten().map(time);
    Spread::of(times(row).zip(times(to)).map(|(row, to)| row - to))
}

fn table(connections: u32, samples: &Samples) -> Table {
    let headers = ["Request", "Requests/s", "vs `bare`", "vs `hello`", "vs its writes"];
    let times = ["p50 ms", "p99 ms", "added to p50", "added to p99"];
    let mut table = Table::new(connections_label(connections), &[&headers[..], &times[..]].concat());
    for (row, bare, writes) in &MEASURED {
        let own = || samples.get(row.name).into_iter().flatten();
        let median = |time: fn(&Sample) -> f64| Spread::of(own().map(time)).median;
        let is_limit = matches!(row.to, Destination::Limit | Destination::LimitLinked);
        let added =
            |time| if is_limit { String::new() } else { format!("{:.3}", added(samples, row, bare, time).median) };
        table.rows.push(vec![
            if is_limit { format!("`{}`", row.name) } else { row.name.to_owned() },
            format!("{:.0}", Spread::of(own().map(Sample::rate))),
            format!("{:.2}", share(samples, row, bare)),
            format!("{:.2}", share(samples, row, &HELLO).median),
            writes.map(|writes| format!("{:.2}", share(samples, row, &writes))).unwrap_or_default(),
            format!("{:.3}", median(|sample| sample.p50_ms)),
            format!("{:.3}", median(|sample| sample.p99_ms)),
            added(|sample| sample.p50_ms),
            added(|sample| sample.p99_ms),
        ]);
    }
    table
}

fn goals(connections: u32, samples: &Samples) -> Vec<Goal> {
    let at = connections_label(connections);
    let share = |row: &Row, of: &Row| Some(share(samples, row, of).median);
    let p50 = |row: &Row| samples.get(row.name).into_iter().flatten().map(|sample| sample.p50_ms);
    let slower = Spread::ratio(p50(&PLAIN), p50(&BARE[0])).median - 1.0;
    let mut goals = vec![Goal::new(
        format!("plain webhook: time added to p50, relative to the p50 of `bare`, {at}"),
        Threshold::AtMost(0.15),
        Some(slower),
    )];
    if connections > 1 {
        let goal = |name, min, measured| Goal::new(format!("{name}, {at}"), Threshold::AtLeast(min), measured);
        goals.push(goal("plain webhook: requests/s relative to `bare`", 0.85, share(&PLAIN, &BARE[0])));
        goals.push(goal("signed webhook: requests/s relative to `bare`", 0.80, share(&SIGNED, &BARE[0])));
        goals.push(goal(
            "keyed event, first time: requests/s relative to its writes alone",
            0.9,
            share(&EVENT, &CALLS),
        ));
        let linked = |row: &Row| {
            let name = format!("{}: requests/s relative to `{}`, {at}", row.name, LINKED.name);
            Goal::new(name, Threshold::None, share(row, &LINKED))
        };
        goals.extend([linked(&PLAIN), linked(&SIGNED)]);
    }
    goals
}
