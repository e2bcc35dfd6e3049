//! The meaning of Boomerang's responses.

use http::{Response, StatusCode};
use serde_json::value::RawValue;

use super::DELIVERY_LABEL;
use crate::delivery::Verdict;
use crate::engine::Operation;
use crate::engine::response::{BodyRules, classify};
use crate::json;
use crate::time::Timestamp;

/// The engine's error code for a run that it doesn't know. It comes with a 400 (`BoomerangError`, 1301).
const UNKNOWN_RUN: &str = "WORKFLOWRUN_INVALID_REFERENCE";

/// Reads the response to a delivery.
pub(super) fn read(operation: Operation, response: Response<Vec<u8>>, now: Timestamp) -> Verdict {
    match operation {
        Operation::Start => read_submit(response, now),
        Operation::Resolve => read_event(response, now),
    }
}

/// Reads the response to a lookup. The run has to have the label: an engine that ignores the query's filter responds
/// with any run.
pub(super) fn read_found(label: &str, response: Response<Vec<u8>>, now: Timestamp) -> Result<Option<Vec<u8>>, Verdict> {
    let status = response.status();
    let body = match classify(response, now, &rules(|body| json::object(body).is_ok())) {
        Verdict::Accepted { body } => body,
        failed => return Err(failed),
    };
    let page = json::object(&body).ok();
    let content = page.and_then(|page| json::elements(json::member(page, "content")?));
    match content.as_deref().map(<[_]>::first) {
        Some(None) => Ok(None),
        Some(Some(run)) if label_of(run).is_some_and(|found| found == label) => Ok(Some(run.get().as_bytes().to_vec())),
        _ => {
            let reason = format!("the engine answered {}, but not with the run that was looked up", status.as_u16());
            Err(Verdict::Unclear { reason, after: None, concluded: false })
        }
    }
}

fn label_of(run: &RawValue) -> Option<String> {
    json::text(json::member(json::member(run, "labels")?, DELIVERY_LABEL)?)
}

/// Reads the response to a submit, which counts only if the body is a WorkflowRun.
fn read_submit(response: Response<Vec<u8>>, now: Timestamp) -> Verdict {
    classify(response, now, &rules(|body| run_id(body).is_some()))
}

/// Returns the id of a WorkflowRun; `None` if the body isn't one.
pub(super) fn run_id(body: &[u8]) -> Option<String> {
    json::text(json::member(json::object(body).ok()?, "id")?).filter(|id| !id.is_empty())
}

/// Reads the response to an event, which counts if the body is empty, as the engine's is, or JSON.
fn read_event(response: Response<Vec<u8>>, now: Timestamp) -> Verdict {
    match classify(response, now, &rules(|body| body.trim_ascii().is_empty() || json::value(body).is_ok())) {
        Verdict::Accepted { .. } => Verdict::Accepted { body: Vec::new() },
        Verdict::Rejected { status, code }
            if status == StatusCode::NOT_FOUND || code.as_deref() == Some(UNKNOWN_RUN) =>
        {
            Verdict::UnknownRun { status, code }
        }
        other => other,
    }
}

fn rules(is_proof: fn(&[u8]) -> bool) -> BodyRules {
    BodyRules { is_proof, is_unknown_path, error_code }
}

/// Whether the body of a 404 comes from Spring or from a proxy. Spring names the unknown path: in `instance` of its
/// problem details, or in `path` of its older form. A proxy's 404 is not JSON. The engine's own 404, for a workflow or
/// a run, is empty, or JSON without these members.
fn is_unknown_path(body: &[u8]) -> bool {
    if body.trim_ascii().is_empty() {
        return false;
    }
    let Some(members) = json::object(body).ok().and_then(json::members) else { return true };
    members.iter().any(|(name, _)| matches!(name.get(), "\"instance\"" | "\"path\""))
}

