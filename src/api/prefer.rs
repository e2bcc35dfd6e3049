//! `Prefer` (RFC 7240), and the senders that mean it without saying so.

use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue};

/// What was done of what was preferred (RFC 7240, section 3).
pub(super) const PREFERENCE_APPLIED: HeaderName = HeaderName::from_static("preference-applied");

/// What a sender prefers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Prefer {
    /// `respond-async`: don't keep me waiting; `wait`: not longer than so many seconds.
    respond_async: bool,
    wait: Option<Duration>,
    /// `return=minimal`: success without a body.
    minimal: bool,
    /// A Knative broker: an answer with a body that is no CloudEvent is an error to it, and it sends again.
    broker: bool,
}

impl Prefer {
    /// Reads the headers. What isn't known or can't be read is left out of account, as section 2 wants it.
    pub(super) fn of(headers: &HeaderMap) -> Self {
        let mut prefer = Self::default();
        for value in headers.get_all("prefer").iter().filter_map(|value| value.to_str().ok()) {
            for preference in split(value) {
                // The parameters after `;` have no meaning for any of these.
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

    /// How long the sender is kept waiting, at most `most`; nothing means that it is answered before the engine is called.
    pub(super) fn patience(&self, most: Duration) -> Duration {
        match (self.respond_async, self.wait) {
            (true, None) => Duration::ZERO,
            (_, Some(wait)) => wait.min(most),
            (false, None) => most,
        }
    }

    /// Success without a body.
    pub(super) fn is_minimal(&self) -> bool {
        self.minimal || self.broker
    }

    /// `Preference-Applied` for an answer that is `pending` or not.
    pub(super) fn applied(&self, pending: bool) -> Option<HeaderValue> {
        let applied = [(self.respond_async && pending, "respond-async"), (self.minimal, "return=minimal")];
        let applied: Vec<_> = applied.into_iter().filter_map(|(is, name)| is.then_some(name)).collect();
        (!applied.is_empty()).then(|| HeaderValue::from_str(&applied.join(", ")).ok())?
    }
}

/// The elements of a list (RFC 9110, section 5.6.1): commas within quotes part nothing.
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

    const MOST: Duration = Duration::from_millis(2_500);

    fn prefer(values: &[(&'static str, &str)]) -> Prefer {
        let mut headers = HeaderMap::new();
        for (name, value) in values {
            headers.append(*name, HeaderValue::from_str(value).unwrap());
        }
        Prefer::of(&headers)
    }

    #[test]
    fn the_examples_of_the_rfc_are_read() {
        for (value, patience, minimal) in [
            ("", MOST, false),
            ("respond-async", Duration::ZERO, false),
            ("Respond-Async ; foo=bar", Duration::ZERO, false),
            ("respond-async, wait=1", Duration::from_secs(1), false),
            ("respond-async, wait=100", MOST, false),
            ("wait=0", Duration::ZERO, false),
            ("wait = \"1\"", Duration::from_secs(1), false),
            ("wait=soon", MOST, false),
            ("return=minimal; foo=\"some parameter\"", MOST, true),
            ("Lenient, RETURN=Minimal", MOST, true),
            ("return=representation", MOST, false),
            ("foo=\"a, respond-async\\\", return=minimal\"", MOST, false),
            ("handling=lenient, foo, return=\"minimal\"", MOST, true),
        ] {
            let read = prefer(&[("prefer", value)]);
            assert_eq!((read.patience(MOST), read.is_minimal()), (patience, minimal), "{value}");
        }
        let both = prefer(&[("prefer", "respond-async"), ("prefer", "return=minimal")]);
        assert_eq!(both.applied(true).unwrap(), "respond-async, return=minimal");
        assert_eq!(both.applied(false).unwrap(), "return=minimal");
        assert_eq!(prefer(&[("prefer", "reply")]).applied(true), None);
    }

    #[test]
    fn a_broker_is_known_by_its_headers() {
        for header in
            [("prefer", "reply"), ("kn-namespace", "default"), ("ce-knativearrivaltime", "2026-11-24T08:30:00Z")]
        {
            assert!(prefer(&[header]).is_minimal(), "{header:?}");
        }
        assert!(!prefer(&[("ce-id", "1"), ("knative", "x")]).is_minimal());
    }
}
