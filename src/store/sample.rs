//! Samples: what each pass of the drain knew at its end, for the metrics and the console.

use serde::{Deserialize, Serialize};

use crate::time::{MAX_CLOCK_SKEW, Timestamp};

/// Maximum number of samples that are kept: those of two hours with a pass a minute.
pub const MAX_SAMPLES: usize = 120;

/// The interval in which passes share a sample, in milliseconds.
const INTERVAL: u64 = 60_000;

/// The state of the outbox at the end of a pass, and what the passes of the same minute have done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Sample {
    /// When the last of these passes ended.
    pub at: Timestamp,
    /// Number of pending deliveries. On PostgreSQL, 100,000 stands for that or more.
    #[serde(skip_serializing_if = "is_zero")]
    pub pending: u64,
    /// Number of dead letters. On PostgreSQL, 100,000 stands for that or more.
    #[serde(skip_serializing_if = "is_zero")]
    pub dead: u64,
    /// When the oldest pending delivery was received; `None` if none is pending.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub oldest: Option<Timestamp>,
    /// Number of keys in a key-value store, of any kind, as `settings.max_keys` limits them. `None` on PostgreSQL, which
    /// would have to count its rows.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keys: Option<u64>,
    /// Number of deliveries that the engine accepted from these passes.
    #[serde(skip_serializing_if = "is_zero")]
    pub delivered: u64,
    /// Number of deliveries that became dead letters in these passes.
    #[serde(skip_serializing_if = "is_zero")]
    pub failed: u64,
}

fn is_zero(count: &u64) -> bool {
    *count == 0
}

impl Sample {
    /// Whether two passes that ended at these times share a sample.
    fn shares(self, other: Self) -> bool {
        self.at.0.checked_div(INTERVAL) == other.at.0.checked_div(INTERVAL)
    }

    /// Adds the sample of a pass to the last one. Returns the sample that is the last one now, and the one before if that
    /// is complete: it goes into the ring ([`push`]).
    pub(super) fn follow(self, last: Option<Self>) -> (Self, Option<Self>) {
        match last {
            Some(last) if self.shares(last) => {
                let delivered = self.delivered.saturating_add(last.delivered);
                (Self { delivered, failed: self.failed.saturating_add(last.failed), ..self }, None)
            }
            last => (self, last),
        }
    }
}

/// Adds a complete sample to the ring, which has the oldest first. Samples of a clock that was ahead are dropped.
pub(super) fn push(ring: &mut Vec<Sample>, complete: Sample, now: Timestamp) {
    ring.push(complete);
    ring.retain(|sample| sample.at <= now.plus(MAX_CLOCK_SKEW));
    ring.sort_by_key(|sample| sample.at);
    // The last sample stands beside the ring.
    let excess = ring.len().saturating_sub(MAX_SAMPLES.saturating_sub(1));
    ring.drain(..excess.min(ring.len()));
}

/// The ring with the last sample: at most [`MAX_SAMPLES`], the oldest first.
pub(super) fn joined(mut ring: Vec<Sample>, last: Option<Sample>) -> Vec<Sample> {
    ring.extend(last);
    ring.sort_by_key(|sample| sample.at);
    let excess = ring.len().saturating_sub(MAX_SAMPLES);
    ring.drain(..excess.min(ring.len()));
    ring
}

#[cfg(test)]
#[allow(clippy::arithmetic_side_effects, reason = "a test reports an error by failing")]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp(1_800_000_000_000);

    fn sample(minute: u64, second: u64, delivered: u64) -> Sample {
        let at = Timestamp(NOW.0 + minute * INTERVAL + second * 1_000);
        Sample { at, pending: second, delivered, failed: 1, ..Sample::default() }
    }

    #[test]
    fn passes_of_one_minute_share_a_sample() {
        let (last, complete) = sample(0, 1, 3).follow(None);
        assert_eq!((last, complete), (sample(0, 1, 3), None));
        let (last, complete) = sample(0, 59, 4).follow(Some(last));
        assert_eq!((last.delivered, last.failed, last.pending, complete), (7, 2, 59, None));
        assert_eq!(sample(1, 0, 1).follow(Some(last)), (sample(1, 0, 1), Some(last)));
    }

    #[test]
    fn ring_keeps_the_latest_in_order() {
        let mut ring = Vec::new();
        for minute in 0..500 {
            let now = sample(minute + 1, 0, 0).at;
            push(&mut ring, sample(minute, 0, minute), now);
            let all = joined(ring.clone(), Some(sample(minute + 1, 0, 0)));
            assert!(all.len() <= MAX_SAMPLES && all.is_sorted_by_key(|sample| sample.at));
            assert_eq!(all.len(), MAX_SAMPLES.min(usize::try_from(minute).unwrap() + 2));
        }
        assert_eq!(ring.first().map(|sample| sample.delivered), Some(381));
    }

    #[test]
    fn sample_of_a_clock_that_was_ahead_is_dropped() {
        let mut ring = vec![sample(10_000, 0, 1), sample(1, 0, 1)];
        push(&mut ring, sample(2, 0, 1), sample(3, 0, 1).at);
        assert_eq!(ring, [sample(1, 0, 1), sample(2, 0, 1)]);
    }

    #[test]
    fn stored_form_is_short_and_takes_members_of_later_releases() {
        let text = serde_json::to_string(&Sample { at: NOW, ..Sample::default() }).unwrap();
        assert_eq!(text, r#"{"at":1800000000000}"#);
        let read: Sample = serde_json::from_str(r#"{"at":1800000000000,"later":[1]}"#).unwrap();
        assert_eq!(read, Sample { at: NOW, ..Sample::default() });
        let full = Sample { oldest: Some(NOW), keys: Some(3), dead: 1, ..sample(1, 2, 3) };
        assert_eq!(serde_json::from_str::<Sample>(&serde_json::to_string(&full).unwrap()).unwrap(), full);
    }
}
