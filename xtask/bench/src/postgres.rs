//! Sluice on PostgreSQL: over many remembered events, relative to its limit, and for days of traffic.

use std::fs;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use xtask::postgres::Server;

use super::Plan;
use super::goal::{Goal, Threshold};
use super::lab::{Application, ENGINE_DOWN, Lab, Target};
use super::load::{Load, Sample, interleaved};
use super::report::{Section, Table};
use super::requests::{CONNECTIONS, connections_label};
use super::rows::{CLAIMS, EVENT, KEPT, Row, STORED, first_event};
use super::stats::Spread;
use super::store::drain;

/// The schema.
const SCHEMA: &str = "src/store/postgres/schema.sql";

/// Passes of the drain in a round. A round has their median.
const PASSES: usize = 20;

/// Events a second in [`days`].
const RATE: f64 = 5.0;

/// Seconds of load between two drains in [`days`].
const CHUNK_SECONDS: u64 = 2;

const HOUR_MS: u64 = 3_600_000;

/// Copies the remembered event of a database, under keys in no order, over the 72 h before it expires. Commits each
/// million, and leaves the statistics and the visibility map as autovacuum would.
const REMEMBER: &str = "
    INSERT INTO sluice_delivery
        (key, label, id, state, digest, reference, body, accepted, received, changed, expires)
    SELECT h.hash, h.hash, substr(h.hash, 1, 26), t.state, t.digest, t.reference, t.body, t.accepted,
        t.received, t.changed, t.changed + 3600000 + (FROM_ROW + n) * 71 * 3600000 / TOTAL
    FROM (SELECT * FROM sluice_delivery WHERE state = 'delivered' AND length(key) = 52 LIMIT 1) AS t,
        generate_series(1, ROWS) AS n,
        LATERAL (SELECT substr(encode(sha256((FROM_ROW + n)::text::bytea), 'hex'), 1, 51) || 'x' AS hash) AS h;
";

/// Rows that one statement adds.
const ROWS_AT_ONCE: u64 = 1_000_000;

/// A server with a database for each target.
struct Databases<'a> {
    server: Server,
    lab: &'a Lab,
}

impl Databases<'_> {
    /// Starts an application over a new database of this name.
    fn start(&self, application: Application, name: &str, variables: &[(&str, &str)]) -> Result<Target> {
        self.server.psql("postgres", &format!("CREATE DATABASE \"{name}\""))?;
        self.server.psql(name, &fs::read_to_string(SCHEMA).context(SCHEMA)?)?;
        let (url, host) = (self.server.url_of(name), self.server.host());
        let variables = [variables, &[("database_url", &url), ("database_host", &host)]].concat();
        self.lab.start(application, &format!("postgres-{name}"), &variables)
    }

    /// Adds remembered events to a database that has one.
    fn remember(&self, name: &str, rows: u64) -> Result<()> {
        let mut added = 0;
        while added < rows {
            let now = ROWS_AT_ONCE.min(rows - added);
            let statement = REMEMBER
                .replace("FROM_ROW", &format!("{added}::int8"))
                .replace("ROWS", &now.to_string())
                .replace("TOTAL", &rows.to_string());
            self.server.psql(name, &statement)?;
            added += now;
            println!("   {added} rows");
        }
        self.server.psql(name, "VACUUM (ANALYZE) sluice_delivery; CHECKPOINT;")?;
        let count = self.rows(name)?;
        ensure!(count > rows, "{name} has {count} rows");
        Ok(())
    }

    fn rows(&self, name: &str) -> Result<u64> {
        Ok(self.server.psql(name, "SELECT count(*) FROM sluice_delivery")?.parse()?)
    }
}

pub(super) fn measure(lab: &Lab, plan: &Plan) -> Result<Section> {
    let databases = Databases { server: Server::start()?, lab };
    let mut section = Section::new("PostgreSQL");
    growth(&databases, plan, &mut section)?;
    limit(&databases, plan, &mut section)?;
    Ok(section)
}

