//! Engines that know a repeated start, that keep callbacks, that need a login, or that can do less: by their profiles.
//! The answers are those that the real engines gave (`docs/engines/`); `tests/engines` runs these.

use serde_json::{Value, json};
use sluice::ports::SendError;

use crate::fake::{JSON, OPERATOR, World, answer, request, row};

const WEBHOOK: &str = "/api/v2/webhook?ref=order";
const KEY: (&str, &str) = ("idempotency-key", "k");
const STARTED: &str = r#"{"runId":"5b1c","started":true}"#;
const ALREADY: &str = r#"{"code":6,"message":"Workflow execution is already running.","details":[{"@type":"type.googleapis.com/temporal.api.errordetails.v1.WorkflowExecutionAlreadyStartedFailure","startRequestId":"x","runId":"5b1c"}]}"#;
const NO_RUN: &str = r#"{"code":5,"message":"workflow not found for ID: x","details":[{"@type":"type.googleapis.com/temporal.api.errordetails.v1.NotFoundFailure"}]}"#;
const COMPLETED: &str = r#"{"code":5,"message":"workflow execution already completed","details":[{"@type":"type.googleapis.com/temporal.api.errordetails.v1.NotFoundFailure"}]}"#;

fn temporal() -> World {
    let constants = json!({"task_queue": "orders"});
    World::with_operator().with("engine", "temporal").setting("engine", constants)
}

fn lost() -> Result<http::Response<Vec<u8>>, SendError> {
    Err(SendError::NoResponse("the connection was cut"))
}

/// Method, path and body of each request that the engine got.
fn sent(world: &World) -> Vec<(String, String, String)> {
    let all = world.engine.received.take();
    let part = |received: crate::fake::Received| {
        let (parts, body) = received.request.into_parts();
        let target = parts.uri.path_and_query().unwrap().to_string();
        (parts.method.to_string(), target, String::from_utf8(body).unwrap())
    };
    all.into_iter().map(part).collect()
}

/// An own profile: starts by POST of the input, with these members besides.
fn own(members: Value) -> World {
    let start = json!({"request": {"method": "POST", "path": "/{workflow}/{mark}", "body": {"$": "input"}}, "proof": "object", "reference": "{mark}"});
    let mut profile = json!({"name": "own", "title": "Own", "doubt": "resend", "start": start, "answers": []});
    profile.as_object_mut().unwrap().extend(members.as_object().unwrap().clone());
    World::with_operator().with("engine", &profile.to_string())
}

