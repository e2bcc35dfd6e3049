//! A database of a test, on the model or on a real server, and a session in it.

use serde_json::Value;
use sluice::ports::{SqlConnection, SqlError, SqlRow, SqlValue};
use sluice::store::postgres::{self, Statement};

use crate::tables::{FromValue, columns};
use crate::values;

/// The length of a lease in the tests, in ms of the test's clock.
pub const LEASE: i64 = 1_000;
/// How long a key is remembered.
pub const KEEP: i64 = 60_000;

/// The time at which the test's clock starts.
pub const START: i64 = 1_000_000;

/// Makes a law two tests: one on the model, and one on a real server.
#[macro_export]
macro_rules! law {
    ($name:ident: $law:ident($($argument:expr),*)) => {
        mod $name {
            #[tokio::test]
            async fn on_the_model() {
                super::$law(&$crate::model::Model::new() $(, $argument)*).await;
            }

            #[tokio::test(flavor = "multi_thread")]
            #[ignore = "needs PostgreSQL: SLUICE_TEST_POSTGRES"]
            async fn on_a_server() {
                let server = $crate::server::Server::new(stringify!($law)).await;
                super::$law(&server $(, $argument)*).await;
                server.drop().await;
            }
        }
    };
}

/// A database of one test, with the schema and a clock that only the test moves.
pub trait Database {
    type Connection: Connection;

    /// Opens a session, whose name is in [`Change::session`].
    async fn connect_as(&self, name: &str) -> Session<Self::Connection>;

    /// Opens a session.
    async fn connect(&self) -> Session<Self::Connection> {
        self.connect_as("").await
    }

    /// Opens several sessions, which are named `s0`, `s1` and so on.
    async fn connect_all(&self, count: usize) -> Vec<Session<Self::Connection>> {
        let mut sessions = Vec::new();
        for n in 0..count {
            sessions.push(self.connect_as(&format!("s{n}")).await);
        }
        sessions
    }
}

/// A connection, with what a test does besides the statements.
pub trait Connection: SqlConnection {
    /// Moves the test's clock.
    async fn advance(&self, ms: i64);
    /// All rows of `sluice_delivery`, in the order of their keys.
    async fn rows(&self) -> Vec<Value>;
    /// The number of rows of `sluice_delivery`.
    async fn count(&self) -> i64;
    /// Adds so many delivered rows that expire in `left` ms. Their keys begin with `prefix`.
    async fn remember(&self, prefix: &str, count: i64, left: i64);
    /// Writes down each change of `sluice_delivery` from now on.
    async fn audit(&self);
    /// The changes since [`Connection::audit`], those of a row in their order.
    async fn changes(&self) -> Vec<Change>;
}

/// A change of a row of `sluice_delivery`.
#[derive(Clone, Debug)]
pub struct Change {
    /// The session that made it.
    pub session: String,
    pub key: String,
    pub old_token: Option<String>,
    pub new_token: Option<String>,
    pub old_due: Option<i64>,
    pub at: i64,
    /// Whether only `accepted` has changed.
    pub is_promise: bool,
}

/// A session.
pub struct Session<C>(pub C);

/// A row of a statement's answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    columns: &'static [&'static str],
    values: SqlRow,
}

impl Row {
    /// The value of a column.
    #[track_caller]
    pub fn get<T: FromValue>(&self, column: &str) -> T {
        let position = self.columns.iter().position(|name| *name == column);
        let value = &self.values[position.unwrap_or_else(|| panic!("no {column} in {:?}", self.columns))];
        T::from_value(value).unwrap_or_else(|| panic!("{column} is {value:?}"))
    }
}

/// A delivery that is claimed.
#[derive(Clone, Debug)]
pub struct Contender<'a> {
    pub key: &'a str,
    pub id: &'a str,
    pub token: Option<&'a str>,
    pub digest: &'a str,
    pub reference: &'a str,
    pub topic: Option<&'a str>,
    pub queue: Option<&'a str>,
    pub delivery: &'a [u8],
    pub delay: i64,
    pub accepted: bool,
    pub early: Option<&'a str>,
}

impl<'a> Contender<'a> {
    /// A start that is about to be sent.
    pub fn start(key: &'a str, id: &'a str, token: &'a str) -> Self {
        Self {
            key,
            id,
            token: Some(token),
            digest: "",
            reference: "workflow",
            topic: None,
            queue: None,
            delivery: b"payload",
            delay: LEASE,
            accepted: false,
            early: None,
        }
    }

    /// A start that is only stored, and due at once.
    pub fn stored(key: &'a str, id: &'a str) -> Self {
        Self { token: None, delay: 0, accepted: true, ..Self::start(key, id, "") }
    }

    /// A callback of the run `run` for the topic `topic` that is about to be sent.
    pub fn callback(key: &'a str, id: &'a str, token: &'a str) -> Self {
        Self { reference: "run", topic: Some("topic"), ..Self::start(key, id, token) }
    }
}

