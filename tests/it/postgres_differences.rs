//! What is other with PostgreSQL than with a key-value store, each with its reason. Tests that run on both stores say so
//! where they differ in a detail.

use std::pin::pin;
use std::time::Duration;

use futures_util::future::{join, select};
use sluice::ports::Clock;

use crate::fake::{
    ASYNC, CALLBACK_URI, DRAIN_URI, EVENT, EVENT_URI, HOUR, JSON, MINUTE, NOW, OPERATOR, StoreKind, WEBHOOK_URI, World,
    answer, request, row,
};

/// A world with a database.
fn world() -> World {
    StoreKind::Postgres.choose();
    World::with_operator()
}

/// Sends a request, and stops its instance after 50 ms.
fn stop(world: &World, uri: &str, headers: &[(&str, &str)], body: &str) {
    world.run(async {
        let sending = pin!(world.handle(request("POST", uri, headers, body)));
        select(sending, pin!(world.sleep(Duration::from_millis(50)))).await;
    });
}

/// There is one row for a key, so a repeat can't be stored beside it. Its sender gets a 202 as soon as the row says that
/// somebody was promised the delivery.
#[test]
fn contended_repeat_is_promised_the_first_delivery() {
    for (uri, headers, body) in [
        (EVENT_URI, vec![JSON], EVENT),
        (WEBHOOK_URI, vec![JSON, ("idempotency-key", "k")], "{}"),
        (CALLBACK_URI, vec![JSON], "{}"),
    ] {
        let _row = row(uri);
        let world = world().slow(100);
        stop(&world, uri, &headers, body);
        let [first] = &world.pending()[..] else { panic!("{:?}", world.pending()) };
        let first = first.clone();
        let reply = world.post(uri, &headers, body);
        if uri == CALLBACK_URI {
            // Beside the claim of a task there may be one of its run and topic, for another round of a loop.
            assert_eq!((reply.outcome(), world.pending().len()), ((202, Some("pending")), 2));
        } else {
            assert_eq!((reply.outcome(), reply.delivery()), ((202, Some("duplicate")), first));
        }
        for _ in 0..3 {
            world.advance(MINUTE);
            world.drain();
        }
        assert!(world.pending().is_empty() && world.dead().is_empty());
        assert_eq!(world.engine.targets().len(), 1);
    }
}

