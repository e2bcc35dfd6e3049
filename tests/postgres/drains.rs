//! Drains side by side.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

use futures_util::future::join_all;
use sluice::store::postgres::{DEAD_LETTER, RESCHEDULE, TAKE};

use crate::session::{Connection, Contender, Database, KEEP, LEASE, Session};
use crate::{law, values};

law!(three_drains_deliver_each_once_and_queues_in_order: side_by_side(10_000, 1_250));

/// Three drains empty an outbox with this number of deliveries without a queue, and of deliveries in each of 8 queues.
pub async fn side_by_side<D: Database>(database: &D, free: usize, queued: usize) {
    let sql = database.connect().await;
    let store = async |(n, session): (usize, Session<D::Connection>)| {
        for n in (n..free).step_by(8) {
            let id = format!("free{n}");
            session.claim(&Contender::stored(&id, &id)).await;
        }
    };
    join_all(database.connect_all(8).await.into_iter().enumerate().map(store)).await;
    for (n, queue) in (0..queued * 8).map(|n| (n, format!("q{}", n % 8))) {
        let id = format!("{queue}/{n:05}");
        sql.claim(&Contender { queue: Some(&queue), ..Contender::stored(&id, &id) }).await;
    }
    let engine = RefCell::new(Vec::new());
    let drain = async |(n, session): (usize, Session<D::Connection>)| {
        for pass in 0..100_000 {
            let token = format!("drain{n}:{pass}");
            let mut taken = session.take(&token, 16).await;
            taken.extend(session.take_heads(&token, 16).await);
            assert!(taken.iter().all(|taken| !taken.maybe_sent));
            let keys: Vec<_> = taken.into_iter().map(|taken| taken.key).collect();
            engine.borrow_mut().extend(keys.iter().cloned());
            assert_eq!(session.settle_all(&keys, &token, 0).await.len(), keys.len());
            // Another drain may hold the heads of all queues.
            if keys.is_empty() && session.0.count().await == 0 {
                return;
            }
        }
        panic!("the outbox isn't empty");
    };
    join_all(database.connect_all(3).await.into_iter().enumerate().map(drain)).await;
    let sent: Vec<String> = engine.into_inner();
    assert_eq!(sent.len(), free + queued * 8);
    assert_eq!(sent.iter().collect::<BTreeSet<_>>().len(), sent.len(), "each once");
    let mut last = BTreeMap::new();
    for (queue, place) in sent.iter().filter_map(|key| key.split_once('/')) {
        assert!(last.insert(queue, place) < Some(place), "{queue} is out of order at {place}");
    }
}

law!(head_of_a_queue_holds_it_until_it_is_settled_or_dead: queue());

pub async fn queue(database: &impl Database) {
    let sql = database.connect().await;
    for id in ["1", "2", "3"] {
        sql.claim(&Contender { queue: Some("q"), ..Contender::stored(id, id) }).await;
    }
    let heads = async |token: &str| {
        let heads = sql.take_heads(token, 9).await;
        heads.into_iter().map(|head| (head.key, head.maybe_sent)).collect::<Vec<_>>()
    };
    assert!(sql.take("t", 9).await.is_empty(), "a queue is drained by its head only");
    assert_eq!(heads("t1").await, [("1".into(), false)]);
    assert_eq!(heads("t2").await, [], "the head is under way");
    assert!(sql.change(RESCHEDULE, values!["1", "t1", b"", 500_i64, true]).await);
    assert_eq!(heads("t2").await, [], "the head is in back-off");
    sql.advance(500).await;
    assert_eq!(heads("t2").await, [("1".into(), false)]);
    sql.advance(LEASE).await;
    assert_eq!(heads("t3").await, [("1".into(), true)], "the lease ran out");
    assert!(sql.change(DEAD_LETTER, values!["1", "t3", b"", None::<i64>, true]).await);
    assert_eq!(heads("t4").await, [("2".into(), false)]);
    // Redelivered, it is the last one.
    assert!(sql.take_one("1", "t5").await.is_some());
    assert!(sql.change(RESCHEDULE, values!["1", "t5", b"", 0_i64, true]).await);
    assert!(sql.settle("2", "t4", KEEP).await);
    assert_eq!(heads("t6").await, [("3".into(), false)]);
    assert!(sql.settle("3", "t6", 0).await);
    assert_eq!(heads("t7").await, [("1".into(), false)]);
}

law!(longest_due_head_is_taken_first: heads_by_due());

pub async fn heads_by_due(database: &impl Database) {
    let sql = database.connect().await;
    for (id, queue, delay) in [("a", "q1", 20), ("b", "q3", 10), ("c", "q2", 30)] {
        sql.claim(&Contender { queue: Some(queue), delay, ..Contender::stored(id, id) }).await;
    }
    sql.advance(30).await;
    for id in ["b", "a", "c"] {
        assert_eq!(sql.take_heads("t", 1).await[0].id, id);
    }
}

law!(longest_due_is_taken_first_and_busy_workflows_are_left_out: order());

async fn order(database: &impl Database) {
    let sql = database.connect().await;
    for (id, reference, delay) in [("a", "busy", 10), ("b", "w", 30), ("c", "w", 20), ("d", "w", 1_000)] {
        sql.claim(&Contender { reference, delay, ..Contender::stored(id, id) }).await;
    }
    sql.advance(30).await;
    let take = async |token: &str, limit: i64, without: &str| {
        let rows = sql.run(TAKE, values![token, LEASE, limit, without]).await.unwrap();
        rows.iter().map(|row| row.get("key")).collect::<BTreeSet<String>>()
    };
    assert_eq!(take("t1", 1, r#"["busy", "x"]"#).await, BTreeSet::from(["c".to_owned()]));
    assert_eq!(take("t2", 1, "[]").await, BTreeSet::from(["a".to_owned()]));
    assert_eq!(take("t3", 9, "[]").await, BTreeSet::from(["b".to_owned()]));
}
