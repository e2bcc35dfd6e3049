//! What an operator sees and does.

use std::collections::{BTreeMap, BTreeSet};

use sluice::store::postgres::{
    CLEAR_NOTE, COUNTS, DEAD_LETTER, DELETE, DOUBT, LIST, NOTES, READY, RECORD_RUN, RESCHEDULE, RUN, SEARCH, SHOW,
    SOURCE_NOTES, SWEEP_NOTES, WRITE_NOTE,
};

use crate::session::{Contender, Database, KEEP, LEASE};
use crate::{law, values};

law!(pages_list_deliveries_in_order_of_arrival: pages());

async fn pages(database: &impl Database) {
    let sql = database.connect().await;
    for (n, reference) in (0..7).map(|n| (n, if n % 2 == 0 { "Deploy/Eu" } else { "other" })) {
        let id = format!("01M{n}");
        sql.claim(&Contender { reference, ..Contender::stored(&id, &id) }).await;
    }
    sql.claim(&Contender::callback("c", "02C", "t")).await;
    assert!(sql.change(DEAD_LETTER, values!["c", "t", b"dead", None::<i64>, true]).await);

    let page = async |state: &str, after: &str, limit: i64| {
        let rows = sql.run(LIST, values![state, after, limit]).await.unwrap();
        rows.iter().map(|row| row.get("id")).collect::<Vec<String>>()
    };
    assert_eq!(page("pending", "", 3).await, ["01M0", "01M1", "01M2"]);
    assert_eq!(page("pending", "01M2", 9).await, ["01M3", "01M4", "01M5", "01M6"]);
    assert_eq!(page("dead", "", 9).await, ["02C"]);

    let search = async |state: &str, text: &str, after: &str, scanned: i64, limit: i64| {
        let rows = sql.run(SEARCH, values![state, after, text, scanned, limit, "~", None::<&str>]).await.unwrap();
        let found: Vec<String> = rows.iter().filter_map(|row| row.get("id")).collect();
        (found, rows[0].get::<i64>("scanned"), rows[0].get::<Option<String>>("last"))
    };
    let ids = |ids: &[&str]| ids.iter().map(|id| (*id).to_owned()).collect::<Vec<_>>();
    assert_eq!(
        search("pending", "oy/eu", "", 9, 9).await,
        (ids(&["01M0", "01M2", "01M4", "01M6"]), 7, Some("01M6".into()))
    );
    assert_eq!(search("pending", "oy/eu", "01M0", 3, 9).await, (ids(&["01M2"]), 3, Some("01M3".into())));
    assert_eq!(search("pending", "oy/eu", "", 9, 2).await.0, ids(&["01M0", "01M2"]));
    assert_eq!(search("pending", "%", "", 9, 9).await, (ids(&[]), 7, Some("01M6".into())));
    assert_eq!(search("dead", "topic", "", 9, 9).await.0, ids(&["02C"]));
    assert_eq!(search("dead", "", "02C", 9, 9).await, (ids(&[]), 0, None));

    let starts = async |state: &str, start: &str, before: &str| {
        let rows = sql.run(SEARCH, values![state, "", "", 9_i64, 9_i64, before, start]).await.unwrap();
        rows.iter().filter_map(|row| Some((row.get::<Option<i64>>("place")?, row.get("id")))).collect::<Vec<_>>()
    };
    let places = |found: &[(i64, &str)]| found.iter().map(|(n, id)| (*n, (*id).to_owned())).collect::<Vec<_>>();
    assert_eq!(starts("pending", "oth", "~").await, places(&[(2, "01M1"), (4, "01M3"), (6, "01M5")]));
    assert_eq!(starts("pending", "oth", "01M5").await, places(&[(2, "01M1"), (4, "01M3")]));
    assert_eq!(starts("pending", "th", "~").await, places(&[]), "the beginning");
    assert_eq!(starts("pending", "OTH", "~").await, places(&[]), "as it is spelled");
    assert_eq!(starts("dead", "", "~").await, places(&[]), "a callback starts nothing");

    let counts = sql.run(COUNTS, values![5_i64]).await.unwrap();
    let counts = (counts[0].get("pending"), counts[0].get("dead"), counts[0].get::<Option<String>>("oldest"));
    assert_eq!(counts, (5_i64, 1_i64, Some("01M0".to_owned())), "up to the bound");
}

