//! A PostgreSQL server in simulated time: connections to the model of the tables, and faults on request.

use std::cell::{Cell, Ref, RefCell};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::rc::Rc;
use std::task::{Poll, Waker};
use std::time::Duration;

use sluice::ports::{Sql, SqlConnection, SqlError, SqlRow, SqlValue};
use sluice::secret::Secret;
use sluice::store::postgres::{CLAIM, DOUBT, READY, Statement, WRITE_NOTE, lease_length};

use super::plan::{Operation, Plan};
use super::{FakeClock, RealEngine, World, draw};
use crate::tables::{Delivery as Row, Outcome, Tables, Write, statement};
use crate::values;

/// The connections that Spin opens for all instances of a host.
const POOL: usize = 64;

/// The settings that `/readyz` reads: PostgreSQL 15.0 with a database in UTF-8.
const SETTINGS: &str = "server_version_num";

/// A server with one database, and its clients' pool. Build it by [`World::with_database`].
pub struct Database {
    tables: RefCell<Tables>,
    clock: Rc<FakeClock>,
    plan: Rc<Plan>,
    /// The model of the engine, if the world has one.
    pub real: RefCell<Option<Rc<RealEngine>>>,
    /// The calls since the last [`Database::fail`] or [`Database::take_calls`]: `connect`, or a statement's name.
    calls: RefCell<Vec<&'static str>>,
    faults: RefCell<Vec<(At, Fault)>>,
    /// Statements that will have their effect after their connection broke: when, the text and its parameters.
    late: RefCell<Vec<(u64, String, Vec<SqlValue>)>>,
    /// Whether the schema exists.
    pub has_schema: Cell<bool>,
    /// The most milliseconds that a connect takes, a statement until its effect, and again until its answer. Each is
    /// drawn from zero on by a fixed seed.
    pub lag: Cell<u64>,
    /// How far the server's clock is ahead of the gateway's, in milliseconds.
    pub ahead: Cell<i64>,
    /// The number of connections that can be open at a time. A connect waits for one.
    pub pool: Cell<usize>,
    open: Cell<usize>,
    /// The connections that run a statement.
    busy: Cell<usize>,
    most_open: Cell<usize>,
    waiting: RefCell<VecDeque<Waker>>,
    /// The number of fail-overs. A connection to an earlier server is broken.
    pub fail_overs: Cell<usize>,
    /// The references of the deliveries that were claimed or stored by a commit that a fail-over has lost.
    pub lost: RefCell<BTreeSet<String>>,
    chance: Cell<u64>,
}

/// What goes wrong with a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The server takes no connection. Only a connect fails.
    Refuse(SqlError),
    /// The connection breaks before the statement has an effect. A connect fails.
    BreakBefore,
    /// The connection breaks after the statement had its effect. A connect fails.
    BreakAfter,
    /// The connection breaks, and the statement has its effect so many milliseconds later. A connect fails.
    BreakThenAct(u64),
    /// The statement reaches the server so many milliseconds later. A connect takes as long.
    Late(u64),
    /// The statement's answer comes so many milliseconds later. A connect takes as long.
    LateAnswer(u64),
    /// A table or the disk is full. A statement that writes is refused, and changes nothing.
    Full,
    /// The server fails over before the statement reaches it.
    FailOver(FailOver),
    /// The server fails over right after the statement had its effect. A connect is made to the new server.
    FailOverAfter(FailOver),
    /// Another contender changes the key of a claim meanwhile: the claim has no row, and no effect.
    Contend,
}

/// What a fail-over loses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FailOver {
    /// The number of the last commits that the new server lacks.
    pub lost: usize,
    /// Whether an operator puts all deliveries in doubt before anything else reaches the new server.
    pub in_doubt: bool,
    /// Whether the gateway's instance ends at the same moment.
    pub crashes: bool,
}

/// The calls that a fault hits. They are numbered from 0 since [`Database::fail`]; a connect is a call, too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum At {
    /// Only this call.
    Once(usize),
    /// This call and all after it.
    From(usize),
    /// Each call with this name: `connect`, or that of a statement.
    Each(&'static str),
    /// Only this connect, of those alone.
    Connect(usize),
    /// This connect and all after it, of those alone.
    ConnectFrom(usize),
}

impl At {
    /// Each of the calls failing once, and with all that follow.
    pub fn each(calls: usize) -> impl Iterator<Item = Self> {
        (0..calls).flat_map(|nth| [Self::Once(nth), Self::From(nth)])
    }

