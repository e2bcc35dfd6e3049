//! Faults of a database, real ones and injected ones. None of them shows the URL or the server's text.

use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::json;
use sluice_host::spin::postgres::{Call, Counts, Fault, Postgres};
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinSet;

use super::server::{PASSWORD, Server};
use super::{LIMITS, assert_confidential, assert_problem, readyz, setup};

/// The statements with which `/readyz` checks the database, on one connection. It then reads the notes on faults of the
/// engine, on another one.
const STATEMENTS: usize = 4;

/// `connect_timeout` limits only the TCP connection. So the system has to leave the connection open: the queue of the
/// listener is full, and it accepts none.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "runs with the tests that need postgresql"]
async fn server_that_accepts_no_connection_is_named() {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let listener = socket.listen(1).unwrap();
    let addr = listener.local_addr().unwrap();
    let mut clients = JoinSet::new();
    for _ in 0..8 {
        clients.spawn(TcpStream::connect(addr));
    }
    // The system lets one more in than the queue's length.
    let queued = [clients.join_next().await.unwrap(), clients.join_next().await.unwrap()];
    let url = format!("postgres://sluice:{PASSWORD}@{addr}/postgres?sslmode=disable&connect_timeout=1");
    assert_problem(&readyz(&url, &format!("postgres://{addr}")).await, "did not answer in time");
    drop((queued, listener));
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs postgresql"]
async fn statement_that_fails_is_named() {
    let server = Server::start();
    let url = server.url(PASSWORD, &format!("postgres?{}", LIMITS.replace("lock_timeout%3D60000", "lock_timeout%3D1")));
    let lock = server.lock("sluice_note").await;
    assert_problem(&readyz(&url, &server.host()).await, "refused a statement: see the server's log");
    drop(lock);
    readyz(&url, &server.host()).await.assert_status(200);

    server.psql(
        "ALTER TABLE sluice_note RENAME TO sluice_hidden;
        CREATE FUNCTION fails() RETURNS text LANGUAGE plpgsql
            AS $$ BEGIN RAISE EXCEPTION 'server t3xt with r1ght-pa55word' USING DETAIL = 'more t3xt'; END $$;
        CREATE VIEW sluice_note AS SELECT fails() AS name, value, since, changed FROM sluice_hidden",
    );
    assert_problem(&readyz(&url, &server.host()).await, "refused a statement: see the server's log");
}

/// The server ends the session with an error, or without one.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs postgresql"]
async fn server_that_is_killed_within_a_statement_is_named() {
    let server = Server::start();
    let url = server.url(PASSWORD, &format!("postgres?{LIMITS}"));
    for is_killed in [false, true] {
        let setup = setup(&url, &server.host()).await;
        let lock = server.lock("sluice_note").await;
        let kill = async {
            server.until_waiting(1).await;
            if is_killed {
                server.stop();
            } else {
                server.psql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE wait_event_type = 'Lock'");
            }
        };
        let (reply, ()) = tokio::join!(setup.get("/readyz"), kill);
        assert_problem(&reply, "the connection broke");
        assert_confidential(&setup, &reply).await;
        drop(lock);
        if is_killed {
            server.restart();
        }
        assert_eq!(setup.get("/readyz").await.json(), json!({"status": "ready"}));
    }
}

/// Lets the nth statement of a host fail. Returns the number of those that have failed.
fn fail_nth(postgres: &Postgres, nth: usize, fault: Fault) {
    let count = AtomicUsize::new(0);
    postgres.inject_faults(move |call| {
        let is_statement = call != Call::Open;
        (is_statement && count.fetch_add(1, Ordering::SeqCst) == nth).then_some(fault)
    });
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs postgresql"]
async fn injected_faults_fail_before_or_after_a_statement() {
    let server = Server::start();
    let setup = setup(&server.url(PASSWORD, &format!("postgres?{LIMITS}")), &server.host()).await;
    let postgres = setup.host.postgres();
    postgres.inject_faults(|call| (call == Call::Open).then_some(Fault::Before));
    assert_problem(&setup.get("/readyz").await, "no connection to the server");
    assert_eq!(postgres.counts(), Counts { opens: 1, ..Counts::default() });

    for (nth, fault) in (0..STATEMENTS).flat_map(|nth| [(nth, Fault::Before), (nth, Fault::After)]) {
        postgres.reset_counts();
        fail_nth(postgres, nth, fault);
        let reply = setup.get("/readyz").await;
        assert_problem(&reply, "the connection broke");
        assert_confidential(&setup, &reply).await;
        let statements = u64::try_from(nth).unwrap() + 1;
        assert_eq!(postgres.counts(), Counts { opens: 1, statements, most_open: 1, ..Counts::default() });
        // The last statement writes.
        let written = server.psql("SELECT count(*) FROM sluice_delivery");
        let is_written = (nth, fault) == (STATEMENTS - 1, Fault::After);
        assert_eq!(written, if is_written { "1" } else { "0" }, "{nth} {fault:?}");
    }

    postgres.clear_faults();
    postgres.reset_counts();
    assert_eq!(setup.get("/readyz").await.json(), json!({"status": "ready"}));
    let statements = u64::try_from(STATEMENTS).unwrap() + 1;
    assert_eq!(postgres.counts(), Counts { opens: 2, statements, most_open: 1, ..Counts::default() });
}

/// A webhook calls the engine. No connection may be held meanwhile.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs postgresql"]
async fn no_connection_is_held_over_a_call_to_the_engine() {
    let server = Server::start();
    let setup = setup(&server.url(PASSWORD, &format!("postgres?{LIMITS}")), &server.host()).await;
    for headers in [&[][..], &[("idempotency-key", "k")]] {
        let headers = [&[crate::setup::JSON], headers].concat();
        setup.send("POST", "/api/v2/webhook?ref=wf", &headers, "{}").await.assert_status(200);
    }
    assert!(setup.host.outbound().calls() >= 2);
    assert_eq!(setup.host.postgres().counts().calls_while_open, 0);
}
