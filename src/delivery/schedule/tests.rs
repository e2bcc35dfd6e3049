//! Properties of the retry schedule, for any history.
#![allow(clippy::arithmetic_side_effects, reason = "a test reports an error by failing")]

use http::StatusCode;
use proptest::prelude::*;

use super::*;
use crate::delivery::fixtures::{self, LIMITS};

fn delivery(is_callback: bool, random: u64, now: Timestamp) -> Delivery<'static> {
    if is_callback { fixtures::callback(random, now) } else { fixtures::start(random, now) }
}

/// Any verdict of a failed attempt.
fn failure() -> impl Strategy<Value = Verdict> {
    let after = proptest::option::of((0_u64..1_000_000).prop_map(Duration::from_secs));
    let (status, code) = (StatusCode::NOT_FOUND, None::<String>);
    prop_oneof![
        Just(Verdict::Unreachable { reason: "why".into() }),
        after.clone().prop_map(|after| Verdict::Retry { reason: "why".into(), after }),
        after.prop_map(|after| Verdict::Unclear { reason: "why".into(), after, concluded: false }),
        Just(Verdict::Misconfigured { reason: "why".into() }),
        Just(Verdict::UnknownRun { status, code: code.clone() }),
        Just(Verdict::Rejected { status, code }),
    ]
}

proptest! {
    #[test]
    fn schedule_keeps_its_promises_for_any_history(
        is_callback in any::<bool>(),
        random in any::<u64>(),
        steps in proptest::collection::vec((failure(), 0_u64..7_200_000, 0_u64..60_000), 1..200),
    ) {
        let mut now = Timestamp(1_795_509_000_000);
        let mut delivery = delivery(is_callback, random, now);
        let mut engine_attempts = 0;
        for (verdict, idle, took) in steps {
            now = now.plus(Duration::from_millis(idle)).max(delivery.next_attempt);
            let sent = now;
            delivery.begin_attempt(now, &LIMITS);
            // No other instance attempts it while the engine may act.
            prop_assert!(delivery.is_ambiguous() && delivery.next_attempt > sent.plus(LIMITS.engine_timeout));
            now = now.plus(Duration::from_millis(took));
            let outcome = delivery.conclude_attempt(verdict.clone(), now, &LIMITS);

            let is_unreachable = matches!(verdict, Verdict::Unreachable { .. });
            engine_attempts += u32::from(!is_unreachable);
            prop_assert_eq!(delivery.engine_attempts, engine_attempts);
            prop_assert!(delivery.history.len() <= MAX_HISTORY);
            prop_assert_eq!(delivery.last_failure().map(str::to_owned), Some(verdict.to_string()));
            prop_assert_eq!(outcome.failure(), Some(&verdict));
            // Only an unclear attempt stays ambiguous, and it isn't due before the engine's deadline.
            prop_assert_eq!(delivery.sent.is_some(), matches!(verdict, Verdict::Unclear { .. }));
            if delivery.sent.is_some() {
                prop_assert!(delivery.next_attempt > sent.plus(LIMITS.engine_timeout));
            }
            // A rejection is final, and so is an unknown run that had enough time to be created.
            let age = now.since(delivery.since);
            let never_appeared =
                matches!(verdict, Verdict::UnknownRun { .. }) && (!is_callback || age >= LIMITS.callback_early);
            let is_rejected = matches!(outcome, Outcome::Rejected { .. });
            prop_assert_eq!(is_rejected, matches!(verdict, Verdict::Rejected { .. }) || never_appeared);
            let is_over = engine_attempts >= LIMITS.max_attempts || age >= LIMITS.max_age;
            prop_assert_eq!(matches!(outcome, Outcome::Dead { .. }), !is_rejected && !is_unreachable && is_over);
            // The next attempt is due after a bounded time; at once if the engine was unreachable.
            if is_unreachable {
                prop_assert_eq!(delivery.next_attempt, now);
            } else {
                let latest = BACKOFF_CAP.max(RETRY_AFTER_CAP).max(LIMITS.engine_timeout + CLOCK_MARGIN);
                prop_assert!(delivery.next_attempt >= now.plus(BACKOFF_MIN));
                prop_assert!(delivery.next_attempt <= now.plus(latest));
            }
            if let Verdict::Retry { after: Some(after), .. } | Verdict::Unclear { after: Some(after), .. } = verdict {
                prop_assert!(delivery.next_attempt >= now.plus(after.min(RETRY_AFTER_CAP)), "Retry-After");
            }
            if !matches!(outcome, Outcome::Pending { .. }) {
                break;
            }
        }
    }

    #[test]
    fn backoff_is_jittered_below_a_bound_that_doubles(random in any::<u64>(), engine_attempts in 1_u32..200) {
        let mut delivery = delivery(false, random, Timestamp(0));
        delivery.engine_attempts = engine_attempts;
        let bound = BACKOFF_FIRST.saturating_mul(2_u32.saturating_pow(engine_attempts - 1)).min(BACKOFF_CAP);
        prop_assert!((BACKOFF_MIN..=bound).contains(&delivery.backoff()));
        prop_assert_eq!(delivery.backoff(), delivery.backoff(), "the same id and attempt have the same jitter");
    }

    #[test]
    fn failed_lookup_keeps_the_attempt_ambiguous(verdict in failure(), took in 0_u64..60_000) {
        let mut delivery = delivery(false, 1, Timestamp(0));
        delivery.begin_attempt(Timestamp(0), &LIMITS);
        let outcome = delivery.conclude_lookup(verdict.clone(), Timestamp(took), &LIMITS);
        prop_assert_eq!(outcome, Outcome::Pending { last: Some(verdict) });
        prop_assert_eq!(delivery.sent, Some(Timestamp(0)));
    }
}

