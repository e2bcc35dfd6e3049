//! `/healthz` asks no one; `/readyz` asks the key-value store and the configuration.

use http::Response;
use http::header::{CONTENT_TYPE, HeaderValue};

use super::Call;
use super::problem::{Kind, Problem};
use crate::config;
use crate::ports::Outside;

/// A key that no one writes: reading it asks the store and changes nothing.
const PROBE: &str = "sluice/ready";

pub(super) fn alive() -> Response<Vec<u8>> {
    json(r#"{"status":"alive"}"#)
}

pub(super) async fn ready(call: &mut Call<'_, impl Outside>) -> Result<Response<Vec<u8>>, Problem> {
    let faults = config::check(call.outside);
    if let Some(first) = faults.first() {
        let detail: Vec<String> = faults.iter().map(ToString::to_string).collect();
        return Err(Problem::new(Kind::Configuration, detail.join("; ")).field(first.variable));
    }
    call.outside.exists(PROBE).await.map_err(|error| {
        call.log.warning(error.to_string());
        Problem::new(Kind::StoreUnavailable, "the store did not answer: check key_value_stores and its runtime config")
    })?;
    Ok(json(r#"{"status":"ready"}"#))
}

fn json(body: &str) -> Response<Vec<u8>> {
    let mut response = Response::new(body.as_bytes().to_vec());
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}
