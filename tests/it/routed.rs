//! Routing through the API: an event or a webhook starts all workflows whose routes match.

use serde_json::{Value, json};

use crate::fake::{EVENT, JSON, RUN, Reply, WEBHOOK_URI, World, row};
use crate::senders::mac_sha256;

const ROUTES: &str = r#"[
    {"workflow":"build","from":"webhook","sender":"github","filter":{"exact":{"type":"push"}},"params":{"branch":"$.ref","tries":3}},
    {"workflow":"audit","from":"webhook","filter":{"prefix":{"/ref":"refs/"}}},
    {"workflow":"orders","from":"event","filter":{"prefix":{"type":"com.example.order."}},"params":{"order":"$.data.id"}},
    {"workflow":"audit","from":"event","filter":{"exact":{"myext":"5"}}},
    {"workflow":"audit","from":"event","filter":{"suffix":{"/id":"7"}}}
]"#;
const PUSH: &str = r#"{"ref":"refs/heads/main","n":1.50}"#;

fn world() -> World {
    World::with_operator().with("routes", ROUTES).healthy()
}

fn push(world: &World, uri: &str) -> Reply {
    world.post(uri, &[JSON, ("x-github-event", "push")], PUSH)
}

/// A start as the engine received it.
#[derive(Debug, PartialEq)]
struct Start {
    workflow: String,
    trigger: String,
    /// An object of the params by name.
    params: Value,
}

impl Start {
    fn new(workflow: &str, trigger: &str, params: Value) -> Self {
        Self { workflow: workflow.to_owned(), trigger: trigger.to_owned(), params }
    }
}

fn starts(world: &World) -> Vec<Start> {
    let received = world.engine.received.borrow();
    let submits = received.iter().map(|received| &received.request).filter(|r| r.uri().path().ends_with("/submit"));
    submits
        .map(|request| {
            let body: Value = serde_json::from_slice(request.body()).unwrap();
            let params = body["params"].as_array().unwrap().iter();
            let params =
                params.map(|param| (param["name"].as_str().unwrap().to_owned(), param["value"].clone())).collect();
            let workflow = request.uri().path().split('/').nth(4).unwrap();
            Start::new(workflow, body["trigger"].as_str().unwrap(), Value::Object(params))
        })
        .collect()
}

fn workflows(world: &World) -> Vec<String> {
    starts(world).into_iter().map(|start| start.workflow).collect()
}

