//! Operations of the key-value store on each path, as the table of docs/reliability.md states them.

use std::fs;
use std::path::Path;

use crate::fake::{ASYNC, CALLBACK_URI, Cost, EVENT, EVENT_URI, HOUR, JSON, NOW, WEBHOOK_URI, World, row};

/// Rows of the table, by their first cell.
pub const WEBHOOK: &str = "webhook without a key, engine answers in time";
pub const KEYED: &str = "event or webhook with a key, first time, engine answers in time";
pub const REPEATED: &str = "repeated";
pub const REPEATED_FROM_PREVIOUS_WINDOW: &str = "repeated, first one in the previous window";
pub const CALLBACK: &str = "callback, first time, engine answers in time";
pub const CALLBACK_REPEATED: &str = "callback, repeated";
pub const LINK_OPENED: &str = "callback link opened: unanswered, answered";
pub const STORED: &str = "stored without a key";
pub const STORED_KEYED: &str = "stored with a key";
pub const FIRST_STORED: &str = "the first one stored since the last drain";
pub const DRAINED: &str = "drain, for each delivery without a key";
pub const DRAINED_KEYED: &str = "drain, for each delivery with a key";
pub const DRAINED_CALLBACK: &str = "drain, for each callback that was early";
pub const PUBLIC_KEY: &str = "public key of a sender, fetched, then fresh";
pub const REFUSED: &str = "refused request of a source, after the response, then again within a minute";
pub const VERIFIED: &str = "delivery of a source with a key or stored, after the response, then again within a minute";
const ROWS: [&str; 16] = [
    WEBHOOK,
    KEYED,
    REPEATED,
    REPEATED_FROM_PREVIOUS_WINDOW,
    CALLBACK,
    CALLBACK_REPEATED,
    LINK_OPENED,
    STORED,
    STORED_KEYED,
    FIRST_STORED,
    DRAINED,
    DRAINED_KEYED,
    DRAINED_CALLBACK,
    PUBLIC_KEY,
    REFUSED,
    VERIFIED,
];

/// The cost of a pass of the drain without its deliveries, if nothing stays pending: the first one of a minute.
const PASS: Cost = Cost { reads: 12, writes: 7, scans: 1 };

fn cost(reads: usize, writes: usize) -> Cost {
    Cost { reads, writes, scans: 0 }
}

fn page() -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/reliability.md")).unwrap()
}

/// The table's rows: path, reads and writes.
fn table() -> Vec<[String; 3]> {
    let page = page();
    let table = page.split("| Path | Reads | Writes |\n|---|---|---|\n").nth(1).expect("the table of costs");
    let rows = table.lines().take_while(|line| line.starts_with('|'));
    rows.map(|row| {
        let cells: Vec<_> = row.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect();
        cells.try_into().unwrap_or_else(|_| panic!("three cells in {row}"))
    })
    .collect()
}

/// The numbers of a cell: `4, then 3` has two. A cell with one number stands for any count.
fn numbers(cell: &str, count: usize) -> Vec<usize> {
    let found: Vec<usize> =
        cell.split(|c: char| !c.is_ascii_digit()).filter(|text| !text.is_empty()).map(|n| n.parse().unwrap()).collect();
    match found.as_slice() {
        [one] => vec![*one; count],
        _ => found,
    }
}

/// The documented costs of a path, one for each step of it.
#[track_caller]
pub fn documented<const N: usize>(path: &str) -> [Cost; N] {
    let table = table();
    let [_, reads, writes] = table.iter().find(|row| row[0] == path).unwrap_or_else(|| panic!("no row {path:?}"));
    let (reads, writes) = (numbers(reads, N), numbers(writes, N));
    assert_eq!((reads.len(), writes.len()), (N, N), "{path}");
    std::array::from_fn(|step| cost(reads[step], writes[step]))
}

fn sum(costs: &[Cost]) -> Cost {
    costs.iter().fold(Cost::default(), |sum, cost| Cost {
        reads: sum.reads + cost.reads,
        writes: sum.writes + cost.writes,
        scans: sum.scans + cost.scans,
    })
}

fn times(cost: Cost, count: usize) -> Cost {
    sum(&vec![cost; count])
}

