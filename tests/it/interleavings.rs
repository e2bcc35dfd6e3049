//! All interleavings of two and three who bring the same at the same time, each stopped at every step, and the drain
//! after them.
//!
//! What runs here is the gateway itself. Each operation of the store, each half of a call to the engine and each sleep is
//! a step; between two steps anyone else may take theirs, but for steps that no one else can see: they are taken at once. A
//! state is what the store and the engine hold and what each
//! contender has seen; every state that can be reached is visited once, and in each all who aren't through are taken for
//! dead. That covers every set of crashes, since whoever is dead is one who takes no step any more.

mod view;

use std::borrow::Cow;
use std::cell::Cell;
use std::collections::hash_map::DefaultHasher;
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::future::Future;
use std::hash::{Hash, Hasher};
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use http::HeaderMap;
use serde_json::value::RawValue;
use sluice::callback::{Callback, Status};
use sluice::delivery::{Key, Outcome, Payload, Start, Work};
use sluice::gateway::{DrainSummary, Receipt, Stopped};
use sluice::reference::{RunRef, Topic, WorkflowRef};

use crate::fake::{NOW, World};
use view::{Shared, Step, View};

/// Long after every claim, wait and call is over.
const LATER: u64 = 3_600_000;
/// As long as a drain may have its lease.
const LEASE: u64 = 50_000;

/// What a sender was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Told {
    Delivered,
    Pending,
    Duplicate,
    Conflict,
}

impl Told {
    fn of(receipt: &Receipt<'_>) -> Self {
        assert_eq!(receipt.warnings, Vec::<String>::new());
        match &receipt.outcome {
            Outcome::Delivered { .. } => Self::Delivered,
            Outcome::Pending { .. } => Self::Pending,
            Outcome::Duplicate { .. } => Self::Duplicate,
            Outcome::Conflict { .. } => Self::Conflict,
            outcome => panic!("{outcome:?}"),
        }
    }
}

/// What is brought, and by whom: one contender an entry, with the time at which it comes.
#[derive(Clone)]
struct Case {
    work: Brings,
    starts: Vec<u64>,
    /// The engine may take longer than a sender is kept waiting.
    slow: bool,
    /// So many others drain at the same time, and those who bring can't reach the engine.
    drains: usize,
    /// Those who drain can't either.
    down: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Brings {
    Event,
    /// All the same callback.
    Equal,
    /// Each another payload.
    Conflicting,
    /// Webhooks without a key.
    Plain,
}

impl Case {
    /// One in which nobody drains meanwhile.
    fn of(work: Brings, starts: Vec<u64>, slow: bool) -> Self {
        Self { work, starts, slow, drains: 0, down: false }
    }

    fn view<'s>(&self, shared: &'s Shared, who: usize, start: u64) -> View<'s> {
        let mut view = View::new(shared, who, true, start);
        view.drained = self.drains > 0;
        view.cut_off = view.drained && (self.down || who < self.starts.len());
        view
    }

    /// What is there when it begins: where some drain, a pass that was just made, and a delivery since, which is due.
    fn prepare(&self, shared: &Shared) {
        if self.drains == 0 {
            return;
        }
        let mut view = View::new(shared, 10, false, self.starts[0] - 60_000);
        view.cut_off = true;
        through(bring(&view, Brings::Plain, 10, &Cell::new(None)));
        let due = shared.store.take();
        through(pass(&View::new(shared, 11, false, self.starts[0] - 1)));
        shared.store.borrow_mut().extend(due);
    }

    /// What one of them does.
    async fn part(&self, view: &View<'_>, who: usize, told: &Cell<Option<Told>>) {
        if who < self.starts.len() {
            bring(view, self.work, who, told).await;
        } else {
            pass(view).await;
        }
    }
}

