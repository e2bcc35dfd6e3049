//! The HTTP layer: endpoints ([`endpoint`]), authentication, query parameters ([`query`]), errors ([`problem`]) and
//! responses.
//!
//! ```text
//!                                  ┌─▶ event, webhook, callback ──▶ auth, body ──────┐
//! request ──▶ limits ──▶ Endpoint ─┼─▶ link ───────────────────────▶ signed link ────┼──▶ gateway
//!                                  ├─▶ operator, console ──────────▶ operator_token ─┘
//!                                  └─▶ health, openapi
//! ```
//!
//! This layer is generic over the host. It may use every layer except the shell. It must not name an engine or a key of
//! the store: the [`gateway`](crate::gateway) and the engine's profile in the [settings](crate::config::Settings) hide
//! them.

pub mod endpoint;
pub mod problem;
pub mod query;

mod auth;
mod batch_response;
mod body;
mod callback;
mod confirm_page;
mod console;
mod content_coding;
mod cors;
mod event;
mod filter;
mod handshake;
mod health;
mod intake;
mod limits;
mod link;
mod log;
mod metrics;
mod move_store;
mod openapi;
mod operator;
mod prefer;
mod preflight;
mod repair;
mod replay;
mod respond;
mod sources;
mod webhook;

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use http::header::{AUTHORIZATION, CACHE_CONTROL, CONTENT_LENGTH, HeaderName, HeaderValue, LOCATION};
use http::{HeaderMap, Method, Request, Response, StatusCode, Uri};

use crate::config::Config;
use crate::delivery::{Key, Outcome, Work};
use crate::gateway::sources::{remember_refusal, remember_verified};
use crate::gateway::{Eagerness, Gateway, Receipt, Repair, Report, on_heap};
use crate::ports::{Body, Host};
use crate::sender::{ResponsePolicy, SuccessCriterion};
use crate::source::{FailedVerification, Refused};
use crate::time::Timestamp;
use endpoint::Endpoint;
pub use log::LogLine;
use prefer::{PREFERENCE_APPLIED, Prefer};
use problem::{Kind, Problem};

/// `traceparent` (W3C Trace Context, section 3.2).
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
/// `tracestate` (W3C Trace Context, section 3.3).
const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");
/// `sluice-delivery`: the id of the delivery that a response is about.
pub const SLUICE_DELIVERY: HeaderName = HeaderName::from_static("sluice-delivery");
/// `sluice-outcome`: the outcome of the delivery, which is `delivered`, `pending`, `duplicate`, `rejected` or
/// `unmatched`.
pub const SLUICE_OUTCOME: HeaderName = HeaderName::from_static("sluice-outcome");

/// Time limit of a drain that runs after a response.
const BACKGROUND_DRAIN_BUDGET: Duration = Duration::from_secs(5);

/// Returns the token in `Authorization: Bearer` (RFC 6750, section 2.1).
fn bearer(headers: &HeaderMap) -> Option<&str> {
    credentials(headers, "bearer")
}

/// Returns the credentials in `Authorization`, if they have the expected scheme (RFC 9110, section 11.4).
fn credentials<'a>(headers: &'a HeaderMap, expected: &str) -> Option<&'a str> {
    let (scheme, credentials) = headers.get(AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case(expected).then(|| credentials.trim())
}

/// The result of handling a request.
pub struct Handled<'a> {
    /// The response to the client.
    pub response: Response<Vec<u8>>,
    /// The log line of the request.
    pub log: LogLine,
    /// The work that remains once the client has its response.
    pub background: Option<Background<'a>>,
}

/// Work that runs after the response, and returns log lines. It is lost if the instance ends, so everything that must
/// persist is stored beforehand.
pub type Background<'a> = Pin<Box<dyn Future<Output = Vec<String>> + 'a>>;

