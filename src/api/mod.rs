//! HTTP: method and path → one enum ([`route`]), the [`query`], refusals → one table ([`problem`]), answers.

pub mod problem;
pub mod query;
pub mod route;

mod auth;
mod batch_response;
mod body;
mod callback;
mod confirm_page;
mod console;
mod event;
mod handshake;
mod health;
mod limits;
mod link;
mod log;
mod openapi;
mod operator;
mod prefer;
mod webhook;

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use http::header::{AUTHORIZATION, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, HeaderName, HeaderValue, LOCATION};
use http::{HeaderMap, Method, Request, Response, StatusCode, Uri};

use crate::config;
use crate::delivery::{Key, Outcome, Work};
use crate::gateway::{Gateway, Receipt};
use crate::ports::{Body, Host};
use crate::sender::{ResponsePolicy, SuccessCriterion};
use console::Place;
pub use log::LogLine;
use prefer::{PREFERENCE_APPLIED, Prefer};
use problem::{Kind, Problem};
use route::Route;

/// The id of the delivery that an answer is about.
pub const SLUICE_DELIVERY: HeaderName = HeaderName::from_static("sluice-delivery");
/// What came of it: `delivered`, `pending`, `duplicate` or `rejected`.
pub const SLUICE_OUTCOME: HeaderName = HeaderName::from_static("sluice-outcome");

/// How long a drain may take after an answer.
const DRAIN_BUDGET: Duration = Duration::from_secs(5);

/// The token of `Authorization: Bearer` (RFC 6750, section 2.1).
fn bearer(headers: &HeaderMap) -> Option<&str> {
    credentials(headers, "bearer")
}

/// What `Authorization` has of a scheme (RFC 9110, section 11.4).
fn credentials<'h>(headers: &'h HeaderMap, wanted: &str) -> Option<&'h str> {
    let (scheme, credentials) = headers.get(AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case(wanted).then(|| credentials.trim())
}

/// No one on the way may keep this answer.
fn no_store(mut response: Response<Vec<u8>>) -> Response<Vec<u8>> {
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// What a request gets, and what the log says of it.
pub struct Answer<'a> {
    /// For the sender.
    pub response: Response<Vec<u8>>,
    /// For the operator.
    pub log: LogLine,
    /// What is left to do once the sender has its answer; gives lines for the log.
    pub rest: Option<Rest<'a>>,
}

/// Work after the answer.
pub type Rest<'a> = Pin<Box<dyn Future<Output = Vec<String>> + 'a>>;

/// Answers one request.
pub async fn handle<'o>(host: &'o impl Host, request: Request<impl Body>) -> Answer<'o> {
    let (parts, mut body) = request.into_parts();
    let route = Route::of(parts.uri.path());
    let template = route.as_ref().map_or("(none)", Route::template);
    let mut context = RequestContext {
        host,
        log: LogLine::new(host.now(), &parts.method, template),
        method: parts.method,
        uri: &parts.uri,
        query: parts.uri.query(),
        headers: &parts.headers,
        rest: None,
        refuse: Problem::into_response,
        response_policy: ResponsePolicy::UNKNOWN,
    };
    let result = match limits::check(&parts.uri, &parts.headers) {
        Ok(()) => dispatch(&mut context, route, &mut body).await,
        Err(refusal) => Err(refusal),
    };
    let RequestContext { mut log, method, rest, refuse, .. } = context;
    let mut response = result.unwrap_or_else(|refusal| {
        log.problem(refusal.kind.row().0);
        match confirm_page::is_wanted(&parts.headers) {
            true => refuse(refusal),
            false => refusal.into_response(),
        }
    });
    if query::carries_token(parts.uri.query()) {
        // RFC 6750, section 2.3.
        response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("private, no-store"));
    }
    if method == Method::HEAD {
        // Its length isn't that of the GET, so none is said (RFC 9110, section 8.6).
        response.body_mut().clear();
    } else {
        let length = HeaderValue::from(response.body().len());
        response.headers_mut().insert(CONTENT_LENGTH, length);
    }
    log.answer(&response);
    Answer { response, log, rest }
}

