//! The operator's switch after a fail-over or a restore: pending deliveries count as maybe sent.

use futures_util::future::join;
use serde_json::{Value, json};

use crate::fake::{
    CALLBACK_URI, DOUBT_URI, DRAIN_URI, EVENT, EVENT_URI, HOUR, JSON, MINUTE, NOTIFICATION, OPERATOR, StoreKind,
    WEBHOOK_URI, World, answer, request, row,
};

/// The mark, in the key-value store.
const MARK: &str = "sluice:doubt";

/// A store that was restored from a backup: a delivery is pending in it that the engine has accepted since.
fn restored(uri: &str, body: &str) -> World {
    let world = World::with_operator().unreachable();
    let id = world.post_json(uri, body).delivery();
    let record = world.pending_record(&id);
    world.engine.recover();
    world.advance(MINUTE);
    assert_eq!(world.drain()["delivered"], 1);
    world.forget();
    world.put_pending(&id, &record);
    world.advance(HOUR);
    world.engine.take_calls();
    world
}

/// Turns the switch, and returns the response.
fn doubt(world: &World) -> (u16, Value) {
    let reply = world.as_operator("POST", DOUBT_URI);
    (reply.status(), reply.json())
}

/// Drains once a minute, until nothing is pending.
fn drain(world: &World) {
    for _ in 0..10 {
        world.advance(MINUTE);
        if world.drain()["pending"] == 0 {
            return;
        }
    }
    panic!("still pending: {:?}", world.pending());
}

#[on_each_store]
fn start_in_doubt_is_looked_up_before_it_is_sent() {
    for (uri, body) in [(WEBHOOK_URI, "{}"), (EVENT_URI, EVENT)] {
        let _row = row(uri);
        let world = restored(uri, body);
        assert_eq!(doubt(&world), (200, json!({ "doubted": 1, "next": null })));
        drain(&world);
        assert_eq!(world.engine.take_verbs(), ["find"]);
        assert_eq!((world.engine.targets().len(), world.dead().len()), (1, 0));

        // Without the switch, it is sent again.
        let world = restored(uri, body);
        drain(&world);
        assert_eq!(world.engine.targets().len(), 2);
    }
}

