//! What passes leave behind for the metrics and the console: samples, and the names of the notes about sources.
//!
//! The last sample is stored with the lease, so it costs nothing. Once a minute, the one before goes into the ring,
//! which has a key of its own, so that the lease stays short.

use serde::{Deserialize, Serialize};

use super::lease::Scan;
use super::names::{HISTORY, KeyList, Name};
use super::state::KeyValueStore;
use crate::json;
use crate::ports::{Clock, KeyValue, StoreError};
use crate::store::codec_error;
use crate::store::sample::{self, Sample};
use crate::store::source_note::{NoteKind, kind_of};

/// Maximum number of names of notes.
const MAX_NAMES: usize = 256;

/// The stored form: versioned JSON.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct History {
    v: u32,
    /// The ring of samples, without the last one.
    samples: Vec<Sample>,
    /// The last parts of the names of the notes about keys and refused requests, sorted.
    pub(super) source_notes: Vec<String>,
}

impl History {
    const VERSION: u32 = 1;

    /// Reads it. One that is damaged or of a later version counts as empty. Costs 1 read.
    pub(super) async fn read(host: &impl KeyValue) -> Result<Self, StoreError> {
        let bytes = host.get(HISTORY).await?;
        let stored = bytes.and_then(|bytes| json::read(&bytes).ok()).filter(|stored: &Self| stored.v == Self::VERSION);
        Ok(stored.unwrap_or_default())
    }
}

impl<H: KeyValue + Clock> KeyValueStore<'_, H> {
    /// Adds the sample of a pass, which has listed these keys, to the note that is stored with the lease, and the one
    /// before to the ring. Costs 1 read and 1 write for the first pass of a minute, and nothing for the others.
    pub(super) async fn add_sample(&self, scan: &mut Scan, sample: Sample, list: &KeyList) -> Result<(), StoreError> {
        let is_first = scan.sample.is_none();
        let (last, complete) = sample.follow(scan.sample.take());
        scan.sample = Some(last);
        if !is_first && complete.is_none() {
            return Ok(());
        }
        let mut history = History::read(self.host).await?;
        if let Some(complete) = complete {
            sample::push(&mut history.samples, complete, self.host.now());
        }
        let names = list.0.iter().filter_map(|name| match Name::parse(name) {
            Name::SourceNote(rest) if kind_of(rest).is_some_and(NoteKind::is_seen) => Some(rest.to_owned()),
            _ => None,
        });
        history.source_notes = names.collect();
        history.source_notes.sort_unstable();
        history.source_notes.truncate(MAX_NAMES);
        history.v = History::VERSION;
        self.host.set(HISTORY, &serde_json::to_vec(&history).map_err(codec_error)?).await
    }

    /// The samples of the last passes. Costs 2 reads.
    pub(super) async fn all_samples(&self) -> Result<Vec<Sample>, StoreError> {
        let (scan, _) = Scan::last(self.host).await?;
        Ok(sample::joined(History::read(self.host).await?.samples, scan.sample))
    }
}
