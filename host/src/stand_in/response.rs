//! Responses, and bodies that are cut short.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use chrono::{DateTime, SecondsFormat, Utc};
use hyper::body::{Body, Frame, SizeHint};
use hyper::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use hyper::{Response, StatusCode};
use serde::Serialize;

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

/// A response in plain text, for clients of the stand-in's own paths.
pub(super) fn text(status: StatusCode, text: &str) -> FullResponse {
    with_body(status, "text/plain;charset=utf-8", format!("{text}\n"))
}

pub(super) fn json(status: StatusCode, body: &impl Serialize) -> FullResponse {
    match serde_json::to_vec(body) {
        Ok(body) => with_body(status, "application/json", body),
        Err(error) => text(StatusCode::INTERNAL_SERVER_ERROR, &error.to_string()),
    }
}

pub(super) fn with_header(mut response: FullResponse, name: HeaderName, value: HeaderValue) -> FullResponse {
    response.headers_mut().insert(name, value);
    response
}

/// A time like those of the engine.
pub(super) fn timestamp(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::Millis, false)
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
