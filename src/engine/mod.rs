//! Engine profiles: the requests to an engine, and the meaning of its responses.
//!
//! A [`Profile`] is everything that differs between engines. Each has a module of its own, and no other layer names an
//! engine. [`Engine`] is the configured engine: a profile, a URL and a token. To add an engine, implement `Profile` and
//! list it in [`profile`].

mod boomerang;
mod response;
mod url;

use std::fmt;

use http::header::{AUTHORIZATION, HeaderValue};
use http::{HeaderMap, Request, Response};

use crate::delivery::{Delivery, Verdict, Work};
use crate::secret::Secret;
use crate::time::Timestamp;

pub use url::{EngineUrl, EngineUrlError};

/// The largest response of an engine that is read, in bytes. A run contains its params, so it is larger than the
/// sender's request: a structured event is sent as `event`, as `data`, and as the members of `data`.
pub const MAX_RESPONSE_BYTES: usize = 8 * 1024 * 1024;

/// The name of the profile that is used.
pub const DEFAULT_PROFILE: &str = "boomerang";

/// One engine's API.
///
/// # Contract
///
/// - [`Verdict::Accepted`] needs a proof in the body. If a proxy's login page were accepted, the delivery would be
///   lost.
/// - [`Verdict::Retry`] and [`Verdict::Rejected`] promise that the engine has not acted. If it may have, the verdict
///   has to be [`Verdict::Unclear`]; otherwise a run can start twice.
/// - [`read_found`](Self::read_found) returns a run only if it has the label; `Ok(None)` promises that there is none.
pub trait Profile: Sync {
    /// Returns the profile's name, by which it is configured.
    fn name(&self) -> &'static str;
    /// Builds the request for a delivery, without token and trace context.
    fn request(&self, engine: &Engine, delivery: &Delivery<'_>) -> Result<Request<Vec<u8>>, RequestError>;
    /// Reads the response to the request of a delivery.
    fn read(&self, operation: Operation, response: Response<Vec<u8>>, now: Timestamp) -> Verdict;
    /// Builds the request that looks up the run with a label ([`Delivery::label`]).
    fn find(&self, engine: &Engine, label: &str) -> Result<Request<Vec<u8>>, RequestError>;
    /// Reads the response to a lookup: the run, `None` if there is none, or a verdict if that isn't known.
    fn read_found(&self, label: &str, response: Response<Vec<u8>>, now: Timestamp) -> Result<Option<Vec<u8>>, Verdict>;
    /// Returns the id of the run in a response body.
    fn run_id(&self, body: &[u8]) -> Option<String>;
}

/// Returns the profile of this name.
pub fn profile(name: &str) -> Option<&'static dyn Profile> {
    const PROFILES: [&dyn Profile; 1] = [&boomerang::Boomerang];
    PROFILES.into_iter().find(|profile| profile.name() == name)
}

/// An operation of an engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Start a run.
    Start,
    /// Resume a run by resolving its tasks that wait for a topic.
    Resolve,
}

impl Operation {
    /// Returns the operation of a delivery.
    pub fn of(work: &Work<'_>) -> Self {
        match work {
            Work::Start(_) => Self::Start,
            Work::Resolve(_) => Self::Resolve,
        }
    }
}

/// The error of building a request. All parts were validated before, so it is never the sender's fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the request to the engine can't be built")]
pub struct RequestError;

/// The configured engine.
#[derive(Clone)]
pub struct Engine {
    /// The profile of its API.
    pub profile: &'static dyn Profile,
    /// The base URL of its API.
    pub url: EngineUrl,
    /// The token of `Authorization: Bearer` in each request.
    pub token: Option<Secret>,
    /// Whether the engine starts a submitted run at once.
    pub start: bool,
}

impl Engine {
    /// Builds the request for a delivery, with token and trace context.
    pub fn request(&self, delivery: &Delivery<'_>) -> Result<Request<Vec<u8>>, RequestError> {
        self.profile.request(self, delivery).map(|request| self.with_headers(request, &delivery.trace))
    }

    /// Builds the request that looks up a delivery's run.
    pub fn find(&self, delivery: &Delivery<'_>) -> Result<Request<Vec<u8>>, RequestError> {
        self.profile.find(self, &delivery.label()).map(|request| self.with_headers(request, &delivery.trace))
    }

