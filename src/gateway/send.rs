//! One request to the engine.

use std::future::Future;
use std::pin::Pin;

use http::{HeaderMap, StatusCode};

use super::Gateway;
use crate::delivery::{Delivery, FoundRun, RunView, Verdict, Work};
use crate::engine::{Operation, RequestError};
use crate::ports::{Host, SendError};

/// The result of a request.
pub(super) struct Sent {
    /// The engine's status, if it responded.
    pub(super) engine_status: Option<StatusCode>,
    pub(super) verdict: Verdict,
}

/// A request in progress. It doesn't borrow from its delivery, so it can outlive the sender's wait.
pub(super) type Sending<'a> = Pin<Box<dyn Future<Output = Sent> + 'a>>;

impl<'a, H: Host> Gateway<'a, H> {
    /// Sends a delivery. Nothing is sent before the future is polled.
    pub(super) fn send(&self, delivery: &Delivery<'_>) -> Sending<'a> {
        let (host, timeouts, engine) = (self.host, self.settings.timeouts, self.settings.engine.clone());
        let (request, operation) = (self.settings.engine.request(delivery), Operation::of(&delivery.work));
        Box::pin(async move {
            let request = match request {
                Ok(request) => request,
                Err(error) => return Sent { engine_status: None, verdict: error.into() },
            };
            match host.send(request, timeouts).await {
                Err(error) => Sent { engine_status: None, verdict: error.into() },
                Ok(response) => Sent {
                    engine_status: Some(response.status()),
                    verdict: engine.read(operation, response, host.now()),
                },
            }
        })
    }

    /// Looks up the runs of a start at the engine, oldest first. Returns a verdict if they are unknown.
    pub(super) async fn find_runs(&self, delivery: &Delivery<'_>) -> Result<Vec<FoundRun>, Verdict> {
        let engine = &self.settings.engine;
        let response = self.host.send(engine.find(delivery)?, self.settings.timeouts).await?;
        engine.read_found(delivery, response, self.host.now())
    }

    /// Looks at a run in one scope.
    pub(super) async fn look_in(&self, run: &str, scope: Option<&str>, trace: &HeaderMap) -> Result<RunView, Verdict> {
        let engine = &self.settings.engine;
        let response = self.host.send(engine.look(run, scope, trace)?, self.settings.timeouts).await?;
        engine.read_look(run, response, self.host.now())
    }

    /// Requests that a run of a start is cancelled. Only a lookup shows whether it was: the engine can answer 500 and
    /// cancel the run all the same.
    pub(super) async fn cancel(&self, delivery: &Delivery<'_>, run: &str) {
        let engine = &self.settings.engine;
        if let Ok(request) = engine.cancel(run, self.scope_of(delivery).as_deref(), &delivery.trace) {
            let _: Result<_, SendError> = self.host.send(request, self.settings.timeouts).await;
        }
    }

    /// Returns the scope of a start's workflow, such as a team.
    pub(super) fn scope_of(&self, delivery: &Delivery<'_>) -> Option<String> {
        match &delivery.work {
            Work::Start(start) => self.settings.engine.scope_of(&start.workflow),
            Work::Resolve(_) => None,
        }
    }
}

impl From<SendError> for Verdict {
    fn from(error: SendError) -> Self {
        let reason = error.to_string();
        match error {
            SendError::NotSent(_) => Self::Unreachable { reason },
            SendError::NoResponse(_) => Self::Unclear { reason, after: None, concluded: false },
            SendError::Denied(_) => Self::Misconfigured { reason },
        }
    }
}

impl From<RequestError> for Verdict {
    fn from(error: RequestError) -> Self {
        Self::Misconfigured { reason: error.to_string() }
    }
}
