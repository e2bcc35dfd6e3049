//! Kept payloads of delivered starts, and their replay as new runs.

use serde_json::{Value, json};

use crate::console::as_operator;
use crate::fake::{
    At, CALLBACK_URI, EVENT, EVENT_URI, Fault, HOUR, JSON, MINUTE, OPERATOR, StoreKind, WEBHOOK_URI, World, answer,
    label, request,
};

const REPLAY: &str = "/api/v2/deliveries/replay";

/// A world that keeps what it delivers for a day.
fn world() -> World {
    StoreKind::Postgres.choose();
    World::with_operator().setting("keep_hours", 24).healthy()
}

/// The ids of the kept starts, in order of arrival.
fn kept(world: &World) -> Vec<String> {
    world.database().tables().kept().map(|row| row.id.clone()).collect()
}

/// Delivers a webhook to a workflow.
fn deliver(world: &World, workflow: &str, body: &str) -> String {
    let reply = world.post_json(&format!("/api/v2/webhook?ref={workflow}"), body);
    assert_eq!(reply.outcome(), (200, Some("delivered")), "{}", reply.text());
    world.advance(1_000);
    reply.delivery()
}

#[track_caller]
fn replay(world: &World, query: &str) -> Value {
    let reply = world.as_operator("POST", &format!("{REPLAY}?{query}"));
    assert!(reply.status() < 300, "{}", reply.text());
    reply.json()
}

/// The runs that the engine has started, each with its workflow, what it replays, and its data.
fn runs(world: &World) -> Vec<(String, Option<String>, Value)> {
    let effects = world.engine.effects.borrow();
    let run = |run: &Value| {
        let data = run["params"].as_array().unwrap().iter().find(|param| param["name"] == "data").unwrap();
        let original = run["labels"]["sluice.dev/replay-of"].as_str().map(str::to_owned);
        (run["target"].as_str().unwrap().to_owned(), original, data["value"].clone())
    };
    effects.iter().map(run).collect()
}

