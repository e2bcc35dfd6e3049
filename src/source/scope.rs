//! The workflows that a source may start, and the callbacks that it may resolve.

use std::fmt;

use serde_json::value::RawValue;

use super::Authority;
use crate::json::{InvalidValue, Reader};
use crate::reference::WorkflowRef;

/// Maximum number of patterns of a source.
const MAX_PATTERNS: usize = 256;

/// The actions that a source may ask for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scope {
    /// `None`: all workflows.
    workflows: Option<Vec<Pattern>>,
    callbacks: bool,
}

/// A pattern of workflows: `NAME`, `ID` or `TEAM/NAME`, where the last part may end with `*`.
///
/// A pattern without a team means workflows of the default team only. One with `*` compares names only: an id is
/// arbitrary, so a part of it says nothing about the workflow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern {
    team: Option<String>,
    /// The text, without `*`.
    workflow: String,
    is_prefix: bool,
}

/// A workflow, as far as it is known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Workflow<'a> {
    /// The id.
    pub id: Option<&'a str>,
    /// The name.
    pub name: Option<&'a str>,
    /// The team; `None` for the default one, and for an engine without teams.
    pub team: Option<&'a str>,
}

/// Something that a request asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action<'a> {
    /// Start a run.
    Start(Via<'a>, Workflow<'a>),
    /// Resolve the callback of a run.
    Resolve(RunWorkflow<'a>),
}

/// The way in of a start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Via<'a> {
    /// An event that names the workflow.
    Event,
    /// A webhook that names the workflow.
    Webhook,
    /// An event in a batch, by its index.
    BatchElement(usize),
    /// A route, by its name, that an event or a webhook matches.
    Route(&'a str),
}

/// The workflow of the run that a callback names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RunWorkflow<'a> {
    /// As a look at the run shows it.
    Seen(Workflow<'a>),
    /// As Sluice's own record of the start has it, for an engine that can't be looked at.
    Recorded(Workflow<'a>),
    /// Not known.
    Unknown,
}

/// The reason why an action is in scope.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Grant {
    /// The authority has no limits.
    Unlimited,
    /// The source is not limited to some workflows.
    AllWorkflows,
    /// The pattern at this index of `workflows` matches.
    Pattern(usize),
}

/// An action that is out of scope. The message is for the sender of the request: it says no more about a run's workflow
/// than the sender did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The source's name.
    pub source: String,
    /// The reason.
    pub reason: Reason,
}

/// The reason why an action is out of scope.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reason {
    /// The source may not start the workflow that an event or a webhook names.
    Start {
        /// Whether the workflow is named by its id while the source may list its name.
        by_id: bool,
    },
    /// The source may not start the workflow of an event in a batch.
    BatchElement(usize),
    /// The source may not start the workflow of a route.
    Route(String),
    /// The source may not resolve callbacks.
    NoCallbacks,
    /// The source may not resolve callbacks of the run's workflow.
    Callback,
    /// The run's workflow is not known, and the source is limited to some.
    UnknownRun,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the source `{}` may not ", self.source)?;
        match &self.reason {
            Reason::Start { by_id: false } => f.write_str("start this workflow"),
            Reason::Start { by_id: true } => {
                f.write_str("start this workflow by its id: name it as `workflows` of the source lists it")
            }
            Reason::BatchElement(at) => write!(f, "start the workflow of event {at} in the batch"),
            Reason::Route(route) => write!(f, "start the workflow of the route `{route}`"),
            Reason::NoCallbacks => f.write_str("resolve callbacks"),
            Reason::Callback => f.write_str("resolve callbacks of this run's workflow"),
            Reason::UnknownRun => f.write_str("resolve callbacks of a run whose workflow is not known"),
        }
    }
}

impl<'a> Workflow<'a> {
    /// The workflow of a reference, which is an id or a name. `is_id` tells ids of the engine from names.
    pub fn of_reference(reference: &'a WorkflowRef, is_id: impl Fn(&str) -> bool) -> Self {
        let text = reference.workflow();
        let (id, name) = if is_id(text) { (Some(text), None) } else { (None, Some(text)) };
        Self { id, name, team: reference.scope() }
    }
}

