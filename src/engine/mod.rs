//! Engine profiles: the requests to an engine, and the meaning of its responses.
//!
//! A [`Profile`] is everything that differs between engines, as data: one JSON file each in `src/engine/profiles`, in the
//! form that `docs/engines/README.md` documents. No other layer names an engine. [`Engine`] is the configured engine: a
//! profile, a URL, a token and the operator's constants.
//!
//! ```text
//! Delivery ──▶ template, holes ──▶ request ──▶ engine ──▶ response ──▶ proof, rules ──▶ Verdict
//! ```

pub mod preflight;

mod auth;
mod body;
mod check;
mod cloud_event;
mod constants;
mod form;
#[cfg(test)]
mod form_tests;
mod names;
mod profile;
mod request;
mod response;
mod run;
#[cfg(test)]
mod tests;
mod url;

use std::borrow::Cow;
use std::cell::LazyCell;
use std::fmt;

use http::{HeaderMap, Request, Response};
use serde::Deserialize;

use crate::callback::{Callback, Status};
use crate::delivery::{Delivery, FoundRun, RunView, RunWorkflow, Verdict, Work};
use crate::json;
use crate::reference::{RunRef, WorkflowRef};
use crate::secret::Secret;
use crate::time::Timestamp;
use form::{Proof, ResumeForm, Template};
use profile::{Document, proof};
use request::Hole;
use response::{Reader, Success};

pub use auth::{Login, Session};
pub use constants::{Constants, ConstantsError};
pub use form::{Confirm, Doubt};
pub use names::Names;
pub use profile::{DEFAULT_PROFILE, Profile, ProfileError};
pub use url::{EngineUrl, EngineUrlError};

/// The largest response of an engine that is read, in bytes. A run contains its params, so it is larger than the
/// sender's request: a structured event is sent as `event`, as `data`, and as the members of `data`.
pub const MAX_RESPONSE_BYTES: usize = 8 * 1024 * 1024;

/// Length of a request's body without its payload, in bytes; about.
const ENVELOPE: usize = 512;

/// An operation of an engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Operation {
    /// Start a run.
    Start,
    /// Look up the runs of a delivery by their label.
    Find,
    /// Look at one run with its tasks.
    Look,
    /// Resume a run by resolving its tasks that wait for a topic.
    Resume,
    /// Cancel a run.
    Cancel,
    /// Read the definition of a workflow or a task.
    Describe,
    /// Exchange user and password for a token.
    Login,
}

impl Operation {
    /// Returns the operation of a delivery.
    pub fn of(work: &Work<'_>) -> Self {
        match work {
            Work::Start(_) => Self::Start,
            Work::Resolve(_) => Self::Resume,
        }
    }
}

/// The error of building a request. All parts were validated before, so it is never the sender's fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the request to the engine can't be built: check `engine`, and `engine` in `settings`")]
pub struct RequestError;

/// The reason why the engine can't have a workflow or run of a valid reference. The message completes the sentence
/// "`ref` …".
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReferenceError {
    /// The reference names a scope, and the engine's workflows have none.
    #[error("must not contain '/': the workflows of this engine have no team")]
    NoScope,
    /// The reference names a scope that isn't configured.
    #[error("names a {scope} that `engine` in `settings` doesn't list")]
    UnknownScope {
        /// The profile's name for a scope, such as `team`.
        scope: String,
    },
    /// The reference has more or fewer names than the engine needs.
    #[error("must be {form}, without an empty name")]
    Names {
        /// The form of a reference, such as `WORKFLOW!RUN`.
        form: String,
    },
    /// The reference leaves out a name for which no constant stands.
    #[error("must be {form}, as long as `engine` in `settings` has no `{name}`")]
    Missing {
        /// The constant.
        name: String,
        /// The form of a reference.
        form: String,
    },
}

