//! A host or the server is killed at each stage of a delivery: each accepted one is done exactly once.
//!
//! A trigger lets a statement wait when it changes a row in a certain way. The host or the server is killed meanwhile.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Instant;

use futures_util::stream::{self, StreamExt};
use serde_json::Value;
use sluice_host::stand_in::model::Status;
use sluice_host::stand_in::{Behaviour, RequestKind, StandIn};

use super::server::{Database, Server};
use crate::data::{Data, shared_server};
use crate::process::Process;
use crate::setup::{HttpClient, JSON, OPERATOR, Reply, eventually, wait_task};

/// A stage at which something is killed.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Stage {
    /// The row is inserted with a holder.
    Claim,
    /// The row is inserted without a holder.
    Store,
    /// A drain gets the row.
    Take,
    /// The row is promised to a sender.
    Promise,
    /// The row gets the key of a task.
    Move,
    /// The row loses its holder, for a later attempt.
    Reschedule,
    /// The row is settled, or deleted.
    End,
    /// The engine has taken a submit or an event, and hasn't answered yet.
    Engine,
}
use Stage::{Claim, End, Engine, Move, Promise, Reschedule, Store, Take};

/// The victim of a kill, and the end of the statement that waits.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Victim {
    /// The host. The server completes the statement.
    Host,
    /// The host, and the session with it: the statement has no effect.
    HostAndSession,
    /// The server, which is restarted. The statement has no effect.
    Server,
}

/// The behaviour of the engine until the kill.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Is {
    Well,
    Busy,
    /// It acts and answers late.
    Slow,
    Refusing,
}
use Is::{Busy, Refusing, Slow, Well};

/// A request. In its path, `RUN` stands for a run that waits, and `LATER` for one that doesn't wait yet.
#[derive(Clone, Copy, Debug)]
struct Template {
    path: &'static str,
    header: (&'static str, &'static str),
    is_keyed: bool,
}

const BODY: &str = r#"{"specversion":"1.0","id":"e","source":"/s","type":"t"}"#;
const EVENT: Template = Template { path: "/api/v2/event?ref=w", header: ("x-none", ""), is_keyed: true };
const ASYNC: Template = Template { header: ("prefer", "respond-async"), ..EVENT };
const WEBHOOK: Template = Template { path: "/api/v2/webhook?ref=w", is_keyed: false, ..EVENT };
const ASYNC_WEBHOOK: Template = Template { header: ("prefer", "respond-async"), ..WEBHOOK };
const CALLBACK: Template = Template { path: "/api/v2/callback?ref=RUN&topic=t", ..EVENT };

/// A request, the engine's behaviour, and the stage; in the second list, of a drain after the request was stored.
type Case = (Template, Is, Stage);

const SENDERS: [Case; 18] = [
    (EVENT, Well, Claim),
    (EVENT, Slow, Engine),
    (EVENT, Well, End),
    (EVENT, Busy, Reschedule),
    (EVENT, Slow, Promise),
    (EVENT, Slow, End),
    (EVENT, Refusing, End),
    (ASYNC, Well, Claim),
    (ASYNC, Well, Promise),
    (ASYNC, Slow, Engine),
    (ASYNC, Well, End),
    (WEBHOOK, Busy, Store),
    (WEBHOOK, Slow, Claim),
    (ASYNC_WEBHOOK, Well, Claim),
    (ASYNC_WEBHOOK, Well, End),
    (CALLBACK, Well, Claim),
    (CALLBACK, Slow, Engine),
    (CALLBACK, Well, End),
];

const DRAINS: [Case; 12] = [
    (EVENT, Well, Take),
    (EVENT, Slow, Engine),
    (EVENT, Well, End),
    (EVENT, Busy, Reschedule),
    (WEBHOOK, Well, Take),
    (WEBHOOK, Slow, Engine),
    (WEBHOOK, Well, End),
    (CALLBACK, Well, Take),
    (CALLBACK, Well, Move),
    (CALLBACK, Slow, Engine),
    (CALLBACK, Well, End),
    (CALLBACK, Busy, Reschedule),
];

