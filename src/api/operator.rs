//! What an operator may see and do: stored deliveries, the drain, the callbacks of a run.

use std::time::Duration;

use http::header::{CONTENT_TYPE, HeaderValue};
use http::{Method, Response, StatusCode};
use serde::Serialize;
use serde_json::value::RawValue;

use super::problem::{Kind, Problem};
use super::query::{Query, decode, unusable};
use super::{RequestContext, no_store};
use crate::callback::{CallbackRecord, State, Status};
use crate::config;
use crate::delivery::{Delivery, DeliveryId, Outcome, Work};
use crate::gateway::operator::OperatorError;
use crate::gateway::{DrainSummary, Gateway};
use crate::json;
use crate::ports::Host;
use crate::reference::RunRef;
use crate::secret::Secret;
use crate::store::DeliveryState;

/// How long a drain that was asked for may take: platforms end a request after 30 s.
pub(super) const BUDGET: Duration = Duration::from_secs(25);

/// How many deliveries a page has, if nothing is said, and at most.
const PAGE: [usize; 2] = [50, 500];

/// A delivery in a list.
#[derive(Serialize)]
struct Listed<'a> {
    id: String,
    kind: &'static str,
    r#ref: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    topic: Option<&'a str>,
    state: &'static str,
    received: String,
    attempts: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_attempt: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_failure: Option<&'a str>,
}

impl<'a> Listed<'a> {
    fn of(stored: DeliveryState, delivery: &'a Delivery<'_>) -> Self {
        let topic = match &delivery.work {
            Work::Start(_) => None,
            Work::Resolve(callback) => Some(callback.topic.as_str()),
        };
        Self {
            id: delivery.id.to_string(),
            kind: delivery.work.kind(),
            r#ref: delivery.work.reference(),
            topic,
            state: stored.as_str(),
            received: delivery.received.rfc3339(),
            attempts: delivery.attempts,
            next_attempt: (stored == DeliveryState::Pending).then(|| delivery.next_attempt.rfc3339()),
            last_failure: delivery.last_failure(),
        }
    }
}

/// `state`: pending if it isn't there.
pub(super) fn state(query: &Query) -> Result<DeliveryState, Problem> {
    match query.one("state")? {
        None | Some("pending") => Ok(DeliveryState::Pending),
        Some("dead") => Ok(DeliveryState::Dead),
        Some(_) => Err(wrong("state", "pending or dead; left out it is pending")),
    }
}

/// `after`: where the last page ended.
pub(super) fn after(query: &Query) -> Result<Option<DeliveryId>, Problem> {
    let read = |text| DeliveryId::parse(text).ok_or_else(|| wrong("after", "the id of a delivery, as `next` gave it"));
    query.one("after")?.map(read).transpose()
}

fn wrong(name: &'static str, rule: &str) -> Problem {
    Problem::new(Kind::InvalidParameter, format!("`{name}` must be {rule}")).field(name)
}

/// `GET /api/v2/deliveries`
pub(super) async fn list(context: &mut RequestContext<'_, '_, impl Host>) -> Result<Response<Vec<u8>>, Problem> {
    let gateway = open(context)?;
    let query = Query::parse(context.query)?;
    let stored = state(&query)?;
    let [usual, most] = PAGE;
    let limit = match query.one("limit")? {
        None => usual,
        Some(text) => text
            .parse()
            .ok()
            .filter(|limit| (1..=most).contains(limit))
            .ok_or_else(|| wrong("limit", &format!("a whole number from 1 to {most}")))?,
    };
    let after = after(&query)?;
    let page = gateway.list(stored, limit, after).await.map_err(|error| refuse(context, error.into()))?;

    #[derive(Serialize)]
    struct View<'a> {
        deliveries: Vec<Listed<'a>>,
        next: Option<String>,
    }
    for (id, delivery) in &page.deliveries {
        if delivery.is_err() {
            context.log.warning(format!("the stored delivery {id} can't be read"));
        }
    }
    let readable = page.deliveries.iter().filter_map(|(_, delivery)| delivery.as_ref().ok());
    let deliveries = readable.map(|delivery| Listed::of(stored, delivery)).collect();
    Ok(json(StatusCode::OK, &View { deliveries, next: page.next.map(|id| id.to_string()) }))
}

