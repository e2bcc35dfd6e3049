//! Each kind of request, against what the same host can do.

use std::collections::BTreeMap;
use std::fs;

use anyhow::Result;

use super::Plan;
use super::bar::{Bar, Wanted};
use super::lab::{Application, DOWN, Lab, SECRET, Target};
use super::load::{Sample, interleaved};
use super::report::{Section, Table};
use super::rows::{
    BARE, CALLBACK, CALLS, DUPLICATE, EVENT, HELLO, LINKED, PLAIN, PLAIN_64, PLAIN_512, Row, SIGNED, STORED, STORES,
    To, first_event,
};
use super::stats::Spread;

pub(super) const CONNECTIONS: [u32; 2] = [1, 32];

/// So many, in words.
pub(super) fn words(connections: u32) -> String {
    format!("{connections} connection{}", if connections == 1 { "" } else { "s" })
}

/// What is measured, the `bare` that it is held against, and what its writes allow.
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

/// The samples of each row, by its name.
type Samples = BTreeMap<String, Vec<Sample>>;

/// A running target for each place that requests go to.
pub(super) struct Targets(BTreeMap<To, Target>);

impl Targets {
    pub(super) fn start(lab: &Lab, places: &[To]) -> Result<Targets> {
        let start = |to: &To| {
            let name = match to {
                To::Limit => "limit",
                To::LimitLinked => "limit-linked",
                To::Sluice => "sluice",
                To::Signed => "signed",
                To::Alone => "alone",
                To::Redis => "redis",
                To::RedisAlone => "redis-alone",
            };
            // Another part may have left its store.
            let state = lab.directory.join(name);
            if state.exists() {
                fs::remove_dir_all(state)?;
            }
            let target = match to {
                To::Limit => lab.start(Application::Limit, name, &[]),
                To::LimitLinked => lab.start(Application::LimitLinked, name, &[]),
                To::Sluice => lab.start(Application::Sluice, name, &[]),
                To::Signed => lab.start(Application::Sluice, name, &[("secret_github", SECRET)]),
                To::Alone => lab.start(Application::Sluice, name, &[DOWN]),
                To::Redis => lab.start_on_redis(name, &[]),
                To::RedisAlone => lab.start_on_redis(name, &[DOWN]),
            }?;
            if matches!(to, To::Sluice | To::Redis) {
                first_event(&target)?;
            }
            Ok((*to, target))
        };
        Ok(Targets(places.iter().map(start).collect::<Result<_>>()?))
    }

    pub(super) fn of(&self, row: &Row) -> Result<&Target> {
        self.0.get(&row.to).ok_or_else(|| anyhow::anyhow!("nobody runs for {}", row.name))
    }
}

pub(super) fn measure(lab: &Lab, plan: &Plan) -> Result<Section> {
    let targets = Targets::start(lab, &[To::Limit, To::LimitLinked, To::Sluice, To::Signed, To::Alone])?;
    let load = |(row, ..): &(Row, Row, Option<Row>)| Ok(row.load(targets.of(row)?, &lab.directory));
    let loads = MEASURED.iter().map(load).collect::<Result<Vec<_>>>()?;

    let mut section = Section::new("Requests");
    for connections in CONNECTIONS {
        let samples = interleaved(&loads, connections, plan)?;
        let samples: Samples = loads.iter().map(|load| load.name.clone()).zip(samples).collect();
        section.tables.push(table(connections, &samples));
        section.bars.extend(bars(connections, &samples));
    }
    Ok(section)
}

/// The share of another row's rate.
fn share(samples: &Samples, row: &Row, of: &Row) -> Spread {
    let rates = |row: &Row| samples.get(row.name).into_iter().flatten().map(Sample::rate);
    Spread::ratio(rates(row), rates(of))
}

/// What is added to another row's time.
fn added(samples: &Samples, row: &Row, to: &Row, time: fn(&Sample) -> f64) -> Spread {
    let times = |row: &Row| samples.get(row.name).into_iter().flatten().map(time);
    Spread::of(times(row).zip(times(to)).map(|(row, to)| row - to))
}

fn table(connections: u32, samples: &Samples) -> Table {
    let heads = ["Request", "requests/s", "of `bare`", "of `hello`", "of its writes"];
    let times = ["p50 ms", "p99 ms", "added to p50", "added to p99"];
    let mut table = Table::new(words(connections), &[&heads[..], &times[..]].concat());
    for (row, bare, writes) in &MEASURED {
        let own = || samples.get(row.name).into_iter().flatten();
        let median = |time: fn(&Sample) -> f64| Spread::of(own().map(time)).median;
        let is_limit = matches!(row.to, To::Limit | To::LimitLinked);
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

fn bars(connections: u32, samples: &Samples) -> Vec<Bar> {
    let at = words(connections);
    let share = |row: &Row, of: &Row| Some(share(samples, row, of).median);
    let p50 = |row: &Row| samples.get(row.name).into_iter().flatten().map(|sample| sample.p50_ms);
    let slower = Spread::ratio(p50(&PLAIN), p50(&BARE[0])).median - 1.0;
    let mut bars = vec![Bar::new(
        format!("plain webhook: added to p50, of `bare`'s p50, {at}"),
        Wanted::AtMost(0.15),
        Some(slower),
    )];
    if connections > 1 {
        let bar = |what, least, got| Bar::new(format!("{what}, {at}"), Wanted::AtLeast(least), got);
        bars.push(bar("plain webhook: requests/s, of `bare`", 0.85, share(&PLAIN, &BARE[0])));
        bars.push(bar("signed webhook: requests/s, of `bare`", 0.80, share(&SIGNED, &BARE[0])));
        bars.push(bar("keyed event, first time: requests/s, of what its writes allow", 0.9, share(&EVENT, &CALLS)));
        let linked = |row: &Row| {
            let what = format!("{}: requests/s, of `{}`, {at}", row.name, LINKED.name);
            Bar::new(what, Wanted::Nothing, share(row, &LINKED))
        };
        bars.extend([linked(&PLAIN), linked(&SIGNED)]);
    }
    bars
}
