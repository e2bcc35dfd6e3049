//! Access tokens, and the origins of CloudEvents.

use crate::secret::Secret;

/// The origins that may deliver CloudEvents (HTTP 1.1 Web Hooks for Event Delivery 1.0.2, section 4).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origins(Vec<String>);

impl Origins {
    /// The origins of a list.
    pub(super) fn new(origins: Vec<String>) -> Self {
        Self(origins)
    }

    /// Returns whether a text is a host name, perhaps with a port, or `*`.
    pub(super) fn is_origin(text: &str) -> bool {
        text == "*" || text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._:".contains(&b))
    }

    /// Returns whether no origin is set, in which case deliveries are not restricted by origin.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns whether an origin may deliver: it is in the list, regardless of case, or the list contains `*`.
    pub fn allow(&self, origin: &str) -> bool {
        self.0.iter().any(|allowed| allowed == "*" || allowed.eq_ignore_ascii_case(origin))
    }
}

/// The origins whose web pages may deliver: `cors_origins` in `settings`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WebOrigins(Vec<String>);

impl WebOrigins {
    /// The origins of a list.
    pub(super) fn new(origins: Vec<String>) -> Self {
        Self(origins)
    }

    /// Parses an origin as browsers write it (RFC 6454, section 6.1): in lower case, and without the scheme's default
    /// port. `*` stands for all.
    pub(super) fn parse(text: &str) -> Option<String> {
        if text == "*" {
            return Some(text.to_owned());
        }
        let origin = super::origin(text).ok()?.to_ascii_lowercase();
        let port = if origin.starts_with("https:") { ":443" } else { ":80" };
        Some(origin.strip_suffix(port).map(str::to_owned).unwrap_or(origin))
    }

    /// Returns whether no origin is set, in which case pages of other origins can't deliver.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns whether pages of an origin may deliver.
    pub fn allow(&self, origin: &str) -> bool {
        self.0.iter().any(|allowed| allowed == "*" || allowed == origin)
    }
}

/// The items of a comma-separated list. White space around an item and empty items are ignored.
fn items(text: &str) -> impl Iterator<Item = &str> {
    text.split(',').map(str::trim).filter(|item| !item.is_empty())
}

/// Parses tokens in visible ASCII, separated by commas.
pub(super) fn tokens(text: &str) -> Result<Vec<Secret>, String> {
    if items(text).all(|item| item.bytes().all(|byte| byte.is_ascii_graphic())) {
        Ok(items(text).map(Secret::new).collect())
    } else {
        Err("must be visible ASCII without blanks; separate several by commas".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_separated_by_commas_and_have_no_blanks() {
        assert_eq!(tokens("").unwrap().len(), 0);
        assert_eq!(tokens(" a , b,").unwrap().len(), 2);
        for text in ["a b", "é", "a\u{7f}"] {
            assert!(tokens(text).is_err(), "{text}");
        }
    }

    #[test]
    fn origins_of_pages_are_compared_as_browsers_write_them() {
        for (text, origin) in [
            ("https://app.example.com", "https://app.example.com"),
            ("https://App.Example.com/", "https://app.example.com"),
            ("https://app.example.com:443", "https://app.example.com"),
            ("http://localhost:8080", "http://localhost:8080"),
            ("http://localhost:80", "http://localhost"),
            ("https://[::1]:8443", "https://[::1]:8443"),
            ("*", "*"),
        ] {
            assert_eq!(WebOrigins::parse(text).as_deref(), Some(origin), "{text}");
        }
        for text in ["", "app.example.com", "null", "https://app.example.com/a", "https://u@a.example", "*.example.com"]
        {
            assert_eq!(WebOrigins::parse(text), None, "{text}");
        }
        let origins = WebOrigins::new(vec!["https://a.example".to_owned()]);
        assert!(origins.allow("https://a.example") && !origins.is_empty());
        for other in ["http://a.example", "https://a.example:8443", "https://b.a.example", "null", "*", ""] {
            assert!(!origins.allow(other), "{other}");
        }
        assert!(WebOrigins::new(vec!["*".to_owned()]).allow("null"));
    }
}
