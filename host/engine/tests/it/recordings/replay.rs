//! Replaying the entries of a file in their order.

use std::collections::BTreeMap;

use http::Request;
use sluice_engine_model::{Json, Settings};

use super::super::support::{Answer, Site};
use super::NOT_REPRODUCED;
use super::compare::{equals, normalise, normalise_text, shows};
use super::situations::Situation;

pub struct Replay {
    pub site: Site,
    /// The model's run for each recorded one.
    runs: BTreeMap<String, String>,
}

impl Replay {
    pub fn new(settings: Settings) -> Replay {
        Replay { site: Site::new(settings), runs: BTreeMap::new() }
    }

    /// Replays all entries of a file, of which there are so many.
    pub fn file(&mut self, file: &str, text: &str, count: usize) {
        let entries = Json::parse(text.as_bytes()).unwrap();
        let entries = entries.as_array().unwrap();
        assert_eq!(entries.len(), count, "{file}");
        for entry in entries {
            let name = entry.get("name").unwrap().as_text().unwrap();
            if NOT_REPRODUCED.iter().any(|(in_file, known, _)| *in_file == file && *known == name) {
                continue;
            }
            self.entry(file, name, entry);
        }
    }

    fn entry(&mut self, file: &str, name: &str, entry: &Json) {
        let place = format!("{file}: {name}");
        let Some(recorded) = entry.get("request") else { return self.two_at_once(&place, entry) };
        let path = recorded.get("path").unwrap().as_text().unwrap();
        let path = self.with_own_run(file, name, path, entry);
        let is_look = recorded.get("method").unwrap().as_text() == Some("GET");
        // A run that is being started is looked at until it is as far as the recorded one was.
        loop {
            let answer = self.send(name, &path, recorded, entry);
            match self.difference(entry.get("response").unwrap(), &answer) {
                None => break,
                Some(difference) => assert!(is_look && self.goes_on(), "{place}: {difference}"),
            }
        }
        if let Some(then) = entry.get("then") {
            self.then(&place, &path, recorded, then);
        }
    }

    /// The path with the model's run instead of the recorded one, which is arranged if it is new.
    fn with_own_run(&mut self, file: &str, name: &str, path: &str, entry: &Json) -> String {
        let path = path.replace("access_token=…", "access_token=bft_ACME");
        let of_path = path.split_once("/workflowrun/").map(|(_, rest)| rest);
        let of_callback = path.split_once("/callback?ref=").map(|(_, rest)| rest);
        let Some(id) = of_path.or(of_callback).and_then(|rest| rest.get(..24)) else { return path };
        if !id.bytes().all(|byte| byte.is_ascii_hexdigit()) || id == "f".repeat(24) {
            return path;
        }
        if !self.runs.contains_key(id) {
            let (situation, label) = Situation::of(file, name);
            let own = situation.arrange(self, label, entry);
            self.runs.insert(id.to_owned(), own);
        }
        path.replace(id, &self.runs[id])
    }

    fn send(&mut self, name: &str, path: &str, recorded: &Json, entry: &Json) -> Answer {
        let body = match recorded.get("body").unwrap() {
            Json::Null => None,
            Json::Text(text) => Some(whole_body(text, entry)),
            body => Some(body.to_string()),
        };
        let mut request = Request::builder().method(recorded.get("method").unwrap().as_text().unwrap()).uri(path);
        let headers = recorded.get("headers").unwrap().as_object().unwrap();
        for (header, value) in headers {
            request = request.header(header, with_secret(name, value.as_text().unwrap()));
        }
        if body.is_some() && !headers.contains_key("Content-Type") {
            request = request.header("content-type", "application/json");
        }
        Answer(self.site.try_send(request.body(body.unwrap_or_default().into_bytes()).unwrap()).unwrap())
    }

    fn difference(&mut self, recorded: &Json, answer: &Answer) -> Option<String> {
        let catalogue = self.site.model.catalogue();
        let head = (Json::Int(i64::from(answer.status())), Json::from(answer.content_type()));
        let recorded_head = (recorded.get("status").unwrap().clone(), recorded.get("content_type").unwrap().clone());
        let body = recorded.get("body").unwrap();
        let is_equal = match body {
            Json::Text(beginning) => {
                let (beginning, _) = beginning.split_once("… (").unwrap();
                let text = String::from_utf8(answer.0.body().clone()).unwrap();
                normalise_text(&text, catalogue).starts_with(&normalise_text(beginning, catalogue))
            }
            body => equals(&normalise(body, catalogue), &normalise(&answer.json(), catalogue)),
        };
        let is_same = head == recorded_head && is_equal;
        (!is_same).then(|| format!("\n recorded {recorded}\n answered {head:?} {}", answer.json()))
    }

    /// Passes time until the model does something by itself, if it will.
    fn goes_on(&mut self) -> bool {
        let next = self.site.model.next_event_at();
        next.is_some_and(|at| {
            self.site.pass(at.saturating_sub(self.site.now));
            true
        })
    }

    /// Waits until a look shows what was recorded.
    fn then(&mut self, place: &str, path: &str, request: &Json, then: &Json) {
        loop {
            if self.is_then(path, request, then) {
                return;
            }
            if !self.goes_on() {
                break;
            }
        }
        panic!("{place}: then\n recorded {then}\n shown    {}", self.looks(path, request).join("\n          "));
    }

