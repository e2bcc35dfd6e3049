//! The widths of the engine and of its workflows, as one pass sees them.

use std::collections::BTreeMap;
use std::time::Duration;

use http::StatusCode;
use serde::{Deserialize, Serialize};

use super::limit::Width;
use super::note::{MAX_WORKFLOWS, Note, PassEntry};
use super::pace::Pace;
use crate::delivery::{RETRY_AFTER_CAP, Verdict};
use crate::time::{MAX_CLOCK_SKEW, Timestamp};

/// The default of `width_max`.
pub const WIDTH_MAX: u32 = 16;
/// Maximum number of bytes that a pass has in flight, unless it is one delivery alone.
pub const MAX_BYTES_IN_FLIGHT: usize = 16 * 1_024 * 1_024;
/// How often a pass reads the note and writes it: [`Widths::sync`].
pub const SYNC_INTERVAL: Duration = Duration::from_secs(5);
/// How long the place of a pass that has ended is kept for the next one.
const VACANCY: Duration = Duration::from_secs(10);
/// After this time without a note, an engine's width begins again at 1, and those of workflows are forgotten.
pub const IDLE: Duration = Duration::from_secs(10 * 60);

/// The settings of a drain's width.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// `width_max`: the greatest width, at least 1.
    pub width_max: u32,
    /// `engine_timeout_ms`: how long after it is sent the engine may be at work on a request.
    pub engine_timeout: Duration,
}

/// How an attempt ended, as far as the widths are concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The engine has answered, and keeps up.
    Answered,
    /// The engine has answered 429: the workflow has too many requests.
    Limited {
        /// The engine's `Retry-After`.
        after: Option<Duration>,
    },
    /// The engine is overloaded or doesn't work, and is not at work on the request: 503 and other errors, no
    /// connection, or a configuration that the engine refuses.
    Failed {
        /// The engine's `Retry-After`.
        after: Option<Duration>,
    },
    /// The engine has not answered, and may still be at work on the request.
    Silent {
        /// [`Limits::engine_deadline`](crate::delivery::Limits::engine_deadline).
        until: Timestamp,
        /// The `Retry-After` of a proxy.
        after: Option<Duration>,
    },
    /// Nothing was sent to the engine.
    Unsent,
}

impl Answer {
    /// The meaning of a verdict for the widths. `status` is that of the response, if there was one, and `deadline` the
    /// engine's deadline for the request.
    pub fn of(verdict: &Verdict, status: Option<StatusCode>, deadline: Timestamp) -> Self {
        match verdict {
            Verdict::Accepted { .. }
            | Verdict::Existing { .. }
            | Verdict::NotWaiting
            | Verdict::AlreadyResolved { .. }
            | Verdict::UnknownTopic
            | Verdict::Rejected { .. }
            | Verdict::UnknownRun { .. } => Self::Answered,
            Verdict::Retry { after, .. } => match status {
                Some(StatusCode::TOO_MANY_REQUESTS) => Self::Limited { after: *after },
                // Locked, or too early: the engine is not overloaded.
                Some(status) if status.is_client_error() && status != StatusCode::REQUEST_TIMEOUT => Self::Answered,
                _ => Self::Failed { after: *after },
            },
            Verdict::Unclear { after, concluded: false, .. } => Self::Silent { until: deadline, after: *after },
            // An error of this request: the engine itself has answered.
            Verdict::Unclear { concluded: true, .. } if status == Some(StatusCode::INTERNAL_SERVER_ERROR) => {
                Self::Answered
            }
            Verdict::Unclear { after, concluded: true, .. } => Self::Failed { after: *after },
            Verdict::Unreachable { .. } | Verdict::Misconfigured { .. } => Self::Failed { after: None },
        }
    }
}

/// The last refusal of a fresh delivery, which went straight to the engine and is stored since.
///
/// A drain that refills its width at once sees few refusals itself: the senders of fresh deliveries have them. The
/// instance that stores such a delivery writes this over the one before, and each pass reads it with the note.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// When the engine refused it. Tells one refusal from the next.
    pub at: Timestamp,
    /// The workflow, if it was a 429 for that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workflow: Option<String>,
}

