//! Attempts a stored delivery. Only the holder of the lease may do so.

use super::Gateway;
use super::look::PassNotes;
use super::send::Sent;
use crate::delivery::{Delivery, Found, FoundRun, Outcome, Verdict, Work};
use crate::engine::Doubt;
use crate::ports::{Host, StoreError};
use crate::store::{Claims as _, Effect, Outbox as _, RunRecord};

/// Maximum number of lookups of a start's runs in one attempt: one, and one after a cancellation.
const MAX_LOOKUPS: usize = 3;

impl<H: Host> Gateway<'_, H> {
    /// Attempts a delivery that is due, in a pass with these notes.
    ///
    /// [`Outcome::Pending`] includes the verdict of the attempt, or of the lookup of its run. If another delivery has
    /// settled the key, the delivery isn't sent: a duplicate is removed ([`Outcome::Duplicate`]), and one with other
    /// content is moved to the dead letters ([`Outcome::Conflict`], [`Outcome::KeyReused`]).
    pub(super) async fn attempt(
        &self,
        delivery: &mut Delivery<'static>,
        notes: &PassNotes,
    ) -> Result<Outcome, StoreError> {
        if let Some(outcome) = self.superseded(delivery).await? {
            return Ok(outcome);
        }
        match delivery.work {
            Work::Start(_) => self.attempt_start(delivery, notes).await,
            // One that was sent is looked at first: it may have had its effect.
            Work::Resolve(_) if delivery.sent.is_none() && delivery.is_exhausted(self.now(), &self.settings.limits) => {
                self.store_outcome(delivery, Outcome::Dead { last: None }).await
            }
            Work::Resolve(_) => self.attempt_callback(delivery, notes).await,
        }
    }

    async fn attempt_start(&self, delivery: &mut Delivery<'static>, notes: &PassNotes) -> Result<Outcome, StoreError> {
        match self.settings.engine.profile.doubt() {
            _ if !delivery.is_ambiguous() => {}
            Doubt::Find => {
                if let Some(outcome) = self.find_outcome(delivery, notes).await? {
                    return Ok(outcome);
                }
            }
            Doubt::Hold if delivery.is_undecided() => return self.hold(delivery).await,
            // The engine knows the mark, or the operator has accepted a second run.
            Doubt::Hold | Doubt::Resend | Doubt::ResendAnyway => {}
        }
        if delivery.is_exhausted(self.now(), &self.settings.limits) {
            return self.store_outcome(delivery, Outcome::Dead { last: None }).await;
        }
        // If this instance dies while it sends, the next drain looks up the run first.
        delivery.begin_attempt(self.now(), &self.settings.limits);
        if let Some(stopped) = self.store().begin(delivery).await?.stopped() {
            return Ok(stopped);
        }
        let sent = self.send(delivery).await;
        notes.answered(delivery, &sent, &self.settings.limits);
        if matches!(sent.verdict, Verdict::Accepted { .. }) && !delivery.orphans.is_empty() {
            self.check_replaced(delivery, notes).await?;
        }
        if matches!(sent.verdict, Verdict::Accepted { .. } | Verdict::Existing { .. }) {
            self.keep_one(delivery, notes).await;
        }
        self.record_outcome(delivery, sent.verdict).await
    }

    /// Keeps the payload of a start that isn't settled together with others.
    async fn keep_one(&self, delivery: &Delivery<'_>, notes: &PassNotes) {
        if !delivery.hold.settles_later
            && let Some(warning) = self.keep_payloads(&[delivery]).await
        {
            notes.warn(warning);
        }
    }

    /// Moves a start to the dead letters whose effect nothing tells.
    async fn hold(&self, delivery: &mut Delivery<'static>) -> Result<Outcome, StoreError> {
        let reason = "it may have started a run, and this engine can't be asked for it: look for the run at the engine, and \
                      redeliver this if there is none";
        delivery.close(reason, self.now());
        let last = Some(Verdict::Unclear { reason: reason.to_owned(), after: None, concluded: true });
        self.store_outcome(delivery, Outcome::Dead { last }).await
    }

    /// Looks up the runs of a start that may have been sent. Returns an outcome unless it has to be sent now.
    async fn find_outcome(
        &self,
        delivery: &mut Delivery<'static>,
        notes: &PassNotes,
    ) -> Result<Option<Outcome>, StoreError> {
        for _ in 0..MAX_LOOKUPS {
            let runs = match self.find_runs(delivery).await {
                Ok(runs) => runs,
                Err(verdict) => {
                    let sent = Sent { engine_status: None, verdict };
                    notes.answered(delivery, &sent, &self.settings.limits);
                    return self.postpone(delivery, sent.verdict).await.map(Some);
                }
            };
            match delivery.judge(&runs, self.now(), &self.settings.limits) {
                Found::Nothing => return Ok(None),
                Found::Run { body, besides } => {
                    if let (false, Some(run)) = (besides.is_empty(), self.run_id(&body)) {
                        self.record_twice(delivery, [vec![run], besides].concat(), notes).await?;
                    }
                    self.record_found(delivery, &body).await?;
                    self.keep_one(delivery, notes).await;
                    return self.record_outcome(delivery, Verdict::Accepted { body }).await.map(Some);
                }
                Found::Doubt => break,
                Found::Cancel { run } => {
                    // Both are stored before it is requested. A cancelled run of somebody else settles the delivery,
                    // and to another pending delivery of the same key this run would be one: only the first goes on.
                    if self.store().save(delivery).await? == Effect::Late {
                        return Ok(Some(Outcome::TakenOver));
                    }
                    self.cancel(delivery, &run).await;
                }
                Found::Hopeless { reason } => {
                    delivery.close(&reason, self.now());
                    let last = Some(Verdict::Unclear { reason, after: None, concluded: true });
                    return self.store_outcome(delivery, Outcome::Dead { last }).await.map(Some);
                }
            }
        }
        self.store_outcome(delivery, Outcome::Pending { last: None }).await.map(Some)
    }

    /// Checks once more, after a new submit, that the runs that it replaces don't run after all.
    async fn check_replaced(&self, delivery: &Delivery<'_>, notes: &PassNotes) -> Result<(), StoreError> {
        // If this lookup fails, nothing more can be said.
        let Ok(runs) = self.find_runs(delivery).await else { return Ok(()) };
        let started: Vec<&FoundRun> = runs.iter().filter(|run| run.state.is_started()).collect();
        let is_replaced = |run: &&FoundRun| delivery.orphans.iter().any(|orphan| orphan.run == run.id);
        if started.iter().any(is_replaced) {
            let runs = started.iter().map(|run| run.id.clone()).collect();
            self.record_twice(delivery, runs, notes).await?;
        }
        Ok(())
    }

    /// Records that a delivery has two runs, and warns of it.
    async fn record_twice(
        &self,
        delivery: &Delivery<'_>,
        runs: Vec<String>,
        notes: &PassNotes,
    ) -> Result<(), StoreError> {
        notes.warn(format!("delivery {} has the runs {}: the engine has started both", delivery.id, runs.join(", ")));
        self.store().record_twice(delivery.id, runs).await
    }

    /// Records the scope of a run that was started, if it isn't the default one.
    pub(super) async fn record_scope(&self, delivery: &Delivery<'_>, run: &[u8]) -> Result<(), StoreError> {
        let Some((run, scope)) = self.other_scope(delivery, run) else { return Ok(()) };
        self.store().record_run(&run, &RunRecord::new(Some(scope), false)).await
    }

    /// Records how a run that a lookup has found is looked at: its scope, and whether the engine shows it at all.
    async fn record_found(&self, delivery: &Delivery<'_>, body: &[u8]) -> Result<(), StoreError> {
        let engine = &self.settings.engine;
        let Some(run) = self.run_id(body).filter(|_| !engine.scopes().is_empty()) else { return Ok(()) };
        let scope = self.scope_of(delivery);
        let is_unseen = matches!(
            self.look_in(&run, None, scope.as_deref(), &delivery.trace).await,
            Err(Verdict::UnknownRun { .. })
        );
        if is_unseen {
            return self.store().record_run(&run, &RunRecord::new(scope, true)).await;
        }
        self.record_scope(delivery, body).await
    }

    /// Returns the run and the scope that a start's reference names, unless that is the default one.
    pub(super) fn other_scope(&self, delivery: &Delivery<'_>, run: &[u8]) -> Option<(String, String)> {
        let Work::Start(start) = &delivery.work else { return None };
        let scope = start.workflow.scope()?;
        let is_default = self.settings.engine.scopes().first().is_some_and(|default| default == scope);
        if is_default { None } else { Some((self.run_id(run)?, scope.to_owned())) }
    }

    /// Checks the key of a delivery. Returns an outcome if the delivery must not be sent now, because another delivery
    /// has settled the key, or may have.
    async fn superseded(&self, delivery: &mut Delivery<'static>) -> Result<Option<Outcome>, StoreError> {
        if delivery.claim.is_none() {
            return Ok(None);
        }
        let settled = match self.store().superseded(delivery).await? {
            // Another delivery of the key may be about to be sent.
            None if delivery.is_in_flight(self.now(), &self.settings.limits) => {
                return self.store_outcome(delivery, Outcome::Pending { last: None }).await.map(Some);
            }
            None => return Ok(None),
            Some(Err(_)) => return Ok(Some(Outcome::Unreadable)),
            Some(Ok(settled)) => settled,
        };
        let Some(claim) = &delivery.claim else { return Ok(None) };
        let outcome = settled.outcome(claim.key.digest());
        self.settle_superseded(delivery, outcome).await.map(Some)
    }

    /// Settles a delivery whose key another delivery has settled: removes a duplicate, and moves one with other content
    /// to the dead letters, because its sender got a 202.
    pub(super) async fn settle_superseded(
        &self,
        delivery: &mut Delivery<'static>,
        outcome: Outcome,
    ) -> Result<Outcome, StoreError> {
        let effect = if matches!(outcome, Outcome::Duplicate { .. }) {
            self.store().remove(delivery).await?
        } else {
            delivery.close(delivery.work.superseded_reason(), self.now());
            self.store().bury(delivery, false).await?
        };
        Ok(effective(effect, outcome))
    }

    /// Concludes a lookup that failed, and stores the outcome.
    async fn postpone(&self, delivery: &mut Delivery<'static>, verdict: Verdict) -> Result<Outcome, StoreError> {
        let outcome = delivery.conclude_lookup(verdict, self.now(), &self.settings.limits);
        self.store_outcome(delivery, outcome).await
    }

    /// Concludes an attempt to deliver a stored delivery and stores the outcome.
    pub(super) async fn record_outcome(
        &self,
        delivery: &mut Delivery<'_>,
        verdict: Verdict,
    ) -> Result<Outcome, StoreError> {
        let outcome = delivery.conclude_attempt(verdict, self.now(), &self.settings.limits);
        self.store_outcome(delivery, outcome).await
    }

    /// Stores the outcome of a stored delivery.
    pub(super) async fn store_outcome(
        &self,
        delivery: &mut Delivery<'_>,
        outcome: Outcome,
    ) -> Result<Outcome, StoreError> {
        let store = self.store();
        let effect = match &outcome {
            Outcome::Delivered { body } => {
                self.record_scope(delivery, body).await?;
                if delivery.hold.settles_later {
                    return Ok(outcome);
                }
                store.settle(delivery, body).await?
            }
            // A callback that is dead is accepted again as if it were new: it may come in time.
            Outcome::Rejected { .. } => store.bury(delivery, true).await?,
            Outcome::Dead { .. } => store.bury(delivery, matches!(delivery.work, Work::Resolve(_))).await?,
            _ => store.reschedule(delivery).await?,
        };
        Ok(effective(effect, outcome))
    }
}

/// Returns the outcome, unless it could not be stored because another instance has taken the delivery over.
pub(super) fn effective(effect: Effect, outcome: Outcome) -> Outcome {
    match effect {
        Effect::Done => outcome,
        Effect::Late => Outcome::TakenOver,
    }
}
