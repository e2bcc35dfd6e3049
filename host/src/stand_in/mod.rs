//! A stand-in for the engine and for Flow, for development and tests: [`sluice_engine_model`] behind HTTP, driven by
//! the clock. It answers as the recorded services do, and can be scripted to misbehave.
//!
//! | Request | Served by |
//! |---|---|
//! | `/api/v1/…` | the model's engine |
//! | `/api/v2/…`, `/internal/…` | the model's Flow |
//! | `GET /` | a page, or JSON, that shows the runs |
//! | `/stand-in/…` | control of the stand-in, for tests in other languages; see below |
//!
//! ```no_run
//! # async fn example() -> std::io::Result<()> {
//! use sluice_host::stand_in::{Behaviour, StandIn};
//!
//! let engine = StandIn::builder().any_workflow().start().await?;
//! engine.script().next(Behaviour::retry_after(503, "2")).next(Behaviour::CutAfterActing);
//! println!("engine_url={}", engine.url());
//! # Ok(())
//! # }
//! ```
//!
//! # Control
//!
//! | Request | Effect |
//! |---|---|
//! | `GET /stand-in/runs` | the runs, the oldest first, each as the engine's look with tasks shows it |
//! | `GET`, `DELETE /stand-in/requests` | the latest requests to the services; forgets them |
//! | `POST`, `DELETE /stand-in/script` | adds to the script: `{"next":[…],"always":[…],"unknown_workflows":[…]}`; removes it |
//! | `POST /stand-in/waits` | `{"workflow":…,"topic":…}` starts a run by hand and returns it once it waits: `{"run":…}` |
//! | `POST /stand-in/die` | `{"at":"RunSaved"}` or `{"at":{"TasksSaved":1}}`: the service dies after its next such write. `{"process":"Engine"}`: it dies at once. With `"abort":true` the whole process aborts |
//! | `POST /stand-in/restart` | starts the services that have died |
//!
//! # Deviations
//!
//! The real services don't do these things. All but the last are off by default.
//!
//! - [`Builder::any_workflow`] creates each workflow that a request names.
//! - The script replaces responses.
//! - A run that `/stand-in/waits` starts waits at once, whatever the timing.
//! - Of the runs that are over, the oldest are deleted when there are more than [`Builder::capacity`] runs, unless the
//!   database is in a file.

mod control;
mod handler;
mod journal;
mod options;
mod page;
mod response;
mod script;
mod site;
mod state;
#[cfg(test)]
mod tests;
mod workflows;

use std::hash::{BuildHasher, RandomState};
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

pub use options::Options;
pub use script::{Behaviour, RequestKind, Script};
pub use sluice_engine_model as model;
pub use state::{Counts, RecordedRequest};
use tokio::task::JoinSet;

use crate::serve::Server;
use model::{Catalogue, Process, Record, Services, Settings, Step, Timing};
use script::Rules;
use site::{Clock, Site};
use state::{MAX_ITEMS, State};

/// Grace period of a stop. It is short, because scripted requests may hang forever.
const GRACE: Duration = Duration::from_millis(250);

/// A running stand-in. Dropping it stops it at once.
#[derive(Debug)]
pub struct StandIn {
    server: Server,
    state: Arc<State>,
    /// Does the model's work when it is due.
    worker: JoinSet<()>,
}

/// Configures and starts a [`StandIn`].
#[derive(Clone, Debug)]
pub struct Builder {
    addr: SocketAddr,
    rules: Rules,
    capacity: usize,
    services: Services,
    catalogue: Catalogue,
    settings: Settings,
    any_workflow: bool,
    file: Option<PathBuf>,
    die_at: Option<Step>,
    clock: Clock,
}

impl Builder {
    /// Sets the address to listen on; a free port of 127.0.0.1 by default.
    pub fn listen(mut self, addr: SocketAddr) -> Builder {
        self.addr = addr;
        self
    }

    /// Sets the services to offer; by default both, with `/api/v1` as the engine's.
    pub fn services(mut self, services: Services) -> Builder {
        self.services = services;
        self
    }

    /// Sets the workflows, tasks, tokens and users; those of the recorded exchanges by default.
    pub fn catalogue(mut self, catalogue: Catalogue) -> Builder {
        self.catalogue = catalogue;
        self
    }

    /// Sets the model's constants. By default its work takes no time, as with [`Timing::quick`], and the seed is random:
    /// two stand-ins with one seed may give two runs the same id.
    pub fn settings(mut self, settings: Settings) -> Builder {
        self.settings = settings;
        self
    }

    /// Creates each unknown workflow that a request names: a start, a task that ends at once, and an end. Its params
    /// `data` and `event` are declared as `json`, and its name is its id.
    pub fn any_workflow(mut self) -> Builder {
        self.any_workflow = true;
        self
    }

    /// Makes a workflow unknown, even if the catalogue has it.
    pub fn unknown_workflow(mut self, workflow: impl Into<String>) -> Builder {
        self.rules.unknown_workflows.insert(workflow.into());
        self
    }

