//! The state that outlives a request.
//!
//! - [`Claims`]: which delivery of an idempotency key is sent, and its outcome.
//! - [`Outbox`]: pending deliveries and dead letters, and the passes of the drain.
//! - [`Archive`]: the payloads of delivered starts, for replays.
//! - [`SourceNotes`]: the public keys of senders, refused requests, and the secrets that verified.
//!
//! All are traits with one implementation for each kind of store, which [`Store`] chooses between:
//!
//! - `key_value`: a key-value store without compare-and-swap. `key_value/names.rs` names every key and describes its
//!   value.
//! - [`postgres`]: PostgreSQL. A claim is the row of its delivery.
//!
//! No other layer depends on how a claim is decided, or on where a delivery is kept.
#![allow(async_fn_in_trait, reason = "a component instance has one thread: no future needs to be Send")]

mod archive;
mod choice;
mod fault;
mod key_value;
mod page;
mod pass;
pub mod postgres;
mod record;
mod repair;
mod run;
mod sample;
mod source_note;
mod transfer;

use std::fmt;
use std::time::Duration;

use crate::callback::CallbackRecord;
use crate::delivery::{Delivery, DeliveryId, Filter, Key, Outcome, StoredError, Work};
use crate::ports::StoreError;
use crate::reference::{RunRef, Topic};

pub use archive::{Archive, Kept};
pub use choice::{MoveFrom, Store, StorePass};
pub use fault::{EngineFault, Faults, HeldQueue, Twice};
pub use page::{CallbackPage, DeliveryState, Found, MAX_SCANNED, Page};
pub use pass::{Begun, Offer, PassNote, Status, StoreHealth, WidthNotes};
pub use record::{OutcomeRecord, Settled};
pub use repair::{MAX_SHOWN, Repair, Repaired, Selection, Skipped};
pub use run::RunRecord;
pub use sample::{MAX_SAMPLES, Sample};
pub use source_note::{MAX_SOURCE_NOTE, NoteKind, SOURCE_NOTE_AGE, SourceNotes};
pub use transfer::{Cursor, Transferred};

/// The time within which the winner of a claim has to begin to send. Later, it counts as a loser: it may have been
/// suspended for longer than the other contenders waited.
pub const SEND_WITHIN: Duration = Duration::from_secs(5);

/// The result of claiming a key.
#[derive(Debug)]
pub enum Claim {
    /// The delivery has to be sent now, while its hold lasts ([`Hold::may_send`](crate::delivery::Hold::may_send)).
    Won,
    /// The delivery of an earlier holder, whose lease has run out. It may have been sent. This instance holds it now.
    Taken(Box<Delivery<'static>>),
    /// An earlier delivery has the key.
    Settled(Settled),
    /// Another contender may be sending its delivery, and has not recorded an outcome in time. Or all contenders have
    /// lost. The id is that of the other delivery, if it is known to be the same.
    Contended(Option<DeliveryId>),
    /// Another instance has taken this delivery over.
    Late,
}

/// What became of a delivery whose key is contended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Joined {
    /// It is stored, and the drain decides whether it is sent.
    Stored,
    /// The delivery with this id is the same, and is kept until it is delivered.
    Promised(DeliveryId),
    /// The other contender has gone: the key can be claimed again.
    Free,
    /// Nothing can be promised: the other contender's delivery has another content.
    Refused,
}

/// Whether an operation of a holder had an effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Effect {
    /// It had.
    Done,
    /// It had none: another instance has taken the delivery over.
    Late,
}

/// Why a delivery is not sent although it was due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Begin {
    /// It may be sent now.
    Go,
    /// Another instance has taken the delivery over.
    Late,
    /// An operator has asked for its deletion meanwhile, and it is deleted.
    Deleted,
}

impl Begin {
    /// The outcome of an attempt that must not begin; `None` if it may.
    pub fn stopped(self) -> Option<Outcome> {
        match self {
            Self::Go => None,
            Self::Late => Some(Outcome::TakenOver),
            Self::Deleted => Some(Outcome::Deleted),
        }
    }
}

/// The result of an operator's request about one delivery.
#[derive(Debug)]
pub enum Operated<T> {
    /// It was carried out.
    Done(T),
    /// A drain is at work, which carries it out.
    Deferred,
    /// The delivery is being sent.
    InFlight,
    /// Another delivery has its key by now.
    Superseded {
        /// Whether that one is the same, so that this one was deleted.
        is_repeat: bool,
    },
    /// There is no such delivery.
    Unknown,
    /// The record can't be decoded.
    Damaged,
}

