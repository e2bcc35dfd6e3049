//! `POST` and `GET /api/v2/callback` resolve a wait; `GET /api/v2/callbacks/{run}` shows an operator what is stored.

use http::header::{AUTHORIZATION, CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use http::{HeaderMap, Method, Response};
use serde::Serialize;
use serde_json::value::RawValue;

use super::problem::{Kind, Problem};
use super::query::{Query, decode, unusable};
use super::{Call, body};
use crate::callback::{Callback, State, Status};
use crate::config;
use crate::gateway::{self, RecallError};
use crate::ports::{Body, Outside};
use crate::reference::RunRef;

/// POST carries a payload; GET is for a link in a mail, and carries none; HEAD is a look that changes nothing.
pub(super) async fn complete(
    call: &mut Call<'_, impl Outside>,
    incoming: &mut impl Body,
) -> Result<Response<Vec<u8>>, Problem> {
    let query = Query::parse_callback(call.query)?;
    let (run, topic) = (query.run()?, query.topic()?);
    let status = status(&query)?;
    let posted = call.method == Method::POST;
    if posted {
        body::require_json(call.headers)?;
    } else if looks_ahead(call.headers) {
        let detail = "this would complete the callback: open the link itself, without a preview or prefetch";
        return Err(Problem::new(Kind::Prefetch, detail).no_store());
    }
    let max = config::max_body(call.outside)?;
    let engine = config::engine(call.outside)?;
    let retention = config::retention(call.outside)?;
    if call.method == Method::HEAD {
        return Ok(no_store(Response::default()));
    }

    let bytes;
    let payload = if posted {
        bytes = body::read(incoming, call.headers, max).await?;
        Some(body::object(&bytes)?)
    } else {
        None
    };
    let callback = Callback { run, topic, status, payload };
    let outcome = gateway::resolve(call.outside, &engine, retention, &callback, &call.trace()).await;
    call.answer(outcome).map(no_store)
}

/// The stored callback of a run and a topic.
pub(super) async fn recall(call: &mut Call<'_, impl Outside>, run: &str) -> Result<Response<Vec<u8>>, Problem> {
    authorize_operator(call)?;
    let Some(run) = decode(run) else {
        let detail = "the run in the path is not UTF-8 once percent-decoded";
        return Err(Problem::new(Kind::InvalidParameter, detail).field("run"));
    };
    let run = RunRef::parse(&run).map_err(|error| unusable("run", error))?;
    let topic = Query::parse(call.query)?.topic()?;
    let retention = config::retention(call.outside)?;
    let record = gateway::recall(call.outside, retention, &run, &topic).await.map_err(|error| {
        call.log.warning(error.to_string());
        match error {
            RecallError::Store(_) => {
                Problem::new(Kind::StoreUnavailable, "nothing was changed; ask again, or see /readyz")
            }
            RecallError::Record(_) => Problem::new(Kind::StoreUnavailable, error.to_string()),
        }
    })?;
    let Some(record) = record else {
        let detail = "no callback for this run and topic is stored, or it is older than retention_hours";
        return Err(Problem::new(Kind::NoCallback, detail).field("topic"));
    };

    #[derive(Serialize)]
    struct View<'a> {
        run: &'a str,
        topic: &'a str,
        status: Status,
        payload: Option<&'a RawValue>,
        received: String,
        state: State,
    }
    let view = View {
        run: &record.run,
        topic: &record.topic,
        status: record.status,
        payload: record.payload.as_deref(),
        received: record.received.rfc3339(),
        state: record.state,
    };
    let mut response = Response::new(serde_json::to_vec(&view).unwrap_or_default());
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Ok(no_store(response))
}

/// `operator_token` by `Authorization: Bearer` (RFC 6750). Not set: the path isn't there at all.
fn authorize_operator(call: &Call<'_, impl Outside>) -> Result<(), Problem> {
    let Some(token) = config::operator_token(call.outside)? else {
        return Err(Problem::new(Kind::NotFound, "this path is there once operator_token is set"));
    };
    let given = call.headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok()).and_then(|value| {
        let (scheme, given) = value.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then(|| given.trim())
    });
    match given {
        Some(given) if token.matches(given) => Ok(()),
        _ => {
            let detail = "send the operator token as Authorization: Bearer";
            Err(Problem::new(Kind::Unauthorized, detail).field("Authorization"))
        }
    }
}

fn status(query: &Query) -> Result<Status, Problem> {
    match query.one("status")? {
        None => Ok(Status::Succeeded),
        Some(text) => Status::parse(text).ok_or_else(|| {
            let detail = "`status` must be Succeeded or Failed; left out it is Succeeded";
            Problem::new(Kind::InvalidParameter, detail).field("status")
        }),
    }
}

/// A browser or a mail program that fetches what no one has opened yet: `Sec-Purpose` (Fetch, section 2.2.7), and what
/// older ones send.
fn looks_ahead(headers: &HeaderMap) -> bool {
    ["sec-purpose", "purpose", "x-purpose", "x-moz"].iter().any(|name| {
        headers.get_all(*name).iter().any(|value| {
            let value = value.as_bytes().to_ascii_lowercase();
            ["prefetch", "prerender", "preview"]
                .iter()
                .any(|what| value.windows(what.len()).any(|w| w == what.as_bytes()))
        })
    })
}

fn no_store(mut response: Response<Vec<u8>>) -> Response<Vec<u8>> {
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
