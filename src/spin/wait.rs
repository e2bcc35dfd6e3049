//! Timers and pollables of WASIp2 as futures.

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
    // The clock decides, because a new pollable is not ready yet even if its instant is in the past.
    let is_over = |deadline: &u64| (monotonic_clock::now() >= *deadline).then_some(());
    until(deadline, is_over, |deadline| monotonic_clock::subscribe_instant(*deadline)).await;
}

/// Waits until `ready` returns the output of a source. `ready` is called again only after the source's own pollable has
/// woken the task, because each call goes to the host.
pub(super) async fn until<S, T>(source: S, ready: impl Fn(&S) -> Option<T>, subscribe: impl Fn(&S) -> Pollable) -> T {
    // The fields are dropped in the order of their declaration: the host traps if a resource is dropped before its
    // pollable.
    struct Wait<S> {
        registered: Option<(Arc<PollableWaker>, CancelOnDropToken)>,
        source: S,
    }
    let mut wait = Wait { registered: None, source };
    poll_fn(move |context| {
        let wait = &mut wait;
        if wait.registered.as_ref().is_some_and(|(waker, _)| waker.will_wake(context)) {
            return Poll::Pending;
        }
        if let Some(output) = ready(&wait.source) {
            return Poll::Ready(output);
        }
        let waker = Arc::new(PollableWaker { is_woken: AtomicBool::new(false), waker: context.waker().clone() });
        let token = push_waker_and_get_token(subscribe(&wait.source), waker.clone().into());
        wait.registered = Some((waker, token.into()));
        Poll::Pending
    })
    .await
}

/// The waker of a pollable. It records when the executor has woken it, which means that the executor has released the
/// pollable.
struct PollableWaker {
    is_woken: AtomicBool,
    waker: Waker,
}

impl PollableWaker {
    fn will_wake(&self, context: &Context<'_>) -> bool {
        !self.is_woken.load(Ordering::Relaxed) && self.waker.will_wake(context.waker())
    }
}

impl Wake for PollableWaker {
    fn wake(self: Arc<Self>) {
        self.is_woken.store(true, Ordering::Relaxed);
        self.waker.wake_by_ref();
    }
}
