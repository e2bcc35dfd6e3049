//! Batches of CloudEvents: checked whole before any is taken, then each a delivery of its own; one answer for all.

use serde_json::{Value, json};

use crate::fake::{OPERATOR, RUN, Reply, World, request};

const BATCH: (&str, &str) = ("content-type", "application/cloudevents-batch+json");
const ON: &str = "/api/v2/event?ref=w";

fn event(id: impl ToString) -> Value {
    json!({"specversion": "1.0", "id": id.to_string(), "source": "/s", "type": "t", "data": {"n": 1}})
}

fn batch(events: &[Value]) -> String {
    serde_json::to_string(events).unwrap()
}

fn of(count: usize) -> String {
    batch(&(0..count).map(event).collect::<Vec<_>>())
}

fn post(world: &World, uri: &str, body: &str) -> Reply {
    world.post(uri, &[BATCH], body)
}

/// The outcomes of a list, in order.
fn outcomes(reply: &Reply) -> Vec<String> {
    let list = reply.json()["deliveries"].as_array().unwrap().clone();
    list.iter().map(|listed| listed["outcome"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn each_event_is_its_own_delivery() {
    let world = World::operated().well();
    let other = json!({"specversion": "1.0", "id": "1", "source": "/other", "type": "t", "subject": "/x/topic"});
    let reply = post(
        &world,
        "/api/v2/event",
        &batch(&[other.clone(), {
            let mut event = event(0);
            event["subject"] = "/w/topic".into();
            event
        }]),
    );
    assert_eq!(reply.outcome(), (200, Some("delivered")));
    assert_eq!(reply.header("content-type"), Some("application/json"));
    let list = &reply.json()["deliveries"];
    for (at, (id, source, workflow)) in [("1", "/other", "x"), ("0", "/s", "w")].into_iter().enumerate() {
        let listed = &list[at];
        assert_eq!(
            (&listed["id"], &listed["source"], &listed["workflow"]),
            (&json!(id), &json!(source), &json!(workflow))
        );
        assert_eq!(
            (listed["outcome"].as_str(), listed["delivery"].as_str().map(str::len)),
            (Some("delivered"), Some(26))
        );
        let run = world.runs.borrow().iter().find(|run| run["of"] == workflow).unwrap()["id"].clone();
        assert_eq!(listed["run"], run);
    }
    assert_eq!(reply.log["deliveries"], 2);
    assert_eq!(world.acted(), ["x", "w"]);
    // The event goes to the engine as it stands in the batch, to the byte.
    let body =
        r#"[ {"specversion":"1.0","id":"n","source":"/s","type":"t","data":{"n":1.50,"n2":12345678901234567890}} ]"#;
    assert_eq!(post(&world, ON, body).status(), 200);
    let sent = world.sent.borrow();
    let sent = std::str::from_utf8(sent.last().unwrap().request.body()).unwrap();
    assert!(sent.contains(body.trim_matches(['[', ']', ' '])), "{sent}");
}

#[test]
fn repeated_batch_starts_each_run_once() {
    let world = World::operated().well();
    let reply = post(&world, ON, &of(500));
    assert_eq!((reply.outcome(), outcomes(&reply).len()), ((200, Some("delivered")), 500));
    let runs: std::collections::BTreeSet<_> =
        reply.json()["deliveries"].as_array().unwrap().iter().map(|listed| listed["run"].to_string()).collect();
    assert_eq!((runs.len(), world.acted().len()), (500, 500));
    world.pass(1_000);
    let again = post(&world, ON, &of(500));
    assert_eq!(again.outcome(), (200, Some("duplicate")));
    assert!(outcomes(&again).iter().all(|outcome| outcome == "duplicate"));
    assert_eq!(again.json()["deliveries"][7]["run"], reply.json()["deliveries"][7]["run"]);
    assert_eq!(world.acted().len(), 500);
    // Unless it is wanted.
    assert_eq!(post(&world, &format!("{ON}&dedup=off"), &of(3)).outcome(), (200, Some("delivered")));
    assert_eq!(world.acted().len(), 503);
}

#[test]
fn invalid_event_rejects_the_whole_batch() {
    let mut events: Vec<_> = (0..500).map(event).collect();
    events[3]["source"] = "".into();
    events[77]["time"] = "yesterday".into();
    events[499]["Bad"] = 1.into();
    let world = World::operated();
    let reply = post(&world, ON, &batch(&events));
    let problem = reply.problem(400, "invalid-event");
    let named: Vec<_> = problem["events"]
        .as_array()
        .unwrap()
        .iter()
        .map(|event| (&event["index"], &event["id"], &event["field"]))
        .collect();
    let expected = [(3, "3", "source"), (77, "77", "time"), (499, "499", "Bad")]
        .map(|(index, id, field)| (json!(index), json!(id), json!(field)));
    assert_eq!(named, expected.iter().map(|(a, b, c)| (a, b, c)).collect::<Vec<_>>());
    assert!(problem["detail"].as_str().unwrap().starts_with("3 of the batch's events"), "{problem}");
    assert!(problem["events"][1]["detail"].as_str().unwrap().contains("RFC 3339"), "{problem}");
    world.assert_untouched();

    // Nor if one names no workflow, or one that can't be.
    let mut lost = event(1);
    lost["subject"] = "/a%2f/b".into();
    let problem = post(&world, "/api/v2/event", &batch(&[event(0), lost])).problem(400, "invalid-event");
    assert_eq!((&problem["events"][0]["field"], &problem["events"][1]["field"]), (&json!("ref"), &json!("subject")));
    // However many there are, the answer is bounded.
    let many = post(&world, ON, &format!("[{}{{}}]", "{},".repeat(20_000)));
    assert_eq!(many.problem(400, "invalid-event")["events"].as_array().unwrap().len(), 100);
    for (body, slug, status) in [
        ("", "invalid-body", 400),
        ("{}", "invalid-body", 400),
        ("[1]", "invalid-body", 400),
        (&of(1_001), "body-too-large", 413),
    ] {
        post(&world, ON, body).problem(status, slug);
    }
    world.assert_untouched();
}

#[test]
fn empty_batch_starts_nothing() {
    let world = World::new();
    let reply = post(&world, ON, "[]");
    assert_eq!((reply.outcome(), reply.json()), ((200, Some("unmatched")), json!({"deliveries": []})));
    world.assert_untouched();
}

#[test]
fn events_not_attempted_in_time_are_stored() {
    // Eight at a time, a second each: in two and a half seconds 16 are answered, and 8 are under way.
    let world = World::operated().well().slow(1_000);
    let (reply, rest) = world.run(world.answer(request("POST", ON, &[BATCH], of(40))));
    assert_eq!(reply.outcome(), (202, Some("pending")));
    let count = |outcome: &str| outcomes(&reply).iter().filter(|had| *had == outcome).count();
    assert_eq!((count("delivered"), count("pending")), (16, 24));
    assert_eq!(world.keys("sluice/pending/").len(), 24);
    // After the answer the eight come back, and a drain brings the others.
    world.takes.set(10);
    world.run(world.finish(rest));
    while world.drain()["pending"] != 0 {
        world.pass(60_000);
    }
    assert_eq!(world.acted().len(), 40);
    assert!(world.keys("sluice/pending/").is_empty());

    let world = World::operated().down();
    let reply = post(&world, ON, &of(20));
    assert_eq!((reply.outcome(), outcomes(&reply)), ((202, Some("pending")), vec!["pending".to_owned(); 20]));
    world.heal();
    world.drain();
    assert_eq!(world.acted().len(), 20);

    let world = World::operated().well();
    let (reply, rest) = world.run(world.answer(request("POST", ON, &[BATCH, ("prefer", "respond-async")], of(20))));
    assert_eq!((reply.outcome(), reply.header("preference-applied")), ((202, Some("pending")), Some("respond-async")));
    assert!(world.sent.borrow().is_empty());
    world.run(world.finish(rest));
    assert_eq!(world.acted().len(), 20);
}

#[test]
fn broker_gets_empty_response() {
    for (world, status) in [(World::new().well(), 204), (World::new().down(), 202)] {
        let reply = world.post(ON, &[BATCH, ("prefer", "reply")], of(3));
        assert_eq!((reply.status(), reply.text(), reply.header("content-type")), (status, "", None));
    }
}

#[test]
fn rejected_events_are_listed_beside_accepted_ones() {
    // The engine refuses the second.
    let world = World::operated().answers(200, RUN).answers(422, r#"{"reason":"WORKFLOW_INACTIVE"}"#).answers(200, RUN);
    let problem = post(&world, ON, &of(3)).problem(422, "rejected");
    let list = problem["deliveries"].as_array().unwrap();
    let outcomes: Vec<_> = list.iter().map(|listed| listed["outcome"].as_str().unwrap()).collect();
    assert_eq!(outcomes, ["delivered", "rejected", "delivered"]);
    assert_eq!((&list[1]["problem"]["status"], &list[1]["problem"]["retry"]), (&json!(422), &json!("fix-first")));
    assert!(problem["detail"].as_str().unwrap().starts_with("1 of 3 deliveries was rejected"), "{problem}");
    // Sent again, the others are known.
    world.heal();
    let again = post(&world, ON, &of(3));
    assert_eq!(self::outcomes(&again), ["duplicate", "delivered", "duplicate"]);
    assert_eq!(world.acted().len(), 1);
}

/// A store that fails anywhere: no 2xx, and what is sent again ends in one run each.
#[test]
fn failing_store_loses_no_event() {
    for failing in 0..60 {
        for outage in [false, true] {
            let world = World::operated().well();
            world.failing_operation.set(Some(failing));
            world.outage.set(outage);
            let reply = post(&world, ON, &of(4));
            if reply.status() >= 300 {
                let problem = reply.problem(503, "store-unavailable");
                assert_eq!((&problem["retry"], reply.header("retry-after")), (&json!("safe"), Some("5")));
            }
            world.failing_operation.set(None);
            world.outage.set(false);
            for _ in 0..3 {
                // No longer than a claim is fresh.
                world.pass(60_000);
                post(&world, ON, &of(4));
                world.send(request("POST", "/api/v2/deliveries/drain", &[OPERATOR], ""));
            }
            world.pass(20 * 60_000);
            world.drain();
            assert_eq!(world.acted().len(), 4, "operation {failing}, outage {outage}");
            assert!(world.keys("sluice/pending/").is_empty());
        }
    }
}
