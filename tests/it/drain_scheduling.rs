//! What lets the drain do nothing, one at a time, and clean up: the hint, the lease, the scan, the sweep, the sample.

use serde_json::{Value, json};

use crate::fake::{ASYNC, Cost, EVENT, JSON, NOW, OPERATOR, RUN, World, request};

const MINUTE: u64 = 60_000;
const HOUR: u64 = 60 * MINUTE;
const HOOK: &str = "/api/v2/webhook?ref=w";
const DRAIN: &str = "/api/v2/deliveries/drain";

/// The scan that comes once in 15 minutes regardless is over.
fn world() -> World {
    let world = World::operated().well();
    world.drain();
    world.cost();
    world
}

/// One is stored, and the engine is well again.
fn one_pending(world: &World) {
    world.down.set(true);
    assert_eq!(world.json(HOOK, "{}").status(), 202);
    world.heal();
    world.calls();
}

#[test]
fn scan_without_notification_runs_every_15_minutes() {
    let world = World::operated();
    for (passed, scans) in [(0, 1), (0, 0), (15 * MINUTE - 1, 0), (1, 1), (1, 0), (15 * MINUTE, 1)] {
        world.pass(passed);
        assert_eq!(world.drain()["pending"], 0);
        let cost = world.cost();
        assert_eq!(cost.scans, scans, "{passed}");
        if scans == 0 {
            assert_eq!(cost, Cost { reads: 2, writes: 0, scans: 0 });
        }
    }
}

#[test]
fn notification_causes_a_scan_and_is_deleted_once_nothing_is_pending() {
    let world = world();
    one_pending(&world);
    assert_eq!(world.keys("sluice/hint").len(), 1);
    world.down.set(true);
    assert_eq!(world.drain()["pending"], 1);
    assert_eq!(world.keys("sluice/hint").len(), 1);
    world.heal();
    world.cost();
    assert_eq!(world.drain()["delivered"], 1);
    assert_eq!(world.cost().scans, 1);
    assert!(world.keys("sluice/hint").is_empty());
    world.drain();
    assert_eq!(world.cost().scans, 0);
}

#[test]
fn notification_stays_if_another_delivery_arrived_meanwhile() {
    let world = world();
    one_pending(&world);
    world.takes.set(1_000);
    let drained = world.run(async {
        let other = request("POST", "/api/v2/webhook?ref=other", &[JSON, ASYNC], "{}");
        let (drained, (_, rest)) =
            futures_util::future::join(world.answer(request("POST", DRAIN, &[OPERATOR], "")), world.answer(other))
                .await;
        drop(rest);
        drained.0.json()
    });
    assert_eq!((&drained["delivered"], &drained["pending"]), (&json!(1), &json!(0)), "it was not there to be scanned");
    assert_eq!(world.keys("sluice/hint").len(), 1);
    world.pass(MINUTE);
    assert_eq!(world.drain()["delivered"], 1);
}

#[test]
fn delivery_without_notification_is_found_by_the_periodic_scan() {
    let world = world();
    world.down.set(true);
    world.failing_operation.set(Some(2));
    let reply = world.json(HOOK, "{}");
    assert_eq!(reply.outcome(), (202, Some("pending")), "it is stored");
    assert!(reply.log["warning"].as_str().unwrap().contains("disk full"));
    world.failing_operation.set(None);
    assert_eq!((world.drain()["pending"].clone(), world.calls().len()), (json!(0), 1), "it isn't looked for yet");
    world.pass(15 * MINUTE);
    assert_eq!(world.drain()["pending"], 1);
    world.heal();
    assert_eq!(world.drain()["delivered"], 1, "the next pass needs no luck");
}

#[test]
fn one_drain_runs_at_a_time() {
    let world = world();
    one_pending(&world);
    world.takes.set(1_000);
    let drain = || async { world.answer(request("POST", DRAIN, &[OPERATOR], "")).await.0.json() };
    let drained = world.run(futures_util::future::join_all((0..3).map(|_| drain())));
    assert_eq!(drained[0]["delivered"], 1);
    for other in &drained[1..] {
        let leased =
            json!({ "delivered": 0, "rejected": 0, "dead": 0, "dropped": 0, "pending": null, "stopped": "leased" });
        assert_eq!(*other, leased);
    }
    assert_eq!(world.acted().len(), 1);
    assert_eq!(world.drain()["stopped"], Value::Null, "it is given back");
}

#[test]
fn lease_of_a_dead_drain_expires() {
    let world = world();
    one_pending(&world);
    world.takes.set(1_000);
    world.run(async {
        let drain = std::pin::pin!(world.answer(request("POST", DRAIN, &[OPERATOR], "")));
        let stop = sluice::ports::Clock::sleep(&world, std::time::Duration::from_millis(500));
        futures_util::future::select(drain, std::pin::pin!(stop)).await;
    });
    world.heal();
    world.calls();
    // Budget, a question and an attempt, and some more.
    world.now.set(NOW + 49_999);
    assert_eq!(world.drain()["stopped"], "leased");
    world.now.set(NOW + 50_000);
    assert_eq!(world.drain()["delivered"], 1);
    assert!(world.calls()[0].starts_with("find "), "what it left is in doubt");
}

