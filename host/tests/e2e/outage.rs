//! A long outage of the engine: many deliveries are stored, and after its recovery all are delivered once.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;
use sluice_host::stand_in::StandIn;
use tokio::task::JoinSet;

use crate::setup::{DrainTotals, HttpClient, JSON, OPERATOR, ReservedPort, Setup, data_of, operations};

const SENDERS: u64 = 16;
const PER_SENDER: u64 = 1_250;
const TOTAL: u64 = SENDERS * PER_SENDER;
const THOUSAND: u64 = 1_000;

/// The progress at one time.
#[derive(Clone, Copy)]
struct Sample {
    at: Instant,
    /// Deliveries that are stored, or delivered.
    done: u64,
    /// Operations of the store so far.
    operations: u64,
}

#[tokio::test(flavor = "multi_thread")]
async fn deliveries_stored_in_an_outage_arrive_once_and_at_constant_cost() {
    let engine_port = ReservedPort::new();
    let mut setup = Setup::with_variables(&[("engine_url", &engine_port.url())]).await;
    let (key_value, postgres) = (setup.host.key_value().clone(), setup.host.postgres().clone());
    let operations = move || operations(&key_value, &postgres);

    let stored = Arc::new(AtomicU64::new(0));
    let samples = sample(operations.clone(), {
        let stored = stored.clone();
        move || stored.load(Ordering::Relaxed)
    });
    let mut senders = JoinSet::new();
    for sender in 0..SENDERS {
        senders.spawn(send(setup.host.url(), sender, stored.clone()));
    }
    senders.join_all().await;
    assert_constant_cost("stored", &samples.await.unwrap());
    assert_eq!(setup.host.outbound().calls(), TOTAL, "each delivery is attempted once before it is stored");
    assert_eq!(setup.drain().await["pending"], TOTAL);

    setup.engine = StandIn::builder()
        .any_workflow()
        .listen(engine_port.addr())
        .capacity(2 * TOTAL as usize)
        .start()
        .await
        .unwrap();
    let engine = Arc::new(setup.engine);
    let samples = sample(operations.clone(), {
        let engine = engine.clone();
        move || engine.counts().runs
    });
    let (mut totals, mut passes) = (DrainTotals::default(), 0);
    loop {
        let url = format!("{}/api/v2/deliveries/drain", setup.host.url());
        let reply = HttpClient::new().send("POST", &url, &[OPERATOR], "").await.unwrap();
        passes += 1;
        totals.add(&reply.json());
        println!("pass {passes}: {}", reply.text());
        if reply.json()["pending"] == 0 {
            break;
        }
    }
    assert_constant_cost("drained", &samples.await.unwrap());
    assert_eq!(totals, DrainTotals { delivered: TOTAL, ..DrainTotals::default() });

    // Starts of one workflow go side by side: their order is nobody's.
    let mut arrived = BTreeSet::new();
    for record in engine.runs() {
        let data: Value = serde_json::from_str(&data_of(&record)).unwrap();
        let (sender, n) = (data["sender"].as_u64().unwrap(), data["n"].as_u64().unwrap());
        assert!(arrived.insert((sender, n)), "sender {sender}: delivery {n} is repeated");
    }
    assert_eq!(arrived.len() as u64, TOTAL, "a delivery is missing");
    assert_eq!(engine.counts().requests, TOTAL, "the engine gets one request per delivery");
}

/// With plain `spin up`, nobody calls the drain: the work after responses has to deliver the backlog.
#[tokio::test(flavor = "multi_thread")]
async fn traffic_delivers_what_an_outage_has_left_without_a_timer() {
    const LEFT: u64 = 50;
    let engine_port = ReservedPort::new();
    let mut setup = Setup::with_variables(&[("engine_url", &engine_port.url())]).await;
    for n in 0..LEFT {
        setup
            .post("/api/v2/webhook?ref=left", format!(r#"{{"sender":0,"n":{n}}}"#))
            .await
            .assert_stored("pending", true);
    }
    setup.engine = StandIn::builder().any_workflow().listen(engine_port.addr()).start().await.unwrap();
    let started = |workflow| setup.engine.runs().iter().filter(|record| record.run.workflow_ref == workflow).count();

    let end = Instant::now() + Duration::from_secs(60);
    while started("left") < LEFT as usize && Instant::now() < end {
        setup.post("/api/v2/webhook?ref=fresh", r#"{"sender":1,"n":0}"#).await;
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(started("left"), LEFT as usize, "after a minute with {} fresh webhooks", started("fresh"));
}

/// Sends one delivery after the other; each sender has its own workflow.
async fn send(host: String, sender: u64, stored: Arc<AtomicU64>) {
    let client = HttpClient::new();
    let url = format!("{host}/api/v2/webhook?ref=sender{sender}");
    for n in 0..PER_SENDER {
        let body = format!(r#"{{"sender":{sender},"n":{n}}}"#);
        let reply = client.send("POST", &url, &[JSON], body).await.unwrap();
        reply.assert_stored("pending", true);
        stored.fetch_add(1, Ordering::Relaxed);
    }
}

/// Records the progress every few milliseconds until all deliveries are done.
fn sample(
    operations: impl Fn() -> u64 + Send + 'static,
    progress: impl Fn() -> u64 + Send + 'static,
) -> tokio::task::JoinHandle<Vec<Sample>> {
    let take = move || Sample { at: Instant::now(), done: progress(), operations: operations() };
    let mut samples = vec![take()];
    tokio::spawn(async move {
        while samples.last().is_some_and(|sample| sample.done < TOTAL) {
            tokio::time::sleep(Duration::from_millis(5)).await;
            samples.push(take());
        }
        samples
    })
}

/// Asserts that the last thousand deliveries cost as much as the first. The limit for the time is loose because the
/// machine may be busy; a cost that grows with the number of stored deliveries would exceed it by far.
fn assert_constant_cost(phase: &str, samples: &[Sample]) {
    let at = |done: u64| *samples.iter().find(|sample| sample.done >= done).unwrap();
    let cost = |from: u64| {
        let (start, end) = (at(from), at(from + THOUSAND));
        let done = (end.done - start.done) as f64;
        let milliseconds = (end.at - start.at).as_secs_f64() * 1_000.0;
        ((end.operations - start.operations) as f64 / done, milliseconds / done)
    };
    let ((first_ops, first_ms), (last_ops, last_ms)) = (cost(0), cost(TOTAL - THOUSAND));
    let seconds = (at(TOTAL).at - at(0).at).as_secs_f64();
    println!(
        "{phase}: {TOTAL} in {seconds:.1} s; the first thousand took {first_ops:.2} operations and {first_ms:.2} ms \
         each, the last thousand {last_ops:.2} and {last_ms:.2} ms"
    );
    assert!(last_ops < first_ops * 1.1, "{phase}: operations grow from {first_ops:.2} to {last_ops:.2}");
    assert!(last_ms < first_ms * 5.0, "{phase}: time grows from {first_ms:.2} to {last_ms:.2} ms");
}
