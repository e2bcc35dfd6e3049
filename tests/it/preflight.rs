//! The preflight of a workflow: what it asks the engine, and what it finds. The answers are the recorded ones.

use serde_json::{Value, json};
use sluice::gateway::MAX_TEMPLATES;
use sluice::ports::SendError;

use crate::fake::{OPERATOR, World, request, row};

const QUERY: &str = include_str!("../../host/engine/vectors/query.json");
const FLOW: &str = include_str!("../../host/engine/vectors/flow-api.json");
/// The recorded workflow `shell`: one task, without an image.
const SHELL: &str = "6b08ce3a2bb126dc8dc5a8a8";
const URI: &str = "/api/v2/preflight?ref=6b08ce3a2bb126dc8dc5a8a8";

/// The body of the recorded response of this name.
pub fn recorded(file: &str, name: &str) -> String {
    let exchanges: Vec<Value> = serde_json::from_str(file).unwrap();
    let exchange = exchanges.iter().find(|exchange| exchange["name"] == name).unwrap();
    exchange["response"]["body"].to_string()
}

/// An engine that describes the recorded workflow and its task.
pub fn with_shell(world: World) -> World {
    world.respond(200, &recorded(QUERY, "workflow by id")).respond(200, &recorded(QUERY, "task by id"))
}

/// A workflow with this many tasks in containers, each with a template of its own.
fn with_tasks(count: usize) -> String {
    let mut workflow: Value = serde_json::from_str(&recorded(QUERY, "workflow by id")).unwrap();
    let task =
        |n| json!({"name": format!("t{n}"), "type": "template", "taskRef": format!("ref{n:02}"), "taskVersion": 1});
    workflow["tasks"] = (0..count).map(task).collect();
    workflow.to_string()
}

/// Level, kind and name of each finding.
fn outline(answer: &Value) -> Vec<(&str, &str, &str)> {
    let text = |finding: &'_ Value, member: &str| finding[member].as_str().unwrap_or_default().to_owned();
    let findings = answer["findings"].as_array().unwrap();
    findings
        .iter()
        .map(|finding| {
            assert_eq!(finding["level"] == "ok", text(finding, "remedy").is_empty(), "{finding}");
            assert!(!text(finding, "text").is_empty());
            let of = |member: &str| finding[member].as_str().unwrap_or_default();
            (of("level"), of("about"), of("name"))
        })
        .collect()
}

#[track_caller]
fn preflight(world: &World, uri: &str) -> Value {
    let reply = world.as_operator("GET", uri);
    assert_eq!((reply.status(), reply.header("cache-control")), (200, Some("no-store")), "{}", reply.text());
    reply.json()
}

#[on_each_store]
fn recorded_workflow_is_checked_with_its_tasks() {
    let world = with_shell(World::with_operator().with("engine_token", "t0ken"));
    let answer = preflight(&world, URI);
    assert_eq!((&answer["ref"], &answer["level"]), (&json!(SHELL), &json!("error")));
    let expected = [
        ("ok", "workflow", ""),
        ("ok", "trigger", ""),
        ("warning", "param", "data"),
        ("warning", "param", "event"),
        ("error", "task", "sh"),
    ];
    assert_eq!(outline(&answer), expected);
    assert_eq!(
        answer["findings"][4],
        json!({
            "level": "error", "about": "task", "name": "sh",
            "text": "The task `sh` has no image: the engine answers 500, and no run of this workflow starts.",
            "remedy": "Set `engine.default_image` in `settings`, or give the task's template an image, or use the engine `flow`, which gives one itself.",
        })
    );
    for received in world.engine.received.borrow().iter() {
        assert_eq!(received.request.headers()["authorization"], "Bearer t0ken");
        assert!(received.request.body().is_empty());
    }
    let calls = world.engine.take_calls();
    assert_eq!(calls, [format!("describe {SHELL}"), "template 5c3907a1352b1b51412ed079?version=2".to_owned()]);
    assert!(world.is_store_unused(), "a preflight stores nothing");
}

