#![allow(clippy::arithmetic_side_effects, reason = "a test reports an error by failing")]

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use http::StatusCode;
use proptest::prelude::*;

use super::*;
use crate::delivery::{DeliveryId, RETRY_AFTER_CAP, Verdict};
use crate::time::Timestamp;

const NOW: u64 = 1_795_509_000_000;
const TIMEOUT: Duration = Duration::from_secs(10);

fn at(ms: u64) -> Timestamp {
    Timestamp(NOW + ms)
}

fn widths(width_max: u32) -> Widths {
    pass(width_max, 1)
}

fn pass(width_max: u32, id: u64) -> Widths {
    Widths::new(Bounds { width_max, engine_timeout: TIMEOUT }, id)
}

/// Starts as many requests as it can.
fn fill(widths: &mut Widths, workflow: &str, now: Timestamp) -> Vec<Slot> {
    let mut slots = Vec::new();
    while widths.check(Some(workflow), 1, now).is_ok() {
        slots.push(widths.start(Some(workflow), 1, now));
    }
    slots
}

fn end_all(widths: &mut Widths, slots: Vec<Slot>, answer: Answer, now: Timestamp) {
    for slot in slots {
        widths.end(slot, answer, now);
    }
}

const FAILED: Answer = Answer::Failed { after: None };
const LIMITED: Answer = Answer::Limited { after: None };

/// A pass whose width has grown to `width_max` without a failure, in 100 ms for each doubling.
fn grown(width_max: u32) -> Widths {
    let mut widths = widths(width_max);
    for round in 0..10 {
        let slots = fill(&mut widths, "w", at(round * 100));
        end_all(&mut widths, slots, Answer::Answered, at(round * 100 + 50));
    }
    assert_eq!(widths.width(), width_max);
    widths
}

#[test]
fn width_doubles_until_the_first_failure_and_then_grows_by_one_in_a_round_trip() {
    let mut widths = widths(64);
    for (round, width) in [1, 2, 4, 8, 16, 32].into_iter().enumerate() {
        let now = at(u64::try_from(round).unwrap() * 1_000);
        let slots = fill(&mut widths, "w", now);
        assert_eq!(slots.len(), width);
        end_all(&mut widths, slots, Answer::Answered, now.plus(Duration::from_millis(900)));
    }
    let slots = fill(&mut widths, "w", at(6_000));
    end_all(&mut widths, slots, FAILED, at(6_005));
    for round in 0..4_u32 {
        let now = at(7_000 + u64::from(round) * 1_000);
        let slots = fill(&mut widths, "w", now);
        assert_eq!(slots.len(), 32 + usize::try_from(round).unwrap());
        end_all(&mut widths, slots, Answer::Answered, now.plus(Duration::from_millis(900)));
    }
}

#[test]
fn width_that_is_not_used_up_does_not_grow() {
    let mut widths = widths(64);
    let slots = fill(&mut widths, "w", at(0));
    end_all(&mut widths, slots, Answer::Answered, at(1));
    for round in 1..20 {
        let slot = widths.start(None, 1, at(round * 10));
        widths.end(slot, Answer::Answered, at(round * 10 + 5));
    }
    assert_eq!(widths.width(), 2);
}

#[test]
fn failures_of_one_burst_halve_the_width_once() {
    let mut widths = grown(64);
    let (first, second) = (fill(&mut widths, "w", at(2_000)), widths.in_flight());
    assert_eq!(second, 64);
    end_all(&mut widths, first, FAILED, at(2_005));
    assert_eq!(widths.width(), 32);
    let slots = fill(&mut widths, "w", at(2_006));
    assert_eq!(slots.len(), 32);
    end_all(&mut widths, slots, FAILED, at(2_010));
    assert_eq!(widths.width(), 16, "these were sent after the decrease");
}

/// Successes that began before a decrease say nothing about the width after it.
#[test]
fn success_from_before_a_decrease_does_not_grow_the_width() {
    let mut widths = grown(64);
    let mut slots = fill(&mut widths, "w", at(2_000));
    widths.end(slots.pop().unwrap(), FAILED, at(2_005));
    end_all(&mut widths, slots, Answer::Answered, at(3_000));
    assert_eq!(widths.width(), 32);
}

