//! The stored form of a delivery: JSON that describes itself. The payload is in it once and to the byte; what the engine
//! gets is made of it again.

use std::borrow::Cow;

use http::{HeaderMap, HeaderValue};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::{Attempt, Claimed, Delivery, DeliveryId, Key, Payload, Start, Trigger, Work};
use crate::callback::{Callback, Status};
use crate::event;
use crate::json;
use crate::reference::{RunRef, Topic, WorkflowRef};
use crate::time::Timestamp;

/// What was read isn't of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a stored record can't be read: it is damaged, or written by a later version")]
pub struct StoredError;

const VERSION: u32 = 1;

/// The version of a record that has what a route adds: who knows only the first would leave it out without a word.
const ROUTED: u32 = 2;

/// The headers of a trace (W3C Trace Context).
const TRACE: [&str; 2] = ["traceparent", "tracestate"];

#[derive(Serialize, Deserialize)]
struct Stored<'a> {
    v: u32,
    id: Cow<'a, str>,
    kind: Kind,
    /// Of a start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    workflow: Option<Cow<'a, str>>,
    /// These three of a resolve.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    run: Option<Cow<'a, str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    topic: Option<Cow<'a, str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    status: Option<Status>,
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<StoredKey<'a>>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    trace: Vec<(String, String)>,
    received: Timestamp,
    since: Timestamp,
    attempts: u32,
    heard: u32,
    history: Vec<(Timestamp, Cow<'a, str>)>,
    next: Timestamp,
    sent: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    trigger: Option<Trigger>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    params: Vec<(Cow<'a, str>, Cow<'a, RawValue>)>,
    /// Last, so that a log that cuts the record shows all else. Absent for a GET.
    #[serde(skip_serializing_if = "Option::is_none")]
    payload: Option<Cow<'a, RawValue>>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Kind {
    Webhook,
    Event,
    Resolve,
}

#[derive(Serialize, Deserialize)]
struct StoredKey<'a> {
    hash: Cow<'a, str>,
    digest: Cow<'a, str>,
    window: u64,
    copy: bool,
}

impl Delivery<'_> {
    /// The stored form.
    pub fn to_bytes(&self) -> Result<Vec<u8>, StoredError> {
        let trace = self.trace.iter().filter_map(|(name, value)| Some((name.to_string(), value.to_str().ok()?.into())));
        let mut stored = Stored {
            v: VERSION,
            id: self.id.to_string().into(),
            kind: Kind::Resolve,
            workflow: None,
            run: None,
            topic: None,
            status: None,
            key: self.key.as_ref().map(|claimed| StoredKey {
                hash: claimed.key.hash().into(),
                digest: claimed.key.digest().into(),
                window: claimed.window,
                copy: claimed.copy,
            }),
            trace: trace.collect(),
            received: self.received,
            since: self.since,
            attempts: self.attempts,
            heard: self.heard,
            history: self.history.iter().map(|attempt| (attempt.at, attempt.failure.as_str().into())).collect(),
            next: self.next_attempt,
            sent: self.sent,
            trigger: None,
            params: Vec::new(),
            payload: None,
        };
        match &self.work {
            Work::Start(Start { workflow, payload, trigger, params }) => {
                let (kind, whole) = match payload {
                    Payload::Webhook(whole) => (Kind::Webhook, whole),
                    Payload::Event { whole, .. } => (Kind::Event, whole),
                };
                stored.kind = kind;
                stored.workflow = Some(workflow.as_str().into());
                stored.payload = Some(Cow::Borrowed(&**whole));
                stored.trigger = Some(*trigger).filter(|by| *by != payload.trigger());
                stored.params = params.iter().map(|(name, value)| (name.into(), Cow::Borrowed(&**value))).collect();
                if stored.trigger.is_some() || !params.is_empty() {
                    stored.v = ROUTED;
                }
            }
            Work::Resolve(Callback { run, topic, status, payload }) => {
                stored.run = Some(run.as_str().into());
                stored.topic = Some(topic.as_str().into());
                stored.status = Some(*status);
                stored.payload = payload.as_ref().map(|payload| Cow::Borrowed(&**payload));
            }
        }
        serde_json::to_vec(&stored).map_err(|_| StoredError)
    }

    /// Reads the stored form.
    pub fn from_bytes(bytes: &[u8]) -> Result<Delivery<'static>, StoredError> {
        let stored: Stored<'_> = json::read(bytes).map_err(|_| StoredError)?;
        if stored.v != VERSION && stored.v != ROUTED {
            return Err(StoredError);
        }
        let payload = stored.payload.map(|payload| Cow::Owned(payload.into_owned()));
        let work = match stored.kind {
            Kind::Resolve => Work::Resolve(Callback {
                run: RunRef::parse(&stored.run.ok_or(StoredError)?).map_err(|_| StoredError)?,
                topic: Topic::parse(&stored.topic.ok_or(StoredError)?).map_err(|_| StoredError)?,
                status: stored.status.ok_or(StoredError)?,
                payload,
            }),
            kind => {
                let whole: Cow<'_, RawValue> = payload.ok_or(StoredError)?;
                let payload = match kind {
                    Kind::Event => {
                        let data = event::data(&whole).map(|data| Cow::Owned(data.to_owned()));
                        Payload::Event { whole, data }
                    }
                    _ => Payload::Webhook(whole),
                };
                Work::Start(Start {
                    workflow: WorkflowRef::parse(&stored.workflow.ok_or(StoredError)?).map_err(|_| StoredError)?,
                    trigger: stored.trigger.unwrap_or(payload.trigger()),
                    params: stored
                        .params
                        .into_iter()
                        .map(|(name, value)| (name.into_owned(), Cow::Owned(value.into_owned())))
                        .collect(),
                    payload,
                })
            }
        };
        let mut trace = HeaderMap::new();
        for (name, value) in stored.trace {
            if let (Some(name), Ok(value)) =
                (TRACE.into_iter().find(|known| *known == name), HeaderValue::try_from(value))
                // What isn't text is never written.
                && value.to_str().is_ok()
            {
                trace.append(name, value);
            }
        }
        Ok(Delivery {
            id: DeliveryId::parse(&stored.id).ok_or(StoredError)?,
            work,
            key: stored.key.map(|key| Claimed {
                key: Key::restore(key.hash.into_owned(), key.digest.into_owned()),
                window: key.window,
                copy: key.copy,
            }),
            trace,
            received: stored.received,
            since: stored.since,
            attempts: stored.attempts,
            heard: stored.heard,
            history: stored
                .history
                .into_iter()
                .map(|(at, failure)| Attempt { at, failure: failure.into_owned() })
                .collect(),
            next_attempt: stored.next,
            sent: stored.sent,
        })
    }
}

#[cfg(test)]
mod tests;
