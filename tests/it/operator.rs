//! What an operator sees and does: list, look, redeliver, delete.

use serde_json::{Value, json};
use sluice::ports::SendError;

use crate::fake::{ASYNC, EVENT, JSON, NOW, World, request};

const HOOK: &str = "/api/v2/webhook?ref=w";
const ON_EVENT: &str = "/api/v2/event?ref=w";
const ON_CALLBACK: &str = "/api/v2/callback?ref=r&topic=t";
const LIST: &str = "/api/v2/deliveries";
const SOME: &str = "01M85MNVRRNF3YKJSMZYXYD1X7";

fn id(reply: &crate::fake::Reply) -> String {
    reply.header("sluice-delivery").unwrap().to_owned()
}

fn listed(world: &World, query: &str) -> (Vec<String>, Value) {
    let reply = world.operate("GET", &format!("{LIST}{query}"));
    assert_eq!(reply.status(), 200, "{}", reply.text());
    let page = reply.json();
    let ids = page["deliveries"].as_array().unwrap().iter().map(|one| one["id"].as_str().unwrap().to_owned());
    (ids.collect(), page["next"].clone())
}

fn show(world: &World, id: &str) -> Value {
    let reply = world.operate("GET", &format!("{LIST}/{id}"));
    assert_eq!(reply.status(), 200, "{}", reply.text());
    reply.json()
}

fn redeliver(world: &World, id: &str) -> crate::fake::Reply {
    world.operate("POST", &format!("{LIST}/{id}/redeliver"))
}

#[test]
fn routes_require_the_operator_token() {
    let [one, again] = [format!("{LIST}/{SOME}"), format!("{LIST}/{SOME}/redeliver")];
    for (method, uri) in [
        ("GET", LIST),
        ("HEAD", LIST),
        ("GET", &*one),
        ("DELETE", &one),
        ("POST", &again),
        ("POST", "/api/v2/deliveries/drain"),
        ("GET", "/api/v2/callbacks/r"),
    ] {
        let world = World::new();
        let reply = world.send(request(method, uri, &[("authorization", "Bearer op3rator")], ""));
        assert_eq!((reply.status(), &reply.log["problem"]), (404, &json!("not-found")), "not set: {method} {uri}");
        world.assert_untouched();
        for authorization in ["", "Bearer other", "Bearer", "Basic op3rator"] {
            let world = World::operated();
            let reply = world.send(request(method, uri, &[("authorization", authorization)], ""));
            assert_eq!((reply.status(), &reply.log["problem"]), (401, &json!("unauthorized")), "{method} {uri}");
            assert_eq!(reply.header("www-authenticate"), Some("Bearer realm=\"sluice\""));
            assert!(world.operations.borrow().is_empty());
        }
    }
}

#[test]
fn list_describes_each_delivery() {
    let world = World::operated().answers(503, "").answers(500, "").down();
    let hook = id(&world.json(HOOK, "{}"));
    world.pass(1_000);
    let callback = id(&world.json(ON_CALLBACK, "{}"));
    world.pass(1_000);
    let event = id(&world.json(ON_EVENT, EVENT));
    let reply = world.operate("GET", LIST);
    assert_eq!(reply.header("cache-control"), Some("no-store"));
    let mut page = reply.json();
    for one in page["deliveries"].as_array_mut().unwrap() {
        let next = one.as_object_mut().unwrap().remove("next_attempt").unwrap();
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
    assert_eq!(page, json!({ "deliveries": expected, "next": null }));
    assert_eq!(world.operate("GET", &format!("{LIST}?state=dead")).json(), json!({ "deliveries": [], "next": null }));
    let head = world.operate("HEAD", LIST);
    assert_eq!((head.status(), head.text()), (200, ""));
}

#[test]
fn pages_are_stable_during_changes() {
    let world = World::operated().down();
    let store = |_| {
        world.pass(1);
        id(&world.json(HOOK, "{}"))
    };
    let ids: Vec<_> = (0..5).map(store).collect();
    let (first, next) = listed(&world, "?limit=2");
    assert_eq!((&first[..], next.as_str()), (&ids[..2], Some(&*ids[1])));
    // The last of the page goes, one before it goes, and another comes.
    for gone in &ids[..2] {
        assert_eq!(world.operate("DELETE", &format!("{LIST}/{gone}")).status(), 204);
    }
    let sixth = store(5);
    let (second, next) = listed(&world, &format!("?limit=2&after={}", ids[1]));
    assert_eq!((&second[..], next.as_str()), (&ids[2..4], Some(&*ids[3])));
    let (third, next) = listed(&world, &format!("?limit=2&after={}", ids[3]));
    assert_eq!((third, next), (vec![ids[4].clone(), sixth.clone()], Value::Null));
    assert_eq!(listed(&world, &format!("?after={sixth}")), (vec![], Value::Null));
    assert_eq!(listed(&world, "?state=pending&limit=500").0.len(), 4);
}

#[test]
fn page_has_50_deliveries_by_default() {
    let world = World::operated().down();
    (0..51).for_each(|_| _ = world.json(HOOK, "{}"));
    let (ids, next) = listed(&world, "");
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
        let problem = world.operate("GET", &format!("{LIST}{query}")).problem(400, "invalid-parameter");
        assert_eq!(problem["field"], field, "{query}");
    }
}

