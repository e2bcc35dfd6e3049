//! State in PostgreSQL: `/readyz`, faults and kills, hosts side by side. These tests are ignored by default, but
//! `cargo xtask test` runs them.

mod faults;
mod limits;
mod pairs;
mod replicas;
pub mod server;
mod stages;
mod statements;
mod unusable;
mod usable;

use serde_json::json;

use self::server::{PASSWORD, Server};
use crate::data::Data;
use crate::process::Process;
use crate::setup::{HttpClient, Reply, Setup, eventually};

/// A password that the server refuses.
const WRONG: &str = "wr0ng-pa55word";

/// Parameters of a URL that limit how long a request waits.
const LIMITS: &str = "sslmode=disable&connect_timeout=5&keepalives_idle=30&tcp_user_timeout=30\
    &options=-c%20statement_timeout%3D60000%20-c%20lock_timeout%3D60000";

/// A host with this database.
async fn setup(url: &str, host: &str) -> Setup {
    Setup::with_variables(&[("database_url", url), ("database_host", host)]).await
}

/// Answers `/readyz` with this database, and asserts that nothing confidential is shown.
async fn readyz(url: &str, host: &str) -> Reply {
    let setup = setup(url, host).await;
    let reply = setup.get("/readyz").await;
    assert_confidential(&setup, &reply).await;
    setup.host.stop().await;
    reply
}

async fn assert_confidential(setup: &Setup, reply: &Reply) {
    // The line of a request is written after its response.
    let log = eventually("the request is logged", async || {
        Some(setup.host.logs().lines().join("\n")).filter(|log| log.contains("/readyz"))
    });
    let log = log.await;
    let mut texts = vec![log, format!("{:?}", reply.headers), reply.text().to_owned()];
    for key in setup.keys("").await {
        let value = setup.host.key_value().get("default", &key).await.unwrap().unwrap_or_default();
        texts.push(format!("{key} {}", String::from_utf8_lossy(&value)));
    }
    for text in &texts {
        crate::setup::assert_confidential(text);
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
    let server = Server::start();
    let setup = setup(&server.url(PASSWORD, &format!("postgres?{LIMITS}")), &server.host()).await;
    let ready = json!({"status": "ready"});
    assert_eq!(setup.get("/readyz").await.json(), ready);

    server.stop();
    let reply = setup.get("/readyz").await;
    assert_problem(&reply, "no connection to the server");

    // The pool doesn't hand out the connections that broke.
    server.restart();
    assert_eq!(setup.get("/readyz").await.json(), ready);
    assert_confidential(&setup, &reply).await;
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
        (url(PASSWORD, "sslmode=disable&statement_timeout=5"), "go into `options`"),
        (format!("{}&hostaddr=127.0.0.1", url(PASSWORD, "sslmode=disable")), "`database_host` has to be"),
    ] {
        assert_problem(&readyz(&url, &server.host()).await.in_case(&url), detail);
    }
    // The default allows port 5432 only.
    let reply = readyz(&url(PASSWORD, "sslmode=disable"), "postgres://localhost:5432").await;
    assert_problem(&reply, "`database_host` has to be");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs postgresql"]
async fn database_is_ready_over_tls_if_its_certificate_is_trusted() {
    let server = Server::with_certificate_for("IP:127.0.0.1");
    let other = Server::with_certificate_for("DNS:db.example.com");
    let data = Data::new();
    for (server, is_ready) in [(&server, true), (&other, false)] {
        let url = server.url(PASSWORD, "postgres?sslmode=require");
        // A process of its own, because the environment says what is trusted.
        let trusted = [("SSL_CERT_FILE", server.certificate().to_str().unwrap().to_owned())];
        let trusted = trusted.each_ref().map(|(name, value)| (*name, value.as_str()));
        let variables = [("database_url", url.as_str()), ("database_host", &server.host())];
        let host = Process::with_environment(&data, &variables, &trusted);
        let reply = HttpClient::new().send("GET", &format!("{}/readyz", host.url), &[], "").await.unwrap();
        if is_ready {
            assert_eq!(reply.json()["status"], "ready", "{reply}");
        } else {
            assert_problem(&reply, "name the host of `database_url`");
        }
    }
}

/// A user, a path or an empty value in `database_host` closes the whole allow-list, as in Spin up to 4.0. The host says
/// so, and doesn't show the value.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs postgresql"]
async fn database_host_is_only_host_and_port() {
    let server = Server::start();
    let url = server.url(PASSWORD, "postgres?sslmode=disable");
    for host in ["", &url, &format!("{}/postgres", server.host())] {
        let setup = setup(&url, host).await;
        let reply = setup.get("/readyz").await.in_case(host);
        assert_problem(&reply, "`database_host` has to be");
        assert_confidential(&setup, &reply).await;
        let log = setup.host.logs().lines().join("\n");
        assert!(log.contains(r#"the value given for "{{ database_host }}" is not a host"#), "{log}");
    }
}
