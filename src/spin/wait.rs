//! Waiting in WASIp2.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use futures_util::future::{Either, select};
use spin_executor::{CancelOnDropToken, push_waker_and_get_token};
use wasi::io::poll::Pollable;

use super::bindings::wasi::clocks::monotonic_clock;

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

/// Waits until a source is ready; whenever it isn't, its pollable wakes us.
pub(super) async fn until<S, T>(source: S, ready: impl Fn(&S) -> Option<T>, subscribe: impl Fn(&S) -> Pollable) -> T {
    // The host traps where a resource goes before its pollable, so the order of these two counts.
    struct Wait<S> {
        registered: Option<CancelOnDropToken>,
        source: S,
    }
    let mut wait = Wait { registered: None, source };
    poll_fn(move |context| {
        let wait = &mut wait;
        ready(&wait.source).map_or_else(
            || {
                let token = push_waker_and_get_token(subscribe(&wait.source), context.waker().clone());
                wait.registered = Some(token.into());
                Poll::Pending
            },
            Poll::Ready,
        )
    })
    .await
}
