//! The laws of a delivery's life, for any history.
#![allow(clippy::arithmetic_side_effects, reason = "a test says what is wrong by failing")]

use std::borrow::Cow;

use http::HeaderMap;
use proptest::prelude::*;
use serde_json::value::RawValue;

use super::*;
use crate::callback::{Callback, Status};
use crate::delivery::{DeliveryId, Payload, Start};
use crate::reference::{RunRef, Topic, WorkflowRef};

const LIMITS: Limits = Limits {
    max_age: Duration::from_secs(24 * 3_600),
    max_attempts: 100,
    early: Duration::from_secs(600),
    engine_timeout: Duration::from_secs(10),
};

fn delivery(resolve: bool, entropy: u64, now: Timestamp) -> Delivery<'static> {
    let work = if resolve {
        let (run, topic) = (RunRef::parse("r").unwrap(), Topic::parse("t").unwrap());
        Work::Resolve(Callback { run, topic, status: Status::Succeeded, payload: None })
    } else {
        let payload = Payload::Webhook(Cow::Borrowed(RawValue::NULL));
        Work::Start(Start::new(WorkflowRef::parse("w").unwrap(), payload))
    };
    Delivery::new(DeliveryId::new(now.into(), entropy), work, HeaderMap::new(), now)
}

fn setback() -> impl Strategy<Value = Setback> {
    let wish = proptest::option::of((0_u64..1_000_000).prop_map(Duration::from_secs));
    prop_oneof![
        Just(Setback::Unreachable),
        wish.clone().prop_map(Setback::Later),
        wish.prop_map(Setback::Unclear),
        Just(Setback::Misconfigured),
        Just(Setback::UnknownRun),
        Just(Setback::Refused),
    ]
}

proptest! {
    #[test]
    fn the_laws_hold_over_any_life(
        resolve in any::<bool>(),
        entropy in any::<u64>(),
        steps in proptest::collection::vec((setback(), 0_u64..7_200_000, 0_u64..60_000), 1..200),
    ) {
        let mut now = Timestamp(1_795_509_000_000);
        let mut delivery = delivery(resolve, entropy, now);
        let mut heard = 0;
        for (setback, idle, took) in steps {
            now = now.plus(Duration::from_millis(idle)).max(delivery.next_attempt);
            let sent = now;
            delivery.begin(now, &LIMITS);
            // Whoever finds it under way leaves it until the engine can no longer act.
            prop_assert!(delivery.is_ambiguous() && delivery.next_attempt > sent.plus(LIMITS.engine_timeout));
            now = now.plus(Duration::from_millis(took));
            let next = delivery.fail(setback, "why", now, &LIMITS);

            heard += u32::from(setback != Setback::Unreachable);
            prop_assert_eq!(delivery.heard, heard);
            prop_assert!(delivery.history.len() <= HISTORY && delivery.last_failure() == Some("why"));
            // Only what may have been acted on stays in doubt, and not before the engine's time is over is it due.
            prop_assert_eq!(delivery.sent.is_some(), matches!(setback, Setback::Unclear(_)));
            if delivery.sent.is_some() {
                prop_assert!(delivery.next_attempt > sent.plus(LIMITS.engine_timeout));
            }
            // Refused is rejected; what is unknown is rejected once its time to be known is over.
            let age = now.since(delivery.since);
            let unknown_for_good = setback == Setback::UnknownRun && (!resolve || age >= LIMITS.early);
            prop_assert_eq!(next == Next::Rejected, setback == Setback::Refused || unknown_for_good);
            let over = heard >= LIMITS.max_attempts || age >= LIMITS.max_age;
            let may_die = next != Next::Rejected && setback != Setback::Unreachable;
            prop_assert_eq!(next == Next::Dead, may_die && over);
            // It is due after some time, and within bounds, but for an engine that is down: then at once.
            if setback == Setback::Unreachable {
                prop_assert_eq!(delivery.next_attempt, now);
            } else {
                let most = BACKOFF_CAP.max(RETRY_AFTER_CAP).max(LIMITS.engine_timeout + MARGIN);
                prop_assert!(delivery.next_attempt >= now.plus(BACKOFF_LEAST));
                prop_assert!(delivery.next_attempt <= now.plus(most));
            }
            if let Setback::Later(Some(wish)) | Setback::Unclear(Some(wish)) = setback {
                prop_assert!(delivery.next_attempt >= now.plus(wish.min(RETRY_AFTER_CAP)), "the engine's wish");
            }
            if next != Next::Pending {
                break;
            }
        }
    }

    #[test]
    fn the_backoff_is_spread_under_a_bound_that_doubles(entropy in any::<u64>(), heard in 1_u32..200) {
        let mut delivery = delivery(false, entropy, Timestamp(0));
        delivery.heard = heard;
        let bound = BACKOFF_FIRST.saturating_mul(2_u32.saturating_pow(heard - 1)).min(BACKOFF_CAP);
        prop_assert!((BACKOFF_LEAST..=bound).contains(&delivery.backoff()));
        prop_assert_eq!(delivery.backoff(), delivery.backoff(), "by the id alone");
    }
}

#[test]
fn deliveries_of_one_moment_do_not_come_back_at_one_moment() {
    let mut waits: Vec<_> = (0..100)
        .map(|n| {
            let mut delivery = delivery(false, n, Timestamp(0));
            delivery.heard = 8;
            delivery.backoff().as_secs() / 60
        })
        .collect();
    waits.sort_unstable();
    waits.dedup();
    assert!(waits.len() > 8, "{waits:?}");
}

#[test]
fn an_engine_that_is_down_uses_up_nothing() {
    let mut delivery = delivery(false, 1, Timestamp(0));
    for _ in 0..1_000 {
        delivery.begin(Timestamp(5), &LIMITS);
        assert_eq!(delivery.fail(Setback::Unreachable, "refused", Timestamp(5), &LIMITS), Next::Pending);
    }
    assert_eq!((delivery.attempts, delivery.heard), (1_000, 0));
    assert!(!delivery.is_expired(Timestamp(24 * 3_600_000 - 1), &LIMITS));
    assert!(delivery.is_expired(Timestamp(24 * 3_600_000), &LIMITS));
}

#[test]
fn renewed_it_is_due_once_nothing_is_in_doubt() {
    let mut delivery = delivery(false, 1, Timestamp(0));
    delivery.begin(Timestamp(0), &LIMITS);
    delivery.fail(Setback::Unclear(None), "cut", Timestamp(1), &LIMITS);
    delivery.renew(Timestamp(2), &LIMITS);
    assert_eq!(
        (delivery.since, delivery.heard, delivery.next_attempt),
        (Timestamp(2), 0, LIMITS.settled(Timestamp(0)))
    );
    delivery.sent = None;
    delivery.renew(Timestamp(3), &LIMITS);
    assert_eq!(delivery.next_attempt, Timestamp(3));
}
