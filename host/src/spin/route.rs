//! Routes of the HTTP trigger: exact paths, or everything below a prefix.

use anyhow::{Result, ensure};

/// A route of the manifest: `/path` or `/prefix/...`.
#[derive(Debug)]
pub(crate) struct Route {
    raw: String,
    segments: Vec<String>,
    wildcard: bool,
}

impl Route {
    pub(crate) fn parse(raw: &str) -> Result<Route> {
        ensure!(raw.starts_with('/'), "the route {raw} doesn't start with a slash");
        let (prefix, wildcard) = match raw.strip_suffix("/...") {
            Some(prefix) => (prefix, true),
            None => (raw, false),
        };
        let segments: Vec<_> = segments(prefix).map(str::to_owned).collect();
        ensure!(
            !segments.iter().any(|segment| segment.starts_with(':') || segment == "*" || segment == "..."),
            "the route {raw} has an unsupported pattern: this host supports /path and /prefix/..."
        );
        Ok(Route { raw: raw.to_owned(), segments, wildcard })
    }

    /// Matches a path and returns the rest of it below the prefix, which is empty for an exact route.
    pub(crate) fn matches(&self, path: &str) -> Option<String> {
        let mut rest = segments(path);
        if !self.segments.iter().all(|segment| rest.next() == Some(segment)) {
            return None;
        }
        let rest: Vec<_> = rest.collect();
        if !self.wildcard {
            return rest.is_empty().then(String::new);
        }
        let mut info: String = rest.iter().flat_map(|segment| ["/", segment]).collect();
        if path.ends_with('/') {
            info.push('/');
        }
        Some(info)
    }

    /// Precedence among matching routes; the greatest wins. Exact routes come before wildcards, and longer routes
    /// before shorter ones.
    pub(crate) fn rank(&self) -> (bool, usize) {
        (!self.wildcard, self.segments.len())
    }

    /// The route as written in the manifest.
    pub(crate) fn raw(&self) -> &str {
        &self.raw
    }

    /// The route without the wildcard.
    pub(crate) fn prefix(&self) -> &str {
        self.raw.strip_suffix("/...").unwrap_or(&self.raw)
    }

    /// The route without a trailing slash, which is how Spin joins it to the base path.
    pub(crate) fn without_trailing_slash(&self) -> &str {
        self.raw.strip_suffix('/').unwrap_or(&self.raw)
    }
}

/// The segments of a path, ignoring leading and trailing slashes.
fn segments(path: &str) -> impl Iterator<Item = &str> {
    let path = path.trim_matches('/');
    path.split('/').take(if path.is_empty() { 0 } else { usize::MAX })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    #[test]
    fn matching_routes_return_the_rest_of_the_path() {
        for (route, path, info) in [
            ("/...", "/", Some("/")),
            ("/...", "/a/b", Some("/a/b")),
            ("/foo/...", "/foo", Some("")),
            ("/foo/...", "/foo/", Some("/")),
            ("/foo/...", "/foo/bar", Some("/bar")),
            ("/foo/...", "/foo/bar/", Some("/bar/")),
            ("/foo/...", "/food", None),
            ("/foo", "/foo", Some("")),
            ("/foo", "/foo/", Some("")),
            ("/foo", "/foo/bar", None),
            ("/", "/", Some("")),
            ("/", "/foo", None),
        ] {
            let found = Route::parse(route).unwrap().matches(path);
            assert_eq!(found.as_deref(), info, "{route} {path}");
        }
    }

    #[test]
    fn exact_and_longer_routes_win() {
        let rank = |route| Route::parse(route).unwrap().rank();
        assert!(rank("/a") > rank("/a/b/..."));
        assert!(rank("/a/b/...") > rank("/a/..."));
        assert!(rank("/a/...") > rank("/..."));
    }

    #[test]
    fn unsupported_patterns_are_errors() {
        for route in ["foo", "/user/:id", "/foo/*", "/.../foo"] {
            assert!(Route::parse(route).is_err(), "{route}");
        }
    }
}
