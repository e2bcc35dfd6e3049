//! `POST /api/v2/event`: a CloudEvent starts a run with the params `event`, `data` and each member of `data`. A batch
//! contains several events, and routes may start several workflows for one event.

use std::borrow::Cow;

use http::Response;
use serde::Serialize;

use super::auth::Admitted;
use super::batch_response::Item;
use super::intake::Received;
use super::problem::{Kind, Problem};
use super::{RequestContext, body};
use crate::delivery::{Key, Payload, Start};
use crate::event::{self, BatchError, Event, EventError, Mode};
use crate::ports::{Body, Host};
use crate::reference::WorkflowRef;
use crate::routing::{Input, Table};
use crate::source::{Source, Via};

/// The supported content types, which the 415 for any other type lists.
const ACCEPTED: &str = "application/cloudevents+json, application/cloudevents-batch+json, application/json";
/// Maximum number of invalid events that a problem lists.
const MAX_LISTED: usize = 100;

/// Starts the workflows of one event or of a batch.
pub(super) async fn post(
    context: &mut RequestContext<'_, '_, impl Host>,
    incoming: &mut impl Body,
) -> Result<Response<Vec<u8>>, Problem> {
    let head = context.head()?;
    let by_subject = head.query.subject()?;
    let content_type = body::content_type(context.headers);
    let mode =
        Mode::of(content_type.as_ref(), context.headers).ok_or_else(|| body::unsupported(context.headers, ACCEPTED))?;

    let Received { gateway, bytes, admitted } = context.receive(head.authentication, incoming).await?;
    let admission = match admitted {
        Admitted::Delivery(admission) => admission,
        Admitted::Question(reply) => return Ok(context.reply(reply)),
    };
    let mode = mode.with_body(content_type.as_ref(), &bytes);
    let events = match mode {
        Mode::Binary => {
            vec![event::read_binary(content_type.as_ref(), context.headers, &bytes).map_err(event_problem)?]
        }
        Mode::Structured => vec![event::read_structured(&bytes).map_err(event_problem)?],
        Mode::Batch => event::read_batch(&bytes).map_err(batch_problem)?,
    };
    let by_routes = head.workflow.is_none() && events.iter().any(|event| !by_subject || !has_path_subject(event));
    let table = if by_routes { context.config.routes()? } else { None };
    let source = admission.source().map(Source::name);
    let targets = Targets { by_ref: head.workflow, by_subject, table: table.as_ref(), dedup: head.dedup, source };

    let (mut items, mut invalid) = (Vec::with_capacity(events.len()), Vec::new());
    for (index, event) in events.iter().enumerate() {
        let permit = |via: Via<'_>, workflow: &WorkflowRef| {
            let via = if mode == Mode::Batch { Via::BatchElement(index) } else { via };
            context.permit(&admission, &gateway, via, workflow)
        };
        match targets.starts(event, &permit) {
            Ok(starts) => items.push((event, starts)),
            Err(problem) if problem.kind == Kind::OutOfScope => return Err(problem),
            Err(problem) if mode == Mode::Batch => {
                invalid.push(Invalid { index, id: Some(event::truncated(&event.id)), problem });
            }
            Err(problem) => return Err(problem),
        }
    }
    if !invalid.is_empty() {
        return Err(invalid_events(invalid.into_iter()));
    }
    if mode != Mode::Batch {
        let starts = items.into_iter().flat_map(|(_, starts)| starts);
        let starts = starts.map(|(start, key)| (admission.mark(start), key)).collect();
        return context.start(gateway, starts).await;
    }
    let mut batch = Vec::new();
    for (event, starts) in items {
        let name = || Some((event.id.clone(), event.source.clone()));
        if starts.is_empty() {
            batch.push(Item { event: name(), start: None });
        }
        let starts = starts.into_iter().map(|(start, key)| (admission.mark(start), key));
        batch.extend(starts.map(|start| Item { event: name(), start: Some(start) }));
    }
    context.deliver_all(gateway, batch).await
}

/// The rules that select the workflows of an event: `ref` in the query, otherwise the subject, otherwise the routes.
struct Targets<'t> {
    by_ref: Option<WorkflowRef>,
    by_subject: bool,
    table: Option<&'t Table>,
    dedup: bool,
    /// The name of the source in the configuration.
    source: Option<&'t str>,
}

