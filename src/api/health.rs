//! `/healthz` asks no one; `/readyz` asks the key-value store and the configuration, and tells what the engine refused
//! for a reason that is set here.

use http::Response;
use http::header::{CONTENT_TYPE, HeaderValue};
use serde::Serialize;

use super::RequestContext;
use super::problem::{Kind, Problem};
use crate::config;
use crate::ports::Host;
use crate::store::EngineFault;

pub(super) fn alive() -> Response<Vec<u8>> {
    json(br#"{"status":"alive"}"#.to_vec())
}

pub(super) async fn ready(context: &mut RequestContext<'_, '_, impl Host>) -> Result<Response<Vec<u8>>, Problem> {
    let faults = config::check(context.host);
    if let Some(first) = faults.first() {
        let detail: Vec<String> = faults.iter().map(ToString::to_string).collect();
        return Err(Problem::new(Kind::Configuration, detail.join("; "))
            .field(first.variable)
            .member("errors", &faults));
    }
    let fault = EngineFault::read(context.host).await.map_err(|error| {
        context.log.warning(error.to_string());
        Problem::new(Kind::StoreUnavailable, "the store did not answer: check key_value_stores and its runtime config")
    })?;
    let Some(fault) = fault else { return Ok(json(br#"{"status":"ready"}"#.to_vec())) };

    // Still a 200: what comes is stored, and a 503 would make a load balancer turn senders away.
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
    Ok(json(serde_json::to_vec(&Degraded { status: "degraded", engine }).unwrap_or_default()))
}

fn json(body: Vec<u8>) -> Response<Vec<u8>> {
    let mut response = Response::new(body);
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}