/// The reason why the engine can't take a delivery.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unsupported {
    /// The engine can't resume runs.
    #[error(
        "the engine `{engine}` can't resume runs, so nothing was delivered: let the workflow end instead of waiting, or \
         use another engine"
    )]
    Callback {
        /// The profile's name.
        engine: String,
    },
    /// The payload is no text that the engine can store.
    #[error(
        "the payload has an unpaired surrogate, which is no Unicode text and which the engine `{engine}` can't store: \
         send the whole character"
    )]
    Surrogate {
        /// The profile's name.
        engine: String,
    },
    /// The topic can't be a part of the engine's path.
    #[error("`topic` {flaw}, because the engine `{engine}` has it in its path")]
    Topic {
        /// The profile's name.
        engine: String,
        /// The rule that it breaks. Completes the sentence "`topic` …".
        flaw: String,
    },
    /// The engine has no such status.
    #[error(
        "a callback with the status `{}` can't be delivered to the engine `{engine}`: send another status, and say in \
         the payload what happened",
        status.as_str()
    )]
    Status {
        /// The profile's name.
        engine: String,
        /// The status.
        status: Status,
    },
}

/// The configured engine.
///
/// # Contract of a profile
///
/// - [`Verdict::Accepted`] needs a proof in the body. If a proxy's login page were accepted, the delivery would be
///   lost; so would it with a run that is saved and never queued.
/// - [`Verdict::Retry`] and [`Verdict::Rejected`] promise that the engine has not acted. If it may have, the verdict
///   has to be [`Verdict::Unclear`]; otherwise a run can start twice.
/// - `concluded` promises that the engine itself has answered, and no longer acts on the request.
/// - [`read_found`](Self::read_found) returns only runs with the mark; an empty list promises that there is none.
/// - [`Doubt::Resend`] promises that the engine starts no second run for the same mark, and [`Confirm::Answer`] that it
///   resumes no run twice for the same hole `once`.
#[derive(Clone)]
pub struct Engine<'p> {
    /// The profile of its API.
    pub profile: Profile<'p>,
    /// The base URL of its API.
    pub url: EngineUrl,
    /// `engine_token`: the profile says how it is sent.
    pub token: Option<Secret>,
    /// Whether the engine starts a submitted run at once.
    pub start: bool,
    /// The operator's constants for the profile.
    pub constants: Constants,
}

