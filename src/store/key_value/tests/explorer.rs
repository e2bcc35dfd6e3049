//! Model checking at the level of registers: all interleavings of two and three actors, each of which may stall or
//! crash at any step.
//!
//! Cases with three actors are bounded by the number of switches between them, of which errors need few (M. Musuvathi
//! and S. Qadeer, "Iterative Context Bounding for Systematic Testing of Multithreaded Programs", 2007).
//!
//! The backend itself runs, over a host that a scheduler controls. An operation on a register that another actor uses is
//! a step, and so is a sleep. A state consists of the store and of what each actor has observed; each is visited once.
//! Stalls and crashes need no steps of their own: an actor that takes no step for the rest of a schedule has crashed.
//!
//! In every state, at most one contender holds a key. In every state, a newcomer that runs alone is chosen or finds an
//! outcome, unless somebody has won and has not said what became of it.

use std::cell::{Cell, RefCell};
use std::collections::hash_map::DefaultHasher;
use std::collections::{BTreeMap, HashSet, VecDeque};
use std::future::Future;
use std::hash::{Hash, Hasher};
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use super::{HOUR, MINUTE, NOW, WINDOW, claimed, event, retention, start};
use crate::ports::{Clock, KeyValue, Rng, StoreError};
use crate::store::OutcomeRecord;
use crate::store::key_value::claim::Pace;
use crate::store::key_value::names::{self, Name};
use crate::store::key_value::registers::Contender;
use crate::store::key_value::{Claim, Claims, Outbox, Scan};
use crate::time::{ArrivalTime, Timestamp};

/// A pause of a contender; after one of them it declares a round to be over.
const PAUSE: Duration = Duration::from_millis(300);
/// Enough to declare one round to be over, and to enter the next one.
const PATIENCE: Duration = Duration::from_millis(301);
const LEASE: Duration = Duration::from_secs(50);
const DAY: u64 = 24 * HOUR;

/// What all actors share.
#[derive(Clone, Default)]
struct Shared {
    store: RefCell<BTreeMap<String, Vec<u8>>>,
    /// The keys that somebody holds, by number.
    held: RefCell<Vec<u64>>,
    /// The keys that were delivered.
    delivered: RefCell<Vec<u64>>,
    /// Deliveries that were stored for the drain: their numbers, and those of their keys.
    copies: RefCell<Vec<(u64, u64)>>,
    /// Whether a drain sends, by key.
    draining: RefCell<Vec<u64>>,
    /// The holder of the lease.
    leased: RefCell<Vec<usize>>,
}

impl Shared {
    fn state(&self) -> impl Hash {
        (
            self.store.borrow().clone(),
            self.held.borrow().clone(),
            self.delivered.borrow().clone(),
            self.copies.borrow().clone(),
            (self.draining.borrow().clone(), self.leased.borrow().clone()),
        )
    }

    /// Asserts that a key is free, and takes it.
    fn hold(&self, key: u64) {
        assert!(!self.held.borrow().contains(&key), "two hold key {key}");
        assert!(!self.delivered.borrow().contains(&key), "key {key} is held after it was delivered");
        assert!(!self.draining.borrow().contains(&key), "key {key} is held while a drain sends it");
        self.held.borrow_mut().push(key);
    }

    fn let_go(&self, key: u64) {
        self.held.borrow_mut().retain(|held| *held != key);
    }
}

/// What one actor sees of the host.
struct View<'s> {
    shared: &'s Shared,
    nth: usize,
    scheduled: bool,
    granted: Cell<bool>,
    /// What it has observed so far.
    seen: RefCell<DefaultHasher>,
    clock: Cell<u64>,
    random: Cell<u64>,
}

impl<'s> View<'s> {
    fn new(shared: &'s Shared, nth: usize, scheduled: bool, clock: u64) -> Self {
        let random = Cell::new(1 + 1_000 * nth as u64);
        let (granted, seen) = (Cell::new(false), RefCell::default());
        Self { shared, nth, scheduled, granted, seen, clock: Cell::new(clock), random }
    }