/// Why nothing can start now. The time is when that may change even if no request ends; `None` if only the end of a
/// request changes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Blocked {
    /// The engine's width is used up, or it is paused.
    Engine(Option<Timestamp>),
    /// The workflow's width is used up, or it is paused.
    Workflow(Option<Timestamp>),
    /// There are too many bytes in flight.
    Bytes,
}

/// A request in flight.
#[derive(Debug)]
pub struct Slot {
    started: Timestamp,
    /// `None` for a callback.
    workflow: Option<String>,
    bytes: usize,
    /// Number of requests to the engine in flight at the start, with this one.
    beside: u32,
    /// The same, to the workflow.
    beside_in_workflow: u32,
}

/// What a pass knows of one width.
#[derive(Clone, Copy, Debug)]
struct Gauge {
    /// Number of requests in flight, including those that the engine may still be at work on.
    in_flight: u32,
    /// The most that were in flight since the last look for a refusal of a fresh delivery: at the moment of the look,
    /// all of them may just have ended.
    most: u32,
    /// The time of the last decrease that this pass knows of. Requests that were started until then say nothing about
    /// the present width.
    decreased: Timestamp,
    /// When the width was last used up; the epoch if never.
    filled: Timestamp,
}

impl Gauge {
    const NEW: Self = Self { in_flight: 0, most: 0, decreased: Timestamp(0), filled: Timestamp(0) };

    fn start(&mut self) {
        self.in_flight = self.in_flight.saturating_add(1);
        self.most = self.most.max(self.in_flight);
    }

    /// Whether the answer to a request says something about the present width.
    fn counts(&self, slot: &Slot) -> bool {
        slot.started > self.decreased
    }
}

#[derive(Debug)]
struct Workflow {
    /// `None` until its first 429.
    width: Option<Width>,
    gauge: Gauge,
}

/// A request that was not answered, and that the engine may still be at work on.
#[derive(Debug)]
struct Lingering {
    until: Timestamp,
    workflow: Option<String>,
}

/// The widths of the engine and of its workflows, as one pass sees them.
#[derive(Debug)]
pub struct Widths {
    bounds: Bounds,
    /// The id of this pass.
    pass: u64,
    engine: Width,
    gauge: Gauge,
    workflows: BTreeMap<String, Workflow>,
    lingering: Vec<Lingering>,
    bytes: usize,
    /// The other passes.
    others: Vec<PassEntry>,
    /// Whether this pass has read the note.
    joined: bool,
    /// Until when this pass starts one request at a time, because the others may not yet know of it.
    new_until: Timestamp,
    /// The time of the last [`Refusal`] that was counted.
    refused: Option<Timestamp>,
    pace: Option<Pace>,
    /// Number of deliveries concluded since the last [`sync`](Self::sync).
    concluded: u64,
    /// The last count of pending deliveries since then.
    pending: Option<(u64, Timestamp)>,
}

/// The part of a width that belongs to this pass.
struct Share {
    size: u32,
    passes: u32,
}

impl Widths {
    /// The widths of a pass that has not yet read the note. `pass` is a random number.
    pub fn new(bounds: Bounds, pass: u64) -> Self {
        Self {
            bounds: Bounds { width_max: bounds.width_max.max(1), ..bounds },
            pass,
            engine: Width::new(1),
            gauge: Gauge::NEW,
            workflows: BTreeMap::new(),
            lingering: Vec::new(),
            bytes: 0,
            others: Vec::new(),
            joined: false,
            new_until: Timestamp(0),
            refused: None,
            pace: None,
            concluded: 0,
            pending: None,
        }
    }

    /// Whether a request can start now. `workflow` is `None` for a callback.
    pub fn check(&mut self, workflow: Option<&str>, bytes: usize, now: Timestamp) -> Result<(), Blocked> {
        self.expire(now);
        self.check_engine(now)?;
        self.check_workflow(workflow, now)?;
        let is_alone = self.bytes == 0;
        if is_alone || self.bytes.saturating_add(bytes) <= MAX_BYTES_IN_FLIGHT { Ok(()) } else { Err(Blocked::Bytes) }
    }

