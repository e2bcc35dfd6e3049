//! The state of the gateway at a glance, for an operator.

use super::DrainSummary;
use crate::delivery::DeliveryId;
use crate::ports::{Clock, KeyValue, StoreError};
use crate::store::{DeliveryState, EngineFault, Outbox, Scan, Twice};
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
}

/// Reads the state from the store: one list of the keys, and 2 or 3 reads. Needs no settings: it is shown even if those
/// are wrong.
pub async fn overview(host: &(impl KeyValue + Clock)) -> Result<Overview, StoreError> {
    let outbox = Outbox::new(host);
    let list = outbox.list().await?;
    let pending = list.pending();
    let oldest = pending.first().copied();
    let failure = match oldest {
        Some(oldest) => outbox.load(DeliveryState::Pending, oldest).await?.and_then(Result::ok),
        None => None,
    };
    let (scan, _) = Scan::last(host).await?;
    let summary = scan.summary.and_then(|summary| serde_json::from_str(summary.get()).ok());
    Ok(Overview {
        pending: pending.len(),
        dead: list.dead().len(),
        oldest,
        failure: failure
            .filter(|delivery| delivery.early_since.is_none())
            .and_then(|delivery| delivery.last_failure().map(str::to_owned)),
        fault: EngineFault::read(host).await?,
        twice: Twice::read(host).await?,
        drained: (scan.at > Timestamp(0)).then_some((scan.at, summary)),
    })
}
