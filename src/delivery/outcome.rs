//! The result of an attempt, in two steps: the [`Verdict`] of the engine, and the [`Outcome`] for the delivery.
//!
//! ```text
//! ports::SendError ──┐
//!                    ├──▶ Verdict ──(retry schedule)──▶ Outcome
//! engine's response ─┘
//! ```

use std::fmt;
use std::time::Duration;

use http::StatusCode;

use crate::callback::Status;
use crate::time::Timestamp;

/// The meaning of the engine's response to an attempt, or of the error instead of one.
///
/// Contains no text of the engine except its error codes, and the body of an accepted attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The engine has acted.
    Accepted {
        /// The response for the sender: the run that was started; empty for a callback.
        body: Vec<u8>,
    },
    /// The engine has acted on an earlier copy of this request.
    Existing {
        /// The response for the sender, if the engine tells what it did then.
        body: Option<Vec<u8>>,
    },
    /// The run doesn't wait for the topic yet. Not a failure: the callback is kept until the run does.
    NotWaiting,
    /// The task that waited for the topic has ended, or the run has.
    AlreadyResolved {
        /// The status of the event that ended the task; `None` if it ended otherwise, or the run has ended without it.
        status: Option<Status>,
    },
    /// No task of the run waits for the topic, now or later.
    UnknownTopic,
    /// The engine will never act on this request: the request is at fault, not the engine.
    Rejected {
        /// The engine's status, which the sender gets too.
        status: StatusCode,
        /// The engine's error code, such as `WORKFLOW_INVALID_REFERENCE`.
        code: Option<String>,
    },
    /// The engine doesn't know the run; it may not have been created yet.
    UnknownRun {
        /// The engine's status, which the sender gets too.
        status: StatusCode,
        /// The engine's error code.
        code: Option<String>,
    },
    /// The engine has not seen the request.
    Unreachable {
        /// Why the attempt failed, for the history and the log.
        reason: String,
    },
    /// The engine has not acted, but a later attempt may succeed.
    Retry {
        /// Why the attempt failed, for the history and the log.
        reason: String,
        /// The engine's `Retry-After`.
        after: Option<Duration>,
    },
    /// The engine may have acted.
    Unclear {
        /// Why the attempt failed, for the history and the log.
        reason: String,
        /// The engine's `Retry-After`.
        after: Option<Duration>,
        /// Whether the engine itself answered, so that it no longer acts on this request. Without an answer, or with
        /// that of a proxy, it may still be at work.
        concluded: bool,
    },
    /// The engine or the host refuses Sluice itself: the engine's address, path or token is configured wrongly.
    Misconfigured {
        /// Why the attempt failed, for the history and the log.
        reason: String,
    },
}

impl Verdict {
    /// The configuration fault that an operator has to fix before the engine accepts anything; `None` if the
    /// configuration isn't the cause.
    pub fn fault(&self) -> Option<&str> {
        match self {
            Self::Misconfigured { reason } => Some(reason),
            _ => None,
        }
    }
}

/// The text of a failed attempt, as in a delivery's history and in the log.
impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Accepted { .. } => f.write_str("the engine accepted it"),
            Self::Existing { .. } => f.write_str("the engine has accepted it before"),
            Self::NotWaiting => f.write_str("the run doesn't wait for the topic yet"),
            Self::AlreadyResolved { status: Some(status) } => {
                write!(f, "the task that waited for the topic has ended, with status {}", status.as_str())
            }
            Self::AlreadyResolved { status: None } => f.write_str("the run no longer waits for the topic"),
            Self::UnknownTopic => f.write_str("no task of the run waits for the topic"),
            Self::Rejected { status, code } | Self::UnknownRun { status, code } => {
                write!(f, "the engine answered {}", status.as_u16())?;
                code.as_ref().map_or(Ok(()), |code| write!(f, ", {code}"))
            }
            Self::Unreachable { reason }
            | Self::Retry { reason, .. }
            | Self::Unclear { reason, .. }
            | Self::Misconfigured { reason } => f.write_str(reason),
        }
    }
}

/// The state of a delivery, after an attempt or without one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The engine has accepted it.
    Delivered {
        /// The engine's response for the sender.
        body: Vec<u8>,
    },
    /// An earlier delivery of the same key was accepted.
    Duplicate {
        /// The engine's response to the earlier delivery; `None` while that is pending.
        body: Option<Vec<u8>>,
    },
    /// It is stored and will be attempted.
    Pending {
        /// Why the last attempt failed; `None` if there was none yet.
        last: Option<Verdict>,
    },
    /// The engine will never act on it.
    Rejected {
        /// [`Verdict::Rejected`], or [`Verdict::UnknownRun`] after
        /// [`Limits::callback_early`](super::Limits::callback_early).
        verdict: Verdict,
    },
    /// It was attempted for too long or too often, and is kept for an operator.
    Dead {
        /// Why the last attempt failed; `None` if it expired without another attempt.
        last: Option<Verdict>,
    },
    /// Another callback for this run and topic was accepted first.
    Conflict {
        /// The status of that callback.
        status: Status,
        /// When it was received.
        received: Timestamp,
    },
    /// Its idempotency key was used with another payload.
    KeyReused {
        /// When the outcome of the earlier delivery was recorded.
        at: Timestamp,
    },
    /// The record of its key can't be decoded, so whether the key is settled is unknown. The delivery stays pending.
    Unreadable,
    /// Another instance has taken it over, because this one was suspended for too long. Nothing was changed.
    TakenOver,
    /// An operator has deleted it.
    Deleted,
    /// The time for its request was over before its turn came: it was neither sent nor stored.
    NotTaken,
    /// It could not be stored, and nothing is promised to the sender.
    NotStored {
        /// [`Verdict::Unclear`] if the engine may have acted.
        verdict: Option<Verdict>,
    },
}

impl Outcome {
    /// Whether the delivery is accepted: the engine or the store has it, or an earlier delivery of its key.
    pub fn is_accepted(&self) -> bool {
        matches!(self, Self::Delivered { .. } | Self::Duplicate { .. } | Self::Pending { .. })
    }

    /// Whether a stored delivery with this outcome is a dead letter.
    pub fn is_death(&self) -> bool {
        matches!(self, Self::Rejected { .. } | Self::Dead { .. } | Self::Conflict { .. } | Self::KeyReused { .. })
    }

    /// The verdict of the last attempt, if it failed.
    pub fn failure(&self) -> Option<&Verdict> {
        match self {
            Self::Pending { last } | Self::Dead { last } | Self::NotStored { verdict: last } => last.as_ref(),
            Self::Rejected { verdict } => Some(verdict),
            Self::Delivered { .. }
            | Self::Duplicate { .. }
            | Self::Conflict { .. }
            | Self::KeyReused { .. }
            | Self::Unreadable
            | Self::TakenOver
            | Self::Deleted
            | Self::NotTaken => None,
        }
    }

    /// The outcome's name in the log and in the header `sluice-outcome`.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Delivered { .. } => "delivered",
            Self::Duplicate { .. } => "duplicate",
            Self::Pending { .. } | Self::Unreadable | Self::TakenOver => "pending",
            Self::Rejected { .. }
            | Self::Conflict { .. }
            | Self::KeyReused { .. }
            | Self::NotTaken
            | Self::NotStored { .. } => "rejected",
            Self::Dead { .. } => "dead",
            Self::Deleted => "deleted",
        }
    }
}
