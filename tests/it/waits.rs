//! Callbacks and the tasks that they are for: early ones are kept, late ones refused, lost ones sent again.

use std::borrow::Cow;
use std::time::Duration;

use futures_util::future::join;
use serde_json::{Value, json};
use sluice::callback::{Callback, CallbackRecord, State, Status};
use sluice::delivery::{DeliveryId, Key};
use sluice::ports::{Clock, SendError};
use sluice::reference::{RunRef, Topic};
use sluice::time::Timestamp;

use crate::fake::{
    CALLBACK_URI, HOUR, JSON, MINUTE, NOW, STORE_FORM, StoreKind, UNKNOWN_ID, WEBHOOK_URI, World, answer, request, row,
};

/// A world whose runs have not reached the task with topic `t`.
fn ahead() -> World {
    let world = World::with_operator().healthy();
    world.engine.ahead.borrow_mut().push("t".to_owned());
    world
}

fn reach(world: &World) {
    world.engine.ahead.borrow_mut().clear();
}

/// The dead letters, as the operator's list shows them.
fn dead(world: &World) -> Vec<Value> {
    let list = world.as_operator("GET", "/api/v2/deliveries?state=dead").json();
    list["deliveries"].as_array().unwrap().clone()
}

#[track_caller]
fn assert_dead(world: &World, failure: &str) {
    let dead = dead(world);
    assert_eq!((dead.len(), dead[0]["last_failure"].as_str()), (1, Some(failure)), "{dead:?}");
}

fn callback(run: &str, topic: &str) -> String {
    format!("/api/v2/callback?ref={run}&topic={topic}")
}

/// A run as the engine shows it, with one task for each pair of topic and status.
fn run(status: &str, tasks: &[(&str, &str)]) -> String {
    let task = |(nth, (topic, status)): (usize, &(&str, &str))| {
        let params = json!([{ "name": "topic", "value": topic }]);
        json!({ "id": format!("task-{nth}"), "type": "eventwait", "status": status, "params": params })
    };
    let tasks: Vec<_> = tasks.iter().enumerate().map(task).collect();
    let phase = match status {
        "notstarted" | "ready" => "pending",
        "running" => "running",
        _ => "completed",
    };
    json!({ "id": "r", "status": status, "phase": phase, "tasks": tasks }).to_string()
}

