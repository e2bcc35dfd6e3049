//! Responses, and the notation of times in them.

use chrono::DateTime;
use http::header::{CONTENT_TYPE, HeaderValue};
use http::{Response, StatusCode};

use crate::json::Json;

/// A whole response.
pub(crate) type Reply = Response<Vec<u8>>;

pub(crate) fn empty(status: StatusCode) -> Reply {
    let mut response = Reply::default();
    *response.status_mut() = status;
    response
}

pub(crate) fn with_type(status: StatusCode, content_type: &'static str, body: String) -> Reply {
    let mut response = empty(status).map(|_| body.into_bytes());
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

pub(crate) fn json(status: StatusCode, body: &Json) -> Reply {
    with_type(status, "application/json", body.to_string())
}

/// A time in the notation of Spring: `2026-11-27T00:35:49.143+00:00`.
pub(crate) fn date(ms: u64) -> String {
    let time = i64::try_from(ms).ok().and_then(DateTime::from_timestamp_millis).unwrap_or_default();
    time.format("%Y-%m-%dT%H:%M:%S%.3f+00:00").to_string()
}
