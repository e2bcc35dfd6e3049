//! The operator's API: listing, showing, redelivering and deleting deliveries.

use futures_util::future::join;
use serde_json::{Value, json};
use sluice::ports::SendError;

use crate::fake::{
    ASYNC, CALLBACK_URI, DOUBT_URI, DRAIN_URI, EVENT, EVENT_URI, HOUR, INGRESS, JSON, MINUTE, NOTIFICATION, NOW,
    OPERATOR, Reply, StoreKind, UNKNOWN_ID, WEBHOOK_URI, World, answer, request, row,
};

const LIST: &str = "/api/v2/deliveries";

/// The ids on a page, and its `next`.
fn list(world: &World, query: &str) -> (Vec<String>, Value) {
    let reply = world.as_operator("GET", &format!("{LIST}{query}"));
    assert_eq!(reply.status(), 200, "{}", reply.text());
    let page = reply.json();
    let ids = page["deliveries"].as_array().unwrap().iter().map(|one| one["id"].as_str().unwrap().to_owned());
    (ids.collect(), page["next"].clone())
}

fn show(world: &World, id: &str) -> Value {
    let reply = world.as_operator("GET", &format!("{LIST}/{id}"));
    assert_eq!(reply.status(), 200, "{}", reply.text());
    reply.json()
}

fn redeliver(world: &World, id: &str) -> Reply {
    world.as_operator("POST", &format!("{LIST}/{id}/redeliver"))
}

#[on_each_store]
fn routes_require_the_operator_token() {
    let (show, redeliver) = (format!("{LIST}/{UNKNOWN_ID}"), format!("{LIST}/{UNKNOWN_ID}/redeliver"));
    for (method, uri) in [
        ("GET", LIST),
        ("HEAD", LIST),
        ("GET", &*show),
        ("DELETE", &show),
        ("POST", &redeliver),
        ("POST", DRAIN_URI),
        ("POST", DOUBT_URI),
        ("GET", "/api/v2/callbacks/r"),
        ("GET", "/api/v2/preflight?ref=w"),
        ("GET", "/api/v2/sources"),
    ] {
        let _row = row(format!("{method} {uri}"));
        let world = World::new();
        let reply = world.send(request(method, uri, &[OPERATOR], ""));
        assert_eq!((reply.status(), &reply.log["problem"]), (404, &json!("not-found")), "without operator_token");
        world.assert_untouched();
        for authorization in ["", "Bearer other", "Bearer", "Basic op3rator"] {
            let _row = row(authorization);
            let world = World::with_operator();
            let reply = world.send(request(method, uri, &[("authorization", authorization)], ""));
            assert_eq!((reply.status(), &reply.log["problem"]), (401, &json!("unauthorized")));
            assert_eq!(reply.header("www-authenticate"), Some("Bearer realm=\"sluice\""));
            assert!(world.is_store_unused());
        }
    }
}

