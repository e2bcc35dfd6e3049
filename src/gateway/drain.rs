//! The drain: attempts pending deliveries, oldest first, until none is due or its time budget is used up.
//!
//! ```text
//! begin the pass ─▶ take what is due ─▶ attempt it ─▶ sweep ─▶ end the pass
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::pin::pin;
use std::time::Duration;

use futures_util::future::{Either, FutureExt as _, select};
use futures_util::stream::{FuturesUnordered, StreamExt as _};
use serde::{Deserialize, Serialize};

use super::Gateway;
use super::alert::death;
use super::attempt::effective;
use super::look::PassNotes;
use crate::delivery::alert::{Backlog, Deaths};
use crate::delivery::width::{Answer, Bounds, Decision, Next, Refusal, SYNC_INTERVAL, Scheduler, Widths};
use crate::delivery::{Delivery, DeliveryId, Outcome, Verdict};
use crate::json;
use crate::ports::{Host, StoreError};
use crate::store::{Begun, HeldQueue, Outbox as _, PassNote, StorePass, WidthNotes};
use crate::time::Timestamp;

/// The number of failed attempts in a row after which a pass ends.
const MAX_FAILURES: usize = 8;
/// The number of queues that `/readyz` names at most.
const MAX_NOTED: usize = 32;

/// The time that a pass has for the sweep at least, even if its attempts have used up its budget.
const SWEEP_TIME: Duration = Duration::from_secs(2);

/// The result of one pass of the drain.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DrainSummary {
    /// Number of deliveries that the engine accepted.
    pub delivered: u64,
    /// Number of deliveries that were rejected, and became dead letters.
    pub rejected: u64,
    /// Number of deliveries that reached a limit of their retries, and became dead letters.
    pub dead: u64,
    /// Number of duplicates that were removed, and of deliveries that an operator has deleted.
    pub dropped: u64,
    /// Number of deliveries that are still pending; `None` if another drain holds the lease.
    pub pending: Option<u64>,
    /// Why the pass ended before every delivery had its turn; `None` if it didn't.
    pub stopped: Option<Stopped>,
    /// Whether a further pass has something to do at once.
    #[serde(default)]
    pub again: bool,
    /// The earliest time at which a delivery is due that the pass has seen and left.
    #[serde(skip)]
    pub due: Option<Timestamp>,
    /// How long the backlog will take at today's pace, in seconds; `None` if that isn't known.
    #[serde(default)]
    pub backlog: Option<u64>,
    /// Faults that did not end the pass, for the log.
    #[serde(skip)]
    pub warnings: Vec<String>,
}

impl DrainSummary {
    /// Whether there was nothing to do.
    pub fn is_idle(&self) -> bool {
        let moved = [self.delivered, self.rejected, self.dead, self.dropped];
        moved.iter().all(|count| *count == 0) && self.pending.unwrap_or(0) == 0 && self.warnings.is_empty()
    }
}

/// Whether a pass obeys a pause after failures of the engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Eagerness {
    /// It does: it is one of many that follow a response.
    Obeys,
    /// It tries at once: somebody has asked for it.
    Tries,
}

/// Why a pass ended early.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Stopped {
    /// The engine can't be reached, or failed too often in a row.
    Unreachable,
    /// The time budget was used up.
    Budget,
    /// Another drain holds the lease.
    Leased,
}

