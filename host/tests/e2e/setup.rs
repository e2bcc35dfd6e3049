//! A host over data of its own, an engine, and a plain client.

use std::path::{Path, PathBuf};

use bytes::Bytes;
use http::{HeaderMap, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use serde_json::Value;
use sluice_host::Host;
use sluice_host::spin::logs::Logs;
use sluice_host::stand_in::StandIn;
use tempfile::TempDir;

pub const JSON: (&str, &str) = ("content-type", "application/json");
pub const EVENT: &str = r#"{"specversion":"1.0","id":"1","source":"/s","type":"t","subject":"/wf/t","data":{"a":1}}"#;

pub struct Setup {
    pub host: Host,
    pub engine: StandIn,
    state: TempDir,
    variables: Vec<(String, String)>,
}

pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

impl Setup {
    pub async fn new() -> Self {
        Self::with(&[]).await
    }

    /// A host with variables beside `engine_url` and `operator_token`.
    pub async fn with(variables: &[(&str, &str)]) -> Self {
        let engine = StandIn::builder().start().await.unwrap();
        let mut all =
            vec![("engine_url".to_owned(), engine.url()), ("operator_token".to_owned(), "op3rator".to_owned())];
        for (name, value) in variables {
            all.retain(|(had, _)| had != name);
            all.push(((*name).to_owned(), (*value).to_owned()));
        }
        let state = TempDir::new().unwrap();
        let host = start(&state, &all).await;
        Self { host, engine, state, variables: all }
    }

    /// Stops the host and starts another over the same data.
    pub async fn restart(mut self) -> Self {
        self.host.stop().await;
        self.host = start(&self.state, &self.variables).await;
        self
    }

    pub async fn send(&self, method: &str, path: &str, headers: &[(&str, &str)], body: impl Into<Bytes>) -> Reply {
        let mut request = Request::builder().method(method).uri(format!("{}{path}", self.host.url()));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let client = Client::builder(TokioExecutor::new()).build_http();
        let response = client.request(request.body(Full::new(body.into())).unwrap()).await.unwrap();
        let (parts, body) = response.into_parts();
        Reply { status: parts.status, headers: parts.headers, body: body.collect().await.unwrap().to_bytes() }
    }

    pub async fn post(&self, path: &str, body: impl Into<Bytes>) -> Reply {
        self.send("POST", path, &[JSON], body).await
    }

    pub async fn get(&self, path: &str) -> Reply {
        self.send("GET", path, &[], "").await
    }

    pub async fn recall(&self, run: &str, topic: &str) -> Reply {
        let path = format!("/api/v2/callbacks/{run}?topic={topic}");
        self.send("GET", &path, &[("authorization", "Bearer op3rator")], "").await
    }

    /// The proof that nothing is broken: a webhook that starts a run.
    pub async fn assert_works(&self) {
        let reply = self.post("/api/v2/webhook?ref=after", "{}").await;
        assert_eq!(reply.status, 200, "{}", reply.text());
        assert_eq!(reply.json()["workflowRef"], "after");
    }

    /// The log lines of requests, as JSON.
    pub fn log(&self) -> Vec<Value> {
        self.host.logs().lines().iter().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }
}

async fn start(state: &TempDir, variables: &[(String, String)]) -> Host {
    let mut host = Host::builder().manifest(root().join("spin.toml")).state_dir(state.path()).logs(Logs::kept());
    for (name, value) in variables {
        host = host.variable(name, value);
    }
    host.start().await.unwrap()
}

pub struct Reply {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Reply {
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    #[track_caller]
    pub fn assert_problem(&self, status: u16, slug: &str) {
        assert_eq!(self.status, status, "{}", self.text());
        assert_eq!(self.header("content-type"), Some("application/problem+json"));
        assert_eq!(self.json()["type"], format!("https://sluice.dev/problems/{slug}"), "{}", self.text());
    }
}
