//! The statements while a sender waits, as the table of `src/store/postgres/mod.rs` states them: at most two on each
//! path, but for the repeats of a claim.

use std::fs;
use std::path::Path;
use std::pin::pin;
use std::time::Duration;

use futures_util::future::{join, select};
use sluice::ports::Clock;

use crate::fake::{ASYNC, CALLBACK_URI, EVENT, EVENT_URI, JSON, StoreKind, WEBHOOK_URI, World, request};

/// The table's rows: a path, and its statements until the response and after it.
fn table() -> Vec<(String, [Vec<String>; 2])> {
    let source = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("src/store/postgres/mod.rs")).unwrap();
    let rows = source.split("//! | Path of a request |").nth(1).expect("the table").lines().skip(2);
    let names = |text: &str| {
        let names = text.split("[`").skip(1).map(|rest| rest.split('`').next().unwrap().to_lowercase());
        names.collect::<Vec<_>>()
    };
    rows.map_while(|row| {
        let (path, statements) = row.strip_prefix("//! | ")?.strip_suffix(" |")?.split_once(" | ")?;
        let (waiting, after) = statements.split_once("; after the response").unwrap_or((statements, ""));
        Some((path.to_owned(), [names(waiting), names(after)]))
    })
    .collect()
}

/// The statements of a path.
type Counted = [Vec<&'static str>; 2];

/// Routes with `ordered`, for events and for webhooks.
const ORDERED: &str = r#"[
    {"workflow":"w","from":"event","filter":{"exact":{"type":"t"}},"ordered":true},
    {"workflow":"w","from":"webhook","ordered":true}
]"#;

/// Sends a request, and returns the statements until the response.
fn counted_until_response(
    world: &World,
    uri: &str,
    headers: &[(&str, &str)],
    body: &str,
    status: u16,
) -> Vec<&'static str> {
    world.database().take_calls();
    let (reply, _) = world.run(world.handle(request("POST", uri, headers, body)));
    assert_eq!(reply.status(), status, "{}", reply.text());
    world.database().take_statements()
}

/// Sends a request, and returns the statements until the response and after it.
fn count(world: &World, uri: &str, headers: &[(&str, &str)], body: &str, status: u16) -> Counted {
    world.database().take_calls();
    world.run(async {
        let (reply, rest) = world.handle(request("POST", uri, headers, body)).await;
        assert_eq!(reply.status(), status, "{}", reply.text());
        let waiting = world.database().take_statements();
        world.finish(rest).await;
        let mut after = world.database().take_statements();
        // The state of the engine, for the drain.
        after.retain(|statement| *statement != "write_note");
        [waiting, after]
    })
}

/// Runs the request of each path.
fn counted(path: &str) -> Counted {
    let world = || World::with_operator().healthy();
    let event = |world: &World, status| count(world, EVENT_URI, &[JSON], EVENT, status);
    match path {
        "without a key, the engine answers in time" => count(&world(), WEBHOOK_URI, &[JSON], "{}", 200),
        "without a key, stored" => count(&world().unreachable(), WEBHOOK_URI, &[JSON], "{}", 202),
        "on an `ordered` route" => {
            let world = world().with("routes", ORDERED);
            // Without the drain after the response.
            let keyed = counted_until_response(&world, "/api/v2/event", &[JSON], EVENT, 202);
            let plain = counted_until_response(&world, "/api/v2/webhook", &[JSON], "{}", 202);
            assert_eq!(keyed, plain);
            [keyed, Vec::new()]
        }
        "first of a key" => event(&world(), 200),
        "first of a key, refused by the engine" => event(&world().respond(422, ""), 422),
        "first of a key, to be attempted later" => event(&world().respond(503, ""), 202),
        "first of a key, the engine is slow" => event(&world().slow(3_000), 202),
        "`respond-async`" => count(&world(), EVENT_URI, &[JSON, ASYNC], EVENT, 202),
        "repeated" => {
            let world = world();
            event(&world, 200);
            event(&world, 200)
        }
        "repeated while the first one is under way" => {
            let world = world().slow(1_000_000);
            world.run(async {
                let first = pin!(world.handle(request("POST", EVENT_URI, &[JSON], EVENT)));
                select(first, pin!(world.sleep(Duration::from_millis(50)))).await;
            });
            let [mut waiting, after] = event(&world, 202);
            assert!((5..30).contains(&waiting.len()), "{waiting:?}");
            waiting.dedup();
            [waiting, after]
        }
        "callback, a task waits" => count(&world(), CALLBACK_URI, &[JSON], "{}", 200),
        "callback, no task waits yet" => {
            let world = world();
            let view = r#"{"id":"r","status":"running","phase":"running","tasks":[{"id":"task-t","type":"eventwait","status":"notstarted","params":[{"name":"topic","value":"t"}]}]}"#;
            *world.engine.look.borrow_mut() = Some(crate::fake::answer(200, view));
            count(&world, CALLBACK_URI, &[JSON], "{}", 202)
        }
        "callback that repeats another, or comes too late" => {
            let world = world();
            count(&world, CALLBACK_URI, &[JSON], "{}", 200);
            let repeated = count(&world, CALLBACK_URI, &[JSON], "{}", 200);
            let late = count(&world, CALLBACK_URI, &[JSON], r#"{"n":1}"#, 409);
            assert_eq!(repeated, late);
            repeated
        }
        path => panic!("the path {path} is not measured"),
    }
}

#[test]
fn at_most_two_statements_run_while_a_sender_waits() {
    StoreKind::Postgres.choose();
    let table = table();
    assert!(table.len() > 10, "{table:?}");
    let wrong = table.iter().filter_map(|(path, stated)| {
        let [waiting, after] = counted(path);
        assert!(waiting.len() <= 2, "{path}: {waiting:?}");
        // One of two ends, depending on whether another sender has a 2xx.
        let stated_waiting = if path.ends_with("refused by the engine") { &stated[0][..2] } else { &stated[0][..] };
        let is_right = waiting == *stated_waiting && after == stated[1];
        (!is_right).then(|| format!("{path}: {waiting:?}, then {after:?}, not {stated:?}"))
    });
    let wrong: Vec<_> = wrong.collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// A callback is claimed, and what was sent is looked at while its sender waits: neither holds a connection.
#[test]
fn no_connection_is_held_while_the_engine_works() {
    StoreKind::Postgres.choose();
    let world = World::with_operator().slow(1_000);
    world.run(async {
        let senders = join(
            world.handle(request("POST", EVENT_URI, &[JSON], EVENT)),
            world.handle(request("POST", CALLBACK_URI, &[JSON], "{}")),
        );
        let ((event, _), (callback, _)) = senders.await;
        assert_eq!([event.status(), callback.status()], [200, 200]);
    });
    assert!(world.database().most_open() <= 2);
}
