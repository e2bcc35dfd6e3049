//! Operations on all deliveries that match a filter: dry runs, redelivery, deletion.

use futures_util::future::join;
use http::Response;
use serde_json::{Value, json};

use crate::fake::{
    ASYNC, Action, CALLBACK_URI, DRAIN_URI, EVENT, EVENT_URI, HOUR, JSON, MINUTE, OPERATOR, StoreFault, StoreKind,
    World, answer, label, request, row,
};

const LIST: &str = "/api/v2/deliveries";
const REDELIVER: &str = "/api/v2/deliveries/redeliver";
const DELETE: &str = "/api/v2/deliveries/delete";

/// The token of the source `shop`.
const SHOP: (&str, &str) = ("authorization", "Bearer shop-t0ken");

/// Two sources. Both may start all workflows.
fn world() -> World {
    let source = |name| json!({ "name": name, "tokens": [format!("{name}-t0ken")], "callbacks": true });
    World::with_operator().source(source("shop")).source(source("bank")).setting("open", true)
}

/// Sends a webhook of a source whose delivery becomes a dead letter: the engine refuses it with this status.
fn dead(world: &World, source: &str, workflow: &str, status: u16) -> String {
    world.engine.script(answer(status, ""));
    let token = format!("Bearer {source}-t0ken");
    let uri = format!("/api/v2/webhook?ref={workflow}");
    let reply = world.post(&uri, &[JSON, ASYNC, ("authorization", &token)], "{}");
    assert_eq!(reply.outcome(), (202, Some("pending")), "{}", reply.text());
    world.advance(1_000);
    reply.delivery()
}

/// Sends a webhook of a source whose delivery stays pending: the engine asks for an hour.
fn postponed(world: &World, source: &str, workflow: &str) -> String {
    let busy = Response::builder().status(503).header("retry-after", "3600").body(Vec::new()).unwrap();
    world.engine.script(Ok(busy));
    let token = format!("Bearer {source}-t0ken");
    let uri = format!("/api/v2/webhook?ref={workflow}");
    let reply = world.post(&uri, &[JSON, ASYNC, ("authorization", &token)], "{}");
    assert_eq!(reply.outcome(), (202, Some("pending")), "{}", reply.text());
    world.advance(1_000);
    reply.delivery()
}

#[track_caller]
fn ok(world: &World, method: &str, uri: &str) -> Value {
    let reply = world.as_operator(method, uri);
    assert!(matches!(reply.status(), 200 | 202), "{uri}: {}", reply.text());
    reply.json()
}

#[track_caller]
fn ids(page: &Value) -> Vec<String> {
    page["deliveries"].as_array().unwrap().iter().map(|one| one["id"].as_str().unwrap().to_owned()).collect()
}

/// Drains until nothing that is pending is due within 20 minutes.
#[track_caller]
fn drain_all(world: &World) {
    for _ in 0..20 {
        world.advance(MINUTE);
        let drained = world.drain_whole();
        if drained["pending"] == 0 || drained["again"] == false && drained["delivered"] == 0 {
            return;
        }
    }
    panic!("still pending: {:?}", world.pending());
}

const NOTHING: [(&str, usize); 4] = [("repeated", 0), ("superseded", 0), ("under_way", 0), ("unreadable", 0)];

fn skipped(reason: &str, number: usize) -> Value {
    NOTHING
        .iter()
        .map(|(name, none)| ((*name).to_owned(), json!(if *name == reason { number } else { *none })))
        .collect()
}

