//! What the tests of this layer share.

use std::borrow::Cow;
use std::time::Duration;

use http::HeaderMap;
use serde_json::value::RawValue;

use super::{Delivery, DeliveryId, Limits, Payload, Start, Work};
use crate::callback::{Callback, Status};
use crate::reference::{RunRef, Topic, WorkflowRef};
use crate::time::Timestamp;

/// The limits of the shipped configuration.
pub(super) const LIMITS: Limits = Limits {
    max_age: Duration::from_secs(24 * 3_600),
    max_attempts: 100,
    callback_early: Duration::from_secs(600),
    callback_wait: Duration::from_secs(168 * 3_600),
    engine_timeout: Duration::from_secs(10),
    orphan_after: Duration::from_secs(300),
};

/// A start of the workflow `w` that was received at `now`.
pub(super) fn start(random: u64, now: Timestamp) -> Delivery<'static> {
    let payload = Payload::Webhook(Cow::Borrowed(RawValue::NULL));
    let work = Work::Start(Start::new(WorkflowRef::parse("w").unwrap(), payload));
    Delivery::new(DeliveryId::new(now.into(), random), work, HeaderMap::new(), now)
}

/// A callback of the run `r` for the topic `t` that was received at `now`.
pub(super) fn callback(random: u64, now: Timestamp) -> Delivery<'static> {
    let (run, topic) = (RunRef::parse("r").unwrap(), Topic::parse("t").unwrap());
    let work = Work::Resolve(Callback { run, topic, status: Status::Succeeded, payload: None });
    Delivery::new(DeliveryId::new(now.into(), random), work, HeaderMap::new(), now)
}
