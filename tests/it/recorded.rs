//! The exchanges that were recorded with the real services (`host/engine/vectors`), in both directions: Sluice's request
//! for each is the one that the service took, and its verdict on each response is the one in [`table::EXCHANGES`].

mod table;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fs;

use http::{HeaderMap, Request, Response, Uri};
use percent_encoding::percent_decode_str;
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;
use sluice::callback::{Callback, Status};
use sluice::delivery::{Delivery, DeliveryId, Payload, Start, Trigger, Verdict, WaitState, Work};
use sluice::engine::{Constants, Engine, EngineUrl, Names, Operation, Profile};
use sluice::reference::{RunRef, Topic, WorkflowRef};
use sluice::time::Timestamp;

use crate::fake::row;
use table::{EXCHANGES, Expected};

/// The id of the delivery whose label takes the place of the recorded one.
const ID: &str = "01M85MNVRRNF3YKJSMZYXYD1X7";
/// The key of the recorded labels, and that of Sluice's.
const LABELS: [&str; 2] = ["sluice/delivery", "sluice.dev/delivery"];

#[derive(Deserialize)]
struct Exchange {
    name: String,
    service: Option<String>,
    request: Option<Recorded>,
    response: Option<Answer>,
}

#[derive(Deserialize)]
struct Recorded {
    method: String,
    path: String,
    /// An object, or a text where its spelling matters.
    body: Box<RawValue>,
}

#[derive(Deserialize)]
struct Answer {
    status: u16,
    body: Value,
}

/// The body of a submit.
#[derive(Deserialize)]
struct Submit {
    trigger: Trigger,
    params: Vec<Param>,
    labels: BTreeMap<String, String>,
    #[serde(default)]
    annotations: BTreeMap<String, String>,
}

#[derive(Deserialize)]
struct Param {
    value: Box<RawValue>,
}

/// The body of an event.
#[derive(Deserialize)]
struct Event {
    topic: Topic,
    status: Status,
    results: Vec<Param>,
}

#[test]
fn exchanges_with_the_real_services_are_understood() {
    let key = |file: &str, name: &str| format!("{file}: {name}");
    let mut left: BTreeMap<_, _> = EXCHANGES.iter().map(|(file, name, expected)| (key(file, name), expected)).collect();
    assert_eq!(left.len(), EXCHANGES.len(), "the table has an exchange twice");
    for file in ["submit", "event", "query", "flow-api", "payload", "orphan"] {
        let path = format!("{}/host/engine/vectors/{file}.json", env!("CARGO_MANIFEST_DIR"));
        let exchanges: Vec<Exchange> = serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap();
        for exchange in &exchanges {
            let _row = row(key(file, &exchange.name));
            let expected = left.remove(&key(file, &exchange.name)).expect("the table has each exchange once");
            check(exchange, expected);
        }
    }
    assert!(left.is_empty(), "no file has {:?}", left.keys());
}

fn check(exchange: &Exchange, expected: &Expected) {
    let (request, verdict) = match expected {
        Expected::Sent(verdict) => (true, *verdict),
        Expected::Read { verdict, .. } => (false, *verdict),
        Expected::Foreign(_) => return,
    };
    let recorded = exchange.request.as_ref().expect("a request");
    let uri: Uri = recorded.path.parse().unwrap();
    let operation = operation(&recorded.method, &uri);
    let service = exchange.service.as_deref().unwrap();
    if request {
        assert_same(&built(service, operation, recorded, &uri), recorded, &uri);
    }
    assert_eq!(read(service, operation, exchange.response.as_ref().expect("a response")), verdict);
}

fn engine(service: &str, constants: &str) -> Engine<'static> {
    let (profile, constants) = match service {
        "engine 1.0.0" => ("boomerang", constants),
        "flow 4.0.0" => ("flow", r#"{"team":"acme","teams":["system"]}"#),
        other => panic!("{other}"),
    };
    let profile = Profile::built_in(profile).unwrap();
    let constants = Constants::parse(constants, &profile).unwrap();
    Engine { profile, url: EngineUrl::parse("http://engine").unwrap(), token: None, start: true, constants }
}

/// The operation of a recorded request.
fn operation(method: &str, uri: &Uri) -> Operation {
    match (method, uri.path()) {
        ("POST", path) if path.ends_with("/submit") => Operation::Start,
        ("GET", path) if path.ends_with("/workflowrun/query") => Operation::Find,
        ("GET", path) if path.contains("/workflowrun/") => Operation::Look,
        (_, path) if path.ends_with("/event") || path.ends_with("/callback") => Operation::Resume,
        ("DELETE", path) if path.ends_with("/cancel") => Operation::Cancel,
        ("GET", path) if path.contains("/workflow/") || path.contains("/task/") => Operation::Describe,
        other => panic!("{other:?}"),
    }
}