impl Brings {
    /// The contender's payload; its delivery borrows it.
    fn payload(self, who: usize) -> Box<RawValue> {
        let who = if matches!(self, Self::Conflicting | Self::Plain) { who } else { 0 };
        RawValue::from_string(format!(r#"{{"says":{who}}}"#)).unwrap()
    }

    fn work(self, payload: &RawValue) -> (Work<'_>, Option<Key>) {
        if self == Self::Plain {
            let payload = Payload::Webhook(Cow::Borrowed(payload));
            return (Work::Start(Start::new(WorkflowRef::parse("w").unwrap(), payload)), None);
        }
        if self == Self::Event {
            let workflow = WorkflowRef::parse("w").unwrap();
            let payload = Payload::Event { whole: Cow::Borrowed(payload), data: None };
            return (Work::Start(Start::new(workflow, payload)), Some(Key::event("/s", "1", "w")));
        }
        let (run, topic) = (RunRef::parse("r").unwrap(), Topic::parse("t").unwrap());
        let callback = Callback { run, topic, status: Status::Succeeded, payload: Some(Cow::Borrowed(payload)) };
        let key = Key::callback(&callback);
        (Work::Resolve(callback), Some(key))
    }
}

async fn bring(view: &View<'_>, brings: Brings, who: usize, told: &Cell<Option<Told>>) {
    let payload = brings.payload(who);
    let (work, key) = brings.work(&payload);
    let gate = view.gateway();
    let wait = gate.settings().wait;
    let outcome = gate.accept(work, key, HeaderMap::new(), wait).await;
    told.set(Some(Told::of(&outcome)));
    if let Some(rest) = outcome.background {
        rest.await;
    }
}

/// Polls to the end what nobody schedules.
fn through<T>(future: impl Future<Output = T>) -> T {
    let mut future = std::pin::pin!(future);
    match future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => output,
        Poll::Pending => panic!("it waits for something"),
    }
}

fn shared() -> Shared {
    let variables = World::new().variables.borrow().clone();
    Shared { variables, ..Shared::default() }
}

/// One pass of the drain.
async fn pass(view: &View<'_>) -> DrainSummary {
    let drained = view.gateway().drain(Duration::from_secs(25)).await.unwrap();
    assert_eq!(drained.warnings, Vec::<String>::new());
    drained
}

/// Passes of the drain, with time between them, until nothing is pending.
fn drain(case: &Case, shared: &Shared) {
    for turn in 0..10 {
        shared.later.set(shared.later.get() + LATER);
        let view = View::new(shared, 100 + turn, false, case.starts[0]);
        let DrainSummary { pending, stopped, .. } = through(pass(&view));
        assert_eq!(stopped, None);
        if pending == Some(0) {
            return;
        }
    }
    panic!("something is pending for ever");
}

/// A schedule, taken again from the start: who takes which step.
type Schedule = Vec<(usize, Step)>;

/// What is looked at in each state.
type Check = fn(&Case, &Shared, &[Option<Told>], all_through: bool);

/// Visits every state, and gives how many there are.
fn explore(case: &Case, check: Check) -> usize {
    let mut visited = HashSet::new();
    let mut checked = HashSet::new();
    let mut to_do: Vec<Schedule> = vec![vec![]];
    while let Some(schedule) = to_do.pop() {
        let shared = shared();
        case.prepare(&shared);
        let starts = case.starts.iter().chain(std::iter::repeat_n(&case.starts[0], case.drains));
        let views: Vec<_> = starts.enumerate().map(|(who, start)| case.view(&shared, who, *start)).collect();
        let told: Vec<_> = views.iter().map(|_| Cell::new(None)).collect();
        let mut contenders: Vec<Option<Pin<Box<dyn Future<Output = ()> + '_>>>> = views
            .iter()
            .zip(&told)
            .enumerate()
            .map(|(who, (view, told))| Some(Box::pin(case.part(view, who, told)) as Pin<Box<_>>))
            .collect();
        let mut take = |who: usize, step: Option<Step>| {
            views[who].waiting.borrow_mut().clear();
            views[who].granted.set(step);
            let contender = contenders[who].as_mut().unwrap();
            if contender.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready() {
                contenders[who] = None;
            }
        };
        for who in 0..views.len() {
            take(who, None);
        }
        for (who, step) in &schedule {
            take(*who, Some(*step));
        }
        let through: Vec<_> = contenders.iter().map(Option::is_none).collect();
        drop(contenders);

        let told: Vec<_> = told.iter().map(Cell::get).collect();
        let host = (shared.store.borrow().clone(), shared.acted.borrow().clone());
        let inside: Vec<_> = views.iter().map(|view| (view.seen.borrow().finish(), view.slept.get())).collect();
        if !visited.insert(hash(&(&host, &inside, &told, &through))) {
            continue;
        }
        let mut steps: Schedule = Vec::new();
        for (who, view) in views.iter().enumerate().filter(|(who, _)| !through[*who]) {
            let waiting = view.waiting.borrow();
            if matches!(waiting[..], [Step::Private | Step::Sleep]) {
                steps = vec![(who, waiting[0])];
                break;
            }
            let in_call = waiting.iter().any(|step| matches!(step, Step::Act | Step::Answer));
            steps.extend(
                waiting.iter().filter(|step| case.slow || !in_call || **step != Step::Sleep).map(|step| (who, *step)),
            );
        }
        // All begin alike, so it is enough that the first begins.
        if schedule.is_empty() && case.work == Brings::Event && case.starts.iter().all(|start| *start == case.starts[0])
        {
            steps.retain(|(who, _)| *who == 0);
        }
        to_do.extend(steps.into_iter().map(|step| [&schedule[..], &[step]].concat()));
        // Whoever isn't through is dead: what counts then is what is outside, and what senders were told.
        let all_through = through.iter().all(|through| *through);
        if checked.insert(hash(&(&host, &told, all_through))) {
            let tell = Tell(&schedule, &host);
            check(case, &shared, &told, all_through);
            drop(tell);
        }
    }
    println!("{} states, {} of them host", visited.len(), checked.len());
    visited.len()
}

/// How a state that fails was reached, and what was outside.
struct Tell<'a>(&'a Schedule, &'a (BTreeMap<String, Vec<u8>>, Vec<String>));

impl Drop for Tell<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let Self(schedule, (store, acted)) = self;
            eprintln!("after {schedule:?}, the engine has acted on {acted:#?}, and the store has");
            for (key, value) in store {
                eprintln!("{key}: {}", String::from_utf8_lossy(value));
            }
        }
    }
}

