//! The log: one line of JSON for each request, and one for each attempt or drain that ends after the response. A line
//! never contains a payload, a query, a header or a secret.

use http::{Method, StatusCode};
use serde::Serialize;

use crate::gateway::{DrainSummary, Receipt, Report};
use crate::ports::StoreError;
use crate::source::Refused;
use crate::time::Timestamp;

/// The methods of RFC 9110, section 9, and PATCH.
const METHODS: [&str; 9] = ["GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"];

/// The log line of a request.
#[derive(Clone, Debug)]
pub struct LogLine {
    time: Timestamp,
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
    pub(super) fn new(time: Timestamp, method: &Method, route: &'static str) -> Self {
        Self {
            time,
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

/// Joins warnings into one text; `None` if there are none.
fn joined(warnings: &[String]) -> Option<String> {
    (!warnings.is_empty()).then(|| warnings.join("; "))
}

/// Returns the line about an attempt that ended after the response.
pub(super) fn report(report: &Report) -> String {
    #[derive(Serialize)]
    struct Line<'a> {
        time: String,
        delivery: String,
        outcome: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        failure: Option<String>,
        #[serde(skip_serializing_if = "Option::is_none")]
        warning: Option<String>,
    }
    let line = Line {
        time: report.at.rfc3339(),
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
        #[serde(skip_serializing_if = "Option::is_none")]
        source: Option<&'a str>,
        refused: &'a str,
        detail: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        near_miss: Option<&'a str>,
    }
    let Refused { reason, detail, near_miss, .. } = refused;
    let line = Line { time: refused.at.rfc3339(), source, refused: reason, detail, near_miss: near_miss.as_deref() };
    serde_json::to_string(&line).unwrap_or_default()
}

/// Returns the line about a failure of the store after the response, which changes nothing for the sender.
pub(super) fn not_noted(time: Timestamp, error: &StoreError) -> String {
    #[derive(Serialize)]
    struct Line {
        time: String,
        warning: String,
    }
    serde_json::to_string(&Line { time: time.rfc3339(), warning: error.to_string() }).unwrap_or_default()
}

/// Returns the line about a drain that ran after a response.
pub(super) fn drained(time: Timestamp, drained: &Result<DrainSummary, StoreError>) -> String {
    #[derive(Serialize)]
    struct Line<'a> {
        time: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        drained: Option<&'a DrainSummary>,
        #[serde(skip_serializing_if = "Option::is_none")]
        warning: Option<String>,
    }
    let warning = match drained {
        Ok(drained) => joined(&drained.warnings),
        Err(error) => Some(error.to_string()),
    };
    let line = Line { time: time.rfc3339(), drained: drained.as_ref().ok(), warning };
    serde_json::to_string(&line).unwrap_or_default()
}
