//! The model of the engine and of Flow (`host/engine`) as the engine of a [`World`], in virtual time.
//!
//! A request is on the wire until it arrives; then the model handles it. A sender that gives up, or crashes, takes
//! nothing back: what is on the wire arrives all the same. A process that has died is started again after a while.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::LazyLock;
use std::task::{Poll, Waker};

use http::{Request, Response};
use serde_json::json;
use sluice::ports::{SendError, Timeouts};
use sluice_engine_model::{Catalogue, Model, NoAnswer, Process, Record, Services, Settings, Ticket};

use super::clock::FakeClock;
use super::{EngineResult, Operation, World};

static RECORDED: LazyLock<Catalogue> = LazyLock::new(Catalogue::recorded);

/// The time between the death of a process and its next start, in milliseconds.
const DOWNTIME: u64 = 2_000;

/// The engine as the gateway's settings name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Profile {
    Boomerang,
    Flow,
}

impl Profile {
    pub const ALL: [Self; 2] = [Self::Boomerang, Self::Flow];

    /// Chooses the profile in a world.
    fn configure(self, world: World) -> World {
        let world = world.setting("engine_start", true);
        match self {
            Self::Boomerang => world,
            Self::Flow => {
                let world = world.with("engine", "flow").with("engine_token", "bft_ACME");
                world.setting("engine", json!({"team": "acme"}))
            }
        }
    }
}

/// A workflow of the recorded catalogue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Workflow {
    /// Waits for the topic `approval` at once.
    Waits,
    /// The same after a sleep of four seconds.
    Naplit,
    /// One task without an image.
    Shell,
}

impl Workflow {
    pub fn id(self) -> &'static str {
        match self {
            Self::Waits => "6b08ce3a2bb126dc8dc5a8a6",
            Self::Shell => "6b08ce3a2bb126dc8dc5a8a8",
            Self::Naplit => "6b08ce3c2bb126dc8dc5a8ac",
        }
    }
}

/// Requests by the time at which they arrive, and their number.
type Wire = BTreeMap<(u64, u64), Request<Vec<u8>>>;

pub struct RealEngine {
    pub model: RefCell<Model>,
    /// Milliseconds that a request takes to arrive, and a response after it.
    pub latency: Cell<u64>,
    /// The requests that have not arrived, by the time at which they do and their number.
    wire: RefCell<Wire>,
    /// The results that the senders have not seen, by the number of the request, each with its time.
    answers: RefCell<BTreeMap<u64, (u64, EngineResult)>>,
    /// The senders that wait for a result.
    waiting: RefCell<BTreeMap<u64, Waker>>,
    /// The requests that stall at the engine.
    stalled: RefCell<Vec<(Ticket, u64)>>,
    sent: Cell<u64>,
    restart_at: Cell<Option<u64>>,
    /// How often a process has died.
    pub deaths: Cell<u64>,
    /// Until then, neither process does anything: requests wait.
    frozen_until: Cell<u64>,
}

impl World {
    /// An installation with the recorded catalogue in front of a gateway with the shipped configuration and the
    /// operator token of [`World::with_operator`]. Its runs are started on submit.
    pub fn real(profile: Profile, settings: Settings) -> Self {
        let services = Services::Both { engine: String::new(), flow: String::new() };
        let mut world = profile.configure(Self::with_operator());
        world.real = Some(Rc::new(RealEngine {
            model: RefCell::new(Model::new(services, RECORDED.clone(), settings)),
            latency: Cell::new(2),
            wire: RefCell::default(),
            answers: RefCell::default(),
            waiting: RefCell::default(),
            stalled: RefCell::default(),
            sent: Cell::new(0),
            restart_at: Cell::new(None),
            deaths: Cell::new(0),
            frozen_until: Cell::new(0),
        }));
        if let Some(database) = &world.database {
            database.real.replace(world.real.clone());
        }
        world
    }

    /// The model of [`World::real`].
    #[track_caller]
    pub fn engine_model(&self) -> &RealEngine {
        self.real.as_ref().expect("a world with a model")
    }

    /// The time of the next event in this world: a timer, or something that the engine does.
    pub(super) fn next_event(&self) -> Option<u64> {
        let of_engine = self.real.as_deref().and_then(RealEngine::next_event);
        self.clock.next_timer().into_iter().chain(of_engine).min()
    }

