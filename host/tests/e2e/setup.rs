//! The fixture of the tests: a host with its own data, a stand-in engine, and an HTTP client.

use std::fmt;
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
use sluice_host::spin::Builder;
use sluice_host::spin::costs::Costs;
use sluice_host::spin::key_value::{Counts, KeyValue};
use sluice_host::spin::logs::Logs;
use sluice_host::spin::postgres::{Fault, Postgres};
use sluice_host::stand_in::model::{Record, Status, TaskRun, TaskType};
use sluice_host::stand_in::{RequestKind, StandIn};
use tokio::net::TcpSocket;

use crate::data::Data;

pub const JSON: (&str, &str) = ("content-type", "application/json");
pub const OPERATOR: (&str, &str) = ("authorization", "Bearer op3rator");
pub const EVENT: &str = r#"{"specversion":"1.0","id":"1","source":"/s","type":"t","subject":"/wf/t","data":{"a":1}}"#;

/// Time after which a test stops waiting. It is not a performance requirement.
pub const TIMEOUT: Duration = Duration::from_secs(120);

pub struct Setup {
    pub host: Host,
    pub engine: StandIn,
    client: HttpClient,
    pub data: Data,
    variables: Vec<(String, String)>,
    /// Of this host and of those before it.
    guards: Vec<LogGuard>,
}

/// Texts that are neither in a response, nor in a log: passwords of a database, the address in its URL, and what tests
/// let its server say.
pub const CONFIDENTIAL: [&str; 3] = ["pa55word", "@127.0.0.1", "t3xt"];

#[track_caller]
pub fn assert_confidential(text: &str) {
    for confidential in CONFIDENTIAL {
        assert!(!text.contains(confidential), "{confidential} in {text}");
    }
}

/// Panics on drop if the log of a host has something confidential.
struct LogGuard(Logs);

impl Drop for LogGuard {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            assert_confidential(&self.0.lines().join("\n"));
        }
    }
}

pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

impl Setup {
    pub async fn new() -> Self {
        Self::with_variables(&[]).await
    }

    /// Starts with variables that add to `engine_url` and `operator_token`, or override them.
    pub async fn with_variables(variables: &[(&str, &str)]) -> Self {
        Self::with_data(Data::new(), variables).await
    }

    /// Like [`Setup::with_variables`], with this data.
    pub async fn with_data(data: Data, variables: &[(&str, &str)]) -> Self {
        let engine = StandIn::builder().any_workflow().start().await.unwrap();
        Self::with_engine(data, engine, variables).await
    }

    /// Like [`Setup::with_data`], with this engine.
    pub async fn with_engine(data: Data, engine: StandIn, variables: &[(&str, &str)]) -> Self {
        let mut all =
            vec![("engine_url".to_owned(), engine.url()), ("operator_token".to_owned(), "op3rator".to_owned())];
        all.extend(data.variables());
        override_with(&mut all, variables);
        let mut guards = Vec::new();
        let host = start(&data, &all, &mut guards).await;
        Self { host, engine, client: HttpClient::new(), data, variables: all, guards }
    }

    /// Starts another host with the same data and variables, which runs beside this one.
    pub async fn start_another(&mut self) -> Host {
        start(&self.data, &self.variables, &mut self.guards).await
    }

    /// Stops the host and starts another one with the same data and variables.
    pub async fn restart(self) -> Self {
        self.restart_with(&[]).await
    }

    /// Like [`Setup::restart`], with changed variables.
    pub async fn restart_with(mut self, variables: &[(&str, &str)]) -> Self {
        override_with(&mut self.variables, variables);
        self.host.stop().await;
        self.host = start(&self.data, &self.variables, &mut self.guards).await;
        self
    }

