//! Answers in the engine's words. It is a Spring application: its own errors have its own form, the framework's are
//! problem details, and what it forgot to catch is a bare 500.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use chrono::Utc;
use hyper::body::{Body, Frame, SizeHint};
use hyper::header::{ALLOW, CONTENT_TYPE, HeaderName, HeaderValue};
use hyper::{Response, StatusCode};
use serde::Serialize;
use serde_json::json;

use super::runs::timestamp;
use super::state::Refusal;
use crate::serve::BoxError;

/// An answer that is whole.
pub(super) type Answer = Response<Bytes>;

pub(super) fn empty(status: StatusCode) -> Answer {
    let mut answer = Answer::default();
    *answer.status_mut() = status;
    answer
}

pub(super) fn of_type(status: StatusCode, content_type: &'static str, body: impl Into<Bytes>) -> Answer {
    with(empty(status), CONTENT_TYPE, HeaderValue::from_static(content_type)).map(|_| body.into())
}

pub(super) fn json(status: StatusCode, body: &impl Serialize) -> Answer {
    match serde_json::to_vec(body) {
        Ok(body) => of_type(status, "application/json", body),
        Err(error) => of_type(StatusCode::INTERNAL_SERVER_ERROR, "text/plain", error.to_string()),
    }
}

pub(super) fn with(mut answer: Answer, name: HeaderName, value: HeaderValue) -> Answer {
    answer.headers_mut().insert(name, value);
    answer
}

/// What the framework refuses.
pub(super) fn problem(status: StatusCode, detail: &str, path: &str) -> Answer {
    let title = status.canonical_reason().unwrap_or_default();
    let body =
        json!({"type": "about:blank", "title": title, "status": status.as_u16(), "detail": detail, "instance": path});
    with(json(status, &body), CONTENT_TYPE, HeaderValue::from_static("application/problem+json"))
}

pub(super) fn no_such_path(path: &str) -> Answer {
    let detail = format!("No static resource {}.", path.trim_start_matches('/'));
    problem(StatusCode::NOT_FOUND, &detail, path)
}

pub(super) fn wrong_method(method: &str, allow: &'static str, path: &str) -> Answer {
    let answer = problem(StatusCode::METHOD_NOT_ALLOWED, &format!("Method '{method}' is not supported."), path);
    with(answer, ALLOW, HeaderValue::from_static(allow))
}

/// What the engine forgot to catch.
pub(super) fn crash(path: &str) -> Answer {
    let body = json!({
        "timestamp": timestamp(Utc::now()), "status": 500, "error": "Internal Server Error", "path": path,
    });
    json(StatusCode::INTERNAL_SERVER_ERROR, &body)
}

/// What the engine itself refuses.
pub(super) fn refusal(refusal: Refusal) -> Answer {
    #[derive(Serialize)]
    struct Body {
        timestamp: String,
        code: u16,
        reason: &'static str,
        message: &'static str,
        status: &'static str,
        cause: Option<String>,
    }
    let (code, reason, message) = match refusal {
        Refusal::UnknownWorkflow => {
            (1201, "WORKFLOW_INVALID_REFERENCE", "Invalid Workflow reference has been provided.")
        }
        Refusal::UnknownRun => {
            (1301, "WORKFLOWRUN_INVALID_REFERENCE", "Invalid WorkflowRun reference has been provided.")
        }
    };
    let timestamp = timestamp(Utc::now());
    let body = Body { timestamp, code, reason, message, status: "400 BAD_REQUEST", cause: None };
    json(StatusCode::BAD_REQUEST, &body)
}

/// A body on its way: whole, or cut in the middle.
#[derive(Debug)]
pub(super) struct Payload {
    rest: Option<Bytes>,
    announced: usize,
    /// Counts the polls after the data: the first lets the data leave, the second cuts.
    polls: u8,
}

impl Payload {
    pub(super) fn whole(body: Bytes) -> Payload {
        Payload { announced: body.len(), rest: Some(body), polls: 0 }
    }

    pub(super) fn none(body: Bytes) -> Payload {
        Payload { announced: body.len().max(1), rest: None, polls: 0 }
    }

    pub(super) fn half(body: Bytes) -> Payload {
        // An empty body is announced as a byte that never comes.
        Payload { announced: body.len().max(1), rest: Some(body.slice(..body.len() / 2)), polls: 0 }
    }
}

impl Body for Payload {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        if let Some(data) = self.rest.take().filter(|data| !data.is_empty()) {
            self.announced -= data.len();
            return Poll::Ready(Some(Ok(Frame::data(data))));
        }
        if self.announced == 0 {
            return Poll::Ready(None);
        }
        self.polls += 1;
        if self.polls == 1 {
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        Poll::Ready(Some(Err("cut by the script".into())))
    }

    fn is_end_stream(&self) -> bool {
        self.announced == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.announced as u64)
    }
}
