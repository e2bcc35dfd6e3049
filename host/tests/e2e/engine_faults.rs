//! The engine is down, slow, wrong: no one is kept waiting, the operator is told, and the next request works. What
//! becomes of each delivery is in `fault_matrix`.

use std::time::{Duration, Instant};

use chrono::DateTime;
use serde_json::json;
use sluice_host::stand_in::{Behaviour, StandIn};

use crate::setup::{Closed, EVENT, Reply, Setup, poll};

/// A delivery of each kind, met by this behaviour.
async fn each(setup: &Setup, behaviour: Option<Behaviour>, check: impl Fn(&Reply, &str)) {
    let run = setup.engine.wait("release", "t");
    for (path, body) in [
        ("/api/v2/webhook?ref=w".to_owned(), "{}"),
        ("/api/v2/event".to_owned(), EVENT),
        (format!("/api/v2/callback?ref={run}&topic=t"), "{}"),
    ] {
        if let Some(behaviour) = &behaviour {
            setup.engine.script().next(behaviour.clone());
        }
        check(&setup.post(&path, body).await, path.split('?').next().unwrap());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_operator_must_mend_is_loud_until_it_is_mended() {
    let setup = Setup::new().await;
    for (behaviour, why) in
        [(Behaviour::status(401), "401"), (Behaviour::status(403), "403"), (Behaviour::Redirect, "302")]
    {
        setup.engine.script().next(behaviour);
        setup.post("/api/v2/webhook?ref=w", "{}").await.assert_stored("pending", true);
        let ready = setup.get("/readyz").await;
        // Still a 200: what comes is stored.
        assert_eq!((ready.status.as_u16(), &ready.json()["status"]), (200, &json!("degraded")));
        assert_eq!(ready.json()["engine"]["fault"], format!("the engine answered {why}"));
        let loud = format!("the engine answered {why}: check engine_url and engine_token");
        poll("the log has it", async || setup.log().iter().any(|line| line["warning"] == loud).then_some(())).await;
        assert_eq!(setup.drain_all().await.delivered, 1);
        assert_eq!(setup.get("/readyz").await.json(), json!({"status": "ready"}));
    }
    setup.engine.script().next(Behaviour::status(500));
    setup.post("/api/v2/webhook?ref=w", "{}").await.assert_stored("pending", true);
    assert_eq!(setup.get("/readyz").await.json(), json!({"status": "ready"}), "that is the engine's own affair");
    setup.assert_works().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_retry_is_not_before_the_engine_wants_it() {
    let setup = Setup::new().await;
    for (code, after, least) in [(429, "3600", 3_600), (503, "17", 17), (503, "1000000", 3_600), (500, "60", 60)] {
        setup.engine.script().next(Behaviour::retry_after(code, after));
        let reply = setup.post("/api/v2/webhook?ref=w", "{}").await;
        reply.assert_stored("pending", true);
        let stored = setup.operate("GET", reply.header("location").unwrap()).await.json();
        let time = |name: &str| DateTime::parse_from_rfc3339(stored[name].as_str().unwrap()).unwrap();
        let wait = (time("next_attempt") - time("received")).num_seconds();
        // Whoever asks for more than an hour gets an hour; the rest is how long the attempt took.
        assert!((least..least + 60).contains(&wait), "{code} {after}: {wait}");
    }
    assert_eq!(setup.drain().await["pending"], 4, "none is due");
    assert_eq!(setup.engine.requests().len(), 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_engine_keeps_no_one_waiting() {
    let setup = Setup::with(&[("engine_wait_ms", "100"), ("engine_timeout_ms", "60000")]).await;
    let start = Instant::now();
    for (behaviour, event) in [(Behaviour::Hang, "pending"), (Behaviour::Delay { ms: 60_000 }, "duplicate")] {
        each(&setup, Some(behaviour), |reply, path| match path {
            "/api/v2/event" => reply.assert_stored(event, true),
            _ => reply.assert_stored("pending", path == "/api/v2/webhook"),
        })
        .await;
    }
    // A bound on hanging, not a measure: the engine would take a minute.
    assert!(start.elapsed() < Duration::from_secs(30));
    setup.engine.script().clear();
    setup.assert_works().await;
    // It would wait for what hangs.
    setup.host.kill().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_engine_that_is_down_is_told_and_comes_back() {
    let closed = Closed::new();
    let mut setup = Setup::with(&[("engine_url", &closed.url())]).await;
    each(&setup, None, |reply, path| reply.assert_stored("pending", path != "/api/v2/callback")).await;
    let drained = setup.drain().await;
    assert_eq!((&drained["stopped"], &drained["pending"]), (&json!("unreachable"), &json!(3)));
    assert_eq!(setup.host.outbound().calls(), 4, "one goes ahead of all");
    setup.engine = StandIn::builder().listen(closed.addr()).start().await.unwrap();
    let drained = setup.drain().await;
    // The run of the callback went with the other engine.
    assert_eq!((&drained["delivered"], &drained["pending"]), (&json!(2), &json!(1)));
    setup.assert_works().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_workflow_is_rejected_and_an_unknown_run_only_after_a_while() {
    let setup = Setup::with(&[("callback_early_ms", "1")]).await;
    setup.engine.script().unknown_workflow("nope");
    let unknown = "0".repeat(24);
    for (path, reason) in [
        ("/api/v2/webhook?ref=nope".to_owned(), "WORKFLOW_INVALID_REFERENCE"),
        ("/api/v2/event?ref=nope".to_owned(), "WORKFLOW_INVALID_REFERENCE"),
        (format!("/api/v2/callback?ref={unknown}&topic=t"), "WORKFLOWRUN_INVALID_REFERENCE"),
    ] {
        // A callback's time is over once it has taken a millisecond.
        setup.engine.script().next(Behaviour::Delay { ms: 20 });
        let reply = setup.post(&path, EVENT).await;
        reply.assert_problem(400, "rejected");
        assert_eq!(reply.header("sluice-outcome"), Some("rejected"));
        assert!(reply.text().contains(reason), "{}", reply.text());
    }
    setup.recall(&unknown, "t").await.assert_problem(404, "no-callback");
    assert_eq!(setup.stored("pending").await.len() + setup.stored("dead").await.len(), 0);

    let setup = setup.restart_with(&[("callback_early_ms", "600000")]).await;
    let reply = setup.post(&format!("/api/v2/callback?ref={unknown}&topic=t"), "{}").await;
    reply.assert_stored("pending", false);
    assert_eq!(setup.recall(&unknown, "t").await.json()["state"], "pending");
    let setup = setup.restart_with(&[("callback_early_ms", "1")]).await;
    let moved = setup.drain_all().await;
    assert_eq!((moved.delivered, moved.rejected), (0, 1));
    let dead = setup.stored("dead").await;
    assert_eq!((dead.len(), dead[0]["id"].as_str()), (1, Some(reply.delivery())));
    setup.recall(&unknown, "t").await.assert_problem(404, "no-callback");
}
