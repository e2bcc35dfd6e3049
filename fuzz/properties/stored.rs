//! Stored records read back as written, and a stored delivery makes the same request to the engine as the original.

use std::borrow::Cow;

use http::{HeaderMap, HeaderValue};
use serde_json::value::RawValue;
use sluice::callback::{Callback, CallbackRecord, Status};
use sluice::delivery::{Delivery, DeliveryId, FailedAttempt, Key, KeyClaim, Payload, Start, Trigger, Work};
use sluice::engine::{Constants, DEFAULT_PROFILE, Engine, EngineUrl, Profile};
use sluice::event;
use sluice::json;
use sluice::reference::{RunRef, Topic, WorkflowRef};
use sluice::store::OutcomeRecord;
use sluice::time::Timestamp;

use super::support::lines;

pub fn check(data: &[u8]) {
    arbitrary(data);
    let [numbers, reference, topic, trace, payload] = lines(data);
    if let Some(delivery) = delivery_of(numbers, [reference, topic, trace], payload) {
        assert_round_trip(&delivery);
        if let Work::Resolve(callback) = &delivery.work {
            let record = CallbackRecord::pending(delivery.id, callback, delivery.received);
            let read = round_trip(&record, CallbackRecord::to_bytes, |bytes| CallbackRecord::from_bytes(bytes).ok());
            let read = read.callback();
            assert_eq!((read.digest(), Key::callback(&read)), (callback.digest(), Key::callback(callback)));
        }
        let key = Key::event("/s", topic_of(topic), "w");
        let outcome = OutcomeRecord::delivered(delivery.id, &key, payload, delivery.received);
        let read = round_trip(&outcome, OutcomeRecord::to_bytes, |bytes| OutcomeRecord::from_bytes(bytes).ok());
        let kept = json::object(payload).ok().map(|run| run.get());
        assert_eq!(read.body.as_deref().map(|run| run.get()), kept);
    }
}

/// Arbitrary bytes that are read as a record read back as written.
fn arbitrary(data: &[u8]) {
    if let Ok(delivery) = Delivery::from_bytes(data) {
        assert_round_trip(&delivery);
    }
    if let Ok(outcome) = OutcomeRecord::from_bytes(data) {
        round_trip(&outcome, OutcomeRecord::to_bytes, |bytes| OutcomeRecord::from_bytes(bytes).ok());
    }
    if let Ok(record) = CallbackRecord::from_bytes(data) {
        let read = round_trip(&record, CallbackRecord::to_bytes, |bytes| CallbackRecord::from_bytes(bytes).ok());
        assert_eq!(read.callback().digest(), record.callback().digest());
    }
}

/// Asserts that a delivery reads back as written and makes the same request.
fn assert_round_trip(delivery: &Delivery<'_>) {
    let bytes = delivery.to_bytes().expect("a stored form");
    let mut read = Delivery::from_bytes(&bytes).expect("a delivery");
    read.hold.clone_from(&delivery.hold);
    // `Debug` prints raw JSON byte for byte.
    assert_eq!(format!("{read:?}"), format!("{delivery:?}"));
    assert_eq!(read.to_bytes().as_ref(), Ok(&bytes));
    let url = EngineUrl::parse("http://engine:8080").expect("a URL");
    let profile = Profile::built_in(DEFAULT_PROFILE).expect("a profile");
    let engine = Engine { profile, url, token: None, start: true, constants: Constants::default() };
    let workflow = match &delivery.work {
        Work::Start(start) => Some(&start.workflow),
        Work::Resolve(_) => None,
    };
    if workflow.is_some_and(|workflow| engine.accepts(workflow).is_err()) {
        assert!(engine.request(delivery).is_err(), "the workflows of this engine have no team");
        return;
    }
    let request = |delivery: &Delivery<'_>| engine.request(delivery).expect("a request");
    let (request, again) = (request(delivery), request(&read));
    assert_eq!((request.method(), request.uri()), (again.method(), again.uri()));
    assert_eq!((request.headers(), request.body()), (again.headers(), again.body()));
    assert_eq!(request.uri().path().split('/').count(), 6, "a reference is one path segment");
    assert!(json::object(request.body()).is_ok() || is_deep(delivery));
}

