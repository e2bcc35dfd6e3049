//! The engine: what is scripted first, then as it is.

use std::cell::Cell;
use std::time::Duration;

use http::{Request, Response};
use serde_json::{Value, json};
use sluice::ports::{Clock, Http, SendError, Timeouts};

use super::{Scripted, Sent, World};

impl World {
    /// The engine's next answer.
    pub fn answers(self, status: u16, body: &str) -> Self {
        self.scripted(Ok(Response::builder().status(status).body(body.as_bytes().to_vec()).unwrap()))
    }

    pub fn scripted(self, answer: Scripted) -> Self {
        self.script(answer);
        self
    }

    pub fn script(&self, answer: Scripted) {
        self.answers.borrow_mut().push_back((0, answer));
    }

    /// The last answer that was scripted takes so long.
    pub fn after(self, ms: u64) -> Self {
        self.answers.borrow_mut().back_mut().unwrap().0 = ms;
        self
    }

    pub fn well(self) -> Self {
        self.well.set(true);
        self
    }

    /// It acts after so many milliseconds.
    pub fn slow(self, ms: u64) -> Self {
        self.takes.set(ms);
        self.well()
    }

    /// It acts, and its answer is lost.
    pub fn cut(self) -> Self {
        self.cuts.set(true);
        self.well()
    }

    pub fn down(self) -> Self {
        self.down.set(true);
        self
    }

    pub fn heal(&self) {
        self.answers.borrow_mut().clear();
        self.takes.set(0);
        self.cuts.set(false);
        self.down.set(false);
        self.well.set(true);
    }

    /// The only request that the engine got: method, URL, body.
    pub fn only_sent(&self) -> (String, String, String) {
        let sent = self.sent.borrow();
        assert_eq!(sent.len(), 1, "requests to the engine");
        let request = &sent[0].request;
        let body = String::from_utf8(request.body().clone()).unwrap();
        (request.method().to_string(), request.uri().to_string(), body)
    }

    /// What the engine was asked since the last time: `submit {workflow}`, `event {run}`, `find {mark}`.
    pub fn calls(&self) -> Vec<String> {
        self.sent.borrow_mut().drain(..).map(|sent| short(&sent.request)).collect()
    }

    /// What the engine, when it is well, has made runs of, or resolved: the workflow or the run.
    pub fn acted(&self) -> Vec<String> {
        self.runs.borrow().iter().map(|run| run["of"].as_str().unwrap().to_owned()).collect()
    }

    fn act(&self, request: &Request<Vec<u8>>) -> Vec<u8> {
        let mut runs = self.runs.borrow_mut();
        let what = short(request);
        let (verb, of) = what.split_once(' ').unwrap();
        if verb == "find" {
            let found: Vec<_> = runs.iter().filter(|run| run["labels"]["sluice.dev/delivery"] == of).collect();
            return serde_json::to_vec(&json!({ "content": found })).unwrap();
        }
        let mut run: Value = serde_json::from_slice(request.body()).unwrap();
        run["id"] = format!("run-{}", runs.len()).into();
        run["of"] = of.into();
        runs.push(run.clone());
        if verb == "event" { Vec::new() } else { serde_json::to_vec(&run).unwrap() }
    }
}

pub fn short(request: &Request<Vec<u8>>) -> String {
    let uri = request.uri().to_string();
    let segments: Vec<_> = request.uri().path().split('/').collect();
    match (request.method().as_str(), segments.as_slice()) {
        ("POST", ["", "api", "v1", "workflow", workflow, "submit"]) => format!("submit {workflow}"),
        ("PUT", ["", "api", "v1", "workflowrun", run, "event"]) => format!("event {run}"),
        ("GET", ["", "api", "v1", "workflowrun", "query"]) => {
            let mark = uri.split("delivery%3D").nth(1).unwrap().split('&').next().unwrap();
            format!("find {mark}")
        }
        _ => panic!("the engine has no such request: {uri}"),
    }
}

impl Http for World {
    async fn send(&self, request: Request<Vec<u8>>, timeouts: Timeouts) -> Scripted {
        let index = self.sent.borrow().len();
        let (store, at) = (self.store.borrow().clone(), self.now.get());
        self.sent.borrow_mut().push(Sent { request: request.clone(), timeouts, store, at, until: Cell::new(None) });
        let scripted = self.answers.borrow_mut().pop_front();
        let answer = match scripted {
            Some((ms, answer)) => {
                self.sleep(Duration::from_millis(ms)).await;
                answer
            }
            None if self.down.get() => Err(SendError::NotSent("the connection was refused")),
            None => {
                assert!(self.well.get(), "an answer is scripted for each request");
                self.sleep(Duration::from_millis(self.takes.get())).await;
                let answer = self.act(&request);
                let is_lost = self.cuts.get() && request.method() != "GET";
                if is_lost { Err(SendError::NoAnswer("the connection was cut")) } else { Ok(Response::new(answer)) }
            }
        };
        if let Some(sent) = self.sent.borrow().get(index) {
            sent.until.set(Some(self.now.get()));
        }
        answer
    }
}
