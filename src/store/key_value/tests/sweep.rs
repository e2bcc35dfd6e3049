use std::time::Duration;

use super::sim::Sim;
use super::{DOORS, HOUR, MINUTE, NOW, WINDOW, callback, claimed, event, resolve, run, start};
use crate::delivery::Key;
use crate::store::key_value::names;
use crate::store::key_value::{Ask, Claim, Form, Scan, Swept};
use crate::time::Timestamp;

const PATIENCE: Duration = Duration::from_secs(2);
const PASS: u64 = 25_000;

fn sweep_within(sim: &Sim, max_keys: usize, scan: &mut Scan, pass: u64) -> Swept {
    let claims = sim.claims();
    let end = Timestamp(sim.clock.get() / 1_000 + pass);
    run(async {
        let list = sim.outbox().list().await.unwrap();
        claims.upgrade(&list, DOORS, end).await.unwrap();
        claims.sweep(&list, max_keys, scan, end).await.unwrap()
    })
}

fn sweep(sim: &Sim) -> Swept {
    sweep_within(sim, 250_000, &mut Scan::default(), PASS)
}

fn settle(sim: &Sim, n: u64) {
    let now = sim.clock.get() / 1_000;
    let (key, delivery) = (event(n), start(n, now));
    let Claim::Won(won) = run(sim.claims().claim(&delivery, &key, PATIENCE)).unwrap() else { panic!("{n}") };
    run(sim.claims().record_delivered(&claimed(delivery, &key, won.window, false), b"{}")).unwrap();
}

fn is_known(sim: &Sim, n: u64) -> bool {
    let key = event(n);
    run(sim.claims().settled(&claimed(start(1, NOW), &key, WINDOW, true))).unwrap().is_some()
}

#[test]
fn one_key_remains_of_a_settled_claim() {
    let sim = Sim::default();
    settle(&sim, 1);
    sim.pass(MINUTE - 1);
    sweep(&sim);
    assert_eq!(sim.names("sluice:mark:").len(), 1, "it is too early");
    sim.pass(1);
    sim.take_cost();
    sweep(&sim);
    let names: Vec<_> = sim.names("sluice:").into_iter().filter(|name| !name.starts_with("sluice:race:")).collect();
    assert_eq!(names, [names::outcome(&event(1), WINDOW), names::FORM.to_owned()]);
    // The list, the form twice, and the outcome.
    assert_eq!(sim.take_cost(), (4, 2));
    assert!(is_known(&sim, 1));
}

#[test]
fn registers_of_an_unsettled_claim_stay_until_their_window_has_expired() {
    let sim = Sim::default();
    run(sim.claims().claim(&start(1, NOW), &event(1), PATIENCE)).unwrap();
    for (at, count) in [(NOW + 10 * MINUTE, 2), (NOW + HOUR, 2), (NOW + 2 * HOUR, 0)] {
        sim.at(at);
        sweep(&sim);
        assert_eq!(sim.names("sluice:mark:").len() + sim.names("sluice:won:").len(), count, "{at}");
    }
}

/// A start that is pending is looked up by its label; of a callback, the winner may be all that tells who has sent one.
#[test]
fn registers_of_what_is_pending_stay_longer_and_those_of_a_callback_until_it_is_delivered() {
    let (task, start, resolve) = (Key::task(&callback("t"), "task"), start(1, NOW), resolve(2, NOW, "t"));
    for (delivery, key, after) in [(start, event(1), [1, 0]), (resolve, task, [1, 1])] {
        let sim = Sim::default();
        let Claim::Won(won) = run(sim.claims().claim(&delivery, &key, PATIENCE)).unwrap() else { panic!("{key:?}") };
        let delivery = claimed(delivery, &key, won.window, false);
        run(sim.claims().record_pending(&delivery)).unwrap();
        for (pause, count) in [(5 * MINUTE - 1, after[0]), (1, after[1])] {
            sim.pass(pause);
            sweep(&sim);
            assert_eq!(sim.names("sluice:won:").len(), count, "{key:?}");
        }
        run(sim.claims().record_delivered(&delivery, b"{}")).unwrap();
        sim.pass(MINUTE);
        sweep(&sim);
        assert!(sim.names("sluice:won:").is_empty());
    }
}

/// A small store is swept each minute while there are registers, and a large one as often as listing it is cheap.
#[test]
fn store_is_swept_again_while_registers_are_left() {
    let sim = Sim::default();
    let mut scan = Scan::default();
    settle(&sim, 1);
    assert!(sweep_within(&sim, 250_000, &mut scan, PASS).claims);
    assert_eq!(scan.next_sweep, Some(Timestamp(NOW + MINUTE)));
    for n in 2..20_002 {
        sim.put(&names::outcome(&event(n), WINDOW), b"{}");
    }
    sweep_within(&sim, 250_000, &mut scan, PASS);
    let next = scan.next_sweep.unwrap();
    assert!((NOW + 2 * MINUTE..NOW + 3 * MINUTE).contains(&next.0), "{next:?}");
    sim.pass(MINUTE);
    assert!(!sweep_within(&sim, 250_000, &mut scan, PASS).claims);
    assert_eq!(scan.next_sweep, None);
}

