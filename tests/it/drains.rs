//! The drain: order, how many at a time, when it stops, when each is tried again, and when that ends.

use http::Response;
use serde_json::{Value, json};

use crate::fake::{ASYNC, EVENT, JSON, NOW, World, request};

const MINUTE: u64 = 60_000;
const HOUR: u64 = 60 * MINUTE;

/// One for each workflow is stored; their ids in the order of arrival.
fn stored<'w>(world: &World, workflows: impl IntoIterator<Item = &'w str>) -> Vec<String> {
    world.down.set(true);
    let store = |workflow| {
        let reply = world.json(&format!("/api/v2/webhook?ref={workflow}"), "{}");
        assert_eq!(reply.outcome(), (202, Some("pending")));
        world.pass(1);
        reply.header("sluice-delivery").unwrap().to_owned()
    };
    let ids = workflows.into_iter().map(store).collect();
    world.down.set(false);
    world.calls();
    ids
}

fn names(count: usize) -> Vec<String> {
    (0..count).map(|n| format!("w{n}")).collect()
}

fn script(world: &World, status: u16, count: usize) {
    (0..count).for_each(|_| world.script(Ok(Response::builder().status(status).body(vec![]).unwrap())));
}

fn counts(drained: &Value) -> [u64; 5] {
    ["delivered", "rejected", "dead", "dropped", "pending"].map(|name| drained[name].as_u64().unwrap())
}

