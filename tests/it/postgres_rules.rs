//! Rules of the PostgreSQL backend of which each has a test that fails without it. `tests/postgres` has those of the
//! statements.

use std::pin::pin;
use std::time::Duration;

use futures_util::future::{join, select};
use sluice::ports::Clock;
use sluice::store::postgres::lease_length;

use crate::fake::{
    At, CALLBACK_URI, DRAIN_URI, EVENT, EVENT_URI, FailOver, Fault, JSON, MINUTE, OPERATOR, Reply, StoreKind,
    WEBHOOK_URI, World, answer, request,
};

fn world() -> World {
    StoreKind::Postgres.choose();
    World::with_operator()
}

/// Longer than a lease.
fn too_long() -> u64 {
    u64::try_from(lease_length(Duration::from_secs(10)).as_millis()).unwrap() + 5_000
}

async fn sleep(world: &World, ms: u64) {
    world.sleep(Duration::from_millis(ms)).await;
}

async fn post(world: &World, uri: &str, headers: &[(&str, &str)], body: &str) -> Reply {
    let (reply, rest) = world.handle(request("POST", uri, &[&[JSON], headers].concat(), body)).await;
    world.finish(rest).await;
    reply
}

async fn drain(world: &World) -> serde_json::Value {
    world.handle(request("POST", DRAIN_URI, &[OPERATOR], "")).await.0.json()
}

/// Drains once a minute, until nothing is pending.
fn drain_all(world: &World) {
    for _ in 0..20 {
        world.advance(MINUTE);
        world.drain();
        if world.pending().is_empty() {
            return;
        }
    }
    panic!("still pending: {:?}", world.pending());
}

/// [`Outbox::begin`](sluice::store::Outbox::begin), and [`Hold::may_send`](sluice::delivery::Hold::may_send) in it: the
/// drain learns what it has taken only when its lease is over and another drain has sent it.
#[test]
fn drain_that_is_late_sends_nothing() {
    let world = world().unreachable();
    world.post_json(WEBHOOK_URI, "{}");
    world.engine.recover();
    world.advance(MINUTE);
    let (late, other) = world.run(async {
        // Only the first `TAKE` is late: the other drain begins after it.
        world.database().fail(&[(At::Each("take"), Fault::LateAnswer(too_long()))]);
        let other = async {
            sleep(&world, too_long() - 2_000).await;
            world.database().recover();
            drain(&world).await
        };
        join(drain(&world), other).await
    });
    assert_eq!((&late["delivered"], &other["delivered"]), (&0.into(), &1.into()));
    assert_eq!(world.engine.targets().len(), 1, "the late drain has sent it again");
}

/// The sender's claim is won, but its answer comes when a drain has taken the delivery over and sent it.
#[test]
fn claim_that_is_answered_late_sends_nothing() {
    let world = world().healthy();
    world.database().fail(&[(At::Once(1), Fault::LateAnswer(too_long()))]);
    let (reply, drained) = world.run(async {
        let drain = async {
            sleep(&world, too_long() - 2_000).await;
            drain(&world).await
        };
        join(post(&world, EVENT_URI, &[], EVENT), drain).await
    });
    assert_eq!(drained["delivered"], 1);
    assert_eq!(reply.outcome(), (200, Some("duplicate")));
    assert_eq!(world.engine.targets().len(), 1);
}

/// The claim is answered in the second half of its lease, when nobody else has the delivery: it is left to a drain.
#[test]
fn claim_that_is_answered_in_the_second_half_of_its_lease_is_left_to_a_drain() {
    let world = world().healthy();
    world.database().fail(&[(At::Once(1), Fault::LateAnswer(too_long() / 2))]);
    let reply = world.post_json(EVENT_URI, EVENT);
    assert_eq!(reply.outcome(), (202, Some("pending")));
    assert!(world.engine.targets().is_empty(), "sent in the second half of the lease");
    drain_all(&world);
    assert_eq!(world.engine.targets().len(), 1);
}

