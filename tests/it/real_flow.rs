//! The gateway in front of the model of the real engine, in virtual time: many senders at once, events in the windows
//! in which the engine loses them, imageless tasks, and an engine that dies under load.
//!
//! Each scenario counts what became of what was accepted. The gateway before this one, which neither looked at runs nor
//! read their status, lost with seed 1: 47 of 200 callbacks soon after a start, 49 of 200 at the end of the task before,
//! 20 of 20 events for an imageless workflow, 40 of 1,500 events while the engine died, and on the stale store it
//! answered 200 to 2 of 200 callbacks that another one overruled.

use std::future::Future;
use std::pin::pin;
use std::time::Duration;

use futures_util::future::{Either, join, join_all, select};
use serde_json::{Value, json};
use sluice::ports::Clock;
use sluice_engine_model::{Agent, Json, Phase, Record, Settings, Status, Step, Timing};

use crate::fake::{DRAIN_URI, JSON, Lag, OPERATOR, Profile, Reply, Workflow, World, request};

/// The seed of the recorded model's choices.
const SEED: u64 = 1;
/// A store on this machine.
const EXACT: Lag = Lag { operation: 1, stale: 0 };
/// A store whose replicas agree after a while.
const STALE: Lag = Lag { operation: 1, stale: 40 };

fn settings(lost_percent: u64) -> Settings {
    Settings { seed: SEED, timing: Timing { lost_percent, ..Timing::default() }, ..Settings::default() }
}

fn world(profile: Profile, lag: Lag, settings: Settings) -> World {
    let world = World::real(profile, settings);
    world.set_lag(Some(lag));
    world
}

/// Waits in virtual time, while the engine goes on.
fn pass(world: &World, ms: u64) {
    world.run(world.sleep(Duration::from_millis(ms)));
}

/// Runs senders at once, with a pass of the drain each second, until all have ended.
fn run_with_drain<T>(world: &World, senders: impl IntoIterator<Item = impl Future<Output = T>>) -> Vec<T> {
    let drain = async {
        loop {
            world.sleep(Duration::from_secs(1)).await;
            let (_, background) = world.handle(request("POST", DRAIN_URI, &[OPERATOR], "")).await;
            world.finish(background).await;
        }
    };
    world.run(async {
        match select(pin!(join_all(senders)), pin!(drain)).await {
            Either::Left((ended, _)) => ended,
            Either::Right(((), _)) => unreachable!("the drain goes on"),
        }
    })
}

/// Drains until nothing is pending.
fn settle(world: &World) {
    for nth in 0..20_000_u64 {
        pass(world, if nth < 60 { 1_000 } else { 60_000 });
        let summary = world.drain();
        if summary["pending"] == 0 && summary["stopped"].is_null() {
            // The next scan without a notification.
            pass(world, 16 * 60_000);
            if world.drain()["pending"] == 0 {
                return;
            }
        }
    }
    panic!("still pending: {:?}", world.pending());
}

/// Sends a request, and goes on once it is answered, while the gateway may still be at work on it.
async fn send_then<T>(world: &World, uri: &str, body: String, then: impl AsyncFnOnce(Reply) -> T) -> T {
    let (reply, background) = world.handle(request("POST", uri, &[JSON], body)).await;
    join(then(reply), world.finish(background)).await.0
}

/// Starts a workflow by webhook, and returns the answer.
async fn start<T>(world: &World, workflow: Workflow, body: Value, then: impl AsyncFnOnce(Reply) -> T) -> T {
    let uri = format!("/api/v2/webhook?ref={}", workflow.id());
    send_then(world, &uri, body.to_string(), then).await
}

async fn call_back(world: &World, run: &str, status: &'static str, n: u64) -> Sent {
    let uri = format!("/api/v2/callback?ref={run}&topic=approval&status={status}");
    send_then(world, &uri, json!({"n": n}).to_string(), async |reply| Sent {
        run: run.to_owned(),
        status,
        n,
        answer: reply.status(),
        delivery: reply.delivery(),
    })
    .await
}

/// A callback that was sent, and its answer.
#[derive(Clone, Debug)]
struct Sent {
    run: String,
    status: &'static str,
    n: u64,
    answer: u16,
    delivery: String,
}