#[on_each_store]
fn early_callback_is_delivered_once_the_task_waits() {
    let world = ahead().setting("retry_max_attempts", 1).setting("retry_max_hours", 1);
    let reply = world.post_json(CALLBACK_URI, r#"{"n":1}"#);
    assert_eq!(reply.outcome(), (202, Some("pending")));
    assert!(world.now() <= NOW + 2_500, "{}", world.now() - NOW);
    // More passes and more time than failures may take.
    for _ in 0..5 {
        world.advance(HOUR / 2);
        assert_eq!(world.drain()["pending"], 1);
    }
    let shown = world.as_operator("GET", &format!("/api/v2/deliveries/{}", reply.delivery())).json();
    assert_eq!((&shown["attempts"], &shown["state"]), (&json!(0), &json!("pending")));
    assert_eq!(shown["last_failure"], "the run doesn't wait for the topic yet");
    assert!(world.engine.take_calls().is_empty(), "sent to a task that doesn't wait");
    // A repeat is a duplicate of it, and another one comes too late.
    assert_eq!(world.post_json(CALLBACK_URI, r#"{"n":1}"#).outcome(), (202, Some("duplicate")));
    world.post_json(CALLBACK_URI, r#"{"n":2}"#).problem(409, "callback-conflict");

    reach(&world);
    world.advance(MINUTE);
    assert_eq!(world.drain()["delivered"], 1);
    assert_eq!(world.engine.take_calls(), ["event r"]);
    assert_eq!(world.engine.effects.borrow()[0]["results"][0]["value"], json!({"n": 1}));
    assert_eq!(world.post_json(CALLBACK_URI, r#"{"n":1}"#).outcome(), (200, Some("duplicate")));
}

#[on_each_store]
fn callback_is_delivered_in_time_if_the_task_waits_within_engine_wait_ms() {
    let world = ahead();
    let ((reply, rest), ()) = world.run(join(world.handle(request("POST", CALLBACK_URI, &[JSON], "{}")), async {
        world.sleep(Duration::from_millis(2_000)).await;
        reach(&world);
    }));
    assert_eq!(reply.outcome(), (200, Some("delivered")));
    assert!(rest.is_none() && (NOW + 2_000..NOW + 2_500).contains(&world.now()), "{}", world.now() - NOW);
    // The claim that it had while it was early is released.
    assert_eq!((world.claimed(), world.remembered()), (1, 1));
}

#[on_each_store]
fn early_callback_is_looked_at_again_after_a_tenth_of_its_age() {
    let world = ahead();
    world.post_json(CALLBACK_URI, "{}");
    let since = world.only_pending()["early_since"].as_u64().unwrap();
    for (age, pause) in [(10_000, 1_000), (100_000, 10_000), (600_000, 60_000), (6_000_000, 60_000)] {
        let _row = row(format!("{age} ms old"));
        world.clock.set(since + age);
        assert_eq!(world.drain()["pending"], 1);
        let stored = world.only_pending();
        assert_eq!(stored["next"].as_u64().unwrap() - since, age + pause);
    }
}

#[on_each_store]
fn early_callbacks_do_not_end_a_pass() {
    let world = ahead();
    for n in 0..20 {
        assert_eq!(world.post_json(&callback(&format!("r{n}"), "t"), "{}").status(), 202);
    }
    let world = world.unreachable();
    assert_eq!(world.post_json(WEBHOOK_URI, "{}").status(), 202);
    world.engine.recover();
    world.engine.take_looks();
    world.advance(MINUTE);
    let drained = world.drain();
    assert_eq!((&drained["delivered"], &drained["pending"]), (&json!(1), &json!(20)), "{drained}");
    assert_eq!(drained["stopped"], Value::Null, "{drained}");
    assert_eq!(world.engine.targets(), ["w"]);
    let mut looks = world.engine.take_looks();
    looks.sort_unstable();
    looks.dedup();
    assert_eq!(looks.len(), 20);
}

#[on_each_store]
fn early_callbacks_of_one_run_cost_one_look_in_a_pass() {
    let world = World::with_operator().healthy();
    let topics: Vec<_> = (0..30).map(|n| format!("topic-{n}")).collect();
    world.engine.topics.borrow_mut().extend(topics.clone());
    world.engine.ahead.borrow_mut().extend(topics.clone());
    for topic in &topics {
        assert_eq!(world.post_json(&callback("r", topic), "{}").status(), 202);
    }
    for _ in 0..3 {
        world.advance(MINUTE);
        world.engine.take_looks();
        assert_eq!(world.drain()["pending"], 30);
        assert_eq!(world.engine.take_looks(), ["r"]);
    }
    // Each is delivered while the others are still early.
    for (nth, topic) in topics.iter().enumerate().rev().take(3) {
        world.engine.ahead.borrow_mut().remove(nth);
        world.advance(MINUTE);
        assert_eq!(world.drain()["delivered"], 1, "{topic}");
    }
    assert_eq!(world.engine.targets(), ["r", "r", "r"]);
}

#[on_each_store]
fn early_callback_becomes_dead_letter_after_callback_wait_hours() {
    let world = ahead().setting("callback_wait_hours", 3);
    world.post_json(CALLBACK_URI, "{}");
    for (at, state) in [(HOUR, "pending"), (3 * HOUR - 1, "pending"), (3 * HOUR + MINUTE, "dead")] {
        world.clock.set(NOW + at);
        assert_eq!(world.drain()[state], 1, "after {at} ms");
    }
    assert_dead(&world, "the run did not wait for the topic within callback_wait_hours");
    // The same callback is accepted anew.
    reach(&world);
    assert_eq!(world.post_json(CALLBACK_URI, "{}").outcome(), (200, Some("delivered")));
}

#[on_each_store]
fn callback_is_refused_once_the_run_has_ended() {
    for (name, view) in [
        ("task skipped", run("succeeded", &[("t", "skipped")])),
        ("task never reached", run("failed", &[("t", "notstarted")])),
        ("no task", run("succeeded", &[])),
        ("cancelled", run("cancelled", &[("t", "waiting")])),
    ] {
        let _row = row(name);
        let world = World::with_operator().healthy();
        *world.engine.look.borrow_mut() = Some(answer(200, &view));
        let reply = world.post_json(CALLBACK_URI, "{}");
        reply.problem(409, "callback-resolved");
        assert_eq!(reply.header("sluice-outcome"), Some("rejected"));
        assert!(world.pending().is_empty() && world.engine.take_calls().is_empty());

        let world = ahead();
        assert_eq!(world.post_json(CALLBACK_URI, "{}").status(), 202);
        *world.engine.look.borrow_mut() = Some(answer(200, &view));
        world.advance(MINUTE);
        assert_eq!(world.drain()["rejected"], 1);
        assert_dead(&world, "the run no longer waits for the topic");
        assert_eq!(world.claimed(), 0, "its claim is released");
    }
}

#[on_each_store]
fn unknown_topic_is_refused_at_once() {
    let world = World::with_operator().healthy();
    let problem = world.post_json(&callback("r", "typo"), "{}").problem(404, "unknown-topic");
    assert_eq!(problem["field"], "topic");
    assert_eq!(world.now(), NOW);
    world.assert_untouched();
    for (name, status, tasks, is_kept) in [
        ("topic made of params", "running", &[("$(params.x)", "notstarted")][..], true),
        ("other topic", "running", &[("u", "notstarted")], false),
        ("made of params, but reached", "running", &[("$(params.x)", "waiting")], false),
        ("tasks not created yet", "ready", &[], true),
        ("run not started", "notstarted", &[], true),
    ] {
        let _row = row(name);
        let world = World::with_operator().healthy();
        *world.engine.look.borrow_mut() = Some(answer(200, &run(status, tasks)));
        let reply = world.post_json(CALLBACK_URI, "{}");
        assert_eq!(reply.status(), if is_kept { 202 } else { 404 }, "{}", reply.text());
        assert_eq!(world.pending().len(), usize::from(is_kept));
    }
}

#[on_each_store]
fn only_a_repeat_of_the_callback_that_ended_the_task_succeeds() {
    let world = World::with_operator().healthy();
    assert_eq!(world.post_json(CALLBACK_URI, "{}").outcome(), (200, Some("delivered")));
    assert_eq!(world.post_json(CALLBACK_URI, "{}").outcome(), (200, Some("duplicate")));
    world.post_json(CALLBACK_URI, r#"{"n":1}"#).problem(409, "callback-conflict");
    world.post_json(&format!("{CALLBACK_URI}&status=failed"), "{}").problem(409, "callback-conflict");
    assert_eq!(world.engine.targets(), ["r"]);
    // The task was ended past Sluice.
    let world = World::with_operator().healthy();
    world.engine.ended.borrow_mut().push(("r".to_owned(), "t".to_owned(), "succeeded".to_owned()));
    let problem = world.post_json(CALLBACK_URI, "{}").problem(409, "callback-resolved");
    assert!(problem["detail"].as_str().unwrap().contains("status succeeded"), "{problem}");
    assert!(world.engine.targets().is_empty() && world.is_empty());
}

#[on_each_store]
fn second_task_with_the_topic_is_another_wait() {
    let world = World::with_operator().healthy();
    world.engine.loops.borrow_mut().push("t".to_owned());
    for body in ["{}", "{}", r#"{"n":1}"#] {
        assert_eq!(world.post_json(CALLBACK_URI, body).outcome(), (200, Some("delivered")), "{body}");
        world.advance(1_000);
    }
    assert_eq!(world.engine.targets(), ["r", "r", "r"]);
    let list = world.as_operator("GET", "/api/v2/callbacks/r").json();
    assert_eq!(list["callbacks"].as_array().unwrap().len(), 3);
    // While the next task isn't reached, a callback is kept for it.
    world.engine.ahead.borrow_mut().push("t".to_owned());
    assert_eq!(world.post_json(CALLBACK_URI, "{}").outcome(), (202, Some("pending")));
    reach(&world);
    world.advance(MINUTE);
    assert_eq!(world.drain()["delivered"], 1);
    assert_eq!(world.engine.targets().len(), 4);
}

#[on_each_store]
fn lost_callback_is_sent_again_after_two_looks() {
    let world = World::with_operator().healthy();
    world.engine.loses_events.set(true);
    let (reply, rest) = world.run(world.handle(request("POST", CALLBACK_URI, &[JSON], "{}")));
    assert_eq!((reply.outcome(), world.engine.targets().len()), ((202, Some("pending")), 1));
    drop(rest);
    // A repeat is recognized, but not sent.
    assert_eq!(world.post_json(CALLBACK_URI, "{}").outcome(), (202, Some("duplicate")));
    // A pass looks for up to a second. In PostgreSQL, the lease of the instance that has gone runs out first.
    let passes = if world.kind() == StoreKind::KeyValue {
        vec![(9_900, 1), (11_200, 2)]
    } else {
        vec![(49_900, 1), (52_500, 2)]
    };
    for (at, sent) in passes {
        world.clock.set(NOW + at);
        world.drain();
        assert_eq!(world.engine.targets().len(), sent, "after {at} ms");
    }
    let sent: Vec<_> = world.engine.received.borrow().iter().map(|received| received.arrived_at).collect();
    assert!(sent[1] - sent[0] >= 11_000, "{sent:?}");
    world.engine.loses_events.set(false);
    world.advance(20_000);
    assert_eq!(world.drain()["delivered"], 1);
    assert_eq!(world.engine.targets().len(), 3);
    assert_eq!(world.post_json(CALLBACK_URI, "{}").outcome(), (200, Some("duplicate")));
}

#[on_each_store]
fn callback_is_sent_three_times_at_most() {
    let world = World::with_operator().healthy();
    world.engine.loses_events.set(true);
    let id = world.post_json(CALLBACK_URI, "{}").delivery();
    for _ in 0..20 {
        world.advance(MINUTE);
        if world.drain()["dead"] == 1 {
            break;
        }
    }
    assert_eq!(world.engine.targets().len(), 3);
    assert_dead(&world, "it was sent three times, and the task still waits");
    let sent: Vec<_> = world.engine.received.borrow().iter().map(|received| received.arrived_at).collect();
    assert!(sent.windows(2).all(|pair| pair[1] - pair[0] >= 11_000), "{sent:?}");
    // An operator may have it sent again.
    world.engine.loses_events.set(false);
    assert_eq!(world.as_operator("POST", &format!("/api/v2/deliveries/{id}/redeliver")).json()["state"], "delivered");
    assert_eq!(world.engine.targets().len(), 4);
}

#[on_each_store]
fn lost_answer_is_made_up_for_by_a_look() {
    for (name, world) in [
        ("connection cut", World::with_operator().losing_responses()),
        ("no effect seen", World::with_operator().result(Err(SendError::NoResponse("the connection was cut")))),
    ] {
        let _row = row(name);
        let is_seen = name == "connection cut";
        let (reply, _) = world.run(world.handle(request("POST", CALLBACK_URI, &[JSON], "{}")));
        let expected = if is_seen { (200, Some("delivered")) } else { (202, Some("pending")) };
        assert_eq!(reply.outcome(), expected);
    }
}

#[on_each_store]
fn overruled_callback_becomes_dead_letter() {
    for (status, outcome) in [("failed", "rejected"), ("succeeded", "delivered")] {
        let _row = row(status);
        let world = World::with_operator().healthy();
        world.engine.loses_events.set(true);
        let (reply, rest) = world.run(world.handle(request("POST", CALLBACK_URI, &[JSON], "{}")));
        assert_eq!(reply.outcome(), (202, Some("pending")));
        drop(rest);
        world.engine.ended.borrow_mut().push(("r".to_owned(), "t".to_owned(), status.to_owned()));
        world.advance(MINUTE);
        assert_eq!(world.drain()[outcome], 1);
        if outcome == "rejected" {
            assert_dead(&world, "overruled: it was sent, but the task ended with status failed");
        }
    }
}

#[on_each_store]
fn old_callback_is_looked_at_before_it_becomes_dead_letter() {
    // No drain ran for longer than `retry_max_hours`.
    let world = World::with_operator().healthy();
    world.engine.loses_events.set(true);
    let (_, rest) = world.run(world.handle(request("POST", CALLBACK_URI, &[JSON], "{}")));
    drop(rest);
    world.engine.ended.borrow_mut().push(("r".to_owned(), "t".to_owned(), "succeeded".to_owned()));
    world.advance(30 * HOUR);
    assert_eq!(world.drain()["delivered"], 1);
    assert_eq!(world.engine.targets().len(), 1);

    let world = ahead();
    world.post_json(CALLBACK_URI, "{}");
    world.advance(30 * HOUR);
    assert_eq!(world.drain()["pending"], 1);
    reach(&world);
    world.advance(30 * HOUR);
    assert_eq!(world.drain()["delivered"], 1);
}

#[on_each_store]
fn callback_that_was_never_sent_does_not_count_by_its_claim() {
    let world = World::with_operator().respond(503, "");
    assert_eq!(world.post_json(CALLBACK_URI, "{}").outcome(), (202, Some("pending")));
    world.engine.ended.borrow_mut().push(("r".to_owned(), "t".to_owned(), "failed".to_owned()));
    world.advance(MINUTE);
    assert_eq!(world.drain()["rejected"], 1);
    assert_dead(&world, "the task that waited for the topic has ended, with status failed");
}

#[on_each_store]
fn callbacks_are_claimed_while_the_engine_is_unreachable() {
    let world = World::with_operator().unreachable();
    let first = world.post_json(CALLBACK_URI, "{}");
    assert_eq!(first.outcome(), (202, Some("pending")));
    let again = world.post_json(CALLBACK_URI, "{}");
    assert_eq!((again.outcome(), again.delivery()), ((202, Some("duplicate")), first.delivery()));
    world.post_json(CALLBACK_URI, r#"{"n":1}"#).problem(409, "callback-conflict");
    // Once it is dead, its claim is released.
    world.advance(25 * HOUR);
    assert_eq!(world.drain()["dead"], 1);
    world.engine.recover();
    assert_eq!(world.post_json(CALLBACK_URI, r#"{"n":1}"#).outcome(), (200, Some("delivered")));
    assert_eq!(world.engine.targets(), ["r"]);
}

/// Release 0.1 recorded a callback for its run and topic, in the windows of `retention_hours`.
#[test]
fn callback_that_release_0_1_has_delivered_is_still_known() {
    StoreKind::KeyValue.choose();
    let world = World::with_operator().healthy();
    world.store.entries.borrow_mut().remove(STORE_FORM);
    let (run, topic) = (RunRef::parse("r").unwrap(), Topic::parse("t").unwrap());
    let payload = Some(Cow::Borrowed(serde_json::from_str("{}").unwrap()));
    let callback = Callback { run, topic, status: Status::Succeeded, payload };
    let mut record = CallbackRecord::pending(DeliveryId::parse(UNKNOWN_ID).unwrap(), &callback, Timestamp(NOW));
    record.state = State::Delivered;
    let name = format!("sluice/callback/{}/{}", NOW / (72 * HOUR), Key::callback(&callback).hash());
    world.store.put(name, &record.to_bytes().unwrap());
    world.engine.ended.borrow_mut().push(("r".to_owned(), "t".to_owned(), "succeeded".to_owned()));

    world.drain();
    let repeat = world.post_json(CALLBACK_URI, "{}");
    assert_eq!((repeat.outcome(), repeat.delivery().as_str()), ((200, Some("duplicate")), UNKNOWN_ID));
    assert_eq!(world.post_json(CALLBACK_URI, r#"{"n":1}"#).status(), 409);
    assert_eq!(world.as_operator("GET", "/api/v2/callbacks/r?topic=t").json()["state"], "delivered");
}

#[on_each_store]
fn slow_looks_delay_a_callback_but_do_not_stop_it() {
    for (ms, accepted) in [(1_000, 200), (2_000, 202), (9_000, 202)] {
        let _row = row(format!("{ms} ms for a look"));
        let world = World::with_operator().healthy();
        world.engine.look_latency.set(ms);
        assert_eq!(world.post_json(CALLBACK_URI, "{}").status(), accepted);
        for _ in 0..3 {
            world.advance(12_000);
            world.drain();
        }
        assert!(world.pending().is_empty() && dead(&world).is_empty());
        assert_eq!(world.engine.targets(), ["r"]);
    }
}