/// The other content can't be kept under the key, and whether the first one is accepted is open.
#[test]
fn other_payload_under_a_contended_key_is_refused() {
    let world = world().slow(100);
    let headers = [JSON, ("idempotency-key", "k")];
    stop(&world, WEBHOOK_URI, &headers, r#"{"n":1}"#);
    let problem = world.post(WEBHOOK_URI, &headers, r#"{"n":2}"#).problem(503, "store-unavailable");
    assert_eq!(problem["retry"], "safe");
    world.advance(MINUTE);
    assert_eq!(world.drain()["delivered"], 1);
    world.post(WEBHOOK_URI, &headers, r#"{"n":2}"#).problem(422, "idempotency-key-reused");
    assert_eq!(world.engine.targets().len(), 1);
}

/// The row of a stopped claimant whose callback was refused in the end is a dead letter without a key: another callback
/// for the task can be sent then.
#[test]
fn callback_is_possible_once_the_first_one_was_refused() {
    let world = world().slow(100);
    stop(&world, CALLBACK_URI, &[JSON], r#"{"n":1}"#);
    world.engine.recover();
    world.engine.script(answer(422, ""));
    for _ in 0..3 {
        world.advance(MINUTE);
        world.drain();
    }
    assert_eq!((world.pending().len(), world.dead().len()), (0, 1));
    assert_eq!(world.post_json(CALLBACK_URI, r#"{"n":2}"#).outcome(), (200, Some("delivered")));
}

/// A drain looks for what is due by an index, and takes nothing else. A delivery's last attempt may therefore be later
/// than its age allows, by one back-off at most.
#[test]
fn expired_delivery_becomes_dead_letter_when_it_is_due() {
    let world = world().setting("retry_max_hours", 1).unreachable();
    world.post_json(WEBHOOK_URI, "{}");
    for _ in 0..4 {
        world.clock.set(world.due().unwrap());
        world.drain();
    }
    let due = world.due().unwrap();
    world.clock.set(NOW + 24 * HOUR);
    assert!(due < world.now());
    assert_eq!(world.drain()["dead"], 1);
}

/// The rows of deliveries that are remembered expire by the database's clock, and a minute late, since the hosts have
/// other clocks.
#[test]
fn event_is_forgotten_a_minute_after_its_retention() {
    let world = world().setting("retention_hours", 1).healthy();
    assert_eq!(world.post_json(EVENT_URI, EVENT).outcome(), (200, Some("delivered")));
    for (at, outcome) in [(HOUR + MINUTE - 1, "duplicate"), (HOUR + MINUTE, "delivered")] {
        world.clock.set(NOW + at);
        assert_eq!(world.post_json(EVENT_URI, EVENT).outcome(), (200, Some(outcome)), "after {at} ms");
    }
    assert_eq!(world.remembered(), 1);
    world.advance(HOUR + MINUTE);
    world.drain();
    assert_eq!(world.remembered(), 0);
}

/// A row is written when a delivery is claimed and when its attempt has ended. What happens in between is only known to
/// the holder, whose lease says that it may have been sent.
#[test]
fn promised_delivery_is_stored_as_it_was_claimed() {
    let world = world().slow(2_501);
    world.run(async {
        let (reply, rest) = world.handle(request("POST", EVENT_URI, &[JSON], EVENT)).await;
        assert_eq!(reply.outcome(), (202, Some("pending")));
        assert!(world.only_pending()["sent"].is_null());
        {
            let tables = world.database().tables();
            let row = tables.deliveries().iter().next().unwrap();
            assert!(row.accepted && row.token.is_some());
        }
        world.finish(rest).await;
    });
    assert_eq!(world.remembered(), 1);
}

/// No lease but those of the rows: an operator's attempt and a drain have deliveries of their own.
#[test]
fn drains_of_two_hosts_run_side_by_side() {
    let world = world().unreachable();
    for n in 0..20 {
        world.post_json(&format!("/api/v2/webhook?ref=w{n}"), "{}");
    }
    world.engine.recover();
    world.engine.latency.set(100);
    world.advance(MINUTE);
    let [one, two] = world.run(async {
        let drain = || world.handle(request("POST", DRAIN_URI, &[OPERATOR], ""));
        let ((one, _), (two, _)) = join(drain(), drain()).await;
        [one.json(), two.json()]
    });
    let delivered = [&one, &two].map(|summary| summary["delivered"].as_u64().unwrap());
    assert!(delivered.iter().sum::<u64>() == 20, "{one} {two}");
    assert!([&one, &two].iter().all(|summary| summary["stopped"].is_null()), "{one} {two}");
    assert_eq!(world.engine.targets().len(), 20);
}

/// A record that can't be decoded is put back by the drain, so that it isn't under way when an operator deletes it.
#[test]
fn unreadable_delivery_is_left_alone_for_a_while() {
    let world = world().unreachable();
    let id = world.post_json(WEBHOOK_URI, "{}").delivery();
    world.damage(&id);
    world.advance(MINUTE);
    world.as_operator("POST", DRAIN_URI);
    assert_eq!(world.due(), Some(world.now() + 15 * MINUTE));
    assert_eq!(world.as_operator("DELETE", &format!("/api/v2/deliveries/{id}")).status(), 204);
}

/// An instance that is suspended for longer than its lease touches nothing more.
#[test]
fn late_holder_changes_nothing() {
    for uri in [EVENT_URI, WEBHOOK_URI] {
        let _row = row(uri);
        let world = world().healthy();
        let headers = [JSON, ASYNC, ("idempotency-key", "k")];
        let body = if uri == EVENT_URI { EVENT } else { "{}" };
        let (reply, rest) = world.run(world.handle(request("POST", uri, &headers, body)));
        assert_eq!(reply.status(), 202);
        world.advance(MINUTE);
        assert_eq!(world.drain()["delivered"], 1);
        let before: Vec<_> = world.database().tables().deliveries().iter().cloned().collect();
        world.run(world.finish(rest));
        let after: Vec<_> = world.database().tables().deliveries().iter().cloned().collect();
        assert_eq!(before, after);
        assert_eq!(world.engine.targets().len(), 1);
    }
}
