//! Takes a delivery from a sender: claim, send, and if no answer comes in time, store.

use std::pin::pin;
use std::time::Duration;

use futures_util::future::{Either, select};
use http::HeaderMap;

use super::send::{Call, Sent};
use super::{Accepted, Failure, Gateway, Outcome};
use crate::callback;
use crate::claim::{self, Claim, Claimant, Won};
use crate::delivery::{Claimed, Delivery, DeliveryId, Done, Key, Next, Work};
use crate::ports::{Host, StoreError};
use crate::time::Timestamp;

/// Losers wait a little longer than winners, so that they see what a slow engine's winner stores at the end of its wait.
const GRACE: Duration = Duration::from_millis(250);

impl<'a, O: Host> Gateway<'a, O> {
    /// Takes a delivery. The sender is kept waiting for at most `wait`; if that is nothing, it is stored before it is
    /// sent.
    pub async fn accept(&self, work: Work<'_>, key: Option<Key>, trace: HeaderMap, wait: Duration) -> Outcome<'a> {
        let mut outcome = self.bring_in(work, key, trace, wait).await;
        self.hint(std::slice::from_mut(&mut outcome)).await;
        outcome
    }

    /// The same, but for the hint.
    pub(super) async fn bring_in(
        &self,
        work: Work<'_>,
        key: Option<Key>,
        trace: HeaderMap,
        wait: Duration,
    ) -> Outcome<'a> {
        let mut delivery = match self.take(work, key, trace, wait).await {
            Ok(delivery) => delivery,
            Err(outcome) => return outcome,
        };
        if wait.is_zero() {
            return self.store_then_send(delivery).await;
        }
        delivery.begin(self.host.now(), &self.settings.limits);
        let call = self.call(&delivery);
        match select(call, pin!(self.host.sleep(wait))).await {
            Either::Left((sent, _)) => self.in_time(delivery, sent).await,
            Either::Right(((), call)) => self.store_meanwhile(delivery, call).await,
        }
    }

    /// Takes a delivery and stores it: the drain is to bring it.
    pub(super) async fn keep(&self, work: Work<'_>, key: Option<Key>, trace: HeaderMap) -> Outcome<'a> {
        let delivery = match self.take(work, key, trace, Duration::ZERO).await {
            Ok(delivery) => delivery,
            Err(outcome) => return outcome,
        };
        match self.store(&delivery, None).await {
            Ok(stored) => stored,
            Err(error) => self.give_back(&delivery, Failure::Store(error)).await,
        }
    }

    /// A delivery that is ours to bring; else what came of it.
    async fn take<'w>(
        &self,
        work: Work<'w>,
        key: Option<Key>,
        trace: HeaderMap,
        wait: Duration,
    ) -> Result<Delivery<'w>, Outcome<'a>> {
        let now = self.host.arrival_time();
        let id = DeliveryId::new(now, self.host.random());
        let mut delivery = Delivery::new(id, work, trace, now.at);
        let Some(key) = key else { return Ok(delivery) };
        match self.claim(&delivery, &key, wait).await {
            Err(error) => Err(Outcome::new(id, Err(Failure::Store(error)))),
            Ok(Claim::Settled(first)) => Err(duplicate(&delivery, &key, &first)),
            Ok(Claim::Contended { window }) => Err(self.leave(delivery, key, window).await),
            Ok(Claim::Won(Won { window, until })) if self.host.now() < until => {
                delivery.key = Some(Claimed { key, window, copy: false });
                Ok(delivery)
            }
            Ok(Claim::Won(Won { window, .. })) => Err(self.leave(delivery, key, window).await),
        }
    }

    async fn claim(&self, delivery: &Delivery<'_>, key: &Key, wait: Duration) -> Result<Claim, StoreError> {
        let record = match &delivery.work {
            Work::Start(_) => None,
            Work::Resolve(callback) => {
                Some(callback::CallbackRecord::pending(delivery.id, callback, delivery.received))
            }
        };
        let retention = self.settings.retention;
        let patience = wait.saturating_add(GRACE);
        Claimant { key, id: delivery.id, callback: record.as_ref(), retention, patience }.claim(self.host).await
    }

