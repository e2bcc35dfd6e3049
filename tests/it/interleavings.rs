//! Model checking of the gateway: all interleavings of two and three concurrent contenders, each of which may crash at
//! any step, followed by a drain.
//!
//! The gateway itself runs, over a host that a scheduler controls. Each store operation, each half of a call to the
//! engine and each sleep is a step. Any contender may take the next step; a step that no other contender can observe is
//! taken at once. A state consists of the contents of store and engine and of what each contender has observed. Every
//! reachable state is visited once, and checked as if all unfinished contenders had crashed in it. That covers every
//! set of crashes, since a crashed contender is one that takes no further step.

mod view;

use std::borrow::Cow;
use std::cell::{Cell, RefCell};
use std::collections::hash_map::DefaultHasher;
use std::collections::{HashSet, VecDeque};
use std::future::Future;
use std::hash::{Hash, Hasher};
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use http::HeaderMap;
use serde_json::Value;
use serde_json::value::RawValue;
use sluice::callback::{Callback, Status};
use sluice::delivery::{DeliveryId, Key, Outcome, Payload, Start, Verdict, Work};
use sluice::gateway::operator::OperatorError;
use sluice::gateway::{DrainSummary, Eagerness, Receipt, Stopped};
use sluice::ports::Clock;
use sluice::reference::{RunRef, Topic, WorkflowRef};

use crate::fake::{HOUR, MOVED, NOW, STORE_FORM, StoreKind, World};
use crate::tables::Tables;
use view::{Contents, Shared, Step, View};

/// Longer than any claim, wait and call.
const LATER: u64 = HOUR;
/// The longest duration of a drain's lease.
const LEASE: u64 = 52_000;

/// The response to a sender.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Response {
    Delivered,
    Pending,
    Duplicate,
    Conflict,
    /// The task has ended.
    Resolved,
    /// A database can't keep it beside another one, of which it isn't known yet whether it is accepted. Or a drain has
    /// taken it over meanwhile.
    Refused,
}

impl Response {
    fn of(receipt: &Receipt<'_>) -> Self {
        let warnings: Vec<_> =
            receipt.warnings.iter().filter(|warning| !warning.contains("has taken the delivery over")).collect();
        assert!(warnings.is_empty(), "{warnings:?}");
        match &receipt.outcome {
            Outcome::Delivered { .. } => Self::Delivered,
            Outcome::Pending { .. } => Self::Pending,
            Outcome::Duplicate { .. } => Self::Duplicate,
            Outcome::Conflict { .. } => Self::Conflict,
            Outcome::Rejected { verdict: Verdict::AlreadyResolved { .. } } => Self::Resolved,
            Outcome::NotStored { .. } => Self::Refused,
            outcome => panic!("{outcome:?}"),
        }
    }
}

/// A set of concurrent contenders.
#[derive(Clone)]
struct Case {
    workload: Workload,
    /// The time of arrival of each sender.
    starts: Vec<u64>,
    /// The engine may take longer than a sender waits.
    slow: bool,
    /// The number of concurrent drains. If there are any, the senders can't reach the engine.
    drains: usize,
    /// The drains can't reach the engine either.
    unreachable: bool,
    /// The drains begin after every lease of a sender, which can reach the engine as well.
    takes_over: bool,
    kind: StoreKind,
    /// The outbox has two copies of the event, of which one is the operator's, and a webhook that arrived before them.
    copies: bool,
    /// What an operator does meanwhile, after the senders and the drains.
    operator: Option<Operation>,
    /// The number of times that the turn passes from one contender to another that could go on. Errors need few (M.
    /// Musuvathi and S. Qadeer, "Iterative Context Bounding for Systematic Testing of Multithreaded Programs", 2007).
    switches: usize,
}

/// What an operator does with a delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Operation {
    Delete,
    Redeliver,
}

