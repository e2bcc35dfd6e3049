//! Random choices and ids, both from the seed.

use serde::{Deserialize, Serialize};

use crate::settings::Span;

/// The SplitMix64 generator.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Chance {
    state: u64,
    /// Counts ids.
    ids: u32,
    machine: u64,
}

impl Chance {
    pub(crate) fn new(seed: u64) -> Chance {
        let mut chance = Chance { state: seed, ids: 0, machine: 0 };
        chance.machine = chance.next() >> 24;
        chance
    }

    fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.state ^ (self.state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// A number from the span, both ends included.
    pub(crate) fn within(&mut self, span: Span) -> u64 {
        let Span(least, most) = span;
        let choices = most.saturating_sub(least).saturating_add(1);
        least.saturating_add(self.next().checked_rem(choices).unwrap_or_default())
    }

    /// True with this probability.
    pub(crate) fn percent(&mut self, percent: u64) -> bool {
        self.next() % 100 < percent
    }

    /// A MongoDB ObjectId: seconds, machine, counter; 24 hexadecimal digits.
    pub(crate) fn id(&mut self, now: u64) -> String {
        self.ids = self.ids.wrapping_add(1);
        let seconds = (now / 1_000) & 0xFFFF_FFFF;
        format!("{seconds:08x}{:010x}{:06x}", self.machine, self.ids & 0xFF_FFFF)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_24_hexadecimal_digits_and_ascend() {
        let mut chance = Chance::new(7);
        let ids = [0, 1_795_740_000_000, 1_795_740_000_000].map(|now| chance.id(now));
        assert!(ids.is_sorted_by(|one, other| one < other), "{ids:?}");
        for id in ids.into_iter().chain([chance.id(u64::MAX)]) {
            assert!(id.len() == 24 && id.bytes().all(|byte| byte.is_ascii_hexdigit()), "{id}");
        }
    }

    #[test]
    fn spans_include_both_ends() {
        let mut chance = Chance::new(7);
        let drawn: std::collections::BTreeSet<_> = (0..100).map(|_| chance.within(Span(3, 5))).collect();
        assert_eq!(drawn.into_iter().collect::<Vec<_>>(), [3, 4, 5]);
        assert_eq!(chance.within(Span(5, 3)), 5);
        chance.within(Span(0, u64::MAX));
        assert!(!chance.percent(0) && chance.percent(100));
    }
}
