use std::time::Duration;

use proptest::prelude::*;

use super::sim::Sim;
use super::{HOUR, MINUTE, NOW, WINDOW, callback, claimed, event, resolve, run, start};
use crate::callback::{Callback, Status};
use crate::delivery::{Delivery, Key};
use crate::ports::Clock as _;
use crate::reference::{RunRef, Topic};
use crate::store::SEND_WITHIN;
use crate::store::Settled;
use crate::store::key_value::names::{self, Register, Round, short};
use crate::store::key_value::registers::Contender;
use crate::store::key_value::{Claim, Form};
use crate::time::Timestamp;

const PATIENCE: Duration = Duration::from_secs(2);

fn claim(sim: &Sim, delivery: &Delivery<'_>, key: &Key) -> Claim {
    run(sim.claims().claim(delivery, key, PATIENCE)).unwrap()
}

#[track_caller]
fn win(sim: &Sim, n: u64, key: &Key) -> Delivery<'static> {
    let delivery = start(n, NOW);
    match claim(sim, &delivery, key) {
        Claim::Won(won) => claimed(delivery, key, won.window, false),
        claim => panic!("{claim:?}"),
    }
}

/// The upgrade of an empty store is complete.
fn sim() -> Sim {
    let sim = Sim::default();
    run(async {
        let list = sim.outbox().list().await.unwrap();
        sim.claims().upgrade(&list, super::DOORS, Timestamp(u64::MAX)).await.unwrap();
    });
    sim.take_cost();
    sim
}

#[test]
fn costs_are_as_documented() {
    let sim = sim();
    let delivery = win(&sim, 1, &event(1));
    assert_eq!(sim.take_cost(), (9, 3), "the first claim");
    run(sim.claims().record_pending(&delivery)).unwrap();
    run(sim.claims().record_delivered(&delivery, b"{}")).unwrap();
    assert_eq!(sim.take_cost(), (0, 2), "two outcomes");
    assert!(matches!(claim(&sim, &start(2, NOW), &event(1)), Claim::Settled(_)));
    assert_eq!(sim.take_cost(), (2, 0), "a duplicate");
    run(sim.claims().release(&delivery)).unwrap();
    assert_eq!(sim.take_cost(), (3, 2), "a release with a record, and the form");
    let delivery = win(&sim, 3, &event(3));
    sim.take_cost();
    run(sim.claims().release(&delivery)).unwrap();
    assert_eq!(sim.take_cost(), (3, 2), "a release without a record, and the form");
    let copy = claimed(start(4, NOW), &event(4), WINDOW, true);
    run(sim.claims().take_over(&copy)).unwrap();
    assert_eq!(sim.take_cost(), (7, 1), "a take-over, and the form");
    let outbox = sim.outbox();
    run(outbox.put(&copy)).unwrap();
    run(outbox.dead_letter(&copy)).unwrap();
    assert_eq!(sim.take_cost(), (0, 3));
    let lease = run(outbox.acquire_lease(Duration::from_secs(60))).unwrap().unwrap();
    assert_eq!(sim.take_cost(), (4, 3), "a lease");
    assert!(run(outbox.acquire_lease(Duration::from_secs(60))).unwrap().is_none());
    assert_eq!(sim.take_cost(), (1, 0), "a lease that another drain holds");
    assert!(run(outbox.holds(&lease)).unwrap());
    assert_eq!(sim.take_cost(), (1, 0));
    run(outbox.release_lease(lease)).unwrap();
    assert_eq!(sim.take_cost(), (1, 1));
}

#[test]
fn window_boundary_costs_two_more_reads() {
    let sim = sim();
    sim.at(NOW + HOUR / 2 - 1);
    win(&sim, 1, &event(1));
    assert_eq!(sim.take_cost(), (11, 3));
    sim.at(NOW + HOUR / 2);
    win(&sim, 2, &event(2));
    assert_eq!(sim.take_cost(), (9, 3));
}

