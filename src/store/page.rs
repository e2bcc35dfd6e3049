//! Pages of stored deliveries, for an operator.

use crate::callback::CallbackRecord;
use crate::delivery::{Delivery, DeliveryId, StoredError};

/// Maximum number of records that one request for a page reads. A page may therefore be short, and have a next one.
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
    /// Number of records that were read for it.
    pub scanned: usize,
    /// The id after which the next page begins; `None` on the last page.
    pub next: Option<DeliveryId>,
}

/// A page of deliveries, with the number of all.
#[derive(Debug)]
pub struct Found {
    /// The page.
    pub page: Page,
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
