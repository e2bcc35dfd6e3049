//! The drain: order, concurrency, stop conditions, retries and dead letters.

use futures_util::future::join;
use http::Response;
use serde_json::{Value, json};

use crate::fake::{
    ASYNC, Behaviour, DRAIN_URI, EVENT, EVENT_URI, HOUR, JSON, MINUTE, NOW, OPERATOR, StoreKind, WEBHOOK_URI, World,
    answer, counts, label, request, row,
};

/// Stores a delivery for each workflow, and returns the ids in order of arrival.
fn store_pending<'w>(world: &World, workflows: impl IntoIterator<Item = &'w str>) -> Vec<String> {
    let behaviour = world.engine.behaviour.replace(Behaviour::Unreachable);
    let store = |workflow| {
        let reply = world.post_json(&format!("/api/v2/webhook?ref={workflow}"), "{}");
        assert_eq!(reply.outcome(), (202, Some("pending")));
        world.advance(1);
        reply.delivery()
    };
    let ids = workflows.into_iter().map(store).collect();
    world.engine.behaviour.set(behaviour);
    world.engine.take_calls();
    ids
}

fn names(count: usize) -> Vec<String> {
    (0..count).map(|n| format!("w{n}")).collect()
}

/// Scripts responses of the engine itself.
fn script(world: &World, status: u16, count: usize) {
    let body = if status == 500 { r#"{"code":1,"reason":"INTERNAL_ERROR"}"# } else { "" };
    (0..count).for_each(|_| world.engine.script(answer(status, body)));
}

/// The summary of a pass: zeros and no stop reason, but for these members.
fn summary(members: Value) -> Value {
    let mut summary = json!({ "delivered": 0, "rejected": 0, "dead": 0, "dropped": 0, "pending": 0, "stopped": null });
    for (name, value) in members.as_object().unwrap() {
        summary[name] = value.clone();
    }
    summary
}

#[on_each_store]
fn drain_keeps_the_order_of_arrival() {
    let world = World::with_operator();
    let ids = store_pending(&world, ["b", "a", "b", "c", "a"]);
    let mut sorted = ids.clone();
    sorted.sort_unstable();
    assert_eq!(ids, sorted);
    world.engine.recover();
    assert_eq!(world.drain(), summary(json!({ "delivered": 5 })));
    assert_eq!(world.engine.targets(), ["b", "a", "b", "c", "a"]);
    let effects = world.engine.effects.borrow();
    assert_eq!(effects.iter().map(label).collect::<Vec<_>>(), ids);
}

#[on_each_store]
fn drain_of_an_empty_store_reports_zeros() {
    assert_eq!(World::with_operator().drain(), summary(json!({})));
}

#[on_each_store]
fn unreachable_engine_is_tried_once() {
    let world = World::with_operator();
    let names = names(30);
    store_pending(&world, names.iter().map(String::as_str));
    world.engine.behaviour.set(Behaviour::Unreachable);
    assert_eq!(world.drain(), summary(json!({ "pending": 30, "stopped": "unreachable" })));
    assert_eq!(world.engine.take_calls(), ["submit w0"]);
    // The failed attempt delays no delivery: the next pass may follow at once.
    world.engine.recover();
    assert_eq!(world.drain(), summary(json!({ "delivered": 30 })));
}

#[on_each_store]
fn consecutive_temporary_failures_stop_the_drain() {
    // Others may be in flight when the drain stops.
    let world = World::with_operator();
    store_pending(&world, std::iter::repeat_n("w", 30));
    script(&world, 500, 24);
    assert_eq!(world.drain(), summary(json!({ "pending": 30, "stopped": "unreachable" })));
    assert!((8..=24).contains(&world.engine.take_calls().len()));
    // The engine takes nothing: one at a time is tried, after 1 s, 2 s, 4 s and 8 s more.
    for status in [503, 401] {
        let _row = row(status);
        let world = World::with_operator();
        store_pending(&world, std::iter::repeat_n("w", 30));
        script(&world, status, 5);
        assert_eq!(world.drain(), summary(json!({ "pending": 30, "stopped": "unreachable" })));
        assert_eq!(world.engine.take_calls().len(), 5);
    }
}

#[on_each_store]
fn workflow_with_too_many_requests_delays_no_other_workflow() {
    let world = World::with_operator();
    store_pending(&world, ["w", "w", "w", "other"]);
    script(&world, 429, 1);
    world.engine.behaviour.set(Behaviour::Healthy);
    let drained = world.drain_whole();
    assert_eq!((&drained["delivered"], &drained["stopped"]), (&json!(1), &json!(null)), "{drained}");
    assert_eq!(world.engine.take_calls(), ["submit w", "submit other"]);
    assert_ne!(drained["due"], json!(null));
}

#[on_each_store]
fn interrupted_series_of_failures_does_not_stop_the_drain() {
    let world = World::with_operator();
    store_pending(&world, std::iter::repeat_n("w", 20));
    for status in [500, 400] {
        script(&world, status, 7);
    }
    world.engine.behaviour.set(Behaviour::Healthy);
    assert_eq!(world.drain(), summary(json!({ "delivered": 6, "rejected": 7, "pending": 7 })));
}

#[on_each_store]
fn drain_sends_up_to_drain_width_max_at_once() {
    let world = World::with_operator().setting("drain_width_max", 4);
    let names = names(12);
    let mut workflows: Vec<_> = names.iter().map(String::as_str).collect();
    workflows.extend(["w3", "w0", "w3"]);
    store_pending(&world, workflows);
    let world = world.slow(100);
    assert_eq!(world.drain(), summary(json!({ "delivered": 15 })));
    let received = world.engine.received.borrow();
    assert_eq!(received[0].answered_at.get(), Some(received[1].arrived_at), "the first delivery is tried alone");
    let under_way_at = |at: u64| {
        let under_way =
            received.iter().filter(move |one| (one.arrived_at..one.answered_at.get().unwrap()).contains(&at));
        under_way.map(|one| one.request.uri().path()).collect::<Vec<_>>()
    };
    let most = received.iter().map(|one| under_way_at(one.arrived_at).len()).max();
    assert_eq!(most, Some(4));
}

#[on_each_store]
fn callbacks_of_one_run_are_sent_in_sequence() {
    let world = World::with_operator().unreachable();
    for topic in ["a", "b"] {
        world.post_json(&format!("/api/v2/callback?ref=r&topic={topic}"), "{}");
        world.advance(1);
    }
    world.engine.take_calls();
    world.engine.recover();
    world.engine.latency.set(100);
    assert_eq!(world.drain()["delivered"], 2);
    let received = world.engine.received.borrow();
    assert_eq!(received[0].answered_at.get(), Some(received[1].arrived_at));
    assert!(received[0].request.body().starts_with(br#"{"topic":"a""#));
}

#[on_each_store]
fn drain_starts_nothing_once_the_budget_is_spent() {
    // The budget of 25 s has room for three attempts of 9 s, one after another.
    let one_at_a_time = || World::with_operator().setting("drain_width_max", 1);
    let world = one_at_a_time();
    store_pending(&world, std::iter::repeat_n("w", 6));
    world.engine.recover();
    world.engine.latency.set(9_000);
    assert_eq!(world.drain(), summary(json!({ "delivered": 3, "pending": 3, "stopped": "budget" })));
    // The same holds for a delivery that waits for another one.
    let world = one_at_a_time();
    store_pending(&world, ["w", "w"]);
    world.engine.recover();
    world.engine.latency.set(26_000);
    assert_eq!(world.drain(), summary(json!({ "delivered": 1, "pending": 1, "stopped": "budget" })));
    world.engine.latency.set(0);
    assert_eq!(world.drain(), summary(json!({ "delivered": 1 })));
}

#[on_each_store]
fn delivery_is_not_retried_before_next_attempt() {
    let world = World::with_operator().respond(503, "");
    let id = world.post_json(WEBHOOK_URI, "{}").delivery();
    let mut longest = 0;
    for attempt in 1..=12 {
        let next = world.only_pending()["next"].as_u64().unwrap();
        let wait = next - world.now();
        assert!((1_000..=15 * MINUTE).contains(&wait), "{wait} ms after attempt {attempt}");
        world.engine.take_calls();
        world.clock.set(next - 1);
        assert_eq!(world.drain()["pending"], 1);
        assert!(world.engine.take_calls().is_empty(), "attempt {attempt}");
        world.clock.set(next);
        script(&world, 503, 1);
        assert_eq!(world.drain()["pending"], 1);
        assert_eq!(world.engine.take_calls(), ["submit w"]);
        longest = longest.max(wait);
    }
    assert!(longest > MINUTE, "the back-off does not grow: {longest} ms");
    let shown = world.as_operator("GET", &format!("/api/v2/deliveries/{id}")).json();
    assert_eq!((&shown["attempts"], shown["history"].as_array().unwrap().len()), (&json!(13), 10));
}

#[on_each_store]
fn retry_after_of_the_engine_is_obeyed_within_bounds() {
    for (value, wait) in [("30", 30_000), ("99999", HOUR), ("Tue, 24 Nov 2026 09:00:00 GMT", HOUR / 2)] {
        for status in [429, 503, 500] {
            let _row = row(format!("{status} with Retry-After: {value}"));
            let response = Response::builder().status(status).header("retry-after", value).body(vec![]).unwrap();
            let world = World::with_operator().result(Ok(response));
            world.post_json(WEBHOOK_URI, "{}");
            world.engine.take_calls();
            world.engine.recover();
            world.clock.set(NOW + wait - 1);
            assert_eq!(world.drain()["pending"], 1);
            assert!(world.engine.take_calls().is_empty());
            world.advance(1);
            assert_eq!(world.drain()["delivered"], 1);
        }
    }
}

/// Asserts that the only delivery is a dead letter.
#[track_caller]
fn assert_dead_letter(world: &World, last_failure: &str) {
    assert!(world.pending().is_empty());
    let list = world.as_operator("GET", "/api/v2/deliveries?state=dead").json();
    let [dead] = &list["deliveries"].as_array().unwrap()[..] else { panic!("{list}") };
    assert_eq!((&dead["state"], &dead["last_failure"]), (&"dead".into(), &last_failure.into()));
    assert_eq!(dead.get("next_attempt"), None);
}

#[on_each_store]
fn expired_delivery_becomes_dead_letter() {
    let world = World::with_operator().setting("retry_max_hours", 2).respond(503, "").respond(503, "");
    world.post_json(WEBHOOK_URI, "{}");
    world.clock.set(NOW + 2 * HOUR - 1);
    assert_eq!(world.drain(), summary(json!({ "pending": 1 })));
    world.clock.set(NOW + 2 * HOUR);
    world.engine.take_calls();
    if world.kind() == StoreKind::Postgres {
        // A drain reads nothing that isn't due.
        assert_eq!(world.drain(), summary(json!({ "pending": 1 })));
        world.advance(5 * MINUTE);
    }
    assert_eq!(world.drain(), summary(json!({ "dead": 1 })), "even before the next attempt");
    assert!(world.engine.take_calls().is_empty());
    assert_dead_letter(&world, "the engine answered 503");
}

#[on_each_store]
fn attempt_failing_after_expiry_makes_a_dead_letter() {
    let world = World::with_operator().respond(503, "").respond(503, "").after(2);
    world.post_json(WEBHOOK_URI, "{}");
    world.clock.set(NOW + 24 * HOUR - 1);
    assert_eq!(world.drain(), summary(json!({ "dead": 1 })));
    assert_dead_letter(&world, "the engine answered 503");
}

#[on_each_store]
fn exhausted_delivery_becomes_dead_letter() {
    let world = World::with_operator().setting("retry_max_attempts", 3);
    script(&world, 503, 3);
    world.post_json(WEBHOOK_URI, "{}");
    for expected in [json!({ "pending": 1 }), json!({ "dead": 1 })] {
        world.advance(HOUR);
        assert_eq!(world.drain(), summary(expected));
    }
    assert_dead_letter(&world, "the engine answered 503");
    // A delivery without retries is answered with 202 too.
    let world = World::with_operator().setting("retry_max_attempts", 1).respond(503, "");
    assert_eq!(world.post_json(WEBHOOK_URI, "{}").outcome(), (202, Some("pending")));
    if world.kind() == StoreKind::Postgres {
        world.advance(5 * MINUTE);
    }
    assert_eq!(world.drain(), summary(json!({ "dead": 1 })));
}

#[on_each_store]
fn expired_deliveries_delay_no_other_delivery() {
    let world = World::with_operator();
    store_pending(&world, std::iter::repeat_n("old", 20));
    world.advance(24 * HOUR);
    store_pending(&world, ["new"]);
    world.engine.recover();
    assert_eq!(world.drain(), summary(json!({ "delivered": 1, "dead": 20 })));
    assert_eq!(world.engine.take_calls(), ["submit new"]);
}

#[on_each_store]
fn unreadable_delivery_delays_no_other_delivery() {
    let world = World::with_operator();
    let ids = store_pending(&world, ["a", "b"]);
    world.damage(&ids[0]);
    world.engine.recover();
    let reply = world.as_operator("POST", DRAIN_URI);
    assert_eq!(counts(reply.json()), summary(json!({ "delivered": 1, "pending": 1 })));
    assert!(reply.warning().contains(&ids[0]), "{}", reply.log);
    assert_eq!(world.engine.take_calls(), ["submit b"]);
}

/// In PostgreSQL, the record of a key is the row of its delivery.
#[test]
fn unreadable_key_record_delays_no_other_delivery() {
    StoreKind::KeyValue.choose();
    let world = World::with_operator().unreachable();
    world.post_json("/api/v2/event?ref=a", EVENT);
    world.advance(1);
    store_pending(&world, ["b"]);
    for (key, value) in world.store.entries.borrow_mut().iter_mut() {
        if key.starts_with("sluice:done:") {
            *value = b"{\"v\":2}".to_vec();
        }
    }
    world.engine.recover();
    let reply = world.as_operator("POST", DRAIN_URI);
    assert_eq!(counts(reply.json()), summary(json!({ "delivered": 1, "pending": 1 })));
    assert!(reply.warning().contains("can't be read"), "{}", reply.log);
    assert_eq!(world.engine.take_calls(), ["submit b"]);
}

#[on_each_store]
fn rejected_delivery_becomes_dead_letter_and_releases_the_key() {
    let world = World::with_operator().unreachable();
    world.post_json(EVENT_URI, EVENT);
    world.engine.take_calls();
    script(&world, 422, 1);
    assert_eq!(world.drain(), summary(json!({ "rejected": 1 })));
    assert_dead_letter(&world, "the engine answered 422");
    world.engine.recover();
    assert_eq!(world.post_json(EVENT_URI, EVENT).outcome(), (200, Some("delivered")));
}

#[on_each_store]
fn delivery_under_way_is_left_alone() {
    let world = World::with_operator().slow(9_000);
    world.run(async {
        let (_, rest) = world.handle(request("POST", WEBHOOK_URI, &[JSON, ASYNC], "{}")).await;
        let drain = world.handle(request("POST", DRAIN_URI, &[OPERATOR], ""));
        let ((reply, _), ()) = join(drain, world.finish(rest)).await;
        assert_eq!(counts(reply.json()), summary(json!({ "pending": 1 })));
    });
    assert_eq!(world.engine.take_calls(), ["submit w"]);
    assert!(world.pending().is_empty());
}