async fn dispatch<O: Host>(
    context: &mut RequestContext<'_, '_, O>,
    route: Option<Route>,
    body: &mut impl Body,
) -> Result<Response<Vec<u8>>, Problem> {
    let Some(route) = route else {
        return Err(Problem::new(Kind::NotFound, "check the path; the routes are in Sluice's README"));
    };
    if context.method == Method::OPTIONS && matches!(route, Route::Event | Route::Webhook) {
        return handshake::answer(context);
    }
    if !route.allows(&context.method) {
        let detail = format!("{} has {}", route.template(), route.methods());
        return Err(Problem::new(Kind::MethodNotAllowed, detail).allow(route.methods()));
    }
    match route {
        Route::Event => event::post(context, body).await,
        Route::Callback => callback::complete(context, body).await,
        Route::Webhook => webhook::post(context, body).await,
        Route::CallbackLinks => link::mint(context, body).await,
        Route::CallbackLink => link::answer(context, body).await,
        Route::Callbacks { run } => operator::recall(context, &run).await,
        Route::Deliveries => operator::list(context).await,
        Route::Delivery { id } => operator::one(context, &id).await,
        Route::Redeliver { id } => operator::redeliver(context, &id).await,
        Route::Drain => operator::drain(context).await,
        Route::OpenApi => Ok(openapi::document(context.headers)),
        Route::Console => console::answer(context, Place::Overview, body).await,
        Route::ConsoleDrain => console::answer(context, Place::Drain, body).await,
        Route::ConsoleDeliveries => console::answer(context, Place::Deliveries, body).await,
        Route::ConsoleDelivery { id } => console::answer(context, Place::Delivery(&id), body).await,
        Route::ConsoleRedeliver { id } => console::answer(context, Place::Redeliver(&id), body).await,
        Route::ConsoleDelete { id } => console::answer(context, Place::Delete(&id), body).await,
        Route::ConsoleCallbacks => console::answer(context, Place::Callbacks, body).await,
        Route::Health => Ok(health::alive()),
        Route::Ready => health::ready(context).await,
    }
}

/// One request on its way.
struct RequestContext<'r, 'o, O> {
    host: &'o O,
    method: Method,
    uri: &'r Uri,
    query: Option<&'r str>,
    headers: &'r HeaderMap,
    log: LogLine,
    rest: Option<Rest<'o>>,
    /// How a problem is told to who wants no JSON: a person gets a page.
    refuse: fn(Problem) -> Response<Vec<u8>>,
    /// What the sender makes of an answer.
    response_policy: ResponsePolicy,
}

impl<'o, O: Host> RequestContext<'_, 'o, O> {
    fn gateway(&self) -> Result<Gateway<'o, O>, Problem> {
        Ok(Gateway::new(self.host, config::settings(self.host)?))
    }

    /// The trace that this request is a part of (W3C Trace Context), for the call to the engine.
    fn trace(&self) -> HeaderMap {
        let mut trace = HeaderMap::new();
        for name in ["traceparent", "tracestate"] {
            for value in self.headers.get_all(name) {
                trace.append(name, value.clone());
            }
        }
        trace
    }

    /// How long the sender is kept waiting.
    fn patience(&self, prefer: &Prefer, gateway: &Gateway<'o, O>) -> Duration {
        let wait = gateway.settings().wait;
        prefer.patience(self.response_policy.max_engine_wait().map_or(wait, |patience| wait.min(patience)))
    }

    /// What the sender takes for success: a status, and whether it wants no body.
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

    /// Brings a delivery to the engine, or stores it, and answers.
    async fn deliver(
        &mut self,
        gateway: Gateway<'o, O>,
        work: Work<'_>,
        key: Option<Key>,
    ) -> Result<Response<Vec<u8>>, Problem> {
        let prefer = Prefer::of(self.headers);
        let wait = self.patience(&prefer, &gateway);
        // The contract answers a callback by nothing.
        let is_start = matches!(work, Work::Start(_));
        let mut receipt = gateway.accept(work, key, self.trace(), wait).await;
        self.log.delivery(&receipt);
        self.rest = after(gateway, &mut receipt);
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
        let mut response = Response::new(body);
        *response.status_mut() = status;
        let is_empty = response.body().is_empty();
        let headers = response.headers_mut();
        if !is_empty {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        }
        headers.insert(SLUICE_OUTCOME, HeaderValue::from_static(name));
        headers.extend(delivery.map(|id| (SLUICE_DELIVERY, id)));
        headers.extend(prefer.applied(pending).map(|applied| (PREFERENCE_APPLIED, applied)));
        if pending && let Ok(location) = HeaderValue::from_str(&format!("/api/v2/deliveries/{id}")) {
            headers.insert(LOCATION, location);
        }
        Ok(response)
    }
}

/// What is left to do after the answer: the call that goes on, or, after a sample of those that the engine has answered, a
/// look whether anything is pending.
fn after<'o, O: Host>(gateway: Gateway<'o, O>, receipt: &mut Receipt<'o>) -> Option<Rest<'o>> {
    if let Some(background) = receipt.background.take() {
        return Some(Box::pin(async move { vec![log::report(&background.await)] }));
    }
    if !matches!(receipt.outcome, Outcome::Delivered { .. }) || !receipt.id.is_sampled() {
        return None;
    }
    Some(Box::pin(async move {
        match gateway.drain(DRAIN_BUDGET).await {
            Ok(drained) if drained.is_idle() => Vec::new(),
            drained => vec![log::drained(gateway.now(), &drained)],
        }
    }))
}
