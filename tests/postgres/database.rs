//! A database for one test, and a session in it.

use std::collections::HashMap;

use sluice::store::postgres::{self, SCHEMA, Statement};
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Config, Error, NoTls, Row};

/// The length of a lease in the tests, in ms of the test's clock.
pub const LEASE: i64 = 1_000;
/// How long a key is remembered.
pub const KEEP: i64 = 60_000;

/// A clock that only the test moves. It starts at 1,000,000 ms.
const CLOCK: &str = "
    CREATE TABLE test_clock (ms int8 NOT NULL);
    INSERT INTO test_clock VALUES (1000000);
    CREATE OR REPLACE FUNCTION sluice_clock() RETURNS int8 LANGUAGE sql VOLATILE AS 'SELECT ms FROM test_clock';";

/// A change in the text of a statement, to see that a law notices it.
#[derive(Clone, Copy, Debug)]
pub struct Mutation {
    pub statement: Statement,
    pub from: &'static str,
    pub to: &'static str,
}

/// A database of one test.
#[derive(Clone, Debug)]
pub struct Database {
    config: Config,
    name: String,
    mutation: Option<Mutation>,
}

impl Database {
    /// Creates a database with the schema and the test's clock.
    pub async fn new(name: &str) -> Self {
        let database = Self::with_clock_of_server(name).await;
        database.connect().await.client.batch_execute(CLOCK).await.unwrap();
        database
    }

    /// Creates a database with the schema as it is.
    #[allow(clippy::disallowed_methods, reason = "the server is named by an environment variable")]
    pub async fn with_clock_of_server(name: &str) -> Self {
        let url = std::env::var("SLUICE_TEST_POSTGRES").expect("SLUICE_TEST_POSTGRES is the URL of a server");
        let config: Config = url.parse().unwrap();
        let name = format!("sluice_{name}_{}", std::process::id());
        let admin = connect(&config).await;
        admin.batch_execute(&format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)")).await.unwrap();
        admin.batch_execute(&format!("CREATE DATABASE {name} ENCODING 'UTF8' TEMPLATE template0")).await.unwrap();
        let database = Self { config: Config::clone(&config).dbname(&name).clone(), name, mutation: None };
        database.connect().await.client.batch_execute(SCHEMA).await.unwrap();
        database
    }

    /// Runs another text of a statement.
    pub fn mutated(self, mutation: Mutation) -> Self {
        assert!(mutation.statement.sql.contains(mutation.from), "{mutation:?}");
        Self { mutation: Some(mutation), ..self }
    }

    /// Opens a session.
    pub async fn connect(&self) -> Session {
        let client = connect(&self.config).await;
        let mut prepared = HashMap::new();
        // The schema may not be there yet.
        if client.query_one("SELECT to_regclass('sluice_run') IS NOT NULL", &[]).await.unwrap().get(0) {
            for statement in postgres::STATEMENTS {
                let mutation = self.mutation.filter(|mutation| mutation.statement == *statement);
                let sql = mutation.map_or_else(|| statement.sql.to_owned(), |m| m.statement.sql.replace(m.from, m.to));
                prepared.insert(statement.name, client.prepare(&sql).await.expect(statement.name));
            }
        }
        Session { client, prepared }
    }

    /// Opens several sessions.
    pub async fn connect_all(&self, count: usize) -> Vec<Session> {
        let mut sessions = Vec::new();
        for _ in 0..count {
            sessions.push(self.connect().await);
        }
        sessions
    }

    /// Drops the database.
    pub async fn drop(self) {
        connect(&self.config.clone().dbname("postgres").clone())
            .await
            .batch_execute(&format!("DROP DATABASE {} WITH (FORCE)", self.name))
            .await
            .unwrap();
    }
}

async fn connect(config: &Config) -> Client {
    let (client, connection) = config.connect(NoTls).await.unwrap();
    tokio::spawn(connection);
    client
}

/// A session.
pub struct Session {
    pub client: Client,
    pub prepared: HashMap<&'static str, tokio_postgres::Statement>,
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

impl Session {
    /// Runs a statement.
    pub async fn run(&self, statement: Statement, params: &[&(dyn ToSql + Sync)]) -> Result<Vec<Row>, Error> {
        self.client.query(&self.prepared[statement.name], params).await
    }

    /// Runs a statement that changes the delivery of a holder. Whether it did.
    pub async fn change(&self, statement: Statement, params: &[&(dyn ToSql + Sync)]) -> bool {
        let rows = self.run(statement, params).await.unwrap();
        assert!(rows.len() <= 1);
        rows.len() == 1
    }

    /// Runs the claim once.
    pub async fn claim_once(&self, contender: &Contender<'_>) -> Result<Option<Answer>, Error> {
        let Contender { key, id, token, digest, reference, topic, queue, delivery, delay, accepted, early } = contender;
        let params: [&(dyn ToSql + Sync); 11] =
            [key, id, token, digest, reference, topic, queue, delivery, delay, accepted, early];
        let rows = self.run(postgres::CLAIM, &params).await?;
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
        let rows = self.run(postgres::SETTLE, &[&list]).await.unwrap();
        rows.iter().map(|row| row.get("key")).collect()
    }

    /// Takes deliveries that are due.
    pub async fn take(&self, token: &str, limit: i64) -> Vec<Taken> {
        self.taken(postgres::TAKE, &[&token, &LEASE, &limit, &"[]"]).await
    }

    /// Takes the heads of queues.
    pub async fn take_heads(&self, token: &str, limit: i64) -> Vec<Taken> {
        self.taken(postgres::TAKE_HEADS, &[&token, &LEASE, &limit]).await
    }

    /// Takes one delivery for an operator.
    pub async fn take_one(&self, id: &str, token: &str) -> Option<Taken> {
        self.taken(postgres::TAKE_ONE, &[&id, &token, &LEASE]).await.pop()
    }

    async fn taken(&self, statement: Statement, params: &[&(dyn ToSql + Sync)]) -> Vec<Taken> {
        let rows = self.run(statement, params).await.unwrap();
        let taken = |row: &Row| Taken {
            key: row.get("key"),
            id: row.get("id"),
            delivery: row.get("delivery"),
            maybe_sent: row.get("maybe_sent"),
        };
        rows.iter().map(taken).collect()
    }

    /// Moves the test's clock.
    pub async fn advance(&self, ms: i64) {
        self.client.execute("UPDATE test_clock SET ms = ms + $1", &[&ms]).await.unwrap();
    }

    /// The whole row of a key, as text.
    pub async fn row(&self, key: &str) -> Option<String> {
        let sql = "SELECT to_jsonb(d)::text FROM sluice_delivery AS d WHERE d.key = $1";
        self.client.query_opt(sql, &[&key]).await.unwrap().map(|row| row.get(0))
    }

    /// All rows, as one text.
    pub async fn all_rows(&self) -> String {
        let sql = "SELECT coalesce(string_agg(to_jsonb(d)::text, E'\\n' ORDER BY d.key), '') FROM sluice_delivery AS d";
        self.client.query_one(sql, &[]).await.unwrap().get(0)
    }
}
