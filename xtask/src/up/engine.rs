//! The engine that is given: its URL is checked before anything is built, and whether it is there before anything is sent.

use std::net::{TcpStream, ToSocketAddrs};
use std::time::Duration;

use ureq::http::Uri;

/// Reads a base URL, as `engine_url` has to be: it is the allow-list of outbound calls, too.
pub(super) fn base(text: &str) -> Result<String, String> {
    let wanted = "must be scheme, host and port, such as http://127.0.0.1:7701";
    let url: Uri = text.parse().map_err(|_| wanted.to_owned())?;
    let (Some(scheme), Some(authority)) = (url.scheme_str(), url.authority()) else { return Err(wanted.to_owned()) };
    if scheme != "http" && scheme != "https" {
        return Err("must start with http:// or https://".to_owned());
    }
    if authority.as_str().contains('@') {
        return Err("must not carry a user or password: --var engine_token=…".to_owned());
    }
    if url.path_and_query().is_some_and(|path| path != "/") {
        return Err("must end after host and port".to_owned());
    }
    Ok(format!("{scheme}://{authority}"))
}

/// Why nothing answers there; `None` if something does.
pub(super) fn unreachable(engine: &str) -> Option<String> {
    let url: Uri = engine.parse().ok()?;
    let port = url.port_u16().unwrap_or(if url.scheme_str() == Some("https") { 443 } else { 80 });
    let host = url.host()?.trim_matches(['[', ']']);
    let mut reason = "its name has no address".to_owned();
    for address in (host, port).to_socket_addrs().into_iter().flatten() {
        match TcpStream::connect_timeout(&address, Duration::from_secs(2)) {
            Ok(_) => return None,
            Err(error) => reason = error.kind().to_string(),
        }
    }
    Some(reason)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn a_base_url_ends_after_the_port() {
        assert_eq!(base("http://engine:8080/").as_deref(), Ok("http://engine:8080"));
        assert_eq!(base("https://engine.example.com").as_deref(), Ok("https://engine.example.com"));
        for (url, why) in [
            ("engine:8080", "such as http://"),
            ("", "such as http://"),
            ("ftp://engine", "must start with"),
            ("http://me:s3cret@engine", "engine_token"),
            ("http://engine/api", "must end"),
            ("http://engine?x", "must end"),
        ] {
            let error = base(url).unwrap_err();
            assert!(error.contains(why) && !error.contains("s3cret"), "{url}: {error}");
        }
    }

    #[test]
    fn who_does_not_answer_is_told() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        assert_eq!(unreachable(&url), None);
        drop(listener);
        assert_eq!(unreachable(&url).as_deref(), Some("connection refused"));
        assert_eq!(unreachable("http://no-such-host.invalid").as_deref(), Some("its name has no address"));
    }
}