/// `RELEASE` has no effect on a delivery that another sender was promised. It becomes a dead letter, and its key is free.
#[test]
fn promised_delivery_that_the_engine_refuses_becomes_a_dead_letter() {
    let world = world().setting("engine_wait_ms", 9_000).respond(422, "").after(6_000);
    let (refused, promised) = world.run(async {
        let first = post(&world, EVENT_URI, &[], EVENT);
        let second = async {
            sleep(&world, 1_000).await;
            post(&world, EVENT_URI, &[("prefer", "wait=1")], EVENT).await
        };
        join(first, second).await
    });
    assert_eq!((refused.status(), promised.outcome()), (422, (202, Some("duplicate"))));
    assert_eq!((world.pending().len(), world.dead().len()), (0, 1), "the second sender has a 202 for it");
    world.engine.recover();
    assert_eq!(world.post_json(EVENT_URI, EVENT).outcome(), (200, Some("delivered")));
}

/// `PROMISE` without a row: the claim was lost in a fail-over, so nothing can be promised.
#[test]
fn sender_gets_no_2xx_for_a_claim_that_is_gone() {
    for refusal in [503, 422] {
        let world = world().respond(refusal, "").after(4_000);
        // The third call is that of the connection for `PROMISE`.
        let fail_over = FailOver { lost: 1, in_doubt: false, crashes: false };
        world.database().fail(&[(At::Once(2), Fault::FailOverAfter(fail_over))]);
        let reply = world.post_json(EVENT_URI, EVENT);
        assert_eq!(world.database().fail_overs.get(), 1);
        assert!(world.pending().is_empty());
        assert_eq!(reply.status(), refusal, "{}", reply.text());
    }
}

/// `PROMISE` without a row, for a sender that has waited for another one in vain: the first one was refused meanwhile, so
/// this one claims the key itself.
#[test]
fn sender_is_not_promised_a_delivery_that_was_refused() {
    let world = world().setting("engine_wait_ms", 9_000).respond(422, "").after(5_000).healthy();
    let promise = (At::Each("promise"), Fault::Late(4_000));
    let (refused, second) = world.run(async {
        let first = post(&world, EVENT_URI, &[], EVENT);
        let second = async {
            sleep(&world, 1_000).await;
            world.database().fail(&[promise]);
            post(&world, EVENT_URI, &[("prefer", "wait=1")], EVENT).await
        };
        join(first, second).await
    });
    assert_eq!(refused.status(), 422);
    assert_eq!(second.outcome(), (200, Some("delivered")));
    assert_eq!(world.engine.targets().len(), 1);
}

/// Stops a callback's instance while it sends, before the engine acts.
fn stop_callback(world: &World, body: &str) {
    world.engine.latency.set(1_000);
    world.run(async {
        let sending = pin!(world.handle(request("POST", CALLBACK_URI, &[JSON], body)));
        select(sending, pin!(sleep(world, 50))).await;
    });
    world.engine.latency.set(0);
}

/// `MOVE` onto the row of a callback that is pending settles nothing: that one may still be refused.
#[test]
fn callback_outlives_the_pending_one_that_has_its_task() {
    for other in [r#"{"n":1}"#, r#"{"n":2}"#] {
        let world = world().healthy();
        stop_callback(&world, r#"{"n":1}"#);
        assert_eq!(world.post_json(CALLBACK_URI, other).outcome(), (202, Some("pending")));
        assert_eq!(world.pending().len(), 2);
        // The second one is due before the lease of the first one is over.
        world.advance(10_000);
        world.drain();
        assert_eq!((world.pending().len(), world.dead().len()), (2, 0), "{other} was settled by a pending one");
        // The first one is refused.
        world.engine.script(answer(422, ""));
        drain_all(&world);
        assert_eq!((world.dead().len(), world.engine.targets().len()), (1, 1), "{other}");
        assert!(world.dead_letters().contains(r#"{"n":1}"#));
    }
}

/// A claim of a task names the key of run and topic too: the callback that is pending there came first.
#[test]
fn callback_that_was_early_comes_before_one_that_sees_the_task() {
    let world = world().healthy();
    world.engine.ahead.borrow_mut().push("t".to_owned());
    assert_eq!(world.post_json(CALLBACK_URI, r#"{"n":1}"#).outcome(), (202, Some("pending")));
    world.engine.ahead.borrow_mut().clear();
    world.post_json(CALLBACK_URI, r#"{"n":2}"#).problem(409, "callback-conflict");
    assert!(world.engine.targets().is_empty(), "the second one has overtaken the first");
    drain_all(&world);
    assert_eq!((world.engine.targets().len(), world.dead().len()), (1, 0));
    let effect = world.engine.effects.borrow()[0].to_string();
    assert!(effect.contains('1') && !effect.contains('2'), "{effect}");
}