fn hash(what: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    what.hash(&mut hasher);
    hasher.finish()
}

/// At most one winner, at most one run, none lost; and whoever brings it again later changes nothing.
fn check_event(case: &Case, shared: &Shared, told: &[Option<Told>], _: bool) {
    let promised = told.iter().any(Option::is_some);
    assert!(told.iter().filter(|told| **told == Some(Told::Delivered)).count() <= 1, "two winners: {told:?}");
    let acted = shared.acted.borrow().len();
    assert!(acted <= 1, "two runs before the drain: {told:?}");
    let before = (shared.store.borrow().clone(), shared.acted.borrow().clone());

    drain(case, shared);
    let after = shared.acted.borrow().len();
    assert!(after <= 1, "two runs after the drain: {told:?}");
    assert!(!promised || after == 1, "lost: {told:?}");

    (*shared.store.borrow_mut(), *shared.acted.borrow_mut()) = before;
    shared.later.set(LATER);
    let again = Cell::new(None);
    let view = View::new(shared, 50, false, case.starts[0]);
    through(bring(&view, case.work, 0, &again));
    assert!(again.get().is_some());
    drain(case, shared);
    assert_eq!(shared.acted.borrow().len(), 1, "brought again later: {told:?}, {again:?}");
}

/// Callbacks have no label by which the engine could be asked; what counts is that the first one wins.
fn check_callback(case: &Case, shared: &Shared, told: &[Option<Told>], all_through: bool) {
    assert!(told.iter().filter(|told| **told == Some(Told::Delivered)).count() <= 1, "two winners: {told:?}");
    if case.work == Brings::Equal {
        assert!(!told.contains(&Some(Told::Conflict)), "{told:?}");
    }
    let promised = told.iter().any(Option::is_some);
    let delivered = told.contains(&Some(Told::Delivered));
    let before: Vec<_> = shared.acted.borrow().clone();
    drain(case, shared);
    let acted = shared.acted.borrow();
    assert!(!promised || !acted.is_empty(), "lost: {told:?}");
    if delivered {
        // Who has won stays the first, and nothing is sent after it.
        assert_eq!(*acted, before, "{told:?}");
    }
    if all_through {
        let says: BTreeSet<_> = acted.iter().collect();
        assert_eq!((acted.len(), says.len()), (1, 1), "nobody died, and it was sent twice: {told:?}");
    }
    // Every copy is settled, or kept for an operator to see that it came second.
    let store = shared.store.borrow();
    let dead = store.keys().filter(|key| key.starts_with("sluice/dead/")).count();
    assert!(case.work == Brings::Conflicting || dead == 0, "{told:?}");
}

