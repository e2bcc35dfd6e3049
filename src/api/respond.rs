//! Constructors for responses.

use http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use http::{Response, StatusCode};
use serde::Serialize;

use crate::sender::Reply;

/// Returns a response without a body.
pub(super) fn empty(status: StatusCode) -> Response<Vec<u8>> {
    json_bytes(status, Vec::new())
}

/// Returns a JSON response.
pub(super) fn json(status: StatusCode, value: &impl Serialize) -> Response<Vec<u8>> {
    json_bytes(status, serde_json::to_vec(value).unwrap_or_default())
}

/// Returns a response whose body is serialized JSON. An empty body gets no `Content-Type`.
pub(super) fn json_bytes(status: StatusCode, body: Vec<u8>) -> Response<Vec<u8>> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    if !response.body().is_empty() {
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    }
    response
}

/// Returns the answer to a sender's question.
pub(super) fn reply(reply: Reply) -> Response<Vec<u8>> {
    let mut response = Response::new(reply.body.into_bytes());
    *response.status_mut() = StatusCode::from_u16(reply.status).unwrap_or_default();
    let headers = response.headers_mut();
    headers.extend(reply.headers);
    headers.extend(reply.content_type.map(|content_type| (CONTENT_TYPE, HeaderValue::from_static(content_type))));
    response
}

/// Sets `Cache-Control: no-store`.
pub(super) fn no_store(mut response: Response<Vec<u8>>) -> Response<Vec<u8>> {
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn empty_body_has_no_content_type() {
        let types = |response: Response<Vec<u8>>| response.headers().get(CONTENT_TYPE).cloned();
        assert_eq!(types(json(StatusCode::OK, &[0])).unwrap(), "application/json");
        assert_eq!(types(json_bytes(StatusCode::OK, b"{}".to_vec())).unwrap(), "application/json");
        assert_eq!(types(empty(StatusCode::NO_CONTENT)), None);
    }
}
