//! Programs that do a comparable part of the work: Debian's webhook, and Restate.

use std::fs;
use std::path::PathBuf;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use xtask::shell::{command, create_if_changed, install, target};

use super::Plan;
use super::goal::{Goal, Threshold};
use super::lab::{Lab, SECRET};
use super::load::{Load, Sample, interleaved};
use super::process::{Process, Request, free_port};
use super::report::{Section, Table};
use super::requests::{CONNECTIONS, Targets, connections_label};
use super::rows::{Body, DUPLICATE, Destination, Row, SIGNED, STORED, STORED_REDIS, signature};
use super::stats::Spread;

pub(super) const TITLE: &str = "Peers";
/// Goals at 32 connections, in the order of [`COMPARED`].
pub(super) const GOALS: [(&str, f64); 4] = [
    ("signed webhook: requests/s relative to webhook", 1.0),
    ("keyed event, duplicate: requests/s relative to Restate's durable accept", 2.0),
    ("webhook stored, engine down: requests/s relative to Restate's durable accept", 2.0),
    ("webhook stored, engine down, on Redis: requests/s relative to Restate's durable accept", 2.0),
];
/// Rows of Sluice, each with the index of the peer that it is compared with.
const COMPARED: [(Row, usize); 4] = [(SIGNED, 0), (DUPLICATE, 1), (STORED, 1), (STORED_REDIS, 1)];

/// A running peer, and its load.
struct Peer {
    _processes: Vec<Process>,
    load: Load,
    /// The log of errors, which may occur after a request was accepted.
    log: PathBuf,
}

pub(super) fn measure(lab: &Lab, plan: &Plan) -> Result<Section> {
    let targets = Targets::start(
        lab,
        &[Destination::Sluice, Destination::Signed, Destination::EngineDown, Destination::RedisEngineDown],
    )?;
    let peers = [webhook(lab)?, restate(lab)?];
    let mut loads: Vec<Load> = peers.iter().map(|peer| peer.load.clone()).collect();
    for (row, _) in &COMPARED {
        loads.push(row.load(targets.of(row)?, &lab.directory));
    }
    let mut section = Section::new(TITLE);
    for connections in CONNECTIONS {
        let samples = interleaved(&loads, connections, plan)?;
        let rates: Vec<Vec<f64>> = samples.iter().map(|rounds| rounds.iter().map(Sample::rate).collect()).collect();
        let rates = |at: usize| rates.get(at).into_iter().flatten().copied();
        let times = |at: usize, time: fn(&Sample) -> f64| Spread::of(samples.get(at).into_iter().flatten().map(time));
        let mut table =
            Table::new(connections_label(connections), &["Request", "requests/s", "vs peer", "p50 ms", "p99 ms"]);
        for (at, load) in loads.iter().enumerate() {
            let compared = at.checked_sub(peers.len()).and_then(|index| Some((index, COMPARED.get(index)?.1)));
            let share = compared.map(|(index, peer)| (index, Spread::ratio(rates(at), rates(peer))));
            if let Some((index, share)) = share
                && connections > 1
                && let Some((name, min)) = GOALS.get(index)
            {
                section.goals.push(Goal::new(*name, Threshold::AtLeast(*min), Some(share.median)));
            }
            table.rows.push(vec![
                load.name.clone(),
                format!("{:.0}", Spread::of(rates(at))),
                share.map(|(_, share)| format!("{share:.2}")).unwrap_or_default(),
                format!("{:.3}", times(at, |sample| sample.p50_ms).median),
                format!("{:.3}", times(at, |sample| sample.p99_ms).median),
            ]);
        }
        section.tables.push(table);
    }
    for Peer { load, log, .. } in &peers {
        let failed = fs::read_to_string(log)?.lines().find(|line| line.contains("ERROR")).map(str::to_owned);
        // A peer that fails after its response would look fast.
        ensure!(failed.is_none(), "{} failed: {}", load.name, failed.unwrap_or_default());
    }
    Ok(section)
}

