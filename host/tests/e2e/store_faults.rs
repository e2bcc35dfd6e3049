//! Each operation of the store fails in turn, on each path: nobody is promised anything without the engine or the store,
//! nothing panics, and the next request works.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use sluice_host::spin::key_value::{Kind, Operation};
use sluice_host::spin::outbound::{ErrorCode, Fault};
use sluice_host::stand_in::{Behaviour, Status};
use tokio::task::{JoinSet, LocalSet};

use crate::setup::{JSON, OPERATOR, Reply, Setup};

/// An operation on a key that begins so fails: the first of a request, the second, or all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Fails {
    kind: &'static str,
    on: &'static str,
    nth: Option<usize>,
}

const ON: [(Kind, &str); 21] = [
    (Kind::Open, ""),
    (Kind::Get, "sluice/door"),
    (Kind::Get, "sluice/flag"),
    (Kind::Get, "sluice/done"),
    (Kind::Get, "sluice/callback"),
    (Kind::Get, "sluice/pending"),
    (Kind::Get, "sluice/fault"),
    (Kind::Get, "sluice/lease"),
    (Kind::Exists, "sluice/flag"),
    (Kind::Exists, "sluice/hint"),
    (Kind::Exists, "sluice/fault"),
    (Kind::Set, "sluice/door"),
    (Kind::Set, "sluice/flag"),
    (Kind::Set, "sluice/done"),
    (Kind::Set, "sluice/callback"),
    (Kind::Set, "sluice/pending"),
    (Kind::Set, "sluice/hint"),
    (Kind::Set, "sluice/lease"),
    (Kind::Delete, "sluice/pending"),
    (Kind::Delete, "sluice/"),
    (Kind::GetKeys, ""),
];

/// All that may fail, and everything at once.
fn faults() -> Vec<Vec<(Kind, Fails)>> {
    let mut faults = Vec::new();
    for nth in [Some(0), Some(1), None] {
        let fails = |(kind, on)| (kind, Fails { kind: name(kind), on, nth });
        faults.extend(ON.map(|one| vec![fails(one)]));
    }
    faults.push(ON.map(|(kind, on)| (kind, Fails { kind: name(kind), on, nth: None })).to_vec());
    faults
}

fn name(kind: Kind) -> &'static str {
    match kind {
        Kind::Open => "open",
        Kind::Get => "get",
        Kind::Set => "set",
        Kind::Delete => "delete",
        Kind::Exists => "exists",
        Kind::GetKeys => "get-keys",
    }
}

/// What has failed so far: a row of the table that never fails anything is a mistake in the table.
#[derive(Clone, Default)]
struct Seen(Arc<Mutex<BTreeSet<Fails>>>);

impl Seen {
    fn order(&self, setup: &Setup, fault: &[(Kind, Fails)]) {
        let (fault, seen) = (fault.to_vec(), self.clone());
        let counts = Mutex::new(vec![0; fault.len()]);
        setup.host.key_value().fail(move |Operation { kind, key, .. }| {
            for (at, (wanted, fails)) in fault.iter().enumerate() {
                if kind == *wanted && key.unwrap_or_default().starts_with(fails.on) {
                    let count = &mut counts.lock().unwrap()[at];
                    *count += 1;
                    if fails.nth.is_none_or(|nth| *count == nth + 1) {
                        seen.0.lock().unwrap().insert(*fails);
                        return Some("disk full".to_owned());
                    }
                }
            }
            None
        });
    }

    #[track_caller]
    fn assert_all(&self, kinds: &[(&str, &str)]) {
        let seen = self.0.lock().unwrap();
        for (kind, on) in kinds {
            assert!(seen.iter().any(|fails| (fails.kind, fails.on) == (*kind, *on)), "{kind} {on} never failed");
        }
    }
}

/// In each text `N` stands for a number that is another each time, `RUN` for a run that waits.
struct Sent {
    path: &'static str,
    header: (&'static str, &'static str),
    body: &'static str,
    is_keyed: bool,
}

const NONE: (&str, &str) = ("x-none", "");
const ASYNC: (&str, &str) = ("prefer", "respond-async");
const BODY: &str = r#"{"specversion":"1.0","id":"e","source":"/s","type":"t"}"#;

const SENT: [Sent; 7] = [
    Sent { path: "/api/v2/webhook?ref=wN", header: NONE, body: "{}", is_keyed: false },
    Sent { path: "/api/v2/webhook?ref=wN", header: ASYNC, body: "{}", is_keyed: false },
    Sent { path: "/api/v2/webhook?ref=wN", header: ("idempotency-key", "k"), body: "{}", is_keyed: true },
    Sent { path: "/api/v2/event?ref=wN", header: NONE, body: BODY, is_keyed: true },
    Sent { path: "/api/v2/event?ref=wN", header: ASYNC, body: BODY, is_keyed: true },
    Sent { path: "/api/v2/callback?ref=RUN&topic=t", header: NONE, body: BODY, is_keyed: true },
    Sent { path: "/api/v2/callback?ref=RUN&topic=t", header: ASYNC, body: BODY, is_keyed: true },
];

