//! Batches of CloudEvents: validated as a whole, then delivered one by one, with one response for all.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::fake::{ASYNC, EVENT_URI, Lag, MINUTE, OPERATOR, RUN, Reply, StoreFault, StoreKind, World, request, row};

const BATCH: (&str, &str) = ("content-type", "application/cloudevents-batch+json");

fn event(id: impl ToString) -> Value {
    json!({"specversion": "1.0", "id": id.to_string(), "source": "/s", "type": "t", "data": {"n": 1}})
}

fn batch(events: &[Value]) -> String {
    serde_json::to_string(events).unwrap()
}

fn batch_of(count: usize) -> String {
    batch(&(0..count).map(event).collect::<Vec<_>>())
}

fn post(world: &World, uri: &str, body: &str) -> Reply {
    world.post(uri, &[BATCH], body)
}

/// The outcomes of the listed deliveries, in order.
fn outcomes(body: &Value) -> Vec<&str> {
    body["deliveries"].as_array().unwrap().iter().map(|listed| listed["outcome"].as_str().unwrap()).collect()
}

#[on_each_store]
fn each_event_is_its_own_delivery() {
    let world = World::with_operator().healthy();
    let other = json!({"specversion": "1.0", "id": "1", "source": "/other", "type": "t", "subject": "/x/topic"});
    let mut plain = event(0);
    plain["subject"] = "/w/topic".into();
    let reply = post(&world, "/api/v2/event", &batch(&[other, plain]));
    assert_eq!(reply.outcome(), (200, Some("delivered")));
    assert_eq!(reply.header("content-type"), Some("application/json"));
    let list = &reply.json()["deliveries"];
    for (at, (id, source, workflow)) in [("1", "/other", "x"), ("0", "/s", "w")].into_iter().enumerate() {
        let _row = row(workflow);
        let listed = &list[at];
        let run = world.engine.effects.borrow().iter().find(|run| run["target"] == workflow).unwrap()["id"].clone();
        let expected = json!({
            "id": id, "source": source, "workflow": workflow, "outcome": "delivered", "run": run,
            "delivery": listed["delivery"],
        });
        assert_eq!(*listed, expected);
        assert_eq!(listed["delivery"].as_str().unwrap().len(), 26);
    }
    assert_eq!(reply.log["deliveries"], 2);
    assert_eq!(world.engine.targets(), ["x", "w"]);
    // The engine gets the event byte for byte as it is in the batch.
    let body =
        r#"[ {"specversion":"1.0","id":"n","source":"/s","type":"t","data":{"n":1.50,"n2":12345678901234567890}} ]"#;
    assert_eq!(post(&world, EVENT_URI, body).status(), 200);
    let received = world.engine.received.borrow();
    let sent = std::str::from_utf8(received.last().unwrap().request.body()).unwrap();
    assert!(sent.contains(body.trim_matches(['[', ']', ' '])), "{sent}");
}

#[on_each_store]
fn repeated_batch_starts_each_run_once() {
    const COUNT: usize = 500;
    let world = World::with_operator().healthy();
    let first = post(&world, EVENT_URI, &batch_of(COUNT));
    let listed = first.json();
    assert_eq!((first.outcome(), outcomes(&listed).len()), ((200, Some("delivered")), COUNT));
    let runs: BTreeSet<_> =
        listed["deliveries"].as_array().unwrap().iter().map(|listed| listed["run"].to_string()).collect();
    assert_eq!((runs.len(), world.engine.targets().len()), (COUNT, COUNT));
    world.advance(1_000);
    let repeated = post(&world, EVENT_URI, &batch_of(COUNT));
    assert_eq!(repeated.outcome(), (200, Some("duplicate")));
    assert!(outcomes(&repeated.json()).iter().all(|outcome| *outcome == "duplicate"));
    assert_eq!(repeated.json()["deliveries"][7]["run"], listed["deliveries"][7]["run"]);
    assert_eq!(world.engine.targets().len(), COUNT);
    let forced = post(&world, &format!("{EVENT_URI}&dedup=off"), &batch_of(3));
    assert_eq!(forced.outcome(), (200, Some("delivered")));
    assert_eq!(world.engine.targets().len(), COUNT + 3);
}

