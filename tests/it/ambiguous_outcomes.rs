//! Deliveries that the engine may have acted on: it is queried for the delivery's label before anything is sent again.

use std::pin::pin;
use std::time::Duration;

use futures_util::future::{join, select};
use serde_json::{Value, json};
use sluice::ports::{Clock as _, SendError};

use crate::fake::{
    ASYNC, CALLBACK_URI, DRAIN_URI, EVENT, EVENT_URI, EngineResult, HOUR, JSON, MINUTE, NOW, PENDING, StoreFault,
    StoreKind, WEBHOOK_URI, World, answer, label, request, row,
};

fn no_answer() -> EngineResult {
    Err(SendError::NoResponse("the connection was cut"))
}

#[on_each_store]
fn found_run_is_not_started_again() {
    for (uri, body) in [(WEBHOOK_URI, "{}"), (EVENT_URI, EVENT)] {
        let _row = row(uri);
        let world = World::with_operator().losing_responses();
        let reply = world.post_json(uri, body);
        assert_eq!(reply.outcome(), (202, Some("pending")));
        let label = label(&world.engine.effects.borrow()[0]).to_owned();
        world.engine.take_calls();
        world.engine.recover();
        world.clock.set(NOW + 10_999);
        assert_eq!(world.drain()["pending"], 1);
        assert!(world.engine.take_calls().is_empty(), "queried before engine_timeout_ms had passed");
        world.clock.set(NOW + 11_000);
        assert_eq!(world.drain()["delivered"], 1);
        assert_eq!(world.engine.take_calls(), [format!("find {label}")]);
        assert_eq!(world.engine.targets(), ["w"]);
        if uri == EVENT_URI {
            let again = world.post_json(uri, body);
            assert_eq!((again.outcome(), again.json()["id"].as_str()), ((200, Some("duplicate")), Some("run-0")));
        }
    }
}

#[on_each_store]
fn engine_timeout_ms_delays_the_lookup() {
    let world = World::with_operator().setting("engine_timeout_ms", 60_000).losing_responses();
    world.post_json(WEBHOOK_URI, "{}");
    world.engine.take_calls();
    world.engine.recover();
    for (at, lookups) in [(60_999, 0), (61_000, 1)] {
        world.clock.set(NOW + at);
        world.drain();
        assert_eq!(world.engine.take_calls().len(), lookups, "after {at} ms");
    }
}

#[on_each_store]
fn missing_run_is_started() {
    for (uri, body) in [(WEBHOOK_URI, "{}"), (EVENT_URI, EVENT)] {
        let _row = row(uri);
        let world = World::with_operator().result(no_answer());
        world.post_json(uri, body);
        world.engine.recover();
        world.advance(15_000);
        assert_eq!(world.drain()["delivered"], 1);
        assert_eq!(world.engine.take_verbs(), ["submit", "find", "submit"]);
        assert_eq!(world.engine.targets(), ["w"]);
    }
}

#[on_each_store]
fn unambiguous_failure_needs_no_lookup() {
    for result in [answer(503, ""), answer(401, ""), Err(SendError::NotSent("the connection was refused"))] {
        let _row = row(format!("{result:?}"));
        let world = World::with_operator().result(result);
        world.post_json(EVENT_URI, EVENT);
        world.engine.recover();
        world.advance(15_000);
        assert_eq!(world.drain()["delivered"], 1);
        assert_eq!(world.engine.take_verbs(), ["submit", "submit"]);
    }
}

