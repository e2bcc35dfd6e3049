//! One winner for each key; leases, take-over, late holders, duplicates and conflicts.

use futures_util::future::join_all;
use serde_json::json;
use sluice::store::postgres::{DEAD_LETTER, FIND, MOVE, PROMISE, RELEASE, RENEW, RESCHEDULE};
use tokio::sync::Barrier;

use crate::session::{Answer, Connection, Contender, Database, KEEP, LEASE, Session};
use crate::{law, values};

law!(one_of_eight_wins_at_once_in_each_of_200_rounds: one_winner(200));

/// In each round, eight sessions claim one key at the same moment.
pub async fn one_winner(database: &impl Database, rounds: usize) {
    let barrier = Barrier::new(8);
    let contend = async |(n, session): (usize, Session<_>)| {
        let mut answers = Vec::new();
        for round in 0..rounds {
            let (key, id, token) = (format!("k{round}"), format!("i{n}"), format!("t{n}:{round}"));
            barrier.wait().await;
            answers.push(session.claim(&Contender::start(&key, &id, &token)).await);
        }
        answers
    };
    let all = join_all(database.connect_all(8).await.into_iter().enumerate().map(contend)).await;
    for round in 0..rounds {
        let winner: Vec<_> = all.iter().filter(|answers| answers[round].standing == "won").collect();
        assert_eq!(winner.len(), 1, "round {round}");
        let id = &winner[0][round].id;
        let losers = all.iter().filter(|answers| answers[round].short() == ("held", id, "pending"));
        assert_eq!(losers.count(), 7, "round {round}");
    }
}

law!(lease_that_ran_out_is_taken_over_as_maybe_sent: take_over());

pub async fn take_over(database: &impl Database) {
    let sql = database.connect().await;
    let first = Contender { delivery: b"first", ..Contender::start("k", "i1", "t1") };
    let second = Contender { delivery: b"second", ..Contender::start("k", "i2", "t2") };
    assert_eq!(sql.claim(&first).await.short(), ("won", "i1", "pending"));
    sql.advance(LEASE - 1).await;
    assert_eq!(sql.claim(&second).await.short(), ("held", "i1", "pending"));
    assert!(sql.take("drain", 9).await.is_empty());

    sql.advance(1).await;
    let other = Contender { digest: "other", token: Some("t3"), id: "i3", ..second.clone() };
    assert_eq!(sql.claim(&other).await.short(), ("held", "i1", "pending"), "another content continues nothing");
    let stored = Contender { token: None, ..second.clone() };
    assert_eq!(sql.claim(&stored).await.short(), ("held", "i1", "pending"), "nobody would send it");
    let taken = sql.claim(&second).await;
    assert_eq!(taken.short(), ("taken", "i1", "pending"));
    assert_eq!(taken.delivery.as_deref(), Some(&b"first"[..]), "the delivery is continued");

    // Run again after it broke: the same answer, and a whole lease.
    sql.advance(LEASE).await;
    assert_eq!(sql.claim(&second).await.short(), ("taken", "i1", "pending"));
    sql.advance(LEASE - 1).await;
    assert_eq!(sql.claim(&first).await.short(), ("held", "i1", "pending"), "the first holder is late");
    assert!(sql.take("drain", 9).await.is_empty());
    sql.advance(1).await;
    let drained = sql.take("drain", 9).await;
    assert_eq!((drained.len(), drained[0].maybe_sent), (1, true));
    assert!(sql.change(RESCHEDULE, values!["k", "drain", b"says that it was sent", 0_i64, true]).await);
    let again = sql.take("drain2", 9).await;
    assert_eq!((again[0].maybe_sent, &again[0].delivery[..]), (false, &b"says that it was sent"[..]));
    sql.advance(LEASE).await;
    assert!(sql.take("drain3", 9).await[0].maybe_sent, "the drain's lease ran out");
}

law!(late_token_changes_nothing: late());

pub async fn late(database: &impl Database) {
    let sql = database.connect().await;
    sql.claim(&Contender::start("k", "i1", "late")).await;
    sql.advance(LEASE).await;
    assert_eq!(sql.claim(&Contender::start("k", "i2", "t2")).await.standing, "taken");
    assert_late(&sql, "k").await;
    assert!(sql.settle("k", "t2", KEEP).await);
    assert_late(&sql, "k").await;
}

/// The token `late` changes neither this row nor any other.
async fn assert_late(sql: &Session<impl Connection>, key: &str) {
    let before = sql.all_rows().await;
    let bytes = &b"late"[..];
    assert!(!sql.settle(key, "late", KEEP).await);
    assert!(!sql.settle(key, "late", 0).await);
    assert!(!sql.change(RELEASE, values![key, "late"]).await);
    assert!(!sql.change(RESCHEDULE, values![key, "late", bytes, 0_i64, true]).await);
    assert!(!sql.change(RENEW, values![key, "late", Some(bytes), LEASE]).await);
    assert!(!sql.change(DEAD_LETTER, values![key, "late", bytes, None::<i64>, true]).await);
    assert!(!sql.change(DEAD_LETTER, values![key, "late", bytes, Some(KEEP), true]).await);
    assert!(!sql.change(MOVE, values![key, "late", "elsewhere", bytes, LEASE]).await);
    assert_eq!(sql.all_rows().await, before);
}

law!(repeat_and_conflict_see_the_first_delivery_in_every_state: duplicates());

