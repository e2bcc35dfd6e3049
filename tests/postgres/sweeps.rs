//! Expiry.

use futures_util::future::join_all;
use sluice::store::postgres::{DEAD_LETTER, RECORD_RUN, SWEEP, SWEEP_KEYS, SWEEP_RUNS};

use crate::session::{Connection, Contender, Database, KEEP, Session};
use crate::{law, values};

law!(sweep_deletes_50_000_expired_rows_and_nothing_else: sweep(50_000));

/// Two sessions sweep this number of expired rows.
pub async fn sweep<D: Database>(database: &D, expired: i64) {
    let sql = database.connect().await;
    sql.0.remember("expired", expired, 0).await;
    sql.0.remember("remembered", 100, 1).await;
    sql.claim(&Contender::stored("p", "p")).await;
    let sweep = async |session: Session<D::Connection>| {
        let mut swept = 0;
        for _ in 0..10_000 {
            let count: i64 = session.run(SWEEP, values![5_000_i64]).await.unwrap()[0].get("swept");
            assert!(count <= 5_000);
            swept += count;
            // The other one may have locked the rest.
            if count == 0 && session.0.count().await == 101 {
                return swept;
            }
        }
        panic!("expired rows are left");
    };
    let swept = join_all(database.connect_all(2).await.into_iter().map(sweep)).await;
    assert_eq!(swept.iter().sum::<i64>(), expired);
    assert_eq!(sql.0.count().await, 101);
}

law!(dead_letter_outlives_its_key: dead_key());

pub async fn dead_key(database: &impl Database) {
    let sql = database.connect().await;
    sql.claim(&Contender::start("k", "i1", "t1")).await;
    assert!(sql.change(DEAD_LETTER, values!["k", "t1", b"dead", Some(KEEP), true]).await);
    let swept = async |statement| sql.run(statement, values![9_i64]).await.unwrap()[0].get::<i64>("swept");
    sql.advance(KEEP - 1).await;
    assert_eq!((swept(SWEEP_KEYS).await, swept(SWEEP).await), (0, 0));
    assert_eq!(sql.claim(&Contender::start("k", "i2", "t2")).await.short(), ("held", "i1", "dead"));
    sql.advance(1).await;
    assert_eq!((swept(SWEEP).await, swept(SWEEP_KEYS).await, swept(SWEEP_KEYS).await), (0, 1, 0));
    assert_eq!(sql.claim(&Contender::start("k", "i2", "t2")).await.short(), ("won", "i2", "pending"));
    assert_eq!(sql.row("i1").await.unwrap()["state"], "dead");

    sql.run(RECORD_RUN, values!["run", None::<&str>, true, KEEP]).await.unwrap();
    assert_eq!(swept(SWEEP_RUNS).await, 0);
    sql.advance(KEEP).await;
    assert_eq!(swept(SWEEP_RUNS).await, 1);
}
