//! What the engine's answers mean.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::header::RETRY_AFTER;
use http::{HeaderMap, Response, StatusCode};
use serde_json::value::RawValue;

use super::DELIVERY_LABEL;
use crate::delivery::Work;
use crate::engine::{Finding, Verdict};
use crate::json;
use crate::time::Timestamp;

/// The engine's code for a run that it doesn't know; it comes with a 400 (`BoomerangError`, 1301).
const UNKNOWN_RUN: &str = "WORKFLOWRUN_INVALID_REFERENCE";

/// Reads the answer to [`bring`](super::bring).
pub type Reader = fn(Response<Vec<u8>>, Timestamp) -> Verdict;

/// What reads the answer to [`bring`](super::bring).
pub fn reader(work: &Work<'_>) -> Reader {
    match work {
        Work::Start(_) => read_submit,
        Work::Resolve(_) => read_event,
    }
}

/// What the answer to [`find`](super::find) means. An engine that leaves the label out of account must not pass for one
/// that has the run, so the run has to carry it.
pub fn read_found(mark: &str, answer: Response<Vec<u8>>, now: Timestamp) -> Finding {
    let status = answer.status();
    let body = match judge(answer, now, |body| json::object(body).is_ok()) {
        Verdict::Accepted { body } => body,
        failed => return Finding::Failed(failed),
    };
    let page = json::object(&body).ok();
    let content = page.and_then(|page| json::elements(json::member(page, "content")?));
    match content.as_deref().map(<[_]>::first) {
        Some(None) => Finding::None,
        Some(Some(run)) if label(run).is_some_and(|label| label == mark) => Finding::Run(run.get().as_bytes().to_vec()),
        _ => Finding::Failed(Verdict::Unclear { status, retry_after: None }),
    }
}

fn label(run: &RawValue) -> Option<String> {
    json::text(json::member(json::member(run, "labels")?, DELIVERY_LABEL)?)
}

/// What the answer to a submit means: a 2xx counts only with a WorkflowRun in it, for a login page is a 200 too.
fn read_submit(answer: Response<Vec<u8>>, now: Timestamp) -> Verdict {
    judge(answer, now, |body| run_id(body).is_some())
}

/// The id of the WorkflowRun that this is, if it is one.
pub fn run_id(body: &[u8]) -> Option<String> {
    json::text(json::member(json::object(body).ok()?, "id")?).filter(|id| !id.is_empty())
}

/// What the answer to an event means: a 2xx counts when it is empty, as the engine's is, or JSON.
fn read_event(answer: Response<Vec<u8>>, now: Timestamp) -> Verdict {
    match judge(answer, now, |body| body.trim_ascii().is_empty() || json::value(body).is_ok()) {
        Verdict::Accepted { .. } => Verdict::Accepted { body: Vec::new() },
        Verdict::Refused { status, reason }
            if status == StatusCode::NOT_FOUND || reason.as_deref() == Some(UNKNOWN_RUN) =>
        {
            Verdict::UnknownRun { status, reason }
        }
        other => other,
    }
}

fn judge(answer: Response<Vec<u8>>, now: Timestamp, is_ours: impl Fn(&[u8]) -> bool) -> Verdict {
    let (parts, body) = answer.into_parts();
    let (status, retry_after) = (parts.status, retry_after(&parts.headers, now));
    match status.as_u16() {
        200..=299 if is_ours(&body) => Verdict::Accepted { body },
        200..=299 => Verdict::Unclear { status, retry_after },
        400 | 409 | 410 | 413 | 422 => Verdict::Refused { status, reason: reason(&body) },
        404 if !is_unknown_path(&body) => Verdict::Refused { status, reason: reason(&body) },
        // 423 is a team that is inactive: an operator can turn that back.
        408 | 423 | 425 | 429 | 503 => Verdict::Later { status, retry_after },
        500..=599 => Verdict::Unclear { status, retry_after },
        _ => Verdict::Misconfigured { status },
    }
}

/// A 404 for a path that the server doesn't have: Spring names it (`instance` in its problem details, `path` in its
/// older form), and a proxy's is not JSON. The engine's own, for a workflow or a run, is neither.
fn is_unknown_path(body: &[u8]) -> bool {
    if body.trim_ascii().is_empty() {
        return false;
    }
    let Some(members) = json::object(body).ok().and_then(json::members) else { return true };
    members.iter().any(|(name, _)| matches!(name.get(), "\"instance\"" | "\"path\""))
}

/// The engine's own code for the reason; nothing else of its answer leaves us.
fn reason(body: &[u8]) -> Option<String> {
    let members = json::object(body).ok().and_then(json::members)?;
    let (_, value) = members.into_iter().find(|(name, _)| name.get() == "\"reason\"")?;
    let reason = json::text(value)?;
    let is_code = (1..=64).contains(&reason.len()) && reason.bytes().all(|b| b.is_ascii_uppercase() || b == b'_');
    is_code.then_some(reason)
}

