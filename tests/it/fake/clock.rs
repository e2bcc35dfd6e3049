//! A clock that moves only when a test advances it, or while nothing else can progress.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::task::{Poll, Waker};
use std::time::Duration;

use sluice::ports::Clock;
use sluice::time::{ArrivalTime, Timestamp};

use super::World;

/// The initial time: 2026-11-24T08:30:00Z.
pub const NOW: u64 = 1_795_509_000_000;
pub const MINUTE: u64 = 60_000;
pub const HOUR: u64 = 60 * MINUTE;

/// All times are milliseconds since the Unix epoch.
pub struct FakeClock {
    now: Cell<u64>,
    /// The pending sleeps by wake-up time, those of one time in the order in which they began.
    timers: RefCell<BTreeMap<(u64, u64), Waker>>,
    registered: Cell<u64>,
}

impl FakeClock {
    pub(super) fn new() -> Self {
        Self { now: Cell::new(NOW), timers: RefCell::default(), registered: Cell::new(0) }
    }

    pub fn now(&self) -> u64 {
        self.now.get()
    }

    pub fn set(&self, now: u64) {
        self.now.set(now);
    }

    /// The time of the next timer.
    pub(super) fn next_timer(&self) -> Option<u64> {
        self.timers.borrow().first_key_value().map(|((at, _), _)| *at)
    }

    /// Moves the clock to a time, unless it is past, and wakes all whose timers are due.
    pub(super) fn reach(&self, time: u64) {
        self.set(self.now().max(time));
        let mut timers = self.timers.borrow_mut();
        let later = timers.split_off(&(self.now() + 1, 0));
        let due = std::mem::replace(&mut *timers, later);
        drop(timers);
        due.into_values().for_each(Waker::wake);
    }

    /// Waits for so many milliseconds.
    pub(super) async fn sleep(&self, ms: u64) {
        let until = self.now() + ms;
        let mut registered: Option<Waker> = None;
        std::future::poll_fn(|context| {
            if self.now() >= until {
                return Poll::Ready(());
            }
            if !registered.as_ref().is_some_and(|waker| waker.will_wake(context.waker())) {
                self.wake_at(until, context.waker());
                registered = Some(context.waker().clone());
            }
            Poll::Pending
        })
        .await;
    }

    /// Wakes a task at a time.
    pub(super) fn wake_at(&self, time: u64, waker: &Waker) {
        self.registered.set(self.registered.get() + 1);
        self.timers.borrow_mut().insert((time, self.registered.get()), waker.clone());
    }
}

impl Clock for World {
    fn arrival_time(&self) -> ArrivalTime {
        Timestamp(self.now()).into()
    }

    fn monotonic(&self) -> Duration {
        Duration::from_millis(self.now())
    }

    async fn sleep(&self, duration: Duration) {
        self.assert_no_idle_connection("a timer");
        self.clock.sleep(u64::try_from(duration.as_millis()).unwrap()).await;
    }
}
