use std::time::Duration;

use super::sim::Sim;
use super::{DOORS, NOW, WINDOW, callback, claimed, event, run, start};
use crate::callback::{CallbackRecord, run_id_hash};
use crate::delivery::{Delivery, Key};
use crate::store::RunRecord;
use crate::store::key_value::names::{self, Register, Round, short};
use crate::store::key_value::{Claim, Form, Scan, Upgrade, Upgraded};
use crate::store::{OutcomeRecord, Settled};
use crate::time::Timestamp;

const PATIENCE: Duration = Duration::from_secs(2);
const OLD: &str = concat!("sluice", "/");

fn old(sim: &Sim, name: &str, value: &[u8]) {
    sim.put(&format!("{OLD}{name}"), value);
}

/// The record as earlier releases have stored it.
fn without_hash(record: &OutcomeRecord) -> Vec<u8> {
    let mut record: serde_json::Value = serde_json::from_slice(&record.to_bytes().unwrap()).unwrap();
    assert!(record.as_object_mut().unwrap().remove("hash").is_some());
    serde_json::to_vec(&record).unwrap()
}

fn outcome(n: u64) -> Vec<u8> {
    without_hash(&OutcomeRecord::delivered(start(n, NOW).id, &event(n), b"{}", Timestamp(NOW)))
}

