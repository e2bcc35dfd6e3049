//! Which workflows an event or a webhook starts where nothing names one, and with which params: the variable `routes`, a
//! [`Table`]. All routes that match fire.

mod document;
mod filter;
mod input;
mod param;
mod reader;
#[cfg(test)]
mod tests;

use std::borrow::Cow;

use serde_json::value::RawValue;

use crate::delivery::{Payload, Start};
use crate::json;
use crate::reference::WorkflowRef;
use crate::sender::{CUSTOM, Preset};
use filter::Filter;
use param::Param;
use reader::Reader;

pub use input::{Incoming, Input};
pub use param::TooLarge;
pub use reader::TableError;

/// The longest table, in bytes. It is read for each request that names no workflow.
pub const MAX_TABLE: usize = 262_144;
/// How many routes a table may have.
pub const MAX_ROUTES: usize = 256;
/// How deep filters may nest.
pub const MAX_FILTER_DEPTH: usize = 16;
/// How many params a route may add.
pub const MAX_PARAMS: usize = 32;
/// The longest name of a param, in bytes.
pub const MAX_NAME: usize = 128;
/// How large the params of one route may be together, in bytes: with a payload of the default size they still fit into
/// one value of the store, which may have 1 MB.
pub const MAX_PARAM_BYTES: usize = 262_144;

/// The contract's own params, which no route overwrites.
const RESERVED: [&str; 2] = ["event", "data"];

/// The routes, in order.
#[derive(Clone, Debug)]
pub struct Table(Vec<Route>);

/// What starts a workflow.
#[derive(Clone, Debug)]
pub struct Route {
    workflow: WorkflowRef,
    from: Incoming,
    sender: Option<&'static str>,
    filter: Option<Filter>,
    params: Vec<(String, Param)>,
    nth: usize,
}

impl Table {
    /// Reads the table: a JSON array of routes.
    pub fn parse(json: &str) -> Result<Self, TableError> {
        if json.len() > MAX_TABLE {
            return Err(TableError::TooLong);
        }
        let raw = json::value(json.as_bytes()).map_err(TableError::Json)?;
        let reader = Reader::root();
        let elements = reader.elements(raw)?;
        if elements.is_empty() || elements.len() > MAX_ROUTES {
            return Err(reader.wrong(format!("must have from 1 to {MAX_ROUTES} routes")));
        }
        let mut routes: Vec<Route> = Vec::with_capacity(elements.len());
        for (at, raw) in elements.into_iter().enumerate() {
            let mut route = Route::parse(raw, &reader.at(at))?;
            route.nth = routes.iter().filter(|above| above.workflow == route.workflow).count();
            routes.push(route);
        }
        Ok(Self(routes))
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
    fn parse(raw: &RawValue, reader: &Reader) -> Result<Self, TableError> {
        let [workflow, from, sender, filter, params] =
            reader.known(raw, ["workflow", "from", "sender", "filter", "params"])?;
        let (Some(workflow), Some(from)) = (workflow, from) else {
            return Err(reader.wrong("must have `workflow` and `from`"));
        };
        let from = match reader.at("from").text(from)?.as_str() {
            "event" => Incoming::Event,
            "webhook" => Incoming::Webhook,
            _ => return Err(reader.at("from").wrong("must be `event` or `webhook`")),
        };
        let workflow = WorkflowRef::parse(&reader.at("workflow").text(workflow)?)
            .map_err(|error| reader.at("workflow").wrong(error.to_string()))?;
        let sender = sender.map(|raw| self::sender(raw, from, &reader.at("sender"))).transpose()?;
        let filter = filter.map(|raw| Filter::parse(raw, from, &reader.at("filter"))).transpose()?;
        let params = params.map(|raw| self::params(raw, &reader.at("params"))).transpose()?.unwrap_or_default();
        Ok(Self { workflow, from, sender, filter, params, nth: 0 })
    }

    /// The workflow that it starts.
    pub fn workflow(&self) -> &WorkflowRef {
        &self.workflow
    }

    /// What it is for.
    pub fn incoming(&self) -> Incoming {
        self.from
    }

    /// The only sender whose webhooks it takes, where it names one.
    pub fn sender(&self) -> Option<&'static str> {
        self.sender
    }

    /// Does it take only what its filter lets through?
    pub fn is_filtered(&self) -> bool {
        self.filter.is_some()
    }

    /// The names of the params that it adds.
    pub fn param_names(&self) -> impl Iterator<Item = &str> {
        self.params.iter().map(|(name, _)| name.as_str())
    }

    /// What is its own among the routes of its table: the workflow, and which of its routes this is, if it isn't the
    /// first. No workflow has a `#` in its name.
    pub fn name(&self) -> Cow<'_, str> {
        match self.nth {
            0 => Cow::Borrowed(self.workflow.as_str()),
            nth => Cow::Owned(format!("{}#{nth}", self.workflow.as_str())),
        }
    }

    /// Is this for it?
    pub fn matches(&self, input: &Input<'_>) -> bool {
        self.from == input.incoming()
            && self.sender.is_none_or(|sender| input.sender() == Some(sender))
            && self.filter.as_ref().is_none_or(|filter| filter.matches(input))
    }

    /// The run to start, with the payload, and with the route's params as far as they have a value.
    pub fn start<'a>(&'a self, input: &Input<'a>, payload: Payload<'a>) -> Result<Start<'a>, TooLarge> {
        let mut params = Vec::new();
        let mut left = MAX_PARAM_BYTES;
        for (name, param) in &self.params {
            let value = param.value(input, left).map_err(|()| TooLarge { param: name.clone() })?;
            if let Some(value) = value {
                left = left.saturating_sub(value.get().len());
                params.push((name.clone(), value));
            }
        }
        Ok(Start { workflow: self.workflow.clone(), payload, trigger: input.trigger(), params })
    }
}

fn sender(raw: &RawValue, from: Incoming, reader: &Reader) -> Result<&'static str, TableError> {
    if from == Incoming::Event {
        return Err(reader.wrong("means nothing for events: filter by their attributes"));
    }
    match reader.text(raw)?.as_str() {
        CUSTOM => Ok(CUSTOM),
        name => Preset::by_name(name)
            .map(|preset| preset.name)
            .ok_or_else(|| reader.wrong("must be a sender that Sluice knows, or `custom`: docs/senders.md lists them")),
    }
}

fn params(raw: &RawValue, reader: &Reader) -> Result<Vec<(String, Param)>, TableError> {
    let members = reader.members(raw)?;
    if members.len() > MAX_PARAMS {
        return Err(reader.wrong(format!("must have at most {MAX_PARAMS} params")));
    }
    let named = members.into_iter().zip(1_usize..).map(|((name, raw), n)| {
        if RESERVED.contains(&name.as_str()) {
            return Err(reader.at(name).wrong("is a param of the contract's: take another name"));
        }
        if name.is_empty() || name.len() > MAX_NAME {
            return Err(reader.wrong(format!("must have names of 1 to {MAX_NAME} bytes: member {n}")));
        }
        let param = Param::parse(raw, &reader.at(&name))?;
        Ok((name, param))
    });
    named.collect()
}
