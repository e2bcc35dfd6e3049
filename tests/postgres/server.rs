//! A database on a real server.

use std::collections::HashMap;

use serde_json::Value;
use sluice::ports::{SqlConnection, SqlError, SqlRow, SqlValue};
use sluice::store::postgres::{self, SCHEMA, Statement};
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, Config, Error, NoTls, Row};

use crate::session::{Change, Connection, Database, START, Session};
use crate::tables::columns;

/// Writes down each change: of which session, and what it did to the holder. Row locks put the changes of a row in
/// order.
const AUDIT: &str = "
    CREATE TABLE audit (
        n int8 GENERATED ALWAYS AS IDENTITY, session text, op text, key text,
        old_token text, new_token text, old_due int8, at int8, is_promise bool
    );
    CREATE FUNCTION audit() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        INSERT INTO audit (session, op, key, old_token, new_token, old_due, at, is_promise) VALUES (
            current_setting('application_name'), TG_OP,
            CASE WHEN TG_OP = 'DELETE' THEN OLD.key ELSE NEW.key END,
            CASE WHEN TG_OP <> 'INSERT' THEN OLD.token END,
            CASE WHEN TG_OP <> 'DELETE' THEN NEW.token END,
            CASE WHEN TG_OP <> 'INSERT' THEN OLD.due END,
            sluice_clock(),
            TG_OP = 'UPDATE' AND to_jsonb(OLD) - 'accepted' = to_jsonb(NEW) - 'accepted'
        );
        RETURN NULL;
    END $$;
    CREATE TRIGGER audit AFTER INSERT OR UPDATE OR DELETE ON sluice_delivery FOR EACH ROW EXECUTE FUNCTION audit();";

/// A change in the text of a statement, to see that a law notices it.
#[derive(Clone, Copy, Debug)]
pub struct Mutation {
    pub statement: Statement,
    pub from: &'static str,
    pub to: &'static str,
}

/// A database of one test on the server of `SLUICE_TEST_POSTGRES`.
#[derive(Clone, Debug)]
pub struct Server {
    config: Config,
    name: String,
    mutation: Option<Mutation>,
}

impl Server {
    /// Creates a database with the schema and the test's clock.
    pub async fn new(name: &str) -> Self {
        let clock = format!(
            "CREATE TABLE test_clock (ms int8 NOT NULL);
            INSERT INTO test_clock VALUES ({START});
            CREATE OR REPLACE FUNCTION sluice_clock() RETURNS int8 LANGUAGE sql VOLATILE AS 'SELECT ms FROM test_clock';"
        );
        let server = Self::with_clock_of_server(name).await;
        server.client().await.batch_execute(&clock).await.unwrap();
        server
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
        let server = Self { config: Config::clone(&config).dbname(&name).clone(), name, mutation: None };
        server.client().await.batch_execute(SCHEMA).await.unwrap();
        server
    }

    /// Runs another text of a statement.
    pub fn mutated(self, mutation: Mutation) -> Self {
        assert!(mutation.statement.sql.contains(mutation.from), "{mutation:?}");
        Self { mutation: Some(mutation), ..self }
    }

