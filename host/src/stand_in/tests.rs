//! The stand-in as a client meets it.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{HeaderMap, Request, StatusCode};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use serde_json::{Value, json};

use super::*;

const SUBMIT: &str = r#"{"trigger":"webhook","params":[{"name":"data","value":{"n":1.000000000000000000001,"b":1,"a":2}}],"labels":{"sluice.dev/delivery":"01J"}}"#;
const TOPIC: &str = r#"{"topic":"t","status":"failed","results":[{"name":"data","value":{"x":1.0}}]}"#;

#[derive(Debug)]
struct Got {
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
}

impl Got {
    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}

/// A request on a connection of its own; `None` if the answer is cut.
async fn send(engine: &StandIn, method: &str, path: &str, body: impl Into<Bytes>) -> Option<Got> {
    let client = Client::builder(TokioExecutor::new()).build_http();
    let request = Request::builder()
        .method(method)
        .uri(format!("{}{path}", engine.url()))
        .header("content-type", "application/json")
        .body(Full::new(body.into()))
        .unwrap();
    let (head, body) = client.request(request).await.ok()?.into_parts();
    let body = body.collect().await.ok()?.to_bytes();
    Some(Got { status: head.status, headers: head.headers, body })
}

async fn submit(engine: &StandIn) -> Option<Got> {
    send(engine, "POST", "/api/v1/workflow/build/submit?start=true", SUBMIT).await
}

async fn engine() -> StandIn {
    StandIn::builder().start().await.unwrap()
}