#[test]
fn registers_of_earlier_terms_go_and_those_of_the_present_term_stay() {
    let sim = Sim::default();
    let key = event(1);
    for n in 1..4 {
        let delivery = claimed(start(n, NOW), &key, WINDOW, false);
        assert!(matches!(run(sim.claims().claim(&delivery, &key, PATIENCE)).unwrap(), Claim::Won(_)), "{n}");
        if n < 3 {
            run(sim.claims().release(&delivery)).unwrap();
        }
    }
    assert_eq!(sim.names("sluice:mark:").len(), 3);
    sim.pass(5 * MINUTE);
    sweep(&sim);
    assert_eq!((sim.names("sluice:mark:").len(), sim.names("sluice:won:").len()), (1, 1));
    assert!(matches!(run(sim.claims().claim(&start(4, NOW), &key, PATIENCE)).unwrap(), Claim::Contended { .. }));
}

#[test]
fn duplicate_in_the_next_window_leaves_nothing() {
    let sim = Sim::default();
    settle(&sim, 1);
    sim.pass(HOUR);
    assert!(matches!(run(sim.claims().claim(&start(2, NOW), &event(1), PATIENCE)).unwrap(), Claim::Settled(_)));
    sweep(&sim);
    assert_eq!(sim.names("sluice:mark:").len() + sim.names("sluice:won:").len(), 0);
    assert!(matches!(run(sim.claims().claim(&start(3, NOW), &event(1), PATIENCE)).unwrap(), Claim::Settled(_)));
}

#[test]
fn keys_of_expired_windows_go() {
    let sim = Sim::default();
    let (starts, callbacks) = (WINDOW, WINDOW / 72);
    let sim_claims = || sim.claims().with_callback_retention(crate::time::Retention::from_hours(72).unwrap());
    let (task, first) = (Key::task(&callback("t"), "x"), Key::callback(&callback("t")));
    let mut expected = Vec::new();
    for window in 0..6 {
        for (name, present) in [
            (names::outcome(&event(1), starts - 3 + window), 3),
            (names::outcome(&task, callbacks - 3 + window), 3),
            (names::outcome(&first, starts - 3 + window), 3),
            (names::run("r", callbacks - 3 + window), 3),
        ] {
            sim.put(&name, b"{}");
            if window + 1 >= present && window <= present + 1 {
                expected.push(name);
            }
        }
    }
    run(async {
        let list = sim.outbox().list().await.unwrap();
        sim_claims().sweep(&list, 100, &mut Scan::default(), Timestamp(u64::MAX)).await.unwrap();
    });
    expected.sort();
    assert_eq!(sim.names(""), expected);
}

#[test]
fn request_for_a_delivery_that_is_gone_is_deleted() {
    let sim = Sim::default();
    let (stored, gone) = (start(1, NOW), start(2, NOW));
    run(sim.outbox().put(&stored)).unwrap();
    run(sim.outbox().ask(stored.id, Ask::Delete)).unwrap();
    run(sim.outbox().ask(gone.id, Ask::Delete)).unwrap();
    sweep(&sim);
    assert_eq!(sim.names("sluice:asked:"), [names::asked(stored.id)]);
}

#[test]
fn fifty_thousand_expired_keys_go_in_three_passes() {
    let sim = Sim::default();
    for n in 0..50_000 {
        sim.put(&names::outcome(&event(n), WINDOW - 2), b"{}");
    }
    // A millisecond is what an operation on SQLite or Redis takes at most.
    sim.cost.set(1_000);
    for pass in 1..=3 {
        let swept = sweep(&sim);
        let left = sim.names("sluice:done:").len();
        assert_eq!(swept.more, left > 0, "pass {pass}");
        if left == 0 {
            return;
        }
    }
    panic!("{} are left", sim.names("sluice:done:").len());
}

#[test]
fn keys_are_bounded_by_rate_and_retention() {
    let sim = Sim::default();
    let mut most = 0;
    let begin = NOW + HOUR / 2;
    for second in 0..6 * 3_600 {
        sim.at(begin + second * 1_000);
        settle(&sim, second);
        most = most.max(sim.entries.borrow().len());
        if second % 60 == 0 {
            assert!(!sweep(&sim).more);
        }
    }
    let bound = 3_600 * 22 / 10 + DOORS as usize;
    assert!(most <= bound, "{most} keys, at most {bound}");
    assert!(most > 7_000, "{most}: two windows are full");
}

/// A store at its ceiling, with outcomes a second apart in the present window; returns the time.
fn outcomes(sim: &Sim, count: u64) -> u64 {
    sim.at(NOW - HOUR / 2);
    for n in 0..count {
        settle(sim, n);
        sim.pass(1_000);
    }
    sim.pass(10 * MINUTE);
    sweep(sim);
    sim.clock.get() / 1_000
}