fn event(kind: &str, more: &str) -> String {
    format!(r#"{{"specversion":"1.0","id":"1","source":"/s","type":"{kind}"{more}}}"#)
}

#[on_each_store]
fn webhook_starts_every_matching_route() {
    let world = world();
    let reply = push(&world, "/api/v2/webhook");
    assert_eq!(reply.outcome(), (200, Some("delivered")));
    let list = reply.json()["deliveries"].clone();
    let workflows: Vec<_> =
        list.as_array().unwrap().iter().map(|listed| listed["workflow"].as_str().unwrap()).collect();
    assert_eq!(workflows, ["build", "audit"]);
    assert_eq!(list[0].get("id"), None);
    let data: Value = serde_json::from_str(PUSH).unwrap();
    assert_eq!(
        starts(&world),
        [
            Start::new("build", "github", json!({"data": data, "branch": "refs/heads/main", "tries": 3})),
            Start::new("audit", "github", json!({"data": data})),
        ]
    );
    // With a single matching route the response is that of `?ref=`.
    let world = self::world();
    let reply = world.post_json("/api/v2/webhook", r#"{"ref":"refs/tags/1"}"#);
    assert_eq!((reply.outcome(), reply.json()["id"].is_string()), ((200, Some("delivered")), true));
    assert_eq!(starts(&world), [Start::new("audit", "webhook", json!({"data": {"ref": "refs/tags/1"}}))]);
}

#[on_each_store]
fn reference_takes_precedence_over_routes() {
    let world = world();
    assert_eq!(push(&world, WEBHOOK_URI).status(), 200);
    let by_subject = event("com.example.order.paid", r#","subject":"/named/topic","data":{"id":7}"#);
    assert_eq!(world.post_json("/api/v2/event", &by_subject).status(), 200);
    let starts = starts(&world);
    let named: Vec<_> = starts.iter().map(|start| (&*start.workflow, &*start.trigger)).collect();
    assert_eq!(named, [("w", "webhook"), ("named", "event")]);
    // With routes, a subject of another form names no workflow.
    let world = self::world();
    let other = by_subject.replace("/named/topic", "https://github.com/cloudevents/spec");
    assert_eq!(world.post_json("/api/v2/event", &other).status(), 200);
    assert_eq!(workflows(&world), ["orders", "audit"]);
    // Subjects of Event Grid have the form of a reference, so they can be ignored.
    let world = self::world();
    assert_eq!(world.post_json("/api/v2/event?subject=off", &by_subject).status(), 200);
    assert_eq!(workflows(&world), ["orders", "audit"]);
    world.post_json("/api/v2/event?subject=no", &by_subject).problem(400, "invalid-parameter");
}

#[on_each_store]
fn event_is_routed_by_attributes_and_data() {
    for (body, expected) in [
        (event("com.example.order.paid", r#","data":{"id":5}"#), &["orders"][..]),
        (event("t", r#","myext":5"#), &["audit"]),
        (event("com.example.order.paid", r#","myext":5,"data":{"id":"x7"}"#), &["orders", "audit", "audit"]),
        (event("t", ""), &[]),
    ] {
        let _row = row(&body);
        let world = world();
        let reply = world.post_json("/api/v2/event", &body);
        assert_eq!(workflows(&world), expected);
        if expected.is_empty() {
            assert_eq!((reply.outcome(), reply.text()), ((204, Some("unmatched")), ""));
            assert_eq!(reply.log["outcome"], "unmatched");
            world.assert_untouched();
        }
        // Each route has its own key, so a repeated event starts nothing.
        let again = world.post_json("/api/v2/event", &body);
        assert_eq!(world.engine.targets().len(), expected.len(), "{}", again.text());
        if !expected.is_empty() {
            assert_eq!(again.outcome(), (200, Some("duplicate")));
        }
    }
    let paid = event("com.example.order.paid", r#","data":{"id":12345678901234567890,"order":"theirs"}"#);
    let world = world();
    world.post_json("/api/v2/event", &paid);
    // The param of the route, byte for byte, replaces the member of the same name.
    let body = world.engine.only_request().body;
    assert!(body.contains(r#"{"name":"order","value":12345678901234567890}"#), "{body}");
    assert!(!body.contains(r#"{"name":"order","value":"theirs"}"#), "{body}");
}

#[on_each_store]
fn routes_find_no_members_in_a_webhook_that_is_no_object() {
    let routes = r#"[
        {"workflow":"member","from":"webhook","filter":{"exact":{"/event":"open"}}},
        {"workflow":"element","from":"webhook","filter":{"exact":{"/0/event":"open"}},"params":{"all":"$[*].event"}},
        {"workflow":"any","from":"webhook","params":{"kind":"$.event","all":"$..event"}}]"#;
    for (body, expected) in [
        (r#"[{"event":"open"},{"event":"click"}]"#, &["element", "any"][..]),
        (r#"{"event":"open"}"#, &["member", "any"]),
        (r#""event""#, &["any"]),
        ("null", &["any"]),
        ("0", &["any"]),
    ] {
        let _row = row(body);
        let world = World::new().healthy().with("routes", routes).setting("webhook_any_json", true);
        assert_eq!(world.post_json("/api/v2/webhook", body).status(), 200);
        assert_eq!(world.engine.targets(), expected);
        let received = world.engine.received.borrow();
        let last = String::from_utf8(received.last().unwrap().request.body().clone()).unwrap();
        let member = last.contains(r#"{"name":"kind","#);
        assert_eq!(member, body.starts_with('{'), "{last}");
    }
}

#[on_each_store]
fn unmatched_delivery_is_no_error() {
    for (uri, body) in [("/api/v2/event", EVENT), ("/api/v2/webhook", "{}")] {
        let _row = row(uri);
        let world = world();
        assert_eq!(world.post_json(uri, body).outcome(), (204, Some("unmatched")));
        world.assert_untouched();
        // Without routes a reference is required.
        assert_eq!(World::new().post_json(uri, body).problem(400, "missing-parameter")["field"], "ref");
        let wrong = World::new().with("routes", r#"[{"workflow":"w","from":"mail"}]"#);
        assert_eq!(wrong.post_json(uri, body).problem(503, "configuration")["field"], "routes");
        // With a reference the routes aren't read.
        assert_eq!(wrong.respond(200, RUN).post_json(&format!("{uri}?ref=w"), body).status(), 200);
    }
    // A sender that accepts only 200 as success gets a 200.
    assert_eq!(world().post_json("/api/v2/webhook?sender=linear", "{}").outcome(), (200, Some("unmatched")));
    let batch = format!("[{EVENT},{}]", event("com.example.order.paid", ""));
    let reply = world().post("/api/v2/event", &[("content-type", "application/cloudevents-batch+json")], batch);
    let list = reply.json()["deliveries"].clone();
    assert_eq!((&list[0]["outcome"], &list[1]["outcome"]), (&json!("unmatched"), &json!("delivered")));
}

#[on_each_store]
fn signed_webhook_has_one_key_per_route() {
    let world = world().source_of("github", ["s3cret"]);
    let signature = format!("sha256={}", mac_sha256("s3cret", PUSH.as_bytes()));
    let event = [("x-github-event", "push"), ("x-github-delivery", "1")];
    let headers = [JSON, event[0], event[1], ("x-hub-signature-256", &signature)];
    for outcome in ["delivered", "duplicate"] {
        assert_eq!(world.post("/api/v2/webhook", &headers, PUSH).outcome(), (200, Some(outcome)));
    }
    assert_eq!(world.engine.targets(), ["build", "audit"]);
    // An unverified sender doesn't learn whether a route matches.
    push(&world, "/api/v2/webhook").problem(401, "invalid-signature");
}

/// The record has the trigger and the params of the route.
#[on_each_store]
fn stored_routed_delivery_sends_the_same_request() {
    let first = world();
    push(&first, "/api/v2/webhook");
    let world = world().unreachable();
    assert_eq!(push(&world, "/api/v2/webhook").outcome(), (202, Some("pending")));
    world.engine.recover();
    world.engine.received.borrow_mut().clear();
    world.drain();
    let mut drained = starts(&world);
    drained.sort_by(|a, b| b.workflow.cmp(&a.workflow));
    assert_eq!(drained, starts(&first));
}
