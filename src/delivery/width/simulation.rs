//! A drain against an engine, in simulated time: an hour's outage, and engines that are slow, that die, or that limit
//! one workflow.
#![allow(clippy::arithmetic_side_effects, reason = "a test reports an error by failing")]

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::time::Duration;

use super::*;
use crate::delivery::DeliveryId;
use crate::time::Timestamp;

/// The simulation's first moment.
const BEGIN: u64 = 1_795_509_000_000;
/// How long a pass starts deliveries, and the pause until the next one.
const PASS: u64 = 25_000;
const BETWEEN_PASSES: u64 = 1_000;
/// `engine_timeout_ms`, and the margin of `Limits::engine_deadline`.
const ENGINE_TIMEOUT: u64 = 10_000;
const MARGIN: u64 = 1_000;

/// An engine. Times are in milliseconds.
#[derive(Clone, Copy)]
struct Engine {
    /// The number of requests at once above which it answers 503.
    limit: usize,
    /// The time that a request takes, by the number of requests at once.
    work: fn(usize) -> u64,
    /// The number of requests at once of the first workflow above which it answers 429.
    first_limit: usize,
    /// When it takes no connections, counted from the beginning.
    down: (u64, u64),
}

const ENGINE: Engine = Engine { limit: 64, work: |_| 1_000, first_limit: usize::MAX, down: (0, 0) };

/// The outage of the issue, with another engine or other numbers.
struct Outage {
    engine: Engine,
    width_max: u32,
    /// Number of passes side by side: one that lists the outbox, or several that take from a database.
    passes: usize,
    /// The number of pending starts of each workflow.
    backlog: Vec<u64>,
    /// Milliseconds between two fresh events of the last workflow; 0 for none.
    fresh_interval: u64,
    /// The number of fresh events after which no more arrive.
    fresh_most: u64,
    /// Whether each workflow has a queue, and fresh events are stored.
    ordered: bool,
}

