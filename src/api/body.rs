//! Request bodies: reads them with a limit, and checks their content type and syntax.

use http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, EXPECT};
use http::{HeaderMap, HeaderName};
use serde_json::value::RawValue;

use super::problem::{Kind, Problem};
use crate::event::MediaType;
use crate::json::{self, JsonError};
use crate::ports::Body;

/// Maximum number of bytes beyond the limit that are read and discarded. Without this, a sender that is still writing
/// when the connection closes would see a connection reset instead of the 413.
const MAX_DISCARDED: usize = 16 * 1024 * 1024;

/// Reads the whole body, which must not be longer than `max` bytes. The bytes are counted as they arrive.
/// `Content-Length` is used only to bound the allocation, and to reject a body before the sender transmits it
/// (`Expect`).
pub(super) async fn read(body: &mut impl Body, headers: &HeaderMap, max: usize) -> Result<Vec<u8>, Problem> {
    if headers.get_all(CONTENT_ENCODING).iter().any(|coding| !coding.as_bytes().eq_ignore_ascii_case(b"identity")) {
        let detail = "the body is compressed: send it without `Content-Encoding`";
        return Err(Problem::new(Kind::UnsupportedMediaType, detail)
            .field("Content-Encoding")
            .accept_encoding("identity"));
    }
    let too_large = || {
        let detail = format!("the body has more than {max} bytes: send a smaller body, or raise `max_body_bytes`");
        Problem::new(Kind::BodyTooLarge, detail).field("body")
    };
    let declared: Option<usize> = headers.get(CONTENT_LENGTH).and_then(|v| v.to_str().ok()?.parse().ok());
    // A sender that waits for `100 Continue` has not sent anything yet (RFC 9110, section 10.1.1).
    if declared.is_some_and(|length| length > max) && headers.contains_key(EXPECT) {
        return Err(too_large());
    }

    let mut whole = Vec::with_capacity(declared.unwrap_or(0).min(max));
    let mut count = 0_usize;
    while let Some(chunk) = body.chunk().await {
        let chunk = chunk.map_err(|_| {
            let detail = "the connection closed before the end of the body: send the request again";
            Problem::new(Kind::BodyIncomplete, detail).field("body")
        })?;
        count = count.saturating_add(chunk.len());
        if count <= max {
            whole.extend_from_slice(&chunk);
        } else if count > max.saturating_add(MAX_DISCARDED) {
            break;
        }
    }
    if count > max { Err(too_large()) } else { Ok(whole) }
}

/// Returns the value of a header. `None` if it is missing or not visible ASCII.
pub(super) fn text_of(headers: &HeaderMap, name: HeaderName) -> Option<&str> {
    headers.get(name)?.to_str().ok()
}

/// Returns the `Content-Type`. `None` if it is missing or not valid; the detail of [`unsupported`] says which of the
/// two.
pub(super) fn content_type(headers: &HeaderMap) -> Option<MediaType> {
    MediaType::parse(headers.get(CONTENT_TYPE)?.to_str().ok()?)
}

/// Returns the problem of an unsupported content type. `accepted` lists the content types that the endpoint supports.
pub(super) fn unsupported(headers: &HeaderMap, accepted: &str) -> Problem {
    let sent = match headers.get(CONTENT_TYPE).map(|value| value.to_str()) {
        None => "the Content-Type is missing".to_owned(),
        Some(Ok(text)) if text.len() <= 100 => format!("the Content-Type is {text:?}"),
        Some(_) => "the Content-Type is not valid".to_owned(),
    };
    Problem::new(Kind::UnsupportedMediaType, format!("{sent}: send {accepted}, in UTF-8"))
        .field("Content-Type")
        .accept_post(accepted)
}

/// Requires the content type of a payload: `application/json` in UTF-8.
pub(super) fn require_json(headers: &HeaderMap) -> Result<(), Problem> {
    match content_type(headers) {
        Some(media_type) if media_type.is("application", "json", None) && media_type.is_utf8() => Ok(()),
        _ => Err(unsupported(headers, "application/json")),
    }
}

/// Parses a payload, which must be a JSON object.
pub(super) fn object(bytes: &[u8]) -> Result<&RawValue, Problem> {
    json::object(bytes).map_err(|error| not_an_object(&error))
}

/// Returns the problem of a body that is no JSON object.
pub(super) fn not_an_object(error: &JsonError) -> Problem {
    invalid(format!("the body must be a JSON object, but {error}"))
}

/// Returns the problem of an invalid body.
pub(super) fn invalid(detail: String) -> Problem {
    Problem::new(Kind::InvalidBody, detail).field("body")
}
