//! The reference component of the benchmarks: it calls the host as Sluice has to, but has none of its logic.
//!
//! The path lists its steps, which follow the reading of the body: `/write/write/call/respond/write`.
//!
//! | Step | Work |
//! |---|---|
//! | `check` | checks that the body is JSON ([`check`]) |
//! | `write` | writes a new key |
//! | `call` | sends the engine the same request as Sluice, and reads its response, which becomes that of the component |
//! | `respond` | responds; without it, that is the last step |
//!
//! It needs no executor, because it never waits for two things at once.

mod check;

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::hint::black_box;

use anyhow::{Context, Result, anyhow, bail, ensure};
use spin_sdk::http::{Fields, IncomingRequest, Method, OutgoingRequest, OutgoingResponse, ResponseOutparam, Scheme};
use spin_sdk::key_value::Store;
use spin_sdk::wit::wasi::http0_2_0::outgoing_handler;
use spin_sdk::wit::wasi::http0_2_0::types::{IncomingBody, OutgoingBody};
use spin_sdk::{http_component, variables};
use wasi::io::streams::StreamError;

/// The most bytes that one read asks for: the host gives what has arrived.
const MAX_READ: u64 = 1 << 20;

/// The parts of the engine's request around the payload of a webhook.
const BEFORE: &[u8] = br#"{"trigger":"webhook","params":[{"name":"data","value":"#;
const AFTER: &[u8] = br#"}],"labels":{"sluice.dev/delivery":"01M85MNVRRNF3YKJSMZYXYD1X7"}}"#;

#[http_component]
async fn handle(request: IncomingRequest, responder: ResponseOutparam) {
    let path = request.path_with_query().unwrap_or_default();
    let mut exchange = Exchange { responder: Some(responder), response: b"{}".to_vec() };
    let result = exchange.take(&path, request);
    let status = if result.is_ok() { 200 } else { 500 };
    if let Err(error) = result {
        exchange.response = format!("{error:#}").into_bytes();
    }
    exchange.respond(status);
}

/// A request, until it has its response.
struct Exchange {
    responder: Option<ResponseOutparam>,
    response: Vec<u8>,
}

impl Exchange {
    /// Takes the steps of a path.
    fn take(&mut self, path: &str, request: IncomingRequest) -> Result<()> {
        let mut body = body(request)?;
        let mut store = None;
        for step in path.split('/').filter(|step| !step.is_empty()) {
            match step {
                // Without `black_box`, several checks of one body might become one.
                "check" => check::check(black_box(&body[BEFORE.len()..]))?,
                "write" => match &store {
                    Some(store) => write(store)?,
                    None => write(store.insert(Store::open_default()?))?,
                },
                "call" => {
                    body.extend_from_slice(AFTER);
                    self.response = call(&body)?;
                }
                "respond" => self.respond(200),
                _ => bail!("there is no step {step}"),
            }
        }
        Ok(())
    }

    /// Responds, unless that has been done.
    fn respond(&mut self, status: u16) {
        let Some(responder) = self.responder.take() else { return };
        let response = OutgoingResponse::new(json_headers(&self.response));
        // A failure breaks the response, which ends the run of the benchmark.
        let _ = response.set_status_code(status);
        let Ok(body) = response.body() else { return };
        let _: Result<()> = send(body, &self.response);
        responder.set(response);
    }
}

/// Reads the body of a request behind [`BEFORE`], into memory that has room for [`AFTER`].
fn body(request: IncomingRequest) -> Result<Vec<u8>> {
    let length = request.headers().get("content-length");
    let length = length.first().and_then(|length| std::str::from_utf8(length).ok()?.parse().ok());
    let mut body = Vec::with_capacity(BEFORE.len() + length.unwrap_or(0) + AFTER.len());
    body.extend_from_slice(BEFORE);
    read(request.consume().map_err(|()| anyhow!("no body"))?, &mut body)?;
    Ok(body)
}

/// Sends a webhook to the engine, and returns its response.
fn call(body: &[u8]) -> Result<Vec<u8>> {
    let engine = variables::get("engine_url")?;
    let refused = |()| anyhow!("a part of the request was refused");
    let request = OutgoingRequest::new(json_headers(body));
    request.set_method(&Method::Post).map_err(refused)?;
    request.set_scheme(Some(&Scheme::Http)).map_err(refused)?;
    request.set_authority(Some(engine.strip_prefix("http://").context("engine_url")?)).map_err(refused)?;
    request.set_path_with_query(Some("/api/v1/workflow/w/submit?start=false")).map_err(refused)?;
    send(request.body().map_err(refused)?, body)?;
    let response = outgoing_handler::handle(request, None)?;
    response.subscribe().block();
    let response = response.get().context("no response")?.map_err(|()| anyhow!("it was taken"))??;
    // A benchmark of errors has no value.
    ensure!(response.status() == 200, "the engine refused the request");
    let mut run = Vec::new();
    read(response.consume().map_err(refused)?, &mut run)?;
    Ok(run)
}

fn json_headers(body: &[u8]) -> Fields {
    let length = body.len().to_string().into_bytes();
    let headers = [("content-type".to_owned(), b"application/json".to_vec()), ("content-length".to_owned(), length)];
    // Infallible: the host allows both.
    Fields::from_list(&headers).unwrap_or_else(|_| Fields::new())
}

/// Reads a body to its end.
fn read(body: IncomingBody, into: &mut Vec<u8>) -> Result<()> {
    let stream = body.stream().map_err(|()| anyhow!("no stream"))?;
    loop {
        match stream.blocking_read(MAX_READ) {
            Ok(bytes) => into.extend_from_slice(&bytes),
            Err(StreamError::Closed) => return Ok(()),
            Err(error) => return Err(error.into()),
        }
    }
}

/// Writes a whole body before its head is sent: the host then sends both at once. Otherwise, the second write may wait
/// for an acknowledgement of the first, because Spin doesn't set TCP_NODELAY. The host takes 1 MB or more.
fn send(body: OutgoingBody, mut bytes: &[u8]) -> Result<()> {
    let stream = body.write().map_err(|()| anyhow!("no stream"))?;
    while !bytes.is_empty() {
        match usize::try_from(stream.check_write()?)? {
            0 => stream.subscribe().block(),
            room => {
                let (now, later) = bytes.split_at(room.min(bytes.len()));
                stream.write(now)?;
                bytes = later;
            }
        }
    }
    drop(stream);
    Ok(OutgoingBody::finish(body, None)?)
}

/// Writes a new key, whose value is as large as that of an outcome: the engine's response and an id.
#[allow(clippy::disallowed_methods, reason = "randomness for new keys; the rule is for Sluice's core")]
fn write(store: &Store) -> Result<()> {
    let key = format!("sluice/limit/{:032x}", RandomState::new().hash_one(()));
    Ok(store.set(&key, &[b'x'; 450])?)
}
