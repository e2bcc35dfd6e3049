//! The move from one store to the other, while deliveries come in.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::fake::{
    Action, Behaviour, HOUR, JSON, MINUTE, OPERATOR, Reply, STORE_FORM, World, answer, label, request, row,
};

/// A world with both kinds of stores.
fn empty() -> World {
    World::key_value().with_operator_token().with_database()
}

const DATABASE: &str = "postgres://sluice:pa55word@localhost:5432/sluice";
const DIRECTIONS: [Direction; 2] = [Direction::ToPostgres, Direction::Back];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Direction {
    ToPostgres,
    Back,
}

/// A request whose repeats are recognized: URI, headers and body.
type Sent = (String, Vec<(&'static str, &'static str)>, String);

/// The value of a setting that is unset if the text is empty.
fn text_or_null(text: &str) -> Value {
    if text.is_empty() { Value::Null } else { text.into() }
}

fn event(id: &str) -> Sent {
    let body = json!({ "specversion": "1.0", "id": id, "source": "/s", "type": "t" }).to_string();
    ("/api/v2/event?ref=w".to_owned(), vec![JSON], body)
}

fn webhook(key: &'static str) -> Sent {
    ("/api/v2/webhook?ref=w".to_owned(), vec![JSON, ("idempotency-key", key)], "{}".to_owned())
}

fn callback(topic: &str) -> Sent {
    (format!("/api/v2/callback?ref=r&topic={topic}"), vec![JSON], "{}".to_owned())
}

fn post(world: &World, (uri, headers, body): &Sent) -> Reply {
    world.post(uri, headers, body)
}

impl Direction {
    fn set(self, world: &World, is_moving: bool) {
        let (source, target) = match self {
            Self::ToPostgres => (["", ""], [DATABASE, "key-value"]),
            Self::Back => ([DATABASE, ""], ["", DATABASE]),
        };
        let [url, from] = if is_moving { target } else { source };
        world.set("database_url", url);
        world.set_setting("move_from", text_or_null(from));
    }

