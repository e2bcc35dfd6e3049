//! `GET /metrics`: the state of the gateway, for Prometheus and whatever else reads OpenMetrics 1.0.
//!
//! All metrics are gauges: a component has no memory between two requests in which it could count, and its replicas
//! would each have their own. Numbers of deliveries and keys are those of the last pass of the drain
//! ([`Sample`](crate::gateway::Sample)), whose time is a metric of its own. So a request lists no keys, and counts no
//! rows. Times are Unix timestamps, from which a query computes an age: `time() - sluice_drain_timestamp_seconds`.

use std::fmt;

use http::header::{ACCEPT, CONTENT_TYPE, HeaderValue};
use http::{HeaderMap, Response};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric as _, text};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::{Registry, Unit};

use super::problem::{Kind, Problem};
use super::{RequestContext, operator, respond};
use crate::config::{Config, members};
use crate::gateway::sources::Remembered;
use crate::gateway::{self, Stopped};
use crate::ports::{Host, Variables};
use crate::source::LastRefused;
use crate::store::{Faults, Outbox as _};
use crate::time::Timestamp;

/// The media type of OpenMetrics 1.0.
const OPEN_METRICS: HeaderValue =
    HeaderValue::from_static("application/openmetrics-text; version=1.0.0; charset=utf-8");
/// The media type of Prometheus' own text format. What Sluice writes is valid in both.
const PROMETHEUS_TEXT: HeaderValue = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");

/// The labels of a series.
type Labels = Vec<(&'static str, String)>;

/// A metric, with a value for each set of labels. One that has none at present is there without a value.
#[derive(Debug)]
struct Gauge {
    /// Without the prefix `sluice_` and the unit.
    name: &'static str,
    unit: Option<Unit>,
    help: &'static str,
    series: Vec<(Labels, f64)>,
}

impl Gauge {
    /// A number without labels; no series if it is not known.
    fn number(name: &'static str, help: &'static str, value: Option<u64>) -> Self {
        Self { name, unit: None, help, series: value.map(|value| (Labels::new(), float(value))).into_iter().collect() }
    }

    /// 1 if something is the case, 0 if not.
    fn state(name: &'static str, help: &'static str, is_so: bool) -> Self {
        Self::number(name, help, Some(u64::from(is_so)))
    }

    /// Points in time.
    fn times(name: &'static str, help: &'static str, times: impl IntoIterator<Item = (Labels, Timestamp)>) -> Self {
        let series = times.into_iter().map(|(labels, at)| (labels, seconds(at)));
        Self { name, unit: Some(Unit::Seconds), help, series: series.collect() }
    }

    /// A point in time without labels; no series if it is not known.
    fn time(name: &'static str, help: &'static str, at: Option<Timestamp>) -> Self {
        Self::times(name, help, at.map(|at| (Labels::new(), at)))
    }
}

/// The nearest floating-point number, which is exact below 2^53.
#[expect(clippy::cast_precision_loss, reason = "the format has no other numbers")]
fn float(value: u64) -> f64 {
    value as f64
}

/// A Unix timestamp in seconds.
fn seconds(at: Timestamp) -> f64 {
    float(at.0) / 1_000.0
}

/// The metrics of one response.
#[derive(Debug)]
struct Gauges(Vec<Gauge>);

impl Collector for Gauges {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        for Gauge { name, unit, help, series } in &self.0 {
            let mut family = encoder.encode_descriptor(name, help, unit.as_ref(), MetricType::Gauge)?;
            for (labels, value) in series {
                ConstGauge::new(*value).encode(family.encode_family(labels)?)?;
            }
        }
        Ok(())
    }
}

impl Gauges {
    fn into_text(self) -> String {
        let mut registry = Registry::with_prefix("sluice");
        registry.register_collector(Box::new(self));
        let mut written = String::new();
        // Writing to a string never fails.
        let _: fmt::Result = text::encode(&mut written, &registry);
        written
    }
}