#[test]
fn failure_of_one_delivery_alone_begins_a_pause_that_doubles() {
    let mut widths = widths(64);
    let mut now = at(0);
    for seconds in [1, 2, 4, 8, 16, 30, 30] {
        now = now.plus(Duration::from_millis(1));
        let slots = fill(&mut widths, "w", now);
        assert_eq!(slots.len(), 1);
        end_all(&mut widths, slots, FAILED, now);
        let end = now.plus(Duration::from_secs(seconds));
        assert_eq!(widths.check(None, 1, now), Err(Blocked::Engine(Some(end))));
        now = end;
    }
    let slot = widths.start(None, 1, now.plus(Duration::from_millis(1)));
    widths.end(slot, Answer::Answered, now.plus(Duration::from_millis(2)));
    let slots = fill(&mut widths, "w", now.plus(Duration::from_millis(3)));
    end_all(&mut widths, slots, FAILED, now.plus(Duration::from_millis(4)));
    let end = now.plus(Duration::from_millis(1_004));
    let slots = fill(&mut widths, "w", now.plus(Duration::from_millis(5)));
    end_all(&mut widths, slots, FAILED, now.plus(Duration::from_millis(4)));
    assert!(
        matches!(widths.check(None, 1, now.plus(Duration::from_millis(6))), Err(Blocked::Engine(Some(until)))
        if until <= end.plus(Duration::from_millis(2))),
        "a success ends the row of pauses"
    );
}

/// An outage says nothing about how much the engine takes afterwards.
#[test]
fn width_after_an_outage_doubles_to_half_of_what_it_was() {
    let mut widths = grown(64);
    let mut now = at(2_000);
    for _ in 0..7 {
        let slots = fill(&mut widths, "w", now);
        end_all(&mut widths, slots, FAILED, now);
        now = now.plus(Duration::from_millis(1));
    }
    assert_eq!(widths.width(), 1);
    for round in 1..=8 {
        now = at(round * 100_000);
        let slots = fill(&mut widths, "w", now);
        end_all(&mut widths, slots, Answer::Answered, now.plus(Duration::from_millis(5)));
    }
    assert_eq!(widths.width(), 35, "5 round trips to 32, and 3 by one");
}

#[test]
fn request_without_an_answer_stays_counted_until_the_deadline() {
    let mut widths = widths(1);
    let slot = widths.start(Some("w"), 1, at(0));
    let until = at(11_000);
    widths.end(slot, Answer::Silent { until, after: None }, at(4_000));
    assert_eq!(widths.check(None, 1, at(10_999)), Err(Blocked::Engine(Some(until))));
    assert_eq!(widths.in_flight(), 1);
    assert_eq!(widths.check(None, 1, at(11_000)), Ok(()));
}

#[test]
fn next_pass_counts_what_the_last_one_left() {
    let mut first = grown(8);
    let slots = fill(&mut first, "w", at(2_000));
    end_all(&mut first, slots, Answer::Silent { until: at(13_000), after: None }, at(12_000));
    let note = first.leave(None, at(12_000));
    let mut second = pass(8, 2);
    second.sync(Some(&note), at(12_001));
    assert_eq!(second.width(), 4);
    assert_eq!(second.check(None, 1, at(12_001)), Err(Blocked::Engine(Some(at(13_000)))));
    assert_eq!(fill(&mut second, "w", at(13_000)).len(), 4);
}

#[test]
fn retry_after_pauses_what_it_is_for_and_not_longer_than_its_cap() {
    let mut widths = grown(8);
    let after = Some(Duration::from_secs(90));
    let mut slots = fill(&mut widths, "w", at(2_000));
    widths.end(slots.pop().unwrap(), Answer::Limited { after }, at(3_000));
    end_all(&mut widths, slots.drain(4..).collect(), Answer::Unsent, at(3_000));
    assert_eq!(widths.check(Some("w"), 1, at(4_000)), Err(Blocked::Workflow(Some(at(93_000)))));
    assert_eq!(widths.check(Some("other"), 1, at(4_000)), Ok(()));
    assert_eq!(widths.check(None, 1, at(4_000)), Ok(()));
    widths.end(slots.pop().unwrap(), Answer::Failed { after: Some(Duration::MAX) }, at(4_000));
    let capped = at(4_000).plus(RETRY_AFTER_CAP);
    end_all(&mut widths, slots, Answer::Unsent, at(4_000));
    assert_eq!(widths.check(Some("other"), 1, at(5_000)), Err(Blocked::Engine(Some(capped))));
    assert_eq!(widths.check(Some("other"), 1, capped), Ok(()));
}

