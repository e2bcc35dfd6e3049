//! The operator API: stored deliveries, drains, and the callbacks of a run.

use std::time::Duration;

use http::{Method, Response, StatusCode};
use serde::Serialize;
use serde_json::value::RawValue;

use super::problem::{Kind, Problem};
use super::query::{Query, decode, invalid_reference};
use super::{RequestContext, filter, respond};
use crate::callback::{CallbackRecord, State, Status};
use crate::config::{Member, Token, members};
use crate::delivery::{Delivery, DeliveryId, Outcome};
use crate::gateway::operator::OperatorError;
use crate::gateway::{DrainSummary, Eagerness, Gateway};
use crate::json;
use crate::ports::Host;
use crate::reference::RunRef;
use crate::secret::Secret;
use crate::store::DeliveryState;
use crate::time::Timestamp;

/// Time limit of a drain, or of another long operation, that the operator requested. Some platforms end a request after
/// 30 s.
pub(super) const REQUESTED_DRAIN_BUDGET: Duration = Duration::from_secs(25);

/// Number of deliveries on a page if `limit` is not given.
const DEFAULT_LIMIT: usize = 50;
/// The longest `after` of a page of callbacks, in bytes.
const MAX_CURSOR: usize = 64;
/// Maximum of `limit`.
const MAX_LIMIT: usize = 500;

/// A delivery in a list.
#[derive(Serialize)]
pub(super) struct DeliverySummary<'a> {
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

impl<'a> DeliverySummary<'a> {
    pub(super) fn of(state: DeliveryState, delivery: &'a Delivery<'_>) -> Self {
        let topic = delivery.work.topic();
        Self {
            id: delivery.id.to_string(),
            kind: delivery.work.kind(),
            r#ref: delivery.work.reference(),
            topic,
            state: state.as_str(),
            received: delivery.received.rfc3339(),
            attempts: delivery.attempts,
            next_attempt: (state == DeliveryState::Pending).then(|| delivery.next_attempt.rfc3339()),
            last_failure: delivery.last_failure(),
        }
    }
}

/// Reads `state`, which is `pending` by default.
pub(super) fn state_parameter(query: &Query) -> Result<DeliveryState, Problem> {
    match query.one("state")? {
        None | Some("pending") => Ok(DeliveryState::Pending),
        Some("dead") => Ok(DeliveryState::Dead),
        Some(_) => Err(invalid_parameter("state", "`pending`, the default, or `dead`")),
    }
}

/// Reads `after`, the id of the last delivery on the previous page.
pub(super) fn after_parameter(query: &Query) -> Result<Option<DeliveryId>, Problem> {
    let read = |text| {
        DeliveryId::parse(text)
            .ok_or_else(|| invalid_parameter("after", "the id of a delivery, as in `next` of the previous page"))
    };
    query.one("after")?.map(read).transpose()
}

/// Reads `limit`, the size of a page.
pub(super) fn limit_parameter(query: &Query) -> Result<usize, Problem> {
    let Some(text) = query.one("limit")? else { return Ok(DEFAULT_LIMIT) };
    let limit = text.parse().ok().filter(|limit| (1..=MAX_LIMIT).contains(limit));
    limit.ok_or_else(|| invalid_parameter("limit", &format!("a whole number from 1 to {MAX_LIMIT}")))
}

/// Reads `dry_run`: whether an operation on many deliveries only says what it would do, which is the default.
pub(super) fn dry_run_parameter(query: &Query) -> Result<bool, Problem> {
    match query.one("dry_run")? {
        None | Some("true") => Ok(true),
        Some("false") => Ok(false),
        Some(_) => Err(invalid_parameter("dry_run", "`true`, the default, or `false`, to act")),
    }
}

pub(super) fn invalid_parameter(name: &'static str, rule: &str) -> Problem {
    Problem::new(Kind::InvalidParameter, format!("`{name}` must be {rule}")).field(name)
}