/// The payload is too deep for JSON once the engine's request wraps it in an object, an array and an object.
fn is_deep(delivery: &Delivery<'_>) -> bool {
    let payload = match &delivery.work {
        Work::Start(Start { payload: Payload::Webhook(whole) | Payload::Event { whole, .. }, .. }) => Some(whole),
        Work::Resolve(callback) => callback.payload.as_ref(),
    };
    payload.is_some_and(|payload| json::value(format!("[[[{payload}]]]").as_bytes()).is_err())
}

/// Asserts that a record reads back as written, and returns it as read.
fn round_trip<T: std::fmt::Debug, E: std::fmt::Debug>(
    record: &T,
    write: impl FnOnce(&T) -> Result<Vec<u8>, E>,
    read: impl FnOnce(&[u8]) -> Option<T>,
) -> T {
    let read = read(&write(record).expect("a stored form")).expect("a record");
    assert_eq!(format!("{read:?}"), format!("{record:?}"));
    read
}

/// A delivery of these parts, if they are valid.
fn delivery_of<'a>(numbers: &[u8], [reference, topic, trace]: [&[u8]; 3], payload: &'a [u8]) -> Option<Delivery<'a>> {
    let reference = std::str::from_utf8(reference).ok()?;
    let number = numbers.iter().fold(0_u64, |sum, byte| sum.wrapping_mul(31).wrapping_add(u64::from(*byte)));
    let work = if numbers.starts_with(b"r") {
        let payload = if payload.is_empty() { None } else { Some(Cow::Borrowed(json::object(payload).ok()?)) };
        let topic = Topic::parse(std::str::from_utf8(topic).ok()?).ok()?;
        let status = if number % 2 == 0 { Status::Succeeded } else { Status::Failed };
        Work::Resolve(Callback { run: RunRef::parse(reference).ok()?, topic, status, payload })
    } else {
        let payload = match numbers.starts_with(b"e") {
            true => event::read_structured(payload).ok()?.into(),
            false => Payload::Webhook(Cow::Borrowed(json::value(payload).ok()?)),
        };
        // Trigger and params as set by a route.
        let (trigger, params) = match number % 4 {
            0 => (Trigger::Github, vec![(topic_of(topic).to_owned(), Cow::Borrowed(RawValue::NULL))]),
            _ if numbers.starts_with(b"e") => (Trigger::Event, Vec::new()),
            _ => (Trigger::Webhook, Vec::new()),
        };
        let queue = (number % 5 == 0).then(|| topic_of(topic).to_owned());
        let source = (number % 3 == 1).then(|| topic_of(topic).to_owned());
        Work::Start(Start {
            workflow: WorkflowRef::parse(reference).ok()?,
            payload,
            trigger,
            params,
            queue,
            source,
            replay_of: None,
        })
    };
    let mut headers = HeaderMap::new();
    if let Ok(value) = HeaderValue::from_bytes(trace)
        && value.to_str().is_ok()
    {
        headers.append("traceparent", value);
    }
    let now = Timestamp(number >> 16);
    let mut delivery = Delivery::new(DeliveryId::new(now.into(), number), work, headers, now);
    (delivery.attempts, delivery.engine_attempts, delivery.since) = (7, 5, Timestamp(number / 2));
    delivery.next_attempt = Timestamp(number / 3);
    delivery.requeued = (number % 7 == 0).then_some(Timestamp(number / 5));
    if number % 3 == 0 {
        let key = Key::event(topic_of(topic), "id", reference);
        delivery.claim = Some(KeyClaim { key, window: number, contended: number % 2 == 0 });
        delivery.history = vec![FailedAttempt { at: Timestamp(number), failure: topic_of(topic).to_owned() }];
        delivery.sent = Some(Timestamp(number));
    }
    Some(delivery)
}

fn topic_of(topic: &[u8]) -> &str {
    std::str::from_utf8(topic).unwrap_or_default()
}
