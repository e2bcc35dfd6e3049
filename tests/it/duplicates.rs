//! One event, one run: whoever brings the same again gets what the first got.

use std::pin::pin;

use futures_util::future::{join, join_all, select};
use serde_json::{Value, json};
use sluice::ports::Clock;

use crate::fake::{ASYNC, EVENT, JSON, NOW, Reply, World, request};

const HOUR: u64 = 3_600_000;
const ON_EVENT: &str = "/api/v2/event?ref=w";
const HOOK: &str = "/api/v2/webhook?ref=w";
const KEY: (&str, &str) = ("idempotency-key", "\"k\"");
const ON_CALLBACK: &str = "/api/v2/callback?ref=r&topic=t";
type Keyed = (&'static str, &'static [(&'static str, &'static str)], &'static str);
const KEYED: [Keyed; 3] = [(ON_EVENT, &[JSON], EVENT), (HOOK, &[JSON, KEY], "{}"), (ON_CALLBACK, &[JSON], "{}")];

fn same_again(world: &World, first: &Reply, again: &Reply) {
    assert_eq!(again.outcome(), (first.status(), Some("duplicate")));
    assert_eq!(again.response.body(), first.response.body());
    for name in ["content-type", "sluice-delivery", "location", "cache-control"] {
        assert_eq!(again.header(name), first.header(name), "{name}");
    }
    assert_eq!(again.log["delivery"].as_str(), first.header("sluice-delivery"));
    assert!(world.calls().is_empty(), "the engine hears nothing of it");
}

#[test]
fn duplicate_gets_the_response_of_the_first() {
    for (uri, headers, body) in KEYED {
        let world = World::operated().well();
        let first = world.post(uri, headers, body);
        assert_eq!(first.outcome(), (200, Some("delivered")), "{uri}");
        assert_eq!(world.calls().len(), 1);
        for later in [0, 1, 100_000] {
            world.pass(later);
            same_again(&world, &first, &world.post(uri, headers, body));
        }
        assert_eq!(world.acted().len(), 1);
    }
}

#[test]
fn duplicate_of_a_pending_delivery_is_pending() {
    for (uri, headers, body) in KEYED {
        let world = World::operated().down();
        let first = world.post(uri, headers, body);
        world.calls();
        same_again(&world, &first, &world.post(uri, headers, body));
        assert_eq!(world.keys("sluice/pending/").len(), 1, "nothing more is stored");
        world.heal();
        assert_eq!(world.drain()["delivered"], 1);
        let after = world.post(uri, headers, body);
        assert_eq!(after.outcome(), (200, Some("duplicate")), "{uri}");
        assert_eq!(after.header("sluice-delivery"), first.header("sluice-delivery"));
        assert_eq!(world.acted().len(), 1);
    }
}

#[test]
fn duplicate_is_known_for_the_whole_retention() {
    for (uri, headers, body) in KEYED {
        for (age, is_known) in [(1, true), (64 * HOUR, true), (71 * HOUR, true), (72 * HOUR, true), (145 * HOUR, false)]
        {
            let world = World::new().well();
            let first = world.post(uri, headers, body);
            world.calls();
            world.now.set(NOW + age);
            let again = world.post(uri, headers, body);
            if is_known {
                same_again(&world, &first, &again);
            } else {
                assert_eq!(again.outcome(), (200, Some("delivered")), "{uri}");
                assert_ne!(again.header("sluice-delivery"), first.header("sluice-delivery"));
            }
            assert_eq!(world.acted().len(), if is_known { 1 } else { 2 }, "{uri} {age}");
        }
    }
}

#[test]
fn source_id_and_workflow_identify_an_event() {
    let world = World::new().well();
    let taken = |uri: &str, from: &str, to: &str| {
        let before = world.acted().len();
        let reply = world.json(uri, EVENT.replace(from, to));
        assert_eq!(reply.status(), 200, "{}", reply.text());
        world.acted().len() > before
    };
    for (uri, from, to, is_new) in [
        (ON_EVENT, "", "", true),
        (ON_EVENT, r#""t""#, r#""u","data":{"a":1}"#, false),
        (ON_EVENT, r#""1""#, r#""\u0031""#, false),
        ("/api/v2/event", r#""t""#, r#""t","subject":"/w/t""#, false),
        (ON_EVENT, r#""1""#, r#""2""#, true),
        (ON_EVENT, r#""/s""#, r#""/S""#, true),
        ("/api/v2/event?ref=W", "", "", true),
    ] {
        assert_eq!(taken(uri, from, to), is_new, "{uri} {to}");
    }
    // The same event in the binary mode.
    let headers = [("ce-specversion", "1.0"), ("ce-id", "1"), ("ce-source", "/s"), ("ce-type", "t")];
    assert_eq!(world.post(ON_EVENT, &headers, "").outcome(), (200, Some("duplicate")));
}

#[test]
fn dedup_off_accepts_a_duplicate() {
    for (uri, headers, body) in [KEYED[0], KEYED[1]] {
        let world = World::new().well();
        world.post(uri, headers, body);
        let again = world.post(&format!("{uri}&dedup=off"), headers, body);
        assert_eq!(again.outcome(), (200, Some("delivered")), "{uri}");
        assert_eq!(world.acted().len(), 2);
        assert_eq!(world.post(&format!("{uri}&dedup=on"), headers, body).outcome(), (200, Some("duplicate")));
    }
    // A webhook without a key is another each time.
    let world = World::new().well();
    assert_eq!(world.json(HOOK, "{}").outcome(), world.json(HOOK, "{}").outcome());
    assert_eq!(world.acted().len(), 2);
}

#[test]
fn idempotency_key_identifies_one_payload() {
    let world = World::new().well();
    let send = |key: &str, body: &str| world.post(HOOK, &[JSON, ("idempotency-key", key)], body);
    let first = send("\"k\"", r#"{"a":1}"#);
    assert_eq!(send("k", r#" {"a":1} "#).outcome(), (200, Some("duplicate")), "bare or in quotes");
    let reply = send("\"k\"", r#"{"a":2}"#);
    let problem = reply.problem(422, "idempotency-key-reused");
    assert_eq!((&problem["field"], &problem["retry"]), (&json!("Idempotency-Key"), &json!("fix-first")));
    assert!(problem["detail"].as_str().unwrap().contains("2026-11-24T08:30:00.000Z"), "{problem}");
    assert_eq!(reply.header("sluice-delivery"), first.header("sluice-delivery"));
    assert_eq!(send("\"l\"", r#"{"a":2}"#).outcome(), (200, Some("delivered")));
    let other = world.post("/api/v2/webhook?ref=x", &[JSON, ("idempotency-key", "k")], r#"{"a":2}"#);
    assert_eq!(other.outcome(), (200, Some("delivered")), "a key is a workflow's own");
    assert_eq!(world.acted(), ["w", "w", "x"]);
}

#[test]
fn rejected_delivery_may_be_repeated_at_once() {
    for (uri, headers, body) in KEYED {
        let world = World::new().answers(400, "");
        world.post(uri, headers, body).problem(400, "rejected");
        for prefix in
            ["sluice/flag/", "sluice/done/", "sluice/callback/", "sluice/pending/", "sluice/dead/", "sluice/hint"]
        {
            assert!(world.keys(prefix).is_empty(), "{uri} leaves {prefix}");
        }
        world.heal();
        assert_eq!(world.post(uri, headers, body).outcome(), (200, Some("delivered")), "{uri}");
        assert!(world.now.get() <= NOW + 700, "{uri}: it took {} ms", world.now.get() - NOW);
    }
    // With another payload too: nothing came of the first.
    let world = World::new().answers(400, "");
    world.post(HOOK, &[JSON, KEY], "{}").problem(400, "rejected");
    world.heal();
    assert_eq!(world.post(HOOK, &[JSON, KEY], r#"{"a":1}"#).outcome(), (200, Some("delivered")));
}

#[test]
fn one_of_many_concurrent_requests_is_sent() {
    for (uri, headers, body) in KEYED {
        for (takes, first, others) in
            [(100, (200, "delivered"), (200, "duplicate")), (2_700, (202, "pending"), (202, "duplicate"))]
        {
            let world = World::new().slow(takes);
            let replies = world.run(async {
                let replies = join_all((0..8).map(|_| world.answer(request("POST", uri, headers, body)))).await;
                let (replies, rests): (Vec<_>, Vec<_>) = replies.into_iter().unzip();
                join_all(rests.into_iter().map(|rest| world.finish(rest))).await;
                replies
            });
            let id = replies[0].header("sluice-delivery");
            for (n, reply) in replies.iter().enumerate() {
                let (status, outcome) = if n == 0 { first } else { others };
                assert_eq!(reply.outcome(), (status, Some(outcome)), "{uri} {takes} {n}");
                assert_eq!((reply.header("sluice-delivery"), reply.text()), (id, replies[0].text()));
            }
            assert_eq!(world.calls().len(), 1, "{uri}");
            assert!(world.keys("sluice/pending/").is_empty());
        }
    }
}

#[test]
fn duplicate_across_a_window_boundary_is_known() {
    let boundary = (NOW / (72 * HOUR) + 1) * 72 * HOUR;
    for (uri, headers, body) in KEYED {
        for (at, later) in [(boundary - 1, 1), (boundary - 1, 300), (boundary - 50_000, 60_000), (boundary, 1)] {
            let world = World::new().slow(200);
            world.now.set(at);
            let (first, second) = world.run(join(world.answer(request("POST", uri, headers, body)), async {
                world.sleep(std::time::Duration::from_millis(later)).await;
                world.answer(request("POST", uri, headers, body)).await
            }));
            assert_eq!(first.0.outcome(), (200, Some("delivered")), "{uri} {later}");
            assert_eq!(second.0.outcome(), (200, Some("duplicate")), "{uri} {later}");
            assert_eq!(world.acted().len(), 1);
        }
    }
}

#[test]
fn late_clock_at_a_window_boundary_starts_one_run() {
    let boundary = (NOW / (72 * HOUR) + 1) * 72 * HOUR;
    for (uri, headers, body) in KEYED {
        let world = World::operated().slow(200);
        world.now.set(boundary + 10);
        let (first, late) = world.run(join(world.answer(request("POST", uri, headers, body)), async {
            world.now.set(boundary - 10);
            world.answer(request("POST", uri, headers, body)).await
        }));
        assert_eq!(first.0.outcome(), (200, Some("delivered")), "{uri}");
        assert_eq!(late.0.outcome(), (202, Some("pending")), "{uri}");
        world.pass(20_000);
        assert_eq!(world.drain()["dropped"], 1, "{uri}");
        assert_eq!(world.acted().len(), 1, "{uri}");
    }
}

/// A winner is stopped while the engine has its request.
fn stopped(world: &World, (uri, headers, body): Keyed) {
    world.run(async {
        let winner = pin!(world.answer(request("POST", uri, headers, body)));
        select(winner, pin!(world.sleep(std::time::Duration::from_millis(50)))).await;
    });
}

#[test]
fn engine_is_queried_after_a_winner_stopped() {
    for has_acted in [false, true] {
        for keyed @ (uri, headers, body) in [KEYED[0], KEYED[1]] {
            let world = World::operated().slow(100);
            stopped(&world, keyed);
            world.heal();
            if has_acted {
                let request: Value = serde_json::from_slice(world.sent.borrow()[0].request.body()).unwrap();
                world.runs.borrow_mut().push(json!({ "id": "1", "of": "w", "labels": request["labels"] }));
            }
            world.calls();
            let copies = world.run(join_all((0..2).map(|_| world.answer(request("POST", uri, headers, body)))));
            for (copy, _) in &copies {
                assert_eq!(copy.outcome(), (202, Some("pending")), "{uri}");
            }
            assert_eq!(world.now.get(), NOW + 50 + 2_750, "they wait for what may come");
            assert_eq!(world.drain()["pending"], 2);
            world.pass(15_000);
            assert_eq!(world.drain()["pending"], 2);
            assert!(world.calls().is_empty(), "not before the engine can no longer act");
            world.pass(1_000);
            let drained = world.drain();
            assert_eq!((&drained["delivered"], &drained["dropped"]), (&json!(1), &json!(1)), "{drained}");
            let calls = world.calls();
            let verbs: Vec<_> = calls.iter().map(|call| call.split(' ').next().unwrap()).collect();
            assert_eq!(verbs, if has_acted { vec!["find"] } else { vec!["find", "submit"] });
            assert_eq!(world.acted(), ["w"]);
            assert_eq!(world.post(uri, headers, body).outcome(), (200, Some("duplicate")));
        }
    }
}

#[test]
fn request_long_after_a_stopped_winner_does_not_wait() {
    for keyed @ (uri, headers, body) in KEYED {
        let world = World::operated().slow(100);
        stopped(&world, keyed);
        world.pass(10_000);
        let at = world.now.get();
        assert_eq!(world.post(uri, headers, body).outcome(), (202, Some("pending")), "{uri}");
        assert_eq!(world.now.get(), at, "{uri}");
    }
}

#[test]
fn drain_delivers_once_if_nobody_won() {
    for (uri, headers, body) in KEYED {
        // Who could have won: both registers as two leave them who wrote door and flag in turn.
        let world = World::operated().well();
        world.post(uri, headers, body);
        world.store.borrow_mut().retain(|key, _| key.starts_with("sluice/flag/") || key.starts_with("sluice/door/"));
        world.runs.borrow_mut().clear();
        world.calls();

        let copies = world.run(join_all((0..3).map(|_| world.answer(request("POST", uri, headers, body)))));
        assert!(copies.iter().all(|(copy, _)| copy.outcome() == (202, Some("pending"))), "{uri}");
        world.pass(20_000);
        let drained = world.drain();
        assert_eq!((&drained["delivered"], &drained["dropped"]), (&json!(1), &json!(2)), "{uri}: {drained}");
        assert_eq!(world.acted().len(), 1, "{uri}");
    }
}

#[test]
fn respond_async_hardly_waits_for_another_claimant() {
    let world = World::new().slow(2_000);
    let (first, second) = world.run(join(world.answer(request("POST", ON_EVENT, &[JSON], EVENT)), async {
        let (reply, _) = world.answer(request("POST", ON_EVENT, &[JSON, ASYNC], EVENT)).await;
        (reply, world.now.get())
    }));
    assert_eq!((second.0.outcome(), second.1), ((202, Some("pending")), NOW + 250));
    assert_eq!(first.0.outcome(), (200, Some("delivered")));
    assert_eq!(world.acted().len(), 1);
}
