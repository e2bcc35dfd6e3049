//! A fail-over of PostgreSQL to a standby that lacks the last commits, before and after each call to the database.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;

use crate::fake::{
    ASYNC, At, DRAIN_URI, FailOver, Fault, JSON, MINUTE, OPERATOR, Reply, StoreKind, World, request, row,
};

const ROUTES: &str = r#"[{"workflow":"ordered","from":"event","filter":{"exact":{"type":"ordered"}},"ordered":true}]"#;

/// What a sender was told.
#[derive(Clone, Copy, Debug)]
struct Told {
    status: u16,
    /// Whether that was before the fail-over.
    is_before: bool,
}

/// A run of the scenario.
struct Scenario {
    world: World,
    /// What the sender of each workflow or run was told.
    told: RefCell<BTreeMap<&'static str, Told>>,
    restarts: Cell<u32>,
}

impl Scenario {
    fn new() -> Self {
        let world = World::with_operator().with("routes", ROUTES).healthy();
        Self { world, told: RefCell::default(), restarts: Cell::new(0) }
    }

    /// Sends a request, and does the work after its response, unless the instance ends meanwhile.
    fn send(&self, method: &str, uri: &str, headers: &[(&str, &str)], body: &str, told: impl Fn(&Reply)) {
        let done = self.world.run_or_crash(async {
            let (reply, rest) = self.world.handle(request(method, uri, headers, body)).await;
            told(&reply);
            self.world.finish(rest).await;
        });
        if done.is_none() {
            self.restarts.set(self.restarts.get() + 1);
        }
    }

    /// Sends a delivery for a workflow or a run.
    fn post(&self, to: &'static str, uri: &str, headers: &[(&str, &str)], body: &str) {
        self.world.advance(1);
        self.send("POST", uri, &[&[JSON], headers].concat(), body, |reply| {
            let is_before = self.world.database().fail_overs.get() == 0;
            self.told.borrow_mut().insert(to, Told { status: reply.status(), is_before });
        });
    }

