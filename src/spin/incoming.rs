//! Conversion of requests and responses between Spin and the `http` crate.

use std::hint::black_box;
use std::mem::ManuallyDrop;

use anyhow::{Context, anyhow};
use http::header::{HeaderName, HeaderValue};
use http::{HeaderMap, Method, Request, Response, StatusCode, Uri};
use spin_sdk::http::{IncomingRequest, OutgoingResponse, ResponseOutparam};

use super::fields;
use super::stream::{Reader, Writer};
use crate::ports::{Body, BodyError, content_length};

/// Converts a request without reading its body. Headers that the host accepts but the `http` crate rejects are dropped.
///
/// The handles are never dropped: each drop costs two calls, and the host drops them all with the instance.
pub(super) fn request(incoming: IncomingRequest) -> Request<Incoming> {
    // An invalid method becomes TRACE, which no endpoint allows.
    let method = Method::from_bytes(incoming.method().to_string().as_bytes()).unwrap_or(Method::TRACE);
    let uri: Uri = incoming.path_with_query().and_then(|path| path.parse().ok()).unwrap_or_default();
    let mut headers = HeaderMap::new();
    for (name, value) in ManuallyDrop::new(incoming.headers()).entries() {
        if let (Ok(name), Ok(value)) = (HeaderName::from_bytes(name.as_bytes()), HeaderValue::try_from(value)) {
            headers.append(name, value);
        }
    }
    let length = content_length(&headers);
    let mut request = Request::new(Incoming::Unread(ManuallyDrop::new(incoming), length));
    *request.method_mut() = method;
    *request.uri_mut() = uri;
    *request.headers_mut() = headers;
    request
}

/// The body of a request.
pub(super) enum Incoming {
    /// Nothing is read yet; with the length in `Content-Length`.
    Unread(ManuallyDrop<IncomingRequest>, Option<u64>),
    Reading(ManuallyDrop<Reader>),
    /// The host gives no body.
    Absent,
}

impl Body for Incoming {
    /// Blocks the instance: nothing else happens in it before the body is read.
    async fn chunk(&mut self) -> Option<Result<Vec<u8>, BodyError>> {
        if let Self::Unread(request, length) = self {
            grow_memory(length.unwrap_or_default());
            let reader = request.consume().ok().and_then(|body| Reader::new(body, *length));
            *self = reader.map_or(Self::Absent, |reader| Self::Reading(ManuallyDrop::new(reader)));
        }
        match self {
            Self::Reading(reader) => Some(reader.next_blocking()?.map_err(|_| BodyError)),
            Self::Unread(..) | Self::Absent => None,
        }
    }
}

/// Takes the memory for a large body, and for the request to the engine that contains it, from the host at once. Otherwise,
/// it would grow in several steps.
fn grow_memory(length: u64) {
    /// A body up to this length fits into the initial memory.
    const SMALL: usize = 16 << 10;
    /// A longer body grows the memory step by step: its length may be a lie.
    const MAX: usize = 1 << 20;
    let length = usize::try_from(length).unwrap_or(MAX).min(MAX);
    if length > SMALL {
        // The allocator keeps it. `black_box` keeps the compiler from leaving the allocation out.
        drop(black_box(Vec::<u8>::with_capacity(length.saturating_mul(2).saturating_add(2 * SMALL))));
    }
}

/// Sends the response. Returns once the host has taken all of it.
pub(super) async fn respond(response: Response<Vec<u8>>, responder: ResponseOutparam) -> anyhow::Result<()> {
    let (parts, body) = response.into_parts();
    let outgoing = OutgoingResponse::new(fields(&parts.headers).context("a header was refused")?);
    if parts.status != StatusCode::OK {
        outgoing.set_status_code(parts.status.as_u16()).map_err(|()| anyhow!("the status was refused"))?;
    }
    let taken = outgoing.body().map_err(|()| anyhow!("the body was refused"))?;
    let writer = Writer::begin(taken, &body);
    responder.set(outgoing);
    match writer.context("the body was not taken")? {
        Some(rest) => rest.finish().await.context("the body was not taken"),
        None => Ok(()),
    }
}