/// Lets statements wait at the stage that the table names.
const TRIGGER: &str = "
    CREATE TABLE stage (name text NOT NULL);
    CREATE FUNCTION reach() RETURNS trigger LANGUAGE plpgsql AS $$
        DECLARE reached text := CASE
            WHEN TG_OP = 'INSERT' THEN CASE WHEN NEW.token IS NULL THEN 'Store' ELSE 'Claim' END
            WHEN TG_OP = 'DELETE' OR NEW.state <> 'pending' THEN 'End'
            WHEN NEW.key <> OLD.key THEN 'Move'
            WHEN NEW.token IS NULL AND OLD.token IS NOT NULL THEN 'Reschedule'
            WHEN NEW.token IS DISTINCT FROM OLD.token THEN 'Take'
            WHEN NEW.accepted AND NOT OLD.accepted THEN 'Promise'
            END;
        BEGIN
            IF EXISTS (SELECT FROM stage WHERE name = reached) THEN
                PERFORM pg_advisory_xact_lock(1);
            END IF;
            RETURN coalesce(NEW, OLD);
        END
    $$;
    CREATE TRIGGER reach BEFORE INSERT OR UPDATE OR DELETE ON sluice_delivery FOR EACH ROW EXECUTE FUNCTION reach()";

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs postgresql"]
async fn host_that_is_killed_at_any_stage_neither_loses_nor_repeats_a_delivery() {
    let (server, start) = (shared_server(), Instant::now());
    let cases = cases([Victim::Host, Victim::HostAndSession]);
    let count = cases.len();
    stream::iter(cases).for_each_concurrent(4, |case| run(case, &server)).await;
    println!("{count} cases in {:.1} s", start.elapsed().as_secs_f64());
}

/// One after the other, because they share the server.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs postgresql"]
async fn server_that_is_killed_at_any_stage_neither_loses_nor_repeats_a_delivery() {
    let (server, start) = (Arc::new(Server::start()), Instant::now());
    let cases = cases([Victim::Server]);
    let count = cases.len();
    stream::iter(cases).for_each_concurrent(1, |case| run(case, &server)).await;
    println!("{count} cases in {:.1} s", start.elapsed().as_secs_f64());
}

#[derive(Clone, Copy, Debug)]
struct Kill {
    case: Case,
    in_drain: bool,
    victim: Victim,
}

fn cases<const N: usize>(victims: [Victim; N]) -> Vec<Kill> {
    let cases = SENDERS.map(|case| (case, false)).into_iter().chain(DRAINS.map(|case| (case, true)));
    let kills = cases.flat_map(|(case, in_drain)| victims.map(|victim| Kill { case, in_drain, victim }));
    // No statement waits while the engine has the delivery.
    kills.filter(|kill| kill.case.2 != Engine || kill.victim != Victim::HostAndSession).collect()
}

/// The parts of a case. The host is `None` once it is killed.
struct Parts {
    kill: Kill,
    name: String,
    data: Data,
    engine: StandIn,
    host: Option<Process>,
    client: HttpClient,
    path: String,
    run: String,
}

async fn run(kill: Kill, server: &Arc<Server>) {
    let data = Data::in_postgres(Database::new(server));
    data.postgres().unwrap().psql(TRIGGER);
    let engine = StandIn::builder().any_workflow().start().await.unwrap();
    let run = engine.wait("release", "t").unwrap();
    let ((template, is, stage), in_drain) = (kill.case, kill.in_drain);
    let mut parts = Parts {
        kill,
        name: format!("{kill:?}"),
        path: template.path.replace("RUN", &run),
        host: Some(start(&data, &engine)),
        client: HttpClient::new(),
        data,
        engine,
        run,
    };
    let mut is_accepted = false;
    if in_drain {
        parts.engine.script().always(Behaviour::status(503));
        let stored = parts.send().await.unwrap();
        assert_eq!(stored.status, 202, "{}: {stored}", parts.name);
        is_accepted = true;
        parts.engine.script().clear();
        parts.engine.clear_requests();
        // It is due.
        parts.database().advance(60_000);
    }

    parts.begin(is);
    parts.database().psql(&format!("INSERT INTO stage VALUES ('{stage:?}')"));
    let lock = parts.database().lock().await;
    let request: Pin<Box<dyn Future<Output = _> + Send>> = if in_drain {
        let (client, url) = (parts.client.clone(), parts.url("/api/v2/deliveries/drain"));
        Box::pin(async move { client.send("POST", &url, &[OPERATOR], "").await })
    } else {
        Box::pin(parts.send())
    };
    let request = tokio::spawn(request);
    match stage {
        Engine => {
            let kinds = [Some(RequestKind::Submit), Some(RequestKind::Event)];
            let has_arrived = || parts.engine.requests().iter().any(|request| kinds.contains(&request.kind()));
            eventually(&format!("{}: the engine is called", parts.name), async || has_arrived().then_some(())).await;
        }
        _ => parts.database().until_waiting(1).await,
    }
    match kill.victim {
        Victim::Host => {
            parts.host.take().unwrap().kill();
            drop(lock);
        }
        Victim::HostAndSession => {
            parts.host.take().unwrap().kill();
            parts.database().end_waiting();
            drop(lock);
        }
        Victim::Server => {
            parts.database().server().kill();
            drop(lock);
            parts.database().server().restart();
        }
    }
    let reply = request.await.unwrap().ok();
    let others = "SELECT count(*) FROM pg_stat_activity
        WHERE datname = current_database() AND state <> 'idle' AND pid <> pg_backend_pid()";
    eventually("the statement has ended", async || (parts.database().psql(others) == "0").then_some(())).await;
    parts.database().psql("DELETE FROM stage");
    parts.engine.script().clear();
    if is == Slow {
        // A lease is longer than the engine takes. Here it ends when the engine has acted.
        eventually(&format!("{}: the engine has acted", parts.name), async || parts.has_acted().then_some(())).await;
    }
    if !in_drain {
        is_accepted = reply.is_some_and(|reply| reply.status.is_success());
    }
    parts.assert_done(is_accepted).await;
}

