//! Claims: which delivery of an idempotency key is sent.
//!
//! At most one contender is chosen for a key between two releases, in any interleaving and after any stall. If nobody
//! is chosen in a round, the losers begin another one, within about a second.
//!
//! ```text
//! claim ──▶ Won        the delivery is sent; its outcome is recorded, or the key released
//!       ├─▶ Settled    an earlier delivery has an outcome: the sender gets that
//!       └─▶ Contended  the chosen contender is slow or dead, or patience has ended: the delivery is stored for a drain
//! ```
//!
//! # A round
//!
//! A round begins with a splitter, the fast path of L. Lamport, "A Fast Mutual Exclusion Algorithm" (1987), in the
//! terms of J. Aspnes, "Notes on Theory of Distributed Systems":
//!
//! ```text
//! race ← my name
//! if mark is there: lose
//! mark ← my name
//! if race ≠ my name: lose
//! ```
//!
//! At most one contender gets through. Suppose that A and B both do, and that A writes `race` first. A later reads its
//! own name from `race`, so B has not written `race` yet, and A has already written `mark`. B reads `mark` after it has
//! written `race`, so it finds the mark and loses: a contradiction. The proof holds for any other writers of `race`, so
//! all keys share a table of races. Two keys in one slot can make each other lose; they never make both win.
//!
//! Everyone can lose, so the losers have to be able to begin another round. They must not if somebody is chosen:
//!
//! ```text
//! winner of the splitter               loser that has seen no winner for some time
//!   won ← my name                        void ← present
//!   if void is there: withdraw           if won is there, and not withdrawn: wait for the outcome
//!   else: chosen in this round           else: the round is over, enter the next one
//! ```
//!
//! If the winner finds no `void`, each loser writes `void` later and then finds `won`. Only the winner of a round
//! writes its `won`, so nothing overwrites it.
//!
//! # Outcomes and terms
//!
//! Only a chosen contender and a drain write the outcome, and a contender that copies a final one from the window before.
//! It stays until its window has expired, and the other registers need not: once a contender has won, it looks for the outcome *again*. The sweep may therefore delete marks of a
//! settled key under the feet of contenders that have stalled.
//!
//! To release a key, its holder writes the name of a new *term* into the outcome. Each term has registers of its own, so
//! a contender that has stalled in an earlier term writes where nobody looks. It isn't chosen either, since it finds a
//! term that isn't its own when it looks for the outcome again.
//!
//! # Windows
//!
//! A claim is made in one retention window. It also counts in the next one, and near the boundary, in the one before.
//! Each contender looks at the mark, then at the outcome, of the other window after it has written its own mark, so of
//! two contenders in two windows at least one finds the other. If both do, both lose, and a drain decides.
//!
//! `tests/explorer.rs` explores all orders of two and three contenders.

use std::cell::OnceCell;
use std::time::Duration;

use super::form::Form;
use super::names::{self, Register, Round, race, short};
use super::old_names;
use super::outcome::Known;
use super::registers::{Contender, VOID, slot};
use crate::delivery::{Delivery, Key, Work};
use crate::ports::{Clock, KeyValue, Rng, StoreError};
use crate::store::record::callback_record;
use crate::store::{SEND_WITHIN, Settled, codec_error};
use crate::time::{Retention, Timestamp};

/// How contenders wait for each other.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    /// The first and the longest pause between two looks at another contender's claim. Each pause is twice as long as
    /// the one before.
    pub(super) polls: [Duration; 2],
    /// How long a loser waits for a winner to appear before it declares the round to be over; also the longest pause
    /// before the next round. At most a third of its patience.
    pub(super) void_after: Duration,
}

impl Pace {
    pub(super) const DEFAULT: Self =
        Self { polls: [Duration::from_millis(5), Duration::from_millis(160)], void_after: Duration::from_millis(300) };
}

