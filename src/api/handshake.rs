//! The handshake by which a sender of CloudEvents asks whether it may deliver: `OPTIONS` with its origin (HTTP 1.1 Web
//! Hooks for Event Delivery 1.0.2, section 4). A status is no consent: the answer's header `WebHook-Allowed-Origin` is.
//!
//! `WebHook-Request-Callback` is not called: it may be any URL, and Sluice calls its engine only. Who wasn't allowed is
//! allowed at the next `OPTIONS` once `allowed_origins` has it.

use http::header::{ALLOW, HeaderValue};
use http::{Response, StatusCode};

use super::RequestContext;
use super::problem::{Kind, Problem};
use crate::config;
use crate::ports::Host;

const ORIGIN: &str = "webhook-request-origin";

/// `OPTIONS` of a route that takes events. It asks for no token: the handshake is no authorization (section 4), and grants
/// nothing but to be asked for one.
pub(super) fn answer(context: &mut RequestContext<'_, '_, impl Host>) -> Result<Response<Vec<u8>>, Problem> {
    let origins = config::allowed_origins(context.host)?;
    if origins.is_empty() {
        // "As if OPTIONS were not supported" (section 4.2).
        let detail = "this path has POST; it has OPTIONS once allowed_origins names who may deliver";
        return Err(Problem::new(Kind::MethodNotAllowed, detail).allow("POST"));
    }
    let origin = context.headers.get(ORIGIN);
    let allowed = origin.filter(|origin| origin.to_str().is_ok_and(|origin| origins.allow(origin)));
    if origin.is_some() && allowed.is_none() {
        return Err(refuse().allow("OPTIONS, POST"));
    }
    let mut response = Response::default();
    *response.status_mut() = if allowed.is_some() { StatusCode::OK } else { StatusCode::NO_CONTENT };
    let headers = response.headers_mut();
    headers.insert(ALLOW, HeaderValue::from_static("OPTIONS, POST"));
    if let Some(origin) = allowed {
        headers.insert("webhook-allowed-origin", origin.clone());
        // No rate is too high here: the engine's own limit is met by storing what comes.
        headers.insert("webhook-allowed-rate", HeaderValue::from_static("*"));
        context.log.outcome("challenge");
    }
    Ok(response)
}

impl<O: Host> RequestContext<'_, '_, O> {
    /// A delivery that names its origin must have one that is allowed, where some are named; one without it is another
    /// kind of sender's.
    pub(super) fn check_origin(&self) -> Result<(), Problem> {
        let Some(origin) = self.headers.get(ORIGIN) else { return Ok(()) };
        let origins = config::allowed_origins(self.host)?;
        match origins.is_empty() || origin.to_str().is_ok_and(|origin| origins.allow(origin)) {
            true => Ok(()),
            false => Err(refuse()),
        }
    }
}

fn refuse() -> Problem {
    let detail = "this WebHook-Request-Origin is not among allowed_origins: ask the operator to add it";
    Problem::new(Kind::OriginNotAllowed, detail).field("WebHook-Request-Origin")
}