#[on_each_store]
fn invalid_event_rejects_the_whole_batch() {
    let mut events: Vec<_> = (0..500).map(event).collect();
    events[3]["source"] = "".into();
    events[77]["time"] = "yesterday".into();
    events[499]["Bad"] = 1.into();
    let world = World::with_operator();
    let problem = post(&world, EVENT_URI, &batch(&events)).problem(400, "invalid-event");
    let named: Vec<_> = problem["events"]
        .as_array()
        .unwrap()
        .iter()
        .map(|event| json!([event["index"], event["id"], event["field"]]))
        .collect();
    assert_eq!(named, [json!([3, "3", "source"]), json!([77, "77", "time"]), json!([499, "499", "Bad"])]);
    assert!(problem["detail"].as_str().unwrap().starts_with("3 of the batch's events"), "{problem}");
    assert!(problem["events"][1]["detail"].as_str().unwrap().contains("RFC 3339"), "{problem}");
    world.assert_untouched();

    // An event that names no workflow, or an impossible one, is invalid too.
    let mut unroutable = event(1);
    unroutable["subject"] = "/a%2f/b".into();
    let problem = post(&world, "/api/v2/event", &batch(&[event(0), unroutable])).problem(400, "invalid-event");
    assert_eq!((&problem["events"][0]["field"], &problem["events"][1]["field"]), (&json!("ref"), &json!("subject")));
    // The list of invalid events is bounded.
    let many = post(&world, EVENT_URI, &format!("[{}{{}}]", "{},".repeat(20_000)));
    assert_eq!(many.problem(400, "invalid-event")["events"].as_array().unwrap().len(), 100);
    for (name, body, slug, status) in [
        ("empty body", "", "invalid-body", 400),
        ("object", "{}", "invalid-body", 400),
        ("array of a number", "[1]", "invalid-body", 400),
    ] {
        let _row = row(name);
        post(&world, EVENT_URI, body).problem(status, slug);
    }
    world.assert_untouched();
}

#[on_each_store]
fn empty_batch_starts_nothing() {
    let world = World::new();
    let reply = post(&world, EVENT_URI, "[]");
    assert_eq!((reply.outcome(), reply.json()), ((200, Some("unmatched")), json!({"deliveries": []})));
    world.assert_untouched();
}

#[on_each_store]
fn events_not_attempted_in_time_are_stored() {
    // Eight at a time, one second each: within 2.5 s, 16 are answered and 8 are under way.
    let world = World::with_operator().slow(1_000);
    let (reply, rest) = world.run(world.handle(request("POST", EVENT_URI, &[BATCH], batch_of(40))));
    assert_eq!(reply.outcome(), (202, Some("pending")));
    let listed = reply.json();
    let count = |outcome: &str| outcomes(&listed).iter().filter(|had| **had == outcome).count();
    assert_eq!((count("delivered"), count("pending")), (16, 24));
    assert_eq!(world.pending().len(), 24);
    // The eight complete after the response; the drain delivers the others.
    world.engine.latency.set(10);
    world.run(world.finish(rest));
    while world.drain()["pending"] != 0 {
        world.advance(MINUTE);
    }
    assert_eq!(world.engine.targets().len(), 40);
    assert!(world.pending().is_empty());

    let world = World::with_operator().unreachable();
    let reply = post(&world, EVENT_URI, &batch_of(20));
    assert_eq!((reply.outcome(), outcomes(&reply.json())), ((202, Some("pending")), vec!["pending"; 20]));
    world.engine.recover();
    world.drain();
    assert_eq!(world.engine.targets().len(), 20);

    let world = World::with_operator().healthy();
    let (reply, rest) = world.run(world.handle(request("POST", EVENT_URI, &[BATCH, ASYNC], batch_of(20))));
    assert_eq!((reply.outcome(), reply.header("preference-applied")), ((202, Some("pending")), Some("respond-async")));
    assert!(world.engine.received.borrow().is_empty());
    world.run(world.finish(rest));
    assert_eq!(world.engine.targets().len(), 20);
}

