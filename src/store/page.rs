//! Pages of stored deliveries, for an operator.

use crate::callback::CallbackRecord;
use crate::delivery::{Delivery, DeliveryId, StoredError};

/// Maximum number of records that one search reads from a key-value store, which has no index of them.
pub const MAX_SCANNED: usize = 500;

/// The state of a stored delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeliveryState {
    /// The drain will attempt it.
    Pending,
    /// It is a dead letter: kept for an operator, and no longer attempted.
    Dead,
}

impl DeliveryState {
    /// The state's name in the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Dead => "dead",
        }
    }
}

/// A page of deliveries.
#[derive(Debug)]
pub struct Page {
    /// In order of arrival; the error is a record that can't be decoded.
    pub deliveries: Vec<(DeliveryId, Result<Delivery<'static>, StoredError>)>,
    /// The id of the page's last delivery, after which the next page begins; `None` on the last page.
    pub next: Option<DeliveryId>,
}

/// The result of a search.
#[derive(Debug)]
pub struct Found {
    /// In order of arrival; the error is a record that can't be read.
    pub deliveries: Vec<(DeliveryId, Result<Delivery<'static>, StoredError>)>,
    /// Number of records that the search has read.
    pub scanned: usize,
    /// The id after which the next search continues; `None` if all records were read.
    pub next: Option<DeliveryId>,
    /// Number of all pending deliveries.
    pub pending: usize,
    /// Number of all dead letters.
    pub dead: usize,
}

/// Callbacks of a run.
#[derive(Debug, Default)]
pub struct CallbackPage {
    /// In order of arrival.
    pub records: Vec<CallbackRecord>,
    /// Where the next page begins; `None` on the last page.
    pub next: Option<String>,
}

/// Whether the workflow, run or topic of a delivery contains `wanted`, which is in lower case.
pub(super) fn contains(delivery: &Delivery<'_>, wanted: &str) -> bool {
    let topic = delivery.work.topic().unwrap_or_default();
    [delivery.work.reference(), topic].iter().any(|name| name.to_ascii_lowercase().contains(wanted))
}