#[test]
fn each_delivered_start_is_kept_once() {
    let world = world();
    let plain = deliver(&world, "w", r#"{"n":1}"#);
    let keyed = world.post_json(EVENT_URI, EVENT).delivery();
    assert_eq!(world.post_json(EVENT_URI, EVENT).outcome(), (200, Some("duplicate")));
    // By a drain, after the response, and by an operator.
    let mut ids = vec![plain, keyed];
    world.advance(1_000);
    world.engine.script(answer(503, ""));
    ids.push(world.post_json(WEBHOOK_URI, "{}").delivery());
    world.advance(MINUTE);
    assert_eq!(world.drain()["delivered"], 1);
    ids.push(world.post(WEBHOOK_URI, &[JSON, crate::fake::ASYNC], "{}").delivery());
    world.advance(1_000);
    world.engine.script(answer(503, ""));
    let pending = world.post_json(WEBHOOK_URI, "{}").delivery();
    let redelivered = world.as_operator("POST", &format!("/api/v2/deliveries/{pending}/redeliver"));
    assert_eq!(redelivered.json()["state"], "delivered");
    ids.push(pending);
    // Neither a callback nor what the engine rejects.
    assert_eq!(world.post_json(CALLBACK_URI, "{}").status(), 200);
    world.engine.script(answer(422, ""));
    assert_eq!(world.post_json(WEBHOOK_URI, "{}").status(), 422);
    assert_eq!(kept(&world), ids);
    let first = world.database().tables().kept().next().unwrap().clone();
    assert_eq!((first.reference.as_str(), first.source), ("w", None));
    assert!(first.delivery.contains(r#""payload":{"n":1}"#), "{}", first.delivery);

    world.advance(23 * HOUR);
    world.drain();
    assert_eq!(kept(&world).len(), 5);
    world.advance(HOUR);
    world.drain();
    assert_eq!(kept(&world), [""; 0]);
}

#[test]
fn dry_run_says_how_many_and_which() {
    let world = world();
    let ids: Vec<_> = ["a", "b", "a"].iter().map(|workflow| deliver(&world, workflow, "{}")).collect();
    world.engine.take_calls();
    let dry = replay(&world, "workflow=a");
    let listed = dry["deliveries"].as_array().unwrap();
    assert_eq!((&dry["dry_run"], &dry["count"], &dry["next"]), (&json!(true), &json!(2), &Value::Null));
    let expected = |n: usize| (listed[n]["id"] == ids[2 * n].as_str(), listed[n]["ref"] == "a");
    assert_eq!([expected(0), expected(1)], [(true, true); 2]);
    assert_eq!(dry.get("replayed"), None);
    assert!(world.engine.take_calls().is_empty() && world.pending().is_empty(), "a dry run acts");
    assert_eq!(replay(&world, "workflow=*")["count"], 3);
    assert_eq!(replay(&world, "text=B")["count"], 1);
    assert_eq!(replay(&world, "source=shop")["count"], 0);
    let page = replay(&world, "limit=2");
    assert_eq!((&page["count"], &page["next"]), (&json!(2), &json!(ids[1])));
    let rest = replay(&world, &format!("after={}", ids[1]));
    assert_eq!((&rest["count"], &rest["deliveries"][0]["id"]), (&json!(1), &json!(ids[2])));
}

#[test]
fn replay_starts_new_runs_with_the_label_of_the_original() {
    let world = world();
    let first = deliver(&world, "deploy", r#"{"n":1}"#);
    deliver(&world, "build", r#"{"n":2}"#);
    let event = r#"{"specversion":"1.0","id":"7","source":"/s","type":"t","data":{"n":3}}"#;
    let second = world.post_json("/api/v2/event?ref=deploy", event).delivery();
    world.advance(1_000);
    let before = world.engine.effects.borrow().len();
    let done = replay(&world, "workflow=deploy&dry_run=false");
    assert_eq!(done, json!({ "dry_run": false, "replayed": 2, "repeated": 0, "unreadable": 0, "next": null }));
    assert_eq!((world.engine.effects.borrow().len(), world.pending().len()), (before, 2), "the drain sends them");
    assert_eq!(world.drain()["delivered"], 2);
    let all = runs(&world);
    let replayed = |id: &str, n: u64| ("deploy".to_owned(), Some(id.to_owned()), json!({ "n": n }));
    assert_eq!(all[before..], [replayed(&first, 1), replayed(&second, 3)]);
    let effects = world.engine.effects.borrow();
    let labels: std::collections::BTreeSet<_> = effects.iter().map(label).collect();
    assert_eq!(labels.len(), effects.len(), "each run has a mark of its own");
    assert_eq!(kept(&world).len(), 3, "a replay is not kept: its original is");
}

/// A request that is sent again, because its answer was lost, doubles nothing.
#[test]
fn start_is_replayed_once_under_one_name() {
    let world = world();
    deliver(&world, "w", "{}");
    let count = |done: &Value| [done["replayed"].as_u64().unwrap(), done["repeated"].as_u64().unwrap()];
    assert_eq!(count(&replay(&world, "dry_run=false")), [1, 0]);
    assert_eq!(count(&replay(&world, "dry_run=false")), [0, 1]);
    world.drain();
    assert_eq!(count(&replay(&world, "dry_run=false")), [0, 1]);
    assert_eq!(count(&replay(&world, "dry_run=false&name=second")), [1, 0]);
    world.drain();
    assert_eq!(runs(&world).len(), 3);
    // The connection breaks after the statement had its effect.
    world.database().fail(&[(At::Each("claim"), Fault::BreakAfter)]);
    world.as_operator("POST", &format!("{REPLAY}?dry_run=false&name=third"));
    world.database().recover();
    replay(&world, "dry_run=false&name=third");
    world.drain();
    assert_eq!(runs(&world).len(), 4);
}

#[test]
fn replay_may_go_to_another_workflow_and_to_a_time() {
    let world = world();
    let early = deliver(&world, "w", r#"{"n":1}"#);
    world.advance(HOUR);
    let at = sluice::time::Timestamp(world.now()).rfc3339();
    deliver(&world, "w", r#"{"n":2}"#);
    assert_eq!(replay(&world, &format!("received_from={at}"))["count"], 1);
    assert_eq!(replay(&world, &format!("received_to={at}&to=fixed&dry_run=false"))["replayed"], 1);
    world.drain();
    assert_eq!(runs(&world)[2], ("fixed".to_owned(), Some(early), json!({ "n": 1 })));
}

#[test]
fn parameters_are_checked() {
    let world = world();
    for (query, field) in [
        ("dry_run=yes", "dry_run"),
        ("name=", "name"),
        ("name=a%20b", "name"),
        ("to=", "to"),
        ("to=team/w", "to"),
        ("limit=0", "limit"),
        ("after=x", "after"),
        ("workflw=a&dry_run=false", "workflw"),
        ("failure=500", "failure"),
    ] {
        let reply = world.as_operator("POST", &format!("{REPLAY}?{query}"));
        assert_eq!((reply.status(), &reply.json()["field"]), (400, &json!(field)), "{query}: {}", reply.text());
    }
    assert_eq!(world.post(REPLAY, &[], "").status(), 401);
}

#[test]
fn without_keep_hours_there_is_nothing_to_replay() {
    for kind in [StoreKind::Postgres, StoreKind::KeyValue] {
        kind.choose();
        let world = World::with_operator().healthy();
        world.post_json(WEBHOOK_URI, "{}");
        let problem = world.as_operator("POST", REPLAY).problem(404, "not-found");
        assert!(problem["detail"].as_str().unwrap().contains("set `keep_hours`"), "{problem}");
    }
    StoreKind::KeyValue.choose();
    let world = World::with_operator().setting("keep_hours", 24).healthy();
    let problem = world.get("/readyz").wrong_setting("keep_hours");
    assert!(problem["detail"].as_str().unwrap().contains("`database_url`"), "{problem}");
}

/// The database has the schema of a release that kept no payloads.
#[test]
fn database_without_the_table_goes_on_working() {
    let world = World::on(StoreKind::Postgres).with_operator_token().healthy();
    world.database().drop_kept();
    deliver(&world, "w", "{}");
    world.engine.script(answer(503, ""));
    world.post_json(WEBHOOK_URI, "{}");
    world.advance(MINUTE);
    assert_eq!(world.drain()["delivered"], 1);
    assert_eq!(world.get("/readyz").status(), 200);
    // With `keep_hours`, `/readyz` says what is missing. Deliveries go on.
    world.set_setting("keep_hours", 24);
    let problem = world.get("/readyz").problem(503, "store-unavailable");
    assert!(problem["detail"].as_str().unwrap().contains("run schema.sql again"), "{problem}");
    let reply = world.post_json(EVENT_URI, EVENT);
    assert_eq!(reply.outcome(), (200, Some("delivered")));
    // The outcome is written after the response, and so is the payload.
    let [line] = world.log.take().try_into().unwrap();
    assert!(line["warning"].as_str().unwrap().contains("was not kept"), "{line}");
    assert_eq!(world.post_json(EVENT_URI, EVENT).outcome(), (200, Some("duplicate")), "it is not settled");
}

/// `keep_hours` was taken away: what was kept goes all the same.
#[test]
fn kept_payloads_are_swept_without_the_setting() {
    let world = world();
    deliver(&world, "w", "{}");
    world.set_setting("keep_hours", 0);
    world.drain();
    assert_eq!(kept(&world).len(), 1);
    world.advance(25 * HOUR);
    world.drain();
    assert_eq!(kept(&world), [""; 0]);
}

#[test]
fn keeping_costs_one_statement_before_the_outcome() {
    let world = world();
    let statements = |uri: &str, body: &str| {
        world.database().take_calls();
        let (reply, rest) = world.run(world.handle(request("POST", uri, &[JSON], body)));
        assert_eq!(reply.status(), 200);
        let waiting = world.database().take_statements();
        world.run(world.finish(rest));
        [waiting, world.database().take_statements()]
    };
    assert_eq!(statements(WEBHOOK_URI, "{}"), [vec!["keep"], vec![]]);
    assert_eq!(statements(EVENT_URI, EVENT), [vec!["claim"], vec!["keep", "settle"]]);
    assert_eq!(statements(EVENT_URI, EVENT), [vec!["claim"], vec![]]);
}

#[test]
fn console_asks_before_it_replays() {
    let world = world();
    let page = |world: &World, method: &str, uri: &str| {
        let reply = as_operator(world, method, uri, &[("sec-fetch-site", "same-origin")]);
        assert_eq!(reply.status(), 200, "{}", reply.text());
        reply.text().to_owned()
    };
    let id = deliver(&world, "deploy", "{}");
    assert!(page(&world, "GET", "/console/replay").contains("name=\"workflow\""));
    let uri = "/console/replay?workflow=deploy&source=&received_from=&received_to=&to=&name=bad-release";
    let question = page(&world, "GET", uri);
    assert!(question.contains("Replay 1 start?") && question.contains(&id), "{question}");
    assert!(world.pending().is_empty());
    let action = question.split("action=\"").nth(1).unwrap().split('"').next().unwrap().replace("&amp;", "&");
    let result = page(&world, "POST", &action);
    assert!(result.contains("1 start is pending again"), "{result}");
    assert!(page(&world, "POST", &action).contains("replayed before under the name"));
    world.drain();
    assert_eq!(runs(&world).len(), 2);
    world.set_setting("keep_hours", 0);
    assert!(page(&world, "GET", "/console/replay").contains("Set <code>keep_hours</code>"));
}

#[test]
fn operator_token_is_needed() {
    let world = world();
    let reply = world.send(request("POST", REPLAY, &[], ""));
    assert_eq!(reply.status(), 401);
    assert_eq!(world.send(request("POST", REPLAY, &[OPERATOR], "")).status(), 200);
}