    async fn step(&self) {
        std::future::poll_fn(|_| {
            if !self.scheduled || self.granted.replace(false) { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
        1_u8.hash(&mut *self.seen.borrow_mut());
    }

    /// An operation on a register. Nobody writes those of the window before the first one: they are no step.
    async fn operate(&self, key: &str) {
        let is_unused = match Name::parse(key) {
            Name::Outcome(window, _) | Name::Claim(window, ..) => window < WINDOW,
            _ => key == names::FORM && self.shared.store.borrow().get(key).is_some_and(|form| form.ends_with(b"true}")),
        };
        if !is_unused {
            self.step().await;
        }
    }

    fn observe<T: Hash>(&self, what: T) -> T {
        what.hash(&mut *self.seen.borrow_mut());
        what
    }

    fn claims(&self) -> Claims<'_, Self> {
        // All keys share one race.
        let pace = Pace { polls: [PAUSE, PAUSE], void_after: PAUSE };
        let mut claims = Claims::new(self, retention(), 1);
        claims.pace = pace;
        claims
    }

    fn now_ms(&self) -> u64 {
        self.clock.get()
    }
}

impl KeyValue for View<'_> {
    async fn get(&self, key: &str) -> Result<Option<Vec<u8>>, StoreError> {
        self.operate(key).await;
        let value = self.shared.store.borrow().get(key).cloned();
        match value.as_deref().and_then(Contender::from_bytes) {
            // A contender uses all of it but the name, of which only whether it is its own.
            Some(contender) => {
                let is_own = contender.is_of(start(self.nth as u64, self.now_ms()).id);
                let race = value.as_deref().filter(|_| is_own || key.contains(":race:"));
                let race = race.map(|race| String::from_utf8_lossy(race).split(r#","at""#).skip(1).collect::<String>());
                self.observe((contender.at.0, contender.withdrawn, is_own, race));
            }
            None => _ = self.observe(&value),
        }
        Ok(value)
    }

    async fn set(&self, key: &str, value: &[u8]) -> Result<(), StoreError> {
        self.operate(key).await;
        // From here on, a contender depends on nothing that it has seen before but what it writes.
        if key.contains(":race:") || key.contains(":won:") {
            self.seen.take();
            self.observe((key, value));
        }
        self.shared.store.borrow_mut().insert(key.to_owned(), value.to_vec());
        Ok(())
    }

    async fn delete(&self, key: &str) -> Result<(), StoreError> {
        self.operate(key).await;
        self.shared.store.borrow_mut().remove(key);
        Ok(())
    }

    async fn exists(&self, key: &str) -> Result<bool, StoreError> {
        self.operate(key).await;
        Ok(self.observe(self.shared.store.borrow().contains_key(key)))
    }

    async fn keys(&self) -> Result<Vec<String>, StoreError> {
        self.step().await;
        Ok(self.observe(self.shared.store.borrow().keys().cloned().collect()))
    }
}

impl Clock for View<'_> {
    fn arrival_time(&self) -> ArrivalTime {
        Timestamp(self.clock.get()).into()
    }

    fn monotonic(&self) -> Duration {
        Duration::from_millis(self.clock.get())
    }

    /// No step: nobody else can observe it.
    async fn sleep(&self, duration: Duration) {
        self.clock.set(self.clock.get() + u64::try_from(duration.as_millis()).unwrap());
    }
}

impl Rng for View<'_> {
    fn random(&self) -> u64 {
        // Multiples of all pauses, so that nobody pauses before a round.
        self.random.replace(self.random.get() + 1) * 4_800
    }
}

/// What an actor does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Actor {
    /// Claims a key, and is accepted by the engine.
    Accepted(u64),
    /// Claims a key, and is rejected by the engine.
    Rejected(u64),
    /// Sweeps, when all outcomes are as old as the longest stall.
    Sweep,
    /// Delivers the first copy that was stored.
    Drain,
    /// Looks up the record of key 1, which is there.
    LookUp,
    /// Moves the keys of an earlier release. Of two passes, the first one has crashed where it stops.
    Upgrade,
    /// Acquires the lease, looks at it before each of two sends, and releases it. If clocks and stalls are within bounds,
    /// it holds the lease until then.
    Lease { keeps: bool },
}

/// The actors of a case, each with its clock.
type Case = [(Actor, u64)];

