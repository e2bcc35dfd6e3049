//! Boomerang Flow v4, its internal API v1: `WorkflowControllerV1`, `WorkflowRunControllerV1` and `BoomerangError` of
//! boomerang-io/flow.services.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::header::{CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderMap, Method, Request, Response};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::{EngineUrl, Param, ParamName, Start, Trigger, Verdict};
use crate::callback::{Callback, Status};
use crate::json;
use crate::time::Timestamp;

/// The label by which the run of a delivery is found again.
pub const DELIVERY_LABEL: &str = "sluice.dev/delivery";

/// A request that can't be built: the engine's URL and the reference are checked, so nothing that a sender did.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the request to the engine can't be built")]
pub struct RequestError;

/// `POST /api/v1/workflow/{ref}/submit?start={bool}`.
pub fn submit(
    engine: &EngineUrl,
    start: &Start<'_>,
    auto_start: bool,
    mark: &str,
) -> Result<Request<Vec<u8>>, RequestError> {
    #[derive(Serialize)]
    struct Submit<'a> {
        trigger: Trigger,
        params: &'a [Param<'a>],
        labels: BTreeMap<&'a str, &'a str>,
    }
    let labels = BTreeMap::from([(DELIVERY_LABEL, mark)]);
    let body = Submit { trigger: start.trigger, params: &start.params, labels };
    let path = format!("/api/v1/workflow/{}/submit?start={auto_start}", start.workflow.to_segment());
    request(engine, Method::POST, &path, &body)
}

/// `PUT /api/v1/workflowrun/{ref}/event`.
pub fn event(engine: &EngineUrl, callback: &Callback<'_>) -> Result<Request<Vec<u8>>, RequestError> {
    #[derive(Serialize)]
    struct Event<'a> {
        topic: &'a str,
        status: Status,
        results: Vec<Param<'a>>,
    }
    let results = callback.payload.map(|value| Param { name: ParamName::Fixed("data"), value });
    let body =
        Event { topic: callback.topic.as_str(), status: callback.status, results: results.into_iter().collect() };
    request(engine, Method::PUT, &format!("/api/v1/workflowrun/{}/event", callback.run.to_segment()), &body)
}

fn request(
    engine: &EngineUrl,
    method: Method,
    path: &str,
    body: &impl Serialize,
) -> Result<Request<Vec<u8>>, RequestError> {
    let uri = engine.join(path).ok_or(RequestError)?;
    let body = serde_json::to_vec(body).map_err(|_| RequestError)?;
    Request::builder()
        .method(method)
        .uri(uri)
        .header(CONTENT_TYPE, "application/json")
        .body(body)
        .map_err(|_| RequestError)
}

/// What the answer to [`submit`] means: a 2xx counts only with a WorkflowRun in it, for a login page is a 200 too.
pub fn read_submit(answer: Response<Vec<u8>>, now: Timestamp) -> Verdict {
    read(answer, now, |body| {
        #[derive(Deserialize)]
        struct WorkflowRun<'a> {
            #[serde(borrow)]
            id: &'a RawValue,
        }
        let run = json::object(body).ok().map(RawValue::get);
        run.and_then(|run| serde_json::from_str::<WorkflowRun<'_>>(run).ok())
            .is_some_and(|run| json::text(run.id).is_some_and(|id| !id.is_empty()))
    })
}

/// What the answer to [`event`] means: a 2xx counts when it is empty, as the engine's is, or JSON.
pub fn read_event(answer: Response<Vec<u8>>, now: Timestamp) -> Verdict {
    match read(answer, now, |body| body.trim_ascii().is_empty() || json::value(body).is_ok()) {
        Verdict::Accepted { .. } => Verdict::Accepted { body: Vec::new() },
        other => other,
    }
}

fn read(answer: Response<Vec<u8>>, now: Timestamp, is_ours: impl Fn(&[u8]) -> bool) -> Verdict {
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
    use http::StatusCode;

    use super::*;
    use crate::reference::{RunRef, Topic, WorkflowRef};

    fn answer(status: u16, body: &str) -> Response<Vec<u8>> {
        Response::builder().status(status).body(body.as_bytes().to_vec()).unwrap()
    }

    fn engine() -> EngineUrl {
        EngineUrl::parse("http://engine:8080").unwrap()
    }

    fn raw(json: &str) -> &RawValue {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn a_submit_is_as_the_contract_says() {
        let params = vec![
            Param { name: ParamName::Fixed("data"), value: raw(r#"{"n":12345678901234567890,"a":1,"a":2}"#) },
            Param { name: ParamName::Member(raw(r#""\u0061""#)), value: raw("1.417566161e9") },
        ];
        let start = Start { workflow: WorkflowRef::parse("my flow").unwrap(), trigger: Trigger::Webhook, params };
        let request = submit(&engine(), &start, true, "01J").unwrap();
        assert_eq!(request.method(), Method::POST);
        assert_eq!(request.uri(), "http://engine:8080/api/v1/workflow/my%20flow/submit?start=true");
        assert_eq!(
            String::from_utf8_lossy(request.body()),
            r#"{"trigger":"webhook","params":[{"name":"data","value":{"n":12345678901234567890,"a":1,"a":2}},{"name":"\u0061","value":1.417566161e9}],"labels":{"sluice.dev/delivery":"01J"}}"#
        );
    }

    #[test]
    fn an_event_is_as_the_contract_says() {
        let mut callback = Callback {
            run: RunRef::parse("5f1").unwrap(),
            topic: Topic::parse("a \"b\"").unwrap(),
            status: Status::Failed,
            payload: Some(raw(r#"{"ok":1e2}"#)),
        };
        let request = event(&engine(), &callback).unwrap();
        assert_eq!(request.method(), Method::PUT);
        assert_eq!(request.uri(), "http://engine:8080/api/v1/workflowrun/5f1/event");
        assert_eq!(
            String::from_utf8_lossy(request.body()),
            r#"{"topic":"a \"b\"","status":"failed","results":[{"name":"data","value":{"ok":1e2}}]}"#
        );
        callback.payload = None;
        let request = event(&engine(), &callback).unwrap();
        assert_eq!(String::from_utf8_lossy(request.body()), r#"{"topic":"a \"b\"","status":"failed","results":[]}"#);
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
}
