//! Tests of the stand-in through HTTP.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{HeaderMap, Request, StatusCode};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use serde_json::{Value, json};

use super::model::{Agent, Status, TaskRun};
use super::*;

mod over_http;

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
    StandIn::builder().any_workflow().start().await.unwrap()
}

/// A stand-in whose engine takes as long as the recorded one.
async fn slow_engine() -> StandIn {
    StandIn::builder().settings(Settings::default()).start().await.unwrap()
}

/// Waits until the engine has come to a state by itself.
async fn eventually(engine: &StandIn, holds: impl Fn(&[Record]) -> bool) {
    let start = Instant::now();
    while !holds(&engine.runs()) {
        assert!(start.elapsed() < Duration::from_secs(60), "{:?}", engine.runs());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// The task that waits or waited for an event.
fn wait_task(record: &Record) -> &TaskRun {
    record.tasks.iter().find(|task| task.kind == model::TaskType::EventWait).unwrap()
}

#[tokio::test]
async fn submit_starts_a_run_and_is_recorded() {
    let engine = engine().await;
    let reply = submit(&engine).await.unwrap();
    assert_eq!((reply.status.as_u16(), &reply.json()["status"]), (200, &json!("ready")));
    assert_eq!(reply.json()["workflowRef"], "build");
    let runs = engine.runs();
    assert_eq!(runs.len(), 1);
    assert_eq!(reply.json()["id"], runs[0].run.id.as_str());
    assert_eq!(runs[0].run.status, Status::Succeeded);

    let request = &engine.requests()[0];
    assert_eq!((request.method.as_str(), request.path.as_str()), ("POST", "/api/v1/workflow/build/submit"));
    assert_eq!(request.query.as_deref(), Some("start=true"));
    assert_eq!(request.body, SUBMIT);
    assert_eq!(request.headers["content-type"], "application/json");

    let reply = send(&engine, "POST", "/api/v1/workflow/a%2Fb/submit?start=false", SUBMIT).await.unwrap();
    assert_eq!((&reply.json()["workflowRef"], &reply.json()["status"]), (&json!("a/b"), &json!("ready")));
    engine.clear_requests();
    assert_eq!((engine.requests().len(), engine.runs().len()), (0, 2));
    assert_eq!(engine.counts(), Counts { requests: 2, runs: 2 });
}

#[tokio::test]
async fn only_the_catalogues_workflows_are_known() {
    let engine = StandIn::builder().start().await.unwrap();
    assert_eq!(submit(&engine).await.unwrap().json()["reason"], "WORKFLOW_INVALID_REFERENCE");
    assert_eq!(engine.wait("build", "t"), Err(NoWait::UnknownWorkflow));
    assert_eq!(engine.wait("waits", "t"), Err(NoWait::UnknownTopic));
    assert_eq!(engine.wait("naplit", "approval"), Err(NoWait::NotReached));
    let run = engine.wait("waits", "approval").unwrap();
    assert_eq!(engine.runs().last().unwrap().run.id, run);
}

#[tokio::test]
async fn workflow_can_be_unknown_for_a_while() {
    let engine = engine().await;
    submit(&engine).await.unwrap();
    engine.script().unknown_workflow("build");
    assert_eq!(submit(&engine).await.unwrap().json()["code"], 1201);
    assert_eq!(engine.wait("build", "t"), Err(NoWait::UnknownWorkflow));
    engine.script().clear();
    assert_eq!(submit(&engine).await.unwrap().status, 200);
    assert_eq!(engine.runs().len(), 2);
}

#[tokio::test]
async fn made_up_workflow_belongs_to_the_team_of_the_tokens() {
    let engine = engine().await;
    let client = Client::builder(TokioExecutor::new()).build_http::<Full<Bytes>>();
    let get = async |path: &str, token: &str| {
        let request = Request::get(format!("{}{path}", engine.url())).header("authorization", token);
        client.request(request.body(Full::default()).unwrap()).await.unwrap().status().as_u16()
    };
    submit(&engine).await.unwrap();
    let run = engine.wait("build", "t").unwrap();
    for path in ["workflow/build".to_owned(), "workflow/other".to_owned(), format!("workflowrun/{run}")] {
        let path = format!("/api/v2/team/acme/{path}");
        assert_eq!((get(&path, "Bearer bft_ACME").await, get(&path, "Bearer bft_NO").await), (200, 401), "{path}");
    }
}

#[tokio::test]
async fn task_waits_a_moment_after_the_submit() {
    let engine = slow_engine().await;
    let path = "/api/v1/workflow/6b08ce3a2bb126dc8dc5a8a6/submit?start=true";
    let reply = send(&engine, "POST", path, SUBMIT).await.unwrap();
    assert_eq!(reply.json()["status"], "ready");
    // No request makes the engine go on.
    eventually(&engine, |runs| wait_task(&runs[0]).status == Status::Waiting).await;
}

#[tokio::test]
async fn run_that_is_made_to_wait_waits_whatever_the_timing() {
    let engine = slow_engine().await;
    let run = engine.wait("waits", "approval").unwrap();
    let runs = engine.runs();
    assert_eq!((runs[0].run.id.as_str(), wait_task(&runs[0]).status), (run.as_str(), Status::Waiting));
    let event = r#"{"topic":"approval","status":"failed","results":[{"name":"data","value":{"x":1.0}}]}"#;
    let path = format!("/api/v1/workflowrun/{run}/event");
    assert_eq!(send(&engine, "PUT", &path, event).await.unwrap().status, 200);
    eventually(&engine, |runs| wait_task(&runs[0]).status == Status::Failed).await;
}

#[tokio::test]
async fn made_up_workflow_waits_for_the_topic_that_was_asked_for_last() {
    let engine = engine().await;
    let runs = [engine.wait("release", "one").unwrap(), engine.wait("release", "two").unwrap()];
    for (run, topic) in runs.iter().zip(["one", "two"]) {
        let body = json!({"topic": topic}).to_string();
        send(&engine, "PUT", &format!("/api/v1/workflowrun/{run}/event"), body).await.unwrap();
    }
    assert!(engine.runs().iter().all(|record| record.run.status == Status::Succeeded), "{:?}", engine.runs());
}

#[tokio::test]
async fn agent_ends_tasks_that_have_an_image() {
    let settings = Settings { agent: Some(Agent { poll_ms: 1 }), ..Settings::default() };
    let engine = StandIn::builder().settings(settings).start().await.unwrap();
    let path = "/api/v1/workflow/6b08ce3b2bb126dc8dc5a8aa/submit";
    assert_eq!(send(&engine, "POST", path, SUBMIT).await.unwrap().status, 200);
    eventually(&engine, |runs| runs[0].run.status == Status::Succeeded).await;
}

#[tokio::test]
async fn dead_engine_closes_connections_until_it_is_restarted() {
    let engine = engine().await;
    engine.die_at(Step::RunSaved);
    assert!(submit(&engine).await.is_none());
    assert!(submit(&engine).await.is_none());
    assert_eq!(engine.runs().len(), 1);
    assert_eq!(engine.runs()[0].run.status, Status::NotStarted);
    assert_eq!(send(&engine, "POST", "/stand-in/restart", "").await.unwrap().status, 204);
    assert_eq!(submit(&engine).await.unwrap().status, 200);

    let die = r#"{"process":"Flow"}"#;
    assert_eq!(send(&engine, "POST", "/stand-in/die", die).await.unwrap().status, 204);
    assert!(send(&engine, "GET", "/api/v2/callback", "").await.is_none());
    assert_eq!(submit(&engine).await.unwrap().status, 200);
    assert_eq!(send(&engine, "POST", "/stand-in/die", "{}").await.unwrap().status, 400);
}

#[tokio::test]
async fn database_in_a_file_outlives_the_stand_in() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("database");
    let open = || StandIn::builder().any_workflow().settings(Settings::default()).database(&file).start();
    let engine = open().await.unwrap();
    assert!(open().await.is_err(), "the file is in use");
    let waiting = engine.wait("release", "t").unwrap();
    engine.die_at(Step::TasksSaved(2));
    assert!(submit(&engine).await.is_none());
    let before = engine.runs();
    engine.stop().await;

    // The last line of a process that was killed may be incomplete.
    let mut bytes = std::fs::read(&file).unwrap();
    bytes.extend_from_slice(br#"{"run":{"id"#);
    std::fs::write(&file, bytes).unwrap();
    let engine = open().await.unwrap();
    assert_eq!(engine.runs(), before);
    let event = r#"{"topic":"t","status":"succeeded"}"#;
    send(&engine, "PUT", &format!("/api/v1/workflowrun/{waiting}/event"), event).await.unwrap();
    let again = submit(&engine).await.unwrap().json();
    eventually(&engine, |runs| runs[0].run.status == Status::Succeeded).await;
    let ids: std::collections::BTreeSet<_> = engine.runs().into_iter().map(|record| record.run.id).collect();
    assert!(ids.len() == 3 && ids.contains(again["id"].as_str().unwrap()), "{ids:?}");
    // Never queued, and nothing queues it.
    assert_eq!(engine.runs()[1].run.status, Status::NotStarted);
    engine.stop().await;

    std::fs::write(&file, "no database\n").unwrap();
    assert!(open().await.unwrap_err().to_string().contains("line 1"));
}

#[tokio::test]
async fn old_runs_that_are_over_are_deleted() {
    let engine = StandIn::builder().any_workflow().capacity(8).start().await.unwrap();
    let waiting = engine.wait("release", "t").unwrap();
    for _ in 0..20 {
        submit(&engine).await.unwrap();
    }
    let runs = engine.runs();
    assert!((8..=10).contains(&runs.len()), "{}", runs.len());
    assert_eq!(runs[0].run.id, waiting);
    assert_eq!(engine.counts().runs, 21);

    // None is deleted before that.
    let engine = StandIn::builder().any_workflow().capacity(30).start().await.unwrap();
    for _ in 0..10 {
        engine.wait("release", "t").unwrap();
        submit(&engine).await.unwrap();
    }
    assert_eq!(engine.runs().len(), 20);
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
    for (method, path, kind) in [
        ("POST", "/api/v2/team/t/workflow/w/submit", Some(RequestKind::Submit)),
        ("POST", "/api/v2/callback", Some(RequestKind::Event)),
        ("GET", "/flow/api/v2/team/t/workflowrun/query", Some(RequestKind::Query)),
        ("GET", "/api/v1/workflowrun/0", Some(RequestKind::Look)),
        ("DELETE", "/api/v1/workflowrun/0/cancel", Some(RequestKind::Cancel)),
        ("GET", "/api/v1/task/0", Some(RequestKind::Describe)),
        ("PUT", "/api/v1/workflowrun/0/start", None),
    ] {
        assert_eq!(RequestKind::of(&method.parse().unwrap(), path), kind, "{method} {path}");
    }
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
    send(&engine, "POST", "/nowhere", &b"\xff"[..]).await.unwrap();

    let runs = send(&engine, "GET", "/stand-in/runs", "").await.unwrap().json();
    assert_eq!(runs["total"], 2);
    let look = send(&engine, "GET", &format!("/api/v1/workflowrun/{run}?withTasks=true"), "").await.unwrap().json();
    assert_eq!((&runs["runs"][0], &look["tasks"][1]["status"]), (&look, &json!("failed")));
    let requests = send(&engine, "GET", "/stand-in/requests", "").await.unwrap().json();
    assert_eq!(requests["requests"][0]["body"], SUBMIT);
    assert_eq!(requests["requests"][0]["query"], "start=true");
    assert_eq!(requests["requests"][0]["headers"]["content-type"], json!(["application/json"]));
    assert_eq!(requests["requests"][3]["body_base64"], "/w==");
    send(&engine, "DELETE", "/stand-in/requests", "").await.unwrap();
    assert!(engine.requests().is_empty());
    let unknown = r#"{"workflow":"waits","topic":"t"}"#;
    assert_eq!(send(&engine, "POST", "/stand-in/waits", unknown).await.unwrap().status, 409);
    assert_eq!(send(&engine, "GET", "/stand-in/waits", "").await.unwrap().headers["allow"], "POST");
    assert_eq!(send(&engine, "GET", "/stand-in/nowhere", "").await.unwrap().status, 404);
}

#[tokio::test]
async fn page_lists_runs_and_escapes_their_text() {
    let engine = engine().await;
    let body = json!({"trigger": "event", "params": [{"name": "data", "value": "<script>'&\""}]}).to_string();
    send(&engine, "POST", "/api/v1/workflow/w/submit", body).await.unwrap();
    engine.wait("release", "approval").unwrap();
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
    let engine = StandIn::builder().any_workflow().listen(addr).start().await.unwrap();
    assert_eq!(submit(&engine).await.unwrap().status, 200);
}
