//! Formatting of times and numbers.

use std::time::Duration;

use maud::{Markup, html};

use crate::time::Timestamp;

/// Formats a time as `2026-11-24 08:30:00 UTC`, in an HTML `time` element.
pub(super) fn time(at: Timestamp) -> Markup {
    let full = at.rfc3339();
    let short = full.get(..19).unwrap_or(&full).replace('T', " ");
    html! { time datetime=(full) { (short) " UTC" } }
}

/// Formats a past time: `3 min ago`, or `just now`.
pub(super) fn ago(at: Timestamp, now: Timestamp) -> String {
    match now.since(at) {
        since if since < Duration::from_secs(1) => "just now".to_owned(),
        since => format!("{} ago", span(since)),
    }
}

/// Formats the time of the next attempt: `in 3 min`, or `at the next drain` if it has passed.
pub(super) fn until(at: Timestamp, now: Timestamp) -> String {
    match at.since(now) {
        wait if wait.is_zero() => "at the next drain".to_owned(),
        wait => format!("in {}", span(wait)),
    }
}

/// Formats a duration in the largest unit in which it is at least 2: `119 s`, `2 min`. The minimum is `1 s`.
pub(super) fn span(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let (size, unit) = match seconds {
        0..120 => (1, "s"),
        120..7_200 => (60, "min"),
        7_200..172_800 => (3_600, "h"),
        _ => (86_400, "days"),
    };
    format!("{} {unit}", seconds.checked_div(size).unwrap_or(seconds).max(1))
}

/// Formats a number with commas between its thousands: `5,000,000`.
pub(super) fn number(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && digits.len().saturating_sub(at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Formats a number with its noun: `1 delivery`, `2 deliveries`.
pub(super) fn count(number: usize, singular: &str, plural: &str) -> String {
    format!("{number} {}", if number == 1 { singular } else { plural })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_are_separated() {
        for (given, text) in
            [(0, "0"), (999, "999"), (1_000, "1,000"), (524_288, "524,288"), (u64::MAX, "18,446,744,073,709,551,615")]
        {
            assert_eq!(number(given), text);
        }
    }

    #[test]
    fn span_has_one_unit() {
        for (seconds, text) in [
            (0, "1 s"),
            (119, "119 s"),
            (120, "2 min"),
            (7_199, "119 min"),
            (7_200, "2 h"),
            (172_799, "47 h"),
            (172_800, "2 days"),
        ] {
            assert_eq!(span(Duration::from_secs(seconds)), text, "{seconds} s");
        }
    }
}
