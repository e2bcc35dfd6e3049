//! What each way costs in operations of the key-value store: the table of docs/reliability.md.

use crate::fake::{ASYNC, Cost, EVENT, JSON, NOW, World};

const HOOK: &str = "/api/v2/webhook?ref=w";
const ON_EVENT: &str = "/api/v2/event?ref=w";
const ON_CALLBACK: &str = "/api/v2/callback?ref=r&topic=t";

fn cost(reads: usize, writes: usize) -> Cost {
    Cost { reads, writes, scans: 0 }
}

#[test]
fn delivery_in_time_costs_what_the_table_states() {
    for (uri, headers, body, first, again) in [
        (HOOK, &[JSON][..], "{}", cost(0, 0), cost(0, 0)),
        (HOOK, &[JSON, ("idempotency-key", "k")], "{}", cost(4, 3), cost(2, 0)),
        (ON_EVENT, &[JSON], EVENT, cost(4, 3), cost(2, 0)),
        ("/api/v2/event?ref=w&dedup=off", &[JSON], EVENT, cost(0, 0), cost(0, 0)),
        (ON_CALLBACK, &[JSON], "{}", cost(4, 3), cost(2, 0)),
    ] {
        let world = World::new().well();
        assert_eq!(world.post(uri, headers, body).outcome(), (200, Some("delivered")));
        assert_eq!(world.cost(), first, "{uri}");
        assert_eq!(world.post(uri, headers, body).status(), 200);
        assert_eq!(world.cost(), again, "{uri} again");
    }
    // One that says something else.
    let world = World::new().well();
    world.json(ON_CALLBACK, "{}");
    world.cost();
    world.json(ON_CALLBACK, r#"{"n":1}"#).problem(409, "callback-conflict");
    assert_eq!(world.cost(), cost(2, 0));
}

#[test]
fn refused_request_costs_nothing() {
    let world = World::new();
    world.json(HOOK, "[]").problem(400, "invalid-body");
    world.json(ON_EVENT, "{}").problem(400, "invalid-event");
    world.get("/api/v2/callback?ref=r").problem(400, "missing-parameter");
    world.get("/healthz");
    assert_eq!(world.cost(), cost(0, 0));
}

#[test]
fn rejected_delivery_costs_a_released_claim() {
    for (uri, body, expected) in
        [(HOOK, "{}", cost(0, 0)), (ON_EVENT, EVENT, cost(4, 3)), (ON_CALLBACK, "{}", cost(4, 3))]
    {
        let world = World::new().answers(400, "");
        world.json(uri, body).problem(400, "rejected");
        assert_eq!(world.cost(), expected, "{uri}");
    }
}

#[test]
fn stored_delivery_costs_what_the_table_states() {
    for (uri, body, stored, again, drained) in [
        // The record, and the hint where it isn't there; then the record is begun, and goes.
        (HOOK, "{}", cost(1, 2), None, cost(1, 2)),
        // With its claim and its outcome, which is known as pending.
        (ON_EVENT, EVENT, cost(5, 5), Some(cost(2, 0)), cost(2, 3)),
        (ON_CALLBACK, "{}", cost(5, 5), Some(cost(2, 0)), cost(2, 3)),
    ] {
        let world = World::operated().down();
        assert_eq!(world.json(uri, body).status(), 202);
        assert_eq!(world.cost(), stored, "{uri}");
        if let Some(again) = again {
            assert_eq!(world.json(uri, body).outcome(), (202, Some("duplicate")));
            assert_eq!(world.cost(), again, "{uri} again");
        }
        world.heal();
        assert_eq!(world.drain()["delivered"], 1);
        let Cost { reads, writes, scans } = world.cost();
        // Around it: the hint, the lease thrice and what is at fault; the lease three times and the hint once.
        assert_eq!((reads - 5, writes - 4, scans), (drained.reads, drained.writes, 1), "{uri}");
    }
}

#[test]
fn drain_notification_is_written_once() {
    let world = World::operated().down();
    let stored = || {
        assert_eq!(world.json(HOOK, "{}").status(), 202);
        world.cost()
    };
    assert_eq!([stored(), stored(), stored()], [cost(1, 2), cost(1, 1), cost(1, 1)]);
    // A drain that leaves something pending leaves the hint as well.
    world.drain();
    world.cost();
    assert_eq!(stored(), cost(1, 1));
    // What is at fault is looked at too, and written once.
    let world = World::operated().answers(401, "").answers(401, "").answers(401, "");
    let stored = || {
        assert_eq!(world.json(HOOK, "{}").status(), 202);
        world.cost()
    };
    assert_eq!([stored(), stored(), stored()], [cost(2, 3), cost(2, 1), cost(2, 1)]);
}

#[test]
fn response_before_the_engine_also_costs_the_record() {
    for (uri, body, expected) in
        [(HOOK, "{}", cost(1, 3)), (ON_EVENT, EVENT, cost(5, 7)), (ON_CALLBACK, "{}", cost(5, 7))]
    {
        let world = World::new().well();
        assert_eq!(world.post(uri, &[JSON, ASYNC], body).status(), 202);
        assert_eq!(world.cost(), expected, "{uri}");
        let world = World::new().slow(3_000);
        assert_eq!(world.json(uri, body).status(), 202);
        assert_eq!(world.cost(), expected, "{uri}");
    }
}

#[test]
fn drain_cost_per_delivery_is_constant() {
    let mut costs = Vec::new();
    for count in [1, 10, 100] {
        let world = World::operated().down();
        for n in 0..count {
            world.json(&format!("/api/v2/webhook?ref=w{n}"), "{}");
        }
        world.heal();
        world.cost();
        assert_eq!(world.drain()["delivered"], count);
        let Cost { reads, writes, scans } = world.cost();
        costs.push((reads - usize::try_from(count).unwrap(), writes - 2 * usize::try_from(count).unwrap(), scans));
    }
    assert_eq!(costs, [(5, 4, 1); 3]);
}

#[test]
fn drain_against_an_unreachable_engine_costs_one_attempt() {
    let world = World::operated().down();
    (0..50).for_each(|_| _ = world.json(HOOK, "{}"));
    world.cost();
    assert_eq!(world.drain()["pending"], 50);
    let Cost { reads, writes, scans } = world.cost();
    assert!(reads <= 8 && writes <= 7 && scans == 1, "{reads} {writes} {scans}");
}

#[test]
fn duplicate_from_the_previous_window_costs_what_the_table_states() {
    const WINDOW: u64 = 72 * 3_600_000;
    let world = World::new().well();
    world.now.set(NOW / WINDOW * WINDOW + WINDOW / 2);
    world.json(ON_EVENT, EVENT);
    world.pass(WINDOW);
    world.cost();
    for expected in [cost(4, 1), cost(3, 0), cost(3, 0)] {
        world.pass(1_000);
        assert_eq!(world.json(ON_EVENT, EVENT).outcome(), (200, Some("duplicate")));
        assert_eq!(world.cost(), expected);
    }
    assert_eq!(world.acted().len(), 1);
}