#[test]
fn unknown_delivery_is_404() {
    for id in [SOME, "x", &SOME.to_lowercase(), "01M85MNVRRNF3YKJSMZYXYD1X70", "%30"] {
        let world = World::operated();
        for (method, rest) in [("GET", ""), ("DELETE", ""), ("POST", "/redeliver")] {
            let problem = world.operate(method, &format!("{LIST}/{id}{rest}")).problem(404, "no-delivery");
            assert_eq!(problem["field"], "id");
        }
        world.assert_untouched();
    }
}

#[test]
fn delivery_shows_the_request_to_be_sent() {
    const ODD: &str = "{ \"n\":12345678901234567890 ,\"d\":1,\"d\":2,\n\"e\":1e5}";
    let world = World::operated().answers(503, "").down();
    let hook = id(&world.json("/api/v2/webhook?ref=my%20flow", ODD));
    let reply = world.operate("GET", &format!("{LIST}/{hook}"));
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

    let event = show(&world, &id(&world.json(ON_EVENT, EVENT)));
    assert_eq!(event["request"]["body"]["labels"]["sluice.dev/delivery"], event["key"]);
    assert_eq!(event["key"].as_str().unwrap().len(), 52);
    let callback = show(&world, &id(&world.get(ON_CALLBACK)));
    let expected = json!({
        "method": "PUT", "path": "/api/v1/workflowrun/r/event",
        "body": { "topic": "t", "status": "succeeded", "results": [] },
    });
    assert_eq!(callback["request"], expected);
}

#[test]
fn redelivery_is_sent_immediately() {
    for (uri, body) in [(HOOK, "{}"), (ON_EVENT, EVENT), (ON_CALLBACK, "{}")] {
        let world = World::operated().answers(503, "");
        let id = id(&world.json(uri, body));
        world.calls();
        world.heal();
        let reply = redeliver(&world, &id);
        assert_eq!((reply.status(), reply.json()), (200, json!({ "delivery": id, "state": "delivered" })), "{uri}");
        assert_eq!(world.calls().len(), 1, "though its time had not come");
        redeliver(&world, &id).problem(404, "no-delivery");
        if uri != HOOK {
            assert_eq!(world.json(uri, body).outcome(), (200, Some("duplicate")));
        }
        assert_eq!(world.acted().len(), 1);
    }
}

