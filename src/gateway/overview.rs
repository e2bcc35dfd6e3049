//! The state of the gateway at a glance, for an operator.

use serde_json::value::RawValue;

use super::{DrainSummary, store_of};
use crate::delivery::DeliveryId;
use crate::ports::{Host, StoreError};
use crate::store::{EngineFault, Outbox as _, Sample, Status, StoreHealth, Twice};
use crate::time::Timestamp;

/// The state of the gateway.
#[derive(Clone, Debug)]
pub struct Overview {
    /// Number of pending deliveries.
    pub pending: usize,
    /// Number of dead letters.
    pub dead: usize,
    /// The id of the oldest pending delivery.
    pub oldest: Option<DeliveryId>,
    /// Why the last attempt of that delivery failed.
    pub failure: Option<String>,
    /// A configuration fault that an operator has to fix before the engine accepts anything.
    pub fault: Option<EngineFault>,
    /// The last delivery that has two runs.
    pub twice: Option<Twice>,
    /// The end of the last complete pass of the drain, and its summary if that can be decoded.
    pub drained: Option<(Timestamp, Option<DrainSummary>)>,
    /// What an operator has to know about the store itself.
    pub store: StoreHealth,
}

/// Reads the state from the store. Needs no other settings than those of the store: it is shown even if those are
/// wrong.
pub async fn overview(host: &impl Host) -> Result<Overview, StoreError> {
    let Status { pending, dead, oldest, oldest_delivery, faults } = store_of(host).status().await?;
    let failure = oldest_delivery
        .filter(|delivery| delivery.early_since.is_none())
        .and_then(|delivery| delivery.last_failure().map(str::to_owned));
    Ok(Overview {
        pending,
        dead,
        oldest,
        failure,
        fault: faults.engine,
        twice: faults.twice,
        drained: last_drain(faults.drained),
        store: faults.store,
    })
}

/// Reads the samples of the last passes of the drain, the oldest first: at most [`MAX_SAMPLES`](crate::store::MAX_SAMPLES),
/// of which the last one is that of the last pass. Needs no other settings than those of the store. Costs 2 reads.
pub async fn samples(host: &impl Host) -> Result<Vec<Sample>, StoreError> {
    store_of(host).samples().await
}

/// Decodes the summary of the last pass of the drain; `None` in place of one that can't be decoded.
pub fn last_drain(drained: Option<(Timestamp, Option<Box<RawValue>>)>) -> Option<(Timestamp, Option<DrainSummary>)> {
    drained.map(|(at, text)| (at, text.and_then(|text| serde_json::from_str(text.get()).ok())))
}
