//! Engines: the requests that an engine is sent, and what its responses mean.
//!
//! A [`Profile`] is everything that differs between engines, a module each; no other layer names an engine. [`Engine`] is
//! the one that is configured. To add an engine, implement `Profile` and list it in [`profile`].

mod answer;
mod boomerang;
mod url;

use std::fmt;

use http::header::{AUTHORIZATION, HeaderValue};
use http::{HeaderMap, Request, Response};

use crate::delivery::{Delivery, Verdict, Work};
use crate::secret::Secret;
use crate::time::Timestamp;

pub use url::{EngineUrl, EngineUrlError};

/// The largest response of an engine that is read, in bytes. A run contains its params, so it is larger than the request:
/// a structured event is sent as `event`, as `data`, and as the members of `data`.
pub const MAX_ANSWER_BYTES: usize = 8 * 1024 * 1024;

/// The name of the profile that is used.
pub const DEFAULT_PROFILE: &str = "boomerang";

/// One engine's API.
///
/// # Contract
///
/// - A verdict of [`Verdict::Accepted`] needs a proof in the body. If a proxy's login page passes for one, an event is
///   lost.
/// - [`Verdict::Retry`] and [`Verdict::Rejected`] promise that the engine has not acted. If it may have, the verdict is
///   [`Verdict::Unclear`], or a run is started twice.
/// - [`read_found`](Self::read_found) returns a run only if it carries the label; `Ok(None)` promises that there is none.
pub trait Profile: Sync {
    /// The profile's name.
    fn name(&self) -> &'static str;
    /// Builds the request for a delivery, without credentials and trace.
    fn request(&self, engine: &Engine, delivery: &Delivery<'_>) -> Result<Request<Vec<u8>>, RequestError>;
    /// Reads the response to that request.
    fn read(&self, operation: Operation, response: Response<Vec<u8>>, now: Timestamp) -> Verdict;
    /// Builds the look-up of the run with a label ([`Delivery::label`]).
    fn find(&self, engine: &Engine, label: &str) -> Result<Request<Vec<u8>>, RequestError>;
    /// Reads the response to that look-up: the run, `None` if there is none, or why it isn't known.
    fn read_found(&self, label: &str, response: Response<Vec<u8>>, now: Timestamp) -> Result<Option<Vec<u8>>, Verdict>;
    /// The id of the run in a response.
    fn run_id(&self, body: &[u8]) -> Option<String>;
}

/// The profile of this name.
pub fn profile(name: &str) -> Option<&'static dyn Profile> {
    const PROFILES: [&dyn Profile; 1] = [&boomerang::Boomerang];
    PROFILES.into_iter().find(|profile| profile.name() == name)
}

/// An operation of an engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Start a run.
    Start,
    /// Resume a run.
    Resume,
}

impl Operation {
    /// The operation of a delivery.
    pub fn of(work: &Work<'_>) -> Self {
        match work {
            Work::Start(_) => Self::Start,
            Work::Resolve(_) => Self::Resume,
        }
    }
}

/// A request can't be built. Its parts are checked before, so this is never the sender's fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the request to the engine can't be built")]
pub struct RequestError;

/// The engine that is configured.
#[derive(Clone)]
pub struct Engine {
    /// Its profile.
    pub profile: &'static dyn Profile,
    /// Its base URL.
    pub url: EngineUrl,
    /// The token that it is sent.
    pub token: Option<Secret>,
    /// Whether it starts a submitted run at once.
    pub start: bool,
}

impl Engine {
    /// The request for a delivery.
    pub fn request(&self, delivery: &Delivery<'_>) -> Result<Request<Vec<u8>>, RequestError> {
        self.profile.request(self, delivery).map(|request| self.with_headers(request, &delivery.trace))
    }

    /// The look-up of a delivery's run.
    pub fn find(&self, delivery: &Delivery<'_>) -> Result<Request<Vec<u8>>, RequestError> {
        self.profile.find(self, &delivery.label()).map(|request| self.with_headers(request, &delivery.trace))
    }

    /// Adds the sender's trace and the engine's token.
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