    /// Whether it hits the last of these calls.
    fn hits(self, calls: &[&str]) -> bool {
        let (nth, call) = (calls.len() - 1, calls[calls.len() - 1]);
        let connects = || calls.iter().filter(|call| **call == "connect").count() - 1;
        match self {
            Self::Once(hit) => nth == hit,
            Self::From(first) => nth >= first,
            Self::Each(name) => call == name,
            Self::Connect(hit) => call == "connect" && connects() == hit,
            Self::ConnectFrom(first) => call == "connect" && connects() >= first,
        }
    }
}

impl World {
    /// Adds a PostgreSQL server with an empty database, to which `database_url` leads.
    pub fn with_database(mut self) -> Self {
        self.database = Some(Rc::new(Database {
            tables: RefCell::new(Tables::new(self.now().cast_signed())),
            clock: self.clock.clone(),
            plan: self.plan.clone(),
            real: RefCell::new(self.real.clone()),
            calls: RefCell::default(),
            faults: RefCell::default(),
            late: RefCell::default(),
            has_schema: Cell::new(true),
            lag: Cell::new(0),
            ahead: Cell::new(0),
            pool: Cell::new(POOL),
            open: Cell::new(0),
            busy: Cell::new(0),
            most_open: Cell::new(0),
            waiting: RefCell::default(),
            fail_overs: Cell::new(0),
            lost: RefCell::default(),
            chance: Cell::new(0),
        }));
        self.with("database_url", "postgres://sluice:pa55word@localhost:5432/sluice?connect_timeout=2&keepalives_idle=10&tcp_user_timeout=5000")
    }

    /// The server of [`World::with_database`].
    #[track_caller]
    pub fn database(&self) -> &Database {
        self.database.as_ref().expect("a world with a database")
    }

    /// Asserts that no connection is held while something slow is done.
    #[track_caller]
    pub(super) fn assert_no_idle_connection(&self, during: &str) {
        if let Some(database) = &self.database {
            assert_eq!(database.idle(), 0, "connections to the database are held over {during}");
        }
    }
}

