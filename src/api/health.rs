//! `GET /healthz` and `GET /readyz`.

use http::{Response, StatusCode};
use serde::Serialize;

use super::problem::{Kind, Problem};
use super::{RequestContext, respond};
use crate::config;
use crate::ports::Host;
use crate::store::EngineFault;

/// `GET /healthz`: always succeeds, without using the store or the engine.
pub(super) fn alive() -> Response<Vec<u8>> {
    respond::json_bytes(StatusCode::OK, br#"{"status":"alive"}"#.to_vec())
}

/// `GET /readyz`: checks all variables and the store. Also reports a configuration fault if a delivery attempt has
/// revealed one ([`EngineFault`]).
pub(super) async fn ready(context: &mut RequestContext<'_, '_, impl Host>) -> Result<Response<Vec<u8>>, Problem> {
    let errors = config::check(context.host);
    if let Some(first) = errors.first() {
        let detail: Vec<String> = errors.iter().map(ToString::to_string).collect();
        return Err(Problem::new(Kind::Configuration, detail.join("; "))
            .field(first.variable)
            .member("errors", &errors));
    }
    let fault = EngineFault::read(context.host).await.map_err(|error| {
        context.log.warning(error.to_string());
        let detail = "the store did not answer: check `key_value_stores` in spin.toml and its runtime configuration";
        Problem::new(Kind::StoreUnavailable, detail)
    })?;
    let Some(fault) = fault else {
        return Ok(respond::json_bytes(StatusCode::OK, br#"{"status":"ready"}"#.to_vec()));
    };

    // The status is still 200: deliveries are stored in the meantime. With a 503, a load balancer would reject them.
    #[derive(Serialize)]
    struct Degraded<'a> {
        status: &'static str,
        engine: Engine<'a>,
    }
    #[derive(Serialize)]
    struct Engine<'a> {
        fault: &'a str,
        since: String,
        check: [&'static str; 2],
    }
    let engine = Engine { fault: &fault.reason, since: fault.at.rfc3339(), check: ["engine_url", "engine_token"] };
    Ok(respond::json(StatusCode::OK, &Degraded { status: "degraded", engine }))
}