#[test]
fn status_429_halves_the_workflow_alone_and_503_the_engine_alone() {
    let mut widths = grown(8);
    let slots = fill(&mut widths, "w", at(2_000));
    end_all(&mut widths, slots, LIMITED, at(2_001));
    assert_eq!((widths.width(), widths.workflow_width("w")), (8, Some(4)));
    assert_eq!(fill(&mut widths, "w", at(2_002)).len(), 4);
    let slots = fill(&mut widths, "other", at(2_002));
    end_all(&mut widths, slots, FAILED, at(2_003));
    assert_eq!((widths.width(), widths.workflow_width("w"), widths.workflow_width("other")), (4, Some(4), None));
    // Nobody knows the workflow of a callback.
    let slot = widths.start(None, 1, at(2_010));
    widths.end(slot, LIMITED, at(2_011));
    assert_eq!(widths.width(), 2);
}

#[test]
fn bytes_in_flight_are_bounded_but_one_delivery_always_fits() {
    let mut widths = grown(8);
    let large = widths.start(None, MAX_BYTES_IN_FLIGHT * 2, at(2_000));
    assert_eq!(widths.check(None, 1, at(2_000)), Err(Blocked::Bytes));
    widths.end(large, Answer::Unsent, at(2_001));
    assert_eq!(widths.check(None, usize::MAX, at(2_001)), Ok(()));
    let one = widths.start(None, MAX_BYTES_IN_FLIGHT - 1, at(2_001));
    assert_eq!(widths.check(None, 1, at(2_001)), Ok(()));
    assert_eq!(widths.check(None, 2, at(2_001)), Err(Blocked::Bytes));
    widths.end(one, Answer::Unsent, at(2_001));
}

#[test]
fn passes_divide_the_width_without_a_rest() {
    let mut note = grown(16).sync(None, at(2_000));
    let mut passes: Vec<_> = (2..5).map(|id| pass(16, id)).collect();
    // The entry of the pass that has died ends.
    for round in 0..8 {
        for pass in &mut passes {
            note = pass.sync(Some(&note), at(2_000 + round * 5_000));
        }
    }
    let mut shares: Vec<_> = passes.iter_mut().map(|pass| fill(pass, "w", at(38_000)).len()).collect();
    shares.sort_unstable();
    assert_eq!(shares, [5, 5, 6]);
    assert_eq!(Note::read(&note).unwrap().passes(at(38_000)), 3);
}

#[test]
fn new_pass_starts_one_at_a_time_until_the_others_know_of_it() {
    let mut first = grown(16);
    let note = first.sync(None, at(2_000));
    let mut second = pass(16, 2);
    second.sync(Some(&note), at(2_001));
    assert_eq!(fill(&mut second, "w", at(2_002)).len(), 1);
    assert_eq!(second.check(None, 1, at(2_002)), Err(Blocked::Engine(Some(at(7_001)))));
    assert_eq!(fill(&mut second, "w", at(7_001)).len(), 7);
    // It takes the place of one that has just ended.
    let note = second.leave(Some(&first.sync(Some(&note), at(7_002))), at(7_003));
    let mut third = pass(16, 3);
    third.sync(Some(&note), at(7_004));
    assert!(fill(&mut third, "w", at(7_004)).len() > 1);
}

#[test]
fn decrease_of_one_pass_counts_for_the_others_once() {
    let (mut first, mut second) = (grown(16), pass(16, 2));
    let note = first.sync(None, at(2_000));
    second.sync(Some(&note), at(2_000));
    let note = second.sync(Some(&note), at(8_000));
    let note = first.sync(Some(&note), at(8_000));
    let slots = fill(&mut second, "w", at(8_001));
    let mut others = fill(&mut first, "w", at(8_001));
    widths_end_one(&mut first, &mut others, FAILED, at(8_005));
    let note = first.sync(Some(&note), at(9_000));
    assert_eq!(second.width(), 16);
    second.sync(Some(&note), at(9_000));
    assert_eq!((first.width(), second.width()), (8, 8));
    end_all(&mut second, slots, FAILED, at(9_001));
    assert_eq!(second.width(), 8, "these were sent before it was known");
}

fn widths_end_one(widths: &mut Widths, slots: &mut Vec<Slot>, answer: Answer, now: Timestamp) {
    widths.end(slots.pop().unwrap(), answer, now);
}