/// The requests of the senders.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Workload {
    /// The same event.
    Event,
    /// The same callback.
    EqualCallbacks,
    /// Callbacks for one task, each with another payload.
    ConflictingCallbacks,
    /// Callbacks for one task, each with another payload, and every second one with another status.
    OpposedCallbacks,
    /// Webhooks without a key.
    Webhooks,
}

impl Case {
    /// A case without drains.
    fn of(workload: Workload, starts: Vec<u64>, slow: bool) -> Self {
        let kind = StoreKind::chosen();
        let switches = usize::MAX;
        let (unreachable, takes_over, copies, operator) = (false, false, false, None);
        Self { workload, starts, slow, drains: 0, unreachable, takes_over, kind, copies, operator, switches }
    }

    fn view<'s>(&self, shared: &'s Shared, nth: usize, start: u64) -> View<'s> {
        let mut view = View::new(shared, nth, true, start);
        view.observes_drain = self.drains > 0;
        let is_unreachable = self.unreachable || nth < self.starts.len() && !self.copies;
        view.unreachable = view.observes_drain && !self.takes_over && is_unreachable;
        view
    }

    /// Creates the initial store. With drains, it has a recent pass, and a later delivery that is due.
    fn prepare(&self, shared: &Shared) {
        if self.kind == StoreKind::KeyValue {
            shared.store.borrow_mut().insert(STORE_FORM.to_owned(), MOVED.to_vec());
        }
        if self.copies {
            self.prepare_copies(shared);
        }
        if self.drains == 0 || self.takes_over || self.copies {
            return;
        }
        let mut view = View::new(shared, 10, false, self.starts[0] - 60_000);
        view.unreachable = true;
        run_to_end(deliver(&view, Workload::Webhooks, 10, &Cell::new(None)));
        let due = shared.store.take();
        run_to_end(drain_once(&View::new(shared, 11, false, self.starts[0] - 1)));
        shared.store.borrow_mut().extend(due);
    }

    /// A claimant of the event has died right after it had won, and two repeats were stored.
    fn prepare_copies(&self, shared: &Shared) {
        let earlier = self.starts[0] - 60_000;
        let mut webhook = View::new(shared, 10, false, earlier - 1_000);
        webhook.unreachable = true;
        run_to_end(deliver(&webhook, Workload::Webhooks, 10, &Cell::new(None)));

        let winner = View::new(shared, 11, true, earlier);
        let response = Cell::new(None);
        let mut claim = std::pin::pin!(deliver(&winner, self.workload, 0, &response));
        while !shared.store.borrow().keys().any(|key| key.starts_with("sluice:won:")) {
            let step = winner.steps.waiting.borrow().first().copied();
            winner.steps.grant(step.map(|step| (step, 0)));
            assert!(claim.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
        }
        for nth in [COPY, COPY + 1] {
            let response = Cell::new(None);
            run_to_end(deliver(&View::new(shared, nth, false, earlier), self.workload, 0, &response));
            assert_eq!(response.get(), Some(Response::Pending));
        }
        assert!(shared.acted.borrow().is_empty());
    }

    /// Runs one contender.
    async fn act(&self, view: &View<'_>, nth: usize, response: &Cell<Option<Response>>) {
        if nth < self.starts.len() {
            deliver(view, self.workload, nth, response).await;
        } else if let Some(operation) = self.operator.filter(|_| nth == self.starts.len() + self.drains) {
            let id = DeliveryId::parse(&View::new(view.shared, COPY, false, self.starts[0] - 60_000).name).unwrap();
            let operated = match operation {
                Operation::Delete => view.gateway().delete(id).await.map(drop),
                Operation::Redeliver => view.gateway().redeliver(id).await.map(drop),
            };
            assert!(matches!(operated, Ok(()) | Err(OperatorError::InFlight | OperatorError::Unknown)), "{operated:?}");
        } else {
            if self.takes_over {
                view.sleep(Duration::from_millis(LEASE + 10_000)).await;
            }
            drain_once(view).await;
        }
    }
}