/// Measures a drain's pass and a keyed event over an empty store and over a full one, in turn.
fn growth(databases: &Databases<'_>, plan: &Plan, section: &mut Section) -> Result<()> {
    let remembered = if plan.quick { 100_000 } else { 10_000_000 };
    let names = ["empty", "filled"];
    let targets =
        [databases.start(Application::Sluice, "empty", &[])?, databases.start(Application::Sluice, "filled", &[])?];
    let [_, full] = &targets;
    first_event(full)?;
    databases.remember("filled", remembered)?;

    let mut passes = [Vec::new(), Vec::new()];
    let mut events = CONNECTIONS.map(|_| [Vec::new(), Vec::new()]);
    let one_round = Plan { rounds: 1, seconds: plan.seconds, quick: plan.quick };
    for round in 1..=plan.rounds {
        println!("   round {round} of {}", plan.rounds);
        // What the last round has left.
        databases.server.psql("empty", "TRUNCATE sluice_delivery; CHECKPOINT;")?;
        for (target, passes) in targets.iter().zip(&mut passes) {
            passes.push(pass(target)?);
        }
        let loads = targets.each_ref().map(|target| EVENT.load(target, &databases.lab.directory));
        for (connections, events) in CONNECTIONS.into_iter().zip(&mut events) {
            let samples = interleaved(&loads, connections, &one_round)?;
            for (samples, events) in samples.iter().zip(events) {
                events.extend(samples.iter().map(|sample| 1e3 / sample.rate()));
            }
        }
    }

    let full = format!("{remembered} remembered");
    let headers = ["", "empty store", &full, "ratio"];
    let mut table = Table::new("Milliseconds over many remembered events", &headers);
    let mut add = |name: String, [empty, full]: &[Vec<f64>; 2], most: f64| {
        let ratio = Spread::ratio(full.iter().copied(), empty.iter().copied());
        let of = |times: &Vec<f64>| format!("{:.3}", Spread::of(times.iter().copied()));
        table.rows.push(vec![name.clone(), of(empty), of(full), format!("{ratio}")]);
        let name = format!("{name}: time with {remembered} remembered, relative to an empty store");
        section.goals.push(Goal::new(name, Threshold::AtMost(most), Some(ratio.median)));
    };
    add("drain's pass with nothing pending".to_owned(), &passes, 1.2);
    for (connections, events) in CONNECTIONS.into_iter().zip(&events) {
        add(format!("keyed event, first time, {}", connections_label(connections)), events, 1.15);
    }
    section.tables.push(table);
    let sizes = names.map(|name| databases.rows(name).map(|rows| format!("{name}: {rows} rows")));
    println!("   at the end: {}", sizes.into_iter().collect::<Result<Vec<_>>>()?.join(", "));
    Ok(())
}

/// The median of some passes of a drain with nothing pending, in milliseconds.
fn pass(target: &Target) -> Result<f64> {
    let mut times = Vec::new();
    for _ in 0..PASSES {
        let start = Instant::now();
        let drained = drain(target)?;
        times.push(start.elapsed().as_secs_f64() * 1e3);
        ensure!(drained.pending == Some(0), "a drain answered {drained:?}");
    }
    Ok(Spread::of(times).median)
}

/// Measures a keyed event and a stored webhook on PostgreSQL, by the reference component with the same statements and
/// the same call, and on SQLite.
fn limit(databases: &Databases<'_>, plan: &Plan, section: &mut Section) -> Result<()> {
    let lab = databases.lab;
    let targets = [
        (EVENT, databases.start(Application::Sluice, "event", &[])?),
        (CLAIMS, databases.start(Application::LimitLinked, "claims", &[])?),
        (EVENT, lab.start(Application::Sluice, "sqlite-event", &[])?),
        (STORED, databases.start(Application::Sluice, "stored", &[ENGINE_DOWN])?),
        (KEPT, databases.start(Application::LimitLinked, "kept", &[ENGINE_DOWN])?),
        (STORED, lab.start(Application::Sluice, "sqlite-stored", &[ENGINE_DOWN])?),
    ];
    let load = |(row, target): &(Row, Target)| row.load(target, &lab.directory);
    let loads: Vec<Load> = targets.iter().map(load).collect();
    for connections in CONNECTIONS {
        let samples = interleaved(&loads, connections, plan)?;
        let at = connections_label(connections);
        let headers = ["Request", "on PostgreSQL, requests/s", "its limit", "on SQLite", "vs its limit", "vs SQLite"];
        let mut table = Table::new(format!("PostgreSQL, {at}"), &headers);
        for ((row, _), samples) in targets.iter().step_by(3).zip(samples.chunks(3)) {
            let rates: Vec<Vec<f64>> = samples.iter().map(|own| own.iter().map(Sample::rate).collect()).collect();
            let [own, limit, sqlite] = rates.as_slice() else { continue };
            let ratio = |to: &[f64]| Spread::ratio(own.iter().copied(), to.iter().copied());
            let cell = |rates: &[f64]| format!("{:.0}", Spread::of(rates.iter().copied()));
            let (to_limit, to_sqlite) = (ratio(limit), ratio(sqlite));
            table.rows.push(vec![
                row.name.to_owned(),
                cell(own),
                cell(limit),
                cell(sqlite),
                format!("{to_limit}"),
                format!("{to_sqlite}"),
            ]);
            if connections > 1 {
                let goal = |to: &str, min, measured: &Spread| {
                    let name = format!("{} on PostgreSQL: requests/s relative to {to}, {at}", row.name);
                    Goal::new(name, Threshold::AtLeast(min), Some(measured.median))
                };
                section.goals.push(goal("`bare, linked` with the same statements and call", 0.9, &to_limit));
                section.goals.push(goal("SQLite", 1.5, &to_sqlite));
            }
        }
        section.tables.push(table);
    }
    Ok(())
}

