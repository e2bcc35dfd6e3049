//! The stored form of a delivery: versioned JSON. It contains the payload once, byte for byte. Each attempt builds its
//! request from it again.

use std::borrow::Cow;

use http::{HeaderMap, HeaderValue};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;

use super::{
    Delivery, DeliveryId, FailedAttempt, Hold, Key, KeyClaim, Orphan, Payload, Start, TaskWait, Trigger, Work,
};
use crate::callback::{Callback, Status};
use crate::event;
use crate::json::{self, JsonType};
use crate::reference::{RunRef, Topic, WorkflowRef};
use crate::time::Timestamp;

/// The error of a stored record that is damaged or of a later version, or that can't be encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a stored record can't be read: it is damaged, or written by a later version")]
pub struct StoredError;

/// The version of a record without the trigger and the params of a route.
const VERSION: u32 = 1;

/// The version of a record with a route's trigger or params, which a reader of the first version would silently drop.
const ROUTED_VERSION: u32 = 2;

/// The version of a record with the state of a run at the engine, or with a queue, which a reader of an earlier version
/// would drop.
const ENGINE_STATE_VERSION: u32 = 3;

/// The headers of W3C Trace Context.
const TRACE: [&str; 2] = ["traceparent", "tracestate"];

#[derive(Serialize, Deserialize)]
struct Stored<'a> {
    v: u32,
    id: Cow<'a, str>,
    kind: Kind,
    /// Only for a start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    workflow: Option<Cow<'a, str>>,
    /// Only for a callback, as are `topic` and `status`.
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
    #[serde(rename = "heard")]
    engine_attempts: u32,
    history: Vec<(Timestamp, Cow<'a, str>)>,
    next: Timestamp,
    sent: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    concluded: bool,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    orphans: Vec<Orphan>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    wait: Option<Cow<'a, TaskWait>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    early_window: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    early_since: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    unseen: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    trigger: Option<Trigger>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    params: Vec<(Cow<'a, str>, Cow<'a, RawValue>)>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    queue: Option<Cow<'a, str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    requeued: Option<Timestamp>,
    /// Absent in records of earlier versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    source: Option<Cow<'a, str>>,
    /// Only for a replay. An earlier version drops it, and the run lacks a label.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    replay_of: Option<DeliveryId>,
    /// Absent for a callback by GET. The last member, so a truncated record still shows all others.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    payload: Option<Cow<'a, RawValue>>,
}

/// Reads a member that is present. By default, serde would read a `null` as an absent one.
fn present<'de, D: Deserializer<'de>>(value: D) -> Result<Option<Cow<'static, RawValue>>, D::Error> {
    Box::<RawValue>::deserialize(value).map(|value| Some(Cow::Owned(value)))
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
    #[serde(rename = "copy")]
    contended: bool,
}