impl Workload {
    /// The payload of a sender.
    fn payload(self, nth: usize) -> Box<RawValue> {
        let n = if matches!(self, Self::Event | Self::EqualCallbacks) { 0 } else { nth };
        RawValue::from_string(format!(r#"{{"n":{n}}}"#)).unwrap()
    }

    /// The status and the number in the payload of a sender's callback.
    fn answer(self, nth: usize) -> (String, u64) {
        let payload: Value = serde_json::from_str(self.payload(nth).get()).unwrap();
        (self.status(nth).as_str().to_owned(), payload["n"].as_u64().unwrap())
    }

    fn status(self, nth: usize) -> Status {
        if self == Self::OpposedCallbacks && nth % 2 == 1 { Status::Failed } else { Status::Succeeded }
    }

    fn work(self, nth: usize, payload: &RawValue) -> (Work<'_>, Option<Key>) {
        if self == Self::Webhooks {
            let payload = Payload::Webhook(Cow::Borrowed(payload));
            return (Work::Start(Start::new(WorkflowRef::parse("w").unwrap(), payload)), None);
        }
        if self == Self::Event {
            let workflow = WorkflowRef::parse("w").unwrap();
            let payload = Payload::Event { whole: Cow::Borrowed(payload), data: None };
            return (Work::Start(Start::new(workflow, payload)), Some(Key::event("/s", "1", "w")));
        }
        let (run, topic) = (RunRef::parse("r").unwrap(), Topic::parse("t").unwrap());
        let callback = Callback { run, topic, status: self.status(nth), payload: Some(Cow::Borrowed(payload)) };
        let key = Key::callback(&callback);
        (Work::Resolve(callback), Some(key))
    }
}

/// Handles one request, including the work after the response.
async fn deliver(view: &View<'_>, workload: Workload, nth: usize, response: &Cell<Option<Response>>) {
    let payload = workload.payload(nth);
    let (work, key) = workload.work(nth, &payload);
    let gateway = view.gateway();
    let wait = gateway.settings().wait;
    let receipt = gateway.accept(work, key, HeaderMap::new(), wait).await;
    response.set(Some(Response::of(&receipt)));
    if let Some(background) = receipt.background {
        background.await;
    }
    if let Some(unsettled) = receipt.unsettled {
        assert_eq!(gateway.settle_late(&unsettled).await, None);
    }
}

/// Runs a future that is not scheduled and therefore never waits.
fn run_to_end<T>(future: impl Future<Output = T>) -> T {
    let mut future = std::pin::pin!(future);
    match future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => output,
        Poll::Pending => panic!("an unscheduled future waits"),
    }
}

fn shared(kind: StoreKind) -> Shared {
    let world = World::on(kind);
    let tables = (kind == StoreKind::Postgres).then(|| RefCell::new(Tables::new(0)));
    let variables = world.variables.borrow().clone();
    Shared { variables, tables, ..Shared::default() }
}

/// Runs one pass of the drain.
async fn drain_once(view: &View<'_>) -> DrainSummary {
    let drained = view.gateway().drain(Duration::from_secs(25), Eagerness::Tries).await.unwrap();
    assert_eq!(drained.warnings, Vec::<String>::new());
    drained
}

/// Runs passes of the drain, an hour apart, until nothing is pending.
fn drain_all(case: &Case, shared: &Shared) {
    for pass in 0..10 {
        shared.later.set(shared.later.get() + LATER);
        let view = View::new(shared, 100 + pass, false, case.starts[0]);
        let DrainSummary { pending, stopped, .. } = run_to_end(drain_once(&view));
        assert_eq!(stopped, None);
        if pending == Some(0) {
            return;
        }
    }
    panic!("still pending after ten passes");
}

/// The steps from the initial state, each with the number of its contender, and its position among those for which the
/// contender waits.
type Schedule = Vec<(usize, (Step, usize))>;

/// Asserts the invariants of a state. The last argument says whether all contenders have finished.
type Check = fn(&Case, &Shared, &[Option<Response>], all_finished: bool);

/// Checks every reachable state, and returns their number.
fn explore(case: &Case, check: Check) -> usize {
    let mut visited = HashSet::new();
    let mut checked = HashSet::new();
    // Schedules with few switches first: the first visit of a state has the most left.
    let mut open: VecDeque<(Schedule, usize)> = VecDeque::from([(vec![], 0)]);
    while let Some((schedule, switched)) = open.pop_front() {
        let shared = shared(case.kind);
        case.prepare(&shared);
        let others = case.drains + usize::from(case.operator.is_some());
        let starts = case.starts.iter().chain(std::iter::repeat_n(&case.starts[0], others));
        let views: Vec<_> = starts.enumerate().map(|(nth, start)| case.view(&shared, nth, *start)).collect();
        let responses: Vec<_> = views.iter().map(|_| Cell::new(None)).collect();
        let mut contenders: Vec<Option<Pin<Box<dyn Future<Output = ()> + '_>>>> = views
            .iter()
            .zip(&responses)
            .enumerate()
            .map(|(nth, (view, response))| Some(Box::pin(case.act(view, nth, response)) as Pin<Box<_>>))
            .collect();
        let mut take = |nth: usize, step: Option<(Step, usize)>| {
            views[nth].steps.grant(step);
            let contender = contenders[nth].as_mut().unwrap();
            if contender.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready() {
                contenders[nth] = None;
            }
        };
        for nth in 0..views.len() {
            take(nth, None);
        }
        for (nth, step) in &schedule {
            take(*nth, Some(*step));
        }
        let finished: Vec<_> = contenders.iter().map(Option::is_none).collect();
        drop(contenders);

        let responses: Vec<_> = responses.iter().map(Cell::get).collect();
        let host = (shared.contents(), shared.acted.borrow().clone());
        let task = (shared.ended.borrow().clone(), shared.open.get());
        let observed: Vec<_> = views.iter().map(|view| (view.steps.seen.borrow().finish(), view.slept.get())).collect();
        let observable = schedule.iter().rev().find(|(_, (step, _))| *step != Step::Private);
        let last = observable.map(|(last, _)| *last).filter(|last| case.switches < usize::MAX && !finished[*last]);
        if !visited.insert(hash(&(&host, &task, &observed, &responses, &finished, last))) {
            continue;
        }
        let mut steps: Schedule = Vec::new();
        for (nth, view) in views.iter().enumerate().filter(|(nth, _)| !finished[*nth]) {
            let waiting = view.steps.waiting.borrow();
            // In a database, a sleep moves the clock of all.
            if waiting[..] == [Step::Private] || waiting[..] == [Step::Sleep] && case.kind == StoreKind::KeyValue {
                steps = vec![(nth, (waiting[0], 0))];
                break;
            }
            let in_call = waiting.iter().any(|step| matches!(step, Step::Act | Step::Answer));
            // A look takes no time.
            let in_look = waiting.contains(&Step::Look);
            steps.extend(
                waiting
                    .iter()
                    .enumerate()
                    .filter(|(_, step)| **step != Step::Sleep || !in_look && (case.slow || !in_call))
                    .map(|(position, step)| (nth, (*step, position))),
            );
        }
        // The contenders are symmetric, so the first step may be fixed to the first of them.
        if schedule.is_empty()
            && case.workload == Workload::Event
            && case.starts.iter().all(|start| *start == case.starts[0])
        {
            steps.retain(|(nth, _)| *nth == 0);
        }
        for step in steps {
            let next = [&schedule[..], &[step]].concat();
            if last.is_none_or(|last| last == step.0) || step.1.0 == Step::Private {
                open.push_front((next, switched));
            } else if switched < case.switches {
                open.push_back((next, switched + 1));
            }
        }
        // With the unfinished contenders crashed, only the host's contents and the responses matter.
        let all_finished = finished.iter().all(|finished| *finished);
        if checked.insert(hash(&(&host, &task, &responses, all_finished))) {
            let trace = Trace(&schedule, &host);
            check(case, &shared, &responses, all_finished);
            drop(trace);
        }
    }
    println!("{} states, {} distinct contents of the host", visited.len(), checked.len());
    visited.len()
}

/// Prints the schedule and the host's contents if a check fails.
struct Trace<'a>(&'a Schedule, &'a (Contents, Vec<String>));

impl Drop for Trace<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let Self(schedule, (store, acted)) = self;
            eprintln!("after {schedule:?}\nthe engine has acted on {acted:#?}\nand the store contains:");
            match store {
                Contents::KeyValue(store) => {
                    store.iter().for_each(|(key, value)| eprintln!("{key}: {}", String::from_utf8_lossy(value)));
                }
                Contents::Postgres(tables, time) => {
                    eprintln!("at {time}:");
                    tables.deliveries().iter().for_each(|row| eprintln!("{}", row.to_json()));
                }
            }
        }
    }
}

