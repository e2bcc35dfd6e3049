//! The stand-in's own paths: its page, and `/stand-in/…` for tests that aren't in Rust.

use std::collections::BTreeMap;

use hyper::StatusCode;
use hyper::header::ACCEPT;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::answer::{Answer, empty, json, no_such_path, of_type, refusal, wrong_method};
use super::page;
use super::runs::{Run, Wait, timestamp};
use super::script::{More, Orders};
use super::state::{Recorded, State};

/// `None` for a request that is the engine's.
pub(super) fn answer(state: &State, request: &Recorded) -> Option<Answer> {
    let method = request.method.as_str();
    let path = request.path.as_str();
    let allow = match path {
        "/" | "/stand-in/runs" => "GET",
        "/stand-in/requests" => "GET, DELETE",
        "/stand-in/waits" => "POST",
        "/stand-in/script" => "POST, DELETE",
        _ if path.starts_with("/stand-in/") => return Some(no_such_path(path)),
        _ => return None,
    };
    Some(match (method, path) {
        ("GET", "/") if wants_json(request) => runs(state, true),
        ("GET", "/") => of_type(StatusCode::OK, "text/html;charset=utf-8", page::runs(&state.lock())),
        ("GET", "/stand-in/runs") => runs(state, false),
        ("GET", "/stand-in/requests") => requests(state),
        ("DELETE", "/stand-in/requests") => {
            state.lock().clear();
            empty(StatusCode::NO_CONTENT)
        }
        ("POST", "/stand-in/waits") => wait(state, request),
        ("POST", "/stand-in/script") => script(state, request),
        ("DELETE", "/stand-in/script") => {
            state.lock().orders = Orders::default();
            empty(StatusCode::NO_CONTENT)
        }
        _ => wrong_method(method, allow, path),
    })
}

fn wants_json(request: &Recorded) -> bool {
    request
        .headers
        .get(ACCEPT)
        .and_then(|accept| accept.to_str().ok())
        .is_some_and(|accept| accept.contains("application/json"))
}

/// A run as the engine shows it, and its waits.
#[derive(Serialize)]
struct Listed<'a> {
    #[serde(flatten)]
    run: &'a Run,
    waits: &'a [Wait],
}

#[derive(Serialize)]
struct Runs<'a> {
    total: u64,
    runs: Vec<Listed<'a>>,
}

fn runs(state: &State, newest_first: bool) -> Answer {
    let state = state.lock();
    let mut runs: Vec<_> = state.runs.iter().map(|run| Listed { run, waits: &run.waits }).collect();
    if newest_first {
        runs.reverse();
    }
    json(StatusCode::OK, &Runs { total: state.runs.total, runs })
}

#[derive(Serialize)]
struct Shown<'a> {
    at: String,
    method: &'a str,
    path: &'a str,
    query: Option<&'a str>,
    headers: BTreeMap<&'a str, Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    body: Option<&'a str>,
    /// In place of `body` where that isn't UTF-8.
    #[serde(skip_serializing_if = "Option::is_none")]
    body_base64: Option<String>,
}

fn requests(state: &State) -> Answer {
    #[derive(Serialize)]
    struct Requests<'a> {
        total: u64,
        requests: Vec<Shown<'a>>,
    }
    let state = state.lock();
    let requests = state.requests.iter().map(show).collect();
    json(StatusCode::OK, &Requests { total: state.requests.total, requests })
}

fn show(request: &Recorded) -> Shown<'_> {
    let mut headers = BTreeMap::<_, Vec<_>>::new();
    for (name, value) in &request.headers {
        let value = String::from_utf8_lossy(value.as_bytes()).into_owned();
        headers.entry(name.as_str()).or_default().push(value);
    }
    let body = std::str::from_utf8(&request.body).ok();
    Shown {
        at: timestamp(request.at),
        method: request.method.as_str(),
        path: &request.path,
        query: request.query.as_deref(),
        headers,
        body,
        body_base64: body.is_none().then(|| data_encoding::BASE64.encode(&request.body)),
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WaitFor {
    topic: String,
    /// For a new run …
    workflow: Option<String>,
    /// … or in this one.
    run: Option<String>,
}

fn wait(state: &State, request: &Recorded) -> Answer {
    let WaitFor { topic, workflow, run } = match serde_json::from_slice(&request.body) {
        Ok(wait) => wait,
        Err(error) => return bad(&error.to_string()),
    };
    let mut state = state.lock();
    let run = match (workflow, run) {
        (Some(workflow), None) => state.wait(workflow, topic),
        (None, Some(run)) => match state.wait_on(&run, topic) {
            Ok(()) => run,
            Err(unknown) => return refusal(unknown),
        },
        _ => return bad("either a workflow or a run"),
    };
    json(StatusCode::OK, &json!({ "run": run }))
}

fn script(state: &State, request: &Recorded) -> Answer {
    match serde_json::from_slice::<More>(&request.body) {
        Ok(more) => {
            state.lock().orders.add(more);
            empty(StatusCode::NO_CONTENT)
        }
        Err(error) => bad(&error.to_string()),
    }
}

fn bad(why: &str) -> Answer {
    of_type(StatusCode::BAD_REQUEST, "text/plain;charset=utf-8", format!("{why}\n"))
}
