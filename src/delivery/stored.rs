//! The stored form of a delivery: JSON that describes itself. The payload is in it once and to the byte; what the engine
//! gets is made of it again.

use std::borrow::Cow;

use http::{HeaderMap, HeaderValue};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::{Attempt, Claimed, Delivery, DeliveryId, Key, Payload, Start, Trigger, Work};
use crate::callback::{Callback, Status};
use crate::event;
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
    #[serde(flatten)]
    work: StoredWork<'a>,
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
#[serde(tag = "kind", rename_all = "lowercase")]
enum StoredWork<'a> {
    Webhook { workflow: Cow<'a, str> },
    Event { workflow: Cow<'a, str> },
    Resolve { run: Cow<'a, str>, topic: Cow<'a, str>, status: Status },
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
        let (mut trigger, mut params) = (None, Vec::new());
        let (work, payload) = match &self.work {
            Work::Start(Start { workflow, payload, trigger: by, params: added }) => {
                trigger = Some(*by).filter(|by| *by != payload.trigger());
                params = added.iter().map(|(name, value)| (name.into(), Cow::Borrowed(&**value))).collect();
                let workflow = Cow::Borrowed(workflow.as_str());
                match payload {
                    Payload::Webhook(whole) => (StoredWork::Webhook { workflow }, Some(whole)),
                    Payload::Event { whole, .. } => (StoredWork::Event { workflow }, Some(whole)),
                }
            }
            Work::Resolve(Callback { run, topic, status, payload }) => {
                let (run, topic) = (Cow::Borrowed(run.as_str()), Cow::Borrowed(topic.as_str()));
                (StoredWork::Resolve { run, topic, status: *status }, payload.as_ref())
            }
        };
        let trace = self.trace.iter().filter_map(|(name, value)| Some((name.to_string(), value.to_str().ok()?.into())));
        let stored = Stored {
            v: if trigger.is_none() && params.is_empty() { VERSION } else { ROUTED },
            id: self.id.to_string().into(),
            work,
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
            trigger,
            params,
            payload: payload.map(|payload| Cow::Borrowed(&**payload)),
        };
        serde_json::to_vec(&stored).map_err(|_| StoredError)
    }

    /// Reads the stored form.
    pub fn from_bytes(bytes: &[u8]) -> Result<Delivery<'static>, StoredError> {
        let stored: Stored<'_> = serde_json::from_slice(bytes).map_err(|_| StoredError)?;
        if stored.v != VERSION && stored.v != ROUTED {
            return Err(StoredError);
        }
        let payload = stored.payload.map(|payload| Cow::Owned(payload.into_owned()));
        let (trigger, params) = (stored.trigger, stored.params);
        let start = |workflow: &str, payload: Payload<'static>| {
            let workflow = WorkflowRef::parse(workflow).map_err(|_| StoredError)?;
            let params = params.into_iter().map(|(name, value)| (name.into_owned(), Cow::Owned(value.into_owned())));
            let trigger = trigger.unwrap_or(payload.trigger());
            Ok(Work::Start(Start { workflow, payload, trigger, params: params.collect() }))
        };
        let work = match stored.work {
            StoredWork::Webhook { workflow } => start(&workflow, Payload::Webhook(payload.ok_or(StoredError)?))?,
            StoredWork::Event { workflow } => {
                let whole: Cow<'_, RawValue> = payload.ok_or(StoredError)?;
                let data = event::data(&whole).map(|data| Cow::Owned(data.to_owned()));
                start(&workflow, Payload::Event { whole, data })?
            }
            StoredWork::Resolve { run, topic, status } => Work::Resolve(Callback {
                run: RunRef::parse(&run).map_err(|_| StoredError)?,
                topic: Topic::parse(&topic).map_err(|_| StoredError)?,
                status,
                payload,
            }),
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