    /// The part of [`check`](Self::check) for the engine, after [`expire`](Self::expire).
    pub(super) fn check_engine(&self, now: Timestamp) -> Result<(), Blocked> {
        if let Some(until) = self.engine.paused(now) {
            return Err(Blocked::Engine(Some(until)));
        }
        let is_new = self.new_until > now;
        let share = self.engine_share().size.min(if is_new { 1 } else { u32::MAX });
        if self.gauge.in_flight < share {
            return Ok(());
        }
        let own = self.lingering.iter().map(|request| request.until);
        let others = self.others.iter().map(|pass| pass.until);
        Err(Blocked::Engine(own.chain(others).chain(is_new.then_some(self.new_until)).min()))
    }

    /// The part of [`check`](Self::check) for a workflow, after [`expire`](Self::expire).
    pub(super) fn check_workflow(&self, workflow: Option<&str>, now: Timestamp) -> Result<(), Blocked> {
        let Some((width, gauge)) = workflow
            .and_then(|name| self.workflows.get(name))
            .and_then(|known| Some((known.width.as_ref()?, &known.gauge)))
        else {
            return Ok(());
        };
        if let Some(until) = width.paused(now) {
            return Err(Blocked::Workflow(Some(until)));
        }
        if gauge.in_flight < self.share_of(width.size).size {
            return Ok(());
        }
        let own = self.lingering.iter().filter(|request| request.workflow.as_deref() == workflow);
        let others = self.others.iter().map(|pass| pass.until);
        Err(Blocked::Workflow(own.map(|request| request.until).chain(others).min()))
    }

    /// Number of requests that can start now, as far as the engine is concerned.
    pub fn free(&mut self, now: Timestamp) -> u32 {
        self.expire(now);
        match self.check_engine(now) {
            Ok(()) if self.new_until > now => 1,
            Ok(()) => self.engine_share().size.saturating_sub(self.gauge.in_flight),
            Err(_) => 0,
        }
    }

    /// Number of requests in flight, including those that the engine may still be at work on.
    pub fn in_flight(&self) -> u32 {
        self.gauge.in_flight
    }

    /// Starts a request that [`check`](Self::check) allows.
    pub fn start(&mut self, workflow: Option<&str>, bytes: usize, now: Timestamp) -> Slot {
        self.bytes = self.bytes.saturating_add(bytes);
        self.gauge.start();
        if self.gauge.in_flight >= self.engine_share().size {
            self.gauge.filled = now;
        }
        let mut beside_in_workflow = 0;
        if let Some(name) = workflow {
            let share = self.workflows.get(name).and_then(|known| known.width.as_ref());
            let share = share.map(|width| self.share_of(width.size).size);
            let new = || Workflow { width: None, gauge: Gauge::NEW };
            let gauge = &mut self.workflows.entry(name.to_owned()).or_insert_with(new).gauge;
            gauge.start();
            beside_in_workflow = gauge.in_flight;
            if share.is_some_and(|share| gauge.in_flight >= share) {
                gauge.filled = now;
            }
        }
        let beside = self.gauge.in_flight;
        Slot { started: now, workflow: workflow.map(str::to_owned), bytes, beside, beside_in_workflow }
    }

    /// Ends a request.
    pub fn end(&mut self, slot: Slot, answer: Answer, now: Timestamp) {
        self.expire(now);
        match answer {
            Answer::Answered => self.succeed(&slot),
            Answer::Limited { after } if slot.workflow.is_some() => self.limit_workflow(&slot, after, now),
            Answer::Limited { after } | Answer::Failed { after } | Answer::Silent { after, .. } => {
                self.refuse(&slot, after, now);
            }
            Answer::Unsent => {}
        }
        self.bytes = self.bytes.saturating_sub(slot.bytes);
        match answer {
            Answer::Silent { until, .. } if until > now => {
                self.lingering.push(Lingering { until, workflow: slot.workflow });
            }
            _ => self.leave_flight(slot.workflow.as_deref()),
        }
    }