/// Sends keyed events at 5 a second for days of the database's time, with a drain after each few minutes of it.
///
/// Events are sent as fast as the machine can. After each chunk, the database's clock is set forward to the time at
/// which that many events have arrived; no request is under way then. A day is 432,000 events.
pub(super) fn days(lab: &Lab, days: u32) -> Result<Section> {
    let databases = Databases { server: Server::start()?, lab };
    let target = databases.start(Application::Sluice, "days", &[])?;
    let load = EVENT.load(&target, &lab.directory);
    let chunk = Plan { rounds: 1, seconds: CHUNK_SECONDS, quick: true };
    let headers = ["Day", "Events", "Rows", "Table, MB", "With indexes, MB", "Event, ms", "Passes", "Longest pass, ms"];
    let mut table =
        Table::new(format!("{days} days at {RATE:.0} keyed events a second, `retention_hours` 72"), &headers);
    let began = Instant::now();
    let (mut events, mut most) = (0, 0);
    for day in 1..=days {
        let (mut passes, mut longest, mut times) = (0_u64, 0.0_f64, Vec::new());
        while events_ms(events) < u64::from(day) * 24 * HOUR_MS {
            let before = databases.rows("days")?;
            for sample in interleaved(std::slice::from_ref(&load), 32, &chunk)?.iter().flatten() {
                times.push(1e3 / sample.rate());
            }
            // Hardly a row expires within a chunk.
            events += databases.rows("days")?.saturating_sub(before);
            databases.set_clock("days", events_ms(events), began)?;
            loop {
                let start = Instant::now();
                let drained = drain(&target)?;
                longest = longest.max(start.elapsed().as_secs_f64() * 1e3);
                passes += 1;
                ensure!(drained.pending == Some(0), "a drain answered {drained:?}");
                if !drained.again {
                    break;
                }
            }
        }
        let rows = databases.rows("days")?;
        most = most.max(rows);
        let megabytes = |function: &str| -> Result<String> {
            databases.server.psql("days", &format!("SELECT {function}('sluice_delivery') / 1048576"))
        };
        table.rows.push(vec![
            day.to_string(),
            events.to_string(),
            rows.to_string(),
            megabytes("pg_table_size")?,
            megabytes("pg_total_relation_size")?,
            format!("{:.3}", Spread::of(times)),
            passes.to_string(),
            format!("{longest:.0}"),
        ]);
        println!("   day {day} of {days}: {rows} rows of {events} events");
    }
    let mut section = Section::new("Days on PostgreSQL");
    section.tables.push(table);
    let share = most as f64 / (RATE * 72.0 * 3_600.0);
    let name = "most rows at the end of a day, relative to 5 a second × 72 h";
    section.goals.push(Goal::new(name, Threshold::AtMost(2.2), Some(share)));
    Ok(section)
}

/// The time after which so many events have arrived, in milliseconds.
fn events_ms(events: u64) -> u64 {
    (events as f64 * 1e3 / RATE) as u64
}

impl Databases<'_> {
    /// Sets a database's clock to this many milliseconds after the beginning of the run.
    fn set_clock(&self, name: &str, ms: u64, began: Instant) -> Result<()> {
        let elapsed = u64::try_from(began.elapsed().as_millis())?;
        let ahead = ms.saturating_sub(elapsed);
        let statement = format!(
            "CREATE OR REPLACE FUNCTION sluice_clock() RETURNS int8 LANGUAGE sql VOLATILE PARALLEL SAFE
             AS $$ SELECT floor(extract(epoch FROM clock_timestamp()) * 1000)::int8 + {ahead} $$"
        );
        self.server.psql(name, &statement).map(drop)
    }
}
