//! Errors as RFC 9457 problems (`application/problem+json`): one table of all kinds, which `docs/problems.md` lists for
//! senders.
//!
//! A `detail` is in lower case without a final period. It says what is wrong and, after a colon, what to change.

use std::time::Duration;

use http::header::{ACCEPT_ENCODING, ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderName, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderValue, Response, StatusCode};
use serde::Serialize;
use serde_json::Value;

use crate::delivery::{Outcome, Verdict};
use crate::gateway::keys::KeyError;
use crate::json::SingleMember;
use crate::source::Refusal;

/// The prefix of all problem types.
pub const TYPE_BASE: &str = "https://sluice.dev/problems/";

/// `Accept-Post` (W3C Linked Data Platform, section 7.1): the content types that an endpoint accepts.
pub const ACCEPT_POST: HeaderName = HeaderName::from_static("accept-post");

/// `Retry-After` if the engine sent none.
pub const RETRY_AFTER_DEFAULT: Duration = Duration::from_secs(5);
/// Maximum of `Retry-After`, even if the engine asks for more.
pub const RETRY_AFTER_MAX: Duration = Duration::from_secs(3_600);

/// The effect of sending the same request again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Retry {
    /// Nothing was done; the same request may succeed later.
    Safe,
    /// The same request fails again until the cause given in `detail` is fixed.
    FixFirst,
    /// The engine may have acted; a second request may act a second time.
    MayRepeat,
}

/// The members that all problems of one kind share.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Definition {
    /// The last part of the type URI, after [`TYPE_BASE`].
    pub slug: &'static str,
    /// The status. [`Kind::Rejected`] has the engine's status instead, if that is a 4xx other than 410.
    pub status: StatusCode,
    /// The effect of a retry.
    pub retry: Retry,
    /// The title.
    pub title: &'static str,
}

