//! Callbacks are stored before the engine hears of them, the first wins, and the operator alone looks them up.

use serde_json::{Value, json};

use crate::fake::{JSON, NOW, World, request};

const HOUR: u64 = 3_600_000;
const URI: &str = "/api/v2/callback?ref=r&topic=t";
const UNKNOWN_RUN: &str = r#"{"code":1301,"reason":"WORKFLOWRUN_INVALID_REFERENCE"}"#;

fn world() -> World {
    World::operated()
}

fn recalled(world: &World) -> Value {
    let reply = world.operate("GET", "/api/v2/callbacks/r?topic=t");
    assert_eq!(reply.status(), 200, "{}", reply.text());
    reply.json()
}

#[test]
fn callback_is_stored_before_the_engine_is_called() {
    let world = world().answers(200, "");
    assert_eq!(world.json("/api/v2/callback?ref=run1&topic=t&status=failed", r#"{"n":1e2}"#).status(), 200);
    let sent = world.sent.borrow();
    let flags: Vec<_> = sent[0].store.iter().filter(|(key, _)| key.starts_with("sluice/flag/")).collect();
    let [(key, flag)] = flags[..] else { panic!("{:?}", sent[0].store.keys()) };
    assert!(key.starts_with(&format!("sluice/flag/{}/", NOW / (72 * HOUR))), "{key}");
    let record = &serde_json::from_slice::<Value>(flag).unwrap()["callback"];
    assert_eq!((&record["v"], &record["run"], &record["state"]), (&json!(1), &json!("run1"), &json!("pending")));
    assert!(std::str::from_utf8(flag).unwrap().contains(r#""payload":{"n":1e2}"#));
    let record = world.only_stored("sluice/callback/");
    assert_eq!((&record["run"], &record["state"]), (&json!("run1"), &json!("delivered")));
    let operations: Vec<_> = world.operations.borrow().iter().map(|op| op[..3].to_owned()).collect();
    assert_eq!(operations, ["get", "set", "get", "exi", "set", "get", "set"]);
}

#[test]
fn callback_reads_back_as_sent() {
    let world = world().answers(200, "");
    world.json("/api/v2/callback?ref=run%201&topic=a/b&status=failed", r#"{"n":12345678901234567890}"#);
    let reply = world.operate("GET", "/api/v2/callbacks/run%201?topic=a/b");
    assert_eq!(reply.status(), 200, "{}", reply.text());
    let received = "2026-11-24T08:30:00.000Z";
    let expected = format!(
        r#"{{"run":"run 1","topic":"a/b","status":"failed","payload":{{"n":12345678901234567890}},"received":"{received}","state":"delivered"}}"#
    );
    assert_eq!(reply.text(), expected);
    assert_eq!(reply.header("cache-control"), Some("no-store"));
    world.operate("GET", "/api/v2/callbacks/run%201?topic=other").problem(404, "no-callback");
    world.operate("GET", "/api/v2/callbacks/other?topic=a/b").problem(404, "no-callback");
}

#[test]
fn get_callback_has_no_payload() {
    let world = world().answers(200, "");
    world.get(URI);
    let record = recalled(&world);
    assert_eq!((&record["payload"], &record["status"]), (&Value::Null, &json!("succeeded")));
}

#[test]
fn rejected_callback_is_released_and_pending_one_kept() {
    let world = world().answers(400, "").answers(503, "");
    world.json(URI, "{}").problem(400, "rejected");
    world.operate("GET", "/api/v2/callbacks/r?topic=t").problem(404, "no-callback");
    assert_eq!(world.json(URI, "{}").outcome(), (202, Some("pending")));
    assert_eq!(recalled(&world)["state"], "pending");
}

#[test]
fn callback_under_way_can_be_looked_up() {
    let world = world().answers(200, "").after(1_000);
    world.run(async {
        let (reply, recalled) = futures_util::future::join(world.answer(request("POST", URI, &[JSON], "{}")), async {
            let uri = "/api/v2/callbacks/r?topic=t";
            world.answer(request("GET", uri, &[crate::fake::OPERATOR], "")).await.0
        })
        .await;
        assert_eq!((recalled.status(), &recalled.json()["state"]), (200, &json!("pending")));
        assert_eq!(reply.0.status(), 200);
    });
    assert_eq!(recalled(&world)["state"], "delivered");
}

#[test]
fn first_callback_wins() {
    let first = r#"{"first":true}"#;
    for settled in [true, false] {
        let world = if settled { world().answers(200, "") } else { world().answers(503, "") };
        let won = world.json(URI, first);
        let id = won.header("sluice-delivery").unwrap();
        world.calls();
        world.pass(90_000);
        for (uri, body, is_same) in [
            (URI, first, true),
            ("/api/v2/callback?topic=t&ref=r&status=SUCCEEDED", first, true),
            (URI, r#"{"first":false}"#, false),
            (URI, r#"{"first": true}"#, false),
            ("/api/v2/callback?ref=r&topic=t&status=failed", first, false),
        ] {
            let reply = world.json(uri, body);
            assert_eq!(reply.header("sluice-delivery"), Some(id), "that of the first");
            if is_same {
                assert_eq!(reply.outcome(), (if settled { 200 } else { 202 }, Some("duplicate")), "{uri}");
                assert_eq!(reply.text(), "");
            } else {
                let problem = reply.problem(409, "callback-conflict");
                assert_eq!(
                    (&problem["retry"], reply.header("sluice-outcome")),
                    (&json!("fix-first"), Some("rejected"))
                );
                let detail = problem["detail"].as_str().unwrap();
                assert!(detail.contains("succeeded") && detail.contains("2026-11-24T08:30:00.000Z"), "{detail}");
            }
        }
        // A GET has no payload, so it says something else.
        world.get(URI).problem(409, "callback-conflict");
        assert!(world.calls().is_empty(), "nothing of it is sent");
        let record = recalled(&world);
        assert_eq!(record["payload"], json!({"first": true}));
        assert_eq!(record["state"], if settled { "delivered" } else { "pending" });
    }
}

#[test]
fn other_topic_or_run_is_another_callback() {
    let world = world().well();
    for uri in
        [URI, "/api/v2/callback?ref=r&topic=u", "/api/v2/callback?ref=s&topic=t", "/api/v2/callback?ref=rt&topic="]
    {
        let expected = if uri.ends_with('=') { 400 } else { 200 };
        assert_eq!(world.json(uri, "{}").status(), expected, "{uri}");
    }
    assert_eq!(world.acted(), ["r", "r", "s"]);
}

#[test]
fn one_of_many_concurrent_callbacks_is_sent() {
    let world = world().slow(100);
    let bodies = ["{}", "{}", r#"{"other":1}"#, "{}", r#"{"other":1}"#];
    let replies =
        world.run(futures_util::future::join_all(bodies.map(|body| world.answer(request("POST", URI, &[JSON], body)))));
    let outcomes: Vec<_> = replies.iter().map(|(reply, _)| reply.outcome()).collect();
    let (same, other) = ((200, Some("duplicate")), (409, Some("rejected")));
    assert_eq!(outcomes, [(200, Some("delivered")), same, other, same, other]);
    assert_eq!(world.acted(), ["r"]);
}

#[test]
fn early_callback_waits_for_the_run() {
    for (status, body) in [(404, ""), (404, "{}"), (400, UNKNOWN_RUN), (404, UNKNOWN_RUN)] {
        let world = world().answers(status, body).answers(status, body);
        let reply = world.json(URI, "{}");
        assert_eq!(reply.outcome(), (202, Some("pending")), "{status} {body}");
        assert_eq!(recalled(&world)["state"], "pending");
        assert_eq!(world.json(URI, "{}").outcome(), (202, Some("duplicate")));
        world.json(URI, r#"{"x":1}"#).problem(409, "callback-conflict");
        world.pass(300_000);
        assert_eq!(world.drain()["pending"], 1, "still unknown");
        world.heal();
        world.pass(250_000);
        assert_eq!(world.drain()["delivered"], 1);
        assert_eq!(recalled(&world)["state"], "delivered");
        assert_eq!(world.json(URI, "{}").outcome(), (200, Some("duplicate")));
        assert_eq!(world.acted(), ["r"]);
    }
}

#[test]
fn early_callback_is_rejected_if_the_run_never_appears() {
    let world = world().answers(404, "").answers(404, "").answers(404, UNKNOWN_RUN);
    let id = world.json(URI, "{}").header("sluice-delivery").unwrap().to_owned();
    world.pass(599_000);
    assert_eq!(world.drain()["rejected"], 0, "callback_early_ms is not over");
    world.pass(16_000);
    assert_eq!(world.drain()["rejected"], 1);
    let shown = world.operate("GET", &format!("/api/v2/deliveries/{id}")).json();
    assert_eq!(shown["state"], "dead");
    assert_eq!(shown["last_failure"], "the engine answered 404, WORKFLOWRUN_INVALID_REFERENCE");
    // Nothing came of it, so another may be first.
    world.operate("GET", "/api/v2/callbacks/r?topic=t").problem(404, "no-callback");
    world.heal();
    assert_eq!(world.json(URI, r#"{"x":1}"#).outcome(), (200, Some("delivered")));
}

#[test]
fn callback_early_ms_bounds_how_long_a_run_may_be_unknown() {
    for early in ["0", "1000"] {
        let world = world().with("callback_early_ms", early).answers(404, "").after(1_000);
        let reply = world.json(URI, "{}");
        reply.problem(404, "rejected");
    }
    let world = world().with("callback_early_ms", "1001").answers(404, "").after(1_000);
    assert_eq!(world.json(URI, "{}").status(), 202);
}

#[test]
fn callback_is_found_for_the_whole_retention() {
    let world = world().answers(200, "");
    world.json(URI, "{}");
    for (age, status) in [(71 * HOUR, 200), (72 * HOUR, 200), (145 * HOUR, 404)] {
        world.now.set(NOW + age);
        assert_eq!(world.operate("GET", "/api/v2/callbacks/r?topic=t").status(), status, "{age}");
    }
}

#[test]
fn lookup_requires_the_operator_token() {
    let uri = "/api/v2/callbacks/r?topic=t";
    // Not set: the path isn't there.
    let closed = World::new();
    closed.send(request("GET", uri, &[("authorization", "Bearer ")], "")).problem(404, "not-found");
    for authorization in ["", "Bearer", "Bearer ", "Bearer op3rato", "Bearer op3rator2", "Basic op3rator", "op3rator"] {
        let world = world();
        let headers: &[_] = if authorization.is_empty() { &[] } else { &[("authorization", authorization)] };
        let reply = world.send(request("GET", uri, headers, ""));
        reply.problem(401, "unauthorized");
        assert_eq!(reply.header("www-authenticate"), Some("Bearer realm=\"sluice\""));
        assert!(world.operations.borrow().is_empty());
    }
    for authorization in ["Bearer op3rator", "bearer  op3rator"] {
        world().send(request("GET", uri, &[("authorization", authorization)], "")).problem(404, "no-callback");
    }
    for uri in ["/api/v2/callbacks/%2e%2e?topic=t", "/api/v2/callbacks/%ff?topic=t", "/api/v2/callbacks/r?topic="] {
        world().operate("GET", uri).problem(400, "invalid-parameter");
    }
}

#[test]
fn lookup_without_a_topic_lists_callbacks_in_order() {
    let world = world().well().with("retention_hours", "1");
    assert_eq!(world.operate("GET", "/api/v2/callbacks/r").json(), json!({"run": "r", "callbacks": []}));
    // Over two windows; by name the third would be first.
    for topic in ["t", "u", "a"] {
        assert_eq!(world.json(&format!("/api/v2/callback?ref=r&topic={topic}"), "{}").status(), 200);
        world.pass(HOUR / 3);
    }
    world.json("/api/v2/callback?ref=rr&topic=t", "{}");
    let told = world.operate("GET", "/api/v2/callbacks/r").json();
    let topics: Vec<_> = told["callbacks"].as_array().unwrap().iter().map(|callback| &callback["topic"]).collect();
    assert_eq!(topics, ["t", "u", "a"]);
    let members: Vec<_> = told["callbacks"][0].as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(members, ["payload", "received", "run", "state", "status", "topic"]);
}

#[test]
fn head_and_prefetch_change_nothing() {
    let closed = world();
    let reply = closed.send(request("HEAD", URI, &[], ""));
    assert_eq!((reply.status(), reply.text()), (200, ""));
    closed.assert_untouched();
    for header in [
        ("sec-purpose", "prefetch;prerender"),
        ("purpose", "prefetch"),
        ("x-purpose", "preview"),
        ("x-moz", "Prefetch"),
    ] {
        let world = world();
        let reply = world.send(request("GET", URI, &[header], ""));
        reply.problem(503, "prefetch");
        assert_eq!(reply.header("cache-control"), Some("no-store"));
        world.assert_untouched();
    }
    // Another purpose is a visit.
    let world = world().answers(200, "");
    assert_eq!(world.send(request("GET", URI, &[("sec-purpose", "navigate")], "")).status(), 200);
}

#[test]
fn unreadable_callback_is_reported() {
    let world = world().answers(200, "");
    world.json(URI, "{}");
    world.cost();
    world.failing_operation.set(Some(0));
    let reply = world.operate("GET", "/api/v2/callbacks/r?topic=t");
    reply.problem(503, "store-unavailable");
    assert!(!reply.text().contains("/secret/path") && reply.log["warning"].as_str().unwrap().contains("disk full"));
    world.failing_operation.set(None);
    world.store.borrow_mut().values_mut().for_each(|value| *value = b"{\"v\":9}".to_vec());
    for uri in ["/api/v2/callbacks/r?topic=t", "/api/v2/callbacks/r"] {
        let reply = world.operate("GET", uri);
        reply.problem(500, "damaged");
        assert!(reply.log["warning"].as_str().unwrap().contains("can't be read"));
    }
    let reply = world.json(URI, "{}");
    reply.problem(503, "store-unavailable");
    assert!(reply.log["warning"].as_str().unwrap().contains("can't be read"), "{}", reply.log);
}
