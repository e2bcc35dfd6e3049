//! Callbacks: [`Callback`], its stored form ([`CallbackRecord`]), the hashes in its idempotency key, and signed links
//! that complete it ([`Link`]).

mod link;

use std::borrow::Cow;

use base16ct::lower::encode_string as hex;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};

use crate::json;
use crate::reference::{DeliveryId, RunRef, Topic};
use crate::time::Timestamp;

pub use link::{Link, LinkError, MAX_BUTTON, MAX_QUESTION};

/// The result that a callback gives to the waiting tasks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// The tasks succeed. The default.
    Succeeded,
    /// The tasks fail.
    Failed,
}

impl Status {
    /// Parses the query parameter `status`, ignoring case.
    pub fn parse(text: &str) -> Option<Self> {
        [(Self::Succeeded, "succeeded"), (Self::Failed, "failed")]
            .into_iter()
            .find_map(|(status, name)| text.eq_ignore_ascii_case(name).then_some(status))
    }

    /// The name in lower case, as the engine spells it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
        }
    }
}

/// A callback: it resolves all tasks of a run that wait for a topic.
#[derive(Clone, Debug)]
pub struct Callback<'a> {
    /// The workflow run.
    pub run: RunRef,
    /// The topic that its tasks wait for.
    pub topic: Topic,
    /// The result for the tasks.
    pub status: Status,
    /// A JSON object, byte for byte as it was sent; `None` for a callback by GET.
    pub payload: Option<Cow<'a, RawValue>>,
}

impl Callback<'_> {
    /// SHA-256 over status and payload, in hexadecimal. Callbacks for a run and topic with the same digest are repeats.
    pub fn digest(&self) -> String {
        let mut hash = Sha256::new();
        hash.update(self.status.as_str());
        hash.update([0]);
        hash.update(self.payload.as_deref().map_or("", RawValue::get));
        hex(&hash.finalize())
    }
}

/// The delivery state of a callback.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// Stored; not yet confirmed by the engine.
    Pending,
    /// Confirmed by the engine.
    Delivered,
}

/// The stored form of a callback, as JSON.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct CallbackRecord {
    /// The version of the form: [`CallbackRecord::VERSION`].
    pub v: u32,
    /// The id of its delivery.
    pub id: DeliveryId,
    /// The workflow run.
    pub run: RunRef,
    /// The topic.
    pub topic: Topic,
    /// The result for the tasks.
    pub status: Status,
    /// The payload, byte for byte as it was sent.
    pub payload: Option<Box<RawValue>>,
    /// [`Callback::digest`].
    pub digest: String,
    /// The time of arrival.
    pub received: Timestamp,
    /// The delivery state.
    pub state: State,
    /// The task run that it is for, once a look has named one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task: Option<String>,
    /// When it was last sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sent: Option<Timestamp>,
    /// Whether it was sent without a look, because the engine did not show the run. Whether it had an effect is unknown.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub unseen: bool,
}

/// The error of a stored callback that is damaged or of a later version, or that can't be encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the stored callback can't be read: it is damaged, or was written by a later version")]
pub struct CallbackRecordError;

impl CallbackRecord {
    /// The only version so far.
    pub const VERSION: u32 = 1;

    /// The record of a callback that was just received.
    pub fn pending(id: DeliveryId, callback: &Callback<'_>, received: Timestamp) -> Self {
        Self {
            v: Self::VERSION,
            id,
            run: callback.run.clone(),
            topic: callback.topic.clone(),
            status: callback.status,
            payload: callback.payload.as_deref().map(ToOwned::to_owned),
            digest: callback.digest(),
            received,
            state: State::Pending,
            task: None,
            sent: None,
            unseen: false,
        }
    }

    /// The callback that was stored.
    pub fn callback(&self) -> Callback<'static> {
        Callback {
            run: self.run.clone(),
            topic: self.topic.clone(),
            status: self.status,
            payload: self.payload.clone().map(Cow::Owned),
        }
    }

    /// Serializes the record for the store.
    pub fn to_bytes(&self) -> Result<Vec<u8>, CallbackRecordError> {
        serde_json::to_vec(self).map_err(|_| CallbackRecordError)
    }

    /// Parses a record from the store.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, CallbackRecordError> {
        json::read(bytes).ok().filter(|record: &Self| record.v == Self::VERSION).ok_or(CallbackRecordError)
    }
}

