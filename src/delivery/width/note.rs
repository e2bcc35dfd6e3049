//! The stored form: what passes tell each other, as versioned JSON.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::limit::Width;
use super::pace::Pace;
use crate::json;
use crate::time::Timestamp;

/// Maximum length of the note in bytes.
pub const MAX_NOTE: usize = 4_096;
/// Maximum number of passes in the note: those that were written last.
pub const MAX_PASSES: usize = 32;
/// Maximum number of workflows in the note: those with the smallest width.
pub const MAX_WORKFLOWS: usize = 32;

const VERSION: u32 = 1;

/// The note that all passes share: the widths, the passes that run, and the pace.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Note {
    v: u32,
    /// When it was written.
    pub(super) at: Timestamp,
    pub(super) engine: Width,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) workflows: BTreeMap<String, Width>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) passes: Vec<PassEntry>,
    /// The last refusal of a fresh delivery that was counted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) refused: Option<Timestamp>,
    pub(super) pace: Pace,
}

/// A pass that runs, or one that has ended while the engine may still be at work on its requests.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct PassEntry {
    pub(super) id: u64,
    /// When the entry ends, unless it is renewed.
    pub(super) until: Timestamp,
    /// Number of requests that the engine may still be at work on, if the pass has ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) left: Option<u32>,
    /// Whether the pass has ended and the next one may take its place. Until then, nobody has its share.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) vacant: bool,
}

impl Note {
    pub(super) fn new(at: Timestamp, engine: Width, pace: Pace) -> Self {
        Self { v: VERSION, at, engine, workflows: BTreeMap::new(), passes: Vec::new(), refused: None, pace }
    }

    /// Decodes a note; `None`, as if there were none, if it is damaged or of another version.
    pub fn read(text: &str) -> Option<Self> {
        json::read(text.as_bytes()).ok().filter(|note: &Self| note.v == VERSION)
    }

    /// Encodes the note in at most [`MAX_NOTE`] bytes. Workflows that don't fit are left out, the widest first: their
    /// next 429 is the first one again.
    pub(super) fn write(mut self) -> String {
        self.passes.sort_by_key(|pass| std::cmp::Reverse(pass.until));
        self.passes.truncate(MAX_PASSES);
        loop {
            let text = serde_json::to_string(&self).unwrap_or_default();
            if self.workflows.len() <= MAX_WORKFLOWS && text.len() <= MAX_NOTE {
                return text;
            }
            let widest = self.workflows.iter().max_by_key(|(_, width)| (width.paused(self.at).is_none(), width.size));
            let Some(widest) = widest.map(|(name, _)| name.clone()) else { return text };
            self.workflows.remove(&widest);
        }
    }

    /// The engine's width.
    pub fn width(&self) -> u32 {
        self.engine.size
    }

    /// Until when nothing is sent to the engine; `None` unless it is paused at `now`.
    pub fn paused(&self, now: Timestamp) -> Option<Timestamp> {
        self.engine.paused(now)
    }

    /// The workflows that the engine limits by 429: their widths, and until when they are paused.
    pub fn workflows(&self, now: Timestamp) -> impl Iterator<Item = (&str, u32, Option<Timestamp>)> {
        self.workflows.iter().map(move |(name, width)| (name.as_str(), width.size, width.paused(now)))
    }

    /// Number of passes that run at `now`.
    pub fn passes(&self, now: Timestamp) -> usize {
        self.passes.iter().filter(|pass| pass.left.is_none() && !pass.vacant && pass.until > now).count()
    }

    /// The pace of the drain.
    pub fn pace(&self) -> &Pace {
        &self.pace
    }
}
