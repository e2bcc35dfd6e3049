//! What is peculiar to a store in Redis. `cargo xtask test` runs these too.

use serde_json::json;
use sluice_host::stand_in::{Behaviour, StandIn};

use crate::data::Data;
use crate::setup::{EVENT, Setup, poll};

async fn setup() -> Setup {
    Setup::on(Data::in_redis(), StandIn::builder().start().await.unwrap(), &[]).await
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "wants redis-server"]
async fn keys_are_plain_and_what_others_have_there_is_let_alone() {
    let mut setup = setup().await;
    setup.data.redis().cli(&["SET", "others", "1"]);
    setup.engine.script().next(Behaviour::status(503));
    let reply = setup.post("/api/v2/event", EVENT).await;
    reply.assert_stored("pending", true);
    let pending = setup.data.redis().cli(&["GET", &format!("sluice/pending/{}", reply.delivery())]);
    assert!(pending.starts_with(r#"{"v":1,"#), "{pending}");
    assert_eq!(setup.drain_all().await.delivered, 1);
    assert_eq!(setup.data.redis().cli(&["KEYS", "sluice/pending/*"]), "");
    let others = setup.data.redis().cli(&["--scan", "--pattern", "[^s]*"]);
    assert_eq!(others, "others", "a label is no namespace, so a prefix has to be");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "wants redis-server"]
async fn a_server_that_is_gone_is_told_and_comes_back_with_all_it_had() {
    let mut setup = setup().await;
    setup.engine.script().next(Behaviour::status(503));
    setup.post("/api/v2/webhook?ref=w", "{}").await.assert_stored("pending", true);
    setup.data.redis().kill();
    setup.post("/api/v2/event", EVENT).await.assert_problem(503, "store-unavailable");
    // What needs no store goes on.
    setup.assert_works().await;

    // Within a second: then Spin's client comes back by itself. Its next tries are a minute apart, and whoever asks
    // meanwhile waits for them: deploy/README.md.
    setup.data.redis().start_again();
    poll("it has come back", async || (setup.get("/readyz").await.json() == json!({"status": "ready"})).then_some(()))
        .await;
    assert_eq!(setup.drain_all().await.delivered, 1);
    setup.post("/api/v2/event", EVENT).await.assert_taken("delivered");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "wants redis-server"]
async fn a_server_that_is_full_takes_nothing_and_says_so() {
    let mut setup = setup().await;
    setup.data.redis().cli(&["CONFIG", "SET", "maxmemory", "1"]);
    setup.engine.script().next(Behaviour::status(503));
    setup.post("/api/v2/webhook?ref=w", "{}").await.assert_problem(503, "store-unavailable");
    setup.data.redis().cli(&["CONFIG", "SET", "maxmemory", "0"]);
    setup.engine.script().next(Behaviour::status(503));
    setup.post("/api/v2/webhook?ref=w", "{}").await.assert_stored("pending", true);
}
