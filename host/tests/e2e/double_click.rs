//! Many send the same, or what conflicts, at the same moment: one wins, and the engine is called once.
//!
//! By the nature of the claim (design section 5) nobody may win; then all leave a copy, and the drain calls the engine
//! once. So a round is judged when all is drained; how often nobody won is printed.

use std::collections::BTreeMap;

use serde_json::Value;
use sluice_host::stand_in::Status;
use tokio::task::JoinSet;

use crate::setup::{HttpClient, JSON, Reply, Setup};

const ROUNDS: usize = 200;
const AT_ONCE: usize = 8;

/// What is sent in each round: `N` stands for the round's number, `RUN` for its run, `I` for the sender's number.
struct Click {
    name: &'static str,
    path: &'static str,
    header: (&'static str, &'static str),
    body: &'static str,
    /// What is told to those who say something else than the winner.
    conflict: Option<u16>,
}

const EQUAL_CALLBACKS: Click = Click {
    name: "equal callbacks",
    path: "/api/v2/callback?ref=RUN&topic=t",
    header: ("x-none", ""),
    body: r#"{"by":"all"}"#,
    conflict: None,
};
const CONFLICTING_CALLBACKS: Click =
    Click { name: "conflicting callbacks", body: r#"{"by":I}"#, conflict: Some(409), ..EQUAL_CALLBACKS };
const EQUAL_EVENTS: Click = Click {
    name: "equal events",
    path: "/api/v2/event?ref=wN",
    body: r#"{"specversion":"1.0","id":"e","source":"/s","type":"t","data":{"by":"all"}}"#,
    ..EQUAL_CALLBACKS
};
/// Whatever else it says, it is the same event.
const DIFFERENT_EVENTS: Click = Click {
    name: "events that differ in their data",
    body: r#"{"specversion":"1.0","id":"e","source":"/s","type":"t","data":{"by":I}}"#,
    ..EQUAL_EVENTS
};
const REUSED_KEYS: Click = Click {
    name: "webhooks that reuse a key",
    path: "/api/v2/webhook?ref=wN",
    header: ("idempotency-key", "k"),
    body: r#"{"by":I}"#,
    conflict: Some(422),
};

#[tokio::test(flavor = "multi_thread")]
async fn of_equal_callbacks_one_is_sent() {
    click(EQUAL_CALLBACKS).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_conflicting_callbacks_one_wins() {
    click(CONFLICTING_CALLBACKS).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_equal_events_one_starts_a_run() {
    click(EQUAL_EVENTS).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_events_with_one_id_one_starts_a_run() {
    click(DIFFERENT_EVENTS).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_webhooks_with_one_key_one_starts_a_run() {
    click(REUSED_KEYS).await;
}

/// What was told in a round.
#[derive(Debug)]
struct Round {
    run: String,
    path: String,
    replies: Vec<(Value, Reply)>,
}

async fn click(click: Click) {
    let variables = [("engine_wait_ms", "500"), ("engine_timeout_ms", "500")];
    let setup = Setup::with(&variables).await;
    let client = HttpClient::new();
    let mut rounds = Vec::new();
    for n in 0..ROUNDS {
        rounds.push(round(&setup, &client, &click, n).await);
    }
    let unwon = rounds.iter().filter(|round| round.told("delivered").next().is_none()).count();
    let left = rounds.iter().map(|round| round.told("pending").count()).sum::<usize>();
    println!("{}: in {unwon} of {ROUNDS} rounds nobody won at once; {left} copies were left to the drain", click.name);

    // Passes that follow answers may have brought some already.
    assert_eq!(setup.drain_all().await.dead, 0);
    for round in &rounds {
        round.judge(&setup, &click).await;
    }
}

async fn round(setup: &Setup, client: &HttpClient, click: &Click, n: usize) -> Round {
    let run = setup.engine.wait("release", "t");
    let path = click.path.replace("RUN", &run).replace('N', &n.to_string());
    let url = format!("{}{path}", setup.host.url());
    let mut senders = JoinSet::new();
    for i in 0..AT_ONCE {
        let (client, url, header) = (client.clone(), url.clone(), click.header);
        let body = click.body.replace('I', &i.to_string());
        let event: Value = serde_json::from_str(&body).unwrap();
        let payload = event.get("data").unwrap_or(&event).clone();
        senders.spawn(async move { (payload, client.send("POST", &url, &[JSON, header], body).await.unwrap()) });
    }
    Round { run, path, replies: senders.join_all().await }
}

impl Round {
    fn told(&self, outcome: &str) -> impl Iterator<Item = &(Value, Reply)> {
        self.replies.iter().filter(move |(_, reply)| reply.header("sluice-outcome") == Some(outcome))
    }

    async fn judge(&self, setup: &Setup, click: &Click) {
        let context = format!("{}: {self:?}", click.name);
        let called = self.called(setup);
        assert_eq!(called.len(), 1, "the engine is called once; {context}");
        let (payload, id) = called.first_key_value().map(|(payload, id)| (payload.as_str(), id)).unwrap();
        let winners: Vec<_> = self.told("delivered").collect();
        assert!(winners.len() <= 1, "{context}");
        for (winner, reply) in &winners {
            reply.assert_taken("delivered");
            assert_eq!(winner.to_string(), payload, "{context}");
        }
        for (sent, reply) in &self.replies {
            let sent = sent.to_string();
            match reply.header("sluice-outcome") {
                Some("delivered") => {}
                Some("duplicate") => {
                    reply.assert_taken("duplicate");
                    assert!(click.conflict.is_none() || sent == payload, "{context}");
                    assert!(id.is_none() || Some(&reply.json()["id"]) == id.as_ref(), "{context}");
                    let first = winners.first().map(|(_, reply)| reply.delivery());
                    assert!(first.is_none() || first == Some(reply.delivery()), "{context}");
                }
                // Left to the drain, which has brought it or dropped it.
                Some("pending") => reply.assert_stored("pending", id.is_some()),
                Some("rejected") => {
                    assert_eq!(Some(reply.status.as_u16()), click.conflict, "{context}");
                    assert_ne!(sent, payload, "{context}");
                }
                other => panic!("{other:?} {context}"),
            }
        }
        // Whoever comes later learns of the winner too.
        let again = setup.send("POST", &self.path, &[JSON, click.header], self.body(click, payload)).await;
        again.assert_taken("duplicate");
    }

    fn body(&self, click: &Click, payload: &str) -> String {
        match click.body.split_once(r#""data":"#) {
            Some((before, _)) => format!(r#"{before}"data":{payload}}}"#),
            None => payload.to_owned(),
        }
    }

    /// The payloads that the engine was called with for this round, and the run's id where that starts one; a second
    /// call fails the test.
    fn called(&self, setup: &Setup) -> BTreeMap<String, Option<Value>> {
        let mut called = BTreeMap::new();
        if self.path.contains("callback") {
            let runs = setup.engine.runs();
            let waits = &runs.iter().find(|run| run.id == self.run).unwrap().waits;
            assert_eq!(waits[0].status, Status::Succeeded);
            let path = format!("/api/v1/workflowrun/{}/event", self.run);
            for request in setup.engine.requests().iter().filter(|request| request.path == path) {
                let body: Value = serde_json::from_slice(&request.body).unwrap();
                assert!(called.insert(body["results"][0]["value"].to_string(), None).is_none(), "twice: {self:?}");
            }
        } else {
            let workflow = self.path.split_once("ref=").unwrap().1;
            for run in setup.engine.runs().iter().filter(|run| run.workflow_ref == workflow) {
                let data = run.params.iter().find(|param| param.name == "data").unwrap().value.get().to_owned();
                assert!(called.insert(data, Some(run.id.clone().into())).is_none(), "twice: {self:?}");
            }
        }
        called
    }
}
