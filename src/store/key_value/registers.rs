//! The values of a claim's registers.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::names::{Register, Round};
use crate::callback::CallbackRecord;
use crate::delivery::DeliveryId;
use crate::json;
use crate::ports::StoreError;
use crate::store::codec_error;
use crate::time::Timestamp;

/// How long a contender that has written `race` is assumed to be still entering. Waiting for it makes it less likely
/// that both lose; that at most one wins doesn't depend on it.
pub(super) const ENTERING_TIME: Duration = Duration::from_millis(500);

/// The value of `void`. Only its presence is read.
pub(super) const VOID: &[u8] = br#"{"v":1}"#;

/// The value of `race`, `mark` and `won`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Contender {
    v: u32,
    /// The contender's name, which was never used before: the id of its delivery, a slash, and random digits.
    by: String,
    /// When it entered.
    pub(super) at: Timestamp,
    /// In `race`: the name of the mark that it is about to write.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    mark: Option<String>,
    /// In `won`: the contender's callback, which is thereby stored before it is sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) callback: Option<CallbackRecord>,
    /// In `won`: the contender was not chosen after all.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) withdrawn: bool,
}

impl Contender {
    const VERSION: u32 = 1;

    /// A contender of a delivery; `random` makes its name unique.
    pub(super) fn new(id: DeliveryId, random: u64, at: Timestamp) -> Self {
        Self { v: Self::VERSION, by: format!("{id}/{random:016x}"), at, mark: None, callback: None, withdrawn: false }
    }

    /// Decodes a value; `None` if it is damaged or of a later version.
    pub(super) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        json::read(bytes).ok().filter(|contender: &Self| contender.v == Self::VERSION)
    }

    pub(super) fn to_bytes(&self) -> Result<Vec<u8>, StoreError> {
        serde_json::to_vec(self).map_err(codec_error)
    }

    /// Its value of `race`, before it enters a round.
    pub(super) fn racing(&self, round: &Round) -> Self {
        Self { mark: Some(Register::Mark.of(round)), ..self.clone() }
    }

    /// Its value of `won`, with its callback.
    pub(super) fn winning(&self, callback: Option<CallbackRecord>) -> Self {
        Self { callback, ..self.clone() }
    }

    /// Its value of `won` once it has withdrawn.
    pub(super) fn withdrawn(&self) -> Self {
        Self { withdrawn: true, callback: None, ..self.clone() }
    }

    /// Whether both have the same name.
    pub(super) fn is(&self, other: &Self) -> bool {
        self.by == other.by
    }

    /// Whether it contends for this delivery.
    pub(super) fn is_of(&self, id: DeliveryId) -> bool {
        self.by.split('/').next() == Some(id.to_string().as_str())
    }

    /// Whether its value of `race` shows that it enters or has entered this round.
    pub(super) fn races_in(&self, round: &Round) -> bool {
        self.mark.as_deref() == Some(Register::Mark.of(round).as_str())
    }

    /// Whether it may not have reached the mark of this round yet.
    pub(super) fn is_entering(&self, round: &Round, now: Timestamp) -> bool {
        self.races_in(round) && self.at <= now.plus(ENTERING_TIME) && now.since(self.at) < ENTERING_TIME
    }
}

/// The slot of a key in a table of races: FNV-1a, which spreads the digits of a hash well enough.
pub(super) fn slot(short: &str, doors: u32) -> u64 {
    let hash = short
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3));
    hash.checked_rem(u64::from(doors)).unwrap_or_default()
}
