#![allow(clippy::arithmetic_side_effects, reason = "a test reports an error by failing")]

use std::time::Duration;

use super::*;
use crate::delivery::fixtures::{self, LIMITS};
use crate::delivery::{RunState, RunWorkflow, WaitTask};

const NOW: Timestamp = Timestamp(1_795_509_000_000);
/// From this long after a send, the engine no longer acts on it.
const DEADLINE: u64 = 11_000;

fn callback() -> Delivery<'static> {
    fixtures::callback(7, NOW)
}

fn view(state: WaitState) -> RunView {
    let task = WaitTask { id: "1".to_owned(), topic: Some("t".to_owned()), state };
    RunView { state: RunState::Active, has_tasks: true, waits: vec![task], workflow: RunWorkflow::default() }
}

fn at(ms: u64) -> Timestamp {
    Timestamp(NOW.0 + ms)
}

/// A callback that was sent to its task at [`NOW`].
fn sent() -> Delivery<'static> {
    let mut delivery = callback();
    delivery.wait = Some(TaskWait::new("1".to_owned()));
    delivery.begin_send(NOW, &LIMITS);
    delivery
}

#[test]
fn callback_is_sent_only_to_a_task_that_waits() {
    let task = "1".to_owned();
    for (state, step) in [
        (WaitState::Waiting, Step::Claim { task: task.clone() }),
        (WaitState::Ahead, Step::NotWaiting),
        (
            WaitState::Ended(Some(Status::Succeeded)),
            Step::Ended { task: task.clone(), status: Some(Status::Succeeded) },
        ),
        (WaitState::Ended(None), Step::Ended { task, status: None }),
    ] {
        assert_eq!(callback().after_look(&view(state), NOW, &LIMITS), Some(step), "{state:?}");
    }
    let mut claimed = callback();
    claimed.wait = Some(TaskWait::new("1".to_owned()));
    assert_eq!(claimed.after_look(&view(WaitState::Waiting), NOW, &LIMITS), Some(Step::Send));
}

#[test]
fn end_of_the_task_decides_about_a_callback_that_was_sent() {
    let overruled = |status| Step::Close(Verdict::AlreadyResolved { status });
    for (status, step) in [
        (Some(Status::Succeeded), Step::Delivered),
        (Some(Status::Failed), overruled(Some(Status::Failed))),
        (None, overruled(None)),
    ] {
        assert_eq!(sent().after_look(&view(WaitState::Ended(status)), at(1), &LIMITS), Some(step), "{status:?}");
    }
    let mut cancelled = view(WaitState::Waiting);
    cancelled.state = RunState::Cancelled;
    assert_eq!(sent().after_look(&cancelled, at(1), &LIMITS), Some(overruled(None)));
    // The event came too early for the task, which the engine has set back.
    assert_eq!(sent().after_look(&view(WaitState::Ahead), at(1), &LIMITS), Some(Step::NotWaiting));
}

/// For every pair of looks, before and after the engine's deadline.
#[test]
fn second_send_needs_two_looks_of_which_the_later_is_past_the_deadline() {
    let times = [1, DEADLINE - 1, DEADLINE, DEADLINE + 1, 2 * DEADLINE];
    let waiting = view(WaitState::Waiting);
    for (n, first) in times.into_iter().enumerate() {
        let mut delivery = sent();
        let step = delivery.after_look(&waiting, at(first), &LIMITS).unwrap();
        let Step::LookAgain { at: again } = step else { panic!("sent after one look at {first} ms: {step:?}") };
        assert!(again > at(first) && again <= at(DEADLINE.max(first + 60_000)), "{first} {again:?}");
        for second in times.into_iter().skip(n) {
            let step = delivery.clone().after_look(&waiting, at(second), &LIMITS).unwrap();
            let may_send = second > first && second >= DEADLINE;
            assert_eq!(step == Step::Send, may_send, "looks at {first} and {second} ms: {step:?}");
        }
    }
}

#[test]
fn callback_is_given_up_after_three_sends() {
    let (mut delivery, waiting) = (sent(), view(WaitState::Waiting));
    let mut now = NOW;
    for sends in 2..=MAX_SENDS + 1 {
        now = now.plus(Duration::from_millis(DEADLINE));
        assert!(matches!(delivery.after_look(&waiting, now, &LIMITS), Some(Step::LookAgain { .. })), "{sends}");
        now = now.plus(Duration::from_millis(1));
        let step = delivery.after_look(&waiting, now, &LIMITS).unwrap();
        assert_eq!(step, if sends > MAX_SENDS { Step::GiveUp } else { Step::Send });
        delivery.begin_send(now, &LIMITS);
    }
}

#[test]
fn attempt_that_never_reached_the_engine_is_no_send() {
    let mut delivery = sent();
    delivery.conclude_attempt(Verdict::Unreachable { reason: String::new() }, at(1), &LIMITS);
    assert_eq!((delivery.wait.as_ref().unwrap().sends, delivery.sent), (0, None));
    assert_eq!(delivery.after_look(&view(WaitState::Waiting), at(2), &LIMITS), Some(Step::Send));
}

#[test]
fn failed_look_leaves_an_attempt_unconfirmed() {
    let mut delivery = sent();
    delivery.conclude_lookup(Verdict::Unreachable { reason: String::new() }, at(1), &LIMITS);
    assert_eq!((delivery.wait.as_ref().unwrap().sends, delivery.sent), (1, Some(NOW)));
    let step = delivery.after_look(&view(WaitState::Waiting), at(2), &LIMITS);
    assert!(matches!(step, Some(Step::LookAgain { .. })), "{step:?}");
}