/// The answer to a claim.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    pub standing: String,
    pub key: String,
    pub id: String,
    pub state: String,
    pub digest: String,
    pub accepted: bool,
    pub delivery: Option<Vec<u8>>,
    pub body: Option<Vec<u8>>,
}

impl Answer {
    fn new(row: &Row) -> Self {
        Self {
            standing: row.get("standing"),
            key: row.get("key"),
            id: row.get("id"),
            state: row.get("state"),
            digest: row.get("digest"),
            accepted: row.get("accepted"),
            delivery: row.get("delivery"),
            body: row.get("body"),
        }
    }

    /// The standing, the id and the state.
    pub fn short(&self) -> (&str, &str, &str) {
        (&self.standing, &self.id, &self.state)
    }
}

/// A delivery that a drain or an operator has taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Taken {
    pub key: String,
    pub id: String,
    pub delivery: Vec<u8>,
    pub maybe_sent: bool,
}

impl<C: Connection> Session<C> {
    /// Runs a statement.
    pub async fn run(&self, statement: Statement, parameters: Vec<SqlValue>) -> Result<Vec<Row>, SqlError> {
        let rows = self.0.query(statement.sql, &parameters).await?;
        Ok(rows.into_iter().map(|values| Row { columns: columns(statement), values }).collect())
    }

    /// Runs a statement that changes the delivery of a holder. Whether it did.
    pub async fn change(&self, statement: Statement, parameters: Vec<SqlValue>) -> bool {
        let rows = self.run(statement, parameters).await.unwrap();
        assert!(rows.len() <= 1);
        rows.len() == 1
    }

    /// Runs the claim once.
    pub async fn claim_once(&self, contender: &Contender<'_>) -> Result<Option<Answer>, SqlError> {
        let Contender { key, id, token, digest, reference, topic, queue, delivery, delay, accepted, early } = contender;
        let parameters = values![key, id, token, digest, reference, topic, queue, delivery, delay, accepted, early];
        let rows = self.run(postgres::CLAIM, parameters).await?;
        assert!(rows.len() <= 1, "{rows:?}");
        Ok(rows.first().map(Answer::new))
    }

    /// Claims, as often as another contender has changed the key meanwhile.
    pub async fn claim(&self, contender: &Contender<'_>) -> Answer {
        for _ in 0..100 {
            if let Some(answer) = self.claim_once(contender).await.unwrap() {
                return answer;
            }
        }
        panic!("no answer to {contender:?}")
    }

    /// Settles one delivery with this run as the engine's response. Whether it was settled.
    pub async fn settle(&self, key: &str, token: &str, keep: i64) -> bool {
        !self.settle_all(&[key.to_owned()], token, keep).await.is_empty()
    }

    /// Settles deliveries of one token. Returns the keys that were settled.
    pub async fn settle_all(&self, keys: &[String], token: &str, keep: i64) -> Vec<String> {
        let list: Vec<_> = keys
            .iter()
            .map(|key| serde_json::json!({"key": key, "token": token, "body": "{\"id\": \"\\u0000\"}", "keep": keep}))
            .collect();
        let list = serde_json::Value::from(list).to_string();
        let rows = self.run(postgres::SETTLE, values![list]).await.unwrap();
        rows.iter().map(|row| row.get("key")).collect()
    }

    /// Takes deliveries that are due.
    pub async fn take(&self, token: &str, limit: i64) -> Vec<Taken> {
        self.taken(postgres::TAKE, values![token, LEASE, limit, "[]"]).await
    }

    /// Takes the heads of queues.
    pub async fn take_heads(&self, token: &str, limit: i64) -> Vec<Taken> {
        self.taken(postgres::TAKE_HEADS, values![token, LEASE, limit]).await
    }

    /// Takes one delivery for an operator.
    pub async fn take_one(&self, id: &str, token: &str) -> Option<Taken> {
        self.taken(postgres::TAKE_ONE, values![id, token, LEASE]).await.pop()
    }

    async fn taken(&self, statement: Statement, parameters: Vec<SqlValue>) -> Vec<Taken> {
        let rows = self.run(statement, parameters).await.unwrap();
        let taken = |row: &Row| Taken {
            key: row.get("key"),
            id: row.get("id"),
            delivery: row.get("delivery"),
            maybe_sent: row.get("maybe_sent"),
        };
        rows.iter().map(taken).collect()
    }

    /// Moves the claim of a callback to a task. The standing, unless the token is late.
    pub async fn move_to(&self, key: &str, token: &str, task: &str, delivery: &[u8]) -> Result<Option<Row>, SqlError> {
        let mut rows = self.run(postgres::MOVE, values![key, token, task, delivery, LEASE]).await?;
        assert!(rows.len() <= 1, "{rows:?}");
        Ok(rows.pop())
    }

    /// Moves the test's clock.
    pub async fn advance(&self, ms: i64) {
        self.0.advance(ms).await;
    }

    /// All rows, by key.
    pub async fn all_rows(&self) -> Vec<Value> {
        self.0.rows().await
    }

    /// The row of a key.
    pub async fn row(&self, key: &str) -> Option<Value> {
        self.all_rows().await.into_iter().find(|row| row["key"] == key)
    }
}
