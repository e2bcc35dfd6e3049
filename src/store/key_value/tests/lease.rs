use std::time::Duration;

use super::sim::Sim;
use super::{HOUR, MINUTE, NOW, run, start};
use crate::store::key_value::names;
use crate::store::key_value::{Ask, Lease, Scan};
use crate::time::Timestamp;

const LENGTH: Duration = Duration::from_secs(50);
const DAY: u64 = 24 * HOUR;

fn acquire(sim: &Sim) -> Option<Lease> {
    run(sim.outbox().acquire_lease(LENGTH)).unwrap()
}

fn holds(sim: &Sim, lease: &Lease) -> bool {
    run(sim.outbox().holds(lease)).unwrap()
}

#[test]
fn lease_ends_by_itself() {
    let sim = Sim::default();
    let lease = acquire(&sim).unwrap();
    sim.pass(49_999);
    assert!(holds(&sim, &lease) && acquire(&sim).is_none());
    sim.pass(1);
    assert!(!holds(&sim, &lease));
    let other = acquire(&sim).unwrap();
    run(sim.outbox().release_lease(lease)).unwrap();
    assert!(holds(&sim, &other), "a lease that has ended isn't released");
    assert!(other.scan.again, "the last holder has not released it");
}

#[test]
fn note_is_kept_with_the_lease() {
    let sim = Sim::default();
    let mut lease = acquire(&sim).unwrap();
    assert!(!lease.scan.again);
    let raw = |text: &str| Some(serde_json::value::RawValue::from_string(text.to_owned()).unwrap());
    lease.scan = Scan {
        at: Timestamp(NOW),
        summary: raw(r#"{"delivered":1}"#),
        known_since: Some(Timestamp(7)),
        pending: 3,
        ..Scan::default()
    };
    run(sim.outbox().release_lease(lease)).unwrap();
    sim.pass(11_000);
    let lease = acquire(&sim).unwrap();
    assert_eq!(lease.scan.summary.unwrap().get(), r#"{"delivered":1}"#);
    assert_eq!((lease.scan.known_since, lease.scan.pending), (Some(Timestamp(7)), 3));
}

#[test]
fn pass_waits_until_something_is_due() {
    let now = Timestamp(NOW);
    let scan = Scan { at: now, ..Scan::default() };
    let due = |scan: &Scan, after: u64| scan.is_due(Timestamp(NOW + after));
    assert!(Scan::default().is_due(now), "a store without a scan");
    assert!(!due(&scan, 15 * MINUTE - 1) && due(&scan, 15 * MINUTE));
    let again = Scan { again: true, ..scan.clone() };
    assert!(!due(&again, 29_999) && due(&again, 30_000));
    let next = Scan { next_due: Some(Timestamp(NOW + 5_000)), ..scan.clone() };
    assert!(!due(&next, 4_999) && due(&next, 5_000));
    let sweep = Scan { next_sweep: Some(Timestamp(NOW + 60_000)), ..scan.clone() };
    assert!(!due(&sweep, 59_999) && due(&sweep, 60_000));
    assert!(due(&Scan { more: true, ..scan }, 0));
}

#[test]
fn dead_contender_blocks_for_ten_seconds() {
    // It has stopped after each of its steps.
    for steps in 1..7 {
        let sim = Sim::default();
        sim.fails_after.set(Some(steps));
        assert!(run(sim.outbox().acquire_lease(LENGTH)).is_err(), "after {steps}");
        sim.fails_after.set(None);
        let door = sim.text(names::LEASE_DOOR).is_some();
        if door {
            assert!(acquire(&sim).is_none(), "after {steps}");
            sim.pass(10_000);
        }
        assert!(acquire(&sim).is_some(), "after {steps}");
    }
}

#[test]
fn contender_that_is_slow_does_not_write_the_lease() {
    let sim = Sim::default();
    sim.cost.set(900_000);
    assert!(acquire(&sim).is_none());
    assert_eq!(sim.text(names::LEASE), None);
}

#[test]
fn clock_that_was_a_day_ahead_stops_nothing() {
    for steps in 0..9 {
        let sim = Sim::default();
        sim.at(NOW + DAY);
        sim.fails_after.set((steps < 7).then_some(steps));
        let lease = run(sim.outbox().acquire_lease(LENGTH));
        sim.fails_after.set(None);
        if let Ok(Some(mut lease)) = lease {
            lease.scan.at = Timestamp(NOW + DAY);
            // Released by half of them; the other died holding it.
            if steps % 2 == 0 {
                run(sim.outbox().release_lease(lease)).unwrap();
            }
        }
        sim.at(NOW);
        let lease = acquire(&sim).unwrap_or_else(|| panic!("after {steps}"));
        assert!(lease.scan.is_due(Timestamp(NOW)), "after {steps}");
    }
}

#[test]
fn lease_of_a_clock_that_is_a_minute_ahead_counts() {
    let sim = Sim::default();
    sim.at(NOW + MINUTE);
    let lease = acquire(&sim).unwrap();
    sim.at(NOW);
    assert!(acquire(&sim).is_none() && holds(&sim, &lease));
}

#[test]
fn operators_request_is_read_and_answered_once() {
    let sim = Sim::default();
    let delivery = start(1, NOW);
    let outbox = sim.outbox();
    run(outbox.put(&delivery)).unwrap();
    assert_eq!(run(outbox.asked(delivery.id)).unwrap(), None);
    run(outbox.ask(delivery.id, Ask::Redeliver)).unwrap();
    run(outbox.ask(delivery.id, Ask::Delete)).unwrap();
    assert!(run(outbox.is_notified()).unwrap());
    let asked = run(outbox.asked(delivery.id)).unwrap().unwrap();
    assert_eq!((asked.ask, asked.at), (Ask::Delete, Timestamp(NOW)));
    let list = run(outbox.list()).unwrap();
    assert_eq!((list.asked(), list.pending()), (vec![delivery.id], vec![delivery.id]));
    run(outbox.answer_ask(delivery.id)).unwrap();
    assert_eq!(run(outbox.asked(delivery.id)).unwrap(), None);
}

#[test]
fn delivery_that_is_pending_and_dead_is_pending() {
    let sim = Sim::default();
    let (half, dead) = (start(1, NOW), start(2, NOW));
    let outbox = sim.outbox();
    run(outbox.dead_letter(&half)).unwrap();
    run(outbox.put(&half)).unwrap();
    run(outbox.dead_letter(&dead)).unwrap();
    let list = run(outbox.list()).unwrap();
    assert_eq!((list.pending(), list.dead()), (vec![half.id], vec![dead.id]));
    run(outbox.undo_half_moves(&list)).unwrap();
    assert_eq!(sim.names("sluice:dead:").len(), 1);
}

#[test]
fn released_lease_can_be_acquired_at_once() {
    let sim = Sim::default();
    for _ in 0..3 {
        let lease = acquire(&sim).unwrap();
        run(sim.outbox().release_lease(lease)).unwrap();
    }
}