    fn succeed(&mut self, slot: &Slot) {
        let share = self.engine_share();
        if self.gauge.counts(slot) {
            let used = self.gauge.filled >= slot.started;
            self.engine.succeed(used, share.size, share.passes, self.bounds.width_max);
        }
        let Some(size) = self.workflow(slot).and_then(|known| known.width.as_ref()).map(|width| width.size) else {
            return;
        };
        let (share, max) = (self.share_of(size), self.bounds.width_max);
        if let Some(Workflow { width: Some(width), gauge }) = self.workflow(slot)
            && gauge.counts(slot)
        {
            width.succeed(gauge.filled >= slot.started, share.size, share.passes, max);
        }
    }

    fn refuse(&mut self, slot: &Slot, after: Option<Duration>, now: Timestamp) {
        if self.gauge.counts(slot) {
            let in_flight = self.gauge.in_flight.max(slot.beside).saturating_mul(self.engine_share().passes);
            self.engine.refuse(in_flight, now);
            self.gauge.decreased = now;
        }
        if let Some(after) = after {
            self.engine.pause(now.plus(after.min(RETRY_AFTER_CAP)));
        }
    }

    fn limit_workflow(&mut self, slot: &Slot, after: Option<Duration>, now: Timestamp) {
        let (passes, max) = (self.engine_share().passes, self.bounds.width_max);
        if let Some(known) = self.workflow(slot) {
            let in_flight = known.gauge.in_flight.max(slot.beside_in_workflow).saturating_mul(passes);
            let width = known.width.get_or_insert_with(|| Width::new(in_flight.min(max)));
            if known.gauge.counts(slot) {
                width.refuse(in_flight, now);
                known.gauge.decreased = now;
            }
            if let Some(after) = after {
                width.pause(now.plus(after.min(RETRY_AFTER_CAP)));
            }
        }
        self.forget_widest();
    }

    /// Counts the refusal of a fresh delivery, unless it was counted before. Called after each [`sync`](Self::sync).
    pub fn refused_elsewhere(&mut self, refusal: &Refusal, now: Timestamp) {
        let is_known = self.refused.replace(refusal.at) == Some(refusal.at);
        let passes = self.engine_share().passes;
        let workflow = refusal.workflow.as_deref();
        let of_workflow = workflow.and_then(|name| self.workflows.get(name)).map_or(0, |known| known.gauge.most);
        let of_engine = self.gauge.most;
        for gauge in self.workflows.values_mut().map(|known| &mut known.gauge).chain([&mut self.gauge]) {
            gauge.most = gauge.in_flight;
        }
        if is_known {
            return;
        }
        match workflow.map(|name| self.workflows.get_mut(name)) {
            None if refusal.at > self.gauge.decreased && of_engine > 0 => {
                self.engine.refuse(of_engine.saturating_mul(passes), now);
                self.gauge.decreased = now;
            }
            Some(Some(Workflow { width, gauge })) if refusal.at > gauge.decreased && of_workflow > 0 => {
                let in_flight = of_workflow.saturating_mul(passes);
                width.get_or_insert_with(|| Width::new(in_flight.min(self.bounds.width_max))).refuse(in_flight, now);
                gauge.decreased = now;
            }
            _ => {}
        }
    }

    fn workflow(&mut self, slot: &Slot) -> Option<&mut Workflow> {
        self.workflows.get_mut(slot.workflow.as_deref()?)
    }

    /// Forgets the widest workflows beyond twice [`MAX_WORKFLOWS`].
    fn forget_widest(&mut self) {
        let most = MAX_WORKFLOWS.saturating_mul(2);
        let limited = self.workflows.iter().filter_map(|(name, known)| Some((known.width.as_ref()?.size, name)));
        if limited.clone().count() > most
            && let Some(name) = limited.max().map(|(_, name)| name.clone())
            && let Some(known) = self.workflows.get_mut(&name)
        {
            known.width = None;
            self.forget_idle(Some(&name));
        }
    }

