//! A matrix of engine faults and kinds of delivery.
//!
//! A callback has two columns: in one, the fault hits its look too, so that it isn't sent; in the other, only its event.
//!
//! Each cell asserts the sender's response and the stored state. It then asserts that the recovered engine processes
//! the delivery exactly once, or that a rejected delivery has left nothing behind.

use futures_util::stream::{self, StreamExt};
use http::StatusCode;
use serde_json::{Value, json};
use sluice_host::stand_in::model::{Record, Status};
use sluice_host::stand_in::{Behaviour, RequestKind};

use crate::data::Data;
use crate::setup::{JSON, Reply, ReservedPort, Setup, eventually, wait_task};

/// A kind of delivery. In `path`, `RUN` stands for a run that waits for the column's name.
struct Column {
    /// Also the name of its workflow or topic.
    name: &'static str,
    is_start: bool,
    is_keyed: bool,
    path: &'static str,
    header: (&'static str, &'static str),
    body: &'static str,
    /// The kind of request that the fault hits; `None` if it hits all requests.
    faulty: Option<RequestKind>,
}

const EVENT: &str = r#"{"specversion":"1.0","id":"1","source":"/s","type":"t","data":{"a":1}}"#;

const WEBHOOK: Column = Column {
    name: "webhook",
    is_start: true,
    is_keyed: false,
    path: "/api/v2/webhook?ref=webhook",
    header: ("x-none", ""),
    body: r#"{"n":1}"#,
    faulty: None,
};

const COLUMNS: [Column; 6] = [
    WEBHOOK,
    Column {
        name: "idempotent",
        is_keyed: true,
        path: "/api/v2/webhook?ref=idempotent",
        header: ("idempotency-key", "k"),
        ..WEBHOOK
    },
    Column { name: "event", is_keyed: true, path: "/api/v2/event?ref=event", body: EVENT, ..WEBHOOK },
    Column { name: "unkeyed", path: "/api/v2/event?ref=unkeyed&dedup=off", body: EVENT, ..WEBHOOK },
    Column {
        name: "callback",
        is_start: false,
        is_keyed: true,
        path: "/api/v2/callback?ref=RUN&topic=callback",
        ..WEBHOOK
    },
    Column {
        name: "sent",
        is_start: false,
        is_keyed: true,
        path: "/api/v2/callback?ref=RUN&topic=sent",
        faulty: Some(RequestKind::Event),
        ..WEBHOOK
    },
];

#[derive(Clone)]
enum Fault {
    /// `engine_url` is set to this URL.
    Url(String),
    Behaviour(Behaviour),
}

