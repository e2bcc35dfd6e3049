//! Points in time and retention windows. The core reads no clock: `now` is always an argument.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Milliseconds since the Unix epoch, UTC.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Timestamp(pub u64);

/// A point in time at the resolution of the host's clock. Orders requests that arrive within the same millisecond.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ArrivalTime {
    /// The time, truncated to the millisecond.
    pub at: Timestamp,
    /// Nanoseconds since the start of that millisecond: 0 to 999,999.
    pub nanoseconds: u32,
}

impl ArrivalTime {
    /// The point in time this long after the Unix epoch.
    pub fn since_epoch(time: Duration) -> Self {
        Self { at: Timestamp(0).plus(time), nanoseconds: time.subsec_nanos() % 1_000_000 }
    }
}

impl ArrivalTime {
    /// The last point in the same millisecond.
    pub fn last_nanosecond(self) -> Self {
        Self { nanoseconds: 999_999, ..self }
    }
}

impl From<Timestamp> for ArrivalTime {
    fn from(at: Timestamp) -> Self {
        Self { at, nanoseconds: 0 }
    }
}

impl Timestamp {
    /// The point in time `duration` later, saturating.
    pub fn plus(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)))
    }

    /// The point in time `duration` earlier, saturating.
    pub fn minus(self, duration: Duration) -> Self {
        Self(self.0.saturating_sub(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)))
    }

    /// The time elapsed since `earlier`; zero if that is later.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }

    /// Parses a time by RFC 3339; `None` if it is malformed, or before 1970.
    pub fn from_rfc3339(text: &str) -> Option<Self> {
        let time = chrono::DateTime::parse_from_rfc3339(text).ok()?;
        u64::try_from(time.timestamp_millis()).ok().map(Self)
    }

    /// Formats the time by RFC 3339, in UTC and with milliseconds: `2026-11-24T08:30:00.000Z`.
    pub fn rfc3339(self) -> String {
        i64::try_from(self.0)
            .ok()
            .and_then(chrono::DateTime::from_timestamp_millis)
            .map(|t| t.to_rfc3339_opts(chrono::SecondsFormat::Millis, true))
            // Only for a clock beyond the year 262000.
            .unwrap_or_else(|| self.0.to_string())
    }
}

/// Assumed maximum clock skew between hosts, also the assumed maximum duration of a request.
pub const MAX_CLOCK_SKEW: Duration = Duration::from_secs(60);

/// How long outcomes and callbacks are kept.
///
/// Time is divided into windows of this length, and a key in the store contains the number of its window. A lookup
/// reads the current and the previous window, so it finds every key that is younger than the retention. A sweep
/// recognizes older keys by their names alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    hours: u32,
}

impl Default for Retention {
    /// One hour.
    fn default() -> Self {
        Self { hours: 1 }
    }
}

impl Retention {
    /// The longest retention that can be configured: 366 days.
    pub const MAX_HOURS: u32 = 8_784;

    /// A retention of 1 to [`MAX_HOURS`](Self::MAX_HOURS) hours; `None` outside this range.
    pub fn from_hours(hours: u32) -> Option<Self> {
        (1..=Self::MAX_HOURS).contains(&hours).then_some(Self { hours })
    }

    /// This retention, or one that is at least as long as `duration`, up to [`MAX_HOURS`](Self::MAX_HOURS).
    pub fn at_least(self, duration: Duration) -> Self {
        let hours = u32::try_from(duration.as_secs().div_ceil(3_600)).unwrap_or(u32::MAX);
        Self { hours: self.hours.max(hours.min(Self::MAX_HOURS)) }
    }

    /// The length of a window.
    pub fn length(self) -> Duration {
        Duration::from_secs(u64::from(self.hours).saturating_mul(3_600))
    }

    /// The number of the window that contains `now`.
    pub fn window(self, now: Timestamp) -> u64 {
        let length = u64::from(self.hours).saturating_mul(3_600_000);
        now.0.checked_div(length).unwrap_or(0)
    }

    /// The adjacent window that another host or a concurrent request may be in at `now`; `None` unless `now` is within
    /// [`MAX_CLOCK_SKEW`] of a boundary between two windows.
    pub fn neighbour(self, now: Timestamp) -> Option<u64> {
        let present = self.window(now);
        let near = [now.minus(MAX_CLOCK_SKEW), now.plus(MAX_CLOCK_SKEW)];
        near.into_iter().map(|at| self.window(at)).find(|window| *window != present)
    }

    /// The windows that a lookup at `now` reads: the current one, then the previous one.
    pub fn lookup(self, now: Timestamp) -> [u64; 2] {
        let present = self.window(now);
        [present, present.saturating_sub(1)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timestamp_is_formatted_as_rfc_3339() {
        assert_eq!(Timestamp(0).rfc3339(), "1970-01-01T00:00:00.000Z");
        assert_eq!(Timestamp(1_796_035_800_123).rfc3339(), "2026-11-30T10:50:00.123Z");
    }

    #[test]
    fn key_younger_than_the_retention_is_always_looked_up() {
        let retention = Retention::from_hours(72).unwrap();
        let length = 72 * 3_600_000;
        for written in [0, 1, length - 1, length, 5 * length + 7] {
            for age in [0, 1, length / 2, length] {
                let key = retention.window(Timestamp(written));
                assert!(
                    retention.lookup(Timestamp(written + age)).contains(&key),
                    "written at {written}, read {age} ms later"
                );
            }
        }
    }

    #[test]
    fn neighbour_exists_only_near_a_window_boundary() {
        let retention = Retention::from_hours(1).unwrap();
        let (length, skew) = (3_600_000, 60_000);
        for (now, neighbour) in [
            (5 * length, Some(4)),
            (5 * length + skew - 1, Some(4)),
            (5 * length + skew, None),
            (6 * length - skew - 1, None),
            (6 * length - skew, Some(6)),
        ] {
            assert_eq!(retention.neighbour(Timestamp(now)), neighbour, "at {now}");
        }
    }

    #[test]
    fn retention_is_bounded() {
        assert_eq!(Retention::from_hours(0), None);
        assert_eq!(Retention::from_hours(Retention::MAX_HOURS + 1), None);
    }
}
