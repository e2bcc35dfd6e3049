//! Reads responses by the rules of a profile.
//!
//! The first rule counts whose conditions all hold; rules for a 2xx come before its proof. A 2xx without such a rule
//! counts only if it has the proof of its operation, because the login page of a proxy is a 200 too. For any other status
//! without a rule, the verdict is [`Verdict::Misconfigured`].

use std::borrow::Cow;
use std::ops::RangeInclusive;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::header::RETRY_AFTER;
use http::{HeaderMap, Response, StatusCode};
use serde_json::value::RawValue;

use super::form::{Condition, Proof, Rule, RuleVerdict, Text};
use super::profile::Document;
use super::request::{Hole, expand};
use super::{Constants, Names, Operation, malformed};
use crate::delivery::Verdict;
use crate::json::{self, JsonType, Tree};
use crate::time::Timestamp;

/// The reader of a response to an operation.
#[derive(Clone, Copy)]
pub(super) struct Reader<'r, 'p> {
    pub(super) document: &'r Document<'p>,
    pub(super) constants: &'r Constants,
    pub(super) names: &'r Names,
    pub(super) operation: Operation,
    pub(super) now: Timestamp,
}

/// A 2xx whose body isn't read yet.
pub(super) struct Success {
    pub(super) body: Vec<u8>,
    status: StatusCode,
    headers: HeaderMap,
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

/// A response that isn't a success.
pub(super) enum Refused {
    /// A lookup has found no run.
    Absent,
    /// Any other response.
    Verdict(Verdict),
}

impl From<Verdict> for Refused {
    fn from(verdict: Verdict) -> Self {
        Self::Verdict(verdict)
    }
}

impl From<Refused> for Verdict {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Verdict(verdict) => verdict,
            Refused::Absent => {
                let reason = "the profile takes this answer for the absence of a run, which only a lookup can have";
                Self::Misconfigured { reason: reason.to_owned() }
            }
        }
    }
}

impl Reader<'_, '_> {
    /// Returns a response if it is a 2xx to which no rule gives another meaning, and its verdict otherwise.
    pub(super) fn success(&self, response: Response<Vec<u8>>) -> Result<Success, Refused> {
        let (parts, body) = response.into_parts();
        let (status, after) = (parts.status, retry_after(&parts.headers, self.now));
        let rules = self.document.answers_to(status.as_u16()).map_err(malformed)?;
        let may_apply = |rule: &&Rule<'_>| rule.operations.is_empty() || rule.operations.contains(&self.operation);
        let mut rules = rules.iter().filter(may_apply).peekable();
        if status.is_success() && rules.peek().is_none() {
            return Ok(Success { body, status, headers: parts.headers, after });
        }
        let value = Value::of_body(&body);
        let rule = rules.find(|rule| self.holds(rule, &body, &value));
        if status.is_success() && rule.is_none() {
            return Ok(Success { body, status, headers: parts.headers, after });
        }
        let mut reason = format!("the engine answered {}", status.as_u16());
        if let Some(note) = rule.and_then(|rule| rule.note.as_ref()) {
            reason.push_str(", ");
            reason.push_str(note);
        }
        let code = || error_code(&value, self.document.error_code.as_ref()?);
        let Some(rule) = rule else { return Err(Verdict::Misconfigured { reason }.into()) };
        Err(Refused::Verdict(match rule.verdict {
            RuleVerdict::Absent => return Err(Refused::Absent),
            RuleVerdict::Existing => Verdict::Existing { body: None },
            RuleVerdict::Rejected => Verdict::Rejected { status, code: code() },
            RuleVerdict::UnknownRun => Verdict::UnknownRun { status, code: code() },
            RuleVerdict::NotWaiting => Verdict::NotWaiting,
            RuleVerdict::AlreadyResolved => Verdict::AlreadyResolved { status: None },
            RuleVerdict::Retry => Verdict::Retry { reason, after },
            RuleVerdict::Unclear => Verdict::Unclear { reason, after, concluded: rule.concluded },
            RuleVerdict::Misconfigured => Verdict::Misconfigured { reason },
        }))
    }

    fn holds(&self, rule: &Rule<'_>, body: &[u8], value: &Value<'_>) -> bool {
        let is_empty = body.trim_ascii().is_empty();
        let has = |place: &Text<'_>| value.at(place).is_some();
        rule.at.as_ref().is_none_or(|place| value.text_at(place).as_deref() == rule.equals.as_deref())
            && rule.has.iter().all(has)
            && (rule.lacks.is_empty() || is_empty || (value.is_object() && !rule.lacks.iter().any(has)))
            && rule.when.iter().all(|condition| self.meets(condition, value))
    }