#[on_each_store]
fn failed_lookup_leaves_the_delivery_ambiguous() {
    for (name, result, stopped) in [
        ("busy", answer(503, ""), Value::Null),
        ("unauthorized", answer(401, ""), Value::Null),
        ("not found", answer(404, ""), Value::Null),
        ("login page", answer(200, "<html>"), Value::Null),
        ("run without the label", answer(200, r#"{"content":[{"id":"other"}]}"#), Value::Null),
        ("no answer", no_answer(), Value::Null),
        ("unreachable", Err(SendError::NotSent("the connection was refused")), json!("unreachable")),
    ] {
        let _row = row(name);
        let world = World::with_operator().result(no_answer()).result(result);
        world.post_json(EVENT_URI, EVENT);
        world.advance(15_000);
        let drained = world.drain();
        assert_eq!((&drained["pending"], &drained["stopped"]), (&json!(1), &stopped));
        assert_eq!(world.engine.take_verbs(), ["submit", "find"], "nothing is sent again");
        let stored = world.only_pending();
        assert_eq!(stored["sent"], NOW);
        assert!(stored["history"][1][1].as_str().unwrap().starts_with("the lookup of its run failed: "), "{stored}");
        world.engine.recover();
        world.advance(60_000);
        assert_eq!(world.drain()["delivered"], 1);
        assert_eq!(world.engine.take_verbs(), ["find", "submit"]);
    }
}

#[on_each_store]
fn ambiguous_delivery_becomes_dead_letter() {
    let world = World::with_operator().result(no_answer());
    world.post_json(EVENT_URI, EVENT);
    for n in 0..200 {
        world.advance(HOUR / 4);
        world.engine.script(answer(401, ""));
        if world.drain()["dead"] == 1 {
            assert!((NOW + 24 * HOUR..NOW + 25 * HOUR).contains(&world.now()), "after {n} passes");
            break;
        }
    }
    assert_eq!(world.dead().len(), 1);
    assert!(world.engine.take_verbs()[1..].iter().all(|verb| verb == "find"));
    let id = world.dead().remove(0);
    // A redelivery queries the engine too.
    world.engine.recover();
    assert_eq!(world.as_operator("POST", &format!("/api/v2/deliveries/{id}/redeliver")).json()["state"], "delivered");
    assert_eq!(world.engine.take_verbs(), ["find", "submit"]);
}

#[on_each_store]
fn drain_crash_after_sending_leaves_an_ambiguous_delivery() {
    for (uri, body) in [(WEBHOOK_URI, "{}"), (EVENT_URI, EVENT)] {
        let _row = row(uri);
        let world = World::with_operator().unreachable();
        world.post_json(uri, body);
        world.engine.recover();
        world.engine.take_calls();
        // Moves the outage until it begins right after the attempt.
        let mut first_failing = 0;
        while world.engine.targets().is_empty() {
            first_failing += 1;
            assert!(first_failing < 40, "no attempt is made");
            world.fail_store(StoreFault::From(first_failing));
            world.as_operator("POST", DRAIN_URI);
            world.recover_store();
            world.advance(2 * MINUTE);
        }
        assert_eq!(world.engine.take_verbs().last().unwrap(), "submit");
        assert_eq!(world.pending().len(), 1);
        assert_eq!(world.drain()["delivered"], 1);
        assert_eq!(world.engine.take_verbs(), ["find"]);
        assert_eq!(world.engine.targets(), ["w"]);
    }
}

/// PostgreSQL settles a delivery in one statement.
#[test]
fn settled_delivery_is_not_sent_again() {
    StoreKind::KeyValue.choose();
    for (uri, body) in [(EVENT_URI, EVENT), (CALLBACK_URI, "{}")] {
        let _row = row(uri);
        let with_pending = || {
            let world = World::with_operator().unreachable();
            world.post_json(uri, body);
            world.engine.recover();
            world.restart_count();
            world
        };
        let sound = with_pending();
        sound.drain();
        let deletion = sound.store.position(&format!("delete {PENDING}"));
        let world = with_pending();
        world.fail_store(StoreFault::Once(deletion));
        world.as_operator("POST", DRAIN_URI).problem(503, "store-unavailable");
        world.recover_store();
        assert_eq!((world.engine.targets().len(), world.pending().len()), (1, 1));
        world.advance(MINUTE);
        world.engine.take_calls();
        assert_eq!(world.drain()["pending"], 0);
        assert!(world.engine.take_calls().is_empty() && world.pending().is_empty());
    }
}

/// Two contended callbacks for one task, whose claim was left by a claimant that stopped with the payload `claimed`
/// before it sent it.
fn contended(bodies: [&str; 2], claimed: &str) -> World {
    let world = World::with_operator().healthy();
    world.post_json(CALLBACK_URI, claimed);
    world.keep_claims();
    world.engine.effects.borrow_mut().clear();
    world.engine.ended.borrow_mut().clear();
    world.engine.take_calls();
    world.advance(1_000);
    for body in bodies {
        let (reply, rest) = world.run(world.handle(request("POST", CALLBACK_URI, &[JSON], body)));
        assert!(rest.is_none(), "the drain decides which is sent");
        assert_eq!(reply.outcome(), (202, Some("pending")));
        world.advance(1);
    }
    assert!(world.engine.take_calls().is_empty());
    world.advance(20_000);
    world
}

/// The payloads of the callbacks that the engine accepted.
fn payloads(world: &World) -> Vec<Value> {
    world.engine.effects.borrow().iter().map(|run| run["results"][0]["value"].clone()).collect()
}

/// PostgreSQL keeps no copy of a contended callback: `postgres_differences.rs`.
#[test]
fn one_of_the_contended_callbacks_is_sent() {
    StoreKind::KeyValue.choose();
    let [one, two] = [r#"{"n":1}"#, r#"{"n":2}"#];
    // Looks show that the stopped claimant's callback has had no effect, so the first of the others is sent.
    for (bodies, sent, rejected, dropped) in
        [([one, one], 1, 0, 1), ([one, two], 1, 1, 0), ([two, two], 2, 0, 1), ([two, one], 2, 1, 0)]
    {
        let _row = row(format!("{bodies:?}"));
        let world = contended(bodies, one);
        let drained = world.drain();
        let counts = ["delivered", "rejected", "dropped"].map(|name| drained[name].as_u64().unwrap());
        assert_eq!(counts, [1, rejected, dropped], "{drained}");
        assert_eq!(payloads(&world), [json!({"n": sent})]);
        let record = world.as_operator("GET", "/api/v2/callbacks/r?topic=t").json();
        assert_eq!((&record["payload"], &record["state"]), (&json!({"n": sent}), &json!("delivered")));
        let list = world.as_operator("GET", "/api/v2/deliveries?state=dead").json();
        let dead = list["deliveries"].as_array().unwrap();
        for dead in dead {
            assert_eq!(dead["last_failure"], "another callback for this run and topic was accepted first");
        }
        assert_eq!(dead.len() as u64, rejected);
    }
}

/// The stopped claimant has sent its callback: what ended the task is its payload, whatever the status of the others.
///
/// PostgreSQL keeps no copy of a contended callback: `postgres_differences.rs`.
#[test]
fn contended_callback_is_a_duplicate_only_if_it_equals_the_one_that_was_sent() {
    StoreKind::KeyValue.choose();
    let [one, two] = [r#"{"n":1}"#, r#"{"n":2}"#];
    for (body, expected) in [(one, [0, 0, 2]), (two, [0, 2, 0])] {
        let _row = row(body);
        let world = contended([body, body], one);
        let end = ("r".to_owned(), "t".to_owned(), "succeeded".to_owned());
        world.engine.ended.borrow_mut().push(end);
        let drained = world.drain();
        let counts = ["delivered", "rejected", "dropped"].map(|name| drained[name].as_u64().unwrap());
        assert_eq!(counts, expected, "{drained}");
        assert!(world.engine.take_calls().is_empty(), "sent to a task that has ended");
        let list = world.as_operator("GET", "/api/v2/deliveries?state=dead").json();
        for dead in list["deliveries"].as_array().unwrap() {
            let ended = "the task that waited for the topic has ended, with status succeeded";
            assert_eq!(dead["last_failure"], ended);
        }
    }
}

/// A drain has recorded the copy as the one that has the task, and has stopped before it sent it. Then the event of the
/// stopped claimant, which the engine has received, ends the task.
///
/// PostgreSQL keeps no copy of a contended callback: `postgres_differences.rs`.
#[test]
fn callback_of_a_stopped_claimant_counts_although_a_copy_has_taken_its_task_over() {
    StoreKind::KeyValue.choose();
    let [one, two] = [r#"{"n":1}"#, r#"{"n":2}"#];
    for (copy, expected) in [(one, [0, 0, 1]), (two, [0, 1, 0])] {
        let _row = row(copy);
        let with_copy = || {
            let world = World::with_operator().slow(100);
            world.run(async {
                let claimant = pin!(world.handle(request("POST", CALLBACK_URI, &[JSON], one)));
                select(claimant, pin!(world.sleep(Duration::from_millis(50)))).await;
            });
            world.engine.recover();
            assert_eq!(world.post_json(CALLBACK_URI, copy).outcome(), (202, Some("pending")));
            world.advance(20_000);
            world.store.take_cost();
            world
        };
        let sound = with_copy();
        sound.drain();
        let taken_over = sound.store.position("set sluice:callback:");
        let world = with_copy();
        world.store.fail(StoreFault::From(taken_over + 1));
        world.as_operator("POST", DRAIN_URI).problem(503, "store-unavailable");
        world.store.recover();
        assert_eq!(world.remembered(), 1, "the copy has the task");
        world.engine.take_calls();

        world.engine.ended.borrow_mut().push(("r".to_owned(), "t".to_owned(), "succeeded".to_owned()));
        world.advance(MINUTE);
        let drained = world.drain();
        let counts = ["delivered", "rejected", "dropped"].map(|name| drained[name].as_u64().unwrap());
        assert_eq!(counts, expected, "{drained}");
        assert!(world.engine.take_calls().is_empty(), "sent to a task that has ended");
        assert_eq!(world.post_json(CALLBACK_URI, one).outcome(), (200, Some("duplicate")));
        world.post_json(CALLBACK_URI, two).problem(409, "callback-conflict");
    }
}

/// PostgreSQL keeps no copy of a contended callback: `postgres_differences.rs`.
#[test]
fn rejected_first_callback_does_not_count() {
    StoreKind::KeyValue.choose();
    let world = contended([r#"{"n":2}"#, r#"{"n":3}"#], r#"{"n":1}"#);
    world.engine.script(answer(422, ""));
    let drained = world.drain();
    assert_eq!((&drained["delivered"], &drained["rejected"]), (&json!(1), &json!(1)), "{drained}");
    assert_eq!(payloads(&world), [json!({"n": 3})]);
    let dead = world.as_operator("GET", "/api/v2/deliveries?state=dead").json();
    assert_eq!(dead["deliveries"][0]["last_failure"], "the engine answered 422");
}

/// PostgreSQL keeps no copy of a contended callback: `postgres_differences.rs`.
#[test]
fn undeliverable_first_callback_keeps_its_claim() {
    StoreKind::KeyValue.choose();
    for (second, rejected, dropped) in [(r#"{"n":2}"#, 0, 1), (r#"{"n":3}"#, 1, 0)] {
        let _row = row(second);
        let world = contended([r#"{"n":2}"#, second], r#"{"n":1}"#);
        world.engine.script(answer(503, ""));
        let drained = world.drain();
        let counts = ["pending", "rejected", "dropped"].map(|name| drained[name].as_u64().unwrap());
        assert_eq!(counts, [1, rejected, dropped], "{drained}");
        world.advance(60_000);
        assert_eq!(world.drain()["delivered"], 1);
        assert_eq!(payloads(&world), [json!({"n": 2})]);
    }
}

#[on_each_store]
fn contended_delivery_is_dropped_once_the_key_is_settled() {
    let world = World::with_operator().slow(100);
    world.run(async {
        let (first, second) = join(
            world.serve(request("POST", EVENT_URI, &[JSON, ("prefer", "wait=10")], EVENT)),
            world.serve(request("POST", EVENT_URI, &[JSON, ASYNC], EVENT)),
        )
        .await;
        assert_eq!((first.status(), second.outcome()), (200, (200, Some("duplicate"))));
    });
    // With a slower engine the second request can't wait for the first, and is contended.
    let world = World::with_operator().slow(1_000);
    world.run(async {
        let (first, second) = join(
            world.serve(request("POST", EVENT_URI, &[JSON], EVENT)),
            world.serve(request("POST", EVENT_URI, &[JSON, ASYNC], EVENT)),
        )
        .await;
        assert_eq!((first.status(), second.outcome()), (200, world.contended()));
    });
    world.advance(20_000);
    world.engine.take_calls();
    assert_eq!(world.drain()["dropped"], u64::from(world.kind() == StoreKind::KeyValue));
    assert!(world.engine.take_calls().is_empty() && world.pending().is_empty());
}

/// PostgreSQL refuses the other payload: `postgres_differences.rs`.
#[test]
fn other_payload_under_a_contended_key_becomes_dead_letter() {
    StoreKind::KeyValue.choose();
    let world = World::with_operator().slow(1_000);
    let headers = |prefer| [JSON, ("idempotency-key", "k"), ("prefer", prefer)];
    world.run(async {
        let (first, second) = join(
            world.serve(request("POST", WEBHOOK_URI, &headers("wait=2"), r#"{"n":1}"#)),
            world.serve(request("POST", WEBHOOK_URI, &headers("respond-async"), r#"{"n":2}"#)),
        )
        .await;
        assert_eq!((first.status(), second.outcome()), (200, (202, Some("pending"))));
    });
    world.advance(20_000);
    assert_eq!(world.drain()["rejected"], 1);
    let dead = world.as_operator("GET", "/api/v2/deliveries?state=dead").json();
    assert_eq!(dead["deliveries"][0]["last_failure"], "the idempotency key was used with another payload first");
    assert_eq!(world.engine.targets(), ["w"]);
}
