//! Whatever the engine does wrong, to whatever is brought: what the sender is told, what is stored, and that the engine
//! has it exactly once when it is well again; or that it was refused, and nothing of it is left.

use futures_util::future::join_all;
use http::StatusCode;
use serde_json::json;
use sluice_host::stand_in::{Behaviour, Run, Status};

use crate::setup::{Closed, JSON, Reply, Setup, poll};

/// One of what senders bring. In each text `RUN` stands for a run that waits for the column's topic.
struct Column {
    /// Its name is its workflow's, or its topic's.
    name: &'static str,
    is_start: bool,
    is_keyed: bool,
    path: &'static str,
    header: (&'static str, &'static str),
    body: &'static str,
}

const EVENT: &str = r#"{"specversion":"1.0","id":"1","source":"/s","type":"t","data":{"a":1}}"#;

const WEBHOOK: Column = Column {
    name: "webhook",
    is_start: true,
    is_keyed: false,
    path: "/api/v2/webhook?ref=webhook",
    header: ("x-none", ""),
    body: r#"{"n":1}"#,
};

const COLUMNS: [Column; 5] = [
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
];

#[derive(Clone)]
enum Fault {
    /// Another URL is set.
    At(String),
    Does(Behaviour),
}

#[derive(Clone, Copy)]
enum Expect {
    /// 202, and this is why it isn't delivered.
    Stored(&'static str),
    /// 202, and it is delivered without a drain.
    Late,
    /// The engine's status, and nothing is stored.
    Refused(u16),
}
use Expect::{Late, Refused, Stored};

struct Row {
    name: &'static str,
    fault: Fault,
    start: Expect,
    resolve: Expect,
    /// How often the engine is sent a start until it is well and has it.
    submits: usize,
    /// `engine_wait_ms`, `engine_timeout_ms`
    times: (&'static str, &'static str),
}

/// A sender waits until the engine has answered, or its time is over.
const PATIENT: (&str, &str) = ("5000", "2000");
/// The time is over while the sender waits.
const DEAF: (&str, &str) = ("5000", "500");
/// The sender is gone by then.
const HURRIED: (&str, &str) = ("100", "500");

const BROKE: Expect = Stored("the engine sent no complete response: the connection broke");
const BROKE_OFF: Expect = Stored("the engine sent no complete response: its answer broke off");
const OVER: Expect = Stored("the engine sent no complete response: its time is over");
const STRANGE: Expect = Stored("the engine answered 200, but not as the engine does");

fn rows(closed: &Closed) -> Vec<Row> {
    let row = |name, behaviour, expect| Row {
        name,
        fault: Fault::Does(behaviour),
        start: expect,
        resolve: expect,
        submits: 2,
        times: PATIENT,
    };
    let answers = |code| Behaviour::status(code);
    let no_such_path =
        Behaviour::Status { code: 404, body: Some("<html>".to_owned()), retry_after: None, headers: Vec::new() };
    vec![
        Row {
            fault: Fault::At(closed.url()),
            submits: 1,
            ..row("refused", answers(0), Stored("the engine can't be reached: the connection was refused"))
        },
        Row {
            fault: Fault::At("http://engine.invalid:7701".to_owned()),
            submits: 1,
            ..row("no such name", answers(0), Stored("the engine can't be reached: its name is not resolved"))
        },
        Row { submits: 1, times: ("100", "5000"), ..row("slow past the wait", Behaviour::Delay { ms: 700 }, Late) },
        Row { submits: 1, times: HURRIED, ..row("slow past the timeout", Behaviour::Delay { ms: 700 }, OVER) },
        Row { submits: 1, times: DEAF, ..row("slow within the wait", Behaviour::Delay { ms: 700 }, OVER) },
        Row { times: HURRIED, ..row("deaf", Behaviour::Hang, OVER) },
        row("cut before it acts", Behaviour::CutBefore, BROKE),
        Row { submits: 1, ..row("cut when it has acted", Behaviour::CutAfterActing, BROKE) },
        Row { submits: 1, ..row("cut after the head", Behaviour::CutAfterHead, BROKE_OFF) },
        Row { submits: 1, ..row("cut in the body", Behaviour::CutMidBody, BROKE_OFF) },
        row("400", answers(400), Refused(400)),
        row("401", answers(401), Stored("the engine answered 401")),
        row("403", answers(403), Stored("the engine answered 403")),
        // A run may be told of too early, a workflow may not.
        Row { start: Refused(404), ..row("404", answers(404), Stored("the engine answered 404")) },
        row("404 of a path", no_such_path, Stored("the engine answered 404")),
        row("408", answers(408), Stored("the engine answered 408")),
        row("409", answers(409), Refused(409)),
        row("422", answers(422), Refused(422)),
        row("425", answers(425), Stored("the engine answered 425")),
        row("429", Behaviour::retry_after(429, "2"), Stored("the engine answered 429")),
        row("500", answers(500), Stored("the engine answered 500")),
        row("502", answers(502), Stored("the engine answered 502")),
        row("503", answers(503), Stored("the engine answered 503")),
        row("garbage", Behaviour::Garbage, STRANGE),
        row("a login page", Behaviour::Html, STRANGE),
        row("a redirect", Behaviour::Redirect, Stored("the engine answered 302")),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_the_engine_does_nothing_is_lost_and_nothing_is_done_twice() {
    let closed = Closed::new();
    join_all(rows(&closed).into_iter().map(row)).await;
}

/// One cell on its way.
struct Cell<'a> {
    name: String,
    column: &'a Column,
    expect: Expect,
    run: &'a str,
}

async fn row(row: Row) {
    let (wait, timeout) = row.times;
    let mut setup = Setup::with(&[("engine_wait_ms", wait), ("engine_timeout_ms", timeout)]).await;
    let run = setup.engine.wait("release", "callback");
    let healthy = setup.engine.url();
    match &row.fault {
        Fault::At(url) => setup = setup.restart_with(&[("engine_url", url)]).await,
        Fault::Does(behaviour) => drop(setup.engine.script().always(behaviour.clone())),
    }
    let mut ids = Vec::new();
    let cells = COLUMNS.each_ref().map(|column| Cell {
        name: format!("{} × {}", row.name, column.name),
        column,
        expect: if column.is_start { row.start } else { row.resolve },
        run: &run,
    });
    for cell in &cells {
        let reply = cell.send(&setup).await;
        ids.push(cell.answered(&reply));
    }
    for (cell, id) in cells.iter().zip(&ids) {
        cell.is_kept(&setup, id).await;
    }

    match &row.fault {
        Fault::At(_) => setup = setup.restart_with(&[("engine_url", &healthy)]).await,
        Fault::Does(_) => setup.engine.script().clear(),
    }
    let moved = setup.drain_all().await;
    let stored = cells.iter().filter(|cell| matches!(cell.expect, Stored(_))).count() as u64;
    assert_eq!((moved.delivered, moved.rejected, moved.dead, moved.dropped), (stored, 0, 0, 0), "{}", row.name);
    for (cell, id) in cells.iter().zip(&ids) {
        cell.is_done(&setup, id, row.submits).await;
    }
    assert_eq!(setup.stored("dead").await, Vec::<serde_json::Value>::new(), "{}", row.name);
    assert_eq!(setup.get("/readyz").await.json(), json!({"status": "ready"}), "{}", row.name);
}

impl Cell<'_> {
    async fn send(&self, setup: &Setup) -> Reply {
        let Column { path, header, body, .. } = *self.column;
        setup.send("POST", &path.replace("RUN", self.run), &[JSON, header], body).await
    }

    /// What the sender is told; gives the delivery's id.
    fn answered(&self, reply: &Reply) -> String {
        let name = &self.name;
        match self.expect {
            Stored(_) | Late => {
                assert_eq!(reply.status, 202, "{name}: {}", reply.text());
                reply.assert_stored("pending", self.column.is_start);
            }
            Refused(status) => {
                assert_eq!(reply.status, status, "{name}: {}", reply.text());
                reply.assert_problem(status, "rejected");
                assert_eq!(reply.header("sluice-outcome"), Some("rejected"), "{name}");
                assert_eq!(reply.header("location"), None, "{name}");
            }
        }
        reply.delivery().to_owned()
    }

    /// What is stored while the engine is at fault.
    async fn is_kept(&self, setup: &Setup, id: &str) {
        let name = &self.name;
        let path = format!("/api/v2/deliveries/{id}");
        match self.expect {
            Stored(why) => {
                let stored = poll("the attempt is over", async || {
                    let stored = setup.operate("GET", &path).await;
                    assert_eq!(stored.status, 200, "{name}: {}", stored.text());
                    (stored.json()["attempts"] == 1).then(|| stored.json())
                })
                .await;
                assert_eq!((&stored["state"], &stored["last_failure"]), (&json!("pending"), &json!(why)), "{name}");
                let (kind, of) = if self.column.is_start { ("start", self.column.name) } else { ("resolve", self.run) };
                assert_eq!((&stored["kind"], &stored["ref"]), (&json!(kind), &json!(of)), "{name}");
                assert!(setup.stored("pending").await.iter().any(|listed| listed["id"] == id), "{name}");
                if self.column.is_keyed {
                    let calls = setup.host.outbound().calls();
                    let again = self.send(setup).await;
                    again.assert_stored("duplicate", self.column.is_start);
                    assert_eq!((again.delivery(), setup.host.outbound().calls()), (id, calls), "{name}");
                }
            }
            Late => {
                poll("it is delivered by itself", async || {
                    (setup.operate("GET", &path).await.status == StatusCode::NOT_FOUND).then_some(())
                })
                .await;
            }
            Refused(_) => {
                assert_eq!(setup.operate("GET", &path).await.status, 404, "{name}");
                let pending = setup.stored("pending").await;
                assert!(pending.iter().all(|listed| listed["id"] != id), "{name}");
                let of = if self.column.is_start { "sluice/done/" } else { "sluice/callback/" };
                assert!(!self.column.is_keyed || setup.keys(of).await.is_empty(), "{name}: a key is taken");
            }
        }
    }

    /// The engine is well again and has it, exactly once; what was refused may come again as if for the first time.
    async fn is_done(&self, setup: &Setup, id: &str, submits: usize) {
        let name = &self.name;
        let gone = setup.operate("GET", &format!("/api/v2/deliveries/{id}")).await;
        gone.assert_problem(404, "no-delivery");
        let refused = matches!(self.expect, Refused(_));
        assert!(!refused || self.runs(setup).is_empty(), "{name}");
        if refused {
            self.send(setup).await.assert_taken("delivered");
        } else if self.column.is_keyed {
            let again = self.send(setup).await;
            again.assert_taken("duplicate");
            assert_eq!(again.delivery(), id, "{name}");
            assert!(!self.column.is_start || again.json()["id"] == self.runs(setup)[0].id.as_str(), "{name}");
        }

        if self.column.is_start {
            assert_eq!(self.runs(setup).len(), 1, "{name}");
            let sent = self.sent(setup, "/submit");
            assert_eq!(sent, if refused { 2 } else { submits }, "{name}: times that the engine was sent it");
        } else {
            let runs = setup.engine.runs();
            let waits = &runs.iter().find(|run| run.id == self.run).unwrap().waits;
            assert_eq!((waits.len(), waits[0].status), (1, Status::Succeeded), "{name}");
            assert_eq!(waits[0].results[0].value.get(), self.column.body, "{name}");
            assert_eq!(setup.recall(self.run, "callback").await.json()["state"], "delivered", "{name}");
        }
    }

    fn runs(&self, setup: &Setup) -> Vec<Run> {
        setup.engine.runs().into_iter().filter(|run| run.workflow_ref == self.column.name).collect()
    }

    fn sent(&self, setup: &Setup, what: &str) -> usize {
        let path = format!("/api/v1/workflow/{}{what}", self.column.name);
        setup.engine.requests().iter().filter(|request| request.path == path).count()
    }
}