impl Database {
    /// The tables as they are now.
    pub fn tables(&self) -> Ref<'_, Tables> {
        self.act_late();
        self.tables.borrow()
    }

    /// Sets what goes wrong, and restarts the count of calls.
    pub fn fail(&self, faults: &[(At, Fault)]) {
        self.calls.borrow_mut().clear();
        *self.faults.borrow_mut() = faults.to_vec();
    }

    /// From now on nothing goes wrong.
    pub fn recover(&self) {
        self.faults.borrow_mut().clear();
    }

    /// A fail-over to a server that lacks the last `count` commits, of the last 10,000. All connections break.
    pub fn lose_last(&self, count: usize) {
        self.act_late();
        self.late.borrow_mut().clear();
        self.tables.borrow_mut().lose_last(count);
        self.fail_overs.set(self.fail_overs.get() + 1);
    }

    /// A fail-over in the middle of something.
    async fn fail_over(&self, FailOver { lost, in_doubt, crashes }: FailOver) {
        self.act_late();
        let inserted: Vec<_> = {
            let tables = self.tables.borrow();
            let commits = tables.journal().rev().take(lost);
            let inserted = commits.flat_map(|commit| &commit.writes).filter_map(|write| match write {
                Write::Delivery(None, Some(row)) => Some(row.reference.clone()),
                _ => None,
            });
            inserted.collect()
        };
        self.lost.borrow_mut().extend(inserted);
        let lost = lost.min(self.tables.borrow().journal().count());
        self.lose_last(lost);
        if in_doubt {
            let wait = i64::try_from(lease_length(Duration::from_secs(10)).as_millis()).unwrap() / 2;
            let parameters = values!["", 1_000_000_i64, wait];
            self.run(DOUBT, &parameters);
        }
        if crashes {
            self.plan.crash().await;
        }
    }

    /// Takes the table of kept payloads away, as in the schema of an earlier release.
    pub fn drop_kept(&self) {
        self.tables.borrow_mut().drop_kept();
    }

    /// Gives the schema another version.
    pub fn set_schema_version(&self, version: &str) {
        self.tables.borrow_mut().set_schema_version(version);
    }

    /// The calls since the last one of this or [`Database::fail`]: `connect`, or a statement's name.
    pub fn take_calls(&self) -> Vec<&'static str> {
        self.calls.take()
    }

    /// [`Database::take_calls`] without the connects.
    pub fn take_statements(&self) -> Vec<&'static str> {
        self.take_calls().into_iter().filter(|call| *call != "connect").collect()
    }

    /// The number of connects since the last of those two.
    pub fn connects(&self) -> usize {
        self.calls.borrow().iter().filter(|call| **call == "connect").count()
    }

    /// The rows as they were claimed, by their keys.
    pub fn claims(&self) -> BTreeMap<String, Row> {
        let tables = self.tables.borrow();
        let writes = tables.journal().filter(|commit| commit.statement == CLAIM.name).flat_map(|commit| &commit.writes);
        let claims = writes.filter_map(|write| match write {
            Write::Delivery(None, Some(row)) if row.token.is_some() => Some((row.key.clone(), row.clone())),
            _ => None,
        });
        claims.collect()
    }

    /// Writes a note, as the gateway does.
    pub fn put_note(&self, name: &str, value: &str) {
        let parameters = values![name, value];
        self.run(WRITE_NOTE, &parameters);
    }

    /// Runs a statement, as an operator does in psql.
    pub fn run(&self, statement: Statement, parameters: &[SqlValue]) {
        self.tables.borrow_mut().run(statement.sql, parameters, self.now()).unwrap();
    }

    /// Replaces each delivery by what `change` makes of it; with `None` it is gone.
    pub fn replace_rows(&self, change: impl Fn(Row) -> Option<Row>) {
        self.tables.borrow_mut().replace(change);
    }

    /// Adds rows as if they had been there before.
    pub fn add_rows(&self, rows: impl IntoIterator<Item = Row>) {
        let mut tables = self.tables.borrow_mut();
        rows.into_iter().for_each(|row| tables.add(row).expect("a row that breaks no constraint"));
    }

    /// Adds a pending delivery that is due, or gives it this stored form.
    pub fn put_pending(&self, id: &str, record: &[u8]) {
        let mut tables = self.tables.borrow_mut();
        let json = serde_json::from_slice::<serde_json::Value>(record).unwrap_or_default();
        let reference = [&json, &json["work"]].into_iter().find_map(|json| json["workflow"].as_str());
        if tables.deliveries().iter().any(|row| row.id == id) {
            let with_record = |row: Row| Row {
                delivery: Some(record.to_vec()),
                reference: reference.unwrap_or(&row.reference).to_owned(),
                ..row
            };
            tables.replace(|row| Some(if row.id == id { with_record(row) } else { row }));
            return;
        }
        let now = self.now();
        let values = values![id, id, None::<String>, "", reference.unwrap_or("w"), None::<String>, None::<String>];
        let values = [values, values![record.to_vec(), 0_i64, true, None::<String>]].concat();
        tables.run(CLAIM.sql, &values, now).unwrap();
    }

    /// The greatest number of connections that were open at a time.
    pub fn most_open(&self) -> usize {
        self.most_open.get()
    }

    /// The number of connections that are open and run no statement. While the gateway waits for anything else, such
    /// as the engine or a timer, it must not hold one.
    pub fn idle(&self) -> usize {
        self.open.get() - self.busy.get()
    }

    fn now(&self) -> i64 {
        self.clock.now().cast_signed() + self.ahead.get()
    }

    /// Counts a call. Returns what goes wrong with it.
    fn begin(&self, call: &'static str) -> Option<Fault> {
        let mut calls = self.calls.borrow_mut();
        calls.push(call);
        self.faults.borrow().iter().find(|(at, _)| at.hits(&calls)).map(|(_, fault)| *fault)
    }

    /// Lets those statements have their effect whose connection broke and whose time has come.
    fn act_late(&self) {
        let now = self.clock.now();
        let (mut due, later): (Vec<_>, _) = self.late.take().into_iter().partition(|(at, ..)| *at <= now);
        self.late.replace(later);
        due.sort_by_key(|(at, ..)| *at);
        for (at, text, parameters) in due {
            // The sender of a statement that is refused doesn't learn it either.
            drop(self.tables.borrow_mut().run(&text, &parameters, at.cast_signed() + self.ahead.get()));
        }
    }

    /// Takes the time of half an operation.
    async fn work(&self) {
        let ms = draw(&self.chance, self.lag.get());
        if ms > 0 {
            self.clock.sleep(ms).await;
        }
    }

    /// Waits until fewer connections are open than the pool has.
    async fn wait_for_pool(&self) {
        std::future::poll_fn(|context| {
            if self.open.get() < self.pool.get() {
                return Poll::Ready(());
            }
            self.waiting.borrow_mut().push_back(context.waker().clone());
            Poll::Pending
        })
        .await;
    }
}

/// An open connection.
pub struct Connection {
    database: Rc<Database>,
    fail_overs: usize,
    is_broken: Cell<bool>,
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.database.open.set(self.database.open.get() - 1);
        for waker in self.database.waiting.borrow_mut().drain(..) {
            self.database.clock.wake_at(self.database.clock.now(), &waker);
        }
    }
}

/// Counts a connection as busy.
struct Busy<'a>(&'a Database);

impl<'a> Busy<'a> {
    fn new(database: &'a Database) -> Self {
        database.busy.set(database.busy.get() + 1);
        Self(database)
    }
}

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        self.0.busy.set(self.0.busy.get() - 1);
    }
}