#[test]
fn refusal_of_a_fresh_delivery_counts_once_for_all_passes() {
    let mut first = grown(16);
    let slots = fill(&mut first, "w", at(2_000));
    let refusal = Refusal { at: at(2_500), workflow: None };
    for now in [3_000, 4_000] {
        first.refused_elsewhere(&refusal, at(now));
        assert_eq!(first.width(), 8);
    }
    end_all(&mut first, slots, Answer::Answered, at(4_500));
    let note = first.leave(None, at(5_000));
    let mut second = pass(16, 2);
    second.sync(Some(&note), at(5_001));
    let slots = fill(&mut second, "w", at(5_001));
    second.refused_elsewhere(&refusal, at(5_002));
    assert_eq!(second.width(), 8, "the note says that it was counted");
    second.refused_elsewhere(&Refusal { at: at(5_002), workflow: Some("w".to_owned()) }, at(5_003));
    assert_eq!((second.width(), second.workflow_width("w")), (8, Some(4)));
    end_all(&mut second, slots, Answer::Answered, at(6_000));
}

/// The clock of the instance that was refused may be ahead.
#[test]
fn refusal_with_a_later_time_counts_once_too() {
    let mut first = grown(16);
    let slots = fill(&mut first, "w", at(2_000));
    let refusal = Refusal { at: at(60_000), workflow: None };
    first.refused_elsewhere(&refusal, at(3_000));
    end_all(&mut first, slots, Answer::Answered, at(3_500));
    let note = first.leave(None, at(4_000));
    let mut second = pass(16, 2);
    second.sync(Some(&note), at(4_001));
    fill(&mut second, "w", at(4_002));
    second.refused_elsewhere(&refusal, at(4_003));
    assert_eq!(second.width(), 8);
}

/// The others have left no share to a pass that ends before they know of it.
#[test]
fn place_of_a_pass_that_was_new_is_not_taken() {
    let note = grown(16).sync(None, at(2_000));
    let mut second = pass(16, 2);
    second.sync(Some(&note), at(2_001));
    let note = second.leave(Some(&note), at(2_002));
    let mut third = pass(16, 3);
    third.sync(Some(&note), at(2_003));
    assert_eq!(fill(&mut third, "w", at(2_004)).len(), 1);
}

#[test]
fn width_begins_again_after_an_idle_time() {
    let mut first = grown(16);
    let slots = fill(&mut first, "w", at(2_000));
    end_all(&mut first, slots, LIMITED, at(2_001));
    let note = first.leave(None, at(3_000));
    let read = |now| {
        let mut widths = pass(16, 2);
        widths.sync(Some(&note), now);
        (widths.width(), widths.workflow_width("w"))
    };
    assert_eq!(read(at(3_000).plus(IDLE)), (16, Some(8)));
    assert_eq!(read(at(3_001).plus(IDLE)), (1, None));
}

#[test]
fn note_of_a_clock_that_is_ahead_stops_nothing() {
    let day = Duration::from_secs(24 * 3_600);
    let mut ahead = pass(16, 1);
    let slots = fill(&mut ahead, "w", at(0).plus(day));
    end_all(&mut ahead, slots, Answer::Failed { after: Some(RETRY_AFTER_CAP) }, at(1).plus(day));
    let note = ahead.sync(None, at(2).plus(day));
    let mut widths = pass(16, 2);
    widths.sync(Some(&note), at(0));
    assert_eq!(fill(&mut widths, "w", at(0)).len(), 1);
    assert_eq!(Note::read(&widths.sync(Some(&note), at(1))).unwrap().passes(at(1)), 1);
}

#[test]
fn note_that_cannot_be_read_counts_as_none() {
    let note = grown(16).sync(None, at(2_000));
    assert!(Note::read(&note).is_some());
    for damaged in ["", "{}", note.trim_start_matches('{'), &note.replace("\"v\":1", "\"v\":2")] {
        assert_eq!(Note::read(damaged), None);
        let mut widths = pass(16, 2);
        widths.sync(Some(damaged), at(2_000));
        assert_eq!(widths.width(), 1);
    }
    let huge = note.replace("\"size\":16", "\"size\":4000000000");
    assert_ne!(huge, note);
    let mut widths = pass(16, 2);
    widths.sync(Some(&huge), at(2_000));
    assert_eq!(widths.width(), 16);
}

#[test]
fn note_has_a_bounded_length() {
    for (number, length) in [(200, 10), (200, 256), (1, 256)] {
        let mut widths = grown(64);
        let name = |number: usize| format!("{number:03}{}", "\"".repeat(length - 3));
        for number in 0..number {
            let now = at(2_000 + u64::try_from(number).unwrap());
            let slot = widths.start(Some(&name(number)), 1, now);
            widths.end(slot, LIMITED, now);
        }
        let mut note = widths.sync(None, at(3_000));
        for id in 0..100 {
            note = pass(64, id + u64::MAX / 2).sync(Some(&note), at(3_000));
            assert!(note.len() <= MAX_NOTE, "{}", note.len());
        }
        let read = Note::read(&note).unwrap();
        assert!(read.workflows(at(3_000)).count() > 0 && read.passes(at(3_000)) <= MAX_PASSES);
    }
}