    /// A client, without the statements.
    pub async fn client(&self) -> Client {
        connect(&self.config).await
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

impl Database for Server {
    type Connection = ServerConnection;

    async fn connect_as(&self, name: &str) -> Session<ServerConnection> {
        let client = connect(self.config.clone().application_name(name)).await;
        let mut prepared = HashMap::new();
        for statement in postgres::STATEMENTS {
            let mutation = self.mutation.filter(|mutation| mutation.statement == *statement);
            let sql = mutation.map_or_else(|| statement.sql.to_owned(), |m| m.statement.sql.replace(m.from, m.to));
            let ready = client.prepare(&sql).await.expect(statement.name);
            let names: Vec<_> = ready.columns().iter().map(|column| column.name()).collect();
            assert_eq!(names, columns(*statement), "{}", statement.name);
            prepared.insert(statement.sql, ready);
        }
        Session(ServerConnection { client, prepared })
    }
}

/// A connection with all statements prepared.
pub struct ServerConnection {
    pub client: Client,
    /// By the text of a statement, without its mutation.
    pub prepared: HashMap<&'static str, tokio_postgres::Statement>,
}

impl ServerConnection {
    /// The statement with this text, and its parameters.
    fn bind(&self, text: &str, values: &[SqlValue]) -> (&tokio_postgres::Statement, Vec<Box<dyn ToSql + Sync>>) {
        let statement = &self.prepared[text];
        (statement, values.iter().zip(statement.params()).map(|(value, ty)| parameter(value, ty)).collect())
    }
}

impl SqlConnection for ServerConnection {
    async fn execute(&self, statement: &str, parameters: &[SqlValue]) -> Result<u64, SqlError> {
        let (statement, parameters) = self.bind(statement, parameters);
        let parameters: Vec<_> = parameters.iter().map(|parameter| &**parameter).collect();
        self.client.execute(statement, &parameters).await.map_err(|error| failed(&error))
    }

    async fn query(&self, statement: &str, parameters: &[SqlValue]) -> Result<Vec<SqlRow>, SqlError> {
        let (statement, parameters) = self.bind(statement, parameters);
        let parameters: Vec<_> = parameters.iter().map(|parameter| &**parameter).collect();
        let rows = self.client.query(statement, &parameters).await.map_err(|error| failed(&error))?;
        Ok(rows.iter().map(|row| (0..row.len()).map(|column| value(row, column)).collect()).collect())
    }
}

fn failed(error: &Error) -> SqlError {
    if error.as_db_error().is_some() { SqlError::Refused } else { SqlError::Broken }
}

fn value(row: &Row, column: usize) -> SqlValue {
    let value = match *row.columns()[column].type_() {
        Type::INT8 => row.get::<_, Option<_>>(column).map(SqlValue::Int),
        Type::TEXT => row.get::<_, Option<_>>(column).map(SqlValue::Text),
        Type::BYTEA => row.get::<_, Option<_>>(column).map(SqlValue::Bytes),
        Type::BOOL => row.get::<_, Option<_>>(column).map(SqlValue::Bool),
        ref other => panic!("a column of type {other}"),
    };
    value.unwrap_or(SqlValue::Null)
}

/// A parameter of this type.
fn parameter(value: &SqlValue, ty: &Type) -> Box<dyn ToSql + Sync> {
    match value {
        SqlValue::Int(int) => Box::new(*int),
        SqlValue::Text(text) => Box::new(text.clone()),
        SqlValue::Bytes(bytes) => Box::new(bytes.clone()),
        SqlValue::Bool(bool) => Box::new(*bool),
        SqlValue::Null => match *ty {
            Type::INT8 => Box::new(None::<i64>),
            Type::TEXT => Box::new(None::<String>),
            Type::BYTEA => Box::new(None::<Vec<u8>>),
            Type::BOOL => Box::new(None::<bool>),
            ref other => panic!("a parameter of type {other}"),
        },
    }
}

impl Connection for ServerConnection {
    async fn advance(&self, ms: i64) {
        self.client.execute("UPDATE test_clock SET ms = ms + $1", &[&ms]).await.unwrap();
    }

    async fn rows(&self) -> Vec<Value> {
        let sql = "SELECT to_jsonb(d)::text FROM sluice_delivery AS d ORDER BY d.key";
        let rows = self.client.query(sql, &[]).await.unwrap();
        rows.iter().map(|row| serde_json::from_str(row.get(0)).unwrap()).collect()
    }

    async fn count(&self) -> i64 {
        self.client.query_one("SELECT count(*) FROM sluice_delivery", &[]).await.unwrap().get(0)
    }

    async fn remember(&self, prefix: &str, count: i64, left: i64) {
        let fill = "
            INSERT INTO sluice_delivery
                (key, label, id, state, digest, reference, body, accepted, received, changed, expires)
            SELECT $1 || n, $1 || n, $1 || n, 'delivered', '', 'w', '\\x7b7d', true, 0, 0, sluice_clock() + $3
            FROM generate_series(1, $2::int8) AS n";
        self.client.execute(fill, &[&prefix, &count, &left]).await.unwrap();
    }

    async fn audit(&self) {
        self.client.batch_execute(AUDIT).await.unwrap();
    }

    async fn changes(&self) -> Vec<Change> {
        let rows = self.client.query("SELECT * FROM audit ORDER BY n", &[]).await.unwrap();
        let change = |row: &Row| Change {
            session: row.get("session"),
            key: row.get("key"),
            old_token: row.get("old_token"),
            new_token: row.get("new_token"),
            old_due: row.get("old_due"),
            at: row.get("at"),
            is_promise: row.get("is_promise"),
        };
        rows.iter().map(change).collect()
    }
}
