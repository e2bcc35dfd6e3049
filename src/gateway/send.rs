//! One request to the engine.

use std::future::Future;
use std::pin::Pin;

use http::StatusCode;

use super::Gateway;
use crate::delivery::{Delivery, Verdict};
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

    /// Looks up the run of a delivery at the engine. Returns `None` if there is none, and a verdict if that is unknown.
    pub(super) async fn find_run(&self, delivery: &Delivery<'_>) -> Result<Option<Vec<u8>>, Verdict> {
        let engine = &self.settings.engine;
        let response = self.host.send(engine.find(delivery)?, self.settings.timeouts).await?;
        let runs = engine.read_found(delivery, response, self.host.now())?;
        Ok(runs.into_iter().find(|run| run.state.is_started()).map(|run| run.body))
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