#[tokio::test]
async fn a_submit_starts_a_run() {
    let engine = engine().await;
    let got = submit(&engine).await.unwrap();
    assert_eq!(got.status, 200);
    let text = String::from_utf8(got.body.to_vec()).unwrap();
    assert!(text.contains(r#""value":{"n":1.000000000000000000001,"b":1,"a":2}"#), "{text}");
    let run = got.json();
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

    let got = send(&engine, "POST", "/api/v1/workflow/a%2Fb/submit?start=false", SUBMIT).await.unwrap();
    assert_eq!((&got.json()["workflowRef"], &got.json()["status"]), (&json!("a/b"), &json!("ready")));
    engine.clear();
    assert!(engine.requests().is_empty() && engine.runs().is_empty());
    assert_eq!(engine.counts(), Counts { requests: 2, runs: 2 });
}

#[tokio::test]
async fn what_is_wrong_is_refused_in_the_engines_words() {
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
        let got = send(&engine, method, path, body).await.unwrap();
        assert_eq!((got.status.as_u16(), &got.json()["code"]), (status, &code), "{method} {path} {body}");
    }
    assert!(engine.runs().is_empty());
    let got = send(&engine, "PUT", "/api/v1/workflowrun/0/event", TOPIC).await.unwrap().json();
    assert_eq!(got["reason"], "WORKFLOWRUN_INVALID_REFERENCE");
    assert_eq!(got["status"], "400 BAD_REQUEST");
}

#[tokio::test]
async fn a_topic_ends_all_that_wait_for_it() {
    let engine = engine().await;
    let run = engine.wait("release", "t");
    assert!(engine.wait_on(&run, "t") && engine.wait_on(&run, "other"));
    let path = format!("/api/v1/workflowrun/{run}/event");
    let got = send(&engine, "PUT", &path, TOPIC).await.unwrap();
    assert_eq!((got.status.as_u16(), got.body.len()), (200, 0));
    let states = |run: &Run| run.waits.iter().map(|wait| wait.status).collect::<Vec<_>>();
    let runs = engine.runs();
    assert_eq!(states(&runs[0]), [Status::Failed, Status::Failed, Status::Waiting]);
    assert_eq!(runs[0].status, Status::Waiting);
    assert_eq!(runs[0].waits[0].results[0].value.get(), r#"{"x":1.0}"#);

    send(&engine, "PUT", &path, r#"{"topic":"other"}"#).await.unwrap();
    let run = &engine.runs()[0];
    assert_eq!((run.status, run.phase), (Status::Failed, Phase::Completed));
    assert_eq!(run.waits[2].status, Status::Succeeded);
}

#[tokio::test]
async fn an_early_topic_counts() {
    let engine = engine().await;
    let run = submit(&engine).await.unwrap().json()["id"].as_str().unwrap().to_owned();
    send(&engine, "PUT", &format!("/api/v1/workflowrun/{run}/event"), TOPIC).await.unwrap();
    assert_eq!(engine.runs()[0].status, Status::Running);
    assert!(engine.wait_on(&run, "t"));
    let wait = &engine.runs()[0].waits[0];
    assert_eq!((wait.status, wait.early, wait.results.len()), (Status::Failed, true, 1));
}

#[tokio::test]
async fn a_run_is_found_by_its_label() {
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
async fn the_script_answers_in_place_of_the_engine() {
    let engine = engine().await;
    engine
        .script()
        .next(Behaviour::retry_after(503, "7"))
        .next(Behaviour::Garbage)
        .next(Behaviour::Html)
        .next(Behaviour::Redirect)
        .next(Behaviour::CutBefore);
    let got = submit(&engine).await.unwrap();
    assert_eq!((got.status.as_u16(), &got.headers["retry-after"]), (503, &"7".parse().unwrap()));
    assert!(serde_json::from_slice::<Value>(&submit(&engine).await.unwrap().body).is_err());
    assert_eq!(submit(&engine).await.unwrap().headers["content-type"], "text/html;charset=utf-8");
    assert_eq!(submit(&engine).await.unwrap().status, 302);
    assert!(submit(&engine).await.is_none());
    assert!(engine.runs().is_empty());
    assert_eq!(submit(&engine).await.unwrap().status, 200);
    assert_eq!(engine.requests().len(), 6);
}

#[tokio::test]
async fn the_script_cuts_after_acting() {
    let engine = engine().await;
    engine.script().next(Behaviour::CutAfterActing).next(Behaviour::CutMidBody).next(Behaviour::CutAfterHead);
    assert!(submit(&engine).await.is_none());
    assert_eq!(engine.runs().len(), 1);

    // The head and half of the body do arrive.
    let client = Client::builder(TokioExecutor::new()).build_http::<Full<Bytes>>();
    let request = Request::post(format!("{}/api/v1/workflow/build/submit", engine.url()))
        .header("content-type", "application/json")
        .body(SUBMIT.into())
        .unwrap();
    let mut answer = client.request(request.clone()).await.unwrap();
    assert_eq!(answer.status(), 200);
    let whole: usize = answer.headers()["content-length"].to_str().unwrap().parse().unwrap();
    let half = answer.frame().await.unwrap().unwrap().into_data().unwrap();
    assert_eq!(half.len(), whole / 2);
    assert!(answer.frame().await.unwrap().is_err());
    assert_eq!(engine.runs().len(), 2);

    // The head alone.
    let mut answer = client.request(request).await.unwrap();
    assert_eq!(answer.status(), 200);
    assert!(answer.frame().await.unwrap().is_err());
    assert_eq!(engine.runs().len(), 3);
}

#[tokio::test]
async fn a_delayed_request_is_acted_on_even_if_nobody_listens() {
    let engine = engine().await;
    engine.script().next(Behaviour::Delay { ms: 100 }).next(Behaviour::Delay { ms: 100 }).next(Behaviour::Hang);
    let start = Instant::now();
    assert_eq!(submit(&engine).await.unwrap().status, 200);
    assert!(start.elapsed() >= Duration::from_millis(100));
    for runs in [2, 2] {
        assert!(tokio::time::timeout(Duration::from_millis(30), submit(&engine)).await.is_err());
        tokio::time::sleep(Duration::from_millis(200)).await;
        assert_eq!(engine.runs().len(), runs);
    }
}

#[tokio::test]
async fn the_script_can_choose_and_stand() {
    let engine = engine().await;
    engine.script().always(Behaviour::status(500)).always_on(Kind::Query, Behaviour::status(501));
    engine.script().next_on(Kind::Event, Behaviour::status(502));
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
async fn tests_in_other_languages_can_do_the_same() {
    let engine = engine().await;
    let script = r#"{"next":[{"on":"submit","do":"status","code":429,"retry_after":"1","headers":[["x-a","b"]]}],
        "always":[{"on":"query","do":"delay","ms":1}],"unknown_workflows":["gone"]}"#;
    assert_eq!(send(&engine, "POST", "/stand-in/script", script).await.unwrap().status, 204);
    assert_eq!(send(&engine, "POST", "/stand-in/script", r#"{"next":[{"do":"?"}]}"#).await.unwrap().status, 400);
    assert_eq!(submit(&engine).await.unwrap().headers["x-a"], "b");
    assert_eq!(send(&engine, "DELETE", "/stand-in/script", "").await.unwrap().status, 204);

    let got = send(&engine, "POST", "/stand-in/waits", r#"{"workflow":"w","topic":"t"}"#).await.unwrap();
    let run = got.json()["run"].as_str().unwrap().to_owned();
    submit(&engine).await.unwrap();
    send(&engine, "PUT", &format!("/api/v1/workflowrun/{run}/event"), TOPIC).await.unwrap();
    let more = json!({"run": run, "topic": "t2"}).to_string();
    assert_eq!(send(&engine, "POST", "/stand-in/waits", more).await.unwrap().json()["run"], run.as_str());
    send(&engine, "POST", "/nowhere", &b"\xff"[..]).await.unwrap();

    let got = send(&engine, "GET", "/stand-in/runs", "").await.unwrap();
    assert!(String::from_utf8_lossy(&got.body).contains("1.000000000000000000001"));
    assert_eq!(got.json()["total"], 2);
    assert_eq!(got.json()["runs"][0]["waits"][0]["status"], "failed");
    let requests = send(&engine, "GET", "/stand-in/requests", "").await.unwrap().json();
    assert_eq!(requests["requests"][0]["body"], SUBMIT);
    assert_eq!(requests["requests"][0]["query"], "start=true");
    assert_eq!(requests["requests"][0]["headers"]["content-type"], json!(["application/json"]));
    assert_eq!(requests["requests"][3]["body_base64"], "/w==");
    send(&engine, "DELETE", "/stand-in/requests", "").await.unwrap();
    assert!(engine.requests().is_empty());
}

#[tokio::test]
async fn the_page_lists_and_escapes() {
    let engine = engine().await;
    let body = json!({"trigger": "event", "params": [{"name": "data", "value": "<script>'&\""}]}).to_string();
    send(&engine, "POST", "/api/v1/workflow/w/submit", body).await.unwrap();
    engine.wait("release", "approval");
    let page = send(&engine, "GET", "/", "").await.unwrap();
    let page = String::from_utf8(page.body.to_vec()).unwrap();
    assert!(!page.contains("<script") && page.contains("&lt;script&gt;&#39;&amp;\\&quot;"), "{page}");
    assert!(page.find("release").unwrap() < page.find("by event").unwrap());
}

#[tokio::test]
async fn it_can_be_stopped_and_started_at_the_same_port() {
    let engine = engine().await;
    submit(&engine).await.unwrap();
    let addr = engine.addr();
    assert!(StandIn::builder().listen(addr).start().await.is_err());
    engine.stop().await;
    let engine = StandIn::builder().listen(addr).start().await.unwrap();
    assert_eq!(submit(&engine).await.unwrap().status, 200);
}
