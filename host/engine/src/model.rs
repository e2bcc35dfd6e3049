//! The model itself.

use http::{Request, Response, StatusCode};
use indexmap::IndexMap;
use serde::{Deserialize, Serialize};

use crate::catalogue::Catalogue;
use crate::chance::Chance;
use crate::crash::{Deaths, NoAnswer, Process};
use crate::engine::bodies::Submission;
use crate::engine::show;
use crate::fault::Fault;
use crate::incoming::Incoming;
use crate::json::{Json, object};
use crate::log::Log;
use crate::reply::{self, Reply};
use crate::run::{Record, TaskRun};
use crate::settings::Settings;
use crate::stall::Stalls;
use crate::work::agenda::Agenda;
use crate::{engine, flow};

/// The services that a model offers. Behind Flow there is always the engine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Services {
    /// The engine: `/api/v1`.
    Engine,
    /// Flow: `/api/v2` and `/internal`.
    Flow,
    /// Both, each below a prefix of its own, such as `/engine` and `/flow`. If both are empty, `/api/v1` is the
    /// engine's and the rest is Flow's.
    Both {
        /// The prefix of the engine.
        engine: String,
        /// The prefix of Flow.
        flow: String,
    },
}

impl Services {
    /// The service of a path, and the path below its prefix.
    fn route<'p>(&self, path: &'p str) -> Option<(Process, &'p str)> {
        let below = |prefix: &str| path.strip_prefix(prefix).filter(|rest| rest.starts_with('/'));
        match self {
            Services::Engine => Some((Process::Engine, path)),
            Services::Flow => Some((Process::Flow, path)),
            Services::Both { engine, flow } if engine.is_empty() && flow.is_empty() => {
                let is_engine = path == "/api/v1" || path.starts_with("/api/v1/");
                Some((if is_engine { Process::Engine } else { Process::Flow }, path))
            }
            Services::Both { engine, flow } => {
                let engine = below(engine).map(|rest| (Process::Engine, rest));
                let flow = below(flow).map(|rest| (Process::Flow, rest));
                // The longer prefix counts, which leaves the shorter path.
                [engine, flow].into_iter().flatten().min_by_key(|(_, rest)| rest.len())
            }
        }
    }
}

/// A Boomerang installation: its catalogue, its database, and the pending work of its threads.
///
/// A model that was serialised goes on where it was. A clone is an independent installation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Model {
    pub(crate) services: Services,
    pub(crate) catalogue: Catalogue,
    pub(crate) settings: Settings,
    pub(crate) now: u64,
    pub(crate) chance: Chance,
    pub(crate) runs: IndexMap<String, Record>,
    pub(crate) agenda: Agenda,
    pub(crate) deaths: Deaths,
    #[serde(skip)]
    pub(crate) log: Log,
    #[serde(skip)]
    pub(crate) stalls: Stalls,
}

impl Model {
    /// An installation in which nothing has run yet.
    #[must_use]
    pub fn new(services: Services, catalogue: Catalogue, settings: Settings) -> Model {
        Model {
            services,
            catalogue,
            chance: Chance::new(settings.seed),
            settings,
            now: 0,
            runs: IndexMap::new(),
            agenda: Agenda::default(),
            deaths: Deaths::default(),
            log: Log::default(),
            stalls: Stalls::default(),
        }
    }

    /// Answers a request that arrives at a time, in milliseconds since 1970.
    ///
    /// Work that is due by then is done first. For a process that is dead, or dies, this returns the 502 of a proxy in
    /// front of it. [`Model::serve`] distinguishes the two.
    pub fn handle(&mut self, now_ms: u64, request: Request<Vec<u8>>) -> Response<Vec<u8>> {
        self.serve(now_ms, request).unwrap_or_else(|_| reply::empty(StatusCode::BAD_GATEWAY))
    }

