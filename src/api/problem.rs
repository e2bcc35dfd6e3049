//! The one table of errors → RFC 9457 `application/problem+json`. `docs/problems.md` lists it for senders.

use std::time::Duration;

use http::header::{ACCEPT_ENCODING, ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderName, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderValue, Response, StatusCode};
use serde::Serialize;
use serde_json::Value;

use crate::delivery::{Outcome, Verdict};
use crate::json::SingleMember;

/// Where the problem types are described.
pub const TYPE_BASE: &str = "https://sluice.dev/problems/";

/// `Accept-Post` (W3C Linked Data Platform, section 7.1): what a route takes.
pub const ACCEPT_POST: HeaderName = HeaderName::from_static("accept-post");

/// How long a sender is asked to wait where the engine doesn't say.
pub const RETRY_AFTER_DEFAULT: Duration = Duration::from_secs(5);
/// The longest that a sender is asked to wait, whatever the engine says.
pub const RETRY_AFTER_MAX: Duration = Duration::from_secs(3_600);

/// What sending the same request again does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Retry {
    /// Nothing was done; the same request may succeed later.
    Safe,
    /// It fails again until what `detail` says is mended.
    FixFirst,
    /// The engine may have acted; a second request may act twice.
    MayRepeat,
}

macro_rules! kinds {
    ($($(#[$doc:meta])* $kind:ident $slug:literal $status:ident $retry:ident $title:literal;)*) => {
        /// The kinds of problems.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Kind { $($(#[$doc])* $kind,)* }

        impl Kind {
            /// All of them, in the order of the table.
            pub const ALL: &[Self] = &[$(Self::$kind,)*];

            /// The last part of the type URI, the status, what a retry does, and the title.
            pub fn row(self) -> (&'static str, StatusCode, Retry, &'static str) {
                match self { $(Self::$kind => ($slug, StatusCode::$status, Retry::$retry, $title),)* }
            }
        }
    };
}

kinds! {
    /// No such path, or one that isn't switched on.
    NotFound "not-found" NOT_FOUND FixFirst "There is nothing at this path";
    /// The path is known, the method isn't.
    MethodNotAllowed "method-not-allowed" METHOD_NOT_ALLOWED FixFirst "This path has no such method";
    /// A content type that the route doesn't take.
    UnsupportedMediaType "unsupported-media-type" UNSUPPORTED_MEDIA_TYPE FixFirst "This content type isn't taken here";
    /// More bytes than `max_body_bytes`.
    BodyTooLarge "body-too-large" PAYLOAD_TOO_LARGE FixFirst "The body is too large";
    /// The connection ended within the body.
    BodyIncomplete "body-incomplete" BAD_REQUEST Safe "The body ended early";
    /// The body isn't what the route asks for.
    InvalidBody "invalid-body" BAD_REQUEST FixFirst "The body can't be read";
    /// An event's attribute breaks a rule.
    InvalidEvent "invalid-event" BAD_REQUEST FixFirst "The request isn't a valid CloudEvent";
    /// A query parameter that must be there isn't.
    MissingParameter "missing-parameter" BAD_REQUEST FixFirst "A query parameter is missing";
    /// A query parameter or path segment can't be used.
    InvalidParameter "invalid-parameter" BAD_REQUEST FixFirst "A parameter can't be used";
    /// No token, or a wrong one.
    Unauthorized "unauthorized" UNAUTHORIZED FixFirst "A valid token is required";
    /// A signature that isn't there, or doesn't match, or is too old.
    InvalidSignature "invalid-signature" UNAUTHORIZED FixFirst "The request is not signed as its sender signs";
    /// `WebHook-Request-Origin` isn't among `allowed_origins`.
    OriginNotAllowed "origin-not-allowed" FORBIDDEN FixFirst "This origin may not deliver here";
    /// A form of the console's that another site sent.
    CrossSite "cross-site" FORBIDDEN FixFirst "This was not asked for by the console's own page";
    /// More headers, or longer ones, than are taken.
    HeadersTooLarge "headers-too-large" REQUEST_HEADER_FIELDS_TOO_LARGE FixFirst "The headers are too large";
    /// A path and query longer than is taken.
    UriTooLong "uri-too-long" URI_TOO_LONG FixFirst "The path and query are too long";
    /// A browser or mail program looked ahead.
    Prefetch "prefetch" SERVICE_UNAVAILABLE Safe "A look ahead changes nothing";
    /// No callback is stored under this run and topic.
    NoCallback "no-callback" NOT_FOUND FixFirst "No such callback";
    /// Another callback for the run and topic was accepted first.
    CallbackConflict "callback-conflict" CONFLICT FixFirst "Another callback was first";
    /// A callback link that isn't one of ours.
    LinkForged "link-forged" FORBIDDEN FixFirst "This link is not genuine";
    /// A callback link that is too old.
    LinkExpired "link-expired" GONE FixFirst "This link has expired";
    /// The idempotency key was used with another payload.
    KeyReused "idempotency-key-reused" UNPROCESSABLE_ENTITY FixFirst "The idempotency key was used for something else";
    /// No delivery is stored under this id.
    NoDelivery "no-delivery" NOT_FOUND FixFirst "No such delivery";
    /// The delivery is being sent.
    UnderWay "under-way" CONFLICT Safe "The delivery is on its way";
    /// A stored record can't be read.
    Damaged "damaged" INTERNAL_SERVER_ERROR FixFirst "A stored record can't be read";
    /// The engine refused for good. It has the engine's status.
    Rejected "rejected" BAD_REQUEST FixFirst "The engine refused this";
    /// The engine gave no answer to rely on.
    EngineUnclear "engine-unclear" BAD_GATEWAY MayRepeat "The engine's answer did not arrive whole";
    /// The store failed.
    StoreUnavailable "store-unavailable" SERVICE_UNAVAILABLE Safe "The key-value store is not available";
    /// A variable can't be used.
    Configuration "configuration" SERVICE_UNAVAILABLE Safe "Sluice is not set up right";
}

/// One problem, on its way to a sender.
#[derive(Clone, Debug)]
pub struct Problem {
    /// Its kind.
    pub kind: Kind,
    status: StatusCode,
    detail: String,
    field: Option<String>,
    headers: Vec<(HeaderName, HeaderValue)>,
    /// An extension member (RFC 9457, section 3.2).
    member: Option<Box<(&'static str, Value)>>,
}

/// A problem within another answer.
#[derive(Clone, Debug, Serialize)]
pub struct Brief {
    r#type: String,
    status: u16,
    detail: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    field: Option<String>,
    retry: Retry,
}

impl Problem {
    /// A problem with what is wrong and how to mend it.
    pub fn new(kind: Kind, detail: impl Into<String>) -> Self {
        let (_, status, ..) = kind.row();
        let problem = Self { kind, status, detail: detail.into(), field: None, headers: Vec::new(), member: None };
        match status {
            StatusCode::UNAUTHORIZED => problem.header(WWW_AUTHENTICATE, "Bearer realm=\"sluice\""),
            StatusCode::TOO_MANY_REQUESTS | StatusCode::BAD_GATEWAY | StatusCode::SERVICE_UNAVAILABLE => {
                problem.retry_after(None)
            }
            _ => problem,
        }
    }

    /// Names the parameter, attribute or part that is at fault.
    pub fn field(mut self, field: impl Into<String>) -> Self {
        self.field = Some(field.into());
        self
    }

    /// What is wrong, and the part that is at fault.
    pub(super) fn into_parts(self) -> (String, Option<String>) {
        (self.detail, self.field)
    }

    /// The same problem, of several things.
    pub(super) fn about(mut self, detail: String) -> Self {
        self.detail = detail;
        self
    }

    /// Adds an extension member.
    pub(super) fn member(mut self, name: &'static str, value: &impl Serialize) -> Self {
        self.member = serde_json::to_value(value).ok().map(|value| Box::new((name, value)));
        self
    }

    /// What it says of one of several things.
    pub(super) fn brief(&self) -> Brief {
        let (slug, _, retry, _) = self.kind.row();
        let (status, detail, field) = (self.status.as_u16(), self.detail.clone(), self.field.clone());
        Brief { r#type: format!("{TYPE_BASE}{slug}"), status, detail, field, retry }
    }

    /// The methods that the path has.
    pub fn allow(self, methods: &str) -> Self {
        self.header(ALLOW, methods)
    }

    /// The content types that the route takes.
    pub fn accept_post(self, types: &str) -> Self {
        self.header(ACCEPT_POST, types)
    }

    /// The content codings that the route takes (RFC 9110, section 15.5.16).
    pub fn accept_encoding(self, codings: &str) -> Self {
        self.header(ACCEPT_ENCODING, codings)
    }

    /// How to prove who asks (RFC 9110, section 11.6.1).
    pub fn challenge(self, challenge: &str) -> Self {
        self.header(WWW_AUTHENTICATE, challenge)
    }

    /// No answer of this kind may be kept.
    pub fn no_store(self) -> Self {
        self.header(CACHE_CONTROL, "no-store")
    }

    /// The delivery that it is about.
    pub fn delivery(mut self, id: HeaderValue) -> Self {
        self.headers.push((super::SLUICE_DELIVERY, id));
        self
    }

    /// When to ask again, within bounds.
    pub fn retry_after(self, wanted: Option<Duration>) -> Self {
        let wait = wanted.unwrap_or(RETRY_AFTER_DEFAULT).clamp(Duration::from_secs(1), RETRY_AFTER_MAX);
        self.header(RETRY_AFTER, &wait.as_secs().to_string())
    }

    fn header(mut self, name: HeaderName, value: &str) -> Self {
        self.headers.retain(|(had, _)| *had != name);
        self.headers.extend(HeaderValue::from_str(value).ok().map(|value| (name, value)));
        self
    }

    /// What kind of problem it is, in words.
    pub(super) fn title(&self) -> &'static str {
        let (.., title) = self.kind.row();
        title
    }

    /// What is wrong, and how to mend it.
    pub(super) fn detail(&self) -> &str {
        &self.detail
    }

    /// The answer.
    pub fn into_response(self) -> Response<Vec<u8>> {
        #[derive(Serialize)]
        struct Body<'a> {
            r#type: String,
            title: &'a str,
            status: u16,
            detail: &'a str,
            #[serde(skip_serializing_if = "Option::is_none")]
            field: Option<&'a str>,
            retry: Retry,
            #[serde(flatten)]
            member: Option<SingleMember<'a, &'a Value>>,
        }
        let (slug, _, retry, title) = self.kind.row();
        let body = Body {
            r#type: format!("{TYPE_BASE}{slug}"),
            title,
            status: self.status.as_u16(),
            detail: &self.detail,
            field: self.field.as_deref(),
            retry,
            member: self.member.as_ref().map(|member| SingleMember(member.0, &member.1)),
        };
        let mut response = Response::new(serde_json::to_vec(&body).unwrap_or_default());
        *response.status_mut() = self.status;
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        response.headers_mut().extend(self.headers);
        response
    }
}

impl Problem {
    /// The problem of a delivery that was not accepted.
    pub(super) fn of_outcome(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Conflict { status, received } => {
                let detail = format!(
                    "the wait was ended as {} by a callback that came at {}; this one says something else and changes nothing",
                    status.as_str(),
                    received.rfc3339()
                );
                Self::new(Kind::CallbackConflict, detail).header(super::SLUICE_OUTCOME, "rejected")
            }
            Outcome::KeyReused { at } => {
                let detail = format!(
                    "this Idempotency-Key came with another payload, taken at {}: a new delivery needs a new key",
                    at.rfc3339()
                );
                Self::new(Kind::KeyReused, detail).field("Idempotency-Key").header(super::SLUICE_OUTCOME, "rejected")
            }
            Outcome::Rejected {
                verdict: Verdict::Rejected { status, code } | Verdict::UnknownRun { status, code },
            } => {
                let because = code.map(|code| format!(", {code}")).unwrap_or_default();
                let mut problem = Self::new(
                    Kind::Rejected,
                    format!(
                        "the engine answered {}{because}: check that `ref` exists there and takes this",
                        status.as_u16()
                    ),
                )
                .field("ref")
                .header(super::SLUICE_OUTCOME, "rejected");
                // 410 tells many senders never to send anything again (Standard Webhooks, "Deliverability and Reliability").
                problem.status = if status == StatusCode::GONE { StatusCode::UNPROCESSABLE_ENTITY } else { status };
                problem
            }
            Outcome::NotStored { verdict: Some(Verdict::Unclear { reason, after }) } => Self::new(
                Kind::EngineUnclear,
                format!(
                    "{reason}, and it could not be stored; it may have acted, look there before you send this again"
                ),
            )
            .retry_after(after),
            _ => Self::new(
                Kind::StoreUnavailable,
                "the delivery was neither accepted by the engine nor stored; send it again, or see /readyz",
            ),
        }
    }
}

impl From<crate::routing::ParamsTooLarge> for Problem {
    fn from(error: crate::routing::ParamsTooLarge) -> Self {
        Self::new(Kind::BodyTooLarge, error.to_string()).field("routes")
    }
}

impl From<crate::config::ConfigError> for Problem {
    fn from(error: crate::config::ConfigError) -> Self {
        Self::new(Kind::Configuration, error.to_string()).field(error.variable)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_retry_is_bounded_and_said_where_it_helps() {
        let later = |seconds| Verdict::Unclear { reason: String::new(), after: Some(Duration::from_secs(seconds)) };
        for (seconds, said) in [(0, "1"), (120, "120"), (1_000_000, "3600")] {
            let response = Problem::of_outcome(Outcome::NotStored { verdict: Some(later(seconds)) }).into_response();
            assert_eq!(response.headers()[RETRY_AFTER], said);
            assert_eq!(response.headers().get_all(RETRY_AFTER).iter().count(), 1);
        }
        for kind in Kind::ALL {
            let (_, status, ..) = kind.row();
            let response = Problem::new(*kind, "").into_response();
            let unavailable = matches!(status.as_u16(), 429 | 502 | 503);
            assert_eq!(response.headers().contains_key(RETRY_AFTER), unavailable, "{kind:?}");
        }
    }

    #[test]
    fn every_kind_has_a_slug_of_its_own() {
        let mut slugs: Vec<_> = Kind::ALL.iter().map(|kind| kind.row().0).collect();
        slugs.sort_unstable();
        slugs.dedup();
        assert_eq!(slugs.len(), Kind::ALL.len());
    }
}