fn start(data: &Data, engine: &StandIn) -> Process {
    let url = engine.url();
    Process::start(
        data,
        &[("engine_url", url.as_str()), ("settings", r#"{"engine_wait_ms":300,"engine_timeout_ms":2000}"#)],
    )
}

impl Parts {
    fn database(&self) -> &Database {
        self.data.postgres().unwrap()
    }

    fn url(&self, path: &str) -> String {
        format!("{}{path}", self.host.as_ref().unwrap().url)
    }

    /// Scripts the engine.
    fn begin(&self, is: Is) {
        let script = self.engine.script();
        let slow = Behaviour::Delay { ms: 900 };
        match is {
            Well => &script,
            Busy => script.always(Behaviour::status(503)),
            Slow => script.always_on(RequestKind::Submit, slow.clone()).always_on(RequestKind::Event, slow),
            Refusing => script.always(Behaviour::status(400)),
        };
    }

    fn send(&self) -> impl Future<Output = Result<Reply, String>> + Send + 'static {
        let (client, url, header) = (self.client.clone(), self.url(&self.path), self.kill.case.0.header);
        async move { client.send("POST", &url, &[JSON, header], BODY).await }
    }

    fn has_acted(&self) -> bool {
        self.engine.runs().iter().any(|record| match wait_task(record) {
            None => true,
            Some(task) => task.status == Status::Succeeded,
        })
    }

    /// Asserts that the delivery is done once, after its sender has sent it again if it wasn't accepted. Without a key,
    /// it isn't sent again: it would be another one.
    async fn assert_done(mut self, mut is_accepted: bool) {
        let (name, template) = (self.name.clone(), self.kill.case.0);
        if self.host.is_none() {
            self.host = Some(start(&self.data, &self.engine));
        }
        if !is_accepted && template.is_keyed {
            let again = self.send().await.unwrap();
            assert!(again.status.is_success(), "{name}: {again}");
            is_accepted = true;
        }
        eventually(&format!("{name}: nothing is pending"), async || {
            // Leases and back-offs are over.
            self.database().advance(60_000);
            let url = self.url("/api/v2/deliveries/drain");
            let pass = self.client.send("POST", &url, &[OPERATOR], "").await.unwrap();
            pass.assert_status(200);
            assert_eq!((&pass.json()["dead"], &pass.json()["rejected"]), (&0.into(), &0.into()), "{name}: {pass}");
            (pass.json()["pending"] == 0).then_some(())
        })
        .await;
        let runs = self.engine.runs();
        if template.path.contains("RUN") {
            let record = runs.iter().find(|record| record.run.id == self.run).unwrap();
            assert_eq!(wait_task(record).unwrap().status, Status::Succeeded, "{name}");
            let sent = self.engine.requests().iter().filter(|it| it.kind() == Some(RequestKind::Event)).count();
            let most = if self.kill.case.1 == Busy { 2 } else { 1 };
            assert!((1..=most).contains(&sent), "{name}: {sent} events");
        } else {
            let started = runs.iter().filter(|record| record.run.workflow_ref == "w").count();
            assert!(started == 1 || (started == 0 && !is_accepted), "{name}: {started} runs");
        }
        let dead = self.client.send("GET", &self.url("/api/v2/deliveries?state=dead"), &[OPERATOR], "").await.unwrap();
        assert_eq!(dead.json()["deliveries"], Value::Array(Vec::new()), "{name}");
        if template.is_keyed {
            self.send().await.unwrap().in_case(&name).assert_ok("duplicate");
        }
    }
}
