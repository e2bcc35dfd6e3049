//! Records of runs that are not looked at like others.

use serde::{Deserialize, Serialize};

use crate::json;

/// The record of a run, stored only if the run is not looked at like others.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunRecord {
    v: u32,
    /// The scope of its workflow, such as a team.
    pub scope: Option<String>,
    /// Whether a lookup by label finds it, but the engine does not show it.
    pub unseen: bool,
    /// The whole [hash](crate::callback::run_id_hash) of the run, of which the name in a key-value store has a half.
    /// Only in the stored form.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) hash: Option<String>,
}

impl RunRecord {
    const VERSION: u32 = 1;

    /// Decodes the stored form; `None` if it is damaged or of a later version.
    pub(super) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        json::read(bytes).ok().filter(|record: &Self| record.v == Self::VERSION)
    }

    /// The stored form, with the whole hash of the run.
    pub(super) fn with_hash(self, hash: &str) -> Self {
        Self { hash: Some(hash.to_owned()), ..self }
    }

    /// The record of a run.
    pub fn new(scope: Option<String>, unseen: bool) -> Self {
        Self { v: Self::VERSION, scope, unseen, hash: None }
    }
}
