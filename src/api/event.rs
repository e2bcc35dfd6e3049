//! `POST /api/v2/event`: a CloudEvent starts a run, as its params `event`, `data`, and the members of `data`. A batch is
//! several events; an event may start several workflows by its routes.

use std::borrow::Cow;

use http::Response;
use serde::Serialize;

use super::batch_response::Item;
use super::problem::{Kind, Problem};
use super::{RequestContext, body, query};
use crate::config;
use crate::delivery::{Key, Payload, Start};
use crate::event::{self, BatchError, Event, EventError, Mode};
use crate::ports::{Body, Host};
use crate::reference::WorkflowRef;
use crate::routing::{Input, Table};

const ACCEPTED: &str = "application/cloudevents+json, application/cloudevents-batch+json, application/json";
/// Most events of a batch: Akamai's store takes 50 writes a second, and a request there has 30 s.
const MAX_BATCH: usize = 1_000;
/// How many events that are not valid a problem names.
const MAX_NAMED: usize = 100;

pub(super) async fn post(
    context: &mut RequestContext<'_, '_, impl Host>,
    incoming: &mut impl Body,
) -> Result<Response<Vec<u8>>, Problem> {
    context.check_origin()?;
    let query = query::Query::parse(context.query)?;
    let (by_ref, dedup, by_subject) = (query.workflow()?, query.dedup()?, query.subject()?);
    let entry = context.enter(&query)?;
    let content_type = body::content_type(context.headers);
    let mode =
        Mode::of(content_type.as_ref(), context.headers).ok_or_else(|| body::unsupported(context.headers, ACCEPTED))?;
    let max = config::max_body(context.host)?;
    let gateway = context.gateway()?;

    let bytes = body::read(incoming, context.headers, max).await?;
    context.verify(&entry, &bytes)?;
    let events = match mode {
        Mode::Binary => vec![event::read_binary(content_type.as_ref(), context.headers, &bytes).map_err(refuse)?],
        Mode::Structured => vec![event::read_structured(&bytes).map_err(refuse)?],
        Mode::Batch => event::read_batch(&bytes).map_err(refuse_batch)?,
    };
    if events.len() > MAX_BATCH {
        let detail = format!("the batch has {} events: send at most {MAX_BATCH}", events.len());
        return Err(Problem::new(Kind::BodyTooLarge, detail).field("body"));
    }
    let by_routes = by_ref.is_none() && events.iter().any(|event| !by_subject || !is_path(event));
    let table = if by_routes { config::routes(context.host)? } else { None };
    let way = Way { by_ref, by_subject, table: table.as_ref(), dedup };

    let (mut items, mut invalid) = (Vec::with_capacity(events.len()), Vec::new());
    for (index, event) in events.iter().enumerate() {
        match way.of(event) {
            Ok(starts) => items.push((event, starts)),
            Err(problem) if mode == Mode::Batch => {
                invalid.push(Invalid { index, id: Some(event::shown(&event.id)), problem });
            }
            Err(problem) => return Err(problem),
        }
    }
    if !invalid.is_empty() {
        return Err(refuse_events(invalid.into_iter()));
    }
    if mode != Mode::Batch {
        let starts = items.into_iter().flat_map(|(_, starts)| starts).collect();
        return context.start(gateway, starts).await;
    }
    let mut listed = Vec::new();
    for (event, starts) in items {
        let name = || Some((event.id.clone(), event.source.clone()));
        if starts.is_empty() {
            listed.push(Item { event: name(), start: None });
        }
        listed.extend(starts.into_iter().map(|start| Item { event: name(), start: Some(start) }));
    }
    context.deliver_all(gateway, listed).await
}

/// What names the workflows of an event: the query, else its subject, else the routes.
struct Way<'t> {
    by_ref: Option<WorkflowRef>,
    by_subject: bool,
    table: Option<&'t Table>,
    dedup: bool,
}

impl Way<'_> {
    /// The runs that an event starts; none if no route is for it.
    fn of<'a>(&'a self, event: &'a Event<'a>) -> Result<Vec<(Start<'a>, Option<Key>)>, Problem> {
        let payload =
            || Payload::Event { whole: Cow::Borrowed(&*event.json), data: event.data.as_deref().map(Cow::Borrowed) };
        let key = |workflow: &str| self.dedup.then(|| Key::event(&event.source, &event.id, workflow));
        let named = match &self.by_ref {
            Some(workflow) => Some(workflow.clone()),
            // Where there are routes, a subject that isn't the contract's `/workflow/topic` is just a subject.
            None if self.by_subject && (self.table.is_none() || is_path(event)) => {
                event.workflow().transpose().map_err(|error| {
                    let detail =
                        format!("the workflow that `subject` names {error}: write /workflow/topic, or add ?ref=");
                    Problem::new(Kind::InvalidEvent, detail).field("subject")
                })?
            }
            None => None,
        };
        if let Some(workflow) = named {
            let key = key(workflow.as_str());
            return Ok(vec![(Start::new(workflow, payload()), key)]);
        }
        let Some(table) = self.table else {
            let detail =
                "nothing names a workflow: add ?ref=, or the attribute `subject` as /workflow/topic, or set routes";
            return Err(Problem::new(Kind::MissingParameter, detail).field("ref"));
        };
        let input = Input::event(&event.json, event.data.as_deref());
        table.matching(&input).map(|route| Ok((route.start(&input, payload())?, key(&route.name())))).collect()
    }
}

fn is_path(event: &Event<'_>) -> bool {
    event.subject.as_deref().is_some_and(|subject| subject.starts_with('/'))
}

fn refuse(error: EventError) -> Problem {
    let kind = match error {
        EventError::Body(_) | EventError::Data(_) => Kind::InvalidBody,
        _ => Kind::InvalidEvent,
    };
    Problem::new(kind, error.to_string()).field(error.field())
}

fn refuse_batch(error: BatchError) -> Problem {
    match error {
        BatchError::Events(events) => {
            let invalid = events.into_iter();
            refuse_events(invalid.map(|event| Invalid {
                index: event.index,
                id: event.id,
                problem: refuse(event.error),
            }))
        }
        error => Problem::new(Kind::InvalidBody, error.to_string()).field("body"),
    }
}

/// An event of a batch that isn't taken.
struct Invalid {
    index: usize,
    id: Option<String>,
    problem: Problem,
}

/// Nothing of a batch is taken if not all of it can be.
fn refuse_events(invalid: impl ExactSizeIterator<Item = Invalid>) -> Problem {
    #[derive(Serialize)]
    struct View {
        index: usize,
        #[serde(skip_serializing_if = "Option::is_none")]
        id: Option<String>,
        detail: String,
        field: Option<String>,
    }
    let count = invalid.len();
    // Only what is named is put into words.
    let events: Vec<_> = invalid
        .take(MAX_NAMED)
        .map(|Invalid { index, id, problem }| {
            let (detail, field) = problem.into_parts();
            View { index, id, detail, field }
        })
        .collect();
    let rest = if count > MAX_NAMED { format!(", the first {MAX_NAMED} of them") } else { String::new() };
    let detail = format!(
        "{count} of the batch's events can't be taken, so none was: `events` says which and why{rest}; mend them, or send the others"
    );
    Problem::new(Kind::InvalidEvent, detail).field("body").member("events", &events)
}
