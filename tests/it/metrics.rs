//! `GET /metrics`: authorization, values, cost, and the documents. `tests/interop/test_metrics.py` has a real Prometheus
//! read it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use crate::fake::{
    Cost, EVENT, EVENT_URI, JSON, MINUTE, NOW, OPERATOR, Reply, StoreFault, StoreKind, WEBHOOK_URI, World, answer,
    request,
};
use crate::keys;

const URI: &str = "/metrics";

fn scrape(world: &World) -> Reply {
    world.send(request("GET", URI, &[OPERATOR], ""))
}

/// The values by metric and labels.
#[track_caller]
fn values(reply: &Reply) -> BTreeMap<String, f64> {
    assert_eq!(reply.status(), 200, "{}", reply.text());
    let lines = reply.text().strip_suffix("# EOF\n").expect("the end of the metrics").lines();
    let series = lines.filter(|line| !line.starts_with('#')).map(|line| line.rsplit_once(' ').unwrap());
    series.map(|(name, value)| (name.to_owned(), value.parse().unwrap())).collect()
}

#[track_caller]
fn assert_values(world: &World, expected: &[(&str, Option<f64>)]) {
    let values = values(&scrape(world));
    for (name, value) in expected {
        assert_eq!(values.get(*name).copied(), *value, "{name} in {values:#?}");
    }
}

/// A Unix timestamp in seconds, of the time since [`NOW`] in milliseconds.
fn seconds(after: u64) -> Option<f64> {
    Some((NOW + after) as f64 / 1_000.0)
}

#[on_each_store]
fn token_of_its_own_reads_the_metrics_and_nothing_else() {
    let own = ("authorization", "Bearer m3trics");
    let world = World::new();
    world.send(request("GET", URI, &[own], "")).problem(404, "not-found");
    let world = World::with_operator();
    assert_eq!(scrape(&world).status(), 200);
    world.send(request("GET", URI, &[own], "")).problem(401, "unauthorized");
    let world = World::with_operator().setting("metrics_token", "m3trics");
    for header in [own, OPERATOR] {
        assert_eq!(world.send(request("GET", URI, &[header], "")).status(), 200);
    }
    world.get(URI).problem(401, "unauthorized");
    world.send(request("GET", "/api/v2/deliveries", &[own], "")).problem(401, "unauthorized");
    // Without an operator's token, too.
    let world = World::new().setting("metrics_token", "m3trics");
    assert_eq!(world.send(request("GET", URI, &[own], "")).status(), 200);
}

#[on_each_store]
fn values_are_those_of_the_last_pass_and_of_the_notes() {
    let world = World::with_operator().source_of("github", json!(["s3cret"])).unreachable();
    let post = |headers: &[(&str, &str)]| world.post(WEBHOOK_URI, &[&[JSON], headers].concat(), "{}");
    let signed = sluice::secret::Secret::new("s3cret").mac(b"{}");
    let signature = format!("sha256={}", signed.iter().map(|byte| format!("{byte:02x}")).collect::<String>());
    let github = ("x-github-event", "push");
    for _ in 0..3 {
        assert_eq!(post(&[github, ("x-hub-signature-256", &signature)]).status(), 202);
        world.advance(1_000);
    }
    let unknown =
        ["pending_deliveries", "dead_deliveries", "drain_timestamp_seconds"].map(|name| format!("sluice_{name}"));
    assert_values(&world, &unknown.each_ref().map(|name| (&**name, None)));

    assert_eq!(post(&[github, ("x-hub-signature-256", "sha256=00")]).status(), 401);
    let refused_at = world.now() - NOW;
    world.sites.publish(keys::JWKS, &[("cache-control", "max-age=600")], &keys::key_set(&["a"]));
    keys::look(&world, "a").unwrap();
    world.advance(MINUTE);
    world.drain();
    let drained_at = world.now() - NOW;
    let url = format!("{{url=\"{}\"}}", keys::JWKS);
    let version = format!("sluice_build_info{{version=\"{}\"}}", env!("CARGO_PKG_VERSION"));
    assert_values(
        &world,
        &[
            (&version, Some(1.0)),
            ("sluice_configuration_errors", Some(0.0)),
            ("sluice_drain_timestamp_seconds", seconds(drained_at)),
            ("sluice_pending_deliveries", Some(3.0)),
            ("sluice_dead_deliveries", Some(0.0)),
            ("sluice_oldest_pending_timestamp_seconds", seconds(0)),
            ("sluice_engine_unreachable", Some(1.0)),
            ("sluice_engine_fault", Some(0.0)),
            ("sluice_run_twice", Some(0.0)),
            ("sluice_held_queues", Some(0.0)),
            ("sluice_store_full", Some(0.0)),
            (
                "sluice_last_refused_timestamp_seconds{source=\"github\",reason=\"invalid-signature\"}",
                seconds(refused_at),
            ),
            (&format!("sluice_key_fetched_timestamp_seconds{url}"), seconds(refused_at)),
            (&format!("sluice_key_fresh_until_timestamp_seconds{url}"), seconds(refused_at + 600_000)),
            ("sluice_store_max_keys", (world.kind() == StoreKind::KeyValue).then_some(250_000.0)),
        ],
    );

    // A scrape shows a later refusal of the same source at once.
    world.advance(MINUTE);
    assert_eq!(post(&[github]).status(), 401);
    let unsigned_at = world.now() - NOW;
    let latest = values(&scrape(&world)).into_iter().filter(|(name, _)| name.starts_with("sluice_last_refused"));
    assert!(latest.map(|(_, at)| Some(at)).any(|at| at == seconds(unsigned_at)));

    world.engine.recover();
    world.engine.script(answer(400, ""));
    world.advance(MINUTE);
    world.drain();
    assert_values(
        &world,
        &[
            ("sluice_pending_deliveries", Some(0.0)),
            ("sluice_dead_deliveries", Some(1.0)),
            ("sluice_oldest_pending_timestamp_seconds", None),
            ("sluice_engine_unreachable", Some(0.0)),
        ],
    );
}