#[on_each_store]
fn five_hundred_dead_letters_of_a_workflow_are_redelivered_and_no_others() {
    let world = world().setting("drain_width_max", 8);
    world.engine.forgets_requests.set(true);
    let mut wanted = Vec::new();
    let mut others = Vec::new();
    let mut waiting = Vec::new();
    for n in 0..500 {
        wanted.push(dead(&world, "shop", "report", 422));
        match n % 50 {
            0 => others.push(dead(&world, "shop", "bill", 422)),
            10 => others.push(dead(&world, "bank", "report", 422)),
            20 => others.push(dead(&world, "shop", "report-2", 422)),
            30 => waiting.push(postponed(&world, "shop", "report")),
            40 => others.push(dead(&world, "shop", "report", 400)),
            _ => {}
        }
    }
    assert_eq!((world.dead().len(), world.pending().len()), (540, 10));

    let query = "?state=dead&workflow=report&source=shop&failure=answered%20422";
    let dry = world.as_operator("POST", &format!("{REDELIVER}{query}"));
    assert_eq!((dry.status(), dry.header("cache-control")), (200, Some("no-store")));
    let dry = dry.json();
    assert_eq!((&dry["dry_run"], &dry["count"], &dry["next"]), (&json!(true), &json!(500), &Value::Null));
    assert_eq!(ids(&dry), wanted[..20], "the first ones");
    let first = &dry["deliveries"][0];
    assert_eq!((&first["ref"], &first["last_failure"]), (&json!("report"), &json!("the engine answered 422")));
    assert_eq!((world.dead().len(), world.pending().len()), (540, 10), "a dry run changes nothing");

    // The list has the same ones.
    let (mut listed, mut after) = (Vec::new(), String::new());
    loop {
        let page = ok(&world, "GET", &format!("{LIST}{query}&limit=200{after}"));
        listed.extend(ids(&page));
        let Some(next) = page["next"].as_str() else { break };
        after = format!("&after={next}");
    }
    assert_eq!(listed, wanted);

    let reply = world.as_operator("POST", &format!("{REDELIVER}{query}&dry_run=false"));
    let expected = json!({
        "dry_run": false, "redelivered": 500, "deferred": 0, "skipped": skipped("", 0), "next": null,
    });
    assert_eq!((reply.status(), reply.json()), (202, expected));
    assert!(world.engine.effects.borrow().is_empty(), "it sends nothing by itself");
    assert_eq!(world.dead(), others);
    assert_eq!(world.pending().len(), 510);

    // The drain sends them, at most eight at a time: the engine would refuse a ninth.
    world.engine.recover();
    world.engine.latency.set(50);
    world.engine.capacity.set(Some(8));
    drain_all(&world);
    assert_eq!(world.engine.refused.get(), 0, "requests above the width");
    assert_eq!(world.engine.targets(), vec!["report"; 500]);
    let effects = world.engine.effects.borrow();
    let mut runs: Vec<_> = effects.iter().map(|run| label(run).to_owned()).collect();
    runs.sort_unstable();
    assert_eq!(runs, wanted, "each once");
    assert_eq!((world.dead(), world.pending()), (others, waiting));
}

#[on_each_store]
fn list_is_filtered_by_each_condition() {
    let world = world();
    let first = dead(&world, "shop", "report", 422);
    let second = dead(&world, "bank", "report-2", 400);
    let third = dead(&world, "shop", "bill", 400);
    world.engine.script(answer(400, ""));
    let callback = world.post(CALLBACK_URI, &[JSON, ASYNC, SHOP], "{}").delivery();
    for (query, expected) in [
        ("", vec![&first, &second, &third, &callback]),
        ("&workflow=report", vec![&first]),
        ("&workflow=report*", vec![&first, &second]),
        ("&workflow=*", vec![&first, &second, &third]),
        ("&workflow=team/*", vec![]),
        ("&source=shop", vec![&first, &third]),
        ("&source=shop&workflow=report*", vec![&first]),
        ("&source=other", vec![]),
        ("&received_from=2026-11-24T08:30:01Z", vec![&second, &third, &callback]),
        ("&received_to=2026-11-24T08:30:01Z", vec![&first]),
        ("&received_from=2026-11-24T09:30:01%2B01:00&received_to=2026-11-24T08:30:02Z", vec![&second]),
        ("&failure=ANSWERED+400", vec![&second, &third, &callback]),
        ("&failure=422&source=bank", vec![]),
        ("&text=REPORT", vec![&first, &second]),
        ("&text=T", vec![&first, &second, &callback]),
        ("&text=t&workflow=report", vec![&first]),
    ] {
        let page = ok(&world, "GET", &format!("{LIST}?state=dead{query}"));
        assert_eq!((ids(&page).iter().collect::<Vec<_>>(), &page["next"]), (expected.clone(), &Value::Null), "{query}");
        let dry = ok(&world, "POST", &format!("{DELETE}?state=dead{query}"));
        assert_eq!((ids(&dry).iter().collect(), &dry["count"]), (expected.clone(), &json!(expected.len())), "{query}");
    }
    assert_eq!(ok(&world, "POST", &format!("{DELETE}?state=pending"))["count"], 0);
}

