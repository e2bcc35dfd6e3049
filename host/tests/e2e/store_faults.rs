//! Each operation of the store fails in turn, on each path: no sender gets a 2xx for a delivery that neither the engine
//! nor the store has, nothing panics, and the next request works.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use sluice_host::spin::key_value::{Operation, OperationKind};
use sluice_host::spin::outbound::{ErrorCode, Fault};
use sluice_host::stand_in::Behaviour;
use sluice_host::stand_in::model::Status;
use tokio::task::{JoinSet, LocalSet};

use crate::setup::{JSON, Reply, Setup, wait_task};

/// An injected fault: operations of a kind fail on keys with a prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct StoreFault {
    kind: &'static str,
    prefix: &'static str,
    /// Index of the only such operation that fails; `None` if all of them fail.
    nth: Option<usize>,
}

/// The operations that fail, each with a prefix of its key.
const OPERATIONS: [(OperationKind, &str); 28] = [
    (OperationKind::Open, ""),
    (OperationKind::Get, "sluice:form"),
    (OperationKind::Get, "sluice:race"),
    (OperationKind::Get, "sluice:mark"),
    (OperationKind::Get, "sluice:won"),
    (OperationKind::Get, "sluice:done"),
    (OperationKind::Get, "sluice:callback"),
    (OperationKind::Get, "sluice:pending"),
    (OperationKind::Get, "sluice:asked"),
    (OperationKind::Get, "sluice:fault"),
    (OperationKind::Get, "sluice:lease"),
    (OperationKind::Get, "sluice:width"),
    (OperationKind::Exists, "sluice:mark"),
    (OperationKind::Exists, "sluice:void"),
    (OperationKind::Exists, "sluice:notify"),
    (OperationKind::Exists, "sluice:fault"),
    (OperationKind::Set, "sluice:race"),
    (OperationKind::Set, "sluice:mark"),
    (OperationKind::Set, "sluice:won"),
    (OperationKind::Set, "sluice:done"),
    (OperationKind::Set, "sluice:callback"),
    (OperationKind::Set, "sluice:pending"),
    (OperationKind::Set, "sluice:notify"),
    (OperationKind::Set, "sluice:lease"),
    (OperationKind::Set, "sluice:width"),
    (OperationKind::Delete, "sluice:pending"),
    (OperationKind::Delete, "sluice:"),
    (OperationKind::GetKeys, ""),
];

/// The cases: each operation fails the first time, the second time, or always. In the last case, all operations fail.
fn faults() -> Vec<Vec<(OperationKind, StoreFault)>> {
    let fault = |(kind, prefix), nth| (kind, StoreFault { kind: name(kind), prefix, nth });
    let mut faults = Vec::new();
    for nth in [Some(0), Some(1), None] {
        faults.extend(OPERATIONS.map(|operation| vec![fault(operation, nth)]));
    }
    faults.push(OPERATIONS.map(|operation| fault(operation, None)).to_vec());
    faults
}

fn name(kind: OperationKind) -> &'static str {
    match kind {
        OperationKind::Open => "open",
        OperationKind::Get => "get",
        OperationKind::Set => "set",
        OperationKind::Delete => "delete",
        OperationKind::Exists => "exists",
        OperationKind::GetKeys => "get-keys",
    }
}

/// The faults that have occurred so far. A fault that never occurs is a mistake in the table.
#[derive(Clone, Default)]
struct Occurred(Arc<Mutex<BTreeSet<StoreFault>>>);

impl Occurred {
    /// Injects faults into the store of a host, and records those that occur.
    fn inject(&self, setup: &Setup, faults: &[(OperationKind, StoreFault)]) {
        let (faults, occurred) = (faults.to_vec(), self.clone());
        let counts = Mutex::new(vec![0; faults.len()]);
        setup.host.key_value().inject_faults(move |Operation { kind, key, .. }| {
            for (index, (failing_kind, fault)) in faults.iter().enumerate() {
                if kind == *failing_kind && key.unwrap_or_default().starts_with(fault.prefix) {
                    let count = &mut counts.lock().unwrap()[index];
                    *count += 1;
                    if fault.nth.is_none_or(|nth| *count == nth + 1) {
                        occurred.0.lock().unwrap().insert(*fault);
                        return Some("disk full".to_owned());
                    }
                }
            }
            None
        });
    }

