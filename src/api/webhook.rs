//! `POST /api/v2/webhook`: starts a run. Its param `data` is the JSON object in the body, or any JSON value if
//! `webhook_any_json` is on. A form from a known sender is converted to a JSON object.

use std::borrow::Cow;

use http::header::CONTENT_TYPE;
use http::{HeaderMap, Response};
use serde_json::value::RawValue;

use super::auth::Admitted;
use super::batch_response::Item;
use super::intake::Received;
use super::problem::{Kind, Problem};
use super::query::{self, Query};
use super::{RequestContext, body};
use crate::config::members;
use crate::delivery::{Key, Payload, Start};
use crate::json::{self, JsonType};
use crate::ports::{Body, Host};
use crate::routing::Input;
use crate::sender::{BodyError, Events, Sender};
use crate::source::{Source, Via};

/// Maximum bytes of an `Idempotency-Key`.
const MAX_KEY: usize = 255;

/// Answers a question that a sender asks by GET or HEAD.
pub(super) fn ask(context: &mut RequestContext<'_, '_, impl Host>) -> Result<Response<Vec<u8>>, Problem> {
    let not_allowed = || {
        let detail = "this path allows POST; GET and HEAD are only for the questions of senders";
        Problem::new(Kind::MethodNotAllowed, detail).allow("POST")
    };
    let query = Query::parse(context.query)?;
    let authentication = context.authenticate(&query).map_err(|problem| match problem.kind {
        Kind::Unauthorized => not_allowed(),
        _ => problem,
    })?;
    let reply = context.answer(&authentication)?.ok_or_else(not_allowed)?;
    Ok(context.reply(reply))
}

/// Starts the workflow that `ref` names, or the workflows of the matching routes. If the request is a question of its
/// sender, answers it instead.
pub(super) async fn post(
    context: &mut RequestContext<'_, '_, impl Host>,
    incoming: &mut impl Body,
) -> Result<Response<Vec<u8>>, Problem> {
    let head = context.head()?;
    // The contract accepts only JSON; a known sender says itself what it posts.
    if !head.authentication.may_know_sender() {
        body::require_json(context.headers)?;
    }
    let idempotency_key = idempotency_key(context.headers)?;

    let Received { gateway, bytes, admitted } = context.receive(head.authentication, incoming).await?;
    let admission = match admitted {
        Admitted::Delivery(admission) => admission,
        Admitted::Question(reply) => return Ok(context.reply(reply)),
    };
    let table = if head.workflow.is_none() { context.config.routes()? } else { None };
    if head.workflow.is_none() && table.is_none() {
        return Err(query::missing("ref", "the workflow to start, or set the variable `routes`"));
    }
    let (payloads, is_batch) = match payloads(context, admission.sender.as_ref(), &bytes)? {
        Payloads::One(payload) => (vec![payload], false),
        Payloads::Batch(payloads) => (payloads.into_iter().map(Cow::Owned).collect(), true),
    };
    let source = admission.source();
    // Only routes filter by the type.
    let type_of = |payload| admission.event_type(context.headers, payload);
    let event_types: Vec<_> = payloads.iter().map(|payload| table.as_ref().and_then(|_| type_of(payload))).collect();
    let mut items = Vec::new();
    for (index, (payload, event_type)) in payloads.iter().zip(&event_types).enumerate() {
        let identity = match is_batch {
            true => admission.item_identity(index, payload.get().as_bytes()),
            false => admission.identity(),
        };
        let key = |workflow: &str| match (&identity, idempotency_key) {
            _ if !head.dedup => None,
            // What the sender itself says takes precedence over `Idempotency-Key`, which anyone could have added.
            (Some(identity), _) => Key::of_identity(admission.key_scope(), identity, workflow),
            (None, Some(key)) => {
                let key = if is_batch { format!("{key}#{index}") } else { key.to_owned() };
                Some(Key::idempotency(&key, workflow, payload.get()).within(source.map(Source::name)))
            }
            (None, None) => None,
        };
        let via = if is_batch { Via::BatchElement(index) } else { Via::Webhook };
        let payload = &**payload;
        let starts: Vec<(Start<'_>, Option<Key>)> = match &head.workflow {
            Some(workflow) => {
                context.permit(&admission, &gateway, via, workflow)?;
                let key = key(workflow.as_str());
                vec![(Start::new(workflow.clone(), Payload::Webhook(Cow::Borrowed(payload))), key)]
            }
            None => {
                let input = Input::webhook(admission.sender_name, event_type.as_deref(), payload)
                    .of_source(source.map(Source::name));
                let starts = table.iter().flat_map(|table| table.matching(&input)).map(|route| {
                    context.permit(&admission, &gateway, Via::Route(&route.name()), route.workflow())?;
                    let start = route.start(&input, Payload::Webhook(Cow::Borrowed(payload)))?;
                    Ok((start, key(&route.name())))
                });
                starts.collect::<Result<_, Problem>>()?
            }
        };
        items.push(starts);
    }
    let mut items = items.into_iter().map(|starts| starts.into_iter().map(|(start, key)| (admission.mark(start), key)));
    let response = match is_batch {
        false => {
            let starts = items.next().into_iter().flatten().collect();
            context.start(gateway, starts).await
        }
        true => {
            let mut batch = Vec::new();
            for starts in items {
                let count = batch.len();
                batch.extend(starts.map(|start| Item { event: None, start: Some(start) }));
                if batch.len() == count {
                    batch.push(Item { event: None, start: None });
                }
            }
            context.deliver_all(gateway, batch).await
        }
    };
    Ok(admission.prescribed(response?))
}

/// The payloads of a request.
enum Payloads<'b> {
    One(Cow<'b, RawValue>),
    Batch(Vec<Box<RawValue>>),
}

/// Reads the payloads: JSON objects in the forms of the sender, if that is known. Otherwise one object, or any JSON
/// value if `webhook_any_json` is on.
fn payloads<'b>(
    context: &RequestContext<'_, '_, impl Host>,
    sender: Option<&Sender>,
    bytes: &'b [u8],
) -> Result<Payloads<'b>, Problem> {
    if let Some(sender) = sender {
        let content_type = body::text_of(context.headers, CONTENT_TYPE).unwrap_or_default();
        match sender.body.events(content_type, bytes) {
            Ok(Events::One(event)) => return Ok(Payloads::One(Cow::Owned(event))),
            Ok(Events::Batch(events)) => return Ok(Payloads::Batch(events)),
            Err(error @ BodyError::Type { .. }) => {
                return Err(body::unsupported(context.headers, "application/json").detail(error.to_string()));
            }
            Err(BodyError::Json { .. }) if context.config.get(&members::WEBHOOK_ANY_JSON)? => {}
            Err(error) => return Err(body::invalid(error.to_string())),
        }
    }
    match json::value(bytes) {
        Ok(object) if json::type_of(object) == JsonType::Object => Ok(object),
        any if context.config.get(&members::WEBHOOK_ANY_JSON)? => {
            any.map_err(|error| body::invalid(format!("the body must be JSON, but {error}")))
        }
        Ok(other) => Err(body::invalid(format!(
            "the body must be a JSON object, but it is {}: send an object, or set `webhook_any_json` in `settings` to `true`",
            json::type_of(other)
        ))),
        Err(error) => Err(body::not_an_object(&error)),
    }
    .map(|payload| Payloads::One(Cow::Borrowed(payload)))
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
