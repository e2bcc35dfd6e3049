//! Why the engine has not accepted a delivery.

use std::fmt;
use std::time::Duration;

use http::StatusCode;

use crate::callback::Status;
use crate::delivery::Setback;
use crate::engine::Verdict;
use crate::ports::{SendError, StoreError};
use crate::time::Timestamp;

/// Why a delivery is not accepted. Carries no payload, and no words of the engine but its own codes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The store failed, so nothing was sent, or nothing can be promised.
    Store(StoreError),
    /// Another callback for this run and topic was accepted first.
    Conflict {
        /// How that one ends the wait.
        status: Status,
        /// When it came.
        received: Timestamp,
    },
    /// The idempotency key was used with another payload.
    KeyReused {
        /// When that was.
        at: Timestamp,
    },
    /// The engine never will: same status to the sender.
    Rejected {
        /// The engine's status.
        status: StatusCode,
        /// The engine's code for the reason.
        reason: Option<String>,
    },
    /// The engine doesn't know the run, so far.
    UnknownRun {
        /// The engine's status.
        status: StatusCode,
        /// The engine's code for the reason.
        reason: Option<String>,
    },
    /// The engine has not seen it.
    Unreachable {
        /// Where the attempt ended.
        reason: String,
    },
    /// The engine says later: it has not acted.
    Later {
        /// Where the attempt ended.
        reason: String,
        /// When the engine wants the next.
        retry_after: Option<Duration>,
    },
    /// The engine may have acted.
    Unclear {
        /// Where the attempt ended.
        reason: String,
        /// When the engine wants the next.
        retry_after: Option<Duration>,
    },
    /// Our configuration is at fault, not the sender.
    Misconfigured {
        /// What to look at.
        reason: String,
    },
}

impl Failure {
    /// What is set wrong here, if that is why.
    pub(super) fn fault(&self) -> Option<&str> {
        match self {
            Self::Misconfigured { reason } => Some(reason),
            _ => None,
        }
    }

    /// What it means for the life of the delivery.
    pub(super) fn setback(&self) -> Setback {
        match self {
            Self::Rejected { .. } | Self::Conflict { .. } | Self::KeyReused { .. } => Setback::Refused,
            Self::UnknownRun { .. } => Setback::UnknownRun,
            Self::Unreachable { .. } | Self::Store(_) => Setback::Unreachable,
            Self::Later { retry_after, .. } => Setback::Later(*retry_after),
            Self::Unclear { retry_after, .. } => Setback::Unclear(*retry_after),
            Self::Misconfigured { .. } => Setback::Misconfigured,
        }
    }
}

impl From<SendError> for Failure {
    fn from(error: SendError) -> Self {
        let reason = error.to_string();
        match error {
            SendError::NotSent(_) => Self::Unreachable { reason },
            SendError::NoAnswer(_) => Self::Unclear { reason, retry_after: None },
            SendError::Denied(_) => Self::Misconfigured { reason },
        }
    }
}

impl Failure {
    /// The body that goes to the sender, or why there is none.
    pub(super) fn or_body(verdict: Verdict) -> Result<Vec<u8>, Self> {
        let answered = |status: StatusCode| format!("the engine answered {}", status.as_u16());
        Err(match verdict {
            Verdict::Accepted { body } => return Ok(body),
            Verdict::Refused { status, reason } => Self::Rejected { status, reason },
            Verdict::UnknownRun { status, reason } => Self::UnknownRun { status, reason },
            Verdict::Later { status, retry_after } => Self::Later { reason: answered(status), retry_after },
            Verdict::Unclear { status, retry_after } if status.is_success() => {
                let reason = format!("{}, but not as the engine does", answered(status));
                Self::Unclear { reason, retry_after }
            }
            Verdict::Unclear { status, retry_after } => Self::Unclear { reason: answered(status), retry_after },
            Verdict::Misconfigured { status } => Self::Misconfigured { reason: answered(status) },
        })
    }
}

/// As a delivery's history has it.
impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Store(error) => error.fmt(f),
            Self::Conflict { received, .. } => {
                write!(f, "another callback for this run and topic was accepted first, at {}", received.rfc3339())
            }
            Self::KeyReused { at } => {
                write!(f, "the idempotency key was used with another payload at {}", at.rfc3339())
            }
            Self::Rejected { status, reason } | Self::UnknownRun { status, reason } => {
                write!(f, "the engine answered {}", status.as_u16())?;
                reason.as_ref().map_or(Ok(()), |reason| write!(f, ", {reason}"))
            }
            Self::Unreachable { reason }
            | Self::Later { reason, .. }
            | Self::Unclear { reason, .. }
            | Self::Misconfigured { reason } => f.write_str(reason),
        }
    }
}
