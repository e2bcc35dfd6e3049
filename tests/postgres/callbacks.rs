//! Callbacks: early by run and topic, then by task run.

use sluice::store::postgres::{CALLBACKS, DEAD_LETTER, MOVE, RESCHEDULE};

use crate::session::{Contender, Database, KEEP, LEASE};
use crate::{law, values};

const EARLY: &str = "run/topic/early";
const TASK: &str = "run/topic/task1";
const NEXT_TASK: &str = "run/topic/task2";

/// A callback whose look has named a task.
fn for_task<'a>(task: &'a str, id: &'a str, token: &'a str) -> Contender<'a> {
    Contender { early: Some(EARLY), ..Contender::callback(task, id, token) }
}

/// A callback that is stored because no task waits for it yet.
fn early(id: &str) -> Contender<'_> {
    Contender { token: None, accepted: true, delay: 100, ..Contender::callback(EARLY, id, "") }
}

law!(early_callback_comes_first_and_moves_to_its_task: early_first());

pub async fn early_first(database: &impl Database) {
    let sql = database.connect().await;
    assert_eq!(sql.claim(&early("i1")).await.short(), ("won", "i1", "pending"));
    // Another early one, and one that has seen a task: both come second.
    let second = sql.claim(&early("i2")).await;
    assert_eq!((second.short(), second.accepted), (("held", "i1", "pending"), true));
    assert_eq!(second.delivery.as_deref(), Some(&b"payload"[..]), "to tell the status of the first");
    assert_eq!(sql.claim(&for_task(TASK, "i2", "t2")).await.short(), ("held", "i1", "pending"));

    sql.advance(100).await;
    assert_eq!(sql.take("t1", 9).await.len(), 1);
    let moved = sql.run(MOVE, values![EARLY, "t1", TASK, b"task1", LEASE]).await.unwrap();
    assert_eq!(moved[0].get::<String>("standing"), "won");
    // Its task is claimed, and run and topic are free for the next round of a loop.
    assert_eq!(sql.claim(&for_task(TASK, "i2", "t2")).await.short(), ("held", "i1", "pending"));
    assert_eq!(sql.claim(&early("i3")).await.short(), ("won", "i3", "pending"));
    assert_eq!(sql.claim(&for_task(NEXT_TASK, "i4", "t4")).await.short(), ("held", "i3", "pending"));
    assert!(sql.settle(TASK, "t1", KEEP).await);
    let held = sql.claim(&for_task(TASK, "i2", "t2")).await;
    assert_eq!(held.short().0, "held");

    // Only the task's own callback moves there.
    sql.advance(100).await;
    assert_eq!(sql.take("t3", 9).await.len(), 1);
    let held = sql.run(MOVE, values![EARLY, "t3", TASK, b"task1", LEASE]).await.unwrap();
    assert_eq!((held[0].get::<String>("standing"), held[0].get::<String>("id")), ("held".into(), "i1".into()));
    let moved = sql.run(MOVE, values![EARLY, "t3", NEXT_TASK, b"task2", LEASE]).await.unwrap();
    assert_eq!(moved[0].get::<String>("standing"), "won");

    let list = async || {
        let rows = sql.run(CALLBACKS, values!["run", None::<String>, "", 9_i64]).await.unwrap();
        rows.iter().map(|row| (row.get("id"), row.get("state"), row.get("delivery"))).collect::<Vec<_>>()
    };
    let expected: [(String, String, Vec<u8>); 2] =
        [("i1".into(), "delivered".into(), b"task1".into()), ("i3".into(), "pending".into(), b"task2".into())];
    assert_eq!(list().await, expected, "the payload of a delivered callback stays");
    // A callback that fails is accepted again as if it were new.
    assert!(sql.change(DEAD_LETTER, values![NEXT_TASK, "t3", b"dead", None::<i64>, true]).await);
    assert_eq!(list().await, expected[..1]);
    assert_eq!(sql.claim(&for_task(NEXT_TASK, "i5", "t5")).await.short(), ("won", "i5", "pending"));
    assert_eq!(sql.take_one("i3", "t6").await, None, "another callback has its task");
}

law!(task_has_one_callback_when_a_move_and_a_claim_race: race());

async fn race(database: &impl Database) {
    let (mover, claimant) = (database.connect().await, database.connect().await);
    for round in 0..200 {
        let (early, task) = (format!("run{round}/topic/early"), format!("run{round}/topic/task"));
        let (id, other) = (format!("early{round}"), format!("new{round}"));
        assert_eq!(mover.claim(&Contender::callback(&early, &id, "m")).await.standing, "won");
        let moves = async {
            // An error leaves its effect unknown, so the statement is run again.
            let row = match mover.move_to(&early, "m", &task, b"").await {
                Ok(row) => row,
                Err(_) => mover.move_to(&early, "m", &task, b"").await.unwrap(),
            };
            row.unwrap().get::<String>("standing") == "won"
        };
        // It has not seen the early one.
        let contender = Contender::callback(&task, &other, "c");
        let claims = async { claimant.claim(&contender).await.standing == "won" };
        let (moved, claimed) = tokio::join!(moves, claims);
        assert!(moved ^ claimed, "round {round}: moved {moved}, claimed {claimed}");
    }
}

law!(callback_that_is_put_back_keeps_its_task: kept());

async fn kept(database: &impl Database) {
    let sql = database.connect().await;
    assert_eq!(sql.claim(&for_task(TASK, "i1", "t1")).await.short(), ("won", "i1", "pending"));
    assert!(sql.change(RESCHEDULE, values![TASK, "t1", b"sent", 100_i64, true]).await);
    assert_eq!(sql.claim(&for_task(TASK, "i2", "t2")).await.short(), ("held", "i1", "pending"));
    sql.advance(100).await;
    assert_eq!(sql.take("t3", 9).await.len(), 1);
    assert!(sql.settle(TASK, "t3", KEEP).await);
    assert_eq!(sql.claim(&for_task(TASK, "i2", "t2")).await.short(), ("held", "i1", "delivered"));
}
