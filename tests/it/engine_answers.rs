//! What the engine does → what the sender gets: status, whether a retry is safe, and nothing of the engine's own words.

use http::Response;
use sluice::ports::SendError;

use crate::fake::{RUN, World};

const UNKNOWN: &str = r#"{"code":1201,"reason":"WORKFLOW_INVALID_REFERENCE","message":"token s3cret"}"#;
const SPRING: &str = r#"{"status":404,"error":"Not Found","path":"/api/v1/s3cret"}"#;

fn kinds() -> [(&'static str, &'static str); 3] {
    [
        ("/api/v2/webhook?ref=w", "{}"),
        ("/api/v2/event?ref=w", r#"{"specversion":"1.0","id":"1","source":"/s","type":"t"}"#),
        ("/api/v2/callback?ref=r&topic=t", "{}"),
    ]
}

#[test]
fn every_answer_is_mapped() {
    for (status, body, mapped, slug, retry) in [
        (400, UNKNOWN, 400, "rejected", "fix-first"),
        (404, UNKNOWN, 404, "rejected", "fix-first"),
        (404, "", 404, "rejected", "fix-first"),
        (409, "", 409, "rejected", "fix-first"),
        (422, "", 422, "rejected", "fix-first"),
        (401, "s3cret", 502, "engine-misconfigured", "safe"),
        (403, "s3cret", 502, "engine-misconfigured", "safe"),
        (404, SPRING, 502, "engine-misconfigured", "safe"),
        (404, "<html>s3cret", 502, "engine-misconfigured", "safe"),
        (405, "", 502, "engine-misconfigured", "safe"),
        (302, "", 502, "engine-misconfigured", "safe"),
        (408, "", 503, "engine-unavailable", "safe"),
        (425, "", 503, "engine-unavailable", "safe"),
        (429, "", 503, "engine-unavailable", "safe"),
        (503, "", 503, "engine-unavailable", "safe"),
        (500, "s3cret", 502, "engine-unclear", "may-repeat"),
        (502, "", 502, "engine-unclear", "may-repeat"),
        (504, "", 502, "engine-unclear", "may-repeat"),
        (200, "<html>s3cret", 502, "engine-unclear", "may-repeat"),
    ] {
        for (uri, request) in kinds() {
            let world = World::new().answers(status, body);
            let reply = world.json(uri, request);
            let problem = reply.problem(mapped, slug);
            assert_eq!(problem["retry"], retry, "{status} {uri}");
            assert!(!reply.text().contains("s3cret"), "{}", reply.text());
            assert_eq!(reply.header("retry-after"), (mapped >= 500).then_some("5"), "{status}");
            assert_eq!(reply.header("sluice-outcome"), (slug == "rejected").then_some("rejected"));
            assert_eq!(reply.log["engine_status"], status);
            assert_eq!(reply.log["delivery"].as_str(), reply.header("sluice-delivery"));
            assert!(!reply.log.to_string().contains("s3cret"), "{}", reply.log);
            assert_eq!(world.sent.borrow().len(), 1, "one attempt");
        }
    }
    let world = World::new().answers(400, UNKNOWN);
    let problem = world.json("/api/v2/webhook?ref=w", "{}").problem(400, "rejected");
    assert!(problem["detail"].as_str().unwrap().contains("WORKFLOW_INVALID_REFERENCE"), "{problem}");
}

#[test]
fn no_answer_is_told_by_whether_the_engine_may_have_acted() {
    for (error, status, slug, retry) in [
        (SendError::NotSent("the connection was refused"), 503, "engine-unavailable", "safe"),
        (SendError::NoAnswer("its time is over"), 502, "engine-unclear", "may-repeat"),
        (SendError::Denied("it is not among allowed_outbound_hosts"), 502, "engine-misconfigured", "safe"),
    ] {
        for (uri, request) in kinds() {
            let world = World::new().scripted(Err(error));
            let reply = world.json(uri, request);
            assert_eq!(reply.problem(status, slug)["retry"], retry);
            assert_eq!(reply.header("retry-after"), Some("5"));
            assert!(reply.log.get("engine_status").is_none());
        }
    }
}

#[test]
fn the_engines_retry_after_is_passed_on_within_bounds() {
    for (said, passed) in [("30", "30"), ("0", "1"), ("99999", "3600"), ("Tue, 24 Nov 2026 08:31:00 GMT", "60")] {
        for status in [429, 503, 500] {
            let answer = Response::builder().status(status).header("retry-after", said).body(vec![]).unwrap();
            let reply = World::new().scripted(Ok(answer)).json("/api/v2/webhook?ref=w", "{}");
            assert_eq!(reply.header("retry-after"), Some(passed), "{said}");
        }
    }
}

#[test]
fn a_2xx_without_a_workflow_run_is_not_a_success() {
    for body in ["", "[]", "{}", r#"{"id":null}"#] {
        World::new().answers(200, body).json("/api/v2/webhook?ref=w", "{}").problem(502, "engine-unclear");
        // A resolve is answered by nothing, or by any JSON.
        assert_eq!(World::new().answers(204, body).json("/api/v2/callback?ref=r&topic=t", "{}").status(), 200);
    }
    assert_eq!(World::new().answers(201, RUN).json("/api/v2/webhook?ref=w", "{}").status(), 200);
}