/// The status of the nth callback.
fn status_of(n: u64) -> &'static str {
    if n.is_multiple_of(3) { "failed" } else { "succeeded" }
}

/// 200 runs, each with a callback between `from` and `from` plus 500 ms after the answer to its start.
fn callbacks_after_start(world: &World, workflow: Workflow, from: u64) -> Vec<Sent> {
    let senders = (0..200_u64).map(async |n| {
        world.sleep(Duration::from_millis(n * 20)).await;
        start(world, workflow, json!({"n": n}), async |reply| {
            assert_eq!(reply.status(), 200, "{}", reply.text());
            let run = reply.json()["id"].as_str().unwrap().to_owned();
            world.sleep(Duration::from_millis(from + n * 500 / 199)).await;
            call_back(world, &run, status_of(n), n).await
        })
        .await
    });
    let sent = run_with_drain(world, senders);
    settle(world);
    sent
}

/// What became of callbacks that were sent once for each run.
#[derive(Debug, Default, PartialEq, Eq)]
struct Fates {
    /// The run ended, and its task with the status and the payload that were sent.
    right: usize,
    /// Answered 200, and the run never ends.
    hangs_after_200: usize,
    /// Answered 202, and the run never ends.
    hangs_after_202: usize,
    /// The task ended with another status or payload.
    differs: usize,
    /// The answers that are neither 200 nor 202.
    refused: usize,
}

impl Fates {
    fn of(world: &World, sent: &[Sent]) -> Self {
        let mut fates = Self::default();
        for sent in sent {
            let record = world.engine_model().run(&sent.run);
            let task = record.task("approve").unwrap();
            let is_right = task.status.name() == sent.status && data(&record) == [Some(sent.n)];
            let count = match sent.answer {
                200 if !is_over(record.run.phase) => &mut fates.hangs_after_200,
                202 if !is_over(record.run.phase) => &mut fates.hangs_after_202,
                200 | 202 if is_right => &mut fates.right,
                200 | 202 => &mut fates.differs,
                _ => &mut fates.refused,
            };
            *count += 1;
            if !is_right {
                println!("{sent:?}: run {}, task {}", record.run.status.name(), task.status.name());
            }
        }
        fates
    }
}

fn is_over(phase: Phase) -> bool {
    matches!(phase, Phase::Completed | Phase::Finalized)
}

/// The `n` of each result `data` of the task that waits.
fn data(record: &Record) -> Vec<Option<u64>> {
    let results = record.task("approve").unwrap().results.iter();
    let of_data = results.filter(|result| result.name.as_deref() == Some("data"));
    let n = |value: &Json| value.get("n").map(Json::to_java).and_then(|n| n.parse().ok());
    of_data.map(|result| n(&result.value)).collect()
}

/// Tries callbacks with each profile, and with an engine that loses all events in its windows, or a third.
fn try_callbacks(workflow: Workflow, from: u64) {
    for profile in Profile::ALL {
        for lost_percent in [100, 33] {
            let world = world(profile, EXACT, settings(lost_percent));
            let sent = callbacks_after_start(&world, workflow, from);
            let fates = Fates::of(&world, &sent);
            let at_once = sent.iter().filter(|sent| sent.answer == 200).count();
            println!("{profile:?}, lost_percent {lost_percent}, seed {SEED}: {at_once} with 200, {fates:?}");
            assert_eq!(fates, Fates { right: 200, ..Fates::default() });
        }
    }
}

#[on_each_store]
fn callbacks_soon_after_a_start_end_their_runs() {
    try_callbacks(Workflow::Waits, 0);
}

#[on_each_store]
fn callbacks_at_the_end_of_the_task_before_end_their_runs() {
    // The sleep ends 4,216 ms after the start.
    try_callbacks(Workflow::Naplit, 4_116);
}

/// A start that was answered 200 or 202.
struct Accepted {
    /// In the payload.
    n: u64,
    delivery: String,
    answer: u16,
}

impl Accepted {
    fn of(n: u64, reply: &Reply) -> Option<Self> {
        let answer = reply.status();
        matches!(answer, 200 | 202).then(|| Self { n, delivery: reply.delivery(), answer })
    }
}

