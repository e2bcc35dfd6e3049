//! An engine that first plays a script of responses, then behaves as configured.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use http::{Request, Response};
use percent_encoding::percent_decode_str;
use serde_json::{Value, json};
use sluice::ports::{Clock, Http, SendError, Timeouts};

use super::World;

pub type EngineResult = Result<Response<Vec<u8>>, SendError>;

#[derive(Default)]
pub struct FakeEngine {
    /// Requests since the last [`FakeEngine::take_calls`], oldest first.
    pub received: RefCell<Vec<Received>>,
    /// The results of the next requests, each with a delay in milliseconds.
    pub script: RefCell<VecDeque<(u64, EngineResult)>>,
    /// How requests beyond the script are handled.
    pub behaviour: Cell<Behaviour>,
    /// Milliseconds until an engine without a script acts and responds.
    pub latency: Cell<u64>,
    /// The number of requests at once above which it answers 503 at once; `None` for no limit.
    pub capacity: Cell<Option<usize>>,
    /// The requests that are under way beyond the script, and those that were above the capacity.
    at_work: Cell<usize>,
    pub refused: Cell<usize>,
    /// Whether [`FakeEngine::received`] stays empty. A request is kept with a copy of the store, which is too much in a
    /// test of thousands.
    pub forgets_requests: Cell<bool>,
    /// Milliseconds until an engine answers a look.
    pub look_latency: Cell<u64>,
    /// Runs that were started and events that were accepted beyond the script, oldest first: the request's body with
    /// `id` and `target`, which is the workflow or the run.
    pub effects: RefCell<Vec<Value>>,
    /// The topics that a task of every run waits for, besides [`TOPICS`].
    pub topics: RefCell<Vec<String>>,
    /// The topics whose task a run has not reached yet.
    pub ahead: RefCell<Vec<String>>,
    /// The topics that a run waits for again each time that the task ends.
    pub loops: RefCell<Vec<String>>,
    /// Whether events are accepted and have no effect, as while the engine is busy with their task.
    pub loses_events: Cell<bool>,
    /// The tasks that have ended: run, topic, and the status of the event.
    pub ended: RefCell<Vec<(String, String, String)>>,
    /// The response to every look, in place of a run with a task for each topic.
    pub look: RefCell<Option<EngineResult>>,
    /// The id of every run's workflow, as a look shows it.
    pub workflow: RefCell<Option<String>>,
    /// The runs that were looked at since the last [`FakeEngine::take_looks`].
    pub looks: RefCell<Vec<String>>,
}

/// The topics that a task of every run waits for.
const TOPICS: [&str; 10] = ["a", "b", "t", "u", "ok", "other", "a/b", "a b", "s3cret", "sign & ship"];

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Behaviour {
    /// A request beyond the script fails the test.
    #[default]
    Scripted,
    /// Starts runs, and finds them by their label.
    Healthy,
    /// Acts on requests, but the responses to all but lookups are lost.
    LosesResponses,
    /// Refuses connections.
    Unreachable,
}

/// A request as the engine received it.
pub struct Received {
    pub request: Request<Vec<u8>>,
    pub timeouts: Timeouts,
    /// The store's contents when the request arrived.
    pub store: BTreeMap<String, Vec<u8>>,
    pub arrived_at: u64,
    pub answered_at: Cell<Option<u64>>,
}

/// Method, URL and body of a request to the engine.
#[derive(Debug, PartialEq, Eq)]
pub struct Sent {
    pub method: String,
    pub url: String,
    pub body: String,
}

impl Sent {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }

    /// The value of one of the run's params.
    pub fn param(&self, name: &str) -> Value {
        let body = self.json();
        let params = body["params"].as_array().unwrap();
        params.iter().find(|param| param["name"] == name).unwrap()["value"].clone()
    }
}

/// A response of the engine.
pub fn answer(status: u16, body: &str) -> EngineResult {
    Ok(Response::builder().status(status).body(body.as_bytes().to_vec()).unwrap())
}

impl World {
    /// Adds a response to the engine's script.
    pub fn respond(self, status: u16, body: &str) -> Self {
        self.result(answer(status, body))
    }

    /// Adds a response or an error to the engine's script.
    pub fn result(self, result: EngineResult) -> Self {
        self.engine.script(result);
        self
    }

    /// Delays the last result of the script.
    pub fn after(self, ms: u64) -> Self {
        self.engine.script.borrow_mut().back_mut().unwrap().0 = ms;
        self
    }

    pub fn healthy(self) -> Self {
        self.engine.behaviour.set(Behaviour::Healthy);
        self
    }

    /// A healthy engine that takes this long.
    pub fn slow(self, ms: u64) -> Self {
        self.engine.latency.set(ms);
        self.healthy()
    }

    pub fn losing_responses(self) -> Self {
        self.engine.behaviour.set(Behaviour::LosesResponses);
        self
    }

    pub fn unreachable(self) -> Self {
        self.engine.behaviour.set(Behaviour::Unreachable);
        self
    }
}

