//! `POST /api/v2/webhook`: any JSON object starts a run, as its param `data`.

use std::borrow::Cow;

use http::{HeaderMap, Response};

use super::problem::{Kind, Problem};
use super::{Call, body, query};
use crate::config;
use crate::delivery::{Key, Payload, Start, Work};
use crate::ports::{Body, Outside};

/// Longest `Idempotency-Key`, in bytes.
const MAX_KEY: usize = 255;

pub(super) async fn post(
    call: &mut Call<'_, '_, impl Outside>,
    incoming: &mut impl Body,
) -> Result<Response<Vec<u8>>, Problem> {
    let query = query::Query::parse(call.query)?;
    let (workflow, dedup) = (query.workflow()?, query.dedup()?);
    body::require_json(call.headers)?;
    let workflow = workflow.ok_or_else(|| query::missing("ref", "the workflow to start"))?;
    let max = config::max_body(call.outside)?;
    let key = idempotency_key(call.headers)?.filter(|_| dedup);
    let gate = call.gate()?;

    let bytes = body::read(incoming, call.headers, max).await?;
    let payload = body::object(&bytes)?;
    let key = key.map(|key| Key::idempotency(key, workflow.as_str(), payload.get()));
    let start = Start { workflow, payload: Payload::Webhook(Cow::Borrowed(payload)) };
    call.deliver(gate, Work::Start(start), key).await
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