impl Default for Outage {
    fn default() -> Self {
        // 7 fresh events a second.
        Self {
            engine: ENGINE,
            width_max: 64,
            passes: 1,
            backlog: vec![25_000],
            fresh_interval: 1_000 / 7,
            fresh_most: u64::MAX,
            ordered: false,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    Fresh,
    Begin {
        pass: usize,
    },
    Wake,
    /// A pass reads and writes the note.
    Sync {
        pass: usize,
        number: u64,
    },
    /// The sender learns the answer.
    Answer {
        id: DeliveryId,
        by: By,
        answer: Reply,
    },
    /// The engine is no longer at work on a request.
    Rest {
        workflow: usize,
        by: By,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum By {
    Sender,
    Pass(usize),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Reply {
    Accepted,
    Found,
    TooMany,
    Overloaded,
    NoConnection,
    Nothing { sent: u64 },
}

struct Stored {
    workflow: usize,
    due: u64,
    attempts: u32,
    /// Whether its last attempt was not answered.
    ambiguous: bool,
}

struct Pass {
    scheduler: Scheduler,
    end: u64,
    number: u64,
}

/// What has happened.
#[derive(Default, Debug)]
struct Record {
    sends: usize,
    refused: usize,
    /// Sends by the drain that were not accepted, for each workflow, and all sends of it by the drain.
    drain_refused: BTreeMap<usize, usize>,
    drain_sends: BTreeMap<usize, usize>,
    /// When the backlog was first empty, and each workflow's part of it, since the beginning.
    gone: u64,
    gone_by_workflow: BTreeMap<usize, u64>,
    /// The greatest number of the drain's requests at the engine at a time.
    most: usize,
    /// The estimate of what remains at the end of each pass: when it was made, and how long.
    estimates: Vec<(u64, Option<Duration>)>,
    /// The greatest length of a note.
    note: usize,
    /// Number of requests without an answer.
    silent: usize,
    /// The deliveries of each workflow in the order in which the engine has started them.
    order: BTreeMap<usize, Vec<DeliveryId>>,
}

struct World {
    outage: Outage,
    now: u64,
    events: BinaryHeap<Reverse<(u64, u64, Event)>>,
    sequence: u64,
    at_work: BTreeMap<(usize, bool), usize>,
    /// What the engine has started; each delivery once.
    started: BTreeSet<DeliveryId>,
    pending: BTreeMap<DeliveryId, Stored>,
    /// Those that no pass holds, by the time from which they are due.
    free: BTreeSet<(u64, DeliveryId)>,
    left: BTreeMap<usize, u64>,
    note: Option<String>,
    refusal: Option<Refusal>,
    /// The times at which the simulation looks at all passes.
    wakes: BTreeSet<u64>,
    running: Vec<Option<Pass>>,
    record: Record,
}

impl World {
    fn new(outage: Outage) -> Self {
        let mut world = Self {
            now: 0,
            events: BinaryHeap::new(),
            sequence: 0,
            at_work: BTreeMap::new(),
            started: BTreeSet::new(),
            pending: BTreeMap::new(),
            free: BTreeSet::new(),
            left: BTreeMap::new(),
            note: None,
            refusal: None,
            wakes: BTreeSet::new(),
            running: (0..outage.passes).map(|_| None).collect(),
            record: Record::default(),
            outage,
        };
        for (workflow, deliveries) in world.outage.backlog.clone().into_iter().enumerate() {
            world.left.insert(workflow, deliveries);
            for number in 0..deliveries {
                // They have arrived in the hour before.
                let arrived = Timestamp(BEGIN - 3_600_000 + number);
                let id = DeliveryId::new(arrived.into(), number * 16 + u64::try_from(workflow).unwrap());
                world.store(id, Stored { workflow, due: 0, attempts: 1, ambiguous: false });
            }
        }
        for pass in 0..world.outage.passes {
            world.at(u64::try_from(pass).unwrap() * 300, Event::Begin { pass });
        }
        if world.outage.fresh_interval > 0 {
            world.at(0, Event::Fresh);
        }
        world
    }

    fn at(&mut self, time: u64, event: Event) {
        self.sequence += 1;
        self.events.push(Reverse((time, self.sequence, event)));
    }

    fn clock(&self) -> Timestamp {
        Timestamp(BEGIN + self.now)
    }

    fn store(&mut self, id: DeliveryId, stored: Stored) {
        self.free.insert((stored.due, id));
        self.pending.insert(id, stored);
    }

    /// Runs until nothing is pending, for at most `most` of simulated time.
    fn run(mut self, most: Duration) -> Record {
        while let Some(Reverse((time, _, event))) = self.events.pop() {
            self.now = time;
            assert!(u128::from(time) < most.as_millis(), "{} are pending after {most:?}", self.pending.len());
            match event {
                Event::Fresh => self.fresh(),
                Event::Begin { pass } => self.begin(pass),
                Event::Wake => {}
                Event::Sync { pass, number } => self.sync(pass, number),
                Event::Answer { id, by, answer } => self.answered(id, by, answer),
                Event::Rest { workflow, by } => *self.at_work.get_mut(&(workflow, by == By::Sender)).unwrap() -= 1,
            }
            for pass in 0..self.running.len() {
                self.pump(pass);
            }
            if self.pending.is_empty() && self.running.iter().all(Option::is_none) {
                self.record.gone = self.now;
                return self.record;
            }
        }
        unreachable!("the simulation ends when nothing is pending")
    }

    fn fresh(&mut self) {
        let id = DeliveryId::new(self.clock().into(), self.sequence);
        let workflow = self.outage.backlog.len() - 1;
        if self.outage.ordered {
            *self.left.get_mut(&workflow).unwrap() += 1;
            self.store(id, Stored { workflow, due: self.now, attempts: 0, ambiguous: false });
        } else {
            let stored = Stored { workflow, due: u64::MAX, attempts: 0, ambiguous: false };
            self.send(id, &stored, By::Sender);
        }
        self.outage.fresh_most -= 1;
        if self.outage.fresh_most > 0 {
            self.at(self.now + self.outage.fresh_interval, Event::Fresh);
        }
    }

    fn begin(&mut self, pass: usize) {
        self.sequence += 1;
        let bounds = Bounds { width_max: self.outage.width_max, engine_timeout: Duration::from_millis(ENGINE_TIMEOUT) };
        let scheduler = Scheduler::new(Widths::new(bounds, self.sequence));
        self.running[pass] = Some(Pass { scheduler, end: self.now + PASS, number: self.sequence });
        self.sync(pass, self.sequence);
        self.at(self.now + PASS, Event::Wake);
        if self.outage.passes == 1 {
            let all: Vec<_> = std::mem::take(&mut self.free).into_iter().map(|(_, id)| id).collect();
            self.add(pass, all);
        }
    }

    fn add(&mut self, pass: usize, ids: Vec<DeliveryId>) {
        for id in ids {
            let stored = &self.pending[&id];
            let due = Due {
                id,
                target: if self.outage.ordered {
                    Target::Ordered { workflow: name(stored.workflow), queue: name(stored.workflow), place: 0 }
                } else {
                    Target::Start { workflow: name(stored.workflow) }
                },
                key: None,
                bytes: 1_000,
                due: Timestamp(BEGIN + stored.due),
            };
            assert!(self.running[pass].as_mut().unwrap().scheduler.add(due));
        }
    }

    fn sync(&mut self, pass: usize, number: u64) {
        let now = self.clock();
        let Some(running) = self.running[pass].as_mut().filter(|running| running.number == number) else { return };
        running.scheduler.widths().count_pending(u64::try_from(self.pending.len()).unwrap(), now);
        let note = running.scheduler.widths().sync(self.note.as_deref(), now);
        if let Some(refusal) = &self.refusal {
            running.scheduler.widths().refused_elsewhere(refusal, now);
        }
        self.keep_note(note);
        self.at(self.now + u64::try_from(SYNC_INTERVAL.as_millis()).unwrap(), Event::Sync { pass, number });
    }

    fn keep_note(&mut self, note: String) {
        self.record.note = self.record.note.max(note.len());
        self.note = Some(note);
    }

    /// Starts what a pass can start, and ends the pass at its time.
    fn pump(&mut self, pass: usize) {
        let now = self.clock();
        loop {
            if self.outage.passes > 1 {
                self.take(pass);
            }
            let Some(running) = &mut self.running[pass] else { return };
            let decision = if self.now < running.end { running.scheduler.next(now) } else { Decision::Done };
            let until = match decision {
                Decision::Start(id) => {
                    let stored = self.pending.remove(&id).unwrap();
                    self.send(id, &stored, By::Pass(pass));
                    self.pending.insert(id, stored);
                    continue;
                }
                Decision::Wait(until) => until.map(|until| until.0 - BEGIN),
                Decision::Done if self.now < running.end && self.outage.passes > 1 => {
                    running.scheduler.opens(now).map(|until| until.0 - BEGIN)
                }
                Decision::Done => None,
            };
            let in_flight = running.scheduler.in_flight();
            assert!(decision == Decision::Done || until.is_some() || in_flight > 0, "nothing wakes the pass");
            if in_flight == 0 && until.is_none_or(|until| until >= running.end) {
                return self.finish(pass);
            }
            if let Some(until) = until {
                assert!(until > self.now, "a time to wait for is in the future");
                if self.wakes.insert(until) {
                    self.at(until, Event::Wake);
                }
            }
            return;
        }
    }

    /// Takes as many deliveries from the database as have room.
    fn take(&mut self, pass: usize) {
        let now = self.clock();
        let Some(running) = &mut self.running[pass] else { return };
        if self.now >= running.end {
            return;
        }
        let room = running.scheduler.room(now);
        let busy: BTreeSet<String> = running.scheduler.busy(now).into_iter().map(str::to_owned).collect();
        let is_free = |id: &DeliveryId| !busy.contains(&name(self.pending[id].workflow));
        let due = self.free.iter().take_while(|(due, _)| *due <= self.now).map(|(_, id)| *id);
        let taken: Vec<_> = due.filter(is_free).take(room).collect();
        for id in &taken {
            self.free.remove(&(self.pending[id].due, *id));
        }
        self.add(pass, taken);
    }

    fn finish(&mut self, pass: usize) {
        let now = self.clock();
        let mut running = self.running[pass].take().unwrap();
        for id in running.scheduler.remove_waiting() {
            self.free.insert((self.pending[&id].due, id));
        }
        assert!(running.scheduler.is_empty());
        running.scheduler.widths().count_pending(u64::try_from(self.pending.len()).unwrap(), now);
        let note = running.scheduler.widths().leave(self.note.as_deref(), now);
        let read = Note::read(&note).unwrap();
        self.record.estimates.push((self.now, read.pace().remaining(now)));
        self.keep_note(note);
        self.at(self.now + BETWEEN_PASSES, Event::Begin { pass });
    }

    fn send(&mut self, id: DeliveryId, stored: &Stored, by: By) {
        let (now, engine, workflow) = (self.now, self.outage.engine, stored.workflow);
        if stored.ambiguous && self.started.contains(&id) {
            return self.at(now + 10, Event::Answer { id, by, answer: Reply::Found });
        }
        self.record.sends += 1;
        let total: usize = self.at_work.values().sum::<usize>() + 1;
        let own: usize = [true, false].iter().filter_map(|by| self.at_work.get(&(workflow, *by))).sum::<usize>() + 1;
        let reply = if (engine.down.0..engine.down.1).contains(&now) {
            Reply::NoConnection
        } else if total > engine.limit {
            Reply::Overloaded
        } else if workflow == 0 && own > engine.first_limit {
            Reply::TooMany
        } else {
            Reply::Accepted
        };
        if by != By::Sender {
            *self.record.drain_sends.entry(workflow).or_default() += 1;
            *self.record.drain_refused.entry(workflow).or_default() += usize::from(reply != Reply::Accepted);
        }
        if reply != Reply::Accepted {
            self.record.refused += 1;
            return self.at(now + 5, Event::Answer { id, by, answer: reply });
        }
        assert!(self.started.insert(id), "{id} was started twice");
        self.record.order.entry(workflow).or_default().push(id);
        *self.at_work.entry((workflow, by == By::Sender)).or_default() += 1;
        let by_drain = self.at_work.iter().filter(|((_, fresh), _)| !fresh).map(|(_, count)| count).sum();
        self.record.most = self.record.most.max(by_drain);
        // Without an answer, it is at work for all the time that it may be.
        let ends = now + (engine.work)(total).min(ENGINE_TIMEOUT + MARGIN - 1);
        let dies = now < engine.down.0 && engine.down.0 < ends;
        let (answer, answered) = if dies {
            (Reply::Nothing { sent: now }, engine.down.0)
        } else if ends > now + ENGINE_TIMEOUT {
            (Reply::Nothing { sent: now }, now + ENGINE_TIMEOUT)
        } else {
            (Reply::Accepted, ends)
        };
        self.record.silent += usize::from(answer != Reply::Accepted);
        self.at(ends, Event::Rest { workflow, by });
        self.at(answered, Event::Answer { id, by, answer });
    }

    fn answered(&mut self, id: DeliveryId, by: By, reply: Reply) {
        let (now, clock) = (self.now, self.clock());
        let (answer, again) = match reply {
            Reply::Accepted => (Answer::Answered, None),
            Reply::Found => (Answer::Unsent, None),
            Reply::TooMany => (Answer::Limited { after: None }, Some(None)),
            Reply::Overloaded => (Answer::Failed { after: None }, Some(None)),
            Reply::NoConnection => (Answer::Failed { after: None }, Some(Some(now))),
            Reply::Nothing { sent } => {
                let until = sent + ENGINE_TIMEOUT + MARGIN;
                (Answer::Silent { until: Timestamp(BEGIN + until), after: None }, Some(Some(until)))
            }
        };
        let again = again.map(|due| {
            let workflow = self.outage.backlog.len() - 1;
            let stored = self.pending.entry(id).or_insert_with(|| {
                *self.left.get_mut(&workflow).unwrap() += 1;
                Stored { workflow, due: 0, attempts: 0, ambiguous: false }
            });
            stored.attempts += 1;
            let bound = 5_000 * 2_u64.pow(stored.attempts.min(8) - 1);
            stored.due = due.unwrap_or(now + (id.jitter(stored.attempts) % bound).max(1_000));
            stored.ambiguous |= matches!(reply, Reply::Nothing { .. });
            stored.due
        });
        let By::Pass(pass) = by else {
            if let Some(due) = again {
                self.free.insert((due, id));
                let workflow = (reply == Reply::TooMany).then(|| name(self.pending[&id].workflow));
                self.refusal = Some(Refusal { at: clock, workflow });
            }
            return;
        };
        let next = match again {
            None => Next::Gone,
            Some(due) if self.outage.passes == 1 => Next::Again(Timestamp(BEGIN + due)),
            Some(due) => {
                self.free.insert((due, id));
                Next::Returned
            }
        };
        self.running[pass].as_mut().unwrap().scheduler.end(id, answer, next, clock);
        if next == Next::Gone {
            let workflow = self.pending.remove(&id).unwrap().workflow;
            let left = self.left.get_mut(&workflow).unwrap();
            *left -= 1;
            if *left == 0 {
                self.record.gone_by_workflow.entry(workflow).or_insert(now);
            }
        }
    }
}

fn name(workflow: usize) -> String {
    format!("workflow-{workflow}")
}

const MINUTE: Duration = Duration::from_secs(60);

impl Record {
    /// Number of sends of a thousand that the engine refused.
    fn refused_per_thousand(&self) -> usize {
        self.refused * 1_000 / self.sends
    }
}

/// Each pass carries the width over to the next by the note.
#[test]
fn backlog_of_an_outage_is_gone_in_15_minutes_with_few_refusals() {
    let record = World::new(Outage::default()).run(MINUTE * 15);
    assert!(record.refused_per_thousand() < 10 && record.refused > 0, "at most 2 % is promised: {record:?}");
    assert!(record.note < 1_000, "{record:?}");
    // After two minutes, the estimate of what remains is right within a tenth.
    let gone = Duration::from_millis(record.gone);
    for (at, remaining) in record.estimates.iter().filter(|(at, _)| (120_000..540_000).contains(at)) {
        let end = Duration::from_millis(*at) + remaining.unwrap();
        assert!(end.abs_diff(gone) < gone / 10, "at {at}: {end:?}, and it was {gone:?}");
    }
}

/// The engine dies and is back, and refuses more than one request of the first workflow at a time.
#[test]
fn queues_are_started_in_order_of_arrival() {
    let engine = Engine { down: (20_500, 80_000), first_limit: 1, ..ENGINE };
    let (backlog, fresh_most) = (vec![500, 700, 300], 200);
    let outage = Outage { engine, backlog, fresh_most, ordered: true, ..Outage::default() };
    let record = World::new(outage).run(MINUTE * 60);
    assert!(record.silent > 0 && record.most == 3, "one at a time for each queue: {}", record.most);
    for (workflow, count) in [(0, 500), (1, 700), (2, 500)] {
        let order = &record.order[&workflow];
        assert!(order.is_sorted() && order.len() == count, "workflow {workflow}: {} deliveries", order.len());
    }
}

#[test]
fn width_below_what_the_engine_takes_is_never_refused() {
    let record = World::new(Outage { width_max: 48, ..Outage::default() }).run(MINUTE * 15);
    assert_eq!((record.refused, record.most), (0, 48));
}

#[test]
fn passes_side_by_side_share_the_width() {
    let record = World::new(Outage { passes: 3, ..Outage::default() }).run(MINUTE * 15);
    assert!(record.refused_per_thousand() < 15 && record.most <= 64, "{record:?}");
    let record = World::new(Outage { passes: 3, width_max: 48, ..Outage::default() }).run(MINUTE * 15);
    assert!(record.refused == 0 && (48..=50).contains(&record.most), "{record:?}");
}

/// It takes 200 ms for each request that it is at work on, so above 50 it doesn't answer in time.
#[test]
fn engine_that_slows_down_is_never_at_work_on_more_than_the_width() {
    let engine = Engine { limit: usize::MAX, work: |requests| 200 * u64::try_from(requests).unwrap(), ..ENGINE };
    let outage = Outage { engine, backlog: vec![1_500], fresh_interval: 1_000, ..Outage::default() };
    let record = World::new(outage).run(MINUTE * 10);
    assert!(record.most <= 64 && record.silent > 0, "{record:?}");
    assert!(record.silent * 10 < record.sends, "{record:?}");
}

#[test]
fn engine_that_dies_is_left_alone_until_it_is_back() {
    let down = (60_000, 660_000);
    let outage = Outage { engine: Engine { down, ..ENGINE }, backlog: vec![5_000], ..Outage::default() };
    let record = World::new(outage).run(MINUTE * 16);
    assert!(record.silent > 0, "it dies with requests at work: {record:?}");
    // 6 halvings of 61, and then a pause of up to 30 s between two attempts.
    assert!(record.drain_refused[&0] < 150, "{record:?}");
    assert!(record.gone > down.1, "{record:?}");
}

#[test]
fn workflow_with_429_slows_down_no_other() {
    let engine = Engine { first_limit: 5, ..ENGINE };
    for passes in [1, 3] {
        let outage = |first| Outage { engine, passes, backlog: vec![first, 2_000, 2_000], ..Outage::default() };
        let (without, with) = (World::new(outage(0)).run(MINUTE * 15), World::new(outage(500)).run(MINUTE * 15));
        for workflow in [1, 2] {
            let (without, with) = (without.gone_by_workflow[&workflow], with.gone_by_workflow[&workflow]);
            assert!(with < without + without / 3, "{passes} passes: {with} ms, and {without} ms without the first");
        }
        // The width below 5 is refused once in about 15.
        let (refused, sends) = (with.drain_refused[&0], with.drain_sends[&0]);
        assert!(refused * 6 < sends, "{passes} passes: {refused} of {sends}");
        // At 5 a second it would take 100 s.
        assert!(with.gone_by_workflow[&0] < 200_000, "{passes} passes: {with:?}");
    }
}