/// Handles one request. An error becomes a problem in the response.
pub async fn handle<'h>(host: &'h impl Host, request: Request<impl Body>) -> Handled<'h> {
    let (parts, mut body) = request.into_parts();
    let endpoint = Endpoint::of(parts.uri.path());
    let template = endpoint.as_ref().map_or("(none)", Endpoint::template);
    let is_for_senders = endpoint.as_ref().is_some_and(Endpoint::is_for_senders);
    let config = Config::new(host);
    let mut context = RequestContext {
        host,
        config: &config,
        log: LogLine::new(host.now(), &parts.method, template, &parts.headers),
        method: parts.method,
        uri: &parts.uri,
        query: parts.uri.query(),
        headers: &parts.headers,
        background: None,
        source: None,
        failed: None,
        verified_by: None,
        is_noted: false,
        problem_page: Problem::into_response,
        response_policy: ResponsePolicy::UNKNOWN,
    };
    let result = match limits::check(&parts.uri, &parts.headers) {
        Ok(()) => on_heap(|| dispatch(&mut context, endpoint, &mut body)).await,
        Err(problem) => Err(problem),
    };
    context.note_verified();
    if let Err(problem) = &result
        && is_for_senders
    {
        context.note_refused(problem);
    }
    let RequestContext { mut log, method, background, problem_page, .. } = context;
    let mut response = result.unwrap_or_else(|problem| {
        log.problem(problem.kind.definition().slug);
        if confirm_page::prefers_html(&parts.headers) { problem_page(problem) } else { problem.into_response() }
    });
    if query::carries_token(parts.uri.query()) {
        // RFC 6750, section 2.3.
        response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("private, no-store"));
    }
    if is_for_senders {
        cors::share(&config, &parts.headers, response.headers_mut());
    }
    if method == Method::HEAD {
        // No `Content-Length`: it would have to state the length of the response to GET (RFC 9110, section 8.6).
        response.body_mut().clear();
    } else {
        let length = HeaderValue::from(response.body().len());
        response.headers_mut().insert(CONTENT_LENGTH, length);
    }
    log.status(response.status());
    Handled { response, log, background }
}