    /// A world whose source has pending, dead and remembered deliveries, and the requests that have led to them.
    fn world(self) -> (World, Vec<Sent>) {
        let world = empty().setting("retry_max_attempts", 1);
        self.set(&world, false);
        let mut sent = Vec::new();
        let mut post = |request: Sent, status: u16| {
            let reply = post(&world, &request);
            assert_eq!(reply.status(), status, "{request:?}: {}", reply.text());
            sent.push(request);
        };
        // One dead letter that holds its key.
        world.engine.script(answer(500, ""));
        post(event("dead"), 202);
        world.advance(HOUR);
        world.engine.recover();
        assert_eq!(world.drain()["dead"], 1);
        world.engine.behaviour.set(Behaviour::Unreachable);
        for request in [event("p1"), event("p2"), webhook("\"k1\""), event("p3")] {
            post(request, 202);
        }
        assert_eq!(world.post_json("/api/v2/webhook?ref=w", r#"{"unkeyed":1}"#).status(), 202);
        world.engine.recover();
        for request in [event("d1"), event("d2"), webhook("\"k2\""), callback("a"), callback("b")] {
            post(request, 200);
        }
        world.engine.ahead.borrow_mut().push("u".to_owned());
        post(callback("u"), 202);
        world.advance(MINUTE);
        (world, sent)
    }
}

/// What the sender of a repeated request gets.
fn answers(world: &World, sent: &[Sent]) -> Vec<(u16, Option<String>, String, String)> {
    let answer = |request: &Sent| {
        let reply = post(world, request);
        let outcome = reply.header("sluice-outcome").map(str::to_owned);
        (reply.status(), outcome, reply.delivery(), reply.text().to_owned())
    };
    sent.iter().map(answer).collect()
}

fn stored(world: &World, state: &str) -> Vec<Value> {
    let list = world.as_operator("GET", &format!("/api/v2/deliveries?state={state}")).json();
    list["deliveries"].as_array().unwrap().clone()
}

fn move_uri(limit: usize, after: Option<&str>) -> String {
    let after = after.map(|after| format!("&after={after}")).unwrap_or_default();
    format!("/api/v2/move?limit={limit}{after}")
}

/// Moves all, and calls `between` after each step. Returns the sums.
fn move_all(world: &World, limit: usize, mut between: impl FnMut()) -> BTreeMap<String, u64> {
    let (mut after, mut sums) = (None::<String>, BTreeMap::new());
    for _ in 0..100 {
        let reply = world.as_operator("POST", &move_uri(limit, after.as_deref()));
        assert_eq!(reply.status(), 200, "{}", reply.text());
        let reply = reply.json();
        for (name, count) in reply["moved"].as_object().unwrap() {
            *sums.entry(name.clone()).or_default() += count.as_u64().unwrap();
        }
        between();
        match reply["next"].as_str() {
            Some(next) => after = Some(next.to_owned()),
            None => return sums,
        }
    }
    panic!("the move does not end: {sums:?}");
}

/// Asserts that the engine has exactly one run or event for each label or run.
#[track_caller]
fn assert_each_once(world: &World, starts: usize) {
    let mut runs: BTreeMap<String, usize> = BTreeMap::new();
    for effect in world.engine.effects.borrow().iter().filter(|effect| !label(effect).is_empty()) {
        *runs.entry(label(effect).to_owned()).or_default() += 1;
    }
    assert!(runs.values().all(|count| *count == 1), "{runs:?}");
    assert_eq!(runs.len(), starts);
}

/// Drains until nothing but the early callback is pending.
fn settle(world: &World) {
    for _ in 0..10 {
        world.advance(20 * MINUTE);
        world.drain();
    }
    let pending = stored(world, "pending");
    assert!(pending.iter().all(|delivery| delivery["topic"] == "u"), "{pending:?}");
}

#[test]
fn every_key_is_answered_as_before_during_and_after_a_move() {
    for direction in DIRECTIONS {
        for limit in [1, 3, 500] {
            let _row = row(format!("{direction:?}, {limit}"));
            let (world, sent) = direction.world();
            let before = answers(&world, &sent);
            let (pending, dead) = (stored(&world, "pending"), stored(&world, "dead"));
            assert_eq!((pending.len(), dead.len()), (6, 1));
            let effects = world.engine.effects.borrow().len();
            direction.set(&world, true);
            assert_eq!(answers(&world, &sent), before, "before the first step");
            let mut fresh = 0;
            let sums = move_all(&world, limit, || {
                assert_eq!(answers(&world, &sent), before);
                fresh += 1;
                let request = event(&format!("fresh-{fresh}"));
                assert_eq!(post(&world, &request).outcome(), (200, Some("delivered")));
                assert_eq!(post(&world, &request).outcome(), (200, Some("duplicate")));
            });
            assert_eq!((sums["pending"], sums["dead"], sums["remembered"], sums["left"]), (6, 1, 5, 0), "{sums:?}");
            assert_eq!(world.engine.effects.borrow().len(), effects + fresh, "only the fresh ones were sent");
            assert_eq!(stored(&world, "dead"), dead);
            let ids = |list: &[Value]| list.iter().map(|delivery| delivery["id"].clone()).collect::<Vec<_>>();
            assert_eq!(ids(&stored(&world, "pending")), ids(&pending), "in order of arrival");
            // Without the source.
            world.set_setting("move_from", Value::Null);
            assert_eq!(answers(&world, &sent), before, "after the move");
            settle(&world);
            assert_each_once(&world, 8 + fresh);
            for (request, before) in sent.iter().zip(&before).skip(1) {
                let again = post(&world, request);
                assert_eq!((again.header("sluice-outcome"), again.delivery()), (Some("duplicate"), before.2.clone()));
            }
        }
    }
}

#[test]
fn moved_outcome_keeps_its_age() {
    for direction in DIRECTIONS {
        let _row = row(format!("{direction:?}"));
        let (world, _) = direction.world();
        world.advance(48 * HOUR);
        direction.set(&world, true);
        move_all(&world, 500, || {});
        world.set_setting("move_from", Value::Null);
        world.advance(23 * HOUR);
        assert_eq!(post(&world, &event("d1")).outcome(), (200, Some("duplicate")));
        // Two windows of 72 h on the key-value store. A repeat would be remembered for longer there.
        world.advance(73 * HOUR);
        assert_eq!(post(&world, &event("d2")).outcome(), (200, Some("delivered")));
    }
}

#[test]
fn crash_at_any_write_loses_nothing_and_sends_nothing_twice() {
    for direction in DIRECTIONS {
        for is_drained in [false, true] {
            let mut writes = 0;
            loop {
                let _row = row(format!("{direction:?}, crash after write {writes}, drained: {is_drained}"));
                let (world, sent) = direction.world();
                let before = answers(&world, &sent);
                direction.set(&world, true);
                let at = world.plan.operations.borrow().len() + writes;
                world.plan.faults.borrow_mut().push((at, Action::Crash));
                let uri = move_uri(500, None);
                let call = async { world.handle(request("POST", &uri, &[OPERATOR], "")).await.0.status() };
                if let Some(status) = world.run_or_crash(call) {
                    assert_eq!(status, 200);
                    assert!(writes > 30, "only {writes} writes");
                    break;
                }
                world.plan.faults.borrow_mut().clear();
                assert_eq!(answers(&world, &sent), before, "after the crash");
                // The lease of the move ends.
                world.advance(2 * MINUTE);
                if is_drained {
                    world.drain();
                }
                move_all(&world, 500, || {});
                world.set_setting("move_from", Value::Null);
                settle(&world);
                assert_each_once(&world, 8);
                for (request, before) in sent.iter().zip(&before) {
                    let again = post(&world, request);
                    let answer = (again.header("sluice-outcome").map(str::to_owned), again.delivery());
                    assert_eq!(answer, (Some("duplicate".to_owned()), before.2.clone()), "{request:?}");
                }
                assert_eq!(stored(&world, "dead").len(), 1);
                writes += 1;
            }
        }
    }
}

#[test]
fn claim_whose_instance_has_died_in_the_source_is_looked_up_first() {
    for direction in DIRECTIONS {
        let _row = row(format!("{direction:?}"));
        let world = empty().losing_responses();
        direction.set(&world, false);
        // The instance dies after the engine has started the run, before it has recorded anything.
        let at = world.plan.operations.borrow().len();
        world.engine.latency.set(50);
        // A claim of a key-value store is three writes.
        let writes = if direction == Direction::ToPostgres { 3 } else { 1 };
        world.plan.faults.borrow_mut().push((at + writes, Action::Crash));
        let (uri, headers, body) = event("lost");
        let call = async { world.handle(request("POST", &uri, &headers, &body)).await.0.status() };
        assert_eq!(world.run_or_crash(call), None, "a crash was planned");
        world.plan.faults.borrow_mut().clear();
        world.engine.recover();
        assert_eq!(world.engine.effects.borrow().len(), 1);
        world.advance(10 * MINUTE);
        direction.set(&world, true);
        assert_eq!(post(&world, &event("lost")).status(), 202);
        move_all(&world, 500, || {});
        assert_eq!(post(&world, &event("lost")).outcome(), (202, Some("duplicate")));
        settle(&world);
        assert_each_once(&world, 1);
    }
}

#[test]
fn move_needs_a_source_of_the_other_kind() {
    let world = empty();
    Direction::ToPostgres.set(&world, false);
    assert_eq!(world.as_operator("POST", "/api/v2/move").status(), 404);
    assert_eq!(world.get("/api/v2/move").status(), 405);
    Direction::ToPostgres.set(&world, true);
    assert_eq!(world.post("/api/v2/move", &[], "").status(), 401);
    let problem = world.as_operator("POST", "/api/v2/move?after=x").problem(400, "invalid-parameter");
    assert_eq!(problem["field"], "after");
    for (url, from) in [("", "key-value"), (DATABASE, DATABASE), ("", "file")] {
        let world = World::key_value().with_operator_token().with("database_url", url).setting("move_from", from);
        let _row = row(format!("{url} {from}"));
        world.get("/readyz").wrong_setting("move_from");
    }
}

#[test]
fn move_waits_for_a_drain_of_the_source() {
    let (world, _) = Direction::ToPostgres.world();
    let lease = json!({ "v": 1, "token": "t", "until": world.now() + MINUTE, "scan": { "at": 0 } }).to_string();
    world.store.put("sluice:lease", lease.as_bytes());
    Direction::ToPostgres.set(&world, true);
    world.as_operator("POST", "/api/v2/move").problem(409, "under-way");
    world.advance(2 * MINUTE);
    assert_eq!(move_all(&world, 500, || {})["pending"], 6);
    let (world, _) = Direction::Back.world();
    world.store.put("sluice:lease", lease.as_bytes());
    Direction::Back.set(&world, true);
    world.as_operator("POST", "/api/v2/move").problem(409, "under-way");
}

/// Posts an event to a route with `ordered`.
fn post_ordered(world: &World, id: usize) -> Reply {
    let body = json!({ "specversion": "1.0", "id": id.to_string(), "source": "/s", "type": "o" }).to_string();
    let (reply, rest) = world.run(world.handle(request("POST", "/api/v2/event", &[JSON], body)));
    drop(rest);
    world.advance(1);
    reply
}

/// A world whose source has this many deliveries in a queue, none of which was sent.
fn world_with_queue(direction: Direction, length: usize) -> World {
    let routes = r#"[{"workflow":"q","from":"event","filter":{"exact":{"type":"o"}},"ordered":true}]"#;
    let world = empty().with("routes", routes).healthy();
    direction.set(&world, false);
    for id in 0..length {
        assert_eq!(post_ordered(&world, id).outcome(), (202, Some("pending")));
    }
    world
}

/// The ids of the events that have started a run, in the engine's order.
fn started(world: &World) -> Vec<usize> {
    let id = |effect: &Value| {
        let params = effect["params"].as_array().unwrap();
        let event = params.iter().find(|param| param["name"] == "event").unwrap();
        event["value"]["id"].as_str().unwrap().parse().unwrap()
    };
    world.engine.effects.borrow().iter().map(id).collect()
}

fn lookups(world: &World) -> usize {
    let received = world.engine.received.borrow();
    received.iter().filter(|received| received.request.uri().path().ends_with("/query")).count()
}

#[test]
fn ordered_deliveries_keep_their_order_while_others_come_in() {
    for direction in DIRECTIONS {
        for limit in [1, 2, 500] {
            let _row = row(format!("{direction:?}, {limit}"));
            let world = world_with_queue(direction, 4);
            direction.set(&world, true);
            let mut next = 4;
            let mut post = || {
                assert_eq!(post_ordered(&world, next).outcome(), (202, Some("pending")));
                next += 1;
            };
            post();
            // Deliveries that come before those that the target has are still to be moved.
            world.drain();
            assert_eq!(started(&world), Vec::<usize>::new());
            let sums = move_all(&world, limit, || {
                post();
                world.drain();
                assert!(started(&world).is_sorted(), "{:?}", started(&world));
            });
            assert_eq!((sums["pending"], sums["left"]), (4, 0), "{sums:?}");
            post();
            settle(&world);
            assert_eq!(started(&world), (0..next).collect::<Vec<_>>());
            assert_eq!(lookups(&world), 0, "none was sent before it was moved");
        }
    }
}

#[test]
fn delivery_that_is_moved_twice_is_looked_up() {
    for direction in DIRECTIONS {
        let mut crashes = 0;
        loop {
            let _row = row(format!("{direction:?}, crash after write {crashes}"));
            let world = empty();
            direction.set(&world, false);
            world.engine.behaviour.set(Behaviour::Unreachable);
            // Without a key, the target forgets it once it is delivered.
            assert_eq!(world.post_json("/api/v2/webhook?ref=w", "{}").status(), 202);
            world.engine.recover();
            direction.set(&world, true);
            let at = world.plan.operations.borrow().len() + crashes;
            world.plan.faults.borrow_mut().push((at, Action::Crash));
            let uri = move_uri(500, None);
            let call = async { world.handle(request("POST", &uri, &[OPERATOR], "")).await.0.status() };
            let is_over = world.run_or_crash(call).is_some();
            world.plan.faults.borrow_mut().clear();
            world.advance(2 * MINUTE);
            world.drain();
            world.advance(2 * MINUTE);
            move_all(&world, 500, || {});
            settle(&world);
            assert_each_once(&world, 1);
            if is_over {
                assert_eq!(lookups(&world), 0, "without a crash, it is known that it was not sent");
                break;
            }
            crashes += 1;
        }
        assert!(crashes > 5, "only {crashes} writes");
    }
}

#[test]
fn record_of_a_run_is_the_same_after_a_move_and_back() {
    let world = empty();
    // A window is as long as a callback waits for its run.
    let window = world.now() / (168 * HOUR);
    let name = format!("sluice:run:{window}:{}", "ab".repeat(16));
    let record = json!({ "v": 1, "scope": "team", "unseen": true, "hash": "ab".repeat(32) });
    world.store.put(&name, record.to_string().as_bytes());
    for direction in DIRECTIONS {
        direction.set(&world, true);
        assert_eq!(move_all(&world, 500, || {})["runs"], 1);
        assert_eq!(world.store.entries.borrow().contains_key(&name), direction == Direction::Back);
    }
    assert_eq!(world.store.only_record("sluice:run:"), record);
}

#[test]
fn claim_of_a_key_that_was_released_is_not_moved() {
    let world = empty();
    Direction::ToPostgres.set(&world, false);
    world.engine.script(answer(400, ""));
    assert_eq!(post(&world, &event("refused")).status(), 400);
    world.engine.recover();
    Direction::ToPostgres.set(&world, true);
    let sums = move_all(&world, 500, || {});
    assert!(sums.values().all(|count| *count == 0), "{sums:?}");
    assert_eq!(post(&world, &event("refused")).outcome(), (200, Some("delivered")));
}

#[test]
fn store_of_an_earlier_release_is_upgraded_before_it_is_moved() {
    let (world, sent) = Direction::ToPostgres.world();
    let before = answers(&world, &sent);
    let names = world.store.keys("sluice:done:");
    for name in &names {
        let record = world.store.entries.borrow_mut().remove(&format!("sluice:done:{name}")).unwrap();
        let mut record: Value = serde_json::from_slice(&record).unwrap();
        let hash = record.as_object_mut().unwrap().remove("hash").unwrap();
        let (window, _) = name.split_once(':').unwrap();
        let old = ["sluice", "done", window, hash.as_str().unwrap()].join("/");
        world.store.put(old, record.to_string().as_bytes());
    }
    assert!(!names.is_empty());
    world.store.entries.borrow_mut().remove(STORE_FORM);
    Direction::ToPostgres.set(&world, true);
    assert_eq!(answers(&world, &sent), before, "before the first step");
    let sums = move_all(&world, 500, || assert_eq!(answers(&world, &sent), before));
    assert_eq!((sums["pending"], sums["dead"], sums["remembered"], sums["left"]), (6, 1, 5, 0), "{sums:?}");
}