impl<T> Operated<T> {
    /// Converts the result.
    fn map<U>(self, convert: impl FnOnce(T) -> U) -> Operated<U> {
        match self {
            Self::Done(done) => Operated::Done(convert(done)),
            Self::Deferred => Operated::Deferred,
            Self::InFlight => Operated::InFlight,
            Self::Superseded { is_repeat } => Operated::Superseded { is_repeat },
            Self::Unknown => Operated::Unknown,
            Self::Damaged => Operated::Damaged,
        }
    }
}

/// The result of putting pending deliveries in doubt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Doubted {
    /// Number of deliveries that count as maybe sent from now on.
    pub count: usize,
    /// The last one of these if there was no time for all.
    pub next: Option<DeliveryId>,
    /// Whether a drain is at work that goes on without regard to it. The next one has regard to it.
    pub is_deferred: bool,
}

/// The size of a key-value store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoreSize {
    /// The size of the table of races, unless the store already has one.
    pub doors: u32,
    /// The number of keys above which the oldest outcomes are dropped.
    pub max_keys: usize,
}

impl Default for StoreSize {
    fn default() -> Self {
        Self { doors: 4_096, max_keys: 250_000 }
    }
}

/// The contender that holds a callback's key. Of several that have entered at once, it may be one that has lost.
#[derive(Debug)]
pub struct Holder {
    /// How long ago it has claimed the key.
    pub age: Duration,
    /// The retention window of its claim, in a key-value store.
    pub window: u64,
    /// Its callback.
    pub record: CallbackRecord,
}

impl Holder {
    /// Its callback, as delivered.
    pub fn delivered(&self) -> CallbackRecord {
        CallbackRecord { state: crate::callback::State::Delivered, ..self.record.clone() }
    }
}

