//! The order of deliveries: what a pass starts next.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use super::widths::{Answer, Blocked, Slot, Widths};
use crate::delivery::{Delivery, DeliveryId, Work};
use crate::time::Timestamp;

/// A pending delivery, as far as its turn is concerned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Due {
    /// The delivery.
    pub id: DeliveryId,
    /// What it is for.
    pub target: Target,
    /// Its idempotency key, or another name that must not be in flight twice at a time.
    pub key: Option<String>,
    /// The size of its stored form, about that of its request.
    pub bytes: usize,
    /// The earliest time of its next attempt.
    pub due: Timestamp,
}

/// What a delivery is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// A start of this workflow.
    Start {
        /// The workflow, as in [`Work::reference`].
        workflow: String,
    },
    /// A start in the queue of an `ordered` route. Deliveries of a queue go one at a time, in the order of `place`, and
    /// of their ids where that is equal.
    Ordered {
        /// The workflow.
        workflow: String,
        /// The queue.
        queue: String,
        /// The place in it: the time since which the delivery has it. A database that keeps the order itself offers
        /// only the first delivery of a queue.
        place: u64,
    },
    /// A callback. Those of a run go one at a time, and of those that are due the one that arrived first.
    Callback {
        /// The run.
        run: String,
    },
}

impl Due {
    /// A delivery, with the size of its stored form.
    pub fn of(delivery: &Delivery<'_>, bytes: usize) -> Self {
        let reference = delivery.work.reference().to_owned();
        let target = match &delivery.work {
            Work::Start(start) => match &start.queue {
                Some(queue) => {
                    let place = delivery.queued_since().0;
                    Target::Ordered { workflow: reference, queue: queue.clone(), place }
                }
                None => Target::Start { workflow: reference },
            },
            Work::Resolve(_) => Target::Callback { run: reference },
        };
        let key = delivery.claim.as_ref().map(|claim| claim.key.hash().to_owned());
        Self { id: delivery.id, target, key, bytes, due: delivery.next_attempt }
    }
}

/// What a pass does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Attempt this delivery. It counts as in flight until [`Scheduler::end`].
    Start(DeliveryId),
    /// Nothing can start now: wait until a delivery in flight ends, or until this time, whichever comes first.
    ///
    /// There is a time if nothing is in flight.
    Wait(Option<Timestamp>),
    /// Nothing is pending or in flight.
    Done,
}

/// What becomes of a delivery after an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// It has left the backlog: delivered, rejected, dead, or removed.
    Gone,
    /// It is attempted again from this time on.
    Again(Timestamp),
    /// It is pending, but the store has it again and will offer it to some pass. The store keeps the order of queues.
    Returned,
}

/// Decides what a pass starts next: of all deliveries that may start, the one that has been due the longest.
#[derive(Debug)]
pub struct Scheduler {
    widths: Widths,
    items: BTreeMap<DeliveryId, Item>,
    /// Those that are not due yet.
    later: BTreeSet<(Timestamp, DeliveryId)>,
    lanes: Vec<Lane>,
    lane_of: BTreeMap<Option<String>, usize>,
    /// The first delivery of each lane that has one.
    heads: BTreeSet<(Timestamp, DeliveryId, usize)>,
    groups: Vec<Group>,
    group_of: BTreeMap<(Kind, String), usize>,
    /// The keys in flight, and those that others wait for.
    keys: BTreeMap<Rc<str>, Key>,
    in_flight: usize,
}

/// The deliveries that are due, and wait only for a width: those of a workflow, or callbacks.
#[derive(Debug)]
struct Lane {
    /// `None` for callbacks.
    workflow: Option<String>,
    ready: BTreeSet<(Timestamp, DeliveryId)>,
    /// Its entry in [`Scheduler::heads`].
    head: Option<(Timestamp, DeliveryId)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Queue,
    Run,
}

/// Deliveries of which one has its turn: those of a queue, or the callbacks of a run that are due.
#[derive(Debug)]
struct Group {
    kind: Kind,
    name: String,
    members: BTreeSet<(u64, DeliveryId)>,
    /// The member that has its turn, until it leaves the group.
    front: Option<DeliveryId>,
}

#[derive(Debug, Default)]
struct Key {
    in_flight: bool,
    waiting: BTreeSet<(Timestamp, DeliveryId)>,
}

#[derive(Debug)]
struct Item {
    lane: usize,
    group: Option<usize>,
    place: u64,
    key: Option<Rc<str>>,
    bytes: usize,
    due: Timestamp,
    state: State,
}

/// What a delivery waits for.
#[derive(Debug)]
enum State {
    /// Its turn in its group.
    Turn,
    /// Its time.
    Time,
    /// The end of another delivery of its key.
    Key,
    /// A width.
    Width,
    /// The engine.
    Engine(Slot),
}