#[test]
fn duplicate_gets_the_outcome_in_this_window_and_the_next() {
    let sim = sim();
    let delivery = win(&sim, 1, &event(1));
    run(sim.claims().record_delivered(&delivery, br#"{"id":"r"}"#)).unwrap();
    for (at, is_known) in [(NOW, true), (NOW + HOUR, true), (NOW + 2 * HOUR, true), (NOW + 4 * HOUR, false)] {
        sim.at(at);
        let found = claim(&sim, &start(2, at), &event(1));
        assert_eq!(matches!(found, Claim::Settled(Settled::Start(_))), is_known, "{at}: {found:?}");
    }
}

/// A repeat in the next window copies an outcome that is final, so the repeats after that cost as little as in the first
/// window. Another outcome may still change or be released where it is.
#[test]
fn outcome_of_the_previous_window_is_copied_once_it_is_final() {
    for is_final in [true, false] {
        let sim = sim();
        let delivery = win(&sim, 1, &event(1));
        if is_final {
            run(sim.claims().record_delivered(&delivery, b"{}")).unwrap();
        } else {
            run(sim.claims().record_pending(&delivery)).unwrap();
        }
        sim.at(NOW + HOUR);
        sim.take_cost();
        for cost in [(9, 4), if is_final { (2, 0) } else { (12, 4) }] {
            assert!(matches!(claim(&sim, &start(2, NOW + HOUR), &event(1)), Claim::Settled(_)));
            assert_eq!(sim.take_cost(), cost, "final: {is_final}");
        }
        assert_eq!(sim.names("sluice:done:").len(), if is_final { 2 } else { 1 });
    }
}

#[test]
fn key_of_an_unsettled_claim_is_contended_in_this_window_and_the_next() {
    let sim = sim();
    win(&sim, 1, &event(1));
    for (at, is_held) in [(NOW, true), (NOW + HOUR, true), (NOW + 2 * HOUR, false)] {
        sim.at(at);
        let found = claim(&sim, &start(2, at), &event(1));
        assert_eq!(matches!(found, Claim::Contended { window: WINDOW }), is_held, "{at}: {found:?}");
    }
}

#[test]
fn released_key_is_claimed_again() {
    let sim = sim();
    let key = event(1);
    for n in 1..5 {
        let delivery = win(&sim, n, &key);
        run(sim.claims().release(&delivery)).unwrap();
    }
    // Also in the next window.
    sim.at(NOW + HOUR);
    let delivery = win(&sim, 9, &key);
    run(sim.claims().record_delivered(&delivery, b"{}")).unwrap();
    assert!(matches!(claim(&sim, &start(10, NOW), &key), Claim::Settled(_)));
}

#[test]
fn only_the_holder_releases_a_key() {
    let sim = sim();
    let key = event(1);
    let first = win(&sim, 1, &key);
    let other = claimed(start(2, NOW), &key, WINDOW, false);
    run(sim.claims().release(&other)).unwrap();
    assert!(matches!(claim(&sim, &start(3, NOW), &key), Claim::Contended { .. }));
    run(sim.claims().release(&first)).unwrap();
    let second = win(&sim, 4, &key);
    // Its claim is over.
    run(sim.claims().release(&first)).unwrap();
    assert!(matches!(claim(&sim, &start(5, NOW), &key), Claim::Contended { .. }));
    run(sim.claims().record_delivered(&second, b"{}")).unwrap();
    run(sim.claims().release(&first)).unwrap();
    assert!(matches!(claim(&sim, &start(6, NOW), &key), Claim::Settled(_)));
}

#[test]
fn round_without_a_winner_is_followed_by_another_within_a_second() {
    // A contender has stopped after each of its steps.
    for steps in 0..12 {
        let sim = sim();
        sim.fails_after.set(Some(steps));
        let crashed = run(sim.claims().claim(&start(1, NOW), &event(1), PATIENCE));
        assert!(crashed.is_err());
        sim.fails_after.set(None);
        let begun = sim.clock.get();
        let found = claim(&sim, &start(2, NOW), &event(1));
        let is_held = !sim.names("sluice:won").is_empty() && steps > 7;
        match found {
            Claim::Won(_) => assert!(sim.clock.get() - begun < 1_000_000, "after {steps}"),
            found => assert!(is_held, "after {steps}: {found:?}"),
        }
    }
}

#[test]
fn contender_that_another_key_makes_lose_does_not_wait() {
    let sim = sim();
    let (key, delivery) = (event(1), start(1, NOW));
    let round = Round { window: WINDOW, short: short(key.hash()), term: String::new(), number: 0 };
    // It has lost to another key in round 0, after it has written the mark.
    let one = Contender::new(delivery.id, 1, Timestamp(NOW));
    sim.put(&Register::Mark.of(&round), &one.to_bytes().unwrap());
    let claims = sim.claims();
    let until = Timestamp(NOW + 10_000);
    let waited = run(claims.await_round(&delivery, &key, &round, super::DOORS, true, PATIENCE, until)).unwrap();
    assert!(matches!(waited, crate::store::key_value::claim::Waited::Over), "it goes on at once");
    assert_eq!(sim.clock.get(), NOW * 1_000);
}

#[test]
fn winner_of_a_round_that_is_over_withdraws_and_goes_on() {
    for mark in [false, true] {
        let sim = sim();
        let key = Key::task(&callback("t"), "task");
        let round = Round { window: WINDOW, short: short(key.hash()), term: String::new(), number: 0 };
        sim.put(&Register::Void.of(&round), b"");
        if mark {
            sim.put(&Register::Mark.of(&round), b"");
        }
        let delivery = resolve(1, NOW, "t");
        assert!(matches!(claim(&sim, &delivery, &key), Claim::Won(_)));
        assert_eq!(sim.clock.get(), NOW * 1_000, "nobody waits in a round that is over");
        // The holder is the winner of the second round.
        let holder = run(sim.claims().holder(&key)).unwrap().unwrap();
        assert_eq!(holder.record.id, delivery.id);
        let won = sim.names("sluice:won:").len();
        assert_eq!(won, if mark { 1 } else { 2 });
    }
}

#[test]
fn contender_does_not_disturb_another_that_enters() {
    let sim = sim();
    let key = event(1);
    let round = Round { window: WINDOW, short: short(key.hash()), term: String::new(), number: 0 };
    let race = names::race(crate::store::key_value::registers::slot(&round.short, super::DOORS));
    let other = Contender::new(start(9, NOW).id, 9, Timestamp(NOW)).racing(&round).to_bytes().unwrap();
    sim.put(&race, &other);
    // It waits, and goes on once the other one has had its time.
    let patience = Duration::from_millis(100);
    let found = run(sim.claims().claim(&start(1, NOW), &key, patience)).unwrap();
    assert!(matches!(found, Claim::Contended { window: WINDOW }));
    assert_eq!(sim.text(&race).unwrap().into_bytes(), other);
    assert!(matches!(claim(&sim, &start(2, NOW), &key), Claim::Won(_)));
}

#[test]
fn winner_has_to_send_soon() {
    let sim = sim();
    let begun = sim.monotonic();
    let Claim::Won(won) = claim(&sim, &start(1, NOW), &event(1)) else { panic!() };
    assert_eq!(won.until, begun + SEND_WITHIN);
}

#[test]
fn full_store_refuses_new_keys_and_knows_old_ones() {
    let sim = sim();
    let delivery = win(&sim, 1, &event(1));
    run(sim.claims().record_delivered(&delivery, b"{}")).unwrap();
    let form = run(Form::stored(&sim)).unwrap().unwrap();
    run(Form { full: true, ..form.clone() }.write(&sim, Some(&form))).unwrap();
    let before = sim.entries.borrow().len();
    assert!(matches!(claim(&sim, &start(2, NOW), &event(1)), Claim::Settled(_)));
    let error = run(sim.claims().claim(&start(3, NOW), &event(3), PATIENCE)).unwrap_err();
    assert!(error.0.contains("full"), "{error}");
    assert_eq!(sim.entries.borrow().len(), before);
}

#[test]
fn later_form_is_an_error_and_nothing_is_written() {
    let sim = Sim::default();
    sim.put(names::FORM, br#"{"v":2,"something":1}"#);
    let error = run(sim.claims().claim(&start(1, NOW), &event(1), PATIENCE)).unwrap_err();
    assert!(error.0.contains("later version"), "{error}");
    let list = run(sim.outbox().list()).unwrap();
    assert!(run(sim.claims().upgrade(&list, 64, Timestamp(u64::MAX))).is_err());
    assert_eq!(sim.entries.borrow().len(), 1);
}

#[test]
fn size_of_the_table_is_that_of_the_store() {
    let sim = sim();
    let other = crate::store::key_value::Claims::new(&sim, super::retention(), 1);
    run(other.claim(&start(1, NOW), &event(1), PATIENCE)).unwrap();
    win(&sim, 2, &event(2));
    let races = sim.names("sluice:race:");
    assert_eq!(races.len(), 2, "{races:?}");
}

#[test]
fn copy_is_taken_over_once_no_winner_can_send() {
    let sim = sim();
    let key = event(1);
    let copy = claimed(start(2, NOW), &key, WINDOW, true);
    let winner = win(&sim, 1, &key);
    let latest = run(sim.claims().take_over(&copy)).unwrap();
    assert_eq!(latest, Some(Timestamp(NOW).plus(SEND_WITHIN)));
    // Nobody else wins from now on, and the copy is pending.
    assert!(matches!(claim(&sim, &start(3, NOW), &key), Claim::Settled(settled) if settled.id() == copy.id));
    // The winner is rejected by the engine: the copy stays.
    run(sim.claims().release(&winner)).unwrap();
    assert!(matches!(run(sim.claims().own_record(&copy)).unwrap(), Some(Ok(settled)) if settled.id() == copy.id));
    let other = claimed(start(4, NOW), &key, WINDOW, true);
    assert!(matches!(run(sim.claims().settled(&other)).unwrap(), Some(Ok(settled)) if settled.id() == copy.id));
}

#[test]
fn callback_of_a_claim_is_stored_before_it_is_sent() {
    let sim = sim();
    let delivery = resolve(1, NOW, "t");
    let key = Key::task(&callback("t"), "task");
    assert!(matches!(claim(&sim, &delivery, &key), Claim::Won(_)));
    let holder = run(sim.claims().holder(&key)).unwrap().unwrap();
    assert_eq!((holder.age, holder.window, holder.record.id), (Duration::ZERO, WINDOW, delivery.id));
    let listed = run(sim.claims().callbacks(&RunRef::parse("r").unwrap(), None, usize::MAX, None)).unwrap().unwrap();
    assert_eq!(listed.records.len(), 1);
    let delivery = claimed(delivery, &key, WINDOW, false);
    run(sim.claims().release(&delivery)).unwrap();
    assert!(run(sim.claims().holder(&key)).unwrap().is_none());
    assert!(
        run(sim.claims().callbacks(&RunRef::parse("r").unwrap(), None, usize::MAX, None))
            .unwrap()
            .unwrap()
            .records
            .is_empty()
    );
}

#[test]
fn early_claim_is_released_by_its_holder_only() {
    let sim = sim();
    let key = Key::early(&callback("t"));
    let mut delivery = resolve(1, NOW, "t");
    assert!(matches!(claim(&sim, &delivery, &key), Claim::Won(_)));
    run(sim.claims().release_early(&delivery)).unwrap();
    assert!(matches!(claim(&sim, &resolve(2, NOW, "t"), &key), Claim::Contended { .. }), "it held none");
    delivery.early_window = Some(WINDOW);
    run(sim.claims().release_early(&delivery)).unwrap();
    assert!(matches!(claim(&sim, &resolve(3, NOW, "t"), &key), Claim::Won(_)));
}

#[test]
fn abandoned_round_of_old_contenders_is_no_obstacle_later() {
    let sim = sim();
    sim.fails_after.set(Some(7));
    assert!(run(sim.claims().claim(&start(1, NOW), &event(1), PATIENCE)).is_err());
    sim.fails_after.set(None);
    sim.pass(10 * MINUTE);
    win(&sim, 2, &event(1));
}

proptest! {
    #[test]
    fn every_name_fits_every_store(
        run in "[a-zA-Z0-9é]{1,100}",
        topic in "\\PC{1,200}",
        window in any::<u64>(),
        number in any::<u32>(),
        term in "([0-9a-f]{16})?",
    ) {
        if let (Ok(run), Ok(topic)) = (RunRef::parse(&run), Topic::parse(&topic)) {
            let callback = Callback { run, topic, status: Status::Failed, payload: None };
            let keys = [
                Key::early(&callback), Key::callback(&callback), Key::task(&callback, "6b08d2747a45f52ffbc67b6c"), event(1),
            ];
            for key in keys {
                let round = Round { window, short: short(key.hash()), term: term.clone(), number };
                let outcome = names::outcome(&key, window);
                for name in [Register::Mark.of(&round), Register::Won.of(&round), Register::Void.of(&round), outcome.clone()] {
                    prop_assert!(name.len() <= 255, "{name}");
                    prop_assert!(name.chars().all(|c| c.is_ascii_alphanumeric() || ":_-.".contains(c)), "{name}");
                    match names::Name::parse(&name) {
                        names::Name::Claim(found, short, its) => {
                            prop_assert_eq!((found, short, its), (window, round.short.as_str(), term.as_str()));
                            prop_assert_eq!(&names::outcome_of(short, found), &outcome);
                        }
                        names::Name::Outcome(found, short) => {
                            prop_assert_eq!((found, short), (window, round.short.as_str()));
                        }
                        name => prop_assert!(false, "{name:?}"),
                    }
                }
            }
        }
    }
}
