//! Outbound HTTP, for calls to the engine. This module calls the outgoing handler directly, because the SDK's `send`
//! has no timeouts.

use std::time::Duration;

use http::header::CONTENT_LENGTH;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode};
use spin_sdk::http::{ErrorCode, IncomingResponse, Method, OutgoingRequest, Scheme};
use spin_sdk::wit::wasi::http0_2_0::types::{FutureIncomingResponse, RequestOptions};

use super::bindings::wasi::http::outgoing_handler;
use super::fields;
use super::stream::{Reader, Writer};
use super::wait::{at_most, ready};
use crate::engine::MAX_RESPONSE_BYTES;
use crate::ports::{SendError, Timeouts, content_length};

/// Sends a request and reads its whole response.
pub(super) async fn send(request: Request<Vec<u8>>, timeouts: Timeouts) -> Result<Response<Vec<u8>>, SendError> {
    at_most(timeouts.total, attempt(request, timeouts))
        .await
        .unwrap_or(Err(SendError::NoResponse("the attempt timed out")))
}

async fn attempt(request: Request<Vec<u8>>, timeouts: Timeouts) -> Result<Response<Vec<u8>>, SendError> {
    let (outgoing, body) = outgoing(request)?;
    let options = options(timeouts).ok_or(SendError::Denied("the host supports no timeouts"))?;
    let taken = outgoing.body().map_err(|()| SendError::Denied("the host refused the body"))?;
    let writer = Writer::begin(taken, &body);
    let response = outgoing_handler::handle(outgoing, Some(options)).map_err(send_error)?;
    if let Ok(Some(rest)) = writer {
        // The engine may respond and close the connection before it has read the whole request. In that case, its
        // response says more than the write error.
        let _ = rest.finish().await;
    }
    whole(head(&response).await.map_err(send_error)?).await
}

/// Waits for the head of the response.
async fn head(response: &FutureIncomingResponse) -> Result<IncomingResponse, ErrorCode> {
    loop {
        // It is never there at once.
        ready(response.subscribe()).await;
        if let Some(head) = response.get() {
            // The outer error means that the response was taken before, which never happens.
            return head.unwrap_or(Err(ErrorCode::InternalError(None)));
        }
    }
}

fn outgoing(request: Request<Vec<u8>>) -> Result<(OutgoingRequest, Vec<u8>), SendError> {
    let denied = SendError::Denied("the host refused a part of the request");
    let (mut parts, body) = request.into_parts();
    parts.headers.insert(CONTENT_LENGTH, HeaderValue::from(body.len()));
    let outgoing = OutgoingRequest::new(fields(&parts.headers).map_err(|_| denied)?);
    let method = match parts.method {
        http::Method::GET => Method::Get,
        http::Method::POST => Method::Post,
        http::Method::PUT => Method::Put,
        other => Method::Other(other.to_string()),
    };
    let scheme = if parts.uri.scheme() == Some(&http::uri::Scheme::HTTPS) { Scheme::Https } else { Scheme::Http };
    outgoing.set_method(&method).map_err(|()| denied)?;
    outgoing.set_scheme(Some(&scheme)).map_err(|()| denied)?;
    outgoing.set_authority(parts.uri.authority().map(|authority| authority.as_str())).map_err(|()| denied)?;
    outgoing.set_path_with_query(parts.uri.path_and_query().map(|path| path.as_str())).map_err(|()| denied)?;
    Ok((outgoing, body))
}

/// The time limit of the connection. [`send`] enforces that of the whole call; those of the host for its other phases are
/// longer by default, 600 s in Spin.
fn options(timeouts: Timeouts) -> Option<RequestOptions> {
    let nanoseconds = |duration: Duration| u64::try_from(duration.as_nanos()).ok();
    let options = RequestOptions::new();
    options.set_connect_timeout(nanoseconds(timeouts.connect)).ok()?;
    Some(options)
}

/// Reads the body to its end, so the host can reuse the connection.
async fn whole(incoming: IncomingResponse) -> Result<Response<Vec<u8>>, SendError> {
    let unreadable = || SendError::NoResponse("its response can't be read");
    let status = StatusCode::from_u16(incoming.status()).map_err(|_| unreadable())?;
    let mut headers = HeaderMap::new();
    for (name, value) in incoming.headers().entries() {
        let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| unreadable())?;
        headers.append(name, HeaderValue::try_from(value).map_err(|_| unreadable())?);
    }
    let length = content_length(&headers);
    let mut reader = incoming.consume().ok().and_then(|body| Reader::new(body, length)).ok_or_else(unreadable)?;
    let mut body = Vec::new();
    while let Some(piece) = reader.next().await {
        let piece = piece.map_err(|_| SendError::NoResponse("its response broke off"))?;
        if body.is_empty() {
            body = piece;
        } else {
            body.extend(piece);
        }
        if body.len() > MAX_RESPONSE_BYTES {
            return Err(SendError::NoResponse("its response is too large"));
        }
    }
    let mut response = Response::new(body);
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    Ok(response)
}

/// Classifies an error from the host. [`SendError::NotSent`] is only for errors that occur before the first byte of the
/// request is sent.
fn send_error(error: ErrorCode) -> SendError {
    match error {
        ErrorCode::HttpRequestDenied | ErrorCode::DestinationIpProhibited => {
            SendError::Denied("it is not among allowed_outbound_hosts")
        }
        ErrorCode::HttpRequestUriInvalid => SendError::Denied("its URL is not valid"),
        ErrorCode::DnsTimeout | ErrorCode::DnsError(_) => SendError::NotSent("its name can't be resolved"),
        ErrorCode::DestinationNotFound
        | ErrorCode::DestinationUnavailable
        | ErrorCode::DestinationIpUnroutable
        | ErrorCode::ConnectionRefused => SendError::NotSent("the connection was refused"),
        ErrorCode::ConnectionTimeout => SendError::NotSent("the connection took too long"),
        ErrorCode::ConnectionLimitReached => SendError::NotSent("the host has too many connections"),
        ErrorCode::TlsProtocolError | ErrorCode::TlsCertificateError | ErrorCode::TlsAlertReceived(_) => {
            SendError::NotSent("the TLS handshake failed")
        }
        ErrorCode::ConnectionReadTimeout | ErrorCode::HttpResponseTimeout => {
            SendError::NoResponse("the attempt timed out")
        }
        _ => SendError::NoResponse("the connection broke"),
    }
}