law!(delivery_under_way_is_neither_deleted_nor_taken: in_flight());

pub async fn in_flight(database: &impl Database) {
    let sql = database.connect().await;
    sql.claim(&Contender::start("k", "i", "t1")).await;
    let shown = sql.run(SHOW, values!["i"]).await.unwrap();
    assert!(shown[0].get::<bool>("under_way"));
    assert!(!sql.change(DELETE, values!["i"]).await);
    assert_eq!(sql.take_one("i", "t2").await, None);
    sql.advance(LEASE).await;
    assert!(!sql.run(SHOW, values!["i"]).await.unwrap()[0].get::<bool>("under_way"));
    for _ in 0..2 {
        assert!(sql.take_one("i", "t2").await.unwrap().maybe_sent, "also if the statement is repeated");
    }
    assert!(!sql.change(DELETE, values!["i"]).await);
    // In back-off, it is taken before it is due.
    assert!(sql.change(RESCHEDULE, values!["k", "t2", b"x", 9_000_i64, true]).await);
    assert!(!sql.take_one("i", "t3").await.unwrap().maybe_sent);
    assert!(sql.change(RESCHEDULE, values!["k", "t3", b"x", 9_000_i64, true]).await);
    assert!(sql.change(DELETE, values!["i"]).await);
    assert_eq!(sql.claim(&Contender::start("k", "i2", "t4")).await.standing, "won", "the key is free");
}

law!(dead_letter_takes_its_key_back_unless_another_delivery_has_it: redeliver());

async fn redeliver(database: &impl Database) {
    let sql = database.connect().await;
    sql.claim(&Contender::start("k", "i1", "t1")).await;
    assert!(sql.change(DEAD_LETTER, values!["k", "t1", b"refused", None::<i64>, true]).await);
    assert_eq!(sql.claim(&Contender::start("k", "i2", "t2")).await.short(), ("won", "i2", "pending"));
    assert_eq!(sql.take_one("i1", "t3").await, None);
    assert!(sql.change(DEAD_LETTER, values!["k", "t2", b"refused", None::<i64>, true]).await);
    let taken = sql.take_one("i1", "t3").await.unwrap();
    assert_eq!((&taken.key[..], &taken.delivery[..], taken.maybe_sent), ("k", &b"refused"[..], false));
    assert_eq!(sql.take_one("i2", "t4").await, None);
    assert!(sql.settle("k", "t3", KEEP).await);
    assert!(sql.change(DELETE, values!["i2"]).await);
    assert_eq!(sql.claim(&Contender::start("k", "i5", "t5")).await.short(), ("held", "i1", "delivered"));
}

law!(pending_deliveries_are_maybe_sent_after_a_fail_over: doubt());

pub async fn doubt(database: &impl Database) {
    let sql = database.connect().await;
    for id in ["a", "b", "c", "d"] {
        sql.claim(&Contender::stored(id, id)).await;
    }
    let doubt = async |after: &str, limit: i64, ms: i64| {
        let rows = sql.run(DOUBT, values![after, limit, ms]).await.unwrap();
        rows.iter().map(|row| row.get("id")).collect::<BTreeSet<String>>()
    };
    let take = async |token: &str| {
        let taken = sql.take(token, 9).await.into_iter().map(|taken| (taken.id, taken.maybe_sent));
        taken.collect::<BTreeMap<_, _>>()
    };
    // A request that was sent before may still be on its way, so they are left alone for a while.
    assert_eq!(doubt("", 2, 300).await, BTreeSet::from(["a".to_owned(), "b".to_owned()]));
    assert_eq!(take("t1").await, BTreeMap::from([("c".to_owned(), false), ("d".to_owned(), false)]));
    sql.advance(300).await;
    assert_eq!(take("t2").await, BTreeMap::from([("a".to_owned(), true), ("b".to_owned(), true)]));
    // Those that are under way are in doubt as well. Their holders don't know of it, so it outlives them.
    assert_eq!(doubt("b", 9, 300).await.len(), 2);
    assert!(sql.change(RESCHEDULE, values!["a", "t2", b"says that it was sent", 0_i64, true]).await);
    assert!(sql.change(RESCHEDULE, values!["c", "t1", b"", 0_i64, false]).await);
    assert!(sql.change(DEAD_LETTER, values!["d", "t1", b"", None::<i64>, false]).await);
    assert_eq!(take("t3").await, BTreeMap::from([("a".to_owned(), false), ("c".to_owned(), true)]));
    assert!(sql.take_one("d", "t4").await.unwrap().maybe_sent);
    // The lease of a holder becomes no shorter.
    assert_eq!(doubt("", 9, 1).await.len(), 4);
    sql.advance(LEASE - 1).await;
    assert_eq!(take("t5").await, BTreeMap::new());
    sql.advance(1).await;
    assert_eq!(take("t5").await.into_values().collect::<Vec<_>>(), [true; 4]);
}