/// Returns the engine's error code: 1 to 64 capital letters and underscores. Of an error response, nothing else leaves
/// Sluice.
fn error_code(body: &[u8]) -> Option<String> {
    let members = json::object(body).ok().and_then(json::members)?;
    let (_, value) = members.into_iter().find(|(name, _)| name.get() == "\"reason\"")?;
    let code = json::text(value)?;
    let is_code = (1..=64).contains(&code.len()) && code.bytes().all(|b| b.is_ascii_uppercase() || b == b'_');
    is_code.then_some(code)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn response(status: u16, body: &str) -> Response<Vec<u8>> {
        Response::builder().status(status).body(body.as_bytes().to_vec()).unwrap()
    }

    #[test]
    fn every_status_has_one_verdict() {
        for status in 100..=599_u16 {
            let kind = match read_submit(response(status, ""), Timestamp(0)) {
                Verdict::Accepted { .. } => "accepted",
                Verdict::Rejected { status: same, .. } => {
                    assert_eq!(same.as_u16(), status);
                    "rejected"
                }
                Verdict::UnknownRun { .. } => "unknown",
                Verdict::Retry { .. } => "retry",
                Verdict::Unreachable { .. } => "unreachable",
                Verdict::Unclear { .. } => "unclear",
                Verdict::Misconfigured { .. } => "misconfigured",
            };
            let expected = match status {
                400 | 404 | 409 | 410 | 413 | 422 => "rejected",
                408 | 423 | 425 | 429 | 503 => "retry",
                // An empty 2xx is no WorkflowRun.
                200..=299 | 500..=599 => "unclear",
                _ => "misconfigured",
            };
            assert_eq!(kind, expected, "{status}");
        }
    }

    #[test]
    fn success_status_counts_only_with_a_proof_in_the_body() {
        let run = r#"{"id":"5f1c9c8e2f8b9a0001a1b2c3","status":"notstarted"}"#;
        assert_eq!(read_submit(response(200, run), Timestamp(0)), Verdict::Accepted { body: run.as_bytes().to_vec() });
        for body in ["", "<html>", "[]", "{}", r#"{"id":""}"#, r#"{"id":7}"#, r#"{"id":"5f"#] {
            assert!(matches!(read_submit(response(200, body), Timestamp(0)), Verdict::Unclear { .. }), "{body}");
        }
        for body in ["", "\n", "{}", "null"] {
            assert_eq!(read_event(response(200, body), Timestamp(0)), Verdict::Accepted { body: vec![] }, "{body}");
        }
        assert!(matches!(read_event(response(200, "<html>"), Timestamp(0)), Verdict::Unclear { .. }));
    }

    #[test]
    fn unknown_path_is_not_an_unknown_workflow() {
        let spring =
            r#"{"timestamp":"2026-11-24","status":404,"error":"Not Found","path":"/api/v1/workflow/x/submit"}"#;
        let problem =
            r#"{"type":"about:blank","title":"Not Found","status":404,"instance":"/api/v1/workflow/x/submit"}"#;
        for body in [spring, problem, "<html>404</html>", "not found"] {
            assert!(matches!(read_submit(response(404, body), Timestamp(0)), Verdict::Misconfigured { .. }), "{body}");
        }
        let unknown = r#"{"code":1201,"reason":"WORKFLOW_INVALID_REFERENCE","message":"No workflow x"}"#;
        for (body, code) in
            [(unknown, Some("WORKFLOW_INVALID_REFERENCE")), ("", None), (r#"{"reason":"my <b>"}"#, None)]
        {
            let verdict = read_submit(response(404, body), Timestamp(0));
            let rejected = Verdict::Rejected { status: StatusCode::NOT_FOUND, code: code.map(str::to_owned) };
            assert_eq!(verdict, rejected, "{body}");
        }
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let after = |value: &str, now| {
            let response = Response::builder().status(503).header("retry-after", value).body(vec![]).unwrap();
            match read_submit(response, Timestamp(now)) {
                Verdict::Retry { after, .. } => after,
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(after("120", 0), Some(Duration::from_secs(120)));
        assert_eq!(after("Thu, 01 Jan 1970 00:01:00 GMT", 20_000), Some(Duration::from_secs(40)));
        assert_eq!(after("Thu, 01 Jan 1970 00:01:00 GMT", 90_000), Some(Duration::ZERO));
        assert_eq!(after("soon", 0), None);
    }

    #[test]
    fn unknown_run_is_distinguished_from_other_rejections() {
        let unknown = r#"{"code":1301,"reason":"WORKFLOWRUN_INVALID_REFERENCE"}"#;
        for (status, body) in [(400, unknown), (404, ""), (404, "{}"), (404, unknown)] {
            assert!(matches!(read_event(response(status, body), Timestamp(0)), Verdict::UnknownRun { .. }), "{body}");
            assert!(matches!(read_submit(response(status, body), Timestamp(0)), Verdict::Rejected { .. }), "{body}");
        }
        for (status, body) in [(400, ""), (400, r#"{"reason":"WORKFLOW_INVALID_REFERENCE"}"#), (409, ""), (422, "")] {
            assert!(matches!(read_event(response(status, body), Timestamp(0)), Verdict::Rejected { .. }), "{body}");
        }
        assert!(matches!(read_event(response(404, "<html>"), Timestamp(0)), Verdict::Misconfigured { .. }));
    }

    #[test]
    fn found_run_has_to_have_the_label() {
        let run = r#"{"id":"5f1","labels":{"sluice.dev/delivery":"M","a":"b"}}"#;
        let found = |status, body: &str| read_found("M", response(status, body), Timestamp(0));
        assert_eq!(found(200, &format!(r#"{{"content":[{run}],"last":true}}"#)), Ok(Some(run.as_bytes().to_vec())));
        assert_eq!(found(200, r#"{"content":[],"empty":true}"#), Ok(None));
        for body in [
            r#"{"content":[{"id":"5f1","labels":{"sluice.dev/delivery":"N"}}]}"#,
            r#"{"content":[{"id":"5f1","labels":{}}]}"#,
            r#"{"content":[{"id":"5f1"}]}"#,
            r#"{"content":null}"#,
            "{}",
            "[]",
            "<html>",
            "",
        ] {
            assert!(matches!(found(200, body), Err(Verdict::Unclear { .. })), "{body}");
        }
        assert!(matches!(found(503, ""), Err(Verdict::Retry { .. })));
        assert!(matches!(found(401, ""), Err(Verdict::Misconfigured { .. })));
    }
}