    /// Sets how many of the latest requests are kept, and how many runs before those that are over are deleted; 10,000
    /// each by default.
    pub fn capacity(mut self, items: usize) -> Builder {
        self.capacity = items;
        self
    }

    /// Keeps the database in a file, which is created if it is missing. It gets each write of the engine when the engine
    /// makes it, so a stand-in that was killed at any time continues as the real engine would.
    pub fn database(mut self, file: impl Into<PathBuf>) -> Builder {
        self.file = Some(file.into());
        self
    }

    /// Aborts this process after the first such write.
    pub fn abort_at(mut self, step: Step) -> Builder {
        self.die_at = Some(step);
        self
    }

    /// Starts the stand-in.
    ///
    /// # Errors
    ///
    /// If the address can't be bound, or the file of the database can't be read, is in use, or isn't one.
    pub async fn start(self) -> io::Result<StandIn> {
        let mut site = Site::new(self.services, self.catalogue, self.settings, self.clock);
        site.any_workflow = self.any_workflow;
        match self.file {
            Some(file) => site.open(&file)?,
            None => site.capacity = Some(self.capacity),
        }
        if let Some(step) = self.die_at {
            site.die_at(step, true);
        }
        let state = Arc::new(State::new(self.rules, self.capacity, site));
        let shared = state.clone();
        let server = Server::start(self.addr, true, move |request, _| handler::handle(shared.clone(), request)).await?;
        let mut worker = JoinSet::new();
        worker.spawn(state::work(state.clone()));
        Ok(StandIn { server, state, worker })
    }
}

impl StandIn {
    /// A builder with the default settings.
    pub fn builder() -> Builder {
        Builder {
            addr: (Ipv4Addr::LOCALHOST, 0).into(),
            rules: Rules::default(),
            capacity: MAX_ITEMS,
            services: Services::Both { engine: String::new(), flow: String::new() },
            catalogue: Catalogue::recorded(),
            settings: Settings { seed: random_seed(), timing: Timing::quick(), ..Settings::default() },
            any_workflow: false,
            file: None,
            die_at: None,
            clock: Clock::System,
        }
    }

    /// The base URL, without a trailing slash.
    pub fn url(&self) -> String {
        format!("http://{}", self.addr())
    }

    /// The address it listens on.
    pub fn addr(&self) -> SocketAddr {
        self.server.addr()
    }

    /// The latest requests to the services, the oldest first. Requests to the page and to `/stand-in/` aren't recorded.
    pub fn requests(&self) -> Vec<RecordedRequest> {
        self.state.lock().requests.iter().cloned().collect()
    }

    /// The runs, the oldest first.
    pub fn runs(&self) -> Vec<Record> {
        self.state.lock().site.runs().cloned().collect()
    }

    /// A run by id.
    pub fn run(&self, id: &str) -> Option<Record> {
        self.state.lock().site.run(id).cloned()
    }

    /// The number of requests and runs so far, including those that are no longer kept.
    pub fn counts(&self) -> Counts {
        let state = self.state.lock();
        Counts { requests: state.requests.total, runs: state.site.total() }
    }

    /// Forgets the requests, but neither their number nor the runs.
    pub fn clear_requests(&self) {
        self.state.lock().requests.clear();
    }

    /// The script, which changes the responses.
    pub fn script(&self) -> Script {
        Script(self.state.clone())
    }

    /// Starts a run by hand, lets it come to the task that waits for a topic, and returns its id. With
    /// [`Builder::any_workflow`], an unknown workflow is created with such a task.
    ///
    /// # Errors
    ///
    /// If there is no such workflow, none of its tasks has the topic, or the run doesn't come to wait.
    pub fn wait(&self, workflow: &str, topic: &str) -> Result<String, NoWait> {
        self.state.lock().wait(workflow, topic)
    }

    /// Lets a service die after its next such write, as [`model::Model::die_at`] does. From then on it closes each
    /// connection without a response.
    pub fn die_at(&self, step: Step) {
        self.state.lock().site.die_at(step, false);
    }

    /// Lets a service die now.
    pub fn kill(&self, process: Process) {
        self.state.lock().site.kill(process, false);
    }

    /// Starts the services that have died. Their work in memory is lost.
    pub fn restart(&self) {
        self.state.lock().site.restart();
        self.state.wake();
    }

    /// Stops the stand-in, and frees its port and its file.
    pub async fn stop(mut self) {
        self.server.stop(GRACE).await;
        self.worker.shutdown().await;
        self.state.lock().site.close();
    }
}

/// Another seed each time.
fn random_seed() -> u64 {
    RandomState::new().hash_one(0)
}

/// The reason why no run came to wait for a topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoWait {
    /// There is no such workflow.
    UnknownWorkflow,
    /// No task of the workflow waits for this topic.
    UnknownTopic,
    /// The run didn't start, or has to pass another task first.
    NotReached,
}

impl std::fmt::Display for NoWait {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            NoWait::UnknownWorkflow => "there is no such workflow",
            NoWait::UnknownTopic => "no task of the workflow waits for this topic",
            NoWait::NotReached => "the run didn't come to wait for the topic",
        })
    }
}

impl std::error::Error for NoWait {}