/// What became of accepted events.
#[derive(Debug, Default, PartialEq, Eq)]
struct Starts {
    /// One run that runs or ran.
    one: usize,
    /// More than one.
    more: usize,
    /// None, with a dead letter.
    dead: usize,
    /// None, and no dead letter: called delivered without a start.
    never: usize,
    /// Of `never`, those that were answered 200.
    never_after_200: usize,
    /// Of `one`, those whose run the engine has left without a task that goes on, as it died.
    stuck: usize,
}

impl Starts {
    fn of(world: &World, accepted: &[Accepted]) -> Self {
        let mut starts = Self::default();
        let dead = world.dead();
        for Accepted { n, delivery, answer } in accepted {
            let runs = world.engine_model().runs_with(*n);
            let started: Vec<_> = runs.iter().filter(|record| is_started(record)).collect();
            match started[..] {
                [run] => {
                    starts.one += 1;
                    let waits = run.task("approve").is_none_or(|task| task.status == Status::Waiting);
                    starts.stuck += usize::from(run.run.phase == Phase::Running && !waits);
                }
                [] if dead.contains(delivery) => starts.dead += 1,
                [] => {
                    starts.never += 1;
                    starts.never_after_200 += usize::from(*answer == 200);
                    let runs: Vec<_> = runs.iter().map(|record| record.run.status.name()).collect();
                    println!("never started: {delivery}, answered {answer}, runs {runs:?}");
                }
                _ => {
                    starts.more += 1;
                    let runs: Vec<_> = runs.iter().map(|record| record.run.status.name()).collect();
                    println!("started more than once: {delivery}, answered {answer}, runs {runs:?}");
                }
            }
        }
        starts
    }
}

fn is_started(record: &Record) -> bool {
    !matches!(record.run.status, Status::NotStarted | Status::Cancelled | Status::Invalid)
}

/// The accepted of so many webhooks for a workflow, by delivery, with their answers, once all is drained.
fn submits(world: &World, workflow: Workflow, count: u64) -> Vec<Accepted> {
    let senders = (0..count).map(async |n| {
        world.sleep(Duration::from_millis(n * 50)).await;
        start(world, workflow, json!({"n": n}), async |reply| Accepted::of(n, &reply)).await
    });
    let answers = run_with_drain(world, senders);
    settle(world);
    answers.into_iter().flatten().collect()
}

#[on_each_store]
fn imageless_workflow_becomes_dead_letters_that_say_why() {
    let world = world(Profile::Boomerang, EXACT, settings(100));
    let accepted = submits(&world, Workflow::Shell, 20);
    let starts = Starts::of(&world, &accepted);
    println!("seed {SEED}: of {} accepted {starts:?}", accepted.len());
    assert_eq!(starts, Starts { dead: 20, ..Starts::default() });
    for Accepted { n, delivery, .. } in &accepted {
        let letter = world.as_operator("GET", &format!("/api/v2/deliveries/{delivery}"));
        let runs = world.engine_model().runs_with(*n);
        assert_eq!(runs.len(), 2, "one submit, and one more");
        assert!(runs.iter().all(|record| letter.text().contains(&record.run.id)), "{}", letter.text());
        assert!(letter.text().contains("image"), "{}", letter.text());
    }
}

#[on_each_store]
fn imageless_workflow_starts_with_a_default_image() {
    let with_image = json!({"default_image": "boomerangio/worker-flow:2.11.15"});
    for (profile, settings_of_engine) in [(Profile::Boomerang, Some(with_image)), (Profile::Flow, None)] {
        let mut world = world(profile, EXACT, settings(100));
        if let Some(settings) = settings_of_engine {
            world = world.setting("engine", settings);
        }
        let accepted = submits(&world, Workflow::Shell, 20);
        let starts = Starts::of(&world, &accepted);
        assert_eq!(accepted.iter().filter(|accepted| accepted.answer == 200).count(), 20);
        assert_eq!((starts.one, accepted.len()), (20, 20), "{profile:?}: {starts:?}");
    }
}

