//! The record of an idempotency key: the outcome of a start, or the callback that was accepted.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::callback::{Callback, CallbackRecord, State};
use crate::delivery::{Delivery, DeliveryId, Key, Outcome, StoredError, Work};
use crate::json;
use crate::time::Timestamp;

/// The largest run that is recorded whole, in bytes. A value of the store may have 1 MB, and a run contains its params.
const MAX_RUN: usize = 256 * 1024;

/// The largest member of a larger run that is recorded, in bytes: name and value.
const MAX_MEMBER: usize = 1_024;

/// The outcome of a start with an idempotency key, from which duplicates are answered.
#[derive(Debug, Serialize, Deserialize)]
pub struct OutcomeRecord {
    v: u32,
    /// The delivery that claimed the key.
    pub id: DeliveryId,
    /// The status that its sender would get now: 200 if it is delivered, 202 if it is pending.
    pub status: u16,
    /// The run that the engine responded with, once it is delivered; of a large run, only the small members.
    pub body: Option<Box<RawValue>>,
    /// The key's digest ([`Key::digest`]).
    pub digest: String,
    /// When the outcome was recorded.
    pub at: Timestamp,
    /// The key's whole hash ([`Key::hash`]), of which the name in a key-value store has a part.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) hash: Option<String>,
}

impl OutcomeRecord {
    const VERSION: u32 = 1;

    /// The record of a delivery that is stored and not yet delivered.
    pub fn pending(id: DeliveryId, key: &Key, at: Timestamp) -> Self {
        let (digest, hash) = (key.digest().to_owned(), Some(key.hash().to_owned()));
        Self { v: Self::VERSION, id, status: 202, body: None, digest, at, hash }
    }

    /// The record of a delivery that the engine has accepted with this run as its response.
    pub fn delivered(id: DeliveryId, key: &Key, run: &[u8], at: Timestamp) -> Self {
        Self { status: 200, body: bounded(run), ..Self::pending(id, key, at) }
    }

    /// A record of an earlier release, with the key's whole hash.
    pub(super) fn with_hash(self, hash: &str) -> Self {
        Self { hash: Some(hash.to_owned()), ..self }
    }

    /// Whether the engine has accepted the delivery.
    pub fn is_delivered(&self) -> bool {
        self.status == 200
    }

    /// Encodes the stored form: JSON.
    pub fn to_bytes(&self) -> Result<Vec<u8>, StoredError> {
        serde_json::to_vec(self).map_err(|_| StoredError)
    }

    /// Decodes the stored form.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, StoredError> {
        json::read(bytes).ok().filter(|record: &Self| record.v == Self::VERSION).ok_or(StoredError)
    }
}

/// Returns the run unchanged. Of a run larger than [`MAX_RUN`], returns the first 256 members of at most [`MAX_MEMBER`]
/// bytes each, which are enough to include its id. Returns `None` if the run isn't a JSON object.
pub(super) fn bounded(run: &[u8]) -> Option<Box<RawValue>> {
    let whole = json::object(run).ok()?;
    if whole.get().len() <= MAX_RUN {
        return Some(whole.to_owned());
    }
    let is_small =
        |(name, value): &(&RawValue, &RawValue)| name.get().len().saturating_add(value.get().len()) <= MAX_MEMBER;
    let members: Vec<String> = json::members(whole)?
        .iter()
        .filter(|member| is_small(member))
        .take(MAX_RUN.checked_div(MAX_MEMBER).unwrap_or_default())
        .map(|(name, value)| format!("{name}:{value}"))
        .collect();
    RawValue::from_string(format!("{{{}}}", members.join(","))).ok()
}

/// The record of a settled key.
#[derive(Debug)]
pub enum Settled {
    /// The record of a start.
    Start(OutcomeRecord),
    /// The record of a callback.
    Callback(CallbackRecord),
}

impl Settled {
    /// Decodes a record of the kind that `work` has.
    pub(super) fn from_bytes(work: &Work<'_>, bytes: &[u8]) -> Result<Self, StoredError> {
        Self::read(matches!(work, Work::Resolve(_)), bytes)
    }

    /// Decodes the record of a callback or of a start.
    pub(super) fn read(is_callback: bool, bytes: &[u8]) -> Result<Self, StoredError> {
        if is_callback {
            return CallbackRecord::from_bytes(bytes).map(Self::Callback).map_err(|_| StoredError);
        }
        OutcomeRecord::from_bytes(bytes).map(Self::Start)
    }

