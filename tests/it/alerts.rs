//! Alerts: a workflow that the drain starts when deliveries die, or wait too long.

use futures_util::future::join;
use http::Response;
use serde_json::{Value, json};

use crate::fake::{
    ASYNC, Behaviour, CALLBACK_URI, DRAIN_URI, HOUR, JSON, MINUTE, OPERATOR, StoreKind, WEBHOOK_URI, World, answer,
    request,
};

fn world() -> World {
    World::with_operator().setting("alert_workflow", "alarm")
}

/// Stores a delivery while the engine is down.
fn store_pending(world: &World) -> String {
    let behaviour = world.engine.behaviour.replace(Behaviour::Unreachable);
    let reply = world.post_json(WEBHOOK_URI, "{}");
    assert_eq!(reply.outcome(), (202, Some("pending")));
    world.engine.behaviour.set(behaviour);
    world.engine.take_calls();
    reply.delivery()
}

/// Stores a delivery that dies in the next pass, a second later.
fn store_dying(world: &World) -> String {
    let id = store_pending(world);
    world.engine.recover();
    world.engine.script(answer(422, ""));
    world.advance(1_000);
    id
}

/// The alerts that the engine has accepted: CloudEvents.
fn alerts(world: &World) -> Vec<Value> {
    let effects = world.engine.effects.borrow();
    let event = |run: &Value| {
        let params = run["params"].as_array().unwrap();
        params.iter().find(|param| param["name"] == "event").unwrap()["value"].clone()
    };
    effects.iter().filter(|run| run["target"] == "alarm").map(event).collect()
}

/// The number of deaths that each alert tells.
fn told(world: &World) -> Vec<u64> {
    alerts(world).iter().map(|alert| alert["data"]["died"]["count"].as_u64().unwrap_or_default()).collect()
}

#[on_each_store]
fn death_is_told_once() {
    let world = world().setting("public_url", "https://gate.example.com");
    let id = store_dying(&world);
    assert_eq!(world.drain()["rejected"], 1);
    assert_eq!(world.engine.take_calls(), ["submit w", "submit alarm"]);
    let alert = alerts(&world).remove(0);
    let died = json!({ "count": 1, "first": [{ "delivery": id, "ref": "w", "failure": "the engine answered 422" }] });
    assert_eq!(alert["data"], json!({ "pending": 0, "dead": 1, "died": died }));
    assert_eq!((&alert["type"], &alert["source"]), (&json!("dev.sluice.alert"), &json!("https://gate.example.com")));
    assert!(alert["id"].as_str().is_some_and(|it| it.len() == 26 && it != id), "{alert}");
    for wait in [1_000, MINUTE, HOUR] {
        world.advance(wait);
        world.drain();
    }
    assert!(world.engine.take_calls().is_empty(), "told again");
    assert_eq!((world.pending().len(), world.dead().len()), (0, 1), "an alert is stored");
}

#[on_each_store]
fn death_within_a_minute_is_told_when_that_is_over() {
    let world = world();
    let ids: Vec<_> = (0..3).map(|_| (store_dying(&world), world.drain()).0).collect();
    assert_eq!(told(&world), [1]);
    world.advance(50_000);
    world.drain();
    assert_eq!(told(&world), [1]);
    // Nothing else is to do for this pass.
    world.advance(10_000);
    assert_eq!(world.drain()["rejected"], 0);
    assert_eq!(told(&world), [1, 2]);
    let named = |n: usize| alerts(&world)[1]["data"]["died"]["first"][n]["delivery"].clone();
    assert_eq!([named(0), named(1)], [json!(ids[1]), json!(ids[2])]);
}

/// The engine is down when a delivery becomes too old, and for an hour more.
#[on_each_store]
fn death_is_told_once_the_engine_is_back() {
    let world = world().unreachable();
    let id = store_pending(&world);
    world.advance(25 * HOUR);
    let reply = world.as_operator("POST", DRAIN_URI);
    assert_eq!(reply.json()["dead"], 1);
    assert!(reply.warning().contains("the alert was not sent to `alarm`, and is told later"), "{}", reply.warning());
    for _ in 0..3 {
        world.advance(20 * MINUTE);
        world.drain();
    }
    assert_eq!(alerts(&world), Vec::<Value>::new());
    world.engine.recover();
    world.advance(MINUTE);
    world.drain();
    assert_eq!(alerts(&world)[0]["data"]["died"]["first"][0]["delivery"], id);
    assert_eq!((told(&world), world.dead().len()), (vec![1], 1));
}

/// A pass that could not reach the engine doesn't try it again for an alert.
#[on_each_store]
fn engine_that_was_not_reached_gets_no_alert() {
    let world = world().setting("alert_after_minutes", 1).unreachable();
    store_pending(&world);
    world.advance(10 * MINUTE);
    world.drain();
    assert_eq!(world.engine.take_calls(), ["submit w"]);
    world.engine.recover();
    world.engine.script(answer(503, ""));
    world.advance(10 * MINUTE);
    world.drain();
    assert_eq!(alerts(&world).len(), 1);
}

