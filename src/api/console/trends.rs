//! The metrics of the last passes of the drain, as small pictures.

use std::time::Duration;

use maud::{Markup, html};

use super::chart::{Point, sparkline};
use super::format::{ago, count, number, span};
use crate::gateway::Sample;
use crate::time::Timestamp;

/// A metric: its name, its value in a sample, and how a value is written.
type Metric = (&'static str, fn(&Sample) -> u64, fn(u64) -> String);

const METRICS: [Metric; 5] = [
    ("Pending", |sample| sample.pending, number),
    ("Dead", |sample| sample.dead, number),
    ("Oldest waiting", waiting, seconds),
    ("Delivered per minute", |sample| sample.delivered, number),
    ("Failed per minute", |sample| sample.failed, number),
];

/// How long the oldest pending delivery had waited, in seconds; 0 if there was none.
fn waiting(sample: &Sample) -> u64 {
    sample.oldest.map_or(0, |oldest| sample.at.since(oldest).as_secs())
}

fn seconds(value: u64) -> String {
    if value == 0 { "0 s".to_owned() } else { span(Duration::from_secs(value)) }
}

/// The section with a tile for each metric. The samples are in order of time.
pub(super) fn section(samples: &[Sample], now: Timestamp) -> Markup {
    let (Some(first), Some(last)) = (samples.first(), samples.last()) else {
        return html! {
            h2 { "Drains" }
            div.card.pad { p.mute { "No samples yet: each pass of the drain takes one" } }
        };
    };
    html! {
        h2 { "Drains" }
        p.mute {
            (count(samples.len(), "sample", "samples"))
            @if samples.len() > 1 { " over " (span(last.at.since(first.at))) }
            ", the last one " (ago(last.at, now))
            ". Deliveries that the engine accepts while their sender waits pass no drain, so they are not in these numbers"
        }
        div.tiles { @for metric in &METRICS { (tile(metric, samples)) } }
    }
}

fn tile((name, value_of, write): &Metric, samples: &[Sample]) -> Markup {
    let points: Vec<Point> = samples.iter().map(|sample| (sample.at, value_of(sample))).collect();
    let values = || points.iter().map(|(_, value)| *value);
    let (least, greatest) = (values().min().unwrap_or_default(), values().max().unwrap_or_default());
    html! {
        section.card.pad {
            h3 { (name) }
            p.big { (write(values().next_back().unwrap_or_default())) }
            (sparkline(name, &points, write))
            p.mute { (write(least)) " to " (write(greatest)) }
        }
    }
}

#[cfg(test)]
#[allow(clippy::arithmetic_side_effects, reason = "a test reports an error by failing")]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp(1_800_000_000_000);

    fn sample(minutes_ago: u64) -> Sample {
        let at = NOW.minus(Duration::from_secs(60 * minutes_ago));
        let oldest = (minutes_ago > 0).then(|| at.minus(Duration::from_secs(90)));
        Sample { at, pending: minutes_ago, dead: 2, oldest, keys: None, delivered: 10, failed: 0 }
    }

    #[test]
    fn each_metric_has_a_picture_with_its_values() {
        let section = section(&[sample(3), sample(1), sample(0)], NOW).into_string();
        assert!(section.contains("3 samples over 3 min, the last one just now"), "{section}");
        for text in [
            "Pending: last 0, between 0 and 3",
            "Dead: last 2, between 2 and 2",
            "Oldest waiting: last 0 s, between 0 s and 90 s",
            "Delivered per minute: last 10, between 10 and 10",
            "Failed per minute: last 0, between 0 and 0",
        ] {
            assert!(section.contains(&format!(r#"role="img" aria-label="{text}""#)), "{text} in {section}");
        }
    }

    #[test]
    fn one_sample_has_no_period_and_none_no_picture() {
        let one = section(&[sample(5)], NOW).into_string();
        assert!(one.contains("1 sample, the last one 5 min ago") && one.matches("<svg").count() == 5, "{one}");
        let none = section(&[], NOW).into_string();
        assert!(none.contains("No samples yet") && !none.contains("<svg"), "{none}");
    }

    #[test]
    fn times_that_make_no_sense_are_written() {
        let mut ahead = sample(0);
        (ahead.oldest, ahead.pending) = (Some(Timestamp(u64::MAX)), u64::MAX);
        let text = section(&[ahead], Timestamp(0)).into_string();
        assert!(text.contains("just now") && text.contains("Pending: last 18,446,744,073,709,551,615"), "{text}");
    }
}
