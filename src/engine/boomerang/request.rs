//! What the engine gets.

use std::collections::BTreeMap;

use http::header::CONTENT_TYPE;
use http::{Method, Request};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Serialize;
use serde_json::value::RawValue;

use super::DELIVERY_LABEL;
use crate::callback::{Callback, Status};
use crate::delivery::{Delivery, Payload, Start, Trigger, Work};
use crate::engine::EngineUrl;
use crate::json::{self, SingleMember};

/// A request that can't be built: the engine's URL and the reference are checked, so nothing that a sender did.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the request to the engine can't be built")]
pub struct RequestError;

/// The name of a param: ours, a route's, or a member's, in its own spelling.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(untagged)]
enum ParamName<'a> {
    /// One that the contract fixes, or a route.
    Fixed(&'a str),
    /// A JSON string token.
    Member(&'a RawValue),
}

#[derive(Clone, Copy, Debug, Serialize)]
struct Param<'a> {
    name: ParamName<'a>,
    value: &'a RawValue,
}

/// The request that brings a delivery to the engine: `POST /api/v1/workflow/{ref}/submit?start={bool}` or
/// `PUT /api/v1/workflowrun/{ref}/event`.
pub fn bring(engine: &EngineUrl, auto_start: bool, delivery: &Delivery<'_>) -> Result<Request<Vec<u8>>, RequestError> {
    match &delivery.work {
        Work::Start(start) => submit(engine, auto_start, start, &delivery.mark()),
        Work::Resolve(callback) => event(engine, callback),
    }
}

/// `GET /api/v1/workflowrun/query`: the run that carries a mark, if there is one.
pub fn find(engine: &EngineUrl, mark: &str) -> Result<Request<Vec<u8>>, RequestError> {
    let label = format!("{DELIVERY_LABEL}={mark}");
    let label = utf8_percent_encode(&label, NON_ALPHANUMERIC);
    let uri = engine.join(&format!("/api/v1/workflowrun/query?labels={label}&limit=1")).ok_or(RequestError)?;
    Request::builder().method(Method::GET).uri(uri).body(Vec::new()).map_err(|_| RequestError)
}

fn submit(
    engine: &EngineUrl,
    auto_start: bool,
    start: &Start<'_>,
    mark: &str,
) -> Result<Request<Vec<u8>>, RequestError> {
    #[derive(Serialize)]
    struct Submit<'a> {
        trigger: Trigger,
        params: &'a [Param<'a>],
        labels: SingleMember<'a, &'a str>,
    }
    let params = params(start);
    let body = Submit { trigger: start.trigger, params: &params, labels: SingleMember(DELIVERY_LABEL, mark) };
    let path = format!("/api/v1/workflow/{}/submit?start={auto_start}", start.workflow.to_segment());
    request(engine, Method::POST, &path, &body, &params)
}

fn event(engine: &EngineUrl, callback: &Callback<'_>) -> Result<Request<Vec<u8>>, RequestError> {
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

/// A webhook is the param `data`. An event is `event`, `data`, then each member of `data`: of two of one name the later
/// counts, as it does for most readers of JSON. What a route adds comes before the members. None of these is ever
/// overwritten by what comes after it.
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
        // Half a surrogate pair has no text; its spelling tells it apart.
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
    engine: &EngineUrl,
    method: Method,
    path: &str,
    body: &impl Serialize,
    params: &[Param<'_>],
) -> Result<Request<Vec<u8>>, RequestError> {
    let uri = engine.join(path).ok_or(RequestError)?;
    // With room for the payload: a large one would be moved each time that the buffer grows.
    let room = params.iter().fold(512_usize, |room, param| room.saturating_add(param.value.get().len()));
    let mut bytes = Vec::with_capacity(room);
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
    use crate::reference::{RunRef, Topic, WorkflowRef};
    use crate::time::Timestamp;

    fn raw(json: &str) -> Cow<'_, RawValue> {
        Cow::Borrowed(serde_json::from_str(json).unwrap())
    }

    fn built(work: Work<'_>) -> (Method, String, String) {
        let engine = EngineUrl::parse("http://engine:8080").unwrap();
        let id = DeliveryId::parse("01M85MNVRRNF3YKJSMZYXYD1X7").unwrap();
        let request = bring(&engine, true, &Delivery::new(id, work, HeaderMap::new(), Timestamp(0))).unwrap();
        let body = String::from_utf8(request.body().clone()).unwrap();
        (request.method().clone(), request.uri().to_string(), body)
    }

    #[test]
    fn a_submit_is_as_the_contract_says() {
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
    fn what_a_route_adds_comes_after_what_the_contract_fixes_and_before_members() {
        let workflow = WorkflowRef::parse("w").unwrap();
        // A table refuses the name `data`; a stored record might have it all the same.
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
    fn an_event_is_as_the_contract_says() {
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
    fn a_run_is_asked_for_by_its_label() {
        let request = find(&EngineUrl::parse("http://engine:8080").unwrap(), "01M8").unwrap();
        assert_eq!(request.method(), Method::GET);
        assert_eq!(
            request.uri(),
            "http://engine:8080/api/v1/workflowrun/query?labels=sluice%2Edev%2Fdelivery%3D01M8&limit=1"
        );
    }
}