/// Decides which delivery of an idempotency key is sent, and has the records of those that were.
///
/// # Laws
///
/// - Of all deliveries with one key, at most one is under way at a time, at one instance. A delivery of which it is
///   unknown whether it was sent counts as under way until it was looked up.
/// - A contender that runs alone wins.
/// - Once a delivery is settled, [`claim`](Self::claim) answers with its record until its retention is over.
pub trait Claims {
    /// Claims a key for a delivery. If another contender holds the key, waits up to `patience` for its outcome.
    ///
    /// After [`Claim::Won`] and [`Claim::Contended`], the delivery says which key it has.
    async fn claim(&self, delivery: &mut Delivery<'_>, key: Key, patience: Duration) -> Result<Claim, StoreError>;

    /// Claims run and topic for a callback whose task isn't known yet.
    async fn claim_early(
        &self,
        delivery: &mut Delivery<'_>,
        early: Key,
        patience: Duration,
    ) -> Result<Claim, StoreError>;

    /// Claims a task for a callback. A pending callback that holds run and topic comes first.
    async fn claim_task(
        &self,
        delivery: &mut Delivery<'_>,
        task: Key,
        early: Key,
        patience: Duration,
    ) -> Result<Claim, StoreError>;

    /// Joins a delivery whose key is contended to the one that has it, so that its sender can be given a 2xx. `holder`
    /// is that of [`Claim::Contended`].
    async fn join(
        &self,
        delivery: &mut Delivery<'_>,
        key: &Key,
        holder: Option<DeliveryId>,
    ) -> Result<Joined, StoreError>;

    /// Returns the first of these keys that is settled, by its position, with its record.
    async fn first_record(&self, work: &Work<'_>, keys: &[Key]) -> Result<Option<(usize, Settled)>, StoreError>;

    /// Returns the callback of the contender that holds a key without a record.
    async fn holder(&self, key: &Key) -> Result<Option<Holder>, StoreError>;

    /// Records that the callback of a key's holder was delivered, because the task has ended with its status.
    async fn settle_holder(&self, key: &Key, holder: Holder) -> Result<Settled, StoreError>;

    /// Returns callbacks of a run, and of one topic if that is given, that were accepted or are being sent: at least
    /// `limit`, unless these are all. `after` is [`CallbackPage::next`] of the page before. The inner error is a record
    /// that can't be decoded.
    async fn callbacks(
        &self,
        run: &RunRef,
        topic: Option<&Topic>,
        limit: usize,
        after: Option<&str>,
    ) -> Result<Result<CallbackPage, StoredError>, StoreError>;

    /// Reads the record of a run; `None` if it has none, or one that can't be decoded.
    async fn run(&self, run: &str) -> Result<Option<RunRecord>, StoreError>;

    /// Writes the record of a run.
    async fn record_run(&self, run: &str, record: &RunRecord) -> Result<(), StoreError>;
}

/// The stored deliveries, and the passes of the drain.
///
/// # Laws
///
/// - After [`keep`](Self::keep), a pass is offered the delivery once it is due, until it is settled, dead or removed.
/// - A delivery that was offered is not offered again, by any instance, while its hold lasts.
/// - An operation of a holder that is late has no effect.
pub trait Outbox {
    /// A pass of the drain.
    type Pass;

    /// Stores a delivery as pending, so that nothing is lost when this instance ends. `is_sending` says that this
    /// instance is sending it, or is about to; no other one takes it before `next_attempt`.
    async fn keep(&self, delivery: &mut Delivery<'_>, is_sending: bool) -> Result<Effect, StoreError>;

    /// Records that a sender is given a 2xx for a delivery that was kept, to answer duplicates.
    async fn promise(&self, delivery: &Delivery<'_>) -> Result<(), StoreError>;

    /// Stores a delivery again that a drain has taken, because what happens next must not be forgotten.
    async fn save(&self, delivery: &mut Delivery<'_>) -> Result<Effect, StoreError>;

    /// Checks, right before a drain sends a delivery, that it still holds it. Stores it if another instance would
    /// otherwise not learn that it may have been sent.
    async fn begin(&self, delivery: &mut Delivery<'_>) -> Result<Begin, StoreError>;

    /// Settles a delivery that the engine has accepted, with the engine's response as `body`.
    async fn settle(&self, delivery: &Delivery<'_>, body: &[u8]) -> Result<Effect, StoreError>;

    /// Stores a delivery for a later attempt.
    async fn reschedule(&self, delivery: &mut Delivery<'_>) -> Result<Effect, StoreError>;

    /// Moves a delivery to the dead letters. If `forgets_key`, the same delivery is accepted again as if it were new.
    async fn bury(&self, delivery: &Delivery<'_>, forgets_key: bool) -> Result<Effect, StoreError>;

    /// Gives up a delivery that neither the engine nor a 2xx has accepted: its key can be claimed again.
    async fn release(&self, delivery: &Delivery<'_>) -> Result<Effect, StoreError>;

    /// Gives up a callback that can't be stored and may have had an effect: its task stays claimed, until looks show
    /// what it did.
    async fn abandon(&self, delivery: &Delivery<'_>) -> Result<Effect, StoreError>;

    /// Removes a delivery that another one has made superfluous.
    async fn remove(&self, delivery: &Delivery<'_>) -> Result<Effect, StoreError>;

    /// Returns the record of another delivery that has settled the key of a taken one. The inner error is a record that
    /// can't be decoded. Without such a record, nobody else begins to send a delivery of the key from now on. If one may
    /// already be about to, the taken delivery counts as sent at the latest time at which it is.
    async fn superseded(&self, delivery: &mut Delivery<'_>)
    -> Result<Option<Result<Settled, StoredError>>, StoreError>;

    /// Shuts out other deliveries of the key of a contended one that is about to be sent. If one may already be about to,
    /// this one counts as sent at the latest time at which it is. Part of [`superseded`](Self::superseded) for a start.
    async fn take_over(&self, delivery: &mut Delivery<'_>) -> Result<(), StoreError>;

    /// Notifies the drain that deliveries were stored.
    async fn notify(&self) -> Result<(), StoreError>;

    /// Begins a pass of at most `length`, the time of its last attempt included.
    async fn begin_pass(&self, length: Duration) -> Result<Begun<Self::Pass>, StoreError>;

    /// Offers pending deliveries until `room` of them can start now, or the store has no more. `busy` are references of
    /// which none can start. A pass over a database holds the deliveries that it is offered.
    async fn offer(&self, pass: &mut Self::Pass, room: usize, busy: &[String]) -> Result<Offer, StoreError>;

    /// Returns a delivery that was offered, to attempt it now; `None` if it isn't pending any more. The inner error is a
    /// record that can't be decoded.
    async fn open(
        &self,
        pass: &mut Self::Pass,
        id: DeliveryId,
    ) -> Result<Option<Result<Delivery<'static>, StoredError>>, StoreError>;

    /// Gives back deliveries that were offered and not opened.
    async fn give_back_all(&self, pass: &mut Self::Pass, ids: Vec<DeliveryId>) -> Result<(), StoreError>;

    /// Whether other passes may run at the same time.
    fn has_other_passes(&self) -> bool;

    /// Settles deliveries that the engine has accepted, each with the engine's response. The effects are in their order.
    async fn settle_all(&self, settled: &[(&Delivery<'_>, &[u8])]) -> Result<Vec<Effect>, StoreError>;

    /// Reads the notes about the drain's width.
    async fn width_notes(&self) -> Result<WidthNotes, StoreError>;

    /// Writes the note about the drain's width.
    async fn write_width(&self, note: &str) -> Result<(), StoreError>;

    /// Writes that the engine has refused a fresh delivery.
    async fn write_refusal(&self, refusal: &str) -> Result<(), StoreError>;

    /// Reads the note about alerts.
    async fn alert_note(&self) -> Result<Option<String>, StoreError>;

    /// Writes the note about alerts, if it is still the one that was read. `note` differs from all that others write.
    /// Returns whether it is written.
    async fn replace_alert_note(&self, before: Option<&str>, note: &str) -> Result<bool, StoreError>;

    /// Cleans up until `end`. Returns whether more is left.
    async fn sweep(&self, pass: &mut Self::Pass, end: Duration) -> Result<bool, StoreError>;

    /// Returns the number of pending deliveries at the end of a pass that has concluded this many of those it has taken.
    async fn pending(&self, pass: &mut Self::Pass, concluded: usize) -> Result<usize, StoreError>;

    /// What a pass knows that leaves this note, once its pending deliveries were [counted](Self::pending).
    fn sample(&self, pass: &Self::Pass, note: &PassNote) -> Sample;

    /// Ends a pass, and stores its note.
    async fn end_pass(&self, pass: Self::Pass, note: PassNote) -> Result<(), StoreError>;

    /// Leaves a delivery to the drain that was kept while this instance was sending it.
    async fn give_back(&self, delivery: &mut Delivery<'_>) -> Result<Effect, StoreError>;

    /// Gives up a pass that has failed.
    async fn abort_pass(&self, pass: Self::Pass);

    /// Lists at most `limit` deliveries after `after` that match a filter, in order of arrival, and reads at most
    /// [`MAX_SCANNED`]. Records that can't be decoded match a filter that doesn't [read
    /// them](Filter::reads_records).
    async fn list(
        &self,
        state: DeliveryState,
        filter: &Filter,
        limit: usize,
        after: Option<DeliveryId>,
    ) -> Result<Page, StoreError>;

    /// [`list`](Self::list), with the number of all deliveries.
    async fn search(
        &self,
        state: DeliveryState,
        filter: &Filter,
        limit: usize,
        after: Option<DeliveryId>,
    ) -> Result<Found, StoreError>;

    /// Carries out an operation on the deliveries that are selected, in order of arrival, until `end` by the monotonic
    /// clock. `length` is the longest time that it may take. After an error, the first ones may have been changed.
    async fn repair(
        &self,
        repair: Repair,
        selection: &Selection,
        end: Duration,
        length: Duration,
    ) -> Result<Repaired, StoreError>;

    /// Reads a stored delivery. The inner error is a record that can't be decoded.
    async fn show(
        &self,
        id: DeliveryId,
    ) -> Result<Option<(DeliveryState, Result<Delivery<'static>, StoredError>)>, StoreError>;

    /// Takes a delivery, due or not, for an operator who has it attempted at once, with its age and attempts reset.
    async fn take_one(
        &self,
        id: DeliveryId,
        length: Duration,
    ) -> Result<Operated<(Delivery<'static>, Option<Self::Pass>)>, StoreError>;

    /// Ends the attempt for an operator.
    async fn end_one(&self, pass: Option<Self::Pass>) -> Result<(), StoreError>;

    /// Deletes a delivery and forgets its key, within `length`.
    async fn delete(&self, id: DeliveryId, length: Duration) -> Result<Operated<()>, StoreError>;

    /// Treats the deliveries after `after` that are pending now as maybe sent, because the store may have lost what became
    /// of them: each is looked up before it is sent. Ends at `end` by the monotonic clock.
    async fn doubt(&self, after: Option<DeliveryId>, end: Duration) -> Result<Doubted, StoreError>;

    /// The state of the outbox at a glance.
    async fn status(&self) -> Result<Status, StoreError>;

    /// Reads the samples of the last passes: at most [`MAX_SAMPLES`], the oldest first.
    async fn samples(&self) -> Result<Vec<Sample>, StoreError>;

    /// Reads what an operator has to see.
    async fn faults(&self) -> Result<Faults, StoreError>;

    /// Records a configuration fault. If one is recorded already, its time is kept.
    async fn record_fault(&self, reason: &str) -> Result<(), StoreError>;

    /// Removes the configuration fault, once the engine accepts deliveries again or none is pending.
    async fn clear_fault(&self) -> Result<(), StoreError>;

    /// Reads the note about queues that are held, as it was written.
    async fn held_queues(&self) -> Result<Vec<HeldQueue>, StoreError>;

    /// Writes the note about queues that are held.
    async fn write_held_queues(&self, queues: &[HeldQueue]) -> Result<(), StoreError>;

    /// Records that a delivery has two runs.
    async fn record_twice(&self, delivery: DeliveryId, runs: Vec<String>) -> Result<(), StoreError>;
}

/// Reports a value that can't be encoded or decoded as a failure of the store.
fn codec_error(error: impl fmt::Display) -> StoreError {
    StoreError(error.to_string())
}