#[test]
fn answer_is_that_of_the_engine_to_the_request() {
    let (reason, after, deadline) = (String::new, Some(Duration::from_secs(7)), at(11_000));
    let (silent, failed) = (Answer::Silent { until: deadline, after }, Answer::Failed { after });
    for (verdict, status, answer) in [
        (Verdict::Accepted { body: Vec::new() }, Some(200), Answer::Answered),
        (Verdict::NotWaiting, None, Answer::Answered),
        (Verdict::Rejected { status: StatusCode::BAD_REQUEST, code: None }, Some(400), Answer::Answered),
        (Verdict::Retry { reason: reason(), after }, Some(429), Answer::Limited { after }),
        (Verdict::Retry { reason: reason(), after }, Some(503), failed),
        (Verdict::Retry { reason: reason(), after }, Some(408), failed),
        (Verdict::Retry { reason: reason(), after }, Some(423), Answer::Answered),
        (Verdict::Unclear { reason: reason(), after, concluded: true }, Some(500), Answer::Answered),
        (Verdict::Unclear { reason: reason(), after, concluded: true }, Some(504), failed),
        (Verdict::Unclear { reason: reason(), after, concluded: false }, Some(502), silent),
        (Verdict::Unclear { reason: reason(), after, concluded: false }, None, silent),
        (Verdict::Unreachable { reason: reason() }, None, FAILED),
        (Verdict::Misconfigured { reason: reason() }, Some(401), FAILED),
    ] {
        let status = status.map(|status| StatusCode::from_u16(status).unwrap());
        assert_eq!(Answer::of(&verdict, status, deadline), answer, "{verdict:?} {status:?}");
    }
}

#[test]
fn pace_counts_what_all_passes_conclude() {
    let (mut first, mut second) = (pass(16, 1), pass(16, 2));
    let mut note = first.sync(None, at(0));
    assert_eq!(first.pace().unwrap().remaining(at(0)), None);
    for round in 1..=60 {
        let now = at(round * 5_000);
        first.conclude(15);
        second.conclude(5);
        second.count_pending(2_400, now);
        note = first.sync(Some(&note), now);
        note = second.sync(Some(&note), now);
        let pace = *Note::read(&note).unwrap().pace();
        let remaining = pace.remaining(now).unwrap().as_secs();
        assert!((580..=620).contains(&remaining), "4 a second, and 2,400 pending: {remaining} s");
    }
    // Nothing leaves the backlog any more.
    let pace = *Note::read(&note).unwrap().pace();
    assert!(pace.remaining(at(500_000)).unwrap() > Duration::from_secs(1_200));
    assert_eq!((pace.remaining(at(3_600_000)), pace.pending()), (None, Some(2_400)));
    second.count_pending(0, at(400_000));
    second.sync(Some(&note), at(400_000));
    assert_eq!(second.pace().unwrap().remaining(at(3_600_000)), Some(Duration::ZERO));
}

fn id(number: u64) -> DeliveryId {
    DeliveryId::new(at(number).into(), number)
}

fn start_of(number: u64, workflow: &str, due: u64) -> Due {
    let target = Target::Start { workflow: workflow.to_owned() };
    Due { id: id(number), target, key: None, bytes: 1, due: at(due) }
}

fn callback_of(number: u64, run: &str, due: u64) -> Due {
    Due { target: Target::Callback { run: run.to_owned() }, ..start_of(number, "", due) }
}

fn ordered(number: u64, place: u64, due: u64) -> Due {
    let target = Target::Ordered { workflow: "w".to_owned(), queue: "q".to_owned(), place };
    Due { target, ..start_of(number, "", due) }
}

fn scheduler(due: impl IntoIterator<Item = Due>) -> Scheduler {
    let mut scheduler = Scheduler::new(grown(16));
    for due in due {
        assert!(scheduler.add(due));
    }
    scheduler
}

/// The numbers of what starts now.
fn starts(scheduler: &mut Scheduler, now: u64) -> Vec<u64> {
    let mut started = Vec::new();
    while let Decision::Start(id) = scheduler.next(at(now)) {
        started.push(id.at().0 - NOW);
    }
    started
}

