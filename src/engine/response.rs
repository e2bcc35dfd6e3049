//! The reading of responses that all engines over HTTP have in common.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::header::RETRY_AFTER;
use http::{HeaderMap, Response};

use crate::delivery::Verdict;
use crate::time::Timestamp;

/// The rules of a profile for the bodies of its engine's responses.
pub(super) struct BodyRules {
    /// Whether a body proves that the engine acted. A 2xx counts only with such a proof, because the login page of a
    /// proxy is a 200 too.
    pub(super) is_proof: fn(&[u8]) -> bool,
    /// Whether the body of a 404 says that the server doesn't know the path, rather than the workflow or run.
    pub(super) is_unknown_path: fn(&[u8]) -> bool,
    /// The engine's error code in a body.
    pub(super) error_code: fn(&[u8]) -> Option<String>,
}

/// Returns the verdict for a response, by its status and the profile's rules.
pub(super) fn classify(response: Response<Vec<u8>>, now: Timestamp, rules: &BodyRules) -> Verdict {
    let (parts, body) = response.into_parts();
    let (status, after) = (parts.status, retry_after(&parts.headers, now));
    let reason = format!("the engine answered {}", status.as_u16());
    match status.as_u16() {
        200..=299 if (rules.is_proof)(&body) => Verdict::Accepted { body },
        200..=299 => Verdict::Unclear { reason: format!("{reason}, but not with the expected body"), after, concluded: false },
        400 | 409 | 410 | 413 | 422 => Verdict::Rejected { status, code: (rules.error_code)(&body) },
        404 if !(rules.is_unknown_path)(&body) => Verdict::Rejected { status, code: (rules.error_code)(&body) },
        // 423 is an inactive team, which an operator can activate again.
        408 | 423 | 425 | 429 | 503 => Verdict::Retry { reason, after },
        500..=599 => Verdict::Unclear { reason, after, concluded: false },
        _ => Verdict::Misconfigured { reason },
    }
}

/// Parses `Retry-After`: seconds, or a date (RFC 9110, section 10.2.3).
fn retry_after(headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date: SystemTime = httpdate::parse_http_date(text).ok()?;
    let since_epoch = date.duration_since(UNIX_EPOCH).ok()?;
    Some(since_epoch.saturating_sub(Duration::from_millis(now.0)))
}