#[test]
fn redelivered_dead_letter_is_pending_again() {
    for (uri, body) in [(HOOK, "{}"), (ON_EVENT, EVENT), (ON_CALLBACK, "{}")] {
        let world = World::operated().answers(400, "").after(3_000).answers(503, "").answers(422, "");
        let id = id(&world.json(uri, body));
        world.pass(30 * 3_600_000);
        assert_eq!(show(&world, &id)["state"], "dead");
        let expected = json!({ "delivery": id, "state": "pending", "last_failure": "the engine answered 503" });
        // The engine is asked for the run of what had a key.
        if uri == ON_EVENT {
            let none = http::Response::new(br#"{"content":[]}"#.to_vec());
            for at in [0, 2] {
                world.answers.borrow_mut().insert(at, (0, Ok(none.clone())));
            }
        }
        let reply = redeliver(&world, &id);
        assert_eq!((reply.status(), reply.json()), (202, expected), "{uri}");
        assert_eq!(show(&world, &id)["state"], "pending", "its age counts anew");
        assert!(world.keys("sluice/dead/").is_empty());
        let expected = json!({ "delivery": id, "state": "dead", "last_failure": "the engine answered 422" });
        let reply = redeliver(&world, &id);
        assert_eq!((reply.status(), reply.json()), (200, expected), "{uri}");
        world.heal();
        assert_eq!(redeliver(&world, &id).json()["state"], "delivered");
        assert_eq!(world.acted().len(), 1);
    }
}

#[test]
fn failed_redelivery_notifies_the_next_drain() {
    let world = World::operated().answers(400, "").after(3_000).answers(503, "");
    let id = id(&world.json(HOOK, "{}"));
    world.drain();
    assert!(world.keys("sluice/hint").is_empty(), "nothing was pending");
    assert_eq!(redeliver(&world, &id).json()["state"], "pending");
    world.heal();
    // Long before keys are scanned regardless.
    world.pass(60_000);
    assert_eq!(world.drain()["delivered"], 1);
}

#[test]
fn dead_letter_with_a_reused_key_is_not_sent() {
    for (uri, body) in [(ON_EVENT, EVENT), (ON_CALLBACK, "{}")] {
        let world = World::operated().answers(400, "").after(3_000);
        let dead = id(&world.json(uri, body));
        world.heal();
        let second = world.json(uri, body);
        assert_eq!(second.outcome(), (200, Some("delivered")), "{uri}");
        assert_eq!(redeliver(&world, &dead).json(), json!({ "delivery": dead, "state": "dropped" }), "{uri}");
        assert_eq!(world.acted().len(), 1);
        let again = world.json(uri, body);
        assert_eq!((again.outcome(), id(&again)), ((200, Some("duplicate")), id(&second)));
    }
    let world = World::operated().answers(400, "").after(3_000);
    let dead = id(&world.json(ON_CALLBACK, r#"{"n":1}"#));
    world.heal();
    world.json(ON_CALLBACK, r#"{"n":2}"#);
    assert_eq!(redeliver(&world, &dead).json()["state"], "dead");
    assert_eq!(world.acted().len(), 1, "another was first");
}

#[test]
fn redelivery_during_a_drain_is_left_to_the_drain() {
    let world = World::operated().down();
    world.json("/api/v2/webhook?ref=first", "{}");
    world.pass(1);
    let id = id(&world.json(HOOK, "{}"));
    world.heal();
    world.takes.set(1_000);
    let redelivered = world.run(async {
        let drain = world.answer(request("POST", "/api/v2/deliveries/drain", &[crate::fake::OPERATOR], ""));
        let uri = format!("{LIST}/{id}/redeliver");
        let other = world.answer(request("POST", &uri, &[crate::fake::OPERATOR], ""));
        futures_util::future::join(drain, other).await.1.0
    });
    let why = "a drain is running, and will attempt it";
    let expected = json!({ "delivery": id, "state": "pending", "last_failure": why });
    assert_eq!((redelivered.status(), redelivered.json()), (202, expected));
    assert_eq!(world.acted(), ["first", "w"]);
}

#[test]
fn delivery_under_way_is_not_changed() {
    let world = World::operated().slow(5_000);
    world.run(async {
        let (reply, rest) = world.answer(request("POST", ON_EVENT, &[JSON, ASYNC], EVENT)).await;
        let id = id(&reply);
        let call = async {
            for (method, rest) in [("POST", "/redeliver"), ("DELETE", "")] {
                let uri = format!("{LIST}/{id}{rest}");
                let (reply, _) = world.answer(request(method, &uri, &[crate::fake::OPERATOR], "")).await;
                assert_eq!(reply.problem(409, "under-way")["retry"], "safe");
                assert_eq!(reply.header("retry-after"), Some("5"));
            }
        };
        futures_util::future::join(world.finish(rest), call).await;
    });
    assert_eq!(world.acted().len(), 1);

    // The engine may still act on what was cut; once it can't, it is asked.
    let world = World::operated().cut();
    let event = id(&world.json(ON_EVENT, EVENT));
    world.heal();
    world.now.set(NOW + 10_999);
    redeliver(&world, &event).problem(409, "under-way");
    world.now.set(NOW + 11_000);
    world.calls();
    assert_eq!(redeliver(&world, &event).json()["state"], "delivered");
    assert_eq!((world.calls().len(), world.acted().len()), (1, 1), "found");
}

#[test]
fn contended_delivery_is_under_way_while_the_first_may_be() {
    let world = World::operated().slow(9_000);
    let copy = world.run(async {
        let (_, (copy, _)) = futures_util::future::join(
            async {
                let (_, rest) = world.answer(request("POST", ON_EVENT, &[JSON, ("prefer", "wait=9")], EVENT)).await;
                drop(rest);
            },
            world.answer(request("POST", ON_EVENT, &[JSON, ASYNC], EVENT)),
        )
        .await;
        id(&copy)
    });
    world.store.borrow_mut().retain(|key, _| !key.starts_with("sluice/done/"));
    redeliver(&world, &copy).problem(409, "under-way");
}

#[test]
fn deleted_delivery_releases_the_key() {
    for (uri, body) in [(HOOK, "{}"), (ON_EVENT, EVENT), (ON_CALLBACK, "{}")] {
        let world = World::operated().down();
        let id = id(&world.json(uri, body));
        let reply = world.operate("DELETE", &format!("{LIST}/{id}"));
        assert_eq!((reply.status(), reply.text()), (204, ""), "{uri}");
        world.operate("GET", &format!("{LIST}/{id}")).problem(404, "no-delivery");
        assert_eq!(world.drain()["pending"], 0);
        world.heal();
        world.pass(1_000);
        assert_eq!(world.json(uri, body).outcome(), (200, Some("delivered")), "{uri}: as if for the first time");
    }
}

#[test]
fn deleting_a_dead_letter_keeps_the_key_of_a_later_delivery() {
    let world = World::operated().answers(400, "").after(3_000);
    let dead = id(&world.json(ON_EVENT, EVENT));
    world.heal();
    world.json(ON_EVENT, EVENT);
    assert_eq!(world.operate("DELETE", &format!("{LIST}/{dead}")).status(), 204);
    assert!(world.keys("sluice/dead/").is_empty());
    assert_eq!(world.json(ON_EVENT, EVENT).outcome(), (200, Some("duplicate")));
}

#[test]
fn unreadable_record_can_be_deleted() {
    let world = World::operated().down();
    let id = id(&world.json(HOOK, "{}"));
    world.store.borrow_mut().insert(format!("sluice/pending/{id}"), b"{\"v\":9}".to_vec());
    let reply = world.operate("GET", LIST);
    assert_eq!((reply.status(), &reply.json()["deliveries"]), (200, &json!([])));
    assert!(reply.log["warning"].as_str().unwrap().contains(&id));
    world.operate("GET", &format!("{LIST}/{id}")).problem(500, "damaged");
    redeliver(&world, &id).problem(500, "damaged");
    assert_eq!(world.operate("DELETE", &format!("{LIST}/{id}")).status(), 204);
    assert!(world.keys("sluice/pending/").is_empty());
}

#[test]
fn redelivery_to_an_unreachable_engine_stays_pending() {
    let world = World::operated().scripted(Err(SendError::NotSent("the name was not found"))).down();
    let id = id(&world.json(HOOK, "{}"));
    let reply = redeliver(&world, &id);
    let why = "the engine can't be reached: the connection was refused";
    assert_eq!(
        (reply.status(), reply.json()),
        (202, json!({ "delivery": id, "state": "pending", "last_failure": why }))
    );
    world.heal();
    assert_eq!(world.drain()["delivered"], 1);
}
