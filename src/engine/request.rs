//! Builds requests from the templates of a profile.
//!
//! A hole in a path, a query or a header is written `{name}`. In a path, it becomes exactly one percent-encoded segment,
//! except for `base_path`, which is a path itself. A hole in a body is the object `{"$": "name"}`; it becomes a JSON
//! value, which keeps the sender's spelling. A member or element whose hole has no value is omitted, and so is an object
//! or array that would be left empty. `docs/engines/README.md` lists the holes of each operation.

use std::borrow::Cow;
use std::collections::BTreeMap;

use http::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use http::{HeaderMap, Method, Request};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::ser::Serializer;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::form::{BodyForm, Template};
use super::names::base64;
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

/// The form of a value in a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Filter {
    /// A JSON value becomes a JSON string with its text.
    Text,
    /// A string with the base64 of the JSON's bytes, or of a text's bytes.
    Base64,
    /// A text in lower case.
    Lower,
    /// Like [`Text`](Self::Text), with only plain characters in its strings: braces, `$` and characters that are not
    /// printable ASCII are escaped. It is the same JSON to a parser, and no template to an engine that renders those.
    Inert,
}

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
            fill(value, holes, &mut body)?
        }
        (BodyForm::Raw, Some(value)) => {
            body.reserve_exact(capacity);
            raw(value, holes, &mut body)?
        }
        (BodyForm::Urlencoded, Some(value)) => {
            body = urlencoded(value, holes)?;
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
    let mut request = Request::builder().method(method).uri(url.join(&target).ok_or(RequestError)?);
    if let Some(all) = request.headers_mut() {
        *all = headers;
    }
    request.body(body).map_err(|_| RequestError)
}

