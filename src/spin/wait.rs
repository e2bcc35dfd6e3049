//! Waiting: pollables and timers of WASIp2 as futures.
//!
//! Each call to the host costs, so a request has at most one timer at a time: the one that ends first. [`drive`] sets it
//! when everything waits.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use futures_util::future::{Either, select};
use spin_executor::{CancelOnDropToken, push_waker_and_get_token};
use wasi::clocks::monotonic_clock;
use wasi::io::poll::Pollable;

/// Polls the future of the request. Whenever it waits, sets the timer of its sleeping parts.
pub(super) async fn drive<T>(future: impl Future<Output = T>) -> T {
    let mut future = pin!(future);
    poll_fn(|context| {
        note_wait();
        let polled = future.as_mut().poll(context);
        if polled.is_pending() {
            timers().set();
        }
        polled
    })
    .await
}

/// The number of times that this instance has waited, or may have.
static WAITS: AtomicU64 = AtomicU64::new(0);

/// Notes that time passes: the instance waits, or calls a function of the host that may wait.
pub(super) fn note_wait() {
    WAITS.fetch_add(1, Ordering::Relaxed);
}

/// A number that stays the same while this instance doesn't wait.
pub(super) fn waits() -> u64 {
    WAITS.load(Ordering::Relaxed)
}

/// Waits for a future for at most `limit`. After that, drops the future, which cancels it.
pub(super) async fn at_most<T>(limit: Duration, future: impl Future<Output = T>) -> Option<T> {
    match select(pin!(future), pin!(sleep(limit))).await {
        Either::Left((output, _)) => Some(output),
        Either::Right(((), _)) => None,
    }
}

/// Waits for a duration.
pub(super) async fn sleep(duration: Duration) {
    let nanoseconds = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
    let deadline = monotonic_clock::now().saturating_add(nanoseconds);
    let sleep = Sleep(Arc::default());
    timers().sleeping.push((deadline, sleep.0.clone()));
    poll_fn(|context| sleep.0.poll(context)).await;
}

/// Waits until a pollable is ready. It has to be made anew for each wait.
pub(super) async fn ready(pollable: Pollable) {
    let signal = Arc::new(Signal::default());
    let token = push_waker_and_get_token(pollable, signal.clone().into());
    // Dropped with this future, which drops the pollable: the host traps if its resource is dropped first.
    let _token = CancelOnDropToken::from(token);
    poll_fn(|context| signal.poll(context)).await;
}

/// Wakes the future that waits for it, once.
#[derive(Default)]
struct Signal {
    is_set: AtomicBool,
    /// The waker of the latest poll.
    waker: Mutex<Option<Waker>>,
}

impl Signal {
    fn poll(&self, context: &Context<'_>) -> Poll<()> {
        if self.is_set.load(Ordering::Relaxed) {
            return Poll::Ready(());
        }
        let mut latest = lock(&self.waker);
        if !latest.as_ref().is_some_and(|latest| latest.will_wake(context.waker())) {
            *latest = Some(context.waker().clone());
        }
        Poll::Pending
    }
}

impl Wake for Signal {
    fn wake(self: Arc<Self>) {
        self.is_set.store(true, Ordering::Relaxed);
        if let Some(waker) = lock(&self.waker).take() {
            waker.wake();
        }
    }
}

/// A sleeping future. Dropping it ends its timer.
struct Sleep(Arc<Signal>);

impl Drop for Sleep {
    fn drop(&mut self) {
        timers().sleeping.retain(|(_, signal)| !Arc::ptr_eq(signal, &self.0));
    }
}

/// The timers of this instance.
struct Timers {
    /// The deadlines of the sleeping futures.
    sleeping: Vec<(u64, Arc<Signal>)>,
    /// The timer of the host, with its deadline.
    timer: Option<(u64, CancelOnDropToken)>,
}

static TIMERS: Mutex<Timers> = Mutex::new(Timers { sleeping: Vec::new(), timer: None });

fn timers() -> MutexGuard<'static, Timers> {
    lock(&TIMERS)
}

/// There is one thread, so nothing else holds the lock.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Timers {
    /// Sets the timer of the host to the first deadline. An earlier timer stays, because a new one costs more than to be
    /// woken once for nothing.
    fn set(&mut self) {
        let Some(first) = self.sleeping.iter().map(|(deadline, _)| *deadline).min() else { return };
        if self.timer.as_ref().is_none_or(|(deadline, _)| *deadline > first) {
            let pollable = monotonic_clock::subscribe_instant(first);
            let token = push_waker_and_get_token(pollable, Arc::new(Alarm).into());
            self.timer = Some((first, token.into()));
        }
    }

    /// Takes the sleeping futures whose deadline has come. The timer of the host has ended.
    fn take_due(&mut self) -> Vec<(u64, Arc<Signal>)> {
        self.timer = None;
        let now = monotonic_clock::now();
        let (due, later) = std::mem::take(&mut self.sleeping).into_iter().partition(|(deadline, _)| *deadline <= now);
        self.sleeping = later;
        due
    }
}

/// The waker of the host's timer.
struct Alarm;

impl Wake for Alarm {
    fn wake(self: Arc<Self>) {
        let due = timers().take_due();
        for (_, signal) in due {
            signal.wake();
        }
    }
}