impl Scheduler {
    /// A scheduler that has no deliveries yet.
    pub fn new(widths: Widths) -> Self {
        Self {
            widths,
            items: BTreeMap::new(),
            later: BTreeSet::new(),
            lanes: Vec::new(),
            lane_of: BTreeMap::new(),
            heads: BTreeSet::new(),
            groups: Vec::new(),
            group_of: BTreeMap::new(),
            keys: BTreeMap::new(),
            in_flight: 0,
        }
    }

    /// The widths: for [`Widths::sync`], [`Widths::leave`] and [`Widths::count_pending`].
    pub fn widths(&mut self) -> &mut Widths {
        &mut self.widths
    }

    /// Adds a pending delivery, due or not. Returns `false`, and changes nothing, if it is known.
    pub fn add(&mut self, due: Due) -> bool {
        let Due { id, target, key, bytes, due } = due;
        if self.items.contains_key(&id) {
            return false;
        }
        let (workflow, group, place) = match target {
            Target::Start { workflow } => (Some(workflow), None, 0),
            Target::Ordered { workflow, queue, place } => (Some(workflow), Some((Kind::Queue, queue)), place),
            Target::Callback { run } => (None, Some((Kind::Run, run)), 0),
        };
        let (lane, group) = (self.lane(workflow), group.map(|(kind, name)| self.group(kind, name)));
        let key =
            key.map(|key| self.keys.get_key_value(key.as_str()).map_or_else(|| key.into(), |(key, _)| key.clone()));
        self.items.insert(id, Item { lane, group, place, key, bytes, due, state: State::Turn });
        match group.filter(|group| self.is_queue(*group)) {
            Some(queue) => self.join(queue, id),
            None => self.await_time(id),
        }
        true
    }

    /// Number of deliveries that it has, including those in flight.
    pub fn len(&self) -> usize {
        self.items.len()
    }

    /// Whether it has no deliveries.
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// Number of deliveries in flight: started and not ended.
    pub fn in_flight(&self) -> usize {
        self.in_flight
    }

    /// Number of further deliveries that could start now, beyond those that it has. A pass that takes deliveries from a
    /// database takes as many, except those of [`busy`](Self::busy).
    pub fn room(&mut self, now: Timestamp) -> usize {
        self.advance(now);
        let free = usize::try_from(self.widths.free(now)).unwrap_or(usize::MAX);
        let open = self.lanes.iter().filter(|lane| self.widths.check_workflow(lane.workflow.as_deref(), now).is_ok());
        free.saturating_sub(open.map(|lane| lane.ready.len()).fold(0, usize::saturating_add))
    }

    /// The earliest time at which a delivery that is not in flight is due, the present if one is due already.
    pub fn next_due(&mut self, now: Timestamp) -> Option<Timestamp> {
        self.advance(now);
        let is_due = self.lanes.iter().any(|lane| !lane.ready.is_empty());
        if is_due { Some(now) } else { self.later.first().map(|(due, _)| *due) }
    }

    /// When there may be [`room`](Self::room) again without the end of a request, if there is none now.
    pub fn opens(&mut self, now: Timestamp) -> Option<Timestamp> {
        self.widths.expire(now);
        match self.widths.check_engine(now) {
            Err(Blocked::Engine(until)) => until,
            _ => None,
        }
    }

    /// The references of which nothing can start now: workflows whose width is used up, and runs with a callback that
    /// has its turn.
    pub fn busy(&mut self, now: Timestamp) -> Vec<&str> {
        self.advance(now);
        self.widths.expire(now);
        let full = self.lanes.iter().filter_map(|lane| lane.workflow.as_deref());
        let full = full.filter(|workflow| self.widths.check_workflow(Some(workflow), now).is_err());
        let runs = self.groups.iter().filter(|group| group.kind == Kind::Run && group.front.is_some());
        full.chain(runs.map(|run| run.name.as_str())).collect()
    }

    /// Decides what to do now. Call it again after [`Decision::Start`], after each [`end`](Self::end), and at the time
    /// of [`Decision::Wait`].
    pub fn next(&mut self, now: Timestamp) -> Decision {
        self.advance(now);
        if self.items.is_empty() {
            return Decision::Done;
        }
        self.widths.expire(now);
        if let Err(Blocked::Engine(until)) = self.widths.check_engine(now) {
            return Decision::Wait(until);
        }
        let mut until = self.later.first().map(|(due, _)| *due);
        let mut after = None;
        while let Some((due, id, lane)) = self.head_after(after) {
            let workflow = self.lanes.get(lane).and_then(|lane| lane.workflow.as_deref());
            let Some(item) = self.items.get(&id) else { break };
            match self.widths.check(workflow, item.bytes, now) {
                Err(Blocked::Workflow(opens)) => {
                    until = earlier(until, opens);
                    after = Some((due, id, lane));
                }
                // A large one isn't overtaken by small ones, or it might never start.
                Err(Blocked::Bytes) => return Decision::Wait(None),
                Err(Blocked::Engine(opens)) => return Decision::Wait(opens),
                Ok(()) if self.is_key_in_flight(id) => self.await_key(id),
                Ok(()) => return self.start(id, now),
            }
        }
        Decision::Wait(until)
    }

