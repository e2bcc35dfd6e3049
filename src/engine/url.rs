//! The engine's base URL.

use std::fmt;

use http::Uri;
use http::uri::{Authority, PathAndQuery, Scheme};

/// Scheme, host and port of the engine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EngineUrl {
    scheme: Scheme,
    authority: Authority,
}

/// The reason why a text is not a base URL. The message completes the sentence "`engine_url` …".
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EngineUrlError {
    /// Not an absolute URL.
    #[error("must be an absolute URL, such as http://127.0.0.1:7701")]
    NotAbsolute,
    /// Neither HTTP nor HTTPS.
    #[error("must start with http:// or https://")]
    Scheme,
    /// A user or password before the host.
    #[error("must not carry a user or password: set engine_token")]
    UserInfo,
    /// The variable is also the allow-list of outbound hosts, where Spin accepts no path.
    #[error("must end after host and port: Spin's allowed_outbound_hosts takes no path")]
    Path,
}

impl EngineUrl {
    /// Parses a base URL. A trailing `/` is allowed.
    pub fn parse(text: &str) -> Result<Self, EngineUrlError> {
        let parts = text.parse::<Uri>().map_err(|_| EngineUrlError::NotAbsolute)?.into_parts();
        let (Some(scheme), Some(authority)) = (parts.scheme, parts.authority) else {
            return Err(EngineUrlError::NotAbsolute);
        };
        if scheme != Scheme::HTTP && scheme != Scheme::HTTPS {
            return Err(EngineUrlError::Scheme);
        }
        if authority.as_str().contains('@') {
            return Err(EngineUrlError::UserInfo);
        }
        match parts.path_and_query.as_ref().map_or("/", PathAndQuery::as_str) {
            "/" => Ok(Self { scheme, authority }),
            _ => Err(EngineUrlError::Path),
        }
    }

    /// Returns the URL of a path and query; `None` if they are malformed.
    pub fn join(&self, path_and_query: &str) -> Option<Uri> {
        Uri::builder()
            .scheme(self.scheme.clone())
            .authority(self.authority.clone())
            .path_and_query(path_and_query)
            .build()
            .ok()
    }
}

impl fmt::Display for EngineUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.scheme, self.authority)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base_url_is_scheme_host_and_port() {
        for text in ["http://127.0.0.1:7701", "https://flow.example.com/", "http://[::1]:80"] {
            let url = EngineUrl::parse(text).unwrap();
            assert_eq!(url.join("/a?b=c").unwrap().to_string(), format!("{}/a?b=c", text.trim_end_matches('/')));
        }
    }

    #[test]
    fn other_text_is_rejected_with_its_reason() {
        for (text, error) in [
            ("", EngineUrlError::NotAbsolute),
            ("flow.example.com", EngineUrlError::NotAbsolute),
            ("/a", EngineUrlError::NotAbsolute),
            ("ftp://flow.example.com", EngineUrlError::Scheme),
            ("http://user:secret@flow.example.com", EngineUrlError::UserInfo),
            ("http://flow.example.com/engine", EngineUrlError::Path),
            ("http://flow.example.com/?a", EngineUrlError::Path),
        ] {
            assert_eq!(EngineUrl::parse(text).unwrap_err(), error, "{text}");
        }
    }
}
