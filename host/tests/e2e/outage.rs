//! The engine is down for long and much is stored; then it comes back and gets all of it, once, in order.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;
use sluice_host::spin::key_value::{Counts, KeyValue};
use sluice_host::stand_in::StandIn;
use tokio::task::JoinSet;

use crate::setup::{Closed, HttpClient, JSON, Moved, Setup};

const LOOPS: u64 = 16;
const EACH: u64 = 1_250;
const ALL: u64 = LOOPS * EACH;
const THOUSAND: u64 = 1_000;

/// How far it was when: the time, how many were done, and what the store had been asked by then.
type Sample = (Instant, u64, u64);

#[tokio::test(flavor = "multi_thread")]
async fn what_is_stored_in_an_outage_is_delivered_once_in_order_and_at_a_steady_cost() {
    let closed = Closed::new();
    let mut setup = Setup::with(&[("engine_url", &closed.url())]).await;
    let store = setup.host.key_value().clone();

    let stored = Arc::new(AtomicU64::new(0));
    let samples = watch(&store, {
        let stored = stored.clone();
        move || stored.load(Ordering::Relaxed)
    });
    let mut senders = JoinSet::new();
    for number in 0..LOOPS {
        senders.spawn(send(setup.host.url(), number, stored.clone()));
    }
    senders.join_all().await;
    steady("stored", &samples.await.unwrap());
    assert_eq!(setup.host.outbound().calls(), ALL, "each was tried once");
    assert_eq!(setup.drain().await["pending"], ALL);

    setup.engine = StandIn::builder().listen(closed.addr()).keep(2 * ALL as usize).start().await.unwrap();
    let engine = Arc::new(setup.engine);
    let samples = watch(&store, {
        let engine = engine.clone();
        move || engine.counts().runs
    });
    let (mut moved, mut passes) = (Moved::default(), 0);
    loop {
        let reply = HttpClient::new()
            .send("POST", &format!("{}/api/v2/deliveries/drain", setup.host.url()), &[crate::setup::OPERATOR], "")
            .await
            .unwrap();
        passes += 1;
        moved.add(&reply.json());
        println!("pass {passes}: {}", reply.text());
        if reply.json()["pending"] == 0 {
            break;
        }
    }
    steady("drained", &samples.await.unwrap());
    assert_eq!(moved, Moved { delivered: ALL, ..Moved::default() });

    let mut next = [0; LOOPS as usize];
    for run in engine.runs() {
        let data: Value = serde_json::from_str(run.params[0].value.get()).unwrap();
        let (number, n) = (data["loop"].as_u64().unwrap(), data["n"].as_u64().unwrap());
        let expected = &mut next[number as usize];
        assert_eq!(n, *expected, "loop {number}: lost, twice or out of order");
        *expected += 1;
    }
    assert_eq!(next, [EACH; LOOPS as usize]);
    assert_eq!(engine.counts().requests, ALL, "nothing was asked or sent twice");
}

/// One sender after another's answer; each loop has a workflow of its own.
async fn send(host: String, number: u64, stored: Arc<AtomicU64>) {
    let client = HttpClient::new();
    let url = format!("{host}/api/v2/webhook?ref=loop{number}");
    for n in 0..EACH {
        let body = format!(r#"{{"loop":{number},"n":{n}}}"#);
        let reply = client.send("POST", &url, &[JSON], body).await.unwrap();
        reply.assert_stored("pending", true);
        stored.fetch_add(1, Ordering::Relaxed);
    }
}

/// Looks again and again how far it is, until all is done.
fn watch(store: &KeyValue, progress: impl Fn() -> u64 + Send + 'static) -> tokio::task::JoinHandle<Vec<Sample>> {
    let store = store.clone();
    let look = move || {
        let Counts { opens: _, gets, sets, deletes, exists, get_keys } = store.snapshot();
        (Instant::now(), progress(), gets + sets + deletes + exists + get_keys)
    };
    let mut samples = vec![look()];
    tokio::spawn(async move {
        while samples.last().is_some_and(|(_, done, _)| *done < ALL) {
            tokio::time::sleep(Duration::from_millis(5)).await;
            samples.push(look());
        }
        samples
    })
}

/// The last thousand cost as much as the first. Figures of time are for a busy machine: it is growth with what is stored
/// that would make the last ten times as slow.
fn steady(what: &str, samples: &[Sample]) {
    let at = |least: u64| *samples.iter().find(|(_, done, _)| *done >= least).unwrap();
    let cost = |from: u64| {
        let ((start, before, asked), (end, after, in_all)) = (at(from), at(from + THOUSAND));
        let done = (after - before) as f64;
        ((in_all - asked) as f64 / done, (end - start).as_secs_f64() * 1_000.0 / done)
    };
    let ((first_ops, first_ms), (last_ops, last_ms)) = (cost(0), cost(ALL - THOUSAND));
    let seconds = (at(ALL).0 - at(0).0).as_secs_f64();
    println!(
        "{what}: {ALL} in {seconds:.1} s; the first thousand {first_ops:.2} operations and {first_ms:.2} ms each, \
         the last {last_ops:.2} and {last_ms:.2} ms"
    );
    assert!(last_ops < first_ops * 1.1, "{what}: operations grow");
    assert!(last_ms < first_ms * 5.0, "{what}: time grows");
}
