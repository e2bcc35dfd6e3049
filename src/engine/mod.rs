//! The engine's requests and answers. What differs between engines is a profile, a file each; so far there is
//! [`boomerang`].

pub mod boomerang;
mod url;

use std::time::Duration;

use http::StatusCode;

pub use url::{EngineUrl, EngineUrlError};

/// Most bytes of an answer that are read. A WorkflowRun carries its params, so it is larger than what started it: a
/// structured event is sent as `event`, as `data`, and as the members of `data`.
pub const MAX_ANSWER_BYTES: usize = 8 * 1024 * 1024;

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
    /// It doesn't know the run.
    UnknownRun {
        /// The engine's status, which the sender gets too.
        status: StatusCode,
        /// The engine's own code for the reason.
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

/// What the engine says when it is asked for the run of a delivery.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Finding {
    /// It has this WorkflowRun.
    Run(Vec<u8>),
    /// It has none.
    None,
    /// It said neither.
    Failed(Verdict),
}
