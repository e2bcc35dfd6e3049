//! Types and plans of the statements.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use sluice::store::postgres::{SCHEMA, STATEMENTS};
use tokio_postgres::types::Type;
use tokio_postgres::{Client, SimpleQueryMessage};

use crate::server::Server;
use crate::session::Database;

/// Each file is a statement, so the tests that go through [`STATEMENTS`] leave out none.
#[test]
fn each_file_is_a_statement_with_arguments() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/store/postgres");
    let files = fs::read_dir(folder).unwrap().map(|file| file.unwrap().path());
    let files = files.filter(|file| file.extension().is_some_and(|extension| extension == "sql"));
    let mut files: Vec<_> = files.map(|file| file.file_stem().unwrap().to_str().unwrap().to_owned()).collect();
    files.retain(|name| name != "schema");
    files.sort();
    let mut names: Vec<_> = STATEMENTS.iter().map(|statement| statement.name).collect();
    names.sort_unstable();
    assert_eq!(files, names);
    for name in names {
        let has_parameters = STATEMENTS.iter().any(|statement| statement.name == name && statement.sql.contains("$1"));
        assert_eq!(!arguments(name).is_empty(), has_parameters, "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs PostgreSQL: SLUICE_TEST_POSTGRES"]
async fn parameters_and_results_have_four_types() {
    let database = Server::new("types").await;
    let sql = database.connect().await;
    let permitted = [Type::INT8, Type::TEXT, Type::BYTEA, Type::BOOL];
    for statement in STATEMENTS {
        let prepared = &sql.0.prepared[statement.sql];
        let results = prepared.columns().iter().map(|column| column.type_());
        for used in prepared.params().iter().chain(results) {
            assert!(permitted.contains(used), "{} has a value of type {used}", statement.name);
        }
    }
    database.drop().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs PostgreSQL: SLUICE_TEST_POSTGRES"]
async fn schema_is_applied_twice_but_not_over_another_version() {
    let database = Server::with_clock_of_server("schema").await;
    let sql = database.client().await;
    sql.batch_execute(SCHEMA).await.unwrap();
    sql.batch_execute("UPDATE sluice_note SET value = '2' WHERE name = 'schema'").await.unwrap();
    let error = sql.batch_execute(SCHEMA).await.unwrap_err();
    assert!(error.as_db_error().unwrap().message().contains("another version: 2"), "{error}");
    database.drop().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs PostgreSQL: SLUICE_TEST_POSTGRES"]
async fn role_needs_no_more_privileges_than_the_schema_names() {
    let database = Server::with_clock_of_server("role").await;
    let sql = database.client().await;
    let role = format!("sluice_role_{}", std::process::id());
    let grants: Vec<_> = SCHEMA.lines().filter_map(|line| line.strip_prefix("--     GRANT")).collect();
    assert_eq!(grants.len(), 2);
    let grants: String = grants.iter().map(|grant| format!("GRANT{}", grant.replace("ROLE", &role))).collect();
    sql.batch_execute(&format!("CREATE ROLE {role}; {grants} SET ROLE {role}")).await.unwrap();
    let denied = sql.batch_execute("DROP TABLE sluice_note").await.unwrap_err();
    assert!(denied.as_db_error().unwrap().message().contains("must be owner"), "{denied}");
    for statement in STATEMENTS {
        let arguments = arguments(statement.name).replace(", NULL, NULL, ", ", NULL, 'queue', ");
        let call = if arguments.is_empty() { "run".to_owned() } else { format!("run({arguments})") };
        let text = format!("PREPARE run AS {}; EXECUTE {call}; DEALLOCATE run", statement.sql);
        sql.batch_execute(&text).await.expect(statement.name);
    }
    sql.batch_execute(&format!("RESET ROLE; DROP OWNED BY {role}; DROP ROLE {role}")).await.unwrap();
    database.drop().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs PostgreSQL: SLUICE_TEST_POSTGRES"]
async fn no_statement_scans_a_table_of_100_000_rows() {
    // Rows of each kind: remembered starts, remembered callbacks, due, in back-off, in a queue, dead.
    let mixes = [
        ("remembered", [90_000, 5_000, 1_000, 1_000, 1_000, 2_000]),
        ("backlog", [1_000, 1_000, 90_000, 5_000, 1_000, 2_000]),
        ("queued", [1_000, 1_000, 1_000, 1_000, 94_000, 2_000]),
        ("dead", [1_000, 1_000, 1_000, 1_000, 1_000, 95_000]),
    ];
    for (mix, counts) in mixes {
        let database = Server::with_clock_of_server(&format!("plans_{mix}")).await;
        let sql = database.client().await;
        fill(&sql, counts).await;
        assert!(!scans(&sql, "plain", "SELECT key FROM sluice_delivery WHERE digest = 'x'", "").await.is_empty());
        let mut all = Vec::new();
        for statement in STATEMENTS {
            all.extend(scans(&sql, statement.name, statement.sql, arguments(statement.name)).await);
        }
        assert!(all.is_empty(), "{mix}:\n{}", all.join("\n"));
        database.drop().await;
    }
}

/// Arguments as in the middle of the table.
fn arguments(name: &str) -> &'static str {
    let arguments = BTreeMap::from([
        ("claim", "'k500', 'i', 't', '', 'w', NULL, NULL, '\\x00', 1000, false, 'e500'"),
        ("promise", "'k500', 'i500'"),
        ("release", "'k500', 't'"),
        ("settle", "'[{\"key\": \"k500\", \"token\": \"t\", \"body\": \"{}\", \"keep\": 1000}]'"),
        ("reschedule", "'k500', 't', '\\x00', 1000, true"),
        ("renew", "'k500', 't', NULL, 1000"),
        ("move", "'k500', 't', 'k501', '\\x00', 1000"),
        ("dead_letter", "'k500', 't', '\\x00', NULL, true"),
        ("take", "'t', 1000, 16, '[\"w\"]'"),
        ("take_heads", "'t', 1000, 16"),
        ("take_one", "'i500', 't', 1000"),
        ("delete", "'i500'"),
        ("show", "'i500'"),
        ("list", "'pending', 'i500', 100"),
        ("search", "'dead', 'i500', 'text', 500, 100, '~', 'w'"),
        ("find", "'[\"k500\",\"k501\",\"k502\"]'"),
        ("callbacks", "'run500', NULL, '', 100"),
        ("counts", "10000"),
        ("doubt", "'i500', 1000, 25000"),
        ("sweep", "5000"),
        ("sweep_keys", "5000"),
        ("sweep_runs", "5000"),
        ("record_run", "'run500', NULL, true, 1000"),
        ("run", "'run500'"),
        ("write_note", "'fault', 'x'"),
        ("clear_note", "'fault'"),
        ("notes", "'[\"fault\"]'"),
        ("source_notes", "100"),
        ("sweep_notes", "5000, 1000"),
        ("import", "'k500x', 'k500x', 'i500x', 'pending', '', 'w', NULL, '\\x00', NULL, 1000, 0, 0, NULL, 'queue', 1"),
        ("remembered", "'k500', 100"),
        ("runs", "'run500', 100"),
        ("ready", "true"),
        ("keep", "'[{\"id\": \"i500\", \"reference\": \"w\", \"delivery\": \"{}\"}]', 1000"),
        ("kept", "'i500', '~', 500"),
        ("show_kept", "'i500'"),
        ("sweep_kept", "5000"),
        ("replace_note", "'fault', 'y', 'x'"),
        ("probe", "60000"),
    ]);
    arguments[name]
}

/// Fills all tables, and gathers the planner's statistics.
async fn fill(sql: &Client, [starts, callbacks, due, waiting, queued, dead]: [i64; 6]) {
    let bounds: Vec<_> = [starts, callbacks, due, waiting, queued, dead]
        .iter()
        .scan(0, |sum, count| {
            *sum += count;
            Some(sum.to_string())
        })
        .collect();
    let [starts, callbacks, due, waiting, queued, all] = <[String; 6]>::try_from(bounds).unwrap();
    let fill = format!(
        "INSERT INTO sluice_delivery (key, label, id, state, digest, reference, topic, queue, seq, delivery, accepted,
            token, due, received, changed, expires)
        SELECT 'k' || n, 'k' || n, 'i' || n,
            CASE WHEN n <= {callbacks} THEN 'delivered' WHEN n <= {queued} THEN 'pending' ELSE 'dead' END,
            '', CASE WHEN n > {starts} AND n <= {callbacks} THEN 'run' || n / 3 ELSE 'w' || n % 50 END,
            CASE WHEN n > {starts} AND n <= {callbacks} THEN 'topic' END,
            CASE WHEN n > {waiting} AND n <= {queued} THEN 'q' || n % 50 END,
            CASE WHEN n > {waiting} AND n <= {queued} THEN n END,
            CASE WHEN n > {starts} THEN '\\x7b7d'::bytea END, true,
            CASE WHEN n > {callbacks} AND n <= {queued} AND n % 50 = 0 THEN 't' END,
            CASE WHEN n > {callbacks} AND n <= {due} THEN sluice_clock() - n
                WHEN n > {due} AND n <= {waiting} THEN sluice_clock() + 600000 + n
                WHEN n > {waiting} AND n <= {queued} THEN sluice_clock() - n END,
            0, 0,
            CASE WHEN n <= {callbacks} OR n > {queued} AND n % 2 = 0 THEN sluice_clock() - 100000 + n * 100 END
        FROM generate_series(1, {all}) AS n;
        INSERT INTO sluice_run SELECT 'run' || n, NULL, true, sluice_clock() - 100000 + n * 100
        FROM generate_series(1, {all}) AS n;
        INSERT INTO sluice_note SELECT 'note' || n, 'x', 0, 0 FROM generate_series(1, {all}) AS n;
        INSERT INTO sluice_kept SELECT 'i' || n, 'w' || n % 50, NULL, '{{}}', sluice_clock() - 100000 + n * 100
        FROM generate_series(1, {all}) AS n;
        VACUUM ANALYZE sluice_delivery, sluice_run, sluice_kept, sluice_note;"
    );
    // `VACUUM` is not part of a transaction, so each statement is sent by itself.
    for statement in fill.split(';').filter(|statement| !statement.trim().is_empty()) {
        sql.batch_execute(statement).await.unwrap();
    }
}

/// The plans of a statement that scan a table, with its arguments and for any.
async fn scans(sql: &Client, name: &str, text: &str, arguments: &str) -> Vec<String> {
    let mut scans = Vec::new();
    let arguments = if arguments.is_empty() { String::new() } else { format!("({arguments})") };
    sql.batch_execute(&format!("PREPARE explained AS {text}")).await.unwrap();
    for mode in ["force_custom_plan", "force_generic_plan"] {
        sql.batch_execute(&format!("SET plan_cache_mode = {mode}")).await.unwrap();
        let explain = format!("EXPLAIN EXECUTE explained{arguments}");
        let plan: Vec<_> = sql
            .simple_query(&explain)
            .await
            .expect(name)
            .iter()
            .filter_map(|message| match message {
                SimpleQueryMessage::Row(row) => row.get(0).map(ToOwned::to_owned),
                _ => None,
            })
            .collect();
        assert!(!plan.is_empty());
        // Those that run in each pass of a drain read no more rows than they take, either: the index has their order.
        let of_drain = ["take", "sweep", "sweep_keys", "sweep_runs", "sweep_kept"].contains(&name);
        let is_slow =
            |line: &String| line.contains("Seq Scan") || of_drain && (line.contains("Sort") || line.contains("Bitmap"));
        if plan.iter().any(is_slow) {
            scans.push(format!("{name}, {mode}:\n{}", plan.join("\n")));
        }
    }
    sql.batch_execute("DEALLOCATE explained").await.unwrap();
    scans
}
