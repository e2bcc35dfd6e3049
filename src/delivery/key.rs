//! Idempotency keys, by which two deliveries are recognized as the same.

use base16ct::lower::encode_string as hex;
use base32ct::{Base32UpperUnpadded, Encoding};
use sha2::{Digest, Sha256};

use crate::callback::{self, Callback};
use crate::reference::DeliveryId;
use crate::sender::Identity;

/// Stands for the task run in the key of a callback that is early.
const EARLY: &str = "early";

/// The idempotency key of a delivery: a hash that identifies it, and a digest of its content. Two deliveries with the
/// same hash are the same delivery; if their digests differ, the later one is rejected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    hash: String,
    digest: String,
}

impl Key {
    /// The key of a CloudEvent for a workflow. `source` and `id` identify the event (CloudEvents 1.0.2, "Required
    /// Attributes"), whatever else it contains; one event may start several workflows.
    pub fn event(source: &str, id: &str, workflow: &str) -> Self {
        Self { hash: hash(&["event", source, id, workflow]), digest: String::new() }
    }

    /// The key of a webhook with an `Idempotency-Key`. Another payload under the same key is the client's mistake
    /// (draft-ietf-httpapi-idempotency-key-header-07, section 2.7).
    pub fn idempotency(key: &str, workflow: &str, payload: &str) -> Self {
        Self { hash: hash(&["idempotency-key", key, workflow]), digest: hex(&Sha256::digest(payload)) }
    }

    /// The key within a source, by its name; `None` for a request without limits. A key never crosses sources.
    pub fn within(self, source: Option<&str>) -> Self {
        match source {
            Some(source) => Self { hash: hash(&["source", source, &self.hash]), ..self },
            None => self,
        }
    }

    /// The key of a replay of a delivered start: it is replayed once under one name.
    pub fn replay(name: &str, original: DeliveryId, workflow: &str) -> Self {
        Self { hash: hash(&["replay", name, &original.to_string(), workflow]), digest: String::new() }
    }

    /// The key of a signed webhook; `None` if nothing tells its event from another one. `scope` is the name of the
    /// source: a key never crosses sources.
    pub fn of_identity(scope: &str, identity: &Identity, workflow: &str) -> Option<Self> {
        let (hash, digest) = match identity {
            Identity::Id(id) => (hash(&["signed", scope, "id", id, workflow]), ""),
            Identity::IdAndDigest { id, digest } => {
                (hash(&["signed", scope, "id-and-digest", id, digest, workflow]), "")
            }
            Identity::Key { key, digest } => (hash(&["signed", scope, "key", key, workflow]), &**digest),
            Identity::Digest(digest) => (hash(&["signed", scope, "digest", digest, workflow]), ""),
            Identity::Unknown { .. } => return None,
        };
        Some(Self { hash, digest: digest.to_owned() })
    }

    /// The key of a callback for a task run that waits for its topic. A run can wait for one topic several times, each
    /// time with another task run.
    pub fn task(callback: &Callback<'_>, task: &str) -> Self {
        Self { hash: callback::task_hashes(&callback.run, &callback.topic, task), digest: callback.digest() }
    }

    /// The key of a callback that is early: no look has named a task run that waits for its topic.
    pub fn early(callback: &Callback<'_>) -> Self {
        let run_and_topic = callback::run_and_topic_hashes(&callback.run, &callback.topic);
        Self { hash: format!("{run_and_topic}/{EARLY}"), digest: callback.digest() }
    }

    /// The key of a callback in release 0.1, which did not know the task.
    pub fn callback(callback: &Callback<'_>) -> Self {
        Self { hash: callback::run_and_topic_hashes(&callback.run, &callback.topic), digest: callback.digest() }
    }

    /// A text of 52 letters and digits that all callbacks for a run and topic share, by which an engine knows a repeated
    /// one.
    pub fn once(callback: &Callback<'_>) -> String {
        hash(&["callback", callback.run.as_str(), callback.topic.as_str()])
    }

    /// Restores a key from its stored hash and digest.
    pub(crate) fn restore(hash: String, digest: String) -> Self {
        Self { hash, digest }
    }

    /// The hash: 52 letters and digits, which fit into the value of a label (at most 63 characters). For a callback, the
    /// hashes of run, topic and task run, of 64 hex digits each and with slashes between them; `early` instead of the
    /// last one while no task run is known.
    pub fn hash(&self) -> &str {
        &self.hash
    }

    /// The digest of the content, which has to be equal under one key; empty if any content is the same delivery.
    pub fn digest(&self) -> &str {
        &self.digest
    }

    /// Whether it is the key of a callback.
    pub fn is_callback(&self) -> bool {
        self.hash.contains('/')
    }

    /// Whether it is the key of a callback of release 0.1.
    pub fn is_of_first_release(&self) -> bool {
        self.hash.matches('/').count() == 1
    }
}

/// Hashes each part with its length, so different lists of parts never have the same input.
fn hash(parts: &[&str]) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update(u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
        hash.update(part);
    }
    Base32UpperUnpadded::encode_string(&hash.finalize())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_of_different_parts_differ() {
        let signed = |scope: &str, identity| Key::of_identity(scope, &identity, "w").unwrap();
        let keys = [
            Key::event("ab", "c", "w"),
            Key::event("a", "bc", "w"),
            Key::event("a", "b", "cw"),
            Key::event("", "abc", "w"),
            Key::event("ab", "c", "w").within(Some("s")),
            Key::event("ab", "c", "w").within(Some("t")),
            Key::idempotency("ab", "c", "w"),
            Key::idempotency("ab", "c", "w").within(Some("s")),
            signed("ab", Identity::Id("c".into())),
            signed("b", Identity::Id("c".into())),
            signed("ab", Identity::Digest("c".into())),
            signed("ab", Identity::IdAndDigest { id: "c".into(), digest: "d".into() }),
            signed("ab", Identity::IdAndDigest { id: "c".into(), digest: "e".into() }),
            signed("ab", Identity::Key { key: "c".into(), digest: "d".into() }),
        ];
        for (n, key) in keys.iter().enumerate() {
            assert_eq!(key.hash().len(), 52);
            assert!(keys.iter().skip(n + 1).all(|other| other.hash() != key.hash()), "{n}");
        }
        assert_eq!(Key::event("a", "b", "w"), Key::event("a", "b", "w"));
        assert_ne!(Key::idempotency("k", "w", "{}").digest(), Key::idempotency("k", "w", "{ }").digest());
        let (key, digest) = ("k".to_owned(), String::new());
        assert_eq!(
            signed("s", Identity::Key { key: key.clone(), digest }).hash(),
            signed("s", Identity::Key { key, digest: "d".into() }).hash()
        );
        assert_eq!(Key::of_identity("s", &Identity::Unknown { digest: "d".into() }, "w"), None);
    }
}
