//! The outcome of a start is written after its response, where its run can be found again, or the engine knows a repeat.

use serde_json::{Value, json};

use crate::fake::{
    CALLBACK_URI, EVENT, EVENT_URI, JSON, Reply, StoreFault, StoreKind, WEBHOOK_URI, World, request, row,
};

const BATCH: (&str, &str) = ("content-type", "application/cloudevents-batch+json");
const KEY: (&str, &str) = ("idempotency-key", "k");

/// Handles a request of an instance that dies right after its response.
#[track_caller]
fn last_of_instance(world: &World, uri: &str, headers: &[(&str, &str)], body: &str) -> Reply {
    let (reply, _) = world.run(world.handle(request("POST", uri, headers, body)));
    reply
}

/// The path of each request that the engine got.
fn paths(world: &World) -> Vec<String> {
    world.engine.received.take().iter().map(|received| received.request.uri().path().to_owned()).collect()
}

/// An engine that starts a run by `POST /WORKFLOW/MARK`, with this class of doubt.
fn engine(doubt: &str) -> World {
    let start = json!({"request": {"method": "POST", "path": "/{workflow}/{mark}", "body": {"$": "input"}}, "proof": "object", "reference": "{mark}"});
    let profile = json!({"name": "own", "title": "Own", "doubt": doubt, "start": start, "answers": []});
    World::with_operator().with("engine", &profile.to_string())
}

#[on_each_store]
fn run_is_found_if_its_outcome_was_lost() {
    for (uri, headers, body) in [(EVENT_URI, &[JSON][..], EVENT), (WEBHOOK_URI, &[JSON, KEY][..], "{}")] {
        for is_repeated in [false, true] {
            let _row = row(format!("{uri}, repeated: {is_repeated}"));
            let world = World::with_operator().healthy();
            assert_eq!(last_of_instance(&world, uri, headers, body).outcome(), (200, Some("delivered")));
            assert_eq!(world.engine.take_verbs(), ["submit"]);
            if is_repeated {
                assert_eq!(world.post(uri, headers, body).outcome(), world.contended());
            }
            // The row of a claim is a pending delivery; a claim of a key-value store is none.
            let settles = is_repeated || world.kind() == StoreKind::Postgres;
            world.advance(world.takes_over_after());
            assert_eq!(world.drain()["delivered"], u64::from(settles));
            assert_eq!(world.engine.take_verbs(), if settles { &["find"][..] } else { &[] });
            assert!(world.pending().is_empty() && world.dead().is_empty());
            let repeat = world.post(uri, headers, body).outcome().0;
            assert_eq!(repeat, if settles { 200 } else { 202 });
            world.advance(world.takes_over_after());
            world.drain();
            assert_eq!(world.post(uri, headers, body).outcome(), (200, Some("duplicate")));
            assert_eq!(world.engine.targets(), ["w"]);
        }
    }
}

/// The mark is made of the key, so it is that of each delivery with the key.
#[on_each_store]
fn start_is_resent_with_its_mark_if_its_outcome_was_lost() {
    let world = engine("resend").respond(200, "{}");
    assert_eq!(last_of_instance(&world, EVENT_URI, &[JSON], EVENT).outcome(), (200, Some("delivered")));
    let first = paths(&world);
    assert_eq!(first.len(), 1);
    assert_eq!(world.post_json(EVENT_URI, EVENT).outcome(), world.contended());
    world.engine.script(crate::fake::answer(200, "{}"));
    world.advance(world.takes_over_after());
    assert_eq!(world.drain()["delivered"], 1);
    assert_eq!(paths(&world), first);
    assert_eq!(world.post_json(EVENT_URI, EVENT).outcome(), (200, Some("duplicate")));
}

#[on_each_store]
fn outcome_is_written_before_the_response_if_nothing_would_restore_it() {
    for doubt in ["hold", "resend-anyway"] {
        let _row = row(doubt);
        let world = engine(doubt).respond(200, "{}");
        assert_eq!(last_of_instance(&world, EVENT_URI, &[JSON], EVENT).outcome(), (200, Some("delivered")));
        assert_eq!(world.post_json(EVENT_URI, EVENT).outcome(), (200, Some("duplicate")));
        assert_eq!(paths(&world).len(), 1);
    }
    let world = World::with_operator().healthy();
    assert_eq!(last_of_instance(&world, CALLBACK_URI, &[JSON], "{}").status(), 200);
    world.engine.take_calls();
    let start = world.now();
    assert_eq!(world.post_json(CALLBACK_URI, "{}").outcome(), (200, Some("duplicate")));
    assert_eq!((world.now(), world.engine.take_calls()), (start, vec![]));
    // The response to a batch may come long after its first event.
    let batch = format!("[{EVENT}]");
    assert_eq!(last_of_instance(&world, EVENT_URI, &[BATCH], &batch).outcome(), (200, Some("delivered")));
    assert_eq!(world.post(EVENT_URI, &[BATCH], &batch).outcome(), (200, Some("duplicate")));
    assert_eq!((world.now(), world.engine.take_verbs().len()), (start, 1));
}

/// A write that fails has a line of its own in the log; one that succeeds has none.
#[on_each_store]
fn failed_write_of_an_outcome_is_logged() {
    let world = World::with_operator().healthy();
    world.post_json(EVENT_URI, EVENT);
    assert_eq!(world.log.take(), Vec::<Value>::new());

    let world = World::with_operator().healthy();
    let reply = world.run(async {
        let (reply, rest) = world.handle(request("POST", EVENT_URI, &[JSON], EVENT)).await;
        world.fail_store(StoreFault::From(0));
        world.finish(rest).await;
        reply
    });
    assert_eq!((reply.outcome(), &reply.log["warning"]), ((200, Some("delivered")), &Value::Null));
    let [line] = world.log.take().try_into().unwrap();
    assert_eq!((&line["delivery"], &line["outcome"]), (&json!(reply.delivery()), &json!("delivered")));
    assert!(line["warning"].as_str().unwrap().contains(world.store_error()), "{line}");

    world.recover_store();
    assert_eq!(world.post_json(EVENT_URI, EVENT).outcome(), world.contended());
    world.advance(world.takes_over_after());
    assert_eq!(world.drain()["delivered"], 1);
    assert_eq!(world.post_json(EVENT_URI, EVENT).outcome(), (200, Some("duplicate")));
    assert_eq!(world.engine.targets(), ["w"]);
}
