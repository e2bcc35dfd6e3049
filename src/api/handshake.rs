//! The CloudEvents handshake: with `OPTIONS`, a sender asks whether its origin may deliver (HTTP 1.1 Web Hooks for
//! Event Delivery 1.0.2, section 4). The `WebHook-Allowed-Origin` header grants permission; a 2xx alone does not.
//!
//! `WebHook-Request-Callback` is ignored: it may be any URL, and Sluice calls nothing but its engine. Once the origin
//! of a rejected sender is added to `allowed_origins`, the sender's next `OPTIONS` is granted permission.

use http::header::{ALLOW, HeaderValue};
use http::{Response, StatusCode};

use super::endpoint::Endpoint;
use super::problem::{Kind, Problem};
use super::{RequestContext, respond};
use crate::config::members;
use crate::ports::Host;

const ORIGIN: &str = "webhook-request-origin";

/// `OPTIONS` at an endpoint for deliveries. Requires no token, because the handshake is not an authorization (section
/// 4): the deliveries themselves still need a token.
pub(super) fn answer(
    context: &mut RequestContext<'_, '_, impl Host>,
    endpoint: &Endpoint,
) -> Result<Response<Vec<u8>>, Problem> {
    let origins = context.config.get(&members::ALLOWED_ORIGINS)?;
    let (path, methods) = (endpoint.template(), endpoint.methods());
    if origins.is_empty() {
        // "As if OPTIONS were not supported" (section 4.2).
        let detail = format!("{path} allows {methods}, and OPTIONS once `allowed_origins` in `settings` is set");
        return Err(Problem::new(Kind::MethodNotAllowed, detail).allow(methods));
    }
    let origin = context.headers.get(ORIGIN);
    let allowed = origin.filter(|origin| origin.to_str().is_ok_and(|origin| origins.allow(origin)));
    if origin.is_some() && allowed.is_none() {
        return Err(origin_not_allowed().allow(&format!("OPTIONS, {methods}")));
    }
    let mut response = respond::empty(if allowed.is_some() { StatusCode::OK } else { StatusCode::NO_CONTENT });
    let headers = response.headers_mut();
    headers.extend(HeaderValue::try_from(format!("OPTIONS, {methods}")).ok().map(|allow| (ALLOW, allow)));
    if let Some(origin) = allowed {
        headers.insert("webhook-allowed-origin", origin.clone());
        // Any rate is accepted: deliveries that exceed the engine's own limit are stored.
        headers.insert("webhook-allowed-rate", HeaderValue::from_static("*"));
        context.log.outcome("challenge");
    }
    Ok(response)
}

impl<H: Host> RequestContext<'_, '_, H> {
    /// Checks the origin of a delivery, if it has one and `allowed_origins` is set. Senders that don't use the
    /// handshake send no origin.
    pub(super) fn check_origin(&self) -> Result<(), Problem> {
        let Some(origin) = self.headers.get(ORIGIN) else { return Ok(()) };
        let origins = self.config.get(&members::ALLOWED_ORIGINS)?;
        if origins.is_empty() || origin.to_str().is_ok_and(|origin| origins.allow(origin)) {
            Ok(())
        } else {
            Err(origin_not_allowed())
        }
    }
}

fn origin_not_allowed() -> Problem {
    let detail = "this WebHook-Request-Origin is not in `allowed_origins` in `settings`: ask the operator to add it";
    Problem::new(Kind::OriginNotAllowed, detail).field("WebHook-Request-Origin")
}
