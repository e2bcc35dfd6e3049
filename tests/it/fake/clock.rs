//! A clock that moves only when a test advances it, or while nothing else can progress.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::task::Poll;
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
    /// Wake-up times of pending sleeps.
    timers: RefCell<BTreeSet<u64>>,
}

impl FakeClock {
    pub(super) fn new() -> Self {
        Self { now: Cell::new(NOW), timers: RefCell::default() }
    }

    pub fn now(&self) -> u64 {
        self.now.get()
    }

    pub fn set(&self, now: u64) {
        self.now.set(now);
    }

    pub(super) fn clear_timers(&self) {
        self.timers.borrow_mut().clear();
    }

    pub(super) fn advance_to_next_timer(&self) {
        let next = self.timers.borrow_mut().pop_first().expect("a pending future has a timer");
        self.set(self.now().max(next));
    }
}

impl Clock for World {
    fn arrival_time(&self) -> ArrivalTime {
        Timestamp(self.now()).into()
    }

    async fn sleep(&self, duration: Duration) {
        let until = self.now() + u64::try_from(duration.as_millis()).unwrap();
        std::future::poll_fn(|_| {
            if self.now() >= until {
                return Poll::Ready(());
            }
            self.clock.timers.borrow_mut().insert(until);
            Poll::Pending
        })
        .await;
    }
}
