//! The reference component of the benchmarks: it calls the host as Sluice does, but has none of its logic.
//!
//! | Path | Operations |
//! |---|---|
//! | `/hello` | reads the body and responds |
//! | `/bare` | reads the body, sends the engine the same request as Sluice, returns the engine's response |
//! | `/calls/N` | N writes to new keys, then as `/bare` |
//! | `/stores/N` | N writes to new keys, no outbound request |

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;

use spin_sdk::http::{Request, Response, send};
use spin_sdk::http_component;
use spin_sdk::key_value::Store;
use spin_sdk::variables;

#[http_component]
async fn handle(request: Request) -> Response {
    let path = request.path().to_owned();
    let mut steps = path.trim_start_matches('/').split('/');
    let result = match (steps.next(), steps.next().and_then(|count| count.parse().ok())) {
        (Some("hello"), None) => Ok(respond(b"{}".to_vec())),
        (Some("bare"), None) => call(request.body()).await,
        (Some("calls"), Some(writes)) => match store(writes) {
            Ok(()) => call(request.body()).await,
            Err(error) => Err(error),
        },
        (Some("stores"), Some(writes)) => store(writes).map(|()| respond(b"{}".to_vec())),
        _ => Ok(Response::new(404, ())),
    };
    result.unwrap_or_else(|error| Response::new(500, format!("{error:#}")))
}

/// Sends the engine the same bytes as Sluice would for a webhook, and returns its response.
async fn call(payload: &[u8]) -> anyhow::Result<Response> {
    let before = br#"{"trigger":"webhook","params":[{"name":"data","value":"#;
    let after = br#"}],"labels":{"sluice.dev/delivery":"01M85MNVRRNF3YKJSMZYXYD1X7"}}"#;
    let body = [before, payload, after].concat();
    let engine = variables::get("engine_url")?;
    let request = Request::post(format!("{engine}/api/v1/workflow/w/submit?start=false"), ())
        .header("content-type", "application/json")
        .header("content-length", body.len().to_string())
        .body(body)
        .build();
    let run: Response = send(request).await?;
    // A benchmark of errors has no value.
    if *run.status() != 200 {
        return Ok(Response::new(502, ()));
    }
    Ok(respond(run.into_body()))
}

/// Writes values that are as large as those of a claim: two ids, then the engine's response.
#[allow(clippy::disallowed_methods, reason = "randomness for new keys; the rule is for Sluice's core")]
fn store(writes: u8) -> anyhow::Result<()> {
    let name = RandomState::new();
    for n in 0..writes {
        // The store is opened for each write, whereas Sluice opens it once per request.
        let key = format!("sluice/limit/500/{:016x}{:036x}", name.hash_one(n), name.hash_one(!n));
        let length = if n < 2 { 90 } else { 450 };
        Store::open_default()?.set(&key, &vec![b'x'; length])?;
    }
    Ok(())
}

fn respond(body: Vec<u8>) -> Response {
    Response::builder().status(200).header("content-type", "application/json").body(body).build()
}