#[test]
fn oldest_outcomes_go_at_the_ceiling() {
    let sim = Sim::default();
    outcomes(&sim, 2_000);
    let others = sim.entries.borrow().len() - 2_000;
    let mut scan = Scan::default();
    sim.take_cost();
    let swept = sweep_within(&sim, others + 1_950, &mut scan, PASS);
    assert_eq!((swept.dropped, swept.left, swept.more), (50, others + 1_950, false));
    let (reads, writes) = sim.take_cost();
    assert!(reads < 256 + 50 * 20 && writes == 50, "{reads} reads, {writes} writes");
    // Everything since then is known.
    let since = scan.known_since.unwrap().0;
    let first = NOW - HOUR / 2;
    for n in 0..2_000 {
        assert!(is_known(&sim, n) || first + n * 1_000 < since, "{n}");
    }
    assert!(since - first < 2_000 * 1_000 / 5, "about a tenth: {}", since - first);
    // The next passes go on where this one has stopped.
    for pass in 0..20 {
        settle(&sim, 10_000 + pass);
        assert!(!sweep_within(&sim, others + 1_900, &mut scan, PASS).more);
    }
    let since = scan.known_since.unwrap().0;
    assert!((0..2_000).all(|n| is_known(&sim, n) || first + n * 1_000 < since));
}

#[test]
fn previous_window_goes_first() {
    let sim = Sim::default();
    sim.at(NOW);
    (0..10).for_each(|n| settle(&sim, n));
    sim.pass(HOUR);
    (10..20).for_each(|n| settle(&sim, n));
    sim.pass(10 * MINUTE);
    sweep(&sim);
    let others = sim.entries.borrow().len() - 20;
    let mut scan = Scan::default();
    let swept = sweep_within(&sim, others + 8, &mut scan, PASS);
    assert_eq!((swept.dropped, swept.left), (12, others + 8));
    assert_eq!(sim.names(&format!("sluice:done:{WINDOW}:")).len(), 0);
    assert!(scan.known_since.unwrap() > Timestamp(NOW + HOUR));
}

#[test]
fn what_is_stored_or_under_way_is_never_dropped() {
    let sim = Sim::default();
    // Pending, with its outcome.
    let pending = claimed(start(1, NOW), &event(1), WINDOW, false);
    run(sim.claims().claim(&pending, &event(1), PATIENCE)).unwrap();
    run(sim.claims().record_pending(&pending)).unwrap();
    run(sim.outbox().put(&pending)).unwrap();
    // Dead.
    run(sim.outbox().dead_letter(&start(2, NOW))).unwrap();
    // A callback that is pending.
    let key = Key::task(&callback("t"), "x");
    let kept = claimed(resolve(3, NOW, "t"), &key, WINDOW, false);
    run(sim.claims().claim(&kept, &key, PATIENCE)).unwrap();
    run(sim.claims().record_pending(&kept)).unwrap();
    run(sim.outbox().put(&kept)).unwrap();
    // Released, and claimed again.
    let released = claimed(start(4, NOW), &event(4), WINDOW, false);
    run(sim.claims().claim(&released, &event(4), PATIENCE)).unwrap();
    run(sim.claims().release(&released)).unwrap();
    run(sim.claims().claim(&start(5, NOW), &event(4), PATIENCE)).unwrap();
    sim.pass(10 * MINUTE);
    // Younger than the longest stall.
    settle(&sim, 6);
    let swept = sweep_within(&sim, 0, &mut Scan::default(), PASS);
    assert_eq!((swept.dropped, swept.full), (0, true));
    assert_eq!(sim.names("sluice:pending:").len() + sim.names("sluice:dead:").len(), 3);
    assert_eq!(sim.names("sluice:done:").len() + sim.names("sluice:callback:").len(), 4);
    assert!(run(Form::stored(&sim)).unwrap().unwrap().full);
    // There is room again.
    sweep(&sim);
    assert!(!run(Form::stored(&sim)).unwrap().unwrap().full);
    sim.pass(5 * MINUTE + 1);
    assert_eq!(sweep_within(&sim, 0, &mut Scan::default(), PASS).dropped, 1);
}

#[test]
fn ceiling_holds_at_five_events_a_second() {
    let sim = Sim::default();
    let mut scan = Scan::default();
    let begin = NOW - HOUR / 2;
    for second in 0..2 * 3_600_u64 {
        sim.at(begin + second * 1_000);
        (0..5).for_each(|n| settle(&sim, second * 5 + n));
        if second % 60 == 59 {
            sim.cost.set(500);
            let swept = sweep_within(&sim, 10_000, &mut scan, PASS);
            sim.cost.set(0);
            assert!(!swept.more && swept.left <= 10_000, "{second}: {swept:?}");
        }
    }
    assert!(scan.known_since.is_some());
}
