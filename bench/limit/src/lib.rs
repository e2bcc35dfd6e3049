//! The reference component of the benchmarks: it calls the host as Sluice does, but has none of its logic.
//!
//! | Path | Operations |
//! |---|---|
//! | `/hello` | reads the body and responds |
//! | `/bare` | reads the body, sends the engine the same request as Sluice, returns the engine's response |
//! | `/calls/N` | N writes to new keys, then as `/bare` |
//! | `/stores/N` | N writes to new keys, no outbound request |
//! | `/claims` | in PostgreSQL: Sluice's claim of a new key, then as `/bare`, then Sluice's settlement |
//! | `/kept` | in PostgreSQL: the engine is called, which is down, then Sluice's claim that stores a delivery |

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;

use spin_sdk::http::{Request, Response, send};
use spin_sdk::http_component;
use spin_sdk::key_value::Store;
use spin_sdk::pg::{Connection, DbValue, ParameterValue};
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
        (Some("claims"), None) => claims(request.body()).await,
        (Some("kept"), None) => kept(request.body()).await,
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

/// Sluice's statements.
const CLAIM: &str = include_str!("../../../src/store/postgres/claim.sql");
const SETTLE: &str = include_str!("../../../src/store/postgres/settle.sql");

/// The length of a lease with the default `engine_timeout_ms`.
const LEASE_MS: i64 = 50_000;
/// The default of `retention_hours`, and a minute.
const KEEP_MS: i64 = 72 * 3_600_000 + 60_000;

/// Claims a new key, calls the engine, and settles the claim.
async fn claims(payload: &[u8]) -> anyhow::Result<Response> {
    let (key, token) = (unique(52), unique(26));
    claim(&key, Some(&token), payload)?;
    let response = call(payload).await?;
    anyhow::ensure!(*response.status() == 200, "the engine refused the request");
    let body = String::from_utf8_lossy(response.body()).replace('\\', "\\\\").replace('"', "\\\"");
    let ended = format!(r#"[{{"key":"{key}","token":"{token}","body":"{body}","keep":{KEEP_MS}}}]"#);
    let settled = run(SETTLE, &[ParameterValue::Str(ended)])?;
    anyhow::ensure!(settled.len() == 1, "the claim was not settled");
    Ok(response)
}

/// Stores a delivery because the engine is down.
async fn kept(payload: &[u8]) -> anyhow::Result<Response> {
    anyhow::ensure!(call(payload).await.is_err(), "the engine is up");
    claim(&unique(26), None, payload)?;
    Ok(respond(b"{}".to_vec()))
}

/// Runs Sluice's claim, whose parameters `claim.sql` describes. Without a token, it stores a delivery.
fn claim(key: &str, token: Option<&str>, payload: &[u8]) -> anyhow::Result<()> {
    let text = |text: &str| ParameterValue::Str(text.to_owned());
    // As large as the stored form of a delivery: the payload and about 300 bytes.
    let delivery = [payload, &[b'x'; 300]].concat();
    let parameters = [
        text(key),
        text(&key[..26]),
        token.map_or(ParameterValue::DbNull, text),
        text(&key[..26]),
        text("w"),
        ParameterValue::DbNull,
        ParameterValue::DbNull,
        ParameterValue::Binary(delivery),
        ParameterValue::Int64(LEASE_MS),
        ParameterValue::Boolean(token.is_none()),
        ParameterValue::DbNull,
    ];
    let rows = run(CLAIM, &parameters)?;
    let standing = rows.first().and_then(|row| row.first());
    anyhow::ensure!(matches!(standing, Some(DbValue::Str(standing)) if standing == "won"), "the key was not claimed");
    Ok(())
}

/// Runs a statement on a connection of its own, as Sluice does.
fn run(statement: &str, parameters: &[ParameterValue]) -> anyhow::Result<Vec<Vec<DbValue>>> {
    Ok(Connection::open(&variables::get("database_url")?)?.query(statement, parameters)?.rows)
}

/// A new text of hexadecimal digits.
#[allow(clippy::disallowed_methods, reason = "randomness for new keys; the rule is for Sluice's core")]
fn unique(length: usize) -> String {
    let name = RandomState::new();
    let digits: String = (0..4).map(|n| format!("{:016x}", name.hash_one(n))).collect();
    digits[..length].to_owned()
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
