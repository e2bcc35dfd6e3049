//! Expiry.

use sluice::store::postgres::{DEAD_LETTER, RECORD_RUN, SWEEP, SWEEP_KEYS, SWEEP_RUNS};

use crate::database::{Contender, Database, KEEP};

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs PostgreSQL: SLUICE_TEST_POSTGRES"]
async fn sweep_deletes_50_000_expired_rows_and_nothing_else() {
    let database = Database::new("sweep").await;
    sweep(&database, 50_000).await;
    database.drop().await;
}

/// Two sessions sweep this number of expired rows.
pub async fn sweep(database: &Database, expired: i64) {
    let sql = database.connect().await;
    let fill = "
        INSERT INTO sluice_delivery (key, label, id, state, digest, reference, body, accepted, received, changed, expires)
        SELECT 'k' || n, 'k' || n, n::text, 'delivered', '', 'w', '\\x7b7d', true, 0, 0,
            CASE WHEN n <= $1 THEN sluice_clock() ELSE sluice_clock() + 1 END
        FROM generate_series(1, $1::int8 + 100) AS n";
    sql.client.execute(fill, &[&expired]).await.unwrap();
    sql.claim(&Contender::stored("p", "p")).await;
    let mut sweepers = Vec::new();
    for session in database.connect_all(2).await {
        sweepers.push(tokio::spawn(async move {
            let (mut swept, mut statements) = (0, 0);
            loop {
                let count: i64 = session.run(SWEEP, &[&5_000_i64]).await.unwrap()[0].get(0);
                assert!(count <= 5_000);
                (swept, statements) = (swept + count, statements + 1);
                // The other one may have locked the rest.
                let left = "SELECT count(*) FROM sluice_delivery WHERE expires <= sluice_now()";
                if count == 0 && session.client.query_one(left, &[]).await.unwrap().get::<_, i64>(0) == 0 {
                    return swept;
                }
                assert!(statements < 10_000);
            }
        }));
    }
    let mut swept = 0;
    for sweeper in sweepers {
        swept += sweeper.await.unwrap();
    }
    assert_eq!(swept, expired);
    let left = sql.client.query_one("SELECT count(*) FROM sluice_delivery", &[]).await.unwrap();
    assert_eq!(left.get::<_, i64>(0), 101);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs PostgreSQL: SLUICE_TEST_POSTGRES"]
async fn dead_letter_outlives_its_key() {
    let database = Database::new("dead_key").await;
    dead_key(&database).await;
    database.drop().await;
}

pub async fn dead_key(database: &Database) {
    let sql = database.connect().await;
    sql.claim(&Contender::start("k", "i1", "t1")).await;
    assert!(sql.change(DEAD_LETTER, &[&"k", &"t1", &&b"dead"[..], &Some(KEEP)]).await);
    let swept = async |statement| sql.run(statement, &[&9_i64]).await.unwrap()[0].get::<_, i64>("swept");
    sql.advance(KEEP - 1).await;
    assert_eq!((swept(SWEEP_KEYS).await, swept(SWEEP).await), (0, 0));
    assert_eq!(sql.claim(&Contender::start("k", "i2", "t2")).await.short(), ("held", "i1", "dead"));
    sql.advance(1).await;
    assert_eq!((swept(SWEEP).await, swept(SWEEP_KEYS).await, swept(SWEEP_KEYS).await), (0, 1, 0));
    assert_eq!(sql.claim(&Contender::start("k", "i2", "t2")).await.short(), ("won", "i2", "pending"));
    assert!(sql.row("i1").await.unwrap().contains(r#""state": "dead""#));

    sql.run(RECORD_RUN, &[&"run", &None::<&str>, &true, &KEEP]).await.unwrap();
    assert_eq!(swept(SWEEP_RUNS).await, 0);
    sql.advance(KEEP).await;
    assert_eq!(swept(SWEEP_RUNS).await, 1);
}