/// Debian's webhook: verifies GitHub's signature and runs a program.
fn webhook(lab: &Lab) -> Result<Peer> {
    install(&[("webhook", "webhook")])?;
    let hooks = lab.directory.join("hooks.json");
    fs::write(&hooks, fs::read_to_string("bench/peers/hooks.json")?.replace("SECRET", SECRET))?;
    let port = free_port()?.to_string();
    let mut start = command("webhook", ["-ip", "127.0.0.1", "-port", &port, "-hooks"]);
    let log = lab.directory.join("webhook.log");
    let mut process = Process::start(start.arg(&hooks), &log)?;
    let url = format!("http://127.0.0.1:{port}");
    process.wait_until_ready(&Request { url: &url, ..Request::default() }, Instant::now())?;
    let body = Body::Webhook1;
    let signature = signature(body.content().as_bytes());
    let load = Load {
        name: "`webhook`: GitHub's signature".to_owned(),
        url: format!("{url}/hooks/benchmark"),
        body: Some(body.file(&lab.directory)),
        headers: vec![("content-type", "application/json".to_owned()), ("x-hub-signature-256", signature)],
        status: "200",
        programs: vec![process.id()],
        ..Load::default()
    };
    Ok(Peer { _processes: vec![process], load, log })
}

/// Restate: writes an invocation to its log, responds, and runs the handler.
fn restate(lab: &Lab) -> Result<Peer> {
    let modules = npm()?;
    let [ingress, admin, node, service] = [free_port()?, free_port()?, free_port()?, free_port()?];
    let mut start = command("node", ["bench/peers/service.mjs"]);
    start.env("PEERS", &modules).env("PORT", service.to_string()).env("RESTATE_LOGGING", "WARN");
    let log = lab.directory.join("service.log");
    let handler = Process::start(&start, &log)?;

    // The program itself is started, because killing npm's wrapper script would leave it running.
    let machine = if cfg!(target_arch = "aarch64") { "arm64" } else { "x64" };
    let program = format!("node_modules/@restatedev/restate-server-linux-{machine}/bin/restate-server");
    let mut start = command(modules.join(program), ["--base-dir"]);
    start.arg(lab.directory.join("restate")).args(["--node-name", "benchmark", "--bind-ip", "127.0.0.1", "--no-logo"]);
    start.env("RESTATE_INGRESS__BIND_ADDRESS", format!("127.0.0.1:{ingress}"));
    start.env("RESTATE_ADMIN__BIND_ADDRESS", format!("127.0.0.1:{admin}"));
    start.env("RESTATE_BIND_ADDRESS", format!("127.0.0.1:{node}"));
    start.env("RESTATE_DISABLE_TELEMETRY", "true").env("RUST_LOG", "warn");
    let mut server = Process::start(&start, &lab.directory.join("restate.log"))?;
    let health = format!("http://127.0.0.1:{ingress}/restate/health");
    server.wait_until_ready(&Request { url: &health, ..Request::default() }, Instant::now())?;

    let url = format!("http://127.0.0.1:{admin}/deployments");
    let deployment = format!(r#"{{"uri":"http://127.0.0.1:{service}","use_http_11":false}}"#);
    let headers = [("content-type", "application/json")];
    server.wait_until_ready(
        &Request { url: &url, headers: &headers, body: Some(deployment.as_bytes()) },
        Instant::now(),
    )?;
    // The ingress learns of the deployment after a delay.
    let url = format!("http://127.0.0.1:{ingress}/benchmark/take/send");
    server.wait_until_ready(&Request { url: &url, headers: &headers, body: Some(b"{}") }, Instant::now())?;
    let load = Load {
        name: "Restate: durable accept".to_owned(),
        url,
        body: Some(Body::Webhook1.file(&lab.directory)),
        headers: vec![("content-type", "application/json".to_owned())],
        status: "202",
        programs: vec![server.id(), handler.id()],
        ..Load::default()
    };
    Ok(Peer { _processes: vec![server, handler], load, log })
}

/// Installs Restate's server and SDK in the versions of bench/peers.
fn npm() -> Result<PathBuf> {
    let npm = std::path::absolute(target())?.join("bench-npm");
    let manifests = ["package.json", "package-lock.json"].map(|name| PathBuf::from("bench/peers").join(name));
    create_if_changed(&npm, &manifests, || {
        fs::create_dir_all(&npm)?;
        for manifest in &manifests {
            fs::copy(manifest, npm.join(manifest.file_name().context("no name")?))?;
        }
        xtask::shell::run(command("npm", ["ci", "--ignore-scripts", "--no-audit", "--no-fund"]).current_dir(&npm))
    })?;
    Ok(npm)
}
