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

mod constants;
mod form;
mod profile;
mod request;
mod response;
mod run;
#[cfg(test)]
mod tests;
mod url;

use std::borrow::Cow;
use std::fmt;

use http::header::{AUTHORIZATION, HeaderValue};
use http::{HeaderMap, Request, Response};
use serde::Deserialize;

use crate::delivery::{Delivery, FoundRun, RunView, Verdict, Work};
use crate::json;
use crate::reference::WorkflowRef;
use crate::secret::Secret;
use crate::time::Timestamp;
use form::{ResumeProof, Template};
use profile::Document;
use request::Hole;

pub use constants::{Constants, ConstantsError};
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

impl From<ProfileError> for RequestError {
    fn from(_: ProfileError) -> Self {
        Self
    }
}

/// The reason why the engine has no workflow of a valid reference. The message completes the sentence "`ref` …".
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ScopeError {
    /// The reference names a scope, and the engine's workflows have none.
    #[error("must not contain '/': the workflows of this engine have no team")]
    NoScope,
    /// The reference names a scope that isn't configured.
    #[error("names a {scope} that `engine` in `settings` doesn't list")]
    Unknown {
        /// The profile's name for a scope, such as `team`.
        scope: String,
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
/// - [`read_found`](Self::read_found) returns only runs with the label; an empty list promises that there is none.
#[derive(Clone)]
pub struct Engine {
    /// The profile of its API.
    pub profile: Profile,
    /// The base URL of its API.
    pub url: EngineUrl,
    /// The token of `Authorization: Bearer` in each request.
    pub token: Option<Secret>,
    /// Whether the engine starts a submitted run at once.
    pub start: bool,
    /// The operator's constants for the profile.
    pub constants: Constants,
}

impl Engine {
    /// Builds the request for a delivery, with token and trace context.
    pub fn request(&self, delivery: &Delivery<'_>) -> Result<Request<Vec<u8>>, RequestError> {
        let document = self.profile.document()?;
        let label = delivery.label();
        let text = |text| Some(Hole::Text(Cow::Borrowed(text)));
        match &delivery.work {
            Work::Start(start) => {
                let form = document.start()?;
                let scope = self.scope_in(document, &start.workflow)?;
                let params = request::params(start);
                let holes = |name: &str| match name {
                    "workflow" => text(start.workflow.workflow()),
                    "scope" => text(scope.as_deref()?),
                    "trigger" => text(request::trigger(start.trigger)),
                    "start" => text(if self.start { "true" } else { "false" }),
                    "params" => Some(Hole::Params(&params)),
                    "label" => text(&label),
                    "source" => start.source.as_deref().and_then(text),
                    name => text(self.constants.get(name)?),
                };
                self.build(&form.request, &holes, capacity(&params), &delivery.trace)
            }
            Work::Resolve(callback) => {
                let form = document.resume()?;
                let results = request::results(callback);
                let holes = |name: &str| match name {
                    "run" => text(callback.run.as_str()),
                    "topic" => text(callback.topic.as_str()),
                    "status" => text(callback.status.as_str()),
                    "results" => Some(Hole::Params(&results)),
                    "payload" => callback.payload.as_deref().map(Hole::Json),
                    name => text(self.constants.get(name)?),
                };
                let template = match (&callback.payload, &form.without_payload) {
                    (None, Some(template)) => template,
                    _ => &form.request,
                };
                self.build(template, &holes, capacity(&results), &delivery.trace)
            }
        }
    }

    /// Reads the response to the request of an operation. Only [`Operation::Start`] has a body in
    /// [`Verdict::Accepted`]: the run.
    pub fn read(&self, operation: Operation, response: Response<Vec<u8>>, now: Timestamp) -> Verdict {
        self.read_body(operation, response, now).map_or_else(|verdict| verdict, |body| Verdict::Accepted { body })
    }

    fn read_body(&self, operation: Operation, response: Response<Vec<u8>>, now: Timestamp) -> Result<Vec<u8>, Verdict> {
        let document = self.profile.document().map_err(malformed)?;
        let success = response::success(document, operation, response, now)?;
        let is_proof = match operation {
            Operation::Start => return run::read_started(document, success),
            Operation::Resume => {
                let ResumeProof::JsonOrEmpty = document.resume().map_err(malformed)?.proof;
                success.body.trim_ascii().is_empty() || json::value(&success.body).is_ok()
            }
            _ => json::object(&success.body).is_ok(),
        };
        if is_proof { Ok(Vec::new()) } else { Err(success.unexpected()) }
    }

    /// Builds the request that looks up the runs of a delivery by its label ([`Delivery::label`]).
    pub fn find(&self, delivery: &Delivery<'_>) -> Result<Request<Vec<u8>>, RequestError> {
        let document = self.profile.document()?;
        let scope = match &delivery.work {
            Work::Start(start) => self.scope_in(document, &start.workflow)?,
            Work::Resolve(_) => self.default_scope_in(document)?,
        };
        let label = delivery.label();
        let holes = [("label", Some(label.as_str())), ("scope", scope.as_deref())];
        self.build_simple(&document.find()?.request, &holes, &delivery.trace)
    }

    /// Reads the response to a lookup: the runs of the delivery, oldest first. Runs that these runs have started and
    /// runs of another workflow are left out. Returns a verdict if the runs are unknown.
    pub fn read_found(
        &self,
        delivery: &Delivery<'_>,
        response: Response<Vec<u8>>,
        now: Timestamp,
    ) -> Result<Vec<FoundRun>, Verdict> {
        run::read_found(self.profile.document().map_err(malformed)?, delivery, response, now)
    }

    /// Builds the request for one run with its tasks, in a scope or in the default one.
    pub fn look(&self, run: &str, scope: Option<&str>, trace: &HeaderMap) -> Result<Request<Vec<u8>>, RequestError> {
        let document = self.profile.document()?;
        self.of_run(document, &document.look()?.request, run, scope, trace)
    }

    /// Reads the response to a look. Returns [`Verdict::UnknownRun`] if the engine doesn't know the run.
    pub fn read_look(&self, run: &str, response: Response<Vec<u8>>, now: Timestamp) -> Result<RunView, Verdict> {
        run::read_look(self.profile.document().map_err(malformed)?, run, response, now)
    }

    /// Builds the request that cancels a run, in a scope or in the default one. Its response proves nothing: only looks
    /// show whether the run is cancelled.
    pub fn cancel(&self, run: &str, scope: Option<&str>, trace: &HeaderMap) -> Result<Request<Vec<u8>>, RequestError> {
        let document = self.profile.document()?;
        self.of_run(document, &document.cancel()?.request, run, scope, trace)
    }

    /// Builds the request for the definition of a workflow.
    pub fn describe(&self, workflow: &WorkflowRef) -> Result<Request<Vec<u8>>, RequestError> {
        let document = self.profile.document()?;
        let scope = self.scope_in(document, workflow)?;
        let holes = [("workflow", Some(workflow.workflow())), ("scope", scope.as_deref())];
        self.build_simple(&document.describe()?.workflow, &holes, &HeaderMap::new())
    }

    /// Builds the request for the definition of a task in a version or in its latest one, in a scope or in the default
    /// one.
    pub fn describe_task(
        &self,
        task: &str,
        version: Option<u64>,
        scope: Option<&str>,
    ) -> Result<Request<Vec<u8>>, RequestError> {
        let document = self.profile.document()?;
        let (default, version) = (self.default_scope_in(document)?, version.map(|version| version.to_string()));
        let mut template = document.describe()?.task;
        // The query is no more than the version.
        template.query = template.query.filter(|_| version.is_some());
        let holes = [("task", Some(task)), ("version", version.as_deref()), ("scope", scope.or(default.as_deref()))];
        self.build_simple(&template, &holes, &HeaderMap::new())
    }

    /// Reads the response to [`describe`](Self::describe) or [`describe_task`](Self::describe_task): a JSON object.
    pub fn read_description(&self, response: Response<Vec<u8>>, now: Timestamp) -> Result<Vec<u8>, Verdict> {
        let document = self.profile.document().map_err(malformed)?;
        let success = response::success(document, Operation::Describe, response, now)?;
        if json::object(&success.body).is_err() {
            return Err(success.unexpected());
        }
        Ok(success.body)
    }

    /// Returns the id of the run in a response body.
    pub fn run_id(&self, body: &[u8]) -> Option<String> {
        run::run_id(body, &self.profile.document().ok()?.run().ok()?)
    }

    /// Checks that the engine can have a workflow of this reference: whether it may name a scope, and this one.
    pub fn accepts(&self, workflow: &WorkflowRef) -> Result<(), ScopeError> {
        let Some(named) = workflow.scope() else { return Ok(()) };
        // A malformed profile is an error of each request.
        let scope = self.profile.document().and_then(|document| Ok(document.scope()?.map(|it| it.setting.to_owned())));
        let Some(scope) = scope.ok().flatten() else { return Err(ScopeError::NoScope) };
        if self.scopes().iter().any(|known| known == named) { Ok(()) } else { Err(ScopeError::Unknown { scope }) }
    }

    /// Returns whether a text has the form of a workflow's id. A name may have it, too.
    pub fn is_workflow_id(&self, text: &str) -> bool {
        self.profile.document().and_then(|document| document.run()).is_ok_and(|form| form.workflow_id.is_id(text))
    }

    /// Returns the configured scopes, such as teams, with the default one first. Empty if the profile has no scopes.
    pub fn scopes(&self) -> Vec<String> {
        let Ok(document) = self.profile.document() else { return Vec::new() };
        let Ok(Some(form)) = document.scope() else { return Vec::new() };
        let mut scopes = self.constants.all(form.setting).to_vec();
        for scope in self.constants.all(form.more) {
            if !scopes.contains(scope) {
                scopes.push(scope.clone());
            }
        }
        scopes
    }

    /// Returns the scope of a workflow: the one that its reference names, or the default one. `None` if the profile has
    /// no scopes.
    pub fn scope_of(&self, workflow: &WorkflowRef) -> Option<String> {
        self.scope_in(self.profile.document().ok()?, workflow).ok()?
    }

    fn scope_in(&self, document: &Document<'_>, workflow: &WorkflowRef) -> Result<Option<String>, RequestError> {
        match (self.default_scope_in(document)?, workflow.scope()) {
            (None, Some(_)) => Err(RequestError),
            (Some(_), Some(named)) => Ok(Some(named.to_owned())),
            (default, None) => Ok(default),
        }
    }

    /// Returns the scope of a workflow whose reference names none. `None` if the profile has no scopes.
    pub fn default_scope(&self) -> Option<String> {
        self.default_scope_in(self.profile.document().ok()?).ok()?
    }

    fn default_scope_in(&self, document: &Document<'_>) -> Result<Option<String>, RequestError> {
        Ok(document.scope()?.and_then(|form| self.constants.get(form.setting)).map(str::to_owned))
    }

    fn of_run(
        &self,
        document: &Document<'_>,
        template: &Template<'_>,
        run: &str,
        scope: Option<&str>,
        trace: &HeaderMap,
    ) -> Result<Request<Vec<u8>>, RequestError> {
        let default = self.default_scope_in(document)?;
        self.build_simple(template, &[("run", Some(run)), ("scope", scope.or(default.as_deref()))], trace)
    }

    /// Builds a request whose holes are texts.
    fn build_simple(
        &self,
        template: &Template<'_>,
        values: &[(&str, Option<&str>)],
        trace: &HeaderMap,
    ) -> Result<Request<Vec<u8>>, RequestError> {
        let holes = |name: &str| {
            let value = values.iter().find(|(known, _)| *known == name);
            let text = value.map_or_else(|| self.constants.get(name), |(_, value)| *value);
            text.map(|text| Hole::Text(Cow::Borrowed(text)))
        };
        self.build(template, &holes, 0, trace)
    }

    /// Builds a request, with the sender's trace context and the engine's token.
    fn build(
        &self,
        template: &Template<'_>,
        holes: &request::Holes<'_, '_>,
        capacity: usize,
        trace: &HeaderMap,
    ) -> Result<Request<Vec<u8>>, RequestError> {
        let mut request = request::build(&self.url, template, holes, capacity)?;
        request.headers_mut().extend(trace.clone());
        if let Some(bearer) = self.token.as_ref().and_then(|token| bearer(token.expose())) {
            request.headers_mut().insert(AUTHORIZATION, bearer);
        }
        Ok(request)
    }
}

/// The length of a body with these params, in bytes; about.
fn capacity(params: &[request::Param<'_>]) -> usize {
    params.iter().fold(ENVELOPE, |sum, param| sum.saturating_add(param.len()))
}

/// The verdict of a profile that doesn't follow the form.
fn malformed(error: ProfileError) -> Verdict {
    Verdict::Misconfigured { reason: error.to_string() }
}

fn bearer(token: &str) -> Option<HeaderValue> {
    let mut value = HeaderValue::try_from(format!("Bearer {token}")).ok()?;
    value.set_sensitive(true);
    Some(value)
}

impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { profile, url, token, start, constants } = self;
        let name = profile.document().map(|document| document.name.to_owned()).unwrap_or_default();
        f.debug_struct("Engine")
            .field("profile", &name)
            .field("url", url)
            .field("token", token)
            .field("start", start)
            .field("constants", constants)
            .finish()
    }
}
