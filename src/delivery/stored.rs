//! The stored form of a delivery: JSON that describes itself. The payload is in it once and to the byte; what the engine
//! gets is made of it again.

use std::borrow::Cow;

use http::{HeaderMap, HeaderValue};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::{Attempt, Claimed, Delivery, DeliveryId, Key, Payload, Start, Work};
use crate::callback::{Callback, Status};
use crate::event;
use crate::reference::{RunRef, Topic, WorkflowRef};
use crate::time::Timestamp;

/// What was read isn't of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a stored record can't be read: it is damaged, or written by a later version")]
pub struct StoredError;

const VERSION: u32 = 1;

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
        let (work, payload) = match &self.work {
            Work::Start(Start { workflow, payload }) => {
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
            v: VERSION,
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
            payload: payload.map(|payload| Cow::Borrowed(&**payload)),
        };
        serde_json::to_vec(&stored).map_err(|_| StoredError)
    }

    /// Reads the stored form.
    pub fn from_bytes(bytes: &[u8]) -> Result<Delivery<'static>, StoredError> {
        let stored: Stored<'_> = serde_json::from_slice(bytes).map_err(|_| StoredError)?;
        if stored.v != VERSION {
            return Err(StoredError);
        }
        let payload = stored.payload.map(|payload| Cow::Owned(payload.into_owned()));
        let workflow = |text: &str| WorkflowRef::parse(text).map_err(|_| StoredError);
        let work = match stored.work {
            StoredWork::Webhook { workflow: of } => {
                let payload = Payload::Webhook(payload.ok_or(StoredError)?);
                Work::Start(Start { workflow: workflow(&of)?, payload })
            }
            StoredWork::Event { workflow: of } => {
                let whole: Cow<'_, RawValue> = payload.ok_or(StoredError)?;
                let data = event::data(&whole).map(|data| Cow::Owned(data.to_owned()));
                Work::Start(Start { workflow: workflow(&of)?, payload: Payload::Event { whole, data } })
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
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ODD: &str = r#"{"n":12345678901234567890, "f":1.417566161e9,"n":1}"#;

    fn raw(json: &str) -> Cow<'_, RawValue> {
        Cow::Borrowed(serde_json::from_str(json).unwrap())
    }

    fn sample(work: Work<'_>, keyed: bool, n: u64) -> Delivery<'_> {
        let mut trace = HeaderMap::new();
        trace
            .append("traceparent", HeaderValue::from_static("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"));
        Delivery {
            id: DeliveryId::new(Timestamp(n), 7),
            work,
            key: keyed.then(|| Claimed { key: Key::event("/s", "1", "w"), window: n, copy: n.is_multiple_of(2) }),
            trace,
            received: Timestamp(n),
            since: Timestamp(n / 2),
            attempts: 3,
            heard: 2,
            history: vec![Attempt { at: Timestamp(n), failure: "the connection was \"refused\"".to_owned() }],
            next_attempt: Timestamp(n / 3),
            sent: n.is_multiple_of(3).then_some(Timestamp(n)),
        }
    }

    proptest! {
        #[test]
        fn what_is_stored_comes_back(kind in 0..5, keyed in any::<bool>(), n in 0..1_u64 << 48) {
            let event = format!(r#"{{"specversion":"1.0","id":"1","x":1e5,"data":{ODD}}}"#);
            let workflow = WorkflowRef::parse("wörk flow").unwrap();
            let (run, topic) = (RunRef::parse("r").unwrap(), Topic::parse("a/b \"c\"").unwrap());
            let resolve = |payload| {
                Work::Resolve(Callback { run: run.clone(), topic: topic.clone(), status: Status::Failed, payload })
            };
            let work = match kind {
                0 => Work::Start(Start { workflow, payload: Payload::Webhook(raw(ODD)) }),
                1 => {
                    let payload = Payload::Event { whole: raw(&event), data: Some(raw(ODD)) };
                    Work::Start(Start { workflow, payload })
                }
                2 => {
                    let payload = Payload::Event { whole: raw("{}"), data: None };
                    Work::Start(Start { workflow, payload })
                }
                3 => resolve(Some(raw(ODD))),
                _ => resolve(None),
            };
            let delivery = sample(work, keyed, n);
            let read = Delivery::from_bytes(&delivery.to_bytes().unwrap()).unwrap();
            // All of it, to the byte: `Debug` shows raw JSON as it is.
            prop_assert_eq!(format!("{:?}", read), format!("{:?}", delivery));
        }

        #[test]
        fn whatever_is_read_there_is_no_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            prop_assert!(Delivery::from_bytes(&bytes).is_err());
        }
    }

    #[test]
    fn what_is_not_ours_is_an_error() {
        let delivery = sample(
            Work::Start(Start { workflow: WorkflowRef::parse("w").unwrap(), payload: Payload::Webhook(raw(ODD)) }),
            true,
            6,
        );
        let text = String::from_utf8(delivery.to_bytes().unwrap()).unwrap();
        for (good, bad) in [
            (r#""v":1"#, r#""v":2"#),
            (r#""workflow":"w""#, r#""workflow":"../w""#),
            (r#""kind":"webhook""#, r#""kind":"other""#),
            (r#","payload":"#, r#","other":"#),
            (r#""id":"0"#, r#""id":"o"#),
        ] {
            assert!(text.contains(good), "{text}");
            assert!(Delivery::from_bytes(text.replacen(good, bad, 1).as_bytes()).is_err(), "{bad}");
        }
    }
}
