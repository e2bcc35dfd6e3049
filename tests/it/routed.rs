//! Routes through the API: an event or a webhook finds its workflows, several or none.

use serde_json::{Value, json};

use crate::fake::{EVENT, JSON, RUN, Reply, World};
use crate::senders::{HOOK, mac_sha256};

const ROUTES: &str = r#"[
    {"workflow":"build","from":"webhook","sender":"github","filter":{"exact":{"type":"push"}},"params":{"branch":"$.ref","tries":3}},
    {"workflow":"audit","from":"webhook","filter":{"prefix":{"/ref":"refs/"}}},
    {"workflow":"orders","from":"event","filter":{"prefix":{"type":"com.example.order."}},"params":{"order":"$.data.id"}},
    {"workflow":"audit","from":"event","filter":{"exact":{"myext":"5"}}},
    {"workflow":"audit","from":"event","filter":{"suffix":{"/id":"7"}}}
]"#;
const PUSH: &str = r#"{"ref":"refs/heads/main","n":1.50}"#;

fn world() -> World {
    World::operated().with("routes", ROUTES).well()
}

fn push(world: &World, uri: &str) -> Reply {
    world.post(uri, &[JSON, ("x-github-event", "push")], PUSH)
}

/// What was sent: workflow, trigger, params by name.
fn sent(world: &World) -> Vec<(String, String, Value)> {
    let sent = world.sent.borrow();
    let submits = sent.iter().filter(|sent| sent.request.uri().path().ends_with("/submit"));
    submits
        .map(|sent| {
            let body: Value = serde_json::from_slice(sent.request.body()).unwrap();
            let params = body["params"].as_array().unwrap().iter();
            let params =
                params.map(|param| (param["name"].as_str().unwrap().to_owned(), param["value"].clone())).collect();
            let workflow = sent.request.uri().path().split('/').nth(4).unwrap().to_owned();
            (workflow, body["trigger"].as_str().unwrap().to_owned(), Value::Object(params))
        })
        .collect()
}

fn event(kind: &str, more: &str) -> String {
    format!(r#"{{"specversion":"1.0","id":"1","source":"/s","type":"{kind}"{more}}}"#)
}

#[test]
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
        sent(&world),
        [
            ("build".into(), "github".into(), json!({"data": data, "branch": "refs/heads/main", "tries": 3})),
            ("audit".into(), "github".into(), json!({"data": data})),
        ]
    );
    // One that matches answers as `?ref=` does.
    let world = self::world();
    let reply = world.json("/api/v2/webhook", r#"{"ref":"refs/tags/1"}"#);
    assert_eq!((reply.outcome(), reply.json()["id"].is_string()), ((200, Some("delivered")), true));
    assert_eq!(sent(&world), [("audit".into(), "webhook".into(), json!({"data": {"ref": "refs/tags/1"}}))]);
}