/// The extra cost of the first stored delivery, which also writes the drain notification.
fn notification() -> Cost {
    let [_, _, writes] = table().into_iter().find(|row| row[0] == FIRST_STORED).unwrap();
    cost(0, numbers(&writes, 1)[0])
}

#[test]
fn table_has_the_tested_rows() {
    let paths: Vec<_> = table().into_iter().map(|[path, ..]| path).collect();
    assert_eq!(paths, ROWS);
    let text = page().split_whitespace().collect::<Vec<_>>().join(" ");
    let pass = format!("{} reads and {} writes", PASS.reads, PASS.writes);
    assert!(text.contains(&pass), "docs/reliability.md lacks the cost of a pass: {pass}");
}

#[test]
fn delivery_in_time_costs_what_the_table_states() {
    let [webhook] = documented(WEBHOOK);
    let [keyed] = documented(KEYED);
    let [callback] = documented(CALLBACK);
    let [repeated] = documented(REPEATED);
    let [callback_repeated] = documented(CALLBACK_REPEATED);
    for (name, uri, headers, body, first, again) in [
        ("webhook", WEBHOOK_URI, &[JSON][..], "{}", webhook, webhook),
        ("webhook with a key", WEBHOOK_URI, &[JSON, ("idempotency-key", "k")], "{}", keyed, repeated),
        ("event", EVENT_URI, &[JSON], EVENT, keyed, repeated),
        ("event without deduplication", "/api/v2/event?ref=w&dedup=off", &[JSON], EVENT, webhook, webhook),
        ("callback", CALLBACK_URI, &[JSON], "{}", callback, callback_repeated),
    ] {
        let _row = row(name);
        let world = World::key_value().healthy();
        assert_eq!(world.post(uri, headers, body).outcome(), (200, Some("delivered")));
        assert_eq!(world.store.take_cost(), first);
        assert_eq!(world.post(uri, headers, body).status(), 200);
        assert_eq!(world.store.take_cost(), again, "repeated");
    }
    let world = World::key_value().healthy();
    world.post_json(CALLBACK_URI, "{}");
    world.store.take_cost();
    world.post_json(CALLBACK_URI, r#"{"n":1}"#).problem(409, "callback-conflict");
    assert_eq!(world.store.take_cost(), callback_repeated, "conflicting callback");
}

/// The note of a verified request is read after the response, and written once a minute. A webhook that leaves no record
/// costs that only if it is sampled.
#[test]
fn delivery_of_a_source_costs_a_note_after_the_response() {
    let ([webhook], [keyed], [first, later]) = (documented(WEBHOOK), documented(KEYED), documented(VERIFIED));
    let world = World::key_value().with_operator_token().healthy();
    let world = world.source(serde_json::json!({ "name": "partner", "tokens": ["t0ken"] }));
    world.drain();
    let send = |headers: &[(&str, &str)]| {
        world.store.take_cost();
        let headers = [&[JSON, ("authorization", "Bearer t0ken")], headers].concat();
        assert_eq!(world.post(WEBHOOK_URI, &headers, "{}").outcome(), (200, Some("delivered")));
        world.store.take_cost()
    };
    world.random.set(7);
    assert_eq!(send(&[]), webhook);
    let costs = ["a", "b"].map(|key| {
        world.random.set(7);
        send(&[("idempotency-key", key)])
    });
    assert_eq!(costs, [sum(&[keyed, first]), sum(&[keyed, later])]);
    world.random.set(16);
    assert_eq!(send(&[]), sum(&[later, cost(2, 0)]), "the check of the drain, and the note");
}

#[test]
fn refused_request_costs_nothing() {
    let world = World::key_value();
    world.post_json(WEBHOOK_URI, "[]").problem(400, "invalid-body");
    world.post_json(EVENT_URI, "{}").problem(400, "invalid-event");
    world.get("/api/v2/callback?ref=r").problem(400, "missing-parameter");
    world.get("/healthz");
    assert_eq!(world.store.take_cost(), Cost::default());
}

#[test]
fn rejected_delivery_costs_a_released_claim() {
    let [webhook] = documented(WEBHOOK);
    let [keyed] = documented(KEYED);
    let [callback] = documented(CALLBACK);
    let release = cost(2, 1);
    for (uri, body, expected) in [
        (WEBHOOK_URI, "{}", webhook),
        (EVENT_URI, EVENT, sum(&[keyed, release])),
        (CALLBACK_URI, "{}", sum(&[callback, release])),
    ] {
        let _row = row(uri);
        let world = World::key_value().respond(400, "");
        world.post_json(uri, body).problem(400, "rejected");
        assert_eq!(world.store.take_cost(), expected);
    }
}

#[test]
fn stored_delivery_costs_what_the_table_states() {
    let ([stored], [drained]) = (documented(STORED), documented(DRAINED));
    let ([stored_keyed], [drained_keyed]) = (documented(STORED_KEYED), documented(DRAINED_KEYED));
    let ([repeated], [drained_callback]) = (documented(REPEATED), documented(DRAINED_CALLBACK));
    for (uri, body, stored, again, drained) in [
        (WEBHOOK_URI, "{}", stored, None, drained),
        (EVENT_URI, EVENT, stored_keyed, Some(repeated), drained_keyed),
        (CALLBACK_URI, "{}", stored_keyed, Some(repeated), drained_callback),
    ] {
        let _row = row(uri);
        let world = World::key_value().with_operator_token().unreachable();
        assert_eq!(world.post_json(uri, body).status(), 202);
        assert_eq!(world.store.take_cost(), sum(&[stored, notification()]));
        if let Some(again) = again {
            assert_eq!(world.post_json(uri, body).outcome(), (202, Some("duplicate")));
            assert_eq!(world.store.take_cost(), again, "repeated");
        }
        world.engine.recover();
        assert_eq!(world.drain()["delivered"], 1);
        assert_eq!(world.store.take_cost(), sum(&[PASS, drained]), "drained");
    }
}

#[test]
fn drain_notification_is_written_once() {
    let [stored] = documented(STORED);
    let first = sum(&[stored, notification()]);
    let world = World::key_value().with_operator_token().unreachable();
    let store = || {
        assert_eq!(world.post_json(WEBHOOK_URI, "{}").status(), 202);
        world.store.take_cost()
    };
    assert_eq!([store(), store(), store()], [first, stored, stored]);
    // A drain that leaves a delivery pending notes when that is due, and deletes the notification.
    world.drain();
    world.store.take_cost();
    assert_eq!([store(), store()], [first, stored]);

    // An engine fault is read at each failure, and written once.
    let world = World::key_value().with_operator_token().respond(401, "").respond(401, "").respond(401, "");
    let store = || {
        assert_eq!(world.post_json(WEBHOOK_URI, "{}").status(), 202);
        world.store.take_cost()
    };
    let (read, write) = (cost(1, 0), cost(0, 1));
    assert_eq!([store(), store(), store()], [sum(&[first, read, write]), sum(&[stored, read]), sum(&[stored, read])]);
}

#[test]
fn early_callback_costs_four_reads_and_a_write_in_each_pass() {
    let [stored_keyed] = documented(STORED_KEYED);
    let [drained] = documented(DRAINED_CALLBACK);
    let world = World::key_value().with_operator_token().healthy();
    world.engine.ahead.borrow_mut().push("t".to_owned());
    assert_eq!(world.post_json(CALLBACK_URI, "{}").outcome(), (202, Some("pending")));
    assert_eq!(world.store.take_cost(), sum(&[stored_keyed, notification()]));
    for is_notified in [true, false, false] {
        world.advance(60_000);
        assert_eq!(world.drain()["pending"], 1);
        // A configuration fault is only looked for once something is delivered. The notification is deleted by the first
        // pass; the others find in the note of the one before that the callback is due.
        let mut pass = Cost { reads: PASS.reads - 1, ..PASS };
        if !is_notified {
            (pass.reads, pass.writes) = (pass.reads + 1, pass.writes - 1);
        }
        assert_eq!(world.store.take_cost(), sum(&[pass, cost(4, 1)]));
    }
    world.engine.ahead.borrow_mut().clear();
    world.advance(60_000);
    assert_eq!(world.drain()["delivered"], 1);
    let pass = Cost { reads: PASS.reads + 1, writes: PASS.writes - 1, ..PASS };
    assert_eq!(world.store.take_cost(), sum(&[pass, drained]));
    assert!(page().contains("4 reads and 1 write"), "docs/reliability.md lacks the cost of a pass");
}

/// Work after the response costs as much as a drain writes: the record is marked as sent, and deleted.
#[test]
fn response_before_the_engine_also_costs_the_record() {
    let ([stored], [drained]) = (documented(STORED), documented(DRAINED));
    let ([stored_keyed], [drained_keyed]) = (documented(STORED_KEYED), documented(DRAINED_KEYED));
    for (uri, body, stored, drained) in
        [(WEBHOOK_URI, "{}", stored, drained), (EVENT_URI, EVENT, stored_keyed, drained_keyed)]
    {
        // The record is stored as sent at once, so marking it saves a write.
        let expected = cost(stored.reads, stored.writes + notification().writes + drained.writes - 1);
        for (name, world, headers) in [
            ("respond-async", World::key_value().healthy(), &[JSON, ASYNC][..]),
            ("slow engine", World::key_value().slow(3_000), &[JSON]),
        ] {
            let _row = row(format!("{uri}, {name}"));
            assert_eq!(world.post(uri, headers, body).status(), 202);
            assert_eq!(world.store.take_cost(), expected);
        }
    }
    // A slow callback was claimed as one in time; one with `respond-async` is delivered by a drain.
    let ([callback], [drained]) = (documented(CALLBACK), documented(DRAINED_CALLBACK));
    // A request reads the form of the store once.
    let slow = cost(callback.reads + stored.reads - 1, stored_keyed.writes + notification().writes + 2);
    let mut drained = sum(&[stored_keyed, notification(), PASS, drained]);
    drained.reads -= 1;
    for (name, world, headers, expected) in [
        ("respond-async", World::key_value().healthy(), &[JSON, ASYNC][..], drained),
        ("slow engine", World::key_value().slow(3_000), &[JSON], slow),
    ] {
        let _row = row(format!("callback, {name}"));
        assert_eq!(world.post(CALLBACK_URI, headers, "{}").status(), 202);
        assert_eq!(world.store.take_cost(), expected);
        assert_eq!(world.engine.targets(), ["r"]);
    }
}

#[test]
fn drain_cost_per_delivery_is_constant() {
    let [drained] = documented(DRAINED);
    for count in [1, 10, 100] {
        let world = World::key_value().with_operator_token().unreachable();
        for n in 0..count {
            world.post_json(&format!("/api/v2/webhook?ref=w{n}"), "{}");
        }
        world.engine.recover();
        world.store.take_cost();
        assert_eq!(world.drain()["delivered"], count);
        assert_eq!(world.store.take_cost(), sum(&[PASS, times(drained, count)]), "{count} deliveries");
    }
}

#[test]
fn drain_against_an_unreachable_engine_costs_one_attempt() {
    let [drained] = documented(DRAINED);
    let world = World::key_value().with_operator_token().unreachable();
    for _ in 0..50 {
        world.post_json(WEBHOOK_URI, "{}");
    }
    world.store.take_cost();
    assert_eq!(world.drain()["pending"], 50);
    let spent = world.store.take_cost();
    // One delivery is tried, and the notification is put back.
    let most = sum(&[PASS, drained, cost(2, 1)]);
    assert!(spent.reads <= most.reads && spent.writes <= most.writes && spent.scans == 1, "{spent:?}");
}

#[test]
fn duplicate_from_the_previous_window_costs_what_the_table_states() {
    const WINDOW: u64 = 72 * HOUR;
    let [first, later] = documented(REPEATED_FROM_PREVIOUS_WINDOW);
    let world = World::key_value().healthy();
    world.clock.set(NOW / WINDOW * WINDOW + WINDOW / 2);
    world.post_json(EVENT_URI, EVENT);
    world.advance(WINDOW);
    world.store.take_cost();
    for expected in [first, later, later] {
        world.advance(1_000);
        assert_eq!(world.post_json(EVENT_URI, EVENT).outcome(), (200, Some("duplicate")));
        assert_eq!(world.store.take_cost(), expected);
    }
    assert_eq!(world.engine.targets().len(), 1);
}

#[test]
fn check_for_a_sampled_drain_costs_two_reads() {
    let world = World::key_value().with_operator_token().healthy();
    world.drain();
    world.store.take_cost();
    world.random.set(16);
    world.post_json(WEBHOOK_URI, "{}");
    assert_eq!(world.store.take_cost(), cost(2, 0));
    assert!(page().contains("2 reads"), "docs/reliability.md lacks the cost of the check");
}
