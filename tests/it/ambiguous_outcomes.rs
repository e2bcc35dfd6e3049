//! What the engine may have acted on: it is asked for the delivery's label before anything is sent again.

use http::Response;
use serde_json::{Value, json};
use sluice::ports::SendError;

use crate::fake::{ASYNC, EVENT, JSON, NOW, World, request};

const HOOK: &str = "/api/v2/webhook?ref=w";
const ON_EVENT: &str = "/api/v2/event?ref=w";
const ON_CALLBACK: &str = "/api/v2/callback?ref=r&topic=t";
const HOUR: u64 = 3_600_000;

fn verbs(world: &World) -> Vec<String> {
    world.calls().iter().map(|call| call.split(' ').next().unwrap().to_owned()).collect()
}

fn unanswered() -> Result<Response<Vec<u8>>, SendError> {
    Err(SendError::NoAnswer("the connection was cut"))
}

#[test]
fn found_run_is_not_started_again() {
    for (uri, body) in [(HOOK, "{}"), (ON_EVENT, EVENT)] {
        let world = World::operated().cut();
        let reply = world.json(uri, body);
        assert_eq!(reply.outcome(), (202, Some("pending")), "{uri}");
        let label = world.runs.borrow()[0]["labels"]["sluice.dev/delivery"].as_str().unwrap().to_owned();
        world.calls();
        world.heal();
        world.now.set(NOW + 10_999);
        assert_eq!(world.drain()["pending"], 1);
        assert!(world.calls().is_empty(), "not before engine_timeout_ms since it was sent");
        world.now.set(NOW + 11_000);
        assert_eq!(world.drain()["delivered"], 1, "{uri}");
        assert_eq!(world.calls(), [format!("find {label}")]);
        assert_eq!(world.acted(), ["w"]);
        if uri == ON_EVENT {
            let again = world.json(uri, body);
            assert_eq!((again.outcome(), again.json()["id"].as_str()), ((200, Some("duplicate")), Some("run-0")));
        }
    }
}

#[test]
fn engine_timeout_ms_delays_the_lookup() {
    let world = World::operated().with("engine_timeout_ms", "60000").cut();
    world.json(HOOK, "{}");
    world.calls();
    world.heal();
    for (at, asked) in [(60_999, 0), (61_000, 1)] {
        world.now.set(NOW + at);
        world.drain();
        assert_eq!(world.calls().len(), asked, "{at}");
    }
}

#[test]
fn missing_run_is_started() {
    for (uri, body) in [(HOOK, "{}"), (ON_EVENT, EVENT)] {
        let world = World::operated().scripted(unanswered());
        world.json(uri, body);
        world.heal();
        world.pass(15_000);
        assert_eq!(world.drain()["delivered"], 1);
        assert_eq!(verbs(&world), ["submit", "find", "submit"], "{uri}");
        assert_eq!(world.acted(), ["w"]);
    }
}

#[test]
fn unambiguous_failure_needs_no_lookup() {
    for scripted in [
        Ok(Response::builder().status(503).body(vec![]).unwrap()),
        Ok(Response::builder().status(401).body(vec![]).unwrap()),
        Err(SendError::NotSent("the connection was refused")),
    ] {
        let world = World::operated().scripted(scripted);
        world.json(ON_EVENT, EVENT);
        world.heal();
        world.pass(15_000);
        assert_eq!(world.drain()["delivered"], 1);
        assert_eq!(verbs(&world), ["submit", "submit"]);
    }
}

