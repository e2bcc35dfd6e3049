//! The routes of the HTTP trigger: exact, or all below a prefix.

use anyhow::{Result, ensure};

/// A route as the manifest writes it: `/path` or `/prefix/...`.
#[derive(Debug)]
pub(crate) struct Route {
    raw: String,
    segments: Vec<String>,
    wildcard: bool,
}

impl Route {
    pub(crate) fn parse(raw: &str) -> Result<Route> {
        ensure!(raw.starts_with('/'), "the route {raw} doesn't begin with a slash");
        let (prefix, wildcard) = match raw.strip_suffix("/...") {
            Some(prefix) => (prefix, true),
            None => (raw, false),
        };
        let segments: Vec<_> = segments(prefix).map(str::to_owned).collect();
        ensure!(
            !segments.iter().any(|segment| segment.starts_with(':') || segment == "*" || segment == "..."),
            "the route {raw} has a pattern that this host doesn't know: it knows /path and /prefix/..."
        );
        Ok(Route { raw: raw.to_owned(), segments, wildcard })
    }

    /// The rest of the path below the prefix, if the route matches; empty for an exact route.
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

    /// The greater one wins where several match: exact before wildcard, then the longer.
    pub(crate) fn rank(&self) -> (bool, usize) {
        (!self.wildcard, self.segments.len())
    }

    /// As the manifest writes it.
    pub(crate) fn raw(&self) -> &str {
        &self.raw
    }

    /// Without the wildcard.
    pub(crate) fn prefix(&self) -> &str {
        self.raw.strip_suffix("/...").unwrap_or(&self.raw)
    }

    /// Without a slash at its end, as Spin writes a route behind its base.
    pub(crate) fn based(&self) -> &str {
        self.raw.strip_suffix('/').unwrap_or(&self.raw)
    }
}

/// The path's segments; slashes at either end don't count.
fn segments(path: &str) -> impl Iterator<Item = &str> {
    let path = path.trim_matches('/');
    path.split('/').take(if path.is_empty() { 0 } else { usize::MAX })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    #[test]
    fn what_matches_and_what_is_left() {
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
    fn unknown_patterns_are_errors() {
        for route in ["foo", "/user/:id", "/foo/*", "/.../foo"] {
            assert!(Route::parse(route).is_err(), "{route}");
        }
    }
}