#[derive(Clone, Copy)]
enum Expected {
    /// A 200: a look shows that the event had its effect.
    Delivered,
    /// A 202; the delivery is pending with this `last_failure`.
    Stored(&'static str),
    /// A 202; the callback is pending, and its first attempt is left to the drain.
    Unsent,
    /// A 202; the delivery is completed without a drain.
    DeliveredLate,
    /// The engine's status; nothing is stored.
    Rejected(u16),
}
use Expected::{Delivered, DeliveredLate, Rejected, Stored, Unsent};

/// A fault, with the expected outcome for each kind of delivery.
struct Row {
    name: &'static str,
    fault: Fault,
    start: Expected,
    /// A callback's, if the fault hits its look.
    look: Expected,
    /// A callback's, if the fault hits its event only.
    event: Expected,
    /// How often the engine receives a start or event that the fault hits, including the successful attempt.
    submits: usize,
    /// The values of `engine_wait_ms` and `engine_timeout_ms`.
    times: (u32, u32),
}

/// Long enough for every fault but a hanging engine.
const GENEROUS: (u32, u32) = (5000, 2000);
/// The attempt times out while the sender waits.
const TIMEOUT_FIRST: (u32, u32) = (5000, 500);
/// The sender gets its response before the attempt times out.
const WAIT_ENDS_FIRST: (u32, u32) = (100, 500);

const CONNECTION_BROKE: Expected = Stored("the engine sent no complete response: the connection broke");
const INCOMPLETE: Expected = Stored("the engine sent no complete response: its response broke off");
const TIMED_OUT: Expected = Stored("the engine sent no complete response: the attempt timed out");
const UNEXPECTED: Expected = Stored("the engine answered 200, but not with the expected body");

fn rows(refusing_engine: &ReservedPort) -> Vec<Row> {
    let row = |name, behaviour, expected| Row {
        name,
        fault: Fault::Behaviour(behaviour),
        start: expected,
        look: expected,
        event: expected,
        submits: 2,
        times: GENEROUS,
    };
    let unreachable = |name, url, failure| Row {
        name,
        fault: Fault::Url(url),
        start: Stored(failure),
        look: Stored(failure),
        event: Stored(failure),
        submits: 1,
        times: GENEROUS,
    };
    let status = Behaviour::status;
    let slow = Behaviour::Delay { ms: 700 };
    let unknown_path =
        Behaviour::Status { code: 404, body: Some("<html>".to_owned()), retry_after: None, headers: Vec::new() };
    vec![
        unreachable(
            "connection refused",
            refusing_engine.url(),
            "the engine can't be reached: the connection was refused",
        ),
        unreachable(
            "unknown host",
            "http://engine.invalid:7701".to_owned(),
            "the engine can't be reached: its name can't be resolved",
        ),
        Row {
            look: Unsent,
            submits: 1,
            times: (100, 5000),
            ..row("slower than the wait", slow.clone(), DeliveredLate)
        },
        Row {
            look: Unsent,
            submits: 1,
            times: WAIT_ENDS_FIRST,
            ..row("slower than wait and timeout", slow.clone(), TIMED_OUT)
        },
        Row {
            event: DeliveredLate,
            submits: 1,
            times: TIMEOUT_FIRST,
            ..row("slower than the timeout", slow, TIMED_OUT)
        },
        Row { look: Unsent, times: WAIT_ENDS_FIRST, ..row("hanging", Behaviour::Hang, TIMED_OUT) },
        row("cut before processing", Behaviour::CutBefore, CONNECTION_BROKE),
        Row {
            event: Delivered,
            submits: 1,
            ..row("cut after processing", Behaviour::CutAfterActing, CONNECTION_BROKE)
        },
        Row { event: Delivered, submits: 1, ..row("cut after the head", Behaviour::CutAfterHead, INCOMPLETE) },
        Row { event: Delivered, submits: 1, ..row("cut within the body", Behaviour::CutMidBody, INCOMPLETE) },
        row("400", status(400), Rejected(400)),
        row("401", status(401), Stored("the engine answered 401")),
        row("403", status(403), Stored("the engine answered 403")),
        // A callback may arrive before its run is known; a workflow must exist beforehand.
        Row { start: Rejected(404), ..row("404", status(404), Stored("the engine answered 404")) },
        row("404 for the path", unknown_path, Stored("the engine answered 404")),
        row("408", status(408), Stored("the engine answered 408")),
        row("409", status(409), Rejected(409)),
        row("422", status(422), Rejected(422)),
        row("425", status(425), Stored("the engine answered 425")),
        row("429", Behaviour::retry_after(429, "2"), Stored("the engine answered 429")),
        row("500", status(500), Stored("the engine answered 500")),
        row("502", status(502), Stored("the engine answered 502")),
        row("503", status(503), Stored("the engine answered 503")),
        row("garbage", Behaviour::Garbage, UNEXPECTED),
        row("login page", Behaviour::Html, UNEXPECTED),
        row("redirect", Behaviour::Redirect, Stored("the engine answered 302")),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn engine_faults_neither_lose_nor_repeat_a_delivery() {
    let refusing_engine = ReservedPort::new();
    let rows = rows(&refusing_engine);
    // A server that all rows share would be so busy that attempts last longer than they may.
    let at_once = if Data::is_in_postgres() { 6 } else { rows.len() };
    stream::iter(rows).for_each_concurrent(at_once, run_row).await;
}

/// A fault and a kind of delivery.
struct Cell<'a> {
    name: String,
    column: &'a Column,
    expected: Expected,
    run: String,
}

async fn run_row(row: Row) {
    let (wait, timeout) = row.times;
    let settings = json!({"engine_wait_ms": wait, "engine_timeout_ms": timeout}).to_string();
    let mut setup = Setup::with_variables(&[("settings", &settings)]).await;
    let healthy = setup.engine.url();
    let mut ids = Vec::new();
    let cells = COLUMNS.each_ref().map(|column| Cell {
        name: format!("{} × {}", row.name, column.name),
        column,
        expected: match column.faulty {
            None if column.is_start => row.start,
            None => row.look,
            Some(_) => row.event,
        },
        run: setup.engine.wait("release", column.name).unwrap(),
    });
    if let Fault::Url(url) = &row.fault {
        setup = setup.restart_with(&[("engine_url", url)]).await;
    }
    for cell in &cells {
        if let Fault::Behaviour(behaviour) = &row.fault {
            setup.engine.script().clear();
            match cell.column.faulty {
                None => setup.engine.script().always(behaviour.clone()),
                Some(kind) => setup.engine.script().always_on(kind, behaviour.clone()),
            };
        }
        let reply = cell.send(&setup).await;
        let id = cell.assert_reply(&reply);
        cell.assert_state_during_fault(&setup, &id).await;
        ids.push(id);
    }

    match &row.fault {
        Fault::Url(_) => setup = setup.restart_with(&[("engine_url", &healthy)]).await,
        Fault::Behaviour(_) => setup.engine.script().clear(),
    }
    let totals = setup.drain_all().await;
    let stored = cells.iter().filter(|cell| matches!(cell.expected, Stored(_) | Unsent)).count() as u64;
    // The short drain after a sampled response may already have delivered some.
    assert!(totals.delivered <= stored, "{}: {totals:?}", row.name);
    assert_eq!((totals.rejected, totals.dead, totals.dropped), (0, 0, 0), "{}", row.name);
    for (cell, id) in cells.iter().zip(&ids) {
        cell.assert_state_after_recovery(&setup, id, row.submits).await;
    }
    assert_eq!(setup.deliveries("dead").await, Vec::<Value>::new(), "{}", row.name);
    assert_eq!(setup.get("/readyz").await.json(), json!({"status": "ready"}), "{}", row.name);
}

impl Cell<'_> {
    async fn send(&self, setup: &Setup) -> Reply {
        let Column { path, header, body, .. } = *self.column;
        setup.send("POST", &path.replace("RUN", &self.run), &[JSON, header], body).await.in_case(&self.name)
    }

    /// Asserts the sender's response and returns the id of the delivery.
    fn assert_reply(&self, reply: &Reply) -> String {
        match self.expected {
            Delivered => reply.assert_ok("delivered"),
            Stored(_) | Unsent | DeliveredLate => reply.assert_stored("pending", self.column.is_start),
            Rejected(status) => {
                reply.assert_problem(status, "rejected");
                assert_eq!(reply.header("sluice-outcome"), Some("rejected"), "{reply}");
                assert_eq!(reply.header("location"), None, "{reply}");
            }
        }
        reply.delivery().to_owned()
    }

    /// Asserts the stored state before the engine recovers.
    async fn assert_state_during_fault(&self, setup: &Setup, id: &str) {
        let name = &self.name;
        let path = format!("/api/v2/deliveries/{id}");
        match self.expected {
            Stored(_) | Unsent => {
                let (attempts, failure) = match self.expected {
                    Stored(failure) => (1, json!(failure)),
                    _ => (0, Value::Null),
                };
                let stored = eventually(&format!("{name}: the first attempt has ended"), async || {
                    let stored = setup.operator("GET", &path).await.in_case(name);
                    stored.assert_status(200);
                    (stored.json()["attempts"] == attempts).then(|| stored.json())
                })
                .await;
                assert_eq!((&stored["state"], &stored["last_failure"]), (&json!("pending"), &failure), "{name}");
                let (kind, target) =
                    if self.column.is_start { ("start", self.column.name) } else { ("resolve", self.run.as_str()) };
                assert_eq!((&stored["kind"], &stored["ref"]), (&json!(kind), &json!(target)), "{name}");
                assert!(setup.deliveries("pending").await.iter().any(|listed| listed["id"] == id), "{name}");
                if self.column.is_keyed {
                    // A repeated callback looks, too.
                    let calls = |setup: &Setup| match self.column.is_start {
                        true => setup.host.outbound().calls(),
                        false => self.requests(setup) as u64,
                    };
                    let before = calls(setup);
                    let duplicate = self.send(setup).await;
                    duplicate.assert_stored("duplicate", self.column.is_start);
                    assert_eq!((duplicate.delivery(), calls(setup)), (id, before), "{name}");
                }
            }
            Delivered => setup.operator("GET", &path).await.in_case(name).assert_status(404),
            DeliveredLate => {
                eventually(&format!("{name}: the delivery is completed without a drain"), async || {
                    (setup.operator("GET", &path).await.status == StatusCode::NOT_FOUND).then_some(())
                })
                .await;
            }
            Rejected(_) => {
                setup.operator("GET", &path).await.in_case(name).assert_status(404);
                let pending = setup.deliveries("pending").await;
                assert!(pending.iter().all(|listed| listed["id"] != id), "{name}");
                let outcomes = if self.column.is_start { "sluice:done:" } else { "sluice:callback:" };
                let is_claimed = match setup.data.postgres() {
                    Some(database) => database.psql("SELECT count(*) FROM sluice_delivery") != "0",
                    None => setup.has_outcome(outcomes).await,
                };
                assert!(!self.column.is_keyed || !is_claimed, "{name}: the key is still claimed");
            }
        }
    }

    /// Asserts that the recovered engine has processed the delivery exactly once. A rejected delivery is sent again and
    /// must succeed like a new one.
    async fn assert_state_after_recovery(&self, setup: &Setup, id: &str, submits: usize) {
        let name = &self.name;
        let completed = setup.operator("GET", &format!("/api/v2/deliveries/{id}")).await.in_case(name);
        completed.assert_problem(404, "no-delivery");
        let was_rejected = matches!(self.expected, Rejected(_));
        assert!(!was_rejected || self.runs(setup).is_empty(), "{name}");
        if was_rejected {
            self.send(setup).await.assert_ok("delivered");
        } else if self.column.is_keyed {
            let duplicate = self.send(setup).await;
            duplicate.assert_ok("duplicate");
            assert_eq!(duplicate.delivery(), id, "{name}");
            assert!(!self.column.is_start || duplicate.json()["id"] == self.runs(setup)[0].run.id.as_str(), "{name}");
        }

        let expected = match self.column.faulty {
            // It is sent only once its look is answered.
            None if !self.column.is_start => 1,
            _ if was_rejected => 2,
            _ => submits,
        };
        assert_eq!(self.requests(setup), expected, "{name}: submits or events that reached the engine");
        if self.column.is_start {
            assert_eq!(self.runs(setup).len(), 1, "{name}");
        } else {
            let runs = setup.engine.runs();
            let task = wait_task(runs.iter().find(|record| record.run.id == self.run).unwrap()).unwrap();
            assert_eq!(task.status, Status::Succeeded, "{name}");
            let result: Value = serde_json::from_str(&task.results[0].value.to_string()).unwrap();
            assert_eq!(result, serde_json::from_str::<Value>(self.column.body).unwrap(), "{name}");
            assert_eq!(setup.callback(&self.run, self.column.name).await.json()["state"], "delivered", "{name}");
        }
    }

    fn runs(&self, setup: &Setup) -> Vec<Record> {
        setup.engine.runs().into_iter().filter(|record| record.run.workflow_ref == self.column.name).collect()
    }

    /// The number of submits or events that reached the engine.
    fn requests(&self, setup: &Setup) -> usize {
        let path = match self.column.is_start {
            true => format!("/api/v1/workflow/{}/submit", self.column.name),
            false => format!("/api/v1/workflowrun/{}/event", self.run),
        };
        setup.engine.requests().iter().filter(|request| request.path == path).count()
    }
}
