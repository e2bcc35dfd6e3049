//! `POST /api/v2/webhook`: any JSON object starts a run, as its param `data`.

use http::Response;

use super::problem::Problem;
use super::{Call, body, query};
use crate::engine::{Param, ParamName, Start, Trigger};
use crate::ports::{Body, Outside};
use crate::{config, gateway};

pub(super) async fn post(
    call: &mut Call<'_, impl Outside>,
    incoming: &mut impl Body,
) -> Result<Response<Vec<u8>>, Problem> {
    let workflow = query::Query::parse(call.query)?.workflow()?;
    body::require_json(call.headers)?;
    let workflow = workflow.ok_or_else(|| query::missing("ref", "the workflow to start"))?;
    let max = config::max_body(call.outside)?;
    let engine = config::engine(call.outside)?;

    let bytes = body::read(incoming, call.headers, max).await?;
    let payload = body::object(&bytes)?;
    let params = vec![Param { name: ParamName::Fixed("data"), value: payload }];
    let start = Start { workflow, trigger: Trigger::Webhook, params };
    let outcome = gateway::start(call.outside, &engine, &start, &call.trace()).await;
    call.answer(outcome)
}
