//! The host is killed again and again under load, and started over its data: what was promised is kept, and done once.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};

use serde_json::Value;
use sluice_host::stand_in::{Behaviour, StandIn, Status};
use tokio::task::JoinSet;

use crate::data::Data;
use crate::setup::{HttpClient, JSON, Moved, OPERATOR, PATIENCE, poll, root};

const KILLS: usize = 30;
/// It is killed so long after it is up, in milliseconds.
const ALIVE: std::ops::Range<u64> = 50..850;

/// The real host, as a process of its own.
struct Process {
    child: Child,
    url: String,
}

impl Process {
    fn start(data: &Data, engine: &str) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_sluice-host"))
            .arg("--from")
            .arg(root().join("spin.toml"))
            .arg("--state-dir")
            .arg(data.state())
            .args(["--listen", "127.0.0.1:0", "--variable", "operator_token=op3rator"])
            // Who meets the claim of one that was killed waits a little longer than this: it has to be answered before
            // the next kill, or all senders would soon do nothing else.
            .args(["--variable", "engine_wait_ms=100", "--variable", "engine_timeout_ms=1000"])
            .args(["--variable", &format!("engine_url={engine}")])
            .args(data.runtime_config().iter().flat_map(|file| [OsStr::new("--runtime-config-file"), file.as_os_str()]))
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let url = lines.find_map(|line| Some(line.unwrap().strip_prefix("Serving ")?.to_owned()));
        // The log is read to its end, or the host would wait for whoever reads it.
        std::thread::spawn(move || lines.for_each(drop));
        Self { child, url: url.expect("it ended before it served") }
    }

    /// SIGKILL.
    fn kill(mut self) {
        assert!(self.child.try_wait().unwrap().is_none(), "it ended by itself");
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

/// A test that fails leaves no process.
impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Event,
    Idempotent,
    Callback,
}