#[on_each_store]
fn list_describes_each_delivery() {
    let world = World::with_operator().respond(503, "").respond(500, "").unreachable();
    let hook = world.post_json(WEBHOOK_URI, "{}").delivery();
    world.advance(1_000);
    // Without the looks for its effect that follow the response.
    let (reply, _) = world.run(world.handle(request("POST", CALLBACK_URI, &[JSON], "{}")));
    let callback = reply.delivery();
    world.advance(1_000);
    let event = world.post_json(EVENT_URI, EVENT).delivery();
    let reply = world.as_operator("GET", LIST);
    assert_eq!(reply.header("cache-control"), Some("no-store"));
    let mut page = reply.json();
    for delivery in page["deliveries"].as_array_mut().unwrap() {
        let next = delivery.as_object_mut().unwrap().remove("next_attempt").unwrap();
        assert!(next.as_str().unwrap().starts_with("2026-11-24T08:30:"), "{next}");
    }
    let expected = json!([
        {
            "id": hook, "kind": "start", "ref": "w", "state": "pending", "received": "2026-11-24T08:30:00.000Z",
            "attempts": 1, "last_failure": "the engine answered 503",
        },
        {
            "id": callback, "kind": "resolve", "ref": "r", "topic": "t", "state": "pending",
            "received": "2026-11-24T08:30:01.000Z", "attempts": 1, "last_failure": "the engine answered 500",
        },
        {
            "id": event, "kind": "start", "ref": "w", "state": "pending", "received": "2026-11-24T08:30:02.000Z",
            "attempts": 1, "last_failure": "the engine can't be reached: the connection was refused",
        },
    ]);
    let mut expected = expected;
    if world.kind() == StoreKind::Postgres {
        // Its instance still holds it, and the row is that of the claim.
        expected[1]["attempts"] = json!(0);
        expected[1].as_object_mut().unwrap().remove("last_failure");
    }
    assert_eq!(page, json!({ "deliveries": expected, "next": null }));
    assert_eq!(
        world.as_operator("GET", &format!("{LIST}?state=dead")).json(),
        json!({ "deliveries": [], "next": null })
    );
    let head = world.as_operator("HEAD", LIST);
    assert_eq!((head.status(), head.text()), (200, ""));
}

#[on_each_store]
fn pages_are_stable_during_changes() {
    let world = World::with_operator().unreachable();
    let store = |_| {
        world.advance(1);
        world.post_json(WEBHOOK_URI, "{}").delivery()
    };
    let ids: Vec<_> = (0..5).map(store).collect();
    let (first, next) = list(&world, "?limit=2");
    assert_eq!((&first[..], next.as_str()), (&ids[..2], Some(&*ids[1])));
    // Both deliveries of the first page are deleted, and another one arrives.
    for deleted in &ids[..2] {
        assert_eq!(world.as_operator("DELETE", &format!("{LIST}/{deleted}")).status(), 204);
    }
    let sixth = store(5);
    let (second, next) = list(&world, &format!("?limit=2&after={}", ids[1]));
    assert_eq!((&second[..], next.as_str()), (&ids[2..4], Some(&*ids[3])));
    let (third, next) = list(&world, &format!("?limit=2&after={}", ids[3]));
    assert_eq!((third, next), (vec![ids[4].clone(), sixth.clone()], Value::Null));
    assert_eq!(list(&world, &format!("?after={sixth}")), (vec![], Value::Null));
    assert_eq!(list(&world, "?state=pending&limit=500").0.len(), 4);
}

#[on_each_store]
fn page_has_50_deliveries_by_default() {
    let world = World::with_operator().unreachable();
    for _ in 0..51 {
        world.post_json(WEBHOOK_URI, "{}");
    }
    let (ids, next) = list(&world, "");
    assert_eq!((ids.len(), next.as_str()), (50, Some(&*ids[49])));
    for (query, field) in [
        ("?limit=0", "limit"),
        ("?limit=501", "limit"),
        ("?limit=x", "limit"),
        ("?limit=-1", "limit"),
        ("?limit=", "limit"),
        ("?limit=1&limit=2", "limit"),
        ("?state=done", "state"),
        ("?state=", "state"),
        ("?after=x", "after"),
        ("?after=01m85mnvrrnf3ykjsmzyxyd1x7", "after"),
    ] {
        let problem = world.as_operator("GET", &format!("{LIST}{query}")).problem(400, "invalid-parameter");
        assert_eq!(problem["field"], field, "{query}");
    }
}

#[on_each_store]
fn unknown_delivery_is_404() {
    for id in [UNKNOWN_ID, "x", &UNKNOWN_ID.to_lowercase(), "01M85MNVRRNF3YKJSMZYXYD1X70", "%30"] {
        let world = World::with_operator();
        for (method, rest) in [("GET", ""), ("DELETE", ""), ("POST", "/redeliver")] {
            let _row = row(format!("{method} {id}{rest}"));
            let problem = world.as_operator(method, &format!("{LIST}/{id}{rest}")).problem(404, "no-delivery");
            assert_eq!(problem["field"], "id");
        }
        world.assert_untouched();
    }
}