impl Engine<'_> {
    /// The texts that the requests for a delivery, and their responses, are about.
    pub fn names(&self, delivery: &Delivery<'_>) -> Result<Names, RequestError> {
        let document = self.document();
        let mut names = Names::of_delivery(document, &self.constants, delivery)?;
        names.add(
            "scope",
            match &delivery.work {
                Work::Start(start) => self.scope_in(document, &start.workflow)?,
                Work::Resolve(_) => self.default_scope(),
            },
        );
        names.add("start", Some(if self.start { "true" } else { "false" }.to_owned()));
        Ok(names)
    }

    /// Builds the request for a delivery, with its trace context.
    pub fn request(&self, delivery: &Delivery<'_>) -> Result<Request<Vec<u8>>, RequestError> {
        self.request_with(delivery, &self.names(delivery)?)
    }

    /// Like [`request`](Self::request), with the delivery's [`names`](Self::names).
    pub fn request_with(&self, delivery: &Delivery<'_>, names: &Names) -> Result<Request<Vec<u8>>, RequestError> {
        let document = self.document();
        match &delivery.work {
            Work::Start(start) => {
                let form = document.start()?;
                let params = request::params(start);
                // Most profiles need some of these.
                let attributes = LazyCell::new(|| request::event(start).and_then(request::attributes));
                let input = LazyCell::new(|| request::input(start, attributes.as_deref()));
                let extra = LazyCell::new(|| request::route_params(start));
                let holes = |name: &str| match name {
                    "params" => Some(Hole::Params(&params)),
                    "input" => Some(Hole::Object(&input)),
                    "params_object" => (!extra.is_empty()).then_some(Hole::Object(&extra)),
                    "data" => Some(Hole::Json(request::data(start))),
                    "event" => request::event(start).map(Hole::Json),
                    "attributes" => attributes.as_deref().map(Hole::Json),
                    name => self.text(names, name),
                };
                self.build(&form.request, &holes, capacity(&params), &delivery.trace, Some(start))
            }
            Work::Resolve(callback) => {
                let form = document.resume()?.ok_or(RequestError)?;
                let results = request::results(callback);
                let holes = |name: &str| match name {
                    "results" => Some(Hole::Params(&results)),
                    "payload" => callback.payload.as_deref().map(Hole::Json),
                    "resolution" => Some(Hole::Built(request::resolution(callback))),
                    name => self.text(names, name),
                };
                self.build(resume_template(&form, callback), &holes, capacity(&results), &delivery.trace, None)
            }
        }
    }

    /// The value of a hole that is a text: a name, or a constant.
    fn text<'v>(&'v self, names: &'v Names, name: &str) -> Option<Hole<'v>> {
        if let Some(text) = names.get(name) {
            return Some(Hole::Text(Cow::Borrowed(text)));
        }
        let text = self.constants.get(name)?;
        Some(if self.constants.is_number(name) { Hole::Number(text) } else { Hole::Text(Cow::Borrowed(text)) })
    }

    /// Reads the response to the request for a delivery. Only [`Operation::Start`] has a body in [`Verdict::Accepted`]:
    /// the response for the sender.
    pub fn read(&self, operation: Operation, names: &Names, response: Response<Vec<u8>>, now: Timestamp) -> Verdict {
        let body = self.read_body(operation, names, response, now);
        body.map_or_else(|verdict| verdict, |body| Verdict::Accepted { body })
    }

    fn read_body(
        &self,
        operation: Operation,
        names: &Names,
        response: Response<Vec<u8>>,
        now: Timestamp,
    ) -> Result<Vec<u8>, Verdict> {
        let reader = self.reader(operation, names, now);
        let success = reader.success(response)?;
        if operation == Operation::Start {
            return reader.started(success);
        }
        let resume = self.document().resume().map_err(malformed)?.filter(|_| operation == Operation::Resume);
        let expected = resume.map(|form| proof("resume", form.proof)).transpose().map_err(malformed)?;
        match reader.prove(&expected.unwrap_or(Proof::Object), &success) {
            Some(_) => Ok(Vec::new()),
            None => Err(success.unexpected()),
        }
    }

    fn reader<'r>(&'r self, operation: Operation, names: &'r Names, now: Timestamp) -> Reader<'r, 'r> {
        Reader { document: self.document(), constants: &self.constants, names, operation, now }
    }

    fn document(&self) -> &Document<'_> {
        self.profile.document()
    }

    /// Builds the request that looks up the runs of a start by its mark; `None` if the profile has none.
    pub fn find(&self, names: &Names, trace: &HeaderMap) -> Result<Option<Request<Vec<u8>>>, RequestError> {
        let Some(form) = self.document().find()? else { return Ok(None) };
        self.build_simple(&form.request, names, trace).map(Some)
    }

    /// Reads the response to a lookup: the runs of the delivery, oldest first. Runs that these runs have started and
    /// runs of another workflow are left out. Returns a verdict if the runs are unknown.
    pub fn read_found(
        &self,
        names: &Names,
        response: Response<Vec<u8>>,
        now: Timestamp,
    ) -> Result<Vec<FoundRun>, Verdict> {
        let form = self
            .document()
            .find()
            .map_err(malformed)?
            .ok_or_else(|| malformed(ProfileError::new("find", "is missing")))?;
        self.reader(Operation::Find, names, now).found(&form, response)
    }

    /// Builds the request for one run with its tasks, or for the topic of a callback in it, in a scope or in the default
    /// one; `None` if the profile has none.
    pub fn look(
        &self,
        run: &str,
        topic: Option<&str>,
        scope: Option<&str>,
        trace: &HeaderMap,
    ) -> Result<Option<Request<Vec<u8>>>, RequestError> {
        let Some(form) = self.document().look()? else { return Ok(None) };
        let template = if topic.is_none() { form.run.or(form.request) } else { form.request };
        let Some(template) = template else { return Ok(None) };
        self.build_simple(&template, &self.names_of_run(run, topic, scope)?, trace).map(Some)
    }

    /// Reads the response to a look. Returns [`Verdict::UnknownRun`] if the engine doesn't know the run.
    pub fn read_look(
        &self,
        run: &str,
        topic: Option<&str>,
        response: Response<Vec<u8>>,
        now: Timestamp,
    ) -> Result<RunView, Verdict> {
        let names = self.names_of_run(run, topic, None)?;
        self.reader(Operation::Look, &names, now).looked(topic, response)
    }

    /// Whether a look at a topic leaves open whether the run has ended, and a look at the run tells.
    pub fn looks_at_runs_apart(&self) -> bool {
        self.document().look().ok().flatten().is_some_and(|form| form.run.is_some())
            && self.document().run().is_ok_and(|form| !form.states.is_empty())
    }

    /// Reads the response to a look before a callback is sent whose effect the engine's answer shows. Returns a verdict if
    /// it must not be sent.
    pub fn read_look_before(
        &self,
        run: &str,
        topic: &str,
        response: Response<Vec<u8>>,
        now: Timestamp,
    ) -> Result<(), Verdict> {
        let names = self.names_of_run(run, Some(topic), None)?;
        match self.reader(Operation::Look, &names, now).success(response).map_err(Verdict::from) {
            Ok(_) | Err(Verdict::NotWaiting) => Ok(()),
            Err(verdict) => Err(verdict),
        }
    }

    /// The part of a look that tells different looks apart: a run, and the topic if the profile looks at topics.
    pub fn look_key(&self, run: &str, topic: &str) -> String {
        let is_of_run = self.document().wait().is_ok_and(|wait| wait.is_none());
        if is_of_run { run.to_owned() } else { format!("{run}\n{topic}") }
    }

    /// Returns the workflow of a run, if the run's reference names it.
    pub fn workflow_in(&self, run: &str) -> Option<RunWorkflow> {
        let names = Names::of_run(self.document(), run).ok()?;
        Some(RunWorkflow { id: None, name: Some(names.get("workflow")?.to_owned()) })
    }

    /// Builds the request that cancels a run, in a scope or in the default one; `None` if the profile has none. Its
    /// response proves nothing: only looks show whether the run is cancelled.
    pub fn cancel(
        &self,
        run: &str,
        scope: Option<&str>,
        trace: &HeaderMap,
    ) -> Result<Option<Request<Vec<u8>>>, RequestError> {
        let Some(form) = self.document().cancel()? else { return Ok(None) };
        self.build_simple(&form.request, &self.names_of_run(run, None, scope)?, trace).map(Some)
    }

    /// Builds the request for the definition of a workflow; `None` if the profile has none.
    pub fn describe(&self, workflow: &WorkflowRef) -> Result<Option<Request<Vec<u8>>>, RequestError> {
        let document = self.document();
        let Some(form) = document.describe()? else { return Ok(None) };
        let mut names = Names::of_workflow(document, &self.constants, workflow)?;
        names.add("scope", self.scope_in(document, workflow)?);
        self.build_simple(&form.workflow, &names, &HeaderMap::new()).map(Some)
    }

    /// Builds the request for the definition of a task in a version or in its latest one, in a scope or in the default
    /// one.
    pub fn describe_task(
        &self,
        task: &str,
        version: Option<u64>,
        scope: Option<&str>,
    ) -> Result<Request<Vec<u8>>, RequestError> {
        let form = self.document().describe()?.ok_or(RequestError)?;
        let mut template = form.task.ok_or(RequestError)?;
        // The query is no more than the version.
        template.query = template.query.filter(|_| version.is_some());
        let mut names = Names::default();
        names.add("task", Some(task.to_owned()));
        names.add("version", version.map(|version| version.to_string()));
        names.add("scope", scope.map(str::to_owned).or_else(|| self.default_scope()));
        self.build_simple(&template, &names, &HeaderMap::new())
    }

    /// Reads the response to [`describe`](Self::describe) or [`describe_task`](Self::describe_task): a JSON object.
    pub fn read_description(&self, response: Response<Vec<u8>>, now: Timestamp) -> Result<Vec<u8>, Verdict> {
        let success: Success = self.reader(Operation::Describe, &Names::default(), now).success(response)?;
        if json::object(&success.body).is_err() {
            return Err(success.unexpected());
        }
        Ok(success.body)
    }

    /// Returns the id of the run in the response to a sender.
    pub fn run_id(&self, body: &[u8]) -> Option<String> {
        let document = self.document();
        let form = document.run().ok().filter(|_| document.answers_as_the_engine());
        run::run_id(body, form.and_then(|form| form.id).as_deref())
    }

    /// Returns the address of a run's page for people, if the profile and its constants have one.
    pub fn page(&self, run: &str) -> Option<String> {
        let page = self.document().page.as_ref()?;
        let mut names = Names::of_run(self.document(), run).ok()?;
        names.add("scope", self.default_scope());
        let holes = |name: &str| self.text(&names, name);
        let encode = |name: &str, text: &str| match self.constants.get(name) {
            Some(constant) if constant == text => Ok(text.to_owned()),
            _ => crate::reference::path_segment(text).map_err(|_| RequestError),
        };
        let address = request::expand(page, &holes, encode).ok()?;
        (address.starts_with("https://") || address.starts_with("http://")).then_some(address)
    }

    /// The source of the knowledge that a callback has had its effect.
    pub fn confirm(&self) -> Confirm {
        self.document().resume().ok().flatten().map(|form| form.confirm).unwrap_or_default()
    }

    /// Checks that the engine can have a workflow of this reference: its scope, and its names.
    pub fn accepts(&self, workflow: &WorkflowRef) -> Result<(), ReferenceError> {
        let document = self.document();
        if let Some(named) = workflow.scope() {
            // A malformed profile is an error of each request.
            let scope = document.scope().ok().flatten().ok_or(ReferenceError::NoScope)?;
            if !self.scopes().iter().any(|known| known == named) {
                return Err(ReferenceError::UnknownScope { scope: scope.setting.to_string() });
            }
        }
        names::check_workflow(document, &self.constants, workflow)
    }

    /// Checks that the engine can have a run of this reference.
    pub fn accepts_run(&self, run: &RunRef) -> Result<(), ReferenceError> {
        names::check_run(self.document(), run.as_str())
    }

    /// Checks that the engine can be told callbacks, and with this status if one is given.
    pub fn resumes(&self, status: Option<Status>) -> Result<(), Unsupported> {
        let engine = || self.profile.name().to_owned();
        // A malformed profile is an error of each request.
        let Ok(form) = self.document().resume() else { return Ok(()) };
        let Some(form) = form else { return Err(Unsupported::Callback { engine: engine() }) };
        match (status, form.statuses) {
            (Some(status), Some(statuses)) if !statuses.contains(&status) => {
                Err(Unsupported::Status { engine: engine(), status })
            }
            _ => Ok(()),
        }
    }

    /// Checks that the engine can take a delivery.
    pub fn takes(&self, work: &Work<'_>) -> Result<(), Unsupported> {
        if let Work::Resolve(callback) = work {
            self.resumes(Some(callback.status))?;
            self.takes_topic(callback.topic.as_str())?;
        }
        let limits = self.document().limits().unwrap_or_default();
        let payload = match work {
            Work::Start(start) => request::event(start).or_else(|| Some(request::data(start))),
            Work::Resolve(callback) => callback.payload.as_deref(),
        };
        if limits.unpaired_surrogates == Some(false) && payload.is_some_and(json::has_unpaired_surrogate) {
            return Err(Unsupported::Surrogate { engine: self.profile.name().to_owned() });
        }
        Ok(())
    }

    fn takes_topic(&self, topic: &str) -> Result<(), Unsupported> {
        let Err(flaw) = crate::reference::path_segment(topic) else { return Ok(()) };
        // A malformed profile is an error of each request.
        let resume = self.document().resume().ok().flatten().map(|form| form.request);
        let look = self.document().look().ok().flatten().and_then(|form| form.request);
        let is_in_path = resume.iter().chain(&look).any(|template| template.path.contains("{topic}"));
        if !is_in_path {
            return Ok(());
        }
        Err(Unsupported::Topic { engine: self.profile.name().to_owned(), flaw: flaw.to_string() })
    }

    /// Returns how long the engine knows the mark of a start, in hours; `None` if it never forgets, or nothing says so.
    pub fn retention_hours(&self) -> Option<u64> {
        let own = self.constants.get("retention_hours").and_then(|hours| hours.parse().ok());
        own.or_else(|| self.document().limits().ok()?.retention_hours)
    }

    /// Returns whether a text has the form of a workflow's id. A name may have it, too.
    pub fn is_workflow_id(&self, text: &str) -> bool {
        self.document().workflow_id().ok().flatten().is_some_and(|form| form.is_id(text))
    }

    /// Returns the configured scopes, such as teams, with the default one first. Empty if the profile has no scopes.
    pub fn scopes(&self) -> Vec<String> {
        let Ok(Some(form)) = self.document().scope() else { return Vec::new() };
        let mut scopes = self.constants.all(&form.setting).to_vec();
        for scope in self.constants.all(&form.more) {
            if !scopes.contains(scope) {
                scopes.push(scope.clone());
            }
        }
        scopes
    }

    /// Returns the scope of a workflow: the one that its reference names, or the default one. `None` if the profile has
    /// no scopes.
    pub fn scope_of(&self, workflow: &WorkflowRef) -> Option<String> {
        self.scope_in(self.document(), workflow).ok()?
    }

    fn scope_in(&self, document: &Document<'_>, workflow: &WorkflowRef) -> Result<Option<String>, RequestError> {
        let default = document.scope()?.and_then(|form| self.constants.get(&form.setting)).map(str::to_owned);
        match (default, workflow.scope()) {
            (None, Some(_)) => Err(RequestError),
            (Some(_), Some(named)) => Ok(Some(named.to_owned())),
            (default, None) => Ok(default),
        }
    }

    /// Returns the scope of a workflow whose reference names none. `None` if the profile has no scopes.
    pub fn default_scope(&self) -> Option<String> {
        let form = self.document().scope().ok()??;
        self.constants.get(&form.setting).map(str::to_owned)
    }

    fn names_of_run(&self, run: &str, topic: Option<&str>, scope: Option<&str>) -> Result<Names, RequestError> {
        let mut names = Names::of_run(self.document(), run)?;
        names.add("topic", topic.map(str::to_owned));
        names.add("scope", scope.map(str::to_owned).or_else(|| self.default_scope()));
        Ok(names)
    }

    /// Builds a request whose holes are texts.
    fn build_simple(
        &self,
        template: &Template<'_>,
        names: &Names,
        trace: &HeaderMap,
    ) -> Result<Request<Vec<u8>>, RequestError> {
        self.build(template, &|name| self.text(names, name), 0, trace, None)
    }

    /// Builds a request, with the profile's headers and the sender's trace context.
    fn build(
        &self,
        template: &Template<'_>,
        holes: &request::Holes<'_, '_>,
        capacity: usize,
        trace: &HeaderMap,
        start: Option<&crate::delivery::Start<'_>>,
    ) -> Result<Request<Vec<u8>>, RequestError> {
        let mut request = request::build(&self.url, template, holes, capacity, start)?;
        request::add_headers(request.headers_mut(), self.document().headers, holes)?;
        request.headers_mut().extend(trace.clone());
        Ok(request)
    }
}

/// The template for a callback.
fn resume_template<'f, 'p>(form: &'f ResumeForm<'p>, callback: &Callback<'_>) -> &'f Template<'p> {
    match (callback.status, &callback.payload) {
        (Status::Failed, _) if form.failed.is_some() => form.failed.as_ref(),
        (_, None) => form.without_payload.as_ref(),
        _ => None,
    }
    .unwrap_or(&form.request)
}

/// The length of a body with these params, in bytes; about.
fn capacity(params: &[request::Param<'_>]) -> usize {
    params.iter().fold(ENVELOPE, |sum, param| sum.saturating_add(param.len()))
}

/// The verdict of a profile that doesn't follow the form.
fn malformed(error: ProfileError) -> Verdict {
    Verdict::Misconfigured { reason: format!("the engine's profile {error}") }
}

impl fmt::Debug for Engine<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { profile, url, token, start, constants } = self;
        f.debug_struct("Engine")
            .field("profile", &profile.name())
            .field("url", url)
            .field("token", token)
            .field("start", start)
            .field("constants", constants)
            .finish()
    }
}
