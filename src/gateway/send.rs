//! One call to the engine.

use std::future::Future;
use std::pin::Pin;

use http::header::{AUTHORIZATION, HeaderValue};
use http::{HeaderMap, Request, Response, StatusCode};

use super::{Failure, Gateway};
use crate::config::EngineSettings;
use crate::delivery::Delivery;
use crate::engine::{Finding, boomerang};
use crate::ports::{Host, SendError};
use crate::secret::Secret;

/// What came of a call.
pub(super) struct Sent {
    /// What the engine said, where it said something.
    pub(super) engine_status: Option<StatusCode>,
    /// The body for the sender, or why there is none.
    pub(super) result: Result<Vec<u8>, Failure>,
}

/// A call that goes on whoever waits for it.
pub(super) type Call<'a> = Pin<Box<dyn Future<Output = Sent> + 'a>>;

impl<'a, O: Host> Gateway<'a, O> {
    /// Brings a delivery to the engine; nothing is sent before it is polled.
    pub(super) fn call(&self, delivery: &Delivery<'_>) -> Call<'a> {
        let EngineSettings { url, token, start, timeouts, .. } = &self.settings.engine;
        let request = boomerang::bring(url, *start, delivery).map(|request| dress(request, &delivery.trace, token));
        let (host, timeouts, read) = (self.host, *timeouts, boomerang::reader(&delivery.work));
        Box::pin(async move {
            let Ok(request) = request else { return Sent::failed(unbuildable()) };
            match host.send(request, timeouts).await {
                Err(error) => Sent::failed(error.into()),
                Ok(answer) => {
                    Sent { engine_status: Some(answer.status()), result: Failure::or_body(read(answer, host.now())) }
                }
            }
        })
    }

    /// Asks the engine for the run of a delivery: `None` if it has none.
    pub(super) async fn find(&self, delivery: &Delivery<'_>) -> Result<Option<Vec<u8>>, Failure> {
        let EngineSettings { url, token, timeouts, .. } = &self.settings.engine;
        let mark = delivery.mark();
        let request = boomerang::find(url, &mark).map_err(|_| unbuildable())?;
        let answer: Result<Response<Vec<u8>>, SendError> =
            self.host.send(dress(request, &delivery.trace, token), *timeouts).await;
        match boomerang::read_found(&mark, answer?, self.host.now()) {
            Finding::Run(run) => Ok(Some(run)),
            Finding::None => Ok(None),
            // A question is never acted on, so what is unclear is only late.
            Finding::Failed(verdict) => Failure::or_body(verdict).map(|_| None),
        }
    }
}

impl Sent {
    fn failed(failure: Failure) -> Self {
        Self { engine_status: None, result: Err(failure) }
    }
}

fn unbuildable() -> Failure {
    Failure::Misconfigured { reason: boomerang::RequestError.to_string() }
}

/// Adds the trace and our token.
fn dress(mut request: Request<Vec<u8>>, trace: &HeaderMap, token: &Option<Secret>) -> Request<Vec<u8>> {
    request.headers_mut().extend(trace.clone());
    if let Some(bearer) = token.as_ref().and_then(|token| bearer(token.expose())) {
        request.headers_mut().insert(AUTHORIZATION, bearer);
    }
    request
}

fn bearer(token: &str) -> Option<HeaderValue> {
    let mut value = HeaderValue::try_from(format!("Bearer {token}")).ok()?;
    value.set_sensitive(true);
    Some(value)
}
