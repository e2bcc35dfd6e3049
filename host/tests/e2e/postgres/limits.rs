//! Limits of the URL, and the host's pool.

use serde_json::json;
use tokio::task::JoinSet;

use super::server::{PASSWORD, Server, USER};
use super::{LIMITS, readyz, setup};
use crate::setup::HttpClient;

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs postgresql"]
async fn missing_limits_are_named_in_a_warning() {
    let server = Server::start();
    let without = |parts: &[&str]| parts.iter().fold(LIMITS.to_owned(), |limits, part| limits.replace(part, ""));
    for (parameters, missing) in [
        (LIMITS.to_owned(), None),
        (without(&["&connect_timeout=5"]), Some("connect_timeout")),
        (without(&["&keepalives_idle=30", "&tcp_user_timeout=30"]), Some("keepalives_idle, tcp_user_timeout")),
        (without(&["-c%20statement_timeout%3D60000"]), Some("statement_timeout")),
        (without(&["-c%20lock_timeout%3D60000"]), Some("lock_timeout")),
        (
            "sslmode=disable".to_owned(),
            Some("connect_timeout, keepalives_idle, tcp_user_timeout, statement_timeout, lock_timeout"),
        ),
    ] {
        let setup = setup(&server.url(PASSWORD, &format!("postgres?{parameters}")), &server.host()).await;
        let reply = setup.get("/readyz").await.in_case(&parameters);
        reply.assert_status(200);
        super::assert_confidential(&setup, &reply).await;
        let warning = missing.map(|missing| {
            format!(
                "`database_url` sets no {missing}: requests may wait without a limit for a database that doesn't answer"
            )
        });
        let expected = match &warning {
            Some(warning) => json!({"status": "ready", "warnings": [warning]}),
            None => json!({"status": "ready"}),
        };
        assert_eq!(reply.json(), expected, "{reply}");
        let log = setup.log();
        let logged = log.iter().find(|line| line["route"] == "/readyz").unwrap();
        assert_eq!(logged["warning"].as_str(), warning.as_deref(), "{logged}");
    }

    // A server, database or role may have the limits of statements as well.
    let url = server.url(PASSWORD, &format!("postgres?{}", LIMITS.split("&options").next().unwrap()));
    server
        .psql(&format!("ALTER ROLE {USER} SET statement_timeout = '10s'; ALTER ROLE {USER} SET lock_timeout = '10s'"));
    assert_eq!(readyz(&url, &server.host()).await.json(), json!({"status": "ready"}));
}

/// As in Spin, a host has 64 connections to a database, and a request waits for one as long as it takes.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs postgresql"]
async fn requests_share_64_connections_and_wait_for_one() {
    const REQUESTS: u64 = 70;
    let server = Server::start();
    let setup = setup(&server.url(PASSWORD, &format!("postgres?{LIMITS}")), &server.host()).await;
    let lock = server.lock("sluice_note").await;
    let (client, url) = (HttpClient::new(), format!("{}/readyz", setup.host.url()));
    let mut requests = JoinSet::new();
    for _ in 0..REQUESTS {
        let (client, url) = (client.clone(), url.clone());
        requests.spawn(async move { client.send("GET", &url, &[], "").await.unwrap() });
    }
    let postgres = setup.host.postgres();
    crate::setup::eventually("all requests have begun", async || (postgres.counts().opens == REQUESTS).then_some(()))
        .await;
    server.until_waiting(64).await;
    assert_eq!((postgres.counts().open, requests.len()), (64, 70));
    drop(lock);
    while let Some(reply) = requests.join_next().await {
        reply.unwrap().assert_status(200);
    }
    let counts = postgres.counts();
    // Each takes a second one, for the notes on faults of the engine.
    assert_eq!((counts.open, counts.most_open, counts.opens), (0, 64, 2 * REQUESTS));
}
