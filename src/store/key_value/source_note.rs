//! Notes about sources, each under a key of its own.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::claim::Claims;
use super::history::History;
use super::lease::Scan;
use super::names::{self, Name};
use super::state::KeyValueStore;
use super::sweep::{Swept, remove_at};
use crate::json;
use crate::ports::{Clock, KeyValue, Rng, StoreError};
use crate::store::codec_error;
use crate::store::source_note::{NoteKind, SOURCE_NOTE_AGE, SourceNotes, check_length, kind_of, stored_name};
use crate::time::{MAX_CLOCK_SKEW, Timestamp};

/// The time between two sweeps of notes, which read each of them.
const INTERVAL: Duration = Duration::from_secs(24 * 3_600);

/// The value of a note.
#[derive(Debug, Serialize, Deserialize)]
struct Noted {
    v: u32,
    /// When it was written.
    at: Timestamp,
    note: Box<RawValue>,
}

impl Noted {
    const VERSION: u32 = 1;

    /// Decodes a note; `None` if it is damaged or of a later version.
    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        json::read(bytes).ok().filter(|noted: &Self| noted.v == Self::VERSION)
    }

    /// Whether it is over. One from the future was written by a clock that was wrong.
    fn is_over(&self, now: Timestamp) -> bool {
        self.at > now.plus(MAX_CLOCK_SKEW) || now.since(self.at) >= SOURCE_NOTE_AGE
    }
}

impl<H: KeyValue + Clock> KeyValueStore<'_, H> {
    async fn noted(&self, name: &str) -> Result<Option<String>, StoreError> {
        let noted = self.host.get(name).await?.and_then(|bytes| Noted::from_bytes(&bytes));
        let noted = noted.filter(|noted| !noted.is_over(self.host.now()));
        Ok(noted.map(|noted| noted.note.get().to_owned()))
    }
}

/// A read and a write cost 1 each. The list of notes costs a list of all keys, and 1 read for each of them.
impl<H: KeyValue + Clock + Rng> SourceNotes for KeyValueStore<'_, H> {
    async fn source_note(&self, kind: NoteKind, name: &str) -> Result<Option<String>, StoreError> {
        self.noted(&names::source_note(&stored_name(kind, name))).await
    }

    async fn write_source_note(&self, kind: NoteKind, name: &str, note: &str) -> Result<(), StoreError> {
        check_length(note)?;
        let note = RawValue::from_string(note.to_owned()).map_err(codec_error)?;
        let noted = Noted { v: Noted::VERSION, at: self.host.now(), note };
        let bytes = serde_json::to_vec(&noted).map_err(codec_error)?;
        self.host.set(&names::source_note(&stored_name(kind, name)), &bytes).await
    }

    async fn source_notes(&self, limit: usize) -> Result<Vec<(NoteKind, String)>, StoreError> {
        let list = self.deliveries().list().await?;
        let mut notes = Vec::new();
        for name in &list.0 {
            let Name::SourceNote(rest) = Name::parse(name) else { continue };
            let Some(kind) = kind_of(rest) else { continue };
            if notes.len() >= limit {
                break;
            }
            notes.extend(self.noted(name).await?.map(|note| (kind, note)));
        }
        Ok(notes)
    }

    /// Costs 1 read, and 1 for each note.
    async fn seen_source_notes(&self, limit: usize) -> Result<Vec<(NoteKind, String)>, StoreError> {
        let mut notes = Vec::new();
        for name in History::read(self.host).await?.source_notes.iter().take(limit) {
            let Some(kind) = kind_of(name).filter(|kind| kind.is_seen()) else { continue };
            notes.extend(self.noted(&names::source_note(name)).await?.map(|note| (kind, note)));
        }
        Ok(notes)
    }
}

impl<H: KeyValue + Clock + Rng> Claims<'_, H> {
    /// Deletes notes that are over, once a day. One that can't be decoded stays: a later release may have written it.
    /// Costs 1 read for each note, and 1 write for each that is deleted.
    pub(super) async fn sweep_source_notes(
        &self,
        left: &mut Vec<&str>,
        scan: &mut Scan,
        swept: &mut Swept,
        end: Timestamp,
    ) -> Result<(), StoreError> {
        let now = self.host.now();
        let is_note = |name: &&str| matches!(Name::parse(name), Name::SourceNote(_));
        let is_recent = |at: Timestamp| at <= now.plus(MAX_CLOCK_SKEW) && now.since(at) < INTERVAL;
        if scan.notes_swept.is_some_and(is_recent) || !left.iter().any(is_note) {
            return Ok(());
        }
        let mut deleted = Vec::new();
        for (nth, name) in left.iter().enumerate().filter(|(_, name)| is_note(name)) {
            if self.host.now() >= end {
                swept.more = true;
                break;
            }
            let noted = self.host.get(name).await?.and_then(|bytes| Noted::from_bytes(&bytes));
            if noted.is_some_and(|noted| noted.is_over(now)) && self.delete(name, swept, end).await? {
                deleted.push(nth);
            }
        }
        if !swept.more {
            scan.notes_swept = Some(now);
        }
        remove_at(left, &deleted);
        Ok(())
    }
}