/// `GET /api/v2/deliveries`: lists stored deliveries by state and filter.
pub(super) async fn list(context: &mut RequestContext<'_, '_, impl Host>) -> Result<Response<Vec<u8>>, Problem> {
    let gateway = authorize(context)?;
    let query = Query::parse(context.query)?;
    let state = state_parameter(&query)?;
    let filter = filter::read(&query, filter::Client::Program)?;
    let limit = limit_parameter(&query)?;
    let after = after_parameter(&query)?;
    let page = gateway.list(state, &filter, limit, after).await.map_err(|error| to_problem(context, error.into()))?;

    #[derive(Serialize)]
    struct View<'a> {
        deliveries: Vec<DeliverySummary<'a>>,
        next: Option<String>,
    }
    for (id, delivery) in &page.deliveries {
        if delivery.is_err() {
            context.log.warning(format!("the stored delivery {id} can't be read"));
        }
    }
    let readable = page.deliveries.iter().filter_map(|(_, delivery)| delivery.as_ref().ok());
    let deliveries = readable.map(|delivery| DeliverySummary::of(state, delivery)).collect();
    Ok(json(&View { deliveries, next: page.next.map(|id| id.to_string()) }))
}

/// `GET` and `DELETE /api/v2/deliveries/{id}`: shows or deletes a stored delivery. While a drain is at work that deletes
/// it, the response is a 202.
pub(super) async fn delivery(
    context: &mut RequestContext<'_, '_, impl Host>,
    id: &str,
) -> Result<Response<Vec<u8>>, Problem> {
    let gateway = authorize(context)?;
    let id = delivery_id(id)?;
    if context.method == Method::DELETE {
        let is_deleted = gateway.delete(id).await.map_err(|error| to_problem(context, error))?;
        // A drain that is at work deletes it.
        let status = if is_deleted { StatusCode::NO_CONTENT } else { StatusCode::ACCEPTED };
        return Ok(respond::no_store(respond::empty(status)));
    }
    let (state, delivery) = gateway.show(id).await.map_err(|error| to_problem(context, error))?;

    #[derive(Serialize)]
    struct View<'a> {
        #[serde(flatten)]
        summary: DeliverySummary<'a>,
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
        summary: DeliverySummary::of(state, &delivery),
        history: history.map(|attempt| Attempt { at: attempt.at.rfc3339(), failure: &attempt.failure }).collect(),
        key: delivery.claim.as_ref().map(|claim| claim.key.hash()),
        request,
    };
    Ok(json(&view))
}

/// `POST /api/v2/deliveries/{id}/redeliver`: attempts a stored delivery now.
pub(super) async fn redeliver(
    context: &mut RequestContext<'_, '_, impl Host>,
    id: &str,
) -> Result<Response<Vec<u8>>, Problem> {
    let gateway = authorize(context)?;
    let id = delivery_id(id)?;
    let outcome = gateway.redeliver(id).await.map_err(|error| to_problem(context, error))?;

    #[derive(Serialize)]
    struct View {
        delivery: String,
        state: RedeliveryState,
        #[serde(skip_serializing_if = "Option::is_none")]
        last_failure: Option<String>,
    }
    let (state, last_failure) = redelivered(&outcome);
    let status = if state == RedeliveryState::Pending { StatusCode::ACCEPTED } else { StatusCode::OK };
    let view = View { delivery: id.to_string(), state, last_failure };
    Ok(respond::no_store(respond::json(status, &view)))
}

/// The state of a delivery after a redelivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum RedeliveryState {
    Delivered,
    /// Removed, because another delivery with its key was delivered before.
    Dropped,
    Dead,
    Pending,
}

/// Returns the state of a delivery after a redelivery, and the reason if it was not delivered.
pub(super) fn redelivered(outcome: &Outcome) -> (RedeliveryState, Option<String>) {
    use RedeliveryState::{Dead, Delivered, Dropped, Pending};
    let failure = outcome.failure().map(ToString::to_string);
    match outcome {
        Outcome::Delivered { .. } => (Delivered, None),
        Outcome::Duplicate { .. } => (Dropped, None),
        Outcome::Deleted => (Dropped, Some("an operator has deleted it meanwhile".to_owned())),
        Outcome::Rejected { .. } => (Dead, failure),
        Outcome::Dead { .. } => (Dead, failure.or_else(|| Some("it has expired".to_owned()))),
        Outcome::Conflict { .. } | Outcome::KeyReused { .. } => {
            (Dead, Some("another delivery with its key was accepted first".to_owned()))
        }
        Outcome::Unreadable => (Pending, Some("the record of its key can't be read".to_owned())),
        Outcome::Pending { .. } | Outcome::NotStored { .. } | Outcome::TakenOver | Outcome::NotTaken => {
            (Pending, failure.or_else(|| Some("a drain is running, and will attempt it".to_owned())))
        }
    }
}

