//! `/readyz` names the reason why a database can't be used.

use super::server::{PASSWORD, Server, USER};
use super::{LIMITS, assert_problem, readyz, setup};

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs postgresql"]
async fn schema_has_to_be_whole_and_of_this_version() {
    let server = Server::start();
    for (database, change, detail) in [
        ("none", None, "no schema for Sluice"),
        ("part", Some("DROP TABLE sluice_run"), "not the whole of it"),
        ("newer", Some("UPDATE sluice_note SET value = '2' WHERE name = 'schema'"), "another version, 2"),
        ("strange", Some("UPDATE sluice_note SET value = 's3rver-t3xt' WHERE name = 'schema'"), "version, unknown"),
        ("noteless", Some("DELETE FROM sluice_note"), "version, unknown"),
    ] {
        server.psql(&format!("CREATE DATABASE {database}"));
        if let Some(change) = change {
            server.create_schema(database);
            server.psql_in(database, change);
        }
        let url = server.url(PASSWORD, &format!("{database}?{LIMITS}"));
        assert_problem(&readyz(&url, &server.host()).await.in_case(database), detail);
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs postgresql"]
async fn missing_privileges_are_named() {
    let server = Server::start();
    let grants = "GRANT SELECT, INSERT, UPDATE, DELETE ON sluice_note, sluice_delivery, sluice_run TO component;
        GRANT USAGE ON SEQUENCE sluice_seq TO component;";
    server.psql(&format!("CREATE ROLE component LOGIN PASSWORD '{PASSWORD}'; {grants}"));
    let url = server.url_of("component", PASSWORD, LIMITS);
    for (change, detail) in [
        ("", None),
        ("REVOKE DELETE ON sluice_run FROM component", Some("GRANT DELETE ON sluice_run")),
        (
            "REVOKE INSERT, UPDATE ON sluice_delivery FROM component",
            Some("GRANT INSERT ON sluice_delivery, UPDATE ON sluice_delivery"),
        ),
        ("REVOKE USAGE ON SEQUENCE sluice_seq FROM component", Some("GRANT USAGE ON SEQUENCE sluice_seq")),
        ("REVOKE USAGE ON SCHEMA public FROM public", Some("`search_path`")),
    ] {
        server.psql(change);
        let reply = readyz(&url, &server.host()).await.in_case(change);
        match detail {
            Some(detail) => assert_problem(&reply, detail),
            None => reply.assert_status(200),
        }
        server.psql(grants);
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs postgresql"]
async fn server_that_refuses_writes_is_named() {
    let server = Server::start();
    let url = server.url(PASSWORD, &format!("postgres?{LIMITS}"));
    let setting = |value| format!("ALTER ROLE {USER} SET default_transaction_read_only = {value}");
    server.psql(&setting("on"));
    assert_problem(&readyz(&url, &server.host()).await, "`default_transaction_read_only` is on");
    server.psql(&format!("BEGIN READ WRITE; {}; COMMIT", setting("off")));
    readyz(&url, &server.host()).await.assert_status(200);

    server.restart_as_standby();
    assert_problem(&readyz(&url, &server.host()).await, "the server is a standby");
}

/// The table's disk is full. Nothing else of the server is: the log of its transactions is on another one.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs postgresql"]
async fn full_disk_is_named_until_there_is_room_again() {
    let server = Server::start();
    let small = server.tablespace("small", 1024);
    server.psql(
        "ALTER TABLE sluice_delivery SET TABLESPACE small; ALTER INDEX sluice_delivery_pkey SET TABLESPACE small",
    );
    let setup = setup(&server.url(PASSWORD, &format!("postgres?{LIMITS}")), &server.host()).await;
    setup.get("/readyz").await.assert_status(200);

    // Rows of a page each, until there is no room for another.
    let fill = |n: u32| {
        format!(
            "INSERT INTO sluice_delivery (key, label, id, state, digest, reference, body, accepted, received, changed,
                expires)
            SELECT 'fill{n}', '', '', 'delivered', '', '', string_agg(sha256(i::text::bytea), ''), true, 0, 0, 0
            FROM generate_series(1, 256) AS i"
        )
    };
    let full = (0..1_000).find_map(|n| Some(server.try_psql("postgres", &fill(n))).filter(|(success, _)| !success));
    let (_, error) = full.expect("the file system is never full");
    assert!(error.contains("No space left on device"), "{error}");
    setup.get("/readyz").await.assert_status(200);
    assert_eq!(probes(&server), "1", "it was written less than a minute ago");

    server.psql("UPDATE sluice_delivery SET changed = changed - 60000 WHERE key = ':probe'");
    let reply = setup.get("/readyz").await;
    assert_problem(&reply, "no space left: free some space");
    super::assert_confidential(&setup, &reply).await;
    let large = format!(r#"{{"specversion":"1.0","id":"1","source":"/s","type":"t","data":"{}"}}"#, "d".repeat(6_000));
    let event = async || setup.post("/api/v2/event?ref=w", large.clone()).await;
    event().await.assert_problem(503, "store-unavailable");
    assert_eq!(setup.engine.counts().requests, 0, "an event that isn't kept is not sent");

    small.resize(2048);
    event().await.assert_ok("delivered");
    setup.get("/readyz").await.assert_status(200);
    assert_eq!(probes(&server), "1");
}

/// The number of rows that `/readyz` has written.
fn probes(server: &Server) -> String {
    server.psql("SELECT count(*) FROM sluice_delivery WHERE key = ':probe'")
}
