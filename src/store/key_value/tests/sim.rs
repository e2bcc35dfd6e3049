//! A host in memory with simulated time, whose operations are counted, take time and fail on request.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::time::Duration;

use super::{DOORS, NOW, retention};
use crate::ports::{Clock, KeyValue, Rng, StoreError};
use crate::store::key_value::{Claims, Outbox};
use crate::time::ArrivalTime;

pub(super) struct Sim {
    pub(super) entries: RefCell<BTreeMap<String, Vec<u8>>>,
    /// Microseconds since the Unix epoch.
    pub(super) clock: Cell<u64>,
    random: Cell<u64>,
    /// The time that an operation takes, in microseconds.
    pub(super) cost: Cell<u64>,
    reads: Cell<usize>,
    writes: Cell<usize>,
    /// The number of operations after which all fail.
    pub(super) fails_after: Cell<Option<usize>>,
}

impl Default for Sim {
    fn default() -> Self {
        Self {
            entries: RefCell::default(),
            clock: Cell::new(NOW * 1_000),
            random: Cell::new(1),
            cost: Cell::new(0),
            reads: Cell::new(0),
            writes: Cell::new(0),
            fails_after: Cell::new(None),
        }
    }
}

impl Sim {
    pub(super) fn claims(&self) -> Claims<'_, Self> {
        Claims::new(self, retention(), DOORS)
    }

    pub(super) fn outbox(&self) -> Outbox<'_, Self> {
        Outbox::new(self)
    }

    pub(super) fn at(&self, ms: u64) {
        self.clock.set(ms * 1_000);
    }

    pub(super) fn pass(&self, ms: u64) {
        self.clock.set(self.clock.get() + ms * 1_000);
    }

    pub(super) fn put(&self, name: &str, value: &[u8]) {
        self.entries.borrow_mut().insert(name.to_owned(), value.to_vec());
    }

    pub(super) fn text(&self, name: &str) -> Option<String> {
        self.entries.borrow().get(name).map(|value| String::from_utf8(value.clone()).unwrap())
    }

    pub(super) fn names(&self, prefix: &str) -> Vec<String> {
        self.entries.borrow().keys().filter(|name| name.starts_with(prefix)).cloned().collect()
    }

    /// The reads and writes since the last call.
    pub(super) fn take_cost(&self) -> (usize, usize) {
        (self.reads.take(), self.writes.take())
    }

    fn operate(&self, count: &Cell<usize>, name: &str) -> Result<(), StoreError> {
        let is_valid = |c: char| c.is_ascii_alphanumeric() || ":_-.".contains(c);
        let is_old = name.starts_with(concat!("sluice", "/"));
        assert!(is_old || (name.len() <= 255 && name.chars().all(is_valid)), "{name}");
        if let Some(left) = self.fails_after.get() {
            self.fails_after.set(Some(left.saturating_sub(1)));
            if left == 0 {
                return Err(StoreError("crashed".into()));
            }
        }
        count.set(count.get() + 1);
        self.clock.set(self.clock.get() + self.cost.get());
        Ok(())
    }
}

impl KeyValue for Sim {
    async fn get(&self, key: &str) -> Result<Option<Vec<u8>>, StoreError> {
        self.operate(&self.reads, key)?;
        Ok(self.entries.borrow().get(key).cloned())
    }

    async fn set(&self, key: &str, value: &[u8]) -> Result<(), StoreError> {
        self.operate(&self.writes, key)?;
        self.put(key, value);
        Ok(())
    }

    async fn delete(&self, key: &str) -> Result<(), StoreError> {
        self.operate(&self.writes, key)?;
        self.entries.borrow_mut().remove(key);
        Ok(())
    }

    async fn exists(&self, key: &str) -> Result<bool, StoreError> {
        self.operate(&self.reads, key)?;
        Ok(self.entries.borrow().contains_key(key))
    }

    async fn keys(&self) -> Result<Vec<String>, StoreError> {
        self.operate(&self.reads, "keys")?;
        // Reversed: callers may not rely on any order.
        Ok(self.entries.borrow().keys().rev().cloned().collect())
    }
}

impl Clock for Sim {
    fn arrival_time(&self) -> ArrivalTime {
        ArrivalTime::since_epoch(Duration::from_micros(self.clock.get()))
    }

    fn monotonic(&self) -> Duration {
        Duration::from_micros(self.clock.get())
    }

    async fn sleep(&self, duration: Duration) {
        self.clock.set(self.clock.get() + u64::try_from(duration.as_micros()).unwrap());
    }
}

impl Rng for Sim {
    /// SplitMix64.
    fn random(&self) -> u64 {
        self.random.set(self.random.get().wrapping_add(0x9E37_79B9_7F4A_7C15));
        let mixed = (self.random.get() ^ (self.random.get() >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }
}
