//! Errors, and their responses.

use http::header::{ALLOW, HeaderValue};
use http::{Response, StatusCode};

use crate::crash::Process;
use crate::json::object;
use crate::reply::{self, Reply, date};
use crate::stall::Ticket;

/// The reason why a request has no regular response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The service's own error, a `BoomerangException`.
    Refused(Refusal),
    /// An error of its framework: problem details with `instance`.
    Problem {
        status: StatusCode,
        detail: String,
        /// The methods that the path has, for a 405.
        allow: Option<&'static str>,
    },
    /// A status without a body.
    Empty(StatusCode),
    /// An exception that nothing catches, such as a null pointer.
    Crash,
    /// The process died, so there is no response at all.
    Died(Process),
    /// The request goes on later.
    Stalled(Ticket),
}

/// An error with a code and a reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) status: StatusCode,
    pub(crate) code: i64,
    pub(crate) reason: String,
    pub(crate) message: String,
}

impl Fault {
    pub(crate) fn refused(status: StatusCode, code: i64, reason: &str, message: impl Into<String>) -> Fault {
        Fault::Refused(Refusal { status, code, reason: reason.to_owned(), message: message.into() })
    }

    pub(crate) fn unknown_workflow() -> Fault {
        let message = "Invalid Workflow reference has been provided.";
        Fault::refused(StatusCode::BAD_REQUEST, 1201, "WORKFLOW_INVALID_REFERENCE", message)
    }

    pub(crate) fn unknown_run() -> Fault {
        let message = "Invalid WorkflowRun reference has been provided.";
        Fault::refused(StatusCode::BAD_REQUEST, 1301, "WORKFLOWRUN_INVALID_REFERENCE", message)
    }

    pub(crate) fn invalid_filter(name: &str) -> Fault {
        let message = format!("Invalid query filters({name}) have been provided.");
        Fault::refused(StatusCode::BAD_REQUEST, 1001, "QUERY_INVALID_FILTERS", message)
    }

    pub(crate) fn problem(status: StatusCode, detail: impl Into<String>) -> Fault {
        Fault::Problem { status, detail: detail.into(), allow: None }
    }

    /// A body that Jackson can't read.
    pub(crate) fn unreadable() -> Fault {
        Fault::problem(StatusCode::BAD_REQUEST, "Failed to read request")
    }

    pub(crate) fn wrong_method(method: &str, allow: &'static str) -> Fault {
        let detail = format!("Method '{method}' is not supported.");
        Fault::Problem { status: StatusCode::METHOD_NOT_ALLOWED, detail, allow: Some(allow) }
    }

    pub(crate) fn unknown_path(path: &str) -> Fault {
        let detail = format!("No static resource {}.", path.trim_start_matches('/'));
        Fault::problem(StatusCode::NOT_FOUND, detail)
    }

    /// The engine's error as Flow reports it: always 500, with the name of a class of Spring's client.
    pub(crate) fn behind_flow(self) -> Fault {
        let class = match self {
            Fault::Died(Process::Flow) | Fault::Stalled(_) => return self,
            Fault::Died(Process::Engine) => "ResourceAccessException",
            Fault::Refused(Refusal { status, .. }) | Fault::Problem { status, .. } | Fault::Empty(status) => {
                match status {
                    StatusCode::BAD_REQUEST => "BadRequest",
                    StatusCode::NOT_FOUND => "NotFound",
                    StatusCode::CONFLICT => "Conflict",
                    _ => "InternalServerError",
                }
            }
            Fault::Crash => "InternalServerError",
        };
        let message = "Exception in communicating with internal services.";
        Fault::refused(StatusCode::INTERNAL_SERVER_ERROR, 500, class, message)
    }

    /// The response of a process, at a path and a time; none if it died or stalls.
    pub(crate) fn response(self, process: Process, path: &str, now: u64) -> Option<Reply> {
        Some(match self {
            Fault::Died(_) | Fault::Stalled(_) => return None,
            Fault::Empty(status) => reply::empty(status),
            Fault::Crash if process == Process::Flow => reply::empty(StatusCode::INTERNAL_SERVER_ERROR),
            Fault::Crash => {
                let error = "Internal Server Error";
                let body = object! { "timestamp": date(now), "status": 500_i64, "error": error, "path": path };
                reply::json(StatusCode::INTERNAL_SERVER_ERROR, &body)
            }
            Fault::Refused(refusal) => refused(refusal, now),
            Fault::Problem { status, detail, allow } => problem(status, detail, allow, path),
        })
    }
}

fn refused(refusal: Refusal, now: u64) -> Reply {
    let Refusal { status, code, reason, message } = refusal;
    let name = status.canonical_reason().unwrap_or_default().to_uppercase().replace(' ', "_");
    let body = object! {
        "timestamp": date(now),
        "code": code,
        "reason": reason,
        "message": message,
        "status": format!("{} {name}", status.as_u16()),
        "cause": None::<String>,
    };
    reply::json(status, &body)
}

fn problem(status: StatusCode, detail: String, allow: Option<&'static str>, path: &str) -> Response<Vec<u8>> {
    let body = object! {
        "type": "about:blank",
        "title": status.canonical_reason(),
        "status": i64::from(status.as_u16()),
        "detail": detail,
        "instance": path,
    };
    let mut response = reply::with_type(status, "application/problem+json", body.to_string());
    if let Some(allow) = allow {
        response.headers_mut().insert(ALLOW, HeaderValue::from_static(allow));
    }
    response
}