/// `POST /api/v2/deliveries/drain`: attempts all due deliveries.
pub(super) async fn drain(context: &mut RequestContext<'_, '_, impl Host>) -> Result<Response<Vec<u8>>, Problem> {
    let gateway = authorize_or(context, &members::DRAIN_TOKEN)?;
    let summary = run_drain(context, &gateway).await?;

    #[derive(Serialize)]
    struct View<'a> {
        #[serde(flatten)]
        summary: &'a DrainSummary,
        due: Option<String>,
    }
    Ok(json(&View { summary: &summary, due: summary.due.map(Timestamp::rfc3339) }))
}

/// `POST /api/v2/deliveries/doubt`: treats all pending deliveries as maybe sent, or those after `after`. While a drain is
/// at work that goes on without regard to it, the response is a 202.
pub(super) async fn doubt(context: &mut RequestContext<'_, '_, impl Host>) -> Result<Response<Vec<u8>>, Problem> {
    let gateway = authorize(context)?;
    let after = after_parameter(&Query::parse(context.query)?)?;
    let doubted = gateway.doubt(after, REQUESTED_DRAIN_BUDGET).await;
    let doubted = doubted.map_err(|error| to_problem(context, error.into()))?;

    #[derive(Serialize)]
    struct View {
        doubted: usize,
        next: Option<String>,
    }
    let view = View { doubted: doubted.count, next: doubted.next.map(|id| id.to_string()) };
    let status = if doubted.is_deferred { StatusCode::ACCEPTED } else { StatusCode::OK };
    Ok(respond::no_store(respond::json(status, &view)))
}

/// Runs a drain that the operator requested, and logs its warnings.
pub(super) async fn run_drain<'h, H: Host>(
    context: &mut RequestContext<'_, 'h, H>,
    gateway: &Gateway<'h, H>,
) -> Result<DrainSummary, Problem> {
    let drained = gateway
        .drain(REQUESTED_DRAIN_BUDGET, Eagerness::Tries)
        .await
        .map_err(|error| to_problem(context, error.into()))?;
    for warning in &drained.warnings {
        context.log.warning(warning.clone());
    }
    Ok(drained)
}

/// `GET /api/v2/callbacks/{run}`: returns the run's accepted callback for `topic`, or a page of the run's accepted
/// callbacks if `topic` is missing.
pub(super) async fn callbacks(
    context: &mut RequestContext<'_, '_, impl Host>,
    run: &str,
) -> Result<Response<Vec<u8>>, Problem> {
    let gateway = authorize(context)?;
    let Some(run) = decode(run) else {
        let detail = "the run in the path is not UTF-8 after percent-decoding: encode it as UTF-8";
        return Err(Problem::new(Kind::InvalidParameter, detail).field("run"));
    };
    let run = RunRef::parse(&run).map_err(|error| invalid_reference("run", error))?;
    let query = Query::parse(context.query)?;
    if query.one("topic")?.is_none() {
        let (limit, after) = (limit_parameter(&query)?, query.one("after")?);
        if after.is_some_and(|after| after.len() > MAX_CURSOR) {
            return Err(invalid_parameter("after", "the `next` of the previous page"));
        }
        let page = gateway.callbacks(&run, limit, after).await.map_err(|error| to_problem(context, error))?;
        #[derive(Serialize)]
        struct View<'a> {
            run: &'a str,
            callbacks: Vec<CallbackView<'a>>,
            next: Option<&'a str>,
        }
        let callbacks = page.records.iter().map(CallbackView::of).collect();
        let view = View { run: run.as_str(), callbacks, next: page.next.as_deref() };
        return Ok(json(&view));
    }
    let topic = query.topic()?;
    let record = gateway.callback(&run, &topic).await.map_err(|error| to_problem(context, error))?;
    let record = record.ok_or_else(|| {
        let detail =
            "no callback is stored for this run and topic: none was accepted, or it is older than `retention_hours`";
        Problem::new(Kind::NoCallback, detail).field("topic")
    })?;
    Ok(json(&CallbackView::of(&record)))
}

