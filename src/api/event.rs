//! `POST /api/v2/event`: a CloudEvent starts a run, as its params `event`, `data`, and the members of `data`.

use http::Response;

use super::problem::{Kind, Problem};
use super::{Call, body, query};
use crate::config;
use crate::delivery::{Key, Start, Work};
use crate::event::{self, EventError, Mode};
use crate::ports::{Body, Outside};

const ACCEPTED: &str = "application/cloudevents+json, application/json";

pub(super) async fn post(
    call: &mut Call<'_, '_, impl Outside>,
    incoming: &mut impl Body,
) -> Result<Response<Vec<u8>>, Problem> {
    call.check_origin()?;
    let query = query::Query::parse(call.query)?;
    let (by_ref, dedup) = (query.workflow()?, query.dedup()?);
    let entry = call.enter(&query)?;
    let content_type = body::content_type(call.headers);
    // Batches are refused as long as they have no answer.
    let mode = Mode::of(content_type.as_ref(), call.headers)
        .filter(|mode| *mode != Mode::Batch)
        .ok_or_else(|| body::unsupported(call.headers, ACCEPTED))?;
    let max = config::max_body(call.outside)?;
    let gate = call.gate()?;

    let bytes = body::read(incoming, call.headers, max).await?;
    call.verify(&entry, &bytes)?;
    let event = match mode {
        Mode::Binary => event::read_binary(content_type.as_ref(), call.headers, &bytes),
        Mode::Structured | Mode::Batch => event::read_structured(&bytes),
    }
    .map_err(refuse)?;
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
    let key = dedup.then(|| Key::event(&event.source, &event.id, workflow.as_str()));
    call.deliver(gate, Work::Start(Start::new(workflow, event.into())), key).await
}

fn refuse(error: EventError) -> Problem {
    let kind = match error {
        EventError::Body(_) | EventError::Data(_) => Kind::InvalidBody,
        _ => Kind::InvalidEvent,
    };
    Problem::new(kind, error.to_string()).field(error.field())
}
