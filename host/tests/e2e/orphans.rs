//! Runs that the engine has saved and never starts: each accepted event has exactly one run that runs or ran, or is a
//! dead letter.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use sluice_host::stand_in::StandIn;
use sluice_host::stand_in::model::Status;
use tokio::task::JoinSet;

use crate::data::Data;
use crate::setup::{HttpClient, JSON, ReservedPort, Setup, eventually};

const KILLS: usize = 50;
const SENDERS: usize = 4;
/// The workflow `waits` of the stand-in's catalogue.
const WAITS: &str = "6b08ce3a2bb126dc8dc5a8a6";
/// The workflow `shell`, whose task has no image.
const IMAGELESS: &str = "6b08ce3a2bb126dc8dc5a8a8";

/// The writes of a submit, in their order. The workflow has three tasks.
fn steps() -> [Value; 9] {
    [
        json!("RunSaved"),
        json!({"TasksSaved": 1}),
        json!({"TasksSaved": 2}),
        json!({"TasksSaved": 3}),
        json!("RunQueued"),
        json!("RunStarted"),
        json!("TaskReady"),
        json!("TaskRunning"),
        json!("TaskWaiting"),
    ]
}

/// The stand-in in a process of its own, with its database in a file.
struct Engine {
    child: Child,
    url: String,
}

impl Engine {
    async fn start(addr: SocketAddr, state: &Path) -> Self {
        let child = Command::new(env!("CARGO_BIN_EXE_stand-in"))
            .args(["--listen", &addr.to_string(), "--services", "engine", "--state"])
            .arg(state)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let (client, url) = (HttpClient::new(), format!("http://{addr}"));
        eventually("the stand-in serves", async || {
            client.send("GET", &format!("{url}/stand-in/requests"), &[], "").await.ok()
        })
        .await;
        Self { child, url }
    }

    /// Lets the process abort after the next write of this kind, and waits for that.
    async fn die_at(&mut self, step: &Value) {
        let order = json!({"at": step, "abort": true}).to_string();
        let reply = HttpClient::new().send("POST", &format!("{}/stand-in/die", self.url), &[JSON], order).await;
        reply.unwrap().assert_status(204);
        eventually(&format!("the stand-in dies at {step}"), async || self.child.try_wait().unwrap()).await;
    }

    async fn runs(&self) -> Vec<Value> {
        let reply = HttpClient::new().send("GET", &format!("{}/stand-in/runs", self.url), &[], "").await.unwrap();
        reply.json()["runs"].as_array().unwrap().clone()
    }
}

