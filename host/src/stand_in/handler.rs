//! Handles requests: the stand-in's own paths first, then scripted behaviour, then the services.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use chrono::Utc;
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use hyper::header::{HeaderValue, LOCATION};
use hyper::{Request, Response, StatusCode};

use super::control;
use super::response::{FullResponse, Payload, empty, text, with_body, with_header};
use super::script::Behaviour;
use super::state::{RecordedRequest, State};
use crate::serve::BoxError;

/// Maximum size of a request body in bytes: more than Sluice ever sends.
const MAX_BODY: usize = 16 << 20;

pub(super) async fn handle(state: Arc<State>, request: Request<Incoming>) -> Result<Response<Payload>, BoxError> {
    let (head, body) = request.into_parts();
    let body = Limited::new(body, MAX_BODY).collect().await?.to_bytes();
    let recorded = RecordedRequest {
        at: Utc::now(),
        method: head.method.clone(),
        path: head.uri.path().to_owned(),
        query: head.uri.query().map(str::to_owned),
        headers: head.headers.clone(),
        body,
    };
    if let Some(response) = control::respond(&state, &recorded) {
        return Ok(response.map(Payload::whole));
    }
    let request = Request::from_parts(head, recorded.body.to_vec());
    let behaviour = {
        let mut state = state.lock();
        let kind = recorded.kind();
        state.record(recorded);
        state.rules.next_for(kind)
    };
    let response = match behaviour {
        None => serve(&state, request)?,
        Some(Behaviour::Status { code, body, retry_after, headers }) => {
            scripted_response(code, body, retry_after, headers)
                .unwrap_or_else(|error| text(StatusCode::INTERNAL_SERVER_ERROR, &format!("script: {error}")))
        }
        Some(Behaviour::Delay { ms }) => {
            // In a separate task, because a service processes a request even if the client disconnects.
            tokio::spawn(async move {
                tokio::time::sleep(Duration::from_millis(ms)).await;
                serve(&state, request)
            })
            .await??
        }
        Some(Behaviour::Hang) => std::future::pending().await,
        Some(Behaviour::CutBefore) => return Err("cut by the script".into()),
        Some(Behaviour::CutAfterActing) => {
            serve(&state, request)?;
            return Err("cut by the script".into());
        }
        Some(Behaviour::CutAfterHead) => return Ok(serve(&state, request)?.map(Payload::none)),
        Some(Behaviour::CutMidBody) => return Ok(serve(&state, request)?.map(Payload::half)),
        Some(Behaviour::Garbage) => with_body(StatusCode::OK, "application/json", &b"\x00\xff{{garbage"[..]),
        Some(Behaviour::Html) => with_body(StatusCode::OK, "text/html;charset=utf-8", LOGIN_PAGE),
        Some(Behaviour::Redirect) => {
            with_header(empty(StatusCode::FOUND), LOCATION, HeaderValue::from_static("/login"))
        }
    };
    Ok(response.map(Payload::whole))
}

/// Lets the services answer. An error closes the connection without a response: the service is dead, or dies.
fn serve(state: &State, request: Request<Vec<u8>>) -> Result<FullResponse, BoxError> {
    let mut locked = state.lock();
    let inner = &mut *locked;
    let response = inner.site.serve(request, &inner.rules.unknown_workflows)?;
    drop(locked);
    state.wake();
    Ok(response?.map(Bytes::from))
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