/// The writes of a submit.
const SUBMIT_STEPS: [Step; 7] = [
    Step::RunSaved,
    Step::TasksSaved(1),
    Step::TasksSaved(2),
    Step::TasksSaved(3),
    Step::RunQueued,
    Step::RunSubmitted,
    Step::RunTied,
];

/// An engine, with Flow in front of it if the profile is that, which dies 50 times while three senders deliver.
fn deaths_under_load(profile: Profile) {
    let with_agent = Settings { agent: Some(Agent { poll_ms: 200 }), ..settings(100) };
    let world = world(profile, EXACT, with_agent).setting("engine_start", false);
    let steps = if profile == Profile::Flow { &SUBMIT_STEPS[..] } else { &SUBMIT_STEPS[..5] };
    let deaths = async {
        for step in steps.iter().cycle().take(50) {
            world.sleep(Duration::from_secs(3)).await;
            world.engine_model().model.borrow_mut().die_at(*step);
        }
        Vec::new()
    };
    let senders = (0..3_u64).map(async |sender| {
        let mut answers = Vec::new();
        for n in 0..500_u64 {
            let n = sender * 500 + n;
            let event =
                json!({"specversion": "1.0", "id": n.to_string(), "source": "/s", "type": "t", "data": {"n": n}});
            let uri = format!("/api/v2/event?ref={}", Workflow::Waits.id());
            let headers = [("content-type", "application/cloudevents+json")];
            let (reply, background) = world.handle(request("POST", &uri, &headers, event.to_string())).await;
            answers.push(Accepted::of(n, &reply));
            world.finish(background).await;
            world.sleep(Duration::from_millis(300)).await;
        }
        answers
    });
    let senders = senders.map(Either::Left).chain([Either::Right(deaths)]);
    let accepted: Vec<_> = run_with_drain(&world, senders).into_iter().flatten().flatten().collect();
    settle(&world);
    let starts = Starts::of(&world, &accepted);
    let at_once = accepted.iter().filter(|accepted| accepted.answer == 200).count();
    let died = world.engine_model().deaths.get();
    println!("{profile:?}, seed {SEED}: {died} deaths, {} accepted, {at_once} with 200: {starts:?}", accepted.len());
    assert!(died == 50 && accepted.len() == 1_500);
    // Flow cancels no run that it has not tied to the team. Each of those is a dead letter that names it.
    let untied: Vec<_> = accepted.iter().filter(|accepted| is_untied(&world, accepted.n)).collect();
    let unstarted = if profile == Profile::Flow { untied.len() } else { 0 };
    let expected = Starts { one: accepted.len() - unstarted, dead: unstarted, ..Starts::default() };
    assert_eq!(Starts { stuck: 0, ..starts }, expected);
    // The seven times that the engine died at each of these four writes, once more at the first.
    assert!(unstarted == if profile == Profile::Flow { 29 } else { 0 });
    for Accepted { n, delivery, .. } in untied.into_iter().take(unstarted) {
        let letter = world.as_operator("GET", &format!("/api/v2/deliveries/{delivery}"));
        let runs = world.engine_model().runs_with(*n);
        assert!(runs.iter().all(|record| letter.text().contains(&record.run.id)), "{}", letter.text());
    }
}

/// Whether all runs of an event are saved, not started, and belong to no team.
fn is_untied(world: &World, n: u64) -> bool {
    let runs = world.engine_model().runs_with(n);
    runs.iter().all(|record| record.team.is_none() && record.run.status == Status::NotStarted)
}

#[on_each_store]
fn engine_that_dies_under_load_starts_each_event_once() {
    deaths_under_load(Profile::Boomerang);
}

#[on_each_store]
fn flow_that_dies_under_load_starts_each_event_once() {
    deaths_under_load(Profile::Flow);
}

