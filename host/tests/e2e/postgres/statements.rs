//! Each statement breaks before or after its effect, once or always, on each path: no sender gets a 2xx for a delivery
//! that neither the engine nor the database has, and each that gets one is done once.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use futures_util::stream::{self, StreamExt};
use serde_json::Value;
use sluice_host::spin::postgres::{Call, Fault};
use sluice_host::stand_in::model::Status;
use sluice_host::stand_in::{Behaviour, RequestKind};

use super::server::Database;
use crate::data::{Data, shared_server};
use crate::setup::{DrainTotals, JSON, Setup, eventually, root, wait_task};

/// What breaks: a statement, by the name of its file; `open`; or `any`, for each call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Break {
    call: &'static str,
    is_after: bool,
    is_once: bool,
}

/// The calls that break for senders.
const OF_SENDERS: [&str; 9] =
    ["open", "any", "claim", "promise", "settle", "reschedule", "release", "dead_letter", "find"];
/// The calls that break for drains.
const OF_DRAINS: [&str; 10] =
    ["open", "any", "take", "settle", "reschedule", "move", "counts", "write_note", "clear_note", "sweep"];
/// The calls that break for operators.
const OF_OPERATORS: [&str; 10] =
    ["open", "any", "list", "show", "callbacks", "take_one", "settle", "delete", "notes", "doubt"];

