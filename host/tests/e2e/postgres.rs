//! `/readyz` with a database in PostgreSQL. These tests are ignored by default, but `cargo xtask test` runs them.

mod server;

use serde_json::json;

use self::server::{PASSWORD, Server};
use crate::setup::{Reply, Setup};

/// A password that the server refuses.
const WRONG: &str = "wr0ng-pa55word";

/// Answers `/readyz` with this database, and asserts that no password is in the answer or in the log.
async fn readyz(url: &str, host: &str) -> Reply {
    let setup = Setup::with_variables(&[("database_url", url), ("database_host", host)]).await;
    let reply = setup.get("/readyz").await;
    assert_no_password(&setup, &reply);
    setup.host.stop().await;
    reply
}

fn assert_no_password(setup: &Setup, reply: &Reply) {
    let log = setup.host.logs().lines().join("\n");
    assert!(log.contains("/readyz"), "the log is incomplete: {log}");
    for text in [&log, &format!("{:?} {reply}", reply.headers)] {
        assert!(!text.contains("pa55word"), "{text}");
    }
}

/// Asserts a problem of the store whose detail contains this text.
#[track_caller]
fn assert_problem(reply: &Reply, detail: &str) {
    reply.assert_problem(503, "store-unavailable");
    let problem = reply.json();
    assert_eq!(problem["field"], "database_url", "{reply}");
    assert!(problem["detail"].as_str().unwrap().contains(detail), "{reply}, expected {detail:?}");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs postgresql"]
async fn database_is_ready_while_its_server_runs() {
    let mut server = Server::start();
    let url = server.url(PASSWORD, "postgres?sslmode=disable");
    let setup = Setup::with_variables(&[("database_url", &url), ("database_host", &server.host())]).await;
    let ready = json!({"status": "ready"});
    assert_eq!(setup.get("/readyz").await.json(), ready);

    server.stop();
    let reply = setup.get("/readyz").await;
    assert_problem(&reply, "no connection to the server");

    // The pool doesn't hand out the connections that broke.
    server.restart();
    assert_eq!(setup.get("/readyz").await.json(), ready);
    assert_no_password(&setup, &reply);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs postgresql"]
async fn problem_names_what_is_wrong() {
    let server = Server::start();
    server.psql("CREATE DATABASE ascii ENCODING 'SQL_ASCII' TEMPLATE template0");
    let url = |password, rest: &str| server.url(password, &format!("postgres?{rest}"));
    for (url, detail) in [
        (url(WRONG, "sslmode=disable"), "refuses the user or the password"),
        (server.url(PASSWORD, "absent?sslmode=disable"), "no such database"),
        (server.url(PASSWORD, "ascii?sslmode=disable"), "encoding SQL_ASCII"),
        // The default prefers TLS, which the server offers. Its certificate is not trusted, so there is no connection.
        (url(PASSWORD, "connect_timeout=5"), "certificate has to be trusted"),
        (url(PASSWORD, "sslmode=require"), "certificate has to be trusted"),
        // Spin's client knows fewer modes than libpq.
        (url(PASSWORD, "sslmode=verify-full"), "`sslmode` may only be disable, prefer or require"),
        (format!("{}&hostaddr=127.0.0.1", url(PASSWORD, "sslmode=disable")), "`database_host` has to be"),
    ] {
        assert_problem(&readyz(&url, &server.host()).await.in_case(&url), detail);
    }
    // The default allows port 5432 only.
    let reply = readyz(&url(PASSWORD, "sslmode=disable"), "postgres://localhost:5432").await;
    assert_problem(&reply, "`database_host` has to be");
}

/// A user, a path or an empty value in `database_host` closes the whole allow-list, as in Spin up to 4.0. The host says
/// so, and doesn't show the value.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs postgresql"]
async fn database_host_is_only_host_and_port() {
    let server = Server::start();
    let url = server.url(PASSWORD, "postgres?sslmode=disable");
    for host in ["", &url, &format!("{}/postgres", server.host())] {
        let setup = Setup::with_variables(&[("database_url", &url), ("database_host", host)]).await;
        let reply = setup.get("/readyz").await.in_case(host);
        assert_problem(&reply, "`database_host` has to be");
        assert_no_password(&setup, &reply);
        let log = setup.host.logs().lines().join("\n");
        assert!(log.contains(r#"the value given for "{{ database_host }}" is not a host"#), "{log}");
    }
}