#[test]
fn drain_keeps_the_order_of_arrival() {
    let world = World::operated();
    let ids = stored(&world, ["b", "a", "b", "c", "a"]);
    let mut sorted = ids.clone();
    sorted.sort_unstable();
    assert_eq!(ids, sorted);
    world.heal();
    let drained = world.drain();
    assert_eq!((counts(&drained), &drained["stopped"]), ([5, 0, 0, 0, 0], &Value::Null));
    assert_eq!(world.acted(), ["b", "a", "b", "c", "a"]);
    let labels: Vec<_> = world
        .runs
        .borrow()
        .iter()
        .map(|run| run["labels"]["sluice.dev/delivery"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(labels, ids);
}

#[test]
fn drain_of_an_empty_store_reports_zeros() {
    let expected = json!({ "delivered": 0, "rejected": 0, "dead": 0, "dropped": 0, "pending": 0, "stopped": null });
    assert_eq!(World::operated().drain(), expected);
}

#[test]
fn unreachable_engine_is_tried_once() {
    let world = World::operated();
    let names = names(30);
    stored(&world, names.iter().map(String::as_str));
    world.down.set(true);
    let drained = world.drain();
    assert_eq!((counts(&drained), &drained["stopped"]), ([0, 0, 0, 0, 30], &"unreachable".into()));
    assert_eq!(world.calls(), ["submit w0"]);
    // It has used up nothing: the next pass may come at once.
    world.heal();
    assert_eq!(counts(&world.drain()), [30, 0, 0, 0, 0]);
}

#[test]
fn consecutive_temporary_failures_stop_the_drain() {
    for status in [429, 500, 401] {
        let world = World::operated();
        stored(&world, std::iter::repeat_n("w", 30));
        script(&world, status, 8);
        let drained = world.drain();
        assert_eq!((counts(&drained), &drained["stopped"]), ([0, 0, 0, 0, 30], &"unreachable".into()), "{status}");
        assert_eq!(world.calls().len(), 8);

        // Of several workflows some are under way already.
        let world = World::operated();
        let names = names(30);
        stored(&world, names.iter().map(String::as_str));
        script(&world, status, 15);
        assert_eq!(world.drain()["stopped"], "unreachable", "{status}");
        assert!((8..=15).contains(&world.calls().len()), "{status}");
    }
}

#[test]
fn interrupted_series_of_failures_does_not_stop_the_drain() {
    let world = World::operated();
    stored(&world, std::iter::repeat_n("w", 20));
    for status in [503, 400] {
        script(&world, status, 7);
    }
    world.well.set(true);
    let drained = world.drain();
    assert_eq!((counts(&drained), &drained["stopped"]), ([6, 7, 0, 0, 7], &Value::Null));
}

#[test]
fn drain_sends_eight_at_once_and_one_per_workflow() {
    let world = World::operated();
    let names = names(12);
    let mut workflows: Vec<_> = names.iter().map(String::as_str).collect();
    workflows.extend(["w3", "w0", "w3"]);
    stored(&world, workflows);
    let world = world.slow(100);
    assert_eq!(counts(&world.drain()), [15, 0, 0, 0, 0]);
    let sent = world.sent.borrow();
    let spans: Vec<_> =
        sent.iter().map(|sent| (sent.at, sent.until.get().unwrap(), sent.request.uri().path().to_owned())).collect();
    assert_eq!(spans[0].1, spans[1].0, "the first goes ahead of all");
    let at_once = |at: u64| spans.iter().filter(|(from, until, _)| (*from..*until).contains(&at)).collect::<Vec<_>>();
    let most = spans.iter().map(|(from, ..)| at_once(*from).len()).max();
    assert_eq!(most, Some(8));
    for (from, ..) in &spans {
        let mut paths: Vec<_> = at_once(*from).into_iter().map(|(.., path)| path).collect();
        paths.sort_unstable();
        assert!(paths.windows(2).all(|two| two[0] != two[1]), "{paths:?}");
    }
}

#[test]
fn callbacks_of_one_run_are_sent_in_sequence() {
    let world = World::operated().down();
    for topic in ["a", "b"] {
        world.json(&format!("/api/v2/callback?ref=r&topic={topic}"), "{}");
        world.pass(1);
    }
    world.calls();
    world.heal();
    world.takes.set(100);
    assert_eq!(world.drain()["delivered"], 2);
    let sent = world.sent.borrow();
    assert_eq!(sent[0].until.get(), Some(sent[1].at));
    assert!(sent[0].request.body().starts_with(br#"{"topic":"a""#));
}

#[test]
fn drain_starts_nothing_once_the_budget_is_spent() {
    // Within 25 s there is room for three.
    let world = World::operated();
    stored(&world, std::iter::repeat_n("w", 6));
    world.heal();
    world.takes.set(9_000);
    let drained = world.drain();
    assert_eq!((counts(&drained), &drained["stopped"]), ([3, 0, 0, 0, 3], &"budget".into()));
    // One that waits for another of its workflow is started no later than others.
    let world = World::operated();
    stored(&world, ["w", "w"]);
    world.heal();
    world.takes.set(26_000);
    let drained = world.drain();
    assert_eq!((counts(&drained), &drained["stopped"]), ([1, 0, 0, 0, 1], &"budget".into()));
    world.takes.set(0);
    assert_eq!(counts(&world.drain()), [1, 0, 0, 0, 0]);
}

#[test]
fn delivery_is_not_retried_before_next_attempt() {
    let world = World::operated().answers(503, "");
    let id = world.json("/api/v2/webhook?ref=w", "{}").header("sluice-delivery").unwrap().to_owned();
    let mut last = 0;
    for attempt in 1..=12 {
        let next = world.only_stored("sluice/pending/")["next"].as_u64().unwrap();
        let wait = next - world.now.get();
        assert!((1_000..=15 * MINUTE).contains(&wait), "{wait} ms after attempt {attempt}");
        world.calls();
        world.now.set(next - 1);
        assert_eq!(counts(&world.drain()), [0, 0, 0, 0, 1]);
        assert!(world.calls().is_empty(), "attempt {attempt}");
        world.now.set(next);
        script(&world, 503, 1);
        assert_eq!(counts(&world.drain()), [0, 0, 0, 0, 1]);
        assert_eq!(world.calls(), ["submit w"]);
        last = last.max(wait);
    }
    assert!(last > MINUTE, "it grows: {last}");
    let shown = world.operate("GET", &format!("/api/v2/deliveries/{id}")).json();
    assert_eq!((&shown["attempts"], shown["history"].as_array().unwrap().len()), (&json!(13), 10));
}

#[test]
fn retry_after_of_the_engine_is_obeyed_within_bounds() {
    for (said, waits) in [("30", 30_000), ("99999", HOUR), ("Tue, 24 Nov 2026 09:00:00 GMT", HOUR / 2)] {
        for status in [429, 503, 500] {
            let answer = || Ok(Response::builder().status(status).header("retry-after", said).body(vec![]).unwrap());
            let world = World::operated().scripted(answer());
            world.json("/api/v2/webhook?ref=w", "{}");
            world.calls();
            world.heal();
            world.now.set(NOW + waits - 1);
            assert_eq!(world.drain()["pending"], 1, "{status} {said}");
            assert!(world.calls().is_empty(), "{status} {said}");
            world.pass(1);
            assert_eq!(world.drain()["delivered"], 1, "{status} {said}");
        }
    }
}

fn dead_in_the_end(world: &World, last_failure: &str) {
    assert!(world.keys("sluice/pending/").is_empty());
    let list = world.operate("GET", "/api/v2/deliveries?state=dead").json();
    let [dead] = &list["deliveries"].as_array().unwrap()[..] else { panic!("{list}") };
    assert_eq!((&dead["state"], &dead["last_failure"]), (&"dead".into(), &last_failure.into()));
    assert_eq!(dead.get("next_attempt"), None);
}

#[test]
fn expired_delivery_becomes_dead_letter() {
    let world = World::operated().with("retry_max_hours", "2").answers(503, "").answers(503, "");
    world.json("/api/v2/webhook?ref=w", "{}");
    world.now.set(NOW + 2 * HOUR - 1);
    assert_eq!(counts(&world.drain()), [0, 0, 0, 0, 1]);
    world.now.set(NOW + 2 * HOUR);
    world.calls();
    assert_eq!(counts(&world.drain()), [0, 0, 1, 0, 0], "though it was put off for longer");
    assert!(world.calls().is_empty());
    dead_in_the_end(&world, "the engine answered 503");
}

#[test]
fn attempt_failing_after_expiry_makes_a_dead_letter() {
    let world = World::operated().answers(503, "").answers(503, "").after(2);
    world.json("/api/v2/webhook?ref=w", "{}");
    world.now.set(NOW + 24 * HOUR - 1);
    assert_eq!(counts(&world.drain()), [0, 0, 1, 0, 0]);
    dead_in_the_end(&world, "the engine answered 503");
}

#[test]
fn exhausted_delivery_becomes_dead_letter() {
    let world = World::operated().with("retry_max_attempts", "3");
    script(&world, 503, 3);
    world.json("/api/v2/webhook?ref=w", "{}");
    for expected in [[0, 0, 0, 0, 1], [0, 0, 1, 0, 0]] {
        world.pass(HOUR);
        assert_eq!(counts(&world.drain()), expected);
    }
    dead_in_the_end(&world, "the engine answered 503");
    // With the first: a sender is told 202 all the same.
    let world = World::operated().with("retry_max_attempts", "1").answers(503, "");
    assert_eq!(world.json("/api/v2/webhook?ref=w", "{}").outcome(), (202, Some("pending")));
    assert_eq!(counts(&world.drain()), [0, 0, 1, 0, 0]);
}

#[test]
fn expired_deliveries_delay_no_other_delivery() {
    let world = World::operated();
    stored(&world, std::iter::repeat_n("old", 20));
    world.pass(24 * HOUR);
    stored(&world, ["new"]);
    world.heal();
    let drained = world.drain();
    assert_eq!((counts(&drained), &drained["stopped"]), ([1, 0, 20, 0, 0], &Value::Null));
    assert_eq!(world.calls(), ["submit new"]);
}

#[test]
fn unreadable_delivery_delays_no_other_delivery() {
    let world = World::operated();
    let ids = stored(&world, ["a", "b"]);
    world.store.borrow_mut().insert(format!("sluice/pending/{}", ids[0]), b"{\"v\":2}".to_vec());
    world.heal();
    let reply = world.operate("POST", "/api/v2/deliveries/drain");
    assert_eq!(counts(&reply.json()), [1, 0, 0, 0, 1]);
    assert!(reply.log["warning"].as_str().unwrap().contains(&ids[0]), "{}", reply.log);
    assert_eq!(world.calls(), ["submit b"]);
}

#[test]
fn unreadable_key_record_delays_no_other_delivery() {
    let world = World::operated().down();
    world.json("/api/v2/event?ref=a", EVENT);
    world.pass(1);
    stored(&world, ["b"]);
    for (key, value) in world.store.borrow_mut().iter_mut() {
        if key.starts_with("sluice/done/") {
            *value = b"{\"v\":2}".to_vec();
        }
    }
    world.heal();
    let reply = world.operate("POST", "/api/v2/deliveries/drain");
    assert_eq!(counts(&reply.json()), [1, 0, 0, 0, 1]);
    assert!(reply.log["warning"].as_str().unwrap().contains("can't be read"), "{}", reply.log);
    assert_eq!(world.calls(), ["submit b"]);
}

#[test]
fn rejected_delivery_becomes_dead_letter_and_releases_the_key() {
    let world = World::operated().down();
    world.json("/api/v2/event?ref=w", EVENT);
    world.calls();
    script(&world, 422, 1);
    assert_eq!(counts(&world.drain()), [0, 1, 0, 0, 0]);
    dead_in_the_end(&world, "the engine answered 422");
    world.heal();
    assert_eq!(world.json("/api/v2/event?ref=w", EVENT).outcome(), (200, Some("delivered")));
}

#[test]
fn delivery_under_way_is_left_alone() {
    let world = World::operated().slow(9_000);
    world.run(async {
        let (_, rest) = world.answer(request("POST", "/api/v2/webhook?ref=w", &[JSON, ASYNC], "{}")).await;
        let drained = async {
            let uri = "/api/v2/deliveries/drain";
            world.answer(request("POST", uri, &[crate::fake::OPERATOR], "")).await.0.json()
        };
        let (drained, ()) = futures_util::future::join(drained, world.finish(rest)).await;
        assert_eq!(counts(&drained), [0, 0, 0, 0, 1]);
    });
    assert_eq!((world.calls(), world.keys("sluice/pending/").len()), (vec!["submit w".to_owned()], 0));
}
