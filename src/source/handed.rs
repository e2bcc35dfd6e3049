//! Secrets that a sender has handed over in its handshake, as they are stored for the operator.

use serde::{Deserialize, Serialize};

use crate::json;
use crate::secret::Secret;
use crate::time::Timestamp;

/// Maximum number of secrets of a source. Anyone can send a handshake, so the first ones are kept: the list shows whether
/// another one has followed.
pub const MAX_HANDED: usize = 4;

const VERSION: u32 = 1;

/// The secrets that were handed over to a source without a secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HandedSecrets {
    v: u32,
    /// The name of the source.
    pub source: String,
    /// The secrets, the first one first: at most [`MAX_HANDED`].
    pub secrets: Vec<HandedSecret>,
}

/// A secret that was handed over.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HandedSecret {
    /// When.
    pub at: Timestamp,
    /// The secret.
    pub secret: String,
}

/// Redacted.
impl std::fmt::Debug for HandedSecret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HandedSecret").field("at", &self.at).finish_non_exhaustive()
    }
}

impl HandedSecrets {
    /// An empty list.
    pub fn new(source: &str) -> Self {
        Self { v: VERSION, source: source.to_owned(), secrets: Vec::new() }
    }

    /// Reads the stored form; `None` for a text of another version.
    pub fn read(text: &str) -> Option<Self> {
        json::read(text.as_bytes()).ok().filter(|list: &Self| list.v == VERSION)
    }

    /// The stored form: JSON.
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }

    /// Adds a secret. Returns whether the list has it now: a full one takes no other.
    pub fn add(&mut self, secret: &Secret, at: Timestamp) -> bool {
        if self.secrets.iter().any(|handed| secret.matches(&handed.secret)) {
            return true;
        }
        let has_room = self.secrets.len() < MAX_HANDED;
        if has_room {
            self.secrets.push(HandedSecret { at, secret: secret.expose().to_owned() });
        }
        has_room
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_secrets_are_kept() {
        let mut list = HandedSecrets::new("asana");
        for n in 0..MAX_HANDED {
            assert!(list.add(&Secret::new(&format!("s{n}")), Timestamp(1)), "{n}");
        }
        assert!(!list.add(&Secret::new("late"), Timestamp(2)));
        assert!(list.add(&Secret::new("s0"), Timestamp(3)), "a handshake that is repeated is answered again");
        assert_eq!((list.secrets.len(), list.secrets[0].at), (MAX_HANDED, Timestamp(1)));
        assert_eq!(HandedSecrets::read(&list.to_json()), Some(list.clone()));
        assert_eq!(HandedSecrets::read(r#"{"v":2,"source":"asana","secrets":[]}"#), None);
        assert!(!format!("{list:?}").contains("s0"));
    }
}
