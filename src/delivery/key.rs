//! What makes two deliveries one: the key, and where the store keeps what is known of it.

use base16ct::lower::encode_string as hex;
use base32ct::{Base32UpperUnpadded, Encoding};
use sha2::{Digest, Sha256};

use crate::callback::{self, Callback};
use crate::reference::{RunRef, Topic};
use crate::sender::Identity;

/// The key of a delivery. Its hash stands for what it names; its digest tells whether two of one key say the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    hash: String,
    digest: String,
}

/// A value that the store keeps for a key, in a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Register {
    /// Who came last.
    Door,
    /// Somebody was in.
    Flag,
    /// What came of it.
    Done,
}

impl Key {
    /// A CloudEvent: `source` and `id` name it (CloudEvents 1.0.2, "Required Attributes"); whatever else it says, it is
    /// the same event. `workflow` because one event may start several.
    pub fn event(source: &str, id: &str, workflow: &str) -> Self {
        Self { hash: hash(&["event", source, id, workflow]), digest: String::new() }
    }

    /// A webhook by its `Idempotency-Key`; `payload` because the same key with another payload is a mistake
    /// (draft-ietf-httpapi-idempotency-key-header-07, section 2.7).
    pub fn idempotency(key: &str, workflow: &str, payload: &str) -> Self {
        Self { hash: hash(&["idempotency-key", key, workflow]), digest: hex(&Sha256::digest(payload)) }
    }

    /// A webhook by what its sender signs: the event's id if that is covered, else the digest of what is.
    pub fn signed(sender: &str, mark: &Identity, workflow: &str) -> Self {
        let (kind, value) = match mark {
            Identity::Id(id) => ("id", id),
            Identity::Digest(digest) => ("digest", digest),
        };
        Self { hash: hash(&["signed", sender, kind, value, workflow]), digest: String::new() }
    }

    /// A callback: run and topic.
    pub fn callback(callback: &Callback<'_>) -> Self {
        Self { hash: callback::hashes(&callback.run, &callback.topic), digest: callback.digest() }
    }

    /// The key of all callbacks for a run and a topic, whatever they say.
    pub fn of_callbacks(run: &RunRef, topic: &Topic) -> Self {
        Self { hash: callback::hashes(run, topic), digest: String::new() }
    }

    /// A key as it was stored.
    pub(super) fn restore(hash: String, digest: String) -> Self {
        Self { hash, digest }
    }

    /// Names the key: 52 letters and digits, so that it also fits where a label's value may have 63; or, for a
    /// callback, two of 64 with a slash between.
    pub fn hash(&self) -> &str {
        &self.hash
    }

    /// Two deliveries of one key say the same if their digests are equal.
    pub fn digest(&self) -> &str {
        &self.digest
    }

    /// Where the store keeps it: at most 255 bytes.
    pub fn register(&self, register: Register, window: u64) -> String {
        let name = match register {
            Register::Door => "door",
            Register::Flag => "flag",
            Register::Done if self.is_callback() => "callback",
            Register::Done => "done",
        };
        format!("sluice/{name}/{window}/{}", self.hash)
    }

    fn is_callback(&self) -> bool {
        self.hash.contains('/')
    }
}

/// Each part goes in with its length, so that no two lists of parts give one input.
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
    use proptest::prelude::*;

    use super::*;
    use crate::callback::Status;

    #[test]
    fn parts_do_not_run_into_one_another() {
        let keys = [
            Key::event("ab", "c", "w"),
            Key::event("a", "bc", "w"),
            Key::event("a", "b", "cw"),
            Key::event("", "abc", "w"),
            Key::idempotency("ab", "c", "w"),
            Key::signed("ab", &Identity::Id("c".into()), "w"),
            Key::signed("ab", &Identity::Digest("c".into()), "w"),
        ];
        for (n, key) in keys.iter().enumerate() {
            assert_eq!(key.hash().len(), 52);
            assert!(keys.iter().skip(n + 1).all(|other| other.hash() != key.hash()), "{n}");
        }
        assert_eq!(Key::event("a", "b", "w"), Key::event("a", "b", "w"));
        assert_ne!(Key::idempotency("k", "w", "{}").digest(), Key::idempotency("k", "w", "{ }").digest());
    }

    proptest! {
        #[test]
        fn a_key_fits_everywhere(run in "[a-zA-Z0-9é]{1,100}", topic in "\\PC{1,200}", window in any::<u64>()) {
            if let (Ok(run), Ok(topic)) = (RunRef::parse(&run), Topic::parse(&topic)) {
                let key = Key::callback(&Callback { run, topic, status: Status::Failed, payload: None });
                for register in [Register::Door, Register::Flag, Register::Done] {
                    let key = key.register(register, window);
                    prop_assert!(key.len() <= 255 && key.starts_with("sluice/") && key.is_ascii());
                }
            }
        }
    }
}
