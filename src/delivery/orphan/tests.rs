#![allow(clippy::arithmetic_side_effects, reason = "a test reports an error by failing")]

use super::*;
use crate::delivery::Verdict;
use crate::delivery::fixtures::{self, LIMITS};

const SENT: Timestamp = Timestamp(1_795_509_000_000);

/// A start whose attempt at [`SENT`] has failed; `concluded` if the engine itself has answered it.
fn start(concluded: bool) -> Delivery<'static> {
    let mut delivery = fixtures::start(7, SENT);
    delivery.begin_attempt(SENT, &LIMITS);
    delivery.conclude_attempt(Verdict::Unclear { reason: String::new(), after: None, concluded }, SENT, &LIMITS);
    delivery
}

fn run(id: &str, state: RunState) -> FoundRun {
    FoundRun { id: id.to_owned(), state, body: id.as_bytes().to_vec() }
}

fn at(ms: u64) -> Timestamp {
    Timestamp(SENT.0 + ms)
}

fn found(id: &str) -> Found {
    Found::Run { body: id.as_bytes().to_vec(), besides: Vec::new() }
}

fn cancel(run: &str) -> Found {
    Found::Cancel { run: run.to_owned() }
}

#[test]
fn run_that_is_not_started_is_cancelled_only_once_the_engine_had_its_time() {
    for (concluded, grace) in [(true, 5_000), (false, 300_000)] {
        for (ms, expected) in [(0, Found::Doubt), (grace - 1, Found::Doubt), (grace, cancel("1"))] {
            let mut delivery = start(concluded);
            assert_eq!(
                delivery.judge(&[run("1", RunState::NotStarted)], at(ms), &LIMITS),
                expected,
                "{concluded} {ms}"
            );
            assert!(expected != Found::Doubt || delivery.next_attempt > at(ms), "{concluded} {ms}");
            assert!(delivery.next_attempt <= at(grace), "{concluded} {ms}");
        }
    }
}

#[test]
fn started_run_settles_the_delivery_whatever_happened_before() {
    for state in [RunState::Active, RunState::Ended] {
        assert_eq!(start(false).judge(&[run("1", state)], at(1), &LIMITS), found("1"));
        let mut delivery = start(true);
        assert_eq!(delivery.judge(&[run("1", RunState::NotStarted)], at(5_000), &LIMITS), cancel("1"));
        assert_eq!(delivery.judge(&[run("1", state)], at(5_001), &LIMITS), found("1"));
        assert_eq!(delivery.judge(&[run("1", RunState::Cancelled)], at(5_001), &LIMITS), Found::Doubt);
        assert_eq!(
            delivery.judge(&[run("1", state)], at(20_000), &LIMITS),
            found("1"),
            "the cancellation is overwritten"
        );
    }
}

#[test]
fn new_submit_needs_two_lookups_that_show_the_run_cancelled() {
    for (first, second) in [(5_001, 15_000), (5_001, 15_001), (5_001, 60_000), (30_000, 39_999), (30_000, 40_000)] {
        let mut delivery = start(true);
        delivery.judge(&[run("1", RunState::NotStarted)], at(5_000), &LIMITS);
        let cancelled = [run("1", RunState::Cancelled)];
        assert_eq!(delivery.judge(&cancelled, at(first), &LIMITS), Found::Doubt);
        assert_eq!(delivery.next_attempt, at(first + 10_000));
        let expected = if second >= first + 10_000 { Found::Nothing } else { Found::Doubt };
        assert_eq!(delivery.judge(&cancelled, at(second), &LIMITS), expected, "{first} {second}");
    }
}

#[test]
fn lookup_that_shows_another_state_begins_the_cancellation_anew() {
    let mut delivery = start(true);
    delivery.judge(&[run("1", RunState::NotStarted)], at(5_000), &LIMITS);
    assert_eq!(delivery.judge(&[run("1", RunState::Cancelled)], at(5_001), &LIMITS), Found::Doubt);
    assert_eq!(delivery.judge(&[run("1", RunState::NotStarted)], at(16_000), &LIMITS), cancel("1"));
    assert_eq!(delivery.judge(&[run("1", RunState::Cancelled)], at(16_001), &LIMITS), Found::Doubt);
    assert_eq!(delivery.judge(&[run("1", RunState::Cancelled)], at(26_000), &LIMITS), Found::Doubt);
    assert_eq!(delivery.judge(&[run("1", RunState::Cancelled)], at(26_001), &LIMITS), Found::Nothing);
}

