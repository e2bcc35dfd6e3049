//! The version of the stored form, and what a claim has to know about the store.
//!
//! A drain writes it, under the lease. Each claim reads it first.

use serde::{Deserialize, Serialize};

use super::names::FORM;
use crate::json;
use crate::ports::{KeyValue, StoreError};
use crate::store::codec_error;

/// The version that this release writes, and the only one that it reads.
const VERSION: u32 = 1;

/// What a claim has to know about the store.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Form {
    pub(super) v: u32,
    /// The size of the table of races. It is decided once for a store: two contenders have to use the same table.
    pub(super) doors: u32,
    /// Whether no key of an earlier release is left.
    pub(super) moved: bool,
    /// Whether the keys that are never dropped have reached `max_keys`: nothing new can be stored.
    #[serde(default)]
    pub(super) full: bool,
    /// The number of keys of an earlier release that the last pass has left.
    #[serde(default)]
    pub(super) left: u64,
}

impl Form {
    /// The form of a store that no drain of this version has seen yet.
    fn unknown(doors: u32) -> Self {
        Self { v: VERSION, doors: doors.max(1), moved: false, full: false, left: 0 }
    }

    /// Reads the form; `doors` is for a store that has none yet. Costs one read.
    ///
    /// # Errors
    ///
    /// A form of a later version is an error: nothing in the store may be changed.
    pub(super) async fn read(store: &impl KeyValue, doors: u32) -> Result<Self, StoreError> {
        Ok(Self::stored(store).await?.unwrap_or_else(|| Self::unknown(doors)))
    }

    /// Reads the form; `None` if the store has none yet. One that this version can't read is an error.
    pub(super) async fn stored(store: &impl KeyValue) -> Result<Option<Self>, StoreError> {
        Self::readable(store).await?.map_err(StoreError)
    }

    /// Reads the form; `None` if the store has none yet. The inner error says why this version can't read it.
    pub(super) async fn readable(store: &impl KeyValue) -> Result<Result<Option<Self>, String>, StoreError> {
        /// What all versions have.
        #[derive(Deserialize)]
        struct Version {
            v: u32,
        }
        let Some(bytes) = store.get(FORM).await? else { return Ok(Ok(None)) };
        Ok(match json::read(&bytes) {
            Ok(Version { v }) if v > VERSION => Err(format!(
                "the store was written by a later version of Sluice: its form is {v}, and this version knows form {VERSION}; nothing is read or changed"
            )),
            _ => json::read(&bytes).map(Some).map_err(|error| format!("the form of the store can't be read: {error}")),
        })
    }

    /// Writes the form, if it differs from the one that was read.
    pub(super) async fn write(&self, store: &impl KeyValue, read: Option<&Self>) -> Result<(), StoreError> {
        if read == Some(self) {
            return Ok(());
        }
        store.set(FORM, &serde_json::to_vec(self).map_err(codec_error)?).await
    }

    /// Returns an error if nothing new can be stored.
    pub(super) fn check_room(&self) -> Result<(), StoreError> {
        if self.full {
            return Err(StoreError(
                "the store is full: max_keys are pending or dead, and those are never dropped".into(),
            ));
        }
        Ok(())
    }
}
