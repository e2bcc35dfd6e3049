//! Requests that stall after a write: the thread sleeps, then goes on with what it had read before.
//!
//! The rest of a submit saves the engine's own copy of the run, over all changes in the meantime: a run that was
//! cancelled is queued and runs.

use std::collections::BTreeMap;

use http::{Response, StatusCode};
use serde::{Deserialize, Serialize};

use crate::Model;
use crate::crash::{NoAnswer, Process, Step};
use crate::fault::Fault;
use crate::json::Json;
use crate::reply;
use crate::run::Run;
use crate::work::agenda::Job;

/// A request that stalls.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Ticket(u64);

/// The part of a request that comes after its stall.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) enum Rest {
    /// The run is queued, and started on request.
    Queue { run: Box<Run>, start: bool },
    /// The run, which is queued, is started on request.
    Start { run: Box<Run>, start: bool },
    /// The tasks of the run, which is cancelled, are dropped.
    Drop(Box<Run>),
}

/// The requests that stall, and the next stall.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Stalls {
    next: Option<(Step, u64)>,
    /// The number of stalls so far.
    count: u64,
    /// The length of the last stall, until its request is put off.
    length: u64,
    requests: BTreeMap<Ticket, Stalled>,
}

/// A request that stalls, or whose response nobody has taken.
#[derive(Clone, Debug, PartialEq)]
struct Stalled {
    process: Process,
    path: String,
    /// The team to which Flow ties the run of a submit.
    team: Option<String>,
    answer: Option<Result<Json, Fault>>,
}

impl Stalls {
    /// A ticket if a request stalls at this write.
    pub(crate) fn at(&mut self, step: Step) -> Option<Ticket> {
        let (_, length) = self.next.take_if(|(next, _)| *next == step)?;
        self.length = length;
        self.count = self.count.wrapping_add(1);
        Some(Ticket(self.count))
    }

    fn request(&mut self, ticket: Ticket) -> &mut Stalled {
        let stalled = || Stalled { process: Process::Engine, path: String::new(), team: None, answer: None };
        self.requests.entry(ticket).or_insert_with(stalled)
    }

    /// Lets Flow tie the run of a submit that stalls, once the engine has answered.
    pub(crate) fn tie(&mut self, fault: Option<&Fault>, team: &str) {
        if let Some(Fault::Stalled(ticket)) = fault {
            self.request(*ticket).team = Some(team.to_owned());
        }
    }

    /// Notes where a request that stalls came from.
    pub(crate) fn wait(&mut self, ticket: Ticket, process: Process, path: &str) {
        let request = self.request(ticket);
        request.process = process;
        path.clone_into(&mut request.path);
    }

    /// Ends all requests: the engine has died.
    pub(crate) fn cut(&mut self) {
        for request in self.requests.values_mut().filter(|request| request.answer.is_none()) {
            let death = Fault::Died(Process::Engine);
            request.answer = Some(Err(if request.process == Process::Flow { death.behind_flow() } else { death }));
        }
    }
}

impl Model {
    /// Stalls the next request that does this write, right after it, for so many milliseconds. Other requests and
    /// threads go on. The write is one of a submit, up to [`Step::RunQueued`], or of a cancel.
    pub fn stall_at(&mut self, step: Step, ms: u64) {
        self.stalls.next = Some((step, ms));
    }

    /// Takes the response to a request that has stalled; `None` if it still does, or the response was taken.
    pub fn late(&mut self, ticket: Ticket) -> Option<Result<Response<Vec<u8>>, NoAnswer>> {
        let request = self.stalls.requests.get_mut(&ticket)?;
        let answer = request.answer.take()?;
        let Stalled { process, path, .. } = self.stalls.requests.remove(&ticket)?;
        Some(match answer {
            Ok(body) => Ok(reply::json(StatusCode::OK, &body)),
            Err(fault) => fault.response(process, &path, self.now).ok_or(NoAnswer::Cut),
        })
    }

    /// Puts the rest of a request off if it stalls.
    pub(crate) fn or_stall(&mut self, done: Result<(), Fault>, rest: impl FnOnce() -> Rest) -> Result<(), Fault> {
        if let Err(Fault::Stalled(ticket)) = done {
            self.schedule(self.stalls.length, Job::GoOn(ticket, rest()));
        }
        done
    }

    pub(crate) fn go_on(&mut self, ticket: Ticket, rest: Rest) {
        let answer = match rest {
            Rest::Queue { run, start } => self.queue(*run, start),
            Rest::Start { run, start } => self.start_if(&run, start),
            Rest::Drop(run) => self.drop_all(*run),
        };
        let request = self.stalls.request(ticket);
        let (process, team) = (request.process, request.team.clone());
        let mut answer = if process == Process::Flow { answer.map_err(Fault::behind_flow) } else { answer };
        if let (Ok(run), Some(team)) = (&answer, team) {
            answer = self.end_submit(&team, run.clone());
        }
        self.stalls.request(ticket).answer = Some(answer);
    }
}
