//! Builds requests from the templates of a profile.
//!
//! A hole in a path or query is written `{name}`. In a path, it becomes exactly one percent-encoded segment, except for
//! `base_path`, which is a path itself. A hole in a body is the object `{"$": "name"}`; it becomes a JSON value, which
//! keeps the sender's spelling. A member whose hole has no value is omitted, and so is an object that would be left
//! empty.
//!
//! | Hole | Value |
//! |---|---|
//! | `workflow`, `trigger`, `params`, `start` | of a start: the workflow's name or id, its trigger, the list of params, `true` or `false` |
//! | `run`, `topic`, `status`, `results`, `payload` | of a callback: the run, its topic, `succeeded` or `failed`, the payload as the result `data`, the payload itself |
//! | `task`, `version` | the reference of a task that is described, and its version |
//! | `label` | the label by which the run is looked up |
//! | `scope` | the scope of the workflow or run, such as a team |
//! | any other | the operator's constant of this name |

use std::borrow::Cow;
use std::collections::BTreeMap;

use http::header::CONTENT_TYPE;
use http::{Method, Request};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Serialize;
use serde_json::value::RawValue;

use super::form::Template;
use super::{EngineUrl, RequestError};
use crate::callback::Callback;
use crate::delivery::{Payload, Start, Trigger};
use crate::json;
use crate::reference::path_segment;

/// The value of a hole.
pub(super) enum Hole<'a> {
    Text(Cow<'a, str>),
    Json(&'a RawValue),
    Params(&'a [Param<'a>]),
}

/// The values of a request's holes.
pub(super) type Holes<'h, 'a> = dyn Fn(&str) -> Option<Hole<'a>> + 'h;

/// A param of a run, or a result of a callback.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct Param<'a> {
    name: ParamName<'a>,
    value: &'a RawValue,
}

impl Param<'_> {
    /// The length of its value in bytes.
    pub(super) fn len(&self) -> usize {
        self.value.get().len()
    }
}

/// The name of a param.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(untagged)]
enum ParamName<'a> {
    /// Fixed by the contract or a route.
    Fixed(&'a str),
    /// The name of a member in the sender's spelling: a JSON string token.
    Member(&'a RawValue),
}

/// The params of a run, in this order: for an event, `event`; `data`; the params of a route; for an event, each member
/// of `data`. Of several params with the same name, the first counts. Of several members with the same name, the last
/// counts, as in most JSON parsers.
pub(super) fn params<'a>(start: &'a Start<'_>) -> Vec<Param<'a>> {
    let fixed = |name, value| Param { name: ParamName::Fixed(name), value };
    let (mut params, members) = match &start.payload {
        Payload::Webhook(whole) => (vec![fixed("data", whole)], Vec::new()),
        Payload::Event { whole, data } => {
            let data = data.as_deref().unwrap_or(RawValue::NULL);
            (vec![fixed("event", whole), fixed("data", data)], json::members(data).unwrap_or_default())
        }
    };
    let mut seen = BTreeMap::from([("event".to_owned(), None), ("data".to_owned(), None)]);
    for (name, value) in &start.params {
        if seen.insert(name.clone(), None).is_none() {
            params.push(fixed(name, value));
        }
    }
    for (name, value) in members {
        // A name with an unpaired surrogate has no text: then its spelling identifies it.
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

/// The payload of a callback as the result `data`; without a payload there is no result.
pub(super) fn results<'a>(callback: &'a Callback<'_>) -> Vec<Param<'a>> {
    callback.payload.as_deref().map(|value| Param { name: ParamName::Fixed("data"), value }).into_iter().collect()
}

/// The name of a trigger in the contract.
pub(super) fn trigger(trigger: Trigger) -> &'static str {
    match trigger {
        Trigger::Webhook => "webhook",
        Trigger::Event => "event",
        Trigger::Github => "github",
    }
}

/// Builds a request. `capacity` is about the length of its body: a payload would otherwise be copied each time that
/// the buffer grows.
pub(super) fn build(
    url: &EngineUrl,
    template: &Template<'_>,
    holes: &Holes<'_, '_>,
    capacity: usize,
) -> Result<Request<Vec<u8>>, RequestError> {
    let mut target = expand(template.path, holes, |name, text| match name {
        // It was checked when the constants were parsed.
        "base_path" => Ok(text.to_owned()),
        _ => path_segment(text).map_err(|_| RequestError),
    })?;
    let query = template.query.and_then(json::members).unwrap_or_default();
    for (separator, (name, value)) in std::iter::once('?').chain(std::iter::repeat('&')).zip(query) {
        let (Some(name), Some(value)) = (json::text(name), json::text(value)) else { return Err(RequestError) };
        let value = expand(&value, holes, |_, text| Ok(text.to_owned()))?;
        target.extend([separator.to_string(), name, "=".to_owned()]);
        target.extend(utf8_percent_encode(&value, NON_ALPHANUMERIC));
    }
    let method: Method = template.method.parse().map_err(|_| RequestError)?;
    let mut request = Request::builder().method(method).uri(url.join(&target).ok_or(RequestError)?);
    let mut body = Vec::new();
    if let Some(template) = template.body {
        body.reserve_exact(capacity);
        if fill(template, holes, &mut body)? {
            request = request.header(CONTENT_TYPE, "application/json");
        }
    }
    request.body(body).map_err(|_| RequestError)
}

/// Replaces the holes `{name}` of a text.
fn expand(
    text: &str,
    holes: &Holes<'_, '_>,
    encode: impl Fn(&str, &str) -> Result<String, RequestError>,
) -> Result<String, RequestError> {
    let mut expanded = String::with_capacity(text.len().saturating_mul(2));
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('{') {
        let (name, after) = after.split_once('}').ok_or(RequestError)?;
        expanded.push_str(before);
        match holes(name) {
            Some(Hole::Text(text)) => expanded.push_str(&encode(name, &text)?),
            None if name == "base_path" => {}
            _ => return Err(RequestError),
        }
        rest = after;
    }
    expanded.push_str(rest);
    Ok(expanded)
}

/// Writes the value that a template stands for. Returns false if it has none, and is omitted.
fn fill(template: &RawValue, holes: &Holes<'_, '_>, out: &mut Vec<u8>) -> Result<bool, RequestError> {
    let Some(members) = json::members(template) else {
        // Not an object: no hole.
        out.extend_from_slice(template.get().as_bytes());
        return Ok(true);
    };
    if let [(name, hole)] = members.as_slice()
        && name.get() == "\"$\""
    {
        let hole = json::text(hole).ok_or(RequestError)?;
        return match holes(&hole) {
            None => Ok(false),
            Some(Hole::Json(value)) => {
                out.extend_from_slice(value.get().as_bytes());
                Ok(true)
            }
            Some(Hole::Text(text)) => write(&text, out),
            Some(Hole::Params(params)) => write(&params, out),
        };
    }
    let start = out.len();
    let mut is_first = true;
    for (name, value) in &members {
        let end = out.len();
        out.push(if is_first { b'{' } else { b',' });
        out.extend_from_slice(name.get().as_bytes());
        out.push(b':');
        if fill(value, holes, out)? {
            is_first = false;
        } else {
            out.truncate(end);
        }
    }
    if is_first && !members.is_empty() {
        out.truncate(start);
        return Ok(false);
    }
    if is_first {
        out.push(b'{');
    }
    out.push(b'}');
    Ok(true)
}

fn write(value: &impl Serialize, out: &mut Vec<u8>) -> Result<bool, RequestError> {
    serde_json::to_writer(out, value).map_err(|_| RequestError)?;
    Ok(true)
}
