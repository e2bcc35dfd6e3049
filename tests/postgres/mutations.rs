//! The laws notice when a rule is missing: each mutation of a statement breaks the law beside it.

use sluice::store::postgres::{
    CLAIM, DEAD_LETTER, DELETE, DOUBT, MOVE, PROMISE, RELEASE, RENEW, RESCHEDULE, SETTLE, SWEEP, Statement, TAKE,
    TAKE_HEADS, TAKE_ONE,
};
use tokio::runtime::Handle;

use crate::server::{Mutation, Server};
use crate::{callbacks, claims, drains, operator, races, sweeps};

/// A law that a mutation breaks.
#[derive(Clone, Copy, Debug)]
enum Law {
    OneWinner,
    TakeOver,
    Late,
    Duplicates,
    SideBySide,
    HeadsByDue,
    Queue,
    EarlyFirst,
    InFlight,
    Doubt,
    DeadKey,
    Races,
}

impl Law {
    async fn hold(self, database: &Server) {
        match self {
            Self::OneWinner => claims::one_winner(database, 50).await,
            Self::TakeOver => claims::take_over(database).await,
            Self::Late => claims::late(database).await,
            Self::Duplicates => claims::duplicates(database).await,
            Self::SideBySide => drains::side_by_side(database, 8_000, 0).await,
            Self::HeadsByDue => drains::heads_by_due(database).await,
            Self::Queue => drains::queue(database).await,
            Self::EarlyFirst => callbacks::early_first(database).await,
            Self::InFlight => operator::in_flight(database).await,
            Self::Doubt => operator::doubt(database).await,
            Self::DeadKey => sweeps::dead_key(database).await,
            Self::Races => races::pairs(database, 20).await,
        }
    }
}

