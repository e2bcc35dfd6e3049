//! Cross-origin requests of web pages (Fetch, "CORS protocol"): the preflight request, and the header that lets a page
//! read a response. A page may deliver if its origin is in `settings.cors_origins`, which is empty by default.
//!
//! This is not an authorization: programs other than browsers ignore it, and a token or signature is required as ever.
//! Cookies are never used, so credentials are never allowed.

use http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_HEADERS,
    ACCESS_CONTROL_REQUEST_METHOD, ALLOW, HeaderValue, ORIGIN, VARY,
};
use http::{HeaderMap, Response, StatusCode};

use super::endpoint::Endpoint;
use super::problem::{Kind, Problem};
use super::{RequestContext, respond};
use crate::config::{Config, WebOrigins, members};
use crate::ports::{Host, Variables};

/// The headers of responses that a page may read, besides those that any page may.
const EXPOSED: &str = "location, preference-applied, retry-after, sluice-delivery, sluice-outcome";
/// How long a browser may keep the response to a preflight request, in seconds.
const MAX_AGE: &str = "600";

/// Returns whether a request is a preflight request: its method is `OPTIONS`, as the caller has checked.
pub(super) fn is_preflight(headers: &HeaderMap) -> bool {
    headers.contains_key(ORIGIN) && headers.contains_key(ACCESS_CONTROL_REQUEST_METHOD)
}

/// Answers a preflight request. While no origin is allowed, the answer is as if CORS did not exist.
pub(super) fn answer(
    context: &RequestContext<'_, '_, impl Host>,
    endpoint: &Endpoint,
) -> Result<Response<Vec<u8>>, Problem> {
    let methods = endpoint.methods();
    let origins = context.config.get(&members::CORS_ORIGINS)?;
    if origins.is_empty() {
        let detail = format!(
            "{} allows {methods}; pages of other origins may use it once `cors_origins` is set in `settings`",
            endpoint.template()
        );
        return Err(Problem::new(Kind::MethodNotAllowed, detail).allow(methods));
    }
    if allowed(context.headers, &origins).is_none() {
        let detail = "this Origin is not in `cors_origins`: ask the operator to add it to `settings`";
        return Err(Problem::new(Kind::OriginNotAllowed, detail).field("Origin"));
    }
    let mut response = respond::empty(StatusCode::NO_CONTENT);
    let headers = response.headers_mut();
    headers.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static(MAX_AGE));
    for name in [ALLOW, ACCESS_CONTROL_ALLOW_METHODS] {
        headers.insert(name, HeaderValue::from_static(methods));
    }
    // Any header may be sent: none has an effect that a page could not have without it.
    if let Some(names) = context.headers.get(ACCESS_CONTROL_REQUEST_HEADERS).filter(|names| is_list(names)) {
        headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, names.clone());
    }
    Ok(response)
}

/// Lets a page of an allowed origin read a response. An invalid configuration allows no origin: `/readyz` reports it.
pub(super) fn share(config: &Config<'_, impl Variables>, request: &HeaderMap, response: &mut HeaderMap) {
    if !request.contains_key(ORIGIN) {
        return;
    }
    let Ok(origins) = config.get(&members::CORS_ORIGINS) else { return };
    if origins.is_empty() {
        return;
    }
    response.append(VARY, HeaderValue::from_static("origin"));
    if let Some(origin) = allowed(request, &origins) {
        response.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
        response.insert(ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static(EXPOSED));
    }
}

/// Returns the origin of a request, if it is allowed. A request has only one.
fn allowed<'r>(headers: &'r HeaderMap, origins: &WebOrigins) -> Option<&'r HeaderValue> {
    let mut values = headers.get_all(ORIGIN).iter();
    let origin = values.next().filter(|_| values.next().is_none())?;
    origin.to_str().is_ok_and(|origin| origins.allow(origin)).then_some(origin)
}

/// Returns whether a value is a list of names of headers.
fn is_list(names: &HeaderValue) -> bool {
    names.as_bytes().iter().all(|byte| byte.is_ascii_alphanumeric() || b"-_., \t".contains(byte))
}
