//! `POST /api/v2/event`: a CloudEvent starts a run, as its params `event`, `data`, and the members of `data`.

use std::collections::BTreeMap;

use http::Response;
use serde_json::value::RawValue;

use super::problem::{Kind, Problem};
use super::{Call, body, query};
use crate::engine::{Param, ParamName, Start, Trigger};
use crate::event::{self, Event, EventError, Mode};
use crate::ports::{Body, Outside};
use crate::{config, gateway, json};

const ACCEPTED: &str = "application/cloudevents+json, application/json";

pub(super) async fn post(
    call: &mut Call<'_, impl Outside>,
    incoming: &mut impl Body,
) -> Result<Response<Vec<u8>>, Problem> {
    let by_ref = query::Query::parse(call.query)?.workflow()?;
    let content_type = body::content_type(call.headers);
    let mode =
        Mode::of(content_type.as_ref(), call.headers).ok_or_else(|| body::unsupported(call.headers, ACCEPTED))?;
    let max = config::max_body(call.outside)?;
    let engine = config::engine(call.outside)?;

    let bytes = body::read(incoming, call.headers, max).await?;
    let event = event::read(mode, content_type.as_ref(), call.headers, &bytes).map_err(refuse)?;
    let workflow = match (by_ref, event.workflow()) {
        (Some(workflow), _) => workflow,
        (None, Some(named)) => named.map_err(|error| {
            let detail = format!("the workflow that `subject` names {error}: write /workflow/topic, or add ?ref=");
            Problem::new(Kind::InvalidEvent, detail).field("subject")
        })?,
        (None, None) => {
            let detail = "nothing names a workflow: add ?ref=, or the attribute `subject` as /workflow/topic";
            return Err(Problem::new(Kind::MissingParameter, detail).field("ref"));
        }
    };
    let start = Start { workflow, trigger: Trigger::Event, params: params(&event) };
    let outcome = gateway::start(call.outside, &engine, &start, &call.trace()).await;
    call.answer(outcome)
}

/// `event`, `data`, then each member of `data`: of two of one name the later counts, as it does for most readers of
/// JSON; `event` and `data` are never overwritten.
fn params<'a>(event: &'a Event<'_>) -> Vec<Param<'a>> {
    let data = event.data.as_deref().unwrap_or(RawValue::NULL);
    let mut params = vec![
        Param { name: ParamName::Fixed("event"), value: &event.json },
        Param { name: ParamName::Fixed("data"), value: data },
    ];
    let mut seen = BTreeMap::from([("event".to_owned(), None), ("data".to_owned(), None)]);
    for (name, value) in json::members(data).unwrap_or_default() {
        // Half a surrogate pair has no text; its spelling tells it apart.
        let text = json::text(name).unwrap_or_else(|| name.get().to_owned());
        match seen.get(&text) {
            Some(None) => {}
            Some(Some(at)) => {
                if let Some(param) = params.get_mut(*at) {
                    *param = Param { name: ParamName::Member(name), value };
                }
            }
            None => {
                seen.insert(text, Some(params.len()));
                params.push(Param { name: ParamName::Member(name), value });
            }
        }
    }
    params
}

fn refuse(error: EventError) -> Problem {
    let kind = match error {
        EventError::Body(_) | EventError::Data(_) => Kind::InvalidBody,
        _ => Kind::InvalidEvent,
    };
    Problem::new(kind, error.to_string()).field(error.field())
}
