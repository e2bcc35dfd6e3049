//! The three engine requests that Sluice sends: submit, event and query.

#![allow(clippy::result_large_err, reason = "an error response is as large as a successful one, and moved once")]

use hyper::header::CONTENT_TYPE;
use hyper::{Method, StatusCode};
use percent_encoding::percent_decode_str;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::response::{FullResponse, crash, empty, json, method_not_allowed, problem, unknown_path, unknown_reference};
use super::runs::{Event, Run, Status, Submit};
use super::script::RequestKind;
use super::state::{RecordedRequest, State};

/// The target of a path, regardless of the method.
#[derive(Debug, PartialEq, Eq)]
enum Route {
    Submit(String),
    Event(String),
    Query,
}

fn route(path: &str) -> Option<Route> {
    let rest = path.strip_prefix("/api/v1/")?;
    let decode = |segment: &str| percent_decode_str(segment).decode_utf8_lossy().into_owned();
    match rest.split('/').collect::<Vec<_>>()[..] {
        ["workflow", workflow, "submit"] if !workflow.is_empty() => Some(Route::Submit(decode(workflow))),
        ["workflowrun", run, "event"] if !run.is_empty() => Some(Route::Event(decode(run))),
        ["workflowrun", "query"] => Some(Route::Query),
        _ => None,
    }
}

/// The kind of an engine request; `None` for any other path or method.
pub(super) fn kind(method: &Method, path: &str) -> Option<RequestKind> {
    match (method.as_str(), route(path)?) {
        ("POST", Route::Submit(_)) => Some(RequestKind::Submit),
        ("PUT", Route::Event(_)) => Some(RequestKind::Event),
        ("GET", Route::Query) => Some(RequestKind::Query),
        _ => None,
    }
}

/// Processes an engine request.
pub(super) fn process(state: &State, request: &RecordedRequest) -> FullResponse {
    let path = &request.path;
    let method = request.method.as_str();
    let result = match (method, route(path)) {
        ("POST", Some(Route::Submit(workflow))) => submit(state, request, workflow),
        ("PUT", Some(Route::Event(run))) => event(state, request, &run),
        ("GET", Some(Route::Query)) => query(state, request),
        (_, Some(Route::Submit(_))) => Err(method_not_allowed(method, "POST", path)),
        (_, Some(Route::Event(_))) => Err(method_not_allowed(method, "PUT", path)),
        (_, Some(Route::Query)) => Err(method_not_allowed(method, "GET", path)),
        (_, None) => Err(unknown_path(path)),
    };
    result.unwrap_or_else(|error| error)
}

fn submit(state: &State, request: &RecordedRequest, workflow: String) -> Result<FullResponse, FullResponse> {
    let body: Submit = parse_body(request)?;
    let start = match parameter(request, "start").as_deref() {
        None | Some("" | "false") => false,
        Some("true") => true,
        Some(other) => return Err(invalid_parameter("start", other, request)),
    };
    let run = state.lock().submit(workflow, body, start, request.body.len()).map_err(unknown_reference)?;
    Ok(json(StatusCode::OK, &run))
}

fn event(state: &State, request: &RecordedRequest, run: &str) -> Result<FullResponse, FullResponse> {
    let body: Event = parse_body(request)?;
    if !matches!(body.status, Status::Succeeded | Status::Failed) {
        return Err(invalid_body(request));
    }
    state.lock().resolve(run, body).map_err(unknown_reference)?;
    Ok(empty(StatusCode::OK))
}

fn query(state: &State, request: &RecordedRequest) -> Result<FullResponse, FullResponse> {
    let number = |name| match parameter(request, name) {
        None => Ok(None),
        Some(text) => text.parse::<usize>().map(Some).map_err(|_| invalid_parameter(name, &text, request)),
    };
    let (limit, page) = (number("limit")?, number("page")?.unwrap_or(0));
    if limit == Some(0) {
        return Err(crash(&request.path));
    }
    let mut labels = Vec::new();
    for list in parameters(request).filter(|(name, _)| name == "labels").map(|(_, list)| list) {
        for label in list.split(',') {
            // The framework has already decoded the query; the engine decodes each label a second time.
            let label = percent_decode_str(&label.replace('+', " ")).decode_utf8_lossy().into_owned();
            // As in the engine, a value ends at the next `=`, and a label without a value causes an exception.
            let (name, value) = label.split_once('=').ok_or_else(|| crash(&request.path))?;
            let value = value.trim_start_matches('=').split('=').next().unwrap_or_default();
            labels.push((name.to_owned(), value.to_owned()));
        }
    }

    let state = state.lock();
    let found = state
        .with_labels(&labels)
        .into_iter()
        .skip(limit.unwrap_or(0).saturating_mul(page))
        .take(limit.unwrap_or(usize::MAX))
        .collect();
    Ok(json(StatusCode::OK, &Page::new(found, limit, page)))
}

/// A Spring `Page`. As in the engine, the total counts the elements of this page and the previous ones only.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Page<'a> {
    content: Vec<&'a Run>,
    pageable: Value,
    total_pages: usize,
    total_elements: usize,
    last: bool,
    size: usize,
    number: usize,
    sort: Value,
    number_of_elements: usize,
    first: bool,
    empty: bool,
}

impl Page<'_> {
    fn new(content: Vec<&Run>, limit: Option<usize>, number: usize) -> Page<'_> {
        let here = content.len();
        let size = limit.unwrap_or(here);
        let number = if limit.is_some() { number } else { 0 };
        let offset = size.saturating_mul(number);
        let sort = json!({"empty": limit.is_none(), "sorted": limit.is_some(), "unsorted": limit.is_none()});
        let pageable = match limit {
            None => json!("INSTANCE"),
            Some(_) => json!({
                "pageNumber": number, "pageSize": size, "sort": sort,
                "offset": offset, "paged": true, "unpaged": false,
            }),
        };
        // The engine knows the number of previous elements only on a page that isn't full.
        let total_elements = if here > 0 && here < size { offset + here } else { here };
        let total_pages = if size == 0 { 1 } else { total_elements.div_ceil(size) };
        Page {
            pageable,
            total_pages,
            total_elements,
            last: number + 1 >= total_pages,
            size,
            number,
            sort,
            number_of_elements: here,
            first: number == 0,
            empty: content.is_empty(),
            content,
        }
    }
}

fn parameters(request: &RecordedRequest) -> impl Iterator<Item = (String, String)> {
    form_urlencoded::parse(request.query.as_deref().unwrap_or_default().as_bytes()).into_owned()
}

fn parameter(request: &RecordedRequest, name: &str) -> Option<String> {
    parameters(request).find(|(found, _)| found == name).map(|(_, value)| value)
}

fn parse_body<T: DeserializeOwned>(request: &RecordedRequest) -> Result<T, FullResponse> {
    let content_type = request.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let essence = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    if essence != "application/json" && !(essence.starts_with("application/") && essence.ends_with("+json")) {
        let detail = format!("Content-Type '{content_type}' is not supported.");
        return Err(problem(StatusCode::UNSUPPORTED_MEDIA_TYPE, &detail, &request.path));
    }
    serde_json::from_slice(&request.body).map_err(|_| invalid_body(request))
}

fn invalid_body(request: &RecordedRequest) -> FullResponse {
    problem(StatusCode::BAD_REQUEST, "Failed to read request", &request.path)
}

fn invalid_parameter(name: &str, value: &str, request: &RecordedRequest) -> FullResponse {
    problem(StatusCode::BAD_REQUEST, &format!("Failed to convert '{name}' with value: '{value}'"), &request.path)
}