/// The claims of idempotency keys, and the outcomes of those that are settled. Made for one request or one pass.
#[derive(Debug)]
pub(super) struct Claims<'a, H> {
    pub(super) host: &'a H,
    pub(super) retention: Retention,
    pub(super) callback_retention: Retention,
    doors: u32,
    pub(super) pace: Pace,
    form: OnceCell<Form>,
}

impl<'a, H> Claims<'a, H> {
    /// The claims in a host's store, which keeps outcomes for `retention`. `doors` is the size of the table of races,
    /// unless the store already has one.
    pub(super) fn new(host: &'a H, retention: Retention, doors: u32) -> Self {
        let (callback_retention, form) = (retention, OnceCell::new());
        Self { host, retention, callback_retention, doors, pace: Pace::DEFAULT, form }
    }

    /// Keeps the records of callbacks for another time.
    pub(super) fn with_callback_retention(self, callback_retention: Retention) -> Self {
        Self { callback_retention, ..self }
    }

    /// The retention of a key's outcome.
    pub(super) fn retention_of(&self, key: &Key) -> Retention {
        let is_of_callback = key.is_callback() && !key.is_of_first_release();
        if is_of_callback { self.callback_retention } else { self.retention }
    }
}

/// The result of a claim.
#[derive(Debug)]
pub(super) enum Claim {
    /// The delivery has to be sent now.
    Won(Won),
    /// An earlier delivery of the key was accepted; this is its record.
    Settled(Settled),
    /// Another contender holds the key or has died holding it, or nobody was chosen in time. The store can't tell these
    /// cases apart.
    Contended {
        /// The retention window of the claim.
        window: u64,
    },
}

/// A claim that was won.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Won {
    /// The retention window of the claim.
    pub(super) window: u64,
    /// The time by which sending has to begin, by the monotonic clock.
    pub(super) until: Duration,
}

/// How a contender left a round.
enum Entered {
    Chosen {
        /// When it entered, by the monotonic clock.
        at: Duration,
    },
    Settled(Settled),
    /// An earlier window has the outcome.
    SettledBefore(Settled),
    /// It has not won. If another key was in the way, nobody else may contend for this one.
    Lost {
        to_another_key: bool,
    },
    /// The key was released: it goes on in this term.
    Term(String),
    /// The key is claimed in another window, since this time.
    Elsewhere {
        window: u64,
        at: Option<Timestamp>,
    },
}

/// The result of waiting for another contender.
pub(super) enum Waited {
    Settled(Settled),
    /// The round is over without an outcome.
    Over,
    /// No contender has entered the round.
    Free,
    /// The key was released.
    Term(String),
    TimedOut,
}

/// What a contender finds in another window.
enum Other {
    Settled(Settled),
    /// Claimed, since this time if that can be read.
    Held(Option<Timestamp>),
    Free,
}

