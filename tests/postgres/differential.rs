//! Random statements on the model and on a real server: the same answers, and the same rows.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestCaseError, TestRunner};
use serde_json::Value;
use sluice::ports::{SqlConnection, SqlError, SqlValue};
use sluice::store::postgres::{self, STATEMENTS, Statement};

use crate::server::{Server, ServerConnection};
use crate::session::{Connection, Database, START};
use crate::tables::{Delivery, Kept, Note, Run, State, Tables, columns};
use crate::values;

/// Statements whose rows have an order. The others are compared as sets.
const ORDERED: [Statement; 6] =
    [postgres::KEPT, postgres::LIST, postgres::SEARCH, postgres::CALLBACKS, postgres::REMEMBERED, postgres::RUNS];

/// A statement, and what its parameters are picked by.
#[derive(Clone)]
struct Step {
    statement: Statement,
    picks: [u8; 12],
    /// Milliseconds that pass before it.
    passes: i64,
}

impl fmt::Debug for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {:?} after {}", self.statement.name, self.picks, self.passes)
    }
}

fn step() -> impl Strategy<Value = Step> {
    let often = [postgres::CLAIM, postgres::CLAIM, postgres::CLAIM, postgres::TAKE, postgres::TAKE_HEADS];
    // The model has no disk that `PROBE` could find full.
    let statements: Vec<_> =
        STATEMENTS.iter().chain(&often).copied().filter(|statement| *statement != postgres::PROBE).collect();
    let passes = prop_oneof![3 => Just(0_i64), 2 => 1..20_i64];
    (prop::sample::select(statements), any::<[u8; 12]>(), passes).prop_map(|(statement, picks, passes)| Step {
        statement,
        picks,
        passes,
    })
}

/// Picks the parameters of a statement from a few values each.
struct Pick<'a> {
    picks: [u8; 12],
    next: usize,
    tables: &'a Tables,
}

