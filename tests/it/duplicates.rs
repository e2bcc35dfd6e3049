//! Duplicates: a repeated event, keyed webhook or callback starts nothing, and gets the response of the first.

use std::pin::pin;
use std::time::Duration;

use futures_util::future::{join, join_all, select};
use http::Request;
use serde_json::json;
use sluice::ports::Clock;

use crate::fake::{
    ASYNC, CALLBACK_URI, Chunks, EVENT, EVENT_URI, HOUR, JSON, MINUTE, NOW, Reply, StoreKind, WEBHOOK_URI, World,
    request, row,
};

const KEY: (&str, &str) = ("idempotency-key", "\"k\"");

/// A request whose duplicates are recognized.
#[derive(Clone, Copy)]
struct Keyed {
    uri: &'static str,
    headers: &'static [(&'static str, &'static str)],
    body: &'static str,
}

const KEYED_EVENT: Keyed = Keyed { uri: EVENT_URI, headers: &[JSON], body: EVENT };
const KEYED_WEBHOOK: Keyed = Keyed { uri: WEBHOOK_URI, headers: &[JSON, KEY], body: "{}" };
const KEYED_CALLBACK: Keyed = Keyed { uri: CALLBACK_URI, headers: &[JSON], body: "{}" };
const KEYED: [Keyed; 3] = [KEYED_EVENT, KEYED_WEBHOOK, KEYED_CALLBACK];

impl Keyed {
    fn request(self) -> Request<Chunks> {
        request("POST", self.uri, self.headers, self.body)
    }

    fn post(self, world: &World) -> Reply {
        world.send(self.request())
    }
}

#[track_caller]
fn assert_duplicate(world: &World, first: &Reply, again: &Reply) {
    assert_eq!(again.outcome(), (first.status(), Some("duplicate")));
    assert_eq!(again.response.body(), first.response.body());
    for name in ["content-type", "sluice-delivery", "location", "cache-control"] {
        assert_eq!(again.header(name), first.header(name), "{name}");
    }
    assert_eq!(again.log["delivery"].as_str(), first.header("sluice-delivery"));
    assert!(world.engine.take_calls().is_empty(), "the engine was called");
}

/// The start of a window after `NOW` for starts, which have 72 hours, and for callbacks, which have 168.
fn window_boundary() -> u64 {
    const BOTH: u64 = 7 * 72 * HOUR;
    (NOW / BOTH + 1) * BOTH
}

#[on_each_store]
fn duplicate_gets_the_response_of_the_first() {
    for keyed in KEYED {
        let _row = row(keyed.uri);
        let world = World::with_operator().healthy();
        let first = keyed.post(&world);
        assert_eq!(first.outcome(), (200, Some("delivered")));
        assert_eq!(world.engine.take_calls().len(), 1);
        for later in [0, 1, 100_000] {
            world.advance(later);
            assert_duplicate(&world, &first, &keyed.post(&world));
        }
        assert_eq!(world.engine.targets().len(), 1);
    }
}

#[on_each_store]
fn duplicate_of_a_pending_delivery_is_pending() {
    for keyed in KEYED {
        let _row = row(keyed.uri);
        let world = World::with_operator().unreachable();
        let first = keyed.post(&world);
        world.engine.take_calls();
        assert_duplicate(&world, &first, &keyed.post(&world));
        assert_eq!(world.pending().len(), 1);
        world.engine.recover();
        assert_eq!(world.drain()["delivered"], 1);
        let after = keyed.post(&world);
        assert_eq!(after.outcome(), (200, Some("duplicate")));
        assert_eq!(after.delivery(), first.delivery());
        assert_eq!(world.engine.targets().len(), 1);
    }
}

