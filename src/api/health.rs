//! `GET /healthz` and `GET /readyz`.

mod database;

use http::{Response, StatusCode};
use serde::Serialize;

use super::problem::{Kind, Problem};
use super::{RequestContext, respond};
use crate::config::members;
use crate::gateway;
use crate::ports::Host;
use crate::source::Stopped;
use crate::store::{Faults, Outbox as _, StoreHealth};
use crate::time::Timestamp;

/// `GET /healthz`: always succeeds, without using the store or the engine.
pub(super) fn alive() -> Response<Vec<u8>> {
    respond::json_bytes(StatusCode::OK, br#"{"status":"alive"}"#.to_vec())
}

/// `GET /readyz`: checks all variables, the store, and the database if there is one. Also reports the [`Faults`] that
/// an operator has to see, and warnings.
pub(super) async fn ready(context: &mut RequestContext<'_, '_, impl Host>) -> Result<Response<Vec<u8>>, Problem> {
    let errors = context.config.check();
    if let Some(first) = errors.first() {
        let detail: Vec<String> = errors.iter().map(ToString::to_string).collect();
        return Err(Problem::new(Kind::Configuration, detail.join("; "))
            .field(first.variable)
            .member("errors", &errors));
    }
    let mut warnings = Vec::new();
    if let Some(url) = context.config.database_url()? {
        let keeps = context.config.get(&members::KEEP_HOURS)? > 0;
        let checked = database::check(context.host, &url, keeps).await;
        let warning = checked.map_err(|detail| {
            context.log.warning(format!("the database: {detail}"));
            Problem::new(Kind::StoreUnavailable, detail).field("database_url")
        })?;
        warnings.extend(warning);
    }
    warnings.extend(context.config.promises());
    let sources = context.config.sources()?;
    if sources.is_open() && !context.config.get(&members::OPEN)? {
        warnings.push("anyone may deliver: set `sources` or `access_tokens`, or `open` in `settings`".to_owned());
    }
    warnings.extend(context.config.refusing_routes().into_iter().map(|route| format!("`routes` {route}")));
    let stopped = sources.faults();
    warnings.extend(stopped.iter().map(ToString::to_string));
    for warning in &warnings {
        context.log.warning(warning.clone());
    }
    let faults = gateway::store_of(context.host).faults().await.map_err(|error| {
        context.log.warning(error.to_string());
        let detail = "the store did not answer: check `key_value_stores` in spin.toml and its runtime configuration";
        Problem::new(Kind::StoreUnavailable, detail)
    })?;
    let Faults { engine: fault, twice, queues, drained, store, .. } = faults;
    if let Some(unusable) = store.unusable {
        context.log.warning(unusable.clone());
        return Err(Problem::new(Kind::StoreUnavailable, unusable));
    }
    if let Some(since) = store.known_since.map(Timestamp::rfc3339) {
        let remedy = "raise `max_keys` in `settings`, shorten `retention_hours`, or set `database_url`";
        let warning = format!("only events since {since} are still known, because the store was full: {remedy}");
        context.log.warning(warning.clone());
        warnings.push(warning);
    }
    let is_ready = fault.is_none() && twice.is_none() && queues.is_empty() && !store.full && stopped.is_empty();

    // A degraded Sluice answers 200 as well: deliveries are stored in the meantime. With a 503, a load balancer would
    // reject them.
    #[derive(Serialize)]
    struct Readiness<'a> {
        status: &'static str,
        #[serde(skip_serializing_if = "<[String]>::is_empty")]
        warnings: &'a [String],
        #[serde(skip_serializing_if = "Option::is_none")]
        engine: Option<Engine<'a>>,
        #[serde(skip_serializing_if = "Option::is_none")]
        twice: Option<RunTwice<'a>>,
        #[serde(skip_serializing_if = "Option::is_none")]
        store: Option<StoreState<'a>>,
        #[serde(skip_serializing_if = "Vec::is_empty")]
        queues: Vec<Queue<'a>>,
        #[serde(skip_serializing_if = "<[Stopped]>::is_empty")]
        sources: &'a [Stopped],
        #[serde(skip_serializing_if = "Option::is_none")]
        backlog: Option<Backlog>,
    }
    /// The deliveries that the last pass of the drain has left, and how long they will take at its pace.
    #[derive(Serialize)]
    struct Backlog {
        pending: u64,
        seconds: Option<u64>,
        at: String,
    }
    /// What an operator has to know about a key-value store.
    #[derive(Serialize)]
    struct StoreState<'a> {
        full: bool,
        #[serde(skip_serializing_if = "Option::is_none")]
        known_since: Option<String>,
        #[serde(skip_serializing_if = "Option::is_none")]
        upgrade: Option<&'a str>,
    }
    /// A queue that its first delivery holds back.
    #[derive(Serialize)]
    struct Queue<'a> {
        workflow: &'a str,
        delivery: String,
        since: String,
        failure: Option<&'a str>,
    }
    /// A delivery that has two runs.
    #[derive(Serialize)]
    struct RunTwice<'a> {
        delivery: String,
        runs: &'a [String],
        at: String,
    }
    #[derive(Serialize)]
    struct Engine<'a> {
        fault: &'a str,
        since: String,
        check: [&'static str; 2],
    }
    let engine = fault.as_ref().map(|fault| Engine {
        fault: &fault.reason,
        since: fault.at.rfc3339(),
        check: ["engine_url", "engine_token"],
    });
    let twice = twice.as_ref().map(|twice| RunTwice {
        delivery: twice.delivery.to_string(),
        runs: &twice.runs,
        at: twice.at.rfc3339(),
    });
    let state = (store != StoreHealth::default()).then(|| StoreState {
        full: store.full,
        known_since: store.known_since.map(Timestamp::rfc3339),
        upgrade: store.upgrade.as_deref(),
    });
    let queues = queues.iter().map(|held| Queue {
        workflow: &held.workflow,
        delivery: held.delivery.to_string(),
        since: held.since.rfc3339(),
        failure: held.failure.as_deref(),
    });
    let queues = queues.collect();
    let backlog = gateway::last_drain(drained).and_then(|(at, drained)| {
        let drained = drained?;
        let pending = drained.pending.filter(|pending| *pending > 0)?;
        Some(Backlog { pending, seconds: drained.backlog, at: at.rfc3339() })
    });
    let status = if is_ready { "ready" } else { "degraded" };
    Ok(respond::json(
        StatusCode::OK,
        &Readiness { status, warnings: &warnings, engine, twice, store: state, queues, sources: &stopped, backlog },
    ))
}
