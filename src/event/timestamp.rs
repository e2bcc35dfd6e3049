//! Strict validation of RFC 3339 timestamps.

use chrono::{DateTime, Timelike};

/// Whether the text is a `date-time` of RFC 3339, section 5.6.
///
/// `chrono` is more lenient in three respects. They are checked here, since the event is passed on as it was sent, and
/// the next parser may be stricter.
pub(super) fn is_date_time(text: &str) -> bool {
    let Ok(time) = DateTime::parse_from_rfc3339(text) else { return false };
    // `chrono` accepts a space here. The grammar has "T" or "t".
    let has_separator = matches!(text.as_bytes().get(10), Some(b'T' | b't'));
    // `chrono` represents second 60 as second 59 with at least 10⁹ nanoseconds, and accepts it in any minute. A leap
    // second is the last second of a day in UTC (section 5.7). Leap seconds are announced only months ahead, so any day
    // may have one.
    let utc = time.naive_utc();
    let is_leap_second = utc.nanosecond() >= 1_000_000_000;
    // `chrono` accepts U+2212 as a minus sign. The grammar is ASCII.
    text.is_ascii() && has_separator && (!is_leap_second || (utc.hour(), utc.minute()) == (23, 59))
}

/// Whether the text is a date and time without a time zone, as some languages write a local time: perhaps with a space
/// in place of the `T`.
pub(super) fn lacks_zone(text: &str) -> bool {
    is_date_time(&format!("{}Z", text.replacen(' ', "T", 1)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn only_the_date_time_of_rfc_3339_is_accepted() {
        for good in [
            "2018-04-05T17:31:00Z",
            "1985-04-12t23:20:50.52z",
            "1996-12-19T16:39:57-08:00",
            "2024-02-29T00:00:00.123456789012Z",
            "2000-02-29T00:00:00-00:00",
            "1990-12-31T23:59:60Z",
            "1990-12-31T15:59:60-08:00",
            "1991-01-01T05:29:60.5+05:30",
            "0000-01-01T00:00:00+23:59",
            "9999-12-31T23:59:59.9-23:59",
        ] {
            assert!(is_date_time(good), "{good}");
        }
        for bad in [
            "",
            "2018-04-05",
            "2018-04-05T17:31:00",
            "2018-04-05 17:31:00Z",
            "2018-04-05T17:31Z",
            "2018-04-05T17:31:00.Z",
            "2018-04-05T17:31:00,5Z",
            "2018-04-05T17:31:00+0200",
            "2018-04-05T17:31:00+02",
            "2018-04-05T17:31:00+24:00",
            "2018-04-05T17:31:00+02:60",
            "2018-04-05T17:31:00\u{2212}02:00",
            "2018-04-05T17:31:00 Z",
            " 2018-04-05T17:31:00Z",
            "2018-04-05T17:31:00Z ",
            "2018-4-5T17:31:00Z",
            "2018-00-05T17:31:00Z",
            "2018-13-05T17:31:00Z",
            "2018-04-31T17:31:00Z",
            "2018-04-00T17:31:00Z",
            "2023-02-29T00:00:00Z",
            "1900-02-29T00:00:00Z",
            "2018-04-05T24:00:00Z",
            "2018-04-05T17:60:00Z",
            "2018-04-05T17:31:61Z",
            "2018-04-05T17:31:60Z",
            "1990-12-31T23:59:60-08:00",
            "+018-04-05T17:31:00Z",
            "20180405T173100Z",
            "Thu, 05 Apr 2018 17:31:00 GMT",
            "1522949460",
            "\u{0662}018-04-05T17:31:00Z",
        ] {
            assert!(!is_date_time(bad), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn date_time_is_accepted(
            (year, month, day) in (0..=9_999, 1..=12, 1..=28),
            (hour, minute, second) in (0..=23, 0..=59, 0..=59),
            rest in "(\\.[0-9]{1,12})?([Zz]|[-+]([01][0-9]|2[0-3]):[0-5][0-9])",
        ) {
            let text = format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}{rest}");
            prop_assert!(is_date_time(&text), "{text}");
        }

        #[test]
        fn accepted_text_has_the_grammar_of_rfc_3339(
            text in "[0-9]{4}-[01][0-9]-[0-3][0-9][Tt ][0-2][0-9]:[0-6][0-9]:[0-6][0-9](\\.[0-9]{0,12})?([Zz]|[-+\u{2212}][0-2][0-9]:?[0-6][0-9])? ?",
        ) {
            if is_date_time(&text) {
                let shape = text.replace(|c: char| c.is_ascii_digit(), "0").to_ascii_uppercase();
                let rest = shape.strip_prefix("0000-00-00T00:00:00").unwrap();
                let offset = rest.strip_prefix(".0").map_or(rest, |digits| digits.trim_start_matches('0'));
                prop_assert!(matches!(offset, "Z" | "+00:00" | "-00:00"), "{text}");
            }
        }

        #[test]
        fn any_text_is_accepted_or_rejected(text in "\\PC{0,40}") {
            is_date_time(&text);
        }
    }
}
