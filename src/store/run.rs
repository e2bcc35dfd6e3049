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
}

impl RunRecord {
    const VERSION: u32 = 1;

    /// Decodes the stored form; `None` if it is damaged or of a later version.
    pub(super) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        json::read(bytes).ok().filter(|record: &Self| record.v == Self::VERSION)
    }

    /// The record of a run.
    pub fn new(scope: Option<String>, unseen: bool) -> Self {
        Self { v: Self::VERSION, scope, unseen }
    }
}