    /// Answers a request that arrives at a time, in milliseconds since 1970.
    ///
    /// # Errors
    ///
    /// If the process isn't running, or dies before it responds; see [`crate::crash`].
    pub fn serve(&mut self, now_ms: u64, request: Request<Vec<u8>>) -> Result<Response<Vec<u8>>, NoAnswer> {
        self.advance(now_ms);
        let path = request.uri().path().to_owned();
        let Some((process, path)) = self.services.route(&path) else {
            return Ok(reply::empty(StatusCode::NOT_FOUND));
        };
        if self.is_dead(process) {
            return Err(NoAnswer::Refused);
        }
        let request = Incoming::new(request, path);
        let answer: Result<Reply, Fault> = match process {
            Process::Engine => engine::answer(self, &request),
            Process::Flow => flow::answer(self, &request),
        };
        self.end_write();
        answer.or_else(|fault| match fault {
            Fault::Stalled(ticket) => {
                self.stalls.wait(ticket, process, path);
                Err(NoAnswer::Stalled(ticket))
            }
            fault => fault.response(process, path, self.now).ok_or(NoAnswer::Cut),
        })
    }

    /// The latest time that the model was given.
    #[must_use]
    pub fn now(&self) -> u64 {
        self.now
    }

    /// The runs, the oldest first.
    pub fn runs(&self) -> impl DoubleEndedIterator<Item = &Record> {
        self.runs.values()
    }

    /// A run by id.
    #[must_use]
    pub fn run(&self, id: &str) -> Option<&Record> {
        self.runs.get(id)
    }

    /// A run with its tasks, as the engine's `GET /api/v1/workflowrun/{id}?withTasks=true` shows it.
    #[must_use]
    pub fn look(&self, id: &str) -> Option<Json> {
        self.runs.get(id).map(|record| show::found(record, &self.catalogue, true))
    }

    /// Starts a run by hand, as on Flow's pages: it belongs to the workflow's team, if the workflow has one. Returns its
    /// id, or `None` if there is no such workflow or the run can't start.
    pub fn start_by_hand(&mut self, now_ms: u64, workflow: &str) -> Option<String> {
        self.advance(now_ms);
        let team = self.catalogue.workflow(workflow)?.team.clone();
        let manual = Submission::read(&object! { "trigger": "manual" }).ok()?;
        let run = match team {
            Some(team) => self.team_submit(&team, workflow, manual, true),
            None => self.check_engine().and_then(|()| self.submit(workflow, &manual, true)),
        };
        self.end_write();
        run.ok()?.get("id").and_then(Json::as_text).map(str::to_owned)
    }

    /// The contents of the installation. Workflows may be added and changed at any time, but not removed once they have
    /// runs.
    pub fn catalogue(&mut self) -> &mut Catalogue {
        &mut self.catalogue
    }

    /// The constants. All but the seed may be changed at any time.
    pub fn settings(&mut self) -> &mut Settings {
        &mut self.settings
    }

    /// Chooses other random values from now on: those of the nth start with the same seed.
    pub fn reseed(&mut self, start: u64) {
        self.chance = Chance::new(self.settings.seed.wrapping_add(start.wrapping_mul(0x9E37_79B9)));
    }

    /// Deletes the oldest runs that are over until at most so many runs are left.
    pub fn forget(&mut self, keep: usize) {
        let mut surplus = self.runs.len().saturating_sub(keep);
        self.runs.retain(|_, record| {
            let goes = surplus > 0 && record.run.phase.is_over();
            surplus -= usize::from(goes);
            !goes
        });
    }

    pub(crate) fn record(&self, id: &str) -> Result<&Record, Fault> {
        self.runs.get(id).ok_or_else(Fault::unknown_run)
    }

    /// A run that is about to be written.
    pub(crate) fn record_mut(&mut self, id: &str) -> Result<&mut Record, Fault> {
        self.begin_write(id);
        self.runs.get_mut(id).ok_or_else(Fault::unknown_run)
    }

    /// The tasks of a run; none if there is no such run.
    pub(crate) fn tasks(&self, id: &str) -> &[TaskRun] {
        self.runs.get(id).map_or(&[], |record| &record.tasks)
    }
}