macro_rules! kinds {
    ($($(#[$doc:meta])* $kind:ident $slug:literal $status:ident $retry:ident $title:literal;)*) => {
        /// The kind of a problem.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Kind { $($(#[$doc])* $kind,)* }

        impl Kind {
            /// All kinds, in the order of the table.
            pub const ALL: &[Self] = &[$(Self::$kind,)*];

            /// Returns the members that all problems of this kind share.
            pub fn definition(self) -> Definition {
                match self {
                    $(Self::$kind => Definition {
                        slug: $slug,
                        status: StatusCode::$status,
                        retry: Retry::$retry,
                        title: $title,
                    },)*
                }
            }
        }
    };
}

kinds! {
    /// The path does not exist, or is disabled until a variable is set.
    NotFound "not-found" NOT_FOUND FixFirst "There is nothing at this path";
    /// The path exists, but does not allow the method.
    MethodNotAllowed "method-not-allowed" METHOD_NOT_ALLOWED FixFirst "The method is not allowed at this path";
    /// The endpoint does not support the content type.
    UnsupportedMediaType "unsupported-media-type" UNSUPPORTED_MEDIA_TYPE FixFirst "The content type is not supported";
    /// The body has more bytes than `max_body_bytes`.
    BodyTooLarge "body-too-large" PAYLOAD_TOO_LARGE FixFirst "The body is too large";
    /// The connection closed before the end of the body.
    BodyIncomplete "body-incomplete" BAD_REQUEST Safe "The body ended early";
    /// The body does not have the form that the endpoint requires.
    InvalidBody "invalid-body" BAD_REQUEST FixFirst "The body is not valid";
    /// An event breaks a rule of CloudEvents.
    InvalidEvent "invalid-event" BAD_REQUEST FixFirst "The request is not a valid CloudEvent";
    /// A required query parameter is missing.
    MissingParameter "missing-parameter" BAD_REQUEST FixFirst "A query parameter is missing";
    /// A query parameter, path segment or header is not valid.
    InvalidParameter "invalid-parameter" BAD_REQUEST FixFirst "A parameter is not valid";
    /// The token is missing or wrong.
    Unauthorized "unauthorized" UNAUTHORIZED FixFirst "A valid token is required";
    /// The signature is missing, does not match, or is too old.
    InvalidSignature "invalid-signature" UNAUTHORIZED FixFirst "A valid signature is required";
    /// `WebHook-Request-Origin` is not among `allowed_origins`.
    OriginNotAllowed "origin-not-allowed" FORBIDDEN FixFirst "This origin is not allowed to deliver";
    /// The source may not start the workflow, or resolve the callback.
    OutOfScope "out-of-scope" FORBIDDEN FixFirst "The source may not do this";
    /// The source is limited to callbacks of some workflows, and the engine does not show the workflow of the run.
    ScopeUndecided "scope-undecided" SERVICE_UNAVAILABLE Safe "The workflow of the run is not known now";
    /// A page of another site sent a form of the console.
    CrossSite "cross-site" FORBIDDEN FixFirst "The form was not sent by the console";
    /// The request has too many headers, or they are too large.
    HeadersTooLarge "headers-too-large" REQUEST_HEADER_FIELDS_TOO_LARGE FixFirst "The headers are too large";
    /// The path and query are too long.
    UriTooLong "uri-too-long" URI_TOO_LONG FixFirst "The path and query are too long";
    /// A browser or mail program fetched a link in advance, before a person opened it.
    Prefetch "prefetch" SERVICE_UNAVAILABLE Safe "A prefetch does not complete a callback";
    /// No callback is stored for the run and topic.
    NoCallback "no-callback" NOT_FOUND FixFirst "No such callback";
    /// Another callback for the run and topic was accepted first.
    CallbackConflict "callback-conflict" CONFLICT FixFirst "Another callback was accepted first";
    /// The task that waited for the topic has ended, or the run has.
    CallbackResolved "callback-resolved" CONFLICT FixFirst "This has been decided";
    /// No task of the run waits for the topic, now or later.
    UnknownTopic "unknown-topic" NOT_FOUND FixFirst "The run does not wait for this topic";
    /// The engine can't resume runs, or can't take this status.
    UnsupportedByEngine "unsupported-by-engine" NOT_IMPLEMENTED FixFirst "The engine can't do this";
    /// The signature of a callback link does not match.
    LinkForged "link-forged" FORBIDDEN FixFirst "This link is not genuine";
    /// A callback link has expired.
    LinkExpired "link-expired" GONE FixFirst "This link has expired";
    /// The idempotency key was used with another payload.
    KeyReused "idempotency-key-reused" UNPROCESSABLE_ENTITY FixFirst "The idempotency key was used with another payload";
    /// No delivery is stored with this id.
    NoDelivery "no-delivery" NOT_FOUND FixFirst "No such delivery";
    /// The delivery is in flight: it was sent, and its outcome is not known yet.
    UnderWay "under-way" CONFLICT Safe "The delivery is in progress";
    /// A stored record can't be read.
    Damaged "damaged" INTERNAL_SERVER_ERROR FixFirst "A stored record can't be read";
    /// The engine rejected the delivery for good. The problem has the engine's status.
    Rejected "rejected" BAD_REQUEST FixFirst "The engine rejected the delivery";
    /// The engine may have acted, and the delivery could not be stored.
    EngineUnclear "engine-unclear" BAD_GATEWAY MayRepeat "The engine may or may not have acted";
    /// The store failed.
    StoreUnavailable "store-unavailable" SERVICE_UNAVAILABLE Safe "The store is not available";
    /// The time for a request with several deliveries was over before the turn of this one came.
    OutOfTime "out-of-time" SERVICE_UNAVAILABLE Safe "There was no time left for this delivery";
    /// The public keys of the sender can't be fetched.
    KeysUnavailable "keys-unavailable" SERVICE_UNAVAILABLE Safe "The sender's public keys are not available";
    /// A variable is missing or not valid.
    Configuration "configuration" SERVICE_UNAVAILABLE Safe "Sluice is misconfigured";
}

/// A problem to report to a client.
#[derive(Clone, Debug)]
pub struct Problem {
    /// The kind.
    pub kind: Kind,
    status: StatusCode,
    detail: String,
    field: Option<String>,
    headers: Vec<(HeaderName, HeaderValue)>,
    /// An extension member (RFC 9457, section 3.2).
    member: Option<Box<(&'static str, Value)>>,
}

/// A problem as a member of another response.
#[derive(Clone, Debug, Serialize)]
pub struct ProblemSummary {
    r#type: String,
    status: u16,
    detail: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    field: Option<String>,
    retry: Retry,
}

impl Problem {
    /// Creates a problem with the status and the default headers of its kind. The detail says what is wrong and how to
    /// fix it.
    pub fn new(kind: Kind, detail: impl Into<String>) -> Self {
        let status = kind.definition().status;
        let problem = Self { kind, status, detail: detail.into(), field: None, headers: Vec::new(), member: None };
        match status {
            StatusCode::UNAUTHORIZED => problem.header(WWW_AUTHENTICATE, "Bearer realm=\"sluice\""),
            StatusCode::TOO_MANY_REQUESTS | StatusCode::BAD_GATEWAY | StatusCode::SERVICE_UNAVAILABLE => {
                problem.retry_after(None)
            }
            _ => problem,
        }
    }

    /// Names the parameter, header, attribute or variable at fault.
    pub fn field(mut self, field: impl Into<String>) -> Self {
        self.field = Some(field.into());
        self
    }

    /// Returns the detail and the field.
    /// Returns whether the request was refused because of the identity or the limits of its source.
    pub(super) fn is_refusal(&self) -> bool {
        match self.kind {
            Kind::Unauthorized | Kind::InvalidSignature | Kind::OutOfScope | Kind::KeysUnavailable => true,
            // A stopped source; other errors concern all.
            Kind::Configuration => self.field.as_deref() == Some("sources"),
            _ => false,
        }
    }

    /// The detail.
    pub(super) fn text(&self) -> &str {
        &self.detail
    }

    pub(super) fn into_detail_and_field(self) -> (String, Option<String>) {
        (self.detail, self.field)
    }

    /// Replaces the detail.
    pub(super) fn detail(mut self, detail: String) -> Self {
        self.detail = detail;
        self
    }

    /// Adds an extension member.
    pub(super) fn member(mut self, name: &'static str, value: &impl Serialize) -> Self {
        self.member = serde_json::to_value(value).ok().map(|value| Box::new((name, value)));
        self
    }

    /// Returns the problem as a member of a list of outcomes.
    pub(super) fn summary(&self) -> ProblemSummary {
        let Definition { slug, retry, .. } = self.kind.definition();
        let (status, detail, field) = (self.status.as_u16(), self.detail.clone(), self.field.clone());
        ProblemSummary { r#type: format!("{TYPE_BASE}{slug}"), status, detail, field, retry }
    }

    /// Sets `Allow`, which lists the methods of the path.
    pub fn allow(self, methods: &str) -> Self {
        self.header(ALLOW, methods)
    }

    /// Sets `Accept-Post`, which lists the content types that the endpoint accepts.
    pub fn accept_post(self, types: &str) -> Self {
        self.header(ACCEPT_POST, types)
    }

    /// Sets `Accept-Encoding`, which lists the content codings that the endpoint accepts (RFC 9110, section 15.5.16).
    pub fn accept_encoding(self, codings: &str) -> Self {
        self.header(ACCEPT_ENCODING, codings)
    }

    /// Sets `WWW-Authenticate`, which names the authentication that the endpoint requires (RFC 9110, section 11.6.1).
    pub fn challenge(self, challenge: &str) -> Self {
        self.header(WWW_AUTHENTICATE, challenge)
    }

    /// Sets `Cache-Control: no-store`.
    pub fn no_store(self) -> Self {
        self.header(CACHE_CONTROL, "no-store")
    }

    /// Sets `sluice-delivery` to the id of the delivery.
    pub fn delivery(mut self, id: HeaderValue) -> Self {
        self.headers.push((super::SLUICE_DELIVERY, id));
        self
    }

    /// Sets `Retry-After` to the given time, limited to between 1 s and 1 h. `None` sets 5 s.
    pub fn retry_after(self, after: Option<Duration>) -> Self {
        let wait = after.unwrap_or(RETRY_AFTER_DEFAULT).clamp(Duration::from_secs(1), RETRY_AFTER_MAX);
        self.header(RETRY_AFTER, &wait.as_secs().to_string())
    }

    fn header(mut self, name: HeaderName, value: &str) -> Self {
        self.headers.retain(|(existing, _)| *existing != name);
        self.headers.extend(HeaderValue::from_str(value).ok().map(|value| (name, value)));
        self
    }

    /// Returns the title and the detail.
    pub(super) fn title_and_detail(&self) -> (&'static str, &str) {
        (self.kind.definition().title, &self.detail)
    }

    /// Returns the problem as a response.
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
        let Definition { slug, retry, title, .. } = self.kind.definition();
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
    /// Returns the problem of a delivery that was not accepted. `sluice-outcome` is `rejected` if there is a conflict,
    /// a reused key, or a rejection by the engine.
    pub(super) fn of_outcome(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Conflict { status, received } => {
                let detail = format!(
                    "another callback with status {} was accepted at {}: this one differs from it, and was not delivered (payloads are compared byte for byte)",
                    status.as_str(),
                    received.rfc3339()
                );
                Self::new(Kind::CallbackConflict, detail).header(super::SLUICE_OUTCOME, "rejected")
            }
            Outcome::KeyReused { at } => {
                let detail = format!(
                    "a delivery with this Idempotency-Key and another payload was accepted at {}: repeat it byte for byte, or send a new delivery with a new key",
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
                        "the engine answered {}{because}: check that `ref` exists in the engine and accepts this payload",
                        status.as_u16()
                    ),
                )
                .field("ref")
                .header(super::SLUICE_OUTCOME, "rejected");
                // After a 410, many senders never deliver again (Standard Webhooks, "Deliverability and Reliability"). Some
                // engines reject with a 200 or a 500.
                let is_telling = status.is_client_error() && status != StatusCode::GONE;
                problem.status = if is_telling { status } else { StatusCode::UNPROCESSABLE_ENTITY };
                problem
            }
            Outcome::Rejected { verdict: Verdict::AlreadyResolved { status } } => {
                let detail = match status {
                    Some(status) => format!(
                        "the task that waited for this topic has ended, with status {}: this callback was not delivered",
                        status.as_str()
                    ),
                    None => "the run has ended, or no longer waits for this topic: this callback was not delivered".to_owned(),
                };
                Self::new(Kind::CallbackResolved, detail).header(super::SLUICE_OUTCOME, "rejected")
            }
            Outcome::Rejected { verdict: Verdict::UnknownTopic } => {
                let detail = "no task of the run has this topic, nor one that is made of params: check `topic` against the workflow";
                Self::new(Kind::UnknownTopic, detail).field("topic").header(super::SLUICE_OUTCOME, "rejected")
            }
            Outcome::NotStored { verdict: Some(Verdict::Unclear { reason, after, .. }) } => Self::new(
                Kind::EngineUnclear,
                format!(
                    "{reason}, and the delivery could not be stored: the engine may have acted, so check it before you send this again"
                ),
            )
            .retry_after(after),
            Outcome::NotTaken => Self::new(
                Kind::OutOfTime,
                "the request took too long for all its deliveries, and this one was neither sent nor stored: send it again, in a smaller batch",
            ),
            _ => Self::new(
                Kind::StoreUnavailable,
                "the delivery was neither accepted by the engine nor stored: send it again, or see /readyz",
            ),
        }
    }
}

impl Problem {
    /// The problem of a request that its source may not make.
    pub(super) fn out_of_scope(refusal: &Refusal) -> Self {
        Self::new(Kind::OutOfScope, format!("{refusal}: nothing was delivered")).field("ref")
    }

    /// The problem of a callback whose source is limited, while the engine does not show the workflow of the run.
    pub(super) fn scope_undecided() -> Self {
        let detail = "the source may resolve callbacks of some workflows only, and the engine does not show the run now, \
                      so nothing was delivered: send the request again";
        Self::new(Kind::ScopeUndecided, detail).field("ref")
    }
}

impl From<crate::engine::Unsupported> for Problem {
    fn from(error: crate::engine::Unsupported) -> Self {
        use crate::engine::Unsupported::{Callback, Status, Surrogate, Topic};
        let problem = match &error {
            Callback { .. } => Self::new(Kind::UnsupportedByEngine, error.to_string()),
            Status { .. } => Self::new(Kind::UnsupportedByEngine, error.to_string()).field("status"),
            Topic { .. } => Self::new(Kind::InvalidParameter, error.to_string()).field("topic"),
            Surrogate { .. } => Self::new(Kind::InvalidBody, error.to_string()).field("body"),
        };
        problem.header(super::SLUICE_OUTCOME, "rejected")
    }
}

impl From<crate::routing::ParamsTooLarge> for Problem {
    fn from(error: crate::routing::ParamsTooLarge) -> Self {
        Self::new(Kind::BodyTooLarge, error.to_string()).field("routes")
    }
}

impl From<KeyError> for Problem {
    fn from(error: KeyError) -> Self {
        match error {
            KeyError::NotPermitted => Self::new(Kind::InvalidSignature, error.to_string()),
            KeyError::Unavailable { .. } => Self::new(Kind::KeysUnavailable, error.to_string()),
            KeyError::Store(_) => {
                let detail = "the store with the sender's public keys failed: send the request again, or see /readyz";
                Self::new(Kind::StoreUnavailable, detail)
            }
        }
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
    fn retry_after_is_bounded_and_sent_with_502_and_503() {
        let later = |seconds| Verdict::Unclear {
            reason: String::new(),
            after: Some(Duration::from_secs(seconds)),
            concluded: false,
        };
        for (seconds, expected) in [(0, "1"), (120, "120"), (1_000_000, "3600")] {
            let response = Problem::of_outcome(Outcome::NotStored { verdict: Some(later(seconds)) }).into_response();
            assert_eq!(response.headers()[RETRY_AFTER], expected);
            assert_eq!(response.headers().get_all(RETRY_AFTER).iter().count(), 1);
        }
        for kind in Kind::ALL {
            let status = kind.definition().status;
            let response = Problem::new(*kind, "").into_response();
            let unavailable = matches!(status.as_u16(), 429 | 502 | 503);
            assert_eq!(response.headers().contains_key(RETRY_AFTER), unavailable, "{kind:?}");
        }
    }

    #[test]
    fn slugs_of_kinds_are_unique() {
        let mut slugs: Vec<_> = Kind::ALL.iter().map(|kind| kind.definition().slug).collect();
        slugs.sort_unstable();
        slugs.dedup();
        assert_eq!(slugs.len(), Kind::ALL.len());
    }
}