async fn act(view: &View<'_>, actor: Actor) {
    let shared = view.shared;
    match actor {
        Actor::Accepted(key) | Actor::Rejected(key) => {
            let (n, name) = (view.nth as u64, event(key));
            let delivery = start(n, view.now_ms());
            match view.claims().claim(&delivery, &name, PATIENCE).await.unwrap() {
                Claim::Won(won) => {
                    shared.hold(key);
                    let delivery = claimed(delivery, &name, won.window, false);
                    // It sends.
                    view.step().await;
                    if actor == Actor::Accepted(key) {
                        view.claims().record_delivered(&delivery, b"{}").await.unwrap();
                        shared.let_go(key);
                        shared.delivered.borrow_mut().push(key);
                    } else {
                        shared.let_go(key);
                        view.claims().release(&delivery).await.unwrap();
                    }
                }
                Claim::Settled(settled) => assert!(settled.id() != delivery.id),
                Claim::Contended { .. } => shared.copies.borrow_mut().push((n, key)),
            }
        }
        Actor::Sweep => {
            let list = Outbox::new(view).list().await.unwrap();
            view.claims().sweep(&list, usize::MAX, &mut Scan::default(), Timestamp(u64::MAX)).await.unwrap();
        }
        Actor::LookUp => {
            let delivery = start(view.nth as u64, view.now_ms());
            let found = view.claims().record_of(&delivery.work, &event(1)).await.unwrap();
            assert!(found.is_some(), "a record is missed");
        }
        Actor::Upgrade => {
            let list = Outbox::new(view).list().await.unwrap();
            view.claims().upgrade(&list, 1, Timestamp(u64::MAX)).await.unwrap();
        }
        Actor::Drain => {
            view.step().await;
            let Some((n, key)) = view.observe(shared.copies.borrow().first().copied()) else { return };
            let copy = claimed(start(n, NOW), &event(key), WINDOW, true);
            if let Some(settled) = view.claims().settled(&copy).await.unwrap() {
                settled.unwrap();
                return;
            }
            if view.claims().take_over(&copy).await.unwrap().is_some() {
                return;
            }
            assert!(!shared.held.borrow().contains(&key), "a drain sends key {key} while it is held");
            assert!(!shared.delivered.borrow().contains(&key), "a drain sends key {key} after it was delivered");
            shared.draining.borrow_mut().push(key);
            view.step().await;
            view.claims().record_delivered(&copy, b"{}").await.unwrap();
            shared.draining.borrow_mut().retain(|drained| *drained != key);
            shared.delivered.borrow_mut().push(key);
        }
        Actor::Lease { keeps } => {
            let outbox = Outbox::new(view);
            let Some(lease) = outbox.acquire_lease(LEASE).await.unwrap() else { return };
            let written = shared.store.borrow().get(names::LEASE).cloned();
            for _ in 0..2 {
                if !outbox.holds(&lease).await.unwrap() {
                    assert!(!keeps, "a lease is lost");
                    return;
                }
                assert_eq!(
                    shared.store.borrow().get(names::LEASE).cloned(),
                    written,
                    "a drain sends after it has lost"
                );
                assert!(!keeps || shared.leased.borrow().is_empty(), "two drains send");
                shared.leased.borrow_mut().push(view.nth);
                view.step().await;
                shared.leased.borrow_mut().retain(|nth| *nth != view.nth);
            }
            outbox.release_lease(lease).await.unwrap();
        }
    }
}

/// Asserts what holds in a state.
type Check = fn(&Shared);

/// Prints the schedule and the store if a check fails.
struct Trace<'a>(&'a [u8], &'a Shared, &'a Case);

impl Drop for Trace<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{:?} after {:?}, and the store contains:", self.2, self.0);
            for (name, value) in self.1.store.borrow().iter() {
                eprintln!("{name}: {}", String::from_utf8_lossy(value));
            }
        }
    }
}

/// Checks every state that schedules with at most so many switches reach, and returns the number of states. A switch
/// takes the turn from an actor that could go on; how often a finished actor hands over doesn't count.
fn explore(case: &Case, switches: usize, check: Check) -> usize {
    let form = br#"{"v":1,"doors":1,"moved":true}"#;
    let store = BTreeMap::from([(names::FORM.to_owned(), form.to_vec())]);
    explore_from(&Shared { store: RefCell::new(store), ..Shared::default() }, case, switches, check)
}

