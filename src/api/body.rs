//! Request bodies: reads them with a limit, and checks their content type and syntax.

use std::borrow::Cow;

use http::HeaderMap;
use http::header::{CONTENT_TYPE, EXPECT};
use serde_json::value::RawValue;

use super::content_coding;
use super::problem::{Kind, Problem};
use crate::event::{MediaType, MediaTypeError, truncated};
use crate::json::{self, Buffer, JsonError, Unchecked};
use crate::ports::{Body, content_length};

/// Maximum number of bytes beyond the limit that are read and discarded. Without this, a sender that is still writing
/// when the connection closes would see a connection reset instead of the 413.
const MAX_DISCARDED: usize = 16 * 1024 * 1024;

/// Maximum length of a content type that a problem repeats, in bytes.
const MAX_SHOWN_TYPE: usize = 100;

/// Reads the whole body, which must not be longer than `max` bytes. The bytes are counted and checked as they arrive.
/// `Content-Length` is used only for the size of the buffer, and to reject a body before the sender transmits it
/// (`Expect`).
pub(super) async fn read(body: &mut impl Body, headers: &HeaderMap, max: usize) -> Result<Buffer, Problem> {
    content_coding::require_identity(headers)?;
    let too_large = || {
        let detail = format!("the body has more than {max} bytes: send a smaller body, or raise `max_body_bytes`");
        Problem::new(Kind::BodyTooLarge, detail).field("body")
    };
    let declared = content_length(headers).and_then(|length| usize::try_from(length).ok());
    // A sender that waits for `100 Continue` has not sent anything yet (RFC 9110, section 10.1.1).
    if declared.is_some_and(|length| length > max) && headers.contains_key(EXPECT) {
        return Err(too_large());
    }

    let mut whole = Buffer::with_capacity(declared.unwrap_or(0).min(max));
    let mut count = 0_usize;
    while let Some(chunk) = body.chunk().await {
        let chunk = chunk.map_err(|_| {
            let detail = "the connection closed before the end of the body: send the request again";
            Problem::new(Kind::BodyIncomplete, detail).field("body")
        })?;
        count = count.saturating_add(chunk.len());
        if count <= max {
            whole.push(chunk);
        } else if count > max.saturating_add(MAX_DISCARDED) {
            break;
        }
    }
    if count > max { Err(too_large()) } else { Ok(whole) }
}

/// Returns the `Content-Type`. `None` if it is missing, not valid, or occurs twice with different values; the detail of
/// [`unsupported`] says which.
pub(super) fn content_type(headers: &HeaderMap) -> Option<MediaType> {
    content_type_or_fault(headers).ok()
}

/// Returns whether the `Content-Type` is that of a form.
pub(super) fn is_form(headers: &HeaderMap) -> bool {
    content_type(headers).is_some_and(|media_type| media_type.is("application", "x-www-form-urlencoded", None))
}

/// Returns the `Content-Type`, or its fault.
fn content_type_or_fault(headers: &HeaderMap) -> Result<MediaType, String> {
    let invalid = || "the Content-Type is not valid".to_owned();
    let mut values = headers.get_all(CONTENT_TYPE).iter();
    let first = values.next().ok_or("the Content-Type is missing")?.to_str().map_err(|_| invalid())?;
    let mut list = Cow::Borrowed(first);
    for value in values {
        list = Cow::Owned(format!("{list},{}", value.to_str().map_err(|_| invalid())?));
    }
    // Two header lines are the same as a list of two values (RFC 9110, section 5.3).
    MediaType::parse_list(&list).map_err(|error| match error {
        MediaTypeError::Invalid if list.len() <= MAX_SHOWN_TYPE => format!("the Content-Type is {list:?}"),
        MediaTypeError::Invalid => invalid(),
        MediaTypeError::Different => "the Content-Type occurs twice, with different values".to_owned(),
    })
}

/// Returns the problem of an unsupported content type. `accepted` lists the content types that the endpoint supports.
pub(super) fn unsupported(headers: &HeaderMap, accepted: &str) -> Problem {
    let fault = content_type_or_fault(headers).map(|media_type| match media_type.charset() {
        Some(charset) if !media_type.is_utf8() => {
            format!("the charset `{}` is not supported", truncated(&charset))
        }
        _ if media_type.as_str().len() <= MAX_SHOWN_TYPE => format!("the Content-Type is {:?}", media_type.as_str()),
        _ => "the Content-Type is not supported".to_owned(),
    });
    let fault = fault.unwrap_or_else(|fault| fault);
    Problem::new(Kind::UnsupportedMediaType, format!("{fault}: send {accepted}, in UTF-8"))
        .field("Content-Type")
        .accept_post(accepted)
}

/// Requires the content type of a payload: `application/json`, or a type with the suffix `+json` (RFC 6839, section
/// 3.1), in UTF-8. A CloudEvent is no payload, since its route is another one.
pub(super) fn require_json(headers: &HeaderMap) -> Result<(), Problem> {
    let Some(media_type) = content_type(headers) else { return Err(unsupported(headers, "application/json")) };
    if media_type.starts_with("application", "cloudevents") {
        let detail = "the body is a CloudEvent by its Content-Type: send it to /api/v2/event, or as application/json";
        let problem = Problem::new(Kind::UnsupportedMediaType, detail).field("Content-Type");
        return Err(problem.accept_post("application/json"));
    }
    if media_type.is_json_type() && media_type.is_utf8() {
        return Ok(());
    }
    Err(unsupported(headers, "application/json"))
}

/// Parses a payload, which must be a JSON object.
pub(super) fn object<'b>(text: impl Into<Unchecked<'b>>) -> Result<&'b RawValue, Problem> {
    json::object(text).map_err(|error| not_an_object(&error))
}

/// Returns the problem of a body that is no JSON object.
pub(super) fn not_an_object(error: &JsonError) -> Problem {
    invalid(format!("the body must be a JSON object, but {error}"))
}

/// Returns the problem of an invalid body.
pub(super) fn invalid(detail: String) -> Problem {
    Problem::new(Kind::InvalidBody, detail).field("body")
}