#[on_each_store]
fn answer_has_one_form_for_all_engines() {
    let world = temporal().respond(200, STARTED);
    let reply = world.post(WEBHOOK, &[JSON, KEY], r#"{"n":12345678901234567890}"#);
    assert_eq!(reply.outcome(), (200, Some("delivered")));
    let [(method, path, body)] = sent(&world).try_into().unwrap();
    let mark = path.rsplit('/').next().unwrap().to_owned();
    assert_eq!((method.as_str(), path), ("POST", format!("/api/v1/namespaces/default/workflows/{mark}")));
    assert_eq!(reply.json(), json!({"id": mark, "workflowRef": "order", "engine": "temporal"}));
    let body: Value = serde_json::from_str(&body).unwrap();
    assert_eq!((&body["requestId"], &body["taskQueue"]["name"]), (&json!(mark), &json!("orders")));
    let data = body["input"]["payloads"][0]["data"].as_str().unwrap();
    use base64::Engine as _;
    let data = base64::engine::general_purpose::STANDARD.decode(data).unwrap();
    assert_eq!(String::from_utf8(data).unwrap(), r#"{"data":{"n":12345678901234567890}}"#);
    // The repeat is answered by Sluice itself.
    let repeat = world.post(WEBHOOK, &[JSON, KEY], r#"{"n":12345678901234567890}"#);
    assert_eq!((repeat.outcome(), repeat.json()), ((200, Some("duplicate")), reply.json()));
    assert!(sent(&world).is_empty());
}

/// A conflict alone proves nothing: a quota may be used up, or something else may have the name.
#[on_each_store]
fn start_that_exists_counts_only_if_its_run_is_found() {
    let mark = |world: &World| sent(world)[0].1.rsplit('/').next().unwrap().to_owned();
    let probe = temporal().respond(200, STARTED);
    probe.post(WEBHOOK, &[JSON, KEY], "{}");
    let mark = mark(&probe);
    let found = json!({"workflowExecutionInfo": {"execution": {"workflowId": mark, "runId": "5b1c"}}}).to_string();
    let other = found.replace(&mark, "somebody-elses");
    for (lookup, expected) in [
        (answer(200, &found), (200, Some("delivered"))),
        (answer(200, &other), (202, Some("pending"))),
        (answer(404, NO_RUN), (202, Some("pending"))),
        (answer(503, ""), (202, Some("pending"))),
        (lost(), (202, Some("pending"))),
    ] {
        let _row = row(format!("{lookup:?}"));
        let world = temporal().respond(409, ALREADY).result(lookup);
        let reply = world.post(WEBHOOK, &[JSON, KEY], "{}");
        assert_eq!(reply.outcome(), expected);
        let methods: Vec<_> = sent(&world).into_iter().map(|(method, ..)| method).collect();
        assert_eq!(methods, ["POST", "GET"]);
    }
}

#[on_each_store]
fn start_is_sent_again_after_doubt_to_an_engine_that_knows_its_mark() {
    let world = temporal().result(lost());
    assert_eq!(world.post(WEBHOOK, &[JSON, KEY], "{}").outcome(), (202, Some("pending")));
    world.advance(120_000);
    world.engine.script(answer(200, STARTED));
    assert_eq!(world.drain()["delivered"], 1);
    let [first, second] = sent(&world).try_into().unwrap();
    assert_eq!(first, second, "the same bytes, without a lookup");
    assert_eq!(world.post(WEBHOOK, &[JSON, KEY], "{}").outcome(), (200, Some("duplicate")));
}

#[on_each_store]
fn start_is_held_after_doubt_if_nothing_can_tell() {
    let world = own(json!({"doubt": "hold"})).result(lost());
    assert_eq!(world.post(WEBHOOK, &[JSON, KEY], "{}").outcome(), (202, Some("pending")));
    world.advance(120_000);
    assert_eq!(world.drain()["dead"], 1);
    let [id] = world.dead().try_into().unwrap();
    let letter = world.as_operator("GET", &format!("/api/v2/deliveries/{id}")).json();
    assert!(letter["last_failure"].as_str().unwrap().contains("look for the run at the engine"), "{letter}");
    assert_eq!(sent(&world).len(), 1);
    // The operator has looked: it is sent, once.
    world.engine.script(answer(200, "{}"));
    let redelivered = world.as_operator("POST", &format!("/api/v2/deliveries/{id}/redeliver"));
    assert_eq!(
        (redelivered.status(), &redelivered.json()["state"]),
        (200, &json!("delivered")),
        "{}",
        redelivered.text()
    );
    assert_eq!(sent(&world).len(), 1);
}

#[on_each_store]
fn engine_that_may_start_twice_is_reported() {
    let generic = || World::with_operator().with("engine", "generic");
    let warnings = generic().get("/readyz").json()["warnings"].to_string();
    assert!(warnings.contains("may start a run twice"), "{warnings}");
    let world = generic().result(lost());
    assert_eq!(world.post(WEBHOOK, &[JSON, KEY], r#"{"n":1.0}"#).outcome(), (202, Some("pending")));
    world.advance(120_000);
    world.engine.script(answer(204, ""));
    assert_eq!(world.drain()["delivered"], 1);
    let received = world.engine.received.take();
    assert_eq!(received.len(), 2);
    for received in received {
        let header = |name: &str| received.request.headers()[name].to_str().unwrap().to_owned();
        assert_eq!((header("ce-specversion"), header("ce-type")), ("1.0".to_owned(), "dev.sluice.webhook".to_owned()));
        assert_eq!(header("ce-id"), header("idempotency-key"));
        assert_eq!(received.request.body(), br#"{"n":1.0}"#);
    }
}

#[on_each_store]
fn short_memory_of_an_engine_is_reported() {
    let warnings = |world: World| world.get("/readyz").json()["warnings"].to_string();
    let restate = |hours: u32| World::new().with("engine", "restate").setting("retry_max_hours", hours);
    assert!(warnings(restate(25)).contains("knows a start for 24 h"), "{}", warnings(restate(25)));
    assert!(!warnings(restate(24)).contains("knows a start"));
    let temporal =
        temporal().setting("retry_max_hours", 48).setting("engine", json!({"task_queue": "q", "retention_hours": 72}));
    assert!(!warnings(temporal).contains("knows a start"), "the constant counts");
}

const CALLBACK: &str = "/api/v2/callback?ref=r&topic=approval";

#[on_each_store]
fn callback_is_delivered_by_the_answer_of_an_engine_that_keeps_it() {
    let world = temporal().respond(200, "{}");
    assert_eq!(world.post_json(CALLBACK, r#"{"ok":1.0}"#).outcome(), (200, Some("delivered")));
    let [(method, path, body)] = sent(&world).try_into().unwrap();
    let path = (method.as_str(), path.as_str());
    assert_eq!(path, ("POST", "/api/v1/namespaces/default/workflows/r/signal/approval"), "no look before");
    assert_eq!(serde_json::from_str::<Value>(&body).unwrap()["requestId"].as_str().unwrap().len(), 52);
    assert_eq!(world.post_json(CALLBACK, r#"{"ok":1.0}"#).outcome(), (200, Some("duplicate")));
    world.post_json(CALLBACK, r#"{"ok":2}"#).problem(409, "callback-conflict");
    assert!(sent(&world).is_empty());
}

#[on_each_store]
fn callback_is_sent_again_after_doubt_to_an_engine_that_knows_a_repeat() {
    let world = temporal().result(lost());
    assert_eq!(world.post_json(CALLBACK, "{}").outcome(), (202, Some("pending")));
    assert_eq!(world.drain()["delivered"], 0, "the engine may still act on the first one");
    world.advance(120_000);
    world.engine.script(answer(200, "{}"));
    assert_eq!(world.drain()["delivered"], 1);
    let [first, second] = sent(&world).try_into().unwrap();
    assert_eq!(first, second);
    assert_eq!(world.post_json(CALLBACK, "{}").outcome(), (200, Some("duplicate")));
}

#[on_each_store]
fn callback_waits_for_a_run_that_may_appear() {
    let world = temporal().setting("callback_early_ms", 60_000).respond(404, NO_RUN);
    assert_eq!(world.post_json(CALLBACK, "{}").outcome(), (202, Some("pending")));
    world.advance(20_000);
    world.engine.script(answer(200, "{}"));
    assert_eq!(world.drain()["delivered"], 1);
    // One whose run does not appear is given up.
    let other = "/api/v2/callback?ref=x&topic=approval";
    world.engine.script(answer(404, NO_RUN));
    assert_eq!(world.post_json(other, "{}").outcome(), (202, Some("pending")));
    world.advance(120_000);
    world.engine.script(answer(404, NO_RUN));
    assert_eq!(world.drain()["rejected"], 1);
}

#[on_each_store]
fn callback_for_a_run_that_has_ended_is_refused() {
    let world = temporal().respond(404, COMPLETED);
    world.post_json(CALLBACK, "{}").problem(409, "callback-resolved");
    // Nothing is claimed: another one may be right.
    world.engine.script(answer(200, "{}"));
    assert_eq!(world.post_json(CALLBACK, "{}").outcome(), (200, Some("delivered")));
}

/// Restate takes a callback for a run that was never started, so its profile looks at the run first.
#[on_each_store]
fn callback_is_preceded_by_a_look_if_the_profile_has_one() {
    let restate = || World::with_operator().with("engine", "restate");
    let callback = "/api/v2/callback?ref=order!abc&topic=approval";
    let open = r#"{"message":"not ready","code":470,"source":"ingress"}"#;
    let accepted = r#"{"invocationId":"inv_1","status":"Accepted"}"#;
    let world = restate().respond(470, open).respond(202, accepted);
    assert_eq!(world.post_json(callback, "{}").outcome(), (200, Some("delivered")));
    let paths: Vec<_> = sent(&world).into_iter().map(|(method, path, _)| format!("{method} {path}")).collect();
    assert_eq!(paths, ["GET /restate/workflow/order/abc/output", "POST /order/abc/approval/send"]);
    // The run has ended since: an equal one is a repeat, another one comes too late.
    let late = restate().respond(200, r#""done""#);
    late.post_json(callback, "{}").problem(409, "callback-resolved");
    world.engine.script(answer(200, r#""done""#));
    assert_eq!(world.post_json(callback, "{}").outcome(), (200, Some("duplicate")));
    // After doubt it is sent again without a look: it may have ended the run itself.
    let world = restate().respond(470, open).result(lost());
    assert_eq!(world.post_json(callback, "{}").outcome(), (202, Some("pending")));
    world.advance(120_000);
    sent(&world);
    world.engine.script(answer(202, r#"{"invocationId":"inv_1","status":"PreviouslyAccepted"}"#));
    assert_eq!(world.drain()["delivered"], 1);
    assert_eq!(sent(&world).len(), 1);
}

#[on_each_store]
fn callback_that_an_engine_cannot_take_is_refused_before_anything_is_stored() {
    let prefect = "00000000-0000-0000-0000-000000000001";
    let pairs = [
        ("kubernetes-job", "/api/v2/callback?ref=r&topic=t".to_owned(), 501, "unsupported-by-engine"),
        ("generic", "/api/v2/callback?ref=r&topic=t".to_owned(), 501, "unsupported-by-engine"),
        ("prefect", format!("/api/v2/callback?ref={prefect}&topic=t&status=failed"), 501, "unsupported-by-engine"),
        ("temporal", "/api/v2/callback?ref=r&topic=a/b".to_owned(), 400, "invalid-parameter"),
        ("airflow", "/api/v2/callback?ref=r&topic=t".to_owned(), 400, "invalid-parameter"),
        ("airflow", "/api/v2/callback?ref=dag!&topic=t".to_owned(), 400, "invalid-parameter"),
    ];
    for (engine, uri, status, problem) in pairs {
        let _row = row(format!("{engine} {uri}"));
        let constants = match engine {
            "temporal" => json!({"task_queue": "orders"}),
            "kubernetes-job" => json!({"image": "i", "namespace": "n"}),
            _ => json!({}),
        };
        let world = World::with_operator().with("engine", engine).setting("engine", constants);
        world.post_json(&uri, "{}").problem(status, problem);
        world.assert_untouched();
    }
    let world = World::with_operator().with("engine", "generic").setting("link_secrets", ["s3cret"]);
    let links = request("POST", "/api/v2/callback-links", &[OPERATOR, JSON], r#"{"ref":"r","topic":"t"}"#);
    world.send(links).problem(501, "unsupported-by-engine");
}

#[on_each_store]
fn reference_has_the_names_that_the_profile_needs() {
    let world = temporal().respond(200, STARTED);
    assert_eq!(world.post_json("/api/v2/webhook?ref=fast!order", "{}").status(), 200);
    let [(.., body)] = sent(&world).try_into().unwrap();
    let body: Value = serde_json::from_str(&body).unwrap();
    let names = (&body["taskQueue"]["name"], &body["workflowType"]["name"]);
    assert_eq!(names, (&json!("fast"), &json!("order")));
    for reference in ["a!b!c", "!order", "fast!", "!"] {
        let _row = row(reference);
        let world = temporal();
        let problem =
            world.post_json(&format!("/api/v2/webhook?ref={reference}"), "{}").problem(400, "invalid-parameter");
        assert_eq!(problem["detail"], "`ref` must be TASK_QUEUE!WORKFLOW, without an empty name");
        world.assert_untouched();
    }
}

/// Such a payload is a 500 at the engine, which would be sent again and again.
#[on_each_store]
fn payload_that_an_engine_cannot_store_is_refused() {
    let world = airflow().with("engine_token", "").respond(404, r#"{"detail":"Dag with dag_id: 'order' not found"}"#);
    let problem = world.post_json(WEBHOOK, r#"{"a":"\ud83d"}"#).problem(400, "invalid-body");
    assert_eq!(problem["field"], "body");
    world.assert_untouched();
    assert_eq!(world.post_json(WEBHOOK, r#"{"a":"\ud83d\ude00"}"#).status(), 404, "it was sent");
}

#[on_each_store]
fn limit_of_an_engine_bounds_the_default_limit() {
    let body = format!(r#"{{"a":"{}"}}"#, "x".repeat(200_000));
    let jobs = || {
        World::with_operator()
            .with("engine", "kubernetes-job")
            .setting("engine", json!({"image": "i", "namespace": "n"}))
    };
    jobs().post_json(WEBHOOK, &body).problem(413, "body-too-large");
    assert_eq!(jobs().get("/readyz").status(), 200);
    let problem = jobs().setting("max_body_bytes", 524_288).get("/readyz").problem(503, "configuration");
    assert!(problem["detail"].as_str().unwrap().contains("the engine takes no larger payload"), "{problem}");
}

const DAG_RUN: &str = r#"{"dag_run_id":"RUN","dag_id":"order","state":"queued"}"#;

fn airflow() -> World {
    World::with_operator().with("engine", "airflow").with("engine_token", "me:s3cret:pass")
}

/// The token that each request to the engine carried.
fn tokens(world: &World) -> Vec<String> {
    let all = world.engine.received.take();
    let token = |received: &crate::fake::Received| {
        let header = received.request.headers().get("authorization").map(|value| value.to_str().unwrap().to_owned());
        header.unwrap_or_else(|| format!("- {}", received.request.uri().path()))
    };
    all.iter().map(token).collect()
}

#[on_each_store]
fn user_and_password_are_exchanged_for_a_token_that_is_stored() {
    let start = "/api/v2/webhook?ref=order";
    let world = airflow()
        .respond(201, r#"{"access_token":"t1"}"#)
        .respond(404, r#"{"detail":"Dag with dag_id: 'order' not found"}"#);
    world.post_json(start, "{}");
    assert_eq!(tokens(&world), ["- /auth/token", "Bearer t1"]);
    // Another instance takes the stored one, until the engine refuses it.
    world.engine.script(answer(404, r#"{"detail":"Dag with dag_id: 'order' not found"}"#));
    world.post_json(start, "{}");
    assert_eq!(tokens(&world), ["Bearer t1"]);
    world.advance(20_000);
    for refusal in [401, 403] {
        world.engine.script(answer(refusal, r#"{"detail":"Invalid JWT token"}"#));
        world.engine.script(answer(201, &format!(r#"{{"access_token":"t{refusal}"}}"#)));
        world.engine.script(answer(404, r#"{"detail":"Dag with dag_id: 'order' not found"}"#));
        world.post_json(start, "{}");
        let tokens = tokens(&world);
        assert_eq!(tokens[1..], ["- /auth/token".to_owned(), format!("Bearer t{refusal}")], "{tokens:?}");
        world.advance(20_000);
    }
    // At the end of its life it is replaced before it is used.
    world.advance(86_400_000);
    world.engine.script(answer(201, r#"{"access_token":"t9"}"#));
    world.engine.script(answer(404, r#"{"detail":"Dag with dag_id: 'order' not found"}"#));
    world.post_json(start, "{}");
    assert_eq!(tokens(&world), ["- /auth/token", "Bearer t9"]);
}

#[on_each_store]
fn failed_login_has_not_started_a_run() {
    for (login, expected) in [
        (lost(), "the login failed"),
        (answer(503, ""), "the login failed"),
        (answer(401, r#"{"detail":"Invalid credentials"}"#), "the login failed"),
        (answer(200, "<html>"), "the login failed"),
        (Err(SendError::NotSent("the connection was refused")), "can't be reached"),
    ] {
        let _row = row(format!("{login:?}"));
        let world = airflow().result(login);
        let reply = world.post(WEBHOOK, &[JSON, KEY], "{}");
        assert_eq!(reply.outcome(), (202, Some("pending")));
        let pending = world.only_pending();
        assert_eq!(pending["sent"], Value::Null, "nothing is in doubt: {pending}");
        assert!(pending["history"].to_string().contains(expected), "{pending}");
        assert_eq!(sent(&world).len(), 1, "the start was not sent");
    }
}

#[on_each_store]
fn token_without_a_colon_is_sent_as_it_is() {
    let world = airflow().with("engine_token", "jwt").respond(200, DAG_RUN);
    world.post_json(WEBHOOK, "{}");
    assert_eq!(tokens(&world), ["Bearer jwt"]);
    let world = World::with_operator()
        .with("engine", "prefect")
        .with("engine_token", "admin:pass")
        .respond(201, r#"{"id":"0f"}"#);
    world.post_json(WEBHOOK, "{}");
    assert_eq!(tokens(&world), ["Basic YWRtaW46cGFzcw=="]);
    let own = own(json!({"auth": {"query": "code"}})).with("engine_token", "a b").respond(200, "{}");
    assert_eq!(own.post_json(WEBHOOK, "{}").status(), 503, "a token has no blanks");
    let own = own.with("engine_token", "a+b");
    own.post_json(WEBHOOK, "{}");
    assert!(sent(&own)[0].1.ends_with("?code=a%2Bb"));
}

/// The task of a topic is looked at before and after the callback, and the run only if the task doesn't show its end.
#[on_each_store]
fn callback_answers_a_task_that_a_person_would() {
    let look = |state: &str, options: &str, received: bool| {
        let since = "2020-01-01T00:00:00Z";
        json!({"task_instance": {"state": state}, "created_at": since, "response_received": received,
               "chosen_options": serde_json::from_str::<Value>(options).unwrap()})
        .to_string()
    };
    let callback = "/api/v2/callback?ref=order!run1&topic=approval";
    let waiting = look("awaiting_input", "null", false);
    let world = airflow().with("engine_token", "jwt");
    let world = world.respond(200, &waiting).respond(200, "{}").respond(200, &look("success", r#"["Approve"]"#, true));
    assert_eq!(world.post_json(callback, r#"{"note":"x"}"#).outcome(), (200, Some("delivered")));
    let paths: Vec<_> = sent(&world).into_iter().map(|(method, path, _)| format!("{method} {path}")).collect();
    let task = "/api/v2/dags/order/dagRuns/run1/taskInstances/approval/-1/hitlDetails";
    assert_eq!(paths, [format!("GET {task}"), format!("PATCH {task}"), format!("GET {task}")]);
}

/// A malformed rule is an error of each request that needs it. It is not skipped: the run would have an unknown state.
#[on_each_store]
fn malformed_profile_is_an_error_of_each_request() {
    own(json!({"settings": {"team": 7}})).post(WEBHOOK, &[JSON, KEY], "{}").problem(503, "configuration");

    let start = json!({"request": {"method": "POST", "path": "/{workflow}/{mark}"}, "proof": "run"});
    let states = json!([{"status": ["ended"], "state": "ended"}, {"status": 7, "state": "active"}]);
    let run = json!({"id": "/id", "status": "/status", "states": states});
    let world = own(json!({"start": start, "run": run})).respond(200, r#"{"id":"r1","status":"running"}"#);
    assert_eq!(world.post(WEBHOOK, &[JSON, KEY], "{}").outcome(), (202, Some("pending")));
    let history = world.only_pending()["history"].to_string();
    assert!(history.contains("breaks the form of profiles at `/run/states/1/status`"), "{history}");
}
