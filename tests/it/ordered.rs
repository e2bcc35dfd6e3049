//! Routes with `ordered`: the engine sees their starts one at a time, in order of arrival.

use std::pin::pin;
use std::time::Duration;

use futures_util::future::{join, join_all, select};
use serde_json::{Value, json};
use sluice::ports::Clock;

use crate::fake::{Behaviour, DRAIN_URI, HOUR, JSON, MINUTE, OPERATOR, Reply, StoreKind, World, answer, request, row};

const ROUTES: &str = r#"[
    {"workflow":"w","from":"event","filter":{"exact":{"type":"t"}},"ordered":true},
    {"workflow":"x","from":"event","filter":{"exact":{"type":"u"}},"ordered":true},
    {"workflow":"x","from":"webhook","ordered":true},
    {"workflow":"free","from":"event","filter":{"exact":{"type":"free"}}}
]"#;

fn world() -> World {
    World::with_operator().setting("open", true).with("routes", ROUTES).healthy()
}

fn event(kind: &str, id: usize) -> String {
    format!(r#"{{"specversion":"1.0","id":"{id}","source":"/s","type":"{kind}"}}"#)
}

/// Sends an event without the work after its response, as if its instance had ended.
fn post(world: &World, kind: &str, id: usize) -> Reply {
    let (reply, rest) = world.run(world.handle(request("POST", "/api/v2/event", &[JSON], event(kind, id))));
    drop(rest);
    world.advance(1);
    reply
}

/// Stores events of a type, and returns the ids of their deliveries in order of arrival.
fn store(world: &World, kind: &str, events: impl IntoIterator<Item = usize>) -> Vec<String> {
    let store = |id| {
        let reply = post(world, kind, id);
        assert_eq!(reply.outcome(), (202, Some("pending")));
        reply.delivery()
    };
    events.into_iter().map(store).collect()
}

/// The events that started a run of a workflow, in the engine's order.
fn started(world: &World, workflow: &str) -> Vec<usize> {
    let effects = world.engine.effects.borrow();
    let effects = effects.iter().filter(|effect| effect["target"] == workflow);
    let id = |effect: &Value| {
        let params = effect["params"].as_array().unwrap();
        let event = &params.iter().find(|param| param["name"] == "event").unwrap()["value"];
        event["id"].as_str().unwrap().parse().unwrap()
    };
    effects.map(id).collect()
}

/// The requests that the engine got for a workflow never overlapped.
#[track_caller]
fn assert_one_at_a_time(world: &World, workflow: &str) {
    let received = world.engine.received.borrow();
    let of_workflow = received.iter().filter(|r| r.request.uri().path().ends_with(&format!("/{workflow}/submit")));
    let spans: Vec<_> = of_workflow.map(|r| (r.arrived_at, r.answered_at.get().unwrap_or(u64::MAX))).collect();
    assert!(!spans.is_empty(), "the engine got no request");
    for pair in spans.windows(2) {
        assert!(pair[0].1 <= pair[1].0, "two at a time: {spans:?}");
    }
}

fn readiness(world: &World) -> Value {
    world.as_operator("GET", "/readyz").json()
}

/// Drains at each time at which something is due, until nothing is pending.
fn drain_until_empty(world: &World) {
    for _ in 0..200 {
        if world.pending().is_empty() {
            return;
        }
        world.drain();
        if let Some(due) = world.due() {
            world.clock.set(due.max(world.now() + 1));
        }
    }
    panic!("still pending: {:?}", world.pending());
}

#[on_each_store]
fn event_is_stored_and_sent_by_a_drain_alone() {
    let world = world();
    let ids = store(&world, "t", 0..5);
    assert!(world.engine.take_calls().is_empty(), "a sender's instance has sent it");
    assert_eq!(world.pending(), ids);
    assert_eq!(world.drain()["delivered"], 5);
    assert_eq!(started(&world, "w"), [0, 1, 2, 3, 4]);
    assert!(readiness(&world)["queues"].is_null());
    // A webhook is stored as well, and the work after the response delivers it.
    let reply = world.post_json("/api/v2/webhook", "{}");
    assert_eq!(reply.outcome(), (202, Some("pending")));
    assert!(world.pending().is_empty());
    assert_eq!(world.engine.targets().len(), 6);
}

#[on_each_store]
fn request_that_names_its_workflow_is_not_in_the_queue() {
    let world = world();
    let reply = world.post_json("/api/v2/event?ref=w", event("t", 1));
    assert_eq!(reply.outcome(), (200, Some("delivered")));
}

#[on_each_store]
fn slow_engine_gets_one_at_a_time_of_each_queue() {
    let world = world();
    for id in 0..6 {
        store(&world, "t", [id]);
        store(&world, "u", [id]);
    }
    world.engine.latency.set(700);
    let begin = world.now();
    assert_eq!(world.drain()["delivered"], 12);
    for workflow in ["w", "x"] {
        assert_eq!(started(&world, workflow), [0, 1, 2, 3, 4, 5]);
        assert_one_at_a_time(&world, workflow);
    }
    // The queues go side by side. Until the engine has answered, a pass sends one delivery.
    assert!(world.now() - begin < 8 * 700, "the queues wait for each other");
}

#[on_each_store]
fn others_go_side_by_side_with_a_queue() {
    let world = world();
    store(&world, "t", 0..3);
    world.engine.behaviour.set(Behaviour::Unreachable);
    (0..6).for_each(|n| assert_eq!(post(&world, "free", n).status(), 202));
    world.engine.recover();
    world.engine.take_calls();
    world.engine.latency.set(1_000);
    let begin = world.now();
    assert_eq!(world.drain()["delivered"], 9);
    assert_eq!(started(&world, "w"), [0, 1, 2]);
    assert!(world.now() - begin < 7_000, "one at a time");
}

#[on_each_store]
fn head_in_back_off_holds_its_queue_and_shows_at_readyz() {
    let world = world();
    let ids = store(&world, "t", 0..3);
    store(&world, "u", 0..3);
    assert_eq!(readiness(&world)["status"], "ready");
    world.engine.script(answer(500, r#"{"code":1,"reason":"INTERNAL_ERROR"}"#));
    assert_eq!(world.drain()["delivered"], 3);
    assert_eq!((started(&world, "w"), started(&world, "x")), (vec![], vec![0, 1, 2]));
    assert_eq!(world.pending(), ids);

    let ready = readiness(&world);
    assert_eq!(ready["status"], "degraded");
    let [queue] = &ready["queues"].as_array().unwrap()[..] else { panic!("{ready}") };
    assert_eq!((&queue["workflow"], &queue["delivery"]), (&json!("w"), &json!(ids[0])));
    assert!(queue["failure"].as_str().unwrap().contains("500") && queue["since"].is_string(), "{queue}");

    // A second failure keeps the time.
    world.engine.script(answer(500, r#"{"code":1,"reason":"INTERNAL_ERROR"}"#));
    world.clock.set(world.due().unwrap());
    world.advance(MINUTE);
    world.drain();
    assert!(started(&world, "w").is_empty());
    assert_eq!(readiness(&world)["queues"][0]["since"], queue["since"]);

    world.advance(HOUR);
    drain_until_empty(&world);
    assert_eq!(started(&world, "w"), [0, 1, 2]);
    assert_eq!(readiness(&world), json!({ "status": "ready" }));
}

#[on_each_store]
fn held_queue_hides_no_delivery_behind_it() {
    let world = world();
    store(&world, "t", 0..40);
    store(&world, "u", 0..2);
    world.engine.script(answer(500, r#"{"code":1,"reason":"INTERNAL_ERROR"}"#));
    assert_eq!(world.drain()["delivered"], 2);
    assert_eq!(started(&world, "x"), [0, 1]);
}

#[on_each_store]
fn refused_head_lets_the_next_one_go_and_comes_later_if_redelivered() {
    let world = world();
    let ids = store(&world, "t", 0..3);
    world.engine.script(answer(422, ""));
    let reply = world.as_operator("POST", DRAIN_URI);
    assert_eq!((&reply.json()["delivered"], &reply.json()["rejected"]), (&json!(2), &json!(1)));
    assert!(reply.warning().contains(&ids[0]), "{}", reply.log);
    assert_eq!(started(&world, "w"), [1, 2]);
    assert_eq!(world.dead(), [ids[0].clone()]);
    assert_redelivered_last(&world, &ids[0]);
}

#[on_each_store]
fn dead_head_lets_the_next_one_go_and_comes_later_if_redelivered() {
    let world = world().setting("retry_max_attempts", 2);
    let ids = store(&world, "t", 0..3);
    world.engine.script(answer(500, r#"{"code":1,"reason":"INTERNAL_ERROR"}"#));
    world.engine.script(answer(500, r#"{"code":1,"reason":"INTERNAL_ERROR"}"#));
    world.drain();
    world.advance(HOUR);
    let reply = world.as_operator("POST", DRAIN_URI);
    assert_eq!((&reply.json()["delivered"], &reply.json()["dead"]), (&json!(2), &json!(1)));
    assert!(reply.warning().contains(&ids[0]), "{}", reply.log);
    assert_eq!(started(&world, "w"), [1, 2]);
    assert_redelivered_last(&world, &ids[0]);
}

/// A dead letter of event 0 goes behind those that are pending when it is redelivered, and before later ones.
#[track_caller]
fn assert_redelivered_last(world: &World, id: &str) {
    world.engine.effects.borrow_mut().clear();
    store(world, "t", 3..6);
    let reply = world.as_operator("POST", &format!("/api/v2/deliveries/{id}/redeliver"));
    assert_eq!(reply.status(), 202, "{}", reply.text());
    world.advance(1);
    store(world, "t", 6..8);
    assert!(started(world, "w").is_empty(), "it is sent out of turn");
    drain_until_empty(world);
    assert_eq!(started(world, "w"), [3, 4, 5, 0, 6, 7]);
}

#[on_each_store]
fn dead_letters_that_are_redelivered_together_join_the_end_in_order() {
    let world = world();
    let ids = store(&world, "t", 0..4);
    for _ in 0..3 {
        world.engine.script(answer(422, ""));
    }
    drain_until_empty(&world);
    assert_eq!((world.dead(), started(&world, "w")), (ids[..3].to_vec(), vec![3]));
    world.engine.effects.borrow_mut().clear();
    store(&world, "t", 4..6);
    let reply = world.as_operator("POST", "/api/v2/deliveries/redeliver?state=dead&workflow=w&dry_run=false");
    assert_eq!((reply.status(), &reply.json()["redelivered"]), (202, &json!(3)));
    world.advance(1);
    store(&world, "t", 6..7);
    drain_until_empty(&world);
    assert_eq!(started(&world, "w"), [4, 5, 0, 1, 2, 6]);
    assert_one_at_a_time(&world, "w");
}

#[on_each_store]
fn pending_delivery_keeps_its_place_when_it_is_redelivered() {
    let world = world();
    let ids = store(&world, "t", 0..3);
    let reply = world.as_operator("POST", &format!("/api/v2/deliveries/{}/redeliver", ids[1]));
    assert_eq!(reply.status(), 202, "{}", reply.text());
    assert!(started(&world, "w").is_empty());
    drain_until_empty(&world);
    assert_eq!(started(&world, "w"), [0, 1, 2]);
}

#[on_each_store]
fn duplicate_is_stored_once() {
    let world = world();
    let ids = store(&world, "t", 0..2);
    let again = post(&world, "t", 0);
    assert_eq!((again.outcome(), again.delivery()), ((202, Some("duplicate")), ids[0].clone()));
    // Also while it is being sent.
    world.engine.latency.set(1_000);
    world.run(async {
        let drain = world.handle(request("POST", DRAIN_URI, &[OPERATOR], ""));
        let repeat = async {
            world.sleep(Duration::from_millis(300)).await;
            world.handle(request("POST", "/api/v2/event", &[JSON], event("t", 0))).await
        };
        let (_, (reply, _)) = join(drain, repeat).await;
        assert_eq!(reply.outcome(), (202, Some("duplicate")));
    });
    assert_eq!(post(&world, "t", 0).outcome(), (200, Some("duplicate")));
    drain_until_empty(&world);
    assert_eq!(started(&world, "w"), [0, 1]);
}

#[on_each_store]
fn batch_keeps_its_order() {
    let world = world();
    let events: Vec<_> = (0..20).map(|id| event("t", id)).collect();
    let batch = format!("[{}]", events.join(","));
    let headers = [("content-type", "application/cloudevents-batch+json")];
    let (reply, rest) = world.run(world.handle(request("POST", "/api/v2/event", &headers, batch)));
    drop(rest);
    assert_eq!(reply.status(), 202, "{}", reply.text());
    assert!(world.engine.take_calls().is_empty());
    drain_until_empty(&world);
    assert_eq!(started(&world, "w"), (0..20).collect::<Vec<_>>());
}

#[on_each_store]
fn crash_of_a_drain_keeps_the_order() {
    for after in [0, 400, 1_000, 1_700, 2_500] {
        let _row = row(after);
        let world = world();
        store(&world, "t", 0..5);
        world.engine.latency.set(1_000);
        world.run(async {
            let drain = pin!(world.handle(request("POST", DRAIN_URI, &[OPERATOR], "")));
            select(drain, pin!(world.sleep(Duration::from_millis(after)))).await;
        });
        world.engine.latency.set(0);
        world.drain();
        world.advance(2 * MINUTE);
        drain_until_empty(&world);
        assert_eq!(started(&world, "w"), [0, 1, 2, 3, 4]);
    }
}

#[test]
fn replicas_drain_a_queue_in_order() {
    StoreKind::Postgres.choose();
    let world = world();
    for id in 0..12 {
        store(&world, "t", [id]);
        store(&world, "u", [id]);
    }
    world.engine.latency.set(300);
    for _ in 0..30 {
        let drains = (0..2).map(|_| world.handle(request("POST", DRAIN_URI, &[OPERATOR], "")));
        world.run(join_all(drains));
    }
    assert!(world.pending().is_empty());
    for workflow in ["w", "x"] {
        assert_eq!(started(&world, workflow), (0..12).collect::<Vec<_>>());
        assert_one_at_a_time(&world, workflow);
    }
}

/// Events arrive each second for an hour while the engine is down and for a while after it is back; it takes 1 s for
/// each.
#[on_each_store]
fn engine_sees_the_events_of_an_outage_in_order() {
    let world = world().setting("drain_width_max", 64);
    world.engine.behaviour.set(Behaviour::Unreachable);
    let events = 240;
    let mut accepted = 0;
    for _ in 0..60 {
        store(&world, "t", accepted..accepted + 3);
        accepted += 3;
        world.drain();
        world.advance(MINUTE);
    }
    assert!(started(&world, "w").is_empty());
    world.engine.recover();
    world.engine.latency.set(1_000);
    world.engine.take_calls();
    world.run(async {
        let drains = async {
            loop {
                let (reply, _) = world.handle(request("POST", DRAIN_URI, &[OPERATOR], "")).await;
                if reply.json()["pending"] == 0 && started(&world, "w").len() == events {
                    break;
                }
                world.sleep(Duration::from_secs(1)).await;
            }
        };
        let arrivals = async {
            for id in accepted..events {
                world.sleep(Duration::from_secs(1)).await;
                let (reply, rest) = world.handle(request("POST", "/api/v2/event", &[JSON], event("t", id))).await;
                assert_eq!(reply.status(), 202);
                drop(rest);
            }
        };
        join(drains, arrivals).await;
    });
    assert_eq!(started(&world, "w"), (0..events).collect::<Vec<_>>());
    assert_one_at_a_time(&world, "w");
}
