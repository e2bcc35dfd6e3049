//! An engine that is down, slow or wrong: senders get a response in time, the operator is informed, and the next
//! request works. `fault_matrix` covers the outcome of each delivery.

use std::time::{Duration, Instant};

use chrono::DateTime;
use serde_json::json;
use sluice_host::stand_in::{Behaviour, StandIn};

use crate::setup::{EVENT, Reply, ReservedPort, Setup, eventually};

/// Sends a webhook, an event and a callback, to which the engine responds with this behaviour.
async fn send_each(setup: &Setup, behaviour: Option<Behaviour>, check: impl Fn(&Reply, &str)) {
    let run = setup.engine.wait("release", "t").unwrap();
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
async fn configuration_faults_are_reported_until_they_are_fixed() {
    let setup = Setup::new().await;
    for (behaviour, status) in
        [(Behaviour::status(401), "401"), (Behaviour::status(403), "403"), (Behaviour::Redirect, "302")]
    {
        setup.engine.script().next(behaviour);
        setup.post("/api/v2/webhook?ref=w", "{}").await.in_case(status).assert_stored("pending", true);
        let ready = setup.get("/readyz").await.in_case(status);
        // Sluice is still ready, because it stores deliveries.
        ready.assert_status(200);
        assert_eq!(ready.json()["status"], "degraded", "{ready}");
        assert_eq!(ready.json()["engine"]["fault"], format!("the engine answered {status}"), "{ready}");
        let warning = format!("the engine answered {status}: check engine_url and engine_token");
        let is_logged = async || setup.log().iter().any(|line| line["warning"] == warning).then_some(());
        eventually(&format!("the log has the warning {warning:?}"), is_logged).await;
        assert_eq!(setup.drain_all().await.delivered, 1, "{status}");
        assert_eq!(setup.get("/readyz").await.json(), json!({"status": "ready"}), "{status}");
    }
    setup.engine.script().next(Behaviour::status(500));
    setup.post("/api/v2/webhook?ref=w", "{}").await.assert_stored("pending", true);
    assert_eq!(
        setup.get("/readyz").await.json(),
        json!({"status": "ready"}),
        "a 500 isn't a fault of the configuration"
    );
    setup.assert_works().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn retry_waits_as_long_as_the_engine_asks() {
    let setup = Setup::new().await;
    for (code, after, least) in [(429, "3600", 3_600), (503, "17", 17), (503, "1000000", 3_600), (500, "60", 60)] {
        setup.engine.script().next(Behaviour::retry_after(code, after));
        let reply = setup.post("/api/v2/webhook?ref=w", "{}").await;
        reply.assert_stored("pending", true);
        let stored = setup.operator("GET", reply.header("location").unwrap()).await.json();
        let time = |name: &str| DateTime::parse_from_rfc3339(stored[name].as_str().unwrap()).unwrap();
        let wait = (time("next_attempt") - time("received")).num_seconds();
        // Retry-After is capped at one hour. The extra minute allows for the duration of the attempt.
        assert!((least..least + 60).contains(&wait), "{code} {after}: {wait}");
    }
    assert_eq!(setup.drain().await["pending"], 4, "no retry is due yet");
    assert_eq!(setup.engine.requests().len(), 4, "no retry was sent yet");
}

#[tokio::test(flavor = "multi_thread")]
async fn slow_engine_does_not_delay_senders() {
    let setup = Setup::with_variables(&[("settings", r#"{"engine_wait_ms":100,"engine_timeout_ms":60000}"#)]).await;
    let start = Instant::now();
    for (behaviour, event) in [(Behaviour::Hang, "pending"), (Behaviour::Delay { ms: 60_000 }, "duplicate")] {
        send_each(&setup, Some(behaviour), |reply, path| match path {
            "/api/v2/event" => reply.assert_stored(event, true),
            _ => reply.assert_stored("pending", path == "/api/v2/webhook"),
        })
        .await;
    }
    // The limit is far above six times engine_wait_ms, and far below the minute that the engine takes.
    assert!(start.elapsed() < Duration::from_secs(30), "the senders waited for the engine: {:?}", start.elapsed());
    setup.engine.script().clear();
    setup.assert_works().await;
    // Stopping the host would wait for the requests that hang.
    setup.host.kill().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn unreachable_engine_is_reported_and_recovers() {
    let engine_port = ReservedPort::new();
    let mut setup = Setup::with_variables(&[("engine_url", &engine_port.url())]).await;
    send_each(&setup, None, |reply, path| reply.assert_stored("pending", path != "/api/v2/callback")).await;
    let report = setup.drain().await;
    assert_eq!((&report["stopped"], &report["pending"]), (&json!("unreachable"), &json!(3)));
    assert_eq!(setup.host.outbound().calls(), 4, "three attempts, and one of the drain: docs/runbook.md");
    setup.engine = StandIn::builder().any_workflow().listen(engine_port.addr()).start().await.unwrap();
    let report = setup.drain().await;
    // The new engine doesn't know the run of the callback.
    assert_eq!((&report["delivered"], &report["pending"]), (&json!(2), &json!(1)));
    setup.assert_works().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn unknown_workflow_is_rejected_at_once_and_unknown_run_after_a_while() {
    let setup = Setup::with_variables(&[("settings", r#"{"callback_early_ms":1}"#)]).await;
    setup.engine.script().unknown_workflow("nope");
    let unknown = "0".repeat(24);
    for (path, reason) in [
        ("/api/v2/webhook?ref=nope".to_owned(), "WORKFLOW_INVALID_REFERENCE"),
        ("/api/v2/event?ref=nope".to_owned(), "WORKFLOW_INVALID_REFERENCE"),
        (format!("/api/v2/callback?ref={unknown}&topic=t"), "WORKFLOWRUN_INVALID_REFERENCE"),
    ] {
        // The delay is longer than callback_early_ms, so the callback is no longer early.
        setup.engine.script().next(Behaviour::Delay { ms: 20 });
        let reply = setup.post(&path, EVENT).await;
        reply.assert_problem(400, "rejected");
        assert_eq!(reply.header("sluice-outcome"), Some("rejected"), "{reply}");
        assert!(reply.text().contains(reason), "{reply}");
    }
    setup.callback(&unknown, "t").await.assert_problem(404, "no-callback");
    assert_eq!(setup.deliveries("pending").await.len() + setup.deliveries("dead").await.len(), 0);

    let setup = setup.restart_with(&[("settings", r#"{"callback_early_ms":600000}"#)]).await;
    let reply = setup.post(&format!("/api/v2/callback?ref={unknown}&topic=t"), "{}").await;
    reply.assert_stored("pending", false);
    assert_eq!(setup.callback(&unknown, "t").await.json()["state"], "pending");
    let setup = setup.restart_with(&[("settings", r#"{"callback_early_ms":1}"#)]).await;
    let totals = setup.drain_all().await;
    assert_eq!((totals.delivered, totals.rejected), (0, 1));
    let dead = setup.deliveries("dead").await;
    assert_eq!((dead.len(), dead[0]["id"].as_str()), (1, Some(reply.delivery())));
    setup.callback(&unknown, "t").await.assert_problem(404, "no-callback");
}
