//! Each route's good path, and what stays over a restart.

use serde_json::json;

use crate::setup::{EVENT, JSON, Setup, root};

#[tokio::test(flavor = "multi_thread")]
async fn a_webhook_starts_a_run_byte_for_byte() {
    let setup = Setup::new().await;
    let push = std::fs::read_to_string(root().join("tests/vectors/github-push.json")).unwrap();
    let reply = setup.post("/api/v2/webhook?ref=build", push.clone()).await;
    reply.assert_taken("delivered");
    let run = reply.json();
    assert_eq!(run["id"].as_str().map(str::len), Some(24));
    assert_eq!((&run["workflowRef"], &run["trigger"]), (&json!("build"), &json!("webhook")));
    assert_eq!(run["labels"]["sluice.dev/delivery"], reply.header("sluice-delivery").unwrap());

    let sent = setup.engine.requests();
    assert_eq!(sent.len(), 1);
    let body = std::str::from_utf8(&sent[0].body).unwrap();
    let before = r#"{"trigger":"webhook","params":[{"name":"data","value":"#;
    assert!(body.strip_prefix(before).unwrap().starts_with(&format!("{}}}],\"labels\":", push.trim())));
    assert_eq!(sent[0].headers["content-length"], body.len().to_string());
    // `cost` has the figures, also those of the look that follows one of 16 answers.
    assert!(reply.is_sampled() || setup.host.key_value().snapshot() == Default::default());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_starts_a_run() {
    let setup = Setup::new().await;
    let structured =
        setup.send("POST", "/api/v2/event", &[("content-type", "application/cloudevents+json")], EVENT).await;
    structured.assert_taken("delivered");
    assert_eq!(structured.json()["workflowRef"], "wf");
    let headers = [
        JSON,
        ("ce-specversion", "1.0"),
        ("ce-id", "%E2%82%AC"),
        ("ce-source", "/s"),
        ("ce-type", "t"),
        ("ce-subject", "/other/t"),
    ];
    let binary = setup.send("POST", "/api/v2/event", &headers, "{\"n\":1.417566161e9}").await;
    binary.assert_taken("delivered");
    assert_eq!((&binary.json()["workflowRef"], &binary.json()["trigger"]), (&json!("other"), &json!("event")));
    let sent = setup.engine.requests();
    let body = std::str::from_utf8(&sent[1].body).unwrap();
    assert!(body.contains(r#""id":"€""#) && body.contains(r#"{"name":"n","value":1.417566161e9}"#), "{body}");
}

#[tokio::test(flavor = "multi_thread")]
async fn callbacks_resolve_waits_and_stay_over_a_restart() {
    let setup = Setup::new().await;
    let (posted, got) = (setup.engine.wait("release", "approval"), setup.engine.wait("release", "mail"));
    let reply =
        setup.post(&format!("/api/v2/callback?ref={posted}&topic=approval&status=Failed"), "{\"by\":1e2}").await;
    assert_eq!((reply.status.as_u16(), reply.text()), (200, ""));
    let other = setup.post(&format!("/api/v2/callback?ref={posted}&topic=approval"), "{\"by\":1e2}").await;
    other.assert_problem(409, "callback-conflict");
    assert!(other.text().contains("ended as failed"), "{}", other.text());
    let reply = setup.get(&format!("/api/v2/callback?ref={got},topic=mail")).await;
    assert_eq!((reply.status.as_u16(), reply.text()), (200, ""));
    for run in setup.engine.runs() {
        assert!(run.waits.iter().all(|wait| wait.status != sluice_host::stand_in::Status::Waiting), "{run:?}");
    }

    let setup = setup.restart().await;
    let record = setup.recall(&posted, "approval").await;
    assert_eq!(record.status, 200, "{}", record.text());
    assert!(record.text().contains(r#""payload":{"by":1e2}"#), "{}", record.text());
    assert_eq!((&record.json()["state"], &record.json()["status"]), (&json!("delivered"), &json!("failed")));
    assert_eq!(setup.recall(&got, "mail").await.json()["payload"], json!(null));
    setup.recall(&got, "other").await.assert_problem(404, "no-callback");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_record_is_there_before_the_engine_is_called() {
    let setup = Setup::new().await;
    setup.engine.script().next(sluice_host::stand_in::Behaviour::Delay { ms: 1_000 });
    let run = setup.engine.wait("release", "t");
    let path = format!("/api/v2/callback?ref={run}&topic=t");
    let (reply, state) = tokio::join!(setup.post(&path, "{}"), async {
        while setup.engine.requests().is_empty() {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
        setup.recall(&run, "t").await.json()["state"].clone()
    });
    assert_eq!((reply.status.as_u16(), state), (200, json!("pending")));
    assert_eq!(setup.recall(&run, "t").await.json()["state"], "delivered");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_operator_knows_how_it_is() {
    let setup = Setup::new().await;
    assert_eq!(setup.get("/healthz").await.json(), json!({"status": "alive"}));
    assert_eq!(setup.host.key_value().snapshot(), Default::default());
    assert_eq!(setup.get("/readyz").await.json(), json!({"status": "ready"}));
    assert_eq!(setup.host.outbound().calls(), 0);
    setup.host.key_value().fail(|_| Some("disk full".to_owned()));
    setup.get("/readyz").await.assert_problem(503, "store-unavailable");
    assert_eq!(setup.get("/healthz").await.status, 200);
    let run = setup.engine.wait("release", "t");
    setup.post(&format!("/api/v2/callback?ref={run}&topic=t"), "{}").await.assert_problem(503, "store-unavailable");
    assert_eq!(setup.host.outbound().calls(), 0, "what isn't stored isn't sent");
    setup.host.key_value().heal();
    assert_eq!(setup.post(&format!("/api/v2/callback?ref={run}&topic=t"), "{}").await.status, 200);

    let broken = Setup::with(&[("engine_timeout_ms", "soon"), ("max_body_bytes", "0")]).await;
    let reply = broken.get("/readyz").await;
    reply.assert_problem(503, "configuration");
    assert!(reply.text().contains("engine_timeout_ms") && reply.text().contains("max_body_bytes"), "{}", reply.text());
}

#[tokio::test(flavor = "multi_thread")]
async fn trace_and_token_reach_the_engine_and_the_log_has_one_line() {
    let setup = Setup::with(&[("engine_token", "t0ken")]).await;
    let parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let headers = [JSON, ("traceparent", parent), ("tracestate", "a=1"), ("authorization", "Bearer s3cret")];
    let reply = setup.send("POST", "/api/v2/webhook?ref=w&x=s3cret", &headers, r#"{"p":"s3cret"}"#).await;
    assert_eq!(reply.status, 200);
    let sent = &setup.engine.requests()[0];
    assert_eq!(sent.headers["traceparent"], parent);
    assert_eq!(sent.headers["tracestate"], "a=1");
    assert_eq!(sent.headers["authorization"], "Bearer t0ken");
    setup.get("/nowhere").await;

    let setup = setup.restart().await;
    setup.get("/healthz").await;
    let lines = loop {
        match setup.log() {
            // The line is written after the answer.
            lines if lines.is_empty() => tokio::time::sleep(std::time::Duration::from_millis(5)).await,
            lines => break lines,
        }
    };
    assert_eq!(lines.len(), 1);
    assert_eq!((&lines[0]["route"], &lines[0]["status"]), (&json!("/healthz"), &json!(200)));
    assert!(lines[0]["duration_ms"].as_f64().is_some_and(|ms| ms > 0.0));
}