#[test]
fn delivery_that_has_been_due_the_longest_is_first() {
    let due = [start_of(1, "a", 30), start_of(2, "a", 10), start_of(3, "b", 20), start_of(4, "b", 5_001)];
    let mut scheduler = scheduler(due);
    assert!(!scheduler.add(start_of(2, "a", 0)), "it is known");
    assert_eq!(starts(&mut scheduler, 5_000), [2, 3, 1]);
    assert_eq!(scheduler.next(at(5_000)), Decision::Wait(Some(at(5_001))));
    assert_eq!(starts(&mut scheduler, 5_001), [4]);
    assert_eq!(scheduler.next(at(5_001)), Decision::Wait(None));
    for number in 1..=4 {
        scheduler.end(id(number), Answer::Answered, Next::Gone, at(5_002));
    }
    assert_eq!(scheduler.next(at(5_002)), Decision::Done);
}

#[test]
fn workflow_whose_width_is_used_up_does_not_hold_up_others() {
    let mut scheduler = scheduler((1..=40).map(|number| start_of(number, "a", 0)));
    assert_eq!(starts(&mut scheduler, 5_000).len(), 16);
    scheduler.end(id(1), LIMITED, Next::Again(at(9_000)), at(5_010));
    for number in 2..=13 {
        scheduler.end(id(number), Answer::Unsent, Next::Gone, at(5_010));
    }
    // 3 are in flight, and the width of the workflow is 8.
    assert_eq!(starts(&mut scheduler, 5_010).len(), 5);
    scheduler.add(start_of(50, "b", 5_009));
    assert_eq!(scheduler.busy(at(5_010)), ["a"]);
    assert_eq!(scheduler.room(at(5_010)), 7);
    assert_eq!(starts(&mut scheduler, 5_010), [50]);
    assert_eq!(scheduler.room(at(5_010)), 7);
    let waiting = scheduler.remove_waiting();
    assert_eq!((waiting.len(), scheduler.len(), scheduler.in_flight()), (20, 9, 9));
    assert_eq!(scheduler.next(at(5_010)), Decision::Wait(None));
}

#[test]
fn key_is_in_flight_once_at_a_time() {
    let keyed = |number, key: &str| Due { key: Some(key.to_owned()), ..start_of(number, "a", number) };
    let mut scheduler = scheduler([keyed(1, "k"), keyed(2, "k"), keyed(3, "other"), keyed(4, "k")]);
    assert_eq!(starts(&mut scheduler, 5_000), [1, 3]);
    scheduler.end(id(1), Answer::Answered, Next::Again(at(6_000)), at(5_001));
    assert_eq!(starts(&mut scheduler, 5_001), [2]);
    scheduler.end(id(2), Answer::Answered, Next::Gone, at(6_001));
    assert_eq!(starts(&mut scheduler, 6_001), [4]);
    scheduler.end(id(4), Answer::Answered, Next::Gone, at(6_002));
    assert_eq!(starts(&mut scheduler, 6_002), [1]);
}

#[test]
fn callbacks_of_a_run_go_one_at_a_time_in_order_of_arrival() {
    let due = [callback_of(1, "r", 5_500), callback_of(2, "r", 20), callback_of(3, "r", 10), callback_of(4, "s", 30)];
    let mut scheduler = scheduler(due);
    assert_eq!(starts(&mut scheduler, 5_000), [2, 4]);
    assert_eq!(scheduler.busy(at(5_000)), ["r", "s"]);
    scheduler.end(id(2), Answer::Answered, Next::Again(at(9_000)), at(5_600));
    assert_eq!(starts(&mut scheduler, 5_600), [1], "it is due by now, and arrived before the third");
    scheduler.end(id(1), Answer::Answered, Next::Gone, at(5_700));
    assert_eq!(starts(&mut scheduler, 5_700), [3], "one that waits for its time holds up no other");
}

#[test]
fn queue_keeps_its_order_and_waits_for_its_head() {
    let mut scheduler = scheduler([ordered(3, 1, 0), ordered(1, 2, 0), ordered(2, 3, 0), start_of(9, "w", 1)]);
    assert_eq!(starts(&mut scheduler, 5_000), [3, 9]);
    scheduler.end(id(3), Answer::Answered, Next::Again(at(7_000)), at(5_001));
    assert_eq!(scheduler.next(at(5_001)), Decision::Wait(Some(at(7_000))));
    assert_eq!(starts(&mut scheduler, 7_000), [3]);
    scheduler.end(id(3), Answer::Answered, Next::Gone, at(7_001));
    assert_eq!(starts(&mut scheduler, 7_001), [1]);
    // One that comes before it is added while it is in flight.
    scheduler.add(ordered(4, 0, 0));
    scheduler.end(id(1), Answer::Answered, Next::Again(at(7_002)), at(7_002));
    assert_eq!(starts(&mut scheduler, 7_100), [4]);
}

