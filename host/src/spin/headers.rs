//! Request headers and the URI, as Spin completes them before the component sees the request.

use std::net::SocketAddr;

use anyhow::{Context, Result, bail, ensure};
use http::header::{CONNECTION, HOST};
use http::uri::{Authority, Scheme};
use http::{HeaderMap, HeaderValue, Request, Uri};

use crate::spin::route::Route;

/// Removes the connection-level header `Connection`.
pub(crate) fn strip(headers: &mut HeaderMap) {
    headers.remove(CONNECTION);
}

/// Adds the scheme and the authority to the URI. It is an error if neither `Host` nor the URI has an authority, or if
/// the two differ.
pub(crate) fn complete_uri<B>(request: &mut Request<B>) -> Result<()> {
    let host: Option<Authority> = match request.headers().get(HOST) {
        Some(host) => Some(host.to_str()?.parse().context("the Host header isn't a valid authority")?),
        None => None,
    };
    let mut parts = request.uri().clone().into_parts();
    parts.authority = match (host, parts.authority) {
        (None, None) => bail!("the request has no Host header"),
        (Some(host), Some(authority)) if host != authority => {
            bail!("the Host header and the URI's authority differ")
        }
        (host, authority) => host.or(authority),
    };
    parts.scheme = Some(Scheme::HTTP);
    *request.uri_mut() = Uri::from_parts(parts)?;
    Ok(())
}

/// Appends the `spin-*` headers. As in Spin, they follow any headers of the same name that the client sent. It is an
/// error if a header isn't UTF-8.
pub(crate) fn append<B>(request: &mut Request<B>, route: &Route, path_info: &str, client: SocketAddr) -> Result<()> {
    let uri = request.uri();
    let path = uri.path_and_query().context("the request has no path")?.clone();
    let scheme = uri.scheme_str().unwrap_or("http");
    let host = request.headers().get(HOST).map_or(Ok("localhost"), HeaderValue::to_str)?;
    let full_url = format!("{scheme}://{host}{path}");

    let headers = request.headers_mut();
    ensure!(
        headers.values().all(|value| std::str::from_utf8(value.as_bytes()).is_ok()),
        "a header of the request isn't UTF-8"
    );
    for (name, value) in [
        ("spin-path-info", path_info),
        ("spin-full-url", &full_url),
        ("spin-matched-route", route.without_trailing_slash()),
        ("spin-base-path", "/"),
        ("spin-raw-component-route", route.raw()),
        ("spin-component-route", route.prefix()),
        ("spin-client-addr", &client.to_string()),
    ] {
        headers.append(name, HeaderValue::from_bytes(value.as_bytes())?);
    }
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    #[test]
    fn spin_headers_are_appended() {
        let mut request = Request::post("/foo/bar?k=v").header(HOST, "gate.test").body(()).unwrap();
        complete_uri(&mut request).unwrap();
        let route = Route::parse("/foo/...").unwrap();
        append(&mut request, &route, "/bar", "127.0.0.1:8777".parse().unwrap()).unwrap();
        for (name, value) in [
            ("spin-path-info", "/bar"),
            ("spin-full-url", "http://gate.test/foo/bar?k=v"),
            ("spin-matched-route", "/foo/..."),
            ("spin-base-path", "/"),
            ("spin-raw-component-route", "/foo/..."),
            ("spin-component-route", "/foo"),
            ("spin-client-addr", "127.0.0.1:8777"),
        ] {
            assert_eq!(request.headers()[name], value, "{name}");
        }
    }

    #[test]
    fn exactly_one_authority_is_required() {
        let request = |uri: &str, host: Option<&str>| {
            let mut request = Request::get(uri).body(()).unwrap();
            if let Some(host) = host {
                request.headers_mut().insert(HOST, HeaderValue::from_str(host).unwrap());
            }
            complete_uri(&mut request).map(|()| request.uri().to_string())
        };
        assert_eq!(request("/a", Some("x:1")).unwrap(), "http://x:1/a");
        assert_eq!(request("http://x/a", None).unwrap(), "http://x/a");
        assert!(request("/a", None).is_err());
        assert!(request("http://x/a", Some("y")).is_err());
    }
}
