//! A host over data of its own, an engine, and a plain client.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{HeaderMap, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::Value;
use sluice_host::Host;
use sluice_host::spin::logs::Logs;
use sluice_host::stand_in::StandIn;
use tokio::net::TcpSocket;

use crate::data::Data;

pub const JSON: (&str, &str) = ("content-type", "application/json");
pub const OPERATOR: (&str, &str) = ("authorization", "Bearer op3rator");
pub const EVENT: &str = r#"{"specversion":"1.0","id":"1","source":"/s","type":"t","subject":"/wf/t","data":{"a":1}}"#;

/// A bound on hanging, not a measure.
pub const PATIENCE: Duration = Duration::from_secs(120);

pub struct Setup {
    pub host: Host,
    pub engine: StandIn,
    client: HttpClient,
    pub data: Data,
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
        Self::over(StandIn::builder().start().await.unwrap(), variables).await
    }

    pub async fn over(engine: StandIn, variables: &[(&str, &str)]) -> Self {
        Self::on(Data::new(), engine, variables).await
    }

    pub async fn on(data: Data, engine: StandIn, variables: &[(&str, &str)]) -> Self {
        let mut all =
            vec![("engine_url".to_owned(), engine.url()), ("operator_token".to_owned(), "op3rator".to_owned())];
        set(&mut all, variables);
        let host = start(&data, &all).await;
        Self { host, engine, client: HttpClient::new(), data, variables: all }
    }

    /// Stops the host and starts another over the same data.
    pub async fn restart(self) -> Self {
        self.restart_with(&[]).await
    }

    pub async fn restart_with(mut self, variables: &[(&str, &str)]) -> Self {
        set(&mut self.variables, variables);
        self.host.stop().await;
        self.host = start(&self.data, &self.variables).await;
        self
    }

    pub async fn send(&self, method: &str, path: &str, headers: &[(&str, &str)], body: impl Into<Bytes>) -> Reply {
        self.client.send(method, &format!("{}{path}", self.host.url()), headers, body).await.unwrap()
    }

    pub async fn post(&self, path: &str, body: impl Into<Bytes>) -> Reply {
        self.send("POST", path, &[JSON], body).await
    }

    pub async fn get(&self, path: &str) -> Reply {
        self.send("GET", path, &[], "").await
    }

    pub async fn operate(&self, method: &str, path: &str) -> Reply {
        self.send(method, path, &[OPERATOR], "").await
    }

    pub async fn recall(&self, run: &str, topic: &str) -> Reply {
        self.operate("GET", &format!("/api/v2/callbacks/{run}?topic={topic}")).await
    }

    /// The deliveries that are `pending` or `dead`, as the operator sees them.
    pub async fn stored(&self, state: &str) -> Vec<Value> {
        let reply = self.operate("GET", &format!("/api/v2/deliveries?state={state}&limit=500")).await;
        assert_eq!(reply.status, 200, "{}", reply.text());
        reply.json()["deliveries"].as_array().unwrap().clone()
    }

    /// What the store has under a prefix.
    pub async fn keys(&self, prefix: &str) -> Vec<String> {
        let keys = self.host.key_value().keys("default").await.unwrap();
        keys.into_iter().filter(|key| key.starts_with(prefix)).collect()
    }

    /// One pass.
    pub async fn drain(&self) -> Value {
        let reply = self.operate("POST", "/api/v2/deliveries/drain").await;
        assert_eq!(reply.status, 200, "{}", reply.text());
        reply.json()
    }

    /// Passes until nothing is pending; what they did in all.
    pub async fn drain_all(&self) -> Moved {
        let mut moved = Moved::default();
        poll("nothing is pending", async || {
            let pass = self.drain().await;
            moved.add(&pass);
            (pass["pending"] == 0).then_some(())
        })
        .await;
        moved
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

/// What passes of the drain did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Moved {
    pub delivered: u64,
    pub rejected: u64,
    pub dead: u64,
    pub dropped: u64,
}

