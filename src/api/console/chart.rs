//! Sparklines: inline SVG without scripts, styles and other resources.

use std::time::Duration;

use maud::{Markup, html};

use crate::time::Timestamp;

/// The longest time between two points that a line connects. An idle drain takes a sample every 15 minutes.
const MAX_GAP: Duration = Duration::from_secs(20 * 60);
/// Width and height of the drawing, in units of its own: a page stretches it.
const SIZE: (u128, u128) = (1_000, 100);

/// A value at a time.
pub(super) type Point = (Timestamp, u64);

/// Draws values over time as a line from the first to the last of them, between 0 and the greatest. The line has a gap
/// where there was no value for [`MAX_GAP`]; a value between two gaps is a dot. Nothing is drawn without values.
///
/// The text alternative says the least, the greatest and the last value, each written by `write`.
pub(super) fn sparkline(label: &str, points: &[Point], write: impl Fn(u64) -> String) -> Markup {
    let mut points = points.to_vec();
    points.sort_by_key(|(at, _)| *at);
    let values = || points.iter().map(|(_, value)| *value);
    let (Some(least), Some(greatest), Some(last)) = (values().min(), values().max(), values().next_back()) else {
        return html! {};
    };
    let text = format!("{label}: last {}, between {} and {}", write(last), write(least), write(greatest));
    let (width, height) = SIZE;
    html! {
        // The stroke is wider than its line.
        svg.spark role="img" aria-label=(text) viewBox={ "-10 -10 " (width.saturating_add(20)) " " (height.saturating_add(20)) } preserveAspectRatio="none" {
            path d=(path(&points, greatest)) fill="none" stroke="currentColor" stroke-width="2" stroke-linecap="round" stroke-linejoin="round" vector-effect="non-scaling-stroke" {}
        }
    }
}

/// The path through points in order of time (SVG 2, section 9.3).
fn path(points: &[Point], greatest: u64) -> String {
    let (Some((first, _)), Some((last, _))) = (points.first(), points.last()) else { return String::new() };
    let (width, height) = SIZE;
    let length = last.since(*first).as_millis();
    let mut path = String::new();
    let mut before: Option<Timestamp> = None;
    for (at, value) in points {
        let is_connected = before.is_some_and(|before| at.since(before) <= MAX_GAP);
        before = Some(*at);
        let x = scaled(at.since(*first).as_millis(), length, width).unwrap_or(width);
        let y = height.saturating_sub(scaled((*value).into(), greatest.into(), height).unwrap_or(0));
        // A line to the same place makes a dot of a point without neighbours.
        let part = if is_connected { format!("L{x} {y}") } else { format!("M{x} {y}h0") };
        path.push_str(&part);
    }
    path
}

/// A value between 0 and `max`, scaled to `length`; `None` if `max` is 0.
fn scaled(value: u128, max: u128, length: u128) -> Option<u128> {
    value.saturating_mul(length).checked_div(max)
}

#[cfg(test)]
#[allow(clippy::arithmetic_side_effects, reason = "a test reports an error by failing")]
mod tests {
    use super::*;

    const MINUTE: u64 = 60_000;
    const START: u64 = 1_800_000_000_000;

    fn points(values: &[(u64, u64)]) -> Vec<Point> {
        values.iter().map(|(minute, value)| (Timestamp(START + minute * MINUTE), *value)).collect()
    }

    fn drawn(values: &[(u64, u64)]) -> String {
        let greatest = values.iter().map(|(_, value)| *value).max().unwrap_or(0);
        path(&points(values), greatest)
    }

    fn markup(values: &[(u64, u64)]) -> String {
        sparkline("Pending", &points(values), |value| value.to_string()).into_string()
    }

    #[test]
    fn line_goes_from_the_first_to_the_last_value() {
        assert_eq!(drawn(&[(0, 0), (1, 5), (4, 10)]), "M0 100h0L250 50L1000 0");
        let svg = markup(&[(0, 1), (1, 5), (4, 3)]);
        assert!(svg.contains(r#"role="img" aria-label="Pending: last 3, between 1 and 5""#), "{svg}");
        assert!(!svg.contains("style=") && !svg.contains("http"), "{svg}");
    }

    #[test]
    fn line_has_gaps() {
        assert_eq!(drawn(&[(0, 1), (20, 1), (41, 1), (100, 1)]), "M0 0h0L200 0M410 0h0M1000 0h0");
    }

    #[test]
    fn one_value_is_a_dot_and_none_is_nothing() {
        assert_eq!(drawn(&[(7, 3)]), "M1000 0h0");
        assert_eq!(drawn(&[(7, 0)]), "M1000 100h0");
        assert_eq!(markup(&[]), "");
    }

    #[test]
    fn equal_values_are_a_level_line() {
        assert_eq!(drawn(&[(0, 4), (1, 4), (2, 4)]), "M0 0h0L500 0L1000 0");
        assert_eq!(drawn(&[(0, 0), (1, 0)]), "M0 100h0L1000 100");
        assert!(markup(&[(0, 4), (1, 4)]).contains("last 4, between 4 and 4"));
    }

    #[test]
    fn huge_values_and_times_stay_in_the_drawing() {
        let points = [(Timestamp(0), u64::MAX), (Timestamp(u64::MAX), u64::MAX / 2), (Timestamp(5), 0)];
        let svg = sparkline("Dead", &points, |value| value.to_string()).into_string();
        assert!(svg.contains(r#"d="M0 0h0L0 100M1000 51h0""#), "{svg}");
    }

    #[test]
    fn values_at_one_time_are_above_each_other() {
        assert_eq!(drawn(&[(1, 2), (1, 0)]), "M1000 0h0L1000 100");
    }

    #[test]
    fn label_is_escaped() {
        let svg = sparkline("\"><b>", &points(&[(0, 1)]), |_| "<i>".to_owned()).into_string();
        assert!(!svg.contains("<b>") && !svg.contains("<i>"), "{svg}");
    }
}