/// `GET` and `DELETE /api/v2/deliveries/{id}`
pub(super) async fn one(
    context: &mut RequestContext<'_, '_, impl Host>,
    id: &str,
) -> Result<Response<Vec<u8>>, Problem> {
    let gateway = open(context)?;
    let id = delivery_id(id)?;
    if context.method == Method::DELETE {
        gateway.delete(id).await.map_err(|error| refuse(context, error))?;
        let mut response = no_store(Response::default());
        *response.status_mut() = StatusCode::NO_CONTENT;
        return Ok(response);
    }
    let (stored, delivery) = gateway.show(id).await.map_err(|error| refuse(context, error))?;

    #[derive(Serialize)]
    struct View<'a> {
        #[serde(flatten)]
        listed: Listed<'a>,
        history: Vec<Attempt<'a>>,
        #[serde(skip_serializing_if = "Option::is_none")]
        key: Option<&'a str>,
        request: Option<RequestView<'a>>,
    }
    #[derive(Serialize)]
    struct Attempt<'a> {
        at: String,
        failure: &'a str,
    }
    #[derive(Serialize)]
    struct RequestView<'a> {
        method: &'a str,
        path: &'a str,
        body: Option<&'a RawValue>,
    }
    let request = gateway.request(&delivery).ok();
    let request = request.as_ref().map(|request| RequestView {
        method: request.method().as_str(),
        path: request.uri().path_and_query().map_or("/", |path| path.as_str()),
        body: json::read(request.body()).ok(),
    });
    let history = delivery.history.iter();
    let view = View {
        listed: Listed::of(stored, &delivery),
        history: history.map(|attempt| Attempt { at: attempt.at.rfc3339(), failure: &attempt.failure }).collect(),
        key: delivery.claim.as_ref().map(|claim| claim.key.hash()),
        request,
    };
    Ok(json(StatusCode::OK, &view))
}

/// `POST /api/v2/deliveries/{id}/redeliver`
pub(super) async fn redeliver(
    context: &mut RequestContext<'_, '_, impl Host>,
    id: &str,
) -> Result<Response<Vec<u8>>, Problem> {
    let gateway = open(context)?;
    let id = delivery_id(id)?;
    let outcome = gateway.redeliver(id).await.map_err(|error| refuse(context, error))?;

    #[derive(Serialize)]
    struct View {
        delivery: String,
        state: &'static str,
        #[serde(skip_serializing_if = "Option::is_none")]
        last_failure: Option<String>,
    }
    let (state, last_failure) = redelivered(&outcome);
    let status = if state == "pending" { StatusCode::ACCEPTED } else { StatusCode::OK };
    Ok(json(status, &View { delivery: id.to_string(), state, last_failure }))
}

/// Where a delivery is after it was redelivered, and why it isn't delivered.
pub(super) fn redelivered(outcome: &Outcome) -> (&'static str, Option<String>) {
    let failure = outcome.failure().map(ToString::to_string);
    match outcome {
        Outcome::Delivered { .. } => ("delivered", None),
        Outcome::Duplicate { .. } => ("dropped", None),
        Outcome::Rejected { .. } => ("dead", failure),
        Outcome::Dead { .. } => ("dead", failure.or_else(|| Some("it was attempted for too long".to_owned()))),
        Outcome::Conflict { .. } | Outcome::KeyReused { .. } => {
            ("dead", Some("another delivery of its key was accepted first".to_owned()))
        }
        Outcome::Unreadable => ("pending", Some("the record of its key can't be read".to_owned())),
        Outcome::Pending { .. } | Outcome::NotStored { .. } => {
            ("pending", failure.or_else(|| Some("a drain is at work, and will attempt it".to_owned())))
        }
    }
}

/// `POST /api/v2/deliveries/drain`
pub(super) async fn drain(context: &mut RequestContext<'_, '_, impl Host>) -> Result<Response<Vec<u8>>, Problem> {
    let gateway = open(context)?;
    Ok(json(StatusCode::OK, &drained(context, &gateway).await?))
}

/// A pass that was asked for.
pub(super) async fn drained<'o, O: Host>(
    context: &mut RequestContext<'_, 'o, O>,
    gateway: &Gateway<'o, O>,
) -> Result<DrainSummary, Problem> {
    let drained = gateway.drain(BUDGET).await.map_err(|error| refuse(context, error.into()))?;
    for warning in &drained.warnings {
        context.log.warning(warning.clone());
    }
    Ok(drained)
}

