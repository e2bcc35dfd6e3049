//! Callbacks: stored before the engine is called, decided by the first one, and looked up by the operator.

use futures_util::future::{join, join_all};
use serde_json::{Value, json};

use crate::fake::{CALLBACK_URI, HOUR, JSON, MINUTE, NOW, OPERATOR, StoreFault, StoreKind, World, request, row};

const LOOKUP_URI: &str = "/api/v2/callbacks/r?topic=t";
const UNKNOWN_RUN: &str = r#"{"code":1301,"reason":"WORKFLOWRUN_INVALID_REFERENCE"}"#;

fn world() -> World {
    World::with_operator()
}

fn lookup(world: &World) -> Value {
    let reply = world.as_operator("GET", LOOKUP_URI);
    assert_eq!(reply.status(), 200, "{}", reply.text());
    reply.json()
}

#[test]
fn callback_is_stored_before_the_engine_is_called() {
    StoreKind::KeyValue.choose();
    let world = world().respond(200, "");
    assert_eq!(world.post_json("/api/v2/callback?ref=run1&topic=t&status=failed", r#"{"n":1e2}"#).status(), 200);
    let received = world.engine.received.borrow();
    let stored = &received[0].store;
    let flags: Vec<_> = stored.iter().filter(|(key, _)| key.starts_with("sluice:won:")).collect();
    let [(key, flag)] = flags[..] else { panic!("{:?}", stored.keys()) };
    assert!(key.starts_with(&format!("sluice:won:{}:", NOW / (168 * HOUR))), "{key}");
    assert_eq!(key.matches(':').count(), 5, "run, topic and task: {key}");
    let record = &serde_json::from_slice::<Value>(flag).unwrap()["callback"];
    assert_eq!((&record["v"], &record["run"], &record["state"]), (&json!(1), &json!("run1"), &json!("pending")));
    assert!(std::str::from_utf8(flag).unwrap().contains(r#""payload":{"n":1e2}"#));
    let record = world.store.only_record("sluice:callback:");
    assert_eq!((&record["run"], &record["state"]), (&json!("run1"), &json!("delivered")));
    assert_eq!((&record["task"], &record["sent"]), (&json!("task-t"), &json!(NOW)));
    let operations: Vec<_> = world.store.operations.borrow().iter().map(|op| op[..3].to_owned()).collect();
    // The form of the store, and no early callback holds run and topic, in two windows.
    let (early, known) = (["get", "get", "get"], ["get"]);
    let splitter = ["get", "set", "exi", "set", "get"];
    let chosen = ["set", "exi", "get", "get", "get"];
    let outcome = ["set"];
    assert_eq!(operations, [&early[..], &known, &splitter, &chosen, &outcome].concat());
}

#[on_each_store]
fn callback_reads_back_as_sent() {
    let world = world().respond(200, "");
    world.post_json("/api/v2/callback?ref=run%201&topic=a/b&status=failed", r#"{"n":12345678901234567890}"#);
    let reply = world.as_operator("GET", "/api/v2/callbacks/run%201?topic=a/b");
    assert_eq!(reply.status(), 200, "{}", reply.text());
    let received = "2026-11-24T08:30:00.000Z";
    let expected = format!(
        r#"{{"run":"run 1","topic":"a/b","status":"failed","payload":{{"n":12345678901234567890}},"received":"{received}","state":"delivered"}}"#
    );
    assert_eq!(reply.text(), expected);
    assert_eq!(reply.header("cache-control"), Some("no-store"));
    world.as_operator("GET", "/api/v2/callbacks/run%201?topic=other").problem(404, "no-callback");
    world.as_operator("GET", "/api/v2/callbacks/other?topic=a/b").problem(404, "no-callback");
}

#[on_each_store]
fn get_callback_has_no_payload() {
    let world = world().respond(200, "");
    world.get(CALLBACK_URI);
    let record = lookup(&world);
    assert_eq!((&record["payload"], &record["status"]), (&Value::Null, &json!("succeeded")));
}

#[on_each_store]
fn rejected_callback_is_released_and_pending_one_kept() {
    let world = world().respond(400, "").respond(503, "");
    world.post_json(CALLBACK_URI, "{}").problem(400, "rejected");
    world.as_operator("GET", LOOKUP_URI).problem(404, "no-callback");
    assert_eq!(world.post_json(CALLBACK_URI, "{}").outcome(), (202, Some("pending")));
    assert_eq!(lookup(&world)["state"], "pending");
}

#[on_each_store]
fn callback_under_way_can_be_looked_up() {
    let world = world().respond(200, "").after(1_000);
    world.run(async {
        let callback = world.handle(request("POST", CALLBACK_URI, &[JSON], "{}"));
        let lookup = world.handle(request("GET", LOOKUP_URI, &[OPERATOR], ""));
        let ((reply, _), (found, _)) = join(callback, lookup).await;
        assert_eq!((found.status(), &found.json()["state"]), (200, &json!("pending")));
        assert_eq!(reply.status(), 200);
    });
    assert_eq!(lookup(&world)["state"], "delivered");
}

#[on_each_store]
fn first_callback_wins() {
    let first = r#"{"first":true}"#;
    for settled in [true, false] {
        let world = if settled { world().respond(200, "") } else { world().respond(503, "") };
        let id = world.post_json(CALLBACK_URI, first).delivery();
        world.engine.take_calls();
        world.advance(90_000);
        for (uri, body, is_same) in [
            (CALLBACK_URI, first, true),
            ("/api/v2/callback?topic=t&ref=r&status=SUCCEEDED", first, true),
            (CALLBACK_URI, r#"{"first":false}"#, false),
            (CALLBACK_URI, r#"{"first": true}"#, false),
            ("/api/v2/callback?ref=r&topic=t&status=failed", first, false),
        ] {
            let _row = row(format!("settled: {settled}, {uri} with {body}"));
            let reply = world.post_json(uri, body);
            assert_eq!(reply.delivery(), id, "the first callback's delivery");
            if is_same {
                assert_eq!(reply.outcome(), (if settled { 200 } else { 202 }, Some("duplicate")));
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
        // A GET has no payload, which differs from the first callback.
        world.get(CALLBACK_URI).problem(409, "callback-conflict");
        assert!(world.engine.take_calls().is_empty(), "a later callback was sent");
        let record = lookup(&world);
        assert_eq!(record["payload"], json!({"first": true}));
        assert_eq!(record["state"], if settled { "delivered" } else { "pending" });
    }
}

#[on_each_store]
fn other_topic_or_run_is_another_callback() {
    let world = world().healthy();
    for uri in [
        CALLBACK_URI,
        "/api/v2/callback?ref=r&topic=u",
        "/api/v2/callback?ref=s&topic=t",
        "/api/v2/callback?ref=rt&topic=",
    ] {
        let expected = if uri.ends_with('=') { 400 } else { 200 };
        assert_eq!(world.post_json(uri, "{}").status(), expected, "{uri}");
    }
    assert_eq!(world.engine.targets(), ["r", "r", "s"]);
}

#[on_each_store]
fn one_of_many_concurrent_callbacks_is_sent() {
    let world = world().slow(100);
    let bodies = ["{}", "{}", r#"{"other":1}"#, "{}", r#"{"other":1}"#];
    let callbacks = bodies.map(|body| world.handle(request("POST", CALLBACK_URI, &[JSON], body)));
    let replies = world.run(join_all(callbacks));
    let outcomes: Vec<_> = replies.iter().map(|(reply, _)| reply.outcome()).collect();
    let (same, other) = ((200, Some("duplicate")), (409, Some("rejected")));
    assert_eq!(outcomes, [(200, Some("delivered")), same, other, same, other]);
    assert_eq!(world.engine.targets(), ["r"]);
}

#[on_each_store]
fn early_callback_waits_for_the_run() {
    for (status, body) in [(404, ""), (404, "{}"), (400, UNKNOWN_RUN), (404, UNKNOWN_RUN)] {
        let _row = row(format!("engine responds {status} {body}"));
        let world = world().respond(status, body).respond(status, body);
        let reply = world.post_json(CALLBACK_URI, "{}");
        assert_eq!(reply.outcome(), (202, Some("pending")));
        assert_eq!(lookup(&world)["state"], "pending");
        assert_eq!(world.post_json(CALLBACK_URI, "{}").outcome(), (202, Some("duplicate")));
        world.post_json(CALLBACK_URI, r#"{"x":1}"#).problem(409, "callback-conflict");
        world.advance(300_000);
        assert_eq!(world.drain()["pending"], 1, "the run is still unknown");
        world.engine.recover();
        world.advance(250_000);
        assert_eq!(world.drain()["delivered"], 1);
        assert_eq!(lookup(&world)["state"], "delivered");
        assert_eq!(world.post_json(CALLBACK_URI, "{}").outcome(), (200, Some("duplicate")));
        assert_eq!(world.engine.targets(), ["r"]);
    }
}

#[on_each_store]
fn early_callback_is_rejected_if_the_run_never_appears() {
    let world = world().respond(404, "").respond(404, "").respond(404, UNKNOWN_RUN);
    let id = world.post_json(CALLBACK_URI, "{}").delivery();
    world.advance(599_000);
    assert_eq!(world.drain()["rejected"], 0, "callback_early_ms has not passed");
    world.advance(16_000);
    assert_eq!(world.drain()["rejected"], 1);
    let shown = world.as_operator("GET", &format!("/api/v2/deliveries/{id}")).json();
    assert_eq!(shown["state"], "dead");
    assert_eq!(shown["last_failure"], "the engine answered 404, WORKFLOWRUN_INVALID_REFERENCE");
    // The key is released: another callback may be the first.
    world.as_operator("GET", LOOKUP_URI).problem(404, "no-callback");
    world.engine.recover();
    assert_eq!(world.post_json(CALLBACK_URI, r#"{"x":1}"#).outcome(), (200, Some("delivered")));
}

#[on_each_store]
fn callback_early_ms_bounds_how_long_a_run_may_be_unknown() {
    for early in [0, 1_000] {
        let world = world().setting("callback_early_ms", early).respond(404, "").after(1_000);
        let _row = row(early);
        world.post_json(CALLBACK_URI, "{}").problem(404, "rejected");
    }
    let world = world().setting("callback_early_ms", 1_001).respond(404, "").after(1_000);
    assert_eq!(world.post_json(CALLBACK_URI, "{}").status(), 202);
}

#[on_each_store]
fn callback_is_found_for_the_whole_retention() {
    // `NOW` is 128.5 h into a window of 168 h, and 48.5 h into one of 200 h.
    for (retention_hours, wait_hours, last) in [(72, 168, 207), (200, 168, 247), (1, 200, 247)] {
        let _row = row(format!("retention_hours {retention_hours}, callback_wait_hours {wait_hours}"));
        let world = world().setting("retention_hours", retention_hours).setting("callback_wait_hours", wait_hours);
        let world = world.respond(200, "");
        world.post_json(CALLBACK_URI, "{}");
        // PostgreSQL keeps it for just that long, and a minute more: hosts have other clocks.
        let longest = retention_hours.max(wait_hours);
        let (last, minutes) = if world.kind() == StoreKind::KeyValue { (last, 0) } else { (longest, 2) };
        for (age, status) in [(71, 200), (168, 200), (last, 200), (last + 1, 404)] {
            world.clock.set(NOW + age * HOUR + if status == 404 { minutes * MINUTE } else { 0 });
            if status == 404 {
                world.drain();
            }
            assert_eq!(world.as_operator("GET", LOOKUP_URI).status(), status, "after {age} h");
        }
    }
}

#[on_each_store]
fn lookup_requires_the_operator_token() {
    // Without an operator token the route doesn't exist.
    let closed = World::new();
    closed.send(request("GET", LOOKUP_URI, &[("authorization", "Bearer ")], "")).problem(404, "not-found");
    for authorization in ["", "Bearer", "Bearer ", "Bearer op3rato", "Bearer op3rator2", "Basic op3rator", "op3rator"] {
        let _row = row(format!("authorization {authorization:?}"));
        let world = world();
        let headers: &[_] = if authorization.is_empty() { &[] } else { &[("authorization", authorization)] };
        let reply = world.send(request("GET", LOOKUP_URI, headers, ""));
        reply.problem(401, "unauthorized");
        assert_eq!(reply.header("www-authenticate"), Some("Bearer realm=\"sluice\""));
        assert!(world.is_store_unused());
    }
    for authorization in ["Bearer op3rator", "bearer  op3rator"] {
        let _row = row(authorization);
        world().send(request("GET", LOOKUP_URI, &[("authorization", authorization)], "")).problem(404, "no-callback");
    }
    for uri in ["/api/v2/callbacks/%2e%2e?topic=t", "/api/v2/callbacks/%ff?topic=t", "/api/v2/callbacks/r?topic="] {
        let _row = row(uri);
        world().as_operator("GET", uri).problem(400, "invalid-parameter");
    }
}

#[on_each_store]
fn lookup_without_a_topic_lists_callbacks_in_order() {
    let world = world().healthy().setting("retention_hours", 1);
    assert_eq!(
        world.as_operator("GET", "/api/v2/callbacks/r").json(),
        json!({"run": "r", "callbacks": [], "next": null})
    );
    // Spread over two windows; in order of names the third topic would be the first.
    for topic in ["t", "u", "a"] {
        assert_eq!(world.post_json(&format!("/api/v2/callback?ref=r&topic={topic}"), "{}").status(), 200);
        world.advance(HOUR / 3);
    }
    world.post_json("/api/v2/callback?ref=rr&topic=t", "{}");
    let list = world.as_operator("GET", "/api/v2/callbacks/r").json();
    let topics: Vec<_> = list["callbacks"].as_array().unwrap().iter().map(|callback| &callback["topic"]).collect();
    assert_eq!(topics, ["t", "u", "a"]);
    let members: Vec<_> = list["callbacks"][0].as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(members, ["payload", "received", "run", "state", "status", "topic"]);
}

#[on_each_store]
fn head_and_prefetch_change_nothing() {
    let closed = world();
    let reply = closed.send(request("HEAD", CALLBACK_URI, &[], ""));
    assert_eq!((reply.status(), reply.text()), (200, ""));
    closed.assert_untouched();
    for header in [
        ("sec-purpose", "prefetch;prerender"),
        ("purpose", "prefetch"),
        ("x-purpose", "preview"),
        ("x-moz", "Prefetch"),
    ] {
        let _row = row(format!("{header:?}"));
        let world = world();
        let reply = world.send(request("GET", CALLBACK_URI, &[header], ""));
        reply.problem(503, "prefetch");
        assert_eq!(reply.header("cache-control"), Some("no-store"));
        world.assert_untouched();
    }
    // Any other purpose is a visit.
    let world = world().respond(200, "");
    assert_eq!(world.send(request("GET", CALLBACK_URI, &[("sec-purpose", "navigate")], "")).status(), 200);
}

#[on_each_store]
fn unreadable_callback_is_reported() {
    let world = world().respond(200, "");
    world.post_json(CALLBACK_URI, "{}");
    world.fail_store(StoreFault::Once(0));
    let reply = world.as_operator("GET", LOOKUP_URI);
    reply.problem(503, "store-unavailable");
    assert!(!reply.text().contains("/secret/path") && reply.warning().contains(world.store_error()));
    world.recover_store();
    world.damage_all();
    for uri in [LOOKUP_URI, "/api/v2/callbacks/r"] {
        let _row = row(uri);
        let reply = world.as_operator("GET", uri);
        reply.problem(500, "damaged");
        assert!(reply.warning().contains("can't be read"));
    }
    let reply = world.post_json(CALLBACK_URI, "{}");
    reply.problem(503, "store-unavailable");
    assert!(reply.warning().contains("can't be read"), "{}", reply.log);
}
