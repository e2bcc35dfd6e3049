//! When the drain runs and what it cleans up: the notification, the lease, the periodic scan, the sweep, and the sample
//! of responses that are followed by a drain. The notification's key is `sluice:notify`.

use std::collections::BTreeSet;
use std::pin::pin;
use std::time::Duration;

use futures_util::future::{join, join_all, select};
use serde_json::{Value, json};
use sluice::ports::Clock;

use crate::fake::{
    ASYNC, Behaviour, Cost, DRAIN_URI, EVENT, EVENT_URI, HOUR, JSON, MINUTE, NOW, OPERATOR, RUN, StoreFault,
    UNKNOWN_ID, WEBHOOK_URI, World, answer, counts, request, row,
};

/// A world whose periodic scan is just over.
fn world() -> World {
    let world = World::key_value().with_operator_token().healthy();
    world.drain();
    world.store.take_cost();
    world
}

/// Stores one pending delivery; the engine is healthy afterwards.
fn store_pending(world: &World) {
    world.engine.behaviour.set(Behaviour::Unreachable);
    assert_eq!(world.post_json(WEBHOOK_URI, "{}").status(), 202);
    world.engine.recover();
    world.engine.take_calls();
}

#[test]
fn scan_without_notification_runs_every_15_minutes() {
    let world = World::key_value().with_operator_token();
    for (pause, scans) in [(0, 1), (0, 0), (15 * MINUTE - 1, 0), (1, 1), (1, 0), (15 * MINUTE, 1)] {
        world.advance(pause);
        assert_eq!(world.drain()["pending"], 0);
        let cost = world.store.take_cost();
        assert_eq!(cost.scans, scans, "{} ms after the start", world.now() - NOW);
        if scans == 0 {
            assert_eq!(cost, Cost { reads: 2, writes: 0, scans: 0 });
        }
    }
}

#[test]
fn notification_causes_a_scan_and_is_deleted_by_it() {
    let world = world();
    store_pending(&world);
    assert_eq!(world.store.keys("sluice:notify").len(), 1);
    world.engine.behaviour.set(Behaviour::Unreachable);
    assert_eq!(world.drain()["pending"], 1);
    assert!(world.store.keys("sluice:notify").is_empty(), "the pass has noted when it is due");
    world.engine.recover();
    world.clock.set(world.due().unwrap());
    world.store.take_cost();
    assert_eq!(world.drain()["delivered"], 1);
    assert_eq!(world.store.take_cost().scans, 1);
    world.drain();
    assert_eq!(world.store.take_cost().scans, 0);
}

#[test]
fn notification_stays_if_another_delivery_arrived_meanwhile() {
    let world = world();
    store_pending(&world);
    world.engine.latency.set(1_000);
    let drained = world.run(async {
        let drain = world.handle(request("POST", DRAIN_URI, &[OPERATOR], ""));
        let other = world.handle(request("POST", "/api/v2/webhook?ref=other", &[JSON, ASYNC], "{}"));
        let ((drained, _), (_, rest)) = join(drain, other).await;
        drop(rest);
        drained.json()
    });
    assert_eq!((&drained["delivered"], &drained["pending"]), (&json!(1), &json!(0)), "the scan was earlier");
    assert_eq!(world.store.keys("sluice:notify").len(), 1);
    world.advance(MINUTE);
    assert_eq!(world.drain()["delivered"], 1);
}

#[test]
fn delivery_without_notification_is_found_by_the_periodic_scan() {
    let sound = world().unreachable();
    sound.post_json(WEBHOOK_URI, "{}");
    let notification = sound.store.position("set sluice:notify");

    let world = world().unreachable();
    world.store.fail(StoreFault::Once(notification));
    let reply = world.post_json(WEBHOOK_URI, "{}");
    assert_eq!(reply.outcome(), (202, Some("pending")));
    assert!(reply.warning().contains("disk full"));
    world.store.recover();
    world.engine.take_calls();
    assert_eq!(world.drain()["pending"], 0, "the drain scans without a notification");
    assert!(world.engine.take_calls().is_empty());
    world.advance(15 * MINUTE);
    assert_eq!(world.drain()["pending"], 1);
    world.engine.recover();
    assert_eq!(world.drain()["delivered"], 1, "the scan restores the notification");
}