/// RFC 9110, section 10.2.3: seconds, or a date.
fn retry_after(headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date: SystemTime = httpdate::parse_http_date(text).ok()?;
    let since_epoch = date.duration_since(UNIX_EPOCH).ok()?;
    Some(since_epoch.saturating_sub(Duration::from_millis(now.0)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, body: &str) -> Response<Vec<u8>> {
        Response::builder().status(status).body(body.as_bytes().to_vec()).unwrap()
    }

    #[test]
    fn every_status_has_one_verdict() {
        for status in 100..=599_u16 {
            let kind = match read_submit(answer(status, ""), Timestamp(0)) {
                Verdict::Accepted { .. } => "accepted",
                Verdict::Refused { status: same, .. } => {
                    assert_eq!(same.as_u16(), status);
                    "refused"
                }
                Verdict::UnknownRun { .. } => "unknown",
                Verdict::Later { .. } => "later",
                Verdict::Unclear { .. } => "unclear",
                Verdict::Misconfigured { .. } => "misconfigured",
            };
            let expected = match status {
                400 | 404 | 409 | 410 | 413 | 422 => "refused",
                408 | 423 | 425 | 429 | 503 => "later",
                // An empty 2xx is no WorkflowRun.
                200..=299 | 500..=599 => "unclear",
                _ => "misconfigured",
            };
            assert_eq!(kind, expected, "{status}");
        }
    }

    #[test]
    fn a_2xx_counts_only_with_what_the_engine_answers() {
        let run = r#"{"id":"5f1c9c8e2f8b9a0001a1b2c3","status":"notstarted"}"#;
        assert_eq!(read_submit(answer(200, run), Timestamp(0)), Verdict::Accepted { body: run.as_bytes().to_vec() });
        for body in ["", "<html>", "[]", "{}", r#"{"id":""}"#, r#"{"id":7}"#, r#"{"id":"5f"#] {
            assert!(matches!(read_submit(answer(200, body), Timestamp(0)), Verdict::Unclear { .. }), "{body}");
        }
        for body in ["", "\n", "{}", "null"] {
            assert_eq!(read_event(answer(200, body), Timestamp(0)), Verdict::Accepted { body: vec![] }, "{body}");
        }
        assert!(matches!(read_event(answer(200, "<html>"), Timestamp(0)), Verdict::Unclear { .. }));
    }

    #[test]
    fn an_unknown_path_is_not_an_unknown_workflow() {
        let spring =
            r#"{"timestamp":"2026-11-24","status":404,"error":"Not Found","path":"/api/v1/workflow/x/submit"}"#;
        let problem =
            r#"{"type":"about:blank","title":"Not Found","status":404,"instance":"/api/v1/workflow/x/submit"}"#;
        for body in [spring, problem, "<html>404</html>", "not found"] {
            assert!(matches!(read_submit(answer(404, body), Timestamp(0)), Verdict::Misconfigured { .. }), "{body}");
        }
        let unknown = r#"{"code":1201,"reason":"WORKFLOW_INVALID_REFERENCE","message":"No workflow x"}"#;
        for (body, reason) in
            [(unknown, Some("WORKFLOW_INVALID_REFERENCE")), ("", None), (r#"{"reason":"my <b>"}"#, None)]
        {
            let verdict = read_submit(answer(404, body), Timestamp(0));
            let refused = Verdict::Refused { status: StatusCode::NOT_FOUND, reason: reason.map(str::to_owned) };
            assert_eq!(verdict, refused, "{body}");
        }
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let after = |value: &str, now| {
            let answer = Response::builder().status(503).header("retry-after", value).body(vec![]).unwrap();
            match read_submit(answer, Timestamp(now)) {
                Verdict::Later { retry_after, .. } => retry_after,
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(after("120", 0), Some(Duration::from_secs(120)));
        assert_eq!(after("Thu, 01 Jan 1970 00:01:00 GMT", 20_000), Some(Duration::from_secs(40)));
        assert_eq!(after("Thu, 01 Jan 1970 00:01:00 GMT", 90_000), Some(Duration::ZERO));
        assert_eq!(after("soon", 0), None);
    }

    #[test]
    fn an_unknown_run_is_told_from_other_refusals() {
        let unknown = r#"{"code":1301,"reason":"WORKFLOWRUN_INVALID_REFERENCE"}"#;
        for (status, body) in [(400, unknown), (404, ""), (404, "{}"), (404, unknown)] {
            assert!(matches!(read_event(answer(status, body), Timestamp(0)), Verdict::UnknownRun { .. }), "{body}");
            assert!(matches!(read_submit(answer(status, body), Timestamp(0)), Verdict::Refused { .. }), "{body}");
        }
        for (status, body) in [(400, ""), (400, r#"{"reason":"WORKFLOW_INVALID_REFERENCE"}"#), (409, ""), (422, "")] {
            assert!(matches!(read_event(answer(status, body), Timestamp(0)), Verdict::Refused { .. }), "{body}");
        }
        assert!(matches!(read_event(answer(404, "<html>"), Timestamp(0)), Verdict::Misconfigured { .. }));
    }

    #[test]
    fn a_found_run_carries_the_label() {
        let run = r#"{"id":"5f1","labels":{"sluice.dev/delivery":"M","a":"b"}}"#;
        let found = |status, body: &str| read_found("M", answer(status, body), Timestamp(0));
        assert_eq!(found(200, &format!(r#"{{"content":[{run}],"last":true}}"#)), Finding::Run(run.as_bytes().to_vec()));
        assert_eq!(found(200, r#"{"content":[],"empty":true}"#), Finding::None);
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
            assert!(matches!(found(200, body), Finding::Failed(Verdict::Unclear { .. })), "{body}");
        }
        assert!(matches!(found(503, ""), Finding::Failed(Verdict::Later { .. })));
        assert!(matches!(found(401, ""), Finding::Failed(Verdict::Misconfigured { .. })));
    }
}
