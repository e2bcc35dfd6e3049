//! A model, and short ways to talk to it.

use http::{Request, Response};
use sluice_engine_model::{Catalogue, Json, Model, NoAnswer, Services, Settings};

/// The beginning of the day on which the exchanges were recorded.
pub const START: u64 = 1_795_737_600_000;
pub const WAITS: &str = "6b08ce3a2bb126dc8dc5a8a6";
pub const SHELL: &str = "6b08ce3a2bb126dc8dc5a8a8";
pub const NAPLIT: &str = "6b08ce3c2bb126dc8dc5a8ac";
pub const TOKEN: &str = "Bearer bft_ACME";

/// A model with a clock.
pub struct Site {
    pub model: Model,
    pub now: u64,
}

impl Site {
    pub fn new(settings: Settings) -> Site {
        let services = Services::Both { engine: String::new(), flow: String::new() };
        Site { model: Model::new(services, Catalogue::recorded(), settings), now: START }
    }

    pub fn pass(&mut self, ms: u64) -> &mut Site {
        self.now += ms;
        self.model.advance(self.now);
        self
    }

    pub fn try_send(&mut self, request: Request<Vec<u8>>) -> Result<Response<Vec<u8>>, NoAnswer> {
        self.model.serve(self.now, request)
    }

    /// Sends JSON with the team's token; `None` for a request without a body.
    pub fn send(&mut self, method: &str, uri: &str, body: Option<&str>) -> Answer {
        Answer(self.try_send(request(method, uri, body)).unwrap())
    }

    /// Submits a workflow at the engine, and returns the id of the run.
    pub fn submit(&mut self, workflow: &str, start: bool) -> String {
        let body = r#"{"trigger":"webhook","params":[{"name":"data","value":{"n":1}}],"labels":{"l":"v"}}"#;
        let answer = self.send("POST", &format!("/api/v1/workflow/{workflow}/submit?start={start}"), Some(body));
        answer.ok().get("id").unwrap().as_text().unwrap().to_owned()
    }

    pub fn event(&mut self, run: &str, body: &str) -> Answer {
        self.send("PUT", &format!("/api/v1/workflowrun/{run}/event"), Some(body))
    }

    /// `status phase` of a run, then `name:status` of each of its tasks.
    pub fn state(&self, run: &str) -> String {
        let record = self.model.run(run).unwrap();
        let tasks = record.tasks.iter().map(|task| format!(" {}:{}", task.name, task.status.name()));
        format!("{} {}", record.run.status.name(), record.run.phase.name()) + &tasks.collect::<String>()
    }

    /// The status of a run's task `approve`.
    pub fn approval(&self, run: &str) -> &'static str {
        self.model.run(run).unwrap().task("approve").unwrap().status.name()
    }
}

pub struct Answer(pub Response<Vec<u8>>);

impl Answer {
    pub fn status(&self) -> u16 {
        self.0.status().as_u16()
    }

    pub fn content_type(&self) -> Option<&str> {
        self.0.headers().get("content-type").map(|value| value.to_str().unwrap())
    }

    /// The body; `null` if there is none.
    pub fn json(&self) -> Json {
        if self.0.body().is_empty() { Json::Null } else { Json::parse(self.0.body()).unwrap() }
    }

    /// The body of a 200.
    pub fn ok(&self) -> Json {
        assert_eq!(self.status(), 200, "{}", self.json());
        self.json()
    }

    /// The status, then the code of an error, or else its detail.
    pub fn error(&self) -> String {
        let body = self.json();
        let text = body.get("code").or(body.get("detail")).map(Json::to_java);
        format!("{} {}", self.status(), text.unwrap_or_default()).trim().to_owned()
    }
}

pub fn request(method: &str, uri: &str, body: Option<&str>) -> Request<Vec<u8>> {
    let request = Request::builder().method(method).uri(uri).header("authorization", TOKEN);
    let request = match body {
        Some(_) => request.header("content-type", "application/json"),
        None => request,
    };
    request.body(body.unwrap_or_default().as_bytes().to_vec()).unwrap()
}