    /// Lets the engine do what is due.
    pub(super) fn work_of_engine(&self) {
        if let Some(real) = &self.real {
            real.work(&self.clock);
        }
    }
}

impl RealEngine {
    fn next_event(&self) -> Option<u64> {
        let arrival = self.wire.borrow().first_key_value().map(|((at, _), _)| *at);
        let job = self.model.borrow().next_event_at();
        let next = arrival.into_iter().chain(job).chain(self.restart_at.get()).min();
        next.map(|next| next.max(self.frozen_until.get()))
    }

    fn work(&self, clock: &FakeClock) {
        let now = clock.now();
        if now < self.frozen_until.get() {
            return;
        }
        let mut model = self.model.borrow_mut();
        if self.restart_at.get().is_some_and(|at| at <= now) {
            self.restart_at.set(None);
            model.advance(now);
            model.restart();
        }
        model.advance(now);
        let mut wire = self.wire.borrow_mut();
        while let Some(entry) = wire.first_entry().filter(|entry| entry.key().0 <= now) {
            let ((_, number), request) = entry.remove_entry();
            match model.serve(now, request) {
                Err(NoAnswer::Stalled(ticket)) => self.stalled.borrow_mut().push((ticket, number)),
                result => self.answer(number, result, clock),
            }
        }
        self.stalled.borrow_mut().retain(|(ticket, number)| match model.late(*ticket) {
            None => true,
            Some(result) => {
                self.answer(*number, result, clock);
                false
            }
        });
        if self.restart_at.get().is_none() && (model.is_dead(Process::Engine) || model.is_dead(Process::Flow)) {
            self.restart_at.set(Some(now + DOWNTIME));
            self.deaths.set(self.deaths.get() + 1);
        }
    }

    fn answer(&self, number: u64, result: Result<Response<Vec<u8>>, NoAnswer>, clock: &FakeClock) {
        let result = result.map_err(|error| match error {
            NoAnswer::Refused => SendError::NotSent("the connection was refused"),
            NoAnswer::Cut | NoAnswer::Stalled(_) => SendError::NoResponse("the connection was cut"),
        });
        let at = clock.now() + self.latency.get();
        self.answers.borrow_mut().insert(number, (at, result));
        if let Some(waker) = self.waiting.borrow_mut().remove(&number) {
            clock.wake_at(at, &waker);
        }
    }

    pub(super) async fn send(&self, world: &World, request: Request<Vec<u8>>, timeouts: Timeouts) -> EngineResult {
        let number = self.sent.replace(self.sent.get() + 1);
        let deadline = world.now() + u64::try_from(timeouts.total.as_millis()).unwrap();
        let operation = Operation::of_request(&request);
        let arrival = world.now() + self.latency.get() + world.plan.delay();
        self.wire.borrow_mut().insert((arrival, number), request);
        world.has_done(operation).await;
        std::future::poll_fn(|context| {
            let mut answers = self.answers.borrow_mut();
            let answered_at = answers.get(&number).map(|(at, _)| *at);
            if answered_at.is_some_and(|at| at <= world.now()) {
                return Poll::Ready(answers.remove(&number).unwrap().1);
            }
            if world.now() >= deadline {
                return Poll::Ready(Err(SendError::NoResponse("no answer in time")));
            }
            self.waiting.borrow_mut().insert(number, context.waker().clone());
            world.clock.wake_at(answered_at.unwrap_or(deadline).min(deadline), context.waker());
            Poll::Pending
        })
        .await
    }

    /// Stops both processes for a while, in the middle of everything.
    pub fn freeze(&self, now: u64, ms: u64) {
        self.frozen_until.set(now + ms);
    }

    /// The runs whose param `data` is an object with this `n` alone, the oldest first.
    pub fn runs_with(&self, n: u64) -> Vec<Record> {
        // The engine makes a text of a param that the workflow doesn't declare, but only once it queues the run.
        let text = format!("{{n={n}}}");
        let is_same = |record: &&Record| {
            record.run.params.iter().any(|param| param.name == "data" && param.value.to_java() == text)
        };
        self.model.borrow().runs().filter(is_same).cloned().collect()
    }

    pub fn run(&self, id: &str) -> Record {
        self.model.borrow().run(id).expect("a run of the engine").clone()
    }
}
