//! Callbacks are stored before the engine hears of them, and can be looked up by the operator alone.

use serde_json::{Value, json};

use crate::fake::{NOW, World, request};

const HOUR: u64 = 3_600_000;

fn world() -> World {
    World::new().with("operator_token", "op3rator")
}

fn recall(world: &World, uri: &str) -> crate::fake::Reply {
    world.send(request("GET", uri, &[("authorization", "Bearer op3rator")], ""))
}

#[test]
fn a_callback_is_stored_before_it_is_sent() {
    let world = world().answers(200, "");
    assert_eq!(world.json("/api/v2/callback?ref=run1&topic=t&status=failed", r#"{"n":1e2}"#).status(), 200);
    let sent = world.sent.borrow();
    let store = &sent[0].store;
    assert_eq!(store.len(), 1);
    let (key, value) = store.iter().next().unwrap();
    assert!(key.starts_with(&format!("sluice/callback/{}/", NOW / (72 * HOUR))), "{key}");
    let record: Value = serde_json::from_slice(value).unwrap();
    assert_eq!((&record["v"], &record["run"], &record["state"]), (&json!(1), &json!("run1"), &json!("pending")));
    let operations: Vec<_> = world.operations.borrow().iter().map(|op| op[..3].to_owned()).collect();
    assert_eq!(operations, ["get", "set", "set"]);
}

#[test]
fn it_is_read_back_as_it_was_sent() {
    let world = world().answers(200, "");
    world.json(
        "/api/v2/callback?ref=run 1&topic=a/b&status=failed".replace(' ', "%20").as_str(),
        r#"{"n":12345678901234567890}"#,
    );
    let reply = recall(&world, "/api/v2/callbacks/run%201?topic=a/b");
    assert_eq!(reply.status(), 200, "{}", reply.text());
    let received = "2026-11-24T08:30:00.000Z";
    let expected = format!(
        r#"{{"run":"run 1","topic":"a/b","status":"failed","payload":{{"n":12345678901234567890}},"received":"{received}","state":"delivered"}}"#
    );
    assert_eq!(reply.text(), expected);
    assert_eq!(reply.header("cache-control"), Some("no-store"));
    recall(&world, "/api/v2/callbacks/run%201?topic=other").problem(404, "no-callback");
    recall(&world, "/api/v2/callbacks/other?topic=a/b").problem(404, "no-callback");
}

#[test]
fn a_get_has_no_payload() {
    let world = world().answers(200, "");
    world.get("/api/v2/callback?ref=r&topic=t");
    let record: Value = serde_json::from_str(recall(&world, "/api/v2/callbacks/r?topic=t").text()).unwrap();
    assert_eq!((&record["payload"], &record["status"]), (&Value::Null, &json!("succeeded")));
}

#[test]
fn what_the_engine_refuses_is_not_kept_and_what_is_open_is() {
    let world = world().answers(400, "").answers(503, "");
    world.json("/api/v2/callback?ref=r&topic=t", "{}").problem(400, "rejected");
    recall(&world, "/api/v2/callbacks/r?topic=t").problem(404, "no-callback");
    world.json("/api/v2/callback?ref=r&topic=t", "{}").problem(503, "engine-unavailable");
    let record: Value = serde_json::from_str(recall(&world, "/api/v2/callbacks/r?topic=t").text()).unwrap();
    assert_eq!(record["state"], "pending");
}

#[test]
fn a_refusal_undoes_nothing() {
    let world = world().answers(200, "").answers(409, "");
    world.json("/api/v2/callback?ref=r&topic=t", r#"{"first":true}"#);
    world.json("/api/v2/callback?ref=r&topic=t", r#"{"first":false}"#).problem(409, "rejected");
    let record: Value = serde_json::from_str(recall(&world, "/api/v2/callbacks/r?topic=t").text()).unwrap();
    assert_eq!((&record["payload"], &record["state"]), (&json!({"first": true}), &json!("delivered")));
}

#[test]
fn it_is_found_for_the_whole_retention() {
    let world = world().answers(200, "");
    world.json("/api/v2/callback?ref=r&topic=t", "{}");
    for (age, status) in [(71 * HOUR, 200), (72 * HOUR, 200), (145 * HOUR, 404)] {
        world.now.set(NOW + age);
        assert_eq!(recall(&world, "/api/v2/callbacks/r?topic=t").status(), status, "{age}");
    }
}

#[test]
fn only_the_operator_looks_it_up() {
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
    recall(&world(), "/api/v2/callbacks/r").problem(400, "missing-parameter");
    recall(&world(), "/api/v2/callbacks/%2e%2e?topic=t").problem(400, "invalid-parameter");
    recall(&world(), "/api/v2/callbacks/%ff?topic=t").problem(400, "invalid-parameter");
}

#[test]
fn head_and_looks_ahead_change_nothing() {
    let uri = "/api/v2/callback?ref=r&topic=t";
    let closed = world();
    let reply = closed.send(request("HEAD", uri, &[], ""));
    assert_eq!((reply.status(), reply.text()), (200, ""));
    closed.assert_untouched();
    for header in [
        ("sec-purpose", "prefetch;prerender"),
        ("purpose", "prefetch"),
        ("x-purpose", "preview"),
        ("x-moz", "Prefetch"),
    ] {
        let world = world();
        let reply = world.send(request("GET", uri, &[header], ""));
        reply.problem(503, "prefetch");
        assert_eq!(reply.header("cache-control"), Some("no-store"));
        world.assert_untouched();
    }
    // Another purpose is a visit.
    let world = world().answers(200, "");
    assert_eq!(world.send(request("GET", uri, &[("sec-purpose", "navigate")], "")).status(), 200);
}

#[test]
fn each_store_operation_fails_in_turn() {
    let uri = "/api/v2/callback?ref=r&topic=t";
    for (operation, answer, status, slug) in [
        (0, 200, 503, Some("store-unavailable")),
        (1, 200, 503, Some("store-unavailable")),
        (2, 200, 200, None),
        (2, 400, 400, Some("rejected")),
    ] {
        let world = world().answers(answer, "").answers(200, "");
        world.failing_operation.set(Some(operation));
        let reply = world.json(uri, "{}");
        assert_eq!(reply.status(), status);
        assert!(!reply.text().contains("/secret/path"));
        if let Some(slug) = slug {
            reply.problem(status, slug);
        }
        assert_eq!(world.sent.borrow().len(), usize::from(operation > 1), "what isn't stored isn't sent");
        if operation > 1 {
            assert!(reply.log["warning"].as_str().unwrap().contains("disk full"), "the operator is told");
        }
        // The next request works.
        world.answers.borrow_mut().truncate(1);
        world.answers.borrow_mut()[0] = Ok(http::Response::new(vec![]));
        assert_eq!(world.json(uri, "{}").status(), 200);
    }
    let world = world().answers(200, "");
    world.json(uri, "{}");
    world.failing_operation.set(Some(3));
    recall(&world, "/api/v2/callbacks/r?topic=t").problem(503, "store-unavailable");
    // Damaged.
    world.failing_operation.set(None);
    world.store.borrow_mut().values_mut().for_each(|value| *value = b"{\"v\":9}".to_vec());
    recall(&world, "/api/v2/callbacks/r?topic=t").problem(503, "store-unavailable");
}