law!(notes_about_sources_are_swept_by_their_age: source_notes());

async fn source_notes(database: &impl Database) {
    let sql = database.connect().await;
    for name in ["source:keys:a", "source", "source:", "source:refused:b", "source;", "sourcez", "width"] {
        sql.run(WRITE_NOTE, values![name, "old"]).await.unwrap();
    }
    sql.advance(100).await;
    sql.run(WRITE_NOTE, values!["source:keys:a", "new"]).await.unwrap();
    // The same value is not a change.
    sql.run(WRITE_NOTE, values!["source:refused:b", "old"]).await.unwrap();
    let list = async |limit: i64| {
        let rows = sql.run(SOURCE_NOTES, values![limit]).await.unwrap();
        let note = |row: &crate::session::Row| (row.get("name"), row.get::<i64>("now") - row.get::<i64>("changed"));
        rows.iter().map(note).collect::<Vec<(String, i64)>>()
    };
    let note = |name: &str, age| (name.to_owned(), age);
    assert_eq!(list(9).await, [note("source:", 100), note("source:keys:a", 0), note("source:refused:b", 100)]);
    assert_eq!(list(1).await.len(), 1);
    let sweep =
        async |limit: i64, age: i64| sql.run(SWEEP_NOTES, values![limit, age]).await.unwrap()[0].get::<i64>("swept");
    assert_eq!(sweep(9, 101).await, 0);
    assert_eq!((sweep(1, 100).await, sweep(9, 100).await, sweep(9, 100).await), (1, 1, 0));
    assert_eq!(list(9).await, [note("source:keys:a", 0)]);
    let rows = sql.run(NOTES, values![r#"["source", "source;", "sourcez", "width"]"#]).await.unwrap();
    assert_eq!(rows.len(), 4);
}

law!(notes_and_runs_are_kept: notes());

async fn notes(database: &impl Database) {
    let sql = database.connect().await;
    let ready = &sql.run(READY, values![true]).await.unwrap()[0];
    assert_eq!((ready.get::<bool>("has_schema"), ready.get::<Option<String>>("lacks")), (true, None));
    let read = async |name: &str| {
        let rows = sql.run(NOTES, values![format!(r#"["{name}", "none"]"#)]).await.unwrap();
        rows.first().map(|row| (row.get::<String>("value"), row.get::<i64>("changed") - row.get::<i64>("since")))
    };
    assert_eq!(read("schema").await.unwrap().0, sluice::store::postgres::SCHEMA_VERSION);
    for (value, changed) in [("one", 0), ("one", 0), ("two", 20)] {
        sql.run(WRITE_NOTE, values!["fault", value]).await.unwrap();
        assert_eq!(read("fault").await, Some((value.to_owned(), changed)));
        sql.advance(10).await;
    }
    sql.run(CLEAR_NOTE, values!["fault"]).await.unwrap();
    assert_eq!(read("fault").await, None);

    for scope in [None, Some("team")] {
        sql.run(RECORD_RUN, values!["run", scope, true, 100_i64]).await.unwrap();
        let row = &sql.run(RUN, values!["run"]).await.unwrap()[0];
        assert_eq!((row.get("scope"), row.get("unseen")), (scope.map(str::to_owned), true));
    }
    sql.advance(100).await;
    assert!(sql.run(RUN, values!["run"]).await.unwrap().is_empty());
}
