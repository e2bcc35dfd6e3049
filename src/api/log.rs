//! The log: one line of JSON for each request, and one for each attempt or drain that ends after the response. A line
//! never contains a payload, a query or a secret, and of the headers only the id of the trace.
//!
//! docs/log.schema.json describes the lines.

use http::{HeaderMap, Method, StatusCode};
use serde::Serialize;

use super::TRACEPARENT;
use crate::gateway::{DrainSummary, Receipt, Report};
use crate::ports::StoreError;
use crate::source::Refused;
use crate::time::Timestamp;

/// The version of the lines' form, in each line: another number if a member is renamed or removed, or means something
/// else. Members are added without a new number.
const VERSION: u32 = 1;

/// The methods of RFC 9110, section 9, and PATCH.
const METHODS: [&str; 9] = ["GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"];

/// The log line of a request.
#[derive(Clone, Debug)]
pub struct LogLine {
    time: Timestamp,
    /// The id of the trace that the request belongs to: 32 hexadecimal digits.
    trace: Option<String>,
    method: &'static str,
    route: &'static str,
    status: StatusCode,
    delivery: Option<String>,
    /// The number of deliveries, if the request has several.
    deliveries: Option<usize>,
    outcome: Option<&'static str>,
    engine_status: Option<u16>,
    problem: Option<&'static str>,
    warnings: Vec<String>,
}

impl LogLine {
    /// Creates the line of a request. Its other members are set while the request is handled.
    pub(super) fn new(time: Timestamp, method: &Method, route: &'static str, headers: &HeaderMap) -> Self {
        Self {
            time,
            trace: trace_id(headers).map(str::to_owned),
            // An unknown method is not logged, because a client could use it to write any text into the log.
            method: METHODS.into_iter().find(|known| *known == method.as_str()).unwrap_or("(other)"),
            route,
            status: StatusCode::OK,
            delivery: None,
            deliveries: None,
            outcome: None,
            engine_status: None,
            problem: None,
            warnings: Vec::new(),
        }
    }

    /// Sets the members about a delivery.
    pub(super) fn delivery(&mut self, receipt: &Receipt<'_>) {
        self.delivery = Some(receipt.id.to_string());
        self.engine_status = receipt.engine_status.map(|status| status.as_u16());
        self.warnings.extend_from_slice(&receipt.warnings);
    }

    /// Sets the members about several deliveries.
    pub(super) fn deliveries(&mut self, receipts: &[Receipt<'_>]) {
        self.deliveries = Some(receipts.len());
        for warning in receipts.iter().flat_map(|receipt| &receipt.warnings) {
            // A failure of the store or the engine usually affects all deliveries in the same way.
            if !self.warnings.contains(warning) {
                self.warnings.push(warning.clone());
            }
        }
    }

    /// Sets the outcome.
    pub(super) fn outcome(&mut self, outcome: &'static str) {
        self.outcome = Some(outcome);
    }

    /// Sets the slug of the problem in the response.
    pub(super) fn problem(&mut self, slug: &'static str) {
        self.problem = Some(slug);
    }

    /// Adds a warning for the operator.
    pub(super) fn warning(&mut self, warning: String) {
        self.warnings.push(warning);
    }

    /// Sets the status of the response.
    pub(super) fn status(&mut self, status: StatusCode) {
        self.status = status;
    }

    /// Returns the line, without a line break.
    pub fn to_json(&self, duration_ms: f64) -> String {
        #[derive(Serialize)]
        struct Line<'a> {
            time: String,
            v: u32,
            #[serde(skip_serializing_if = "Option::is_none")]
            trace: Option<&'a str>,
            method: &'a str,
            route: &'a str,
            status: u16,
            duration_ms: f64,
            #[serde(skip_serializing_if = "Option::is_none")]
            delivery: Option<&'a str>,
            #[serde(skip_serializing_if = "Option::is_none")]
            deliveries: Option<usize>,
            #[serde(skip_serializing_if = "Option::is_none")]
            outcome: Option<&'a str>,
            #[serde(skip_serializing_if = "Option::is_none")]
            engine_status: Option<u16>,
            #[serde(skip_serializing_if = "Option::is_none")]
            problem: Option<&'a str>,
            #[serde(skip_serializing_if = "Option::is_none")]
            warning: Option<String>,
        }
        let line = Line {
            time: self.time.rfc3339(),
            v: VERSION,
            trace: self.trace.as_deref(),
            method: self.method,
            route: self.route,
            status: self.status.as_u16(),
            duration_ms,
            delivery: self.delivery.as_deref(),
            deliveries: self.deliveries,
            outcome: self.outcome,
            engine_status: self.engine_status,
            problem: self.problem,
            warning: joined(&self.warnings),
        };
        serde_json::to_string(&line).unwrap_or_default()
    }
}