/// Calls the endpoint if it exists and allows the method.
async fn dispatch<H: Host>(
    context: &mut RequestContext<'_, '_, H>,
    endpoint: Option<Endpoint>,
    body: &mut impl Body,
) -> Result<Response<Vec<u8>>, Problem> {
    let Some(endpoint) = endpoint else {
        return Err(Problem::new(Kind::NotFound, "this path does not exist: /openapi.json lists all routes"));
    };
    if context.method == Method::OPTIONS && endpoint.is_for_senders() && cors::is_preflight(context.headers) {
        return cors::answer(context, &endpoint);
    }
    if context.method == Method::OPTIONS && matches!(endpoint, Endpoint::Event | Endpoint::Webhook) {
        return handshake::answer(context, &endpoint);
    }
    if !endpoint.allows(&context.method) {
        let detail = format!("{} allows {}", endpoint.template(), endpoint.methods());
        return Err(Problem::new(Kind::MethodNotAllowed, detail).allow(endpoint.methods()));
    }
    if endpoint.is_console() {
        console::authorize(context, body).await?;
    }
    match endpoint {
        Endpoint::Event => on_heap(|| event::post(context, body)).await,
        Endpoint::Callback => on_heap(|| callback::complete(context, body)).await,
        Endpoint::Webhook if context.method == Method::POST => on_heap(|| webhook::post(context, body)).await,
        Endpoint::Webhook => webhook::ask(context),
        Endpoint::CallbackLinks => on_heap(|| link::create(context, body)).await,
        Endpoint::CallbackLink => on_heap(|| link::answer(context, body)).await,
        Endpoint::Callbacks { run } => on_heap(|| operator::callbacks(context, &run)).await,
        Endpoint::Deliveries => on_heap(|| operator::list(context)).await,
        Endpoint::Delivery { id } => on_heap(|| operator::delivery(context, &id)).await,
        Endpoint::Redeliver { id } => on_heap(|| operator::redeliver(context, &id)).await,
        Endpoint::Drain => on_heap(|| operator::drain(context)).await,
        Endpoint::Doubt => on_heap(|| operator::doubt(context)).await,
        Endpoint::Replay => on_heap(|| replay::run(context)).await,
        Endpoint::RedeliverAll => on_heap(|| repair::run(context, Repair::Redeliver)).await,
        Endpoint::DeleteAll => on_heap(|| repair::run(context, Repair::Delete)).await,
        Endpoint::Move => on_heap(|| move_store::run(context)).await,
        Endpoint::Preflight => on_heap(|| preflight::show(context)).await,
        Endpoint::Sources => on_heap(|| sources::list(context)).await,
        Endpoint::Metrics => on_heap(|| metrics::show(context)).await,
        Endpoint::OpenApi => Ok(openapi::document(context.headers)),
        Endpoint::Console => on_heap(|| console::overview::show(context)).await,
        Endpoint::ConsoleDrain => on_heap(|| console::overview::drain(context)).await,
        Endpoint::ConsoleDeliveries => on_heap(|| console::list::show(context)).await,
        Endpoint::ConsoleRedeliverAll => on_heap(|| console::repair::answer(context, Repair::Redeliver)).await,
        Endpoint::ConsoleDeleteAll => on_heap(|| console::repair::answer(context, Repair::Delete)).await,
        Endpoint::ConsoleDelivery { id } => on_heap(|| console::delivery::show(context, &id)).await,
        Endpoint::ConsoleRedeliver { id } => on_heap(|| console::delivery::redeliver(context, &id)).await,
        Endpoint::ConsoleDelete { id } => on_heap(|| console::delivery::delete(context, &id)).await,
        Endpoint::ConsoleReplay => on_heap(|| console::replay::answer(context)).await,
        Endpoint::ConsoleCallbacks => on_heap(|| console::callbacks::show(context)).await,
        Endpoint::ConsolePreflight => on_heap(|| console::preflight::show(context)).await,
        Endpoint::ConsoleSources => on_heap(|| console::sources::show(context)).await,
        Endpoint::Health => Ok(health::alive()),
        Endpoint::Ready => on_heap(|| health::ready(context)).await,
    }
}

/// The context of the request that is being handled: the host, the head of the request, and the state from which the
/// response and the log line are made.
struct RequestContext<'r, 'h, H> {
    host: &'h H,
    config: &'r Config<'h, H>,
    method: Method,
    uri: &'r Uri,
    query: Option<&'r str>,
    headers: &'r HeaderMap,
    log: LogLine,
    background: Option<Background<'h>>,
    /// The name of the source, as far as it is known.
    source: Option<String>,
    /// The verification that failed.
    failed: Option<FailedVerification>,
    /// The proof that the request is one of its source; `None` until it is verified, and for a request of no source.
    verified_by: Option<VerifiedBy>,
    /// Whether the verified request is noted: one of its deliveries has written a record, or is in the sample.
    is_noted: bool,
    /// Renders a problem for a client that [prefers HTML](confirm_page::prefers_html). Returns JSON, unless an endpoint
    /// for browsers sets another function.
    problem_page: fn(Problem) -> Response<Vec<u8>>,
    /// The sender's requirements for the response: deadline and status.
    response_policy: ResponsePolicy,
}

/// The proof by which a request was verified as one of its source: a secret, a public key or a token.
struct VerifiedBy {
    /// The index in the source's `secrets` if it is an old secret.
    old_secret: Option<usize>,
}