fn hash(what: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    what.hash(&mut hasher);
    hasher.finish()
}

/// At most one winner and one run, nothing accepted is lost, and a later duplicate changes nothing.
fn check_event(case: &Case, shared: &Shared, responses: &[Option<Response>], _: bool) {
    let accepted = responses.iter().any(Option::is_some);
    assert_one_winner(responses);
    let acted = shared.acted.borrow().len();
    assert!(acted <= 1, "two runs before the drain: {responses:?}");
    let before = (shared.contents(), shared.acted.borrow().clone(), shared.later.get());

    drain_all(case, shared);
    let after = shared.acted.borrow().len();
    assert!(after <= 1, "two runs after the drain: {responses:?}");
    assert!(!accepted || after == 1, "lost: {responses:?}");

    let (contents, acted, later) = before;
    shared.restore(contents);
    shared.acted.replace(acted);
    shared.later.set(later + LATER);
    let again = Cell::new(None);
    let view = View::new(shared, 50, false, case.starts[0]);
    run_to_end(deliver(&view, case.workload, 0, &again));
    assert!(again.get().is_some());
    drain_all(case, shared);
    assert_eq!(shared.acted.borrow().len(), 1, "after a later duplicate: {responses:?}, {again:?}");
}

#[track_caller]
fn assert_one_winner(responses: &[Option<Response>]) {
    let winners = responses.iter().filter(|response| **response == Some(Response::Delivered)).count();
    assert!(winners <= 1, "two winners: {responses:?}");
}

