//! Brings one stored delivery to the engine. For the holder of the lease alone.

use super::conclude::{Concluded, noted};
use super::{Failure, Gateway, keys};
use crate::claim::Mark;
use crate::delivery::{Claimed, Delivery, Key, Register, Setback, Work};
use crate::ports::{Host, StoreError};

/// What became of one.
pub(super) enum Brought {
    Concluded(Concluded),
    /// It had been tried for too long or too often, and is kept; the engine was not asked.
    Expired,
    /// Another of its key is delivered, or on its way.
    Dropped,
    /// Another callback was accepted first, or the key was used for something else.
    Conflicting,
    /// What is noted for its key can't be read, so nobody knows; it stays as it is.
    Unreadable,
    /// The engine was asked for it, and didn't say.
    Unanswered(Failure),
}

impl<O: Host> Gateway<'_, O> {
    /// A stored delivery: outer `None` if it isn't there, inner if it can't be read.
    pub(super) async fn load(&self, key: &str) -> Result<Option<Option<Delivery<'static>>>, StoreError> {
        Ok(self.host.get(key).await?.map(|bytes| Delivery::from_bytes(&bytes).ok()))
    }

    pub(super) fn is_over(&self, delivery: &Delivery<'_>) -> bool {
        let limits = &self.settings.limits;
        // What may have been acted on is asked for before it is given up.
        !delivery.is_under_way(self.now(), limits)
            && (delivery.is_expired(self.now(), limits) || delivery.heard >= limits.max_attempts)
    }

    /// One delivery that is due.
    pub(super) async fn bring(&self, mut delivery: Delivery<'static>) -> Result<Brought, StoreError> {
        if let Some(taken) = self.taken(&mut delivery).await? {
            return Ok(taken);
        }
        if matches!(delivery.work, Work::Start(_)) && delivery.is_ambiguous() {
            match self.find(&delivery).await {
                Ok(Some(run)) => return self.conclude(&mut delivery, Ok(run)).await.map(Brought::Concluded),
                Ok(None) => {}
                Err(failure) => return self.postpone(&mut delivery, failure).await,
            }
        }
        if self.is_over(&delivery) {
            self.bury(&delivery).await?;
            return Ok(Brought::Expired);
        }
        // Stored before it is sent: if we die on the way, the next drain asks before it sends again.
        delivery.begin(self.now(), &self.settings.limits);
        self.write_pending(&delivery).await?;
        let sent = self.call(&delivery).await;
        self.conclude(&mut delivery, sent.result).await.map(Brought::Concluded)
    }

    /// Has another of its key been delivered, or is it on its way? Then this one is one too many.
    async fn taken(&self, delivery: &mut Delivery<'static>) -> Result<Option<Brought>, StoreError> {
        let Some(Claimed { key, window, .. }) = &delivery.key else { return Ok(None) };
        let mut windows = vec![*window];
        windows.extend(self.settings.retention.lookup(self.now()).iter().filter(|other| *other != window));
        for window in windows {
            let Some(done) = self.host.get(&key.register(Register::Done, window)).await? else { continue };
            let Some(first) = noted(&delivery.work, &done) else { return Ok(Some(Brought::Unreadable)) };
            if first.id == delivery.id.to_string() && !first.delivered {
                return Ok(None);
            }
            if first.digest == key.digest() {
                self.host.delete(&keys::pending(delivery.id)).await?;
                return Ok(Some(Brought::Dropped));
            }
            return self.conflicting(delivery).await.map(Some);
        }
        self.adopt(delivery).await
    }

    /// A winner that died may have sent its callback, which is in the flag. Then that one is the first, and is brought
    /// (again) before a copy that says something else is told so.
    async fn adopt(&self, delivery: &mut Delivery<'static>) -> Result<Option<Brought>, StoreError> {
        let (Work::Resolve(_), Some(Claimed { key, window, copy: true })) = (&delivery.work, &delivery.key) else {
            return Ok(None);
        };
        let flag = self.host.get(&key.register(Register::Flag, *window)).await?;
        let record = flag.as_deref().and_then(Mark::from_bytes).and_then(|mark| mark.callback);
        let Some(record) = record.filter(|record| record.digest != key.digest()) else { return Ok(None) };
        let callback = record.callback();
        let first_key = Key::callback(&callback);
        let mut first = Delivery::new(record.id, Work::Resolve(callback), delivery.trace.clone(), record.received);
        first.key = Some(Claimed { key: first_key, window: *window, copy: true });
        match self.call(&first).await.result {
            Ok(body) => {
                self.note_delivered(&first, &body, self.now()).await?;
                self.conflicting(delivery).await.map(Some)
            }
            Err(Failure::Rejected { .. }) => Ok(None),
            Err(failure) => self.postpone(delivery, failure).await.map(Some),
        }
    }

    async fn conflicting(&self, delivery: &mut Delivery<'static>) -> Result<Brought, StoreError> {
        let reason = match &delivery.work {
            Work::Resolve(_) => "another callback for this run and topic was accepted first",
            Work::Start(_) => "the idempotency key was used with another payload first",
        };
        delivery.fail(Setback::Refused, reason, self.now(), &self.settings.limits);
        self.bury(delivery).await?;
        Ok(Brought::Conflicting)
    }

    /// The engine was asked and didn't say: the delivery stays in doubt.
    async fn postpone(&self, delivery: &mut Delivery<'static>, failure: Failure) -> Result<Brought, StoreError> {
        let doubt = delivery.sent;
        delivery.fail(failure.setback(), &format!("asked for its run, {failure}"), self.now(), &self.settings.limits);
        delivery.sent = doubt;
        if self.is_over(delivery) {
            self.bury(delivery).await?;
            return Ok(Brought::Concluded(Concluded::Dead(failure)));
        }
        self.write_pending(delivery).await?;
        Ok(Brought::Unanswered(failure))
    }
}