impl<H: Host> Gateway<'_, H> {
    /// Runs one pass, if anything may be due. Begins no attempt after `budget`.
    pub async fn drain(&self, budget: Duration, eagerness: Eagerness) -> Result<DrainSummary, StoreError> {
        let store = self.store();
        let rest = SWEEP_TIME.saturating_add(self.alert_time());
        let length = budget.saturating_add(self.attempt_length()).saturating_add(rest);
        let mut opened = match store.begin_pass(length).await? {
            Begun::Idle { pending, due } => {
                let pending = Some(u64::try_from(pending).unwrap_or(u64::MAX));
                return Ok(DrainSummary { pending, due, ..DrainSummary::default() });
            }
            Begun::Leased => return Ok(DrainSummary { stopped: Some(Stopped::Leased), ..DrainSummary::default() }),
            Begun::Pass(opened) => opened,
        };
        let (mut summary, mut note) = match self.pass(&mut opened, budget, eagerness).await {
            Ok(ended) => ended,
            Err(error) => {
                store.abort_pass(opened).await;
                return Err(error);
            }
        };
        note.summary = serde_json::value::to_raw_value(&summary).ok();
        let ended = store.end_pass(opened, note).await;
        summary.warnings.extend(ended.err().map(|error| error.to_string()));
        Ok(summary)
    }

    async fn pass(
        &self,
        opened: &mut StorePass,
        budget: Duration,
        eagerness: Eagerness,
    ) -> Result<(DrainSummary, PassNote), StoreError> {
        let store = self.store();
        let end = self.host.monotonic().saturating_add(budget);
        let bounds = Bounds { width_max: self.settings.width_max, engine_timeout: self.settings.timeouts.total };
        let mut pass = Pass::new(Scheduler::new(Widths::new(bounds, self.host.random())), eagerness);
        let attempted = self.attempt_all(opened, end, &mut pass).await;
        let pending = self.count_pending(opened, &mut pass).await;
        let left = self.leave(opened, &mut pass).await;
        if attempted.is_err() || pending.is_err() {
            // The first error is reported; the dead letters are there in any case.
            let _: Result<(), StoreError> = self.leave_deaths(std::mem::take(&mut pass.deaths)).await;
        }
        attempted?;
        let pending = pending?;
        let Pass { mut summary, fault, mut scheduler, next_due, queues, ended, deaths, reached, .. } = pass;
        let held = queues.iter().filter(|(_, held)| held.is_some()).map(|(queue, _)| queue.clone()).collect();
        summary.warnings.extend(self.note_queues(queues).await.err().map(|error| error.to_string()));
        summary.due = next_due;
        summary.warnings.extend(left.err().map(|error| format!("the width of the drain was not stored: {error}")));
        summary.pending = Some(pending);
        match fault {
            Some(reason) => store.record_fault(&reason).await?,
            // The engine accepts deliveries, or none is pending.
            None if pending == 0 || summary.delivered > 0 => store.clear_fault().await?,
            None => {}
        }
        let failed = summary.rejected.saturating_add(summary.dead);
        let delivered = summary.delivered;
        let note = PassNote { pending: pending > 0, next_due, held, ended, delivered, failed, ..PassNote::default() };
        let sample = store.sample(opened, &note);
        let backlog = Backlog { pending, dead: sample.dead, oldest: sample.oldest };
        let is_reachable = reached || summary.stopped != Some(Stopped::Unreachable);
        let alerted = self.alert(deaths, backlog, is_reachable).await;
        summary.warnings.extend(alerted.warnings);
        let sweep_end = end.max(self.host.monotonic().saturating_add(SWEEP_TIME));
        let more = match store.sweep(opened, sweep_end).await {
            Ok(more) => more,
            Err(error) => {
                summary.warnings.push(format!("an expired key was not deleted: {error}"));
                false
            }
        };
        summary.again = summary.stopped == Some(Stopped::Budget) || more;
        summary.backlog =
            scheduler.widths().pace().and_then(|pace| pace.remaining(self.now())).map(|left| left.as_secs());
        Ok((summary, PassNote { alert_due: alerted.due, ..note }))
    }

    /// Counts the pending deliveries, for the estimate of how long they will take.
    async fn count_pending(&self, opened: &mut StorePass, pass: &mut Pass) -> Result<u64, StoreError> {
        let DrainSummary { delivered, rejected, dead, dropped, .. } = &pass.summary;
        let concluded = [delivered, rejected, dead, dropped].into_iter().sum::<u64>();
        let pending = self.store().pending(opened, usize::try_from(concluded).unwrap_or(usize::MAX)).await?;
        let pending = u64::try_from(pending).unwrap_or(u64::MAX);
        pass.scheduler.widths().count_pending(pending, self.now());
        Ok(pending)
    }

    /// Notes which queues are held, for `/readyz`. Passes that note it at the same moment may miss each other's queues
    /// until the next attempt of a head.
    async fn note_queues(&self, queues: BTreeMap<String, Option<HeldQueue>>) -> Result<(), StoreError> {
        if queues.is_empty() {
            return Ok(());
        }
        let known = self.store().held_queues().await?;
        let mut noted: Vec<_> = known.iter().filter(|held| !queues.contains_key(&held.queue)).cloned().collect();
        for mut held in queues.into_values().flatten() {
            let before = known.iter().find(|known| known.delivery == held.delivery);
            held.since = before.map_or(held.since, |before| before.since);
            noted.push(held);
        }
        noted.truncate(MAX_NOTED);
        if noted == known { Ok(()) } else { self.store().write_held_queues(&noted).await }
    }

    /// Tells the drain that the engine has refused a fresh delivery. If this fails, it learns so by itself.
    pub async fn tell_refusal(&self, refusal: &Refusal) -> Result<(), StoreError> {
        let text = serde_json::to_string(refusal).map_err(|error| StoreError(error.to_string()))?;
        self.store().write_refusal(&text).await
    }

    /// Reads the notes about the drain's width, and writes what this pass adds if there may be others.
    async fn sync(&self, pass: &mut Pass) -> Result<(), StoreError> {
        let is_first = pass.notes.note.is_none();
        let WidthNotes { note, refusal } = self.store().width_notes().await?;
        pass.notes.refusal = refusal;
        if is_first || self.store().has_other_passes() {
            pass.notes.note = note;
        }
        let widths = pass.scheduler.widths();
        let written = widths.sync(pass.notes.note.as_deref(), self.now());
        if is_first && pass.eagerness == Eagerness::Tries {
            widths.resume();
        }
        if let Some(refusal) = pass.notes.refusal.take().and_then(|text| json::read(text.as_bytes()).ok()) {
            widths.refused_elsewhere(&refusal, self.now());
        }
        if self.store().has_other_passes() {
            self.store().write_width(&written).await?;
        }
        pass.notes.note = Some(written);
        Ok(())
    }

    /// Gives back what the pass did not attempt, and leaves the width to the next one.
    async fn leave(&self, opened: &mut StorePass, pass: &mut Pass) -> Result<(), StoreError> {
        let waiting = pass.scheduler.remove_waiting();
        self.store().give_back_all(opened, waiting).await?;
        if pass.notes.note.is_none() {
            // It has attempted nothing.
            return Ok(());
        }
        if self.store().has_other_passes() {
            pass.notes = self.store().width_notes().await?;
        }
        let written = pass.scheduler.widths().leave(pass.notes.note.as_deref(), self.now());
        self.store().write_width(&written).await
    }

    async fn attempt_all(&self, opened: &mut StorePass, end: Duration, pass: &mut Pass) -> Result<(), StoreError> {
        let notes = PassNotes::default();
        let mut in_flight = FuturesUnordered::new();
        let mut failed = None;
        let mut synced = self.host.monotonic();
        loop {
            let monotonic = self.host.monotonic();
            if pass.notes.note.is_some() && monotonic.saturating_sub(synced) >= SYNC_INTERVAL {
                synced = monotonic;
                if let Err(error) = self.sync(pass).await {
                    failed.get_or_insert(error);
                }
            }
            let (started, waits_until) = if failed.is_some() || pass.summary.stopped.is_some() {
                (None, None)
            } else {
                match self.next(opened, pass, in_flight.is_empty(), end).await {
                    Ok(next) => next,
                    Err(error) => {
                        failed = Some(error);
                        (None, None)
                    }
                }
            };
            if let Some(mut delivery) = started {
                let notes = &notes;
                in_flight.push(async move {
                    let outcome = self.attempt(&mut delivery, notes).await;
                    (delivery, outcome)
                });
                continue;
            }
            if in_flight.is_empty() {
                // A pass that was asked for waits for the end of a short pause of the engine.
                let now = self.now();
                let pause = waits_until.map(|until| until.since(now));
                let is_asked = pass.eagerness == Eagerness::Tries && pass.summary.stopped.is_none();
                let is_held_up = pass.more || pass.scheduler.next_due(now).is_some_and(|due| due <= now);
                if let Some(pause) = pause
                    && is_asked
                    && is_held_up
                    && pass.scheduler.opens(now).is_some()
                    && monotonic.saturating_add(pause) < end
                {
                    self.host.sleep(pause).await;
                    continue;
                }
                if waits_until.is_some() && pass.scheduler.opens(self.now()).is_some() {
                    pass.summary.stopped.get_or_insert(Stopped::Unreachable);
                }
                pass.next_due = pass.next_due.into_iter().chain(waits_until).min();
                break;
            }
            let ended = self.await_ended(&mut in_flight, waits_until).await;
            if let Err(error) = self.conclude_all(ended, &notes, pass).await {
                failed.get_or_insert(error);
            }
        }
        drop(in_flight);
        pass.summary.warnings.extend(notes.into_warnings());
        failed.map_or(Ok(()), Err)
    }

    /// Returns the next delivery to attempt; without one, the time from which there may be one.
    async fn next(
        &self,
        opened: &mut StorePass,
        pass: &mut Pass,
        is_idle: bool,
        end: Duration,
    ) -> Result<(Option<Delivery<'static>>, Option<Timestamp>), StoreError> {
        loop {
            // Until the engine has answered, only one attempt is in flight.
            if !pass.reached && !is_idle {
                return Ok((None, None));
            }
            let is_over = self.host.monotonic() >= end;
            let limit = if pass.reached { usize::MAX } else { 1 };
            let room = pass.scheduler.room(self.now()).min(limit);
            let mut is_offered = false;
            if pass.more && room > 0 && !is_over {
                let busy: Vec<String> = pass.scheduler.busy(self.now()).into_iter().map(str::to_owned).collect();
                let offer = self.store().offer(opened, room, &busy).await?;
                pass.more = offer.more;
                is_offered = !offer.deliveries.is_empty() || !offer.unreadable.is_empty();
                let unreadable = |id| format!("the pending delivery {id} can't be read");
                pass.summary.warnings.extend(offer.unreadable.into_iter().map(unreadable));
                if pass.notes.note.is_none() && !offer.deliveries.is_empty() {
                    self.sync(pass).await?;
                }
                for due in offer.deliveries {
                    pass.scheduler.add(due);
                }
            }
            if is_over {
                let is_due = pass.more || matches!(pass.scheduler.next_due(self.now()), Some(due) if due <= self.now());
                if is_due {
                    pass.summary.stopped = Some(Stopped::Budget);
                }
                return Ok((None, None));
            }
            match pass.scheduler.next(self.now()) {
                Decision::Start(id) => match self.store().open(opened, id).await? {
                    Some(Ok(mut delivery)) => {
                        delivery.hold.settles_later = true;
                        return Ok((Some(delivery), None));
                    }
                    Some(Err(_)) => {
                        pass.summary.warnings.push(format!("the pending delivery {id} can't be read"));
                        pass.scheduler.end(id, Answer::Unsent, Next::Returned, self.now());
                    }
                    None => pass.scheduler.end(id, Answer::Unsent, Next::Gone, self.now()),
                },
                // The store may have more, once the engine's width permits, or that those offered don't hold back.
                Decision::Wait(_) | Decision::Done if pass.more && is_offered => {}
                Decision::Wait(until) => return Ok((None, until)),
                Decision::Done => {
                    let more = pass.more;
                    return Ok((None, pass.scheduler.opens(self.now()).filter(|_| more)));
                }
            }
        }
    }

    /// Waits until at least one attempt has ended, or until a time, and returns all that have ended.
    async fn await_ended<F: Future<Output = Attempted>>(
        &self,
        in_flight: &mut FuturesUnordered<F>,
        until: Option<Timestamp>,
    ) -> Vec<Attempted> {
        let ended = match until {
            None => in_flight.next().await,
            Some(until) => {
                let sleep = pin!(self.host.sleep(until.since(self.now())));
                match select(in_flight.next(), sleep).await {
                    Either::Left((ended, _)) => ended,
                    Either::Right(((), _)) => None,
                }
            }
        };
        let mut all: Vec<_> = ended.into_iter().collect();
        while let Some(Some(ended)) = in_flight.next().now_or_never() {
            all.push(ended);
        }
        all
    }

    /// Concludes attempts that have ended: settles those that the engine has accepted, and counts all.
    async fn conclude_all(&self, ended: Vec<Attempted>, notes: &PassNotes, pass: &mut Pass) -> Result<(), StoreError> {
        let bodies = ended.iter().filter_map(|(delivery, outcome)| match outcome {
            Ok(Outcome::Delivered { body }) => Some((delivery, body.as_slice())),
            _ => None,
        });
        let settled: Vec<_> = bodies.collect();
        let delivered: Vec<_> = settled.iter().map(|(delivery, _)| *delivery).collect();
        pass.summary.warnings.extend(self.keep_payloads(&delivered).await);
        let effects = if settled.is_empty() { Ok(Vec::new()) } else { self.store().settle_all(&settled).await };
        let (mut effects, mut failed) = match effects {
            Ok(effects) => (effects.into_iter(), None),
            Err(error) => (Vec::new().into_iter(), Some(error)),
        };
        for (delivery, outcome) in ended {
            let outcome = match outcome {
                // Without an effect, it is unknown whether it was settled: the store still has the delivery.
                Ok(accepted @ Outcome::Delivered { .. }) => effects.next().map(|effect| effective(effect, accepted)),
                Ok(outcome) => Some(outcome),
                Err(error) => {
                    failed.get_or_insert(error);
                    None
                }
            };
            let next = match &outcome {
                // A pass attempts each delivery once, except the first of a queue: while the pass has it, it holds back
                // the others. Otherwise the store does.
                Some(Outcome::Pending { .. }) => {
                    let expires = delivery.expires(&self.settings.limits);
                    let due = [delivery.next_attempt].into_iter().chain(expires);
                    pass.next_due = pass.next_due.into_iter().chain(due).min();
                    let is_queued = delivery.work.queue().is_some() && !self.store().has_other_passes();
                    if is_queued { Next::Again(delivery.next_attempt) } else { Next::Returned }
                }
                Some(Outcome::TakenOver | Outcome::Unreadable) | None => Next::Returned,
                Some(_) => {
                    pass.ended.insert(delivery.id);
                    Next::Gone
                }
            };
            pass.scheduler.end(delivery.id, notes.take_answer(delivery.id), next, self.now());
            if let Some(outcome) = outcome {
                pass.count(delivery.id, &outcome);
                if outcome.is_death() {
                    pass.deaths.add(death(&delivery, &outcome));
                }
                pass.count_queue(&delivery, &outcome, self.now());
            }
        }
        failed.map_or(Ok(()), Err)
    }
}