    pub fn read(&self, operation: Operation, response: Response<Vec<u8>>, now: Timestamp) -> Verdict { self.profile.read(operation, response, now) }
    pub fn read_found(&self, d: &Delivery<'_>, r: Response<Vec<u8>>, now: Timestamp) -> Result<Vec<crate::delivery::FoundRun>, Verdict> {
        use crate::delivery::*;
        let body: serde_json::Value = serde_json::from_slice(r.body()).unwrap_or_default();
        let raw = self.profile.read_found(&d.label(), r, now)?;
        let Some(_) = raw else { return Ok(vec![]) };
        Ok(body["content"].as_array().unwrap().iter().filter(|r| r["trigger"] != "task").map(|r| FoundRun { id: r["id"].as_str().unwrap().into(), state: state(r["status"].as_str().unwrap_or("ready")), body: serde_json::to_vec(r).unwrap() }).collect())
    }
    pub fn look(&self, run: &str, _scope: Option<&str>, t: &HeaderMap) -> Result<Request<Vec<u8>>, RequestError> {
        let uri = self.url.join(&format!("/api/v1/workflowrun/{}?withTasks=true", percent_encoding::utf8_percent_encode(run, percent_encoding::NON_ALPHANUMERIC))).ok_or(RequestError)?;
        Ok(self.with_headers(Request::get(uri).body(vec![]).map_err(|_| RequestError)?, t))
    }
    pub fn read_look(&self, r: Response<Vec<u8>>, now: Timestamp) -> Result<crate::delivery::RunView, Verdict> {
        use crate::delivery::*;
        let body: serde_json::Value = serde_json::from_slice(r.body()).unwrap_or_default();
        match self.profile.read(Operation::Resolve, r, now) {
            Verdict::Accepted { .. } if body.is_object() => {}
            Verdict::Accepted { .. } => return Err(Verdict::Unclear { reason: "the engine answered 200, but not with a run".into(), after: None, concluded: true }),
            other => return Err(other),
        }
        let tasks = body["tasks"].as_array().cloned().unwrap_or_default();
        let waits = tasks.iter().filter(|t| t["type"] == "eventwait").map(|t| WaitTask {
            id: t["id"].as_str().unwrap().into(),
            topic: t["params"].as_array().unwrap().iter().find(|p| p["name"] == "topic").and_then(|p| p["value"].as_str()).filter(|t| !t.contains("$(")).map(Into::into),
            state: match t["status"].as_str().unwrap() { "waiting" => WaitState::Waiting, "succeeded" => WaitState::Ended(Some(crate::callback::Status::Succeeded)), "failed" => WaitState::Ended(Some(crate::callback::Status::Failed)), "skipped" | "cancelled" | "timedout" | "invalid" => WaitState::Ended(None), _ => WaitState::Ahead },
        }).collect();
        Ok(RunView { state: state(body["status"].as_str().unwrap_or("ready")), has_tasks: !tasks.is_empty(), waits })
    }
    pub fn cancel(&self, run: &str, _scope: Option<&str>, t: &HeaderMap) -> Result<Request<Vec<u8>>, RequestError> {
        let uri = self.url.join(&format!("/api/v1/workflowrun/{run}/cancel")).ok_or(RequestError)?;
        Ok(self.with_headers(Request::delete(uri).body(vec![]).map_err(|_| RequestError)?, t))
    }
    pub fn scopes(&self) -> Vec<String> { vec![] }
    pub fn scope_of(&self, _w: &crate::reference::WorkflowRef) -> Option<String> { None }

    /// Adds the sender's trace context and the engine's token.
    fn with_headers(&self, mut request: Request<Vec<u8>>, trace: &HeaderMap) -> Request<Vec<u8>> {
        request.headers_mut().extend(trace.clone());
        if let Some(bearer) = self.token.as_ref().and_then(|token| bearer(token.expose())) {
            request.headers_mut().insert(AUTHORIZATION, bearer);
        }
        request
    }
}

fn bearer(token: &str) -> Option<HeaderValue> {
    let mut value = HeaderValue::try_from(format!("Bearer {token}")).ok()?;
    value.set_sensitive(true);
    Some(value)
}

impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { profile, url, token, start } = self;
        f.debug_struct("Engine")
            .field("profile", &profile.name())
            .field("url", url)
            .field("token", token)
            .field("start", start)
            .finish()
    }
}

fn state(s: &str) -> crate::delivery::RunState {
    use crate::delivery::RunState::*;
    match s { "notstarted" => NotStarted, "ready" | "queued" | "running" | "waiting" => Active, "cancelled" => Cancelled, "invalid" => Invalid, _ => Ended }
}
