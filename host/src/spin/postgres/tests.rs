#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use super::*;

#[test]
fn open_connections_are_counted() {
    let postgres = Postgres::default();
    let logs = Logs::captured();
    let [first, second] = [(); 2].map(|()| Session::new(postgres.clone(), logs.clone()));
    let connections = [first.connection_to_nothing(), first.connection_to_nothing(), second.connection_to_nothing()];
    assert_eq!(postgres.counts(), Counts { open: 3, most_open: 3, ..Counts::default() });
    drop(connections);
    assert_eq!(postgres.counts(), Counts { most_open: 3, ..Counts::default() });
    let _open = second.connection_to_nothing();
    postgres.reset_counts();
    assert_eq!(postgres.counts(), Counts { open: 1, most_open: 1, ..Counts::default() });
}

#[test]
fn outbound_call_is_counted_only_while_its_instance_has_a_connection() {
    let postgres = Postgres::default();
    let logs = Logs::captured();
    let [first, second] = [(); 2].map(|()| Session::new(postgres.clone(), logs.clone()));
    let count = || postgres.counts().calls_while_open;
    let connection = first.connection_to_nothing();
    second.note_outbound_call();
    assert_eq!(count(), 0, "the connection is another instance's");
    first.note_outbound_call();
    assert_eq!((count(), logs.lines().len()), (1, 1));
    drop(connection);
    first.note_outbound_call();
    assert_eq!(count(), 1, "the connection was returned before the call");
}

#[tokio::test]
async fn statement_on_a_broken_connection_fails_and_is_counted() {
    let session = Session::default();
    let mut connection = session.connection_to_nothing();
    let failed = [connection.execute("SELECT 1", &[]).await.err(), connection.query("SELECT 1", &[]).await.err()];
    for error in failed {
        assert!(matches!(error, Some(Error::QueryFailed(text)) if text.contains("kind: Closed")));
    }
    assert_eq!(session.postgres.counts().statements, 2);
}

#[test]
#[should_panic(expected = "held over 1 outbound calls")]
fn guard_panics_after_a_call_over_an_open_connection() {
    let postgres = Postgres::default();
    let session = Session::new(postgres.clone(), Logs::captured());
    drop(CallGuard(postgres.clone()));
    let _open = session.connection_to_nothing();
    session.note_outbound_call();
    postgres.reset_counts();
    drop(CallGuard(postgres));
}