/// `GET /metrics`. Needs no valid settings besides its token and those of the store.
pub(super) async fn show(context: &mut RequestContext<'_, '_, impl Host>) -> Result<Response<Vec<u8>>, Problem> {
    operator::authenticate_or(context, &members::METRICS_TOKEN)?;
    let faults = gateway::store_of(context.host).faults().await;
    let faults = faults.map_err(|error| operator::to_problem(context, error.into()))?;
    if let Some(unusable) = &faults.store.unusable {
        context.log.warning(unusable.clone());
        return Err(Problem::new(Kind::StoreUnavailable, unusable.clone()));
    }
    let notes = gateway::sources::seen(context.host).await;
    let notes = notes.map_err(|error| operator::to_problem(context, error.into()))?;
    let text = gauges(context.config, faults, &notes).into_text();
    let mut response = Response::new(text.into_bytes());
    response.headers_mut().insert(CONTENT_TYPE, media_type(context.headers));
    Ok(respond::no_store(response))
}

/// The media type that the client reads: OpenMetrics, unless it asks only for Prometheus' text format.
fn media_type(headers: &HeaderMap) -> HeaderValue {
    let accepts =
        |name: &str| headers.get_all(ACCEPT).iter().any(|value| value.to_str().is_ok_and(|v| v.contains(name)));
    if accepts("text/plain") && !accepts("application/openmetrics-text") { PROMETHEUS_TEXT } else { OPEN_METRICS }
}

/// All metrics, in the order of docs/metrics.md.
fn gauges(config: &Config<'_, impl Variables>, faults: Faults, notes: &Remembered) -> Gauges {
    let Faults { engine, twice, queues, drained, sample, store } = faults;
    let drained = gateway::last_drain(drained);
    let at = drained.as_ref().map(|(at, _)| *at);
    let summary = drained.and_then(|(_, summary)| summary);
    let stopped_sources = config.sources().map(|sources| sources.faults().len()).unwrap_or_default();
    let errors = config.check().len().saturating_add(stopped_sources);
    // Only a key-value store has keys.
    let keys = sample.and_then(|sample| sample.keys);
    let max_keys = keys.and_then(|_| config.get(&members::MAX_KEYS).ok());
    let count = |count: usize| u64::try_from(count).ok();
    let version = vec![("version", env!("CARGO_PKG_VERSION").to_owned())];
    Gauges(vec![
        Gauge {
            name: "build_info",
            unit: None,
            help: "Always 1. The label is the version of Sluice",
            series: vec![(version, 1.0)],
        },
        Gauge::number(
            "configuration_errors",
            "Number of errors in the variables, and of sources that an error stops",
            count(errors),
        ),
        Gauge::time("drain_timestamp", "When the last pass of the drain ended", at),
        Gauge::number(
            "pending_deliveries",
            "Number of pending deliveries at the end of the last pass",
            sample.map(|sample| sample.pending),
        ),
        Gauge::number(
            "dead_deliveries",
            "Number of dead letters at the end of the last pass",
            sample.map(|sample| sample.dead),
        ),
        Gauge::time(
            "oldest_pending_timestamp",
            "When the oldest delivery was received that was pending at the end of the last pass",
            sample.and_then(|sample| sample.oldest),
        ),
        Gauge {
            name: "backlog",
            unit: Some(Unit::Seconds),
            help: "How long the pending deliveries will take at the pace of the last passes",
            series: backlog(summary.as_ref().and_then(|summary| summary.backlog)),
        },
        Gauge::number(
            "held_queues",
            "Number of queues whose first delivery waits for its next attempt",
            count(queues.len()),
        ),
        Gauge::state(
            "engine_unreachable",
            "Whether the last pass has stopped because the engine failed or could not be reached",
            summary.is_some_and(|summary| summary.stopped == Some(Stopped::Unreachable)),
        ),
        Gauge::state(
            "engine_fault",
            "Whether the engine refuses Sluice, because the configuration of one of them is wrong",
            engine.is_some(),
        ),
        Gauge::state("run_twice", "Whether a delivery was found within 24 hours that has two runs", twice.is_some()),
        Gauge::number("store_keys", "Number of keys in the key-value store after the last pass", keys),
        Gauge::number(
            "store_max_keys",
            "Number of keys above which the oldest outcomes are dropped: the setting max_keys",
            max_keys.and_then(count),
        ),
        Gauge::state("store_full", "Whether nothing new can be stored", store.full),
        Gauge::time(
            "store_known_since_timestamp",
            "Since when each event is still known, if the store has dropped outcomes before their time",
            store.known_since,
        ),
        Gauge::times(
            "last_refused_timestamp",
            "When a request was last refused, by source and reason. An empty source stands for requests of none",
            refused(&notes.refused),
        ),
        Gauge::times(
            "key_fetched_timestamp",
            "When the public keys or the certificate at a URL were last fetched",
            notes.keys.iter().map(|keys| (url(keys.url()), keys.fetched())),
        ),
        Gauge::times(
            "key_fresh_until_timestamp",
            "Until when the public keys or the certificate at a URL are used without being fetched again",
            notes.keys.iter().map(|keys| (url(keys.url()), keys.fresh_until())),
        ),
    ])
}

