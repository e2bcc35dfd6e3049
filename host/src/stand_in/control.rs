//! The stand-in's own paths: its page at `/`, and `/stand-in/…`, by which tests in other languages control it.

use std::collections::BTreeMap;

use hyper::StatusCode;
use hyper::header::{ACCEPT, ALLOW, HeaderValue};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::model::{Json, Process, Step};
use super::page;
use super::response::{FullResponse, empty, json, text, timestamp, with_body, with_header};
use super::script::{Rules, ScriptRequest};
use super::state::{RecordedRequest, State};

/// Handles a request to the stand-in itself; `None` if the request is for a service.
pub(super) fn respond(state: &State, request: &RecordedRequest) -> Option<FullResponse> {
    let method = request.method.as_str();
    let path = request.path.as_str();
    let allow = match path {
        "/" | "/stand-in/runs" => "GET",
        "/stand-in/requests" => "GET, DELETE",
        "/stand-in/waits" | "/stand-in/die" | "/stand-in/restart" => "POST",
        "/stand-in/script" => "POST, DELETE",
        _ if path.starts_with("/stand-in/") => {
            return Some(text(StatusCode::NOT_FOUND, "the stand-in has no such path"));
        }
        _ => return None,
    };
    let done = empty(StatusCode::NO_CONTENT);
    Some(match (method, path) {
        ("GET", "/") if wants_json(request) => runs(state, true),
        ("GET", "/") => {
            let page = page::render(&mut state.lock().site);
            with_body(StatusCode::OK, "text/html;charset=utf-8", page.into_string())
        }
        ("GET", "/stand-in/runs") => runs(state, false),
        ("GET", "/stand-in/requests") => requests(state),
        ("DELETE", "/stand-in/requests") => {
            state.lock().requests.clear();
            done
        }
        ("POST", "/stand-in/waits") => with_request(request, |request| wait(state, &request)),
        ("POST", "/stand-in/script") => with_request(request, |script: ScriptRequest| {
            state.lock().rules.add(script);
            done
        }),
        ("DELETE", "/stand-in/script") => {
            state.lock().rules = Rules::default();
            done
        }
        ("POST", "/stand-in/die") => with_request(request, |request| die(state, request)),
        ("POST", "/stand-in/restart") => {
            state.lock().site.restart();
            state.wake();
            done
        }
        _ => {
            let response = text(StatusCode::METHOD_NOT_ALLOWED, &format!("the path takes {allow}"));
            with_header(response, ALLOW, HeaderValue::from_static(allow))
        }
    })
}

fn wants_json(request: &RecordedRequest) -> bool {
    request
        .headers
        .get(ACCEPT)
        .and_then(|accept| accept.to_str().ok())
        .is_some_and(|accept| accept.contains("application/json"))
}

/// Reads the body, regardless of its declared type.
fn with_request<T: DeserializeOwned>(request: &RecordedRequest, act: impl FnOnce(T) -> FullResponse) -> FullResponse {
    match serde_json::from_slice(&request.body) {
        Ok(request) => act(request),
        Err(error) => text(StatusCode::BAD_REQUEST, &error.to_string()),
    }
}

fn runs(state: &State, newest_first: bool) -> FullResponse {
    #[derive(Serialize)]
    struct Runs {
        total: u64,
        runs: Vec<Json>,
    }
    let site = &mut state.lock().site;
    let ids: Vec<_> = site.runs().map(|record| record.run.id.clone()).collect();
    let mut runs: Vec<_> = ids.iter().filter_map(|id| site.look(id)).collect();
    if newest_first {
        runs.reverse();
    }
    json(StatusCode::OK, &Runs { total: site.total(), runs })
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

/// The body of `POST /stand-in/waits`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WaitRequest {
    workflow: String,
    topic: String,
}

fn wait(state: &State, WaitRequest { workflow, topic }: &WaitRequest) -> FullResponse {
    match state.lock().wait(workflow, topic) {
        Ok(run) => json(StatusCode::OK, &json!({ "run": run })),
        Err(error) => text(StatusCode::CONFLICT, &error.to_string()),
    }
}

/// The body of `POST /stand-in/die`. Exactly one of `at` and `process` is required.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct DieRequest {
    at: Option<Step>,
    process: Option<Process>,
    #[serde(default)]
    abort: bool,
}

fn die(state: &State, request: DieRequest) -> FullResponse {
    let site = &mut state.lock().site;
    match request {
        DieRequest { at: Some(step), process: None, abort } => site.die_at(step, abort),
        DieRequest { at: None, process: Some(process), abort } => site.kill(process, abort),
        _ => return text(StatusCode::BAD_REQUEST, "expected either `at` or `process`"),
    }
    empty(StatusCode::NO_CONTENT)
}