pub async fn duplicates(database: &impl Database) {
    let sql = database.connect().await;
    let first = Contender { digest: "d", ..Contender::start("k", "i1", "t1") };
    assert_eq!(sql.claim(&first).await.standing, "won");
    // Under way, and nobody has a 2xx yet: the repeat waits.
    let held = assert_held(&sql, "pending").await;
    assert_eq!((held.accepted, held.delivery, held.body), (false, None, None));
    // A sender that has waited in vain gets a 2xx. So the row is no longer deleted.
    assert!(!sql.change(PROMISE, values!["k", "i9"]).await, "another delivery");
    assert!(sql.change(PROMISE, values!["k", "i1"]).await);
    assert!(sql.change(PROMISE, values!["k", "i1"]).await, "repeated");
    assert!(!sql.change(RELEASE, values!["k", "t1"]).await);
    assert!(assert_held(&sql, "pending").await.accepted);
    // Waiting for a drain.
    assert!(sql.change(RESCHEDULE, values!["k", "t1", b"later", 5_000_i64, true]).await);
    sql.advance(LEASE * 2).await;
    assert_held(&sql, "pending").await;
    sql.advance(5_000).await;
    assert_held(&sql, "pending").await;
    // Dead with its key.
    assert_eq!(sql.take("t2", 9).await.len(), 1);
    assert!(sql.change(DEAD_LETTER, values!["k", "t2", b"dead", Some(KEEP), true]).await);
    assert_held(&sql, "dead").await;
    // Delivered.
    assert!(!sql.take_one("i1", "t3").await.unwrap().maybe_sent);
    assert!(sql.settle("k", "t3", KEEP).await);
    let held = assert_held(&sql, "delivered").await;
    assert_eq!(held.body.as_deref(), Some(&br#"{"id": "\u0000"}"#[..]), "byte for byte");
    assert_eq!(sql.run(FIND, values![r#"["x", "k"]"#]).await.unwrap().len(), 1);
    // Remembered until its time is over, also if no sweep comes.
    sql.advance(KEEP - 1).await;
    assert_held(&sql, "delivered").await;
    sql.advance(1).await;
    assert!(sql.run(FIND, values![r#"["k"]"#]).await.unwrap().is_empty());
    let fresh = Contender { digest: "e", delivery: b"fresh", reference: "w2", ..Contender::start("k", "i4", "t4") };
    assert_eq!(sql.claim(&fresh).await.short(), ("won", "i4", "pending"));
    let row = sql.row("k").await.unwrap();
    let columns = [&row["digest"], &row["reference"], &row["body"], &row["accepted"]];
    assert_eq!(columns, [&json!("e"), &json!("w2"), &json!(null), &json!(false)]);
    // Nobody has a 2xx: refused, and free again.
    assert!(sql.change(RELEASE, values!["k", "t4"]).await);
    assert_eq!(sql.claim(&first).await.short(), ("won", "i1", "pending"));
}

/// A repeat and a conflict both see the delivery `i1` in this state, and change nothing.
async fn assert_held(sql: &Session<impl Connection>, state: &str) -> Answer {
    let before = sql.all_rows().await;
    let repeat = Contender { digest: "d", ..Contender::start("k", "i2", "t9") };
    let conflict = Contender { digest: "e", ..repeat.clone() };
    let stored = Contender { token: None, accepted: true, ..repeat.clone() };
    let answer = sql.claim(&repeat).await;
    assert_eq!((answer.short(), &answer.digest[..]), (("held", "i1", state), "d"));
    for other in [conflict, stored] {
        assert_eq!(sql.claim(&other).await, answer);
    }
    assert_eq!(sql.all_rows().await, before);
    answer
}

law!(statement_that_is_repeated_changes_nothing_more: repeated());

async fn repeated(database: &impl Database) {
    let sql = database.connect().await;
    let bytes = &b"later"[..];
    for key in ["a", "b", "c", "d", "e"] {
        let claim = Contender::start(key, "i", "t");
        assert_eq!(sql.claim(&claim).await.standing, "won");
        let before = sql.row(key).await;
        assert_eq!(sql.claim(&claim).await.standing, "won", "its own row");
        assert_eq!(sql.row(key).await, before);
    }
    let stored = Contender::stored("s", "s");
    for _ in 0..2 {
        assert_eq!(sql.claim(&stored).await.short(), ("won", "s", "pending"));
    }
    assert!(sql.settle("a", "t", KEEP).await);
    assert!(sql.change(RESCHEDULE, values!["b", "t", bytes, 9_000_i64, true]).await);
    assert!(sql.change(DEAD_LETTER, values!["c", "t", bytes, Some(KEEP), true]).await);
    assert!(sql.change(RELEASE, values!["d", "t"]).await);
    assert!(sql.change(MOVE, values!["e", "t", "e2", bytes, LEASE]).await);
    let before = sql.all_rows().await;
    assert!(!sql.settle("a", "t", KEEP).await);
    assert!(!sql.change(RESCHEDULE, values!["b", "t", bytes, 1_i64, true]).await);
    assert!(!sql.change(DEAD_LETTER, values!["c", "t", bytes, None::<i64>, true]).await);
    assert!(!sql.change(RELEASE, values!["d", "t"]).await);
    let moved = sql.run(MOVE, values!["e", "t", "e2", bytes, LEASE]).await.unwrap();
    assert_eq!(moved[0].get::<String>("standing"), "won");
    assert_eq!(sql.all_rows().await, before);
}
