//! Concurrent equal or conflicting deliveries: one wins, and the engine is called once.
//!
//! A claim without compare-and-swap may have no winner. All deliveries of the round are then enqueued as contended, and
//! the drain calls the engine once. The tests therefore check each round after a drain, and print how many rounds had
//! no winner.

use std::collections::BTreeMap;

use serde_json::Value;
use sluice_host::stand_in::model::Status;
use tokio::task::JoinSet;

use crate::setup::{HttpClient, JSON, Reply, Setup, data_of, wait_task};

const ROUNDS: usize = 200;
const SENDERS: usize = 8;

/// A kind of delivery. In `path` and `body`, `N` stands for the number of the round, `RUN` for its run, and `I` for the
/// number of the sender.
struct Case {
    name: &'static str,
    path: &'static str,
    header: (&'static str, &'static str),
    body: &'static str,
    /// The status of a delivery whose payload differs from the winner's; `None` if such a delivery is a duplicate.
    conflict: Option<u16>,
}

const EQUAL_CALLBACKS: Case = Case {
    name: "equal callbacks",
    path: "/api/v2/callback?ref=RUN&topic=t",
    header: ("x-none", ""),
    body: r#"{"by":"all"}"#,
    conflict: None,
};
const CONFLICTING_CALLBACKS: Case =
    Case { name: "conflicting callbacks", body: r#"{"by":I}"#, conflict: Some(409), ..EQUAL_CALLBACKS };
const EQUAL_EVENTS: Case = Case {
    name: "equal events",
    path: "/api/v2/event?ref=wN",
    body: r#"{"specversion":"1.0","id":"e","source":"/s","type":"t","data":{"by":"all"}}"#,
    ..EQUAL_CALLBACKS
};
/// Source and id identify an event, whatever its data.
const DIFFERENT_EVENTS: Case = Case {
    name: "events that differ in their data",
    body: r#"{"specversion":"1.0","id":"e","source":"/s","type":"t","data":{"by":I}}"#,
    ..EQUAL_EVENTS
};
const REUSED_KEYS: Case = Case {
    name: "webhooks that reuse a key",
    path: "/api/v2/webhook?ref=wN",
    header: ("idempotency-key", "k"),
    body: r#"{"by":I}"#,
    conflict: Some(422),
};

#[tokio::test(flavor = "multi_thread")]
async fn equal_callbacks_are_sent_once() {
    run_case(EQUAL_CALLBACKS).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn conflicting_callbacks_have_one_winner() {
    run_case(CONFLICTING_CALLBACKS).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn equal_events_start_one_run() {
    run_case(EQUAL_EVENTS).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn events_with_the_same_id_start_one_run() {
    run_case(DIFFERENT_EVENTS).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn webhooks_with_the_same_key_start_one_run() {
    run_case(REUSED_KEYS).await;
}

/// The replies of a round, each with the payload that was sent.
#[derive(Debug)]
struct Round {
    run: String,
    path: String,
    replies: Vec<(Value, Reply)>,
}

async fn run_case(case: Case) {
    let variables = [("settings", r#"{"engine_wait_ms":500,"engine_timeout_ms":500}"#)];
    let setup = Setup::with_variables(&variables).await;
    let client = HttpClient::new();
    let mut rounds = Vec::new();
    for n in 0..ROUNDS {
        rounds.push(run_round(&setup, &client, &case, n).await);
    }
    let without_winner = rounds.iter().filter(|round| round.with_outcome("delivered").next().is_none()).count();
    let enqueued = rounds.iter().map(|round| round.with_outcome("pending").count()).sum::<usize>();
    println!("{}: {without_winner} of {ROUNDS} rounds had no winner; {enqueued} deliveries were enqueued", case.name);

    // The other counts vary, because a short drain after a response may already have delivered something.
    assert_eq!(setup.drain_all().await.dead, 0);
    for round in &rounds {
        round.assert_one_winner(&setup, &case).await;
    }
}

async fn run_round(setup: &Setup, client: &HttpClient, case: &Case, n: usize) -> Round {
    let run = setup.engine.wait("release", "t").unwrap();
    let path = case.path.replace("RUN", &run).replace('N', &n.to_string());
    let url = format!("{}{path}", setup.host.url());
    let mut senders = JoinSet::new();
    for i in 0..SENDERS {
        let (client, url, header) = (client.clone(), url.clone(), case.header);
        let body = case.body.replace('I', &i.to_string());
        let event: Value = serde_json::from_str(&body).unwrap();
        let payload = event.get("data").unwrap_or(&event).clone();
        senders.spawn(async move { (payload, client.send("POST", &url, &[JSON, header], body).await.unwrap()) });
    }
    Round { run, path, replies: senders.join_all().await }
}

impl Round {
    fn with_outcome(&self, outcome: &str) -> impl Iterator<Item = &(Value, Reply)> {
        self.replies.iter().filter(move |(_, reply)| reply.header("sluice-outcome") == Some(outcome))
    }

    async fn assert_one_winner(&self, setup: &Setup, case: &Case) {
        let context = format!("{}: {self:?}", case.name);
        let calls = self.engine_calls(setup);
        assert_eq!(calls.len(), 1, "calls of the engine; {context}");
        let (payload, id) = calls.first_key_value().map(|(payload, id)| (payload.as_str(), id)).unwrap();
        let winners: Vec<_> = self.with_outcome("delivered").collect();
        assert!(winners.len() <= 1, "more than one winner; {context}");
        for (sent, reply) in &winners {
            reply.assert_ok("delivered");
            assert_eq!(sent.to_string(), payload, "{context}");
        }
        for (sent, reply) in &self.replies {
            let sent = sent.to_string();
            match reply.header("sluice-outcome") {
                Some("delivered") => {}
                // The first one was stored, because the engine or the store was slow, or because nobody had won.
                Some("duplicate") if reply.status.as_u16() == 202 => assert!(winners.is_empty(), "{context}"),
                Some("duplicate") => {
                    reply.assert_ok("duplicate");
                    assert!(case.conflict.is_none() || sent == payload, "{context}");
                    assert!(id.is_none() || Some(&reply.json()["id"]) == id.as_ref(), "{context}");
                    let first = winners.first().map(|(_, reply)| reply.delivery());
                    assert!(first.is_none() || first == Some(reply.delivery()), "{context}");
                }
                // The drain has delivered it, or dropped it as a duplicate.
                Some("pending") => reply.assert_stored("pending", id.is_some()),
                Some("rejected") => {
                    assert_eq!(Some(reply.status.as_u16()), case.conflict, "{context}");
                    assert_ne!(sent, payload, "{context}");
                }
                other => panic!("unexpected outcome {other:?}; {context}"),
            }
        }
        // A later delivery of the winner's payload is a duplicate.
        let later = setup.send("POST", &self.path, &[JSON, case.header], self.body(case, payload)).await;
        later.in_case(case.name).assert_ok("duplicate");
    }

    /// The body of a delivery with this payload.
    fn body(&self, case: &Case, payload: &str) -> String {
        match case.body.split_once(r#""data":"#) {
            Some((before, _)) => format!(r#"{before}"data":{payload}}}"#),
            None => payload.to_owned(),
        }
    }

    /// The payloads with which the engine was called in this round, each with the id of the run that the call started,
    /// if any. Two calls with the same payload fail the test.
    fn engine_calls(&self, setup: &Setup) -> BTreeMap<String, Option<Value>> {
        let mut calls = BTreeMap::new();
        if self.path.contains("callback") {
            let runs = setup.engine.runs();
            let record = runs.iter().find(|record| record.run.id == self.run).unwrap();
            assert_eq!(wait_task(record).unwrap().status, Status::Succeeded, "{self:?}");
            let path = format!("/api/v1/workflowrun/{}/event", self.run);
            for request in setup.engine.requests().iter().filter(|request| request.path == path) {
                let body: Value = serde_json::from_slice(&request.body).unwrap();
                let payload = body["results"][0]["value"].to_string();
                assert!(calls.insert(payload, None).is_none(), "the engine was called twice: {self:?}");
            }
        } else {
            let workflow = self.path.split_once("ref=").unwrap().1;
            for record in setup.engine.runs().iter().filter(|record| record.run.workflow_ref == workflow) {
                let id = Some(record.run.id.clone().into());
                assert!(calls.insert(data_of(record), id).is_none(), "the engine was called twice: {self:?}");
            }
        }
        calls
    }
}
