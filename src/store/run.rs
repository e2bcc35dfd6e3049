//! Records of runs that are not looked at like others.

use serde::{Deserialize, Serialize};

use super::claims::Claims;
use super::{codec_error, keys};
use crate::json;
use crate::ports::{Clock, KeyValue, StoreError};

/// The record of a run, stored only if the run is not looked at like others.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunRecord {
    v: u32,
    /// The scope of its workflow, such as a team.
    pub scope: Option<String>,
    /// Whether a lookup by label finds it, but the engine does not show it.
    pub unseen: bool,
}

impl RunRecord {
    const VERSION: u32 = 1;

    /// The record of a run.
    pub fn new(scope: Option<String>, unseen: bool) -> Self {
        Self { v: Self::VERSION, scope, unseen }
    }
}

impl<H: KeyValue + Clock> Claims<'_, H> {
    /// Reads the record of a run; `None` if it has none, or one that can't be decoded.
    pub async fn run(&self, run: &str) -> Result<Option<RunRecord>, StoreError> {
        for window in self.callback_retention.lookup(self.host.now()) {
            if let Some(bytes) = self.host.get(&keys::run(run, window)).await? {
                return Ok(json::read(&bytes).ok().filter(|record: &RunRecord| record.v == RunRecord::VERSION));
            }
        }
        Ok(None)
    }

    /// Writes the record of a run.
    pub async fn record_run(&self, run: &str, record: &RunRecord) -> Result<(), StoreError> {
        let bytes = serde_json::to_vec(record).map_err(codec_error)?;
        let window = self.callback_retention.window(self.host.now());
        self.host.set(&keys::run(run, window), &bytes).await
    }
}