fn backlog(seconds: Option<u64>) -> Vec<(Labels, f64)> {
    seconds.map(|seconds| (Labels::new(), float(seconds))).into_iter().collect()
}

fn url(url: &str) -> Labels {
    vec![("url", url.to_owned())]
}

/// The last time of each source and reason: at most [`MAX_REFUSED`](crate::source::MAX_REFUSED) for each source.
fn refused(lists: &[LastRefused]) -> Vec<(Labels, Timestamp)> {
    let mut last: Vec<(Labels, Timestamp)> = Vec::new();
    for list in lists {
        // The last one comes first.
        for refused in &list.refused {
            let labels = vec![("source", list.source.clone().unwrap_or_default()), ("reason", refused.reason.clone())];
            if last.iter().all(|(known, _)| *known != labels) {
                last.push((labels, refused.at));
            }
        }
    }
    last
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_open_metrics() {
        let labels = vec![("url", "https://a/?q=\"\\\n\u{1}é".to_owned())];
        let text = Gauges(vec![
            Gauge::number("held_queues", "Number of queues", Some(3)),
            Gauge::time("drain_timestamp", "When", None),
            Gauge::times("key_fetched_timestamp", "When", [(labels, Timestamp(1_800_000_000_123))]),
            Gauge::state("store_full", "Whether", true),
        ])
        .into_text();
        assert_eq!(
            text,
            "# HELP sluice_held_queues Number of queues\n\
             # TYPE sluice_held_queues gauge\n\
             sluice_held_queues 3.0\n\
             # HELP sluice_drain_timestamp_seconds When\n\
             # TYPE sluice_drain_timestamp_seconds gauge\n\
             # UNIT sluice_drain_timestamp_seconds seconds\n\
             # HELP sluice_key_fetched_timestamp_seconds When\n\
             # TYPE sluice_key_fetched_timestamp_seconds gauge\n\
             # UNIT sluice_key_fetched_timestamp_seconds seconds\n\
             sluice_key_fetched_timestamp_seconds{url=\"https://a/?q=\\\"\\\\\\n\u{1}é\"} 1800000000.123\n\
             # HELP sluice_store_full Whether\n\
             # TYPE sluice_store_full gauge\n\
             sluice_store_full 1.0\n\
             # EOF\n"
        );
    }

    #[test]
    fn media_type_is_the_one_that_the_client_reads() {
        // Of Prometheus 2.42, of an older one, of curl, and without the header.
        for (accept, expected) in [
            (
                Some(
                    "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
                ),
                OPEN_METRICS,
            ),
            (Some("text/plain;version=0.0.4;q=1,*/*;q=0.1"), PROMETHEUS_TEXT),
            (Some("*/*"), OPEN_METRICS),
            (None, OPEN_METRICS),
        ] {
            let mut headers = HeaderMap::new();
            headers.extend(accept.map(|accept| (ACCEPT, HeaderValue::from_static(accept))));
            assert_eq!(media_type(&headers), expected, "{accept:?}");
        }
    }

    #[test]
    fn refusals_are_told_apart_by_source_and_reason() {
        use crate::source::Refused;
        let refused_at =
            |reason: &str, detail: &str, at| Refused::new(reason, detail, &HeaderMap::new(), Timestamp(at));
        let mut acme = LastRefused::new(Some("acme"));
        for (reason, detail, at) in
            [("invalid-signature", "a", 1), ("invalid-signature", "b", 2), ("unauthorized", "c", 3)]
        {
            acme.add(refused_at(reason, detail, at));
        }
        let mut unknown = LastRefused::new(None);
        unknown.add(refused_at("unauthorized", "d", 4));
        let labels = |source: &str, reason: &str| vec![("source", source.to_owned()), ("reason", reason.to_owned())];
        assert_eq!(
            refused(&[acme, unknown]),
            [
                (labels("acme", "unauthorized"), Timestamp(3)),
                (labels("acme", "invalid-signature"), Timestamp(2)),
                (labels("", "unauthorized"), Timestamp(4)),
            ]
        );
    }
}