#[test]
fn run_that_cannot_be_cancelled_makes_a_dead_letter_that_names_it() {
    let mut delivery = start(true);
    for cancels in 0..MAX_CANCELS {
        let now = at(5_000 + u64::from(cancels));
        assert_eq!(delivery.judge(&[run("run-1", RunState::NotStarted)], now, &LIMITS), cancel("run-1"));
    }
    let Found::Hopeless { reason } = delivery.judge(&[run("run-1", RunState::NotStarted)], at(9_000), &LIMITS) else {
        panic!("still cancelled")
    };
    assert!(reason.contains("run-1") && reason.contains("redeliver"), "{reason}");
    delivery.renew(at(60_000), &LIMITS);
    assert_eq!(delivery.judge(&[run("run-1", RunState::NotStarted)], at(60_000), &LIMITS), cancel("run-1"));
}

/// A delivery whose run `1` was replaced, and whose new submit at 20 s has failed.
fn replaced() -> Delivery<'static> {
    let mut delivery = start(true);
    delivery.judge(&[run("1", RunState::NotStarted)], at(5_000), &LIMITS);
    delivery.judge(&[run("1", RunState::Cancelled)], at(5_001), &LIMITS);
    assert_eq!(delivery.judge(&[run("1", RunState::Cancelled)], at(15_001), &LIMITS), Found::Nothing);
    delivery.begin_attempt(at(20_000), &LIMITS);
    let verdict = Verdict::Unclear { reason: String::new(), after: None, concluded: true };
    delivery.conclude_attempt(verdict, at(20_000), &LIMITS);
    delivery
}

#[test]
fn second_run_that_is_not_started_makes_a_dead_letter_that_names_both() {
    let runs = [run("run-1", RunState::Cancelled), run("run-2", RunState::NotStarted)];
    let mut delivery = replaced();
    delivery.orphans[0].run = "run-1".to_owned();
    assert_eq!(delivery.judge(&runs, at(24_999), &LIMITS), Found::Doubt);
    let Found::Hopeless { reason } = delivery.judge(&runs, at(25_000), &LIMITS) else { panic!("submitted again") };
    assert!(reason.contains("run-1") && reason.contains("run-2"), "{reason}");
    // An operator's redelivery replaces the second run too.
    delivery.close("", at(25_000));
    delivery.renew(at(60_000), &LIMITS);
    assert!(delivery.is_ambiguous());
    assert_eq!(delivery.clone().judge(&runs, at(60_000), &LIMITS), cancel("run-2"));
    // So does one after the operator has cancelled that run.
    let runs = [run("run-1", RunState::Cancelled), run("run-2", RunState::Cancelled)];
    assert_eq!(delivery.judge(&runs, at(60_000), &LIMITS), Found::Doubt);
    assert_eq!(delivery.judge(&runs, at(70_000), &LIMITS), Found::Nothing);
}

#[test]
fn replaced_run_that_runs_after_all_is_reported() {
    let runs = [run("1", RunState::Active), run("2", RunState::Ended)];
    let expected = Found::Run { body: b"2".to_vec(), besides: vec!["1".to_owned()] };
    assert_eq!(replaced().judge(&runs, at(30_000), &LIMITS), expected);
}

#[test]
fn cancelled_run_of_somebody_else_settles_the_delivery() {
    assert_eq!(start(false).judge(&[run("1", RunState::Cancelled)], at(1), &LIMITS), found("1"));
    let runs = [run("1", RunState::Cancelled), run("2", RunState::Cancelled)];
    assert_eq!(replaced().judge(&runs, at(30_000), &LIMITS), found("2"));
    assert_eq!(replaced().judge(&runs[..1], at(30_000), &LIMITS), Found::Nothing);
}

#[test]
fn run_that_the_engine_cannot_run_is_replaced_once() {
    let mut delivery = start(true);
    assert_eq!(delivery.judge(&[run("1", RunState::Invalid)], at(5_000), &LIMITS), Found::Nothing);
    let runs = [run("1", RunState::Invalid), run("2", RunState::Invalid)];
    assert!(matches!(delivery.judge(&runs, at(9_000), &LIMITS), Found::Hopeless { .. }));
}
