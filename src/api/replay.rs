//! `POST /api/v2/deliveries/replay`: delivered starts, once more as new runs.

use http::{Response, StatusCode};
use serde::Serialize;

use super::filter::{self, Client};
use super::operator::{
    REQUESTED_DRAIN_BUDGET, after_parameter, authorize, dry_run_parameter, invalid_parameter, to_problem,
};
use super::problem::{Kind, Problem};
use super::query::{Query, invalid_reference};
use super::{RequestContext, respond};
use crate::gateway::{Gateway, Kept, Replay, Replayed};
use crate::ports::Host;
use crate::reference::WorkflowRef;

/// The names of the parameters.
const PARAMETERS: [&str; 10] =
    ["workflow", "source", "received_from", "received_to", "text", "to", "name", "dry_run", "after", "limit"];

/// The name of a replay without a name.
pub(super) const DEFAULT_NAME: &str = "replay";

/// Maximum length of the name of a replay, in bytes.
const MAX_NAME: usize = 64;

/// A kept start in a response.
#[derive(Serialize)]
struct KeptView<'a> {
    id: String,
    r#ref: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    source: Option<&'a str>,
    received: String,
}

/// Replays the delivered starts that match, or says in a dry run how many and which these are.
pub(super) async fn run(context: &mut RequestContext<'_, '_, impl Host>) -> Result<Response<Vec<u8>>, Problem> {
    let gateway = authorize(context)?;
    let query = Query::parse(context.query)?;
    query.allow_only(&PARAMETERS)?;
    let mut replay = read(&query, &gateway, Client::Program)?;
    replay.is_dry_run = dry_run_parameter(&query)?;
    replay.trace = context.trace();
    let replayed = gateway.replay(&replay, REQUESTED_DRAIN_BUDGET).await;
    let replayed = replayed.map_err(|error| to_problem(context, error.into()))?;

    #[derive(Serialize)]
    struct View<'a> {
        dry_run: bool,
        #[serde(skip_serializing_if = "Option::is_none")]
        count: Option<usize>,
        #[serde(skip_serializing_if = "Option::is_none")]
        replayed: Option<usize>,
        #[serde(skip_serializing_if = "Option::is_none")]
        repeated: Option<usize>,
        #[serde(skip_serializing_if = "Option::is_none")]
        unreadable: Option<usize>,
        #[serde(skip_serializing_if = "Option::is_none")]
        deliveries: Option<Vec<KeptView<'a>>>,
        next: Option<String>,
    }
    let is_dry_run = replay.is_dry_run;
    let Replayed { count, replayed, repeated, unreadable, first, next } = &replayed;
    let view = View {
        dry_run: is_dry_run,
        count: is_dry_run.then_some(*count),
        replayed: (!is_dry_run).then_some(*replayed),
        repeated: (!is_dry_run).then_some(*repeated),
        unreadable: (!is_dry_run).then_some(*unreadable),
        deliveries: is_dry_run.then(|| first.iter().map(kept_view).collect()),
        next: next.map(|id| id.to_string()),
    };
    let status = if is_dry_run { StatusCode::OK } else { StatusCode::ACCEPTED };
    Ok(respond::no_store(respond::json(status, &view)))
}

fn kept_view(kept: &Kept) -> KeptView<'_> {
    KeptView {
        id: kept.id.to_string(),
        r#ref: kept.workflow.as_str(),
        source: kept.source.as_deref(),
        received: kept.id.at().rfc3339(),
    }
}

/// Reads a dry run of a replay.
pub(super) fn read(query: &Query, gateway: &Gateway<'_, impl Host>, client: Client) -> Result<Replay, Problem> {
    if !gateway.keeps_payloads() {
        let detail = "no payloads are kept: set `keep_hours` in `settings`, with `database_url`";
        return Err(Problem::new(Kind::NotFound, detail).field("settings"));
    }
    let given = |name: &'static str| {
        Ok::<_, Problem>(query.one(name)?.filter(|value| client == Client::Program || !value.trim().is_empty()))
    };
    let name = given("name")?.unwrap_or(DEFAULT_NAME);
    let is_name = (1..=MAX_NAME).contains(&name.len())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'));
    if !is_name {
        let rule = format!("1 to {MAX_NAME} letters, digits, `.`, `_` or `-`");
        return Err(invalid_parameter("name", &rule));
    }
    let to = given("to")?.map(WorkflowRef::parse).transpose().map_err(|error| invalid_reference("to", error))?;
    if let Some(to) = &to {
        let accepted = gateway.settings().engine.accepts(to);
        accepted.map_err(|error| Problem::new(Kind::InvalidParameter, format!("`to` {error}")).field("to"))?;
    }
    let limit = match query.one("limit")? {
        None => usize::MAX,
        Some(text) => {
            let limit = text.parse().ok().filter(|limit| *limit > 0);
            limit.ok_or_else(|| invalid_parameter("limit", "a whole number, at least 1"))?
        }
    };
    Ok(Replay {
        filter: filter::read(query, client)?,
        name: name.to_owned(),
        to,
        after: after_parameter(query)?,
        limit,
        is_dry_run: true,
        trace: http::HeaderMap::new(),
    })
}