#[on_each_store]
fn events_not_taken_in_time_are_told_one_by_one() {
    let world = World::with_operator().unreachable();
    // 20 s are not enough for all events. Each has several operations in a key-value store, and few in a database.
    let operation = if world.kind() == StoreKind::KeyValue { 1_000 } else { 4_000 };
    world.set_lag(Some(Lag { operation, stale: 0 }));
    let problem = post(&world, EVENT_URI, &batch_of(60)).problem(503, "out-of-time");
    assert_eq!(problem["retry"], "safe");
    let listed = problem["deliveries"].as_array().unwrap();
    let taken = listed.iter().filter(|listed| listed["outcome"] == "pending").count();
    let told = listed.iter().filter(|listed| listed["problem"]["type"].to_string().contains("out-of-time")).count();
    assert!(taken >= 8 && told >= 8 && taken + told == 60, "{taken} taken, {told} not");
    assert_eq!(world.pending().len(), taken);
    // The same batch again is not repeated, but completed.
    world.set_lag(None);
    world.engine.recover();
    assert_eq!(post(&world, EVENT_URI, &batch_of(60)).status(), 202);
    world.advance(MINUTE);
    world.drain();
    assert_eq!(world.engine.targets().len(), 60);
}

#[on_each_store]
fn broker_gets_empty_response() {
    for (name, world, status) in
        [("healthy", World::new().healthy(), 204), ("unreachable", World::new().unreachable(), 202)]
    {
        let reply = world.post(EVENT_URI, &[BATCH, ("prefer", "reply")], batch_of(3));
        assert_eq!((reply.status(), reply.text(), reply.header("content-type")), (status, "", None), "{name}");
    }
}

#[on_each_store]
fn rejected_events_are_listed_beside_accepted_ones() {
    let world =
        World::with_operator().respond(200, RUN).respond(422, r#"{"reason":"WORKFLOW_INACTIVE"}"#).respond(200, RUN);
    let problem = post(&world, EVENT_URI, &batch_of(3)).problem(422, "rejected");
    assert_eq!(outcomes(&problem), ["delivered", "rejected", "delivered"]);
    let rejected = &problem["deliveries"][1]["problem"];
    assert_eq!((&rejected["status"], &rejected["retry"]), (&json!(422), &json!("fix-first")));
    assert!(problem["detail"].as_str().unwrap().starts_with("1 of 3 deliveries was rejected"), "{problem}");
    // In a repeated batch, the accepted events are duplicates.
    world.engine.recover();
    let repeated = post(&world, EVENT_URI, &batch_of(3));
    assert_eq!(outcomes(&repeated.json()), ["duplicate", "delivered", "duplicate"]);
    assert_eq!(world.engine.targets().len(), 1);
}

/// Whichever operation of the store fails, a repeated batch ends with one run for each event.
#[on_each_store]
fn failing_store_loses_no_event() {
    for fault in StoreFault::each(60) {
        let _row = row(format!("{fault:?}"));
        let world = World::with_operator().healthy();
        world.fail_store(fault);
        let reply = post(&world, EVENT_URI, &batch_of(4));
        if reply.status() >= 300 {
            let problem = reply.problem(503, "store-unavailable");
            assert_eq!((&problem["retry"], reply.header("retry-after")), (&json!("safe"), Some("5")));
        }
        world.recover_store();
        for _ in 0..3 {
            // By then the claims of failed requests are stale.
            world.advance(MINUTE);
            post(&world, EVENT_URI, &batch_of(4));
            world.send(request("POST", "/api/v2/deliveries/drain", &[OPERATOR], ""));
        }
        world.advance(20 * MINUTE);
        world.drain();
        assert_eq!(world.engine.targets().len(), 4);
        assert!(world.pending().is_empty());
    }
}
