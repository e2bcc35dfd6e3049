//! Notes about sources, in the table of notes.

use super::session::{Columns, milliseconds, number, text};
use super::{NOTES, PostgresStore, SOURCE_NOTES, SWEEP_NOTES, WRITE_NOTE};
use crate::ports::{Clock, Rng, Sql, SqlValue, StoreError};
use crate::store::source_note::{NoteKind, SOURCE_NOTE_AGE, SourceNotes, check_length, kind_of, stored_name};

/// The beginning of the names of these notes.
const PREFIX: &str = "source:";

/// The name of a note in the table.
fn name(kind: NoteKind, name: &str) -> String {
    format!("{PREFIX}{}", stored_name(kind, name))
}

/// The value of a note; `None` if it is over. Columns `value`, `changed`, `now`.
fn value(columns: &mut Columns, has_since: bool) -> Result<Option<String>, StoreError> {
    let value = columns.text()?;
    if has_since {
        columns.skip();
    }
    let (changed, now) = (columns.time()?, columns.time()?);
    Ok(Some(value).filter(|_| now.since(changed) < SOURCE_NOTE_AGE))
}

impl<H: Sql + Clock + Rng> PostgresStore<'_, H> {
    /// Deletes notes that are over, at most this many; returns their number.
    pub(super) async fn sweep_source_notes(&self, at_once: usize) -> Result<usize, StoreError> {
        let mut rows = self.query(SWEEP_NOTES, &[number(at_once), milliseconds(SOURCE_NOTE_AGE)]).await?;
        Ok(rows.first_mut().map(Columns::number).transpose()?.unwrap_or_default())
    }
}

impl<H: Sql + Clock + Rng> SourceNotes for PostgresStore<'_, H> {
    async fn source_note(&self, kind: NoteKind, of: &str) -> Result<Option<String>, StoreError> {
        let mut rows = self.query(NOTES, &[super::session::json(&[name(kind, of)])?]).await?;
        let Some(columns) = rows.first_mut() else { return Ok(None) };
        value(columns.skip(), true)
    }

    async fn write_source_note(&self, kind: NoteKind, of: &str, note: &str) -> Result<(), StoreError> {
        check_length(note)?;
        self.query(WRITE_NOTE, &[text(name(kind, of)), SqlValue::Text(note.to_owned())]).await.map(drop)
    }

    async fn source_notes(&self, limit: usize) -> Result<Vec<(NoteKind, String)>, StoreError> {
        let mut notes = Vec::new();
        for mut columns in self.query(SOURCE_NOTES, &[number(limit)]).await? {
            let kind = columns.text()?.strip_prefix(PREFIX).and_then(kind_of);
            notes.extend(kind.zip(value(&mut columns, false)?));
        }
        Ok(notes)
    }

    async fn seen_source_notes(&self, limit: usize) -> Result<Vec<(NoteKind, String)>, StoreError> {
        let mut notes = self.source_notes(limit).await?;
        notes.retain(|(kind, _)| kind.is_seen());
        Ok(notes)
    }
}