/// Returns the id of the trace in `traceparent` (W3C Trace Context, section 3.2); `None` if the header is missing, invalid
/// or repeated.
fn trace_id(headers: &HeaderMap) -> Option<&str> {
    let mut values = headers.get_all(TRACEPARENT).iter();
    let value = values.next().filter(|_| values.next().is_none())?.to_str().ok()?;
    let is_hex = |text: &str| text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    let is_id = |text: &str, length| text.len() == length && is_hex(text) && text.bytes().any(|byte| byte != b'0');
    let mut fields = value.split('-');
    let [version, trace, parent, flags] = [fields.next()?, fields.next()?, fields.next()?, fields.next()?];
    let is_byte = |text: &str| text.len() == 2 && is_hex(text);
    // A later version may have more fields.
    let is_known = version == "00" && fields.next().is_none() || version != "00" && version != "ff";
    let is_valid = is_byte(version) && is_known && is_id(parent, 16) && is_byte(flags);
    Some(trace).filter(|trace| is_valid && is_id(trace, 32))
}

/// Joins warnings into one text; `None` if there are none.
fn joined(warnings: &[String]) -> Option<String> {
    (!warnings.is_empty()).then(|| warnings.join("; "))
}

/// Returns the line about an attempt that ended after the response.
pub(super) fn report(report: &Report) -> String {
    #[derive(Serialize)]
    struct Line<'a> {
        time: String,
        v: u32,
        delivery: String,
        outcome: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        failure: Option<String>,
        #[serde(skip_serializing_if = "Option::is_none")]
        warning: Option<String>,
    }
    let line = Line {
        time: report.at.rfc3339(),
        v: VERSION,
        delivery: report.id.to_string(),
        outcome: report.outcome.name(),
        failure: report.outcome.failure().map(ToString::to_string),
        warning: joined(&report.warnings),
    };
    serde_json::to_string(&line).unwrap_or_default()
}

/// Returns the line about a request that was refused, with what would have fitted.
pub(super) fn refused(source: Option<&str>, refused: &Refused) -> String {
    #[derive(Serialize)]
    struct Line<'a> {
        time: String,
        v: u32,
        #[serde(skip_serializing_if = "Option::is_none")]
        source: Option<&'a str>,
        refused: &'a str,
        detail: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        near_miss: Option<&'a str>,
    }
    let Refused { reason, detail, near_miss, .. } = refused;
    let line = Line {
        time: refused.at.rfc3339(),
        v: VERSION,
        source,
        refused: reason,
        detail,
        near_miss: near_miss.as_deref(),
    };
    serde_json::to_string(&line).unwrap_or_default()
}

/// Returns the line about a failure of the store after the response, which changes nothing for the sender.
pub(super) fn not_noted(time: Timestamp, error: &StoreError) -> String {
    #[derive(Serialize)]
    struct Line {
        time: String,
        v: u32,
        warning: String,
    }
    serde_json::to_string(&Line { time: time.rfc3339(), v: VERSION, warning: error.to_string() }).unwrap_or_default()
}

/// Returns the line about a drain that ran after a response.
pub(super) fn drained(time: Timestamp, drained: &Result<DrainSummary, StoreError>) -> String {
    #[derive(Serialize)]
    struct Line<'a> {
        time: String,
        v: u32,
        #[serde(skip_serializing_if = "Option::is_none")]
        drained: Option<&'a DrainSummary>,
        #[serde(skip_serializing_if = "Option::is_none")]
        warning: Option<String>,
    }
    let warning = match drained {
        Ok(drained) => joined(&drained.warnings),
        Err(error) => Some(error.to_string()),
    };
    let line = Line { time: time.rfc3339(), v: VERSION, drained: drained.as_ref().ok(), warning };
    serde_json::to_string(&line).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

    #[test]
    fn trace_is_that_of_a_valid_header() {
        let valid = format!("00-{TRACE}-00f067aa0ba902b7-01");
        for (value, is_valid) in [
            (valid.clone(), true),
            (format!("00-{TRACE}-00f067aa0ba902b7-00"), true),
            (format!("cc-{TRACE}-00f067aa0ba902b7-01-what-the-future-will-be-like"), true),
            (format!("00-{TRACE}-00f067aa0ba902b7-01-more"), false),
            (format!("ff-{TRACE}-00f067aa0ba902b7-01"), false),
            (format!("00-{TRACE}-0000000000000000-01"), false),
            (format!("00-{}-00f067aa0ba902b7-01", "0".repeat(32)), false),
            (valid.to_uppercase(), false),
            (format!("00-{TRACE}-00f067aa0ba902b7"), false),
            (format!("0-{TRACE}-00f067aa0ba902b7-01"), false),
            (format!("00-{TRACE}1-00f067aa0ba902b7-01"), false),
            (format!(" 00-{TRACE}-00f067aa0ba902b7-01"), false),
            (String::new(), false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert("traceparent", HeaderValue::from_str(&value).unwrap());
            assert_eq!(trace_id(&headers), is_valid.then_some(TRACE), "{value}");
            headers.append("traceparent", HeaderValue::from_str(&value).unwrap());
            assert_eq!(trace_id(&headers), None, "{value}, twice");
        }
        assert_eq!(trace_id(&HeaderMap::new()), None);
    }
}