    fn is_then(&mut self, path: &str, request: &Json, then: &Json) -> bool {
        let looks = self.looks(path, request);
        let looks: Vec<_> = looks.iter().map(|look| Json::parse(look.as_bytes()).unwrap()).collect();
        let catalogue = self.site.model.catalogue();
        let looks: Vec<_> = looks.iter().map(|look| normalise(look, catalogue)).collect();
        let then = normalise(then, catalogue);
        let shows_all = |recorded: &[Json]| {
            recorded.len() == looks.len() && recorded.iter().zip(&looks).all(|(one, look)| shows(one, look))
        };
        match &then {
            Json::Array(recorded) => shows_all(recorded),
            then if then.get("by_label").is_some() => {
                let run = then.get("run").unwrap();
                let shows_run =
                    if run.is_null() { looks.is_empty() } else { looks.first().is_some_and(|look| shows(run, look)) };
                shows_all(then.get("by_label").unwrap().as_array().unwrap()) && shows_run
            }
            // A retry has made a second run with the label.
            then if then.get("old").is_some() => {
                looks.len() == 2
                    && shows(then.get("old").unwrap(), &looks[0])
                    && shows(then.get("new").unwrap(), &looks[1])
            }
            // Some looks show the one task only.
            then => looks.first().is_some_and(|look| {
                let task = then.get("approve").map(|task| Json::Array(vec![task.clone()]));
                let mut members = then.as_object().unwrap().clone();
                if let Some(task) = task {
                    members.shift_remove("approve");
                    members.insert("tasks".to_owned(), task);
                }
                shows(&Json::Object(members), look)
            }),
        }
    }

    /// The runs with the label of the request, or of the run that it names.
    fn looks(&mut self, path: &str, request: &Json) -> Vec<String> {
        let body = match request.get("body").unwrap() {
            Json::Text(text) => Json::parse(whole_body(text, request).as_bytes()).unwrap_or_default(),
            body => body.clone(),
        };
        let of_request =
            body.get("labels").and_then(Json::as_object).and_then(|labels| labels.values().next().cloned());
        let named = self.site.model.runs().find(|record| path.contains(&record.run.id)).map(|record| &record.run);
        let is_retry = path.contains("/retry");
        let runs = self.site.model.runs().filter(|record| match (&of_request, named) {
            (Some(label), _) => record.run.labels.values().any(|known| Json::from(known.as_ref()) == *label),
            (None, Some(run)) if is_retry => record.run.labels.values().next() == run.labels.values().next(),
            (None, Some(run)) => record.run.id == run.id,
            (None, None) => false,
        });
        let ids: Vec<_> = runs.map(|record| record.run.id.clone()).collect();
        let look = |id: String| format!("/api/v1/workflowrun/{id}?withTasks=true");
        ids.into_iter().map(|id| self.site.send("GET", &look(id), None).ok().to_string()).collect()
    }

    /// The one entry without a request: two events that arrive at one moment.
    fn two_at_once(&mut self, place: &str, entry: &Json) {
        let run = Situation::Waits.arrange(self, "two", entry);
        for (status, number) in [("succeeded", 1), ("failed", 2)] {
            let body = format!(
                r#"{{"topic":"approval","results":[{{"name":"data","value":{{"n":{number}}}}}],"status":"{status}"}}"#
            );
            assert_eq!(self.site.event(&run, &body).status(), 200, "{place}");
        }
        let request = Json::parse(br#"{"body":null}"#).unwrap();
        self.then(place, &format!("/{run}"), &request, entry.get("then").unwrap());
    }
}

/// The header with the secret that was cut.
fn with_secret(name: &str, value: &str) -> String {
    let token = match name {
        "team submit, wrong token" => "bft_WRONG",
        "team submit, token that may only read" => "bft_READER",
        _ => "bft_ACME",
    };
    // `ada@example.com:boomerang`
    value
        .replace("Bearer …", &format!("Bearer {token}"))
        .replace("Basic …", "Basic YWRhQGV4YW1wbGUuY29tOmJvb21lcmFuZw==")
}

/// The body of a request, of which a long one was cut.
fn whole_body(text: &str, entry: &Json) -> String {
    let deep = || r#"{"a":"#.repeat(120) + "1" + &"}".repeat(120);
    let (value, label) = match text {
        "{\"trigger\":\"webhook\",\"params\":[{\"name\":\"… (817 characters)" => (deep(), "p11-120"),
        "(1048682 characters)" => (format!(r#"{{"a":"{}"}}"#, "x".repeat(1 << 20)), "p12-1024k"),
        whole => return whole.to_owned(),
    };
    let labels = format!(r#"{{"sluice/delivery":"{label}"}}"#);
    let body = format!(r#"{{"trigger":"webhook","params":[{{"name":"data","value":{value}}}],"labels":{labels}}}"#);
    assert!(
        text.contains(&format!("({} characters)", body.len())),
        "{} of {}",
        body.len(),
        entry.get("name").unwrap_or(&Json::Null)
    );
    body
}
