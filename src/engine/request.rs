//! Builds requests from the templates of a profile.
//!
//! A hole in a path, a query or a header is written `{name}`. In a path, it becomes exactly one percent-encoded segment,
//! except for `base_path`, which is a path itself. Bodies are filled in [`super::body`].
//! `docs/engines/README.md` lists the holes of each operation.

use std::borrow::Cow;
use std::collections::BTreeMap;

use http::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use http::{HeaderMap, Method, Request};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Serialize;
use serde_json::value::RawValue;

use super::body::Node;
use super::form::{BodyForm, Lazy, List, Template, Text, Texts};
use super::{EngineUrl, RequestError, cloud_event};
use crate::callback::Callback;
use crate::delivery::{Payload, Start, Trigger};
use crate::json;
use crate::reference::path_segment;

/// The value of a hole.
pub(super) enum Hole<'a> {
    /// A text.
    Text(Cow<'a, str>),
    /// JSON in the sender's spelling.
    Json(&'a RawValue),
    /// JSON that was built.
    Built(String),
    /// A number.
    Number(&'a str),
    /// A list of objects with `name` and `value`.
    Params(&'a [Param<'a>]),
    /// An object of these members.
    Object(&'a [(&'a str, &'a RawValue)]),
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
    if let (Payload::Webhook(whole), true) = (&start.payload, start.params.is_empty()) {
        return vec![fixed("data", whole)];
    }
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

/// The input of a run as one JSON object: `event` with an event's attributes, `data`, and the params of a route. Members
/// of an event's data are not repeated.
pub(super) fn input<'a>(start: &'a Start<'_>, attributes: Option<&'a RawValue>) -> Vec<(&'a str, &'a RawValue)> {
    let mut input: Vec<_> = attributes.map(|attributes| ("event", attributes)).into_iter().collect();
    input.push(("data", data(start)));
    input.extend(route_params(start));
    input
}

/// The params of a route, without those that would replace the payload.
pub(super) fn route_params<'a>(start: &'a Start<'_>) -> Vec<(&'a str, &'a RawValue)> {
    let params = start.params.iter().filter(|(name, _)| !matches!(name.as_str(), "event" | "data"));
    params.map(|(name, value)| (name.as_str(), &**value)).collect()
}

/// The payload of a start: a webhook's body, or an event's data.
pub(super) fn data<'a>(start: &'a Start<'_>) -> &'a RawValue {
    match &start.payload {
        Payload::Webhook(whole) => whole,
        Payload::Event { data, .. } => data.as_deref().unwrap_or(RawValue::NULL),
    }
}

/// The whole event of a start; `None` for a webhook.
pub(super) fn event<'a>(start: &'a Start<'_>) -> Option<&'a RawValue> {
    match &start.payload {
        Payload::Webhook(_) => None,
        Payload::Event { whole, .. } => Some(whole),
    }
}

/// The attributes of an event: the event without its data.
pub(super) fn attributes(event: &RawValue) -> Option<Box<RawValue>> {
    let is_data = |name: &RawValue| json::text(name).is_some_and(|name| matches!(&*name, "data" | "data_base64"));
    let attributes = json::members(event)?.into_iter().filter(|(name, _)| !is_data(name));
    let attributes: Vec<_> = attributes.map(|(name, value)| format!("{}:{}", name.get(), value.get())).collect();
    RawValue::from_string(format!("{{{}}}", attributes.join(","))).ok()
}

/// The status and payload of a callback as one JSON object; without a payload it has no `data`.
pub(super) fn resolution(callback: &Callback<'_>) -> String {
    let status = callback.status.as_str();
    match &callback.payload {
        Some(payload) => format!(r#"{{"status":"{status}","data":{}}}"#, payload.get()),
        None => format!(r#"{{"status":"{status}"}}"#),
    }
}

/// Builds a request. `capacity` is about the length of its body: a payload would otherwise be copied each time that
/// the buffer grows. `start` is the start whose event a body in the binary content mode has.
pub(super) fn build(
    url: &EngineUrl,
    template: &Template<'_>,
    holes: &Holes<'_, '_>,
    capacity: usize,
    start: Option<&Start<'_>>,
) -> Result<Request<Vec<u8>>, RequestError> {
    let mut target = expand(&template.path, holes, |name, text| match name {
        // It was checked when the constants were parsed.
        "base_path" => Ok(text.to_owned()),
        _ => path_segment(text).map_err(|_| RequestError),
    })?;
    add_query(&mut target, template.query, holes)?;
    let method: Method = template.method.parse().map_err(|_| RequestError)?;
    let mut headers = HeaderMap::new();
    let mut body = Vec::new();
    let is_json = match (template.form, template.body) {
        (BodyForm::Json, Some(value)) => {
            body.reserve_exact(capacity);
            value.get(Node::read)?.fill(holes, &mut body)?
        }
        (BodyForm::Raw, Some(value)) => {
            body.reserve_exact(capacity);
            value.get(Node::read)?.fill_raw(holes, &mut body)?
        }
        (BodyForm::Urlencoded, Some(value)) => {
            body = value.get(Node::read_members)?.urlencoded(holes)?;
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"));
            false
        }
        (BodyForm::CloudEvent, _) => {
            let id = text_of("mark", holes).ok_or(RequestError)?;
            body = cloud_event::write(start.ok_or(RequestError)?, &id, &mut headers)?;
            false
        }
        (BodyForm::Json | BodyForm::Raw | BodyForm::Urlencoded, None) => false,
    };
    if is_json {
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    }
    add_headers(&mut headers, template.headers, holes)?;
    let mut request = Request::new(body);
    *request.method_mut() = method;
    *request.uri_mut() = url.join(&target).ok_or(RequestError)?;
    *request.headers_mut() = headers;
    Ok(request)
}

/// Appends the query to a path.
fn add_query(target: &mut String, query: Option<Texts<'_>>, holes: &Holes<'_, '_>) -> Result<(), RequestError> {
    for (name, value) in texts(query)?.iter() {
        let value = expand(value, holes, |_, text| Ok(text.to_owned()))?;
        push_parameter(target, name, &value);
    }
    Ok(())
}

/// Appends a parameter to a path with or without a query.
pub(super) fn push_parameter(target: &mut String, name: &str, value: &str) {
    target.push(if target.contains('?') { '&' } else { '?' });
    target.extend(utf8_percent_encode(name, NON_ALPHANUMERIC));
    target.push('=');
    target.extend(utf8_percent_encode(value, NON_ALPHANUMERIC));
}

/// Adds headers of a profile.
pub(super) fn add_headers(
    headers: &mut HeaderMap,
    given: Option<Texts<'_>>,
    holes: &Holes<'_, '_>,
) -> Result<(), RequestError> {
    for (name, value) in texts(given)?.iter() {
        let value = expand(value, holes, |_, text| Ok(text.to_owned()))?;
        let name: HeaderName = name.parse().map_err(|_| RequestError)?;
        let is_printable = value.bytes().all(|b| matches!(b, b' '..=b'~')) && value.trim() == value;
        let value: Option<HeaderValue> = value.parse().ok().filter(|_| is_printable);
        headers.insert(name, value.ok_or(RequestError)?);
    }
    Ok(())
}

/// The names and texts of an object.
fn texts(object: Option<Texts<'_>>) -> Result<List<'_, (Text<'_>, Text<'_>)>, RequestError> {
    match object {
        None => Ok(List::default()),
        Some(Lazy::Read(texts)) => Ok(List::Read(texts)),
        Some(Lazy::Json(part)) => {
            let members = json::members(part.value()).ok_or(RequestError)?;
            let texts =
                members.into_iter().map(|(name, value)| Text::of(name).zip(Text::of(value)).ok_or(RequestError));
            texts.collect::<Result<_, _>>().map(List::Own)
        }
    }
}

/// The value of a hole as a text; `None` for JSON.
fn text_of(name: &str, holes: &Holes<'_, '_>) -> Option<String> {
    match holes(name)? {
        Hole::Text(text) => Some(text.into_owned()),
        _ => None,
    }
}

/// Replaces the holes `{name}` of a text.
pub(super) fn expand(
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
            Some(Hole::Number(number)) => expanded.push_str(&encode(name, number)?),
            None if name == "base_path" => {}
            _ => return Err(RequestError),
        }
        rest = after;
    }
    expanded.push_str(rest);
    Ok(expanded)
}

/// The names of the holes in a text; `None` if a brace isn't closed.
pub(super) fn holes_of(text: &str) -> Option<Vec<&str>> {
    let mut names = Vec::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('{') {
        let (name, after) = after.split_once('}')?;
        if before.contains('}') {
            return None;
        }
        names.push(name);
        rest = after;
    }
    (!rest.contains('}')).then_some(names)
}
