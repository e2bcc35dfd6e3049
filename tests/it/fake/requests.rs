//! Requests to the component, and its replies.

use std::collections::VecDeque;

use http::{Request, Response};
use serde_json::Value;
use sluice::ports::{Body, BodyError};

pub fn request(method: &str, uri: &str, headers: &[(&str, &str)], body: impl AsRef<[u8]>) -> Request<Chunks> {
    let mut request = Request::builder().method(method).uri(uri);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(Chunks::of(body.as_ref())).unwrap()
}

/// A response with its log line.
pub struct Reply {
    pub response: Response<Vec<u8>>,
    pub log: Value,
}

impl Reply {
    pub fn status(&self) -> u16 {
        self.response.status().as_u16()
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.response.headers().get(name).map(|value| value.to_str().unwrap())
    }

    pub fn text(&self) -> &str {
        std::str::from_utf8(self.response.body()).unwrap()
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(self.response.body()).unwrap()
    }

    /// The status and the header `sluice-outcome`.
    pub fn outcome(&self) -> (u16, Option<&str>) {
        (self.status(), self.header("sluice-outcome"))
    }

    /// The header `sluice-delivery`.
    #[track_caller]
    pub fn delivery(&self) -> String {
        self.header("sluice-delivery").expect("a delivery's id").to_owned()
    }

    /// The log line's warning; empty without one.
    pub fn warning(&self) -> &str {
        self.log["warning"].as_str().unwrap_or_default()
    }

    /// Asserts a complete problem of RFC 9457 with this status and the last segment of its type URI, and returns it.
    #[track_caller]
    pub fn problem(&self, status: u16, slug: &str) -> Value {
        assert_eq!(self.status(), status, "{}", self.text());
        assert_eq!(self.header("content-type"), Some("application/problem+json"));
        let problem = self.json();
        assert_eq!(problem["type"], format!("https://sluice.dev/problems/{slug}"), "{problem}");
        assert_eq!(problem["status"], status);
        for member in ["title", "detail", "retry"] {
            assert!(problem[member].as_str().is_some_and(|text| !text.is_empty()), "no {member} in {problem}");
        }
        assert_eq!(self.log["problem"], slug);
        assert_eq!(self.log["status"], status);
        problem
    }

    /// Asserts the problem of a wrong member of `settings`, and returns it.
    #[track_caller]
    pub fn wrong_setting(&self, name: &str) -> Value {
        let problem = self.problem(503, "configuration");
        assert_eq!(problem["field"], "settings", "{problem}");
        let detail = problem["detail"].as_str().unwrap();
        let is_named =
            [format!("`/{name}"), format!("`{name}` in `settings`")].iter().any(|text| detail.contains(text));
        assert!(is_named, "{problem}");
        problem
    }
}

/// A body in chunks; `None` is a connection that breaks off.
pub struct Chunks(pub VecDeque<Option<Vec<u8>>>);

impl Chunks {
    /// Larger bodies arrive in several chunks.
    pub fn of(body: &[u8]) -> Self {
        Self(body.chunks(7_000).map(|chunk| Some(chunk.to_vec())).collect())
    }
}

impl Body for Chunks {
    async fn chunk(&mut self) -> Option<Result<Vec<u8>, BodyError>> {
        self.0.pop_front().map(|chunk| chunk.ok_or(BodyError))
    }
}
