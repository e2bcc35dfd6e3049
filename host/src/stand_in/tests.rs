//! Tests of the stand-in through HTTP.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{HeaderMap, Request, StatusCode};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use serde_json::{Value, json};

use super::*;

const SUBMIT: &str = concat!(
    r#"{"trigger":"webhook","params":[{"name":"data","value":{"n":1.000000000000000000001,"b":1,"a":2}}],"#,
    r#""labels":{"sluice.dev/delivery":"01J"}}"#
);
const TOPIC: &str = r#"{"topic":"t","status":"failed","results":[{"name":"data","value":{"x":1.0}}]}"#;

#[derive(Debug)]
struct Reply {
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
}

impl Reply {
    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}

/// Sends a request on a new connection; `None` if the response is cut short.
async fn send(engine: &StandIn, method: &str, path: &str, body: impl Into<Bytes>) -> Option<Reply> {
    let client = Client::builder(TokioExecutor::new()).build_http();
    let request = Request::builder()
        .method(method)
        .uri(format!("{}{path}", engine.url()))
        .header("content-type", "application/json")
        .body(Full::new(body.into()))
        .unwrap();
    let (head, body) = client.request(request).await.ok()?.into_parts();
    let body = body.collect().await.ok()?.to_bytes();
    Some(Reply { status: head.status, headers: head.headers, body })
}

async fn submit(engine: &StandIn) -> Option<Reply> {
    send(engine, "POST", "/api/v1/workflow/build/submit?start=true", SUBMIT).await
}

async fn engine() -> StandIn {
    StandIn::builder().start().await.unwrap()
}