#[on_each_store]
fn delivery_shows_the_request_to_be_sent() {
    const ODD: &str = "{ \"n\":12345678901234567890 ,\"d\":1,\"d\":2,\n\"e\":1e5}";
    let world = World::with_operator().respond(503, "").unreachable();
    let hook = world.post_json("/api/v2/webhook?ref=my%20flow", ODD).delivery();
    let reply = world.as_operator("GET", &format!("{LIST}/{hook}"));
    let body = format!(
        r#"{{"trigger":"webhook","params":[{{"name":"data","value":{ODD}}}],"labels":{{"sluice.dev/delivery":"{hook}"}}}}"#
    );
    let path = "/api/v1/workflow/my%20flow/submit?start=false";
    let request = format!(r#""request":{{"method":"POST","path":"{path}","body":{body}}}"#);
    assert!(reply.text().contains(&request), "{}\n{request}", reply.text());
    assert_eq!(reply.header("cache-control"), Some("no-store"));
    let shown = reply.json();
    let history = json!([{ "at": "2026-11-24T08:30:00.000Z", "failure": "the engine answered 503" }]);
    assert_eq!((&shown["history"], shown.get("key"), &shown["attempts"]), (&history, None, &json!(1)));

    let event = show(&world, &world.post_json(EVENT_URI, EVENT).delivery());
    assert_eq!(event["request"]["body"]["labels"]["sluice.dev/delivery"], event["key"]);
    assert_eq!(event["key"].as_str().unwrap().len(), 52);
    let callback = show(&world, &world.get(CALLBACK_URI).delivery());
    let expected = json!({
        "method": "PUT", "path": "/api/v1/workflowrun/r/event",
        "body": { "topic": "t", "status": "succeeded", "results": [] },
    });
    assert_eq!(callback["request"], expected);
}

#[on_each_store]
fn redelivery_is_sent_immediately() {
    for (uri, body) in INGRESS {
        let _row = row(uri);
        let world = World::with_operator().respond(503, "");
        let id = world.post_json(uri, body).delivery();
        world.engine.take_calls();
        world.engine.recover();
        let reply = redeliver(&world, &id);
        assert_eq!((reply.status(), reply.json()), (200, json!({ "delivery": id, "state": "delivered" })));
        assert_eq!(world.engine.take_calls().len(), 1, "sent before the next attempt was due");
        redeliver(&world, &id).problem(404, "no-delivery");
        if uri != WEBHOOK_URI {
            assert_eq!(world.post_json(uri, body).outcome(), (200, Some("duplicate")));
        }
        assert_eq!(world.engine.targets().len(), 1);
    }
}

#[on_each_store]
fn redelivered_dead_letter_is_pending_again() {
    for (uri, body) in INGRESS {
        let _row = row(uri);
        let world = World::with_operator().respond(400, "").after(3_000).respond(503, "").respond(422, "");
        let id = world.post_json(uri, body).delivery();
        world.advance(30 * HOUR);
        assert_eq!(show(&world, &id)["state"], "dead");
        let expected = json!({ "delivery": id, "state": "pending", "last_failure": "the engine answered 503" });
        // The engine is queried before each attempt of a keyed start.
        if uri == EVENT_URI {
            for at in [0, 2] {
                world.engine.script.borrow_mut().insert(at, (0, answer(200, r#"{"content":[]}"#)));
            }
        }
        let reply = redeliver(&world, &id);
        assert_eq!((reply.status(), reply.json()), (202, expected));
        assert_eq!(show(&world, &id)["state"], "pending", "the age restarts");
        assert!(world.dead().is_empty());
        let expected = json!({ "delivery": id, "state": "dead", "last_failure": "the engine answered 422" });
        let reply = redeliver(&world, &id);
        assert_eq!((reply.status(), reply.json()), (200, expected));
        world.engine.recover();
        assert_eq!(redeliver(&world, &id).json()["state"], "delivered");
        assert_eq!(world.engine.targets().len(), 1);
    }
}

#[test]
fn failed_redelivery_notifies_the_next_drain() {
    StoreKind::KeyValue.choose();
    let world = World::with_operator().respond(400, "").after(3_000).respond(503, "");
    let id = world.post_json(WEBHOOK_URI, "{}").delivery();
    world.drain();
    assert!(world.store.keys(NOTIFICATION).is_empty());
    assert_eq!(redeliver(&world, &id).json()["state"], "pending");
    world.engine.recover();
    // Long before the next periodic scan.
    world.advance(MINUTE);
    assert_eq!(world.drain()["delivered"], 1);
}

#[on_each_store]
fn dead_letter_with_a_reused_key_is_not_sent() {
    for (uri, body) in [(EVENT_URI, EVENT), (CALLBACK_URI, "{}")] {
        let _row = row(uri);
        let world = World::with_operator().respond(400, "").after(3_000);
        let dead = world.post_json(uri, body).delivery();
        world.engine.recover();
        let second = world.post_json(uri, body);
        assert_eq!(second.outcome(), (200, Some("delivered")));
        assert_eq!(redeliver(&world, &dead).json(), json!({ "delivery": dead, "state": "dropped" }));
        assert_eq!(world.engine.targets().len(), 1);
        let again = world.post_json(uri, body);
        assert_eq!((again.outcome(), again.delivery()), ((200, Some("duplicate")), second.delivery()));
    }
    let world = World::with_operator().respond(400, "").after(3_000);
    let dead = world.post_json(CALLBACK_URI, r#"{"n":1}"#).delivery();
    world.engine.recover();
    world.post_json(CALLBACK_URI, r#"{"n":2}"#);
    assert_eq!(redeliver(&world, &dead).json()["state"], "dead");
    assert_eq!(world.engine.targets().len(), 1);
}

#[on_each_store]
fn redelivery_during_a_drain_is_left_to_the_drain() {
    let world = World::with_operator().unreachable();
    world.post_json("/api/v2/webhook?ref=first", "{}");
    world.advance(1);
    let id = world.post_json(WEBHOOK_URI, "{}").delivery();
    world.engine.recover();
    world.engine.latency.set(1_000);
    let redelivered = world.run(async {
        let drain = world.handle(request("POST", DRAIN_URI, &[OPERATOR], ""));
        let uri = format!("{LIST}/{id}/redeliver");
        let redelivery = world.handle(request("POST", &uri, &[OPERATOR], ""));
        let (_, (redelivered, _)) = join(drain, redelivery).await;
        redelivered
    });
    if world.kind() == StoreKind::Postgres {
        // Nobody holds it, so the drain need not be waited for.
        assert_eq!(redelivered.json(), json!({ "delivery": id, "state": "delivered" }));
        assert_eq!(world.engine.targets().len(), 2);
        return;
    }
    let reason = "a drain is running, and will attempt it";
    let expected = json!({ "delivery": id, "state": "pending", "last_failure": reason });
    assert_eq!((redelivered.status(), redelivered.json()), (202, expected));
    assert_eq!(world.engine.targets(), ["first", "w"]);
}

#[on_each_store]
fn delivery_under_way_is_not_changed() {
    let world = World::with_operator().slow(5_000);
    world.run(async {
        let (reply, rest) = world.handle(request("POST", EVENT_URI, &[JSON, ASYNC], EVENT)).await;
        let id = reply.delivery();
        let changes = async {
            for (method, rest) in [("POST", "/redeliver"), ("DELETE", "")] {
                let _row = row(method);
                let uri = format!("{LIST}/{id}{rest}");
                let (reply, _) = world.handle(request(method, &uri, &[OPERATOR], "")).await;
                assert_eq!(reply.problem(409, "under-way")["retry"], "safe");
                assert_eq!(reply.header("retry-after"), Some("5"));
            }
        };
        join(world.finish(rest), changes).await;
    });
    assert_eq!(world.engine.targets().len(), 1);

    // An ambiguous delivery is under way until the engine can no longer act; then the engine is queried.
    let world = World::with_operator().losing_responses();
    let event = world.post_json(EVENT_URI, EVENT).delivery();
    world.engine.recover();
    world.clock.set(NOW + 10_999);
    redeliver(&world, &event).problem(409, "under-way");
    world.clock.set(NOW + 11_000);
    world.engine.take_calls();
    assert_eq!(redeliver(&world, &event).json()["state"], "delivered");
    assert_eq!((world.engine.take_calls().len(), world.engine.targets().len()), (1, 1));
}

#[on_each_store]
fn contended_delivery_is_under_way_while_the_first_may_be() {
    let world = World::with_operator().slow(9_000);
    let contended = world.run(async {
        let (_, (contended, _)) = join(
            async {
                let (_, rest) = world.handle(request("POST", EVENT_URI, &[JSON, ("prefer", "wait=9")], EVENT)).await;
                drop(rest);
            },
            world.handle(request("POST", EVENT_URI, &[JSON, ASYNC], EVENT)),
        )
        .await;
        contended.delivery()
    });
    world.store.entries.borrow_mut().retain(|key, _| !key.starts_with("sluice:done:"));
    redeliver(&world, &contended).problem(409, "under-way");
}

#[on_each_store]
fn deleted_delivery_releases_the_key() {
    for (uri, body) in INGRESS {
        let _row = row(uri);
        let world = World::with_operator().unreachable();
        let id = world.post_json(uri, body).delivery();
        let reply = world.as_operator("DELETE", &format!("{LIST}/{id}"));
        assert_eq!((reply.status(), reply.text()), (204, ""));
        world.as_operator("GET", &format!("{LIST}/{id}")).problem(404, "no-delivery");
        assert_eq!(world.drain()["pending"], 0);
        world.engine.recover();
        world.advance(1_000);
        assert_eq!(world.post_json(uri, body).outcome(), (200, Some("delivered")));
    }
}

#[on_each_store]
fn deleting_a_dead_letter_keeps_the_key_of_a_later_delivery() {
    let world = World::with_operator().respond(400, "").after(3_000);
    let dead = world.post_json(EVENT_URI, EVENT).delivery();
    world.engine.recover();
    world.post_json(EVENT_URI, EVENT);
    assert_eq!(world.as_operator("DELETE", &format!("{LIST}/{dead}")).status(), 204);
    assert!(world.dead().is_empty());
    assert_eq!(world.post_json(EVENT_URI, EVENT).outcome(), (200, Some("duplicate")));
}

#[on_each_store]
fn unreadable_record_can_be_deleted() {
    let world = World::with_operator().unreachable();
    let id = world.post_json(WEBHOOK_URI, "{}").delivery();
    world.damage(&id);
    let reply = world.as_operator("GET", LIST);
    assert_eq!((reply.status(), &reply.json()["deliveries"]), (200, &json!([])));
    assert!(reply.warning().contains(&id));
    world.as_operator("GET", &format!("{LIST}/{id}")).problem(500, "damaged");
    redeliver(&world, &id).problem(500, "damaged");
    world.advance(MINUTE);
    world.drain();
    assert_eq!(world.as_operator("DELETE", &format!("{LIST}/{id}")).status(), 204);
    assert!(world.pending().is_empty());
}

#[on_each_store]
fn redelivery_to_an_unreachable_engine_stays_pending() {
    let world = World::with_operator().result(Err(SendError::NotSent("the name was not found"))).unreachable();
    let id = world.post_json(WEBHOOK_URI, "{}").delivery();
    let reply = redeliver(&world, &id);
    let reason = "the engine can't be reached: the connection was refused";
    let expected = json!({ "delivery": id, "state": "pending", "last_failure": reason });
    assert_eq!((reply.status(), reply.json()), (202, expected));
    world.engine.recover();
    assert_eq!(world.drain()["delivered"], 1);
}