/// What all share.
struct World {
    engine: StandIn,
    url: Mutex<String>,
    over: AtomicBool,
    retries: AtomicU64,
    next: AtomicU64,
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_promised_before_a_kill_is_done_once_after_it() {
    let seed = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().subsec_nanos().into();
    println!("seed {seed}");
    let mut random = Random(seed);
    let engine = StandIn::builder().keep(100_000).start().await.unwrap();
    // So long a call is under way; the engine acts even if the caller is dead by then.
    engine.script().always(Behaviour::Delay { ms: 10 });
    let mut data = Data::new();
    let world = World {
        url: Mutex::default(),
        over: AtomicBool::new(false),
        retries: AtomicU64::new(0),
        next: AtomicU64::new(0),
        engine,
    };
    let world = Arc::new(world);
    let mut process = Process::start(&data, &world.engine.url());
    world.url.lock().unwrap().clone_from(&process.url);
    let mut senders = JoinSet::new();
    for kind in [Kind::Event, Kind::Idempotent, Kind::Callback].repeat(4) {
        senders.spawn(load(kind, world.clone()));
    }
    let cron = tokio::spawn(cron(world.clone()));

    let mut starting = Duration::ZERO;
    for _ in 0..KILLS {
        let alive = ALIVE.start + random.next() % (ALIVE.end - ALIVE.start);
        tokio::time::sleep(Duration::from_millis(alive)).await;
        process.kill();
        data.crash();
        let start = Instant::now();
        process = Process::start(&data, &world.engine.url());
        starting += start.elapsed();
        world.url.lock().unwrap().clone_from(&process.url);
    }
    world.over.store(true, Ordering::Relaxed);
    let promised: Vec<_> = senders.join_all().await.into_iter().flatten().collect();
    cron.await.unwrap();
    let told = promised.iter().fold(BTreeMap::<&str, u32>::new(), |mut told, (_, _, outcome)| {
        *told.entry(outcome.as_str()).or_default() += 1;
        told
    });
    println!("{KILLS} kills, {} ms to start again; told {told:?}", starting.as_millis() / KILLS as u128);
    let retries = world.retries.load(Ordering::Relaxed);
    assert!(promised.len() > 10 * KILLS && retries > KILLS as u64 / 2, "it was hardly under load: {retries} retries");

    let (moved, waited) = drain(&process).await;
    println!("{retries} were cut and sent again; drained after {:.1} s: {moved:?}", waited.as_secs_f64());
    assert_eq!((moved.dead, moved.rejected), (0, 0));
    let list = format!("{}/api/v2/deliveries?state=dead", process.url);
    let dead = HttpClient::new().send("GET", &list, &[OPERATOR], "").await.unwrap();
    assert_eq!(dead.json()["deliveries"], Value::Array(Vec::new()), "nothing is given up");
    judge(&world, &promised);
}

/// Passes until nothing is pending; one that was killed keeps its lease for half a minute.
async fn drain(process: &Process) -> (Moved, Duration) {
    let (start, client, mut moved) = (Instant::now(), HttpClient::new(), Moved::default());
    let url = format!("{}/api/v2/deliveries/drain", process.url);
    poll("nothing is pending", async || {
        let pass = client.send("POST", &url, &[OPERATOR], "").await.unwrap().json();
        moved.add(&pass);
        (pass["pending"] == 0).then_some(())
    })
    .await;
    (moved, start.elapsed())
}

/// Sends one after the other, each until there is an answer; gives what was promised: its number, its run where it is a
/// callback, and how.
async fn load(kind: Kind, world: Arc<World>) -> Vec<(u64, Option<String>, String)> {
    let client = HttpClient::new();
    let mut promised = Vec::new();
    while !world.over.load(Ordering::Relaxed) {
        let n = world.next.fetch_add(1, Ordering::Relaxed);
        let run = (kind == Kind::Callback).then(|| world.engine.wait("release", "t"));
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
        let outcome = answered(&world, &client, &path, header, &body).await;
        promised.push((n, run, outcome));
    }
    promised
}

/// Sends it until there is an answer, which is a promise; gives the outcome.
async fn answered(world: &World, client: &HttpClient, path: &str, header: (&str, &str), body: &str) -> String {
    let start = Instant::now();
    loop {
        let url = format!("{}{path}", world.url.lock().unwrap());
        if let Ok(reply) = client.send("POST", &url, &[JSON, header], body.to_owned()).await {
            assert!(reply.status.is_success(), "{path} {body}: {} {}", reply.status, reply.text());
            return reply.header("sluice-outcome").unwrap().to_owned();
        }
        world.retries.fetch_add(1, Ordering::Relaxed);
        assert!(start.elapsed() < PATIENCE, "no answer to {path} {body}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Drains now and then, so that drains are killed too.
async fn cron(world: Arc<World>) {
    let client = HttpClient::new();
    while !world.over.load(Ordering::Relaxed) {
        let url = format!("{}/api/v2/deliveries/drain", world.url.lock().unwrap());
        // What came of it is judged in the end.
        let _ = client.send("POST", &url, &[OPERATOR], "").await;
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

/// Each that was promised was done exactly once, and nothing else was done.
fn judge(world: &World, promised: &[(u64, Option<String>, String)]) {
    let mut started = BTreeMap::<u64, u32>::new();
    let mut resolved = BTreeMap::<String, u64>::new();
    for run in world.engine.runs() {
        let number = |data: &str| serde_json::from_str::<Value>(data).unwrap()["n"].as_u64().unwrap();
        match run.waits.first() {
            None => {
                let data = run.params.iter().find(|param| param.name == "data").unwrap();
                *started.entry(number(data.value.get())).or_default() += 1;
            }
            Some(wait) if wait.status == Status::Succeeded => {
                resolved.insert(run.id, number(wait.results[0].value.get()));
            }
            Some(_) => {}
        }
    }
    for (n, run, outcome) in promised {
        match run {
            None => assert_eq!(started.remove(n), Some(1), "{n}, told {outcome}: runs"),
            Some(run) => assert_eq!(resolved.remove(run), Some(*n), "{n}, told {outcome}"),
        }
    }
    assert!(started.is_empty() && resolved.is_empty(), "nobody was promised these: {started:?} {resolved:?}");
    let asked = world.engine.requests().iter().filter(|request| request.method == "GET").count();
    println!("{} promised and done once; the engine was asked {asked} times whether it has the run", promised.len());
}

/// SplitMix64.
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