/// The hash of a run, the common part of the store keys of all its callbacks.
pub fn run_hash(run: &RunRef) -> String {
    run_id_hash(run.as_str())
}

/// The hash of a run, by the engine's id of it.
pub fn run_id_hash(run: &str) -> String {
    hash(run)
}

/// The hashes of run and topic that identify a callback in the store, with a slash between them. Their length is fixed:
/// a key that contains them is short enough for any run and topic.
pub fn run_and_topic_hashes(run: &RunRef, topic: &Topic) -> String {
    format!("{}/{}", run_hash(run), topic_hash(topic))
}

/// The hash of a topic.
pub fn topic_hash(topic: &Topic) -> String {
    hash(topic.as_str())
}

/// The hashes of run, topic and task run, with slashes between them.
pub fn task_hashes(run: &RunRef, topic: &Topic, task: &str) -> String {
    format!("{}/{}", run_and_topic_hashes(run, topic), hash(task))
}

fn hash(text: &str) -> String {
    hex(&Sha256::digest(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn callback(payload: Option<&RawValue>) -> Callback<'_> {
        let (run, topic) = (RunRef::parse("r").unwrap(), Topic::parse("t").unwrap());
        Callback { run, topic, status: Status::Failed, payload: payload.map(Cow::Borrowed) }
    }

    fn id() -> DeliveryId {
        DeliveryId::parse("01M85MNVRRNF3YKJSMZYXYD1X7").unwrap()
    }

    #[test]
    fn status_is_parsed_ignoring_case() {
        assert_eq!(Status::parse("SUCCEEDED"), Some(Status::Succeeded));
        assert_eq!(Status::parse("Failed"), Some(Status::Failed));
        assert_eq!(Status::parse("invalid"), None);
        assert_eq!(Status::parse(""), None);
    }

    #[test]
    fn stored_payload_keeps_its_bytes() {
        let payload: &RawValue =
            serde_json::from_str(r#"{"n":12345678901234567890, "f":1.417566161e9,"n":1}"#).unwrap();
        let record = CallbackRecord::pending(id(), &callback(Some(payload)), Timestamp(7));
        let read = CallbackRecord::from_bytes(&record.to_bytes().unwrap()).unwrap();
        assert_eq!(read.payload.unwrap().get(), payload.get());
        assert_eq!((read.state, read.received, read.status), (State::Pending, Timestamp(7), Status::Failed));
    }

    #[test]
    fn callback_by_get_is_stored_without_payload() {
        let record = CallbackRecord::pending(id(), &callback(None), Timestamp(7));
        assert!(CallbackRecord::from_bytes(&record.to_bytes().unwrap()).unwrap().payload.is_none());
    }

    /// A record as earlier releases have stored it.
    #[test]
    fn stored_form_is_stable() {
        let stored = br#"{"v":1,"id":"01M85MNVRRNF3YKJSMZYXYD1X7","run":"r","topic":"t","status":"failed","payload":{ },"digest":"d","received":1,"state":"delivered"}"#;
        assert_eq!(CallbackRecord::from_bytes(stored).unwrap().to_bytes().unwrap(), stored);
    }

    #[test]
    fn bytes_that_are_no_record_are_an_error() {
        let good = r#"{"v":1,"id":"01M85MNVRRNF3YKJSMZYXYD1X7","run":"r","topic":"t","status":"failed","payload":null,"digest":"","received":1,"state":"pending"}"#;
        assert!(CallbackRecord::from_bytes(good.as_bytes()).is_ok());
        for (from, to) in [
            (good, "{}"),
            (r#""v":1"#, r#""v":2"#),
            ("01M85MNVRRNF3YKJSMZYXYD1X7", ""),
            (r#""run":"r""#, r#""run":"a/b""#),
            (r#""topic":"t""#, r#""topic":"""#),
        ] {
            let bad = good.replace(from, to);
            assert_eq!(CallbackRecord::from_bytes(bad.as_bytes()).unwrap_err(), CallbackRecordError, "{bad}");
        }
    }
}
