//! An hour's outage of the engine, through the whole gateway in simulated time.
//!
//! The backlog is of one workflow. The engine is back, takes a second for each start, and answers 503 above 64 at once.
//! Fresh events go on arriving. `src/delivery/width/simulation.rs` has the scheduler alone, with more kinds of engine.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::time::Duration;

use futures_util::future::{join_all, join3};
use serde_json::Value;
use sluice::ports::Clock as _;

use crate::fake::{DRAIN_URI, HOUR, JSON, MINUTE, OPERATOR, World, request};

const URI: &str = "/api/v2/event?ref=busy";

/// Pending starts.
const BACKLOG: usize = 25_000;
/// Fresh events in a second.
const FRESH: u64 = 7;
/// The engine's requests at once.
const CAPACITY: usize = 64;
/// The time within which the backlog has to be gone at a width of [`CAPACITY`].
const BOUND: u64 = 15 * MINUTE;

/// What a drain has made of the outage.
#[derive(Debug)]
struct Record {
    /// Milliseconds until the engine had started the whole backlog.
    gone_after: u64,
    /// Requests that the engine got, and those of them that it refused.
    sends: usize,
    refused: usize,
    /// Those that were the first request for a fresh event.
    fresh_refused: usize,
}

/// An event with this id.
fn event(id: &str) -> String {
    format!(r#"{{"specversion":"1.0","id":"{id}","source":"/s","type":"t"}}"#)
}

/// The id of the event that has started a run.
fn event_of(run: &Value) -> &str {
    let params = run["params"].as_array().unwrap();
    params.iter().find_map(|param| param["value"]["id"].as_str()).expect("a run of an event")
}

/// Stores the backlog in an hour in which the engine is unreachable.
fn fill(world: &World) {
    for n in 0..BACKLOG {
        let reply = world.post_json(URI, event(&format!("stored-{n}")));
        assert_eq!(reply.outcome(), (202, Some("pending")));
        world.advance(HOUR / BACKLOG as u64);
        world.restart_count();
    }
    assert_eq!(world.pending().len(), BACKLOG);
}

/// Drains the backlog as the shipped callers do: the next pass begins at once if there is more to do, and otherwise
/// after a second.
fn outage(width_max: usize) -> Record {
    let world = World::with_operator().setting("drain_width_max", width_max).unreachable();
    world.engine.forgets_requests.set(true);
    fill(&world);
    world.engine.recover();
    world.engine.latency.set(1_000);
    world.engine.capacity.set(Some(CAPACITY));

    let (began, gone_after) = (world.now(), Cell::new(None));
    let (fresh_events, fresh_refused) = (Cell::new(0), Cell::new(0));
    world.run(async {
        let drain = async {
            while gone_after.get().is_none() || !world.pending().is_empty() {
                let (reply, rest) = world.handle(request("POST", DRAIN_URI, &[OPERATOR], "")).await;
                assert_eq!(reply.status(), 200, "{}", reply.text());
                world.finish(rest).await;
                let pause = if reply.json()["again"] == true { 1 } else { 1_000 };
                world.sleep(Duration::from_millis(pause)).await;
                assert!(world.now() < began + 2 * BOUND, "the last pass: {}", reply.text());
            }
        };
        let watch = async {
            let (mut seen, mut left) = (0, BACKLOG);
            while left > 0 {
                world.sleep(Duration::from_millis(100)).await;
                world.restart_count();
                let effects = world.engine.effects.borrow();
                left -= effects[seen..].iter().filter(|run| event_of(run).starts_with("stored")).count();
                seen = effects.len();
            }
            gone_after.set(Some(world.now() - began));
        };
        let fresh = async |n: u64| {
            world.sleep(Duration::from_millis(n * 1_000 / FRESH)).await;
            if gone_after.get().is_none() {
                let body = event(&format!("fresh-{n}"));
                let (reply, rest) = world.handle(request("POST", URI, &[JSON], body)).await;
                assert!(matches!(reply.status(), 200 | 202), "{}", reply.text());
                world.finish(rest).await;
                fresh_events.set(fresh_events.get() + 1);
                // The engine answers sooner than a sender is sent away.
                fresh_refused.set(fresh_refused.get() + usize::from(reply.status() == 202));
            }
        };
        join3(drain, watch, join_all((0..2 * BOUND / 1_000 * FRESH).map(fresh))).await;
    });

    let effects = world.engine.effects.borrow();
    let started: BTreeSet<_> = effects.iter().map(event_of).collect();
    assert_eq!(started.len(), BACKLOG + fresh_events.get(), "each is started");
    assert_eq!(effects.len(), started.len(), "nothing is started twice");
    let refused = world.engine.refused.get();
    let gone_after = gone_after.get().unwrap();
    Record { gone_after, sends: effects.len() + refused, refused, fresh_refused: fresh_refused.get() }
}

#[on_each_store]
fn backlog_of_an_outage_is_gone_in_time() {
    let record = outage(CAPACITY);
    assert!(record.gone_after <= BOUND, "{record:?}");
    // Otherwise the engine has never been full.
    assert!(record.refused > 0, "{record:?}");
}

#[on_each_store]
fn drain_learns_from_refusals_of_fresh_deliveries() {
    let record = outage(CAPACITY);
    assert!(record.refused * 50 <= record.sends, "more than 2 % of the requests were refused: {record:?}");
}

#[on_each_store]
fn drain_below_the_capacity_of_the_engine_is_never_refused() {
    let record = outage(48);
    assert_eq!((record.refused, record.fresh_refused), (0, 0), "{record:?}");
}
