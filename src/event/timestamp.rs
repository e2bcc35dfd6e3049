//! RFC 3339's `date-time`, to the letter: what a parser of dates takes beyond it (a blank for the `T`, other minus signs,
//! a missing colon) would pass here and fail with whoever reads the event next.

/// Is it a `date-time` (RFC 3339, section 5.6)? `t` and `z` may be small, as its note says.
pub(super) fn is_date_time(text: &str) -> bool {
    date_time(text.as_bytes()).is_some()
}

fn date_time(text: &[u8]) -> Option<()> {
    let [y1, y2, y3, y4, b'-', m1, m2, b'-', d1, d2, b'T' | b't', time @ ..] = text else { return None };
    let (year, month, day) = (number(&[*y1, *y2, *y3, *y4])?, number(&[*m1, *m2])?, number(&[*d1, *d2])?);
    if !(1..=days(year, month)?).contains(&day) {
        return None;
    }
    let [h1, h2, b':', n1, n2, b':', s1, s2, rest @ ..] = time else { return None };
    let (minutes, second) = (minutes(&[*h1, *h2], &[*n1, *n2])?, number(&[*s1, *s2])?);
    let ahead = offset(fraction(rest)?)?;
    match second {
        0..=59 => Some(()),
        // A leap second is the last one of a day in UTC (section 5.7). Of which days isn't known long before, so any will do.
        60 => (minutes.checked_sub(ahead)?.rem_euclid(24 * 60) == 23 * 60 + 59).then_some(()),
        _ => None,
    }
}

/// What follows the fraction of a second, where there is one.
fn fraction(rest: &[u8]) -> Option<&[u8]> {
    let Some(digits) = rest.strip_prefix(b".") else { return Some(rest) };
    let end = digits.iter().position(|byte| !byte.is_ascii_digit()).filter(|end| *end > 0)?;
    digits.get(end..)
}

/// How many minutes the offset is ahead of UTC.
fn offset(text: &[u8]) -> Option<i32> {
    match text {
        b"Z" | b"z" => Some(0),
        [b'+', h1, h2, b':', n1, n2] => minutes(&[*h1, *h2], &[*n1, *n2]),
        [b'-', h1, h2, b':', n1, n2] => minutes(&[*h1, *h2], &[*n1, *n2])?.checked_neg(),
        _ => None,
    }
}

/// `00:00` to `23:59` in minutes.
fn minutes(hour: &[u8], minute: &[u8]) -> Option<i32> {
    let (hour, minute) = (number(hour)?, number(minute)?);
    (hour <= 23 && minute <= 59).then(|| hour.saturating_mul(60).saturating_add(minute))
}

fn days(year: i32, month: i32) -> Option<i32> {
    let by = |n: i32| year.checked_rem(n) == Some(0);
    match month {
        2 if by(4) && (!by(100) || by(400)) => Some(29),
        2 => Some(28),
        4 | 6 | 9 | 11 => Some(30),
        1..=12 => Some(31),
        _ => None,
    }
}

fn number(digits: &[u8]) -> Option<i32> {
    digits.iter().try_fold(0_i32, |number, digit| {
        digit.is_ascii_digit().then(|| number.saturating_mul(10).saturating_add(i32::from(digit & 0x0f)))
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_rfc_3339_says_and_nothing_else() {
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
        /// chrono takes more, and nothing less.
        #[test]
        fn what_is_taken_chrono_takes_too(
            text in "[0-9]{4}-[01][0-9]-[0-3][0-9][Tt ][0-2][0-9]:[0-6][0-9]:[0-6][0-9](\\.[0-9]{0,12})?([Zz]|[-+][0-2][0-9]:?[0-6][0-9])?",
        ) {
            let theirs = chrono::DateTime::parse_from_rfc3339(&text);
            if is_date_time(&text) {
                prop_assert!(theirs.is_ok(), "{text}");
            } else if theirs.is_ok() {
                let reason = text.contains(' ') || text.contains(":60") || text.contains("24:00");
                prop_assert!(reason, "{text}");
            }
        }

        #[test]
        fn any_text_is_answered(text in "\\PC{0,40}") {
            is_date_time(&text);
        }
    }
}