/// A callback that was answered 200 has ended the task. One that was answered 202 does so too, or becomes a dead letter
/// that says why not. Only a callback that differs is refused.
fn check_callback(case: &Case, shared: &Shared, responses: &[Option<Response>], all_finished: bool) {
    let senders = || responses.iter().enumerate().filter_map(|(nth, response)| Some((nth, (*response)?)));
    let ended = || shared.ended.borrow().clone();
    let before = ended();
    for (nth, response) in senders() {
        match response {
            Response::Delivered => {
                assert_eq!(before.as_ref(), Some(&case.workload.answer(nth)), "{nth} was not delivered: {responses:?}");
            }
            Response::Conflict | Response::Resolved | Response::Refused => {
                let is_late = case.takes_over && response == Response::Refused;
                assert!(case.workload != Workload::EqualCallbacks || is_late, "{nth} is a repeat: {responses:?}");
            }
            Response::Pending | Response::Duplicate => {}
        }
    }
    // Crashed contenders never see an answer, and the engine is done with their events.
    shared.open.set(0);
    // A contender that loses may overwrite the name of the winner. If the winner crashes then, the loser may be taken for
    // the one that has ended the task, if it has the same status.
    let names: Vec<_> =
        (0..case.starts.len()).map(|nth| View::new(shared, nth, false, case.starts[nth]).name).collect();
    let holds = |nth: usize| shared.holds(&names[nth]);
    let holders: Vec<_> = (0..names.len()).map(|nth| !all_finished && holds(nth)).collect();
    drain_all(case, shared);

    let after = ended();
    let dead = |nth: usize| {
        let letter = shared.dead_letter(&names[nth])?;
        Some(letter["history"].as_array()?.last()?[1].as_str()?.to_owned())
    };
    for (nth, response) in senders() {
        let own = case.workload.answer(nth);
        match response {
            Response::Delivered => assert_eq!(after, before, "overruled after 200: {responses:?}"),
            Response::Pending | Response::Duplicate => {
                let (status, n) = after.clone().unwrap_or_else(|| panic!("lost: {responses:?}"));
                let is_own = (&status, n) == (&own.0, own.1) || holders[nth] && status == own.0;
                let says = dead(nth);
                assert!(is_own || says.is_some(), "{nth} is neither delivered nor dead: {responses:?}");
                if let Some(says) = says {
                    assert!(case.workload != Workload::EqualCallbacks, "a repeat became a dead letter: {responses:?}");
                    let reasons = ["another callback", "the task that waited for the topic has ended", "overruled"];
                    assert!(reasons.iter().any(|reason| says.starts_with(reason)), "{says}");
                }
            }
            Response::Conflict | Response::Resolved | Response::Refused => {}
        }
    }
    if all_finished {
        assert_eq!(shared.acted.borrow().len(), 1, "sent twice without a crash: {responses:?}");
    }
}