impl FakeEngine {
    pub fn script(&self, result: EngineResult) {
        self.script.borrow_mut().push_back((0, result));
    }

    /// Drops the script: from now on the engine is healthy and responds at once.
    pub fn recover(&self) {
        self.script.borrow_mut().clear();
        self.latency.set(0);
        self.behaviour.set(Behaviour::Healthy);
    }

    /// The only request since the last [`FakeEngine::take_calls`].
    #[track_caller]
    pub fn only_request(&self) -> Sent {
        let received = self.received.borrow();
        assert_eq!(received.len(), 1, "requests to the engine");
        let request = &received[0].request;
        Sent {
            method: request.method().to_string(),
            url: request.uri().to_string(),
            body: String::from_utf8(request.body().clone()).unwrap(),
        }
    }

    /// Takes the requests since the last call, as [`summary`] puts them.
    pub fn take_calls(&self) -> Vec<String> {
        self.received.borrow_mut().drain(..).map(|received| summary(&received.request)).collect()
    }

    /// The first words of [`FakeEngine::take_calls`]: `submit`, `event` or `find`.
    pub fn take_verbs(&self) -> Vec<String> {
        self.take_calls().iter().map(|call| call.split(' ').next().unwrap().to_owned()).collect()
    }

    /// The workflow or run of each effect.
    pub fn targets(&self) -> Vec<String> {
        self.effects.borrow().iter().map(|effect| effect["target"].as_str().unwrap().to_owned()).collect()
    }

    /// Takes the runs that were looked at since the last call.
    pub fn take_looks(&self) -> Vec<String> {
        self.looks.borrow_mut().drain(..).collect()
    }

    /// A run whose tasks wait for the topics, until an event ends them.
    fn show(&self, run: &str) -> Vec<u8> {
        let added = self.topics.borrow();
        let topics = TOPICS.into_iter().chain(added.iter().map(String::as_str));
        let tasks: Vec<_> = topics.flat_map(|topic| self.tasks(run, topic)).collect();
        let mut run = json!({ "id": run, "status": "running", "phase": "running", "tasks": tasks });
        if let Some(workflow) = &*self.workflow.borrow() {
            run["workflowRef"] = json!(workflow);
        }
        serde_json::to_vec(&run).unwrap()
    }

    /// The tasks of a run with this topic, which have the ids `task-TOPIC`, `task-TOPIC-2` and so on.
    fn tasks(&self, run: &str, topic: &str) -> Vec<Value> {
        let ended = self.ended.borrow();
        let ended = ended.iter().filter(|(of, ended, _)| of == run && ended == topic);
        let mut states: Vec<_> = ended.map(|(_, _, status)| status.as_str()).collect();
        let has = |list: &RefCell<Vec<String>>| list.borrow().iter().any(|listed| listed == topic);
        if states.is_empty() || has(&self.loops) {
            states.push(if has(&self.ahead) { "notstarted" } else { "waiting" });
        }
        let params = json!([{ "name": "topic", "value": topic }]);
        let id = |nth: usize| if nth == 0 { format!("task-{topic}") } else { format!("task-{topic}-{}", nth + 1) };
        let task = |(nth, status)| json!({ "id": id(nth), "type": "eventwait", "status": status, "params": params });
        states.into_iter().enumerate().map(task).collect()
    }

    /// Ends the tasks of a run that wait for the topic of an event.
    fn end_tasks(&self, request: &Request<Vec<u8>>) {
        if let ["", "api", "v1", "workflowrun", run, "event"] =
            request.uri().path().split('/').collect::<Vec<_>>().as_slice()
            && !self.loses_events.get()
        {
            let run = &decoded(run);
            let event: Value = serde_json::from_slice(request.body()).unwrap();
            let text = |name: &str| event[name].as_str().unwrap().to_owned();
            let is_waiting = self.tasks(run, &text("topic")).iter().any(|task| task["status"] == "waiting");
            if is_waiting {
                self.ended.borrow_mut().push((run.clone(), text("topic"), text("status")));
            }
        }
    }

    fn act(&self, request: &Request<Vec<u8>>) -> Vec<u8> {
        let mut effects = self.effects.borrow_mut();
        let call = summary(request);
        let (verb, target) = call.split_once(' ').unwrap();
        if verb == "find" {
            let found: Vec<_> = effects.iter().filter(|effect| label(effect) == target).collect();
            return serde_json::to_vec(&json!({ "content": found })).unwrap();
        }
        self.end_tasks(request);
        let mut effect: Value = serde_json::from_slice(request.body()).unwrap();
        effect["status"] = effect.get("status").cloned().unwrap_or("ready".into());
        effect["phase"] = "pending".into();
        effect["id"] = format!("run-{}", effects.len()).into();
        effect["target"] = target.into();
        if verb == "submit" {
            (effect["status"], effect["phase"]) = ("ready".into(), "pending".into());
        }
        effects.push(effect.clone());
        if verb == "event" { Vec::new() } else { serde_json::to_vec(&effect).unwrap() }
    }
}

