//! The life of a run that the engine saves and does not queue: every fault at every step of it.
//!
//! An event is sent to the gateway until it is accepted, and drained until nothing is pending. The first submit meets a
//! fault, and a second fault follows at each later operation of the gateway: the engine or Flow dies, stalls, or gets a
//! request late, the gateway's instance ends, or somebody cancels the run.

use std::collections::BTreeMap;
use std::ops::Range;

use serde_json::{Value, json};
use sluice::ports::Clock;
use sluice_engine_model::{Record, Settings, Status, Step};

use crate::fake::{Action, DRAIN_URI, OPERATOR, Operation, Profile, Reply, Workflow, World, request};

/// `engine_timeout_ms` and the margin for the clocks, in milliseconds.
const DEADLINE: u64 = 11_000;
/// `orphan_after_ms`.
const ORPHAN_AFTER: u64 = 300_000;
/// Shorter and longer than the 5 s after the engine's own 500, `engine_timeout_ms` and `orphan_after_ms`, and longer
/// than all of them together.
const TIMES: [u64; 7] = [4_000, 6_000, 9_000, 12_000, 290_000, 310_000, 700_000];
/// Those of second faults.
const FEWER_TIMES: [u64; 4] = [6_000, 12_000, 310_000, 700_000];
/// The writes of a submit at which a request can stall.
const STALLS: [Step; 3] = [Step::RunSaved, Step::TasksSaved(2), Step::RunQueued];
/// The writes of a submit at which the engine can die.
const DEATHS: [Step; 5] =
    [Step::RunSaved, Step::TasksSaved(1), Step::TasksSaved(2), Step::TasksSaved(3), Step::RunQueued];

/// A fault, and the number of the operation at which it happens.
type Fault = (usize, Action);

/// How an event ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum End {
    /// One run runs or ran.
    Started,
    /// There is a dead letter, and no run that runs or ran.
    Dead,
    /// Somebody has cancelled the run before the gateway did, and that was the end.
    CancelledByHand,
    /// Somebody has cancelled the run during its submit, which the engine then refused: a dead letter that can't name
    /// the run.
    Refused,
    /// Two runs run or ran.
    Twice,
    /// The gateway has delivered it, and no run of it runs or ran.
    Nothing,
}

const UNNAMED: &str = "a dead letter without run";

/// A whole life, and what can be asked about it.
struct Life {
    profile: Profile,
    workflow: Workflow,
    faults: Vec<Fault>,
    operations: Vec<Operation>,
    /// The operations of each pass of the drain.
    passes: Vec<Range<usize>>,
    runs: Vec<Record>,
    end: End,
    trace: Vec<String>,
    problems: Vec<String>,
    /// What the gateway says of runs that run twice.
    ready: String,
}

/// The course of a life.
#[derive(Default)]
struct Log {
    trace: Vec<String>,
    passes: Vec<Range<usize>>,
}

impl Life {
    fn live(profile: Profile, workflow: Workflow, faults: &[Fault]) -> Self {
        let world = World::real(profile, Settings::default());
        world.plan.faults.borrow_mut().extend_from_slice(faults);
        let mut log = Log::default();
        let mut problems = Vec::new();
        accept(&world, workflow, &mut log).unwrap_or_else(|| problems.push("never accepted".to_owned()));
        for _ in 0..2 {
            drain_all(&world, &mut log).unwrap_or_else(|| problems.push("still pending".to_owned()));
            // All that stalls or is late has its time, and the next scan comes.
            pass(&world, 1_000_000);
        }
        let runs: Vec<_> = world.engine_model().model.borrow().runs().cloned().collect();
        let operations = world.plan.operations.take();
        let count = runs.iter().filter(|record| ran(record)).count();
        let by_hand = world.plan.by_hand.get().filter(|at| is_known(*at, &operations));
        let letters = world.dead_letters();
        let end = match count {
            0 if letters.contains("WORKFLOWRUN_INVALID_PHASE") && world.plan.by_hand.get().is_some() => End::Refused,
            0 if !letters.is_empty() => End::Dead,
            0 if by_hand.is_some() => End::CancelledByHand,
            0 => End::Nothing,
            1 => End::Started,
            _ => End::Twice,
        };
        if end == End::Dead {
            let unnamed = runs.iter().filter(|record| !ran(record) && !letters.contains(&record.run.id));
            problems.extend(unnamed.map(|record| format!("{UNNAMED} {}: {letters}", record.run.id)));
            // A second submit failed too, or Flow doesn't cancel a run that it has not tied to the team.
            let is_untied = profile == Profile::Flow && runs.iter().any(|record| record.team.is_none());
            if runs.len() < 2 && !is_untied {
                problems.push(format!("dead after one submit: {letters}"));
            }
        }
        if by_hand.is_some_and(|at| operations[at + 1..].contains(&Operation::Submit)) {
            problems.push("submitted again after somebody had cancelled it".to_owned());
        }
        let Log { trace, passes } = log;
        let ready = world.get("/readyz").text().to_owned();
        Self { profile, workflow, faults: faults.to_vec(), operations, passes, runs, end, trace, problems, ready }
    }