fn explore_from(begin: &Shared, case: &Case, switches: usize, check: Check) -> usize {
    let (mut visited, mut checked) = (HashSet::new(), HashSet::new());
    // Schedules with few switches first: the first visit of a state has the most left.
    let mut open: VecDeque<(Vec<u8>, usize)> = VecDeque::from([(vec![], 0)]);
    while let Some((schedule, switched)) = open.pop_front() {
        let shared = begin.clone();
        let trace = Trace(&schedule, &shared, case);
        let views: Vec<_> =
            case.iter().enumerate().map(|(nth, (_, clock))| View::new(&shared, nth, true, *clock)).collect();
        let mut actors: Vec<Option<Pin<Box<dyn Future<Output = ()> + '_>>>> =
            views.iter().zip(case).map(|(view, (actor, _))| Some(Box::pin(act(view, *actor)) as Pin<Box<_>>)).collect();
        let mut take = |nth: usize, granted: bool| {
            views[nth].granted.set(granted);
            let actor = actors[nth].as_mut().unwrap();
            if actor.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready() {
                actors[nth] = None;
            }
        };
        for nth in 0..views.len() {
            take(nth, false);
        }
        for nth in &schedule {
            take(usize::from(*nth), true);
        }
        let finished: Vec<_> = actors.iter().map(Option::is_none).collect();
        drop(actors);
        let observed: Vec<_> = views.iter().map(|view| (view.seen.borrow().finish(), view.clock.get())).collect();
        let last = schedule.last().map(|last| usize::from(*last)).filter(|last| !finished[*last]);
        if visited.insert(hash(&(shared.state(), &observed, &finished, last))) {
            // Equal actors are symmetric: one of them begins.
            let is_symmetric = schedule.is_empty() && case.iter().all(|actor| *actor == case[0]);
            for nth in (0..views.len()).filter(|nth| !finished[*nth] && (!is_symmetric || *nth == 0)) {
                let next = [&schedule[..], &[u8::try_from(nth).unwrap()]].concat();
                if last.is_none_or(|last| last == nth) {
                    open.push_front((next, switched));
                } else if switched < switches {
                    open.push_back((next, switched + 1));
                }
            }
            if checked.insert(hash(&shared.state())) {
                check(&shared);
            }
        }
        drop(trace);
    }
    println!("{} states, {} distinct contents of the store", visited.len(), checked.len());
    visited.len()
}

fn hash(what: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    what.hash(&mut hasher);
    hasher.finish()
}

/// A newcomer that runs alone is chosen or finds an outcome, unless somebody has won and has not said what became of it.
fn check_progress(shared: &Shared) {
    let before = shared.store.borrow().clone();
    let view = View::new(shared, 99, false, NOW + 10_000);
    let delivery = start(99, NOW);
    let found = super::run(view.claims().claim(&delivery, &event(1), 20 * PAUSE)).unwrap();
    let is_contended = matches!(found, Claim::Contended { .. });
    let is_won = |(name, value): (&String, &Vec<u8>)| {
        name.starts_with("sluice:won:") && Contender::from_bytes(value).is_some_and(|winner| !winner.withdrawn)
    };
    assert!(!is_contended || before.iter().any(is_won), "a dead end");
    if matches!(found, Claim::Won(_)) {
        assert!(!shared.held.borrow().contains(&1), "a newcomer wins a key that is held");
        assert!(!shared.delivered.borrow().contains(&1), "a newcomer wins a key that was delivered");
    }
    *shared.store.borrow_mut() = before;
}

fn at_once(actors: &[Actor]) -> Vec<(Actor, u64)> {
    actors.iter().map(|actor| (*actor, if *actor == Actor::Sweep { NOW + 6 * MINUTE } else { NOW })).collect()
}

/// The number of switches with which three contenders are explored.
const FEW: usize = 2;
/// The number of switches with which two contenders and another actor are explored.
const SOME: usize = 3;
/// The number of switches with which two contenders are explored.
const MANY: usize = 5;

#[test]
fn one_of_two_contenders_is_chosen() {
    let states = explore(&at_once(&[Actor::Accepted(1), Actor::Accepted(1)]), MANY, check_progress);
    assert!(states > 1_000, "{states}");
}

#[test]
fn keys_that_share_a_race_are_independent() {
    let states = explore(&at_once(&[Actor::Accepted(1), Actor::Accepted(2)]), usize::MAX, check_progress);
    assert!(states > 1_000, "{states}");
    let actors = [Actor::Accepted(1), Actor::Accepted(2), Actor::Accepted(1)];
    assert!(explore(&at_once(&actors), FEW, check_progress) > 1_000);
}

#[test]
fn released_key_has_one_holder() {
    for actors in [[Actor::Rejected(1), Actor::Accepted(1)], [Actor::Rejected(1), Actor::Rejected(1)]] {
        let states = explore(&at_once(&actors), MANY, check_progress);
        assert!(states > 1_000, "{states}");
    }
    let actors = [Actor::Rejected(1), Actor::Rejected(1), Actor::Accepted(1)];
    assert!(explore(&at_once(&actors), FEW, check_progress) > 1_000);
}

#[test]
fn contender_that_stalls_under_a_sweep_is_not_chosen() {
    for first in [Actor::Accepted(1), Actor::Rejected(1)] {
        let states = explore(&at_once(&[first, Actor::Accepted(1), Actor::Sweep]), SOME, check_progress);
        assert!(states > 1_000, "{states}");
    }
}

