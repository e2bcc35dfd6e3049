//! The life of a delivery: the response to its sender, the record stored before it, and the outcome recorded after it.

use serde_json::{Value, json};
use sluice::ports::SendError;

use crate::fake::{
    ASYNC, CALLBACK_URI, EVENT_URI, INGRESS, JSON, NOW, RUN, StoreKind, WEBHOOK_URI, World, answer, request, row,
};

#[on_each_store]
fn stored_delivery_is_answered_with_location() {
    for (uri, body) in INGRESS {
        let _row = row(uri);
        let world = World::with_operator().unreachable();
        let reply = world.post_json(uri, body);
        assert_eq!(reply.outcome(), (202, Some("pending")));
        let id = reply.delivery();
        let location = format!("/api/v2/deliveries/{id}");
        assert_eq!(reply.header("location"), Some(&*location));
        if uri == CALLBACK_URI {
            assert_eq!((reply.text(), reply.header("content-type")), ("", None));
        } else {
            assert_eq!(reply.text(), format!(r#"{{"delivery":"{id}","state":"pending"}}"#));
            assert_eq!(reply.header("content-type"), Some("application/json"));
        }
        assert_eq!(world.pending(), [&*id]);
        assert_eq!(world.as_operator("GET", &location).json()["id"], id);
    }
}

#[on_each_store]
fn slow_engine_is_awaited_up_to_engine_wait_ms() {
    for (uri, body) in INGRESS {
        let _row = row(uri);
        let world = World::new().slow(2_499);
        assert_eq!(world.post_json(uri, body).outcome(), (200, Some("delivered")));
        assert!(world.pending().is_empty());

        let world = World::new().slow(2_501);
        world.run(async {
            let (reply, rest) = world.handle(request("POST", uri, &[JSON], body)).await;
            assert_eq!((reply.outcome(), world.now()), ((202, Some("pending")), NOW + 2_500));
            let id = reply.delivery();
            assert_eq!(world.pending(), [&*id], "stored before the response");
            if world.kind() == StoreKind::KeyValue {
                assert_eq!(world.only_pending()["sent"], NOW);
            }
            assert!(world.engine.targets().is_empty());
            world.finish(rest).await;
            // The first look for the effect of a callback follows its response by 20 ms.
            let (end, time) = match uri {
                CALLBACK_URI => (2_521, "2026-11-24T08:30:02.521Z"),
                _ => (2_501, "2026-11-24T08:30:02.501Z"),
            };
            assert_eq!(world.now(), NOW + end, "the call continues");
            assert_eq!(*world.log.borrow(), [json!({ "time": time, "delivery": id, "outcome": "delivered" })]);
        });
        assert_eq!(world.engine.targets().len(), 1);
        assert!(world.pending().is_empty());
        let again = world.post_json(uri, body);
        let expected = if uri == WEBHOOK_URI { (202, Some("pending")) } else { (200, Some("duplicate")) };
        assert_eq!(again.outcome(), expected, "repeated");
    }
}

#[on_each_store]
fn engine_wait_ms_bounds_the_wait_of_a_sender() {
    let world = World::new().setting("engine_wait_ms", 40).slow(100);
    let at = world.run(async {
        let (reply, _) = world.handle(request("POST", WEBHOOK_URI, &[JSON], "{}")).await;
        assert_eq!(reply.status(), 202);
        world.now()
    });
    assert_eq!(at, NOW + 40);
}

#[on_each_store]
fn outcome_after_the_response_is_recorded() {
    let unknown = r#"{"reason":"WORKFLOW_INVALID_REFERENCE"}"#;
    for (result, outcome, failure, is_ambiguous) in [
        (answer(200, RUN), "delivered", None, false),
        (answer(400, unknown), "rejected", Some("the engine answered 400, WORKFLOW_INVALID_REFERENCE"), false),
        (answer(503, ""), "pending", Some("the engine answered 503"), false),
        (answer(401, ""), "pending", Some("the engine answered 401"), false),
        (answer(500, ""), "pending", Some("the engine answered 500"), true),
        (
            Err(SendError::NoResponse("the attempt timed out")),
            "pending",
            Some("the engine sent no complete response: the attempt timed out"),
            true,
        ),
        (
            Err(SendError::NotSent("the connection was refused")),
            "pending",
            Some("the engine can't be reached: the connection was refused"),
            false,
        ),
    ] {
        for (uri, body) in INGRESS {
            let _row = row(format!("{uri}, {outcome}, {failure:?}"));
            let world = World::with_operator().result(result.clone()).after(3_000);
            assert_eq!(world.post_json(uri, body).outcome(), (202, Some("pending")));
            let log = world.log.take();
            assert_eq!((log.len(), &log[0]["outcome"]), (1, &outcome.into()), "{log:?}");
            assert_eq!(log[0].get("failure").and_then(Value::as_str), failure);
            let [pending, dead] = [world.pending().len(), world.dead().len()];
            let expected = match outcome {
                "delivered" => [0, 0],
                "rejected" => [0, 1],
                _ => [1, 0],
            };
            assert_eq!([pending, dead], expected, "pending and dead");
            if outcome == "pending" {
                let stored = world.only_pending();
                assert_eq!(stored["sent"].as_u64(), is_ambiguous.then_some(NOW));
                assert_eq!(stored["history"], json!([[NOW + 3_000, failure.unwrap()]]));
            }
            if outcome == "rejected" {
                assert_eq!((world.remembered(), world.claimed()), (0, 0));
                world.engine.recover();
                assert_eq!(world.post_json(uri, body).outcome(), (200, Some("delivered")));
            }
        }
    }
}

#[on_each_store]
fn respond_async_is_answered_before_the_engine_is_called() {
    for (uri, body) in INGRESS {
        let _row = row(uri);
        let world = World::new().slow(100);
        world.run(async {
            let (reply, rest) = world.handle(request("POST", uri, &[JSON, ASYNC], body)).await;
            assert_eq!((reply.outcome(), world.now()), ((202, Some("pending")), NOW));
            assert_eq!(reply.header("preference-applied"), Some("respond-async"));
            assert!(world.engine.take_calls().is_empty());
            assert_eq!(world.pending(), [reply.delivery()]);
            world.finish(rest).await;
        });
        assert_eq!(world.engine.take_calls().len(), 1);
        assert!(world.pending().is_empty());
        // A callback is left to a drain after the response.
        let log = world.log.take();
        assert_eq!(log.len(), 1, "{log:?}");
        match uri {
            CALLBACK_URI => assert_eq!(log[0]["drained"]["delivered"], 1, "{log:?}"),
            _ => assert_eq!(log[0]["outcome"], "delivered", "{log:?}"),
        }
    }
}

#[on_each_store]
fn crash_after_the_response_loses_nothing() {
    for (uri, body) in INGRESS {
        let _row = row(uri);
        let world = World::with_operator().healthy();
        let (_, rest) = world.run(world.handle(request("POST", uri, &[JSON, ASYNC], body)));
        drop(rest);
        if uri == CALLBACK_URI {
            // Only a drain sends it, so no other attempt can be under way.
            assert_eq!(world.drain()["delivered"], 1);
            assert_eq!(world.engine.targets(), ["r"]);
            continue;
        }
        // The attempt starts within 5 s or never, and ends within engine_timeout_ms and a second. In PostgreSQL, a
        // drain can't know that it has not started, and waits for the end of the lease.
        world.clock.set(NOW + world.takes_over_after() - 1);
        assert_eq!(world.drain()["pending"], 1, "the attempt may be under way");
        assert!(world.engine.take_calls().is_empty());
        world.clock.set(NOW + world.takes_over_after());
        assert_eq!(world.drain()["delivered"], 1);
        assert_eq!(world.engine.targets().len(), 1);
    }
}

#[on_each_store]
fn late_background_attempt_is_left_to_the_drain() {
    for (uri, body) in INGRESS {
        for late in [4_999, 5_000] {
            // After the response to a callback there is a drain, which may run at any time.
            let attempts = usize::from(late == 4_999 || uri == CALLBACK_URI);
            let _row = row(format!("{uri}, {late} ms late"));
            let world = World::with_operator().healthy();
            let (_, rest) = world.run(world.handle(request("POST", uri, &[JSON, ASYNC], body)));
            world.advance(late);
            world.run(world.finish(rest));
            assert_eq!(world.engine.targets().len(), attempts);
            world.advance(20_000);
            world.drain();
            assert_eq!((world.engine.targets().len(), world.pending().len()), (1, 0));
        }
    }
}

#[on_each_store]
fn slow_receipt_of_the_response_starts_nothing_twice() {
    for (uri, body) in INGRESS {
        for (late, drained_first) in [(5_000, false), (5_000, true), (17_000, true), (51_000, true)] {
            let _row = row(format!("{uri}, {late} ms late, drained first: {drained_first}"));
            let world = World::with_operator().healthy();
            let (_, rest) = world.run(world.handle(request("POST", uri, &[JSON, ASYNC], body)));
            world.advance(late);
            let drained = if drained_first { world.drain()["delivered"].as_u64() } else { None };
            world.run(world.finish(rest));
            // After the response to a callback there is a drain, which may run at any time.
            let expected = if uri == CALLBACK_URI { 1 } else { drained.unwrap_or(0) };
            assert_eq!(world.engine.targets().len() as u64, expected, "the late attempt was made");
            world.advance(world.takes_over_after() + 1_000);
            world.drain();
            assert_eq!(world.engine.targets().len(), 1);
            assert!(world.pending().is_empty());
        }
    }
}

#[on_each_store]
fn trace_headers_are_stored() {
    let world = World::with_operator().unreachable();
    let trace = [
        JSON,
        ("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
        ("tracestate", "a=1"),
        ("tracestate", "b=2"),
    ];
    world.post(WEBHOOK_URI, &trace, "{}");
    world.engine.recover();
    world.engine.take_calls();
    world.drain();
    let received = world.engine.received.borrow();
    let headers = received[0].request.headers();
    assert_eq!(headers["traceparent"], trace[1].1);
    assert_eq!(headers.get_all("tracestate").iter().collect::<Vec<_>>(), ["a=1", "b=2"]);
}

#[on_each_store]
fn stored_delivery_sends_the_same_request() {
    const ODD: &str = "{ \"n\":12345678901234567890 ,\"d\":1,\"d\":2,\"\\u0061\":-0.0,\n\"e\":1e5}";
    let event = format!(r#"{{"specversion":"1.0","id":"1","source":"/s","type":"t","data":{ODD}}}"#);
    for (uri, body) in [(WEBHOOK_URI, ODD), (EVENT_URI, &*event), (CALLBACK_URI, ODD)] {
        let _row = row(uri);
        let in_time = World::with_operator().healthy();
        assert_eq!(in_time.post_json(uri, body).outcome(), (200, Some("delivered")));
        let world = World::with_operator().unreachable();
        assert_eq!(world.post_json(uri, body).outcome(), (202, Some("pending")));
        world.engine.take_calls();
        world.engine.recover();
        assert_eq!(world.drain()["delivered"], 1);
        assert_eq!(world.engine.only_request(), in_time.engine.only_request());
    }
}
