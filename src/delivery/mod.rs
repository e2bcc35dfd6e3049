//! Deliveries. A delivery is one request to the engine, to start a run or to resume one. It has an identity
//! ([`DeliveryId`], [`Key`]), a retry schedule ([`Limits`]), an outcome ([`Outcome`]) and a stored form
//! ([`Delivery::to_bytes`]).

pub mod alert;
mod filter;
#[cfg(test)]
mod fixtures;
mod key;
mod orphan;
mod outcome;
mod resolve;
mod schedule;
mod stored;
mod view;
pub mod width;

use std::borrow::Cow;
use std::time::Duration;

use http::HeaderMap;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::callback::Callback;
use crate::event::Event;
use crate::reference::WorkflowRef;
use crate::time::Timestamp;

pub use crate::reference::DeliveryId;
pub use filter::Filter;
pub use key::Key;
pub use orphan::{Found, Orphan};
pub use outcome::{Outcome, Verdict};
pub use resolve::{MAX_SENDS, Step, TaskWait};
pub use schedule::{BACKOFF_CAP, BACKOFF_FIRST, Limits, RETRY_AFTER_CAP};
pub use stored::StoredError;
pub use view::{FoundRun, RunState, RunView, RunWorkflow, Wait, WaitState, WaitTask};

/// Maximum number of failed attempts in a delivery's history, which keeps the last ones.
pub const MAX_HISTORY: usize = 10;

/// A delivery and the state of its attempts.
#[derive(Clone, Debug)]
pub struct Delivery<'a> {
    /// The id. Deliveries sort by it in order of arrival.
    pub id: DeliveryId,
    /// The operation that the engine is asked for.
    pub work: Work<'a>,
    /// The idempotency key and its claim; `None` without a key.
    pub claim: Option<KeyClaim>,
    /// The sender's trace context: `traceparent` and `tracestate`.
    pub trace: HeaderMap,
    /// The time of arrival.
    pub received: Timestamp,
    /// The time from which its age counts: that of its arrival, or of its last redelivery by an operator.
    pub since: Timestamp,
    /// Number of attempts.
    pub attempts: u32,
    /// Number of attempts that reached the engine, or may have. An operator's redelivery resets it.
    pub engine_attempts: u32,
    /// The last failed attempts, oldest first.
    pub history: Vec<FailedAttempt>,
    /// The earliest time of the next attempt.
    pub next_attempt: Timestamp,
    /// The latest time at which it may have been sent, while the effect of that attempt is unknown. If it is set, the
    /// run of a start has to be looked up before the start is sent again, and the run of a callback has to be looked at.
    pub sent: Option<Timestamp>,
    /// Whether the engine itself has answered the attempt at `sent`, so that it no longer acts on it.
    pub concluded: bool,
    /// The runs of a start that were saved and not queued, and that are being cancelled or were.
    pub orphans: Vec<Orphan>,
    /// The task that a callback is for, once a look has named it.
    pub wait: Option<TaskWait>,
    /// The retention window of the claim of run and topic, which a callback has held since before its task was known.
    pub early_window: Option<u64>,
    /// Whether a callback was sent without a look, because the engine does not show its run.
    pub unseen: bool,
    /// When a look has first shown that the run doesn't wait for a callback's topic yet.
    pub early_since: Option<Timestamp>,
    /// When it joined the end of its queue again, as a dead letter that an operator had redelivered.
    pub requeued: Option<Timestamp>,
    /// How this instance holds it. Not part of the stored form.
    pub hold: Hold,
}

/// How an instance holds a delivery.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hold {
    /// Whether the store has the delivery as pending.
    pub is_stored: bool,
    /// The time, by the instance's monotonic clock, before which sending has to begin; `None` without a limit.
    pub until: Option<Duration>,
    /// Whether a pass of the drain settles it together with others.
    pub settles_later: bool,
    /// Its row in a database. Only the instance that knows the token may change the row.
    pub row: Option<Row>,
    /// The drain's lease under which it is sent, in a key-value store.
    pub lease: Option<DrainLease>,
}