/// Flow dies after the engine has started a run and before Flow ties it to the team. A lookup finds this run, but Flow
/// does not show it.
#[on_each_store]
fn callback_of_a_run_that_flow_does_not_show_is_sent_once_without_a_look() {
    let world = world(Profile::Flow, EXACT, settings(100));
    world.engine_model().model.borrow_mut().die_at(Step::RunSubmitted);
    let submit = format!("/api/v2/webhook?ref={}", Workflow::Waits.id());
    assert_eq!(world.post_json(&submit, r#"{"n":1}"#).status(), 202);
    settle(&world);
    let runs = world.engine_model().runs_with(1);
    let [record] = runs.as_slice() else { panic!("{} runs", runs.len()) };
    assert!(record.team.is_none() && record.run.status == Status::Running);

    let run = &record.run.id;
    let callback = format!("/api/v2/callback?ref={run}&topic=approval&status=failed");
    assert_eq!(world.post_json(&callback, r#"{"n":1}"#).outcome(), (202, Some("pending")));
    let status = || world.engine_model().run(run).task("approve").unwrap().status;
    pass(&world, 9 * 60_000);
    assert_eq!((world.drain()["pending"].as_u64(), status()), (Some(1), Status::Waiting));
    pass(&world, 20 * 60_000);
    assert_eq!(world.drain()["delivered"], 1);
    pass(&world, 1_000);
    assert_eq!(status(), Status::Failed);
    let record = world.as_operator("GET", &format!("/api/v2/callbacks/{run}?topic=approval")).json();
    assert_eq!((&record["state"], &record["unseen"]), (&json!("delivered"), &json!(true)));
    assert_eq!(world.post_json(&callback, r#"{"n":1}"#).outcome(), (200, Some("duplicate")));
    assert_eq!(world.post_json(&callback, r#"{"n":2}"#).status(), 409);
}

/// What became of pairs of callbacks at one moment, of which one says yes and one says no.
#[derive(Debug, Default, PartialEq, Eq)]
struct Pairs {
    /// Answered 200, and the task has its status and payload.
    right: usize,
    /// Answered 200, and the task has another status or payload.
    overruled: usize,
    /// Answered 409.
    refused: usize,
    /// Answered 202, and the task has its status and payload.
    later: usize,
    /// Answered 202, the task has another status or payload, and there is a dead letter.
    dead: usize,
    /// Answered 202, the task has another status or payload, and nothing says so.
    silent: usize,
    /// Tasks that never ended.
    open: usize,
    /// Tasks that have another number of results than one.
    results: usize,
}

fn pairs_at_once(world: &World) -> Pairs {
    let senders = (0..100_u64).map(async |n| {
        start(world, Workflow::Waits, json!({"n": n}), async |reply| {
            assert_eq!(reply.status(), 200, "{}", reply.text());
            let run = reply.json()["id"].as_str().unwrap().to_owned();
            world.sleep(Duration::from_millis(2_000 + n * 37)).await;
            let (yes, no) =
                join(call_back(world, &run, "succeeded", 2 * n), call_back(world, &run, "failed", 2 * n + 1)).await;
            [yes, no]
        })
        .await
    });
    let pairs = run_with_drain(world, senders);
    settle(world);
    let dead = world.dead();
    let mut counts = Pairs::default();
    for pair in &pairs {
        let record = world.engine_model().run(&pair[0].run);
        let task = record.task("approve").unwrap();
        counts.open += usize::from(!is_over(record.run.phase));
        counts.results += usize::from(data(&record).len() != 1);
        for sent in pair {
            let is_right = task.status.name() == sent.status && data(&record) == [Some(sent.n)];
            let count = match sent.answer {
                200 if is_right => &mut counts.right,
                200 => &mut counts.overruled,
                202 if is_right => &mut counts.later,
                202 if dead.contains(&sent.delivery) => &mut counts.dead,
                202 => &mut counts.silent,
                409 => &mut counts.refused,
                other => panic!("{other}"),
            };
            *count += 1;
        }
    }
    counts
}

#[on_each_store]
fn callback_answered_200_is_the_one_that_ended_the_task() {
    for profile in Profile::ALL {
        for (name, lag) in [("exact", EXACT), ("stale", STALE)] {
            let world = world(profile, lag, settings(100));
            let counts = pairs_at_once(&world);
            println!("{profile:?}, {name} store, seed {SEED}: {counts:?}");
            assert_eq!((counts.open, counts.silent), (0, 0));
            if lag.stale == 0 {
                assert_eq!((counts.overruled, counts.right + counts.later), (0, 100));
                assert_eq!(counts.results, 0);
            }
        }
    }
}