fn flag(n: u64, callback: Option<&CallbackRecord>) -> Vec<u8> {
    let by = format!("{}/1.2/0", start(n, NOW).id);
    let callback = callback.map(|record| String::from_utf8(record.to_bytes().unwrap()).unwrap());
    let callback = callback.map_or_else(String::new, |record| format!(r#","callback":{record}"#));
    format!(r#"{{"v":1,"by":"{by}","at":{NOW}{callback}}}"#).into_bytes()
}

/// A store of release 0.2, with one of everything.
fn store() -> Sim {
    let sim = Sim::default();
    let pending = claimed(start(1, NOW), &event(1), WINDOW, false);
    old(&sim, &format!("pending/{}", pending.id), &pending.to_bytes().unwrap());
    let dead = start(2, NOW);
    old(&sim, &format!("dead/{}", dead.id), &dead.to_bytes().unwrap());
    let pending_record = without_hash(&OutcomeRecord::pending(pending.id, &event(1), Timestamp(NOW)));
    for (n, record) in [(1, pending_record), (3, outcome(3))] {
        old(&sim, &format!("done/{WINDOW}/{}", event(n).hash()), &record);
        old(&sim, &format!("flag/{WINDOW}/{}", event(n).hash()), &flag(n, None));
        old(&sim, &format!("door/{WINDOW}/{}", event(n).hash()), &flag(n, None));
    }
    // In the previous window.
    old(&sim, &format!("done/{}/{}", WINDOW - 1, event(4).hash()), &outcome(4));
    // Expired.
    old(&sim, &format!("done/{}/{}", WINDOW - 2, event(5).hash()), &outcome(5));
    // A claim without an outcome.
    old(&sim, &format!("flag/{WINDOW}/{}", event(6).hash()), &flag(6, None));
    let record = CallbackRecord::pending(start(7, NOW).id, &callback("t"), Timestamp(NOW));
    let task = Key::task(&callback("t"), "x");
    old(&sim, &format!("callback/{WINDOW}/{}", task.hash()), &record.to_bytes().unwrap());
    let other = Key::task(&callback("u"), "y");
    old(&sim, &format!("flag/{WINDOW}/{}", other.hash()), &flag(7, Some(&record)));
    let run_record = serde_json::to_vec(&RunRecord::new(Some("team".into()), false)).unwrap();
    old(&sim, &format!("run/{WINDOW}/{}", run_id_hash("r")), &run_record);
    for (name, value) in [
        ("hint", r#"{"v":1}"#),
        ("fault", r#"{"at":1,"reason":"401"}"#),
        ("twice", "{}"),
        ("lease", r#"{"v":1,"token":"x","until":0,"scanned":1}"#),
        ("lease-door", "x"),
    ] {
        old(&sim, name, value.as_bytes());
    }
    sim
}

/// Runs one pass; an error is a crash.
fn pass(sim: &Sim, time: u64) -> Result<Upgraded, crate::ports::StoreError> {
    run(async {
        let list = sim.outbox().list().await?;
        let end = Timestamp(sim.clock.get() / 1_000 + time);
        sim.claims().upgrade(&list, DOORS, end).await
    })
}

/// Each key of before is recognized, and nothing that is stored is lost.
#[track_caller]
fn check(sim: &Sim, context: &str) {
    let claims = sim.claims();
    let claim = |n: u64, key: &Key| {
        // A claim may write: on a copy.
        let mut copy = Sim::default();
        copy.entries.clone_from(&sim.entries);
        run(copy.claims().claim(&start(n, NOW), key, PATIENCE)).unwrap()
    };
    for n in [1, 3, 4] {
        let found = claim(20, &event(n));
        assert!(
            matches!(&found, Claim::Settled(settled) if settled.id() == start(n, NOW).id),
            "{context} {n}: {found:?}"
        );
    }
    assert!(matches!(claim(20, &event(6)), Claim::Contended { window: WINDOW }), "{context}");
    assert!(matches!(claim(20, &event(8)), Claim::Won(_)), "{context}");
    let delivery = super::resolve(21, NOW, "t");
    let record = run(claims.record_of(&delivery.work, &Key::task(&callback("t"), "x"))).unwrap();
    assert!(matches!(record, Some(Settled::Callback(_))), "{context}");
    assert!(run(claims.run("r")).unwrap().is_some(), "{context}");
    let pending = run(sim.outbox().list()).unwrap().pending();
    let is_unmoved = sim.text(&format!("{OLD}pending/{}", start(1, NOW).id)).is_some();
    assert_eq!(pending.is_empty(), is_unmoved, "{context}: {pending:?}");
    let entries = sim.entries.borrow();
    for (state, n) in [("pending", 1), ("dead", 2)] {
        let id = start(n, NOW).id;
        let found = [format!("{OLD}{state}/{id}"), format!("sluice:{state}:{id}")];
        let found: Vec<_> = found.iter().filter_map(|name| entries.get(name)).collect();
        assert!(!found.is_empty(), "{context} {state}");
        assert!(found.iter().all(|bytes| Delivery::from_bytes(bytes).unwrap().id == id), "{context}");
    }
}

#[track_caller]
fn check_moved(sim: &Sim) {
    assert_eq!(sim.names(OLD), Vec::<String>::new());
    assert!(run(Form::stored(sim)).unwrap().unwrap().moved);
    check(sim, "after the upgrade");
    let list = run(sim.outbox().list()).unwrap();
    assert_eq!((list.pending(), list.dead()), (vec![start(1, NOW).id], vec![start(2, NOW).id]));
    for name in [names::NOTIFICATION, names::FAULT, names::TWICE] {
        assert!(sim.text(name).is_some(), "{name}");
    }
    assert_eq!(sim.names("sluice:mark:").len(), 2, "of a settled key, only the outcome is moved");
    assert_eq!(sim.names(&format!("sluice:done:{}:", WINDOW - 2)).len(), 0);
    for (n, window) in [(1, WINDOW), (3, WINDOW), (4, WINDOW - 1)] {
        let record = sim.text(&names::outcome(&event(n), window)).unwrap();
        assert_eq!(OutcomeRecord::from_bytes(record.as_bytes()).unwrap().hash.as_deref(), Some(event(n).hash()), "{n}");
    }
    let record = run(sim.claims().run("r")).unwrap().unwrap();
    assert_eq!((record.hash, record.scope.as_deref()), (Some(run_id_hash("r")), Some("team")));
    let holder = run(sim.claims().holder(&Key::task(&callback("u"), "y"))).unwrap().unwrap();
    assert_eq!(holder.record.id, start(7, NOW).id);
}

#[test]
fn store_of_an_earlier_release_is_moved() {
    let sim = store();
    check(&sim, "before the upgrade");
    let plan = Upgrade::plan(&run(sim.outbox().list()).unwrap()).unwrap();
    assert_eq!(plan, Upgrade { deliveries: 2, values: 9, claims: 4, dropped: 4 });
    assert!(plan.to_string().contains("2 deliveries, 9 records and 4 claims"), "{plan}");
    assert!(run(sim.outbox().list()).unwrap().pending().is_empty(), "not before it is moved");
    assert_eq!(pass(&sim, 25_000).unwrap(), Upgraded::Left(Upgrade::default()));
    assert_eq!(pass(&sim, 25_000).unwrap(), Upgraded::Done);
    check_moved(&sim);
    sim.take_cost();
    assert_eq!(pass(&sim, 25_000).unwrap(), Upgraded::Done);
    assert_eq!(sim.take_cost(), (2, 0), "the list and the form");
}

#[test]
fn crash_at_any_step_of_an_upgrade_loses_nothing() {
    let mut steps = 0;
    loop {
        let sim = store();
        sim.fails_after.set(Some(steps));
        let result = pass(&sim, 25_000);
        sim.fails_after.set(None);
        check(&sim, &format!("after {steps} operations"));
        let is_over = result.is_ok();
        while pass(&sim, 25_000).unwrap() != Upgraded::Done {}
        check_moved(&sim);
        if is_over {
            break;
        }
        steps += 1;
    }
    assert!(steps > 40, "{steps}");
}

#[test]
fn two_crashes_of_an_upgrade_lose_nothing() {
    for first in 0..30 {
        for second in 0..30 {
            let sim = store();
            for steps in [first, second] {
                sim.fails_after.set(Some(steps));
                let _: Result<Upgraded, _> = pass(&sim, 25_000);
            }
            sim.fails_after.set(None);
            check(&sim, &format!("after {first} and {second} operations"));
        }
    }
}

#[test]
fn upgrade_goes_on_in_the_next_pass_with_deliveries_first() {
    let sim = store();
    sim.cost.set(1_000);
    let Upgraded::Left(left) = pass(&sim, 10).unwrap() else { panic!() };
    assert_eq!((left.deliveries, run(Form::stored(&sim)).unwrap().unwrap().left), (0, left.total()));
    assert!(left.total() > 0);
    sim.cost.set(0);
    check(&sim, "after a short pass");
    while pass(&sim, 10).unwrap() != Upgraded::Done {}
    check_moved(&sim);
}

#[test]
fn value_that_was_written_since_stays() {
    let sim = store();
    // The pending delivery was delivered since, and the pass has crashed before it has deleted the old outcome.
    let name = names::outcome(&event(1), WINDOW);
    sim.put(&name, &outcome(9));
    while pass(&sim, 25_000).unwrap() != Upgraded::Done {}
    assert_eq!(sim.text(&name).unwrap().into_bytes(), outcome(9));
}

#[test]
fn released_key_is_free_although_its_old_flag_is_there() {
    let sim = store();
    let delivery = claimed(start(1, NOW), &event(1), WINDOW, false);
    run(sim.claims().release(&delivery)).unwrap();
    assert!(matches!(run(sim.claims().claim(&start(30, NOW), &event(1), PATIENCE)).unwrap(), Claim::Won(_)));
    while pass(&sim, 25_000).unwrap() != Upgraded::Done {}
    assert!(matches!(run(sim.claims().claim(&start(31, NOW), &event(1), PATIENCE)).unwrap(), Claim::Contended { .. }));
}

#[test]
fn drain_of_the_earlier_release_ends_first() {
    let sim = store();
    let until = Timestamp(NOW + 40_000);
    old(&sim, "lease", format!(r#"{{"v":1,"token":"x","until":{},"scanned":1}}"#, until.0).as_bytes());
    let before = sim.names(OLD).len();
    assert_eq!(pass(&sim, 25_000).unwrap(), Upgraded::Waits(until));
    assert_eq!(sim.names(OLD).len(), before);
    sim.at(until.0);
    assert!(matches!(pass(&sim, 25_000).unwrap(), Upgraded::Left(_)));
}

#[test]
fn flag_of_an_old_claim_is_kept_as_one_that_was_won() {
    let sim = store();
    while pass(&sim, 25_000).unwrap() != Upgraded::Done {}
    let round = Round { window: WINDOW, short: short(event(6).hash()), term: String::new(), number: 0 };
    assert!(sim.text(&Register::Won.of(&round)).is_some());
    let copy = claimed(start(40, NOW), &event(6), WINDOW, true);
    assert!(run(sim.claims().take_over(&copy)).unwrap().is_some(), "it may have been sent");
}

#[test]
fn sweep_leaves_keys_of_others_alone() {
    let sim = Sim::default();
    for name in ["other", "sluice", "sluice:later:1", "sluicex:done:1:x", concat!("sluice", "/later/1/x")] {
        sim.put(name, b"");
    }
    while pass(&sim, 25_000).unwrap() != Upgraded::Done {}
    run(async {
        let list = sim.outbox().list().await.unwrap();
        sim.claims().sweep(&list, 0, &mut Scan::default(), Timestamp(u64::MAX)).await.unwrap();
    });
    assert_eq!(sim.entries.borrow().len(), 6, "and the form");
}
