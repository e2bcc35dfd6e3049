//! A callback: who resolves what of which run, its stored form, its key, and the links that someone may answer it by.

mod link;

use std::borrow::Cow;

use base16ct::lower::encode_string as hex;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};

use crate::json;
use crate::reference::{RunRef, Topic};
use crate::time::Timestamp;

pub use link::{Link, LinkError, MAX_BUTTON, MAX_QUESTION};

/// How the wait ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// The default.
    Succeeded,
    /// The task fails.
    Failed,
}

impl Status {
    /// Reads the query's `status`, whatever its case.
    pub fn parse(text: &str) -> Option<Self> {
        [(Self::Succeeded, "succeeded"), (Self::Failed, "failed")]
            .into_iter()
            .find_map(|(status, name)| text.eq_ignore_ascii_case(name).then_some(status))
    }

    /// As the engine writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
        }
    }
}

/// It resolves all tasks of the run that wait on the topic.
#[derive(Clone, Debug)]
pub struct Callback<'a> {
    /// The workflow run.
    pub run: RunRef,
    /// What its tasks wait for.
    pub topic: Topic,
    /// How the wait ends.
    pub status: Status,
    /// A JSON object as it was sent; `None` for a GET.
    pub payload: Option<Cow<'a, RawValue>>,
}

impl Callback<'_> {
    /// SHA-256 over status and payload: two callbacks of one digest say the same.
    pub fn digest(&self) -> String {
        let mut hash = Sha256::new();
        hash.update(self.status.as_str());
        hash.update([0]);
        hash.update(self.payload.as_deref().map_or("", RawValue::get));
        hex(&hash.finalize())
    }
}

/// Where a callback stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// Stored; the engine hasn't confirmed it.
    Pending,
    /// The engine has confirmed it.
    Delivered,
}

/// A callback as it is stored.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Record {
    /// The version of this form: [`Record::VERSION`].
    pub v: u32,
    /// The id of its delivery.
    pub id: String,
    /// The workflow run.
    pub run: String,
    /// The topic.
    pub topic: String,
    /// How the wait ends.
    pub status: Status,
    /// The payload as it was sent.
    pub payload: Option<Box<RawValue>>,
    /// [`Callback::digest`].
    pub digest: String,
    /// When it was received.
    pub received: Timestamp,
    /// Where it stands.
    pub state: State,
}

/// What was read isn't a record of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a stored callback can't be read: it is damaged, or written by a later version")]
pub struct RecordError;

impl Record {
    /// The only version so far.
    pub const VERSION: u32 = 1;

    /// A callback that was just received.
    pub fn pending(id: impl ToString, callback: &Callback<'_>, received: Timestamp) -> Self {
        Self {
            v: Self::VERSION,
            id: id.to_string(),
            run: callback.run.as_str().to_owned(),
            topic: callback.topic.as_str().to_owned(),
            status: callback.status,
            payload: callback.payload.as_deref().map(ToOwned::to_owned),
            digest: callback.digest(),
            received,
            state: State::Pending,
        }
    }

    /// The callback; `None` if the record is none of ours.
    pub fn callback(&self) -> Option<Callback<'static>> {
        Some(Callback {
            run: RunRef::parse(&self.run).ok()?,
            topic: Topic::parse(&self.topic).ok()?,
            status: self.status,
            payload: self.payload.clone().map(Cow::Owned),
        })
    }

    /// The stored form: JSON.
    pub fn to_bytes(&self) -> Result<Vec<u8>, RecordError> {
        serde_json::to_vec(self).map_err(|_| RecordError)
    }

    /// Reads the stored form.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, RecordError> {
        json::read(bytes).ok().filter(|record: &Self| record.v == Self::VERSION).ok_or(RecordError)
    }
}

/// What all callbacks of a run begin with in the key of their record, after the window.
pub fn run_hash(run: &RunRef) -> String {
    hash(run.as_str())
}

/// What names a callback in the store: never two of one name, and as long as a key may hold, whatever run and topic are.
pub fn hashes(run: &RunRef, topic: &Topic) -> String {
    format!("{}/{}", run_hash(run), hash(topic.as_str()))
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

    #[test]
    fn a_status_is_read_without_regard_to_case() {
        assert_eq!(Status::parse("SUCCEEDED"), Some(Status::Succeeded));
        assert_eq!(Status::parse("Failed"), Some(Status::Failed));
        assert_eq!(Status::parse("invalid"), None);
        assert_eq!(Status::parse(""), None);
    }

    #[test]
    fn a_stored_payload_keeps_its_bytes() {
        let payload: &RawValue =
            serde_json::from_str(r#"{"n":12345678901234567890, "f":1.417566161e9,"n":1}"#).unwrap();
        let record = Record::pending("01", &callback(Some(payload)), Timestamp(7));
        let read = Record::from_bytes(&record.to_bytes().unwrap()).unwrap();
        assert_eq!(read.payload.unwrap().get(), payload.get());
        assert_eq!((read.state, read.received, read.status), (State::Pending, Timestamp(7), Status::Failed));
    }

    #[test]
    fn a_get_stores_no_payload() {
        let record = Record::pending("01", &callback(None), Timestamp(7));
        assert!(Record::from_bytes(&record.to_bytes().unwrap()).unwrap().payload.is_none());
    }

    #[test]
    fn what_is_not_a_record_is_an_error() {
        assert_eq!(Record::from_bytes(b"{}").unwrap_err(), RecordError);
        let later = br#"{"v":2,"id":"","run":"r","topic":"t","status":"failed","payload":null,"digest":"","received":1,"state":"pending"}"#;
        assert_eq!(Record::from_bytes(later).unwrap_err(), RecordError);
    }
}
