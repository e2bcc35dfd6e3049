//! The engine is down, slow, cut, wrong: the sender is told so, and the next request works.

use std::time::{Duration, Instant};

use sluice_host::stand_in::{Behaviour, StandIn};

use crate::setup::{EVENT, Reply, Setup};

/// A delivery of each kind, met by this behaviour.
async fn each(setup: &Setup, behaviour: Option<Behaviour>, check: impl Fn(&Reply)) {
    let run = setup.engine.wait("release", "t");
    for (path, body) in [
        ("/api/v2/webhook?ref=w".to_owned(), "{}"),
        ("/api/v2/event".to_owned(), EVENT),
        (format!("/api/v2/callback?ref={run}&topic=t"), "{}"),
    ] {
        if let Some(behaviour) = &behaviour {
            setup.engine.script().next(behaviour.clone());
        }
        check(&setup.post(&path, body).await);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_engine_does_wrong_is_told() {
    let setup = Setup::new().await;
    for (behaviour, status, slug) in [
        (Behaviour::CutBefore, 502, "engine-unclear"),
        (Behaviour::CutAfterActing, 502, "engine-unclear"),
        (Behaviour::Garbage, 502, "engine-unclear"),
        (Behaviour::Html, 502, "engine-unclear"),
        (Behaviour::Redirect, 502, "engine-misconfigured"),
        (Behaviour::status(401), 502, "engine-misconfigured"),
        (Behaviour::status(500), 502, "engine-unclear"),
        (Behaviour::status(409), 409, "rejected"),
        (Behaviour::status(503), 503, "engine-unavailable"),
    ] {
        each(&setup, Some(behaviour.clone()), |reply| reply.assert_problem(status, slug)).await;
    }
    each(&setup, Some(Behaviour::retry_after(429, "17")), |reply| {
        reply.assert_problem(503, "engine-unavailable");
        assert_eq!(reply.header("retry-after"), Some("17"));
    })
    .await;
    // A resolve has no body to cut.
    setup.engine.script().next(Behaviour::CutMidBody);
    setup.post("/api/v2/webhook?ref=w", "{}").await.assert_problem(502, "engine-unclear");
    setup.assert_works().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_engine_keeps_no_one_waiting_past_the_timeout() {
    let setup = Setup::with(&[("engine_timeout_ms", "300")]).await;
    for behaviour in [Behaviour::Hang, Behaviour::Delay { ms: 30_000 }] {
        each(&setup, Some(behaviour.clone()), |reply| {
            reply.assert_problem(502, "engine-unclear");
            assert_eq!(reply.json()["retry"], "may-repeat");
        })
        .await;
    }
    let start = Instant::now();
    setup.engine.script().next(Behaviour::Hang);
    setup.post("/api/v2/webhook?ref=w", "{}").await;
    // A bound on hanging, not a measure: the engine would take for ever.
    assert!(start.elapsed() < Duration::from_secs(20));
    setup.assert_works().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_engine_that_is_down_is_told_and_comes_back() {
    let mut setup = Setup::new().await;
    setup.assert_works().await;
    let addr = setup.engine.addr();
    let stopped = std::mem::replace(&mut setup.engine, StandIn::builder().start().await.unwrap());
    stopped.stop().await;
    each(&setup, None, |reply| {
        reply.assert_problem(503, "engine-unavailable");
        assert_eq!((&reply.json()["retry"], reply.header("retry-after")), (&"safe".into(), Some("5")));
    })
    .await;
    setup.engine = StandIn::builder().listen(addr).start().await.unwrap();
    setup.assert_works().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_is_not_resolved_is_told() {
    let setup = Setup::with(&[("engine_url", "http://engine.invalid:7701")]).await;
    each(&setup, None, |reply| reply.assert_problem(503, "engine-unavailable")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_workflow_and_run_are_rejected() {
    let setup = Setup::new().await;
    setup.engine.script().unknown_workflow("nope");
    let reply = setup.post("/api/v2/webhook?ref=nope", "{}").await;
    reply.assert_problem(400, "rejected");
    assert_eq!(reply.header("sluice-outcome"), Some("rejected"));
    assert!(reply.text().contains("WORKFLOW_INVALID_REFERENCE"), "{}", reply.text());
    let unknown = "0".repeat(24);
    setup.post(&format!("/api/v2/callback?ref={unknown}&topic=t"), "{}").await.assert_problem(400, "rejected");
    setup.recall(&unknown, "t").await.assert_problem(404, "no-callback");
}
