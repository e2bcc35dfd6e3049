//! Routes from events and webhooks to workflows: a [`Table`], parsed from the variable `routes`. The table is used for
//! requests that name no workflow themselves. Each route that matches starts its workflow, and adds its params to the
//! run.
//!
//! ```json
//! [{"workflow": "deploy", "from": "webhook", "sender": "github",
//!   "filter": {"exact": {"type": "push", "/ref": "refs/heads/main"}},
//!   "params": {"commit": "$.after", "environment": "production"}}]
//! ```
//!
//! Filters are those of the CloudEvents Subscriptions API; params are JSONPaths (RFC 9535) or literal values.
//! `docs/routes.md` describes the table.
//!
//! Pure. Names [`delivery`](crate::delivery) for the runs to start, [`event`](crate::event) and
//! [`sender`](crate::sender) for its input, and [`json`] and [`reference`](mod@crate::reference).

mod document;
mod error;
mod filter;
mod input;
mod param;
pub mod sql;
#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde_json::value::RawValue;

use crate::delivery::{Payload, Start};
use crate::json::{self, InvalidValue, Reader, Record};
use crate::reference::WorkflowRef;
use crate::sender::{CUSTOM, Preset};
use filter::Filter;
use param::{ParamSpec, ValueTooLarge};

pub use error::TableError;
pub use input::{Input, InputKind};
pub use param::ParamsTooLarge;

/// Maximum length of the table, in bytes. The table is parsed for each request that names no workflow.
pub const MAX_TABLE: usize = 262_144;
/// Maximum number of routes in a table.
pub const MAX_ROUTES: usize = 256;
/// Maximum nesting depth of filters.
pub const MAX_FILTER_DEPTH: usize = 16;
/// Maximum number of params that a route adds.
pub const MAX_PARAMS: usize = 32;
/// Maximum length of a param's name, in bytes.
pub const MAX_PARAM_NAME: usize = 128;
/// Maximum total length of the values of a route's params, in bytes. Together with a payload of the default maximum
/// size, they fit into one value of the store, which may have 1 MB.
pub const MAX_PARAM_BYTES: usize = 262_144;

/// The members of a route.
const MEMBERS: [&str; 7] = ["workflow", "from", "sender", "source", "filter", "params", "ordered"];

/// The routes, in order.
#[derive(Clone, Debug)]
pub struct Table(Vec<Route>);

/// A route to a workflow.
#[derive(Clone, Debug)]
pub struct Route {
    workflow: WorkflowRef,
    kind: InputKind,
    sender: Option<&'static str>,
    source: Option<String>,
    filter: Option<Filter>,
    params: Vec<(String, ParamSpec)>,
    is_ordered: bool,
    /// Number of routes above this one that start the same workflow.
    nth: usize,
}

impl Table {
    /// Parses the table: a JSON array of routes.
    pub fn parse(json: &str) -> Result<Self, TableError> {
        if json.len() > MAX_TABLE {
            return Err(TableError::TooLong);
        }
        let reader = Reader::root();
        let raw = json::value(json.as_bytes()).map_err(TableError::Json)?;
        let mut routes: Vec<Route> =
            match json::records(raw, &MEMBERS, |at, members| Route::new(members, &reader.at(at))) {
                Some(routes) if is_count(routes.len()) => routes.into_iter().collect::<Result<_, _>>()?,
                _ => Self::parse_each(raw, &reader)?,
            };
        let mut seen = BTreeMap::new();
        let above = routes.iter().map(|route| {
            let next = seen.entry(route.workflow.as_str()).or_insert(0_usize);
            std::mem::replace(next, next.saturating_add(1))
        });
        let above: Vec<_> = above.collect();
        for (route, nth) in routes.iter_mut().zip(above) {
            route.nth = nth;
        }
        Ok(Self(routes))
    }

    /// Parses each element by itself, for the error of the first one that has one.
    fn parse_each(raw: &RawValue, reader: &Reader<'_>) -> Result<Vec<Route>, TableError> {
        let elements = reader.elements(raw)?;
        if !is_count(elements.len()) {
            return Err(reader.error(format!("must have 1 to {MAX_ROUTES} routes")).into());
        }
        let routes = elements.into_iter().enumerate().map(|(at, raw)| {
            let reader = reader.at(at);
            Route::new(reader.known_members(raw, MEMBERS)?, &reader)
        });
        Ok(routes.collect::<Result<_, InvalidValue>>()?)
    }

    /// All routes, in order.
    pub fn iter(&self) -> impl Iterator<Item = &Route> {
        self.0.iter()
    }

    /// The routes that match, in order.
    pub fn matching(&self, input: &Input<'_>) -> impl Iterator<Item = &Route> {
        self.0.iter().filter(|route| route.matches(input))
    }
}

