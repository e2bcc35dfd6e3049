//! Waiting: pollables and timers of WASIp2 as futures.
//!
//! Each call to the host costs, so a request has at most one timer at a time: the one that ends first. [`drive`] sets it
//! when everything waits.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Wake, Waker};
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
    let sleep = Sleep { state: Arc::default() };
    poll_fn(|context| {
        if sleep.state.is_over.load(Ordering::Relaxed) {
            return Poll::Ready(());
        }
        sleep.state.waker.set(context.waker());
        timers().add(deadline, &sleep.state);
        Poll::Pending
    })
    .await;
}

/// Waits until a pollable is ready. It has to be made anew for each wait.
pub(super) async fn ready(pollable: Pollable) {
    let woken = Arc::new(Woken::default());
    let token = push_waker_and_get_token(pollable, woken.clone().into());
    // Dropped with this future, which drops the pollable: the host traps if its resource is dropped first.
    let _token = CancelOnDropToken::from(token);
    poll_fn(|context| {
        if woken.is_woken.load(Ordering::Relaxed) {
            return Poll::Ready(());
        }
        woken.waker.set(context.waker());
        Poll::Pending
    })
    .await;
}

/// The waker of a pollable.
#[derive(Default)]
struct Woken {
    is_woken: AtomicBool,
    waker: Latest,
}

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.is_woken.store(true, Ordering::Relaxed);
        self.waker.wake();
    }
}

/// The waker of the latest poll of a future.
#[derive(Default)]
struct Latest(Mutex<Option<Waker>>);

impl Latest {
    fn set(&self, waker: &Waker) {
        let mut latest = lock(&self.0);
        if !latest.as_ref().is_some_and(|latest| latest.will_wake(waker)) {
            *latest = Some(waker.clone());
        }
    }

    fn wake(&self) {
        if let Some(waker) = lock(&self.0).take() {
            waker.wake();
        }
    }
}

/// A sleeping future.
struct Sleep {
    state: Arc<Sleeping>,
}

#[derive(Default)]
struct Sleeping {
    is_over: AtomicBool,
    waker: Latest,
}

impl Drop for Sleep {
    fn drop(&mut self) {
        timers().sleeping.retain(|(_, sleeping)| !Arc::ptr_eq(sleeping, &self.state));
    }
}

/// The timers of this instance.
struct Timers {
    /// The sleeping futures, with their deadlines.
    sleeping: Vec<(u64, Arc<Sleeping>)>,
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
    fn add(&mut self, deadline: u64, sleeping: &Arc<Sleeping>) {
        if !self.sleeping.iter().any(|(_, known)| Arc::ptr_eq(known, sleeping)) {
            self.sleeping.push((deadline, sleeping.clone()));
        }
    }

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
}

/// The waker of the host's timer.
struct Alarm;

impl Wake for Alarm {
    fn wake(self: Arc<Self>) {
        let mut timers = timers();
        timers.timer = None;
        let now = monotonic_clock::now();
        let (over, sleeping) = std::mem::take(&mut timers.sleeping).into_iter().partition(|(at, _)| *at <= now);
        timers.sleeping = sleeping;
        drop(timers);
        let over: Vec<(u64, Arc<Sleeping>)> = over;
        for (_, sleeping) in over {
            sleeping.is_over.store(true, Ordering::Relaxed);
            sleeping.waker.wake();
        }
    }
}