    fn forget_idle(&mut self, workflow: Option<&str>) {
        let is_idle = |known: &Workflow| known.width.is_none() && known.gauge.in_flight == 0;
        if let Some(name) = workflow
            && self.workflows.get(name).is_some_and(is_idle)
        {
            self.workflows.remove(name);
        }
    }

    fn leave_flight(&mut self, workflow: Option<&str>) {
        self.gauge.in_flight = self.gauge.in_flight.saturating_sub(1);
        if let Some(known) = workflow.and_then(|name| self.workflows.get_mut(name)) {
            known.gauge.in_flight = known.gauge.in_flight.saturating_sub(1);
        }
        self.forget_idle(workflow);
    }

    /// Removes what has ended by `now`.
    pub(super) fn expire(&mut self, now: Timestamp) {
        self.others.retain(|pass| pass.until > now);
        if self.lingering.iter().all(|request| request.until > now) {
            return;
        }
        let (ended, lingering) =
            std::mem::take(&mut self.lingering).into_iter().partition(|request| request.until <= now);
        self.lingering = lingering;
        let ended: Vec<Lingering> = ended;
        for request in ended {
            self.leave_flight(request.workflow.as_deref());
        }
    }

    /// The share of the engine's width: what the requests of ended passes leave, divided by the number of passes.
    fn engine_share(&self) -> Share {
        let left = self.others.iter().filter_map(|pass| pass.left).fold(0, u32::saturating_add);
        self.share_of(self.engine.size.saturating_sub(left))
    }

    /// The share of a width, by the order of the passes' ids. The shares of all passes add up to the width.
    fn share_of(&self, size: u32) -> Share {
        let running = self.others.iter().filter(|pass| pass.left.is_none());
        let before = running.clone().filter(|pass| pass.id < self.pass).count();
        let passes = u32::try_from(running.count()).unwrap_or(u32::MAX).saturating_add(1);
        let (each, rest) = (size.checked_div(passes), size.checked_rem(passes).unwrap_or(0));
        let is_first = u32::try_from(before).is_ok_and(|before| before < rest);
        Share { size: each.unwrap_or(0).saturating_add(u32::from(is_first)), passes }
    }

    /// Counts deliveries that have left the backlog.
    pub fn conclude(&mut self, deliveries: u64) {
        self.concluded = self.concluded.saturating_add(deliveries);
    }

    /// Records the number of pending deliveries.
    pub fn count_pending(&mut self, pending: u64, now: Timestamp) {
        self.pending = Some((pending, now));
    }

    /// Takes over the stored note, if it can be read, and returns the one to write: before the first delivery of a
    /// pass, and every [`SYNC_INTERVAL`].
    pub fn sync(&mut self, stored: Option<&str>, now: Timestamp) -> String {
        self.merge(stored, now);
        let own = PassEntry { id: self.pass, until: now.plus(self.entry_length()), left: None, vacant: false };
        self.note(vec![own], now).write()
    }

    /// Ends the pause of the engine's width, because somebody has asked for an attempt.
    pub fn resume(&mut self) {
        self.engine.resume();
    }

    /// Like [`sync`](Self::sync), at the end of a pass. What is still in flight stays counted for the next passes.
    pub fn leave(&mut self, stored: Option<&str>, now: Timestamp) -> String {
        self.merge(stored, now);
        let unanswered = u32::try_from(self.lingering.len()).unwrap_or(u32::MAX) < self.gauge.in_flight;
        let unanswered = Some(now.plus(self.bounds.engine_timeout)).filter(|_| unanswered);
        let until = self.lingering.iter().map(|request| request.until).chain(unanswered).max();
        let (id, left) = (self.pass, Some(self.gauge.in_flight));
        let left = until.map(|until| PassEntry { id, until, left, vacant: false });
        // Others have left it no share if they may not yet know of it.
        let is_known = self.new_until <= now;
        let vacant = PassEntry { id, until: now.plus(VACANCY), left: None, vacant: true };
        self.note(left.into_iter().chain(is_known.then_some(vacant)).collect(), now).write()
    }