    #[track_caller]
    fn assert_all(&self, operations: &[(&str, &str)]) {
        let occurred = self.0.lock().unwrap();
        for (kind, prefix) in operations {
            let has_failed = occurred.iter().any(|fault| (fault.kind, fault.prefix) == (*kind, *prefix));
            assert!(has_failed, "{kind} {prefix} never failed");
        }
    }
}

/// A request. In its path, `N` stands for the number of the case, and `RUN` for a run that waits.
struct Template {
    path: &'static str,
    header: (&'static str, &'static str),
    body: &'static str,
    is_keyed: bool,
}

const NO_HEADER: (&str, &str) = ("x-none", "");
const ASYNC: (&str, &str) = ("prefer", "respond-async");
const BODY: &str = r#"{"specversion":"1.0","id":"e","source":"/s","type":"t"}"#;

const TEMPLATES: [Template; 7] = [
    Template { path: "/api/v2/webhook?ref=wN", header: NO_HEADER, body: "{}", is_keyed: false },
    Template { path: "/api/v2/webhook?ref=wN", header: ASYNC, body: "{}", is_keyed: false },
    Template { path: "/api/v2/webhook?ref=wN", header: ("idempotency-key", "k"), body: "{}", is_keyed: true },
    Template { path: "/api/v2/event?ref=wN", header: NO_HEADER, body: BODY, is_keyed: true },
    Template { path: "/api/v2/event?ref=wN", header: ASYNC, body: BODY, is_keyed: true },
    Template { path: "/api/v2/callback?ref=RUN&topic=t", header: NO_HEADER, body: BODY, is_keyed: true },
    Template { path: "/api/v2/callback?ref=RUN&topic=t", header: ASYNC, body: BODY, is_keyed: true },
];