#[on_each_store]
fn engine_fault_is_a_metric() {
    let world = World::with_operator().respond(401, "");
    assert_eq!(world.post_json(WEBHOOK_URI, "{}").status(), 202);
    assert_values(&world, &[("sluice_engine_fault", Some(1.0))]);
}

/// A scrape needs no other settings, so that it can say that they are wrong.
#[on_each_store]
fn wrong_configuration_is_counted() {
    let world = World::with_operator().setting("engine_wait_ms", "soon").with("engine_url", "nonsense").source(json!({
        "name": "acme", "sender": "gitlub", "secrets": ["s3cret"]
    }));
    let values = values(&scrape(&world));
    assert_eq!(values["sluice_configuration_errors"], 3.0, "{values:?}");
}

#[on_each_store]
fn failing_store_is_a_problem() {
    let world = World::with_operator();
    world.fail_store(StoreFault::From(0));
    let problem = scrape(&world).problem(503, "store-unavailable");
    assert!(problem["detail"].as_str().unwrap().contains("/readyz"), "{problem}");
}

#[test]
fn scrape_lists_no_keys() {
    StoreKind::KeyValue.choose();
    let world = World::with_operator().healthy();
    world.post_json(EVENT_URI, EVENT);
    world.drain();
    world.store.take_cost();
    scrape(&world);
    let Cost { reads, writes, scans } = world.store.take_cost();
    assert!(reads < 10 && writes == 0 && scans == 0, "{reads} reads, {writes} writes, {scans} scans");
}

#[test]
fn response_has_the_media_type_of_open_metrics() {
    StoreKind::KeyValue.choose();
    let world = World::with_operator();
    let reply = scrape(&world);
    let media_type = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    assert_eq!((reply.header("content-type"), reply.header("cache-control")), (Some(media_type), Some("no-store")));
    let reply = world.send(request("GET", URI, &[OPERATOR, ("accept", "text/plain")], ""));
    assert_eq!(reply.header("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
    let head = world.send(request("HEAD", URI, &[OPERATOR], ""));
    assert_eq!((head.status(), head.text()), (200, ""));
}

fn read(path: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap()
}

/// The names and help texts of all metrics.
fn described() -> Vec<(String, String)> {
    StoreKind::KeyValue.choose();
    let reply = scrape(&World::with_operator());
    let lines = reply.text().lines().filter_map(|line| line.strip_prefix("# HELP ")?.split_once(' '));
    lines.map(|(name, help)| (name.to_owned(), help.to_owned())).collect()
}

#[test]
fn every_metric_is_documented() {
    let page = read("docs/metrics.md");
    let table = page.split("| Metric | Labels | Meaning |\n|---|---|---|\n").nth(1).expect("the table of metrics");
    let rows = table.lines().take_while(|line| line.starts_with('|')).map(|row| {
        let cells: Vec<_> = row.split('|').map(|cell| cell.trim().replace('`', "")).collect();
        (cells[1].clone(), cells[3].clone())
    });
    assert_eq!(rows.collect::<Vec<_>>(), described());
}

/// The rules and the dashboard name no other metrics, and each alert names a section of the runbook.
#[test]
fn rules_and_dashboard_name_known_metrics() {
    let known: BTreeSet<_> = described().into_iter().map(|(name, _)| name).collect();
    for path in
        ["deploy/prometheus/sluice.rules.yml", "deploy/prometheus/sluice.test.yml", "deploy/grafana/sluice.json"]
    {
        let text = read(path);
        let is_name = |c: char| c.is_ascii_lowercase() || c == '_';
        let names = text.match_indices("sluice_").map(|(at, _)| text[at..].split(|c| !is_name(c)).next().unwrap());
        let unknown: Vec<_> = names.filter(|name| !known.contains(*name)).collect();
        assert!(unknown.is_empty(), "{path}: {unknown:?}");
    }
    let rules: Value = yaml_serde::from_str(&read("deploy/prometheus/sluice.rules.yml")).unwrap();
    let rules = rules["groups"][0]["rules"].as_array().unwrap().clone();
    let (runbook, page) = (read("docs/runbook.md"), read("docs/metrics.md"));
    let anchor = |title: &str| title.to_lowercase().replace('\'', "").replace(' ', "-");
    let sections: BTreeSet<_> = runbook.lines().filter_map(|line| line.strip_prefix("## ")).map(anchor).collect();
    for rule in &rules {
        let section = rule["annotations"]["runbook"].as_str().and_then(|link| link.strip_prefix("docs/runbook.md#"));
        assert!(section.is_some_and(|section| sections.contains(section)), "{rule}");
        let row =
            format!("| `{}` | {} |", rule["alert"].as_str().unwrap(), rule["labels"]["severity"].as_str().unwrap());
        assert!(page.contains(&row), "docs/metrics.md lacks: {row}");
    }
    assert_eq!(page.lines().filter(|line| line.starts_with("| `Sluice")).count(), rules.len());
}