    /// Like [`Setup::restart`]. The new host counts crossings, and has these costs of Spin.
    pub async fn restart_counting_crossings(mut self, costs: Costs) -> Self {
        self.host.stop().await;
        let builder = builder(&self.data, &self.variables, &mut self.guards);
        self.host = builder.costs(costs).count_crossings().start().await.unwrap();
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

    /// Sends a request with the operator's token.
    pub async fn operator(&self, method: &str, path: &str) -> Reply {
        self.send(method, path, &[OPERATOR], "").await
    }

    /// Reads an accepted callback as the operator.
    pub async fn callback(&self, run: &str, topic: &str) -> Reply {
        self.operator("GET", &format!("/api/v2/callbacks/{run}?topic={topic}")).await
    }

    /// Lists the deliveries in the state `pending` or `dead` as the operator.
    pub async fn deliveries(&self, state: &str) -> Vec<Value> {
        let reply = self.operator("GET", &format!("/api/v2/deliveries?state={state}&limit=500")).await;
        reply.assert_status(200);
        reply.json()["deliveries"].as_array().unwrap().clone()
    }

    /// The store's keys with a prefix.
    pub async fn keys(&self, prefix: &str) -> Vec<String> {
        let keys = self.host.key_value().keys("default").await.unwrap();
        keys.into_iter().filter(|key| key.starts_with(prefix)).collect()
    }

    /// The number of runs of a workflow.
    pub fn started(&self, workflow: &str) -> usize {
        self.engine.runs().iter().filter(|record| record.run.workflow_ref == workflow).count()
    }

    /// Whether the task of a run that waits for a callback has succeeded.
    pub fn is_resolved(&self, run: &str) -> bool {
        let runs = self.engine.runs();
        let record = runs.iter().find(|record| record.run.id == run);
        record.and_then(wait_task).is_some_and(|task| task.status == Status::Succeeded)
    }

    /// Whether a key with this prefix has an outcome, and was not released.
    pub async fn has_outcome(&self, prefix: &str) -> bool {
        for name in self.keys(prefix).await {
            let value = self.host.key_value().get("default", &name).await.unwrap().unwrap_or_default();
            if !String::from_utf8_lossy(&value).contains(r#""released""#) {
                return true;
            }
        }
        false
    }

    /// Makes each operation of the store fail.
    pub fn break_store(&self) {
        self.host.key_value().inject_faults(|_| Some("disk full".to_owned()));
        self.host.postgres().inject_faults(|_| Some(Fault::Before));
    }

    /// Ends [`Setup::break_store`].
    pub fn mend_store(&self) {
        self.host.key_value().clear_faults();
        self.host.postgres().clear_faults();
    }

    /// The number of operations of the store so far.
    pub fn store_operations(&self) -> u64 {
        operations(self.host.key_value(), self.host.postgres())
    }

    /// Runs one drain pass and returns its report.
    pub async fn drain(&self) -> Value {
        let reply = self.operator("POST", "/api/v2/deliveries/drain").await;
        reply.assert_status(200);
        reply.json()
    }

    /// Runs drain passes until nothing is pending, and returns their totals.
    pub async fn drain_all(&self) -> DrainTotals {
        let mut totals = DrainTotals::default();
        eventually("nothing is pending", async || {
            let pass = self.drain().await;
            totals.add(&pass);
            (pass["pending"] == 0).then_some(())
        })
        .await;
        totals
    }

    /// The number of requests of this kind that the engine has received, of the latest 10,000.
    pub fn requests(&self, kind: RequestKind) -> usize {
        self.engine.requests().iter().filter(|request| request.kind() == Some(kind)).count()
    }

    /// Asserts that a webhook still starts a run.
    pub async fn assert_works(&self) {
        let reply = self.post("/api/v2/webhook?ref=after", "{}").await;
        reply.assert_status(200);
        assert_eq!(reply.json()["workflowRef"], "after");
    }

    /// The log lines of requests, parsed as JSON.
    pub fn log(&self) -> Vec<Value> {
        self.host.logs().lines().iter().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }
}

/// The number of operations of a host's key-value store and database so far.
pub fn operations(key_value: &KeyValue, postgres: &Postgres) -> u64 {
    let Counts { opens: _, gets, sets, deletes, exists, get_keys } = key_value.counts();
    gets + sets + deletes + exists + get_keys + postgres.counts().statements
}

/// Sums over the reports of drain passes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DrainTotals {
    pub delivered: u64,
    pub rejected: u64,
    pub dead: u64,
    pub dropped: u64,
}

impl DrainTotals {
    pub fn add(&mut self, pass: &Value) {
        let count = |name: &str| pass[name].as_u64().unwrap();
        self.delivered += count("delivered");
        self.rejected += count("rejected");
        self.dead += count("dead");
        self.dropped += count("dropped");
    }
}

/// The task of a run that waits or waited for a topic.
pub fn wait_task(record: &Record) -> Option<&TaskRun> {
    record.tasks.iter().find(|task| task.kind == TaskType::EventWait)
}

/// The param `data` of a run, in JSON.
pub fn data_of(record: &Record) -> String {
    record.run.params.iter().find(|param| param.name == "data").unwrap().value.to_string()
}