    /// The engine has answered, or there is no way to it.
    async fn in_time(&self, mut delivery: Delivery<'_>, sent: Sent) -> Outcome<'a> {
        let now = self.host.now();
        let mut outcome = match sent.result {
            Ok(body) => self.delivered(&delivery, body).await,
            Err(failure) => match delivery.fail(failure.setback(), &failure.to_string(), now, &self.settings.limits) {
                Next::Rejected => self.give_back(&delivery, failure).await,
                // Dead after one attempt is for the drain to say: a sender has been promised nothing yet.
                Next::Pending | Next::Dead => match self.store(&delivery, Some(&failure)).await {
                    Ok(stored) => stored,
                    Err(error) => self.unstored(&delivery, failure, error).await,
                },
            },
        };
        outcome.engine_status = sent.engine_status;
        outcome
    }

    /// The engine has it; who brings the same again is told so.
    async fn delivered(&self, delivery: &Delivery<'_>, body: Vec<u8>) -> Outcome<'a> {
        let noted = self.note_delivered(delivery, &body, self.now()).await;
        let mut outcome = Outcome::new(delivery.id, Ok(Accepted::Delivered(body)));
        outcome.warn(noted);
        outcome
    }

    /// The wait is over: the delivery is stored, the sender is answered, and the call goes on.
    async fn store_meanwhile(&self, delivery: Delivery<'_>, call: Call<'a>) -> Outcome<'a> {
        match self.store(&delivery, None).await {
            Ok(stored) => self.pending(delivery, call, stored),
            Err(error) => {
                // Nothing can be promised, so the sender has to wait for the engine.
                let sent = call.await;
                let mut outcome = match sent.result {
                    Err(failure) if !matches!(failure, Failure::Rejected { .. }) => {
                        self.unstored(&delivery, failure, error).await
                    }
                    result => {
                        let mut outcome = match result {
                            Ok(body) => self.delivered(&delivery, body).await,
                            Err(failure) => self.give_back(&delivery, failure).await,
                        };
                        outcome.warn(Err(error));
                        outcome
                    }
                };
                outcome.engine_status = sent.engine_status;
                outcome
            }
        }
    }

    /// The sender doesn't want to wait (RFC 7240, section 4.1).
    async fn store_then_send(&self, mut delivery: Delivery<'_>) -> Outcome<'a> {
        // A sender may be slow to take its answer, and a drain counts on it that nothing is sent later than this.
        let latest = self.now().plus(claim::LIMIT);
        delivery.begin(latest, &self.settings.limits);
        let (host, call) = (self.host, self.call(&delivery));
        let call = Box::pin(async move {
            if host.now() < latest {
                return call.await;
            }
            let reason = "the answer took too long to be taken, so it was left to the drain".to_owned();
            Sent { engine_status: None, result: Err(Failure::Unreachable { reason }) }
        });
        match self.store(&delivery, None).await {
            Ok(stored) => self.pending(delivery, call, stored),
            Err(error) => self.give_back(&delivery, Failure::Store(error)).await,
        }
    }

    fn pending(&self, delivery: Delivery<'_>, call: Call<'a>, mut outcome: Outcome<'a>) -> Outcome<'a> {
        let (gateway, delivery) = (self.clone(), delivery.into_owned());
        outcome.rest = Some(Box::pin(async move {
            let sent = call.await;
            gateway.report(delivery, sent).await
        }));
        outcome
    }

    /// Another is at this key, or was: a copy is stored, and the drain, which is alone, sees what is to be done.
    async fn leave(&self, mut delivery: Delivery<'_>, key: Key, window: u64) -> Outcome<'a> {
        delivery.key = Some(Claimed { key, window, copy: true });
        // As if it had been sent at the last moment at which the other may have sent it.
        delivery.begin(self.host.now().plus(claim::LIMIT), &self.settings.limits);
        match self.store(&delivery, None).await {
            Ok(stored) => stored,
            Err(error) => Outcome::new(delivery.id, Err(Failure::Store(error))),
        }
    }

    /// It is neither with the engine nor stored, and the sender is told so: it must not meet its own ghost.
    async fn give_back(&self, delivery: &Delivery<'_>, failure: Failure) -> Outcome<'a> {
        let mut outcome = Outcome::new(delivery.id, Err(failure));
        if let Some(Claimed { key, window, .. }) = &delivery.key {
            outcome.warn(claim::release(self.host, key, *window).await);
        }
        outcome
    }

    /// Neither the engine nor the store took it. What the engine may have acted on stays claimed: who brings it again
    /// leaves a copy, and the drain asks the engine first.
    async fn unstored(&self, delivery: &Delivery<'_>, failure: Failure, error: StoreError) -> Outcome<'a> {
        match failure {
            unclear @ Failure::Unclear { .. } => {
                let mut outcome = Outcome::new(delivery.id, Err(unclear));
                outcome.warn(Err(error));
                outcome
            }
            _ => self.give_back(delivery, Failure::Store(error)).await,
        }
    }
}

/// What a sender gets who brings the same again: what the first got, or why it isn't the same.
fn duplicate<'a>(delivery: &Delivery<'_>, key: &Key, first: &[u8]) -> Outcome<'a> {
    let unreadable = |error: &dyn std::fmt::Display| Failure::Store(StoreError(error.to_string()));
    let (id, result) = match &delivery.work {
        Work::Resolve(_) => match callback::CallbackRecord::from_bytes(first) {
            Err(error) => (None, Err(unreadable(&error))),
            Ok(record) if record.digest != key.digest() => (
                Some(record.id.to_string()),
                Err(Failure::Conflict { status: record.status, received: record.received }),
            ),
            Ok(record) => {
                let delivered = record.state == callback::State::Delivered;
                (Some(record.id.to_string()), Ok(Accepted::Duplicate(delivered.then(Vec::new))))
            }
        },
        Work::Start(_) => match Done::from_bytes(first) {
            Err(error) => (None, Err(unreadable(&error))),
            Ok(done) if done.digest != key.digest() => (Some(done.id), Err(Failure::KeyReused { at: done.at })),
            Ok(done) => {
                let run = (done.status == 200).then(|| done.body.map_or_else(Vec::new, |body| body.get().into()));
                (Some(done.id), Ok(Accepted::Duplicate(run)))
            }
        },
    };
    let mut outcome = Outcome::new(delivery.id, result);
    outcome.id = id.unwrap_or(outcome.id);
    outcome
}

impl Outcome<'_> {
    pub(super) fn new(id: DeliveryId, result: Result<Accepted, Failure>) -> Self {
        let warnings = match &result {
            Err(Failure::Store(error)) => vec![error.to_string()],
            _ => Vec::new(),
        };
        Self { id: id.to_string(), engine_status: None, result, warnings, rest: None, hint: None }
    }

    pub(super) fn warn(&mut self, done: Result<(), StoreError>) {
        self.warnings.extend(done.err().map(|error| error.to_string()));
    }
}

impl<O: Host> Gateway<'_, O> {
    /// When it is now.
    pub(super) fn now(&self) -> Timestamp {
        self.host.now()
    }
}
