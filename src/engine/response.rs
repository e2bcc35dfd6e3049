//! Reads responses by the rules of a profile.
//!
//! A 2xx counts only if its body is the proof of its operation, because the login page of a proxy is a 200 too. For any
//! other status, the first rule counts whose conditions all hold; without one the verdict is
//! [`Verdict::Misconfigured`].

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::header::RETRY_AFTER;
use http::{HeaderMap, Response, StatusCode};
use serde_json::value::RawValue;

use super::form::{Rule, RuleVerdict};
use super::profile::Document;
use super::{Operation, malformed};
use crate::delivery::Verdict;
use crate::json::{self, Pointer};
use crate::time::Timestamp;

/// A 2xx whose body isn't read yet.
pub(super) struct Success {
    pub(super) body: Vec<u8>,
    status: StatusCode,
    after: Option<Duration>,
}

impl Success {
    /// The verdict for a body that proves nothing. `flaw` completes the sentence "the engine answered 200, …".
    pub(super) fn unclear(&self, flaw: &str, concluded: bool) -> Verdict {
        let reason = format!("the engine answered {}, {flaw}", self.status.as_u16());
        Verdict::Unclear { reason, after: self.after, concluded }
    }

    /// The verdict for a body of another form than the engine's.
    pub(super) fn unexpected(&self) -> Verdict {
        self.unclear("but not with the expected body", false)
    }
}

/// Returns a response if it is a 2xx, and its verdict otherwise.
pub(super) fn success(
    document: &Document<'_>,
    operation: Operation,
    response: Response<Vec<u8>>,
    now: Timestamp,
) -> Result<Success, Verdict> {
    let (parts, body) = response.into_parts();
    let (status, after) = (parts.status, retry_after(&parts.headers, now));
    if status.is_success() {
        return Ok(Success { body, status, after });
    }
    let mut reason = format!("the engine answered {}", status.as_u16());
    let members = Members::of_body(&body);
    let rules = document.answers().map_err(malformed)?;
    let rule = rules.iter().find(|rule| holds(rule, operation, status, &body, members.as_ref()));
    if let Some(note) = rule.and_then(|rule| rule.note) {
        reason.push_str(", ");
        reason.push_str(note);
    }
    let code = || members.as_ref().and_then(|members| error_code(members, document.error_code));
    Err(match rule.map(|rule| rule.verdict) {
        Some(RuleVerdict::Rejected) => Verdict::Rejected { status, code: code() },
        Some(RuleVerdict::UnknownRun) => Verdict::UnknownRun { status, code: code() },
        Some(RuleVerdict::Retry) => Verdict::Retry { reason, after },
        Some(RuleVerdict::Unclear) => {
            Verdict::Unclear { reason, after, concluded: rule.is_some_and(|rule| rule.concluded) }
        }
        Some(RuleVerdict::Misconfigured) | None => Verdict::Misconfigured { reason },
    })
}

fn holds(
    rule: &Rule<'_>,
    operation: Operation,
    status: StatusCode,
    body: &[u8],
    members: Option<&Members<'_>>,
) -> bool {
    let is_empty = body.trim_ascii().is_empty();
    let has = |place: &&str| members.is_some_and(|members| members.at(place).is_some());
    (rule.operations.is_empty() || rule.operations.contains(&operation))
        && includes(rule.status, status.as_u16())
        && rule.at.is_none_or(|place| members.and_then(|members| members.text_at(place)).as_deref() == rule.equals)
        && rule.has.iter().all(has)
        && (rule.lacks.is_empty() || is_empty || (members.is_some() && !rule.lacks.iter().any(has)))
}

/// Whether a list of statuses and ranges includes a status.
fn includes(list: &str, status: u16) -> bool {
    list.split(',').any(|item| {
        let (first, last) = item.split_once('-').unwrap_or((item, item));
        matches!((first.parse::<u16>(), last.parse::<u16>()), (Ok(first), Ok(last)) if (first..=last).contains(&status))
    })
}

/// The error code at a place: 1 to 64 capital letters and underscores. Of an error response, nothing else leaves Sluice.
fn error_code(members: &Members<'_>, place: &str) -> Option<String> {
    let code = members.text_at(place)?;
    let is_code = (1..=64).contains(&code.len()) && code.bytes().all(|b| b.is_ascii_uppercase() || b == b'_');
    is_code.then_some(code)
}

/// The members of an object, found once: a run is large, and several places of it are read.
pub(super) struct Members<'v>(Vec<(&'v RawValue, &'v RawValue)>);

impl<'v> Members<'v> {
    /// The members of an object; `None` for a value of another type.
    pub(super) fn of(value: &'v RawValue) -> Option<Self> {
        json::members(value).map(Self)
    }

    /// The members of a body; `None` if it isn't a JSON object.
    pub(super) fn of_body(body: &'v [u8]) -> Option<Self> {
        Self::of(json::object(body).ok()?)
    }

    /// The value at a place.
    pub(super) fn at(&self, place: &str) -> Option<&'v RawValue> {
        Pointer::parse(place)?.find_in_members(&self.0)
    }

    /// The text at a place.
    pub(super) fn text_at(&self, place: &str) -> Option<String> {
        json::text(self.at(place)?)
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