/// The next pass finds every accepted delivery, long before the next periodic scan.
fn check_notification(case: &Case, shared: &Shared, responses: &[Option<Response>], _: bool) {
    let accepted = responses.iter().enumerate().filter(|(_, response)| response.is_some());
    let payloads: Vec<_> = accepted.map(|(nth, _)| format!(r#""n":{nth}}}"#)).collect();
    let runs = |payload: &String| shared.acted.borrow().iter().filter(|body| body.contains(payload)).count();
    let open = payloads.iter().filter(|payload| runs(payload) == 0).count() as u64;
    let drain = |later, pass: usize| {
        shared.later.set(later);
        run_to_end(drain_once(&View::new(shared, 100 + pass, false, case.starts[0])))
    };
    // Only a notification makes this pass scan: the periodic scan isn't due.
    let DrainSummary { delivered, pending, stopped, .. } = drain(0, 0);
    match stopped {
        None => {
            assert!(delivered + pending.unwrap() >= open, "{delivered} delivered and {pending:?} pending, of {open}")
        }
        stopped => assert_eq!(stopped, Some(Stopped::Leased)),
    }
    // Now the lease of a crashed drain has expired, and every delivery is due.
    assert_eq!(drain(LEASE, 1).stopped, None);
    for payload in &payloads {
        assert_eq!(runs(payload), 1, "{payload}");
    }
}

/// Each of the two deliveries in the outbox has one run, or is deleted and the event has one from a repeat.
fn check_copies(case: &Case, shared: &Shared, responses: &[Option<Response>], _: bool) {
    let runs = |payload: &str| shared.acted.borrow().iter().filter(|body| body.contains(payload)).count();
    assert!(runs(r#""n":0}"#) <= 1, "two runs: {responses:?}");
    drain_all(case, shared);
    assert_eq!([runs(r#""n":0}"#), runs(r#""n":10}"#)], [1, 1], "{responses:?}");
}

/// The number of the first of the two copies in the outbox.
const COPY: usize = 20;
/// In the middle of a window.
const MID_WINDOW: u64 = NOW;
/// The boundary of two windows, with a retention of 72 hours.
const BOUNDARY: u64 = 72 * HOUR * 6_930;

#[on_each_store]
fn lone_claimant_always_wins() {
    let shared = shared(StoreKind::chosen());
    let response = Cell::new(None);
    run_to_end(deliver(&View::new(&shared, 0, false, MID_WINDOW), Workload::Event, 0, &response));
    assert_eq!(response.get(), Some(Response::Delivered));
    explore(&Case::of(Workload::Event, vec![MID_WINDOW], true), check_event);
}

#[on_each_store]
fn two_claimants_of_one_event_start_one_run() {
    let states = explore(&Case::of(Workload::Event, vec![MID_WINDOW; 2], true), check_event);
    assert!(states > least(1_000), "{states}");
}

#[test]
fn two_claimants_at_a_window_boundary_start_one_run() {
    StoreKind::KeyValue.choose();
    for starts in [vec![BOUNDARY - 1, BOUNDARY], vec![BOUNDARY, BOUNDARY - 1]] {
        explore(&Case::of(Workload::Event, starts, true), check_event);
    }
}

#[on_each_store]
fn first_of_two_callbacks_wins() {
    for workload in [Workload::EqualCallbacks, Workload::ConflictingCallbacks, Workload::OpposedCallbacks] {
        let states = explore(&Case::of(workload, vec![MID_WINDOW; 2], true), check_callback);
        assert!(states > least(1_000), "{states}");
    }
}

#[on_each_store]
fn three_claimants_of_one_event_start_one_run() {
    // `src/store/key_value/tests/explorer.rs` explores three contenders at the level of registers.
    let switches = if StoreKind::chosen() == StoreKind::KeyValue { 3 } else { usize::MAX };
    let case = Case { switches, ..Case::of(Workload::Event, vec![MID_WINDOW; 3], false) };
    let states = explore(&case, check_event);
    assert!(states > 250, "{states}");
}

#[test]
fn deliveries_stored_during_drains_are_not_lost() {
    StoreKind::KeyValue.choose();
    for (senders, drains) in [(1, 1), (2, 1), (1, 2), (2, 2)] {
        for unreachable in [false, true] {
            let starts = vec![MID_WINDOW; senders];
            let switches = if senders + drains > 3 { 2 } else { usize::MAX };
            let case = Case { drains, unreachable, switches, ..Case::of(Workload::Webhooks, starts, false) };
            let states = explore(&case, check_notification);
            assert!(states > 50, "{states}");
        }
    }
}

/// A pass attempts deliveries side by side, and each of its attempts may stall while another one goes on. Another repeat
/// arrives, and an operator deletes or redelivers one of the copies.
#[test]
fn copies_of_one_event_in_the_outbox_start_one_run() {
    StoreKind::KeyValue.choose();
    for (operator, drains, switches) in
        [(None, 1, 3), (None, 2, 1), (Some(Operation::Delete), 1, 2), (Some(Operation::Redeliver), 1, 2)]
    {
        let event = Case::of(Workload::Event, vec![MID_WINDOW], false);
        let states = explore(&Case { drains, copies: true, operator, switches, ..event }, check_copies);
        assert!(states > 100, "{states}");
    }
}

/// The least number of states. A claim in a database is one step instead of four.
fn least(states: usize) -> usize {
    if StoreKind::chosen() == StoreKind::KeyValue { states } else { states / 40 }
}

/// A drain that takes over what a sender holds, which may be in the middle of it, or have crashed.
#[test]
fn late_worker_and_the_drain_that_takes_over_start_one_run() {
    StoreKind::Postgres.choose();
    for (senders, drains) in [(1, 1), (1, 2), (2, 1)] {
        for slow in [false, true] {
            let case = Case { drains, takes_over: true, ..Case::of(Workload::Event, vec![MID_WINDOW; senders], slow) };
            let states = explore(&case, check_event);
            assert!(states > 50, "{states}");
        }
    }
}

/// The same for callbacks.
#[test]
fn late_worker_and_the_drain_that_takes_over_end_a_task_once() {
    StoreKind::Postgres.choose();
    for (workload, senders) in [
        (Workload::EqualCallbacks, 1),
        (Workload::EqualCallbacks, 2),
        (Workload::ConflictingCallbacks, 2),
        (Workload::OpposedCallbacks, 2),
    ] {
        let case = Case { drains: 1, takes_over: true, ..Case::of(workload, vec![MID_WINDOW; senders], false) };
        let states = explore(&case, check_callback);
        assert!(states > 50, "{states}");
    }
}
