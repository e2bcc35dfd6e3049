//! What the engine does → what the sender gets: what the engine refuses has its status, all else is stored; and nothing
//! of the engine's own words leaves us.

use http::Response;
use serde_json::Value;
use sluice::ports::SendError;

use crate::fake::{EVENT, NOW, RUN, World};

const UNKNOWN: &str = r#"{"code":1201,"reason":"WORKFLOW_INVALID_REFERENCE","message":"token s3cret"}"#;
const SPRING: &str = r#"{"status":404,"error":"Not Found","path":"/api/v1/s3cret"}"#;

const KINDS: [(&str, &str); 3] =
    [("/api/v2/webhook?ref=w", "{}"), ("/api/v2/event?ref=w", EVENT), ("/api/v2/callback?ref=r&topic=t", "{}")];

/// No callback is too early.
fn world() -> World {
    World::operated().with("callback_early_ms", "0")
}

/// Stored or said anywhere?
fn assert_told_nowhere(world: &World, secret: &str) {
    for (key, value) in world.store.borrow().iter() {
        let value = String::from_utf8_lossy(value);
        assert!(!value.contains(secret), "{key}: {value}");
    }
    assert!(!world.get("/readyz").text().contains(secret));
}

#[test]
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
        for (uri, request) in KINDS {
            let world = world().answers(status, body);
            let reply = world.json(uri, request);
            // 410 would tell a sender never to send anything again.
            let problem = reply.problem(if status == 410 { 422 } else { status }, "rejected");
            assert_eq!(problem["retry"], "fix-first", "{status} {uri}");
            assert_eq!((reply.header("retry-after"), reply.header("location")), (None, None));
            assert_eq!(reply.header("sluice-outcome"), Some("rejected"));
            assert_eq!(reply.log["engine_status"], status);
            assert_eq!(reply.log["delivery"].as_str(), reply.header("sluice-delivery"));
            let said = [reply.text(), &reply.log.to_string()].concat();
            assert!(!said.contains("s3cret"), "{said}");
            assert_eq!(world.calls().len(), 1, "one attempt");
            for prefix in ["sluice/pending", "sluice/dead", "sluice/flag", "sluice/done", "sluice/callback"] {
                assert!(world.keys(prefix).is_empty(), "{uri}: {prefix}");
            }
        }
    }
    let problem = world().answers(400, UNKNOWN).json("/api/v2/webhook?ref=w", "{}").problem(400, "rejected");
    assert!(problem["detail"].as_str().unwrap().contains("WORKFLOW_INVALID_REFERENCE"), "{problem}");
}

