//! Replicas drain one outbox side by side.

use std::time::Instant;

use serde_json::Value;
use sluice_host::stand_in::{Behaviour, StandIn};
use tokio::task::JoinSet;

use super::server::Database;
use crate::data::{Data, shared_server};
use crate::process::Process;
use crate::setup::{DrainTotals, HttpClient, OPERATOR, Setup, data_of, eventually};

/// The deliveries of the outbox. Those of the ordered routes come first.
const PENDING: usize = 20_000;
const ORDERED: usize = 4_000;
/// The workflows of the ordered routes, each of which has a queue, and those of the others.
const QUEUES: usize = 8;
const WORKFLOWS: usize = 64;
const REPLICAS: usize = 3;

/// The workflow of an ordered route.
const TEMPLATE: &str = "ordered";
const ROUTES: &str = r#"[{"workflow":"ordered","from":"webhook","ordered":true}]"#;

/// The workflow of a delivery.
fn workflow(n: usize) -> String {
    if n < ORDERED { format!("{TEMPLATE}{}", n % QUEUES) } else { format!("w{}", n % WORKFLOWS) }
}

/// Stores deliveries that are due, as copies of one that the component has stored on an ordered route. The order of ids
/// is the opposite of their order in the queues.
async fn fill(setup: &Setup) {
    setup.engine.script().next(Behaviour::status(503));
    let stored = setup.post("/api/v2/webhook", r#"{"n":-1}"#).await;
    stored.assert_stored("pending", true);
    let id = stored.delivery();
    let postgres = setup.data.postgres().unwrap();
    // The drain after the response attempts it once.
    let is_left =
        "SELECT count(*) FROM sluice_delivery WHERE token IS NULL AND convert_from(delivery, 'UTF8') LIKE '%503%'";
    eventually("the drain has left it", async || (postgres.psql(is_left) == "1").then_some(())).await;
    postgres.psql(&format!(
        r#"INSERT INTO sluice_delivery
            (key, label, id, state, digest, reference, queue, seq, delivery, accepted, due, received, changed)
        SELECT n.id, n.id, n.id, d.state, d.digest, n.workflow,
            CASE WHEN n.is_ordered THEN n.workflow END, CASE WHEN n.is_ordered THEN n.n END,
            convert_to(replace(replace(replace(replace(convert_from(d.delivery, 'UTF8'), d.id, n.id),
                '"queue":"{TEMPLATE}"', CASE WHEN n.is_ordered THEN '"queue":"' || n.workflow || '"' ELSE '"queue":null' END),
                '"{TEMPLATE}"', '"' || n.workflow || '"'), '"n":-1', '"n":' || n.n), 'UTF8'),
            d.accepted, sluice_clock(), d.received, d.changed
        FROM sluice_delivery AS d
        CROSS JOIN (
            SELECT n, left('{id}', 16) || lpad(({PENDING} - n)::text, 10, '0') AS id, n < {ORDERED} AS is_ordered,
                CASE WHEN n < {ORDERED} THEN '{TEMPLATE}' || n % {QUEUES} ELSE 'w' || n % {WORKFLOWS} END AS workflow
            FROM generate_series(0, {PENDING} - 1) AS n
        ) AS n;
        DELETE FROM sluice_delivery WHERE id = '{id}';
        ANALYZE sluice_delivery"#
    ));
}

/// Drains until nothing is pending, and returns the totals of this replica.
async fn drain(host: String) -> (DrainTotals, u32) {
    let (client, mut totals, mut passes) = (HttpClient::new(), DrainTotals::default(), 0);
    loop {
        let reply = client.send("POST", &format!("{host}/api/v2/deliveries/drain"), &[OPERATOR], "").await.unwrap();
        reply.assert_status(200);
        totals.add(&reply.json());
        passes += 1;
        if reply.json()["pending"] == 0 {
            return (totals, passes);
        }
    }
}

/// The runs of each ordered route are in the order of its queue, whichever replica has sent them.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs postgresql"]
async fn replicas_drain_one_outbox_and_send_each_delivery_once() {
    let data = Data::in_postgres(Database::new(&shared_server()));
    let engine = StandIn::builder().any_workflow().capacity(2 * PENDING).start().await.unwrap();
    let setup = Setup::with_engine(data, engine, &[("routes", ROUTES)]).await;
    fill(&setup).await;
    let before = setup.engine.counts().requests;

    let url = setup.engine.url();
    let replicas = [(); REPLICAS].map(|()| Process::start(&setup.data, &[("engine_url", &url)]));
    let (start, mut drains) = (Instant::now(), JoinSet::new());
    for replica in &replicas {
        drains.spawn(drain(replica.url.clone()));
    }
    let drained = drains.join_all().await;
    let seconds = start.elapsed().as_secs_f64();
    println!("{PENDING} deliveries in {seconds:.1} s; by replica: {drained:?}");

    let mut is_started = vec![false; PENDING];
    let mut last = [None; QUEUES];
    for record in setup.engine.runs() {
        let data: Value = serde_json::from_str(&data_of(&record)).unwrap();
        let n = usize::try_from(data["n"].as_u64().unwrap()).unwrap();
        assert!(!std::mem::replace(&mut is_started[n], true), "delivery {n} has two runs");
        assert_eq!(record.run.workflow_ref, workflow(n));
        if n < ORDERED {
            let last = last[n % QUEUES].replace(n);
            assert!(last < Some(n), "{}: {n} comes after {last:?}", workflow(n));
        }
    }
    let missing = is_started.iter().filter(|is_started| !**is_started).count();
    assert_eq!(missing, 0, "deliveries without a run");
    let requests = setup.engine.counts().requests - before;
    assert_eq!(requests, PENDING as u64, "each is sent once, and none is looked up: no lease has run out");
    let delivered: Vec<_> = drained.iter().map(|(totals, _)| totals.delivered).collect();
    assert_eq!(delivered.iter().sum::<u64>(), PENDING as u64);
    let least = PENDING as u64 / 10;
    assert!(delivered.iter().all(|delivered| *delivered > least), "a replica was idle: {delivered:?}");
    assert_eq!(setup.data.postgres().unwrap().psql("SELECT count(*) FROM sluice_delivery"), "0");
}