    /// How long the entry of a pass that has died stays: until the engine is no longer at work on its requests, and
    /// longer than one [`sync`](Self::sync) can be late.
    fn entry_length(&self) -> Duration {
        SYNC_INTERVAL.saturating_mul(2).saturating_add(self.bounds.engine_timeout)
    }

    fn merge(&mut self, stored: Option<&str>, now: Timestamp) {
        self.expire(now);
        let is_first = !std::mem::replace(&mut self.joined, true);
        if let Some(note) = stored.and_then(Note::read) {
            self.adopt(note, is_first, now);
        }
        let pace = self.pace.get_or_insert_with(|| Pace::new(now));
        pace.add(std::mem::take(&mut self.concluded), now);
        if let Some((pending, at)) = self.pending.take() {
            pace.count(pending, at);
        }
    }

    fn adopt(&mut self, note: Note, is_first: bool, now: Timestamp) {
        let Note { at, mut engine, workflows, passes, refused, pace, .. } = note;
        self.refused = self.refused.max(refused);
        let (max, is_idle) = (self.bounds.width_max, now.since(at) > IDLE);
        engine.sanitize(max, now);
        if is_idle {
            engine.rest();
        }
        if self.engine.merge(&engine) {
            self.gauge.decreased = now;
        }
        for (name, mut width) in workflows {
            width.sanitize(max, now);
            if is_idle && width.paused(now).is_none() {
                continue;
            }
            let new = || Workflow { width: None, gauge: Gauge::NEW };
            let known = self.workflows.entry(name).or_insert_with(new);
            match &mut known.width {
                None => (known.width, known.gauge.decreased) = (Some(width), now),
                Some(own) => {
                    if own.merge(&width) {
                        known.gauge.decreased = now;
                    }
                }
            }
        }
        // An entry that ends later than any can was written by a host with another clock.
        let latest = now.plus(self.entry_length()).plus(MAX_CLOCK_SKEW);
        self.others = passes;
        self.others.retain(|pass| pass.id != self.pass && (now < pass.until && pass.until <= latest));
        if is_first {
            // The others read the note once more before it ends, and find this pass instead.
            let is_free = |pass: &PassEntry| pass.vacant && pass.until >= now.plus(SYNC_INTERVAL);
            match self.others.iter().position(is_free) {
                Some(vacant) => {
                    self.others.remove(vacant);
                }
                None if self.others.iter().any(|pass| pass.left.is_none()) => self.new_until = now.plus(SYNC_INTERVAL),
                None => {}
            }
        }
        match &mut self.pace {
            Some(own) => own.merge(&pace),
            None => self.pace = Some(pace),
        }
    }

    fn note(&self, own: Vec<PassEntry>, now: Timestamp) -> Note {
        let mut note = Note::new(now, self.engine.clone(), self.pace.unwrap_or_else(|| Pace::new(now)));
        let limited = |width: &&Width| width.size < self.bounds.width_max || width.paused(now).is_some();
        let widths = self.workflows.iter().filter_map(|(name, known)| Some((name, known.width.as_ref()?)));
        note.workflows =
            widths.filter(|(_, width)| limited(width)).map(|(name, width)| (name.clone(), width.clone())).collect();
        note.refused = self.refused;
        note.passes = self.others.iter().cloned().chain(own).collect();
        note
    }

    /// The engine's width, as far as this pass knows.
    pub fn width(&self) -> u32 {
        self.engine.size
    }

    /// The width of a workflow; `None` if it isn't limited.
    pub fn workflow_width(&self, workflow: &str) -> Option<u32> {
        self.workflows.get(workflow)?.width.as_ref().map(|width| width.size)
    }

    /// The pace of the drain, as of the last [`sync`](Self::sync).
    pub fn pace(&self) -> Option<&Pace> {
        self.pace.as_ref()
    }
}