#[tokio::test]
async fn submit_starts_a_run() {
    let engine = engine().await;
    let reply = submit(&engine).await.unwrap();
    assert_eq!(reply.status, 200);
    let text = String::from_utf8(reply.body.to_vec()).unwrap();
    assert!(text.contains(r#""value":{"n":1.000000000000000000001,"b":1,"a":2}"#), "{text}");
    let run = reply.json();
    let id = run["id"].as_str().unwrap();
    assert!(id.len() == 24 && id.bytes().all(|byte| byte.is_ascii_hexdigit()), "{id}");
    assert_eq!(run["workflowRef"], "build");
    assert_eq!((&run["status"], &run["phase"]), (&json!("running"), &json!("running")));
    assert_eq!(run["labels"], json!({"sluice.dev/delivery": "01J"}));
    assert_eq!(engine.runs()[0].id, id);

    let request = &engine.requests()[0];
    assert_eq!((request.method.as_str(), request.path.as_str()), ("POST", "/api/v1/workflow/build/submit"));
    assert_eq!(request.query.as_deref(), Some("start=true"));
    assert_eq!(request.body, SUBMIT);
    assert_eq!(request.headers["content-type"], "application/json");

    let reply = send(&engine, "POST", "/api/v1/workflow/a%2Fb/submit?start=false", SUBMIT).await.unwrap();
    assert_eq!((&reply.json()["workflowRef"], &reply.json()["status"]), (&json!("a/b"), &json!("ready")));
    engine.clear();
    assert!(engine.requests().is_empty() && engine.runs().is_empty());
    assert_eq!(engine.counts(), Counts { requests: 2, runs: 2 });
}

#[tokio::test]
async fn invalid_requests_get_the_engines_errors() {
    let engine = StandIn::builder().unknown_workflow("gone").start().await.unwrap();
    let cases = [
        ("POST", "/api/v1/workflow/gone/submit", SUBMIT, 400, json!(1201)),
        ("PUT", "/api/v1/workflowrun/0/event", TOPIC, 400, json!(1301)),
        ("POST", "/api/v1/workflow/build/submit", "{", 400, Value::Null),
        ("POST", "/api/v1/workflow/build/submit", "{}", 400, Value::Null),
        ("POST", "/api/v1/workflow/build/submit?start=maybe", SUBMIT, 400, Value::Null),
        ("PUT", "/api/v1/workflowrun/0/event", r#"{"topic":"t","status":"ready"}"#, 400, Value::Null),
        ("GET", "/api/v1/workflow/build/submit", "", 405, Value::Null),
        ("POST", "/v1/workflow/build/submit", SUBMIT, 404, Value::Null),
        ("GET", "/api/v1/workflowrun/query?labels=a", "", 500, Value::Null),
    ];
    for (method, path, body, status, code) in cases {
        let reply = send(&engine, method, path, body).await.unwrap();
        assert_eq!((reply.status.as_u16(), &reply.json()["code"]), (status, &code), "{method} {path} {body}");
    }
    assert!(engine.runs().is_empty());
    let error = send(&engine, "PUT", "/api/v1/workflowrun/0/event", TOPIC).await.unwrap().json();
    assert_eq!(error["reason"], "WORKFLOWRUN_INVALID_REFERENCE");
    assert_eq!(error["status"], "400 BAD_REQUEST");
}

#[tokio::test]
async fn topic_resolves_every_task_that_waits_for_it() {
    let engine = engine().await;
    let run = engine.wait("release", "t");
    assert!(engine.wait_on(&run, "t") && engine.wait_on(&run, "other"));
    let path = format!("/api/v1/workflowrun/{run}/event");
    let reply = send(&engine, "PUT", &path, TOPIC).await.unwrap();
    assert_eq!((reply.status.as_u16(), reply.body.len()), (200, 0));
    let statuses = |run: &Run| run.waits.iter().map(|wait| wait.status).collect::<Vec<_>>();
    let runs = engine.runs();
    assert_eq!(statuses(&runs[0]), [Status::Failed, Status::Failed, Status::Waiting]);
    assert_eq!(runs[0].status, Status::Waiting);
    assert_eq!(runs[0].waits[0].results[0].value.get(), r#"{"x":1.0}"#);

    send(&engine, "PUT", &path, r#"{"topic":"other"}"#).await.unwrap();
    let run = &engine.runs()[0];
    assert_eq!((run.status, run.phase), (Status::Failed, Phase::Completed));
    assert_eq!(run.waits[2].status, Status::Succeeded);
}

#[tokio::test]
async fn early_topic_resolves_a_later_wait() {
    let engine = engine().await;
    let run = submit(&engine).await.unwrap().json()["id"].as_str().unwrap().to_owned();
    send(&engine, "PUT", &format!("/api/v1/workflowrun/{run}/event"), TOPIC).await.unwrap();
    assert_eq!(engine.runs()[0].status, Status::Running);
    assert!(engine.wait_on(&run, "t"));
    let wait = &engine.runs()[0].waits[0];
    assert_eq!((wait.status, wait.early, wait.results.len()), (Status::Failed, true, 1));
}

#[tokio::test]
async fn label_query_finds_runs() {
    let engine = engine().await;
    for _ in 0..2 {
        submit(&engine).await.unwrap();
    }
    let query = "/api/v1/workflowrun/query?labels=sluice.dev%252Fdelivery%253D01J&limit=1";
    let page = send(&engine, "GET", query, "").await.unwrap().json();
    assert_eq!(page["content"][0]["id"], engine.runs()[0].id.as_str());
    assert_eq!((&page["size"], &page["numberOfElements"], &page["empty"]), (&json!(1), &json!(1), &json!(false)));

    let query = "/api/v1/workflowrun/query?labels=sluice.dev%2Fdelivery%3D01J";
    assert_eq!(send(&engine, "GET", query, "").await.unwrap().json()["totalElements"], 2);
    let query = "/api/v1/workflowrun/query?labels=sluice.dev%2Fdelivery%3D01K&limit=1";
    let page = send(&engine, "GET", query, "").await.unwrap().json();
    assert_eq!((&page["content"], &page["totalElements"]), (&json!([]), &json!(0)));
}

#[tokio::test]
async fn scripted_responses_replace_the_engines() {
    let engine = engine().await;
    engine
        .script()
        .next(Behaviour::retry_after(503, "7"))
        .next(Behaviour::Garbage)
        .next(Behaviour::Html)
        .next(Behaviour::Redirect)
        .next(Behaviour::CutBefore);
    let reply = submit(&engine).await.unwrap();
    assert_eq!((reply.status.as_u16(), &reply.headers["retry-after"]), (503, &"7".parse().unwrap()));
    assert!(serde_json::from_slice::<Value>(&submit(&engine).await.unwrap().body).is_err());
    assert_eq!(submit(&engine).await.unwrap().headers["content-type"], "text/html;charset=utf-8");
    assert_eq!(submit(&engine).await.unwrap().status, 302);
    assert!(submit(&engine).await.is_none());
    assert!(engine.runs().is_empty());
    assert_eq!(submit(&engine).await.unwrap().status, 200);
    assert_eq!(engine.requests().len(), 6);
}

#[tokio::test]
async fn scripted_cuts_happen_after_processing() {
    let engine = engine().await;
    engine.script().next(Behaviour::CutAfterActing).next(Behaviour::CutMidBody).next(Behaviour::CutAfterHead);
    assert!(submit(&engine).await.is_none());
    assert_eq!(engine.runs().len(), 1);

    // CutMidBody: the head and half of the body arrive.
    let client = Client::builder(TokioExecutor::new()).build_http::<Full<Bytes>>();
    let request = Request::post(format!("{}/api/v1/workflow/build/submit", engine.url()))
        .header("content-type", "application/json")
        .body(SUBMIT.into())
        .unwrap();
    let mut response = client.request(request.clone()).await.unwrap();
    assert_eq!(response.status(), 200);
    let announced: usize = response.headers()["content-length"].to_str().unwrap().parse().unwrap();
    let half = response.frame().await.unwrap().unwrap().into_data().unwrap();
    assert_eq!(half.len(), announced / 2);
    assert!(response.frame().await.unwrap().is_err());
    assert_eq!(engine.runs().len(), 2);

    // CutAfterHead: the head alone arrives.
    let mut response = client.request(request).await.unwrap();
    assert_eq!(response.status(), 200);
    assert!(response.frame().await.unwrap().is_err());
    assert_eq!(engine.runs().len(), 3);
}

#[tokio::test]
async fn delayed_requests_survive_a_disconnect_and_hanging_ones_are_never_processed() {
    let engine = engine().await;
    engine.script().next(Behaviour::Delay { ms: 100 }).next(Behaviour::Delay { ms: 100 }).next(Behaviour::Hang);
    let start = Instant::now();
    assert_eq!(submit(&engine).await.unwrap().status, 200);
    assert!(start.elapsed() >= Duration::from_millis(100));
    for (behaviour, runs) in [("delay", 2), ("hang", 2)] {
        assert!(tokio::time::timeout(Duration::from_millis(30), submit(&engine)).await.is_err(), "{behaviour}");
        tokio::time::sleep(Duration::from_millis(200)).await;
        assert_eq!(engine.runs().len(), runs, "{behaviour}");
    }
}

#[tokio::test]
async fn queued_rules_precede_permanent_ones_and_kinds_precede_any() {
    let engine = engine().await;
    engine.script().always(Behaviour::status(500)).always_on(RequestKind::Query, Behaviour::status(501));
    engine.script().next_on(RequestKind::Event, Behaviour::status(502));
    let query = || send(&engine, "GET", "/api/v1/workflowrun/query", "");
    let event = || send(&engine, "PUT", "/api/v1/workflowrun/0/event", TOPIC);
    assert_eq!(submit(&engine).await.unwrap().status, 500);
    assert_eq!(query().await.unwrap().status, 501);
    assert_eq!(event().await.unwrap().status, 502);
    assert_eq!(event().await.unwrap().status, 500);
    engine.script().clear();
    assert_eq!(query().await.unwrap().status, 200);
}

#[tokio::test]
async fn control_paths_script_and_list_like_the_rust_api() {
    let engine = engine().await;
    let script = r#"{"next":[{"on":"submit","do":"status","code":429,"retry_after":"1","headers":[["x-a","b"]]}],
        "always":[{"on":"query","do":"delay","ms":1}],"unknown_workflows":["gone"]}"#;
    assert_eq!(send(&engine, "POST", "/stand-in/script", script).await.unwrap().status, 204);
    assert_eq!(send(&engine, "POST", "/stand-in/script", r#"{"next":[{"do":"?"}]}"#).await.unwrap().status, 400);
    assert_eq!(submit(&engine).await.unwrap().headers["x-a"], "b");
    assert_eq!(send(&engine, "DELETE", "/stand-in/script", "").await.unwrap().status, 204);

    let wait = send(&engine, "POST", "/stand-in/waits", r#"{"workflow":"w","topic":"t"}"#).await.unwrap();
    let run = wait.json()["run"].as_str().unwrap().to_owned();
    submit(&engine).await.unwrap();
    send(&engine, "PUT", &format!("/api/v1/workflowrun/{run}/event"), TOPIC).await.unwrap();
    let second = json!({"run": run, "topic": "t2"}).to_string();
    assert_eq!(send(&engine, "POST", "/stand-in/waits", second).await.unwrap().json()["run"], run.as_str());
    send(&engine, "POST", "/nowhere", &b"\xff"[..]).await.unwrap();

    let runs = send(&engine, "GET", "/stand-in/runs", "").await.unwrap();
    assert!(String::from_utf8_lossy(&runs.body).contains("1.000000000000000000001"));
    assert_eq!(runs.json()["total"], 2);
    assert_eq!(runs.json()["runs"][0]["waits"][0]["status"], "failed");
    let requests = send(&engine, "GET", "/stand-in/requests", "").await.unwrap().json();
    assert_eq!(requests["requests"][0]["body"], SUBMIT);
    assert_eq!(requests["requests"][0]["query"], "start=true");
    assert_eq!(requests["requests"][0]["headers"]["content-type"], json!(["application/json"]));
    assert_eq!(requests["requests"][3]["body_base64"], "/w==");
    send(&engine, "DELETE", "/stand-in/requests", "").await.unwrap();
    assert!(engine.requests().is_empty());
}

#[tokio::test]
async fn page_lists_runs_and_escapes_their_text() {
    let engine = engine().await;
    let body = json!({"trigger": "event", "params": [{"name": "data", "value": "<script>'&\""}]}).to_string();
    send(&engine, "POST", "/api/v1/workflow/w/submit", body).await.unwrap();
    engine.wait("release", "approval");
    let page = send(&engine, "GET", "/", "").await.unwrap();
    let page = String::from_utf8(page.body.to_vec()).unwrap();
    assert!(!page.contains("<script") && page.contains("&lt;script&gt;'&amp;\\&quot;"), "{page}");
    assert!(page.find("release").unwrap() < page.find("by event").unwrap());
}

#[tokio::test]
async fn stopped_stand_in_frees_its_port() {
    let engine = engine().await;
    submit(&engine).await.unwrap();
    let addr = engine.addr();
    assert!(StandIn::builder().listen(addr).start().await.is_err());
    engine.stop().await;
    let engine = StandIn::builder().listen(addr).start().await.unwrap();
    assert_eq!(submit(&engine).await.unwrap().status, 200);
}