#[test]
fn keys_are_listed_before_any_attempt() {
    let world = world();
    one_pending(&world);
    world.cost();
    world.drain();
    let operations = world.operations.borrow();
    let scan = operations.iter().position(|operation| operation.starts_with("keys")).unwrap();
    let is_lease = |operation: &String| operation.contains(" sluice/hint") || operation.contains(" sluice/lease");
    assert!(operations[..scan].iter().all(is_lease), "{operations:?}");
    assert!(operations[scan + 1].starts_with("get sluice/pending/"));
    assert_eq!(operations.iter().filter(|operation| operation.starts_with("keys")).count(), 1);
}

#[test]
fn sweep_deletes_only_expired_windows() {
    let world = world().with("retention_hours", "1");
    let at = |hour: u64, n: u64| {
        world.now.set(NOW / HOUR * HOUR + hour * HOUR + 10 * MINUTE);
        let event = EVENT.replace("\"1\"", &format!("\"{n}\""));
        assert_eq!(world.json("/api/v2/event?ref=w", event).status(), 200);
        assert_eq!(world.json(&format!("/api/v2/callback?ref=r&topic={n}"), "{}").status(), 200);
    };
    (0..4).for_each(|n| at(n, n));
    world.store.borrow_mut().insert("other/done/1/x".to_owned(), vec![]);
    world.store.borrow_mut().insert("sluice/dead/01M85MNVRRNF3YKJSMZYXYD1X7".to_owned(), vec![]);
    world.pass(20 * MINUTE);
    world.cost();
    world.drain();
    let present = world.now.get() / HOUR;
    for kept in ["done", "callback", "flag", "door"] {
        let keys = world.keys(&format!("sluice/{kept}/"));
        let windows: std::collections::BTreeSet<u64> =
            keys.iter().map(|key| key.split('/').next().unwrap().parse().unwrap()).collect();
        assert_eq!(windows.into_iter().collect::<Vec<_>>(), [present - 1, present], "{kept}");
    }
    assert!(world.store.borrow().contains_key("other/done/1/x"));
    assert_eq!(world.keys("sluice/dead/").len(), 1);
    let reads: Vec<_> = world.operations.borrow().iter().filter(|op| op.starts_with("get sluice/d")).cloned().collect();
    assert!(reads.is_empty(), "by name alone: {reads:?}");
    // What is still looked up is still known.
    let event = EVENT.replace("\"1\"", "\"2\"");
    assert_eq!(world.json("/api/v2/event?ref=w", event).outcome(), (200, Some("duplicate")));
}

#[test]
fn failed_deletion_of_an_old_key_is_reported_and_retried() {
    let world = world().with("retention_hours", "1");
    world.json("/api/v2/event?ref=w", EVENT);
    world.pass(3 * HOUR);
    world.cost();
    // Hint, lease, scan, fault, then what is old.
    let listed = 1 + 1 + 5 + 1 + 1;
    world.failing_operation.set(Some(listed));
    let reply = world.operate("POST", DRAIN);
    assert_eq!(reply.status(), 200, "{}", reply.text());
    assert!(world.operations.borrow()[listed].starts_with("delete sluice/"), "{:?}", world.operations.borrow());
    assert!(reply.log["warning"].as_str().unwrap().contains("an expired key was not deleted"), "{}", reply.log);
    world.failing_operation.set(None);
    world.pass(15 * MINUTE);
    world.drain();
    assert!(["done", "flag", "door"].iter().all(|kept| world.keys(&format!("sluice/{kept}/")).is_empty()));
}

#[test]
fn sampled_responses_are_followed_by_a_drain() {
    for (entropy, status, drains) in
        [(32, 200, true), (0, 200, true), (33, 200, false), (8, 200, false), (32, 503, false)]
    {
        let world = World::new().down();
        world.json("/api/v2/webhook?ref=stored", "{}");
        world.calls();
        world.down.set(false);
        world.well.set(true);
        world.entropy.set(entropy);
        world.script(Ok(http::Response::builder().status(status).body(RUN.as_bytes().to_vec()).unwrap()));
        world.run(async {
            let (reply, rest) = world.answer(request("POST", HOOK, &[JSON], "{}")).await;
            assert_eq!(reply.status(), if status == 200 { 200 } else { 202 });
            assert_eq!(world.calls(), ["submit w"], "not before the answer");
            world.finish(rest).await;
        });
        let expected: &[&str] = if drains { &["submit stored"] } else { &[] };
        assert_eq!(world.calls(), expected, "{entropy} {status}");
        if drains {
            let line = &world.lines.borrow()[0];
            assert_eq!((&line["drained"]["delivered"], line["time"].is_string()), (&json!(1), true), "{line}");
        }
        assert_eq!(world.lines.borrow().len(), usize::from(drains));
    }
    // One that has nothing to do says nothing.
    let world = World::new().well();
    world.entropy.set(16);
    world.json(HOOK, "{}");
    assert!(world.lines.borrow().is_empty());
}