impl Pattern {
    /// Parses a pattern. The error completes a sentence that begins with its place.
    pub fn parse(text: &str) -> Result<Self, String> {
        let reference = WorkflowRef::parse(text).map_err(|error| error.to_string())?;
        let workflow = reference.workflow();
        let plain = workflow.strip_suffix('*');
        if plain.unwrap_or(workflow).contains('*') || reference.scope().is_some_and(|team| team.contains('*')) {
            return Err("must have `*` only at its end, and once".to_owned());
        }
        Ok(Self {
            team: reference.scope().map(str::to_owned),
            workflow: plain.unwrap_or(workflow).to_owned(),
            is_prefix: plain.is_some(),
        })
    }

    /// Returns whether the pattern matches a workflow.
    pub fn matches(&self, workflow: &Workflow<'_>, default_team: Option<&str>) -> bool {
        let is_of_team = self.team.as_deref().or(default_team) == workflow.team.or(default_team);
        let is_all = self.is_prefix && self.workflow.is_empty();
        let is_one = match (self.is_prefix, workflow.name) {
            (true, name) => {
                name.is_some_and(|name| name.starts_with(&self.workflow)) || (is_all && workflow.is_known())
            }
            (false, name) => name == Some(&*self.workflow) || workflow.id == Some(&*self.workflow),
        };
        is_of_team && is_one
    }
}

/// The text that [`Pattern::parse`] reads.
impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(team) = &self.team {
            write!(f, "{team}/")?;
        }
        f.write_str(&self.workflow)?;
        f.write_str(if self.is_prefix { "*" } else { "" })
    }
}

impl Workflow<'_> {
    fn is_known(&self) -> bool {
        self.id.is_some() || self.name.is_some()
    }
}

impl Scope {
    /// Parses `workflows`; without it, all are in scope.
    pub(super) fn parse(
        workflows: Option<&RawValue>,
        callbacks: bool,
        reader: &Reader<'_>,
    ) -> Result<Self, InvalidValue> {
        let Some(raw) = workflows else { return Ok(Self { workflows: None, callbacks }) };
        let elements = reader.elements(raw)?;
        if elements.is_empty() || elements.len() > MAX_PATTERNS {
            return Err(reader.error(format!("must have 1 to {MAX_PATTERNS} workflows: leave it out to allow all")));
        }
        let patterns = elements.into_iter().enumerate().map(|(at, raw)| {
            let reader = reader.at(at);
            Pattern::parse(&reader.text(raw)?).map_err(|rule| reader.error(rule))
        });
        Ok(Self { workflows: Some(patterns.collect::<Result<_, _>>()?), callbacks })
    }

    /// Whether the decision on a callback depends on the run's workflow: only then has it to be known.
    pub fn needs_run_workflow(&self) -> bool {
        self.callbacks && self.workflows.is_some()
    }

    fn decide(&self, action: &Action<'_>, default_team: Option<&str>) -> Result<Grant, Reason> {
        let granted = |workflow: &Workflow<'_>| match &self.workflows {
            None => Some(Grant::AllWorkflows),
            Some(patterns) => {
                patterns.iter().position(|pattern| pattern.matches(workflow, default_team)).map(Grant::Pattern)
            }
        };
        match action {
            Action::Start(via, workflow) => granted(workflow).ok_or_else(|| match via {
                Via::Event | Via::Webhook => Reason::Start { by_id: workflow.name.is_none() && workflow.id.is_some() },
                Via::BatchElement(at) => Reason::BatchElement(*at),
                Via::Route(route) => Reason::Route((*route).to_owned()),
            }),
            Action::Resolve(_) if !self.callbacks => Err(Reason::NoCallbacks),
            Action::Resolve(RunWorkflow::Seen(workflow) | RunWorkflow::Recorded(workflow)) if workflow.is_known() => {
                granted(workflow).ok_or(Reason::Callback)
            }
            Action::Resolve(_) if self.workflows.is_none() => Ok(Grant::AllWorkflows),
            Action::Resolve(_) => Err(Reason::UnknownRun),
        }
    }
}

impl Authority<'_, '_> {
    /// Decides whether an action is in scope. `default_team` is the team of a workflow whose reference has none.
    pub fn decide(&self, action: &Action<'_>, default_team: Option<&str>) -> Result<Grant, Refusal> {
        match self {
            Self::Open | Self::AccessToken => Ok(Grant::Unlimited),
            Self::Source(source, scope) => scope
                .decide(action, default_team)
                .map_err(|reason| Refusal { source: source.name().to_owned(), reason }),
        }
    }
}
