//! The stand-in's own paths: its page at `/`, and `/stand-in/…`, by which tests in other languages control it.

use std::collections::BTreeMap;

use hyper::StatusCode;
use hyper::header::ACCEPT;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::page;
use super::response::{FullResponse, empty, json, method_not_allowed, unknown_path, unknown_reference, with_body};
use super::runs::{Run, Wait, timestamp};
use super::script::{Rules, ScriptRequest};
use super::state::{RecordedRequest, State};

/// Handles a request to the stand-in itself; `None` if the request is for the engine.
pub(super) fn respond(state: &State, request: &RecordedRequest) -> Option<FullResponse> {
    let method = request.method.as_str();
    let path = request.path.as_str();
    let allow = match path {
        "/" | "/stand-in/runs" => "GET",
        "/stand-in/requests" => "GET, DELETE",
        "/stand-in/waits" => "POST",
        "/stand-in/script" => "POST, DELETE",
        _ if path.starts_with("/stand-in/") => return Some(unknown_path(path)),
        _ => return None,
    };
    Some(match (method, path) {
        ("GET", "/") if wants_json(request) => runs(state, true),
        ("GET", "/") => with_body(StatusCode::OK, "text/html;charset=utf-8", page::render(&state.lock()).into_string()),
        ("GET", "/stand-in/runs") => runs(state, false),
        ("GET", "/stand-in/requests") => requests(state),
        ("DELETE", "/stand-in/requests") => {
            state.lock().clear();
            empty(StatusCode::NO_CONTENT)
        }
        ("POST", "/stand-in/waits") => wait(state, request),
        ("POST", "/stand-in/script") => script(state, request),
        ("DELETE", "/stand-in/script") => {
            state.lock().rules = Rules::default();
            empty(StatusCode::NO_CONTENT)
        }
        _ => method_not_allowed(method, allow, path),
    })
}

fn wants_json(request: &RecordedRequest) -> bool {
    request
        .headers
        .get(ACCEPT)
        .and_then(|accept| accept.to_str().ok())
        .is_some_and(|accept| accept.contains("application/json"))
}

/// A run in the engine's format, with its waits.
#[derive(Serialize)]
struct RunEntry<'a> {
    #[serde(flatten)]
    run: &'a Run,
    waits: &'a [Wait],
}

#[derive(Serialize)]
struct Runs<'a> {
    total: u64,
    runs: Vec<RunEntry<'a>>,
}

fn runs(state: &State, newest_first: bool) -> FullResponse {
    let state = state.lock();
    let mut runs: Vec<_> = state.runs.iter().map(|run| RunEntry { run, waits: &run.waits }).collect();
    if newest_first {
        runs.reverse();
    }
    json(StatusCode::OK, &Runs { total: state.runs.total, runs })
}

/// A recorded request, in JSON.
#[derive(Serialize)]
struct RequestEntry<'a> {
    at: String,
    method: &'a str,
    path: &'a str,
    query: Option<&'a str>,
    headers: BTreeMap<&'a str, Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    body: Option<&'a str>,
    /// Replaces a `body` that isn't UTF-8.
    #[serde(skip_serializing_if = "Option::is_none")]
    body_base64: Option<String>,
}

fn requests(state: &State) -> FullResponse {
    #[derive(Serialize)]
    struct Requests<'a> {
        total: u64,
        requests: Vec<RequestEntry<'a>>,
    }
    let state = state.lock();
    let requests = state.requests.iter().map(request_entry).collect();
    json(StatusCode::OK, &Requests { total: state.requests.total, requests })
}

fn request_entry(request: &RecordedRequest) -> RequestEntry<'_> {
    let mut headers = BTreeMap::<_, Vec<_>>::new();
    for (name, value) in &request.headers {
        let value = String::from_utf8_lossy(value.as_bytes()).into_owned();
        headers.entry(name.as_str()).or_default().push(value);
    }
    let body = std::str::from_utf8(&request.body).ok();
    RequestEntry {
        at: timestamp(request.at),
        method: request.method.as_str(),
        path: &request.path,
        query: request.query.as_deref(),
        headers,
        body,
        body_base64: body.is_none().then(|| data_encoding::BASE64.encode(&request.body)),
    }
}

/// The body of `POST /stand-in/waits`. Exactly one of `workflow` and `run` is required.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WaitRequest {
    topic: String,
    /// Starts a run of this workflow.
    workflow: Option<String>,
    /// Adds the wait to this run.
    run: Option<String>,
}

fn wait(state: &State, request: &RecordedRequest) -> FullResponse {
    let WaitRequest { topic, workflow, run } = match serde_json::from_slice(&request.body) {
        Ok(wait) => wait,
        Err(error) => return bad_request(&error.to_string()),
    };
    let mut state = state.lock();
    let run = match (workflow, run) {
        (Some(workflow), None) => state.wait(workflow, topic),
        (None, Some(run)) => match state.wait_on(&run, topic) {
            Ok(()) => run,
            Err(unknown) => return unknown_reference(unknown),
        },
        _ => return bad_request("expected either `workflow` or `run`"),
    };
    json(StatusCode::OK, &json!({ "run": run }))
}

fn script(state: &State, request: &RecordedRequest) -> FullResponse {
    match serde_json::from_slice::<ScriptRequest>(&request.body) {
        Ok(script) => {
            state.lock().rules.add(script);
            empty(StatusCode::NO_CONTENT)
        }
        Err(error) => bad_request(&error.to_string()),
    }
}

fn bad_request(reason: &str) -> FullResponse {
    with_body(StatusCode::BAD_REQUEST, "text/plain;charset=utf-8", format!("{reason}\n"))
}
