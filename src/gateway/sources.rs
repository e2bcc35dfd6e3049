//! Notes about sources, for the operator: refused and verified requests, and fetched keys.

use super::store_of;
use crate::ports::{Host, StoreError};
use crate::secret::Secret;
use crate::sender::{FetchAttempts, FetchedKeys};
use crate::source::{HandedSecrets, LastRefused, LastVerified, Refused};
use crate::store::{NoteKind, SourceNotes as _};
use crate::time::Timestamp;

/// Maximum number of notes that are read to be shown.
const MAX_SHOWN: usize = 1_024;

/// The name of the list of requests that belong to no source. No source has an empty name.
const NO_SOURCE: &str = "";

/// Remembers a request that was refused; called after the response. `source` is the name of a configured source, never
/// one that the request made up; `None` if the request belongs to none.
///
/// `explain` gets the time. It is called only if the request is remembered, which is at most once a minute for each
/// source, and its result is returned for the log. Costs 1 read, and 1 write if the request is remembered.
pub async fn remember_refusal(
    host: &impl Host,
    source: Option<&str>,
    explain: impl FnOnce(Timestamp) -> Refused,
) -> Result<Option<Refused>, StoreError> {
    let (store, name) = (store_of(host), source.unwrap_or(NO_SOURCE));
    let list = store.source_note(NoteKind::Refused, name).await?.and_then(|text| LastRefused::read(&text));
    let mut list = list.unwrap_or_else(|| LastRefused::new(source));
    let now = host.now();
    if !list.is_open(now) {
        return Ok(None);
    }
    let refused = explain(now);
    list.add(refused.clone());
    store.write_source_note(NoteKind::Refused, name, &list.to_json()).await?;
    Ok(Some(refused))
}

/// Remembers that a request of a source was verified; called after the response. `old_secret` is the index of the secret
/// if it [is an old one](crate::source::OldSecret).
///
/// Costs 1 read, and at most 1 write a minute; 2 while old secrets verify requests as well.
pub async fn remember_verified(host: &impl Host, source: &str, old_secret: Option<usize>) -> Result<(), StoreError> {
    let store = store_of(host);
    let stored = store.source_note(NoteKind::Verified, source).await?.and_then(|text| LastVerified::read(&text));
    let note = LastVerified::new(source, old_secret, host.now());
    let note = match stored {
        Some(stored) => stored.renewed(note),
        None => Some(note),
    };
    match note {
        Some(note) => store.write_source_note(NoteKind::Verified, source, &note.to_json()).await,
        None => Ok(()),
    }
}

/// Remembers a secret that a sender has handed over to a source without one. Returns whether it is stored: of many that
/// are handed over, the first ones are kept. Costs 1 read and 1 write.
pub async fn remember_handed(host: &impl Host, source: &str, secret: &Secret) -> Result<bool, StoreError> {
    let store = store_of(host);
    let list = store.source_note(NoteKind::Handed, source).await?.and_then(|text| HandedSecrets::read(&text));
    let mut list = list.unwrap_or_else(|| HandedSecrets::new(source));
    if !list.add(secret, host.now()) {
        return Ok(false);
    }
    store.write_source_note(NoteKind::Handed, source, &list.to_json()).await?;
    Ok(true)
}

/// The notes about sources, without those that can't be decoded.
#[derive(Clone, Debug, Default)]
pub struct Remembered {
    /// The last refused requests, by source.
    pub refused: Vec<LastRefused>,
    /// When each source was last verified.
    pub verified: Vec<LastVerified>,
    /// The fetched keys, by URL.
    pub keys: Vec<FetchedKeys>,
    /// The secrets that senders have handed over.
    pub handed: Vec<HandedSecrets>,
    /// The last attempts to fetch keys.
    pub fetches: Vec<FetchAttempts>,
}

/// Reads the notes about sources. Needs no other settings than those of the store. Lists all keys of a
/// key-value store.
pub async fn remembered(host: &impl Host) -> Result<Remembered, StoreError> {
    Ok(Remembered::of(store_of(host).source_notes(MAX_SHOWN).await?))
}

/// Reads the notes about refused requests and fetched keys that a pass of the drain has seen. Needs no other settings
/// than those of the store. Costs 1 read, and 1 for each of these notes.
pub async fn seen(host: &impl Host) -> Result<Remembered, StoreError> {
    Ok(Remembered::of(store_of(host).seen_source_notes(MAX_SHOWN).await?))
}

impl Remembered {
    fn of(notes: Vec<(NoteKind, String)>) -> Self {
        let mut remembered = Self::default();
        for (kind, text) in notes {
            match kind {
                NoteKind::Refused => remembered.refused.extend(LastRefused::read(&text)),
                NoteKind::Verified => remembered.verified.extend(LastVerified::read(&text)),
                NoteKind::Keys => remembered.keys.extend(FetchedKeys::read(&text)),
                NoteKind::Fetches => remembered.fetches.extend(FetchAttempts::read(&text)),
                NoteKind::Handed => remembered.handed.extend(HandedSecrets::read(&text)),
                // The engine's token is nobody else's business.
                NoteKind::Session => {}
            }
        }
        remembered.refused.sort_by(|a, b| a.source.cmp(&b.source));
        remembered.verified.sort_by(|a, b| a.source.cmp(&b.source));
        remembered.keys.sort_by(|a, b| a.url().cmp(b.url()));
        remembered
    }
}
