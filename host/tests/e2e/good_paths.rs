//! The success path of each route, and the data that survives a restart.

use serde_json::json;
use sluice_host::stand_in::model::Status;
use sluice_host::stand_in::{Behaviour, RecordedRequest, RequestKind};

use crate::setup::{EVENT, JSON, Setup, eventually, root, wait_task};

#[tokio::test(flavor = "multi_thread")]
async fn webhook_starts_a_run_with_its_exact_bytes() {
    let setup = Setup::new().await;
    let push = std::fs::read_to_string(root().join("tests/vectors/github-push.json")).unwrap();
    let reply = setup.post("/api/v2/webhook?ref=build", push.clone()).await;
    reply.assert_ok("delivered");
    let run = reply.json();
    assert_eq!(run["id"].as_str().map(str::len), Some(24));
    assert_eq!((&run["workflowRef"], &run["trigger"]), (&json!("build"), &json!("webhook")));
    assert_eq!(run["labels"]["sluice.dev/delivery"], reply.header("sluice-delivery").unwrap());

    let sent = setup.engine.requests();
    assert_eq!(sent.len(), 1);
    let body = std::str::from_utf8(&sent[0].body).unwrap();
    let prefix = r#"{"trigger":"webhook","params":[{"name":"data","value":"#;
    assert!(body.strip_prefix(prefix).unwrap().starts_with(&format!("{}}}],\"labels\":", push.trim())));
    assert_eq!(sent[0].headers["content-length"], body.len().to_string());
    // `cost` has the exact numbers, including those of a sampled response.
    assert!(reply.is_sampled() || setup.store_operations() == 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn event_starts_a_run() {
    let setup = Setup::new().await;
    let structured =
        setup.send("POST", "/api/v2/event", &[("content-type", "application/cloudevents+json")], EVENT).await;
    structured.assert_ok("delivered");
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
    binary.assert_ok("delivered");
    assert_eq!((&binary.json()["workflowRef"], &binary.json()["trigger"]), (&json!("other"), &json!("event")));
    let sent = setup.engine.requests();
    let body = std::str::from_utf8(&sent[1].body).unwrap();
    assert!(body.contains(r#""id":"€""#) && body.contains(r#"{"name":"n","value":1.417566161e9}"#), "{body}");
}

#[tokio::test(flavor = "multi_thread")]
async fn callbacks_resolve_waits_and_survive_a_restart() {
    let setup = Setup::new().await;
    let (by_post, by_get) =
        (setup.engine.wait("release", "approval").unwrap(), setup.engine.wait("release", "mail").unwrap());
    let reply =
        setup.post(&format!("/api/v2/callback?ref={by_post}&topic=approval&status=Failed"), "{\"by\":1e2}").await;
    assert_eq!((reply.status.as_u16(), reply.text()), (200, ""));
    let conflict = setup.post(&format!("/api/v2/callback?ref={by_post}&topic=approval"), "{\"by\":1e2}").await;
    conflict.assert_problem(409, "callback-conflict");
    assert!(conflict.text().contains("with status failed"), "{conflict}");
    let reply = setup.get(&format!("/api/v2/callback?ref={by_get},topic=mail")).await;
    assert_eq!((reply.status.as_u16(), reply.text()), (200, ""));
    for record in setup.engine.runs() {
        assert_ne!(wait_task(&record).unwrap().status, Status::Waiting, "{record:?}");
    }

    let setup = setup.restart().await;
    let record = setup.callback(&by_post, "approval").await;
    record.assert_status(200);
    assert!(record.text().contains(r#""payload":{"by":1e2}"#), "{record}");
    assert_eq!((&record.json()["state"], &record.json()["status"]), (&json!("delivered"), &json!("failed")));
    assert_eq!(setup.callback(&by_get, "mail").await.json()["payload"], json!(null));
    setup.callback(&by_get, "other").await.assert_problem(404, "no-callback");
}

#[tokio::test(flavor = "multi_thread")]
async fn callback_is_recorded_after_a_look_and_before_its_event_is_sent() {
    let setup = Setup::new().await;
    setup.engine.script().next_on(RequestKind::Event, Behaviour::Delay { ms: 1_000 });
    let run = setup.engine.wait("release", "t").unwrap();
    let path = format!("/api/v2/callback?ref={run}&topic=t");
    let (reply, state) = tokio::join!(setup.post(&path, "{}"), async {
        while setup.requests(RequestKind::Event) == 0 {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
        let kinds: Vec<_> = setup.engine.requests().iter().filter_map(RecordedRequest::kind).collect();
        assert_eq!(kinds, [RequestKind::Look, RequestKind::Event]);
        setup.callback(&run, "t").await.json()["state"].clone()
    });
    assert_eq!((reply.status.as_u16(), state), (200, json!("pending")));
    assert_eq!(setup.callback(&run, "t").await.json()["state"], "delivered");
}

#[tokio::test(flavor = "multi_thread")]
async fn health_and_readiness_report_store_and_configuration() {
    let setup = Setup::new().await;
    assert_eq!(setup.get("/healthz").await.json(), json!({"status": "alive"}));
    assert_eq!(setup.store_operations(), 0);
    assert_eq!(setup.get("/readyz").await.json(), json!({"status": "ready"}));
    assert_eq!(setup.host.outbound().calls(), 0);
    setup.break_store();
    setup.get("/readyz").await.assert_problem(503, "store-unavailable");
    assert_eq!(setup.get("/healthz").await.status, 200);
    let run = setup.engine.wait("release", "t").unwrap();
    setup.post(&format!("/api/v2/callback?ref={run}&topic=t"), "{}").await.assert_problem(503, "store-unavailable");
    assert_eq!(setup.requests(RequestKind::Event), 0, "a callback that can't be stored must not be sent");
    setup.mend_store();
    setup.post(&format!("/api/v2/callback?ref={run}&topic=t"), "{}").await.assert_status(200);

    let misconfigured =
        Setup::with_variables(&[("settings", r#"{"engine_timeout_ms":"soon","max_body_bytes":0}"#)]).await;
    let reply = misconfigured.get("/readyz").await;
    reply.assert_problem(503, "configuration");
    assert!(reply.text().contains("engine_timeout_ms") && reply.text().contains("max_body_bytes"), "{reply}");
}

#[tokio::test(flavor = "multi_thread")]
async fn trace_and_token_reach_the_engine_and_each_request_logs_one_line() {
    let setup = Setup::with_variables(&[("engine_token", "t0ken")]).await;
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
    // The line is written after the response.
    let lines = eventually("the request is logged", async || Some(setup.log()).filter(|lines| !lines.is_empty())).await;
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert_eq!((&lines[0]["route"], &lines[0]["status"]), (&json!("/healthz"), &json!(200)));
    assert!(lines[0]["duration_ms"].as_f64().is_some_and(|ms| ms > 0.0));
}