/// The drain's lease in a key-value store, as a delivery knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DrainLease {
    /// The token of its holder.
    pub token: String,
    /// When it ends.
    pub until: Timestamp,
}

/// A row that an instance holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// The primary key.
    pub key: String,
    /// The token of the claim.
    pub token: String,
    /// Whether the row has said that the delivery may have been sent. The delivery says so itself since.
    pub maybe_sent: bool,
}

impl Hold {
    /// Whether sending may begin at this time of the monotonic clock.
    pub fn may_send(&self, monotonic: Duration) -> bool {
        self.until.is_none_or(|until| monotonic < until)
    }
}

/// A failed attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FailedAttempt {
    /// When it ended.
    pub at: Timestamp,
    /// Why it failed.
    pub failure: String,
}

/// The idempotency key of a delivery, and the result of claiming it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyClaim {
    /// The key.
    pub key: Key,
    /// The retention window in which it was claimed.
    pub window: u64,
    /// Whether another delivery of this key may have been sent: the claim was not won, or the delivery was a dead
    /// letter meanwhile.
    pub contended: bool,
}

/// The operation that the engine is asked for.
#[derive(Clone, Debug)]
pub enum Work<'a> {
    /// Start a run.
    Start(Start<'a>),
    /// Resume a run by resolving its tasks that wait for a topic.
    Resolve(Callback<'a>),
}

/// A run to start.
#[derive(Clone, Debug)]
pub struct Start<'a> {
    /// The workflow.
    pub workflow: WorkflowRef,
    /// The payload.
    pub payload: Payload<'a>,
    /// The trigger.
    pub trigger: Trigger,
    /// Names and values of the params that a route adds to those of the contract.
    pub params: Vec<(String, Cow<'a, RawValue>)>,
    /// The queue of an `ordered` route or source. The starts in a queue are sent one at a time, in order of arrival.
    pub queue: Option<String>,
    /// The name of the source; `None` for one without limits.
    pub source: Option<String>,
    /// The delivered start whose payload an operator has replayed with this one.
    pub replay_of: Option<DeliveryId>,
}

/// The payload of a run.
#[derive(Clone, Debug)]
pub enum Payload<'a> {
    /// A webhook's JSON: an object, or any value if `webhook_any_json` is on.
    Webhook(Cow<'a, RawValue>),
    /// A CloudEvent.
    Event {
        /// The whole event in the JSON format.
        whole: Cow<'a, RawValue>,
        /// Its `data`, or the text of its `data_base64`.
        data: Option<Cow<'a, RawValue>>,
    },
}

/// The trigger of a run, as the contract names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Trigger {
    /// A webhook, by `?ref=` or by a route.
    Webhook,
    /// A CloudEvent.
    Event,
    /// A webhook of GitHub, by a route.
    Github,
}

impl<'a> Delivery<'a> {
    /// A new delivery, due at once.
    pub fn new(id: DeliveryId, work: Work<'a>, trace: HeaderMap, now: Timestamp) -> Self {
        Self {
            id,
            work,
            claim: None,
            trace,
            received: now,
            since: now,
            attempts: 0,
            engine_attempts: 0,
            history: Vec::new(),
            next_attempt: now,
            sent: None,
            concluded: false,
            orphans: Vec::new(),
            wait: None,
            early_window: None,
            unseen: false,
            early_since: None,
            requeued: None,
            hold: Hold::default(),
        }
    }

    /// The delivery without the payload and the params of its start, of which copies may be large.
    #[must_use]
    pub fn without_payload(mut self) -> Self {
        if let Work::Start(start) = &mut self.work {
            start.payload = Payload::Webhook(Cow::Borrowed(RawValue::NULL));
            start.params = Vec::new();
        }
        self
    }

