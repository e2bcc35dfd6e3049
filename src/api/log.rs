//! One line of JSON a request. No payload, no query, no header, no secret.

use http::{Method, Response, StatusCode};
use serde::Serialize;

use crate::delivery::DeliveryId;
use crate::gateway::Outcome;
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
    delivery: Option<DeliveryId>,
    engine_status: Option<u16>,
    problem: Option<&'static str>,
    warning: Option<String>,
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
            engine_status: None,
            problem: None,
            warning: None,
        }
    }

    pub(super) fn outcome(&mut self, outcome: &Outcome) {
        self.delivery = Some(outcome.id);
        self.engine_status = outcome.engine_status.map(|status| status.as_u16());
        self.warning.clone_from(&outcome.warning);
    }

    /// The delivery that the request became.
    pub(super) fn delivery(&self) -> Option<DeliveryId> {
        self.delivery
    }

    pub(super) fn problem(&mut self, slug: &'static str) {
        self.problem = Some(slug);
    }

    pub(super) fn warning(&mut self, warning: String) {
        self.warning = Some(warning);
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
            delivery: Option<String>,
            #[serde(skip_serializing_if = "Option::is_none")]
            engine_status: Option<u16>,
            #[serde(skip_serializing_if = "Option::is_none")]
            problem: Option<&'a str>,
            #[serde(skip_serializing_if = "Option::is_none")]
            warning: Option<&'a str>,
        }
        let line = Line {
            time: self.time.rfc3339(),
            method: self.method,
            route: self.route,
            status: self.status.as_u16(),
            duration_ms,
            delivery: self.delivery.map(|id| id.to_string()),
            engine_status: self.engine_status,
            problem: self.problem,
            warning: self.warning.as_deref(),
        };
        serde_json::to_string(&line).unwrap_or_default()
    }
}
