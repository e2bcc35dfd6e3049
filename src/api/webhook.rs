//! `POST /api/v2/webhook`: starts a run. Its param `data` is the JSON object in the body, or any JSON value if
//! `webhook_any_json` is on. A form from a known sender is converted to a JSON object.

use std::borrow::Cow;

use http::{HeaderMap, HeaderName, Response};
use serde_json::value::RawValue;

use super::auth::{Admission, Admitted};
use super::batch_response::Item;
use super::endpoint::Endpoint;
use super::intake::Received;
use super::problem::{Kind, Problem};
use super::query::{self, Query};
use super::{RequestContext, body};
use crate::config::members;
use crate::delivery::{Key, Payload, Start};
use crate::event::MediaType;
use crate::json::{self, Buffer, JsonType};
use crate::ports::{Body, Host};
use crate::reference::WorkflowRef;
use crate::routing::{Input, Table};
use crate::sender::{BodyError, Events, Sender};
use crate::source::{Source, Via};

/// Maximum bytes of an `Idempotency-Key`.
const MAX_KEY: usize = 255;
/// `Idempotency-Key`: a key that the sender has chosen.
const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// Answers a question that a sender asks by GET or HEAD.
pub(super) fn ask(context: &mut RequestContext<'_, '_, impl Host>) -> Result<Response<Vec<u8>>, Problem> {
    let not_allowed = || {
        let detail = "this path allows POST; GET and HEAD are only for the questions of senders";
        Problem::new(Kind::MethodNotAllowed, detail).allow(Endpoint::Webhook.methods())
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
    let targets = Targets {
        admission: &admission,
        headers: context.headers,
        workflow: head.workflow,
        table: table.as_ref(),
        key: idempotency_key.filter(|_| head.dedup),
        dedup: head.dedup,
    };
    let permit = |via: Via<'_>, workflow: &WorkflowRef| context.permit(&admission, &gateway, via, workflow);
    let response = match payloads(context, admission.sender.as_ref(), &bytes)? {
        Events::One(payload) => {
            let event_type = targets.event_type(&payload);
            let starts = targets.starts(&payload, event_type.as_deref(), None, &permit)?;
            context.start(gateway, starts).await
        }
        Events::Batch(payloads) => {
            let event_types: Vec<_> = payloads.iter().map(|payload| targets.event_type(payload)).collect();
            let mut items = Vec::with_capacity(payloads.len());
            for (at, (payload, event_type)) in payloads.iter().zip(&event_types).enumerate() {
                let starts = targets.starts(payload, event_type.as_deref(), Some(at), &permit)?;
                if starts.is_empty() {
                    items.push(Item { event: None, start: None });
                }
                items.extend(starts.into_iter().map(|start| Item { event: None, start: Some(start) }));
            }
            context.deliver_all(gateway, items).await
        }
    };
    Ok(admission.prescribed(response?))
}

/// The rules that select the workflows of a webhook: `ref` in the query, otherwise the routes.
struct Targets<'t> {
    admission: &'t Admission<'t, 't>,
    headers: &'t HeaderMap,
    workflow: Option<WorkflowRef>,
    table: Option<&'t Table>,
    /// The `Idempotency-Key`.
    key: Option<&'t str>,
    /// Whether duplicates are detected.
    dedup: bool,
}

