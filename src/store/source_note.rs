//! Notes about sources: the public keys of their senders, and refused and verified requests.

use std::time::Duration;

use sha2::{Digest, Sha256};

use crate::ports::StoreError;

/// The time for which a note is kept that is not written again: notes of sources that no longer exist, and of keys that nobody
/// uses, go with a sweep.
pub const SOURCE_NOTE_AGE: Duration = Duration::from_secs(30 * 24 * 3_600);

/// Maximum length of a note, in bytes.
pub const MAX_SOURCE_NOTE: usize = 262_144;

/// The kind of a note.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum NoteKind {
    /// The public keys of a URL ([`FetchedKeys`](crate::sender::FetchedKeys)).
    Keys,
    /// The last attempts to fetch public keys ([`FetchAttempts`](crate::sender::FetchAttempts)).
    Fetches,
    /// The last refused requests of a source ([`LastRefused`](crate::source::LastRefused)).
    Refused,
    /// The last verified request of a source ([`LastVerified`](crate::source::LastVerified)).
    Verified,
    /// The secrets that a sender has handed over ([`HandedSecrets`](crate::source::HandedSecrets)).
    Handed,
    /// The token that a login at the engine has returned ([`Session`](crate::engine::Session)).
    Session,
}

impl NoteKind {
    /// All kinds.
    pub const ALL: [Self; 6] = [Self::Keys, Self::Fetches, Self::Refused, Self::Verified, Self::Handed, Self::Session];

    /// Whether [`seen_source_notes`](SourceNotes::seen_source_notes) reads notes of this kind.
    pub(super) fn is_seen(self) -> bool {
        matches!(self, Self::Keys | Self::Refused)
    }

    /// The kind's name in the store.
    fn as_str(self) -> &'static str {
        match self {
            Self::Keys => "keys",
            Self::Fetches => "fetches",
            Self::Refused => "refused",
            Self::Verified => "verified",
            Self::Handed => "handed",
            Self::Session => "session",
        }
    }
}

/// The last part of a note's name in a store: the kind, and 128 bits of the SHA-256 of the name, which may have any length and
/// any characters.
pub(super) fn stored_name(kind: NoteKind, name: &str) -> String {
    let mut hash = base16ct::lower::encode_string(&Sha256::digest(name.as_bytes()));
    hash.truncate(32);
    format!("{}:{hash}", kind.as_str())
}

/// The kind in such a name; `None` for one of another release.
pub(super) fn kind_of(stored_name: &str) -> Option<NoteKind> {
    let (kind, _) = stored_name.split_once(':')?;
    NoteKind::ALL.into_iter().find(|known| known.as_str() == kind)
}

/// Returns an error for a note that is too long.
pub(super) fn check_length(note: &str) -> Result<(), StoreError> {
    if note.len() <= MAX_SOURCE_NOTE {
        return Ok(());
    }
    Err(StoreError(format!("a note about a source has more than {MAX_SOURCE_NOTE} bytes")))
}

/// Texts about sources, by kind and name: JSON of at most [`MAX_SOURCE_NOTE`] bytes.
///
/// They are lost without harm: keys are fetched again. So a move to another store leaves them behind, and of two that
/// are written at the same time, one remains.
///
/// # Laws
///
/// - [`source_note`](Self::source_note) returns what was written last under kind and name, unless that is
///   [`SOURCE_NOTE_AGE`] old.
/// - A sweep deletes notes that are older, and no others.
pub trait SourceNotes {
    /// Reads a note.
    async fn source_note(&self, kind: NoteKind, name: &str) -> Result<Option<String>, StoreError>;

    /// Writes a note.
    async fn write_source_note(&self, kind: NoteKind, name: &str, note: &str) -> Result<(), StoreError>;

    /// Reads at most `limit` notes, in no particular order. A name that matters has to be in the note.
    async fn source_notes(&self, limit: usize) -> Result<Vec<(NoteKind, String)>, StoreError>;

    /// Reads at most `limit` notes about keys and refused requests, in no particular order. In a key-value store, these
    /// are the ones that a pass of the drain has found, so that not all keys have to be listed.
    async fn seen_source_notes(&self, limit: usize) -> Result<Vec<(NoteKind, String)>, StoreError>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_is_read_from_its_name() {
        for kind in NoteKind::ALL {
            assert_eq!(kind_of(&stored_name(kind, "https://a/\u{0}é")), Some(kind));
        }
        for other in ["", "keys", "other:0", ":", "Keys:0"] {
            assert_eq!(kind_of(other), None, "{other}");
        }
    }

    #[test]
    fn name_has_a_bounded_length_and_characters_that_each_store_permits() {
        for name in ["", "a", "https://a/?b=c&d", &"x".repeat(10_000)] {
            let stored = stored_name(NoteKind::Verified, name);
            assert!(
                stored.len() < 64 && stored.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b':')
            );
        }
        assert_ne!(stored_name(NoteKind::Keys, "a"), stored_name(NoteKind::Keys, "b"));
        assert_ne!(stored_name(NoteKind::Keys, "a"), stored_name(NoteKind::Fetches, "a"));
    }
}