#[on_each_store]
fn page_reads_500_deliveries_and_may_be_short() {
    let world = world();
    world.engine.forgets_requests.set(true);
    for _ in 0..500 {
        dead(&world, "shop", "bill", 422);
    }
    let last = dead(&world, "shop", "report", 422);
    let page = ok(&world, "GET", &format!("{LIST}?state=dead&source=shop&workflow=report"));
    assert_eq!(ids(&page), [""; 0]);
    let next = page["next"].as_str().expect("a next page");
    let page = ok(&world, "GET", &format!("{LIST}?state=dead&source=shop&workflow=report&after={next}"));
    assert_eq!((ids(&page), &page["next"]), (vec![last.clone()], &Value::Null));
    // A dry run reads all.
    let dry = ok(&world, "POST", &format!("{REDELIVER}?state=dead&source=shop&workflow=report"));
    assert_eq!((ids(&dry), &dry["count"], &dry["next"]), (vec![last], &json!(1), &Value::Null));
}

#[on_each_store]
fn limit_and_after_divide_an_operation() {
    let world = world();
    let all: Vec<_> = (0..5).map(|_| dead(&world, "shop", "report", 422)).collect();
    let dry = ok(&world, "POST", &format!("{DELETE}?state=dead&limit=2"));
    assert_eq!((ids(&dry), &dry["count"], &dry["next"]), (all[..2].to_vec(), &json!(2), &json!(all[1])));
    let done = ok(&world, "POST", &format!("{REDELIVER}?state=dead&limit=2&dry_run=false"));
    assert_eq!((&done["redelivered"], &done["next"]), (&json!(2), &json!(all[1])));
    assert_eq!((world.dead(), world.pending()), (all[2..].to_vec(), all[..2].to_vec()));
    let reply = world.as_operator("POST", &format!("{DELETE}?state=dead&dry_run=false&after={}", all[2]));
    let expected = json!({
        "dry_run": false, "deleted": 2, "deferred": 0, "skipped": skipped("", 0), "next": null,
    });
    assert_eq!((reply.status(), reply.json()), (200, expected));
    assert_eq!(world.dead(), [all[2].clone()]);
}

#[on_each_store]
fn operation_needs_a_state_and_knows_its_parameters() {
    let world = world();
    let id = dead(&world, "shop", "report", 422);
    for path in [REDELIVER, DELETE] {
        let missing = world.as_operator("POST", &format!("{path}?dry_run=false")).problem(400, "missing-parameter");
        assert_eq!(missing["field"], "state");
        for (query, field) in [
            ("work=report", "work"),
            ("q=report", "q"),
            ("workflow=", "workflow"),
            ("workflow=a*b", "workflow"),
            ("source=a b", "source"),
            ("received_from=yesterday", "received_from"),
            ("received_to=2026-11-24", "received_to"),
            ("failure=", "failure"),
            ("text=", "text"),
            ("dry_run=no", "dry_run"),
            ("dry_run=", "dry_run"),
            ("dry_run=false&dry_run=false", "dry_run"),
            ("limit=0", "limit"),
            ("after=x", "after"),
        ] {
            let _row = row(format!("{path} {query}"));
            let uri = format!("{path}?state=dead&dry_run=false&{}", query.replace(' ', "%20"));
            let uri = if query.starts_with("dry_run") { uri.replacen("&dry_run=false", "", 1) } else { uri };
            assert_eq!(world.as_operator("POST", &uri).problem(400, "invalid-parameter")["field"], field);
        }
        world.as_operator("GET", path).problem(405, "method-not-allowed");
        let other = world.post(&format!("{path}?state=dead&dry_run=false"), &[("authorization", "Bearer x")], "");
        other.problem(401, "unauthorized");
    }
    assert_eq!(world.dead(), [id]);
}

