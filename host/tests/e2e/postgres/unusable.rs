//! A database that can't be used: `/readyz` names the reason, and nothing is acknowledged that isn't kept.

use std::sync::Arc;

use sluice_host::stand_in::model::Status;
use sluice_host::stand_in::{Behaviour, RequestKind};

use super::assert_problem;
use super::server::{Database, Server};
use crate::data::Data;
use crate::setup::{JSON, Reply, Setup, eventually, wait_task};

/// A reason, and how it begins and ends.
struct Reason {
    name: &'static str,
    begin: fn(&Database),
    end: fn(&Database),
    /// What `/readyz` says.
    detail: &'static str,
    /// Whether the database can still keep a delivery.
    keeps: bool,
}

const REASONS: [Reason; 6] = [
    Reason {
        name: "schema of another version",
        begin: |database| drop(database.psql("UPDATE sluice_note SET value = '2' WHERE name = 'schema'")),
        end: |database| drop(database.psql("UPDATE sluice_note SET value = '1' WHERE name = 'schema'")),
        detail: "another version, 2",
        keeps: true,
    },
    Reason {
        name: "no schema",
        begin: |database| drop(database.psql("ALTER TABLE sluice_delivery RENAME TO hidden")),
        end: |database| drop(database.psql("ALTER TABLE hidden RENAME TO sluice_delivery")),
        detail: "not the whole of it",
        keeps: false,
    },
    Reason {
        name: "server down",
        begin: |database| database.server().stop(),
        end: |database| database.server().restart(),
        detail: "no connection to the server",
        keeps: false,
    },
    Reason {
        name: "table full",
        begin: |database| {
            database.psql(
                "DELETE FROM sluice_delivery WHERE key = ':probe';
                CREATE FUNCTION fill() RETURNS trigger LANGUAGE plpgsql AS
                    $$ BEGIN RAISE disk_full USING MESSAGE = 'server t3xt'; END $$;
                CREATE TRIGGER fill BEFORE INSERT OR UPDATE ON sluice_delivery FOR EACH ROW EXECUTE FUNCTION fill()",
            );
        },
        end: |database| drop(database.psql("DROP FUNCTION fill CASCADE")),
        detail: "no space left: free some space",
        keeps: false,
    },
    Reason {
        name: "read-only",
        begin: |database| drop(database.psql(&read_only("on"))),
        end: |database| drop(database.psql(&read_only("off"))),
        detail: "`default_transaction_read_only` is on",
        keeps: false,
    },
    Reason {
        name: "standby",
        begin: |database| database.server().restart_as_standby(),
        end: |database| drop(database.psql("SELECT pg_promote()")),
        detail: "the server is a standby",
        keeps: false,
    },
];

fn read_only(value: &str) -> String {
    format!(
        "SET default_transaction_read_only = off; ALTER SYSTEM SET default_transaction_read_only = {value};
        SELECT pg_reload_conf(), pg_sleep(0.2)"
    )
}

/// A request that was sent while the database was unusable.
struct Sent {
    path: String,
    header: (&'static str, &'static str),
    body: String,
    needs_store: bool,
    reply: Reply,
}

async fn send(setup: &Setup, path: String, header: (&'static str, &'static str), id: &str, needs_store: bool) -> Sent {
    let body = format!(r#"{{"specversion":"1.0","id":"{id}","source":"/s","type":"t"}}"#);
    let reply = setup.send("POST", &path, &[JSON, header], body.clone()).await.in_case(id);
    Sent { path, header, body, needs_store, reply }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs postgresql"]
async fn unusable_database_is_named_and_acknowledges_nothing_that_it_does_not_keep() {
    let data = Data::in_postgres(Database::new(&Arc::new(Server::start())));
    let setup = Setup::with_data(data, &[("settings", r#"{"engine_wait_ms":300,"engine_timeout_ms":1000}"#)]).await;
    for (n, reason) in REASONS.iter().enumerate() {
        run(&setup, n, reason).await;
    }
}

async fn run(setup: &Setup, n: usize, reason: &Reason) {
    let (database, name) = (setup.data.postgres().unwrap(), reason.name);
    let run = setup.engine.wait("release", "t").unwrap();
    assert_eq!(setup.get("/readyz").await.in_case(name).json()["status"], "ready");
    let events = setup.requests(RequestKind::Event);
    (reason.begin)(database);
    let ready = setup.get("/readyz").await.in_case(name);
    assert_problem(&ready, reason.detail);

    let (plain, later) = (("x-none", ""), ("prefer", "respond-async"));
    let mut sent = vec![
        send(setup, format!("/api/v2/event?ref=well{n}"), plain, name, true).await,
        send(setup, format!("/api/v2/event?ref=later{n}"), later, name, true).await,
        send(setup, format!("/api/v2/webhook?ref=plain{n}"), plain, name, false).await,
        send(setup, format!("/api/v2/callback?ref={run}&topic=t"), plain, name, true).await,
    ];
    setup.engine.script().always(Behaviour::status(503));
    sent.push(send(setup, format!("/api/v2/event?ref=busy{n}"), plain, name, true).await);
    sent.push(send(setup, format!("/api/v2/webhook?ref=kept{n}"), plain, name, true).await);
    setup.engine.script().clear();
    for Sent { needs_store, reply, .. } in &sent {
        if *needs_store && !reason.keeps {
            reply.assert_problem(503, "store-unavailable");
            assert_eq!(reply.header("sluice-outcome"), None, "{reply}");
        } else {
            assert!(reply.status.is_success(), "{reply}");
        }
    }
    let started = |setup: &Setup, workflow: &str| {
        setup.engine.runs().iter().filter(|record| record.run.workflow_ref == workflow).count()
    };
    if !reason.keeps {
        assert_eq!((started(setup, &format!("well{n}")), started(setup, &format!("later{n}"))), (0, 0), "{name}");
        assert_eq!(setup.requests(RequestKind::Event), events, "{name}: a callback that isn't kept is not sent");
    }

    (reason.end)(database);
    // A drain after a response may have left a backlog, which is also there.
    let is_ready = async || (setup.get("/readyz").await.json()["status"] == "ready").then_some(());
    eventually(&format!("{name}: the database is usable again"), is_ready).await;
    for Sent { path, header, body, reply, .. } in &sent {
        if !reply.status.is_success() {
            let again = setup.send("POST", path, &[JSON, *header], body.clone()).await.in_case(name);
            assert!(again.status.is_success(), "{again}");
        }
    }
    eventually(&format!("{name}: nothing is pending"), async || {
        let pass = setup.drain().await;
        assert_eq!((&pass["dead"], &pass["rejected"]), (&0.into(), &0.into()), "{name}: {pass}");
        (pass["pending"] == 0).then_some(())
    })
    .await;
    for workflow in ["well", "later", "plain", "busy", "kept"] {
        assert_eq!(started(setup, &format!("{workflow}{n}")), 1, "{name}: {workflow}");
    }
    let record = setup.engine.run(&run).unwrap();
    assert_eq!(wait_task(&record).unwrap().status, Status::Succeeded, "{name}");
}
