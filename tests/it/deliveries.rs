//! What a sender is told, what is stored before that, and what is recorded after it.

use serde_json::{Value, json};
use sluice::ports::SendError;

use crate::fake::{ASYNC, EVENT, JSON, NOW, RUN, World, request};

const HOOK: &str = "/api/v2/webhook?ref=w";
const ON_EVENT: &str = "/api/v2/event?ref=w";
const ON_CALLBACK: &str = "/api/v2/callback?ref=r&topic=t";
const KINDS: [(&str, &str); 3] = [(HOOK, "{}"), (ON_EVENT, EVENT), (ON_CALLBACK, "{}")];

#[test]
fn stored_delivery_is_answered_with_location() {
    for (uri, body) in KINDS {
        let world = World::operated().down();
        let reply = world.json(uri, body);
        assert_eq!(reply.outcome(), (202, Some("pending")), "{uri}");
        let id = reply.header("sluice-delivery").unwrap();
        let place = format!("/api/v2/deliveries/{id}");
        assert_eq!(reply.header("location"), Some(&*place));
        if uri == ON_CALLBACK {
            assert_eq!((reply.text(), reply.header("content-type")), ("", None));
        } else {
            assert_eq!(reply.text(), format!(r#"{{"delivery":"{id}","state":"pending"}}"#));
            assert_eq!(reply.header("content-type"), Some("application/json"));
        }
        assert_eq!(world.keys("sluice/pending/"), [id]);
        assert_eq!(world.operate("GET", &place).json()["id"], id);
    }
}

#[test]
fn slow_engine_is_awaited_up_to_engine_wait_ms() {
    for (uri, body) in KINDS {
        let world = World::new().slow(2_499);
        assert_eq!(world.json(uri, body).outcome(), (200, Some("delivered")), "{uri}");
        assert!(world.keys("sluice/pending/").is_empty());

        let world = World::new().slow(2_501);
        world.run(async {
            let (reply, rest) = world.answer(request("POST", uri, &[JSON], body)).await;
            assert_eq!((reply.outcome(), world.now.get()), ((202, Some("pending")), NOW + 2_500), "{uri}");
            let id = reply.header("sluice-delivery").unwrap();
            assert_eq!(world.keys("sluice/pending/"), [id], "it is stored before the answer");
            assert_eq!(world.only_stored("sluice/pending/")["sent"], NOW);
            assert!(world.acted().is_empty());
            world.finish(rest).await;
            assert_eq!(world.now.get(), NOW + 2_501, "the call goes on");
            let time = "2026-11-24T08:30:02.501Z";
            assert_eq!(*world.lines.borrow(), [json!({ "time": time, "delivery": id, "outcome": "delivered" })]);
        });
        assert_eq!(world.acted().len(), 1);
        assert!(world.keys("sluice/pending/").is_empty());
        let again = world.json(uri, body);
        let expected = if uri == HOOK { (202, Some("pending")) } else { (200, Some("duplicate")) };
        assert_eq!(again.outcome(), expected, "{uri}");
    }
}

#[test]
fn engine_wait_ms_bounds_the_wait_of_a_sender() {
    let world = World::new().with("engine_wait_ms", "40").slow(100);
    let at = world.run(async {
        let (reply, _) = world.answer(request("POST", HOOK, &[JSON], "{}")).await;
        assert_eq!(reply.status(), 202);
        world.now.get()
    });
    assert_eq!(at, NOW + 40);
}

#[test]
fn outcome_after_the_response_is_recorded() {
    let unknown = r#"{"reason":"WORKFLOW_INVALID_REFERENCE"}"#;
    let answer = |status: u16, body: &str| Ok(http::Response::builder().status(status).body(body.into()).unwrap());
    for (scripted, outcome, failure, in_doubt) in [
        (answer(200, RUN), "delivered", None, false),
        (answer(400, unknown), "rejected", Some("the engine answered 400, WORKFLOW_INVALID_REFERENCE"), false),
        (answer(503, ""), "pending", Some("the engine answered 503"), false),
        (answer(401, ""), "pending", Some("the engine answered 401"), false),
        (answer(500, ""), "pending", Some("the engine answered 500"), true),
        (
            Err(SendError::NoAnswer("its time is over")),
            "pending",
            Some("the engine sent no complete response: its time is over"),
            true,
        ),
        (
            Err(SendError::NotSent("the connection was refused")),
            "pending",
            Some("the engine can't be reached: the connection was refused"),
            false,
        ),
    ] {
        for (uri, body) in KINDS {
            let world = World::operated().scripted(scripted.clone()).after(3_000);
            assert_eq!(world.json(uri, body).outcome(), (202, Some("pending")), "{outcome} {uri}");
            let lines = world.lines.borrow();
            assert_eq!((lines.len(), &lines[0]["outcome"]), (1, &outcome.into()), "{uri}: {lines:?}");
            assert_eq!(lines[0].get("failure").and_then(Value::as_str), failure);
            let [pending, dead] = ["sluice/pending/", "sluice/dead/"].map(|prefix| world.keys(prefix).len());
            let expected = match outcome {
                "delivered" => [0, 0],
                "rejected" => [0, 1],
                _ => [1, 0],
            };
            assert_eq!([pending, dead], expected, "{outcome} {uri}");
            if outcome == "pending" {
                let stored = world.only_stored("sluice/pending/");
                assert_eq!(stored["sent"].as_u64(), in_doubt.then_some(NOW), "{failure:?}");
                assert_eq!(stored["history"], json!([[NOW + 3_000, failure.unwrap()]]));
            }
            if outcome == "rejected" {
                for free in ["sluice/flag/", "sluice/done/", "sluice/callback/"] {
                    assert!(world.keys(free).is_empty(), "{uri}: its key is free");
                }
                drop(lines);
                world.heal();
                assert_eq!(world.json(uri, body).outcome(), (200, Some("delivered")), "{uri}");
            }
        }
    }
}

#[test]
fn respond_async_is_answered_before_the_engine_is_called() {
    for (uri, body) in KINDS {
        let world = World::new().slow(100);
        world.run(async {
            let (reply, rest) = world.answer(request("POST", uri, &[JSON, ASYNC], body)).await;
            assert_eq!((reply.outcome(), world.now.get()), ((202, Some("pending")), NOW), "{uri}");
            assert_eq!(reply.header("preference-applied"), Some("respond-async"));
            assert!(world.calls().is_empty());
            assert_eq!(world.keys("sluice/pending/"), [reply.header("sluice-delivery").unwrap()]);
            world.finish(rest).await;
        });
        assert_eq!(world.calls().len(), 1);
        assert!(world.keys("sluice/pending/").is_empty(), "{uri}");
        assert_eq!(world.lines.borrow()[0]["outcome"], "delivered");
    }
}

#[test]
fn crash_after_the_response_loses_nothing() {
    for (uri, body) in KINDS {
        let world = World::operated().well();
        let rest = world.run(world.answer(request("POST", uri, &[JSON, ASYNC], body))).1;
        drop(rest);
        // Begun within 5 s or not at all, and over by engine_timeout_ms and a second.
        world.now.set(NOW + 15_999);
        assert_eq!(world.drain()["pending"], 1, "it may be under way");
        assert!(world.calls().is_empty(), "{uri}");
        world.now.set(NOW + 16_000);
        assert_eq!(world.drain()["delivered"], 1, "{uri}");
        assert_eq!(world.acted().len(), 1);
    }
}

#[test]
fn late_background_attempt_is_left_to_the_drain() {
    for (uri, body) in KINDS {
        for (late, acted) in [(4_999, 1), (5_000, 0)] {
            let world = World::operated().well();
            let rest = world.run(world.answer(request("POST", uri, &[JSON, ASYNC], body))).1;
            world.pass(late);
            world.run(world.finish(rest));
            assert_eq!(world.acted().len(), acted, "{uri} {late}");
            world.pass(20_000);
            world.drain();
            assert_eq!((world.acted().len(), world.keys("sluice/pending/").len()), (1, 0), "{uri} {late}");
        }
    }
}

#[test]
fn slow_receipt_of_the_response_starts_nothing_twice() {
    for (uri, body) in KINDS {
        for (late, drained_first) in [(5_000, false), (5_000, true), (17_000, true)] {
            let world = World::operated().well();
            let rest = world.run(world.answer(request("POST", uri, &[JSON, ASYNC], body))).1;
            world.pass(late);
            let first = if drained_first { world.drain()["delivered"].as_u64() } else { None };
            world.run(world.finish(rest));
            assert_eq!(world.acted().len() as u64, first.unwrap_or(0), "{uri} {late}: it is the drain's by now");
            world.pass(17_000);
            world.drain();
            assert_eq!(world.acted().len(), 1, "{uri} {late}");
            assert!(world.keys("sluice/pending/").is_empty());
        }
    }
}

#[test]
fn trace_headers_are_stored() {
    let world = World::operated().down();
    let trace = [
        JSON,
        ("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
        ("tracestate", "a=1"),
        ("tracestate", "b=2"),
    ];
    world.post(HOOK, &trace, "{}");
    world.heal();
    world.calls();
    world.drain();
    let sent = world.sent.borrow();
    let headers = sent[0].request.headers();
    assert_eq!(headers["traceparent"], trace[1].1);
    assert_eq!(headers.get_all("tracestate").iter().collect::<Vec<_>>(), ["a=1", "b=2"]);
}

#[test]
fn stored_delivery_sends_the_same_request() {
    const ODD: &str = "{ \"n\":12345678901234567890 ,\"d\":1,\"d\":2,\"\\u0061\":-0.0,\n\"e\":1e5}";
    let event = format!(r#"{{"specversion":"1.0","id":"1","source":"/s","type":"t","data":{ODD}}}"#);
    for (uri, body) in [(HOOK, ODD), (ON_EVENT, &*event), (ON_CALLBACK, ODD)] {
        let world = World::operated().down();
        world.json(uri, body);
        let first = world.only_sent();
        world.calls();
        world.heal();
        assert_eq!(world.drain()["delivered"], 1);
        assert_eq!(world.only_sent(), first, "{uri}");
    }
}
