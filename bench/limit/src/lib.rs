//! What a host can do at most: the same work as Sluice's, and nothing of Sluice in between.
//!
//! | Path | What |
//! |---|---|
//! | `/hello` | reads the body and answers |
//! | `/bare` | reads the body, makes the outbound call that Sluice makes, answers with its answer |
//! | `/calls/N` | the same with N writes to fresh keys before |
//! | `/stores/N` | N writes to fresh keys and no call |

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
    let done = match (steps.next(), steps.next().and_then(|count| count.parse().ok())) {
        (Some("hello"), None) => Ok(answer(b"{}".to_vec())),
        (Some("bare"), None) => call(request.body()).await,
        (Some("calls"), Some(writes)) => match store(writes) {
            Ok(()) => call(request.body()).await,
            Err(error) => Err(error),
        },
        (Some("stores"), Some(writes)) => store(writes).map(|()| answer(b"{}".to_vec())),
        _ => Ok(Response::new(404, ())),
    };
    done.unwrap_or_else(|error| Response::new(500, format!("{error:#}")))
}

/// The call, with the bytes that Sluice would send for a webhook.
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
    // A benchmark of errors is worth nothing.
    if *run.status() != 200 {
        return Ok(Response::new(502, ()));
    }
    Ok(answer(run.into_body()))
}

/// Writes as large as those of a claim: two names, then what the engine answered.
#[allow(clippy::disallowed_methods, reason = "that rule is for Sluice's core: here it makes keys that are new")]
fn store(writes: u8) -> anyhow::Result<()> {
    let name = RandomState::new();
    for n in 0..writes {
        // Each operation opens the store, as Sluice's do.
        let key = format!("sluice/limit/500/{:016x}{:036x}", name.hash_one(n), name.hash_one(!n));
        let length = if n < 2 { 90 } else { 450 };
        Store::open_default()?.set(&key, &vec![b'x'; length])?;
    }
    Ok(())
}

fn answer(body: Vec<u8>) -> Response {
    Response::builder().status(200).header("content-type", "application/json").body(body).build()
}