    /// Encodes the stored form.
    pub(super) fn to_bytes(&self) -> Result<Vec<u8>, StoredError> {
        match self {
            Self::Start(record) => record.to_bytes(),
            Self::Callback(record) => record.to_bytes().map_err(|_| StoredError),
        }
    }

    /// The delivery that claimed the key.
    pub fn id(&self) -> DeliveryId {
        match self {
            Self::Start(record) => record.id,
            Self::Callback(record) => record.id,
        }
    }

    /// The digest of the content of that delivery.
    pub fn digest(&self) -> &str {
        match self {
            Self::Start(record) => &record.digest,
            Self::Callback(record) => &record.digest,
        }
    }

    /// Whether the engine has accepted that delivery.
    pub fn is_delivered(&self) -> bool {
        match self {
            Self::Start(record) => record.is_delivered(),
            Self::Callback(record) => record.state == State::Delivered,
        }
    }

    /// Whether this is the record of `delivery` itself, still pending.
    pub fn is_pending(&self, delivery: &Delivery<'_>) -> bool {
        self.id() == delivery.id && !self.is_delivered()
    }

    /// The outcome for another delivery of the key, whose content has this digest.
    pub fn outcome(self, digest: &str) -> Outcome {
        let is_delivered = self.is_delivered();
        match self {
            Self::Start(record) if record.digest != digest => Outcome::KeyReused { at: record.at },
            Self::Start(record) => {
                let run = || record.body.map_or_else(Vec::new, |body| body.get().into());
                Outcome::Duplicate { body: is_delivered.then(run) }
            }
            Self::Callback(record) if record.digest != digest => {
                Outcome::Conflict { status: record.status, received: record.received }
            }
            Self::Callback(_) => Outcome::Duplicate { body: is_delivered.then(Vec::new) },
        }
    }
}

/// The record of a callback with the task that it is for and when it was sent.
pub(super) fn callback_record(delivery: &Delivery<'_>, callback: &Callback<'_>) -> CallbackRecord {
    let mut record = CallbackRecord::pending(delivery.id, callback, delivery.received);
    record.task = delivery.wait.as_ref().map(|wait| wait.task.clone());
    (record.sent, record.unseen) = (delivery.sent, delivery.unseen);
    record
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(run: &str) -> String {
        let id = DeliveryId::new(Timestamp(1).into(), 7);
        let record = OutcomeRecord::delivered(id, &Key::event("/s", "1", "w"), run.as_bytes(), Timestamp(9));
        let read = OutcomeRecord::from_bytes(&record.to_bytes().unwrap()).unwrap();
        assert_eq!((read.id, read.status, read.at), (id, 200, Timestamp(9)));
        read.body.unwrap().get().to_owned()
    }

    #[test]
    fn run_is_kept_byte_for_byte() {
        let run = r#"{ "id":"5f1c", "n":1E400,"params":[ ] }"#;
        assert_eq!(kept(run), run);
    }

    #[test]
    fn large_run_keeps_its_small_members() {
        let run = format!(r#"{{"id":"5f1c","params":["{}"],"status":"ready"}}"#, "a".repeat(MAX_RUN));
        assert_eq!(kept(&run), r#"{"id":"5f1c","status":"ready"}"#);
        let many = (0..100_000).map(|n| format!(r#""m{n}":{n}"#)).collect::<Vec<_>>().join(",");
        assert!(kept(&format!(r#"{{"id":"5f1c",{many}}}"#)).starts_with(r#"{"id":"5f1c","m0":0,"#));
    }

    #[test]
    fn damaged_or_later_record_is_an_error() {
        let later = r#"{"v":2,"id":"01M85MNVRRNF3YKJSMZYXYD1X7","status":200,"body":null,"digest":"","at":1}"#;
        assert!(OutcomeRecord::from_bytes(later.replace("\"v\":2", "\"v\":1").as_bytes()).is_ok());
        for bytes in ["{}", "", later, &later.replace("01M8", "o1m8").replace("\"v\":2", "\"v\":1")] {
            assert!(OutcomeRecord::from_bytes(bytes.as_bytes()).is_err(), "{bytes}");
        }
    }
}