    /// Returns whether a body meets a condition.
    pub(super) fn meets(&self, condition: &Condition<'_>, value: &Value<'_>) -> bool {
        let found = value.at(&condition.at);
        let text = found.map(plain);
        let expected = |text: &Option<Text<'_>>| text.as_ref().map(|text| self.expand(text));
        let is = |text: &Option<Text<'_>>, holds: &dyn Fn(&str) -> bool| match expected(text) {
            None => true,
            Some(None) => false,
            Some(Some(text)) => holds(&text),
        };
        condition.absent.is_none_or(|absent| absent == found.is_none())
            && condition.present.is_none_or(|present| present == found.is_some())
            && is(&condition.older_ms, &|age| text.as_deref().is_some_and(|time| self.is_older(time, age)))
            && is(&condition.equals, &|expected| text.as_deref() == Some(expected))
            && is(&condition.prefix, &|prefix| text.as_deref().is_some_and(|text| text.starts_with(prefix)))
            && is(&condition.contains, &|part| match found.and_then(json::elements) {
                Some(elements) => elements.into_iter().any(|element| plain(element) == part),
                None => text.as_deref().is_some_and(|text| text.contains(part)),
            })
    }

    /// Whether a time (RFC 3339) is at least this number of milliseconds before now.
    fn is_older(&self, time: &str, age_ms: &str) -> bool {
        let age = age_ms.parse().map(Duration::from_millis);
        matches!((Timestamp::from_rfc3339(time), age), (Some(time), Ok(age)) if time.plus(age) <= self.now)
    }

    /// Replaces the holes of a text; `None` if one has no value.
    pub(super) fn expand(&self, text: &str) -> Option<String> {
        self.expand_with(text, None)
    }

    /// Replaces the holes of a text, `{proof}` among them.
    pub(super) fn expand_with(&self, text: &str, proof: Option<&str>) -> Option<String> {
        let holes = |name: &str| {
            let text = self.names.get(name).or_else(|| self.constants.get(name));
            let text = text.or_else(|| proof.filter(|_| name == "proof"));
            text.map(|text| Hole::Text(Cow::Owned(text.to_owned())))
        };
        expand(text, &holes, |_, text| Ok(text.to_owned())).ok()
    }

    /// Checks that a 2xx has a proof. Returns the text that proves it; empty for a proof that is none.
    pub(super) fn prove(&self, proof: &Proof<'_>, success: &Success) -> Option<String> {
        let body = success.body.as_slice();
        let is_text = |text: &String| !text.is_empty();
        match proof {
            Proof::Any => Some(String::new()),
            Proof::JsonOrEmpty => (body.trim_ascii().is_empty() || json::value(body).is_ok()).then(String::new),
            Proof::Run | Proof::Object => json::object(body).is_ok().then(String::new),
            Proof::Text => {
                let text = std::str::from_utf8(body).ok()?.trim();
                let is_word = !text.is_empty() && text.chars().all(|c| !c.is_whitespace() && !c.is_control());
                is_word.then(|| text.trim_matches('"').to_owned())
            }
            Proof::Header(name) => {
                let value = success.headers.get(&**name)?.to_str().ok()?;
                Some(value.to_owned()).filter(is_text)
            }
            Proof::At(place, equals) => {
                let text = plain(Value::of_body(body).at(place)?);
                let is_expected = match equals {
                    None => true,
                    Some(expected) => self.expand(expected).as_deref() == Some(text.as_str()),
                };
                Some(text).filter(|text| is_text(text) && is_expected)
            }
        }
    }
}

/// A value as a text: that of a string, and otherwise its JSON.
fn plain(value: &RawValue) -> String {
    json::text(value).unwrap_or_else(|| value.get().to_owned())
}

/// Whether a list of statuses and ranges includes a status. A malformed item includes none.
pub(super) fn includes(list: &str, status: u16) -> bool {
    ranges(list).flatten().any(|range| range.contains(&status))
}

/// Reads a list of statuses and ranges, such as `404,500-599`; `None` for a malformed item.
pub(super) fn ranges(list: &str) -> impl Iterator<Item = Option<RangeInclusive<u16>>> {
    list.split(',').map(|item| {
        let (first, last) = item.split_once('-').unwrap_or((item, item));
        match (first.parse::<u16>(), last.parse::<u16>()) {
            (Ok(first), Ok(last)) if first >= 100 && first <= last && last <= 599 => Some(first..=last),
            _ => None,
        }
    })
}

/// The error code at a place: 1 to 64 capital letters and underscores. Of an error response, nothing else leaves Sluice.
fn error_code(value: &Value<'_>, place: &str) -> Option<String> {
    let code = value.text_at(place)?;
    let is_code = (1..=64).contains(&code.len()) && code.bytes().all(|b| b.is_ascii_uppercase() || b == b'_');
    is_code.then_some(code)
}

/// The value of a body; `None` if the body is no JSON: then nothing is at any place.
pub(super) struct Value<'v>(Option<Tree<'v>>);

impl<'v> Value<'v> {
    pub(super) fn of(value: &'v RawValue) -> Self {
        Self(Some(Tree::new(value)))
    }

    /// The value of a body.
    pub(super) fn of_body(body: &'v [u8]) -> Self {
        json::value(body).map_or(Self(None), Self::of)
    }

    pub(super) fn is_object(&self) -> bool {
        self.0.as_ref().is_some_and(|tree| json::type_of(tree.value()) == JsonType::Object)
    }

    /// The value at a place. A `null` is none.
    pub(super) fn at(&self, place: &str) -> Option<&'v RawValue> {
        let found = self.0.as_ref()?.at(place)?.value();
        (json::type_of(found) != JsonType::Null).then_some(found)
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