impl<H: KeyValue + Clock + Rng> Claims<'_, H> {
    /// Claims a key for a delivery. If another contender holds the key, waits up to `patience` for its outcome.
    ///
    /// Costs 9 reads and 3 writes for a key without a claim, and 2 reads for one that was settled in the current
    /// window. The first repeat in the window after that costs 9 reads and 4 writes, because it copies the outcome. Near
    /// the boundary of two windows, up to 2 more reads; while an upgrade is under way, 8 more.
    ///
    /// # Errors
    ///
    /// A key that isn't settled can't be claimed in a store that is full.
    pub(super) async fn claim(
        &self,
        delivery: &Delivery<'_>,
        key: &Key,
        patience: Duration,
    ) -> Result<Claim, StoreError> {
        let form = self.form().await?;
        let started = self.host.now();
        let end = started.plus(patience);
        let window = self.retention_of(key).window(started);
        let term = match self.known(&delivery.work, key, window).await? {
            Known::Settled(settled) => return Ok(Claim::Settled(settled)),
            Known::Open { term } => term,
        };
        form.check_room()?;
        if !form.moved
            && let Some(claim) = self.claimed_before_upgrade(delivery, key, started).await?
        {
            return Ok(claim);
        }
        let mut round = Round { window, short: short(key.hash()), term, number: 0 };
        loop {
            let waited = match self.enter(delivery, key, &round, form.doors).await? {
                Entered::Chosen { at } => return Ok(Claim::Won(Won { window, until: at.saturating_add(SEND_WITHIN) })),
                Entered::Settled(settled) | Entered::SettledBefore(settled) => return Ok(Claim::Settled(settled)),
                Entered::Term(term) => Waited::Term(term),
                Entered::Elsewhere { window: other, at } => {
                    match self.await_other(delivery, key, other, at, patience, end).await? {
                        Waited::TimedOut => return Ok(Claim::Contended { window: other.min(window) }),
                        waited => waited,
                    }
                }
                Entered::Lost { to_another_key } => {
                    self.await_round(delivery, key, &round, form.doors, to_another_key, patience, end).await?
                }
            };
            match waited {
                Waited::Settled(settled) => return Ok(Claim::Settled(settled)),
                Waited::TimedOut => return Ok(Claim::Contended { window }),
                Waited::Free => {}
                Waited::Over => round.number = round.number.saturating_add(1),
                Waited::Term(term) => (round.term, round.number) = (term, 0),
            }
        }
    }

    /// The form of the store, read once. Costs one read.
    pub(super) async fn form(&self) -> Result<&Form, StoreError> {
        if let Some(form) = self.form.get() {
            return Ok(form);
        }
        let form = Form::read(self.host, self.doors).await?;
        Ok(self.form.get_or_init(|| form))
    }

    async fn enter(
        &self,
        delivery: &Delivery<'_>,
        key: &Key,
        round: &Round,
        doors: u32,
    ) -> Result<Entered, StoreError> {
        let lost = Entered::Lost { to_another_key: false };
        let (begun, now) = (self.host.monotonic(), self.host.now());
        let (race, mark) = (race(slot(&round.short, doors)), Register::Mark.of(round));
        // Read right before it is written, to notice a contender whose name would be overwritten.
        if self.contender(&race).await?.is_some_and(|last| last.is_entering(round, now)) {
            return Ok(lost);
        }
        // A name that was never used before, also not by this delivery in an earlier attempt.
        let contender = Contender::new(delivery.id, self.host.random(), now);
        self.host.set(&race, &contender.racing(round).to_bytes()?).await?;
        if self.host.exists(&mark).await? {
            return Ok(lost);
        }
        self.host.set(&mark, &contender.to_bytes()?).await?;
        match self.contender(&race).await? {
            Some(last) if last.is(&contender) => {}
            last => return Ok(Entered::Lost { to_another_key: last.is_some_and(|last| !last.races_in(round)) }),
        }
        let callback = match &delivery.work {
            Work::Start(_) => None,
            Work::Resolve(callback) => Some(callback_record(delivery, callback)),
        };
        let won = Register::Won.of(round);
        self.host.set(&won, &contender.winning(callback).to_bytes()?).await?;
        let result = self.chosen(delivery, key, round, now, begun).await?;
        match &result {
            Entered::Chosen { .. } => {}
            // It can't change any more. From now on a repeat finds it in this window, and the sweep deletes the marks.
            Entered::SettledBefore(settled) if settled.is_delivered() => {
                let bytes = settled.to_bytes().map_err(codec_error)?;
                self.host.set(&names::outcome(key, round.window), &bytes).await?;
            }
            _ => self.host.set(&won, &contender.withdrawn().to_bytes()?).await?,
        }
        Ok(result)
    }

    /// Decides whether a contender that has won the splitter of a round is chosen.
    async fn chosen(
        &self,
        delivery: &Delivery<'_>,
        key: &Key,
        round: &Round,
        now: Timestamp,
        begun: Duration,
    ) -> Result<Entered, StoreError> {
        if self.host.exists(&Register::Void.of(round)).await? {
            return Ok(Entered::Lost { to_another_key: false });
        }
        match self.known(&delivery.work, key, round.window).await? {
            Known::Settled(settled) => return Ok(Entered::Settled(settled)),
            Known::Open { term } if term != round.term => return Ok(Entered::Term(term)),
            Known::Open { .. } => {}
        }
        let previous = round.window.checked_sub(1);
        let neighbour = self.retention_of(key).neighbour(now).filter(|neighbour| Some(*neighbour) != previous);
        for window in previous.into_iter().chain(neighbour) {
            match self.other(delivery, key, window).await? {
                Other::Settled(settled) if Some(window) == previous => return Ok(Entered::SettledBefore(settled)),
                Other::Settled(settled) => return Ok(Entered::Settled(settled)),
                Other::Held(at) => return Ok(Entered::Elsewhere { window, at }),
                Other::Free => {}
            }
        }
        Ok(Entered::Chosen { at: begun })
    }

    /// Looks at another window: at the mark first, because the sweep deletes it once there is an outcome. Costs 2 reads,
    /// or 4 if the key was released in that window.
    async fn other(&self, delivery: &Delivery<'_>, key: &Key, window: u64) -> Result<Other, StoreError> {
        let mut round = Round { window, short: short(key.hash()), term: String::new(), number: 0 };
        loop {
            let mark = self.host.get(&Register::Mark.of(&round)).await?;
            match self.known(&delivery.work, key, window).await? {
                Known::Settled(settled) => return Ok(Other::Settled(settled)),
                Known::Open { term } if term != round.term => round.term = term,
                Known::Open { .. } => {
                    let held = |mark: Vec<u8>| Other::Held(Contender::from_bytes(&mark).map(|it| it.at));
                    return Ok(mark.map_or(Other::Free, held));
                }
            }
        }
    }

    /// Waits for the outcome of a claim in another window.
    async fn await_other(
        &self,
        delivery: &Delivery<'_>,
        key: &Key,
        window: u64,
        mut at: Option<Timestamp>,
        patience: Duration,
        end: Timestamp,
    ) -> Result<Waited, StoreError> {
        let [mut pause, longest] = self.pace.polls;
        loop {
            let now = self.host.now();
            let left = end.since(now);
            if left.is_zero() || at.is_none_or(|at| is_late(at, now, patience)) {
                return Ok(Waited::TimedOut);
            }
            self.host.sleep(pause.min(left)).await;
            pause = pause.saturating_mul(2).min(longest);
            at = match self.other(delivery, key, window).await? {
                Other::Settled(settled) => return Ok(Waited::Settled(settled)),
                Other::Free => return Ok(Waited::Over),
                Other::Held(at) => at,
            };
        }
    }

    /// Waits for the outcome of a round, or until the round is over. Each look costs 2 reads, the first one up to 4.
    #[expect(clippy::too_many_arguments, reason = "the state of one claim, used here only")]
    pub(super) async fn await_round(
        &self,
        delivery: &Delivery<'_>,
        key: &Key,
        round: &Round,
        doors: u32,
        to_another_key: bool,
        patience: Duration,
        end: Timestamp,
    ) -> Result<Waited, StoreError> {
        let [mut pause, longest] = self.pace.polls;
        let void_after = self.pace.void_after.min(patience.checked_div(3).unwrap_or_default());
        let started = self.host.now();
        let mut quiet_since = started;
        loop {
            match self.known(&delivery.work, key, round.window).await? {
                Known::Settled(settled) => return Ok(Waited::Settled(settled)),
                Known::Open { term } if term != round.term => return Ok(Waited::Term(term)),
                Known::Open { .. } => {}
            }
            let won = Register::Won.of(round);
            let now = self.host.now();
            let is_quiet = (to_another_key && round.number == 0) || now.since(quiet_since) >= void_after;
            match self.host.get(&won).await?.map(|won| Contender::from_bytes(&won)) {
                Some(Some(winner)) if winner.withdrawn => {
                    let others_waited = now > started;
                    return self.next_round(round, void_after, others_waited, end).await;
                }
                Some(winner) => {
                    // By then, a winner that is alive has recorded its outcome, or that its delivery is pending.
                    if winner.is_none_or(|winner| is_late(winner.at, now, patience)) {
                        return Ok(Waited::TimedOut);
                    }
                    quiet_since = now;
                }
                None if is_quiet || now == started => {
                    let void = Register::Void.of(round);
                    let mut is_void = self.host.exists(&void).await?;
                    if !is_void && is_quiet {
                        if !self.host.exists(&Register::Mark.of(round)).await? {
                            // The last contender has not reached the mark.
                            let race = self.contender(&race(slot(&round.short, doors))).await?;
                            if !race.is_some_and(|last| last.is_entering(round, now)) {
                                return Ok(Waited::Free);
                            }
                        } else {
                            self.host.set(&void, VOID).await?;
                            is_void = true;
                        }
                    }
                    if is_void {
                        if self.contender(&won).await?.is_none_or(|winner| winner.withdrawn) {
                            return self.next_round(round, void_after, now > started, end).await;
                        }
                        quiet_since = now;
                    }
                }
                None => {}
            }
            let left = end.since(now);
            if left.is_zero() {
                return Ok(Waited::TimedOut);
            }
            self.host.sleep(pause.min(left)).await;
            pause = pause.saturating_mul(2).min(longest);
        }
    }

    /// Pauses before the next round for a random time, so that soon a contender enters alone.
    async fn next_round(
        &self,
        round: &Round,
        longest: Duration,
        pauses: bool,
        end: Timestamp,
    ) -> Result<Waited, StoreError> {
        if pauses {
            let longest = longest.saturating_mul(1 << round.number.min(3));
            let longest = u64::try_from(longest.as_millis()).unwrap_or(u64::MAX);
            let pause = Duration::from_millis(self.host.random().checked_rem(longest).unwrap_or_default());
            if pause >= end.since(self.host.now()) {
                return Ok(Waited::TimedOut);
            }
            self.host.sleep(pause).await;
        }
        Ok(Waited::Over)
    }

    /// Looks for a claim that an earlier release has made, and that no upgrade has moved yet. Such a contender is dead:
    /// it may have sent its delivery.
    async fn claimed_before_upgrade(
        &self,
        delivery: &Delivery<'_>,
        key: &Key,
        now: Timestamp,
    ) -> Result<Option<Claim>, StoreError> {
        for window in self.retention_of(key).lookup(now) {
            if self.host.exists(&old_names::flag(key, window)).await? {
                match self.known(&delivery.work, key, window).await? {
                    Known::Settled(settled) => return Ok(Some(Claim::Settled(settled))),
                    Known::Open { term } if term.is_empty() => return Ok(Some(Claim::Contended { window })),
                    Known::Open { .. } => {}
                }
            }
        }
        Ok(None)
    }

    /// Whether an earlier release has claimed a key in one of these windows, and no upgrade has moved that yet.
    pub(super) async fn is_claimed_before_upgrade(&self, key: &Key, windows: [u64; 2]) -> Result<bool, StoreError> {
        for window in windows {
            if self.host.exists(&old_names::flag(key, window)).await? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Reads a register; `None` if it is absent or can't be decoded.
    pub(super) async fn contender(&self, name: &str) -> Result<Option<Contender>, StoreError> {
        Ok(self.host.get(name).await?.and_then(|bytes| Contender::from_bytes(&bytes)))
    }
}

/// Whether a contender that entered at this time has had its time to record an outcome.
fn is_late(at: Timestamp, now: Timestamp, patience: Duration) -> bool {
    now.since(at) > patience.saturating_add(SEND_WITHIN)
}