#[on_each_store]
fn duplicate_is_known_for_the_whole_retention() {
    for keyed in KEYED {
        let is_callback = keyed.uri == CALLBACK_URI;
        // Callbacks are kept for `callback_wait_hours`, and `NOW` is 128.5 h into a window of that length.
        let last = if is_callback { 207 } else { 144 };
        for (age, is_known) in
            [(1, true), (64 * HOUR, true), (71 * HOUR, true), (72 * HOUR, true), ((last + 1) * HOUR, false)]
        {
            let _row = row(format!("{} after {age} ms", keyed.uri));
            let world = World::new().healthy();
            let first = keyed.post(&world);
            world.engine.take_calls();
            world.clock.set(NOW + age);
            let again = keyed.post(&world);
            if is_known {
                assert_duplicate(&world, &first, &again);
            } else if is_callback {
                // The task has ended, and nothing tells any more by which callback.
                again.problem(409, "callback-resolved");
            } else {
                assert_eq!(again.outcome(), (200, Some("delivered")));
                assert_ne!(again.delivery(), first.delivery());
            }
            assert_eq!(world.engine.targets().len(), if is_known || is_callback { 1 } else { 2 });
        }
    }
}

#[on_each_store]
fn source_id_and_workflow_identify_an_event() {
    let world = World::new().healthy();
    for (name, uri, from, to, is_new) in [
        ("first", EVENT_URI, "", "", true),
        ("other type and data", EVENT_URI, r#""t""#, r#""u","data":{"a":1}"#, false),
        ("escaped id", EVENT_URI, r#""1""#, r#""\u0031""#, false),
        ("workflow in the subject", "/api/v2/event", r#""t""#, r#""t","subject":"/w/t""#, false),
        ("other id", EVENT_URI, r#""1""#, r#""2""#, true),
        ("other source", EVENT_URI, r#""/s""#, r#""/S""#, true),
        ("other workflow", "/api/v2/event?ref=W", "", "", true),
    ] {
        let _row = row(name);
        let before = world.engine.targets().len();
        let reply = world.post_json(uri, EVENT.replace(from, to));
        assert_eq!(reply.status(), 200, "{}", reply.text());
        assert_eq!(world.engine.targets().len() > before, is_new);
    }
    let headers = [("ce-specversion", "1.0"), ("ce-id", "1"), ("ce-source", "/s"), ("ce-type", "t")];
    assert_eq!(world.post(EVENT_URI, &headers, "").outcome(), (200, Some("duplicate")), "binary mode");
}

#[on_each_store]
fn dedup_off_accepts_a_duplicate() {
    for keyed @ Keyed { uri, headers, body } in [KEYED_EVENT, KEYED_WEBHOOK] {
        let _row = row(uri);
        let world = World::new().healthy();
        keyed.post(&world);
        let again = world.post(&format!("{uri}&dedup=off"), headers, body);
        assert_eq!(again.outcome(), (200, Some("delivered")));
        assert_eq!(world.engine.targets().len(), 2);
        assert_eq!(world.post(&format!("{uri}&dedup=on"), headers, body).outcome(), (200, Some("duplicate")));
    }
    // Without a key, each webhook is a new delivery.
    let world = World::new().healthy();
    for _ in 0..2 {
        assert_eq!(world.post_json(WEBHOOK_URI, "{}").outcome(), (200, Some("delivered")));
    }
    assert_eq!(world.engine.targets().len(), 2);
}

#[on_each_store]
fn idempotency_key_identifies_one_payload() {
    let world = World::new().healthy();
    let send = |key: &str, body: &str| world.post(WEBHOOK_URI, &[JSON, ("idempotency-key", key)], body);
    let first = send("\"k\"", r#"{"a":1}"#);
    assert_eq!(send("k", r#" {"a":1} "#).outcome(), (200, Some("duplicate")), "the key without quotes");
    let reply = send("\"k\"", r#"{"a":2}"#);
    let problem = reply.problem(422, "idempotency-key-reused");
    assert_eq!((&problem["field"], &problem["retry"]), (&json!("Idempotency-Key"), &json!("fix-first")));
    assert!(problem["detail"].as_str().unwrap().contains("2026-11-24T08:30:00.000Z"), "{problem}");
    assert_eq!(reply.delivery(), first.delivery());
    assert_eq!(send("\"l\"", r#"{"a":2}"#).outcome(), (200, Some("delivered")));
    let other = world.post("/api/v2/webhook?ref=x", &[JSON, ("idempotency-key", "k")], r#"{"a":2}"#);
    assert_eq!(other.outcome(), (200, Some("delivered")), "the same key for another workflow");
    assert_eq!(world.engine.targets(), ["w", "w", "x"]);
}

#[on_each_store]
fn rejected_delivery_may_be_repeated_at_once() {
    for keyed in KEYED {
        let _row = row(keyed.uri);
        let world = World::new().respond(400, "");
        keyed.post(&world).problem(400, "rejected");
        assert!(world.is_empty(), "{:?}", world.everything());
        world.engine.recover();
        assert_eq!(keyed.post(&world).outcome(), (200, Some("delivered")));
        assert!(world.now() <= NOW + 700, "the repeated request took {} ms", world.now() - NOW);
    }
    // Another payload may follow too: the rejected one has released the key.
    let world = World::new().respond(400, "");
    world.post(WEBHOOK_URI, &[JSON, KEY], "{}").problem(400, "rejected");
    world.engine.recover();
    assert_eq!(world.post(WEBHOOK_URI, &[JSON, KEY], r#"{"a":1}"#).outcome(), (200, Some("delivered")));
}

#[on_each_store]
fn one_of_many_concurrent_requests_is_sent() {
    for keyed in KEYED {
        for (latency, first, others) in
            [(100, (200, "delivered"), (200, "duplicate")), (2_700, (202, "pending"), (202, "duplicate"))]
        {
            let world = World::new().slow(latency);
            let replies = world.run(join_all((0..8).map(|_| world.serve(keyed.request()))));
            for (n, reply) in replies.iter().enumerate() {
                let _row = row(format!("{}, {latency} ms, request {n}", keyed.uri));
                let (status, outcome) = if n == 0 { first } else { others };
                assert_eq!(reply.outcome(), (status, Some(outcome)));
                assert_eq!((reply.delivery(), reply.text()), (replies[0].delivery(), replies[0].text()));
            }
            assert_eq!(world.engine.take_calls().len(), 1, "{}, {latency} ms", keyed.uri);
            assert!(world.pending().is_empty());
        }
    }
}

#[on_each_store]
fn duplicate_across_a_window_boundary_is_known() {
    let boundary = window_boundary();
    for keyed in KEYED {
        for (before, later) in [(1, 1), (1, 300), (50_000, 60_000), (0, 1)] {
            let _row = row(format!("{}, {before} ms before the boundary, then {later} ms later", keyed.uri));
            let world = World::new().slow(200);
            world.clock.set(boundary - before);
            let (first, second) = world.run(join(world.serve(keyed.request()), async {
                world.sleep(Duration::from_millis(later)).await;
                world.serve(keyed.request()).await
            }));
            assert_eq!(first.outcome(), (200, Some("delivered")));
            assert_eq!(second.outcome(), (200, Some("duplicate")));
            assert_eq!(world.engine.targets().len(), 1);
        }
    }
}

#[on_each_store]
fn late_clock_at_a_window_boundary_starts_one_run() {
    let boundary = window_boundary();
    for keyed in KEYED {
        let _row = row(keyed.uri);
        let world = World::with_operator().slow(200);
        world.clock.set(boundary + 10);
        let (first, late) = world.run(join(world.serve(keyed.request()), async {
            world.clock.set(boundary - 10);
            world.serve(keyed.request()).await
        }));
        assert_eq!(first.outcome(), (200, Some("delivered")));
        // The late one finds the claim of the other window, and waits for its outcome.
        assert_eq!(late.outcome(), (200, Some("duplicate")));
        assert_eq!(world.engine.targets().len(), 1);
    }
}

/// Stops a winner while the engine has its request.
fn stop_winner(world: &World, keyed: Keyed) {
    world.run(async {
        let winner = pin!(world.handle(keyed.request()));
        select(winner, pin!(world.sleep(Duration::from_millis(50)))).await;
    });
}

#[on_each_store]
fn engine_is_queried_after_a_winner_stopped() {
    for has_acted in [false, true] {
        for keyed in [KEYED_EVENT, KEYED_WEBHOOK] {
            let _row = row(format!("{}, the engine has acted: {has_acted}", keyed.uri));
            let world = World::with_operator().slow(100);
            stop_winner(&world, keyed);
            world.engine.recover();
            if has_acted {
                let labels = world.engine.only_request().json()["labels"].clone();
                let run = json!({ "id": "1", "target": "w", "labels": labels, "status": "ready", "phase": "pending" });
                world.engine.effects.borrow_mut().push(run);
            }
            world.engine.take_calls();
            let contended = world.run(join_all((0..2).map(|_| world.handle(keyed.request()))));
            for (reply, _) in &contended {
                assert_eq!(reply.outcome(), world.contended());
            }
            assert_eq!(world.now(), NOW + 50 + 2_750, "both wait for the winner's outcome");
            let (pending, dropped) = if world.kind() == StoreKind::KeyValue { (2, 1) } else { (1, 0) };
            assert_eq!(world.drain()["pending"], pending);
            // The lease in PostgreSQL began with the claim, and the copies in a key-value store with the answers.
            let until = world.takes_over_after() + if dropped == 0 { 0 } else { 2_800 };
            world.clock.set(NOW + until - 1_000);
            assert_eq!(world.drain()["pending"], pending);
            assert!(world.engine.take_calls().is_empty(), "queried while the engine might still act");
            world.clock.set(NOW + until);
            let drained = world.drain();
            assert_eq!((&drained["delivered"], &drained["dropped"]), (&json!(1), &json!(dropped)), "{drained}");
            let expected: &[&str] = if has_acted { &["find"] } else { &["find", "submit"] };
            assert_eq!(world.engine.take_verbs(), expected);
            assert_eq!(world.engine.targets(), ["w"]);
            assert_eq!(keyed.post(&world).outcome(), (200, Some("duplicate")));
        }
    }
}

#[on_each_store]
fn request_long_after_a_stopped_winner_does_not_wait() {
    for keyed in KEYED {
        let _row = row(keyed.uri);
        let world = World::with_operator().slow(100);
        stop_winner(&world, keyed);
        world.advance(10_000);
        let start = world.now();
        let reply = keyed.post(&world);
        if world.kind() == StoreKind::Postgres {
            // It waits, since a claim doesn't say when its holder began.
            assert_eq!((reply.status(), world.now()), (202, start + 2_750));
            continue;
        }
        assert_eq!((reply.outcome(), world.now()), (world.contended(), start));
    }
}

#[on_each_store]
fn drain_delivers_once_if_nobody_won() {
    for keyed in KEYED {
        let _row = row(keyed.uri);
        // Door and flag of different claimants, as left by two that overwrote each other.
        let world = World::with_operator().healthy();
        keyed.post(&world);
        world.keep_claims();
        world.engine.effects.borrow_mut().clear();
        world.engine.ended.borrow_mut().clear();
        world.engine.take_calls();

        let contended = world.run(join_all((0..3).map(|_| world.handle(keyed.request()))));
        assert!(contended.iter().all(|(reply, _)| reply.status() == 202));
        world.advance(world.takes_over_after() + 4_000);
        let mut concluded = [0, 0];
        for _ in 0..4 {
            let drained = world.drain();
            for (count, name) in concluded.iter_mut().zip(["delivered", "dropped"]) {
                *count += drained[name].as_u64().unwrap();
            }
            world.advance(MINUTE);
        }
        // In PostgreSQL only a callback is stored beside the one that holds its task: as the one for run and topic.
        let dropped = if world.kind() == StoreKind::KeyValue { 2 } else { u64::from(keyed.uri == CALLBACK_URI) };
        assert_eq!(concluded, [1, dropped]);
        assert_eq!(world.engine.targets().len(), 1);
    }
}

#[on_each_store]
fn respond_async_hardly_waits_for_another_claimant() {
    let world = World::new().slow(2_000);
    let ((first, _), (second, answered_at)) =
        world.run(join(world.handle(request("POST", EVENT_URI, &[JSON], EVENT)), async {
            let (reply, _) = world.handle(request("POST", EVENT_URI, &[JSON, ASYNC], EVENT)).await;
            (reply, world.now())
        }));
    assert_eq!((second.outcome(), answered_at), (world.contended(), NOW + 250));
    assert_eq!(first.outcome(), (200, Some("delivered")));
    assert_eq!(world.engine.targets().len(), 1);
}