impl Moved {
    pub fn add(&mut self, pass: &Value) {
        let count = |name: &str| pass[name].as_u64().unwrap();
        self.delivered += count("delivered");
        self.rejected += count("rejected");
        self.dead += count("dead");
        self.dropped += count("dropped");
    }
}

/// Asks again and again until there is an answer.
pub async fn poll<T>(what: &str, mut ask: impl AsyncFnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(answer) = ask().await {
            return answer;
        }
        assert!(start.elapsed() < PATIENCE, "waited in vain until {what}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// A port on which nobody listens, and which nobody else is given: connections are refused until an engine starts there.
pub struct Closed(TcpSocket);

impl Closed {
    pub fn new() -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        // Or an engine could not be started there.
        socket.set_reuseaddr(true).unwrap();
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        Self(socket)
    }

    pub fn addr(&self) -> SocketAddr {
        self.0.local_addr().unwrap()
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.addr())
    }
}

/// A client that keeps its connections.
#[derive(Clone)]
pub struct HttpClient(Client<HttpConnector, Full<Bytes>>);

impl HttpClient {
    pub fn new() -> Self {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        Self(Client::builder(TokioExecutor::new()).build(connector))
    }

    /// An error means that no whole answer came.
    pub async fn send(
        &self,
        method: &str,
        url: &str,
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> Result<Reply, String> {
        let mut request = Request::builder().method(method).uri(url);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Full::new(body.into())).unwrap();
        let (parts, body) = self.0.request(request).await.map_err(|error| error.to_string())?.into_parts();
        let body = body.collect().await.map_err(|error| error.to_string())?.to_bytes();
        Ok(Reply { status: parts.status, headers: parts.headers, body })
    }
}

fn set(all: &mut Vec<(String, String)>, variables: &[(&str, &str)]) {
    for (name, value) in variables {
        all.retain(|(had, _)| had != name);
        all.push(((*name).to_owned(), (*value).to_owned()));
    }
}

async fn start(data: &Data, variables: &[(String, String)]) -> Host {
    let mut host = Host::builder().manifest(root().join("spin.toml")).state_dir(data.state()).logs(Logs::kept());
    if let Some(file) = data.runtime_config() {
        host = host.runtime_config(file);
    }
    for (name, value) in variables {
        host = host.variable(name, value);
    }
    host.start().await.unwrap()
}

#[derive(Debug)]
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

    /// The id of the delivery.
    #[track_caller]
    pub fn delivery(&self) -> &str {
        self.header("sluice-delivery").unwrap()
    }

    /// One of 16 answers by the engine's own is followed by a look at the hint: those whose id ends in four zero bits.
    pub fn is_sampled(&self) -> bool {
        self.header("sluice-outcome") == Some("delivered") && self.delivery().ends_with(['0', 'G'])
    }

    #[track_caller]
    pub fn assert_problem(&self, status: u16, slug: &str) {
        assert_eq!(self.status, status, "{}", self.text());
        assert_eq!(self.header("content-type"), Some("application/problem+json"));
        assert_eq!(self.json()["type"], format!("https://sluice.dev/problems/{slug}"), "{}", self.text());
    }

    /// Answered by what the engine said, or said to the first.
    #[track_caller]
    pub fn assert_taken(&self, outcome: &str) {
        assert_eq!((self.status.as_u16(), self.header("sluice-outcome")), (200, Some(outcome)), "{}", self.text());
    }

    /// Stored; `outcome` is `pending` or `duplicate`.
    #[track_caller]
    pub fn assert_stored(&self, outcome: &str, has_body: bool) {
        assert_eq!((self.status.as_u16(), self.header("sluice-outcome")), (202, Some(outcome)), "{}", self.text());
        let id = self.delivery();
        assert_eq!(self.header("location"), Some(format!("/api/v2/deliveries/{id}").as_str()));
        let body = if has_body { format!(r#"{{"delivery":"{id}","state":"pending"}}"#) } else { String::new() };
        assert_eq!(self.text(), body);
    }
}
