//! A stand-in engine for development and tests. It serves the three engine requests that Sluice sends, in memory, with
//! the responses of the real engine, and can be scripted to misbehave.
//!
//! | Request | Effect |
//! |---|---|
//! | `POST /api/v1/workflow/{ref}/submit` | starts a run |
//! | `PUT /api/v1/workflowrun/{ref}/event` | resolves the tasks of a run that wait for a topic |
//! | `GET /api/v1/workflowrun/query` | finds runs by their labels |
//! | `GET /` | shows the runs, as a page or as JSON |
//! | `/stand-in/…` | scripts the engine and lists its requests, for tests in other languages |
//!
//! ```no_run
//! # async fn example() -> std::io::Result<()> {
//! use sluice_host::stand_in::{Behaviour, StandIn};
//!
//! let engine = StandIn::builder().start().await?;
//! engine.script().next(Behaviour::retry_after(503, "2")).next(Behaviour::CutAfterActing);
//! println!("engine_url={}", engine.url());
//! # Ok(())
//! # }
//! ```

mod control;
mod engine;
mod handler;
mod page;
mod response;
mod runs;
mod script;
mod state;
#[cfg(test)]
mod tests;

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

pub use runs::{Param, Phase, Run, RunResult, Status, Wait};
pub use script::{Behaviour, RequestKind, Script};
pub use state::{Counts, RecordedRequest};

use crate::serve::Server;
use script::Rules;
use state::{MAX_ITEMS, State};

/// Grace period of a stop. It is short, because scripted requests may hang forever.
const GRACE: Duration = Duration::from_millis(250);

/// A running stand-in engine. Dropping it stops it at once.
#[derive(Debug)]
pub struct StandIn {
    server: Server,
    state: Arc<State>,
}

/// Configures and starts a [`StandIn`].
#[derive(Debug)]
pub struct Builder {
    addr: SocketAddr,
    rules: Rules,
    capacity: usize,
}

impl Builder {
    /// Sets the address to listen on; a free port of 127.0.0.1 by default.
    pub fn listen(mut self, addr: SocketAddr) -> Builder {
        self.addr = addr;
        self
    }

    /// Makes a workflow unknown to the engine. Every other workflow exists.
    pub fn unknown_workflow(mut self, workflow: impl Into<String>) -> Builder {
        self.rules.unknown_workflows.insert(workflow.into());
        self
    }

    /// Sets how many of the latest requests, and of the latest runs, are kept; 10,000 each by default.
    pub fn capacity(mut self, items: usize) -> Builder {
        self.capacity = items;
        self
    }

    /// Starts the stand-in.
    pub async fn start(self) -> std::io::Result<StandIn> {
        let state = Arc::new(State::new(self.rules, self.capacity));
        let shared = state.clone();
        let server = Server::start(self.addr, move |request, _| handler::handle(shared.clone(), request)).await?;
        Ok(StandIn { server, state })
    }
}

impl StandIn {
    /// A builder with the default settings.
    pub fn builder() -> Builder {
        Builder { addr: (Ipv4Addr::LOCALHOST, 0).into(), rules: Rules::default(), capacity: MAX_ITEMS }
    }

    /// The base URL, without a trailing slash.
    pub fn url(&self) -> String {
        format!("http://{}", self.addr())
    }

    /// The address it listens on.
    pub fn addr(&self) -> SocketAddr {
        self.server.addr()
    }

    /// The engine requests, oldest first. Requests to the page and to `/stand-in/` aren't recorded.
    pub fn requests(&self) -> Vec<RecordedRequest> {
        self.state.lock().requests.iter().cloned().collect()
    }

    /// The runs, oldest first.
    pub fn runs(&self) -> Vec<Run> {
        self.state.lock().runs.iter().cloned().collect()
    }

    /// The number of requests and runs so far, including those that are no longer kept.
    pub fn counts(&self) -> Counts {
        let state = self.state.lock();
        Counts { requests: state.requests.total, runs: state.runs.total }
    }

    /// Removes all requests and runs, but keeps the script and the counts.
    pub fn clear(&self) {
        self.state.lock().clear();
    }

    /// The script, which changes how the engine responds.
    pub fn script(&self) -> Script {
        Script(self.state.clone())
    }

    /// Starts a run that waits for a topic, and returns its id.
    pub fn wait(&self, workflow: impl Into<String>, topic: impl Into<String>) -> String {
        self.state.lock().wait(workflow.into(), topic.into())
    }

    /// Makes a task of a run wait for a topic, which may have arrived already. Returns `false` if the run is unknown.
    pub fn wait_on(&self, run: &str, topic: impl Into<String>) -> bool {
        self.state.lock().wait_on(run, topic.into()).is_ok()
    }

    /// Stops the stand-in and frees its port.
    pub async fn stop(self) {
        self.server.stop(GRACE).await;
    }
}
