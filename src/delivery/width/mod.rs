//! The width of the drain: how many deliveries are in flight at a time, and which comes next.
//!
//! The engine is sent as much as it keeps up with: the drain finds its width as TCP finds that of a network. Pure:
//! `now` is an argument, and what passes tell each other is a text ([`Note`]).
//!
//! ```text
//!  due ─▶ Scheduler::next ─▶ in flight ─▶ Scheduler::end ─┬─▶ gone
//!              ▲                                          └─▶ again, at its time
//!              │ Widths: engine, workflow, bytes
//!              ▼
//!        Note, read and written every 5 s ◀──▶ other passes
//! ```
//!
//! # What limits the drain
//!
//! | Limit | Value | Shrinks or pauses |
//! |---|---|---|
//! | the engine's width | 1 to `width_max` (16) | halved by 503 and other errors, by no connection and by no answer |
//! | a workflow's width | none until its first 429 | halved by a 429 for this workflow |
//! | bytes in flight, in each pass | 16 MiB ([`MAX_BYTES_IN_FLIGHT`]); one delivery alone may be larger | – |
//! | a `Retry-After` of the engine | at most 1 h ([`RETRY_AFTER_CAP`](super::RETRY_AFTER_CAP)) | nothing starts until then |
//! | a failure with one delivery in flight | 1 s, doubled up to 30 s ([`PAUSE_CAP`]) | nothing starts until then |
//! | an idempotency key | 1 at a time | – |
//! | the callbacks of a run | 1 at a time, the first to arrive first | – |
//! | the queue of an `ordered` route | 1 at a time, in order; one that waits for its retry holds the queue | – |
//!
//! At a width of *w* and an engine that takes *t* seconds for a request, *w* / *t* deliveries a second leave the
//! backlog. With the default of 16 and one second, 25,000 deliveries take 26 minutes, and with 48 they take 9.
//!
//! ## Growth
//!
//! A width begins at 1 and doubles in each round trip until the first failure, so it is 64 after six. From then on it
//! grows by one in each round trip. It grows only while it is used up: a drain with three deliveries learns nothing
//! about a width of 16. A failure halves the number that was in flight. If failures go on without a success, until
//! the width is 1, each further one begins a pause; when the engine is back, the width doubles again up to half of
//! what it was.
//!
//! Only requests that began after the last decrease count, for growth and for decrease: 30 requests that fail
//! together halve the width once. When `width_max` is below what the engine takes, nothing is refused, and the width
//! stays there. Otherwise requests are refused each time that the width reaches what the engine doesn't take:
//! in the simulation of an outage, of an engine that takes 64 at once, 4 in 1,000, fresh ones included. For a workflow
//! of which the engine takes 5 at once it is one in 15.
//!
//! Fresh deliveries don't wait for the width, and don't count in it: they come on top. A drain that refills its width
//! at once leaves them the refusals, so it also counts theirs: the last one is stored ([`Refusal`]), and a pass reads
//! it with the note.
//!
//! ## Time-outs
//!
//! A request without an answer stays counted until `engine_timeout_ms` and a second have passed since it was sent:
//! the engine may still be at work on it. So even an engine that answers nothing is never at work on more than the
//! width, from this drain. The next pass counts what the last one left ([`Widths::leave`]).
//!
//! ## Several passes at a time
//!
//! The width is for the engine, not for each pass. Passes that run side by side, on PostgreSQL, each have an entry in
//! the note, and divide each width between them: 16 and three passes are 6, 5 and 5. If the width is smaller than the
//! number of passes, some of them have nothing to start until others end. All passes learn from each failure of one,
//! when they read the note, every 5 s ([`SYNC_INTERVAL`]).
//!
//! - A new pass has one delivery at a time in flight until the others have read the note once more, 5 s later; at
//!   once its whole share if it takes the place of a pass that has ended in the last 5 s. That place is kept for 10
//!   s, and nobody has its share until then.
//! - Two passes that write the note at the same moment overwrite each other's entry, until the next write 5 s later.
//!   At the worst, if none can read the note, N passes have N times `width_max` in flight, and never more.
//! - An entry of a pass that died ends after 10 s and `engine_timeout_ms`. Until then its share is not used, and the
//!   engine may still be at work on its requests.
//! - The note has room for 32 passes ([`MAX_PASSES`]); further ones count only themselves and these.
//! - It has room for the 32 narrowest workflows ([`MAX_WORKFLOWS`]), and fewer if their names are long: it has at
//!   most 4,096 bytes ([`MAX_NOTE`]). A workflow that is left out is found again by its next 429.
//!
//! After 10 minutes without a note ([`IDLE`]), the width begins at 1 again, and doubles up to what it was.
//!
//! ## How long the backlog will take
//!
//! [`Pace`] counts the deliveries that leave the backlog in a second, whichever pass concludes them, with a memory of
//! two minutes. The number of pending deliveries divided by it is how long the backlog will take. Deliveries that
//! join the backlog meanwhile are not foreseen.
//!
//! # A pass
//!
//! 1. [`Widths::new`] with a random number, then [`Widths::sync`] with the stored note; store what it returns. Then
//!    [`Widths::refused_elsewhere`] with the stored refusal, if there is one.
//! 2. [`Scheduler::add`] what is pending, or from a database as many as there is [`Scheduler::room`] for, without
//!    those of [`Scheduler::busy`]. If that is 0, ask again at [`Scheduler::opens`].
//! 3. [`Scheduler::next`]: start, or wait for the end of an attempt; [`Scheduler::end`] for each. `sync` every 5 s.
//! 4. At the end of its time, start nothing more, end what is in flight, give back [`Scheduler::remove_waiting`], and
//!    store what [`Widths::leave`] returns. A pass that has nothing in flight ends early if it would only wait beyond
//!    its time.

mod limit;
mod note;
mod pace;
mod scheduler;
mod widths;

pub use limit::{PAUSE_CAP, PAUSE_FIRST};
pub use note::{MAX_NOTE, MAX_PASSES, MAX_WORKFLOWS, Note};
pub use pace::Pace;
pub use scheduler::{Decision, Due, Next, Scheduler, Target};
pub use widths::{Answer, Blocked, Bounds, IDLE, MAX_BYTES_IN_FLIGHT, Refusal, SYNC_INTERVAL, Slot, WIDTH_MAX, Widths};

#[cfg(test)]
mod simulation;
#[cfg(test)]
mod tests;
