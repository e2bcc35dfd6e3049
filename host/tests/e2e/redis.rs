//! Behaviour that is specific to a store in Redis. These tests are ignored by default, but `cargo xtask test` runs
//! them.

use std::time::Duration;

use serde_json::json;
use sluice_host::stand_in::Behaviour;
use tokio::time::timeout;

use crate::data::Data;
use crate::setup::{EVENT, Setup, eventually};

async fn setup() -> Setup {
    Setup::with_data(Data::in_redis(), &[]).await
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs redis-server"]
async fn keys_are_plain_strings_and_foreign_keys_stay_untouched() {
    let mut setup = setup().await;
    setup.data.redis().cli(&["SET", "others", "1"]);
    setup.engine.script().next(Behaviour::status(503));
    let reply = setup.post("/api/v2/event", EVENT).await;
    reply.assert_stored("pending", true);
    let pending = setup.data.redis().cli(&["GET", &format!("sluice:pending:{}", reply.delivery())]);
    assert!(pending.starts_with(r#"{"v":1,"#), "{pending}");
    assert_eq!(setup.drain_all().await.delivered, 1);
    assert_eq!(setup.data.redis().cli(&["KEYS", "sluice:pending:*"]), "");
    let others = setup.data.redis().cli(&["--scan", "--pattern", "[^s]*"]);
    assert_eq!(others, "others", "every key of Sluice needs its prefix, because the store's label is not a namespace");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs redis-server"]
async fn stopped_server_is_reported_and_keeps_its_data() {
    // The client's attempts to reconnect are minutes apart after the first two, and requests wait for them
    // (deploy/README.md). A machine that is busy may miss the first two; then the test begins again.
    for _ in 0..3 {
        let mut setup = setup().await;
        if timeout(Duration::from_secs(20), stop_and_restart(&mut setup)).await.is_ok() {
            return;
        }
    }
    panic!("the host has not reconnected within 20 s, three times");
}

async fn stop_and_restart(setup: &mut Setup) {
    setup.engine.script().next(Behaviour::status(503));
    setup.post("/api/v2/webhook?ref=w", "{}").await.assert_stored("pending", true);
    setup.data.redis().kill();
    setup.post("/api/v2/event", EVENT).await.assert_problem(503, "store-unavailable");
    // A delivery that needs no store still succeeds.
    setup.assert_works().await;

    // The server returns in time for the client's next attempt, after one to two seconds.
    setup.data.redis().restart();
    let is_ready = async || (setup.get("/readyz").await.json() == json!({"status": "ready"})).then_some(());
    eventually("the host has reconnected", is_ready).await;
    assert_eq!(setup.drain_all().await.delivered, 1);
    setup.post("/api/v2/event", EVENT).await.assert_ok("delivered");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs redis-server"]
async fn full_server_is_reported_and_stores_nothing() {
    let mut setup = setup().await;
    setup.data.redis().cli(&["CONFIG", "SET", "maxmemory", "1"]);
    setup.engine.script().next(Behaviour::status(503));
    setup.post("/api/v2/webhook?ref=w", "{}").await.assert_problem(503, "store-unavailable");
    setup.data.redis().cli(&["CONFIG", "SET", "maxmemory", "0"]);
    setup.engine.script().next(Behaviour::status(503));
    setup.post("/api/v2/webhook?ref=w", "{}").await.assert_stored("pending", true);
}
