//! The simulated PostgreSQL server, as tests of the gateway use it.

use std::time::Duration;

use http::Request;
use sluice::ports::{Clock, Http, Sql, SqlConnection, SqlError, SqlRow, SqlValue, Timeouts};
use sluice::secret::Secret;
use sluice::store::postgres::{CLAIM, READY, SETTLE, Statement, TAKE};

use crate::fake::{At, Connection, Fault, World};
use crate::values;

const LEASE: i64 = 1_000;

/// Runs a statement on a connection of its own.
async fn run(world: &World, statement: Statement, parameters: Vec<SqlValue>) -> Result<Vec<SqlRow>, SqlError> {
    connect(world).await?.query(statement.sql, &parameters).await
}

async fn connect(world: &World) -> Result<Connection, SqlError> {
    world.connect(&Secret::new("")).await
}

async fn claim(world: &World, key: &str) -> Result<Vec<SqlRow>, SqlError> {
    let nothing = None::<&str>;
    let parameters = values![key, key, "t", "", "w", nothing, nothing, b"payload", LEASE, false, nothing];
    run(world, CLAIM, parameters).await
}

async fn settle(world: &World, key: &str) -> Result<Vec<SqlRow>, SqlError> {
    let list = serde_json::json!([{ "key": key, "token": "t", "body": "{}", "keep": 60_000 }]);
    run(world, SETTLE, values![list.to_string()]).await
}

fn keys(world: &World) -> Vec<String> {
    world.database().tables().deliveries().iter().map(|row| row.key.clone()).collect()
}

#[test]
fn statement_that_breaks_has_its_effect_before_after_or_never() {
    let faults = [
        (Fault::BreakBefore, Err(SqlError::Broken), 0, 0),
        (Fault::BreakAfter, Err(SqlError::Broken), 1, 1),
        (Fault::BreakThenAct(500), Err(SqlError::Broken), 0, 1),
        (Fault::Full, Err(SqlError::Refused), 0, 0),
        (Fault::Contend, Ok(Vec::new()), 0, 0),
    ];
    for (fault, answer, at_once, later) in faults {
        let _row = crate::fake::row(format!("{fault:?}"));
        let world = World::key_value().with_database();
        world.database().fail(&[(At::Each("claim"), fault)]);
        assert_eq!(world.run(claim(&world, "k")), answer);
        assert_eq!(keys(&world).len(), at_once);
        world.advance(500);
        assert_eq!(keys(&world).len(), later);
        world.database().recover();
        assert_eq!(world.run(claim(&world, "k")).unwrap().len(), 1);
        assert_eq!(world.database().take_calls(), ["connect", "claim", "connect", "claim"]);
    }
}

#[test]
fn sender_that_repeats_what_failed_gets_there_from_each_fault() {
    for (at, fault) in At::each(4).flat_map(|at| [Fault::BreakBefore, Fault::BreakAfter].map(|fault| (at, fault))) {
        let _row = crate::fake::row(format!("{fault:?} {at:?}"));
        let world = World::key_value().with_database();
        world.database().fail(&[(at, fault)]);
        let first = world.run(async { claim(&world, "k").await.is_ok() && settle(&world, "k").await.is_ok() });
        assert!(!first);
        world.database().recover();
        world.run(async {
            claim(&world, "k").await.unwrap();
            settle(&world, "k").await.unwrap();
        });
        assert_eq!(world.database().tables().deliveries().get("k").unwrap().token, None, "it is settled");
    }
}

#[test]
fn server_that_refuses_connections_gets_no_statement() {
    let world = World::key_value().with_database();
    world.database().fail(&[(At::Once(1), Fault::BreakAfter), (At::From(2), Fault::Refuse(SqlError::Unreachable))]);
    assert_eq!(world.run(claim(&world, "k")), Err(SqlError::Broken));
    assert_eq!(world.run(settle(&world, "k")), Err(SqlError::Unreachable));
    assert_eq!(world.database().take_statements(), ["claim"]);
    assert_eq!(world.run(claim(&World::key_value(), "k")), Err(SqlError::Unreachable), "a world without a database");
}

#[test]
fn fail_over_loses_the_last_commits_and_breaks_connections() {
    let world = World::key_value().with_database();
    world.run(async {
        let old = connect(&world).await.unwrap();
        for key in ["a", "b", "c"] {
            claim(&world, key).await.unwrap();
        }
        settle(&world, "a").await.unwrap();
        world.database().lose_last(2);
        assert_eq!(keys(&world), ["a", "b"]);
        assert_eq!(settle(&world, "a").await.unwrap(), [values!["a"]], "it is under way again");
        assert_eq!(old.query(READY.sql, &[SqlValue::Bool(false)]).await, Err(SqlError::Broken));
        assert_eq!(run(&world, READY, values![false]).await.unwrap(), [values![true, None::<String>]]);
    });
}

#[test]
fn schema_is_missing_or_of_another_version() {
    let world = World::key_value().with_database();
    world.database().set_schema_version("2");
    let notes = sluice::store::postgres::NOTES;
    let read = world.run(run(&world, notes, values![r#"["schema"]"#])).unwrap();
    assert_eq!(read[0][..2], values!["schema", "2"]);
    world.database().has_schema.set(false);
    assert_eq!(world.run(run(&world, READY, values![false])).unwrap(), [values![false, None::<String>]]);
    assert_eq!(world.run(claim(&world, "k")), Err(SqlError::Refused));
}

#[test]
fn connect_waits_for_the_pool_and_leases_run_out_in_simulated_time() {
    let world = World::key_value().with_database();
    world.database().pool.set(2);
    world.database().lag.set(20);
    world.run(async {
        let claims = ["a", "b", "c", "d", "e"].map(|key| claim(&world, key));
        assert!(futures_util::future::join_all(claims).await.iter().all(Result::is_ok));
    });
    assert_eq!((world.database().most_open(), world.database().idle()), (2, 0));
    let take = || world.run(run(&world, TAKE, values!["drain", LEASE, 9_i64, "[]"])).unwrap();
    world.advance(LEASE.unsigned_abs());
    assert_eq!(take().len(), 5);
    assert_eq!(take().len(), 0);
    world.database().ahead.set(LEASE);
    assert_eq!(take().len(), 5, "the server's clock counts");
}

#[test]
#[should_panic(expected = "held over a call to the engine")]
fn connection_that_is_held_over_a_call_to_the_engine_fails_the_test() {
    let world = World::key_value().with_database().healthy();
    world.run(async {
        let _held = connect(&world).await.unwrap();
        let timeouts = Timeouts { connect: Duration::from_secs(1), total: Duration::from_secs(1) };
        let look = Request::get("/api/v1/workflowrun/r").body(Vec::new()).unwrap();
        drop(Http::send(&world, look, timeouts).await);
    });
}

#[test]
#[should_panic(expected = "held over a timer")]
fn connection_that_is_held_over_a_timer_fails_the_test() {
    let world = World::key_value().with_database();
    world.run(async {
        let _held = connect(&world).await.unwrap();
        Clock::sleep(&world, Duration::from_millis(1)).await;
    });
}
