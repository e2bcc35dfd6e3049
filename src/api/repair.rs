//! Operations on all deliveries that match a filter: `POST /api/v2/deliveries/redeliver` and
//! `POST /api/v2/deliveries/delete`.

use http::{Response, StatusCode};
use serde::Serialize;

use super::filter::{self, Client};
use super::operator::{
    DeliverySummary, REQUESTED_DRAIN_BUDGET, after_parameter, authorize, dry_run_parameter, invalid_parameter,
    state_parameter, to_problem,
};
use super::problem::Problem;
use super::query::{Query, missing};
use super::{RequestContext, respond};
use crate::gateway::{Repair, Selection, Skipped};
use crate::ports::Host;

/// The names of the parameters besides those of the filter.
const PARAMETERS: [&str; 4] = ["state", "dry_run", "after", "limit"];

/// Maximum of `limit`.
const MAX_LIMIT: usize = 1_000_000;

/// Redelivers or deletes all deliveries that match, or says in a dry run how many and which these are.
pub(super) async fn run(
    context: &mut RequestContext<'_, '_, impl Host>,
    repair: Repair,
) -> Result<Response<Vec<u8>>, Problem> {
    let gateway = authorize(context)?;
    let query = Query::parse(context.query)?;
    let names: Vec<&'static str> = PARAMETERS.into_iter().chain(filter::PARAMETERS).collect();
    query.allow_only(&names)?;
    let selection = selection(&query, Client::Program)?;
    let is_dry_run = dry_run_parameter(&query)?;
    let done = if is_dry_run { Repair::DryRun } else { repair };
    let repaired = gateway.repair(done, &selection, REQUESTED_DRAIN_BUDGET).await;
    let repaired = repaired.map_err(|error| to_problem(context, error.into()))?;

    #[derive(Serialize)]
    struct View<'a> {
        dry_run: bool,
        /// In a dry run, the number of deliveries that would be changed.
        #[serde(skip_serializing_if = "Option::is_none")]
        count: Option<usize>,
        #[serde(skip_serializing_if = "Option::is_none")]
        redelivered: Option<usize>,
        #[serde(skip_serializing_if = "Option::is_none")]
        deleted: Option<usize>,
        /// How many of these the drain still has to do.
        #[serde(skip_serializing_if = "Option::is_none")]
        deferred: Option<usize>,
        skipped: Skipped,
        #[serde(skip_serializing_if = "Option::is_none")]
        deliveries: Option<Vec<DeliverySummary<'a>>>,
        next: Option<String>,
    }
    let first = repaired.first.iter().filter_map(|(_, delivery)| delivery.as_ref().ok());
    let of = |action: Repair| (done == action).then_some(repaired.count);
    let view = View {
        dry_run: is_dry_run,
        count: of(Repair::DryRun),
        redelivered: of(Repair::Redeliver),
        deleted: of(Repair::Delete),
        deferred: (!is_dry_run).then_some(repaired.deferred),
        skipped: repaired.skipped,
        deliveries: is_dry_run.then(|| first.map(|delivery| DeliverySummary::of(selection.state, delivery)).collect()),
        next: repaired.next.map(|id| id.to_string()),
    };
    let status = if is_dry_run || repair == Repair::Delete && repaired.deferred == 0 {
        StatusCode::OK
    } else {
        StatusCode::ACCEPTED
    };
    Ok(respond::no_store(respond::json(status, &view)))
}

/// Reads the deliveries that an operation is for. The state has to be there: without a filter, these are all of it.
pub(super) fn selection(query: &Query, client: Client) -> Result<Selection, Problem> {
    if query.one("state")?.is_none() {
        return Err(missing("state", "`dead` or `pending`: the deliveries that this is for"));
    }
    let limit = match query.one("limit")? {
        None => usize::MAX,
        Some(text) => {
            let limit = text.parse().ok().filter(|limit| (1..=MAX_LIMIT).contains(limit));
            limit.ok_or_else(|| invalid_parameter("limit", &format!("a whole number from 1 to {MAX_LIMIT}")))?
        }
    };
    Ok(Selection {
        state: state_parameter(query)?,
        filter: filter::read(query, client)?,
        after: after_parameter(query)?,
        limit,
    })
}
