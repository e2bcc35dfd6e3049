//! Faults at a chosen operation of the gateway.

use std::cell::{Cell, RefCell};

use http::{Method, Request};
use sluice_engine_model::{Process, Step};

use super::{FakeClock, RealEngine, World};

/// An operation of the gateway whose effect others see.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// A write to the store.
    Write,
    /// Requests to the engine.
    Submit,
    Find,
    Look,
    Cancel,
    Event,
}

impl Operation {
    pub(super) fn of_request(request: &Request<Vec<u8>>) -> Self {
        let path = request.uri().path();
        match *request.method() {
            _ if path.ends_with("/submit") => Self::Submit,
            _ if path.ends_with("/query") => Self::Find,
            Method::DELETE => Self::Cancel,
            Method::GET => Self::Look,
            _ => Self::Event,
        }
    }
}

/// A fault, right after the operation has had its effect. A request is on the wire then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// The gateway's instance ends.
    Crash,
    /// The engine dies.
    Kill,
    /// Neither the engine nor Flow does anything for so many milliseconds.
    Freeze(u64),
    /// The request arrives so many milliseconds later.
    Delay(u64),
    /// The engine dies, or Flow does, the next time that it has done this write.
    DieAt(Step),
    /// The next request that does this write stalls after it, for so many milliseconds.
    StallAt(Step, u64),
    /// Somebody cancels the first run.
    CancelByHand,
}

/// The fault that is planned, and the operations so far.
#[derive(Default)]
pub struct Plan {
    /// The number of an operation, from 0, and what happens then.
    pub faults: RefCell<Vec<(usize, Action)>>,
    pub operations: RefCell<Vec<Operation>>,
    /// The operation after which somebody has cancelled the first run.
    pub by_hand: Cell<Option<usize>>,
    crashed: Cell<bool>,
}

impl Plan {
    fn next(&self) -> impl Iterator<Item = Action> {
        let now = self.operations.borrow().len();
        let faults: Vec<_> =
            self.faults.borrow().iter().filter(|(at, _)| *at == now).map(|(_, fault)| *fault).collect();
        faults.into_iter()
    }

    /// How much later the next request arrives.
    pub(super) fn delay(&self) -> u64 {
        self.next().map(|fault| if let Action::Delay(ms) = fault { ms } else { 0 }).sum()
    }

    /// Whether the gateway has crashed since the last call.
    pub(super) fn has_crashed(&self) -> bool {
        self.crashed.take()
    }
}

impl Plan {
    /// Ends the gateway's instance.
    pub(super) async fn crash(&self) {
        self.crashed.set(true);
        std::future::pending::<()>().await;
    }
}

impl World {
    /// Notes an operation, and lets happen what is planned after it.
    pub(super) async fn has_done(&self, operation: Operation) {
        self.plan.has_done(operation, &self.clock, self.real.as_deref()).await;
    }
}

impl Plan {
    /// Notes an operation, and lets happen what is planned after it.
    pub(super) async fn has_done(&self, operation: Operation, clock: &FakeClock, real: Option<&RealEngine>) {
        let faults: Vec<_> = self.next().collect();
        self.operations.borrow_mut().push(operation);
        let engine = || real.expect("a world with a model");
        for fault in faults {
            let model = || engine().model.borrow_mut();
            match fault {
                Action::Crash => self.crash().await,
                Action::Kill => model().kill(Process::Engine),
                Action::Freeze(ms) => engine().freeze(clock.now(), ms),
                Action::Delay(_) => {}
                Action::DieAt(step) => model().die_at(step),
                Action::StallAt(step, ms) => model().stall_at(step, ms),
                Action::CancelByHand => {
                    let first = model().runs().next().map(|record| record.run.id.clone());
                    if let Some(run) = first {
                        let cancel = Request::delete(format!("/api/v1/workflowrun/{run}/cancel")).body(Vec::new());
                        // The engine may be dead.
                        if model().serve(clock.now(), cancel.unwrap()).is_ok() {
                            self.by_hand.set(Some(self.operations.borrow().len() - 1));
                        }
                    }
                }
            }
        }
    }
}