    /// Whether something is promised that isn't so.
    fn is_wrong(&self) -> bool {
        // A run that the engine saves too late can't be named either.
        let residue = self.is_residue();
        let is_wrong = |problem: &String| !(residue && problem.starts_with(UNNAMED));
        self.problems.iter().any(is_wrong) || self.end == End::Nothing || (self.end == End::Twice && !residue)
    }

    /// The operations at which a second fault is worth a life: not those of a pass between two of the same operations,
    /// as while a run is in doubt.
    fn places(&self) -> Vec<usize> {
        let shape = |pass: &Range<usize>| self.operations[pass.clone()].to_vec();
        let shapes: Vec<_> = self.passes.iter().map(shape).collect();
        let is_between =
            |nth: usize| nth > 0 && shapes[nth - 1] == shapes[nth] && shapes.get(nth + 1) == Some(&shapes[nth]);
        let skipped: Vec<_> = (0..shapes.len()).filter(|nth| is_between(*nth)).map(|nth| &self.passes[nth]).collect();
        (0..self.operations.len()).filter(|at| !skipped.iter().any(|pass| pass.contains(at))).collect()
    }

    /// Whether a fault is one against which nothing helps: the engine saves or queues a run after it has had its time.
    fn is_residue(&self) -> bool {
        self.faults.iter().any(|(at, fault)| {
            let is_submit = self.operations.get(*at) == Some(&Operation::Submit);
            match fault {
                // The request arrives after the gateway has looked for its run.
                Action::Delay(ms) => is_submit && *ms >= DEADLINE,
                // The engine queues its own copy after the run was cancelled for good.
                Action::StallAt(Step::RunSaved | Step::TasksSaved(_), ms) => *ms >= ORPHAN_AFTER,
                _ => false,
            }
        })
    }

    fn print(&self) {
        println!("{:?} {:?} {:?}: {:?} {:?}", self.profile, self.workflow, self.faults, self.end, self.problems);
        println!("    operations {:?}", self.operations);
        let runs = self.runs.iter().map(|record| {
            format!("{} {} started {:?}", record.run.id, record.run.status.name(), record.run.start_time)
        });
        println!("    runs {:?}", runs.collect::<Vec<_>>());
        for line in &self.trace {
            println!("    {line}");
        }
    }
}

/// Whether the run runs or ran, or will by what the engine says of it.
fn ran(record: &Record) -> bool {
    let run = &record.run;
    run.start_time.is_some() || !matches!(run.status, Status::NotStarted | Status::Cancelled | Status::Invalid)
}

/// Whether the gateway can know that somebody else cancelled the run after this operation. It can't if it has cancelled
/// the run itself, or has seen it as one that isn't started, and cancels it next.
fn is_known(at: usize, operations: &[Operation]) -> bool {
    let (before, after) = operations.split_at(at + 1);
    let next = after.iter().find(|operation| **operation != Operation::Write);
    !before.contains(&Operation::Cancel) && next != Some(&Operation::Cancel)
}

fn pass(world: &World, ms: u64) {
    world.run(world.sleep(std::time::Duration::from_millis(ms)));
}