#[test]
fn large_delivery_is_not_overtaken() {
    let large = |number, bytes| Due { bytes, ..start_of(number, "w", number) };
    let due = [large(1, MAX_BYTES_IN_FLIGHT - 1), large(2, MAX_BYTES_IN_FLIGHT), start_of(3, "other", 3)];
    let mut scheduler = scheduler(due);
    assert_eq!(starts(&mut scheduler, 5_000), [1]);
    scheduler.end(id(1), Answer::Answered, Next::Gone, at(5_001));
    assert_eq!(starts(&mut scheduler, 5_001), [2]);
}

/// A delivery in a random history.
fn any_due(number: u64) -> impl Strategy<Value = Due> {
    let target = prop_oneof![
        3 => (0..3_u8).prop_map(|workflow| Target::Start { workflow: format!("w{workflow}") }),
        1 => (0..2_u8).prop_map(|run| Target::Callback { run: format!("r{run}") }),
        1 => (0..2_u8, 0..3_u8, 0..5_u64).prop_map(|(workflow, queue, place)| Target::Ordered {
            workflow: format!("w{workflow}"),
            queue: format!("q{queue}"),
            place
        }),
    ];
    let key = proptest::option::of((0..4_u8).prop_map(|key| format!("k{key}")));
    (target, key, 1..MAX_BYTES_IN_FLIGHT / 3, 0..20_000_u64).prop_map(move |(target, key, bytes, due)| Due {
        id: id(number),
        target,
        key,
        bytes,
        due: at(due),
    })
}

fn any_answer() -> impl Strategy<Value = Answer> {
    let after = proptest::option::weighted(0.2, (1..40_u64).prop_map(Duration::from_secs));
    prop_oneof![
        4 => Just(Answer::Answered),
        1 => after.clone().prop_map(|after| Answer::Limited { after }),
        1 => after.clone().prop_map(|after| Answer::Failed { after }),
        1 => after.prop_map(|after| Answer::Silent { until: Timestamp(0), after }),
        1 => Just(Answer::Unsent),
    ]
}

/// Whether two deliveries may never be in flight at the same time.
fn exclude_each_other(one: &Due, other: &Due) -> bool {
    let same_key = one.key.is_some() && one.key == other.key;
    let same_group = match (&one.target, &other.target) {
        (Target::Callback { run }, Target::Callback { run: other }) => run == other,
        (Target::Ordered { queue, .. }, Target::Ordered { queue: other, .. }) => queue == other,
        _ => false,
    };
    same_key || same_group
}

