//! Takes several deliveries of one request: the events of a batch, or the workflows that one event starts.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use futures_util::future::select_all;
use http::HeaderMap;

use super::drain::WIDTH;
use super::{Gateway, Outcome};
use crate::delivery::{Key, Work};
use crate::ports::Host;

/// One on its way: its place, and what will come of it.
type UnderWay<'w, 'a> = Pin<Box<dyn Future<Output = (usize, Outcome<'a>)> + 'w>>;

impl<'a, O: Host> Gateway<'a, O> {
    /// Takes each, up to eight at a time, so that their order at the engine isn't sure; what came of them is in the order in which they were given. The
    /// sender is kept waiting for at most `wait` in all: what has had no turn by then is stored, for the drain to bring.
    pub async fn accept_all<'w>(
        &'w self,
        works: Vec<(Work<'w>, Option<Key>)>,
        trace: &HeaderMap,
        wait: Duration,
    ) -> Vec<Outcome<'a>> {
        let end = self.now().plus(wait);
        let mut under_way: Vec<UnderWay<'w, 'a>> = Vec::new();
        let mut done: Vec<Option<Outcome<'a>>> = works.iter().map(|_| None).collect();
        for (place, (work, key)) in works.into_iter().enumerate() {
            if under_way.len() >= WIDTH {
                next(&mut under_way, &mut done).await;
            }
            let (left, trace) = (end.since(self.now()), trace.clone());
            under_way.push(Box::pin(async move {
                let outcome = match left.is_zero() {
                    true => self.keep(work, key, trace).await,
                    false => self.bring_in(work, key, trace, left).await,
                };
                (place, outcome)
            }));
        }
        while !under_way.is_empty() {
            next(&mut under_way, &mut done).await;
        }
        let mut outcomes: Vec<_> = done.into_iter().flatten().collect();
        self.hint(&mut outcomes).await;
        outcomes
    }
}

/// Waits for one, and puts it in its place.
async fn next<'a>(under_way: &mut Vec<UnderWay<'_, 'a>>, done: &mut [Option<Outcome<'a>>]) {
    let ((place, outcome), at, _) = select_all(under_way.iter_mut()).await;
    drop(under_way.remove(at));
    if let Some(done) = done.get_mut(place) {
        *done = Some(outcome);
    }
}
