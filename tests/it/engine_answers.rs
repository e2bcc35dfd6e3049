//! Responses of the engine, and what the sender gets for each: a rejection keeps the engine's status, every other
//! failure is stored, and no text of the engine is disclosed.

use http::Response;
use serde_json::Value;
use sluice::ports::SendError;

use crate::fake::{CALLBACK_URI, EngineResult, INGRESS, MINUTE, NOW, RUN, StoreFault, WEBHOOK_URI, World, answer, row};

const UNKNOWN: &str = r#"{"code":1201,"reason":"WORKFLOW_INVALID_REFERENCE","message":"token s3cret"}"#;
/// The body of a 404 from Spring for an unknown path.
const SPRING_NOT_FOUND: &str = r#"{"status":404,"error":"Not Found","path":"/api/v1/s3cret"}"#;

/// A world in which an unknown run is a rejection, never an early callback.
fn world() -> World {
    World::with_operator().setting("open", true).setting("callback_early_ms", 0)
}

/// Asserts that no stored record and no readiness report contains the secret.
#[track_caller]
fn assert_not_disclosed(world: &World, secret: &str) {
    for stored in world.everything() {
        assert!(!stored.contains(secret), "{stored}");
    }
    assert!(!world.get("/readyz").text().contains(secret));
}

fn engine_status(result: &EngineResult) -> Option<u64> {
    result.as_ref().ok().map(|response| response.status().as_u16().into())
}