#[tokio::test(flavor = "multi_thread")]
async fn nobody_is_promised_what_a_well_engine_and_a_failing_store_do_not_hold() {
    senders(None).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_is_promised_what_a_busy_engine_and_a_failing_store_do_not_hold() {
    senders(Some(Behaviour::status(503))).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_is_promised_what_a_broken_engine_and_a_failing_store_do_not_hold() {
    senders(Some(Behaviour::CutAfterActing)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_is_promised_what_a_slow_engine_and_a_failing_store_do_not_hold() {
    senders(Some(Behaviour::Delay { ms: 150 })).await;
}

/// Each path on a host of its own: who meets the claim of one that failed waits a while, so it takes less time together.
async fn senders(engine: Option<Behaviour>) {
    let seen = Seen::default();
    let together = async {
        let mut at_work = JoinSet::new();
        for sent in &SENT {
            at_work.spawn_local(sender(sent, engine.clone(), seen.clone()));
        }
        while let Some(done) = at_work.join_next().await {
            done.unwrap();
        }
    };
    LocalSet::new().run_until(together).await;
    let claims = ["sluice/door", "sluice/flag"].into_iter().flat_map(|on| [("get", on), ("set", on)]);
    let claims: Vec<_> = claims.chain([("exists", "sluice/flag"), ("set", "sluice/done"), ("open", "")]).collect();
    seen.assert_all(&claims);
    if engine.is_some() {
        seen.assert_all(&[
            ("set", "sluice/pending"),
            ("exists", "sluice/hint"),
            ("set", "sluice/hint"),
            ("set", "sluice/callback"),
        ]);
    }
}

async fn sender(sent: &Sent, engine: Option<Behaviour>, seen: Seen) {
    let setup = Setup::with(&[("engine_wait_ms", "100"), ("engine_timeout_ms", "1000")]).await;
    if let Some(behaviour) = &engine {
        setup.engine.script().always(behaviour.clone());
    }
    let (mut brought, mut refused) = (Vec::new(), 0);
    for (n, fault) in faults().into_iter().enumerate() {
        let run = setup.engine.wait("release", "t");
        let path = sent.path.replace("RUN", &run).replace('N', &n.to_string());
        let headers = [JSON, sent.header];
        let send = || setup.send("POST", &path, &headers, sent.body);
        hint(&setup, false).await;
        seen.order(&setup, &fault);
        let reply = send().await;
        setup.host.key_value().heal();
        hint(&setup, true).await;
        let context = format!("{path} {:?} {fault:?} {engine:?}", sent.header);
        let unclear = told(&reply, &context);
        if !reply.status.is_success() {
            refused += 1;
            // As its sender would, and the store is well.
            let again = send().await;
            assert!(again.status.is_success(), "{context}: {} {}", again.status, again.text());
        }
        brought.push((run, unclear, context));
    }
    // A plain webhook's sender waits for an engine that is only slow.
    let answers = matches!(engine, None | Some(Behaviour::Delay { .. }));
    let needs_store = sent.is_keyed || sent.header == ASYNC || !answers;
    assert!((refused > 0) == needs_store, "{} {:?} {engine:?}: {refused} were refused", sent.path, sent.header);

    setup.engine.script().clear();
    let moved = setup.drain_all().await;
    assert_eq!((moved.dead, moved.rejected), (0, 0));
    let runs = setup.engine.runs();
    for (n, (run, unclear, context)) in brought.iter().enumerate() {
        let workflow = format!("w{n}");
        if sent.path.contains("callback") {
            let waits = &runs.iter().find(|other| other.id == *run).unwrap().waits;
            assert_eq!(waits[0].status, Status::Succeeded, "{context}");
        } else {
            let started = runs.iter().filter(|run| run.workflow_ref == workflow).count();
            // Who is told that the engine may have acted, and has no key, may act twice.
            let most = if *unclear && !sent.is_keyed { 2 } else { 1 };
            assert!((1..=most).contains(&started), "{context}: {started} runs");
        }
    }
    setup.assert_works().await;
}

/// Takes the hint away, so that it is to be written, or puts it back: as a drain does that leaves something pending.
async fn hint(setup: &Setup, there: bool) {
    let store = setup.host.key_value().clone();
    // SQLite can't be waited for in a `LocalSet`.
    let done = tokio::spawn(async move {
        match there {
            true => store.set("default", "sluice/hint", b"{}".to_vec()).await,
            false => store.delete("default", "sluice/hint").await,
        }
    });
    done.await.unwrap().unwrap();
}

/// A promise, or a problem that says what to do; gives whether the engine may have acted.
#[track_caller]
fn told(reply: &Reply, context: &str) -> bool {
    if reply.status.is_success() {
        return false;
    }
    let slug = reply.json()["type"].as_str().unwrap().rsplit('/').next().unwrap().to_owned();
    match slug.as_str() {
        "store-unavailable" => reply.assert_problem(503, "store-unavailable"),
        "engine-unclear" => reply.assert_problem(502, "engine-unclear"),
        other => panic!("{context}: {other} {}", reply.text()),
    }
    assert_eq!(reply.header("sluice-outcome"), None, "{context}");
    slug == "engine-unclear"
}

/// Stores a webhook, an event and a callback, which are due at once; gives their workflow and their run.
async fn store(setup: &Setup, n: usize) -> (String, String, Vec<String>) {
    setup.host.outbound().fail(|_| Some(Fault::BeforeSend(ErrorCode::ConnectionRefused)));
    let (workflow, run) = (format!("w{n}"), setup.engine.wait("release", "t"));
    let mut ids = Vec::new();
    for path in ["webhook?ref=wN", "event?ref=wN", "callback?ref=RUN&topic=t"] {
        let path = path.replace("RUN", &run).replace('N', &n.to_string());
        let reply = setup.post(&format!("/api/v2/{path}"), BODY).await;
        reply.assert_stored("pending", !path.starts_with("callback"));
        ids.push(reply.delivery().to_owned());
    }
    setup.host.outbound().heal();
    (workflow, run, ids)
}

fn started(setup: &Setup, workflow: &str) -> usize {
    setup.engine.runs().iter().filter(|run| run.workflow_ref == workflow).count()
}

fn is_resolved(setup: &Setup, run: &str) -> bool {
    setup.engine.runs().iter().any(|other| other.id == run && other.waits[0].status == Status::Succeeded)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drain_over_a_failing_store_loses_nothing_and_sends_nothing_twice() {
    let setup = Setup::with(&[("engine_timeout_ms", "500")]).await;
    let (seen, mut stored, mut failed) = (Seen::default(), Vec::new(), 0);
    for fault in faults() {
        stored.push(store(&setup, stored.len()).await);
        seen.order(&setup, &fault);
        let reply = setup.operate("POST", "/api/v2/deliveries/drain").await;
        setup.host.key_value().heal();
        if reply.status != 200 {
            failed += 1;
            reply.assert_problem(503, "store-unavailable");
        }
        // One that could not give back its lease keeps it for half a minute; that is not what is tried here.
        setup.host.key_value().delete("default", "sluice/lease").await.unwrap();
    }
    assert!(failed > 10, "only {failed} of the passes failed");
    let mut used = vec![("get-keys", ""), ("open", ""), ("delete", "sluice/pending")];
    used.extend([("exists", "sluice/hint"), ("exists", "sluice/fault")]);
    for on in ["sluice/pending", "sluice/lease", "sluice/done", "sluice/callback"] {
        used.push(("get", on));
    }
    for on in ["sluice/pending", "sluice/lease", "sluice/done", "sluice/callback"] {
        used.push(("set", on));
    }
    seen.assert_all(&used);

    setup.drain_all().await;
    for (at, (workflow, run, _)) in stored.iter().enumerate() {
        assert_eq!((started(&setup, workflow), is_resolved(&setup, run)), (2, true), "{:?}", faults()[at]);
    }
    assert!(setup.stored("dead").await.is_empty());
    setup.assert_works().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_over_a_failing_store_is_told_so() {
    let setup = Setup::with(&[("engine_timeout_ms", "500")]).await;
    let (seen, mut forgotten, mut kept, mut failed) = (Seen::default(), Vec::new(), Vec::new(), 0);
    for (number, fault) in faults().into_iter().enumerate() {
        let (workflow, run, ids) = store(&setup, number).await;
        let [webhook, event, callback] = &ids[..] else { panic!("{ids:?}") };
        let mut deleted = None;
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
        ] {
            seen.order(&setup, &fault);
            let reply = setup.send(method, &path, &[OPERATOR], "").await;
            setup.host.key_value().heal();
            if !reply.status.is_success() {
                failed += 1;
                reply.assert_problem(503, "store-unavailable");
                if method == "GET" {
                    let again = setup.send(method, &path, &[OPERATOR], "").await;
                    assert_eq!(again.status, 200, "{path} {fault:?}: {}", again.text());
                }
            } else if method == "DELETE" {
                deleted = Some(reply.status == 204);
            }
            setup.host.key_value().delete("default", "sluice/lease").await.unwrap();
        }
        if deleted == Some(true) {
            forgotten.push(workflow);
        } else {
            kept.push(workflow);
        }
        assert_eq!(setup.get("/readyz").await.status, 200);
    }
    assert!(failed > 20 && !kept.is_empty(), "only {failed} failed");
    seen.assert_all(&[("get", "sluice/fault")]);
    setup.drain_all().await;
    for workflow in &forgotten {
        assert_eq!(started(&setup, workflow), 1, "{workflow}: the event alone");
    }
    for workflow in &kept {
        assert!((1..=2).contains(&started(&setup, workflow)), "{workflow}: the event, and the webhook if it was kept");
    }
    setup.assert_works().await;
}
