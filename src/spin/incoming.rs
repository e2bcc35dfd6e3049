//! Conversion of requests and responses between Spin and the `http` crate.

use std::pin::Pin;

use anyhow::{Context, anyhow};
use futures_util::{Stream, StreamExt};
use http::header::{HeaderName, HeaderValue};
use http::{Method, Request, Response, Uri};
use spin_sdk::http::{IncomingRequest, OutgoingResponse, ResponseOutparam};

use super::fields;
use crate::ports::{Body, BodyError};

/// Converts a request without reading its body. Headers that the host accepts but the `http` crate rejects are dropped.
pub(super) fn request(incoming: IncomingRequest) -> Request<Incoming> {
    // An invalid method becomes TRACE, which no endpoint allows.
    let method = Method::from_bytes(incoming.method().to_string().as_bytes()).unwrap_or(Method::TRACE);
    let uri: Uri = incoming.path_with_query().and_then(|path| path.parse().ok()).unwrap_or_default();
    let headers = incoming.headers().entries();
    let mut request = Request::new(Incoming(Box::pin(incoming.into_body_stream())));
    *request.method_mut() = method;
    *request.uri_mut() = uri;
    for (name, value) in headers {
        if let (Ok(name), Ok(value)) = (HeaderName::from_bytes(name.as_bytes()), HeaderValue::from_bytes(&value)) {
            request.headers_mut().append(name, value);
        }
    }
    request
}

/// The body of a request, as the host streams it.
pub(super) struct Incoming(Pin<Box<dyn Stream<Item = Result<Vec<u8>, wasi::io::error::Error>>>>);

impl Body for Incoming {
    async fn chunk(&mut self) -> Option<Result<Vec<u8>, BodyError>> {
        Some(self.0.next().await?.map_err(|_| BodyError))
    }
}

/// Sends the response. Returns once the host has taken all of it.
pub(super) async fn respond(response: Response<Vec<u8>>, responder: ResponseOutparam) -> anyhow::Result<()> {
    let (parts, body) = response.into_parts();
    let outgoing = OutgoingResponse::new(fields(&parts.headers).context("a header was refused")?);
    outgoing.set_status_code(parts.status.as_u16()).map_err(|()| anyhow!("the status was refused"))?;
    responder.set_with_body(outgoing, body).await.context("the body was not taken")
}
