//! `GET /healthz` and `GET /readyz`.

use http::{Response, StatusCode};
use serde::Serialize;

use super::problem::{Kind, Problem};
use super::{RequestContext, respond};
use crate::config;
use crate::ports::{Host, StoreError};
use crate::store::{EngineFault, Twice};

/// `GET /healthz`: always succeeds, without using the store or the engine.
pub(super) fn alive() -> Response<Vec<u8>> {
    respond::json_bytes(StatusCode::OK, br#"{"status":"alive"}"#.to_vec())
}

/// `GET /readyz`: checks all variables and the store. Also reports a configuration fault if a delivery attempt has
/// revealed one ([`EngineFault`]), and a delivery that has two runs ([`Twice`]).
pub(super) async fn ready(context: &mut RequestContext<'_, '_, impl Host>) -> Result<Response<Vec<u8>>, Problem> {
    let errors = config::check(context.host);
    if let Some(first) = errors.first() {
        let detail: Vec<String> = errors.iter().map(ToString::to_string).collect();
        return Err(Problem::new(Kind::Configuration, detail.join("; "))
            .field(first.variable)
            .member("errors", &errors));
    }
    let faults = async { Ok((EngineFault::read(context.host).await?, Twice::read(context.host).await?)) };
    let (fault, twice) = faults.await.map_err(|error: StoreError| {
        context.log.warning(error.to_string());
        let detail = "the store did not answer: check `key_value_stores` in spin.toml and its runtime configuration";
        Problem::new(Kind::StoreUnavailable, detail)
    })?;
    if fault.is_none() && twice.is_none() {
        return Ok(respond::json_bytes(StatusCode::OK, br#"{"status":"ready"}"#.to_vec()));
    }

    // The status is still 200: deliveries are stored in the meantime. With a 503, a load balancer would reject them.
    #[derive(Serialize)]
    struct Degraded<'a> {
        status: &'static str,
        #[serde(skip_serializing_if = "Option::is_none")]
        engine: Option<Engine<'a>>,
        #[serde(skip_serializing_if = "Option::is_none")]
        twice: Option<RunTwice<'a>>,
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
    Ok(respond::json(StatusCode::OK, &Degraded { status: "degraded", engine, twice }))
}