    /// Ends an attempt.
    pub fn end(&mut self, id: DeliveryId, answer: Answer, next: Next, now: Timestamp) {
        let Some(item) = self.items.get_mut(&id).filter(|item| matches!(item.state, State::Engine(_))) else { return };
        let State::Engine(slot) = std::mem::replace(&mut item.state, State::Turn) else { return };
        let (key, group) = (item.key.clone(), item.group);
        self.in_flight = self.in_flight.saturating_sub(1);
        self.widths.end(slot, answer, now);
        if let Some(key) = key {
            self.free_key(&key);
        }
        match next {
            Next::Again(due) => {
                if let Some(item) = self.items.get_mut(&id) {
                    item.due = due;
                }
                self.await_time(id);
                match group {
                    // It keeps its turn, unless one that comes before it was added meanwhile.
                    Some(queue) if self.is_queue(queue) => self.fix_front(queue),
                    Some(run) => self.leave_group(run, id),
                    None => {}
                }
            }
            Next::Gone | Next::Returned => {
                if let Some(group) = group {
                    self.leave_group(group, id);
                }
                self.items.remove(&id);
            }
        }
        if next == Next::Gone {
            self.widths.conclude(1);
        }
    }

    /// Removes the deliveries that are not in flight, and returns their ids: those that a pass gives back at its end.
    pub fn remove_waiting(&mut self) -> Vec<DeliveryId> {
        let is_waiting = |item: &Item| !matches!(item.state, State::Engine(_));
        let waiting: Vec<_> = self.items.iter().filter(|(_, item)| is_waiting(item)).map(|(id, _)| *id).collect();
        for id in &waiting {
            self.withdraw(*id);
        }
        for group in &mut self.groups {
            let items = &self.items;
            let is_in_flight = |id: &DeliveryId| items.get(id).is_some_and(|item| !is_waiting(item));
            group.members.retain(|(_, id)| is_in_flight(id));
            group.front = group.front.filter(is_in_flight);
        }
        self.items.retain(|_, item| !is_waiting(item));
        waiting
    }

    fn start(&mut self, id: DeliveryId, now: Timestamp) -> Decision {
        self.withdraw(id);
        if let Some(item) = self.items.get_mut(&id) {
            let workflow = self.lanes.get(item.lane).and_then(|lane| lane.workflow.as_deref());
            item.state = State::Engine(self.widths.start(workflow, item.bytes, now));
            if let Some(key) = &item.key {
                self.keys.entry(key.clone()).or_default().in_flight = true;
            }
            self.in_flight = self.in_flight.saturating_add(1);
        }
        Decision::Start(id)
    }

    /// Gives those that are due by now their turn.
    fn advance(&mut self, now: Timestamp) {
        while let Some((due, id)) = self.later.first().copied()
            && due <= now
        {
            self.later.pop_first();
            match self.items.get(&id).and_then(|item| item.group).filter(|group| !self.is_queue(*group)) {
                Some(run) => {
                    self.set_state(id, State::Turn);
                    self.join(run, id);
                }
                None => self.await_width(id),
            }
        }
    }

    fn await_time(&mut self, id: DeliveryId) {
        self.set_state(id, State::Time);
        if let Some(item) = self.items.get(&id) {
            self.later.insert((item.due, id));
        }
    }

    fn await_width(&mut self, id: DeliveryId) {
        self.set_state(id, State::Width);
        if let Some(item) = self.items.get(&id)
            && let Some(lane) = self.lanes.get_mut(item.lane)
        {
            lane.ready.insert((item.due, id));
            let lane = item.lane;
            self.fix_head(lane);
        }
    }

    fn await_key(&mut self, id: DeliveryId) {
        self.withdraw(id);
        self.set_state(id, State::Key);
        if let Some(Item { key: Some(key), due, .. }) = self.items.get(&id) {
            self.keys.entry(key.clone()).or_default().waiting.insert((*due, id));
        }
    }