/// Polls until the closure returns a value. `condition` is for the panic message.
pub async fn eventually<T>(condition: &str, mut poll: impl AsyncFnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(value) = poll().await {
            return value;
        }
        assert!(start.elapsed() < TIMEOUT, "timed out before {condition}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// A port that is bound but not listening: the system assigns it to no other process, and refuses connections until a
/// server starts there.
pub struct ReservedPort(TcpSocket);

impl ReservedPort {
    pub fn new() -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        // Lets a server bind the same port later.
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

/// An HTTP client with persistent connections.
#[derive(Clone)]
pub struct HttpClient(Client<HttpConnector, Full<Bytes>>);

impl HttpClient {
    pub fn new() -> Self {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        Self(Client::builder(TokioExecutor::new()).build(connector))
    }

    /// Sends a request. An error means that no complete response arrived.
    pub async fn send(
        &self,
        method: &str,
        url: &str,
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> Result<Reply, String> {
        let body = body.into();
        let excerpt = String::from_utf8_lossy(&body[..body.len().min(100)]).into_owned();
        let mut request = Request::builder().method(method).uri(url);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Full::new(body)).unwrap();
        let (parts, body) = self.0.request(request).await.map_err(|error| error.to_string())?.into_parts();
        let body = body.collect().await.map_err(|error| error.to_string())?.to_bytes();
        let context = format!("{method} {url} {headers:?} {excerpt}");
        assert_confidential(&String::from_utf8_lossy(&body));
        assert_confidential(&format!("{:?}", parts.headers));
        Ok(Reply { context, status: parts.status, headers: parts.headers, body })
    }
}

fn override_with(all: &mut Vec<(String, String)>, variables: &[(&str, &str)]) {
    for (name, value) in variables {
        all.retain(|(existing, _)| existing != name);
        all.push(((*name).to_owned(), (*value).to_owned()));
    }
}

/// The settings, with the intention that anyone may deliver, so that `/readyz` does not warn of it.
fn open(settings: &str) -> String {
    let mut settings: Value = serde_json::from_str(settings).unwrap();
    settings["open"] = true.into();
    settings.to_string()
}

async fn start(data: &Data, variables: &[(String, String)], guards: &mut Vec<LogGuard>) -> Host {
    builder(data, variables, guards).start().await.unwrap()
}

fn builder(data: &Data, variables: &[(String, String)], guards: &mut Vec<LogGuard>) -> Builder {
    let logs = Logs::captured();
    guards.push(LogGuard(logs.clone()));
    let mut host = Host::builder()
        .manifest(root().join("spin.toml"))
        .state_dir(data.state_dir())
        .logs(logs)
        .forbid_calls_while_open();
    if let Some(file) = data.runtime_config() {
        host = host.runtime_config(file);
    }
    for (name, value) in variables {
        host = host.variable(name, value);
    }
    let settings = variables.iter().find(|(name, _)| name == "settings").map_or("{}", |(_, value)| value);
    host.variable("settings", open(settings))
}

/// A response, with its whole body.
#[derive(Debug)]
pub struct Reply {
    /// For assertion messages: the test's case, if there is one, and the request with an excerpt of its body.
    context: String,
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Reply {
    /// Adds a case to the assertion messages.
    pub fn in_case(mut self, case: &str) -> Self {
        self.context = format!("{case}: {}", self.context);
        self
    }

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
        self.header("sluice-delivery").unwrap_or_else(|| panic!("no sluice-delivery: {self}"))
    }

    /// Whether Sluice checks for a drain notification after this response. It does if the engine has accepted the
    /// delivery and its id ends in four zero bits, which is the case for one of 16.
    pub fn is_sampled(&self) -> bool {
        self.header("sluice-outcome") == Some("delivered") && self.delivery().ends_with(['0', 'G'])
    }

    #[track_caller]
    pub fn assert_status(&self, status: u16) {
        assert_eq!(self.status, status, "{self}");
    }

    #[track_caller]
    pub fn assert_problem(&self, status: u16, slug: &str) {
        self.assert_status(status);
        assert_eq!(self.header("content-type"), Some("application/problem+json"), "{self}");
        assert_eq!(self.json()["type"], format!("https://sluice.dev/problems/{slug}"), "{self}");
    }

    /// Asserts the problem of a store that fails, which tells the sender what to do; returns whether the engine may have
    /// acted.
    #[track_caller]
    pub fn assert_store_problem(&self) -> bool {
        let is_unclear = self.json()["type"] == "https://sluice.dev/problems/engine-unclear";
        if is_unclear {
            self.assert_problem(502, "engine-unclear");
        } else {
            self.assert_problem(503, "store-unavailable");
        }
        assert_eq!(self.header("sluice-outcome"), None, "{self}");
        is_unclear
    }

    /// Asserts a 200 with the outcome `delivered` or `duplicate`.
    #[track_caller]
    pub fn assert_ok(&self, outcome: &str) {
        assert_eq!((self.status.as_u16(), self.header("sluice-outcome")), (200, Some(outcome)), "{self}");
    }

    /// Asserts a 202 with the outcome `pending` or `duplicate`.
    #[track_caller]
    pub fn assert_stored(&self, outcome: &str, has_body: bool) {
        assert_eq!((self.status.as_u16(), self.header("sluice-outcome")), (202, Some(outcome)), "{self}");
        let id = self.delivery();
        assert_eq!(self.header("location"), Some(format!("/api/v2/deliveries/{id}").as_str()), "{self}");
        let body = if has_body { format!(r#"{{"delivery":"{id}","state":"pending"}}"#) } else { String::new() };
        assert_eq!(self.text(), body, "{self}");
    }
}

impl fmt::Display for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} {}", self.context, self.status, String::from_utf8_lossy(&self.body))
    }
}
