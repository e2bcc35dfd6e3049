//! Requests and verdicts of the built-in profiles.

use std::time::Duration;

use http::{HeaderMap, Method, Response, StatusCode};
use serde_json::value::RawValue;

use super::*;
use crate::callback::{Callback, Status};
use crate::delivery::{DeliveryId, Payload, Start, Trigger};
use crate::reference::{RunRef, Topic, WorkflowRef};

fn raw(json: &str) -> Cow<'_, RawValue> {
    Cow::Borrowed(serde_json::from_str(json).unwrap())
}

fn engine(profile: &str, constants: &str) -> Engine {
    let profile = Profile::built_in(profile).unwrap();
    Engine {
        constants: Constants::parse(constants, &profile).unwrap(),
        profile,
        url: EngineUrl::parse("http://engine:8080").unwrap(),
        token: None,
        start: true,
    }
}

fn boomerang() -> Engine {
    engine("boomerang", "")
}

fn flow() -> Engine {
    engine("flow", r#"{"team":"a team","base_path":"/flow"}"#)
}

fn read(operation: Operation, response: Response<Vec<u8>>, now: u64) -> Verdict {
    boomerang().read(operation, response, Timestamp(now))
}

fn delivery(work: Work<'_>) -> Delivery<'_> {
    let id = DeliveryId::parse("01M85MNVRRNF3YKJSMZYXYD1X7").unwrap();
    Delivery::new(id, work, HeaderMap::new(), Timestamp(0))
}

fn webhook() -> Work<'static> {
    Work::Start(Start::new(WorkflowRef::parse("my flow").unwrap(), Payload::Webhook(raw(r#"{"a":1}"#))))
}

fn callback(payload: Option<Cow<'_, RawValue>>) -> Work<'_> {
    let (run, topic) = (RunRef::parse("5f1").unwrap(), Topic::parse("a \"b\"").unwrap());
    Work::Resolve(Callback { run, topic, status: Status::Failed, payload })
}

fn built_by(engine: &Engine, work: Work<'_>) -> (Method, String, String) {
    let request = engine.request(&delivery(work)).unwrap();
    let body = String::from_utf8(request.body().clone()).unwrap();
    assert_eq!(request.headers().contains_key("content-type"), !body.is_empty());
    (request.method().clone(), request.uri().to_string(), body)
}

fn built(work: Work<'_>) -> (Method, String, String) {
    built_by(&boomerang(), work)
}

#[test]
fn submit_follows_the_contract() {
    let workflow = WorkflowRef::parse("my flow").unwrap();
    let payload = Payload::Webhook(raw(r#"{"n":12345678901234567890,"a":1,"a":2}"#));
    let (method, uri, body) = built(Work::Start(Start::new(workflow.clone(), payload)));
    assert_eq!(method, Method::POST);
    assert_eq!(uri, "http://engine:8080/api/v1/workflow/my%20flow/submit?start=true");
    assert_eq!(
        body,
        r#"{"trigger":"webhook","params":[{"name":"data","value":{"n":12345678901234567890,"a":1,"a":2}}],"labels":{"sluice.dev/delivery":"01M85MNVRRNF3YKJSMZYXYD1X7"}}"#
    );
    let data = r#"{"\u0061":1.417566161e9}"#;
    let payload = Payload::Event { whole: raw(r#"{"id":1}"#), data: Some(raw(data)) };
    let (.., body) = built(Work::Start(Start::new(workflow, payload)));
    assert!(
        body.starts_with(
            r#"{"trigger":"event","params":[{"name":"event","value":{"id":1}},{"name":"data","value":{"\u0061":1.417566161e9}},{"name":"\u0061","value":1.417566161e9}],"#
        ),
        "{body}"
    );
}

#[test]
fn params_of_a_route_come_after_fixed_params_and_before_members() {
    let workflow = WorkflowRef::parse("w").unwrap();
    // A table rejects the name `data`, but a stored record might contain it.
    let params = ["a", "data", "x"].map(|name| (name.to_owned(), raw("12345678901234567890"))).to_vec();
    let payload = Payload::Event { whole: raw("{}"), data: Some(raw(r#"{"a":1,"b":2}"#)) };
    let start = Start { params: params.clone(), ..Start::new(workflow.clone(), payload) };
    let (.., body) = built(Work::Start(start));
    let names: serde_json::Value = serde_json::from_str(&body).unwrap();
    let names: Vec<_> = names["params"].as_array().unwrap().iter().map(|p| p["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["event", "data", "a", "x", "b"]);
    assert!(body.contains(r#"{"name":"a","value":12345678901234567890}"#), "{body}");

    let start = Start::new(workflow, Payload::Webhook(raw(r#"{"a":1}"#)));
    let (.., body) = built(Work::Start(Start { trigger: Trigger::Github, params, ..start }));
    assert!(
        body.starts_with(
            r#"{"trigger":"github","params":[{"name":"data","value":{"a":1}},{"name":"a","value":12345678901234567890},{"name":"x","#
        ),
        "{body}"
    );
}

#[test]
fn event_follows_the_contract() {
    let (method, uri, body) = built(callback(Some(raw(r#"{"ok":1e2}"#))));
    assert_eq!((method, uri.as_str()), (Method::PUT, "http://engine:8080/api/v1/workflowrun/5f1/event"));
    assert_eq!(body, r#"{"topic":"a \"b\"","status":"failed","results":[{"name":"data","value":{"ok":1e2}}]}"#);
    assert_eq!(built(callback(None)).2, r#"{"topic":"a \"b\"","status":"failed","results":[]}"#);
}

#[test]
fn run_is_looked_up_by_its_label() {
    for (engine, path) in [(boomerang(), "/api/v1/workflowrun"), (flow(), "/flow/api/v2/team/a%20team/workflowrun")] {
        let request = engine.find(&delivery(webhook())).unwrap();
        assert_eq!((request.method(), request.body().len()), (&Method::GET, 0));
        let query = "labels=sluice%2Edev%2Fdelivery%3D01M85MNVRRNF3YKJSMZYXYD1X7&limit=20";
        assert_eq!(request.uri(), format!("http://engine:8080{path}/query?{query}").as_str());
    }
}

#[test]
fn constants_become_annotations_of_the_engine() {
    let constants = r#"{"default_image":"boomerangio/worker-flow:2.11.15","team_name":"acme","base_path":"/e"}"#;
    let (_, uri, body) = built_by(&engine("boomerang", constants), webhook());
    assert_eq!(uri, "http://engine:8080/e/api/v1/workflow/my%20flow/submit?start=true");
    let body: serde_json::Value = serde_json::from_str(&body).unwrap();
    assert_eq!(
        body["annotations"],
        serde_json::json!({
            "boomerang.io/task-default-image": "boomerangio/worker-flow:2.11.15",
            "boomerang.io/team-name": "acme",
        })
    );
    assert!(!built(webhook()).2.contains("annotations"), "without constants there are none");
}

/// The requests that Flow took: `vectors/boomerang/flow-api.json`, "team submit, name" and "callback POST".
#[test]
fn flow_is_called_by_its_team_api() {
    let (method, uri, body) = built_by(&flow(), webhook());
    let path = "/flow/api/v2/team/a%20team/workflow/my%20flow/submit?start=true";
    assert_eq!((method, uri), (Method::POST, format!("http://engine:8080{path}")));
    assert_eq!(body, built(webhook()).2, "without annotations both take the same body");
    let query = "ref=5f1&topic=a%20%22b%22&status=failed";
    let (method, uri, body) = built_by(&flow(), callback(Some(raw(r#"{"ok":1e2}"#))));
    assert_eq!((method, uri), (Method::POST, format!("http://engine:8080/flow/api/v2/callback?{query}")));
    assert_eq!(body, r#"{"ok":1e2}"#);
    let (method, uri, body) = built_by(&flow(), callback(None));
    assert_eq!((method, uri), (Method::GET, format!("http://engine:8080/flow/api/v2/callback?{query}")));
    assert_eq!(body, "");
}

/// Flow answers a callback for an unknown run by 500 (`flow-api.json`, "callback POST, unknown run").
#[test]
fn unknown_run_of_flow_is_recognised() {
    let body = r#"{"code":500,"reason":"BadRequest","message":"Exception in communicating with internal services."}"#;
    let verdict = |operation| flow().read(operation, answer(500, body), Timestamp(0));
    assert!(matches!(verdict(Operation::Resume), Verdict::UnknownRun { .. }));
    assert!(matches!(verdict(Operation::Start), Verdict::Unclear { .. }));
    assert!(matches!(read(Operation::Resume, answer(500, body), 0), Verdict::Unclear { .. }), "only Flow's");
}

fn answer(status: u16, body: &str) -> Response<Vec<u8>> {
    Response::builder().status(status).body(body.as_bytes().to_vec()).unwrap()
}

#[test]
fn every_status_has_one_verdict() {
    for status in 100..=599_u16 {
        let kind = match read(Operation::Start, answer(status, ""), 0) {
            Verdict::Accepted { .. } => "accepted",
            Verdict::Rejected { status: same, .. } => {
                assert_eq!(same.as_u16(), status);
                "rejected"
            }
            Verdict::UnknownRun { .. } => "unknown",
            Verdict::Retry { .. } => "retry",
            Verdict::Unreachable { .. } => "unreachable",
            Verdict::Unclear { .. } => "unclear",
            Verdict::Misconfigured { .. } => "misconfigured",
        };
        let expected = match status {
            400 | 404 | 409 | 410 | 413 | 422 => "rejected",
            408 | 423 | 425 | 429 | 503 => "retry",
            // An empty 2xx is no WorkflowRun.
            200..=299 | 500..=599 => "unclear",
            _ => "misconfigured",
        };
        assert_eq!(kind, expected, "{status}");
    }
}

#[test]
fn success_counts_only_with_its_proof() {
    let run = r#"{"id":"5f1c9c8e2f8b9a0001a1b2c3","status":"notstarted"}"#;
    assert_eq!(read(Operation::Start, answer(200, run), 0), Verdict::Accepted { body: run.as_bytes().to_vec() });
    for body in ["", "<html>", "[]", "{}", r#"{"id":""}"#, r#"{"id":7}"#, r#"{"id":"5f"#] {
        assert!(matches!(read(Operation::Start, answer(200, body), 0), Verdict::Unclear { .. }), "{body}");
    }
    for body in ["", "\n", "{}", "null"] {
        assert_eq!(read(Operation::Resume, answer(200, body), 0), Verdict::Accepted { body: vec![] }, "{body}");
    }
    assert!(matches!(read(Operation::Resume, answer(200, "<html>"), 0), Verdict::Unclear { .. }));
}

#[test]
fn unknown_path_is_not_an_unknown_workflow() {
    let spring = r#"{"timestamp":"2026-11-24","status":404,"error":"Not Found","path":"/api/v1/workflow/x/submit"}"#;
    let problem = r#"{"type":"about:blank","title":"Not Found","status":404,"instance":"/api/v1/workflow/x/submit"}"#;
    for body in [spring, problem, "<html>404</html>", "not found"] {
        assert!(matches!(read(Operation::Start, answer(404, body), 0), Verdict::Misconfigured { .. }), "{body}");
    }
    let unknown = r#"{"code":1201,"reason":"WORKFLOW_INVALID_REFERENCE","message":"No workflow x"}"#;
    for (body, code) in [(unknown, Some("WORKFLOW_INVALID_REFERENCE")), ("", None), (r#"{"reason":"my <b>"}"#, None)] {
        let verdict = read(Operation::Start, answer(404, body), 0);
        let rejected = Verdict::Rejected { status: StatusCode::NOT_FOUND, code: code.map(str::to_owned) };
        assert_eq!(verdict, rejected, "{body}");
    }
}

#[test]
fn retry_after_is_seconds_or_a_date() {
    let after = |value: &str, now| {
        let answer = Response::builder().status(503).header("retry-after", value).body(vec![]).unwrap();
        match read(Operation::Start, answer, now) {
            Verdict::Retry { after, .. } => after,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(after("120", 0), Some(Duration::from_secs(120)));
    assert_eq!(after("Thu, 01 Jan 1970 00:01:00 GMT", 20_000), Some(Duration::from_secs(40)));
    assert_eq!(after("Thu, 01 Jan 1970 00:01:00 GMT", 90_000), Some(Duration::ZERO));
    assert_eq!(after("soon", 0), None);
}

#[test]
fn unknown_run_is_told_from_other_rejections() {
    let unknown = r#"{"code":1301,"reason":"WORKFLOWRUN_INVALID_REFERENCE"}"#;
    for (status, body) in [(400, unknown), (404, ""), (404, "{}"), (404, unknown)] {
        assert!(matches!(read(Operation::Resume, answer(status, body), 0), Verdict::UnknownRun { .. }), "{body}");
        assert!(matches!(read(Operation::Start, answer(status, body), 0), Verdict::Rejected { .. }), "{body}");
    }
    for (status, body) in [(400, ""), (400, r#"{"reason":"WORKFLOW_INVALID_REFERENCE"}"#), (409, ""), (422, "")] {
        assert!(matches!(read(Operation::Resume, answer(status, body), 0), Verdict::Rejected { .. }), "{body}");
    }
    assert!(matches!(read(Operation::Resume, answer(404, "<html>"), 0), Verdict::Misconfigured { .. }));
}

#[test]
fn found_run_has_to_carry_the_label() {
    let run = r#"{"id":"5f1","labels":{"sluice.dev/delivery":"M","a":"b"}}"#;
    let found = |status, body: &str| boomerang().read_found("M", answer(status, body), Timestamp(0));
    assert_eq!(found(200, &format!(r#"{{"content":[{run}],"last":true}}"#)), Ok(Some(run.as_bytes().to_vec())));
    assert_eq!(found(200, r#"{"content":[],"empty":true}"#), Ok(None));
    for body in [
        r#"{"content":[{"id":"5f1","labels":{"sluice.dev/delivery":"N"}}]}"#,
        r#"{"content":[{"id":"5f1","labels":{}}]}"#,
        r#"{"content":[{"id":"5f1"}]}"#,
        r#"{"content":null}"#,
        "{}",
        "[]",
        "<html>",
        "",
    ] {
        assert!(matches!(found(200, body), Err(Verdict::Unclear { .. })), "{body}");
    }
    assert!(matches!(found(503, ""), Err(Verdict::Retry { .. })));
    assert!(matches!(found(401, ""), Err(Verdict::Misconfigured { .. })));
}

#[test]
fn found_run_counts_only_if_the_engine_runs_it() {
    let run = |id: &str, status: &str, trigger: &str| {
        format!(r#"{{"id":"{id}","status":"{status}","trigger":"{trigger}","labels":{{"sluice.dev/delivery":"M"}}}}"#)
    };
    let found = |runs: &[String]| {
        let body = format!(r#"{{"content":[{}]}}"#, runs.join(","));
        boomerang().read_found("M", answer(200, &body), Timestamp(0))
    };
    for status in ["ready", "running", "waiting", "succeeded", "failed", "cancelled"] {
        let started = run("2", status, "webhook");
        let orphan = run("1", "notstarted", "webhook");
        assert_eq!(found(&[orphan, started.clone()]), Ok(Some(started.into_bytes())), "{status}");
    }
    let reason = "the engine answered 200, and has saved the run 1 without starting it".to_owned();
    let orphan = Err(Verdict::Unclear { reason, after: None });
    assert_eq!(found(&[run("1", "notstarted", "webhook")]), orphan);
    assert_eq!(
        found(&[run("1", "notstarted", "webhook"), run("2", "running", "task")]),
        orphan,
        "children don't count"
    );
    assert!(matches!(found(&[run("2", "running", "task")]), Err(Verdict::Unclear { .. })));
}
