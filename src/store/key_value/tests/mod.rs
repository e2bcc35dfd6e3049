//! The laws of the key-value backend.
#![allow(clippy::arithmetic_side_effects, reason = "a test reports an error by failing")]

mod claims;
mod explorer;
mod lease;
mod sim;
mod sweep;
mod upgrade;

use std::borrow::Cow;
use std::future::Future;
use std::task::{Context, Poll, Waker};

use http::HeaderMap;
use serde_json::value::RawValue;

use crate::callback::{Callback, Status};
use crate::delivery::{Delivery, DeliveryId, Key, KeyClaim, Payload, Start, Work};
use crate::reference::{RunRef, Topic, WorkflowRef};
use crate::time::{Retention, Timestamp};

/// In the middle of a retention window of one hour.
const NOW: u64 = 500_000 * HOUR + HOUR / 2;
const HOUR: u64 = 3_600_000;
const MINUTE: u64 = 60_000;
/// The size of the table of races.
const DOORS: u32 = 4_096;

fn retention() -> Retention {
    Retention::from_hours(1).unwrap()
}

/// The present window at [`NOW`].
const WINDOW: u64 = 500_000;

fn event(n: u64) -> Key {
    Key::event("/s", &n.to_string(), "w")
}

fn start(n: u64, at: u64) -> Delivery<'static> {
    let payload = Payload::Webhook(Cow::Borrowed(RawValue::NULL));
    let work = Work::Start(Start::new(WorkflowRef::parse("w").unwrap(), payload));
    Delivery::new(DeliveryId::new(Timestamp(at).into(), n), work, HeaderMap::new(), Timestamp(at))
}

fn callback(topic: &str) -> Callback<'static> {
    let (run, topic) = (RunRef::parse("r").unwrap(), Topic::parse(topic).unwrap());
    Callback { run, topic, status: Status::Succeeded, payload: None }
}

fn resolve(n: u64, at: u64, topic: &str) -> Delivery<'static> {
    let work = Work::Resolve(callback(topic));
    Delivery::new(DeliveryId::new(Timestamp(at).into(), n), work, HeaderMap::new(), Timestamp(at))
}

fn claimed(mut delivery: Delivery<'static>, key: &Key, window: u64, contended: bool) -> Delivery<'static> {
    delivery.claim = Some(KeyClaim { key: key.clone(), window, contended });
    delivery
}

/// Runs a future that never waits.
fn run<T>(future: impl Future<Output = T>) -> T {
    let mut future = std::pin::pin!(future);
    match future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => output,
        Poll::Pending => panic!("an unscheduled future waits"),
    }
}