#[test]
fn one_drain_runs_at_a_time() {
    let world = world();
    store_pending(&world);
    world.engine.latency.set(1_000);
    let drains = (0..3).map(|_| world.handle(request("POST", DRAIN_URI, &[OPERATOR], "")));
    let replies = world.run(join_all(drains));
    let [(winner, _), others @ ..] = &replies[..] else { unreachable!("three replies") };
    assert_eq!(winner.json()["delivered"], 1);
    let leased =
        json!({ "delivered": 0, "rejected": 0, "dead": 0, "dropped": 0, "pending": null, "stopped": "leased" });
    for (other, _) in others {
        assert_eq!(counts(other.json()), leased);
    }
    assert_eq!(world.engine.targets().len(), 1);
    assert_eq!(world.drain()["stopped"], Value::Null, "the lease is released");
}

#[test]
fn lease_of_a_dead_drain_expires() {
    let world = world();
    store_pending(&world);
    world.engine.latency.set(1_000);
    world.run(async {
        let drain = pin!(world.handle(request("POST", DRAIN_URI, &[OPERATOR], "")));
        select(drain, pin!(world.sleep(Duration::from_millis(500)))).await;
    });
    world.engine.recover();
    world.engine.take_calls();
    // The budget, a lookup and an attempt, with a margin, and the time of the sweep.
    world.clock.set(NOW + 51_999);
    assert_eq!(world.drain()["stopped"], "leased");
    world.clock.set(NOW + 52_000);
    assert_eq!(world.drain()["delivered"], 1);
    assert!(world.engine.take_calls()[0].starts_with("find "), "the interrupted attempt is ambiguous");
}

