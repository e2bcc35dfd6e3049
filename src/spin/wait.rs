//! Waiting in WASIp2.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use futures_util::future::{Either, select};
use spin_executor::{CancelOnDropToken, push_waker_and_get_token};
use wasi::clocks::monotonic_clock;
use wasi::io::poll::Pollable;

/// Waits for a future, at most so long; it is dropped, and so cancelled, when the time is over.
pub(super) async fn at_most<T>(limit: Duration, future: impl Future<Output = T>) -> Option<T> {
    match select(pin!(future), pin!(sleep(limit))).await {
        Either::Left((output, _)) => Some(output),
        Either::Right(((), _)) => None,
    }
}

pub(super) async fn sleep(duration: Duration) {
    let nanoseconds = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
    let deadline = monotonic_clock::now().saturating_add(nanoseconds);
    // The clock decides, not the pollable: a fresh one for an instant in the past says "not ready".
    let over = |deadline: &u64| (monotonic_clock::now() >= *deadline).then_some(());
    until(deadline, over, |deadline| monotonic_clock::subscribe_instant(*deadline)).await;
}

/// Waits until a source is ready. It is looked at when its pollable wakes us, not whenever something else does: each look is
/// a call of the host.
pub(super) async fn until<S, T>(source: S, ready: impl Fn(&S) -> Option<T>, subscribe: impl Fn(&S) -> Pollable) -> T {
    // The host traps where a resource goes before its pollable, so the order of these two counts.
    struct Wait<S> {
        registered: Option<(Arc<Bell>, CancelOnDropToken)>,
        source: S,
    }
    let mut wait = Wait { registered: None, source };
    poll_fn(move |context| {
        let wait = &mut wait;
        if wait.registered.as_ref().is_some_and(|(bell, _)| bell.will_wake(context)) {
            return Poll::Pending;
        }
        if let Some(output) = ready(&wait.source) {
            return Poll::Ready(output);
        }
        let bell = Arc::new(Bell { has_rung: AtomicBool::new(false), waker: context.waker().clone() });
        let token = push_waker_and_get_token(subscribe(&wait.source), bell.clone().into());
        wait.registered = Some((bell, token.into()));
        Poll::Pending
    })
    .await
}

/// What the executor wakes, which then lets go of the pollable.
struct Bell {
    has_rung: AtomicBool,
    waker: Waker,
}

impl Bell {
    fn will_wake(&self, context: &Context<'_>) -> bool {
        !self.has_rung.load(Ordering::Relaxed) && self.waker.will_wake(context.waker())
    }
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.has_rung.store(true, Ordering::Relaxed);
        self.waker.wake_by_ref();
    }
}
