//! What the store is told of an attempt.

use super::keys::{self, Fault, Hint};
use super::send::Sent;
use super::{Accepted, Failure, Gateway, Outcome, Report};
use crate::callback::{CallbackRecord, State};
use crate::delivery::{Claimed, Delivery, DeliveryId, Done, Next, Register, Work};
use crate::ports::{Host, StoreError};
use crate::time::Timestamp;

/// Where a stored delivery stands after an attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Concluded {
    Delivered,
    /// To be tried again.
    Pending(Failure),
    /// Refused by the engine, and kept for an operator.
    Rejected(Failure),
    /// Tried for too long, and kept for an operator.
    Dead(Failure),
}

impl<O: Host> Gateway<'_, O> {
    /// Stores a delivery as pending; all but that may fail, and is told as warnings.
    pub(super) async fn store<'a>(
        &self,
        delivery: &Delivery<'_>,
        failure: Option<&Failure>,
    ) -> Result<Outcome<'a>, StoreError> {
        self.write_pending(delivery).await?;
        let mut outcome = Outcome::new(delivery.id, Ok(Accepted::Pending));
        if delivery.key.as_ref().is_some_and(|claimed| !claimed.copy) {
            outcome.warn(self.note_pending(delivery).await);
        }
        let hint = Hint { fault: self.fault(failure) };
        if let Some(fault) = &hint.fault {
            outcome.warnings.push(format!("{}: check engine_url and engine_token", fault.reason));
        }
        outcome.hint = Some(hint);
        Ok(outcome)
    }

    /// Tells the drain of what these have stored, once. One that scans regardless finds what has no hint, only later.
    pub(super) async fn hint(&self, outcomes: &mut [Outcome<'_>]) {
        let hints = outcomes.iter_mut().filter_map(|outcome| outcome.hint.take());
        let Some(hint) = hints.reduce(|hint, next| if hint.fault.is_some() { hint } else { next }) else { return };
        let told = hint.tell(self.host).await;
        if let (Err(error), Some(first)) = (told, outcomes.first_mut()) {
            first.warn(Err(error));
        }
    }

    /// Tells who brings the same again that it is stored.
    async fn note_pending(&self, delivery: &Delivery<'_>) -> Result<(), StoreError> {
        self.note(delivery, |claimed, id| {
            Ok(match &delivery.work {
                Work::Start(_) => Done::pending(id, claimed.key.digest(), self.now()).to_bytes().map_err(unwritable)?,
                Work::Resolve(callback) => {
                    CallbackRecord::pending(id, callback, delivery.received).to_bytes().map_err(unwritable)?
                }
            })
        })
        .await
    }

    /// Tells who brings the same again what the engine said.
    pub(super) async fn note_delivered(
        &self,
        delivery: &Delivery<'_>,
        body: &[u8],
        now: Timestamp,
    ) -> Result<(), StoreError> {
        self.note(delivery, |claimed, id| {
            Ok(match &delivery.work {
                Work::Start(_) => {
                    Done::delivered(id, claimed.key.digest(), body, now).to_bytes().map_err(unwritable)?
                }
                Work::Resolve(callback) => {
                    let mut record = CallbackRecord::pending(id, callback, delivery.received);
                    record.state = State::Delivered;
                    record.to_bytes().map_err(unwritable)?
                }
            })
        })
        .await
    }

    async fn note(
        &self,
        delivery: &Delivery<'_>,
        value: impl FnOnce(&Claimed, DeliveryId) -> Result<Vec<u8>, StoreError>,
    ) -> Result<(), StoreError> {
        let Some(claimed) = &delivery.key else { return Ok(()) };
        let key = claimed.key.register(Register::Done, claimed.window);
        self.host.set(&key, &value(claimed, delivery.id)?).await
    }

    /// An attempt of a stored delivery is over.
    pub(super) async fn conclude(
        &self,
        delivery: &mut Delivery<'_>,
        result: Result<Vec<u8>, Failure>,
    ) -> Result<Concluded, StoreError> {
        let now = self.now();
        let failure = match result {
            Ok(body) => {
                // In this order: whoever finds the delivery still pending finds that it is done as well.
                self.note_delivered(delivery, &body, now).await?;
                self.host.delete(&keys::pending(delivery.id)).await?;
                return Ok(Concluded::Delivered);
            }
            Err(failure) => failure,
        };
        match delivery.fail(failure.setback(), &failure.to_string(), now, &self.settings.limits) {
            Next::Pending => {
                self.write_pending(delivery).await?;
                Ok(Concluded::Pending(failure))
            }
            Next::Dead => {
                self.bury(delivery).await?;
                Ok(Concluded::Dead(failure))
            }
            Next::Rejected => {
                self.bury(delivery).await?;
                // Nothing came of the key, so it is free.
                self.free(delivery).await?;
                Ok(Concluded::Rejected(failure))
            }
        }
    }

    /// The attempt that went on after the answer is over.
    pub(super) async fn report(&self, mut delivery: Delivery<'_>, sent: Sent) -> Report {
        if sent.result.is_err() && !delivery.is_under_way(self.now(), &self.settings.limits) {
            // We were stopped for long: from now on it is the drain's, and may be gone.
            return Report { at: self.now(), id: delivery.id, state: "pending", failure: None, warnings: Vec::new() };
        }
        let concluded = self.conclude(&mut delivery, sent.result).await;
        let (state, failure) = match &concluded {
            Ok(Concluded::Delivered) => ("delivered", None),
            Ok(Concluded::Pending(failure)) => ("pending", Some(failure)),
            Ok(Concluded::Rejected(failure)) => ("rejected", Some(failure)),
            Ok(Concluded::Dead(failure)) => ("dead", Some(failure)),
            // As it was stored: the drain asks the engine.
            Err(_) => ("pending", None),
        };
        let mut warnings: Vec<_> = concluded.as_ref().err().map(ToString::to_string).into_iter().collect();
        if let Some(fault) = self.fault(failure) {
            // Known at `/readyz`.
            warnings.extend(fault.note(self.host).await.err().map(|error| error.to_string()));
        }
        let failure = failure.map(ToString::to_string);
        Report { at: self.now(), id: delivery.id, state, failure, warnings }
    }

    /// What `/readyz` says of a failure that only an operator can mend.
    fn fault(&self, failure: Option<&Failure>) -> Option<Fault> {
        let reason = failure?.fault()?.to_owned();
        Some(Fault { at: self.now(), reason })
    }

    pub(super) async fn write_pending(&self, delivery: &Delivery<'_>) -> Result<(), StoreError> {
        let bytes = delivery.to_bytes().map_err(unwritable)?;
        self.host.set(&keys::pending(delivery.id), &bytes).await
    }

    /// Keeps it for an operator.
    pub(super) async fn bury(&self, delivery: &Delivery<'_>) -> Result<(), StoreError> {
        let bytes = delivery.to_bytes().map_err(unwritable)?;
        self.host.set(&keys::dead(delivery.id), &bytes).await?;
        self.host.delete(&keys::pending(delivery.id)).await
    }

    /// Forgets what is noted for its key, so that the same may come again as if for the first time.
    pub(super) async fn free(&self, delivery: &Delivery<'_>) -> Result<(), StoreError> {
        let Some(Claimed { key, window, .. }) = &delivery.key else { return Ok(()) };
        self.host.delete(&key.register(Register::Done, *window)).await?;
        crate::claim::release(self.host, key, *window).await
    }
}

/// What is noted for a key.
pub(super) struct Noted {
    /// Of which delivery.
    pub(super) id: String,
    pub(super) digest: String,
    /// The engine has it.
    pub(super) delivered: bool,
}

/// Reads what is noted for a key; `None` if it can't be read.
pub(super) fn noted(work: &Work<'_>, done: &[u8]) -> Option<Noted> {
    match work {
        Work::Start(_) => {
            let Done { id, digest, status, .. } = Done::from_bytes(done).ok()?;
            Some(Noted { id, digest, delivered: status == 200 })
        }
        Work::Resolve(_) => {
            let CallbackRecord { id, digest, state, .. } = CallbackRecord::from_bytes(done).ok()?;
            Some(Noted { id: id.to_string(), digest, delivered: state == State::Delivered })
        }
    }
}

fn unwritable(error: impl std::fmt::Display) -> StoreError {
    StoreError(error.to_string())
}
