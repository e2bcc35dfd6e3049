//! The engine that `--engine` selects: a real one, which `up` starts, or the user's own one. Its URL is checked for its
//! form, and for whether it can be reached.

use std::net::{TcpStream, ToSocketAddrs};
use std::time::Duration;

use clap::ValueEnum;
use ureq::http::Uri;

use crate::engines::Engine;

/// The value of `--engine`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Choice {
    /// An engine that is installed and started.
    Real(Engine),
    /// The base URL of an engine that runs.
    Url(String),
}

/// Parses the name of a real engine, or a base URL.
pub(super) fn parse(text: &str) -> Result<Choice, String> {
    match Engine::from_str(text, false) {
        Ok(engine) => Ok(Choice::Real(engine)),
        Err(_) if text.contains(':') => parse_base_url(text).map(Choice::Url),
        Err(_) => Err(format!("must be {}, or the URL of your engine, such as http://127.0.0.1:7701", names())),
    }
}

/// The names of the real engines: `temporal, airflow, …`.
pub(super) fn names() -> String {
    Engine::value_variants().iter().map(|engine| engine.name()).collect::<Vec<_>>().join(", ")
}

/// Parses a base URL by the rules of `sluice::engine::EngineUrl`; a test compares the two.
///
/// Only that test depends on the library. If this program did, the first `cargo xtask` would take three times as long,
/// and each change of the component would recompile this program.
fn parse_base_url(text: &str) -> Result<String, String> {
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

/// Connects to the engine, for at most two seconds per address. Returns the reason for the failure; `None` if it
/// succeeds.
pub(super) fn connection_error(engine: &str) -> Option<String> {
    let url: Uri = engine.parse().ok()?;
    let port = url.port_u16().unwrap_or(if url.scheme_str() == Some("https") { 443 } else { 80 });
    let host = url.host()?.trim_matches(['[', ']']);
    let mut reason = "its host name can't be resolved".to_owned();
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
    fn engine_is_a_name_or_a_url() {
        assert_eq!(parse("temporal"), Ok(Choice::Real(Engine::Temporal)));
        assert_eq!(parse("http://engine:8080/"), Ok(Choice::Url("http://engine:8080".to_owned())));
        let expected = "must be temporal, airflow, restate, prefect, or the URL of your engine, such as http://";
        for unknown in ["temporl", "engine.example.com", ""] {
            assert!(parse(unknown).unwrap_err().starts_with(expected), "{unknown}");
        }
        for engine in Engine::value_variants() {
            assert_eq!(parse(engine.name()), Ok(Choice::Real(*engine)));
        }
        assert!(parse("engine:8080").unwrap_err().contains("such as http://"));
    }

    #[test]
    fn base_url_ends_after_the_port() {
        assert_eq!(parse_base_url("http://engine:8080/").as_deref(), Ok("http://engine:8080"));
        assert_eq!(parse_base_url("https://engine.example.com").as_deref(), Ok("https://engine.example.com"));
        for (url, reason) in [
            ("engine:8080", "such as http://"),
            ("", "such as http://"),
            ("ftp://engine", "must start with"),
            ("http://me:s3cret@engine", "engine_token"),
            ("http://engine/api", "must end"),
            ("http://engine?x", "must end"),
        ] {
            let error = parse_base_url(url).unwrap_err();
            assert!(error.contains(reason) && !error.contains("s3cret"), "{url}: {error}");
        }
    }

    #[test]
    fn base_url_is_accepted_exactly_if_sluice_accepts_it() {
        for url in [
            "http://engine:8080/",
            "https://engine.example.com",
            "HTTP://Engine",
            "http://[::1]:80",
            "http://engine:",
            "http://engine:99999",
            "http:///",
            "http://",
            "http://engine//",
            "http://engine#x",
            "http://engine?x",
            "http://engine/api",
            "http://me@engine",
            "ftp://engine",
            "engine:8080",
            "engine",
            "/",
            "*",
            " http://engine",
            "",
        ] {
            let expected = sluice::engine::EngineUrl::parse(url).map(|url| url.to_string()).ok();
            assert_eq!(parse_base_url(url).ok(), expected, "{url}");
        }
    }

    #[test]
    fn unreachable_engine_is_reported() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        assert_eq!(connection_error(&url), None);
        drop(listener);
        assert_eq!(connection_error(&url).as_deref(), Some("connection refused"));
        assert_eq!(connection_error("http://no-such-host.invalid").as_deref(), Some("its host name can't be resolved"));
    }
}