    /// Copies the borrowed parts.
    pub fn into_owned(self) -> Delivery<'static> {
        let work = match self.work {
            Work::Start(Start { workflow, payload, trigger, params, queue, source, replay_of }) => {
                let payload = match payload {
                    Payload::Webhook(whole) => Payload::Webhook(owned(whole)),
                    Payload::Event { whole, data } => Payload::Event { whole: owned(whole), data: data.map(owned) },
                };
                let params = params.into_iter().map(|(name, value)| (name, owned(value))).collect();
                Work::Start(Start { workflow, payload, trigger, params, queue, source, replay_of })
            }
            Work::Resolve(Callback { run, topic, status, payload }) => {
                Work::Resolve(Callback { run, topic, status, payload: payload.map(owned) })
            }
        };
        Delivery { work, ..self }
    }

    /// The value of the label by which its run is looked up at the engine: the hash of its key, which all deliveries of
    /// one key share, or its id if it has no key.
    pub fn label(&self) -> String {
        self.claim.as_ref().map_or_else(|| self.id.to_string(), |claim| claim.key.hash().to_owned())
    }

    /// Since when it has its place in its queue: since its arrival, or since it joined the end again.
    pub fn queued_since(&self) -> Timestamp {
        self.requeued.unwrap_or(self.received)
    }

    /// Whether this delivery, or another one of its key, may have been sent with an unknown effect.
    pub fn is_ambiguous(&self) -> bool {
        self.sent.is_some() || !self.orphans.is_empty() || self.claim.as_ref().is_some_and(|claim| claim.contended)
    }

    /// Whether an operator still has to decide about a start whose effect is unknown: it was not redelivered by an
    /// operator, or may have been sent since.
    pub fn is_undecided(&self) -> bool {
        self.since == self.received || self.sent.is_some_and(|sent| sent >= self.since)
    }

    /// Why it is still pending: why the last attempt failed, or that a callback's run doesn't wait for it yet.
    pub fn last_failure(&self) -> Option<&str> {
        if self.is_early() {
            return Some("the run doesn't wait for the topic yet");
        }
        self.history.last().map(|attempt| attempt.failure.as_str())
    }
}

impl Work<'_> {
    /// The name of the operation in the log and the API: `start` or `resolve`.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Start(_) => "start",
            Self::Resolve(_) => "resolve",
        }
    }

    /// Why a delivery becomes a dead letter if the first one of its key has another content.
    pub fn superseded_reason(&self) -> &'static str {
        match self {
            Self::Resolve(_) => "another callback for this run and topic was accepted first",
            Self::Start(_) => "the idempotency key was used with another payload first",
        }
    }

    /// The queue of a start on an `ordered` route.
    pub fn queue(&self) -> Option<&str> {
        match self {
            Self::Start(start) => start.queue.as_deref(),
            Self::Resolve(_) => None,
        }
    }

    /// The name of a start's source.
    pub fn source(&self) -> Option<&str> {
        match self {
            Self::Start(start) => start.source.as_deref(),
            Self::Resolve(_) => None,
        }
    }

    /// The topic of a callback.
    pub fn topic(&self) -> Option<&str> {
        match self {
            Self::Start(_) => None,
            Self::Resolve(callback) => Some(callback.topic.as_str()),
        }
    }

    /// The reference of the workflow or run.
    pub fn reference(&self) -> &str {
        match self {
            Self::Start(start) => start.workflow.as_str(),
            Self::Resolve(callback) => callback.run.as_str(),
        }
    }
}

impl<'a> Start<'a> {
    /// A start without the params of a route.
    pub fn new(workflow: WorkflowRef, payload: Payload<'a>) -> Self {
        Self {
            workflow,
            trigger: payload.trigger(),
            payload,
            params: Vec::new(),
            queue: None,
            source: None,
            replay_of: None,
        }
    }
}

impl Payload<'_> {
    /// The trigger, unless a route names another.
    fn trigger(&self) -> Trigger {
        match self {
            Self::Webhook(_) => Trigger::Webhook,
            Self::Event { .. } => Trigger::Event,
        }
    }
}

impl<'a> From<Event<'a>> for Payload<'a> {
    fn from(event: Event<'a>) -> Self {
        Self::Event { whole: event.json, data: event.data }
    }
}

fn owned(raw: Cow<'_, RawValue>) -> Cow<'static, RawValue> {
    Cow::Owned(raw.into_owned())
}