/// The label by which the engine finds a run; empty for callbacks.
pub fn label(run: &Value) -> &str {
    run["labels"]["sluice.dev/delivery"].as_str().unwrap_or_default()
}

/// Whether a scripted response is one of the engine itself, which has acted: a 2xx with an empty or a JSON body.
fn acts(response: &Response<Vec<u8>>) -> bool {
    let body = response.body();
    response.status().is_success() && (body.is_empty() || serde_json::from_slice::<Value>(body).is_ok())
}

/// The run that a request looks at, if it is a look.
pub fn looked_at(request: &Request<Vec<u8>>) -> Option<String> {
    let segments: Vec<_> = request.uri().path().split('/').collect();
    match (request.method().as_str(), segments.as_slice()) {
        ("GET", ["", "api", "v1", "workflowrun", run]) if *run != "query" => Some(decoded(run)),
        _ => None,
    }
}

fn decoded(segment: &str) -> String {
    percent_decode_str(segment).decode_utf8().unwrap().into_owned()
}

/// A request in short: `submit WORKFLOW`, `event RUN`, `find LABEL`, `describe WORKFLOW` or `template REF?VERSION`.
pub fn summary(request: &Request<Vec<u8>>) -> String {
    let uri = request.uri().to_string();
    let segments: Vec<_> = request.uri().path().split('/').collect();
    match (request.method().as_str(), segments.as_slice()) {
        ("POST", ["", "api", "v1", "workflow", workflow, "submit"]) => format!("submit {workflow}"),
        ("PUT", ["", "api", "v1", "workflowrun", run, "event"]) => format!("event {run}"),
        ("GET", ["", "api", "v1", "workflowrun", "query"]) => {
            let label = uri.split("delivery%3D").nth(1).unwrap().split('&').next().unwrap();
            format!("find {label}")
        }
        ("GET", ["", "api", "v1", "workflow", workflow]) => format!("describe {workflow}"),
        ("GET", ["", "api", "v1", "task", _]) => format!("template {}", uri.split("/task/").nth(1).unwrap()),
        _ => panic!("the engine has no such route: {uri}"),
    }
}

/// Counts a request as under way.
struct AtWork<'a>(&'a Cell<usize>);

impl<'a> AtWork<'a> {
    fn new(count: &'a Cell<usize>) -> Self {
        count.set(count.get() + 1);
        Self(count)
    }
}

impl Drop for AtWork<'_> {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}

impl Http for World {
    async fn send(&self, request: Request<Vec<u8>>, timeouts: Timeouts) -> EngineResult {
        self.assert_no_idle_connection("a call to the engine");
        if let Some(answer) = self.send_to_site(&request, timeouts).await {
            return answer;
        }
        if let Some(real) = &self.real {
            return real.send(self, request, timeouts).await;
        }
        let engine = &self.engine;
        if let Some(run) = looked_at(&request) {
            engine.looks.borrow_mut().push(run.clone());
            self.sleep(Duration::from_millis(engine.look_latency.get())).await;
            return match engine.look.borrow().clone() {
                Some(look) => look,
                None if engine.behaviour.get() == Behaviour::Unreachable && engine.script.borrow().is_empty() => {
                    Err(SendError::NotSent("the connection was refused"))
                }
                None => Ok(Response::new(engine.show(&run))),
            };
        }
        let index = engine.received.borrow().len();
        if !engine.forgets_requests.get() {
            engine.received.borrow_mut().push(Received {
                request: request.clone(),
                timeouts,
                store: self.store.entries.borrow().clone(),
                arrived_at: self.now(),
                answered_at: Cell::new(None),
            });
        }
        let scripted = engine.script.borrow_mut().pop_front();
        let result = match (scripted, engine.behaviour.get()) {
            (Some((delay, result)), _) => {
                self.sleep(Duration::from_millis(delay)).await;
                if result.as_ref().is_ok_and(acts) {
                    engine.end_tasks(&request);
                }
                result
            }
            (None, Behaviour::Scripted) => panic!("no response is scripted for {}", summary(&request)),
            (None, Behaviour::Unreachable) => Err(SendError::NotSent("the connection was refused")),
            (None, _) if engine.capacity.get().is_some_and(|capacity| engine.at_work.get() >= capacity) => {
                engine.refused.set(engine.refused.get() + 1);
                answer(503, "")
            }
            (None, behaviour) => {
                let _at_work = AtWork::new(&engine.at_work);
                self.sleep(Duration::from_millis(engine.latency.get())).await;
                let response = engine.act(&request);
                if behaviour == Behaviour::LosesResponses && request.method() != "GET" {
                    Err(SendError::NoResponse("the connection was cut"))
                } else {
                    Ok(Response::new(response))
                }
            }
        };
        // A test may have taken the calls meanwhile.
        if let Some(received) = engine.received.borrow().get(index) {
            received.answered_at.set(Some(self.now()));
        }
        result
    }
}