proptest! {
    /// Any deliveries, any answers: the rules hold at each start, and each delivery is concluded in the end.
    #[test]
    fn scheduler_keeps_its_rules_for_any_history(
        due in (1..40_u64).prop_flat_map(|count| (0..count).map(any_due).collect::<Vec<_>>()),
        answers in proptest::collection::vec((any_answer(), 1..3_000_u64, any::<prop::sample::Index>()), 200),
        width_max in 1..12_u32,
    ) {
        let mut scheduler = Scheduler::new(pass(width_max, 1));
        let mut left: BTreeMap<DeliveryId, Due> = BTreeMap::new();
        let (mut late, mut rest): (Vec<_>, Vec<_>) = due.into_iter().partition(|due| due.bytes % 4 == 0);
        rest.reverse();
        let mut flight: Vec<DeliveryId> = Vec::new();
        // The deadlines of requests without an answer.
        let mut silent: Vec<Timestamp> = Vec::new();
        let mut answers = answers.into_iter();
        let mut now = at(0);
        loop {
            for due in rest.drain(..) {
                left.insert(due.id, due.clone());
                prop_assert!(scheduler.add(due));
            }
            let mut until = None;
            loop {
                let decision = scheduler.next(now);
                silent.retain(|until| *until > now);
                let id = match decision {
                    Decision::Start(id) => id,
                    Decision::Wait(time) => { until = time; break }
                    Decision::Done => { prop_assert!(left.is_empty()); break }
                };
                let due = &left[&id];
                prop_assert!(due.due <= now);
                let others: Vec<&Due> = flight.iter().map(|id| &left[id]).collect();
                prop_assert!(others.iter().all(|other| !exclude_each_other(due, other)), "{due:?} beside {others:?}");
                let bytes: usize = others.iter().map(|other| other.bytes).sum();
                prop_assert!(others.is_empty() || bytes + due.bytes <= MAX_BYTES_IN_FLIGHT);
                let waiting = left.values().filter(|other| !flight.contains(&other.id));
                for other in waiting {
                    match (&due.target, &other.target) {
                        (Target::Ordered { queue, place, .. }, Target::Ordered { queue: same, place: second, .. })
                            if queue == same => prop_assert!((place, due.id) <= (second, other.id)),
                        (Target::Callback { run }, Target::Callback { run: same }) if run == same && other.due <= now =>
                            prop_assert!(due.id <= other.id),
                        _ => {}
                    }
                }
                flight.push(id);
                let width = usize::try_from(scheduler.widths().width()).unwrap();
                prop_assert!((1..=usize::try_from(width_max).unwrap()).contains(&width));
                prop_assert!(flight.len() + silent.len() <= width, "{} and {}", flight.len(), silent.len());
                prop_assert_eq!(scheduler.in_flight(), flight.len());
            }
            if left.is_empty() && late.is_empty() {
                break;
            }
            rest.extend(late.pop());
            if flight.is_empty() {
                if !left.is_empty() {
                    let Some(until) = until else { panic!("nothing wakes the pass") };
                    prop_assert!(until > now, "{:?}", until);
                    now = until;
                }
                continue;
            }
            let (answer, took, which) = answers.next().unwrap_or((Answer::Answered, 10, any_index()));
            let id = flight.remove(which.index(flight.len()));
            now = now.plus(Duration::from_millis(took));
            let deadline = now.plus(Duration::from_millis(took));
            let (answer, next) = match answer {
                Answer::Answered | Answer::Unsent => (answer, Next::Gone),
                Answer::Silent { after, .. } => {
                    silent.push(deadline);
                    (Answer::Silent { until: deadline, after }, Next::Again(deadline))
                }
                answer => (answer, Next::Again(now.plus(Duration::from_millis(took / 2)))),
            };
            scheduler.end(id, answer, next, now);
            match next {
                Next::Again(due) => left.get_mut(&id).unwrap().due = due,
                _ => { left.remove(&id); }
            }
        }
    }

    /// Passes that read and write the note at any time, with writes that are lost.
    #[test]
    fn passes_never_have_more_than_their_number_times_the_width_in_flight(
        steps in proptest::collection::vec((0..3_usize, 0..5_u8, 1..2_000_u64), 1..300),
        width_max in 1..20_u32,
    ) {
        let mut passes: Vec<(Widths, Vec<Slot>)> = (0..3).map(|id| (pass(width_max, id), Vec::new())).collect();
        let (mut note, mut now) = (None, at(0));
        for (index, step, took) in steps {
            now = now.plus(Duration::from_millis(took));
            let (widths, slots) = &mut passes[index];
            match step {
                0 => slots.extend(fill(widths, "w", now)),
                1 => end_all(widths, std::mem::take(slots), Answer::Answered, now),
                2 => end_all(widths, slots.pop().into_iter().collect(), FAILED, now),
                3 => note = Some(widths.sync(note.as_deref(), now)),
                _ => drop(widths.sync(note.as_deref(), now)),
            }
            for (widths, slots) in &passes {
                prop_assert!((1..=width_max).contains(&widths.width()));
                prop_assert!(slots.len() <= usize::try_from(width_max).unwrap());
            }
        }
        // Once each has read what the others wrote, they agree, and their shares add up to the width.
        for (widths, slots) in &mut passes {
            end_all(widths, std::mem::take(slots), Answer::Unsent, now);
        }
        for _ in 0..4 {
            now = now.plus(SYNC_INTERVAL);
            for (widths, _) in &mut passes {
                note = Some(widths.sync(note.as_deref(), now));
            }
        }
        now = now.plus(PAUSE_CAP);
        for (widths, _) in &mut passes {
            note = Some(widths.sync(note.as_deref(), now));
        }
        for (widths, _) in &mut passes {
            note = Some(widths.sync(note.as_deref(), now));
        }
        let sizes: BTreeSet<u32> = passes.iter().map(|(widths, _)| widths.width()).collect();
        prop_assert_eq!(sizes.len(), 1, "{:?}", sizes);
        let sum: usize = passes.iter_mut().map(|(widths, _)| fill(widths, "w", now).len()).sum();
        prop_assert_eq!(Some(sum), sizes.first().map(|size| usize::try_from(*size).unwrap()));
    }
}

fn any_index() -> prop::sample::Index {
    use proptest::strategy::ValueTree;
    use proptest::test_runner::TestRunner;
    any::<prop::sample::Index>().new_tree(&mut TestRunner::deterministic()).unwrap().current()
}
