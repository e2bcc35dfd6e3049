//! Points in time. The core has no clock: `now` is an argument.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Milliseconds since the Unix epoch, UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Timestamp(pub u64);

/// A point in time as finely as the host's clock tells it: for the order of what arrives within a millisecond.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ArrivalTime {
    /// To the millisecond.
    pub at: Timestamp,
    /// What is past of that millisecond: 0 to 999,999.
    pub nanoseconds: u32,
}

impl ArrivalTime {
    /// The time since the Unix epoch.
    pub fn since_epoch(time: Duration) -> Self {
        Self { at: Timestamp(0).plus(time), nanoseconds: time.subsec_nanos() % 1_000_000 }
    }
}

impl From<Timestamp> for ArrivalTime {
    fn from(at: Timestamp) -> Self {
        Self { at, nanoseconds: 0 }
    }
}

impl Timestamp {
    /// So much later.
    pub fn plus(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)))
    }

    /// The time since an earlier point; none if that is later.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }

    /// RFC 3339 in UTC, with milliseconds: `2026-11-24T08:30:00.000Z`.
    pub fn rfc3339(self) -> String {
        i64::try_from(self.0)
            .ok()
            .and_then(chrono::DateTime::from_timestamp_millis)
            .map(|t| t.to_rfc3339_opts(chrono::SecondsFormat::Millis, true))
            // Only a clock beyond the year 262000 comes here.
            .unwrap_or_else(|| self.0.to_string())
    }
}

/// As far as two clocks, or the start and the end of one request, are taken to be apart.
pub const MAX_CLOCK_SKEW: Timestamp = Timestamp(60_000);

/// How long outcomes and callbacks are kept. Keys carry the number of their window, so that a sweep knows old ones by
/// name alone; a lookup reads the present window and the one before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    hours: u32,
}

impl Retention {
    /// The longest retention that a variable may ask for: a year.
    pub const MAX_HOURS: u32 = 8_784;

    /// A retention of 1 to [`MAX_HOURS`](Self::MAX_HOURS) hours.
    pub fn from_hours(hours: u32) -> Option<Self> {
        (1..=Self::MAX_HOURS).contains(&hours).then_some(Self { hours })
    }

    /// How long it is.
    pub fn length(self) -> Duration {
        Duration::from_secs(u64::from(self.hours).saturating_mul(3_600))
    }

    /// The window that `now` falls in.
    pub fn window(self, now: Timestamp) -> u64 {
        let length = u64::from(self.hours).saturating_mul(3_600_000);
        now.0.checked_div(length).unwrap_or(0)
    }

    /// The window beside the present one in which another clock, or another request just now, may be: none but within
    /// a minute of where two windows meet.
    pub fn neighbour(self, now: Timestamp) -> Option<u64> {
        let present = self.window(now);
        let near =
            [Timestamp(now.0.saturating_sub(MAX_CLOCK_SKEW.0)), Timestamp(now.0.saturating_add(MAX_CLOCK_SKEW.0))];
        near.into_iter().map(|at| self.window(at)).find(|window| *window != present)
    }

    /// The windows that a lookup at `now` reads: the present one, then the one before.
    pub fn lookup(self, now: Timestamp) -> [u64; 2] {
        let present = self.window(now);
        [present, present.saturating_sub(1)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timestamp_is_rfc_3339() {
        assert_eq!(Timestamp(0).rfc3339(), "1970-01-01T00:00:00.000Z");
        assert_eq!(Timestamp(1_796_035_800_123).rfc3339(), "2026-11-30T10:50:00.123Z");
    }

    #[test]
    fn what_is_younger_than_the_retention_is_always_looked_up() {
        let retention = Retention::from_hours(72).unwrap();
        let length = 72 * 3_600_000;
        for written in [0, 1, length - 1, length, 5 * length + 7] {
            for age in [0, 1, length / 2, length] {
                let key = retention.window(Timestamp(written));
                assert!(retention.lookup(Timestamp(written + age)).contains(&key), "{written} {age}");
            }
        }
    }

    #[test]
    fn a_neighbour_is_there_only_where_two_windows_meet() {
        let retention = Retention::from_hours(1).unwrap();
        let length = 3_600_000;
        for (now, neighbour) in [
            (5 * length, Some(4)),
            (5 * length + MAX_CLOCK_SKEW.0 - 1, Some(4)),
            (5 * length + MAX_CLOCK_SKEW.0, None),
            (6 * length - MAX_CLOCK_SKEW.0 - 1, None),
            (6 * length - MAX_CLOCK_SKEW.0, Some(6)),
        ] {
            assert_eq!(retention.neighbour(Timestamp(now)), neighbour, "{now}");
        }
    }

    #[test]
    fn a_retention_is_bounded() {
        assert_eq!(Retention::from_hours(0), None);
        assert_eq!(Retention::from_hours(Retention::MAX_HOURS + 1), None);
    }
}