/// An accepted callback in a response.
#[derive(Serialize)]
struct CallbackView<'a> {
    run: &'a str,
    topic: &'a str,
    status: Status,
    payload: Option<&'a RawValue>,
    received: String,
    state: State,
    /// Whether it was sent without a look.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    unseen: bool,
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
            unseen: record.unseen,
        }
    }
}

/// Authorizes the operator by `operator_token` in `Authorization: Bearer` (RFC 6750). Returns a 404 if that variable is
/// not set.
pub(super) fn authorize<'h, H: Host>(context: &RequestContext<'_, 'h, H>) -> Result<Gateway<'h, H>, Problem> {
    authenticate(context)?;
    context.gateway()
}

/// [`authorize`], for a request that needs no settings.
pub(super) fn authenticate(context: &RequestContext<'_, '_, impl Host>) -> Result<(), Problem> {
    require_one(context, &[operator_token(context)?])
}

/// Authorizes the operator, or a client with the token in a member of `settings` that is for this path only. Returns a
/// 404 if neither is set.
pub(super) fn authorize_or<'h, H: Host>(
    context: &RequestContext<'_, 'h, H>,
    member: &'static Member<Token>,
) -> Result<Gateway<'h, H>, Problem> {
    authenticate_or(context, member)?;
    context.gateway()
}

/// [`authorize_or`], for a request that needs no settings.
pub(super) fn authenticate_or(
    context: &RequestContext<'_, '_, impl Host>,
    member: &'static Member<Token>,
) -> Result<(), Problem> {
    let Some(own) = context.config.get(member)? else { return authenticate(context) };
    let tokens: Vec<Secret> = context.config.operator_token()?.into_iter().chain([own]).collect();
    require_one(context, &tokens)
}

/// Requires one of these tokens in `Authorization: Bearer`. All are compared, so the time does not depend on which of
/// them matches.
fn require_one(context: &RequestContext<'_, '_, impl Host>, tokens: &[Secret]) -> Result<(), Problem> {
    let given = super::bearer(context.headers).unwrap_or_default();
    if tokens.iter().fold(false, |matches, token| token.matches(given) | matches) {
        return Ok(());
    }
    let detail = "send the operator token as `Authorization: Bearer`";
    Err(Problem::new(Kind::Unauthorized, detail).field("Authorization"))
}

/// Returns `operator_token`. If it is not set, returns the 404 that all operator paths respond with.
pub(super) fn operator_token(context: &RequestContext<'_, '_, impl Host>) -> Result<Secret, Problem> {
    let missing =
        || Problem::new(Kind::NotFound, "this path is disabled: set the variable `operator_token` to enable it");
    context.config.operator_token()?.ok_or_else(missing)
}

/// Parses the id of a delivery. An invalid id is reported in the same way as an unknown one.
pub(super) fn delivery_id(text: &str) -> Result<DeliveryId, Problem> {
    let unknown = || Problem::new(Kind::NoDelivery, OperatorError::Unknown.to_string()).field("id");
    DeliveryId::parse(text).ok_or_else(unknown)
}

/// Returns the problem for an error of the gateway. Logs failures of the store and damaged records.
pub(super) fn to_problem(context: &mut RequestContext<'_, '_, impl Host>, error: OperatorError) -> Problem {
    let detail = error.to_string();
    match error {
        OperatorError::Store(_) => {
            context.log.warning(detail);
            Problem::new(Kind::StoreUnavailable, "the store failed: send the request again, or see /readyz")
        }
        OperatorError::Unknown => Problem::new(Kind::NoDelivery, detail).field("id"),
        OperatorError::Damaged => {
            context.log.warning(detail.clone());
            Problem::new(Kind::Damaged, format!("{detail}; DELETE removes it"))
        }
        OperatorError::InFlight => Problem::new(Kind::UnderWay, detail).field("id").retry_after(None),
    }
}

/// Returns a view as JSON that is not cached.
pub(super) fn json(view: &impl Serialize) -> Response<Vec<u8>> {
    respond::no_store(respond::json(StatusCode::OK, view))
}
