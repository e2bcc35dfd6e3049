//! A delivery: one thing to be brought to the engine, a start or a resolve; its states ([`Next`]), its key ([`Key`]),
//! its stored form ([`Delivery::to_bytes`]).

mod done;
mod key;
mod schedule;
mod stored;

use std::borrow::Cow;

use http::HeaderMap;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::callback::Callback;
use crate::event::Event;
use crate::reference::WorkflowRef;
use crate::time::Timestamp;

pub use crate::reference::DeliveryId;
pub use done::{Done, MAX_BODY};
pub use key::{Key, Register};
pub use schedule::{BACKOFF_CAP, BACKOFF_FIRST, Limits, Next, RETRY_AFTER_CAP, Setback};
pub use stored::StoredError;

/// How many attempts a delivery remembers, the last ones.
pub const HISTORY: usize = 10;

/// A delivery, and how far it has come.
#[derive(Clone, Debug)]
pub struct Delivery<'a> {
    /// Its id.
    pub id: DeliveryId,
    /// What is to be done.
    pub work: Work<'a>,
    /// Its key, where it has one.
    pub key: Option<Claimed>,
    /// The trace that its request was a part of: `traceparent`, `tracestate`.
    pub trace: HeaderMap,
    /// When it came.
    pub received: Timestamp,
    /// From when its age counts: from when it came, or from when an operator sent it again.
    pub since: Timestamp,
    /// How often it was tried.
    pub attempts: u32,
    /// How many of these the engine heard, or may have heard: an engine that is down uses up no attempt.
    pub heard: u32,
    /// The last attempts that failed, oldest first.
    pub history: Vec<Attempt>,
    /// Not before.
    pub next_attempt: Timestamp,
    /// When it was sent at the latest, as long as what came of it isn't known: before it is sent again, the engine has to
    /// be asked.
    pub sent: Option<Timestamp>,
}

/// An attempt that failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// When it was over.
    pub at: Timestamp,
    /// Why it failed.
    pub failure: String,
}

/// The key of a delivery, and what it is to that key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claimed {
    /// The key.
    pub key: Key,
    /// The window in which it was claimed.
    pub window: u64,
    /// It lost the claim, or nobody won it: others of this key may have been sent.
    pub copy: bool,
}

/// What is to be done.
#[derive(Clone, Debug)]
pub enum Work<'a> {
    /// Start a run.
    Start(Start<'a>),
    /// Resolve the waits of a run.
    Resolve(Callback<'a>),
}

/// A run to start.
#[derive(Clone, Debug)]
pub struct Start<'a> {
    /// Of which workflow.
    pub workflow: WorkflowRef,
    /// With what.
    pub payload: Payload<'a>,
    /// What made it start.
    pub trigger: Trigger,
    /// The params that a route adds to the contract's: names and values.
    pub params: Vec<(String, Cow<'a, RawValue>)>,
}

/// What starts a run.
#[derive(Clone, Debug)]
pub enum Payload<'a> {
    /// A webhook's JSON object.
    Webhook(Cow<'a, RawValue>),
    /// A CloudEvent.
    Event {
        /// The whole of it in the JSON format.
        whole: Cow<'a, RawValue>,
        /// Its `data`, or the text of its `data_base64`.
        data: Option<Cow<'a, RawValue>>,
    },
}

/// What made the run start, in the engine's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Trigger {
    /// A webhook by `?ref=`, or by a route.
    Webhook,
    /// A CloudEvent.
    Event,
    /// A webhook of GitHub's by a route.
    Github,
}

impl<'a> Delivery<'a> {
    /// A delivery that came just now and is due at once.
    pub fn new(id: DeliveryId, work: Work<'a>, trace: HeaderMap, now: Timestamp) -> Self {
        Self {
            id,
            work,
            key: None,
            trace,
            received: now,
            since: now,
            attempts: 0,
            heard: 0,
            history: Vec::new(),
            next_attempt: now,
            sent: None,
        }
    }

    /// The same with a life of its own.
    pub fn into_owned(self) -> Delivery<'static> {
        let work = match self.work {
            Work::Start(Start { workflow, payload, trigger, params }) => {
                let payload = match payload {
                    Payload::Webhook(whole) => Payload::Webhook(owned(whole)),
                    Payload::Event { whole, data } => Payload::Event { whole: owned(whole), data: data.map(owned) },
                };
                let params = params.into_iter().map(|(name, value)| (name, owned(value))).collect();
                Work::Start(Start { workflow, payload, trigger, params })
            }
            Work::Resolve(Callback { run, topic, status, payload }) => {
                Work::Resolve(Callback { run, topic, status, payload: payload.map(owned) })
            }
        };
        Delivery { work, ..self }
    }

    /// The value of the label by which the engine finds its run again: the key's hash, so that every copy of a keyed
    /// delivery carries the same, else its id.
    pub fn mark(&self) -> String {
        self.key.as_ref().map_or_else(|| self.id.to_string(), |claimed| claimed.key.hash().to_owned())
    }

    /// Was it sent, or may another of its key have been, without anyone knowing what came of it?
    pub fn is_ambiguous(&self) -> bool {
        self.sent.is_some() || self.key.as_ref().is_some_and(|claimed| claimed.copy)
    }

    /// Why the last attempt failed.
    pub fn last_failure(&self) -> Option<&str> {
        self.history.last().map(|attempt| attempt.failure.as_str())
    }
}

impl Work<'_> {
    /// `start` or `resolve`.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Start(_) => "start",
            Self::Resolve(_) => "resolve",
        }
    }

    /// The workflow or the run: deliveries for the same are sent one after the other.
    pub fn reference(&self) -> &str {
        match self {
            Self::Start(start) => start.workflow.as_str(),
            Self::Resolve(callback) => callback.run.as_str(),
        }
    }
}

impl<'a> Start<'a> {
    /// A start that no route asked for.
    pub fn new(workflow: WorkflowRef, payload: Payload<'a>) -> Self {
        Self { workflow, trigger: payload.trigger(), payload, params: Vec::new() }
    }
}

impl Payload<'_> {
    /// What made the run start, where no route says more.
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
