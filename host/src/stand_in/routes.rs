//! From a request to its answer, by way of the script.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use chrono::Utc;
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use hyper::header::{HeaderValue, LOCATION};
use hyper::{Request, Response, StatusCode};

use super::answer::{Answer, Payload, empty, of_type, with};
use super::script::Behaviour;
use super::state::{Recorded, State};
use super::{control, engine};
use crate::serve::BoxError;

/// More than Sluice ever sends.
const MAX_BODY: usize = 16 << 20;

pub(super) async fn serve(state: Arc<State>, request: Request<Incoming>) -> Result<Response<Payload>, BoxError> {
    let (head, body) = request.into_parts();
    let request = Recorded {
        at: Utc::now(),
        method: head.method,
        path: head.uri.path().to_owned(),
        query: head.uri.query().map(str::to_owned),
        headers: head.headers,
        body: Limited::new(body, MAX_BODY).collect().await?.to_bytes(),
    };
    match control::answer(&state, &request) {
        Some(answer) => Ok(answer.map(Payload::whole)),
        None => scripted(state, request).await,
    }
}

async fn scripted(state: Arc<State>, request: Recorded) -> Result<Response<Payload>, BoxError> {
    let behaviour = {
        let mut state = state.lock();
        state.record(request.clone());
        state.orders.take(engine::kind(&request.method, &request.path))
    };
    let answer = match behaviour {
        None => engine::act(&state, &request),
        Some(Behaviour::Status { code, body, retry_after, headers }) => ordered(code, body, retry_after, headers)
            .unwrap_or_else(|error| {
                of_type(StatusCode::INTERNAL_SERVER_ERROR, "text/plain", format!("script: {error}"))
            }),
        Some(Behaviour::Delay { ms }) => {
            // A task of its own: the engine doesn't stop because nobody listens any more.
            tokio::spawn(async move {
                tokio::time::sleep(Duration::from_millis(ms)).await;
                engine::act(&state, &request)
            })
            .await?
        }
        Some(Behaviour::Hang) => std::future::pending().await,
        Some(Behaviour::CutBefore) => return Err("cut by the script".into()),
        Some(Behaviour::CutAfterActing) => {
            engine::act(&state, &request);
            return Err("cut by the script".into());
        }
        Some(Behaviour::CutAfterHead) => return Ok(engine::act(&state, &request).map(Payload::none)),
        Some(Behaviour::CutMidBody) => return Ok(engine::act(&state, &request).map(Payload::half)),
        Some(Behaviour::Garbage) => of_type(StatusCode::OK, "application/json", &b"\x00\xff{{garbage"[..]),
        Some(Behaviour::Html) => of_type(StatusCode::OK, "text/html;charset=utf-8", LOGIN),
        Some(Behaviour::Redirect) => with(empty(StatusCode::FOUND), LOCATION, HeaderValue::from_static("/login")),
    };
    Ok(answer.map(Payload::whole))
}

const LOGIN: &str = "<!doctype html><title>Log in</title><form><input name=user><button>Log in</button></form>";

fn ordered(
    code: u16,
    body: Option<String>,
    retry_after: Option<String>,
    headers: Vec<(String, String)>,
) -> Result<Answer, hyper::http::Error> {
    let mut answer = Response::builder().status(code);
    for (name, value) in headers {
        answer = answer.header(name, value);
    }
    if let Some(after) = retry_after {
        answer = answer.header("retry-after", after);
    }
    answer.body(Bytes::from(body.unwrap_or_default()))
}
