//! A stand-in engine, for development and tests: the three requests that Sluice makes of an engine, in memory, with the
//! answers of the real one, and with faults on order.
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

mod answer;
mod control;
mod engine;
mod page;
mod routes;
mod runs;
mod script;
mod state;
#[cfg(test)]
mod tests;

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

pub use runs::{Param, Phase, Run, RunResult, Status, Wait};
pub use script::{Behaviour, Kind, Script};
pub use state::{Counts, Recorded};

use crate::serve::Server;
use script::Orders;
use state::{MAX_ITEMS, State};

/// How long requests in flight may take when it stops; those that hang on order shall not keep it longer.
const GRACE: Duration = Duration::from_millis(250);

/// A running stand-in engine; dropped, it stops.
#[derive(Debug)]
pub struct StandIn {
    server: Server,
    state: Arc<State>,
}

/// How a stand-in shall be.
#[derive(Debug)]
pub struct Builder {
    addr: SocketAddr,
    orders: Orders,
    keep: usize,
}

impl Builder {
    /// Where it listens; a free port of 127.0.0.1 if nothing is said.
    pub fn listen(mut self, addr: SocketAddr) -> Builder {
        self.addr = addr;
        self
    }

    /// A workflow that the engine doesn't know; it knows all others.
    pub fn unknown_workflow(mut self, workflow: impl Into<String>) -> Builder {
        self.orders.unknown_workflows.insert(workflow.into());
        self
    }

    /// How many requests and how many runs it keeps, the last ones; 10,000 if nothing is said.
    pub fn keep(mut self, most: usize) -> Builder {
        self.keep = most;
        self
    }

    /// Starts it.
    pub async fn start(self) -> std::io::Result<StandIn> {
        let state = Arc::new(State::new(self.orders, self.keep));
        let shared = state.clone();
        let server = Server::start(self.addr, move |request, _| routes::serve(shared.clone(), request)).await?;
        Ok(StandIn { server, state })
    }
}

impl StandIn {
    /// A stand-in to be.
    pub fn builder() -> Builder {
        Builder { addr: (Ipv4Addr::LOCALHOST, 0).into(), orders: Orders::default(), keep: MAX_ITEMS }
    }

    /// Its base URL, without a slash at the end.
    pub fn url(&self) -> String {
        format!("http://{}", self.addr())
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.server.addr()
    }

    /// The engine requests that came, oldest first. Its own pages and `/stand-in/` are none.
    pub fn requests(&self) -> Vec<Recorded> {
        self.state.lock().requests.iter().cloned().collect()
    }

    /// The runs, oldest first.
    pub fn runs(&self) -> Vec<Run> {
        self.state.lock().runs.iter().cloned().collect()
    }

    /// How many there have been, also those that are no longer kept.
    pub fn counts(&self) -> Counts {
        let state = self.state.lock();
        Counts { requests: state.requests.total, runs: state.runs.total }
    }

    /// Forgets requests and runs; the script and the counts stay.
    pub fn clear(&self) {
        self.state.lock().clear();
    }

    /// What its next requests shall meet.
    pub fn script(&self) -> Script {
        Script(self.state.clone())
    }

    /// Starts a run that waits for a topic, and gives its id.
    pub fn wait(&self, workflow: impl Into<String>, topic: impl Into<String>) -> String {
        self.state.lock().wait(workflow.into(), topic.into())
    }

    /// Makes a task of this run wait for a topic, which may have come already;
    /// `false` if the run is unknown.
    pub fn wait_on(&self, run: &str, topic: impl Into<String>) -> bool {
        self.state.lock().wait_on(run, topic.into()).is_ok()
    }

    /// Stops it; its port is free afterwards.
    pub async fn stop(self) {
        self.server.stop(GRACE).await;
    }
}