#[test]
fn drain_sends_a_copy_only_if_nobody_else_does() {
    for first in [Actor::Accepted(1), Actor::Rejected(1)] {
        let states = explore(&at_once(&[first, Actor::Accepted(1), Actor::Drain]), SOME, check_progress);
        assert!(states > 1_000, "{states}");
    }
}

#[test]
fn one_of_three_contenders_is_chosen() {
    let states = explore(&at_once(&[Actor::Accepted(1); 3]), FEW, check_progress);
    assert!(states > 1_000, "{states}");
}

#[test]
fn one_of_two_contenders_in_two_windows_is_chosen() {
    let boundary = NOW + HOUR / 2;
    let case = [(Actor::Accepted(1), boundary - 1), (Actor::Accepted(1), boundary)];
    let states = explore(&case, usize::MAX, |_| {});
    assert!(states > 1_000, "{states}");
    let sweep = (Actor::Sweep, boundary + 6 * MINUTE);
    assert!(explore(&[case[0], case[1], sweep], SOME, |_| {}) > 1_000);
}

#[test]
fn key_of_an_earlier_release_is_settled_while_it_is_moved() {
    let old = |name: &str| format!("{}{name}/{WINDOW}/{}", concat!("sluice", "/"), event(1).hash());
    let record = OutcomeRecord::delivered(start(50, NOW).id, &event(1), b"{}", Timestamp(NOW)).to_bytes().unwrap();
    let flag = format!(r#"{{"v":1,"by":"{}/1","at":{NOW}}}"#, start(50, NOW).id).into_bytes();
    let begin = Shared { store: RefCell::new(BTreeMap::from([(old("done"), record.clone())])), ..Shared::default() };
    let case = [(Actor::LookUp, NOW), (Actor::Upgrade, NOW), (Actor::Upgrade, NOW)];
    assert!(explore_from(&begin, &case, SOME, |_| {}) > 100);
    for store in [vec![(old("done"), record), (old("flag"), flag.clone())], vec![(old("flag"), flag)]] {
        let begin = Shared { delivered: RefCell::new(vec![1]), ..Shared::default() };
        begin.store.borrow_mut().extend(store);
        let case = [(Actor::Accepted(1), NOW), (Actor::Upgrade, NOW), (Actor::Upgrade, NOW)];
        assert!(explore_from(&begin, &case, SOME, |_| {}) > 100);
    }
}

/// A drain that comes later than any lease ends acquires the lease, and one that comes at once may find it held.
fn check_lease(shared: &Shared) {
    let before = shared.store.borrow().clone();
    for (after, must) in [(0, false), (MINUTE + 12_000, true)] {
        let view = View::new(shared, 99, false, NOW + after);
        let lease = super::run(Outbox::new(&view).acquire_lease(LEASE)).unwrap();
        assert!(lease.is_some() || !must, "nobody can acquire the lease");
        *shared.store.borrow_mut() = before.clone();
    }
}

#[test]
fn one_of_two_drains_sends_at_a_time() {
    let lease = Actor::Lease { keeps: true };
    for case in [&[(lease, NOW); 2][..], &[(lease, NOW); 3]] {
        let states = explore(case, usize::MAX, check_lease);
        assert!(states > 100, "{states}");
    }
}

#[test]
fn drain_stops_once_a_late_writer_has_overwritten_its_lease() {
    // The door opens while the first one stalls; then, the clock of the second one is a day ahead.
    for later in [11_000, DAY] {
        let case = [(Actor::Lease { keeps: false }, NOW), (Actor::Lease { keeps: false }, NOW + later)];
        let states = explore(&case, usize::MAX, check_lease);
        assert!(states > 100, "{states}");
    }
}

#[test]
fn lease_that_was_acquired_meanwhile_is_not_overwritten() {
    let shared = Shared::default();
    let (late, other) = (View::new(&shared, 0, true, NOW + 11_000), View::new(&shared, 1, false, NOW));
    let outbox = Outbox::new(&late);
    let mut acquiring = std::pin::pin!(outbox.acquire_lease(LEASE));
    let mut step = || {
        late.granted.set(true);
        acquiring.as_mut().poll(&mut Context::from_waker(Waker::noop()))
    };
    // It has found the lease free, and stalls until the door of the other one is open again.
    assert!(step().is_pending());
    assert!(super::run(Outbox::new(&other).acquire_lease(LEASE)).unwrap().is_some());
    let lease = loop {
        if let Poll::Ready(lease) = step() {
            break lease.unwrap();
        }
    };
    assert!(lease.is_none());
}