#[on_each_store]
fn default_image_settles_a_task_without_one() {
    let world = with_shell(World::with_operator().setting("engine", json!({"default_image":"alpine:3"})));
    let answer = preflight(&world, URI);
    assert_eq!((outline(&answer)[4], &answer["level"]), (("ok", "task", "sh"), &json!("warning")));
}

#[on_each_store]
fn engine_that_gives_an_image_is_not_asked_for_templates() {
    let world = World::with_operator().with("engine", "flow").setting("engine", json!({"team":"acme","teams":["ops"]}));
    for (reference, path) in [("shell", "acme/workflow/shell"), ("ops%2Fshell", "ops/workflow/shell")] {
        let _row = row(reference);
        world.engine.script(crate::fake::answer(200, &recorded(FLOW, "workflow by name")));
        let answer = preflight(&world, &format!("/api/v2/preflight?ref={reference}"));
        let expected = [
            ("ok", "workflow", ""),
            ("ok", "trigger", "webhook"),
            ("ok", "trigger", "event"),
            ("ok", "trigger", "github"),
            ("warning", "param", "data"),
            ("warning", "param", "event"),
            ("ok", "task", ""),
        ];
        assert_eq!(outline(&answer), expected);
        let sent = world.engine.only_request();
        assert_eq!((&*sent.method, &*sent.url), ("GET", &*format!("http://127.0.0.1:7701/api/v2/team/{path}")));
        world.engine.received.borrow_mut().clear();
    }
}

#[on_each_store]
fn unknown_workflow_is_a_finding() {
    let unknown = r#"{"code":1201,"reason":"WORKFLOW_INVALID_REFERENCE","message":"Invalid Workflow reference."}"#;
    let world = World::with_operator().respond(400, unknown);
    let answer = preflight(&world, "/api/v2/preflight?ref=shell");
    assert_eq!((outline(&answer), &answer["level"]), (vec![("error", "workflow", "")], &json!("error")));
    let text = answer["findings"][0]["text"].as_str().unwrap();
    assert_eq!(text, "The engine has no workflow `shell`: it answered 400, WORKFLOW_INVALID_REFERENCE.");
}

#[on_each_store]
fn engine_that_can_not_be_asked_is_a_finding() {
    let proxy = "<html>Sign in</html>";
    for (name, world, text, remedy) in [
        ("token", World::with_operator().respond(401, ""), "The engine answered 401.", "engine_token"),
        ("proxy", World::with_operator().respond(200, proxy), "The engine answered 200, but not with", "engine_url"),
        (
            "other JSON",
            World::with_operator().respond(200, "{}"),
            "The engine answered 200, but not with",
            "engine_url",
        ),
        ("path", World::with_operator().respond(404, proxy), "The engine answered 404.", "`engine` in `settings`"),
        ("failure", World::with_operator().respond(500, ""), "The engine answered 500.", "Ask again"),
        ("down", World::with_operator().unreachable(), "The engine can't be reached: the connection", "engine_url"),
        (
            "denied",
            World::with_operator().result(Err(SendError::Denied("not allowed"))),
            "The host does not allow the call to the engine",
            "engine_url",
        ),
        (
            "silent",
            World::with_operator().result(Err(SendError::NoResponse("the connection was cut"))),
            "The engine sent no complete response: the connection was cut.",
            "Ask again",
        ),
    ] {
        let _row = row(name);
        let answer = preflight(&world, URI);
        assert_eq!(outline(&answer), [("error", "engine", "")]);
        let finding = &answer["findings"][0];
        assert!(finding["text"].as_str().unwrap().starts_with(text), "{finding}");
        assert!(finding["remedy"].as_str().unwrap().contains(remedy), "{finding}");
        assert_eq!(world.engine.received.borrow().len(), 1);
    }
}