#[test]
fn temporary_failure_stores_the_delivery() {
    let answer = |status: u16, body: &str| Ok(Response::builder().status(status).body(body.into()).unwrap());
    for (name, scripted, failure, in_doubt) in [
        ("408", answer(408, "s3cret"), "the engine answered 408", false),
        ("423", answer(423, ""), "the engine answered 423", false),
        ("425", answer(425, ""), "the engine answered 425", false),
        ("429", answer(429, ""), "the engine answered 429", false),
        ("503", answer(503, "s3cret"), "the engine answered 503", false),
        ("500", answer(500, "s3cret"), "the engine answered 500", true),
        ("502", answer(502, ""), "the engine answered 502", true),
        ("504", answer(504, ""), "the engine answered 504", true),
        ("a login page", answer(200, "<html>s3cret"), "the engine answered 200, but not as the engine does", true),
        (
            "refused",
            Err(SendError::NotSent("the connection was refused")),
            "the engine can't be reached: the connection was refused",
            false,
        ),
        (
            "cut",
            Err(SendError::NoAnswer("its time is over")),
            "the engine sent no complete response: its time is over",
            true,
        ),
    ] {
        for (uri, request) in KINDS {
            let world = world().scripted(scripted.clone());
            let reply = world.json(uri, request);
            assert_eq!(reply.outcome(), (202, Some("pending")), "{name} {uri}");
            let id = reply.header("sluice-delivery").unwrap();
            assert_eq!(reply.header("location"), Some(&*format!("/api/v2/deliveries/{id}")));
            assert_eq!(reply.header("retry-after"), None, "nobody is to send it again");
            assert_eq!(
                reply.log["engine_status"].as_u64(),
                name.parse().ok().or((name == "a login page").then_some(200))
            );
            assert!(reply.log.get("warning").is_none(), "{}", reply.log);
            let stored = world.only_stored("sluice/pending/");
            assert_eq!(stored["history"], serde_json::json!([[NOW, failure]]), "{name} {uri}");
            assert_eq!(stored["sent"].as_u64(), in_doubt.then_some(NOW), "{name} {uri}");
            assert_eq!(world.get("/readyz").text(), r#"{"status":"ready"}"#);
            assert_told_nowhere(&world, "s3cret");
            world.heal();
            world.pass(60_000);
            assert_eq!(world.drain()["delivered"], 1, "{name} {uri}");
            assert_eq!(world.acted().len(), 1);
        }
    }
}

#[test]
fn misconfigured_engine_stores_the_delivery_and_warns() {
    let answer = |status: u16, body: &str| Ok(Response::builder().status(status).body(body.into()).unwrap());
    for (scripted, fault) in [
        (answer(401, "s3cret"), "the engine answered 401"),
        (answer(403, "s3cret"), "the engine answered 403"),
        (answer(404, SPRING), "the engine answered 404"),
        (answer(404, "<html>s3cret"), "the engine answered 404"),
        (answer(405, ""), "the engine answered 405"),
        (answer(302, ""), "the engine answered 302"),
        (
            Err(SendError::Denied("its host isn't allowed")),
            "the host does not allow the call to the engine: its host isn't allowed",
        ),
    ] {
        for (uri, request) in KINDS {
            let world = world().scripted(scripted.clone());
            let reply = world.json(uri, request);
            assert_eq!(reply.outcome(), (202, Some("pending")), "{fault} {uri}");
            let warning = reply.log["warning"].as_str().unwrap();
            assert!(warning.contains(fault) && warning.contains("engine_url and engine_token"), "{warning}");
            let ready = world.get("/readyz");
            assert_eq!((ready.status(), &ready.json()["status"]), (200, &"degraded".into()));
            assert_eq!(ready.json()["engine"]["fault"], fault);
            assert!(!reply.log.to_string().contains("s3cret"), "{}", reply.log);
            assert_told_nowhere(&world, "s3cret");
        }
    }
}

#[test]
fn failing_store_reports_whether_the_engine_may_have_acted() {
    for (scripted, status, slug, retry) in [
        (Err(SendError::NotSent("the connection was refused")), 503, "store-unavailable", "safe"),
        (Err(SendError::Denied("its host isn't allowed")), 503, "store-unavailable", "safe"),
        (Ok(Response::builder().status(429).body(vec![]).unwrap()), 503, "store-unavailable", "safe"),
        (Ok(Response::builder().status(401).body(vec![]).unwrap()), 503, "store-unavailable", "safe"),
        (Err(SendError::NoAnswer("its time is over")), 502, "engine-unclear", "may-repeat"),
        (Ok(Response::builder().status(500).body(b"s3cret".to_vec()).unwrap()), 502, "engine-unclear", "may-repeat"),
        (Ok(Response::builder().status(200).body(b"s3cret".to_vec()).unwrap()), 502, "engine-unclear", "may-repeat"),
    ] {
        for slow in [0, 3_000] {
            let world = World::new().scripted(scripted.clone()).after(slow);
            world.failing_operation.set(Some(0));
            let reply = world.json("/api/v2/webhook?ref=w", "{}");
            assert_eq!(reply.problem(status, slug)["retry"], retry, "{slug} {slow}");
            assert_eq!(reply.header("retry-after"), Some("5"));
            assert!(!reply.text().contains("s3cret") && !reply.text().contains("/secret/path"));
            assert!(reply.log["warning"].as_str().unwrap().contains("disk full"), "the operator is told");
            let engine_status = scripted.as_ref().ok().map(|answer| u64::from(answer.status().as_u16()));
            assert_eq!(reply.log["engine_status"].as_u64(), engine_status, "{slug} {slow}");
            assert!(world.store.borrow().is_empty());
        }
    }
}

#[test]
fn retry_after_of_the_engine_is_passed_on_within_bounds() {
    for (said, passed) in [("30", "30"), ("0", "1"), ("99999", "3600"), ("Tue, 24 Nov 2026 08:31:00 GMT", "60")] {
        let answer = Response::builder().status(500).header("retry-after", said).body(vec![]).unwrap();
        let world = World::new().scripted(Ok(answer));
        world.failing_operation.set(Some(0));
        let reply = world.json("/api/v2/webhook?ref=w", "{}");
        assert_eq!(reply.header("retry-after"), Some(passed), "{said}");
    }
}

#[test]
fn success_status_without_a_run_is_no_success() {
    for body in ["", "[]", "{}", r#"{"id":null}"#] {
        let reply = World::new().answers(200, body).json("/api/v2/webhook?ref=w", "{}");
        assert_eq!(reply.outcome(), (202, Some("pending")), "{body}");
        // A resolve is answered by nothing, or by any JSON.
        let reply = World::new().answers(204, body).json("/api/v2/callback?ref=r&topic=t", "{}");
        assert_eq!((reply.outcome(), reply.text()), ((200, Some("delivered")), ""), "{body}");
    }
    assert_eq!(World::new().answers(201, RUN).json("/api/v2/webhook?ref=w", "{}").status(), 200);
}

#[test]
fn run_is_returned_to_the_sender_and_never_logged() {
    let run = r#"{"id":"5f1","message":"s3cret"}"#;
    let world = World::new().answers(200, run);
    let reply = world.json("/api/v2/webhook?ref=w", "{}");
    assert_eq!(reply.text(), run);
    assert!(!Value::to_string(&reply.log).contains("s3cret"), "{}", reply.log);
}