/// Stops the stand-in even if the test fails.
impl Drop for Engine {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// State shared by all tasks.
struct Shared {
    setup: Setup,
    is_over: AtomicBool,
    /// Number of the next event.
    next: AtomicU64,
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_engine_leaves_one_run_for_each_event() {
    let start = Instant::now();
    let (port, directory) = (ReservedPort::new(), tempfile::tempdir().unwrap());
    let state = directory.path().join("state");
    let mut engine = Engine::start(port.addr(), &state).await;
    let settings =
        json!({"engine_start": true, "engine_wait_ms": 200, "engine_timeout_ms": 500, "orphan_after_ms": 5_000});
    let variables = [("engine_url", port.url()), ("settings", settings.to_string())];
    let variables = variables.each_ref().map(|(name, value)| (*name, value.as_str()));
    let setup = Setup::with_variables(&variables).await;
    let shared = Arc::new(Shared { setup, is_over: AtomicBool::new(false), next: AtomicU64::new(0) });
    let mut senders = JoinSet::new();
    for _ in 0..SENDERS {
        senders.spawn(send_events(shared.clone()));
    }
    let cron = tokio::spawn(drain_periodically(shared.clone()));

    for step in steps().iter().cycle().take(KILLS) {
        engine.die_at(step).await;
        engine = Engine::start(port.addr(), &state).await;
    }
    shared.is_over.store(true, Ordering::Relaxed);
    let accepted: Vec<u64> = senders.join_all().await.into_iter().flatten().collect();
    cron.await.unwrap();
    let loaded = start.elapsed();
    assert_eq!(shared.setup.drain_all().await.rejected, 0);
    // An event whose second submit was hit by a later kill, too, is left to the operator.
    let dead = shared.setup.deliveries("dead").await;
    for letter in &dead {
        let failure = letter["last_failure"].as_str().unwrap();
        assert!(failure.contains("started none of them"), "{letter}");
        let path = format!("/api/v2/deliveries/{}/redeliver", letter["id"].as_str().unwrap());
        assert!(shared.setup.operator("POST", &path).await.status.is_success(), "{letter}");
    }
    let totals = shared.setup.drain_all().await;
    assert_eq!((totals.dead, totals.rejected), (0, 0));
    assert_eq!(shared.setup.deliveries("dead").await, Vec::<Value>::new());
    let ready = shared.setup.get("/readyz").await;
    assert_eq!(ready.json(), json!({"status": "ready"}), "two runs of one delivery would be reported here");

    let mut runs = BTreeMap::<u64, Vec<String>>::new();
    for run in engine.runs().await {
        let params = run["params"].as_array().unwrap();
        let Some(n) = params.iter().find(|param| param["name"] == "n") else { panic!("{run}") };
        // A param that the workflow doesn't declare becomes a text when the run is queued.
        let n = n["value"].to_string().trim_matches('"').parse().unwrap();
        runs.entry(n).or_default().push(run["status"].as_str().unwrap().to_owned());
    }
    let mut statuses = BTreeMap::<&str, u32>::new();
    for n in &accepted {
        let of_event = runs.get(n).map_or(&[][..], Vec::as_slice);
        of_event.iter().for_each(|status| *statuses.entry(status).or_default() += 1);
        // Every other status is that of a run that was started, or will be by an agent.
        let count = of_event.iter().filter(|status| !["notstarted", "cancelled"].contains(&status.as_str())).count();
        assert_eq!(count, 1, "runs of event {n}: {of_event:?}");
    }
    assert_eq!(runs.len(), accepted.len(), "runs of events that were not accepted");
    assert!(accepted.len() > 4 * KILLS, "the load was too low: {} events", accepted.len());
    assert!(statuses.contains_key("cancelled"), "no kill has left an orphan behind");
    println!(
        "{KILLS} kills, {} events in {:.1} s, drained after {:.1} s; {} were hit twice; runs: {statuses:?}",
        accepted.len(),
        loaded.as_secs_f64(),
        start.elapsed().as_secs_f64(),
        dead.len(),
    );
}

/// Sends one event after the other, each with another number, and returns the numbers. Each must be accepted.
async fn send_events(shared: Arc<Shared>) -> Vec<u64> {
    let mut accepted = Vec::new();
    while !shared.is_over.load(Ordering::Relaxed) {
        let n = shared.next.fetch_add(1, Ordering::Relaxed);
        let event = format!(r#"{{"specversion":"1.0","id":"{n}","source":"/s","type":"t","data":{{"n":{n}}}}}"#);
        let reply = shared.setup.post(&format!("/api/v2/event?ref={WAITS}"), event).await;
        assert!(reply.status.is_success(), "{reply}");
        accepted.push(n);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    accepted
}

async fn drain_periodically(shared: Arc<Shared>) {
    while !shared.is_over.load(Ordering::Relaxed) {
        shared.setup.drain().await;
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn imageless_workflow_is_a_dead_letter_that_names_its_runs() {
    let variables = [("settings", r#"{"engine_start":true,"engine_timeout_ms":500}"#)];
    let setup = Setup::with_engine(Data::new(), StandIn::builder().start().await.unwrap(), &variables).await;
    let reply = setup.post(&format!("/api/v2/webhook?ref={IMAGELESS}"), r#"{"ref":"main"}"#).await;
    reply.assert_stored("pending", true);
    let totals = setup.drain_all().await;
    assert_eq!((totals.delivered, totals.dead), (0, 1));

    let dead = setup.operator("GET", reply.header("location").unwrap()).await;
    assert_eq!(dead.json()["state"], "dead", "{dead}");
    let failure = dead.json()["last_failure"].as_str().unwrap().to_owned();
    let runs = setup.engine.runs();
    assert_eq!(runs.len(), 2, "it is submitted again once: {runs:?}");
    assert!(runs.iter().all(|record| failure.contains(&record.run.id)), "{failure}");
    assert!(failure.contains("image"), "{failure}");
    let states: Vec<_> = runs.iter().map(|record| record.run.status).collect();
    assert_eq!(states[0], Status::Cancelled, "{states:?}");
    assert!(states.iter().all(|state| [Status::Cancelled, Status::NotStarted].contains(state)), "{states:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn imageless_workflow_starts_with_a_default_image() {
    let engine = || async { StandIn::builder().start().await.unwrap() };
    let image = r#"{"engine_start":true,"engine":{"default_image":"boomerangio/worker-flow:2.11.15"}}"#;
    for (workflow, variables) in [
        (IMAGELESS, &[("settings", image)][..]),
        (
            "shell",
            // Flow adds its own default.
            &[
                ("engine", "flow"),
                ("engine_token", "bft_ACME"),
                ("settings", r#"{"engine_start":true,"engine":{"team":"acme"}}"#),
            ],
        ),
    ] {
        let setup = Setup::with_engine(Data::new(), engine().await, variables).await;
        let reply = setup.post(&format!("/api/v2/webhook?ref={workflow}"), r#"{"ref":"main"}"#).await;
        reply.assert_ok("delivered");
        let runs = setup.engine.runs();
        assert_eq!(runs.len(), 1, "{runs:?}");
        assert_eq!(runs[0].run.status, Status::Running, "{runs:?}");
    }
}
