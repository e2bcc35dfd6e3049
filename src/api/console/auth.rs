//! Who comes in: the operator, by HTTP Basic (RFC 7617). What changes something has to come from a page of the console's
//! own, for a browser sends the password with whatever another site makes it send.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use http::header::{HOST, ORIGIN};
use http::{HeaderMap, HeaderValue};

use super::layout;
use crate::api::problem::{Kind, Problem};
use crate::api::{RequestContext, credentials, operator};
use crate::config;
use crate::ports::Host;

/// Lets the operator in: any user name, and `operator_token` as password. Not set: there is no console.
pub(super) fn open(context: &mut RequestContext<'_, '_, impl Host>) -> Result<(), Problem> {
    let token = operator::token(context)?;
    context.refuse = layout::refuse;
    match password(context.headers) {
        Some(given) if token.matches(&given) => Ok(()),
        _ => {
            let detail = "sign in with any user name, and the operator token as password";
            let problem = Problem::new(Kind::Unauthorized, detail).field("Authorization");
            Err(problem.challenge("Basic realm=\"Sluice\", charset=\"UTF-8\""))
        }
    }
}

fn password(headers: &HeaderMap) -> Option<String> {
    let decoded = BASE64_STANDARD.decode(credentials(headers, "basic")?).ok()?;
    let (_, password) = std::str::from_utf8(&decoded).ok()?.split_once(':')?;
    Some(password.to_owned())
}

/// Was the form on a page of ours? A browser says so by `Sec-Fetch-Site` (W3C Fetch Metadata), but only over TLS or on this
/// machine; else by `Origin`. Who says neither is refused.
pub(super) fn is_own_form(context: &RequestContext<'_, '_, impl Host>) -> Result<(), Problem> {
    let mut sites = context.headers.get_all("sec-fetch-site").iter().peekable();
    let is_own = match sites.peek() {
        Some(_) => sites.all(|site| site == HeaderValue::from_static("same-origin")),
        None => is_own_origin(context)?,
    };
    match is_own {
        true => Ok(()),
        false => {
            let detail = "press the button on the console's page; a program uses the operator's routes. Behind a proxy, set public_url";
            Err(Problem::new(Kind::CrossSite, detail).field("Origin"))
        }
    }
}

/// Hosts are compared, not schemes: a proxy may have ended TLS.
fn is_own_origin(context: &RequestContext<'_, '_, impl Host>) -> Result<bool, Problem> {
    let mut origins = context.headers.get_all(ORIGIN).iter();
    let (Some(origin), None) = (origins.next().and_then(|origin| host(origin.to_str().ok()?)), origins.next()) else {
        return Ok(false);
    };
    let public = config::public_url(context.host)?;
    let named = context.headers.get(HOST).and_then(|host| host.to_str().ok()).map(without_port);
    let ours = [public.as_deref().and_then(host), context.seen_url().and_then(host), named];
    Ok(ours.into_iter().flatten().any(|ours| ours.eq_ignore_ascii_case(origin)))
}

/// Host and port of a URL.
fn host(url: &str) -> Option<&str> {
    let (_, rest) = url.split_once("://")?;
    rest.split('/').next().filter(|host| !host.is_empty()).map(without_port)
}

/// Without a port that needn't be said.
fn without_port(host: &str) -> &str {
    host.strip_suffix(":443").or_else(|| host.strip_suffix(":80")).unwrap_or(host)
}
