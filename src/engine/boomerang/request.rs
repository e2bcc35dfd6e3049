//! The requests to Boomerang.

use std::collections::BTreeMap;

use http::header::CONTENT_TYPE;
use http::{Method, Request};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Serialize;
use serde_json::value::RawValue;

use super::DELIVERY_LABEL;
use crate::callback::{Callback, Status};
use crate::delivery::{Delivery, Payload, Start, Trigger, Work};
use crate::engine::{Engine, RequestError};
use crate::json::{self, SingleMember};

/// The name of a param.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(untagged)]
enum ParamName<'a> {
    /// Fixed by the contract or a route.
    Fixed(&'a str),
    /// The name of a member in the sender's spelling: a JSON string token.
    Member(&'a RawValue),
}

#[derive(Clone, Copy, Debug, Serialize)]
struct Param<'a> {
    name: ParamName<'a>,
    value: &'a RawValue,
}

/// Builds `POST /api/v1/workflow/{ref}/submit?start={bool}` for a start, `PUT /api/v1/workflowrun/{ref}/event` for a
/// callback.
pub(super) fn deliver(engine: &Engine, delivery: &Delivery<'_>) -> Result<Request<Vec<u8>>, RequestError> {
    match &delivery.work {
        Work::Start(start) => submit(engine, start, &delivery.label()),
        Work::Resolve(callback) => event(engine, callback),
    }
}

/// Builds `GET /api/v1/workflowrun/query?labels=&limit=1`, which finds the run with a label.
pub(super) fn find(engine: &Engine, label: &str) -> Result<Request<Vec<u8>>, RequestError> {
    let label = format!("{DELIVERY_LABEL}={label}");
    let label = utf8_percent_encode(&label, NON_ALPHANUMERIC);
    let uri = engine.url.join(&format!("/api/v1/workflowrun/query?labels={label}&limit=1")).ok_or(RequestError)?;
    Request::builder().method(Method::GET).uri(uri).body(Vec::new()).map_err(|_| RequestError)
}

fn submit(engine: &Engine, start: &Start<'_>, label: &str) -> Result<Request<Vec<u8>>, RequestError> {
    #[derive(Serialize)]
    struct Submit<'a> {
        trigger: Trigger,
        params: &'a [Param<'a>],
        labels: SingleMember<'a, &'a str>,
    }
    let params = params(start);
    let body = Submit { trigger: start.trigger, params: &params, labels: SingleMember(DELIVERY_LABEL, label) };
    let path = format!("/api/v1/workflow/{}/submit?start={}", start.workflow.to_segment(), engine.start);
    request(engine, Method::POST, &path, &body, &params)
}

fn event(engine: &Engine, callback: &Callback<'_>) -> Result<Request<Vec<u8>>, RequestError> {
    #[derive(Serialize)]
    struct Event<'a> {
        topic: &'a str,
        status: Status,
        results: &'a [Param<'a>],
    }
    let data = callback.payload.as_deref().map(|value| Param { name: ParamName::Fixed("data"), value });
    let results = data.as_slice();
    let body = Event { topic: callback.topic.as_str(), status: callback.status, results };
    let path = format!("/api/v1/workflowrun/{}/event", callback.run.to_segment());
    request(engine, Method::PUT, &path, &body, results)
}