impl<'h, H: Host> RequestContext<'_, 'h, H> {
    /// Adds work that is done after the response, behind the work that is there.
    fn after_response(&mut self, work: impl Future<Output = Vec<String>> + 'h) {
        let before = self.background.take();
        self.background = Some(Box::pin(async move {
            let mut lines = match before {
                Some(before) => before.await,
                None => Vec::new(),
            };
            lines.extend(work.await);
            lines
        }));
    }

    /// Remembers after the response that the request was refused. `source` is the name of a configured source; `None`
    /// if the request belongs to none. `explain` is called at most once a minute for each source.
    fn remember_refusal(&mut self, source: Option<String>, explain: impl FnOnce(Timestamp) -> Refused + 'h) {
        let host = self.host;
        self.after_response(async move {
            match remember_refusal(host, source.as_deref(), explain).await {
                Ok(refused) => refused.iter().map(|refused| log::refused(source.as_deref(), refused)).collect(),
                Err(error) => vec![log::not_noted(host.now(), &error)],
            }
        });
    }

    /// Remembers after the response that a request with a delivery was refused because of its source.
    fn note_refused(&mut self, problem: &Problem) {
        let reason = problem.kind.definition().slug;
        if let Some(mut failed) = self.failed.take() {
            let (host, source) = (self.host, self.source.clone());
            self.remember_refusal(source.clone(), move |now| {
                failed.others = auth::secrets_of_others(&Config::new(host), source.as_deref());
                failed.explain(reason, now)
            });
        } else if problem.is_refusal() {
            let (detail, headers) = (problem.text().to_owned(), self.headers.clone());
            self.remember_refusal(self.source.clone(), move |now| Refused::new(reason, &detail, &headers, now));
        }
    }

    /// Remembers after the response that the request was verified, if one of its deliveries has written a record or is
    /// in the sample: others cost nothing after their response.
    fn note_verified(&mut self) {
        if !self.is_noted {
            return;
        }
        let (Some(VerifiedBy { old_secret }), Some(source)) = (self.verified_by.take(), self.source.clone()) else {
            return;
        };
        let host = self.host;
        self.after_response(async move {
            match remember_verified(host, &source, old_secret).await {
                Ok(()) => Vec::new(),
                Err(error) => vec![log::not_noted(host.now(), &error)],
            }
        });
    }

    /// Reads the settings, and creates the gateway.
    fn gateway(&self) -> Result<Gateway<'h, H>, Problem> {
        Ok(Gateway::new(self.host, self.config.settings()?))
    }

    /// Returns the request's trace headers (W3C Trace Context), which are passed on to the engine.
    fn trace(&self) -> HeaderMap {
        let mut trace = HeaderMap::new();
        for name in [TRACEPARENT, TRACESTATE] {
            for value in self.headers.get_all(&name) {
                trace.append(&name, value.clone());
            }
        }
        trace
    }

    /// Returns how long the response may wait for the engine: `engine_wait_ms`, unless the sender's deadline or
    /// `Prefer` is shorter.
    fn max_wait(&self, prefer: &Prefer, gateway: &Gateway<'h, H>) -> Duration {
        let wait = gateway.settings().wait;
        prefer.max_wait(self.response_policy.max_engine_wait().map_or(wait, |max| wait.min(max)))
    }

    /// Returns the status that the sender regards as success, and whether the response has no body.
    fn success(&self, prefer: &Prefer, pending: bool) -> (StatusCode, bool) {
        let success = self.response_policy.success;
        let status = match (success, pending) {
            (SuccessCriterion::Only200 | SuccessCriterion::Empty200, _) => StatusCode::OK,
            (SuccessCriterion::Only204, _) => StatusCode::NO_CONTENT,
            (SuccessCriterion::Any2xx, true) => StatusCode::ACCEPTED,
            (SuccessCriterion::Any2xx, false) if prefer.is_minimal() => StatusCode::NO_CONTENT,
            (SuccessCriterion::Any2xx, false) => StatusCode::OK,
        };
        (status, prefer.is_minimal() || matches!(success, SuccessCriterion::Empty200 | SuccessCriterion::Only204))
    }

    /// Delivers to the engine, or stores the delivery. Returns the response to the sender.
    async fn deliver(
        &mut self,
        gateway: Gateway<'h, H>,
        work: Work<'_>,
        key: Option<Key>,
    ) -> Result<Response<Vec<u8>>, Problem> {
        gateway.settings().engine.takes(&work)?;
        let prefer = Prefer::of(self.headers);
        let wait = self.max_wait(&prefer, &gateway);
        // In the contract, the response to a callback has no body.
        let is_start = matches!(work, Work::Start(_));
        let has_key = key.is_some();
        let trace = self.trace();
        let mut receipt = on_heap(|| gateway.accept(work, key, trace, wait)).await;
        self.log.delivery(&receipt);
        self.is_noted |= has_key || !is_start || is_pending_or_sampled(&receipt);
        self.background = work_after_response(gateway, &mut receipt);
        let Receipt { id, outcome, .. } = receipt;
        let delivery = HeaderValue::from_str(&id.to_string()).ok();
        let name = outcome.name();
        let (pending, body) = match outcome {
            Outcome::Delivered { body } | Outcome::Duplicate { body: Some(body) } => (false, body),
            Outcome::Duplicate { body: None } | Outcome::Pending { .. } => (true, Vec::new()),
            outcome => {
                let mut problem = Problem::of_outcome(outcome);
                if let Some(id) = delivery {
                    problem = problem.delivery(id);
                }
                return Err(problem);
            }
        };
        self.log.outcome(name);

        let (status, empty) = self.success(&prefer, pending);
        let body = match (empty, pending) {
            (true, _) => Vec::new(),
            (false, true) if is_start => format!(r#"{{"delivery":"{id}","state":"pending"}}"#).into_bytes(),
            (false, _) => body,
        };
        let mut response = respond::json_bytes(status, body);
        let headers = response.headers_mut();
        headers.insert(SLUICE_OUTCOME, HeaderValue::from_static(name));
        headers.extend(delivery.map(|id| (SLUICE_DELIVERY, id)));
        headers.extend(prefer.applied(pending).map(|applied| (PREFERENCE_APPLIED, applied)));
        if pending && let Ok(location) = HeaderValue::from_str(&format!("/api/v2/deliveries/{id}")) {
            headers.insert(LOCATION, location);
        }
        Ok(response)
    }
}