#[on_each_store]
fn templates_are_asked_for_once_each_and_up_to_a_limit() {
    let mut workflow: Value = serde_json::from_str(&with_tasks(MAX_TEMPLATES + 5)).unwrap();
    // Two more tasks with the template of the first.
    let first = workflow["tasks"][0].clone();
    workflow["tasks"].as_array_mut().unwrap().extend([first.clone(), first]);
    let mut world = World::with_operator().respond(200, &workflow.to_string());
    for _ in 0..MAX_TEMPLATES {
        world = world.respond(200, r#"{"spec":{"image":"alpine:3"}}"#);
    }
    let answer = preflight(&world, URI);
    let tasks: Vec<_> = outline(&answer).into_iter().filter(|(_, about, _)| *about == "task").collect();
    let count = |wanted| tasks.iter().filter(|(level, ..)| *level == wanted).count();
    assert_eq!((count("ok"), count("warning"), tasks.len()), (MAX_TEMPLATES + 2, 5, MAX_TEMPLATES + 7));
    let calls = world.engine.take_calls();
    assert_eq!((calls.len(), &*calls[1], &*calls[50]), (51, "template ref00?version=1", "template ref49?version=1"));
}

#[on_each_store]
fn templates_are_asked_for_few_at_a_time() {
    let mut world = World::with_operator().respond(200, &with_tasks(10));
    for _ in 0..10 {
        world = world.respond(200, r#"{"spec":{"image":"alpine:3"}}"#).after(100);
    }
    preflight(&world, URI);
    let received = world.engine.received.borrow();
    let at_once = |at: u64| received.iter().skip(1).filter(|one| one.arrived_at == at).count();
    let start = received[1].arrived_at;
    assert_eq!([at_once(start), at_once(start + 100), at_once(start + 200)], [4, 4, 2]);
}

#[on_each_store]
fn preflight_ends_when_the_engine_stops_answering() {
    let image = r#"{"spec":{"image":"alpine:3"}}"#;
    let world = World::with_operator()
        .respond(200, &with_tasks(20))
        .respond(200, image)
        .respond(400, r#"{"reason":"TASK_INVALID_REFERENCE"}"#)
        .result(Err(SendError::NoResponse("the connection was cut")))
        .respond(200, image);
    let answer = preflight(&world, URI);
    assert_eq!(world.engine.received.borrow().len(), 5);
    let levels: Vec<_> =
        outline(&answer).into_iter().filter(|(_, about, _)| *about == "task").map(|(level, ..)| level).collect();
    assert_eq!(levels[..4], ["ok", "error", "warning", "ok"]);
    assert_eq!(levels[4..], ["warning"; 16]);
    let last = answer["findings"].as_array().unwrap().last().unwrap()["text"].as_str().unwrap();
    assert!(last.ends_with("the engine sent no complete response: the connection was cut."), "{last}");

    // A slow engine: the time limit.
    let mut world = World::with_operator().respond(200, &with_tasks(20));
    for _ in 0..8 {
        world = world.respond(200, image).after(8_000);
    }
    let answer = preflight(&world, URI);
    assert_eq!(world.engine.received.borrow().len(), 9);
    let last = answer["findings"].as_array().unwrap().last().unwrap()["text"].as_str().unwrap();
    assert!(last.ends_with("the time limit was reached."), "{last}");
}

#[on_each_store]
fn reference_is_required_and_checked() {
    let world = World::with_operator();
    for (uri, slug) in [
        ("/api/v2/preflight", "missing-parameter"),
        ("/api/v2/preflight?ref=", "invalid-parameter"),
        ("/api/v2/preflight?ref=a%3Fb", "invalid-parameter"),
        ("/api/v2/preflight?ref=a&ref=b", "invalid-parameter"),
        // The engine's workflows have no team.
        ("/api/v2/preflight?ref=team/shell", "invalid-parameter"),
    ] {
        let _row = row(uri);
        let problem = world.as_operator("GET", uri).problem(400, slug);
        assert_eq!(problem["field"], "ref");
    }
    let world = World::with_operator().setting("engine", "[");
    world.as_operator("GET", URI).problem(503, "configuration");
    assert!(world.engine.received.borrow().is_empty());
}

#[on_each_store]
fn head_asks_the_engine_too() {
    let world = with_shell(World::with_operator());
    let reply = world.send(request("HEAD", URI, &[OPERATOR], ""));
    assert_eq!((reply.status(), reply.text()), (200, ""));
}