/// It is looked at right before each attempt.
#[test]
fn drain_whose_lease_another_one_has_overwritten_sends_nothing_more() {
    let world = world().setting("drain_width_max", 1);
    store_pending(&world);
    store_pending(&world);
    world.engine.latency.set(1_000);
    let lease = format!(r#"{{"v":1,"token":"other","until":{},"scan":{{"at":{NOW}}}}}"#, NOW + MINUTE);
    let (drained, ()) = world.run(join(world.handle(request("POST", DRAIN_URI, &[OPERATOR], "")), async {
        world.sleep(Duration::from_millis(500)).await;
        world.store.put("sluice:lease", lease.as_bytes());
    }));
    assert_eq!(drained.0.json()["delivered"], 1, "{}", drained.0.text());
    assert_eq!((world.engine.targets().len(), world.pending().len()), (1, 1));
    assert_eq!(world.store.entries.borrow()["sluice:lease"], lease.as_bytes(), "that of the other one stays");
}

#[test]
fn keys_are_listed_before_any_attempt() {
    let world = world();
    store_pending(&world);
    world.store.take_cost();
    world.drain();
    let scan = world.store.position("keys");
    let operations = world.store.operations.borrow();
    let is_lease = |operation: &String| operation.contains(" sluice:notify") || operation.contains(" sluice:lease");
    assert!(operations[..scan].iter().all(is_lease), "{operations:?}");
    assert_eq!(operations[scan + 1], "get sluice:form");
    assert!(operations[scan + 2].starts_with("get sluice:pending:"));
    assert_eq!(operations.iter().filter(|operation| operation.starts_with("keys")).count(), 1);
}

#[test]
fn sweep_deletes_expired_windows_and_the_registers_of_settled_claims() {
    let world = world().setting("retention_hours", 1).setting("callback_wait_hours", 1);
    for hour in 0..4 {
        world.engine.topics.borrow_mut().push(hour.to_string());
        world.clock.set(NOW / HOUR * HOUR + hour * HOUR + 10 * MINUTE);
        let event = EVENT.replace("\"1\"", &format!("\"{hour}\""));
        assert_eq!(world.post_json(EVENT_URI, event).status(), 200);
        assert_eq!(world.post_json(&format!("/api/v2/callback?ref=r&topic={hour}"), "{}").status(), 200);
    }
    world.store.put("other:done:1:x", b"");
    world.store.put(format!("sluice:dead:{UNKNOWN_ID}"), b"");
    world.advance(20 * MINUTE);
    world.store.take_cost();
    world.drain();
    let present = world.now() / HOUR;
    for kept in ["done", "callback"] {
        let keys = world.store.keys(&format!("sluice:{kept}:"));
        let windows: BTreeSet<u64> = keys.iter().map(|key| key.split(':').next().unwrap().parse().unwrap()).collect();
        assert_eq!(windows.into_iter().collect::<Vec<_>>(), [present - 1, present], "{kept}");
    }
    for claim in ["mark", "won", "void"] {
        assert!(world.store.keys(&format!("sluice:{claim}:")).is_empty(), "one key remains of each: {claim}");
    }
    assert!(world.store.entries.borrow().contains_key("other:done:1:x"));
    assert_eq!(world.store.keys("sluice:dead:").len(), 1);
    // The sweep reads an outcome before it deletes the registers of the claim.
    let reads = || {
        let operations = world.store.operations.borrow();
        operations.iter().filter(|operation| operation.starts_with("get sluice:done:")).count()
    };
    assert_eq!(reads(), 4, "once for each mark and each winner");
    world.store.take_cost();
    world.advance(15 * MINUTE);
    assert_eq!((world.drain()["pending"].as_u64(), reads()), (Some(0), 0));
    // An event within the retention is still known.
    let event = EVENT.replace("\"1\"", "\"2\"");
    assert_eq!(world.post_json(EVENT_URI, event).outcome(), (200, Some("duplicate")));
}

#[test]
fn failed_deletion_of_an_old_key_is_reported_and_retried() {
    let with_old_keys = || {
        let world = world().setting("retention_hours", 1);
        world.post_json(EVENT_URI, EVENT);
        world.advance(3 * HOUR);
        world.store.take_cost();
        world
    };
    let sound = with_old_keys();
    sound.drain();
    let deletion = sound.store.position("delete sluice:");

    let world = with_old_keys();
    world.store.fail(StoreFault::Once(deletion));
    let reply = world.as_operator("POST", DRAIN_URI);
    assert_eq!(reply.status(), 200, "{}", reply.text());
    assert!(reply.warning().contains("an expired key was not deleted"), "{}", reply.log);
    world.store.recover();
    world.advance(15 * MINUTE);
    world.drain();
    for kind in ["done", "won", "mark"] {
        assert!(world.store.keys(&format!("sluice:{kind}:")).is_empty(), "{kind}");
    }
}

#[test]
fn sampled_responses_are_followed_by_a_drain() {
    for (random, status, is_drained) in
        [(32, 200, true), (0, 200, true), (33, 200, false), (8, 200, false), (32, 503, false)]
    {
        let _row = row(format!("random bits {random}, engine responds {status}"));
        let world = World::key_value().unreachable();
        world.post_json("/api/v2/webhook?ref=stored", "{}");
        world.engine.take_calls();
        world.engine.behaviour.set(Behaviour::Healthy);
        world.random.set(random);
        world.engine.script(answer(status, RUN));
        world.run(async {
            let (reply, rest) = world.handle(request("POST", WEBHOOK_URI, &[JSON], "{}")).await;
            assert_eq!(reply.status(), if status == 200 { 200 } else { 202 });
            assert_eq!(world.engine.take_calls(), ["submit w"], "drained before the response");
            world.finish(rest).await;
        });
        let expected: &[&str] = if is_drained { &["submit stored"] } else { &[] };
        assert_eq!(world.engine.take_calls(), expected);
        if is_drained {
            let line = &world.log.borrow()[0];
            assert_eq!((&line["drained"]["delivered"], line["time"].is_string()), (&json!(1), true), "{line}");
        }
        assert_eq!(world.log.borrow().len(), usize::from(is_drained));
    }
    // A drain without work logs nothing.
    let world = World::key_value().healthy();
    world.random.set(16);
    world.post_json(WEBHOOK_URI, "{}");
    assert!(world.log.borrow().is_empty());
}