/// Sends the event until it is accepted.
fn accept(world: &World, workflow: Workflow, log: &mut Log) -> Option<()> {
    let event = json!({"specversion": "1.0", "id": "1", "source": "/s", "type": "t", "data": {"n": 1}}).to_string();
    let uri = format!("/api/v2/event?ref={}", workflow.id());
    let headers = [("content-type", "application/cloudevents+json")];
    let begin = world.now();
    for _ in 0..20 {
        let sending = async {
            let (reply, background): (Reply, _) = world.handle(request("POST", &uri, &headers, &event)).await;
            let status = reply.status();
            world.finish(background).await;
            status
        };
        let sent = world.now();
        let status = world.run_or_crash(sending);
        log.trace.push(format!("+{} ms: sent, answered {status:?} by +{}", sent - begin, world.now() - begin));
        if status.is_some_and(|status| matches!(status, 200 | 202)) {
            return Some(());
        }
        // The sender tries again, as senders do, and meanwhile there is a drain.
        drain(world, log);
        pass(world, 5_000);
    }
    None
}

fn drain(world: &World, log: &mut Log) -> Option<Value> {
    let begin = world.now();
    let before = world.plan.operations.borrow().len();
    let reply = world.run_or_crash(async {
        let (reply, background) = world.handle(request("POST", DRAIN_URI, &[OPERATOR], "")).await;
        world.finish(background).await;
        reply
    });
    let requests: Vec<_> = world.plan.operations.borrow()[before..].to_vec();
    log.passes.push(before..before + requests.len());
    let summary = reply.map(|reply| reply.json());
    if !requests.is_empty() {
        let text = summary.as_ref().map_or("crashed".to_owned(), Value::to_string);
        log.trace.push(format!("{}: drain {requests:?} {text}", begin % 10_000_000));
    }
    summary
}

/// Drains whenever something is due, until nothing is pending.
fn drain_all(world: &World, log: &mut Log) -> Option<()> {
    for _ in 0..400 {
        let summary = drain(world, log);
        let idle = summary.as_ref().is_some_and(|summary| summary["pending"] == 0 && summary["stopped"].is_null());
        let due = world.due();
        if idle && due.is_none() {
            return Some(());
        }
        let went_through = summary.is_some_and(|summary| summary["stopped"].is_null());
        let wait = due.map_or(0, |due| due.saturating_sub(world.now()));
        pass(world, if went_through { wait.max(1_000) + 37 } else { 5_037 });
    }
    None
}

/// The faults of the first submit, which is this operation.
fn first_faults(profile: Profile, submit: usize) -> Vec<Vec<Fault>> {
    let mut faults = vec![Vec::new(), vec![(submit, Action::Kill)]];
    faults.extend(DEATHS.map(|step| vec![(submit, Action::DieAt(step))]));
    if profile == Profile::Flow {
        faults.extend([Step::RunSubmitted, Step::RunTied].map(|step| vec![(submit, Action::DieAt(step))]));
    }
    for time in TIMES {
        faults.extend(STALLS.map(|step| vec![(submit, Action::StallAt(step, time))]));
        faults.extend([Action::Delay(time), Action::Freeze(time)].map(|fault| vec![(submit, fault)]));
    }
    faults
}

/// The faults that can happen at an operation.
fn second_faults(profile: Profile, operation: Operation) -> Vec<Action> {
    let mut faults = vec![Action::Crash, Action::CancelByHand];
    if operation == Operation::Write {
        return faults;
    }
    faults.push(Action::Kill);
    faults.extend(FEWER_TIMES.into_iter().flat_map(|time| [Action::Delay(time), Action::Freeze(time)]));
    match operation {
        Operation::Submit => {
            faults.extend(DEATHS.map(Action::DieAt));
            faults.extend(FEWER_TIMES.into_iter().flat_map(|time| STALLS.map(|step| Action::StallAt(step, time))));
            if profile == Profile::Flow {
                faults.extend([Step::RunSubmitted, Step::RunTied].map(Action::DieAt));
            }
        }
        Operation::Cancel => {
            faults.push(Action::DieAt(Step::RunCancelled));
            faults.extend(FEWER_TIMES.map(|time| Action::StallAt(Step::RunCancelled, time)));
        }
        _ => {}
    }
    faults
}