/// Appends the query to a path.
fn add_query(target: &mut String, query: Option<&RawValue>, holes: &Holes<'_, '_>) -> Result<(), RequestError> {
    for (name, value) in texts(query)? {
        let value = expand(&value, holes, |_, text| Ok(text.to_owned()))?;
        push_parameter(target, &name, &value);
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
    given: Option<&RawValue>,
    holes: &Holes<'_, '_>,
) -> Result<(), RequestError> {
    for (name, value) in texts(given)? {
        let value = expand(&value, holes, |_, text| Ok(text.to_owned()))?;
        let name: HeaderName = name.parse().map_err(|_| RequestError)?;
        let is_printable = value.bytes().all(|b| matches!(b, b' '..=b'~')) && value.trim() == value;
        let value: Option<HeaderValue> = value.parse().ok().filter(|_| is_printable);
        headers.insert(name, value.ok_or(RequestError)?);
    }
    Ok(())
}

/// The names and texts of an object.
fn texts(object: Option<&RawValue>) -> Result<Vec<(String, String)>, RequestError> {
    let Some(object) = object else { return Ok(Vec::new()) };
    let members = json::members(object).ok_or(RequestError)?;
    let texts = members.into_iter().map(|(name, value)| json::text(name).zip(json::text(value)).ok_or(RequestError));
    texts.collect()
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

/// A hole in a body.
struct BodyHole {
    name: String,
    filter: Option<Filter>,
    /// The JSON that is written if the hole has no value.
    otherwise: Option<Box<RawValue>>,
}

/// The meaning of an object in a body.
enum Node<'t> {
    /// `{"$": NAME}`, perhaps with `as` and `or`.
    Hole(BodyHole),
    /// `{"$text": TEXT}`.
    Text(String),
    /// `{"$json": BODY}`: the text of a body.
    Json(&'t RawValue),
    /// Members that are written as they are.
    Members(Vec<(&'t RawValue, &'t RawValue)>),
}

impl<'t> Node<'t> {
    /// Reads a value; `None` if it isn't an object.
    fn read(template: &'t RawValue) -> Result<Option<Self>, RequestError> {
        let Some(members) = json::members(template) else { return Ok(None) };
        if !members.iter().any(|(name, _)| name.get().starts_with("\"$")) {
            return Ok(Some(Self::Members(members)));
        }
        let named = |wanted: &str| members.iter().find(|(name, _)| name.get() == wanted).map(|(_, value)| *value);
        if let Some(hole) = named("\"$\"") {
            let name = json::text(hole).ok_or(RequestError)?;
            let filter = named("\"as\"").map(|raw| serde_json::from_str(raw.get())).transpose();
            let filter: Option<Filter> = filter.map_err(|_| RequestError)?;
            let otherwise = named("\"or\"").map(ToOwned::to_owned);
            let expected = [filter.is_some(), otherwise.is_some()].into_iter().filter(|is_given| *is_given).count();
            let expected = expected.saturating_add(1);
            return if members.len() == expected {
                Ok(Some(Self::Hole(BodyHole { name, filter, otherwise })))
            } else {
                Err(RequestError)
            };
        }
        match (named("\"$text\""), named("\"$json\""), members.len()) {
            (Some(text), None, 1) => json::text(text).map(|text| Some(Self::Text(text))).ok_or(RequestError),
            (None, Some(body), 1) => Ok(Some(Self::Json(body))),
            (None, None, _) => Ok(Some(Self::Members(members))),
            _ => Err(RequestError),
        }
    }
}

/// Whether a body is one hole.
pub(super) fn is_one_hole(template: &RawValue) -> bool {
    matches!(Node::read(template), Ok(Some(Node::Hole(_))))
}

/// The names of the holes in a body; an error if a hole is malformed.
pub(super) fn holes_of_body(template: &RawValue) -> Result<Vec<String>, RequestError> {
    if let Some(elements) = json::elements(template) {
        return Ok(elements.into_iter().map(holes_of_body).collect::<Result<Vec<_>, _>>()?.concat());
    }
    Ok(match Node::read(template)? {
        None => Vec::new(),
        Some(Node::Hole(hole)) => vec![hole.name],
        Some(Node::Text(text)) => holes_of(&text).ok_or(RequestError)?.into_iter().map(str::to_owned).collect(),
        Some(Node::Json(body)) => holes_of_body(body)?,
        Some(Node::Members(members)) => {
            let holes = members.into_iter().map(|(_, value)| holes_of_body(value));
            holes.collect::<Result<Vec<_>, _>>()?.concat()
        }
    })
}

/// Writes the value that a template stands for. Returns false if it has none, and is omitted.
fn fill(template: &RawValue, holes: &Holes<'_, '_>, out: &mut Vec<u8>) -> Result<bool, RequestError> {
    if let Some(elements) = json::elements(template) {
        return fill_all(elements.into_iter().map(|value| (None, value)), (b'[', b']'), holes, out);
    }
    match Node::read(template)? {
        // Neither an array nor an object: no hole.
        None => {
            out.extend_from_slice(template.get().as_bytes());
            Ok(true)
        }
        Some(Node::Hole(hole)) => fill_hole(&hole, holes, out),
        Some(Node::Text(text)) => write(&expand(&text, holes, |_, text| Ok(text.to_owned()))?, out),
        Some(Node::Json(body)) => {
            let mut json = Vec::new();
            let has_value = fill(body, holes, &mut json)?;
            if has_value {
                write(&String::from_utf8(json).map_err(|_| RequestError)?, out)?;
            }
            Ok(has_value)
        }
        Some(Node::Members(members)) => {
            fill_all(members.into_iter().map(|(name, value)| (Some(name), value)), (b'{', b'}'), holes, out)
        }
    }
}

/// Writes an array or an object. It is omitted if it has values and none of them is written.
fn fill_all<'t>(
    values: impl Iterator<Item = (Option<&'t RawValue>, &'t RawValue)>,
    (open, close): (u8, u8),
    holes: &Holes<'_, '_>,
    out: &mut Vec<u8>,
) -> Result<bool, RequestError> {
    let start = out.len();
    let (mut has_values, mut is_first) = (false, true);
    out.push(open);
    for (name, value) in values {
        has_values = true;
        let end = out.len();
        if !is_first {
            out.push(b',');
        }
        if let Some(name) = name {
            out.extend_from_slice(name.get().as_bytes());
            out.push(b':');
        }
        if fill(value, holes, out)? {
            is_first = false;
        } else {
            out.truncate(end);
        }
    }
    if is_first && has_values {
        out.truncate(start);
        return Ok(false);
    }
    out.push(close);
    Ok(true)
}

fn fill_hole(hole: &BodyHole, holes: &Holes<'_, '_>, out: &mut Vec<u8>) -> Result<bool, RequestError> {
    let Some(value) = holes(&hole.name) else {
        let otherwise = hole.otherwise.as_ref().map(|json| out.extend_from_slice(json.get().as_bytes()));
        return Ok(otherwise.is_some());
    };
    match (hole.filter, value) {
        (None | Some(Filter::Text), Hole::Text(text)) => write(&text, out),
        (Some(Filter::Lower), Hole::Text(text)) => write(&text.to_lowercase(), out),
        (Some(Filter::Base64), Hole::Text(text)) => write(&base64(text.as_bytes()), out),
        (None, value) => {
            value.write_json(out)?;
            Ok(true)
        }
        (Some(Filter::Text), Hole::Json(value)) => write(&value.get(), out),
        (Some(Filter::Base64), Hole::Json(value)) => write(&base64(value.get()), out),
        (Some(Filter::Text), value) => write(&value.json()?, out),
        (Some(Filter::Base64), value) => write(&base64(value.json()?), out),
        (Some(Filter::Inert), value) => write(&inert(&value.json()?), out),
        (Some(Filter::Lower), _) => Err(RequestError),
    }
}

/// Escapes the characters in a JSON text's strings that are braces, `$`, or not printable ASCII.
pub(super) fn inert(json: &str) -> String {
    let mut escaped = String::with_capacity(json.len());
    let (mut in_string, mut after_backslash) = (false, false);
    for c in json.chars() {
        let is_plain = matches!(c, ' '..='~') && !matches!(c, '{' | '}' | '$');
        if in_string && !is_plain && !after_backslash {
            for unit in c.encode_utf16(&mut [0; 2]) {
                escaped.push_str(&format!("\\u{unit:04x}"));
            }
            continue;
        }
        if c == '"' && !after_backslash {
            in_string = !in_string;
        }
        after_backslash = in_string && c == '\\' && !after_backslash;
        escaped.push(c);
    }
    escaped
}

impl Hole<'_> {
    fn write_json(&self, out: &mut Vec<u8>) -> Result<(), RequestError> {
        match self {
            Self::Text(text) => drop(write(text, out)?),
            Self::Json(value) => out.extend_from_slice(value.get().as_bytes()),
            Self::Built(json) => out.extend_from_slice(json.as_bytes()),
            Self::Number(number) => out.extend_from_slice(number.as_bytes()),
            Self::Params(params) => drop(write(params, out)?),
            Self::Object(members) => {
                let mut object = serde_json::Serializer::new(out);
                object.collect_map(members.iter().copied()).map_err(|_| RequestError)?;
            }
        }
        Ok(())
    }

    fn json(&self) -> Result<String, RequestError> {
        let mut json = Vec::new();
        self.write_json(&mut json)?;
        String::from_utf8(json).map_err(|_| RequestError)
    }
}