impl Delivery<'_> {
    /// Encodes the stored form: JSON.
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
            key: self.claim.as_ref().map(|claim| StoredKey {
                hash: claim.key.hash().into(),
                digest: claim.key.digest().into(),
                window: claim.window,
                contended: claim.contended,
            }),
            trace: trace.collect(),
            received: self.received,
            since: self.since,
            attempts: self.attempts,
            engine_attempts: self.engine_attempts,
            history: self.history.iter().map(|attempt| (attempt.at, attempt.failure.as_str().into())).collect(),
            next: self.next_attempt,
            sent: self.sent,
            concluded: self.concluded,
            orphans: self.orphans.clone(),
            wait: self.wait.as_ref().map(Cow::Borrowed),
            early_window: self.early_window,
            early_since: self.early_since,
            unseen: self.unseen,
            trigger: None,
            params: Vec::new(),
            queue: None,
            requeued: self.requeued,
            source: None,
            replay_of: None,
            payload: None,
        };
        match &self.work {
            Work::Start(Start { workflow, payload, trigger, params, queue, source, replay_of }) => {
                let (kind, whole) = match payload {
                    Payload::Webhook(whole) => (Kind::Webhook, whole),
                    Payload::Event { whole, .. } => (Kind::Event, whole),
                };
                stored.kind = kind;
                stored.workflow = Some(workflow.as_str().into());
                stored.payload = Some(Cow::Borrowed(&**whole));
                stored.trigger = Some(*trigger).filter(|trigger| *trigger != payload.trigger());
                stored.params = params.iter().map(|(name, value)| (name.into(), Cow::Borrowed(&**value))).collect();
                stored.queue = queue.as_deref().map(Cow::Borrowed);
                stored.source = source.as_deref().map(Cow::Borrowed);
                stored.replay_of = *replay_of;
                if stored.trigger.is_some() || !params.is_empty() {
                    stored.v = ROUTED_VERSION;
                }
            }
            Work::Resolve(Callback { run, topic, status, payload }) => {
                stored.run = Some(run.as_str().into());
                stored.topic = Some(topic.as_str().into());
                stored.status = Some(*status);
                stored.payload = payload.as_ref().map(|payload| Cow::Borrowed(&**payload));
            }
        }
        let has_engine_state = self.concluded
            || !self.orphans.is_empty()
            || self.wait.is_some()
            || self.early_window.is_some()
            || self.early_since.is_some()
            || self.unseen;
        if has_engine_state || stored.queue.is_some() {
            stored.v = ENGINE_STATE_VERSION;
        }
        serde_json::to_vec(&stored).map_err(|_| StoredError)
    }

    /// Decodes the stored form.
    pub fn from_bytes(bytes: &[u8]) -> Result<Delivery<'static>, StoredError> {
        let stored: Stored<'_> = json::read(bytes).map_err(|_| StoredError)?;
        if ![VERSION, ROUTED_VERSION, ENGINE_STATE_VERSION].contains(&stored.v) {
            return Err(StoredError);
        }
        let payload = stored.payload.map(|payload| Cow::Owned(payload.into_owned()));
        let work = match stored.kind {
            Kind::Resolve => Work::Resolve(Callback {
                run: RunRef::parse(&stored.run.ok_or(StoredError)?).map_err(|_| StoredError)?,
                topic: Topic::parse(&stored.topic.ok_or(StoredError)?).map_err(|_| StoredError)?,
                status: stored.status.ok_or(StoredError)?,
                // The payload of a callback is an object.
                payload: payload.filter(|payload| json::type_of(payload) != JsonType::Null),
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
                    queue: stored.queue.map(Cow::into_owned),
                    source: stored.source.map(Cow::into_owned),
                    replay_of: stored.replay_of,
                    payload,
                })
            }
        };
        let mut trace = HeaderMap::new();
        for (name, value) in stored.trace {
            if let (Some(name), Ok(value)) =
                (TRACE.into_iter().find(|known| *known == name), HeaderValue::try_from(value))
                // `to_bytes` never writes a value that isn't printable ASCII.
                && value.to_str().is_ok()
            {
                trace.append(name, value);
            }
        }
        Ok(Delivery {
            id: DeliveryId::parse(&stored.id).ok_or(StoredError)?,
            work,
            claim: stored.key.map(|key| KeyClaim {
                key: Key::restore(key.hash.into_owned(), key.digest.into_owned()),
                window: key.window,
                contended: key.contended,
            }),
            trace,
            received: stored.received,
            since: stored.since,
            attempts: stored.attempts,
            engine_attempts: stored.engine_attempts,
            history: stored
                .history
                .into_iter()
                .map(|(at, failure)| FailedAttempt { at, failure: failure.into_owned() })
                .collect(),
            next_attempt: stored.next,
            sent: stored.sent,
            concluded: stored.concluded,
            orphans: stored.orphans,
            wait: stored.wait.map(Cow::into_owned),
            early_window: stored.early_window,
            early_since: stored.early_since,
            unseen: stored.unseen,
            requeued: stored.requeued,
            hold: Hold { is_stored: true, ..Hold::default() },
        })
    }
}

#[cfg(test)]
mod tests;