    fn event(&self, to: &'static str, kind: &str, headers: &[(&str, &str)]) {
        let uri = if kind == "ordered" { "/api/v2/event".to_owned() } else { format!("/api/v2/event?ref={to}") };
        let event = format!(r#"{{"specversion":"1.0","id":"{to}","source":"/s","type":"{kind}"}}"#);
        self.post(to, &uri, headers, &event);
    }

    fn drain(&self) {
        self.send("POST", DRAIN_URI, &[OPERATOR], "", |_| {});
    }

    /// Deliveries of each kind, in each state.
    fn run(&self) {
        let world = &self.world;
        self.event("at-once", "t", &[]);
        world.engine.behaviour.set(crate::fake::Behaviour::Unreachable);
        self.event("stored", "t", &[]);
        self.post("plain", "/api/v2/webhook?ref=plain", &[], "{}");
        world.engine.recover();
        self.event("ordered", "ordered", &[]);
        self.event("async", "t", &[ASYNC]);
        world.engine.latency.set(3_000);
        self.event("slow", "t", &[]);
        world.engine.latency.set(0);
        self.post("run", "/api/v2/callback?ref=run&topic=t", &[], "{}");
        world.engine.ahead.borrow_mut().push("early".to_owned());
        world.engine.topics.borrow_mut().push("early".to_owned());
        self.post("early", "/api/v2/callback?ref=early&topic=early", &[], "{}");
        world.engine.ahead.borrow_mut().clear();
        world.advance(MINUTE);
        self.drain();
        self.event("last", "t", &[]);
        self.drain();
    }

    /// The number of runs of a workflow, or of events that a run got.
    fn effects(&self, to: &str) -> usize {
        self.world.engine.targets().iter().filter(|target| *target == to).count()
    }

    /// Drains until nothing is pending.
    fn settle(&self) {
        for _ in 0..10 {
            self.world.advance(10 * MINUTE);
            self.drain();
            if self.world.pending().is_empty() {
                break;
            }
        }
        let (pending, dead) = (self.world.pending(), self.world.dead_letters());
        assert!(pending.is_empty(), "{:?}", self.world.pending_records());
        // The claim of its task is lost, which was made right before it was sent. So it doesn't know that it was, and that
        // it was the one that has ended the task.
        let is_early = dead.contains(r#""run":"early""#) && dead.contains("has ended, with status succeeded");
        assert!(dead.is_empty() || self.world.dead().len() == 1 && is_early && self.effects("early") == 1, "{dead}");
    }
}

/// The workflows and runs with two effects.
fn twice(scenario: &Scenario) -> Vec<&'static str> {
    let told = scenario.told.borrow();
    told.keys().copied().filter(|to| scenario.effects(to) > 1).collect()
}

/// Once in doubt, nothing has two runs. Only what was accepted by a commit that is lost has none.
#[test]
fn fail_over_loses_what_the_lost_commits_have_accepted_and_nothing_else() {
    StoreKind::Postgres.choose();
    let scenario = Scenario::new();
    scenario.world.database().fail(&[]);
    scenario.run();
    let calls = scenario.world.database().take_calls();
    scenario.settle();
    assert!(scenario.told.borrow().keys().all(|to| scenario.effects(to) == 1), "{:?}", scenario.told);

    let (mut lost_all, mut twice_without, mut dead) = (0, 0, 0);
    for (nth, call) in calls.iter().enumerate() {
        for (lost, crashes, in_doubt, is_after) in cases() {
            let name = format!("call {nth}, {call}: {lost} commits lost, crashes: {crashes}, in doubt: {in_doubt}");
            let _row = row(format!("{name}, after it: {is_after}"));
            let scenario = Scenario::new();
            let fail_over = FailOver { lost, in_doubt, crashes };
            let fault = if is_after { Fault::FailOverAfter(fail_over) } else { Fault::FailOver(fail_over) };
            scenario.world.database().fail(&[(At::Once(nth), fault)]);
            scenario.run();
            assert_eq!(scenario.world.database().fail_overs.get(), 1);
            scenario.settle();
            if !in_doubt {
                twice_without += twice(&scenario).len();
                continue;
            }
            assert_eq!(twice(&scenario), [""; 0]);
            dead += scenario.world.dead().len();
            let is_lost = |to: &str| scenario.world.database().lost.borrow().contains(to);
            for (to, told) in &*scenario.told.borrow() {
                let effects = scenario.effects(to);
                match told.status {
                    200 => assert_eq!(effects, 1, "{to} was delivered"),
                    202 if told.is_before && is_lost(to) => lost_all += usize::from(effects == 0),
                    202 => assert_eq!(effects, 1, "{to} was accepted"),
                    503 => {}
                    status => panic!("{to} got {status}"),
                }
            }
            // An event that was kept is still known: its repeat is recognized.
            for to in ["at-once", "stored", "async", "slow", "last"] {
                if scenario.told.borrow().get(to).is_some_and(|told| told.status < 300) && !is_lost(to) {
                    scenario.event(to, "t", &[]);
                    assert_eq!((scenario.told.borrow()[to].status, scenario.effects(to)), (200, 1), "{to} repeated");
                }
            }
        }
    }
    println!("{} calls: {lost_all} lost, {dead} dead, {twice_without} twice without the switch", calls.len());
    assert!(lost_all > 0, "nothing accepted was ever lost");
    assert!(twice_without > 0, "the operator's switch isn't needed");
}

/// The number of commits lost, whether the instance ends as well, whether the operator turns the switch, and whether the
/// fail-over comes after the call.
fn cases() -> impl Iterator<Item = (usize, bool, bool, bool)> {
    let flags = [false, true];
    let pairs = flags.into_iter().flat_map(move |is_after| flags.map(|crashes| (is_after, crashes)));
    let with_doubt = pairs.flat_map(move |(is_after, crashes)| flags.map(|in_doubt| (is_after, crashes, in_doubt)));
    let all = with_doubt
        .flat_map(|(is_after, crashes, in_doubt)| (1..=3).map(move |lost| (lost, crashes, in_doubt, is_after)));
    // Without the switch, these are enough to see what it is for.
    all.filter(|(lost, crashes, in_doubt, is_after)| *in_doubt || *lost == 3 && !crashes && !is_after)
}