#[test]
fn reference_takes_precedence_over_routes() {
    let world = world();
    assert_eq!(push(&world, HOOK).status(), 200);
    let by_subject = event("com.example.order.paid", r#","subject":"/named/topic","data":{"id":7}"#);
    assert_eq!(world.json("/api/v2/event", &by_subject).status(), 200);
    let named: Vec<_> = sent(&world).into_iter().map(|(workflow, trigger, _)| (workflow, trigger)).collect();
    assert_eq!(named, [("w".into(), "webhook".into()), ("named".into(), "event".into())]);
    // A subject of another form names none where there are routes.
    let world = self::world();
    let other = by_subject.replace("/named/topic", "https://github.com/cloudevents/spec");
    assert_eq!(world.json("/api/v2/event", &other).status(), 200);
    assert_eq!(sent(&world)[0].0, "orders");
    // Event Grid's have that form, and mean no workflow.
    let world = self::world();
    assert_eq!(world.json("/api/v2/event?subject=off", &by_subject).status(), 200);
    assert_eq!(sent(&world)[0].0, "orders");
    world.json("/api/v2/event?subject=no", &by_subject).problem(400, "invalid-parameter");
}

#[test]
fn event_is_routed_by_attributes_and_data() {
    for (body, workflows) in [
        (event("com.example.order.paid", r#","data":{"id":5}"#), &["orders"][..]),
        (event("t", r#","myext":5"#), &["audit"]),
        (event("com.example.order.paid", r#","myext":5,"data":{"id":"x7"}"#), &["orders", "audit", "audit"]),
        (event("t", ""), &[]),
    ] {
        let world = world();
        let reply = world.json("/api/v2/event", &body);
        assert_eq!(sent(&world).iter().map(|(workflow, ..)| workflow.as_str()).collect::<Vec<_>>(), workflows);
        if workflows.is_empty() {
            assert_eq!((reply.outcome(), reply.text()), ((204, Some("unmatched")), ""));
            assert_eq!(reply.log["outcome"], "unmatched");
            world.assert_untouched();
        }
        // Each is keyed by its own route: again, none of them runs.
        let again = world.json("/api/v2/event", &body);
        assert_eq!(world.acted().len(), workflows.len(), "{}", again.text());
        if !workflows.is_empty() {
            assert_eq!(again.outcome(), (200, Some("duplicate")));
        }
    }
    let paid = event("com.example.order.paid", r#","data":{"id":12345678901234567890,"order":"theirs"}"#);
    let world = world();
    world.json("/api/v2/event", &paid);
    // The route's param goes before the member of the same name, to the byte.
    assert!(
        world.only_sent().2.contains(r#"{"name":"order","value":12345678901234567890}"#),
        "{}",
        world.only_sent().2
    );
    assert!(!world.only_sent().2.contains(r#"{"name":"order","value":"theirs"}"#));
}

#[test]
fn unmatched_delivery_is_no_error() {
    for (uri, body) in [("/api/v2/event", EVENT), ("/api/v2/webhook", "{}")] {
        let world = world();
        assert_eq!(world.json(uri, body).outcome(), (204, Some("unmatched")));
        world.assert_untouched();
        // Without a table something has to name the workflow.
        assert_eq!(World::new().json(uri, body).problem(400, "missing-parameter")["field"], "ref");
        let wrong = World::new().with("routes", r#"[{"workflow":"w","from":"mail"}]"#);
        assert_eq!(wrong.json(uri, body).problem(503, "configuration")["field"], "routes");
        // Where a reference is there, a table is not looked at.
        assert_eq!(wrong.answers(200, RUN).json(&format!("{uri}?ref=w"), body).status(), 200);
    }
    // Those that take only 200 for success get it.
    assert_eq!(world().json("/api/v2/webhook?sender=linear", "{}").outcome(), (200, Some("unmatched")));
    let batch = format!("[{EVENT},{}]", event("com.example.order.paid", ""));
    let reply = world().post("/api/v2/event", &[("content-type", "application/cloudevents-batch+json")], batch);
    let list = reply.json()["deliveries"].clone();
    assert_eq!((&list[0]["outcome"], &list[1]["outcome"]), (&json!("unmatched"), &json!("delivered")));
}

#[test]
fn signed_webhook_has_one_key_per_route() {
    let world = world().with("secret_github", "s3cret");
    let signature = format!("sha256={}", mac_sha256("s3cret", PUSH.as_bytes()));
    let headers = [JSON, ("x-github-event", "push"), ("x-hub-signature-256", &signature)];
    for outcome in ["delivered", "duplicate"] {
        assert_eq!(world.post("/api/v2/webhook", &headers, PUSH).outcome(), (200, Some(outcome)));
    }
    assert_eq!(world.acted(), ["build", "audit"]);
    // Who isn't known isn't told whether a route is for it.
    push(&world, "/api/v2/webhook").problem(401, "invalid-signature");
}

/// What is stored has the trigger and the params, so that the drain brings the same.
#[test]
fn stored_routed_delivery_sends_the_same_request() {
    let first = world();
    push(&first, "/api/v2/webhook");
    let world = world().down();
    assert_eq!(push(&world, "/api/v2/webhook").outcome(), (202, Some("pending")));
    world.heal();
    world.sent.borrow_mut().clear();
    world.drain();
    let mut late = sent(&world);
    late.sort_by(|a, b| b.0.cmp(&a.0));
    assert_eq!(late, sent(&first));
}