#[on_each_store]
fn start_in_doubt_without_a_run_is_sent() {
    let world = World::with_operator().unreachable();
    let ids: Vec<_> = (0..3).map(|n| world.post_json(&format!("/api/v2/webhook?ref=w{n}"), "{}").delivery()).collect();
    world.engine.recover();
    assert_eq!(doubt(&world).1["doubted"], 3);
    // One whose attempt fails is looked up again, since it may still be in doubt.
    world.engine.take_calls();
    world.advance(MINUTE);
    world.engine.script(answer(200, r#"{"content":[]}"#));
    world.engine.script(answer(503, ""));
    drain(&world);
    assert_eq!(world.engine.targets().len(), 3);
    let verbs = world.engine.take_verbs();
    assert!(verbs.iter().filter(|verb| *verb == "find").count() >= 3, "{verbs:?}");
    assert!(world.pending().is_empty() && world.dead().is_empty(), "{ids:?}");
    // A later one is not in doubt, and the mark goes with the last delivery that is.
    world.engine.take_calls();
    let world = world.unreachable();
    world.advance(10 * MINUTE);
    world.post_json(WEBHOOK_URI, "{}");
    world.engine.recover();
    world.engine.take_calls();
    drain(&world);
    assert_eq!(world.engine.take_verbs(), ["submit"]);
    assert!(world.store.keys(MARK).is_empty());
}

/// A request that was sent right before the fail-over may still reach the engine.
#[on_each_store]
fn delivery_in_doubt_is_left_alone_until_the_engine_has_acted() {
    let world = restored(WEBHOOK_URI, "{}");
    doubt(&world);
    let until = world.now() + if world.kind() == StoreKind::Postgres { 25_000 } else { 11_000 };
    world.clock.set(until - 1);
    assert_eq!(world.drain()["pending"], 1);
    assert!(world.engine.take_calls().is_empty());
    world.clock.set(until);
    world.drain();
    assert_eq!(world.engine.take_verbs(), ["find"]);
}

#[on_each_store]
fn redelivery_of_a_delivery_in_doubt_is_looked_up() {
    let world = restored(WEBHOOK_URI, "{}");
    let id = world.pending().remove(0);
    doubt(&world);
    world.advance(MINUTE);
    let reply = world.as_operator("POST", &format!("/api/v2/deliveries/{id}/redeliver"));
    assert_eq!(reply.json()["state"], "delivered");
    assert_eq!(world.engine.take_verbs(), ["find"]);
    assert_eq!(world.engine.targets().len(), 1);
}

#[on_each_store]
fn callback_in_doubt_ends_its_task_once() {
    // One whose task was named, and that was refused.
    let world = World::with_operator().respond(503, "").unreachable();
    world.post_json(CALLBACK_URI, "{}");
    let id = world.pending().remove(0);
    let record = world.pending_record(&id);
    world.engine.recover();
    drain(&world);
    assert_eq!(world.engine.targets().len(), 1);
    world.forget();
    world.put_pending(&id, &record);
    world.advance(HOUR);
    doubt(&world);
    drain(&world);
    assert_eq!(world.engine.targets().len(), 1);
    assert!(world.dead().is_empty());
}

/// A drain on a key-value store has read what it is about to send. In PostgreSQL, what it holds stays in doubt.
#[on_each_store]
fn doubt_during_a_drain_is_in_effect_from_its_next_attempt() {
    let world = World::with_operator().unreachable();
    world.post_json("/api/v2/webhook?ref=first", "{}");
    world.advance(1);
    world.post_json("/api/v2/webhook?ref=second", "{}");
    world.engine.recover();
    world.engine.latency.set(1_000);
    world.advance(MINUTE);
    // The first attempt is refused, without a trace of its own.
    world.engine.script.borrow_mut().push_back((1_000, answer(503, "")));
    world.engine.take_calls();
    let doubted = world.run(async {
        let drain = world.handle(request("POST", DRAIN_URI, &[OPERATOR], ""));
        let (_, (doubted, _)) = join(drain, world.handle(request("POST", DOUBT_URI, &[OPERATOR], ""))).await;
        doubted
    });
    let is_deferred = world.kind() == StoreKind::KeyValue;
    assert_eq!(doubted.status(), if is_deferred { 202 } else { 200 });
    assert_eq!(doubted.json()["doubted"], 2);
    drain(&world);
    let verbs = world.engine.take_verbs();
    // Nothing has lifted the doubt of the one whose attempt was under way.
    let finds = verbs.iter().filter(|verb| *verb == "find").count();
    assert_eq!((verbs[0].as_str(), finds), ("submit", if is_deferred { 1 } else { 2 }), "{verbs:?}");
    let mut targets = world.engine.targets();
    targets.sort();
    assert_eq!(targets, ["first", "second"]);
}

#[on_each_store]
fn invalid_page_is_refused() {
    let world = World::with_operator();
    let problem = world.as_operator("POST", &format!("{DOUBT_URI}?after=x")).problem(400, "invalid-parameter");
    assert_eq!(problem["field"], "after");
    assert_eq!(doubt(&world), (200, json!({ "doubted": 0, "next": null })));
}

#[on_each_store]
fn store_that_fails_is_reported() {
    let world = restored(WEBHOOK_URI, "{}");
    world.fail_store(crate::fake::StoreFault::From(0));
    world.as_operator("POST", DOUBT_URI).problem(503, "store-unavailable");
}

/// A mark is left and a drain is notified, so that the mark is read long before the next scan.
#[test]
fn mark_is_noticed_at_once() {
    StoreKind::KeyValue.choose();
    let world = restored(WEBHOOK_URI, "{}");
    world.store.entries.borrow_mut().retain(|key, _| key != NOTIFICATION);
    doubt(&world);
    assert_eq!((world.store.keys(MARK).len(), world.store.keys(NOTIFICATION).len()), (1, 1));
    // One of a later version says nothing, and stays.
    world.store.put(MARK, br#"{"v":2,"at":0}"#);
    drain(&world);
    assert_eq!((world.store.keys(MARK).len(), world.engine.targets().len()), (1, 2));
}

/// One statement puts up to 1000 in doubt.
#[test]
fn all_of_many_rows_are_in_doubt() {
    StoreKind::Postgres.choose();
    let world = World::with_operator().unreachable();
    for n in 0..2_000 {
        world.database().put_pending(&format!("{n:026}"), b"{}");
    }
    assert_eq!(doubt(&world), (200, json!({ "doubted": 2_000, "next": null })));
    assert!(world.database().tables().deliveries().iter().all(|row| row.maybe_sent));
    let after = format!("{:026}", 1_500);
    let reply = world.post(&format!("{DOUBT_URI}?after={after}"), &[OPERATOR, JSON], "");
    assert_eq!(reply.json(), json!({ "doubted": 499, "next": null }));
    // Each statement takes 30 s.
    world.database().fail(&[(crate::fake::At::Each("doubt"), crate::fake::Fault::LateAnswer(30_000))]);
    assert_eq!(doubt(&world), (200, json!({ "doubted": 1_000, "next": format!("{:026}", 999) })));
}
