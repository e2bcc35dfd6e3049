//! The host is killed repeatedly under load and restarted with its data: every acknowledged delivery is done exactly
//! once.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};

use serde_json::Value;
use sluice_host::stand_in::model::Status;
use sluice_host::stand_in::{Behaviour, StandIn};
use tokio::task::JoinSet;

use crate::data::Data;
use crate::process::Process;
use crate::setup::{DrainTotals, HttpClient, JSON, OPERATOR, TIMEOUT, data_of, eventually, wait_task};

const KILLS: usize = 30;
/// Time between a start and the next kill, in milliseconds.
const UPTIME_MS: std::ops::Range<u64> = 50..850;

/// Starts a host.
fn start_host(data: &Data, engine: &str) -> Process {
    // A request that finds the claim of a killed request waits for a quarter of a second longer than `engine_wait_ms`.
    // With a longer wait, the next kill would cut off most of these requests too.
    let times = [("settings", r#"{"engine_wait_ms":100,"engine_timeout_ms":1000}"#)];
    Process::start(data, &[&times[..], &[("engine_url", engine)]].concat())
}

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Event,
    Idempotent,
    Callback,
}

/// State shared by all tasks.
struct Shared {
    engine: StandIn,
    /// The URL of the running host.
    url: Mutex<String>,
    is_over: AtomicBool,
    /// Number of requests that were cut off and sent again.
    retries: AtomicU64,
    /// Number of the next delivery.
    next: AtomicU64,
}

/// A delivery that was acknowledged with a 2xx.
struct Acknowledged {
    number: u64,
    /// The run of a callback.
    run: Option<String>,
    outcome: String,
}

#[tokio::test(flavor = "multi_thread")]
async fn acknowledged_deliveries_are_done_once_despite_kills() {
    let seed = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().subsec_nanos().into();
    println!("seed {seed}");
    let mut random = Random(seed);
    let engine = StandIn::builder().any_workflow().capacity(100_000).start().await.unwrap();
    // The delay lets a kill hit calls in flight. The engine processes a call even if its caller was killed.
    engine.script().always(Behaviour::Delay { ms: 10 });
    let mut data = Data::that_may_crash();
    let shared = Arc::new(Shared {
        url: Mutex::default(),
        is_over: AtomicBool::new(false),
        retries: AtomicU64::new(0),
        next: AtomicU64::new(0),
        engine,
    });
    let mut process = start_host(&data, &shared.engine.url());
    shared.url.lock().unwrap().clone_from(&process.url);
    let mut senders = JoinSet::new();
    for kind in [Kind::Event, Kind::Idempotent, Kind::Callback].repeat(4) {
        senders.spawn(send_deliveries(kind, shared.clone()));
    }
    let cron = tokio::spawn(drain_periodically(shared.clone()));

    let mut starting = Duration::ZERO;
    for _ in 0..KILLS {
        let uptime = UPTIME_MS.start + random.next() % (UPTIME_MS.end - UPTIME_MS.start);
        tokio::time::sleep(Duration::from_millis(uptime)).await;
        process.kill();
        data.crash();
        let start = Instant::now();
        process = start_host(&data, &shared.engine.url());
        starting += start.elapsed();
        shared.url.lock().unwrap().clone_from(&process.url);
    }
    shared.is_over.store(true, Ordering::Relaxed);
    let acknowledged: Vec<_> = senders.join_all().await.into_iter().flatten().collect();
    cron.await.unwrap();
    let mut outcomes = BTreeMap::<&str, u32>::new();
    for delivery in &acknowledged {
        *outcomes.entry(&delivery.outcome).or_default() += 1;
    }
    println!("{KILLS} kills, {} ms for a restart; outcomes: {outcomes:?}", starting.as_millis() / KILLS as u128);
    let (count, retries) = (acknowledged.len(), shared.retries.load(Ordering::Relaxed));
    assert!(
        count > 10 * KILLS && retries > KILLS as u64 / 2,
        "the load was too low: {count} deliveries, {retries} retries"
    );

    let (totals, duration) = drain_all(&process).await;
    println!("{retries} requests were cut off and sent again; drained in {:.1} s: {totals:?}", duration.as_secs_f64());
    assert_eq!((totals.dead, totals.rejected), (0, 0));
    let list = format!("{}/api/v2/deliveries?state=dead", process.url);
    let dead = HttpClient::new().send("GET", &list, &[OPERATOR], "").await.unwrap();
    assert_eq!(dead.json()["deliveries"], Value::Array(Vec::new()), "no delivery becomes a dead letter");
    assert_done_once(&shared, &acknowledged);
}

/// Drains until nothing is pending. This may take half a minute, because the leases of killed hosts have to expire.
async fn drain_all(process: &Process) -> (DrainTotals, Duration) {
    let (start, client, mut totals) = (Instant::now(), HttpClient::new(), DrainTotals::default());
    let url = format!("{}/api/v2/deliveries/drain", process.url);
    eventually("nothing is pending", async || {
        let pass = client.send("POST", &url, &[OPERATOR], "").await.unwrap().json();
        totals.add(&pass);
        (pass["pending"] == 0).then_some(())
    })
    .await;
    (totals, start.elapsed())
}

/// Sends one delivery after the other, each until it is acknowledged.
async fn send_deliveries(kind: Kind, shared: Arc<Shared>) -> Vec<Acknowledged> {
    let client = HttpClient::new();
    let mut acknowledged = Vec::new();
    while !shared.is_over.load(Ordering::Relaxed) {
        let n = shared.next.fetch_add(1, Ordering::Relaxed);
        let run = (kind == Kind::Callback).then(|| shared.engine.wait("release", "t").unwrap());
        let key = format!("k{n}");
        let (path, header, body) = match kind {
            Kind::Event => (
                "/api/v2/event?ref=w".to_owned(),
                ("x-none", ""),
                format!(r#"{{"specversion":"1.0","id":"{n}","source":"/s","type":"t","data":{{"n":{n}}}}}"#),
            ),
            Kind::Idempotent => {
                ("/api/v2/webhook?ref=w".to_owned(), ("idempotency-key", key.as_str()), format!(r#"{{"n":{n}}}"#))
            }
            Kind::Callback => {
                let path = format!("/api/v2/callback?ref={}&topic=t", run.as_deref().unwrap());
                (path, ("x-none", ""), format!(r#"{{"n":{n}}}"#))
            }
        };
        let outcome = send_until_acknowledged(&shared, &client, &path, header, &body).await;
        acknowledged.push(Acknowledged { number: n, run, outcome });
    }
    acknowledged
}

/// Retries a request until it gets a response, which must be a 2xx, and returns the outcome.
async fn send_until_acknowledged(
    shared: &Shared,
    client: &HttpClient,
    path: &str,
    header: (&str, &str),
    body: &str,
) -> String {
    let start = Instant::now();
    loop {
        let url = format!("{}{path}", shared.url.lock().unwrap());
        if let Ok(reply) = client.send("POST", &url, &[JSON, header], body.to_owned()).await {
            assert!(reply.status.is_success(), "{reply}");
            return reply.header("sluice-outcome").unwrap().to_owned();
        }
        shared.retries.fetch_add(1, Ordering::Relaxed);
        assert!(start.elapsed() < TIMEOUT, "no response to {path} {body}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Drains a few times a second, because drains should be killed too.
async fn drain_periodically(shared: Arc<Shared>) {
    let client = HttpClient::new();
    while !shared.is_over.load(Ordering::Relaxed) {
        let url = format!("{}/api/v2/deliveries/drain", shared.url.lock().unwrap());
        // The result doesn't matter; `assert_done_once` checks the effect.
        let _ = client.send("POST", &url, &[OPERATOR], "").await;
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

/// Asserts that the engine has done every acknowledged delivery exactly once, and nothing else.
fn assert_done_once(shared: &Shared, acknowledged: &[Acknowledged]) {
    let mut started = BTreeMap::<u64, u32>::new();
    let mut resolved = BTreeMap::<String, u64>::new();
    for record in shared.engine.runs() {
        let number = |data: &str| serde_json::from_str::<Value>(data).unwrap()["n"].as_u64().unwrap();
        match wait_task(&record) {
            None => *started.entry(number(&data_of(&record))).or_default() += 1,
            Some(wait) if wait.status == Status::Succeeded => {
                resolved.insert(record.run.id.clone(), number(&wait.results[0].value.to_string()));
            }
            Some(_) => {}
        }
    }
    for Acknowledged { number, run, outcome } in acknowledged {
        match run {
            None => assert_eq!(started.remove(number), Some(1), "runs of delivery {number}, which was {outcome}"),
            Some(run) => {
                assert_eq!(resolved.remove(run), Some(*number), "result of callback {number}, which was {outcome}");
            }
        }
    }
    assert!(started.is_empty() && resolved.is_empty(), "done without acknowledgement: {started:?} {resolved:?}");
    let queries = shared.engine.requests().iter().filter(|request| request.method == "GET").count();
    let count = acknowledged.len();
    println!("{count} deliveries were acknowledged and done once; the engine was queried {queries} times for a run");
}

/// A SplitMix64 generator.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^ (bits >> 31)
    }
}