/// The decoded query.
fn query(uri: &Uri) -> BTreeMap<String, String> {
    let pairs = uri.query().into_iter().flat_map(|query| query.split('&'));
    let decode = |text: &str| percent_decode_str(text).decode_utf8().unwrap().into_owned();
    pairs.map(|pair| pair.split_once('=').unwrap()).map(|(name, value)| (name.to_owned(), decode(value))).collect()
}

/// The segment of a path that follows another one.
fn after<'u>(uri: &'u Uri, segment: &str) -> &'u str {
    let mut segments = uri.path().split('/').skip_while(|one| *one != segment);
    segments.nth(1).unwrap()
}

fn delivery(work: Work<'_>) -> Delivery<'_> {
    Delivery::new(DeliveryId::parse(ID).unwrap(), work, HeaderMap::new(), Timestamp(0))
}

/// A recorded body as it was sent.
fn body(recorded: &Recorded) -> Option<String> {
    match serde_json::from_str(recorded.body.get()).unwrap() {
        Value::Null => None,
        Value::String(text) => Some(text),
        _ => Some(recorded.body.get().to_owned()),
    }
}

/// Sluice's request for what was recorded.
fn built(service: &str, operation: Operation, recorded: &Recorded, uri: &Uri) -> Request<Vec<u8>> {
    let trace = HeaderMap::new();
    let scope = uri.path().contains("/team/").then(|| after(uri, "team"));
    let reference = |name: &str| match scope {
        Some(scope) => WorkflowRef::parse(&format!("{scope}/{name}")).unwrap(),
        None => WorkflowRef::parse(name).unwrap(),
    };
    let (query, body) = (query(uri), body(recorded));
    let request = match operation {
        Operation::Start => {
            let submit: Submit = serde_json::from_str(body.as_deref().unwrap()).unwrap();
            assert_eq!((submit.params.len(), submit.labels.len()), (1, 1), "a webhook with one label");
            let constant = |name: &str| submit.annotations.get(&format!("boomerang.io/{name}")).cloned();
            let constants: BTreeMap<_, _> = [
                ("default_image", "task-default-image"),
                ("task_deletion", "task-deletion"),
                ("task_timeout", "task-timeout"),
                ("team_name", "team-name"),
            ]
            .into_iter()
            .filter_map(|(name, annotation)| Some((name, constant(annotation)?)))
            .collect();
            let mut engine = engine(service, &serde_json::to_string(&constants).unwrap());
            engine.start = query["start"] == "true";
            let payload = Payload::Webhook(Cow::Borrowed(&submit.params[0].value));
            let start = Start { trigger: submit.trigger, ..Start::new(reference(after(uri, "workflow")), payload) };
            engine.request(&delivery(Work::Start(start)))
        }
        Operation::Find => {
            let payload = Payload::Webhook(Cow::Borrowed(RawValue::NULL));
            let delivery = delivery(Work::Start(Start::new(reference("any"), payload)));
            let engine = engine(service, "");
            engine.find(&engine.names(&delivery).unwrap(), &trace).map(Option::unwrap)
        }
        Operation::Look => engine(service, "").look(after(uri, "workflowrun"), None, scope, &trace).map(Option::unwrap),
        Operation::Cancel => engine(service, "").cancel(after(uri, "workflowrun"), scope, &trace).map(Option::unwrap),
        Operation::Resume => {
            let mut event: Option<Event> = None;
            let (run, topic, status, payload) = if uri.path().ends_with("/callback") {
                let payload = body.as_deref().map(|body| Cow::Borrowed(serde_json::from_str(body).unwrap()));
                let status = Status::parse(&query["status"]).unwrap();
                (query["ref"].as_str(), Topic::parse(&query["topic"]).unwrap(), status, payload)
            } else {
                let event = event.insert(serde_json::from_str(body.as_deref().unwrap()).unwrap());
                let payload = event.results.first().map(|param| Cow::Borrowed(&*param.value));
                (after(uri, "workflowrun"), event.topic.clone(), event.status, payload)
            };
            let run = RunRef::parse(run).unwrap();
            engine(service, "").request(&delivery(Work::Resolve(Callback { run, topic, status, payload })))
        }
        Operation::Describe if uri.path().contains("/task/") => {
            engine(service, "").describe_task(after(uri, "task"), None, scope)
        }
        Operation::Login => panic!("neither service has a login"),
        Operation::Describe => engine(service, "").describe(&reference(after(uri, "workflow"))).map(Option::unwrap),
    };
    request.unwrap()
}

/// Asserts that a request is the recorded one, but for the label, and for the number of runs that a lookup asks for.
fn assert_same(built: &Request<Vec<u8>>, recorded: &Recorded, uri: &Uri) {
    assert_eq!((built.method().as_str(), built.uri().path()), (recorded.method.as_str(), uri.path()));
    let (mut ours, mut theirs) = (query(built.uri()), query(uri));
    for (query, key) in [(&mut ours, LABELS[1]), (&mut theirs, LABELS[0])] {
        if let Some(labels) = query.get_mut("labels") {
            assert_eq!(labels.split_once('=').unwrap().0, key);
            *labels = "the label".to_owned();
            assert!(query.insert("limit".to_owned(), String::new()).unwrap().parse::<u32>().unwrap() > 0);
        }
    }
    assert_eq!(ours, theirs);
    let (ours, theirs) = (std::str::from_utf8(built.body()).unwrap(), body(recorded).unwrap_or_default());
    if recorded.body.get().starts_with('"') {
        // A text: the spelling counts too, all but the label.
        let until = |text: &str| text.split_once(r#""labels""#).unwrap().0.to_owned();
        assert_eq!(until(ours), until(&theirs));
    }
    let value = |text: &str| {
        let mut value: Value = if text.is_empty() { Value::Null } else { serde_json::from_str(text).unwrap() };
        if let Some(labels) = value.get_mut("labels") {
            assert_eq!(labels.as_object().unwrap().len(), 1);
            *labels = Value::Null;
        }
        value
    };
    assert_eq!(value(ours), value(&theirs));
}

/// Sluice's verdict on a recorded response, with what it reads of the runs.
fn read(service: &str, operation: Operation, answer: &Answer) -> String {
    let engine = engine(service, "");
    let body = match &answer.body {
        Value::Null => Vec::new(),
        Value::String(text) => text.clone().into_bytes(),
        json => {
            let mut json = json.clone();
            let runs = json.get_mut("content").and_then(Value::as_array_mut).into_iter().flatten();
            runs.for_each(relabel);
            serde_json::to_vec(&json).unwrap()
        }
    };
    let response = Response::builder().status(answer.status).body(body).unwrap();
    match operation {
        Operation::Find => {
            let payload = Payload::Webhook(Cow::Borrowed(RawValue::NULL));
            let start = Start::new(WorkflowRef::parse("any").unwrap(), payload);
            let names = engine.names(&delivery(Work::Start(start))).unwrap();
            match engine.read_found(&names, response, Timestamp(0)) {
                Ok(runs) => format!("found {:?}", runs.iter().map(|run| run.state).collect::<Vec<_>>()),
                Err(verdict) => summary(&verdict),
            }
        }
        Operation::Look => {
            match engine.read_look(answer.body["id"].as_str().unwrap_or("5f1"), None, response, Timestamp(0)) {
                Ok(view) => {
                    let wait = |task: &sluice::delivery::WaitTask| {
                        let state = match task.state {
                            WaitState::Ended(status) => format!("ended {}", status.map_or("otherwise", Status::as_str)),
                            state => format!("{state:?}").to_lowercase(),
                        };
                        format!("{} {state}", task.topic.as_deref().unwrap_or("?"))
                    };
                    format!("run {:?} {:?}", view.state, view.waits.iter().map(wait).collect::<Vec<_>>())
                }
                Err(verdict) => summary(&verdict),
            }
        }
        Operation::Describe => match engine.read_description(response, Timestamp(0)) {
            Ok(_) => "described".to_owned(),
            Err(verdict) => summary(&verdict),
        },
        operation => summary(&engine.read(operation, &Names::default(), response, Timestamp(0))),
    }
}

/// Gives a recorded run the label of the delivery.
fn relabel(run: &mut Value) {
    let labels = run["labels"].as_object_mut().unwrap();
    labels.remove(LABELS[0]).unwrap();
    labels.insert(LABELS[1].to_owned(), Value::from(ID));
}

fn summary(verdict: &Verdict) -> String {
    match verdict {
        Verdict::Accepted { .. } => "accepted".to_owned(),
        Verdict::Rejected { .. } => format!("rejected: {verdict}"),
        Verdict::UnknownRun { .. } => format!("unknown run: {verdict}"),
        Verdict::Unclear { concluded: true, .. } => format!("unclear, concluded: {verdict}"),
        Verdict::Unclear { .. } => format!("unclear: {verdict}"),
        Verdict::Misconfigured { .. } => format!("misconfigured: {verdict}"),
        other => panic!("{other:?}"),
    }
}