/// A law, a statement, a part of its text, and the part instead of it.
const MUTATIONS: &[(Law, Statement, &str, &str)] = &[
    // A lease counts until its end.
    (Law::TakeOver, CLAIM, "due <= sluice_now()", "due > 0"),
    (Law::TakeOver, TAKE, "c.due <= sluice_now()", "c.due > 0"),
    (Law::Queue, TAKE_HEADS, "due <= sluice_now()", "due > 0"),
    (Law::InFlight, TAKE_ONE, "d.due <= sluice_now()", "d.due > 0"),
    (Law::InFlight, DELETE, "d.due <= sluice_now()", "d.due > 0"),
    // Of several contenders at once, one wins.
    (Law::OneWinner, CLAIM, "WHERE d.token = excluded.token", "WHERE true"),
    (Law::SideBySide, TAKE, "FOR UPDATE SKIP LOCKED", ""),
    // A delivery that is taken over may have been sent.
    (Law::TakeOver, CLAIM, "d.maybe_sent OR d.token <> excluded.token", "d.maybe_sent"),
    (Law::TakeOver, TAKE, "d.maybe_sent OR d.token IS NOT NULL", "d.maybe_sent"),
    (Law::Queue, TAKE_HEADS, "d.maybe_sent OR d.token IS NOT NULL", "d.maybe_sent"),
    (Law::InFlight, TAKE_ONE, "OR (d.token <> $2) IS TRUE", ""),
    (Law::TakeOver, RESCHEDULE, "maybe_sent AND NOT $5", "maybe_sent AND $5 IS NOT NULL"),
    // So is one that an operator has put in doubt, also if its holder didn't know.
    (Law::Doubt, RESCHEDULE, "maybe_sent AND NOT $5", "maybe_sent AND $5 IS NULL"),
    (Law::Doubt, DEAD_LETTER, "maybe_sent AND NOT $5", "maybe_sent AND $5 IS NULL"),
    (Law::Doubt, DOUBT, "greatest(d.due, sluice_clock() + $3::int8)", "d.due + 0 * $3::int8"),
    (Law::Doubt, DOUBT, "greatest(d.due, sluice_clock() + $3::int8)", "sluice_clock() + $3::int8"),
    // Only the same content is taken over, by somebody who sends it.
    (Law::TakeOver, CLAIM, "AND h.digest = $4", ""),
    (Law::TakeOver, CLAIM, "AND $3::text IS NOT NULL", ""),
    // Only the holder changes a row.
    (Law::Late, SETTLE, "AND d.token = e.token AND e.keep > 0", "AND e.keep > 0"),
    (Law::Late, SETTLE, "AND d.token = e.token AND e.keep = 0", "AND e.keep = 0"),
    (Law::Late, RESCHEDULE, "d.token = $2", "$2::text <> ''"),
    (Law::Late, RENEW, "d.token = $2", "$2::text <> ''"),
    (Law::Late, RELEASE, "d.token = $2", "$2::text <> ''"),
    (Law::Late, DEAD_LETTER, "d.token = $2", "$2::text <> ''"),
    (Law::Late, MOVE, "d.token = $2", "$2::text <> ''"),
    // A 2xx is a promise.
    (Law::Duplicates, RELEASE, "AND NOT d.accepted", ""),
    (Law::Duplicates, PROMISE, "d.id = $2", "$2::text <> ''"),
    // A key is remembered for its time, and forgotten then.
    (Law::Duplicates, CLAIM, "expires <= sluice_now()", "expires > 0"),
    (Law::Duplicates, CLAIM, "h.expires <= sluice_now()", "h.expires < 0"),
    (Law::Duplicates, CLAIM, "digest = excluded.digest,", "digest = d.digest,"),
    (Law::DeadKey, SWEEP, "AND c.state = 'delivered'", ""),
    // Of two at once, one has an effect.
    (Law::Races, RELEASE, "AND NOT d.accepted", ""),
    (Law::Races, TAKE_ONE, "d.due <= sluice_now()", "d.due > 0"),
    (Law::Races, DELETE, "d.due <= sluice_now()", "d.due > 0"),
    // Queues are sent by their heads.
    (Law::Queue, TAKE, "AND c.queue IS NULL", ""),
    (Law::Queue, TAKE_HEADS, "ORDER BY h.queue, h.seq", "ORDER BY h.queue, h.due"),
    (Law::Queue, TAKE_HEADS, "ORDER BY h.queue, h.seq", "ORDER BY h.queue, h.id"),
    (Law::HeadsByDue, TAKE_HEADS, "ORDER BY c.due", ""),
    (Law::Queue, TAKE_ONE, "d.state = 'dead' AND d.queue IS NOT NULL", "false"),
    // Of the callbacks of one run and topic, the early one comes first; a task has one.
    (Law::EarlyFirst, CLAIM, "h.state = 'pending' AND h.id <> $2", "false AND h.id <> $2"),
    (Law::EarlyFirst, MOVE, "AND NOT EXISTS (SELECT FROM held)", ""),
    (Law::EarlyFirst, SETTLE, "WHEN d.topic IS NOT NULL", "WHEN false"),
    (Law::EarlyFirst, DEAD_LETTER, "WHEN $4::int8 IS NULL THEN d.id", "WHEN $4::int8 IS NULL THEN d.key"),
];

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs PostgreSQL: SLUICE_TEST_POSTGRES"]
async fn each_mutation_of_a_statement_breaks_a_law() {
    let mut unnoticed = Vec::new();
    for (n, (law, statement, from, to)) in MUTATIONS.iter().enumerate() {
        let mutation = Mutation { statement: *statement, from, to };
        let database = Server::new(&format!("mutation{n}")).await.mutated(mutation);
        let (law, runtime, shared) = (*law, Handle::current(), database.clone());
        let held = std::thread::spawn(move || runtime.block_on(law.hold(&shared))).join();
        if held.is_ok() {
            unnoticed.push(format!("{law:?}: {} without {from:?}", statement.name));
        }
        database.drop().await;
    }
    assert!(unnoticed.is_empty(), "{unnoticed:#?}");
}
