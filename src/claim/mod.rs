//! Who takes a keyed delivery: a claim over a store that can only get, set, delete and say what exists.
//!
//! At most one contender wins, whatever the interleaving, and one that is alone wins (`splitter`). Nobody may win: then,
//! and when the winner is slow or dead, the others leave a copy to the drain, which is alone by its [`lease`].

pub mod lease;
mod splitter;

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::callback::CallbackRecord;
use crate::delivery::{DeliveryId, Key, Register};
use crate::json;
use crate::ports::{Clock, KeyValue, StoreError};
use crate::time::{Retention, Timestamp};
use splitter::{Entered, Splitter};

/// A winner has begun to send by then, or it has lost after all: it may have been stopped for longer than the others
/// wait.
pub const LIMIT: Duration = Duration::from_secs(5);

/// Whoever wrote the door so recently is still on the way in. Nothing rests on it but that fewer lose: to write the door
/// behind one who is between door and flag makes both lose.
const FRESH: Duration = Duration::from_millis(500);

/// The first wait for what comes of another's claim, and the longest; each is twice the one before.
const PAUSE: [Duration; 2] = [Duration::from_millis(5), Duration::from_millis(160)];

/// What came of a claim.
#[derive(Debug)]
pub enum Claim {
    /// It is ours to send.
    Won(Won),
    /// It has been taken before: the record of that, as it is stored.
    Settled(Vec<u8>),
    /// Another is at it, or was, or nobody is; in this window. Nothing tells which.
    Contended {
        /// The window.
        window: u64,
    },
}

/// A claim that was won.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Won {
    /// In this window.
    pub window: u64,
    /// The send has to begin by then.
    pub until: Timestamp,
}

/// What door and flag hold: who wrote it, when, and in a callback's flag the callback, so that it is stored before it
/// is sent.
#[derive(Debug, Serialize, Deserialize)]
pub struct Mark {
    v: u32,
    by: String,
    at: Timestamp,
    /// The callback of who wrote it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub callback: Option<CallbackRecord>,
}

impl Mark {
    const VERSION: u32 = 1;

    /// Reads door or flag; `None` if it is damaged, or of a later version.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        json::read(bytes).ok().filter(|mark: &Self| mark.v == Self::VERSION)
    }

    fn new(by: String, at: Timestamp) -> Self {
        Self { v: Self::VERSION, by, at, callback: None }
    }

    fn to_bytes(&self) -> Result<Vec<u8>, StoreError> {
        serde_json::to_vec(self).map_err(|error| StoreError(error.to_string()))
    }
}

/// Who claims what, and how long one waits for another.
#[derive(Debug)]
pub struct Claimant<'a> {
    /// The key.
    pub key: &'a Key,
    /// The delivery that wants it.
    pub id: DeliveryId,
    /// Its callback, if it is one.
    pub callback: Option<&'a CallbackRecord>,
    /// How long a key is kept.
    pub retention: Retention,
    /// How long to wait for what comes of another's claim.
    pub patience: Duration,
}

impl Claimant<'_> {
    /// Claims the key. Alone and for the first time: 4 reads, 2 writes; for what is known: 2 reads.
    pub async fn claim(&self, host: &(impl KeyValue + Clock)) -> Result<Claim, StoreError> {
        let started = host.now();
        let mut round = 0_u32;
        loop {
            // A name of its own each time: the splitter counts on that.
            let me = format!("{}/{round}", self.id);
            let busy = match self.enter(host, me).await? {
                Claim::Contended { window } => window,
                settled => return Ok(settled),
            };
            match self.wait(host, busy, started.plus(self.patience)).await? {
                Waited::Free => round = round.saturating_add(1),
                Waited::Over => return Ok(Claim::Contended { window: busy }),
                Waited::Done(done) => return Ok(Claim::Settled(done)),
            }
        }
    }

    async fn enter(&self, host: &(impl KeyValue + Clock), me: String) -> Result<Claim, StoreError> {
        let now = host.now();
        let [present, previous] = self.retention.lookup(now);
        let door = self.key.register(Register::Door, present);
        // Read just before it is written: whoever may be written off is seen.
        if let Some(there) = host.get(&door).await? {
            for window in [present, previous] {
                if let Some(done) = host.get(&self.key.register(Register::Done, window)).await? {
                    return Ok(Claim::Settled(done));
                }
            }
            if is_fresh(&there, now) {
                return Ok(Claim::Contended { window: present });
            }
        }
        let mut mark = Mark::new(me, now);
        let at_door = mark.to_bytes()?;
        mark.callback = self.callback.cloned();
        let splitter = Splitter {
            door: &door,
            flag: &self.key.register(Register::Flag, present),
            before: Some(&self.key.register(Register::Flag, previous)),
            at_door: &at_door,
            at_flag: &mark.to_bytes()?,
        };
        match splitter.enter(host, |_| true).await? {
            Entered::Before => {
                let done = host.get(&self.key.register(Register::Done, previous)).await?;
                Ok(done.map_or(Claim::Contended { window: previous }, Claim::Settled))
            }
            Entered::Lost => Ok(Claim::Contended { window: present }),
            Entered::Won => {
                // Where two windows meet, another may be in the other one: of two who look after they have written, one
                // at least sees the other.
                if let Some(beside) = self.retention.neighbour(now)
                    && host.exists(&self.key.register(Register::Flag, beside)).await?
                {
                    return Ok(Claim::Contended { window: beside.min(present) });
                }
                Ok(Claim::Won(Won { window: present, until: now.plus(LIMIT) }))
            }
        }
    }

    /// Waits for what comes of another's claim.
    async fn wait(&self, host: &(impl KeyValue + Clock), window: u64, until: Timestamp) -> Result<Waited, StoreError> {
        let [mut pause, longest] = PAUSE;
        loop {
            if let Some(done) = host.get(&self.key.register(Register::Done, window)).await? {
                return Ok(Waited::Done(done));
            }
            let now = host.now();
            match host.get(&self.key.register(Register::Flag, window)).await? {
                // A winner that lives has written by now what comes of it, or that it is pending.
                Some(flag)
                    if Mark::from_bytes(&flag)
                        .is_none_or(|mark| now.since(mark.at) > self.patience.saturating_add(LIMIT)) =>
                {
                    return Ok(Waited::Over);
                }
                Some(_) => {}
                // The winner was refused and has given it back, or whoever wrote the door never came in.
                None => {
                    let door = host.get(&self.key.register(Register::Door, window)).await?;
                    if !door.is_some_and(|door| is_fresh(&door, now)) {
                        return Ok(Waited::Free);
                    }
                }
            }
            let left = until.since(now);
            if left.is_zero() {
                return Ok(Waited::Over);
            }
            host.sleep(pause.min(left)).await;
            pause = pause.saturating_mul(2).min(longest);
        }
    }
}

enum Waited {
    /// There is a record.
    Done(Vec<u8>),
    /// Nobody has it.
    Free,
    /// Nothing came.
    Over,
}

/// Gives a claim back, of which nothing came and nothing is stored. For the winner alone.
pub async fn release(store: &impl KeyValue, key: &Key, window: u64) -> Result<(), StoreError> {
    store.delete(&key.register(Register::Flag, window)).await
}

fn is_fresh(door: &[u8], now: Timestamp) -> bool {
    Mark::from_bytes(door).is_some_and(|mark| now.since(mark.at) < FRESH)
}
