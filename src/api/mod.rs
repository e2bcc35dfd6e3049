//! HTTP: method and path → one enum ([`route`]), refusals → one table ([`problem`]), answers.

pub mod problem;
pub mod route;

mod body;
mod callback;
mod event;
mod health;
mod log;
mod query;
mod webhook;

use http::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderName, HeaderValue};
use http::{HeaderMap, Method, Request, Response};

use crate::gateway::Outcome;
use crate::ports::{Body, Outside};
pub use log::LogLine;
use problem::{Kind, Problem};
use route::Route;

/// The id of the delivery that an answer is about.
pub const SLUICE_DELIVERY: HeaderName = HeaderName::from_static("sluice-delivery");
/// What came of it: `delivered` or `rejected`.
pub const SLUICE_OUTCOME: HeaderName = HeaderName::from_static("sluice-outcome");

/// What a request gets, and what the log says of it.
#[derive(Debug)]
pub struct Answer {
    /// For the sender.
    pub response: Response<Vec<u8>>,
    /// For the operator.
    pub log: LogLine,
}

/// Answers one request.
pub async fn handle(outside: &impl Outside, request: Request<impl Body>) -> Answer {
    let (parts, mut body) = request.into_parts();
    let route = Route::of(parts.uri.path());
    let template = route.as_ref().map_or("(none)", Route::template);
    let mut call = Call {
        outside,
        log: LogLine::new(outside.now(), &parts.method, template),
        method: parts.method,
        query: parts.uri.query(),
        headers: &parts.headers,
    };
    let result = match route {
        None => Err(Problem::new(Kind::NotFound, "check the path; the routes are in Sluice's README")),
        Some(route) if !route.allows(&call.method) => {
            let detail = format!("{} has {}", route.template(), route.methods());
            Err(Problem::new(Kind::MethodNotAllowed, detail).allow(route.methods()))
        }
        Some(Route::Event) => event::post(&mut call, &mut body).await,
        Some(Route::Callback) => callback::complete(&mut call, &mut body).await,
        Some(Route::Webhook) => webhook::post(&mut call, &mut body).await,
        Some(Route::Callbacks { run }) => callback::recall(&mut call, &run).await,
        Some(Route::Health) => Ok(health::alive()),
        Some(Route::Ready) => health::ready(&mut call).await,
    };
    let Call { mut log, method, .. } = call;
    let mut response = result.unwrap_or_else(|refusal| {
        log.problem(refusal.kind.row().0);
        refusal.into_response()
    });
    if let Some(id) = log.delivery().and_then(|id| HeaderValue::from_str(&id.to_string()).ok()) {
        response.headers_mut().insert(SLUICE_DELIVERY, id);
    }
    if method == Method::HEAD {
        // Its length isn't that of the GET, so none is said (RFC 9110, section 8.6).
        response.body_mut().clear();
    } else {
        let length = HeaderValue::from(response.body().len());
        response.headers_mut().insert(CONTENT_LENGTH, length);
    }
    log.answer(&response);
    Answer { response, log }
}

/// One request on its way.
struct Call<'a, O> {
    outside: &'a O,
    method: Method,
    query: Option<&'a str>,
    headers: &'a HeaderMap,
    log: LogLine,
}

impl<O: Outside> Call<'_, O> {
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

    /// The answer to a delivery: the engine's body as it is, or why there is none.
    fn answer(&mut self, outcome: Outcome) -> Result<Response<Vec<u8>>, Problem> {
        self.log.outcome(&outcome);
        let body = outcome.result?;
        let mut response = Response::new(body);
        if !response.body().is_empty() {
            response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        }
        response.headers_mut().insert(SLUICE_OUTCOME, HeaderValue::from_static("delivered"));
        Ok(response)
    }
}