#[test]
fn failed_lookup_leaves_the_delivery_ambiguous() {
    let answer = |status: u16, body: &str| Ok(Response::builder().status(status).body(body.into()).unwrap());
    for (scripted, stopped) in [
        (answer(503, ""), Value::Null),
        (answer(401, ""), Value::Null),
        (answer(404, ""), Value::Null),
        (answer(200, "<html>"), Value::Null),
        (answer(200, r#"{"content":[{"id":"other"}]}"#), Value::Null),
        (unanswered(), Value::Null),
        (Err(SendError::NotSent("the connection was refused")), json!("unreachable")),
    ] {
        let world = World::operated().scripted(unanswered()).scripted(scripted);
        world.json(ON_EVENT, EVENT);
        world.pass(15_000);
        let drained = world.drain();
        assert_eq!((&drained["pending"], &drained["stopped"]), (&json!(1), &stopped));
        assert_eq!(verbs(&world), ["submit", "find"], "it is not sent");
        let stored = world.only_stored("sluice/pending/");
        assert_eq!(stored["sent"], NOW);
        assert!(stored["history"][1][1].as_str().unwrap().starts_with("the look-up of its run failed: "), "{stored}");
        world.heal();
        world.pass(60_000);
        assert_eq!(world.drain()["delivered"], 1);
        assert_eq!(verbs(&world), ["find", "submit"]);
    }
}

#[test]
fn ambiguous_delivery_becomes_dead_letter() {
    let world = World::operated().scripted(unanswered());
    world.json(ON_EVENT, EVENT);
    for n in 0..200 {
        world.pass(HOUR / 4);
        world.script(Ok(Response::builder().status(401).body(vec![]).unwrap()));
        if world.drain()["dead"] == 1 {
            assert!((NOW + 24 * HOUR..NOW + 25 * HOUR).contains(&world.now.get()), "after {n} passes");
            break;
        }
    }
    assert_eq!(world.keys("sluice/dead/").len(), 1);
    assert!(verbs(&world)[1..].iter().all(|verb| verb == "find"));
    let id = world.keys("sluice/dead/").remove(0);
    // Redelivered, it is still in doubt.
    world.heal();
    assert_eq!(world.operate("POST", &format!("/api/v2/deliveries/{id}/redeliver")).json()["state"], "delivered");
    assert_eq!(verbs(&world), ["find", "submit"]);
}

#[test]
fn drain_crash_after_sending_leaves_an_ambiguous_delivery() {
    for (uri, body) in [(HOOK, "{}"), (ON_EVENT, EVENT)] {
        let world = World::operated().down();
        world.json(uri, body);
        world.heal();
        world.calls();
        // Every write after the send fails.
        let mut failing = 0;
        while world.acted().is_empty() {
            failing += 1;
            assert!(failing < 40);
            world.cost();
            world.failing_operation.set(Some(failing));
            world.outage.set(true);
            world.operate("POST", "/api/v2/deliveries/drain");
            world.failing_operation.set(None);
            world.pass(120_000);
        }
        assert_eq!(verbs(&world).last().unwrap(), "submit", "{uri}");
        assert_eq!(world.keys("sluice/pending/").len(), 1);
        assert_eq!(world.drain()["delivered"], 1, "{uri}");
        assert_eq!(verbs(&world), ["find"]);
        assert_eq!(world.acted(), ["w"]);
    }
}

#[test]
fn settled_delivery_is_not_sent_again() {
    for (uri, body) in [(ON_EVENT, EVENT), (ON_CALLBACK, "{}")] {
        let made = || {
            let world = World::operated().down();
            world.json(uri, body);
            world.heal();
            world.cost();
            world
        };
        let sound = made();
        sound.drain();
        let last = sound.operations.borrow().iter().position(|op| op.starts_with("delete sluice/pending/")).unwrap();
        let world = made();
        world.failing_operation.set(Some(last));
        world.operate("POST", "/api/v2/deliveries/drain").problem(503, "store-unavailable");
        world.failing_operation.set(None);
        assert_eq!((world.acted().len(), world.keys("sluice/pending/").len()), (1, 1), "{uri}");
        world.pass(60_000);
        world.calls();
        assert_eq!(world.drain()["pending"], 0, "{uri}");
        assert!(world.calls().is_empty() && world.keys("sluice/pending/").is_empty(), "{uri}");
    }
}

/// Two callbacks for one wait whose winner was stopped, or had none: their copies, and the flag of the first or of
/// another.
fn copies(bodies: [&str; 2], flag_of: &str) -> World {
    let world = World::operated().well();
    world.json(ON_CALLBACK, flag_of);
    world.store.borrow_mut().retain(|key, _| key.starts_with("sluice/flag/") || key.starts_with("sluice/door/"));
    world.runs.borrow_mut().clear();
    world.calls();
    world.pass(1_000);
    for body in bodies {
        let reply = world.run(world.answer(request("POST", ON_CALLBACK, &[JSON, ASYNC], body))).0;
        assert_eq!(reply.outcome(), (202, Some("pending")));
        world.pass(1);
    }
    assert!(world.calls().is_empty());
    world.pass(20_000);
    world
}

fn said(world: &World) -> Vec<Value> {
    world.runs.borrow().iter().map(|run| run["results"][0]["value"].clone()).collect()
}

#[test]
fn one_of_the_contended_callbacks_is_sent() {
    let [one, two] = [r#"{"n":1}"#, r#"{"n":2}"#];
    for (bodies, flag_of, sent, counts) in [
        ([one, one], one, vec![1], (1, 0, 1)),
        ([one, two], one, vec![1], (1, 1, 0)),
        // The first may have been sent by a winner that was stopped: it is the first, and the copies say something else.
        ([two, two], one, vec![1], (0, 2, 0)),
        ([two, one], one, vec![1], (0, 1, 1)),
    ] {
        let world = copies(bodies, flag_of);
        let drained = world.drain();
        let found = ["delivered", "rejected", "dropped"].map(|name| drained[name].as_u64().unwrap());
        assert_eq!((found[0], found[1], found[2]), counts, "{bodies:?} {drained}");
        assert_eq!(said(&world), sent.iter().map(|n| json!({ "n": n })).collect::<Vec<_>>(), "{bodies:?}");
        let record = world.operate("GET", "/api/v2/callbacks/r?topic=t").json();
        assert_eq!((&record["payload"], &record["state"]), (&json!({"n": 1}), &json!("delivered")));
        let dead = world.operate("GET", "/api/v2/deliveries?state=dead").json();
        for dead in dead["deliveries"].as_array().unwrap() {
            assert_eq!(dead["last_failure"], "another callback for this run and topic was accepted first");
        }
        assert_eq!(dead["deliveries"].as_array().unwrap().len() as u64, counts.1);
    }
}

#[test]
fn rejected_first_callback_does_not_count() {
    let world = copies([r#"{"n":2}"#, r#"{"n":2}"#], r#"{"n":1}"#);
    world.script(Ok(Response::builder().status(422).body(vec![]).unwrap()));
    let drained = world.drain();
    assert_eq!((&drained["delivered"], &drained["dropped"]), (&json!(1), &json!(1)), "{drained}");
    assert_eq!(said(&world), [json!({"n": 2})]);
}

#[test]
fn undeliverable_first_callback_keeps_others_waiting() {
    let world = copies([r#"{"n":2}"#, r#"{"n":2}"#], r#"{"n":1}"#);
    world.script(Ok(Response::builder().status(503).body(vec![]).unwrap()));
    world.script(Ok(Response::builder().status(503).body(vec![]).unwrap()));
    assert_eq!(world.drain()["pending"], 2);
    world.pass(60_000);
    assert_eq!(world.drain()["rejected"], 2);
    assert_eq!(said(&world), [json!({"n": 1})]);
}

#[test]
fn contended_delivery_is_dropped_once_the_key_is_settled() {
    let world = World::operated().slow(100);
    world.run(async {
        let (first, second) = futures_util::future::join(
            world.answer(request("POST", ON_EVENT, &[JSON, ("prefer", "wait=10")], EVENT)),
            world.answer(request("POST", ON_EVENT, &[JSON, ASYNC], EVENT)),
        )
        .await;
        assert_eq!((first.0.status(), second.0.outcome()), (200, (200, Some("duplicate"))));
    });
    // A slower one leaves the second no choice.
    let world = World::operated().slow(1_000);
    world.run(async {
        let (first, second) = futures_util::future::join(
            world.answer(request("POST", ON_EVENT, &[JSON], EVENT)),
            world.answer(request("POST", ON_EVENT, &[JSON, ASYNC], EVENT)),
        )
        .await;
        assert_eq!((first.0.status(), second.0.outcome()), (200, (202, Some("pending"))));
    });
    world.pass(20_000);
    world.calls();
    assert_eq!(world.drain()["dropped"], 1);
    assert!(world.calls().is_empty() && world.keys("sluice/pending/").is_empty());
}

#[test]
fn other_payload_under_a_contended_key_becomes_dead_letter() {
    let world = World::operated().slow(1_000);
    let headers = |prefer| [JSON, ("idempotency-key", "k"), ("prefer", prefer)];
    world.run(async {
        let (first, second) = futures_util::future::join(
            world.answer(request("POST", HOOK, &headers("wait=2"), r#"{"n":1}"#)),
            world.answer(request("POST", HOOK, &headers("respond-async"), r#"{"n":2}"#)),
        )
        .await;
        assert_eq!((first.0.status(), second.0.outcome()), (200, (202, Some("pending"))));
    });
    world.pass(20_000);
    assert_eq!(world.drain()["rejected"], 1);
    let dead = world.operate("GET", "/api/v2/deliveries?state=dead").json();
    assert_eq!(dead["deliveries"][0]["last_failure"], "the idempotency key was used with another payload first");
    assert_eq!(world.acted(), ["w"]);
}