/// The params of a run, in this order: for an event, `event`; `data`; the params of a route; for an event, each member
/// of `data`. Of several params with the same name, the first counts. Of several members with the same name, the last
/// counts, as in most JSON parsers.
fn params<'a>(start: &'a Start<'_>) -> Vec<Param<'a>> {
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

fn request(
    engine: &Engine,
    method: Method,
    path: &str,
    body: &impl Serialize,
    params: &[Param<'_>],
) -> Result<Request<Vec<u8>>, RequestError> {
    let uri = engine.url.join(path).ok_or(RequestError)?;
    // Enough for the payload, which would otherwise be copied each time the buffer grows.
    let capacity = params.iter().fold(512_usize, |sum, param| sum.saturating_add(param.value.get().len()));
    let mut bytes = Vec::with_capacity(capacity);
    serde_json::to_writer(&mut bytes, body).map_err(|_| RequestError)?;
    Request::builder()
        .method(method)
        .uri(uri)
        .header(CONTENT_TYPE, "application/json")
        .body(bytes)
        .map_err(|_| RequestError)
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use http::HeaderMap;

    use super::*;
    use crate::delivery::DeliveryId;
    use crate::engine::EngineUrl;
    use crate::reference::{RunRef, Topic, WorkflowRef};
    use crate::time::Timestamp;

    fn raw(json: &str) -> Cow<'_, RawValue> {
        Cow::Borrowed(serde_json::from_str(json).unwrap())
    }

    fn engine(start: bool) -> Engine {
        Engine {
            profile: &super::super::Boomerang,
            url: EngineUrl::parse("http://engine:8080").unwrap(),
            token: None,
            start,
        }
    }

    fn built(work: Work<'_>) -> (Method, String, String) {
        let engine = engine(true);
        let id = DeliveryId::parse("01M85MNVRRNF3YKJSMZYXYD1X7").unwrap();
        let request = deliver(&engine, &Delivery::new(id, work, HeaderMap::new(), Timestamp(0))).unwrap();
        let body = String::from_utf8(request.body().clone()).unwrap();
        (request.method().clone(), request.uri().to_string(), body)
    }

    #[test]
    fn submit_follows_the_contract() {
        let workflow = WorkflowRef::parse("my flow").unwrap();
        let payload = Payload::Webhook(raw(r#"{"n":12345678901234567890,"a":1,"a":2}"#));
        let (method, uri, body) = built(Work::Start(Start::new(workflow.clone(), payload)));
        assert_eq!(method, Method::POST);
        assert_eq!(uri, "http://engine:8080/api/v1/workflow/my%20flow/submit?start=true");
        assert_eq!(
            body,
            r#"{"trigger":"webhook","params":[{"name":"data","value":{"n":12345678901234567890,"a":1,"a":2}}],"labels":{"sluice.dev/delivery":"01M85MNVRRNF3YKJSMZYXYD1X7"}}"#
        );
        let data = r#"{"\u0061":1.417566161e9}"#;
        let payload = Payload::Event { whole: raw(r#"{"id":1}"#), data: Some(raw(data)) };
        let (.., body) = built(Work::Start(Start::new(workflow, payload)));
        assert!(
            body.starts_with(
                r#"{"trigger":"event","params":[{"name":"event","value":{"id":1}},{"name":"data","value":{"\u0061":1.417566161e9}},{"name":"\u0061","value":1.417566161e9}],"#
            ),
            "{body}"
        );
    }

    #[test]
    fn params_of_a_route_come_after_fixed_params_and_before_members() {
        let workflow = WorkflowRef::parse("w").unwrap();
        // A table rejects the name `data`, but a stored record might contain it.
        let params = ["a", "data", "x"].map(|name| (name.to_owned(), raw("12345678901234567890"))).to_vec();
        let payload = Payload::Event { whole: raw("{}"), data: Some(raw(r#"{"a":1,"b":2}"#)) };
        let start = Start { params: params.clone(), ..Start::new(workflow.clone(), payload) };
        let (.., body) = built(Work::Start(start));
        let names: serde_json::Value = serde_json::from_str(&body).unwrap();
        let names: Vec<_> = names["params"].as_array().unwrap().iter().map(|p| p["name"].as_str().unwrap()).collect();
        assert_eq!(names, ["event", "data", "a", "x", "b"]);
        assert!(body.contains(r#"{"name":"a","value":12345678901234567890}"#), "{body}");

        let start = Start::new(workflow, Payload::Webhook(raw(r#"{"a":1}"#)));
        let (.., body) = built(Work::Start(Start { trigger: Trigger::Github, params, ..start }));
        assert!(
            body.starts_with(
                r#"{"trigger":"github","params":[{"name":"data","value":{"a":1}},{"name":"a","value":12345678901234567890},{"name":"x","#
            ),
            "{body}"
        );
    }

    #[test]
    fn event_follows_the_contract() {
        let callback = |payload| {
            let (run, topic) = (RunRef::parse("5f1").unwrap(), Topic::parse("a \"b\"").unwrap());
            Work::Resolve(Callback { run, topic, status: Status::Failed, payload })
        };
        let (method, uri, body) = built(callback(Some(raw(r#"{"ok":1e2}"#))));
        assert_eq!((method, uri.as_str()), (Method::PUT, "http://engine:8080/api/v1/workflowrun/5f1/event"));
        assert_eq!(body, r#"{"topic":"a \"b\"","status":"failed","results":[{"name":"data","value":{"ok":1e2}}]}"#);
        assert_eq!(built(callback(None)).2, r#"{"topic":"a \"b\"","status":"failed","results":[]}"#);
    }

    #[test]
    fn run_is_looked_up_by_its_label() {
        let request = find(&engine(false), "01M8").unwrap();
        assert_eq!(request.method(), Method::GET);
        assert_eq!(
            request.uri(),
            "http://engine:8080/api/v1/workflowrun/query?labels=sluice%2Edev%2Fdelivery%3D01M8&limit=1"
        );
    }
}
