//! Filters of stored deliveries: those that an operator lists, redelivers or deletes together.

use super::{Delivery, Work};
use crate::reference::{DeliveryId, WorkflowRef};
use crate::source::{Pattern, Workflow};
use crate::time::{ArrivalTime, Timestamp};

/// The deliveries that an operator asks for. A condition that is `None` holds for all; the others all have to hold.
///
/// Texts are compared ignoring ASCII case, except those of `workflow` and `source`, which are names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// The workflow of a start, as the delivery names it: `deploy` is not `team/deploy`. A callback has none, since it
    /// names a run: no pattern matches it.
    pub workflow: Option<Pattern>,
    /// The name of the source of a start. A delivery by an access token has none, and a callback's isn't stored.
    pub source: Option<String>,
    /// The earliest time of arrival.
    pub received_from: Option<Timestamp>,
    /// The time of arrival before which it was received.
    pub received_to: Option<Timestamp>,
    /// A part of its [last failure](Delivery::last_failure). One without a failure doesn't match.
    pub failure: Option<String>,
    /// A part of its workflow, run or topic.
    pub text: Option<String>,
}

impl Filter {
    /// A filter by a part of the workflow, run or topic; an empty text is no condition.
    pub fn of_text(text: &str) -> Self {
        Self { text: Some(text.to_owned()).filter(|text| !text.is_empty()), ..Self::default() }
    }

    /// Whether it matches all deliveries, also records that can't be decoded.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Whether it has a condition that only the record of a delivery can answer, and not its id.
    pub fn reads_records(&self) -> bool {
        let times = Self { received_from: self.received_from, received_to: self.received_to, ..Self::default() };
        *self != times
    }

    /// Whether a delivery has arrived in the time of the filter, according to its id.
    pub fn has_time_of(&self, id: DeliveryId) -> bool {
        self.received_from.is_none_or(|from| from <= id.at()) && self.received_to.is_none_or(|to| id.at() < to)
    }

    /// Ids between which those in the time of the filter are: the first one may belong, and the last one doesn't.
    pub fn ids(&self) -> (Option<DeliveryId>, Option<DeliveryId>) {
        let first = |at: Timestamp| DeliveryId::new(ArrivalTime::from(at), 0);
        (self.received_from.map(first), self.received_to.map(first))
    }

    /// Whether a delivered start of a workflow and a source matches. Its failures are forgotten, and don't count.
    pub fn matches_delivered(&self, id: DeliveryId, workflow: &WorkflowRef, source: Option<&str>) -> bool {
        let has_text = |part: &String| contains(workflow.as_str(), part);
        self.has_time_of(id)
            && self.workflow.as_ref().is_none_or(|pattern| is_of_workflow(pattern, workflow))
            && self.source.as_ref().is_none_or(|name| source == Some(name))
            && self.text.as_ref().is_none_or(has_text)
    }

    /// Whether a delivery matches.
    pub fn matches(&self, delivery: &Delivery<'_>) -> bool {
        let start = match &delivery.work {
            Work::Start(start) => Some(start),
            Work::Resolve(_) => None,
        };
        let is_of_workflow = |pattern: &Pattern| start.is_some_and(|start| is_of_workflow(pattern, &start.workflow));
        let is_of_source = |source: &String| start.is_some_and(|start| start.source.as_ref() == Some(source));
        let has_failed = |part: &String| delivery.last_failure().is_some_and(|failure| contains(failure, part));
        let has_text = |part: &String| {
            let names = [Some(delivery.work.reference()), delivery.work.topic()];
            names.into_iter().flatten().any(|name| contains(name, part))
        };
        self.has_time_of(delivery.id)
            && self.workflow.as_ref().is_none_or(is_of_workflow)
            && self.source.as_ref().is_none_or(is_of_source)
            && self.failure.as_ref().is_none_or(has_failed)
            && self.text.as_ref().is_none_or(has_text)
    }
}

/// Whether a pattern matches a workflow as a delivery names it.
fn is_of_workflow(pattern: &Pattern, workflow: &WorkflowRef) -> bool {
    let (name, team) = (Some(workflow.workflow()), workflow.scope());
    pattern.matches(&Workflow { id: None, name, team }, None)
}

/// Whether a text contains a part, ignoring ASCII case.
fn contains(text: &str, part: &str) -> bool {
    text.to_ascii_lowercase().contains(&part.to_ascii_lowercase())
}

#[cfg(test)]
mod tests;
