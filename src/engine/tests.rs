//! Requests and verdicts of the built-in profiles.

use std::time::Duration;

use http::{HeaderMap, Method, Response, StatusCode};
use serde_json::value::RawValue;

use super::*;
use crate::callback::{Callback, Status};
use crate::delivery::{DeliveryId, Payload, RunState, Start, Trigger, WaitState, WaitTask};
use crate::reference::{RunRef, Topic, WorkflowRef};

fn raw(json: &str) -> Cow<'_, RawValue> {
    Cow::Borrowed(serde_json::from_str(json).unwrap())
}

fn engine(profile: &str, constants: &str) -> Engine<'static> {
    engine_of(Profile::built_in(profile).unwrap(), constants)
}

fn engine_of<'p>(profile: Profile<'p>, constants: &str) -> Engine<'p> {
    Engine {
        constants: Constants::parse(constants, &profile).unwrap(),
        profile,
        url: EngineUrl::parse("http://engine:8080").unwrap(),
        token: None,
        start: true,
    }
}

fn boomerang() -> Engine<'static> {
    engine("boomerang", "")
}

fn flow() -> Engine<'static> {
    engine("flow", r#"{"team":"a team","base_path":"/flow"}"#)
}

fn read(operation: Operation, response: Response<Vec<u8>>, now: u64) -> Verdict {
    boomerang().read(operation, &Names::default(), response, Timestamp(now))
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

fn built_by(engine: &Engine<'_>, work: Work<'_>) -> (Method, String, String) {
    let request = engine.request(&delivery(work)).unwrap();
    let body = String::from_utf8(request.body().clone()).unwrap();
    assert_eq!(request.headers().contains_key("content-type"), !body.is_empty());
    (request.method().clone(), request.uri().to_string(), body)
}

fn found_by(engine: &Engine<'_>, delivery: &Delivery<'_>) -> Request<Vec<u8>> {
    engine.find(&engine.names(delivery).unwrap(), &delivery.trace).unwrap().unwrap()
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
        let request = found_by(&engine, &delivery(webhook()));
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

/// Flow answers 500 to a callback for an unknown run (`flow-api.json`, "callback POST, unknown run"), and whenever its
/// own call to the engine fails.
#[test]
fn failed_callback_of_flow_is_unclear() {
    let body = r#"{"code":500,"reason":"BadRequest","message":"Exception in communicating with internal services."}"#;
    let reason = "the engine answered 500, as it does if the run is unknown, or if its own call failed".to_owned();
    let verdict = flow().read(Operation::Resume, &Names::default(), answer(500, body), Timestamp(0));
    assert_eq!(verdict, Verdict::Unclear { reason, after: None, concluded: false });
}

/// The engine's own 500 says that it no longer acts on the request; that of a proxy, or of Flow, doesn't.
#[test]
fn only_the_engine_itself_concludes_a_request() {
    let concludes = |engine: &Engine<'_>, status, body: &str| match engine.read(
        Operation::Start,
        &Names::default(),
        answer(status, body),
        Timestamp(0),
    ) {
        Verdict::Unclear { concluded, .. } => concluded,
        other => panic!("{other:?}"),
    };
    let spring =
        r#"{"timestamp":"2026-11-27T00:35:49.143+00:00","status":500,"error":"Internal Server Error","path":"/x"}"#;
    let own = r#"{"timestamp":"2026-11-27T00:35:49.143+00:00","code":1,"reason":"WORKFLOW_RUNTIME_EXCEPTION"}"#;
    let gateway =
        r#"{"timestamp":"2026-11-27","status":500,"error":"Internal Server Error","path":"/x","requestId":"1"}"#;
    for body in [spring, own] {
        assert!(concludes(&boomerang(), 500, body), "{body}");
        assert!(!concludes(&flow(), 500, body), "{body}");
        assert!(!concludes(&boomerang(), 502, body), "{body}");
    }
    for body in [gateway, "", "<html>", r#"{"status":500}"#, "[]"] {
        assert!(!concludes(&boomerang(), 500, body), "{body}");
    }
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
            other => panic!("{other:?}"),
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
    let run = r#"{"id":"5f1c9c8e2f8b9a0001a1b2c3","status":"ready","phase":"pending"}"#;
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
fn start_counts_by_the_status_of_the_run() {
    let read_run = |status: &str, phase: &str| {
        let body = format!(r#"{{"id":"5f1","status":"{status}","phase":"{phase}"}}"#);
        read(Operation::Start, answer(200, &body), 0)
    };
    for (status, phase) in [
        ("ready", "pending"),
        ("ready", "queued"),
        ("running", "running"),
        ("waiting", "running"),
        ("succeeded", "completed"),
        ("failed", "finalized"),
        ("timedout", "completed"),
        ("cancelled", "completed"),
    ] {
        assert!(matches!(read_run(status, phase), Verdict::Accepted { .. }), "{status} {phase}");
    }
    let unclear = |reason: &str, concluded| Verdict::Unclear { reason: reason.to_owned(), after: None, concluded };
    let orphan = unclear("the engine answered 200, and has saved the run 5f1 without queuing it", true);
    assert_eq!(read_run("notstarted", "pending"), orphan);
    assert_eq!(
        read_run("invalid", "completed"),
        unclear("the engine answered 200, and has saved the run 5f1 as invalid", true)
    );
    // No proof of a start, and none that there was no start.
    for (status, phase) in [("notstarted", "running"), ("invalid", "running"), ("cancelled", "running"), ("paused", "")]
    {
        let unknown = unclear("the engine answered 200, and the run 5f1 has no status that is known", false);
        assert_eq!(read_run(status, phase), unknown, "{status} {phase}");
    }
}

#[test]
fn id_that_is_no_id_is_not_shown() {
    let body = r#"{"id":"<b>5f1","status":"notstarted","phase":"pending"}"#;
    let Verdict::Unclear { reason, .. } = read(Operation::Start, answer(200, body), 0) else { panic!() };
    assert_eq!(reason, "the engine answered 200, and has saved a run without queuing it");
}

const LABEL: &str = "01M85MNVRRNF3YKJSMZYXYD1X7";

/// The runs that a lookup for a webhook to `workflow` finds, by id and state.
fn found(workflow: &str, status: u16, body: &str) -> Result<Vec<(String, RunState)>, Verdict> {
    let start = Start::new(WorkflowRef::parse(workflow).unwrap(), Payload::Webhook(raw("{}")));
    let names = boomerang().names(&delivery(Work::Start(start))).unwrap();
    let runs = boomerang().read_found(&names, answer(status, body), Timestamp(0))?;
    Ok(runs.into_iter().map(|run| (run.id, run.state)).collect())
}

fn run(id: &str, status: &str, trigger: &str, workflow: &str) -> String {
    let phase = if matches!(status, "notstarted" | "ready") { "pending" } else { "completed" };
    format!(
        r#"{{"id":"{id}","status":"{status}","phase":"{phase}","trigger":"{trigger}","workflowRef":"{workflow}","labels":{{"sluice.dev/delivery":"{LABEL}"}}}}"#
    )
}

fn page(runs: &[String]) -> String {
    format!(r#"{{"content":[{}],"last":true}}"#, runs.join(","))
}

#[test]
fn found_run_has_to_carry_the_label() {
    let mine = run("5f1", "ready", "webhook", "w");
    assert_eq!(found("w", 200, &page(std::slice::from_ref(&mine))), Ok(vec![("5f1".to_owned(), RunState::Active)]));
    assert_eq!(found("w", 200, &page(&[])), Ok(vec![]));
    for body in [
        page(&[mine.replace(LABEL, "N")]),
        page(&[mine.clone(), mine.replace(LABEL, "N")]),
        page(&[r#"{"id":"5f1","status":"ready","labels":{}}"#.to_owned()]),
        page(&[mine.replace("5f1", "")]),
        page(&[mine.replace("ready", "paused")]),
        page(&["7".to_owned()]),
        r#"{"content":null}"#.to_owned(),
        "{}".to_owned(),
        "[]".to_owned(),
        "<html>".to_owned(),
        String::new(),
    ] {
        assert!(matches!(found("w", 200, &body), Err(Verdict::Unclear { concluded: false, .. })), "{body}");
    }
    assert!(matches!(found("w", 503, ""), Err(Verdict::Retry { .. })));
    assert!(matches!(found("w", 401, ""), Err(Verdict::Misconfigured { .. })));
}

#[test]
fn found_runs_keep_their_order_and_state() {
    let all = ["notstarted", "ready", "succeeded", "failed", "cancelled", "invalid"];
    let runs: Vec<_> = all.iter().map(|status| run(status, status, "webhook", "w")).collect();
    let states: Vec<_> = found("w", 200, &page(&runs)).unwrap().into_iter().map(|(_, state)| state).collect();
    use RunState::{Active, Cancelled, Ended, Invalid, NotStarted};
    assert_eq!(states, [NotStarted, Active, Ended, Ended, Cancelled, Invalid]);
}

#[test]
fn runs_of_others_do_not_count() {
    let (id, other) = ("6b08ce3a2bb126dc8dc5a8a6", "6b08ce3a2bb126dc8dc5a8a8");
    let (mine, child) = (run("1", "ready", "webhook", id), run("2", "succeeded", "task", other));
    let of_another = run("3", "ready", "webhook", other);
    let ids = |workflow: &str, runs: &[String]| {
        found(workflow, 200, &page(runs)).map(|runs| runs.into_iter().map(|(id, _)| id).collect::<Vec<_>>())
    };
    assert_eq!(ids(id, &[mine.clone(), child.clone(), of_another.clone()]).unwrap(), ["1"]);
    assert_eq!(ids(&id.to_uppercase(), std::slice::from_ref(&mine)).unwrap(), ["1"]);
    // A name says nothing about the workflow's id, so a run with the label counts.
    assert_eq!(ids("deploy", &[mine, of_another.clone()]).unwrap(), ["1", "3"]);
    // There was a run that these belong to: it is missing, not absent.
    for runs in [vec![child.clone()], vec![of_another], vec![child]] {
        assert!(matches!(ids(id, &runs), Err(Verdict::Unclear { .. })));
    }
}

/// A run with one task of each state, as the engine shows it.
fn look(tasks: &str) -> Result<RunView, Verdict> {
    let body = format!(r#"{{"id":"5f1","status":"running","phase":"running"{tasks}}}"#);
    boomerang().read_look("5f1", None, answer(200, &body), Timestamp(0))
}

fn wait_task(id: &str, status: &str, topic: &str) -> String {
    format!(
        r#"{{"id":"{id}","type":"eventwait","status":"{status}","params":[{{"name":"a","value":"b"}},{{"name":"topic","value":{topic}}}]}}"#
    )
}

#[test]
fn look_shows_the_tasks_that_wait_for_a_topic() {
    let states = [
        ("waiting", WaitState::Waiting),
        ("notstarted", WaitState::Ahead),
        ("ready", WaitState::Ahead),
        ("running", WaitState::Ahead),
        ("succeeded", WaitState::Ended(Some(Status::Succeeded))),
        ("failed", WaitState::Ended(Some(Status::Failed))),
        ("skipped", WaitState::Ended(None)),
        ("cancelled", WaitState::Ended(None)),
        ("timedout", WaitState::Ended(None)),
        ("invalid", WaitState::Ended(None)),
    ];
    let tasks: Vec<_> = states.iter().map(|(status, _)| wait_task(status, status, "\"ok\"")).collect();
    let view = look(&format!(r#","tasks":[{{"id":"s","type":"start","status":"odd"}},{}]"#, tasks.join(","))).unwrap();
    assert_eq!((view.state, view.has_tasks), (RunState::Active, true));
    let expected = states.map(|(id, state)| WaitTask { id: id.to_owned(), topic: Some("ok".to_owned()), state });
    assert_eq!(view.waits, expected);
}

#[test]
fn topic_made_of_params_is_unknown_until_its_task_waits() {
    let topic = |status: &str, topic: &str| {
        let view = look(&format!(r#","tasks":[{}]"#, wait_task("t", status, topic))).unwrap();
        view.waits[0].topic.clone()
    };
    assert_eq!(topic("notstarted", r#""a-$(params.order)""#), None);
    assert_eq!(topic("ready", r#""a-$(params.order)""#), None);
    assert_eq!(topic("waiting", r#""a-$(params.order)""#).as_deref(), Some("a-$(params.order)"));
    assert_eq!(topic("succeeded", r#""a-77""#).as_deref(), Some("a-77"));
    assert_eq!(topic("notstarted", "77").as_deref(), Some("77"));
    let view = look(r#","tasks":[{"id":"t","type":"eventwait","status":"notstarted"}]"#).unwrap();
    assert_eq!(view.waits[0].topic.as_deref(), Some(""), "no topic is none that a callback has");
}

#[test]
fn look_that_shows_no_state_is_unclear() {
    for tasks in ["", r#","tasks":null"#, r#","tasks":[]"#] {
        let view = look(tasks).unwrap();
        assert_eq!((view.has_tasks, view.waits.len()), (false, 0), "{tasks}");
    }
    for tasks in [
        format!(r#","tasks":[{}]"#, wait_task("t", "paused", "\"ok\"")),
        format!(r#","tasks":[{}]"#, wait_task("", "waiting", "\"ok\"")),
        r#","tasks":[7]"#.to_owned(),
        r#","tasks":"t"#.to_owned() + "\"",
    ] {
        assert!(matches!(look(&tasks), Err(Verdict::Unclear { concluded: false, .. })), "{tasks}");
    }
    let other_run = r#"{"id":"5f2","status":"running","phase":"running"}"#;
    for body in ["", "<html>", "[]", "{}", r#"{"id":"5f1","status":"odd"}"#, other_run] {
        let view = boomerang().read_look("5f1", None, answer(200, body), Timestamp(0));
        assert!(matches!(view, Err(Verdict::Unclear { .. })), "{body}");
    }
    let unknown = r#"{"code":1301,"reason":"WORKFLOWRUN_INVALID_REFERENCE"}"#;
    for (status, body) in [(400, unknown), (404, "")] {
        let view = boomerang().read_look("5f1", None, answer(status, body), Timestamp(0));
        assert!(matches!(view, Err(Verdict::UnknownRun { .. })), "{status}");
    }
}

#[test]
fn scope_is_part_of_each_path() {
    let engine = engine("flow", r#"{"team":"acme","teams":["ops","acme"]}"#);
    let path = |request: Result<Request<Vec<u8>>, RequestError>| request.unwrap().uri().path().to_owned();
    let start = |reference: &str| {
        let start = Start::new(WorkflowRef::parse(reference).unwrap(), Payload::Webhook(raw("{}")));
        delivery(Work::Start(start))
    };
    assert_eq!(path(engine.request(&start("wf"))), "/api/v2/team/acme/workflow/wf/submit");
    assert_eq!(path(engine.request(&start("ops/wf"))), "/api/v2/team/ops/workflow/wf/submit");
    assert_eq!(found_by(&engine, &start("ops/wf")).uri().path(), "/api/v2/team/ops/workflowrun/query");
    let path_if = |request: Result<Option<Request<Vec<u8>>>, RequestError>| path(request.map(Option::unwrap));
    let trace = HeaderMap::new();
    assert_eq!(path_if(engine.look("5f1", Some("t"), None, &trace)), "/api/v2/team/acme/workflowrun/5f1");
    assert_eq!(path_if(engine.look("5f1", None, Some("ops"), &trace)), "/api/v2/team/ops/workflowrun/5f1");
    assert_eq!(path_if(engine.cancel("5f1", Some("ops"), &trace)), "/api/v2/team/ops/workflowrun/5f1/cancel");
    assert_eq!(path_if(engine.describe(&WorkflowRef::parse("ops/wf").unwrap())), "/api/v2/team/ops/workflow/wf");
    assert_eq!(path(engine.describe_task("execute-shell", None, None)), "/api/v2/team/acme/task/execute-shell");
    assert_eq!(engine.scopes(), ["acme", "ops"]);
    let scope_of = |reference| engine.scope_of(&WorkflowRef::parse(reference).unwrap());
    assert_eq!((scope_of("wf").as_deref(), scope_of("ops/wf").as_deref()), (Some("acme"), Some("ops")));

    assert!(boomerang().scopes().is_empty() && boomerang().scope_of(&WorkflowRef::parse("wf").unwrap()).is_none());
    assert_eq!(boomerang().request(&start("ops/wf")).unwrap_err(), RequestError);
}

#[test]
fn reference_may_name_only_a_configured_scope() {
    let accepts = |engine: &Engine<'_>, reference| {
        engine.accepts(&WorkflowRef::parse(reference).unwrap()).map_err(|error| error.to_string())
    };
    let flow = engine("flow", r#"{"team":"acme","teams":["ops"]}"#);
    for reference in ["wf", "acme/wf", "ops/wf"] {
        assert_eq!(accepts(&flow, reference), Ok(()), "{reference}");
    }
    assert_eq!(accepts(&flow, "x/wf").unwrap_err(), "names a team that `engine` in `settings` doesn't list");
    assert_eq!(accepts(&boomerang(), "wf"), Ok(()));
    assert_eq!(
        accepts(&boomerang(), "acme/wf").unwrap_err(),
        "must not contain '/': the workflows of this engine have no team"
    );
}

#[test]
fn id_of_the_engine_cannot_leave_its_path_segment() {
    let trace = HeaderMap::new();
    for id in ["", ".", "..", "a/b", "a?b", "a%2fb", "a#b"] {
        assert_eq!(boomerang().look(id, None, None, &trace).unwrap_err(), RequestError, "{id}");
        assert_eq!(boomerang().cancel(id, None, &trace).unwrap_err(), RequestError, "{id}");
        assert_eq!(boomerang().describe_task(id, None, None).unwrap_err(), RequestError, "{id}");
    }
    let look = boomerang().look("a b", None, None, &trace).unwrap().unwrap();
    assert_eq!(look.uri(), "http://engine:8080/api/v1/workflowrun/a%20b?withTasks=true");
}