/// Lives all lives of a workflow's event, and checks each.
fn walk(profile: Profile, workflow: Workflow) -> BTreeMap<(End, bool), usize> {
    let healthy = Life::live(profile, workflow, &[]);
    let submit = healthy.operations.iter().position(|operation| *operation == Operation::Submit).unwrap();
    let mut ends = BTreeMap::new();
    let mut wrong = 0;
    let mut check = |life: &Life| {
        *ends.entry((life.end, life.is_residue())).or_default() += 1;
        if life.is_wrong() {
            wrong += 1;
            if wrong <= 40 {
                life.print();
            }
        }
    };
    for first in first_faults(profile, submit) {
        let life = Life::live(profile, workflow, &first);
        check(&life);
        for at in life.places() {
            for second in second_faults(profile, life.operations[at]) {
                let is_same = first.iter().any(|(number, _)| *number == at) && second != Action::Crash;
                if !is_same {
                    check(&Life::live(profile, workflow, &[&first[..], &[(at, second)]].concat()));
                }
            }
        }
    }
    println!("{profile:?} {workflow:?}: {ends:?}");
    assert_eq!(wrong, 0);
    ends
}

/// The residue by itself: the first faults with which an event runs twice.
#[on_each_store]
fn event_runs_twice_only_if_its_submit_outlasts_every_limit() {
    let healthy = Life::live(Profile::Boomerang, Workflow::Waits, &[]);
    let submit = healthy.operations.iter().position(|operation| *operation == Operation::Submit).unwrap();
    let twice = |faults: &[Fault]| Life::live(Profile::Boomerang, Workflow::Waits, faults).end == End::Twice;
    let faults = first_faults(Profile::Boomerang, submit);
    let found: Vec<_> = faults.iter().filter(|faults| twice(faults)).map(|faults| faults[0].1).collect();
    let mut expected = TIMES[3..].iter().map(|ms| Action::Delay(*ms)).collect::<Vec<_>>();
    expected.extend([Step::RunSaved, Step::TasksSaved(2)].map(|step| Action::StallAt(step, 700_000)));
    assert!(found.len() == expected.len() && expected.iter().all(|fault| found.contains(fault)), "{found:?}");

    // The submit goes on after both looks have shown its run as cancelled: 300 s, then 10 s, and the time that the gateway
    // takes in between. If it goes on before the last look, both runs are named.
    let mut ends = BTreeMap::<_, Vec<u64>>::new();
    for ms in (309_900..311_100).step_by(4) {
        let life = Life::live(Profile::Boomerang, Workflow::Waits, &[(submit, Action::StallAt(Step::RunSaved, ms))]);
        let is_named = life.runs.len() == 2 && life.runs.iter().all(|record| life.ready.contains(&record.run.id));
        ends.entry((life.end, is_named)).or_default().push(ms);
    }
    let range = |end: &(End, bool)| ends.get(end).map(|times| (*times.first().unwrap(), *times.last().unwrap()));
    let [once, named, unnamed] =
        [(End::Started, false), (End::Twice, true), (End::Twice, false)].map(|end| range(&end));
    println!("one run: {once:?}, two that are named: {named:?}, two: {unnamed:?}");
    assert_eq!(ends.len(), 3, "{ends:?}");
    let (once, named, unnamed) = (once.unwrap(), named.unwrap(), unnamed.unwrap());
    assert!(once.1 >= 310_000 && once.1 < named.0 && named.1 < unnamed.0, "{ends:?}");
}

#[on_each_store]
fn orphans_of_the_engine_end_well() {
    walk(Profile::Boomerang, Workflow::Waits);
}

#[on_each_store]
fn orphans_behind_flow_end_well() {
    walk(Profile::Flow, Workflow::Waits);
}

#[on_each_store]
fn imageless_orphans_end_well() {
    walk(Profile::Boomerang, Workflow::Shell);
}
