//! Callbacks to tasks that wait: what to do after a look at the run.
//!
//! The engine answers an event with success whether or not a task waits for it, and an event that comes while a task is
//! being started can be lost. So a callback is sent only while a look shows a task that waits for its topic, and counts
//! as delivered only once a look shows that this task has ended with its status.
//!
//! ```text
//! ahead ──▶ look again later
//! waiting ─▶ claim the task ─▶ send ─▶ look ─┬─▶ ended with this status: delivered
//!                               ▲            ├─▶ ended otherwise: overruled
//!                               └────────────┴── still waiting, twice, and past the engine's deadline
//! ```

use serde::{Deserialize, Serialize};

use super::schedule::patience;
use super::{Delivery, Limits, RunView, Verdict, Wait, WaitState, Work};
use crate::callback::{Callback, Status};
use crate::time::Timestamp;

/// Maximum number of times that a callback is sent to one task.
pub const MAX_SENDS: u32 = 3;

/// The task that a callback is for, once a look has named it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskWait {
    /// The engine's id of the task run.
    pub task: String,
    /// How often the callback was sent to it.
    pub sends: u32,
    /// The first look after the last send that showed the task still waiting.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub still: Option<Timestamp>,
}

impl TaskWait {
    /// A task to which nothing was sent.
    pub fn new(task: String) -> Self {
        Self { task, sends: 0, still: None }
    }
}

/// What to do with a callback after a look.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// A task waits for its topic: claim this task for it.
    Claim {
        /// The engine's id of the task run.
        task: String,
    },
    /// The task that it is for waits: send it.
    Send,
    /// Look again at this time: the effect of the last send isn't known.
    LookAgain {
        /// The time of the next look.
        at: Timestamp,
    },
    /// The run doesn't wait for the topic yet.
    NotWaiting,
    /// The task that it was sent to has ended with its status.
    Delivered,
    /// A task with its topic has ended before it was sent: if an equal callback has ended it, this one is a repeat.
    Ended {
        /// The engine's id of the task run.
        task: String,
        /// The status of the event that ended the task; `None` if it ended otherwise.
        status: Option<Status>,
    },
    /// It can't resolve anything: [`Verdict::AlreadyResolved`] or [`Verdict::UnknownTopic`].
    Close(Verdict),
    /// It was sent as often as permitted, and the task still waits.
    GiveUp,
}

impl Delivery<'_> {
    /// Decides what to do with a callback after a look at its run. `None` if the delivery isn't a callback.
    pub fn after_look(&mut self, view: &RunView, now: Timestamp, limits: &Limits) -> Option<Step> {
        let Work::Resolve(Callback { topic, status, .. }) = &self.work else { return None };
        let (topic, status) = (topic.clone(), *status);
        let bound = self.wait.as_ref().and_then(|wait| Some((wait, view.task(&wait.task)?)));
        let Some((wait, state)) = bound else {
            // Without a task, the effect of an earlier send shows only in the end of whichever task had the topic.
            let is_sent = self.sent.is_some();
            return Some(match view.wait(&topic) {
                Wait::Waiting { task } => Step::Claim { task },
                Wait::Ahead => Step::NotWaiting,
                Wait::Ended { status: Some(ended), .. } if is_sent && ended == status => Step::Delivered,
                Wait::Ended { task, status } => Step::Ended { task, status },
                Wait::RunEnded => Step::Close(Verdict::AlreadyResolved { status: None }),
                Wait::UnknownTopic => Step::Close(Verdict::UnknownTopic),
            });
        };
        let is_final = view.state.is_final();
        Some(match (state, self.sent) {
            // It was not this callback that has ended the task, even if that has the same status.
            (WaitState::Ended(status), _) if !self.was_sent() => Step::Ended { task: wait.task.clone(), status },
            (WaitState::Ended(Some(ended)), Some(_)) if ended == status => Step::Delivered,
            (WaitState::Ended(ended), _) => Step::Close(Verdict::AlreadyResolved { status: ended }),
            _ if is_final => Step::Close(Verdict::AlreadyResolved { status: None }),
            // A task that an event came too early for can be set back for good. The run's end decides then.
            (WaitState::Ahead, _) => Step::NotWaiting,
            (WaitState::Waiting, None) if wait.sends >= MAX_SENDS => Step::GiveUp,
            (WaitState::Waiting, None) => Step::Send,
            (WaitState::Waiting, Some(sent)) => self.still_waiting(sent, now, limits),
        })
    }

    /// Decides what to do with a callback that was sent at `sent`, and whose task still waits.
    fn still_waiting(&mut self, sent: Timestamp, now: Timestamp, limits: &Limits) -> Step {
        let deadline = limits.engine_deadline(sent);
        let Some(wait) = &mut self.wait else { return Step::NotWaiting };
        let seen_before = wait.still.is_some_and(|first| first < now);
        wait.still.get_or_insert(now);
        if now < deadline {
            return Step::LookAgain { at: now.plus(patience(now, sent)).min(deadline) };
        }
        if !seen_before {
            return Step::LookAgain { at: now.plus(patience(now, sent)) };
        }
        if wait.sends >= MAX_SENDS { Step::GiveUp } else { Step::Send }
    }

    /// Notes that the callback is about to be sent to its task.
    pub fn begin_send(&mut self, now: Timestamp, limits: &Limits) {
        self.begin_attempt(now, limits);
        if let Some(wait) = &mut self.wait {
            wait.sends = wait.sends.saturating_add(1);
            wait.still = None;
        }
    }

    /// Whether the callback was sent to its task before the last send.
    pub fn was_sent_before(&self) -> bool {
        self.wait.as_ref().is_some_and(|wait| wait.sends > 1)
    }

    /// Notes that the last send had no effect, because the engine itself has said so.
    pub fn withdraw_send(&mut self) {
        self.sent = None;
        if let Some(wait) = &mut self.wait {
            wait.sends = wait.sends.saturating_sub(1);
        }
    }
}

#[cfg(test)]
mod tests;