/// A delivery that was attempted, and the outcome.
type Attempted = (Delivery<'static>, Result<Outcome, StoreError>);

/// A pass in progress.
struct Pass {
    scheduler: Scheduler,
    eagerness: Eagerness,
    /// The notes about the width, as this pass has read or written them last.
    notes: WidthNotes,
    summary: DrainSummary,
    /// The earliest time at which a delivery that is pending may be attempted, as far as the pass knows.
    next_due: Option<Timestamp>,
    /// Whether the store may have more to offer.
    more: bool,
    /// The queues of which a delivery was attempted, each with the delivery that holds it now.
    queues: BTreeMap<String, Option<HeldQueue>>,
    /// Number of failed attempts in a row.
    failures: usize,
    /// Whether the engine has answered.
    reached: bool,
    /// The configuration fault that an attempt found.
    fault: Option<String>,
    /// The deliveries that have become dead letters.
    deaths: Deaths,
    /// The deliveries that are no longer pending.
    ended: BTreeSet<DeliveryId>,
}

impl Pass {
    fn new(scheduler: Scheduler, eagerness: Eagerness) -> Self {
        let summary = DrainSummary::default();
        Self {
            scheduler,
            eagerness,
            notes: WidthNotes::default(),
            summary,
            next_due: None,
            more: true,
            queues: BTreeMap::new(),
            failures: 0,
            reached: false,
            fault: None,
            deaths: Deaths::default(),
            ended: BTreeSet::new(),
        }
    }

    /// Counts the outcome of an attempt.
    fn count(&mut self, id: DeliveryId, outcome: &Outcome) {
        let count = match outcome {
            Outcome::Delivered { .. } => &mut self.summary.delivered,
            Outcome::Rejected { .. } | Outcome::Conflict { .. } | Outcome::KeyReused { .. } => {
                &mut self.summary.rejected
            }
            Outcome::Dead { .. } => &mut self.summary.dead,
            Outcome::Duplicate { .. } | Outcome::Deleted => &mut self.summary.dropped,
            Outcome::Pending { .. } | Outcome::NotStored { .. } | Outcome::NotTaken => &mut 0,
            Outcome::TakenOver => {
                self.summary.warnings.push(format!("another instance has taken delivery {id} over"));
                &mut 0
            }
            Outcome::Unreadable => {
                self.summary.warnings.push(format!("the record of the key of delivery {id} can't be read"));
                &mut 0
            }
        };
        *count = count.saturating_add(1);
        if let Outcome::Dead { last: Some(verdict) } = outcome {
            self.summary.warnings.push(format!("delivery {id} became a dead letter: {verdict}"));
        }
        match outcome {
            Outcome::Delivered { .. }
            | Outcome::Rejected { .. }
            | Outcome::Conflict { .. }
            | Outcome::KeyReused { .. } => (self.reached, self.failures) = (true, 0),
            Outcome::Pending { last: Some(verdict) } | Outcome::Dead { last: Some(verdict) } => {
                self.count_failure(verdict)
            }
            _ => {}
        }
    }

    /// Notes whether a delivery holds its queue after an attempt, or lets the next one go.
    fn count_queue(&mut self, delivery: &Delivery<'_>, outcome: &Outcome, now: Timestamp) {
        let Some(queue) = delivery.work.queue() else { return };
        let held = match outcome {
            Outcome::Pending { .. } if delivery.next_attempt > now => Some(HeldQueue {
                queue: queue.to_owned(),
                workflow: delivery.work.reference().to_owned(),
                delivery: delivery.id,
                since: now,
                failure: delivery.last_failure().map(str::to_owned),
            }),
            Outcome::Pending { .. } | Outcome::TakenOver | Outcome::Unreadable => return,
            Outcome::Delivered { .. } | Outcome::Duplicate { .. } | Outcome::Deleted => None,
            _ => {
                let id = delivery.id;
                self.summary.warnings.push(format!("delivery {id} is a dead letter: the next one in its queue goes"));
                None
            }
        };
        // A database may have the next one of the queue.
        self.more |= held.is_none();
        self.queues.insert(queue.to_owned(), held);
    }

    /// Counts a failed attempt, and ends the pass if the engine can't be reached or has failed too often in a row.
    fn count_failure(&mut self, verdict: &Verdict) {
        match verdict {
            Verdict::Unreachable { .. } => self.summary.stopped = Some(Stopped::Unreachable),
            Verdict::UnknownRun { .. } | Verdict::NotWaiting => (self.reached, self.failures) = (true, 0),
            _ => {
                (self.reached, self.failures) = (true, self.failures.saturating_add(1));
                if self.failures >= MAX_FAILURES {
                    self.summary.stopped = Some(Stopped::Unreachable);
                }
            }
        }
        if let Some(reason) = verdict.fault() {
            self.fault = Some(reason.to_owned());
        }
    }
}