impl Pick<'_> {
    fn of<T: Clone>(&mut self, from: &[T]) -> T {
        self.next += 1;
        from[usize::from(self.picks[self.next - 1]) % from.len()].clone()
    }

    fn key(&mut self) -> &'static str {
        self.of(&["k1", "k1", "k2", "k3", "i1", "i2"])
    }

    fn id(&mut self) -> &'static str {
        self.of(&["i1", "i2", "i3", "i4"])
    }

    fn token(&mut self) -> &'static str {
        self.of(&["t1", "t1", "t2"])
    }

    fn ms(&mut self) -> i64 {
        self.of(&[0, 5, 10, 30])
    }

    fn limit(&mut self) -> i64 {
        self.of(&[9, 9, 2, 1, 0, -1])
    }

    /// A key and a token: those of a row that is under way, or any.
    fn hold(&mut self) -> (String, String) {
        let held = self.tables.deliveries().iter().filter_map(|row| Some((row.key.clone(), row.token.clone()?)));
        let held: Vec<_> = held.collect();
        match self.of(&[true, true, true, false]) && !held.is_empty() {
            true => self.of(&held),
            false => (self.key().to_owned(), self.token().to_owned()),
        }
    }

    /// An id that no delivery of another key has.
    fn id_for(&mut self, key: &str, fresh: usize) -> String {
        let id = if key.starts_with('i') { key } else { self.id() };
        let is_taken = self.tables.deliveries().iter().any(|row| row.id == id && row.key != key);
        if is_taken { format!("j{fresh:03}") } else { id.to_owned() }
    }

    fn parameters(&mut self, statement: Statement, nth: usize) -> Vec<SqlValue> {
        match statement {
            postgres::CLAIM => {
                let key = self.key();
                let topic = self.of(&[None, None, Some("Topic")]);
                let accepted = self.of(&[false, true]);
                values![
                    key,
                    self.id_for(key, nth),
                    self.of(&[Some("t1"), Some("t1"), Some("t2"), None]),
                    self.of(&["d1", "d1", "d1", "d2"]),
                    topic.map_or_else(|| self.of(&["W", "w2"]), |_| "run"),
                    topic,
                    self.of(&[None, None, Some("q1"), Some("q2")]),
                    format!("payload {nth}").into_bytes(),
                    self.ms(),
                    accepted,
                    self.of(&[None, None, Some("k1"), Some("k2")])
                ]
            }
            postgres::MOVE => {
                let (key, token) = self.hold();
                values![key, token, self.of(&["k1", "k2", "k3", "k4"]), b"moved", self.ms()]
            }
            postgres::PROMISE => {
                let key = self.key();
                let id = self.tables.deliveries().iter().find(|row| row.key == key).map(|row| row.id.clone());
                values![key, id.filter(|_| self.of(&[true, true, false])).unwrap_or_else(|| self.id().to_owned())]
            }
            postgres::RELEASE => {
                let (key, token) = self.hold();
                values![key, token]
            }
            postgres::SETTLE => {
                let end = |(key, token): (String, String), body: &str, keep: i64| {
                    (key.clone(), serde_json::json!({ "key": key, "token": token, "body": body, "keep": keep }))
                };
                let ends = [
                    end(self.hold(), self.of(&["{\"é\": 1}", "\u{0}", "{}", ""]), self.ms()),
                    end(self.hold(), "two", self.ms()),
                ];
                // One end for each key.
                let ends: BTreeMap<_, _> = ends.into_iter().collect();
                values![Value::from_iter(ends.into_values()).to_string()]
            }
            postgres::RESCHEDULE => {
                let (key, token) = self.hold();
                values![key, token, b"later", self.ms(), self.of(&[true, false])]
            }
            postgres::RENEW => {
                let (key, token) = self.hold();
                values![key, token, self.of(&[None, Some(b"renewed")]), self.ms()]
            }
            postgres::DEAD_LETTER => {
                let (key, token) = self.hold();
                values![key, token, b"dead", self.of(&[None, Some(0_i64), Some(10)]), self.of(&[true, false])]
            }
            postgres::TAKE => {
                let without = self.of(&["[]", "[]", r#"["W", "x"]"#, "no list"]);
                values![self.token(), self.ms(), self.limit(), without]
            }
            postgres::TAKE_HEADS => values![self.token(), self.ms(), self.limit()],
            postgres::TAKE_ONE => values![self.id(), self.token(), self.ms()],
            postgres::DELETE | postgres::SHOW => values![self.id()],
            postgres::LIST => {
                values![self.of(&["pending", "dead", "delivered"]), self.of(&["", "i2"]), self.limit()]
            }
            postgres::SEARCH => {
                let state = self.of(&["pending", "dead"]);
                values![
                    state,
                    self.of(&["", "i1"]),
                    self.of(&["w", "topic", "", "x"]),
                    self.limit(),
                    self.limit(),
                    self.of(&["~", "i3"]),
                    self.of(&[None, None, Some("W"), Some("")])
                ]
            }
            postgres::FIND => values![self.of(&[r#"["k1", "k2", "none"]"#, r#"["i1"]"#, "[]", r#"["\u0000"]"#])],
            postgres::CALLBACKS => {
                let (run, topic) = (self.of(&["run", "run", "W"]), self.of(&[None, None, Some("topic")]));
                values![run, topic, self.of(&["", "", "i1"]), self.limit()]
            }
            postgres::DOUBT => values![self.of(&["", "i1"]), self.limit(), self.ms()],
            postgres::COUNTS | postgres::SWEEP | postgres::SWEEP_KEYS | postgres::SWEEP_RUNS | postgres::SWEEP_KEPT => {
                values![self.limit()]
            }
            postgres::RECORD_RUN => {
                values![self.of(&["r1", "r2"]), self.of(&[None, Some("team")]), self.of(&[true, false]), self.ms()]
            }
            postgres::RUN => values![self.of(&["r1", "r2"])],
            postgres::WRITE_NOTE => {
                let name = self.of(&["n1", "n2", "source:a", "source:b", "source", "source;"]);
                values![name, self.of(&["v1", "v2", "\u{0}"])]
            }
            postgres::CLEAR_NOTE => values![self.of(&["n1", "n2", "source:a"])],
            postgres::SOURCE_NOTES => values![self.limit()],
            postgres::SWEEP_NOTES => values![self.limit(), self.ms()],
            postgres::NOTES => values![self.of(&[r#"["n1", "n2", "schema"]"#, r#"{"n1": 1}"#])],
            postgres::KEEP => {
                let row = |id: &str| serde_json::json!({ "id": id, "reference": "w", "source": null, "delivery": nth });
                let rows = [row(self.id()), row(self.id())];
                let rows = Value::from_iter(rows).to_string();
                let rows = rows.replace(&format!("\"delivery\":{nth}"), &format!("\"delivery\":\"{nth}\""));
                values![self.of(&[rows.clone(), rows, r#"{"id": 1}"#.to_owned()]), self.ms()]
            }
            postgres::KEPT => values![self.of(&["", "i1"]), self.of(&["~", "i3"]), self.limit()],
            postgres::SHOW_KEPT => values![self.id()],
            postgres::REPLACE_NOTE => {
                values![self.of(&["n1", "n2"]), self.of(&["v1", "v2", "v3"]), self.of(&[None, Some("v1"), Some("v2")])]
            }
            postgres::READY => values![self.of(&[true, false])],
            postgres::IMPORT => self.import(nth),
            postgres::REMEMBERED => values![self.of(&["", "k1"]), self.limit()],
            postgres::RUNS => values![self.of(&["", "r1"]), self.limit()],
            Statement { name, .. } => panic!("no parameters for {name}"),
        }
    }

    /// A delivery that is there already, or another one.
    fn import(&mut self, nth: usize) -> Vec<SqlValue> {
        let key = self.key();
        let stored = self.tables.deliveries().iter().filter(|row| row.state != State::Delivered);
        let stored: Vec<_> = stored.map(|row| row.id.clone()).collect();
        let is_there = !stored.is_empty() && self.of(&[true, false, false]);
        let id = if is_there { self.of(&stored) } else { self.id_for(key, nth) };
        let state = self.of(&[State::Pending, State::Dead, State::Delivered]);
        let (is_pending, is_delivered) = (state == State::Pending, state == State::Delivered);
        let topic = self.of(&[None, None, Some("Topic")]);
        let queue = self.of(&[None, Some("q1")]).filter(|_| !is_delivered);
        let delivery = Some(b"imported").filter(|_| !is_delivered || topic.is_some());
        let expires = START + self.ms();
        values![
            key,
            key,
            id,
            state.name(),
            self.of(&["d1", "d1", "d2"]),
            topic.map_or("W", |_| "run"),
            topic,
            delivery,
            Some(b"{}").filter(|_| is_delivered),
            is_pending.then(|| self.ms()),
            START - 2,
            START - 1,
            (is_delivered || (state == State::Dead && self.of(&[true, false]))).then_some(expires),
            queue,
            queue.map(|_| i64::MIN + i64::from(self.of(&[1_u8, 2])))
        ]
    }
}

/// All rows of the server: deliveries, runs, kept payloads, notes.
async fn dump(sql: &ServerConnection) -> Vec<Value> {
    const ALL: &str = "
        SELECT to_jsonb(d)::text FROM (SELECT * FROM sluice_delivery ORDER BY key) AS d
        UNION ALL SELECT to_jsonb(r)::text FROM (SELECT * FROM sluice_run ORDER BY run) AS r
        UNION ALL SELECT to_jsonb(k)::text FROM (SELECT * FROM sluice_kept ORDER BY id) AS k
        UNION ALL SELECT to_jsonb(n)::text FROM (SELECT * FROM sluice_note ORDER BY name) AS n";
    let rows = sql.client.query(ALL, &[]).await.unwrap();
    rows.iter().map(|row| serde_json::from_str(row.get(0)).unwrap()).collect()
}

/// All rows of the model.
fn dump_of(tables: &Tables) -> Vec<Value> {
    let deliveries = tables.deliveries().iter().map(Delivery::to_json);
    deliveries
        .chain(tables.runs().map(Run::to_json))
        .chain(tables.kept().map(Kept::to_json))
        .chain(tables.notes().map(Note::to_json))
        .collect()
}

/// The keys of deliveries, runs and kept payloads that have changed or gone.
fn changed(before: &[Value], after: &[Value]) -> BTreeSet<String> {
    let gone = before.iter().filter(|row| !after.contains(row));
    gone.filter_map(|row| row.get("key").or(row.get("run")).or(row.get("id"))?.as_str().map(str::to_owned)).collect()
}

/// An answer that doesn't depend on an order which is open.
fn normal(statement: Statement, mut answer: Result<Vec<Vec<SqlValue>>, SqlError>) -> String {
    if let Ok(rows) = &mut answer
        && !ORDERED.contains(&statement)
    {
        rows.sort_by_cached_key(|row| format!("{row:?}"));
    }
    format!("{answer:?}")
}

/// Runs the steps on both.
async fn compare(
    sql: &ServerConnection,
    steps: &[Step],
    seen: &RefCell<BTreeSet<String>>,
) -> Result<(), TestCaseError> {
    let reset = format!(
        "DELETE FROM sluice_delivery; DELETE FROM sluice_run; DELETE FROM sluice_note; DELETE FROM sluice_kept;
        UPDATE test_clock SET ms = {START}; SELECT setval('sluice_seq', 1, false);
        INSERT INTO sluice_note VALUES ('schema', '{}', {START}, {START})",
        postgres::SCHEMA_VERSION
    );
    sql.client.batch_execute(&reset).await.unwrap();
    let (mut tables, mut now) = (Tables::new(START), START);
    let mut rows = dump(sql).await;
    let mut history = Vec::new();
    for (nth, Step { statement, picks, passes }) in steps.iter().enumerate() {
        if *passes > 0 {
            sql.advance(*passes).await;
            now += passes;
        }
        let parameters = Pick { picks: *picks, next: 0, tables: &tables }.parameters(*statement, nth);
        history.push(format!("{} at {}: {parameters:?}", statement.name, now - START));
        let answer = sql.query(statement.sql, &parameters).await;
        let after = dump(sql).await;
        tables.prefer(changed(&rows, &after));
        let expected = tables.run(statement.sql, &parameters, now).map(|outcome| outcome.rows);
        let what = match &answer {
            Ok(answer) => {
                let standing = columns(*statement).first() == Some(&"standing");
                let first = answer.first().filter(|_| standing).map(|row| format!("{:?}", row[0]));
                let effect = if rows == after { "reads" } else { "writes" };
                format!("{} {} {effect}", statement.name, first.unwrap_or_default())
            }
            Err(error) => format!("{} {error:?}", statement.name),
        };
        seen.borrow_mut().insert(what);
        if let (Ok(_), Err(refused)) = (&answer, &expected)
            && refused.is_of_parameter()
            && rows == after
        {
            // The server evaluates a subquery only when its plan needs it: without a row, no parameter is invalid.
            continue;
        }
        let expected = normal(*statement, expected.map_err(|_| SqlError::Refused));
        prop_assert_eq!(normal(*statement, answer), expected, "left: server; {:#?}", history);
        prop_assert_eq!(&after, &dump_of(&tables), "left: server; {:#?}", history);
        rows = after;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs PostgreSQL: SLUICE_TEST_POSTGRES"]
async fn model_agrees_with_a_real_server() {
    let server = Server::new("differential").await;
    let session = server.connect().await;
    session.0.client.batch_execute("SET synchronous_commit = off").await.unwrap();
    let seen = RefCell::new(BTreeSet::new());
    let mut runner = TestRunner::new(Config { source_file: Some(file!()), ..Config::with_cases(250) });
    let runtime = tokio::runtime::Handle::current();
    let result = tokio::task::block_in_place(|| {
        runner.run(&prop::collection::vec(step(), 1..60), |steps| runtime.block_on(compare(&session.0, &steps, &seen)))
    });
    result.unwrap_or_else(|error| panic!("{error}"));
    // The statements have met the states that matter.
    let seen = seen.into_inner();
    for what in SEEN {
        assert!(seen.contains(*what), "not seen: {what}, among {seen:#?}");
    }
    server.drop().await;
}

/// What the random statements do at least once.
const SEEN: &[&str] = &[
    "claim Text(\"won\") writes",
    "claim Text(\"won\") reads",
    "claim Text(\"taken\") writes",
    "claim Text(\"held\") reads",
    "move Text(\"won\") writes",
    "move Text(\"held\") reads",
    "promise  writes",
    "release  writes",
    "settle  writes",
    "settle Refused",
    "reschedule  writes",
    "renew  writes",
    "dead_letter  writes",
    "take  writes",
    "take Refused",
    "take_heads  writes",
    "take_one  writes",
    "delete  writes",
    "doubt  writes",
    "sweep  writes",
    "sweep_keys  writes",
    "sweep_runs  writes",
    "record_run  writes",
    "write_note  writes",
    "write_note Refused",
    "clear_note  writes",
    "notes Refused",
    "source_notes  reads",
    "sweep_notes  writes",
    "keep  writes",
    "keep  reads",
    "keep Refused",
    "kept  reads",
    "show_kept  reads",
    "sweep_kept  writes",
    "replace_note  writes",
    "replace_note  reads",
    "import Text(\"new\") writes",
    "import Text(\"there\") reads",
    "import Text(\"held\") reads",
    "remembered  reads",
    "runs  reads",
    "find Refused",
    "list Refused",
];