impl Connection {
    async fn run(&self, text: &str, parameters: &[SqlValue]) -> Result<Outcome, SqlError> {
        let database = &*self.database;
        let _busy = Busy::new(database);
        let name = match statement(text) {
            Some((statement, _)) => statement.name,
            None if text.contains(SETTINGS) => "settings",
            None => panic!("the database doesn't know the statement\n{text}"),
        };
        let fault = database.begin(name);
        database.work().await;
        if self.is_broken.get() || self.fail_overs != database.fail_overs.get() {
            return Err(SqlError::Broken);
        }
        match fault {
            Some(Fault::BreakBefore) => return self.fail(),
            Some(Fault::BreakThenAct(ms)) => {
                let late = (database.clock.now() + ms, text.to_owned(), parameters.to_vec());
                database.late.borrow_mut().push(late);
                return self.fail();
            }
            Some(Fault::Late(ms)) => database.clock.sleep(ms).await,
            Some(Fault::FailOver(fail_over)) => {
                database.fail_over(fail_over).await;
                return self.fail();
            }
            Some(Fault::Contend) if name == CLAIM.name => return Ok(Outcome::default()),
            _ => {}
        }
        database.act_late();
        let outcome = match name {
            "settings" => Ok(Outcome {
                rows: vec![values![150_000_i64, "UTF8", false, false, true, true]],
                affected: 1,
                wrote: false,
            }),
            _ if !database.has_schema.get() && name == READY.name => {
                Ok(Outcome { rows: vec![values![false, None::<String>]], affected: 1, wrote: false })
            }
            _ if !database.has_schema.get() => Err(SqlError::Refused),
            _ => database.tables.borrow_mut().run(text, parameters, database.now()).map_err(|_| SqlError::Refused),
        };
        if outcome.as_ref().is_ok_and(|outcome| outcome.wrote) {
            if fault == Some(Fault::Full) {
                database.tables.borrow_mut().lose_last(1);
                return Err(SqlError::Refused);
            }
            let real = database.real.borrow().clone();
            database.plan.has_done(Operation::Write, &database.clock, real.as_deref()).await;
        }
        match fault {
            Some(Fault::BreakAfter) => return self.fail(),
            Some(Fault::LateAnswer(ms)) => database.clock.sleep(ms).await,
            Some(Fault::FailOverAfter(fail_over)) => database.fail_over(fail_over).await,
            _ => {}
        }
        database.work().await;
        if self.fail_overs == database.fail_overs.get() { outcome } else { Err(SqlError::Broken) }
    }

    fn fail<T>(&self) -> Result<T, SqlError> {
        self.is_broken.set(true);
        Err(SqlError::Broken)
    }
}

impl SqlConnection for Connection {
    async fn execute(&self, statement: &str, parameters: &[SqlValue]) -> Result<u64, SqlError> {
        self.run(statement, parameters).await.map(|outcome| outcome.affected)
    }

    async fn query(&self, statement: &str, parameters: &[SqlValue]) -> Result<Vec<SqlRow>, SqlError> {
        self.run(statement, parameters).await.map(|outcome| outcome.rows)
    }
}

/// Without [`World::with_database`], no database can be reached.
impl Sql for World {
    type Connection = Connection;

    async fn connect(&self, _: &Secret) -> Result<Connection, SqlError> {
        let database = self.database.as_ref().ok_or(SqlError::Unreachable)?;
        let fault = database.begin("connect");
        database.wait_for_pool().await;
        // From here on it counts, and is given back if this future is dropped.
        database.open.set(database.open.get() + 1);
        database.most_open.set(database.most_open.get().max(database.open.get()));
        let mut connection = Connection {
            database: database.clone(),
            fail_overs: database.fail_overs.get(),
            is_broken: Cell::new(false),
        };
        let _busy = Busy::new(database);
        database.work().await;
        match fault {
            Some(Fault::Refuse(error)) => Err(error),
            Some(Fault::BreakBefore | Fault::BreakAfter | Fault::BreakThenAct(_)) => Err(SqlError::Unreachable),
            Some(Fault::Late(ms) | Fault::LateAnswer(ms)) => {
                database.clock.sleep(ms).await;
                Ok(connection)
            }
            Some(Fault::FailOver(fail_over)) => {
                database.fail_over(fail_over).await;
                Err(SqlError::Broken)
            }
            Some(Fault::FailOverAfter(fail_over)) => {
                database.fail_over(fail_over).await;
                connection.fail_overs = database.fail_overs.get();
                Ok(connection)
            }
            None | Some(Fault::Full | Fault::Contend) => Ok(connection),
        }
    }
}
