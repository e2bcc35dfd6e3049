//! The `Prefer` header (RFC 7240), and the implicit preferences of Knative brokers.

use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue};

/// `Prefer`: the preferences of a sender (RFC 7240, section 2).
const PREFER: HeaderName = HeaderName::from_static("prefer");
/// `Preference-Applied`: the preferences that the response follows (RFC 7240, section 3).
pub(super) const PREFERENCE_APPLIED: HeaderName = HeaderName::from_static("preference-applied");

/// The preferences of a sender.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Prefer {
    /// `respond-async`: respond before the engine is called.
    respond_async: bool,
    /// `wait`: respond within this time, given in seconds.
    wait: Option<Duration>,
    /// `return=minimal`: send no body with a successful response.
    minimal: bool,
    /// The sender is a Knative broker. It treats a response body that is not a CloudEvent as an error, and retries.
    broker: bool,
}

impl Prefer {
    /// Reads the headers. Unknown and malformed preferences are ignored, as section 2 of the RFC requires.
    pub(super) fn of(headers: &HeaderMap) -> Self {
        let mut prefer = Self::default();
        for value in headers.get_all(PREFER).iter().filter_map(|value| value.to_str().ok()) {
            for preference in split(value) {
                // None of these preferences has parameters, which would follow `;`.
                let preference = preference.split(';').next().unwrap_or_default();
                let (name, value) = preference.split_once('=').unwrap_or((preference, ""));
                let (name, value) = (name.trim().to_ascii_lowercase(), value.trim().trim_matches('"'));
                match name.as_str() {
                    "respond-async" => prefer.respond_async = true,
                    "wait" if prefer.wait.is_none() => prefer.wait = value.parse().ok().map(Duration::from_secs),
                    "return" => prefer.minimal |= value.eq_ignore_ascii_case("minimal"),
                    "reply" => prefer.broker = true,
                    _ => {}
                }
            }
        }
        prefer.broker |= headers
            .keys()
            .map(HeaderName::as_str)
            .any(|name| name.starts_with("kn-") || name.starts_with("ce-knative"));
        prefer
    }

    /// Returns how long a response may wait for the engine, up to `max`. If the result is zero, the delivery is stored
    /// and the response is sent before the engine is called.
    pub(super) fn max_wait(&self, max: Duration) -> Duration {
        match (self.respond_async, self.wait) {
            (true, None) => Duration::ZERO,
            (_, Some(wait)) => wait.min(max),
            (false, None) => max,
        }
    }

    /// Returns whether a successful response has no body.
    pub(super) fn is_minimal(&self) -> bool {
        self.minimal || self.broker
    }

    /// Returns the value of `Preference-Applied`, if one of the sender's preferences was applied. `pending` says
    /// whether the delivery was stored.
    pub(super) fn applied(&self, pending: bool) -> Option<HeaderValue> {
        let applied = [(self.respond_async && pending, "respond-async"), (self.minimal, "return=minimal")];
        let applied: Vec<_> = applied.into_iter().filter_map(|(is_applied, name)| is_applied.then_some(name)).collect();
        (!applied.is_empty()).then(|| HeaderValue::from_str(&applied.join(", ")).ok())?
    }
}

/// Splits a list (RFC 9110, section 5.6.1) at its commas, except those within quotes.
fn split(list: &str) -> impl Iterator<Item = &str> {
    let (mut quoted, mut escaped) = (false, false);
    list.split(move |c| {
        match c {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            _ => {}
        }
        c == ',' && !quoted
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAX: Duration = Duration::from_millis(2_500);

    fn prefer(values: &[(&'static str, &str)]) -> Prefer {
        let mut headers = HeaderMap::new();
        for (name, value) in values {
            headers.append(*name, HeaderValue::from_str(value).unwrap());
        }
        Prefer::of(&headers)
    }

    #[test]
    fn examples_of_rfc_7240_are_parsed() {
        for (value, wait, minimal) in [
            ("", MAX, false),
            ("respond-async", Duration::ZERO, false),
            ("Respond-Async ; foo=bar", Duration::ZERO, false),
            ("respond-async, wait=1", Duration::from_secs(1), false),
            ("respond-async, wait=100", MAX, false),
            ("wait=0", Duration::ZERO, false),
            ("wait = \"1\"", Duration::from_secs(1), false),
            ("wait=soon", MAX, false),
            ("return=minimal; foo=\"some parameter\"", MAX, true),
            ("Lenient, RETURN=Minimal", MAX, true),
            ("return=representation", MAX, false),
            ("foo=\"a, respond-async\\\", return=minimal\"", MAX, false),
            ("handling=lenient, foo, return=\"minimal\"", MAX, true),
        ] {
            let read = prefer(&[("prefer", value)]);
            assert_eq!((read.max_wait(MAX), read.is_minimal()), (wait, minimal), "{value}");
        }
        let both = prefer(&[("prefer", "respond-async"), ("prefer", "return=minimal")]);
        assert_eq!(both.applied(true).unwrap(), "respond-async, return=minimal");
        assert_eq!(both.applied(false).unwrap(), "return=minimal");
        assert_eq!(prefer(&[("prefer", "reply")]).applied(true), None);
    }

    #[test]
    fn knative_broker_is_detected_by_its_headers() {
        for header in
            [("prefer", "reply"), ("kn-namespace", "default"), ("ce-knativearrivaltime", "2026-11-24T08:30:00Z")]
        {
            assert!(prefer(&[header]).is_minimal(), "{header:?}");
        }
        assert!(!prefer(&[("ce-id", "1"), ("knative", "x")]).is_minimal());
    }
}