impl Route {
    fn new(members: Record<'_, { MEMBERS.len() }>, reader: &Reader<'_>) -> Result<Self, InvalidValue> {
        let [workflow, from, sender, source, filter, params, ordered] = members;
        let (Some(workflow), Some(from)) = (workflow, from) else {
            return Err(reader.error("must have `workflow` and `from`"));
        };
        let kind = match &*reader.at("from").text(from)? {
            "event" => InputKind::Event,
            "webhook" => InputKind::Webhook,
            _ => return Err(reader.at("from").error("must be `event` or `webhook`")),
        };
        let workflow = WorkflowRef::parse(&reader.at("workflow").text(workflow)?)
            .map_err(|error| reader.at("workflow").error(error.to_string()))?;
        let sender = sender.map(|raw| parse_sender(raw, kind, &reader.at("sender"))).transpose()?;
        let source = source.map(|raw| reader.at("source").text(raw).map(Cow::into_owned)).transpose()?;
        let filter = filter.map(|raw| Filter::parse(raw, kind, &reader.at("filter"))).transpose()?;
        let params = params.map(|raw| parse_params(raw, &reader.at("params"))).transpose()?.unwrap_or_default();
        let is_ordered = ordered.map(|raw| reader.at("ordered").boolean(raw)).transpose()?.unwrap_or_default();
        Ok(Self { workflow, kind, sender, source, filter, params, is_ordered, nth: 0 })
    }

    /// The workflow that the route starts.
    pub fn workflow(&self) -> &WorkflowRef {
        &self.workflow
    }

    /// The kind of input that the route matches.
    pub fn input_kind(&self) -> InputKind {
        self.kind
    }

    /// The only sender whose webhooks the route matches, if it names one.
    pub fn sender(&self) -> Option<&'static str> {
        self.sender
    }

    /// The name of the only source whose deliveries the route matches, if it names one.
    pub fn source(&self) -> Option<&str> {
        self.source.as_deref()
    }

    /// Returns whether the route has a filter.
    pub fn has_filter(&self) -> bool {
        self.filter.is_some()
    }

    /// The names of the params that the route adds.
    pub fn param_names(&self) -> impl Iterator<Item = &str> {
        self.params.iter().map(|(name, _)| name.as_str())
    }

    /// Whether its starts are sent one at a time, in order of arrival.
    pub fn is_ordered(&self) -> bool {
        self.is_ordered
    }

    /// The queue of its starts, if it is `ordered`: the workflow. All `ordered` routes to a workflow share one queue, so
    /// the order survives a change of the table.
    fn queue(&self) -> Option<String> {
        self.is_ordered.then(|| self.workflow.as_str().to_owned())
    }

    /// The name of the route, unique in its table: the workflow, followed by `#` and a number if routes above it start
    /// the same workflow. A workflow's own name contains no `#`.
    pub fn name(&self) -> Cow<'_, str> {
        match self.nth {
            0 => Cow::Borrowed(self.workflow.as_str()),
            nth => Cow::Owned(format!("{}#{nth}", self.workflow.as_str())),
        }
    }

    /// Returns whether the route matches this input: its kind, sender, source and filter.
    pub fn matches(&self, input: &Input<'_>) -> bool {
        self.kind == input.kind()
            && self.sender.is_none_or(|sender| input.sender() == Some(sender))
            && self.source.as_deref().is_none_or(|source| input.source() == Some(source))
            && self.filter.as_ref().is_none_or(|filter| filter.matches(input))
    }

    /// The run to start, with the payload and the route's params. Omits params whose path selects nothing.
    pub fn start<'a>(&'a self, input: &Input<'a>, payload: Payload<'a>) -> Result<Start<'a>, ParamsTooLarge> {
        let mut params = Vec::new();
        let mut left = MAX_PARAM_BYTES;
        for (name, spec) in &self.params {
            let value = spec.value(input, left).map_err(|ValueTooLarge| ParamsTooLarge { param: name.clone() })?;
            if let Some(value) = value {
                left = left.saturating_sub(value.get().len());
                params.push((name.clone(), value));
            }
        }
        Ok(Start {
            workflow: self.workflow.clone(),
            payload,
            trigger: input.trigger(),
            params,
            queue: self.queue(),
            source: None,
            replay_of: None,
        })
    }
}

/// Whether a table may have this number of routes.
fn is_count(routes: usize) -> bool {
    (1..=MAX_ROUTES).contains(&routes)
}

/// Parses the name of a sender: `custom`, or a preset's name or alias. Returns the preset's name for an alias.
fn parse_sender(raw: &RawValue, kind: InputKind, reader: &Reader<'_>) -> Result<&'static str, InvalidValue> {
    if kind == InputKind::Event {
        return Err(reader.error("is for webhooks only: filter events by their attributes"));
    }
    match &*reader.text(raw)? {
        CUSTOM => Ok(CUSTOM),
        name => Preset::by_name(name)
            .map(|preset| preset.name)
            .ok_or_else(|| reader.error("must be a sender that docs/senders.md lists, or `custom`")),
    }
}

fn parse_params(raw: &RawValue, reader: &Reader<'_>) -> Result<Vec<(String, ParamSpec)>, InvalidValue> {
    let members = reader.members(raw)?;
    if members.len() > MAX_PARAMS {
        return Err(reader.error(format!("must have at most {MAX_PARAMS} params")));
    }
    let params = members.into_iter().zip(1_usize..).map(|((name, raw), n)| {
        if name.is_empty() || name.len() > MAX_PARAM_NAME {
            return Err(reader.error(format!("must have names of 1 to {MAX_PARAM_NAME} bytes: see member {n}")));
        }
        let spec = ParamSpec::parse(raw, &reader.at(&*name))?;
        Ok((name.into_owned(), spec))
    });
    params.collect()
}
