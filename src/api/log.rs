//! One line of JSON a request. No payload, no query, no header, no secret.

use http::{Method, Response, StatusCode};
use serde::Serialize;

use crate::gateway::{DrainSummary, Receipt, Report};
use crate::ports::StoreError;
use crate::time::Timestamp;

/// The methods of RFC 9110, section 9, and PATCH.
const METHODS: [&str; 9] = ["GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"];

/// What is said of a request.
#[derive(Clone, Debug)]
pub struct LogLine {
    time: Timestamp,
    method: &'static str,
    route: &'static str,
    status: StatusCode,
    delivery: Option<String>,
    /// How many, where they are several.
    deliveries: Option<usize>,
    outcome: Option<&'static str>,
    engine_status: Option<u16>,
    problem: Option<&'static str>,
    warnings: Vec<String>,
}

impl LogLine {
    /// The start of a line; the rest comes with the answer.
    pub(super) fn new(time: Timestamp, method: &Method, route: &'static str) -> Self {
        Self {
            time,
            // Who invents methods doesn't get to write them into the log.
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

    pub(super) fn delivery(&mut self, receipt: &Receipt<'_>) {
        self.delivery = Some(receipt.id.to_string());
        self.engine_status = receipt.engine_status.map(|status| status.as_u16());
        self.warnings.extend_from_slice(&receipt.warnings);
    }

    pub(super) fn deliveries(&mut self, receipts: &[Receipt<'_>]) {
        self.deliveries = Some(receipts.len());
        for warning in receipts.iter().flat_map(|receipt| &receipt.warnings) {
            // What is wrong with the store or the engine is wrong for all.
            if !self.warnings.contains(warning) {
                self.warnings.push(warning.clone());
            }
        }
    }

    pub(super) fn outcome(&mut self, outcome: &'static str) {
        self.outcome = Some(outcome);
    }

    pub(super) fn problem(&mut self, slug: &'static str) {
        self.problem = Some(slug);
    }

    pub(super) fn warning(&mut self, warning: String) {
        self.warnings.push(warning);
    }

    pub(super) fn answer(&mut self, response: &Response<Vec<u8>>) {
        self.status = response.status();
    }

    /// The line, without its end.
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

/// What an operator should know, in one text; `None` if that is nothing.
fn joined(warnings: &[String]) -> Option<String> {
    (!warnings.is_empty()).then(|| warnings.join("; "))
}

/// What came of a call that went on after the answer.
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

/// What a drain did that nobody asked for.
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