#[on_each_store]
fn pending_deliveries_are_due_now_or_deleted() {
    let world = world();
    let (first, second) = (postponed(&world, "shop", "report"), postponed(&world, "bank", "report"));
    let done = ok(&world, "POST", &format!("{REDELIVER}?state=pending&source=shop&dry_run=false"));
    assert_eq!(done["redelivered"], 1);
    world.engine.recover();
    world.drain();
    assert_eq!((world.engine.targets().len(), world.pending()), (1, vec![second]));
    assert_eq!(ok(&world, "POST", &format!("{DELETE}?state=pending&dry_run=false"))["deleted"], 1);
    world.advance(2 * HOUR);
    world.drain();
    assert_eq!(world.engine.targets().len(), 1);
    world.as_operator("GET", &format!("{LIST}/{first}")).problem(404, "no-delivery");
}

#[on_each_store]
fn delivery_that_is_being_sent_is_skipped() {
    let world = world().slow(5_000);
    world.run(async {
        let (_, rest) = world.handle(request("POST", EVENT_URI, &[JSON, ASYNC, SHOP], EVENT)).await;
        let changes = async {
            for (path, member) in [(REDELIVER, "redelivered"), (DELETE, "deleted")] {
                let uri = format!("{path}?state=pending&dry_run=false");
                let (reply, _) = world.handle(request("POST", &uri, &[OPERATOR], "")).await;
                let done = reply.json();
                assert_eq!((&done[member], &done["skipped"]), (&json!(0), &skipped("under_way", 1)), "{path}");
            }
        };
        join(world.finish(rest), changes).await;
    });
    assert_eq!(world.engine.targets().len(), 1);
    assert!(world.pending().is_empty());
}

#[on_each_store]
fn record_that_cant_be_read_is_skipped_or_deleted() {
    let world = world();
    let id = postponed(&world, "shop", "report");
    world.damage(&id);
    for query in ["&workflow=report", "&text=report", "&source=shop", "&failure=503"] {
        assert_eq!(ok(&world, "POST", &format!("{DELETE}?state=pending{query}"))["count"], 0, "{query}");
    }
    let done = ok(&world, "POST", &format!("{REDELIVER}?state=pending&dry_run=false"));
    assert_eq!((&done["redelivered"], &done["skipped"]), (&json!(0), &skipped("unreadable", 1)));
    let uri = format!("{DELETE}?state=pending&received_from=2026-11-24T08:30:00Z&dry_run=false");
    assert_eq!(ok(&world, "POST", &uri)["deleted"], 1);
    assert!(world.pending().is_empty());
}

#[on_each_store]
fn key_that_another_delivery_has_taken_is_respected() {
    let world = world();
    world.engine.script(answer(422, ""));
    world.post(EVENT_URI, &[JSON, ASYNC, SHOP], EVENT);
    world.engine.recover();
    let second = world.post(EVENT_URI, &[JSON, SHOP], EVENT);
    assert_eq!(second.outcome(), (200, Some("delivered")));
    let done = ok(&world, "POST", &format!("{REDELIVER}?state=dead&dry_run=false"));
    if world.kind() == StoreKind::Postgres {
        assert_eq!((&done["redelivered"], &done["skipped"]), (&json!(0), &skipped("repeated", 1)));
    } else {
        // The drain finds out.
        assert_eq!((&done["redelivered"], &done["skipped"]), (&json!(1), &skipped("", 0)));
    }
    drain_all(&world);
    assert_eq!((world.engine.targets().len(), world.dead().len(), world.pending().len()), (1, 0, 0));
    let again = world.post(EVENT_URI, &[JSON, SHOP], EVENT);
    assert_eq!((again.outcome(), again.delivery()), ((200, Some("duplicate")), second.delivery()));
}

#[on_each_store]
fn operation_during_a_drain_is_left_to_the_drain() {
    for (path, member, runs) in [(REDELIVER, "redelivered", 4), (DELETE, "deleted", 1)] {
        let _row = row(path);
        let world = world();
        for _ in 0..3 {
            dead(&world, "shop", "report", 422);
        }
        world.unreachable_for(|world| {
            world.post("/api/v2/webhook?ref=first", &[JSON, SHOP], "{}");
        });
        world.engine.latency.set(1_000);
        let reply = world.run(async {
            let drain = world.handle(request("POST", DRAIN_URI, &[OPERATOR], ""));
            let uri = format!("{path}?state=dead&workflow=report&dry_run=false");
            let repair = world.handle(request("POST", &uri, &[OPERATOR], ""));
            let (_, (reply, _)) = join(drain, repair).await;
            reply
        });
        let deferred = if world.kind() == StoreKind::KeyValue { 3 } else { 0 };
        let done = reply.json();
        assert_eq!((reply.status() == 202, &done[member]), (deferred > 0 || path == REDELIVER, &json!(3)));
        assert_eq!(done["deferred"], deferred);
        drain_all(&world);
        assert_eq!((world.engine.targets().len(), world.dead().len(), world.pending().len()), (runs, 0, 0));
    }
}