/// Writes the bytes of one hole. Returns whether they are JSON.
fn raw(template: &RawValue, holes: &Holes<'_, '_>, out: &mut Vec<u8>) -> Result<bool, RequestError> {
    let Some(Node::Hole(hole)) = Node::read(template)? else { return Err(RequestError) };
    match holes(&hole.name) {
        None => Ok(false),
        Some(Hole::Text(text)) => {
            out.extend_from_slice(text.as_bytes());
            Ok(false)
        }
        Some(value) => {
            value.write_json(out)?;
            Ok(true)
        }
    }
}

/// Encodes a flat object as a form. JSON becomes its text.
fn urlencoded(template: &RawValue, holes: &Holes<'_, '_>) -> Result<Vec<u8>, RequestError> {
    let mut form = form_urlencoded::Serializer::new(String::new());
    for (name, value) in json::members(template).ok_or(RequestError)? {
        let mut json = Vec::new();
        if !fill(value, holes, &mut json)? {
            continue;
        }
        let value = String::from_utf8(json).map_err(|_| RequestError)?;
        let text = serde_json::from_str::<String>(&value).unwrap_or(value);
        form.append_pair(&json::text(name).ok_or(RequestError)?, &text);
    }
    Ok(form.finish().into_bytes())
}

fn write(value: &impl Serialize, out: &mut Vec<u8>) -> Result<bool, RequestError> {
    serde_json::to_writer(out, value).map_err(|_| RequestError)?;
    Ok(true)
}