#[tokio::test(flavor = "multi_thread")]
async fn failing_store_and_working_engine_lose_no_acknowledged_delivery() {
    run_templates(None).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn failing_store_and_busy_engine_lose_no_acknowledged_delivery() {
    run_templates(Some(Behaviour::status(503))).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn failing_store_and_broken_engine_lose_no_acknowledged_delivery() {
    run_templates(Some(Behaviour::CutAfterActing)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn failing_store_and_slow_engine_lose_no_acknowledged_delivery() {
    run_templates(Some(Behaviour::Delay { ms: 150 })).await;
}

/// Runs the templates concurrently, each on its own host, because some requests have to wait for the claims of failed
/// ones.
async fn run_templates(engine: Option<Behaviour>) {
    let occurred = Occurred::default();
    let all = async {
        let mut tasks = JoinSet::new();
        for template in &TEMPLATES {
            tasks.spawn_local(run_template(template, engine.clone(), occurred.clone()));
        }
        while let Some(result) = tasks.join_next().await {
            result.unwrap();
        }
    };
    LocalSet::new().run_until(all).await;
    occurred.assert_all(&[
        ("open", ""),
        ("get", "sluice:form"),
        ("get", "sluice:race"),
        ("set", "sluice:race"),
        ("exists", "sluice:mark"),
        ("set", "sluice:mark"),
        ("set", "sluice:won"),
        ("exists", "sluice:void"),
        ("get", "sluice:mark"),
        ("set", "sluice:done"),
    ]);
    if engine.is_some() {
        occurred.assert_all(&[
            ("set", "sluice:pending"),
            ("exists", "sluice:notify"),
            ("set", "sluice:notify"),
            ("set", "sluice:callback"),
        ]);
    }
}

async fn run_template(template: &Template, engine: Option<Behaviour>, occurred: Occurred) {
    let setup = Setup::with_variables(&[("settings", r#"{"engine_wait_ms":100,"engine_timeout_ms":1000}"#)]).await;
    if let Some(behaviour) = &engine {
        setup.engine.script().always(behaviour.clone());
    }
    let (mut sent, mut failed) = (Vec::new(), 0);
    for (n, fault) in faults().into_iter().enumerate() {
        let run = setup.engine.wait("release", "t").unwrap();
        let path = template.path.replace("RUN", &run).replace('N', &n.to_string());
        let case = format!("{fault:?} {engine:?}");
        let headers = [JSON, template.header];
        let send = async || setup.send("POST", &path, &headers, template.body).await.in_case(&case);
        set_notification(&setup, false).await;
        occurred.inject(&setup, &fault);
        let reply = send().await;
        setup.host.key_value().clear_faults();
        set_notification(&setup, true).await;
        let is_ambiguous = assert_acknowledged_or_problem(&reply);
        if !reply.status.is_success() {
            failed += 1;
            // The sender retries, and the store works again.
            let retry = send().await;
            assert!(retry.status.is_success(), "{retry}");
        }
        sent.push((run, is_ambiguous, format!("{path} {:?} {case}", template.header)));
    }
    // If the store fails, a slow engine can still answer a webhook without a key: the sender then waits for it, even
    // after `engine_wait_ms`.
    let engine_answers = matches!(engine, None | Some(Behaviour::Delay { .. }));
    let needs_store = template.is_keyed || template.header == ASYNC || !engine_answers;
    let failures = format!("{} {:?} {engine:?}: {failed} failed", template.path, template.header);
    assert!((failed > 0) == needs_store, "{failures}");

    setup.engine.script().clear();
    let totals = setup.drain_all().await;
    assert_eq!((totals.dead, totals.rejected), (0, 0), "{failures}");
    let runs = setup.engine.runs();
    for (n, (run, is_ambiguous, case)) in sent.iter().enumerate() {
        let workflow = format!("w{n}");
        if template.path.contains("callback") {
            let record = runs.iter().find(|record| record.run.id == *run).unwrap();
            assert_eq!(wait_task(record).unwrap().status, Status::Succeeded, "{case}");
        } else {
            let started = runs.iter().filter(|record| record.run.workflow_ref == workflow).count();
            // After an ambiguous outcome, the retry of a delivery without a key may start a second run.
            let most = if *is_ambiguous && !template.is_keyed { 2 } else { 1 };
            assert!((1..=most).contains(&started), "{case}: {started} runs");
        }
    }
    setup.assert_works().await;
}

/// Sets the drain notification, as a drain does that leaves something pending, or deletes it, which makes the next
/// stored delivery write it.
async fn set_notification(setup: &Setup, is_set: bool) {
    let store = setup.host.key_value().clone();
    // A separate task, because SQLite uses `block_in_place`, which panics within a `LocalSet`.
    let task = tokio::spawn(async move {
        if is_set {
            store.set("default", "sluice:notify", b"{}".to_vec()).await
        } else {
            store.delete("default", "sluice:notify").await
        }
    });
    task.await.unwrap().unwrap();
}

/// Asserts a 2xx, or a problem that tells the sender what to do; returns whether the engine may have acted.
#[track_caller]
fn assert_acknowledged_or_problem(reply: &Reply) -> bool {
    if reply.status.is_success() {
        return false;
    }
    reply.assert_store_problem()
}

/// Stores a webhook, an event and a callback that are due at once. Returns the workflow of the first two, the run of
/// the callback, and the ids of the three deliveries.
async fn store(setup: &Setup, n: usize) -> (String, String, Vec<String>) {
    setup.host.outbound().inject_faults(|_| Some(Fault::BeforeSend(ErrorCode::ConnectionRefused)));
    let (workflow, run) = (format!("w{n}"), setup.engine.wait("release", "t").unwrap());
    let mut ids = Vec::new();
    for path in ["webhook?ref=wN", "event?ref=wN", "callback?ref=RUN&topic=t"] {
        let path = path.replace("RUN", &run).replace('N', &n.to_string());
        let reply = setup.post(&format!("/api/v2/{path}"), BODY).await;
        reply.assert_stored("pending", !path.starts_with("callback"));
        ids.push(reply.delivery().to_owned());
    }
    setup.host.outbound().clear_faults();
    (workflow, run, ids)
}

/// Releases a lease that its drain couldn't release, and opens the door that it couldn't enter. This test doesn't wait for
/// their ends.
async fn release_lease(setup: &Setup) {
    for name in ["sluice:lease", "sluice:lease-door"] {
        setup.host.key_value().delete("default", name).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn drain_over_a_failing_store_neither_loses_nor_repeats_a_delivery() {
    let setup = Setup::with_variables(&[("settings", r#"{"engine_timeout_ms":500}"#)]).await;
    let (occurred, mut stored, mut failed) = (Occurred::default(), Vec::new(), 0);
    for fault in faults() {
        stored.push(store(&setup, stored.len()).await);
        occurred.inject(&setup, &fault);
        let reply = setup.operator("POST", "/api/v2/deliveries/drain").await.in_case(&format!("{fault:?}"));
        setup.host.key_value().clear_faults();
        if reply.status != 200 {
            failed += 1;
            reply.assert_problem(503, "store-unavailable");
        }
        release_lease(&setup).await;
    }
    assert!(failed > 10, "only {failed} of the passes failed");
    let mut operations = vec![("get-keys", ""), ("open", ""), ("delete", "sluice:pending")];
    operations.extend([("exists", "sluice:notify"), ("exists", "sluice:fault")]);
    for prefix in ["sluice:pending", "sluice:lease", "sluice:done", "sluice:callback"] {
        operations.extend([("get", prefix), ("set", prefix)]);
    }
    occurred.assert_all(&operations);

    setup.drain_all().await;
    for (fault, (workflow, run, _)) in faults().iter().zip(&stored) {
        assert_eq!((setup.started(workflow), setup.is_resolved(run)), (2, true), "{fault:?}");
    }
    assert!(setup.deliveries("dead").await.is_empty());
    setup.assert_works().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn operator_requests_over_a_failing_store_report_the_failure() {
    let setup = Setup::with_variables(&[("settings", r#"{"engine_timeout_ms":500}"#)]).await;
    let (occurred, mut deleted, mut kept, mut failed) = (Occurred::default(), Vec::new(), Vec::new(), 0);
    for (n, fault) in faults().into_iter().enumerate() {
        let (workflow, run, ids) = store(&setup, n).await;
        let [webhook, event, callback] = &ids[..] else { panic!("{ids:?}") };
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
        ] {
            occurred.inject(&setup, &fault);
            let case = format!("{fault:?}");
            let reply = setup.operator(method, &path).await.in_case(&case);
            setup.host.key_value().clear_faults();
            if !reply.status.is_success() {
                failed += 1;
                reply.assert_problem(503, "store-unavailable");
                if method == "GET" {
                    setup.operator(method, &path).await.in_case(&case).assert_status(200);
                }
            } else if method == "DELETE" {
                is_deleted = reply.status == 204;
            }
            release_lease(&setup).await;
        }
        let workflows = if is_deleted { &mut deleted } else { &mut kept };
        workflows.push(workflow);
        setup.get("/readyz").await.in_case(&format!("after {fault:?}")).assert_status(200);
    }
    assert!(failed > 20 && !kept.is_empty(), "only {failed} requests failed");
    occurred.assert_all(&[("get", "sluice:fault")]);
    setup.drain_all().await;
    for workflow in &deleted {
        assert_eq!(setup.started(workflow), 1, "{workflow}: only the event starts a run");
    }
    for workflow in &kept {
        let runs = setup.started(workflow);
        assert!(
            (1..=2).contains(&runs),
            "{workflow}: {runs} runs of the event, and of the webhook if it wasn't deleted"
        );
    }
    setup.assert_works().await;
}