impl Targets<'_> {
    /// Returns the runs that an event starts; none if no route matches. `permit` checks that each may be started.
    fn starts<'a>(
        &'a self,
        event: &'a Event<'a>,
        permit: &dyn Fn(Via<'_>, &WorkflowRef) -> Result<(), Problem>,
    ) -> Result<Vec<(Start<'a>, Option<Key>)>, Problem> {
        let payload =
            || Payload::Event { whole: Cow::Borrowed(&*event.json), data: event.data.as_deref().map(Cow::Borrowed) };
        let key =
            |workflow: &str| self.dedup.then(|| Key::event(&event.source, &event.id, workflow).within(self.source));
        let named = match &self.by_ref {
            Some(workflow) => Some(workflow.clone()),
            // While routes are set, a subject names a workflow only in the contract's form, `/workflow/topic`.
            None if self.by_subject && (self.table.is_none() || has_path_subject(event)) => {
                event.workflow().transpose().map_err(|error| {
                    let detail = format!(
                        "the workflow in `subject` {error}: use the form /workflow/topic, or add `?ref=` with the workflow"
                    );
                    Problem::new(Kind::InvalidEvent, detail).field("subject")
                })?
            }
            None => None,
        };
        if let Some(workflow) = named {
            permit(Via::Event, &workflow)?;
            let key = key(workflow.as_str());
            return Ok(vec![(Start::new(workflow, payload()), key)]);
        }
        let Some(table) = self.table else {
            let detail = "the request names no workflow: add `?ref=`, or the attribute `subject` in the form /workflow/topic, or set the variable `routes`";
            return Err(Problem::new(Kind::MissingParameter, detail).field("ref"));
        };
        let input = Input::event(&event.json, event.data.as_deref()).of_source(self.source);
        let starts = table.matching(&input).map(|route| {
            permit(Via::Route(&route.name()), route.workflow())?;
            Ok((route.start(&input, payload())?, key(&route.name())))
        });
        starts.collect()
    }
}

/// Returns whether the subject has the contract's form, `/workflow/topic`.
fn has_path_subject(event: &Event<'_>) -> bool {
    event.subject.as_deref().is_some_and(|subject| subject.starts_with('/'))
}

fn event_problem(error: EventError) -> Problem {
    let kind = match error {
        EventError::Body(_) | EventError::Batch | EventError::Data(_) => Kind::InvalidBody,
        _ => Kind::InvalidEvent,
    };
    Problem::new(kind, error.to_string()).field(error.field())
}

fn batch_problem(error: BatchError) -> Problem {
    match error {
        BatchError::Events(events) => {
            let invalid = events.into_iter();
            invalid_events(invalid.map(|event| Invalid {
                index: event.index,
                id: event.id,
                problem: event_problem(event.error),
            }))
        }
        error => Problem::new(Kind::InvalidBody, error.to_string()).field("body"),
    }
}

/// An invalid event of a batch, with its problem.
struct Invalid {
    index: usize,
    id: Option<String>,
    problem: Problem,
}

/// Returns the problem of a batch with invalid events. No event of such a batch is accepted.
fn invalid_events(invalid: impl ExactSizeIterator<Item = Invalid>) -> Problem {
    #[derive(Serialize)]
    struct View {
        index: usize,
        #[serde(skip_serializing_if = "Option::is_none")]
        id: Option<String>,
        detail: String,
        field: Option<String>,
    }
    let count = invalid.len();
    let events: Vec<_> = invalid
        .take(MAX_LISTED)
        .map(|Invalid { index, id, problem }| {
            let (detail, field) = problem.into_detail_and_field();
            View { index, id, detail, field }
        })
        .collect();
    let listed = if count > MAX_LISTED { format!("the first {MAX_LISTED} of them") } else { "them".to_owned() };
    let are = if count == 1 { "is" } else { "are" };
    let detail = format!(
        "{count} of the batch's events {are} not valid, so no event was accepted: `events` lists {listed}; fix them, or send the batch without them"
    );
    Problem::new(Kind::InvalidEvent, detail).field("body").member("events", &events)
}
