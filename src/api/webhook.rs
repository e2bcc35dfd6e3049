//! `POST /api/v2/webhook`: starts a run. Its param `data` is the JSON object in the body, or any JSON value if
//! `webhook_any_json` is on. A form from a known sender is converted to a JSON object.

use std::borrow::Cow;

use http::header::{CONTENT_TYPE, HeaderValue};
use http::{HeaderMap, Response};
use serde_json::value::RawValue;

use super::auth::{Authentication, VerifiedSender};
use super::intake::Received;
use super::problem::{Kind, Problem};
use super::{RequestContext, body, query};
use crate::config;
use crate::delivery::{Key, Payload, Start, Work};
use crate::json::{self, JsonType};
use crate::ports::{Body, Host};
use crate::routing::Input;
use crate::sender::{self, Challenge};

/// Maximum bytes of an `Idempotency-Key`.
const MAX_KEY: usize = 255;

/// Starts the workflow that `ref` names, or the workflows of the matching routes. If the request is a challenge,
/// responds to it instead.
pub(super) async fn post(
    context: &mut RequestContext<'_, '_, impl Host>,
    incoming: &mut impl Body,
) -> Result<Response<Vec<u8>>, Problem> {
    let head = context.head()?;
    let authentication = head.authentication;
    // The contract accepts only JSON, but some of the known senders post forms.
    let is_form = authentication.preset().is_some() && body::is_form(context.headers);
    if !is_form {
        body::require_json(context.headers)?;
    }
    let key = idempotency_key(context.headers)?;

    let Received { gateway, bytes, sender } = context.receive(&authentication, incoming).await?;
    if let Some(response) = answer_challenge(context, &authentication, sender.as_ref(), &bytes) {
        return Ok(response);
    }
    let table = if head.workflow.is_none() { config::routes(context.host)? } else { None };
    if head.workflow.is_none() && table.is_none() {
        return Err(query::missing("ref", "the workflow to start, or set the variable `routes`"));
    }
    let form;
    let payload = if is_form {
        form = sender::form_object(&bytes)
            .map_err(|error| Problem::new(Kind::InvalidBody, error.to_string()).field("body"))?;
        &*form
    } else {
        payload(context.host, &bytes)?
    };
    let key = |workflow: &str| match (&sender, key) {
        _ if !head.dedup => None,
        // A signed id takes precedence over `Idempotency-Key`, which anyone could have added.
        (Some(VerifiedSender { name, verified, .. }), _) => Some(Key::signed(name, &verified.identity, workflow)),
        (None, Some(key)) => Some(Key::idempotency(key, workflow, payload.get())),
        (None, None) => None,
    };
    if let Some(workflow) = head.workflow {
        let key = key(workflow.as_str());
        let start = Start::new(workflow, Payload::Webhook(Cow::Borrowed(payload)));
        return context.deliver(gateway, Work::Start(start), key).await;
    }
    let event_type = authentication.event_type(context.headers, payload);
    let input = Input::webhook(authentication.sender(), event_type.as_deref(), payload);
    let starts: Result<Vec<_>, Problem> = table
        .iter()
        .flat_map(|table| table.matching(&input))
        .map(|route| Ok((route.start(&input, Payload::Webhook(Cow::Borrowed(payload)))?, key(&route.name()))))
        .collect();
    context.start(gateway, starts?).await
}

/// Parses a payload: a JSON object, or any JSON value if `webhook_any_json` is on.
fn payload<'b>(host: &impl Host, bytes: &'b [u8]) -> Result<&'b RawValue, Problem> {
    match json::value(bytes) {
        Ok(object) if json::type_of(object) == JsonType::Object => Ok(object),
        any if config::webhook_any_json(host)? => {
            any.map_err(|error| body::invalid(format!("the body must be JSON, but {error}")))
        }
        Ok(other) => Err(body::invalid(format!(
            "the body must be a JSON object, but it is {}: send an object, or set the variable `webhook_any_json` to `true`",
            json::type_of(other)
        ))),
        Err(error) => Err(body::not_an_object(&error)),
    }
}

/// Returns the response to a sender's challenge. `None` if the request is not a challenge, or lacks a required
/// signature.
fn answer_challenge(
    context: &mut RequestContext<'_, '_, impl Host>,
    authentication: &Authentication,
    sender: Option<&VerifiedSender>,
    body: &[u8],
) -> Option<Response<Vec<u8>>> {
    let challenge = Challenge::detect(authentication.preset(), context.headers, body)?;
    if challenge.requires_signature() && sender.is_none() {
        return None;
    }
    let answer = challenge.response(sender.and_then(|sender| sender.secret.as_ref()))?;
    context.log.outcome("challenge");
    let mut response = Response::new(answer.body.into_bytes());
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(answer.content_type));
    Some(response)
}

/// Reads `Idempotency-Key` (draft-ietf-httpapi-idempotency-key-header-07, section 2). The draft requires a quoted
/// string, but many senders omit the quotes.
fn idempotency_key(headers: &HeaderMap) -> Result<Option<&str>, Problem> {
    let invalid = |flaw: &str| {
        let detail = format!("the Idempotency-Key {flaw}: send one of 1 to {MAX_KEY} visible ASCII characters");
        Err(Problem::new(Kind::InvalidParameter, detail).field("Idempotency-Key"))
    };
    let mut values = headers.get_all("idempotency-key").iter();
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return invalid("is present more than once");
    }
    let Ok(text) = value.to_str() else { return invalid("contains a character that is not visible ASCII") };
    let key = text.trim();
    let key = key.strip_prefix('"').and_then(|key| key.strip_suffix('"')).unwrap_or(key);
    match key.len() {
        0 => invalid("is empty"),
        1..=MAX_KEY if key.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' ') => Ok(Some(key)),
        1..=MAX_KEY => invalid("contains a character that is not visible ASCII"),
        _ => invalid("is too long"),
    }
}