/// `GET /api/v2/callbacks/{run}`: with `topic` the callback that was accepted, without it all of the run.
pub(super) async fn recall(
    context: &mut RequestContext<'_, '_, impl Host>,
    run: &str,
) -> Result<Response<Vec<u8>>, Problem> {
    let gateway = open(context)?;
    let Some(run) = decode(run) else {
        let detail = "the run in the path is not UTF-8 once percent-decoded";
        return Err(Problem::new(Kind::InvalidParameter, detail).field("run"));
    };
    let run = RunRef::parse(&run).map_err(|error| unusable("run", error))?;
    let query = Query::parse(context.query)?;
    if query.one("topic")?.is_none() {
        let records = gateway.callbacks(&run).await.map_err(|error| refuse(context, error))?;
        #[derive(Serialize)]
        struct View<'a> {
            run: &'a str,
            callbacks: Vec<CallbackView<'a>>,
        }
        let view = View { run: run.as_str(), callbacks: records.iter().map(CallbackView::of).collect() };
        return Ok(json(StatusCode::OK, &view));
    }
    let topic = query.topic()?;
    let record = gateway.callback(&run, &topic).await.map_err(|error| refuse(context, error))?;
    let record = record.ok_or_else(|| {
        let detail = "no callback for this run and topic is stored, or it is older than retention_hours";
        Problem::new(Kind::NoCallback, detail).field("topic")
    })?;
    Ok(json(StatusCode::OK, &CallbackView::of(&record)))
}

#[derive(Serialize)]
struct CallbackView<'a> {
    run: &'a str,
    topic: &'a str,
    status: Status,
    payload: Option<&'a RawValue>,
    received: String,
    state: State,
}

impl<'a> CallbackView<'a> {
    fn of(record: &'a CallbackRecord) -> Self {
        Self {
            run: record.run.as_str(),
            topic: record.topic.as_str(),
            status: record.status,
            payload: record.payload.as_deref(),
            received: record.received.rfc3339(),
            state: record.state,
        }
    }
}

/// `operator_token` by `Authorization: Bearer` (RFC 6750). Not set: the path isn't there at all.
pub(super) fn open<'o, O: Host>(context: &RequestContext<'_, 'o, O>) -> Result<Gateway<'o, O>, Problem> {
    let token = token(context)?;
    match super::bearer(context.headers) {
        Some(given) if token.matches(given) => context.gateway(),
        _ => {
            let detail = "send the operator token as Authorization: Bearer";
            Err(Problem::new(Kind::Unauthorized, detail).field("Authorization"))
        }
    }
}

/// What an operator has to show. Not set: there is nothing for operators at all.
pub(super) fn token(context: &RequestContext<'_, '_, impl Host>) -> Result<Secret, Problem> {
    let missing = || Problem::new(Kind::NotFound, "this path is there once operator_token is set");
    config::operator_token(context.host)?.ok_or_else(missing)
}

pub(super) fn delivery_id(text: &str) -> Result<DeliveryId, Problem> {
    let unknown = || Problem::new(Kind::NoDelivery, OperatorError::Unknown.to_string()).field("id");
    DeliveryId::parse(text).ok_or_else(unknown)
}

pub(super) fn refuse(context: &mut RequestContext<'_, '_, impl Host>, error: OperatorError) -> Problem {
    let detail = error.to_string();
    match error {
        OperatorError::Store(_) => {
            context.log.warning(detail);
            Problem::new(Kind::StoreUnavailable, "ask again, or see /readyz")
        }
        OperatorError::Unknown => Problem::new(Kind::NoDelivery, detail).field("id"),
        OperatorError::Damaged => {
            context.log.warning(detail.clone());
            Problem::new(Kind::Damaged, format!("{detail}: DELETE forgets it"))
        }
        OperatorError::InFlight => Problem::new(Kind::UnderWay, detail).field("id").retry_after(None),
    }
}

pub(super) fn json(status: StatusCode, view: &impl Serialize) -> Response<Vec<u8>> {
    let mut response = Response::new(serde_json::to_vec(view).unwrap_or_default());
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    no_store(response)
}
