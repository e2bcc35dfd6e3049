//! `POST /api/v2/move`: moves what the store in use before has to the one in use.

use std::time::Duration;

use http::Response;
use serde::Serialize;

use super::RequestContext;
use super::operator::{authorize, invalid_parameter, json, limit_parameter, to_problem};
use super::problem::{Kind, Problem};
use super::query::Query;
use crate::ports::Host;
use crate::store::{Cursor, Transferred};

/// Time limit of a call. Some platforms end a request after 30 s.
const BUDGET: Duration = Duration::from_secs(20);

/// Moves a page of records.
pub(super) async fn run(context: &mut RequestContext<'_, '_, impl Host>) -> Result<Response<Vec<u8>>, Problem> {
    let gateway = authorize(context)?;
    if !gateway.is_moving() {
        let detail = "nothing is moved: set the variable `move_from` to the store that was in use before";
        return Err(Problem::new(Kind::NotFound, detail));
    }
    let query = Query::parse(context.query)?;
    let limit = limit_parameter(&query)?;
    let invalid = || invalid_parameter("after", "`next` of the previous response");
    let after = query.one("after")?.map(|text| Cursor::parse(text).ok_or_else(invalid)).transpose()?;
    let moved = gateway.move_store(after.as_ref(), limit, BUDGET).await;
    let moved = moved.map_err(|error| to_problem(context, error.into()))?;
    let busy = || {
        let detail = "a drain of the key-value store is at work, or another move: call it again later";
        Problem::new(Kind::UnderWay, detail).retry_after(None)
    };
    let moved = moved.ok_or_else(busy)?;
    #[derive(Serialize)]
    struct View<'a> {
        moved: &'a Transferred,
        next: Option<String>,
    }
    let next = moved.next.as_ref().map(ToString::to_string);
    Ok(json(&View { moved: &moved, next }))
}