/// Whether a delivery has been stored, or belongs to the sample of those that the engine has accepted.
fn is_pending_or_sampled(receipt: &Receipt<'_>) -> bool {
    match receipt.outcome {
        Outcome::Pending { .. } => true,
        Outcome::Delivered { .. } => receipt.id.is_sampled(),
        _ => false,
    }
}

/// Returns the work that remains after the response. It is the attempt, if that is still running, or the write of the
/// outcome. After a sample of the deliveries that the engine accepted, and after a callback whose sender doesn't wait, it
/// is a short drain.
fn work_after_response<'h, H: Host>(gateway: Gateway<'h, H>, receipt: &mut Receipt<'h>) -> Option<Background<'h>> {
    if let Some(attempt) = receipt.background.take() {
        return Some(Box::pin(async move { vec![log::report(&attempt.await)] }));
    }
    if let Some(refusal) = receipt.refusal.take() {
        let id = receipt.id;
        return Some(Box::pin(async move {
            let Err(error) = gateway.tell_refusal(&refusal).await else { return Vec::new() };
            let (outcome, warnings) = (Outcome::Pending { last: None }, vec![error.to_string()]);
            vec![log::report(&Report { at: gateway.now(), id, outcome, warnings })]
        }));
    }
    let is_sampled = matches!(receipt.outcome, Outcome::Delivered { .. }) && receipt.id.is_sampled();
    let is_stored = receipt.drains && matches!(receipt.outcome, Outcome::Pending { .. });
    let (drains, unsettled) = (is_sampled || is_stored, receipt.unsettled.take());
    if !drains && unsettled.is_none() {
        return None;
    }
    Some(Box::pin(async move {
        let mut lines = Vec::new();
        if let Some(unsettled) = unsettled {
            lines.extend(gateway.settle_late(&unsettled).await.as_ref().map(log::report));
        }
        if drains {
            match gateway.drain(BACKGROUND_DRAIN_BUDGET, Eagerness::Obeys).await {
                Ok(drained) if drained.is_idle() => {}
                drained => lines.push(log::drained(gateway.now(), &drained)),
            }
        }
        lines
    }))
}