fn breaks(calls: &[&'static str]) -> Vec<Break> {
    let modes = [(false, true), (true, true), (false, false), (true, false)];
    let each = |call: &&'static str| modes.map(|(is_after, is_once)| Break { call, is_after, is_once });
    calls.iter().flat_map(each).collect()
}

/// The names of the statements by their text, and those of the calls that have broken.
#[derive(Clone)]
struct Breaker {
    names: Arc<BTreeMap<String, String>>,
    broken: Arc<Mutex<BTreeSet<String>>>,
}

impl Breaker {
    fn new() -> Self {
        let files = std::fs::read_dir(root().join("src/store/postgres")).unwrap().map(|entry| entry.unwrap().path());
        let statements = files.filter(|file| file.extension().is_some_and(|extension| extension == "sql"));
        let name = |file: &std::path::PathBuf| file.file_stem().unwrap().to_str().unwrap().to_owned();
        let names = statements.map(|file| (std::fs::read_to_string(&file).unwrap(), name(&file))).collect();
        Self { names: Arc::new(names), broken: Arc::default() }
    }

    /// Lets calls of a host break. Once means that its first statement of this name breaks; for `open` and `any`, the
    /// first call. Returns whether one has broken.
    fn inject(&self, setup: &Setup, wanted: Break) -> Arc<AtomicBool> {
        let (breaker, has_broken) = (self.clone(), Arc::new(AtomicBool::new(false)));
        let shared = has_broken.clone();
        setup.host.postgres().inject_faults(move |call| {
            let name = match call {
                Call::Open => "open",
                Call::Query(text) | Call::Execute(text) => breaker.names.get(text).map_or("other", String::as_str),
            };
            let is_wanted = name == wanted.call || wanted.call == "any";
            if !is_wanted || (has_broken.swap(true, Ordering::SeqCst) && wanted.is_once) {
                return None;
            }
            breaker.broken.lock().unwrap().insert(name.to_owned());
            Some(if wanted.is_after { Fault::After } else { Fault::Before })
        });
        shared
    }

    #[track_caller]
    fn assert_broken(&self, calls: &[&str]) {
        let broken = self.broken.lock().unwrap();
        for call in calls.iter().filter(|call| **call != "any") {
            assert!(broken.contains(*call), "{call} never broke: {broken:?}");
        }
    }
}

/// A request. In its path, `N` stands for the number of the case, and `RUN` for a run that waits.
struct Template {
    path: &'static str,
    header: (&'static str, &'static str),
    is_keyed: bool,
}

const NO_HEADER: (&str, &str) = ("x-none", "");
const ASYNC: (&str, &str) = ("prefer", "respond-async");
const BODY: &str = r#"{"specversion":"1.0","id":"e","source":"/s","type":"t"}"#;

const TEMPLATES: [Template; 7] = [
    Template { path: "/api/v2/webhook?ref=wN", header: NO_HEADER, is_keyed: false },
    Template { path: "/api/v2/webhook?ref=wN", header: ASYNC, is_keyed: false },
    Template { path: "/api/v2/webhook?ref=wN", header: ("idempotency-key", "k"), is_keyed: true },
    Template { path: "/api/v2/event?ref=wN", header: NO_HEADER, is_keyed: true },
    Template { path: "/api/v2/event?ref=wN", header: ASYNC, is_keyed: true },
    Template { path: "/api/v2/callback?ref=RUN&topic=t", header: NO_HEADER, is_keyed: true },
    Template { path: "/api/v2/callback?ref=RUN&topic=t", header: ASYNC, is_keyed: true },
];

/// The engine's behaviour while a statement breaks.
fn engines() -> [Option<Behaviour>; 5] {
    [
        None,
        Some(Behaviour::status(503)),
        Some(Behaviour::status(400)),
        Some(Behaviour::CutAfterActing),
        Some(Behaviour::Delay { ms: 150 }),
    ]
}

async fn setup() -> Setup {
    let data = Data::in_postgres(Database::new(&shared_server()));
    Setup::with_data(data, &[("settings", r#"{"engine_wait_ms":100,"engine_timeout_ms":1000}"#)]).await
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs postgresql"]
async fn broken_statements_of_senders_lose_no_acknowledged_delivery() {
    let breaker = Breaker::new();
    let cases = TEMPLATES.iter().flat_map(|template| engines().map(|engine| (template, engine)));
    let cases: Vec<_> = cases.collect();
    stream::iter(cases)
        .for_each_concurrent(6, |(template, engine)| run_template(template, engine, breaker.clone()))
        .await;
    breaker.assert_broken(&OF_SENDERS);
}

/// Sends a request for each break on one host.
async fn run_template(template: &Template, engine: Option<Behaviour>, breaker: Breaker) {
    let setup = setup().await;
    if let Some(behaviour) = &engine {
        setup.engine.script().always(behaviour.clone());
    }
    let is_refused = engine == Some(Behaviour::status(400));
    let mut sent = Vec::new();
    for (n, wanted) in breaks(&OF_SENDERS).into_iter().enumerate() {
        let run = setup.engine.wait("release", "t").unwrap();
        let path = template.path.replace("RUN", &run).replace('N', &n.to_string());
        let case = format!("{} {:?} {wanted:?} {engine:?}", template.path, template.header);
        let send = async || setup.send("POST", &path, &[JSON, template.header], BODY).await.in_case(&case);
        let send_while_broken = async || {
            let has_broken = breaker.inject(&setup, wanted);
            let reply = send().await;
            setup.host.postgres().clear_faults();
            (reply, has_broken.load(Ordering::SeqCst))
        };
        let (mut reply, has_broken) = send_while_broken().await;
        let mut is_ambiguous = false;
        if !(reply.status.is_success() || is_refused && reply.status == 400) {
            assert!(has_broken, "{reply}");
            // A statement that breaks once is repeated. A connection that isn't there is not opened again.
            assert!(!wanted.is_once || ["open", "any"].contains(&wanted.call), "{reply}");
            // The engine may have acted; or a delivery without a key was stored, but nobody knows.
            is_ambiguous = reply.assert_store_problem() | wanted.is_after;
            // The sender retries, and the database works again.
            reply = send().await;
            assert!(reply.status.is_success() || (is_refused && reply.status == 400), "{reply}");
        }
        // One that is refused after a 202 is a dead letter without its key.
        if reply.status.is_success() && template.is_keyed && !is_refused {
            let (repeat, has_broken) = send_while_broken().await;
            if repeat.status.is_success() {
                // A callback that is stored at once doesn't know its task: it may be for another one.
                let may_be_new = template.path.contains("RUN") && template.header == ASYNC;
                let outcome = repeat.header("sluice-outcome");
                assert!(outcome == Some("duplicate") || (may_be_new && outcome == Some("pending")), "{repeat}");
            } else {
                assert!(has_broken && (!wanted.is_once || ["open", "any"].contains(&wanted.call)), "{repeat}");
                repeat.assert_store_problem();
            }
        }
        sent.push((run, reply.status.is_success(), is_ambiguous, case));
    }

    let (setup, totals) = finish(setup).await;
    let runs = setup.engine.runs();
    for (n, (run, is_accepted, is_ambiguous, case)) in sent.iter().enumerate() {
        if template.path.contains("RUN") {
            let record = runs.iter().find(|record| record.run.id == *run).unwrap();
            let is_resolved = wait_task(record).unwrap().status == Status::Succeeded;
            // One that was accepted and then refused by the engine is a dead letter.
            assert!(is_resolved == *is_accepted || is_refused, "{case}");
        } else {
            let started = runs.iter().filter(|record| record.run.workflow_ref == format!("w{n}")).count();
            // After an ambiguous outcome, the retry of a delivery without a key may start a second run.
            let most = if *is_ambiguous && !template.is_keyed { 2 } else { 1 };
            let least = usize::from(*is_accepted && !is_refused);
            assert!((least..=most).contains(&started), "{case}: {started} runs");
        }
    }
    assert!(is_refused || (totals.dead, totals.rejected) == (0, 0), "{totals:?} {engine:?}");
    setup.assert_works().await;
    setup.host.stop().await;
}

/// Drains until nothing is pending. The engine works again, and leases and back-offs are over.
async fn finish(setup: Setup) -> (Setup, DrainTotals) {
    // This waits for attempts that go on after their responses.
    let setup = setup.restart().await;
    setup.engine.script().clear();
    let mut totals = DrainTotals::default();
    eventually("nothing is pending", async || {
        setup.data.postgres().unwrap().advance(60_000);
        let pass = setup.drain().await;
        totals.add(&pass);
        (pass["pending"] == 0).then_some(())
    })
    .await;
    (setup, totals)
}

/// Stores a webhook, an event and a callback. Returns the workflow of the first two, the run of the callback, and the ids
/// of the three deliveries.
async fn store(setup: &Setup, n: usize) -> (String, String, [String; 3]) {
    setup.engine.script().always(Behaviour::status(503));
    let (workflow, run) = (format!("w{n}"), setup.engine.wait("release", "t").unwrap());
    let paths = ["webhook?ref=wN", "event?ref=wN", "callback?ref=RUN&topic=t"];
    let mut ids = [const { String::new() }; 3];
    for (path, id) in paths.into_iter().zip(&mut ids) {
        let path = path.replace("RUN", &run).replace('N', &n.to_string());
        let reply = setup.post(&format!("/api/v2/{path}"), BODY).await;
        reply.assert_stored("pending", !path.starts_with("callback"));
        *id = reply.delivery().to_owned();
    }
    setup.engine.script().clear();
    (workflow, run, ids)
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs postgresql"]
async fn broken_statements_of_drains_neither_lose_nor_repeat_a_delivery() {
    let (setup, breaker) = (setup().await, Breaker::new());
    let (mut stored, mut failed) = (Vec::new(), 0);
    // The engine fails the first request of each kind: with more, each pass waits for the end of its pauses.
    for engine in [None, Some(Behaviour::status(503)), Some(Behaviour::CutAfterActing)] {
        for wanted in breaks(&OF_DRAINS) {
            let case = format!("{wanted:?} {engine:?}");
            stored.push((case.clone(), store(&setup, stored.len()).await));
            let database = setup.data.postgres().unwrap();
            database.advance(60_000);
            // Without them, the drain doesn't spare an engine that was busy a moment ago.
            database.psql("DELETE FROM sluice_note WHERE name IN ('width', 'refusal')");
            if let Some(behaviour) = &engine {
                setup.engine.script().next_on(RequestKind::Submit, behaviour.clone());
                setup.engine.script().next_on(RequestKind::Event, behaviour.clone());
            }
            breaker.inject(&setup, wanted);
            let reply = setup.operator("POST", "/api/v2/deliveries/drain").await.in_case(&case);
            setup.host.postgres().clear_faults();
            setup.engine.script().clear();
            if reply.status != 200 {
                failed += 1;
                assert!(!wanted.is_once || ["open", "any"].contains(&wanted.call), "{reply}");
                reply.assert_problem(503, "store-unavailable");
            }
        }
    }
    assert!(failed > 10, "only {failed} of the passes failed");
    breaker.assert_broken(&OF_DRAINS);

    let (setup, totals) = finish(setup).await;
    assert_eq!((totals.dead, totals.rejected), (0, 0));
    for (case, (workflow, run, _)) in &stored {
        assert_eq!((setup.started(workflow), setup.is_resolved(run)), (2, true), "{case}");
    }
    assert_eq!(setup.deliveries("dead").await, Vec::<Value>::new());
    setup.assert_works().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs postgresql"]
async fn broken_statements_of_operators_are_reported() {
    let (setup, breaker) = (setup().await, Breaker::new());
    let (mut stored, mut failed) = (Vec::new(), 0);
    for wanted in breaks(&OF_OPERATORS) {
        let case = format!("{wanted:?}");
        let (workflow, run, [webhook, event, callback]) = store(&setup, stored.len()).await;
        let mut is_deleted = false;
        for (method, path) in [
            ("GET", "/api/v2/deliveries".to_owned()),
            ("GET", "/api/v2/deliveries?state=dead".to_owned()),
            ("GET", format!("/api/v2/deliveries/{event}")),
            ("GET", format!("/api/v2/callbacks/{run}?topic=t")),
            ("GET", format!("/api/v2/callbacks/{run}")),
            ("GET", "/readyz".to_owned()),
            ("POST", format!("/api/v2/deliveries/{event}/redeliver")),
            ("POST", format!("/api/v2/deliveries/{callback}/redeliver")),
            ("DELETE", format!("/api/v2/deliveries/{webhook}")),
            ("POST", "/api/v2/deliveries/doubt".to_owned()),
        ] {
            breaker.inject(&setup, wanted);
            let reply = setup.operator(method, &path).await.in_case(&case);
            setup.host.postgres().clear_faults();
            if method == "DELETE" && reply.status == 404 && wanted.is_after {
                // The repeated statement finds nothing.
                is_deleted = true;
            } else if !reply.status.is_success() {
                failed += 1;
                reply.assert_problem(503, "store-unavailable");
                if method == "GET" {
                    setup.operator(method, &path).await.in_case(&case).assert_status(200);
                }
                // It may have been deleted nevertheless.
                is_deleted |= method == "DELETE" && setup.operator("GET", &path).await.status == 404;
            } else if method == "DELETE" {
                is_deleted = reply.status == 204;
            }
        }
        stored.push((case, workflow, run, is_deleted));
        setup.get("/readyz").await.assert_status(200);
    }
    assert!(failed > 20, "only {failed} requests failed");
    breaker.assert_broken(&OF_OPERATORS);
    let (setup, _) = finish(setup).await;
    for (case, workflow, run, is_deleted) in &stored {
        let expected = if *is_deleted { 1 } else { 2 };
        assert_eq!((setup.started(workflow), setup.is_resolved(run)), (expected, true), "{case}");
    }
    setup.assert_works().await;
}
