//! The engine's requests and answers. What differs between engines is a profile, a file each; so far there is
//! [`boomerang`].

pub mod boomerang;
mod url;

use std::time::Duration;

use http::StatusCode;
use serde::Serialize;
use serde_json::value::RawValue;

use crate::reference::WorkflowRef;

pub use url::{EngineUrl, EngineUrlError};

/// Most bytes of an answer that are read. A WorkflowRun carries its params, so it is larger than what started it: a
/// structured event is sent as `event`, as `data`, and as the members of `data`.
pub const MAX_ANSWER_BYTES: usize = 8 * 1024 * 1024;

/// What made the run start, in the engine's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Trigger {
    /// A webhook by `?ref=`.
    Webhook,
    /// A CloudEvent.
    Event,
}

/// The name of a param: ours, or a member's, in its own spelling.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(untagged)]
pub enum ParamName<'a> {
    /// One that the contract fixes.
    Fixed(&'static str),
    /// A JSON string token.
    Member(&'a RawValue),
}

/// A param of a run.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Param<'a> {
    /// Its name.
    pub name: ParamName<'a>,
    /// Its value, as it was sent.
    pub value: &'a RawValue,
}

/// A run to start.
#[derive(Clone, Debug)]
pub struct Start<'a> {
    /// Of which workflow.
    pub workflow: WorkflowRef,
    /// Why.
    pub trigger: Trigger,
    /// With what.
    pub params: Vec<Param<'a>>,
}

/// What an answer of the engine means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It has acted; the body goes to the sender.
    Accepted {
        /// A WorkflowRun, or nothing for a resolve.
        body: Vec<u8>,
    },
    /// It never will: the request is at fault, not the engine.
    Refused {
        /// The engine's status, which the sender gets too.
        status: StatusCode,
        /// The engine's own code for the reason, such as `WORKFLOW_INVALID_REFERENCE`.
        reason: Option<String>,
    },
    /// Not now, and it has not acted.
    Later {
        /// The engine's status.
        status: StatusCode,
        /// Its `Retry-After`.
        retry_after: Option<Duration>,
    },
    /// It may have acted or not.
    Unclear {
        /// The engine's status.
        status: StatusCode,
        /// Its `Retry-After`.
        retry_after: Option<Duration>,
    },
    /// It wants something else of us: its address, token or path is set wrong here.
    Misconfigured {
        /// The engine's status.
        status: StatusCode,
    },
}