impl World {
    /// Does something while the engine can't be reached, and lets it recover.
    fn unreachable_for(&self, during: impl Fn(&Self)) {
        self.engine.behaviour.set(crate::fake::Behaviour::Unreachable);
        during(self);
        self.engine.recover();
    }
}

/// Dead letters by each path through the store, and one that doesn't match.
fn with_dead_letters() -> World {
    let world = world();
    dead(&world, "shop", "w", 422);
    for (uri, headers, body) in [
        ("/api/v2/webhook?ref=w", &[JSON, ASYNC, SHOP, ("idempotency-key", "k")][..], "{}"),
        (EVENT_URI, &[JSON, ASYNC, SHOP], EVENT),
        (CALLBACK_URI, &[JSON, ASYNC, SHOP], "{}"),
    ] {
        world.engine.script(answer(422, ""));
        assert_eq!(world.post(uri, headers, body).status(), 202);
        world.advance(1_000);
    }
    dead(&world, "shop", "other", 404);
    assert_eq!(world.dead().len(), 5);
    world.engine.recover();
    world
}

/// The state of the world once the operation was repeated after a fault.
#[track_caller]
fn assert_repaired(world: &World, path: &str) {
    let uri = format!("{path}?state=dead&failure=422&dry_run=false");
    world.as_operator("POST", &uri);
    drain_all(world);
    let mut targets = world.engine.targets();
    targets.sort_unstable();
    assert_eq!(targets, if path == REDELIVER { vec!["r", "w", "w", "w"] } else { vec![] });
    assert_eq!((world.dead().len(), world.pending().len()), (1, 0), "the other one stays");
}

#[on_each_store]
fn crash_at_any_write_loses_nothing_and_sends_nothing_twice() {
    for path in [REDELIVER, DELETE] {
        for is_drained in [false, true] {
            let mut writes = 0;
            loop {
                let _row = row(format!("{path}, crash after write {writes}, drained: {is_drained}"));
                let world = with_dead_letters();
                let at = world.plan.operations.borrow().len() + writes;
                world.plan.faults.borrow_mut().push((at, Action::Crash));
                let uri = format!("{path}?state=dead&failure=422&dry_run=false");
                let call = async { world.handle(request("POST", &uri, &[OPERATOR], "")).await.0.status() };
                let is_over = world.run_or_crash(call).is_some();
                world.plan.faults.borrow_mut().clear();
                // The lease ends: that of the drain, or of a row.
                world.advance(2 * MINUTE);
                if is_drained {
                    world.drain();
                }
                assert_repaired(&world, path);
                if is_over {
                    assert!(writes >= 4, "only {writes} writes");
                    break;
                }
                writes += 1;
            }
        }
    }
}

#[on_each_store]
fn failing_store_loses_nothing_and_repeats_nothing() {
    for path in [REDELIVER, DELETE] {
        let uri = format!("{path}?state=dead&failure=422&dry_run=false");
        let sound = with_dead_letters();
        sound.restart_count();
        ok(&sound, "POST", &uri);
        assert_repaired(&sound, path);
        let sound = with_dead_letters();
        sound.restart_count();
        ok(&sound, "POST", &uri);
        for fault in StoreFault::each(sound.operations()) {
            let _row = row(format!("{path} {fault:?}"));
            let world = with_dead_letters();
            world.fail_store(fault);
            let reply = world.as_operator("POST", &uri);
            if reply.status() >= 300 {
                reply.problem(503, "store-unavailable");
                assert!(reply.warning().contains(world.store_error()), "{}", reply.log);
            }
            world.recover_store();
            world.advance(2 * MINUTE);
            assert_repaired(&world, path);
        }
    }
}