impl Targets<'_> {
    /// Returns the type of an event. Only routes filter by it.
    fn event_type(&self, payload: &RawValue) -> Option<String> {
        self.table.and_then(|_| self.admission.event_type(self.headers, payload))
    }

    /// Returns the runs that a webhook, or the event of a batch at `index`, starts; none if no route matches. `permit`
    /// checks that each may be started.
    fn starts<'a>(
        &'a self,
        payload: &'a RawValue,
        event_type: Option<&'a str>,
        index: Option<usize>,
        permit: &dyn Fn(Via<'_>, &WorkflowRef) -> Result<(), Problem>,
    ) -> Result<Vec<(Start<'a>, Option<Key>)>, Problem> {
        let body = || Payload::Webhook(Cow::Borrowed(payload));
        let in_batch = index.map(Via::BatchElement);
        if let Some(workflow) = &self.workflow {
            permit(in_batch.unwrap_or(Via::Webhook), workflow)?;
            let key = self.key(payload, index, workflow.as_str());
            return Ok(vec![(self.admission.mark(Start::new(workflow.clone(), body())), key)]);
        }
        let input = Input::webhook(self.admission.sender_name, event_type, payload).of_source(self.source());
        let routes = self.table.iter().flat_map(|table| table.matching(&input));
        let starts = routes.map(|route| {
            let name = route.name();
            permit(in_batch.unwrap_or(Via::Route(&name)), route.workflow())?;
            Ok((self.admission.mark(route.start(&input, body())?), self.key(payload, index, &name)))
        });
        starts.collect()
    }

    fn source(&self) -> Option<&str> {
        self.admission.source().map(Source::name)
    }

    /// Returns the idempotency key for a workflow.
    fn key(&self, payload: &RawValue, index: Option<usize>, workflow: &str) -> Option<Key> {
        if !self.dedup {
            return None;
        }
        let identity = match index {
            None => self.admission.identity(),
            Some(index) => self.admission.item_identity(index, payload.get().as_bytes()),
        };
        // What the sender itself says takes precedence over `Idempotency-Key`, which anyone could have added.
        if let Some(identity) = identity {
            return Key::of_identity(self.admission.key_scope(), &identity, workflow);
        }
        let key = match index {
            None => Cow::Borrowed(self.key?),
            Some(index) => Cow::Owned(format!("{}#{index}", self.key?)),
        };
        Some(Key::idempotency(&key, workflow, payload.get()).within(self.source()))
    }
}

/// Reads the payloads: JSON objects in the forms of the sender, if that is known. Otherwise one object, or any JSON
/// value if `webhook_any_json` is on.
fn payloads<'b>(
    context: &RequestContext<'_, '_, impl Host>,
    sender: Option<&Sender>,
    bytes: &'b Buffer,
) -> Result<Events<'b>, Problem> {
    if let Some(sender) = sender {
        let media_type = body::content_type(context.headers).filter(MediaType::is_utf8);
        let media_type = media_type.ok_or_else(|| body::unsupported(context.headers, "application/json"))?;
        match sender.body.events(media_type.as_str(), bytes) {
            Err(error @ BodyError::Type { .. }) => {
                return Err(body::unsupported(context.headers, "application/json").detail(error.to_string()));
            }
            Err(BodyError::Json { .. }) if context.config.get(&members::WEBHOOK_ANY_JSON)? => {}
            events => return events.map_err(|error| body::invalid(error.to_string())),
        }
    }
    let payload = match json::value(bytes) {
        Ok(object) if json::type_of(object) == JsonType::Object => object,
        any if context.config.get(&members::WEBHOOK_ANY_JSON)? => {
            any.map_err(|error| body::invalid(format!("the body must be JSON, but {error}")))?
        }
        Ok(other) => {
            return Err(body::invalid(format!(
                "the body must be a JSON object, but it is {}: send an object, or set `webhook_any_json` in `settings` to `true`",
                json::type_of(other)
            )));
        }
        Err(error) => return Err(body::not_an_object(&error)),
    };
    Ok(Events::One(Cow::Borrowed(payload)))
}

/// Reads `Idempotency-Key` (draft-ietf-httpapi-idempotency-key-header-07, section 2). The draft requires a quoted
/// string, but many senders omit the quotes.
fn idempotency_key(headers: &HeaderMap) -> Result<Option<&str>, Problem> {
    let invalid = |flaw: &str| {
        let detail = format!("the Idempotency-Key {flaw}: send one of 1 to {MAX_KEY} visible ASCII characters");
        Err(Problem::new(Kind::InvalidParameter, detail).field("Idempotency-Key"))
    };
    let mut values = headers.get_all(IDEMPOTENCY_KEY).iter();
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