#[on_each_store]
fn rejection_has_the_status_of_the_engine_and_is_not_stored() {
    for (status, body) in [
        (400, UNKNOWN),
        (404, UNKNOWN),
        (404, ""),
        (409, ""),
        (410, "s3cret"),
        (413, "s3cret"),
        (422, r#"{"reason":"s3cret"}"#),
    ] {
        for (uri, request) in INGRESS {
            let _row = row(format!("{status} {body} for {uri}"));
            let world = world().respond(status, body);
            let reply = world.post_json(uri, request);
            // Senders that get a 410 stop for good, so it is passed on as 422.
            let problem = reply.problem(if status == 410 { 422 } else { status }, "rejected");
            assert_eq!(problem["retry"], "fix-first");
            assert_eq!((reply.header("retry-after"), reply.header("location")), (None, None));
            assert_eq!(reply.header("sluice-outcome"), Some("rejected"));
            assert_eq!(reply.log["engine_status"], status);
            assert_eq!(reply.log["delivery"].as_str(), reply.header("sluice-delivery"));
            let disclosed = [reply.text(), &reply.log.to_string()].concat();
            assert!(!disclosed.contains("s3cret"), "{disclosed}");
            assert_eq!(world.engine.take_calls().len(), 1);
            assert!(world.is_empty(), "{:?}", world.everything());
        }
    }
    let problem = world().respond(400, UNKNOWN).post_json(WEBHOOK_URI, "{}").problem(400, "rejected");
    assert!(problem["detail"].as_str().unwrap().contains("WORKFLOW_INVALID_REFERENCE"), "{problem}");
}

#[on_each_store]
fn temporary_failure_stores_the_delivery() {
    for (result, failure, is_ambiguous) in [
        (answer(408, "s3cret"), "the engine answered 408", false),
        (answer(423, ""), "the engine answered 423", false),
        (answer(425, ""), "the engine answered 425", false),
        (answer(429, ""), "the engine answered 429", false),
        (answer(503, "s3cret"), "the engine answered 503", false),
        (answer(500, "s3cret"), "the engine answered 500", true),
        (answer(502, ""), "the engine answered 502", true),
        (answer(504, ""), "the engine answered 504", true),
        (answer(200, "<html>s3cret"), "the engine answered 200, but not with the expected body", true),
        (
            Err(SendError::NotSent("the connection was refused")),
            "the engine can't be reached: the connection was refused",
            false,
        ),
        (
            Err(SendError::NoResponse("the attempt timed out")),
            "the engine sent no complete response: the attempt timed out",
            true,
        ),
    ] {
        for (uri, request) in INGRESS {
            let _row = row(format!("{failure} for {uri}"));
            let world = world().result(result.clone());
            let reply = world.post_json(uri, request);
            assert_eq!(reply.outcome(), (202, Some("pending")));
            assert_eq!(reply.header("location"), Some(&*format!("/api/v2/deliveries/{}", reply.delivery())));
            assert_eq!(reply.header("retry-after"), None, "an accepted delivery needs no retry");
            assert_eq!(reply.log["engine_status"].as_u64(), engine_status(&result));
            assert!(reply.log.get("warning").is_none(), "{}", reply.log);
            let stored = world.only_pending();
            assert_eq!(stored["history"], serde_json::json!([[NOW, failure]]));
            assert_eq!(stored["sent"].as_u64(), is_ambiguous.then_some(NOW));
            assert_eq!(world.get("/readyz").text(), r#"{"status":"ready"}"#);
            assert_not_disclosed(&world, "s3cret");
            world.engine.recover();
            world.advance(MINUTE);
            assert_eq!(world.drain()["delivered"], 1);
            assert_eq!(world.engine.targets().len(), 1);
        }
    }
}

#[on_each_store]
fn misconfigured_engine_stores_the_delivery_and_warns() {
    for (result, fault) in [
        (answer(401, "s3cret"), "the engine answered 401"),
        (answer(403, "s3cret"), "the engine answered 403"),
        (answer(404, SPRING_NOT_FOUND), "the engine answered 404"),
        (answer(404, "<html>s3cret"), "the engine answered 404"),
        (answer(405, ""), "the engine answered 405"),
        (answer(302, ""), "the engine answered 302"),
        (
            Err(SendError::Denied("its host isn't allowed")),
            "the host does not allow the call to the engine: its host isn't allowed",
        ),
    ] {
        for (uri, request) in INGRESS {
            let _row = row(format!("{fault} for {uri}"));
            let world = world().result(result.clone());
            let reply = world.post_json(uri, request);
            assert_eq!(reply.outcome(), (202, Some("pending")));
            let warning = reply.warning();
            assert!(warning.contains(fault) && warning.contains("engine_url and engine_token"), "{warning}");
            let ready = world.get("/readyz");
            assert_eq!((ready.status(), &ready.json()["status"]), (200, &"degraded".into()));
            assert_eq!(ready.json()["engine"]["fault"], fault);
            assert!(!reply.log.to_string().contains("s3cret"), "{}", reply.log);
            assert_not_disclosed(&world, "s3cret");
        }
    }
}

#[on_each_store]
fn failing_store_reports_whether_the_engine_may_have_acted() {
    for (result, status, slug, retry) in [
        (Err(SendError::NotSent("the connection was refused")), 503, "store-unavailable", "safe"),
        (Err(SendError::Denied("its host isn't allowed")), 503, "store-unavailable", "safe"),
        (answer(429, ""), 503, "store-unavailable", "safe"),
        (answer(401, ""), 503, "store-unavailable", "safe"),
        (Err(SendError::NoResponse("the attempt timed out")), 502, "engine-unclear", "may-repeat"),
        (answer(500, "s3cret"), 502, "engine-unclear", "may-repeat"),
        (answer(200, "s3cret"), 502, "engine-unclear", "may-repeat"),
    ] {
        for delay in [0, 3_000] {
            let _row = row(format!("{result:?} after {delay} ms"));
            let world = World::new().result(result.clone()).after(delay);
            world.fail_store(StoreFault::Once(0));
            let reply = world.post_json(WEBHOOK_URI, "{}");
            assert_eq!(reply.problem(status, slug)["retry"], retry);
            assert_eq!(reply.header("retry-after"), Some("5"));
            assert!(!reply.text().contains("s3cret") && !reply.text().contains("/secret/path"));
            assert!(reply.warning().contains(world.store_error()), "the log lacks the store's error: {}", reply.log);
            assert_eq!(reply.log["engine_status"].as_u64(), engine_status(&result));
            assert!(world.is_empty());
        }
    }
}

#[on_each_store]
fn retry_after_of_the_engine_is_passed_on_within_bounds() {
    for (value, passed) in [("30", "30"), ("0", "1"), ("99999", "3600"), ("Tue, 24 Nov 2026 08:31:00 GMT", "60")] {
        let response = Response::builder().status(500).header("retry-after", value).body(vec![]).unwrap();
        let world = World::new().result(Ok(response));
        world.fail_store(StoreFault::Once(0));
        let reply = world.post_json(WEBHOOK_URI, "{}");
        assert_eq!(reply.header("retry-after"), Some(passed), "{value}");
    }
}

#[on_each_store]
fn success_status_without_a_run_is_no_success() {
    for body in ["", "[]", "{}", r#"{"id":null}"#] {
        let reply = World::new().respond(200, body).post_json(WEBHOOK_URI, "{}");
        assert_eq!(reply.outcome(), (202, Some("pending")), "{body}");
        // The engine answers a callback with an empty body, or with any JSON.
        let reply = World::new().respond(204, body).post_json(CALLBACK_URI, "{}");
        assert_eq!((reply.outcome(), reply.text()), ((200, Some("delivered")), ""), "{body}");
    }
    assert_eq!(World::new().respond(201, RUN).post_json(WEBHOOK_URI, "{}").status(), 200);
}

#[on_each_store]
fn run_is_returned_to_the_sender_and_never_logged() {
    let run = r#"{"id":"5f1","status":"ready","message":"s3cret"}"#;
    let world = World::new().respond(200, run);
    let reply = world.post_json(WEBHOOK_URI, "{}");
    assert_eq!(reply.text(), run);
    assert!(!Value::to_string(&reply.log).contains("s3cret"), "{}", reply.log);
}