#[test]
fn accepted_attempt_is_delivered_and_leaves_the_schedule_alone() {
    let mut delivery = delivery(false, 1, Timestamp(0));
    delivery.begin_attempt(Timestamp(5), &LIMITS);
    let outcome = delivery.conclude_attempt(Verdict::Accepted { body: b"{}".to_vec() }, Timestamp(6), &LIMITS);
    assert_eq!(outcome, Outcome::Delivered { body: b"{}".to_vec() });
    assert_eq!((delivery.attempts, delivery.history.len()), (0, 0));
}

#[test]
fn simultaneous_deliveries_are_not_retried_simultaneously() {
    let mut waits: Vec<_> = (0..100)
        .map(|n| {
            let mut delivery = delivery(false, n, Timestamp(0));
            delivery.engine_attempts = 8;
            delivery.backoff().as_secs() / 60
        })
        .collect();
    waits.sort_unstable();
    waits.dedup();
    assert!(waits.len() > 8, "{waits:?}");
}

#[test]
fn unreachable_engine_uses_up_no_attempt() {
    let mut delivery = delivery(false, 1, Timestamp(0));
    let unreachable = Verdict::Unreachable { reason: "refused".into() };
    for _ in 0..1_000 {
        delivery.begin_attempt(Timestamp(5), &LIMITS);
        let outcome = delivery.conclude_attempt(unreachable.clone(), Timestamp(5), &LIMITS);
        assert_eq!(outcome, Outcome::Pending { last: Some(unreachable.clone()) });
    }
    assert_eq!((delivery.attempts, delivery.engine_attempts), (1_000, 0));
    assert!(!delivery.is_expired(Timestamp(24 * 3_600_000 - 1), &LIMITS));
    assert!(delivery.is_expired(Timestamp(24 * 3_600_000), &LIMITS));
}

#[test]
fn renewed_delivery_is_due_once_nothing_is_ambiguous() {
    let mut delivery = delivery(false, 1, Timestamp(0));
    delivery.begin_attempt(Timestamp(0), &LIMITS);
    delivery.conclude_attempt(
        Verdict::Unclear { reason: "cut".into(), after: None, concluded: false },
        Timestamp(1),
        &LIMITS,
    );
    delivery.renew(Timestamp(2), &LIMITS);
    assert_eq!(
        (delivery.since, delivery.engine_attempts, delivery.next_attempt),
        (Timestamp(2), 0, LIMITS.engine_deadline(Timestamp(0)))
    );
    delivery.sent = None;
    delivery.renew(Timestamp(3), &LIMITS);
    assert_eq!(delivery.next_attempt, Timestamp(3));
}

/// A failed look in between doesn't begin the wait anew, and an early callback outlives `retry_max_hours`.
#[test]
fn early_callback_waits_for_callback_wait_hours_in_all() {
    let received = Timestamp(1_795_509_000_000);
    let hours = |hours: u64| received.plus(Duration::from_secs(hours * 3_600));
    let mut delivery = fixtures::callback(7, received);
    delivery.conclude_attempt(Verdict::NotWaiting, received, &LIMITS);
    assert!(delivery.is_early() && !delivery.is_exhausted(hours(100), &LIMITS));
    let failed = Verdict::Retry { reason: "the engine answered 503".to_owned(), after: None };
    delivery.conclude_attempt(failed, hours(100), &LIMITS);
    assert!(!delivery.is_early() && !delivery.is_exhausted(hours(167), &LIMITS));
    assert!(delivery.is_exhausted(hours(168), &LIMITS), "the engine has shown nothing for 168 hours");
    assert_eq!(delivery.last_failure(), Some("the engine answered 503"));

    let outcome = delivery.conclude_attempt(Verdict::NotWaiting, hours(167), &LIMITS);
    assert!(matches!(outcome, Outcome::Pending { .. }) && delivery.is_early());
    let outcome = delivery.conclude_attempt(Verdict::NotWaiting, hours(168), &LIMITS);
    assert!(matches!(outcome, Outcome::Dead { .. }), "{outcome:?}");
}
