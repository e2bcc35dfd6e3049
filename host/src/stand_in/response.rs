//! The engine's responses. The engine is a Spring application with three formats of errors: its own, problem details
//! for errors of the framework, and the framework's default 500 for uncaught exceptions.

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
use super::state::UnknownReference;
use crate::serve::BoxError;

/// A response with a complete body.
pub(super) type FullResponse = Response<Bytes>;

pub(super) fn empty(status: StatusCode) -> FullResponse {
    let mut response = FullResponse::default();
    *response.status_mut() = status;
    response
}

pub(super) fn with_body(status: StatusCode, content_type: &'static str, body: impl Into<Bytes>) -> FullResponse {
    with_header(empty(status), CONTENT_TYPE, HeaderValue::from_static(content_type)).map(|_| body.into())
}

pub(super) fn json(status: StatusCode, body: &impl Serialize) -> FullResponse {
    match serde_json::to_vec(body) {
        Ok(body) => with_body(status, "application/json", body),
        Err(error) => with_body(StatusCode::INTERNAL_SERVER_ERROR, "text/plain", error.to_string()),
    }
}

pub(super) fn with_header(mut response: FullResponse, name: HeaderName, value: HeaderValue) -> FullResponse {
    response.headers_mut().insert(name, value);
    response
}

/// An error of the framework, as problem details.
pub(super) fn problem(status: StatusCode, detail: &str, path: &str) -> FullResponse {
    let title = status.canonical_reason().unwrap_or_default();
    let body =
        json!({"type": "about:blank", "title": title, "status": status.as_u16(), "detail": detail, "instance": path});
    with_header(json(status, &body), CONTENT_TYPE, HeaderValue::from_static("application/problem+json"))
}

pub(super) fn unknown_path(path: &str) -> FullResponse {
    let detail = format!("No static resource {}.", path.trim_start_matches('/'));
    problem(StatusCode::NOT_FOUND, &detail, path)
}

pub(super) fn method_not_allowed(method: &str, allow: &'static str, path: &str) -> FullResponse {
    let response = problem(StatusCode::METHOD_NOT_ALLOWED, &format!("Method '{method}' is not supported."), path);
    with_header(response, ALLOW, HeaderValue::from_static(allow))
}

/// An uncaught exception.
pub(super) fn crash(path: &str) -> FullResponse {
    let body = json!({
        "timestamp": timestamp(Utc::now()), "status": 500, "error": "Internal Server Error", "path": path,
    });
    json(StatusCode::INTERNAL_SERVER_ERROR, &body)
}

/// The engine's own error for an unknown workflow or run.
pub(super) fn unknown_reference(reference: UnknownReference) -> FullResponse {
    #[derive(Serialize)]
    struct Body {
        timestamp: String,
        code: u16,
        reason: &'static str,
        message: &'static str,
        status: &'static str,
        cause: Option<String>,
    }
    let (code, reason, message) = match reference {
        UnknownReference::Workflow => {
            (1201, "WORKFLOW_INVALID_REFERENCE", "Invalid Workflow reference has been provided.")
        }
        UnknownReference::Run => {
            (1301, "WORKFLOWRUN_INVALID_REFERENCE", "Invalid WorkflowRun reference has been provided.")
        }
    };
    let timestamp = timestamp(Utc::now());
    let body = Body { timestamp, code, reason, message, status: "400 BAD_REQUEST", cause: None };
    json(StatusCode::BAD_REQUEST, &body)
}

/// A response body that is sent completely, or cut before it reaches its announced length.
#[derive(Debug)]
pub(super) struct Payload {
    data: Option<Bytes>,
    /// The announced bytes that haven't been sent yet.
    remaining: usize,
    /// Counts the polls after the data: the first one lets the data leave, the second one cuts the connection.
    polls: u8,
}

impl Payload {
    /// Sends the whole body.
    pub(super) fn whole(body: Bytes) -> Payload {
        Payload { remaining: body.len(), data: Some(body), polls: 0 }
    }

    /// Announces the body, or one byte if it is empty, and sends none of it.
    pub(super) fn none(body: Bytes) -> Payload {
        Payload { remaining: body.len().max(1), data: None, polls: 0 }
    }

    /// Announces the body, or one byte if it is empty, and sends its first half.
    pub(super) fn half(body: Bytes) -> Payload {
        Payload { remaining: body.len().max(1), data: Some(body.slice(..body.len() / 2)), polls: 0 }
    }
}

impl Body for Payload {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        if let Some(data) = self.data.take().filter(|data| !data.is_empty()) {
            self.remaining -= data.len();
            return Poll::Ready(Some(Ok(Frame::data(data))));
        }
        if self.remaining == 0 {
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
        self.remaining == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.remaining as u64)
    }
}
