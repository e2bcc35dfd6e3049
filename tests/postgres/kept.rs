//! Kept payloads, and the note that is written on one condition.

use futures_util::future::join_all;
use serde_json::json;
use sluice::store::postgres::{KEEP, KEPT, NOTES, REPLACE_NOTE, SHOW_KEPT, SWEEP, SWEEP_KEPT};

use crate::session::{Database, KEEP as MS};
use crate::{law, values};

law!(kept_payload_is_listed_until_its_time_is_over: kept());

async fn kept(database: &impl Database) {
    let sql = database.connect().await;
    let rows = [
        json!({ "id": "i1", "reference": "w", "source": null, "delivery": "{\"a\": \"\\u0000\"}" }),
        json!({ "id": "i2", "reference": "team/w", "source": "shop", "delivery": "{}" }),
        json!({ "id": "i3", "reference": "w", "source": "shop", "delivery": "{}" }),
    ];
    for n in 0..2 {
        sql.run(KEEP, values![json!(rows).to_string(), MS]).await.unwrap();
        // It stays as it was kept first.
        let again = json!([{ "id": "i1", "reference": "x", "source": null, "delivery": "other" }]);
        sql.run(KEEP, values![again.to_string(), MS * (n + 1)]).await.unwrap();
        sql.advance(10).await;
    }
    let list = async |after: &str, before: &str, limit: i64| {
        let rows = sql.run(KEPT, values![after, before, limit]).await.unwrap();
        rows.iter().map(|row| row.get::<String>("id")).collect::<Vec<_>>()
    };
    assert_eq!(list("", "~", 9).await, ["i1", "i2", "i3"]);
    assert_eq!(list("i1", "i3", 9).await, ["i2"]);
    assert_eq!(list("", "~", 1).await, ["i1"]);
    let first = &sql.run(KEPT, values!["i1", "~", 1_i64]).await.unwrap()[0];
    let named = (first.get::<String>("reference"), first.get::<Option<String>>("source"));
    assert_eq!(named, ("team/w".to_owned(), Some("shop".to_owned())));
    let shown = &sql.run(SHOW_KEPT, values!["i1"]).await.unwrap()[0];
    assert_eq!(shown.get::<String>("delivery"), "{\"a\": \"\\u0000\"}");
    assert_eq!(sql.run(SHOW_KEPT, values!["i4"]).await.unwrap(), []);

    let swept = async |limit: i64| sql.run(SWEEP_KEPT, values![limit]).await.unwrap()[0].get::<i64>("swept");
    assert!(sql.run(SWEEP, values![9_i64]).await.unwrap()[0].get::<bool>("has_kept"));
    sql.advance(MS - 21).await;
    assert_eq!((swept(9).await, list("", "~", 9).await.len()), (0, 3));
    sql.advance(1).await;
    assert_eq!(list("", "~", 9).await, [""; 0]);
    assert_eq!(sql.run(SHOW_KEPT, values!["i1"]).await.unwrap(), []);
    assert_eq!((swept(2).await, swept(2).await, swept(2).await), (2, 1, 0));
}

law!(of_all_that_replace_a_note_one_does: replaced(8));

/// In each round, sessions replace what all of them have read.
async fn replaced(database: &impl Database, sessions: usize) {
    let all = database.connect_all(sessions).await;
    let mut before: Option<String> = None;
    for round in 0..50 {
        let writes = all.iter().enumerate().map(async |(n, sql)| {
            let value = format!("{round} by {n}");
            let rows = sql.run(REPLACE_NOTE, values!["alert", value, before]).await.unwrap();
            (!rows.is_empty()).then_some(value)
        });
        let written: Vec<_> = join_all(writes).await.into_iter().flatten().collect();
        assert_eq!(written.len(), 1, "round {round}");
        let rows = all[0].run(NOTES, values![r#"["alert"]"#]).await.unwrap();
        assert_eq!(rows[0].get::<String>("value"), written[0]);
        // A repetition of the statement finds its own value; without a note before, no other one is written.
        let again = all[0].run(REPLACE_NOTE, values!["alert", written[0], before]).await.unwrap();
        assert_eq!(again.len(), 1);
        assert_eq!(all[0].run(REPLACE_NOTE, values!["alert", "x", None::<&str>]).await.unwrap(), []);
        assert_eq!(all[0].run(REPLACE_NOTE, values!["none", "x", "y"]).await.unwrap(), []);
        before = written.into_iter().next();
    }
}
