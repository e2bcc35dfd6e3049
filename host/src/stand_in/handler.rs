//! Handles requests: the stand-in's own paths first, then scripted behaviour, then the engine.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use chrono::Utc;
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use hyper::header::{HeaderValue, LOCATION};
use hyper::{Request, Response, StatusCode};

use super::response::{FullResponse, Payload, empty, with_body, with_header};
use super::script::Behaviour;
use super::state::{RecordedRequest, State};
use super::{control, engine};
use crate::serve::BoxError;

/// Maximum size of a request body in bytes: more than Sluice ever sends.
const MAX_BODY: usize = 16 << 20;

pub(super) async fn handle(state: Arc<State>, request: Request<Incoming>) -> Result<Response<Payload>, BoxError> {
    let (head, body) = request.into_parts();
    let request = RecordedRequest {
        at: Utc::now(),
        method: head.method,
        path: head.uri.path().to_owned(),
        query: head.uri.query().map(str::to_owned),
        headers: head.headers,
        body: Limited::new(body, MAX_BODY).collect().await?.to_bytes(),
    };
    match control::respond(&state, &request) {
        Some(response) => Ok(response.map(Payload::whole)),
        None => handle_engine_request(state, request).await,
    }
}

async fn handle_engine_request(state: Arc<State>, request: RecordedRequest) -> Result<Response<Payload>, BoxError> {
    let behaviour = {
        let mut state = state.lock();
        state.record(request.clone());
        state.rules.next_for(engine::kind(&request.method, &request.path))
    };
    let response = match behaviour {
        None => engine::process(&state, &request),
        Some(Behaviour::Status { code, body, retry_after, headers }) => {
            scripted_response(code, body, retry_after, headers).unwrap_or_else(|error| {
                with_body(StatusCode::INTERNAL_SERVER_ERROR, "text/plain", format!("script: {error}"))
            })
        }
        Some(Behaviour::Delay { ms }) => {
            // In a separate task, because the engine processes a request even if the client disconnects.
            tokio::spawn(async move {
                tokio::time::sleep(Duration::from_millis(ms)).await;
                engine::process(&state, &request)
            })
            .await?
        }
        Some(Behaviour::Hang) => std::future::pending().await,
        Some(Behaviour::CutBefore) => return Err("cut by the script".into()),
        Some(Behaviour::CutAfterActing) => {
            engine::process(&state, &request);
            return Err("cut by the script".into());
        }
        Some(Behaviour::CutAfterHead) => return Ok(engine::process(&state, &request).map(Payload::none)),
        Some(Behaviour::CutMidBody) => return Ok(engine::process(&state, &request).map(Payload::half)),
        Some(Behaviour::Garbage) => with_body(StatusCode::OK, "application/json", &b"\x00\xff{{garbage"[..]),
        Some(Behaviour::Html) => with_body(StatusCode::OK, "text/html;charset=utf-8", LOGIN_PAGE),
        Some(Behaviour::Redirect) => {
            with_header(empty(StatusCode::FOUND), LOCATION, HeaderValue::from_static("/login"))
        }
    };
    Ok(response.map(Payload::whole))
}

const LOGIN_PAGE: &str = "<!doctype html><title>Log in</title><form><input name=user><button>Log in</button></form>";

fn scripted_response(
    code: u16,
    body: Option<String>,
    retry_after: Option<String>,
    headers: Vec<(String, String)>,
) -> Result<FullResponse, hyper::http::Error> {
    let mut response = Response::builder().status(code);
    for (name, value) in headers {
        response = response.header(name, value);
    }
    if let Some(after) = retry_after {
        response = response.header("retry-after", after);
    }
    response.body(Bytes::from(body.unwrap_or_default()))
}
