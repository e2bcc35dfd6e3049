//! Each operation of the store fails in turn, alone and with all after it, on each way: no 2xx without the engine or the
//! store behind it, nothing of the store's own words leaves us, and once all is well there is one run.

use http::{Request, Response};
use sluice::ports::SendError;

use crate::fake::{ASYNC, Chunks, EVENT, JSON, OPERATOR, Reply, World, request};

const KEY: (&str, &str) = ("idempotency-key", "k");
type Way = (&'static str, &'static [(&'static str, &'static str)], &'static str);
const WAYS: [Way; 4] = [
    ("/api/v2/webhook?ref=w", &[JSON], "{}"),
    ("/api/v2/webhook?ref=w", &[JSON, KEY], "{}"),
    ("/api/v2/event?ref=w", &[JSON], EVENT),
    ("/api/v2/callback?ref=r&topic=t", &[JSON], "{}"),
];
const ENGINES: [&str; 6] = ["well", "slow", "busy", "down", "refuses", "cut"];

fn world(engine: &str) -> World {
    let world = World::operated();
    match engine {
        "well" => world.well(),
        "slow" => world.slow(3_000),
        "busy" => world.answers(503, "").well(),
        "down" => world.scripted(Err(SendError::NotSent("the connection was refused"))).well(),
        "refuses" => world.answers(422, "").well(),
        _ => world.cut(),
    }
}

fn ask((uri, headers, body): Way, is_async: bool) -> Request<Chunks> {
    let mut headers = headers.to_vec();
    headers.extend(is_async.then_some(ASYNC));
    request("POST", uri, &headers, body)
}

fn is_stored(world: &World) -> bool {
    !world.keys("sluice/pending/").is_empty() || !world.keys("sluice/dead/").is_empty()
}

fn tells_nothing(reply: &Reply) {
    let headers = format!("{:?}", reply.response.headers());
    assert!(!reply.text().contains("/secret/path") && !headers.contains("/secret/path"), "{}", reply.text());
}

/// From the operation `failing` on, or that alone.
fn fail(world: &World, failing: usize, outage: bool) {
    world.cost();
    world.failing_operation.set(Some(failing));
    world.outage.set(outage);
}

fn mend(world: &World) {
    world.failing_operation.set(None);
    world.heal();
}

/// Drains until nothing is pending.
fn settle(world: &World) {
    for _ in 0..10 {
        world.pass(20 * 60_000);
        if world.drain()["pending"] == 0 {
            return;
        }
    }
    panic!("still pending: {:?}", world.keys("sluice/pending/"));
}

#[test]
fn accepted_request_is_never_lost() {
    let mut promised = [0, 0];
    for way @ (uri, headers, _) in WAYS {
        for engine in ENGINES {
            for is_async in [false, true] {
                let sound = world(engine);
                sound.send(ask(way, is_async));
                let operations = sound.operations.borrow().len();
                for (failing, outage) in (0..operations).flat_map(|n| [(n, false), (n, true)]) {
                    let case = format!("{uri} {headers:?} {engine} async {is_async}, {failing} outage {outage}");
                    let world = world(engine);
                    fail(&world, failing, outage);
                    let reply = world.run(async {
                        let (reply, rest) = world.answer(ask(way, is_async)).await;
                        let is_kept = is_stored(&world) || (reply.status() == 200 && !world.acted().is_empty());
                        assert!(reply.status() >= 300 || is_kept, "{case}: {}", reply.text());
                        world.finish(rest).await;
                        reply
                    });
                    tells_nothing(&reply);
                    let told = world
                        .lines
                        .borrow()
                        .iter()
                        .chain([&reply.log])
                        .any(|line| line["warning"].as_str().is_some_and(|warning| warning.contains("disk full")));
                    assert!(told, "{case}: the operator isn't told: {} {:?}", reply.log, world.lines);
                    promised[usize::from(reply.status() < 300)] += 1;

                    // The sender goes on as it is told: all is safe to send again, but what says that it isn't.
                    let may_repeat = reply.status() >= 300 && reply.json()["retry"] == "may-repeat";
                    mend(&world);
                    if reply.status() >= 300 {
                        world.pass(5_000);
                        let again = world.send(ask(way, false));
                        assert!(again.status() < 300, "{case}: {}", again.text());
                    }
                    settle(&world);
                    let (acted, dead) = (world.acted().len(), world.keys("sluice/dead/").len());
                    let is_refused = engine == "refuses" && dead == 1;
                    // A callback that may have been taken is sent again, which changes nothing; so is an unkeyed
                    // webhook, by a sender who was told that it may act twice.
                    let is_repeated = acted == 2
                        && (uri.contains("callback") || (may_repeat && headers.len() == 1 && uri.contains("webhook")));
                    assert!(
                        (acted, dead) == (1, 0) || (is_refused && acted == 0) || is_repeated,
                        "{case}: {acted} runs, {dead} dead"
                    );
                    if acted > 0 && (headers.len() > 1 || uri.contains("event")) {
                        // Where nothing is noted, the drain asks the engine.
                        let again = world.send(ask(way, false));
                        assert!(matches!(again.outcome(), (200, Some("duplicate")) | (202, Some("pending"))), "{case}");
                        settle(&world);
                        assert_eq!(world.send(ask(way, false)).outcome(), (200, Some("duplicate")), "{case}");
                        assert_eq!(world.acted().len(), 1, "{case}");
                    }
                }
            }
        }
    }
    assert!(promised.iter().all(|count| *count > 50), "{promised:?}");
}

/// An unkeyed webhook, an event, a callback and the copy of one, all due.
fn stored() -> World {
    let world = World::operated().slow(100);
    let copied = ("/api/v2/event?ref=copied", &[JSON][..], EVENT);
    world.run(async {
        let winner = std::pin::pin!(world.answer(ask(copied, false)));
        let stop = sluice::ports::Clock::sleep(&world, std::time::Duration::from_millis(50));
        futures_util::future::select(winner, std::pin::pin!(stop)).await;
    });
    world.pass(10_000);
    assert_eq!(world.send(ask(copied, false)).status(), 202);
    world.down.set(true);
    world.well.set(false);
    for way in [WAYS[0], WAYS[2], WAYS[3]] {
        world.pass(1);
        assert_eq!(world.send(ask(way, false)).status(), 202);
    }
    world.heal();
    world.pass(20_000);
    world
}

const ALL: [&str; 4] = ["copied", "r", "w", "w"];

#[test]
fn failed_drain_loses_and_repeats_nothing() {
    let sound = stored();
    sound.cost();
    assert_eq!(sound.drain()["delivered"], 4);
    let operations = sound.operations.borrow().len();
    assert!(operations > 25, "{operations}");
    for (failing, outage) in (0..operations).flat_map(|n| [(n, false), (n, true)]) {
        let world = stored();
        fail(&world, failing, outage);
        let reply = world.operate("POST", "/api/v2/deliveries/drain");
        match reply.status() {
            200 => {}
            _ => _ = reply.problem(503, "store-unavailable"),
        }
        tells_nothing(&reply);
        assert!(reply.log["warning"].as_str().unwrap().contains("disk full"), "{failing} {outage}: {}", reply.log);
        mend(&world);
        settle(&world);
        let mut acted = world.acted();
        acted.sort_unstable();
        if acted.iter().filter(|of| *of == "r").count() == 2 {
            // A callback that may have been taken is sent again, which changes nothing.
            acted.remove(1);
        }
        assert_eq!(acted, ALL, "{failing} {outage}");
        assert!(world.keys("sluice/dead/").is_empty() && world.keys("sluice/hint").is_empty());
    }
}

#[test]
fn failed_redelivery_loses_and_repeats_nothing() {
    for (kind, is_dead) in [(0, false), (1, false), (2, false), (0, true), (2, true)] {
        let made = || {
            let world = if is_dead {
                World::operated().answers(400, "").after(3_000)
            } else {
                World::operated().answers(503, "")
            };
            let reply = world.send(ask(WAYS[kind], false));
            assert_eq!(reply.status(), 202);
            world.heal();
            let id = reply.header("sluice-delivery").unwrap().to_owned();
            (world, format!("/api/v2/deliveries/{id}/redeliver"))
        };
        let (sound, uri) = made();
        sound.cost();
        assert_eq!(sound.operate("POST", &uri).json()["state"], "delivered");
        let operations = sound.operations.borrow().len();
        for (failing, outage) in (0..operations).flat_map(|n| [(n, false), (n, true)]) {
            let case = format!("{kind} dead {is_dead}, {failing} outage {outage}");
            let (world, uri) = made();
            fail(&world, failing, outage);
            let reply = world.operate("POST", &uri);
            tells_nothing(&reply);
            if reply.status() >= 300 {
                reply.problem(503, "store-unavailable");
                assert!(reply.log["warning"].as_str().unwrap().contains("disk full"), "{case}");
            }
            mend(&world);
            world.pass(60_000);
            let again = world.operate("POST", &uri);
            assert!(matches!(again.status(), 200 | 202 | 404), "{case}: {}", again.text());
            settle(&world);
            assert_eq!((world.acted().len(), world.keys("sluice/dead/").len()), (1, 0), "{case}");
        }
    }
}

#[test]
fn failed_deletion_can_be_repeated() {
    for way in WAYS {
        let made = || {
            let world = World::operated().down();
            let reply = world.send(ask(way, false));
            (world, format!("/api/v2/deliveries/{}", reply.header("sluice-delivery").unwrap()))
        };
        let (sound, uri) = made();
        sound.cost();
        assert_eq!(sound.operate("DELETE", &uri).status(), 204);
        let operations = sound.operations.borrow().len();
        for failing in 0..operations {
            let (world, uri) = made();
            fail(&world, failing, false);
            let reply = world.operate("DELETE", &uri);
            reply.problem(503, "store-unavailable");
            tells_nothing(&reply);
            mend(&world);
            let again = world.operate("DELETE", &uri);
            assert!(matches!(again.status(), 204 | 404), "{failing}: {}", again.text());
            assert!(!is_stored(&world), "{failing}");
            world.pass(60_000);
            // As if for the first time; or, where only its claim could not be given back, by the drain.
            let outcome = world.send(ask(way, false));
            if outcome.status() == 202 {
                world.pass(20_000);
                assert_eq!(world.drain()["delivered"], 1, "{failing}");
            }
            assert_eq!(world.acted().len(), 1, "{failing}: {}", outcome.text());
        }
    }
}

#[test]
fn failed_read_affects_no_later_request() {
    for uri in ["/api/v2/deliveries", "/api/v2/callbacks/r", "/api/v2/callbacks/r?topic=t", "/readyz"] {
        let made = || {
            let world = stored();
            world.cost();
            world
        };
        let sound = made();
        assert_eq!(sound.send(request("GET", uri, &[OPERATOR], "")).status(), 200);
        let operations = sound.operations.borrow().len();
        assert!(operations > 0);
        for failing in 0..operations {
            let world = made();
            fail(&world, failing, false);
            let reply = world.operate("GET", uri);
            reply.problem(503, "store-unavailable");
            tells_nothing(&reply);
            assert!(reply.log["warning"].as_str().unwrap().contains("disk full"), "{uri}");
            assert_eq!(world.operate("GET", uri).status(), 200, "the next works");
        }
    }
}

#[test]
fn store_outage_affects_only_requests_that_use_the_store() {
    for (way, expected) in [(WAYS[0], 200), (WAYS[1], 503), (WAYS[2], 503), (WAYS[3], 503)] {
        let world = World::new().well();
        fail(&world, 0, true);
        let reply = world.send(ask(way, false));
        assert_eq!(reply.status(), expected);
        if expected == 503 {
            assert_eq!(reply.problem(503, "store-unavailable")["retry"], "safe");
            assert_eq!(reply.header("retry-after"), Some("5"));
            assert!(world.calls().is_empty(), "what may be a duplicate isn't sent");
        }
    }
    let world = World::new().scripted(Ok(Response::builder().status(422).body(vec![]).unwrap()));
    fail(&world, 0, true);
    world.send(ask(WAYS[0], false)).problem(422, "rejected");
}