#[on_each_store]
fn rejected_alert_is_a_warning_and_no_loop() {
    let world = world();
    store_dying(&world);
    world.engine.script(answer(404, r#"{"code":1001,"reason":"WORKFLOW_INVALID_REFERENCE"}"#));
    let reply = world.as_operator("POST", DRAIN_URI);
    assert!(reply.warning().contains("the alert was not sent to `alarm`"), "{}", reply.warning());
    assert_eq!(world.engine.take_calls(), ["submit w", "submit alarm"]);
    for _ in 0..14 {
        world.advance(MINUTE);
        world.drain();
    }
    assert!(world.engine.take_calls().is_empty(), "sent again too soon");
    assert_eq!((world.pending().len(), world.dead().len()), (0, 1), "the alert has become a dead letter");
    world.advance(MINUTE);
    world.drain();
    assert_eq!(told(&world), [1]);
}

#[on_each_store]
fn delivery_that_waits_too_long_is_told_as_long_as_it_does() {
    let later = Response::builder().status(503).header("retry-after", "840").body(Vec::new()).unwrap();
    let world = world().setting("alert_after_minutes", 5).result(Ok(later)).healthy();
    assert_eq!(world.post_json(WEBHOOK_URI, "{}").status(), 202);
    let mut told = Vec::new();
    for minute in 1..=13 {
        world.advance(MINUTE);
        world.drain();
        if alerts(&world).len() > told.len() {
            told.push(minute);
        }
    }
    assert_eq!(told, [5, 10]);
    let received = sluice::time::Timestamp(world.now() - 13 * MINUTE).rfc3339();
    let data = json!({ "pending": 1, "dead": 0, "oldest": { "received": received, "waits_seconds": 300 } });
    assert_eq!(alerts(&world)[0]["data"], data);
    world.advance(HOUR);
    world.drain();
    world.advance(HOUR);
    world.drain();
    assert_eq!((alerts(&world).len(), world.pending().len()), (2, 0), "it is delivered");
}

/// The first pass tells; the other one leaves its deaths to the next alert.
#[test]
fn passes_at_the_same_moment_send_one_alert() {
    StoreKind::Postgres.choose();
    for lag in [0, 1, 5, 50, 400] {
        let _row = crate::fake::row(lag);
        let world = world().setting("drain_width_max", 1);
        for _ in 0..4 {
            store_pending(&world);
        }
        world.engine.recover();
        (0..4).for_each(|_| world.engine.script(answer(422, "")));
        world.advance(1_000);
        world.database().lag.set(lag);
        let drain = || async { world.handle(request("POST", DRAIN_URI, &[OPERATOR], "")).await.0.json() };
        let (one, other) = world.run(async { join(drain(), drain()).await });
        assert_eq!(one["rejected"].as_u64().unwrap() + other["rejected"].as_u64().unwrap(), 4, "{one} {other}");
        assert_eq!(alerts(&world).len(), 1, "{one} {other}");
        world.database().lag.set(0);
        for _ in 0..2 {
            world.advance(MINUTE);
            world.drain();
        }
        assert_eq!(told(&world).iter().sum::<u64>(), 4, "a death is lost, or told twice");
    }
}

#[on_each_store]
fn what_a_sender_or_an_operator_is_told_is_no_alert() {
    let world = world().respond(422, "");
    assert_eq!(world.post_json(WEBHOOK_URI, "{}").status(), 422);
    let id = store_pending(&world);
    world.engine.recover();
    world.engine.script(answer(422, ""));
    let redelivered = world.as_operator("POST", &format!("/api/v2/deliveries/{id}/redeliver"));
    assert_eq!(redelivered.json()["state"], "dead");
    world.advance(MINUTE);
    world.drain();
    assert_eq!(alerts(&world), Vec::<Value>::new());
}

/// The sender has a 202, so nobody else hears of it.
#[on_each_store]
fn death_after_the_response_is_told_by_the_next_pass() {
    let world = world().respond(422, "").healthy();
    assert_eq!(world.post(WEBHOOK_URI, &[JSON, ASYNC], "{}").status(), 202);
    assert_eq!((world.dead().len(), alerts(&world).len()), (1, 0));
    world.drain();
    assert_eq!(told(&world), [1]);
}

#[on_each_store]
fn callback_that_dies_is_told() {
    let world = world().unreachable();
    assert_eq!(world.post_json(CALLBACK_URI, "{}").status(), 202);
    world.engine.recover();
    world.advance(300 * HOUR);
    world.drain();
    assert_eq!(world.dead().len(), 1);
    assert_eq!(alerts(&world)[0]["data"]["died"]["first"][0]["ref"], "r");
}

#[on_each_store]
fn without_the_setting_nothing_is_told_or_noted() {
    let world = World::with_operator();
    store_dying(&world);
    world.drain();
    assert_eq!(world.engine.take_calls(), ["submit w"]);
    assert!(!world.everything().concat().contains("untold"));
}

/// An error of it stops no delivery.
#[on_each_store]
fn wrong_workflow_is_an_error_at_readyz() {
    for wrong in ["", "a/b/c", "team/alarm", "."] {
        let _row = crate::fake::row(wrong);
        let world = World::with_operator().setting("alert_workflow", wrong).healthy();
        world.get("/readyz").wrong_setting("alert_workflow");
        assert_eq!(world.post_json(WEBHOOK_URI, "{}").status(), 200);
    }
    let world = World::with_operator().setting("alert_after_minutes", 0);
    world.get("/readyz").wrong_setting("alert_after_minutes");
    assert_eq!(world.get("/readyz").status(), 503);
}

/// Only links, and the schemes of some senders, need `public_url`.
#[on_each_store]
fn error_in_the_public_url_stops_neither_deliveries_nor_alerts() {
    let world = world().setting("public_url", "nonsense");
    store_dying(&world);
    assert_eq!(world.drain()["rejected"], 1);
    assert_eq!(told(&world), [1]);
    assert_eq!(alerts(&world)[0]["source"], "/sluice");
}
