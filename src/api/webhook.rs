//! `POST /api/v2/webhook`: any JSON object starts a run, as its param `data`.

use std::borrow::Cow;

use http::header::{CONTENT_TYPE, HeaderValue};
use http::{HeaderMap, Response};

use super::auth::{Entry, Proof};
use super::problem::{Kind, Problem};
use super::{RequestContext, body, query};
use crate::config;
use crate::delivery::{Key, Payload, Start, Work};
use crate::ports::{Body, Host};
use crate::routing::Input;
use crate::sender::{self, Challenge};

/// Longest `Idempotency-Key`, in bytes.
const MAX_KEY: usize = 255;

pub(super) async fn post(
    context: &mut RequestContext<'_, '_, impl Host>,
    incoming: &mut impl Body,
) -> Result<Response<Vec<u8>>, Problem> {
    context.check_origin()?;
    let query = query::Query::parse(context.query)?;
    let (workflow, dedup) = (query.workflow()?, query.dedup()?);
    let entry = context.enter(&query)?;
    // Some of those who are known post forms; the contract's own type is JSON.
    let is_form = entry.preset().is_some() && body::text_of(context.headers, CONTENT_TYPE).is_some_and(sender::is_form);
    if !is_form {
        body::require_json(context.headers)?;
    }
    let max = config::max_body(context.host)?;
    let key = idempotency_key(context.headers)?;
    let gateway = context.gateway()?;

    let bytes = body::read(incoming, context.headers, max).await?;
    let proof = context.verify(&entry, &bytes)?;
    if let Some(answer) = challenged(context, &entry, proof.as_ref(), &bytes) {
        return Ok(answer);
    }
    let table = if workflow.is_none() { config::routes(context.host)? } else { None };
    if workflow.is_none() && table.is_none() {
        return Err(query::missing("ref", "the workflow to start, or set routes"));
    }
    let form;
    let payload = if is_form {
        form = sender::form_object(&bytes)
            .map_err(|error| Problem::new(Kind::InvalidBody, error.to_string()).field("body"))?;
        &*form
    } else {
        body::object(&bytes)?
    };
    let key = |workflow: &str| match (&proof, key) {
        _ if !dedup => None,
        // What is signed goes before what anyone could write.
        (Some(Proof { sender, verified, .. }), _) => Some(Key::signed(sender, &verified.identity, workflow)),
        (None, Some(key)) => Some(Key::idempotency(key, workflow, payload.get())),
        (None, None) => None,
    };
    if let Some(workflow) = workflow {
        let key = key(workflow.as_str());
        let start = Start::new(workflow, Payload::Webhook(Cow::Borrowed(payload)));
        return context.deliver(gateway, Work::Start(start), key).await;
    }
    let kind = entry.kind(context.headers, payload);
    let input = Input::webhook(entry.sender(), kind.as_deref(), payload);
    let starts: Result<Vec<_>, Problem> = table
        .iter()
        .flat_map(|table| table.matching(&input))
        .map(|route| Ok((route.start(&input, Payload::Webhook(Cow::Borrowed(payload)))?, key(&route.name()))))
        .collect();
    context.start(gateway, starts?).await
}

/// The answer to a sender that asks whether this endpoint is the one that it should be.
fn challenged(
    context: &mut RequestContext<'_, '_, impl Host>,
    entry: &Entry,
    proof: Option<&Proof>,
    body: &[u8],
) -> Option<Response<Vec<u8>>> {
    let challenge = Challenge::detect(entry.preset(), context.headers, body)?;
    if challenge.requires_signature() && proof.is_none() {
        return None;
    }
    let answer = challenge.response(proof.and_then(|proof| proof.secret.as_ref()))?;
    context.log.outcome("challenge");
    let mut response = Response::new(answer.body.into_bytes());
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(answer.content_type));
    Some(response)
}

/// `Idempotency-Key` (draft-ietf-httpapi-idempotency-key-header-07, section 2): a string in quotes; many send it bare.
fn idempotency_key(headers: &HeaderMap) -> Result<Option<&str>, Problem> {
    let wrong = |what: &str| {
        let detail = format!("the Idempotency-Key {what}: send one, of 1 to {MAX_KEY} visible ASCII characters");
        Err(Problem::new(Kind::InvalidParameter, detail).field("Idempotency-Key"))
    };
    let mut values = headers.get_all("idempotency-key").iter();
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return wrong("is there more than once");
    }
    let Ok(text) = value.to_str() else { return wrong("can't be read") };
    let key = text.trim();
    let key = key.strip_prefix('"').and_then(|key| key.strip_suffix('"')).unwrap_or(key);
    match key.len() {
        0 => wrong("is empty"),
        1..=MAX_KEY if key.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' ') => Ok(Some(key)),
        1..=MAX_KEY => wrong("can't be read"),
        _ => wrong("is too long"),
    }
}