/// What was promised is in the keys that the next pass lists, though it is far from the time at which they are listed anyway.
fn check_hint(case: &Case, shared: &Shared, told: &[Option<Told>], _: bool) {
    let promised =
        told.iter().enumerate().filter(|(_, told)| told.is_some()).map(|(who, _)| format!(r#""says":{who}}}"#));
    let promised: Vec<_> = promised.collect();
    let runs = |of: &String| shared.acted.borrow().iter().filter(|body| body.contains(of)).count();
    let open = promised.iter().filter(|of| runs(of) == 0).count() as u64;
    let drain = |later, turn: usize| {
        shared.later.set(later);
        through(pass(&View::new(shared, 100 + turn, false, case.starts[0])))
    };
    // At once: so the hint is there, and it isn't that the keys are scanned again when it was taken.
    let DrainSummary { delivered, pending, stopped, .. } = drain(0, 0);
    match stopped {
        None => {
            assert!(delivered + pending.unwrap() >= open, "{delivered} delivered and {pending:?} pending, of {open}")
        }
        stopped => assert_eq!(stopped, Some(Stopped::Leased)),
    }
    // Then the time of a drain that died is over, and the delivery is due.
    assert_eq!(drain(LEASE, 1).stopped, None);
    for of in &promised {
        assert_eq!(runs(of), 1, "{of}");
    }
}

/// In the middle of a window.
const CALM: u64 = NOW;
/// A retention of 72 hours: where two windows meet.
const MEET: u64 = 72 * 3_600_000 * 6_930;

#[test]
fn lone_claimant_always_wins() {
    let shared = shared();
    let told = Cell::new(None);
    through(bring(&View::new(&shared, 0, false, CALM), Brings::Event, 0, &told));
    assert_eq!(told.get(), Some(Told::Delivered));
    explore(&Case::of(Brings::Event, vec![CALM], true), check_event);
}

#[test]
fn two_claimants_of_one_event_start_one_run() {
    let states = explore(&Case::of(Brings::Event, vec![CALM; 2], true), check_event);
    assert!(states > 1_000, "{states}");
}

#[test]
fn two_claimants_at_a_window_boundary_start_one_run() {
    for starts in [vec![MEET - 1, MEET], vec![MEET, MEET - 1]] {
        explore(&Case::of(Brings::Event, starts, true), check_event);
    }
}

#[test]
fn first_of_two_callbacks_wins() {
    for work in [Brings::Equal, Brings::Conflicting] {
        explore(&Case::of(work, vec![CALM; 2], true), check_callback);
    }
}

#[test]
fn three_claimants_of_one_event_start_one_run() {
    let states = explore(&Case::of(Brings::Event, vec![CALM; 3], false), check_event);
    assert!(states > 10_000, "{states}");
}

#[test]
fn deliveries_stored_during_drains_are_not_lost() {
    for (senders, drains) in [(1, 1), (2, 1), (1, 2), (2, 2)] {
        for down in [false, true] {
            let starts = vec![CALM; senders];
            let states = explore(&Case { work: Brings::Plain, starts, slow: false, drains, down }, check_hint);
            assert!(states > 50, "{states}");
        }
    }
}
