//! Pairs of statements that meet at one row.

use sluice::store::postgres::{DELETE, PROMISE, RELEASE};

use crate::session::{Connection, Contender, Database, LEASE, Session};
use crate::{law, values};

law!(of_two_statements_at_one_row_one_has_an_effect: pairs(200));

/// In each round, two sessions run statements on one row of which only one can have an effect.
pub async fn pairs(database: &impl Database, rounds: usize) {
    let (a, b) = (database.connect().await, database.connect().await);
    for round in 0..rounds {
        let id = |pair: &str| format!("{pair}{round}");

        // A row for which somebody has a 2xx is not deleted.
        let key = under_way(&a, &id("promise")).await;
        let released = async { a.change(RELEASE, values![key, "old"]).await };
        one(&id("release, promise"), released, async { b.change(PROMISE, values![key, key]).await }).await;
        b.settle(&key, "old", 0).await;

        // A lease has ended: either its holder is late, or it has settled the delivery.
        let key = ran_out(&a, &id("late")).await;
        let settled = async { a.settle(&key, "old", 0).await };
        one(&id("settle, take"), settled, async { !b.take("new", 1).await.is_empty() }).await;
        b.settle(&key, "new", 0).await;

        let key = ran_out(&a, &id("claim")).await;
        let contender = Contender::start(&key, "other", "claim");
        let claimed = async { a.claim(&contender).await.standing == "taken" };
        one(&id("claim, take"), claimed, async { !b.take("new", 1).await.is_empty() }).await;
        b.settle(&key, "new", 0).await;
        a.settle(&key, "claim", 0).await;

        let key = ran_out(&a, &id("operator")).await;
        let taken = async { a.take_one(&key, "operator").await.is_some() };
        one(&id("take_one, take"), taken, async { !b.take("new", 1).await.is_empty() }).await;
        b.settle(&key, "new", 0).await;
        a.settle(&key, "operator", 0).await;

        let key = ran_out(&a, &id("delete")).await;
        let deleted = async { a.change(DELETE, values![key]).await };
        one(&id("delete, take"), deleted, async { !b.take("new", 1).await.is_empty() }).await;
        b.settle(&key, "new", 0).await;

        // Two callbacks whose looks have named the same task.
        let task = id("task");
        let keys = [id("early"), id("also early")];
        for (key, token) in keys.iter().zip(["old", "new"]) {
            a.claim(&Contender::callback(key, key, token)).await;
        }
        let moved = async { moves(&a, &keys[0], "old", &task).await };
        one(&id("move, move"), moved, async { moves(&b, &keys[1], "new", &task).await }).await;
        for (key, token) in [&task, &keys[0], &keys[1]].iter().flat_map(|key| [(*key, "old"), (*key, "new")]) {
            a.settle(key, token, 0).await;
        }
        assert_eq!(a.0.count().await, 0);
    }
}

/// Whether exactly one of two statements has an effect.
async fn one(what: &str, first: impl Future<Output = bool>, second: impl Future<Output = bool>) {
    let (first, second) = tokio::join!(first, second);
    assert!(first ^ second, "{what}: {first}, {second}");
}

/// A delivery that is held by the token `old`. Its key is its id.
async fn under_way(session: &Session<impl Connection>, id: &str) -> String {
    assert_eq!(session.claim(&Contender::start(id, id, "old")).await.standing, "won");
    id.to_owned()
}

/// A delivery whose lease has run out. Its holder, the token `old`, doesn't know.
async fn ran_out(session: &Session<impl Connection>, id: &str) -> String {
    let key = under_way(session, id).await;
    session.advance(LEASE).await;
    key
}

/// Whether the claim of a callback is that of the task afterwards. An error leaves the effect unknown, so the statement
/// is run again.
async fn moves(session: &Session<impl Connection>, key: &str, token: &str, task: &str) -> bool {
    let row = match session.move_to(key, token, task, b"").await {
        Ok(row) => row,
        Err(_) => session.move_to(key, token, task, b"").await.unwrap(),
    };
    row.unwrap().get::<String>("standing") == "won"
}

law!(one_of_eight_takes_over_a_lease_that_ran_out: take_over(200));

/// In each round, eight sessions claim a key whose lease has run out.
async fn take_over(database: &impl Database, rounds: usize) {
    let sessions = database.connect_all(8).await;
    for round in 0..rounds {
        let key = ran_out(&sessions[0], &format!("k{round}")).await;
        let claim = async |(n, session): (usize, &Session<_>)| {
            session.claim(&Contender::start(&key, &format!("i{n}"), &format!("t{n}"))).await.standing
        };
        let standings = futures_util::future::join_all(sessions.iter().enumerate().map(claim)).await;
        let count = |standing: &str| standings.iter().filter(|one| *one == standing).count();
        assert_eq!((count("taken"), count("held")), (1, 7), "round {round}");
    }
}

law!(one_of_eight_drains_takes_the_head_of_a_queue: heads(200));

/// In each round, eight drains take the head of a queue with three deliveries.
async fn heads(database: &impl Database, rounds: usize) {
    let sessions = database.connect_all(8).await;
    for round in 0..rounds {
        let ids = [0, 1, 2].map(|n| format!("{round}.{n}"));
        for id in &ids {
            sessions[0].claim(&Contender { queue: Some("q"), ..Contender::stored(id, id) }).await;
        }
        // A drain that is slow may take the next one after it is free.
        let token = |n: usize| format!("t{n}");
        for head in &ids {
            let take = async |(n, session): (usize, &Session<_>)| session.take_heads(&token(n), 9).await;
            let taken = futures_util::future::join_all(sessions.iter().enumerate().map(take)).await;
            let holders: Vec<_> = (0..8).filter(|n| !taken[*n].is_empty()).collect();
            assert_eq!(holders.len(), 1, "round {round}: {taken:?}");
            assert_eq!(taken[holders[0]].iter().map(|taken| &taken.id).collect::<Vec<_>>(), [head]);
            assert!(sessions[0].settle(head, &token(holders[0]), 0).await);
        }
    }
}
