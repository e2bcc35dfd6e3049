//! Authentication of the operator by HTTP Basic (RFC 7617), and protection against cross-site forms: a browser sends
//! the password with every request to the console, including requests from forms on other sites.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use http::header::{HOST, ORIGIN};
use http::{HeaderMap, HeaderValue};

use super::layout;
use crate::api::problem::{Kind, Problem};
use crate::api::{RequestContext, credentials, operator};
use crate::config::members;
use crate::ports::Host;

/// Checks the password, which is `operator_token`; the user name is ignored. Returns a 404 if that variable is not set.
pub(super) fn check_password(context: &mut RequestContext<'_, '_, impl Host>) -> Result<(), Problem> {
    let token = operator::operator_token(context)?;
    context.problem_page = layout::problem_page;
    match password(context.headers) {
        Some(given) if token.matches(&given) => Ok(()),
        _ => {
            let detail = "sign in with any user name and the operator token as the password";
            let problem = Problem::new(Kind::Unauthorized, detail).field("Authorization");
            Err(problem.challenge("Basic realm=\"Sluice\", charset=\"UTF-8\""))
        }
    }
}

/// Returns the password in `Authorization: Basic`.
fn password(headers: &HeaderMap) -> Option<String> {
    let decoded = BASE64_STANDARD.decode(credentials(headers, "basic")?).ok()?;
    let (_, password) = std::str::from_utf8(&decoded).ok()?.split_once(':')?;
    Some(password.to_owned())
}

/// Checks that a form was sent from a page of the console. Browsers report this in `Sec-Fetch-Site` (W3C Fetch
/// Metadata) over TLS or on the same machine, and otherwise only in `Origin`. A request with neither is rejected.
pub(super) fn check_form_origin(context: &RequestContext<'_, '_, impl Host>) -> Result<(), Problem> {
    let mut sites = context.headers.get_all("sec-fetch-site").iter().peekable();
    let is_own = match sites.peek() {
        Some(_) => sites.all(|site| site == HeaderValue::from_static("same-origin")),
        None => is_own_origin(context)?,
    };
    if is_own {
        return Ok(());
    }
    let detail = "press the button on the console's own page, or call the operator API from a program; behind a proxy, check that `public_url` in `settings` is set";
    Err(Problem::new(Kind::CrossSite, detail).field("Origin"))
}

/// Returns whether `Origin` has a host of the console. Schemes are not compared, since a proxy may terminate TLS.
fn is_own_origin(context: &RequestContext<'_, '_, impl Host>) -> Result<bool, Problem> {
    let mut origins = context.headers.get_all(ORIGIN).iter();
    let (Some(origin), None) = (origins.next().and_then(|origin| host(origin.to_str().ok()?)), origins.next()) else {
        return Ok(false);
    };
    let public = context.config.get(&members::PUBLIC_URL)?;
    let requested = context.headers.get(HOST).and_then(|host| host.to_str().ok()).map(without_port);
    let ours = [public.as_deref().and_then(host), context.received_url().and_then(host), requested];
    Ok(ours.into_iter().flatten().any(|ours| ours.eq_ignore_ascii_case(origin)))
}

/// Returns the host and port of a URL, without a default port.
fn host(url: &str) -> Option<&str> {
    let (_, rest) = url.split_once("://")?;
    rest.split('/').next().filter(|host| !host.is_empty()).map(without_port)
}

/// Removes a default port.
fn without_port(host: &str) -> &str {
    host.strip_suffix(":443").or_else(|| host.strip_suffix(":80")).unwrap_or(host)
}