    /// Takes a delivery that is not in flight out of whatever it waits in, except for its group.
    fn withdraw(&mut self, id: DeliveryId) {
        let Some(item) = self.items.get_mut(&id) else { return };
        match &item.state {
            State::Time => {
                self.later.remove(&(item.due, id));
            }
            State::Width => {
                let lane = item.lane;
                if let Some(lane) = self.lanes.get_mut(lane) {
                    lane.ready.remove(&(item.due, id));
                }
                item.state = State::Turn;
                return self.fix_head(lane);
            }
            State::Key => {
                if let Some(key) = &item.key
                    && let Some(waiting) = self.keys.get_mut(key)
                {
                    waiting.waiting.remove(&(item.due, id));
                    if !waiting.in_flight && waiting.waiting.is_empty() {
                        self.keys.remove(key);
                    }
                }
            }
            State::Turn => {}
            State::Engine(_) => return,
        }
        item.state = State::Turn;
    }

    fn is_key_in_flight(&self, id: DeliveryId) -> bool {
        let key = self.items.get(&id).and_then(|item| item.key.as_ref());
        key.and_then(|key| self.keys.get(key)).is_some_and(|key| key.in_flight)
    }

    /// Lets the first delivery that waits for a key go on. The others wait for that one.
    fn free_key(&mut self, key: &Rc<str>) {
        let Some(freed) = self.keys.get_mut(key) else { return };
        freed.in_flight = false;
        match freed.waiting.pop_first() {
            Some((_, id)) => self.await_width(id),
            None => {
                self.keys.remove(key);
            }
        }
    }

    /// Adds a delivery to its group, and gives it the turn if it is the first.
    fn join(&mut self, group: usize, id: DeliveryId) {
        let place = self.items.get(&id).map_or(0, |item| item.place);
        if let Some(group) = self.groups.get_mut(group) {
            group.members.insert((place, id));
        }
        self.fix_front(group);
    }

    fn leave_group(&mut self, group: usize, id: DeliveryId) {
        let place = self.items.get(&id).map_or(0, |item| item.place);
        if let Some(group) = self.groups.get_mut(group) {
            group.members.remove(&(place, id));
            group.front = group.front.filter(|front| *front != id);
        }
        self.fix_front(group);
    }

    /// Gives the turn to the first member, unless another one is in flight.
    fn fix_front(&mut self, index: usize) {
        let Some(group) = self.groups.get(index) else { return };
        let first = group.members.first().map(|(_, id)| *id);
        let is_in_flight = |id| self.items.get(&id).is_some_and(|item| matches!(item.state, State::Engine(_)));
        if group.front == first || group.front.is_some_and(is_in_flight) {
            return;
        }
        if let Some(front) = group.front {
            self.withdraw(front);
        }
        if let Some(group) = self.groups.get_mut(index) {
            group.front = first;
        }
        if let Some(first) = first {
            if self.is_queue(index) { self.await_time(first) } else { self.await_width(first) }
        }
    }

    /// Keeps [`heads`](Self::heads) in step with a lane.
    fn fix_head(&mut self, index: usize) {
        let Some(lane) = self.lanes.get_mut(index) else { return };
        let head = lane.ready.first().copied();
        if head == lane.head {
            return;
        }
        if let Some((due, id)) = std::mem::replace(&mut lane.head, head) {
            self.heads.remove(&(due, id, index));
        }
        if let Some((due, id)) = head {
            self.heads.insert((due, id, index));
        }
    }

    fn head_after(&self, after: Option<(Timestamp, DeliveryId, usize)>) -> Option<(Timestamp, DeliveryId, usize)> {
        use std::ops::Bound::{Excluded, Unbounded};
        self.heads.range((after.map_or(Unbounded, Excluded), Unbounded)).next().copied()
    }

    fn set_state(&mut self, id: DeliveryId, state: State) {
        if let Some(item) = self.items.get_mut(&id) {
            item.state = state;
        }
    }

    fn is_queue(&self, group: usize) -> bool {
        self.groups.get(group).is_some_and(|group| group.kind == Kind::Queue)
    }

    fn lane(&mut self, workflow: Option<String>) -> usize {
        let lanes = &mut self.lanes;
        *self.lane_of.entry(workflow).or_insert_with_key(|workflow| {
            lanes.push(Lane { workflow: workflow.clone(), ready: BTreeSet::new(), head: None });
            lanes.len().saturating_sub(1)
        })
    }

    fn group(&mut self, kind: Kind, name: String) -> usize {
        let groups = &mut self.groups;
        *self.group_of.entry((kind, name)).or_insert_with_key(|(kind, name)| {
            groups.push(Group { kind: *kind, name: name.clone(), members: BTreeSet::new(), front: None });
            groups.len().saturating_sub(1)
        })
    }
}

fn earlier(one: Option<Timestamp>, other: Option<Timestamp>) -> Option<Timestamp> {
    one.into_iter().chain(other).min()
}
